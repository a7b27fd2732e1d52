/*
 * Element types: one row each, and the other names that people give them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tensor/dtype.h"

#include "base/bits.h"

#define SCALAR(name, bits, scalar) \
    {                              \
        name, bits, scalar, 0, 0   \
    }
#define BLOCK(name, elements, bytes)           \
    {                                          \
        name, 0, MMH_DTYPE_U8, elements, bytes \
    }

static const struct {
    const char *name;
    uint8_t bits;   /* 0: a block type */
    uint8_t scalar; /* mmh_dtype */
    uint16_t block_elements, block_bytes;
} dtypes[MMH_DTYPE_COUNT] = {
    [MMH_DTYPE_OPAQUE] = SCALAR("OPAQUE", 8, MMH_DTYPE_OPAQUE),
    [MMH_DTYPE_BOOL] = SCALAR("BOOL", 8, MMH_DTYPE_BOOL),
    [MMH_DTYPE_U8] = SCALAR("U8", 8, MMH_DTYPE_U8),
    [MMH_DTYPE_I8] = SCALAR("I8", 8, MMH_DTYPE_I8),
    [MMH_DTYPE_U16] = SCALAR("U16", 16, MMH_DTYPE_U16),
    [MMH_DTYPE_I16] = SCALAR("I16", 16, MMH_DTYPE_I16),
    [MMH_DTYPE_U32] = SCALAR("U32", 32, MMH_DTYPE_U32),
    [MMH_DTYPE_I32] = SCALAR("I32", 32, MMH_DTYPE_I32),
    [MMH_DTYPE_U64] = SCALAR("U64", 64, MMH_DTYPE_U64),
    [MMH_DTYPE_I64] = SCALAR("I64", 64, MMH_DTYPE_I64),
    [MMH_DTYPE_F16] = SCALAR("F16", 16, MMH_DTYPE_F16),
    [MMH_DTYPE_BF16] = SCALAR("BF16", 16, MMH_DTYPE_BF16),
    [MMH_DTYPE_F32] = SCALAR("F32", 32, MMH_DTYPE_F32),
    [MMH_DTYPE_F64] = SCALAR("F64", 64, MMH_DTYPE_F64),
    [MMH_DTYPE_F8_E4M3] = SCALAR("F8_E4M3", 8, MMH_DTYPE_F8_E4M3),
    [MMH_DTYPE_F8_E5M2] = SCALAR("F8_E5M2", 8, MMH_DTYPE_F8_E5M2),
    [MMH_DTYPE_F8_E8M0] = SCALAR("F8_E8M0", 8, MMH_DTYPE_F8_E8M0),
    [MMH_DTYPE_F4] = SCALAR("F4", 4, MMH_DTYPE_U8),
    [MMH_DTYPE_F6_E2M3] = SCALAR("F6_E2M3", 6, MMH_DTYPE_U8),
    [MMH_DTYPE_F6_E3M2] = SCALAR("F6_E3M2", 6, MMH_DTYPE_U8),
    [MMH_DTYPE_C64] = SCALAR("C64", 64, MMH_DTYPE_F32),
    [MMH_DTYPE_C128] = SCALAR("C128", 128, MMH_DTYPE_F64),
    [MMH_DTYPE_F8_E4M3FNUZ] = SCALAR("F8_E4M3FNUZ", 8, MMH_DTYPE_F8_E4M3FNUZ),
    [MMH_DTYPE_F8_E5M2FNUZ] = SCALAR("F8_E5M2FNUZ", 8, MMH_DTYPE_F8_E5M2FNUZ),
    [MMH_DTYPE_I4] = SCALAR("I4", 4, MMH_DTYPE_U8),
    [MMH_DTYPE_U4] = SCALAR("U4", 4, MMH_DTYPE_U8),
    [MMH_DTYPE_I2] = SCALAR("I2", 2, MMH_DTYPE_U8),
    [MMH_DTYPE_U2] = SCALAR("U2", 2, MMH_DTYPE_U8),
    /* ggml-common.h of github.com/ggml-org/llama.cpp */
    [MMH_DTYPE_Q4_0] = BLOCK("Q4_0", 32, 18),
    [MMH_DTYPE_Q4_1] = BLOCK("Q4_1", 32, 20),
    [MMH_DTYPE_Q5_0] = BLOCK("Q5_0", 32, 22),
    [MMH_DTYPE_Q5_1] = BLOCK("Q5_1", 32, 24),
    [MMH_DTYPE_Q8_0] = BLOCK("Q8_0", 32, 34),
    [MMH_DTYPE_Q8_1] = BLOCK("Q8_1", 32, 36),
    [MMH_DTYPE_Q2_K] = BLOCK("Q2_K", 256, 84),
    [MMH_DTYPE_Q3_K] = BLOCK("Q3_K", 256, 110),
    [MMH_DTYPE_Q4_K] = BLOCK("Q4_K", 256, 144),
    [MMH_DTYPE_Q5_K] = BLOCK("Q5_K", 256, 176),
    [MMH_DTYPE_Q6_K] = BLOCK("Q6_K", 256, 210),
    [MMH_DTYPE_Q8_K] = BLOCK("Q8_K", 256, 292),
    [MMH_DTYPE_IQ2_XXS] = BLOCK("IQ2_XXS", 256, 66),
    [MMH_DTYPE_IQ2_XS] = BLOCK("IQ2_XS", 256, 74),
    [MMH_DTYPE_IQ2_S] = BLOCK("IQ2_S", 256, 82),
    [MMH_DTYPE_IQ3_XXS] = BLOCK("IQ3_XXS", 256, 98),
    [MMH_DTYPE_IQ3_S] = BLOCK("IQ3_S", 256, 110),
    [MMH_DTYPE_IQ1_S] = BLOCK("IQ1_S", 256, 50),
    [MMH_DTYPE_IQ1_M] = BLOCK("IQ1_M", 256, 56),
    [MMH_DTYPE_IQ4_NL] = BLOCK("IQ4_NL", 32, 18),
    [MMH_DTYPE_IQ4_XS] = BLOCK("IQ4_XS", 256, 136),
    [MMH_DTYPE_TQ1_0] = BLOCK("TQ1_0", 256, 54),
    [MMH_DTYPE_TQ2_0] = BLOCK("TQ2_0", 256, 66),
    [MMH_DTYPE_MXFP4] = BLOCK("MXFP4", 32, 17),
    [MMH_DTYPE_NVFP4] = BLOCK("NVFP4", 64, 36),
    [MMH_DTYPE_Q1_0] = BLOCK("Q1_0", 128, 18),
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
