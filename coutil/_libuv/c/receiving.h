#pragma once

#include "shim.h"

int co_wanted(co_handle *handle);
uv_buf_t co_window_for(co_loop *loop, uint32_t slot);
void co_deliver(co_handle *handle, char *data, size_t count);
void co_read_end(co_handle *handle, int code);
void co_disarm(co_handle *handle);
void co_unserved(co_handle *handle);
