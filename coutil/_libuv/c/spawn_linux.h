#pragma once

#include "shim.h"

#include "childfds.h"
#include "children.h"

#ifdef __linux__
extern const co_kind co_pidfd_kind;

int co_pidfds_work(void);
int co_spawn_linux(co_handle *child, co_program *program, const co_childfd *stdio);
int co_pidfd_kill(co_handle *child, int number);
#else
static const co_kind co_pidfd_kind;

static inline int co_pidfds_work(void) { return 0; }
static inline int co_spawn_linux(co_handle *child, co_program *program, const co_childfd *stdio) { return UV_ENOSYS; }
static inline int co_pidfd_kill(co_handle *child, int number) { return UV_ENOSYS; }
#endif
