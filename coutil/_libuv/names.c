/* Names of hosts and services, looked up in the thread pool. What is found is copied into one block of a co_out, which
 * Python owns: a look-up that nobody waits for any more leaves nothing behind. */

#include <netdb.h>

#define CO_IPV4 1
#define CO_IPV6 2
#define CO_MAPPED 4
#define CO_ALL 8
#define CO_CONFIGURED 16
#define CO_PASSIVE 32
#define CO_CANONICAL 64
#define CO_NUMERIC_HOST 128
#define CO_NUMERIC_SERVICE 256
#define CO_NAME_REQUIRED 512
#define CO_LOCAL 1024
#define CO_DATAGRAM 2048
#define CO_STREAM 4096

/* One address of a look-up. */
typedef struct {
    int ipv6, stream, port;
    uint32_t scope;
    char binary[16];
} co_found;

typedef struct {
    co_pooled pooled;
    co_out *out;
    uv_getaddrinfo_t uv;
} co_findaddr_request;

typedef struct {
    co_pooled pooled;
    co_out *out;
    uv_getnameinfo_t uv;
} co_nameaddr_request;

static int usable(const struct addrinfo *one) {
    return (one->ai_family == AF_INET || one->ai_family == AF_INET6) &&
           (one->ai_socktype == SOCK_STREAM || one->ai_socktype == SOCK_DGRAM);
}

/* Copy what is usable: `number` entries, then the canonical name if there is one. */
static int copy_found(const struct addrinfo *list, co_out *out) {
    size_t count = 0, length = list && list->ai_canonname ? strlen(list->ai_canonname) : 0;
    for (const struct addrinfo *one = list; one; one = one->ai_next) count += usable(one);
    if (!count) return UV_EAFNOSUPPORT;
    co_found *found = calloc(1, count * sizeof *found + length);
    if (!found) return UV_ENOMEM;
    out->memory = found;
    out->number = (int64_t)count;
    out->size = count * sizeof *found + length;
    if (length) memcpy(found + count, list->ai_canonname, length);
    for (const struct addrinfo *one = list; one; one = one->ai_next) {
        if (!usable(one)) continue;
        co_address address;
        memset(&address, 0, sizeof address);
        memcpy(&address.storage, one->ai_addr, one->ai_addrlen);
        found->ipv6 = co_address_get(&address, found->binary, &found->port, &found->scope) == 6;
        found->stream = one->ai_socktype == SOCK_STREAM;
        found++;
    }
    return 0;
}

static void on_found(uv_getaddrinfo_t *uv, int status, struct addrinfo *list) {
    co_findaddr_request *request = (co_findaddr_request *)((char *)uv - offsetof(co_findaddr_request, uv));
    if (!status) status = copy_found(list, request->out);
    uv_freeaddrinfo(list);
    pooled_done(&request->pooled, status);
}

/* `host` and `service` are ASCII and of legal length, or NULL. */
int co_findaddr(co_loop *loop, uint32_t slot, uint32_t generation, const char *host, const char *service, int flags,
                co_out *out) {
    ENTER(loop);
    co_findaddr_request *request = request_of(sizeof *request, loop, slot, generation);
    if (!request) return UV_ENOMEM;
    request->out = out;
    struct addrinfo hints;
    memset(&hints, 0, sizeof hints);
    int families = flags & (CO_IPV4 | CO_IPV6), kinds = flags & (CO_STREAM | CO_DATAGRAM);
    hints.ai_family = flags & CO_MAPPED || families == CO_IPV6 ? AF_INET6 : families == CO_IPV4 ? AF_INET : AF_UNSPEC;
    hints.ai_socktype = kinds == CO_STREAM ? SOCK_STREAM : kinds == CO_DATAGRAM ? SOCK_DGRAM : 0;
    hints.ai_flags = (flags & CO_MAPPED ? AI_V4MAPPED : 0) | (flags & CO_ALL ? AI_ALL : 0) |
                     (flags & CO_CONFIGURED ? AI_ADDRCONFIG : 0) | (flags & CO_PASSIVE ? AI_PASSIVE : 0) |
                     (flags & CO_CANONICAL ? AI_CANONNAME : 0) | (flags & CO_NUMERIC_HOST ? AI_NUMERICHOST : 0) |
                     (flags & CO_NUMERIC_SERVICE ? AI_NUMERICSERV : 0);
    int code = uv_getaddrinfo(&loop->uv, &request->uv, on_found, host, service, &hints);
    return pooled_started(&request->pooled, (uv_req_t *)&request->uv, code);
}

/* Two strings, each with its NUL: the host's name and the service's. */
static void on_named(uv_getnameinfo_t *uv, int status, const char *host, const char *service) {
    co_nameaddr_request *request = (co_nameaddr_request *)((char *)uv - offsetof(co_nameaddr_request, uv));
    if (!status) {
        size_t first = strlen(host) + 1, second = strlen(service) + 1;
        char *names = malloc(first + second);
        if (names) {
            memcpy(names, host, first);
            memcpy(names + first, service, second);
            request->out->memory = names;
            request->out->size = first + second;
        } else
            status = UV_ENOMEM;
    }
    pooled_done(&request->pooled, status);
}

int co_nameaddr(co_loop *loop, uint32_t slot, uint32_t generation, const co_address *address, int flags, co_out *out) {
    ENTER(loop);
    co_nameaddr_request *request = request_of(sizeof *request, loop, slot, generation);
    if (!request) return UV_ENOMEM;
    request->out = out;
    int given = (flags & CO_NAME_REQUIRED ? NI_NAMEREQD : 0) | (flags & CO_LOCAL ? NI_NOFQDN : 0) |
                (flags & CO_DATAGRAM ? NI_DGRAM : 0) | (flags & CO_NUMERIC_HOST ? NI_NUMERICHOST : 0);
    const struct sockaddr *name = (const struct sockaddr *)&address->storage;
    int code = uv_getnameinfo(&loop->uv, &request->uv, on_named, name, given);
    return pooled_started(&request->pooled, (uv_req_t *)&request->uv, code);
}
