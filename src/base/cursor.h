/*
 * Little-endian reading and writing of byte strings: the bounded cursor and the growing buffer.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Both remember their first failure, so that parsers read straight down and writers write
 * straight down, and ask once at the end.
 */
#ifndef MMH_CURSOR_H
#define MMH_CURSOR_H

#include "base/memory.h"

/* ---- reading ---- */

/* Keeps `data`, which must live as long as the cursor. After a short read (or a varint that is
 * not minimal) the cursor stays where it was, and every read gives 0. */
struct mmh_cursor {
    const uint8_t *data;
    size_t bytes;
    size_t position;
    size_t wanted; /* bytes that the first failed read asked for; 0: a bad varint */
    bool failed;
};

void mmh_cursor_init(struct mmh_cursor *cursor, const void *data, size_t bytes);

uint8_t mmh_cursor_u8(struct mmh_cursor *cursor);
uint16_t mmh_cursor_u16(struct mmh_cursor *cursor);
uint32_t mmh_cursor_u32(struct mmh_cursor *cursor);
uint64_t mmh_cursor_u64(struct mmh_cursor *cursor);
int64_t mmh_cursor_i64(struct mmh_cursor *cursor);

/* LEB128, at most 10 bytes, of minimal length: anything else fails the cursor. */
uint64_t mmh_cursor_varint(struct mmh_cursor *cursor);

/* The next `bytes` bytes inside the data, not copied. NULL only if there are fewer. */
const uint8_t *mmh_cursor_bytes(struct mmh_cursor *cursor, size_t bytes);

/* The same copied; dst is zero if there are fewer. */
void mmh_cursor_copy(struct mmh_cursor *cursor, void *dst, size_t bytes);

/* A cursor over the next `bytes` bytes; empty and failed if there are fewer. */
struct mmh_cursor mmh_cursor_part(struct mmh_cursor *cursor, size_t bytes);

void mmh_cursor_skip(struct mmh_cursor *cursor, size_t bytes);

size_t mmh_cursor_left(const struct mmh_cursor *cursor); /* 0 once failed */
size_t mmh_cursor_position(const struct mmh_cursor *cursor);
bool mmh_cursor_failed(const struct mmh_cursor *cursor);

/* Skip to the next multiple of `alignment`, counted from the beginning; false unless what is
 * skipped is zeros. */
bool mmh_cursor_pad(struct mmh_cursor *cursor, size_t alignment);

/* Fail with MMH_E_CORRUPT if a read above was short, and (finish, not finish_prefix) if bytes
 * are left over. `what` names the thing in the message: "index". */
mmh_status mmh_cursor_finish(const struct mmh_cursor *cursor, const char *what, mmh_error *err);
mmh_status mmh_cursor_finish_prefix(const struct mmh_cursor *cursor, const char *what,
                                    mmh_error *err);

/* ---- writing ---- */

enum { MMH_VARINT_MAX = 10 }; /* bytes of the longest varint */

struct mmh_buffer {
    const mmh_allocator *allocator;
    uint8_t *data;
    size_t bytes;
    size_t room;
    bool failed; /* an allocation failed; appending does nothing any more */
};

void mmh_buffer_init(struct mmh_buffer *buffer, const mmh_allocator *allocator);
void mmh_buffer_release(struct mmh_buffer *buffer); /* may be used on: it is empty again */
void mmh_buffer_clear(struct mmh_buffer *buffer);   /* keeps the memory; forgets a failure */
void mmh_buffer_swap(struct mmh_buffer *a, struct mmh_buffer *b);

void mmh_buffer_u8(struct mmh_buffer *buffer, uint8_t value);
void mmh_buffer_u16(struct mmh_buffer *buffer, uint16_t value);
void mmh_buffer_u32(struct mmh_buffer *buffer, uint32_t value);
void mmh_buffer_u64(struct mmh_buffer *buffer, uint64_t value);
void mmh_buffer_i64(struct mmh_buffer *buffer, int64_t value);
void mmh_buffer_varint(struct mmh_buffer *buffer, uint64_t value);
void mmh_buffer_bytes(struct mmh_buffer *buffer, const void *data, size_t bytes);
void mmh_buffer_zeros(struct mmh_buffer *buffer, size_t bytes);

/* Zeros up to the next multiple of `alignment`, a power of two, counted from the beginning. */
void mmh_buffer_align(struct mmh_buffer *buffer, size_t alignment);

/* Room for `bytes` more at the end, already counted in buffer->bytes and not cleared: the caller
 * fills it in before the next append. NULL on failure. */
uint8_t *mmh_buffer_extend(struct mmh_buffer *buffer, size_t bytes);

/* Bytes that a varint takes: 1..10. */
size_t mmh_varint_bytes(uint64_t value);

/* Fail with MMH_E_MEMORY if an append above could not get its memory. */
mmh_status mmh_buffer_finish(const struct mmh_buffer *buffer, const char *what, mmh_error *err);

#endif
