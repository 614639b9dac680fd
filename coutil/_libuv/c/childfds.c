/* The descriptors of a child: pipes to us, and copies of what we have. Both ways of starting programs use this.
 *
 * Pipes. Where data go one way only it is a true pipe, not a pair of sockets: a program can open it again as /dev/stdin,
 * a shell does not take it for a remote login, and writing to one without a reader is SIGPIPE. Data in both directions,
 * and sockets that travel, need a pair of sockets. Our end is connected before the start, because that can fail, and is
 * disconnected again if the start fails: the handle is then as it was.
 *
 * Copies. The flags of an open file description are shared by all its descriptors, in all processes. Programs expect
 * descriptors that block; what our loop uses must not. So the child gets a description of its own where the system can
 * make one (pipes and terminals). The flags of any other that is inherited stay as they are. One that was given on
 * purpose, a socket, is made blocking: it is the program's from then on. A stream of this loop can cope with that.
 */

#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "childfds.h"
#include "descriptors.h"
#include "shared.h"
#include "shutdown.h"

#ifdef __linux__
#include <sys/syscall.h>
#if !defined(SYS_close_range) && !defined(__alpha__)
#define SYS_close_range 436
#endif
#define CO_CLOSE_RANGE_CLOEXEC 4U
#endif

#define CO_HIGHEST (1 << 20)   /* where the search for open descriptors ends if nothing lists them */

/* ---- pipes ---- */

static int pipe_connect(co_handle *pipe, int fd, int kind) {
    int code = uv_pipe_open(&pipe->u.pipe, fd);
    if (!code) co_uv_set_directions(&pipe->u.stream, !!(kind & CO_CHILD_WRITES), !!(kind & CO_CHILD_READS));
    return co_own_after(pipe, code);
}

/* Returns libuv's code. Neither end takes the number of a standard stream that is closed. */
static int ends_raise(int ends[2]) {
    for (int i = 0; i < 2; i++) {
        if (ends[i] >= CO_FIRST_FD) continue;
        int higher = fcntl(ends[i], F_DUPFD_CLOEXEC, CO_FIRST_FD), code = uv_translate_sys_error(errno);
        if (higher < 0) {
            close(ends[0]);
            close(ends[1]);
            return code;
        }
        close(ends[i]);
        ends[i] = higher;
    }
    return 0;
}

/* Make a pipe to us, for a handle that has no descriptor. `kind`: what the child does with it. */
static int childfd_pipe(co_childfd *into, co_handle *pipe, int kind) {
    int ends[2], one_way = kind != CO_CHILD_PIPE && !pipe->u.pipe.ipc;
    if (co_uv_fd(&pipe->u.pipe) >= 0) return UV_EBUSY;
    int code = one_way ? uv_pipe(ends, 0, 0) : uv_socketpair(SOCK_STREAM, 0, ends, 0, 0);
    if (!code) code = ends_raise(ends);
    if (code) return code;
    int ours = kind == CO_CHILD_READS; /* the second end of a pipe is the one to write to */
    code = pipe_connect(pipe, ends[ours], kind);
    if (code) {
        close(ends[0]);
        close(ends[1]);
        return code;
    }
    pipe->not_a_socket = one_way;
    pipe->simplex = one_way && kind == CO_CHILD_READS;
    into->pipe = pipe;
    into->fd = ends[!ours];
    into->made = 1;
    return 0;
}

/* ---- copies ---- */

/* Another open file description of the same pipe or terminal, which blocks; -1 if the system cannot make one. */
static int opened_again(int fd, int mode) {
    struct stat file;
    char path[32];
    if (fstat(fd, &file)) return -1;
#ifdef TIOCGPTN
    unsigned int number; /* to open the other side of a pseudo-terminal again makes a new one */
    int terminal = isatty(fd) && ioctl(fd, TIOCGPTN, &number);
#else
    int terminal = 0;
#endif
    if (!S_ISFIFO(file.st_mode) && !terminal) return -1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int again = open(path, (mode & O_ACCMODE) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC); /* to wait for a reader is not meant */
    if (again < 0) return -1;
    mode = fcntl(again, F_GETFL);
    fcntl(again, F_SETFL, mode & ~O_NONBLOCK);
    return again;
}

/* Give the child one of our descriptors. One that does not exist is left to the start to report. */
static void childfd_copy(co_loop *loop, co_childfd *into, int fd) {
    int mode = fcntl(fd, F_GETFL);
    into->fd = fd;
    if (mode < 0 || !(mode & O_NONBLOCK)) return;
    int again = opened_again(fd, mode);
    if (again >= 0) {
        into->fd = again;
        into->made = 1;
        return;
    }
    into->mode = mode;
    if (into->kind != CO_HAND_OVER) return;
    if (co_share_descriptor(loop, fd)) fcntl(fd, F_SETFL, mode & ~O_NONBLOCK);
}

/* ---- before and after the start ---- */

/* Make what a child gets. `pipe` is our end if the kind asks for a pipe, else NULL. The caller calls childfds_done, also
 * after an error. */
int co_childfd_make(co_loop *loop, co_childfd *into, int kind, int fd, co_handle *pipe) {
    *into = (co_childfd){.kind = kind, .fd = -1, .mode = -1};
    if (kind & CO_CHILD_PIPE) return childfd_pipe(into, pipe, kind);
    if (kind == CO_SAME)
        into->fd = into[-1].fd;
    else if (kind != CO_IGNORE)
        childfd_copy(loop, into, fd);
    return 0;
}

/* The child has its own descriptors, or has not started (`code` < 0). A start by libuv has made standard streams block
 * that others use, too: that is undone. */
void co_childfds_done(co_childfd *fds, int count, int code) {
    for (co_childfd *one = fds; one < fds + count; one++) {
        if (one->made) close(one->fd);
        if (one->pipe && code < 0) {
            co_pipe_disconnect(one->pipe);
            one->pipe->not_a_socket = one->pipe->simplex = 0;
        }
        if (one->mode >= 0 && (code < 0 || one->kind == CO_INHERIT)) fcntl(one->fd, F_SETFL, one->mode);
    }
}

/* ---- in the child: nothing but system calls ---- */

static void descriptor_hide(int fd) {
    if (fd >= CO_FIRST_FD) fcntl(fd, F_SETFD, FD_CLOEXEC);
}

#ifdef __linux__
typedef struct {
    uint64_t inode;
    int64_t offset;
    uint16_t size;
    uint8_t type;
    char name[];
} co_entry; /* as getdents64 writes it */

static int descriptors_listed_hide(void) {
    char buffer[2048] __attribute__((aligned(8)));
    long size;
    int folder = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return 0;
    while ((size = syscall(SYS_getdents64, folder, buffer, sizeof buffer)) > 0)
        for (char *at = buffer; at < buffer + size; at += ((co_entry *)at)->size) {
            int fd = 0;
            const char *digit = ((co_entry *)at)->name;
            for (; *digit >= '0' && *digit <= '9'; digit++) fd = 10 * fd + *digit - '0';
            if (!*digit) descriptor_hide(fd);
        }
    close(folder);
    return !size;
}
#else
static int descriptors_listed_hide(void) { return 0; }
#endif

/* Have all descriptors but the standard streams closed when the program is run: what is inheritable here, by a C library
 * or for another child, is not meant for this one. */
void co_descriptors_hide(void) {
    struct rlimit limit;
#ifdef SYS_close_range
    if (!syscall(SYS_close_range, (unsigned int)CO_FIRST_FD, ~0U, CO_CLOSE_RANGE_CLOEXEC)) return; /* Linux 5.11 */
#endif
    if (descriptors_listed_hide()) return;
    int highest = !getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < CO_HIGHEST ? (int)limit.rlim_cur : CO_HIGHEST;
    for (int fd = CO_FIRST_FD; fd < highest; fd++) descriptor_hide(fd);
}

/* libuv starts programs by fork(3), and then gives the child what was asked for; so this comes before. */
static __thread int libuv_spawns;

static void on_libuv_fork(void) {
    if (libuv_spawns) co_descriptors_hide();
}

__attribute__((constructor)) static void libuv_forks_watch(void) { pthread_atfork(NULL, NULL, on_libuv_fork); }

void co_containers_for(const co_childfd *from, int count, uv_stdio_container_t *into) {
    for (int i = 0; i < count; i++) {
        into[i].flags = from[i].fd < 0 ? UV_IGNORE : UV_INHERIT_FD;
        into[i].data.fd = from[i].fd;
    }
}

int co_spawn_by_libuv(uv_loop_t *loop, uv_process_t *process, const uv_process_options_t *options) {
    libuv_spawns = 1;
    int code = uv_spawn(loop, process, options);
    libuv_spawns = 0;
    co_own_pipes(options->stdio, options->stdio_count);
    return code;
}
