/* Functions that came after libuv 1.44: a call of one is UV_ENOSYS where the headers are older. */

#pragma once

#include "shim.h"

#define SINCE(major, minor) (UV_VERSION_HEX >= CO_UV_VERSION(major, minor, 0))
#if SINCE(1, 45)
#define IF_SINCE_1_45(code) (code)
#else
#define IF_SINCE_1_45(code) UV_ENOSYS
#endif
#if SINCE(1, 48)
#define IF_SINCE_1_48(code) (code)
#else
#define IF_SINCE_1_48(code) UV_ENOSYS
#endif
#if SINCE(1, 50)
#define IF_SINCE_1_50(code) (code)
#else
#define IF_SINCE_1_50(code) UV_ENOSYS
#endif
