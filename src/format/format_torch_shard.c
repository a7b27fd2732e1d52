/*
 * torch shard: the .distcp of a distributed checkpoint, archives of torch.save one after another.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The .metadata beside it tells what lies where and what it is called; what it says is checked
 * against the archives. Without it they are found from the end of the file back, as far as that
 * goes, and called by their numbers.
 * Source: torch/distributed/checkpoint/filesystem.py (_write_item), metadata.py.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cursor.h"
#include "format/torch.h"
#include "format/zip.h"

enum {
    METADATA_BYTES_MAX = 256 << 20,
    CHUNK_STEPS_MAX = 1 << 24, /* through lists of chunks, in all */
    END_BYTES = 22,
    ITEMS_MAX = 1 << 18,
    NAME_BYTES_MAX = MMH_PICKLE_TEXT_MAX + MMH_MAP_DIMENSIONS_MAX * 44
};

#define LOCAL_MAGIC 0x04034b50u
#define END_MAGIC 0x06054b50u

static bool detect(const struct mmh_format_probe *probe)
{
    const mmh_source *source = probe->source;
    struct mmh_zip_directory directory;
    if (mmh_load32(probe->head) != LOCAL_MAGIC)
        return false;
    if (mmh_name_has_suffix(source->name, ".distcp"))
        return true;
    return mmh_zip_find_directory(&directory, source, source->bytes, NULL) == MMH_OK &&
           directory.shift && mmh_zip_has_suffix(source, "/data.pkl");
}

/* ---- one archive ---- */

static mmh_status map_archive(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                              uint64_t offset, uint64_t bytes, const char *name, mmh_error *err)
{
    struct mmh_source_part within;
    mmh_source source = mmh_source_of_part(&within, probe->source, offset, bytes, name);
    struct mmh_format_probe part = { .source = &source,
                                     .options = probe->options,
                                     .depth = probe->depth + 1 };
    struct mmh_map_mark outside, before = mmh_extent_map_mark(map);
    mmh_error problem = { 0 };
    mmh_status status = mmh_extent_map_enter(&outside, map, offset, bytes, NULL, err);
    if (status)
        return status;
    status = mmh_torch_map_zip(map, &part, name, &problem);
    mmh_extent_map_leave(map, &outside);
    if (status != MMH_E_CORRUPT && status != MMH_E_UNSUPPORTED)
        return status ? mmh_fail(err, status, "%s", problem.message) : MMH_OK;
    mmh_extent_map_discard(map, &before);
    mmh_extent_map_remark(map, "item \"%s\" is no archive of torch's: %s", name, problem.message);
    return MMH_OK;
}

/* ---- by the metadata ---- */

/* What the metadata says of a tensor as a whole. */
struct whole {
    const char *name;
    const struct mmh_pickle_value *value;
};

struct index {
    struct whole *wholes; /* sorted by name */
    size_t whole_count;
    size_t chunk_steps; /* taken so far */
    uint64_t left;      /* bytes of the file that no item has been mapped for */
};

static int compare_wholes(const void *left, const void *right)
{
    return strcmp(((const struct whole *)left)->name, ((const struct whole *)right)->name);
}

static int compare_whole(const void *name, const void *whole)
{
    return strcmp(name, ((const struct whole *)whole)->name);
}

static mmh_status index_wholes(struct index *index, const struct mmh_pickle_value *dict,
                               struct mmh_arena *scratch, mmh_error *err)
{
    size_t count = dict && dict->kind == MMH_PICKLE_DICT ? dict->count : 0;
    *index = (struct index){ .wholes = mmh_arena_array(scratch, count, sizeof *index->wholes) };
    if (!index->wholes)
        return mmh_fail(err, MMH_E_MEMORY, "metadata of %zu tensors", count);
    for (const struct mmh_pickle_item *item = count ? dict->first : NULL; item; item = item->next) {
        const char *name = mmh_pickle_text(item->key);
        if (name)
            index->wholes[index->whole_count++] = (struct whole){ name, item->value };
    }
    if (index->whole_count > 1)
        qsort(index->wholes, index->whole_count, sizeof *index->wholes, compare_wholes);
    return MMH_OK;
}

/* An attribute of a dataclass. */
static struct mmh_pickle_value *attribute(const struct mmh_pickle_value *value, const char *name)
{
    return value && value->kind == MMH_PICKLE_CALL ? mmh_pickle_find(value->state, name) : NULL;
}

/* The chunk of a tensor that begins at `begin`: its sizes. False: there is none. */
static bool find_chunk(uint64_t *sizes, struct index *index, const struct mmh_pickle_value *whole,
                       const uint64_t *begin, int dimensions)
{
    uint64_t offsets[MMH_MAP_DIMENSIONS_MAX];
    const struct mmh_pickle_value *chunks = attribute(whole, "chunks");
    if (!chunks || chunks->kind != MMH_PICKLE_LIST)
        return false;
    for (const struct mmh_pickle_item *item = chunks->first; item; item = item->next) {
        if (index->chunk_steps++ >= CHUNK_STEPS_MAX)
            return false;
        if (mmh_pickle_naturals(offsets, MMH_MAP_DIMENSIONS_MAX,
                                attribute(item->value, "offsets")) == dimensions &&
            memcmp(offsets, begin, (size_t)dimensions * sizeof *begin) == 0)
            return mmh_pickle_naturals(sizes, MMH_MAP_DIMENSIONS_MAX,
                                       attribute(item->value, "sizes")) == dimensions;
    }
    return false;
}

/* What an item is called: its tensor's name, and "[0:4,0:8]" if it is a part of it. */
static void name_item(char name[NAME_BYTES_MAX], struct index *index, const char *tensor,
                      const struct mmh_pickle_value *key)
{
    uint64_t begin[MMH_MAP_DIMENSIONS_MAX], sizes[MMH_MAP_DIMENSIONS_MAX],
        shape[MMH_MAP_DIMENSIONS_MAX];
    int used = snprintf(name, NAME_BYTES_MAX, "%s", tensor);
    int dimensions = mmh_pickle_naturals(begin, MMH_MAP_DIMENSIONS_MAX, attribute(key, "offset"));
    const struct whole *whole = dimensions > 0 && index->whole_count
                                  ? bsearch(tensor, index->wholes, index->whole_count,
                                            sizeof *whole, compare_whole)
                                  : NULL;
    if (!whole ||
        mmh_pickle_naturals(shape, MMH_MAP_DIMENSIONS_MAX, attribute(whole->value, "size")) !=
            dimensions ||
        !find_chunk(sizes, index, whole->value, begin, dimensions) ||
        memcmp(sizes, shape, (size_t)dimensions * sizeof *shape) == 0)
        return;
    for (int d = 0; d < dimensions; d++)
        used += snprintf(name + used, (size_t)(NAME_BYTES_MAX - used), "%c%llu:%llu", d ? ',' : '[',
                         (unsigned long long)begin[d], (unsigned long long)(begin[d] + sizes[d]));
    (void)snprintf(name + used, (size_t)(NAME_BYTES_MAX - used), "]");
}

static mmh_status map_item(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                           struct index *index, const struct mmh_pickle_item *item, size_t *count,
                           mmh_error *err)
{
    const mmh_source *source = probe->source;
    char name[NAME_BYTES_MAX];
    uint64_t offset, bytes;
    const char *file = mmh_pickle_text(attribute(item->value, "relative_path"));
    const char *tensor = mmh_pickle_text(attribute(item->key, "fqn"));
    if (!file || !tensor || strcmp(file, mmh_source_base_name(source)) != 0)
        return MMH_OK;
    if (!mmh_pickle_natural(&offset, attribute(item->value, "offset")) ||
        !mmh_pickle_natural(&bytes, attribute(item->value, "length")) || offset > source->bytes ||
        bytes > source->bytes - offset) {
        mmh_extent_map_remark_tensor(map, tensor, "lies outside of the file");
        return MMH_OK;
    }
    if (bytes > index->left || *count == ITEMS_MAX) {
        mmh_extent_map_remark_tensor(map, tensor, "has no bytes of its own");
        return MMH_OK;
    }
    index->left -= bytes;
    ++*count;
    name_item(name, index, tensor, item->key);
    return map_archive(map, probe, offset, bytes, name, err);
}

static mmh_status map_by_metadata(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                                  const struct mmh_pickle_value *root, size_t *count,
                                  struct mmh_arena *scratch, mmh_error *err)
{
    const struct mmh_pickle_value *places = attribute(root, "storage_data");
    struct index index;
    if (!places || places->kind != MMH_PICKLE_DICT)
        return MMH_OK;
    mmh_status status = index_wholes(&index, attribute(root, "state_dict_metadata"), scratch, err);
    index.left = probe->source->bytes;
    for (const struct mmh_pickle_item *item = places->first; item && !status; item = item->next)
        status = map_item(map, probe, &index, item, count, err);
    return status;
}

/* Map what the metadata tells of this file; *count is 0 if that is nothing. */
static mmh_status read_metadata(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                                size_t *count, mmh_error *err)
{
    const struct mmh_format_options *options = probe->options;
    const mmh_allocator *allocator = map->arena->allocator;
    struct mmh_arena scratch;
    struct mmh_stream in;
    struct mmh_pickle pickle;
    mmh_error problem = { 0 };
    uint8_t *data;
    size_t bytes;
    *count = 0;
    if (!options->read_beside ||
        options->read_beside(options->beside_context, ".metadata", METADATA_BYTES_MAX, &data,
                             &bytes, allocator, &problem))
        return MMH_OK;
    mmh_source source = mmh_source_of_memory(data, bytes, ".metadata");
    mmh_arena_init(&scratch, allocator);
    mmh_stream_init(&in, &source, 0, bytes);
    mmh_status status = mmh_pickle_read(&pickle, &scratch, &in, &problem);
    if (!status)
        status = map_by_metadata(map, probe, pickle.root, count, &scratch, &problem);
    mmh_arena_release(&scratch);
    mmh_free(allocator, data);
    if (status == MMH_E_CORRUPT || status == MMH_E_UNSUPPORTED) {
        mmh_extent_map_remark(map, ".metadata: %s", problem.message);
        return MMH_OK;
    }
    return status ? mmh_fail(err, status, "%s", problem.message) : MMH_OK;
}

/* ---- by themselves ---- */

/* The archive that ends at *end, which becomes where it begins; false: there is none. */
static bool step_back(uint64_t *end, const mmh_source *source)
{
    uint8_t magic[4];
    struct mmh_zip_directory directory;
    if (*end < END_BYTES ||
        source->read(source->user, *end - END_BYTES, magic, sizeof magic, NULL) != MMH_OK ||
        mmh_load32(magic) != END_MAGIC ||
        mmh_zip_find_directory(&directory, source, *end, NULL) != MMH_OK ||
        !directory.entry_count || directory.shift >= *end)
        return false;
    *end = directory.shift;
    return true;
}

static mmh_status map_backwards(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                                mmh_error *err)
{
    struct mmh_buffer begins;
    uint64_t end = probe->source->bytes;
    mmh_status status = MMH_OK;
    mmh_buffer_init(&begins, map->arena->allocator);
    mmh_buffer_u64(&begins, end);
    while (end && begins.bytes / 8 < ITEMS_MAX && step_back(&end, probe->source))
        mmh_buffer_u64(&begins, end);
    size_t count = begins.bytes / 8 - 1;
    if (end)
        mmh_extent_map_remark(map, "%llu bytes before the last %zu archives are not looked at",
                              (unsigned long long)end, count);
    status = mmh_buffer_finish(&begins, "places of archives", err);
    for (size_t i = 0; i < count && !status; i++) {
        const uint8_t *place = begins.data + 8 * (count - 1 - i); /* where it ends, and begins */
        uint64_t begin = mmh_load64(place + 8);
        char name[24];
        (void)snprintf(name, sizeof name, "%zu", i);
        status = map_archive(map, probe, begin, mmh_load64(place) - begin, name, err);
    }
    mmh_buffer_release(&begins);
    return status;
}

static mmh_status map_file(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                           mmh_error *err)
{
    size_t count;
    mmh_status status = read_metadata(map, probe, &count, err);
    return status || count ? status : map_backwards(map, probe, err);
}

const struct mmh_format mmh_format_torch_shard = {
    .name = "torch shard",
    .suffix = ".distcp",
    .detect = detect,
    .map = map_file,
};
