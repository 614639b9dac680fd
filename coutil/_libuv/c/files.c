/* Files and directories: requests for the thread pool, or calls that block. Python owns the structure that says which call
 * it is and takes what comes of it (the result, a descriptor, text, numbers), and pins it until the callback. */

#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#ifdef __linux__
#include <sys/sendfile.h>
#endif

#include "files.h"
#include "blocking.h"
#include "descriptors.h"
#include "pool.h"

#define CO_NAME 4096          /* more than any file system's longest name */
#define CO_PIECES_NS 50000000 /* how long a blocking call goes on until Python is asked */
#define CO_PIECE_FS 0x7ffff000ULL /* the most that Linux reads or writes at once; others cut it to INT_MAX, which is more */

typedef struct {
    co_pooled pooled;
    co_fs *call;
    union {
        uv_fs_t uv;
        uv_work_t work;
    };
} co_fs_request;

/* ---- folders: libuv writes the entries into our array; their names come from malloc, and are ours ---- */

static void folder_forget(co_folder *folder) {
    while (folder->next < folder->count) free((char *)folder->entries[folder->next++].name);
    folder->next = folder->count = 0;
}

/* Python has no reference to it any longer, and no call is in progress. */
void co_folder_release(co_folder *folder) {
    folder_forget(folder);
    if (folder->open) {
        uv_fs_t uv;
        uv_fs_closedir(NULL, &uv, folder->dir, NULL);
        uv_fs_req_cleanup(&uv);
    }
    folder->open = 0;
}

/* Move entries to `packed`, each as its type (a digit), its name and a zero, as many as fit; return how many bytes. */
int co_folder_take(co_folder *folder, char *packed) {
    char *at = packed;
    while (folder->next < folder->count && at - packed < CO_PACKED - CO_NAME - 2) {
        uv_dirent_t *entry = &folder->entries[folder->next++];
        size_t size = strnlen(entry->name, CO_NAME);
        *at++ = (char)('0' + entry->type);
        memcpy(at, entry->name, size);
        at += size;
        *at++ = 0;
        free((char *)entry->name);
    }
    return (int)(at - packed);
}

static int folder_read(uv_loop_t *loop, uv_fs_t *uv, co_folder *folder, uv_fs_cb done) {
    if (!folder->open) return UV_EBADF;
    if (folder->busy) return UV_EBUSY;
    if (folder->next < folder->count) return UV_EALREADY; /* a call that was given up has brought some */
    folder->dir->dirents = folder->entries;
    folder->dir->nentries = folder->limit > 0 && folder->limit < CO_ENTRIES ? (size_t)folder->limit : CO_ENTRIES;
    folder->busy = 1;
    int code = uv_fs_readdir(loop, uv, folder->dir, done);
    if (done && code < 0) folder->busy = 0;
    return code;
}

/* The directory closes in any case, and cannot be read from now on. */
static int folder_close(uv_loop_t *loop, uv_fs_t *uv, co_folder *folder, uv_fs_cb done) {
    if (!folder->open) return UV_EBADF;
    if (folder->busy) return UV_EBUSY;
    folder_forget(folder);
    folder->busy = 1;
    int code = uv_fs_closedir(loop, uv, folder->dir, done);
    if (done && code < 0) folder->busy = 0;
    return code;
}

/* ---- calls ---- */

/* Read or write several pieces, of which CO_PIECE_FS bytes count: newer libuv refuses more. It copies the list. */
static int fs_pieces(uv_loop_t *loop, uv_fs_t *uv, co_fs *call, uv_fs_cb done) {
    uv_buf_t *buffers = malloc((size_t)call->count * sizeof *buffers);
    uint64_t left = CO_PIECE_FS;
    unsigned int count = 0;
    if (!buffers) return UV_ENOMEM;
    for (; count < (unsigned int)call->count && left; count++) {
        size_t size = call->pieces[count].size < left ? call->pieces[count].size : (size_t)left;
        buffers[count] = (uv_buf_t){.base = call->pieces[count].data, .len = size};
        left -= size;
    }
    int code = call->kind == UV_FS_READ ? uv_fs_read(loop, uv, call->fd, buffers, count, call->offset, done)
                                        : uv_fs_write(loop, uv, call->fd, buffers, count, call->offset, done);
    free(buffers);
    return code;
}

/* The entries of a folder as co_folder_take has them: each is its type (a digit), its name and a zero. */
static int fs_scanned(co_fs *call, uv_fs_t *uv) {
    uv_dirent_t entry;
    size_t room = 0;
    while (uv_fs_scandir_next(uv, &entry) != UV_EOF) {
        size_t size = strlen(entry.name) + 2;
        if (call->length + size > room) {
            room = 2 * room + size + 1024;
            char *text = realloc(call->text, room);
            if (!text) return UV_ENOMEM;
            call->text = text;
        }
        call->text[call->length] = (char)('0' + entry.type);
        memcpy(call->text + call->length + 1, entry.name, size - 1);
        call->length += size;
    }
    return 0;
}

/* From the moment at which it has started, a descriptor that the call owns (`opened`) is gone. */
static int fs_close(uv_loop_t *loop, uv_fs_t *uv, co_fs *call, uv_fs_cb done) {
    if (co_is_in_use(loop, call->fd)) return UV_EBUSY;
    int code = uv_fs_close(loop, uv, call->fd, done);
    if (code >= 0 || !done) call->opened = -1;
    return code;
}

/* Everything but `call` is libuv's own: without `done` it blocks. */
static int fs_call(uv_loop_t *loop, uv_fs_t *uv, co_fs *call, const char *path, const char *dest, uv_fs_cb done) {
    uint64_t size = call->size < CO_PIECE_FS ? call->size : CO_PIECE_FS;
    uv_buf_t window = {.base = call->data, .len = (size_t)size};
    uv_uid_t uid = (uv_uid_t)call->uid;
    uv_gid_t gid = (uv_gid_t)call->gid;
    int fd = call->fd;

    /* libuv would abort without a path. */
    if (!path) path = "";
    if (!dest) dest = "";
    if (call->pieces) return fs_pieces(loop, uv, call, done);
    switch (call->kind) {
        case UV_FS_OPEN: return uv_fs_open(loop, uv, path, call->flags, call->mode, done);
        case UV_FS_CLOSE: return fs_close(loop, uv, call, done);
        case UV_FS_READ: return uv_fs_read(loop, uv, fd, &window, 1, call->offset, done);
        case UV_FS_WRITE: return uv_fs_write(loop, uv, fd, &window, 1, call->offset, done);
        case UV_FS_SENDFILE: return uv_fs_sendfile(loop, uv, fd, call->source, call->offset, (size_t)size, done);
        case UV_FS_STAT: return uv_fs_stat(loop, uv, path, done);
        case UV_FS_LSTAT: return uv_fs_lstat(loop, uv, path, done);
        case UV_FS_FSTAT: return uv_fs_fstat(loop, uv, fd, done);
        case UV_FS_STATFS: return uv_fs_statfs(loop, uv, path, done);
        case UV_FS_READLINK: return uv_fs_readlink(loop, uv, path, done);
        case UV_FS_REALPATH: return uv_fs_realpath(loop, uv, path, done);
        case UV_FS_FTRUNCATE: return uv_fs_ftruncate(loop, uv, fd, call->offset, done);
        case UV_FS_FSYNC: return uv_fs_fsync(loop, uv, fd, done);
        case UV_FS_FDATASYNC: return uv_fs_fdatasync(loop, uv, fd, done);
        case UV_FS_UTIME: return uv_fs_utime(loop, uv, path, call->atime, call->mtime, done);
        case UV_FS_LUTIME: return uv_fs_lutime(loop, uv, path, call->atime, call->mtime, done);
        case UV_FS_FUTIME: return uv_fs_futime(loop, uv, fd, call->atime, call->mtime, done);
        case UV_FS_ACCESS: return uv_fs_access(loop, uv, path, call->mode, done);
        case UV_FS_CHMOD: return uv_fs_chmod(loop, uv, path, call->mode, done);
        case UV_FS_FCHMOD: return uv_fs_fchmod(loop, uv, fd, call->mode, done);
        case UV_FS_CHOWN: return uv_fs_chown(loop, uv, path, uid, gid, done);
        case UV_FS_LCHOWN: return uv_fs_lchown(loop, uv, path, uid, gid, done);
        case UV_FS_FCHOWN: return uv_fs_fchown(loop, uv, fd, uid, gid, done);
        case UV_FS_UNLINK: return uv_fs_unlink(loop, uv, path, done);
        case UV_FS_RMDIR: return uv_fs_rmdir(loop, uv, path, done);
        case UV_FS_MKDIR: return uv_fs_mkdir(loop, uv, path, call->mode, done);
        case UV_FS_MKDTEMP: return uv_fs_mkdtemp(loop, uv, path, done);
        case UV_FS_MKSTEMP: return uv_fs_mkstemp(loop, uv, path, done);
        case UV_FS_RENAME: return uv_fs_rename(loop, uv, path, dest, done);
        case UV_FS_LINK: return uv_fs_link(loop, uv, path, dest, done);
        case UV_FS_SYMLINK: return uv_fs_symlink(loop, uv, path, dest, call->flags, done);
        case UV_FS_COPYFILE: return uv_fs_copyfile(loop, uv, path, dest, call->flags, done);
        case UV_FS_SCANDIR: return uv_fs_scandir(loop, uv, path, 0, done);
        case UV_FS_OPENDIR: return uv_fs_opendir(loop, uv, path, done);
        case UV_FS_READDIR: return folder_read(loop, uv, call->folder, done);
        case UV_FS_CLOSEDIR: return folder_close(loop, uv, call->folder, done);
        default: return UV_EINVAL;
    }
}

/* Take over what libuv allocated: it must not free that too. */
static char *taken(char **pointer) {
    char *text = *pointer;
    *pointer = NULL;
    return text;
}

static void fs_opened_dir(co_folder *folder, uv_dir_t *dir) {
    folder->dir = dir;
    folder->open = dir != NULL;
}

static void fs_read_dir(co_folder *folder, ssize_t result) {
    folder->dir->dirents = NULL; /* the names stay when libuv cleans up */
    folder->next = 0;
    folder->count = result > 0 ? (int)result : 0;
    folder->busy = 0;
}

static void fs_closed_dir(co_folder *folder, uv_fs_t *uv) {
    folder->busy = folder->open = 0;
    if (uv->result != UV_ECANCELED) return;
    uv->ptr = NULL;   /* libuv would free it without closing it */
    folder->open = 1; /* the loop is being closed */
    co_folder_release(folder);
}

/* Copy what a call brought, and free what libuv keeps for it. */
static void fs_end(co_fs *call, uv_fs_t *uv) {
    call->result = uv->result;

    /* What ends in any case. */
    if (call->kind == UV_FS_READDIR)
        fs_read_dir(call->folder, uv->result);
    else if (call->kind == UV_FS_CLOSEDIR)
        fs_closed_dir(call->folder, uv);
    else if (call->kind == UV_FS_CLOSE && uv->result == UV_ECANCELED)
        close(call->fd); /* the loop is being closed */

    /* What a success brings. */
    if (uv->result >= 0) switch (call->kind) {
            case UV_FS_STAT:
            case UV_FS_LSTAT:
            case UV_FS_FSTAT: call->stat = uv->statbuf; break;
            case UV_FS_STATFS: call->statfs = *(uv_statfs_t *)uv->ptr; break;
            case UV_FS_READLINK:
            case UV_FS_REALPATH: call->text = taken((char **)&uv->ptr); break;
            case UV_FS_OPEN: call->opened = (int)uv->result; break;
            case UV_FS_MKSTEMP:
                call->opened = (int)uv->result; /* fall through */
            case UV_FS_MKDTEMP: call->text = taken((char **)&uv->path); break;
            case UV_FS_SCANDIR:
                if (fs_scanned(call, uv)) call->result = UV_ENOMEM;
                break;
            case UV_FS_OPENDIR: fs_opened_dir(call->folder, uv->ptr); break;
            default: break;
        }
    uv_fs_req_cleanup(uv);
    call->busy = 0;
}

/* Whether a call changes something that is there after this process. */
static int fs_has_side_effects(const co_fs *call) {
    switch (call->kind) {
        case UV_FS_OPEN:  /* a pipe may never be opened by another process */
        case UV_FS_CLOSE: /* the end of the process closes, too */
        case UV_FS_READ:
        case UV_FS_STAT:
        case UV_FS_LSTAT:
        case UV_FS_FSTAT:
        case UV_FS_STATFS:
        case UV_FS_READLINK:
        case UV_FS_REALPATH:
        case UV_FS_ACCESS:
        case UV_FS_SCANDIR:
        case UV_FS_OPENDIR:
        case UV_FS_READDIR:
        case UV_FS_CLOSEDIR: return 0;
        default: return 1;
    }
}

static void on_fs(uv_fs_t *uv) {
    co_fs_request *request = (co_fs_request *)((char *)uv - offsetof(co_fs_request, uv));
    fs_end(request->call, uv);
    co_pooled_done(&request->pooled, 0);
}

/* The record's result is 0: the real one is in `call`. The paths are copied. */
int co_fs_start(co_loop *loop, uint32_t slot, uint32_t generation, co_fs *call, const char *path, const char *dest) {
    ENTER(loop);
    co_fs_request *request;
    int code = co_pooled_new(sizeof *request, loop, slot, generation, (void **)&request);
    if (code) return code;
    request->call = call;
    request->pooled.side_effects = fs_has_side_effects(call);
    code = fs_call(&loop->uv, &request->uv, call, path, dest, on_fs);
    call->busy = code >= 0;
    return co_pooled_started(&request->pooled, (uv_req_t *)&request->uv, code);
}

/* ---- what libuv does not do, or not well: functions of our own for the pool ---- */

/* Send from the file `source` what the stream `fd`, which does not block, takes at once. uv_fs_sendfile would keep a
 * thread of the pool until a full stream has room. */
static void send_now(co_fs *call) {
#ifdef __linux__
    off_t offset = call->offset;
    ssize_t sent;
    sigset_t pipe, old;
    struct timespec zero = {0, 0};
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &old);
    do
        sent = sendfile(call->fd, call->source, &offset, call->size < CO_PIECE_FS ? call->size : CO_PIECE_FS);
    while (sent < 0 && errno == EINTR);
    call->result = sent < 0 ? uv_translate_sys_error(errno) : sent;
    while (call->result == UV_EPIPE && sigtimedwait(&pipe, NULL, &zero) < 0 && errno == EINTR) continue;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
#else
    call->result = UV_ENOSYS;
#endif
}

/* What may have to be waited for was ready a moment ago; others may have emptied it since. */
static void read_now(co_fs *call) {
    struct pollfd one = {.fd = call->fd, .events = POLLIN};
    ssize_t count;
    do
        count = poll(&one, 1, 0) ? read(call->fd, call->data, call->size) : UV_EAGAIN;
    while (count == -1 && errno == EINTR);
    call->result = count == -1 ? uv_translate_sys_error(errno) : count;
}

/* The same the other way round: there is room, and only as much is written as certainly fits. */
static void write_now(co_fs *call) { call->result = co_write_what_fits(call->fd, call->data, call->size); }

static struct timespec moment(double seconds, int flags) {
    struct timespec time = {.tv_nsec = UTIME_OMIT};
    if (flags & CO_NOW) time.tv_nsec = UTIME_NOW;
    if (!(flags & CO_GIVEN)) return time;
    time.tv_sec = (time_t)seconds;
    if (seconds < (double)time.tv_sec) time.tv_sec--;
    time.tv_nsec = (long)((seconds - (double)time.tv_sec) * 1e9);
    if (time.tv_nsec < 1000000000) return time;
    time.tv_sec++; /* so little before a second that the difference is one */
    time.tv_nsec = 0;
    return time;
}

/* Set the times of a file that are given, or are to be now, and leave the others; libuv can do that from 1.51 on, and takes
 * no fraction of a second before 1970. */
static void times_now(co_fs *call) {
    struct timespec times[2] = {moment(call->atime, call->flags), moment(call->mtime, call->flags >> 2)};
    const char *path = call->path ? call->path : "";
    int done = call->kind == UV_FS_FUTIME
                   ? futimens(call->fd, times)
                   : utimensat(AT_FDCWD, path, times, call->kind == UV_FS_LUTIME ? AT_SYMLINK_NOFOLLOW : 0);
    call->result = done ? uv_translate_sys_error(errno) : 0;
}

/* ---- a call in pieces: see pieces.c ---- */

#if CO_PIECES
static int fs_begin(co_fs *call) {
    co_mover *mover = call->mover = co_mover_new();
    if (!mover) return UV_ENOMEM;
    if (call->kind == UV_FS_COPYFILE) return co_mover_copy(mover, call->path, call->dest, call->flags);
    return co_mover_send(mover, call->fd, call->source, call->offset, call->size);
}

static void fs_over(co_fs *call, int code) {
    call->result = call->mover ? co_mover_end(call->mover, code) : code;
    call->mover = NULL;
}

/* In the pool. */
static void fs_in_pieces(co_fs_request *request) {
    co_fs *call = request->call;
    int code = co_pieces_stopped(&request->pooled) ? UV_ECANCELED : fs_begin(call);
    while (code > 0 && !co_pieces_stopped(&request->pooled)) code = co_mover_step(call->mover);
    int counts = co_pieces_over(&request->pooled);
    fs_over(call, code > 0 || !counts ? UV_ECANCELED : code);
}

/* In any thread: some of them, then UV_EINTR, so that Python can look after signals before the next ones. */
static void fs_some_pieces(co_fs *call) {
    uint64_t until = uv_hrtime() + CO_PIECES_NS;
    int code = call->mover ? 1 : fs_begin(call);
    while (code > 0 && uv_hrtime() < until) code = co_mover_step(call->mover);
    if (code > 0)
        call->result = UV_EINTR;
    else
        fs_over(call, code);
    call->busy = code > 0;
}
#else
static void fs_over(co_fs *call, int code) { call->result = code; }
static void fs_in_pieces(co_fs_request *request) { fs_over(request->call, UV_ENOSYS); }
static void fs_some_pieces(co_fs *call) { fs_over(call, UV_ENOSYS); }
#endif

static void own_work(uv_work_t *uv) {
    co_fs_request *request = (co_fs_request *)((char *)uv - offsetof(co_fs_request, work));
    co_fs *call = request->call;
    if (call->in_pieces)
        fs_in_pieces(request);
    else if (call->kind == UV_FS_SENDFILE)
        send_now(call);
    else if (call->kind == UV_FS_READ)
        read_now(call);
    else if (call->kind == UV_FS_WRITE)
        write_now(call);
    else
        times_now(call);
}

static void on_own(uv_work_t *uv, int status) {
    co_fs_request *request = (co_fs_request *)((char *)uv - offsetof(co_fs_request, work));
    if (status) request->call->result = status;
    request->call->busy = 0;
    co_pooled_done(&request->pooled, 0);
}

/* Like co_fs_start: copy in pieces; send from the file `source` what the stream `fd`, which does not block, takes at once;
 * read what is there, or write what there is room for, UV_EAGAIN if that is nothing; or set some times of a file. */
int co_fs_own(co_loop *loop, uint32_t slot, uint32_t generation, co_fs *call) {
    ENTER(loop);
    co_fs_request *request;
    int code = co_pooled_new(sizeof *request, loop, slot, generation, (void **)&request);
    if (code) return code;
    request->call = call;
    request->pooled.side_effects = call->kind != UV_FS_READ;
    request->pooled.pieces = call->in_pieces ? PIECES_GO_ON : PIECES_NONE;
    code = uv_queue_work(&loop->uv, &request->work, own_work, on_own);
    call->busy = code >= 0;
    return co_pooled_started(&request->pooled, (uv_req_t *)&request->work, code);
}

/* The times of a file, now. */
void co_fs_times(co_fs *call) {
    times_now(call);
    call->busy = 0;
}

/* The size of a fragment, of "statfs"; 0: libuv does not say. */
uint64_t co_fs_fragment(const co_fs *call) {
#if UV_VERSION_HEX >= ((1 << 16) | (52 << 8))
    return call->statfs.f_frsize;
#else
    (void)call;
    return 0;
#endif
}

/* In any thread; there need not be a loop. What ends with UV_EINTR has to be called again. */
void co_fs_block(co_fs *call, const char *path, const char *dest) {
    uv_fs_t uv;
    if (call->in_pieces) {
        fs_some_pieces(call);
        return;
    }
    memset(&uv, 0, sizeof uv);
    int code = fs_call(NULL, &uv, call, path, dest, NULL);
    if (code < 0 && !uv.result) { /* refused: nothing was done. Else the code is the result, cut to an int */
        call->result = code;
        call->busy = 0;
        uv_fs_req_cleanup(&uv);
    } else
        fs_end(call, &uv);
}

void co_fs_release(co_fs *call) {
    if (call->mover) fs_over(call, UV_ECANCELED);
    if (call->opened >= 0) close(call->opened);
    free(call->text);
    call->opened = -1;
    call->text = NULL;
}
