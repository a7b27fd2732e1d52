/*
 * zip: each entry that lies plainly in the archive is mapped as a file of its own.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tensors are called "<entry>/<name>", but for two kinds of archive whose own loaders do without:
 * numpy's npz, where the entry "x.npy" is the array "x", and keras, whose weights are in
 * "model.weights.h5".
 * Source: PKWARE APPNOTE.TXT; numpy/lib/_npyio_impl.py (savez); keras/src/saving/saving_lib.py.
 */
#include <string.h>

#include "format/zip.h"

static const char keras_weights[] = "model.weights.h5";

/* Whether all entries are arrays, as numpy writes them; folders do not count. */
static bool is_npz(const struct mmh_zip *zip)
{
    size_t arrays = 0;
    for (size_t i = 0; i < zip->entry_count; i++) {
        if (mmh_name_has_suffix(zip->entries[i].name, "/"))
            continue;
        if (!mmh_name_has_suffix(zip->entries[i].name, ".npy"))
            return false;
        arrays++;
    }
    return arrays > 0;
}

static mmh_status map_entry(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                            const struct mmh_zip_entry *entry, bool npz, mmh_error *err)
{
    const char *prefix = NULL, *name = entry->name;
    const char *slash = strrchr(name, '/');
    if (npz && slash) /* numpy's key has the folder, and the array takes its last part for a name */
        prefix = mmh_arena_string(map->arena, name, (size_t)(slash + 1 - name));
    else if (!npz && strcmp(name, keras_weights) != 0)
        prefix = mmh_arena_format(map->arena, "%s/", name);
    else
        prefix = "";
    if (!prefix)
        return mmh_fail(err, MMH_E_MEMORY, "names in a zip");
    return mmh_format_map_part(map, NULL, probe, entry->offset, entry->bytes, name, prefix, err);
}

static mmh_status map_file(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                           mmh_error *err)
{
    struct mmh_zip zip;
    mmh_status status = mmh_zip_read(&zip, map->arena, probe->source, probe->source->bytes, err);
    if (status)
        return status;
    bool npz = is_npz(&zip);
    for (size_t i = 0; i < zip.entry_count && !status; i++)
        if (zip.entries[i].plain && zip.entries[i].bytes)
            status = map_entry(map, probe, &zip.entries[i], npz, err);
    mmh_zip_remark(&zip, map);
    return status;
}

const struct mmh_format mmh_format_zip = {
    .name = "zip",
    .suffix = ".zip",
    .detect = mmh_zip_detect,
    .map = map_file,
};
