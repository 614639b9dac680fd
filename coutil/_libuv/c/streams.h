#pragma once

#include "shim.h"

int co_tcp_open(co_loop *loop, uint32_t slot, uint32_t generation, int raw, int family, co_handle **made);
int co_pipe_open(co_loop *loop, uint32_t slot, uint32_t generation, int raw, int ipc, co_handle **made);
int co_tty_open(co_loop *loop, uint32_t slot, uint32_t generation, int raw, int fd, co_handle **made);
int co_stream_use(co_handle *stream, int fd);
