/*
 * Flatbuffers: tables, their fields, and vectors.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "format/flatbuffer.h"

#include "base/bits.h"

enum { VTABLE_HEAD_BYTES = 4, OFFSET_BYTES = 4 };

/* The place that the offset at `position` is to; 0 once the stream has failed. */
static uint64_t follow(struct mmh_stream *stream, uint64_t position)
{
    mmh_stream_seek(stream, position, stream->source->bytes);
    uint64_t to = position + mmh_stream_u32(stream);
    return mmh_stream_failed(stream) ? 0 : to;
}

static struct mmh_flat_table table_at(struct mmh_stream *stream, uint64_t position)
{
    struct mmh_flat_table table = { .position = position };
    mmh_stream_seek(stream, position, stream->source->bytes);
    int32_t back = (int32_t)mmh_stream_u32(stream);
    table.vtable = position - (uint64_t)(int64_t)back; /* before the first byte: huge */
    mmh_stream_seek(stream, table.vtable, stream->source->bytes);
    table.vtable_bytes = mmh_stream_u16(stream);
    table.bytes = mmh_stream_u16(stream);
    if (table.vtable_bytes < VTABLE_HEAD_BYTES || table.bytes < OFFSET_BYTES ||
        table.vtable_bytes > stream->source->bytes - table.vtable ||
        table.bytes > stream->source->bytes - position)
        stream->short_read = true;
    if (mmh_stream_failed(stream))
        table = (struct mmh_flat_table){ 0 };
    return table;
}

struct mmh_flat_table mmh_flat_root(struct mmh_stream *stream)
{
    return table_at(stream, follow(stream, 0));
}

/* Where a field of so many bytes lies; 0: the table lacks it. */
static uint64_t field(struct mmh_stream *stream, const struct mmh_flat_table *table, unsigned index,
                      unsigned bytes)
{
    unsigned slot = VTABLE_HEAD_BYTES + 2 * index;
    if (slot + 2 > table->vtable_bytes)
        return 0;
    mmh_stream_seek(stream, table->vtable + slot, stream->source->bytes);
    unsigned offset = mmh_stream_u16(stream);
    if (offset && offset + bytes > table->bytes)
        stream->short_read = true;
    return offset && !mmh_stream_failed(stream) ? table->position + offset : 0;
}

uint64_t mmh_flat_number(struct mmh_stream *stream, const struct mmh_flat_table *table,
                         unsigned index, unsigned bytes, uint64_t lacking)
{
    uint64_t position = field(stream, table, index, bytes);
    if (!position)
        return lacking;
    mmh_stream_seek(stream, position, stream->source->bytes);
    return bytes == 1 ? mmh_stream_u8(stream)
         : bytes == 4 ? mmh_stream_u32(stream)
                      : mmh_stream_u64(stream);
}

struct mmh_flat_vector mmh_flat_vector(struct mmh_stream *stream,
                                       const struct mmh_flat_table *table, unsigned index,
                                       unsigned element_bytes)
{
    struct mmh_flat_vector vector = { 0 };
    uint64_t position = field(stream, table, index, OFFSET_BYTES);
    if (!position)
        return vector;
    mmh_stream_seek(stream, follow(stream, position), stream->source->bytes);
    vector.count = mmh_stream_u32(stream);
    vector.position = stream->position;
    if (vector.count > mmh_stream_left(stream) / element_bytes)
        stream->short_read = true;
    if (mmh_stream_failed(stream))
        vector = (struct mmh_flat_vector){ 0 };
    return vector;
}

struct mmh_flat_table mmh_flat_table_at(struct mmh_stream *stream,
                                        const struct mmh_flat_vector *vector, uint32_t index)
{
    return table_at(stream, follow(stream, vector->position + (uint64_t)index * OFFSET_BYTES));
}
