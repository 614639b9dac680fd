/* One turn of a loop: what the hub calls when no coroutine is ready.
 *
 * The order is the same on every libuv: requests that ended at once, handles that are served before the poll, due timers,
 * the poll, and what the poll cannot bring in order by itself (ends of children).
 */

#include "step.h"
#include "descriptors.h"
#include "requests.h"
#include "turns.h"
#include "uvprocess.h"
#include "wakeups.h"
#include "writing.h"

void co_update(co_loop *loop) {
    if (co_foreign(loop)) return;
    uv_update_time(&loop->uv);
    loop->clock = uv_hrtime();
}

/* Whether anything can still happen by itself: libuv's requests, timers and closing handles, or a waiter. */
int co_alive(co_loop *loop) {
    if (co_foreign(loop)) return 0;
    if (loop->inline_done || loop->lost_closing || uv_loop_alive(&loop->uv)) return 1;
    if (loop->last_live_slot < loop->slots && loop->demand[loop->last_live_slot] > 0) return 1;
    for (uint32_t slot = 0; slot < loop->slots; slot++)
        if (loop->demand[slot] > 0) {
            loop->last_live_slot = slot;
            return 1;
        }
    return 0;
}

/* Before libuv polls: serve the handles that are listed, in the order in which they were. These are readers that found the
 * arena full (see co_unserved), handles that have lost their descriptor, and polled descriptors that are new. */
static void retry_starved(co_loop *loop) {
    uint32_t left = loop->starved_count;
    loop->starved_count = 0;
    for (uint32_t i = 0; i < left; i++) { /* what is listed meanwhile takes a place that was read */
        co_handle *handle = co_find(loop, loop->starved[i]);
        if (!handle || !handle->starved) continue; /* closed meanwhile */
        handle->starved = 0;
        if (handle->lost)
            co_lost_ready(handle);
        else if (handle->kind->ready)
            handle->kind->ready(handle);
    }
}

/* One turn. With CO_BLOCK it waits for an event if anything is alive that could bring one, with CO_BLOCK_ALWAYS in any
 * case. Returns records * 2, + 1 if something was alive (or the caller did not ask); CO_LOOK; or CO_FOREIGN. */
int co_step(co_loop *loop, int block) {
    ENTER(loop);
    int alive = block == CO_BLOCK ? co_alive(loop) : 1;
    loop->quiet = block > CO_BLOCK_ALWAYS ? !co_alive(loop) : !alive; /* then it waits for other threads only */

    /* What comes before the poll may make waiting needless. */
    loop->count = loop->arena_used = 0;
    loop->turn++;
    if (loop->inline_done) co_report_inline_done(loop);
    co_watchers_arm(loop);
    if (loop->starved_count) retry_starved(loop);
    if (loop->count) block = 0;
    if (block && alive) co_look_before(loop, block > CO_BLOCK_ALWAYS ? block : 0);
    else loop->looked = 0;

    /* Due timers, then the poll. uv_run does nothing if uv_stop was called, as records do, and polls nothing if nothing is
     * referenced. */
    uv_update_time(&loop->uv);
    co_uv_unstop(&loop->uv);
    uv_ref((uv_handle_t *)&loop->wakeup);
    co_timers_run(loop);
    uv_run(&loop->uv, block && alive && !loop->count ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    if (!loop->held) uv_unref((uv_handle_t *)&loop->wakeup);

    if (loop->child_watchers_due) co_child_watchers_recover(loop);
    if (loop->sigpipe_blocked) co_sigpipe_unblock(loop);
    loop->clock = uv_hrtime();
    if (co_look_after(loop)) return CO_LOOK;
    return (int)loop->count * 2 + alive;
}
