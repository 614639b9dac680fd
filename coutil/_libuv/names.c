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
    union {
        uv_getaddrinfo_t find;
        uv_getnameinfo_t name;
    } uv;
    /* from here on: see `apart` */
    uv_work_t work;
    int status, flags;
    struct addrinfo hints;
    co_address address;
    char host[256], service[32];
} co_look_up;

#define LOOK_UP(pointer, member) ((co_look_up *)((char *)(pointer)-offsetof(co_look_up, member)))

/* ---- after a fork: libuv counts the threads that look names up, and lets only half of its threads do so. A child that
 * was forked meanwhile inherits the count, but not the threads: it would wait for ever. There, look-ups are work like any
 * other, which calls libuv's blocking functions; those touch nothing of their loop but its count of requests. ---- */

static int looking; /* look-ups of this process that are not over, in all of its threads */
static int apart;   /* this process is such a child */

static void names_forked(void) {
    if (__atomic_exchange_n(&looking, 0, __ATOMIC_RELAXED)) apart = 1;
}

static void names_watch_forks(void) { pthread_atfork(NULL, NULL, names_forked); }

static co_look_up *look_up_new(co_loop *loop, uint32_t slot, uint32_t generation, co_out *out) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, names_watch_forks);
    co_look_up *request = request_of(sizeof *request, loop, slot, generation);
    if (request) request->out = out;
    return request;
}

static int look_up_started(co_look_up *request, uv_req_t *uv, int code) {
    if (code >= 0) __atomic_add_fetch(&looking, 1, __ATOMIC_RELAXED);
    return pooled_started(&request->pooled, uv, code);
}

static void look_up_done(co_look_up *request, int status) {
    __atomic_sub_fetch(&looking, 1, __ATOMIC_RELAXED);
    pooled_done(&request->pooled, status);
}

static int look_up_apart(co_look_up *request, uv_work_cb work, uv_after_work_cb done) {
    uv_loop_t *loop = &request->pooled.head.loop->uv;
    return look_up_started(request, (uv_req_t *)&request->work, uv_queue_work(loop, &request->work, work, done));
}

/* ---- addresses ---- */

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
    co_look_up *request = LOOK_UP(uv, uv.find);
    if (!status) status = copy_found(list, request->out);
    uv_freeaddrinfo(list);
    look_up_done(request, status);
}

static void find_apart(uv_work_t *work) {
    co_look_up *request = LOOK_UP(work, work);
    const char *host = *request->host ? request->host : NULL, *service = *request->service ? request->service : NULL;
    uv_loop_t nobodys;
    memset(&nobodys, 0, sizeof nobodys);
    request->status = uv_getaddrinfo(&nobodys, &request->uv.find, NULL, host, service, &request->hints);
}

static void on_found_apart(uv_work_t *work, int status) {
    co_look_up *request = LOOK_UP(work, work);
    on_found(&request->uv.find, status ? status : request->status, request->uv.find.addrinfo);
}

/* `host` and `service` are ASCII and of legal length, or NULL. */
int co_findaddr(co_loop *loop, uint32_t slot, uint32_t generation, const char *host, const char *service, int flags,
                co_out *out) {
    ENTER(loop);
    co_look_up *request = look_up_new(loop, slot, generation, out);
    if (!request) return UV_ENOMEM;
    struct addrinfo *hints = &request->hints;
    int families = flags & (CO_IPV4 | CO_IPV6), kinds = flags & (CO_STREAM | CO_DATAGRAM);
    hints->ai_family = flags & CO_MAPPED || families == CO_IPV6 ? AF_INET6 : families == CO_IPV4 ? AF_INET : AF_UNSPEC;
    hints->ai_socktype = kinds == CO_STREAM ? SOCK_STREAM : kinds == CO_DATAGRAM ? SOCK_DGRAM : 0;
    hints->ai_flags = (flags & CO_MAPPED ? AI_V4MAPPED : 0) | (flags & CO_ALL ? AI_ALL : 0) |
                      (flags & CO_CONFIGURED ? AI_ADDRCONFIG : 0) | (flags & CO_PASSIVE ? AI_PASSIVE : 0) |
                      (flags & CO_CANONICAL ? AI_CANONNAME : 0) | (flags & CO_NUMERIC_HOST ? AI_NUMERICHOST : 0) |
                      (flags & CO_NUMERIC_SERVICE ? AI_NUMERICSERV : 0);
    if (apart) {
        if (host) strncpy(request->host, host, sizeof request->host - 1);
        if (service) strncpy(request->service, service, sizeof request->service - 1);
        return look_up_apart(request, find_apart, on_found_apart);
    }
    int code = uv_getaddrinfo(&loop->uv, &request->uv.find, on_found, host, service, hints);
    return look_up_started(request, (uv_req_t *)&request->uv.find, code);
}

/* ---- names ---- */

/* Two strings, each with its NUL: the host's name and the service's. */
static void on_named(uv_getnameinfo_t *uv, int status, const char *host, const char *service) {
    co_look_up *request = LOOK_UP(uv, uv.name);
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
    look_up_done(request, status);
}

static void name_apart(uv_work_t *work) {
    co_look_up *request = LOOK_UP(work, work);
    const struct sockaddr *name = (const struct sockaddr *)&request->address.storage;
    uv_loop_t nobodys;
    memset(&nobodys, 0, sizeof nobodys);
    request->status = uv_getnameinfo(&nobodys, &request->uv.name, NULL, name, request->flags);
}

static void on_named_apart(uv_work_t *work, int status) {
    co_look_up *request = LOOK_UP(work, work);
    uv_getnameinfo_t *uv = &request->uv.name;
    on_named(uv, status ? status : request->status, uv->host, uv->service);
}

int co_nameaddr(co_loop *loop, uint32_t slot, uint32_t generation, const co_address *address, int flags, co_out *out) {
    ENTER(loop);
    co_look_up *request = look_up_new(loop, slot, generation, out);
    if (!request) return UV_ENOMEM;
    request->flags = (flags & CO_NAME_REQUIRED ? NI_NAMEREQD : 0) | (flags & CO_LOCAL ? NI_NOFQDN : 0) |
                     (flags & CO_DATAGRAM ? NI_DGRAM : 0) | (flags & CO_NUMERIC_HOST ? NI_NUMERICHOST : 0);
    request->address = *address;
    if (apart) return look_up_apart(request, name_apart, on_named_apart);
    const struct sockaddr *name = (const struct sockaddr *)&address->storage;
    int code = uv_getnameinfo(&loop->uv, &request->uv.name, on_named, name, request->flags);
    return look_up_started(request, (uv_req_t *)&request->uv.name, code);
}
