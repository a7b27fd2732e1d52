/*
 * Promises of TensorFlow.js manifests: weights are where its loader finds them, whatever a manifest says.
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
#include "format/format.h"
#include "map_check.h"

/* A manifest, the map of it, and the tensors of other files as text. */
struct subject {
    struct mmh_arena arena;
    struct mmh_extent_map map;
    char text[4096];
};

/* "f24" has 24 bytes; other files are not there. */
static mmh_status bytes_beside(void *context, const char *name, uint64_t *bytes, mmh_error *err)
{
    (void)context;
    if (name[0] != 'f')
        return mmh_fail(err, MMH_E_IO, "there is no \"%s\"", name);
    *bytes = strtoull(name + 1, NULL, 10);
    return MMH_OK;
}

static void map_bytes(struct subject *s, const char *name, const void *data, size_t bytes)
{
    mmh_source source = mmh_source_of_memory(data, bytes, name);
    struct mmh_format_options options = { .bytes_beside = bytes_beside };
    mmh_error err = { 0 };
    mmh_arena_init(&s->arena, NULL);
    mmh_extent_map_init(&s->map, &s->arena, bytes);
    if (mmh_format_detect_and_map(&s->map, &source, &options, &err))
        fail_msg("%s", err.message);
    const char *problem = map_problem(&s->map);
    if (problem)
        fail_msg("%s", problem);
}

static void map(struct subject *s, const char *name, const char *manifest)
{
    size_t used = 0;
    map_bytes(s, name, manifest, strlen(manifest));
    s->text[0] = '\0';
    for (size_t i = 0; i < s->map.elsewhere_count; i++) {
        const struct mmh_map_elsewhere *told = &s->map.elsewhere[i];
        used += (size_t)snprintf(s->text + used, sizeof s->text - used, "%s: %s%s %s [", told->file,
                                 told->tensor.name, told->tensor.role == MMH_MAP_STORAGE ? "*" : "",
                                 mmh_dtype_name(told->tensor.dtype));
        for (uint32_t d = 0; d < told->tensor.dimensions; d++)
            used += (size_t)snprintf(s->text + used, sizeof s->text - used, "%s%llu", d ? "," : "",
                                     (unsigned long long)told->tensor.shape[d]);
        used += (size_t)snprintf(s->text + used, sizeof s->text - used, "] %llu\n",
                                 (unsigned long long)told->tensor.offset);
    }
}

static void assert_told(const char *name, const char *manifest, const char *expected)
{
    struct subject s;
    map(&s, name, manifest);
    assert_string_equal(s.text, expected);
    assert_int_equal(s.map.format, MMH_FORMAT_TFJS);
    mmh_arena_release(&s.arena);
}

#define WEIGHT(name, dtype, shape) \
    "{\"name\":\"" name "\",\"dtype\":\"" dtype "\",\"shape\":[" shape "]}"
#define QUANTIZED(name, dtype, shape)                                     \
    "{\"name\":\"" name "\",\"dtype\":\"float32\",\"shape\":[" shape "]," \
    "\"quantization\":{\"min\":-1.5,\"scale\":0.01,\"dtype\":\"" dtype "\"}}"

static void test_weights_lie_one_after_another(void **state)
{
    (void)state;
    assert_told(
        "m/a-weights_manifest.json",
        "[{\"paths\":[\"w.bin\"],\"weights\":[" WEIGHT("a", "float32", "2,3") "," WEIGHT(
            "b", "int32",
            "") "," QUANTIZED("c", "uint8",
                              "5") "," QUANTIZED("d", "uint16",
                                                 "2") "," QUANTIZED("e", "float16",
                                                                    "1") "," WEIGHT("f", "bool",
                                                                                    "3") "," WEIGHT("g",
                                                                                                    "complex64",
                                                                                                    "1") "]}]",
        "w.bin: a F32 [2,3] 0\nw.bin: b I32 [] 24\nw.bin: c U8 [5] 28\n"
        "w.bin: d U16 [2] 33\nw.bin: e F16 [1] 37\nw.bin: f BOOL [3] 39\n"
        "w.bin: g C64 [1] 42\n");
}

static void test_model_json_and_keys_in_any_order(void **state)
{
    (void)state;
    assert_told("model.json",
                "{\"modelTopology\":{\"x\":[1]},\"weightsManifest\":[{\"weights\":[" WEIGHT(
                    "a", "int32", "1") "],\"more\":{},\"paths\":[\"sub/w.bin\"]},"
                                       "{\"paths\":[\"v.bin\"],\"weights\":[" WEIGHT("b", "int32",
                                                                                     "1") "]}]}",
                "sub/w.bin: a I32 [1] 0\nv.bin: b I32 [1] 0\n");
}

/* What lies across files is no tensor; its whole elements are numbers all the same. */
static void test_weights_across_files_are_pieces(void **state)
{
    (void)state;
    assert_told(
        "weights_manifest.json",
        "[{\"paths\":[\"f10\",\"f0\",\"f3\",\"f9\",\"f99\"],\"weights\":[" WEIGHT(
            "a", "int32", "2") "," WEIGHT("b", "int32", "4") "," WEIGHT("c", "bool", "1") "]}]",
        "f10: a I32 [2] 0\nf9: b* I32 [1] 3\nf99: c BOOL [1] 2\n");
}

static void test_behind_what_has_no_size_nothing_is_known(void **state)
{
    (void)state;
    assert_told("weights_manifest.json",
                "[{\"paths\":[\"w\"],\"weights\":[" WEIGHT("a", "bool", "1") "," WEIGHT(
                    "s", "string",
                    "2") "," WEIGHT("b", "bool",
                                    "1") "]},"
                                         "{\"paths\":[\"lost\",\"v\"],\"weights\":[" WEIGHT(
                                             "c", "bool",
                                             "1") "]},"
                                                  "{\"paths\":[\"x\"],\"weights\":[" WEIGHT(
                                                      "d", "int32", "4294967296,4294967296") "]}]",
                "w: a BOOL [1] 0\n");
}

static void test_other_json_is_no_manifest(void **state)
{
    static const struct {
        const char *name, *text;
    } files[] = {
        { "weights_manifest.json", "[" },
        { "weights_manifest.json", "[7]" },
        { "weights_manifest.json", "[{\"paths\":[7]}]" },
        { "weights_manifest.json", "[{\"paths\":[\"../w\"]}]" },
        { "weights_manifest.json", "[{\"paths\":[\"/w\",\"a\",\"b\"]}]" },
        { "weights_manifest.json", "[{\"paths\":7}]" },
        { "model.json", "{}" },
        { "model.json", "{\"weightsManifest\":{}}" },
        { "model.json", "{\"class_name\":\"Model\"}" },
        { "other.json", "[{\"paths\":[\"w\"]}]" },
    };
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(files); i++) {
        struct subject s;
        map(&s, files[i].name, files[i].text);
        assert_string_equal(s.text, "");
        assert_int_equal(s.map.format, MMH_FORMAT_OPAQUE);
        mmh_arena_release(&s.arena);
    }
}

static void test_files_that_belong_to_a_manifest_are_listed(void **state)
{
    static const char text[] = "[{\"paths\":[\"b\",\"a\",\"sub/c\"],\"weights\":[]},"
                               "{\"paths\":[\"a\"],\"weights\":[" WEIGHT("w", "int32", "1") "]}]";
    struct mmh_arena arena;
    const char *const *files;
    size_t count;
    mmh_source source = mmh_source_of_memory(text, sizeof text - 1, "weights_manifest.json");
    (void)state;
    mmh_arena_init(&arena, NULL);
    assert_int_equal(mmh_format_companions(&files, &count, &arena, &source, NULL), MMH_OK);
    assert_int_equal(count, 3);
    assert_string_equal(files[0], "a");
    assert_string_equal(files[1], "b");
    assert_string_equal(files[2], "sub/c");
    mmh_arena_release(&arena);
}

static void test_manifests_changed_anywhere_do_no_harm(void **state)
{
    static const char text[] =
        "[{\"paths\":[\"f10\",\"f3\",\"w\"],\"weights\":[" WEIGHT("a", "int32", "4") "," QUANTIZED(
            "b", "uint16", "9,2") "]},{\"weights\":[" WEIGHT("c", "string", "1") "],\"paths\":[]}]";
    static const uint8_t changes[] = { 0xff, 0x01, 0x80 };
    char changed[sizeof text];
    (void)state;
    for (size_t i = 0; i < 4 * (sizeof text - 1); i++) {
        struct subject s;
        size_t at = i / 4;
        memcpy(changed, text, sizeof text);
        if (i % 4 < 3)
            changed[at] = (char)((uint8_t)changed[at] ^ changes[i % 4]);
        map_bytes(&s, "weights_manifest.json", changed, i % 4 == 3 ? at : sizeof text - 1);
        mmh_arena_release(&s.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights_lie_one_after_another),
        cmocka_unit_test(test_model_json_and_keys_in_any_order),
        cmocka_unit_test(test_weights_across_files_are_pieces),
        cmocka_unit_test(test_behind_what_has_no_size_nothing_is_known),
        cmocka_unit_test(test_other_json_is_no_manifest),
        cmocka_unit_test(test_files_that_belong_to_a_manifest_are_listed),
        cmocka_unit_test(test_manifests_changed_anywhere_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
