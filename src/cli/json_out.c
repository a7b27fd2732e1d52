/*
 * Writing JSON to a stream: indented, escaped, always valid UTF-8.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/json_out.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void mmh_json_out_begin(struct mmh_json_out *out, FILE *file)
{
    memset(out, 0, sizeof *out);
    out->file = file;
}

/* Bytes of the well-formed UTF-8 character at text[left]; 0 if there is none. */
static size_t utf8_bytes(const unsigned char *text, size_t left)
{
    static const struct {
        unsigned char first_low, first_high, second_low, second_high, bytes;
    } forms[] = {
        /* Unicode, table 3-7 */
        { 0x00, 0x7f, 0, 0, 1 },       { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
        { 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
        { 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
    };
    for (size_t form = 0; form < sizeof forms / sizeof *forms; form++) {
        size_t bytes = forms[form].bytes;
        if (text[0] < forms[form].first_low || text[0] > forms[form].first_high)
            continue;
        if (bytes > left ||
            (bytes > 1 && (text[1] < forms[form].second_low || text[1] > forms[form].second_high)))
            return 0;
        for (size_t i = 2; i < bytes; i++)
            if (text[i] < 0x80 || text[i] > 0xbf)
                return 0;
        return bytes;
    }
    return 0;
}

/* The character at text [bytes] if it is one that a terminal obeys or that turns text around; 0 if
 * it may stand as it is. JSON means the same by its escape. */
static unsigned harmful(const unsigned char *text, size_t bytes)
{
    unsigned code = 0;
    if (bytes == 2)
        code = (text[0] & 0x1fu) << 6 | (text[1] & 0x3fu);
    else if (bytes == 3)
        code = (text[0] & 0xfu) << 12 | (text[1] & 0x3fu) << 6 | (text[2] & 0x3fu);
    bool is_harmful = (code >= 0x80 && code < 0xa0) || (code >= 0x200e && code <= 0x200f) ||
                      (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
    return is_harmful ? code : 0;
}

static void put_string(FILE *file, const char *text, size_t bytes)
{
    const unsigned char *at = (const unsigned char *)text;
    putc('"', file);
    while (bytes > 0) {
        size_t taken = utf8_bytes(at, bytes);
        if (!taken) {
            fputs("\\ufffd", file);
            taken = 1;
        } else if (*at == '"' || *at == '\\') {
            putc('\\', file);
            putc(*at, file);
        } else if (*at == '\n') {
            fputs("\\n", file);
        } else if (*at == '\t') {
            fputs("\\t", file);
        } else if (*at < 0x20 || *at == 0x7f) {
            fprintf(file, "\\u%04x", *at);
        } else if (harmful(at, taken)) {
            fprintf(file, "\\u%04x", harmful(at, taken));
        } else {
            fwrite(at, 1, taken, file);
        }
        at += taken;
        bytes -= taken;
    }
    putc('"', file);
}

static void new_line(const struct mmh_json_out *out)
{
    if (out->compact)
        return;
    putc('\n', out->file);
    for (unsigned i = 0; i < out->depth; i++)
        fputs("  ", out->file);
}

/* What comes before a value: comma, line, key. */
static void begin_value(struct mmh_json_out *out, const char *key)
{
    if (!out->depth) {
        assert(!key);
        return;
    }
    assert(!key == !out->object[out->depth - 1]);
    if (out->some[out->depth - 1])
        fputs(out->compact ? ", " : ",", out->file);
    out->some[out->depth - 1] = true;
    new_line(out);
    if (key) {
        put_string(out->file, key, strlen(key));
        fputs(": ", out->file);
    }
}

static void begin_container(struct mmh_json_out *out, const char *key, bool object)
{
    begin_value(out, key);
    assert(out->depth < MMH_JSON_OUT_DEPTH_MAX);
    putc(object ? '{' : '[', out->file);
    out->some[out->depth] = false;
    out->object[out->depth++] = object;
}

void mmh_json_out_object(struct mmh_json_out *out, const char *key)
{
    begin_container(out, key, true);
}

void mmh_json_out_array(struct mmh_json_out *out, const char *key)
{
    begin_container(out, key, false);
}

void mmh_json_out_end(struct mmh_json_out *out)
{
    assert(out->depth > 0);
    out->depth--;
    if (out->some[out->depth])
        new_line(out);
    putc(out->object[out->depth] ? '}' : ']', out->file);
}

void mmh_json_out_text_bytes(struct mmh_json_out *out, const char *key, const char *text,
                             size_t bytes)
{
    begin_value(out, key);
    put_string(out->file, text, bytes);
}

void mmh_json_out_text(struct mmh_json_out *out, const char *key, const char *text)
{
    if (text)
        mmh_json_out_text_bytes(out, key, text, strlen(text));
    else
        mmh_json_out_null(out, key);
}

void mmh_json_out_hex(struct mmh_json_out *out, const char *key, const uint8_t *data, size_t bytes)
{
    begin_value(out, key);
    putc('"', out->file);
    for (size_t i = 0; i < bytes; i++)
        fprintf(out->file, "%02x", data[i]);
    putc('"', out->file);
}

void mmh_json_out_u64(struct mmh_json_out *out, const char *key, uint64_t value)
{
    begin_value(out, key);
    fprintf(out->file, "%" PRIu64, value);
}

void mmh_json_out_i64(struct mmh_json_out *out, const char *key, int64_t value)
{
    begin_value(out, key);
    fprintf(out->file, "%" PRId64, value);
}

void mmh_json_out_double(struct mmh_json_out *out, const char *key, double value)
{
    if (value - value != 0) { /* JSON has no infinity and no NaN */
        mmh_json_out_null(out, key);
        return;
    }
    char text[32];
    begin_value(out, key);
    for (int precision = 9; precision <= 17; precision++) { /* the shortest that reads back */
        snprintf(text, sizeof text, "%.*g", precision, value);
        if (strtod(text, NULL) == value)
            break;
    }
    fputs(text, out->file);
}

void mmh_json_out_ratio(struct mmh_json_out *out, const char *key, uint64_t part, uint64_t whole)
{
    if (!whole) {
        mmh_json_out_null(out, key);
        return;
    }
    begin_value(out, key);
    fprintf(out->file, "%.6f", (double)part / (double)whole);
}

void mmh_json_out_bool(struct mmh_json_out *out, const char *key, bool value)
{
    begin_value(out, key);
    fputs(value ? "true" : "false", out->file);
}

void mmh_json_out_null(struct mmh_json_out *out, const char *key)
{
    begin_value(out, key);
    fputs("null", out->file);
}

bool mmh_json_out_finish(struct mmh_json_out *out)
{
    assert(!out->depth);
    putc('\n', out->file);
    return fflush(out->file) == 0 && !ferror(out->file);
}
