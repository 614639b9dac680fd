#pragma once

#include "shim.h"

#include <sys/socket.h>

#define CO_INET6 AF_INET6

/* One address of a look-up. */
typedef struct {
    int family, socktype, protocol, port;
    uint32_t scope;
    char binary[16];
} co_found;

/* ---- called by Python ---- */

int co_getaddrinfo(co_loop *loop, uint32_t slot, uint32_t generation, const char *host, const char *service, int family,
                   int socktype, int protocol, int flags, co_out *out);
int co_getnameinfo(co_loop *loop, uint32_t slot, uint32_t generation, const co_address *address, int flags, co_out *out);
int co_getaddrinfo_block(const char *host, const char *service, int family, int socktype, int protocol, int flags,
                         co_out *out);
int co_getnameinfo_block(const co_address *address, int flags, co_out *out);
