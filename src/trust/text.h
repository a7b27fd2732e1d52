/*
 * Text in buffers: base64, hexadecimal numbers, and JSON that is always written the same way.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * All appending is to an mmh_buffer, which remembers a failure. Source: RFC 4648, RFC 8259.
 */
#ifndef MMH_TEXT_H
#define MMH_TEXT_H

#include "base/cursor.h"

void mmh_text_add(struct mmh_buffer *text, const char *string);
void mmh_text_hex(struct mmh_buffer *text, const uint8_t *data, size_t bytes);
void mmh_hex(char *out, const uint8_t *data, size_t bytes); /* [2 * bytes + 1], ends in NUL */

/* column > 0: a line break after each so many characters, and at the end. */
void mmh_text_base64(struct mmh_buffer *text, const uint8_t *data, size_t bytes, unsigned column);

/*
 * Decode base64 with its padding and nothing else in it.
 *
 *   dst  [text_bytes / 4 * 3] out, *bytes of it
 */
MMH_MUST_CHECK bool mmh_text_from_base64(uint8_t *dst, size_t *bytes, const char *text,
                                         size_t text_bytes);

/* Lower-case hexadecimal digits to dst [text_bytes / 2]. */
MMH_MUST_CHECK bool mmh_text_from_hex(uint8_t *dst, const char *text, size_t text_bytes);

MMH_MUST_CHECK bool mmh_text_is_utf8(const char *text, size_t bytes);

/*
 * JSON, a key or value a line. Begin, then keys (in objects) and values; the writer sets the commas.
 *
 *     mmh_json_writer_init(&json, &buffer);
 *     mmh_json_open(&json, '{');
 *     mmh_json_key(&json, "name");
 *     mmh_json_text(&json, "weights.bin");
 *     mmh_json_close(&json, '}');
 */
struct mmh_json_writer {
    struct mmh_buffer *buffer;
    unsigned depth;
    bool first;     /* in its object or array */
    bool after_key; /* a value follows on the same line */
};

void mmh_json_writer_init(struct mmh_json_writer *json, struct mmh_buffer *buffer);
void mmh_json_open(struct mmh_json_writer *json, char bracket);  /* '{', '[' */
void mmh_json_close(struct mmh_json_writer *json, char bracket); /* '}', ']' */
void mmh_json_key(struct mmh_json_writer *json, const char *key);
void mmh_json_text(struct mmh_json_writer *json,
                   const char *text); /* bytes that are no UTF-8: U+FFFD */
void mmh_json_number(struct mmh_json_writer *json, uint64_t number);
void mmh_json_bool(struct mmh_json_writer *json, bool value);
void mmh_json_hex(struct mmh_json_writer *json, const uint8_t *data, size_t bytes);
void mmh_json_base64(struct mmh_json_writer *json, const uint8_t *data, size_t bytes);

/* Key and value in one. */
void mmh_json_pair(struct mmh_json_writer *json, const char *key, const char *text);

#endif
