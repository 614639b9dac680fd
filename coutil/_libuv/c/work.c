/* Python functions in libuv's thread pool. The only callback that enters the interpreter: in a thread of the pool, with
 * no frame of a loop below it.
 *
 * A thread of the pool that wants the interpreter's lock when the interpreter has ended would never come back, and the
 * end of the process waits for the pool. So co_work_end refuses what has not started and waits for the rest.
 */

#include <time.h>

#include "work.h"
#include "pool.h"
#include "wakeups.h"

typedef struct {
    co_pooled pooled;
    uint64_t token;
    int starved;
    uv_work_t uv;
} co_work_request;

static pthread_once_t work_once = PTHREAD_ONCE_INIT;
static pthread_mutex_t work_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work_idle;
static int work_running, work_over;

static void work_before_fork(void) { pthread_mutex_lock(&work_lock); }

static void work_in_parent(void) { pthread_mutex_unlock(&work_lock); }

/* The threads of the pool are the parent's. */
static void work_in_child(void) {
    work_running = 0;
    pthread_cond_init(&work_idle, NULL);
    pthread_mutex_unlock(&work_lock);
}

static void work_prepare(void) {
    pthread_cond_init(&work_idle, NULL);
    pthread_atfork(work_before_fork, work_in_parent, work_in_child);
}

/* Whether a function may begin. */
static int work_enter(void) {
    pthread_mutex_lock(&work_lock);
    int open = !work_over;
    work_running += open;
    pthread_mutex_unlock(&work_lock);
    return open;
}

static void work_leave(void) {
    pthread_mutex_lock(&work_lock);
    if (work_running && !--work_running) pthread_cond_broadcast(&work_idle); /* 0 already: it has forked */
    pthread_mutex_unlock(&work_lock);
}

static void work_run(uv_work_t *uv) {
    co_work_request *request = (co_work_request *)((char *)uv - offsetof(co_work_request, uv));
    request->starved = !work_enter();
    if (request->starved) return;
    co_work_call(request->token);
    work_leave();
}

static void on_work(uv_work_t *uv, int status) {
    co_work_request *request = (co_work_request *)((char *)uv - offsetof(co_work_request, uv));
    co_wakeup_push(request->pooled.head.loop); /* calls that the function made come before its result */
    co_pooled_done(&request->pooled, request->starved ? UV_ECANCELED : status);
}

/* Have co_work_call(token) called by a thread of the pool. */
int co_work(co_loop *loop, uint32_t slot, uint32_t generation, uint64_t token) {
    ENTER(loop);
    pthread_once(&work_once, work_prepare);
    if (work_over) return UV_ECANCELED;
    co_work_request *request;
    int code = co_pooled_new(sizeof *request, loop, slot, generation, (void **)&request);
    if (code) return code;
    request->token = token;
    code = uv_queue_work(&loop->uv, &request->uv, work_run, on_work);
    return co_pooled_started(&request->pooled, (uv_req_t *)&request->uv, code);
}

/* No function begins from now on. Wait for those that run, but no longer than that; return how many run still. */
int co_work_end(int milliseconds) {
    struct timespec until;
    pthread_once(&work_once, work_prepare);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)milliseconds * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&work_lock);
    work_over = 1;
    while (work_running && !pthread_cond_timedwait(&work_idle, &work_lock, &until)) continue;
    int running = work_running;
    pthread_mutex_unlock(&work_lock);
    return running;
}
