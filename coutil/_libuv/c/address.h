#pragma once

#include "shim.h"

int co_address_scope(int fd, struct sockaddr_storage *address);

/* ---- called by Python ---- */

void co_address_set(co_address *address, int ipv6, const char *binary, int port, uint32_t scope);
int co_address_get(const co_address *address, char *binary, int *port, uint32_t *scope);
int co_address_parse(co_address *address, int ipv6, const char *text, int port);
int co_address_text(const char *binary, size_t size, char *into, size_t room);
