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
    for (size_t e = 0; e < map->extent_count; e++) {
        const struct mmh_extent *extent = &map->extents[e];
        uint64_t hint[MMH_HINT_DIMENSIONS], hinted = 1;
        if (extent->offset != covered || !extent->bytes)
            return "extents are not end to end";
        if (extent->bytes > map->file_bytes - covered)
            return "an extent reaches past the file";
        covered += extent->bytes;
        if (!extent->owner_count) {
            if (extent->name || extent->dtype != MMH_DTYPE_OPAQUE || extent->dimensions)
                return "an opaque extent is not plain";
            if (e && !map->extents[e - 1].owner_count)
                return "two opaque extents stand side by side";
            continue;
        }
        if (!extent->name || extent->dtype == MMH_DTYPE_OPAQUE)
            return "an extent that somebody owns is opaque";
        if (extent->bytes % mmh_dtype_scalar_bytes(extent->coded))
            return "a typed extent holds no whole scalars";
        uint32_t dimensions = mmh_extent_hint(hint, extent);
        for (uint32_t d = 0; d < dimensions; d++)
            hinted *= hint[d];
        if (dimensions > MMH_HINT_DIMENSIONS ||
            (dimensions && hinted * mmh_dtype_scalar_bytes(extent->coded) != extent->bytes))
            return "a hint is not the size of its extent";
    }
    if (covered != map->file_bytes)
        return "extents do not reach the end of the file";
    for (size_t t = 0; t < map->tensor_count; t++) {
        const struct mmh_map_tensor *tensor = &map->tensors[t];
        if (!tensor->name || tensor->dtype == MMH_DTYPE_OPAQUE ||
            tensor->dimensions > MMH_MAP_DIMENSIONS_MAX)
            return "a tensor is not plain";
        if (tensor->role == MMH_MAP_STORAGE)
            return "a storage is listed";
        if (tensor->strides
                ? !mmh_strides_bytes(&bytes, tensor->dtype, tensor->dimensions, tensor->shape,
                                     tensor->strides)
                : !mmh_shape_bytes(&bytes, tensor->dtype, tensor->dimensions, tensor->shape))
            return "a tensor's shape overflows";
        if (bytes != tensor->bytes)
            return "a tensor's shape and bytes disagree";
        if (tensor->offset > map->file_bytes || bytes > map->file_bytes - tensor->offset)
            return "a tensor reaches past the file";
        if (t && tensor->offset < map->tensors[t - 1].offset)
            return "tensors are not in file order";
    }
    for (size_t i = 0; i < map->remark_count && i < MMH_MAP_REMARKS_MAX; i++)
        if (!map->remarks[i] || !*map->remarks[i])
            return "a remark is empty";
    for (size_t i = 0; i < map->elsewhere_count; i++)
        if (!map->elsewhere[i].tensor.name || !mmh_map_file_is_safe(map->elsewhere[i].file))
            return "a tensor of another file is not plain";
    for (size_t i = 0; i < map->metadata_count; i++)
        if (!map->metadata[i].key || !map->metadata[i].value)
            return "a metadata entry is empty";
    return NULL;
}

#endif
