#pragma once

#include "shim.h"

void co_look_open(co_loop *loop);
void co_look_before(co_loop *loop, int milliseconds);
int co_look_after(co_loop *loop);
void co_wakeups_forked(co_loop *loop);
void co_wakeup_push(co_loop *loop);
void co_on_wakeup(uv_async_t *uv);

/* ---- called by Python ---- */

int co_watch_wakeups(co_loop *loop, int fd);
void co_wakeups_next(int fd);
void co_wake(co_loop *loop);
