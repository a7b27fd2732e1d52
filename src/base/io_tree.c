/*
 * Moving and clearing what lies beneath a folder.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/io_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

mmh_status mmh_folder_rename(const mmh_folder *folder, const char *from, const char *to,
                             bool overwrite, mmh_error *err)
{
    const char *from_last, *to_last;
    mmh_status status;
    int from_parent = io_open_parent(&from_last, folder, from, &status, err);
    if (from_parent < 0)
        return status;
    int to_parent = io_open_parent(&to_last, folder, to, &status, err);
    if (to_parent < 0) {
        close(from_parent);
        return status;
    }
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
