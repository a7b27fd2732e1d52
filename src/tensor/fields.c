/*
 * The fields of ggml's block types, and moving them.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: the structs of ggml-common.h and the order of weights in them, dequantize_row_* of
 * ggml-quants.c, github.com/ggml-org/llama.cpp. Bytes that hold several whole weights stay bytes: a
 * table of 256 codes what is in them jointly, and in fewer steps.
 */
#include "tensor/fields.h"

#include <string.h>

#include "base/bits.h"

/* clang-format off */
#define WHOLE(type, offset, bytes, elements) \
    { MMH_DTYPE_##type, 1, elements, { { offset, 8 * (bytes), 0 }, { 0, 0, 0 } } }
#define F16_AT(offset) WHOLE(F16, offset, 2, 1)
#define BYTES_AT(offset, count) WHOLE(U8, offset, 1, count)
/* Elements of low and high bits. */
#define BITS_AT(elements, low, low_bits, low_group, high, high_bits, high_group) \
    { MMH_DTYPE_U8, 2, elements, { { low, low_bits, low_group }, { high, high_bits, high_group } } }

#define LAYOUT(...) &(const struct mmh_fields) { __VA_ARGS__ }

static const struct mmh_fields *const layouts[MMH_DTYPE_COUNT] = {
    [MMH_DTYPE_Q4_0] = LAYOUT(18, 2, { F16_AT(0), BYTES_AT(2, 16) }),
    [MMH_DTYPE_Q4_1] = LAYOUT(20, 3, { F16_AT(0), F16_AT(2), BYTES_AT(4, 16) }),
    [MMH_DTYPE_Q5_0] = LAYOUT(22, 2, { F16_AT(0), BITS_AT(32, 6, 4, 16, 2, 1, 1) }),
    [MMH_DTYPE_Q5_1] = LAYOUT(24, 3, { F16_AT(0), F16_AT(2), BITS_AT(32, 8, 4, 16, 4, 1, 1) }),
    [MMH_DTYPE_Q8_0] = LAYOUT(34, 2, { F16_AT(0), WHOLE(I8, 2, 1, 32) }),
    [MMH_DTYPE_Q8_1] = LAYOUT(36, 3, { F16_AT(0), F16_AT(2), WHOLE(I8, 4, 1, 32) }),
    [MMH_DTYPE_Q2_K] = LAYOUT(84, 4, { BYTES_AT(0, 16), BYTES_AT(16, 64), F16_AT(80), F16_AT(82) }),
    /* Two weights of three bits an element. */
    [MMH_DTYPE_Q3_K] = LAYOUT(110, 4, { BITS_AT(128, 32, 4, 32, 0, 2, 32), BYTES_AT(96, 8),
                                   BYTES_AT(104, 4), F16_AT(108) }),
    /* Twelve bytes of scales: four scales, four minima, low bits of four more of both. */
    [MMH_DTYPE_Q4_K] = LAYOUT(144, 6, { F16_AT(0), F16_AT(2), BYTES_AT(4, 4), BYTES_AT(8, 4),
                                   BYTES_AT(12, 4), BYTES_AT(16, 128) }),
    [MMH_DTYPE_Q5_K] = LAYOUT(176, 6, { F16_AT(0), F16_AT(2), BYTES_AT(4, 4), BYTES_AT(8, 4),
                                   BYTES_AT(12, 4), BITS_AT(256, 48, 4, 32, 16, 1, 32) }),
    [MMH_DTYPE_Q6_K] = LAYOUT(210, 3, { BITS_AT(256, 0, 4, 64, 128, 2, 32), WHOLE(I8, 192, 1, 16),
                                   F16_AT(208) }),
    [MMH_DTYPE_Q8_K] = LAYOUT(292, 3, { WHOLE(F32, 0, 4, 1), WHOLE(I8, 4, 1, 256),
                                   WHOLE(I16, 260, 2, 16) }),
    [MMH_DTYPE_IQ2_XXS] = LAYOUT(66, 2, { F16_AT(0), WHOLE(U16, 2, 2, 32) }),
    [MMH_DTYPE_IQ2_XS] = LAYOUT(74, 3, { F16_AT(0), WHOLE(U16, 2, 2, 32), BYTES_AT(66, 8) }),
    [MMH_DTYPE_IQ2_S] = LAYOUT(82, 5, { F16_AT(0), BYTES_AT(2, 32), BYTES_AT(34, 32), BYTES_AT(66, 8),
                                   BYTES_AT(74, 8) }), /* qs holds indices, then signs */
    [MMH_DTYPE_IQ3_XXS] = LAYOUT(98, 3, { F16_AT(0), BYTES_AT(2, 64), BYTES_AT(66, 32) }),
    [MMH_DTYPE_IQ3_S] = LAYOUT(110, 5, { F16_AT(0), BYTES_AT(2, 64), BYTES_AT(66, 8), BYTES_AT(74, 32),
                                    BYTES_AT(106, 4) }),
    [MMH_DTYPE_IQ1_S] = LAYOUT(50, 3, { F16_AT(0), BYTES_AT(2, 32), WHOLE(U16, 34, 2, 8) }),
    [MMH_DTYPE_IQ1_M] = LAYOUT(56, 3, { BYTES_AT(0, 32), BYTES_AT(32, 16), WHOLE(U16, 48, 2, 4) }),
    [MMH_DTYPE_IQ4_NL] = LAYOUT(18, 2, { F16_AT(0), BYTES_AT(2, 16) }),
    [MMH_DTYPE_IQ4_XS] = LAYOUT(136, 4, { F16_AT(0), BYTES_AT(2, 2), BYTES_AT(4, 4),
                                     BYTES_AT(8, 128) }),
    [MMH_DTYPE_TQ1_0] = LAYOUT(54, 3, { BYTES_AT(0, 48), BYTES_AT(48, 4), F16_AT(52) }),
    [MMH_DTYPE_TQ2_0] = LAYOUT(66, 2, { BYTES_AT(0, 64), F16_AT(64) }),
    [MMH_DTYPE_MXFP4] = LAYOUT(17, 2, { WHOLE(F8_E8M0, 0, 1, 1), BYTES_AT(1, 16) }),
    [MMH_DTYPE_NVFP4] = LAYOUT(36, 2, { BYTES_AT(0, 4), BYTES_AT(4, 32) }),
    [MMH_DTYPE_Q1_0] = LAYOUT(18, 2, { F16_AT(0), BYTES_AT(2, 16) }),
};
/* clang-format on */

const struct mmh_fields *mmh_dtype_fields(mmh_dtype dtype)
{
    return mmh_dtype_is_block(dtype) ? layouts[dtype] : NULL;
}

unsigned mmh_field_element_bytes(const struct mmh_field *field)
{
    mmh_dtype dtype = (mmh_dtype)field->dtype;
    if (dtype == MMH_DTYPE_OPAQUE || !mmh_dtype_known(dtype) || mmh_dtype_scalar(dtype) != dtype)
        return 0;
    return mmh_dtype_scalar_bytes(dtype);
}

unsigned mmh_fields_most(const struct mmh_fields *fields)
{
    unsigned most = 0;
    for (unsigned f = 0; f < fields->count; f++)
        most = MMH_MAX(most, fields->fields[f].elements);
    return most;
}

static unsigned piece_bytes(const struct mmh_field *field, unsigned piece)
{
    return (unsigned)field->elements * field->pieces[piece].bits / 8;
}

static bool field_valid(const struct mmh_field *field)
{
    unsigned bytes = mmh_field_element_bytes(field), bits = 0;
    if (!bytes || !field->elements || !field->piece_count ||
        field->piece_count > MMH_FIELD_PIECES_MAX)
        return false;
    if (field->piece_count == 1 && !field->pieces[0].group)
        return field->pieces[0].bits == 8 * bytes;
    for (unsigned p = 0; p < field->piece_count; p++) {
        const struct mmh_field_piece *piece = &field->pieces[p];
        if (!piece->group || !piece->bits || piece->bits > 8 || 8 % piece->bits ||
            field->elements % (piece->group * (8u / piece->bits)))
            return false;
        bits += piece->bits;
    }
    return bytes == 1 && bits <= 8;
}

bool mmh_fields_valid(const struct mmh_fields *fields)
{
    uint8_t owned[MMH_RECORD_BYTES_MAX] = { 0 };
    unsigned sum = 0;
    if (!fields->count || fields->count > MMH_FIELDS_MAX || !fields->record_bytes ||
        fields->record_bytes > MMH_RECORD_BYTES_MAX)
        return false;
    for (unsigned f = 0; f < fields->count; f++) {
        const struct mmh_field *field = &fields->fields[f];
        if (!field_valid(field))
            return false;
        for (unsigned p = 0; p < field->piece_count; p++) {
            unsigned bytes = piece_bytes(field, p), offset = field->pieces[p].offset;
            if (offset > fields->record_bytes || bytes > fields->record_bytes - offset)
                return false;
            for (unsigned i = 0; i < bytes; i++)
                if (owned[offset + i]++)
                    return false;
            sum += bytes;
        }
    }
    return sum == fields->record_bytes;
}

/* ---- moving ---- */

static inline void copy_runs_of(uint8_t *dst, size_t dst_step, const uint8_t *src, size_t src_step,
                                size_t bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        memcpy(dst + i * dst_step, src + i * src_step, bytes);
}

/* `count` runs of some bytes; with the usual lengths each a loop of its own. */
static void copy_runs(uint8_t *dst, size_t dst_step, const uint8_t *src, size_t src_step,
                      size_t bytes, size_t count)
{
    switch (bytes) {
    case 1:
        copy_runs_of(dst, dst_step, src, src_step, 1, count);
        break;
    case 2:
        copy_runs_of(dst, dst_step, src, src_step, 2, count);
        break;
    case 4:
        copy_runs_of(dst, dst_step, src, src_step, 4, count);
        break;
    case 8:
        copy_runs_of(dst, dst_step, src, src_step, 8, count);
        break;
    case 16:
        copy_runs_of(dst, dst_step, src, src_step, 16, count);
        break;
    case 32:
        copy_runs_of(dst, dst_step, src, src_step, 32, count);
        break;
    case 64:
        copy_runs_of(dst, dst_step, src, src_step, 64, count);
        break;
    case 128:
        copy_runs_of(dst, dst_step, src, src_step, 128, count);
        break;
    default:
        copy_runs_of(dst, dst_step, src, src_step, bytes, count);
        break;
    }
}

/* Where the bits of a piece are in an element, and how they lie in the record. */
struct bits {
    unsigned width, group, shift; /* shift: in the element */
    bool first;                   /* piece: the elements are not there yet */
};

/* Elements of one record. Always inlined with what is known, so that the inner loop is one of vectors. */
static inline void gather_bits(uint8_t *dst, const uint8_t *src, size_t elements, unsigned width,
                               unsigned group, unsigned shift, bool first)
{
    unsigned mask = (1u << width) - 1, in_byte = 8 / width;
    for (size_t e = 0; e < elements; e += (size_t)group * in_byte, src += group)
        for (unsigned k = 0; k < in_byte; k++)
            for (unsigned b = 0; b < group; b++) {
                uint8_t *to = dst + e + k * group + b;
                uint8_t bits = (uint8_t)((src[b] >> width * k & mask) << shift);
                *to = first ? bits : (uint8_t)(*to | bits);
            }
}

static inline void scatter_bits(uint8_t *dst, const uint8_t *src, size_t elements, unsigned width,
                                unsigned group, unsigned shift)
{
    unsigned mask = (1u << width) - 1, in_byte = 8 / width;
    for (size_t e = 0; e < elements; e += (size_t)group * in_byte, dst += group)
        for (unsigned b = 0; b < group; b++) {
            unsigned byte = 0;
            for (unsigned k = 0; k < in_byte; k++)
                byte |= (src[e + k * group + b] >> shift & mask) << width * k;
            dst[b] = (uint8_t)byte;
        }
}

/* A bit of each byte, the first element's lowest; and the way back. */
static inline uint64_t spread_byte(uint8_t byte)
{
    uint64_t bits = byte * UINT64_C(0x0101010101010101) & UINT64_C(0x8040201008040201);
    return (bits + UINT64_C(0x7f7f7f7f7f7f7f7f)) >> 7 & UINT64_C(0x0101010101010101);
}

static inline uint8_t gathered_byte(uint64_t eight, unsigned shift)
{
    return (uint8_t)((eight >> shift & UINT64_C(0x0101010101010101)) *
                         UINT64_C(0x0102040810204080) >>
                     56);
}

static void gather_piece(uint8_t *dst, const uint8_t *src, size_t records, size_t record_bytes,
                         size_t elements, const struct bits *bits)
{
    unsigned width = bits->width, group = bits->group, shift = bits->shift;
    for (size_t r = 0; r < records; r++, src += record_bytes, dst += elements) {
        if (width == 1 && group == 1)
            for (size_t e = 0; e < elements; e += 8) {
                uint64_t eight = spread_byte(src[e / 8]) << shift;
                mmh_store64(dst + e, bits->first ? eight : eight | mmh_load64(dst + e));
            }
        else if (width == 4 && group == 16)
            gather_bits(dst, src, elements, 4, 16, shift, bits->first);
        else if (width == 4 && group == 32)
            gather_bits(dst, src, elements, 4, 32, shift, bits->first);
        else if (width == 4 && group == 64)
            gather_bits(dst, src, elements, 4, 64, shift, bits->first);
        else if (width == 2 && group == 32)
            gather_bits(dst, src, elements, 2, 32, shift, bits->first);
        else if (width == 1 && group == 32)
            gather_bits(dst, src, elements, 1, 32, shift, bits->first);
        else
            gather_bits(dst, src, elements, width, group, shift, bits->first);
    }
}

static void scatter_piece(uint8_t *dst, const uint8_t *src, size_t records, size_t record_bytes,
                          size_t elements, const struct bits *bits)
{
    unsigned width = bits->width, group = bits->group, shift = bits->shift;
    for (size_t r = 0; r < records; r++, dst += record_bytes, src += elements) {
        if (width == 1 && group == 1)
            for (size_t e = 0; e < elements; e += 8)
                dst[e / 8] = gathered_byte(mmh_load64(src + e), shift);
        else if (width == 4 && group == 16)
            scatter_bits(dst, src, elements, 4, 16, shift);
        else if (width == 4 && group == 32)
            scatter_bits(dst, src, elements, 4, 32, shift);
        else if (width == 4 && group == 64)
            scatter_bits(dst, src, elements, 4, 64, shift);
        else if (width == 2 && group == 32)
            scatter_bits(dst, src, elements, 2, 32, shift);
        else if (width == 1 && group == 32)
            scatter_bits(dst, src, elements, 1, 32, shift);
        else
            scatter_bits(dst, src, elements, width, group, shift);
    }
}

void mmh_field_gather(uint8_t *dst, const uint8_t *src, size_t records, unsigned record_bytes,
                      const struct mmh_field *field)
{
    struct bits bits = { .first = true };
    if (!field->pieces[0].group) {
        size_t run = (size_t)field->elements * mmh_field_element_bytes(field);
        copy_runs(dst, run, src + field->pieces[0].offset, record_bytes, run, records);
        return;
    }
    for (unsigned p = 0; p < field->piece_count; p++) {
        bits.width = field->pieces[p].bits;
        bits.group = field->pieces[p].group;
        gather_piece(dst, src + field->pieces[p].offset, records, record_bytes, field->elements,
                     &bits);
        bits.shift += bits.width;
        bits.first = false;
    }
}

void mmh_field_scatter(uint8_t *dst, const uint8_t *src, size_t records, unsigned record_bytes,
                       const struct mmh_field *field)
{
    struct bits bits = { 0 };
    if (!field->pieces[0].group) {
        size_t run = (size_t)field->elements * mmh_field_element_bytes(field);
        copy_runs(dst + field->pieces[0].offset, record_bytes, src, run, run, records);
        return;
    }
    for (unsigned p = 0; p < field->piece_count; p++) {
        bits.width = field->pieces[p].bits;
        bits.group = field->pieces[p].group;
        scatter_piece(dst + field->pieces[p].offset, src, records, record_bytes, field->elements,
                      &bits);
        bits.shift += bits.width;
    }
}
