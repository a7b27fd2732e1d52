/*
 * torch: the zip of torch.save since 1.6, of TorchScript and of torch.export.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * "<name>/data.pkl" tells of tensors, "<name>/data/<key>" are their storages; TorchScript has
 * constants.pkl and constants/ besides, torch.export has JSON instead. All are stored, unless
 * somebody zipped them again.
 * Source: torch/serialization.py (_save), caffe2/serialize/inline_container.h,
 * torch/csrc/jit/serialization/export_module.cpp.
 */
#include "format/torch.h"

#include <string.h>

#include "base/bits.h"
#include "format/zip.h"

static bool detect(const struct mmh_format_probe *probe)
{
    return mmh_zip_detect(probe) && (mmh_zip_has_suffix(probe->source, "/data.pkl") ||
                                     mmh_zip_has_suffix(probe->source, "/archive_format"));
}

/* ---- entries ---- */

static bool begins_with(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

const struct mmh_zip_entry *mmh_torch_entry(const struct mmh_zip *zip, const char *top,
                                            const char *name)
{
    for (size_t i = 0; i < zip->entry_count; i++)
        if (begins_with(zip->entries[i].name, top) &&
            strcmp(zip->entries[i].name + strlen(top), name) == 0)
            return &zip->entries[i];
    return NULL;
}

mmh_status mmh_torch_take_entries(struct mmh_torch *torch, const struct mmh_zip *zip,
                                  const char *folder, mmh_error *err)
{
    size_t count = 0;
    for (size_t i = 0; i < zip->entry_count; i++)
        count += begins_with(zip->entries[i].name, folder);
    torch->storages = mmh_arena_array(torch->scratch, count, sizeof *torch->storages);
    if (!torch->storages)
        return mmh_fail(err, MMH_E_MEMORY, "%zu storages", count);
    for (size_t i = 0; i < zip->entry_count; i++) {
        const struct mmh_zip_entry *entry = &zip->entries[i];
        if (!entry->plain || !begins_with(entry->name, folder))
            continue;
        torch->storages[torch->storage_count++] = (struct mmh_torch_storage){
            .key = entry->name + strlen(folder),
            .offset = entry->offset,
            .bytes = entry->bytes,
        };
    }
    return mmh_torch_index(torch, err);
}

/* The archive's folder, "name/": that of the entry that ends in `suffix`. NULL: there is none. */
static const char *find_top(const struct mmh_zip *zip, const char *suffix, struct mmh_arena *arena,
                            mmh_status *status, mmh_error *err)
{
    for (size_t i = 0; i < zip->entry_count; i++) {
        const char *name = zip->entries[i].name, *slash = strchr(name, '/');
        if (!slash || strcmp(slash + 1, suffix) != 0)
            continue;
        char *top = mmh_arena_string(arena, name, (size_t)(slash + 1 - name));
        if (!top)
            *status = mmh_fail(err, MMH_E_MEMORY, "name of an archive");
        return top;
    }
    return NULL;
}

static mmh_status read_byteorder(bool *big_endian, const mmh_source *source,
                                 const struct mmh_zip *zip, const char *top, mmh_error *err)
{
    const struct mmh_zip_entry *entry = mmh_torch_entry(zip, top, "byteorder");
    char text[3];
    *big_endian = false;
    if (!entry || !entry->plain || entry->bytes != sizeof text)
        return MMH_OK;
    mmh_status status = source->read(source->user, entry->offset, text, sizeof text, err);
    *big_endian = !status && memcmp(text, "big", sizeof text) == 0;
    return status;
}

/* ---- pickles ---- */

/* What a pickle and its folder of storages are called. */
struct part {
    const char *pickle, *folder;
};

static mmh_status map_pickle(struct mmh_torch *torch, const struct mmh_zip *zip,
                             const struct mmh_zip_entry *entry, const char *folder,
                             const char *name, mmh_error *err)
{
    struct mmh_stream in;
    struct mmh_pickle pickle;
    mmh_error problem = { 0 };
    mmh_status status = mmh_torch_take_entries(torch, zip, folder, err);
    if (status)
        return status;
    mmh_stream_init(&in, torch->source, entry->offset, entry->offset + entry->bytes);
    status = mmh_pickle_read(&pickle, torch->scratch, &in, &problem);
    if (status == MMH_E_CORRUPT || status == MMH_E_UNSUPPORTED) {
        mmh_extent_map_remark(torch->map, "%s: %s: its tensors stay plain bytes", entry->name,
                              problem.message);
        return MMH_OK;
    }
    if (status)
        return mmh_fail(err, status, "%s", problem.message);
    status = mmh_torch_walk(torch, &pickle, name, err);
    return status ? status : mmh_torch_finish(torch, err);
}

static mmh_status map_part(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                           const struct mmh_zip *zip, const char *top, const struct part *part,
                           bool big_endian, const char *name, mmh_error *err)
{
    const struct mmh_zip_entry *entry = mmh_torch_entry(zip, top, part->pickle);
    struct mmh_arena scratch;
    struct mmh_torch torch;
    if (!entry)
        return MMH_OK;
    if (!entry->plain) {
        mmh_extent_map_remark(map, "%s is compressed: its tensors stay plain bytes", entry->name);
        return MMH_OK;
    }
    mmh_arena_init(&scratch, map->arena->allocator);
    mmh_torch_init(&torch, map, probe->source, &scratch);
    torch.big_endian = big_endian;
    const char *folder = mmh_arena_format(&scratch, "%s%s", top, part->folder);
    mmh_status status = folder ? map_pickle(&torch, zip, entry, folder, name, err)
                               : mmh_fail(err, MMH_E_MEMORY, "name of a folder");
    mmh_arena_release(&scratch);
    return status;
}

mmh_status mmh_torch_map_zip(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                             const char *name, mmh_error *err)
{
    static const struct part data = { "data.pkl", "data/" };
    static const struct part constants = { "constants.pkl", "constants/" };
    struct mmh_zip zip;
    bool big_endian;
    mmh_status status = mmh_zip_read(&zip, map->arena, probe->source, probe->source->bytes, err);
    if (status)
        return status;
    const char *top = find_top(&zip, data.pickle, map->arena, &status, err);
    bool exported = !top;
    if (!top && !status)
        top = find_top(&zip, "archive_format", map->arena, &status, err);
    if (!top)
        return status ? status : mmh_fail(err, MMH_E_CORRUPT, "zip has no data.pkl");
    status = read_byteorder(&big_endian, probe->source, &zip, top, err);
    if (!status && exported)
        status = mmh_torch_map_export(map, probe, &zip, top, big_endian, err);
    if (!status && !exported)
        status = map_part(map, probe, &zip, top, &data, big_endian, name, err);
    if (!status && !exported)
        status = map_part(map, probe, &zip, top, &constants, big_endian, "constants", err);
    mmh_zip_remark(&zip, map);
    return status;
}

static mmh_status map_file(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                           mmh_error *err)
{
    return mmh_torch_map_zip(map, probe, NULL, err);
}

const struct mmh_format mmh_format_torch = {
    .name = "torch",
    .suffix = NULL, /* .pt and .pth are legacy ones too */
    .detect = detect,
    .map = map_file,
};
