/*
 * The rANS part of every kernel set: what kernel.c puts into struct mmh_kernels.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_KERNEL_RANS_H
#define MMH_KERNEL_RANS_H

#include "kernel/kernel.h"

enum { MMH_RANS_GROUP = 4 * MMH_RANS_LANES }; /* symbols in four steps of all lanes */

#define MMH_RANS_DECLARE(set)                                                                  \
    bool mmh_rans_decode_##set(const struct mmh_rans_stripe *stripes, size_t stripe_count,     \
                               const uint32_t *tables, unsigned bits);                         \
    size_t mmh_rans_encode_##set(uint8_t *states, uint8_t *words, size_t word_room,            \
                                 const uint8_t *symbols, const uint8_t *ids, size_t count,     \
                                 const struct mmh_rans_encode_table *tables, unsigned bits);   \
    void mmh_histogram_##set(uint32_t *histogram, const uint8_t *symbols, size_t count,        \
                             size_t stride);                                                   \
    void mmh_histogram_classes_##set(uint32_t *histogram, const uint8_t *symbols,              \
                                     const uint8_t *bins, size_t count, size_t stride);        \
    void mmh_row_column_sums_##set(uint64_t *row_sum, uint32_t *column_sum,                    \
                                   const uint8_t *symbols, uint64_t first, size_t count,       \
                                   uint64_t columns);                                          \
    void mmh_classes_##set(uint8_t *out, uint64_t first, size_t count, uint64_t columns,       \
                           const int8_t *row, const int8_t *column, const uint8_t *map);       \
    size_t mmh_within_##set(const uint8_t *symbols, const uint8_t *first, const uint8_t *last, \
                            uint8_t zeros, size_t count);                                      \
    void mmh_bytes_add_##set(uint8_t *dst, const uint8_t *src, size_t count);                  \
    void mmh_bytes_subtract_##set(uint8_t *dst, const uint8_t *src, size_t count)

MMH_RANS_DECLARE(c);
MMH_RANS_DECLARE(avx2);
MMH_RANS_DECLARE(avx512);
MMH_RANS_DECLARE(neon);

#endif
