/* The C side of coutil: libuv's callbacks record what they were told; the hub drains the records later.
 *
 * Rule 1: no Python.h, no GIL, nothing that can fail inside a callback. cffi has released the GIL around every call. Only
 * work.c and thread.c enter the interpreter, in threads of their own.
 * Rule 2: memory that libuv may touch lives here, from the successful start to libuv's last callback for it.
 * Rule 3: a callback that pushes a record also stops the loop, so that a due timer never waits for a later poll.
 * Rule 4: each entry checks the thread and the slot: no call from Python can abort the process.
 */

#ifdef __linux__
#include <sys/epoll.h>
#endif
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#define CO_FOREIGN (-100000) /* called from a thread, or a process, that does not own the loop */
#define CO_CLOSED (-100001)  /* record: the handle's close callback ran */
#define CO_NO_THREADS (-100002) /* the threads of the pool cannot be started */
#define CO_WAKEUP 0          /* slot of the records that co_wake causes */
#define CO_BLOCK 1
#define CO_BLOCK_ALWAYS 2    /* more: always, and so many milliseconds at most */
#define CO_LOOK (-1)         /* result of co_step: nothing has happened, and it is time to look at what others may have set */
#define CO_ARENA (1 << 22)
#define CO_SLOTS (1 << 20)
#define CO_FLOW 65536        /* how much a flowing handle reads at once */
#define CO_SCRAP 4096        /* a window smaller than this, and than what is wanted, waits for the next turn */
#define CO_TIMERS_KEPT 1024
#define CO_CLOSING 200       /* tries to close a loop, a millisecond apart while the thread pool is busy */
#define CO_WATCHED 1         /* Python's wake-up pipe is polled */
#define CO_UNWATCHED 2       /* it was, before a fork */

typedef struct {
    uint32_t slot, generation;
    int32_t result, where;
} co_record;
#define CO_RECORD ((int)sizeof(co_record))

typedef struct {
    struct sockaddr_storage storage;
} co_address;

typedef struct co_handle co_handle;
typedef struct co_pooled co_pooled;
typedef struct co_request co_request;
typedef struct co_tap co_tap;
typedef struct co_keeper co_keeper;
typedef struct co_changes co_changes;
typedef struct co_shared co_shared;
typedef struct co_mover co_mover;
typedef struct co_listener co_listener;

/* What every request begins with. */
typedef struct {
    struct co_loop *loop;
    uint32_t slot, generation;
    int pooled; /* it is a co_pooled, and listed */
} co_head;

typedef struct co_loop {
    char *records;
    char *arena;
    int32_t *want;
    uint64_t *status;
    uint32_t handles_created, handles_closed, handles_freed;
    uint32_t requests_created, requests_freed;
    /* private from here on */
    uint64_t clock, room; /* what `status` points to */
    uint32_t count, top, turn;
    co_handle **handles; /* by slot */
    uint32_t slots, hint;
    co_handle *timers; /* stopped ones, kept for reuse */
    uint32_t timers_kept;
    uint32_t *refused; /* slots of what is looked at before libuv polls: streams that found the arena full, handles that
                        * have lost their descriptor, and polled descriptors that are new, in order; there is room
                        * for every slot */
    uint32_t refusals;
    uint32_t writes;   /* queued write requests */
    uint32_t leaving;  /* handles that have lost their descriptor and are being closed; see descriptors.c */
    int forked, freed, sigpipe_blocked;
    int muted, held; /* how many listeners rest, and how many keep the loop alive; see listeners.c */
    pthread_t thread;
    uv_async_t wakeup;
    uv_poll_t signals;
    uv_timer_t unmute;     /* see listeners.c */
    uv_timer_t timers_over; /* see turns.c */
    int quiet;             /* nothing is alive in this step */
    uv_timer_t look; /* see wakeups.c */
    int look_due, looked;
    int woken; /* another thread has asked for the hub's attention, which it does not know yet */
    int signals_on;
    co_head **requests; /* by slot */
    uint32_t request_slots;
    co_pooled *pooled; /* requests that the thread pool has */
    co_request *ripe, **ripe_end; /* requests that ended as soon as they began */
    co_tap *taps;      /* signals that were watched; see signals.c */
    co_keeper *keepers; /* of the children of raw handles; see uvprocess.c */
    int keepers_due;    /* whether some of them were told of an end in this step */
    uint32_t inotify_room, inotify_turn; /* see watch.c */
    uv_loop_t uv;
} co_loop;

/* A timer, stream, listener or datagram socket. Only as much of the union as the kind needs is allocated. */
struct co_handle {
    co_loop *loop;
    co_handle *next;
    uint32_t slot, generation, turn;
    int error, fd, number;       /* error, number: also how a child has ended */
    int owned;                   /* the descriptor that it owns, or -1; see descriptors.c */
    dev_t device;                /* the file of its descriptor */
    ino_t inode;
    uint8_t refused : 1;
    uint8_t raw : 1;             /* one as libuv has it: it counts as alive when libuv says so, see handles.c */
    uint8_t flowing : 1;         /* a raw one that reads, or accepts, although nobody waits */
    uint8_t plain : 1;           /* a stream on no socket: written with write(2) */
    uint8_t common : 1;          /* a terminal that could not be opened again: others use its open file */
    uint8_t tapped : 1;          /* a child during whose life SIGCHLD is watched */
    uint8_t simplex : 1;         /* our end of a pipe to a child that only we write to; see shutdown.c */
    uint8_t recverr : 1;         /* a datagram socket whose errors the system queues */
    uint8_t lost : 1;            /* its descriptor is another file's: libuv has closed it, or does */
    uint8_t gone : 1;            /* a lost one that libuv has closed */
    uint8_t left : 1;            /* a lost one that Python has closed */
    uint8_t ipv6 : 1, width;     /* of a datagram socket: its family, and how many it takes with one call */
    void (*ending)(co_handle *); /* called before it is closed */
    void *extra;                 /* for its part's use */
    uint8_t shares_later : 1;    /* when libuv has written what it has to write */
    uint8_t blocks : 1;          /* a listener that a child was given, and expects to block */
    co_shared *shared;           /* of a stream whose description others use, too, or that blocks; see shared.c */
    co_listener *listener;       /* of a stream that listens; see listeners.c */
    union {
        uv_handle_t handle;
        uv_timer_t timer;
        uv_prepare_t prepare;
        uv_check_t check;
        uv_idle_t idle;
        uv_async_t async;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
        uv_tty_t tty;
        uv_udp_t udp;
        uv_poll_t poll;
        uv_fs_event_t fs_event;
        uv_fs_poll_t fs_poll;
    } u;
};

/* A request that ended at once, for the handle (slot, generation). */
typedef struct {
    co_request *next;
    uint32_t slot, generation;
} co_ripe;

struct co_request {
    co_head head;
    union {
        uv_write_t write;
        uv_connect_t connect;
        uv_shutdown_t shutdown;
        co_ripe ripe;
    } u;
};

/* What a request of libuv's thread pool begins with: they are listed, so that they can be cancelled. */
struct co_pooled {
    co_head head;
    co_pooled *next, **back;
    uv_req_t *uv;
    int lasting;                /* it changes something outside of this process, which must not end before */
    co_pooled *lasting_next, **lasting_back;
    int cancelled;              /* by libuv, before it began */
    int (*cancel)(co_pooled *); /* of a request that waits elsewhere */
    int pieces;                 /* of work that goes piece by piece: PIECES_GO_ON and others */
};

/* What a request brings besides its code. Python owns it, and keeps it until the callback; what it does not take out
 * (a descriptor, memory) is released together with it. */
typedef struct {
    int64_t number;
    int fd;       /* -1: none, or taken */
    void *memory; /* from malloc */
    size_t size;
} co_out;

/* ---- the ring ---- */

/* Room for two records per handle and request in flight exists before any of them can call back: see reserve(). */
static void push(co_loop *loop, uint32_t slot, uint32_t generation, int result, uint32_t where) {
    if (loop->count < loop->room) {
        co_record *record = (co_record *)loop->records + loop->count++;
        record->slot = slot;
        record->generation = generation;
        record->result = result;
        record->where = (int32_t)where;
    }
    uv_stop(&loop->uv);
}

/* A stream can complete a read, its end, and its close in one step; a request one thing. */
static int reserve(co_loop *loop) {
    uint32_t live = (loop->handles_created - loop->handles_freed) + (loop->requests_created - loop->requests_freed);
    uint32_t needed = 4 * (live + 16);
    if (needed <= loop->room) return 0;
    uint64_t room = needed * 2;
    char *records = realloc(loop->records, room * sizeof(co_record));
    if (!records) return UV_ENOMEM;
    loop->records = records;
    loop->room = room;
    return 0;
}

static int is_stream(co_handle *handle) {
    uv_handle_type type = handle->u.handle.type;
    return type == UV_TCP || type == UV_NAMED_PIPE || type == UV_TTY;
}

/* Those that are no objects: they have functions of their own, and no close callback that Python hears of. */
static int is_no_object(co_handle *handle) {
    uv_handle_type type = handle->u.handle.type;
    return !handle->raw && (type == UV_TIMER || type == UV_SIGNAL || type == UV_PROCESS || type == UV_POLL);
}

static int foreign(co_loop *loop) { return !loop || loop->forked || !pthread_equal(loop->thread, pthread_self()); }

/* The handle under a slot, or NULL. */
static co_handle *find(co_loop *loop, uint32_t slot) { return slot < loop->slots ? loop->handles[slot] : NULL; }

#define ENTER(loop) \
    if (foreign(loop)) return CO_FOREIGN
/* Declares `name`, the handle under a slot that is not closing; returns from the function if there is none. */
#define OPEN(name, loop, slot)                                        \
    ENTER(loop);                                                      \
    co_handle *name = find(loop, slot);                               \
    if (!name || is_no_object(name) || uv_is_closing(&name->u.handle)) return UV_EBADF
#define OF_KIND(name, kind, loop, slot) \
    OPEN(name, loop, slot);             \
    if (name->u.handle.type != (kind)) return UV_EBADF
#define STREAM(name, loop, slot) \
    OPEN(name, loop, slot);      \
    if (!is_stream(name)) return UV_EBADF

/* ---- memory of handles and requests ---- */

static int put(co_loop *loop, uint32_t slot, co_handle *handle) {
    if (slot >= CO_SLOTS) return UV_ENOMEM;
    if (slot >= loop->slots) {
        uint32_t slots = loop->slots;
        while (slots <= slot) slots = slots ? slots * 2 : 64;
        co_handle **handles = realloc(loop->handles, slots * sizeof *handles);
        if (!handles) return UV_ENOMEM;
        memset(handles + loop->slots, 0, (slots - loop->slots) * sizeof *handles);
        loop->handles = handles;
        loop->slots = slots;
    }
    if (loop->handles[slot]) return UV_EBUSY;
    loop->handles[slot] = handle;
    return 0;
}

static co_handle *handle_new(co_loop *loop, uv_handle_type type) {
    co_handle *handle = calloc(1, offsetof(co_handle, u) + uv_handle_size(type));
    if (handle) {
        handle->loop = loop;
        handle->fd = handle->owned = -1;
    }
    return handle;
}

/* Have room for a slot in the table of requests. */
static int request_room(co_loop *loop, uint32_t slot) {
    if (slot < loop->request_slots) return loop->requests[slot] ? UV_EBUSY : 0;
    if (slot >= CO_SLOTS) return UV_ENOMEM;
    uint32_t slots = loop->request_slots ? loop->request_slots : 64;
    while (slots <= slot) slots *= 2;
    co_head **table = realloc(loop->requests, slots * sizeof *table);
    if (!table) return UV_ENOMEM;
    memset(table + loop->request_slots, 0, (slots - loop->request_slots) * sizeof *table);
    loop->requests = table;
    loop->request_slots = slots;
    return 0;
}

/* `size` bytes that begin with a co_head. */
static void *request_of(size_t size, co_loop *loop, uint32_t slot, uint32_t generation) {
    if (request_room(loop, slot)) return NULL;
    co_head *head = calloc(1, size);
    if (!head) return NULL;
    head->loop = loop;
    head->slot = slot;
    head->generation = generation;
    loop->requests_created++;
    if (reserve(loop)) {
        loop->requests_created--;
        free(head);
        return NULL;
    }
    return loop->requests[slot] = head;
}

static co_request *request_new(co_loop *loop, uint32_t slot, uint32_t generation) {
    return request_of(sizeof(co_request), loop, slot, generation);
}

static void request_free(void *request) {
    co_head *head = request;
    head->loop->requests[head->slot] = NULL;
    head->loop->requests_freed++;
    free(request);
}

/* The request under a slot, or NULL. */
static co_head *request_find(co_loop *loop, uint32_t slot, uint32_t generation) {
    co_head *head = slot < loop->request_slots ? loop->requests[slot] : NULL;
    return head && head->generation == generation ? head : NULL;
}

/* Whether a request has begun, and has not ended. */
int co_under_way(co_loop *loop, uint32_t slot, uint32_t generation) {
    ENTER(loop);
    return request_find(loop, slot, generation) != NULL;
}

/* Give a request's callback-less end back: the start call failed. */
static int request_started(void *request, int code) {
    if (code < 0) request_free(request);
    return code;
}

/* Record the end of a request and free it. */
static void request_done(void *request, int result) {
    co_head *head = request;
    push(head->loop, head->slot, head->generation, result, 0);
    request_free(request);
}

#define REQUEST(pointer, member) ((co_request *)((char *)(pointer)-offsetof(co_request, u.member)))

/* A request on a handle has succeeded as soon as it began: that is told in the next step. */
static void request_ripe(co_request *request, co_handle *handle) {
    co_loop *loop = request->head.loop;
    co_ripe *ripe = &request->u.ripe;
    ripe->next = NULL;
    ripe->slot = handle->slot;
    ripe->generation = handle->generation;
    *loop->ripe_end = request;
    loop->ripe_end = &ripe->next;
}

static void tell_ripe(co_loop *loop) {
    for (co_request *request; (request = loop->ripe);) {
        co_ripe *ripe = &request->u.ripe;
        co_handle *handle = find(loop, ripe->slot);
        int open = handle && handle->generation == ripe->generation && !uv_is_closing(&handle->u.handle);
        loop->ripe = ripe->next;
        request_done(request, open ? 0 : UV_ECANCELED);
    }
    loop->ripe_end = &loop->ripe;
}

/* ---- what others need of the pool; see pool.c ---- */

static void pooled_cancel_all(co_loop *loop, int all);

void co_out_release(co_out *out) {
    if (out->fd >= 0) close(out->fd);
    free(out->memory);
    out->fd = -1;
    out->memory = NULL;
}
#define HANDLE(pointer) ((co_handle *)((char *)(pointer)-offsetof(co_handle, u)))

static int own(co_handle *handle);
static int owned(co_handle *handle, int code);
static int told(co_handle *handle, int status);

/* Make a handle of a libuv type under a free slot. The caller initializes libuv's part and passes the code on. */
static int handle_open(co_loop *loop, uint32_t slot, uint32_t generation, uv_handle_type type, co_handle **made) {
    co_handle *handle = *made = handle_new(loop, type);
    if (!handle) return UV_ENOMEM;
    handle->slot = slot;
    handle->generation = generation;
    loop->handles_created++;
    int code = reserve(loop);
    if (!code) code = put(loop, slot, handle);
    if (code) {
        loop->handles_created--;
        free(handle);
    }
    return code;
}

static int handle_opened(co_handle *handle, int code) {
    co_loop *loop = handle->loop;
    if (code) {
        loop->handles[handle->slot] = NULL;
        loop->handles_created--;
        free(handle);
        return code;
    }
    if (!handle->raw) uv_unref(&handle->u.handle); /* whether somebody waits is told by want[], not by libuv's flag */
    loop->want[handle->slot] = -1;
    own(handle);
    return 0;
}

/* ---- timers: retired by stopping, so that a wait is over at once; boxes are reused ---- */

static void on_timer_freed(uv_handle_t *uv) { free(HANDLE(uv)); }

static void timer_retire(co_handle *timer) {
    co_loop *loop = timer->loop;
    loop->handles[timer->slot] = NULL;
    loop->handles_closed++;
    loop->handles_freed++;
    if (loop->timers_kept >= CO_TIMERS_KEPT) {
        uv_close(&timer->u.handle, on_timer_freed);
        return;
    }
    timer->next = loop->timers;
    loop->timers = timer;
    loop->timers_kept++;
}

static void on_timer(uv_timer_t *uv) {
    co_handle *timer = HANDLE(uv);
    push(timer->loop, timer->slot, timer->generation, 0, 0);
    timer_retire(timer);
}

static co_handle *timer_take(co_loop *loop) {
    co_handle *timer = loop->timers;
    if (timer) {
        loop->timers = timer->next;
        loop->timers_kept--;
        return timer;
    }
    timer = handle_new(loop, UV_TIMER);
    if (timer) uv_timer_init(&loop->uv, &timer->u.timer);
    return timer;
}

/* The timeout for uv_timer_start, which counts from libuv's cached time, so that `nanoseconds` pass from now on. */
static uint64_t timeout_from_now(co_loop *loop, uint64_t nanoseconds) {
    uint64_t due = (uv_hrtime() + nanoseconds + 999999) / 1000000;
    uint64_t cached = uv_now(&loop->uv);
    return due > cached ? due - cached : 0;
}

/* Fires `nanoseconds` after this call, never earlier. */
int co_timer_start(co_loop *loop, uint32_t slot, uint32_t generation, uint64_t nanoseconds) {
    ENTER(loop);
    co_handle *timer = timer_take(loop);
    if (!timer) return UV_ENOMEM;
    timer->slot = slot;
    timer->generation = generation;
    loop->handles_created++;
    int code = reserve(loop);
    if (!code) code = put(loop, slot, timer);
    if (code) {
        loop->handles_created--;
        timer->next = loop->timers;
        loop->timers = timer;
        loop->timers_kept++;
        return code;
    }
    uv_ref(&timer->u.handle);
    return uv_timer_start(&timer->u.timer, on_timer, timeout_from_now(loop, nanoseconds), 0);
}

int co_timer_stop(co_loop *loop, uint32_t slot) {
    ENTER(loop);
    co_handle *timer = find(loop, slot);
    if (!timer || timer->u.handle.type != UV_TIMER) return 0; /* it has fired; its record is on the way */
    uv_timer_stop(&timer->u.timer);
    timer_retire(timer);
    return 0;
}

/* Whether a timer that waits keeps the loop alive. */
int co_timer_hold(co_loop *loop, uint32_t slot, int hold) {
    ENTER(loop);
    co_handle *timer = find(loop, slot);
    if (!timer || timer->u.handle.type != UV_TIMER) return 0; /* it has fired */
    (hold ? uv_ref : uv_unref)(&timer->u.handle);
    return 0;
}

/* ---- streams ---- */

static int tcp_open(co_loop *loop, uint32_t slot, uint32_t generation, int family, co_handle **opened) {
    co_handle *tcp;
    int code = handle_open(loop, slot, generation, UV_TCP, &tcp);
    if (code) return code;
    code = handle_opened(tcp, uv_tcp_init_ex(&loop->uv, &tcp->u.tcp, (unsigned int)family));
    *opened = code ? NULL : tcp;
    return code;
}

int co_tcp_new(co_loop *loop, uint32_t slot, uint32_t generation, int ipv6) {
    co_handle *tcp;
    ENTER(loop);
    return tcp_open(loop, slot, generation, ipv6 ? AF_INET6 : AF_INET, &tcp);
}

int co_bind(co_loop *loop, uint32_t slot, const co_address *address) {
    OF_KIND(tcp, UV_TCP, loop, slot);
    return uv_tcp_bind(&tcp->u.tcp, (const struct sockaddr *)&address->storage, 0);
}

int co_name(co_loop *loop, uint32_t slot, int peer, co_address *into) {
    OF_KIND(tcp, UV_TCP, loop, slot);
    int size = sizeof into->storage;
    struct sockaddr *name = (struct sockaddr *)&into->storage;
    return peer ? uv_tcp_getpeername(&tcp->u.tcp, name, &size) : uv_tcp_getsockname(&tcp->u.tcp, name, &size);
}

int co_fileno(co_loop *loop, uint32_t slot) {
    uv_os_fd_t fd;
    OPEN(handle, loop, slot);
    if (handle->u.handle.type == UV_POLL) return handle->fd;
    int code = uv_fileno(&handle->u.handle, &fd);
    return code ? code : fd;
}

/* Whether data for a handle shall be read now: somebody waits, or it flows and has brought none in this step. */
static int wanted(co_handle *handle) {
    return handle->loop->want[handle->slot] > 0 || (handle->flowing && handle->turn != handle->loop->turn);
}

/* A window of the arena as large as the waiter wants, if there is that much left. */
static uv_buf_t window_for(co_loop *loop, uint32_t slot) {
    uint32_t want = loop->want[slot] > 0 ? (uint32_t)loop->want[slot] : CO_FLOW, left = CO_ARENA - loop->top;
    if (left < want && left < CO_SCRAP) return uv_buf_init(NULL, 0);
    return uv_buf_init(loop->arena + loop->top, want < left ? want : left);
}

static int is_replaced(const co_handle *handle);
static int descriptor_check(co_handle *handle);
static int shared_reads(const co_handle *stream);
static int shared_read(co_handle *stream);

/* No window when nobody waits, so that data stay in the kernel. */
static void on_alloc(uv_handle_t *uv, size_t suggested, uv_buf_t *window) {
    co_handle *handle = HANDLE(uv);
    (void)suggested;
    int reads = wanted(handle) && (!handle->shared || shared_reads(handle)) && !(handle->common && is_replaced(handle));
    *window = reads ? window_for(handle->loop, handle->slot) : uv_buf_init(NULL, 0);
}

static void on_data(co_handle *handle, char *data, size_t count) {
    co_loop *loop = handle->loop;
    uint32_t where = (uint32_t)(data - loop->arena);
    loop->top = (where + (uint32_t)count + 15) & ~15u;
    loop->want[handle->slot] = 0;
    handle->turn = loop->turn;
    push(loop, handle->slot, handle->generation, (int)count, where);
    if (handle->raw && !handle->flowing) { /* it is active, and keeps the loop alive, only while somebody waits */
        uv_read_stop(&handle->u.stream);
        loop->want[handle->slot] = -1;
    }
}

static int datagrams_take(co_handle *handle);
static void poll_tell(co_handle *handle, int result);
static void poll_check(co_handle *handle);
static int address_scope(int fd, struct sockaddr_storage *address);
static void poll_vacate(co_handle *poll, int fd);
static void lost_serve(co_handle *handle);
static int is_watched(co_handle *handle);
static void listener_close(co_handle *handle);
static int listener_pending(co_handle *handle);
static void listener_hold(co_handle *handle, int hold);
static void listener_rest(co_handle *handle);
static uv__io_t *listener_watcher(co_handle *handle);

static void refuse(co_handle *handle) {
    co_loop *loop = handle->loop;
    if (!handle->refused) loop->refused[loop->refusals++] = handle->slot;
    handle->refused = 1;
}

static void disarm(co_handle *handle) {
    if (handle->u.handle.type == UV_UDP)
        uv_udp_recv_stop(&handle->u.udp);
    else
        uv_read_stop(&handle->u.stream);
    handle->loop->want[handle->slot] = -1;
}

/* Disarm late: the first event that finds nobody waiting, in a step that delivered nothing here, stops the reading.
 * A stream, or datagram socket, that is wanted found the arena full: it comes first in the next step. */
static void on_refused(co_handle *handle) {
    co_loop *loop = handle->loop;
    if (wanted(handle)) {
        refuse(handle);
        uv_stop(&loop->uv);
    } else if (handle->turn != loop->turn && !handle->flowing)
        disarm(handle);
}

/* Reading has ended: the waiter is told why. The next wait starts afresh. */
static void on_read_end(co_handle *handle, int code) {
    uv_read_stop(&handle->u.stream);
    handle->flowing = 0;
    handle->loop->want[handle->slot] = -1;
    push(handle->loop, handle->slot, handle->generation, code, 0);
}

/* When the peer has hung up, libuv before 1.52 takes a read that brought less than it might for the last one, and reports
 * the end without a window, and without having asked. The kernel may have more data (a terminal hands out a line buffer
 * at a time, a Unix socket one message with descriptors), or the error that cut the stream off. Returns UV_EOF if the
 * kernel says so, the error, or 0: a read will tell. A socket reports an error once, so that one counts. */
static int end_of(co_handle *handle) {
    struct stat file;
    char byte;
    int left = 0, fd = handle->u.stream.io_watcher.fd;
    if (handle->plain) {
        int is_pipe = !fstat(fd, &file) && S_ISFIFO(file.st_mode);
        return is_pipe && !ioctl(fd, FIONREAD, &left) && !left ? UV_EOF : 0;
    }
    ssize_t count = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (count >= 0) return count ? 0 : UV_EOF;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : uv_translate_sys_error(errno);
}

static void on_read(uv_stream_t *uv, ssize_t count, const uv_buf_t *window) {
    co_handle *handle = HANDLE(uv);
    if (count == UV_EOF && !window->base) {
        count = end_of(handle);
        if (!count) uv_read_start(uv, on_alloc, on_read);
    }
    if (count > 0)
        on_data(handle, window->base, (size_t)count);
    else if (count == UV_ENOBUFS && handle->common && is_replaced(handle))
        descriptor_check(handle);
    else if (count == UV_ENOBUFS) {
        if (!handle->shared || !shared_read(handle)) on_refused(handle);
    } else if (count < 0)
        on_read_end(handle, (int)count);
}

/* Before libuv polls: serve those whom the full arena sent away. The end is left to libuv; an error is not, for the kernel
 * reports it to one read only. */
static void serve_refused(co_loop *loop) {
    uint32_t left = loop->refusals;
    loop->refusals = 0;
    for (uint32_t i = 0; i < left; i++) {
        uint32_t slot = loop->refused[i];
        co_handle *handle = find(loop, slot);
        if (!handle || !handle->refused) continue; /* closed meanwhile */
        handle->refused = 0;
        if (handle->lost) {
            lost_serve(handle);
            continue;
        }
        if (handle->u.handle.type == UV_POLL) {
            poll_check(handle);
            continue;
        }
        if (!wanted(handle)) continue;
        if (handle->plain) continue;
        if (handle->u.handle.type == UV_NAMED_PIPE && handle->u.pipe.ipc) continue; /* read(2) would lose descriptors */
        if (handle->u.handle.type == UV_UDP) {
            if (datagrams_take(handle) == UV_ENOBUFS) on_refused(handle);
            continue;
        }
        uv_buf_t window = window_for(loop, slot);
        if (!window.base) {
            on_refused(handle);
            continue;
        }
        ssize_t count = recv(handle->u.tcp.io_watcher.fd, window.base, window.len, MSG_DONTWAIT);
        if (count > 0)
            on_data(handle, window.base, (size_t)count);
        else if (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            on_read_end(handle, uv_translate_sys_error(errno));
    }
}

int co_read_start(co_loop *loop, uint32_t slot) {
    STREAM(stream, loop, slot);
    int code = is_watched(stream);
    if (!code) code = uv_read_start(&stream->u.stream, on_alloc, on_read);
    if (!code) loop->want[slot] = 0;
    return code;
}

/* libuv writes with write(2). Where SIGPIPE would kill, it is blocked until the queue is empty. */
static void sigpipe_block(co_loop *loop) {
    struct sigaction action;
    if (loop->sigpipe_blocked || sigaction(SIGPIPE, NULL, &action) || action.sa_handler != SIG_DFL) return;
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    if (!pthread_sigmask(SIG_BLOCK, &set, &old) && !sigismember(&old, SIGPIPE)) loop->sigpipe_blocked = 1;
}

static void sigpipe_unblock(co_loop *loop) {
    if (!loop->sigpipe_blocked || loop->writes) return;
    sigset_t set;
    struct timespec zero = {0, 0};
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    while (sigtimedwait(&set, NULL, &zero) >= 0) continue;
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    loop->sigpipe_blocked = 0;
}

static int plain_write(int fd, const char *data, size_t size);
static int is_left_to_us(co_handle *stream);

/* What the kernel takes at once, without SIGPIPE; UV_EAGAIN if it takes nothing or others are queued before. */
int co_try_write(co_loop *loop, uint32_t slot, const char *data, size_t size) {
    STREAM(stream, loop, slot);
    if (stream->u.stream.write_queue_size > 0 || stream->u.stream.connect_req) return UV_EAGAIN;
    int fd = stream->u.stream.io_watcher.fd;
    if (fd < 0) return stream->raw && !stream->simplex ? UV_EBADF : UV_EPIPE; /* not connected, or ended */
    if (!uv_is_writable(&stream->u.stream)) {
        uv_buf_t buffer = uv_buf_init((char *)data, (unsigned int)(size > INT32_MAX ? INT32_MAX : size));
        return uv_try_write(&stream->u.stream, &buffer, 1); /* libuv's word for why not */
    }
    ssize_t sent;
    if (size > INT32_MAX) size = INT32_MAX;
    if (stream->plain) {
        sigpipe_block(loop);
        return plain_write(fd, data, size);
    }
    do
        sent = send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0) return (int)sent;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ? UV_EAGAIN : uv_translate_sys_error(errno);
}

static void share_if_written(co_handle *stream);

static void on_write(uv_write_t *uv, int status) {
    co_request *request = REQUEST(uv, write);
    co_handle *stream = HANDLE(uv->handle);
    request->head.loop->writes--;
    if (stream->shares_later) share_if_written(stream);
    request_done(request, told(stream, status));
}

#define CO_PIECE ((size_t)1 << 30) /* a uv_buf_t holds an unsigned int; the kernel takes less than 2 GiB at once */

static int shared_write(co_handle *stream, co_request *request, const char *data, size_t size, int passed, uv_write_cb done);

/* Start to write, with a descriptor that travels along if there is one; frees the request if that fails. */
static int write_start(co_request *request, co_handle *stream, const char *data, size_t size, uv_stream_t *passed,
                       uv_write_cb done) {
    co_loop *loop = stream->loop;
    if (descriptor_check(stream)) return request_started(request, UV_EBADF);
    if (stream->shared || is_left_to_us(stream))
        return shared_write(stream, request, data, size, passed ? passed->io_watcher.fd : -1, done);
    size_t pieces = size ? (size + CO_PIECE - 1) / CO_PIECE : 1;
    uv_buf_t *buffers = malloc(pieces * sizeof *buffers); /* libuv copies the list, not the data */
    if (!buffers || is_watched(stream)) {
        free(buffers);
        return request_started(request, buffers ? UV_EEXIST : UV_ENOMEM);
    }
    for (size_t i = 0; i < pieces; i++) {
        size_t left = size - i * CO_PIECE;
        buffers[i] = uv_buf_init((char *)data + i * CO_PIECE, (unsigned int)(left < CO_PIECE ? left : CO_PIECE));
    }
    sigpipe_block(loop);
    uv_stream_t *uv = &stream->u.stream;
    int code = uv_write2(&request->u.write, uv, buffers, (unsigned int)pieces, passed, done);
    if (!code) loop->writes++;
    free(buffers);
    return request_started(request, code);
}

int co_write(co_loop *loop, uint32_t slot, uint32_t at, uint32_t generation, const char *data, size_t size) {
    STREAM(stream, loop, slot);
    co_request *request = request_new(loop, at, generation);
    return request ? write_start(request, stream, data, size, NULL, on_write) : UV_ENOMEM;
}

static void on_connect(uv_connect_t *uv, int status) {
    request_done(REQUEST(uv, connect), told(HANDLE(uv->handle), status));
}

int co_connect(co_loop *loop, uint32_t slot, uint32_t at, uint32_t generation, const co_address *address) {
    OF_KIND(tcp, UV_TCP, loop, slot);
    co_request *request = request_new(loop, at, generation);
    if (!request) return UV_ENOMEM;
    struct sockaddr_storage name = address->storage;
    int code = is_watched(tcp);
    if (!code) code = address_scope(tcp->u.tcp.io_watcher.fd, &name);
    if (!code)
        code = owned(tcp, uv_tcp_connect(&request->u.connect, &tcp->u.tcp, (struct sockaddr *)&name, on_connect));
    return request_started(request, code);
}

/* ---- closing ---- */

static void changes_left(co_handle *handle);

/* The end of a handle, of which Python is told. */
static void handle_over(co_handle *handle) {
    co_loop *loop = handle->loop;
    loop->handles[handle->slot] = NULL;
    loop->handles_freed++;
    loop->leaving -= handle->left;
    push(loop, handle->slot, handle->generation, CO_CLOSED, 0);
    if (handle->u.handle.type == UV_TCP) free(handle->extra);
    free(handle);
}

static void on_close(uv_handle_t *uv) {
    co_handle *handle = HANDLE(uv);
    if (uv->type == UV_FS_EVENT || uv->type == UV_FS_POLL) changes_left(handle);
    handle->gone = 1;
    if (!handle->lost || handle->left) handle_over(handle);
}

static int lost_close(co_handle *handle);
static void descriptor_leave(co_handle *handle);
static void shared_leave(co_handle *stream);

int co_close(co_loop *loop, uint32_t slot) {
    ENTER(loop);
    co_handle *lost = find(loop, slot);
    if (lost && lost->lost) return lost_close(lost);
    OPEN(handle, loop, slot);
    if (handle->listener) listener_close(handle);
    if (handle->ending) handle->ending(handle);
    descriptor_leave(handle);
    loop->want[slot] = -1;
    loop->handles_closed++;
    uv_close(&handle->u.handle, on_close);
    shared_leave(handle);
    return 0;
}

static void keepers_recover(co_loop *loop);
static void timers_run(co_loop *loop);
static void same_everywhere(void);
static void watchers_arm(co_loop *loop);
static void look_open(co_loop *loop);
static void look_before(co_loop *loop, int milliseconds);
static int look_after(co_loop *loop);

/* ---- the loop ---- */

/* Calls of other threads go before what those threads did next: `woken` is set by each co_wake, and whoever sees it first
 * tells the hub. The callback of libuv's own handle may come later than that of a request which ended after the call. */
static void wakeup_push(co_loop *loop) {
    if (__atomic_exchange_n(&loop->woken, 0, __ATOMIC_ACQ_REL)) push(loop, CO_WAKEUP, 0, 0, 0);
}

static void on_wakeup(uv_async_t *uv) { wakeup_push(uv->data); }

/* Safe from any thread and from a signal handler, as long as the loop exists. */
void co_wake(co_loop *loop) {
    if (!loop || loop->forked) return;
    __atomic_store_n(&loop->woken, 1, __ATOMIC_RELEASE);
    uv_async_send(&loop->wakeup);
}

void co_update(co_loop *loop) {
    if (foreign(loop)) return;
    uv_update_time(&loop->uv);
    loop->clock = uv_hrtime();
}

/* Whether anything can still happen by itself: libuv's requests, timers and closing handles, or a waiter. */
int co_alive(co_loop *loop) {
    if (foreign(loop)) return 0;
    if (loop->ripe || loop->leaving || uv_loop_alive(&loop->uv)) return 1;
    if (loop->hint < loop->slots && loop->want[loop->hint] > 0) return 1;
    for (uint32_t slot = 0; slot < loop->slots; slot++)
        if (loop->want[slot] > 0) {
            loop->hint = slot;
            return 1;
        }
    return 0;
}

/* One turn. With CO_BLOCK it waits for an event if anything is alive that could bring one, with CO_BLOCK_ALWAYS in any
 * case. Returns records * 2, + 1 if something was alive (or nobody asked); CO_LOOK; or CO_FOREIGN. */
int co_step(co_loop *loop, int block) {
    ENTER(loop);
    int alive = block == CO_BLOCK ? co_alive(loop) : 1;
    loop->quiet = block > CO_BLOCK_ALWAYS ? !co_alive(loop) : !alive; /* then it waits for other threads only */
    loop->count = loop->top = 0;
    loop->turn++;
    if (loop->ripe) tell_ripe(loop);
    watchers_arm(loop);
    if (loop->refusals) serve_refused(loop);
    if (loop->count) block = 0;
    if (block && alive) look_before(loop, block > CO_BLOCK_ALWAYS ? block : 0);
    else loop->looked = 0;
    uv_update_time(&loop->uv);
    loop->uv.stop_flag = 0; /* as records set it, which came before: uv_run would do nothing */
    uv_ref((uv_handle_t *)&loop->wakeup); /* something referenced must exist, or uv_run polls nothing */
    timers_run(loop);
    uv_run(&loop->uv, block && alive && !loop->count ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    if (!loop->held) uv_unref((uv_handle_t *)&loop->wakeup);
    if (loop->keepers_due) keepers_recover(loop);
    if (loop->sigpipe_blocked) sigpipe_unblock(loop);
    loop->clock = uv_hrtime();
    if (look_after(loop)) return CO_LOOK;
    return (int)loop->count * 2 + alive;
}

/* Large memory comes as zero pages and goes back at once: malloc would keep it, and calloc touch all of it. */
static void *pages_new(size_t size) {
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

static void pages_free(void *pages, size_t size) {
    if (pages) munmap(pages, size);
}

/* The struct itself stays, so that a call that comes too late (from another thread, perhaps) finds it dead. */
static void loop_free(co_loop *loop) {
    free(loop->records);
    pages_free(loop->arena, CO_ARENA);
    pages_free(loop->want, CO_SLOTS * sizeof *loop->want);
    pages_free(loop->refused, CO_SLOTS * sizeof *loop->refused);
    free(loop->handles);
    free(loop->requests);
    loop->forked = loop->freed = 1;
}

/* Nobody has the pointer any more. A loop that was not closed is leaked: its memory may be in use. */
void co_loop_delete(co_loop *loop) {
    if (loop && loop->freed) free(loop);
}

/* libuv aborts the process if the very first loop cannot have all of its six descriptors: look before. */
static int descriptors_left(void) {
    uv_file ends[6];
    int pipes = 0;
    while (pipes < 3 && !uv_pipe(ends + 2 * pipes, 0, 0)) pipes++;
    for (int i = 0; i < 2 * pipes; i++) close(ends[i]);
    return pipes == 3;
}

/* libuv aborts when it has to close descriptor 0, 1 or 2. A process that began without them must not get them for loops
 * and sockets, which others would read and write as standard streams besides. */
static void standard_descriptors(void) {
    for (int fd = 0; fd < 3; fd++)
        while (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            if (open("/dev/null", O_RDWR) < 0) return; /* takes the lowest number that is free */
}

co_loop *co_loop_new(void) {
    standard_descriptors();
    if (descriptors_left()) same_everywhere();
    co_loop *loop = calloc(1, sizeof *loop);
    if (!loop) return NULL;
    loop->arena = pages_new(CO_ARENA);
    loop->want = pages_new(CO_SLOTS * sizeof *loop->want); /* costs memory only where used */
    loop->refused = pages_new(CO_SLOTS * sizeof *loop->refused);
    if (!loop->arena || !loop->want || !loop->refused || reserve(loop) || !descriptors_left() ||
        uv_loop_init(&loop->uv)) {
        loop_free(loop);
        free(loop);
        return NULL;
    }
    loop->thread = pthread_self();
    loop->uv.data = loop;
    loop->ripe_end = &loop->ripe;
    loop->status = &loop->clock;
    loop->wakeup.data = loop->unmute.data = loop;
    uv_timer_init(&loop->uv, &loop->timers_over);
    uv_unref((uv_handle_t *)&loop->timers_over);
    uv_timer_init(&loop->uv, &loop->unmute);
    uv_unref((uv_handle_t *)&loop->unmute);
    look_open(loop);
    if (uv_async_init(&loop->uv, &loop->wakeup, on_wakeup)) {
        uv_close((uv_handle_t *)&loop->unmute, NULL);
        uv_close((uv_handle_t *)&loop->timers_over, NULL);
        uv_close((uv_handle_t *)&loop->look, NULL);
        uv_run(&loop->uv, UV_RUN_NOWAIT);
        uv_loop_close(&loop->uv);
        loop_free(loop);
        free(loop);
        return NULL;
    }
    uv_unref((uv_handle_t *)&loop->wakeup);
    co_update(loop);
    return loop;
}

static void signals_keep(co_loop *loop);
static void signals_put_back(co_loop *loop);
static void signals_forked(co_loop *loop);
static void raw_signals_forked(co_loop *loop);
static void keepers_left(co_loop *loop);
static int process_walked(co_loop *loop, uv_handle_t *uv);
static void lost_leave(co_loop *loop);

/* In the child of a fork: the descriptors are shared with the parent, so nothing of the loop may be touched. */
void co_loop_forked(co_loop *loop) {
    if (!loop || loop->forked) return;
    loop->forked = 1;
    signals_forked(loop);
}

static void on_walk(uv_handle_t *uv, void *data) {
    co_loop *loop = data;
    if (uv_is_closing(uv)) return;
    if (uv == (uv_handle_t *)&loop->wakeup || uv == (uv_handle_t *)&loop->signals ||
        uv == (uv_handle_t *)&loop->unmute || uv == (uv_handle_t *)&loop->timers_over || uv == (uv_handle_t *)&loop->look)
        uv_close(uv, NULL);
    else if (uv->type == UV_TIMER)
        uv_close(uv, on_timer_freed);
    else if (!process_walked(loop, uv)) {
        co_handle *handle = HANDLE(uv);
        if (handle->ending) handle->ending(handle);
        descriptor_leave(handle);
        loop->handles_closed++;
        uv_close(uv, on_close);
    }
}

/* Close everything and free the loop. Returns 0, or UV_EBUSY if libuv still holds on (the memory is leaked then): a call
 * in the thread pool that has begun cannot be cancelled, and may take for ever. */
int co_loop_close(co_loop *loop) {
    ENTER(loop);
    pooled_cancel_all(loop, 1);
    for (uint32_t slot = 0; slot < loop->slots; slot++) {
        co_handle *handle = loop->handles[slot];
        if (!handle) continue;
        listener_close(handle);
        if (handle->raw || handle->shared) co_close(loop, slot);
    }
    keepers_left(loop);
    signals_keep(loop);
    uv_walk(&loop->uv, on_walk, loop);
    lost_leave(loop);
    signals_put_back(loop);
    loop->count = 0;
    tell_ripe(loop);
    int code = UV_EBUSY;
    for (int round = 0; code && round < CO_CLOSING; round++) {
        loop->count = 0;
        uv_run(&loop->uv, UV_RUN_NOWAIT);
        code = uv_loop_close(&loop->uv);
        if (code) usleep(1000); /* the thread pool has something still */
    }
    sigpipe_unblock(loop);
    if (!code) loop_free(loop);
    return code;
}
