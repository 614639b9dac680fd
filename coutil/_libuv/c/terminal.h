#pragma once

#include "shim.h"

enum { CO_NORMAL, CO_RAW, CO_BINARY }; /* modes */

/* ---- called by Python ---- */

int co_terminal_mode(co_loop *loop, uint32_t slot, int mode);
int co_terminal_size(co_loop *loop, uint32_t slot, int *width, int *height);
void co_terminals_restore(void);
