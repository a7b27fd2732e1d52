/*
 * gguf: key-values, then what each tensor is and where, then their bytes.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * All three versions, in both byte orders. Dimensions are told fastest first there, and here the
 * other way round, as numpy has them. In big-endian files the numbers within blocks are big-endian
 * too; codecs see blocks as bytes.
 * Source: docs/gguf.md of github.com/ggml-org/ggml; ggml/include/ggml.h and ggml/src/gguf.cpp of
 * github.com/ggml-org/llama.cpp.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "format/format_table.h"

enum {
    VERSION_MAX = 3,
    DIMENSIONS_MAX = 8, /* ggml has 4 */
    NAME_BYTES_MAX = 65535,
    TENSORS_MAX = 1 << 17, /* what a map of them takes is many times what a file of them has */
    ENTRIES_MAX = 1 << 14, /* key-values that are kept */
    TEXT_BYTES_MAX = 256,  /* of a value that is kept: not templates and licences */
    ARRAY_DEPTH_MAX = 8,
    ALIGNMENT_DEFAULT = 32,
    TYPE_COUNT = 42 /* of tensors */
};

enum value_type {
    VALUE_U8,
    VALUE_I8,
    VALUE_U16,
    VALUE_I16,
    VALUE_U32,
    VALUE_I32,
    VALUE_F32,
    VALUE_BOOL,
    VALUE_STRING,
    VALUE_ARRAY,
    VALUE_U64,
    VALUE_I64,
    VALUE_F64,
    VALUE_TYPE_COUNT
};

static const uint8_t value_bytes[VALUE_TYPE_COUNT] = {
    [VALUE_U8] = 1,  [VALUE_I8] = 1,  [VALUE_U16] = 2, [VALUE_I16] = 2,
    [VALUE_U32] = 4, [VALUE_I32] = 4, [VALUE_F32] = 4, [VALUE_BOOL] = 1,
    [VALUE_U64] = 8, [VALUE_I64] = 8, [VALUE_F64] = 8,
};

/* Types of tensors by ggml's numbers; 0: none. */
static const uint8_t tensor_types[TYPE_COUNT] = {
    [0] = MMH_DTYPE_F32,     [1] = MMH_DTYPE_F16,      [2] = MMH_DTYPE_Q4_0,
    [3] = MMH_DTYPE_Q4_1,    [6] = MMH_DTYPE_Q5_0,     [7] = MMH_DTYPE_Q5_1,
    [8] = MMH_DTYPE_Q8_0,    [9] = MMH_DTYPE_Q8_1,     [10] = MMH_DTYPE_Q2_K,
    [11] = MMH_DTYPE_Q3_K,   [12] = MMH_DTYPE_Q4_K,    [13] = MMH_DTYPE_Q5_K,
    [14] = MMH_DTYPE_Q6_K,   [15] = MMH_DTYPE_Q8_K,    [16] = MMH_DTYPE_IQ2_XXS,
    [17] = MMH_DTYPE_IQ2_XS, [18] = MMH_DTYPE_IQ3_XXS, [19] = MMH_DTYPE_IQ1_S,
    [20] = MMH_DTYPE_IQ4_NL, [21] = MMH_DTYPE_IQ3_S,   [22] = MMH_DTYPE_IQ2_S,
    [23] = MMH_DTYPE_IQ4_XS, [24] = MMH_DTYPE_I8,      [25] = MMH_DTYPE_I16,
    [26] = MMH_DTYPE_I32,    [27] = MMH_DTYPE_I64,     [28] = MMH_DTYPE_F64,
    [29] = MMH_DTYPE_IQ1_M,  [30] = MMH_DTYPE_BF16,    [34] = MMH_DTYPE_TQ1_0,
    [35] = MMH_DTYPE_TQ2_0,  [39] = MMH_DTYPE_MXFP4,   [40] = MMH_DTYPE_NVFP4,
    [41] = MMH_DTYPE_Q1_0,
};

/* Types that are another's blocks, several rows of them interleaved (no longer written): of that
 * many bytes each 32 elements. */
static unsigned repacked_bytes(uint32_t type)
{
    return (type >= 31 && type <= 33) || (type >= 36 && type <= 38) ? 18 : 0;
}

/* A file that is being read. */
struct gguf {
    struct mmh_stream in;
    struct mmh_extent_map *map;
    bool narrow; /* version 1: lengths, counts and dimensions are u32 */
    uint64_t tensor_count, entry_count, kept_count;
    uint64_t alignment;
    const char *problem; /* static: why it is no such file; NULL: nothing */
};

static bool detect(const struct mmh_format_probe *probe)
{
    return probe->head_bytes == MMH_FORMAT_HEAD_BYTES && memcmp(probe->head, "GGUF", 4) == 0;
}

static uint64_t take_count(struct gguf *gguf)
{
    return gguf->narrow ? mmh_stream_u32(&gguf->in) : mmh_stream_u64(&gguf->in);
}

static bool stopped(const struct gguf *gguf)
{
    return gguf->problem || mmh_stream_failed(&gguf->in);
}

/* ---- key-values ---- */

static void skip_array(struct gguf *gguf, unsigned depth)
{
    uint32_t type = mmh_stream_u32(&gguf->in);
    uint64_t count = take_count(gguf), bytes;
    if (depth > ARRAY_DEPTH_MAX || type >= VALUE_TYPE_COUNT) {
        gguf->problem = depth > ARRAY_DEPTH_MAX ? "has arrays nested too deep"
                                                : "has values of an unknown type";
    } else if (value_bytes[type]) {
        if (!mmh_u64_mul(&bytes, count, value_bytes[type]))
            bytes = UINT64_MAX; /* more than is left, in any case */
        mmh_stream_skip(&gguf->in, bytes);
    } else {
        for (; count && !stopped(gguf); count--) /* each takes some bytes: it ends with the file */
            if (type == VALUE_ARRAY)
                skip_array(gguf, depth + 1);
            else
                mmh_stream_skip(&gguf->in, take_count(gguf));
    }
}

/* A number as text that reads back as the same, whatever the locale. */
static char *float_text(struct mmh_arena *arena, double value, bool single)
{
    char text[40], plain[40];
    size_t bytes = 0;
    if (isnan(value)) /* whose text differs between systems */
        return mmh_arena_string(arena, "nan", 3);
    for (int digits = 1; digits <= (single ? 9 : 17); digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        double back = strtod(text, NULL);
        if (single ? (float)back == (float)value : back == value)
            break;
    }
    for (const char *c = text; *c; c++) /* a locale may have another point, of several bytes */
        if ((*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') || *c == '-' || *c == '+')
            plain[bytes++] = *c;
        else if (!bytes || plain[bytes - 1] != '.')
            plain[bytes++] = '.';
    return mmh_arena_string(arena, plain, bytes);
}

/* The next number of one, two, four or eight bytes. */
static uint64_t take_bits(struct gguf *gguf, unsigned bytes)
{
    switch (bytes) {
    case 1:
        return mmh_stream_u8(&gguf->in);
    case 2:
        return mmh_stream_u16(&gguf->in);
    case 4:
        return mmh_stream_u32(&gguf->in);
    default:
        return mmh_stream_u64(&gguf->in);
    }
}

static char *scalar_text(struct mmh_arena *arena, uint64_t bits, enum value_type type)
{
    float single;
    double number;
    uint32_t low = (uint32_t)bits;
    unsigned spare = 64 - 8 * value_bytes[type];
    switch (type) {
    case VALUE_F32:
        memcpy(&single, &low, sizeof single);
        return float_text(arena, (double)single, true);
    case VALUE_F64:
        memcpy(&number, &bits, sizeof number);
        return float_text(arena, number, false);
    case VALUE_BOOL:
        return mmh_arena_format(arena, "%s", bits ? "true" : "false");
    case VALUE_I8:
    case VALUE_I16:
    case VALUE_I32:
    case VALUE_I64:
        return mmh_arena_format(arena, "%lld", (long long)((int64_t)(bits << spare) >> spare));
    default:
        return mmh_arena_format(arena, "%llu", (unsigned long long)bits);
    }
}

static mmh_status keep(struct gguf *gguf, const char *key, const char *value, mmh_error *err)
{
    if (!value)
        return mmh_fail(err, MMH_E_MEMORY, "value of \"%s\"", key);
    gguf->kept_count++;
    return mmh_extent_map_add_metadata(gguf->map, key, value, err);
}

static mmh_status take_string_value(struct gguf *gguf, const char *key, mmh_error *err)
{
    uint64_t bytes = take_count(gguf);
    if (bytes > TEXT_BYTES_MAX || bytes > mmh_stream_left(&gguf->in) || !key) {
        mmh_stream_skip(&gguf->in, bytes);
        return MMH_OK;
    }
    char *text = mmh_stream_string(&gguf->in, bytes, TEXT_BYTES_MAX, gguf->map->arena);
    return text && strlen(text) == bytes ? keep(gguf, key, text, err) : MMH_OK;
}

/* The key-value that comes next. NULs do not belong into what is kept. */
static mmh_status take_entry(struct gguf *gguf, mmh_error *err)
{
    uint64_t key_bytes = take_count(gguf);
    char *key = mmh_stream_string(&gguf->in, key_bytes, NAME_BYTES_MAX, gguf->map->arena);
    uint32_t type = mmh_stream_u32(&gguf->in);
    if (!key || stopped(gguf))
        return MMH_OK;
    bool alignment = key_bytes == 17 && strcmp(key, "general.alignment") == 0;
    if (strlen(key) != key_bytes || (gguf->kept_count >= ENTRIES_MAX && !alignment))
        key = NULL; /* its value is passed over */
    if (type >= VALUE_TYPE_COUNT || (alignment && type != VALUE_U32)) {
        gguf->problem = "has values of an unknown type";
        return MMH_OK;
    }
    if (type == VALUE_ARRAY) {
        skip_array(gguf, 1);
        return MMH_OK;
    }
    if (type == VALUE_STRING)
        return take_string_value(gguf, key, err);
    uint64_t bits = take_bits(gguf, value_bytes[type]);
    if (stopped(gguf) || !key)
        return MMH_OK;
    if (alignment && (!bits || bits & (bits - 1))) {
        gguf->problem = "has an alignment that is no power of two";
        return MMH_OK;
    }
    gguf->alignment = alignment ? bits : gguf->alignment;
    return keep(gguf, key, scalar_text(gguf->map->arena, bits, (enum value_type)type), err);
}

/* ---- tensors ---- */

/* What the file says of one tensor. */
struct claim {
    uint32_t type;
    uint32_t dimensions;
    uint64_t shape[DIMENSIONS_MAX]; /* slowest first */
    uint64_t offset;                /* from where the data begins */
    char *name;
    uint64_t name_bytes;
};

static void take_claim(struct claim *claim, struct gguf *gguf)
{
    *claim = (struct claim){ .name_bytes = take_count(gguf) };
    claim->name = mmh_stream_string(&gguf->in, claim->name_bytes, NAME_BYTES_MAX, gguf->map->arena);
    claim->dimensions = mmh_stream_u32(&gguf->in);
    if (claim->dimensions > DIMENSIONS_MAX) {
        gguf->problem = "has a tensor of too many dimensions";
        return;
    }
    for (uint32_t d = claim->dimensions; d-- > 0;)
        claim->shape[d] = take_count(gguf);
    claim->type = mmh_stream_u32(&gguf->in);
    claim->offset = mmh_stream_u64(&gguf->in);
}

/* Bytes that nobody can look into as elements: their size is what we know. */
static bool add_repacked(struct mmh_map_tensor *tensor, uint64_t *flat, const struct claim *claim)
{
    uint64_t elements = 1;
    for (uint32_t d = 0; d < claim->dimensions; d++)
        if (!mmh_u64_mul(&elements, elements, claim->shape[d]))
            return false;
    if (elements % 32 || !mmh_u64_mul(flat, elements / 32, repacked_bytes(claim->type)))
        return false;
    tensor->dtype = MMH_DTYPE_U8;
    tensor->dimensions = 1;
    tensor->shape = flat;
    return true;
}

/* Fill in the tensor that a claim makes; the text says what is wrong with it, NULL: nothing.
 * shape [at least 1] is in the arena. */
static const char *make_tensor(struct mmh_map_tensor *tensor, uint64_t *shape,
                               const struct claim *claim, uint64_t data_start)
{
    unsigned block_bytes;
    mmh_dtype dtype = claim->type < TYPE_COUNT ? (mmh_dtype)tensor_types[claim->type] : 0;
    if (strlen(claim->name) != claim->name_bytes)
        return "has a NUL in its name";
    if (!mmh_u64_add(&tensor->offset, data_start, claim->offset))
        return "reaches past the end of the file";
    if (repacked_bytes(claim->type))
        return add_repacked(tensor, shape, claim) ? NULL : "has a size that no blocks have";
    tensor->dtype = dtype;
    tensor->dimensions = claim->dimensions;
    tensor->shape = shape;
    memcpy(shape, claim->shape, claim->dimensions * sizeof *shape);
    if (dtype == MMH_DTYPE_OPAQUE)
        return "has no element type that we know";
    uint64_t row = claim->dimensions ? shape[claim->dimensions - 1] : 1;
    if (row % mmh_dtype_block(dtype, &block_bytes))
        return "has rows that are no whole blocks";
    return NULL;
}

static mmh_status map_tensor(struct gguf *gguf, const struct claim *claim, uint64_t data_start,
                             mmh_error *err)
{
    struct mmh_map_tensor tensor = { .name = claim->name, .big_endian = gguf->in.big_endian };
    uint64_t *shape = mmh_arena_array(gguf->map->arena, MMH_MAX(claim->dimensions, 1u),
                                      sizeof *shape);
    if (!shape)
        return mmh_fail(err, MMH_E_MEMORY, "shape of a tensor");
    const char *problem = make_tensor(&tensor, shape, claim, data_start);
    if (!problem && !mmh_shape_bytes(&tensor.bytes, tensor.dtype, tensor.dimensions, shape))
        problem = "has a shape whose size overflows";
    if (problem) {
        mmh_extent_map_remark_tensor(gguf->map, claim->name, problem);
        return MMH_OK;
    }
    if (!mmh_dtype_is_block(tensor.dtype) && mmh_dtype_scalar_bytes(tensor.dtype) == 1)
        tensor.big_endian = false; /* nothing to turn around */
    if (repacked_bytes(claim->type))
        mmh_extent_map_remark(gguf->map, "tensor type %u interleaves rows: shown as bytes",
                              (unsigned)claim->type);
    return mmh_extent_map_add(gguf->map, &tensor, err);
}

/* Twice over what the tensors are: where their bytes begin is known after the last of them. */
static mmh_status map_tensors(struct gguf *gguf, mmh_error *err)
{
    uint64_t begin = gguf->in.position;
    struct claim claim;
    mmh_status status = MMH_OK;
    for (uint64_t i = 0; i < gguf->tensor_count && !stopped(gguf); i++) {
        mmh_stream_skip(&gguf->in, take_count(gguf));
        uint32_t dimensions = mmh_stream_u32(&gguf->in);
        mmh_stream_skip(&gguf->in, (uint64_t)dimensions * (gguf->narrow ? 4 : 8) + 4 + 8);
    }
    if (stopped(gguf))
        return MMH_OK;
    uint64_t data_start = mmh_round_up(gguf->in.position, gguf->alignment); /* at most 2^31 more */
    mmh_stream_seek(&gguf->in, begin, gguf->in.end);
    for (uint64_t i = 0; i < gguf->tensor_count && !status; i++) {
        take_claim(&claim, gguf);
        if (stopped(gguf) || !claim.name)
            break;
        status = map_tensor(gguf, &claim, data_start, err);
    }
    return status;
}

/* What comes first: magic, version, counts. */
static void take_head(struct gguf *gguf)
{
    const uint64_t tensor_bytes_min = 20, entry_bytes_min = 9;
    mmh_stream_skip(&gguf->in, 4);
    uint32_t version = mmh_stream_u32(&gguf->in);
    if (!(version & 0xffff)) {
        gguf->in.big_endian = true;
        version = __builtin_bswap32(version);
    }
    gguf->narrow = version == 1;
    gguf->alignment = ALIGNMENT_DEFAULT;
    if (!version || version > VERSION_MAX) {
        gguf->problem = "is of a version that we do not know";
        return;
    }
    gguf->tensor_count = take_count(gguf);
    gguf->entry_count = take_count(gguf);
    if (gguf->tensor_count > mmh_stream_left(&gguf->in) / tensor_bytes_min ||
        gguf->entry_count > mmh_stream_left(&gguf->in) / entry_bytes_min)
        gguf->problem = "claims more tensors or key-values than fit in it";
    else if (gguf->tensor_count > TENSORS_MAX)
        gguf->problem = "has too many tensors";
}

static mmh_status map_file(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                           mmh_error *err)
{
    struct gguf gguf = { .map = map };
    mmh_status status = MMH_OK;
    mmh_stream_init(&gguf.in, probe->source, 0, probe->source->bytes);
    take_head(&gguf);
    for (uint64_t i = 0; i < gguf.entry_count && !status && !stopped(&gguf); i++)
        status = take_entry(&gguf, err);
    if (!status && !stopped(&gguf))
        status = map_tensors(&gguf, err);
    if (!status) /* first: what could not be read was taken for zeros */
        status = mmh_stream_finish(&gguf.in, "gguf header", err);
    if (status)
        return status;
    if (gguf.problem)
        return mmh_fail(err, MMH_E_UNSUPPORTED, "the file %s, near 0x%llx", gguf.problem,
                        (unsigned long long)gguf.in.position);
    return MMH_OK;
}

const struct mmh_format mmh_format_gguf = {
    .name = "gguf",
    .suffix = ".gguf",
    .detect = detect,
    .map = map_file,
};
