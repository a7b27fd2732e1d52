/*
 * Moving and clearing what lies beneath a folder, and what killed writers left in one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/io_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

/* The open folders that two entries beneath a folder lie in; both are the caller's after MMH_OK. */
static mmh_status open_parents(int *from_parent, const char **from_last, const char *from,
                               int *to_parent, const char **to_last, const char *to,
                               const mmh_folder *folder, mmh_error *err)
{
    mmh_status status = MMH_OK;
    *to_parent = -1;
    *from_last = *to_last = NULL;
    *from_parent = io_open_parent(from_last, folder, from, &status, err);
    if (*from_parent < 0)
        return status;
    *to_parent = io_open_parent(to_last, folder, to, &status, err);
    if (*to_parent < 0)
        close(*from_parent);
    return status;
}

mmh_status mmh_folder_rename(const mmh_folder *folder, const char *from, const char *to,
                             bool overwrite, mmh_error *err)
{
    const char *from_last, *to_last;
    int from_parent, to_parent;
    mmh_status status = open_parents(&from_parent, &from_last, from, &to_parent, &to_last, to,
                                     folder, err);
    if (status != MMH_OK)
        return status;
    bool renamed = overwrite
                     ? !io_fault() && renameat(from_parent, from_last, to_parent, to_last) == 0
                     : io_rename_new(from_parent, from_last, to_parent, to_last);
    if (!renamed)
        status = errno == EEXIST ? mmh_fail(err, MMH_E_USAGE, "%s/%s exists", folder->path, to)
                                 : io_fail(err, "rename a temporary file to", folder, to);
    close(to_parent);
    close(from_parent);
    return status;
}

mmh_status mmh_folder_exchange(const mmh_folder *folder, const char *from, const char *to,
                               bool *exchanged, mmh_error *err)
{
    const char *from_last, *to_last;
    *exchanged = false;
    int from_parent, to_parent;
    mmh_status status = open_parents(&from_parent, &from_last, from, &to_parent, &to_last, to,
                                     folder, err);
    if (status != MMH_OK)
        return status;
#if defined(RENAME_EXCHANGE)
    if (!io_fault() && renameat2(from_parent, from_last, to_parent, to_last, RENAME_EXCHANGE) == 0)
        *exchanged = true;
    else if (errno != ENOENT && errno != ENOSYS && errno != EINVAL && errno != ENOTSUP)
        status = io_fail(err, "replace", folder, to);
#endif
    close(to_parent);
    close(from_parent);
    return status;
}

mmh_status mmh_folder_remove_tree(const mmh_folder *folder, const char *relative, mmh_error *err)
{
    struct mmh_arena arena;
    struct mmh_path_info *entries = NULL;
    size_t count = 0;
    mmh_folder *tree;
    mmh_status status = mmh_folder_open_beneath(&tree, folder, relative, folder->allocator, err);
    if (status != MMH_OK)
        return status;
    mmh_arena_init(&arena, folder->allocator);
    status = mmh_folder_list(&entries, &count, &arena, tree, NULL, err);
    /* Sorted, so that backwards everything comes before the folder that holds it. */
    while (count-- > 0 && status == MMH_OK)
        status = mmh_folder_remove(tree, entries[count].path, err);
    mmh_folder_close(tree);
    mmh_arena_release(&arena);
    return status == MMH_OK ? mmh_folder_remove(folder, relative, err) : status;
}

mmh_status mmh_path_remove_folder(const char *path, mmh_error *err)
{
    if (io_fault() || rmdir(path))
        return io_fail(err, "remove", NULL, path);
    return MMH_OK;
}

/* ---- temporary names ---- */

static const char file_prefix[] = ".mmh-", file_suffix[] = ".tmp", folder_prefix[] = ".mmh-unpack-";
enum { DIGITS = 16 };

static bool all_hex(const char *text)
{
    return strspn(text, "0123456789abcdef") >= DIGITS;
}

static bool is_temporary_file(const char *name, size_t bytes)
{
    return bytes == IO_TEMPORARY_BYTES - 1 &&
           memcmp(name, file_prefix, sizeof file_prefix - 1) == 0 &&
           all_hex(name + sizeof file_prefix - 1) &&
           memcmp(name + bytes - (sizeof file_suffix - 1), file_suffix, sizeof file_suffix - 1) ==
               0;
}

static bool is_temporary_folder(const char *name, size_t bytes)
{
    return bytes == sizeof folder_prefix - 1 + DIGITS &&
           memcmp(name, folder_prefix, sizeof folder_prefix - 1) == 0 &&
           all_hex(name + sizeof folder_prefix - 1);
}

bool mmh_path_is_temporary(const char *name, size_t bytes)
{
    return is_temporary_file(name, bytes) || is_temporary_folder(name, bytes);
}

/* Whether `name` is still what is open. */
static bool is_still(int descriptor, int folder, const char *name)
{
    struct stat open, there;
    return fstat(descriptor, &open) == 0 &&
           fstatat(folder, name, &there, AT_SYMLINK_NOFOLLOW) == 0 && open.st_dev == there.st_dev &&
           open.st_ino == there.st_ino;
}

bool io_hold(int descriptor, int folder, const char *name)
{
    return (flock(descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) &&
           is_still(descriptor, folder, name);
}

mmh_status mmh_folder_stage(mmh_folder **staging, char *name, const mmh_folder *folder,
                            mmh_error *err)
{
    for (int tries = 0;; tries++) {
        *staging = NULL;
        snprintf(name, MMH_STAGING_BYTES, "%s%016llx", folder_prefix,
                 (unsigned long long)io_random());
        if (io_fault() || mkdirat(folder->descriptor, name, 0700)) {
            if (errno == EEXIST && tries < 100)
                continue;
            return io_fail(err, "create a folder in", NULL, folder->path);
        }
        mmh_error problem = { .status = MMH_OK };
        mmh_status status = mmh_folder_open_beneath(staging, folder, name, folder->allocator,
                                                    &problem);
        if (status == MMH_OK && io_hold((*staging)->descriptor, folder->descriptor, name))
            return MMH_OK;
        mmh_folder_close(*staging);
        *staging = NULL;
        /* It may have been swept before it was locked, or even opened: another one then. */
        bool there = unlinkat(folder->descriptor, name, AT_REMOVEDIR) == 0 || errno != ENOENT;
        if (status != MMH_OK && there)
            return mmh_fail(err, status, "%s", problem.message);
        if (tries == 100)
            return mmh_fail(err, MMH_E_IO, "cannot keep a folder in %s: it is removed each time",
                            folder->path);
    }
}

void mmh_folder_lock(const mmh_folder *folder)
{
    enum { TRIES = 1000, WAIT_NS = 10 * 1000 * 1000 };
    /* Not for ever: who has called us may hold it. */
    for (int tries = 0; tries < TRIES && flock(folder->descriptor, LOCK_EX | LOCK_NB); tries++) {
        const struct timespec wait = { .tv_nsec = WAIT_NS };
        if (errno != EWOULDBLOCK && errno != EINTR)
            return;
        (void)nanosleep(&wait, NULL);
    }
}

/* Remove one entry, if it is a leftover. What is being written is locked; the lock is held until
 * the entry is gone, and who has just made it sees then that it is (io_hold). */
static void sweep_entry(int folder, const char *name, const mmh_allocator *allocator)
{
    size_t bytes = strlen(name);
    bool tree = is_temporary_folder(name, bytes);
    struct stat from;
    if (!tree && !is_temporary_file(name, bytes))
        return;
    int entry = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (entry < 0)
        return;
    if (fstat(entry, &from) == 0 && from.st_uid == geteuid() &&
        (tree ? S_ISDIR(from.st_mode) : S_ISREG(from.st_mode)) &&
        flock(entry, LOCK_EX | LOCK_NB) == 0 && is_still(entry, folder, name)) {
        char path[] = ".";
        struct mmh_folder above = { .allocator = allocator, .descriptor = folder, .path = path };
        if (tree)
            (void)mmh_folder_remove_tree(&above, name, NULL);
        else
            (void)unlinkat(folder, name, 0);
    }
    close(entry);
}

void io_sweep(int folder, const mmh_allocator *allocator)
{
    int again = io_fault() ? -1 : openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = again < 0 ? NULL : fdopendir(again);
    if (!stream) {
        if (again >= 0)
            close(again);
        return;
    }
    for (const struct dirent *item; (item = readdir(stream)) != NULL;)
        sweep_entry(folder, item->d_name, allocator);
    closedir(stream);
}

void mmh_folder_sweep(const mmh_folder *folder)
{
    io_sweep(folder->descriptor, folder->allocator);
}
