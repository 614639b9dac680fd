#pragma once

#include "shim.h"

/* Kinds of descriptors. */
enum {
    CO_FD_OTHER,
    CO_FD_IPV4,
    CO_FD_IPV6,
    CO_FD_LOCAL,
    CO_FD_FIFO,
    CO_FD_TERMINAL,
    CO_FD_FILE,
    CO_FD_UDP4,
    CO_FD_UDP6,
    CO_FD_LISTENS = 16 /* a bit that is added */
};

/* ---- called by Python ---- */

int co_kind_of(int fd);
int co_adopt(co_loop *loop, uint32_t slot, uint32_t generation, int fd, int kind, int share);
