/*
 * HDF5's groups: links in a symbol table, in messages, and in a fractal heap.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Only hard links are followed: soft and external ones name what has a name of its own.
 */
#include <string.h>

#include "base/bits.h"
#include "format/hdf5.h"

enum { PATH_BYTES_MAX = 4096 };

/* A hard link: the group's path and name[bytes] make the object's. */
static bool add_link(struct mmh_hdf5 *h5, struct mmh_hdf5_object *group, const char *name,
                     size_t bytes, uint64_t address)
{
    struct mmh_arena *arena = h5->map->arena;
    size_t before = strlen(group->path);
    if (!bytes || memchr(name, '\0', bytes) || before + 1 + bytes > PATH_BYTES_MAX)
        return mmh_hdf5_fail(h5, "has names that are empty, too long or hold a NUL");
    if (!mmh_hdf5_has_room(h5))
        return false;
    struct mmh_hdf5_link *link = mmh_arena_alloc(arena, 0, sizeof *link);
    char *path = mmh_arena_alloc(arena, 1, before + 1 + bytes + 1);
    if (!link || !path) {
        h5->in.status = mmh_fail(&h5->in.error, MMH_E_MEMORY, "names of an HDF5 file");
        return false;
    }
    memcpy(path, group->path, before);
    if (before)
        path[before++] = '/';
    memcpy(path + before, name, bytes);
    path[before + bytes] = '\0';
    *link = (struct mmh_hdf5_link){ .next = group->links, .path = path, .address = address };
    group->links = link;
    return true;
}

/* ---- links by themselves ---- */

void mmh_hdf5_link_read(struct mmh_hdf5 *h5, struct mmh_hdf5_object *group)
{
    enum { HAS_ORDER = 4, HAS_KIND = 8, HAS_CHARACTERS = 16 };
    char name[PATH_BYTES_MAX];
    unsigned version = mmh_stream_u8(&h5->in), flags = mmh_stream_u8(&h5->in);
    unsigned kind = flags & HAS_KIND ? mmh_stream_u8(&h5->in) : 0; /* 0: hard */
    mmh_stream_skip(&h5->in, (flags & HAS_ORDER ? 8 : 0) + (flags & HAS_CHARACTERS ? 1 : 0));
    uint64_t bytes = mmh_hdf5_number(h5, 1u << (flags & 3));
    if (version != 1)
        mmh_hdf5_fail(h5, "has a link of a version that we do not know");
    else if (kind == 0 && bytes > sizeof name)
        mmh_hdf5_fail(h5, "has names that are empty, too long or hold a NUL");
    else if (kind == 0) {
        for (size_t i = 0; i < bytes; i++)
            name[i] = (char)mmh_stream_u8(&h5->in);
        uint64_t address = mmh_hdf5_address(h5);
        if (mmh_hdf5_good(h5))
            add_link(h5, group, name, (size_t)bytes, address);
    }
}

/* ---- symbol tables ---- */

struct symbols {
    struct mmh_hdf5_object *group;
    uint64_t names_offset, names_bytes; /* in the source */
};

static bool read_heap(struct mmh_hdf5 *h5, struct symbols *symbols, uint64_t address)
{
    if (!mmh_hdf5_go_signed(h5, address, "HEAP", 0))
        return false;
    mmh_stream_skip(&h5->in, 3);
    symbols->names_bytes = mmh_hdf5_length(h5);
    mmh_stream_skip(&h5->in, h5->length_bytes); /* its free places */
    symbols->names_offset = mmh_hdf5_address(h5);
    uint64_t file_bytes = h5->in.source->bytes;
    if (!mmh_hdf5_good(h5))
        return false;
    if (!mmh_u64_add(&symbols->names_offset, symbols->names_offset, h5->base) ||
        symbols->names_offset > file_bytes ||
        symbols->names_bytes > file_bytes - symbols->names_offset)
        return mmh_hdf5_fail(h5, "has names past the end of the file");
    return true;
}

static bool add_symbol(struct mmh_hdf5 *h5, struct symbols *symbols, uint64_t name_offset,
                       uint64_t address)
{
    char name[PATH_BYTES_MAX];
    size_t bytes = 0;
    if (name_offset >= symbols->names_bytes)
        return mmh_hdf5_fail(h5, "has names outside of its heap");
    uint64_t left = symbols->names_bytes - name_offset;
    mmh_stream_seek(&h5->names, symbols->names_offset + name_offset,
                    symbols->names_offset + symbols->names_bytes);
    while (bytes < sizeof name && bytes < left &&
           (name[bytes] = (char)mmh_stream_u8(&h5->names)) != '\0')
        bytes++;
    if (h5->names.status) {
        h5->in.status = mmh_fail(&h5->in.error, h5->names.status, "%s", h5->names.error.message);
        return false;
    }
    h5->work_left -= MMH_MIN(h5->work_left, bytes);
    return add_link(h5, symbols->group, name, bytes, address);
}

/* A leaf's entry: a node of symbols. */
static bool visit_symbols(struct mmh_hdf5 *h5, void *context, unsigned entry_bytes)
{
    enum { KIND_SOFT = 2, SCRATCH_BYTES = 16 };
    mmh_stream_skip(&h5->in, entry_bytes - h5->address_bytes);
    if (!mmh_hdf5_go_signed(h5, mmh_hdf5_address(h5), "SNOD", 1))
        return false;
    mmh_stream_skip(&h5->in, 1);
    unsigned count = mmh_stream_u16(&h5->in);
    unsigned symbol_bytes = h5->length_bytes + h5->address_bytes + 8 + SCRATCH_BYTES;
    uint64_t at = h5->in.position;
    for (unsigned i = 0; i < count; i++, at += symbol_bytes) {
        if (!mmh_hdf5_seek(h5, at, symbol_bytes))
            return false;
        uint64_t name_offset = mmh_hdf5_length(h5), address = mmh_hdf5_address(h5);
        if (mmh_stream_u32(&h5->in) != KIND_SOFT && !add_symbol(h5, context, name_offset, address))
            return false;
    }
    return mmh_hdf5_good(h5);
}

static void read_symbols(struct mmh_hdf5 *h5, struct mmh_hdf5_object *group)
{
    struct symbols symbols = { .group = group };
    if (read_heap(h5, &symbols, group->symbol_heap))
        mmh_hdf5_tree_walk(h5, group->symbol_tree, 0, h5->length_bytes, visit_symbols, &symbols);
}

/* ---- fractal heaps ---- */

/* Rows of 2^width_bits blocks each: the first two of blocks of 2^block_bits bytes, then twice as large
 * each. */
struct heap {
    struct mmh_hdf5_object *group;
    unsigned offset_bytes; /* of a place in it */
    unsigned width_bits, block_bits;
    unsigned direct_rows; /* rows further down hold blocks of blocks */
    uint64_t root;
    unsigned root_rows; /* 0: the root is the only block */
};

enum { HEAP_ROWS_MAX = 64, HEAP_LEVELS_MAX = 8 };

static bool is_power_of_two(uint64_t value)
{
    return value && !(value & (value - 1));
}

static bool read_fractal_heap(struct mmh_hdf5 *h5, struct heap *heap, uint64_t address)
{
    if (!mmh_hdf5_go_signed(h5, address, "FRHP", 0))
        return false;
    mmh_stream_skip(&h5->in, 2);
    unsigned filter_bytes = mmh_stream_u16(&h5->in);
    mmh_stream_skip(&h5->in, 1 + 4 + 10 * h5->length_bytes + 2 * h5->address_bytes);
    unsigned width = mmh_stream_u16(&h5->in);
    uint64_t block_bytes = mmh_hdf5_length(h5), direct_bytes_max = mmh_hdf5_length(h5);
    unsigned offset_bits = mmh_stream_u16(&h5->in);
    mmh_stream_skip(&h5->in, 2);
    heap->root = mmh_hdf5_address(h5);
    heap->root_rows = mmh_stream_u16(&h5->in);
    if (!mmh_hdf5_good(h5))
        return false;
    if (filter_bytes)
        return mmh_hdf5_fail(h5, "has links in a filtered heap");
    if (!is_power_of_two(width) || !is_power_of_two(block_bytes) ||
        !is_power_of_two(direct_bytes_max) || direct_bytes_max < block_bytes ||
        heap->root_rows > HEAP_ROWS_MAX || !offset_bits || offset_bits > 64)
        return mmh_hdf5_fail(h5, "has a heap that cannot be");
    heap->offset_bytes = (offset_bits + 7) / 8;
    heap->width_bits = mmh_log2_ceil(width);
    heap->block_bits = mmh_log2_ceil(block_bytes);
    heap->direct_rows = mmh_log2_ceil(direct_bytes_max) - heap->block_bits + 2;
    return true;
}

/* A block of a heap: where in the heap it begins, and 2^bits bytes. */
struct heap_block {
    uint64_t address, begin;
    unsigned bits;
    unsigned rows; /* of the blocks that it is of; 0: it holds data */
};

/* From a block of blocks to the one in it that has the heap's place `offset`. */
static bool descend(struct mmh_hdf5 *h5, const struct heap *heap, struct heap_block *block,
                    uint64_t offset)
{
    uint64_t begin = block->begin;
    unsigned row = 0, bits = heap->block_bits;
    if (!mmh_hdf5_go_signed(h5, block->address, "FHIB", 0))
        return false;
    uint64_t entries = h5->in.position + h5->address_bytes + heap->offset_bytes;
    for (; row < block->rows; row++) {
        bits += row > 1;
        if (bits + heap->width_bits > 63)
            return mmh_hdf5_fail(h5, "has a heap that cannot be");
        if (offset - begin < (uint64_t)1 << (bits + heap->width_bits))
            break;
        begin += (uint64_t)1 << (bits + heap->width_bits);
    }
    if (row == block->rows)
        return mmh_hdf5_fail(h5, "has links outside of its heap");
    uint64_t column = (offset - begin) >> bits;
    uint64_t entry = ((uint64_t)row << heap->width_bits) + column;
    if (!mmh_hdf5_seek(h5, entries + entry * h5->address_bytes, h5->address_bytes))
        return false;
    block->address = mmh_hdf5_address(h5);
    block->begin = begin + (column << bits);
    block->bits = bits;
    block->rows = 0;
    if (row >= heap->direct_rows) {
        if (bits < heap->block_bits + heap->width_bits)
            return mmh_hdf5_fail(h5, "has a heap that cannot be");
        block->rows = bits - heap->block_bits - heap->width_bits + 1;
    }
    return mmh_hdf5_good(h5);
}

/*
 * Lead the stream to the heap's place `offset`: its block is looked for from the root down. The end
 * of the stream becomes the end of the block.
 */
static bool go_within(struct mmh_hdf5 *h5, const struct heap *heap, uint64_t offset)
{
    struct heap_block block = { heap->root, 0, heap->block_bits, heap->root_rows };
    unsigned prefix = 4 + 1 + h5->address_bytes + heap->offset_bytes;
    for (unsigned level = 0; block.rows; level++)
        if (level == HEAP_LEVELS_MAX || !descend(h5, heap, &block, offset))
            return mmh_hdf5_fail(h5, "has a heap that cannot be");
    if (!mmh_hdf5_go_signed(h5, block.address, "FHDB", 0))
        return false;
    uint64_t begin = h5->in.position - 5, at = offset - block.begin;
    if (at < prefix || at >> block.bits)
        return mmh_hdf5_fail(h5, "has links outside of its heap");
    uint64_t left = MMH_MIN(((uint64_t)1 << block.bits) - at, (uint64_t)UINT16_MAX);
    if (!mmh_hdf5_seek(h5, begin + at, 0))
        return false;
    h5->in.end = MMH_MIN(h5->in.end, begin + at + left);
    return true;
}

/* A record: the hash of a name, and where the heap has the link. */
static bool visit_heap_link(struct mmh_hdf5 *h5, void *context, unsigned record_bytes)
{
    enum { HASH_BYTES = 4, KIND = 0x30, TINY = 0x20, VERSION = 0xc0 };
    const struct heap *heap = context;
    if (record_bytes < HASH_BYTES + 1 + heap->offset_bytes)
        return mmh_hdf5_fail(h5, "has links outside of its heap");
    mmh_stream_skip(&h5->in, HASH_BYTES);
    unsigned first = mmh_stream_u8(&h5->in);
    if (first & VERSION)
        return mmh_hdf5_fail(h5, "has a heap that cannot be");
    if ((first & KIND) == TINY) { /* it is here */
        mmh_hdf5_link_read(h5, heap->group);
        return mmh_hdf5_good(h5);
    }
    uint64_t offset = mmh_hdf5_number(h5, heap->offset_bytes);
    if (first & KIND) /* a huge one, whose name is longer than we take */
        return true;
    if (!mmh_hdf5_good(h5) || !go_within(h5, heap, offset))
        return false;
    uint64_t begin = h5->in.position;
    mmh_hdf5_link_read(h5, heap->group);
    h5->work_left -= MMH_MIN(h5->work_left, h5->in.position - begin);
    return mmh_hdf5_good(h5);
}

void mmh_hdf5_group_read(struct mmh_hdf5 *h5, struct mmh_hdf5_object *group)
{
    enum { BY_NAME = 1 << 5 };
    struct heap heap = { .group = group };
    if (group->symbol_tree != MMH_HDF5_NOWHERE)
        read_symbols(h5, group);
    if (group->link_heap != MMH_HDF5_NOWHERE && group->link_tree != MMH_HDF5_NOWHERE &&
        mmh_hdf5_good(h5) && read_fractal_heap(h5, &heap, group->link_heap))
        mmh_hdf5_tree2_walk(h5, group->link_tree, BY_NAME, visit_heap_link, &heap);
}
