/* What Python sees of libuv and of shim.c, for cffi. Slots are small integers that Python hands out: the owner of a
 * handle or request sits in a list under that index, and C keeps the memory under the same index. No pointer into
 * libuv's memory ever reaches Python. */

#define UV_EOF ...
#define UV_EBADF ...
#define UV_ENOTCONN ...
#define UV_ENOTSOCK ...
#define UV_ECANCELED ...
#define UV_EAGAIN ...
#define UV_EINVAL ...
#define UV_EMFILE ...
#define UV_ENFILE ...
#define UV_ENOBUFS ...
#define UV_ENOMEM ...
#define UV_EPROTO ...
#define UV_EPERM ...
#define UV_VERSION_HEX ...
#define CO_FOREIGN ...
#define CO_CLOSED ...
#define CO_NO_THREADS ...
#define CO_WAKEUP ...
#define CO_BLOCK ...
#define CO_BLOCK_ALWAYS ...
#define CO_ARENA ...
#define CO_SLOTS ...
#define CO_RECORD ...

unsigned int uv_version(void);
const char *uv_version_string(void);
const char *uv_strerror(int code);
const char *uv_err_name(int code);
uint64_t uv_hrtime(void);

typedef struct { ...; } co_address;

typedef struct { int64_t number; int fd; void *memory; size_t size; } co_out; /* what a request brings besides its code */
void co_out_release(co_out *out);

typedef struct {
    char *records;            /* completion ring: CO_RECORD bytes each, valid until the next co_step */
    char *arena;              /* CO_ARENA bytes of received data, valid until the next co_step */
    int32_t *want;            /* per slot: > 0 wanted bytes or connections, 0 armed but refused, -1 not armed */
    uint64_t *status;         /* [0] monotonic ns at the end of the last co_step or co_update; [1] size of the ring */
    uint32_t handles_created, handles_closed, handles_freed;
    uint32_t requests_created, requests_freed;
    uint32_t count;           /* records of the last co_step */
    ...;
} co_loop;

co_loop *co_loop_new(void);
int co_loop_close(co_loop *loop);
void co_loop_delete(co_loop *loop);
void co_loop_forked(co_loop *loop);
int co_step(co_loop *loop, int block);
int co_alive(co_loop *loop);
void co_update(co_loop *loop);
void co_wake(co_loop *loop);

int co_under_way(co_loop *loop, uint32_t slot, uint32_t generation);
int co_cancel(co_loop *loop, uint32_t slot, uint32_t generation);
void co_cancel_all(co_loop *loop);

int co_timer_start(co_loop *loop, uint32_t slot, uint32_t generation, uint64_t nanoseconds);
int co_timer_stop(co_loop *loop, uint32_t slot);
int co_timer_hold(co_loop *loop, uint32_t slot, int hold);

int co_tcp_new(co_loop *loop, uint32_t slot, uint32_t generation, int ipv6);
int co_bind(co_loop *loop, uint32_t slot, const co_address *address);
int co_name(co_loop *loop, uint32_t slot, int peer, co_address *into);
int co_fileno(co_loop *loop, uint32_t slot);
int co_read_start(co_loop *loop, uint32_t slot);
int co_try_write(co_loop *loop, uint32_t slot, const char *data, size_t size);
int co_write(co_loop *loop, uint32_t slot, uint32_t request, uint32_t generation, const char *data, size_t size);
int co_connect(co_loop *loop, uint32_t slot, uint32_t request, uint32_t generation, const co_address *address);
int co_shutdown(co_loop *loop, uint32_t slot, uint32_t request, uint32_t generation);
int co_close(co_loop *loop, uint32_t slot);
