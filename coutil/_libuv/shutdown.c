/* The end of what is sent through a stream.
 *
 * A true pipe has no half that could be shut down. When all has been written to the input of a child, its descriptor is
 * closed; the handle stays, and says EPIPE from then on, as a socket does.
 */

static void pipe_disconnect(co_handle *pipe);
static int shared_shutdown(co_handle *stream, co_request *request);

static void on_shutdown(uv_shutdown_t *uv, int status) {
    co_handle *stream = HANDLE(uv->handle);
    if (status == UV_ENOTSOCK && stream->simplex) {
        pipe_disconnect(stream);
        status = 0;
    }
    request_done(REQUEST(uv, shutdown), told(stream, status));
}

int co_shutdown(co_loop *loop, uint32_t slot, uint32_t at, uint32_t generation) {
    STREAM(stream, loop, slot);
    uv_stream_t *uv = &stream->u.stream;
    if (stream->simplex && uv->io_watcher.fd < 0) return UV_ENOTCONN;
    if (is_watched(stream)) return UV_EEXIST;
    co_request *request = request_new(loop, at, generation);
    if (!request) return UV_ENOMEM;
    if (stream->shared) {
        int code = shared_shutdown(stream, request);
        if (code != UV_EAGAIN) return code;
    }
    if (!stream->simplex || uv->shutdown_req || !is_empty(&uv->write_queue) || !is_empty(&uv->write_completed_queue))
        return request_started(request, uv_shutdown(&request->u.shutdown, uv, on_shutdown));
    pipe_disconnect(stream); /* libuv may wait until there is room for more in the pipe */
    request_ripe(request, stream);
    return 0;
}
