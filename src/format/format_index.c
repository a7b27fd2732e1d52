/*
 * Shard indexes (*.safetensors.index.json): bytes themselves, they name the files of a model.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: huggingface.co/docs/transformers, "Big models", and what its loaders read.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/json.h"
#include "format/format_table.h"

enum { INDEX_BYTES_MAX = 100 * 1000 * 1000 };

bool mmh_shard_index_name(const char *path)
{
    static const char *const endings[] = { ".safetensors.index.json", ".bin.index.json" };
    size_t bytes = strlen(path);
    for (size_t i = 0; i < MMH_COUNT_OF(endings); i++) {
        size_t ending_bytes = strlen(endings[i]);
        if (bytes >= ending_bytes && strcmp(path + bytes - ending_bytes, endings[i]) == 0)
            return true;
    }
    return false;
}

static bool detect(const struct mmh_format_probe *probe)
{
    return probe->source->name && mmh_shard_index_name(probe->source->name) && probe->head_bytes &&
           (probe->head[0] == '{' || probe->head[0] <= ' ');
}

static mmh_status map_nothing(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                              mmh_error *err)
{
    (void)map;
    (void)probe;
    (void)err;
    return MMH_OK;
}

const struct mmh_format mmh_format_shard_index = {
    .name = "shard index",
    .detect = detect,
    .map = map_nothing,
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names that follow: hundreds of tensors have the same shard, mostly one after another. */
struct names {
    const mmh_allocator *allocator;
    const char **list;
    size_t count, room;
};

static bool names_add(struct names *names, const char *name)
{
    if (names->count == names->room) {
        size_t room = names->room ? 2 * names->room : 64;
        const char **list = mmh_alloc_array(names->allocator, room, sizeof *list);
        if (!list)
            return false;
        if (names->count)
            memcpy(list, names->list, names->count * sizeof *list);
        mmh_free(names->allocator, names->list);
        names->list = list;
        names->room = room;
    }
    names->list[names->count++] = name;
    return true;
}

static void names_sort_unique(struct names *names)
{
    size_t kept = 0;
    if (names->count > 1)
        qsort(names->list, names->count, sizeof *names->list, compare_names);
    for (size_t i = 0; i < names->count; i++)
        if (!kept || strcmp(names->list[kept - 1], names->list[i]) != 0)
            names->list[kept++] = names->list[i];
    names->count = kept;
}

/* weight_map: tensor name -> file name. */
static mmh_status read_weight_map(struct names *names, uint64_t *tensor_count,
                                  struct mmh_arena *arena, struct mmh_json *json, mmh_error *err)
{
    struct mmh_json_token token, previous = { 0 };
    if (mmh_json_next(json, &token) != MMH_JSON_OBJECT) {
        mmh_json_reject(json, &token, "weight_map is no object");
        return MMH_OK;
    }
    while (mmh_json_next(json, &token) == MMH_JSON_KEY) {
        size_t bytes;
        ++*tensor_count;
        if (mmh_json_next(json, &token) != MMH_JSON_STRING) {
            mmh_json_reject(json, &token, "weight_map names no file here");
            return MMH_OK;
        }
        if (previous.text && previous.bytes == token.bytes &&
            memcmp(previous.text, token.text, token.bytes) == 0)
            continue;
        previous = token;
        const char *name = mmh_json_string(&token, arena, &bytes);
        if (!name)
            return mmh_fail(err, MMH_E_MEMORY, "shard index");
        if (strlen(name) != bytes || !mmh_map_file_is_safe(name))
            return mmh_fail(err, MMH_E_CORRUPT, "shard index names an unsafe file: \"%s\"", name);
        if (!names_add(names, name))
            return mmh_fail(err, MMH_E_MEMORY, "shard index of %zu files", names->count);
    }
    return MMH_OK;
}

static mmh_status read_index(struct names *names, uint64_t *tensor_count, struct mmh_arena *arena,
                             const uint8_t *data, size_t bytes, mmh_error *err)
{
    struct mmh_json json;
    struct mmh_json_token token;
    bool found = false;
    mmh_status status = MMH_OK;
    mmh_json_init(&json, data, bytes);
    if (mmh_json_next(&json, &token) != MMH_JSON_OBJECT)
        mmh_json_reject(&json, &token, "no object");
    while (!status && mmh_json_next(&json, &token) == MMH_JSON_KEY) {
        if (mmh_json_is(&token, "weight_map")) {
            found = true;
            status = read_weight_map(names, tensor_count, arena, &json, err);
        } else {
            mmh_json_skip_value(&json);
        }
    }
    if (!status)
        status = mmh_json_finish(&json, "shard index", err);
    if (!status && !found)
        status = mmh_fail(err, MMH_E_CORRUPT, "shard index has no weight_map");
    return status;
}

mmh_status mmh_shard_index_read(struct mmh_shard_index *index, struct mmh_arena *arena,
                                const mmh_source *source, mmh_error *err)
{
    struct names names = { .allocator = arena->allocator };
    const char **files;
    uint8_t *data;
    *index = (struct mmh_shard_index){ 0 };
    if (source->bytes > INDEX_BYTES_MAX)
        return mmh_fail(err, MMH_E_LIMIT, "shard index of %llu bytes: over 100 MB",
                        (unsigned long long)source->bytes);
    mmh_status status = mmh_source_take(&data, source, 0, (size_t)source->bytes, arena->allocator,
                                        err);
    if (status)
        return status;
    status = read_index(&names, &index->tensor_count, arena, data, (size_t)source->bytes, err);
    if (status)
        goto done;
    names_sort_unique(&names);
    files = mmh_arena_array(arena, names.count, sizeof *files);
    if (!files) {
        status = mmh_fail(err, MMH_E_MEMORY, "shard index of %zu files", names.count);
        goto done;
    }
    if (names.count)
        memcpy(files, names.list, names.count * sizeof *files);
    index->files = files;
    index->file_count = names.count;
done:
    mmh_free(arena->allocator, names.list);
    mmh_free(arena->allocator, data);
    return status;
}
