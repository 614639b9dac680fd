/* Signal handles as libuv has them, for coutil.uv. Each counts as a watcher of its signal (see signals.c): when the last one
 * has stopped, what was set for the signal before holds again, in place of the system's default.
 *
 * One that stops at its first signal is stopped here: libuv's own one-shot handles stay one-shot at the next start (1.44).
 */

#include "uvsignal.h"
#include "handles.h"
#include "records.h"
#include "signals.h"
#include "slots.h"

/* While a signal handle is started, `extra` is its shared watcher; `fd` is 1 if it stops at its first signal. */
static void raw_signal_off(co_handle *signal) {
    co_shared_watcher *shared = signal->extra;
    if (!shared) return;
    signal->extra = NULL;
    uv_signal_stop(&signal->u.signal);
    co_shared_watcher_stop(shared);
}

/* Signals are not counted: one record a turn, so that the ring has room. */
static void on_raw_signal(uv_signal_t *uv, int number) {
    co_handle *signal = HANDLE(uv);
    co_loop *loop = signal->loop;
    if (signal->turn != loop->turn) co_push(loop, signal->slot, signal->generation, number, 0);
    signal->turn = loop->turn;
    if (signal->fd) raw_signal_off(signal);
}

/* In the child of a fork: a signal must not be written to the pipe that the parent's loop reads. What was caught by then is
 * the parent's. */
static void raw_signal_forked(co_handle *signal) {
    if (signal->extra) uv_signal_stop(&signal->u.signal);
    co_uv_signal_settle(&signal->u.signal);
}

static void raw_signal_revived(co_handle *signal) {
    co_shared_watcher *shared = signal->extra;
    if (shared) uv_signal_start(&signal->u.signal, on_raw_signal, shared->number);
}

static const co_kind raw_signal_kind = {.type = UV_SIGNAL, .forked = raw_signal_forked, .revived = raw_signal_revived};

int co_raw_signal_new(co_loop *loop, uint32_t slot, uint32_t generation) {
    co_handle *signal;
    ENTER(loop);
    int code = co_raw_handle_open(loop, slot, generation, &raw_signal_kind, &signal);
    if (code) return code;
    signal->before_close = raw_signal_off;
    return co_handle_opened(signal, uv_signal_init(&loop->uv, &signal->u.signal));
}

int co_raw_signal_start(co_loop *loop, uint32_t slot, uint32_t generation, int number, int once) {
    co_shared_watcher *shared;
    RENEWED(signal, UV_SIGNAL, loop, slot, generation);
    int code = co_shared_watcher_start(loop, number, &shared);
    if (code) return code;
    raw_signal_off(signal);
    signal->extra = shared;
    signal->fd = once;
    return uv_signal_start(&signal->u.signal, on_raw_signal, number); /* cannot fail: the shared watcher is started */
}

int co_raw_signal_stop(co_loop *loop, uint32_t slot, uint32_t generation) {
    RENEWED(signal, UV_SIGNAL, loop, slot, generation);
    raw_signal_off(signal);
    return 0;
}
