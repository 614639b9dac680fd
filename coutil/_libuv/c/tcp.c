/* TCP sockets: making, binding, connecting. */

#include <sys/socket.h>

#include "tcp.h"
#include "address.h"
#include "descriptors.h"
#include "requests.h"
#include "streams.h"

int co_tcp_new(co_loop *loop, uint32_t slot, uint32_t generation, int ipv6) {
    co_handle *tcp;
    ENTER(loop);
    return co_tcp_open(loop, slot, generation, 0, ipv6 ? AF_INET6 : AF_INET, &tcp);
}

int co_bind(co_loop *loop, uint32_t slot, const co_address *address) {
    OF_TYPE(tcp, UV_TCP, loop, slot);
    return uv_tcp_bind(&tcp->u.tcp, (const struct sockaddr *)&address->storage, 0);
}

int co_name(co_loop *loop, uint32_t slot, int peer, co_address *into) {
    OF_TYPE(tcp, UV_TCP, loop, slot);
    int size = sizeof into->storage;
    struct sockaddr *name = (struct sockaddr *)&into->storage;
    return peer ? uv_tcp_getpeername(&tcp->u.tcp, name, &size) : uv_tcp_getsockname(&tcp->u.tcp, name, &size);
}

static void on_connect(uv_connect_t *uv, int status) {
    co_request_done(REQUEST(uv, connect), co_status_of(HANDLE(uv->handle), status));
}

int co_connect(co_loop *loop, uint32_t slot, uint32_t at, uint32_t generation, const co_address *address) {
    OF_TYPE(tcp, UV_TCP, loop, slot);
    co_request *request = co_request_new(loop, at, generation);
    if (!request) return UV_ENOMEM;
    struct sockaddr_storage name = address->storage;
    int code = co_is_watched(tcp);
    tcp->broken = 0;
    if (!code) code = co_address_scope(co_uv_fd(&tcp->u.tcp), &name);
    if (!code)
        code = co_own_after(tcp, uv_tcp_connect(&request->u.connect, &tcp->u.tcp, (struct sockaddr *)&name, on_connect));
    return co_request_started(request, code);
}
