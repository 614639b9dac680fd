/* Handles as libuv has them, for coutil.uv: raw ones.
 *
 * Whether a raw handle keeps the loop alive is libuv's own flag (uv_ref), not whether a coroutine waits. Python gives a new
 * generation with every start and stop, so that a record which is under way when a handle is stopped is stale.
 */

#include <stdio.h>

#include "uvhandles.h"
#include "handles.h"
#include "listeners.h"
#include "records.h"
#include "slots.h"
#include "timers.h"
#include "turns.h"

static const co_kind raw_timer_kind = {.type = UV_TIMER};
static const co_kind prepare_kind = {.type = UV_PREPARE};
static const co_kind check_kind = {.type = UV_CHECK};
static const co_kind idle_kind = {.type = UV_IDLE};
static const co_kind async_kind = {.type = UV_ASYNC};

/* ---- every handle ---- */

/* Returns 0 for a handle that has lost its descriptor: it is open for Python, and neither active nor referenced. */
#define LOST(loop, slot) \
    ENTER(loop);         \
    if (co_find(loop, slot) && co_find(loop, slot)->lost) return 0

/* Whether a handle is active (1), referenced (2). */
int co_handle_flags(co_loop *loop, uint32_t slot) {
    LOST(loop, slot);
    OPEN(handle, loop, slot);
    int active = uv_is_active(&handle->u.handle) || handle->listener;
    return (active ? 1 : 0) | (uv_has_ref(&handle->u.handle) ? 2 : 0);
}

int co_handle_ref(co_loop *loop, uint32_t slot, int on) {
    LOST(loop, slot);
    OPEN(handle, loop, slot);
    if (on)
        uv_ref(&handle->u.handle);
    else
        uv_unref(&handle->u.handle);
    co_listener_hold(handle, on);
    return 0;
}

/* The size of a socket's send buffer (which = 0) or receive buffer; it is set first if `size` is not 0. */
int co_buffer_size(co_loop *loop, uint32_t slot, int which, int size) {
    OPEN(handle, loop, slot);
    int code = which ? uv_recv_buffer_size(&handle->u.handle, &size) : uv_send_buffer_size(&handle->u.handle, &size);
    return code < 0 ? code : size;
}

/* ---- timers ---- */

static void on_raw_timer(uv_timer_t *uv) {
    co_handle *timer = HANDLE(uv);
    if (co_is_quiet(timer))
        uv_timer_start(uv, on_raw_timer, 1, uv_timer_get_repeat(uv));
    else
        co_push(timer->loop, timer->slot, timer->generation, 0, 0);
}

int co_raw_timer_new(co_loop *loop, uint32_t slot, uint32_t generation) {
    co_handle *timer;
    ENTER(loop);
    int code = co_raw_handle_open(loop, slot, generation, &raw_timer_kind, &timer);
    return code ? code : co_handle_opened(timer, uv_timer_init(&loop->uv, &timer->u.timer));
}

/* Start a timer that fires `timeout` milliseconds after this call, never earlier; 0: in the next turn. */
static int raw_timer_start(co_handle *timer, uint64_t timeout, uint64_t repeat) {
    uint64_t behind = timeout ? co_timeout_from_now(timer->loop, 0) : 0;
    timeout = timeout < UINT64_MAX - behind ? timeout + behind : UINT64_MAX;
    return uv_timer_start(&timer->u.timer, on_raw_timer, timeout, repeat);
}

int co_raw_timer_start(co_loop *loop, uint32_t slot, uint32_t generation, uint64_t timeout, uint64_t repeat) {
    RENEWED(timer, UV_TIMER, loop, slot, generation);
    return raw_timer_start(timer, timeout, repeat);
}

int co_raw_timer_stop(co_loop *loop, uint32_t slot, uint32_t generation) {
    RENEWED(timer, UV_TIMER, loop, slot, generation);
    return uv_timer_stop(&timer->u.timer);
}

int co_raw_timer_again(co_loop *loop, uint32_t slot, uint32_t generation) {
    RENEWED(timer, UV_TIMER, loop, slot, generation);
    int code = uv_timer_again(&timer->u.timer); /* it refuses what was never started */
    uint64_t repeat = uv_timer_get_repeat(&timer->u.timer);
    return code || !repeat ? code : raw_timer_start(timer, repeat, repeat);
}

int co_raw_timer_set_repeat(co_loop *loop, uint32_t slot, uint64_t repeat) {
    RAW(timer, UV_TIMER, loop, slot);
    uv_timer_set_repeat(&timer->u.timer, repeat);
    return 0;
}

int co_raw_timer_times(co_loop *loop, uint32_t slot, uint64_t *repeat, uint64_t *due_in) {
    RAW(timer, UV_TIMER, loop, slot);
    *repeat = uv_timer_get_repeat(&timer->u.timer);
    *due_in = uv_timer_get_due_in(&timer->u.timer);
    return 0;
}

/* ---- prepare, check and idle: the handlers of the first and last kind run before libuv polls, called by Python ---- */

static void on_prepare(uv_prepare_t *uv) { (void)uv; }
static void on_idle(uv_idle_t *uv) { (void)uv; }

static void on_check(uv_check_t *uv) {
    co_handle *check = HANDLE(uv);
    if (co_is_quiet(check)) return;
    co_push(check->loop, check->slot, check->generation, 0, 0);
}

int co_prepare_new(co_loop *loop, uint32_t slot, uint32_t generation) {
    co_handle *prepare;
    ENTER(loop);
    int code = co_raw_handle_open(loop, slot, generation, &prepare_kind, &prepare);
    return code ? code : co_handle_opened(prepare, uv_prepare_init(&loop->uv, &prepare->u.prepare));
}

int co_check_new(co_loop *loop, uint32_t slot, uint32_t generation) {
    co_handle *check;
    ENTER(loop);
    int code = co_raw_handle_open(loop, slot, generation, &check_kind, &check);
    return code ? code : co_handle_opened(check, uv_check_init(&loop->uv, &check->u.check));
}

int co_idle_new(co_loop *loop, uint32_t slot, uint32_t generation) {
    co_handle *idle;
    ENTER(loop);
    int code = co_raw_handle_open(loop, slot, generation, &idle_kind, &idle);
    return code ? code : co_handle_opened(idle, uv_idle_init(&loop->uv, &idle->u.idle));
}

int co_prepare_run(co_loop *loop, uint32_t slot, uint32_t generation, int on) {
    RENEWED(prepare, UV_PREPARE, loop, slot, generation);
    return on ? uv_prepare_start(&prepare->u.prepare, on_prepare) : uv_prepare_stop(&prepare->u.prepare);
}

int co_check_run(co_loop *loop, uint32_t slot, uint32_t generation, int on) {
    RENEWED(check, UV_CHECK, loop, slot, generation);
    return on ? uv_check_start(&check->u.check, on_check) : uv_check_stop(&check->u.check);
}

int co_idle_run(co_loop *loop, uint32_t slot, uint32_t generation, int on) {
    RENEWED(idle, UV_IDLE, loop, slot, generation);
    return on ? uv_idle_start(&idle->u.idle, on_idle) : uv_idle_stop(&idle->u.idle);
}

/* ---- async: other threads have the pointer, and Python's lock keeps them from using it once it closes ---- */

static void on_async(uv_async_t *uv) {
    co_handle *async = HANDLE(uv);
    co_push(async->loop, async->slot, async->generation, 0, 0);
}

int co_async_new(co_loop *loop, uint32_t slot, uint32_t generation, co_handle **made) {
    ENTER(loop);
    int code = co_raw_handle_open(loop, slot, generation, &async_kind, made);
    return code ? code : co_handle_opened(*made, uv_async_init(&loop->uv, &(*made)->u.async, on_async));
}

int co_async_send(co_handle *async) { return uv_async_send(&async->u.async); }

/* ---- the loop ---- */

int co_loop_now(co_loop *loop, uint64_t *milliseconds) {
    ENTER(loop);
    *milliseconds = uv_now(&loop->uv);
    return 0;
}

int co_loop_backend_fd(co_loop *loop) {
    ENTER(loop);
    return uv_backend_fd(&loop->uv);
}

/* -1: without end. */
int co_loop_backend_timeout(co_loop *loop, int *milliseconds) {
    ENTER(loop);
    uv_timer_stop(&loop->look); /* it is not the user's, and starts again with the next step that waits */
    *milliseconds = uv_backend_timeout(&loop->uv);
    return 0;
}

/* `number` is a signal for UV_LOOP_BLOCK_SIGNAL, else ignored. */
int co_loop_configure(co_loop *loop, int option, int number) {
    ENTER(loop);
    return uv_loop_configure(&loop->uv, (uv_loop_option)option, number);
}

/* From any thread. */
uint64_t co_loop_idle_time(co_loop *loop) { return loop && !loop->forked ? uv_metrics_idle_time(&loop->uv) : 0; }

/* libuv's list of the handles, in memory that the caller frees; NULL without memory. */
char *co_loop_print(co_loop *loop, int active) {
    char *text = NULL;
    size_t size = 0;
    if (co_foreign(loop)) return NULL;
    FILE *stream = open_memstream(&text, &size);
    if (!stream) return NULL;
    if (active)
        uv_print_active_handles(&loop->uv, stream);
    else
        uv_print_all_handles(&loop->uv, stream);
    fclose(stream);
    return text;
}

void co_free(void *memory) { free(memory); }
