/* What makes a loop, and a turn of it, the same on every libuv.
 *
 * Until 1.44 uv_run calls due timers before it polls; from 1.45 on it does so after it has polled, and before only with
 * UV_RUN_DEFAULT, which may run without end. Here a due timer always comes before what the poll brings.
 *
 * A quiet step is one that finds nothing alive. uv_run would do nothing then; ours polls, for signals, children and calls
 * of other threads. What a handle of coutil.uv that is not referenced would bring is put off.
 */

#include "turns.h"

/* Whether what a handle has to report is put off. */
int co_is_quiet(co_handle *handle) { return handle->loop->quiet && !uv_has_ref(&handle->u.handle); }

static void on_timers_over(uv_timer_t *uv) { uv_stop(uv->loop); }

/* Call the timers that are due, and nothing else: one of ours that comes last among them ends the run before it polls. */
void co_timers_run(co_loop *loop) {
    if (uv_version() < CO_UV_VERSION(1, 45, 0) || !co_uv_timer_due(&loop->uv)) return;
    uv_timer_start(&loop->timers_over, on_timers_over, 0, 0);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    uv_timer_stop(&loop->timers_over);
    co_uv_unstop(&loop->uv);
}

/* libuv 1.45 to 1.48 hand calls of files to io_uring, by a ring that the child of a fork shares with its parent: what was on
 * its way at the fork never ends in the child, and cannot be cancelled. Later versions do so only if they are asked to. libuv
 * looks for the variable when the first loop is made; one that the user has set is left alone. */
static void io_uring_off(void) {
    const char *name = "UV_USE_IO_URING";
    uv_loop_t first;
    if (uv_version() < CO_UV_VERSION(1, 45, 0) || uv_version() >= CO_UV_VERSION(1, 49, 0)) return;
    if (getenv(name) || setenv(name, "0", 1)) return;
    if (!uv_loop_init(&first)) uv_loop_close(&first);
    unsetenv(name);
}

void co_same_everywhere(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, io_uring_off);
}
