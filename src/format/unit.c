/*
 * Units: which files are packed together when the user names one path.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "format/format.h"

/* path cut into the folder and the name in it; false if out of memory. */
static bool split_path(const char **folder, const char **name, struct mmh_arena *arena,
                       const char *path)
{
    const char *slash = strrchr(path, '/');
    *name = mmh_arena_format(arena, "%s", slash ? slash + 1 : path);
    *folder = !slash        ? ""
            : slash == path ? "/"
                            : mmh_arena_string(arena, path, (size_t)(slash - path));
    return *name && *folder;
}

/* The files that belong to one: what its index names, or what it tells of. */
static mmh_status read_index(struct mmh_shard_index *index, struct mmh_arena *arena,
                             const char *path, mmh_error *err)
{
    mmh_input *input;
    mmh_status status = mmh_input_open(&input, path, arena->allocator, err);
    if (status)
        return status;
    mmh_source source = mmh_source_of_input(input);
    status = mmh_shard_index_name(path)
               ? mmh_shard_index_read(index, arena, &source, err)
               : mmh_format_companions(&index->files, &index->file_count, arena, &source, err);
    mmh_input_close(input);
    return status;
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct mmh_path_info *)a)->path, ((const struct mmh_path_info *)b)->path);
}

/* The index entry is entries[0]: add the shards that are there. */
static mmh_status add_shards(struct mmh_unit *unit, struct mmh_arena *arena,
                             const struct mmh_shard_index *index, mmh_error *err)
{
    const char *self = unit->entries[0].path;
    for (size_t i = 0; i < index->file_count; i++) {
        const char *shard = index->files[i];
        struct mmh_path_info *entry = &unit->entries[unit->entry_count];
        if (strcmp(shard, self) == 0)
            continue;
        const char *path = mmh_arena_format(arena, "%s%s%s", unit->root,
                                            *unit->root && strcmp(unit->root, "/") != 0 ? "/" : "",
                                            shard);
        if (!path)
            return mmh_fail(err, MMH_E_MEMORY, "list of %zu shards", index->file_count);
        mmh_status status = mmh_path_stat(entry, path, true, err);
        if (status)
            return status;
        if (entry->kind != MMH_PATH_FILE) {
            unit->missing[unit->missing_count++] = shard;
            continue;
        }
        entry->path = shard;
        unit->entry_count++;
    }
    qsort(unit->entries, unit->entry_count, sizeof *unit->entries, compare_entries);
    return MMH_OK;
}

static mmh_status list_file(struct mmh_unit *unit, struct mmh_arena *arena, const char *path,
                            const struct mmh_path_info *info, bool alone, mmh_error *err)
{
    struct mmh_shard_index index = { 0 };
    const char *name;
    if (!split_path(&unit->root, &name, arena, path))
        return mmh_fail(err, MMH_E_MEMORY, "path of an input");
    if (!alone) {
        mmh_error problem = { 0 };
        mmh_status status = read_index(&index, arena, path, &problem);
        if (status == MMH_E_CORRUPT || status == MMH_E_LIMIT) {
            index.file_count = 0; /* a file like any other */
            unit->problem = mmh_arena_format(arena, "%s", problem.message);
            if (!unit->problem)
                return mmh_fail(err, MMH_E_MEMORY, "path of an input");
        } else if (status) {
            return mmh_fail(err, status, "%s", problem.message);
        }
    }
    unit->entries = mmh_arena_array(arena, index.file_count + 1, sizeof *unit->entries);
    unit->missing = mmh_arena_array(arena, index.file_count, sizeof *unit->missing);
    if (!unit->entries || !unit->missing)
        return mmh_fail(err, MMH_E_MEMORY, "list of %zu shards", index.file_count);
    unit->entries[0] = *info;
    unit->entries[0].path = name;
    unit->entry_count = 1;
    return add_shards(unit, arena, &index, err);
}

static mmh_status list_folder(struct mmh_unit *unit, struct mmh_arena *arena, const char *path,
                              mmh_error *err)
{
    mmh_folder *folder;
    size_t bytes = strlen(path);
    while (bytes > 1 && path[bytes - 1] == '/')
        bytes--;
    unit->root = mmh_arena_string(arena, path, bytes);
    if (!unit->root)
        return mmh_fail(err, MMH_E_MEMORY, "path of an input");
    mmh_status status = mmh_folder_open(&folder, path, false, arena->allocator, err);
    if (status)
        return status;
    status = mmh_folder_list(&unit->entries, &unit->entry_count, arena, folder, NULL, err);
    mmh_folder_close(folder);
    return status;
}

mmh_status mmh_unit_list(struct mmh_unit *unit, struct mmh_arena *arena, const char *path,
                         bool alone, mmh_error *err)
{
    struct mmh_path_info info;
    *unit = (struct mmh_unit){ 0 };
    mmh_status status = mmh_path_stat(&info, path, true, err);
    if (status)
        return status;
    switch (info.kind) {
    case MMH_PATH_FILE:
        return list_file(unit, arena, path, &info, alone, err);
    case MMH_PATH_FOLDER:
        return list_folder(unit, arena, path, err);
    case MMH_PATH_NONE:
        return mmh_fail(err, MMH_E_IO, "there is no \"%s\"", path);
    default:
        return mmh_fail(err, MMH_E_USAGE, "\"%s\" is neither a file nor a folder", path);
    }
}
