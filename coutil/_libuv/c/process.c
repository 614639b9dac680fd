/* Starting and killing child processes. spawn_linux.c and spawn_uv.c are the two ways of starting. */

#include <signal.h>

#include "process.h"
#include "childfds.h"
#include "children.h"
#include "handles.h"
#include "slots.h"
#include "spawn_linux.h"
#include "spawn_uv.h"
#include "streams.h"

/* Our end of a pipe, until co_spawn connects it. */
int co_child_pipe(co_loop *loop, uint32_t slot, uint32_t generation, int share) {
    co_handle *pipe;
    ENTER(loop);
    return co_pipe_open(loop, slot, generation, 0, share, &pipe);
}

/* ---- beginning and end ---- */

static int stdio_make(co_loop *loop, const co_stdio *from, co_childfd *stdio) {
    int code = 0;
    for (int i = 0; i < 3; i++) stdio[i] = (co_childfd){.fd = -1, .mode = -1};
    for (int i = 0; i < 3 && !code; i++) {
        co_handle *pipe = from[i].kind & CO_CHILD_PIPE ? co_find(loop, from[i].slot) : NULL;
        code = co_childfd_make(loop, &stdio[i], from[i].kind, from[i].fd, pipe);
    }
    return code;
}

/* Start a program: later comes the record (slot, generation, status, signal), with -ECHILD for a status that is not known;
 * then that of the close callback. */
int co_spawn(co_loop *loop, uint32_t slot, uint32_t generation, co_program *program) {
    co_handle *child;
    co_childfd stdio[3];
    ENTER(loop);
    for (int i = 0; i < 3; i++)
        if (program->stdio[i].kind & CO_CHILD_PIPE) {
            OF_TYPE(pipe, UV_NAMED_PIPE, loop, program->stdio[i].slot);
        }
    co_orphans_reap();
    int by_pidfd = co_pidfds_work(), code = stdio_make(loop, program->stdio, stdio);
    if (!code) code = co_handle_open(loop, slot, generation, by_pidfd ? &co_pidfd_kind : &co_child_kind, &child);
    if (!code) code = by_pidfd ? co_spawn_linux(child, program, stdio) : co_spawn_uv(child, program, stdio);
    co_childfds_done(stdio, 3, code);
    return code ? code : co_handle_opened(child, 0);
}

/* No other process gets the signal: the child's number is not used again before its status has been taken. */
int co_kill(co_loop *loop, uint32_t slot, int number) {
    ENTER(loop);
    co_handle *child = co_find(loop, slot);
    if (!child || child->raw || uv_is_closing(&child->u.handle)) return UV_ESRCH;
    if (child->u.handle.type == UV_POLL) return co_pidfd_kill(child, number);
    return child->u.handle.type == UV_PROCESS ? uv_process_kill(&child->u.process, number) : UV_ESRCH;
}
