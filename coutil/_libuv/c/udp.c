/* Datagram sockets.
 *
 * libuv says when one can be read: it gets no buffer, and its callback takes the datagrams itself, several with one
 * system call. So does the step after one that found the arena full. They go into the arena as one block of heads, each
 * followed by its data; a record's `result` is the size of the block.
 */

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#ifdef __linux__
#include <linux/errqueue.h>
#endif

#include "udp.h"
#include "address.h"
#include "descriptors.h"
#include "handles.h"
#include "receiving.h"
#include "records.h"
#include "requests.h"
#include "slots.h"

#define CO_LARGEST 65536  /* bytes, more than any datagram has */
#define CO_ERROR_ROOM 512 /* for what the system says of an error */
#define CO_STRIDE (sizeof(co_datagram) + CO_LARGEST)

#ifndef __linux__
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

    /* Where each goes: behind room for its head. */
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

    /* The heads, which Python reads. */
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

/* Empty the queue of errors, which the system would report again and again. Returns `code`, or if that is UV_EAGAIN the
 * first error of them. */
static int errors_drop(int fd, int code) {
#ifdef MSG_ERRQUEUE
    /* An error is a message without data; its control messages say which one it is. */
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
            int is_error = (head->cmsg_level == IPPROTO_IP && head->cmsg_type == IP_RECVERR) ||
                       (head->cmsg_level == IPPROTO_IPV6 && head->cmsg_type == IPV6_RECVERR);
            if (!is_error || code != UV_EAGAIN) continue;
            memcpy(&error, CMSG_DATA(head), sizeof error);
            code = uv_translate_sys_error((int)error.ee_errno);
        }
    }
#else
    return code;
#endif
}

/* Record what has come. Returns UV_ENOBUFS if the arena is full, UV_EAGAIN if there was nothing, else 0. It takes as many
 * as the last time, twice as many if that was not enough: a socket that gets one at a time takes one at a time. */
static int datagrams_take(co_handle *handle) {
    co_loop *loop = handle->loop;
    struct mmsghdr messages[CO_DATAGRAMS];
    uint32_t room = (uint32_t)((CO_ARENA - loop->arena_used) / CO_STRIDE), start = loop->arena_used;
    uint32_t count = handle->width < room ? handle->width : room;
    char *at = loop->arena + start, *end = at;
    if (!count) return UV_ENOBUFS;

    /* Receive, and close the gaps. */
    int got = datagrams_receive(co_uv_fd(&handle->u.udp), at, count, messages);
    if (got < 0 && handle->recverr) got = errors_drop(co_uv_fd(&handle->u.udp), got);
    if (got == UV_EAGAIN) return got;
    for (int i = 0; i < got; i++) {
        size_t size = sizeof(co_datagram) + messages[i].msg_len;
        if (i) memmove(end, at + (size_t)i * CO_STRIDE, size);
        end += size;
    }

    /* The waiter has something now. */
    handle->turn = loop->turn;
    loop->demand[handle->slot] = 0;
    if (handle->raw && !handle->push_mode) { /* a raw one is active, and keeps the loop alive, only while a coroutine waits */
        uv_udp_recv_stop(&handle->u.udp);
        loop->demand[handle->slot] = -1;
    }

    /* As many as fit next time, and the record. */
    if (got > 0) {
        handle->width = (uint32_t)got < count ? (uint32_t)got : 2 * count < CO_DATAGRAMS ? 2 * count : CO_DATAGRAMS;
        loop->arena_used = ((uint32_t)(end - loop->arena) + 15) & ~15u;
        got = (int)(end - at);
    }
    co_push(loop, handle->slot, handle->generation, got, start);
    return 0;
}

static void on_no_window(uv_handle_t *uv, size_t suggested, uv_buf_t *window) { *window = uv_buf_init(NULL, 0); }

static void on_readable(uv_udp_t *uv, ssize_t none, const uv_buf_t *window, const struct sockaddr *by, unsigned flags) {
    co_handle *handle = HANDLE(uv);
    if (!co_wanted(handle) || datagrams_take(handle) == UV_ENOBUFS) co_unserved(handle);
}

/* Have libuv poll, after co_is_watched. */
int co_udp_poll(co_handle *udp) {
    return co_own_after(udp, uv_udp_recv_start(&udp->u.udp, on_no_window, on_readable));
}

int co_udp_receive_start(co_loop *loop, uint32_t slot) {
    UDP(udp, loop, slot);
    int code = co_is_watched(udp);
    if (!code) code = co_udp_poll(udp);
    if (!code) loop->demand[slot] = 0;
    return code;
}

static void udp_ready(co_handle *udp) {
    if (co_wanted(udp) && datagrams_take(udp) == UV_ENOBUFS) co_unserved(udp);
}

/* Another handle is about to poll the descriptor: one that polls on although no coroutine waits stops that. */
static void udp_vacate(co_handle *udp, int fd) {
    (void)fd;
    int reads = co_uv_watcher_wants(co_uv_watcher(&udp->u.handle)) == POLLIN;
    if (udp->loop->demand[udp->slot] == 0 && !udp->push_mode && reads) co_disarm(udp);
}

static const co_kind udp_kind = {.type = UV_UDP, .owns = 1, .ready = udp_ready, .vacate = udp_vacate};

/* ---- making ---- */

/* flags: those of uv_udp_init_ex, an address family among them; AF_UNSPEC makes the socket later. */
int co_udp_open(co_loop *loop, uint32_t slot, uint32_t generation, int raw, unsigned int flags, co_handle **made) {
    int code = (raw ? co_raw_handle_open : co_handle_open)(loop, slot, generation, &udp_kind, made);
    if (code) return code;
    (*made)->width = 1;
    return co_handle_opened(*made, uv_udp_init_ex(&loop->uv, &(*made)->u.udp, flags));
}

int co_udp_new(co_loop *loop, uint32_t slot, uint32_t generation, int ipv6) {
    co_handle *udp;
    ENTER(loop);
    int code = co_udp_open(loop, slot, generation, 0, ipv6 ? AF_INET6 : AF_INET, &udp);
    if (!code) udp->ipv6 = ipv6;
    return code;
}

int co_udp_bind(co_loop *loop, uint32_t slot, const co_address *address, int reuse) {
    UDP(udp, loop, slot);
    unsigned int flags = reuse ? UV_UDP_REUSEADDR : 0;
    return co_own_after(udp, uv_udp_bind(&udp->u.udp, (const struct sockaddr *)&address->storage, flags));
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
    return co_own_after(udp, uv_udp_connect(&udp->u.udp, (const struct sockaddr *)address));
}

/* ---- sending: `binary` of the address is NULL on a connected socket ---- */

static const struct sockaddr *destination(co_handle *udp, co_address *into, const char *binary, int port, uint32_t scope) {
    if (!binary) return NULL;
    co_address_set(into, udp->ipv6, binary, port, scope);
    return (const struct sockaddr *)&into->storage;
}

/* As uv_udp_try_send, which takes sendmsg(2): that has more to copy and to check. */
static int send_at_once(uv_udp_t *udp, const char *data, size_t size, const struct sockaddr *to) {
    socklen_t length = !to ? 0 : to->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    ssize_t sent;
    do
        sent = sendto(co_uv_fd(udp), data, size, MSG_DONTWAIT, to, length);
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
    if (co_uv_fd(&udp->u.udp) >= 0) return send_at_once(&udp->u.udp, data, size, to);
    uv_buf_t buffer = co_udp_buffer(data, size); /* libuv makes the socket */
    return co_own_after(udp, uv_udp_try_send(&udp->u.udp, &buffer, 1, to));
}

/* libuv sends what is queued in batches, and when the first datagram of a batch fails, it fails all of them. So it gets
 * one at a time; the others wait in a ring, whose last one is the handle's `data` and whose first one libuv has. */

static void on_sent(uv_udp_send_t *uv, int status);

static int send_start(uv_udp_t *udp, co_send_request *request) {
    return uv_udp_send(&request->uv, udp, &request->buffer, 1, request->to, on_sent);
}

/* End the first request of the ring. */
static void sent(uv_udp_t *udp, int status) {
    co_send_request *last = udp->data, *first = last->next;
    last->next = first->next;
    if (first == last) udp->data = NULL;
    co_request_done(first, co_status_of(HANDLE(udp), status));
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
int co_udp_queue(co_handle *udp, co_send_request *request, const char *data, size_t size) {
    co_send_request *last = udp->u.udp.data;
    request->buffer = co_udp_buffer(data, size);
    int code = co_is_watched(udp);
    if (!code && !last) code = co_own_after(udp, send_start(&udp->u.udp, request));
    if (code < 0) return co_request_started(request, code);
    request->next = last ? last->next : request;
    if (last) last->next = request;
    udp->u.udp.data = request;
    return 0;
}

int co_udp_send(co_loop *loop, uint32_t slot, uint32_t at, uint32_t generation, const char *data, size_t size,
                const char *binary, int port, uint32_t scope) {
    UDP(udp, loop, slot);
    co_send_request *request = co_request_alloc(sizeof *request, loop, at, generation);
    if (!request) return UV_ENOMEM;
    request->to = destination(udp, &request->address, binary, port, scope);
    return co_udp_queue(udp, request, data, size);
}

/* ---- options ---- */

int co_udp_option(co_handle *udp, int level, int name, int value) {
    int failed = setsockopt(co_uv_fd(&udp->u.udp), level, name, &value, sizeof value);
    return failed ? uv_translate_sys_error(errno) : 0;
}

int co_udp_broadcast(co_loop *loop, uint32_t slot, int on) {
    UDP(udp, loop, slot);
    return uv_udp_set_broadcast(&udp->u.udp, on);
}

/* libuv takes a socket of IPv6 for one of IPv4 until it is bound, so the next three do without it. */

int co_udp_is_ipv6(co_handle *udp) {
    co_address address;
    socklen_t size = sizeof address.storage;
    if (!udp->raw) return udp->ipv6;
    int failed = getsockname(co_uv_fd(&udp->u.udp), (struct sockaddr *)&address.storage, &size);
    return !failed && address.storage.ss_family == AF_INET6;
}

int co_udp_ttl(co_loop *loop, uint32_t slot, int ttl) {
    UDP(udp, loop, slot);
    if (ttl < 1 || ttl > 255) return UV_EINVAL;
    return co_udp_is_ipv6(udp) ? co_udp_option(udp, IPPROTO_IPV6, IPV6_UNICAST_HOPS, ttl)
                               : co_udp_option(udp, IPPROTO_IP, IP_TTL, ttl);
}

int co_udp_mcast_ttl(co_loop *loop, uint32_t slot, int ttl) {
    UDP(udp, loop, slot);
    return co_udp_is_ipv6(udp) ? co_udp_option(udp, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, ttl)
                               : co_udp_option(udp, IPPROTO_IP, IP_MULTICAST_TTL, ttl);
}

int co_udp_mcast_loop(co_loop *loop, uint32_t slot, int on) {
    UDP(udp, loop, slot);
    return co_udp_is_ipv6(udp) ? co_udp_option(udp, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, on)
                               : co_udp_option(udp, IPPROTO_IP, IP_MULTICAST_LOOP, on);
}

/* Without an interface: leave it to the system again. */
int co_udp_mcast_interface(co_loop *loop, uint32_t slot, const char *interface) {
    UDP(udp, loop, slot);
    if (!interface && co_udp_is_ipv6(udp)) {
        int code = co_udp_option(udp, IPPROTO_IPV6, IPV6_MULTICAST_IF, 0);
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
    return co_own_after(udp, code);
}
