/*
 * Inside the format room: flatbuffers, walked where they lie.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Every read is bounded, and a bad one is remembered by the stream, as in format_table.h: after it
 * all tables are empty. Nothing here follows offsets on its own, so tables that refer to each other
 * in circles do no harm.
 * Source: flatbuffers.dev/internals.
 */
#ifndef MMH_FLATBUFFER_H
#define MMH_FLATBUFFER_H

#include "format/format_table.h"

/* A table; fields that it lacks have their defaults. All zero: no table, which lacks all. */
struct mmh_flat_table {
    uint64_t position; /* in the source */
    uint64_t vtable;
    uint16_t vtable_bytes, bytes;
};

/* Elements one after another. */
struct mmh_flat_vector {
    uint64_t position; /* of the first element */
    uint32_t count;
};

/* The root table of a buffer that begins at the source's first byte. */
struct mmh_flat_table mmh_flat_root(struct mmh_stream *stream);

/* Field `index` of a table, as the schema counts them. */
uint64_t mmh_flat_number(struct mmh_stream *stream, const struct mmh_flat_table *table,
                         unsigned index, unsigned bytes, uint64_t lacking);
struct mmh_flat_vector mmh_flat_vector(struct mmh_stream *stream,
                                       const struct mmh_flat_table *table, unsigned index,
                                       unsigned element_bytes);

/* Element of a vector of tables, whose elements have 4 bytes; index < vector->count. */
struct mmh_flat_table mmh_flat_table_at(struct mmh_stream *stream,
                                        const struct mmh_flat_vector *vector, uint32_t index);

#endif
