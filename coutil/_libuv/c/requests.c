/* Requests: something that libuv does once, and then calls back. Python names one by a slot and a generation.
 *
 * The memory of a request belongs to C from co_request_alloc until its callback has called co_request_done, whatever Python
 * forgets meanwhile. A start that fails has no callback: co_request_started frees the request and passes the code on.
 */

#include "requests.h"
#include "records.h"

/* ---- the table ---- */

/* Have room for a slot in the table of requests. */
static int request_room(co_loop *loop, uint32_t slot) {
    if (slot < loop->request_slots) return loop->requests[slot] ? UV_EBUSY : 0;
    if (slot >= CO_SLOTS) return UV_ENOMEM;
    uint32_t slots = loop->request_slots ? loop->request_slots : 64;
    while (slots <= slot) slots *= 2;
    co_head **table = realloc(loop->requests, slots * sizeof *table);
    if (!table) return UV_ENOMEM;
    memset(table + loop->request_slots, 0, (slots - loop->request_slots) * sizeof *table);
    loop->requests = table;
    loop->request_slots = slots;
    return 0;
}

/* Returns `size` bytes that begin with a co_head, all others 0; NULL without memory, or if the slot is in use. */
void *co_request_alloc(size_t size, co_loop *loop, uint32_t slot, uint32_t generation) {
    if (request_room(loop, slot)) return NULL;
    co_head *head = calloc(1, size);
    if (!head) return NULL;
    head->loop = loop;
    head->slot = slot;
    head->generation = generation;
    loop->requests_created++;
    if (co_reserve(loop)) {
        loop->requests_created--;
        free(head);
        return NULL;
    }
    return loop->requests[slot] = head;
}

co_request *co_request_new(co_loop *loop, uint32_t slot, uint32_t generation) {
    return co_request_alloc(sizeof(co_request), loop, slot, generation);
}

static void request_free(void *request) {
    co_head *head = request;
    head->loop->requests[head->slot] = NULL;
    head->loop->requests_freed++;
    free(request);
}

/* The request under a slot, or NULL. */
co_head *co_request_find(co_loop *loop, uint32_t slot, uint32_t generation) {
    co_head *head = slot < loop->request_slots ? loop->requests[slot] : NULL;
    return head && head->generation == generation ? head : NULL;
}

/* Whether a request has started, and has not ended. */
int co_under_way(co_loop *loop, uint32_t slot, uint32_t generation) {
    ENTER(loop);
    return co_request_find(loop, slot, generation) != NULL;
}

/* ---- beginning and end ---- */

/* A request was started with `code`, which is returned. */
int co_request_started(void *request, int code) {
    if (code < 0) request_free(request);
    return code;
}

/* Record the end of a request and free it. */
void co_request_done(void *request, int result) {
    co_head *head = request;
    co_push(head->loop, head->slot, head->generation, result, 0);
    request_free(request);
}

/* A request on a handle has succeeded as soon as it began. Python learns of each end by a record, and a record belongs to a
 * step: the next one reports it. */
void co_request_inline_done(co_request *request, co_handle *handle) {
    co_loop *loop = request->head.loop;
    co_inline_done *done = &request->u.inline_done;
    done->next = NULL;
    done->slot = handle->slot;
    done->generation = handle->generation;
    *loop->inline_done_end = request;
    loop->inline_done_end = &done->next;
}

/* At the beginning of a step: a handle that was closed meanwhile has cancelled its requests. */
void co_report_inline_done(co_loop *loop) {
    for (co_request *request; (request = loop->inline_done);) {
        co_inline_done *done = &request->u.inline_done;
        co_handle *handle = co_find(loop, done->slot);
        int open = handle && handle->generation == done->generation && !uv_is_closing(&handle->u.handle);
        loop->inline_done = done->next;
        co_request_done(request, open ? 0 : UV_ECANCELED);
    }
    loop->inline_done_end = &loop->inline_done;
}

void co_out_release(co_out *out) {
    if (out->fd >= 0) close(out->fd);
    free(out->memory);
    out->fd = -1;
    out->memory = NULL;
}
