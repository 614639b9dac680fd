/* Starting programs on Linux: a child that borrows our memory until it runs the program, and a pidfd, which can be polled
 * when it has ended.
 *
 * uv_spawn forks: that copies the page tables, write-protects all memory, and each page that is written to afterwards is
 * a fault: 50 ms for each GiB. Its SIGCHLD handler takes the place of the program's own, and is called for all children
 * of the process. Here nothing of ours is shared with others: not a signal, and no status but that of our child is taken.
 *
 * The child runs on a stack of its own in our memory, while the calling thread waits until it has called execve or _exit
 * (CLONE_VFORK). So all signals are blocked before, and their handlers reset in the child before it unblocks them; it
 * calls nothing but what is safe in a signal handler, and writes to nothing but its co_spawn_state. One that changes its user
 * gets a copy of our memory: another user must not be able to read ours, nor change whether it can be dumped.
 */

#include "spawn_linux.h"

#ifdef __linux__

#include <grp.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "childfds.h"
#include "descriptors.h"
#include "signals.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000
#endif
#define CO_P_PIDFD ((idtype_t)3)
#define CO_CHILD_STACK 32768
#ifdef SYS_setuid32 /* where SYS_setuid takes 16 bits */
#define CO_SETUID SYS_setuid32
#define CO_SETGID SYS_setgid32
#define CO_SETGROUPS SYS_setgroups32
#else
#define CO_SETUID SYS_setuid
#define CO_SETGID SYS_setgid
#define CO_SETGROUPS SYS_setgroups
#endif

/* ---- in the child ---- */

/* What a child is made of. It is followed by a stack, and the room that the pointers point to. */
typedef struct {
    const co_program *program;
    int stdio[3];       /* descriptors; -1: the null device */
    char **environment; /* a copy: another thread may change ours meanwhile */
    const char *path;   /* folders to look in */
    char *name;         /* room for the longest of them with the program's name */
    char **script;      /* arguments for the shell: room for its own name, the file's, and those of the program */
    sigset_t ignored, blocked;
    volatile int error; /* is set if the program cannot be run */
} co_spawn_state;

/* Run a file; as execvp does, one that says not how by the shell. Returns errno. */
static int exec_file(co_spawn_state *state, const char *file) {
    execve(file, state->program->arguments, state->environment);
    if (errno != ENOEXEC) return errno;
    state->script[1] = (char *)file;
    execve(state->script[0], state->script, state->environment);
    return errno;
}

/* Look for the program as execvp does, in the PATH that the program will have. Returns errno. */
static int exec_program(co_spawn_state *state) {
    const char *file = state->program->file;
    size_t length = strlen(file);
    int denied = 0;
    if (memchr(file, '/', length)) return exec_file(state, file);
    if (length > NAME_MAX) return ENAMETOOLONG;
    for (const char *at = state->path, *end;; at = end + 1) {
        for (end = at; *end && *end != ':';) end++;
        size_t size = (size_t)(end - at);
        memcpy(state->name, at, size);
        if (size) state->name[size++] = '/';
        memcpy(state->name + size, file, length + 1);
        int error = exec_file(state, state->name);
        if (error == EACCES)
            denied = 1;
        else if (error != ENOENT && error != ENOTDIR && error != ENAMETOOLONG && error != ESTALE && error != ENODEV &&
                 error != ETIMEDOUT)
            return error;
        if (!*end) return denied ? EACCES : ENOENT;
    }
}

/* Make the standard streams of the descriptors that are meant for them. Returns errno. */
static int stdio_set(co_spawn_state *state) {
    /* A descriptor that is overwritten before it is copied goes out of the way first. */
    for (int i = 0; i < 3; i++) {
        int *fd = &state->stdio[i];
        int is_overwritten = *fd >= 0 && *fd < i;
        if (is_overwritten && (*fd = fcntl(*fd, F_DUPFD_CLOEXEC, CO_FIRST_FD)) < 0) return errno;
    }

    /* A copy outlives execve; one that has the right number already is made to. */
    for (int i = 0; i < 3; i++) {
        int fd = state->stdio[i];
        if (fd < 0) fd = open("/dev/null", (i ? O_RDWR : O_RDONLY) | O_CLOEXEC);
        if (fd < 0) return errno;
        if ((fd == i ? fcntl(fd, F_SETFD, 0) : dup2(fd, i)) < 0) return errno;
    }
    return 0;
}

/* By system calls of this thread alone: the library's functions would change the threads of our parent, too. */
static int user_set(const co_program *program) {
    int changes = program->flags & (UV_PROCESS_SETUID | UV_PROCESS_SETGID);
    if (changes) syscall(CO_SETGROUPS, 0, NULL); /* only root can, and has to */
    if (changes & UV_PROCESS_SETGID && syscall(CO_SETGID, program->group)) return errno;
    if (changes & UV_PROCESS_SETUID && syscall(CO_SETUID, program->user)) return errno;
    return 0;
}

/* Handlers are ours, and so are the signals that Python ignores by itself. What this process ignores by nohup or a shell's
 * trap, and what it blocks, its children do as well. */
static void signals_reset(const co_spawn_state *state) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    for (int number = 1; number < NSIG; number++) { /* some cannot be set, and need not */
        action.sa_handler = sigismember(&state->ignored, number) > 0 ? SIG_IGN : SIG_DFL;
        sigaction(number, &action, NULL);
    }
    sigprocmask(SIG_SETMASK, &state->blocked, NULL);
}

static int child_main(void *data) {
    co_spawn_state *state = data;
    const co_program *program = state->program;
    if (program->flags & UV_PROCESS_DETACHED) setsid();
    state->error = stdio_set(state);
    if (!state->error && program->directory && chdir(program->directory)) state->error = errno;
    if (!state->error) state->error = user_set(program);
    if (!state->error) {
        co_descriptors_hide();
        signals_reset(state);
        state->error = exec_program(state);
    }
    _exit(127);
}

/* ---- in the parent: all that takes memory is done before ---- */

static size_t strings(char **array) {
    size_t count = 0;
    while (array[count]) count++;
    return count;
}

static const char *path_of(char **environment, char *fallback, size_t room) {
    for (; *environment; environment++)
        if (!strncmp(*environment, "PATH=", 5)) return *environment + 5;
    return confstr(_CS_PATH, fallback, room) ? fallback : "";
}

/* Returns NULL without memory. What a child with a copy of our memory writes into it has to be shared. */
static co_spawn_state *spawn_state_new(const co_program *program, const co_childfd *stdio, int copied, size_t *size) {
    extern char **environ;
    static char shell[] = "/bin/sh";
    char fallback[256];
    char **environment = program->environment ? program->environment : environ;
    size_t variables = strings(environment), arguments = strings(program->arguments);
    const char *path = path_of(environment, fallback, sizeof fallback);

    /* One block: the stack, the state, pointers, the path, and room for a name in each of its directories. */
    size_t pointers = (variables + 1 + arguments + 2) * sizeof(char *), length = strlen(path) + 1;
    *size = CO_CHILD_STACK + sizeof(co_spawn_state) + pointers + 2 * length + strlen(program->file) + 1;
    char *room = copied ? mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) : malloc(*size);
    if (!room || room == MAP_FAILED) return NULL;

    co_spawn_state *state = (co_spawn_state *)(room + CO_CHILD_STACK);
    memset(state, 0, sizeof *state + pointers);
    state->program = program;
    for (int i = 0; i < 3; i++) state->stdio[i] = stdio[i].fd;
    state->environment = (char **)(state + 1);
    memcpy(state->environment, environment, variables * sizeof(char *));
    state->script = state->environment + variables + 1;
    state->script[0] = shell;
    if (arguments) memcpy(state->script + 2, program->arguments + 1, arguments * sizeof(char *)); /* and the NULL */
    state->path = memcpy((char *)state->environment + pointers, path, length);
    state->name = (char *)state->path + length;
    return state;
}

static void spawn_state_free(co_spawn_state *state, int copied, size_t size) {
    char *room = (char *)state - CO_CHILD_STACK;
    if (copied)
        munmap(room, size);
    else
        free(room);
}

/* Start the child; returns its pidfd. It has ended by itself if there is an error. */
static int child_start(co_loop *loop, co_spawn_state *state, int copied, pid_t *pid) {
    sigset_t all, before;
    int pidfd = -1, flags = CLONE_VFORK | CLONE_PIDFD | (copied ? 0 : CLONE_VM) | SIGCHLD;
    co_signals_ignored(&state->ignored);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    state->blocked = before;
    if (loop->sigpipe_blocked) sigdelset(&state->blocked, SIGPIPE);
    *pid = clone(child_main, state, flags, state, &pidfd);
    int error = *pid < 0 ? errno : state->error;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!error) return pidfd;
    if (*pid > 0) {
        while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR) continue;
        close(pidfd);
    }
    return uv_translate_sys_error(error);
}

/* ---- its end ---- */

/* Before the handle is closed. */
static void pidfd_forget(co_handle *child) {
    uv_poll_stop(&child->u.poll);
    close(child->fd);
}

static void on_pidfd(uv_poll_t *uv, int status, int events) {
    co_handle *child = HANDLE(uv);
    siginfo_t end;
    int failed;
    memset(&end, 0, sizeof end);
    do
        failed = waitid(CO_P_PIDFD, (id_t)child->fd, &end, WEXITED | WNOHANG);
    while (failed && errno == EINTR);
    if (failed)
        co_child_ended(child, -ECHILD, 0); /* other code has taken the status, or SIGCHLD is ignored */
    else if (end.si_pid) /* else a debugger has it still */
        co_child_ended(child, end.si_code == CLD_EXITED ? end.si_status : 0, end.si_code == CLD_EXITED ? 0 : end.si_status);
}

int co_pidfd_kill(co_handle *child, int number) {
    return syscall(SYS_pidfd_send_signal, child->fd, number, NULL, 0) ? uv_translate_sys_error(errno) : 0;
}

/* Linux 5.4; a sandbox may forbid it. */
int co_pidfds_work(void) {
    static int works = -1; /* two threads would find the same */
    if (works < 0) {
        siginfo_t end;
        int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE)) return 1; /* the start will show */
        works = fd >= 0 && !syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0) &&
                waitid(CO_P_PIDFD, (id_t)fd, &end, WEXITED | WNOHANG) && errno == ECHILD; /* it is no child of ours */
        if (fd >= 0) close(fd);
    }
    return works;
}

/* While SIGCHLD is ignored, the system takes the status itself, so then it must not be. */
static int keep_status(co_handle *child) {
    return co_children_ignored() ? co_child_watch_sigchld(child) : 0;
}

/* A start that fails is a handle that was closed. */
static int start_failed(co_handle *child, int code) {
    co_loop *loop = child->loop;
    co_child_unwatch_sigchld(child);
    loop->handles_closed++;
    loop->handles_freed++;
    loop->handles[child->slot] = NULL;
    free(child);
    return code;
}

/* Returns the pidfd. */
static int child_create(co_loop *loop, co_program *program, const co_childfd *stdio) {
    size_t size;
    pid_t pid;
    int copied = !!(program->flags & (UV_PROCESS_SETUID | UV_PROCESS_SETGID));
    co_spawn_state *state = spawn_state_new(program, stdio, copied, &size);
    if (!state) return UV_ENOMEM;
    int code = child_start(loop, state, copied, &pid);
    spawn_state_free(state, copied, size);
    if (code >= 0) program->pid = pid;
    return code;
}

/* Its poll has failed: the status is there, or is not. */
static void pidfd_failed(co_handle *child, int code) {
    (void)code;
    on_pidfd(&child->u.poll, UV_EBADF, 0);
}

const co_kind co_pidfd_kind = {.type = UV_POLL, .internal = 1, .failed = pidfd_failed, .walk = co_child_walk};

int co_spawn_linux(co_handle *child, co_program *program, const co_childfd *stdio) {
    int code = keep_status(child);
    if (code) return start_failed(child, code);
    int pidfd = child_create(child->loop, program, stdio);
    if (pidfd < 0) return start_failed(child, pidfd);
    co_descriptor_vacate(child->loop, pidfd);
    code = uv_poll_init(&child->loop->uv, &child->u.poll, pidfd);
    if (code) { /* without it the end would not be noticed */
        kill(program->pid, SIGKILL);
        while (waitpid(program->pid, NULL, 0) < 0 && errno == EINTR) continue;
        close(pidfd);
        return start_failed(child, code);
    }
    child->fd = pidfd;
    child->extra = (void *)(intptr_t)program->pid;
    child->before_close = pidfd_forget;
    uv_poll_start(&child->u.poll, UV_READABLE, on_pidfd); /* cannot fail */
    return 0;
}

#endif
