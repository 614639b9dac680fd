/* Listeners: sockets at which connections come in. */

#define CO_MORE ... /* want[slot] of a listener: a connection is likely to be there already */

int co_listen(co_loop *loop, uint32_t slot, int backlog);
int co_listener_start(co_loop *loop, uint32_t slot);
int co_listener_take(co_loop *loop, uint32_t slot);
int co_listener_flow(co_loop *loop, uint32_t slot, int flow);
int co_accept(co_loop *loop, uint32_t listener, uint32_t slot, uint32_t generation, int share);
int co_raw_accept(co_loop *loop, uint32_t listener, uint32_t slot);
