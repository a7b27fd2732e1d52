/*
 * The two kinds of B-trees of HDF5: every entry of their leaves, every record.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Keys are not compared: all entries are wanted, and a visitor checks what it gets.
 */
#include "base/bits.h"
#include "format/hdf5.h"

enum { LEVELS_MAX = 24, NODE_PREFIX_BYTES = 6, CHECKSUM_BYTES = 4 };

/* ---- version 1: groups (type 0) and chunks (type 1) ---- */

struct walk {
    struct mmh_hdf5 *h5;
    unsigned type, key_bytes;
    mmh_hdf5_visit *visit;
    void *context;
};

/* level: of this node; -1: the root, which has any. */
static bool walk_node(struct walk *walk, uint64_t address, int level)
{
    struct mmh_hdf5 *h5 = walk->h5;
    unsigned entry_bytes = walk->key_bytes + h5->address_bytes;
    if (!mmh_hdf5_go_signed(h5, address, "TREE", (int)walk->type))
        return false;
    int own_level = mmh_stream_u8(&h5->in);
    unsigned count = mmh_stream_u16(&h5->in);
    mmh_stream_skip(&h5->in, (uint64_t)2 * h5->address_bytes); /* its siblings */
    uint64_t at = h5->in.position;
    if (own_level > LEVELS_MAX || (level >= 0 && own_level != level))
        return mmh_hdf5_fail(h5, "has a tree of impossible levels");
    for (unsigned i = 0; i < count; i++, at += entry_bytes) {
        if (!mmh_hdf5_seek(h5, at, entry_bytes))
            return false;
        if (!own_level) {
            if (!walk->visit(h5, walk->context, entry_bytes))
                return false;
            continue;
        }
        mmh_stream_skip(&h5->in, walk->key_bytes);
        if (!walk_node(walk, mmh_hdf5_address(h5), own_level - 1))
            return false;
    }
    return mmh_hdf5_good(h5);
}

bool mmh_hdf5_tree_walk(struct mmh_hdf5 *h5, uint64_t address, unsigned type, unsigned key_bytes,
                        mmh_hdf5_visit *visit, void *context)
{
    struct walk walk = { h5, type, key_bytes, visit, context };
    return walk_node(&walk, address, -1);
}

/* ---- version 2 ---- */

/* Bytes that a count up to `value` takes. */
static unsigned count_bytes(uint64_t value)
{
    return value ? (63 - mmh_clz64(value)) / 8 + 1 : 1;
}

struct walk2 {
    struct mmh_hdf5 *h5;
    unsigned type, record_bytes;
    unsigned child_count_bytes;             /* of the number of records of a child */
    unsigned child_total_bytes[LEVELS_MAX]; /* of those below a child, by the child's level */
    mmh_hdf5_visit *visit;
    void *context;
};

/* How wide the numbers beside a child's address are: as wide as what could be there at the most. */
static bool measure(struct walk2 *walk, uint32_t node_bytes, unsigned levels)
{
    uint64_t room = node_bytes, prefix = NODE_PREFIX_BYTES + CHECKSUM_BYTES;
    if (room <= prefix || room - prefix < walk->record_bytes)
        return false;
    uint64_t records_max = (room - prefix) / walk->record_bytes, total_max = records_max;
    walk->child_count_bytes = count_bytes(records_max);
    for (unsigned level = 1; level <= levels; level++) {
        uint64_t child_bytes = (uint64_t)walk->h5->address_bytes + walk->child_count_bytes +
                               walk->child_total_bytes[level - 1];
        if (room < prefix + child_bytes)
            return false;
        records_max = (room - prefix - child_bytes) / (walk->record_bytes + child_bytes);
        if (level == levels)
            break;
        if (!mmh_u64_mul(&total_max, total_max, records_max + 1) ||
            !mmh_u64_add(&total_max, total_max, records_max))
            return false;
        walk->child_total_bytes[level] = count_bytes(total_max);
    }
    return true;
}

static bool walk2_node(struct walk2 *walk, uint64_t address, unsigned level, unsigned records)
{
    struct mmh_hdf5 *h5 = walk->h5;
    if (!mmh_hdf5_go_signed(h5, address, level ? "BTIN" : "BTLF", 0))
        return false;
    if (mmh_stream_u8(&h5->in) != walk->type)
        return mmh_hdf5_fail(h5, "has a tree of mixed types");
    uint64_t at = h5->in.position;
    for (unsigned i = 0; i < records; i++, at += walk->record_bytes)
        if (!mmh_hdf5_seek(h5, at, walk->record_bytes) ||
            !walk->visit(h5, walk->context, walk->record_bytes))
            return false;
    if (!level)
        return mmh_hdf5_good(h5);
    unsigned total_bytes = walk->child_total_bytes[level - 1];
    unsigned child_bytes = h5->address_bytes + walk->child_count_bytes + total_bytes;
    for (unsigned i = 0; i <= records; i++, at += child_bytes) {
        if (!mmh_hdf5_seek(h5, at, child_bytes))
            return false;
        uint64_t child = mmh_hdf5_address(h5);
        uint64_t child_records = mmh_hdf5_number(h5, walk->child_count_bytes);
        if (child_records > UINT16_MAX)
            return mmh_hdf5_fail(h5, "has a tree of impossible numbers");
        if (!walk2_node(walk, child, level - 1, (unsigned)child_records))
            return false;
    }
    return mmh_hdf5_good(h5);
}

bool mmh_hdf5_tree2_walk(struct mmh_hdf5 *h5, uint64_t address, unsigned types,
                         mmh_hdf5_visit *visit, void *context)
{
    struct walk2 walk = { .h5 = h5, .visit = visit, .context = context };
    if (!mmh_hdf5_go_signed(h5, address, "BTHD", 0))
        return false;
    walk.type = mmh_stream_u8(&h5->in);
    uint32_t node_bytes = mmh_stream_u32(&h5->in);
    walk.record_bytes = mmh_stream_u16(&h5->in);
    unsigned levels = mmh_stream_u16(&h5->in);
    mmh_stream_skip(&h5->in, 2); /* when nodes are split and merged */
    uint64_t root = mmh_hdf5_address(h5);
    unsigned records = mmh_stream_u16(&h5->in);
    if (!mmh_hdf5_good(h5))
        return false;
    if (walk.type > 31 || !(types >> walk.type & 1) || levels >= LEVELS_MAX || !walk.record_bytes ||
        !measure(&walk, node_bytes, levels))
        return mmh_hdf5_fail(h5, "has a tree that cannot be");
    return root == MMH_HDF5_NOWHERE || walk2_node(&walk, root, levels, records);
}
