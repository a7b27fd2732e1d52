/*
 * Elements from symbols, planes and tails with AVX-512, for those who have the symbols in a register.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_KERNEL_MERGE_AVX512_H
#define MMH_KERNEL_MERGE_AVX512_H

#include <immintrin.h>

#include "kernel/kernel_private.h"

#define ALIGNED _Alignas(64)

/* start, start + step, ... */
#define RUN8(start, step)                                                                        \
    (start), (start) + (step), (start) + 2 * (step), (start) + 3 * (step), (start) + 4 * (step), \
        (start) + 5 * (step), (start) + 6 * (step), (start) + 7 * (step)
#define RUN16(start, step) RUN8(start, step), RUN8((start) + 8 * (step), step)
#define RUN32(start, step) RUN16(start, step), RUN16((start) + 16 * (step), step)
/* a, b, a + 1, b + 1, ... */
#define WEAVE8(a, b)                                                                           \
    (a), (b), (a) + 1, (b) + 1, (a) + 2, (b) + 2, (a) + 3, (b) + 3, (a) + 4, (b) + 4, (a) + 5, \
        (b) + 5, (a) + 6, (b) + 6, (a) + 7, (b) + 7
#define WEAVE16(a, b) WEAVE8(a, b), WEAVE8((a) + 8, (b) + 8)
#define WEAVE32(a, b) WEAVE16(a, b), WEAVE16((a) + 16, (b) + 16)

/* Indices for permutex2var: the even or odd ones of two vectors, or both in turns. */
static ALIGNED const uint8_t even_bytes[64] = { RUN32(0, 2), RUN32(64, 2) };
static ALIGNED const uint8_t odd_bytes[64] = { RUN32(1, 2), RUN32(65, 2) };
static ALIGNED const uint8_t weave_bytes[2][64] = { { WEAVE32(0, 64) }, { WEAVE32(32, 96) } };
static ALIGNED const uint16_t run_words[32] = { RUN32(0, 1) };
static ALIGNED const uint16_t even_words[32] = { RUN32(0, 2) };
static ALIGNED const uint16_t odd_words[32] = { RUN32(1, 2) };
static ALIGNED const uint16_t weave_words[2][32] = { { WEAVE16(0, 32) }, { WEAVE16(16, 48) } };
static ALIGNED const uint32_t weave_dwords[2][16] = { { WEAVE8(0, 16) }, { WEAVE8(8, 24) } };
/* Of sixteen u64: words 3 of all, words 2 of all; words 1, words 0. */
static ALIGNED const uint16_t high_words[32] = { RUN16(3, 4), RUN16(2, 4) };
static ALIGNED const uint16_t low_words[32] = { RUN16(1, 4), RUN16(0, 4) };

MMH_INLINE __m512i load(const void *at)
{
    return _mm512_loadu_si512(at);
}

MMH_INLINE void store(void *at, __m512i value)
{
    _mm512_storeu_si512(at, value);
}

MMH_INLINE __m128i shift_by(unsigned count)
{
    return _mm_cvtsi32_si128((int)count);
}

MMH_INLINE __m512i words_of(unsigned value)
{
    return _mm512_set1_epi16((short)value);
}

MMH_INLINE __m512i bytes_of(unsigned value)
{
    return _mm512_set1_epi8((char)value);
}

/* ---- the planes of one group ---- */

/*
 * The other way: 64 bytes of `bits` & 7 bits. A field is turned from its place in the plane's byte
 * to its place in the value's, both of them inside one byte.
 */
MMH_INLINE __m512i get_fields(const struct mmh_planes *planes, size_t group, unsigned bits)
{
    __m512i value = _mm512_setzero_si512();
    if (bits & 4) {
        const int64_t to = bits & 3;
        __m512i field = _mm512_broadcast_i64x4(
            _mm256_loadu_si256((const __m256i *)(const void *)(planes->plane[1] + 32 * group)));
        field = _mm512_rolv_epi64(
            field, _mm512_setr_epi64(to, to, to, to, to + 60, to + 60, to + 60, to + 60));
        value = _mm512_and_si512(field, _mm512_set1_epi8((char)(15 << to)));
    }
    if (bits & 2) {
        const int64_t to = (bits & 1) + 64;
        __m512i field = _mm512_broadcast_i32x4(
            _mm_loadu_si128((const __m128i *)(const void *)(planes->plane[2] + 16 * group)));
        field = _mm512_rolv_epi64(
            field, _mm512_setr_epi64(to, to, to - 2, to - 2, to - 4, to - 4, to - 6, to - 6));
        value = _mm512_or_si512(value,
                                _mm512_and_si512(field, _mm512_set1_epi8((char)(3 << (bits & 1)))));
    }
    if (bits & 1) {
        __m512i field = _mm512_set1_epi64((long long)mmh_load64(planes->plane[3] + 8 * group));
        field = _mm512_srlv_epi64(field, _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7));
        value = _mm512_or_si512(value, _mm512_and_si512(field, _mm512_set1_epi8(1)));
    }
    return value;
}

/* ---- elements ---- */

/*
 * How to store. The last two bypass the cache, which wants whole aligned lines: where vectors begin
 * inside lines, each line is put together of two of them.
 */
enum store_mode { STORE, STREAM, STREAM_SHIFTED };

/* What merging one group after another needs. */
struct merge_form {
    struct mmh_planes planes;
    const uint8_t *tails[3];
    struct mmh_raw_form raw;
    __m512i window, symbol_low; /* as words */
    __m512i window_exponents;   /* window_base / 4 as bytes */
    const uint8_t *pair_values, *pair_ids;
    unsigned pair_tables;
    /* with STREAM_SHIFTED: */
    __m512i last, shift;      /* the vector before; from which words of both a line comes */
    uint8_t *begin, *last_at; /* where the run begins, and where the vector before lies */
    __mmask32 in_first_line;  /* words of a vector that lie in the line where it begins */
};

MMH_INLINE enum store_mode store_mode_of(const uint8_t *dst, unsigned stream)
{
    return !stream || (uintptr_t)dst % 2 ? STORE : (uintptr_t)dst % 64 ? STREAM_SHIFTED : STREAM;
}

MMH_INLINE void merge_form_init(struct merge_form *form, uint8_t *dst,
                                const struct mmh_planes *planes, const uint8_t *const tails[3],
                                const struct mmh_split *split, unsigned element_bytes)
{
    form->begin = form->last_at = dst;
    form->last = _mm512_setzero_si512();
    form->in_first_line = ~UINT32_C(0) >> (uintptr_t)dst % 64 / 2;
    form->shift = _mm512_sub_epi16(load(run_words), words_of((uintptr_t)dst % 64 / 2));
    form->planes = *planes; /* stores cannot change a copy */
    for (unsigned p = 0; p < element_bytes / 2 - 1; p++)
        form->tails[p] = tails[p];
    form->raw = mmh_raw_form(split);
    form->window = words_of(split->window_base);
    form->symbol_low = words_of(split->symbol_low);
    form->window_exponents = bytes_of(split->window_base >> 2);
    form->pair_values = split->pair_values;
    form->pair_tables = split->pair_tables;
    form->pair_ids = element_bytes == 2 && split->pair_values ? tails[0] : NULL;
}

/* The 64 bytes that follow those of the call before. */
MMH_INLINE void put(struct merge_form *form, uint8_t *dst, __m512i value, enum store_mode mode)
{
    if (mode == STREAM) {
        _mm512_stream_si512((__m512i *)(void *)dst, value);
    } else if (mode == STORE) {
        store(dst, value);
    } else {
        /* The first line is not all ours. A line goes either past the cache or through it: both
         * cost a tenth of the whole. */
        if (dst == form->begin)
            _mm512_mask_storeu_epi16(dst, form->in_first_line, value);
        else
            _mm512_stream_si512((__m512i *)(void *)((uintptr_t)dst & ~(uintptr_t)63),
                                _mm512_permutex2var_epi16(value, form->shift, form->last));
        form->last = value;
        form->last_at = dst;
    }
}

/* Before a run of so many bytes: without its last line at hand the stores behind would wait. */
MMH_INLINE void merge_form_fetch(const struct merge_form *form, size_t bytes, enum store_mode mode)
{
    if (mode == STREAM_SHIFTED)
        __builtin_prefetch(form->begin + bytes, 1, 3);
}

/* After the last group of a run. */
MMH_INLINE void merge_form_finish(const struct merge_form *form, enum store_mode mode)
{
    if (mode == STREAM_SHIFTED && form->last_at != form->begin)
        _mm512_mask_storeu_epi16(form->last_at, ~form->in_first_line, form->last);
}

/* Write 32 elements. */
MMH_INLINE void store_heads(struct merge_form *form, uint8_t *dst, __m512i head, size_t first,
                            unsigned element_bytes, enum store_mode mode)
{
    if (element_bytes == 2) {
        put(form, dst, head, mode);
    } else if (element_bytes == 4) {
        __m512i tail = load(form->tails[0] + 2 * first);
        mmh_fetch(form->tails[0] + 2 * first, MMH_FETCH_AHEAD);
        for (unsigned i = 0; i < 2; i++)
            put(form, dst + 64 * i, _mm512_permutex2var_epi16(tail, load(weave_words[i]), head),
                mode);
    } else {
        __m512i tail0 = load(form->tails[0] + 2 * first), tail1 = load(form->tails[1] + 2 * first),
                tail2 = load(form->tails[2] + 2 * first);
        for (unsigned i = 0; i < 2; i++) {
            __m512i low = _mm512_permutex2var_epi16(tail2, load(weave_words[i]), tail1);
            __m512i high = _mm512_permutex2var_epi16(tail0, load(weave_words[i]), head);
            for (unsigned j = 0; j < 2; j++)
                put(form, dst + 128 * i + 64 * j,
                    _mm512_permutex2var_epi32(low, load(weave_dwords[j]), high), mode);
        }
    }
}

/* Fields of two bits, turned so that their low bit is bit `to` of the byte. */
MMH_INLINE __m512i two_bits(const struct mmh_planes *planes, size_t group, int64_t to)
{
    to += 64;
    return _mm512_rolv_epi64(
        _mm512_broadcast_i32x4(
            _mm_loadu_si128((const __m128i *)(const void *)(planes->plane[2] + 16 * group))),
        _mm512_setr_epi64(to, to, to - 2, to - 2, to - 4, to - 4, to - 6, to - 6));
}

/* The plane of single bits, each turned to the top of its byte. */
MMH_INLINE __m512i top_bits(const struct mmh_planes *planes, size_t group)
{
    return _mm512_sllv_epi64(_mm512_set1_epi64((long long)mmh_load64(planes->plane[3] + 8 * group)),
                             _mm512_setr_epi64(7, 6, 5, 4, 3, 2, 1, 0));
}

/* mask ? a : b, bit by bit */
MMH_INLINE __m512i pick(__m512i mask, __m512i a, __m512i b)
{
    return _mm512_ternarylogic_epi64(mask, a, b, 0xca);
}

/* 64 heads as two bytes each, high and low, to two vectors of words. */
MMH_INLINE void weave(__m512i head[2], __m512i low, __m512i high)
{
    for (unsigned half = 0; half < 2; half++)
        head[half] = _mm512_permutex2var_epi8(low, load(weave_bytes[half]), high);
}

/* One of 256 bytes for each byte. */
MMH_INLINE __m512i look_up(const uint8_t *table, __m512i index)
{
    const __m512i low = _mm512_permutex2var_epi8(load(table), index, load(table + 64));
    const __m512i high = _mm512_permutex2var_epi8(load(table + 128), index, load(table + 192));
    return _mm512_mask_mov_epi8(low, _mm512_movepi8_mask(index), high);
}

/* Two bytes for each symbol, as words. */
MMH_INLINE void merge_pairs(__m512i pairs[2], __m512i symbols, const struct merge_form *form,
                            size_t first_pair)
{
    const __m512i low = bytes_of(15), raw = load(form->planes.plane[0] + first_pair);
    const __m512i first = pick(low, raw, _mm512_slli_epi16(symbols, 4));
    const __m512i second = pick(low, _mm512_srli_epi16(raw, 4), symbols);
    __m512i a = look_up(form->pair_values, first), b = look_up(form->pair_values, second);
    if (form->pair_ids) {
        const __m512i ids = load(form->pair_ids + first_pair);
        for (unsigned t = 1; t < form->pair_tables; t++) {
            const __mmask64 here = _mm512_cmpeq_epi8_mask(ids, bytes_of(t));
            a = _mm512_mask_mov_epi8(a, here, look_up(form->pair_values + 256 * t, first));
            b = _mm512_mask_mov_epi8(b, here, look_up(form->pair_values + 256 * t, second));
        }
    }
    weave(pairs, a, b);
}

enum { PAIR_RAW_BITS = 0 }; /* instead of a float's raw bits: the elements are pairs of bytes */

/*
 * The heads of group `group` from its symbol bytes. The shapes of everyday are put together as
 * bytes, 64 at a time, with the sign (the lowest raw bit) turned to the top on the way; the others
 * as words.
 */
MMH_INLINE void merge_heads(__m512i head[2], __m512i symbols, const struct merge_form *form,
                            size_t group, unsigned raw_bits, unsigned stored_bits, bool plain,
                            bool windowed)
{
    const struct mmh_planes *planes = &form->planes;
    const size_t first = group * MMH_GROUP;
    if (stored_bits & 8)
        mmh_fetch(planes->plane[0] + first, MMH_FETCH_AHEAD);
    if (raw_bits == PAIR_RAW_BITS) {
        merge_pairs(head, symbols, form, first);
        return;
    }
    if (raw_bits == 8 && stored_bits == 8 && plain && !windowed) {
        weave(head, load(planes->plane[0] + first), symbols);
    } else if (raw_bits == 6 && stored_bits == 6 && plain) { /* bf16, fp32 with two mantissa bits */
        __m512i exponent = _mm512_and_si512(_mm512_srli_epi16(symbols, 2), bytes_of(0x3f));
        exponent = _mm512_mask_add_epi8(exponent, _mm512_cmpge_epu8_mask(symbols, bytes_of(4)),
                                        exponent, form->window_exponents);
        __m512i four = _mm512_broadcast_i64x4(
            _mm256_loadu_si256((const __m256i *)(const void *)(planes->plane[1] + 32 * group)));
        four = _mm512_rolv_epi64(four, _mm512_setr_epi64(2, 2, 2, 2, 62, 62, 62, 62));
        __m512i rest = pick(bytes_of(0xc0), _mm512_slli_epi16(symbols, 6), four);
        rest = pick(bytes_of(3), two_bits(planes, group, 0), rest);
        weave(head, rest, exponent);
    } else if (raw_bits == 11 && stored_bits == 11 && plain &&
               !windowed) { /* fp16, exponent only */
        __m512i top = load(planes->plane[0] + first);
        __m512i low = pick(bytes_of(3), two_bits(planes, group, 0), _mm512_slli_epi16(top, 2));
        __m512i high = pick(bytes_of(3), _mm512_srli_epi16(top, 6), _mm512_slli_epi16(symbols, 2));
        weave(head, low, pick(bytes_of(0x80), top_bits(planes, group), high));
        return;
    } else if (raw_bits == 10 && stored_bits == 10 && plain && !windowed) { /* and one bit */
        __m512i top = load(planes->plane[0] + first);
        __m512i low = pick(bytes_of(1), two_bits(planes, group, -1), _mm512_slli_epi16(top, 1));
        __m512i high = pick(bytes_of(1), _mm512_srli_epi16(top, 7), _mm512_slli_epi16(symbols, 1));
        weave(head, low, pick(bytes_of(0x80), two_bits(planes, group, 7), high));
        return;
    } else if (raw_bits == 9 && stored_bits == 9 && plain && !windowed) { /* and two bits */
        weave(head, load(planes->plane[0] + first),
              pick(bytes_of(0x80), top_bits(planes, group), symbols));
        return;
    } else {
        const __m512i high = words_of(form->raw.high), low = words_of(form->raw.low),
                      sign = words_of(form->raw.sign);
        __m512i fields = get_fields(planes, group, stored_bits);
        for (unsigned half = 0; half < 2; half++) {
            __m512i raw = _mm512_cvtepu8_epi16(half ? _mm512_extracti64x4_epi64(fields, 1)
                                                    : _mm512_castsi512_si256(fields));
            if (stored_bits & 8) {
                __m256i top = _mm256_loadu_si256(
                    (const __m256i *)(const void *)(planes->plane[0] + first + 32 * half));
                raw = _mm512_or_si512(
                    raw, _mm512_sll_epi16(_mm512_cvtepu8_epi16(top), shift_by(stored_bits & 7)));
            }
            if (!plain)
                raw = _mm512_or_si512(_mm512_or_si512(_mm512_sll_epi16(_mm512_and_si512(raw, high),
                                                                       shift_by(form->raw.shift)),
                                                      _mm512_and_si512(raw, low)),
                                      sign);
            __m512i symbol = _mm512_cvtepu8_epi16(half ? _mm512_extracti64x4_epi64(symbols, 1)
                                                       : _mm512_castsi512_si256(symbols));
            if (windowed)
                symbol = _mm512_mask_add_epi16(symbol,
                                               _mm512_cmpge_epu16_mask(symbol, form->symbol_low),
                                               symbol, form->window);
            head[half] = _mm512_or_si512(_mm512_sll_epi16(symbol, shift_by(raw_bits)), raw);
        }
    }
    for (unsigned half = 0; half < 2; half++)
        head[half] = _mm512_shrdi_epi16(head[half], head[half], 1);
}

/* 64 elements to their place. */
MMH_INLINE void merge_group(uint8_t *dst, __m512i symbols, struct merge_form *form, size_t group,
                            unsigned element_bytes, unsigned raw_bits, unsigned stored_bits,
                            bool plain, bool windowed, enum store_mode mode)
{
    __m512i head[2];
    const size_t first = group * MMH_GROUP;
    merge_heads(head, symbols, form, group, raw_bits, stored_bits, plain, windowed);
    for (unsigned half = 0; half < 2; half++)
        store_heads(form, dst + (first + 32 * half) * element_bytes, head[half], first + 32 * half,
                    element_bytes, mode);
}

#endif
