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

enum { SHOWN_BYTES_MAX = 160, NAME_PART_BYTES_MAX = 255 };

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

struct mmh_map_distant {
    struct mmh_map_distant *older;
    struct mmh_map_elsewhere elsewhere;
};

void mmh_extent_map_init(struct mmh_extent_map *map, struct mmh_arena *arena, uint64_t file_bytes)
{
    *map = (struct mmh_extent_map){ .arena = arena, .file_bytes = file_bytes };
}

struct mmh_map_mark mmh_extent_map_mark(const struct mmh_extent_map *map)
{
    return (struct mmh_map_mark){
        .nodes = map->nodes,
        .entries = map->entries,
        .distant = map->distant,
        .node_count = map->node_count,
        .entry_count = map->entry_count,
        .distant_count = map->distant_count,
        .file_bytes = map->file_bytes,
        .window_offset = map->window_offset,
        .prefix = map->prefix,
    };
}

void mmh_extent_map_discard(struct mmh_extent_map *map, const struct mmh_map_mark *mark)
{
    map->nodes = mark->nodes;
    map->entries = mark->entries;
    map->distant = mark->distant;
    map->node_count = mark->node_count;
    map->entry_count = mark->entry_count;
    map->distant_count = mark->distant_count;
}

mmh_status mmh_extent_map_enter(struct mmh_map_mark *outside, struct mmh_extent_map *map,
                                uint64_t offset, uint64_t bytes, const char *prefix, mmh_error *err)
{
    assert(offset <= map->file_bytes && bytes <= map->file_bytes - offset);
    *outside = mmh_extent_map_mark(map);
    if (prefix && *prefix) {
        map->prefix = mmh_arena_format(map->arena, "%s%s", map->prefix ? map->prefix : "", prefix);
        if (!map->prefix) {
            map->prefix = outside->prefix;
            return mmh_fail(err, MMH_E_MEMORY, "names of tensors");
        }
    }
    map->window_offset += offset;
    map->file_bytes = bytes;
    return MMH_OK;
}

void mmh_extent_map_leave(struct mmh_extent_map *map, const struct mmh_map_mark *outside)
{
    map->file_bytes = outside->file_bytes;
    map->window_offset = outside->window_offset;
    map->prefix = outside->prefix;
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
            return mmh_dtype_known(dtype);
        }
    for (uint32_t d = 0; d < dimensions; d++)
        if (!mmh_u64_mul(&elements, elements, shape[d]))
            return false;
    if (mmh_dtype_is_block(dtype)) {
        unsigned block_bytes, block_elements = mmh_dtype_block(dtype, &block_bytes);
        return elements % block_elements == 0 &&
               mmh_u64_mul(bytes, elements / block_elements, block_bytes);
    }
    if (bits % 8 == 0)
        return bits && mmh_u64_mul(bytes, elements, bits / 8);
    *bytes = elements / 8 * bits + mmh_divide_up(elements % 8 * bits, 8); /* bits < 8: it fits */
    return true;
}

bool mmh_strides_bytes(uint64_t *bytes, mmh_dtype dtype, uint32_t dimensions, const uint64_t *shape,
                       const uint64_t *strides)
{
    uint64_t last = 0, bits = mmh_dtype_bits(dtype);
    if (!bits || bits % 8)
        return false;
    for (uint32_t d = 0; d < dimensions; d++) {
        uint64_t reach;
        if (!shape[d]) {
            *bytes = 0;
            return true;
        }
        if (!mmh_u64_mul(&reach, shape[d] - 1, strides[d]) || !mmh_u64_add(&last, last, reach))
            return false;
    }
    return mmh_u64_add(&last, last, 1) && mmh_u64_mul(bytes, last, bits / 8);
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

/* Why a tensor cannot be in a file of `file_bytes`, as text that goes on from its name; NULL: it
 * can. */
static const char *tensor_problem(const struct mmh_map_tensor *tensor, uint64_t file_bytes)
{
    uint64_t bytes;
    if (tensor->dimensions > MMH_MAP_DIMENSIONS_MAX)
        return "has more than 64 dimensions";
    if (tensor->dtype == MMH_DTYPE_OPAQUE || !mmh_dtype_known(tensor->dtype))
        return "has no element type that we know";
    if (tensor->strides
            ? !mmh_strides_bytes(&bytes, tensor->dtype, tensor->dimensions, tensor->shape,
                                 tensor->strides) ||
                  !mmh_shape_bytes(&(uint64_t){ 0 }, tensor->dtype, tensor->dimensions,
                                   tensor->shape)
            : !mmh_shape_bytes(&bytes, tensor->dtype, tensor->dimensions, tensor->shape))
        return "has a shape whose size overflows";
    if (bytes != tensor->bytes)
        return "has a shape that does not agree with its bytes";
    if (tensor->offset > file_bytes || tensor->bytes > file_bytes - tensor->offset)
        return "reaches past the end of the file";
    return NULL;
}

/* The name with that of the part before it; NULL: no memory. */
static const char *whole_name(const struct mmh_extent_map *map, const char *name)
{
    return map->prefix ? mmh_arena_format(map->arena, "%s%s", map->prefix, name) : name;
}

mmh_status mmh_extent_map_add(struct mmh_extent_map *map, const struct mmh_map_tensor *tensor,
                              mmh_error *err)
{
    const char *problem = map->node_count >= MMH_MAP_TENSORS_MAX
                            ? "is beyond the ten millionth"
                            : tensor_problem(tensor, map->file_bytes);
    if (problem) {
        mmh_extent_map_remark_tensor(map, tensor->name, problem);
        return MMH_OK;
    }
    struct mmh_map_node *node = mmh_arena_alloc(map->arena, 0, sizeof *node);
    const char *name = whole_name(map, tensor->name);
    if (!node || !name)
        return mmh_fail(err, MMH_E_MEMORY, "extent map of %zu tensors", map->node_count);
    node->older = map->nodes;
    node->tensor = *tensor;
    node->tensor.name = name;
    node->tensor.offset += map->window_offset;
    if (tensor->strides) /* its bytes are not its elements one after another */
        node->tensor.role = MMH_MAP_VIEW;
    node->number = map->node_count++;
    map->nodes = node;
    return MMH_OK;
}

bool mmh_map_file_is_safe(const char *name)
{
    size_t part = 0;
    if (!*name)
        return false;
    for (;; name++) {
        if (!*name || *name == '/') {
            if (!part || (part <= 2 && memcmp(name - part, "..", part) == 0) ||
                part > NAME_PART_BYTES_MAX)
                return false;
            if (!*name)
                return true;
            part = 0;
            continue;
        }
        if ((uint8_t)*name < 0x20 || *name == 0x7f || *name == '\\' || *name == ':')
            return false;
        part++;
    }
}

mmh_status mmh_extent_map_add_elsewhere(struct mmh_extent_map *map, const char *file,
                                        const struct mmh_map_tensor *tensor, mmh_error *err)
{
    const char *problem = map->distant_count >= MMH_MAP_TENSORS_MAX ? "is beyond the ten millionth"
                        : !mmh_map_file_is_safe(file) ? "lies in a file whose name is not safe"
                                                      : tensor_problem(tensor, UINT64_MAX);
    if (problem) {
        mmh_extent_map_remark_tensor(map, tensor->name, problem);
        return MMH_OK;
    }
    struct mmh_map_distant *distant = mmh_arena_alloc(map->arena, 0, sizeof *distant);
    const char *name = whole_name(map, tensor->name);
    if (!distant || !name)
        return mmh_fail(err, MMH_E_MEMORY, "extent map of %zu tensors", map->distant_count);
    distant->older = map->distant;
    distant->elsewhere = (struct mmh_map_elsewhere){ file, *tensor };
    distant->elsewhere.tensor.name = name;
    map->distant = distant;
    map->distant_count++;
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

/* By offset; there those without bytes first (they own nothing), then the longest; views last. */
static int compare_places(const void *left, const void *right)
{
    const struct mmh_map_node *a = *(const struct mmh_map_node *const *)left;
    const struct mmh_map_node *b = *(const struct mmh_map_node *const *)right;
    bool a_is_view = a->tensor.role == MMH_MAP_VIEW, b_is_view = b->tensor.role == MMH_MAP_VIEW;
    if (a->tensor.offset != b->tensor.offset)
        return a->tensor.offset < b->tensor.offset ? -1 : 1;
    if (a_is_view != b_is_view)
        return a_is_view ? 1 : -1;
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
        if (order[i]->tensor.role != MMH_MAP_STORAGE &&
            order[i - 1]->tensor.role != MMH_MAP_STORAGE &&
            strcmp(order[i - 1]->tensor.name, order[i]->tensor.name) == 0)
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
        if (tensor->bytes && !tied && tensor->role != MMH_MAP_VIEW) {
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

/* Tensors that are listed go to `tensors`, those that have bytes of their own make extents. */
static void fill(struct mmh_extent_map *map, struct mmh_extent *extents,
                 struct mmh_map_tensor *tensors, struct mmh_map_node *const *order, size_t count)
{
    uint64_t covered = 0;
    struct mmh_extent *next = extents, *last = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct mmh_map_tensor *tensor = &order[i]->tensor;
        if (tensor->role != MMH_MAP_STORAGE)
            *tensors++ = *tensor;
        if (!tensor->bytes || tensor->role == MMH_MAP_VIEW)
            continue;
        if (last && tensor->offset == last->offset) {
            last->owner_count++; /* tied: an overlap would have been dropped */
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
            .coded = tensor->coded ? tensor->coded : mmh_dtype_scalar(tensor->dtype),
            .big_endian = tensor->big_endian,
            .column_major = tensor->column_major,
            .dimensions = tensor->dimensions,
            .shape = tensor->shape,
            .owner_count = 1,
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
    struct mmh_map_elsewhere *elsewhere = mmh_arena_array(map->arena, map->distant_count,
                                                          sizeof *elsewhere);
    if (!elsewhere)
        return mmh_fail(err, MMH_E_MEMORY, "%zu tensors of other files", map->distant_count);
    at = map->distant_count;
    for (const struct mmh_map_distant *distant = map->distant; distant; distant = distant->older)
        elsewhere[--at] = distant->elsewhere;
    map->elsewhere = elsewhere;
    map->elsewhere_count = map->distant_count;
    return MMH_OK;
}

void mmh_extent_map_see_bytes(struct mmh_extent_map *map, size_t extent)
{
    struct mmh_extent *changed = (struct mmh_extent *)(uintptr_t)&map->extents[extent]; /* ours */
    if (changed->coded != MMH_DTYPE_OPAQUE)
        changed->coded = MMH_DTYPE_U8;
}

mmh_status mmh_extent_map_finish(struct mmh_extent_map *map, mmh_error *err)
{
    const mmh_allocator *allocator = map->arena->allocator;
    size_t count = map->node_count;
    mmh_status status = MMH_E_MEMORY;
    map->tensor_count = 0;
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
        for (size_t i = 0; i < count; i++)
            map->tensor_count += order[i]->tensor.role != MMH_MAP_STORAGE;
        tensors = mmh_arena_array(map->arena, map->tensor_count, sizeof *tensors);
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

/* Scalars of `bytes` in a row of so many elements; 0 if they are none whole. */
static uint64_t row_scalars(uint64_t elements, mmh_dtype dtype, unsigned bytes)
{
    unsigned bits = mmh_dtype_bits(dtype);
    uint64_t row_bytes;
    if (mmh_dtype_is_block(dtype)) {
        unsigned block_bytes, block = mmh_dtype_block(dtype, &block_bytes);
        row_bytes = elements % block ? 0 : elements / block * block_bytes;
    } else if (bits % 8) {
        row_bytes = elements * (bits % 8) % 8 ? 0 : elements / 8 * bits + elements % 8 * bits / 8;
    } else {
        row_bytes = elements * (bits / 8);
    }
    return row_bytes % bytes ? 0 : row_bytes / bytes;
}

uint32_t mmh_extent_hint(uint64_t shape[MMH_HINT_DIMENSIONS], const struct mmh_extent *extent)
{
    uint32_t dimensions = extent->dimensions, out = MMH_MIN(dimensions, MMH_HINT_DIMENSIONS);
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
    *row = row_scalars(*row, extent->dtype, mmh_dtype_scalar_bytes(extent->coded));
    return *row ? out : 0;
}
