/*
 * Tests of packed weights: which integers codecs see as bytes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "format/format.h"
#include "map_check.h"

enum { ROWS = 8, COLUMNS = 16, FILE_BYTES_MAX = 1 << 14 };

static const char *config; /* what lies beside; NULL: nothing */

static mmh_status read_beside(void *context, const char *name, size_t bytes_max, uint8_t **data,
                              size_t *bytes, const mmh_allocator *allocator, mmh_error *err)
{
    (void)context;
    assert_string_equal(name, "config.json");
    if (!config)
        return mmh_fail(err, MMH_E_IO, "there is none");
    *bytes = strlen(config);
    assert_true(*bytes <= bytes_max);
    *data = mmh_alloc(allocator, 64, *bytes + 1);
    assert_non_null(*data);
    memcpy(*data, config, *bytes);
    return MMH_OK;
}

/* Map a safetensors file of matrices, "name dtype bytes-of-an-element" each; what codecs see of the
 * first is returned. */
static mmh_dtype coded_of_first(const char *const (*tensors)[2], size_t count)
{
    static uint8_t file[FILE_BYTES_MAX];
    char *header = (char *)file + 8;
    size_t used = 1, offset = 0;
    memset(file, 0, sizeof file);
    header[0] = '{';
    for (size_t i = 0; i < count; i++) {
        unsigned element = mmh_dtype_bits(mmh_dtype_find(tensors[i][1], strlen(tensors[i][1]))) / 8;
        size_t end = offset + (size_t)ROWS * COLUMNS * element;
        used += (size_t)snprintf(header + used, 512,
                                 "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%d,%d],"
                                 "\"data_offsets\":[%zu,%zu]}",
                                 i ? "," : "", tensors[i][0], tensors[i][1], ROWS, COLUMNS, offset,
                                 end);
        offset = end;
    }
    header[used++] = '}';
    mmh_store64(file, used);
    assert_true(8 + used + offset <= sizeof file);
    struct mmh_arena arena;
    struct mmh_extent_map map;
    mmh_source source = mmh_source_of_memory(file, 8 + used + offset, "x.safetensors");
    const struct mmh_format_options options = { .read_beside = read_beside };
    mmh_arena_init(&arena, NULL);
    mmh_extent_map_init(&map, &arena, source.bytes);
    assert_int_equal(mmh_format_detect_and_map(&map, &source, &options, NULL), MMH_OK);
    assert_null(map_problem(&map));
    assert_int_equal(map.tensor_count, count);
    mmh_dtype coded = MMH_DTYPE_COUNT;
    for (size_t i = 0; i < map.extent_count; i++)
        if (map.extents[i].name && !strcmp(map.extents[i].name, tensors[0][0]))
            coded = map.extents[i].coded;
        else if (map.extents[i].name) /* and nothing else changed */
            assert_int_equal(map.extents[i].coded, mmh_dtype_scalar(map.extents[i].dtype));
    assert_string_equal(mmh_dtype_name(map.tensors[0].dtype), tensors[0][1]);
    mmh_arena_release(&arena);
    return coded;
}

#define CODED(...)                                          \
    coded_of_first((const char *const[][2]){ __VA_ARGS__ }, \
                   sizeof((const char *const[][2]){ __VA_ARGS__ }) / sizeof(const char *[2]))

static void test_packed_weights_are_bytes_if_scales_are_there(void **state)
{
    (void)state;
    config = NULL;
    assert_int_equal(CODED({ "a.qweight", "I32" }, { "a.scales", "F16" }), MMH_DTYPE_U8);
    assert_int_equal(CODED({ "a.qzeros", "I32" }, { "a.scales", "F16" }), MMH_DTYPE_U8);
    assert_int_equal(CODED({ "a.weight_packed", "I32" }, { "a.weight_scale", "BF16" }),
                     MMH_DTYPE_U8);
    assert_int_equal(CODED({ "qweight", "U32" }, { "scales", "F16" }), MMH_DTYPE_U8);
    assert_int_equal(CODED({ "a.qweight", "I64" }, { "a.g_idx", "F16" }), MMH_DTYPE_U8);
}

static void test_other_integers_stay_what_they_are(void **state)
{
    (void)state;
    config = NULL;
    assert_int_equal(CODED({ "a.qweight", "I32" }, { "b.scales", "F16" }), MMH_DTYPE_I32);
    assert_int_equal(CODED({ "a.b.qweight", "I32" }, { "a.scales", "F16" }), MMH_DTYPE_I32);
    assert_int_equal(CODED({ "a.qweight", "F32" }, { "a.scales", "F16" }), MMH_DTYPE_F32);
    assert_int_equal(CODED({ "a.g_idx", "I32" }, { "a.scales", "F16" }), MMH_DTYPE_I32);
    assert_int_equal(CODED({ "a.weight", "I32" }, { "a.scales", "F16" }), MMH_DTYPE_I32);
    assert_int_equal(CODED({ "position_ids", "I64" }, { "a.weight", "F32" }), MMH_DTYPE_I64);
}

static void test_a_configuration_says_what_names_do_not(void **state)
{
    static const char *const others[] = { "",
                                          "{",
                                          "[1]",
                                          "{\"quant_method\": \"gptq\"}",
                                          "{\"quantization_config\": null}",
                                          "{\"quantization_config\": [\"quant_method\"]}",
                                          "{\"quantization_config\": {\"bits\": 4}}" };
    (void)state;
    config = "{\"a\": [{}], \"quantization_config\": {\"bits\": 2, \"quant_method\": \"aqlm\"}}";
    assert_int_equal(CODED({ "a.codes", "I16" }, { "a.codebooks", "F16" }), MMH_DTYPE_U8);
    assert_int_equal(CODED({ "a.qweight", "I32" }, { "b.scales", "F16" }), MMH_DTYPE_U8);
    assert_int_equal(CODED({ "position_ids", "I64" }, { "a.weight", "F32" }), MMH_DTYPE_I64);
    for (size_t i = 0; i < MMH_COUNT_OF(others); i++) {
        config = others[i];
        assert_int_equal(CODED({ "a.codes", "I16" }, { "a.codebooks", "F16" }), MMH_DTYPE_I16);
    }
    config = NULL;
    assert_int_equal(CODED({ "a.codes", "I16" }, { "a.codebooks", "F16" }), MMH_DTYPE_I16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packed_weights_are_bytes_if_scales_are_there),
        cmocka_unit_test(test_other_integers_stay_what_they_are),
        cmocka_unit_test(test_a_configuration_says_what_names_do_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
