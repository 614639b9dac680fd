/* Timers that coroutines wait for.
 *
 * A timer that is over is stopped, not closed: so a wait is over at once, and no record follows. Its memory is kept for the
 * next timer, up to a limit.
 */

#include "timers.h"
#include "records.h"
#include "slots.h"

#define CO_TIMERS_KEPT 1024

static void on_timer_freed(uv_handle_t *uv) { free(HANDLE(uv)); }

/* The loop ends: those that are kept have no slot, so that no record reports the end. */
static void timer_walk(co_handle *timer) { uv_close(&timer->u.handle, on_timer_freed); }

static const co_kind timer_kind = {.type = UV_TIMER, .internal = 1, .walk = timer_walk};

/* ---- memory ---- */

static void timer_keep(co_handle *timer) {
    co_loop *loop = timer->loop;
    timer->next = loop->timers;
    loop->timers = timer;
    loop->timers_kept++;
}

static void timer_retire(co_handle *timer) {
    co_loop *loop = timer->loop;
    loop->handles[timer->slot] = NULL;
    loop->handles_closed++;
    loop->handles_freed++;
    if (loop->timers_kept >= CO_TIMERS_KEPT)
        uv_close(&timer->u.handle, on_timer_freed);
    else
        timer_keep(timer);
}

static co_handle *timer_take(co_loop *loop) {
    co_handle *timer = loop->timers;
    if (timer) {
        loop->timers = timer->next;
        loop->timers_kept--;
        return timer;
    }
    timer = co_handle_new(loop, &timer_kind);
    if (timer) uv_timer_init(&loop->uv, &timer->u.timer);
    return timer;
}

/* ---- starting and stopping ---- */

static void on_timer(uv_timer_t *uv) {
    co_handle *timer = HANDLE(uv);
    co_push(timer->loop, timer->slot, timer->generation, 0, 0);
    timer_retire(timer);
}

/* The timeout for uv_timer_start, which counts from libuv's cached time, so that `nanoseconds` pass from now on. */
uint64_t co_timeout_from_now(co_loop *loop, uint64_t nanoseconds) {
    uint64_t due = (uv_hrtime() + nanoseconds + 999999) / 1000000;
    uint64_t cached = uv_now(&loop->uv);
    return due > cached ? due - cached : 0;
}

/* Fires `nanoseconds` after this call, never earlier. */
int co_timer_start(co_loop *loop, uint32_t slot, uint32_t generation, uint64_t nanoseconds) {
    ENTER(loop);
    co_handle *timer = timer_take(loop);
    if (!timer) return UV_ENOMEM;
    timer->slot = slot;
    timer->generation = generation;
    loop->handles_created++;
    int code = co_reserve(loop);
    if (!code) code = co_handle_put(loop, slot, timer);
    if (code) {
        loop->handles_created--;
        timer_keep(timer);
        return code;
    }
    uv_ref(&timer->u.handle);
    return uv_timer_start(&timer->u.timer, on_timer, co_timeout_from_now(loop, nanoseconds), 0);
}

int co_timer_stop(co_loop *loop, uint32_t slot) {
    ENTER(loop);
    co_handle *timer = co_find(loop, slot);
    if (!timer || timer->u.handle.type != UV_TIMER) return 0; /* it has fired; its record is on the way */
    uv_timer_stop(&timer->u.timer);
    timer_retire(timer);
    return 0;
}

/* Whether a timer that waits keeps the loop alive. */
int co_timer_hold(co_loop *loop, uint32_t slot, int hold) {
    ENTER(loop);
    co_handle *timer = co_find(loop, slot);
    if (!timer || timer->u.handle.type != UV_TIMER) return 0; /* it has fired */
    (hold ? uv_ref : uv_unref)(&timer->u.handle);
    return 0;
}
