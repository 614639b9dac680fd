#pragma once

#include "shim.h"

void co_pipe_disconnect(co_handle *pipe);

/* ---- called by Python ---- */

int co_shutdown(co_loop *loop, uint32_t slot, uint32_t request, uint32_t generation);
