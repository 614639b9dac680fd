/* Starting programs by uv_spawn, wherever spawn_linux.c cannot. libuv learns of the end by SIGCHLD, for which it needs
 * its own handler: a program that sets another one meanwhile is not told of the end. */

static void on_child_exit(uv_process_t *uv, int64_t status, int number) { child_ended(HANDLE(uv), (int)status, number); }

static void container_for(co_loop *loop, const co_stdio *from, uv_stdio_container_t *into) {
    into->flags = UV_IGNORE;
    if (from->kind == CO_INHERIT) {
        into->flags = UV_INHERIT_FD;
        into->data.fd = from->fd;
    } else if (from->kind != CO_IGNORE) {
        into->flags = UV_CREATE_PIPE | (from->kind & CO_CHILD_READS ? UV_READABLE_PIPE : 0) |
                      (from->kind & CO_CHILD_WRITES ? UV_WRITABLE_PIPE : 0);
        into->data.stream = &find(loop, from->slot)->u.stream;
    }
}

static void on_spawn_closed(uv_handle_t *uv) {
    HANDLE(uv)->loop->handles_freed++;
    free(HANDLE(uv));
}

/* A handle has to be closed also if nothing was started; then its slot is free at once, and no record comes. */
static void spawn_failed(co_handle *child) {
    co_loop *loop = child->loop;
    uv_process_t *uv = (uv_process_t *)&child->u;
    if (uv_is_active(&child->u.handle)) { /* it did start, but one of its pipes cannot be used */
        kill(uv->pid, SIGKILL);
        while (waitpid(uv->pid, NULL, 0) < 0 && errno == EINTR) continue;
    }
    loop->handles[child->slot] = NULL;
    loop->handles_closed++;
    uv_close(&child->u.handle, on_spawn_closed);
}

static int spawn_uv(co_handle *child, co_program *program) {
    uv_stdio_container_t stdio[3];
    uv_process_options_t options;
    memset(&options, 0, sizeof options);
    for (int i = 0; i < 3; i++) container_for(child->loop, &program->stdio[i], &stdio[i]);
    options.exit_cb = on_child_exit;
    options.file = program->file;
    options.args = program->arguments;
    options.env = program->environment;
    options.cwd = program->directory;
    options.flags = program->flags & (UV_PROCESS_SETUID | UV_PROCESS_SETGID | UV_PROCESS_DETACHED);
    options.uid = program->user;
    options.gid = program->group;
    options.stdio = stdio;
    options.stdio_count = 3;
    int code = child_tap(child);
    if (code) return handle_opened(child, code);
    code = uv_spawn(&child->loop->uv, (uv_process_t *)&child->u, &options);
    if (code) {
        child_untap(child);
        spawn_failed(child);
        return code;
    }
    program->pid = uv_process_get_pid((uv_process_t *)&child->u);
    child->extra = (void *)(intptr_t)program->pid;
    return 0;
}
