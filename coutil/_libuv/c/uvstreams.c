/* Streams as libuv has them, for coutil.uv: raw TCP, pipe and TTY handles.
 *
 * A raw stream in push mode has its data recorded, one chunk a step, although no coroutine waits. Any other one reads only
 * while a coroutine waits, and stops at once: it must not look active. Python ends the push mode as soon as no handler takes
 * what it brings.
 */

#include <sys/socket.h>
#include <sys/stat.h>
#ifdef __linux__
#include <sys/epoll.h>
#endif

#include "uvstreams.h"
#include "blocking.h"
#include "descriptors.h"
#include "listeners.h"
#include "local.h"
#include "reading.h"
#include "shared.h"
#include "streams.h"
#include "writing.h"

#define RAW_STREAM(name, loop, slot) \
    STREAM(name, loop, slot);        \
    if (!name->raw) return UV_EBADF

/* ---- making ---- */

/* family: AF_UNSPEC makes the socket later. */
int co_raw_tcp_new(co_loop *loop, uint32_t slot, uint32_t generation, int family) {
    co_handle *tcp;
    ENTER(loop);
    return co_tcp_open(loop, slot, generation, 1, family, &tcp);
}

int co_raw_pipe_new(co_loop *loop, uint32_t slot, uint32_t generation, int ipc) {
    co_handle *pipe;
    ENTER(loop);
    return co_pipe_open(loop, slot, generation, 1, ipc, &pipe);
}

/* The descriptor stays the caller's: libuv opens the terminal again, or has a duplicate. */
int co_raw_tty_new(co_loop *loop, uint32_t slot, uint32_t generation, int fd) {
    co_handle *tty;
    ENTER(loop);
    if (fcntl(fd, F_GETFD) < 0) return UV_EBADF;
    if (uv_guess_handle(fd) != UV_TTY) return UV_EINVAL;
    int duplicate = fcntl(fd, F_DUPFD_CLOEXEC, CO_FIRST_FD);
    if (duplicate < 0) return uv_translate_sys_error(errno);
    int code = co_tty_open(loop, slot, generation, 1, duplicate, &tty);
    if (!code) {
        tty->not_a_socket = 1;
        tty->shared_tty = co_uv_fd(&tty->u.stream) == duplicate;
    }
    if (code || !tty->shared_tty) close(duplicate);
    return code;
}

/* Whether libuv could poll a descriptor: it aborts if it cannot. */
static int pollable(co_loop *loop, int fd) {
    if (fcntl(fd, F_GETFD) < 0) return UV_EBADF;
    if (co_is_owned(fd)) return UV_EEXIST;
    co_descriptor_vacate(loop, fd);
#ifdef __linux__
    struct epoll_event event = {0};
    int poller = uv_backend_fd(&loop->uv);
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event)) return errno == EPERM ? UV_EINVAL : uv_translate_sys_error(errno);
    epoll_ctl(poller, EPOLL_CTL_DEL, fd, &event);
#endif
    return 0;
}

/* Have a stream use a descriptor, which is its own if that succeeds. */
int co_raw_open(co_loop *loop, uint32_t slot, int fd) {
    RAW_STREAM(stream, loop, slot);
    struct stat file;
    if (co_uv_fd(&stream->u.stream) >= 0) return UV_EBUSY;
    int code = pollable(loop, fd);
    if (code) return code;
    if (fstat(fd, &file)) return uv_translate_sys_error(errno);
    if (stream->u.handle.type == UV_TCP && !S_ISSOCK(file.st_mode)) return UV_ENOTSOCK;
    stream->not_a_socket = !S_ISSOCK(file.st_mode);
    return co_own_after(stream, co_stream_use(stream, fd));
}

/* ---- reading ---- */

/* Begin to read: in push mode, for a handler, or until something has come. */
int co_raw_read_start(co_loop *loop, uint32_t slot, int push_mode) {
    RAW_STREAM(stream, loop, slot);
    int code = co_reading_start(stream);
    if (code == UV_EALREADY && push_mode) code = 0;
    if (code) return code;
    stream->push_mode = push_mode;
    if (loop->demand[slot] < 0) loop->demand[slot] = 0;
    return 0;
}

int co_raw_read_once(co_loop *loop, uint32_t slot) { return co_raw_read_start(loop, slot, 0); }

/* Read no more, unless a coroutine waits. */
int co_raw_read_stop(co_loop *loop, uint32_t slot) {
    RAW_STREAM(stream, loop, slot);
    stream->push_mode = 0;
    if (loop->demand[slot] > 0 || !co_uv_is_reading(&stream->u.stream)) return 0;
    loop->demand[slot] = -1;
    return uv_read_stop(&stream->u.stream);
}

/* ---- its state ---- */

/* Whether it can be read, written, and holds a connection that was not accepted yet. */
int co_stream_state(co_loop *loop, uint32_t slot) {
    STREAM(stream, loop, slot);
    uv_stream_t *uv = &stream->u.stream;
    return (uv_is_readable(uv) ? CO_READABLE : 0) | (uv_is_writable(uv) ? CO_WRITABLE : 0) |
           (co_uv_accepted_fd(uv) >= 0 || co_listener_pending(stream) ? CO_PENDING : 0);
}

int co_stream_queue(co_loop *loop, uint32_t slot, uint64_t *size) {
    STREAM(stream, loop, slot);
    *size = uv_stream_get_write_queue_size(&stream->u.stream);
    return 0;
}

/* What libuv has started to write would stop the thread. */
int co_stream_blocking(co_loop *loop, uint32_t slot, int on) {
    RAW_STREAM(stream, loop, slot);
    if (co_uv_fd(&stream->u.stream) < 0) return UV_EBADF;
    if (on && !co_uv_writes_nothing(&stream->u.stream)) return UV_EBUSY;
    return on && co_is_shareable(stream) ? co_shared_start(stream) : uv_stream_set_blocking(&stream->u.stream, on);
}

/* ---- handles that travel ---- */

int co_pending(co_loop *loop, uint32_t slot, int *type) {
    RAW(pipe, UV_NAMED_PIPE, loop, slot);
    *type = uv_pipe_pending_type(&pipe->u.pipe);
    return pipe->u.pipe.ipc ? uv_pipe_pending_count(&pipe->u.pipe) : 0;
}

/* Take the first handle that has come into one that has no descriptor yet. */
int co_raw_take(co_loop *loop, uint32_t slot, uint32_t into) {
    RAW(pipe, UV_NAMED_PIPE, loop, slot);
    OPEN(taker, loop, into);
    uv_os_fd_t present;
    if (!pipe->u.pipe.ipc || !uv_pipe_pending_count(&pipe->u.pipe)) return UV_EAGAIN;
    uv_handle_type type = taker->u.handle.type;
    if (!taker->raw || type != uv_pipe_pending_type(&pipe->u.pipe)) return UV_EINVAL;
    if (!uv_fileno(&taker->u.handle, &present)) return UV_EBUSY;
    int fd = co_share_take(loop, slot, 1);
    if (fd < 0) return fd;
    int code = type == UV_UDP ? uv_udp_open(&taker->u.udp, fd) : co_stream_use(taker, fd);
    if (code) close(fd);
    return co_own_after(taker, code);
}

/* ---- TCP ---- */

int co_raw_bind(co_loop *loop, uint32_t slot, const co_address *address, unsigned int flags, int reuseport) {
    RAW(tcp, UV_TCP, loop, slot);
    const struct sockaddr *name = (const struct sockaddr *)&address->storage;
#if UV_VERSION_HEX >= CO_UV_VERSION(1, 49, 0)
    if (reuseport) flags |= UV_TCP_REUSEPORT;
#else
    int on = 1, fd = co_uv_fd(&tcp->u.tcp);
    if (reuseport && fd < 0) {
        fd = socket(name->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) return uv_translate_sys_error(errno);
        co_uv_set_fd(&tcp->u.tcp, fd);
        co_own(tcp);
    }
    if (reuseport && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on)) return uv_translate_sys_error(errno);
#endif
    return co_own_after(tcp, uv_tcp_bind(&tcp->u.tcp, name, flags));
}

/* The first half of uv_tcp_close_reset: the close that comes next resets the connection. */
int co_reset(co_loop *loop, uint32_t slot) {
    RAW(tcp, UV_TCP, loop, slot);
    struct linger none = {1, 0};
    if (co_uv_is_shutting_down(&tcp->u.stream)) return UV_EINVAL;
    if (co_uv_fd(&tcp->u.tcp) < 0) return UV_EBADF;
    if (!setsockopt(co_uv_fd(&tcp->u.tcp), SOL_SOCKET, SO_LINGER, &none, sizeof none)) return 0;
    return errno == EINVAL ? 0 : uv_translate_sys_error(errno); /* the peer was faster */
}

/* ---- writing with a handle ---- */

/* Write at once, with the descriptor of another handle; returns how many bytes were taken, or UV_EAGAIN. */
int co_try_write2(co_loop *loop, uint32_t slot, const char *data, size_t size, uint32_t other) {
    RAW(pipe, UV_NAMED_PIPE, loop, slot);
    OPEN(passed, loop, other);
    uv_os_fd_t fd;
    int code = uv_fileno(&passed->u.handle, &fd);
    if (!pipe->u.pipe.ipc) return UV_EINVAL;
    if (code) return code;
    if (size > INT32_MAX) size = INT32_MAX;
    if (pipe->shared) {
        if (pipe->u.stream.write_queue_size > 0) return UV_EAGAIN;
        code = (int)co_shared_send(co_uv_fd(&pipe->u.pipe), data, size, fd);
        if (code > 0) co_local_handed_over(passed);
        return code;
    }
    uv_buf_t buffer = uv_buf_init((char *)data, (unsigned int)size);
    co_sigpipe_block(loop);
    code = uv_try_write2(&pipe->u.stream, &buffer, 1, &passed->u.stream);
    if (code > 0) co_local_handed_over(passed);
    return code;
}

/* ---- pairs of descriptors ---- */

int co_socketpair(int type, int protocol, int *ends, int flags0, int flags1) {
    return uv_socketpair(type, protocol, ends, flags0, flags1);
}

int co_pipe(int *ends, int read_flags, int write_flags) { return uv_pipe(ends, read_flags, write_flags); }

int co_guess_handle(int fd) { return uv_guess_handle(fd); }

int co_vterm_state(int *state) {
    uv_tty_vtermstate_t found = UV_TTY_UNSUPPORTED;
    int code = uv_tty_get_vterm_state(&found);
    *state = found == UV_TTY_SUPPORTED;
    return code;
}

void co_vterm_set(int on) { uv_tty_set_vterm_state(on ? UV_TTY_SUPPORTED : UV_TTY_UNSUPPORTED); }
