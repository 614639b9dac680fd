/* Datagram sockets as libuv has them, for coutil.uv. The socket of a handle may not exist yet, or be another owner's. */

#include <netinet/in.h>
#include <sys/socket.h>

#include "uvudp.h"
#include "descriptors.h"
#include "requests.h"
#include "udp.h"

#define RAW_UDP(name, loop, slot) RAW(name, UV_UDP, loop, slot)

/* ---- making ---- */

/* `flags` are an address family and UV_UDP_RECVMMSG, which only libuv uses: how many we take at once is our own decision. */
int co_raw_udp_new(co_loop *loop, uint32_t slot, uint32_t generation, unsigned int flags) {
    co_handle *udp;
    ENTER(loop);
    return co_udp_open(loop, slot, generation, 1, flags, &udp);
}

static int value_of(int fd, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    return getsockopt(fd, SOL_SOCKET, name, &value, &size) ? uv_translate_sys_error(errno) : value;
}

/* What makes libuv abort, or what cannot be read here, is refused: anything but a datagram socket of IP. */
static int datagrams_of_ip(int fd) {
    co_address address;
    socklen_t size = sizeof address.storage;
    int type = value_of(fd, SO_TYPE);
    if (type < 0) return type;
    if (getsockname(fd, (struct sockaddr *)&address.storage, &size)) return uv_translate_sys_error(errno);
    int family = address.storage.ss_family;
    return type == SOCK_DGRAM && (family == AF_INET || family == AF_INET6) ? 0 : UV_EINVAL;
}

/* Take a socket. libuv shares its address with others; with `exact` it does so if the caller says so. */
int co_raw_udp_open(co_loop *loop, uint32_t slot, int fd, int exact, int reuseaddr, int reuseport) {
    RAW_UDP(udp, loop, slot);
    int code = datagrams_of_ip(fd), on = 1, before = value_of(fd, SO_REUSEADDR) > 0 || reuseaddr;
    if (code) return code;
    if (co_is_owned(fd)) return UV_EEXIST;
    co_descriptor_vacate(loop, fd);
    if (reuseport && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on)) return uv_translate_sys_error(errno);
    code = co_own_after(udp, uv_udp_open(&udp->u.udp, fd));
    if (!code && exact && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &before, sizeof before))
        return uv_translate_sys_error(errno);
    return code;
}

/* Let the system distribute what comes among the sockets of an address. The socket must exist for that. */
static int share_port(co_handle *udp, int family) {
#ifdef __linux__
    uv_udp_t *uv = &udp->u.udp;
    if (co_uv_fd(uv) < 0) co_uv_set_fd(uv, socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (co_uv_fd(uv) < 0) return uv_translate_sys_error(errno);
    return co_udp_option(udp, SOL_SOCKET, SO_REUSEPORT, 1);
#else
    return UV_ENOTSUP;
#endif
}

int co_raw_udp_bind(co_loop *loop, uint32_t slot, const co_address *address, unsigned int flags, int reuseport) {
    RAW_UDP(udp, loop, slot);
    int code = reuseport ? share_port(udp, address->storage.ss_family) : 0;
    if (!code) code = uv_udp_bind(&udp->u.udp, (const struct sockaddr *)&address->storage, flags);
    co_own_after(udp, 0);
    if (!code && flags & UV_UDP_LINUX_RECVERR) udp->recverr = 1;
    return code;
}

/* 4 or 6; 0 if there is no socket yet. */
int co_raw_udp_family(co_loop *loop, uint32_t slot) {
    RAW_UDP(udp, loop, slot);
    return co_uv_fd(&udp->u.udp) < 0 ? 0 : co_udp_is_ipv6(udp) ? 6 : 4;
}

int co_raw_udp_using_recvmmsg(co_loop *loop, uint32_t slot) {
    RAW_UDP(udp, loop, slot);
    return uv_udp_using_recvmmsg(&udp->u.udp);
}

/* ---- receiving ---- */

/* Read although no coroutine waits, or only while one does. */
int co_raw_udp_push(co_loop *loop, uint32_t slot, int on) {
    RAW_UDP(udp, loop, slot);
    int32_t *demand = &loop->demand[slot];
    if (on && udp->push_mode) return UV_EALREADY;
    int code = on ? co_is_watched(udp) : 0;
    if (!code && on && *demand < 0) code = co_udp_poll(udp);
    if (code) return code;
    udp->push_mode = on;
    if (on && *demand < 0) *demand = 0;
    return on || *demand > 0 ? 0 : co_raw_udp_left(loop, slot);
}

/* The waiter has left. */
int co_raw_udp_left(co_loop *loop, uint32_t slot) {
    RAW_UDP(udp, loop, slot);
    if (udp->push_mode || loop->demand[slot] < 0) return 0;
    loop->demand[slot] = -1;
    return uv_udp_recv_stop(&udp->u.udp);
}

/* ---- sending ---- */

static const struct sockaddr *name_of(const co_address *address) {
    return address ? (const struct sockaddr *)&address->storage : NULL;
}

int co_raw_udp_try_send(co_loop *loop, uint32_t slot, const char *data, size_t size, const co_address *address) {
    RAW_UDP(udp, loop, slot);
    uv_buf_t buffer = co_udp_buffer(data, size);
    return co_own_after(udp, uv_udp_try_send(&udp->u.udp, &buffer, 1, name_of(address)));
}

/* What libuv says of an address that is given, or not, to a socket that has a peer, or none. */
static int fits(const co_address *to, int connected) {
    int given = to->storage.ss_family != 0;
    return given != connected ? 0 : connected ? UV_EISCONN : UV_EDESTADDRREQ;
}

#ifndef __linux__
static int sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags) {
    return sendmsg(fd, &messages->msg_hdr, flags) < 0 ? -1 : 1;
}
#endif

/* Send the first of up to `count` datagrams, all with one call if the system has one for that. Returns how many, or
 * libuv's code for the first. */
static int datagrams_send(int fd, int count, const char **data, const size_t *sizes, const co_address *to, int connected) {
    struct mmsghdr messages[CO_DATAGRAMS];
    struct iovec parts[CO_DATAGRAMS];
    int ready = 0, sent, code = 0;
    memset(messages, 0, sizeof messages);
    while (ready < count && ready < CO_DATAGRAMS && !(code = fits(&to[ready], connected))) {
        struct msghdr *message = &messages[ready].msg_hdr;
        int family = to[ready].storage.ss_family;
        parts[ready].iov_base = (char *)data[ready];
        parts[ready].iov_len = sizes[ready];
        message->msg_name = family ? (void *)&to[ready].storage : NULL;
        message->msg_namelen = family == AF_INET6 ? sizeof(struct sockaddr_in6) : family ? sizeof(struct sockaddr_in) : 0;
        message->msg_iov = &parts[ready++];
        message->msg_iovlen = 1;
    }
    if (!ready) return code;
    do
        sent = sendmmsg(fd, messages, (unsigned int)ready, MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0) return sent;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ? UV_EAGAIN : uv_translate_sys_error(errno);
}

/* Returns how many of the datagrams the system took, or why it did not take the first one. libuv's own function, where
 * it has one, skips some when there are more than twenty. */
int co_raw_udp_try_send_many(co_loop *loop, uint32_t slot, int count, const char **data, const size_t *sizes,
                             const co_address *addresses) {
    RAW_UDP(udp, loop, slot);
    co_address peer;
    int fd = co_uv_fd(&udp->u.udp), size = sizeof peer.storage, sent = 0;
    if (fd < 0) return UV_EBADF;
    if (udp->u.udp.data) return UV_EAGAIN; /* others are queued before */
    int connected = !uv_udp_getpeername(&udp->u.udp, (struct sockaddr *)&peer.storage, &size);
    while (sent < count) {
        int more = datagrams_send(fd, count - sent, data + sent, sizes + sent, addresses + sent, connected);
        if (more <= 0) return sent ? sent : more;
        sent += more;
    }
    return sent;
}

int co_raw_udp_send(co_loop *loop, uint32_t slot, uint32_t at, uint32_t generation, const char *data, size_t size,
                    const co_address *address) {
    RAW_UDP(udp, loop, slot);
    co_send_request *request = co_request_alloc(sizeof *request, loop, at, generation);
    if (!request) return UV_ENOMEM;
    if (address) request->address = *address;
    request->to = address ? name_of(&request->address) : NULL;
    return co_udp_queue(udp, request, data, size);
}

/* How many datagrams wait to be sent (what = 0), or how many bytes. libuv has the first one only. */
int64_t co_raw_udp_queue(co_loop *loop, uint32_t slot, int what) {
    RAW_UDP(udp, loop, slot);
    co_send_request *last = udp->u.udp.data, *one = last;
    int64_t found = 0;
    while (one) {
        found += what ? (int64_t)one->buffer.len : 1;
        one = one->next == last ? NULL : one->next;
    }
    return found;
}
