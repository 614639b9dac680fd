#pragma once

#include "shim.h"

/* ---- called by Python ---- */

int co_poll_new(co_loop *loop, uint32_t slot, uint32_t generation, int fd);
int co_poll_start(co_loop *loop, uint32_t slot, uint32_t generation, int events);
int co_poll_wait(co_loop *loop, uint32_t slot, uint32_t generation, int events);
int co_poll_left(co_loop *loop, uint32_t slot, uint32_t generation);
