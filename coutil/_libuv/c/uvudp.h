#pragma once

#include "shim.h"

/* ---- called by Python ---- */

int co_raw_udp_new(co_loop *loop, uint32_t slot, uint32_t generation, unsigned int flags);
int co_raw_udp_open(co_loop *loop, uint32_t slot, int fd, int exact, int reuseaddr, int reuseport);
int co_raw_udp_bind(co_loop *loop, uint32_t slot, const co_address *address, unsigned int flags, int reuseport);
int co_raw_udp_family(co_loop *loop, uint32_t slot);
int co_raw_udp_using_recvmmsg(co_loop *loop, uint32_t slot);
int co_raw_udp_push(co_loop *loop, uint32_t slot, int on);
int co_raw_udp_left(co_loop *loop, uint32_t slot);
int co_raw_udp_try_send(co_loop *loop, uint32_t slot, const char *data, size_t size, const co_address *address);
int co_raw_udp_try_send_many(co_loop *loop, uint32_t slot, int count, const char **data, const size_t *sizes,
                             const co_address *addresses);
int co_raw_udp_send(co_loop *loop, uint32_t slot, uint32_t request, uint32_t generation, const char *data, size_t size,
                    const co_address *address);
int64_t co_raw_udp_queue(co_loop *loop, uint32_t slot, int what);
