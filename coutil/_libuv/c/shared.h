#pragma once

#include "shim.h"

int co_shared_reads(const co_handle *stream);
int co_shared_read(co_handle *stream);
ssize_t co_shared_send(int fd, const char *data, size_t size, int passed);
int co_shared_write(co_handle *stream, co_request *request, const char *data, size_t size, int passed, uv_write_cb done);
int co_shared_shutdown(co_handle *stream, co_request *request, uv_shutdown_cb done);
int co_shared_start(co_handle *stream);
void co_shared_leave(co_handle *stream);
int co_is_shareable(co_handle *handle);
int co_share_descriptor(co_loop *loop, int fd);
void co_share_if_written(co_handle *stream);

/* ---- called by Python ---- */

int co_stream_share(co_loop *loop, uint32_t slot);
