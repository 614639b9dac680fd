#pragma once

#include "shim.h"

/* ---- called by Python ---- */

int co_ready_start(co_loop *loop, uint32_t slot, uint32_t generation, int fd, int writing);
