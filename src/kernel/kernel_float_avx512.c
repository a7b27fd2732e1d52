/*
 * Splitting floats into symbols, bit planes and tails, and back, with AVX-512: a group at a time.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * One inline function each way, compiled anew for every shape in daily use; what is left shares one
 * compiled with the shape as variables, whose branches always go the same way.
 */
#include "kernel/kernel_merge_avx512.h"

/* The low bytes of 64 words. */
static __m512i low_bytes(__m512i a, __m512i b)
{
    return _mm512_permutex2var_epi8(a, load(even_bytes), b);
}

/* ---- the planes of one group, from and to 64 bytes ---- */

/* Write the planes of 4, 2 and 1 bits of the low `bits` & 7 of each byte. */
MMH_INLINE void put_fields(const struct mmh_planes *planes, size_t group, __m512i value,
                           unsigned bits)
{
    if (bits & 4) {
        __m512i field = _mm512_and_si512(_mm512_srl_epi16(value, shift_by(bits & 3)),
                                         _mm512_set1_epi8(15));
        __m256i high = _mm512_extracti64x4_epi64(field, 1);
        _mm256_storeu_si256(
            (__m256i *)(void *)(planes->plane[1] + 32 * group),
            _mm256_or_si256(_mm512_castsi512_si256(field), _mm256_slli_epi16(high, 4)));
    }
    if (bits & 2) {
        __m512i field = _mm512_and_si512(_mm512_srl_epi16(value, shift_by(bits & 1)),
                                         _mm512_set1_epi8(3));
        field = _mm512_sllv_epi64(field, _mm512_setr_epi64(0, 0, 2, 2, 4, 4, 6, 6));
        __m256i half = _mm256_or_si256(_mm512_castsi512_si256(field),
                                       _mm512_extracti64x4_epi64(field, 1));
        _mm_storeu_si128(
            (__m128i *)(void *)(planes->plane[2] + 16 * group),
            _mm_or_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1)));
    }
    if (bits & 1) {
        __m512i field = _mm512_and_si512(value, _mm512_set1_epi8(1));
        field = _mm512_sllv_epi64(field, _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7));
        __m256i half = _mm256_or_si256(_mm512_castsi512_si256(field),
                                       _mm512_extracti64x4_epi64(field, 1));
        __m128i quarter = _mm_or_si128(_mm256_castsi256_si128(half),
                                       _mm256_extracti128_si256(half, 1));
        _mm_storel_epi64((__m128i *)(void *)(planes->plane[3] + 8 * group),
                         _mm_or_si128(quarter, _mm_unpackhi_epi64(quarter, quarter)));
    }
}

/* ---- split ---- */

MMH_INLINE void load_heads(__m512i head[2], uint8_t *const tails[3], size_t first,
                           const uint8_t *src, unsigned element_bytes)
{
    for (unsigned half = 0; half < 2; half++, first += 32, src += 32 * element_bytes) {
        if (element_bytes == 2) {
            head[half] = load(src);
        } else if (element_bytes == 4) {
            __m512i a = load(src), b = load(src + 64);
            head[half] = _mm512_permutex2var_epi16(a, load(odd_words), b);
            if (tails)
                store(tails[0] + 2 * first, _mm512_permutex2var_epi16(a, load(even_words), b));
        } else {
            __m512i a = load(src), b = load(src + 64), c = load(src + 128), d = load(src + 192);
            __m512i high_ab = _mm512_permutex2var_epi16(a, load(high_words), b);
            __m512i high_cd = _mm512_permutex2var_epi16(c, load(high_words), d);
            head[half] = _mm512_shuffle_i64x2(high_ab, high_cd, 0x44);
            if (tails) {
                __m512i low_ab = _mm512_permutex2var_epi16(a, load(low_words), b);
                __m512i low_cd = _mm512_permutex2var_epi16(c, load(low_words), d);
                store(tails[0] + 2 * first, _mm512_shuffle_i64x2(high_ab, high_cd, 0xee));
                store(tails[1] + 2 * first, _mm512_shuffle_i64x2(low_ab, low_cd, 0x44));
                store(tails[2] + 2 * first, _mm512_shuffle_i64x2(low_ab, low_cd, 0xee));
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
    const __m512i raw_mask = words_of((1u << raw_bits) - 1), high = words_of(form.high),
                  low = words_of(form.low), base = words_of(split->window_base),
                  symbol_low = words_of(split->symbol_low),
                  span = words_of(255u - split->symbol_low),
                  patch = _mm512_set1_epi8((char)split->patch_symbol);
    size_t patch_count = 0;
    for (size_t first = 0; first < count; first += MMH_GROUP) {
        __m512i key[2], symbol[2], stored[2];
        load_heads(key, tails, first, src + first * element_bytes, element_bytes);
        uint64_t outside = 0;
        for (unsigned half = 0; half < 2; half++) {
            key[half] = _mm512_shldi_epi16(key[half], key[half], 1);
            symbol[half] = _mm512_srl_epi16(key[half], shift_by(raw_bits));
            if (windowed) {
                __m512i moved = _mm512_sub_epi16(symbol[half], base);
                __mmask32 is_moved = _mm512_cmpge_epu16_mask(symbol[half], symbol_low);
                __mmask32 is_outside = _mm512_mask_cmpgt_epu16_mask(
                    is_moved, _mm512_sub_epi16(moved, symbol_low), span);
                symbol[half] = _mm512_mask_mov_epi16(symbol[half], is_moved, moved);
                outside |= (uint64_t)is_outside << 32 * half;
            }
            stored[half] = _mm512_and_si512(key[half], raw_mask);
            if (!plain)
                stored[half] = _mm512_or_si512(
                    _mm512_and_si512(_mm512_srl_epi16(stored[half], shift_by(form.shift)), high),
                    _mm512_and_si512(stored[half], low));
        }
        __m512i bytes = raw_bits == 8 && !windowed
                          ? _mm512_permutex2var_epi8(key[0], load(odd_bytes), key[1])
                          : low_bytes(symbol[0], symbol[1]);
        if (windowed) {
            bytes = _mm512_mask_mov_epi8(bytes, outside, patch);
            for (; outside; outside &= outside - 1)
                patches[patch_count++] = (uint32_t)(first + mmh_ctz64(outside));
        }
        store(symbols + first, bytes);
        if (stored_bits & 8) {
            __m128i down = shift_by(stored_bits & 7);
            store(planes.plane[0] + first,
                  low_bytes(_mm512_srl_epi16(stored[0], down), _mm512_srl_epi16(stored[1], down)));
        }
        if (stored_bits & 7)
            put_fields(&planes, first / MMH_GROUP, low_bytes(stored[0], stored[1]), stored_bits);
    }
    return patch_count;
}

size_t mmh_split_avx512(uint8_t *symbols, const struct mmh_planes *planes, uint8_t *const tails[3],
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

MMH_INLINE void merge_groups(uint8_t *dst, const uint8_t *symbols, const struct mmh_planes *planes,
                             const uint8_t *const tails[3], size_t count,
                             const struct mmh_split *split, unsigned element_bytes,
                             unsigned raw_bits, unsigned stored_bits, bool plain, bool windowed,
                             enum store_mode mode)
{
    struct merge_form form;
    merge_form_init(&form, dst, planes, tails, split, element_bytes);
    merge_form_fetch(&form, count * element_bytes, mode);
    for (size_t group = 0; group < count / MMH_GROUP; group++)
        merge_group(dst, load(symbols + group * MMH_GROUP), &form, group, element_bytes, raw_bits,
                    stored_bits, plain, windowed, mode);
    merge_form_finish(&form, mode);
}

void mmh_merge_avx512(uint8_t *dst, const uint8_t *symbols, const struct mmh_planes *planes,
                      const uint8_t *const tails[3], size_t count, const struct mmh_split *split,
                      unsigned stream)
{
    const bool is_plain = mmh_split_plain(split), is_windowed = split->window_base != 0;
    const unsigned raw = split->raw_bits, stored = split->stored_bits;
    const enum store_mode mode = store_mode_of(dst, stream);
#define MERGE(element_bytes, raw_bits, stored_bits, plain, windowed)                              \
    merge_groups(dst, symbols, planes, tails, count, split, element_bytes, raw_bits, stored_bits, \
                 plain, windowed, mode)
#define SHAPE(element_bytes_, raw_bits_, stored_bits_, plain, windowed)                 \
    if (split->element_bytes == (element_bytes_) && raw == (raw_bits_) &&               \
        stored == (stored_bits_) && is_plain == (plain) && is_windowed == (windowed) && \
        !split->pair_values) {                                                          \
        MERGE(element_bytes_, raw_bits_, stored_bits_, plain, windowed);                \
        goto done;                                                                      \
    }
    MMH_SPLIT_SHAPES(SHAPE)
#undef SHAPE
    if (split->pair_values)
        MERGE(2, PAIR_RAW_BITS, 8, true, false);
    else if (split->element_bytes == 2)
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

void mmh_pairs_split_avx512(uint8_t *symbols, uint8_t *raw, const uint8_t *src, size_t pairs,
                            const uint8_t *code)
{
    const __m512i low = bytes_of(15);
    size_t i = 0;
    for (; i + 64 <= pairs; i += 64) {
        const __m512i a = load(src + 2 * i), b = load(src + 2 * i + 64);
        const __m512i first = look_up(code, _mm512_permutex2var_epi8(a, load(even_bytes), b));
        const __m512i second = look_up(code, _mm512_permutex2var_epi8(a, load(odd_bytes), b));
        store(symbols + i, pick(low, _mm512_srli_epi16(first, 4), second));
        if (raw)
            store(raw + i, pick(low, first, _mm512_slli_epi16(second, 4)));
    }
    mmh_pairs_split_c(symbols + i, raw ? raw + i : NULL, src + 2 * i, pairs - i, code);
}

void mmh_fence_avx512(void)
{
    _mm_sfence();
}

/* ---- packed u16 ---- */

size_t mmh_pack_bits_avx512(uint8_t *dst, const uint16_t *src, size_t count, unsigned bits)
{
    size_t groups = (count + MMH_GROUP - 1) / MMH_GROUP;
    struct mmh_planes planes;
    mmh_planes_in_row(&planes, dst, groups, bits);
    for (size_t g = 0; g < groups; g++) {
        size_t left = count - g * MMH_GROUP;
        __m512i value[2];
        for (unsigned half = 0; half < 2; half++) {
            __mmask32 valid = left >= 32 * half + 32 ? ~0u
                            : left > 32 * half       ? ~(~0u << (left - 32 * half))
                                                     : 0;
            value[half] = _mm512_maskz_loadu_epi16(valid, src + g * MMH_GROUP + 32 * half);
        }
        if (bits == 16) {
            store(dst + 128 * g, value[0]);
            store(dst + 128 * g + 64, value[1]);
            continue;
        }
        if (bits & 8)
            store(planes.plane[0] + 64 * g,
                  low_bytes(_mm512_srl_epi16(value[0], shift_by(bits & 7)),
                            _mm512_srl_epi16(value[1], shift_by(bits & 7))));
        put_fields(&planes, g, low_bytes(value[0], value[1]), bits);
    }
    return 8 * bits * groups;
}

size_t mmh_unpack_bits_avx512(uint16_t *dst, const uint8_t *src, size_t count, unsigned bits)
{
    size_t groups = (count + MMH_GROUP - 1) / MMH_GROUP;
    struct mmh_planes planes;
    mmh_planes_in_row(&planes, (uint8_t *)(uintptr_t)src, groups, bits); /* only read */
    for (size_t g = 0; g < groups; g++) {
        if (bits == 16) {
            store(dst + MMH_GROUP * g, load(src + 128 * g));
            store(dst + MMH_GROUP * g + 32, load(src + 128 * g + 64));
            continue;
        }
        __m512i low = get_fields(&planes, g, bits);
        __m512i top = bits & 8 ? load(planes.plane[0] + 64 * g) : _mm512_setzero_si512();
        for (unsigned half = 0; half < 2; half++) {
            __m512i l = _mm512_cvtepu8_epi16(half ? _mm512_extracti64x4_epi64(low, 1)
                                                  : _mm512_castsi512_si256(low));
            __m512i t = _mm512_cvtepu8_epi16(half ? _mm512_extracti64x4_epi64(top, 1)
                                                  : _mm512_castsi512_si256(top));
            store(dst + MMH_GROUP * g + 32 * half,
                  _mm512_or_si512(_mm512_sll_epi16(t, shift_by(bits & 7)), l));
        }
    }
    return 8 * bits * groups;
}

/* ---- whole elements ---- */

void mmh_bits_used_avx512(uint64_t *any, uint64_t *all, const uint8_t *src, size_t count,
                          unsigned element_bytes)
{
    const __m512i ones = _mm512_set1_epi64(-1);
    size_t bytes = count * element_bytes, i = 0;
    __m512i ors[2] = { _mm512_setzero_si512(), _mm512_setzero_si512() }, ands[2] = { ones, ones };
    for (; bytes - i >= 128; i += 128)
        for (unsigned half = 0; half < 2; half++) {
            __m512i value = load(src + i + 64 * half);
            ors[half] = _mm512_or_si512(ors[half], value);
            ands[half] = _mm512_and_si512(ands[half], value);
        }
    uint64_t word[2], rest[2];
    word[0] = (uint64_t)_mm512_reduce_or_epi64(_mm512_or_si512(ors[0], ors[1]));
    word[1] = (uint64_t)_mm512_reduce_and_epi64(_mm512_and_si512(ands[0], ands[1]));
    for (unsigned fold = 32; fold >= 8 * element_bytes; fold /= 2) {
        word[0] |= word[0] >> fold;
        word[1] &= word[1] >> fold;
    }
    mmh_bits_used_c(&rest[0], &rest[1], src + i, (bytes - i) / element_bytes, element_bytes);
    *any = rest[0] | (word[0] & ~0ull >> (64 - 8 * element_bytes));
    *all = rest[1] & word[1];
}

void mmh_swap_bytes_avx512(uint8_t *dst, const uint8_t *src, size_t count, unsigned element_bytes)
{
    size_t bytes = count * element_bytes, i = 0;
    /* In each lane byte j comes from byte j ^ (element_bytes - 1). */
    const __m512i from = _mm512_xor_si512(
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)),
        _mm512_set1_epi8((char)(element_bytes - 1)));
    for (; bytes - i >= 64; i += 64)
        store(dst + i, _mm512_shuffle_epi8(load(src + i), from));
    if (i < bytes) {
        __mmask64 valid = ~(~0ull << (bytes - i));
        _mm512_mask_storeu_epi8(dst + i, valid,
                                _mm512_shuffle_epi8(_mm512_maskz_loadu_epi8(valid, src + i), from));
    }
}
