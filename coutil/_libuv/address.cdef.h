/* Socket addresses. */

void co_address_set(co_address *address, int ipv6, const char *binary, int port, uint32_t scope);
int co_address_get(const co_address *address, char *binary, int *port, uint32_t *scope);
int co_address_parse(co_address *address, int ipv6, const char *text, int port);
int co_address_text(const char *binary, size_t size, char *into, size_t room);
int uv_inet_ntop(int family, const void *binary, char *text, size_t size);
int uv_inet_pton(int family, const char *text, void *binary);
