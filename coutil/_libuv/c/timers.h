#pragma once

#include "shim.h"

uint64_t co_timeout_from_now(co_loop *loop, uint64_t nanoseconds);

/* ---- called by Python ---- */

int co_timer_start(co_loop *loop, uint32_t slot, uint32_t generation, uint64_t nanoseconds);
int co_timer_stop(co_loop *loop, uint32_t slot);
int co_timer_hold(co_loop *loop, uint32_t slot, int hold);
