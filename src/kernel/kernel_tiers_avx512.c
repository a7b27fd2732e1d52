/*
 * Tier symbols with AVX-512: 64 entries at a time, by VBMI2's byte expand and compress.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Expand and compress stay in registers: their memory forms are microcode on Zen 4.
 */
#include <immintrin.h>

#include "kernel/kernel_private.h"

static __m512i bytes_of(uint8_t value)
{
    return _mm512_set1_epi8((char)value);
}

/*
 * One tier: `count` entries at list from its planes and the entries of the next tier, of which
 * there must be next_count. next has a block + slack of readable bytes, list as many writable ones.
 * While at it, fetch what lies ahead: the next block, a sixth of the time of a bf16 chunk.
 */
static bool decode_tier(uint8_t *restrict list, const uint8_t *restrict plane, size_t count,
                        const uint8_t *ranks, const uint8_t *restrict next, size_t next_count,
                        const uint8_t *ahead, size_t ahead_bytes)
{
    const uint8_t *plane1 = plane + mmh_tier_plane_bytes(count);
    const __m512i rank0 = bytes_of(ranks[0]);
    const __m512i rank1 = bytes_of(ranks[1]);
    const __m512i rank2 = bytes_of(ranks[2]);
    size_t used = 0;
    if (!mmh_tier_rest_zero(plane, count) || !mmh_tier_rest_zero(plane1, count))
        return false;
    for (size_t i = 0; i < count; i += 64) {
        uint64_t m0 = mmh_load64(plane + i / 8), m1 = mmh_load64(plane1 + i / 8);
        if (count - i < 64) { /* what follows the plane was loaded too */
            m0 &= ~(~0ull << (count - i));
            m1 &= ~(~0ull << (count - i));
        }
        __m512i symbol = _mm512_mask_mov_epi8(rank0, m0, rank1);
        symbol = _mm512_mask_mov_epi8(symbol, m1, rank2);
        symbol = _mm512_mask_expand_epi8(symbol, m0 & m1, _mm512_loadu_si512(next + used));
        _mm512_storeu_si512(list + i, symbol);
        used += mmh_popcount64(m0 & m1);
        if (i < ahead_bytes)
            mmh_fetch(ahead, i);
    }
    return used == next_count;
}

bool mmh_tier_decode_avx512(uint8_t *symbols, const uint8_t *src, const uint16_t *counts,
                            const struct mmh_tiers *tiers, uint8_t *scratch)
{
    struct mmh_tier_layout layout;
    unsigned tier_count = tiers->tier_count;
    uint8_t *lists[2] = { scratch, scratch + MMH_TIER_BLOCK + MMH_KERNEL_SLACK };
    mmh_tier_layout(&layout, counts, tier_count);
    /* A copy, since hostile planes may ask for more than there is. */
    const uint8_t *next = lists[tier_count & 1];
    for (size_t i = 0; i < counts[tier_count]; i += 64)
        _mm512_storeu_si512(lists[tier_count & 1] + i,
                            _mm512_loadu_si512(src + layout.escapes + i));
    for (size_t i = layout.escapes + counts[tier_count]; i < layout.bytes; i++)
        if (src[i])
            return false;
    for (unsigned k = tier_count; k--;) {
        uint8_t *list = k ? lists[k & 1] : symbols;
        if (!decode_tier(list, src + layout.plane[k], counts[k], tiers->ranks + 3 * k, next,
                         counts[k + 1], src + layout.bytes, k ? 0 : layout.bytes))
            return false;
        next = list;
    }
    return true;
}

/* Planes of `count` entries, in whole words; returns how many entries are sent on to `next`, which
 * has 64 bytes of room after them. */
static size_t encode_tier(uint8_t *restrict plane, uint8_t *restrict next,
                          const uint8_t *restrict list, size_t count, const uint8_t *ranks)
{
    uint8_t *plane1 = plane + mmh_tier_plane_bytes(count);
    const __m512i rank0 = bytes_of(ranks[0]);
    const __m512i rank1 = bytes_of(ranks[1]);
    const __m512i rank2 = bytes_of(ranks[2]);
    size_t sent = 0, i = 0;
    for (; count - i >= 64; i += 64) {
        __m512i symbol = _mm512_loadu_si512(list + i);
        /* Of equal ranks the first one counts. */
        __mmask64 not0 = _mm512_cmpneq_epi8_mask(symbol, rank0);
        __mmask64 not1 = _mm512_mask_cmpneq_epi8_mask(not0, symbol, rank1);
        __mmask64 later = _mm512_mask_cmpneq_epi8_mask(not1, symbol, rank2);
        mmh_store64(plane + i / 8, (not0 ^ not1) | later);
        mmh_store64(plane1 + i / 8, not1);
        _mm512_storeu_si512(next + sent, _mm512_maskz_compress_epi8(later, symbol));
        sent += mmh_popcount64(later);
    }
    if (i < count) {
        __mmask64 valid = ~(~0ull << (count - i));
        __m512i symbol = _mm512_maskz_loadu_epi8(valid, list + i);
        __mmask64 not0 = _mm512_mask_cmpneq_epi8_mask(valid, symbol, rank0);
        __mmask64 not1 = _mm512_mask_cmpneq_epi8_mask(not0, symbol, rank1);
        __mmask64 later = _mm512_mask_cmpneq_epi8_mask(not1, symbol, rank2);
        uint64_t m0 = (not0 ^ not1) | later, m1 = not1;
        /* Plane 1 may begin 4 bytes on. */
        mmh_store32(plane + i / 8, (uint32_t)m0);
        mmh_store32(plane1 + i / 8, (uint32_t)m1);
        if (count - i > 32) {
            mmh_store32(plane + i / 8 + 4, (uint32_t)(m0 >> 32));
            mmh_store32(plane1 + i / 8 + 4, (uint32_t)(m1 >> 32));
        }
        _mm512_storeu_si512(next + sent, _mm512_maskz_compress_epi8(later, symbol));
        sent += mmh_popcount64(later);
    }
    return sent;
}

size_t mmh_tier_encode_avx512(uint8_t *dst, uint16_t counts[MMH_TIER_MAX + 1],
                              const uint8_t *symbols, size_t count, const struct mmh_tiers *tiers,
                              uint8_t *scratch)
{
    uint8_t *lists[2] = { scratch, scratch + MMH_TIER_BLOCK + MMH_KERNEL_SLACK };
    const uint8_t *list = symbols;
    size_t used = 0;
    counts[0] = (uint16_t)count;
    for (unsigned k = 0; k < tiers->tier_count; k++) {
        uint8_t *next = lists[k & 1];
        size_t sent = encode_tier(dst + used, next, list, count, tiers->ranks + 3 * k);
        used += 2 * mmh_tier_plane_bytes(count);
        count = sent;
        counts[k + 1] = (uint16_t)count;
        list = next;
    }
    memcpy(dst + used, list, count);
    for (used += count; used % 4; used++)
        dst[used] = 0;
    return used;
}
