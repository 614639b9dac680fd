/* Options of TCP sockets. Those that are set before there is a socket are checked at once, kept, and applied as soon as
 * there is one: libuv would keep no more of keep-alive than that it is on, and choose the times itself. */

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "options.h"

#ifdef __linux__
#define CO_KEEPALIVE_SECONDS 32767u /* at most, between probes and before the first one */
#define CO_KEEPALIVE_PROBES 127u
#else
#define CO_KEEPALIVE_SECONDS ((unsigned int)INT32_MAX)
#define CO_KEEPALIVE_PROBES ((unsigned int)INT32_MAX)
#endif

/* What `extra` of a TCP handle without a socket refers to. */
typedef struct {
    unsigned int idle, interval, count;
} co_keepalive_times;

int co_nodelay(co_loop *loop, uint32_t slot, int on) {
    OF_TYPE(tcp, UV_TCP, loop, slot);
    return uv_tcp_nodelay(&tcp->u.tcp, on); /* kept by libuv until there is a socket */
}

int co_simultaneous_accepts(co_loop *loop, uint32_t slot, int on) {
    OF_TYPE(tcp, UV_TCP, loop, slot);
    return tcp->raw ? uv_tcp_simultaneous_accepts(&tcp->u.tcp, on) : UV_EBADF;
}

/* interval, count: 0 leaves them to libuv. */
static int keepalive_apply(co_handle *tcp, int on, const co_keepalive_times *times) {
    int fd = co_uv_fd(&tcp->u.tcp), code = uv_tcp_keepalive(&tcp->u.tcp, on, times->idle);
    if (code || !on) return code;
    if (times->interval && setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &times->interval, sizeof times->interval))
        return uv_translate_sys_error(errno);
    if (times->count && setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times->count, sizeof times->count))
        return uv_translate_sys_error(errno);
    return 0;
}

/* A handle has got its socket: apply what was kept. Returns libuv's code. */
int co_options_apply(co_handle *tcp) {
    co_keepalive_times *times = tcp->extra;
    if (!times) return 0;
    tcp->extra = NULL;
    int code = keepalive_apply(tcp, 1, times);
    free(times);
    return code;
}

/* A handle that never had a socket is closed. */
void co_options_forget(co_handle *tcp) {
    free(tcp->extra);
    tcp->extra = NULL;
}

static int keepalive_set(co_handle *tcp, int on, co_keepalive_times times) {
    if (on && (!times.idle || times.idle > CO_KEEPALIVE_SECONDS || times.interval > CO_KEEPALIVE_SECONDS ||
               times.count > CO_KEEPALIVE_PROBES))
        return UV_EINVAL;
    if (co_uv_fd(&tcp->u.tcp) >= 0) return keepalive_apply(tcp, on, &times);
    co_options_forget(tcp);
    if (!on) return 0;
    co_keepalive_times *kept = tcp->extra = malloc(sizeof *kept);
    if (!kept) return UV_ENOMEM;
    *kept = times;
    return 0;
}

int co_keepalive(co_loop *loop, uint32_t slot, int on, unsigned int seconds) {
    OF_TYPE(tcp, UV_TCP, loop, slot);
    return keepalive_set(tcp, on, (co_keepalive_times){seconds, 0, 0});
}

/* Probes after `idle` seconds of silence, `interval` seconds apart, until `count` of them have no answer. */
int co_keepalive_ex(co_loop *loop, uint32_t slot, int on, unsigned int idle, unsigned int interval, unsigned int count) {
    OF_TYPE(tcp, UV_TCP, loop, slot);
    return keepalive_set(tcp, on, (co_keepalive_times){idle, interval, count});
}
