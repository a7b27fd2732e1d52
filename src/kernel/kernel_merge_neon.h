/*
 * Elements from symbols and raw bits with NEON, for those who have the symbols in registers.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The work goes by bytes, 16 elements at a time: a head is two vectors, of low and of high bytes.
 * Shifting with insertion (sli, sri) puts fields of bits together, one instruction for each, and
 * whatever stands in the bits that it replaces may be garbage: hardly anything needs a mask. The
 * bytes meet in a store that interleaves (st2).
 */
#ifndef MMH_KERNEL_MERGE_NEON_H
#define MMH_KERNEL_MERGE_NEON_H

#include <arm_neon.h>

#include "kernel/kernel_private.h"

/* ---- shifts by counts that are known when this is compiled ---- */

MMH_INLINE uint8x16_t left(uint8x16_t x, unsigned by)
{
    return x << vdupq_n_u8((uint8_t)by);
}

MMH_INLINE uint8x16_t right(uint8x16_t x, unsigned by)
{
    return x >> vdupq_n_u8((uint8_t)by);
}

/* x << by, and below that the low `by` (0..7) bits of `below`. */
MMH_INLINE uint8x16_t left_over(uint8x16_t below, uint8x16_t x, unsigned by)
{
    switch (by) {
    case 0:
        return x;
    case 1:
        return vsliq_n_u8(below, x, 1);
    case 2:
        return vsliq_n_u8(below, x, 2);
    case 3:
        return vsliq_n_u8(below, x, 3);
    case 4:
        return vsliq_n_u8(below, x, 4);
    case 5:
        return vsliq_n_u8(below, x, 5);
    case 6:
        return vsliq_n_u8(below, x, 6);
    default:
        return vsliq_n_u8(below, x, 7);
    }
}

/* x >> by, and above that the high `by` (0..7) bits of `above`. */
MMH_INLINE uint8x16_t right_under(uint8x16_t above, uint8x16_t x, unsigned by)
{
    switch (by) {
    case 0:
        return x;
    case 1:
        return vsriq_n_u8(above, x, 1);
    case 2:
        return vsriq_n_u8(above, x, 2);
    case 3:
        return vsriq_n_u8(above, x, 3);
    case 4:
        return vsriq_n_u8(above, x, 4);
    case 5:
        return vsriq_n_u8(above, x, 5);
    case 6:
        return vsriq_n_u8(above, x, 6);
    default:
        return vsriq_n_u8(above, x, 7);
    }
}

/* ---- planes ---- */

/* The planes of 4, 2 and 1 bits of one group. */
struct fields {
    uint8x16_t four[2], two, one;
};

/* Only those that `bits` calls for. */
MMH_INLINE struct fields load_fields(const struct mmh_planes *planes, size_t group, unsigned bits)
{
    struct fields fields;
    fields.four[0] = fields.four[1] = fields.two = fields.one = vdupq_n_u8(0);
    if (bits & 4) {
        fields.four[0] = vld1q_u8(planes->plane[1] + 32 * group);
        fields.four[1] = vld1q_u8(planes->plane[1] + 32 * group + 16);
    }
    if (bits & 2)
        fields.two = vld1q_u8(planes->plane[2] + 16 * group);
    if (bits & 1) { /* elements 8..15 are in bit 1 of what 0..7 are in */
        const uint8x8_t one = vld1_u8(planes->plane[3] + 8 * group);
        fields.one = vcombine_u8(one, vshr_n_u8(one, 1));
    }
    return fields;
}

/* The low `bits` & 7 bits of elements 16 * k .. 16 * k + 15, garbage above them. */
MMH_INLINE uint8x16_t low_bits(const struct fields *fields, unsigned bits, unsigned k)
{
    uint8x16_t x = right(fields->one, 2 * k);
    if (bits & 2)
        x = left_over(x, right(fields->two, 2 * k), bits & 1);
    if (bits & 4)
        x = left_over(x, right(fields->four[k & 1], k & 2 ? 4 : 0), bits & 3);
    return x;
}

/* ---- elements ---- */

MMH_INLINE uint16x8_t words_at(const uint8_t *at)
{
    return vreinterpretq_u16_u8(vld1q_u8(at));
}

/* Write 8 elements from `first` on: these heads, and their tails. */
MMH_INLINE void store_heads(uint8_t *dst, uint16x8_t head, const uint8_t *const tails[3],
                            size_t first, unsigned element_bytes)
{
    uint16_t *at = (uint16_t *)(void *)(dst + first * element_bytes); /* of any alignment */
    if (element_bytes == 2) {
        vst1q_u8(dst + 2 * first, vreinterpretq_u8_u16(head));
    } else if (element_bytes == 4) {
        const uint16x8x2_t words = { { words_at(tails[0] + 2 * first), head } };
        vst2q_u16(at, words);
    } else {
        const uint16x8x4_t words = { { words_at(tails[2] + 2 * first),
                                       words_at(tails[1] + 2 * first),
                                       words_at(tails[0] + 2 * first), head } };
        vst4q_u16(at, words);
    }
}

/* Write 16 elements by the bytes of their heads. */
MMH_INLINE void store_bytes(uint8_t *dst, uint8x16_t low, uint8x16_t high,
                            const uint8_t *const tails[3], size_t first, unsigned element_bytes)
{
    if (element_bytes == 2) {
        const uint8x16x2_t bytes = { { low, high } };
        vst2q_u8(dst + 2 * first, bytes);
        return;
    }
    store_heads(dst, vreinterpretq_u16_u8(vzip1q_u8(low, high)), tails, first, element_bytes);
    store_heads(dst, vreinterpretq_u16_u8(vzip2q_u8(low, high)), tails, first + 8, element_bytes);
}

/* Where the parts of a run lie, and its window. */
struct merge_form {
    struct mmh_planes planes;
    const uint8_t *tails[3];
    uint8x16_t symbol_low, base_low, base_high;
};

MMH_INLINE struct merge_form merge_form_of(const struct mmh_planes *planes,
                                           const uint8_t *const tails[3],
                                           const struct mmh_split *split, unsigned element_bytes)
{
    struct merge_form form = { .planes = *planes,
                               .symbol_low = vdupq_n_u8(split->symbol_low),
                               .base_low = vdupq_n_u8((uint8_t)split->window_base),
                               .base_high = vdupq_n_u8((uint8_t)(split->window_base >> 8)) };
    for (unsigned p = 0; p < element_bytes / 2 - 1; p++)
        form.tails[p] = tails[p];
    return form;
}

/* Whether a split is merged by merge_group: all raw bits are stored, and only symbols of more than
 * eight bits have a window. */
MMH_INLINE bool merges_by_bytes(const struct mmh_split *split)
{
    return mmh_split_plain(split) && split->raw_bits >= 6 && split->raw_bits <= 11 &&
           split->stored_bits == split->raw_bits && split->element_bytes <= 4 &&
           (split->raw_bits < 8 || !split->window_base);
}

/*
 * Write the elements of group `group` of a run from their symbols. raw_bits, 6..11, and
 * element_bytes, 2 or 4, are known when this is compiled.
 */
MMH_INLINE void merge_group(uint8_t *dst, const uint8x16_t symbols[4],
                            const struct merge_form *form, size_t group, unsigned element_bytes,
                            unsigned raw_bits)
{
    const struct fields fields = load_fields(&form->planes, group, raw_bits);
    const unsigned more = raw_bits & 7; /* of raw_bits above 8: stand below a whole byte */
    MMH_UNROLL
    for (unsigned k = 0; k < 4; k++) {
        const size_t first = MMH_GROUP * group + 16 * k;
        const uint8x16_t rest = low_bits(&fields, raw_bits, k);
        uint8x16_t low, high, symbol = symbols[k];
        if (raw_bits < 8) { /* a symbol has 16 - raw_bits bits, in two bytes */
            const uint8x16_t below = vcgtq_u8(form->symbol_low, symbol);
            const uint8x16_t moved = vaddq_u8(symbol, vbicq_u8(form->base_low, below));
            const uint8x16_t carry = vcgtq_u8(symbol, moved);
            const uint8x16_t top = vsubq_u8(vbicq_u8(form->base_high, below), carry);
            high = right_under(left(top, raw_bits - 1), moved, 9 - raw_bits);
            high = left_over(high, rest, 7);
            low = left_over(right(rest, 1), moved, raw_bits - 1);
        } else if (raw_bits == 8) {
            const uint8x16_t raw = vld1q_u8(form->planes.plane[0] + first);
            high = left_over(right(symbol, 1), raw, 7);
            low = left_over(right(raw, 1), symbol, 7);
        } else {
            const uint8x16_t raw = vld1q_u8(form->planes.plane[0] + first);
            const uint8x16_t key_high = left_over(right(raw, 8 - more), symbol, more);
            const uint8x16_t key_low = left_over(rest, raw, more);
            high = left_over(right(key_high, 1), key_low, 7);
            low = right_under(left(key_high, 7), key_low, 1);
        }
        store_bytes(dst, low, high, form->tails, first, element_bytes);
    }
}

/* X(element bytes, raw bits): what merge_group is made for. */
#define MERGE_SHAPES(X) X(2, 8) X(4, 8) X(2, 6) X(4, 6) X(2, 7) X(4, 7) X(2, 11) X(2, 10) X(2, 9)

#endif
