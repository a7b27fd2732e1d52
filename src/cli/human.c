/*
 * Numbers as people read them, and text that is safe to show.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/human.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* ---- numbers ---- */

/* Three digits and a unit: 999 B, 1.00 kB, 86.7 MB. */
static struct mmh_human scaled(double value, const char *suffix)
{
    static const char *const units[] = { "", "k", "M", "G", "T", "P", "E" };
    struct mmh_human human;
    size_t unit = 0;
    while (value >= 999.5 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1000;
        unit++;
    }
    int digits = unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    snprintf(human.text, sizeof human.text, "%.*f %s%s", digits, value, units[unit], suffix);
    return human;
}

struct mmh_human mmh_human_bytes(uint64_t bytes)
{
    return scaled((double)bytes, "B");
}

struct mmh_human mmh_human_rate(uint64_t bytes, uint64_t ns)
{
    if (!ns)
        return (struct mmh_human){ "-" };
    return scaled((double)bytes * 1e9 / (double)ns, "B/s");
}

struct mmh_human mmh_human_time(uint64_t ns)
{
    struct mmh_human human;
    double seconds = (double)ns / 1e9;
    uint64_t whole = (uint64_t)(seconds + 0.5);
    if (seconds < 0.0095)
        snprintf(human.text, sizeof human.text, "%.1f ms", (double)ns / 1e6);
    else if (seconds < 9.995)
        snprintf(human.text, sizeof human.text, "%.2f s", seconds);
    else if (seconds < 59.95)
        snprintf(human.text, sizeof human.text, "%.1f s", seconds);
    else if (whole < 3600)
        snprintf(human.text, sizeof human.text, "%" PRIu64 ":%02" PRIu64, whole / 60, whole % 60);
    else
        snprintf(human.text, sizeof human.text, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64,
                 whole / 3600, whole / 60 % 60, whole % 60);
    return human;
}

struct mmh_human mmh_human_percent(uint64_t part, uint64_t whole)
{
    struct mmh_human human = { "-" };
    double percent = whole ? 100.0 * (double)part / (double)whole : 0;
    if (whole)
        snprintf(human.text, sizeof human.text, "%.*f %%", percent < 999.95 ? 1 : 0, percent);
    return human;
}

struct mmh_human mmh_human_count(uint64_t count)
{
    struct mmh_human human;
    char digits[24];
    size_t length = (size_t)snprintf(digits, sizeof digits, "%" PRIu64, count), out = 0;
    for (size_t i = 0; i < length; i++) {
        if (i && length > 4 && (length - i) % 3 == 0)
            human.text[out++] = ' ';
        human.text[out++] = digits[i];
    }
    human.text[out] = 0;
    return human;
}

struct mmh_human mmh_human_things(uint64_t count, const char *one, const char *more)
{
    struct mmh_human human, number = mmh_human_count(count);
    snprintf(human.text, sizeof human.text, "%.26s %.*s", number.text,
             (int)(sizeof human.text - 2 - strlen(number.text)), count == 1 ? one : more);
    return human;
}

/* ---- text ---- */

/* One UTF-8 character: its bytes, or 0 if it is none. */
static size_t decode(uint32_t *code, const char *from)
{
    const unsigned char *text = (const unsigned char *)from;
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t bytes = text[0] < 0x80           ? 1
                 : (text[0] & 0xe0) == 0xc0 ? 2
                 : (text[0] & 0xf0) == 0xe0 ? 3
                 : (text[0] & 0xf8) == 0xf0 ? 4
                                            : 0;
    if (bytes <= 1) {
        *code = text[0];
        return bytes;
    }
    *code = text[0] & (0x7fu >> bytes);
    for (size_t i = 1; i < bytes; i++) {
        if ((text[i] & 0xc0) != 0x80) /* the terminating zero too */
            return 0;
        *code = *code << 6 | (text[i] & 0x3f);
    }
    if (*code < least[bytes] || *code > 0x10ffff || (*code >= 0xd800 && *code < 0xe000))
        return 0;
    return bytes;
}

/* Characters that change how others are shown, or show nothing. */
static bool is_tricky(uint32_t code)
{
    return (code >= 0x80 && code < 0xa0) || code == 0xad || (code >= 0x200b && code <= 0x200f) ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2060 && code <= 0x206f) ||
           code == 0xfeff || (code >= 0xe0000 && code < 0xe1000);
}

char *mmh_human_hex(char *out, const uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        snprintf(out + 2 * i, 3, "%02x", data[i]);
    out[2 * bytes] = '\0';
    return out;
}

char *mmh_text_clean(char *out, size_t room, const char *text)
{
    size_t used = 0, cut = 0; /* cut: where "..." would still fit */
    while (*text) {
        char piece[12];
        uint32_t code;
        size_t bytes = decode(&code, text), length;
        if (!bytes) {
            length = (size_t)snprintf(piece, sizeof piece, "\\x%02x",
                                      (unsigned)(unsigned char)*text);
            bytes = 1;
        } else if (code == '\n' || code == '\t' || code == '\r') {
            length = (size_t)snprintf(piece, sizeof piece, "\\%c",
                                      code == '\n'   ? 'n'
                                      : code == '\t' ? 't'
                                                     : 'r');
        } else if (code < 0x20 || code == 0x7f) {
            length = (size_t)snprintf(piece, sizeof piece, "\\x%02x", (unsigned)code);
        } else if (is_tricky(code)) {
            length = (size_t)snprintf(piece, sizeof piece, "\\u{%x}", (unsigned)code);
        } else {
            memcpy(piece, text, bytes);
            length = bytes;
        }
        if (used + length + 1 > room) {
            if (cut + 4 <= room)
                memcpy(out + cut, "...", 3);
            used = cut + 4 <= room ? cut + 3 : used;
            break;
        }
        memcpy(out + used, piece, length);
        used += length;
        text += bytes;
        if (used + 4 <= room)
            cut = used;
    }
    out[used] = 0;
    return out;
}

/* Columns of a character that mmh_text_clean lets through. */
static size_t columns_of(uint32_t code)
{
    if ((code >= 0x300 && code < 0x370) || (code >= 0xfe00 && code < 0xfe10))
        return 0;
    return (code >= 0x1100 && code < 0x1160) || (code >= 0x2e80 && code < 0xa4d0) ||
                   (code >= 0xac00 && code < 0xd7a4) || (code >= 0xf900 && code < 0xfb00) ||
                   (code >= 0xfe30 && code < 0xfe70) || (code >= 0xff00 && code < 0xff61) ||
                   (code >= 0xffe0 && code < 0xffe7) || (code >= 0x1f300 && code < 0x1fb00) ||
                   (code >= 0x20000 && code < 0x3fffe)
             ? 2
             : 1;
}

size_t mmh_text_width(const char *text)
{
    size_t width = 0, bytes;
    uint32_t code;
    for (; *text; text += bytes ? bytes : 1) {
        bytes = decode(&code, text);
        width += bytes ? columns_of(code) : 1;
    }
    return width;
}

void mmh_text_shorten(char *text, size_t columns)
{
    size_t width = mmh_text_width(text), head = 0, bytes;
    uint32_t code;
    if (width <= columns)
        return;
    /* The end tells files apart more often than the middle: keep more of it. */
    size_t dots = columns > 6 ? 3 : 0;
    size_t keep_head = (columns - dots) / 3, keep_tail = columns - dots - keep_head;
    char *at = text;
    for (size_t taken = 0; *at; at += bytes, head += bytes) {
        bytes = decode(&code, at);
        bytes = bytes ? bytes : 1;
        taken += columns_of(code);
        if (taken > keep_head)
            break;
    }
    const char *tail = at;
    for (size_t left = mmh_text_width(tail); left > keep_tail; tail += bytes) {
        bytes = decode(&code, tail);
        bytes = bytes ? bytes : 1;
        left -= columns_of(code);
    }
    memcpy(text + head, "...", dots); /* in place: what is cut is at least as long */
    memmove(text + head + dots, tail, strlen(tail) + 1);
}
