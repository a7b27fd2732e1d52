/*
 * What the files of the kernel room share: every implementation function and small helpers.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_KERNEL_PRIVATE_H
#define MMH_KERNEL_PRIVATE_H

#include "base/bits.h"
#include "kernel/kernel.h"
#include "kernel/kernel_rans.h"

#define MMH_INLINE static inline __attribute__((always_inline))

/* Before a loop of at most 16 rounds, their number known when this is compiled: no loop at all. */
#if defined(__clang__)
#define MMH_UNROLL _Pragma("clang loop unroll(full)")
#else
#define MMH_UNROLL _Pragma("GCC unroll 16")
#endif

#define MMH_FLOAT_DECLARE(set)                                                                    \
    size_t mmh_split_##set(uint8_t *symbols, const struct mmh_planes *planes,                     \
                           uint8_t *const tails[3], uint32_t *patches, const uint8_t *src,        \
                           size_t count, const struct mmh_split *split);                          \
    mmh_merge_elements mmh_merge_##set;                                                           \
    void mmh_pairs_split_##set(uint8_t *symbols, uint8_t *raw, const uint8_t *src, size_t pairs,  \
                               const uint8_t *code);                                              \
    size_t mmh_pack_bits_##set(uint8_t *dst, const uint16_t *src, size_t count, unsigned bits);   \
    size_t mmh_unpack_bits_##set(uint16_t *dst, const uint8_t *src, size_t count, unsigned bits); \
    void mmh_bits_used_##set(uint64_t *any, uint64_t *all, const uint8_t *src, size_t count,      \
                             unsigned element_bytes);                                             \
    void mmh_swap_bytes_##set(uint8_t *dst, const uint8_t *src, size_t count,                     \
                              unsigned element_bytes)

#define MMH_TIERS_DECLARE(set)                                                               \
    size_t mmh_tier_encode_##set(uint8_t *dst, uint16_t counts[MMH_TIER_MAX + 1],            \
                                 const uint8_t *symbols, size_t count,                       \
                                 const struct mmh_tiers *tiers, uint8_t *scratch);           \
    bool mmh_tier_decode_##set(uint8_t *symbols, const uint8_t *src, const uint16_t *counts, \
                               const struct mmh_tiers *tiers, uint8_t *scratch);             \
    bool mmh_tier_merge_##set(const struct mmh_merge *merge, const uint8_t *src,             \
                              const uint16_t *counts, const struct mmh_tiers *tiers,         \
                              uint8_t *symbols, uint8_t *scratch)

void mmh_fence_c(void);
void mmh_fence_avx2(void);
void mmh_fence_avx512(void);
void mmh_fence_neon(void);
MMH_FLOAT_DECLARE(c);
MMH_FLOAT_DECLARE(avx2);
MMH_FLOAT_DECLARE(avx512);
MMH_FLOAT_DECLARE(neon);
MMH_TIERS_DECLARE(c);
MMH_TIERS_DECLARE(avx2);
MMH_TIERS_DECLARE(avx512);
MMH_TIERS_DECLARE(neon);

/* Fetch into the second-level cache what lies so far behind `at`: any address will do. */
MMH_INLINE void mmh_fetch(const void *at, size_t ahead)
{
    __builtin_prefetch((const void *)((uintptr_t)at + ahead), 0, 2);
}

/* ---- floats ---- */

enum { MMH_FETCH_AHEAD = 4096 }; /* in planes: a block's start is fetched at the last one's end */

/*
 * Stored bits to raw bits and back without branches:
 *   raw    = (stored & high) << shift | (stored & low) | sign
 *   stored = (raw >> shift & high) | (raw & low)
 */
struct mmh_raw_form {
    uint16_t high, low, sign;
    uint8_t shift;
};

MMH_INLINE struct mmh_raw_form mmh_raw_form(const struct mmh_split *split)
{
    struct mmh_raw_form form = { 0xfffe, 1, 0, split->zero_low };
    if (split->sign_mode)
        form = (struct mmh_raw_form){ 0xffff, 0, split->sign_mode == 2,
                                      (uint8_t)(split->zero_low + 1) };
    return form;
}

/* Whether raw bits are stored as they are. */
MMH_INLINE bool mmh_split_plain(const struct mmh_split *split)
{
    return !split->sign_mode && !split->zero_low;
}

/* Whether symbols may differ from their bytes. */
MMH_INLINE bool mmh_split_windowed(const struct mmh_split *split)
{
    return split->window_base || split->raw_bits < 8;
}

/* The splits in daily use, for which loops are made: X(element bytes, raw bits, stored bits, plain,
 * windowed). */
#define MMH_BRAIN_SHAPES(X, element_bytes) \
    X(element_bytes, 8, 8, true, false)    \
    X(element_bytes, 7, 7, true, true)     \
    X(element_bytes, 6, 6, true, true)     \
    X(element_bytes, 8, 7, false, false)   \
    X(element_bytes, 7, 6, false, true)    \
    X(element_bytes, 6, 5, false, true)    \
    X(element_bytes, 8, 0, false, false) /* symbols alone */
#define MMH_HALF_SHAPES(X)     \
    X(2, 11, 11, true, false)  \
    X(2, 10, 10, true, false)  \
    X(2, 9, 9, true, false)    \
    X(2, 11, 10, false, false) \
    X(2, 10, 9, false, false)  \
    X(2, 9, 8, false, false)   \
    X(2, 11, 0, false, false)
#define MMH_SPLIT_SHAPES(X) MMH_BRAIN_SHAPES(X, 2) MMH_BRAIN_SHAPES(X, 4) MMH_HALF_SHAPES(X)

/* Planes of `bits` bits of whole groups that lie one after another at `first`. */
MMH_INLINE void mmh_planes_in_row(struct mmh_planes *planes, uint8_t *first, size_t groups,
                                  unsigned bits)
{
    for (unsigned p = 0; p < 4; p++) {
        planes->plane[p] = first;
        if (bits & 8u >> p)
            first += groups * (64u >> p);
    }
}

/* ---- tiers ---- */

/* Bytes of one bit plane of `entries` bits. */
MMH_INLINE size_t mmh_tier_plane_bytes(size_t entries)
{
    return (entries + 31) / 32 * 4;
}

/* Whether the bits of a plane after its last entry are zero, as they must be. */
MMH_INLINE bool mmh_tier_rest_zero(const uint8_t *plane, size_t entries)
{
    return entries % 32 == 0 || mmh_load32(plane + entries / 32 * 4) >> entries % 32 == 0;
}

/* Where the parts of a block lie. */
struct mmh_tier_layout {
    size_t plane[MMH_TIER_MAX]; /* plane 0 of each tier; plane 1 follows it */
    size_t escapes;
    size_t bytes;
};

MMH_INLINE void mmh_tier_layout(struct mmh_tier_layout *layout, const uint16_t *counts,
                                unsigned tier_count)
{
    size_t at = 0;
    for (unsigned k = 0; k < tier_count; k++) {
        layout->plane[k] = at;
        at += 2 * mmh_tier_plane_bytes(counts[k]);
    }
    layout->escapes = at;
    layout->bytes = at + (size_t)mmh_round_up(counts[tier_count], 4);
}

#endif
