#pragma once

#include "shim.h"

void co_child_watchers_recover(co_loop *loop);
void co_child_watchers_leave(co_loop *loop);
void co_child_watchers_forked(co_loop *loop);

/* ---- called by Python ---- */

/* How one descriptor of a child comes to be. */
typedef struct {
    int flags, fd; /* UV_IGNORE, UV_INHERIT_FD (fd), UV_CREATE_PIPE and others */
    uint32_t slot; /* of the pipe to create */
} co_container;

typedef struct {
    const char *file, *directory;
    char **arguments, **environment;
    co_container *stdio;
    int stdio_count;
    unsigned int flags;
    uint32_t user, group;
    int pid; /* is set */
} co_command;

int co_raw_spawn(co_loop *loop, uint32_t slot, uint32_t generation, co_command *command);
int co_raw_process_kill(co_loop *loop, uint32_t slot, int number);
