/*
 * Elements as numbers: what each bit pattern of each element type stands for.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Sources: IEEE 754 (binary16, 32, 64), OCP 8-bit Floating Point (E4M3 without infinities, E5M2),
 * OCP Microscaling Formats (E8M0, E2M1, E2M3, E3M2), and for the FNUZ types (one zero, one NaN,
 * a bias one higher) Noune et al., arXiv:2206.02915.
 */
#include <math.h>
#include <string.h>

#include "base/bits.h"
#include "base/status.h"
#include "tensor/dtype.h"

/* How a small float is laid out: sign, exponent, mantissa. */
struct small_float {
    uint8_t exponent_bits, mantissa_bits, bias;
    enum { FINITE, IEEE, ONE_NAN, FNUZ } specials; /* ONE_NAN: all ones but the sign */
};

static double small_value(unsigned bits, const struct small_float *type)
{
    unsigned width = 1u + type->exponent_bits + type->mantissa_bits;
    unsigned exponent_max = (1u << type->exponent_bits) - 1;
    unsigned mantissa_max = (1u << type->mantissa_bits) - 1;
    unsigned sign = bits >> (width - 1) & 1;
    unsigned exponent = bits >> type->mantissa_bits & exponent_max;
    unsigned mantissa = bits & mantissa_max;
    double value;
    if (type->specials == FNUZ && sign && !exponent && !mantissa)
        return (double)NAN;
    if (type->specials == ONE_NAN && exponent == exponent_max && mantissa == mantissa_max)
        return (double)NAN;
    if (type->specials == IEEE && exponent == exponent_max)
        value = mantissa ? (double)NAN : (double)INFINITY;
    else if (exponent)
        value = ldexp((double)(mantissa + mantissa_max + 1),
                      (int)exponent - type->bias - type->mantissa_bits);
    else
        value = ldexp((double)mantissa, 1 - type->bias - type->mantissa_bits);
    return sign ? -value : value;
}

static const struct small_float *small_type(mmh_dtype dtype)
{
    static const struct small_float types[MMH_DTYPE_COUNT] = {
        [MMH_DTYPE_F16] = { 5, 10, 15, IEEE },        [MMH_DTYPE_F8_E4M3] = { 4, 3, 7, ONE_NAN },
        [MMH_DTYPE_F8_E5M2] = { 5, 2, 15, IEEE },     [MMH_DTYPE_F8_E4M3FNUZ] = { 4, 3, 8, FNUZ },
        [MMH_DTYPE_F8_E5M2FNUZ] = { 5, 2, 16, FNUZ }, [MMH_DTYPE_F4] = { 2, 1, 1, FINITE },
        [MMH_DTYPE_F6_E2M3] = { 2, 3, 1, FINITE },    [MMH_DTYPE_F6_E3M2] = { 3, 2, 3, FINITE },
    };
    return types[dtype].exponent_bits ? &types[dtype] : NULL;
}

/* Element `i` of a type with 4 or 6 bits: bits go on from byte to byte, low ones first. */
static unsigned packed_bits(const uint8_t *src, uint64_t i, unsigned bits)
{
    uint64_t at = i * bits;
    unsigned low = src[at / 8], shift = (unsigned)(at % 8);
    unsigned high = shift + bits > 8 ? src[at / 8 + 1] : 0;
    return (low | high << 8) >> shift & ((1u << bits) - 1);
}

#define CONVERT(TYPE)                                                       \
    do {                                                                    \
        for (size_t i = 0; i < count; i++) {                                \
            TYPE value;                                                     \
            memcpy(&value, src + (first + i) * sizeof value, sizeof value); \
            dst[i] = (double)value;                                         \
        }                                                                   \
    } while (0)

static void convert(double *dst, const uint8_t *src, mmh_dtype dtype, uint64_t first, size_t count)
{
    const struct small_float *small = small_type(dtype);
    unsigned bits = mmh_dtype_bits(dtype);
    if (small && bits == 16) {
        for (size_t i = 0; i < count; i++) {
            uint16_t value;
            memcpy(&value, src + (first + i) * 2, 2);
            dst[i] = small_value(value, small);
        }
        return;
    }
    if (small) {
        double values[256];
        for (unsigned v = 0; v < 1u << bits; v++)
            values[v] = small_value(v, small);
        for (size_t i = 0; i < count; i++)
            dst[i] = values[bits == 8 ? src[first + i] : packed_bits(src, first + i, bits)];
        return;
    }
    switch (dtype) {
    case MMH_DTYPE_I8:
        CONVERT(int8_t);
        break;
    case MMH_DTYPE_U16:
        CONVERT(uint16_t);
        break;
    case MMH_DTYPE_I16:
        CONVERT(int16_t);
        break;
    case MMH_DTYPE_U32:
        CONVERT(uint32_t);
        break;
    case MMH_DTYPE_I32:
        CONVERT(int32_t);
        break;
    case MMH_DTYPE_U64:
        CONVERT(uint64_t);
        break;
    case MMH_DTYPE_I64:
        CONVERT(int64_t);
        break;
    case MMH_DTYPE_F32:
        CONVERT(float);
        break;
    case MMH_DTYPE_F64:
        CONVERT(double);
        break;
    case MMH_DTYPE_BF16:
        for (size_t i = 0; i < count; i++) {
            uint16_t half;
            memcpy(&half, src + (first + i) * 2, 2);
            uint32_t whole = (uint32_t)half << 16;
            float value;
            memcpy(&value, &whole, 4);
            dst[i] = (double)value;
        }
        break;
    case MMH_DTYPE_F8_E8M0:
        for (size_t i = 0; i < count; i++)
            dst[i] = src[first + i] == 255 ? (double)NAN : ldexp(1, (int)src[first + i] - 127);
        break;
    case MMH_DTYPE_U4:
        for (size_t i = 0; i < count; i++)
            dst[i] = packed_bits(src, first + i, 4);
        break;
    case MMH_DTYPE_U2:
        for (size_t i = 0; i < count; i++)
            dst[i] = packed_bits(src, first + i, 2);
        break;
    case MMH_DTYPE_I2:
        for (size_t i = 0; i < count; i++)
            dst[i] = (double)((int)(packed_bits(src, first + i, 2) ^ 2) - 2);
        break;
    case MMH_DTYPE_I4:
        for (size_t i = 0; i < count; i++)
            dst[i] = (double)((int)(packed_bits(src, first + i, 4) ^ 8) - 8);
        break;
    default:
        CONVERT(uint8_t);
        break;
    }
}

unsigned mmh_dtype_values(mmh_dtype dtype)
{
    return !mmh_dtype_bits(dtype) ? 0 : dtype == MMH_DTYPE_C64 || dtype == MMH_DTYPE_C128 ? 2 : 1;
}

mmh_status mmh_values(double *destination, const void *source, size_t source_bytes, mmh_dtype dtype,
                      uint64_t first, size_t count, mmh_error *err)
{
    unsigned bits = mmh_dtype_bits(dtype), values = mmh_dtype_values(dtype);
    uint64_t end, end_bits;
    if (mmh_dtype_is_block(dtype))
        return mmh_fail(err, MMH_E_UNSUPPORTED, "values of %s, whose elements come in blocks",
                        mmh_dtype_name(dtype));
    if (!bits)
        return mmh_fail(err, MMH_E_USAGE, "no element type has the number %u", (unsigned)dtype);
    if (!mmh_u64_add(&end, first, count) || !mmh_u64_mul(&end_bits, end, bits) ||
        end_bits / 8 + (end_bits % 8 != 0) > source_bytes)
        return mmh_fail(err, MMH_E_USAGE, "%zu bytes do not hold elements %llu to %llu",
                        source_bytes, (unsigned long long)first,
                        (unsigned long long)(first + count));
    if (values == 2)
        dtype = mmh_dtype_scalar(dtype);
    if (count)
        convert(destination, source, dtype, first * values, count * values);
    return MMH_OK;
}
