/* Requests of libuv's thread pool: their list, how they are cancelled, and what they mean for the end of the process.
 *
 * libuv starts the threads of its pool with the first request of a process, and aborts if it cannot. So the first request
 * starts as many threads with as large stacks before, and lets them end (co_pool_ready).
 *
 * At the end of the process libuv waits for its threads. A call may last without end (to open a pipe that no other process
 * opens) or for long (to look up a name): so the process waits for side effects only, and ends without libuv's word; so does
 * the child of a fork that has no such threads, for libuv would look for them and crash. */

#include <signal.h>
#include <stdio.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

#include "pool.h"
#include "requests.h"

static int pooled_calls; /* that are not over, in all threads of this process */
static co_pooled *side_effects; /* those of them that have side effects, and what guards the list */
static pthread_mutex_t side_effects_lock = PTHREAD_MUTEX_INITIALIZER;
static int pool_ending;                  /* the process ends: what goes piece by piece stops */
static enum { POOL_UNUSED, POOL_USED, POOL_LOST } pool;

static void side_effects_list(co_pooled *request, int by) {
    pthread_mutex_lock(&side_effects_lock);
    if (by > 0) {
        request->side_effects_next = side_effects;
        request->side_effects_back = &side_effects;
        if (side_effects) side_effects->side_effects_back = &request->side_effects_next;
        side_effects = request;
    } else if (request->side_effects_back) {
        *request->side_effects_back = request->side_effects_next;
        if (request->side_effects_next) request->side_effects_next->side_effects_back = request->side_effects_back;
    }
    pthread_mutex_unlock(&side_effects_lock);
}

static void side_effects_forget(co_pooled *request) {
    if (request->side_effects) side_effects_list(request, -1);
    request->side_effects = 0;
}

static void pooled_count(co_pooled *request, int by) {
    if (request->cancel) return;
    __atomic_add_fetch(&pooled_calls, by, __ATOMIC_RELAXED);
    if (request->side_effects) side_effects_list(request, by);
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

    /* As libuv starts its threads. */
    if (uv_version() >= CO_UV_VERSION(1, 45, 0)) {
        options.flags = UV_THREAD_HAS_STACK_SIZE;
        options.stack_size = POOL_STACK;
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);

    /* All of them exist at the same time, or one cannot be started. */
    pthread_mutex_lock(&gate);
    for (; !code && started < size; started += !code) {
        trials[started].gate = &gate;
        code = uv_thread_create_ex(&trials[started].id, &options, trial_run, &trials[started]);
    }
    pthread_mutex_unlock(&gate);

    /* They end, and count against no limit any longer. */
    for (unsigned int i = 0; i < started; i++) uv_thread_join(&trials[i].id);
    for (unsigned int i = 0; i < started; i++) trial_forgotten(&trials[i]);
    pthread_mutex_destroy(&gate);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return code;
}

/* Whether the pool can take a request: 0, UV_ENOMEM, or CO_NO_THREADS. It is asked again after a failure, and in the child
 * of a fork, where libuv starts its threads anew. */
int co_pool_ready(void) {
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

/* ---- fork and exit ---- */

static void pooled_forked(void) {
    pooled_calls = pool_checked = 0;
    side_effects = NULL;
    pthread_mutex_init(&pool_lock, NULL); /* a thread of the parent may have held it */
    pthread_mutex_init(&side_effects_lock, NULL);
    if (pool == POOL_USED) pool = POOL_LOST;
}

/* In the child of a fork whose loop goes on: have what the pool had not finished called back with UV_ECANCELED. */
static void pooled_revive(co_pooled *request) {
    int found;
    co_uv_work_t *work = request->cancel ? NULL : co_uv_work(request->uv, &found);
    request->side_effects = 0; /* it is over here, and the fork has emptied the list */
    if (!work || !co_uv_work_is_queued(work)) return;
    pooled_calls++; /* the fork has set it to 0 */
    if (co_uv_work_runs(work) && !found) co_uv_work_cancel(work);
    co_uv_work_finished(&request->head.loop->uv, work);
}

void co_pooled_revive_all(co_loop *loop) {
    for (co_pooled *one = loop->pooled; one; one = one->next) pooled_revive(one);
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
/* Whether the pool has started with a side effect, and has not ended it. What it has not started is cancelled. */
static int side_effects_run(void) {
    int runs = 0, found;
    pthread_mutex_lock(&side_effects_lock);
    for (co_pooled *one = side_effects; one; one = one->side_effects_next) {
        co_uv_work_t *work = co_uv_work(one->uv, &found);
        if (!one->cancelled) one->cancelled = !uv_cancel(one->uv);
        if (work && !one->cancelled) runs |= co_uv_work_runs(work);
    }
    pthread_mutex_unlock(&side_effects_lock);
    return runs;
}

/* After all handlers of exit(3), Python's end among them, and before libuv's own destructor, which would also wait for
 * what may last without end. */
__attribute__((destructor)) static void pooled_leave(void) {
    __atomic_store_n(&pool_ending, 1, __ATOMIC_RELAXED);
    if (pool != POOL_LOST && !__atomic_load_n(&pooled_calls, __ATOMIC_RELAXED)) return;
    while (pool != POOL_LOST && side_effects_run()) usleep(1000);
    fcloseall(); /* as exit(3) does: without locks, which those threads may hold */
    _exit(exit_status);
}
#endif

/* ---- requests ---- */

/* Make a request for the pool: `size` bytes that begin with a co_pooled, put into `made`. Returns 0, UV_ENOMEM, or
 * CO_NO_THREADS. */
int co_pooled_new(size_t size, co_loop *loop, uint32_t slot, uint32_t generation, void **made) {
    int code = co_pool_ready();
    if (code) return code;
    *made = co_request_alloc(size, loop, slot, generation);
    return *made ? 0 : UV_ENOMEM;
}

/* A request was started with `code`: `uv` is the libuv part of it. Its callback calls pooled_done. */
int co_pooled_started(co_pooled *request, uv_req_t *uv, int code) {
    if (code < 0) return co_request_started(request, code);
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

void co_pooled_done(co_pooled *request, int result) {
    pooled_count(request, -1);
    *request->back = request->next;
    if (request->next) request->next->back = request->back;
    co_request_done(request, result);
}

/* ---- work that goes piece by piece can be stopped although it has started: then it ends with UV_ECANCELED ---- */

/* In the pool, between two pieces. */
int co_pieces_stopped(co_pooled *request) {
    return __atomic_load_n(&request->pieces, __ATOMIC_RELAXED) == PIECES_STOP ||
           __atomic_load_n(&pool_ending, __ATOMIC_RELAXED);
}

static int pieces_become(co_pooled *request, int state) {
    int before = PIECES_GO_ON;
    return __atomic_compare_exchange_n(&request->pieces, &before, state, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* In the pool, after the last piece: whether that counts, since it was not stopped before. */
int co_pieces_over(co_pooled *request) { return pieces_become(request, PIECES_OVER); }

/* Take a request out of the pool's queue if it has not started, or stop it; unless `all`, what it closes is closed even so. */
static int pooled_cancel(co_pooled *request, int all) {
    uv_req_t *uv = request->uv;
    if (request->cancel) return request->cancel(request);
    uv_fs_type kind = uv->type == UV_FS ? ((uv_fs_t *)uv)->fs_type : UV_FS_UNKNOWN;
    if (!all && (kind == UV_FS_CLOSE || kind == UV_FS_CLOSEDIR)) return UV_EBUSY;
    int code = uv_cancel(uv);
    if (!code) request->cancelled = 1;
    if (code == UV_EBUSY && !all && kind == UV_FS_WRITE && lseek(co_uv_fs_fd((uv_fs_t *)uv), 0, SEEK_CUR) < 0)
        side_effects_forget(request); /* no process may ever read from the pipe, and no coroutine waits for that any longer */
    return code == UV_EBUSY && pieces_become(request, PIECES_STOP) ? 0 : code;
}

void co_pooled_cancel_all(co_loop *loop, int all) {
    for (co_pooled *one = loop->pooled; one; one = one->next) pooled_cancel(one, all);
}

/* No coroutine waits for a request any longer. Only the pool's can be taken back, and only before they begin (else UV_EBUSY)
 * or as long as they go on piece by piece; the callback comes in any case. */
int co_cancel(co_loop *loop, uint32_t slot, uint32_t generation) {
    ENTER(loop);
    co_head *request = co_request_find(loop, slot, generation);
    return request && request->pooled ? pooled_cancel((co_pooled *)request, 0) : UV_EBUSY;
}

void co_cancel_all(co_loop *loop) {
    if (!co_foreign(loop)) co_pooled_cancel_all(loop, 0);
}
