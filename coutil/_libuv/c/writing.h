#pragma once

#include "shim.h"

void co_sigpipe_block(co_loop *loop);
void co_sigpipe_unblock(co_loop *loop);
void co_on_write(uv_write_t *uv, int status);
int co_write_start(co_request *request, co_handle *stream, const char *data, size_t size, uv_stream_t *passed,
                   uv_write_cb done);

/* ---- called by Python ---- */

int co_try_write(co_loop *loop, uint32_t slot, const char *data, size_t size);
int co_write(co_loop *loop, uint32_t slot, uint32_t request, uint32_t generation, const char *data, size_t size);
