/* Information of the system about itself and this process. None of these calls waits for anything. */

struct uv_cpu_times_s { uint64_t user, nice, sys, idle, irq; ...; };
typedef struct { int speed; struct uv_cpu_times_s cpu_times; ...; } uv_cpu_info_t;
int uv_cpu_info(uv_cpu_info_t **infos, int *count);
void uv_free_cpu_info(uv_cpu_info_t *infos, int count);

typedef struct { char *name; char phys_addr[6]; int is_internal; ...; } uv_interface_address_t;
int uv_interface_addresses(uv_interface_address_t **addresses, int *count);
void uv_free_interface_addresses(uv_interface_address_t *addresses, int count);
int uv_if_indextoname(unsigned int index, char *buffer, size_t *size);
int uv_if_indextoiid(unsigned int index, char *buffer, size_t *size);

typedef struct { char *username; long uid; long gid; char *shell; char *homedir; ...; } uv_passwd_t;
int uv_os_get_passwd(uv_passwd_t *passwd);
void uv_os_free_passwd(uv_passwd_t *passwd);
typedef struct { char *groupname; unsigned long gid; char **members; } co_group;
int uv_os_getpid(void);
int uv_os_getppid(void);

typedef struct { char sysname[...]; char release[...]; char version[...]; char machine[...]; ...; } uv_utsname_t;
int uv_os_uname(uv_utsname_t *buffer);

typedef struct { long tv_sec, tv_usec; ...; } uv_timeval_t;
typedef struct {
    uv_timeval_t ru_utime, ru_stime;
    uint64_t ru_maxrss, ru_ixrss, ru_idrss, ru_isrss, ru_minflt, ru_majflt, ru_nswap, ru_inblock, ru_oublock, ru_msgsnd,
        ru_msgrcv, ru_nsignals, ru_nvcsw, ru_nivcsw;
    ...;
} uv_rusage_t;
int uv_getrusage(uv_rusage_t *rusage);

int uv_exepath(char *buffer, size_t *size);
int uv_os_gethostname(char *buffer, size_t *size);
int uv_os_homedir(char *buffer, size_t *size);
int uv_os_tmpdir(char *buffer, size_t *size);
int uv_resident_set_memory(size_t *size);
int uv_uptime(double *seconds);
void uv_loadavg(double averages[3]);
uint64_t uv_get_free_memory(void);
uint64_t uv_get_total_memory(void);
uint64_t uv_get_constrained_memory(void);
unsigned int uv_available_parallelism(void);

#define CO_TITLE ...
int uv_get_process_title(char *buffer, size_t size);
int uv_set_process_title(const char *title);

typedef struct { char *name; char *value; } uv_env_item_t;
int uv_os_environ(uv_env_item_t **items, int *count);
void uv_os_free_environ(uv_env_item_t *items, int count);
int uv_os_getenv(const char *name, char *buffer, size_t *size);
int uv_os_setenv(const char *name, const char *value);
int uv_os_unsetenv(const char *name);

typedef struct { int64_t tv_sec; int32_t tv_usec; } uv_timeval64_t;
int uv_gettimeofday(uv_timeval64_t *found);

int uv_get_osfhandle(int fd);
int uv_open_osfhandle(int handle);
