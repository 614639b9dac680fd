#pragma once

#include "shim.h"

#include "pieces.h"

#define CO_ENTRIES 256      /* of a directory, read at once: the most */
#define CO_GIVEN 1          /* flags of a time, atime's; those of mtime are two bits further */
#define CO_NOW 2
#define CO_PACKED (1 << 16) /* room for entries on their way to Python */

typedef struct {
    int count, next, busy, open;
    int limit; /* entries to read at once; 0: as many as there is room for */
    uv_dir_t *dir;
    uv_dirent_t entries[CO_ENTRIES];
} co_folder;

/* A part of what is read or written at once. */
typedef struct {
    char *data;
    size_t size;
} co_piece;

typedef struct {
    int kind;
    int fd, source, flags, mode;
    int64_t offset, uid, gid;
    uint64_t size;
    char *data;
    co_piece *pieces;
    int count;
    const char *path, *dest; /* for co_fs_own */
    int in_pieces;
    co_mover *mover;
    double atime, mtime;
    co_folder *folder;
    int busy;
    int64_t result;
    int opened;
    char *text;
    size_t length;
    uv_stat_t stat;
    uv_statfs_t statfs;
} co_fs;

/* ---- called by Python ---- */

void co_folder_release(co_folder *folder);
int co_folder_take(co_folder *folder, char *packed);
int co_fs_start(co_loop *loop, uint32_t slot, uint32_t generation, co_fs *call, const char *path, const char *dest);
int co_fs_own(co_loop *loop, uint32_t slot, uint32_t generation, co_fs *call);
void co_fs_times(co_fs *call);
void co_fs_block(co_fs *call, const char *path, const char *dest);
uint64_t co_fs_fragment(const co_fs *call);
void co_fs_release(co_fs *call);
