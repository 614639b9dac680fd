/* Every use of libuv's private fields: an upgrade of libuv is a review of this file.
 *
 * libuv has no public way to learn which descriptor it polls, to take a descriptor away from a handle, or to go on after a
 * fork. Its headers declare the fields, so that the compiler checks names and types; the assertions check what it does not.
 * What the fields mean was compared with the sources of libuv 1.44.0 to CO_UV_CHECKED. Unless a comment says since when, a
 * field is the same in all of these.
 *
 * - An older libuv, or a libuv 2, is an error: nothing is known about its fields.
 * - A newer libuv 1 is a warning of the compiler (in loop.c) and no more. Version 1 keeps the layout of its structures, for
 *   programs that were compiled before: what has moved or has another name does not compile. A distribution may therefore
 *   build against a release that came out after ours. Run `make test-libuv` with that version, compare the comments below
 *   with its sources, and raise CO_UV_CHECKED.
 * - A library newer than the headers is accepted when the module is imported, an older one is refused (_libuv/__init__.py).
 *
 * A *watcher* is libuv's uv__io_t: a descriptor, the events to poll it for, and a callback. A *queue* is two pointers, to the
 * next node and to the one before; each node is one, too. One that is empty points to itself. (It is `void *[2]` until 1.45,
 * `struct uv__queue` from then on.) */

#pragma once

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define CO_UV_VERSION(major, minor, patch) ((major) << 16 | (minor) << 8 | (patch))
#define CO_UV_CHECKED CO_UV_VERSION(1, 52, 1)

#if UV_VERSION_MAJOR != 1
#error "the private fields of this libuv are not known: coutil needs libuv 1"
#elif UV_VERSION_HEX < CO_UV_VERSION(1, 44, 0)
#error "the private fields of this libuv are not known: coutil needs libuv 1.44 or newer"
#endif
#define CO_UV_IS_CHECKED (UV_VERSION_HEX <= (CO_UV_CHECKED | 0xFF))

#define CO_UV_IS_QUEUE(type, field) \
    _Static_assert(sizeof(((type *)0)->field) == 2 * sizeof(void *), "a queue is two pointers")
CO_UV_IS_QUEUE(uv__io_t, pending_queue);
CO_UV_IS_QUEUE(uv__io_t, watcher_queue);
CO_UV_IS_QUEUE(uv_loop_t, watcher_queue);
CO_UV_IS_QUEUE(uv_loop_t, wq);
CO_UV_IS_QUEUE(struct uv__work, wq);
CO_UV_IS_QUEUE(uv_stream_t, write_queue);
CO_UV_IS_QUEUE(uv_stream_t, write_completed_queue);

/* ---- queues ---- */

static inline int co_uv_queue_empty(const void *queue) { return *(void *const *)queue == queue; }

/* Take a node out of its queue; one that is in none stays as it is. */
static inline void co_uv_queue_remove(void *member) {
    void **node = member, **next = node[0], **before = node[1];
    before[0] = next;
    next[1] = before;
    node[0] = node[1] = node;
}

static inline void co_uv_queue_reset(void *queue) {
    void **head = queue;
    head[0] = head[1] = head;
}

static inline void co_uv_queue_append(void *queue, void *member) {
    void **head = queue, **node = member, **last = head[1];
    node[0] = head;
    node[1] = last;
    last[0] = head[1] = node;
}

/* ---- watchers, and the table in which a loop finds them by descriptor ---- */

typedef uv__io_t co_uv_watcher_t;

/* uv_stream_t, uv_udp_t, uv_poll_t.io_watcher.fd: the descriptor of a handle, -1 if it has none. uv_fileno says the same, but
 * not of a handle that closes, and it looks at the type each time. */
#define co_uv_fd(handle) ((handle)->io_watcher.fd)

/* The same, written: gives a handle a socket that libuv would make later in its own way, takes one away that is not the
 * handle's, and parks an idle uv_poll_t on a number that no file has (see uvpoll.c). */
#define co_uv_set_fd(handle, number) ((handle)->io_watcher.fd = (number))

/* The watcher of a handle; NULL if its kind has none. */
static inline co_uv_watcher_t *co_uv_watcher(uv_handle_t *handle) {
    switch (handle->type) {
    case UV_TCP:
    case UV_NAMED_PIPE:
    case UV_TTY: return &((uv_stream_t *)handle)->io_watcher;
    case UV_UDP: return &((uv_udp_t *)handle)->io_watcher;
    case UV_POLL: return &((uv_poll_t *)handle)->io_watcher;
    default: return NULL;
    }
}

static inline co_uv_watcher_t *co_uv_poll_watcher(uv_poll_t *poll) { return &poll->io_watcher; }

static inline int co_uv_watcher_fd(const co_uv_watcher_t *watcher) { return watcher->fd; }

/* uv__io_t.pevents: the events that the watcher is to be polled for, 0 if it is not to be. */
static inline unsigned int co_uv_watcher_wants(const co_uv_watcher_t *watcher) { return watcher->pevents; }

/* uv__io_t.events: the events that the system polls it for already; libuv compares both before each poll. */
static inline unsigned int co_uv_watcher_has(const co_uv_watcher_t *watcher) { return watcher->events; }
static inline void co_uv_watcher_armed(co_uv_watcher_t *watcher) { watcher->events = watcher->pevents; }

/* uv_loop_t.watchers, nwatchers: the watcher that has a descriptor to itself, or NULL. */
static inline co_uv_watcher_t *co_uv_watcher_at(const uv_loop_t *loop, int fd) {
    return fd >= 0 && (unsigned)fd < loop->nwatchers ? loop->watchers[fd] : NULL;
}

/* Give the descriptor's place in the table to a watcher that polls it. uv_loop_t.nfds: how many places are taken. */
static inline void co_uv_watcher_enter(uv_loop_t *loop, co_uv_watcher_t *watcher) {
    loop->watchers[watcher->fd] = watcher;
    loop->nfds++;
}

/* Have libuv forget what a watcher polls, without using the descriptor, which may be another file's by now. */
static inline void co_uv_watcher_forget(uv_loop_t *loop, co_uv_watcher_t *watcher) {
    co_uv_queue_remove(&watcher->watcher_queue);
    watcher->pevents = watcher->events = 0;
    if (co_uv_watcher_at(loop, watcher->fd) == watcher) {
        loop->watchers[watcher->fd] = NULL;
        loop->nfds--;
    }
    watcher->fd = -1;
}

/* Have libuv not call a watcher back that it has queued for its next turn (uv__io_t.pending_queue). */
static inline void co_uv_watcher_unpend(co_uv_watcher_t *watcher) { co_uv_queue_remove(&watcher->pending_queue); }

/* uv_loop_t.watcher_queue: the watchers whose events have changed since the last poll. Returns the one behind `watcher`, the
 * first one behind NULL; NULL behind the last one. */
static inline co_uv_watcher_t *co_uv_watcher_changed(uv_loop_t *loop, co_uv_watcher_t *watcher) {
    void **queue = (void **)&loop->watcher_queue, **node = watcher ? (void **)&watcher->watcher_queue : queue;
    return node[0] == queue ? NULL : (co_uv_watcher_t *)((char *)node[0] - offsetof(co_uv_watcher_t, watcher_queue));
}

static inline void co_uv_watcher_unchanged(co_uv_watcher_t *watcher) { co_uv_queue_remove(&watcher->watcher_queue); }

/* ---- the loop ---- */

/* uv_loop_t.stop_flag: uv_stop was called. uv_run clears it at its end; one that was set before would skip the poll. */
static inline void co_uv_unstop(uv_loop_t *loop) { loop->stop_flag = 0; }

/* uv_loop_t.timer_heap: a heap whose nodes, three pointers each, are a part of uv_timer_t, between timer_cb and timeout, the
 * time that the timer is due at. (The part has another name since 1.48.) uv_backend_timeout does not do: it rounds, and looks
 * at other handles first. */
#define CO_UV_TIMER_NODE (offsetof(uv_timer_t, timer_cb) + sizeof(uv_timer_cb))
_Static_assert(offsetof(uv_timer_t, timeout) - CO_UV_TIMER_NODE < 4 * sizeof(void *), "a node of the heap is three pointers");

static inline int co_uv_timer_due(const uv_loop_t *loop) {
    const char *first = loop->timer_heap.min;
    return first && ((const uv_timer_t *)(first - CO_UV_TIMER_NODE))->timeout <= uv_now(loop);
}

#ifdef __linux__
/* uv_loop_t.inotify_fd: to ask the system how much waits in its queue. */
static inline int co_uv_inotify_fd(const uv_loop_t *loop) { return loop->inotify_fd; }

/* uv_fs_event_t.wd: the system's number of what is watched; the same for the same directory. */
static inline int co_uv_fs_event_number(const uv_fs_event_t *event) { return event->wd; }
#endif

/* uv_fs_event_t.path: what libuv passes to the callback as the name, or the end of it, where the system gives no name. */
static inline const char *co_uv_fs_event_path(const uv_fs_event_t *event) { return event->path; }

/* uv_async_t.pending: uv_async_send was called, and the callback was not yet. */
static inline int co_uv_async_pending(const uv_async_t *async) { return async->pending; }

/* Send again what was on its way when the process was forked: it went to the parent. */
static inline void co_uv_async_resend(uv_async_t *async) {
    async->pending = 0;
    uv_async_send(async);
}

/* uv_loop_t.backend_fd: stop to poll without the system's knowledge, in the child of a fork, which shares the set with its
 * parent. */
static inline void co_uv_poll_stop_in_child(uv_poll_t *poll) {
    int set = poll->loop->backend_fd;
    poll->loop->backend_fd = -1;
    uv_poll_stop(poll);
    poll->loop->backend_fd = set;
}

/* ---- signals and children ---- */

/* uv_signal_t.caught_signals, dispatched_signals: what was caught before a fork is the parent's; libuv waits to close the
 * handle until both are equal. */
static inline void co_uv_signal_settle(uv_signal_t *signal) { signal->caught_signals = signal->dispatched_signals; }

/* uv_loop_t.child_watcher: libuv's own handle for SIGCHLD, active while it has children. Its callback looks for all children
 * that have ended, takes their status and calls their exit callback; it looks at nothing but its arguments. So it can be
 * called although no signal came: another handler of SIGCHLD may have taken libuv's place. NULL before the first uv_spawn. */
static inline void co_uv_reap_children(uv_loop_t *loop) {
    uv_signal_t *reaper = &loop->child_watcher;
    if (reaper->signal_cb) reaper->signal_cb(reaper, SIGCHLD);
}

static inline void co_uv_forget_children(uv_loop_t *loop) { uv_signal_stop(&loop->child_watcher); }

/* ---- streams ---- */

/* uv_stream_t.connect_req, shutdown_req: a request of that kind is under way. */
static inline int co_uv_is_connecting(const uv_stream_t *stream) { return stream->connect_req != NULL; }
static inline int co_uv_is_shutting_down(const uv_stream_t *stream) { return stream->shutdown_req != NULL; }

/* uv_stream_t.read_cb: libuv reads, and has the callback. */
static inline int co_uv_is_reading(const uv_stream_t *stream) { return stream->read_cb != NULL; }

/* uv_stream_t.write_queue: libuv has no data of ours; write_completed_queue: and no callback that is due. */
static inline int co_uv_writes_nothing(const uv_stream_t *stream) { return co_uv_queue_empty(&stream->write_queue); }
static inline int co_uv_has_called_back(const uv_stream_t *stream) { return co_uv_queue_empty(&stream->write_completed_queue); }

/* uv_stream_t.delayed_error: why uv_tcp_bind failed, which libuv reports when the socket listens or connects. */
static inline int co_uv_bind_error(const uv_stream_t *stream) { return stream->delayed_error; }

/* uv_handle_t.flags: the two bits behind uv_is_readable and uv_is_writable. uv_pipe_open takes a socket for both, and a pipe
 * for what its mode says; one that is neither any longer has to say so. Where the bits mean another thing nothing changes. */
enum { CO_UV_READABLE = 0x4000, CO_UV_WRITABLE = 0x8000 };

static inline void co_uv_set_directions(uv_stream_t *stream, int reads, int writes) {
    unsigned int flags = stream->flags;
    stream->flags = flags & ~((writes ? 0 : CO_UV_WRITABLE) | (reads ? 0 : CO_UV_READABLE));
    if (uv_is_readable(stream) != reads || uv_is_writable(stream) != writes) stream->flags = flags;
}

/* uv_stream_t.accepted_fd: the first descriptor that came with data, which uv_accept has not taken; -1: none. */
static inline int co_uv_accepted_fd(const uv_stream_t *stream) { return stream->accepted_fd; }

/* Take it, if it is the only one; returns 0 if there are more (uv_stream_t.queued_fds), of which libuv moves the next one up.
 * uv_accept would also begin to poll for more data after the last one. */
static inline int co_uv_take_last_accepted(uv_stream_t *stream) {
    if (stream->queued_fds) return 0;
    stream->accepted_fd = -1;
    return 1;
}

/* A TCP handle that libuv does not know, for a call that looks at nothing but its type, loop and descriptor: uv_accept puts a
 * descriptor into it, uv_write2 takes the one out that it sends. The memory is zero. */
static inline void co_uv_stand_in(uv_tcp_t *tcp, uv_loop_t *loop, int fd) {
    tcp->type = UV_TCP;
    tcp->loop = loop;
    tcp->io_watcher.fd = fd;
}

/* ---- the thread pool ---- */

typedef struct uv__work co_uv_work_t;

/* uv_fs_t.file: the descriptor that a call uses. */
static inline int co_uv_fs_fd(const uv_fs_t *fs) { return fs->file; }

/* The pool's part of a request (work_req), NULL if its type has none. `found` is set if a thread has stored a result
 * (uv_fs_t.result, retcode, addrinfo), which then is the result. */
static inline co_uv_work_t *co_uv_work(uv_req_t *request, int *found) {
    *found = 0;
    switch (request->type) {
    case UV_FS:
        *found = ((uv_fs_t *)request)->result != 0;
        return &((uv_fs_t *)request)->work_req;
    case UV_GETADDRINFO:
        *found = ((uv_getaddrinfo_t *)request)->retcode || ((uv_getaddrinfo_t *)request)->addrinfo;
        return &((uv_getaddrinfo_t *)request)->work_req;
    case UV_GETNAMEINFO:
        *found = ((uv_getnameinfo_t *)request)->retcode != 0;
        return &((uv_getnameinfo_t *)request)->work_req;
    case UV_RANDOM: return &((uv_random_t *)request)->work_req;
    case UV_WORK: return &((uv_work_t *)request)->work_req;
    default: return NULL;
    }
}

/* uv__work.work: the function of the pool, NULL as soon as a thread has returned from it. */
static inline int co_uv_work_runs(co_uv_work_t *work) { return __atomic_load_n(&work->work, __ATOMIC_ACQUIRE) != NULL; }

/* uv__work.done: the function of the loop; NULL if the request was never queued. */
static inline int co_uv_work_is_queued(const co_uv_work_t *work) { return work->done != NULL; }

/* uv_loop_t.wq: requests that the pool has finished; the next turn calls them back. */
static inline void co_uv_work_finished(uv_loop_t *loop, co_uv_work_t *work) { co_uv_queue_append(&loop->wq, &work->wq); }

static inline void co_uv_on_work_canceled(co_uv_work_t *work, int status) {
    void (*done)(co_uv_work_t *, int) = (void (*)(co_uv_work_t *, int))(void (*)(void))work->work;
    (void)status;
    done(work, UV_ECANCELED);
}

/* Have a request call back as one that was cancelled. In the pool there is nothing left to call, so `work` keeps `done`. */
static inline void co_uv_work_cancel(co_uv_work_t *work) {
    work->work = (void (*)(co_uv_work_t *))(void (*)(void))work->done;
    work->done = co_uv_on_work_canceled;
}

/* Build the list anew in the child of a fork: a thread of the parent may have been amid changing it, or have its lock
 * (uv_loop_t.wq_mutex). */
static inline void co_uv_work_reset(uv_loop_t *loop) {
    uv_mutex_init(&loop->wq_mutex);
    co_uv_queue_reset(&loop->wq);
}

/* uv_loop_t.wq_async: have the next turn look at the list. */
static inline void co_uv_work_announce(uv_loop_t *loop) { co_uv_async_resend(&loop->wq_async); }

/* uv_fs_poll_t.poll_ctx: what libuv has for each start; not NULL as long as one of them is under way. */
static inline int co_uv_fs_poll_is_busy(const uv_fs_poll_t *poll) { return poll->poll_ctx != NULL; }

/* The beginning of that, as fs-poll.c has it: its own timer is active, or else its own request is in the pool. */
typedef struct co_uv_poll_context co_uv_poll_context;
struct co_uv_poll_context {
    uv_fs_poll_t *handle;
    int busy;
    unsigned int interval;
    uint64_t begin;
    uv_loop_t *loop;
    uv_fs_poll_cb done;
    uv_timer_t timer;
    uv_fs_t request;
    uv_stat_t before;
    co_uv_poll_context *previous;
};

/* In the child of a fork: ask the system here what a thread of the pool was about to ask it. Contexts that look otherwise
 * are another libuv's, and left alone. */
static inline void co_uv_fs_poll_revive(uv_fs_poll_t *poll) {
    for (co_uv_poll_context *one = poll->poll_ctx; one; one = one->previous) {
        uv_handle_t *timer = (uv_handle_t *)&one->timer;
        co_uv_work_t *work = &one->request.work_req;
        if (one->handle != poll || one->loop != poll->loop || one->request.fs_type != UV_FS_STAT) return;
        if (uv_is_active(timer) || uv_is_closing(timer) || !work->done) continue;
        if (work->work) work->work(work);
        work->work = NULL;
        co_uv_work_finished(poll->loop, work);
    }
}
