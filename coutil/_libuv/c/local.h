#pragma once

#include "shim.h"

#include <sys/un.h>

#define CO_SUN_PATH (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

void co_local_handed_over(co_handle *passed);

/* ---- called by Python ---- */

int co_local_new(co_loop *loop, uint32_t slot, uint32_t generation, int share);
int co_local_bind(co_loop *loop, uint32_t slot, const char *name, size_t size);
int co_local_name(co_loop *loop, uint32_t slot, int peer, char *into, size_t room);
int co_local_permit(co_loop *loop, uint32_t slot, int readable, int writable);
int co_local_connect(co_loop *loop, uint32_t slot, uint32_t request, uint32_t generation, const char *name, size_t size);
int co_share_send(co_loop *loop, uint32_t slot, uint32_t request, uint32_t generation, const char *data, size_t size,
                  uint32_t passed);
int co_share_take(co_loop *loop, uint32_t slot, int count);
