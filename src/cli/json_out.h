/*
 * Writing JSON to a stream, for --json.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 *     struct mmh_json_out out;
 *     mmh_json_out_begin(&out, stdout);
 *     mmh_json_out_object(&out, NULL);
 *     mmh_json_out_text(&out, "name", name);
 *     mmh_json_out_array(&out, "shape");
 *     mmh_json_out_u64(&out, NULL, 3);
 *     mmh_json_out_end(&out);
 *     mmh_json_out_end(&out);
 *     if (!mmh_json_out_finish(&out)) ...
 *
 * `key` is the member's name within an object, NULL in an array and at the top.
 */
#ifndef MMH_JSON_OUT_H
#define MMH_JSON_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { MMH_JSON_OUT_DEPTH_MAX = 32 };

struct mmh_json_out {
    FILE *file;
    bool compact; /* set after init: all on one line */
    unsigned depth;
    bool some[MMH_JSON_OUT_DEPTH_MAX];   /* the container at this depth holds something */
    bool object[MMH_JSON_OUT_DEPTH_MAX]; /* it is an object, not an array */
};

/* The stream stays the caller's. */
void mmh_json_out_begin(struct mmh_json_out *out, FILE *file);

void mmh_json_out_object(struct mmh_json_out *out, const char *key);
void mmh_json_out_array(struct mmh_json_out *out, const char *key);
void mmh_json_out_end(struct mmh_json_out *out); /* of the innermost one */

/* text NULL: null. What is not UTF-8 becomes U+FFFD, a byte each; control characters and those that
 * turn text around are escaped. */
void mmh_json_out_text(struct mmh_json_out *out, const char *key, const char *text);
void mmh_json_out_text_bytes(struct mmh_json_out *out, const char *key, const char *text,
                             size_t bytes);
void mmh_json_out_hex(struct mmh_json_out *out, const char *key, const uint8_t *data,
                      size_t bytes); /* a string of hexadecimal digits */
void mmh_json_out_u64(struct mmh_json_out *out, const char *key, uint64_t value);
void mmh_json_out_i64(struct mmh_json_out *out, const char *key, int64_t value);
/* part / whole to six places; null if whole is 0. */
void mmh_json_out_ratio(struct mmh_json_out *out, const char *key, uint64_t part, uint64_t whole);
void mmh_json_out_double(struct mmh_json_out *out, const char *key, double value);
void mmh_json_out_bool(struct mmh_json_out *out, const char *key, bool value);
void mmh_json_out_null(struct mmh_json_out *out, const char *key);

/* End the line and flush. False if any write to the stream failed. */
bool mmh_json_out_finish(struct mmh_json_out *out);

#endif
