/*
 * Layout files: from JSON to tensors.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "format/layout_file.h"

#include <string.h>

#include "base/bits.h"
#include "base/json.h"

enum { NAME_BYTES_MAX = 1000 };

static const char index_mark[] = "{i}";

/* One entry of "tensors": a tensor, or `repeat` of them `stride` bytes apart. */
struct mmh_layout_entry {
    const struct mmh_layout_entry *next;
    const char *name; /* with index_mark if it is repeated */
    mmh_dtype dtype;
    bool big_endian, column_major, repeated;
    uint32_t dimensions;
    const uint64_t *shape;
    uint64_t offset, bytes, repeat, stride;
    size_t line; /* where it stands in the layout */
};

static size_t line_of(const struct mmh_json *json, size_t offset)
{
    size_t line = 1;
    for (size_t i = 0; i < offset && i < json->bytes; i++)
        line += json->data[i] == '\n';
    return line;
}

/* ---- values: what is not as it should be is rejected, and read no further ---- */

static uint64_t read_number(struct mmh_json *json, const char *problem)
{
    struct mmh_json_token token;
    mmh_json_next(json, &token);
    if (token.kind == MMH_JSON_NUMBER && token.is_u64)
        return token.u64;
    mmh_json_reject(json, &token, problem);
    return 0;
}

/* A string without NUL, in the arena; NULL: it is none, or there is no memory (as *memory). */
static const char *read_string(struct mmh_json *json, struct mmh_arena *arena, bool *memory,
                               const char *problem)
{
    struct mmh_json_token token;
    size_t bytes;
    if (mmh_json_next(json, &token) != MMH_JSON_STRING) {
        mmh_json_reject(json, &token, problem);
        return NULL;
    }
    const char *text = mmh_json_string(&token, arena, &bytes);
    if (!text)
        *memory = false;
    else if (!bytes || bytes > NAME_BYTES_MAX || strlen(text) != bytes)
        mmh_json_reject(json, &token, problem);
    return text;
}

static mmh_dtype read_dtype(struct mmh_json *json)
{
    struct mmh_json_token token;
    mmh_dtype dtype = MMH_DTYPE_COUNT;
    if (mmh_json_next(json, &token) == MMH_JSON_STRING)
        dtype = mmh_dtype_find(token.text, token.bytes);
    if (dtype == MMH_DTYPE_COUNT || dtype == MMH_DTYPE_OPAQUE)
        mmh_json_reject(json, &token, "\"dtype\" is no element type (bf16, f32, u8, ...)");
    return dtype;
}

/* One of two words: true for the second. */
static bool read_choice(struct mmh_json *json, const char *first, const char *second,
                        const char *problem)
{
    struct mmh_json_token token;
    mmh_json_next(json, &token);
    if (token.kind == MMH_JSON_STRING && mmh_json_is(&token, second))
        return true;
    if (token.kind != MMH_JSON_STRING || !mmh_json_is(&token, first))
        mmh_json_reject(json, &token, problem);
    return false;
}

static bool read_shape(struct mmh_layout_entry *entry, struct mmh_json *json,
                       struct mmh_arena *arena)
{
    static const char problem[] = "\"shape\" is no array of at most 64 whole numbers";
    uint64_t shape[MMH_MAP_DIMENSIONS_MAX];
    struct mmh_json_token token;
    entry->dimensions = 0;
    if (mmh_json_next(json, &token) != MMH_JSON_ARRAY)
        mmh_json_reject(json, &token, problem);
    while (!json->problem && mmh_json_next(json, &token) == MMH_JSON_NUMBER && token.is_u64 &&
           entry->dimensions < MMH_MAP_DIMENSIONS_MAX)
        shape[entry->dimensions++] = token.u64;
    if (token.kind != MMH_JSON_ARRAY_END)
        mmh_json_reject(json, &token, problem);
    uint64_t *copy = mmh_arena_array(arena, entry->dimensions, sizeof *copy);
    if (copy && entry->dimensions)
        memcpy(copy, shape, entry->dimensions * sizeof *copy);
    entry->shape = copy;
    return copy != NULL;
}

/* ---- entries ---- */

enum field {
    NAME = 1,
    DTYPE = 2,
    SHAPE = 4,
    OFFSET = 8,
    BYTE_ORDER = 16,
    ORDER = 32,
    REPEAT = 64,
    STRIDE = 128,
    COMMENT = 256
};

static unsigned field_of(const struct mmh_json_token *key)
{
    static const struct {
        const char *name;
        enum field field;
    } fields[] = {
        { "name", NAME },     { "dtype", DTYPE },          { "shape", SHAPE },
        { "offset", OFFSET }, { "byteorder", BYTE_ORDER }, { "order", ORDER },
        { "repeat", REPEAT }, { "stride", STRIDE },        { "comment", COMMENT },
    };
    for (size_t i = 0; i < MMH_COUNT_OF(fields); i++)
        if (mmh_json_is(key, fields[i].name))
            return fields[i].field;
    return 0;
}

static void read_field(struct mmh_layout_entry *entry, unsigned field, struct mmh_json *json,
                       struct mmh_arena *arena, bool *memory)
{
    switch (field) {
    case NAME:
        entry->name = read_string(json, arena, memory,
                                  "\"name\" is no text of 1 to 1000 bytes without NUL");
        break;
    case DTYPE:
        entry->dtype = read_dtype(json);
        break;
    case SHAPE:
        *memory = read_shape(entry, json, arena) && *memory;
        break;
    case OFFSET:
        entry->offset = read_number(json, "\"offset\" is no whole number of bytes");
        break;
    case BYTE_ORDER:
        entry->big_endian = read_choice(json, "little", "big",
                                        "\"byteorder\" is neither \"little\" nor \"big\"");
        break;
    case ORDER:
        entry->column_major = read_choice(json, "C", "F", "\"order\" is neither \"C\" nor \"F\"");
        break;
    case REPEAT:
        entry->repeat = read_number(json, "\"repeat\" is no whole number");
        break;
    case STRIDE:
        entry->stride = read_number(json, "\"stride\" is no whole number of bytes");
        break;
    default:
        mmh_json_skip_value(json);
    }
}

/* Fill in what was left out, and look at what goes together; *next is where the previous entry ends. NULL:
 * nothing is wrong. */
static const char *complete(struct mmh_layout_entry *entry, unsigned seen, uint64_t *next)
{
    uint64_t last, end;
    if (!(seen & NAME))
        return "a tensor without \"name\"";
    if (!(seen & DTYPE))
        return "a tensor without \"dtype\"";
    if (!(seen & SHAPE))
        return "a tensor without \"shape\"";
    if (!mmh_shape_bytes(&entry->bytes, entry->dtype, entry->dimensions, entry->shape))
        return "a shape that its type cannot have, or of more than 2^64 bytes";
    entry->repeated = (seen & REPEAT) != 0;
    if (!entry->repeated)
        entry->repeat = 1;
    if (entry->repeated && !strstr(entry->name, index_mark))
        return "a repeated tensor needs {i} in its name";
    if ((seen & STRIDE) && !entry->repeated)
        return "\"stride\" is for repeated tensors";
    if (!entry->repeat || entry->repeat > MMH_MAP_TENSORS_MAX)
        return "\"repeat\" is not from 1 to 10 million";
    if (entry->repeated && !entry->bytes)
        return "a repeated tensor without elements";
    if (!(seen & STRIDE))
        entry->stride = entry->bytes;
    if (entry->stride < entry->bytes)
        return "\"stride\" is less than the bytes of one tensor: they would overlap";
    if (!(seen & OFFSET))
        entry->offset = *next;
    if (!mmh_u64_mul(&last, entry->stride, entry->repeat - 1) ||
        !mmh_u64_add(&last, entry->offset, last) || !mmh_u64_add(&end, last, entry->bytes))
        return "a tensor that ends beyond 2^64";
    *next = end;
    return NULL;
}

static bool read_entry(struct mmh_layout_entry *entry, uint64_t *next, struct mmh_json *json,
                       const struct mmh_json_token *begin, struct mmh_arena *arena)
{
    struct mmh_json_token key;
    unsigned seen = 0;
    bool memory = true;
    if (begin->kind != MMH_JSON_OBJECT)
        mmh_json_reject(json, begin, "an entry of \"tensors\" is no object");
    while (memory && !json->problem && mmh_json_next(json, &key) == MMH_JSON_KEY) {
        unsigned field = field_of(&key);
        if (!field)
            mmh_json_reject(json, &key, "a tensor has no such key");
        else if (seen & field)
            mmh_json_reject(json, &key, "a key that the tensor has already");
        else
            read_field(entry, field, json, arena, &memory);
        seen |= field;
    }
    if (memory && !json->problem) {
        const char *problem = complete(entry, seen, next);
        if (problem)
            mmh_json_reject(json, begin, problem);
    }
    return memory;
}

static bool read_entries(struct mmh_layout *layout, struct mmh_json *json, struct mmh_arena *arena)
{
    struct mmh_json_token token;
    const struct mmh_layout_entry **end = &layout->first;
    size_t line = 1, counted = 0;
    uint64_t next = 0;
    if (mmh_json_next(json, &token) != MMH_JSON_ARRAY)
        mmh_json_reject(json, &token, "\"tensors\" is no array");
    while (!json->problem) {
        mmh_json_next(json, &token);
        if (token.kind == MMH_JSON_ARRAY_END || token.kind == MMH_JSON_END)
            break;
        struct mmh_layout_entry *entry = mmh_arena_array(arena, 1, sizeof *entry);
        if (!entry)
            return false;
        for (; counted < token.offset; counted++)
            line += json->data[counted] == '\n';
        entry->line = line;
        if (!read_entry(entry, &next, json, &token, arena))
            return false;
        layout->tensor_count += entry->repeat;
        if (layout->tensor_count > MMH_MAP_TENSORS_MAX)
            mmh_json_reject(json, &token, "more than 10 million tensors");
        *end = entry;
        end = &entry->next;
    }
    return true;
}

/* The whole object; false: no memory. */
static bool read_layout(struct mmh_layout *layout, struct mmh_json *json, struct mmh_arena *arena)
{
    struct mmh_json_token token;
    bool memory = true, tensors = false;
    if (mmh_json_next(json, &token) != MMH_JSON_OBJECT)
        mmh_json_reject(json, &token, "a layout is an object with \"tensors\"");
    while (memory && !json->problem && mmh_json_next(json, &token) == MMH_JSON_KEY) {
        if (mmh_json_is(&token, "tensors") && !tensors) {
            memory = read_entries(layout, json, arena);
            tensors = true;
        } else if (mmh_json_is(&token, "file") && !layout->file) {
            layout->file = read_string(json, arena, &memory, "\"file\" is no name of a file");
        } else if (mmh_json_is(&token, "comment") || mmh_json_is(&token, "$schema")) {
            mmh_json_skip_value(json);
        } else {
            mmh_json_reject(json, &token, "a layout has no such key, or has it already");
        }
    }
    if (memory && !json->problem && !tensors)
        mmh_json_reject(json, &token, "a layout without \"tensors\"");
    return memory;
}

mmh_status mmh_layout_read(struct mmh_layout *layout, struct mmh_arena *arena, const void *text,
                           size_t bytes, const char *name, mmh_error *err)
{
    struct mmh_json json;
    mmh_error problem = { 0 };
    *layout = (struct mmh_layout){ .name = name };
    mmh_json_init(&json, text, bytes);
    if (!read_layout(layout, &json, arena))
        return mmh_fail(err, MMH_E_MEMORY, "layout \"%s\"", name);
    mmh_status status = mmh_json_finish(&json, "layout", &problem);
    if (!status)
        return MMH_OK;
    if (json.problem)
        return mmh_fail(err, MMH_E_USAGE, "layout \"%s\", line %zu: %s", name,
                        line_of(&json, json.problem_offset), json.problem);
    return mmh_fail(err, MMH_E_USAGE, "layout \"%s\": %s", name, problem.message);
}

bool mmh_layout_is_for(const struct mmh_layout *layout, const char *path)
{
    const char *slash = strrchr(path, '/');
    return !layout->file || strcmp(layout->file, slash ? slash + 1 : path) == 0;
}

/* ---- to a map ---- */

/* The name of repetition number `index`: with it in place of every {i}. */
static const char *name_of(const struct mmh_layout_entry *entry, uint64_t index,
                           struct mmh_arena *arena)
{
    char text[NAME_BYTES_MAX * 8], digits[24];
    size_t used = 0, digit_count = 0;
    if (!entry->repeated)
        return entry->name;
    do
        digits[sizeof digits - ++digit_count] = (char)('0' + index % 10);
    while (index /= 10);
    for (const char *at = entry->name; *at;) { /* three bytes become eight at the most */
        if (strncmp(at, index_mark, sizeof index_mark - 1) == 0) {
            memcpy(text + used, digits + sizeof digits - digit_count, digit_count);
            used += digit_count;
            at += sizeof index_mark - 1;
        } else {
            text[used++] = *at++;
        }
    }
    return mmh_arena_string(arena, text, used);
}

mmh_status mmh_layout_map(struct mmh_extent_map *map, const struct mmh_layout *layout,
                          mmh_error *err)
{
    for (const struct mmh_layout_entry *entry = layout->first; entry; entry = entry->next) {
        uint64_t end = entry->offset + entry->stride * (entry->repeat - 1) + entry->bytes;
        if (end > map->file_bytes)
            return mmh_fail(err, MMH_E_USAGE,
                            "layout \"%s\", line %zu: tensor \"%s\" ends at byte %llu, the file at "
                            "%llu",
                            layout->name, entry->line, entry->name, (unsigned long long)end,
                            (unsigned long long)map->file_bytes);
        for (uint64_t i = 0; i < entry->repeat; i++) {
            struct mmh_map_tensor tensor = {
                .name = name_of(entry, i, map->arena),
                .dtype = entry->dtype,
                .big_endian = entry->big_endian,
                .column_major = entry->column_major,
                .dimensions = entry->dimensions,
                .shape = entry->shape,
                .offset = entry->offset + i * entry->stride,
                .bytes = entry->bytes,
            };
            if (!tensor.name)
                return mmh_fail(err, MMH_E_MEMORY, "names of a layout");
            mmh_status status = mmh_extent_map_add(map, &tensor, err);
            if (status)
                return status;
        }
    }
    return MMH_OK;
}
