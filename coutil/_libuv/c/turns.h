#pragma once

#include "shim.h"

int co_is_quiet(co_handle *handle);
void co_timers_run(co_loop *loop);
void co_same_everywhere(void);
