/* Python's wake-up descriptor, to which its signal handler writes: libuv goes on polling after EINTR, so this is the only
 * way to make Python run its handlers while the loop waits.
 *
 * The descriptor is one for the whole process. Other libraries set it, too, and take it back to nothing at their end:
 * asyncio does. Python does not announce it, and to ask is to set it, which costs microseconds. So a loop that waits asks once,
 * some time after Python code has run; a busy loop asks as seldom, and an idle one no more.
 *
 * Code that has set the descriptor before us, or replaced ours, gets every byte passed on, as long as the file behind the
 * number is the same.
 */

#include "wakeups.h"
#include "records.h"

#include <sys/stat.h>

#define CO_LOOK_MS 100
#define CO_WATCHED 1   /* signals_on: Python's wake-up pipe is polled */
#define CO_UNWATCHED 2 /* it was, before a fork */

static int wakeups_next = -1; /* the other library's, of all loops of the main thread */
static struct stat wakeups_next_file;

static void wakeups_pass_on(const char *bytes, size_t count) {
    struct stat file;
    if (wakeups_next < 0 || fstat(wakeups_next, &file)) return;
    if (file.st_dev != wakeups_next_file.st_dev || file.st_ino != wakeups_next_file.st_ino) return;
    if (write(wakeups_next, bytes, count) < 0) return; /* full: its reader has not read the bytes before */
}

/* Python's signal handler wrote: leave the loop so that Python can run its handlers. */
static void on_signal_byte(uv_poll_t *uv, int status, int events) {
    char bytes[64];
    int fd = (int)(intptr_t)uv->data;
    (void)status;
    (void)events;
    for (ssize_t count; (count = read(fd, bytes, sizeof bytes)) > 0;) wakeups_pass_on(bytes, (size_t)count);
    uv_stop(uv->loop);
}

/* Poll the reading end of the pipe. */
int co_watch_wakeups(co_loop *loop, int fd) {
    ENTER(loop);
    if (loop->signals_on == CO_WATCHED) return UV_EALREADY;
    int code = loop->signals_on ? 0 : uv_poll_init(&loop->uv, &loop->signals, fd);
    if (code) return code;
    loop->signals_on = CO_WATCHED;
    co_uv_set_fd(&loop->signals, fd);
    loop->signals.data = (void *)(intptr_t)fd;
    uv_unref((uv_handle_t *)&loop->signals);
    return uv_poll_start(&loop->signals, UV_READABLE, on_signal_byte);
}

/* The poll of Python's wake-up pipe, which is closed here, must leave no trace in the parent's epoll descriptor. */
void co_wakeups_forked(co_loop *loop) {
    if (loop->signals_on != CO_WATCHED) return;
    co_uv_poll_stop_in_child(&loop->signals);
    loop->signals_on = CO_UNWATCHED;
}

/* Note the descriptor that the bytes are passed on to; -1: there is none. */
void co_wakeups_next(int fd) { wakeups_next = fd >= 0 && !fstat(fd, &wakeups_next_file) ? fd : -1; }

static void on_look(uv_timer_t *uv) {
    co_loop *loop = uv->data;
    loop->look_due = 1;
    uv_stop(&loop->uv);
}

void co_look_open(co_loop *loop) {
    uv_timer_init(&loop->uv, &loop->look); /* cannot fail */
    loop->look.data = loop;
    uv_unref((uv_handle_t *)&loop->look);
}

/* Before a step that may wait: have it end in so many milliseconds, 0: when it is time to look at the descriptor. */
void co_look_before(co_loop *loop, int milliseconds) {
    if (milliseconds) uv_timer_start(&loop->look, on_look, (uint64_t)milliseconds, 0);
    else if (loop->looked) loop->looked = 0; /* just now, and no other code has run since */
    else if (loop->signals_on == CO_WATCHED && !uv_is_active((uv_handle_t *)&loop->look))
        uv_timer_start(&loop->look, on_look, CO_LOOK_MS, 0);
}

/* After a step: whether it has ended for nothing but a look. */
int co_look_after(co_loop *loop) {
    int due = loop->look_due;
    loop->look_due = 0;
    loop->looked = due && !loop->count;
    return loop->looked;
}

/* ---- calls of other threads ---- */

/* Calls of other threads go before what those threads did next: each co_wake sets `woken`, and the first callback that sees
 * it pushes the record. The callback of libuv's own handle may come later than that of a request which ended after the call. */
void co_wakeup_push(co_loop *loop) {
    if (__atomic_exchange_n(&loop->woken, 0, __ATOMIC_ACQ_REL)) co_push(loop, CO_WAKEUP, 0, 0, 0);
}

void co_on_wakeup(uv_async_t *uv) { co_wakeup_push(uv->data); }

/* Safe from any thread and from a signal handler, as long as the loop exists. */
void co_wake(co_loop *loop) {
    if (!loop || loop->forked) return;
    __atomic_store_n(&loop->woken, 1, __ATOMIC_RELEASE);
    uv_async_send(&loop->wakeup);
}
