#pragma once

#include "shim.h"

/* ---- called by Python ---- */

int co_raw_signal_new(co_loop *loop, uint32_t slot, uint32_t generation);
int co_raw_signal_start(co_loop *loop, uint32_t slot, uint32_t generation, int number, int once);
int co_raw_signal_stop(co_loop *loop, uint32_t slot, uint32_t generation);
