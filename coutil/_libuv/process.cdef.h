/* Child processes, and what a process is to the system. */

#define CO_IGNORE ...
#define CO_INHERIT ...
#define CO_CHILD_READS ...
#define CO_CHILD_WRITES ...
#define CO_HAND_OVER ...
#define CO_SAME ...
#define UV_ESRCH ...
#define UV_ERANGE ...
#define UV_PROCESS_SETUID ...
#define UV_PROCESS_SETGID ...
#define UV_PROCESS_DETACHED ...

typedef struct {
    int kind, fd;
    uint32_t slot;
} co_stdio;

typedef struct {
    const char *file, *directory;
    char **arguments, **environment;
    co_stdio stdio[3];
    unsigned int flags;
    uint32_t user, group;
    int pid;
} co_program;

int co_child_pipe(co_loop *loop, uint32_t slot, uint32_t generation, int share);
int co_spawn(co_loop *loop, uint32_t slot, uint32_t generation, co_program *program);
int co_kill(co_loop *loop, uint32_t slot, int number);

int uv_kill(int pid, int number);
int uv_os_getpriority(int pid, int *priority);
int uv_os_setpriority(int pid, int priority);
int uv_chdir(const char *path);
int uv_cwd(char *buffer, size_t *size);
