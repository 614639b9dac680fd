/* Threads, and what synchronises them. */

#define UV_EOVERFLOW ...
#define UV_ETIMEDOUT ...

typedef struct { ...; } co_thread;
extern "Python+C" void co_thread_run(void *token);

typedef struct { ...; } co_mutex;

typedef struct { ...; } co_rwlock;

typedef struct { ...; } co_sem;

typedef struct { ...; } co_cond;

typedef struct { ...; } co_barrier;
