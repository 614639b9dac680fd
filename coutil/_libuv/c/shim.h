/* What all C files share: the types, the states of loops, handles and requests, the kinds of handles, and the checks that
 * each call of Python begins with.
 *
 * Rule 1: no Python.h, no GIL, nothing that can fail inside a callback. cffi has released the GIL around every call. Only
 * work.c and thread.c enter the interpreter, in threads of their own.
 * Rule 2: memory that libuv may use lives here, from the successful start to libuv's last callback for it.
 * Rule 3: a callback that pushes a record also stops the loop, so that a due timer never waits for a later poll.
 * Rule 4: each call of Python checks the thread and the slot: no call from Python can abort the process.
 * Rule 5: each file is compiled by itself. NAME.h declares what other files call, and behind the line "called by Python"
 * what cffi calls: build.py reads that part, too. All else is static.
 * Rule 6: a file includes the headers of files below it only. What these call above them is a function of a co_kind.
 * Rule 7: libuv's private fields are used in uv_private.h only.
 */

#pragma once

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "uv_private.h"

#define CO_FOREIGN (-100000)    /* called from a thread, or a process, that does not own the loop */
#define CO_CLOSED (-100001)     /* record: the handle's close callback ran */
#define CO_NO_THREADS (-100002) /* the threads of the pool cannot be started */
#define CO_WAKEUP 0             /* slot of the records that co_wake causes */
#define CO_BLOCK 1
#define CO_BLOCK_ALWAYS 2 /* more: always, and so many milliseconds at most */
#define CO_LOOK (-1)      /* result of co_step: nothing has happened, and it is time to look at what others may have set */
#define CO_ARENA (1 << 22)
#define CO_SLOTS (1 << 20)
#define CO_FIRST_FD 3 /* descriptors below are the standard streams, which libuv refuses to close */

typedef struct {
    uint32_t slot, generation;
    int32_t result, offset;
} co_record;
#define CO_RECORD ((int)sizeof(co_record))

typedef struct {
    struct sockaddr_storage storage;
} co_address;

typedef struct co_child_watcher co_child_watcher;
typedef struct co_handle co_handle;
typedef struct co_kind co_kind;
typedef struct co_listener co_listener;
typedef struct co_pooled co_pooled;
typedef struct co_request co_request;
typedef struct co_shared co_shared;
typedef struct co_shared_watcher co_shared_watcher;

/* The beginning of each request. */
typedef struct {
    struct co_loop *loop;
    uint32_t slot, generation;
    int pooled; /* it is a co_pooled, and listed */
} co_head;

typedef struct co_loop {
    char *records;
    char *arena;
    int32_t *demand;
    uint64_t *status;
    uint32_t handles_created, handles_closed, handles_freed;
    uint32_t requests_created, requests_freed;
    /* private from here on */
    uint64_t clock, room; /* `status` points to them */
    uint32_t count, arena_used, turn;
    co_handle **handles; /* by slot */
    uint32_t slots, last_live_slot;
    co_handle *timers; /* stopped ones, kept for reuse */
    uint32_t timers_kept;
    uint32_t *starved; /* slots of handles that are looked at before libuv polls, see co_starve; there is room for each slot */
    uint32_t starved_count;
    uint32_t writes;       /* queued write requests */
    uint32_t lost_closing; /* handles that have lost their descriptor and are being closed; see descriptors.c */
    int forked, freed, sigpipe_blocked;
    int paused, held; /* how many listeners pause, and how many keep the loop alive; see listeners.c */
    pthread_t thread;
    uv_async_t wakeup;
    uv_poll_t signals;
    uv_timer_t pause_timer; /* see listeners.c */
    uv_timer_t timers_over; /* see turns.c */
    int quiet;              /* nothing is alive in this step */
    uv_timer_t look;        /* see wakeups.c */
    int look_due, looked;
    int woken; /* another thread has asked for the hub's attention, which the hub does not know yet */
    int signals_on;
    co_head **requests; /* by slot */
    uint32_t request_slots;
    co_pooled *pooled; /* requests that the thread pool has */
    co_request *inline_done, **inline_done_end; /* requests that ended as soon as they began */
    co_shared_watcher *shared_watchers;         /* of signals that were watched; see signals.c */
    co_child_watcher *child_watchers;           /* of the children of raw handles; see uvprocess.c */
    int child_watchers_due;                     /* some of these children have ended in this step */
    uint32_t inotify_room, inotify_turn;        /* see watch.c */
    uv_loop_t uv;
} co_loop;

/* What one kind of handles does in its own way. Each file that makes handles has a table for each kind of them, and the
 * handle refers to it: so the files below, which serve all kinds, call those above by these functions alone. NULL stands
 * for nothing to do, unless the function says otherwise. */
struct co_kind {
    uv_handle_type type;
    unsigned int internal : 1;                 /* a timer, a watcher of a signal, a child: the calls for handles refuse it */
    unsigned int owns : 1;                     /* its descriptor is its own: see descriptors.c */
    int (*opened)(co_handle *);                /* it has got its descriptor; returns libuv's code */
    void (*closing)(co_handle *);              /* libuv is about to close it */
    void (*close_begun)(co_handle *);          /* uv_close was called */
    void (*closed)(co_handle *);               /* libuv has closed it */
    void (*ready)(co_handle *);                /* libuv is about to poll, after co_starve */
    void (*vacate)(co_handle *, int fd);       /* another handle is about to poll the number that this one polls */
    void (*failed)(co_handle *, int);          /* its descriptor cannot be polled, with libuv's code; NULL: it is lost */
    void (*forked)(co_handle *);               /* this is the child of a fork */
    void (*revived)(co_handle *);              /* the loop goes on in the child of a fork */
    void (*walk)(co_handle *);                 /* the loop ends: close it; NULL: as any handle is closed */
    co_uv_watcher_t *(*watcher)(co_handle *);  /* what its descriptor is polled with; NULL: libuv's field for that */
};

/* A timer, stream, listener or datagram socket. Only as much of the union as the kind needs is allocated. */
struct co_handle {
    co_loop *loop;
    const co_kind *kind;
    co_handle *next;
    uint32_t slot, generation, turn;
    int error, fd, number;             /* error, number: also how a child has ended */
    int owned;                         /* the descriptor that it owns, or -1; see descriptors.c */
    dev_t device;                      /* the file of its descriptor */
    ino_t inode;
    uint8_t starved : 1;               /* it is listed for the next step */
    uint8_t raw : 1;                   /* one as libuv has it: it counts as alive when libuv says so, see uvhandles.c */
    uint8_t push_mode : 1;             /* a raw one that reads, or accepts, although no coroutine waits */
    uint8_t not_a_socket : 1;          /* a stream on no socket: written with write(2) */
    uint8_t broken : 1;                /* a stream whose reading an error has ended */
    uint8_t shared_tty : 1;            /* a terminal that could not be opened again: others use its open file */
    uint8_t watches_sigchld : 1;       /* a child during whose life SIGCHLD is watched */
    uint8_t simplex : 1;               /* our end of a pipe to a child that only we write to; see shutdown.c */
    uint8_t recverr : 1;               /* a datagram socket whose errors the system queues */
    uint8_t lost : 1;                  /* its descriptor is another file's: libuv has closed it, or does */
    uint8_t closed_by_uv : 1;          /* a lost one that libuv has closed */
    uint8_t closed_by_python : 1;      /* a lost one that Python has closed */
    uint8_t ipv6 : 1, width;           /* of a datagram socket: its family, and how many it takes with one call */
    void (*before_close)(co_handle *); /* called before it is closed */
    void *extra;                       /* for its part's use */
    uint8_t shares_later : 1;          /* when libuv has written what it has to write */
    uint8_t blocks : 1;                /* a listener that a child was given, and expects to block */
    co_shared *shared;                 /* of a stream whose description others use, too, or that blocks; see shared.c */
    co_listener *listener;             /* of a stream that listens; see listeners.c */
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
        uv_process_t process;
        uv_signal_t signal;
        uv_fs_event_t fs_event;
        uv_fs_poll_t fs_poll;
    } u;
};

/* The handle around libuv's part of it. */
#define HANDLE(pointer) ((co_handle *)((char *)(pointer)-offsetof(co_handle, u)))

/* A request that has ended at once, on the handle (slot, generation). */
typedef struct {
    co_request *next;
    uint32_t slot, generation;
} co_inline_done;

struct co_request {
    co_head head;
    union {
        uv_write_t write;
        uv_connect_t connect;
        uv_shutdown_t shutdown;
        co_inline_done inline_done;
    } u;
};

#define REQUEST(pointer, member) ((co_request *)((char *)(pointer)-offsetof(co_request, u.member)))

/* What a request brings beyond its code. Python owns it, and keeps it until the callback; what it does not take out
 * (a descriptor, memory) is released together with it. */
typedef struct {
    int64_t number;
    int fd;       /* -1: none, or taken */
    void *memory; /* from malloc */
    size_t size;
} co_out;

/* ---- the checks of a call ---- */

static inline int co_foreign(co_loop *loop) {
    return !loop || loop->forked || !pthread_equal(loop->thread, pthread_self());
}

/* The handle under a slot, or NULL. */
static inline co_handle *co_find(co_loop *loop, uint32_t slot) { return slot < loop->slots ? loop->handles[slot] : NULL; }

static inline int co_is_stream(const co_handle *handle) {
    uv_handle_type type = handle->u.handle.type;
    return type == UV_TCP || type == UV_NAMED_PIPE || type == UV_TTY;
}

#define ENTER(loop) \
    if (co_foreign(loop)) return CO_FOREIGN
/* Declares `name`, the handle under a slot that is not closing; returns from the function if there is none. */
#define OPEN(name, loop, slot)                \
    ENTER(loop);                              \
    co_handle *name = co_find(loop, slot);    \
    if (!name || name->kind->internal || uv_is_closing(&name->u.handle)) return UV_EBADF
#define OF_TYPE(name, uv_type, loop, slot) \
    OPEN(name, loop, slot);                \
    if (name->u.handle.type != (uv_type)) return UV_EBADF
#define STREAM(name, loop, slot) \
    OPEN(name, loop, slot);      \
    if (!co_is_stream(name)) return UV_EBADF

/* Declares `name`, an open raw handle of a type; what the call starts or stops is of generation `number` from now on. */
#define RAW(name, uv_type, loop, slot) \
    OF_TYPE(name, uv_type, loop, slot); \
    if (!name->raw) return UV_EBADF
#define RENEWED(name, uv_type, loop, slot, number) \
    RAW(name, uv_type, loop, slot);                \
    name->generation = (number)
