#pragma once

#include "shim.h"

int co_handle_opened(co_handle *handle, int code);
void co_handle_end(co_handle *handle);

/* ---- called by Python ---- */

int co_fileno(co_loop *loop, uint32_t slot);
int co_close(co_loop *loop, uint32_t slot);
