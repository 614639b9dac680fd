/* Writing to streams: what the kernel takes at once, then a request for the rest.
 *
 * The first attempt is ours, by send(2) with flags that libuv does not give. The rest is left to libuv, unless the stream's
 * open file may block: see shared.c and blocking.c.
 */

#include <sys/socket.h>

#include "writing.h"
#include "blocking.h"
#include "descriptors.h"
#include "requests.h"
#include "shared.h"

#define CO_PIECE ((size_t)1 << 30) /* a uv_buf_t holds an unsigned int; the kernel takes less than 2 GiB at once */

/* libuv writes with write(2). Where SIGPIPE would kill, it is blocked until the queue is empty. */
void co_sigpipe_block(co_loop *loop) {
    struct sigaction action;
    if (loop->sigpipe_blocked || sigaction(SIGPIPE, NULL, &action) || action.sa_handler != SIG_DFL) return;
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    if (!pthread_sigmask(SIG_BLOCK, &set, &old) && !sigismember(&old, SIGPIPE)) loop->sigpipe_blocked = 1;
}

void co_sigpipe_unblock(co_loop *loop) {
    if (!loop->sigpipe_blocked || loop->writes) return;
    sigset_t set;
    struct timespec zero = {0, 0};
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    while (sigtimedwait(&set, NULL, &zero) >= 0) continue;
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    loop->sigpipe_blocked = 0;
}

/* What the kernel takes at once, without SIGPIPE; UV_EAGAIN if it takes nothing or others are queued before. */
int co_try_write(co_loop *loop, uint32_t slot, const char *data, size_t size) {
    STREAM(stream, loop, slot);
    uv_stream_t *uv = &stream->u.stream;

    /* What stands in the way. */
    if (uv->write_queue_size > 0 || co_uv_is_connecting(uv)) return UV_EAGAIN;
    int fd = co_uv_fd(uv);
    if (fd < 0) return stream->raw && !stream->simplex ? UV_EBADF : UV_EPIPE; /* not connected, or ended */
    if (!uv_is_writable(uv)) {
        uv_buf_t buffer = uv_buf_init((char *)data, (unsigned int)(size > INT32_MAX ? INT32_MAX : size));
        return uv_try_write(uv, &buffer, 1); /* libuv's word for why not */
    }

    /* The attempt. */
    ssize_t sent;
    if (size > INT32_MAX) size = INT32_MAX;
    if (stream->not_a_socket) {
        co_sigpipe_block(loop);
        return co_write_what_fits(fd, data, size);
    }
    do
        sent = send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0) return (int)sent;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ? UV_EAGAIN : uv_translate_sys_error(errno);
}

void co_on_write(uv_write_t *uv, int status) {
    co_request *request = REQUEST(uv, write);
    co_handle *stream = HANDLE(uv->handle);
    request->head.loop->writes--;
    if (stream->shares_later) co_share_if_written(stream);
    co_request_done(request, co_status_of(stream, status));
}

/* Start to write, with a descriptor that travels along if there is one; frees the request if that fails. */
int co_write_start(co_request *request, co_handle *stream, const char *data, size_t size, uv_stream_t *passed,
                   uv_write_cb done) {
    co_loop *loop = stream->loop;
    if (co_descriptor_check(stream)) return co_request_started(request, UV_EBADF);
    if (stream->shared || co_is_left_to_us(stream))
        return co_shared_write(stream, request, data, size, passed ? co_uv_fd(passed) : -1, done);

    /* The data in pieces that libuv can count. */
    size_t pieces = size ? (size + CO_PIECE - 1) / CO_PIECE : 1;
    uv_buf_t *buffers = malloc(pieces * sizeof *buffers); /* libuv copies the list, not the data */
    if (!buffers || co_is_watched(stream)) {
        free(buffers);
        return co_request_started(request, buffers ? UV_EEXIST : UV_ENOMEM);
    }
    for (size_t i = 0; i < pieces; i++) {
        size_t left = size - i * CO_PIECE;
        buffers[i] = uv_buf_init((char *)data + i * CO_PIECE, (unsigned int)(left < CO_PIECE ? left : CO_PIECE));
    }

    co_sigpipe_block(loop);
    int code = uv_write2(&request->u.write, &stream->u.stream, buffers, (unsigned int)pieces, passed, done);
    if (!code) loop->writes++;
    free(buffers);
    return co_request_started(request, code);
}

int co_write(co_loop *loop, uint32_t slot, uint32_t at, uint32_t generation, const char *data, size_t size) {
    STREAM(stream, loop, slot);
    co_request *request = co_request_new(loop, at, generation);
    return request ? co_write_start(request, stream, data, size, NULL, co_on_write) : UV_ENOMEM;
}
