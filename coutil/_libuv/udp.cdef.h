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

/* Raw handles. An `address` of NULL, or of no family, stands for the connected peer. */

#define UV_UDP_IPV6ONLY ...
#define UV_UDP_REUSEADDR ...
#define UV_UDP_LINUX_RECVERR ...
#define UV_UDP_RECVMMSG ...
#define UV_ENOTSUP ...
#define AF_UNSPEC ...
#define AF_INET ...
#define AF_INET6 ...

int co_raw_udp_new(co_loop *loop, uint32_t slot, uint32_t generation, unsigned int flags);
int co_raw_udp_open(co_loop *loop, uint32_t slot, int fd, int exact, int reuseaddr, int reuseport);
int co_raw_udp_bind(co_loop *loop, uint32_t slot, const co_address *address, unsigned int flags, int reuseport);
int co_raw_udp_family(co_loop *loop, uint32_t slot);
int co_raw_udp_using_recvmmsg(co_loop *loop, uint32_t slot);
int co_raw_udp_flow(co_loop *loop, uint32_t slot, int on);
int co_raw_udp_left(co_loop *loop, uint32_t slot);
int co_raw_udp_try_send(co_loop *loop, uint32_t slot, const char *data, size_t size, const co_address *address);
int co_raw_udp_try_send_many(co_loop *loop, uint32_t slot, int count, const char **data, const size_t *sizes,
                             const co_address *addresses);
int co_raw_udp_send(co_loop *loop, uint32_t slot, uint32_t request, uint32_t generation, const char *data, size_t size,
                    const co_address *address);
int64_t co_raw_udp_queue(co_loop *loop, uint32_t slot, int what);
