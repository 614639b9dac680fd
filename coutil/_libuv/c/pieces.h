#pragma once

#include "shim.h"

#ifdef __linux__
#define CO_PIECES 1 /* whether copies go piece by piece */
#else
#define CO_PIECES 0
#endif

typedef struct co_mover co_mover;

co_mover *co_mover_new(void);
int co_mover_send(co_mover *mover, int fd, int source, int64_t offset, uint64_t size);
int co_mover_copy(co_mover *mover, const char *path, const char *dest, int flags);
int co_mover_step(co_mover *mover);
int64_t co_mover_end(co_mover *mover, int code);
