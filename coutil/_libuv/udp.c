/* Datagram sockets.
 *
 * libuv tells when one can be read: it gets no buffer, and its callback takes the datagrams itself, several with one
 * system call. So does the step after one that found the arena full. They go into the arena as one block of heads, each
 * followed by its data; a record's `result` is the size of the block.
 */

#include <netinet/in.h>
#ifdef __linux__
#include <linux/errqueue.h>
#endif

#define CO_LARGEST 65536 /* bytes, more than any datagram has */
#define CO_DATAGRAMS 16   /* how many are taken with one call, at most; those beyond the first are kept by Python */

/* What Python unpacks as "=IHHI16s". */
typedef struct {
    uint32_t size;
    uint16_t truncated, port;
    uint32_t scope;
    char binary[16]; /* of the sender; the last 12 are 0 for IPv4 */
} co_datagram;
#define CO_DATAGRAM_HEAD ((int)sizeof(co_datagram))
#define CO_ERROR_ROOM 512 /* for what the system tells of an error */
#define CO_STRIDE (sizeof(co_datagram) + CO_LARGEST)

#define UDP(name, loop, slot) OF_KIND(name, UV_UDP, loop, slot)

#ifndef __linux__
struct mmsghdr {
    struct msghdr msg_hdr;
    unsigned int msg_len;
};

static int recvmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags, void *timeout) {
    ssize_t got = recvmsg(fd, &messages->msg_hdr, flags);
    messages->msg_len = (unsigned int)got;
    return got < 0 ? -1 : 1;
}
#endif

/* Receive up to `count` datagrams, a stride apart, behind their heads. Returns how many, or libuv's code. */
static int datagrams_receive(int fd, char *at, uint32_t count, struct mmsghdr *messages) {
    struct iovec parts[CO_DATAGRAMS];
    struct sockaddr_in6 senders[CO_DATAGRAMS];
    int got;
    memset(messages, 0, count * sizeof *messages);
    for (uint32_t i = 0; i < count; i++) {
        parts[i].iov_base = at + i * CO_STRIDE + sizeof(co_datagram);
        parts[i].iov_len = CO_LARGEST;
        messages[i].msg_hdr.msg_name = &senders[i];
        messages[i].msg_hdr.msg_namelen = sizeof senders[i];
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    do
        got = recvmmsg(fd, messages, count, MSG_DONTWAIT, NULL);
    while (got < 0 && errno == EINTR);
    if (got < 0) return errno == EWOULDBLOCK ? UV_EAGAIN : uv_translate_sys_error(errno);
    for (int i = 0; i < got; i++) {
        co_datagram head = {.size = messages[i].msg_len, .truncated = !!(messages[i].msg_hdr.msg_flags & MSG_TRUNC)};
        co_address sender;
        int port = 0;
        memset(&sender, 0, sizeof sender);
        if (messages[i].msg_hdr.msg_namelen <= sizeof senders[i])
            memcpy(&sender.storage, &senders[i], messages[i].msg_hdr.msg_namelen);
        co_address_get(&sender, head.binary, &port, &head.scope);
        head.port = (uint16_t)port;
        memcpy(at + i * CO_STRIDE, &head, sizeof head);
    }
    return got;
}

/* Empty the queue of errors, which the system would tell of again and again. Returns `code`, or if that is UV_EAGAIN the
 * first error of them. */
static int errors_drop(int fd, int code) {
#ifdef MSG_ERRQUEUE
    char data[CO_ERROR_ROOM] __attribute__((aligned(sizeof(size_t))));
    for (;;) {
        struct msghdr message;
        memset(&message, 0, sizeof message);
        message.msg_control = data;
        message.msg_controllen = sizeof data;
        if (recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) {
            if (errno == EINTR) continue;
            return code;
        }
        for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head; head = CMSG_NXTHDR(&message, head)) {
            struct sock_extended_err error;
            int told = (head->cmsg_level == IPPROTO_IP && head->cmsg_type == IP_RECVERR) ||
                       (head->cmsg_level == IPPROTO_IPV6 && head->cmsg_type == IPV6_RECVERR);
            if (!told || code != UV_EAGAIN) continue;
            memcpy(&error, CMSG_DATA(head), sizeof error);
            code = uv_translate_sys_error((int)error.ee_errno);
        }
    }
#else
    return code;
#endif
}

/* Record what has come. Returns UV_ENOBUFS if the arena is full, UV_EAGAIN if there was nothing, else 0. It takes as many
 * as the last time, twice as many if that was not enough: who reads alone takes one at a time. */
static int datagrams_take(co_handle *handle) {
    co_loop *loop = handle->loop;
    struct mmsghdr messages[CO_DATAGRAMS];
    uint32_t room = (uint32_t)((CO_ARENA - loop->top) / CO_STRIDE), start = loop->top;
    uint32_t count = handle->width < room ? handle->width : room;
    char *at = loop->arena + start, *end = at;
    if (!count) return UV_ENOBUFS;
    int got = datagrams_receive(handle->u.udp.io_watcher.fd, at, count, messages);
    if (got < 0 && handle->recverr) got = errors_drop(handle->u.udp.io_watcher.fd, got);
    if (got == UV_EAGAIN) return got;
    for (int i = 0; i < got; i++) { /* close the gaps */
        size_t size = sizeof(co_datagram) + messages[i].msg_len;
        if (i) memmove(end, at + (size_t)i * CO_STRIDE, size);
        end += size;
    }
    handle->turn = loop->turn;
    loop->want[handle->slot] = 0;
    if (handle->raw && !handle->flowing) { /* a raw one is active, and keeps the loop alive, only while somebody waits */
        uv_udp_recv_stop(&handle->u.udp);
        loop->want[handle->slot] = -1;
    }
    if (got > 0) {
        handle->width = (uint32_t)got < count ? (uint32_t)got : 2 * count < CO_DATAGRAMS ? 2 * count : CO_DATAGRAMS;
        loop->top = ((uint32_t)(end - loop->arena) + 15) & ~15u;
        got = (int)(end - at);
    }
    push(loop, handle->slot, handle->generation, got, start);
    return 0;
}

static void on_no_window(uv_handle_t *uv, size_t suggested, uv_buf_t *window) { *window = uv_buf_init(NULL, 0); }

static void on_readable(uv_udp_t *uv, ssize_t none, const uv_buf_t *window, const struct sockaddr *by, unsigned flags) {
    co_handle *handle = HANDLE(uv);
    if (!wanted(handle) || datagrams_take(handle) == UV_ENOBUFS) on_refused(handle);
}

int co_udp_receive_start(co_loop *loop, uint32_t slot) {
    UDP(udp, loop, slot);
    int code = is_watched(udp);
    if (!code) code = owned(udp, uv_udp_recv_start(&udp->u.udp, on_no_window, on_readable));
    if (!code) loop->want[slot] = 0;
    return code;
}

int co_udp_new(co_loop *loop, uint32_t slot, uint32_t generation, int ipv6) {
    co_handle *udp;
    ENTER(loop);
    int code = handle_open(loop, slot, generation, UV_UDP, &udp);
    if (code) return code;
    udp->width = 1;
    udp->ipv6 = ipv6;
    return handle_opened(udp, uv_udp_init_ex(&loop->uv, &udp->u.udp, ipv6 ? AF_INET6 : AF_INET));
}

int co_udp_bind(co_loop *loop, uint32_t slot, const co_address *address, int reuse) {
    UDP(udp, loop, slot);
    return owned(udp, uv_udp_bind(&udp->u.udp, (const struct sockaddr *)&address->storage, reuse ? UV_UDP_REUSEADDR : 0));
}

int co_udp_name(co_loop *loop, uint32_t slot, int peer, co_address *into) {
    UDP(udp, loop, slot);
    int size = sizeof into->storage;
    struct sockaddr *name = (struct sockaddr *)&into->storage;
    return peer ? uv_udp_getpeername(&udp->u.udp, name, &size) : uv_udp_getsockname(&udp->u.udp, name, &size);
}

/* Without an address: disconnect. */
int co_udp_connect(co_loop *loop, uint32_t slot, const co_address *address) {
    UDP(udp, loop, slot);
    return owned(udp, uv_udp_connect(&udp->u.udp, (const struct sockaddr *)address));
}

/* ---- sending: `binary` of the address is NULL on a connected socket ---- */

static const struct sockaddr *destination(co_handle *udp, co_address *into, const char *binary, int port, uint32_t scope) {
    if (!binary) return NULL;
    co_address_set(into, udp->ipv6, binary, port, scope);
    return (const struct sockaddr *)&into->storage;
}

static uv_buf_t one_buffer(const char *data, size_t size) {
    return uv_buf_init((char *)data, size < UINT32_MAX ? (unsigned int)size : UINT32_MAX);
}

/* As uv_udp_try_send, which takes sendmsg(2): that has more to copy and to check. */
static int send_at_once(uv_udp_t *udp, const char *data, size_t size, const struct sockaddr *to) {
    socklen_t length = !to ? 0 : to->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    ssize_t sent;
    do
        sent = sendto(udp->io_watcher.fd, data, size, MSG_DONTWAIT, to, length);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0) return (int)sent;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ? UV_EAGAIN : uv_translate_sys_error(errno);
}

int co_udp_try_send(co_loop *loop, uint32_t slot, const char *data, size_t size, const char *binary, int port,
                    uint32_t scope) {
    UDP(udp, loop, slot);
    co_address address;
    const struct sockaddr *to = destination(udp, &address, binary, port, scope);
    if (udp->u.udp.send_queue_count) return UV_EAGAIN;
    if (udp->u.udp.io_watcher.fd >= 0) return send_at_once(&udp->u.udp, data, size, to);
    uv_buf_t buffer = one_buffer(data, size); /* libuv makes the socket */
    return owned(udp, uv_udp_try_send(&udp->u.udp, &buffer, 1, to));
}

/* libuv sends what is queued in batches, and when the first datagram of a batch fails, it fails all of them. So it gets
 * one at a time; the others wait in a ring, whose last one is the handle's `data` and whose first one libuv has. */
typedef struct co_send_request co_send_request;
struct co_send_request {
    co_head head;
    co_send_request *next;
    uv_buf_t buffer;
    co_address address;
    const struct sockaddr *to;
    uv_udp_send_t uv;
};

static void on_sent(uv_udp_send_t *uv, int status);

static int send_start(uv_udp_t *udp, co_send_request *request) {
    return uv_udp_send(&request->uv, udp, &request->buffer, 1, request->to, on_sent);
}

/* End the first request of the ring. */
static void sent(uv_udp_t *udp, int status) {
    co_send_request *last = udp->data, *first = last->next;
    last->next = first->next;
    if (first == last) udp->data = NULL;
    request_done(first, told(HANDLE(udp), status));
}

static void on_sent(uv_udp_send_t *uv, int status) {
    uv_udp_t *udp = uv->handle;
    sent(udp, status);
    while (udp->data) {
        int closing = uv_is_closing((uv_handle_t *)udp);
        int code = closing ? UV_ECANCELED : send_start(udp, ((co_send_request *)udp->data)->next);
        if (!code) return;
        sent(udp, code);
    }
}

/* Send, or queue, a request whose `to` is set. */
static int send_queue(co_handle *udp, co_send_request *request, const char *data, size_t size) {
    co_send_request *last = udp->u.udp.data;
    request->buffer = one_buffer(data, size);
    int code = is_watched(udp);
    if (!code && !last) code = owned(udp, send_start(&udp->u.udp, request));
    if (code < 0) return request_started(request, code);
    request->next = last ? last->next : request;
    if (last) last->next = request;
    udp->u.udp.data = request;
    return 0;
}

int co_udp_send(co_loop *loop, uint32_t slot, uint32_t at, uint32_t generation, const char *data, size_t size,
                const char *binary, int port, uint32_t scope) {
    UDP(udp, loop, slot);
    co_send_request *request = request_of(sizeof *request, loop, at, generation);
    if (!request) return UV_ENOMEM;
    request->to = destination(udp, &request->address, binary, port, scope);
    return send_queue(udp, request, data, size);
}

/* ---- options ---- */

static int option_set(co_handle *udp, int level, int name, int value) {
    int failed = setsockopt(udp->u.udp.io_watcher.fd, level, name, &value, sizeof value);
    return failed ? uv_translate_sys_error(errno) : 0;
}

int co_udp_broadcast(co_loop *loop, uint32_t slot, int on) {
    UDP(udp, loop, slot);
    return uv_udp_set_broadcast(&udp->u.udp, on);
}

/* libuv takes a socket of IPv6 for one of IPv4 until it is bound, so the next three do without it. */

static int is_ipv6(co_handle *udp) {
    co_address address;
    socklen_t size = sizeof address.storage;
    if (!udp->raw) return udp->ipv6;
    int failed = getsockname(udp->u.udp.io_watcher.fd, (struct sockaddr *)&address.storage, &size);
    return !failed && address.storage.ss_family == AF_INET6;
}

int co_udp_ttl(co_loop *loop, uint32_t slot, int ttl) {
    UDP(udp, loop, slot);
    if (ttl < 1 || ttl > 255) return UV_EINVAL;
    return is_ipv6(udp) ? option_set(udp, IPPROTO_IPV6, IPV6_UNICAST_HOPS, ttl) : option_set(udp, IPPROTO_IP, IP_TTL, ttl);
}

int co_udp_mcast_ttl(co_loop *loop, uint32_t slot, int ttl) {
    UDP(udp, loop, slot);
    return is_ipv6(udp) ? option_set(udp, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, ttl)
                     : option_set(udp, IPPROTO_IP, IP_MULTICAST_TTL, ttl);
}

int co_udp_mcast_loop(co_loop *loop, uint32_t slot, int on) {
    UDP(udp, loop, slot);
    return is_ipv6(udp) ? option_set(udp, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, on)
                     : option_set(udp, IPPROTO_IP, IP_MULTICAST_LOOP, on);
}

/* Without an interface: leave it to the system again. */
int co_udp_mcast_interface(co_loop *loop, uint32_t slot, const char *interface) {
    UDP(udp, loop, slot);
    if (!interface && is_ipv6(udp)) {
        int code = option_set(udp, IPPROTO_IPV6, IPV6_MULTICAST_IF, 0);
        if (code) return code;
    }
    return uv_udp_set_multicast_interface(&udp->u.udp, interface ? interface : "0.0.0.0");
}

/* Join or leave a group, of one source only unless that is NULL; without an interface the system chooses. */
int co_udp_membership(co_loop *loop, uint32_t slot, int join, const char *group, const char *interface,
                      const char *source) {
    UDP(udp, loop, slot);
    uv_membership membership = join ? UV_JOIN_GROUP : UV_LEAVE_GROUP;
    int code = source ? uv_udp_set_source_membership(&udp->u.udp, group, interface, source, membership)
                      : uv_udp_set_membership(&udp->u.udp, group, interface, membership);
    return owned(udp, code);
}

/* ---- raw handles: `udp` is one whose socket may not exist yet, or be somebody else's ---- */

#define RAW_UDP(name, loop, slot) RAW(name, UV_UDP, loop, slot)

/* `flags` are an address family and UV_UDP_RECVMMSG, which libuv is told of: how many we take at once is our own affair. */
int co_raw_udp_new(co_loop *loop, uint32_t slot, uint32_t generation, unsigned int flags) {
    co_handle *udp;
    ENTER(loop);
    int code = raw_open(loop, slot, generation, UV_UDP, &udp);
    if (code) return code;
    udp->width = 1;
    return handle_opened(udp, uv_udp_init_ex(&loop->uv, &udp->u.udp, flags));
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
    if (is_owned(fd)) return UV_EEXIST;
    descriptor_vacate(loop, fd);
    if (reuseport && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on)) return uv_translate_sys_error(errno);
    code = owned(udp, uv_udp_open(&udp->u.udp, fd));
    if (!code && exact && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &before, sizeof before))
        return uv_translate_sys_error(errno);
    return code;
}

/* Let the system distribute what comes among the sockets of an address. The socket must exist for that. */
static int share_port(co_handle *udp, int family) {
#ifdef __linux__
    uv_udp_t *uv = &udp->u.udp;
    if (uv->io_watcher.fd < 0) uv->io_watcher.fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (uv->io_watcher.fd < 0) return uv_translate_sys_error(errno);
    return option_set(udp, SOL_SOCKET, SO_REUSEPORT, 1);
#else
    return UV_ENOTSUP;
#endif
}

int co_raw_udp_bind(co_loop *loop, uint32_t slot, const co_address *address, unsigned int flags, int reuseport) {
    RAW_UDP(udp, loop, slot);
    int code = reuseport ? share_port(udp, address->storage.ss_family) : 0;
    if (!code) code = uv_udp_bind(&udp->u.udp, (const struct sockaddr *)&address->storage, flags);
    owned(udp, 0);
    if (!code && flags & UV_UDP_LINUX_RECVERR) udp->recverr = 1;
    return code;
}

/* 4 or 6; 0 if there is no socket yet. */
int co_raw_udp_family(co_loop *loop, uint32_t slot) {
    RAW_UDP(udp, loop, slot);
    return udp->u.udp.io_watcher.fd < 0 ? 0 : is_ipv6(udp) ? 6 : 4;
}

int co_raw_udp_using_recvmmsg(co_loop *loop, uint32_t slot) {
    RAW_UDP(udp, loop, slot);
    return uv_udp_using_recvmmsg(&udp->u.udp);
}

int co_raw_udp_left(co_loop *loop, uint32_t slot);

/* Read whether somebody waits or not, or only then. */
int co_raw_udp_flow(co_loop *loop, uint32_t slot, int on) {
    RAW_UDP(udp, loop, slot);
    int32_t *want = &loop->want[slot];
    if (on && udp->flowing) return UV_EALREADY;
    int code = on ? is_watched(udp) : 0;
    if (!code && on && *want < 0) code = owned(udp, uv_udp_recv_start(&udp->u.udp, on_no_window, on_readable));
    if (code) return code;
    udp->flowing = on;
    if (on && *want < 0) *want = 0;
    return on || *want > 0 ? 0 : co_raw_udp_left(loop, slot);
}

/* Nobody waits any more. */
int co_raw_udp_left(co_loop *loop, uint32_t slot) {
    RAW_UDP(udp, loop, slot);
    if (udp->flowing || loop->want[slot] < 0) return 0;
    loop->want[slot] = -1;
    return uv_udp_recv_stop(&udp->u.udp);
}

static const struct sockaddr *name_of(const co_address *address) {
    return address ? (const struct sockaddr *)&address->storage : NULL;
}

int co_raw_udp_try_send(co_loop *loop, uint32_t slot, const char *data, size_t size, const co_address *address) {
    RAW_UDP(udp, loop, slot);
    uv_buf_t buffer = one_buffer(data, size);
    return owned(udp, uv_udp_try_send(&udp->u.udp, &buffer, 1, name_of(address)));
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
    int fd = udp->u.udp.io_watcher.fd, size = sizeof peer.storage, sent = 0;
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
    co_send_request *request = request_of(sizeof *request, loop, at, generation);
    if (!request) return UV_ENOMEM;
    if (address) request->address = *address;
    request->to = address ? name_of(&request->address) : NULL;
    return send_queue(udp, request, data, size);
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
