/*
 * safetensors: u64 header length, a JSON object of tensors, their bytes.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Looser than the official reader, which refuses gaps, duplicate keys and unordered data: what it
 * refuses is packed all the same.
 * Source: github.com/huggingface/safetensors, safetensors/src/tensor.rs.
 */
#include <string.h>

#include "base/bits.h"
#include "base/json.h"
#include "format/format_table.h"

enum { LENGTH_BYTES = 8, HEADER_BYTES_MAX = 100 * 1000 * 1000 };

static bool detect(const struct mmh_format_probe *probe)
{
    uint64_t bytes = mmh_load64(probe->head); /* zeros where the file is shorter */
    return probe->head_bytes > LENGTH_BYTES + 1 && probe->head[LENGTH_BYTES] == '{' && bytes >= 2 &&
           bytes <= HEADER_BYTES_MAX && bytes <= probe->source->bytes - LENGTH_BYTES;
}

static mmh_status map_metadata(struct mmh_extent_map *map, struct mmh_json *json, mmh_error *err)
{
    struct mmh_json_token token, value;
    if (mmh_json_next(json, &token) != MMH_JSON_OBJECT) {
        mmh_extent_map_remark(map, "__metadata__ is no object");
        mmh_json_skip_rest(json, &token);
        return MMH_OK;
    }
    while (mmh_json_next(json, &token) == MMH_JSON_KEY) {
        size_t key_bytes, text_bytes;
        if (mmh_json_next(json, &value) != MMH_JSON_STRING) {
            mmh_extent_map_remark(map, "an entry of __metadata__ is no string: left out");
            mmh_json_skip_rest(json, &value);
            continue;
        }
        char *key = mmh_json_string(&token, map->arena, &key_bytes);
        char *text = mmh_json_string(&value, map->arena, &text_bytes);
        if (!key || !text)
            return mmh_fail(err, MMH_E_MEMORY, "__metadata__");
        if (strlen(key) != key_bytes || strlen(text) != text_bytes) {
            mmh_extent_map_remark(map, "an entry of __metadata__ holds a NUL: left out");
            continue;
        }
        mmh_status status = mmh_extent_map_add_metadata(map, key, text, err);
        if (status)
            return status;
    }
    return MMH_OK;
}

/* Up to `room` plain integers of an array into values; how many it has, or -1 if it is another
 * thing (and has been passed over). */
static long read_integers(struct mmh_json *json, uint64_t *values, long room)
{
    struct mmh_json_token token;
    long count = 0;
    bool good = true;
    if (mmh_json_next(json, &token) != MMH_JSON_ARRAY) {
        mmh_json_skip_rest(json, &token);
        return -1;
    }
    for (;;) {
        mmh_json_next(json, &token);
        if (token.kind == MMH_JSON_ARRAY_END || token.kind == MMH_JSON_END)
            return good ? count : -1;
        mmh_json_skip_rest(json, &token);
        good = good && token.kind == MMH_JSON_NUMBER && token.is_u64;
        if (good && count < room)
            values[count] = token.u64;
        count += good;
    }
}

/* What the file says of one tensor. */
struct claim {
    mmh_dtype dtype;
    long dimensions; /* -1: none given, or not understood */
    uint64_t shape[MMH_MAP_DIMENSIONS_MAX];
    long offset_count;
    uint64_t offsets[2]; /* begin, end: from the end of the header */
    const char *problem;
};

/* Reads the value after a tensor's key; claim->problem says what is wrong with it. */
static void read_claim(struct claim *claim, struct mmh_json *json)
{
    struct mmh_json_token token, value;
    unsigned seen = 0;
    *claim = (struct claim){ .dtype = MMH_DTYPE_COUNT, .dimensions = -1, .offset_count = -1 };
    if (mmh_json_next(json, &token) != MMH_JSON_OBJECT) {
        mmh_json_skip_rest(json, &token);
        claim->problem = "is no object";
        return;
    }
    while (mmh_json_next(json, &token) == MMH_JSON_KEY) {
        unsigned field = mmh_json_is(&token, "dtype")        ? 1
                       : mmh_json_is(&token, "shape")        ? 2
                       : mmh_json_is(&token, "data_offsets") ? 4
                                                             : 0;
        if (seen & field)
            claim->problem = "names a field twice";
        seen |= field;
        if (field == 1) {
            if (mmh_json_next(json, &value) == MMH_JSON_STRING)
                claim->dtype = mmh_dtype_find(value.text, value.bytes);
            else
                mmh_json_skip_rest(json, &value);
        } else if (field == 2) {
            claim->dimensions = read_integers(json, claim->shape, MMH_MAP_DIMENSIONS_MAX);
        } else if (field == 4) {
            claim->offset_count = read_integers(json, claim->offsets, 2);
        } else {
            mmh_json_skip_value(json);
        }
    }
    if (claim->problem)
        return;
    if (claim->dtype == MMH_DTYPE_COUNT || claim->dtype == MMH_DTYPE_OPAQUE)
        claim->problem = "has no element type that we know";
    else if (claim->dimensions < 0)
        claim->problem = "has no shape of whole numbers";
    else if (claim->dimensions > MMH_MAP_DIMENSIONS_MAX)
        claim->problem = "has more than 64 dimensions";
    else if (claim->offset_count != 2 || claim->offsets[0] > claim->offsets[1])
        claim->problem = "has no two ascending offsets";
}

static mmh_status map_tensor(struct mmh_extent_map *map, struct mmh_json *json,
                             const struct mmh_json_token *key, uint64_t data_start, mmh_error *err)
{
    struct claim claim;
    read_claim(&claim, json);
    if (json->problem)
        return MMH_OK; /* mmh_json_finish reports it */
    size_t name_bytes;
    char *name = mmh_json_string(key, map->arena, &name_bytes);
    if (!name)
        return mmh_fail(err, MMH_E_MEMORY, "name of a tensor");
    struct mmh_map_tensor tensor = { .name = name, .dtype = claim.dtype };
    if (strlen(name) != name_bytes)
        claim.problem = "has a NUL in its name";
    else if (!claim.problem && !mmh_u64_add(&tensor.offset, data_start, claim.offsets[0]))
        claim.problem = "reaches past the end of the file";
    if (claim.problem) {
        mmh_extent_map_remark_tensor(map, name, claim.problem);
        return MMH_OK;
    }
    tensor.bytes = claim.offsets[1] - claim.offsets[0];
    tensor.dimensions = (uint32_t)claim.dimensions;
    if (tensor.dimensions) {
        uint64_t *shape = mmh_arena_array(map->arena, tensor.dimensions, sizeof *shape);
        if (!shape)
            return mmh_fail(err, MMH_E_MEMORY, "shape of a tensor");
        memcpy(shape, claim.shape, tensor.dimensions * sizeof *shape);
        tensor.shape = shape;
    }
    return mmh_extent_map_add(map, &tensor, err);
}

static mmh_status map_header(struct mmh_extent_map *map, const uint8_t *header, size_t bytes,
                             mmh_error *err)
{
    struct mmh_json json;
    struct mmh_json_token token;
    mmh_json_init(&json, header, bytes);
    if (mmh_json_next(&json, &token) == MMH_JSON_OBJECT)
        while (mmh_json_next(&json, &token) == MMH_JSON_KEY) {
            mmh_status status = mmh_json_is(&token, "__metadata__")
                                  ? map_metadata(map, &json, err)
                                  : map_tensor(map, &json, &token, LENGTH_BYTES + bytes, err);
            if (status)
                return status;
        }
    return mmh_json_finish(&json, "safetensors header", err);
}

static mmh_status map_file(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                           mmh_error *err)
{
    const mmh_allocator *allocator = map->arena->allocator;
    size_t bytes = (size_t)mmh_load64(probe->head);
    uint8_t *header;
    mmh_status status = mmh_source_take(&header, probe->source, LENGTH_BYTES, bytes, allocator,
                                        err);
    if (status)
        return status;
    status = map_header(map, header, bytes, err);
    mmh_free(allocator, header);
    return status;
}

const struct mmh_format mmh_format_safetensors = {
    .name = "safetensors",
    .suffix = ".safetensors",
    .detect = detect,
    .map = map_file,
};
