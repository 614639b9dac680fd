/* Starting programs by uv_spawn, wherever spawn_linux.c cannot. libuv learns of the end by SIGCHLD, for which it needs
 * its own handler: a program that sets another one meanwhile is not told of the end. */

static void on_child_exit(uv_process_t *uv, int64_t status, int number) { child_ended(HANDLE(uv), (int)status, number); }

static void containers_for(const co_childfd *from, int count, uv_stdio_container_t *into) {
    for (int i = 0; i < count; i++) {
        into[i].flags = from[i].fd < 0 ? UV_IGNORE : UV_INHERIT_FD;
        into[i].data.fd = from[i].fd;
    }
}

static void on_spawn_closed(uv_handle_t *uv) {
    HANDLE(uv)->loop->handles_freed++;
    free(HANDLE(uv));
}

/* A handle has to be closed also if nothing was started; then its slot is free at once, and no record comes. */
static void spawn_failed(co_handle *child) {
    co_loop *loop = child->loop;
    loop->handles[child->slot] = NULL;
    loop->handles_closed++;
    uv_close(&child->u.handle, on_spawn_closed);
}

static int spawn_uv(co_handle *child, co_program *program, const co_childfd *stdio) {
    uv_stdio_container_t containers[3];
    uv_process_options_t options;
    memset(&options, 0, sizeof options);
    containers_for(stdio, 3, containers);
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
    int code = child_tap(child);
    if (code) return handle_opened(child, code);
    code = spawn_by_libuv(&child->loop->uv, (uv_process_t *)&child->u, &options);
    if (code) {
        child_untap(child);
        spawn_failed(child);
        return code;
    }
    program->pid = uv_process_get_pid((uv_process_t *)&child->u);
    child->extra = (void *)(intptr_t)program->pid;
    return 0;
}
