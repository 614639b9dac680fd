/* The addresses of both ends of a socket. */

#define CO_ENDS 256
int co_ends(co_loop *loop, uint32_t slot, char *into);
