#pragma once

#include "shim.h"

/* The beginning of a request of libuv's thread pool: they are listed, so that they can be cancelled. */
struct co_pooled {
    co_head head;
    co_pooled *next, **back;
    uv_req_t *uv;
    int side_effects; /* it changes something outside of this process, which must not end before */
    co_pooled *side_effects_next, **side_effects_back;
    int cancelled;              /* by libuv, before it began */
    int (*cancel)(co_pooled *); /* of a request that waits elsewhere */
    int pieces;                 /* of work that goes piece by piece: PIECES_GO_ON and others */
};

enum { PIECES_NONE, PIECES_GO_ON, PIECES_STOP, PIECES_OVER };

int co_pool_ready(void);
int co_pooled_new(size_t size, co_loop *loop, uint32_t slot, uint32_t generation, void **made);
int co_pooled_started(co_pooled *request, uv_req_t *uv, int code);
void co_pooled_done(co_pooled *request, int result);
void co_pooled_cancel_all(co_loop *loop, int all);
void co_pooled_revive_all(co_loop *loop);
int co_pieces_stopped(co_pooled *request);
int co_pieces_over(co_pooled *request);

/* ---- called by Python ---- */

int co_cancel(co_loop *loop, uint32_t slot, uint32_t generation);
void co_cancel_all(co_loop *loop);
