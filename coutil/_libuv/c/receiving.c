/* Receiving, for streams and datagram sockets: whether data are wanted, where they go, and what stops the reading.
 *
 * Data go into the arena of the loop, into a window as large as the waiter wants. Python takes them out before the next
 * step, which begins with an empty arena. What no coroutine waits for, and what does not fit, stays in the kernel.
 */

#include "receiving.h"
#include "records.h"
#include "slots.h"

#define CO_PUSH_WINDOW 65536 /* how much a handle in push mode reads at once */
#define CO_MIN_WINDOW 4096   /* a window smaller than this, and than what is wanted, waits for the next turn */

/* Whether data for a handle are to be read now: a coroutine waits, or it is in push mode and had none in this step. */
int co_wanted(co_handle *handle) {
    return handle->loop->demand[handle->slot] > 0 || (handle->push_mode && handle->turn != handle->loop->turn);
}

/* A window of the arena as large as the waiter wants, if there is that much left. */
uv_buf_t co_window_for(co_loop *loop, uint32_t slot) {
    uint32_t demand = loop->demand[slot] > 0 ? (uint32_t)loop->demand[slot] : CO_PUSH_WINDOW, left = CO_ARENA - loop->arena_used;
    if (left < demand && left < CO_MIN_WINDOW) return uv_buf_init(NULL, 0);
    return uv_buf_init(loop->arena + loop->arena_used, demand < left ? demand : left);
}

/* Record what a stream has received in its window. */
void co_deliver(co_handle *handle, char *data, size_t count) {
    co_loop *loop = handle->loop;
    uint32_t offset = (uint32_t)(data - loop->arena);
    loop->arena_used = (offset + (uint32_t)count + 15) & ~15u;
    loop->demand[handle->slot] = 0;
    handle->turn = loop->turn;
    co_push(loop, handle->slot, handle->generation, (int)count, offset);
    if (handle->raw && !handle->push_mode) { /* it is active, and keeps the loop alive, only while a coroutine waits */
        uv_read_stop(&handle->u.stream);
        loop->demand[handle->slot] = -1;
    }
}

/* Reading has ended, and the record says why. The next wait starts afresh. */
void co_read_end(co_handle *handle, int code) {
    uv_read_stop(&handle->u.stream);
    handle->push_mode = 0;
    handle->broken |= code != UV_EOF;
    handle->loop->demand[handle->slot] = -1;
    co_push(handle->loop, handle->slot, handle->generation, code, 0);
}

/* Stop to poll a handle. */
void co_disarm(co_handle *handle) {
    if (handle->u.handle.type == UV_UDP)
        uv_udp_recv_stop(&handle->u.udp);
    else
        uv_read_stop(&handle->u.stream);
    handle->loop->demand[handle->slot] = -1;
}

/* An event had no window.
 *
 * Disarm late: to stop and start the reading costs two system calls, so a handle is polled on after a delivery. The first
 * event that finds no waiter, in a step that delivered nothing here, stops the reading.
 *
 * A handle that is wanted has found the arena full. It is *starved*: if libuv went on by the order of descriptors, the same
 * ones would find it full in each step. So the next step serves the starved ones first, in the order in which they were. */
void co_unserved(co_handle *handle) {
    co_loop *loop = handle->loop;
    if (co_wanted(handle)) {
        co_starve(handle);
        uv_stop(&loop->uv);
    } else if (handle->turn != loop->turn && !handle->push_mode)
        co_disarm(handle);
}
