#pragma once

#include "shim.h"

#define CO_ITSELF 4   /* beside UV_RENAME and UV_CHANGE: it is about what is watched, not about an entry of it */
#define CO_OVERFLOW 8 /* changes may have been lost */
#define CO_CHANGE 16  /* bytes of a packed change without its name: slot, generation, kinds, size of the name */

/* ---- called by Python ---- */

int co_watch_open(co_loop *loop, uint32_t slot, uint32_t generation, const char *path, uint32_t limit, const char *only);
int co_watch_branch(co_loop *loop, uint32_t slot, uint32_t generation, uint32_t root, const char *path);
int co_watch_poll(co_loop *loop, uint32_t slot, uint32_t generation, const char *path, unsigned int milliseconds);
int co_watch_take(co_loop *loop, uint32_t slot, char *packed, int size, int most);
int co_watch_stats(co_loop *loop, uint32_t slot, int *status, uv_stat_t *before, uv_stat_t *after);
int co_fs_event_new(co_loop *loop, uint32_t slot, uint32_t generation, uint32_t limit);
int co_fs_event_start(co_loop *loop, uint32_t slot, uint32_t generation, const char *path, unsigned int flags);
int co_fs_event_stop(co_loop *loop, uint32_t slot, uint32_t generation);
int co_fs_poll_new(co_loop *loop, uint32_t slot, uint32_t generation);
int co_fs_poll_start(co_loop *loop, uint32_t slot, uint32_t generation, const char *path, unsigned int milliseconds);
int co_fs_poll_stop(co_loop *loop, uint32_t slot, uint32_t generation);
int co_fs_path(co_loop *loop, uint32_t slot, char *path, int size);
