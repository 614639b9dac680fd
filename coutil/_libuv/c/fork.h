#pragma once

#include "shim.h"

/* ---- called by Python ---- */

void co_loop_forked(co_loop *loop);
int co_loop_revive(co_loop *loop);
