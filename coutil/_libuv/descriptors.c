/* The descriptors of handles: who owns which, whether a number still means the same file, and the polling of it.
 *
 * One table for all loops of the process tells the owner of each descriptor. An owner remembers the file (its device and
 * inode). A number that was closed behind the owner's back, by os.close() perhaps, may be another file's by now: so the
 * file is compared before the number is polled, before it is closed, and before another handle takes it. An owner that
 * has lost its descriptor is closed as far as libuv is concerned: its waiter and its requests are told EBADF.
 *
 * Between these moments nothing is noticed: the system forgets a closed descriptor without a word, and calls that do not
 * poll (send, a look at an option) take the number as it is. Two descriptors of one terminal, or of files that have no
 * inode of their own (event counters, sets to poll), look the same.
 *
 * This is the one file that changes libuv's own fields of watchers and loops: `watchers`, `nfds`, `watcher_queue`,
 * `pevents` and `events` mean the same in libuv 1.44 to 1.52; a queue is two pointers, to the next node and to the one
 * before. Compiling fails where they are missing. */

#include <poll.h>

#if UV_VERSION_MAJOR != 1
#error "the fields of watchers are known for libuv 1 only"
#endif

static pthread_mutex_t owning = PTHREAD_MUTEX_INITIALIZER;
static co_handle **owners; /* by descriptor */
static int owners_room;

/* The child of a fork owns nothing until it revives a loop. The lock may be another thread's, which does not exist here. */
static void owners_forked(void) {
    pthread_mutex_init(&owning, NULL);
    if (owners) memset(owners, 0, (size_t)owners_room * sizeof *owners);
}

__attribute__((constructor)) static void owners_watch_forks(void) { pthread_atfork(NULL, NULL, owners_forked); }

/* What libuv polls a handle's descriptor with; NULL if its kind has none. */
static uv__io_t *watcher_of(co_handle *handle) {
    switch (handle->u.handle.type) {
    case UV_TCP:
    case UV_NAMED_PIPE:
    case UV_TTY: return &handle->u.stream.io_watcher;
    case UV_UDP: return &handle->u.udp.io_watcher;
    case UV_POLL: return &handle->u.poll.io_watcher;
    default: return NULL;
    }
}

/* The same, of a socket that listens the one that it is polled with. */
static uv__io_t *polled_with(co_handle *handle) {
    uv__io_t *watcher = listener_watcher(handle);
    return watcher ? watcher : watcher_of(handle);
}

/* Whether a watcher has its number to itself in libuv's list. */
static uv__io_t *watcher_at(const uv_loop_t *uv, int fd) {
    return fd >= 0 && (unsigned)fd < uv->nwatchers ? uv->watchers[fd] : NULL;
}

/* ---- which file it is ---- */

/* Remember the file of a descriptor. Returns 0, or libuv's code. */
static int file_note(co_handle *handle, int fd) {
    struct stat file;
    if (fstat(fd, &file)) return uv_translate_sys_error(errno);
    handle->device = file.st_dev;
    handle->inode = file.st_ino;
    return 0;
}

static int is_same_file(const co_handle *handle, int fd) {
    struct stat file;
    return !fstat(fd, &file) && file.st_dev == handle->device && file.st_ino == handle->inode;
}

/* The owner of a descriptor, or NULL; for the caller that holds the lock. */
static co_handle *owner_at(int fd) { return fd >= 0 && fd < owners_room ? owners[fd] : NULL; }

static int owners_grow(int fd) {
    int room = owners_room ? owners_room : 256;
    while (room <= fd) room *= 2;
    if (room == owners_room) return 0;
    co_handle **grown = realloc(owners, (size_t)room * sizeof *owners);
    if (!grown) return UV_ENOMEM;
    memset(grown + owners_room, 0, (size_t)(room - owners_room) * sizeof *owners);
    owners = grown;
    owners_room = room;
    return 0;
}

/* Whether a handle, in whatever loop, owns a descriptor. */
static int is_owned(int fd) {
    pthread_mutex_lock(&owning);
    co_handle *owner = owner_at(fd);
    int owned = owner && is_same_file(owner, fd);
    pthread_mutex_unlock(&owning);
    return owned;
}

int co_is_owned(int fd) { return is_owned(fd); }

/* Own it no more. Returns whether the number is still the handle's, as far as can be known. */
static int disown(co_handle *handle) {
    int fd = handle->owned;
    if (fd < 0) return 1;
    pthread_mutex_lock(&owning);
    int ours = owner_at(fd) == handle;
    if (ours) owners[fd] = NULL;
    pthread_mutex_unlock(&owning);
    handle->owned = -1;
    return ours && is_same_file(handle, fd);
}

/* ---- losing it ---- */

/* Have libuv forget what a watcher polls, without touching the descriptor. */
static void watcher_forget(uv_loop_t *uv, uv__io_t *watcher) {
    void **node = (void **)&watcher->watcher_queue, **next = node[0], **before = node[1];
    before[0] = next;
    next[1] = before;
    node[0] = node[1] = node;
    watcher->pevents = watcher->events = 0;
    if (watcher_at(uv, watcher->fd) == watcher) {
        uv->watchers[watcher->fd] = NULL;
        uv->nfds--;
    }
    watcher->fd = -1;
}

/* The descriptor of a handle is gone. The next step tells the waiter; libuv ends the requests with ECANCELED, which is
 * told as EBADF. The memory stays until Python closes the handle. */
static void handle_lose(co_handle *handle) {
    if (handle->lost || uv_is_closing(&handle->u.handle)) return;
    handle->lost = 1;
    disown(handle);
    if (handle->listener) {
        watcher_forget(&handle->loop->uv, listener_watcher(handle));
        listener_close(handle);
    }
    watcher_forget(&handle->loop->uv, watcher_of(handle));
    refuse(handle);
    uv_close(&handle->u.handle, on_close);
    shared_leave(handle);
}

/* In the next step: tell who waits for a lost handle, and end one that Python has closed. */
static void lost_serve(co_handle *handle) {
    co_loop *loop = handle->loop;
    int32_t *want = &loop->want[handle->slot];
    if (handle->left) {
        if (handle->gone) handle_over(handle);
        return;
    }
    if (*want > 0 || handle->flowing) push(loop, handle->slot, handle->generation, UV_EBADF, 0);
    handle->flowing = 0;
    *want = -1;
}

/* Python closes a lost handle. */
static int lost_close(co_handle *handle) {
    co_loop *loop = handle->loop;
    if (handle->left) return UV_EBADF;
    handle->left = 1;
    loop->want[handle->slot] = -1;
    loop->handles_closed++;
    loop->leaving++;
    if (handle->ending) handle->ending(handle);
    refuse(handle);
    return 0;
}

/* The loop is closed: free what libuv has done with, and have on_close free the others. */
static void lost_leave(co_loop *loop) {
    for (uint32_t slot = 0; slot < loop->slots; slot++) {
        co_handle *handle = loop->handles[slot];
        if (!handle || !handle->lost) continue;
        if (!handle->left) lost_close(handle);
        if (handle->gone) handle_over(handle);
    }
}

/* What a request on a handle has come to. */
static int told(co_handle *handle, int status) { return status == UV_ECANCELED && handle->lost ? UV_EBADF : status; }

/* ---- who polls it ---- */

/* Another handle of the loop polls the descriptor that this one is about to poll: libuv would not tell this one. */
static int is_watched(co_handle *handle) {
    uv__io_t *watcher = watcher_of(handle), *other = watcher_at(&handle->loop->uv, watcher->fd);
    if (handle->listener && !uv_is_readable(&handle->u.stream) && !uv_is_writable(&handle->u.stream)) return 0; /* libuv refuses */
    return other && other != watcher ? UV_EEXIST : 0;
}

/* The handle of a watcher; NULL if it is not of one. */
static co_handle *handle_at(co_loop *loop, uv__io_t *watcher) {
    for (uint32_t slot = 0; slot < loop->slots; slot++) {
        co_handle *handle = loop->handles[slot];
        if (handle && polled_with(handle) == watcher) return handle;
    }
    return NULL;
}

/* A handle is about to poll a number that is in libuv's list: an owner that has lost it leaves the list, and a stream that
 * reads on although its waiter has gone stops that. */
static void descriptor_vacate(co_loop *loop, int fd) {
    uv__io_t *watcher = watcher_at(&loop->uv, fd);
    if (!watcher) return;
    pthread_mutex_lock(&owning);
    co_handle *owner = owner_at(fd);
    int ours = owner && owner->loop == loop, same = ours && is_same_file(owner, fd);
    pthread_mutex_unlock(&owning);
    if (!ours || watcher != polled_with(owner)) {
        poll_vacate(handle_at(loop, watcher), fd);
        return;
    }
    if (!same)
        handle_lose(owner);
    else if (owner->listener && loop->want[owner->slot] == 0 && !owner->flowing)
        listener_rest(owner);
    else if (!owner->listener && loop->want[owner->slot] == 0 && !owner->flowing && watcher->pevents == POLLIN)
        disarm(owner);
}

/* ---- owning ---- */

static int early_apply(co_handle *tcp);

/* A handle has got its descriptor, perhaps. Returns 0, or why an option that was kept for that could not be set. If the number was another handle's, that one has lost it: the system gives
 * a number once. libuv may have begun to poll the new one while the old one was in its list. */
static int own(co_handle *handle) {
    uv__io_t *watcher = watcher_of(handle);
    uv_loop_t *uv = &handle->loop->uv;
    if (!watcher || handle->u.handle.type == UV_POLL || watcher->fd < 0 || handle->owned == watcher->fd) return 0;
    int fd = watcher->fd;
    co_handle *before = NULL;
    if (handle->owned >= 0) disown(handle);
    if (is_watched(handle)) descriptor_vacate(handle->loop, fd);
    pthread_mutex_lock(&owning);
    if (!owners_grow(fd) && !file_note(handle, fd)) {
        before = owners[fd];
        owners[fd] = handle;
        handle->owned = fd;
        if (before && before->loop != handle->loop) before = NULL; /* its thread will notice */
    }
    pthread_mutex_unlock(&owning);
    if (before) handle_lose(before);
    if (watcher->pevents && !watcher_at(uv, fd)) {
        uv->watchers[fd] = watcher;
        uv->nfds++;
    }
    return handle->u.handle.type == UV_TCP ? early_apply(handle) : 0;
}

/* Passes libuv's code on, of a call that may have made the handle's socket; or why what was kept for that failed. */
static int owned(co_handle *handle, int code) {
    int failed = handle->owned < 0 ? own(handle) : 0;
    return code ? code : failed;
}

/* libuv has started a program, or has tried, and may have opened pipes for it. */
static void own_pipes(const uv_stdio_container_t *stdio, int count) {
    for (int i = 0; i < count; i++)
        if (stdio[i].flags & UV_CREATE_PIPE) own(HANDLE(stdio[i].data.stream));
}

/* Before libuv closes a handle: it must not close a number that is another file's by now. */
static void descriptor_leave(co_handle *handle) {
    if (!disown(handle)) watcher_forget(&handle->loop->uv, watcher_of(handle));
}

/* Whether the number is another file's by now. */
static int is_replaced(const co_handle *handle) { return handle->owned >= 0 && !is_same_file(handle, handle->owned); }

/* Before libuv writes at once, which polls nothing, and before it reads from a terminal, which its other descriptor keeps in
 * the system's set. Returns UV_EBADF if the number is another file's by now. */
static int descriptor_check(co_handle *handle) {
    if (!is_replaced(handle)) return 0;
    handle_lose(handle);
    return UV_EBADF;
}

/* In the child of a fork, whose loop goes on. */
static void owners_revive(co_loop *loop) {
    for (uint32_t slot = 0; slot < loop->slots; slot++)
        if (loop->handles[slot]) {
            loop->handles[slot]->owned = -1;
            own(loop->handles[slot]);
        }
}

/* Whether a descriptor may not be closed: libuv would abort the process sooner or later, or poll another file. */
static int is_in_use(uv_loop_t *uv, int fd) {
    co_loop *loop = uv ? uv->data : NULL;
    if (is_owned(fd)) return 1;
    if (!loop) return 0;
    descriptor_vacate(loop, fd);
    return watcher_at(uv, fd) || fd == uv_backend_fd(uv);
}

/* ---- telling the system what to poll ---- */

/* A descriptor cannot be polled any more. Of a watcher that belongs to no handle libuv will hear by itself. */
static void watcher_fail(co_loop *loop, uv__io_t *watcher, int code) {
    co_handle *handle = handle_at(loop, watcher);
    if (!handle) return;
    if (handle->u.handle.type != UV_POLL)
        handle_lose(handle);
    else if (handle->raw)
        poll_tell(handle, code);
    else
        handle->u.poll.poll_cb(&handle->u.poll, UV_EBADF, 0);
}

#ifdef __linux__

/* Whether the owner of a number, which the system has just begun to poll, has lost it to the file that is polled now. */
static int is_stolen(uv__io_t *watcher) {
    pthread_mutex_lock(&owning);
    co_handle *owner = owner_at(watcher->fd);
    int stolen = owner && polled_with(owner) == watcher && !is_same_file(owner, watcher->fd);
    pthread_mutex_unlock(&owning);
    return stolen;
}

/* What libuv would do, which aborts if it fails. The set knows files: one that it polls already is the same as ever, and
 * the others are compared. */
static int watcher_arm(int set, uv__io_t *watcher) {
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    event.events = watcher->pevents;
    event.data.fd = watcher->fd;
    int added = !watcher->events && !epoll_ctl(set, EPOLL_CTL_ADD, watcher->fd, &event);
    if (!added && !watcher->events && errno != EEXIST) return uv_translate_sys_error(errno);
    if (!added && epoll_ctl(set, EPOLL_CTL_MOD, watcher->fd, &event)) return UV_EBADF;
    watcher->events = watcher->pevents;
    if (!added || !is_stolen(watcher)) return 0;
    epoll_ctl(set, EPOLL_CTL_DEL, watcher->fd, &event);
    return UV_EBADF;
}

/* Before libuv polls: tell the system what is to be polled, in libuv's place. */
static void watchers_arm(co_loop *loop) {
    void **queue = (void **)&loop->uv.watcher_queue;
    while (queue[0] != queue) {
        void **node = queue[0], **next = node[0];
        uv__io_t *watcher = (uv__io_t *)((char *)node - offsetof(uv__io_t, watcher_queue));
        queue[0] = next;
        next[1] = queue;
        node[0] = node[1] = node;
        if (watcher_at(&loop->uv, watcher->fd) != watcher) continue; /* another one polls it */
        int code = watcher_arm(uv_backend_fd(&loop->uv), watcher);
        if (code) watcher_fail(loop, watcher, code);
    }
}

#else

/* Before libuv polls: take out of its queue what has lost its descriptor. */
static void watchers_arm(co_loop *loop) {
    void **queue = (void **)&loop->uv.watcher_queue;
    for (void **node = queue[0], **next; node != queue; node = next) {
        uv__io_t *watcher = (uv__io_t *)((char *)node - offsetof(uv__io_t, watcher_queue));
        co_handle *handle = handle_at(loop, watcher);
        next = node[0];
        int gone = handle && handle->owned >= 0 ? !is_same_file(handle, handle->owned) : fcntl(watcher->fd, F_GETFD) < 0;
        if (gone) watcher_fail(loop, watcher, UV_EBADF);
    }
}

#endif
