/* Child processes: what does not depend on how they are started. spawn_linux.c and spawn_uv.c are the two ways.
 *
 * The handle of a child lives until the child has ended, whatever Python forgets, so that its status is taken. Only the
 * statuses of our own children are: those of others are left to whoever started them.
 */

#include <sys/wait.h>

typedef struct {
    int kind, fd;  /* see childfds.c */
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

static int spawn_uv(co_handle *child, co_program *program, const co_childfd *stdio);
#ifdef __linux__
static int pidfds_work(void);
static int spawn_linux(co_handle *child, co_program *program, const co_childfd *stdio);
static int pidfd_kill(co_handle *child, int number);
#else
static int pidfds_work(void) { return 0; }
static int spawn_linux(co_handle *child, co_program *program, const co_childfd *stdio) { return UV_ENOSYS; }
static int pidfd_kill(co_handle *child, int number) { return UV_ENOSYS; }
#endif

/* Our end of a pipe, until co_spawn connects it. */
int co_child_pipe(co_loop *loop, uint32_t slot, uint32_t generation, int share) {
    co_handle *pipe;
    ENTER(loop);
    int code = handle_open(loop, slot, generation, UV_NAMED_PIPE, &pipe);
    return code ? code : handle_opened(pipe, uv_pipe_init(&loop->uv, (uv_pipe_t *)&pipe->u, share));
}

/* ---- orphans: children of loops that have ended before them. Nobody will ask for their status, but somebody must take
 * it: whoever starts the next program. ---- */

static pthread_mutex_t orphanage = PTHREAD_MUTEX_INITIALIZER;
static struct {
    pid_t *pids;
    size_t count, room;
} orphans;

/* Without memory, the child is left to whoever reaps ours at the end. */
static void orphans_add(pid_t pid) {
    pthread_mutex_lock(&orphanage);
    if (orphans.count == orphans.room) {
        size_t room = orphans.room * 2 + 16;
        pid_t *pids = realloc(orphans.pids, room * sizeof *pids);
        if (pids) {
            orphans.pids = pids;
            orphans.room = room;
        }
    }
    if (orphans.count < orphans.room) orphans.pids[orphans.count++] = pid;
    pthread_mutex_unlock(&orphanage);
}

static void orphans_reap(void) {
    pthread_mutex_lock(&orphanage);
    for (size_t i = orphans.count; i-- > 0;)
        if (waitpid(orphans.pids[i], NULL, WNOHANG)) orphans.pids[i] = orphans.pids[--orphans.count];
    pthread_mutex_unlock(&orphanage);
}

/* In the child of a fork: they are our parent's children. */
static void children_forked(co_loop *loop) {
    uv_signal_stop(&loop->uv.child_watcher);
    pthread_mutex_init(&orphanage, NULL); /* perhaps another thread had it, which does not exist here */
    orphans.count = 0;
}

/* ---- beginning and end ---- */

static int stdio_make(co_loop *loop, const co_stdio *from, co_childfd *stdio) {
    int code = 0;
    for (int i = 0; i < 3; i++) stdio[i] = (co_childfd){.fd = -1, .mode = -1};
    for (int i = 0; i < 3 && !code; i++) {
        co_handle *pipe = from[i].kind & CO_CHILD_PIPE ? find(loop, from[i].slot) : NULL;
        code = childfd_make(loop, &stdio[i], from[i].kind, from[i].fd, pipe);
    }
    return code;
}

/* Start a program: later comes the record (slot, generation, status, signal), or -ECHILD if nobody knows any more;
 * then that of the close callback. */
int co_spawn(co_loop *loop, uint32_t slot, uint32_t generation, co_program *program) {
    co_handle *child;
    co_childfd stdio[3];
    ENTER(loop);
    for (int i = 0; i < 3; i++)
        if (program->stdio[i].kind & CO_CHILD_PIPE) {
            OF_KIND(pipe, UV_NAMED_PIPE, loop, program->stdio[i].slot);
        }
    orphans_reap();
    int by_pidfd = pidfds_work(), code = stdio_make(loop, program->stdio, stdio);
    if (!code) code = handle_open(loop, slot, generation, by_pidfd ? UV_POLL : UV_PROCESS, &child);
    if (!code) code = by_pidfd ? spawn_linux(child, program, stdio) : spawn_uv(child, program, stdio);
    childfds_done(stdio, 3, code);
    return code ? code : handle_opened(child, 0);
}

/* During the life of a child SIGCHLD is ours. */
static int child_tap(co_handle *child) {
    co_tap *tap;
    int code = tap_on(child->loop, SIGCHLD, &tap);
    child->tapped = !code;
    return code;
}

static void child_untap(co_handle *child) {
    if (child->tapped)
        for (co_tap *tap = child->loop->taps; tap; tap = tap->next)
            if (tap->number == SIGCHLD) tap_off(tap);
    child->tapped = 0;
}

static void on_child_closed(uv_handle_t *uv) {
    co_handle *child = HANDLE(uv);
    push(child->loop, child->slot, child->generation, child->error, (uint32_t)child->number);
    on_close(uv);
}

/* Tell how a child has ended, now that its status is taken. Behind all else that this step brings, as handles are closed
 * then: what the child wrote last, and the end of its pipes, comes before, in whatever order libuv found them. */
static void child_ended(co_handle *child, int status, int number) {
    child->error = status;
    child->number = number;
    child_untap(child);
    if (child->ending) child->ending(child);
    child->loop->handles_closed++;
    uv_close(&child->u.handle, on_child_closed);
}

/* Nobody else gets the signal: the number of the child is not used again before its status has been taken. */
int co_kill(co_loop *loop, uint32_t slot, int number) {
    ENTER(loop);
    co_handle *child = find(loop, slot);
    if (!child || child->raw || uv_is_closing(&child->u.handle)) return UV_ESRCH;
    if (child->u.handle.type == UV_POLL) return pidfd_kill(child, number);
    return child->u.handle.type == UV_PROCESS ? uv_process_kill((uv_process_t *)&child->u, number) : UV_ESRCH;
}

/* ---- the end of a loop ---- */

static void on_tap_closed(uv_handle_t *uv) { free(uv); }

/* Close a tap and its watchers, and let a child go; returns whether it was a tap. Called between signals_keep and
 * signals_put_back. */
static int process_walked(co_loop *loop, uv_handle_t *uv) {
    if (uv->type == UV_POLL || uv->type == UV_PROCESS) orphans_add((pid_t)(intptr_t)HANDLE(uv)->extra);
    if (uv->type != UV_SIGNAL) return 0;
    for (co_handle *one = ((co_tap *)uv)->first, *next; one; one = next) {
        next = one->next;
        watcher_free(one);
    }
    uv_close(uv, on_tap_closed);
    return 1;
}
