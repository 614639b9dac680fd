/*
 * TCP echo load: one thread, one epoll, many connections. With -u, UDP: connected sockets, and a message is a datagram.
 * With -x, Unix sockets: HOST is the path, PORT is not looked at.
 *
 *     load [-u | -x] HOST PORT CONNECTIONS BYTES SECONDS WARMUP [SERVER-PID]
 *
 * Each connection sends a message, waits for the whole echo, compares it byte for byte and only then sends the next.
 * Every message is another slice of one random text, so an echo that is late, or another connection's, differs.
 * First every connection has one echo, then all of them go on together. After the warm-up the requests that complete
 * within SECONDS are counted, with their latency and, when its process is named, with the CPU time that the server
 * took meanwhile. Then the echoes still due are awaited, so that no connection ends in a reset. One line of JSON goes
 * to stdout.
 *
 * Exit status: 0 the figures are good, 1 no figures (wrong arguments, nobody was served), 2 an echo differed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000ull
#define CONNECT_LIMIT (30 * SECOND)
#define DRAIN_LIMIT (2 * SECOND)
#define SPREAD 16381 /* messages start at this many places of the text; prime, so that steps visit all of them */
#define CHUNK (256 * 1024)
#define EVENTS 512

/* A bucket is at most 1/128 of its value wide: 128 of them for each power of two, the first 256 exact. */
#define SUB_BITS 7
#define BUCKETS ((64 - SUB_BITS + 1) << SUB_BITS)

typedef struct {
    int fd;
    int connected;
    int due; /* its connect or its echo is awaited */
    uint32_t interest;
    uint64_t sequence;
    uint64_t started;
    const char *message;
    size_t sent, received;
} Connection;

typedef struct {
    double requests, seconds, cpu, user, p50, p99, p999; /* cpu and user in seconds, latencies in microseconds */
} Result;

static struct {
    union {
        struct sockaddr any;
        struct sockaddr_in ipv4;
        struct sockaddr_un local;
    } address;
    socklen_t length; /* of the address */
    size_t count, size;
    uint64_t duration, warmup;
    pid_t server;
    int datagrams;
} options;

static int poller;
static int sending; /* whether a complete echo is followed by the next message */
static size_t waiting; /* how many connections are due */
static size_t errors, mismatches;
static uint64_t histogram[BUCKETS];
static Connection *connections;
static char *text;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

/* -- Latencies -- */

static size_t bucket(uint64_t value)
{
    int shift = 63 - __builtin_clzll(value | 1) - SUB_BITS;
    if (shift <= 0) return (size_t)value;
    return ((size_t)shift << SUB_BITS) + (size_t)(value >> shift);
}

static double bucket_middle(size_t index)
{
    size_t shift = index >> SUB_BITS;
    if (shift <= 1) return (double)index;
    shift -= 1;
    return (double)((uint64_t)(index - (shift << SUB_BITS)) << shift) + (double)(1ull << shift) / 2;
}

static double recorded(void)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < BUCKETS; i++) sum += histogram[i];
    return (double)sum;
}

static double percentile_us(double fraction)
{
    uint64_t wanted = (uint64_t)(fraction * recorded()), seen = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        seen += histogram[i];
        if (seen > wanted) return bucket_middle(i) / 1e3;
    }
    return 0;
}

/* -- The server's CPU time: all of it by its clock (ns), the user's share by /proc (ticks of 10 ms) -- */

static double cpu_total(void)
{
    clockid_t clock;
    struct timespec time;
    if (clock_getcpuclockid(options.server, &clock) || clock_gettime(clock, &time)) return 0;
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double cpu_user(void)
{
    char path[64];
    unsigned long ticks = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)options.server);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    if (fscanf(file, "%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu", &ticks) != 1) ticks = 0;
    fclose(file);
    return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

/* -- One connection -- */

static void watch(Connection *c, uint32_t interest)
{
    struct epoll_event event = {.events = interest, .data.ptr = c};
    if (c->interest == interest) return;
    if (epoll_ctl(poller, c->interest ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &event)) die("epoll_ctl");
    c->interest = interest;
}

static void expect(Connection *c)
{
    c->due = 1;
    ++waiting;
}

static void settle(Connection *c)
{
    waiting -= (size_t)c->due;
    c->due = 0;
}

/* counter: what to blame, `errors` or `mismatches` */
static void lose(Connection *c, size_t *counter)
{
    ++*counter;
    settle(c);
    close(c->fd);
    c->fd = -1;
}

static void send_rest(Connection *c)
{
    while (c->sent < options.size) {
        ssize_t n = send(c->fd, c->message + c->sent, options.size - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) return lose(c, &errors);
        c->sent += (size_t)n;
    }
    watch(c, c->sent < options.size ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void send_next(Connection *c, uint64_t time)
{
    size_t place = (size_t)(c - connections) * 7919 + c->sequence++ * 4099;
    c->message = text + place % SPREAD;
    c->sent = c->received = 0;
    c->started = time;
    send_rest(c);
}

static void complete(Connection *c)
{
    uint64_t time = now();
    histogram[bucket(time - c->started)]++;
    if (sending)
        send_next(c, time);
    else
        settle(c);
}

static void receive(Connection *c)
{
    static char chunk[CHUNK];
    ssize_t n = recv(c->fd, chunk, sizeof chunk, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) return lose(c, &errors);
    if ((size_t)n > c->sent - c->received || memcmp(chunk, c->message + c->received, (size_t)n))
        return lose(c, &mismatches);
    c->received += (size_t)n;
    if (c->received == options.size) complete(c);
}

static void finish_connect(Connection *c)
{
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error) return lose(c, &errors);
    c->connected = 1;
    settle(c);
    watch(c, EPOLLIN);
}

static void start_connect(Connection *c)
{
    int on = 1;
    int family = options.address.any.sa_family, type = options.datagrams ? SOCK_DGRAM : SOCK_STREAM;
    c->fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket");
    if (family == AF_INET && !options.datagrams) setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    expect(c);
    if (connect(c->fd, &options.address.any, options.length) && errno != EINPROGRESS)
        return lose(c, &errors);
    watch(c, EPOLLOUT);
}

static void serve(Connection *c, uint32_t events)
{
    if (!c->connected) return finish_connect(c);
    if (events & EPOLLOUT) send_rest(c);
    if (c->fd >= 0 && (events & ~(uint32_t)EPOLLOUT)) receive(c);
}

/* -- All of them -- */

static void run_until(uint64_t deadline)
{
    struct epoll_event events[EVENTS];
    uint64_t time;
    while (waiting && (time = now()) < deadline) {
        int n = epoll_wait(poller, events, EVENTS, (int)((deadline - time) / 1000000 + 1));
        for (int i = 0; i < n; i++) serve(events[i].data.ptr, events[i].events);
    }
}

/* Wait for all connects or echoes that are due; those not done in time are lost. */
static void settle_all(uint64_t limit)
{
    run_until(now() + limit);
    for (size_t i = 0; i < options.count; i++)
        if (connections[i].due) lose(&connections[i], &errors);
}

static void allow_descriptors(size_t count)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit)) die("getrlimit");
    if (limit.rlim_cur >= count) return;
    limit.rlim_cur = count < limit.rlim_max ? count : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit)) die("setrlimit");
}

static void connect_all(void)
{
    allow_descriptors(options.count + 16);
    connections = calloc(options.count, sizeof *connections);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (!connections || poller < 0) die("setup");
    for (size_t i = 0; i < options.count; i++) start_connect(&connections[i]);
    settle_all(CONNECT_LIMIT);
}

static void start_all(void)
{
    for (size_t i = 0; i < options.count; i++) {
        Connection *c = &connections[i];
        if (c->fd < 0) continue;
        expect(c);
        send_next(c, now());
    }
}

static void write_text(void)
{
    uint64_t random = 88172645463325252ull;
    size_t length = options.size + SPREAD;
    text = malloc(length);
    if (!text) die("malloc");
    for (size_t i = 0; i < length; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        text[i] = (char)random;
    }
}

/* One echo for each connection: a server that is still accepting is not measured. */
static void greet_all(void)
{
    start_all();
    settle_all(CONNECT_LIMIT);
}

static Result measure(void)
{
    memset(histogram, 0, sizeof histogram);
    double cpu = cpu_total(), user = cpu_user();
    uint64_t started = now();
    run_until(started + options.duration);
    return (Result){
        .seconds = (double)(now() - started) / 1e9,
        .cpu = cpu_total() - cpu,
        .user = cpu_user() - user,
        .requests = recorded(),
        .p50 = percentile_us(0.5),
        .p99 = percentile_us(0.99),
        .p999 = percentile_us(0.999),
    };
}

static void print(Result r)
{
    printf("{\"requests\": %.0f, \"seconds\": %.6f, \"rps\": %.1f, ", r.requests, r.seconds, r.requests / r.seconds);
    printf("\"p50_us\": %.2f, \"p99_us\": %.2f, \"p999_us\": %.2f, ", r.p50, r.p99, r.p999);
    if (options.server) printf("\"server_cpu_s\": %.6f, \"server_user_s\": %.2f, ", r.cpu, r.user);
    printf("\"errors\": %zu, \"mismatches\": %zu}\n", errors, mismatches);
}

static int parse_ipv4(const char *host, const char *port)
{
    struct sockaddr_in *address = &options.address.ipv4;
    address->sin_family = AF_INET;
    address->sin_port = htons((uint16_t)atoi(port));
    options.length = sizeof *address;
    return inet_pton(AF_INET, host, &address->sin_addr) == 1;
}

static int parse_path(const char *path)
{
    struct sockaddr_un *address = &options.address.local;
    address->sun_family = AF_UNIX;
    options.length = sizeof *address;
    return snprintf(address->sun_path, sizeof address->sun_path, "%s", path) < (int)sizeof address->sun_path;
}

static int parse(int argc, char **argv)
{
    int local = argc > 1 && !strcmp(argv[1], "-x");
    options.datagrams = argc > 1 && !strcmp(argv[1], "-u");
    argc -= options.datagrams | local;
    argv += options.datagrams | local;
    if (argc < 7 || argc > 8) return 0;
    options.count = strtoul(argv[3], NULL, 10);
    options.size = strtoul(argv[4], NULL, 10);
    options.duration = (uint64_t)(atof(argv[5]) * SECOND);
    options.warmup = (uint64_t)(atof(argv[6]) * SECOND);
    options.server = argc == 8 ? atoi(argv[7]) : 0;
    return (local ? parse_path(argv[1]) : parse_ipv4(argv[1], argv[2])) && options.count && options.size;
}

int main(int argc, char **argv)
{
    if (!parse(argc, argv)) {
        fprintf(stderr, "usage: load [-u | -x] IPV4-OR-PATH PORT CONNECTIONS BYTES SECONDS WARMUP [SERVER-PID]\n");
        return 1;
    }
    write_text();
    connect_all();
    greet_all();
    sending = 1;
    start_all();
    if (!waiting) {
        fprintf(stderr, "load: none of %zu connections was served\n", options.count);
        return 1;
    }
    run_until(now() + options.warmup);
    Result result = measure();
    sending = 0;
    settle_all(DRAIN_LIMIT);
    print(result);
    return mismatches ? 2 : 0;
}
