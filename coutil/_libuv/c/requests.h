#pragma once

#include "shim.h"

void *co_request_alloc(size_t size, co_loop *loop, uint32_t slot, uint32_t generation);
co_request *co_request_new(co_loop *loop, uint32_t slot, uint32_t generation);
co_head *co_request_find(co_loop *loop, uint32_t slot, uint32_t generation);
int co_request_started(void *request, int code);
void co_request_done(void *request, int result);
void co_request_inline_done(co_request *request, co_handle *handle);
void co_report_inline_done(co_loop *loop);

/* ---- called by Python ---- */

int co_under_way(co_loop *loop, uint32_t slot, uint32_t generation);
void co_out_release(co_out *out);
