/*
 * The extent map: tensors sorted and cleared of overlaps, the rest filled in.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tensor/extent.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

enum { SHOWN_BYTES_MAX = 160 };

/* Tensors and metadata as they come, newest first. */
struct mmh_map_node {
    struct mmh_map_node *older;
    struct mmh_map_tensor tensor;
    size_t number; /* in the order of adding */
};

struct mmh_map_entry {
    struct mmh_map_entry *older;
    struct mmh_map_metadata metadata;
};

void mmh_extent_map_init(struct mmh_extent_map *map, struct mmh_arena *arena, uint64_t file_bytes)
{
    *map = (struct mmh_extent_map){ .arena = arena, .file_bytes = file_bytes };
}

void mmh_extent_map_discard(struct mmh_extent_map *map)
{
    map->nodes = NULL;
    map->entries = NULL;
    map->node_count = map->entry_count = 0;
}

void mmh_extent_map_remark(struct mmh_extent_map *map, const char *format, ...)
{
    mmh_error text = { 0 }; /* cuts long names at whole characters, masks control characters */
    if (map->remark_count++ >= MMH_MAP_REMARKS_MAX)
        return;
    va_list arguments;
    va_start(arguments, format);
    mmh_fail_v(&text, MMH_E_CORRUPT, format, arguments);
    va_end(arguments);
    map->remarks[map->remark_count - 1] = mmh_arena_string(map->arena, text.message,
                                                           strlen(text.message));
    if (!map->remarks[map->remark_count - 1])
        map->remarks[map->remark_count - 1] = "(out of memory)";
}

bool mmh_shape_bytes(uint64_t *bytes, mmh_dtype dtype, uint32_t dimensions, const uint64_t *shape)
{
    uint64_t elements = 1, bits = mmh_dtype_bits(dtype);
    for (uint32_t d = 0; d < dimensions; d++)
        if (!shape[d]) { /* however large the others are */
            *bytes = 0;
            return bits != 0;
        }
    for (uint32_t d = 0; d < dimensions; d++)
        if (!mmh_u64_mul(&elements, elements, shape[d]))
            return false;
    if (bits % 8 == 0)
        return bits && mmh_u64_mul(bytes, elements, bits / 8);
    *bytes = elements / 8 * bits + mmh_divide_up(elements % 8 * bits, 8); /* bits < 8: it fits */
    return true;
}

/* Bytes of a name to show in a remark, so that there is room for the rest: whole characters. */
static int shown_bytes(const char *name)
{
    size_t bytes = strnlen(name, SHOWN_BYTES_MAX + 1);
    if (bytes > SHOWN_BYTES_MAX)
        for (bytes = SHOWN_BYTES_MAX; bytes > 0 && ((uint8_t)name[bytes] & 0xc0) == 0x80;)
            bytes--;
    return (int)bytes;
}

void mmh_extent_map_remark_tensor(struct mmh_extent_map *map, const char *name, const char *problem)
{
    mmh_extent_map_remark(map, "tensor \"%.*s\" %s: kept as plain bytes", shown_bytes(name), name,
                          problem);
}

/* Why a tensor cannot be, as text that goes on from its name; NULL: it can. */
static const char *tensor_problem(const struct mmh_extent_map *map,
                                  const struct mmh_map_tensor *tensor)
{
    uint64_t bytes;
    if (map->node_count >= MMH_MAP_TENSORS_MAX)
        return "is beyond the ten millionth";
    if (tensor->dimensions > MMH_MAP_DIMENSIONS_MAX)
        return "has more than 64 dimensions";
    if (tensor->dtype == MMH_DTYPE_OPAQUE || !mmh_dtype_bits(tensor->dtype))
        return "has no element type that we know";
    if (!mmh_shape_bytes(&bytes, tensor->dtype, tensor->dimensions, tensor->shape))
        return "has a shape whose size overflows";
    if (bytes != tensor->bytes)
        return "has a shape that does not agree with its bytes";
    if (tensor->offset > map->file_bytes || tensor->bytes > map->file_bytes - tensor->offset)
        return "reaches past the end of the file";
    return NULL;
}

mmh_status mmh_extent_map_add(struct mmh_extent_map *map, const struct mmh_map_tensor *tensor,
                              mmh_error *err)
{
    const char *problem = tensor_problem(map, tensor);
    if (problem) {
        mmh_extent_map_remark_tensor(map, tensor->name, problem);
        return MMH_OK;
    }
    struct mmh_map_node *node = mmh_arena_alloc(map->arena, 0, sizeof *node);
    if (!node)
        return mmh_fail(err, MMH_E_MEMORY, "extent map of %zu tensors", map->node_count);
    node->older = map->nodes;
    node->tensor = *tensor;
    node->number = map->node_count++;
    map->nodes = node;
    return MMH_OK;
}

mmh_status mmh_extent_map_add_metadata(struct mmh_extent_map *map, const char *key,
                                       const char *value, mmh_error *err)
{
    struct mmh_map_entry *entry = mmh_arena_alloc(map->arena, 0, sizeof *entry);
    if (!entry)
        return mmh_fail(err, MMH_E_MEMORY, "%zu metadata entries", map->entry_count);
    entry->older = map->entries;
    entry->metadata = (struct mmh_map_metadata){ key, value };
    map->entries = entry;
    map->entry_count++;
    return MMH_OK;
}

/* By offset; there those without bytes first (they own nothing), then the longest. */
static int compare_places(const void *left, const void *right)
{
    const struct mmh_map_node *a = *(const struct mmh_map_node *const *)left;
    const struct mmh_map_node *b = *(const struct mmh_map_node *const *)right;
    if (a->tensor.offset != b->tensor.offset)
        return a->tensor.offset < b->tensor.offset ? -1 : 1;
    if (a->tensor.bytes != b->tensor.bytes) {
        if (!a->tensor.bytes || !b->tensor.bytes)
            return !a->tensor.bytes ? -1 : 1;
        return a->tensor.bytes > b->tensor.bytes ? -1 : 1;
    }
    return a->number < b->number ? -1 : a->number > b->number;
}

static int compare_names(const void *left, const void *right)
{
    const struct mmh_map_node *a = *(const struct mmh_map_node *const *)left;
    const struct mmh_map_node *b = *(const struct mmh_map_node *const *)right;
    int order = strcmp(a->tensor.name, b->tensor.name);
    return order ? order : a->number < b->number ? -1 : a->number > b->number;
}

static void remark_equal_names(struct mmh_extent_map *map, struct mmh_map_node **order,
                               size_t count)
{
    if (count > 1)
        qsort(order, count, sizeof(struct mmh_map_node *), compare_names);
    for (size_t i = 1; i < count; i++)
        if (strcmp(order[i - 1]->tensor.name, order[i]->tensor.name) == 0)
            mmh_extent_map_remark(map, "two tensors are called \"%.*s\"",
                                  shown_bytes(order[i]->tensor.name), order[i]->tensor.name);
}

/*
 * Leave out the tensors that overlap an earlier one: order [*count], sorted, is closed up. Counts
 * the extents that tile the file.
 */
static size_t drop_overlaps(struct mmh_extent_map *map, struct mmh_map_node **order, size_t *count)
{
    uint64_t covered = 0;
    size_t kept = 0, extents = 0;
    const struct mmh_map_tensor *last = NULL; /* the one that the last extent is named for */
    for (size_t i = 0; i < *count; i++) {
        const struct mmh_map_tensor *tensor = &order[i]->tensor;
        bool tied = last && tensor->offset == last->offset && tensor->bytes == last->bytes;
        if (tensor->bytes && !tied) {
            if (tensor->offset < covered) {
                mmh_extent_map_remark(map,
                                      "tensor \"%.*s\" overlaps \"%.*s\" (offset 0x%llx): what "
                                      "it adds is kept as plain bytes",
                                      shown_bytes(tensor->name), tensor->name,
                                      shown_bytes(last->name), last->name,
                                      (unsigned long long)tensor->offset);
                continue;
            }
            extents += tensor->offset > covered ? 2 : 1; /* the gap before it, and it */
            covered = tensor->offset + tensor->bytes;
            last = tensor;
        }
        order[kept++] = order[i];
    }
    *count = kept;
    return extents + (covered < map->file_bytes);
}

static void fill(struct mmh_extent_map *map, struct mmh_extent *extents,
                 struct mmh_map_tensor *tensors, struct mmh_map_node *const *order, size_t count)
{
    uint64_t covered = 0;
    struct mmh_extent *next = extents, *last = NULL;
    for (size_t i = 0; i < count; i++) {
        struct mmh_map_tensor *tensor = &tensors[i];
        *tensor = order[i]->tensor;
        if (!tensor->bytes)
            continue;
        if (last && tensor->offset == last->offset) {
            last->tensor_count++; /* tied: an overlap would have been dropped */
            continue;
        }
        if (tensor->offset > covered)
            *next++ = (struct mmh_extent){ .offset = covered, .bytes = tensor->offset - covered };
        last = next++;
        *last = (struct mmh_extent){
            .offset = tensor->offset,
            .bytes = tensor->bytes,
            .name = tensor->name,
            .dtype = tensor->dtype,
            .big_endian = tensor->big_endian,
            .column_major = tensor->column_major,
            .dimensions = tensor->dimensions,
            .shape = tensor->shape,
            .first_tensor = i,
            .tensor_count = 1,
        };
        covered = tensor->offset + tensor->bytes;
    }
    if (covered < map->file_bytes)
        *next++ = (struct mmh_extent){ .offset = covered, .bytes = map->file_bytes - covered };
    assert((size_t)(next - extents) == map->extent_count);
}

static mmh_status finish_metadata(struct mmh_extent_map *map, mmh_error *err)
{
    struct mmh_map_metadata *metadata = mmh_arena_array(map->arena, map->entry_count,
                                                        sizeof *metadata);
    if (!metadata)
        return mmh_fail(err, MMH_E_MEMORY, "%zu metadata entries", map->entry_count);
    size_t at = map->entry_count;
    for (const struct mmh_map_entry *entry = map->entries; entry; entry = entry->older)
        metadata[--at] = entry->metadata;
    map->metadata = metadata;
    map->metadata_count = map->entry_count;
    return MMH_OK;
}

mmh_status mmh_extent_map_finish(struct mmh_extent_map *map, mmh_error *err)
{
    const mmh_allocator *allocator = map->arena->allocator;
    size_t count = map->node_count;
    mmh_status status = MMH_E_MEMORY;
    struct mmh_map_tensor *tensors = NULL;
    struct mmh_extent *extents = NULL;
    struct mmh_map_node **order = mmh_alloc_array(allocator, count, sizeof(struct mmh_map_node *));
    if (order) {
        size_t at = count;
        for (struct mmh_map_node *node = map->nodes; node; node = node->older)
            order[--at] = node;
        remark_equal_names(map, order, count);
        if (count > 1)
            qsort(order, count, sizeof(struct mmh_map_node *), compare_places);
        map->extent_count = drop_overlaps(map, order, &count);
        map->tensor_count = count;
        tensors = mmh_arena_array(map->arena, count, sizeof *tensors);
        extents = mmh_arena_array(map->arena, map->extent_count, sizeof *extents);
    }
    if (tensors && extents) {
        fill(map, extents, tensors, order, count);
        map->tensors = tensors;
        map->extents = extents;
        status = finish_metadata(map, err);
    } else {
        map->extent_count = map->tensor_count = 0;
        mmh_fail(err, status, "extent map of %zu tensors", map->node_count);
    }
    mmh_free(allocator, order);
    return status;
}

uint32_t mmh_extent_hint(uint64_t shape[MMH_HINT_DIMENSIONS], const struct mmh_extent *extent)
{
    uint32_t dimensions = extent->dimensions, out = MMH_MIN(dimensions, MMH_HINT_DIMENSIONS);
    unsigned bits = mmh_dtype_bits(extent->dtype);
    unsigned scalar_bits = 8 * mmh_dtype_scalar_bytes(extent->dtype);
    if (!out)
        return 0;
    for (uint32_t i = 0; i < dimensions; i++) { /* from the fastest on */
        uint64_t size = extent->shape[extent->column_major ? i : dimensions - 1 - i];
        if (i >= out)
            shape[0] *= size; /* fits: all of them together are the extent's elements */
        else
            shape[out - 1 - i] = size;
    }
    uint64_t *row = &shape[out - 1];
    if (*row * bits % 8)
        return 0;
    *row = bits < 8 ? *row / 8 * bits + *row % 8 * bits / 8 : *row * (bits / scalar_bits);
    return out;
}
