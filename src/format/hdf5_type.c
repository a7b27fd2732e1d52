/*
 * HDF5's datatype messages: which of them are element types of ours.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * numpy's bool is an enumeration FALSE, TRUE of one byte, its complex types are pairs called r and i
 * (h5py); newer files have a class for complex numbers.
 */
#include <string.h>

#include "base/bits.h"
#include "format/hdf5.h"

enum {
    CLASS_INTEGER = 0,
    CLASS_FLOAT = 1,
    CLASS_COMPOUND = 6,
    CLASS_ENUM = 8,
    CLASS_COMPLEX = 11,
    VERSION_UNPADDED = 3, /* of the types whose names are not padded to 8 bytes */
    NAME_BYTES_MAX = 8    /* of names that we look for, with their NUL */
};

/* The first eight bytes of each datatype. */
struct head {
    unsigned class, version;
    uint32_t bits;
    uint32_t bytes;
};

static struct head read_head(struct mmh_hdf5 *h5)
{
    uint32_t first = mmh_stream_u32(&h5->in);
    return (struct head){ first & 15, first >> 4 & 15, first >> 8, mmh_stream_u32(&h5->in) };
}

static void read_integer(struct mmh_hdf5 *h5, struct mmh_hdf5_type *type, const struct head *head)
{
    static const mmh_dtype dtypes[][2] = { [1] = { MMH_DTYPE_U8, MMH_DTYPE_I8 },
                                           [2] = { MMH_DTYPE_U16, MMH_DTYPE_I16 },
                                           [4] = { MMH_DTYPE_U32, MMH_DTYPE_I32 },
                                           [8] = { MMH_DTYPE_U64, MMH_DTYPE_I64 } };
    unsigned first_bit = mmh_stream_u16(&h5->in), bits = mmh_stream_u16(&h5->in);
    type->big_endian = head->bits & 1 && head->bytes > 1;
    if (head->bytes < MMH_COUNT_OF(dtypes) && !first_bit && bits == 8 * head->bytes)
        type->dtype = dtypes[head->bytes][head->bits >> 3 & 1];
}

static void read_float(struct mmh_hdf5 *h5, struct mmh_hdf5_type *type, const struct head *head)
{
    /* All have their sign as the highest bit, then the exponent, and an implied leading one. */
    static const struct {
        uint32_t bytes, exponent_bits, bias;
        mmh_dtype dtype;
    } floats[] = {
        { 2, 5, 15, MMH_DTYPE_F16 },        { 2, 8, 127, MMH_DTYPE_BF16 },
        { 4, 8, 127, MMH_DTYPE_F32 },       { 8, 11, 1023, MMH_DTYPE_F64 },
        { 1, 4, 7, MMH_DTYPE_F8_E4M3 },     { 1, 5, 15, MMH_DTYPE_F8_E5M2 },
        { 1, 4, 8, MMH_DTYPE_F8_E4M3FNUZ }, { 1, 5, 16, MMH_DTYPE_F8_E5M2FNUZ },
    };
    unsigned first_bit = mmh_stream_u16(&h5->in), bits = mmh_stream_u16(&h5->in);
    unsigned exponent_at = mmh_stream_u8(&h5->in), exponent_bits = mmh_stream_u8(&h5->in);
    unsigned mantissa_at = mmh_stream_u8(&h5->in), mantissa_bits = mmh_stream_u8(&h5->in);
    uint32_t bias = mmh_stream_u32(&h5->in);
    unsigned sign_at = head->bits >> 8 & 255, normalization = head->bits >> 4 & 3;
    bool is_vax = head->bits & 0x40;
    type->big_endian = head->bits & 1 && head->bytes > 1;
    if (first_bit || bits != 8 * head->bytes || mantissa_at || mantissa_bits != exponent_at ||
        exponent_at + exponent_bits != sign_at || sign_at + 1 != bits || normalization != 2 ||
        is_vax)
        return;
    for (size_t i = 0; i < MMH_COUNT_OF(floats); i++)
        if (head->bytes == floats[i].bytes && exponent_bits == floats[i].exponent_bits &&
            bias == floats[i].bias)
            type->dtype = floats[i].dtype;
}

/* A name of up to 7 letters; longer ones give "". */
static void read_name(struct mmh_hdf5 *h5, char name[NAME_BYTES_MAX], unsigned version)
{
    size_t bytes = 0;
    for (char c; (c = (char)mmh_stream_u8(&h5->in)) != '\0';)
        if (bytes < NAME_BYTES_MAX)
            name[bytes++] = c;
    if (version < VERSION_UNPADDED && bytes < NAME_BYTES_MAX)
        mmh_stream_skip(&h5->in, NAME_BYTES_MAX - 1 - bytes);
    name[bytes == NAME_BYTES_MAX ? 0 : bytes] = '\0';
}

static struct mmh_hdf5_type read_number(struct mmh_hdf5 *h5)
{
    struct head head = read_head(h5);
    struct mmh_hdf5_type type = { .bytes = head.bytes };
    if (head.class == CLASS_INTEGER)
        read_integer(h5, &type, &head);
    else if (head.class == CLASS_FLOAT)
        read_float(h5, &type, &head);
    return type;
}

/* An enumeration is what its numbers are; the one of two truth values is BOOL. */
static void read_enum(struct mmh_hdf5 *h5, struct mmh_hdf5_type *type, const struct head *head)
{
    struct mmh_hdf5_type number = read_number(h5);
    char names[2][NAME_BYTES_MAX] = { "", "" };
    if (number.bytes != head->bytes)
        return;
    *type = number;
    if (number.bytes != 1 || (head->bits & 0xffff) != 2)
        return;
    read_name(h5, names[0], head->version);
    read_name(h5, names[1], head->version);
    unsigned no = mmh_stream_u8(&h5->in), yes = mmh_stream_u8(&h5->in);
    if (strcmp(names[0], "FALSE") == 0 && strcmp(names[1], "TRUE") == 0 && no == 0 && yes == 1)
        type->dtype = MMH_DTYPE_BOOL;
}

static void make_complex(struct mmh_hdf5_type *type, const struct mmh_hdf5_type *part)
{
    type->big_endian = part->big_endian;
    if (type->bytes % 2 == 0 && part->bytes == type->bytes / 2)
        type->dtype = part->dtype == MMH_DTYPE_F32 ? MMH_DTYPE_C64
                    : part->dtype == MMH_DTYPE_F64 ? MMH_DTYPE_C128
                                                   : MMH_DTYPE_OPAQUE;
}

static void read_compound(struct mmh_hdf5 *h5, struct mmh_hdf5_type *type, const struct head *head)
{
    static const char *const names[2] = { "r", "i" };
    struct mmh_hdf5_type parts[2];
    if ((head->bits & 0xffff) != 2 || (head->bytes != 8 && head->bytes != 16))
        return;
    for (unsigned i = 0; i < 2; i++) {
        char name[NAME_BYTES_MAX];
        read_name(h5, name, head->version);
        uint64_t offset = mmh_hdf5_number(h5, head->version < VERSION_UNPADDED ? 4 : 1);
        if (head->version == 1) {
            if (mmh_stream_u8(&h5->in)) /* an array */
                return;
            mmh_stream_skip(&h5->in, 3 + 4 + 4 + 4 * 4);
        }
        parts[i] = read_number(h5);
        if (strcmp(name, names[i]) != 0 || offset != i * (head->bytes / 2))
            return;
    }
    if (parts[0].dtype == parts[1].dtype && parts[0].big_endian == parts[1].big_endian)
        make_complex(type, &parts[0]);
}

void mmh_hdf5_type_read(struct mmh_hdf5 *h5, struct mmh_hdf5_type *type)
{
    struct head head = read_head(h5);
    struct mmh_hdf5_type part;
    *type = (struct mmh_hdf5_type){ .bytes = head.bytes };
    switch (head.class) {
    case CLASS_INTEGER:
        read_integer(h5, type, &head);
        break;
    case CLASS_FLOAT:
        read_float(h5, type, &head);
        break;
    case CLASS_ENUM:
        read_enum(h5, type, &head);
        break;
    case CLASS_COMPOUND:
        read_compound(h5, type, &head);
        break;
    case CLASS_COMPLEX:
        part = read_number(h5);
        make_complex(type, &part);
        break;
    default:
        break;
    }
}
