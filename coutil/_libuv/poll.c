/* Descriptors of somebody else, polled: raw handles.
 *
 * A handler has a mask, which the handle keeps in `width`; while a coroutine waits, its own one is polled in place of it.
 * libuv takes the descriptor of a handle that is closed out of the system's set, even if that handle polls no more and
 * the number is somebody else's by then. So one that rests refers to a number that is in no such set: the set's own.
 */

static void on_polled(uv_poll_t *uv, int status, int events);

static void poll_rest(co_handle *poll) {
    if (poll->u.poll.io_watcher.fd == poll->fd) uv_poll_stop(&poll->u.poll);
    poll->u.poll.io_watcher.fd = uv_backend_fd(&poll->loop->uv);
}

/* Poll for `events`, for nothing if that is 0. */
static int poll_for(co_handle *poll, int events) {
    poll_rest(poll);
    if (!events) return 0;
    descriptor_vacate(poll->loop, poll->fd);
    poll->u.poll.io_watcher.fd = poll->fd;
    int code = uv_poll_start(&poll->u.poll, events, on_polled);
    if (code)
        poll->u.poll.io_watcher.fd = uv_backend_fd(&poll->loop->uv); /* another handle polls it */
    else
        refuse(poll);
    return code;
}

/* What has come for a waiter ends its wait, and what an error ends is over for the handler, too. */
static void poll_tell(co_handle *poll, int result) {
    co_loop *loop = poll->loop;
    int32_t *want = &loop->want[poll->slot];
    if (poll->turn == loop->turn) return; /* it comes again if it is true still */
    poll->turn = loop->turn;
    push(loop, poll->slot, poll->generation, result, 0);
    if (result < 0) poll->width = 0;
    if ((result < 0 || *want > 0) && poll_for(poll, poll->width)) poll->width = 0;
    *want = -1;
}

static void on_polled(uv_poll_t *uv, int status, int events) {
    co_handle *poll = HANDLE(uv);
    if (status < 0 || !is_quiet(poll)) poll_tell(poll, status < 0 ? status : events); /* else it comes again */
}

/* Another handle is about to poll a number that this one polls, perhaps NULL or no poll handle: that is another file's by now,
 * and the next step says so. */
static void poll_vacate(co_handle *poll, int fd) {
    if (!poll || !poll->raw || poll->u.handle.type != UV_POLL || is_same_file(poll, fd)) return;
    poll_rest(poll);
    poll->error = UV_EBADF;
    refuse(poll);
}

/* In the step after a start, or a loss: the number may be another file's by now, which can be polled as well. */
static void poll_check(co_handle *poll) {
    int active = uv_is_active(&poll->u.handle);
    if (poll->error || (active && !is_same_file(poll, poll->fd))) poll_tell(poll, UV_EBADF);
    poll->error = 0;
}

int co_poll_new(co_loop *loop, uint32_t slot, uint32_t generation, int fd) {
    co_handle *poll;
    ENTER(loop);
    int code = raw_open(loop, slot, generation, UV_POLL, &poll);
    if (code) return code;
    descriptor_vacate(loop, fd);
    code = file_note(poll, fd);
    code = handle_opened(poll, code ? code : uv_poll_init(&loop->uv, &poll->u.poll, fd));
    if (code) return code;
    poll->fd = fd;
    poll_rest(poll);
    return 0;
}

/* Poll for a handler; for none if `events` is 0. While somebody waits, that comes into effect afterwards. */
int co_poll_start(co_loop *loop, uint32_t slot, uint32_t generation, int events) {
    RENEWED(poll, UV_POLL, loop, slot, generation);
    int code = loop->want[slot] > 0 ? 0 : poll_for(poll, events);
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
        loop->want[slot] = 0;
    return code;
}

/* The waiter has left. */
int co_poll_left(co_loop *loop, uint32_t slot, uint32_t generation) {
    RENEWED(poll, UV_POLL, loop, slot, generation);
    loop->want[slot] = -1;
    int code = poll_for(poll, poll->width);
    if (code) poll->width = 0;
    return code;
}
