/*
 * Reed-Solomon erasure coding: any k of k data blocks and m parity blocks give the rest.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Over GF(2^8) with the polynomial 0x11d; parity block i is the sum over j < k of
 * 1 / ((k + i) xor j) times data block j, byte by byte (docs/format.md section 17). A code may be
 * used by several threads at once.
 */
#ifndef MMH_PARITY_H
#define MMH_PARITY_H

#include "base/memory.h"

enum { MMH_PARITY_BLOCKS_MAX = 255 }; /* k + m at most */

struct mmh_parity_code {
    const mmh_allocator *allocator;
    unsigned data_count, parity_count; /* k, m */
    uint8_t *tables;                   /* of ISA-L, for encoding */
};

/* k >= 1, m >= 1, k + m <= MMH_PARITY_BLOCKS_MAX: the caller has seen to that. For
 * mmh_parity_code_release, whatever comes back. */
mmh_status mmh_parity_code_init(struct mmh_parity_code *code, unsigned data_count,
                                unsigned parity_count, const mmh_allocator *allocator,
                                mmh_error *err);
void mmh_parity_code_release(struct mmh_parity_code *code);

/* The coefficient of data block j in parity block i. */
uint8_t mmh_parity_coefficient(unsigned data_count, unsigned i, unsigned j);

/*
 * parity  [m] pointers to `bytes` bytes each
 * data    [k] likewise
 */
void mmh_parity_encode(const struct mmh_parity_code *code, uint8_t *const *parity,
                       const uint8_t *const *data, size_t bytes);

/*
 * Restore data blocks that are missing.
 *
 *   blocks  [k + m] pointers to `bytes` bytes each, data then parity: where present[] is true they are
 *           read, where it is false and the block is data it is written (NULL: it is not wanted)
 *
 * Fails with MMH_E_CORRUPT if fewer than k are present, MMH_E_MEMORY.
 */
mmh_status mmh_parity_restore(const struct mmh_parity_code *code, uint8_t *const *blocks,
                              const bool *present, size_t bytes, mmh_error *err);

#endif
