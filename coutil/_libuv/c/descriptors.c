/* The descriptors of handles: which handle owns which, whether a number still means the same file, and the polling of it.
 *
 * One table for all loops of the process has the owner of each descriptor. An owner remembers the file (its device and
 * inode). A number that was closed behind the owner's back, by os.close() perhaps, may be another file's by now: so the
 * file is compared before the number is polled, before it is closed, and before another handle takes it. An owner that
 * has lost its descriptor is closed as far as libuv is concerned: its waiter and its requests end with EBADF.
 *
 * Between these moments nothing is noticed: the system forgets a closed descriptor without a word, and calls that do not
 * poll (send, a look at an option) take the number as it is. Two descriptors of one terminal, or of files that have no
 * inode of their own (event counters, sets to poll), look the same.
 */

#ifdef __linux__
#include <sys/epoll.h>
#endif
#include <sys/stat.h>

#include "descriptors.h"
#include "records.h"
#include "slots.h"

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
static co_uv_watcher_t *watcher_of(co_handle *handle) { return co_uv_watcher(&handle->u.handle); }

/* The same; of a socket that listens, what it is watched with in its place. */
static co_uv_watcher_t *polled_with(co_handle *handle) {
    return handle->kind->watcher ? handle->kind->watcher(handle) : watcher_of(handle);
}

/* ---- which file it is ---- */

/* Remember the file of a descriptor. Returns 0, or libuv's code. */
int co_file_note(co_handle *handle, int fd) {
    struct stat file;
    if (fstat(fd, &file)) return uv_translate_sys_error(errno);
    handle->device = file.st_dev;
    handle->inode = file.st_ino;
    return 0;
}

int co_is_same_file(const co_handle *handle, int fd) {
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

/* Whether a handle, of any loop, owns a descriptor. */
int co_is_owned(int fd) {
    pthread_mutex_lock(&owning);
    co_handle *owner = owner_at(fd);
    int owned = owner && co_is_same_file(owner, fd);
    pthread_mutex_unlock(&owning);
    return owned;
}

/* Give it up. Returns whether the number is still the handle's, as far as can be known. */
int co_disown(co_handle *handle) {
    int fd = handle->owned;
    if (fd < 0) return 1;
    pthread_mutex_lock(&owning);
    int ours = owner_at(fd) == handle;
    if (ours) owners[fd] = NULL;
    pthread_mutex_unlock(&owning);
    handle->owned = -1;
    return ours && co_is_same_file(handle, fd);
}

/* ---- losing it ---- */

/* The descriptor of a handle is gone. The next step reports it to the waiter; libuv ends the requests with ECANCELED, which
 * are reported as EBADF. The memory stays until Python closes the handle. */
static void handle_lose(co_handle *handle) {
    if (handle->lost || uv_is_closing(&handle->u.handle)) return;
    handle->lost = 1;
    co_disown(handle);
    co_uv_watcher_forget(&handle->loop->uv, polled_with(handle));
    if (handle->kind->closing) handle->kind->closing(handle);
    co_uv_watcher_forget(&handle->loop->uv, watcher_of(handle));
    co_starve(handle);
    uv_close(&handle->u.handle, co_on_close);
    if (handle->kind->close_begun) handle->kind->close_begun(handle);
}

/* In the next step: wake the waiter of a lost handle, and end one that Python has closed. */
void co_lost_ready(co_handle *handle) {
    co_loop *loop = handle->loop;
    int32_t *demand = &loop->demand[handle->slot];
    if (handle->closed_by_python) {
        if (handle->closed_by_uv) co_handle_over(handle);
        return;
    }
    if (*demand > 0 || handle->push_mode) co_push(loop, handle->slot, handle->generation, UV_EBADF, 0);
    handle->push_mode = 0;
    *demand = -1;
}

/* Python closes a lost handle. */
int co_lost_close(co_handle *handle) {
    co_loop *loop = handle->loop;
    if (handle->closed_by_python) return UV_EBADF;
    handle->closed_by_python = 1;
    loop->demand[handle->slot] = -1;
    loop->handles_closed++;
    loop->lost_closing++;
    if (handle->before_close) handle->before_close(handle);
    co_starve(handle);
    return 0;
}

/* The loop is closed: free what libuv has done with, and have co_on_close free the others. */
void co_lost_leave(co_loop *loop) {
    for (uint32_t slot = 0; slot < loop->slots; slot++) {
        co_handle *handle = loop->handles[slot];
        if (!handle || !handle->lost) continue;
        if (!handle->closed_by_python) co_lost_close(handle);
        if (handle->closed_by_uv) co_handle_over(handle);
    }
}

/* The result of a request on a handle, of which libuv says `status`. */
int co_status_of(co_handle *handle, int status) { return status == UV_ECANCELED && handle->lost ? UV_EBADF : status; }

/* ---- which handle polls it ---- */

/* UV_EEXIST if another handle of the loop polls the descriptor that this one is about to poll: libuv would call back the
 * other one only. */
int co_is_watched(co_handle *handle) {
    co_uv_watcher_t *watcher = watcher_of(handle), *other = co_uv_watcher_at(&handle->loop->uv, co_uv_watcher_fd(watcher));
    int listens = handle->listener && !uv_is_readable(&handle->u.stream) && !uv_is_writable(&handle->u.stream);
    if (listens) return 0; /* libuv refuses by itself */
    return other && other != watcher ? UV_EEXIST : 0;
}

/* The handle of a watcher; NULL if it is not of one. */
static co_handle *handle_at(co_loop *loop, co_uv_watcher_t *watcher) {
    for (uint32_t slot = 0; slot < loop->slots; slot++) {
        co_handle *handle = loop->handles[slot];
        if (handle && polled_with(handle) == watcher) return handle;
    }
    return NULL;
}

/* A handle is about to poll a number that is in libuv's list: an owner that has lost it leaves the list, and a handle that
 * polls on although nothing waits for it stops that. */
void co_descriptor_vacate(co_loop *loop, int fd) {
    co_uv_watcher_t *watcher = co_uv_watcher_at(&loop->uv, fd);
    if (!watcher) return;
    pthread_mutex_lock(&owning);
    co_handle *owner = owner_at(fd);
    int ours = owner && owner->loop == loop, same = ours && co_is_same_file(owner, fd);
    pthread_mutex_unlock(&owning);
    int owned = ours && watcher == polled_with(owner);
    co_handle *handle = owned ? owner : handle_at(loop, watcher);
    if (owned && !same)
        handle_lose(handle);
    else if (handle && handle->kind->owns == owned && handle->kind->vacate)
        handle->kind->vacate(handle, fd);
}

/* ---- owning ---- */

/* A handle has its descriptor now, perhaps. Returns 0, or why an option that was kept for that could not be set. */
int co_own(co_handle *handle) {
    co_uv_watcher_t *watcher = watcher_of(handle);
    uv_loop_t *uv = &handle->loop->uv;
    if (!handle->kind->owns || co_uv_watcher_fd(watcher) < 0 || handle->owned == co_uv_watcher_fd(watcher)) return 0;
    int fd = co_uv_watcher_fd(watcher);

    /* The system gives a number once. So if another handle has it, that one has lost it. */
    co_handle *before = NULL;
    if (handle->owned >= 0) co_disown(handle);
    if (co_is_watched(handle)) co_descriptor_vacate(handle->loop, fd);
    pthread_mutex_lock(&owning);
    if (!owners_grow(fd) && !co_file_note(handle, fd)) {
        before = owners[fd];
        owners[fd] = handle;
        handle->owned = fd;
        if (before && before->loop != handle->loop) before = NULL; /* its thread will notice */
    }
    pthread_mutex_unlock(&owning);
    if (before) handle_lose(before);

    /* libuv may have started to poll the new file while the place in its list was the old one's. */
    if (co_uv_watcher_wants(watcher) && !co_uv_watcher_at(uv, fd)) co_uv_watcher_enter(uv, watcher);
    return handle->kind->opened ? handle->kind->opened(handle) : 0;
}

/* Passes libuv's code on, of a call that may have made the handle's socket; or why what was kept for that failed. */
int co_own_after(co_handle *handle, int code) {
    int failed = handle->owned < 0 ? co_own(handle) : 0;
    return code ? code : failed;
}

/* libuv has started a program, or has tried, and may have opened pipes for it. */
void co_own_pipes(const uv_stdio_container_t *stdio, int count) {
    for (int i = 0; i < count; i++)
        if (stdio[i].flags & UV_CREATE_PIPE) co_own(HANDLE(stdio[i].data.stream));
}

/* Before libuv closes a handle: it must not close a number that is another file's by now. */
void co_descriptor_leave(co_handle *handle) {
    if (!co_disown(handle)) co_uv_watcher_forget(&handle->loop->uv, watcher_of(handle));
}

/* Whether the number is another file's by now. */
int co_is_replaced(const co_handle *handle) { return handle->owned >= 0 && !co_is_same_file(handle, handle->owned); }

/* Before libuv writes at once, which polls nothing, and before it reads from a terminal, which its other descriptor keeps in
 * the system's set. Returns UV_EBADF if the number is another file's by now. */
int co_descriptor_check(co_handle *handle) {
    if (!co_is_replaced(handle)) return 0;
    handle_lose(handle);
    return UV_EBADF;
}

/* In the child of a fork, whose loop goes on. */
void co_owners_revive(co_loop *loop) {
    for (uint32_t slot = 0; slot < loop->slots; slot++)
        if (loop->handles[slot]) {
            loop->handles[slot]->owned = -1;
            co_own(loop->handles[slot]);
        }
}

/* Whether a descriptor may not be closed: libuv would abort the process sooner or later, or poll another file. */
int co_is_in_use(uv_loop_t *uv, int fd) {
    co_loop *loop = uv ? uv->data : NULL;
    if (co_is_owned(fd)) return 1;
    if (!loop) return 0;
    co_descriptor_vacate(loop, fd);
    return co_uv_watcher_at(uv, fd) || fd == uv_backend_fd(uv);
}

/* ---- registering with the system, before libuv does ---- */

/* A descriptor can be polled no longer. Of a watcher that belongs to no handle libuv will find out by itself. */
static void watcher_fail(co_loop *loop, co_uv_watcher_t *watcher, int code) {
    co_handle *handle = handle_at(loop, watcher);
    if (!handle) return;
    if (handle->kind->failed)
        handle->kind->failed(handle, code);
    else
        handle_lose(handle);
}

#ifdef __linux__

/* Whether the owner of a number, which the system has just started to poll, has lost it to the file that is polled now. */
static int is_stolen(co_uv_watcher_t *watcher) {
    int fd = co_uv_watcher_fd(watcher);
    pthread_mutex_lock(&owning);
    co_handle *owner = owner_at(fd);
    int stolen = owner && polled_with(owner) == watcher && !co_is_same_file(owner, fd);
    pthread_mutex_unlock(&owning);
    return stolen;
}

/* What libuv would do, which aborts if it fails. The set knows files: one that it polls already is the same as ever, and
 * the others are compared. */
static int watcher_arm(int set, co_uv_watcher_t *watcher) {
    struct epoll_event event;
    int fd = co_uv_watcher_fd(watcher), is_new = !co_uv_watcher_has(watcher);
    memset(&event, 0, sizeof event);
    event.events = co_uv_watcher_wants(watcher);
    event.data.fd = fd;
    int added = is_new && !epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
    if (!added && is_new && errno != EEXIST) return uv_translate_sys_error(errno);
    if (!added && epoll_ctl(set, EPOLL_CTL_MOD, fd, &event)) return UV_EBADF;
    co_uv_watcher_armed(watcher);
    if (!added || !is_stolen(watcher)) return 0;
    epoll_ctl(set, EPOLL_CTL_DEL, fd, &event);
    return UV_EBADF;
}

/* Before libuv polls: register what is to be polled, in libuv's place. */
void co_watchers_arm(co_loop *loop) {
    for (co_uv_watcher_t *watcher; (watcher = co_uv_watcher_changed(&loop->uv, NULL));) {
        co_uv_watcher_unchanged(watcher);
        if (co_uv_watcher_at(&loop->uv, co_uv_watcher_fd(watcher)) != watcher) continue; /* another one polls it */
        int code = watcher_arm(uv_backend_fd(&loop->uv), watcher);
        if (code) watcher_fail(loop, watcher, code);
    }
}

#else

/* Before libuv polls: take out of its queue what has lost its descriptor. */
void co_watchers_arm(co_loop *loop) {
    for (co_uv_watcher_t *watcher = co_uv_watcher_changed(&loop->uv, NULL), *next; watcher; watcher = next) {
        co_handle *handle = handle_at(loop, watcher);
        next = co_uv_watcher_changed(&loop->uv, watcher);
        int owns = handle && handle->owned >= 0;
        int lost = owns ? !co_is_same_file(handle, handle->owned) : fcntl(co_uv_watcher_fd(watcher), F_GETFD) < 0;
        if (lost) watcher_fail(loop, watcher, UV_EBADF);
    }
}

#endif
