/* Child processes: what does not depend on how they are started.
 *
 * The handle of a child lives until the child has ended, whatever Python forgets, so that its status is taken. Only the
 * statuses of our own children are: those of others are left to the code that has started them.
 */

#include <signal.h>
#include <sys/wait.h>

#include "children.h"
#include "handles.h"
#include "records.h"
#include "signals.h"
#include "slots.h"

/* ---- orphans: children of loops that have ended before them. No handle asks for their status any longer, but unless it is
 * taken they stay zombies: the start of the next program takes it. ---- */

static pthread_mutex_t orphan_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    pid_t *pids;
    size_t count, room;
} orphan_list;

/* Without memory, the child stays until this process ends. */
void co_orphans_add(pid_t pid) {
    pthread_mutex_lock(&orphan_lock);
    if (orphan_list.count == orphan_list.room) {
        size_t room = orphan_list.room * 2 + 16;
        pid_t *pids = realloc(orphan_list.pids, room * sizeof *pids);
        if (pids) {
            orphan_list.pids = pids;
            orphan_list.room = room;
        }
    }
    if (orphan_list.count < orphan_list.room) orphan_list.pids[orphan_list.count++] = pid;
    pthread_mutex_unlock(&orphan_lock);
}

void co_orphans_reap(void) {
    pthread_mutex_lock(&orphan_lock);
    for (size_t i = orphan_list.count; i-- > 0;)
        if (waitpid(orphan_list.pids[i], NULL, WNOHANG)) orphan_list.pids[i] = orphan_list.pids[--orphan_list.count];
    pthread_mutex_unlock(&orphan_lock);
}

/* In the child of a fork: they are our parent's children. */
void co_children_forked(co_loop *loop) {
    co_uv_forget_children(&loop->uv);
    pthread_mutex_init(&orphan_lock, NULL); /* another thread may have had it, which does not exist here */
    orphan_list.count = 0;
}

/* ---- the end of a child ---- */

/* During the life of a child SIGCHLD is ours. */
int co_child_watch_sigchld(co_handle *child) {
    co_shared_watcher *shared;
    int code = co_shared_watcher_start(child->loop, SIGCHLD, &shared);
    child->watches_sigchld = !code;
    return code;
}

void co_child_unwatch_sigchld(co_handle *child) {
    if (child->watches_sigchld)
        for (co_shared_watcher *shared = child->loop->shared_watchers; shared; shared = shared->next)
            if (shared->number == SIGCHLD) co_shared_watcher_stop(shared);
    child->watches_sigchld = 0;
}

static void on_child_closed(uv_handle_t *uv) {
    co_handle *child = HANDLE(uv);
    co_push(child->loop, child->slot, child->generation, child->error, (uint32_t)child->number);
    co_on_close(uv);
}

/* Report how a child has ended, now that its status is taken. Behind all else that this step brings, as handles are closed
 * then: what the child wrote last, and the end of its pipes, comes before, in whatever order libuv found them. */
void co_child_ended(co_handle *child, int status, int number) {
    child->error = status;
    child->number = number;
    co_child_unwatch_sigchld(child);
    if (child->before_close) child->before_close(child);
    child->loop->handles_closed++;
    uv_close(&child->u.handle, on_child_closed);
}

/* The loop ends before the child. `extra` is the child's number. */
void co_child_walk(co_handle *child) {
    co_orphans_add((pid_t)(intptr_t)child->extra);
    co_handle_end(child);
}
