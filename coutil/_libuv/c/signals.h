#pragma once

#include "shim.h"

/* libuv's watcher of one signal for one loop. */
struct co_shared_watcher {
    uv_signal_t uv; /* first */
    co_shared_watcher *next;
    int number;
    uint32_t count; /* what watches the signal in this loop */
    co_handle *first, **last;
};

int co_shared_watcher_start(co_loop *loop, int number, co_shared_watcher **shared);
void co_shared_watcher_stop(co_shared_watcher *shared);
int co_children_ignored(void);
void co_signals_ignored(sigset_t *ignored);
void co_signals_keep(co_loop *loop);
void co_signals_put_back(co_loop *loop);
void co_signals_close(co_loop *loop);
void co_signals_fork_begin(co_loop *loop);
void co_signals_fork_end(co_loop *loop);
void co_signals_revive(co_loop *loop);

/* ---- called by Python ---- */

int co_signal_start(co_loop *loop, uint32_t slot, uint32_t generation, int number);
int co_signal_stop(co_loop *loop, uint32_t slot);
