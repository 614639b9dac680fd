/* The three kinds of streams: TCP sockets, pipes (Unix sockets, true pipes), terminals. They are made here. */

#include <poll.h>

#include "streams.h"
#include "handles.h"
#include "listeners.h"
#include "options.h"
#include "reading.h"
#include "receiving.h"
#include "shared.h"
#include "slots.h"

/* Another handle is about to poll the descriptor: one that polls on although no coroutine waits stops that. */
static void stream_vacate(co_handle *stream, int fd) {
    (void)fd;
    if (stream->loop->demand[stream->slot] != 0 || stream->push_mode) return;
    if (stream->listener)
        co_listener_rest(stream);
    else if (co_uv_watcher_wants(co_uv_watcher(&stream->u.handle)) == POLLIN)
        co_disarm(stream);
}

#define CO_STREAM_KIND                                                                                              \
    .owns = 1, .closing = co_listener_close, .close_begun = co_shared_leave, .ready = co_stream_ready,              \
    .vacate = stream_vacate, .watcher = co_listener_watcher

static const co_kind tcp_kind = {.type = UV_TCP, CO_STREAM_KIND, .opened = co_options_apply, .closed = co_options_forget};
static const co_kind pipe_kind = {.type = UV_NAMED_PIPE, CO_STREAM_KIND};
static const co_kind tty_kind = {.type = UV_TTY, CO_STREAM_KIND};

static int stream_open(co_loop *loop, uint32_t slot, uint32_t generation, int raw, const co_kind *kind, co_handle **made) {
    return (raw ? co_raw_handle_open : co_handle_open)(loop, slot, generation, kind, made);
}

/* family: AF_UNSPEC makes the socket later. */
int co_tcp_open(co_loop *loop, uint32_t slot, uint32_t generation, int raw, int family, co_handle **made) {
    int code = stream_open(loop, slot, generation, raw, &tcp_kind, made);
    return code ? code : co_handle_opened(*made, uv_tcp_init_ex(&loop->uv, &(*made)->u.tcp, (unsigned int)family));
}

/* ipc: descriptors travel through it. */
int co_pipe_open(co_loop *loop, uint32_t slot, uint32_t generation, int raw, int ipc, co_handle **made) {
    int code = stream_open(loop, slot, generation, raw, &pipe_kind, made);
    return code ? code : co_handle_opened(*made, uv_pipe_init(&loop->uv, &(*made)->u.pipe, ipc));
}

/* libuv opens the terminal again if it can: then the descriptor stays the caller's. */
int co_tty_open(co_loop *loop, uint32_t slot, uint32_t generation, int raw, int fd, co_handle **made) {
    int code = stream_open(loop, slot, generation, raw, &tty_kind, made);
    return code ? code : co_handle_opened(*made, uv_tty_init(&loop->uv, &(*made)->u.tty, fd, 0));
}

/* Have a TCP handle or a pipe use a descriptor, which is its own if that succeeds. */
int co_stream_use(co_handle *stream, int fd) {
    return stream->u.handle.type == UV_TCP ? uv_tcp_open(&stream->u.tcp, fd) : uv_pipe_open(&stream->u.pipe, fd);
}
