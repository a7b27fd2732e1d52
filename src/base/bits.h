/*
 * Little-endian loads and stores at any address, rotations, and counts of bits.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_BITS_H
#define MMH_BITS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MMH_MIN(a, b) ((a) < (b) ? (a) : (b))
#define MMH_MAX(a, b) ((a) > (b) ? (a) : (b))
#define MMH_COUNT_OF(array) (sizeof(array) / sizeof *(array))

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define MMH_BIG_ENDIAN 1
#else
#define MMH_BIG_ENDIAN 0
#endif

static inline uint16_t mmh_swap16(uint16_t value)
{
    return (uint16_t)(value << 8 | value >> 8);
}

static inline uint32_t mmh_swap32(uint32_t value)
{
    return __builtin_bswap32(value);
}

static inline uint64_t mmh_swap64(uint64_t value)
{
    return __builtin_bswap64(value);
}

static inline uint16_t mmh_load16(const void *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return MMH_BIG_ENDIAN ? mmh_swap16(value) : value;
}

static inline uint32_t mmh_load32(const void *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return MMH_BIG_ENDIAN ? mmh_swap32(value) : value;
}

static inline uint64_t mmh_load64(const void *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return MMH_BIG_ENDIAN ? mmh_swap64(value) : value;
}

static inline void mmh_store16(void *at, uint16_t value)
{
    value = MMH_BIG_ENDIAN ? mmh_swap16(value) : value;
    memcpy(at, &value, sizeof value);
}

static inline void mmh_store32(void *at, uint32_t value)
{
    value = MMH_BIG_ENDIAN ? mmh_swap32(value) : value;
    memcpy(at, &value, sizeof value);
}

static inline void mmh_store64(void *at, uint64_t value)
{
    value = MMH_BIG_ENDIAN ? mmh_swap64(value) : value;
    memcpy(at, &value, sizeof value);
}

/* Big-endian fields of foreign formats. */
static inline uint32_t mmh_load32_big(const void *at)
{
    return mmh_swap32(mmh_load32(at));
}

static inline uint64_t mmh_load64_big(const void *at)
{
    return mmh_swap64(mmh_load64(at));
}

/* `by` is taken modulo the width. */
static inline uint16_t mmh_rotl16(uint16_t value, unsigned by)
{
    return (uint16_t)(value << (by & 15) | value >> (-by & 15));
}

static inline uint16_t mmh_rotr16(uint16_t value, unsigned by)
{
    return (uint16_t)(value >> (by & 15) | value << (-by & 15));
}

static inline uint32_t mmh_rotl32(uint32_t value, unsigned by)
{
    return value << (by & 31) | value >> (-by & 31);
}

static inline uint32_t mmh_rotr32(uint32_t value, unsigned by)
{
    return value >> (by & 31) | value << (-by & 31);
}

static inline uint64_t mmh_rotl64(uint64_t value, unsigned by)
{
    return value << (by & 63) | value >> (-by & 63);
}

static inline uint64_t mmh_rotr64(uint64_t value, unsigned by)
{
    return value >> (by & 63) | value << (-by & 63);
}

/* Leading and trailing zeros: the width for 0. */
static inline unsigned mmh_clz32(uint32_t value)
{
    return value ? (unsigned)__builtin_clz(value) : 32;
}

static inline unsigned mmh_clz64(uint64_t value)
{
    return value ? (unsigned)__builtin_clzll(value) : 64;
}

static inline unsigned mmh_ctz32(uint32_t value)
{
    return value ? (unsigned)__builtin_ctz(value) : 32;
}

static inline unsigned mmh_ctz64(uint64_t value)
{
    return value ? (unsigned)__builtin_ctzll(value) : 64;
}

static inline unsigned mmh_popcount32(uint32_t value)
{
    return (unsigned)__builtin_popcount(value);
}

static inline unsigned mmh_popcount64(uint64_t value)
{
    return (unsigned)__builtin_popcountll(value);
}

/* The least b with value <= 2^b; 0 for 0 and 1. */
static inline unsigned mmh_log2_ceil(uint64_t value)
{
    return value < 2 ? 0 : 64 - mmh_clz64(value - 1);
}

/* value rounded up to a multiple of `to`, a power of two; the caller knows that it fits. */
static inline uint64_t mmh_round_up(uint64_t value, uint64_t to)
{
    return (value + to - 1) & ~(to - 1);
}

/* ceil(value / by), by > 0, for every value. */
static inline uint64_t mmh_divide_up(uint64_t value, uint64_t by)
{
    return value / by + (value % by != 0);
}

#endif
