/*
 * Splitting floats into symbols, bit planes and tails, and back, with AVX2: a group at a time.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * As kernel_float_avx512.c, but a group of 64 is four vectors of words or two of bytes, and what
 * packs or interleaves within lanes is put in order by a permutation.
 */
#include "kernel/kernel_merge_avx2.h"

/* ---- the planes of one group, from and to 64 bytes ---- */

/* Write the planes of 4, 2 and 1 bits of the low `bits` & 7 of each byte. */
MMH_INLINE void put_fields(const struct mmh_planes *planes, size_t group, const __m256i value[2],
                           unsigned bits)
{
    if (bits & 4) {
        __m128i down = shift_by(bits & 3);
        __m256i a = _mm256_and_si256(_mm256_srl_epi16(value[0], down), bytes_of(15));
        __m256i b = _mm256_and_si256(_mm256_srl_epi16(value[1], down), bytes_of(15));
        store(planes->plane[1] + 32 * group, _mm256_or_si256(a, _mm256_slli_epi16(b, 4)));
    }
    if (bits & 2) {
        __m128i down = shift_by(bits & 1);
        __m256i a = _mm256_and_si256(_mm256_srl_epi16(value[0], down), bytes_of(3));
        __m256i b = _mm256_and_si256(_mm256_srl_epi16(value[1], down), bytes_of(3));
        a = _mm256_or_si256(a, _mm256_slli_epi16(b, 4));
        _mm_storeu_si128((__m128i *)(void *)(planes->plane[2] + 16 * group),
                         _mm_or_si128(_mm256_castsi256_si128(a),
                                      _mm_slli_epi16(_mm256_extracti128_si256(a, 1), 2)));
    }
    if (bits & 1) {
        __m256i a = _mm256_and_si256(value[0], bytes_of(1));
        __m256i b = _mm256_and_si256(value[1], bytes_of(1));
        a = _mm256_or_si256(a, _mm256_slli_epi16(b, 4));
        a = _mm256_sllv_epi64(a, _mm256_setr_epi64x(0, 1, 2, 3));
        __m128i half = _mm_or_si128(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
        _mm_storel_epi64((__m128i *)(void *)(planes->plane[3] + 8 * group),
                         _mm_or_si128(half, _mm_unpackhi_epi64(half, half)));
    }
}

/* The other way: 64 bytes of `bits` & 7 bits. */
MMH_INLINE void get_fields(__m256i value[2], const struct mmh_planes *planes, size_t group,
                           unsigned bits)
{
    value[0] = value[1] = _mm256_setzero_si256();
    if (bits & 4) {
        __m256i field = load(planes->plane[1] + 32 * group);
        __m128i up = shift_by(bits & 3);
        value[0] = _mm256_sll_epi16(_mm256_and_si256(field, bytes_of(15)), up);
        value[1] = _mm256_sll_epi16(_mm256_and_si256(_mm256_srli_epi16(field, 4), bytes_of(15)),
                                    up);
    }
    if (bits & 2) {
        __m256i field = _mm256_broadcastsi128_si256(load_half(planes->plane[2] + 16 * group));
        __m128i up = shift_by(bits & 1);
        __m256i a = _mm256_srlv_epi64(field, _mm256_setr_epi64x(0, 0, 2, 2));
        __m256i b = _mm256_srlv_epi64(field, _mm256_setr_epi64x(4, 4, 6, 6));
        a = _mm256_sll_epi16(_mm256_and_si256(a, bytes_of(3)), up);
        b = _mm256_sll_epi16(_mm256_and_si256(b, bytes_of(3)), up);
        value[0] = _mm256_or_si256(value[0], a);
        value[1] = _mm256_or_si256(value[1], b);
    }
    if (bits & 1) {
        __m256i field = _mm256_set1_epi64x((long long)mmh_load64(planes->plane[3] + 8 * group));
        __m256i a = _mm256_srlv_epi64(field, _mm256_setr_epi64x(0, 1, 2, 3));
        __m256i b = _mm256_srlv_epi64(field, _mm256_setr_epi64x(4, 5, 6, 7));
        value[0] = _mm256_or_si256(value[0], _mm256_and_si256(a, bytes_of(1)));
        value[1] = _mm256_or_si256(value[1], _mm256_and_si256(b, bytes_of(1)));
    }
}

/* ---- split ---- */

MMH_INLINE void load_heads(__m256i head[4], uint8_t *const tails[3], size_t first,
                           const uint8_t *src, unsigned element_bytes)
{
    for (unsigned part = 0; part < 4; part++, first += 16, src += 16 * element_bytes) {
        if (element_bytes == 2) {
            head[part] = load(src);
        } else if (element_bytes == 4) {
            const __m256i word = _mm256_set1_epi32(0xffff);
            __m256i a = load(src), b = load(src + 32);
            head[part] =
                order(_mm256_packus_epi32(_mm256_srli_epi32(a, 16), _mm256_srli_epi32(b, 16)));
            if (tails)
                store(tails[0] + 2 * first, order(_mm256_packus_epi32(_mm256_and_si256(a, word),
                                                                      _mm256_and_si256(b, word))));
        } else {
            /* Both packings work within lanes: pairs of elements come out as 0, 2, 4, 6, 1, ... */
            const __m256i pairs = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
            const __m256i word = _mm256_set1_epi32(0xffff);
            __m256i dword[2][2]; /* the high and the low halves */
            for (unsigned i = 0; i < 2; i++) {
                __m256 a = _mm256_castsi256_ps(load(src + 64 * i));
                __m256 b = _mm256_castsi256_ps(load(src + 64 * i + 32));
                dword[0][i] = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xdd));
                dword[1][i] = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88));
            }
            for (unsigned d = 0; d < 2; d++) {
                if (d && !tails)
                    break;
                __m256i high = _mm256_packus_epi32(_mm256_srli_epi32(dword[d][0], 16),
                                                   _mm256_srli_epi32(dword[d][1], 16));
                __m256i low = _mm256_packus_epi32(_mm256_and_si256(dword[d][0], word),
                                                  _mm256_and_si256(dword[d][1], word));
                high = _mm256_permutevar8x32_epi32(high, pairs);
                low = _mm256_permutevar8x32_epi32(low, pairs);
                if (d)
                    store(tails[1] + 2 * first, high);
                else
                    head[part] = high;
                if (tails)
                    store(tails[2 * d] + 2 * first, low);
            }
        }
    }
}

MMH_INLINE size_t split_groups(uint8_t *symbols, const struct mmh_planes *planes_in,
                               uint8_t *const tails[3], uint32_t *patches, const uint8_t *src,
                               size_t count, const struct mmh_split *split, unsigned element_bytes,
                               unsigned raw_bits, unsigned stored_bits, bool plain, bool windowed)
{
    const struct mmh_planes planes = *planes_in; /* stores cannot change a copy */
    const struct mmh_raw_form form = mmh_raw_form(split);
    const __m256i raw_mask = words_of((1u << raw_bits) - 1), high = words_of(form.high),
                  low = words_of(form.low), base = words_of(split->window_base),
                  symbol_low = words_of(split->symbol_low),
                  span = words_of(255u - split->symbol_low), patch = words_of(split->patch_symbol);
    size_t patch_count = 0;
    for (size_t first = 0; first < count; first += MMH_GROUP) {
        __m256i key[4], symbol[4], stored[4], outside[4];
        load_heads(key, tails, first, src + first * element_bytes, element_bytes);
        for (unsigned part = 0; part < 4; part++) {
            key[part] = _mm256_or_si256(_mm256_slli_epi16(key[part], 1),
                                        _mm256_srli_epi16(key[part], 15));
            symbol[part] = _mm256_srl_epi16(key[part], shift_by(raw_bits));
            if (windowed) {
                __m256i moved = _mm256_sub_epi16(symbol[part], base);
                __m256i above = _mm256_sub_epi16(moved, symbol_low);
                __m256i is_moved = _mm256_cmpeq_epi16(_mm256_max_epu16(symbol[part], symbol_low),
                                                      symbol[part]);
                __m256i inside = _mm256_cmpeq_epi16(_mm256_min_epu16(above, span), above);
                outside[part] = _mm256_andnot_si256(inside, is_moved);
                symbol[part] = _mm256_blendv_epi8(symbol[part], moved, is_moved);
                symbol[part] = _mm256_blendv_epi8(symbol[part], patch, outside[part]);
            }
            stored[part] = _mm256_and_si256(key[part], raw_mask);
            if (!plain)
                stored[part] = _mm256_or_si256(
                    _mm256_and_si256(_mm256_srl_epi16(stored[part], shift_by(form.shift)), high),
                    _mm256_and_si256(stored[part], low));
        }
        if (windowed)
            for (unsigned half = 0; half < 2; half++) {
                __m256i bytes = order(_mm256_packs_epi16(outside[2 * half], outside[2 * half + 1]));
                uint32_t mask = (uint32_t)_mm256_movemask_epi8(bytes);
                for (; mask; mask &= mask - 1)
                    patches[patch_count++] = (uint32_t)(first + 32 * half + mmh_ctz32(mask));
            }
        __m256i rest[2];
        for (unsigned half = 0; half < 2; half++) {
            const __m256i *s = &stored[2 * half];
            store(symbols + first + 32 * half, pack_words(symbol[2 * half], symbol[2 * half + 1]));
            if (stored_bits & 8) {
                __m128i down = shift_by(stored_bits & 7);
                store(planes.plane[0] + first + 32 * half,
                      pack_words(_mm256_srl_epi16(s[0], down), _mm256_srl_epi16(s[1], down)));
            }
            rest[half] = low_bytes(s[0], s[1]);
        }
        if (stored_bits & 7)
            put_fields(&planes, first / MMH_GROUP, rest, stored_bits);
    }
    return patch_count;
}

size_t mmh_split_avx2(uint8_t *symbols, const struct mmh_planes *planes, uint8_t *const tails[3],
                      uint32_t *patches, const uint8_t *src, size_t count,
                      const struct mmh_split *split)
{
    const bool is_plain = mmh_split_plain(split), is_windowed = mmh_split_windowed(split);
    const unsigned raw = split->raw_bits, stored = split->stored_bits;
#define SPLIT(element_bytes, raw_bits, stored_bits, plain, windowed)                          \
    split_groups(symbols, planes, tails, patches, src, count, split, element_bytes, raw_bits, \
                 stored_bits, plain, windowed)
#define SHAPE(element_bytes_, raw_bits_, stored_bits_, plain, windowed)               \
    if (split->element_bytes == (element_bytes_) && raw == (raw_bits_) &&             \
        stored == (stored_bits_) && is_plain == (plain) && is_windowed == (windowed)) \
        return SPLIT(element_bytes_, raw_bits_, stored_bits_, plain, windowed);
    MMH_SPLIT_SHAPES(SHAPE)
#undef SHAPE
    if (split->element_bytes == 2)
        return SPLIT(2, raw, stored, false, is_windowed);
    if (split->element_bytes == 4)
        return SPLIT(4, raw, stored, false, is_windowed);
    return SPLIT(8, raw, stored, false, is_windowed);
#undef SPLIT
}

/* ---- merge ---- */

MMH_INLINE void merge_groups(uint8_t *dst, const uint8_t *symbols,
                             const struct mmh_planes *planes_in, const uint8_t *const tails_in[3],
                             size_t count, const struct mmh_split *split, unsigned element_bytes,
                             unsigned raw_bits, unsigned stored_bits, bool plain, bool windowed,
                             enum store_mode mode)
{
    const struct mmh_planes planes = *planes_in;
    const uint8_t *tails[3] = { NULL };
    const struct mmh_raw_form form = mmh_raw_form(split);
    const __m256i high = words_of(form.high), low = words_of(form.low), sign = words_of(form.sign),
                  base = words_of(split->window_base), symbol_low = words_of(split->symbol_low);
    for (unsigned p = 0; p < element_bytes / 2 - 1; p++)
        tails[p] = tails_in[p];
    for (size_t first = 0; first < count; first += MMH_GROUP) {
        uint8_t *out = dst + first * element_bytes;
        __m256i key[4], fields[2];
        if (stored_bits & 8)
            mmh_fetch(planes.plane[0] + first, MMH_FETCH_AHEAD);
        if (raw_bits == 8 && stored_bits == 8 && plain && !windowed) {
            for (unsigned half = 0; half < 2; half++) {
                __m256i raw = order(load(planes.plane[0] + first + 32 * half));
                __m256i symbol = order(load(symbols + first + 32 * half));
                key[2 * half] = _mm256_unpacklo_epi8(raw, symbol);
                key[2 * half + 1] = _mm256_unpackhi_epi8(raw, symbol);
            }
        } else {
            get_fields(fields, &planes, first / MMH_GROUP, stored_bits);
            for (unsigned part = 0; part < 4; part++) {
                __m256i raw = part % 2 ? high_half_words(fields[part / 2])
                                       : low_half_words(fields[part / 2]);
                if (stored_bits & 8) {
                    __m256i top =
                        _mm256_cvtepu8_epi16(load_half(planes.plane[0] + first + 16 * part));
                    raw = _mm256_or_si256(raw, _mm256_sll_epi16(top, shift_by(stored_bits & 7)));
                }
                if (!plain)
                    raw = _mm256_or_si256(
                        _mm256_or_si256(
                            _mm256_sll_epi16(_mm256_and_si256(raw, high), shift_by(form.shift)),
                            _mm256_and_si256(raw, low)),
                        sign);
                __m256i symbol = _mm256_cvtepu8_epi16(load_half(symbols + first + 16 * part));
                if (windowed)
                    symbol = _mm256_add_epi16(
                        symbol, _mm256_andnot_si256(_mm256_cmpgt_epi16(symbol_low, symbol), base));
                key[part] = _mm256_or_si256(_mm256_sll_epi16(symbol, shift_by(raw_bits)), raw);
            }
        }
        for (unsigned part = 0; part < 4; part++)
            store_heads(
                out + 16 * part * element_bytes,
                _mm256_or_si256(_mm256_srli_epi16(key[part], 1), _mm256_slli_epi16(key[part], 15)),
                tails, first + 16 * part, element_bytes, mode);
    }
}

/* One of 256 bytes for each byte of four vectors: sixteen at a time, as byte shuffles see zeros where
 * the index is elsewhere. */
MMH_INLINE void look_up(__m256i found[4], const uint8_t *table, const __m256i index[4])
{
    for (unsigned i = 0; i < 4; i++)
        found[i] = _mm256_setzero_si256();
    for (unsigned row = 0; row < 256; row += 16) {
        const __m256i values = _mm256_broadcastsi128_si256(load_half(table + row));
        for (unsigned i = 0; i < 4; i++) {
            __m256i at = _mm256_xor_si256(index[i], bytes_of(row));
            at = _mm256_adds_epu8(at, bytes_of(0x70)); /* bit 7: not in this row */
            found[i] = _mm256_or_si256(found[i], _mm256_shuffle_epi8(values, at));
        }
    }
}

/* Pairs of bytes by one table, or two if there are ids. */
static void merge_pairs(uint8_t *dst, const uint8_t *symbols, const uint8_t *raw_plane,
                        const uint8_t *ids, size_t pairs, const uint8_t *values,
                        enum store_mode mode)
{
    const __m256i low = bytes_of(15), high = bytes_of(240);
    for (size_t first = 0; first < pairs; first += MMH_GROUP) {
        __m256i code[4], found[4], other[4];
        for (unsigned half = 0; half < 2; half++) {
            const __m256i symbol = load(symbols + first + 32 * half);
            const __m256i raw = load(raw_plane + first + 32 * half);
            code[2 * half] = _mm256_or_si256(_mm256_and_si256(_mm256_slli_epi16(symbol, 4), high),
                                             _mm256_and_si256(raw, low));
            code[2 * half + 1] = _mm256_or_si256(_mm256_and_si256(symbol, high),
                                                 _mm256_and_si256(_mm256_srli_epi16(raw, 4), low));
        }
        mmh_fetch(raw_plane + first, MMH_FETCH_AHEAD);
        look_up(found, values, code);
        if (ids) {
            look_up(other, values + 256, code);
            for (unsigned i = 0; i < 4; i++) {
                const __m256i here = _mm256_cmpeq_epi8(load(ids + first + 32 * (i / 2)),
                                                       bytes_of(1));
                found[i] = _mm256_blendv_epi8(found[i], other[i], here);
            }
        }
        for (unsigned half = 0; half < 2; half++) {
            const __m256i a = order(found[2 * half]), b = order(found[2 * half + 1]);
            uint8_t *out = dst + 2 * (first + 32 * half);
            put(out, _mm256_unpacklo_epi8(a, b), mode);
            put(out + 32, _mm256_unpackhi_epi8(a, b), mode);
        }
    }
}

void mmh_merge_avx2(uint8_t *dst, const uint8_t *symbols, const struct mmh_planes *planes,
                    const uint8_t *const tails[3], size_t count, const struct mmh_split *split,
                    unsigned stream)
{
    if (split->pair_values && tails[0] && split->pair_tables > 2) { /* too many to look all up */
        mmh_merge_c(dst, symbols, planes, tails, count, split, stream);
        return;
    }
    const bool is_plain = mmh_split_plain(split), is_windowed = split->window_base != 0;
    const unsigned raw = split->raw_bits, stored = split->stored_bits;
    const enum store_mode mode = store_mode_of(dst, stream);
    if (split->pair_values) {
        merge_pairs(dst, symbols, planes->plane[0], tails[0], count, split->pair_values, mode);
        goto done;
    }
#define MERGE(element_bytes, raw_bits, stored_bits, plain, windowed)                              \
    merge_groups(dst, symbols, planes, tails, count, split, element_bytes, raw_bits, stored_bits, \
                 plain, windowed, mode)
#define SHAPE(element_bytes_, raw_bits_, stored_bits_, plain, windowed)                 \
    if (split->element_bytes == (element_bytes_) && raw == (raw_bits_) &&               \
        stored == (stored_bits_) && is_plain == (plain) && is_windowed == (windowed)) { \
        MERGE(element_bytes_, raw_bits_, stored_bits_, plain, windowed);                \
        goto done;                                                                      \
    }
    MMH_SPLIT_SHAPES(SHAPE)
#undef SHAPE
    if (split->element_bytes == 2)
        MERGE(2, raw, stored, false, is_windowed);
    else if (split->element_bytes == 4)
        MERGE(4, raw, stored, false, is_windowed);
    else
        MERGE(8, raw, stored, false, is_windowed);
done:
    if (mode != STORE && stream != MMH_STREAM_MORE)
        _mm_sfence();
#undef MERGE
}

void mmh_pairs_split_avx2(uint8_t *symbols, uint8_t *raw, const uint8_t *src, size_t pairs,
                          const uint8_t *code)
{
    mmh_pairs_split_c(symbols, raw, src, pairs, code);
}

void mmh_fence_avx2(void)
{
    _mm_sfence();
}

/* ---- packed u16 ---- */

static void pack_group(uint8_t *dst, const struct mmh_planes *planes, size_t group,
                       const uint16_t *src, unsigned bits)
{
    __m256i value[4], rest[2];
    for (unsigned part = 0; part < 4; part++)
        value[part] = load(src + 16 * part);
    if (bits == 16) {
        for (unsigned part = 0; part < 4; part++)
            store(dst + 128 * group + 32 * part, value[part]);
        return;
    }
    for (unsigned half = 0; half < 2; half++) {
        const __m256i *v = &value[2 * half];
        __m128i down = shift_by(bits & 7);
        if (bits & 8)
            store(planes->plane[0] + 64 * group + 32 * half,
                  low_bytes(_mm256_srl_epi16(v[0], down), _mm256_srl_epi16(v[1], down)));
        rest[half] = low_bytes(v[0], v[1]);
    }
    put_fields(planes, group, rest, bits);
}

size_t mmh_pack_bits_avx2(uint8_t *dst, const uint16_t *src, size_t count, unsigned bits)
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

size_t mmh_unpack_bits_avx2(uint16_t *dst, const uint8_t *src, size_t count, unsigned bits)
{
    size_t groups = (count + MMH_GROUP - 1) / MMH_GROUP;
    struct mmh_planes planes;
    mmh_planes_in_row(&planes, (uint8_t *)(uintptr_t)src, groups, bits); /* only read */
    for (size_t g = 0; g < groups; g++) {
        __m256i low[2], value;
        if (bits != 16)
            get_fields(low, &planes, g, bits);
        for (unsigned part = 0; part < 4; part++) {
            if (bits == 16) {
                value = load(src + 128 * g + 32 * part);
            } else {
                value = part % 2 ? high_half_words(low[part / 2]) : low_half_words(low[part / 2]);
                if (bits & 8)
                    value = _mm256_or_si256(
                        value, _mm256_sll_epi16(_mm256_cvtepu8_epi16(load_half(planes.plane[0] +
                                                                               64 * g + 16 * part)),
                                                shift_by(bits & 7)));
            }
            store(dst + MMH_GROUP * g + 16 * part, value);
        }
    }
    return 8 * bits * groups;
}

/* ---- whole elements ---- */

void mmh_bits_used_avx2(uint64_t *any, uint64_t *all, const uint8_t *src, size_t count,
                        unsigned element_bytes)
{
    const __m256i ones = _mm256_set1_epi64x(-1);
    size_t bytes = count * element_bytes, i = 0;
    __m256i ors[2] = { _mm256_setzero_si256(), _mm256_setzero_si256() }, ands[2] = { ones, ones };
    for (; bytes - i >= 64; i += 64)
        for (unsigned half = 0; half < 2; half++) {
            __m256i value = load(src + i + 32 * half);
            ors[half] = _mm256_or_si256(ors[half], value);
            ands[half] = _mm256_and_si256(ands[half], value);
        }
    /* The C code folds what is left, with the four words of each as elements. */
    uint64_t word[2][4], rest[4];
    store(word[0], _mm256_or_si256(ors[0], ors[1]));
    store(word[1], _mm256_and_si256(ands[0], ands[1]));
    mmh_bits_used_c(&rest[0], &rest[1], (const uint8_t *)word[0], 32 / element_bytes,
                    element_bytes);
    *any = rest[0];
    mmh_bits_used_c(&rest[0], &rest[1], (const uint8_t *)word[1], 32 / element_bytes,
                    element_bytes);
    *all = rest[1];
    mmh_bits_used_c(&rest[0], &rest[1], src + i, (bytes - i) / element_bytes, element_bytes);
    *any |= rest[0];
    *all &= rest[1];
}

void mmh_swap_bytes_avx2(uint8_t *dst, const uint8_t *src, size_t count, unsigned element_bytes)
{
    size_t bytes = count * element_bytes, i = 0;
    /* In each lane byte j comes from byte j ^ (element_bytes - 1). */
    const __m256i from =
        _mm256_xor_si256(_mm256_broadcastsi128_si256(
                             _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)),
                         bytes_of(element_bytes - 1));
    for (; bytes - i >= 32; i += 32)
        store(dst + i, _mm256_shuffle_epi8(load(src + i), from));
    mmh_swap_bytes_c(dst + i, src + i, (bytes - i) / element_bytes, element_bytes);
}
