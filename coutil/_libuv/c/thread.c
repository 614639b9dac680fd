/* Threads, and what synchronises them. All that blocks here blocks the thread; cffi has released the GIL. Where libuv
 * would abort, a code says so: UV_EBUSY (it would wait for itself), UV_EPERM (not the owner), UV_EOVERFLOW. */

#include "thread.h"
#include "since.h"

int co_thread_start(co_thread *thread, size_t stack_size, uintptr_t token) {
    uv_thread_options_t options = {.flags = stack_size ? UV_THREAD_HAS_STACK_SIZE : UV_THREAD_NO_FLAGS};
    options.stack_size = stack_size;
    return uv_thread_create_ex(&thread->id, &options, co_thread_run, (void *)token);
}

void co_thread_self(co_thread *thread) { thread->id = uv_thread_self(); }

int co_thread_equal(const co_thread *one, const co_thread *other) { return uv_thread_equal(&one->id, &other->id); }

uintptr_t co_thread_number(const co_thread *thread) { return (uintptr_t)thread->id; }

int co_thread_join(co_thread *thread) { return uv_thread_join(&thread->id); }

int co_thread_detach(co_thread *thread) { return IF_SINCE_1_50(uv_thread_detach(&thread->id)); }

int co_thread_set_affinity(co_thread *thread, char *mask, char *old, size_t size) {
    return IF_SINCE_1_45(uv_thread_setaffinity(&thread->id, mask, old, size));
}

int co_thread_get_affinity(co_thread *thread, char *mask, size_t size) {
    return IF_SINCE_1_45(uv_thread_getaffinity(&thread->id, mask, size));
}

int co_thread_cpu(void) { return IF_SINCE_1_45(uv_thread_getcpu()); }

int co_thread_get_priority(co_thread *thread, int *priority) {
    return IF_SINCE_1_48(uv_thread_getpriority(thread->id, priority));
}

int co_thread_set_priority(co_thread *thread, int priority) {
    return IF_SINCE_1_48(uv_thread_setpriority(thread->id, priority));
}

int co_thread_set_name(const char *name) { return IF_SINCE_1_50(uv_thread_setname(name)); }

int co_thread_get_name(co_thread *thread, char *name, size_t size) {
    return IF_SINCE_1_50(uv_thread_getname(&thread->id, name, size));
}

/* ---- mutexes: only the thread that has the lock writes `owner` and `depth`; any other may read them, and finds that it is
 * not the owner, whichever values it meets ---- */

static int mutex_mine(co_mutex *mutex) {
    uv_thread_t self = uv_thread_self(), owner;
    if (__atomic_load_n(&mutex->depth, __ATOMIC_ACQUIRE) <= 0) return 0;
    __atomic_load(&mutex->owner, &owner, __ATOMIC_RELAXED);
    return uv_thread_equal(&owner, &self);
}

static void mutex_taken(co_mutex *mutex, int depth) {
    uv_thread_t self = uv_thread_self();
    __atomic_store(&mutex->owner, &self, __ATOMIC_RELAXED);
    __atomic_store_n(&mutex->depth, depth, __ATOMIC_RELEASE);
}

int co_mutex_init(co_mutex *mutex, int recursive) {
    int code = recursive ? uv_mutex_init_recursive(&mutex->lock) : uv_mutex_init(&mutex->lock);
    mutex->recursive = recursive;
    mutex->ready = !code;
    return code;
}

int co_mutex_lock(co_mutex *mutex, int wait) {
    int mine = mutex_mine(mutex);
    if (mine && !mutex->recursive) return UV_EBUSY;
    if (mine && mutex->depth == INT32_MAX) return UV_EOVERFLOW;
    if (wait) uv_mutex_lock(&mutex->lock);
    else if (uv_mutex_trylock(&mutex->lock)) return UV_EBUSY;
    mutex_taken(mutex, mine ? mutex->depth + 1 : 1);
    return 0;
}

int co_mutex_unlock(co_mutex *mutex) {
    if (!mutex_mine(mutex)) return UV_EPERM;
    __atomic_store_n(&mutex->depth, mutex->depth - 1, __ATOMIC_RELEASE);
    uv_mutex_unlock(&mutex->lock);
    return 0;
}

/* 0: no thread has it; 1: another thread; 2: the caller. */
int co_mutex_state(co_mutex *mutex) {
    if (mutex_mine(mutex)) return 2;
    return __atomic_load_n(&mutex->depth, __ATOMIC_ACQUIRE) > 0;
}

/* A mutex that is locked is left as it is: its memory goes with the object. */
void co_mutex_destroy(co_mutex *mutex) {
    if (mutex->ready && mutex->depth == 0) uv_mutex_destroy(&mutex->lock);
    mutex->ready = 0;
}

/* ---- read-write locks: Python knows who has them ---- */

int co_rwlock_init(co_rwlock *lock) {
    int code = uv_rwlock_init(&lock->lock);
    lock->ready = !code;
    return code;
}

void co_rwlock_read(co_rwlock *lock) { uv_rwlock_rdlock(&lock->lock); }
int co_rwlock_try_read(co_rwlock *lock) { return uv_rwlock_tryrdlock(&lock->lock); }
void co_rwlock_end_read(co_rwlock *lock) { uv_rwlock_rdunlock(&lock->lock); }
void co_rwlock_write(co_rwlock *lock) { uv_rwlock_wrlock(&lock->lock); }
int co_rwlock_try_write(co_rwlock *lock) { return uv_rwlock_trywrlock(&lock->lock); }
void co_rwlock_end_write(co_rwlock *lock) { uv_rwlock_wrunlock(&lock->lock); }

void co_rwlock_destroy(co_rwlock *lock) {
    if (lock->ready && uv_rwlock_trywrlock(&lock->lock) == 0) {
        uv_rwlock_wrunlock(&lock->lock);
        uv_rwlock_destroy(&lock->lock);
    }
    lock->ready = 0;
}

/* ---- semaphores: `value` is never less than libuv's, which must not overflow ---- */

int co_sem_init(co_sem *sem, unsigned int value) {
    int code = uv_sem_init(&sem->sem, value);
    sem->value = value;
    sem->ready = !code;
    return code;
}

int co_sem_post(co_sem *sem) {
    uint32_t value = __atomic_load_n(&sem->value, __ATOMIC_RELAXED);
    do {
        if (value >= INT32_MAX) return UV_EOVERFLOW;
    } while (!__atomic_compare_exchange_n(&sem->value, &value, value + 1, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    uv_sem_post(&sem->sem);
    return 0;
}

int co_sem_wait(co_sem *sem, int wait) {
    if (wait) uv_sem_wait(&sem->sem);
    else if (uv_sem_trywait(&sem->sem)) return UV_EAGAIN;
    __atomic_sub_fetch(&sem->value, 1, __ATOMIC_RELAXED);
    return 0;
}

void co_sem_destroy(co_sem *sem) {
    if (sem->ready) uv_sem_destroy(&sem->sem);
    sem->ready = 0;
}

/* ---- conditions ---- */

int co_cond_init(co_cond *cond) {
    int code = uv_cond_init(&cond->cond);
    cond->ready = !code;
    return code;
}

void co_cond_signal(co_cond *cond) { uv_cond_signal(&cond->cond); }
void co_cond_broadcast(co_cond *cond) { uv_cond_broadcast(&cond->cond); }

/* UV_EBUSY: locked more than once, so that no other thread could ever signal. */
int co_cond_wait(co_cond *cond, co_mutex *mutex, int timed, uint64_t nanoseconds) {
    int code = 0;
    if (!mutex_mine(mutex)) return UV_EPERM;
    if (mutex->depth > 1) return UV_EBUSY;
    __atomic_store_n(&mutex->depth, 0, __ATOMIC_RELEASE);
    if (timed) code = uv_cond_timedwait(&cond->cond, &mutex->lock, nanoseconds);
    else uv_cond_wait(&cond->cond, &mutex->lock);
    mutex_taken(mutex, 1);
    return code;
}

void co_cond_destroy(co_cond *cond) {
    if (cond->ready) uv_cond_destroy(&cond->cond);
    cond->ready = 0;
}

/* ---- barriers ---- */

int co_barrier_init(co_barrier *barrier, unsigned int count) {
    int code = uv_barrier_init(&barrier->barrier, count);
    barrier->ready = !code;
    return code;
}

int co_barrier_wait(co_barrier *barrier) { return uv_barrier_wait(&barrier->barrier); }

void co_barrier_destroy(co_barrier *barrier) {
    if (barrier->ready) uv_barrier_destroy(&barrier->barrier);
    barrier->ready = 0;
}
