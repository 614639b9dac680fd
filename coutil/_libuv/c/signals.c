/* Signals.
 *
 * libuv installs a handler when the first of its watchers of a signal starts, and the system's default action when the
 * last one stops: Python's own handler would be gone, and for a moment a signal could end the process. So every loop
 * keeps one watcher of each signal that it was ever asked for, the *shared watcher*, until it closes, and the dispositions
 * are ours to change: libuv's handler while anything in the process watches the signal, else what was found before.
 */

#include <signal.h>

#include "signals.h"
#include "records.h"
#include "slots.h"

/* ---- dispositions, of the whole process ---- */

static pthread_mutex_t dispositions_lock = PTHREAD_MUTEX_INITIALIZER;
typedef struct {
    uint32_t count;          /* watchers of all loops */
    int known;               /* whether `ours` is */
    struct sigaction before; /* what the last watcher has to put back */
    struct sigaction ours;   /* libuv's handler */
    struct sigaction kept;   /* see co_signals_keep */
} co_disposition;
static co_disposition dispositions[NSIG];

/* What a watcher has in place of libuv's part of a handle. */
typedef struct {
    uv_handle_t handle; /* only its type is set */
    co_shared_watcher *shared;
    co_handle **back;
} co_signal_watch;
_Static_assert(sizeof(co_signal_watch) <= sizeof(uv_signal_t), "a watcher is allocated as an uv_signal_t");

static co_signal_watch *watch_of(co_handle *watcher) { return (void *)&watcher->u; }

static int same_handler(const struct sigaction *one, const struct sigaction *other) {
    return one->sa_handler == other->sa_handler; /* a union with sa_sigaction */
}

static void on_signal(uv_signal_t *uv, int number) {
    co_loop *loop = uv->data;
    for (co_handle *one = ((co_shared_watcher *)uv)->first; one; one = one->next) {
        if (one->turn == loop->turn) continue; /* signals are not counted: one record a turn, so that the ring has room */
        one->turn = loop->turn;
        co_push(loop, one->slot, one->generation, number, 0);
    }
}

static int shared_watcher_new(co_loop *loop, int number, co_shared_watcher **made) {
    co_shared_watcher *shared = calloc(1, sizeof *shared);
    if (!shared) return UV_ENOMEM;
    uv_signal_init(&loop->uv, &shared->uv); /* cannot fail: the loop has its pipe */
    uv_unref((uv_handle_t *)&shared->uv);
    shared->uv.data = loop;
    shared->number = number;
    shared->last = &shared->first;
    shared->next = loop->shared_watchers;
    loop->shared_watchers = shared;
    *made = shared;
    return 0;
}

/* libuv's handler is set now: one more watcher. `found` was set before, `now` by libuv, perhaps. */
static void disposition_take(int number, const struct sigaction *found, const struct sigaction *now) {
    co_disposition *disposition = &dispositions[number];
    if (!disposition->known) disposition->ours = *now;
    disposition->known = 1;
    if (!disposition->count || !same_handler(found, &disposition->ours)) disposition->before = *found;
    if (!same_handler(now, &disposition->ours)) sigaction(number, &disposition->ours, NULL);
    disposition->count++;
}

/* What is set, or will be when the last watcher has stopped. Returns whether that is known. */
static int disposition_of(int number, struct sigaction *found) {
    co_disposition *disposition = &dispositions[number];
    if (sigaction(number, NULL, found)) return 0;
    if (disposition->count && same_handler(found, &disposition->ours)) *found = disposition->before;
    return 1;
}

/* Begin to watch; the shared watcher is made and started if need be. */
int co_shared_watcher_start(co_loop *loop, int number, co_shared_watcher **shared) {
    struct sigaction found, now;
    if (number <= 0 || number >= NSIG) return UV_EINVAL;
    for (*shared = loop->shared_watchers; *shared && (*shared)->number != number;) *shared = (*shared)->next;
    int code = *shared ? 0 : shared_watcher_new(loop, number, shared);
    if (code) return code;
    pthread_mutex_lock(&dispositions_lock);
    if (sigaction(number, NULL, &found))
        code = uv_translate_sys_error(errno);
    else if (!uv_is_active((uv_handle_t *)&(*shared)->uv))
        code = uv_signal_start(&(*shared)->uv, on_signal, number);
    if (!code) {
        sigaction(number, NULL, &now);
        disposition_take(number, &found, &now);
        (*shared)->count++;
    }
    pthread_mutex_unlock(&dispositions_lock);
    return code;
}

/* Whether the system takes the statuses of children itself, or will when the last watcher has gone. */
int co_children_ignored(void) {
    struct sigaction found;
    pthread_mutex_lock(&dispositions_lock);
    int known = disposition_of(SIGCHLD, &found);
    pthread_mutex_unlock(&dispositions_lock);
    return known && (found.sa_handler == SIG_IGN || found.sa_flags & SA_NOCLDWAIT);
}

/* The signals that the children of this process ignore as it does: those that the process was started with as ignored, or
 * ignores by choice, also while they are watched; but not those that Python ignores by itself. */
void co_signals_ignored(sigset_t *ignored) {
    struct sigaction found;
    sigemptyset(ignored);
    pthread_mutex_lock(&dispositions_lock);
    for (int number = 1; number < NSIG; number++) {
        if (number == SIGPIPE || number == SIGXFSZ || !disposition_of(number, &found)) continue;
        if (found.sa_handler == SIG_IGN) sigaddset(ignored, number);
    }
    pthread_mutex_unlock(&dispositions_lock);
}

/* The last watcher puts back what was found, unless the program has set something else since. */
void co_shared_watcher_stop(co_shared_watcher *shared) {
    struct sigaction found;
    co_disposition *disposition = &dispositions[shared->number];
    pthread_mutex_lock(&dispositions_lock);
    shared->count--;
    int is_last = !--disposition->count && !sigaction(shared->number, NULL, &found);
    if (is_last && same_handler(&found, &disposition->ours)) sigaction(shared->number, &disposition->before, NULL);
    pthread_mutex_unlock(&dispositions_lock);
}

/* Between these two, libuv may change any disposition: a loop ends, and its watchers with it. */
void co_signals_keep(co_loop *loop) {
    pthread_mutex_lock(&dispositions_lock);
    for (int number = 1; number < NSIG; number++)
        if (dispositions[number].known) sigaction(number, NULL, &dispositions[number].kept);
    for (co_shared_watcher *shared = loop->shared_watchers; shared; shared = shared->next)
        dispositions[shared->number].count -= shared->count;
}

void co_signals_put_back(co_loop *loop) {
    for (int number = 1; number < NSIG; number++) {
        if (!dispositions[number].known) continue;
        int over = !dispositions[number].count && same_handler(&dispositions[number].kept, &dispositions[number].ours);
        sigaction(number, over ? &dispositions[number].before : &dispositions[number].kept, NULL);
    }
    loop->shared_watchers = NULL;
    pthread_mutex_unlock(&dispositions_lock);
}

/* In the child of a fork: a signal must not be written to the pipe that the parent's loop reads. Between these two calls libuv
 * may stop other watchers as well. The shared watchers stay in their list, see co_signals_revive. */
void co_signals_fork_begin(co_loop *loop) {
    pthread_mutex_init(&dispositions_lock, NULL); /* another thread may have had it, which does not exist here */
    co_signals_keep(loop);
    for (co_shared_watcher *shared = loop->shared_watchers; shared; shared = shared->next) uv_signal_stop(&shared->uv);
}

void co_signals_fork_end(co_loop *loop) {
    co_shared_watcher *shared = loop->shared_watchers;
    co_signals_put_back(loop);
    loop->shared_watchers = shared;
}

/* Watch again what was watched before the fork. */
void co_signals_revive(co_loop *loop) {
    for (co_shared_watcher *shared = loop->shared_watchers; shared; shared = shared->next) {
        uint32_t count = shared->count;
        co_shared_watcher *same = shared;
        co_uv_signal_settle(&shared->uv);
        for (shared->count = 0; count > 0; count--) co_shared_watcher_start(loop, shared->number, &same);
    }
}

/* ---- watchers ---- */

static void watcher_free(co_handle *watcher) {
    co_loop *loop = watcher->loop;
    loop->handles[watcher->slot] = NULL;
    loop->demand[watcher->slot] = -1;
    loop->handles_closed++;
    loop->handles_freed++;
    free(watcher);
}

static const co_kind watcher_kind = {.type = UV_SIGNAL, .internal = 1};

/* Record (slot, generation, number) whenever the signal comes, at most once a turn, until co_signal_stop. */
int co_signal_start(co_loop *loop, uint32_t slot, uint32_t generation, int number) {
    co_shared_watcher *shared;
    co_handle *watcher;
    ENTER(loop);
    int code = co_shared_watcher_start(loop, number, &shared);
    if (code) return code;
    code = co_handle_open(loop, slot, generation, &watcher_kind, &watcher);
    if (code) {
        co_shared_watcher_stop(shared);
        return code;
    }
    watcher->u.handle.type = UV_SIGNAL;
    watch_of(watcher)->shared = shared;
    watch_of(watcher)->back = shared->last;
    *shared->last = watcher;
    shared->last = &watcher->next;
    loop->demand[slot] = 1;
    return 0;
}

int co_signal_stop(co_loop *loop, uint32_t slot) {
    ENTER(loop);
    co_handle *watcher = co_find(loop, slot);
    if (!watcher || watcher->u.handle.type != UV_SIGNAL) return 0;
    co_shared_watcher *shared = watch_of(watcher)->shared;
    *watch_of(watcher)->back = watcher->next;
    if (watcher->next)
        watch_of(watcher->next)->back = watch_of(watcher)->back;
    else
        shared->last = watch_of(watcher)->back;
    watcher_free(watcher);
    co_shared_watcher_stop(shared);
    return 0;
}

/* ---- the end of a loop ---- */

static void on_shared_watcher_closed(uv_handle_t *uv) { free(uv); }

/* Close the shared watchers of a loop, and free what waits for signals. Called between co_signals_keep and
 * co_signals_put_back. */
void co_signals_close(co_loop *loop) {
    for (co_shared_watcher *shared = loop->shared_watchers; shared; shared = shared->next) {
        for (co_handle *one = shared->first, *next; one; one = next) {
            next = one->next;
            watcher_free(one);
        }
        uv_close((uv_handle_t *)&shared->uv, on_shared_watcher_closed);
    }
}
