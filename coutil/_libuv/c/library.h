#pragma once

#include "shim.h"

/* ---- called by Python ---- */

int co_known_error(unsigned int at, const char **name);
