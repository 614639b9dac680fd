/* Information of the system about itself. Python calls libuv directly, except for unions, which cffi cannot look into. */

#include "info.h"
#include "since.h"

void co_interface(const uv_interface_address_t *interface, co_address *address, co_address *netmask) {
    memset(address, 0, sizeof *address);
    memset(netmask, 0, sizeof *netmask);
    memcpy(&address->storage, &interface->address, sizeof interface->address);
    memcpy(&netmask->storage, &interface->netmask, sizeof interface->netmask);
}

/* Its type depends on the version. */
const char *co_cpu_model(const uv_cpu_info_t *info) { return info->model; }

/* ---- what came after 1.44.2 ---- */

int co_getrusage_thread(uv_rusage_t *usage) { return IF_SINCE_1_50(uv_getrusage_thread(usage)); }

int co_passwd_of(uv_passwd_t *passwd, unsigned int user) { return IF_SINCE_1_45(uv_os_get_passwd2(passwd, user)); }

int co_group_of(co_group *group, unsigned int number) {
    return IF_SINCE_1_45(uv_os_get_group((uv_group_t *)group, number));
}

void co_group_release(co_group *group) {
#if SINCE(1, 45)
    uv_os_free_group((uv_group_t *)group);
#endif
}

int co_cpumask_size(void) { return IF_SINCE_1_45(uv_cpumask_size()); }

int co_available_memory(uint64_t *size) { return IF_SINCE_1_45((*size = uv_get_available_memory(), 0)); }

int co_clock(int realtime, int64_t *seconds, int32_t *nanoseconds) {
#if SINCE(1, 45)
    uv_timespec64_t found;
    int code = uv_clock_gettime(realtime ? UV_CLOCK_REALTIME : UV_CLOCK_MONOTONIC, &found);
    if (!code) *seconds = found.tv_sec, *nanoseconds = found.tv_nsec;
    return code;
#else
    return UV_ENOSYS;
#endif
}

int co_loop_metrics(co_loop *loop, uint64_t *turns, uint64_t *events, uint64_t *waiting) {
    ENTER(loop);
#if SINCE(1, 45)
    uv_metrics_t found;
    int code = uv_metrics_info(&loop->uv, &found);
    if (!code) *turns = found.loop_count, *events = found.events, *waiting = found.events_waiting;
    return code;
#else
    return UV_ENOSYS;
#endif
}

/* ---- titles ---- */

/* Gives libuv memory for titles, once: a list of arguments of our own, one behind the other. libuv keeps it. */
int co_title_room(const char *first) {
    static char room[CO_TITLE];
    static char *arguments[3];
    size_t size = strlen(first) + 1;
    if (arguments[0]) return 0;
    if (size > sizeof room - 2) return UV_ENAMETOOLONG;
    memset(room, ' ', sizeof room - 1);
    memcpy(room, first, size);
    arguments[0] = room;
    arguments[1] = room + size;
    return uv_setup_args(2, arguments) == arguments ? UV_ENOMEM : 0;
}
