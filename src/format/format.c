/*
 * The table of formats, and the way from a file's first bytes to the one that maps it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "format/format.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "format/format_table.h"
#include "format/layout_file.h"
#include "format/plugin.h"
#include "format/quantised.h"

/* Asked in this order: the numbers are on disk, so order and number differ. First those that know
 * their files by their first bytes, then those that need a look at more. */
static const struct {
    enum mmh_format_id id;
    const struct mmh_format *format;
} formats[] = {
    { MMH_FORMAT_SAFETENSORS, &mmh_format_safetensors },
    { MMH_FORMAT_NPY, &mmh_format_npy },
    { MMH_FORMAT_SHARD_INDEX, &mmh_format_shard_index },
    { MMH_FORMAT_TFJS, &mmh_format_tfjs }, /* by its name, as a shard index */
    { MMH_FORMAT_GGUF, &mmh_format_gguf },
    { MMH_FORMAT_HDF5, &mmh_format_hdf5 },
    { MMH_FORMAT_TFLITE, &mmh_format_tflite },           /* may have a zip behind it: before zip */
    { MMH_FORMAT_TORCH_SHARD, &mmh_format_torch_shard }, /* several zips in one file: before zip */
    { MMH_FORMAT_TORCH, &mmh_format_torch },             /* a zip of its own kind: before zip */
    { MMH_FORMAT_ZIP, &mmh_format_zip },
    { MMH_FORMAT_TORCH_LEGACY, &mmh_format_torch_legacy },
    { MMH_FORMAT_TORCH_METADATA, &mmh_format_torch_metadata },
    { MMH_FORMAT_PICKLE, &mmh_format_pickle },
    { MMH_FORMAT_TORCH_TAR, &mmh_format_torch_tar },
    { MMH_FORMAT_TF_BUNDLE, &mmh_format_tf_bundle },
    { MMH_FORMAT_COREML_WEIGHTS, &mmh_format_coreml_weights },
    { MMH_FORMAT_ONNX, &mmh_format_onnx }, /* protocol buffers have no magic number */
    { MMH_FORMAT_TF_GRAPH, &mmh_format_tf_graph },
    { MMH_FORMAT_COREML, &mmh_format_coreml },
    { MMH_FORMAT_RAW, &mmh_format_raw },
    { MMH_FORMAT_DATA, &mmh_format_data },     /* never found by looking at a file */
    { MMH_FORMAT_CUSTOM, &mmh_format_custom }, /* plug-ins, in plugin.c */
    { MMH_FORMAT_OPAQUE, &mmh_format_opaque }, /* the last: takes everything */
};

const struct mmh_format *mmh_format_at(size_t index)
{
    return index < MMH_COUNT_OF(formats) ? formats[index].format : NULL;
}

const char *mmh_format_name(unsigned format_id)
{
    for (size_t i = 0; i < MMH_COUNT_OF(formats); i++)
        if ((unsigned)formats[i].id == format_id)
            return formats[i].format->name;
    return NULL;
}

bool mmh_name_has_suffix(const char *name, const char *suffix)
{
    size_t bytes = name ? strlen(name) : 0, suffix_bytes = suffix ? strlen(suffix) : SIZE_MAX;
    return bytes >= suffix_bytes && strcmp(name + bytes - suffix_bytes, suffix) == 0;
}

static mmh_status read_head(struct mmh_format_probe *probe, mmh_error *err)
{
    const mmh_source *source = probe->source;
    probe->head_bytes = (size_t)MMH_MIN(source->bytes, (uint64_t)MMH_FORMAT_HEAD_BYTES);
    memset(probe->head, 0, sizeof probe->head);
    return probe->head_bytes ? source->read(source->user, 0, probe->head, probe->head_bytes, err)
                             : MMH_OK;
}

/* Map what the probe's source holds: the first format that takes it. */
static mmh_status map_by_table(struct mmh_extent_map *map, unsigned *format_id,
                               struct mmh_format_probe *probe, mmh_error *err)
{
    const mmh_source *source = probe->source;
    mmh_status status = read_head(probe, err);
    if (status)
        return status;
    bool taken;
    status = mmh_plugins_map(map, &taken, probe, MMH_PLUGIN_BEFORE_ALL, err);
    if (status || taken) {
        *format_id = MMH_FORMAT_CUSTOM;
        return status;
    }
    struct mmh_map_mark before = mmh_extent_map_mark(map);
    for (size_t i = 0; i < MMH_COUNT_OF(formats); i++) {
        mmh_error problem = { 0 };
        if (!formats[i].format->detect(probe)) {
            if (mmh_name_has_suffix(source->name, formats[i].format->suffix))
                mmh_extent_map_remark(map, "is called %s, but does not begin like one",
                                      formats[i].format->suffix);
            continue;
        }
        status = formats[i].format->map(map, probe, &problem);
        if (!status) {
            *format_id = (unsigned)formats[i].id;
            return MMH_OK;
        }
        if (status != MMH_E_CORRUPT && status != MMH_E_UNSUPPORTED)
            return mmh_fail(err, status, "%s", problem.message);
        mmh_extent_map_remark(map, "not taken as %s: %s", formats[i].format->name, problem.message);
        mmh_extent_map_discard(map, &before);
    }
    return MMH_OK;
}

mmh_status mmh_format_detect_and_map(struct mmh_extent_map *map, const mmh_source *source,
                                     const struct mmh_format_options *options, mmh_error *err)
{
    static const struct mmh_format_options none = { 0 };
    struct mmh_format_probe probe = { .source = source, .options = options ? options : &none };
    unsigned format_id = MMH_FORMAT_OPAQUE;
    mmh_status status;
    if (probe.options->layout) {
        format_id = MMH_FORMAT_CUSTOM;
        status = mmh_layout_map(map, probe.options->layout, err);
    } else {
        status = map_by_table(map, &format_id, &probe, err);
    }
    if (status)
        return status;
    map->format = (uint8_t)format_id;
    status = mmh_extent_map_finish(map, err);
    return status ? status : mmh_quantised_look(map, &probe, err);
}

mmh_status mmh_format_map_part(struct mmh_extent_map *map, unsigned *format_id,
                               const struct mmh_format_probe *probe, uint64_t offset,
                               uint64_t bytes, const char *name, const char *prefix, mmh_error *err)
{
    struct mmh_source_part within;
    mmh_source source = mmh_source_of_part(&within, probe->source, offset, bytes, name);
    struct mmh_format_options options = *probe->options;
    struct mmh_format_probe part = { .source = &source,
                                     .options = &options,
                                     .depth = probe->depth + 1 };
    struct mmh_map_mark outside;
    unsigned found = MMH_FORMAT_OPAQUE;
    options.raw_dtype = MMH_DTYPE_OPAQUE; /* is said of the whole file */
    if (format_id)
        *format_id = found;
    if (part.depth > MMH_FORMAT_DEPTH_MAX)
        return MMH_OK;
    mmh_status status = mmh_extent_map_enter(&outside, map, offset, bytes, prefix, err);
    if (status)
        return status;
    status = map_by_table(map, &found, &part, err);
    mmh_extent_map_leave(map, &outside);
    if (format_id)
        *format_id = found;
    return status;
}

mmh_status mmh_format_map_told(struct mmh_extent_map *map, const struct mmh_map_tensor *tensors,
                               size_t count, mmh_error *err)
{
    for (size_t i = 0; i < count; i++) {
        mmh_status status = mmh_extent_map_add(map, &tensors[i], err);
        if (status)
            return status;
    }
    map->format = MMH_FORMAT_DATA;
    return mmh_extent_map_finish(map, err);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The files of a finished map's tensors of others, sorted, each once. */
static mmh_status list_companions(const char *const **files, size_t *count, struct mmh_arena *arena,
                                  const struct mmh_extent_map *map, mmh_error *err)
{
    const mmh_allocator *allocator = arena->allocator;
    const char **all = mmh_alloc_array(allocator, map->elsewhere_count, sizeof *all);
    size_t kept = 0;
    if (!all)
        return mmh_fail(err, MMH_E_MEMORY, "%zu tensors of other files", map->elsewhere_count);
    for (size_t i = 0; i < map->elsewhere_count; i++) /* mostly one after another */
        if (!i || strcmp(map->elsewhere[i].file, all[kept - 1]) != 0)
            all[kept++] = map->elsewhere[i].file;
    if (kept)
        qsort(all, kept, sizeof *all, compare_names);
    size_t different = 0;
    for (size_t i = 0; i < kept; i++)
        if (!i || strcmp(all[i], all[different - 1]) != 0)
            all[different++] = all[i];
    const char **list = mmh_arena_array(arena, different, sizeof *list);
    for (size_t i = 0; i < different && list; i++)
        list[i] = all[i];
    mmh_free(allocator, all);
    if (!list)
        return mmh_fail(err, MMH_E_MEMORY, "%zu tensors of other files", map->elsewhere_count);
    *files = list;
    *count = different;
    return MMH_OK;
}

mmh_status mmh_format_companions(const char *const **files, size_t *count, struct mmh_arena *arena,
                                 const mmh_source *source, mmh_error *err)
{
    static const struct mmh_format_options none = { 0 };
    struct mmh_format_probe probe = { .source = source, .options = &none };
    *files = NULL;
    *count = 0;
    mmh_status status = read_head(&probe, err);
    for (size_t i = 0; i < MMH_COUNT_OF(formats) && !status; i++) {
        struct mmh_extent_map map;
        mmh_error problem = { 0 };
        if (!formats[i].format->tells || !formats[i].format->detect(&probe))
            continue;
        mmh_extent_map_init(&map, arena, source->bytes);
        status = formats[i].format->map(&map, &probe, &problem);
        if (status == MMH_E_CORRUPT || status == MMH_E_UNSUPPORTED) {
            status = MMH_OK; /* of another format */
            continue;
        }
        if (status)
            return mmh_fail(err, status, "%s", problem.message);
        status = mmh_extent_map_finish(&map, err);
        return status ? status : list_companions(files, count, arena, &map, err);
    }
    return status;
}

/* A format that no look at a file finds: other files tell of it. */
static bool detect_never(const struct mmh_format_probe *probe)
{
    (void)probe;
    return false;
}

const struct mmh_format mmh_format_data = { .name = "tensor data", .detect = detect_never };
