#pragma once

#include "shim.h"

#define CO_TITLE 4096 /* bytes that a title of the process may have, with the NUL */

typedef struct { /* uv_group_t */
    char *groupname;
    unsigned long gid;
    char **members;
} co_group;

/* ---- called by Python ---- */

const char *co_cpu_model(const uv_cpu_info_t *info);
void co_interface(const uv_interface_address_t *interface, co_address *address, co_address *netmask);
int co_passwd_of(uv_passwd_t *passwd, unsigned int user);
int co_group_of(co_group *group, unsigned int number);
void co_group_release(co_group *group);
int co_getrusage_thread(uv_rusage_t *rusage);
int co_available_memory(uint64_t *size);
int co_cpumask_size(void);
int co_title_room(const char *first);
int co_clock(int realtime, int64_t *seconds, int32_t *nanoseconds);
int co_loop_metrics(co_loop *loop, uint64_t *turns, uint64_t *events, uint64_t *waiting);
