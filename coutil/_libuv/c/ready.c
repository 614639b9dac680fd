/* Files that may have to be waited for: pipes, terminals and other devices would keep a thread of the pool for as long as
 * nothing comes. libuv's polling would make the descriptor non-blocking for all processes that share it, and take each only
 * once. So libuv polls an epoll instance of its own for each wait, which looks at the descriptor. */

#ifdef __linux__
#include <sys/epoll.h>
#endif

#include "ready.h"
#include "descriptors.h"
#include "pool.h"
#include "requests.h"

typedef struct {
    co_pooled pooled;
    uv_poll_t poll;
    int epoll, result;
} co_ready_request;

#ifdef __linux__
static void on_ready_over(uv_handle_t *uv) {
    co_ready_request *request = (co_ready_request *)((char *)uv - offsetof(co_ready_request, poll));
    co_pooled_done(&request->pooled, request->result);
}

static void ready_end(co_ready_request *request, int result) {
    if (uv_is_closing((uv_handle_t *)&request->poll)) return;
    request->result = result;
    uv_close((uv_handle_t *)&request->poll, on_ready_over);
    close(request->epoll);
}

static void on_ready(uv_poll_t *uv, int status, int events) {
    ready_end((co_ready_request *)((char *)uv - offsetof(co_ready_request, poll)), status);
}

static int ready_cancel(co_pooled *pooled) {
    ready_end((co_ready_request *)pooled, UV_ECANCELED);
    return 0;
}

static int ready_watch(co_ready_request *request, int fd, int writing) {
    struct epoll_event event = {.events = writing ? EPOLLOUT : EPOLLIN};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) return uv_translate_sys_error(errno);
    int code = epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) ? uv_translate_sys_error(errno) : 0;
    co_descriptor_vacate(request->pooled.head.loop, epoll);
    if (!code) code = uv_poll_init(&request->pooled.head.loop->uv, &request->poll, epoll);
    if (code) close(epoll);
    request->epoll = epoll;
    return code;
}
#endif

/* A request that ends when the descriptor can be read or written; co_cancel ends it, too. */
int co_ready_start(co_loop *loop, uint32_t slot, uint32_t generation, int fd, int writing) {
    ENTER(loop);
#ifdef __linux__
    co_ready_request *request = co_request_alloc(sizeof *request, loop, slot, generation);
    if (!request) return UV_ENOMEM;
    request->pooled.cancel = ready_cancel;
    int code = ready_watch(request, fd, writing);
    if (!code) uv_poll_start(&request->poll, UV_READABLE, on_ready); /* cannot fail: the handle is new */
    return co_pooled_started(&request->pooled, NULL, code);
#else
    return UV_ENOTSUP;
#endif
}
