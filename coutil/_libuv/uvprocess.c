/* Process handles as libuv has them, for coutil.uv.
 *
 * While a child runs, SIGCHLD is libuv's (see tap_on), which takes the status of its own children only. Each child has a
 * *keeper* besides, with a pidfd where the system has them: so its end is noticed although somebody else handles SIGCHLD
 * or ignores it, and its status is taken although its handle was closed before. No child stays a zombie.
 */

#include <sys/syscall.h>
#include <sys/wait.h>

#define UV_PROCESS_OF(handle) ((uv_process_t *)&(handle)->u)
#define CO_PROCESS_FLAGS                                                                                        \
    (UV_PROCESS_SETUID | UV_PROCESS_SETGID | UV_PROCESS_WINDOWS_VERBATIM_ARGUMENTS | UV_PROCESS_DETACHED |     \
     UV_PROCESS_WINDOWS_HIDE | UV_PROCESS_WINDOWS_HIDE_CONSOLE | UV_PROCESS_WINDOWS_HIDE_GUI)

struct co_keeper {
    uv_poll_t poll; /* first */
    co_loop *loop;
    co_keeper *next, **back;
    co_handle *child; /* NULL: its handle is closed */
    co_tap *tap;      /* of SIGCHLD, while the child runs and has a handle */
    int fd;           /* -1: there are no pidfds here */
    pid_t pid;        /* 0: it is not our child, but our parent's */
    int due;          /* the child has ended */
};

/* How one descriptor of a child comes to be. */
typedef struct {
    int flags, fd; /* UV_IGNORE, UV_INHERIT_FD (fd), UV_CREATE_PIPE and others */
    uint32_t slot; /* of the pipe to create */
} co_container;

typedef struct {
    const char *file, *directory;
    char **arguments, **environment;
    co_container *stdio;
    int stdio_count;
    unsigned int flags;
    uint32_t user, group;
    int pid; /* is set */
} co_command;

/* ---- keepers ---- */

static void on_keeper_closed(uv_handle_t *uv) {
    close(((co_keeper *)uv)->fd);
    free(uv);
}

static void keeper_untap(co_keeper *keeper) {
    co_tap *tap = keeper->tap;
    keeper->tap = NULL;
    if (tap) tap_off(tap);
}

/* The child has ended, and its status is taken. */
static void keeper_end(co_keeper *keeper) {
    *keeper->back = keeper->next;
    if (keeper->next) keeper->next->back = keeper->back;
    if (keeper->child) keeper->child->extra = NULL;
    keeper_untap(keeper);
    if (keeper->fd < 0)
        free(keeper);
    else
        uv_close((uv_handle_t *)&keeper->poll, on_keeper_closed);
}

/* Tell how a child has ended; without its keeper, everybody knows. */
static void raw_child_ended(co_handle *child, int status, int number) {
    push(child->loop, child->slot, child->generation, status, (uint32_t)number);
    keeper_end(child->extra);
}

static void on_raw_exit(uv_process_t *uv, int64_t status, int number) {
    if (HANDLE(uv)->extra) raw_child_ended(HANDLE(uv), (int)status, number);
}

static void on_keeper(uv_poll_t *uv, int status, int events) {
    co_keeper *keeper = (co_keeper *)uv;
    keeper->due = keeper->loop->keepers_due = 1;
}

/* The child has ended, and libuv does not know how: nobody asks any more, or somebody else has taken the status. */
static void keeper_alone(co_keeper *keeper) {
    co_handle *child = keeper->child;
    if (child) {
        uv_unref(&child->u.handle); /* it is active for ever */
        raw_child_ended(child, -ECHILD, 0);
    } else {
        if (keeper->pid) waitpid(keeper->pid, NULL, WNOHANG);
        keeper_end(keeper);
    }
}

/* After uv_run, behind all else that this step has brought: libuv looks for all of its children that have ended, as it
 * does at SIGCHLD. */
static void keepers_recover(co_loop *loop) {
    uv_signal_t *reaper = &loop->uv.child_watcher;
    loop->keepers_due = 0;
    if (reaper->signal_cb) reaper->signal_cb(reaper, SIGCHLD);
    for (co_keeper *keeper = loop->keepers, *next; keeper; keeper = next) {
        next = keeper->next;
        if (keeper->due) keeper_alone(keeper);
    }
}

static void keeper_orphan(const co_keeper *keeper) {
    if (keeper->pid) orphans_add(keeper->pid);
}

static int pidfd_of(pid_t pid) {
#ifdef SYS_pidfd_open
    return (int)syscall(SYS_pidfd_open, pid, 0);
#else
    return -1;
#endif
}

static co_keeper *keeper_new(co_handle *child, co_tap *tap) {
    co_loop *loop = child->loop;
    co_keeper *keeper = calloc(1, sizeof *keeper);
    if (!keeper) return NULL;
    keeper->loop = loop;
    keeper->child = child;
    keeper->tap = tap;
    keeper->fd = -1;
    keeper->next = loop->keepers;
    keeper->back = &loop->keepers;
    if (loop->keepers) loop->keepers->back = &keeper->next;
    loop->keepers = keeper;
    child->extra = keeper;
    return keeper;
}

static void keeper_watch(co_keeper *keeper, pid_t pid) {
    keeper->pid = pid;
    keeper->fd = pidfd_of(pid);
    if (keeper->fd < 0) return;
    descriptor_vacate(keeper->loop, keeper->fd);
    if (uv_poll_init(&keeper->loop->uv, &keeper->poll, keeper->fd)) {
        close(keeper->fd);
        keeper->fd = -1;
        return;
    }
    uv_unref((uv_handle_t *)&keeper->poll);
    uv_poll_start(&keeper->poll, UV_READABLE, on_keeper);
}

/* The handle is closed before the child has ended: the keeper waits alone. */
static void raw_child_left(co_handle *child) {
    co_keeper *keeper = child->extra;
    if (!keeper) return;
    child->extra = NULL;
    keeper->child = NULL;
    keeper_untap(keeper);
    if (keeper->fd >= 0) return;
    keeper_orphan(keeper);
    keeper_end(keeper);
}

/* The loop ends: whoever starts the next program takes the statuses. */
static void keepers_left(co_loop *loop) {
    while (loop->keepers) {
        keeper_orphan(loop->keepers);
        keeper_end(loop->keepers);
    }
}

/* In the child of a fork: they are our parent's children. */
static void keepers_forked(co_loop *loop) {
    for (co_keeper *one = loop->keepers; one; one = one->next) one->pid = 0;
}

/* ---- starting ---- */

static int raw_container(co_loop *loop, const co_container *from, int standard, co_childfd *into) {
    if (from->flags & UV_INHERIT_FD) {
        if (from->fd < 0) return UV_EBADF;
        if (standard) return childfd_make(loop, into, from->fd < CO_LOWEST ? CO_INHERIT : CO_HAND_OVER, from->fd, NULL);
        into->fd = from->fd; /* as it is */
    } else if (from->flags & UV_CREATE_PIPE) {
        OF_KIND(pipe, UV_NAMED_PIPE, loop, from->slot);
        int reads = from->flags & UV_READABLE_PIPE, writes = from->flags & UV_WRITABLE_PIPE;
        return childfd_make(loop, into, (reads ? CO_CHILD_READS : 0) | (writes ? CO_CHILD_WRITES : 0), -1, pipe);
    }
    return 0;
}

static int raw_stdio_make(co_loop *loop, const co_command *command, co_childfd *stdio) {
    for (int i = 0; i < command->stdio_count; i++) stdio[i] = (co_childfd){.fd = -1, .mode = -1};
    for (int i = 0; i < command->stdio_count; i++) {
        int code = raw_container(loop, &command->stdio[i], i < CO_LOWEST, &stdio[i]);
        if (code) return code;
    }
    return 0;
}

static void on_raw_spawn_closed(uv_handle_t *uv) {
    HANDLE(uv)->loop->handles_freed++;
    free(HANDLE(uv));
}

/* libuv needs the handle closed also if nothing was started; then its slot is free at once, and no record comes. */
static int raw_spawn_failed(co_handle *child, int code) {
    co_loop *loop = child->loop;
    loop->handles[child->slot] = NULL;
    loop->handles_closed++;
    uv_close(&child->u.handle, on_raw_spawn_closed);
    keeper_end(child->extra);
    return code;
}

static int raw_spawn(co_handle *child, co_command *command, uv_stdio_container_t *stdio) {
    uv_process_options_t options;
    memset(&options, 0, sizeof options);
    options.exit_cb = on_raw_exit;
    options.file = command->file;
    options.args = command->arguments;
    options.env = command->environment;
    options.cwd = command->directory;
    options.flags = command->flags & CO_PROCESS_FLAGS;
    options.uid = command->user;
    options.gid = command->group;
    options.stdio = stdio;
    options.stdio_count = command->stdio_count;
    int code = spawn_by_libuv(&child->loop->uv, UV_PROCESS_OF(child), &options);
    if (code) return raw_spawn_failed(child, code);
    command->pid = uv_process_get_pid(UV_PROCESS_OF(child));
    keeper_watch(child->extra, command->pid);
    child->ending = raw_child_left;
    return handle_opened(child, 0);
}

/* A handle for a child, with its keeper. */
static int raw_child_new(co_loop *loop, uint32_t slot, uint32_t generation, co_handle **made) {
    co_tap *tap;
    int code = tap_on(loop, SIGCHLD, &tap);
    if (code) return code;
    code = raw_open(loop, slot, generation, UV_PROCESS, made);
    if (!code && !keeper_new(*made, tap)) code = handle_opened(*made, UV_ENOMEM);
    if (code) tap_off(tap);
    return code;
}

/* Start a program: when it ends comes the record (slot, generation, status, signal); -ECHILD: nobody knows how. */
int co_raw_spawn(co_loop *loop, uint32_t slot, uint32_t generation, co_command *command) {
    co_handle *child;
    ENTER(loop);
    size_t count = (size_t)command->stdio_count;
    co_childfd *stdio = malloc((count + 1) * sizeof *stdio);
    uv_stdio_container_t *containers = malloc((count + 1) * sizeof *containers);
    int code = stdio && containers ? raw_stdio_make(loop, command, stdio) : UV_ENOMEM;
    orphans_reap();
    if (stdio && containers) containers_for(stdio, command->stdio_count, containers);
    if (!code) code = raw_child_new(loop, slot, generation, &child);
    if (!code) code = raw_spawn(child, command, containers);
    if (stdio && containers) childfds_done(stdio, command->stdio_count, code);
    free(containers);
    free(stdio);
    return code;
}

/* Nobody else gets the signal: the number of the child is not used again before libuv has taken its status. */
int co_raw_process_kill(co_loop *loop, uint32_t slot, int number) {
    RAW(child, UV_PROCESS, loop, slot);
    return child->extra ? uv_process_kill(UV_PROCESS_OF(child), number) : UV_ESRCH;
}
