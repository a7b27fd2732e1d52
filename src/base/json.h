/*
 * JSON: a bounded pull parser, strict and without recursion or memory of its own.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Reads one RFC 8259 value over a byte range and gives its tokens in order. Duplicate keys are
 * given as they come. It remembers its first error: after that every token is MMH_JSON_END, and
 * mmh_json_finish reports it with its offset.
 *
 *     mmh_json_init(&json, text, bytes);
 *     if (mmh_json_next(&json, &token) == MMH_JSON_OBJECT)
 *         while (mmh_json_next(&json, &token) == MMH_JSON_KEY)
 *             if (mmh_json_is(&token, "shape"))
 *                 ...
 *             else
 *                 mmh_json_skip_value(&json);
 *     return mmh_json_finish(&json, "safetensors header", err);
 */
#ifndef MMH_JSON_H
#define MMH_JSON_H

#include "base/arena.h"

enum { MMH_JSON_DEPTH_MAX = 64 };

enum mmh_json_kind {
    MMH_JSON_END,    /* the value is complete, or there was an error */
    MMH_JSON_OBJECT, /* { : keys and values follow, then MMH_JSON_OBJECT_END */
    MMH_JSON_OBJECT_END,
    MMH_JSON_ARRAY, /* [ : values follow, then MMH_JSON_ARRAY_END */
    MMH_JSON_ARRAY_END,
    MMH_JSON_KEY, /* a value follows */
    MMH_JSON_STRING,
    MMH_JSON_NUMBER,
    MMH_JSON_TRUE,
    MMH_JSON_FALSE,
    MMH_JSON_NULL
};

struct mmh_json_token {
    enum mmh_json_kind kind;
    const char *text; /* within the input; strings and keys: without the quotes, escapes kept */
    size_t bytes;
    size_t offset; /* of the token in the input (of the quote, for strings) */
    bool escaped;  /* a string or key with a backslash in it */
    bool is_u64;   /* a number written as a plain integer 0..2^64-1 ("-0", "1e3": false) */
    uint64_t u64;
};

struct mmh_json {
    const uint8_t *data;
    size_t bytes;
    size_t position;
    const char *problem; /* static text of the first error; NULL: none */
    size_t problem_offset;
    uint64_t objects; /* bit d: the container at depth d is an object */
    unsigned depth;
    unsigned state; /* private */
};

/* Keeps `data`; tokens point into it. */
void mmh_json_init(struct mmh_json *json, const void *data, size_t bytes);

enum mmh_json_kind mmh_json_next(struct mmh_json *json, struct mmh_json_token *token);

/* Pass over the next value with all that is in it: after MMH_JSON_KEY, or in an array. */
void mmh_json_skip_value(struct mmh_json *json);

/* Pass over the rest of the container that `token` (OBJECT or ARRAY, just read) opened; nothing
 * for other tokens. */
void mmh_json_skip_rest(struct mmh_json *json, const struct mmh_json_token *token);

/* Refuse what the caller's own grammar does not allow; `problem` is static text. */
void mmh_json_reject(struct mmh_json *json, const struct mmh_json_token *token,
                     const char *problem);

/* True if a string or key, unescaped, equals the NUL-terminated text. */
bool mmh_json_is(const struct mmh_json_token *token, const char *text);

/* The string or key unescaped to UTF-8, in the arena, with a NUL after it (it may hold NULs:
 * *bytes tells). bytes may be NULL. NULL if out of memory or not a string. */
char *mmh_json_string(const struct mmh_json_token *token, struct mmh_arena *arena, size_t *bytes);

/* Fail with MMH_E_CORRUPT after an error, or if the value is not complete, or if more than white
 * space follows it. */
mmh_status mmh_json_finish(struct mmh_json *json, const char *what, mmh_error *err);

#endif
