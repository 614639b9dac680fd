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

/* libuv's part of a request, and whether it brings something that was found already: then that is told. */
static struct uv__work *pool_work(uv_req_t *uv, int *found) {
    *found = 0;
    switch (uv->type) {
    case UV_FS:
        *found = ((uv_fs_t *)uv)->result != 0;
        return &((uv_fs_t *)uv)->work_req;
    case UV_GETADDRINFO:
        *found = ((uv_getaddrinfo_t *)uv)->retcode || ((uv_getaddrinfo_t *)uv)->addrinfo;
        return &((uv_getaddrinfo_t *)uv)->work_req;
    case UV_GETNAMEINFO:
        *found = ((uv_getnameinfo_t *)uv)->retcode != 0;
        return &((uv_getnameinfo_t *)uv)->work_req;
    case UV_RANDOM:
        return &((uv_random_t *)uv)->work_req;
    case UV_WORK:
        return &((uv_work_t *)uv)->work_req;
    default:
        return NULL;
    }
}

/* Build the list of what the pool has finished anew: a thread, or the lock that it held, may have been amid changing it.
 * In libuv a request without `work` is finished. */
static void pool_revive(co_loop *loop) {
    void **list = (void **)&loop->uv.wq, **last = list;
    uv_mutex_init(&loop->uv.wq_mutex);
    for (co_pooled *one = loop->pooled; one; one = one->next) {
        int found;
        struct uv__work *work = one->cancel ? NULL : pool_work(one->uv, &found);
        if (!work) continue;
        pooled_calls++; /* the fork has set it to 0 */
        pooled_lasting += !!one->lasting;
        if (work->work && !found) {
            work->work = (void (*)(struct uv__work *))(void (*)(void))work->done;
            work->done = on_pool_gone;
        }
        void **node = (void **)&work->wq;
        last[0] = node;
        node[1] = last;
        last = node;
    }
    last[0] = list;
    list[1] = last;
}

/* A call that was on its way when the process forked went to the parent. */
static void async_revive(uv_async_t *async) {
    async->pending = 0;
    uv_async_send(async);
}

static void on_walk_forked(uv_handle_t *uv, void *data) {
    if (uv->type == UV_ASYNC && !uv_is_closing(uv) && ((uv_async_t *)uv)->pending) async_revive((uv_async_t *)uv);
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
    wakeups_forked(loop);
    int code = uv_loop_fork(&loop->uv);
    if (code) return code;
    loop->forked = 0;
    uv_walk(&loop->uv, on_walk_forked, NULL);
    pool_revive(loop);
    async_revive(&loop->uv.wq_async);
    keepers_forked(loop);
    signals_revive(loop);
    co_update(loop);
    return 0;
}
