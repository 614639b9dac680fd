/* A loop that goes on in the child of a fork.
 *
 * co_loop_forked leaves everything as it is, for the descriptors are the parent's, too; co_loop_revive makes the kernel's
 * part anew. Timers, streams and signals go on. The threads of the pool do not exist here: what they had not finished is
 * cancelled. Children are our parent's: how they end cannot be known.
 */

#include "fork.h"
#include "children.h"
#include "descriptors.h"
#include "pool.h"
#include "signals.h"
#include "step.h"
#include "uvprocess.h"
#include "wakeups.h"

/* Call `function` of the kind of each handle that has it. */
#define EACH_KIND(loop, function)                                            \
    for (uint32_t slot = 0; slot < (loop)->slots; slot++) {                  \
        co_handle *handle = (loop)->handles[slot];                           \
        if (handle && handle->kind->function) handle->kind->function(handle); \
    }

/* In the child of a fork: the descriptors are shared with the parent, so nothing of the loop may be changed. */
void co_loop_forked(co_loop *loop) {
    if (!loop || loop->forked) return;
    loop->forked = 1;
    co_signals_fork_begin(loop);
    EACH_KIND(loop, forked)
    co_children_forked(loop);
    co_signals_fork_end(loop);
}

/* ---- a loop that goes on ---- */

static void on_walk_polls(uv_handle_t *uv, void *data) {
    if (uv->type == UV_FS_POLL) co_uv_fs_poll_revive((uv_fs_poll_t *)uv);
}

/* A file that is polled will be looked at by the pool, whose threads libuv starts anew. */
static void on_walk_pool(uv_handle_t *uv, void *data) {
    if (uv->type == UV_FS_POLL && uv_is_active(uv)) *(int *)data = co_pool_ready();
}

/* What the pool has finished, or is taken for that. */
static void pool_revive(co_loop *loop) {
    co_uv_work_reset(&loop->uv);
    co_pooled_revive_all(loop);
    uv_walk(&loop->uv, on_walk_polls, NULL);
    co_uv_work_announce(&loop->uv);
}

/* A call that was on its way when the process forked went to the parent. The handles of such calls are noted (in `number`)
 * before uv_loop_fork, which forgets the calls in libuv 1.48. */
static void on_walk_pending(uv_handle_t *uv, void *data) {
    co_loop *loop = data;
    if (uv->type != UV_ASYNC || uv == (uv_handle_t *)&loop->wakeup) return;
    HANDLE(uv)->number = !uv_is_closing(uv) && co_uv_async_pending((uv_async_t *)uv);
}

static void on_walk_forked(uv_handle_t *uv, void *data) {
    co_loop *loop = data;
    if (uv->type != UV_ASYNC) return;
    if (uv == (uv_handle_t *)&loop->wakeup ? loop->woken : HANDLE(uv)->number) co_uv_async_resend((uv_async_t *)uv);
}

/* Returns 0, or libuv's code: the loop stays unusable then. Nothing happens to a loop of this process. */
int co_loop_revive(co_loop *loop) {
    if (!loop || loop->freed || !pthread_equal(loop->thread, pthread_self())) return CO_FOREIGN;
    if (!loop->forked) return 0;
    int code = 0;
    uv_walk(&loop->uv, on_walk_pool, &code);
    if (code) return code;
    uv_walk(&loop->uv, on_walk_pending, loop);
    co_wakeups_forked(loop);
    code = uv_loop_fork(&loop->uv);
    if (code) return code;
    loop->forked = 0;
    uv_walk(&loop->uv, on_walk_forked, loop);
    pool_revive(loop);
    co_child_watchers_forked(loop);
    co_owners_revive(loop);
    co_signals_revive(loop);
    EACH_KIND(loop, revived)
    co_update(loop);
    return 0;
}
