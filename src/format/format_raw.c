/*
 * Raw arrays: no header at all, the caller says what the elements are.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "format/format_table.h"

#include <string.h>

static bool detect(const struct mmh_format_probe *probe)
{
    mmh_dtype dtype = probe->options->raw_dtype;
    return dtype != MMH_DTYPE_OPAQUE && mmh_dtype_bits(dtype) && probe->source->bytes;
}

static mmh_status map_array(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                            mmh_error *err)
{
    const struct mmh_format_options *options = probe->options;
    struct mmh_map_tensor tensor = { .dtype = options->raw_dtype, .dimensions = 1 };
    uint64_t bytes = probe->source->bytes;
    if (options->raw_shape)
        tensor.dimensions = options->raw_dimensions;
    if (tensor.dimensions > MMH_MAP_DIMENSIONS_MAX)
        return mmh_fail(err, MMH_E_UNSUPPORTED, "raw array of %u dimensions", tensor.dimensions);
    uint64_t *shape = mmh_arena_array(map->arena, tensor.dimensions, sizeof *shape);
    tensor.name = mmh_source_stem(probe->source, map->arena);
    if (!shape || !tensor.name)
        return mmh_fail(err, MMH_E_MEMORY, "raw array");
    tensor.shape = shape;
    if (options->raw_shape) {
        memcpy(shape, options->raw_shape, tensor.dimensions * sizeof *shape);
        if (!mmh_shape_bytes(&tensor.bytes, tensor.dtype, tensor.dimensions, shape) ||
            tensor.bytes > bytes)
            return mmh_fail(err, MMH_E_UNSUPPORTED,
                            "the given shape needs more than its %llu bytes",
                            (unsigned long long)bytes);
    } else { /* as many as fill whole bytes: bits is 8 times a part of 16, or 4, or 6 */
        unsigned bits = mmh_dtype_bits(tensor.dtype),
                 step = bits % 8 ? bits == 6 ? 3 : 1 : bits / 8;
        shape[0] = bytes / step * (step * 8 / bits);
        tensor.bytes = bytes / step * step;
    }
    if (tensor.bytes < bytes)
        mmh_extent_map_remark(map, "%llu bytes follow the raw array",
                              (unsigned long long)(bytes - tensor.bytes));
    return mmh_extent_map_add(map, &tensor, err);
}

const struct mmh_format mmh_format_raw = {
    .name = "raw",
    .detect = detect,
    .map = map_array,
};
