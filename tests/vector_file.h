/*
 * For tests of published vectors: files of $MMH_SHARED/vectors, their JSON and their "name = hex" lines,
 * and counts of what was run.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * To be included after cmocka.h.
 */
#ifndef MMH_VECTOR_FILE_H
#define MMH_VECTOR_FILE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

struct blob {
    uint8_t *data; /* NULL: it is not there */
    size_t bytes;
};

/* ---- memory: of one vector, or of one file ---- */

static struct mmh_arena vector_arena;

static inline uint8_t *vector_memory(size_t bytes)
{
    uint8_t *memory = mmh_arena_alloc(&vector_arena, 16, bytes + !bytes);
    assert_non_null(memory);
    return memory;
}

/* ---- files ---- */

static inline bool vectors_are_there(void)
{
    const char *shared = getenv("MMH_SHARED");
    char path[1024];
    FILE *file = NULL;
    if (shared && snprintf(path, sizeof path, "%s/vectors/README.md", shared) < (int)sizeof path)
        file = fopen(path, "rb");
    if (file)
        fclose(file);
    return file != NULL;
}

static inline void vector_path(char path[1024], const char *name)
{
    assert_true(snprintf(path, 1024, "%s/vectors/%s", getenv("MMH_SHARED"), name) < 1024);
}

/* A whole file, with a NUL behind it; to be freed. */
static inline struct blob vector_read(const char *name)
{
    char path[1024];
    struct blob blob = { NULL, 0 };
    vector_path(path, name);
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s is not there", path);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long bytes = ftell(file);
    assert_true(bytes >= 0);
    rewind(file);
    blob.bytes = (size_t)bytes;
    blob.data = malloc(blob.bytes + 1);
    assert_non_null(blob.data);
    assert_int_equal(fread(blob.data, 1, blob.bytes, file), blob.bytes);
    blob.data[blob.bytes] = 0;
    fclose(file);
    return blob;
}

/* ---- hexadecimal ---- */

static inline int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

static inline struct blob hex_blob(const char *text, size_t length)
{
    struct blob blob = { vector_memory(length / 2), length / 2 };
    assert_int_equal(length % 2, 0);
    for (size_t i = 0; i < blob.bytes; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        assert_true(high >= 0 && low >= 0);
        blob.data[i] = (uint8_t)(high << 4 | low);
    }
    return blob;
}

/* ---- JSON: named members of objects ---- */

struct member {
    const char *name;
    struct mmh_json_token token; /* a string or a number; kind MMH_JSON_END: it is not there */
    struct mmh_json inside; /* an object or array: where it can be read, from its first token on */
};

/* Read an object whose MMH_JSON_OBJECT has just been read. */
static inline void members_read(struct mmh_json *json, struct member *members, size_t count)
{
    struct mmh_json_token key, value;
    for (size_t i = 0; i < count; i++)
        members[i].token.kind = MMH_JSON_END;
    while (mmh_json_next(json, &key) == MMH_JSON_KEY) {
        struct member *found = NULL;
        for (size_t i = 0; i < count; i++)
            if (mmh_json_is(&key, members[i].name))
                found = &members[i];
        if (found)
            found->inside = *json;
        (void)mmh_json_next(json, &value);
        if (found)
            found->token = value;
        mmh_json_skip_rest(json, &value);
    }
}

static inline struct blob member_hex(const struct member *member)
{
    if (member->token.kind != MMH_JSON_STRING)
        return (struct blob){ NULL, 0 };
    return hex_blob(member->token.text, member->token.bytes);
}

static inline bool member_is(const struct member *member, const char *text)
{
    return member->token.kind == MMH_JSON_STRING && mmh_json_is(&member->token, text);
}

/* Run something for each object of each array that is called `array` (NULL: the outermost array). */
static inline void vectors_each(const char *file, const char *array, struct member *members,
                                size_t count, void (*run)(struct member *members))
{
    struct blob text = vector_read(file);
    struct mmh_json json;
    struct mmh_json_token token;
    bool here = !array;
    mmh_json_init(&json, text.data, text.bytes);
    while (mmh_json_next(&json, &token) != MMH_JSON_END) {
        if (token.kind == MMH_JSON_KEY) {
            here = array && mmh_json_is(&token, array);
            continue;
        }
        if (token.kind == MMH_JSON_ARRAY && here)
            while (mmh_json_next(&json, &token) == MMH_JSON_OBJECT) {
                mmh_arena_init(&vector_arena, NULL);
                members_read(&json, members, count);
                run(members);
                mmh_arena_release(&vector_arena);
            }
        here = false;
    }
    assert_int_equal(mmh_json_finish(&json, file, NULL), MMH_OK);
    free(text.data);
}

/* ---- lines: [section], name = value ---- */

struct vector_lines {
    struct blob text;
    char *next;
    char section[64];
};

static inline void lines_open(struct vector_lines *lines, const char *file)
{
    memset(lines, 0, sizeof *lines);
    lines->text = vector_read(file);
    lines->next = (char *)lines->text.data;
}

static inline void lines_close(struct vector_lines *lines)
{
    free(lines->text.data);
}

/* The next "name = value"; */
static inline bool lines_next(struct vector_lines *lines, const char **name, const char **value)
{
    while (lines->next && *lines->next) {
        char *line = lines->next, *end = strchr(line, '\n');
        lines->next = end ? end + 1 : NULL;
        if (end)
            *end = 0;
        if (*line == '[' && strchr(line, ']') && !strstr(line, " = ")) {
            *strchr(line, ']') = 0;
            assert_true(snprintf(lines->section, sizeof lines->section, "%s", line + 1) <
                        (int)sizeof lines->section);
            continue;
        }
        char *equals = strstr(line, " = ");
        if (*line == '#' || !equals)
            continue;
        *equals = 0;
        *name = line;
        *value = equals + 3;
        return true;
    }
    return false;
}

/* ---- counts ---- */

struct vector_count {
    const char *file;
    unsigned run, skipped;
    const char *why; /* some were not run */
};

static inline void count_tell(struct vector_count *count)
{
    if (count->skipped)
        print_message("vectors: %s: %u run, %u not (%s)\n", count->file, count->run, count->skipped,
                      count->why);
    else
        print_message("vectors: %s: %u run\n", count->file, count->run);
}

#endif
