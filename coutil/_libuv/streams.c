/* Streams as libuv has them, for coutil.uv: raw TCP, pipe and TTY handles.
 *
 * A raw stream that flows has its data recorded, one chunk a step, whether or not somebody waits; one that does not reads
 * only while somebody waits, and stops at once: it must not look active. Python stops the flow as soon as nobody takes
 * what it brings.
 */

#define RAW_STREAM(name, loop, slot) \
    STREAM(name, loop, slot);        \
    if (!name->raw) return UV_EBADF

/* ---- making ---- */

/* family: AF_UNSPEC makes the socket later. */
int co_raw_tcp_new(co_loop *loop, uint32_t slot, uint32_t generation, int family) {
    co_handle *tcp;
    ENTER(loop);
    int code = raw_open(loop, slot, generation, UV_TCP, &tcp);
    return code ? code : handle_opened(tcp, uv_tcp_init_ex(&loop->uv, &tcp->u.tcp, (unsigned int)family));
}

int co_raw_pipe_new(co_loop *loop, uint32_t slot, uint32_t generation, int ipc) {
    co_handle *pipe;
    ENTER(loop);
    int code = raw_open(loop, slot, generation, UV_NAMED_PIPE, &pipe);
    return code ? code : handle_opened(pipe, uv_pipe_init(&loop->uv, &pipe->u.pipe, ipc));
}

/* The descriptor stays the caller's: libuv opens the terminal again, or has a duplicate. */
int co_raw_tty_new(co_loop *loop, uint32_t slot, uint32_t generation, int fd) {
    co_handle *tty;
    ENTER(loop);
    if (fcntl(fd, F_GETFD) < 0) return UV_EBADF;
    if (uv_guess_handle(fd) != UV_TTY) return UV_EINVAL;
    int own = fcntl(fd, F_DUPFD_CLOEXEC, CO_FIRST);
    if (own < 0) return uv_translate_sys_error(errno);
    int code = raw_open(loop, slot, generation, UV_TTY, &tty);
    if (!code) code = handle_opened(tty, uv_tty_init(&loop->uv, &tty->u.tty, own, 0));
    if (!code) tty->plain = 1;
    if (!code) tty->common = tty->u.stream.io_watcher.fd == own;
    if (code || !tty->common) close(own);
    return code;
}

/* Whether libuv could poll a descriptor: it aborts if it cannot. */
static int pollable(co_loop *loop, int fd) {
    if (fcntl(fd, F_GETFD) < 0) return UV_EBADF;
    if (is_owned(fd)) return UV_EEXIST;
    descriptor_vacate(loop, fd);
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
    if (stream->u.stream.io_watcher.fd >= 0) return UV_EBUSY;
    int code = pollable(loop, fd);
    if (code) return code;
    if (fstat(fd, &file)) return uv_translate_sys_error(errno);
    if (stream->u.handle.type == UV_TCP && !S_ISSOCK(file.st_mode)) return UV_ENOTSOCK;
    stream->plain = !S_ISSOCK(file.st_mode);
    code = stream->u.handle.type == UV_TCP ? uv_tcp_open(&stream->u.tcp, fd) : uv_pipe_open(&stream->u.pipe, fd);
    return owned(stream, code);
}

/* ---- reading ---- */

/* Begin to read: for a handler (flow), or until something has come. */
int co_raw_read_start(co_loop *loop, uint32_t slot, int flow) {
    RAW_STREAM(stream, loop, slot);
    int code = is_watched(stream);
    if (!code) code = uv_read_start(&stream->u.stream, on_alloc, on_read);
    if (code == UV_EALREADY && flow) code = 0;
    if (code) return code;
    stream->flowing = flow;
    if (loop->want[slot] < 0) loop->want[slot] = 0;
    return 0;
}

int co_raw_read_once(co_loop *loop, uint32_t slot) { return co_raw_read_start(loop, slot, 0); }

/* Read no more, unless somebody waits. */
int co_raw_read_stop(co_loop *loop, uint32_t slot) {
    RAW_STREAM(stream, loop, slot);
    stream->flowing = 0;
    if (loop->want[slot] > 0 || !stream->u.stream.read_cb) return 0;
    loop->want[slot] = -1;
    return uv_read_stop(&stream->u.stream);
}

/* ---- what it is able to ---- */

enum { CO_READABLE = 1, CO_WRITABLE = 2, CO_PENDING = 4 };

/* Whether it can be read, written, and holds a connection that nobody has accepted. */
int co_stream_state(co_loop *loop, uint32_t slot) {
    STREAM(stream, loop, slot);
    uv_stream_t *uv = &stream->u.stream;
    return (uv_is_readable(uv) ? CO_READABLE : 0) | (uv_is_writable(uv) ? CO_WRITABLE : 0) |
           (uv->accepted_fd >= 0 || listener_pending(stream) ? CO_PENDING : 0);
}

int co_stream_queue(co_loop *loop, uint32_t slot, uint64_t *size) {
    STREAM(stream, loop, slot);
    *size = uv_stream_get_write_queue_size(&stream->u.stream);
    return 0;
}

/* What libuv has begun to write would stop the thread. */
int co_stream_blocking(co_loop *loop, uint32_t slot, int on) {
    RAW_STREAM(stream, loop, slot);
    if (stream->u.stream.io_watcher.fd < 0) return UV_EBADF;
    if (on && !is_empty(&stream->u.stream.write_queue)) return UV_EBUSY;
    return on && is_shareable(stream) ? shared_start(stream) : uv_stream_set_blocking(&stream->u.stream, on);
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
    uv_os_fd_t own;
    if (!pipe->u.pipe.ipc || !uv_pipe_pending_count(&pipe->u.pipe)) return UV_EAGAIN;
    uv_handle_type type = taker->u.handle.type;
    if (!taker->raw || type != uv_pipe_pending_type(&pipe->u.pipe)) return UV_EINVAL;
    if (!uv_fileno(&taker->u.handle, &own)) return UV_EBUSY;
    int fd = co_share_take(loop, slot, 1);
    if (fd < 0) return fd;
    int code = type == UV_TCP   ? uv_tcp_open(&taker->u.tcp, fd)
               : type == UV_UDP ? uv_udp_open(&taker->u.udp, fd)
                                : uv_pipe_open(&taker->u.pipe, fd);
    if (code) close(fd);
    return owned(taker, code);
}

/* ---- TCP ---- */

int co_raw_bind(co_loop *loop, uint32_t slot, const co_address *address, unsigned int flags, int reuseport) {
    RAW(tcp, UV_TCP, loop, slot);
    const struct sockaddr *name = (const struct sockaddr *)&address->storage;
#if UV_VERSION_HEX >= 0x013100
    if (reuseport) flags |= UV_TCP_REUSEPORT;
#else
    int on = 1, fd = tcp->u.tcp.io_watcher.fd;
    if (reuseport && fd < 0) {
        fd = socket(name->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) return uv_translate_sys_error(errno);
        tcp->u.tcp.io_watcher.fd = fd;
        own(tcp);
    }
    if (reuseport && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on)) return uv_translate_sys_error(errno);
#endif
    return owned(tcp, uv_tcp_bind(&tcp->u.tcp, name, flags));
}

/* The first half of uv_tcp_close_reset: the close that comes next resets the connection. */
int co_reset(co_loop *loop, uint32_t slot) {
    RAW(tcp, UV_TCP, loop, slot);
    struct linger none = {1, 0};
    if (tcp->u.stream.shutdown_req) return UV_EINVAL;
    if (tcp->u.tcp.io_watcher.fd < 0) return UV_EBADF;
    if (!setsockopt(tcp->u.tcp.io_watcher.fd, SOL_SOCKET, SO_LINGER, &none, sizeof none)) return 0;
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
        code = (int)shared_send(pipe->u.pipe.io_watcher.fd, data, size, fd);
        if (code > 0 && passed->ending == unbind) forget(passed);
        return code;
    }
    uv_buf_t buffer = uv_buf_init((char *)data, (unsigned int)size);
    sigpipe_block(loop);
    code = uv_try_write2(&pipe->u.stream, &buffer, 1, &passed->u.stream);
    if (code > 0 && passed->ending == unbind) forget(passed);
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
