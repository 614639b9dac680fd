/* Signal handles as libuv has them, for coutil.uv. Each counts as a watcher of its signal (see tap_on): when the last one
 * has stopped, what was set for the signal before holds again, in place of the system's default.
 *
 * A signal that is to be told once is stopped here: libuv's own one-shot handles stay so for ever (1.44).
 */

#define UV_SIGNAL_OF(handle) ((uv_signal_t *)&(handle)->u)

/* What a signal handle has in `extra` is its tap while it is started; `fd` is 1 if it stops at its first signal. */
static void raw_signal_off(co_handle *signal) {
    co_tap *tap = signal->extra;
    if (!tap) return;
    signal->extra = NULL;
    uv_signal_stop(UV_SIGNAL_OF(signal));
    tap_off(tap);
}

/* Signals are not counted: one record a turn, so that the ring has room. */
static void on_raw_signal(uv_signal_t *uv, int number) {
    co_handle *signal = HANDLE(uv);
    co_loop *loop = signal->loop;
    if (signal->turn != loop->turn) push(loop, signal->slot, signal->generation, number, 0);
    signal->turn = loop->turn;
    if (signal->fd) raw_signal_off(signal);
}

int co_raw_signal_new(co_loop *loop, uint32_t slot, uint32_t generation) {
    co_handle *signal;
    ENTER(loop);
    int code = raw_open(loop, slot, generation, UV_SIGNAL, &signal);
    if (code) return code;
    signal->ending = raw_signal_off;
    return handle_opened(signal, uv_signal_init(&loop->uv, UV_SIGNAL_OF(signal)));
}

int co_raw_signal_start(co_loop *loop, uint32_t slot, uint32_t generation, int number, int once) {
    co_tap *tap;
    RENEWED(signal, UV_SIGNAL, loop, slot, generation);
    int code = tap_on(loop, number, &tap);
    if (code) return code;
    raw_signal_off(signal);
    signal->extra = tap;
    signal->fd = once;
    return uv_signal_start(UV_SIGNAL_OF(signal), on_raw_signal, number); /* cannot fail: the tap is started */
}

int co_raw_signal_stop(co_loop *loop, uint32_t slot, uint32_t generation) {
    RENEWED(signal, UV_SIGNAL, loop, slot, generation);
    raw_signal_off(signal);
    return 0;
}

/* ---- in the child of a fork ---- */

/* A signal must not be written to the pipe that the parent's loop reads. What was caught by then is the parent's. */
static void raw_signals_forked(co_loop *loop) {
    for (uint32_t slot = 0; slot < loop->slots; slot++) {
        co_handle *signal = loop->handles[slot];
        if (!signal || !signal->raw || signal->u.handle.type != UV_SIGNAL) continue;
        if (signal->extra) uv_signal_stop(UV_SIGNAL_OF(signal));
        UV_SIGNAL_OF(signal)->caught_signals = UV_SIGNAL_OF(signal)->dispatched_signals;
    }
}

/* Watch again what was watched. */
static void signals_revive(co_loop *loop) {
    for (co_tap *tap = loop->taps; tap; tap = tap->next) {
        uint32_t count = tap->count;
        co_tap *same_tap = tap;
        tap->uv.caught_signals = tap->uv.dispatched_signals;
        for (tap->count = 0; count > 0; count--) tap_on(loop, tap->number, &same_tap);
    }
    for (uint32_t slot = 0; slot < loop->slots; slot++) {
        co_handle *signal = loop->handles[slot];
        if (!signal || !signal->raw || signal->u.handle.type != UV_SIGNAL || !signal->extra) continue;
        uv_signal_start(UV_SIGNAL_OF(signal), on_raw_signal, ((co_tap *)signal->extra)->number);
    }
}
