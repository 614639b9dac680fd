/* The addresses of both ends of a socket. */

#define CO_ENDS 256
