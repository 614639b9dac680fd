/* Random bytes from the system, in the thread pool. The simplest request there: others are made like it. */

#include "random.h"
#include "pool.h"

typedef struct {
    co_pooled pooled;
    uv_random_t uv;
} co_random_request;

static void on_random(uv_random_t *uv, int status, void *buffer, size_t size) {
    co_random_request *request = (co_random_request *)((char *)uv - offsetof(co_random_request, uv));
    co_pooled_done(&request->pooled, status);
}

/* Fill `buffer`, which must stay in place until the record comes. */
int co_random(co_loop *loop, uint32_t slot, uint32_t generation, char *buffer, size_t size) {
    ENTER(loop);
    co_random_request *request;
    int code = co_pooled_new(sizeof *request, loop, slot, generation, (void **)&request);
    if (code) return code;
    code = uv_random(&loop->uv, &request->uv, buffer, size, 0, on_random);
    return co_pooled_started(&request->pooled, (uv_req_t *)&request->uv, code);
}

/* Fill it now. In any thread. */
int co_random_block(char *buffer, size_t size) { return uv_random(NULL, NULL, buffer, size, 0, NULL); }
