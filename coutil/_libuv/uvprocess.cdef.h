/* Process handles as libuv has them, for coutil.uv. */

#define UV_IGNORE ...
#define UV_CREATE_PIPE ...
#define UV_INHERIT_FD ...
#define UV_READABLE_PIPE ...
#define UV_WRITABLE_PIPE ...
#define UV_PROCESS_WINDOWS_VERBATIM_ARGUMENTS ...
#define UV_PROCESS_WINDOWS_HIDE ...
#define UV_PROCESS_WINDOWS_HIDE_CONSOLE ...
#define UV_PROCESS_WINDOWS_HIDE_GUI ...

typedef struct {
    int flags, fd;
    uint32_t slot;
} co_container;

typedef struct {
    const char *file, *directory;
    char **arguments, **environment;
    co_container *stdio;
    int stdio_count;
    unsigned int flags;
    uint32_t user, group;
    int pid;
} co_command;

int co_raw_spawn(co_loop *loop, uint32_t slot, uint32_t generation, co_command *command);
int co_raw_process_kill(co_loop *loop, uint32_t slot, int number);
void uv_disable_stdio_inheritance(void);
