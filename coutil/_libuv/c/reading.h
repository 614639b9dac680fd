#pragma once

#include "shim.h"

int co_reading_start(co_handle *stream);
void co_stream_ready(co_handle *stream);

/* ---- called by Python ---- */

int co_read_start(co_loop *loop, uint32_t slot);
