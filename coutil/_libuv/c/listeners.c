/* Listeners: sockets at which connections come in.
 *
 * Nothing is accepted ahead. A poll handle watches the socket while a connection is wanted, and accept4(2) is called only
 * for the coroutine, or handler, that takes the connection. All others stay in the system's queue: if the listener is
 * closed, or the process ends, other processes that listen there get them. libuv's uv_listen would accept at once, drop
 * the connection at the close, and (1.45 and newer) keep the errors of accept to itself and try again without end.
 *
 * A record says that the socket may be ready. demand[slot] is CO_MORE if a connection is likely to be there already: the next
 * coroutine calls accept before it waits for anything. Whether it is likely is a guess that costs a system call if it is
 * wrong: `streak` counts steps in a row that brought a connection, and a miss takes sixteen off.
 *
 * A listener that cannot accept pauses, so that no core burns: at once if the process is out of descriptors or memory,
 * else after 64 attempts in 64 ms that failed. One timer of the loop ends all pauses.
 *
 * libuv closes the descriptor of a uv_poll_t's number in the system's set when that handle is closed, even if it polls no
 * more. So a watcher that rests refers to a number that is in no set: see uvpoll.c.
 */

#include <netinet/in.h>
#include <sys/socket.h>

#include "listeners.h"
#include "blocking.h"
#include "descriptors.h"
#include "records.h"

#define CO_PAUSE_MS 100      /* how long a listener pauses */
#define CO_MISS (-16)        /* the streak after an attempt that found nothing: there are to be few of them */
#define CO_FAILURES 64       /* so many attempts that fail in a row, */
#define CO_FAILING 64000000u /* within so many nanoseconds, pause a listener, too */

struct co_listener {
    uv_poll_t poll; /* first */
    co_handle *handle;
    int taken;         /* a connection that has been accepted and is no stream yet; -1: there is none */
    uint32_t accepted; /* the step that accepted the last one */
    int32_t streak;    /* how many of the latest steps have brought a connection, one after the other; less after a miss */
    uint32_t failures; /* attempts in a row that failed, the first of them at `failing` */
    uint64_t failing;
    uint8_t more : 1, paused : 1, held : 1; /* held: it keeps the loop alive */
};

/* ---- watching ---- */

/* Say in demand[slot], unless a coroutine waits, what the next one has to do first. */
static void listener_hint(co_handle *handle) {
    co_listener *listener = handle->listener;
    int32_t *demand = &handle->loop->demand[handle->slot];
    if (*demand > 0) return;
    int more = listener->taken >= 0 || (listener->more && !listener->paused);
    *demand = more ? CO_MORE : uv_is_active((uv_handle_t *)&listener->poll) ? 0 : -1;
}

void co_listener_rest(co_handle *handle) {
    uv_poll_t *poll = &handle->listener->poll;
    if (co_uv_fd(poll) == co_uv_fd(&handle->u.stream)) uv_poll_stop(poll);
    co_uv_set_fd(poll, uv_backend_fd(&handle->loop->uv)); /* see uvpoll.c */
    listener_hint(handle);
}

/* Disarm late: the first event that finds no waiter stops the watching; the connection stays where it is. */
static void on_acceptable(uv_poll_t *uv, int status, int events) {
    co_listener *listener = (co_listener *)uv;
    co_handle *handle = listener->handle;
    co_loop *loop = handle->loop;
    int32_t *demand = &loop->demand[handle->slot];
    (void)events;
    if (handle->turn != loop->turn) {
        listener->streak = loop->turn - listener->accepted == 1 ? listener->streak + 1 : 0;
        int asked = *demand > 0 || (handle->push_mode && listener->taken < 0);
        if (*demand > 0) *demand = 0;
        listener->more = !asked || listener->streak > 1;
        if (asked) {
            handle->turn = loop->turn;
            co_push(loop, handle->slot, handle->generation, 0, 0);
        } else
            status = UV_EAGAIN;
    }
    if (status)
        co_listener_rest(handle); /* libuv has stopped after an error, which accept4 reports */
    else
        listener_hint(handle);
}

static int listener_watch(co_handle *handle) {
    uv_poll_t *poll = &handle->listener->poll;
    if (handle->listener->paused || uv_is_active((uv_handle_t *)poll)) return 0;
    int fd = co_uv_fd(&handle->u.stream);
    co_descriptor_vacate(handle->loop, fd);
    if (!handle->listener) return UV_EBADF; /* the number is another file's */
    co_uv_set_fd(poll, fd);
    int code = uv_poll_start(poll, UV_READABLE, on_acceptable);
    if (code) co_uv_set_fd(poll, uv_backend_fd(&handle->loop->uv)); /* another handle polls it */
    return code;
}

/* Watch for the waiter, or the handler; a record reports an error. */
static void listener_go_on(co_handle *handle) {
    int32_t *demand = &handle->loop->demand[handle->slot];
    int code = 0;
    if (*demand > 0 || (handle->push_mode && handle->listener->taken < 0)) code = listener_watch(handle);
    if (!handle->listener) return; /* lost, which the next step reports */
    if (code) {
        if (*demand > 0) *demand = 0;
        co_push(handle->loop, handle->slot, handle->generation, code, 0);
    }
    listener_hint(handle);
}

int co_listener_start(co_loop *loop, uint32_t slot) {
    LISTENER(handle, loop, slot);
    int code = listener_watch(handle);
    if (!code) loop->demand[slot] = 0;
    return code;
}

/* ---- accepting ---- */

static void on_pause_over(uv_timer_t *uv) {
    co_loop *loop = uv->data;
    for (uint32_t slot = 0; slot < loop->slots && loop->paused; slot++) {
        co_handle *handle = loop->handles[slot];
        if (!handle || !handle->listener || !handle->listener->paused) continue;
        handle->listener->paused = 0;
        loop->paused--;
        listener_go_on(handle);
    }
}

static void listener_pause(co_handle *handle) {
    co_loop *loop = handle->loop;
    co_listener *listener = handle->listener;
    if (!listener->paused) loop->paused++;
    listener->paused = 1;
    listener->more = 0;
    listener->failures = 0;
    co_listener_rest(handle);
    if (!uv_is_active((uv_handle_t *)&loop->pause_timer)) uv_timer_start(&loop->pause_timer, on_pause_over, CO_PAUSE_MS, 0);
}

/* Count an attempt that has failed; returns whether there are so many that the listener pauses now. */
static int listener_failed(co_handle *handle) {
    co_listener *listener = handle->listener;
    uint64_t now = uv_hrtime();
    if (!listener->failures++ || now - listener->failing > CO_FAILING) {
        listener->failures = 1;
        listener->failing = now;
    }
    if (listener->failures < CO_FAILURES) return 0;
    listener_pause(handle);
    return 1;
}

/* Errors of the process, or the machine, that pass when something is given back. */
static int is_shortage(int error) { return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM; }

/* Errors of one connection, which accept(2) reports in place of it: it is gone. */
static int is_passing(int error) {
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM: /* a firewall */
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENETUNREACH:
#ifdef ENONET
    case ENONET:
#endif
        return 1;
    default:
        return 0;
    }
}

/* Returns a descriptor that is no standard stream's, or -1: see errno. */
static int accept_one(const co_handle *handle) {
    int fd = co_uv_fd(&handle->u.stream);
    if (handle->blocks && !co_is_readable(fd)) {
        errno = EAGAIN;
        return -1;
    }
#ifdef SOCK_CLOEXEC
    int made = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
#else
    int made = accept(fd, NULL, NULL);
    if (made >= 0) fcntl(made, F_SETFD, FD_CLOEXEC);
#endif
    if (made < 0 || made >= CO_FIRST_FD) return made;
    int higher = fcntl(made, F_DUPFD_CLOEXEC, CO_FIRST_FD), error = errno;
    close(made);
    errno = error;
    return higher;
}

/* An attempt to accept has failed. Returns 0 if another one may succeed, else libuv's code. `promised`: the system had said
 * that a connection is there. */
static int accept_failed(co_handle *handle, int error, int promised) {
    co_listener *listener = handle->listener;
    int none = error == EAGAIN || error == EWOULDBLOCK;
    if (is_shortage(error)) {
        listener_pause(handle);
        return uv_translate_sys_error(error);
    }
    if (none && listener->more) listener->streak = CO_MISS;
    if (none) listener->more = 0;
    if (!none || promised) listener_failed(handle);
    if (is_passing(error)) return 0;
    return none ? UV_EAGAIN : uv_translate_sys_error(error);
}

/* Accept a connection. Returns 1; 0 if there is one already that is no stream yet; UV_EAGAIN, if there is none, or the
 * listener pauses; or why it cannot. */
int co_listener_try(co_handle *handle) {
    co_listener *listener = handle->listener;
    co_loop *loop = handle->loop;
    int code = 0, promised = handle->turn == loop->turn;
    if (listener->taken >= 0) return 0;
    while (!code && !listener->paused) {
        listener->taken = accept_one(handle);
        code = listener->taken >= 0 ? 1 : accept_failed(handle, errno, promised);
    }
    if (code == 1) {
        listener->failures = 0;
        listener->accepted = loop->turn;
    }
    listener_hint(handle);
    return code ? code : UV_EAGAIN;
}

/* Whether a connection has been accepted and is no stream yet. */
int co_listener_pending(co_handle *handle) { return handle->listener && handle->listener->taken >= 0; }

/* Take the descriptor of that connection out. */
int co_listener_release(co_handle *handle) {
    int fd = handle->listener->taken;
    handle->listener->taken = -1;
    return fd;
}

/* The connection is a stream now, or closed: the next one may come. */
void co_listener_next(co_handle *handle) {
    if (handle->push_mode)
        listener_go_on(handle);
    else
        listener_hint(handle);
}

int co_listener_take(co_loop *loop, uint32_t slot) {
    LISTENER(handle, loop, slot);
    return co_listener_try(handle);
}

/* ---- the life of a listener ---- */

/* A raw one keeps the loop alive, as libuv's do, whether or not it is watched just now. */
void co_listener_hold(co_handle *handle, int hold) {
    co_loop *loop = handle->loop;
    co_listener *listener = handle->listener;
    if (!listener || !handle->raw || listener->held == hold) return;
    listener->held = hold;
    loop->held += hold ? 1 : -1;
    (loop->held ? uv_ref : uv_unref)((uv_handle_t *)&loop->wakeup);
}

/* A socket that was not bound gets a port here, and a handle without a socket gets one. */
static int socket_listen(co_handle *handle, int backlog) {
    uv_stream_t *stream = &handle->u.stream;
    if (handle->u.handle.type == UV_TTY || (handle->u.handle.type == UV_NAMED_PIPE && handle->u.pipe.ipc)) return UV_EINVAL;
    if (handle->u.handle.type == UV_TCP && co_uv_bind_error(stream)) return co_uv_bind_error(stream);
    if (handle->u.handle.type == UV_TCP && co_uv_fd(stream) < 0) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) return uv_translate_sys_error(errno);
        co_uv_set_fd(stream, fd);
    }
    if (co_uv_fd(stream) < 0) return UV_EINVAL;
    int code = listen(co_uv_fd(stream), backlog) ? uv_translate_sys_error(errno) : 0;
    return co_own_after(handle, code);
}

int co_listen(co_loop *loop, uint32_t slot, int backlog) {
    STREAM(handle, loop, slot);
    int code = socket_listen(handle, backlog);
    if (code || handle->listener) return code;
    co_listener *listener = calloc(1, sizeof *listener);
    if (!listener) return UV_ENOMEM;
    code = uv_poll_init(&loop->uv, &listener->poll, co_uv_fd(&handle->u.stream));
    if (code) {
        free(listener);
        return code;
    }
    uv_unref((uv_handle_t *)&listener->poll);
    listener->handle = handle;
    listener->taken = -1;
    listener->accepted = loop->turn - 2;
    handle->listener = listener;
    handle->push_mode = handle->raw;
    co_listener_rest(handle);
    co_listener_hold(handle, uv_has_ref(&handle->u.handle));
    listener_go_on(handle);
    return 0;
}

/* Report connections although no coroutine waits, for a handler, or do so no longer. */
int co_listener_push(co_loop *loop, uint32_t slot, int push_mode) {
    LISTENER(handle, loop, slot);
    handle->push_mode = push_mode;
    listener_go_on(handle);
    return 0;
}

/* What a stream is polled with: a listener is not by its own watcher. */
co_uv_watcher_t *co_listener_watcher(co_handle *stream) {
    return stream->listener ? co_uv_poll_watcher(&stream->listener->poll) : co_uv_watcher(&stream->u.handle);
}

static void on_listener_closed(uv_handle_t *uv) { free(uv); }

/* Before the handle is closed. */
void co_listener_close(co_handle *handle) {
    co_listener *listener = handle->listener;
    if (!listener) return;
    co_listener_hold(handle, 0);
    if (listener->paused) handle->loop->paused--;
    if (listener->taken >= 0) close(listener->taken);
    co_listener_rest(handle);
    handle->listener = NULL;
    uv_close((uv_handle_t *)&listener->poll, on_listener_closed);
}
