#pragma once

#include "shim.h"

/* ---- called by Python ---- */

int co_handle_flags(co_loop *loop, uint32_t slot);
int co_handle_ref(co_loop *loop, uint32_t slot, int on);
int co_buffer_size(co_loop *loop, uint32_t slot, int which, int size);
int co_raw_timer_new(co_loop *loop, uint32_t slot, uint32_t generation);
int co_raw_timer_start(co_loop *loop, uint32_t slot, uint32_t generation, uint64_t timeout, uint64_t repeat);
int co_raw_timer_stop(co_loop *loop, uint32_t slot, uint32_t generation);
int co_raw_timer_again(co_loop *loop, uint32_t slot, uint32_t generation);
int co_raw_timer_set_repeat(co_loop *loop, uint32_t slot, uint64_t repeat);
int co_raw_timer_times(co_loop *loop, uint32_t slot, uint64_t *repeat, uint64_t *due_in);
int co_prepare_new(co_loop *loop, uint32_t slot, uint32_t generation);
int co_check_new(co_loop *loop, uint32_t slot, uint32_t generation);
int co_idle_new(co_loop *loop, uint32_t slot, uint32_t generation);
int co_prepare_run(co_loop *loop, uint32_t slot, uint32_t generation, int on);
int co_check_run(co_loop *loop, uint32_t slot, uint32_t generation, int on);
int co_idle_run(co_loop *loop, uint32_t slot, uint32_t generation, int on);
int co_async_new(co_loop *loop, uint32_t slot, uint32_t generation, co_handle **made);
int co_async_send(co_handle *async);
int co_loop_now(co_loop *loop, uint64_t *milliseconds);
int co_loop_backend_fd(co_loop *loop);
int co_loop_backend_timeout(co_loop *loop, int *milliseconds);
int co_loop_configure(co_loop *loop, int option, int number);
uint64_t co_loop_idle_time(co_loop *loop);
char *co_loop_print(co_loop *loop, int active);
void co_free(void *memory);
