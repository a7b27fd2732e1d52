/*
 * For tests and fuzz targets: is an extent map what its door promises?
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_MAP_CHECK_H
#define MMH_MAP_CHECK_H

#include <string.h>

#include "tensor/extent.h"

/* What is wrong with a finished map; NULL: nothing. */
static inline const char *map_problem(const struct mmh_extent_map *map)
{
    uint64_t covered = 0, bytes;
    size_t owned = 0, without_bytes = 0;
    for (size_t e = 0; e < map->extent_count; e++) {
        const struct mmh_extent *extent = &map->extents[e];
        uint64_t hint[MMH_HINT_DIMENSIONS], hinted = 1;
        if (extent->offset != covered || !extent->bytes)
            return "extents are not end to end";
        if (extent->bytes > map->file_bytes - covered)
            return "an extent reaches past the file";
        covered += extent->bytes;
        if (!extent->tensor_count) {
            if (extent->name || extent->dtype != MMH_DTYPE_OPAQUE || extent->dimensions)
                return "an opaque extent is not plain";
            if (e && !map->extents[e - 1].tensor_count)
                return "two opaque extents stand side by side";
            continue;
        }
        owned += extent->tensor_count;
        if (extent->first_tensor > map->tensor_count ||
            extent->tensor_count > map->tensor_count - extent->first_tensor)
            return "an extent's tensors are not there";
        for (size_t t = 0; t < extent->tensor_count; t++) {
            const struct mmh_map_tensor *tensor = &map->tensors[extent->first_tensor + t];
            if (tensor->offset != extent->offset || tensor->bytes != extent->bytes)
                return "a tensor and its extent disagree";
        }
        if (extent->name != map->tensors[extent->first_tensor].name ||
            extent->dtype != map->tensors[extent->first_tensor].dtype)
            return "an extent is not named for its first tensor";
        if (extent->bytes % mmh_dtype_scalar_bytes(extent->dtype))
            return "a typed extent holds no whole scalars";
        uint32_t dimensions = mmh_extent_hint(hint, extent);
        for (uint32_t d = 0; d < dimensions; d++)
            hinted *= hint[d];
        if (dimensions > MMH_HINT_DIMENSIONS ||
            (dimensions && hinted * mmh_dtype_scalar_bytes(extent->dtype) != extent->bytes))
            return "a hint is not the size of its extent";
    }
    if (covered != map->file_bytes)
        return "extents do not reach the end of the file";
    for (size_t t = 0; t < map->tensor_count; t++) {
        const struct mmh_map_tensor *tensor = &map->tensors[t];
        without_bytes += !tensor->bytes;
        if (!tensor->name || tensor->dtype == MMH_DTYPE_OPAQUE ||
            tensor->dimensions > MMH_MAP_DIMENSIONS_MAX)
            return "a tensor is not plain";
        if (!mmh_shape_bytes(&bytes, tensor->dtype, tensor->dimensions, tensor->shape) ||
            bytes != tensor->bytes)
            return "a tensor's shape and bytes disagree";
        if (tensor->offset > map->file_bytes || bytes > map->file_bytes - tensor->offset)
            return "a tensor reaches past the file";
        if (t && tensor->offset < map->tensors[t - 1].offset)
            return "tensors are not in file order";
    }
    if (owned + without_bytes != map->tensor_count)
        return "a tensor with bytes has no extent";
    for (size_t i = 0; i < map->remark_count && i < MMH_MAP_REMARKS_MAX; i++)
        if (!map->remarks[i] || !*map->remarks[i])
            return "a remark is empty";
    for (size_t i = 0; i < map->metadata_count; i++)
        if (!map->metadata[i].key || !map->metadata[i].value)
            return "a metadata entry is empty";
    return NULL;
}

#endif
