/*
 * Base64, hexadecimal numbers, JSON.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "trust/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void mmh_text_add(struct mmh_buffer *text, const char *string)
{
    mmh_buffer_bytes(text, string, strlen(string));
}

static const char hex_digits[] = "0123456789abcdef";

void mmh_text_hex(struct mmh_buffer *text, const uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        mmh_buffer_u8(text, (uint8_t)hex_digits[data[i] >> 4]);
        mmh_buffer_u8(text, (uint8_t)hex_digits[data[i] & 15]);
    }
}

void mmh_hex(char *out, const uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        *out++ = hex_digits[data[i] >> 4];
        *out++ = hex_digits[data[i] & 15];
    }
    *out = '\0';
}

void mmh_text_base64(struct mmh_buffer *text, const uint8_t *data, size_t bytes, unsigned column)
{
    unsigned used = 0;
    for (size_t i = 0; i < bytes; i += 3) {
        const size_t left = bytes - i;
        const uint32_t bits = (uint32_t)data[i] << 16 |
                              (left > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
                              (left > 2 ? data[i + 2] : 0);
        const char quad[4] = { base64_digits[bits >> 18], base64_digits[bits >> 12 & 63],
                               left > 1 ? base64_digits[bits >> 6 & 63] : '=',
                               left > 2 ? base64_digits[bits & 63] : '=' };
        mmh_buffer_bytes(text, quad, sizeof quad);
        used += 4;
        if (column && (used % column == 0 || left <= 3))
            mmh_buffer_u8(text, '\n');
    }
}

/* 0..63, or 64. */
static unsigned base64_value(char digit)
{
    if (digit >= 'A' && digit <= 'Z')
        return (unsigned)(digit - 'A');
    if (digit >= 'a' && digit <= 'z')
        return (unsigned)(digit - 'a') + 26;
    if (digit >= '0' && digit <= '9')
        return (unsigned)(digit - '0') + 52;
    return digit == '+' ? 62 : digit == '/' ? 63 : 64;
}

bool mmh_text_from_base64(uint8_t *dst, size_t *bytes, const char *text, size_t text_bytes)
{
    *bytes = 0;
    if (text_bytes % 4)
        return false;
    for (size_t i = 0; i < text_bytes; i += 4) {
        const bool last = i + 4 == text_bytes;
        const unsigned padding = last && text[i + 3] == '=' ? (text[i + 2] == '=' ? 2u : 1u) : 0u;
        uint32_t bits = 0;
        for (unsigned k = 0; k < 4; k++) {
            const unsigned value = k >= 4 - padding ? 0 : base64_value(text[i + k]);
            if (value == 64)
                return false;
            bits = bits << 6 | value;
        }
        if (padding && bits & ((1u << 8 * padding) - 1)) /* bits that no byte has */
            return false;
        for (unsigned k = 0; k < 3 - padding; k++)
            dst[(*bytes)++] = (uint8_t)(bits >> (16 - 8 * k));
    }
    return true;
}

bool mmh_text_from_hex(uint8_t *dst, const char *text, size_t text_bytes)
{
    if (text_bytes % 2)
        return false;
    for (size_t i = 0; i < text_bytes; i++) {
        const char digit = text[i];
        unsigned value;
        if (digit >= '0' && digit <= '9')
            value = (unsigned)(digit - '0');
        else if (digit >= 'a' && digit <= 'f')
            value = (unsigned)(digit - 'a') + 10;
        else
            return false;
        dst[i / 2] = (uint8_t)(i % 2 ? dst[i / 2] | value : value << 4);
    }
    return true;
}

/* Bytes of the UTF-8 character that text [bytes > 0] begins with; 0: there is none. */
static size_t utf8_bytes(const uint8_t *text, size_t bytes)
{
    const uint8_t lead = text[0];
    const size_t wanted = lead < 0x80                 ? 1
                        : lead >= 0xc2 && lead < 0xe0 ? 2
                        : lead >= 0xe0 && lead < 0xf0 ? 3
                        : lead >= 0xf0 && lead < 0xf5 ? 4
                                                      : 0;
    if (!wanted || wanted > bytes)
        return 0;
    for (size_t i = 1; i < wanted; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    if ((lead == 0xe0 && text[1] < 0xa0) || (lead == 0xed && text[1] >= 0xa0) ||
        (lead == 0xf0 && text[1] < 0x90) || (lead == 0xf4 && text[1] >= 0x90))
        return 0;
    return wanted;
}

bool mmh_text_is_utf8(const char *text, size_t bytes)
{
    for (size_t at = 0, step; at < bytes; at += step) {
        step = utf8_bytes((const uint8_t *)text + at, bytes - at);
        if (!step)
            return false;
    }
    return true;
}

/* ---- JSON ---- */

void mmh_json_writer_init(struct mmh_json_writer *json, struct mmh_buffer *buffer)
{
    *json = (struct mmh_json_writer){ .buffer = buffer, .first = true };
}

static void new_line(struct mmh_json_writer *json)
{
    mmh_buffer_u8(json->buffer, '\n');
    for (unsigned i = 0; i < json->depth; i++)
        mmh_buffer_bytes(json->buffer, "  ", 2);
}

/* Before a key, or a value without one. */
static void begin_item(struct mmh_json_writer *json)
{
    if (json->after_key) {
        json->after_key = false;
        return;
    }
    if (!json->first)
        mmh_buffer_u8(json->buffer, ',');
    if (json->depth)
        new_line(json);
    json->first = false;
}

void mmh_json_open(struct mmh_json_writer *json, char bracket)
{
    begin_item(json);
    mmh_buffer_u8(json->buffer, (uint8_t)bracket);
    json->depth++;
    json->first = true;
}

void mmh_json_close(struct mmh_json_writer *json, char bracket)
{
    json->depth--;
    if (!json->first)
        new_line(json);
    mmh_buffer_u8(json->buffer, (uint8_t)bracket);
    json->first = false;
    if (!json->depth)
        mmh_buffer_u8(json->buffer, '\n');
}

static void quoted(struct mmh_buffer *buffer, const char *text)
{
    const size_t bytes = strlen(text);
    char escape[8];
    mmh_buffer_u8(buffer, '"');
    for (size_t at = 0, step; at < bytes; at += step) {
        const uint8_t byte = (uint8_t)text[at];
        step = utf8_bytes((const uint8_t *)text + at, bytes - at);
        if (!step) {
            mmh_text_add(buffer, "\xef\xbf\xbd");
            step = 1;
        } else if (byte == '"' || byte == '\\') {
            mmh_buffer_u8(buffer, '\\');
            mmh_buffer_u8(buffer, byte);
        } else if (byte < 0x20 || byte == 0x7f) {
            (void)snprintf(escape, sizeof escape, "\\u%04x", byte);
            mmh_text_add(buffer, escape);
        } else {
            mmh_buffer_bytes(buffer, text + at, step);
        }
    }
    mmh_buffer_u8(buffer, '"');
}

void mmh_json_key(struct mmh_json_writer *json, const char *key)
{
    begin_item(json);
    quoted(json->buffer, key);
    mmh_buffer_bytes(json->buffer, ": ", 2);
    json->after_key = true;
}

void mmh_json_text(struct mmh_json_writer *json, const char *text)
{
    begin_item(json);
    quoted(json->buffer, text);
}

void mmh_json_number(struct mmh_json_writer *json, uint64_t number)
{
    char digits[24];
    begin_item(json);
    (void)snprintf(digits, sizeof digits, "%" PRIu64, number);
    mmh_text_add(json->buffer, digits);
}

void mmh_json_bool(struct mmh_json_writer *json, bool value)
{
    begin_item(json);
    mmh_text_add(json->buffer, value ? "true" : "false");
}

void mmh_json_hex(struct mmh_json_writer *json, const uint8_t *data, size_t bytes)
{
    begin_item(json);
    mmh_buffer_u8(json->buffer, '"');
    mmh_text_hex(json->buffer, data, bytes);
    mmh_buffer_u8(json->buffer, '"');
}

void mmh_json_base64(struct mmh_json_writer *json, const uint8_t *data, size_t bytes)
{
    begin_item(json);
    mmh_buffer_u8(json->buffer, '"');
    mmh_text_base64(json->buffer, data, bytes, 0);
    mmh_buffer_u8(json->buffer, '"');
}

void mmh_json_pair(struct mmh_json_writer *json, const char *key, const char *text)
{
    mmh_json_key(json, key);
    mmh_json_text(json, text);
}
