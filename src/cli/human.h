/*
 * Numbers as people read them, and text that is safe to show.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The number functions return a struct by value: printf("%s", mmh_human_bytes(n).text).
 */
#ifndef MMH_HUMAN_H
#define MMH_HUMAN_H

#include <stddef.h>
#include <stdint.h>

struct mmh_human {
    char text[32];
};

struct mmh_human_list {
    char text[72];
};

struct mmh_human mmh_human_bytes(uint64_t bytes);                  /* "86.7 MB", "512 B" */
struct mmh_human mmh_human_rate(uint64_t bytes, uint64_t ns);      /* "1.34 GB/s", "-" */
struct mmh_human mmh_human_time(uint64_t ns);                      /* "0.42 s", "3:07" */
struct mmh_human mmh_human_percent(uint64_t part, uint64_t whole); /* "66.5 %", "-" */
struct mmh_human mmh_human_count(uint64_t count);                  /* "1 234 567" */
struct mmh_human mmh_human_things(uint64_t count, const char *one, const char *more);
/* "1 entry", "2 entries" */

/* Bytes as hexadecimal digits: out [2 * bytes + 1]; returns it. */
char *mmh_human_hex(char *out, const uint8_t *data, size_t bytes);

/*
 * A copy of names and messages that does no harm in a terminal: control characters, invalid
 * UTF-8 and characters that reorder text become \n, \x1b, \u{202e}. Cut at `room` bytes, with
 * "..." at the end then; 4 * strlen(text) + 1 always suffices ("\u{202e}" stands for 3 bytes).
 */
char *mmh_text_clean(char *out, size_t room, const char *text);

size_t mmh_text_width(const char *text); /* columns of clean text */

/* Shorten clean text to `columns` with "..." in its middle. In place. */
void mmh_text_shorten(char *text, size_t columns);

#endif
