/* Reading from streams: libuv polls, asks for a window, reads into it, and calls back.
 *
 * An event that is not wanted gets no window: libuv reports UV_ENOBUFS then, and the data stay in the kernel.
 */

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "reading.h"
#include "descriptors.h"
#include "receiving.h"
#include "shared.h"

static void on_alloc(uv_handle_t *uv, size_t suggested, uv_buf_t *window) {
    co_handle *handle = HANDLE(uv);
    (void)suggested;
    int reads = co_wanted(handle) && (!handle->shared || co_shared_reads(handle)) &&
                !(handle->shared_tty && co_is_replaced(handle));
    *window = reads ? co_window_for(handle->loop, handle->slot) : uv_buf_init(NULL, 0);
}

/* When the peer has hung up, libuv before 1.52 takes a read that brought less than it might for the last one, and reports
 * the end without a window, and without having asked. The kernel may have more data (a terminal hands out a line buffer
 * at a time, a Unix socket one message with descriptors), or the error that cut the stream off. Returns UV_EOF if the
 * kernel says so, the error, or 0: a read will show. A socket reports an error once, so that one counts. */
static int end_of(co_handle *handle) {
    struct stat file;
    char byte;
    int left = 0, fd = co_uv_fd(&handle->u.stream);
    if (handle->not_a_socket) {
        int is_pipe = !fstat(fd, &file) && S_ISFIFO(file.st_mode);
        return is_pipe && !ioctl(fd, FIONREAD, &left) && !left ? UV_EOF : 0;
    }
    ssize_t count = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (count >= 0) return count ? 0 : UV_EOF;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : uv_translate_sys_error(errno);
}

static void on_read(uv_stream_t *uv, ssize_t count, const uv_buf_t *window) {
    co_handle *handle = HANDLE(uv);
    if (count == UV_EOF && !window->base) {
        count = end_of(handle);
        if (!count) uv_read_start(uv, on_alloc, on_read);
    }
    if (count > 0)
        co_deliver(handle, window->base, (size_t)count);
    else if (count == UV_ENOBUFS && handle->shared_tty && co_is_replaced(handle))
        co_descriptor_check(handle);
    else if (count == UV_ENOBUFS) {
        if (!handle->shared || !co_shared_read(handle)) co_unserved(handle);
    } else if (count < 0)
        co_read_end(handle, (int)count);
}

/* Before libuv polls, for a stream that found the arena full in the step before. The end is left to libuv; an error is not,
 * for the kernel reports it to one read only. */
void co_stream_ready(co_handle *stream) {
    co_loop *loop = stream->loop;
    if (!co_wanted(stream) || stream->not_a_socket) return;
    if (stream->u.handle.type == UV_NAMED_PIPE && stream->u.pipe.ipc) return; /* recv(2) would lose descriptors */
    uv_buf_t window = co_window_for(loop, stream->slot);
    if (!window.base) {
        co_unserved(stream);
        return;
    }
    ssize_t count = recv(co_uv_fd(&stream->u.stream), window.base, window.len, MSG_DONTWAIT);
    if (count > 0)
        co_deliver(stream, window.base, (size_t)count);
    else if (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
        co_read_end(stream, uv_translate_sys_error(errno));
}

/* Have libuv read. After an error that it has read itself it refuses to. One that we have read it does not know, and the
 * system, which reports an error once, would report the end. */
int co_reading_start(co_handle *stream) {
    int code = stream->broken ? UV_ENOTCONN : co_is_watched(stream);
    return code ? code : uv_read_start(&stream->u.stream, on_alloc, on_read);
}

int co_read_start(co_loop *loop, uint32_t slot) {
    STREAM(stream, loop, slot);
    int code = co_reading_start(stream);
    if (!code) loop->demand[slot] = 0;
    return code;
}
