#pragma once

#include "shim.h"

void co_push(co_loop *loop, uint32_t slot, uint32_t generation, int result, uint32_t offset);
int co_reserve(co_loop *loop);
