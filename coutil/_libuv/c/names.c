/* Names of hosts and services, looked up in the thread pool. What is found is copied into one block of a co_out, which
 * Python owns: a look-up that was given up leaves nothing behind. */

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "names.h"
#include "address.h"
#include "pool.h"

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
 * was forked meanwhile inherits the count, but not the threads: its look-ups would wait without end. There, look-ups are
 * work like any other, which calls libuv's blocking functions; those use nothing of their loop but its count of requests.
 * ---- */

static int looking; /* look-ups of this process that are not over, in all of its threads */
static int apart;   /* this process is such a child */

static void names_forked(void) {
    if (__atomic_exchange_n(&looking, 0, __ATOMIC_RELAXED)) apart = 1;
}

static void names_watch_forks(void) { pthread_atfork(NULL, NULL, names_forked); }

static int look_up_new(co_loop *loop, uint32_t slot, uint32_t generation, co_out *out, co_look_up **made) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, names_watch_forks);
    int code = co_pooled_new(sizeof **made, loop, slot, generation, (void **)made);
    if (!code) (*made)->out = out;
    return code;
}

static int look_up_started(co_look_up *request, uv_req_t *uv, int code) {
    if (code >= 0) __atomic_add_fetch(&looking, 1, __ATOMIC_RELAXED);
    return co_pooled_started(&request->pooled, uv, code);
}

static void look_up_done(co_look_up *request, int status) {
    __atomic_sub_fetch(&looking, 1, __ATOMIC_RELAXED);
    co_pooled_done(&request->pooled, status);
}

static int look_up_apart(co_look_up *request, uv_work_cb work, uv_after_work_cb done) {
    uv_loop_t *loop = &request->pooled.head.loop->uv;
    return look_up_started(request, (uv_req_t *)&request->work, uv_queue_work(loop, &request->work, work, done));
}

/* ---- addresses ---- */

static int usable(const struct addrinfo *one) { return one->ai_family == AF_INET || one->ai_family == AF_INET6; }

/* Copy what is usable: `number` entries, then the canonical name if there is one. */
static int copy_found(const struct addrinfo *list, co_out *out) {
    size_t count = 0, length = list && list->ai_canonname ? strlen(list->ai_canonname) : 0;
    for (const struct addrinfo *one = list; one; one = one->ai_next) count += usable(one);
    co_found *found = calloc(1, count * sizeof *found + length + 1);
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
        co_address_get(&address, found->binary, &found->port, &found->scope);
        found->family = one->ai_family;
        found->socktype = one->ai_socktype;
        found->protocol = one->ai_protocol;
        found++;
    }
    return 0;
}

static struct addrinfo hints_of(int family, int socktype, int protocol, int flags) {
    struct addrinfo hints;
    memset(&hints, 0, sizeof hints);
    hints.ai_family = family;
    hints.ai_socktype = socktype;
    hints.ai_protocol = protocol;
    hints.ai_flags = flags;
    return hints;
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
int co_getaddrinfo(co_loop *loop, uint32_t slot, uint32_t generation, const char *host, const char *service, int family,
                   int socktype, int protocol, int flags, co_out *out) {
    ENTER(loop);
    co_look_up *request;
    int code = look_up_new(loop, slot, generation, out, &request);
    if (code) return code;
    request->hints = hints_of(family, socktype, protocol, flags);
    if (apart) {
        if (host) strncpy(request->host, host, sizeof request->host - 1);
        if (service) strncpy(request->service, service, sizeof request->service - 1);
        return look_up_apart(request, find_apart, on_found_apart);
    }
    code = uv_getaddrinfo(&loop->uv, &request->uv.find, on_found, host, service, &request->hints);
    return look_up_started(request, (uv_req_t *)&request->uv.find, code);
}

/* ---- names ---- */

/* Two strings, each with its NUL: the host's name and the service's. */
static int copy_names(const char *host, const char *service, co_out *out) {
    size_t first = strlen(host) + 1, second = strlen(service) + 1;
    char *names = malloc(first + second);
    if (!names) return UV_ENOMEM;
    memcpy(names, host, first);
    memcpy(names + first, service, second);
    out->memory = names;
    out->size = first + second;
    return 0;
}

static void on_named(uv_getnameinfo_t *uv, int status, const char *host, const char *service) {
    co_look_up *request = LOOK_UP(uv, uv.name);
    if (!status) status = copy_names(host, service, request->out);
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

int co_getnameinfo(co_loop *loop, uint32_t slot, uint32_t generation, const co_address *address, int flags,
                   co_out *out) {
    ENTER(loop);
    co_look_up *request;
    int code = look_up_new(loop, slot, generation, out, &request);
    if (code) return code;
    request->flags = flags;
    request->address = *address;
    if (apart) return look_up_apart(request, name_apart, on_named_apart);
    const struct sockaddr *name = (const struct sockaddr *)&address->storage;
    code = uv_getnameinfo(&loop->uv, &request->uv.name, on_named, name, request->flags);
    return look_up_started(request, (uv_req_t *)&request->uv.name, code);
}

/* ---- in any thread, with no loop of Python's ---- */

int co_getaddrinfo_block(const char *host, const char *service, int family, int socktype, int protocol, int flags,
                         co_out *out) {
    uv_loop_t nobodys;
    uv_getaddrinfo_t uv;
    struct addrinfo hints = hints_of(family, socktype, protocol, flags);
    memset(&nobodys, 0, sizeof nobodys);
    int code = uv_getaddrinfo(&nobodys, &uv, NULL, host, service, &hints);
    if (code) return code;
    code = copy_found(uv.addrinfo, out);
    uv_freeaddrinfo(uv.addrinfo);
    return code;
}

int co_getnameinfo_block(const co_address *address, int flags, co_out *out) {
    uv_loop_t nobodys;
    uv_getnameinfo_t uv;
    memset(&nobodys, 0, sizeof nobodys);
    int code = uv_getnameinfo(&nobodys, &uv, NULL, (const struct sockaddr *)&address->storage, flags);
    return code ? code : copy_names(uv.host, uv.service, out);
}
