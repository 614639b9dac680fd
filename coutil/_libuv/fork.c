/* A loop that goes on in the child of a fork.
 *
 * co_loop_forked leaves everything as it is, for the descriptors are the parent's, too; co_loop_revive makes the kernel's
 * part anew. Timers, streams and signals go on. The threads of the pool do not exist here: what they had not finished is
 * cancelled. Children are our parent's: nobody can tell how they end.
 */

/* libuv's callback for a request of the pool that is cancelled; what it would have called is kept in place of the work. */
static void on_pool_gone(struct uv__work *work, int status) {
    void (*done)(struct uv__work *, int) = (void (*)(struct uv__work *, int))(void (*)(void))work->work;
    done(work, UV_ECANCELED);
}

/* Have libuv's next turn take a request for one that the pool has finished. */
static void pool_finished(uv_loop_t *loop, struct uv__work *work) {
    void **list = (void **)&loop->wq, **node = (void **)&work->wq, **last = list[1];
    node[0] = list;
    node[1] = last;
    last[0] = list[1] = node;
}

static void pooled_revive(co_pooled *request) {
    int found;
    struct uv__work *work = request->cancel ? NULL : pool_work(request->uv, &found);
    request->lasting = 0; /* it is over here, and the fork has emptied the list */
    if (!work || !work->done) return;
    pooled_calls++; /* the fork has set it to 0 */
    if (work->work && !found) { /* in libuv, one without `work` is finished */
        work->work = (void (*)(struct uv__work *))(void (*)(void))work->done;
        work->done = on_pool_gone;
    }
    pool_finished(&request->head.loop->uv, work);
}

/* What libuv has for each start of an uv_fs_poll_t: its own timer, or else its own request in the pool, is under way. */
typedef struct co_polling co_polling;
struct co_polling {
    uv_fs_poll_t *handle;
    int busy;
    unsigned int interval;
    uint64_t begin;
    uv_loop_t *loop;
    uv_fs_poll_cb told;
    uv_timer_t timer;
    uv_fs_t request;
    uv_stat_t before;
    co_polling *previous;
};

/* Ask the system here what a thread of the pool was about to ask it. */
static void polls_revive(uv_fs_poll_t *handle) {
    for (co_polling *one = handle->poll_ctx; one; one = one->previous) {
        uv_handle_t *timer = (uv_handle_t *)&one->timer;
        if (one->handle != handle || one->loop != handle->loop || one->request.fs_type != UV_FS_STAT) return; /* other */
        if (uv_is_active(timer) || uv_is_closing(timer) || !one->request.work_req.done) continue;
        if (one->request.work_req.work) one->request.work_req.work(&one->request.work_req);
        one->request.work_req.work = NULL;
        pool_finished(handle->loop, &one->request.work_req);
    }
}

static void on_walk_polls(uv_handle_t *uv, void *data) {
    if (uv->type == UV_FS_POLL) polls_revive((uv_fs_poll_t *)uv);
}

/* A file that is polled will be looked at by the pool, whose threads libuv starts anew. */
static void on_walk_pool(uv_handle_t *uv, void *data) {
    if (uv->type == UV_FS_POLL && uv_is_active(uv)) *(int *)data = pool_ready();
}

/* Build the list of what the pool has finished anew: a thread, or the lock that it held, may have been amid changing it. */
static void pool_revive(co_loop *loop) {
    void **list = (void **)&loop->uv.wq;
    uv_mutex_init(&loop->uv.wq_mutex);
    list[0] = list[1] = list;
    for (co_pooled *one = loop->pooled; one; one = one->next) pooled_revive(one);
    uv_walk(&loop->uv, on_walk_polls, NULL);
}

/* A call that was on its way when the process forked went to the parent. */
static void async_revive(uv_async_t *async) {
    async->pending = 0;
    uv_async_send(async);
}

/* The handles of such calls are noted (in `number`) before uv_loop_fork, which forgets the calls in libuv 1.48. */
static void on_walk_pending(uv_handle_t *uv, void *data) {
    co_loop *loop = data;
    if (uv->type != UV_ASYNC || uv == (uv_handle_t *)&loop->wakeup) return;
    HANDLE(uv)->number = !uv_is_closing(uv) && ((uv_async_t *)uv)->pending;
}

static void on_walk_forked(uv_handle_t *uv, void *data) {
    co_loop *loop = data;
    if (uv->type != UV_ASYNC) return;
    if (uv == (uv_handle_t *)&loop->wakeup ? loop->woken : HANDLE(uv)->number) async_revive((uv_async_t *)uv);
}

/* The poll of Python's wake-up pipe, which is closed here, must leave no trace in the parent's epoll descriptor. */
static void wakeups_forked(co_loop *loop) {
    int backend = loop->uv.backend_fd;
    if (loop->signals_on != CO_WATCHED) return;
    loop->uv.backend_fd = -1;
    uv_poll_stop(&loop->signals);
    loop->uv.backend_fd = backend;
    loop->signals_on = CO_UNWATCHED;
}

/* Returns 0, or libuv's code: the loop stays unusable then. Nothing happens to a loop of this process. */
int co_loop_revive(co_loop *loop) {
    if (!loop || loop->freed || !pthread_equal(loop->thread, pthread_self())) return CO_FOREIGN;
    if (!loop->forked) return 0;
    int code = 0;
    uv_walk(&loop->uv, on_walk_pool, &code);
    if (code) return code;
    uv_walk(&loop->uv, on_walk_pending, loop);
    wakeups_forked(loop);
    code = uv_loop_fork(&loop->uv);
    if (code) return code;
    loop->forked = 0;
    uv_walk(&loop->uv, on_walk_forked, loop);
    pool_revive(loop);
    async_revive(&loop->uv.wq_async);
    keepers_forked(loop);
    owners_revive(loop);
    signals_revive(loop);
    co_update(loop);
    return 0;
}
