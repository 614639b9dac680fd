/* What a step of ours asks of uv_run, so that a turn is the same on every libuv.
 *
 * Until 1.44 uv_run calls due timers before it polls; from 1.45 on it does so after it has polled, and before only with
 * UV_RUN_DEFAULT, which may run for ever. Here a due timer always comes before what the poll brings.
 *
 * A quiet step is one that finds nothing alive. uv_run would do nothing then; ours polls, for signals, children and calls
 * of other threads. What a handle of coutil.uv that is not referenced would bring is put off.
 */

static int is_quiet(co_handle *handle) { return handle->loop->quiet && !uv_has_ref(&handle->u.handle); }

/* In libuv a timer is a node of three pointers in a heap, in front of the time that it is due at. */
static int is_timer_due(const uv_loop_t *uv) {
    const char *first = uv->timer_heap.min;
    if (!first) return 0;
    return ((const uv_timer_t *)(first - offsetof(uv_timer_t, timeout) + 3 * sizeof(void *)))->timeout <= uv_now(uv);
}

static void on_timers_over(uv_timer_t *uv) { uv_stop(uv->loop); }

/* Call the timers that are due, and nothing else: one of ours that comes last among them ends the run before it polls. */
static void timers_run(co_loop *loop) {
    if (uv_version() < 0x012d00 || !is_timer_due(&loop->uv)) return;
    uv_timer_start(&loop->timers_over, on_timers_over, 0, 0);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    uv_timer_stop(&loop->timers_over);
    loop->uv.stop_flag = 0;
}
