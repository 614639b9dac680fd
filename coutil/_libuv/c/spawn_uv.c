/* Starting programs by uv_spawn, wherever spawn_linux.c cannot. libuv learns of the end by SIGCHLD, for which it needs
 * its own handler: a program that sets another one meanwhile does not learn of the end. */

#include "spawn_uv.h"
#include "handles.h"
#include "slots.h"

static void on_child_exit(uv_process_t *uv, int64_t status, int number) { co_child_ended(HANDLE(uv), (int)status, number); }

const co_kind co_child_kind = {.type = UV_PROCESS, .internal = 1, .walk = co_child_walk};

int co_spawn_uv(co_handle *child, co_program *program, const co_childfd *stdio) {
    uv_stdio_container_t containers[3];
    uv_process_options_t options;
    memset(&options, 0, sizeof options);
    co_containers_for(stdio, 3, containers);
    options.exit_cb = on_child_exit;
    options.file = program->file;
    options.args = program->arguments;
    options.env = program->environment;
    options.cwd = program->directory;
    options.flags = program->flags & (UV_PROCESS_SETUID | UV_PROCESS_SETGID | UV_PROCESS_DETACHED);
    options.uid = program->user;
    options.gid = program->group;
    options.stdio = containers;
    options.stdio_count = 3;
    int code = co_child_watch_sigchld(child);
    if (code) return co_handle_opened(child, code);
    code = co_spawn_by_libuv(&child->loop->uv, &child->u.process, &options);
    if (code) {
        co_child_unwatch_sigchld(child);
        co_handle_discard(child); /* libuv knows it, although nothing was started */
        return code;
    }
    program->pid = uv_process_get_pid(&child->u.process);
    child->extra = (void *)(intptr_t)program->pid;
    return 0;
}
