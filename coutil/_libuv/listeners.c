/* Listeners: sockets at which connections come in.
 *
 * Nothing is accepted ahead. A poll handle watches the socket while a connection is wanted, and accept4(2) is called only
 * for the coroutine, or handler, that takes the connection. What nobody takes stays in the system's queue: closing the
 * listener, or ending the process, leaves it to whoever else listens there. libuv's uv_listen would accept at once, drop
 * the connection at the close, and (1.45 and newer) keep the errors of accept to itself and try again for ever.
 *
 * A record says that the socket may be ready. want[slot] is CO_MORE if a connection is likely to be there already: it
 * is accepted before anything is waited for. A listener that cannot accept is muted: it rests, so that no core burns.
 */

#define CO_MORE (-2)         /* want[slot]: not armed, or armed, and worth an attempt */
#define CO_MUTED_MS 100      /* how long a listener rests when the process is out of descriptors or memory */
#define CO_MISS (-16)        /* the streak after an attempt that found nothing: there are to be few of them */
#define CO_FAILURES 64       /* so many attempts that fail in a row, */
#define CO_FAILING 64000000u /* within so many nanoseconds, mute a listener, too */

struct co_listener {
    uv_poll_t poll;
    co_handle *handle;
    int taken;         /* a connection that has been accepted and is no stream yet; -1: there is none */
    uint32_t accepted; /* the step that accepted the last one */
    int32_t streak;    /* how many of the latest steps have brought a connection, one after the other; less after a miss */
    uint32_t failures; /* attempts in a row that failed, the first of them at `failing` */
    uint64_t failing;
    uint8_t more : 1, muted : 1, held : 1; /* held: it keeps the loop alive */
};

/* Declares `name`, a handle that listens; returns from the function if it does not. */
#define LISTENER(name, loop, slot) \
    STREAM(name, loop, slot);      \
    if (!name->listener) return UV_EINVAL

/* ---- watching ---- */

/* Say in want[slot], unless a coroutine waits, what the next one has to do first. */
static void listener_hint(co_handle *handle) {
    co_listener *listener = handle->listener;
    int32_t *want = &handle->loop->want[handle->slot];
    if (*want > 0) return;
    int more = listener->taken >= 0 || (listener->more && !listener->muted);
    *want = more ? CO_MORE : uv_is_active((uv_handle_t *)&listener->poll) ? 0 : -1;
}

static void listener_rest(co_handle *handle) {
    uv_poll_t *poll = &handle->listener->poll;
    if (poll->io_watcher.fd == handle->u.stream.io_watcher.fd) uv_poll_stop(poll);
    poll->io_watcher.fd = uv_backend_fd(&handle->loop->uv); /* see poll.c */
    listener_hint(handle);
}

/* Disarm late: the first event that finds nobody waiting stops the watching; the connection stays where it is. */
static void on_acceptable(uv_poll_t *uv, int status, int events) {
    co_listener *listener = (co_listener *)uv;
    co_handle *handle = listener->handle;
    co_loop *loop = handle->loop;
    int32_t *want = &loop->want[handle->slot];
    (void)events;
    if (handle->turn != loop->turn) {
        listener->streak = loop->turn - listener->accepted == 1 ? listener->streak + 1 : 0;
        int asked = *want > 0 || (handle->flowing && listener->taken < 0);
        if (*want > 0) *want = 0;
        listener->more = !asked || listener->streak > 1;
        if (asked) {
            handle->turn = loop->turn;
            push(loop, handle->slot, handle->generation, 0, 0);
        } else
            status = UV_EAGAIN;
    }
    if (status)
        listener_rest(handle); /* libuv has stopped after an error, which accept4 tells */
    else
        listener_hint(handle);
}

static int listener_watch(co_handle *handle) {
    uv_poll_t *poll = &handle->listener->poll;
    if (handle->listener->muted || uv_is_active((uv_handle_t *)poll)) return 0;
    int fd = handle->u.stream.io_watcher.fd;
    descriptor_vacate(handle->loop, fd);
    if (!handle->listener) return UV_EBADF; /* the number is another file's */
    poll->io_watcher.fd = fd;
    int code = uv_poll_start(poll, UV_READABLE, on_acceptable);
    if (code) poll->io_watcher.fd = uv_backend_fd(&handle->loop->uv); /* another handle polls it */
    return code;
}

/* Watch for whoever wants a connection; an error is told as a record. */
static void listener_go_on(co_handle *handle) {
    int32_t *want = &handle->loop->want[handle->slot];
    int code = 0;
    if (*want > 0 || (handle->flowing && handle->listener->taken < 0)) code = listener_watch(handle);
    if (!handle->listener) return; /* lost, which the next step tells */
    if (code) {
        if (*want > 0) *want = 0;
        push(handle->loop, handle->slot, handle->generation, code, 0);
    }
    listener_hint(handle);
}

int co_listener_start(co_loop *loop, uint32_t slot) {
    LISTENER(handle, loop, slot);
    int code = listener_watch(handle);
    if (!code) loop->want[slot] = 0;
    return code;
}

/* ---- accepting ---- */

static void on_unmute(uv_timer_t *uv) {
    co_loop *loop = uv->data;
    for (uint32_t slot = 0; slot < loop->slots && loop->muted; slot++) {
        co_handle *handle = loop->handles[slot];
        if (!handle || !handle->listener || !handle->listener->muted) continue;
        handle->listener->muted = 0;
        loop->muted--;
        listener_go_on(handle);
    }
}

static void listener_mute(co_handle *handle) {
    co_loop *loop = handle->loop;
    co_listener *listener = handle->listener;
    if (!listener->muted) loop->muted++;
    listener->muted = 1;
    listener->more = 0;
    listener->failures = 0;
    listener_rest(handle);
    if (!uv_is_active((uv_handle_t *)&loop->unmute)) uv_timer_start(&loop->unmute, on_unmute, CO_MUTED_MS, 0);
}

/* Count an attempt that has failed; returns whether there are so many that the listener is muted now. */
static int listener_failed(co_handle *handle) {
    co_listener *listener = handle->listener;
    uint64_t now = uv_hrtime();
    if (!listener->failures++ || now - listener->failing > CO_FAILING) {
        listener->failures = 1;
        listener->failing = now;
    }
    if (listener->failures < CO_FAILURES) return 0;
    listener_mute(handle);
    return 1;
}

/* Errors of the process, or the machine, that pass when something is given back. */
static int is_shortage(int error) { return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM; }

/* Errors of one connection, which accept(2) tells in place of it: it is gone. */
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
    int fd = handle->u.stream.io_watcher.fd;
    if (handle->blocks && !is_readable(fd)) {
        errno = EAGAIN;
        return -1;
    }
#ifdef SOCK_CLOEXEC
    int made = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
#else
    int made = accept(fd, NULL, NULL);
    if (made >= 0) fcntl(made, F_SETFD, FD_CLOEXEC);
#endif
    if (made < 0 || made >= CO_FIRST) return made;
    int higher = fcntl(made, F_DUPFD_CLOEXEC, CO_FIRST), error = errno;
    close(made);
    errno = error;
    return higher;
}

/* Accept a connection. Returns 1; 0 if there is one already that is no stream yet; UV_EAGAIN, if there is none; an error
 * for want of something, after which the listener is muted; or one that says something about the listener. */
static int listener_take(co_handle *handle) {
    co_listener *listener = handle->listener;
    co_loop *loop = handle->loop;
    int code = UV_EAGAIN, promised = handle->turn == loop->turn;
    if (listener->taken >= 0) return 0;
    while (!listener->muted) {
        listener->taken = accept_one(handle);
        if (listener->taken >= 0) {
            listener->failures = 0;
            listener->accepted = loop->turn;
            code = 1;
            break;
        }
        int error = errno;
        if (is_shortage(error)) {
            listener_mute(handle);
            code = uv_translate_sys_error(error);
            break;
        }
        int none = error == EAGAIN || error == EWOULDBLOCK;
        if (none && listener->more) listener->streak = CO_MISS;
        if (none) listener->more = 0;
        if (!none || promised) listener_failed(handle);
        if (is_passing(error)) continue;
        if (!none) code = uv_translate_sys_error(error);
        break;
    }
    listener_hint(handle);
    return code;
}

/* Whether a connection has been accepted and is no stream yet. */
static int listener_pending(co_handle *handle) { return handle->listener && handle->listener->taken >= 0; }

int co_listener_take(co_loop *loop, uint32_t slot) {
    LISTENER(handle, loop, slot);
    return listener_take(handle);
}

static int stream_open(co_handle *stream, int fd) {
    return stream->u.handle.type == UV_TCP ? uv_tcp_open(&stream->u.tcp, fd) : uv_pipe_open(&stream->u.pipe, fd);
}

/* Make a stream of the connection that was taken. If libuv refuses the descriptor, the connection is closed. */
static int listener_give(co_handle *handle, co_handle *stream) {
    int fd = handle->listener->taken, code = stream_open(stream, fd);
    handle->listener->taken = -1;
    if (code)
        close(fd);
    else
        code = owned(stream, 0);
    if (handle->flowing)
        listener_go_on(handle);
    else
        listener_hint(handle);
    return code;
}

/* Forget a handle that Python does not know. */
static void on_discarded(uv_handle_t *uv) {
    co_handle *handle = HANDLE(uv);
    handle->loop->handles_freed++;
    free(handle);
}

static void handle_discard(co_handle *handle) {
    handle->loop->handles[handle->slot] = NULL;
    handle->loop->handles_closed++;
    uv_close(&handle->u.handle, on_discarded);
}

/* Make a new stream, under `slot`, of the connection that co_listener_take has taken. share: of a Unix socket. */
int co_accept(co_loop *loop, uint32_t at, uint32_t slot, uint32_t generation, int share) {
    LISTENER(handle, loop, at);
    co_handle *stream = NULL;
    if (!listener_pending(handle)) return UV_EAGAIN;
    int is_tcp = handle->u.handle.type == UV_TCP;
    int code = is_tcp ? tcp_open(loop, slot, generation, AF_UNSPEC, &stream)
                      : co_local_new(loop, slot, generation, share);
    if (code) return code; /* the connection waits for the next attempt */
    stream = find(loop, slot);
    code = listener_give(handle, stream);
    if (code) handle_discard(stream);
    return code;
}

/* Take a connection into a stream of the same kind that has no socket yet. */
int co_raw_accept(co_loop *loop, uint32_t at, uint32_t slot) {
    STREAM(handle, loop, at);
    if (handle->u.handle.type == UV_NAMED_PIPE && handle->u.pipe.ipc) return co_raw_take(loop, at, slot);
    STREAM(stream, loop, slot);
    if (!handle->listener) return UV_EAGAIN;
    if (!stream->raw) return UV_EBADF;
    if (stream->u.handle.type != handle->u.handle.type) return UV_EINVAL;
    if (stream->u.stream.io_watcher.fd >= 0) return UV_EBUSY;
    int code = listener_take(handle);
    return code < 0 ? code : listener_give(handle, stream);
}

/* ---- the life of a listener ---- */

/* A raw one keeps the loop alive, as libuv's do, whether or not it is watched just now. */
static void listener_hold(co_handle *handle, int hold) {
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
    if (handle->u.handle.type == UV_TCP && stream->delayed_error) return stream->delayed_error; /* of bind */
    if (handle->u.handle.type == UV_TCP && stream->io_watcher.fd < 0) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) return uv_translate_sys_error(errno);
        stream->io_watcher.fd = fd;
    }
    if (stream->io_watcher.fd < 0) return UV_EINVAL;
    int code = listen(stream->io_watcher.fd, backlog) ? uv_translate_sys_error(errno) : 0;
    return owned(handle, code);
}

int co_listen(co_loop *loop, uint32_t slot, int backlog) {
    STREAM(handle, loop, slot);
    int code = socket_listen(handle, backlog);
    if (code || handle->listener) return code;
    co_listener *listener = calloc(1, sizeof *listener);
    if (!listener) return UV_ENOMEM;
    code = uv_poll_init(&loop->uv, &listener->poll, handle->u.stream.io_watcher.fd);
    if (code) {
        free(listener);
        return code;
    }
    uv_unref((uv_handle_t *)&listener->poll);
    listener->handle = handle;
    listener->taken = -1;
    listener->accepted = loop->turn - 2;
    handle->listener = listener;
    handle->flowing = handle->raw;
    listener_rest(handle);
    listener_hold(handle, uv_has_ref(&handle->u.handle));
    listener_go_on(handle);
    return 0;
}

/* Have no handler told of connections, for there is none, or again. */
int co_listener_flow(co_loop *loop, uint32_t slot, int flow) {
    LISTENER(handle, loop, slot);
    handle->flowing = flow;
    listener_go_on(handle);
    return 0;
}

/* What it is watched with, or NULL. */
static uv__io_t *listener_watcher(co_handle *handle) {
    return handle->listener ? &handle->listener->poll.io_watcher : NULL;
}

static void on_listener_closed(uv_handle_t *uv) { free(uv); }

/* Before the handle is closed. */
static void listener_close(co_handle *handle) {
    co_listener *listener = handle->listener;
    if (!listener) return;
    listener_hold(handle, 0);
    if (listener->muted) handle->loop->muted--;
    if (listener->taken >= 0) close(listener->taken);
    listener_rest(handle);
    handle->listener = NULL;
    uv_close((uv_handle_t *)&listener->poll, on_listener_closed);
}
