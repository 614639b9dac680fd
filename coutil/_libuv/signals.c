/* Signals.
 *
 * libuv installs a handler when the first of its watchers of a signal starts, and the system's default action when the
 * last one stops: Python's own handler would be gone, and for a moment a signal could end the process. So every loop
 * keeps one watcher (a tap) of each signal that it was ever asked for, until it closes, and the dispositions are ours to
 * change: libuv's handler while somebody watches, else what was found before.
 */

/* ---- dispositions, of the whole process ---- */

static pthread_mutex_t dispositions = PTHREAD_MUTEX_INITIALIZER;
static struct {
    uint32_t count;          /* watchers of all loops */
    int known;               /* whether `ours` is */
    struct sigaction before; /* what the last watcher has to put back */
    struct sigaction ours;   /* libuv's handler */
    struct sigaction kept;   /* see signals_keep */
} watched[NSIG];

struct co_tap {
    uv_signal_t uv; /* first */
    co_tap *next;
    int number;
    uint32_t count; /* watchers of this loop */
    co_handle *first, **last;
};

/* What a watcher has in place of libuv's part of a handle. */
typedef struct {
    uv_handle_t handle; /* only its type is set */
    co_tap *tap;
    co_handle **back;
} co_watch;
_Static_assert(sizeof(co_watch) <= sizeof(uv_signal_t), "a watcher is allocated as an uv_signal_t");

static co_watch *watch_of(co_handle *watcher) { return (void *)&watcher->u; }

static int same(const struct sigaction *one, const struct sigaction *other) {
    return one->sa_handler == other->sa_handler; /* a union with sa_sigaction */
}

static void on_signal(uv_signal_t *uv, int number) {
    co_loop *loop = uv->data;
    for (co_handle *one = ((co_tap *)uv)->first; one; one = one->next) {
        if (one->turn == loop->turn) continue; /* signals are not counted: one record a turn, so that the ring has room */
        one->turn = loop->turn;
        push(loop, one->slot, one->generation, number, 0);
    }
}

static int tap_new(co_loop *loop, int number, co_tap **made) {
    co_tap *tap = calloc(1, sizeof *tap);
    if (!tap) return UV_ENOMEM;
    uv_signal_init(&loop->uv, &tap->uv); /* cannot fail: the loop has its pipe */
    uv_unref((uv_handle_t *)&tap->uv);
    tap->uv.data = loop;
    tap->number = number;
    tap->last = &tap->first;
    tap->next = loop->taps;
    loop->taps = tap;
    *made = tap;
    return 0;
}

/* Begin to watch; the tap is made and started if need be. */
static int tap_on(co_loop *loop, int number, co_tap **tap) {
    struct sigaction found, now;
    if (number <= 0 || number >= NSIG) return UV_EINVAL;
    for (*tap = loop->taps; *tap && (*tap)->number != number;) *tap = (*tap)->next;
    int code = *tap ? 0 : tap_new(loop, number, tap);
    if (code) return code;
    pthread_mutex_lock(&dispositions);
    if (sigaction(number, NULL, &found))
        code = uv_translate_sys_error(errno);
    else if (!uv_is_active((uv_handle_t *)&(*tap)->uv))
        code = uv_signal_start(&(*tap)->uv, on_signal, number);
    if (!code) {
        sigaction(number, NULL, &now);
        if (!watched[number].known) {
            watched[number].ours = now;
            watched[number].known = 1;
        }
        if (!watched[number].count || !same(&found, &watched[number].ours)) watched[number].before = found;
        if (!same(&now, &watched[number].ours)) sigaction(number, &watched[number].ours, NULL);
        watched[number].count++;
        (*tap)->count++;
    }
    pthread_mutex_unlock(&dispositions);
    return code;
}

/* Whether the system takes the statuses of children itself, or will when the last watcher has gone. */
static int children_ignored(void) {
    struct sigaction found;
    pthread_mutex_lock(&dispositions);
    int known = !sigaction(SIGCHLD, NULL, &found);
    if (known && watched[SIGCHLD].count && same(&found, &watched[SIGCHLD].ours)) found = watched[SIGCHLD].before;
    pthread_mutex_unlock(&dispositions);
    return known && (found.sa_handler == SIG_IGN || found.sa_flags & SA_NOCLDWAIT);
}

/* What the children of this process ignore as it does: what it was told to ignore, also while it is watched, but not what
 * Python ignores by itself. */
static void signals_ignored(sigset_t *ignored) {
    struct sigaction found;
    sigemptyset(ignored);
    pthread_mutex_lock(&dispositions);
    for (int number = 1; number < NSIG; number++) {
        if (number == SIGPIPE || number == SIGXFSZ || sigaction(number, NULL, &found)) continue;
        if (watched[number].count && same(&found, &watched[number].ours)) found = watched[number].before;
        if (found.sa_handler == SIG_IGN) sigaddset(ignored, number);
    }
    pthread_mutex_unlock(&dispositions);
}

/* The last watcher puts back what was found, unless somebody has set something else since. */
static void tap_off(co_tap *tap) {
    struct sigaction found;
    int number = tap->number;
    pthread_mutex_lock(&dispositions);
    tap->count--;
    if (!--watched[number].count && !sigaction(number, NULL, &found) && same(&found, &watched[number].ours))
        sigaction(number, &watched[number].before, NULL);
    pthread_mutex_unlock(&dispositions);
}

/* Between these two, libuv may change any disposition: a loop ends, and its watchers with it. */
static void signals_keep(co_loop *loop) {
    pthread_mutex_lock(&dispositions);
    for (int number = 1; number < NSIG; number++)
        if (watched[number].known) sigaction(number, NULL, &watched[number].kept);
    for (co_tap *tap = loop->taps; tap; tap = tap->next) watched[tap->number].count -= tap->count;
}

static void signals_put_back(co_loop *loop) {
    for (int number = 1; number < NSIG; number++) {
        if (!watched[number].known) continue;
        int over = !watched[number].count && same(&watched[number].kept, &watched[number].ours);
        sigaction(number, over ? &watched[number].before : &watched[number].kept, NULL);
    }
    loop->taps = NULL;
    pthread_mutex_unlock(&dispositions);
}

static void children_forked(co_loop *loop);

/* In the child of a fork: a signal must not be written to the pipe that the parent's loop reads. */
static void signals_forked(co_loop *loop) {
    co_tap *taps = loop->taps;
    pthread_mutex_init(&dispositions, NULL); /* perhaps another thread had it, which does not exist here */
    signals_keep(loop);
    raw_signals_forked(loop);
    for (co_tap *tap = taps; tap; tap = tap->next) uv_signal_stop(&tap->uv);
    children_forked(loop);
    signals_put_back(loop);
    loop->taps = taps; /* see signals_revive */
}

/* ---- watchers ---- */

static void watcher_free(co_handle *watcher) {
    co_loop *loop = watcher->loop;
    loop->handles[watcher->slot] = NULL;
    loop->want[watcher->slot] = -1;
    loop->handles_closed++;
    loop->handles_freed++;
    free(watcher);
}

/* Record (slot, generation, number) whenever the signal comes, at most once a turn, until co_signal_stop. */
int co_signal_start(co_loop *loop, uint32_t slot, uint32_t generation, int number) {
    co_tap *tap;
    co_handle *watcher;
    ENTER(loop);
    int code = tap_on(loop, number, &tap);
    if (code) return code;
    code = handle_open(loop, slot, generation, UV_SIGNAL, &watcher);
    if (code) {
        tap_off(tap);
        return code;
    }
    watcher->u.handle.type = UV_SIGNAL;
    watch_of(watcher)->tap = tap;
    watch_of(watcher)->back = tap->last;
    *tap->last = watcher;
    tap->last = &watcher->next;
    loop->want[slot] = 1;
    return 0;
}

int co_signal_stop(co_loop *loop, uint32_t slot) {
    ENTER(loop);
    co_handle *watcher = find(loop, slot);
    if (!watcher || watcher->u.handle.type != UV_SIGNAL) return 0;
    co_tap *tap = watch_of(watcher)->tap;
    *watch_of(watcher)->back = watcher->next;
    if (watcher->next)
        watch_of(watcher->next)->back = watch_of(watcher)->back;
    else
        tap->last = watch_of(watcher)->back;
    watcher_free(watcher);
    tap_off(tap);
    return 0;
}
