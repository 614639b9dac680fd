#pragma once

#include "shim.h"

/* ---- called by Python ---- */

int co_tcp_new(co_loop *loop, uint32_t slot, uint32_t generation, int ipv6);
int co_bind(co_loop *loop, uint32_t slot, const co_address *address);
int co_name(co_loop *loop, uint32_t slot, int peer, co_address *into);
int co_connect(co_loop *loop, uint32_t slot, uint32_t request, uint32_t generation, const co_address *address);
