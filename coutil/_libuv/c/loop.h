#pragma once

#include "shim.h"

/* ---- called by Python ---- */

co_loop *co_loop_new(void);
int co_loop_close(co_loop *loop);
void co_loop_delete(co_loop *loop);
