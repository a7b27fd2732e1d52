/*
 * The archive of torch.export (.pt2): JSON tells of weights and constants, each in an entry of its
 * own.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Entries are raw bytes of a storage, or (tensors of other classes) what torch.save made of one.
 * Source: torch/export/pt2_archive/_package.py and constants.py, torch/_export/serde/schema.py.
 */
#include <string.h>

#include "base/bits.h"
#include "base/json.h"
#include "format/torch.h"
#include "format/zip.h"

enum { CONFIG_BYTES_MAX = 64 << 20 };

/* torch._export.serde.schema.ScalarType. */
static mmh_dtype scalar_type(uint64_t number)
{
    static const uint8_t types[] = {
        [1] = MMH_DTYPE_U8,           [2] = MMH_DTYPE_I8,           [3] = MMH_DTYPE_I16,
        [4] = MMH_DTYPE_I32,          [5] = MMH_DTYPE_I64,          [6] = MMH_DTYPE_F16,
        [7] = MMH_DTYPE_F32,          [8] = MMH_DTYPE_F64,          [10] = MMH_DTYPE_C64,
        [11] = MMH_DTYPE_C128,        [12] = MMH_DTYPE_BOOL,        [13] = MMH_DTYPE_BF16,
        [28] = MMH_DTYPE_U16,         [29] = MMH_DTYPE_F8_E4M3,     [30] = MMH_DTYPE_F8_E5M2,
        [31] = MMH_DTYPE_F8_E4M3FNUZ, [32] = MMH_DTYPE_F8_E5M2FNUZ, [33] = MMH_DTYPE_F8_E8M0,
        [34] = MMH_DTYPE_U32,         [35] = MMH_DTYPE_U64,
    };
    return number < MMH_COUNT_OF(types) ? (mmh_dtype)types[number] : MMH_DTYPE_OPAQUE;
}

/* What the configuration says of one tensor. */
struct payload {
    char *path; /* its entry, within the folder */
    bool pickled;
    bool has_shape, has_strides;
    uint32_t stride_count;
    struct mmh_torch_layout layout;
};

/* {"as_int": 4}, whose first token has been read; false: another thing, which is passed over. */
static bool read_wrapped(struct mmh_json *json, const struct mmh_json_token *begin,
                         uint64_t *number)
{
    struct mmh_json_token key, value;
    bool good = false;
    if (begin->kind != MMH_JSON_OBJECT) {
        mmh_json_skip_rest(json, begin);
        return false;
    }
    while (mmh_json_next(json, &key) == MMH_JSON_KEY) {
        mmh_json_next(json, &value);
        if (mmh_json_is(&key, "as_int") && value.kind == MMH_JSON_NUMBER && value.is_u64) {
            *number = value.u64;
            good = true;
        } else {
            mmh_json_skip_rest(json, &value);
        }
    }
    return good;
}

/* An array of them; false: not of at most MMH_MAP_DIMENSIONS_MAX integers. */
static bool read_numbers(struct mmh_json *json, uint64_t *numbers, uint32_t *count)
{
    struct mmh_json_token token;
    size_t entries = 0;
    bool good = true;
    *count = 0;
    if (mmh_json_next(json, &token) != MMH_JSON_ARRAY) {
        mmh_json_skip_rest(json, &token);
        return false;
    }
    while (mmh_json_next(json, &token) != MMH_JSON_ARRAY_END && token.kind != MMH_JSON_END) {
        uint64_t number = 0;
        bool is_number = read_wrapped(json, &token, &number);
        good = good && is_number && entries < MMH_MAP_DIMENSIONS_MAX;
        if (good)
            numbers[entries++] = number;
    }
    *count = (uint32_t)entries;
    return good;
}

static void read_meta(struct payload *payload, struct mmh_json *json)
{
    struct mmh_json_token token, value;
    struct mmh_torch_layout *layout = &payload->layout;
    if (mmh_json_next(json, &token) != MMH_JSON_OBJECT) {
        mmh_json_skip_rest(json, &token);
        return;
    }
    while (mmh_json_next(json, &token) == MMH_JSON_KEY)
        if (mmh_json_is(&token, "dtype")) {
            mmh_json_next(json, &value);
            mmh_json_skip_rest(json, &value);
            if (value.kind == MMH_JSON_NUMBER && value.is_u64)
                layout->dtype = scalar_type(value.u64);
        } else if (mmh_json_is(&token, "sizes")) {
            payload->has_shape = read_numbers(json, layout->shape, &layout->dimensions);
        } else if (mmh_json_is(&token, "strides")) {
            payload->has_strides = read_numbers(json, layout->strides, &payload->stride_count);
        } else if (mmh_json_is(&token, "storage_offset")) {
            mmh_json_next(json, &value);
            if (!read_wrapped(json, &value, &layout->first))
                layout->first = UINT64_MAX; /* nothing lies there */
        } else {
            mmh_json_skip_value(json);
        }
}

static mmh_status read_payload(struct payload *payload, struct mmh_json *json,
                               struct mmh_arena *arena, mmh_error *err)
{
    struct mmh_json_token token, value;
    memset(payload, 0, sizeof *payload);
    if (mmh_json_next(json, &token) != MMH_JSON_OBJECT) {
        mmh_json_skip_rest(json, &token);
        return MMH_OK;
    }
    while (mmh_json_next(json, &token) == MMH_JSON_KEY) {
        if (mmh_json_is(&token, "tensor_meta")) {
            read_meta(payload, json);
            continue;
        }
        mmh_json_next(json, &value);
        mmh_json_skip_rest(json, &value);
        if (mmh_json_is(&token, "use_pickle")) {
            payload->pickled = value.kind == MMH_JSON_TRUE;
        } else if (mmh_json_is(&token, "path_name") && value.kind == MMH_JSON_STRING) {
            payload->path = mmh_json_string(&value, arena, NULL);
            if (!payload->path)
                return mmh_fail(err, MMH_E_MEMORY, "name of an entry");
        }
    }
    return MMH_OK;
}

/* One folder of the archive: its entries by name, and what is being mapped. */
struct folder {
    struct mmh_torch torch;
    const struct mmh_format_probe *probe;
};

/* A tensor that torch.save wrote, in an entry of its own. */
static mmh_status map_pickled(struct folder *folder, struct mmh_torch_storage *entry,
                              const char *name, mmh_error *err)
{
    struct mmh_extent_map *map = folder->torch.map;
    struct mmh_source_part within;
    mmh_source source = mmh_source_of_part(&within, folder->probe->source, entry->offset,
                                           entry->bytes, entry->key);
    struct mmh_format_probe part = { .source = &source,
                                     .options = folder->probe->options,
                                     .depth = folder->probe->depth + 1 };
    struct mmh_map_mark outside, before = mmh_extent_map_mark(map);
    mmh_error problem = { 0 };
    if (part.depth > MMH_FORMAT_DEPTH_MAX || entry->part)
        return MMH_OK;
    entry->part = true;
    mmh_status status = mmh_extent_map_enter(&outside, map, entry->offset, entry->bytes, NULL, err);
    if (status)
        return status;
    status = mmh_torch_map_zip(map, &part, name, &problem);
    mmh_extent_map_leave(map, &outside);
    if (status != MMH_E_CORRUPT && status != MMH_E_UNSUPPORTED)
        return status ? mmh_fail(err, status, "%s", problem.message) : MMH_OK;
    mmh_extent_map_discard(map, &before);
    mmh_extent_map_remark(map, "%s: %s", entry->key, problem.message);
    return MMH_OK;
}

static mmh_status map_payload(struct folder *folder, const struct mmh_json_token *key,
                              const struct payload *payload, mmh_error *err)
{
    struct mmh_torch *torch = &folder->torch;
    struct mmh_torch_storage *storage = payload->path ? mmh_torch_find(torch, payload->path) : NULL;
    size_t bytes;
    char *name = mmh_json_string(key, torch->scratch, &bytes);
    if (!name)
        return mmh_fail(err, MMH_E_MEMORY, "name of a tensor");
    if (strlen(name) != bytes || !bytes)
        return MMH_OK;
    if (payload->pickled)
        return storage ? map_pickled(folder, storage, name, err) : MMH_OK;
    if (!payload->has_shape || !payload->has_strides ||
        payload->stride_count != payload->layout.dimensions) {
        mmh_extent_map_remark_tensor(torch->map, name, "has no shape and strides of whole numbers");
        return MMH_OK;
    }
    return mmh_torch_tell(torch, name, storage, &payload->layout, err);
}

static mmh_status map_config(struct folder *folder, const uint8_t *text, size_t bytes,
                             mmh_error *err)
{
    struct mmh_json json;
    struct mmh_json_token token, value;
    struct payload payload;
    mmh_status status = MMH_OK;
    mmh_json_init(&json, text, bytes);
    if (mmh_json_next(&json, &token) == MMH_JSON_OBJECT)
        while (mmh_json_next(&json, &token) == MMH_JSON_KEY) {
            bool is_config = mmh_json_is(&token, "config");
            mmh_json_next(&json, &value);
            if (!is_config || value.kind != MMH_JSON_OBJECT) {
                mmh_json_skip_rest(&json, &value);
                continue;
            }
            while (mmh_json_next(&json, &token) == MMH_JSON_KEY && !status) {
                status = read_payload(&payload, &json, folder->torch.scratch, err);
                if (!status && !json.problem)
                    status = map_payload(folder, &token, &payload, err);
            }
            if (status)
                return status;
        }
    return mmh_json_finish(&json, "configuration of a torch.export archive", err);
}

/* Every configuration in one folder: there is one for each model. */
static mmh_status map_folder(struct folder *folder, const struct mmh_zip *zip, const char *name,
                             mmh_error *err)
{
    const mmh_source *source = folder->probe->source;
    struct mmh_extent_map *map = folder->torch.map;
    mmh_status status = mmh_torch_take_entries(&folder->torch, zip, name, err);
    for (size_t i = 0; i < folder->torch.storage_count && !status; i++) {
        const struct mmh_torch_storage *entry = &folder->torch.storages[i];
        mmh_error problem = { 0 };
        uint8_t *text;
        if (!mmh_name_has_suffix(entry->key, "_config.json") || entry->bytes > CONFIG_BYTES_MAX)
            continue;
        status = mmh_source_take(&text, source, entry->offset, (size_t)entry->bytes,
                                 map->arena->allocator, err);
        if (status)
            return status;
        status = map_config(folder, text, (size_t)entry->bytes, &problem);
        mmh_free(map->arena->allocator, text);
        if (status == MMH_E_CORRUPT) {
            mmh_extent_map_remark(map, "%s", problem.message);
            status = MMH_OK;
        }
        if (status)
            return mmh_fail(err, status, "%s", problem.message);
    }
    return status ? status : mmh_torch_finish(&folder->torch, err);
}

/* Sample inputs and the like: archives of torch.save, by their own names. */
static mmh_status map_others(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                             const struct mmh_zip *zip, size_t top_bytes, mmh_error *err)
{
    mmh_status status = MMH_OK;
    for (size_t i = 0; i < zip->entry_count && !status; i++) {
        const struct mmh_zip_entry *entry = &zip->entries[i];
        if (!entry->plain || !mmh_name_has_suffix(entry->name, ".pt") ||
            strlen(entry->name) <= top_bytes)
            continue;
        const char *prefix = mmh_arena_format(map->arena, "%s/", entry->name + top_bytes);
        if (!prefix)
            return mmh_fail(err, MMH_E_MEMORY, "names in a zip");
        status = mmh_format_map_part(map, NULL, probe, entry->offset, entry->bytes, entry->name,
                                     prefix, err);
    }
    return status;
}

mmh_status mmh_torch_map_export(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                                const struct mmh_zip *zip, const char *top, bool big_endian,
                                mmh_error *err)
{
    static const char *const folders[] = { "data/weights/", "data/constants/" };
    mmh_status status = MMH_OK;
    for (size_t i = 0; i < MMH_COUNT_OF(folders) && !status; i++) {
        struct mmh_arena scratch;
        struct folder folder = { .probe = probe };
        mmh_arena_init(&scratch, map->arena->allocator);
        mmh_torch_init(&folder.torch, map, probe->source, &scratch);
        folder.torch.big_endian = big_endian;
        const char *name = mmh_arena_format(&scratch, "%s%s", top, folders[i]);
        status = name ? map_folder(&folder, zip, name, err)
                      : mmh_fail(err, MMH_E_MEMORY, "name of a folder");
        mmh_arena_release(&scratch);
    }
    return status ? status : map_others(map, probe, zip, strlen(top), err);
}
