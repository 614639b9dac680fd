#pragma once

#include "shim.h"

#include "childfds.h"
#include "children.h"

extern const co_kind co_child_kind;

int co_spawn_uv(co_handle *child, co_program *program, const co_childfd *stdio);
