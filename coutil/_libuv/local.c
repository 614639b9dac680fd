/* Unix sockets, descriptors that travel through them, and handles on descriptors that exist already.
 *
 * Names are handled here, not by libuv: 1.44 cuts long ones short, has no abstract ones, cannot use a bound stream or
 * repeat a failed attempt to connect, and unlinks whatever bears the name when a listener is closed.
 */

#include <sys/stat.h>
#include <sys/un.h>

#define CO_SUN_PATH (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)
#define CO_FOLDER 4096 /* bytes of a path that getcwd(3) may tell */
#define CO_FIRST 3 /* descriptors below are the standard streams, which libuv refuses to close */

/* Kinds of descriptors. */
enum {
    CO_FD_OTHER,
    CO_FD_IPV4,
    CO_FD_IPV6,
    CO_FD_LOCAL,
    CO_FD_FIFO,
    CO_FD_TERMINAL,
    CO_FD_FILE,
    CO_FD_UDP4,
    CO_FD_UDP6,
    CO_FD_LISTENS = 16
};

/* The file that a bound socket has made, to be removed with it: its path from the root, as the process may be in another
 * folder by then. */
typedef struct {
    dev_t device;
    ino_t inode;
    char path[];
} co_bound;

/* A write that takes a descriptor along. It is a duplicate: the stream it comes from may be closed at any time. */
typedef struct {
    co_request request;
    uv_tcp_t passed; /* not known to libuv: it only looks at type, flags and descriptor */
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

static void forget(co_handle *pipe) {
    free(pipe->extra);
    pipe->extra = NULL;
    pipe->ending = NULL;
}

/* Before a bound socket is closed: remove its file, unless another one bears the name by now. */
static void unbind(co_handle *pipe) {
    co_bound *bound = pipe->extra;
    struct stat now;
    if (!lstat(bound->path, &now) && now.st_dev == bound->device && now.st_ino == bound->inode) unlink(bound->path);
    forget(pipe);
}

static int remember(co_handle *pipe, const char *path, size_t size) {
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
    pipe->ending = unbind;
    return 0;
}

int co_local_bind(co_loop *loop, uint32_t slot, const char *name, size_t size) {
    struct sockaddr_un address;
    OF_KIND(pipe, UV_NAMED_PIPE, loop, slot);
    socklen_t length = local_address(&address, name, size);
    if (!length) return UV_ENAMETOOLONG;
    if (!size) length = offsetof(struct sockaddr_un, sun_path); /* Linux chooses an abstract name */
    if (pipe->u.pipe.io_watcher.fd >= 0) return UV_EINVAL; /* bound, or connected */
    int fd = local_socket();
    if (fd < 0) return fd;
    int code = bind(fd, (struct sockaddr *)&address, length) ? uv_translate_sys_error(errno) : 0;
    if (!code && *name && (code = remember(pipe, name, size))) unlink(address.sun_path);
    if (code)
        close(fd);
    else
        pipe->u.pipe.io_watcher.fd = fd;
    return owned(pipe, code);
}

/* The length of the name, which is not terminated; 0 if there is none. */
int co_local_name(co_loop *loop, uint32_t slot, int peer, char *into, size_t room) {
    struct sockaddr_un address;
    socklen_t length = sizeof address;
    OF_KIND(pipe, UV_NAMED_PIPE, loop, slot);
    int fd = pipe->u.pipe.io_watcher.fd;
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

/* Let everybody read, write, or both, also. uv_pipe_chmod takes the other permissions away in libuv 1.52. */
int co_local_permit(co_loop *loop, uint32_t slot, int readable, int writable) {
    char path[CO_SUN_PATH + 1];
    const char *name = path;
    struct stat now;
    OF_KIND(pipe, UV_NAMED_PIPE, loop, slot);
    if (pipe->u.pipe.io_watcher.fd < 0) return UV_EBADF;
    if (pipe->ending == unbind)
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
    int code = handle_open(loop, slot, generation, UV_NAMED_PIPE, &pipe);
    return code ? code : handle_opened(pipe, uv_pipe_init(&loop->uv, &pipe->u.pipe, share));
}

/* A Unix socket connects at once or not at all. UV_EAGAIN: the listener has no room left. */
static int local_connect(co_handle *pipe, const struct sockaddr_un *address, socklen_t length) {
    int fd = pipe->u.pipe.io_watcher.fd, made = fd < 0, code = 0;
    if (made && (fd = local_socket()) < 0) return fd;
    while (connect(fd, (const struct sockaddr *)address, length) && !code)
        if (errno != EINTR) code = uv_translate_sys_error(errno);
    if (!code) code = uv_pipe_open(&pipe->u.pipe, fd);
    if (code && made) {
        close(fd);
        pipe->u.pipe.io_watcher.fd = -1;
    }
    return owned(pipe, code);
}

int co_local_connect(co_loop *loop, uint32_t slot, uint32_t at, uint32_t generation, const char *name, size_t size) {
    struct sockaddr_un address;
    OF_KIND(pipe, UV_NAMED_PIPE, loop, slot);
    socklen_t length = local_address(&address, name, size);
    if (!length) return UV_ENAMETOOLONG;
    co_request *request = request_new(loop, at, generation);
    if (!request) return UV_ENOMEM;
    int code = request_started(request, local_connect(pipe, &address, length));
    if (!code) request_ripe(request, pipe);
    return code;
}

/* ---- descriptors that travel ---- */

static void on_passed(uv_write_t *uv, int status) {
    co_passing *passing = (co_passing *)REQUEST(uv, write);
    close(passing->passed.io_watcher.fd);
    on_write(uv, status);
}

/* Write the data, at least one byte, and a duplicate of the descriptor of the handle `other`. */
int co_share_send(co_loop *loop, uint32_t slot, uint32_t at, uint32_t generation, const char *data, size_t size,
                  uint32_t other) {
    OF_KIND(stream, UV_NAMED_PIPE, loop, slot);
    OPEN(passed, loop, other);
    if (!uv_is_writable(&stream->u.stream)) return UV_EPIPE;
    uv_os_fd_t original;
    int code = uv_fileno(&passed->u.handle, &original);
    if (code) return code;
    int fd = fcntl(original, F_DUPFD_CLOEXEC, CO_FIRST);
    if (fd < 0) return uv_translate_sys_error(errno);
    co_passing *passing = request_of(sizeof *passing, loop, at, generation);
    code = UV_ENOMEM;
    if (passing) {
        passing->passed.type = UV_TCP;
        passing->passed.io_watcher.fd = fd;
        code = write_start(&passing->request, stream, data, size, (uv_stream_t *)&passing->passed, on_passed);
    }
    if (code)
        close(fd);
    else if (passed->ending == unbind)
        forget(passed); /* somebody else has the socket now, too, and needs its name */
    return code;
}

/* Take the first of the descriptors that have come with data, UV_EAGAIN if there are fewer than `count`. libuv's way for the last one would also poll
 * for more data, whether or not anybody reads. */
int co_share_take(co_loop *loop, uint32_t slot, int count) {
    OF_KIND(stream, UV_NAMED_PIPE, loop, slot);
    uv_pipe_t *pipe = &stream->u.pipe;
    int fd = pipe->accepted_fd;
    if (fd < 0 || uv_pipe_pending_count(pipe) < count) return UV_EAGAIN;
    if (!pipe->queued_fds) {
        pipe->accepted_fd = -1;
        return fd;
    }
    uv_tcp_t taker; /* not known to libuv, which only puts the descriptor into it */
    memset(&taker, 0, sizeof taker);
    taker.type = UV_TCP;
    taker.loop = pipe->loop;
    taker.io_watcher.fd = -1;
    int code = uv_accept((uv_stream_t *)pipe, (uv_stream_t *)&taker);
    return code ? code : fd;
}

/* ---- descriptors that exist already ---- */

int co_kind(int fd) {
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    int listens = 0;
    socklen_t size = sizeof listens;
    uv_handle_type type = uv_guess_handle(fd);
    switch (type) {
    case UV_TTY: return CO_FD_TERMINAL;
    case UV_FILE: return CO_FD_FILE;
    case UV_TCP:
    case UV_NAMED_PIPE:
    case UV_UDP: break;
    default: return CO_FD_OTHER;
    }
    if (getsockname(fd, (struct sockaddr *)&name, &length)) return CO_FD_FIFO;
    if (type == UV_UDP) return name.ss_family == AF_INET6 ? CO_FD_UDP6 : CO_FD_UDP4;
    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size);
    int kind = name.ss_family == AF_UNIX ? CO_FD_LOCAL : name.ss_family == AF_INET6 ? CO_FD_IPV6 : CO_FD_IPV4;
    return kind | (listens ? CO_FD_LISTENS : 0);
}

/* libuv would let others bind to the address as well; the sender of the socket has not asked for that. */
static void udp_take(co_handle *udp, int fd) {
    int names[] = {SO_REUSEADDR, SO_REUSEPORT}, before[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        socklen_t size = sizeof before[i];
        getsockopt(fd, SOL_SOCKET, names[i], &before[i], &size);
    }
    uv_udp_open(&udp->u.udp, fd);
    for (int i = 0; i < 2; i++) setsockopt(fd, SOL_SOCKET, names[i], &before[i], sizeof before[i]);
    udp->u.udp.io_watcher.fd = fd; /* what libuv cannot use, it says at the first use */
    udp->width = 1;
}

static uv_handle_type type_of(int kind) {
    switch (kind) {
    case CO_FD_TERMINAL: return UV_TTY;
    case CO_FD_FIFO:
    case CO_FD_LOCAL: return UV_NAMED_PIPE;
    case CO_FD_UDP4:
    case CO_FD_UDP6: return UV_UDP;
    default: return UV_TCP;
    }
}

static int adopted_init(co_loop *loop, co_handle *handle, int fd, int kind, int share) {
    int code;
    if (kind == CO_FD_TERMINAL) return uv_tty_init(&loop->uv, &handle->u.tty, fd, 0);
    if (kind == CO_FD_UDP4 || kind == CO_FD_UDP6) {
        uv_udp_init(&loop->uv, &handle->u.udp);
        udp_take(handle, fd);
        handle->ipv6 = kind == CO_FD_UDP6;
        return 0;
    }
    if (kind == CO_FD_FIFO || kind == CO_FD_LOCAL) {
        uv_pipe_init(&loop->uv, &handle->u.pipe, share);
        code = uv_pipe_open(&handle->u.pipe, fd);
    } else {
        uv_tcp_init(&loop->uv, &handle->u.tcp);
        code = uv_tcp_open(&handle->u.tcp, fd);
    }
    (void)code; /* what libuv cannot use, it says at the first use */
    handle->u.stream.io_watcher.fd = fd;
    return 0;
}

/* Make a stream, listener or datagram socket on a descriptor of `kind`, which is ours from now on, whatever comes of it. */
int co_adopt(co_loop *loop, uint32_t slot, uint32_t generation, int fd, int kind, int share) {
    co_handle *handle = NULL;
    if (foreign(loop)) {
        close(fd);
        return CO_FOREIGN;
    }
    kind &= ~CO_FD_LISTENS;
    if (fd < CO_FIRST) {
        int higher = fcntl(fd, F_DUPFD_CLOEXEC, CO_FIRST);
        int code = higher < 0 ? uv_translate_sys_error(errno) : 0;
        close(fd);
        if (code) return code;
        fd = higher;
    }
    uv_handle_type type = type_of(kind);
    int code = handle_open(loop, slot, generation, type, &handle);
    if (!code) code = handle_opened(handle, adopted_init(loop, handle, fd, kind, share));
    if (!code) handle->plain = kind == CO_FD_TERMINAL || kind == CO_FD_FIFO;
    int again = !code && type == UV_TTY && handle->u.tty.io_watcher.fd != fd; /* libuv opens terminals again */
    if (!code && type == UV_TTY) handle->common = !again;
    if (code || again) close(fd);
    return code;
}
