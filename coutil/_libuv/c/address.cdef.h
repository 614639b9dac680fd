/* Socket addresses. */

int uv_inet_ntop(int family, const void *binary, char *text, size_t size);
int uv_inet_pton(int family, const char *text, void *binary);
