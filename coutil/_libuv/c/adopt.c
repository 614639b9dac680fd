/* Handles on descriptors that exist already: standard streams, and sockets that other processes have sent. */

#include <sys/socket.h>

#include "adopt.h"
#include "descriptors.h"
#include "streams.h"
#include "udp.h"

/* The kind of a descriptor: one of CO_FD_..., with CO_FD_LISTENS for a listener. */
int co_kind_of(int fd) {
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
    co_uv_set_fd(&udp->u.udp, fd); /* what libuv cannot use, it says at the first use */
}

/* A terminal. The descriptor is closed unless libuv has to use it, as it cannot open the terminal again. */
static int terminal_adopt(co_loop *loop, uint32_t slot, uint32_t generation, int fd) {
    co_handle *tty;
    int code = co_tty_open(loop, slot, generation, 0, fd, &tty);
    if (!code) {
        tty->not_a_socket = 1;
        tty->shared_tty = co_uv_fd(&tty->u.tty) == fd;
    }
    if (code || !tty->shared_tty) close(fd);
    return code;
}

static int udp_adopt(co_loop *loop, uint32_t slot, uint32_t generation, int fd, int ipv6) {
    co_handle *udp;
    int code = co_udp_open(loop, slot, generation, 0, AF_UNSPEC, &udp);
    if (code) {
        close(fd);
        return code;
    }
    udp_take(udp, fd);
    udp->ipv6 = ipv6;
    co_own(udp);
    return 0;
}

static int stream_adopt(co_loop *loop, uint32_t slot, uint32_t generation, int fd, int kind, int share) {
    co_handle *stream;
    int is_pipe = kind == CO_FD_FIFO || kind == CO_FD_LOCAL;
    int code = is_pipe ? co_pipe_open(loop, slot, generation, 0, share, &stream)
                       : co_tcp_open(loop, slot, generation, 0, AF_UNSPEC, &stream);
    if (code) {
        close(fd);
        return code;
    }
    co_stream_use(stream, fd);
    co_uv_set_fd(&stream->u.stream, fd); /* what libuv cannot use, it says at the first use */
    stream->not_a_socket = kind == CO_FD_FIFO;
    co_own(stream);
    return 0;
}

/* Make a stream, listener or datagram socket on a descriptor of `kind`, which is ours from now on, also after an error. */
int co_adopt(co_loop *loop, uint32_t slot, uint32_t generation, int fd, int kind, int share) {
    if (co_foreign(loop)) {
        close(fd);
        return CO_FOREIGN;
    }
    kind &= ~CO_FD_LISTENS;
    if (fd < CO_FIRST_FD) {
        int higher = fcntl(fd, F_DUPFD_CLOEXEC, CO_FIRST_FD);
        int code = higher < 0 ? uv_translate_sys_error(errno) : 0;
        close(fd);
        if (code) return code;
        fd = higher;
    }
    if (kind == CO_FD_TERMINAL) return terminal_adopt(loop, slot, generation, fd);
    if (kind == CO_FD_UDP4 || kind == CO_FD_UDP6) return udp_adopt(loop, slot, generation, fd, kind == CO_FD_UDP6);
    return stream_adopt(loop, slot, generation, fd, kind, share);
}
