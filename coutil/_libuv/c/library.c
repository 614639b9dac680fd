/* Dynamic libraries, and the names of libuv's errors. */

#include "library.h"

static const struct {
    int code;
    const char *name;
} known_errors[] = {
#define XX(name, text) {UV_##name, #name},
    UV_ERRNO_MAP(XX)
#undef XX
};

/* Returns the code of the error at a position and its name, 0 behind the last. */
int co_known_error(unsigned int at, const char **name) {
    if (at >= sizeof known_errors / sizeof *known_errors) return 0;
    *name = known_errors[at].name;
    return known_errors[at].code;
}
