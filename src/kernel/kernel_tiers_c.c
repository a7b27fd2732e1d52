/*
 * Tier symbols: the reference, plain C, eight entries at a time in one 64-bit word.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Decoding goes from the last tier up, list_k = expand(base(m0, m1), m0 & m1, list_k+1), so that
 * a position depends on counts of bits alone and no branch on data.
 */
#include "kernel/kernel_private.h"

/* ---- moving bytes inside a word ---- */

/*
 * For every mask of 8 bits, how eight packed bytes spread to the places of its ones: each byte goes
 * up by its distance, in steps of 4, 2 and 1 places. A step's mask covers where its bytes arrive;
 * going back, they leave from there (Warren, Hacker's Delight, 7-4 and 7-5, on bytes).
 */
struct spread {
    uint64_t ones[256]; /* 0xff where the mask has a one */
    uint64_t by4[256], by2[256], by1[256];
    uint8_t count[256]; /* ones in the mask */
};

#define BIT(m, i) ((m) >> (i)&1u)
#define IF(m, i, j) BIT(m, j) * ((i) > (j))
#define BELOW(m, i)                                                                      \
    (IF(m, i, 0) + IF(m, i, 1) + IF(m, i, 2) + IF(m, i, 3) + IF(m, i, 4) + IF(m, i, 5) + \
     IF(m, i, 6))
#define FAR(m, i) ((unsigned)(i)-BELOW(m, i))
#define BYTE(on, i) ((on) ? 0xffull << 8 * ((i)&7u) : 0)
#define BY4(m, i) BYTE(BIT(m, i) && (FAR(m, i) & 4), BELOW(m, i) + 4)
#define BY2(m, i) BYTE(BIT(m, i) && (FAR(m, i) & 2), BELOW(m, i) + (FAR(m, i) & 4) + 2)
#define BY1(m, i) BYTE(BIT(m, i) && (FAR(m, i) & 1), i)
#define ONE(m, i) BYTE(BIT(m, i), i)
#define ALL(f, m) f(m, 0) | f(m, 1) | f(m, 2) | f(m, 3) | f(m, 4) | f(m, 5) | f(m, 6) | f(m, 7)
#define COUNT(m, i) (uint8_t)(BELOW(m, 7) + BIT(m, 7))
#define FOUR(f, m) f((m), 0), f((m) + 1, 0), f((m) + 2, 0), f((m) + 3, 0)
#define SIXTEEN(f, m) FOUR(f, m), FOUR(f, (m) + 4), FOUR(f, (m) + 8), FOUR(f, (m) + 12)
#define SIXTY_FOUR(f, m) \
    SIXTEEN(f, m), SIXTEEN(f, (m) + 16), SIXTEEN(f, (m) + 32), SIXTEEN(f, (m) + 48)
#define EVERY(f)                                                                        \
    {                                                                                   \
        SIXTY_FOUR(f, 0u), SIXTY_FOUR(f, 64u), SIXTY_FOUR(f, 128u), SIXTY_FOUR(f, 192u) \
    }
#define ALL_ONES(m, i) ALL(ONE, m)
#define ALL_BY4(m, i) ALL(BY4, m)
#define ALL_BY2(m, i) ALL(BY2, m)
#define ALL_BY1(m, i) ALL(BY1, m)

static const struct spread spread = {
    .ones = EVERY(ALL_ONES),
    .by4 = EVERY(ALL_BY4),
    .by2 = EVERY(ALL_BY2),
    .by1 = EVERY(ALL_BY1),
    .count = EVERY(COUNT),
};

static const uint64_t every_byte = 0x0101010101010101;

/* The lowest bytes of x spread to the places in a mask; garbage elsewhere. */
MMH_INLINE uint64_t expand(uint64_t x, size_t mask)
{
    x ^= (x ^ x << 32) & spread.by4[mask];
    x ^= (x ^ x << 16) & spread.by2[mask];
    x ^= (x ^ x << 8) & spread.by1[mask];
    return x;
}

/* The bytes of x in the places of a mask, moved together at the bottom. */
MMH_INLINE uint64_t compress(uint64_t x, size_t mask)
{
    x &= spread.ones[mask];
    uint64_t move = x & spread.by1[mask];
    x = (x ^ move) | move >> 8;
    move = x & spread.by2[mask];
    x = (x ^ move) | move >> 16;
    move = x & spread.by4[mask];
    return (x ^ move) | move >> 32;
}

/* The top bit of each byte, as 8 bits in byte order. */
MMH_INLINE unsigned top_bits(uint64_t x)
{
    return (unsigned)((x >> 7 & every_byte) * 0x0102040810204080 >> 56);
}

/* The top bit of each byte of x that is not zero. */
MMH_INLINE uint64_t not_zero(uint64_t x)
{
    const uint64_t low = 0x7f * every_byte;
    return (((x & low) + low) | x) & ~low;
}

/* ---- decoding ---- */

/*
 * One tier: `count` entries at list from its planes and the entries of the next tier, of which
 * there must be next_count. next has a block + slack of readable bytes, list as many writable ones.
 */
static bool decode_tier(uint8_t *restrict list, const uint8_t *restrict plane, size_t count,
                        const uint8_t *ranks, const uint8_t *restrict next, size_t next_count)
{
    const uint8_t *plane1 = plane + mmh_tier_plane_bytes(count);
    const uint64_t rank0 = ranks[0] * every_byte;
    const uint64_t to1 = (ranks[0] ^ ranks[1]) * every_byte;
    const uint64_t to2 = (ranks[0] ^ ranks[2]) * every_byte;
    size_t used = 0;
    if (!mmh_tier_rest_zero(plane, count) || !mmh_tier_rest_zero(plane1, count))
        return false;
    for (size_t i = 0; i < (count + 7) / 8; i++) {
        size_t m0 = plane[i], m1 = plane1[i], later = m0 & m1;
        uint64_t ones0 = spread.ones[m0], ones1 = spread.ones[m1];
        uint64_t base = rank0 ^ (ones0 & to1) ^ (ones1 & to2);
        uint64_t sent = expand(mmh_load64(next + used), later);
        mmh_store64(list + 8 * i, base ^ ((base ^ sent) & (ones0 & ones1)));
        used += spread.count[later];
    }
    return used == next_count;
}

bool mmh_tier_decode_c(uint8_t *symbols, const uint8_t *src, const uint16_t *counts,
                       const struct mmh_tiers *tiers, uint8_t *scratch)
{
    struct mmh_tier_layout layout;
    unsigned tier_count = tiers->tier_count;
    uint8_t *lists[2] = { scratch, scratch + MMH_TIER_BLOCK + MMH_KERNEL_SLACK };
    mmh_tier_layout(&layout, counts, tier_count);
    /* A copy, since hostile planes may ask for more than there is. */
    const uint8_t *next = memcpy(lists[tier_count & 1], src + layout.escapes, counts[tier_count]);
    for (size_t i = layout.escapes + counts[tier_count]; i < layout.bytes; i++)
        if (src[i])
            return false;
    for (unsigned k = tier_count; k--;) {
        uint8_t *list = k ? lists[k & 1] : symbols;
        if (!decode_tier(list, src + layout.plane[k], counts[k], tiers->ranks + 3 * k, next,
                         counts[k + 1]))
            return false;
        next = list;
    }
    return true;
}

/* ---- encoding ---- */

/* Planes of `count` entries, in whole words; returns how many entries are sent on to `next`, which
 * has 7 bytes of room after them. */
static size_t encode_tier(uint8_t *restrict plane, uint8_t *restrict next,
                          const uint8_t *restrict list, size_t count, const uint8_t *ranks)
{
    uint8_t *plane1 = plane + mmh_tier_plane_bytes(count);
    const uint64_t rank0 = ranks[0] * every_byte;
    const uint64_t rank1 = ranks[1] * every_byte;
    const uint64_t rank2 = ranks[2] * every_byte;
    size_t sent = 0;
    for (size_t i = 0; i < count; i += 8) {
        unsigned valid = 0xff;
        uint64_t x = 0;
        if (count - i >= 8) {
            x = mmh_load64(list + i);
        } else {
            valid = (1u << (count - i)) - 1;
            for (size_t j = i; j < count; j++)
                x |= (uint64_t)list[j] << 8 * (j - i);
        }
        /* Of equal ranks the first one counts. */
        uint64_t not0 = not_zero(x ^ rank0);
        uint64_t not1 = not_zero(x ^ rank1) & not0;
        uint64_t later = not_zero(x ^ rank2) & not1;
        unsigned m0 = top_bits((not0 ^ not1) | later) & valid;
        unsigned m1 = top_bits(not1) & valid;
        plane[i / 8] = (uint8_t)m0;
        plane1[i / 8] = (uint8_t)m1;
        mmh_store64(next + sent, compress(x, m0 & m1));
        sent += spread.count[m0 & m1];
    }
    for (size_t i = (count + 7) / 8; i < mmh_tier_plane_bytes(count); i++)
        plane[i] = plane1[i] = 0;
    return sent;
}

size_t mmh_tier_encode_c(uint8_t *dst, uint16_t counts[MMH_TIER_MAX + 1], const uint8_t *symbols,
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

bool mmh_tier_merge_c(const struct mmh_merge *merge, const uint8_t *src, const uint16_t *counts,
                      const struct mmh_tiers *tiers, uint8_t *symbols, uint8_t *scratch)
{
    if (!mmh_tier_decode_c(symbols, src, counts, tiers, scratch))
        return false;
    mmh_merge_c(merge->dst, symbols, &merge->planes, merge->tails, counts[0], merge->split,
                merge->stream);
    return true;
}
