#pragma once

#include "shim.h"

int co_options_apply(co_handle *tcp);
void co_options_forget(co_handle *tcp);

/* ---- called by Python ---- */
int co_nodelay(co_loop *loop, uint32_t slot, int on);
int co_simultaneous_accepts(co_loop *loop, uint32_t slot, int on);
int co_keepalive(co_loop *loop, uint32_t slot, int on, unsigned int seconds);
int co_keepalive_ex(co_loop *loop, uint32_t slot, int on, unsigned int idle, unsigned int interval, unsigned int count);
