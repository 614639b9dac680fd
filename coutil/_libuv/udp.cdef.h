/* Datagram sockets. `binary`, `port` and `scope` are an address; a NULL of `binary` stands for the connected peer. */

#define CO_DATAGRAM_HEAD ...
#define UV_EAI_SOCKTYPE ...

int co_udp_new(co_loop *loop, uint32_t slot, uint32_t generation, int ipv6);
int co_udp_bind(co_loop *loop, uint32_t slot, const co_address *address, int reuse);
int co_udp_name(co_loop *loop, uint32_t slot, int peer, co_address *into);
int co_udp_connect(co_loop *loop, uint32_t slot, const co_address *address);
int co_udp_receive_start(co_loop *loop, uint32_t slot);
int co_udp_try_send(co_loop *loop, uint32_t slot, const char *data, size_t size, const char *binary, int port,
                    uint32_t scope);
int co_udp_send(co_loop *loop, uint32_t slot, uint32_t request, uint32_t generation, const char *data, size_t size,
                const char *binary, int port, uint32_t scope);
int co_udp_broadcast(co_loop *loop, uint32_t slot, int on);
int co_udp_ttl(co_loop *loop, uint32_t slot, int ttl);
int co_udp_mcast_ttl(co_loop *loop, uint32_t slot, int ttl);
int co_udp_mcast_loop(co_loop *loop, uint32_t slot, int on);
int co_udp_mcast_interface(co_loop *loop, uint32_t slot, const char *interface);
int co_udp_membership(co_loop *loop, uint32_t slot, int join, const char *group, const char *interface,
                      const char *source);
