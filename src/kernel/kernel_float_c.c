/*
 * Splitting floats into symbols, bit planes and tails, and back: the reference, plain C.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Each step is a loop without branches over a run of elements, in an array of its own, so that
 * compilers turn it into vector code for any machine. By counts that are known only at run time,
 * words are shifted down four in a u64 and shifted up by multiplying them: baseline x86-64 has no
 * other way that compilers find.
 */
#include "kernel/kernel_private.h"

enum { RUN = 8 * MMH_GROUP }; /* elements between two steps */

/* dst[i] = src[i] >> by & mask of n words, whole groups. mask has no bits that a shift of one word
 * alone would not leave. */
MMH_INLINE void words_down(uint16_t *restrict dst, const uint16_t *restrict src, size_t n,
                           unsigned by, uint16_t mask)
{
    const uint64_t masks = mask * (uint64_t)0x0001000100010001;
    for (size_t i = 0; i < n; i += 4) {
        uint64_t word;
        memcpy(&word, src + i, sizeof word);
        word = word >> by & masks;
        memcpy(dst + i, &word, sizeof word);
    }
}

/* value << by, by at most 15. */
MMH_INLINE uint16_t shift_up(uint16_t value, unsigned by)
{
    return (uint16_t)((uint32_t)value * (uint16_t)(1u << by));
}

/* ---- the planes of one group, from and to 64 bytes, eight in a word ---- */

static const uint64_t every_byte = 0x0101010101010101;

/* Write the planes of 4, 2 and 1 bits of the low `bits` & 7 of each byte. */
MMH_INLINE void put_fields(const struct mmh_planes *planes, size_t group, const uint8_t *value,
                           unsigned bits)
{
    uint64_t word[8];
    for (unsigned i = 0; i < 8; i++)
        word[i] = mmh_load64(value + 8 * i);
    if (bits & 4)
        for (unsigned i = 0; i < 4; i++) {
            uint64_t low = word[i] >> (bits & 3) & 15 * every_byte;
            uint64_t high = word[i + 4] >> (bits & 3) & 15 * every_byte;
            mmh_store64(planes->plane[1] + 32 * group + 8 * i, low | high << 4);
        }
    if (bits & 2)
        for (unsigned i = 0; i < 2; i++) {
            uint64_t sum = 0;
            for (unsigned k = 0; k < 4; k++)
                sum |= (word[i + 2 * k] >> (bits & 1) & 3 * every_byte) << 2 * k;
            mmh_store64(planes->plane[2] + 16 * group + 8 * i, sum);
        }
    if (bits & 1) {
        uint64_t sum = 0;
        for (unsigned k = 0; k < 8; k++)
            sum |= (word[k] & every_byte) << k;
        mmh_store64(planes->plane[3] + 8 * group, sum);
    }
}

/* The other way: 64 bytes of `bits` & 7 bits. */
MMH_INLINE void get_fields(uint8_t *value, const struct mmh_planes *planes, size_t group,
                           unsigned bits)
{
    uint64_t word[8] = { 0 };
    if (bits & 4)
        for (unsigned i = 0; i < 4; i++) {
            uint64_t field = mmh_load64(planes->plane[1] + 32 * group + 8 * i);
            word[i] = (field & 15 * every_byte) << (bits & 3);
            word[i + 4] = (field >> 4 & 15 * every_byte) << (bits & 3);
        }
    if (bits & 2)
        for (unsigned i = 0; i < 2; i++) {
            uint64_t field = mmh_load64(planes->plane[2] + 16 * group + 8 * i);
            for (unsigned k = 0; k < 4; k++)
                word[i + 2 * k] |= (field >> 2 * k & 3 * every_byte) << (bits & 1);
        }
    if (bits & 1) {
        uint64_t field = mmh_load64(planes->plane[3] + 8 * group);
        for (unsigned k = 0; k < 8; k++)
            word[k] |= field >> k & every_byte;
    }
    for (unsigned i = 0; i < 8; i++)
        mmh_store64(value + 8 * i, word[i]);
}

/* Pack the low `bits` (below 16) of n words, whole groups, from group `group` on; and back. */
MMH_INLINE void put_run(const struct mmh_planes *planes, size_t group,
                        const uint16_t *restrict value, size_t n, unsigned bits)
{
    if (bits & 8) {
        uint8_t *restrict top = planes->plane[0] + 64 * group;
        uint16_t word[RUN];
        words_down(word, value, n, bits & 7, 0xff);
        for (size_t i = 0; i < n; i++)
            top[i] = (uint8_t)word[i];
    }
    if (bits & 7) {
        uint8_t low[RUN];
        for (size_t i = 0; i < n; i++)
            low[i] = (uint8_t)value[i];
        for (size_t i = 0; i < n; i += MMH_GROUP)
            put_fields(planes, group + i / MMH_GROUP, low + i, bits);
    }
}

MMH_INLINE void get_run(uint16_t *restrict value, const struct mmh_planes *planes, size_t group,
                        size_t n, unsigned bits)
{
    const uint8_t *restrict top = bits & 8 ? planes->plane[0] + 64 * group : NULL;
    uint8_t low[RUN];
    if (bits & 7)
        for (size_t i = 0; i < n; i += MMH_GROUP)
            get_fields(low + i, planes, group + i / MMH_GROUP, bits);
    if (bits == 8) {
        for (size_t i = 0; i < n; i++)
            value[i] = top[i];
    } else if (bits & 8) {
        for (size_t i = 0; i < n; i++)
            value[i] = (uint16_t)(shift_up(top[i], bits & 7) | low[i]);
    } else if (bits) {
        for (size_t i = 0; i < n; i++)
            value[i] = low[i];
    } else {
        memset(value, 0, n * sizeof *value);
    }
}

/* ---- split ---- */

MMH_INLINE void load_run(uint16_t *restrict key, uint8_t *const tails[3], size_t first,
                         const uint8_t *restrict src, size_t n, unsigned element_bytes)
{
    uint8_t *restrict tail[3] = { NULL };
    for (unsigned p = 0; tails && p < element_bytes / 2 - 1; p++)
        tail[p] = tails[p] + 2 * first;
    if (element_bytes == 2) {
        for (size_t i = 0; i < n; i++)
            key[i] = mmh_rotl16(mmh_load16(src + 2 * i), 1);
    } else if (element_bytes == 4) {
        for (size_t i = 0; i < n; i++)
            key[i] = (uint16_t)(mmh_load32(src + 4 * i) >> 16);
        for (size_t i = 0; i < n; i++)
            key[i] = mmh_rotl16(key[i], 1);
        for (size_t i = 0; tails && i < n; i++)
            mmh_store16(tail[0] + 2 * i, (uint16_t)mmh_load32(src + 4 * i));
    } else {
        for (size_t i = 0; i < n; i++)
            key[i] = mmh_rotl16(mmh_load16(src + 8 * i + 6), 1);
        for (size_t i = 0; tails && i < n; i++) {
            mmh_store16(tail[0] + 2 * i, mmh_load16(src + 8 * i + 4));
            mmh_store16(tail[1] + 2 * i, mmh_load16(src + 8 * i + 2));
            mmh_store16(tail[2] + 2 * i, mmh_load16(src + 8 * i));
        }
    }
}

/* Symbol bytes of a run with a window; patches are appended. */
MMH_INLINE size_t window_run(uint8_t *restrict out, uint32_t *restrict patches, size_t patch_count,
                             const uint16_t *restrict symbols, size_t first, size_t n,
                             const struct mmh_split *split)
{
    const uint16_t low = split->symbol_low, base = split->window_base;
    const uint16_t span = (uint16_t)(255 - low), patch = split->patch_symbol;
    uint16_t outside[RUN], byte[RUN];
    for (size_t i = 0; i < n; i++) {
        uint16_t symbol = symbols[i];
        uint16_t moved = (uint16_t)(symbol - base), above = (uint16_t)(moved - low);
        uint16_t kept = symbol < low ? symbol : moved;
        uint16_t far = above > span ? 0xffff : 0;
        far = symbol < low ? 0 : far;
        outside[i] = far;
        byte[i] = (uint16_t)((kept & ~far) | (patch & far));
    }
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)byte[i];
    for (size_t i = 0; i < n; i += 4) {
        uint64_t any;
        memcpy(&any, outside + i, sizeof any);
        for (size_t j = i; any && j < i + 4; j++)
            if (outside[j])
                patches[patch_count++] = (uint32_t)(first + j);
    }
    return patch_count;
}

MMH_INLINE size_t split_runs(uint8_t *symbols, const struct mmh_planes *planes,
                             uint8_t *const tails[3], uint32_t *patches, const uint8_t *src,
                             size_t count, const struct mmh_split *split, unsigned element_bytes,
                             unsigned raw_bits, unsigned stored_bits, bool plain, bool windowed)
{
    const struct mmh_raw_form form = mmh_raw_form(split);
    const uint16_t raw_mask = (uint16_t)((1u << raw_bits) - 1);
    size_t patch_count = 0;
    for (size_t first = 0; first < count; first += RUN) {
        uint16_t key[RUN], symbol[RUN], stored[RUN];
        uint8_t *restrict out = symbols + first;
        size_t n = MMH_MIN((size_t)RUN, count - first);
        load_run(key, tails, first, src + first * element_bytes, n, element_bytes);
        if (raw_bits == 8 && stored_bits == 8 && plain && !windowed) {
            uint8_t *restrict plane = planes->plane[0] + first;
            for (size_t i = 0; i < n; i++)
                out[i] = (uint8_t)(key[i] >> 8);
            for (size_t i = 0; i < n; i++)
                plane[i] = (uint8_t)key[i];
            continue;
        }
        words_down(symbol, key, n, raw_bits, (uint16_t)(0xffff >> raw_bits));
        if (windowed)
            patch_count = window_run(out, patches, patch_count, symbol, first, n, split);
        else
            for (size_t i = 0; i < n; i++)
                out[i] = (uint8_t)symbol[i];
        if (!stored_bits)
            continue;
        if (plain) {
            for (size_t i = 0; i < n; i++)
                stored[i] = key[i] & raw_mask;
        } else {
            words_down(stored, key, n, form.shift, form.high & (raw_mask >> form.shift));
            for (size_t i = 0; i < n; i++)
                stored[i] |= key[i] & form.low;
        }
        put_run(planes, first / MMH_GROUP, stored, n, stored_bits);
    }
    return patch_count;
}

size_t mmh_split_c(uint8_t *symbols, const struct mmh_planes *planes, uint8_t *const tails[3],
                   uint32_t *patches, const uint8_t *src, size_t count,
                   const struct mmh_split *split)
{
    const bool plain = mmh_split_plain(split), windowed = mmh_split_windowed(split);
    const unsigned raw = split->raw_bits, stored = split->stored_bits;
#define SPLIT(element_bytes, raw_bits, stored_bits, plain_raw, with_window)                 \
    split_runs(symbols, planes, tails, patches, src, count, split, element_bytes, raw_bits, \
               stored_bits, plain_raw, with_window)
    switch (split->element_bytes) {
    case 2:
        if (plain && !windowed && stored == 8)
            return SPLIT(2, 8, 8, true, false);
        if (plain && !windowed && stored == 11)
            return SPLIT(2, 11, 11, true, false);
        return SPLIT(2, raw, stored, false, windowed);
    case 4:
        if (plain && !windowed && stored == 8)
            return SPLIT(4, 8, 8, true, false);
        return SPLIT(4, raw, stored, false, windowed);
    default:
        return SPLIT(8, raw, stored, false, windowed);
    }
#undef SPLIT
}

/* ---- merge ---- */

MMH_INLINE void merge_runs(uint8_t *dst, const uint8_t *symbols, const struct mmh_planes *planes,
                           const uint8_t *const tails[3], size_t count,
                           const struct mmh_split *split, unsigned element_bytes, unsigned raw_bits,
                           unsigned stored_bits, bool plain, bool windowed)
{
    const struct mmh_raw_form form = mmh_raw_form(split);
    const uint16_t low = split->symbol_low, base = split->window_base;
    for (size_t first = 0; first < count; first += RUN) {
        uint16_t key[RUN], raw[RUN];
        const uint8_t *restrict in = symbols + first;
        uint8_t *restrict out = dst + first * element_bytes;
        const uint8_t *restrict tail[3] = { NULL };
        size_t n = MMH_MIN((size_t)RUN, count - first);
        for (unsigned p = 0; p < element_bytes / 2 - 1; p++)
            tail[p] = tails[p] + 2 * first;
        get_run(raw, planes, first / MMH_GROUP, n, stored_bits);
        if (!plain)
            for (size_t i = 0; i < n; i++)
                raw[i] = (uint16_t)(shift_up(raw[i] & form.high, form.shift) | (raw[i] & form.low) |
                                    form.sign);
        if (windowed)
            for (size_t i = 0; i < n; i++) {
                uint16_t symbol = in[i];
                symbol = (uint16_t)(symbol + (symbol < low ? 0 : base));
                key[i] = (uint16_t)(shift_up(symbol, raw_bits) | raw[i]);
            }
        else
            for (size_t i = 0; i < n; i++)
                key[i] = (uint16_t)(shift_up(in[i], raw_bits) | raw[i]);
        if (element_bytes == 2) {
            for (size_t i = 0; i < n; i++)
                mmh_store16(out + 2 * i, mmh_rotr16(key[i], 1));
        } else if (element_bytes == 4) {
            for (size_t i = 0; i < n; i++)
                mmh_store32(out + 4 * i,
                            (uint32_t)mmh_rotr16(key[i], 1) << 16 | mmh_load16(tail[0] + 2 * i));
        } else {
            for (size_t i = 0; i < n; i++) {
                uint32_t high = (uint32_t)mmh_rotr16(key[i], 1) << 16 | mmh_load16(tail[0] + 2 * i);
                uint32_t rest = (uint32_t)mmh_load16(tail[1] + 2 * i) << 16 |
                                mmh_load16(tail[2] + 2 * i);
                mmh_store64(out + 8 * i, (uint64_t)high << 32 | rest);
            }
        }
    }
}

static void merge_pairs(uint8_t *dst, const uint8_t *symbols, const uint8_t *raw,
                        const uint8_t *ids, size_t pairs, const uint8_t *values)
{
    for (size_t i = 0; i < pairs; i++) {
        const uint8_t *table = values + (ids ? 256 * (size_t)ids[i] : 0);
        dst[2 * i] = table[(symbols[i] & 15) << 4 | (raw[i] & 15)];
        dst[2 * i + 1] = table[(symbols[i] & 240) | raw[i] >> 4];
    }
}

void mmh_pairs_split_c(uint8_t *symbols, uint8_t *raw, const uint8_t *src, size_t pairs,
                       const uint8_t *code)
{
    for (size_t i = 0; i < pairs; i++) {
        unsigned first = code[src[2 * i]], second = code[src[2 * i + 1]];
        symbols[i] = (uint8_t)(first >> 4 | (second & 240));
        if (raw)
            raw[i] = (uint8_t)((first & 15) | second << 4);
    }
}

void mmh_merge_c(uint8_t *dst, const uint8_t *symbols, const struct mmh_planes *planes,
                 const uint8_t *const tails[3], size_t count, const struct mmh_split *split,
                 unsigned stream)
{
    const bool plain = mmh_split_plain(split), windowed = split->window_base != 0;
    const unsigned raw = split->raw_bits, stored = split->stored_bits;
    (void)stream; /* plain C has no such stores */
    if (split->pair_values) {
        merge_pairs(dst, symbols, planes->plane[0], tails[0], count, split->pair_values);
        return;
    }
#define MERGE(element_bytes, raw_bits, stored_bits, plain_raw, with_window)                     \
    merge_runs(dst, symbols, planes, tails, count, split, element_bytes, raw_bits, stored_bits, \
               plain_raw, with_window)
    switch (split->element_bytes) {
    case 2:
        if (plain && !windowed && stored == 8)
            MERGE(2, 8, 8, true, false);
        else if (plain && !windowed && stored == 11)
            MERGE(2, 11, 11, true, false);
        else
            MERGE(2, raw, stored, false, windowed);
        return;
    case 4:
        if (plain && !windowed && stored == 8)
            MERGE(4, 8, 8, true, false);
        else
            MERGE(4, raw, stored, false, windowed);
        return;
    default:
        MERGE(8, raw, stored, false, windowed);
        return;
    }
#undef MERGE
}

void mmh_fence_c(void)
{
}

/* ---- packed u16 ---- */

size_t mmh_pack_bits_c(uint8_t *dst, const uint16_t *src, size_t count, unsigned bits)
{
    size_t groups = (count + MMH_GROUP - 1) / MMH_GROUP;
    struct mmh_planes planes;
    mmh_planes_in_row(&planes, dst, groups, bits);
    for (size_t first = 0; first < count; first += RUN) {
        uint16_t value[RUN];
        size_t n = MMH_MIN((size_t)RUN, count - first), padded = mmh_round_up(n, MMH_GROUP);
        memcpy(value, src + first, n * sizeof *src);
        memset(value + n, 0, (padded - n) * sizeof *value);
        if (bits == 16) {
            for (size_t i = 0; i < padded; i++)
                mmh_store16(dst + 2 * (first + i), value[i]);
        } else {
            put_run(&planes, first / MMH_GROUP, value, padded, bits);
        }
    }
    return 8 * bits * groups;
}

size_t mmh_unpack_bits_c(uint16_t *dst, const uint8_t *src, size_t count, unsigned bits)
{
    size_t groups = (count + MMH_GROUP - 1) / MMH_GROUP;
    struct mmh_planes planes;
    mmh_planes_in_row(&planes, (uint8_t *)(uintptr_t)src, groups, bits); /* only read */
    for (size_t first = 0; first < count; first += RUN) {
        size_t padded = mmh_round_up(MMH_MIN((size_t)RUN, count - first), MMH_GROUP);
        if (bits == 16)
            for (size_t i = 0; i < padded; i++)
                dst[first + i] = mmh_load16(src + 2 * (first + i));
        else
            get_run(dst + first, &planes, first / MMH_GROUP, padded, bits);
    }
    return 8 * bits * groups;
}

/* ---- whole elements ---- */

void mmh_bits_used_c(uint64_t *any, uint64_t *all, const uint8_t *src, size_t count,
                     unsigned element_bytes)
{
    const uint64_t width = element_bytes == 8 ? ~0ull : (1ull << 8 * element_bytes) - 1;
    uint64_t ors = 0, ands = ~0ull;
    size_t bytes = count * element_bytes, i = 0;
    for (; bytes - i >= 8; i += 8) {
        uint64_t word = mmh_load64(src + i);
        ors |= word;
        ands &= word;
    }
    /* Fold the elements of a word onto the lowest, then take the few that are left. */
    for (unsigned fold = 32; fold >= 8 * element_bytes; fold /= 2) {
        ors |= ors >> fold;
        ands &= ands >> fold;
    }
    for (; i < bytes; i += element_bytes) {
        uint64_t element = element_bytes == 4 ? mmh_load32(src + i) : mmh_load16(src + i);
        ors |= element;
        ands &= element;
    }
    *any = ors & width;
    *all = ands & width; /* cppcheck-suppress ctunullpointer ; no caller has NULL */
}

void mmh_swap_bytes_c(uint8_t *dst, const uint8_t *src, size_t count, unsigned element_bytes)
{
    if (element_bytes == 2)
        for (size_t i = 0; i < count; i++)
            mmh_store16(dst + 2 * i, mmh_swap16(mmh_load16(src + 2 * i)));
    else if (element_bytes == 4)
        for (size_t i = 0; i < count; i++)
            mmh_store32(dst + 4 * i, mmh_swap32(mmh_load32(src + 4 * i)));
    else
        for (size_t i = 0; i < count; i++)
            mmh_store64(dst + 8 * i, mmh_swap64(mmh_load64(src + 8 * i)));
}
