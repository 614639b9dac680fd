#pragma once

#include "shim.h"

#include "children.h"

/* ---- called by Python ---- */

int co_child_pipe(co_loop *loop, uint32_t slot, uint32_t generation, int share);
int co_spawn(co_loop *loop, uint32_t slot, uint32_t generation, co_program *program);
int co_kill(co_loop *loop, uint32_t slot, int number);
