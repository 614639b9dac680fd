#pragma once

#include "shim.h"

typedef struct {
    uv_thread_t id;
} co_thread;

typedef struct {
    uv_mutex_t lock;
    uv_thread_t owner;
    int depth, recursive, ready;
} co_mutex;

typedef struct {
    uv_rwlock_t lock;
    int ready;
} co_rwlock;

typedef struct {
    uv_sem_t sem;
    uint32_t value;
    int ready;
} co_sem;

typedef struct {
    uv_cond_t cond;
    int ready;
} co_cond;

typedef struct {
    uv_barrier_t barrier;
    int ready;
} co_barrier;

void co_thread_run(void *token); /* Python's: cffi defines it */

/* ---- called by Python ---- */

int co_thread_start(co_thread *thread, size_t stack_size, uintptr_t token);
void co_thread_self(co_thread *thread);
int co_thread_equal(const co_thread *one, const co_thread *other);
uintptr_t co_thread_number(const co_thread *thread);
int co_thread_join(co_thread *thread);
int co_thread_detach(co_thread *thread);
int co_thread_set_affinity(co_thread *thread, char *mask, char *old, size_t size);
int co_thread_get_affinity(co_thread *thread, char *mask, size_t size);
int co_thread_cpu(void);
int co_thread_get_priority(co_thread *thread, int *priority);
int co_thread_set_priority(co_thread *thread, int priority);
int co_thread_set_name(const char *name);
int co_thread_get_name(co_thread *thread, char *name, size_t size);
int co_mutex_init(co_mutex *mutex, int recursive);
int co_mutex_lock(co_mutex *mutex, int wait);
int co_mutex_unlock(co_mutex *mutex);
int co_mutex_state(co_mutex *mutex);
void co_mutex_destroy(co_mutex *mutex);
int co_rwlock_init(co_rwlock *lock);
void co_rwlock_read(co_rwlock *lock);
int co_rwlock_try_read(co_rwlock *lock);
void co_rwlock_end_read(co_rwlock *lock);
void co_rwlock_write(co_rwlock *lock);
int co_rwlock_try_write(co_rwlock *lock);
void co_rwlock_end_write(co_rwlock *lock);
void co_rwlock_destroy(co_rwlock *lock);
int co_sem_init(co_sem *sem, unsigned int value);
int co_sem_post(co_sem *sem);
int co_sem_wait(co_sem *sem, int wait);
void co_sem_destroy(co_sem *sem);
int co_cond_init(co_cond *cond);
void co_cond_signal(co_cond *cond);
void co_cond_broadcast(co_cond *cond);
int co_cond_wait(co_cond *cond, co_mutex *mutex, int timed, uint64_t nanoseconds);
void co_cond_destroy(co_cond *cond);
int co_barrier_init(co_barrier *barrier, unsigned int count);
int co_barrier_wait(co_barrier *barrier);
void co_barrier_destroy(co_barrier *barrier);
