/* Making streams of the connections that listeners have accepted. */

#include <sys/socket.h>

#include "accept.h"
#include "descriptors.h"
#include "listeners.h"
#include "slots.h"
#include "streams.h"
#include "uvstreams.h"

/* Make a stream of the connection that was taken. If libuv refuses the descriptor, the connection is closed. */
static int listener_give(co_handle *handle, co_handle *stream) {
    int fd = co_listener_release(handle), code = co_stream_use(stream, fd);
    if (code)
        close(fd);
    else
        code = co_own_after(stream, 0);
    co_listener_next(handle);
    return code;
}

/* Make a new stream, under `slot`, of the connection that co_listener_take has taken. share: of a Unix socket. */
int co_accept(co_loop *loop, uint32_t at, uint32_t slot, uint32_t generation, int share) {
    LISTENER(handle, loop, at);
    co_handle *stream;
    if (!co_listener_pending(handle)) return UV_EAGAIN;
    int is_tcp = handle->u.handle.type == UV_TCP;
    int code = is_tcp ? co_tcp_open(loop, slot, generation, 0, AF_UNSPEC, &stream)
                      : co_pipe_open(loop, slot, generation, 0, share, &stream);
    if (code) return code; /* the connection waits for the next attempt */
    code = listener_give(handle, stream);
    if (code) co_handle_discard(stream);
    return code;
}

/* Take a connection into a stream of the same kind that has no socket yet. */
int co_raw_accept(co_loop *loop, uint32_t at, uint32_t slot) {
    STREAM(handle, loop, at);
    if (handle->u.handle.type == UV_NAMED_PIPE && handle->u.pipe.ipc) return co_raw_take(loop, at, slot);
    STREAM(stream, loop, slot);
    if (!handle->listener) return UV_EAGAIN;
    if (!stream->raw) return UV_EBADF;
    if (stream->u.handle.type != handle->u.handle.type) return UV_EINVAL;
    if (co_uv_fd(&stream->u.stream) >= 0) return UV_EBUSY;
    int code = co_listener_try(handle);
    return code < 0 ? code : listener_give(handle, stream);
}
