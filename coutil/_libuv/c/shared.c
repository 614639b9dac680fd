/* Streams whose open file description other processes use, too, and streams that block: standard streams, what a child was
 * given, terminals that cannot be opened again.
 *
 * O_NONBLOCK is a flag of the description, not of the descriptor. If it were set, `print` would lose what the socket does not
 * take at once, and so would other processes; if they clear it, our loop stops. So it is off for such a stream, and nothing
 * here relies on it:
 * - data are sent by send(2) with MSG_DONTWAIT; to what is no socket they are written as blocking.c says. What the system does
 *   not take waits in a queue of ours, for an epoll set that looks at the descriptor: libuv polls a descriptor for one handle
 *   only, and would write without that flag. `write_queue_size` counts it all the same, so that others see that the stream
 *   is busy.
 * - data are received by recv(2) with MSG_DONTWAIT, in place of libuv's read, which gets no memory. Only through a pipe that
 *   descriptors travel along, and from what is no socket, does libuv read, after a look whether there still is something; it
 *   waits if another process takes that between the look and the read.
 *
 * Listeners and datagram sockets that are standard streams are not treated so: accept(2) knows no such flag. A listener that
 * a child was given blocks; we look before we accept, and wait if another process takes the connection in between.
 */

#ifdef __linux__
#include <sys/epoll.h>
#endif
#include <sys/socket.h>
#include <sys/stat.h>

#include "blocking.h"
#include "descriptors.h"
#include "receiving.h"
#include "requests.h"
#include "shared.h"

#define CO_SENT_AT_ONCE (1 << 20) /* bytes that one stream sends before others have their turn */

typedef struct co_sending co_sending;
struct co_sending {
    co_sending *next;
    co_request *request;
    uv_write_cb done;        /* NULL: the stream is shut down when this one's turn comes, */
    uv_shutdown_cb shut;     /* with this callback */
    const char *data;
    size_t left;
    int passed; /* a descriptor that travels with the first byte; -1: none */
};

struct co_shared {
    uv_poll_t poll; /* first */
    co_handle *stream;
    co_sending *first, **last;
    int fd; /* what is polled in place of the stream's */
};

/* Whether libuv reads: recv(2) would lose descriptors, or is not possible. */
static int read_by_libuv(const co_handle *stream) {
    return stream->not_a_socket || (stream->u.handle.type == UV_NAMED_PIPE && stream->u.pipe.ipc);
}

/* Whether libuv is to read now. */
int co_shared_reads(const co_handle *stream) {
    return read_by_libuv(stream) && co_is_readable(co_uv_fd(&stream->u.stream));
}

/* Receive what libuv was not let read. Returns whether it had to be; it may have been taken by others. */
int co_shared_read(co_handle *stream) {
    if (read_by_libuv(stream) || !co_wanted(stream)) return 0;
    uv_buf_t window = co_window_for(stream->loop, stream->slot);
    ssize_t count;
    if (!window.base) return 0;
    do
        count = recv(co_uv_fd(&stream->u.stream), window.base, window.len, MSG_DONTWAIT);
    while (count < 0 && errno == EINTR);
    if (count > 0)
        co_deliver(stream, window.base, (size_t)count);
    else if (!count)
        co_read_end(stream, UV_EOF);
    else if (errno != EAGAIN && errno != EWOULDBLOCK)
        co_read_end(stream, uv_translate_sys_error(errno));
    return 1;
}

ssize_t co_shared_send(int fd, const char *data, size_t size, int passed) {
    union {
        char room[CMSG_SPACE(sizeof(int))];
        struct cmsghdr head;
    } control;
    struct iovec piece = {(char *)data, size};
    struct msghdr message;
    ssize_t sent;
    memset(&message, 0, sizeof message);
    message.msg_iov = &piece;
    message.msg_iovlen = 1;

    /* The descriptor that travels is a control message. */
    if (passed >= 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = &control;
        message.msg_controllen = sizeof control.room;
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        control.head.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.head), &passed, sizeof passed);
    }

    do
        sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0) return sent;
    return co_would_wait(errno) ? UV_EAGAIN : uv_translate_sys_error(errno);
}

/* ---- what is polled in place of the stream's descriptor, which libuv polls for the reading ---- */

#ifdef __linux__
#define CO_HAS_ROOM UV_READABLE

/* Returns an epoll set that can be read when there is room, or libuv's code. */
static int gate_open(int fd) {
    struct epoll_event event = {.events = EPOLLOUT};
    int set = epoll_create1(EPOLL_CLOEXEC);
    if (set < 0) return uv_translate_sys_error(errno);
    if (!epoll_ctl(set, EPOLL_CTL_ADD, fd, &event)) return set;
    int code = uv_translate_sys_error(errno);
    close(set);
    return code;
}
#else
#define CO_HAS_ROOM UV_WRITABLE

static int gate_open(int fd) {
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, CO_FIRST_FD);
    return copy < 0 ? uv_translate_sys_error(errno) : copy;
}
#endif

/* Where the gate is a duplicate, libuv makes the open file non-blocking: that is undone at once. */
static int gate_poll(co_shared *shared, co_handle *stream) {
    int flags = fcntl(shared->fd, F_GETFL);
    co_descriptor_vacate(stream->loop, shared->fd);
    int code = uv_poll_init(&stream->loop->uv, &shared->poll, shared->fd);
    if (!code && CO_HAS_ROOM == UV_WRITABLE) fcntl(shared->fd, F_SETFL, flags);
    return code;
}

/* ---- the queue ---- */

static int shared_queue(co_shared *shared, const co_sending *values) {
    co_sending *sending = malloc(sizeof *sending);
    if (!sending) return UV_ENOMEM;
    *sending = *values;
    *shared->last = sending;
    shared->last = &sending->next;
    return 0;
}

static void shared_end(co_shared *shared, int status) {
    co_sending *sending = shared->first;
    uv_stream_t *stream = &shared->stream->u.stream;
    co_request *request = sending->request;
    uv_write_cb done = sending->done;
    uv_shutdown_cb shut = sending->shut;
    shared->first = sending->next;
    if (!shared->first) shared->last = &shared->first;
    stream->write_queue_size -= sending->left;
    free(sending);
    if (done)
        done(&request->u.write, status);
    else if (status || (status = uv_shutdown(&request->u.shutdown, stream, shut)))
        co_request_done(request, co_status_of(shared->stream, status));
}

static ssize_t shared_attempt(co_handle *stream, const co_sending *sending) {
    int fd = co_uv_fd(&stream->u.stream);
    size_t size = sending->left < CO_SENT_AT_ONCE ? sending->left : CO_SENT_AT_ONCE;
    if (!sending->done) return 0;
    if (stream->not_a_socket) return co_write_what_fits(fd, sending->data, size);
    return co_shared_send(fd, sending->data, size, sending->passed);
}

/* Send what the system takes. */
static void shared_serve(co_shared *shared) {
    ssize_t all = 0;
    for (co_sending *sending; (sending = shared->first) && all < CO_SENT_AT_ONCE;) {
        ssize_t sent = shared_attempt(shared->stream, sending);
        if (sent == UV_EAGAIN) return;
        if (sent > 0) {
            all += sent;
            sending->passed = -1;
            sending->data += sent;
            sending->left -= (size_t)sent;
            shared->stream->u.stream.write_queue_size -= (size_t)sent;
            if (sending->left) continue;
        }
        shared_end(shared, sent < 0 ? (int)sent : 0);
    }
    if (!shared->first) uv_poll_stop(&shared->poll);
}

static void on_shared(uv_poll_t *uv, int status, int events) { shared_serve((co_shared *)uv); }

static int shared_new(co_handle *stream) {
    if (stream->shared) return 0;
    co_shared *shared = calloc(1, sizeof *shared);
    if (!shared) return UV_ENOMEM;
    shared->fd = gate_open(co_uv_fd(&stream->u.stream));
    int code = shared->fd < 0 ? shared->fd : gate_poll(shared, stream);
    if (code) {
        if (shared->fd >= 0) close(shared->fd);
        free(shared);
        return code;
    }
    shared->stream = stream;
    shared->last = &shared->first;
    stream->shared = shared;
    return 0;
}

/* In place of libuv's write: the request ends with `done`. */
int co_shared_write(co_handle *stream, co_request *request, const char *data, size_t size, int passed,
                    uv_write_cb done) {
    co_sending sending = {.request = request, .done = done, .data = data, .left = size, .passed = passed};
    int code = shared_new(stream);
    if (!code) code = shared_queue(stream->shared, &sending);
    if (!code) {
        request->u.write.handle = &stream->u.stream;
        stream->u.stream.write_queue_size += size;
        stream->loop->writes++;
        uv_poll_start(&stream->shared->poll, CO_HAS_ROOM, on_shared); /* cannot fail */
    }
    return co_request_started(request, code);
}

/* Shut down after what is in the queue. UV_EAGAIN: there is nothing in it. */
int co_shared_shutdown(co_handle *stream, co_request *request, uv_shutdown_cb done) {
    co_sending sending = {.request = request, .shut = done, .passed = -1};
    if (!stream->shared || !stream->shared->first) return UV_EAGAIN;
    return co_request_started(request, shared_queue(stream->shared, &sending));
}

/* ---- beginning and end ---- */

/* Clear O_NONBLOCK of the stream's open file description for good. Twice is no error. */
int co_shared_start(co_handle *stream) {
    int fd = co_uv_fd(&stream->u.stream), code = shared_new(stream);
    if (code) return code;
    int mode = fcntl(fd, F_GETFL);
    return mode < 0 || fcntl(fd, F_SETFL, mode & ~O_NONBLOCK) ? uv_translate_sys_error(errno) : 0;
}

static void on_shared_closed(uv_handle_t *uv) {
    co_shared *shared = (co_shared *)uv;
    while (shared->first) shared_end(shared, UV_ECANCELED);
    free(shared);
}

/* After the stream is closed: libuv calls back for the handle that was closed last first. */
void co_shared_leave(co_handle *stream) {
    co_shared *shared = stream->shared;
    if (!shared) return;
    stream->shared = NULL;
    uv_poll_stop(&shared->poll);
    close(shared->fd);
    uv_close((uv_handle_t *)&shared->poll, on_shared_closed);
}

static int is_listener(int fd) {
    int listens = 0;
    socklen_t size = sizeof listens;
    return !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) && listens;
}

static int is_stream_socket(co_handle *handle) {
    struct stat file;
    int fd = co_is_stream(handle) && !uv_is_closing(&handle->u.handle) ? co_uv_fd(&handle->u.stream) : -1;
    return fd >= 0 && !handle->not_a_socket && !fstat(fd, &file) && S_ISSOCK(file.st_mode);
}

int co_is_shareable(co_handle *handle) {
    return is_stream_socket(handle) && !is_listener(co_uv_fd(&handle->u.stream));
}

/* Other processes use the description, and expect it to block. */
int co_stream_share(co_loop *loop, uint32_t slot) {
    STREAM(stream, loop, slot);
    return co_is_shareable(stream) ? co_shared_start(stream) : UV_EINVAL;
}

/* The same for the handle of a descriptor, if it is one of this loop. Returns whether the description may block at once:
 * what libuv has in its queue has to be written first. */
int co_share_descriptor(co_loop *loop, int fd) {
    for (uint32_t slot = 0; slot < loop->slots; slot++) {
        co_handle *handle = loop->handles[slot];
        if (!handle || !is_stream_socket(handle) || co_uv_fd(&handle->u.stream) != fd) continue;
        if (is_listener(fd)) {
            handle->blocks = 1;
            continue;
        }
        if (!handle->shared && handle->u.stream.write_queue_size) {
            handle->shares_later = 1;
            return 0;
        }
        co_shared_start(handle);
    }
    return 1;
}

/* libuv has written something. */
void co_share_if_written(co_handle *stream) {
    if (stream->u.stream.write_queue_size || !co_is_shareable(stream)) return;
    stream->shares_later = 0;
    co_shared_start(stream);
}
