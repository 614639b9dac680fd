#pragma once

#include "shim.h"

#define CO_ENDS 256 /* two paths, and what is before each */

/* ---- called by Python ---- */

int co_ends(co_loop *loop, uint32_t slot, char *into);
