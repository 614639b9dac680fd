/* Signals and child processes.
 *
 * libuv installs a handler when the first of its watchers of a signal starts, and the system's default action when the
 * last one stops: Python's own handler would be gone, and for a moment a signal could end the process. So every loop
 * keeps one watcher (a tap) of each signal that it was ever asked for, until it closes, and the dispositions are ours to
 * change: libuv's handler while somebody watches, else what was found before.
 */

#include <sys/syscall.h>
#include <sys/wait.h>

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

/* Children of loops that have ended before them: nobody will ask for their status, but somebody must take it. */
static struct {
    pid_t *pids;
    size_t count, room;
} orphans;

/* Between signals_keep and signals_put_back. Without memory, the child is left to whoever reaps ours at the end. */
static void orphans_add(pid_t pid) {
    if (orphans.count == orphans.room) {
        size_t room = orphans.room * 2 + 16;
        pid_t *pids = realloc(orphans.pids, room * sizeof *pids);
        if (!pids) return;
        orphans.pids = pids;
        orphans.room = room;
    }
    orphans.pids[orphans.count++] = pid;
}

static void orphans_reap(void) {
    pthread_mutex_lock(&dispositions);
    for (size_t i = orphans.count; i-- > 0;)
        if (waitpid(orphans.pids[i], NULL, WNOHANG)) orphans.pids[i] = orphans.pids[--orphans.count];
    pthread_mutex_unlock(&dispositions);
}

/* In the child of a fork: a signal must not be written to the pipe that the parent's loop reads. */
static void signals_forked(co_loop *loop) {
    pthread_mutex_init(&dispositions, NULL); /* perhaps another thread had it, which does not exist here */
    signals_keep(loop);
    for (co_tap *tap = loop->taps; tap; tap = tap->next) uv_signal_stop(&tap->uv);
    uv_signal_stop(&loop->uv.child_watcher);
    orphans.count = 0; /* they are our parent's children */
    signals_put_back(loop);
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

/* ---- children ---- */

#define CO_IGNORE 0
#define CO_INHERIT 1
#define CO_CHILD_READS 2
#define CO_CHILD_WRITES 4

typedef struct {
    int kind, fd;  /* kind: CO_IGNORE, CO_INHERIT (fd), or a pipe: CO_CHILD_… bits */
    uint32_t slot; /* of our end of the pipe */
} co_stdio;

typedef struct {
    const char *file, *directory;
    char **arguments, **environment;
    co_stdio stdio[3];
    unsigned int flags;
    uint32_t user, group;
    int pid; /* is set */
} co_program;

/* Tells of the end of a child although somebody else handles SIGCHLD, or ignores it. */
typedef struct {
    uv_poll_t poll; /* first */
    co_handle *child;
    int fd;
} co_pidfd;

static void on_pidfd_closed(uv_handle_t *uv) {
    close(((co_pidfd *)uv)->fd);
    free(uv);
}

/* The handle lives until the child has ended, whatever Python forgets: libuv takes the status only as long. */
static void child_ended(co_handle *child, int status, int number) {
    co_loop *loop = child->loop;
    push(loop, child->slot, child->generation, status, (uint32_t)number);
    if (child->u.handle.data) uv_close(child->u.handle.data, on_pidfd_closed);
    loop->handles_closed++;
    uv_close(&child->u.handle, on_close);
    for (co_tap *tap = loop->taps; tap; tap = tap->next)
        if (tap->number == SIGCHLD) tap_off(tap);
}

static void on_child_exit(uv_process_t *uv, int64_t status, int number) { child_ended(HANDLE(uv), (int)status, number); }

static void on_pidfd(uv_poll_t *uv, int status, int events) {
    co_handle *child = ((co_pidfd *)uv)->child;
    uv_signal_t *reaper = &uv->loop->child_watcher;
    if (reaper->signal_cb) reaper->signal_cb(reaper, SIGCHLD);
    if (!uv_is_closing(&child->u.handle)) child_ended(child, -ECHILD, 0); /* somebody else has taken the status */
}

static void pidfd_watch(co_handle *child, int pid) {
#ifdef SYS_pidfd_open
    co_pidfd *watch = calloc(1, sizeof *watch);
    int fd = watch ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    if (fd < 0 || uv_poll_init(&child->loop->uv, &watch->poll, fd)) {
        if (fd >= 0) close(fd);
        free(watch);
        return;
    }
    watch->fd = fd;
    watch->child = child;
    child->u.handle.data = watch;
    uv_unref((uv_handle_t *)&watch->poll);
    uv_poll_start(&watch->poll, UV_READABLE, on_pidfd);
#endif
}

/* Our end of a pipe, until co_spawn connects it. */
int co_child_pipe(co_loop *loop, uint32_t slot, uint32_t generation) {
    co_handle *pipe;
    ENTER(loop);
    int code = handle_open(loop, slot, generation, UV_NAMED_PIPE, &pipe);
    return code ? code : handle_opened(pipe, uv_pipe_init(&loop->uv, (uv_pipe_t *)&pipe->u, 0));
}

static int container_for(co_loop *loop, const co_stdio *from, uv_stdio_container_t *into) {
    into->flags = UV_IGNORE;
    if (from->kind == CO_INHERIT) {
        into->flags = UV_INHERIT_FD;
        into->data.fd = from->fd;
    } else if (from->kind != CO_IGNORE) {
        OF_KIND(pipe, UV_NAMED_PIPE, loop, from->slot);
        into->flags = UV_CREATE_PIPE | (from->kind & CO_CHILD_READS ? UV_READABLE_PIPE : 0) |
                      (from->kind & CO_CHILD_WRITES ? UV_WRITABLE_PIPE : 0);
        into->data.stream = &pipe->u.stream;
    }
    return 0;
}

static void on_spawn_closed(uv_handle_t *uv) {
    HANDLE(uv)->loop->handles_freed++;
    free(HANDLE(uv));
}

/* A handle has to be closed also if nothing was started; then its slot is free at once, and no record comes. */
static int spawn_failed(co_handle *child, int code) {
    co_loop *loop = child->loop;
    uv_process_t *uv = (uv_process_t *)&child->u;
    if (uv_is_active(&child->u.handle)) { /* it did start, but one of its pipes cannot be used */
        kill(uv->pid, SIGKILL);
        while (waitpid(uv->pid, NULL, 0) < 0 && errno == EINTR) continue;
    }
    loop->handles[child->slot] = NULL;
    loop->handles_closed++;
    uv_close(&child->u.handle, on_spawn_closed);
    return code;
}

/* Start a program: later comes the record (slot, generation, status, signal), or -ECHILD if nobody knows any more;
 * then that of the close callback. */
int co_spawn(co_loop *loop, uint32_t slot, uint32_t generation, co_program *program) {
    co_tap *tap;
    co_handle *child;
    uv_stdio_container_t stdio[3];
    uv_process_options_t options;
    ENTER(loop);
    memset(&options, 0, sizeof options);
    for (int i = 0; i < 3; i++) {
        int code = container_for(loop, &program->stdio[i], &stdio[i]);
        if (code) return code;
    }
    options.exit_cb = on_child_exit;
    options.file = program->file;
    options.args = program->arguments;
    options.env = program->environment;
    options.cwd = program->directory;
    options.flags = program->flags & (UV_PROCESS_SETUID | UV_PROCESS_SETGID | UV_PROCESS_DETACHED);
    options.uid = program->user;
    options.gid = program->group;
    options.stdio = stdio;
    options.stdio_count = 3;
    orphans_reap();
    int code = tap_on(loop, SIGCHLD, &tap);
    if (code) return code;
    code = handle_open(loop, slot, generation, UV_PROCESS, &child);
    if (!code) {
        code = uv_spawn(&loop->uv, (uv_process_t *)&child->u, &options);
        if (code) spawn_failed(child, code);
    }
    if (code) {
        tap_off(tap);
        return code;
    }
    program->pid = uv_process_get_pid((uv_process_t *)&child->u);
    child->u.handle.data = NULL;
    pidfd_watch(child, program->pid);
    return handle_opened(child, 0);
}

/* Nobody else gets the signal: the number of the child is not used again before libuv has taken its status. */
int co_kill(co_loop *loop, uint32_t slot, int number) {
    ENTER(loop);
    co_handle *child = find(loop, slot);
    if (!child || child->u.handle.type != UV_PROCESS || uv_is_closing(&child->u.handle)) return UV_ESRCH;
    return uv_process_kill((uv_process_t *)&child->u, number);
}

/* ---- the end of a loop ---- */

static void on_tap_closed(uv_handle_t *uv) { free(uv); }

/* Close what is ours; returns whether it was. Called between signals_keep and signals_put_back. */
static int process_walked(co_loop *loop, uv_handle_t *uv) {
    if (uv->type == UV_SIGNAL) {
        for (co_handle *one = ((co_tap *)uv)->first, *next; one; one = next) {
            next = one->next;
            watcher_free(one);
        }
        uv_close(uv, on_tap_closed);
    } else if (uv->type == UV_POLL) {
        uv_close(uv, on_pidfd_closed);
    } else {
        if (uv->type == UV_PROCESS) orphans_add(((uv_process_t *)uv)->pid);
        return 0;
    }
    return 1;
}
