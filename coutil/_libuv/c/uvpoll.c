/* Descriptors that other code owns, polled: raw handles.
 *
 * A handler has a mask, which the handle keeps in `width`; while a coroutine waits, its own one is polled in place of it.
 * libuv takes the descriptor of a handle that is closed out of the system's set, even if that handle polls no more and
 * the number is another owner's by then. So one that rests refers to a number that is in no such set: the set's own.
 */

#include "uvpoll.h"
#include "descriptors.h"
#include "handles.h"
#include "records.h"
#include "slots.h"
#include "turns.h"

static void on_polled(uv_poll_t *uv, int status, int events);

static void poll_rest(co_handle *poll) {
    if (co_uv_fd(&poll->u.poll) == poll->fd) uv_poll_stop(&poll->u.poll);
    co_uv_set_fd(&poll->u.poll, uv_backend_fd(&poll->loop->uv));
}

/* Poll for `events`, for nothing if that is 0. */
static int poll_for(co_handle *poll, int events) {
    poll_rest(poll);
    if (!events) return 0;
    co_descriptor_vacate(poll->loop, poll->fd);
    co_uv_set_fd(&poll->u.poll, poll->fd);
    int code = uv_poll_start(&poll->u.poll, events, on_polled);
    if (code)
        co_uv_set_fd(&poll->u.poll, uv_backend_fd(&poll->loop->uv)); /* another handle polls it */
    else
        co_starve(poll);
    return code;
}

/* Report events, or an error. What has come for a waiter ends its wait, and what an error ends is over for the handler, too. */
static void poll_report(co_handle *poll, int result) {
    co_loop *loop = poll->loop;
    int32_t *demand = &loop->demand[poll->slot];
    if (poll->turn == loop->turn) return; /* libuv reports it again if it is still true */
    poll->turn = loop->turn;
    co_push(loop, poll->slot, poll->generation, result, 0);
    if (result < 0) poll->width = 0;
    if ((result < 0 || *demand > 0) && poll_for(poll, poll->width)) poll->width = 0;
    *demand = -1;
}

static void on_polled(uv_poll_t *uv, int status, int events) {
    co_handle *poll = HANDLE(uv);
    if (status < 0 || !co_is_quiet(poll)) poll_report(poll, status < 0 ? status : events); /* else it comes again */
}

/* Another handle is about to poll the number that this one polls. If that is another file's by now, the next step says so. */
static void poll_vacate(co_handle *poll, int fd) {
    if (co_is_same_file(poll, fd)) return;
    poll_rest(poll);
    poll->error = UV_EBADF;
    co_starve(poll);
}

/* In the step after a start, or a loss: the number may be another file's by now, which can be polled as well. */
static void poll_ready(co_handle *poll) {
    int active = uv_is_active(&poll->u.handle);
    if (poll->error || (active && !co_is_same_file(poll, poll->fd))) poll_report(poll, UV_EBADF);
    poll->error = 0;
}

static const co_kind poll_kind = {
    .type = UV_POLL, .ready = poll_ready, .vacate = poll_vacate, .failed = poll_report};

int co_poll_new(co_loop *loop, uint32_t slot, uint32_t generation, int fd) {
    co_handle *poll;
    ENTER(loop);
    int code = co_raw_handle_open(loop, slot, generation, &poll_kind, &poll);
    if (code) return code;
    co_descriptor_vacate(loop, fd);
    code = co_file_note(poll, fd);
    code = co_handle_opened(poll, code ? code : uv_poll_init(&loop->uv, &poll->u.poll, fd));
    if (code) return code;
    poll->fd = fd;
    poll_rest(poll);
    return 0;
}

/* Poll for a handler; for none if `events` is 0. While a coroutine waits, that comes into effect afterwards. */
int co_poll_start(co_loop *loop, uint32_t slot, uint32_t generation, int events) {
    RENEWED(poll, UV_POLL, loop, slot, generation);
    int code = loop->demand[slot] > 0 ? 0 : poll_for(poll, events);
    poll->width = code ? 0 : (uint8_t)events;
    return code;
}

/* Poll for a waiter. */
int co_poll_wait(co_loop *loop, uint32_t slot, uint32_t generation, int events) {
    RENEWED(poll, UV_POLL, loop, slot, generation);
    int code = poll_for(poll, events);
    if (code)
        poll->width = 0;
    else
        loop->demand[slot] = 0;
    return code;
}

/* The waiter has left. */
int co_poll_left(co_loop *loop, uint32_t slot, uint32_t generation) {
    RENEWED(poll, UV_POLL, loop, slot, generation);
    loop->demand[slot] = -1;
    int code = poll_for(poll, poll->width);
    if (code) poll->width = 0;
    return code;
}
