/*
 * npy: magic, version, a Python dict as text, one array; several may follow one another.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The dict is read by a small grammar of its own (strings, tuples of integers, True and False):
 * nothing is ever evaluated. bfloat16 is what ml_dtypes makes of it, "V2".
 * Source: numpy/lib/format.py (NEP 1).
 */
#include <string.h>

#include "base/bits.h"
#include "base/cursor.h"
#include "format/format_table.h"

enum {
    PREFIX_BYTES = 12,          /* magic, version, header length: at the most */
    HEADER_BYTES_MAX = 1 << 20, /* numpy itself stops at 10 000 */
    ARRAYS_MAX = 1 << 16
};

static const uint8_t magic[6] = { 0x93, 'N', 'U', 'M', 'P', 'Y' };

static bool detect(const struct mmh_format_probe *probe)
{
    return probe->head_bytes >= 10 && memcmp(probe->head, magic, sizeof magic) == 0;
}

/* ---- the dict ---- */

/* What a header says. */
struct header {
    char descr[16]; /* "<f4"; empty: structured, or longer than any that we know */
    bool fortran_order;
    uint32_t dimensions;
    uint64_t shape[MMH_MAP_DIMENSIONS_MAX];
};

static void skip_space(struct mmh_cursor *in)
{
    while (mmh_cursor_left(in) && strchr(" \t\n\r", in->data[in->position]) &&
           in->data[in->position])
        mmh_cursor_skip(in, 1);
}

/* Takes `c` after white space, if it is the next. */
static bool take(struct mmh_cursor *in, char c)
{
    skip_space(in);
    if (!mmh_cursor_left(in) || in->data[in->position] != (uint8_t)c)
        return false;
    mmh_cursor_skip(in, 1);
    return true;
}

static bool take_word(struct mmh_cursor *in, const char *word)
{
    size_t bytes = strlen(word);
    skip_space(in);
    if (mmh_cursor_left(in) < bytes || memcmp(in->data + in->position, word, bytes) != 0)
        return false;
    mmh_cursor_skip(in, bytes);
    return true;
}

/* A quoted string without escapes; NULL if there is none here. */
static const char *take_string(struct mmh_cursor *in, size_t *bytes)
{
    char quote = take(in, '\'') ? '\'' : take(in, '"') ? '"' : '\0';
    const char *text = (const char *)in->data + in->position;
    size_t left = mmh_cursor_left(in);
    const char *end = quote ? memchr(text, quote, left) : NULL;
    if (!end || memchr(text, '\\', (size_t)(end - text)))
        return NULL;
    *bytes = (size_t)(end - text);
    mmh_cursor_skip(in, *bytes + 1);
    return text;
}

static bool take_integer(struct mmh_cursor *in, uint64_t *value)
{
    size_t digits = 0;
    skip_space(in);
    for (*value = 0; mmh_cursor_left(in); digits++) {
        unsigned digit = (unsigned)in->data[in->position] - '0';
        if (digit > 9)
            break;
        if (!mmh_u64_mul(value, *value, 10) || !mmh_u64_add(value, *value, digit))
            return false;
        mmh_cursor_skip(in, 1);
    }
    take(in, 'L'); /* Python 2 */
    return digits > 0;
}

static bool take_shape(struct mmh_cursor *in, struct header *header)
{
    bool comma = false;
    header->dimensions = 0;
    if (!take(in, '('))
        return false;
    while (!take(in, ')')) {
        if (header->dimensions == MMH_MAP_DIMENSIONS_MAX || (header->dimensions && !comma) ||
            !take_integer(in, &header->shape[header->dimensions++]))
            return false;
        comma = take(in, ',');
    }
    return comma || header->dimensions != 1; /* (3) is no tuple */
}

/* A structured type: [('a', '<f4'), ...]. Only its end is looked for. */
static bool skip_list(struct mmh_cursor *in)
{
    unsigned depth = 0;
    do {
        size_t bytes;
        skip_space(in);
        if (!mmh_cursor_left(in))
            return false;
        char c = (char)in->data[in->position];
        if (c == '\'' || c == '"') {
            if (!take_string(in, &bytes))
                return false;
            continue;
        }
        depth += c == '[' || c == '(';
        depth -= c == ']' || c == ')';
        mmh_cursor_skip(in, 1);
    } while (depth);
    return true;
}

static bool take_descr(struct mmh_cursor *in, struct header *header)
{
    size_t bytes;
    skip_space(in);
    if (mmh_cursor_left(in) && in->data[in->position] == '[')
        return skip_list(in);
    const char *text = take_string(in, &bytes);
    if (text && bytes < sizeof header->descr)
        memcpy(header->descr, text, bytes);
    return text != NULL;
}

/* The whole dict; false if it is anything else than numpy writes. */
static bool read_header(struct header *header, struct mmh_cursor *in)
{
    unsigned seen = 0;
    *header = (struct header){ 0 };
    if (!take(in, '{'))
        return false;
    while (!take(in, '}')) {
        size_t bytes;
        unsigned field = 0;
        const char *key = take_string(in, &bytes);
        if (!key || !take(in, ':'))
            return false;
        if (bytes == 5 && memcmp(key, "descr", 5) == 0) {
            field = take_descr(in, header) ? 1 : 0;
        } else if (bytes == 13 && memcmp(key, "fortran_order", 13) == 0) {
            header->fortran_order = take_word(in, "True");
            field = header->fortran_order || take_word(in, "False") ? 2 : 0;
        } else if (bytes == 5 && memcmp(key, "shape", 5) == 0) {
            field = take_shape(in, header) ? 4 : 0;
        }
        if (!field || seen & field)
            return false;
        seen |= field;
        if (!take(in, ',') && seen != 7)
            return false;
    }
    skip_space(in);
    return seen == 7 && !mmh_cursor_left(in) && !mmh_cursor_failed(in);
}

/* ---- element types ---- */

/* Bytes of one element of a descr, and the type that codecs know it by (OPAQUE: none); 0 if we
 * cannot tell (structured, pickled objects). */
static uint64_t element_bytes(const char *descr, mmh_dtype *dtype, bool *big_endian)
{
    static const struct {
        char kind;
        uint8_t bytes, dtype;
    } known[] = {
        { 'b', 1, MMH_DTYPE_BOOL }, { 'u', 1, MMH_DTYPE_U8 },    { 'i', 1, MMH_DTYPE_I8 },
        { 'u', 2, MMH_DTYPE_U16 },  { 'i', 2, MMH_DTYPE_I16 },   { 'u', 4, MMH_DTYPE_U32 },
        { 'i', 4, MMH_DTYPE_I32 },  { 'u', 8, MMH_DTYPE_U64 },   { 'i', 8, MMH_DTYPE_I64 },
        { 'f', 2, MMH_DTYPE_F16 },  { 'f', 4, MMH_DTYPE_F32 },   { 'f', 8, MMH_DTYPE_F64 },
        { 'c', 8, MMH_DTYPE_C64 },  { 'c', 16, MMH_DTYPE_C128 }, { 'V', 2, MMH_DTYPE_BF16 },
        { 'V', 1, MMH_DTYPE_U8 },   { 'f', 1, MMH_DTYPE_U8 },  /* ml_dtypes: some float8 */
        { 'M', 8, MMH_DTYPE_I64 },  { 'm', 8, MMH_DTYPE_I64 }, /* dates and differences of them */
    };
    char order = strchr("<>=|", *descr) && *descr ? *descr++ : '|';
    char kind = *descr;
    uint64_t bytes = 0;
    if (!kind || !strchr("buifcVMmSaU", kind))
        return 0;
    for (descr++; *descr >= '0' && *descr <= '9'; descr++) /* at most 14 digits: no overflow */
        bytes = bytes * 10 + (uint64_t)(*descr - '0');
    if (*descr && !(*descr == '[' && (kind == 'M' || kind == 'm')))
        return 0;
    bytes *= kind == 'U' ? 4 : 1;
    *dtype = MMH_DTYPE_OPAQUE;
    for (size_t i = 0; i < MMH_COUNT_OF(known); i++)
        if (kind == known[i].kind && bytes == known[i].bytes)
            *dtype = (mmh_dtype)known[i].dtype;
    *big_endian = order == '>' && mmh_dtype_scalar_bytes(*dtype) > 1;
    return bytes;
}

/* ---- arrays ---- */

/*
 * The header at `offset`: where its array starts in *data. CORRUPT if there is no header of
 * numpy's.
 */
static mmh_status take_header(struct header *header, uint64_t *data, const mmh_source *source,
                              uint64_t offset, const mmh_allocator *allocator, mmh_error *err)
{
    uint8_t prefix[PREFIX_BYTES], *text;
    uint64_t left = source->bytes - offset;
    size_t prefix_bytes = (size_t)MMH_MIN(left, (uint64_t)PREFIX_BYTES);
    mmh_status status = source->read(source->user, offset, prefix, prefix_bytes, err);
    if (status)
        return status;
    struct mmh_cursor in;
    mmh_cursor_init(&in, prefix, prefix_bytes);
    const uint8_t *start = mmh_cursor_bytes(&in, sizeof magic);
    unsigned major = mmh_cursor_u8(&in);
    mmh_cursor_skip(&in, 1); /* minor: 0 */
    uint32_t bytes = major == 1 ? mmh_cursor_u16(&in) : mmh_cursor_u32(&in);
    if (mmh_cursor_failed(&in) || memcmp(start, magic, sizeof magic) != 0 || major < 1 || major > 3)
        return mmh_fail(err, MMH_E_CORRUPT, "no npy header of version 1 to 3 at 0x%llx",
                        (unsigned long long)offset);
    left -= mmh_cursor_position(&in);
    offset += mmh_cursor_position(&in);
    if (bytes > left || bytes > HEADER_BYTES_MAX)
        return mmh_fail(err, MMH_E_CORRUPT, "npy header claims %lu bytes of %llu",
                        (unsigned long)bytes, (unsigned long long)left);
    status = mmh_source_take(&text, source, offset, bytes, allocator, err);
    if (status)
        return status;
    mmh_cursor_init(&in, text, bytes);
    if (!read_header(header, &in))
        status = mmh_fail(err, MMH_E_CORRUPT, "npy header is not what numpy writes, near 0x%llx",
                          (unsigned long long)(offset + in.position));
    mmh_free(allocator, text);
    *data = offset + bytes;
    return status;
}

/* An array of objects is a pickle, to the end of the file: it may hold arrays in its turn. */
static mmh_status map_objects(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                              const char *name, uint64_t data, mmh_error *err)
{
    const char *prefix = mmh_arena_format(map->arena, "%s.", name);
    if (!prefix)
        return mmh_fail(err, MMH_E_MEMORY, "name of an array");
    return mmh_format_map_part(map, NULL, probe, data, map->file_bytes - data, "objects.pkl",
                               prefix, err);
}

/* Adds the array; *end is where the next one may start, or the end of the file if unknown. */
static mmh_status add_array(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                            const struct header *header, const char *stem, unsigned number,
                            uint64_t data, uint64_t *end, mmh_error *err)
{
    struct mmh_map_tensor tensor = { .offset = data, .column_major = header->fortran_order };
    uint64_t each = element_bytes(header->descr, &tensor.dtype, &tensor.big_endian);
    uint64_t bytes = each;
    bool fits = each > 0, empty = false;
    for (uint32_t d = 0; d < header->dimensions; d++)
        empty = empty || !header->shape[d];
    for (uint32_t d = 0; d < header->dimensions && fits && !empty; d++)
        fits = mmh_u64_mul(&bytes, bytes, header->shape[d]);
    bytes = empty ? 0 : bytes;
    tensor.name = number ? mmh_arena_format(map->arena, "%s[%u]", stem, number) : stem;
    if (!tensor.name)
        return mmh_fail(err, MMH_E_MEMORY, "array %u", number);
    if (strcmp(header->descr, "|O") == 0) {
        size_t before = map->node_count;
        mmh_status status = map_objects(map, probe, tensor.name, data, err);
        if (status || map->node_count > before) {
            *end = map->file_bytes;
            return status;
        }
    }
    if (!fits || bytes > map->file_bytes - data) {
        mmh_extent_map_remark(
            map, "array %u (descr \"%s\") %s: kept as plain bytes", number, header->descr,
            each ? "reaches past the end of the file" : "is structured or of objects");
        *end = map->file_bytes;
        return MMH_OK;
    }
    *end = data + bytes;
    if (tensor.dtype == MMH_DTYPE_OPAQUE) {
        mmh_extent_map_remark(map,
                              "array %u (descr \"%s\") is of no type that we code: kept as "
                              "plain bytes",
                              number, header->descr);
        return MMH_OK;
    }
    uint64_t *shape = mmh_arena_array(map->arena, header->dimensions, sizeof *shape);
    if (!shape)
        return mmh_fail(err, MMH_E_MEMORY, "array %u", number);
    memcpy(shape, header->shape, header->dimensions * sizeof *shape);
    tensor.shape = shape;
    tensor.dimensions = header->dimensions;
    tensor.bytes = bytes;
    return mmh_extent_map_add(map, &tensor, err);
}

static mmh_status map_file(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                           mmh_error *err)
{
    const mmh_source *source = probe->source;
    const char *stem = mmh_source_stem(source, map->arena);
    if (!stem)
        return mmh_fail(err, MMH_E_MEMORY, "name of an array");
    for (uint64_t offset = 0, number = 0; offset < source->bytes; number++) {
        struct header header;
        uint64_t data = offset;
        mmh_error problem = { 0 };
        mmh_status status = number < ARRAYS_MAX
                              ? take_header(&header, &data, source, offset, map->arena->allocator,
                                            &problem)
                              : mmh_fail(&problem, MMH_E_CORRUPT, "arrays without end");
        if (status == MMH_E_CORRUPT && number) { /* what is before it was good */
            mmh_extent_map_remark(map, "%llu bytes follow the arrays",
                                  (unsigned long long)(source->bytes - offset));
            return MMH_OK;
        }
        if (status)
            return mmh_fail(err, status, "%s", problem.message);
        status = add_array(map, probe, &header, stem, (unsigned)number, data, &offset, err);
        if (status)
            return status;
    }
    return MMH_OK;
}

const struct mmh_format mmh_format_npy = {
    .name = "npy",
    .suffix = ".npy",
    .detect = detect,
    .map = map_file,
};
