/* Changes of files. They come although no coroutine waits, so they are kept here until Python takes them: in one queue
 * for a watched path and all that is watched below it, so that their order is kept, too. The record only says that
 * something is there. The queue is bounded; what does not fit, or what the system could not keep for us, is a change of
 * its own kind. */

#ifdef __linux__
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#endif

#include "watch.h"
#include "handles.h"
#include "pool.h"
#include "records.h"
#include "slots.h"

typedef struct co_change co_change;
struct co_change {
    co_change *next;
    uint32_t slot, generation; /* of the handle that it came to */
    int kinds;
    char name[];
};

typedef struct {
    co_loop *loop;
    co_handle *raw;            /* the only one that refers to it, if that is a raw one */
    uint32_t slot, generation; /* of the handle whose record says that there is something */
    uint32_t users;            /* handles that refer to it */
    uint32_t count, limit;
    int closed, lost;
    char *only; /* the one entry of the folder that matters, or NULL */
    co_change *first, *last;
    int polled, status; /* of a uv_fs_poll_t; what was not taken becomes one with what comes next */
    uv_stat_t before, after;
} co_changes;

/* ---- the queue ---- */

static co_changes *changes_new(co_handle *handle, uint32_t limit, const char *only) {
    co_changes *changes = calloc(1, sizeof *changes);
    if (!changes) return NULL;
    changes->only = only ? strdup(only) : NULL;
    if (only && !changes->only) {
        free(changes);
        return NULL;
    }
    changes->loop = handle->loop;
    changes->slot = handle->slot;
    changes->generation = handle->generation;
    changes->limit = limit;
    return changes;
}

static void changes_forget_first(co_changes *changes) {
    co_change *first = changes->first;
    changes->first = first->next;
    if (!changes->first) changes->last = NULL;
    changes->count--;
    free(first);
}

static void changes_forget(co_changes *changes) {
    while (changes->first) changes_forget_first(changes);
    changes->lost = changes->polled = 0;
}

/* A handle is closed; the last one takes the queue with it. */
static void changes_leave(co_handle *handle) {
    co_changes *changes = handle->u.handle.data;
    if (handle->slot == changes->slot && handle->generation == changes->generation) changes->closed = 1;
    if (--changes->users) return;
    changes_forget(changes);
    free(changes->only);
    free(changes);
}

/* One record is enough until a coroutine waits again; for a raw handle, one in each step. */
static void changes_report(co_changes *changes) {
    co_loop *loop = changes->loop;
    co_handle *raw = changes->raw;
    if (changes->closed || (raw ? raw->turn == loop->turn : loop->demand[changes->slot] <= 0)) return;
    loop->demand[changes->slot] = 0;
    if (raw) raw->turn = loop->turn;
    co_push(loop, changes->slot, raw ? raw->generation : changes->generation, 0, 0);
}

static int same_again(co_change *last, co_handle *handle, const char *name, int kinds) {
    return last && last->slot == handle->slot && last->generation == handle->generation && last->kinds == kinds &&
           !strcmp(last->name, name);
}

static void changes_add(co_changes *changes, co_handle *handle, const char *name, int kinds) {
    if (!changes->raw && same_again(changes->last, handle, name, kinds)) return;
    size_t size = strlen(name) + 1;
    co_change *change = changes->count < changes->limit ? malloc(sizeof *change + size) : NULL;
    if (!change) {
        changes->lost = 1;
        return;
    }
    change->next = NULL;
    change->slot = handle->slot;
    change->generation = handle->generation;
    change->kinds = kinds;
    memcpy(change->name, name, size);
    if (changes->last)
        changes->last->next = change;
    else
        changes->first = change;
    changes->last = change;
    changes->count++;
}

/* ---- what the system reports ---- */

#ifdef __linux__
/* How many changes the kernel keeps for the loop. */
static uint32_t inotify_room(void) {
    unsigned int room = 16384;
    FILE *file = fopen("/proc/sys/fs/inotify/max_queued_events", "re");
    if (!file) return room;
    if (fscanf(file, "%u", &room) != 1) room = 16384;
    fclose(file);
    return room;
}

/* libuv passes over the kernel's word that its queue was full. So look how much is left in it when the first change of
 * a step comes (libuv has read one buffer by then): as long as the shortest changes would not fill it, it was not. */
static void inotify_check(co_loop *loop) {
    int bytes = 0;
    if (loop->inotify_turn == loop->turn) return;
    loop->inotify_turn = loop->turn;
    if (ioctl(co_uv_inotify_fd(&loop->uv), FIONREAD, &bytes)) return;
    if ((uint64_t)bytes + 4096 < (uint64_t)loop->inotify_room * sizeof(struct inotify_event)) return;
    for (uint32_t slot = 0; slot < loop->slots; slot++) {
        co_handle *handle = loop->handles[slot];
        if (!handle || handle->u.handle.type != UV_FS_EVENT || uv_is_closing(&handle->u.handle)) continue;
        co_changes *changes = handle->u.handle.data;
        changes->lost = 1;
        changes_report(changes);
    }
}
#endif

/* Where there is no name of an entry, libuv passes on the end of the path that it watches. */
static int about_itself(uv_fs_event_t *uv, const char *name) {
    const char *path = co_uv_fs_event_path(uv);
    return !name || (path && name >= path && name <= path + strlen(path));
}

static void on_event(uv_fs_event_t *uv, const char *name, int events, int status) {
    co_handle *handle = HANDLE(uv);
    co_changes *changes = uv->data;
    int kinds = events & (UV_RENAME | UV_CHANGE);
#ifdef __linux__
    inotify_check(handle->loop);
    if (kinds & UV_CHANGE) kinds = UV_CHANGE; /* libuv takes the flag of a folder for a renaming */
#endif
    if (status < 0)
        changes->lost = 1;
    else if (changes->raw)
        changes_add(changes, handle, name ? name : "", name ? kinds : kinds | CO_ITSELF);
    else if (about_itself(uv, name)) {
        if (changes->only && !(kinds & UV_RENAME)) return;
        changes_add(changes, handle, "", kinds | CO_ITSELF);
    } else {
        if (changes->only && strcmp(changes->only, name)) return;
        changes_add(changes, handle, name, kinds);
    }
    changes_report(changes);
}

static void on_poll(uv_fs_poll_t *uv, int status, const uv_stat_t *before, const uv_stat_t *after) {
    co_changes *changes = uv->data;
    if (!changes->polled) changes->before = *before;
    changes->polled = 1;
    changes->status = status;
    changes->after = *after;
    changes_report(changes);
}

static const co_kind event_kind = {.type = UV_FS_EVENT, .closed = changes_leave};
static const co_kind poll_kind = {.type = UV_FS_POLL, .closed = changes_leave};

/* ---- calls ---- */

static void on_unwatched(uv_handle_t *uv) {
    co_handle *handle = HANDLE(uv);
    changes_leave(handle);
    free(handle);
}

/* Finish the opening of a handle that libuv has initialized: `code` says whether it was started. */
static int watch_opened(co_handle *handle, co_changes *changes, int code) {
    co_loop *loop = handle->loop;
    changes->users++;
    handle->u.handle.data = changes;
    if (code < 0) { /* it was never there; libuv wants its memory for a moment still */
        loop->handles[handle->slot] = NULL;
        loop->handles_created--;
        uv_close(&handle->u.handle, on_unwatched);
        return code;
    }
    co_handle_opened(handle, 0);
    loop->demand[handle->slot] = 0;
    return code;
}

static int event_started(co_handle *handle, co_changes *changes, const char *path) {
    uv_fs_event_t *uv = &handle->u.fs_event;
    int code = uv_fs_event_init(&handle->loop->uv, uv);
    if (!code) code = uv_fs_event_start(uv, on_event, path, 0);
#ifdef __linux__
    if (!code) code = co_uv_fs_event_number(uv);
    if (!handle->loop->inotify_room) handle->loop->inotify_room = inotify_room();
#endif
    return watch_opened(handle, changes, code);
}

/* Watch a file, or a folder and its entries: all, or one. */
int co_watch_open(co_loop *loop, uint32_t slot, uint32_t generation, const char *path, uint32_t limit, const char *only) {
    co_handle *handle;
    ENTER(loop);
    int code = co_handle_open(loop, slot, generation, &event_kind, &handle);
    if (code) return code;
    co_changes *changes = changes_new(handle, limit, only);
    if (!changes) return co_handle_opened(handle, UV_ENOMEM);
    return event_started(handle, changes, path);
}

/* Watch a folder below one that is watched under the slot `root`, and report to that one. Returns the same number for the same
 * folder, as long as it is watched at all; less than 0 for an error. */
int co_watch_branch(co_loop *loop, uint32_t slot, uint32_t generation, uint32_t root, const char *path) {
    co_handle *handle;
    OF_TYPE(trunk, UV_FS_EVENT, loop, root);
    int code = co_handle_open(loop, slot, generation, &event_kind, &handle);
    if (code) return code;
    return event_started(handle, trunk->u.handle.data, path);
}

/* Look for changes again and again. */
int co_watch_poll(co_loop *loop, uint32_t slot, uint32_t generation, const char *path, unsigned int milliseconds) {
    co_handle *handle;
    ENTER(loop);
    int code = co_pool_ready();
    if (!code) code = co_handle_open(loop, slot, generation, &poll_kind, &handle);
    if (code) return code;
    co_changes *changes = changes_new(handle, 0, NULL);
    if (!changes) return co_handle_opened(handle, UV_ENOMEM);
    code = uv_fs_poll_init(&loop->uv, &handle->u.fs_poll);
    if (!code) code = uv_fs_poll_start(&handle->u.fs_poll, on_poll, path, milliseconds);
    return watch_opened(handle, changes, code);
}

/* ---- raw handles: watching begins and ends again and again, and what is kept is forgotten each time ---- */

static int raw_watch_new(co_loop *loop, uint32_t slot, uint32_t generation, uint32_t limit, const co_kind *kind) {
    co_handle *handle;
    int code = co_raw_handle_open(loop, slot, generation, kind, &handle);
    if (code) return code;
    co_changes *changes = changes_new(handle, limit, NULL);
    if (!changes) return co_handle_opened(handle, UV_ENOMEM);
    changes->raw = handle;
    changes->users = 1;
    if (kind == &event_kind)
        uv_fs_event_init(&loop->uv, &handle->u.fs_event);
    else
        uv_fs_poll_init(&loop->uv, &handle->u.fs_poll);
    handle->u.handle.data = changes;
    return co_handle_opened(handle, 0);
}

int co_fs_event_new(co_loop *loop, uint32_t slot, uint32_t generation, uint32_t limit) {
    ENTER(loop);
    return raw_watch_new(loop, slot, generation, limit, &event_kind);
}

int co_fs_poll_new(co_loop *loop, uint32_t slot, uint32_t generation) {
    ENTER(loop);
    return raw_watch_new(loop, slot, generation, 0, &poll_kind);
}

int co_fs_event_start(co_loop *loop, uint32_t slot, uint32_t generation, const char *path, unsigned int flags) {
    RENEWED(handle, UV_FS_EVENT, loop, slot, generation);
    int code = uv_fs_event_start(&handle->u.fs_event, on_event, path, flags);
#ifdef __linux__
    if (!loop->inotify_room) loop->inotify_room = inotify_room();
#endif
    return code;
}

int co_fs_event_stop(co_loop *loop, uint32_t slot, uint32_t generation) {
    RENEWED(handle, UV_FS_EVENT, loop, slot, generation);
    if (loop->demand[slot] > 0) loop->demand[slot] = 0; /* Python wakes the waiter */
    changes_forget(handle->u.handle.data);
    return uv_fs_event_stop(&handle->u.fs_event);
}

static void on_replaced(uv_handle_t *uv) { free(HANDLE(uv)); }

/* libuv aborts when a handle is started again before the look that its stop has left in the thread pool is over. Such a
 * one is closed by itself, and another one takes its slot. */
static co_handle *poll_replaced(co_handle *old) {
    co_loop *loop = old->loop;
    co_handle *handle = co_handle_new(loop, &poll_kind);
    if (!handle) return NULL;
    co_changes *changes = old->u.handle.data;
    memcpy(handle, old, offsetof(co_handle, u));
    uv_fs_poll_init(&loop->uv, &handle->u.fs_poll);
    if (!uv_has_ref(&old->u.handle)) uv_unref(&handle->u.handle);
    handle->u.handle.data = changes;
    changes->raw = handle;
    loop->handles[handle->slot] = handle;
    uv_close(&old->u.handle, on_replaced);
    return handle;
}

int co_fs_poll_start(co_loop *loop, uint32_t slot, uint32_t generation, const char *path, unsigned int milliseconds) {
    RENEWED(handle, UV_FS_POLL, loop, slot, generation);
    int code = co_pool_ready();
    if (code) return code;
    if (co_uv_fs_poll_is_busy(&handle->u.fs_poll) && !uv_is_active(&handle->u.handle)) handle = poll_replaced(handle);
    if (!handle) return UV_ENOMEM;
    return uv_fs_poll_start(&handle->u.fs_poll, on_poll, path, milliseconds);
}

int co_fs_poll_stop(co_loop *loop, uint32_t slot, uint32_t generation) {
    RENEWED(handle, UV_FS_POLL, loop, slot, generation);
    changes_forget(handle->u.handle.data);
    return uv_fs_poll_stop(&handle->u.fs_poll);
}

/* The path that a handle of either kind watches: its size, which is more than `size` if there is no room for it. */
int co_fs_path(co_loop *loop, uint32_t slot, char *path, int size) {
    OPEN(handle, loop, slot);
    size_t room = (size_t)size;
    int code = UV_EBADF;
    if (handle->u.handle.type == UV_FS_EVENT) code = uv_fs_event_getpath(&handle->u.fs_event, path, &room);
    if (handle->u.handle.type == UV_FS_POLL) code = uv_fs_poll_getpath(&handle->u.fs_poll, path, &room);
    return code && code != UV_ENOBUFS ? code : (int)room;
}

/* ---- what was kept ---- */

static char *packed_change(char *at, const co_change *change, size_t size) {
    uint32_t head[CO_CHANGE / 4] = {change->slot, change->generation, (uint32_t)change->kinds, (uint32_t)size};
    memcpy(at, head, CO_CHANGE);
    memcpy(at + CO_CHANGE, change->name, size);
    return at + CO_CHANGE + size;
}

/* Move up to `most` changes to `packed`, as many as fit; return how many bytes. */
int co_watch_take(co_loop *loop, uint32_t slot, char *packed, int size, int most) {
    OF_TYPE(handle, UV_FS_EVENT, loop, slot);
    co_changes *changes = handle->u.handle.data;
    char *at = packed;
    if (changes->lost && most-- > 0) {
        co_change lost = {NULL, slot, handle->generation, CO_OVERFLOW};
        at = packed_change(at, &lost, 0);
        changes->lost = 0;
    }
    while (changes->first && most-- > 0) {
        size_t length = strlen(changes->first->name);
        if ((size_t)(packed + size - at) < CO_CHANGE + length) break;
        at = packed_change(at, changes->first, length);
        changes_forget_first(changes);
    }
    return (int)(at - packed);
}

/* Take what polling found: 1, or 0 if it found no change. */
int co_watch_stats(co_loop *loop, uint32_t slot, int *status, uv_stat_t *before, uv_stat_t *after) {
    OF_TYPE(handle, UV_FS_POLL, loop, slot);
    co_changes *changes = handle->u.handle.data;
    if (!changes->polled) return 0;
    changes->polled = 0;
    *status = changes->status;
    *before = changes->before;
    *after = changes->after;
    return 1;
}
