/* The table of handles: the memory of each from its making to its end.
 *
 * Python hands out slots, small integers; no pointer into this memory reaches it, but for uv.Async. Counters say how many
 * handles were created, closed and freed: the tests compare them.
 */

#include "slots.h"
#include "records.h"

/* ---- making ---- */

/* Put a handle under a free slot. Returns 0, UV_EBUSY, or UV_ENOMEM, also for a slot that is too large. */
int co_handle_put(co_loop *loop, uint32_t slot, co_handle *handle) {
    if (slot >= CO_SLOTS) return UV_ENOMEM;
    if (slot >= loop->slots) {
        uint32_t slots = loop->slots;
        while (slots <= slot) slots = slots ? slots * 2 : 64;
        co_handle **handles = realloc(loop->handles, slots * sizeof *handles);
        if (!handles) return UV_ENOMEM;
        memset(handles + loop->slots, 0, (slots - loop->slots) * sizeof *handles);
        loop->handles = handles;
        loop->slots = slots;
    }
    if (loop->handles[slot]) return UV_EBUSY;
    loop->handles[slot] = handle;
    return 0;
}

/* Returns the memory of a handle, as much as its kind needs, or NULL. */
co_handle *co_handle_new(co_loop *loop, const co_kind *kind) {
    co_handle *handle = calloc(1, offsetof(co_handle, u) + uv_handle_size(kind->type));
    if (handle) {
        handle->loop = loop;
        handle->kind = kind;
        handle->fd = handle->owned = -1;
    }
    return handle;
}

/* Make a handle under a free slot. The caller initializes libuv's part and passes the code to co_handle_opened. */
int co_handle_open(co_loop *loop, uint32_t slot, uint32_t generation, const co_kind *kind, co_handle **made) {
    co_handle *handle = *made = co_handle_new(loop, kind);
    if (!handle) return UV_ENOMEM;
    handle->slot = slot;
    handle->generation = generation;
    loop->handles_created++;
    int code = co_reserve(loop);
    if (!code) code = co_handle_put(loop, slot, handle);
    if (code) {
        loop->handles_created--;
        free(handle);
    }
    return code;
}

/* The same for one of coutil.uv. */
int co_raw_handle_open(co_loop *loop, uint32_t slot, uint32_t generation, const co_kind *kind, co_handle **made) {
    int code = co_handle_open(loop, slot, generation, kind, made);
    if (!code) (*made)->raw = 1;
    return code;
}

/* ---- the end ---- */

static void on_discarded(uv_handle_t *uv) {
    co_handle *handle = HANDLE(uv);
    handle->loop->handles_freed++;
    free(handle);
}

/* Forget a handle that libuv knows and Python does not, as its start has failed: its slot is free at once, and no record
 * comes. */
void co_handle_discard(co_handle *handle) {
    co_loop *loop = handle->loop;
    loop->handles[handle->slot] = NULL;
    loop->handles_closed++;
    uv_close(&handle->u.handle, on_discarded);
}

/* The end of a handle that Python has closed: a record reports it. */
void co_handle_over(co_handle *handle) {
    co_loop *loop = handle->loop;
    loop->handles[handle->slot] = NULL;
    loop->handles_freed++;
    loop->lost_closing -= handle->closed_by_python;
    co_push(loop, handle->slot, handle->generation, CO_CLOSED, 0);
    free(handle);
}

/* The close callback of all kinds. One that has lost its descriptor waits for Python's close, see descriptors.c. */
void co_on_close(uv_handle_t *uv) {
    co_handle *handle = HANDLE(uv);
    if (handle->kind->closed) handle->kind->closed(handle);
    handle->closed_by_uv = 1;
    if (!handle->lost || handle->closed_by_python) co_handle_over(handle);
}

/* Have the next step call the kind's `ready` before libuv polls: see retry_starved in step.c. */
void co_starve(co_handle *handle) {
    co_loop *loop = handle->loop;
    if (!handle->starved) loop->starved[loop->starved_count++] = handle->slot;
    handle->starved = 1;
}
