/* Process handles as libuv has them, for coutil.uv.
 *
 * While a child runs, SIGCHLD is libuv's (see signals.c), which takes the status of its own children only. Each child also
 * has a *child watcher*, with a pidfd where the system has them: so its end is noticed although another handler of SIGCHLD is
 * installed, or the signal is ignored, and its status is taken although its handle was closed before. No child stays a zombie.
 */

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "uvprocess.h"
#include "childfds.h"
#include "children.h"
#include "descriptors.h"
#include "handles.h"
#include "records.h"
#include "signals.h"
#include "slots.h"

#define CO_PROCESS_FLAGS                                                                                        \
    (UV_PROCESS_SETUID | UV_PROCESS_SETGID | UV_PROCESS_WINDOWS_VERBATIM_ARGUMENTS | UV_PROCESS_DETACHED |     \
     UV_PROCESS_WINDOWS_HIDE | UV_PROCESS_WINDOWS_HIDE_CONSOLE | UV_PROCESS_WINDOWS_HIDE_GUI)

struct co_child_watcher {
    uv_poll_t poll; /* first */
    co_loop *loop;
    co_child_watcher *next, **back;
    co_handle *child;           /* NULL: its handle is closed */
    co_shared_watcher *sigchld; /* while the child runs and has a handle */
    int fd;                     /* -1: there are no pidfds here */
    pid_t pid;                  /* 0: it is not our child, but our parent's */
    int due;                    /* the child has ended */
};

/* ---- watchers of children ---- */

static void on_child_watcher_closed(uv_handle_t *uv) {
    close(((co_child_watcher *)uv)->fd);
    free(uv);
}

static void child_watcher_unwatch_sigchld(co_child_watcher *watcher) {
    co_shared_watcher *sigchld = watcher->sigchld;
    watcher->sigchld = NULL;
    if (sigchld) co_shared_watcher_stop(sigchld);
}

/* The child has ended, and its status is taken. */
static void child_watcher_end(co_child_watcher *watcher) {
    *watcher->back = watcher->next;
    if (watcher->next) watcher->next->back = watcher->back;
    if (watcher->child) watcher->child->extra = NULL;
    child_watcher_unwatch_sigchld(watcher);
    if (watcher->fd < 0)
        free(watcher);
    else
        uv_close((uv_handle_t *)&watcher->poll, on_child_watcher_closed);
}

/* Report how a child has ended. One without its watcher has done so before. */
static void raw_child_ended(co_handle *child, int status, int number) {
    co_push(child->loop, child->slot, child->generation, status, (uint32_t)number);
    child_watcher_end(child->extra);
}

static void on_raw_exit(uv_process_t *uv, int64_t status, int number) {
    if (HANDLE(uv)->extra) raw_child_ended(HANDLE(uv), (int)status, number);
}

static void on_child_watcher(uv_poll_t *uv, int status, int events) {
    co_child_watcher *watcher = (co_child_watcher *)uv;
    watcher->due = watcher->loop->child_watchers_due = 1;
}

/* The child has ended, and libuv does not know how: its handle is closed, or other code has taken the status. */
static void child_watcher_alone(co_child_watcher *watcher) {
    co_handle *child = watcher->child;
    if (child) {
        uv_unref(&child->u.handle); /* it stays active until it is closed */
        raw_child_ended(child, -ECHILD, 0);
    } else {
        if (watcher->pid) waitpid(watcher->pid, NULL, WNOHANG);
        child_watcher_end(watcher);
    }
}

/* After uv_run, behind all else that this step has brought.
 *
 * A pidfd has said that a child has ended, and libuv has not: its handler of SIGCHLD was replaced, or the signal is ignored. So
 * libuv's callback for that signal is called here (co_uv_reap_children): it looks for all children of libuv's that have ended,
 * takes their status, and calls their exit callback, which ends their watcher. A watcher that is due still has no handle that
 * libuv knows, or the status is lost. */
void co_child_watchers_recover(co_loop *loop) {
    loop->child_watchers_due = 0;
    co_uv_reap_children(&loop->uv);
    for (co_child_watcher *watcher = loop->child_watchers, *next; watcher; watcher = next) {
        next = watcher->next;
        if (watcher->due) child_watcher_alone(watcher);
    }
}

static void child_watcher_orphan(const co_child_watcher *watcher) {
    if (watcher->pid) co_orphans_add(watcher->pid);
}

static int pidfd_of(pid_t pid) {
#ifdef SYS_pidfd_open
    return (int)syscall(SYS_pidfd_open, pid, 0);
#else
    return -1;
#endif
}

static co_child_watcher *child_watcher_new(co_handle *child, co_shared_watcher *sigchld) {
    co_loop *loop = child->loop;
    co_child_watcher *watcher = calloc(1, sizeof *watcher);
    if (!watcher) return NULL;
    watcher->loop = loop;
    watcher->child = child;
    watcher->sigchld = sigchld;
    watcher->fd = -1;
    watcher->next = loop->child_watchers;
    watcher->back = &loop->child_watchers;
    if (loop->child_watchers) loop->child_watchers->back = &watcher->next;
    loop->child_watchers = watcher;
    child->extra = watcher;
    return watcher;
}

static void child_watcher_start(co_child_watcher *watcher, pid_t pid) {
    watcher->pid = pid;
    watcher->fd = pidfd_of(pid);
    if (watcher->fd < 0) return;
    co_descriptor_vacate(watcher->loop, watcher->fd);
    if (uv_poll_init(&watcher->loop->uv, &watcher->poll, watcher->fd)) {
        close(watcher->fd);
        watcher->fd = -1;
        return;
    }
    uv_unref((uv_handle_t *)&watcher->poll);
    uv_poll_start(&watcher->poll, UV_READABLE, on_child_watcher);
}

/* The handle is closed before the child has ended: the watcher waits alone. */
static void raw_child_left(co_handle *child) {
    co_child_watcher *watcher = child->extra;
    if (!watcher) return;
    child->extra = NULL;
    watcher->child = NULL;
    child_watcher_unwatch_sigchld(watcher);
    if (watcher->fd >= 0) return;
    child_watcher_orphan(watcher);
    child_watcher_end(watcher);
}

/* The loop ends: the start of the next program takes the statuses. */
void co_child_watchers_leave(co_loop *loop) {
    while (loop->child_watchers) {
        child_watcher_orphan(loop->child_watchers);
        child_watcher_end(loop->child_watchers);
    }
}

/* In the child of a fork: they are our parent's children. */
void co_child_watchers_forked(co_loop *loop) {
    for (co_child_watcher *one = loop->child_watchers; one; one = one->next) one->pid = 0;
}

/* ---- starting ---- */

static int raw_container(co_loop *loop, const co_container *from, int standard, co_childfd *into) {
    if (from->flags & UV_INHERIT_FD) {
        if (from->fd < 0) return UV_EBADF;
        if (standard) return co_childfd_make(loop, into, from->fd < CO_FIRST_FD ? CO_INHERIT : CO_HAND_OVER, from->fd, NULL);
        into->fd = from->fd; /* as it is */
    } else if (from->flags & UV_CREATE_PIPE) {
        OF_TYPE(pipe, UV_NAMED_PIPE, loop, from->slot);
        int reads = from->flags & UV_READABLE_PIPE, writes = from->flags & UV_WRITABLE_PIPE;
        return co_childfd_make(loop, into, (reads ? CO_CHILD_READS : 0) | (writes ? CO_CHILD_WRITES : 0), -1, pipe);
    }
    return 0;
}

static int raw_stdio_make(co_loop *loop, const co_command *command, co_childfd *stdio) {
    for (int i = 0; i < command->stdio_count; i++) stdio[i] = (co_childfd){.fd = -1, .mode = -1};
    for (int i = 0; i < command->stdio_count; i++) {
        int code = raw_container(loop, &command->stdio[i], i < CO_FIRST_FD, &stdio[i]);
        if (code) return code;
    }
    return 0;
}

/* libuv needs the handle closed also if nothing was started. */
static int raw_spawn_failed(co_handle *child, int code) {
    void *watcher = child->extra;
    co_handle_discard(child);
    child_watcher_end(watcher);
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
    int code = co_spawn_by_libuv(&child->loop->uv, &child->u.process, &options);
    if (code) return raw_spawn_failed(child, code);
    command->pid = uv_process_get_pid(&child->u.process);
    child_watcher_start(child->extra, command->pid);
    child->before_close = raw_child_left;
    return co_handle_opened(child, 0);
}

static const co_kind process_kind = {.type = UV_PROCESS};

/* A handle for a child, with its watcher. */
static int raw_child_new(co_loop *loop, uint32_t slot, uint32_t generation, co_handle **made) {
    co_shared_watcher *sigchld;
    int code = co_shared_watcher_start(loop, SIGCHLD, &sigchld);
    if (code) return code;
    code = co_raw_handle_open(loop, slot, generation, &process_kind, made);
    if (!code && !child_watcher_new(*made, sigchld)) code = co_handle_opened(*made, UV_ENOMEM);
    if (code) co_shared_watcher_stop(sigchld);
    return code;
}

/* Start a program: when it ends comes the record (slot, generation, status, signal); -ECHILD: it is not known how. */
int co_raw_spawn(co_loop *loop, uint32_t slot, uint32_t generation, co_command *command) {
    co_handle *child;
    ENTER(loop);
    size_t count = (size_t)command->stdio_count;
    co_childfd *stdio = malloc((count + 1) * sizeof *stdio);
    uv_stdio_container_t *containers = malloc((count + 1) * sizeof *containers);
    int code = stdio && containers ? raw_stdio_make(loop, command, stdio) : UV_ENOMEM;
    co_orphans_reap();
    if (stdio && containers) co_containers_for(stdio, command->stdio_count, containers);
    if (!code) code = raw_child_new(loop, slot, generation, &child);
    if (!code) code = raw_spawn(child, command, containers);
    if (stdio && containers) co_childfds_done(stdio, command->stdio_count, code);
    free(containers);
    free(stdio);
    return code;
}

/* No other process gets the signal: the number of the child is not used again before libuv has taken its status. */
int co_raw_process_kill(co_loop *loop, uint32_t slot, int number) {
    RAW(child, UV_PROCESS, loop, slot);
    return child->extra ? uv_process_kill(&child->u.process, number) : UV_ESRCH;
}
