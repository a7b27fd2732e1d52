/*
 * Promises of formats that the user brings: plug-ins and layout files say what they may, and
 * whatever they say does no harm.
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
#include "format/layout_file.h"
#include "format/plugin.h"
#include "map_check.h"

static uint8_t file[8192];

/* A file, what is used to map it, and its map. */
struct subject {
    size_t bytes;
    struct mmh_arena arena;
    struct mmh_plugins plugins;
    struct mmh_layout layout;
    struct mmh_format_options options;
    struct mmh_extent_map map;
    mmh_error err;
};

static void begin(struct subject *s, size_t bytes)
{
    memset(s, 0, sizeof *s);
    s->bytes = bytes;
    mmh_arena_init(&s->arena, NULL);
    mmh_plugins_init(&s->plugins, NULL);
    s->options.plugins = &s->plugins;
}

static mmh_status try_map(struct subject *s)
{
    mmh_source source = mmh_source_of_memory(file, s->bytes, "folder/dump.bin");
    mmh_extent_map_init(&s->map, &s->arena, s->bytes);
    return mmh_format_detect_and_map(&s->map, &source, &s->options, &s->err);
}

static void map(struct subject *s)
{
    if (try_map(s) != MMH_OK)
        fail_msg("%s", s->err.message);
    const char *problem = map_problem(&s->map);
    if (problem)
        fail_msg("%s", problem);
}

static void end(struct subject *s)
{
    mmh_plugins_release(&s->plugins);
    mmh_arena_release(&s->arena);
}

/* The tensors as lines "name DTYPE [shape] offset bytes", '>' for big endian, "F:" for column major. */
static void assert_list(const struct subject *s, enum mmh_format_id format, const char *expected)
{
    char text[4096] = "";
    size_t used = 0;
    for (size_t i = 0; i < s->map.tensor_count; i++) {
        const struct mmh_map_tensor *tensor = &s->map.tensors[i];
        used += (size_t)snprintf(text + used, sizeof text - used, "%s %s%s%s [", tensor->name,
                                 tensor->big_endian ? ">" : "", tensor->column_major ? "F:" : "",
                                 mmh_dtype_name(tensor->dtype));
        for (uint32_t d = 0; d < tensor->dimensions; d++)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%llu", d ? "," : "",
                                     (unsigned long long)tensor->shape[d]);
        used += (size_t)snprintf(text + used, sizeof text - used, "] %llu %llu\n",
                                 (unsigned long long)tensor->offset,
                                 (unsigned long long)tensor->bytes);
    }
    assert_string_equal(text, expected);
    assert_int_equal(s->map.format, format);
}

static void assert_remark(const struct subject *s, const char *part)
{
    for (size_t i = 0; i < s->map.remark_count && i < MMH_MAP_REMARKS_MAX; i++)
        if (strstr(s->map.remarks[i], part))
            return;
    fail_msg("no remark says \"%s\"", part);
}

/* ---- layouts ---- */

static mmh_status read_layout(struct subject *s, const char *text)
{
    s->options.layout = &s->layout;
    return mmh_layout_read(&s->layout, &s->arena, text, strlen(text), "l.json", &s->err);
}

static void test_layout_tensors_are_where_it_says(void **state)
{
    static const struct {
        const char *layout, *expected;
    } cases[] = {
        { "{\"tensors\":[]}", "" },
        { "{\"tensors\":[{\"name\":\"a\",\"dtype\":\"f32\",\"shape\":[2,3],\"offset\":8}]}",
          "a F32 [2,3] 8 24\n" },
        { "{\"tensors\":[{\"name\":\"a\",\"dtype\":\"f16\",\"shape\":[3],\"offset\":2},"
          "{\"name\":\"b\",\"dtype\":\"U8\",\"shape\":[]},"
          "{\"name\":\"c\",\"dtype\":\"bfloat16\",\"shape\":[0,4]},"
          "{\"name\":\"d\",\"dtype\":\"q8_0\",\"shape\":[2,32],\"byteorder\":\"little\"}]}",
          "c BF16 [0,4] 9 0\na F16 [3] 2 6\nb U8 [] 8 1\nd Q8_0 [2,32] 9 68\n" },
        { "{\"comment\":[1,{}],\"$schema\":\"x\",\"tensors\":[{\"comment\":1,\"name\":\"a\","
          "\"dtype\":\"i64\",\"shape\":[2,1],\"byteorder\":\"big\",\"order\":\"F\"}]}",
          "a >F:I64 [2,1] 0 16\n" },
        { "{\"tensors\":[{\"name\":\"v{i}.{i}\",\"dtype\":\"f32\",\"shape\":[1,2],"
          "\"repeat\":11},{\"name\":\"after{i}\",\"dtype\":\"i8\",\"shape\":[1]}]}",
          "v0.0 F32 [1,2] 0 8\nv1.1 F32 [1,2] 8 8\nv2.2 F32 [1,2] 16 8\nv3.3 F32 [1,2] 24 8\n"
          "v4.4 F32 [1,2] 32 8\nv5.5 F32 [1,2] 40 8\nv6.6 F32 [1,2] 48 8\nv7.7 F32 [1,2] 56 8\n"
          "v8.8 F32 [1,2] 64 8\nv9.9 F32 [1,2] 72 8\nv10.10 F32 [1,2] 80 8\n"
          "after{i} I8 [1] 88 1\n" },
        { "{\"tensors\":[{\"name\":\"k{i}\",\"dtype\":\"u16\",\"shape\":[2],\"repeat\":2,"
          "\"stride\":8,\"offset\":4},{\"name\":\"v{i}\",\"dtype\":\"u16\",\"shape\":[2],"
          "\"repeat\":2,\"stride\":8,\"offset\":8}]}",
          "k0 U16 [2] 4 4\nv0 U16 [2] 8 4\nk1 U16 [2] 12 4\nv1 U16 [2] 16 4\n" },
    };
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(cases); i++) {
        struct subject s;
        begin(&s, 128);
        if (read_layout(&s, cases[i].layout))
            fail_msg("%s", s.err.message);
        map(&s);
        if (i != 2)
            assert_list(&s, MMH_FORMAT_CUSTOM, cases[i].expected);
        else
            assert_int_equal(s.map.tensor_count, 4);
        end(&s);
    }
}

/* With the line, and what is wrong there. */
static void test_layout_mistakes_are_told_with_their_place(void **state)
{
#define TENSOR(more) "{\"tensors\":[\n{\"name\":\"a\",\"dtype\":\"f32\",\"shape\":[2]" more "}]}"
    static const struct {
        const char *layout, *message;
    } cases[] = {
        { "", "layout \"l.json\", line 1" },
        { "[]", "a layout is an object" },
        { "{}", "a layout without \"tensors\"" },
        { "{\"tensors\":{}}", "\"tensors\" is no array" },
        { "{\"tensors\":[\n\n7]}", "line 3: an entry of \"tensors\" is no object" },
        { "{\"tensors\":[],\n\"tensors\":[]}", "line 2: a layout has no such key" },
        { "{\"tensor\":[]}", "no such key" },
        { "{\"file\":7,\"tensors\":[]}", "\"file\" is no name" },
        { "{\"tensors\":[{\"dtype\":\"f32\",\"shape\":[2]}]}", "without \"name\"" },
        { "{\"tensors\":[{\"name\":\"a\",\"shape\":[2]}]}", "without \"dtype\"" },
        { "{\"tensors\":[{\"name\":\"a\",\"dtype\":\"f32\"}]}", "without \"shape\"" },
        { "{\"tensors\":[{\"name\":\"\",\"dtype\":\"f32\",\"shape\":[2]}]}",
          "\"name\" is no text" },
        { "{\"tensors\":[{\"name\":\"a\\u0000\",\"dtype\":\"f32\",\"shape\":[2]}]}",
          "\"name\" is no text" },
        { "{\"tensors\":[{\"name\":\"a\",\n\n\"dtype\":\"f33\",\"shape\":[2]}]}",
          "line 3: \"dtype\" is no element type" },
        { "{\"tensors\":[{\"name\":\"a\",\"dtype\":\"opaque\",\"shape\":[2]}]}",
          "\"dtype\" is no element type" },
        { "{\"tensors\":[{\"name\":\"a\",\"dtype\":\"f32\",\"shape\":[-1]}]}", "\"shape\" is no" },
        { "{\"tensors\":[{\"name\":\"a\",\"dtype\":\"f32\",\"shape\":[1.5]}]}", "\"shape\" is no" },
        { "{\"tensors\":[{\"name\":\"a\",\"dtype\":\"f32\",\"shape\":2}]}", "\"shape\" is no" },
        { "{\"tensors\":[{\"name\":\"a\",\"dtype\":\"q8_0\",\"shape\":[31]}]}",
          "a shape that its type cannot have" },
        { "{\"tensors\":[{\"name\":\"a\",\"dtype\":\"f32\","
          "\"shape\":[4294967296,4294967296]}]}",
          "a shape that its type cannot have" },
        { TENSOR(",\"offset\":\"8\""), "line 2: \"offset\" is no whole number" },
        { TENSOR(",\"offset\":18446744073709551615"), "beyond 2^64" },
        { TENSOR(",\"byteorder\":\"middle\""), "\"byteorder\" is neither" },
        { TENSOR(",\"order\":\"A\""), "\"order\" is neither" },
        { TENSOR(",\"name\":\"b\""), "a key that the tensor has already" },
        { TENSOR(",\"size\":8"), "a tensor has no such key" },
        { TENSOR(",\"repeat\":3"), "needs {i} in its name" },
        { TENSOR(",\"stride\":8"), "\"stride\" is for repeated tensors" },
        { "{\"tensors\":[{\"name\":\"a{i}\",\"dtype\":\"f32\",\"shape\":[2],\"repeat\":0}]}",
          "\"repeat\" is not from 1" },
        { "{\"tensors\":[{\"name\":\"a{i}\",\"dtype\":\"f32\",\"shape\":[0],\"repeat\":9}]}",
          "without elements" },
        { "{\"tensors\":[{\"name\":\"a{i}\",\"dtype\":\"f32\",\"shape\":[2],\"repeat\":2,"
          "\"stride\":7}]}",
          "they would overlap" },
        { "{\"tensors\":[{\"name\":\"a{i}\",\"dtype\":\"u8\",\"shape\":[1],\"repeat\":10000001}]}",
          "\"repeat\" is not from 1 to 10 million" },
        { "{\"tensors\":[{\"name\":\"a{i}\",\"dtype\":\"u8\",\"shape\":[1],\"repeat\":9999999},"
          "{\"name\":\"a{i}\",\"dtype\":\"u8\",\"shape\":[1],\"repeat\":2}]}",
          "more than 10 million tensors" },
        { "{\"tensors\":[{\"name\":\"a{i}\",\"dtype\":\"u8\",\"shape\":[1],\"repeat\":9,"
          "\"stride\":9223372036854775808}]}",
          "beyond 2^64" },
        { "{\"tensors\":[]} x", "line 1" },
    };
#undef TENSOR
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(cases); i++) {
        struct subject s;
        begin(&s, 128);
        assert_int_equal(read_layout(&s, cases[i].layout), MMH_E_USAGE);
        if (!strstr(s.err.message, cases[i].message))
            fail_msg("\"%s\" does not say \"%s\"", s.err.message, cases[i].message);
        end(&s);
    }
}

static void test_layout_that_does_not_fit_the_file_is_refused(void **state)
{
    static const char *const layouts[] = {
        "{\"tensors\":[{\"name\":\"a\",\"dtype\":\"f32\",\"shape\":[32]},\n"
        "{\"name\":\"w{i}\",\"dtype\":\"u8\",\"shape\":[1],\"repeat\":1}]}",
        "{\"tensors\":[\n{\"name\":\"w\",\"dtype\":\"f32\",\"shape\":[32],\"offset\":1}]}",
        "{\"tensors\":[\n{\"name\":\"w{i}\",\"dtype\":\"u8\",\"shape\":[1],\"repeat\":9999999}]}",
        "{\"tensors\":[\n{\"name\":\"w{i}\",\"dtype\":\"u8\",\"shape\":[1],\"repeat\":3,"
        "\"stride\":9223372036854775807}]}",
    };
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(layouts); i++) {
        struct subject s;
        begin(&s, 128);
        assert_int_equal(read_layout(&s, layouts[i]), MMH_OK);
        assert_int_equal(try_map(&s), MMH_E_USAGE);
        if (!strstr(s.err.message, "layout \"l.json\", line 2: tensor \"w"))
            fail_msg("%s", s.err.message);
        end(&s);
    }
}

static void test_layout_is_for_the_file_that_it_names(void **state)
{
    struct subject s;
    (void)state;
    begin(&s, 128);
    assert_int_equal(read_layout(&s, "{\"tensors\":[]}"), MMH_OK);
    assert_true(mmh_layout_is_for(&s.layout, "any/thing"));
    assert_int_equal(read_layout(&s, "{\"file\":\"dump.bin\",\"tensors\":[]}"), MMH_OK);
    assert_true(mmh_layout_is_for(&s.layout, "folder/dump.bin"));
    assert_true(mmh_layout_is_for(&s.layout, "dump.bin"));
    assert_false(mmh_layout_is_for(&s.layout, "folder/other-dump.bin"));
    end(&s);
}

/* Overlapping tensors are told of by the map, as in every format; the bytes are all there. */
static void test_layout_tensors_that_overlap_are_left_out(void **state)
{
    struct subject s;
    (void)state;
    begin(&s, 128);
    assert_int_equal(read_layout(&s,
                                 "{\"tensors\":[{\"name\":\"a\",\"dtype\":\"f32\",\"shape\":[4]},"
                                 "{\"name\":\"b\",\"dtype\":\"f32\",\"shape\":[4],\"offset\":8}]}"),
                     MMH_OK);
    map(&s);
    assert_list(&s, MMH_FORMAT_CUSTOM, "a F32 [4] 0 16\n");
    assert_int_equal(s.map.remark_count, 1);
    end(&s);
}

static void test_layout_changed_anywhere_does_no_harm(void **state)
{
    static const char text[] =
        "{\"file\":\"dump.bin\",\"tensors\":[{\"name\":\"v{i}\",\"dtype\":\"f32\",\"shape\":[1,2],"
        "\"repeat\":3,\"stride\":16,\"offset\":4,\"byteorder\":\"big\",\"order\":\"F\"},"
        "{\"name\":\"b\",\"dtype\":\"u8\",\"shape\":[2]}]}";
    static const uint8_t changes[] = { 0xff, 0x01, 0x80 };
    char changed[sizeof text];
    (void)state;
    for (size_t i = 0; i < 4 * (sizeof text - 1); i++) {
        struct subject s;
        size_t at = i / 4, bytes = i % 4 == 3 ? at : sizeof text - 1;
        begin(&s, 128);
        memcpy(changed, text, sizeof text);
        if (i % 4 < 3)
            changed[at] = (char)((uint8_t)changed[at] ^ changes[i % 4]);
        mmh_status status = mmh_layout_read(&s.layout, &s.arena, changed, bytes, "l.json", &s.err);
        assert_true(status == MMH_OK || status == MMH_E_USAGE);
        s.options.layout = &s.layout;
        if (status == MMH_OK)
            assert_true((status = try_map(&s)) == MMH_OK || status == MMH_E_USAGE);
        if (status == MMH_OK)
            assert_null(map_problem(&s.map));
        end(&s);
    }
}

/* ---- plug-ins ---- */

static int (*map_now)(mmh_format_file *in, const mmh_format_host *host);
static unsigned detected;

static int detect_dump(mmh_format_file *in, const mmh_format_host *host)
{
    uint8_t head[4];
    detected++;
    assert_int_equal(host->abi, MMH_FORMAT_ABI);
    assert_true(host->table_size >= sizeof *host);
    assert_string_equal(host->file_name(in), "dump.bin");
    /* What detect adds is not added. */
    uint64_t one = 1;
    mmh_format_tensor tensor = { .struct_size = sizeof tensor,
                                 .name = "early",
                                 .dtype_name = "u8",
                                 .dimensions = 1,
                                 .shape = &one };
    assert_int_equal(host->add_tensor(in, &tensor), MMH_PLUGIN_LEFT_OUT);
    assert_int_equal(host->add_metadata(in, "early", "v"), MMH_PLUGIN_LEFT_OUT);
    host->remark(in, "early");
    return !host->read(in, 0, head, 4) && memcmp(head, "DUMP", 4) == 0;
}

static int map_dump(mmh_format_file *in, const mmh_format_host *host)
{
    return map_now(in, host);
}

static const mmh_format_reader dump_reader = { MMH_FORMAT_ABI, sizeof dump_reader, "dump",
                                               detect_dump, map_dump };

static void begin_plugin(struct subject *s,
                         int (*function)(mmh_format_file *, const mmh_format_host *))
{
    begin(s, 6000);
    for (size_t i = 0; i < s->bytes; i++)
        file[i] = (uint8_t)(i * 7);
    memcpy(file, "DUMP", 4);
    map_now = function;
    detected = 0;
    assert_int_equal(
        mmh_plugins_take(&s->plugins, &dump_reader, "dump.so", MMH_PLUGIN_BEFORE_ALL, &s->err),
        MMH_OK);
}

static int map_good(mmh_format_file *in, const mmh_format_host *host)
{
    char name[16] = "w";
    uint64_t shape[2] = { 3, 5 }, strides[2] = { 1, 3 };
    uint8_t bytes[5000];
    mmh_format_tensor tensor = { .struct_size = sizeof tensor,
                                 .name = name,
                                 .dtype_name = "bf16",
                                 .dimensions = 2,
                                 .shape = shape,
                                 .offset = 10,
                                 .bytes = 30 };
    assert_int_equal(host->file_bytes(in), 6000);
    assert_int_equal(host->add_tensor(in, &tensor), MMH_PLUGIN_OK);
    memset(name, 'x', 1); /* what was given is not looked at again */
    shape[0] = 4;
    tensor = (mmh_format_tensor){ .struct_size = sizeof tensor,
                                  .name = "b",
                                  .dtype = MMH_DTYPE_F64,
                                  .flags = MMH_TENSOR_BIG_ENDIAN | MMH_TENSOR_COLUMN_MAJOR,
                                  .dimensions = 1,
                                  .shape = shape,
                                  .offset = 100 };
    assert_int_equal(host->add_tensor(in, &tensor), MMH_PLUGIN_OK);
    shape[0] = 3;
    tensor = (mmh_format_tensor){ .struct_size = sizeof tensor,
                                  .name = "t",
                                  .dtype_name = "BF16",
                                  .dimensions = 2,
                                  .shape = shape,
                                  .strides = strides,
                                  .offset = 10 };
    assert_int_equal(host->add_tensor(in, &tensor), MMH_PLUGIN_OK);
    assert_int_equal(host->add_metadata(in, "key", "value"), MMH_PLUGIN_OK);
    host->remark(in, "is odd");
    /* Reads of all kinds give the file's bytes, and nothing past it. */
    static const struct {
        uint64_t offset;
        size_t bytes;
    } reads[] = { { 0, 0 },     { 5, 1 },    { 4090, 16 }, { 5999, 1 }, { 6000, 0 },
                  { 10, 5000 }, { 2, 4096 }, { 1, 3 },     { 0, 4097 }, { 5000, 1000 } };
    for (size_t i = 0; i < MMH_COUNT_OF(reads); i++) {
        assert_int_equal(host->read(in, reads[i].offset, bytes, reads[i].bytes), MMH_PLUGIN_OK);
        assert_memory_equal(bytes, file + reads[i].offset, reads[i].bytes);
    }
    memset(bytes, 0x55, sizeof bytes);
    assert_int_equal(host->read(in, 5999, bytes, 2), MMH_PLUGIN_END);
    assert_int_equal(host->read(in, 6001, bytes, 0), MMH_PLUGIN_END);
    assert_int_equal(host->read(in, UINT64_MAX, bytes, 2), MMH_PLUGIN_END);
    assert_int_equal(host->read(in, 1, bytes, SIZE_MAX), MMH_PLUGIN_END);
    assert_int_equal(bytes[0], 0x55);
    return MMH_PLUGIN_OK;
}

static void test_plugin_tensors_are_where_it_says(void **state)
{
    struct subject s;
    (void)state;
    begin_plugin(&s, map_good);
    map(&s);
    assert_list(&s, MMH_FORMAT_CUSTOM,
                "w BF16 [3,5] 10 30\nt BF16 [3,5] 10 30\nb >F:F64 [4] 100 32\n");
    assert_int_equal(s.map.metadata_count, 1);
    assert_string_equal(s.map.metadata[0].value, "value");
    assert_remark(&s, "is odd");
    end(&s);
}

static int map_lies(mmh_format_file *in, const mmh_format_host *host)
{
    static const uint64_t shape[65] = { 4, 4 }, huge[2] = { UINT64_MAX, 3 };
    static char endless[70000];
    const mmh_format_tensor lies[] = {
        { .struct_size = 8, .name = "small", .dtype_name = "u8" },
        { .struct_size = sizeof lies[0], .dtype_name = "u8" },
        { .struct_size = sizeof lies[0], .name = endless, .dtype_name = "u8" },
        { .struct_size = sizeof lies[0], .name = "no type" },
        { .struct_size = sizeof lies[0], .name = "type", .dtype_name = "f33" },
        { .struct_size = sizeof lies[0], .name = "number", .dtype = 4000000000u },
        { .struct_size = sizeof lies[0],
          .name = "ranks",
          .dtype_name = "u8",
          .dimensions = 65,
          .shape = shape },
        { .struct_size = sizeof lies[0], .name = "no shape", .dtype_name = "u8", .dimensions = 2 },
        { .struct_size = sizeof lies[0],
          .name = "huge",
          .dtype_name = "u8",
          .dimensions = 2,
          .shape = huge },
        { .struct_size = sizeof lies[0],
          .name = "strides",
          .dtype_name = "f32",
          .dimensions = 2,
          .shape = shape,
          .strides = huge },
        { .struct_size = sizeof lies[0],
          .name = "size",
          .dtype_name = "f32",
          .dimensions = 2,
          .shape = shape,
          .bytes = 63 },
        { .struct_size = sizeof lies[0],
          .name = "end",
          .dtype_name = "f32",
          .dimensions = 2,
          .shape = shape,
          .offset = 5937 },
        { .struct_size = sizeof lies[0],
          .name = "far",
          .dtype_name = "f32",
          .dimensions = 2,
          .shape = shape,
          .offset = UINT64_MAX - 3 },
    };
    memset(endless, 'n', sizeof endless - 1);
    for (size_t i = 0; i < MMH_COUNT_OF(lies); i++)
        assert_int_equal(host->add_tensor(in, &lies[i]), MMH_PLUGIN_LEFT_OUT);
    assert_int_equal(host->add_tensor(in, NULL), MMH_PLUGIN_LEFT_OUT);
    assert_int_equal(host->add_metadata(in, NULL, "v"), MMH_PLUGIN_LEFT_OUT);
    assert_int_equal(host->add_metadata(in, "k", NULL), MMH_PLUGIN_LEFT_OUT);
    host->remark(in, NULL);
    /* These overlap, which shows at the end. */
    mmh_format_tensor tensor = { .struct_size = sizeof tensor,
                                 .name = "first",
                                 .dtype_name = "f32",
                                 .dimensions = 2,
                                 .shape = shape };
    assert_int_equal(host->add_tensor(in, &tensor), MMH_PLUGIN_OK);
    tensor.name = "second";
    tensor.offset = 4;
    assert_int_equal(host->add_tensor(in, &tensor), MMH_PLUGIN_OK);
    return MMH_PLUGIN_OK;
}

static void test_plugin_that_lies_leaves_a_map_of_every_byte(void **state)
{
    struct subject s;
    (void)state;
    begin_plugin(&s, map_lies);
    map(&s);
    assert_list(&s, MMH_FORMAT_CUSTOM, "first F32 [4,4] 0 64\n");
    end(&s);
}

static int map_gives_up(mmh_format_file *in, const mmh_format_host *host)
{
    (void)map_good(in, host);
    return MMH_PLUGIN_END;
}

static void test_plugin_that_gives_up_leaves_nothing_behind(void **state)
{
    struct subject s;
    (void)state;
    begin_plugin(&s, map_gives_up);
    map(&s);
    assert_list(&s, MMH_FORMAT_OPAQUE, "");
    assert_int_equal(s.map.metadata_count, 0);
    assert_remark(&s, "not taken as dump by the plug-in \"dump.so\"");
    end(&s);
}

static int map_not_called(mmh_format_file *in, const mmh_format_host *host)
{
    (void)in;
    (void)host;
    fail_msg("map was called");
    return MMH_PLUGIN_OTHER;
}

static void test_plugin_gets_no_file_that_it_does_not_know(void **state)
{
    struct subject s;
    (void)state;
    begin_plugin(&s, map_not_called);
    file[0] = 'd';
    map(&s);
    assert_list(&s, MMH_FORMAT_OPAQUE, "");
    assert_int_equal(s.map.remark_count, 0);
    assert_int_equal(detected, 1);
    end(&s);
}

static int map_nothing(mmh_format_file *in, const mmh_format_host *host)
{
    (void)in;
    (void)host;
    return MMH_PLUGIN_OK;
}

static int detect_all(mmh_format_file *in, const mmh_format_host *host)
{
    (void)in;
    (void)host;
    return 1;
}

/* A plug-in that was named takes even what we know; one that was found takes what nobody knows. */
static void test_plugin_takes_its_turn(void **state)
{
    static const mmh_format_reader all = { MMH_FORMAT_ABI, sizeof all, "all", detect_all,
                                           map_nothing };
    static const char npy[] = "\x93NUMPY\1\0\x36\0{'descr': '|u1', 'fortran_order': False, "
                              "'shape': (2,)}\nab";
    (void)state;
    for (int known = 0; known < 2; known++)
        for (int turn = MMH_PLUGIN_BEFORE_ALL; turn <= MMH_PLUGIN_AFTER_ALL; turn++) {
            struct subject s;
            begin(&s, sizeof npy - 1);
            memcpy(file, npy, sizeof npy);
            file[8] = (uint8_t)(sizeof npy - 1 - 10 - 2);
            file[0] = known ? file[0] : 0;
            assert_int_equal(
                mmh_plugins_take(&s.plugins, &all, "all.so", (enum mmh_plugin_turn)turn, NULL),
                MMH_OK);
            map(&s);
            bool ours = !known || turn == MMH_PLUGIN_BEFORE_ALL;
            assert_int_equal(s.map.format, ours ? MMH_FORMAT_CUSTOM : MMH_FORMAT_NPY);
            end(&s);
        }
}

static void test_plugin_of_another_interface_is_refused(void **state)
{
    mmh_format_reader reader = dump_reader;
    struct subject s;
    (void)state;
    begin(&s, 8);
    reader.abi = MMH_FORMAT_ABI + 1;
    assert_int_equal(mmh_plugins_take(&s.plugins, &reader, "p.so", MMH_PLUGIN_AFTER_ALL, &s.err),
                     MMH_E_UNSUPPORTED);
    assert_non_null(strstr(s.err.message, "version 2 of the interface, this mmh has 1"));
    s.err = (mmh_error){ 0 };
    reader = dump_reader;
    reader.struct_size--;
    assert_int_equal(mmh_plugins_take(&s.plugins, &reader, "p.so", MMH_PLUGIN_AFTER_ALL, &s.err),
                     MMH_E_USAGE);
    reader = dump_reader;
    reader.map = NULL;
    assert_int_equal(mmh_plugins_take(&s.plugins, &reader, "p.so", MMH_PLUGIN_AFTER_ALL, NULL),
                     MMH_E_USAGE);
    assert_int_equal(mmh_plugins_take(&s.plugins, NULL, "p.so", MMH_PLUGIN_AFTER_ALL, NULL),
                     MMH_E_USAGE);
    assert_null(s.plugins.first);
    end(&s);
}

/* ---- failures ---- */

static size_t reads_left;

static mmh_status read_some(void *context, uint64_t offset, void *dst, size_t bytes, mmh_error *err)
{
    (void)context;
    if (!reads_left)
        return mmh_fail(err, MMH_E_IO, "cannot read");
    reads_left--;
    memcpy(dst, file + offset, bytes);
    return MMH_OK;
}

static int map_careless(mmh_format_file *in, const mmh_format_host *host)
{
    uint8_t bytes[5000];
    uint64_t shape = 4;
    mmh_format_tensor tensor = { .struct_size = sizeof tensor,
                                 .name = "w",
                                 .dtype_name = "f32",
                                 .dimensions = 1,
                                 .shape = &shape };
    (void)host->read(in, 0, bytes, 5000);
    (void)host->read(in, 5000, bytes, 10);
    (void)host->add_tensor(in, &tensor);
    (void)host->add_metadata(in, "k", "v");
    return MMH_PLUGIN_OK;
}

static void test_plugin_cannot_hide_a_failed_read(void **state)
{
    (void)state;
    for (size_t n = 0;; n++) {
        struct subject s;
        mmh_source source = { .read = read_some, .bytes = 6000, .name = "dump.bin" };
        begin_plugin(&s, map_careless);
        mmh_extent_map_init(&s.map, &s.arena, s.bytes);
        reads_left = n;
        mmh_status status = mmh_format_detect_and_map(&s.map, &source, &s.options, &s.err);
        bool done = status == MMH_OK;
        assert_int_equal(status, reads_left || done ? MMH_OK : MMH_E_IO);
        end(&s);
        if (done) {
            assert_int_equal(n, 4); /* head, detect, and two of map */
            return;
        }
    }
}

static size_t allocations_left;

static void *allocate_some(void *user, size_t alignment, size_t bytes)
{
    void *memory;
    (void)user;
    if (!allocations_left)
        return NULL;
    allocations_left--;
    return posix_memalign(&memory, MMH_MAX(alignment, sizeof(void *)), bytes) ? NULL : memory;
}

static void release_some(void *user, void *memory)
{
    (void)user;
    free(memory);
}

static void test_without_memory_they_fail_cleanly(void **state)
{
    static const mmh_allocator some = { allocate_some, release_some, NULL };
    static const char text[] = "{\"file\":\"f\",\"tensors\":[{\"name\":\"v{i}\",\"dtype\":\"f32\","
                               "\"shape\":[1],\"repeat\":900}]}";
    size_t failed = 0;
    (void)state;
    for (size_t n = 0, done = 0; done < 3; n++) {
        struct subject s;
        begin_plugin(&s, map_careless);
        mmh_arena_release(&s.arena);
        mmh_arena_init(&s.arena, &some);
        allocations_left = n;
        mmh_status status = try_map(&s);
        assert_true(status == MMH_OK || status == MMH_E_MEMORY);
        done = status == MMH_OK;
        allocations_left = n;
        status = mmh_layout_read(&s.layout, &s.arena, text, sizeof text - 1, "l", NULL);
        assert_true(status == MMH_OK || status == MMH_E_MEMORY);
        if (status == MMH_OK) {
            s.options.layout = &s.layout;
            status = try_map(&s);
            assert_true(status == MMH_OK || status == MMH_E_MEMORY);
        }
        done += 2 * (status == MMH_OK);
        failed += status == MMH_E_MEMORY;
        allocations_left = SIZE_MAX;
        end(&s);
    }
    assert_true(failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout_tensors_are_where_it_says),
        cmocka_unit_test(test_layout_mistakes_are_told_with_their_place),
        cmocka_unit_test(test_layout_that_does_not_fit_the_file_is_refused),
        cmocka_unit_test(test_layout_is_for_the_file_that_it_names),
        cmocka_unit_test(test_layout_tensors_that_overlap_are_left_out),
        cmocka_unit_test(test_layout_changed_anywhere_does_no_harm),
        cmocka_unit_test(test_plugin_tensors_are_where_it_says),
        cmocka_unit_test(test_plugin_that_lies_leaves_a_map_of_every_byte),
        cmocka_unit_test(test_plugin_that_gives_up_leaves_nothing_behind),
        cmocka_unit_test(test_plugin_gets_no_file_that_it_does_not_know),
        cmocka_unit_test(test_plugin_takes_its_turn),
        cmocka_unit_test(test_plugin_of_another_interface_is_refused),
        cmocka_unit_test(test_plugin_cannot_hide_a_failed_read),
        cmocka_unit_test(test_without_memory_they_fail_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
