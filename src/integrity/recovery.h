/*
 * The recovery area: packets of parity, of the table of block hashes and of the tail, written and found.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * docs/format.md section 17. What is protected are the bytes [0, end) of something that is read and
 * written at offsets; nothing here knows what they mean.
 */
#ifndef MMH_RECOVERY_H
#define MMH_RECOVERY_H

#include "base/pool.h"
#include "crypto/hash.h"
#include "integrity/parity.h"

enum {
    MMH_RECOVERY_GEOMETRY_BYTES = 64,
    MMH_PACKET_HEAD_BYTES = 104, /* of a packet, before its payload */
    MMH_TAIL_HEAD_BYTES = 8,     /* of a payload of the tail, before its piece */
    MMH_PARITY_BLOCK_BYTES_MIN = 64,
    MMH_PARITY_BLOCK_BYTES_MAX = 65536,
    MMH_BLOCK_HASH_BYTES = 8,
    MMH_ROOT_START_BYTES = 32, /* of the root, that packets have */
    MMH_TAIL_BYTES_MAX = (1 << 26) + 256,
    MMH_PARITY_MAX = 300000 /* hundredths of a percent */
};

enum mmh_packet_kind { /* on disk: never reused */
                       MMH_PACKET_PARITY = 1,
                       MMH_PACKET_TABLE = 2,
                       MMH_PACKET_TAIL = 3
};

typedef mmh_status mmh_recovery_read(void *context, void *dst, uint64_t offset, size_t bytes,
                                     mmh_error *err);
typedef mmh_status mmh_recovery_write(void *context, uint64_t offset, const void *data,
                                      size_t bytes, mmh_error *err);

/* ---- geometry ---- */

struct mmh_geometry {
    uint64_t end;          /* E: bytes [0, end) are protected */
    uint32_t block_bytes;  /* B */
    uint32_t stripe_count; /* S: block j is number j / S of stripe j % S */
    uint16_t data_count;   /* k, of a stripe */
    uint16_t parity_count; /* m, of a stripe */
    uint32_t tail_bytes;   /* of the tail that the recovery area was made with */
    uint8_t root[MMH_ROOT_START_BYTES];
    /* What follows from those. */
    uint64_t block_count; /* that begin before `end` */
};

/* False unless everything in it is as section 17 says. */
bool mmh_geometry_read(struct mmh_geometry *geometry,
                       const uint8_t in[MMH_RECOVERY_GEOMETRY_BYTES]);
void mmh_geometry_write(uint8_t out[MMH_RECOVERY_GEOMETRY_BYTES],
                        const struct mmh_geometry *geometry);

/* parity: hundredths of a percent, 1..MMH_PARITY_MAX, else MMH_E_USAGE; end: 1..2^62. */
mmh_status mmh_geometry_choose(struct mmh_geometry *geometry, uint64_t end, size_t tail_bytes,
                               const uint8_t root[MMH_ROOT_START_BYTES], unsigned parity,
                               mmh_error *err);

/* Where the block that is number `number` of a stripe begins; `end` or more if it is none. */
static inline uint64_t mmh_geometry_block_offset(const struct mmh_geometry *geometry,
                                                 uint32_t stripe, unsigned number)
{
    return ((uint64_t)number * geometry->stripe_count + stripe) * geometry->block_bytes;
}

/* Bytes of block j before `end`. */
static inline size_t mmh_geometry_block_bytes(const struct mmh_geometry *geometry, uint64_t block)
{
    uint64_t left = geometry->end - block * geometry->block_bytes;
    return left < geometry->block_bytes ? (size_t)left : geometry->block_bytes;
}

/* ---- pieces: the table and the tail are cut into some, and have parity pieces of their own ---- */

struct mmh_pieces {
    size_t bytes;       /* of the whole */
    size_t piece_bytes; /* a multiple of 8 */
    unsigned data_count, parity_count;
};

struct mmh_pieces mmh_table_pieces(const struct mmh_geometry *geometry);
struct mmh_pieces mmh_tail_pieces(const struct mmh_geometry *geometry, size_t tail_bytes);

/*
 * Cut `whole` [bytes].
 *
 *   pieces  [(data_count + parity_count) * piece_bytes] out
 */
mmh_status mmh_pieces_cut(uint8_t *pieces, const struct mmh_pieces *shape, const uint8_t *whole,
                          const mmh_allocator *allocator, mmh_error *err);

/*
 * Put together what is there.
 *
 *   whole    [bytes] out
 *   pieces   as above; those that are not present are written
 *   present  [data_count + parity_count]
 *
 * Fails with MMH_E_CORRUPT if fewer than data_count are present.
 */
mmh_status mmh_pieces_join(uint8_t *whole, uint8_t *pieces, const struct mmh_pieces *shape,
                           const bool *present, const mmh_allocator *allocator, mmh_error *err);

/* ---- packets ---- */

struct mmh_packet {
    uint8_t kind;
    uint32_t number, payload_bytes, generation;
    struct mmh_geometry geometry;
    uint8_t hash[16];
};

/* False unless a packet's head begins here, whose payload has a length that is possible. */
bool mmh_packet_read(struct mmh_packet *packet, const uint8_t in[MMH_PACKET_HEAD_BYTES]);

/* Whether the hash of a packet, head and payload together, is right. Fails with MMH_E_MEMORY. */
mmh_status mmh_packet_check(bool *right, unsigned hash_suite, const uint8_t *data, size_t bytes,
                            mmh_error *err);

/* Write the head before a payload: data is [MMH_PACKET_HEAD_BYTES + payload_bytes]. */
mmh_status mmh_packet_seal(uint8_t *data, unsigned hash_suite, const struct mmh_geometry *geometry,
                           enum mmh_packet_kind kind, uint32_t number, uint32_t payload_bytes,
                           uint32_t generation, mmh_error *err);

/* The entry of the table for a block: `data` are its bytes before the end. */
mmh_status mmh_block_hash(uint8_t out[MMH_BLOCK_HASH_BYTES], unsigned hash_suite, uint64_t block,
                          const uint8_t *data, size_t bytes, mmh_error *err);

/* ---- where packets stand ---- */

/*
 * A recovery area as section 17 orders it: half of the table's and the tail's packets, all parity,
 * the other half; so that no burst takes both halves unless it takes all parity, too.
 */
struct mmh_recovery_layout {
    struct mmh_geometry geometry;
    struct mmh_pieces table, tail;
    uint64_t area_offset, area_bytes;
    uint64_t front, parity, back; /* where these packets begin */
};

void mmh_recovery_layout_make(struct mmh_recovery_layout *layout,
                              const struct mmh_geometry *geometry, uint64_t area_offset);

/* Of a packet, head included. */
uint64_t mmh_recovery_packet_offset(const struct mmh_recovery_layout *layout,
                                    enum mmh_packet_kind kind, uint32_t number);
size_t mmh_recovery_packet_bytes(const struct mmh_recovery_layout *layout,
                                 enum mmh_packet_kind kind);
uint64_t mmh_recovery_packet_count(const struct mmh_recovery_layout *layout,
                                   enum mmh_packet_kind kind);

/* ---- writing ---- */

struct mmh_recovery_job {
    unsigned hash_suite;
    mmh_pool *pool;
    const mmh_allocator *allocator;
    mmh_recovery_read *read; /* gives [0, end) */
    void *read_context;
    mmh_recovery_write *write;
    void *write_context;
};

/*
 * Write a whole recovery area: each block is read once, in runs of neighbours. Memory: some 128 MiB,
 * and some bytes for each block.
 *
 *   tail  [layout->tail.bytes] the footer, then the trailer
 */
mmh_status mmh_recovery_area_write(const struct mmh_recovery_job *job,
                                   const struct mmh_recovery_layout *layout, const uint8_t *tail,
                                   mmh_error *err);

/* All packets of the table or the tail: writing them. whole: table [layout->table.bytes], tail. */
mmh_status mmh_recovery_pieces_write(const struct mmh_recovery_job *job,
                                     const struct mmh_recovery_layout *layout,
                                     enum mmh_packet_kind kind, const uint8_t *whole,
                                     size_t whole_bytes, mmh_error *err);

/* Packets of the tail alone, for a trailer that is added later: how many bytes they take wherever they
 * begin, and writing them. */
uint64_t mmh_tail_area_bytes(const struct mmh_geometry *geometry, size_t tail_bytes);
mmh_status mmh_tail_area_write(const struct mmh_recovery_job *job,
                               const struct mmh_geometry *geometry, uint64_t offset,
                               const uint8_t *tail, size_t tail_bytes, uint32_t generation,
                               mmh_error *err);

/* ---- finding ---- */

/* A packet that is right. */
struct mmh_found_packet {
    uint8_t kind;
    uint32_t number, payload_bytes, generation;
    uint32_t geometry; /* index into mmh_found.geometries */
    uint64_t offset;   /* of its head */
};

enum { MMH_FOUND_GEOMETRIES_MAX = 16 };

struct mmh_found {
    const mmh_allocator *allocator;
    struct mmh_found_packet *packets; /* [count] by offset */
    size_t count, room;
    struct mmh_geometry geometries[MMH_FOUND_GEOMETRIES_MAX];
    unsigned hash_suites[MMH_FOUND_GEOMETRIES_MAX];
    size_t geometry_count;
};

/*
 * Look for packets in [begin, end) of a file. Those beyond so many geometries are passed over, and so
 * is what looks like many packets and is none.
 *
 *   found       zeroed but for the allocator; for mmh_found_release, whatever comes back
 *   hash_suite  0: whichever it is
 */
mmh_status mmh_recovery_scan(struct mmh_found *found, unsigned hash_suite, mmh_recovery_read *read,
                             void *context, uint64_t begin, uint64_t end, mmh_error *err);
void mmh_found_release(struct mmh_found *found);

#endif
