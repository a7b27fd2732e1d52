/*
 * What gguf and tflite files say is found; whatever they say does no harm.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/cursor.h"
#include "format/format.h"
#include "map_check.h"

/* ---- files in memory, mapped ---- */

/* One file and its map. */
struct subject {
    struct mmh_buffer file;
    struct mmh_arena arena;
    struct mmh_extent_map map;
    const char *name;
    bool big_endian, narrow; /* of gguf */
};

static void begin(struct subject *s, const char *name)
{
    *s = (struct subject){ .name = name };
    mmh_buffer_init(&s->file, NULL);
    mmh_arena_init(&s->arena, NULL);
}

static void map_bytes(struct subject *s, const uint8_t *data, size_t bytes)
{
    mmh_error err = { 0 };
    mmh_source source = mmh_source_of_memory(data, bytes, s->name);
    mmh_extent_map_init(&s->map, &s->arena, source.bytes);
    if (mmh_format_detect_and_map(&s->map, &source, NULL, &err))
        fail_msg("%s: %s", s->name, err.message);
    const char *problem = map_problem(&s->map);
    if (problem)
        fail_msg("%s: %s", s->name, problem);
}

static void map(struct subject *s)
{
    assert_int_equal(mmh_buffer_finish(&s->file, "file", NULL), MMH_OK);
    map_bytes(s, s->file.data, s->file.bytes);
}

static void end(struct subject *s)
{
    mmh_buffer_release(&s->file);
    mmh_arena_release(&s->arena);
}

/* The tensors as lines "name DTYPE [shape] offset bytes", '>' for big endian, offsets from `data`. */
static void assert_list(const struct subject *s, enum mmh_format_id format, uint64_t data,
                        const char *expected)
{
    char text[4096] = "";
    size_t used = 0;
    for (size_t i = 0; i < s->map.tensor_count; i++) {
        const struct mmh_map_tensor *tensor = &s->map.tensors[i];
        used += (size_t)snprintf(text + used, sizeof text - used, "%s %s%s [", tensor->name,
                                 tensor->big_endian ? ">" : "", mmh_dtype_name(tensor->dtype));
        for (uint32_t d = 0; d < tensor->dimensions; d++)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%llu", d ? "," : "",
                                     (unsigned long long)tensor->shape[d]);
        used += (size_t)snprintf(text + used, sizeof text - used, "] %lld %llu\n",
                                 (long long)(tensor->offset - data),
                                 (unsigned long long)tensor->bytes);
        assert_true(used < sizeof text);
    }
    assert_string_equal(text, expected);
    assert_int_equal(s->map.format, format);
}

static void assert_remark(const struct subject *s, const char *part)
{
    for (size_t i = 0; i < s->map.remark_count && i < MMH_MAP_REMARKS_MAX; i++)
        if (strstr(s->map.remarks[i], part))
            return;
    fail_msg("%s: no remark says \"%s\"", s->name, part);
}

static void assert_opaque(struct subject *s, const char *remark)
{
    map(s);
    assert_int_equal(s->map.format, MMH_FORMAT_OPAQUE);
    assert_int_equal(s->map.tensor_count, 0);
    assert_remark(s, remark);
    end(s);
}

/* A file that is cut, or has one byte changed, still has a map, and never takes more than it. */
static void assert_harmless(struct subject *s)
{
    static const uint8_t masks[] = { 0xff, 0x01, 0x80 };
    size_t bytes = s->file.bytes;
    uint8_t *copy = malloc(bytes + 1);
    assert_non_null(copy);
    for (size_t cut = 0; cut < bytes; cut++) {
        memcpy(copy, s->file.data, cut);
        map_bytes(s, copy, cut);
        mmh_arena_release(&s->arena);
    }
    memcpy(copy, s->file.data, bytes);
    for (size_t at = 0; at < bytes; at++)
        for (size_t m = 0; m < MMH_COUNT_OF(masks); m++) {
            copy[at] ^= masks[m];
            map_bytes(s, copy, bytes);
            mmh_arena_release(&s->arena);
            copy[at] ^= masks[m];
        }
    free(copy);
}

/* ---- gguf, made ---- */

static void put_u32(struct subject *s, uint32_t value)
{
    mmh_buffer_u32(&s->file, s->big_endian ? __builtin_bswap32(value) : value);
}

static void put_u64(struct subject *s, uint64_t value)
{
    mmh_buffer_u64(&s->file, s->big_endian ? __builtin_bswap64(value) : value);
}

static void put_count(struct subject *s, uint64_t value)
{
    if (s->narrow)
        put_u32(s, (uint32_t)value);
    else
        put_u64(s, value);
}

static void put_text(struct subject *s, const char *text)
{
    put_count(s, strlen(text));
    mmh_buffer_bytes(&s->file, text, strlen(text));
}

static void begin_gguf(struct subject *s, unsigned version, bool big_endian, uint64_t tensors,
                       uint64_t entries)
{
    begin(s, "m.gguf");
    s->big_endian = big_endian;
    s->narrow = version == 1;
    mmh_buffer_bytes(&s->file, "GGUF", 4);
    put_u32(s, version);
    put_count(s, tensors);
    put_count(s, entries);
}

static void put_key(struct subject *s, const char *key, uint32_t type)
{
    put_text(s, key);
    put_u32(s, type);
}

/* Dimensions fastest first, as ggml has them. */
static void put_tensor(struct subject *s, const char *name, uint32_t type, uint32_t dimensions,
                       const uint64_t *sizes, uint64_t offset)
{
    put_text(s, name);
    put_u32(s, dimensions);
    for (uint32_t d = 0; d < dimensions; d++)
        put_count(s, sizes[d]);
    put_u32(s, type);
    put_u64(s, offset);
}

/* The end of the header; where the data begins. */
static uint64_t put_data(struct subject *s, size_t alignment, size_t bytes)
{
    mmh_buffer_align(&s->file, alignment);
    uint64_t data = s->file.bytes;
    mmh_buffer_zeros(&s->file, bytes);
    return data;
}

static const uint64_t matrix[] = { 64, 3 }, vector[] = { 5 }, block[] = { 256, 2, 1 };

/* Three tensors, unordered, with a gap and a tail. */
static uint64_t make_gguf(struct subject *s, unsigned version, bool big_endian)
{
    begin_gguf(s, version, big_endian, 3, 3);
    put_key(s, "general.architecture", 8);
    put_text(s, "llama");
    put_key(s, "tokens", 9); /* array of strings */
    put_u32(s, 8);
    put_count(s, 2);
    put_text(s, "a");
    put_text(s, "bc");
    put_key(s, "general.alignment", 4);
    put_u32(s, 64);
    put_tensor(s, "token_embd.weight", 12, 3, block, 448);
    put_tensor(s, "blk.0.w", 2, 2, matrix, 64);
    put_tensor(s, "norm", 0, 1, vector, 0);
    return put_data(s, 64, 448 + 288 + 7);
}

/* ---- gguf, read ---- */

static void test_every_version_and_order_of_gguf_is_read(void **state)
{
    (void)state;
    for (unsigned version = 1; version <= 3; version++)
        for (int big = 0; big < 2; big++) {
            struct subject s;
            uint64_t data = make_gguf(&s, version, big);
            map(&s);
            assert_list(&s, MMH_FORMAT_GGUF, data,
                        big ? "norm >F32 [5] 0 20\nblk.0.w >Q4_0 [3,64] 64 108\n"
                              "token_embd.weight >Q4_K [1,2,256] 448 288\n"
                            : "norm F32 [5] 0 20\nblk.0.w Q4_0 [3,64] 64 108\n"
                              "token_embd.weight Q4_K [1,2,256] 448 288\n");
            assert_int_equal(s.map.remark_count, 0);
            assert_int_equal(s.map.metadata_count, 2);
            assert_string_equal(s.map.metadata[0].key, "general.architecture");
            assert_string_equal(s.map.metadata[0].value, "llama");
            assert_string_equal(s.map.metadata[1].value, "64");
            end(&s);
        }
}

static void test_every_type_of_ggml_is_known(void **state)
{
    static const uint8_t numbers[] = { 0,  1,  2,  3,  6,  7,  8,  9,  10, 11, 12, 13,
                                       14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25,
                                       26, 27, 28, 29, 30, 34, 35, 39, 40, 41 };
    static const char *const names[] = { "F32",    "F16",   "Q4_0",    "Q4_1",   "Q5_0",    "Q5_1",
                                         "Q8_0",   "Q8_1",  "Q2_K",    "Q3_K",   "Q4_K",    "Q5_K",
                                         "Q6_K",   "Q8_K",  "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S",
                                         "IQ4_NL", "IQ3_S", "IQ2_S",   "IQ4_XS", "I8",      "I16",
                                         "I32",    "I64",   "F64",     "IQ1_M",  "BF16",    "TQ1_0",
                                         "TQ2_0",  "MXFP4", "NVFP4",   "Q1_0" };
    static const uint64_t row = 512;
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(numbers); i++) {
        struct subject s;
        begin_gguf(&s, 3, false, 1, 0);
        put_tensor(&s, "t", numbers[i], 1, &row, 0);
        put_data(&s, 32, 4096);
        map(&s);
        assert_int_equal(s.map.remark_count, 0);
        assert_int_equal(s.map.tensor_count, 1);
        assert_string_equal(mmh_dtype_name(s.map.tensors[0].dtype), names[i]);
        end(&s);
    }
}

static void test_odd_tensors_of_gguf_are_left_out_alone(void **state)
{
    static const uint64_t one[] = { 1 }, half[] = { 16, 2 }, huge[] = { 1ull << 40, 1ull << 40 };
    static const uint64_t far[] = { 1000 };
    static const struct {
        const char *name, *remark;
        uint32_t type, dimensions;
        const uint64_t *sizes;
        uint64_t offset;
    } odd[] = {
        { "removed", "no element type", 4, 1, one, 0 },
        { "unknown", "no element type", 99, 1, one, 0 },
        { "rows", "rows that are no whole blocks", 2, 2, half, 0 },
        { "scalar block", "rows that are no whole blocks", 2, 0, one, 0 },
        { "repacked", "size that no blocks have", 31, 1, one, 0 },
        { "huge", "overflows", 0, 2, huge, 0 },
        { "far", "past the end", 0, 1, far, 0 },
        { "wrapped", "past the end", 0, 1, one, UINT64_MAX - 40 },
        { "wrapped further", "past the end", 0, 1, one, UINT64_MAX },
    };
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(odd); i++) {
        struct subject s;
        begin_gguf(&s, 3, false, 2, 0);
        put_tensor(&s, odd[i].name, odd[i].type, odd[i].dimensions, odd[i].sizes, odd[i].offset);
        put_tensor(&s, "good", 24, 1, vector, 32);
        uint64_t data = put_data(&s, 32, 64);
        map(&s);
        assert_list(&s, MMH_FORMAT_GGUF, data, "good I8 [5] 32 5\n");
        assert_remark(&s, odd[i].remark);
        end(&s);
    }
}

static void test_repacked_blocks_are_bytes(void **state)
{
    struct subject s;
    (void)state;
    begin_gguf(&s, 2, false, 2, 0);
    put_tensor(&s, "r", 33, 2, matrix, 0);
    put_tensor(&s, "scalar", 30, 0, NULL, 112);
    uint64_t data = put_data(&s, 32, 114);
    map(&s);
    assert_list(&s, MMH_FORMAT_GGUF, data, "r U8 [108] 0 108\nscalar BF16 [] 112 2\n");
    assert_remark(&s, "interleaves");
    end(&s);
}

/* Scalars and short strings are kept, as text that reads back; arrays and long strings are passed over. */
static void test_short_values_of_gguf_are_metadata(void **state)
{
    static const struct {
        uint32_t type;
        unsigned bytes;
        uint64_t bits;
        const char *text;
    } values[] = {
        { 0, 1, 200, "200" },
        { 1, 1, 0xff, "-1" },
        { 2, 2, 65535, "65535" },
        { 3, 2, 0x8000, "-32768" },
        { 4, 4, 0xffffffff, "4294967295" },
        { 5, 4, 0xfffffffe, "-2" },
        { 6, 4, 0x3dcccccd, "0.1" },
        { 6, 4, 0x358637bd, "1e-06" },
        { 6, 4, 0x7f800000, "inf" },
        { 6, 4, 0xffc00001, "nan" },
        { 7, 1, 1, "true" },
        { 7, 1, 0, "false" },
        { 10, 8, UINT64_MAX, "18446744073709551615" },
        { 11, 8, 1ull << 63, "-9223372036854775808" },
        { 12, 8, 0x3fb999999999999a, "0.1" },
        { 12, 8, 0xc08f400000000000, "-1e+03" },
    };
    char filler[300];
    struct subject s;
    (void)state;
    memset(filler, 'x', sizeof filler);
    filler[299] = '\0';
    begin_gguf(&s, 3, false, 0, MMH_COUNT_OF(values) + 5);
    put_key(&s, "long", 8);
    put_text(&s, filler);
    put_key(&s, "nested", 9); /* arrays in an array */
    put_u32(&s, 9);
    put_u64(&s, 2);
    for (int i = 0; i < 2; i++) {
        put_u32(&s, 6);
        put_u64(&s, 3);
        mmh_buffer_zeros(&s.file, 12);
    }
    for (size_t i = 0; i < MMH_COUNT_OF(values); i++) {
        put_key(&s, "v", values[i].type);
        uint8_t bits[8];
        mmh_store64(bits, values[i].bits);
        mmh_buffer_bytes(&s.file, bits, values[i].bytes);
    }
    put_key(&s, "empty", 8);
    put_text(&s, "");
    put_key(&s, "nul", 8);
    put_u64(&s, 3);
    mmh_buffer_bytes(&s.file, "a\0b", 3);
    filler[256] = '\0';
    put_key(&s, "longest", 8);
    put_text(&s, filler);
    map(&s);
    assert_int_equal(s.map.format, MMH_FORMAT_GGUF);
    assert_int_equal(s.map.metadata_count, MMH_COUNT_OF(values) + 2);
    for (size_t i = 0; i < MMH_COUNT_OF(values); i++)
        assert_string_equal(s.map.metadata[i].value, values[i].text);
    assert_string_equal(s.map.metadata[MMH_COUNT_OF(values)].value, "");
    assert_string_equal(s.map.metadata[MMH_COUNT_OF(values) + 1].value, filler);
    assert_int_equal(s.map.remark_count, 0);
    end(&s);
}

static void test_what_is_no_gguf_after_all_is_opaque(void **state)
{
    static const uint32_t alignments[] = { 0, 3, 48, 0xffffffff };
    struct subject s;
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(alignments); i++) {
        begin_gguf(&s, 3, false, 0, 1);
        put_key(&s, "general.alignment", 4);
        put_u32(&s, alignments[i]);
        assert_opaque(&s, "no power of two");
    }
    begin_gguf(&s, 3, false, 0, 1);
    put_key(&s, "general.alignment", 10);
    put_u64(&s, 32);
    assert_opaque(&s, "unknown type");
    begin_gguf(&s, 3, false, 0, 1);
    put_key(&s, "k", 13);
    put_u64(&s, 32);
    assert_opaque(&s, "unknown type");
    begin_gguf(&s, 3, false, 1ull << 60, 0);
    mmh_buffer_zeros(&s.file, 100);
    assert_opaque(&s, "claims more");
    begin_gguf(&s, 3, false, 0, 1ull << 60);
    mmh_buffer_zeros(&s.file, 100);
    assert_opaque(&s, "claims more");
    for (uint32_t version = 0; version < 5; version += 4) {
        begin_gguf(&s, version, false, 0, 0);
        assert_opaque(&s, "version");
    }
    begin_gguf(&s, 3, false, 1, 0);
    put_tensor(&s, "t", 0, 9, (const uint64_t[9]){ 1, 1, 1, 1, 1, 1, 1, 1, 1 }, 0);
    assert_opaque(&s, "too many dimensions");
    begin_gguf(&s, 3, false, 1, 0);
    put_u64(&s, 1ull << 62); /* bytes of a name */
    mmh_buffer_zeros(&s.file, 100);
    assert_opaque(&s, "ends too early");
}

static void test_the_largest_alignment_only_moves_the_data(void **state)
{
    struct subject s;
    (void)state;
    begin_gguf(&s, 3, false, 1, 1);
    put_key(&s, "general.alignment", 4);
    put_u32(&s, 1u << 31);
    put_tensor(&s, "t", 0, 1, vector, 0);
    put_data(&s, 32, 100);
    map(&s);
    assert_list(&s, MMH_FORMAT_GGUF, 0, "");
    assert_remark(&s, "past the end");
    end(&s);
}

/* Arrays of arrays, as deep as the file is long, and as many as fit: neither a deep stack nor long. */
static void test_nested_arrays_of_gguf_do_no_harm(void **state)
{
    enum { DEEP = 50000 };
    struct subject s;
    (void)state;
    begin_gguf(&s, 3, false, 0, 1);
    put_key(&s, "k", 9);
    for (int i = 0; i < DEEP; i++) {
        put_u32(&s, 9);
        put_u64(&s, 1);
    }
    assert_opaque(&s, "nested too deep");
    begin_gguf(&s, 3, false, 0, 1);
    put_key(&s, "k", 9);
    put_u32(&s, 9);
    put_u64(&s, 1ull << 61);
    for (int i = 0; i < DEEP; i++) {
        put_u32(&s, 0);
        put_u64(&s, 0);
    }
    assert_opaque(&s, "ends too early");
    begin_gguf(&s, 3, false, 0, 1);
    put_key(&s, "k", 9);
    put_u32(&s, 12);
    put_u64(&s, 1ull << 61); /* of 8 bytes: none, in 64 bits */
    assert_opaque(&s, "ends too early");
}

static void test_cut_and_changed_gguf_files_are_tiled(void **state)
{
    (void)state;
    for (unsigned version = 1; version <= 3; version += 2)
        for (int big = 0; big < 2; big++) {
            struct subject s;
            make_gguf(&s, version, big);
            assert_harmless(&s);
            end(&s);
        }
}

/* ---- tflite, made ---- */

enum { ROOM = 4096 };

/* A flatbuffer is written here from its first byte on: what is referred to comes later, and the
 * reference is set then. */
struct flat {
    uint8_t data[ROOM];
    size_t bytes;
};

/* A table with `count` fields of 8 bytes, all there; where it begins. Its fields are at + 4 + 8 * i,
 * and an offset there is set by refer. */
static size_t flat_table(struct flat *flat, unsigned count)
{
    size_t vtable = mmh_round_up(flat->bytes, 8), table;
    mmh_store16(flat->data + vtable, (uint16_t)(4 + 2 * count));
    mmh_store16(flat->data + vtable + 2, (uint16_t)(4 + 8 * count));
    for (unsigned i = 0; i < count; i++)
        mmh_store16(flat->data + vtable + 4 + 2 * i, (uint16_t)(4 + 8 * i));
    table = mmh_round_up(vtable + 4 + 2 * count, 8);
    mmh_store32(flat->data + table, (uint32_t)(table - vtable));
    flat->bytes = table + 4 + 8 * count;
    assert_true(flat->bytes < ROOM);
    return table;
}

static size_t flat_vector(struct flat *flat, uint32_t count, const void *data, size_t bytes,
                          size_t alignment)
{
    size_t at = mmh_round_up(flat->bytes + 4, alignment) - 4;
    mmh_store32(flat->data + at, count);
    if (data)
        memcpy(flat->data + at + 4, data, bytes);
    flat->bytes = at + 4 + bytes;
    assert_true(flat->bytes < ROOM);
    return at;
}

static void refer(struct flat *flat, size_t from, size_t to)
{
    mmh_store32(flat->data + from, (uint32_t)(to - from));
}

static size_t field_of(size_t table, unsigned index)
{
    return table + 4 + 8 * index;
}

/* A table for each element of a vector of tables, `fields` wide; tables [count]. */
static size_t flat_tables(struct flat *flat, size_t *tables, uint32_t count, unsigned fields)
{
    size_t at = flat_vector(flat, count, NULL, 4 * count, 4);
    for (uint32_t i = 0; i < count; i++) {
        tables[i] = flat_table(flat, fields);
        refer(flat, at + 4 + 4 * i, tables[i]);
    }
    return at;
}

static void fill_tensor(struct flat *flat, size_t table, const char *name, uint8_t type,
                        uint32_t buffer, uint32_t dimensions, const uint32_t *shape)
{
    uint8_t sizes[64 * 4];
    for (uint32_t d = 0; d < dimensions; d++)
        mmh_store32(sizes + 4 * d, shape[d]);
    refer(flat, field_of(table, 0), flat_vector(flat, dimensions, sizes, 4 * dimensions, 4));
    flat->data[field_of(table, 1)] = type;
    mmh_store32(flat->data + field_of(table, 2), buffer);
    refer(flat, field_of(table, 3),
          flat_vector(flat, (uint32_t)strlen(name), name, strlen(name) + 1, 4));
}

static const uint32_t two_by_three[] = { 2, 3 }, five[] = { 5 };

/* Where things of a made file are. */
struct made {
    size_t model, subgraphs[2], tensors[5], more[1], buffers[5];
    size_t places[5]; /* of the buffers' bytes */
};

/* Two subgraphs; buffers: none, 24 bytes, 5 bytes, 3 bytes, and 10 behind the flatbuffer. */
static void make_tflite(struct subject *s, struct made *made)
{
    static struct flat flat;
    size_t *tensors = made->tensors, *buffers = made->buffers, *places = made->places;
    memset(&flat, 0, sizeof flat);
    memcpy(flat.data + 4, "TFL3", 4);
    flat.bytes = 8;
    size_t model = made->model = flat_table(&flat, 5);
    refer(&flat, 0, model);
    refer(&flat, field_of(model, 2), flat_tables(&flat, made->subgraphs, 2, 1));
    refer(&flat, field_of(model, 3), flat_vector(&flat, 4, "made", 5, 4));
    refer(&flat, field_of(model, 4), flat_tables(&flat, buffers, 5, 3));
    refer(&flat, field_of(made->subgraphs[0], 0), flat_tables(&flat, tensors, 5, 7));
    refer(&flat, field_of(made->subgraphs[1], 0), flat_tables(&flat, made->more, 1, 4));
    fill_tensor(&flat, tensors[0], "w", 0, 1, 2, two_by_three);
    fill_tensor(&flat, tensors[1], "computed", 0, 0, 1, five);
    fill_tensor(&flat, tensors[2], "q", 9, 2, 1, five);
    fill_tensor(&flat, tensors[3], "nibbles", 17, 3, 1, five);
    fill_tensor(&flat, tensors[4], "", 7, 4, 1, five);
    fill_tensor(&flat, made->more[0], "w", 0, 1, 2, two_by_three);
    for (unsigned i = 0; i < 5; i++) /* what is not referred to is lacking */
        if (i < 1 || i > 3)
            mmh_store16(flat.data + buffers[i] - mmh_load32(flat.data + buffers[i]) + 4, 0);
    static const uint8_t sizes[] = { 24, 5, 3 };
    for (unsigned i = 1; i < 4; i++) {
        size_t at = flat_vector(&flat, sizes[i - 1], NULL, sizes[i - 1], 16);
        refer(&flat, field_of(buffers[i], 0), at);
        places[i] = at + 4;
    }
    places[0] = 0;
    places[4] = mmh_round_up(flat.bytes, 16);
    mmh_store64(flat.data + field_of(buffers[0], 1), 1); /* none yet */
    mmh_store64(flat.data + field_of(buffers[4], 1), places[4]);
    mmh_store64(flat.data + field_of(buffers[4], 2), 10);
    begin(s, "m.tflite");
    mmh_buffer_bytes(&s->file, flat.data, places[4] + 10);
}

static void test_constants_of_tflite_are_found(void **state)
{
    struct subject s;
    struct made made;
    char expected[512];
    (void)state;
    make_tflite(&s, &made);
    map(&s);
    snprintf(expected, sizeof expected,
             "w F32 [2,3] %zu 24\nsubgraph 1/w F32 [2,3] %zu 24\nq I8 [5] %zu 5\n"
             "nibbles I4 [5] %zu 3\ntensor 4 I16 [5] %zu 10\n",
             made.places[1], made.places[1], made.places[2], made.places[3], made.places[4]);
    assert_list(&s, MMH_FORMAT_TFLITE, 0, expected);
    assert_int_equal(s.map.remark_count, 0);
    for (size_t e = 0; e < s.map.extent_count; e++) /* tied */
        if (s.map.extents[e].offset == made.places[1])
            assert_int_equal(s.map.extents[e].owner_count, 2);
    assert_int_equal(s.map.metadata_count, 1);
    assert_string_equal(s.map.metadata[0].key, "description");
    assert_string_equal(s.map.metadata[0].value, "made");
    end(&s);
}

/* What a file says at a place is changed; map it, and see what is left of the tensors of buffer 2. */
static void test_odd_tensors_of_tflite_are_left_out_alone(void **state)
{
    enum { TYPE, BUFFER, SPARSE, SHAPE, SIZE, RANK, NAME };
    static const struct {
        unsigned what;
        uint32_t value;
        const char *remark;
        mmh_dtype left; /* of the extent there */
    } odd[] = {
        { TYPE, 5, "no element type", MMH_DTYPE_OPAQUE },
        { TYPE, 13, "no element type", MMH_DTYPE_OPAQUE },
        { TYPE, 255, "no element type", MMH_DTYPE_OPAQUE },
        { TYPE, 1, "another size", MMH_DTYPE_F16 }, /* 4 of the 5 bytes */
        { TYPE, 17, "another size", MMH_DTYPE_U8 },
        { SPARSE, 4, "is sparse", MMH_DTYPE_I8 },
        { SHAPE, 6, "another size", MMH_DTYPE_I8 },
        { SHAPE, 0, "another size", MMH_DTYPE_I8 },
        { SHAPE, UINT32_MAX, "not known", MMH_DTYPE_OPAQUE },
        { RANK, 65, "64 dimensions", MMH_DTYPE_OPAQUE },
        { NAME, 0, "NUL", MMH_DTYPE_OPAQUE },
    };
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(odd); i++) {
        struct subject s;
        struct made made;
        mmh_dtype left = MMH_DTYPE_COUNT;
        make_tflite(&s, &made);
        mmh_buffer_zeros(&s.file, 300); /* room for 65 dimensions */
        uint8_t *data = s.file.data;
        size_t tensor = made.tensors[2], shape = field_of(tensor, 0), name = field_of(tensor, 3);
        shape += mmh_load32(data + shape);
        name += mmh_load32(data + name);
        switch (odd[i].what) {
        case TYPE:
            data[field_of(tensor, 1)] = (uint8_t)odd[i].value;
            break;
        case SPARSE:
            mmh_store32(data + field_of(tensor, 6), odd[i].value);
            break;
        case SHAPE:
            mmh_store32(data + shape + 4, odd[i].value);
            break;
        case RANK:
            mmh_store32(data + shape, odd[i].value);
            break;
        default:
            data[name + 4] = 0;
        }
        map(&s);
        assert_int_equal(s.map.format, MMH_FORMAT_TFLITE);
        assert_int_equal(s.map.tensor_count, 4);
        assert_remark(&s, odd[i].remark);
        for (size_t e = 0; e < s.map.extent_count; e++)
            if (s.map.extents[e].offset <= made.places[2] &&
                made.places[2] - s.map.extents[e].offset < s.map.extents[e].bytes)
                left = s.map.extents[e].dtype;
        assert_int_equal(left, odd[i].left);
        end(&s);
    }
}

/* Tensors of buffers that are not there, or not yet, are what operators compute. */
static void test_tensors_without_bytes_are_not_listed(void **state)
{
    static const uint32_t buffers[] = { 0, 5, UINT32_MAX };
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(buffers); i++) {
        struct subject s;
        struct made made;
        make_tflite(&s, &made);
        mmh_store32(s.file.data + field_of(made.tensors[2], 2), buffers[i]);
        map(&s);
        assert_int_equal(s.map.tensor_count, 4);
        assert_int_equal(s.map.remark_count, 0);
        end(&s);
    }
}

static void test_bytes_behind_the_flatbuffer_lie_in_the_file(void **state)
{
    struct subject s;
    struct made made;
    (void)state;
    make_tflite(&s, &made);
    mmh_store64(s.file.data + field_of(made.buffers[4], 1), s.file.bytes - 9);
    map(&s);
    assert_int_equal(s.map.tensor_count, 4);
    assert_remark(&s, "past the end");
    end(&s);
}

/* Vectors that many tables share cost no more memory than the file is long; circles end. */
static void test_shared_and_circular_tables_do_no_harm(void **state)
{
    enum { TENSORS = 3000, NAME_BYTES = 2000 };
    struct subject s;
    struct made made;
    (void)state;
    make_tflite(&s, &made);
    size_t tensors = s.file.bytes;
    mmh_buffer_u32(&s.file, TENSORS);
    for (size_t i = 0; i < TENSORS; i++)
        mmh_buffer_u32(&s.file, 4 * (uint32_t)(TENSORS - i));
    size_t table = s.file.bytes, copied = table - made.tensors[0];
    mmh_buffer_bytes(&s.file, s.file.data + made.tensors[0], 60);
    mmh_store32(s.file.data + table, mmh_load32(s.file.data + table) + (uint32_t)copied);
    mmh_store32(s.file.data + table + 4, (uint32_t)(s.file.bytes - table - 4)); /* shape */
    mmh_store32(s.file.data + table + 28, (uint32_t)(s.file.bytes + 12 - table - 28));
    mmh_buffer_u32(&s.file, 2);
    mmh_buffer_u32(&s.file, 2);
    mmh_buffer_u32(&s.file, 3);
    mmh_buffer_u32(&s.file, NAME_BYTES);
    for (size_t i = 0; i < NAME_BYTES; i++)
        mmh_buffer_u8(&s.file, 'n');
    mmh_store32(s.file.data + field_of(made.subgraphs[0], 0),
                (uint32_t)(tensors - field_of(made.subgraphs[0], 0)));
    map(&s);
    assert_int_equal(s.map.format, MMH_FORMAT_OPAQUE);
    assert_remark(&s, "more names and shapes");
    assert_true(s.arena.used < 64 * s.file.bytes);
    end(&s);

    make_tflite(&s, &made); /* the model is its own subgraph and tensor */
    mmh_store32(s.file.data + field_of(made.model, 2), 0);
    map(&s);
    end(&s);
}

static void test_what_is_no_tflite_after_all_is_opaque(void **state)
{
    struct subject s;
    struct made made;
    (void)state;
    make_tflite(&s, &made);
    mmh_store32(s.file.data, UINT32_MAX);
    assert_opaque(&s, "ends too early");
    make_tflite(&s, &made);
    mmh_store32(s.file.data + made.model, 0x80000000); /* a vtable far away */
    assert_opaque(&s, "ends too early");
    make_tflite(&s, &made);
    size_t field = field_of(made.model, 2);
    mmh_store32(s.file.data + field + mmh_load32(s.file.data + field), UINT32_MAX);
    assert_opaque(&s, "ends too early");
    begin(&s, "m.tflite");
    mmh_buffer_bytes(&s.file, "\x10\0\0\0TFL3", 8);
    assert_opaque(&s, "ends too early");
    begin(&s, "m.tflite");
    mmh_buffer_bytes(&s.file, "\x10\0\0\0TFL2\0\0\0\0", 12);
    assert_opaque(&s, "does not begin like one");
}

static void test_cut_and_changed_tflite_files_are_tiled(void **state)
{
    struct subject s;
    struct made made;
    (void)state;
    make_tflite(&s, &made);
    assert_harmless(&s);
    end(&s);
}

/* ---- faults ---- */

static size_t things_left; /* allocations or reads that work */

static void *fail_allocate(void *user, size_t alignment, size_t bytes)
{
    (void)user;
    return things_left && things_left-- ? mmh_alloc(NULL, alignment, bytes) : NULL;
}

static void fail_release(void *user, void *memory)
{
    (void)user;
    mmh_free(NULL, memory);
}

static mmh_status fail_read(void *context, uint64_t offset, void *dst, size_t bytes, mmh_error *err)
{
    const struct mmh_buffer *file = context;
    if (!things_left)
        return mmh_fail(err, MMH_E_IO, "no reads are left");
    things_left--;
    memcpy(dst, file->data + offset, bytes);
    return MMH_OK;
}

/* A file whose nth allocation or read fails is no other file than it is: the call fails. */
static void assert_faults_are_told(struct subject *s, enum mmh_format_id format, bool memory)
{
    static const mmh_allocator failing = { fail_allocate, fail_release, NULL };
    mmh_status status = MMH_E_IO;
    for (size_t n = 0; status != MMH_OK; n++) {
        mmh_source source = mmh_source_of_memory(s->file.data, s->file.bytes, s->name);
        mmh_error err = { 0 };
        if (!memory) {
            source.read = fail_read;
            source.user = &s->file;
        }
        things_left = n;
        mmh_arena_init(&s->arena, memory ? &failing : NULL);
        mmh_extent_map_init(&s->map, &s->arena, source.bytes);
        status = mmh_format_detect_and_map(&s->map, &source, NULL, &err);
        assert_int_equal(err.status, status);
        if (status == MMH_OK)
            assert_int_equal(s->map.format, format);
        else
            assert_int_equal(status, memory ? MMH_E_MEMORY : MMH_E_IO);
        mmh_arena_release(&s->arena);
    }
}

static void test_only_reads_and_memory_fail(void **state)
{
    struct subject s;
    struct made made;
    (void)state;
    for (int memory = 0; memory < 2; memory++) {
        make_gguf(&s, 3, false);
        assert_faults_are_told(&s, MMH_FORMAT_GGUF, memory);
        end(&s);
        make_tflite(&s, &made);
        assert_faults_are_told(&s, MMH_FORMAT_TFLITE, memory);
        end(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_version_and_order_of_gguf_is_read),
        cmocka_unit_test(test_every_type_of_ggml_is_known),
        cmocka_unit_test(test_odd_tensors_of_gguf_are_left_out_alone),
        cmocka_unit_test(test_repacked_blocks_are_bytes),
        cmocka_unit_test(test_short_values_of_gguf_are_metadata),
        cmocka_unit_test(test_what_is_no_gguf_after_all_is_opaque),
        cmocka_unit_test(test_the_largest_alignment_only_moves_the_data),
        cmocka_unit_test(test_nested_arrays_of_gguf_do_no_harm),
        cmocka_unit_test(test_cut_and_changed_gguf_files_are_tiled),
        cmocka_unit_test(test_constants_of_tflite_are_found),
        cmocka_unit_test(test_odd_tensors_of_tflite_are_left_out_alone),
        cmocka_unit_test(test_tensors_without_bytes_are_not_listed),
        cmocka_unit_test(test_bytes_behind_the_flatbuffer_lie_in_the_file),
        cmocka_unit_test(test_shared_and_circular_tables_do_no_harm),
        cmocka_unit_test(test_what_is_no_tflite_after_all_is_opaque),
        cmocka_unit_test(test_cut_and_changed_tflite_files_are_tiled),
        cmocka_unit_test(test_only_reads_and_memory_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
