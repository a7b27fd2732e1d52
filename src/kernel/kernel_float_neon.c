/*
 * Splitting floats into symbols, bit planes and tails, and back, with NEON: a group at a time.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The splits in daily use go by bytes (kernel_merge_neon.h). The others, with constant signs, zero
 * bits or a window on eight exponent bits and more, go by words and shift by counts in registers.
 */
#include "kernel/kernel_merge_neon.h"

#include <string.h>

/* ---- planes ---- */

/* Write the planes of 4, 2 and 1 bits of the low `bits` & 7 of each byte; above them may be garbage. */
MMH_INLINE void put_fields(const struct mmh_planes *planes, size_t group, const uint8x16_t value[4],
                           unsigned bits)
{
    if (bits & 4)
        for (unsigned k = 0; k < 2; k++)
            vst1q_u8(planes->plane[1] + 32 * group + 16 * k,
                     left_over(right(value[k], bits & 3), right(value[k + 2], bits & 3), 4));
    if (bits & 2) {
        uint8x16_t x = right(value[0], bits & 1);
        x = left_over(x, right(value[1], bits & 1), 2);
        x = left_over(x, right(value[2], bits & 1), 4);
        vst1q_u8(planes->plane[2] + 16 * group, left_over(x, right(value[3], bits & 1), 6));
    }
    if (bits & 1) { /* the even bits, of elements 0..7 and of 8..15 */
        uint8x16_t x = left_over(value[0], value[1], 2);
        x = left_over(left_over(x, value[2], 4), value[3], 6);
        vst1_u8(planes->plane[3] + 8 * group,
                vbsl_u8(vdup_n_u8(0x55), vget_low_u8(x), vshl_n_u8(vget_high_u8(x), 1)));
    }
}

static void put_any_fields(const struct mmh_planes *planes, size_t group, const uint8x16_t value[4],
                           unsigned bits)
{
#define CASE(n)                                \
    case n:                                    \
        put_fields(planes, group, value, (n)); \
        break
    switch (bits & 7) {
        CASE(1);
        CASE(2);
        CASE(3);
        CASE(4);
        CASE(5);
        CASE(6);
        CASE(7);
    default:
        break;
    }
#undef CASE
}

/* 64 bytes of `bits` & 7 bits, zeros above them. */
static void get_any_fields(uint8x16_t value[4], const struct mmh_planes *planes, size_t group,
                           unsigned bits)
{
    const uint8x16_t mask = vdupq_n_u8((uint8_t)((1u << (bits & 7)) - 1));
    const struct fields fields = load_fields(planes, group, bits);
#define CASE(n)                                                   \
    case n:                                                       \
        for (unsigned k = 0; k < 4; k++)                          \
            value[k] = vandq_u8(low_bits(&fields, (n), k), mask); \
        break
    switch (bits & 7) {
        CASE(0);
        CASE(1);
        CASE(2);
        CASE(3);
        CASE(4);
        CASE(5);
        CASE(6);
        CASE(7);
    default:
        break;
    }
#undef CASE
}

/* ---- words ---- */

MMH_INLINE uint16x8_t low_half_words(uint8x16_t bytes)
{
    return vmovl_u8(vget_low_u8(bytes));
}

MMH_INLINE uint8x16_t low_bytes(uint16x8_t a, uint16x8_t b)
{
    return vuzp1q_u8(vreinterpretq_u8_u16(a), vreinterpretq_u8_u16(b));
}

MMH_INLINE uint8x16_t high_bytes(uint16x8_t a, uint16x8_t b)
{
    return vuzp2q_u8(vreinterpretq_u8_u16(a), vreinterpretq_u8_u16(b));
}

/* Shifts by a count in a register; one that is negative goes down. */
MMH_INLINE uint16x8_t shift(uint16x8_t x, int by)
{
    return vshlq_u16(x, vdupq_n_s16((int16_t)by));
}

/* What a split does to words. */
struct word_form {
    uint16x8_t high, low, sign, base, symbol_low;
    int up, zeros, rest; /* raw bits, zero bits and where the sign was, stored bits below a byte */
};

MMH_INLINE struct word_form word_form_of(const struct mmh_split *split)
{
    const struct mmh_raw_form raw = mmh_raw_form(split);
    return (struct word_form){ .high = vdupq_n_u16(raw.high),
                               .low = vdupq_n_u16(raw.low),
                               .sign = vdupq_n_u16(raw.sign),
                               .base = vdupq_n_u16(split->window_base),
                               .symbol_low = vdupq_n_u16(split->symbol_low),
                               .up = split->raw_bits,
                               .zeros = raw.shift,
                               .rest = split->stored_bits & 7 };
}

/* ---- split ---- */

/* The heads of 16 elements from `first` on; their tails are written. */
MMH_INLINE void load_heads(uint16x8_t head[2], uint8_t *const tails[3], size_t first,
                           const uint8_t *src, unsigned element_bytes)
{
    for (unsigned half = 0; half < 2; half++, first += 8) {
        const uint16_t *at = (const uint16_t *)(const void *)(src + first * element_bytes);
        if (element_bytes == 2) {
            head[half] = words_at(src + 2 * first);
        } else if (element_bytes == 4) {
            const uint16x8x2_t x = vld2q_u16(at);
            head[half] = x.val[1];
            if (tails)
                vst1q_u8(tails[0] + 2 * first, vreinterpretq_u8_u16(x.val[0]));
        } else {
            const uint16x8x4_t x = vld4q_u16(at);
            head[half] = x.val[3];
            for (unsigned p = 0; tails && p < 3; p++)
                vst1q_u8(tails[p] + 2 * first, vreinterpretq_u8_u16(x.val[2 - p]));
        }
    }
}

MMH_INLINE bool any_set(uint8x16_t x)
{
    return vmaxvq_u8(x) != 0;
}

/* Append the positions of the bytes that are set, from `first` on. */
static size_t patches_append(uint32_t *patches, size_t patch_count, size_t first,
                             const uint8x16_t outside[4])
{
    for (unsigned k = 0; k < 4; k++) {
        const uint8x8_t narrow = vshrn_n_u16(vreinterpretq_u16_u8(outside[k]), 4);
        uint64_t nibbles = vget_lane_u64(vreinterpret_u64_u8(narrow), 0);
        for (nibbles &= UINT64_C(0x1111111111111111); nibbles; nibbles &= nibbles - 1)
            patches[patch_count++] = (uint32_t)(first + 16 * k + mmh_ctz64(nibbles) / 4);
    }
    return patch_count;
}

/* All raw bits are stored. raw_bits, 6..11, and element_bytes, 2 or 4, are known when this is
 * compiled; below 8 raw bits there is a window. */
MMH_INLINE size_t split_groups(uint8_t *symbols, const struct mmh_planes *planes_in,
                               uint8_t *const tails[3], uint32_t *patches, const uint8_t *src,
                               size_t count, const struct mmh_split *split, unsigned element_bytes,
                               unsigned raw_bits)
{
    const struct mmh_planes planes = *planes_in; /* stores cannot change a copy */
    const uint8x16_t symbol_low = vdupq_n_u8(split->symbol_low),
                     base_low = vdupq_n_u8((uint8_t)split->window_base),
                     base_high = vdupq_n_u8((uint8_t)(split->window_base >> 8)),
                     patch = vdupq_n_u8(split->patch_symbol);
    const unsigned more = raw_bits & 7;
    size_t patch_count = 0;
    for (size_t group = 0; group < count / MMH_GROUP; group++) {
        uint8x16_t rest[4], outside[4];
        MMH_UNROLL
        for (unsigned k = 0; k < 4; k++) {
            const size_t first = MMH_GROUP * group + 16 * k;
            uint8x16_t low, high, symbol, raw;
            if (element_bytes == 2) {
                const uint8x16x2_t bytes = vld2q_u8(src + 2 * first);
                low = bytes.val[0];
                high = bytes.val[1];
            } else {
                uint16x8_t head[2];
                load_heads(head, tails, first, src, element_bytes);
                low = low_bytes(head[0], head[1]);
                high = high_bytes(head[0], head[1]);
            }
            const uint8x16_t key_high = right_under(left(high, 1), low, 7);
            const uint8x16_t key_low = right_under(left(low, 1), high, 7);
            rest[k] = key_low;
            if (raw_bits < 8) {
                const uint8x16_t part = right_under(left(key_high, 8 - raw_bits), key_low,
                                                    raw_bits);
                const uint8x16_t top = right(key_high, raw_bits);
                const uint8x16_t moved = vsubq_u8(part, base_low);
                const uint8x16_t borrow = vcgtq_u8(base_low, part);
                const uint8x16_t moved_top = vaddq_u8(vsubq_u8(top, base_high), borrow);
                const uint8x16_t below = vandq_u8(vceqzq_u8(top), vcgtq_u8(symbol_low, part));
                const uint8x16_t inside = vandq_u8(vceqzq_u8(moved_top),
                                                   vcgeq_u8(moved, symbol_low));
                symbol = vbslq_u8(below, part, vbslq_u8(inside, moved, patch));
                outside[k] = vmvnq_u8(vorrq_u8(below, inside));
            } else {
                symbol = right(key_high, more);
                raw = more ? right_under(left(key_high, 8 - more), key_low, more) : key_low;
                vst1q_u8(planes.plane[0] + first, raw);
            }
            vst1q_u8(symbols + first, symbol);
        }
        if (raw_bits < 8 &&
            any_set(vorrq_u8(vorrq_u8(outside[0], outside[1]), vorrq_u8(outside[2], outside[3]))))
            patch_count = patches_append(patches, patch_count, MMH_GROUP * group, outside);
        put_fields(&planes, group, rest, raw_bits);
    }
    return patch_count;
}

/* Any split, by words. element_bytes is known when this is compiled. */
MMH_INLINE size_t split_words(uint8_t *symbols, const struct mmh_planes *planes_in,
                              uint8_t *const tails[3], uint32_t *patches, const uint8_t *src,
                              size_t count, const struct mmh_split *split, unsigned element_bytes)
{
    const struct mmh_planes planes = *planes_in;
    const struct word_form form = word_form_of(split);
    const uint16x8_t raw_mask = vdupq_n_u16((uint16_t)((1u << split->raw_bits) - 1)),
                     patch = vdupq_n_u16(split->patch_symbol),
                     span = vdupq_n_u16((uint16_t)(255 - split->symbol_low));
    const bool top_plane = split->stored_bits & 8;
    size_t patch_count = 0;
    for (size_t group = 0; group < count / MMH_GROUP; group++) {
        uint8x16_t rest[4], outside[4], any = vdupq_n_u8(0);
        for (unsigned k = 0; k < 4; k++) {
            const size_t first = MMH_GROUP * group + 16 * k;
            uint16x8_t head[2], symbol[2], stored[2], far[2];
            load_heads(head, tails, first, src, element_bytes);
            for (unsigned half = 0; half < 2; half++) {
                const uint16x8_t key = vsriq_n_u16(vshlq_n_u16(head[half], 1), head[half], 15);
                const uint16x8_t part = shift(key, -form.up), moved = vsubq_u16(part, form.base);
                const uint16x8_t below = vcltq_u16(part, form.symbol_low);
                far[half] = vbicq_u16(vcgtq_u16(vsubq_u16(moved, form.symbol_low), span), below);
                symbol[half] = vbslq_u16(far[half], patch, vbslq_u16(below, part, moved));
                const uint16x8_t raw = vandq_u16(key, raw_mask);
                stored[half] = vbslq_u16(form.high, shift(raw, -form.zeros),
                                         vandq_u16(raw, form.low));
            }
            vst1q_u8(symbols + first, low_bytes(symbol[0], symbol[1]));
            if (top_plane)
                vst1q_u8(planes.plane[0] + first,
                         low_bytes(shift(stored[0], -form.rest), shift(stored[1], -form.rest)));
            rest[k] = low_bytes(stored[0], stored[1]);
            outside[k] = low_bytes(far[0], far[1]);
            any = vorrq_u8(any, outside[k]);
        }
        if (any_set(any))
            patch_count = patches_append(patches, patch_count, MMH_GROUP * group, outside);
        put_any_fields(&planes, group, rest, split->stored_bits);
    }
    return patch_count;
}

size_t mmh_split_neon(uint8_t *symbols, const struct mmh_planes *planes, uint8_t *const tails[3],
                      uint32_t *patches, const uint8_t *src, size_t count,
                      const struct mmh_split *split)
{
    if (merges_by_bytes(split)) {
#define SHAPE(element_bytes_, raw_bits_)                                                        \
    if (split->element_bytes == (element_bytes_) && split->raw_bits == (raw_bits_))             \
        return split_groups(symbols, planes, tails, patches, src, count, split, element_bytes_, \
                            raw_bits_);
        MERGE_SHAPES(SHAPE)
#undef SHAPE
    }
    if (split->element_bytes == 2)
        return split_words(symbols, planes, tails, patches, src, count, split, 2);
    if (split->element_bytes == 4)
        return split_words(symbols, planes, tails, patches, src, count, split, 4);
    return split_words(symbols, planes, tails, patches, src, count, split, 8);
}

/* ---- merge ---- */

MMH_INLINE void merge_groups(uint8_t *dst, const uint8_t *symbols, const struct mmh_planes *planes,
                             const uint8_t *const tails[3], size_t count,
                             const struct mmh_split *split, unsigned element_bytes,
                             unsigned raw_bits)
{
    const struct merge_form form = merge_form_of(planes, tails, split, element_bytes);
    for (size_t group = 0; group < count / MMH_GROUP; group++) {
        uint8x16_t symbol[4];
        for (unsigned k = 0; k < 4; k++)
            symbol[k] = vld1q_u8(symbols + MMH_GROUP * group + 16 * k);
        merge_group(dst, symbol, &form, group, element_bytes, raw_bits);
    }
}

/* Any split, by words. element_bytes is known when this is compiled. */
MMH_INLINE void merge_words(uint8_t *dst, const uint8_t *symbols,
                            const struct mmh_planes *planes_in, const uint8_t *const tails[3],
                            size_t count, const struct mmh_split *split, unsigned element_bytes)
{
    const struct mmh_planes planes = *planes_in;
    const struct word_form form = word_form_of(split);
    const bool top_plane = split->stored_bits & 8;
    for (size_t group = 0; group < count / MMH_GROUP; group++) {
        uint8x16_t rest[4];
        get_any_fields(rest, &planes, group, split->stored_bits);
        for (unsigned k = 0; k < 4; k++) {
            const size_t first = MMH_GROUP * group + 16 * k;
            const uint8x16_t bytes = vld1q_u8(symbols + first);
            const uint8x16_t top = top_plane ? vld1q_u8(planes.plane[0] + first) : vdupq_n_u8(0);
            const uint16x8_t symbol[2] = { low_half_words(bytes), vmovl_high_u8(bytes) };
            const uint16x8_t above[2] = { low_half_words(top), vmovl_high_u8(top) };
            const uint16x8_t below[2] = { low_half_words(rest[k]), vmovl_high_u8(rest[k]) };
            for (unsigned half = 0; half < 2; half++) {
                const uint16x8_t stored = vorrq_u16(shift(above[half], form.rest), below[half]);
                uint16x8_t raw = shift(vandq_u16(stored, form.high), form.zeros);
                raw = vorrq_u16(vorrq_u16(raw, vandq_u16(stored, form.low)), form.sign);
                const uint16x8_t base = vandq_u16(form.base,
                                                  vcgeq_u16(symbol[half], form.symbol_low));
                const uint16x8_t key = vorrq_u16(shift(vaddq_u16(symbol[half], base), form.up),
                                                 raw);
                store_heads(dst, vsliq_n_u16(vshrq_n_u16(key, 1), key, 15), tails, first + 8 * half,
                            element_bytes);
            }
        }
    }
}

/* One of 256 bytes for each byte of a vector: four registers of the table at a time. */
MMH_INLINE uint8x16_t look_up(const uint8x16x4_t table[4], uint8x16_t index)
{
    uint8x16_t found = vqtbl4q_u8(table[0], index);
    MMH_UNROLL
    for (unsigned i = 1; i < 4; i++)
        found = vqtbx4q_u8(found, table[i], veorq_u8(index, vdupq_n_u8((uint8_t)(64 * i))));
    return found;
}

MMH_INLINE void load_table(uint8x16x4_t table[4], const uint8_t *values)
{
    for (unsigned i = 0; i < 4; i++)
        table[i] = vld1q_u8_x4(values + 64 * i);
}

/* Pairs of bytes by one table; `ids`, unless NULL, are of those that are table `id`, the others
 * stay as they are. */
static void merge_pairs(uint8_t *dst, const uint8_t *symbols, const uint8_t *raw_plane,
                        const uint8_t *ids, uint8_t id, size_t pairs, const uint8_t *values)
{
    uint8x16x4_t table[4];
    load_table(table, values);
    for (size_t i = 0; i < pairs; i += 16) {
        const uint8x16_t symbol = vld1q_u8(symbols + i), raw = vld1q_u8(raw_plane + i);
        uint8x16x2_t pair = { { look_up(table, left_over(raw, symbol, 4)),
                                look_up(table, right_under(symbol, raw, 4)) } };
        if (ids) {
            const uint8x16x2_t other = vld2q_u8(dst + 2 * i);
            const uint8x16_t here = vceqq_u8(vld1q_u8(ids + i), vdupq_n_u8(id));
            pair.val[0] = vbslq_u8(here, pair.val[0], other.val[0]);
            pair.val[1] = vbslq_u8(here, pair.val[1], other.val[1]);
        }
        vst2q_u8(dst + 2 * i, pair);
    }
}

void mmh_merge_neon(uint8_t *dst, const uint8_t *symbols, const struct mmh_planes *planes,
                    const uint8_t *const tails[3], size_t count, const struct mmh_split *split,
                    unsigned stream)
{
    if (split->pair_values && tails[0] && split->pair_tables > 2) { /* too many to look all up */
        mmh_merge_c(dst, symbols, planes, tails, count, split, stream);
        return;
    }
    if (split->pair_values) { /* one table fills half the registers: a pass for each */
        enum { BLOCK = 2048 };
        for (size_t i = 0; i < count; i += BLOCK) {
            const size_t n = MMH_MIN((size_t)BLOCK, count - i);
            merge_pairs(dst + 2 * i, symbols + i, planes->plane[0] + i, NULL, 0, n,
                        split->pair_values);
            if (tails[0] && split->pair_tables > 1)
                merge_pairs(dst + 2 * i, symbols + i, planes->plane[0] + i, tails[0] + i, 1, n,
                            split->pair_values + 256);
        }
        return;
    }
    if (merges_by_bytes(split)) {
#define SHAPE(element_bytes_, raw_bits_)                                                    \
    if (split->element_bytes == (element_bytes_) && split->raw_bits == (raw_bits_)) {       \
        merge_groups(dst, symbols, planes, tails, count, split, element_bytes_, raw_bits_); \
        return;                                                                             \
    }
        MERGE_SHAPES(SHAPE)
#undef SHAPE
    }
    if (split->element_bytes == 2)
        merge_words(dst, symbols, planes, tails, count, split, 2);
    else if (split->element_bytes == 4)
        merge_words(dst, symbols, planes, tails, count, split, 4);
    else
        merge_words(dst, symbols, planes, tails, count, split, 8);
}

void mmh_pairs_split_neon(uint8_t *symbols, uint8_t *raw, const uint8_t *src, size_t pairs,
                          const uint8_t *code)
{
    uint8x16x4_t table[4];
    size_t i = 0;
    load_table(table, code);
    for (; i + 16 <= pairs; i += 16) {
        const uint8x16x2_t pair = vld2q_u8(src + 2 * i);
        const uint8x16_t first = look_up(table, pair.val[0]), second = look_up(table, pair.val[1]);
        vst1q_u8(symbols + i, right_under(second, first, 4));
        if (raw)
            vst1q_u8(raw + i, left_over(first, second, 4));
    }
    mmh_pairs_split_c(symbols + i, raw ? raw + i : NULL, src + 2 * i, pairs - i, code);
}

void mmh_fence_neon(void)
{
}

/* ---- packed u16 ---- */

static void pack_group(uint8_t *dst, const struct mmh_planes *planes, size_t group,
                       const uint16_t *src, unsigned bits)
{
    uint8x16_t rest[4];
    if (bits == 16) {
        memcpy(dst + 128 * group, src, 128);
        return;
    }
    for (unsigned k = 0; k < 4; k++) {
        const uint16x8_t a = vld1q_u16(src + 16 * k), b = vld1q_u16(src + 16 * k + 8);
        const int below = -(int)(bits & 7);
        rest[k] = low_bytes(a, b);
        if (bits & 8)
            vst1q_u8(planes->plane[0] + MMH_GROUP * group + 16 * k,
                     low_bytes(shift(a, below), shift(b, below)));
    }
    put_any_fields(planes, group, rest, bits);
}

size_t mmh_pack_bits_neon(uint8_t *dst, const uint16_t *src, size_t count, unsigned bits)
{
    size_t groups = (count + MMH_GROUP - 1) / MMH_GROUP, whole = count / MMH_GROUP;
    struct mmh_planes planes;
    mmh_planes_in_row(&planes, dst, groups, bits);
    for (size_t g = 0; g < whole; g++)
        pack_group(dst, &planes, g, src + g * MMH_GROUP, bits);
    if (whole < groups) {
        uint16_t last[MMH_GROUP] = { 0 };
        memcpy(last, src + whole * MMH_GROUP, (count - whole * MMH_GROUP) * sizeof *src);
        pack_group(dst, &planes, whole, last, bits);
    }
    return 8 * bits * groups;
}

size_t mmh_unpack_bits_neon(uint16_t *dst, const uint8_t *src, size_t count, unsigned bits)
{
    size_t groups = (count + MMH_GROUP - 1) / MMH_GROUP;
    struct mmh_planes planes;
    mmh_planes_in_row(&planes, (uint8_t *)(uintptr_t)src, groups, bits); /* only read */
    if (bits == 16) {
        memcpy(dst, src, 128 * groups);
        return 128 * groups;
    }
    for (size_t g = 0; g < groups; g++) {
        uint8x16_t rest[4];
        get_any_fields(rest, &planes, g, bits);
        for (unsigned k = 0; k < 4; k++) {
            uint16x8_t a = low_half_words(rest[k]), b = vmovl_high_u8(rest[k]);
            if (bits & 8) {
                const uint8x16_t top = vld1q_u8(planes.plane[0] + MMH_GROUP * g + 16 * k);
                a = vorrq_u16(a, shift(low_half_words(top), (int)(bits & 7)));
                b = vorrq_u16(b, shift(vmovl_high_u8(top), (int)(bits & 7)));
            }
            vst1q_u16(dst + MMH_GROUP * g + 16 * k, a);
            vst1q_u16(dst + MMH_GROUP * g + 16 * k + 8, b);
        }
    }
    return 8 * bits * groups;
}

/* ---- whole elements ---- */

void mmh_bits_used_neon(uint64_t *any, uint64_t *all, const uint8_t *src, size_t count,
                        unsigned element_bytes)
{
    size_t bytes = count * element_bytes, i = 0;
    uint8x16_t ors[2] = { vdupq_n_u8(0), vdupq_n_u8(0) };
    uint8x16_t ands[2] = { vdupq_n_u8(255), vdupq_n_u8(255) };
    for (; bytes - i >= 32; i += 32)
        for (unsigned half = 0; half < 2; half++) {
            const uint8x16_t value = vld1q_u8(src + i + 16 * half);
            ors[half] = vorrq_u8(ors[half], value);
            ands[half] = vandq_u8(ands[half], value);
        }
    /* The C code folds what is left, with the words of each as elements. */
    uint8_t bytes_any[16], bytes_all[16];
    uint64_t rest[2], unused;
    vst1q_u8(bytes_any, vorrq_u8(ors[0], ors[1]));
    vst1q_u8(bytes_all, vandq_u8(ands[0], ands[1]));
    mmh_bits_used_c(any, &unused, bytes_any, 16 / element_bytes, element_bytes);
    mmh_bits_used_c(&unused, all, bytes_all, 16 / element_bytes, element_bytes);
    mmh_bits_used_c(&rest[0], &rest[1], src + i, (bytes - i) / element_bytes, element_bytes);
    *any |= rest[0];
    *all &= rest[1];
}

void mmh_swap_bytes_neon(uint8_t *dst, const uint8_t *src, size_t count, unsigned element_bytes)
{
    size_t bytes = count * element_bytes, i = 0;
    for (; bytes - i >= 16; i += 16) {
        const uint8x16_t x = vld1q_u8(src + i);
        vst1q_u8(dst + i, element_bytes == 2   ? vrev16q_u8(x)
                          : element_bytes == 4 ? vrev32q_u8(x)
                                               : vrev64q_u8(x));
    }
    mmh_swap_bytes_c(dst + i, src + i, (bytes - i) / element_bytes, element_bytes);
}
