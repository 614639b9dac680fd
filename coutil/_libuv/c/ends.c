/* The addresses of both ends of a socket, for messages: one block of bytes, which is read only when it is shown.
 *
 * First our own end, then the peer's. An end is its kind (0: unknown), the number of bytes that follow, and these:
 * 4, 6: the port in network order and the address; 1: the path or abstract name of a Unix socket. */

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "ends.h"

static char *end_write(char *into, int kind, const void *port, const void *data, size_t size) {
    size_t before = port ? 2 : 0;
    *into++ = (char)kind;
    *into++ = (char)(before + size);
    if (port) memcpy(into, port, before);
    memcpy(into + before, data, size);
    return into + before + size;
}

static char *end_name(int fd, int peer, char *into) {
    union {
        struct sockaddr_storage storage;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } name;
    socklen_t length = sizeof name;
    memset(&name, 0, sizeof name);

    /* An end that cannot be read is unknown. */
    if (fd < 0 || (peer ? getpeername : getsockname)(fd, (struct sockaddr *)&name, &length)) length = 0;

    size_t path = offsetof(struct sockaddr_un, sun_path);
    if (length && name.storage.ss_family == AF_INET && name.in.sin_port)
        return end_write(into, 4, &name.in.sin_port, &name.in.sin_addr, 4);
    if (length && name.storage.ss_family == AF_INET6 && name.in6.sin6_port)
        return end_write(into, 6, &name.in6.sin6_port, &name.in6.sin6_addr, 16);
    if (length > path && name.storage.ss_family == AF_UNIX) {
        size_t size = length - path;
        if (size > sizeof name.un.sun_path) size = sizeof name.un.sun_path;
        if (*name.un.sun_path) size = strnlen(name.un.sun_path, size);
        return end_write(into, 1, NULL, name.un.sun_path, size);
    }
    return end_write(into, 0, NULL, "", 0);
}

/* Write both ends of the handle's socket; return how many bytes, or libuv's code. `into` has room for CO_ENDS. */
int co_ends(co_loop *loop, uint32_t slot, char *into) {
    uv_os_fd_t fd = -1;
    ENTER(loop);
    co_handle *handle = co_find(loop, slot);
    if (!handle || uv_is_closing(&handle->u.handle)) return UV_EBADF;
    if (handle->u.handle.type == UV_POLL)
        fd = handle->fd;
    else if (uv_fileno(&handle->u.handle, &fd))
        fd = -1; /* it has none yet, or its kind never has */
    return (int)(end_name(fd, 1, end_name(fd, 0, into)) - into);
}
