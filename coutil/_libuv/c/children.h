#pragma once

#include "shim.h"

#include <sys/types.h>

void co_orphans_add(pid_t pid);
void co_orphans_reap(void);
void co_children_forked(co_loop *loop);
int co_child_watch_sigchld(co_handle *child);
void co_child_unwatch_sigchld(co_handle *child);
void co_child_ended(co_handle *child, int status, int number);
void co_child_walk(co_handle *child);

/* ---- called by Python ---- */

typedef struct {
    int kind, fd;  /* see childfds.c */
    uint32_t slot; /* of our end of the pipe */
} co_stdio;

typedef struct {
    const char *file, *directory;
    char **arguments, **environment;
    co_stdio stdio[3];
    unsigned int flags;
    uint32_t user, group;
    int pid; /* is set */
} co_program;
