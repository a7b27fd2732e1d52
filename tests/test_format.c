/*
 * The format room's promises: files are mapped as they say, and whatever they say does no harm.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Small files are made here. The larger ones come from $MMH_SHARED/corpus (default: ../shared
 * beside the source folder); what is left out without it is printed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/cursor.h"
#include "format/format.h"
#include "counting.h"
#include "map_check.h"

static uint64_t random_state = 0x9e3779b97f4a7c15u;

static uint64_t random_below(uint64_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % limit;
}

/* ---- files in memory, mapped ---- */

/* One file and its map. */
struct subject {
    struct mmh_buffer file;
    struct mmh_arena arena;
    struct mmh_extent_map map;
    struct mmh_format_options options;
    const char *name;
};

static void begin(struct subject *subject, const char *name)
{
    *subject = (struct subject){ .name = name };
    mmh_buffer_init(&subject->file, NULL);
    mmh_arena_init(&subject->arena, &counting);
}

static void put(struct subject *subject, const void *data, size_t bytes)
{
    mmh_buffer_bytes(&subject->file, data, bytes);
}

/* A safetensors file: header, then `data_bytes` bytes. */
static void put_safetensors(struct subject *subject, const char *header, size_t data_bytes)
{
    mmh_buffer_u64(&subject->file, strlen(header));
    put(subject, header, strlen(header));
    mmh_buffer_zeros(&subject->file, data_bytes);
}

/* An npy array of version `major`, its header padded to a multiple of 64. */
static void put_npy(struct subject *subject, unsigned major, const char *dict, size_t data_bytes)
{
    size_t prefix = major == 1 ? 10 : 12;
    size_t bytes = mmh_round_up(prefix + strlen(dict) + 1, 64) - prefix;
    put(subject, "\x93NUMPY", 6);
    mmh_buffer_u8(&subject->file, (uint8_t)major);
    mmh_buffer_u8(&subject->file, 0);
    if (major == 1)
        mmh_buffer_u16(&subject->file, (uint16_t)bytes);
    else
        mmh_buffer_u32(&subject->file, (uint32_t)bytes);
    put(subject, dict, strlen(dict));
    for (size_t i = strlen(dict); i + 1 < bytes; i++)
        put(subject, " ", 1);
    put(subject, "\n", 1);
    mmh_buffer_zeros(&subject->file, data_bytes);
}

/* Maps what was put; the map must be good. */
static void map(struct subject *subject)
{
    mmh_error err = { 0 };
    assert_int_equal(mmh_buffer_finish(&subject->file, "file", &err), MMH_OK);
    mmh_source source = mmh_source_of_memory(subject->file.data, subject->file.bytes,
                                             subject->name);
    mmh_extent_map_init(&subject->map, &subject->arena, source.bytes);
    if (mmh_format_detect_and_map(&subject->map, &source, &subject->options, &err))
        fail_msg("%s: %s", subject->name, err.message);
    const char *problem = map_problem(&subject->map);
    if (problem)
        fail_msg("%s: %s", subject->name, problem);
}

static void end(struct subject *subject)
{
    mmh_buffer_release(&subject->file);
    mmh_arena_release(&subject->arena);
    assert_int_equal(allocated, 0);
}

/* The tensors as lines "name DTYPE [shape] offset bytes", '>' for big endian, 'F' for column
 * major, into text. */
static void list(char *text, size_t room, const struct mmh_extent_map *map_)
{
    size_t used = 0;
    *text = '\0';
    for (size_t i = 0; i < map_->tensor_count && used < room; i++) {
        const struct mmh_map_tensor *tensor = &map_->tensors[i];
        used += (size_t)snprintf(text + used, room - used, "%s %s%s%s [", tensor->name,
                                 tensor->big_endian ? ">" : "", tensor->column_major ? "F:" : "",
                                 mmh_dtype_name(tensor->dtype));
        for (uint32_t d = 0; d < tensor->dimensions && used < room; d++)
            used += (size_t)snprintf(text + used, room - used, "%s%llu", d ? "," : "",
                                     (unsigned long long)tensor->shape[d]);
        if (used < room)
            used += (size_t)snprintf(text + used, room - used, "] %llu %llu\n",
                                     (unsigned long long)tensor->offset,
                                     (unsigned long long)tensor->bytes);
    }
    assert_true(used < room);
}

static void assert_list(const struct subject *subject, enum mmh_format_id format,
                        const char *expected)
{
    static char text[1 << 16];
    list(text, sizeof text, &subject->map);
    assert_string_equal(text, expected);
    assert_int_equal(subject->map.format, format);
}

static void assert_remark(const struct subject *subject, const char *part)
{
    for (size_t i = 0; i < subject->map.remark_count && i < MMH_MAP_REMARKS_MAX; i++)
        if (strstr(subject->map.remarks[i], part))
            return;
    fail_msg("%s: no remark says \"%s\"", subject->name, part);
}

/* ---- safetensors ---- */

static void test_safetensors_are_found_in_file_order(void **state)
{
    struct subject s;
    (void)state;
    begin(&s, "m.safetensors");
    put_safetensors(
        &s,
        "{ \"z\\u00e9\" :\n{\"shape\":[2,2],\"dtype\":\"BF16\",\"data_offsets\":[8,16]},"
        "\"a\":{\"data_offsets\":[0,8],\"extra\":[{}],\"dtype\":\"F32\",\"shape\":[2]},"
        "\"empty\":{\"dtype\":\"F32\",\"shape\":[0,3],\"data_offsets\":[16,16]},"
        "\"one\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[20,28]},"
        "\"__metadata__\":{\"format\":\"pt\",\"k\\n\":\"\\u00e9\"}}   ",
        30);
    map(&s);
    uint64_t data = s.file.bytes - 30;
    char expected[256];
    snprintf(expected, sizeof expected,
             "a F32 [2] %u 8\nz\xc3\xa9 BF16 [2,2] %u 8\nempty F32 [0,3] %u 0\none I64 [] %u 8\n",
             (unsigned)data, (unsigned)data + 8, (unsigned)data + 16, (unsigned)data + 20);
    assert_list(&s, MMH_FORMAT_SAFETENSORS, expected);
    assert_int_equal(s.map.extent_count, 6); /* header a z gap one trailing */
    assert_int_equal(s.map.metadata_count, 2);
    assert_string_equal(s.map.metadata[0].key, "format");
    assert_string_equal(s.map.metadata[0].value, "pt");
    assert_string_equal(s.map.metadata[1].key, "k\n");
    assert_string_equal(s.map.metadata[1].value, "\xc3\xa9");
    assert_int_equal(s.map.remark_count, 0);
    end(&s);
}

static void test_safetensors_every_dtype_is_known(void **state)
{
    static const char *const names[] = {
        "BOOL", "F4",  "F6_E2M3", "F6_E3M2", "U8",  "I8",         "F8_E5M2",     "F8_E4M3",
        "U16",  "F16", "F8_E8M0", "BF16",    "I16", "U32",        "F8_E4M3FNUZ", "I32",
        "F32",  "C64", "U64",     "F64",     "I64", "F8_E5M2FNUZ"
    };
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(names); i++) {
        char header[128];
        struct subject s;
        mmh_dtype dtype = mmh_dtype_find(names[i], strlen(names[i]));
        assert_int_not_equal(dtype, MMH_DTYPE_COUNT);
        snprintf(header, sizeof header,
                 "{\"t\":{\"dtype\":\"%s\",\"shape\":[4,2],\"data_offsets\":[0,%u]}}", names[i],
                 mmh_dtype_bits(dtype));
        begin(&s, "m.safetensors");
        put_safetensors(&s, header, mmh_dtype_bits(dtype));
        map(&s);
        assert_int_equal(s.map.remark_count, 0);
        assert_int_equal(s.map.extents[1].dtype, dtype);
        end(&s);
    }
}

static void test_safetensors_odd_tensors_are_left_out_alone(void **state)
{
    static const struct {
        const char *claim, *remark;
    } odd[] = {
        { "{\"dtype\":\"F32\",\"shape\":[4.0],\"data_offsets\":[0,16]}", "no shape of whole" },
        { "{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,1.6e1]}", "ascending offsets" },
        { "{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[16,0]}", "ascending offsets" },
        { "{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0]}", "ascending offsets" },
        { "{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16,16]}", "ascending offsets" },
        { "{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":{\"0\":16}}", "ascending offsets" },
        { "{\"dtype\":\"F32\",\"shape\":[4]}", "ascending offsets" },
        { "{\"dtype\":\"F99\",\"shape\":[4],\"data_offsets\":[0,16]}", "element type" },
        { "{\"dtype\":\"OPAQUE\",\"shape\":[16],\"data_offsets\":[0,16]}", "element type" },
        { "{\"dtype\":[\"F32\"],\"shape\":[4],\"data_offsets\":[0,16]}", "element type" },
        { "{\"shape\":[4],\"data_offsets\":[0,16]}", "element type" },
        { "{\"dtype\":\"F32\",\"shape\":[-4],\"data_offsets\":[0,16]}", "no shape" },
        { "{\"dtype\":\"F32\",\"shape\":[[4]],\"data_offsets\":[0,16]}", "no shape" },
        { "{\"dtype\":\"F32\",\"shape\":null,\"data_offsets\":[0,16]}", "no shape" },
        { "{\"dtype\":\"F32\",\"shape\":[5],\"data_offsets\":[0,16]}", "not agree" },
        { "{\"dtype\":\"F32\",\"shape\":[4],\"shape\":[4],\"data_offsets\":[0,16]}", "twice" },
        { "{\"dtype\":\"F32\",\"shape\":[8589934592,8589934592],\"data_offsets\":[0,16]}",
          "overflows" },
        { "{\"dtype\":\"U8\",\"shape\":[1000],\"data_offsets\":[0,1000]}", "past the end" },
        { "{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":"
          "[18446744073709551614,18446744073709551615]}",
          "past the end" },
        { "{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[18446744073709551616,1]}",
          "ascending offsets" },
        { "[]", "no object" },
        { "17", "no object" },
        { "\"x\"", "no object" },
        { "[[{\"a\":[]}]]", "no object" },
    };
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(odd); i++) {
        char header[512];
        struct subject s;
        snprintf(header, sizeof header,
                 "{\"odd\":%s,\"good\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[20,22]}}",
                 odd[i].claim);
        begin(&s, "m.safetensors");
        put_safetensors(&s, header, 24);
        map(&s);
        assert_int_equal(s.map.format, MMH_FORMAT_SAFETENSORS);
        assert_int_equal(s.map.tensor_count, 1);
        assert_string_equal(s.map.tensors[0].name, "good");
        assert_remark(&s, odd[i].remark);
        end(&s);
    }
}

static void test_safetensors_rank_64_is_kept_and_65_left_out(void **state)
{
    (void)state;
    for (unsigned rank = 64; rank <= 65; rank++) {
        struct subject s;
        char header[512];
        size_t used = (size_t)sprintf(header, "{\"t\":{\"dtype\":\"U8\",\"shape\":[");
        for (unsigned d = 0; d < rank; d++)
            used += (size_t)sprintf(header + used, d ? ",1" : "2");
        sprintf(header + used, "],\"data_offsets\":[0,2]}}");
        begin(&s, "m.safetensors");
        put_safetensors(&s, header, 2);
        map(&s);
        assert_int_equal(s.map.tensor_count, rank == 64);
        if (rank == 64)
            assert_int_equal(s.map.tensors[0].dimensions, 64);
        else
            assert_remark(&s, "more than 64 dimensions");
        end(&s);
    }
}

static void test_safetensors_duplicates_and_ties_keep_their_bytes(void **state)
{
    struct subject s;
    (void)state;
    begin(&s, "m.safetensors");
    put_safetensors(&s,
                    "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                    "\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]},"
                    "\"t\":{\"dtype\":\"U8\",\"shape\":[2,2],\"data_offsets\":[0,4]}}",
                    8);
    map(&s);
    assert_int_equal(s.map.extent_count, 3);
    assert_int_equal(s.map.tensor_count, 3);
    assert_int_equal(s.map.extents[1].owner_count, 2);
    assert_string_equal(s.map.extents[1].name, "a");
    assert_string_equal(s.map.tensors[1].name, "t");
    assert_remark(&s, "two tensors are called \"a\"");
    end(&s);
}

static void test_safetensors_nul_in_a_name_is_left_out(void **state)
{
    struct subject s;
    (void)state;
    begin(&s, "m.safetensors");
    put_safetensors(&s,
                    "{\"a\\u0000b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                    "\"__metadata__\":{\"a\":\"b\\u0000\",\"n\":1,\"o\":{\"a\":[]},\"good\":\"\"}}",
                    4);
    map(&s);
    assert_int_equal(s.map.tensor_count, 0);
    assert_remark(&s, "NUL in its name");
    assert_int_equal(s.map.metadata_count, 1);
    assert_string_equal(s.map.metadata[0].key, "good");
    end(&s);
}

/* A header that is no JSON, or not one object, makes the whole file opaque. */
static void test_safetensors_malformed_headers_are_opaque(void **state)
{
    static const char *const headers[] = {
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}x",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},}",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[2,],\"data_offsets\":[0,2]}}",
        "{\"a\\x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}",
        "{\"\xff\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}} {}",
        "{]",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[",
        "{\"__metadata__\":{\"a\":",
    };
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(headers); i++) {
        struct subject s;
        begin(&s, "m.safetensors");
        put_safetensors(&s, headers[i], 2);
        map(&s);
        assert_list(&s, MMH_FORMAT_OPAQUE, "");
        assert_remark(&s, "not taken as safetensors");
        assert_int_equal(s.map.metadata_count, 0);
        end(&s);
    }
}

static void test_safetensors_header_only_has_metadata(void **state)
{
    struct subject s;
    (void)state;
    begin(&s, "m.safetensors");
    put_safetensors(&s, "{\"__metadata__\": {\"format\": \"pt\"}}", 0);
    map(&s);
    assert_list(&s, MMH_FORMAT_SAFETENSORS, "");
    assert_int_equal(s.map.metadata_count, 1);
    assert_int_equal(s.map.extent_count, 1);
    end(&s);
}

/* ---- npy ---- */

static void test_npy_versions_orders_and_types(void **state)
{
    static const struct {
        unsigned major;
        const char *dict;
        size_t data_bytes;
        const char *expected;
    } files[] = {
        { 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }", 24,
          "w F32 [3,2] 128 24\n" },
        { 2, "{'descr': '<f2', 'fortran_order': False, 'shape': (5,), }", 10,
          "w F16 [5] 128 10\n" },
        { 3, "{'descr': '<f8', 'fortran_order': False, 'shape': (), }", 8, "w F64 [] 128 8\n" },
        { 1, "{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", 8, "w >F32 [2] 128 8\n" },
        { 1, "{'descr': '>c8', 'fortran_order': False, 'shape': (1,), }", 8, "w >C64 [1] 128 8\n" },
        { 1, "{'descr': '>i1', 'fortran_order': False, 'shape': (2,), }", 2, "w I8 [2] 128 2\n" },
        { 1, "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }", 24,
          "w F:F32 [3,2] 128 24\n" },
        { 1, "{'descr': '|b1', 'fortran_order': False, 'shape': (7,), }", 7, "w BOOL [7] 128 7\n" },
        { 1, "{'descr': '<c16', 'fortran_order': False, 'shape': (1,), }", 16,
          "w C128 [1] 128 16\n" },
        { 1, "{'descr': '|V2', 'fortran_order': False, 'shape': (4,), }", 8, "w BF16 [4] 128 8\n" },
        { 1, "{'descr': '<u8', 'fortran_order': False, 'shape': (0, 9), }", 0,
          "w U64 [0,9] 128 0\n" },
        { 1, "{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (2,), }", 16,
          "w I64 [2] 128 16\n" },
        { 1, "{\"shape\":(2L,3L),\"fortran_order\":False,\"descr\":\"<i4\"}", 24,
          "w I32 [2,3] 64 24\n" },
        { 1, "{'descr': '<U2', 'fortran_order': False, 'shape': (2,), }", 16, "" },
        { 1, "{'descr': '<f16', 'fortran_order': False, 'shape': (2,), }", 32, "" },
        { 1, "{'descr': [('a', '<f4'), ('b', '<i2')], 'fortran_order': False, 'shape': (9,), }", 54,
          "" },
        { 1, "{'descr': '|O', 'fortran_order': False, 'shape': (9,), }", 50, "" },
        { 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }", 23, "" },
        { 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (8589934592, 8589934592), }", 24,
          "" },
    };
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(files); i++) {
        struct subject s;
        begin(&s, "some/folder/w.npy");
        put_npy(&s, files[i].major, files[i].dict, files[i].data_bytes);
        map(&s);
        assert_list(&s, MMH_FORMAT_NPY, files[i].expected);
        assert_int_equal(s.map.remark_count, !*files[i].expected);
        end(&s);
    }
}

static void test_npy_arrays_in_a_row_and_what_follows(void **state)
{
    struct subject s;
    (void)state;
    begin(&s, "w.npy");
    put_npy(&s, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", 12);
    put_npy(&s, 1, "{'descr': '<U3', 'fortran_order': False, 'shape': (2,), }", 24);
    put_npy(&s, 2, "{'descr': '<i2', 'fortran_order': False, 'shape': (2,), }", 4);
    put(&s, "tail", 4);
    map(&s);
    assert_list(&s, MMH_FORMAT_NPY, "w F32 [3] 128 12\nw[2] I16 [2] 420 4\n");
    assert_remark(&s, "4 bytes follow");
    end(&s);
}

/* Headers that numpy does not write, code among them. */
static void test_npy_malformed_headers_are_opaque(void **state)
{
    static const char *const dicts[] = {
        "{'descr':__import__('os').abort(),'fortran_order':False,'shape':(1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3,,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3 4), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (3,), }",
        "{'descr': '<f4', 'fortran_order': False, }",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'more': 1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), } + 1",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), ",
        "{'descr': '<f4\\'', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': [('a', '<f4'), 'fortran_order': False, 'shape': (3,), }",
        "",
    };
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(dicts); i++) {
        struct subject s;
        begin(&s, "w.npy");
        put_npy(&s, 1, dicts[i], 12);
        map(&s);
        assert_list(&s, MMH_FORMAT_OPAQUE, "");
        assert_remark(&s, "not taken as npy");
        end(&s);
    }
}

static void test_npy_dimensions_up_to_64(void **state)
{
    (void)state;
    for (unsigned rank = 64; rank <= 65; rank++) {
        struct subject s;
        char dict[512];
        size_t used = (size_t)sprintf(dict, "{'descr': '|u1', 'fortran_order': False, 'shape': (");
        for (unsigned d = 0; d < rank; d++)
            used += (size_t)sprintf(dict + used, "1, ");
        sprintf(dict + used, "), }");
        begin(&s, "w.npy");
        put_npy(&s, 1, dict, 1);
        map(&s);
        assert_int_equal(s.map.tensor_count, rank == 64);
        end(&s);
    }
}

/* ---- raw, opaque ---- */

static void test_raw_arrays_are_what_the_options_say(void **state)
{
    static const uint64_t shape[] = { 3, 2 };
    struct subject s;
    (void)state;
    begin(&s, "dir.d/weights.f16.bin");
    s.options.raw_dtype = MMH_DTYPE_F16;
    put(&s, "0123456789abc", 13);
    map(&s);
    assert_list(&s, MMH_FORMAT_RAW, "weights.f16 F16 [6] 0 12\n");
    assert_remark(&s, "1 bytes follow");
    s.options.raw_shape = shape;
    s.options.raw_dimensions = 2;
    map(&s);
    assert_list(&s, MMH_FORMAT_RAW, "weights.f16 F16 [3,2] 0 12\n");
    s.options.raw_dtype = MMH_DTYPE_F32;
    map(&s);
    assert_list(&s, MMH_FORMAT_OPAQUE, "");
    assert_remark(&s, "the given shape needs more");
    s.options.raw_shape = NULL;
    s.options.raw_dtype = MMH_DTYPE_F4;
    map(&s);
    assert_list(&s, MMH_FORMAT_RAW, "weights.f16 F4 [26] 0 13\n");
    s.options.raw_dtype = MMH_DTYPE_F6_E2M3;
    map(&s);
    assert_list(&s, MMH_FORMAT_RAW, "weights.f16 F6_E2M3 [16] 0 12\n");
    s.options.raw_dtype = MMH_DTYPE_C128;
    map(&s);
    assert_list(&s, MMH_FORMAT_RAW, "weights.f16 C128 [0] 0 0\n");
    s.options.raw_dtype = MMH_DTYPE_COUNT;
    map(&s);
    assert_list(&s, MMH_FORMAT_OPAQUE, "");
    end(&s);
}

static void test_every_format_has_a_name(void **state)
{
    (void)state;
    assert_string_equal(mmh_format_name(MMH_FORMAT_OPAQUE), "opaque");
    assert_string_equal(mmh_format_name(MMH_FORMAT_SAFETENSORS), "safetensors");
    assert_string_equal(mmh_format_name(MMH_FORMAT_NPY), "npy");
    assert_string_equal(mmh_format_name(MMH_FORMAT_RAW), "raw");
    assert_string_equal(mmh_format_name(MMH_FORMAT_SHARD_INDEX), "shard index");
    assert_null(mmh_format_name(200));
}

/* Every prefix of files of each format, down to none. */
static void test_cut_files_map(void **state)
{
    struct subject s, cut;
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        begin(&s, "whole");
        if (kind)
            put_npy(&s, 2, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", 12);
        else
            put_safetensors(&s, "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
                            4);
        for (size_t bytes = 0; bytes <= s.file.bytes; bytes++) {
            begin(&cut, "cut");
            put(&cut, s.file.data, bytes);
            map(&cut);
            end(&cut);
        }
        end(&s);
    }
}

/* ---- reading and faults ---- */

struct watched {
    mmh_source inner;
    uint64_t reads, bytes_read, reads_left;
};

static mmh_status watched_read(void *context, uint64_t offset, void *dst, size_t bytes,
                               mmh_error *err)
{
    struct watched *watched = context;
    assert_true(offset <= watched->inner.bytes && bytes <= watched->inner.bytes - offset);
    if (!watched->reads_left--)
        return mmh_fail(err, MMH_E_IO, "cannot read");
    watched->reads++;
    watched->bytes_read += bytes;
    return watched->inner.read(watched->inner.user, offset, dst, bytes, err);
}

static mmh_source watch(struct watched *watched, const struct subject *subject)
{
    *watched = (struct watched){
        .inner = mmh_source_of_memory(subject->file.data, subject->file.bytes, subject->name),
        .reads_left = UINT64_MAX,
    };
    return (mmh_source){
        .read = watched_read, .user = watched, .bytes = watched->inner.bytes, .name = subject->name
    };
}

static void put_faulty(struct subject *s, int kind)
{
    begin(s, kind == 2 ? "m.bin" : "m");
    if (kind == 0)
        put_safetensors(s,
                        "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                        "\"b\":{\"dtype\":\"F99\",\"shape\":[4],\"data_offsets\":[0,4]},"
                        "\"__metadata__\":{\"k\":\"v\"}}",
                        100000);
    if (kind == 1) {
        put_npy(s, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", 12);
        put_npy(s, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (30000,), }", 120000);
    }
    if (kind == 2) {
        put(s, "0123456789abcdef", 16);
        s->options.raw_dtype = MMH_DTYPE_F32;
    }
}

/* The nth read fails, the nth allocation fails: the status says so, and nothing leaks. Only
 * headers are read. */
static void test_only_reads_and_memory_fail(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++)
        for (int memory = 0; memory < 2; memory++) {
            bool done = false;
            for (size_t n = 0; !done; n++) {
                struct subject s;
                struct watched watched;
                mmh_error err = { 0 };
                put_faulty(&s, kind);
                mmh_source source = watch(&watched, &s);
                mmh_extent_map_init(&s.map, &s.arena, source.bytes);
                if (memory)
                    allocations_left = n;
                else
                    watched.reads_left = n;
                mmh_status status = mmh_format_detect_and_map(&s.map, &source, &s.options, &err);
                allocations_left = SIZE_MAX;
                done = status == MMH_OK;
                assert_int_equal(err.status, status);
                if (done) {
                    assert_null(map_problem(&s.map));
                    assert_true(watched.bytes_read < 1000);
                    assert_int_not_equal(s.map.tensor_count, 0);
                } else {
                    assert_int_equal(status, memory ? MMH_E_MEMORY : MMH_E_IO);
                }
                end(&s);
            }
        }
}

/* ---- mutations ---- */

static const char *const seeds[] = {
    "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
    "\"b\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[24,32]},"
    "\"c\":{\"dtype\":\"F4\",\"shape\":[16],\"data_offsets\":[32,40]}}",
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"e\":{\"dtype\":\"I64\",\"shape\":[0],\"data_offsets\":[8,8]},"
    "\"s\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[8,16]},"
    "\"t\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[8,16]}}",
};

static const char *const npy_seeds[] = {
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
    "{'descr': '>c16', 'fortran_order': True, 'shape': (2,), }",
};

static void mutate(struct subject *s)
{
    static const char tokens[] = "0123456789{}[]()',:\"\\.-eE<>|VfcuiTrueFals\0\xff\x93 ";
    size_t changes = 1 + random_below(4);
    for (size_t c = 0; c < changes && s->file.bytes > 8; c++) {
        size_t header = MMH_MIN(s->file.bytes, 200);
        size_t at = random_below(header);
        switch (random_below(6)) {
        case 0:
            s->file.data[at] = (uint8_t)random_below(256);
            break;
        case 1:
        case 2:
            s->file.data[at] = (uint8_t)tokens[random_below(sizeof tokens - 1)];
            break;
        case 3: /* a piece of the header somewhere else */
        {
            size_t from = random_below(header), bytes = random_below(24);
            bytes = MMH_MIN(bytes, header - MMH_MAX(from, at));
            memmove(s->file.data + at, s->file.data + from, bytes);
            break;
        }
        case 4: /* another digit */
            for (size_t i = 8; i < header; i++)
                if (s->file.data[(at + i) % header] >= '0' &&
                    s->file.data[(at + i) % header] <= '9') {
                    s->file.data[(at + i) % header] = (uint8_t)('0' + random_below(10));
                    break;
                }
            break;
        default:
            if (!random_below(4))
                s->file.bytes -= random_below(MMH_MIN(s->file.bytes, 64));
            break;
        }
    }
}

/* Whatever a header says, every byte of the file is in exactly one extent, and mapping it again
 * gives the same. */
static void test_mutated_files_are_tiled(void **state)
{
    static char first[1 << 16], second[1 << 16];
    unsigned with_tensors = 0, opaque = 0;
    (void)state;
    for (unsigned round = 0; round < 40000; round++) {
        struct subject s;
        begin(&s, "m.bin");
        if (round % 2) {
            put_safetensors(&s, seeds[round / 2 % MMH_COUNT_OF(seeds)], 40);
        } else {
            put_npy(&s, 1 + round % 3, npy_seeds[round / 2 % MMH_COUNT_OF(npy_seeds)], 32);
            put_npy(&s, 1, npy_seeds[0], 24);
        }
        mutate(&s);
        map(&s);
        list(first, sizeof first, &s.map);
        with_tensors += s.map.tensor_count > 0;
        opaque += s.map.format == MMH_FORMAT_OPAQUE;
        map(&s);
        list(second, sizeof second, &s.map);
        assert_string_equal(first, second);
        end(&s);
    }
    assert_true(with_tensors > 4000 && opaque > 4000); /* both sides were seen */
}

/* ---- shard indexes and units ---- */

static void assert_index(const char *json, mmh_status expected, const char *files)
{
    struct mmh_arena arena;
    struct mmh_shard_index index;
    mmh_error err = { 0 };
    char text[1024] = "";
    mmh_source source = mmh_source_of_memory(json, strlen(json), "m.index.json");
    mmh_arena_init(&arena, &counting);
    mmh_status status = mmh_shard_index_read(&index, &arena, &source, &err);
    if (status != expected)
        fail_msg("%s: status %d, %s", json, (int)status, err.message);
    for (size_t i = 0; i < index.file_count && status == MMH_OK; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s ", index.files[i]);
    assert_string_equal(text, files);
    mmh_arena_release(&arena);
    assert_int_equal(allocated, 0);
}

static void test_shard_indexes_name_their_files_once(void **state)
{
    (void)state;
    assert_index("{\"metadata\":{\"total_size\":1},\"weight_map\":{\"a\":\"m-2.safetensors\","
                 "\"b\":\"m-1.safetensors\",\"c\":\"m-2.safetensors\",\"d\":\"m-2.safetensors\"}}",
                 MMH_OK, "m-1.safetensors m-2.safetensors ");
    assert_index("{\"weight_map\":{\"a\":\"part/\\u00e9.safetensors\"}}", MMH_OK,
                 "part/\xc3\xa9.safetensors ");
    assert_index("{\"weight_map\":{}}", MMH_OK, "");
    assert_true(mmh_shard_index_name("x/model.safetensors.index.json"));
    assert_true(mmh_shard_index_name("pytorch_model.bin.index.json"));
    assert_false(mmh_shard_index_name("index.json"));
    assert_false(mmh_shard_index_name(""));
}

static void test_shard_indexes_name_no_file_elsewhere(void **state)
{
    static const char *const names[] = {
        "",      ".",       "..",    "../x",    "a/../x",    "/etc/passwd",
        "a//b",  "a/",      "./a",   "a\\\\b",  "C:x",       "a\\u0000b",
        "a\\nb", "\\u007f", "a/./b", "..\\\\x", "file:///x",
    };
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(names); i++) {
        char json[128];
        snprintf(json, sizeof json, "{\"weight_map\":{\"a\":\"good\",\"b\":\"%s\"}}", names[i]);
        assert_index(json, MMH_E_CORRUPT, "");
    }
    char *json = calloc(1, 400);
    assert_non_null(json);
    strcpy(json, "{\"weight_map\":{\"b\":\"");
    memset(json + strlen(json), 'a', 256);
    strcat(json, "\"}}");
    assert_index(json, MMH_E_CORRUPT, "");
    free(json);
}

static void test_other_json_is_no_shard_index(void **state)
{
    (void)state;
    assert_index("", MMH_E_CORRUPT, "");
    assert_index("{}", MMH_E_CORRUPT, "");
    assert_index("[]", MMH_E_CORRUPT, "");
    assert_index("{\"weight_map\":[]}", MMH_E_CORRUPT, "");
    assert_index("{\"weight_map\":{\"a\":1}}", MMH_E_CORRUPT, "");
    assert_index("{\"weight_map\":{\"a\":[\"x\"]}}", MMH_E_CORRUPT, "");
    assert_index("{\"weight_map\":{\"a\":\"x\"}} x", MMH_E_CORRUPT, "");
    assert_index("{\"weight_map\":{\"a\":\"x\"", MMH_E_CORRUPT, "");
}

static void test_without_memory_a_shard_index_fails_cleanly(void **state)
{
    static const char json[] = "{\"weight_map\":{\"a\":\"x\",\"b\":\"y\",\"c\":\"x\"}}";
    bool done = false;
    (void)state;
    for (size_t n = 0; !done; n++) {
        struct mmh_arena arena;
        struct mmh_shard_index index;
        mmh_error err = { 0 };
        mmh_source source = mmh_source_of_memory(json, sizeof json - 1, "i");
        allocations_left = n;
        mmh_arena_init(&arena, &counting);
        mmh_status status = mmh_shard_index_read(&index, &arena, &source, &err);
        allocations_left = SIZE_MAX;
        done = status == MMH_OK;
        assert_true(done || status == MMH_E_MEMORY);
        mmh_arena_release(&arena);
        assert_int_equal(allocated, 0);
    }
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

/* The entries of a unit, each with a space, then the missing ones in brackets. */
static void assert_unit(const char *path, bool alone, const char *root, const char *expected)
{
    struct mmh_arena arena;
    struct mmh_unit unit;
    mmh_error err = { 0 };
    char text[1024] = "";
    mmh_arena_init(&arena, &counting);
    if (mmh_unit_list(&unit, &arena, path, alone, &err))
        fail_msg("%s", err.message);
    assert_string_equal(unit.root, root);
    for (size_t i = 0; i < unit.entry_count; i++) {
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s ", unit.entries[i].path);
        assert_true(unit.entries[i].kind == MMH_PATH_FILE ||
                    unit.entries[i].kind == MMH_PATH_FOLDER ||
                    unit.entries[i].kind == MMH_PATH_SYMLINK);
    }
    for (size_t i = 0; i < unit.missing_count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "(%s) ", unit.missing[i]);
    assert_string_equal(text, expected);
    mmh_arena_release(&arena);
    assert_int_equal(allocated, 0);
}

static void test_units_are_files_folders_and_indexes_with_their_shards(void **state)
{
    char root[] = "/tmp/mmh_test_format_XXXXXX", path[512], from[512];
    (void)state;
    assert_non_null(mkdtemp(root));
    write_file(root, "m.safetensors.index.json",
               "{\"weight_map\":{\"a\":\"m-1.safetensors\",\"b\":\"gone.safetensors\","
               "\"c\":\"linked.safetensors\",\"d\":\"m.safetensors.index.json\"}}");
    write_file(root, "bad.safetensors.index.json", "{\"weight_map\":{\"a\":\"../m\"}}");
    write_file(root, "m-1.safetensors", "x");
    write_file(root, "other", "y");
    snprintf(from, sizeof from, "%s/linked.safetensors", root);
    assert_int_equal(symlink("other", from), 0);

    snprintf(path, sizeof path, "%s/m.safetensors.index.json", root);
    assert_unit(path, false, root,
                "linked.safetensors m-1.safetensors m.safetensors.index.json (gone.safetensors) ");
    assert_unit(path, true, root, "m.safetensors.index.json ");
    snprintf(path, sizeof path, "%s/bad.safetensors.index.json", root);
    assert_unit(path, false, root, "bad.safetensors.index.json ");
    snprintf(path, sizeof path, "%s/other", root);
    assert_unit(path, false, root, "other ");
    snprintf(path, sizeof path, "%s//", root);
    assert_unit(path, false, root,
                "bad.safetensors.index.json linked.safetensors m-1.safetensors "
                "m.safetensors.index.json other ");

    struct mmh_arena arena;
    struct mmh_unit unit;
    mmh_arena_init(&arena, NULL);
    snprintf(path, sizeof path, "%s/nothing", root);
    assert_int_equal(mmh_unit_list(&unit, &arena, path, false, NULL), MMH_E_IO);
    assert_int_equal(mmh_unit_list(&unit, &arena, "/dev/null", false, NULL), MMH_E_USAGE);
    mmh_arena_release(&arena);

    /* The nth allocation, then the nth system call fails. */
    for (int memory = 0; memory < 2; memory++) {
        bool done = false;
        for (size_t n = 1; !done; n++) {
            mmh_error err = { 0 };
            snprintf(path, sizeof path, "%s/m.safetensors.index.json", root);
            mmh_arena_init(&arena, &counting);
            if (memory)
                allocations_left = n - 1;
            else
                (void)mmh_io_fail_after(n);
            mmh_status status = mmh_unit_list(&unit, &arena, path, false, &err);
            allocations_left = SIZE_MAX;
            (void)mmh_io_fail_after(0);
            done = status == MMH_OK;
            assert_true(done || status == (memory ? MMH_E_MEMORY : MMH_E_IO));
            assert_int_equal(err.status, status);
            assert_true(!done || unit.entry_count == 3);
            mmh_arena_release(&arena);
            assert_int_equal(allocated, 0);
        }
    }

    static const char *const made[] = { "m.safetensors.index.json", "bad.safetensors.index.json",
                                        "m-1.safetensors", "linked.safetensors", "other" };
    for (size_t i = 0; i < MMH_COUNT_OF(made); i++) {
        snprintf(path, sizeof path, "%s/%s", root, made[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(root), 0);
}

/* ---- the shared corpus ---- */

/* The folder of the corpus, or NULL (and says so). */
static const char *corpus(const char *what)
{
    static char path[1024];
    const char *shared = getenv("MMH_SHARED"), *source = getenv("MMH_SOURCE");
    struct stat info;
    if (shared)
        snprintf(path, sizeof path, "%s/corpus", shared);
    else
        snprintf(path, sizeof path, "%s/../shared/corpus", source ? source : ".");
    if (stat(path, &info) == 0)
        return path;
    print_message("left out without %s: %s\n", path, what);
    return NULL;
}

static void read_corpus(struct subject *s, const char *folder, const char *name)
{
    uint8_t *data;
    size_t bytes;
    mmh_error err = { 0 };
    char path[2048];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (mmh_input_slurp(&data, &bytes, path, 1 << 28, NULL, &err))
        fail_msg("%s", err.message);
    begin(s, name);
    put(s, data, bytes);
    mmh_free(NULL, data);
}

static uint64_t fnv(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * 0x100000001b3u;
    return hash;
}

/* Names, types, shapes and places as a separate parser (Python's json) listed them. */
static void test_corpus_files_are_mapped_as_listed(void **state)
{
    static const struct {
        const char *name;
        enum mmh_format_id format;
        size_t tensor_count;
        uint64_t typed_bytes, listing; /* FNV-1a of the lines */
        unsigned remarks;
    } files[] = {
        { "safetensors/matgl_tensornet_f16.safetensors", MMH_FORMAT_SAFETENSORS, 67, 1690782,
          0xdbd94b50b6355083u, 0 },
        { "safetensors/silero-vad__silero_vad_16k.safetensors", MMH_FORMAT_SAFETENSORS, 15, 1238532,
          0x7d9d2eee02f95079u, 0 },
        { "traps/valid/st_REJECTED_dupkey.safetensors", MMH_FORMAT_SAFETENSORS, 2, 16384,
          0xaec067efbe9555bcu, 1 },
        { "traps/valid/st_REJECTED_gap_and_trailing.safetensors", MMH_FORMAT_SAFETENSORS, 2, 16376,
          0xe99b6e51b9fbcf25u, 0 },
        { "traps/valid/st_header_only.safetensors", MMH_FORMAT_SAFETENSORS, 0, 0,
          0xcbf29ce484222325u, 0 },
        { "traps/valid/st_misaligned_data.safetensors", MMH_FORMAT_SAFETENSORS, 1, 16384,
          0x23d57e70dfcab29eu, 0 },
        { "traps/valid/st_subbyte_f4_f8.safetensors", MMH_FORMAT_SAFETENSORS, 2, 16384,
          0x1529ea2b7c715ca8u, 0 },
        { "traps/valid/st_unordered_keys_ws_padding.safetensors", MMH_FORMAT_SAFETENSORS, 2, 16384,
          0x762d9918d11f5b2au, 0 },
        { "traps/valid/st_zero_size_and_scalar.safetensors", MMH_FORMAT_SAFETENSORS, 3, 16384,
          0x673032f24a65004du, 0 },
        { "npy/self-organising-systems__sinusoid_weights_00035869.npy", MMH_FORMAT_NPY, 1, 460324,
          0, 0 },
        { "traps/valid/npy_be.npy", MMH_FORMAT_NPY, 1, 16384, 0, 0 },
        { "traps/valid/npy_concat_two_plus_tail.npy", MMH_FORMAT_NPY, 2, 32768, 0, 1 },
        { "traps/valid/npy_empty.npy", MMH_FORMAT_NPY, 1, 0, 0, 0 },
        { "traps/valid/npy_fortran.npy", MMH_FORMAT_NPY, 1, 16384, 0, 0 },
        { "traps/valid/npy_scalar.npy", MMH_FORMAT_NPY, 1, 4, 0, 0 },
        { "traps/valid/npy_struct.npy", MMH_FORMAT_NPY, 0, 0, 0, 1 },
        { "traps/valid/npy_unicode.npy", MMH_FORMAT_NPY, 0, 0, 0, 1 },
        { "traps/valid/npy_v2.npy", MMH_FORMAT_NPY, 1, 16384, 0, 0 },
        { "traps/valid/npy_v3.npy", MMH_FORMAT_NPY, 1, 16384, 0, 0 },
        { "custom_raw/kokoro__zm_yunyang.bin", MMH_FORMAT_OPAQUE, 0, 0, 0, 0 },
    };
    static char text[1 << 16];
    const char *folder = corpus("names, types and shapes of real and odd files");
    (void)state;
    for (size_t i = 0; folder && i < MMH_COUNT_OF(files); i++) {
        struct subject s;
        uint64_t typed_bytes = 0;
        read_corpus(&s, folder, files[i].name);
        map(&s);
        list(text, sizeof text, &s.map);
        for (size_t e = 0; e < s.map.extent_count; e++)
            typed_bytes += s.map.extents[e].owner_count ? s.map.extents[e].bytes : 0;
        if (s.map.format != files[i].format || s.map.tensor_count != files[i].tensor_count ||
            typed_bytes != files[i].typed_bytes || s.map.remark_count != files[i].remarks ||
            (files[i].listing && fnv(text) != files[i].listing))
            fail_msg("%s: format %u, %zu remarks (%s), tensors:\n%s", files[i].name, s.map.format,
                     (size_t)s.map.remark_count, s.map.remark_count ? s.map.remarks[0] : "", text);
        end(&s);
    }
}

/* Hostile files: mapped, without crash or hang, in a small multiple of their size. Every other
 * file of the corpus: the same. */
static void test_corpus_files_do_no_harm(void **state)
{
    const char *folder = corpus("hostile files");
    struct mmh_arena arena;
    struct mmh_path_info *entries;
    size_t count = 0, mapped = 0;
    mmh_folder *open;
    (void)state;
    if (!folder)
        return;
    mmh_arena_init(&arena, NULL);
    assert_int_equal(mmh_folder_open(&open, folder, false, NULL, NULL), MMH_OK);
    assert_int_equal(mmh_folder_list(&entries, &count, &arena, open, NULL, NULL), MMH_OK);
    mmh_folder_close(open);
    for (size_t i = 0; i < count; i++) {
        struct subject s;
        if (entries[i].kind != MMH_PATH_FILE)
            continue;
        read_corpus(&s, folder, entries[i].path);
        uint64_t begin_ns = mmh_clock_ns();
        allocated_most = 0;
        map(&s);
        if (allocated_most > 4 * s.file.bytes + (256 << 10))
            fail_msg("%s: %zu bytes were allocated", entries[i].path, allocated_most);
        if (mmh_clock_ns() - begin_ns > 2000000000u)
            fail_msg("%s: took too long", entries[i].path);
        if (strstr(entries[i].path, "hostile/st_") || strstr(entries[i].path, "hostile/npy_")) {
            mapped++;
            if (!strstr(entries[i].path, "st_overlap"))
                assert_int_equal(s.map.tensor_count, 0);
            assert_true(s.map.remark_count > 0);
        }
        end(&s);
    }
    assert_true(mapped >= 11);
    assert_int_equal(access("/tmp/mmh_pwned", F_OK), -1);
    mmh_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_safetensors_are_found_in_file_order),
        cmocka_unit_test(test_safetensors_every_dtype_is_known),
        cmocka_unit_test(test_safetensors_odd_tensors_are_left_out_alone),
        cmocka_unit_test(test_safetensors_rank_64_is_kept_and_65_left_out),
        cmocka_unit_test(test_safetensors_duplicates_and_ties_keep_their_bytes),
        cmocka_unit_test(test_safetensors_nul_in_a_name_is_left_out),
        cmocka_unit_test(test_safetensors_malformed_headers_are_opaque),
        cmocka_unit_test(test_safetensors_header_only_has_metadata),
        cmocka_unit_test(test_npy_versions_orders_and_types),
        cmocka_unit_test(test_npy_arrays_in_a_row_and_what_follows),
        cmocka_unit_test(test_npy_malformed_headers_are_opaque),
        cmocka_unit_test(test_npy_dimensions_up_to_64),
        cmocka_unit_test(test_raw_arrays_are_what_the_options_say),
        cmocka_unit_test(test_every_format_has_a_name),
        cmocka_unit_test(test_cut_files_map),
        cmocka_unit_test(test_only_reads_and_memory_fail),
        cmocka_unit_test(test_mutated_files_are_tiled),
        cmocka_unit_test(test_shard_indexes_name_their_files_once),
        cmocka_unit_test(test_shard_indexes_name_no_file_elsewhere),
        cmocka_unit_test(test_other_json_is_no_shard_index),
        cmocka_unit_test(test_without_memory_a_shard_index_fails_cleanly),
        cmocka_unit_test(test_units_are_files_folders_and_indexes_with_their_shards),
        cmocka_unit_test(test_corpus_files_are_mapped_as_listed),
        cmocka_unit_test(test_corpus_files_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
