#pragma once

#include "shim.h"

int co_would_wait(int error);
int co_write_what_fits(int fd, const char *data, size_t size);
int co_is_left_to_us(co_handle *stream);
int co_is_readable(int fd);
