/*
 * Elements from heads and tails with AVX2, for those who have the symbols in a register.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_KERNEL_MERGE_AVX2_H
#define MMH_KERNEL_MERGE_AVX2_H

#include <immintrin.h>

#include "kernel/kernel_private.h"

MMH_INLINE __m256i load(const void *at)
{
    return _mm256_loadu_si256((const __m256i *)at);
}

MMH_INLINE void store(void *at, __m256i value)
{
    _mm256_storeu_si256((__m256i *)at, value);
}

MMH_INLINE __m128i load_half(const void *at)
{
    return _mm_loadu_si128((const __m128i *)at);
}

MMH_INLINE __m128i shift_by(unsigned count)
{
    return _mm_cvtsi32_si128((int)count);
}

MMH_INLINE __m256i words_of(unsigned value)
{
    return _mm256_set1_epi16((short)value);
}

MMH_INLINE __m256i bytes_of(unsigned value)
{
    return _mm256_set1_epi8((char)value);
}

/* Quarters 0, 2, 1, 3: what packing needs after and unpacking before. */
MMH_INLINE __m256i order(__m256i x)
{
    return _mm256_permute4x64_epi64(x, 0xd8);
}

/* 32 bytes of words below 256. */
MMH_INLINE __m256i pack_words(__m256i a, __m256i b)
{
    return order(_mm256_packus_epi16(a, b));
}

MMH_INLINE __m256i low_bytes(__m256i a, __m256i b)
{
    return pack_words(_mm256_and_si256(a, words_of(255)), _mm256_and_si256(b, words_of(255)));
}

MMH_INLINE __m256i low_half_words(__m256i bytes)
{
    return _mm256_cvtepu8_epi16(_mm256_castsi256_si128(bytes));
}

MMH_INLINE __m256i high_half_words(__m256i bytes)
{
    return _mm256_cvtepu8_epi16(_mm256_extracti128_si256(bytes, 1));
}

/* How to store: the last two bypass the cache, whole vectors or halves at a time. */
enum store_mode { STORE, STREAM, STREAM_HALVES };

MMH_INLINE void put(uint8_t *dst, __m256i value, enum store_mode mode)
{
    __m128i *half = (__m128i *)(void *)dst;
    if (mode == STREAM) {
        _mm256_stream_si256((__m256i *)(void *)dst, value);
    } else if (mode == STORE) {
        store(dst, value);
    } else {
        _mm_stream_si128(half, _mm256_castsi256_si128(value));
        _mm_stream_si128(half + 1, _mm256_extracti128_si256(value, 1));
    }
}

/* Write 16 elements. */
MMH_INLINE void store_heads(uint8_t *dst, __m256i head, const uint8_t *const tails[3], size_t first,
                            unsigned element_bytes, enum store_mode mode)
{
    if (element_bytes == 2) {
        put(dst, head, mode);
    } else if (element_bytes == 4) {
        __m256i tail = order(load(tails[0] + 2 * first));
        head = order(head);
        put(dst, _mm256_unpacklo_epi16(tail, head), mode);
        put(dst + 32, _mm256_unpackhi_epi16(tail, head), mode);
    } else {
        __m256i tail0 = order(load(tails[0] + 2 * first));
        __m256i tail1 = order(load(tails[1] + 2 * first));
        __m256i tail2 = order(load(tails[2] + 2 * first));
        head = order(head);
        __m256i low[2] = { _mm256_unpacklo_epi16(tail2, tail1),
                           _mm256_unpackhi_epi16(tail2, tail1) };
        __m256i high[2] = { _mm256_unpacklo_epi16(tail0, head),
                            _mm256_unpackhi_epi16(tail0, head) };
        for (unsigned i = 0; i < 2; i++) {
            low[i] = order(low[i]);
            high[i] = order(high[i]);
            put(dst + 64 * i, _mm256_unpacklo_epi32(low[i], high[i]), mode);
            put(dst + 64 * i + 32, _mm256_unpackhi_epi32(low[i], high[i]), mode);
        }
    }
}

MMH_INLINE enum store_mode store_mode_of(const uint8_t *dst, unsigned stream)
{
    return stream && (uintptr_t)dst % 32 == 0 ? STREAM
         : stream && (uintptr_t)dst % 16 == 0 ? STREAM_HALVES
                                              : STORE;
}

/* Write 32 elements whose raw bits are one byte: the sign, the lowest, is turned to the top. */
MMH_INLINE void merge_bytes(uint8_t *dst, __m256i symbols, __m256i raw,
                            const uint8_t *const tails[3], size_t first, unsigned element_bytes,
                            enum store_mode mode)
{
    raw = order(raw);
    symbols = order(symbols);
    const __m256i key[2] = { _mm256_unpacklo_epi8(raw, symbols),
                             _mm256_unpackhi_epi8(raw, symbols) };
    for (unsigned half = 0; half < 2; half++)
        store_heads(
            dst + (first + 16 * half) * element_bytes,
            _mm256_or_si256(_mm256_srli_epi16(key[half], 1), _mm256_slli_epi16(key[half], 15)),
            tails, first + 16 * half, element_bytes, mode);
}

#endif
