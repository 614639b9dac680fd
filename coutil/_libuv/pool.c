/* Requests of libuv's thread pool: their list, how they are cancelled, and what they mean for the end of the process.
 *
 * libuv starts the threads of its pool with the first request of a process, and aborts if it cannot. So the first request
 * starts as many threads with as large stacks before, and lets them end (pool_ready).
 *
 * At the end of the process libuv waits for its threads. A call may last for ever (to open a pipe that nobody else opens)
 * or for long (to look up a name): so the process waits for what is lasting only, and ends without libuv's word; so does the
 * child of a fork that has no such threads, for libuv would look for them and crash. */

#ifdef __linux__
#include <sys/syscall.h>
#endif

static int pooled_calls; /* that are not over, in all threads of this process */
static co_pooled *lasting; /* those of them that are lasting, and what guards the list */
static pthread_mutex_t lasting_lock = PTHREAD_MUTEX_INITIALIZER;
static int pool_ending;                  /* the process ends: what goes piece by piece stops */
static enum { POOL_UNUSED, POOL_USED, POOL_LOST } pool;

static void lasting_list(co_pooled *request, int by) {
    pthread_mutex_lock(&lasting_lock);
    if (by > 0) {
        request->lasting_next = lasting;
        request->lasting_back = &lasting;
        if (lasting) lasting->lasting_back = &request->lasting_next;
        lasting = request;
    } else if (request->lasting_back) {
        *request->lasting_back = request->lasting_next;
        if (request->lasting_next) request->lasting_next->lasting_back = request->lasting_back;
    }
    pthread_mutex_unlock(&lasting_lock);
}

static void lasting_no_more(co_pooled *request) {
    if (request->lasting) lasting_list(request, -1);
    request->lasting = 0;
}

static void pooled_count(co_pooled *request, int by) {
    if (request->cancel) return;
    __atomic_add_fetch(&pooled_calls, by, __ATOMIC_RELAXED);
    if (request->lasting) lasting_list(request, by);
    if (by > 0) __atomic_store_n(&pool, POOL_USED, __ATOMIC_RELAXED);
}

/* ---- the threads, before libuv starts its own ---- */

#define POOL_MOST 1024      /* threads that libuv starts at most */
#define POOL_STACK (8 << 20) /* bytes of each stack since libuv 1.45; before, as large as for any thread */
#define POOL_LEAVING 1000   /* milliseconds for the system to take a thread that has ended off its counts */

static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static int pool_checked; /* the pool of this process can start, or has */

typedef struct {
    uv_thread_t id;
    pthread_mutex_t *gate;
    long number; /* the system's */
} pool_trial;

/* The number of threads as libuv reads it. */
static unsigned int pool_size(void) {
    const char *value = getenv("UV_THREADPOOL_SIZE");
    if (!value) return 4;
    unsigned int size = (unsigned int)atoi(value);
    return size == 0 ? 1 : size > POOL_MOST ? POOL_MOST : size;
}

/* Stay until all of the threads exist. */
static void trial_run(void *data) {
    pool_trial *trial = data;
#ifdef __linux__
    trial->number = syscall(SYS_gettid);
#endif
    pthread_mutex_lock(trial->gate);
    pthread_mutex_unlock(trial->gate);
}

/* A thread that was joined counts against the limits for a moment more, as long as a signal can be sent to it. */
static void trial_forgotten(const pool_trial *trial) {
#ifdef __linux__
    for (int round = 0; round < POOL_LEAVING && !syscall(SYS_tgkill, getpid(), trial->number, 0); round++) usleep(1000);
#else
    (void)trial;
#endif
}

/* Start as many threads as the pool has, and let them end. No signal is handled in them. Returns 0 or libuv's code. */
static int pool_try(pool_trial *trials, unsigned int size) {
    uv_thread_options_t options = {.flags = UV_THREAD_NO_FLAGS};
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    unsigned int started = 0;
    sigset_t all, old;
    int code = 0;
    if (uv_version() >= ((1 << 16) | (45 << 8))) {
        options.flags = UV_THREAD_HAS_STACK_SIZE;
        options.stack_size = POOL_STACK;
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_mutex_lock(&gate);
    for (; !code && started < size; started += !code) {
        trials[started].gate = &gate;
        code = uv_thread_create_ex(&trials[started].id, &options, trial_run, &trials[started]);
    }
    pthread_mutex_unlock(&gate);
    for (unsigned int i = 0; i < started; i++) uv_thread_join(&trials[i].id);
    for (unsigned int i = 0; i < started; i++) trial_forgotten(&trials[i]);
    pthread_mutex_destroy(&gate);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return code;
}

/* Whether the pool can take a request: 0, UV_ENOMEM, or CO_NO_THREADS. It is asked again after a failure, and in the child
 * of a fork, where libuv starts its threads anew. */
static int pool_ready(void) {
    if (__atomic_load_n(&pool_checked, __ATOMIC_ACQUIRE)) return 0;
    unsigned int size = pool_size();
    pool_trial *trials = calloc(size, sizeof *trials);
    if (!trials) return UV_ENOMEM;
    pthread_mutex_lock(&pool_lock);
    int code = pool_checked ? 0 : pool_try(trials, size);
    if (!code) __atomic_store_n(&pool_checked, 1, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&pool_lock);
    free(trials);
    return code ? CO_NO_THREADS : 0;
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

/* ---- fork and exit ---- */

static void pooled_forked(void) {
    pooled_calls = pool_checked = 0;
    lasting = NULL;
    pthread_mutex_init(&pool_lock, NULL); /* a thread of the parent may have held it */
    pthread_mutex_init(&lasting_lock, NULL);
    if (pool == POOL_USED) pool = POOL_LOST;
}

#ifdef __GLIBC__
static int exit_status;

static void on_exit_status(int status, void *nothing) {
    (void)nothing;
    exit_status = status;
}
#endif

__attribute__((constructor)) static void pooled_watch(void) {
#ifdef __GLIBC__
    on_exit(on_exit_status, NULL);
#endif
    pthread_atfork(NULL, NULL, pooled_forked);
}

#ifdef __GLIBC__
/* Whether the pool has begun with something that is lasting, and has not ended it. What it has not begun is cancelled. */
static int lasting_runs(void) {
    int runs = 0, found;
    pthread_mutex_lock(&lasting_lock);
    for (co_pooled *one = lasting; one; one = one->lasting_next) {
        struct uv__work *work = pool_work(one->uv, &found);
        if (!one->cancelled) one->cancelled = !uv_cancel(one->uv);
        if (work && !one->cancelled) runs |= __atomic_load_n(&work->work, __ATOMIC_ACQUIRE) != NULL; /* NULL: finished */
    }
    pthread_mutex_unlock(&lasting_lock);
    return runs;
}

/* After all handlers of exit(3), Python's end among them, and before libuv's own destructor, which would also wait for
 * what may last for ever. */
__attribute__((destructor)) static void pooled_leave(void) {
    __atomic_store_n(&pool_ending, 1, __ATOMIC_RELAXED);
    if (pool != POOL_LOST && !__atomic_load_n(&pooled_calls, __ATOMIC_RELAXED)) return;
    while (pool != POOL_LOST && lasting_runs()) usleep(1000);
    fcloseall(); /* as exit(3) does: without locks, which those threads may hold */
    _exit(exit_status);
}
#endif

/* ---- requests ---- */

/* Make a request for the pool: `size` bytes that begin with a co_pooled, put into `made`. Returns 0, UV_ENOMEM, or
 * CO_NO_THREADS. */
static int pooled_new(size_t size, co_loop *loop, uint32_t slot, uint32_t generation, void **made) {
    int code = pool_ready();
    if (code) return code;
    *made = request_of(size, loop, slot, generation);
    return *made ? 0 : UV_ENOMEM;
}

/* A request was started with `code`: `uv` is the libuv part of it. Its callback calls pooled_done. */
static int pooled_started(co_pooled *request, uv_req_t *uv, int code) {
    if (code < 0) return request_started(request, code);
    pooled_count(request, 1);
    co_loop *loop = request->head.loop;
    request->uv = uv;
    request->head.pooled = 1;
    request->next = loop->pooled;
    request->back = &loop->pooled;
    if (loop->pooled) loop->pooled->back = &request->next;
    loop->pooled = request;
    return code;
}

static void pooled_done(co_pooled *request, int result) {
    pooled_count(request, -1);
    *request->back = request->next;
    if (request->next) request->next->back = request->back;
    request_done(request, result);
}

/* ---- work that goes piece by piece can be stopped although it has begun: then it ends with UV_ECANCELED ---- */

enum { PIECES_NONE, PIECES_GO_ON, PIECES_STOP, PIECES_OVER };

/* In the pool, between two pieces. */
static int pieces_stopped(co_pooled *request) {
    return __atomic_load_n(&request->pieces, __ATOMIC_RELAXED) == PIECES_STOP ||
           __atomic_load_n(&pool_ending, __ATOMIC_RELAXED);
}

static int pieces_become(co_pooled *request, int state) {
    int before = PIECES_GO_ON;
    return __atomic_compare_exchange_n(&request->pieces, &before, state, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* In the pool, after the last piece: whether that counts, since it was not stopped before. */
static int pieces_over(co_pooled *request) { return pieces_become(request, PIECES_OVER); }

/* Take a request out of the pool's queue if it has not begun, or stop it; unless `all`, what it closes is closed even so. */
static int pooled_cancel(co_pooled *request, int all) {
    uv_req_t *uv = request->uv;
    if (request->cancel) return request->cancel(request);
    uv_fs_type kind = uv->type == UV_FS ? ((uv_fs_t *)uv)->fs_type : UV_FS_UNKNOWN;
    if (!all && (kind == UV_FS_CLOSE || kind == UV_FS_CLOSEDIR)) return UV_EBUSY;
    int code = uv_cancel(uv);
    if (!code) request->cancelled = 1;
    if (code == UV_EBUSY && !all && kind == UV_FS_WRITE && lseek(((uv_fs_t *)uv)->file, 0, SEEK_CUR) < 0)
        lasting_no_more(request); /* nobody may ever read from the pipe, and nobody waits for that any longer */
    return code == UV_EBUSY && pieces_become(request, PIECES_STOP) ? 0 : code;
}

static void pooled_cancel_all(co_loop *loop, int all) {
    for (co_pooled *one = loop->pooled; one; one = one->next) pooled_cancel(one, all);
}

/* Nobody waits for a request any more. Only the pool's can be taken back, and only before they begin (else UV_EBUSY) or as
 * long as they go on piece by piece; the callback comes in any case. */
int co_cancel(co_loop *loop, uint32_t slot, uint32_t generation) {
    ENTER(loop);
    co_head *request = request_find(loop, slot, generation);
    return request && request->pooled ? pooled_cancel((co_pooled *)request, 0) : UV_EBUSY;
}

void co_cancel_all(co_loop *loop) {
    if (!foreign(loop)) pooled_cancel_all(loop, 0);
}
