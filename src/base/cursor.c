/*
 * The bounded read cursor and the growing write buffer.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/cursor.h"

#include <string.h>

#include "base/bits.h"

/* ---- reading ---- */

void mmh_cursor_init(struct mmh_cursor *cursor, const void *data, size_t bytes)
{
    *cursor = (struct mmh_cursor){ .data = data, .bytes = bytes };
}

static const uint8_t *take(struct mmh_cursor *cursor, size_t bytes)
{
    static const uint8_t nothing[1];
    if (cursor->failed)
        return NULL;
    if (bytes > cursor->bytes - cursor->position) {
        cursor->failed = true;
        cursor->wanted = bytes;
        return NULL;
    }
    const uint8_t *at = cursor->data ? cursor->data + cursor->position : nothing;
    cursor->position += bytes;
    return at;
}

uint8_t mmh_cursor_u8(struct mmh_cursor *cursor)
{
    const uint8_t *at = take(cursor, 1);
    return at ? *at : 0;
}

uint16_t mmh_cursor_u16(struct mmh_cursor *cursor)
{
    const uint8_t *at = take(cursor, 2);
    return at ? mmh_load16(at) : 0;
}

uint32_t mmh_cursor_u32(struct mmh_cursor *cursor)
{
    const uint8_t *at = take(cursor, 4);
    return at ? mmh_load32(at) : 0;
}

uint64_t mmh_cursor_u64(struct mmh_cursor *cursor)
{
    const uint8_t *at = take(cursor, 8);
    return at ? mmh_load64(at) : 0;
}

int64_t mmh_cursor_i64(struct mmh_cursor *cursor)
{
    uint64_t value = mmh_cursor_u64(cursor);
    int64_t same;
    memcpy(&same, &value, sizeof same);
    return same;
}

uint64_t mmh_cursor_varint(struct mmh_cursor *cursor)
{
    uint64_t value = 0;
    size_t start = cursor->position;
    for (unsigned shift = 0;; shift += 7) {
        const uint8_t *at = take(cursor, 1);
        if (!at)
            break;
        if (shift == 63 && *at > 1) /* a tenth byte holds bit 63 alone */
            goto bad;
        value |= (uint64_t)(*at & 0x7f) << shift;
        if (*at & 0x80)
            continue;
        if (!*at && shift) /* a shorter form exists */
            goto bad;
        return value;
    }
    cursor->position = start;
    return 0;

bad:
    cursor->failed = true;
    cursor->wanted = 0;
    cursor->position = start;
    return 0;
}

const uint8_t *mmh_cursor_bytes(struct mmh_cursor *cursor, size_t bytes)
{
    return take(cursor, bytes);
}

void mmh_cursor_copy(struct mmh_cursor *cursor, void *dst, size_t bytes)
{
    const uint8_t *at = take(cursor, bytes);
    if (at && bytes)
        memcpy(dst, at, bytes);
    else if (bytes)
        memset(dst, 0, bytes);
}

struct mmh_cursor mmh_cursor_part(struct mmh_cursor *cursor, size_t bytes)
{
    const uint8_t *at = take(cursor, bytes);
    if (!at)
        return (struct mmh_cursor){ .failed = true, .wanted = bytes };
    return (struct mmh_cursor){ .data = at, .bytes = bytes };
}

void mmh_cursor_skip(struct mmh_cursor *cursor, size_t bytes)
{
    (void)take(cursor, bytes);
}

size_t mmh_cursor_left(const struct mmh_cursor *cursor)
{
    return cursor->failed ? 0 : cursor->bytes - cursor->position;
}

size_t mmh_cursor_position(const struct mmh_cursor *cursor)
{
    return cursor->position;
}

bool mmh_cursor_failed(const struct mmh_cursor *cursor)
{
    return cursor->failed;
}

bool mmh_cursor_pad(struct mmh_cursor *cursor, size_t alignment)
{
    bool zeros = true;
    while (mmh_cursor_position(cursor) % alignment && !mmh_cursor_failed(cursor))
        zeros = mmh_cursor_u8(cursor) == 0 && zeros;
    return zeros;
}

mmh_status mmh_cursor_finish_prefix(const struct mmh_cursor *cursor, const char *what,
                                    mmh_error *err)
{
    if (!cursor->failed)
        return MMH_OK;
    if (!cursor->wanted)
        return mmh_fail(err, MMH_E_CORRUPT, "%s holds a malformed number at byte %zu", what,
                        cursor->position);
    return mmh_fail(err, MMH_E_CORRUPT, "%s ends early: %zu bytes wanted at byte %zu of %zu", what,
                    cursor->wanted, cursor->position, cursor->bytes);
}

mmh_status mmh_cursor_finish(const struct mmh_cursor *cursor, const char *what, mmh_error *err)
{
    mmh_status status = mmh_cursor_finish_prefix(cursor, what, err);
    if (status == MMH_OK && cursor->position != cursor->bytes)
        return mmh_fail(err, MMH_E_CORRUPT, "%s has %zu bytes too many, from byte %zu on", what,
                        cursor->bytes - cursor->position, cursor->position);
    return status;
}

/* ---- writing ---- */

void mmh_buffer_init(struct mmh_buffer *buffer, const mmh_allocator *allocator)
{
    *buffer = (struct mmh_buffer){ .allocator = allocator };
}

void mmh_buffer_release(struct mmh_buffer *buffer)
{
    mmh_free(buffer->allocator, buffer->data);
    mmh_buffer_init(buffer, buffer->allocator);
}

void mmh_buffer_clear(struct mmh_buffer *buffer)
{
    buffer->bytes = 0;
    buffer->failed = false;
}

void mmh_buffer_swap(struct mmh_buffer *a, struct mmh_buffer *b)
{
    const struct mmh_buffer c = *a;
    *a = *b;
    *b = c;
}

uint8_t *mmh_buffer_extend(struct mmh_buffer *buffer, size_t bytes)
{
    size_t wanted;
    if (buffer->failed)
        return NULL;
    if (!mmh_size_add(&wanted, buffer->bytes, bytes)) {
        buffer->failed = true;
        return NULL;
    }
    if (wanted > buffer->room || !buffer->data) {
        size_t room = MMH_MAX(wanted, 64);
        if (room < buffer->room + buffer->room / 2)
            room = buffer->room + buffer->room / 2;
        uint8_t *data = mmh_alloc(buffer->allocator, 64, room);
        if (!data) {
            buffer->failed = true;
            return NULL;
        }
        if (buffer->bytes)
            memcpy(data, buffer->data, buffer->bytes);
        mmh_free(buffer->allocator, buffer->data);
        buffer->data = data;
        buffer->room = room;
    }
    uint8_t *at = buffer->data + buffer->bytes;
    buffer->bytes = wanted;
    return at;
}

void mmh_buffer_u8(struct mmh_buffer *buffer, uint8_t value)
{
    uint8_t *at = mmh_buffer_extend(buffer, 1);
    if (at)
        *at = value;
}

void mmh_buffer_u16(struct mmh_buffer *buffer, uint16_t value)
{
    uint8_t *at = mmh_buffer_extend(buffer, 2);
    if (at)
        mmh_store16(at, value);
}

void mmh_buffer_u32(struct mmh_buffer *buffer, uint32_t value)
{
    uint8_t *at = mmh_buffer_extend(buffer, 4);
    if (at)
        mmh_store32(at, value);
}

void mmh_buffer_u64(struct mmh_buffer *buffer, uint64_t value)
{
    uint8_t *at = mmh_buffer_extend(buffer, 8);
    if (at)
        mmh_store64(at, value);
}

void mmh_buffer_i64(struct mmh_buffer *buffer, int64_t value)
{
    mmh_buffer_u64(buffer, (uint64_t)value);
}

size_t mmh_varint_bytes(uint64_t value)
{
    return (64 - mmh_clz64(value | 1) + 6) / 7;
}

void mmh_buffer_varint(struct mmh_buffer *buffer, uint64_t value)
{
    size_t bytes = mmh_varint_bytes(value);
    uint8_t *at = mmh_buffer_extend(buffer, bytes);
    if (!at)
        return;
    for (size_t i = 0; i + 1 < bytes; i++, value >>= 7)
        at[i] = (uint8_t)(value | 0x80);
    at[bytes - 1] = (uint8_t)value;
}

void mmh_buffer_bytes(struct mmh_buffer *buffer, const void *data, size_t bytes)
{
    uint8_t *at = mmh_buffer_extend(buffer, bytes);
    if (at && bytes)
        memcpy(at, data, bytes);
}

void mmh_buffer_zeros(struct mmh_buffer *buffer, size_t bytes)
{
    uint8_t *at = mmh_buffer_extend(buffer, bytes);
    if (at)
        memset(at, 0, bytes);
}

void mmh_buffer_align(struct mmh_buffer *buffer, size_t alignment)
{
    mmh_buffer_zeros(buffer, -buffer->bytes & (alignment - 1));
}

mmh_status mmh_buffer_finish(const struct mmh_buffer *buffer, const char *what, mmh_error *err)
{
    if (buffer->failed)
        return mmh_fail(err, MMH_E_MEMORY, "out of memory for %s, past %zu bytes", what,
                        buffer->bytes);
    return MMH_OK;
}
