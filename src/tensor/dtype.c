/*
 * Element types: one row each, and the other names that people give them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tensor/dtype.h"

#include "base/bits.h"

static const struct {
    const char *name;
    uint8_t bits;
    uint8_t scalar; /* mmh_dtype */
} dtypes[MMH_DTYPE_COUNT] = {
    [MMH_DTYPE_OPAQUE] = { "OPAQUE", 8, MMH_DTYPE_OPAQUE },
    [MMH_DTYPE_BOOL] = { "BOOL", 8, MMH_DTYPE_BOOL },
    [MMH_DTYPE_U8] = { "U8", 8, MMH_DTYPE_U8 },
    [MMH_DTYPE_I8] = { "I8", 8, MMH_DTYPE_I8 },
    [MMH_DTYPE_U16] = { "U16", 16, MMH_DTYPE_U16 },
    [MMH_DTYPE_I16] = { "I16", 16, MMH_DTYPE_I16 },
    [MMH_DTYPE_U32] = { "U32", 32, MMH_DTYPE_U32 },
    [MMH_DTYPE_I32] = { "I32", 32, MMH_DTYPE_I32 },
    [MMH_DTYPE_U64] = { "U64", 64, MMH_DTYPE_U64 },
    [MMH_DTYPE_I64] = { "I64", 64, MMH_DTYPE_I64 },
    [MMH_DTYPE_F16] = { "F16", 16, MMH_DTYPE_F16 },
    [MMH_DTYPE_BF16] = { "BF16", 16, MMH_DTYPE_BF16 },
    [MMH_DTYPE_F32] = { "F32", 32, MMH_DTYPE_F32 },
    [MMH_DTYPE_F64] = { "F64", 64, MMH_DTYPE_F64 },
    [MMH_DTYPE_F8_E4M3] = { "F8_E4M3", 8, MMH_DTYPE_F8_E4M3 },
    [MMH_DTYPE_F8_E5M2] = { "F8_E5M2", 8, MMH_DTYPE_F8_E5M2 },
    [MMH_DTYPE_F8_E8M0] = { "F8_E8M0", 8, MMH_DTYPE_F8_E8M0 },
    [MMH_DTYPE_F4] = { "F4", 4, MMH_DTYPE_U8 },
    [MMH_DTYPE_F6_E2M3] = { "F6_E2M3", 6, MMH_DTYPE_U8 },
    [MMH_DTYPE_F6_E3M2] = { "F6_E3M2", 6, MMH_DTYPE_U8 },
    [MMH_DTYPE_C64] = { "C64", 64, MMH_DTYPE_F32 },
    [MMH_DTYPE_C128] = { "C128", 128, MMH_DTYPE_F64 },
    [MMH_DTYPE_F8_E4M3FNUZ] = { "F8_E4M3FNUZ", 8, MMH_DTYPE_F8_E4M3FNUZ },
    [MMH_DTYPE_F8_E5M2FNUZ] = { "F8_E5M2FNUZ", 8, MMH_DTYPE_F8_E5M2FNUZ },
    [MMH_DTYPE_I4] = { "I4", 4, MMH_DTYPE_U8 },
    [MMH_DTYPE_U4] = { "U4", 4, MMH_DTYPE_U8 },
};

static const struct {
    const char *name;
    uint8_t dtype;
} aliases[] = {
    { "bfloat16", MMH_DTYPE_BF16 },
    { "float16", MMH_DTYPE_F16 },
    { "half", MMH_DTYPE_F16 },
    { "fp16", MMH_DTYPE_F16 },
    { "float32", MMH_DTYPE_F32 },
    { "float", MMH_DTYPE_F32 },
    { "fp32", MMH_DTYPE_F32 },
    { "float64", MMH_DTYPE_F64 },
    { "double", MMH_DTYPE_F64 },
    { "fp64", MMH_DTYPE_F64 },
    { "uint8", MMH_DTYPE_U8 },
    { "int8", MMH_DTYPE_I8 },
    { "uint16", MMH_DTYPE_U16 },
    { "int16", MMH_DTYPE_I16 },
    { "uint32", MMH_DTYPE_U32 },
    { "int32", MMH_DTYPE_I32 },
    { "uint64", MMH_DTYPE_U64 },
    { "int64", MMH_DTYPE_I64 },
    { "complex64", MMH_DTYPE_C64 },
    { "complex128", MMH_DTYPE_C128 },
    { "float8_e4m3", MMH_DTYPE_F8_E4M3 },
    { "float8_e4m3fn", MMH_DTYPE_F8_E4M3 },
    { "float8_e5m2", MMH_DTYPE_F8_E5M2 },
    { "float8_e8m0fnu", MMH_DTYPE_F8_E8M0 },
    { "float8_e4m3fnuz", MMH_DTYPE_F8_E4M3FNUZ },
    { "float8_e5m2fnuz", MMH_DTYPE_F8_E5M2FNUZ },
    { "float6_e2m3fn", MMH_DTYPE_F6_E2M3 },
    { "float6_e3m2fn", MMH_DTYPE_F6_E3M2 },
    { "float4_e2m1fn", MMH_DTYPE_F4 },
    { "int4", MMH_DTYPE_I4 },
    { "uint4", MMH_DTYPE_U4 },
};

/* The enum may be signed or not: one comparison serves both. */
static bool is_dtype(mmh_dtype dtype)
{
    return (unsigned)dtype < MMH_DTYPE_COUNT;
}

unsigned mmh_dtype_bits(mmh_dtype dtype)
{
    return is_dtype(dtype) ? dtypes[dtype].bits : 0;
}

const char *mmh_dtype_name(mmh_dtype dtype)
{
    return is_dtype(dtype) ? dtypes[dtype].name : NULL;
}

static char to_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; /* whatever the locale */
}

static bool same_name(const char *known, const char *name, size_t name_bytes)
{
    for (size_t i = 0; i < name_bytes; i++)
        if (!known[i] || to_lower(known[i]) != to_lower(name[i]))
            return false;
    return !known[name_bytes];
}

mmh_dtype mmh_dtype_find(const char *name, size_t name_bytes)
{
    for (unsigned dtype = 0; dtype < MMH_DTYPE_COUNT; dtype++)
        if (same_name(dtypes[dtype].name, name, name_bytes))
            return (mmh_dtype)dtype;
    for (size_t i = 0; i < MMH_COUNT_OF(aliases); i++)
        if (same_name(aliases[i].name, name, name_bytes))
            return (mmh_dtype)aliases[i].dtype;
    return MMH_DTYPE_COUNT;
}

mmh_dtype mmh_dtype_scalar(mmh_dtype dtype)
{
    return is_dtype(dtype) ? (mmh_dtype)dtypes[dtype].scalar : MMH_DTYPE_OPAQUE;
}

unsigned mmh_dtype_scalar_bytes(mmh_dtype dtype)
{
    return mmh_dtype_bits(mmh_dtype_scalar(dtype)) / 8;
}
