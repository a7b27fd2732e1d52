/*
 * Tier symbols with NEON: 64 entries at a time, moved sixteen by sixteen by table lookups of bytes.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * An entry's two bits become masks by a lookup and a test, and one tbx both spreads what the next
 * tier sends and leaves the entries alone that have a code. How many are sent before each eight comes
 * from one cnt and one multiplication for all 64.
 */
#include "kernel/kernel_merge_neon.h"

#include <string.h>

/* ---- lookups for every mask of 8 bits ---- */

#define BIT(m, i) ((m) >> (i)&1u)
#define IF(m, i, j) BIT(m, j) * ((i) > (j))
#define BELOW(m, i)                                                                      \
    (IF(m, i, 0) + IF(m, i, 1) + IF(m, i, 2) + IF(m, i, 3) + IF(m, i, 4) + IF(m, i, 5) + \
     IF(m, i, 6))

/* Spreads packed bytes to the ones of the mask; elsewhere far out of range. */
#define TO(m, i) ((BIT(m, i) ? BELOW(m, i) + 0ull : 0x80ull) << 8 * (i))
/* Packs the bytes at the ones of the mask. */
#define FROM(m, i) ((BIT(m, i) ? (i) + 0ull : 0) << 8 * (BIT(m, i) ? BELOW(m, i) : 0))

#define ALL(f, m) f(m, 0) | f(m, 1) | f(m, 2) | f(m, 3) | f(m, 4) | f(m, 5) | f(m, 6) | f(m, 7)
#define ROWS4(f, m) ALL(f, (m)), ALL(f, (m) + 1), ALL(f, (m) + 2), ALL(f, (m) + 3)
#define ROWS16(f, m) ROWS4(f, m), ROWS4(f, (m) + 4), ROWS4(f, (m) + 8), ROWS4(f, (m) + 12)
#define ROWS64(f, m) ROWS16(f, m), ROWS16(f, (m) + 16), ROWS16(f, (m) + 32), ROWS16(f, (m) + 48)
#define ROWS(f) ROWS64(f, 0u), ROWS64(f, 64u), ROWS64(f, 128u), ROWS64(f, 192u)

static const uint64_t spreads[256] = { ROWS(TO) };
static const uint64_t packs[256] = { ROWS(FROM) };

static const uint64_t every_byte = 0x0101010101010101;

/* Byte k: the ones in bytes 0..k of x. */
MMH_INLINE uint64_t ones_up_to(uint64_t x)
{
    const uint8x8_t ones = vcnt_u8(vcreate_u8(x));
    return vget_lane_u64(vreinterpret_u64_u8(ones), 0) * every_byte;
}

MMH_INLINE unsigned byte_of(uint64_t x, unsigned k)
{
    return x >> 8 * k & 0xff;
}

/* 1, 2, 4, ..., 128, twice. */
MMH_INLINE uint8x16_t bit_of_each(void)
{
    return vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
}

/* ---- decoding ---- */

/* The planes of one tier, and the entries of the next one that its last code takes. */
struct tier {
    const uint8_t *plane0, *plane1, *next;
    uint8x16_t rank0, rank1, rank2;
};

MMH_INLINE struct tier tier_at(const uint8_t *plane, size_t count, const uint8_t *ranks,
                               const uint8_t *next)
{
    return (struct tier){ plane,
                          plane + mmh_tier_plane_bytes(count),
                          next,
                          vdupq_n_u8(ranks[0]),
                          vdupq_n_u8(ranks[1]),
                          vdupq_n_u8(ranks[2]) };
}

/* Entries i .. i + 63 of a tier, of which `left` are there; moves `next` on. */
MMH_INLINE void tier_symbols(uint8x16_t symbols[4], struct tier *tier, size_t i, size_t left)
{
    uint64_t m0 = mmh_load64(tier->plane0 + i / 8), m1 = mmh_load64(tier->plane1 + i / 8);
    if (left < MMH_GROUP) { /* what follows the plane was loaded too */
        m0 &= ~(~0ull << left);
        m1 &= ~(~0ull << left);
    }
    const uint64_t later = m0 & m1, sent = ones_up_to(later);
    const uint8x16_t bit = bit_of_each();
    const uint8x16_t bits0 = vreinterpretq_u8_u64(vdupq_n_u64(m0));
    const uint8x16_t bits1 = vreinterpretq_u8_u64(vdupq_n_u64(m1));
    /* 0, and what the even byte before it sends, in turn */
    const uint8x16_t before = vreinterpretq_u8_u16(
        vshlq_n_u16(vreinterpretq_u16_u8(vcntq_u8(vreinterpretq_u8_u64(vdupq_n_u64(later)))), 8));
    MMH_UNROLL
    for (unsigned k = 0; k < 4; k++) {
        const uint8x16_t pair = vcombine_u8(vdup_n_u8((uint8_t)(2 * k)),
                                            vdup_n_u8((uint8_t)(2 * k + 1)));
        const uint8x16_t ones0 = vtstq_u8(vqtbl1q_u8(bits0, pair), bit);
        const uint8x16_t ones1 = vtstq_u8(vqtbl1q_u8(bits1, pair), bit);
        const uint8x16_t coded = vbslq_u8(ones1, tier->rank2,
                                          vbslq_u8(ones0, tier->rank1, tier->rank0));
        const uint8x16_t to = vcombine_u8(vcreate_u8(spreads[byte_of(later, 2 * k)]),
                                          vcreate_u8(spreads[byte_of(later, 2 * k + 1)]));
        const uint8_t *from = tier->next + (k ? byte_of(sent, 2 * k - 1) : 0);
        symbols[k] = vqtbx1q_u8(coded, vld1q_u8(from), vaddq_u8(to, vqtbl1q_u8(before, pair)));
    }
    tier->next += sent >> 56;
}

static bool planes_end_in_zeros(const uint8_t *plane, size_t count)
{
    return mmh_tier_rest_zero(plane, count) &&
           mmh_tier_rest_zero(plane + mmh_tier_plane_bytes(count), count);
}

MMH_INLINE void store_group(uint8_t *list, const uint8x16_t symbols[4])
{
    for (unsigned k = 0; k < 4; k++)
        vst1q_u8(list + 16 * k, symbols[k]);
}

/*
 * One tier: `count` entries at list from its planes and the entries of the next tier, of which
 * there must be next_count. next has a block + slack of readable bytes, list as many writable ones.
 */
static bool decode_tier(uint8_t *restrict list, const uint8_t *restrict plane, size_t count,
                        const uint8_t *ranks, const uint8_t *restrict next, size_t next_count)
{
    struct tier tier = tier_at(plane, count, ranks, next);
    uint8x16_t symbols[4];
    size_t i = 0;
    if (!planes_end_in_zeros(plane, count))
        return false;
    for (; i + MMH_GROUP <= count; i += MMH_GROUP) {
        tier_symbols(symbols, &tier, i, MMH_GROUP);
        store_group(list + i, symbols);
    }
    if (i < count) {
        tier_symbols(symbols, &tier, i, count - i);
        store_group(list + i, symbols);
    }
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
    *next = memcpy(lists[tier_count & 1], src + layout->escapes, counts[tier_count]);
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

bool mmh_tier_decode_neon(uint8_t *symbols, const uint8_t *src, const uint16_t *counts,
                          const struct mmh_tiers *tiers, uint8_t *scratch)
{
    struct mmh_tier_layout layout;
    const uint8_t *next;
    mmh_tier_layout(&layout, counts, tiers->tier_count);
    return decode_lower_tiers(&next, &layout, src, counts, tiers, scratch) &&
           decode_tier(symbols, src + layout.plane[0], counts[0], tiers->ranks, next, counts[1]);
}

/* The first tier, merged while its symbols are in registers. */
MMH_INLINE void merge_first_tier(struct tier *tier, const struct mmh_merge *merge, size_t count,
                                 unsigned element_bytes, unsigned raw_bits)
{
    const struct merge_form form = merge_form_of(&merge->planes, merge->tails, merge->split,
                                                 element_bytes);
    uint8_t *const dst = merge->dst;
    struct tier t = *tier;
    for (size_t group = 0; group < count / MMH_GROUP; group++) {
        uint8x16_t symbols[4];
        tier_symbols(symbols, &t, MMH_GROUP * group, MMH_GROUP);
        merge_group(dst, symbols, &form, group, element_bytes, raw_bits);
    }
    tier->next = t.next;
}

bool mmh_tier_merge_neon(const struct mmh_merge *merge, const uint8_t *src, const uint16_t *counts,
                         const struct mmh_tiers *tiers, uint8_t *symbols, uint8_t *scratch)
{
    const struct mmh_split *split = merge->split;
    struct mmh_tier_layout layout;
    const uint8_t *next;
    mmh_tier_layout(&layout, counts, tiers->tier_count);
    if (!decode_lower_tiers(&next, &layout, src, counts, tiers, scratch))
        return false;
    const uint8_t *plane = src + layout.plane[0];
    const bool by_bytes = merges_by_bytes(split);
    if (!planes_end_in_zeros(plane, counts[0]))
        return false;
    struct tier tier = tier_at(plane, counts[0], tiers->ranks, next);
#define SHAPE(element_bytes_, raw_bits_)                                                          \
    if (by_bytes && split->element_bytes == (element_bytes_) && split->raw_bits == (raw_bits_)) { \
        merge_first_tier(&tier, merge, counts[0], element_bytes_, raw_bits_);                     \
        return (size_t)(tier.next - next) == counts[1];                                           \
    }
    SHAPE(2, 8)
    SHAPE(4, 8)
    SHAPE(2, 11)
#undef SHAPE
    if (!decode_tier(symbols, plane, counts[0], tiers->ranks, next, counts[1]))
        return false;
    mmh_merge_neon(merge->dst, symbols, &merge->planes, merge->tails, counts[0], split,
                   merge->stream);
    return true;
}

/* ---- encoding ---- */

/* One bit for each of 64 bytes, of which every one is 0 or its bit of bit_of_each. */
MMH_INLINE uint64_t gather_bits(const uint8x16_t bits[4])
{
    const uint8x16_t pairs = vpaddq_u8(vpaddq_u8(bits[0], bits[1]), vpaddq_u8(bits[2], bits[3]));
    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(pairs, pairs)), 0);
}

/* 64 entries, of which `left` are there: their bits, and those that are sent on; returns how many.
 * `next` has 8 bytes of room after them. */
MMH_INLINE size_t encode_group(uint64_t *m0, uint64_t *m1, uint8_t *next, const uint8_t *list,
                               const uint8x16_t rank[3], size_t left)
{
    const uint8x16_t bit = bit_of_each();
    uint8x16_t symbol[4], bits0[4], bits1[4];
    MMH_UNROLL
    for (unsigned k = 0; k < 4; k++) {
        symbol[k] = vld1q_u8(list + 16 * k);
        /* Of equal ranks the first one counts. */
        const uint8x16_t is0 = vceqq_u8(symbol[k], rank[0]), is1 = vceqq_u8(symbol[k], rank[1]);
        const uint8x16_t is2 = vbicq_u8(vceqq_u8(symbol[k], rank[2]), is1);
        bits0[k] = vbicq_u8(bit, vorrq_u8(is0, is2));
        bits1[k] = vbicq_u8(bit, vorrq_u8(is0, is1));
    }
    const uint64_t valid = left < MMH_GROUP ? ~(~0ull << left) : ~0ull;
    *m0 = gather_bits(bits0) & valid;
    *m1 = gather_bits(bits1) & valid;
    const uint64_t later = *m0 & *m1, sent = ones_up_to(later);
    MMH_UNROLL
    for (unsigned b = 0; b < 8; b++) {
        uint8x8_t from = vcreate_u8(packs[byte_of(later, b)]);
        if (b & 1)
            from = vadd_u8(from, vdup_n_u8(8));
        vst1_u8(next + (b ? byte_of(sent, b - 1) : 0), vqtbl1_u8(symbol[b / 2], from));
    }
    return sent >> 56;
}

/* Planes of `count` entries, in whole words; returns how many entries are sent on to `next`, which
 * has 8 bytes of room after them. */
static size_t encode_tier(uint8_t *restrict plane, uint8_t *restrict next,
                          const uint8_t *restrict list, size_t count, const uint8_t *ranks)
{
    uint8_t *plane1 = plane + mmh_tier_plane_bytes(count);
    const uint8x16_t rank[3] = { vdupq_n_u8(ranks[0]), vdupq_n_u8(ranks[1]), vdupq_n_u8(ranks[2]) };
    uint64_t m0, m1;
    size_t sent = 0, i = 0;
    for (; count - i >= MMH_GROUP; i += MMH_GROUP) {
        sent += encode_group(&m0, &m1, next + sent, list + i, rank, MMH_GROUP);
        mmh_store64(plane + i / 8, m0);
        mmh_store64(plane1 + i / 8, m1);
    }
    if (i < count) {
        uint8_t last[MMH_GROUP] = { 0 };
        memcpy(last, list + i, count - i);
        sent += encode_group(&m0, &m1, next + sent, last, rank, count - i);
        /* Plane 1 may begin 4 bytes on. */
        mmh_store32(plane + i / 8, (uint32_t)m0);
        mmh_store32(plane1 + i / 8, (uint32_t)m1);
        if (count - i > 32) {
            mmh_store32(plane + i / 8 + 4, (uint32_t)(m0 >> 32));
            mmh_store32(plane1 + i / 8 + 4, (uint32_t)(m1 >> 32));
        }
    }
    return sent;
}

size_t mmh_tier_encode_neon(uint8_t *dst, uint16_t counts[MMH_TIER_MAX + 1], const uint8_t *symbols,
                            size_t count, const struct mmh_tiers *tiers, uint8_t *scratch)
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
