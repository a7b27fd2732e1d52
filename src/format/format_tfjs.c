/*
 * TensorFlow.js: a manifest in JSON tells of weights that lie one after another in its shard files.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * weights_manifest.json is an array of groups, each with "paths" and "weights"; model.json holds it as
 * "weightsManifest". A group is the bytes of its files end to end, cut anywhere: a weight may lie in
 * several. Such a weight has no bytes of one file, so its pieces are coded as what they are, and it is
 * not listed.
 * Source: github.com/tensorflow/tfjs, tfjs-core/src/io/types.ts, io_utils.ts and weights_loader.ts.
 */
#include <string.h>

#include "base/bits.h"
#include "base/json.h"
#include "format/format_table.h"

enum { MANIFEST_BYTES_MAX = 100 * 1000 * 1000, PATHS_MAX = 1 << 16 };

static bool detect(const struct mmh_format_probe *probe)
{
    const char *name = mmh_source_base_name(probe->source);
    return probe->source->bytes <= MANIFEST_BYTES_MAX &&
           ((probe->head[0] == '[' && mmh_name_has_suffix(name, "weights_manifest.json")) ||
            (probe->head[0] == '{' && mmh_name_has_suffix(name, "model.json")));
}

struct manifest {
    struct mmh_extent_map *map;
    const struct mmh_format_probe *probe;
    struct mmh_json json;
    size_t path_count; /* of all groups */
    mmh_status status; /* of memory */
};

/* The files of a group, seen as one run of bytes. */
struct group {
    const char **paths;
    size_t path_count;
    size_t at;               /* the file that holds byte `position` */
    uint64_t begin, end;     /* of that file in the run; end is UINT64_MAX if it is the last */
    uint64_t position;       /* where the next weight begins */
    const char *problem;     /* why nothing more is known of where weights lie; NULL: it is */
    struct mmh_json weights; /* stands before its value */
    bool has_weights;
};

static void set_memory(struct manifest *manifest)
{
    manifest->status = MMH_E_MEMORY;
}

/* ---- files ---- */

/* The end of file number group->at, which begins at group->begin. */
static void measure(struct manifest *manifest, struct group *group)
{
    const struct mmh_format_options *options = manifest->probe->options;
    uint64_t bytes;
    group->end = UINT64_MAX;
    if (group->at + 1 >= group->path_count)
        return;
    if (!options->bytes_beside ||
        options->bytes_beside(options->beside_context, group->paths[group->at], &bytes, NULL) ||
        !mmh_u64_add(&group->end, group->begin, bytes))
        group->problem = "lies behind a file whose size is not known";
}

/* Go on to the file that holds byte group->position. */
static void find_file(struct manifest *manifest, struct group *group)
{
    while (!group->problem && group->position >= group->end && group->at + 1 < group->path_count) {
        group->begin = group->end;
        group->at++;
        measure(manifest, group);
    }
}

static const char **read_paths(struct manifest *manifest, size_t *count)
{
    struct mmh_json *json = &manifest->json, ahead = *json;
    struct mmh_json_token token;
    const char **paths = NULL;
    if (mmh_json_next(json, &token) != MMH_JSON_ARRAY)
        mmh_json_reject(json, &token, "\"paths\" is no array");
    (void)mmh_json_next(&ahead, &token);
    for (*count = 0; mmh_json_next(&ahead, &token) == MMH_JSON_STRING; ++*count)
        continue;
    if (!json->problem && *count > PATHS_MAX - manifest->path_count)
        mmh_json_reject(json, &token, "more than 65536 files");
    manifest->path_count += *count;
    if (!json->problem)
        paths = mmh_arena_array(manifest->map->arena, *count, sizeof *paths);
    if (!json->problem && !paths)
        set_memory(manifest);
    for (size_t i = 0; paths && i < *count && !json->problem && !manifest->status; i++) {
        size_t bytes;
        (void)mmh_json_next(json, &token);
        paths[i] = mmh_json_string(&token, manifest->map->arena, &bytes);
        if (!paths[i])
            set_memory(manifest);
        else if (strlen(paths[i]) != bytes || !mmh_map_file_is_safe(paths[i]))
            mmh_json_reject(json, &token, "a file whose name is not safe");
    }
    if (mmh_json_next(json, &token) != MMH_JSON_ARRAY_END)
        mmh_json_reject(json, &token, "a path that is no string");
    return paths;
}

/* ---- weights ---- */

struct weight {
    const char *name;
    mmh_dtype dtype; /* as stored; COUNT: none that has a size */
    uint32_t dimensions;
    uint64_t *shape;
    uint64_t bytes;
};

static mmh_dtype read_dtype(struct mmh_json *json)
{
    static const struct {
        const char *name;
        mmh_dtype dtype;
    } types[] = {
        { "float32", MMH_DTYPE_F32 }, { "int32", MMH_DTYPE_I32 },     { "bool", MMH_DTYPE_BOOL },
        { "uint8", MMH_DTYPE_U8 },    { "uint16", MMH_DTYPE_U16 },    { "float16", MMH_DTYPE_F16 },
        { "int16", MMH_DTYPE_I16 },   { "complex64", MMH_DTYPE_C64 },
    };
    struct mmh_json_token token;
    mmh_json_next(json, &token);
    for (size_t i = 0; i < MMH_COUNT_OF(types); i++)
        if (token.kind == MMH_JSON_STRING && mmh_json_is(&token, types[i].name))
            return types[i].dtype;
    mmh_json_skip_rest(json, &token);
    return MMH_DTYPE_COUNT;
}

/* {"dtype": ..., "min": ..., "scale": ...}: what is stored instead. */
static void read_quantization(struct weight *weight, struct mmh_json *json)
{
    struct mmh_json_token token;
    if (mmh_json_next(json, &token) != MMH_JSON_OBJECT) {
        mmh_json_skip_rest(json, &token);
        return;
    }
    while (mmh_json_next(json, &token) == MMH_JSON_KEY)
        if (mmh_json_is(&token, "dtype"))
            weight->dtype = read_dtype(json);
        else
            mmh_json_skip_value(json);
}

static void read_shape(struct manifest *manifest, struct weight *weight, struct mmh_json *json)
{
    uint64_t shape[MMH_MAP_DIMENSIONS_MAX];
    struct mmh_json_token token;
    weight->dimensions = 0;
    if (mmh_json_next(json, &token) != MMH_JSON_ARRAY)
        mmh_json_reject(json, &token, "a shape that is no array");
    while (!json->problem && mmh_json_next(json, &token) == MMH_JSON_NUMBER && token.is_u64 &&
           weight->dimensions < MMH_MAP_DIMENSIONS_MAX)
        shape[weight->dimensions++] = token.u64;
    if (token.kind != MMH_JSON_ARRAY_END)
        mmh_json_reject(json, &token, "a shape that is none");
    weight->shape = mmh_arena_array(manifest->map->arena, weight->dimensions, sizeof *shape);
    if (!weight->shape)
        set_memory(manifest);
    else if (weight->dimensions)
        memcpy(weight->shape, shape, weight->dimensions * sizeof *shape);
}

/* The keys of a weight, whose object was just entered. */
static void read_weight(struct manifest *manifest, struct weight *weight, struct mmh_json *json)
{
    struct mmh_json_token key, value;
    mmh_dtype plain = MMH_DTYPE_COUNT;
    bool quantized = false;
    *weight = (struct weight){ .dtype = MMH_DTYPE_COUNT };
    while (!manifest->status && mmh_json_next(json, &key) == MMH_JSON_KEY) {
        if (mmh_json_is(&key, "name")) {
            size_t bytes;
            if (mmh_json_next(json, &value) != MMH_JSON_STRING) {
                mmh_json_reject(json, &value, "a name that is no string");
                continue;
            }
            weight->name = mmh_json_string(&value, manifest->map->arena, &bytes);
            if (!weight->name)
                set_memory(manifest);
            else if (strlen(weight->name) != bytes)
                mmh_json_reject(json, &value, "a name with a NUL in it");
        } else if (mmh_json_is(&key, "dtype")) {
            plain = read_dtype(json);
        } else if (mmh_json_is(&key, "shape")) {
            read_shape(manifest, weight, json);
        } else if (mmh_json_is(&key, "quantization")) {
            read_quantization(weight, json);
            quantized = true;
        } else {
            mmh_json_skip_value(json);
        }
    }
    if (!quantized)
        weight->dtype = plain;
    if (!manifest->status && !json->problem && (!weight->name || !weight->shape))
        mmh_json_reject(json, &key, "a weight without name or shape");
}

/* ---- where they lie ---- */

static void add_tensor(struct manifest *manifest, const char *path,
                       const struct mmh_map_tensor *tensor)
{
    if (!manifest->status)
        manifest->status = mmh_extent_map_add_elsewhere(manifest->map, path, tensor, NULL);
}

/* A run of a weight's whole elements, from byte `begin` to `end` of the group's run; in one file. */
static void add_piece(struct manifest *manifest, const struct group *group,
                      const struct weight *weight, uint64_t weight_begin, uint64_t begin,
                      uint64_t end)
{
    unsigned element_bytes = mmh_dtype_bits(weight->dtype) / 8;
    uint64_t over = (begin - weight_begin) % element_bytes;
    begin += over ? element_bytes - over : 0;
    uint64_t *count = mmh_arena_array(manifest->map->arena, 1, sizeof *count);
    if (!count) {
        set_memory(manifest);
        return;
    }
    *count = begin < end ? (end - begin) / element_bytes : 0;
    struct mmh_map_tensor piece = {
        .name = weight->name,
        .dtype = weight->dtype,
        .role = MMH_MAP_STORAGE,
        .dimensions = 1,
        .shape = count,
        .offset = begin - group->begin,
        .bytes = *count * element_bytes,
    };
    if (*count)
        add_tensor(manifest, group->paths[group->at], &piece);
}

static void place_weight(struct manifest *manifest, struct group *group,
                         const struct weight *weight)
{
    uint64_t begin = group->position, end;
    find_file(manifest, group);
    if (!group->problem && !mmh_u64_add(&end, begin, weight->bytes))
        group->problem = "lies behind the end of all files";
    if (group->problem)
        return;
    if (end <= group->end) {
        struct mmh_map_tensor tensor = {
            .name = weight->name,
            .dtype = weight->dtype,
            .dimensions = weight->dimensions,
            .shape = weight->shape,
            .offset = begin - group->begin,
            .bytes = weight->bytes,
        };
        add_tensor(manifest, group->paths[group->at], &tensor);
        group->position = end;
        return;
    }
    mmh_extent_map_remark_tensor(manifest->map, weight->name,
                                 "lies in several files: its pieces are packed as numbers");
    while (group->position < end && !group->problem && !manifest->status) {
        uint64_t piece_end = MMH_MIN(end, group->end);
        add_piece(manifest, group, weight, begin, group->position, piece_end);
        group->position = piece_end;
        if (group->position < end)
            find_file(manifest, group);
    }
}

/* ---- groups ---- */

static void map_weights(struct manifest *manifest, struct group *group)
{
    struct mmh_json *json = &group->weights;
    struct mmh_json_token token;
    if (mmh_json_next(json, &token) != MMH_JSON_ARRAY)
        mmh_json_reject(json, &token, "\"weights\" is no array");
    measure(manifest, group);
    while (!manifest->status && !json->problem && mmh_json_next(json, &token) == MMH_JSON_OBJECT) {
        struct weight weight;
        read_weight(manifest, &weight, json);
        if (manifest->status || json->problem)
            break;
        if (!group->problem &&
            (weight.dtype == MMH_DTYPE_COUNT ||
             !mmh_shape_bytes(&weight.bytes, weight.dtype, weight.dimensions, weight.shape)))
            group->problem = "has a size that is not known, or lies behind one that has";
        if (!group->problem)
            place_weight(manifest, group, &weight);
        if (group->problem)
            mmh_extent_map_remark_tensor(manifest->map, weight.name, group->problem);
    }
    if (!json->problem && token.kind != MMH_JSON_ARRAY_END)
        mmh_json_reject(json, &token, "a weight that is no object");
    if (json->problem)
        mmh_extent_map_remark(manifest->map, "its manifest has %s", json->problem);
}

/* Whoever asks which files belong together (mmh_format_companions) knows no sizes: an empty piece of
 * each file tells. */
static void name_files(struct manifest *manifest, const struct group *group)
{
    static const uint64_t none = 0;
    for (size_t i = 0; i < group->path_count; i++) {
        struct mmh_map_tensor nothing = {
            .name = group->paths[i],
            .dtype = MMH_DTYPE_U8,
            .role = MMH_MAP_STORAGE,
            .dimensions = 1,
            .shape = &none,
        };
        add_tensor(manifest, group->paths[i], &nothing);
    }
}

static void map_group(struct manifest *manifest)
{
    struct mmh_json *json = &manifest->json;
    struct mmh_json_token key;
    struct group group = { 0 };
    while (!manifest->status && mmh_json_next(json, &key) == MMH_JSON_KEY) {
        if (mmh_json_is(&key, "paths") && !group.paths) {
            group.paths = read_paths(manifest, &group.path_count);
        } else if (mmh_json_is(&key, "weights")) {
            group.weights = *json;
            group.has_weights = true;
            mmh_json_skip_value(json);
        } else {
            mmh_json_skip_value(json);
        }
    }
    if (manifest->status || json->problem || !group.path_count)
        return;
    if (!manifest->probe->options->bytes_beside)
        name_files(manifest, &group);
    if (group.has_weights)
        map_weights(manifest, &group);
}

static void map_groups(struct manifest *manifest)
{
    struct mmh_json *json = &manifest->json;
    struct mmh_json_token token;
    while (!manifest->status && mmh_json_next(json, &token) == MMH_JSON_OBJECT)
        map_group(manifest);
    if (!manifest->status && token.kind != MMH_JSON_ARRAY_END)
        mmh_json_reject(json, &token, "a group that is no object");
}

/* The manifest's array: the whole file, or a value of its object. False: there is none. */
static bool map_json(struct manifest *manifest)
{
    struct mmh_json *json = &manifest->json;
    struct mmh_json_token token;
    bool found = false;
    if (mmh_json_next(json, &token) == MMH_JSON_ARRAY) {
        map_groups(manifest);
        return true;
    }
    while (!manifest->status && mmh_json_next(json, &token) == MMH_JSON_KEY) {
        if (!mmh_json_is(&token, "weightsManifest") || found) {
            mmh_json_skip_value(json);
            continue;
        }
        found = true;
        if (mmh_json_next(json, &token) != MMH_JSON_ARRAY)
            mmh_json_reject(json, &token, "a manifest that is no array");
        map_groups(manifest);
    }
    return found;
}

static mmh_status map_file(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                           mmh_error *err)
{
    const mmh_allocator *allocator = map->arena->allocator;
    size_t bytes = (size_t)probe->source->bytes;
    struct manifest manifest = { .map = map, .probe = probe };
    uint8_t *text;
    mmh_status status = mmh_source_take(&text, probe->source, 0, bytes, allocator, err);
    if (status)
        return status;
    mmh_json_init(&manifest.json, text, bytes);
    bool found = map_json(&manifest);
    if (manifest.status)
        status = mmh_fail(err, manifest.status, "manifest of weights");
    else
        status = mmh_json_finish(&manifest.json, "manifest of weights", err);
    mmh_free(allocator, text);
    if (!status && !found)
        return mmh_fail(err, MMH_E_UNSUPPORTED, "it has no manifest of weights");
    return status;
}

const struct mmh_format mmh_format_tfjs = {
    .name = "tensorflow.js",
    .tells = true,
    .detect = detect,
    .map = map_file,
};
