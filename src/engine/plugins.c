/*
 * Format plug-ins of a context: one by its path, or all of a folder.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "engine/engine.h"

enum { WRITABLE_BY_ALL = 0002 };

mmh_status mmh_format_plugin_load(mmh_context *context, const char *path, mmh_error *err)
{
    return mmh_plugins_load(&context->plugins, path, MMH_PLUGIN_BEFORE_ALL, err);
}

static bool is_plugin_name(const char *name)
{
    return !strchr(name, '/') &&
           (mmh_name_has_suffix(name, ".so") || mmh_name_has_suffix(name, ".dylib"));
}

static mmh_status load_found(mmh_context *context, struct mmh_arena *arena, const char *folder,
                             const char *name, mmh_error *err)
{
    struct mmh_path_info info;
    const char *path = mmh_arena_format(arena, "%s/%s", folder, name);
    if (!path)
        return mmh_fail(err, MMH_E_MEMORY, "format plug-in");
    mmh_status status = mmh_path_stat(&info, path, true, err);
    if (status != MMH_OK)
        return status;
    if (info.kind != MMH_PATH_FILE)
        return MMH_OK;
    if (info.mode & WRITABLE_BY_ALL)
        return mmh_fail(err, MMH_E_USAGE, "format plug-in \"%s\": every user may write to it",
                        path);
    return mmh_plugins_load(&context->plugins, path, MMH_PLUGIN_AFTER_ALL, err);
}

static mmh_status load_all(mmh_context *context, struct mmh_arena *arena, const char *path,
                           const mmh_folder *folder, mmh_error *err)
{
    struct mmh_path_info *entries;
    size_t count;
    mmh_status first = mmh_folder_list(&entries, &count, arena, folder, NULL, err);
    if (first != MMH_OK)
        return first;
    for (size_t i = 0; i < count; i++)
        if (is_plugin_name(entries[i].path)) {
            mmh_status status = load_found(context, arena, path, entries[i].path, err);
            first = first != MMH_OK ? first : status;
        }
    return first;
}

mmh_status mmh_format_plugin_load_folder(mmh_context *context, const char *path, mmh_error *err)
{
    struct mmh_path_info info;
    struct mmh_arena arena;
    mmh_folder *folder;
    if (*path != '/')
        return mmh_fail(err, MMH_E_USAGE, "folder of format plug-ins \"%s\": not an absolute path",
                        path);
    mmh_status status = mmh_path_stat(&info, path, true, err);
    if (status != MMH_OK || info.kind == MMH_PATH_NONE)
        return status;
    if (info.mode & WRITABLE_BY_ALL)
        return mmh_fail(err, MMH_E_USAGE,
                        "folder of format plug-ins \"%s\": every user may write to it", path);
    status = mmh_folder_open(&folder, path, false, context->allocator, err);
    if (status != MMH_OK)
        return status;
    mmh_arena_init(&arena, context->allocator);
    status = load_all(context, &arena, path, folder, err);
    mmh_arena_release(&arena);
    mmh_folder_close(folder);
    return status;
}
