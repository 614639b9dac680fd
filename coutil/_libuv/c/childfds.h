#pragma once

#include "shim.h"

/* How a descriptor of a child comes to be. */
#define CO_IGNORE 0
#define CO_INHERIT 1
#define CO_CHILD_READS 2
#define CO_CHILD_WRITES 4
#define CO_HAND_OVER 8
#define CO_SAME 16 /* as the descriptor before */
#define CO_CHILD_PIPE (CO_CHILD_READS | CO_CHILD_WRITES)

typedef struct {
    int kind;
    int fd;          /* the child's; -1: the null device, or none */
    int made;        /* whether it exists for the child only, and has to be closed here after the start */
    int mode;        /* flags of a shared description as they were before the start; -1: they cannot change */
    co_handle *pipe; /* our end of a pipe */
} co_childfd;

int co_childfd_make(co_loop *loop, co_childfd *into, int kind, int fd, co_handle *pipe);
void co_childfds_done(co_childfd *fds, int count, int code);
void co_descriptors_hide(void);
void co_containers_for(const co_childfd *from, int count, uv_stdio_container_t *into);
int co_spawn_by_libuv(uv_loop_t *loop, uv_process_t *process, const uv_process_options_t *options);
