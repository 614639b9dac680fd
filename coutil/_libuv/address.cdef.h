/* Socket addresses. */

void co_address_set(co_address *address, int ipv6, const char *binary, int port, uint32_t scope);
int co_address_get(const co_address *address, char *binary, int *port, uint32_t *scope);
