/*
 * Mending with parity: what is left of stripes gives back what is lost of them.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * docs/format.md section 17. One or more copies of a container, each damaged perhaps, are read; bytes
 * that cannot be read count as zeros. Nothing is written here.
 */
#ifndef MMH_MEND_H
#define MMH_MEND_H

#include "engine/engine.h"
#include "integrity/recovery.h"

/* A file that holds a container, or what is left of it. */
struct mmh_copy {
    const mmh_input *input;
    bool has_layout; /* its recovery area is where `layout` says */
    struct mmh_recovery_layout layout;
};

/* Read from a copy: what lies behind its end, or cannot be read, is zeros; but what a source fails with is
 * a failure. */
mmh_status mmh_copy_read(void *copy, void *dst, uint64_t offset, size_t bytes, mmh_error *err);

enum mmh_block_state { MMH_BLOCK_UNKNOWN, MMH_BLOCK_RIGHT, MMH_BLOCK_WRONG };

/* Read-only once it is opened: several threads may mend at once, unless they share `states`. */
struct mmh_mend {
    const mmh_allocator *allocator;
    mmh_pool *pool;
    unsigned hash_suite;
    struct mmh_geometry geometry;
    struct mmh_parity_code code;
    uint8_t *table; /* [block_count][MMH_BLOCK_HASH_BYTES]; NULL: it is lost */
    struct mmh_copy *copies;
    size_t copy_count;
    mmh_container_read_at *read; /* of [0, end); by default of copies[0] */
    void *read_context;
    uint8_t *states;              /* [block_count] enum mmh_block_state; NULL: nothing is known */
    const uint8_t *parity_wanted; /* [m * S] 1: packets to make anew; NULL: none */
};

/*
 * Open parity: its table is put together from all copies that have a layout.
 *
 *   copies  [copy_count] that outlive it; one at least has a layout, of this geometry
 *
 * For mmh_mend_release, whatever comes back.
 */
mmh_status mmh_mend_open(struct mmh_mend *mend, const struct mmh_geometry *geometry,
                         unsigned hash_suite, struct mmh_copy *copies, size_t copy_count,
                         mmh_pool *pool, const mmh_allocator *allocator, mmh_error *err);
void mmh_mend_release(struct mmh_mend *mend);

/* The payload of a parity packet, of the first copy that has it right. dst: [a whole packet]. */
mmh_status mmh_mend_packet(bool *right, uint8_t *dst, const struct mmh_mend *mend,
                           const struct mmh_copy *copy, enum mmh_packet_kind kind, uint32_t number,
                           mmh_error *err);

/* Whether block j, whose bytes are `data`, is as the table has it. Without a table: false. */
mmh_status mmh_mend_check(bool *right, const struct mmh_mend *mend, uint64_t block,
                          const uint8_t *data, mmh_error *err);

/* Told what was restored, from one thread at a time. packet: one of parity, of this number. */
typedef mmh_status mmh_mend_emit(void *context, bool packet, uint64_t number, const uint8_t *data,
                                 size_t bytes, mmh_error *err);

/*
 * Mend stripes [first, first + count): blocks whose state is not known are compared with the table (or
 * believed, if there is none), wrong ones restored where that is possible, and packets that are wanted
 * made anew. Memory: all blocks of that many stripes.
 */
mmh_status mmh_mend_stripes(struct mmh_mend *mend, uint32_t first, uint32_t count,
                            mmh_mend_emit *emit, void *context, mmh_error *err);

/* So many stripes at a time take some 100 MiB. */
uint32_t mmh_mend_batch(const struct mmh_mend *mend);

/*
 * Bytes [offset, offset + bytes) as they were, as far as parity gives them back: for one who knows
 * what they should be, and that they are not. Stripes are mended one at a time.
 */
mmh_status mmh_mend_range(const struct mmh_mend *mend, uint8_t *dst, uint64_t offset, size_t bytes,
                          mmh_error *err);

#endif
