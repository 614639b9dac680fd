/* Copies that go piece by piece, so that they end, and can be stopped.
 *
 * libuv copies as many bytes as stat says, in one call of the pool: without end if the file has become shorter, nothing of a
 * file whose size the system does not know (/proc), and it cannot be stopped. Here a copy ends where a read brings nothing,
 * and between two pieces it looks whether it is wanted still. Whatever may last (a pipe, a terminal) is asked whether it is
 * ready, for a moment at a time, and read and written as far as it is.
 *
 * The system moves what it can by itself (copy_file_range, then sendfile); where it cannot, and to see whether it has
 * reached the end, the data go through our memory. */

#include "pieces.h"

#if CO_PIECES
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#define CO_PIECE_MOVED (8 << 20) /* bytes that the system moves at once */
#define CO_PIECE_READ 65536      /* bytes that go through our memory at once */
#define CO_PIECE_PAGE 4096       /* bytes that what can be written takes without waiting for more room */
#define CO_PIECE_PATIENCE 50     /* milliseconds to wait for what is not ready */
#ifndef FICLONE
#define FICLONE _IOW(0x94, 9, int)
#endif

/* How pieces are moved; each is tried until it fails, or brings nothing. */
enum { MOVE_RANGE, MOVE_SENDFILE, MOVE_MEMORY };

typedef struct {
    int fd;
    int slow;   /* it may have to be waited for */
    int narrow; /* it blocks, and has room for a page only, for all we know */
} co_end;

struct co_mover {
    co_end source, target;
    int way;
    int owns;         /* the descriptors are ours, and so is the new file */
    int waits;        /* wait for a full target, in place of returning UV_EAGAIN */
    int placed;       /* read from `offset`, not from the position */
    int64_t offset;
    uint64_t left;    /* bytes to move at most */
    int64_t moved;
    char *data;       /* what was read */
    size_t size, at;  /* how much of it, and how much of that was written */
    pid_t process;
    char *path; /* of the new file, from the root and without links: that of one that may have to be removed */
    dev_t device;
    ino_t inode;
};

/* ---- one piece: each function returns more than 0 (go on), 0 (the end), or libuv's code ---- */

static int end_ready(const co_end *end, short events) {
    struct pollfd one = {.fd = end->fd, .events = events};
    if (!end->slow) return 1;
    int count = poll(&one, 1, CO_PIECE_PATIENCE);
    return count > 0 || (count < 0 && errno != EINTR);
}

static size_t piece_size(const co_mover *mover, size_t most) {
    if (mover->target.narrow) most = CO_PIECE_PAGE - (size_t)(mover->offset % CO_PIECE_PAGE); /* of one page of the file */
    return mover->left < most ? (size_t)mover->left : most;
}

static void piece_moved(co_mover *mover, size_t size) {
    mover->offset += (int64_t)size;
    mover->moved += (int64_t)size;
    mover->left -= size;
}

static int piece_by_system(co_mover *mover) {
    size_t size = piece_size(mover, CO_PIECE_MOVED);
    off_t offset = mover->offset;
    off_t *place = mover->placed ? &offset : NULL;
    ssize_t moved = mover->way == MOVE_RANGE
                        ? syscall(SYS_copy_file_range, mover->source.fd, place, mover->target.fd, NULL, size, 0)
                        : sendfile(mover->target.fd, mover->source.fd, place, size);
    if (moved > 0) {
        piece_moved(mover, (size_t)moved);
        return 1;
    }
    if (moved < 0 && errno == EINTR) return 1;
    if (moved < 0 && errno == EAGAIN && mover->target.slow) return mover->waits ? 1 : UV_EAGAIN;
    mover->way++; /* not so, or not any longer */
    return 1;
}

static int piece_read(co_mover *mover) {
    if (!mover->data && !(mover->data = malloc(CO_PIECE_READ))) return UV_ENOMEM;
    size_t size = piece_size(mover, CO_PIECE_READ);
    ssize_t count = mover->placed ? pread(mover->source.fd, mover->data, size, mover->offset)
                                  : read(mover->source.fd, mover->data, size);
    if (count < 0) return errno == EINTR || (errno == EAGAIN && mover->source.slow) ? 1 : uv_translate_sys_error(errno);
    mover->size = (size_t)count;
    mover->at = 0;
    return count > 0;
}

static int piece_write(co_mover *mover) {
    ssize_t count = write(mover->target.fd, mover->data + mover->at, mover->size - mover->at);
    if (count < 0 && errno == EINTR) return 1;
    if (count < 0 && errno == EAGAIN && mover->waits) return 1;
    if (count < 0) return uv_translate_sys_error(errno);
    mover->at += (size_t)count;
    piece_moved(mover, (size_t)count);
    return 1;
}

int co_mover_step(co_mover *mover) {
    int reads = mover->at == mover->size;
    if (reads && !mover->left) return 0;
    if (reads && !end_ready(&mover->source, POLLIN)) return 1;
    if (reads && mover->way == MOVE_MEMORY) return piece_read(mover);
    if (mover->waits && !end_ready(&mover->target, POLLOUT)) return 1;
    return reads ? piece_by_system(mover) : piece_write(mover);
}

/* ---- beginning ---- */

static void end_look(co_end *end, const struct stat *stat, int blocks) {
    mode_t mode = stat->st_mode;
    end->slow = !S_ISREG(mode) && !S_ISBLK(mode) && !S_ISDIR(mode);
    end->narrow = blocks && (S_ISFIFO(mode) || S_ISSOCK(mode) || (S_ISCHR(mode) && isatty(end->fd)));
}

static void mover_look(co_mover *mover, const struct stat *source, const struct stat *target) {
    end_look(&mover->source, source, 0);
    end_look(&mover->target, target, mover->waits && !mover->owns);
    mover->way = mover->source.slow ? MOVE_MEMORY : mover->target.slow ? MOVE_SENDFILE : MOVE_RANGE;
}

/* Move up to `size` bytes from `offset` of a file to the position of another. Returns 1, or libuv's code. */
int co_mover_send(co_mover *mover, int fd, int source, int64_t offset, uint64_t size) {
    struct stat from, to;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fstat(source, &from) || fstat(fd, &to) || lseek(source, 0, SEEK_CUR) < 0)
        return uv_translate_sys_error(errno);
    mover->source.fd = source;
    mover->target.fd = fd;
    mover->placed = 1;
    mover->offset = offset;
    mover->left = size;
    mover->waits = !(flags & O_NONBLOCK);
    mover_look(mover, &from, &to);
    return 1;
}

/* Open without waiting for another process, as a pipe would; but a lease is waited for. */
static int open_now(const char *path, int flags, mode_t mode) {
    flags |= O_CLOEXEC | O_NOCTTY;
    int fd;
    do
        fd = open(path, flags | O_NONBLOCK, mode);
    while (fd < 0 && errno == EINTR);
    return fd < 0 && errno == EWOULDBLOCK ? open(path, flags, mode) : fd;
}

/* Shares of Windows that have no permissions refuse to set them. */
static int has_no_modes(int fd) {
    struct statfs system;
    return !fstatfs(fd, &system) && ((unsigned int)system.f_type == 0xFF534D42u || (unsigned int)system.f_type == 0xFE534D42u);
}

/* Empty the new file and give it the permissions of the other; not what is no file, as /dev/null. */
static int target_prepare(co_mover *mover, const char *dest, const struct stat *from, const struct stat *to) {
    int fd = mover->target.fd;
    if (!S_ISREG(to->st_mode)) return 0;
    mover->path = realpath(dest, NULL);
    mover->device = to->st_dev;
    mover->inode = to->st_ino;
    if (ftruncate(fd, 0) && !(errno == EACCES && !to->st_size)) return uv_translate_sys_error(errno); /* ceph-fuse */
    if (fchmod(fd, from->st_mode & 07777) && !(errno == EPERM && has_no_modes(fd))) return uv_translate_sys_error(errno);
    return 0;
}

/* Copy a file as uv_fs_copyfile does. Returns 1, 0 if all is done, or libuv's code. */
int co_mover_copy(co_mover *mover, const char *path, const char *dest, int flags) {
    struct stat from, to;
    mover->owns = mover->waits = 1;
    mover->left = UINT64_MAX;
    mover->source.fd = open_now(path, O_RDONLY, 0);
    if (mover->source.fd < 0 || fstat(mover->source.fd, &from)) return uv_translate_sys_error(errno);
    if (S_ISDIR(from.st_mode)) return UV_EISDIR;
    mover->target.fd = open_now(dest, O_WRONLY | O_CREAT | (flags & UV_FS_COPYFILE_EXCL ? O_EXCL : 0), from.st_mode & 07777);
    if (mover->target.fd < 0 || fstat(mover->target.fd, &to)) return uv_translate_sys_error(errno);
    if (from.st_dev == to.st_dev && from.st_ino == to.st_ino) return 0; /* the same file */
    int code = target_prepare(mover, dest, &from, &to);
    if (code) return code;
    if (flags & (UV_FS_COPYFILE_FICLONE | UV_FS_COPYFILE_FICLONE_FORCE)) {
        if (!ioctl(mover->target.fd, FICLONE, mover->source.fd)) return 0;
        if (flags & UV_FS_COPYFILE_FICLONE_FORCE) return uv_translate_sys_error(errno);
    }
    mover_look(mover, &from, &to);
    return 1;
}

co_mover *co_mover_new(void) {
    co_mover *mover = calloc(1, sizeof *mover);
    if (!mover) return NULL;
    mover->source.fd = mover->target.fd = -1;
    mover->process = getpid();
    return mover;
}

/* ---- the end ---- */

/* Remove the new file, which may bear another name or be another process's by now: the child of a fork leaves it alone. */
static void target_remove(const co_mover *mover) {
    struct stat now;
    if (mover->path && getpid() == mover->process && !lstat(mover->path, &now) && now.st_dev == mover->device &&
        now.st_ino == mover->inode)
        unlink(mover->path);
}

/* Close what is ours, and remove what a copy that failed has left. `code` is that of the last step. Returns the result of
 * the call: 0 for a copy, else how much was moved before anything failed. */
int64_t co_mover_end(co_mover *mover, int code) {
    int64_t result = code < 0 && (code == UV_ECANCELED || !mover->moved) ? code : mover->moved;
    if (mover->owns) {
        if (mover->source.fd >= 0) close(mover->source.fd);
        if (mover->target.fd >= 0 && close(mover->target.fd) && errno != EINTR && code >= 0)
            code = uv_translate_sys_error(errno); /* the system may say as late as now that the data are lost */
        if (code < 0) target_remove(mover);
        result = code < 0 ? code : 0;
    }
    free(mover->path);
    free(mover->data);
    free(mover);
    return result;
}
#endif
