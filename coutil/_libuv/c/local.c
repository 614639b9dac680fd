/* Unix sockets, and descriptors that travel through them.
 *
 * Names are handled here, not by libuv: 1.44 cuts long ones short, has no abstract ones, cannot use a bound stream or
 * repeat a failed attempt to connect, and unlinks any file that has the name when a listener is closed.
 */

#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "local.h"
#include "descriptors.h"
#include "requests.h"
#include "streams.h"
#include "writing.h"

#define CO_FOLDER 4096 /* bytes of a path that getcwd(3) may return */

/* The file that a bound socket has made, to be removed with it: its path from the root, as the process may be in another
 * directory by then. */
typedef struct {
    dev_t device;
    ino_t inode;
    char path[];
} co_bound;

/* A write that takes a descriptor along. It is a duplicate: the stream it comes from may be closed at any time. */
typedef struct {
    co_request request;
    uv_tcp_t passed; /* not known to libuv: see co_uv_stand_in */
} co_passing;

/* ---- names ---- */

/* Returns the length of the address, 0 if the name is too long. */
static socklen_t local_address(struct sockaddr_un *address, const char *name, size_t size) {
    int abstract = size && !*name;
    if (size > CO_SUN_PATH + (size_t)abstract) return 0;
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, name, size);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + !abstract);
}

static int local_socket(void) {
#ifdef SOCK_CLOEXEC
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
#else
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd >= 0) {
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        fcntl(fd, F_SETFL, O_NONBLOCK);
    }
#endif
    return fd < 0 ? uv_translate_sys_error(errno) : fd;
}

static void name_forget(co_handle *pipe) {
    free(pipe->extra);
    pipe->extra = NULL;
    pipe->before_close = NULL;
}

/* Before a bound socket is closed: remove its file, unless the name is another file's by now. */
static void unbind(co_handle *pipe) {
    co_bound *bound = pipe->extra;
    struct stat now;
    if (!lstat(bound->path, &now) && now.st_dev == bound->device && now.st_ino == bound->inode) unlink(bound->path);
    name_forget(pipe);
}

/* Another process has the socket now, too, and needs its name: the file stays. */
void co_local_handed_over(co_handle *passed) {
    if (passed->before_close == unbind) name_forget(passed);
}

static int name_remember(co_handle *pipe, const char *path, size_t size) {
    char folder[CO_FOLDER];
    struct stat made;
    if (*path == '/' || !getcwd(folder, sizeof folder) || *folder != '/') *folder = 0;
    size_t length = strlen(folder);
    co_bound *bound = malloc(sizeof *bound + length + size + 2);
    if (!bound) return UV_ENOMEM;
    sprintf(bound->path, "%s%s%.*s", folder, length ? "/" : "", (int)size, path);
    if (lstat(bound->path, &made)) {
        free(bound);
        return 0; /* removed already */
    }
    bound->device = made.st_dev;
    bound->inode = made.st_ino;
    pipe->extra = bound;
    pipe->before_close = unbind;
    return 0;
}

int co_local_bind(co_loop *loop, uint32_t slot, const char *name, size_t size) {
    struct sockaddr_un address;
    OF_TYPE(pipe, UV_NAMED_PIPE, loop, slot);
    socklen_t length = local_address(&address, name, size);
    if (!length) return UV_ENAMETOOLONG;
    if (!size) length = offsetof(struct sockaddr_un, sun_path); /* Linux chooses an abstract name */
    if (co_uv_fd(&pipe->u.pipe) >= 0) return UV_EINVAL; /* bound, or connected */
    int fd = local_socket();
    if (fd < 0) return fd;
    int code = bind(fd, (struct sockaddr *)&address, length) ? uv_translate_sys_error(errno) : 0;
    if (!code && *name && (code = name_remember(pipe, name, size))) unlink(address.sun_path);
    if (code)
        close(fd);
    else
        co_uv_set_fd(&pipe->u.pipe, fd);
    return co_own_after(pipe, code);
}

/* The length of the name, which is not terminated; 0 if there is none. */
int co_local_name(co_loop *loop, uint32_t slot, int peer, char *into, size_t room) {
    struct sockaddr_un address;
    socklen_t length = sizeof address;
    OF_TYPE(pipe, UV_NAMED_PIPE, loop, slot);
    int fd = co_uv_fd(&pipe->u.pipe);
    if (fd < 0) return pipe->raw ? UV_EBADF : peer ? UV_ENOTCONN : 0;
    memset(&address, 0, sizeof address);
    if ((peer ? getpeername : getsockname)(fd, (struct sockaddr *)&address, &length))
        return uv_translate_sys_error(errno);
    if (length <= offsetof(struct sockaddr_un, sun_path)) return 0;
    size_t size = length - offsetof(struct sockaddr_un, sun_path);
    if (size > sizeof address.sun_path) size = sizeof address.sun_path;
    if (*address.sun_path) size = strnlen(address.sun_path, size);
    if (size > room) return UV_ENOBUFS;
    memcpy(into, address.sun_path, size);
    return (int)size;
}

/* Let all users read, write, or both, also. uv_pipe_chmod takes the other permissions away in libuv 1.52. */
int co_local_permit(co_loop *loop, uint32_t slot, int readable, int writable) {
    char path[CO_SUN_PATH + 1];
    const char *name = path;
    struct stat now;
    OF_TYPE(pipe, UV_NAMED_PIPE, loop, slot);
    if (co_uv_fd(&pipe->u.pipe) < 0) return UV_EBADF;
    if (pipe->before_close == unbind)
        name = ((co_bound *)pipe->extra)->path;
    else {
        int size = co_local_name(loop, slot, 0, path, sizeof path - 1);
        if (size < 0) return size;
        if (!size || !*path) return UV_EINVAL; /* no path */
        path[size] = 0;
    }
    mode_t added = (readable ? 0444 : 0) | (writable ? 0222 : 0);
    if (stat(name, &now)) return uv_translate_sys_error(errno);
    if ((now.st_mode & added) == added) return 0;
    return chmod(name, (now.st_mode & 07777) | added) ? uv_translate_sys_error(errno) : 0;
}

/* ---- connections ---- */

int co_local_new(co_loop *loop, uint32_t slot, uint32_t generation, int share) {
    co_handle *pipe;
    ENTER(loop);
    return co_pipe_open(loop, slot, generation, 0, share, &pipe);
}

/* A Unix socket connects at once or not at all. UV_EAGAIN: the listener has no room left. */
static int local_connect(co_handle *pipe, const struct sockaddr_un *address, socklen_t length) {
    int fd = co_uv_fd(&pipe->u.pipe), made = fd < 0, code = 0;
    if (made && (fd = local_socket()) < 0) return fd;
    while (connect(fd, (const struct sockaddr *)address, length) && !code)
        if (errno != EINTR) code = uv_translate_sys_error(errno);
    if (!code) code = uv_pipe_open(&pipe->u.pipe, fd);
    if (code && made) {
        close(fd);
        co_uv_set_fd(&pipe->u.pipe, -1);
    }
    return co_own_after(pipe, code);
}

int co_local_connect(co_loop *loop, uint32_t slot, uint32_t at, uint32_t generation, const char *name, size_t size) {
    struct sockaddr_un address;
    OF_TYPE(pipe, UV_NAMED_PIPE, loop, slot);
    socklen_t length = local_address(&address, name, size);
    if (!length) return UV_ENAMETOOLONG;
    co_request *request = co_request_new(loop, at, generation);
    if (!request) return UV_ENOMEM;
    int code = co_request_started(request, local_connect(pipe, &address, length));
    if (!code) co_request_inline_done(request, pipe);
    return code;
}

/* ---- descriptors that travel ---- */

static void on_passed(uv_write_t *uv, int status) {
    co_passing *passing = (co_passing *)REQUEST(uv, write);
    close(co_uv_fd(&passing->passed));
    co_on_write(uv, status);
}

/* Write the data, at least one byte, and a duplicate of the descriptor of the handle `other`. */
int co_share_send(co_loop *loop, uint32_t slot, uint32_t at, uint32_t generation, const char *data, size_t size,
                  uint32_t other) {
    OF_TYPE(stream, UV_NAMED_PIPE, loop, slot);
    OPEN(passed, loop, other);
    if (!uv_is_writable(&stream->u.stream)) return UV_EPIPE;
    uv_os_fd_t original;
    int code = uv_fileno(&passed->u.handle, &original);
    if (code) return code;
    int fd = fcntl(original, F_DUPFD_CLOEXEC, CO_FIRST_FD);
    if (fd < 0) return uv_translate_sys_error(errno);
    co_passing *passing = co_request_alloc(sizeof *passing, loop, at, generation);
    code = UV_ENOMEM;
    if (passing) {
        co_uv_stand_in(&passing->passed, NULL, fd);
        code = co_write_start(&passing->request, stream, data, size, (uv_stream_t *)&passing->passed, on_passed);
    }
    if (code)
        close(fd);
    else
        co_local_handed_over(passed);
    return code;
}

/* Take the first of the descriptors that have come with data, UV_EAGAIN if there are fewer than `count`. libuv's way for the
 * last one would also poll for more data, whether or not a coroutine reads. */
int co_share_take(co_loop *loop, uint32_t slot, int count) {
    OF_TYPE(stream, UV_NAMED_PIPE, loop, slot);
    uv_stream_t *pipe = &stream->u.stream;
    int fd = co_uv_accepted_fd(pipe);
    if (fd < 0 || uv_pipe_pending_count(&stream->u.pipe) < count) return UV_EAGAIN;
    if (co_uv_take_last_accepted(pipe)) return fd;
    uv_tcp_t taker; /* not known to libuv, which only puts the descriptor into it */
    memset(&taker, 0, sizeof taker);
    co_uv_stand_in(&taker, pipe->loop, -1);
    int code = uv_accept(pipe, (uv_stream_t *)&taker);
    return code ? code : fd;
}
