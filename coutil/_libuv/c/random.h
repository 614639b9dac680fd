#pragma once

#include "shim.h"

/* ---- called by Python ---- */

int co_random(co_loop *loop, uint32_t slot, uint32_t generation, char *buffer, size_t size);
int co_random_block(char *buffer, size_t size);
