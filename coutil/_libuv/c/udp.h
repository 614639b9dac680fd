#pragma once

#include "shim.h"

#define CO_DATAGRAMS 16 /* how many are taken with one call, at most; those beyond the first are kept by Python */

/* What Python unpacks as "=IHHI16s". */
typedef struct {
    uint32_t size;
    uint16_t truncated, port;
    uint32_t scope;
    char binary[16]; /* of the sender; the last 12 are 0 for IPv4 */
} co_datagram;
#define CO_DATAGRAM_HEAD ((int)sizeof(co_datagram))

#ifndef __linux__
struct mmsghdr {
    struct msghdr msg_hdr;
    unsigned int msg_len;
};
#endif

#define UDP(name, loop, slot) OF_TYPE(name, UV_UDP, loop, slot)

/* A datagram that waits to be sent. */
typedef struct co_send_request co_send_request;
struct co_send_request {
    co_head head;
    co_send_request *next;
    uv_buf_t buffer;
    co_address address;
    const struct sockaddr *to;
    uv_udp_send_t uv;
};

static inline uv_buf_t co_udp_buffer(const char *data, size_t size) {
    return uv_buf_init((char *)data, size < UINT32_MAX ? (unsigned int)size : UINT32_MAX);
}

int co_udp_open(co_loop *loop, uint32_t slot, uint32_t generation, int raw, unsigned int flags, co_handle **made);
int co_udp_poll(co_handle *udp);
int co_udp_queue(co_handle *udp, co_send_request *request, const char *data, size_t size);
int co_udp_option(co_handle *udp, int level, int name, int value);
int co_udp_is_ipv6(co_handle *udp);

/* ---- called by Python ---- */

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
