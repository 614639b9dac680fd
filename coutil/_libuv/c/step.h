#pragma once

#include "shim.h"

/* ---- called by Python ---- */

int co_step(co_loop *loop, int block);
int co_alive(co_loop *loop);
void co_update(co_loop *loop);
