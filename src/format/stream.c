/*
 * The bounded reader that walks structures of any size in a source.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/bits.h"
#include "format/format_table.h"

enum { VARINT_BYTES_MAX = 10 };

void mmh_stream_init(struct mmh_stream *stream, const mmh_source *source, uint64_t begin,
                     uint64_t end)
{
    stream->source = source;
    stream->position = begin;
    stream->end = end;
    stream->buffer_offset = 0;
    stream->buffer_bytes = 0;
    stream->big_endian = false;
    stream->short_read = begin > end || end > source->bytes;
    stream->status = MMH_OK;
    stream->error = (mmh_error){ 0 };
}

bool mmh_stream_failed(const struct mmh_stream *stream)
{
    return stream->short_read || stream->status;
}

uint64_t mmh_stream_left(const struct mmh_stream *stream)
{
    return mmh_stream_failed(stream) ? 0 : stream->end - stream->position;
}

static bool read_source(struct mmh_stream *stream, uint64_t offset, void *dst, size_t bytes)
{
    stream->status = stream->source->read(stream->source->user, offset, dst, bytes, &stream->error);
    return !stream->status;
}

/* Have the next `bytes` (no more than fit) in the buffer; NULL: there are fewer. */
static const uint8_t *next(struct mmh_stream *stream, size_t bytes)
{
    if (mmh_stream_left(stream) < bytes) {
        stream->short_read = true;
        return NULL;
    }
    uint64_t ahead = stream->position - stream->buffer_offset; /* huge if it lies before */
    if (stream->position < stream->buffer_offset || ahead > stream->buffer_bytes ||
        stream->buffer_bytes - ahead < bytes) {
        size_t wanted = (size_t)MMH_MIN(stream->source->bytes - stream->position,
                                        (uint64_t)sizeof stream->buffer);
        stream->buffer_bytes = 0;
        if (!read_source(stream, stream->position, stream->buffer, wanted))
            return NULL;
        stream->buffer_offset = stream->position;
        stream->buffer_bytes = wanted;
        ahead = 0;
    }
    stream->position += bytes;
    return stream->buffer + ahead;
}

uint8_t mmh_stream_u8(struct mmh_stream *stream)
{
    const uint8_t *at = next(stream, 1);
    return at ? *at : 0;
}

uint16_t mmh_stream_u16(struct mmh_stream *stream)
{
    const uint8_t *at = next(stream, 2);
    if (!at)
        return 0;
    return stream->big_endian ? (uint16_t)(at[0] << 8 | at[1]) : mmh_load16(at);
}

uint32_t mmh_stream_u32(struct mmh_stream *stream)
{
    const uint8_t *at = next(stream, 4);
    if (!at)
        return 0;
    return stream->big_endian ? __builtin_bswap32(mmh_load32(at)) : mmh_load32(at);
}

uint64_t mmh_stream_u64(struct mmh_stream *stream)
{
    const uint8_t *at = next(stream, 8);
    if (!at)
        return 0;
    return stream->big_endian ? __builtin_bswap64(mmh_load64(at)) : mmh_load64(at);
}

uint64_t mmh_stream_varint(struct mmh_stream *stream)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < VARINT_BYTES_MAX; i++) {
        const uint8_t *at = next(stream, 1);
        if (!at)
            return 0;
        value |= (uint64_t)(*at & 127) << 7 * i;
        if (*at < 128)
            return value;
    }
    stream->short_read = true;
    return 0;
}

bool mmh_stream_copy(struct mmh_stream *stream, void *dst, size_t bytes)
{
    if (mmh_stream_left(stream) < bytes) {
        stream->short_read = true;
        memset(dst, 0, bytes);
        return false;
    }
    if (bytes <= sizeof stream->buffer) { /* names, mostly, and many of them */
        const uint8_t *at = bytes ? next(stream, bytes) : NULL;
        if (at)
            memcpy(dst, at, bytes);
        else
            memset(dst, 0, bytes);
        return at || !bytes;
    }
    if (!read_source(stream, stream->position, dst, bytes)) {
        memset(dst, 0, bytes);
        return false;
    }
    stream->position += bytes;
    return true;
}

void mmh_stream_skip(struct mmh_stream *stream, uint64_t bytes)
{
    if (mmh_stream_left(stream) < bytes)
        stream->short_read = true;
    else
        stream->position += bytes;
}

void mmh_stream_seek(struct mmh_stream *stream, uint64_t position, uint64_t end)
{
    if (position > end || end > stream->source->bytes) {
        stream->short_read = true;
        return;
    }
    stream->position = position;
    stream->end = end;
}

char *mmh_stream_string(struct mmh_stream *stream, uint64_t bytes, size_t bytes_max,
                        struct mmh_arena *arena)
{
    if (bytes > bytes_max || mmh_stream_left(stream) < bytes) {
        stream->short_read = true;
        return NULL;
    }
    char *text = mmh_arena_alloc(arena, 1, (size_t)bytes + 1);
    if (!text) {
        stream->status = mmh_fail(&stream->error, MMH_E_MEMORY, "a name of %llu bytes",
                                  (unsigned long long)bytes);
        return NULL;
    }
    text[bytes] = '\0';
    return mmh_stream_copy(stream, text, (size_t)bytes) ? text : NULL;
}

mmh_status mmh_stream_finish(const struct mmh_stream *stream, const char *what, mmh_error *err)
{
    if (stream->status)
        return mmh_fail(err, stream->status, "%s", stream->error.message);
    if (stream->short_read)
        return mmh_fail(err, MMH_E_CORRUPT, "%s ends too early, near 0x%llx", what,
                        (unsigned long long)stream->position);
    return MMH_OK;
}
