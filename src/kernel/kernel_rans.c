/*
 * What every kernel set shares of rANS: the tables that the encoders divide with.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernel/kernel.h"

#include <assert.h>

/*
 * x / f for any u32 x and 0 < f < 2^12, without a division: with r = floor((2^32 - 1) / f),
 * q = x * r >> 32 is the quotient or one less. For 2^32 = f * r + e with 0 < e <= f, the error of
 * x * r / 2^32 is x * e / (f * 2^32), less than 1. So a kernel adds 1 to q where x - q * f >= f.
 */
void mmh_rans_encode_table_init(struct mmh_rans_encode_table *table, unsigned bits)
{
    assert(bits >= 8 && bits <= MMH_RANS_BITS_MAX);
    (void)bits;
    for (size_t i = 0; i < 256; i++) {
        uint32_t frequency = table->frequency[i];
        uint32_t reciprocal = frequency ? UINT32_MAX / frequency : 0;
        table->packed[i] = reciprocal | (uint64_t)frequency << 32 | (uint64_t)table->start[i] << 48;
    }
}
