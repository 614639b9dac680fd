/* The end of what is sent through a stream.
 *
 * A true pipe has no half that could be shut down. When all has been written to the input of a child, its descriptor is
 * closed; the handle stays, and says EPIPE from then on, as a socket does.
 */

#ifdef __linux__
#include <sys/epoll.h>
#endif

#include "shutdown.h"
#include "descriptors.h"
#include "requests.h"
#include "shared.h"

/* Close the descriptor of a pipe whose handle stays open: what uv_close does to its watcher. No read, write or request
 * is under way. libuv has queued the watcher if it has called back for a write lately. */
void co_pipe_disconnect(co_handle *pipe) {
    uv_pipe_t *uv = &pipe->u.pipe;
    co_uv_watcher_unpend(co_uv_watcher(&pipe->u.handle));
    if (co_disown(pipe)) {
#ifdef __linux__
        struct epoll_event event = {0};
        epoll_ctl(uv_backend_fd(&pipe->loop->uv), EPOLL_CTL_DEL, co_uv_fd(uv), &event); /* other processes may have it, too */
#endif
        close(co_uv_fd(uv));
    }
    co_uv_set_fd(uv, -1);
    co_uv_set_directions(&pipe->u.stream, 0, 0);
}

static void on_shutdown(uv_shutdown_t *uv, int status) {
    co_handle *stream = HANDLE(uv->handle);
    if (status == UV_ENOTSOCK && stream->simplex) {
        co_pipe_disconnect(stream);
        status = 0;
    }
    co_request_done(REQUEST(uv, shutdown), co_status_of(stream, status));
}

int co_shutdown(co_loop *loop, uint32_t slot, uint32_t at, uint32_t generation) {
    STREAM(stream, loop, slot);
    uv_stream_t *uv = &stream->u.stream;
    if (stream->simplex && co_uv_fd(uv) < 0) return UV_ENOTCONN;
    if (co_is_watched(stream)) return UV_EEXIST;
    co_request *request = co_request_new(loop, at, generation);
    if (!request) return UV_ENOMEM;
    if (stream->shared) {
        int code = co_shared_shutdown(stream, request, on_shutdown);
        if (code != UV_EAGAIN) return code;
    }
    int busy = co_uv_is_shutting_down(uv) || !co_uv_writes_nothing(uv) || !co_uv_has_called_back(uv);
    if (!stream->simplex || busy) return co_request_started(request, uv_shutdown(&request->u.shutdown, uv, on_shutdown));
    co_pipe_disconnect(stream); /* libuv may wait until there is room for more in the pipe */
    co_request_inline_done(request, stream);
    return 0;
}
