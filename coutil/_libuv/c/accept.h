#pragma once

#include "shim.h"

/* ---- called by Python ---- */

int co_accept(co_loop *loop, uint32_t listener, uint32_t slot, uint32_t generation, int share);
int co_raw_accept(co_loop *loop, uint32_t listener, uint32_t slot);
