/* Socket addresses: C structures from and to plain values. */

#include <netinet/in.h>
#include <sys/socket.h>

#include "address.h"

void co_address_set(co_address *address, int ipv6, const char *binary, int port, uint32_t scope) {
    memset(address, 0, sizeof *address);
    if (ipv6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&address->storage;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t)port);
        in6->sin6_scope_id = scope;
        memcpy(&in6->sin6_addr, binary, 16);
    } else {
        struct sockaddr_in *in = (struct sockaddr_in *)&address->storage;
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)port);
        memcpy(&in->sin_addr, binary, 4);
    }
}

/* Returns 4 or 6, or 0 for another family. */
int co_address_get(const co_address *address, char *binary, int *port, uint32_t *scope) {
    *scope = 0;
    if (address->storage.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address->storage;
        memcpy(binary, &in6->sin6_addr, 16);
        *port = ntohs(in6->sin6_port);
        *scope = in6->sin6_scope_id;
        return 6;
    }
    if (address->storage.ss_family != AF_INET) return 0;
    const struct sockaddr_in *in = (const struct sockaddr_in *)&address->storage;
    memcpy(binary, &in->sin_addr, 4);
    *port = ntohs(in->sin_port);
    return 4;
}

/* The same for addresses as text; returns the size of the structure, or libuv's code. */
int co_address_parse(co_address *address, int ipv6, const char *text, int port) {
    memset(address, 0, sizeof *address);
    int code = ipv6 ? uv_ip6_addr(text, port, (struct sockaddr_in6 *)&address->storage)
                    : uv_ip4_addr(text, port, (struct sockaddr_in *)&address->storage);
    if (code) return code;
    return ipv6 ? (int)sizeof(struct sockaddr_in6) : (int)sizeof(struct sockaddr_in);
}

/* `binary` has `size` bytes, and need not be aligned. */
int co_address_text(const char *binary, size_t size, char *into, size_t room) {
    co_address address;
    memset(&address, 0, sizeof address);
    if (size < offsetof(struct sockaddr, sa_data) || size > sizeof address.storage) return UV_EINVAL;
    memcpy(&address.storage, binary, size);
    if (address.storage.ss_family == AF_INET6 && size < sizeof(struct sockaddr_in6)) return UV_EINVAL;
    if (address.storage.ss_family == AF_INET && size < sizeof(struct sockaddr_in)) return UV_EINVAL;
    return uv_ip_name((const struct sockaddr *)&address.storage, into, room);
}

/* A link-local address needs the interface that it is meant on. libuv 1.48 guesses one; here it is the interface that the
 * socket is bound to. Returns UV_EINVAL, as the system would, if there is none. */
int co_address_scope(int fd, struct sockaddr_storage *address) {
    struct sockaddr_in6 *name = (struct sockaddr_in6 *)address;
    if (name->sin6_family != AF_INET6 || !IN6_IS_ADDR_LINKLOCAL(&name->sin6_addr) || name->sin6_scope_id) return 0;
#ifdef SO_BINDTOIFINDEX
    int interface = 0;
    socklen_t size = sizeof interface;
    if (fd >= 0 && !getsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &interface, &size)) name->sin6_scope_id = (uint32_t)interface;
#endif
    return name->sin6_scope_id ? 0 : UV_EINVAL;
}
