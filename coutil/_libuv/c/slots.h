#pragma once

#include "shim.h"

co_handle *co_handle_new(co_loop *loop, const co_kind *kind);
int co_handle_put(co_loop *loop, uint32_t slot, co_handle *handle);
int co_handle_open(co_loop *loop, uint32_t slot, uint32_t generation, const co_kind *kind, co_handle **made);
int co_raw_handle_open(co_loop *loop, uint32_t slot, uint32_t generation, const co_kind *kind, co_handle **made);
void co_handle_discard(co_handle *handle);
void co_handle_over(co_handle *handle);
void co_on_close(uv_handle_t *uv);
void co_starve(co_handle *handle);
