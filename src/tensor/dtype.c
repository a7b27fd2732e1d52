/*
 * Element types: one row each, and the other names that people give them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tensor/dtype.h"

#include "base/bits.h"

static const struct {
    const char *name;
    uint8_t bits;   /* 0: a block type */
    uint8_t scalar; /* mmh_dtype */
    uint16_t block_elements, block_bytes;
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
    [MMH_DTYPE_I2] = { "I2", 2, MMH_DTYPE_U8 },
    [MMH_DTYPE_U2] = { "U2", 2, MMH_DTYPE_U8 },
    /* ggml-common.h of github.com/ggml-org/llama.cpp */
    [MMH_DTYPE_Q4_0] = { "Q4_0", 0, MMH_DTYPE_U8, 32, 18 },
    [MMH_DTYPE_Q4_1] = { "Q4_1", 0, MMH_DTYPE_U8, 32, 20 },
    [MMH_DTYPE_Q5_0] = { "Q5_0", 0, MMH_DTYPE_U8, 32, 22 },
    [MMH_DTYPE_Q5_1] = { "Q5_1", 0, MMH_DTYPE_U8, 32, 24 },
    [MMH_DTYPE_Q8_0] = { "Q8_0", 0, MMH_DTYPE_U8, 32, 34 },
    [MMH_DTYPE_Q8_1] = { "Q8_1", 0, MMH_DTYPE_U8, 32, 36 },
    [MMH_DTYPE_Q2_K] = { "Q2_K", 0, MMH_DTYPE_U8, 256, 84 },
    [MMH_DTYPE_Q3_K] = { "Q3_K", 0, MMH_DTYPE_U8, 256, 110 },
    [MMH_DTYPE_Q4_K] = { "Q4_K", 0, MMH_DTYPE_U8, 256, 144 },
    [MMH_DTYPE_Q5_K] = { "Q5_K", 0, MMH_DTYPE_U8, 256, 176 },
    [MMH_DTYPE_Q6_K] = { "Q6_K", 0, MMH_DTYPE_U8, 256, 210 },
    [MMH_DTYPE_Q8_K] = { "Q8_K", 0, MMH_DTYPE_U8, 256, 292 },
    [MMH_DTYPE_IQ2_XXS] = { "IQ2_XXS", 0, MMH_DTYPE_U8, 256, 66 },
    [MMH_DTYPE_IQ2_XS] = { "IQ2_XS", 0, MMH_DTYPE_U8, 256, 74 },
    [MMH_DTYPE_IQ2_S] = { "IQ2_S", 0, MMH_DTYPE_U8, 256, 82 },
    [MMH_DTYPE_IQ3_XXS] = { "IQ3_XXS", 0, MMH_DTYPE_U8, 256, 98 },
    [MMH_DTYPE_IQ3_S] = { "IQ3_S", 0, MMH_DTYPE_U8, 256, 110 },
    [MMH_DTYPE_IQ1_S] = { "IQ1_S", 0, MMH_DTYPE_U8, 256, 50 },
    [MMH_DTYPE_IQ1_M] = { "IQ1_M", 0, MMH_DTYPE_U8, 256, 56 },
    [MMH_DTYPE_IQ4_NL] = { "IQ4_NL", 0, MMH_DTYPE_U8, 32, 18 },
    [MMH_DTYPE_IQ4_XS] = { "IQ4_XS", 0, MMH_DTYPE_U8, 256, 136 },
    [MMH_DTYPE_TQ1_0] = { "TQ1_0", 0, MMH_DTYPE_U8, 256, 54 },
    [MMH_DTYPE_TQ2_0] = { "TQ2_0", 0, MMH_DTYPE_U8, 256, 66 },
    [MMH_DTYPE_MXFP4] = { "MXFP4", 0, MMH_DTYPE_U8, 32, 17 },
    [MMH_DTYPE_NVFP4] = { "NVFP4", 0, MMH_DTYPE_U8, 64, 36 },
    [MMH_DTYPE_Q1_0] = { "Q1_0", 0, MMH_DTYPE_U8, 128, 18 },
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
    { "int2", MMH_DTYPE_I2 },
    { "uint2", MMH_DTYPE_U2 },
};

/* The enum may be signed or not: one comparison serves both. */
static bool is_dtype(mmh_dtype dtype)
{
    return (unsigned)dtype < MMH_DTYPE_COUNT;
}

bool mmh_dtype_known(mmh_dtype dtype)
{
    return is_dtype(dtype);
}

bool mmh_dtype_is_block(mmh_dtype dtype)
{
    return is_dtype(dtype) && dtypes[dtype].block_elements;
}

unsigned mmh_dtype_block(mmh_dtype dtype, unsigned *bytes)
{
    unsigned bits = mmh_dtype_bits(dtype);
    bool block = mmh_dtype_is_block(dtype);
    *bytes = block ? dtypes[dtype].block_bytes : bits % 8 ? 0 : bits / 8;
    return block ? dtypes[dtype].block_elements : *bytes != 0;
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
