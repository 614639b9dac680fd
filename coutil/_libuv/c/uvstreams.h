#pragma once

#include "shim.h"

enum { CO_READABLE = 1, CO_WRITABLE = 2, CO_PENDING = 4 }; /* bits of a stream's state */

/* ---- called by Python ---- */

int co_raw_tcp_new(co_loop *loop, uint32_t slot, uint32_t generation, int family);
int co_raw_pipe_new(co_loop *loop, uint32_t slot, uint32_t generation, int ipc);
int co_raw_tty_new(co_loop *loop, uint32_t slot, uint32_t generation, int fd);
int co_raw_open(co_loop *loop, uint32_t slot, int fd);
int co_raw_read_start(co_loop *loop, uint32_t slot, int push_mode);
int co_raw_read_once(co_loop *loop, uint32_t slot);
int co_raw_read_stop(co_loop *loop, uint32_t slot);
int co_stream_state(co_loop *loop, uint32_t slot);
int co_stream_queue(co_loop *loop, uint32_t slot, uint64_t *size);
int co_stream_blocking(co_loop *loop, uint32_t slot, int on);
int co_raw_bind(co_loop *loop, uint32_t slot, const co_address *address, unsigned int flags, int reuseport);
int co_reset(co_loop *loop, uint32_t slot);
int co_pending(co_loop *loop, uint32_t slot, int *type);
int co_raw_take(co_loop *loop, uint32_t slot, uint32_t into);
int co_try_write2(co_loop *loop, uint32_t slot, const char *data, size_t size, uint32_t other);
int co_socketpair(int type, int protocol, int *ends, int flags0, int flags1);
int co_pipe(int *ends, int read_flags, int write_flags);
int co_guess_handle(int fd);
int co_vterm_state(int *state);
void co_vterm_set(int on);
