/* Handles of all kinds: the end of their opening, and their closing.
 *
 * A handle begins with co_handle_open, libuv's own init, and co_handle_opened. It ends with the record of its close
 * callback. What the kinds do beyond that are functions of their co_kind.
 */

#include "handles.h"
#include "descriptors.h"
#include "slots.h"

/* The handle is ready, or is freed if libuv's init has failed; returns its code. */
int co_handle_opened(co_handle *handle, int code) {
    co_loop *loop = handle->loop;
    if (code) {
        loop->handles[handle->slot] = NULL;
        loop->handles_created--;
        free(handle);
        return code;
    }
    if (!handle->raw) uv_unref(&handle->u.handle); /* demand[] says whether a coroutine waits, libuv's flag does not */
    loop->demand[handle->slot] = -1;
    co_own(handle);
    return 0;
}

int co_fileno(co_loop *loop, uint32_t slot) {
    uv_os_fd_t fd;
    OPEN(handle, loop, slot);
    if (handle->u.handle.type == UV_POLL) return handle->fd;
    int code = uv_fileno(&handle->u.handle, &fd);
    return code ? code : fd;
}

/* Begin to close a handle without Python's word, at the end of its loop. */
void co_handle_end(co_handle *handle) {
    if (handle->before_close) handle->before_close(handle);
    co_descriptor_leave(handle);
    handle->loop->handles_closed++;
    uv_close(&handle->u.handle, co_on_close);
}

int co_close(co_loop *loop, uint32_t slot) {
    ENTER(loop);
    co_handle *lost = co_find(loop, slot);
    if (lost && lost->lost) return co_lost_close(lost);
    OPEN(handle, loop, slot);
    if (handle->kind->closing) handle->kind->closing(handle);
    loop->demand[slot] = -1;
    co_handle_end(handle);
    if (handle->kind->close_begun) handle->kind->close_begun(handle);
    return 0;
}
