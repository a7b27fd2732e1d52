/*
 * Copies of tensors in opaque bytes: found by the bytes that tensors begin with, then compared.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine/copies.h"

#include <string.h>

#include "base/bits.h"
#include "base/cursor.h"

enum {
    TENSOR_BYTES_MIN = 2048,      /* less is not worth an extent of its own */
    OPAQUE_BYTES_MIN = 1 << 12,   /* an extent that is looked at has so many, */
    OPAQUE_BYTES_MAX = 256 << 20, /* not more than these, */
    OPAQUE_SHARE = 32,            /* and is at least this part of its file */
    HEAD_BYTES = 32,              /* that a tensor is known by */
    PIECE_BYTES = 1 << 16,
    TABLE_SLOTS = 1 << 16,
    TENSORS_MAX = TABLE_SLOTS / 4,
    PROBES_MAX = 16, /* tensors that begin alike, about */
    COMPARED_RATIO =
        4 /* bytes that are compared for each one looked at: files may be made to be slow */
};

struct head {
    const struct mmh_extent *extent;
    uint8_t bytes[HEAD_BYTES];
};

struct search {
    const struct mmh_extent_map *map;
    const mmh_input *input;
    struct head *heads; /* [count] */
    size_t count;
    uint16_t *table;         /* [TABLE_SLOTS] head + 1 by its first 8 bytes, open addressing */
    uint8_t *piece, *other;  /* [PIECE_BYTES + HEAD_BYTES], [PIECE_BYTES] */
    struct mmh_buffer found; /* struct mmh_extent[]: the file's extents with those of copies */
    uint64_t budget;         /* bytes that may yet be compared */
};

static bool is_looked_at(const struct mmh_extent *extent, uint64_t file_bytes)
{
    return !extent->owner_count && extent->bytes >= OPAQUE_BYTES_MIN &&
           extent->bytes <= OPAQUE_BYTES_MAX && extent->bytes >= file_bytes / OPAQUE_SHARE;
}

static size_t slot_of(uint64_t first)
{
    return (size_t)((first * UINT64_C(0x9e3779b97f4a7c15)) >> 48) % TABLE_SLOTS;
}

/* Whether bytes say nothing: zeros, and other values again and again, begin many things. */
static bool is_plain(const uint8_t bytes[HEAD_BYTES])
{
    return memcmp(bytes, bytes + 8, HEAD_BYTES - 8) == 0;
}

static mmh_status take_heads(struct search *search, mmh_error *err)
{
    const struct mmh_extent_map *map = search->map;
    for (size_t i = 0; i < map->extent_count && search->count < TENSORS_MAX; i++) {
        struct head *head = &search->heads[search->count];
        head->extent = &map->extents[i];
        if (!head->extent->owner_count || head->extent->bytes < TENSOR_BYTES_MIN)
            continue;
        mmh_status status = mmh_input_read(search->input, head->bytes, head->extent->offset,
                                           HEAD_BYTES, err);
        if (status != MMH_OK)
            return status;
        if (is_plain(head->bytes))
            continue;
        size_t slot = slot_of(mmh_load64(head->bytes)), probes = 0;
        while (search->table[slot] && probes++ < PROBES_MAX)
            slot = (slot + 1) % TABLE_SLOTS;
        if (!search->table[slot])
            search->table[slot] = (uint16_t)(++search->count);
    }
    return MMH_OK;
}

/* Whether the bytes at `offset` are those of the extent; *status tells of reads that fail. */
static bool is_copy(struct search *search, const struct mmh_extent *extent, uint64_t offset,
                    uint8_t *copy, mmh_status *status, mmh_error *err)
{
    for (uint64_t done = 0; done < extent->bytes;) {
        size_t bytes = (size_t)MMH_MIN(extent->bytes - done, (uint64_t)PIECE_BYTES / 2);
        if (search->budget < bytes)
            return false;
        search->budget -= bytes;
        *status = mmh_input_read(search->input, search->other, extent->offset + done, bytes, err);
        if (*status == MMH_OK)
            *status = mmh_input_read(search->input, copy, offset + done, bytes, err);
        if (*status != MMH_OK || memcmp(search->other, copy, bytes) != 0)
            return false;
        done += bytes;
    }
    return true;
}

/* The longest extent whose copy lies at `offset`, whose first bytes are at[HEAD_BYTES]. */
static const struct mmh_extent *find(struct search *search, const uint8_t *at, uint64_t offset,
                                     uint64_t end, mmh_status *status, mmh_error *err)
{
    const struct mmh_extent *best = NULL;
    for (size_t slot = slot_of(mmh_load64(at)); search->table[slot];
         slot = (slot + 1) % TABLE_SLOTS) {
        const struct head *head = &search->heads[search->table[slot] - 1];
        if (memcmp(head->bytes, at, HEAD_BYTES) == 0 && head->extent->bytes <= end - offset &&
            (!best || head->extent->bytes > best->bytes) &&
            is_copy(search, head->extent, offset, search->other + PIECE_BYTES / 2, status, err))
            best = head->extent;
        if (*status != MMH_OK)
            return NULL;
    }
    return best;
}

static void put(struct search *search, const struct mmh_extent *like, uint64_t offset,
                uint64_t bytes)
{
    struct mmh_extent extent = { 0 };
    if (like)
        extent = *like;
    extent.offset = offset;
    extent.bytes = bytes;
    if (bytes)
        mmh_buffer_bytes(&search->found, &extent, sizeof extent);
}

/* Go through an opaque extent, a piece at a time. */
static mmh_status look_through(struct search *search, const struct mmh_extent *extent,
                               mmh_error *err)
{
    uint64_t end = extent->offset + extent->bytes, kept = extent->offset; /* what is put already */
    mmh_status status = MMH_OK;
    search->budget = COMPARED_RATIO * extent->bytes;
    for (uint64_t offset = kept; status == MMH_OK && end - offset >= HEAD_BYTES;) {
        size_t bytes = (size_t)MMH_MIN(end - offset, (uint64_t)PIECE_BYTES + HEAD_BYTES);
        status = mmh_input_read(search->input, search->piece, offset, bytes, err);
        size_t last = bytes - HEAD_BYTES, i = 0;
        const struct mmh_extent *original = NULL;
        for (; status == MMH_OK && i <= last && !original; i += !original)
            if (search->table[slot_of(mmh_load64(search->piece + i))])
                original = find(search, search->piece + i, offset + i, end, &status, err);
        offset += i;
        if (original) {
            put(search, NULL, kept, offset - kept);
            put(search, original, offset, original->bytes);
            offset = kept = offset + original->bytes;
        }
    }
    put(search, NULL, kept, end - kept);
    return status;
}

static mmh_status search_all(struct search *search, struct mmh_extent_map *map, mmh_error *err)
{
    mmh_status status = take_heads(search, err);
    for (size_t i = 0; i < map->extent_count && status == MMH_OK; i++) {
        const struct mmh_extent *extent = &map->extents[i];
        if (search->count && is_looked_at(extent, map->file_bytes))
            status = look_through(search, extent, err);
        else
            mmh_buffer_bytes(&search->found, extent, sizeof *extent);
    }
    size_t count = search->found.bytes / sizeof *map->extents;
    if (status != MMH_OK || count == map->extent_count)
        return status;
    struct mmh_extent *extents = mmh_arena_array(map->arena, count, sizeof *extents);
    if (!extents)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to plan %zu tensors", count);
    memcpy(extents, search->found.data, search->found.bytes);
    map->extents = extents;
    map->extent_count = count;
    return MMH_OK;
}

mmh_status mmh_copies_find(struct mmh_extent_map *map, const mmh_input *input,
                           const mmh_allocator *allocator, mmh_error *err)
{
    struct search search = { .map = map, .input = input };
    size_t heads = 0;
    bool any = false;
    for (size_t i = 0; i < map->extent_count; i++) {
        any = any || is_looked_at(&map->extents[i], map->file_bytes);
        heads += map->extents[i].owner_count && map->extents[i].bytes >= TENSOR_BYTES_MIN;
    }
    if (!any || !heads)
        return MMH_OK;
    mmh_buffer_init(&search.found, allocator);
    search.heads = mmh_alloc_array(allocator, MMH_MIN(heads, (size_t)TENSORS_MAX) + 1,
                                   sizeof *search.heads);
    search.table = mmh_alloc_array(allocator, TABLE_SLOTS, sizeof *search.table);
    search.piece = mmh_alloc(allocator, 0, PIECE_BYTES + HEAD_BYTES);
    search.other = mmh_alloc(allocator, 0, PIECE_BYTES);
    mmh_status status = MMH_E_MEMORY;
    if (search.heads && search.table && search.piece && search.other)
        status = search_all(&search, map, err);
    else
        mmh_fail(err, status, "no memory to look for copies of tensors");
    if (status == MMH_OK)
        status = mmh_buffer_finish(&search.found, "a file's extents", err);
    mmh_buffer_release(&search.found);
    mmh_free(allocator, search.other);
    mmh_free(allocator, search.piece);
    mmh_free(allocator, search.table);
    mmh_free(allocator, search.heads);
    return status;
}
