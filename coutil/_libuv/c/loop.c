/* Loops: how they are made and closed. */

#include <sys/mman.h>

#include "loop.h"
#include "descriptors.h"
#include "handles.h"
#include "pool.h"
#include "records.h"
#include "requests.h"
#include "signals.h"
#include "step.h"
#include "turns.h"
#include "uvprocess.h"
#include "wakeups.h"
#include "writing.h"

#if !CO_UV_IS_CHECKED
#warning "this libuv is newer than the newest one that coutil was compared with: see uv_private.h"
#endif

#define CO_CLOSING 200 /* tries to close a loop, a millisecond apart while the thread pool is busy */

/* ---- memory ---- */

/* Large memory comes as zero pages and goes back at once: malloc would keep it, and calloc write to all of it. */
static void *pages_new(size_t size) {
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

static void pages_free(void *pages, size_t size) {
    if (pages) munmap(pages, size);
}

/* The struct itself stays, so that a call that comes too late (from another thread, perhaps) finds it dead. */
static void loop_free(co_loop *loop) {
    free(loop->records);
    pages_free(loop->arena, CO_ARENA);
    pages_free(loop->demand, CO_SLOTS * sizeof *loop->demand);
    pages_free(loop->starved, CO_SLOTS * sizeof *loop->starved);
    free(loop->handles);
    free(loop->requests);
    loop->forked = loop->freed = 1;
}

/* No other thread has the pointer any longer. A loop that was not closed is leaked: its memory may be in use. */
void co_loop_delete(co_loop *loop) {
    if (loop && loop->freed) free(loop);
}

/* ---- making: descriptors first
 *
 * libuv reports most failures, but aborts the process in two cases that have to do with descriptors. If the very first loop
 * cannot have all of its six (an epoll set, an event counter, two pipes for signals), there is no way to say so. And it
 * refuses to close numbers 0, 1 and 2: a process that began without standard streams would get them for loops and sockets,
 * which other code would also read and write as standard streams. Both are looked for before. ---- */

/* Whether the process can still open six descriptors. */
static int descriptors_left(void) {
    uv_file ends[6];
    int pipes = 0;
    while (pipes < 3 && !uv_pipe(ends + 2 * pipes, 0, 0)) pipes++;
    for (int i = 0; i < 2 * pipes; i++) close(ends[i]);
    return pipes == 3;
}

/* Have descriptors 0, 1 and 2 in use. */
static void standard_descriptors(void) {
    for (int fd = 0; fd < CO_FIRST_FD; fd++)
        while (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            if (open("/dev/null", O_RDWR) < 0) return; /* takes the lowest number that is free */
}

/* The handles that a loop has for itself. Returns libuv's code. */
static int own_handles_open(co_loop *loop) {
    loop->wakeup.data = loop->pause_timer.data = loop;
    uv_timer_init(&loop->uv, &loop->timers_over);
    uv_unref((uv_handle_t *)&loop->timers_over);
    uv_timer_init(&loop->uv, &loop->pause_timer);
    uv_unref((uv_handle_t *)&loop->pause_timer);
    co_look_open(loop);
    int code = uv_async_init(&loop->uv, &loop->wakeup, co_on_wakeup);
    if (!code) uv_unref((uv_handle_t *)&loop->wakeup);
    return code;
}

static int is_own_handle(co_loop *loop, uv_handle_t *uv) {
    return uv == (uv_handle_t *)&loop->wakeup || uv == (uv_handle_t *)&loop->signals ||
           uv == (uv_handle_t *)&loop->pause_timer || uv == (uv_handle_t *)&loop->timers_over ||
           uv == (uv_handle_t *)&loop->look;
}

/* Returns NULL without memory or descriptors. */
co_loop *co_loop_new(void) {
    standard_descriptors();
    if (descriptors_left()) co_same_everywhere();

    /* Memory, then libuv's loop. */
    co_loop *loop = calloc(1, sizeof *loop);
    if (!loop) return NULL;
    loop->arena = pages_new(CO_ARENA);
    loop->demand = pages_new(CO_SLOTS * sizeof *loop->demand); /* costs memory only where used */
    loop->starved = pages_new(CO_SLOTS * sizeof *loop->starved);
    int has_memory = loop->arena && loop->demand && loop->starved && !co_reserve(loop);
    if (!has_memory || !descriptors_left() || uv_loop_init(&loop->uv)) {
        loop_free(loop);
        free(loop);
        return NULL;
    }

    /* From here on the loop has to be closed. */
    loop->thread = pthread_self();
    loop->uv.data = loop;
    loop->inline_done_end = &loop->inline_done;
    loop->status = &loop->clock;
    if (own_handles_open(loop)) {
        uv_close((uv_handle_t *)&loop->pause_timer, NULL);
        uv_close((uv_handle_t *)&loop->timers_over, NULL);
        uv_close((uv_handle_t *)&loop->look, NULL);
        uv_run(&loop->uv, UV_RUN_NOWAIT);
        uv_loop_close(&loop->uv);
        loop_free(loop);
        free(loop);
        return NULL;
    }
    co_update(loop);
    return loop;
}

/* ---- closing ---- */

static void on_walk(uv_handle_t *uv, void *data) {
    co_loop *loop = data;
    if (uv_is_closing(uv)) return;
    if (is_own_handle(loop, uv))
        uv_close(uv, NULL);
    else if (HANDLE(uv)->kind->walk)
        HANDLE(uv)->kind->walk(HANDLE(uv));
    else
        co_handle_end(HANDLE(uv));
}

/* Close all handles. What closes handles of libuv that are no co_handle comes before the walk. */
static void handles_close(co_loop *loop) {
    for (uint32_t slot = 0; slot < loop->slots; slot++) {
        co_handle *handle = loop->handles[slot];
        if (handle && (handle->raw || handle->shared || handle->listener)) co_close(loop, slot);
    }
    co_child_watchers_leave(loop);
    co_signals_keep(loop);
    co_signals_close(loop);
    uv_walk(&loop->uv, on_walk, loop);
    co_lost_leave(loop);
    co_signals_put_back(loop);
}

/* Close everything and free the loop. Returns 0, or UV_EBUSY if libuv still holds on (the memory is leaked then): a call
 * in the thread pool that has started cannot be cancelled, and may take any time. */
int co_loop_close(co_loop *loop) {
    ENTER(loop);
    co_pooled_cancel_all(loop, 1);
    handles_close(loop);
    loop->count = 0;
    co_report_inline_done(loop);
    int code = UV_EBUSY;
    for (int round = 0; code && round < CO_CLOSING; round++) {
        loop->count = 0;
        uv_run(&loop->uv, UV_RUN_NOWAIT);
        code = uv_loop_close(&loop->uv);
        if (code) usleep(1000); /* the thread pool has something still */
    }
    co_sigpipe_unblock(loop);
    if (!code) loop_free(loop);
    return code;
}
