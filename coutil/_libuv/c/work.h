#pragma once

#include "shim.h"

void co_work_call(uint64_t token); /* Python's: cffi defines it */

/* ---- called by Python ---- */

int co_work(co_loop *loop, uint32_t slot, uint32_t generation, uint64_t token);
int co_work_end(int milliseconds);
