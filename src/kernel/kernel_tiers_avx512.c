/*
 * Tier symbols with AVX-512: 64 entries at a time, by VBMI2's byte expand and compress.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Expand and compress stay in registers: their memory forms are microcode on Zen 4.
 */
#include "kernel/kernel_merge_avx512.h"

/* The planes of one tier, and the entries of the next one that its last code takes. */
struct tier {
    const uint8_t *plane0, *plane1;
    __m512i rank0, rank1, rank2;
    const uint8_t *next;
};

static struct tier tier_at(const uint8_t *plane, size_t count, const uint8_t *ranks,
                           const uint8_t *next)
{
    return (struct tier){ plane,
                          plane + mmh_tier_plane_bytes(count),
                          bytes_of(ranks[0]),
                          bytes_of(ranks[1]),
                          bytes_of(ranks[2]),
                          next };
}

/* Entries i.. of a tier, at most 64 of them; moves `next` on. */
MMH_INLINE __m512i tier_symbols(struct tier *tier, size_t i, size_t left)
{
    uint64_t m0 = mmh_load64(tier->plane0 + i / 8), m1 = mmh_load64(tier->plane1 + i / 8);
    if (left < 64) { /* what follows the plane was loaded too */
        m0 &= ~(~0ull << left);
        m1 &= ~(~0ull << left);
    }
    __m512i symbol = _mm512_mask_mov_epi8(tier->rank0, m0, tier->rank1);
    symbol = _mm512_mask_mov_epi8(symbol, m1, tier->rank2);
    symbol = _mm512_mask_expand_epi8(symbol, m0 & m1, _mm512_loadu_si512(tier->next));
    tier->next += mmh_popcount64(m0 & m1);
    return symbol;
}

static bool planes_end_in_zeros(const uint8_t *plane, size_t count)
{
    return mmh_tier_rest_zero(plane, count) &&
           mmh_tier_rest_zero(plane + mmh_tier_plane_bytes(count), count);
}

/*
 * One tier: `count` entries at list from its planes and the entries of the next tier, of which
 * there must be next_count. next has a block + slack of readable bytes, list as many writable ones.
 */
static bool decode_tier(uint8_t *restrict list, const uint8_t *restrict plane, size_t count,
                        const uint8_t *ranks, const uint8_t *restrict next, size_t next_count)
{
    struct tier tier = tier_at(plane, count, ranks, next);
    if (!planes_end_in_zeros(plane, count))
        return false;
    for (size_t i = 0; i < count; i += 64)
        _mm512_storeu_si512(list + i, tier_symbols(&tier, i, count - i));
    return (size_t)(tier.next - next) == next_count;
}

/* All tiers but the first, and the escapes; *next is then what the first one takes. */
static bool decode_lower_tiers(const uint8_t **next, const struct mmh_tier_layout *layout,
                               const uint8_t *src, const uint16_t *counts,
                               const struct mmh_tiers *tiers, uint8_t *scratch)
{
    unsigned tier_count = tiers->tier_count;
    uint8_t *lists[2] = { scratch, scratch + MMH_TIER_BLOCK + MMH_KERNEL_SLACK };
    /* A copy, since hostile planes may ask for more than there is. */
    *next = lists[tier_count & 1];
    for (size_t i = 0; i < counts[tier_count]; i += 64)
        _mm512_storeu_si512(lists[tier_count & 1] + i,
                            _mm512_loadu_si512(src + layout->escapes + i));
    for (size_t i = layout->escapes + counts[tier_count]; i < layout->bytes; i++)
        if (src[i])
            return false;
    for (unsigned k = tier_count - 1; k; k--) {
        if (!decode_tier(lists[k & 1], src + layout->plane[k], counts[k], tiers->ranks + 3 * k,
                         *next, counts[k + 1]))
            return false;
        *next = lists[k & 1];
    }
    return true;
}

bool mmh_tier_decode_avx512(uint8_t *symbols, const uint8_t *src, const uint16_t *counts,
                            const struct mmh_tiers *tiers, uint8_t *scratch)
{
    struct mmh_tier_layout layout;
    const uint8_t *next;
    mmh_tier_layout(&layout, counts, tiers->tier_count);
    return decode_lower_tiers(&next, &layout, src, counts, tiers, scratch) &&
           decode_tier(symbols, src + layout.plane[0], counts[0], tiers->ranks, next, counts[1]);
}

/*
 * The first tier, merged while its symbols are in a register: what would be two passes, one of
 * arithmetic and one of waiting for memory, is one of both. On the way the next block is fetched.
 */
MMH_INLINE void merge_first_tier(struct tier *tier, const struct mmh_merge *merge, size_t count,
                                 const uint8_t *ahead, size_t ahead_bytes, unsigned element_bytes,
                                 unsigned raw_bits, unsigned stored_bits, bool plain,
                                 enum store_mode mode)
{
    struct merge_form form;
    uint8_t *const dst = merge->dst;
    struct tier t = *tier;
    merge_form_init(&form, dst, &merge->planes, merge->tails, merge->split, element_bytes);
    merge_form_fetch(&form, count * element_bytes, mode);
    for (size_t i = 0; i < count; i += 64) {
        if (i < ahead_bytes)
            mmh_fetch(ahead, i);
        merge_group(dst, tier_symbols(&t, i, 64), &form, i / 64, element_bytes, raw_bits,
                    stored_bits, plain, false, mode);
    }
    merge_form_finish(&form, mode);
    tier->next = t.next;
}

bool mmh_tier_merge_avx512(const struct mmh_merge *merge, const uint8_t *src,
                           const uint16_t *counts, const struct mmh_tiers *tiers, uint8_t *symbols,
                           uint8_t *scratch)
{
    const struct mmh_split *split = merge->split;
    const bool is_plain = mmh_split_plain(split);
    const enum store_mode mode = store_mode_of(merge->dst, merge->stream);
    struct mmh_tier_layout layout;
    const uint8_t *next;
    mmh_tier_layout(&layout, counts, tiers->tier_count);
    if (!decode_lower_tiers(&next, &layout, src, counts, tiers, scratch))
        return false;
    const uint8_t *plane = src + layout.plane[0];
    if (!planes_end_in_zeros(plane, counts[0]))
        return false;
    struct tier tier = tier_at(plane, counts[0], tiers->ranks, next);
#define SHAPE(element_bytes_, raw_bits_, stored_bits_, plain_)                                 \
    if (split->element_bytes == (element_bytes_) && split->raw_bits == (raw_bits_) &&          \
        split->stored_bits == (stored_bits_) && is_plain == (plain_) && !split->window_base) { \
        merge_first_tier(&tier, merge, counts[0], src + layout.bytes, layout.bytes,            \
                         element_bytes_, raw_bits_, stored_bits_, plain_, mode);               \
    } else
    SHAPE(2, 8, 8, true)
    SHAPE(4, 8, 8, true)
    SHAPE(2, 11, 11, true)
    SHAPE(2, 8, 7, false)
    SHAPE(4, 8, 7, false)
    SHAPE(2, 11, 10, false)
    {
        for (size_t i = 0; i < counts[0]; i += 64)
            _mm512_storeu_si512(symbols + i, tier_symbols(&tier, i, 64));
        mmh_merge_avx512(merge->dst, symbols, &merge->planes, merge->tails, counts[0], split,
                         merge->stream);
    }
#undef SHAPE
    if (mode != STORE && merge->stream != MMH_STREAM_MORE)
        _mm_sfence();
    return (size_t)(tier.next - next) == counts[1];
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
