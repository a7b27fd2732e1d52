/*
 * Records of block types and their fields: which bytes of a Q4_K block are scales, and which weights.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A field's elements are taken together over many records (gather), so that each can be coded by its
 * own statistics, and put back (scatter). An element may be made of bits from two places of its
 * record: those of a Q6_K weight are apart, and only together do they show how weights are spread.
 */
#ifndef MMH_FIELDS_H
#define MMH_FIELDS_H

#include "tensor/dtype.h"

enum { MMH_FIELDS_MAX = 8, MMH_FIELD_PIECES_MAX = 2, MMH_RECORD_BYTES_MAX = 4096 };

/*
 * Bits of a field's elements. Whole elements lie one after another: `bits` is all of them, `group` 0.
 * Parts of them (1, 2, 4 or 8 bits) lie in groups of `group` bytes: the first so many elements in the
 * lowest bits of the bytes, one each, the next in the bits above, until the bytes are full.
 */
struct mmh_field_piece {
    uint16_t offset; /* in the record */
    uint8_t bits, group;
};

struct mmh_field {
    uint8_t dtype;                                       /* mmh_dtype: a scalar, not opaque */
    uint8_t piece_count;                                 /* 1, or 2 for elements of one byte */
    uint16_t elements;                                   /* in a record */
    struct mmh_field_piece pieces[MMH_FIELD_PIECES_MAX]; /* low bits first */
};

struct mmh_fields {
    uint16_t record_bytes;
    uint8_t count;
    struct mmh_field fields[MMH_FIELDS_MAX];
};

/* Of a block type; NULL for all others. */
const struct mmh_fields *mmh_dtype_fields(mmh_dtype dtype);

/* Whether they are as said above, and each byte of a record belongs to exactly one piece. */
bool mmh_fields_valid(const struct mmh_fields *fields);

/* The most elements of a record that one field has. */
unsigned mmh_fields_most(const struct mmh_fields *fields);

/* Bytes of an element; 0 unless the type is a scalar that is not opaque. */
unsigned mmh_field_element_bytes(const struct mmh_field *field);

/* The elements of `records` records, little-endian, one after another; fields are valid. */
void mmh_field_gather(uint8_t *dst, const uint8_t *src, size_t records, unsigned record_bytes,
                      const struct mmh_field *field);

/* The way back: writes the field's bytes of each record, and no others. */
void mmh_field_scatter(uint8_t *dst, const uint8_t *src, size_t records, unsigned record_bytes,
                       const struct mmh_field *field);

#endif
