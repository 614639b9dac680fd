#pragma once

#include "shim.h"

int co_file_note(co_handle *handle, int fd);
int co_is_same_file(const co_handle *handle, int fd);
int co_own(co_handle *handle);
int co_own_after(co_handle *handle, int code);
void co_own_pipes(const uv_stdio_container_t *stdio, int count);
int co_disown(co_handle *handle);
int co_is_replaced(const co_handle *handle);
int co_is_in_use(uv_loop_t *uv, int fd);
int co_is_watched(co_handle *handle);
int co_status_of(co_handle *handle, int status);
void co_descriptor_vacate(co_loop *loop, int fd);
void co_descriptor_leave(co_handle *handle);
int co_descriptor_check(co_handle *handle);
void co_lost_ready(co_handle *handle);
int co_lost_close(co_handle *handle);
void co_lost_leave(co_loop *loop);
void co_owners_revive(co_loop *loop);
void co_watchers_arm(co_loop *loop);

/* ---- called by Python ---- */

int co_is_owned(int fd);
