/*
 * HDF5's chunk indexes: where the chunks of a dataset are, by each of the six ways to tell it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/bits.h"
#include "format/hdf5.h"

struct walk {
    const struct mmh_hdf5_object *dataset;
    uint64_t chunk_bytes;
    mmh_hdf5_chunk_visit *visit;
    void *context;

    /* arrays and records of version 2 */
    bool is_filtered;                       /* elements have sizes and masks */
    unsigned size_bytes;                    /* of a size */
    uint32_t slowest;                       /* the dimension that arrays count slowest */
    uint64_t grid[MMH_HDF5_DIMENSIONS_MAX]; /* chunks along each dimension, at the most */
    uint64_t number;                        /* of the next element of an array */
};

/* A chunk of which all is known. */
static bool give(struct mmh_hdf5 *h5, struct walk *walk, const struct mmh_hdf5_chunk *chunk)
{
    const struct mmh_hdf5_object *dataset = walk->dataset;
    uint64_t offset;
    if (!mmh_hdf5_good(h5))
        return false;
    if (chunk->address == MMH_HDF5_NOWHERE)
        return true;
    for (uint32_t d = 0; d < dataset->dimensions; d++)
        if (chunk->begin[d] >= dataset->shape[d]) /* the dataset has shrunk */
            return true;
        else if (chunk->begin[d] % dataset->chunk[d])
            return mmh_hdf5_fail(h5, "has chunks that do not lie side by side");
    if (!mmh_u64_add(&offset, chunk->address, h5->base) || offset > h5->in.source->bytes ||
        chunk->bytes > h5->in.source->bytes - offset)
        return mmh_hdf5_fail(h5, "has chunks past the end of the file");
    return walk->visit(h5, walk->context, chunk);
}

/* ---- B-trees ---- */

static bool visit_key(struct mmh_hdf5 *h5, void *context, unsigned entry_bytes)
{
    struct walk *walk = context;
    struct mmh_hdf5_chunk chunk;
    (void)entry_bytes;
    chunk.bytes = mmh_stream_u32(&h5->in);
    chunk.mask = mmh_stream_u32(&h5->in);
    for (uint32_t d = 0; d < walk->dataset->dimensions; d++)
        chunk.begin[d] = mmh_stream_u64(&h5->in);
    mmh_stream_skip(&h5->in, 8); /* within an element: always 0 */
    chunk.address = mmh_hdf5_address(h5);
    return give(h5, walk, &chunk);
}

/* Address, and of filtered chunks size and mask: as arrays and records begin. */
static void read_element(struct mmh_hdf5 *h5, const struct walk *walk, struct mmh_hdf5_chunk *chunk)
{
    chunk->address = mmh_hdf5_address(h5);
    chunk->bytes = walk->is_filtered ? mmh_hdf5_number(h5, walk->size_bytes) : walk->chunk_bytes;
    chunk->mask = walk->is_filtered ? mmh_stream_u32(&h5->in) : UINT32_MAX;
}

/* An element of entry_bytes, `more` of them for other things: how wide is a size in it? */
static bool measure(struct mmh_hdf5 *h5, struct walk *walk, unsigned entry_bytes, unsigned more)
{
    unsigned bytes = h5->address_bytes + more;
    if (entry_bytes < bytes ||
        (walk->is_filtered && (entry_bytes <= bytes + 4 || entry_bytes > bytes + 4 + 8)))
        return mmh_hdf5_fail(h5, "has a chunk index of entries that cannot be");
    walk->size_bytes = walk->is_filtered ? entry_bytes - bytes - 4 : 0;
    return true;
}

static bool visit_record(struct mmh_hdf5 *h5, void *context, unsigned entry_bytes)
{
    struct walk *walk = context;
    struct mmh_hdf5_chunk chunk;
    if (!measure(h5, walk, entry_bytes, 8 * walk->dataset->dimensions))
        return false;
    read_element(h5, walk, &chunk);
    for (uint32_t d = 0; d < walk->dataset->dimensions; d++)
        if (!mmh_u64_mul(&chunk.begin[d], mmh_stream_u64(&h5->in), walk->dataset->chunk[d]))
            return mmh_hdf5_fail(h5, "has chunks that do not lie side by side");
    return give(h5, walk, &chunk);
}

/* ---- arrays ---- */

/* The next element of an array; it counts chunks in the order of a grid of the largest shape. */
static bool give_next(struct mmh_hdf5 *h5, struct walk *walk, struct mmh_hdf5_chunk *chunk)
{
    const struct mmh_hdf5_object *dataset = walk->dataset;
    uint64_t rest = walk->number++;
    if (chunk->address == MMH_HDF5_NOWHERE)
        return mmh_hdf5_good(h5);
    for (uint32_t i = dataset->dimensions; i-- > 0;) {
        /* from the fastest dimension on: all but the slowest, which comes last */
        uint32_t d = !i ? walk->slowest : i <= walk->slowest ? i - 1 : i;
        uint64_t at = rest;
        if (i) {
            if (!walk->grid[d])
                return mmh_hdf5_fail(h5, "has a limit of nothing");
            at = rest % walk->grid[d];
            rest /= walk->grid[d];
        }
        if (!mmh_u64_mul(&chunk->begin[d], at, dataset->chunk[d]))
            return mmh_hdf5_fail(h5, "has chunks that do not lie side by side");
    }
    return give(h5, walk, chunk);
}

/* Elements [count] from where the stream stands. */
static bool walk_elements(struct mmh_hdf5 *h5, struct walk *walk, uint64_t count,
                          unsigned entry_bytes)
{
    uint64_t at = h5->in.position, bytes;
    if (!mmh_u64_mul(&bytes, count, entry_bytes) || !mmh_hdf5_seek(h5, at, bytes))
        return mmh_hdf5_fail(h5, "has a chunk index past the end of the file");
    for (uint64_t i = 0; i < count; i++) {
        struct mmh_hdf5_chunk chunk;
        read_element(h5, walk, &chunk);
        if (!give_next(h5, walk, &chunk))
            return false;
    }
    return mmh_hdf5_good(h5);
}

/* Whether bit `number` of a map at an offset of the source is set: the highest comes first. */
static bool is_set(struct mmh_hdf5 *h5, uint64_t map_offset, uint64_t number)
{
    if (!mmh_hdf5_seek(h5, map_offset + number / 8, 1))
        return false;
    return mmh_stream_u8(&h5->in) >> (7 - number % 8) & 1;
}

enum { CHECKSUM_BYTES = 4 };

/*
 * Elements [count] in pages of page_count, each with a checksum behind it, from offset `at`; those
 * that the map has no bit for were never written. map_first: the bit of the first page.
 */
static bool walk_pages(struct mmh_hdf5 *h5, struct walk *walk, uint64_t at, uint64_t count,
                       uint64_t page_count, unsigned entry_bytes, uint64_t map_offset,
                       uint64_t map_first)
{
    for (uint64_t page = 0; count; page++) {
        uint64_t elements = MMH_MIN(count, page_count);
        if (is_set(h5, map_offset, map_first + page)) {
            if (!mmh_hdf5_seek(h5, at, 0) || !walk_elements(h5, walk, elements, entry_bytes))
                return false;
        } else {
            walk->number += elements;
        }
        if (!mmh_hdf5_good(h5))
            return false;
        at += elements * entry_bytes + CHECKSUM_BYTES; /* may wrap: then it is no place to go to */
        count -= elements;
    }
    return true;
}

/* What both kinds of arrays begin with: the client, and the size of an element. */
static unsigned read_array_head(struct mmh_hdf5 *h5, struct walk *walk, const char *letters,
                                uint64_t address)
{
    if (!mmh_hdf5_go_signed(h5, address, letters, 0))
        return 0;
    unsigned client = mmh_stream_u8(&h5->in), entry_bytes = mmh_stream_u8(&h5->in);
    walk->is_filtered = client == 1;
    if (client > 1 || !measure(h5, walk, entry_bytes, 0))
        return 0;
    return entry_bytes;
}

static bool walk_fixed_array(struct mmh_hdf5 *h5, struct walk *walk, uint64_t address)
{
    unsigned entry_bytes = read_array_head(h5, walk, "FAHD", address);
    unsigned page_bits = mmh_stream_u8(&h5->in);
    uint64_t count = mmh_hdf5_length(h5), block = mmh_hdf5_address(h5);
    if (!mmh_hdf5_good(h5) || !entry_bytes)
        return mmh_hdf5_fail(h5, "has a chunk index that cannot be");
    if (block == MMH_HDF5_NOWHERE)
        return true;
    if (page_bits > 31 || count > h5->in.source->bytes)
        return mmh_hdf5_fail(h5, "has a chunk index that cannot be");
    if (!mmh_hdf5_go_signed(h5, block, "FADB", 0))
        return false;
    mmh_stream_skip(&h5->in, 1 + h5->address_bytes);
    uint64_t page_count = (uint64_t)1 << page_bits, at = h5->in.position;
    if (count <= page_count)
        return walk_elements(h5, walk, count, entry_bytes);
    uint64_t map_bytes = mmh_divide_up(mmh_divide_up(count, page_count), 8);
    return walk_pages(h5, walk, at + map_bytes + CHECKSUM_BYTES, count, page_count, entry_bytes, at,
                      0);
}

/* An extensible array: blocks of elements, twice as many or twice as large at each step. */
struct extensible {
    unsigned entry_bytes, offset_bytes;
    uint64_t count;     /* elements that were ever set */
    unsigned page_bits; /* 2^page_bits elements stand in a page */
};

/* Elements [count] at an address; map_offset, map_first as walk_pages. */
static bool walk_data_block(struct mmh_hdf5 *h5, struct walk *walk, const struct extensible *array,
                            uint64_t address, uint64_t count, uint64_t map_offset,
                            uint64_t map_first)
{
    uint64_t page_count = (uint64_t)1 << array->page_bits;
    if (address == MMH_HDF5_NOWHERE) {
        walk->number += count;
        return true;
    }
    if (!mmh_hdf5_go_signed(h5, address, "EADB", 0))
        return false;
    mmh_stream_skip(&h5->in, 1 + h5->address_bytes + array->offset_bytes);
    if (count <= page_count)
        return walk_elements(h5, walk, count, array->entry_bytes);
    return walk_pages(h5, walk, h5->in.position + CHECKSUM_BYTES, count, page_count,
                      array->entry_bytes, map_offset, map_first);
}

/* Blocks [blocks] whose addresses begin at offset `at`. */
static bool walk_data_blocks(struct mmh_hdf5 *h5, struct walk *walk, const struct extensible *array,
                             uint64_t at, uint64_t blocks, uint64_t count, uint64_t map_offset)
{
    for (uint64_t i = 0; i < blocks && walk->number < array->count; i++, at += h5->address_bytes)
        if (!mmh_hdf5_seek(h5, at, h5->address_bytes) ||
            !walk_data_block(h5, walk, array, mmh_hdf5_address(h5), count, map_offset,
                             i * (count >> array->page_bits)))
            return false;
    return true;
}

static bool walk_secondary_block(struct mmh_hdf5 *h5, struct walk *walk,
                                 const struct extensible *array, uint64_t address, uint64_t blocks,
                                 uint64_t count)
{
    if (address == MMH_HDF5_NOWHERE) {
        walk->number += blocks * count;
        return true;
    }
    if (!mmh_hdf5_go_signed(h5, address, "EASB", 0))
        return false;
    mmh_stream_skip(&h5->in, 1 + h5->address_bytes + array->offset_bytes);
    uint64_t at = h5->in.position, map_bytes = 0;
    if (count >> array->page_bits > 1)
        map_bytes = blocks * mmh_divide_up(count >> array->page_bits, 8);
    return walk_data_blocks(h5, walk, array, at + map_bytes, blocks, count, at);
}

static bool walk_extensible_array(struct mmh_hdf5 *h5, struct walk *walk, uint64_t address)
{
    struct extensible array = { .entry_bytes = read_array_head(h5, walk, "EAHD", address) };
    unsigned count_bits = mmh_stream_u8(&h5->in), own_count = mmh_stream_u8(&h5->in);
    unsigned block_count = mmh_stream_u8(&h5->in), pointers_min = mmh_stream_u8(&h5->in);
    unsigned page_bits = mmh_stream_u8(&h5->in);
    mmh_stream_skip(&h5->in, 4 * h5->length_bytes);
    array.count = mmh_hdf5_length(h5);
    mmh_stream_skip(&h5->in, h5->length_bytes);
    uint64_t block = mmh_hdf5_address(h5);
    if (!mmh_hdf5_good(h5) || !array.entry_bytes)
        return mmh_hdf5_fail(h5, "has a chunk index that cannot be");
    if (block == MMH_HDF5_NOWHERE)
        return true;
    if (!count_bits || count_bits > 48 || page_bits > 31 || !block_count ||
        block_count & (block_count - 1) || pointers_min < 2 || pointers_min & (pointers_min - 1) ||
        count_bits < mmh_log2_ceil(block_count))
        return mmh_hdf5_fail(h5, "has a chunk index that cannot be");
    array.page_bits = page_bits;
    array.offset_bytes = (count_bits + 7) / 8;
    if (!mmh_hdf5_go_signed(h5, block, "EAIB", 0))
        return false;
    mmh_stream_skip(&h5->in, 1 + h5->address_bytes);
    uint64_t at = h5->in.position + (uint64_t)own_count * array.entry_bytes;
    if (!walk_elements(h5, walk, own_count, array.entry_bytes))
        return false;
    unsigned steps = 1 + count_bits - mmh_log2_ceil(block_count);
    unsigned direct_steps = 2 * mmh_log2_ceil(pointers_min); /* blocks that need no other */
    for (unsigned step = 0; step < steps && walk->number < array.count; step++) {
        uint64_t blocks = (uint64_t)1 << step / 2;
        uint64_t count = ((uint64_t)1 << (step + 1) / 2) * block_count;
        if (step < direct_steps) {
            if (!walk_data_blocks(h5, walk, &array, at, blocks, count, 0))
                return false;
            at += blocks * h5->address_bytes;
        } else {
            if (!mmh_hdf5_seek(h5, at, h5->address_bytes) ||
                !walk_secondary_block(h5, walk, &array, mmh_hdf5_address(h5), blocks, count))
                return false;
            at += h5->address_bytes;
        }
    }
    return mmh_hdf5_good(h5);
}

/* One after another, without any index. */
static bool walk_implicit(struct mmh_hdf5 *h5, struct walk *walk, uint64_t address)
{
    uint64_t count = 1, bytes, offset, file_bytes = h5->in.source->bytes;
    for (uint32_t d = 0; d < walk->dataset->dimensions; d++)
        if (!mmh_u64_mul(&count, count, walk->grid[d]))
            return mmh_hdf5_fail(h5, "has chunks past the end of the file");
    if (address == MMH_HDF5_NOWHERE)
        return true;
    if (!mmh_u64_mul(&bytes, count, walk->chunk_bytes) ||
        !mmh_u64_add(&offset, address, h5->base) || offset > file_bytes ||
        bytes > file_bytes - offset)
        return mmh_hdf5_fail(h5, "has chunks past the end of the file");
    for (uint64_t i = 0; i < count; i++) {
        struct mmh_hdf5_chunk chunk = { .address = address + i * walk->chunk_bytes,
                                        .bytes = walk->chunk_bytes,
                                        .mask = UINT32_MAX };
        if (!mmh_hdf5_seek(h5, offset, 1) || !give_next(h5, walk, &chunk)) /* costs some work */
            return false;
    }
    return true;
}

/* ---- the door ---- */

/* Fills in walk->grid and the dimension without a limit, which extensible arrays count slowest. */
static void make_grid(struct walk *walk)
{
    const struct mmh_hdf5_object *dataset = walk->dataset;
    for (uint32_t d = 0; d < dataset->dimensions; d++) {
        walk->grid[d] = mmh_divide_up(dataset->shape_max[d], dataset->chunk[d]);
        if (dataset->shape_max[d] == UINT64_MAX && dataset->index == MMH_HDF5_EXTENSIBLE_ARRAY)
            walk->slowest = d;
    }
}

bool mmh_hdf5_chunks_walk(struct mmh_hdf5 *h5, const struct mmh_hdf5_object *dataset,
                          uint64_t chunk_bytes, mmh_hdf5_chunk_visit *visit, void *context)
{
    enum { PLAIN = 1 << 10, FILTERED = 1 << 11 };
    struct walk walk = { dataset, chunk_bytes, visit, context, .is_filtered = false };
    struct mmh_hdf5_chunk single = {
        .address = dataset->data_address,
        .bytes = dataset->single_bytes ? dataset->single_bytes : chunk_bytes,
        .mask = dataset->single_bytes ? dataset->single_mask : UINT32_MAX
    };
    if (dataset->data_address == MMH_HDF5_NOWHERE) /* nothing was ever written */
        return true;
    make_grid(&walk);
    switch (dataset->index) {
    case MMH_HDF5_BTREE_1:
        return mmh_hdf5_tree_walk(h5, dataset->data_address, 1, 8 + 8 * (dataset->dimensions + 1),
                                  visit_key, &walk);
    case MMH_HDF5_SINGLE:
        return give(h5, &walk, &single);
    case MMH_HDF5_IMPLICIT:
        return walk_implicit(h5, &walk, dataset->data_address);
    case MMH_HDF5_FIXED_ARRAY:
        return walk_fixed_array(h5, &walk, dataset->data_address);
    case MMH_HDF5_EXTENSIBLE_ARRAY:
        return walk_extensible_array(h5, &walk, dataset->data_address);
    default:
        walk.is_filtered = dataset->filter_count > 0;
        return mmh_hdf5_tree2_walk(h5, dataset->data_address, walk.is_filtered ? FILTERED : PLAIN,
                                   visit_record, &walk);
    }
}
