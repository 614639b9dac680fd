/* Writing to terminals and pipes, whose open file may block.
 *
 * O_NONBLOCK belongs to the open file, which other descriptors and processes may share: a terminal that cannot be opened
 * again is left as it is, a program may ask for a stream that blocks, and any process that has a pipe may clear the flag.
 * write(2) would then stop the thread until the reader reads, and neither deadlines nor Ctrl-C would get through. No flag
 * of the call helps, as it does with sockets. So the flag is looked at before each call; if it is not set, the stream is
 * written to as long as poll(2) says that there is room, so few bytes at a time that this room is certain: CO_MORSEL, or
 * what a pipe takes in one piece (PIPE_BUF). Only a second writer that fills the same room in between can make a morsel
 * wait; a signal ends that. Files that may have to be waited for are written to in the same way, by the thread pool. */

#include <limits.h>
#include <poll.h>
#include <sys/stat.h>

#include "blocking.h"

#define CO_MORSEL 128    /* bytes that a terminal takes without waiting if it takes any; each may become two */
#define CO_MORSELS 65536 /* bytes that are written in one go, so that other streams have their turn */

static int is_nonblocking(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 || flags & O_NONBLOCK; /* what is not open does not block */
}

int co_would_wait(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == ENOBUFS || error == EINTR; }

/* Write what there is certainly room for. A terminal whose other side has hung up takes what there is room for, and then
 * nothing for ever: that is EIO, as it is for a reader. */
static int morsels_write(int fd, const char *data, size_t size) {
    struct stat file;
    size_t done = 0, most = !fstat(fd, &file) && S_ISFIFO(file.st_mode) ? PIPE_BUF : CO_MORSEL;
    if (size > CO_MORSELS) size = CO_MORSELS;
    do {
        struct pollfd room = {.fd = fd, .events = POLLOUT};
        size_t morsel = size - done < most ? size - done : most;
        if (poll(&room, 1, 0) < 1) break;
        if (room.revents == POLLHUP) return done ? (int)done : UV_EIO;
        ssize_t sent = write(fd, data + done, morsel);
        if (sent < 0 && !co_would_wait(errno) && !done) return uv_translate_sys_error(errno);
        if (sent < 0) break;
        done += (size_t)sent;
    } while (done < size);
    return done || !size ? (int)done : UV_EAGAIN;
}

/* Returns how many bytes were taken, UV_EAGAIN, or libuv's code; it never waits. */
int co_write_what_fits(int fd, const char *data, size_t size) {
    if (!is_nonblocking(fd)) return morsels_write(fd, data, size);
    ssize_t sent;
    do
        sent = write(fd, data, size);
    while (sent < 0 && errno == EINTR);
    return sent >= 0 ? (int)sent : co_would_wait(errno) ? UV_EAGAIN : uv_translate_sys_error(errno);
}

/* Whether libuv must not write what a stream, a socket perhaps, did not take at once. It goes on if it has started. */
int co_is_left_to_us(co_handle *stream) {
    uv_stream_t *uv = &stream->u.stream;
    return co_uv_writes_nothing(uv) && (stream->shared_tty || !is_nonblocking(co_uv_fd(uv)));
}

/* Whether there is something to read, or to accept. Unlike a look by recv(2), this one takes no error away. */
int co_is_readable(int fd) {
    struct pollfd entry = {fd, POLLIN, 0};
    return poll(&entry, 1, 0) != 0;
}
