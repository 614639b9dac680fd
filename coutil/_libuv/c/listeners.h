#pragma once

#include "shim.h"

#define CO_MORE (-2) /* demand[slot]: not armed, or armed, and worth an attempt */

/* Declares `name`, a handle that listens; returns from the function if it does not. */
#define LISTENER(name, loop, slot) \
    STREAM(name, loop, slot);      \
    if (!name->listener) return UV_EINVAL

int co_listener_try(co_handle *handle);
int co_listener_pending(co_handle *handle);
int co_listener_release(co_handle *handle);
void co_listener_next(co_handle *handle);
void co_listener_rest(co_handle *handle);
void co_listener_hold(co_handle *handle, int hold);
void co_listener_close(co_handle *handle);
co_uv_watcher_t *co_listener_watcher(co_handle *stream);

/* ---- called by Python ---- */

int co_listen(co_loop *loop, uint32_t slot, int backlog);
int co_listener_start(co_loop *loop, uint32_t slot);
int co_listener_take(co_loop *loop, uint32_t slot);
int co_listener_push(co_loop *loop, uint32_t slot, int push_mode);
