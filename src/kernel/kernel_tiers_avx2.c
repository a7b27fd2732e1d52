/*
 * Tier symbols with AVX2: 32 entries at a time, moved eight by eight by byte shuffles from tables.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A shuffle per eight entries beats pdep and pext, which are microcode on Zen 1 and 2.
 */
#include "kernel/kernel_merge_avx2.h"

/* ---- shuffles for every mask of 8 bits ---- */

#define BIT(m, i) ((m) >> (i)&1u)
#define IF(m, i, j) BIT(m, j) * ((i) > (j))
#define BELOW(m, i)                                                                      \
    (IF(m, i, 0) + IF(m, i, 1) + IF(m, i, 2) + IF(m, i, 3) + IF(m, i, 4) + IF(m, i, 5) + \
     IF(m, i, 6))

/* Spreads packed bytes to the ones of the mask, zeros elsewhere. */
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

/* 0xff for every one of 32 bits. */
static __m256i bytes_of_bits(const uint8_t *bits)
{
    const __m256i from = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2,
                                          2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
    __m256i x = _mm256_shuffle_epi8(_mm256_set1_epi32((int)mmh_load32(bits)), from);
    return _mm256_cmpeq_epi8(_mm256_and_si256(x, bit), bit);
}

/* Two words of 8 bytes. */
MMH_INLINE __m128i load_pair(const void *low, const void *high)
{
    __m128 x = _mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)low));
    return _mm_castps_si128(_mm_loadh_pi(x, (const __m64 *)high));
}

MMH_INLINE void store_pair(void *low, void *high, __m128i x)
{
    _mm_storel_epi64((__m128i *)low, x);
    _mm_storeh_pi((__m64 *)high, _mm_castsi128_ps(x));
}

/* ---- decoding ---- */

/*
 * The planes of one tier and the entries of the next one. What a tier gives is XORed with `flip`;
 * the next tier's entries are given XORed with this one's ranks[2]: an entry that was sent on looks
 * like rank 2 at first, and one XOR makes it right.
 */
struct tier {
    const uint8_t *plane0, *plane1, *next;
    __m256i rank0, rank1, rank2;
};

MMH_INLINE struct tier tier_at(const uint8_t *plane, size_t count, const uint8_t *ranks,
                               uint8_t flip, const uint8_t *next)
{
    return (struct tier){ plane,
                          plane + mmh_tier_plane_bytes(count),
                          next,
                          bytes_of(ranks[0] ^ flip),
                          bytes_of(ranks[1] ^ flip),
                          bytes_of(ranks[2] ^ flip) };
}

/* Entries i .. i + 31 of a tier; moves `next` on. */
MMH_INLINE __m256i tier_symbols(struct tier *tier, size_t i)
{
    const uint8_t *at = tier->next;
    uint32_t later = mmh_load32(tier->plane0 + i / 8) & mmh_load32(tier->plane1 + i / 8);
    __m256i symbol = _mm256_blendv_epi8(tier->rank0, tier->rank1,
                                        bytes_of_bits(tier->plane0 + i / 8));
    symbol = _mm256_blendv_epi8(symbol, tier->rank2, bytes_of_bits(tier->plane1 + i / 8));
    const uint8_t *at1 = at + mmh_popcount32(later & 0xff);
    const uint8_t *at2 = at + mmh_popcount32(later & 0xffff);
    const uint8_t *at3 = at + mmh_popcount32(later & 0xffffff);
    __m256i sent = _mm256_set_m128i(load_pair(at2, at3), load_pair(at, at1));
    __m256i to = _mm256_set_m128i(load_pair(&spreads[later >> 16 & 0xff], &spreads[later >> 24]),
                                  load_pair(&spreads[later & 0xff], &spreads[later >> 8 & 0xff]));
    /* The upper word of a lane is shuffled out of the upper half of the lane. */
    to = _mm256_add_epi8(to, _mm256_setr_epi64x(0, 0x0808080808080808, 0, 0x0808080808080808));
    tier->next = at + mmh_popcount32(later);
    return _mm256_xor_si256(symbol, _mm256_shuffle_epi8(sent, to));
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
                        const uint8_t *ranks, uint8_t flip, const uint8_t *restrict next,
                        size_t next_count)
{
    struct tier tier = tier_at(plane, count, ranks, flip, next);
    if (!planes_end_in_zeros(plane, count))
        return false;
    for (size_t i = 0; i < count; i += 32)
        store(list + i, tier_symbols(&tier, i));
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
    const __m256i flip = bytes_of(tiers->ranks[3 * tier_count - 1]);
    for (size_t i = 0; i < counts[tier_count]; i += 32)
        store(lists[tier_count & 1] + i, _mm256_xor_si256(flip, load(src + layout->escapes + i)));
    for (size_t i = layout->escapes + counts[tier_count]; i < layout->bytes; i++)
        if (src[i])
            return false;
    for (unsigned k = tier_count - 1; k; k--) {
        if (!decode_tier(lists[k & 1], src + layout->plane[k], counts[k], tiers->ranks + 3 * k,
                         tiers->ranks[3 * k - 1], *next, counts[k + 1]))
            return false;
        *next = lists[k & 1];
    }
    return true;
}

bool mmh_tier_decode_avx2(uint8_t *symbols, const uint8_t *src, const uint16_t *counts,
                          const struct mmh_tiers *tiers, uint8_t *scratch)
{
    struct mmh_tier_layout layout;
    const uint8_t *next;
    mmh_tier_layout(&layout, counts, tiers->tier_count);
    return decode_lower_tiers(&next, &layout, src, counts, tiers, scratch) &&
           decode_tier(symbols, src + layout.plane[0], counts[0], tiers->ranks, 0, next, counts[1]);
}

/* The first tier, merged while its symbols are in a register; on the way the next block and what
 * follows in the raw plane are fetched. */
MMH_INLINE void merge_first_tier(struct tier *tier, const struct mmh_merge *merge, size_t count,
                                 const uint8_t *ahead, size_t ahead_bytes, unsigned element_bytes,
                                 enum store_mode mode)
{
    struct tier t = *tier;
    uint8_t *const dst = merge->dst;
    const uint8_t *const raw = merge->planes.plane[0];
    const uint8_t *const tails[3] = { merge->tails[0] };
    for (size_t i = 0; i < count; i += 32) {
        if (2 * i < ahead_bytes)
            mmh_fetch(ahead, 2 * i);
        if (i % 64 == 0)
            mmh_fetch(raw + i, MMH_FETCH_AHEAD);
        merge_bytes(dst, tier_symbols(&t, i), load(raw + i), tails, i, element_bytes, mode);
    }
    tier->next = t.next;
}

bool mmh_tier_merge_avx2(const struct mmh_merge *merge, const uint8_t *src, const uint16_t *counts,
                         const struct mmh_tiers *tiers, uint8_t *symbols, uint8_t *scratch)
{
    const struct mmh_split *split = merge->split;
    const enum store_mode mode = store_mode_of(merge->dst, merge->stream);
    struct mmh_tier_layout layout;
    const uint8_t *next;
    mmh_tier_layout(&layout, counts, tiers->tier_count);
    if (!decode_lower_tiers(&next, &layout, src, counts, tiers, scratch))
        return false;
    const uint8_t *plane = src + layout.plane[0];
    bool bytes = split->raw_bits == 8 && split->stored_bits == 8 && mmh_split_plain(split) &&
                 !split->window_base && split->element_bytes <= 4;
    if (!bytes) {
        for (size_t i = 0; i < layout.bytes; i += 64)
            mmh_fetch(src + layout.bytes, i);
        if (!decode_tier(symbols, plane, counts[0], tiers->ranks, 0, next, counts[1]))
            return false;
        mmh_merge_avx2(merge->dst, symbols, &merge->planes, merge->tails, counts[0], split,
                       merge->stream);
        return true;
    }
    if (!planes_end_in_zeros(plane, counts[0]))
        return false;
    struct tier tier = tier_at(plane, counts[0], tiers->ranks, 0, next);
    if (split->element_bytes == 2)
        merge_first_tier(&tier, merge, counts[0], src + layout.bytes, layout.bytes, 2, mode);
    else
        merge_first_tier(&tier, merge, counts[0], src + layout.bytes, layout.bytes, 4, mode);
    if (mode != STORE && merge->stream != MMH_STREAM_MORE)
        _mm_sfence();
    return (size_t)(tier.next - next) == counts[1];
}

/* ---- encoding ---- */

/* Planes of `count` entries, in whole words; returns how many entries are sent on to `next`, which
 * has 32 bytes of room after them. */
static size_t encode_tier(uint8_t *restrict plane, uint8_t *restrict next,
                          const uint8_t *restrict list, size_t count, const uint8_t *ranks)
{
    uint8_t *plane1 = plane + mmh_tier_plane_bytes(count);
    const __m256i rank0 = bytes_of(ranks[0]);
    const __m256i rank1 = bytes_of(ranks[1]);
    const __m256i rank2 = bytes_of(ranks[2]);
    uint8_t *at = next;
    for (size_t i = 0; i < count; i += 32) {
        uint8_t last[32] = { 0 };
        const uint8_t *in = list + i;
        uint32_t valid = ~0u;
        if (count - i < 32) {
            in = memcpy(last, in, count - i);
            valid = ~(~0u << (count - i));
        }
        __m256i symbol = _mm256_loadu_si256((const __m256i *)(const void *)in);
        /* Of equal ranks the first one counts. */
        uint32_t is0 = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(symbol, rank0));
        uint32_t is1 = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(symbol, rank1));
        uint32_t is2 = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(symbol, rank2));
        uint32_t not1 = ~(is0 | is1) & valid, later = not1 & ~is2;
        mmh_store32(plane + i / 8, (is1 & ~is0 & valid) | later);
        mmh_store32(plane1 + i / 8, not1);
        uint8_t *at1 = at + mmh_popcount32(later & 0xff);
        uint8_t *at2 = at + mmh_popcount32(later & 0xffff);
        uint8_t *at3 = at + mmh_popcount32(later & 0xffffff);
        __m256i from = _mm256_set_m128i(load_pair(&packs[later >> 16 & 0xff], &packs[later >> 24]),
                                        load_pair(&packs[later & 0xff], &packs[later >> 8 & 0xff]));
        from = _mm256_add_epi8(from,
                               _mm256_setr_epi64x(0, 0x0808080808080808, 0, 0x0808080808080808));
        __m256i sent = _mm256_shuffle_epi8(symbol, from);
        store_pair(at, at1, _mm256_castsi256_si128(sent));
        store_pair(at2, at3, _mm256_extracti128_si256(sent, 1));
        at += mmh_popcount32(later);
    }
    return (size_t)(at - next);
}

size_t mmh_tier_encode_avx2(uint8_t *dst, uint16_t counts[MMH_TIER_MAX + 1], const uint8_t *symbols,
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
