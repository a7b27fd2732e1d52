/*
 * The tensor room's promises: element types, and extent maps that tile every file.
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
#include "map_check.h"
#include "tensor/extent.h"

static uint64_t random_state = 0x9e3779b97f4a7c15u;

static uint64_t random_below(uint64_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % limit;
}

static void assert_map_good(const struct mmh_extent_map *map)
{
    const char *problem = map_problem(map);
    if (problem)
        fail_msg("%s", problem);
}

/* ---- element types ---- */

static void test_every_dtype_has_a_name_that_finds_it(void **state)
{
    (void)state;
    for (int i = 0; i < MMH_DTYPE_COUNT; i++) {
        mmh_dtype dtype = (mmh_dtype)i;
        const char *name = mmh_dtype_name(dtype);
        assert_non_null(name);
        assert_int_equal(mmh_dtype_find(name, strlen(name)), dtype);
        assert_true(mmh_dtype_known(dtype));
        assert_int_equal(mmh_dtype_bits(dtype) == 0, mmh_dtype_is_block(dtype));
        char lower[32] = { 0 };
        for (size_t c = 0; name[c]; c++)
            lower[c] = (char)(name[c] | (name[c] >= 'A' && name[c] <= 'Z' ? 0x20 : 0));
        assert_int_equal(mmh_dtype_find(lower, strlen(lower)), dtype);
    }
    assert_null(mmh_dtype_name(MMH_DTYPE_COUNT));
    assert_null(mmh_dtype_name((mmh_dtype)-1));
    assert_int_equal(mmh_dtype_bits((mmh_dtype)200), 0);
}

static void test_codecs_see_scalars_of_1_2_4_or_8_bytes(void **state)
{
    (void)state;
    for (int i = 0; i < MMH_DTYPE_COUNT; i++) {
        mmh_dtype scalar = mmh_dtype_scalar((mmh_dtype)i);
        unsigned bytes = mmh_dtype_scalar_bytes((mmh_dtype)i);
        assert_int_equal(mmh_dtype_scalar(scalar), scalar);
        assert_true(bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8);
        assert_int_equal(mmh_dtype_bits(scalar), 8 * bytes);
    }
    assert_int_equal(mmh_dtype_scalar(MMH_DTYPE_C64), MMH_DTYPE_F32);
    assert_int_equal(mmh_dtype_scalar(MMH_DTYPE_C128), MMH_DTYPE_F64);
    assert_int_equal(mmh_dtype_scalar(MMH_DTYPE_F4), MMH_DTYPE_U8);
    assert_int_equal(mmh_dtype_scalar(MMH_DTYPE_BF16), MMH_DTYPE_BF16);
    assert_int_equal(mmh_dtype_scalar((mmh_dtype)77), MMH_DTYPE_OPAQUE);
}

static void test_dtypes_answer_to_the_names_of_numpy_and_torch(void **state)
{
    static const struct {
        const char *name;
        mmh_dtype dtype;
    } names[] = {
        { "bfloat16", MMH_DTYPE_BF16 },   { "Float32", MMH_DTYPE_F32 },
        { "half", MMH_DTYPE_F16 },        { "uint8", MMH_DTYPE_U8 },
        { "int64", MMH_DTYPE_I64 },       { "float8_e4m3fn", MMH_DTYPE_F8_E4M3 },
        { "complex128", MMH_DTYPE_C128 }, { "bf1", MMH_DTYPE_COUNT },
        { "bf166", MMH_DTYPE_COUNT },     { "", MMH_DTYPE_COUNT },
    };
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(names); i++)
        assert_int_equal(mmh_dtype_find(names[i].name, strlen(names[i].name)), names[i].dtype);
    assert_int_equal(mmh_dtype_find("f16\0", 4), MMH_DTYPE_COUNT);
    assert_int_equal(mmh_dtype_find("f16xyz", 3), MMH_DTYPE_F16); /* name_bytes, not the NUL */
}

static void test_shape_bytes_never_overflow(void **state)
{
    static const uint64_t huge[] = { 1ull << 33, 1ull << 33 };
    static const uint64_t empty[] = { 1ull << 40, 1ull << 40, 0 };
    static const uint64_t odd[] = { 3 };
    static const uint64_t most[] = { UINT64_MAX };
    uint64_t bytes = 7;
    (void)state;
    assert_false(mmh_shape_bytes(&bytes, MMH_DTYPE_U8, 2, huge));
    assert_false(mmh_shape_bytes(&bytes, MMH_DTYPE_F32, 1, most));
    assert_false(mmh_shape_bytes(&bytes, MMH_DTYPE_COUNT, 1, odd));
    assert_false(mmh_shape_bytes(&bytes, MMH_DTYPE_COUNT, 3, empty));
    assert_true(mmh_shape_bytes(&bytes, MMH_DTYPE_F32, 3, empty) && bytes == 0);
    assert_true(mmh_shape_bytes(&bytes, MMH_DTYPE_F64, 0, NULL) && bytes == 8);
    assert_true(mmh_shape_bytes(&bytes, MMH_DTYPE_F4, 1, odd) && bytes == 2);
    assert_true(mmh_shape_bytes(&bytes, MMH_DTYPE_F6_E2M3, 1, odd) && bytes == 3);
    assert_true(mmh_shape_bytes(&bytes, MMH_DTYPE_U8, 1, most) && bytes == UINT64_MAX);
    assert_true(mmh_shape_bytes(&bytes, MMH_DTYPE_U4, 1, most) && bytes == 1ull << 63);
    assert_true(mmh_shape_bytes(&bytes, MMH_DTYPE_F6_E3M2, 1, most) &&
                bytes == 0xc000000000000000u);
}

/* Block types have whole bytes and elements; for the others a block is an element. */
static void test_blocks_are_as_ggml_has_them(void **state)
{
    static const struct {
        mmh_dtype dtype;
        unsigned elements, bytes;
    } blocks[] = {
        { MMH_DTYPE_Q4_0, 32, 18 },     { MMH_DTYPE_Q4_1, 32, 20 },
        { MMH_DTYPE_Q5_0, 32, 22 },     { MMH_DTYPE_Q5_1, 32, 24 },
        { MMH_DTYPE_Q8_0, 32, 34 },     { MMH_DTYPE_Q8_1, 32, 36 },
        { MMH_DTYPE_Q2_K, 256, 84 },    { MMH_DTYPE_Q3_K, 256, 110 },
        { MMH_DTYPE_Q4_K, 256, 144 },   { MMH_DTYPE_Q5_K, 256, 176 },
        { MMH_DTYPE_Q6_K, 256, 210 },   { MMH_DTYPE_Q8_K, 256, 292 },
        { MMH_DTYPE_IQ2_XXS, 256, 66 }, { MMH_DTYPE_IQ2_XS, 256, 74 },
        { MMH_DTYPE_IQ2_S, 256, 82 },   { MMH_DTYPE_IQ3_XXS, 256, 98 },
        { MMH_DTYPE_IQ3_S, 256, 110 },  { MMH_DTYPE_IQ1_S, 256, 50 },
        { MMH_DTYPE_IQ1_M, 256, 56 },   { MMH_DTYPE_IQ4_NL, 32, 18 },
        { MMH_DTYPE_IQ4_XS, 256, 136 }, { MMH_DTYPE_TQ1_0, 256, 54 },
        { MMH_DTYPE_TQ2_0, 256, 66 },   { MMH_DTYPE_MXFP4, 32, 17 },
        { MMH_DTYPE_NVFP4, 64, 36 },    { MMH_DTYPE_Q1_0, 128, 18 },
    };
    unsigned bytes = 77, block_types = 0;
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(blocks); i++) {
        assert_int_equal(mmh_dtype_block(blocks[i].dtype, &bytes), blocks[i].elements);
        assert_int_equal(bytes, blocks[i].bytes);
    }
    for (int i = 0; i < MMH_DTYPE_COUNT; i++) {
        unsigned bits = mmh_dtype_bits((mmh_dtype)i);
        block_types += mmh_dtype_is_block((mmh_dtype)i);
        if (mmh_dtype_is_block((mmh_dtype)i))
            continue;
        assert_int_equal(mmh_dtype_block((mmh_dtype)i, &bytes), bits % 8 == 0);
        assert_int_equal(bytes, bits % 8 ? 0 : bits / 8);
    }
    assert_int_equal(block_types, MMH_COUNT_OF(blocks));
    assert_int_equal(mmh_dtype_block(MMH_DTYPE_COUNT, &bytes), 0);
    assert_int_equal(bytes, 0);
}

static void test_shapes_of_block_types_are_whole_blocks(void **state)
{
    static const uint64_t rows[] = { 2, 512 }, part[] = { 100 }, empty[] = { 0, 100 };
    static const uint64_t most[] = { 1ull << 63 }, over[] = { UINT64_MAX - 31 };
    uint64_t bytes = 7;
    double value;
    (void)state;
    assert_true(mmh_shape_bytes(&bytes, MMH_DTYPE_Q4_K, 2, rows) && bytes == 4 * 144);
    assert_true(mmh_shape_bytes(&bytes, MMH_DTYPE_Q4_K, 2, empty) && bytes == 0);
    assert_false(mmh_shape_bytes(&bytes, MMH_DTYPE_Q4_K, 1, part));
    assert_false(mmh_shape_bytes(&bytes, MMH_DTYPE_Q4_0, 0, NULL));
    assert_true(mmh_shape_bytes(&bytes, MMH_DTYPE_Q4_0, 1, most) && bytes == 18ull << 58);
    assert_false(mmh_shape_bytes(&bytes, MMH_DTYPE_Q8_0, 1, over));
    assert_int_equal(mmh_dtype_values(MMH_DTYPE_Q4_K), 0);
    assert_int_equal(mmh_values(&value, rows, sizeof rows, MMH_DTYPE_Q4_K, 0, 1, NULL),
                     MMH_E_UNSUPPORTED);
}

/* ---- maps ---- */

static const uint64_t shapes[][3] = { { 4 }, { 2, 3 }, { 0, 5 }, { 1 }, { 7 } };

/* A U8 tensor of one dimension. */
static void add(struct mmh_extent_map *map, const char *name, uint64_t offset,
                const uint64_t *elements)
{
    struct mmh_map_tensor tensor = { .name = name,
                                     .dtype = MMH_DTYPE_U8,
                                     .dimensions = 1,
                                     .shape = elements,
                                     .offset = offset,
                                     .bytes = *elements };
    assert_int_equal(mmh_extent_map_add(map, &tensor, NULL), MMH_OK);
}

static void test_map_of_a_file_without_tensors_is_one_opaque_extent(void **state)
{
    struct mmh_arena arena;
    struct mmh_extent_map map;
    (void)state;
    mmh_arena_init(&arena, NULL);
    mmh_extent_map_init(&map, &arena, 1000);
    assert_int_equal(mmh_extent_map_finish(&map, NULL), MMH_OK);
    assert_map_good(&map);
    assert_int_equal(map.extent_count, 1);
    mmh_extent_map_init(&map, &arena, 0);
    assert_int_equal(mmh_extent_map_finish(&map, NULL), MMH_OK);
    assert_map_good(&map);
    assert_int_equal(map.extent_count, 0);
    mmh_arena_release(&arena);
}

static void test_map_sorts_and_fills_gaps(void **state)
{
    struct mmh_arena arena;
    struct mmh_extent_map map;
    (void)state;
    mmh_arena_init(&arena, NULL);
    mmh_extent_map_init(&map, &arena, 30);
    add(&map, "c", 20, &shapes[0][0]);
    add(&map, "a", 3, &shapes[0][0]);
    add(&map, "b", 7, &shapes[0][0]);
    assert_int_equal(mmh_extent_map_finish(&map, NULL), MMH_OK);
    assert_map_good(&map);
    assert_int_equal(map.extent_count, 6); /* gap a b gap c gap */
    assert_string_equal(map.extents[1].name, "a");
    assert_string_equal(map.extents[2].name, "b");
    assert_string_equal(map.extents[4].name, "c");
    assert_int_equal(map.extents[5].offset, 24);
    assert_int_equal(map.remark_count, 0);
    mmh_arena_release(&arena);
}

static void test_map_keeps_every_name_of_tied_tensors(void **state)
{
    static const uint64_t two = 2;
    struct mmh_map_tensor wide = { .name = "tied.wide",
                                   .dtype = MMH_DTYPE_U16,
                                   .dimensions = 1,
                                   .shape = &two,
                                   .offset = 8,
                                   .bytes = 4 };
    struct mmh_arena arena;
    struct mmh_extent_map map;
    (void)state;
    mmh_arena_init(&arena, NULL);
    mmh_extent_map_init(&map, &arena, 12);
    add(&map, "embed", 8, &shapes[0][0]);
    add(&map, "head", 8, &shapes[0][0]);
    assert_int_equal(mmh_extent_map_add(&map, &wide, NULL), MMH_OK);
    assert_int_equal(mmh_extent_map_finish(&map, NULL), MMH_OK);
    assert_map_good(&map);
    assert_int_equal(map.extent_count, 2);
    assert_int_equal(map.extents[1].owner_count, 3);
    assert_int_equal(map.extents[1].dtype, MMH_DTYPE_U8); /* as the first says */
    assert_string_equal(map.tensors[0].name, "embed");
    assert_string_equal(map.tensors[1].name, "head");
    assert_int_equal(map.tensors[2].dtype, MMH_DTYPE_U16);
    mmh_arena_release(&arena);
}

static void test_map_leaves_out_what_overlaps(void **state)
{
    struct mmh_arena arena;
    struct mmh_extent_map map;
    (void)state;
    mmh_arena_init(&arena, NULL);
    mmh_extent_map_init(&map, &arena, 20);
    add(&map, "late", 6, &shapes[0][0]);
    add(&map, "short", 4, &shapes[3][0]);
    add(&map, "long", 4, &shapes[0][0]);
    add(&map, "none", 5, &shapes[2][0]); /* no bytes: overlaps nothing */
    assert_int_equal(mmh_extent_map_finish(&map, NULL), MMH_OK);
    assert_map_good(&map);
    assert_int_equal(map.extent_count, 3);
    assert_string_equal(map.extents[1].name, "long");
    assert_int_equal(map.tensor_count, 2);
    assert_int_equal(map.remark_count, 2);
    mmh_arena_release(&arena);
}

static void test_map_leaves_out_what_cannot_be(void **state)
{
    static const uint64_t ones[65] = { 1 };
    static const uint64_t huge[] = { 1ull << 33, 1ull << 33 };
    static const uint64_t four = 4;
    const struct mmh_map_tensor wrong[] = {
        { .name = "opaque",
          .dtype = MMH_DTYPE_OPAQUE,
          .dimensions = 1,
          .shape = &four,
          .bytes = 4 },
        { .name = "no type",
          .dtype = MMH_DTYPE_COUNT,
          .dimensions = 1,
          .shape = &four,
          .bytes = 4 },
        { .name = "rank", .dtype = MMH_DTYPE_U8, .dimensions = 65, .shape = ones, .bytes = 0 },
        { .name = "size", .dtype = MMH_DTYPE_U8, .dimensions = 1, .shape = &four, .bytes = 5 },
        { .name = "wide", .dtype = MMH_DTYPE_U16, .dimensions = 1, .shape = &four, .bytes = 4 },
        { .name = "huge", .dtype = MMH_DTYPE_U8, .dimensions = 2, .shape = huge, .bytes = 4 },
        { .name = "end",
          .dtype = MMH_DTYPE_U8,
          .dimensions = 1,
          .shape = &four,
          .offset = 97,
          .bytes = 4 },
        { .name = "wrap",
          .dtype = MMH_DTYPE_U8,
          .dimensions = 1,
          .shape = &four,
          .offset = UINT64_MAX - 1,
          .bytes = 4 },
        { .name = "nothing past the end",
          .dtype = MMH_DTYPE_U8,
          .dimensions = 2,
          .shape = shapes[2],
          .offset = 101 },
    };
    struct mmh_arena arena;
    struct mmh_extent_map map;
    (void)state;
    mmh_arena_init(&arena, NULL);
    mmh_extent_map_init(&map, &arena, 100);
    for (size_t i = 0; i < MMH_COUNT_OF(wrong); i++) {
        assert_int_equal(mmh_extent_map_add(&map, &wrong[i], NULL), MMH_OK);
        assert_int_equal(map.remark_count, i + 1);
        assert_non_null(strstr(map.remarks[i], wrong[i].name));
    }
    assert_int_equal(mmh_extent_map_finish(&map, NULL), MMH_OK);
    assert_map_good(&map);
    assert_int_equal(map.extent_count, 1);
    assert_int_equal(map.tensor_count, 0);
    mmh_arena_release(&arena);
}

static void test_map_keeps_rank_64_and_tensors_without_bytes(void **state)
{
    uint64_t deep[64];
    for (size_t i = 0; i < 64; i++)
        deep[i] = i % 16 == 15 ? 2 : 1;
    struct mmh_map_tensor tensor = { .name = "deep",
                                     .dtype = MMH_DTYPE_F32,
                                     .dimensions = 64,
                                     .shape = deep,
                                     .offset = 0,
                                     .bytes = 64 };
    struct mmh_map_tensor scalar = {
        .name = "scalar", .dtype = MMH_DTYPE_F64, .offset = 64, .bytes = 8
    };
    struct mmh_arena arena;
    struct mmh_extent_map map;
    (void)state;
    mmh_arena_init(&arena, NULL);
    mmh_extent_map_init(&map, &arena, 72);
    add(&map, "none at the end", 72, &shapes[2][0]);
    assert_int_equal(mmh_extent_map_add(&map, &scalar, NULL), MMH_OK);
    assert_int_equal(mmh_extent_map_add(&map, &tensor, NULL), MMH_OK);
    add(&map, "none", 0, &shapes[2][0]);
    assert_int_equal(mmh_extent_map_finish(&map, NULL), MMH_OK);
    assert_map_good(&map);
    assert_int_equal(map.remark_count, 0);
    assert_int_equal(map.extent_count, 2);
    assert_int_equal(map.tensor_count, 4);
    assert_string_equal(map.tensors[0].name, "none");
    assert_string_equal(map.tensors[3].name, "none at the end");
    assert_int_equal(map.extents[0].dimensions, 64);
    mmh_arena_release(&arena);
}

static void test_remarks_are_bounded_and_whole_characters(void **state)
{
    struct mmh_arena arena;
    struct mmh_extent_map map;
    char name[401];
    (void)state;
    for (size_t i = 0; i < 400; i += 2)
        memcpy(name + i, "\xc3\xa9", 2); /* é */
    name[400] = '\0';
    mmh_arena_init(&arena, NULL);
    mmh_extent_map_init(&map, &arena, 10);
    memmove(name, name + 1, 400); /* so that the cut falls inside a character */
    name[0] = 'x';
    for (int i = 0; i < 1000; i++)
        add(&map, name, 100, &shapes[0][0]);
    assert_int_equal(map.remark_count, 1000);
    for (size_t i = 0; i < MMH_MAP_REMARKS_MAX; i++) {
        const char *cut = strstr(map.remarks[i], "\" reaches past");
        assert_non_null(cut);
        assert_true(cut[-1] == '\xa9' && cut[-2] == '\xc3');
    }
    assert_int_equal(mmh_extent_map_finish(&map, NULL), MMH_OK);
    assert_map_good(&map);
    mmh_arena_release(&arena);
}

static void test_map_remarks_on_equal_names(void **state)
{
    struct mmh_arena arena;
    struct mmh_extent_map map;
    (void)state;
    mmh_arena_init(&arena, NULL);
    mmh_extent_map_init(&map, &arena, 20);
    add(&map, "a", 0, &shapes[0][0]);
    add(&map, "b", 4, &shapes[0][0]);
    add(&map, "a", 8, &shapes[0][0]);
    assert_int_equal(mmh_extent_map_finish(&map, NULL), MMH_OK);
    assert_map_good(&map);
    assert_int_equal(map.tensor_count, 3);
    assert_int_equal(map.remark_count, 1);
    assert_string_equal(map.remarks[0], "two tensors are called \"a\"");
    mmh_arena_release(&arena);
}

static void test_discard_forgets_all_but_remarks(void **state)
{
    struct mmh_arena arena;
    struct mmh_extent_map map;
    (void)state;
    mmh_arena_init(&arena, NULL);
    mmh_extent_map_init(&map, &arena, 20);
    struct mmh_map_mark mark = mmh_extent_map_mark(&map);
    add(&map, "a", 0, &shapes[0][0]);
    assert_int_equal(mmh_extent_map_add_metadata(&map, "k", "v", NULL), MMH_OK);
    mmh_extent_map_remark(&map, "odd");
    mmh_extent_map_discard(&map, &mark);
    assert_int_equal(mmh_extent_map_add_metadata(&map, "first", "1", NULL), MMH_OK);
    assert_int_equal(mmh_extent_map_add_metadata(&map, "second", "2", NULL), MMH_OK);
    assert_int_equal(mmh_extent_map_finish(&map, NULL), MMH_OK);
    assert_map_good(&map);
    assert_int_equal(map.tensor_count, 0);
    assert_int_equal(map.metadata_count, 2);
    assert_string_equal(map.metadata[0].key, "first");
    assert_string_equal(map.metadata[1].value, "2");
    assert_int_equal(map.remark_count, 1);
    mmh_arena_release(&arena);
}

/* As mmh_extent_map_finish sets both. */
static void set_type(struct mmh_extent *extent, mmh_dtype dtype)
{
    extent->dtype = dtype;
    extent->coded = mmh_dtype_scalar(dtype);
}

static void test_hint_is_in_memory_order_and_in_scalars(void **state)
{
    static const uint64_t matrix[] = { 6, 8 };
    static const uint64_t many[] = { 2, 3, 1, 5, 1, 1, 2, 2, 4, 7 };
    static const uint64_t blocks[] = { 3, 512 };
    struct mmh_extent extent = { .dimensions = 2, .shape = matrix };
    uint64_t hint[MMH_HINT_DIMENSIONS];
    (void)state;
    set_type(&extent, MMH_DTYPE_F32);
    assert_int_equal(mmh_extent_hint(hint, &extent), 2);
    assert_true(hint[0] == 6 && hint[1] == 8);
    extent.column_major = true;
    assert_int_equal(mmh_extent_hint(hint, &extent), 2);
    assert_true(hint[0] == 8 && hint[1] == 6);
    set_type(&extent, MMH_DTYPE_F6_E2M3); /* 6 of 6 bits end inside a byte */
    assert_int_equal(mmh_extent_hint(hint, &extent), 0);
    extent.column_major = false;
    assert_int_equal(mmh_extent_hint(hint, &extent), 2);
    assert_true(hint[0] == 6 && hint[1] == 6);
    set_type(&extent, MMH_DTYPE_F4);
    assert_int_equal(mmh_extent_hint(hint, &extent), 2);
    assert_true(hint[0] == 6 && hint[1] == 4);
    set_type(&extent, MMH_DTYPE_C64);
    assert_int_equal(mmh_extent_hint(hint, &extent), 2);
    assert_true(hint[0] == 6 && hint[1] == 16);
    set_type(&extent, MMH_DTYPE_I32);
    extent.coded = MMH_DTYPE_U8; /* packed nibbles */
    assert_int_equal(mmh_extent_hint(hint, &extent), 2);
    assert_true(hint[0] == 6 && hint[1] == 32);
    extent = (struct mmh_extent){ .dimensions = 2, .shape = blocks };
    set_type(&extent, MMH_DTYPE_Q4_K);
    assert_int_equal(mmh_extent_hint(hint, &extent), 2);
    assert_true(hint[0] == 3 && hint[1] == 288); /* two blocks of 144 bytes */
    extent.column_major = true;                  /* rows of 3 are no whole blocks */
    assert_int_equal(mmh_extent_hint(hint, &extent), 0);
    extent = (struct mmh_extent){ .dimensions = 10, .shape = many };
    set_type(&extent, MMH_DTYPE_U8);
    assert_int_equal(mmh_extent_hint(hint, &extent), 8);
    assert_true(hint[0] == 6 && hint[1] == 5 && hint[6] == 4 && hint[7] == 7);
    extent.dimensions = 0;
    assert_int_equal(mmh_extent_hint(hint, &extent), 0);
}

/* ---- views and storages ---- */

static mmh_status add_as(struct mmh_extent_map *map, const char *name, enum mmh_map_role role,
                         mmh_dtype dtype, uint64_t offset, const uint64_t *elements)
{
    struct mmh_map_tensor tensor = { .name = name,
                                     .dtype = dtype,
                                     .role = (uint8_t)role,
                                     .dimensions = 1,
                                     .shape = elements,
                                     .offset = offset };
    assert_true(mmh_shape_bytes(&tensor.bytes, dtype, 1, elements));
    return mmh_extent_map_add(map, &tensor, NULL);
}

/* Views may lie anywhere, over each other and over what owns the bytes: they change no extent. A
 * storage makes one, and is not listed. */
static void test_views_are_listed_and_storages_own_bytes(void **state)
{
    struct mmh_arena arena;
    struct mmh_extent_map map;
    (void)state;
    mmh_arena_init(&arena, NULL);
    mmh_extent_map_init(&map, &arena, 40);
    assert_int_equal(add_as(&map, "v.all", MMH_MAP_VIEW, MMH_DTYPE_F32, 8, &shapes[4][0]), MMH_OK);
    assert_int_equal(add_as(&map, "v.odd", MMH_MAP_VIEW, MMH_DTYPE_F32, 10, &shapes[3][0]), MMH_OK);
    assert_int_equal(add_as(&map, "v.past", MMH_MAP_VIEW, MMH_DTYPE_U8, 34, &shapes[4][0]), MMH_OK);
    assert_int_equal(add_as(&map, "s", MMH_MAP_STORAGE, MMH_DTYPE_F32, 8, &shapes[4][0]), MMH_OK);
    assert_int_equal(add_as(&map, "v.free", MMH_MAP_VIEW, MMH_DTYPE_U8, 0, &shapes[0][0]), MMH_OK);
    assert_int_equal(mmh_extent_map_finish(&map, NULL), MMH_OK);
    assert_map_good(&map);
    assert_int_equal(map.extent_count, 3); /* before, the storage, behind */
    assert_int_equal(map.extents[1].dtype, MMH_DTYPE_F32);
    assert_int_equal(map.extents[1].coded, MMH_DTYPE_F32);
    assert_int_equal(map.extents[1].bytes, 28);
    assert_string_equal(map.extents[1].name, "s");
    assert_int_equal(map.tensor_count, 3);
    assert_string_equal(map.tensors[0].name, "v.free");
    assert_string_equal(map.tensors[1].name, "v.all");
    assert_string_equal(map.tensors[2].name, "v.odd");
    assert_int_equal(map.remark_count, 1);
    assert_non_null(strstr(map.remarks[0], "v.past"));
    mmh_arena_release(&arena);
}

static void test_a_tensor_says_how_codecs_see_it(void **state)
{
    struct mmh_map_tensor packed = { .name = "qweight",
                                     .dtype = MMH_DTYPE_I32,
                                     .coded = MMH_DTYPE_U8,
                                     .dimensions = 1,
                                     .shape = &shapes[0][0],
                                     .bytes = 16 };
    struct mmh_arena arena;
    struct mmh_extent_map map;
    (void)state;
    mmh_arena_init(&arena, NULL);
    mmh_extent_map_init(&map, &arena, 24);
    assert_int_equal(mmh_extent_map_add(&map, &packed, NULL), MMH_OK);
    assert_int_equal(add_as(&map, "c", MMH_MAP_TENSOR, MMH_DTYPE_C64, 16, &shapes[3][0]), MMH_OK);
    assert_int_equal(mmh_extent_map_finish(&map, NULL), MMH_OK);
    assert_map_good(&map);
    assert_int_equal(map.extents[0].dtype, MMH_DTYPE_I32);
    assert_int_equal(map.extents[0].coded, MMH_DTYPE_U8);
    assert_int_equal(map.extents[1].coded, MMH_DTYPE_F32);
    mmh_arena_release(&arena);
}

static void test_strides_reach_from_the_first_to_the_last_element(void **state)
{
    static const uint64_t matrix[] = { 2, 3 }, turned[] = { 1, 2 }, same[] = { 0, 0 };
    static const uint64_t empty[] = { 0, 1ull << 60 }, far[] = { 1ull << 63, 1ull << 63 };
    static const uint64_t most[] = { 1, UINT64_MAX - 2 };
    uint64_t bytes = 7;
    (void)state;
    assert_true(mmh_strides_bytes(&bytes, MMH_DTYPE_F32, 2, matrix, turned) && bytes == 24);
    assert_true(mmh_strides_bytes(&bytes, MMH_DTYPE_F32, 2, matrix, same) && bytes == 4);
    assert_true(mmh_strides_bytes(&bytes, MMH_DTYPE_F64, 0, NULL, NULL) && bytes == 8);
    assert_true(mmh_strides_bytes(&bytes, MMH_DTYPE_F64, 2, empty, far) && bytes == 0);
    assert_false(mmh_strides_bytes(&bytes, MMH_DTYPE_U8, 2, matrix, far));
    assert_false(mmh_strides_bytes(&bytes, MMH_DTYPE_U8, 2, matrix, most));
    assert_false(mmh_strides_bytes(&bytes, MMH_DTYPE_F4, 2, matrix, turned));
    assert_false(mmh_strides_bytes(&bytes, MMH_DTYPE_Q4_0, 2, matrix, turned));
    assert_false(mmh_strides_bytes(&bytes, MMH_DTYPE_COUNT, 2, matrix, turned));
}

static void test_tensors_with_strides_are_views(void **state)
{
    static const uint64_t matrix[] = { 2, 3 }, turned[] = { 1, 2 }, same[] = { 0, 0 };
    static const uint64_t huge[] = { 1ull << 40, 1ull << 40 };
    struct mmh_map_tensor tensor = { .name = "t",
                                     .dtype = MMH_DTYPE_F32,
                                     .dimensions = 2,
                                     .shape = matrix,
                                     .strides = turned,
                                     .offset = 4,
                                     .bytes = 24 };
    struct mmh_arena arena;
    struct mmh_extent_map map;
    (void)state;
    mmh_arena_init(&arena, NULL);
    mmh_extent_map_init(&map, &arena, 28);
    assert_int_equal(mmh_extent_map_add(&map, &tensor, NULL), MMH_OK);
    tensor.bytes = 20; /* not what the strides reach */
    assert_int_equal(mmh_extent_map_add(&map, &tensor, NULL), MMH_OK);
    tensor.strides = same; /* the number of its elements overflows */
    tensor.shape = huge;
    tensor.bytes = 4;
    assert_int_equal(mmh_extent_map_add(&map, &tensor, NULL), MMH_OK);
    assert_int_equal(mmh_extent_map_finish(&map, NULL), MMH_OK);
    assert_map_good(&map);
    assert_int_equal(map.extent_count, 1);
    assert_int_equal(map.extents[0].owner_count, 0);
    assert_int_equal(map.tensor_count, 1);
    assert_int_equal(map.tensors[0].role, MMH_MAP_VIEW);
    assert_ptr_equal(map.tensors[0].strides, turned);
    assert_int_equal(map.remark_count, 2);
    mmh_arena_release(&arena);
}

/* ---- parts of a file, other files ---- */

static void test_parts_count_from_their_first_byte_and_prefix_names(void **state)
{
    struct mmh_map_mark outside, member;
    struct mmh_arena arena;
    struct mmh_extent_map map;
    (void)state;
    mmh_arena_init(&arena, NULL);
    mmh_extent_map_init(&map, &arena, 100);
    add(&map, "top", 0, &shapes[0][0]);
    assert_int_equal(mmh_extent_map_enter(&outside, &map, 10, 50, "a/", NULL), MMH_OK);
    assert_int_equal(map.file_bytes, 50);
    add(&map, "first", 0, &shapes[0][0]);
    add(&map, "past the part", 47, &shapes[0][0]);
    assert_int_equal(mmh_extent_map_enter(&member, &map, 20, 30, "b/", NULL), MMH_OK);
    add(&map, "deep", 26, &shapes[0][0]);
    mmh_extent_map_leave(&map, &member);
    struct mmh_map_mark before = mmh_extent_map_mark(&map);
    add(&map, "forgotten", 8, &shapes[0][0]);
    mmh_extent_map_discard(&map, &before);
    assert_int_equal(mmh_extent_map_enter(&member, &map, 50, 0, NULL, NULL), MMH_OK);
    add(&map, "nothing", 0, &shapes[2][0]);
    mmh_extent_map_leave(&map, &member);
    mmh_extent_map_leave(&map, &outside);
    add(&map, "end", 96, &shapes[0][0]);
    assert_int_equal(map.file_bytes, 100);
    assert_int_equal(mmh_extent_map_finish(&map, NULL), MMH_OK);
    assert_map_good(&map);
    static const struct {
        const char *name;
        uint64_t offset;
    } expected[] = {
        { "top", 0 }, { "a/first", 10 }, { "a/b/deep", 56 }, { "a/nothing", 60 }, { "end", 96 }
    };
    assert_int_equal(map.tensor_count, MMH_COUNT_OF(expected));
    for (size_t i = 0; i < MMH_COUNT_OF(expected); i++) {
        assert_string_equal(map.tensors[i].name, expected[i].name);
        assert_int_equal(map.tensors[i].offset, expected[i].offset);
    }
    assert_int_equal(map.remark_count, 1);
    assert_non_null(strstr(map.remarks[0], "past the part"));
    mmh_arena_release(&arena);
}

static void test_tensors_of_other_files_are_kept_apart(void **state)
{
    struct mmh_map_tensor tensor = { .name = "w",
                                     .dtype = MMH_DTYPE_F32,
                                     .dimensions = 1,
                                     .shape = &shapes[0][0],
                                     .offset = 1ull << 40,
                                     .bytes = 16 };
    struct mmh_map_mark outside;
    struct mmh_arena arena;
    struct mmh_extent_map map;
    (void)state;
    mmh_arena_init(&arena, NULL);
    mmh_extent_map_init(&map, &arena, 10);
    assert_int_equal(mmh_extent_map_add_elsewhere(&map, "data/w.bin", &tensor, NULL), MMH_OK);
    assert_int_equal(mmh_extent_map_enter(&outside, &map, 2, 4, "m/", NULL), MMH_OK);
    tensor.name = "b";
    tensor.offset = 3; /* of that file, wherever this part is */
    assert_int_equal(mmh_extent_map_add_elsewhere(&map, "b.bin", &tensor, NULL), MMH_OK);
    mmh_extent_map_leave(&map, &outside);
    assert_int_equal(mmh_extent_map_add_elsewhere(&map, "../b.bin", &tensor, NULL), MMH_OK);
    tensor.bytes = 15;
    assert_int_equal(mmh_extent_map_add_elsewhere(&map, "b.bin", &tensor, NULL), MMH_OK);
    tensor.bytes = 16;
    tensor.offset = UINT64_MAX - 3;
    assert_int_equal(mmh_extent_map_add_elsewhere(&map, "b.bin", &tensor, NULL), MMH_OK);
    struct mmh_map_mark mark = mmh_extent_map_mark(&map);
    tensor.offset = 0;
    assert_int_equal(mmh_extent_map_add_elsewhere(&map, "forgotten", &tensor, NULL), MMH_OK);
    mmh_extent_map_discard(&map, &mark);
    assert_int_equal(mmh_extent_map_finish(&map, NULL), MMH_OK);
    assert_map_good(&map);
    assert_int_equal(map.tensor_count, 0);
    assert_int_equal(map.elsewhere_count, 2);
    assert_string_equal(map.elsewhere[0].file, "data/w.bin");
    assert_string_equal(map.elsewhere[0].tensor.name, "w");
    assert_string_equal(map.elsewhere[1].tensor.name, "m/b");
    assert_int_equal(map.elsewhere[1].tensor.offset, 3);
    assert_int_equal(map.remark_count, 3);
    assert_non_null(strstr(map.remarks[0], "not safe"));
    mmh_arena_release(&arena);
}

static void test_names_of_other_files_stay_in_their_folder(void **state)
{
    static const char *const safe[] = { "a",       "a.bin",       "...",    "..a",
                                        "a/b c/d", "\xc3\xa9/.x", "a/.../b" };
    static const char *const unsafe[] = { "",     ".",   "..",   "/",    "/a",   "a/",
                                          "a//b", "./a", "a/.",  "../a", "a/..", "a/../b",
                                          "a\\b", "c:",  "c:/a", "a\n",  "\x7f", "\x01/a" };
    char longest[257];
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(safe); i++)
        if (!mmh_map_file_is_safe(safe[i]))
            fail_msg("\"%s\" is refused", safe[i]);
    for (size_t i = 0; i < MMH_COUNT_OF(unsafe); i++)
        if (mmh_map_file_is_safe(unsafe[i]))
            fail_msg("\"%s\" is taken", unsafe[i]);
    memset(longest, 'x', 256);
    longest[256] = '\0';
    assert_false(mmh_map_file_is_safe(longest));
    longest[255] = '\0';
    assert_true(mmh_map_file_is_safe(longest));
}

/* Whatever is added, every byte of the file is in exactly one extent. */
static void test_any_tensors_give_a_map_that_tiles_the_file(void **state)
{
    static const mmh_dtype some[] = { MMH_DTYPE_U8,  MMH_DTYPE_F16, MMH_DTYPE_F32,    MMH_DTYPE_F4,
                                      MMH_DTYPE_C64, MMH_DTYPE_F64, MMH_DTYPE_F6_E2M3 };
    static const enum mmh_map_role roles[] = { MMH_MAP_TENSOR, MMH_MAP_TENSOR, MMH_MAP_VIEW,
                                               MMH_MAP_STORAGE };
    (void)state;
    for (int round = 0; round < 3000; round++) {
        struct mmh_arena arena;
        struct mmh_extent_map map;
        uint64_t file_bytes = random_below(200);
        size_t count = random_below(20);
        mmh_arena_init(&arena, NULL);
        mmh_extent_map_init(&map, &arena, file_bytes);
        for (size_t i = 0; i < count; i++) {
            struct mmh_map_tensor tensor = { .name = i % 3 ? "x" : "y",
                                             .dtype = some[random_below(MMH_COUNT_OF(some))],
                                             .role = (uint8_t)roles[random_below(4)],
                                             .big_endian = random_below(2),
                                             .column_major = random_below(2),
                                             .dimensions = (uint32_t)random_below(4) };
            uint64_t *shape = mmh_arena_array(&arena, 4, sizeof *shape);
            assert_non_null(shape);
            for (size_t d = 0; d < 4; d++)
                shape[d] = random_below(6);
            tensor.shape = shape;
            tensor.offset = random_below(40) * 8 % (file_bytes + 4);
            if (!mmh_shape_bytes(&tensor.bytes, tensor.dtype, tensor.dimensions, shape))
                fail();
            tensor.bytes += !random_below(20);
            assert_int_equal(mmh_extent_map_add(&map, &tensor, NULL), MMH_OK);
        }
        assert_int_equal(mmh_extent_map_finish(&map, NULL), MMH_OK);
        assert_map_good(&map);
        mmh_arena_release(&arena);
    }
}

/* A million tensors, last first, half of them tied: sorted in n log n, memory in proportion. */
static void test_a_million_tensors_are_mapped_quickly(void **state)
{
    enum { COUNT = 1000000 };
    struct mmh_arena arena;
    struct mmh_extent_map map;
    (void)state;
    mmh_arena_init(&arena, NULL);
    mmh_extent_map_init(&map, &arena, 2 * COUNT);
    for (uint64_t i = COUNT; i-- > 0;)
        add(&map, "t", i / 2 * 4, &shapes[0][0]);
    assert_int_equal(mmh_extent_map_finish(&map, NULL), MMH_OK);
    assert_map_good(&map);
    assert_int_equal(map.extent_count, COUNT / 2);
    assert_int_equal(map.tensor_count, COUNT);
    assert_true(arena.used < 300ull * COUNT);
    mmh_arena_release(&arena);
}

/* ---- faults ---- */

static size_t allocations_left;

static void *fail_allocate(void *user, size_t alignment, size_t bytes)
{
    (void)user;
    if (!allocations_left)
        return NULL;
    allocations_left--;
    return mmh_alloc(NULL, alignment, bytes);
}

static void fail_release(void *user, void *memory)
{
    (void)user;
    mmh_free(NULL, memory);
}

static void test_without_memory_a_map_fails_cleanly(void **state)
{
    static const mmh_allocator allocator = { fail_allocate, fail_release, NULL };
    bool done = false;
    (void)state;
    for (size_t n = 0; !done; n++) {
        struct mmh_arena arena;
        struct mmh_extent_map map;
        mmh_error err = { 0 };
        mmh_status status = MMH_OK;
        allocations_left = n;
        mmh_arena_init(&arena, &allocator);
        mmh_extent_map_init(&map, &arena, 4000);
        for (uint64_t i = 0; i < 1200 && status == MMH_OK; i++) {
            struct mmh_map_tensor tensor = { .name = "t",
                                             .dtype = MMH_DTYPE_U8,
                                             .dimensions = 1,
                                             .shape = shapes[0],
                                             .offset = i * 4,
                                             .bytes = 4 };
            status = mmh_extent_map_add(&map, &tensor, &err);
        }
        if (status == MMH_OK)
            status = mmh_extent_map_add_metadata(&map, "k", "v", &err);
        if (status == MMH_OK)
            status = mmh_extent_map_finish(&map, &err);
        done = status == MMH_OK;
        if (done)
            assert_map_good(&map);
        else
            assert_int_equal(status, MMH_E_MEMORY);
        assert_int_equal(status, err.status);
        mmh_arena_release(&arena);
    }
}

/* ---- values ---- */

static double value_of(mmh_dtype dtype, const void *data, size_t bytes, uint64_t element)
{
    double value = -12345;
    assert_int_equal(mmh_values(&value, data, bytes, dtype, element, 1, NULL), MMH_OK);
    return value;
}

static double value_of_byte(mmh_dtype dtype, unsigned byte)
{
    const uint8_t data = (uint8_t)byte;
    return value_of(dtype, &data, 1, 0);
}

/* The corners that the types' own papers list. */
static void test_elements_have_the_values_of_their_definitions(void **state)
{
    (void)state;
    static const struct {
        mmh_dtype dtype;
        unsigned byte;
        double value;
    } known[] = {
        { MMH_DTYPE_F8_E4M3, 0x7e, 448 },
        { MMH_DTYPE_F8_E4M3, 0x08, 0.015625 },
        { MMH_DTYPE_F8_E4M3, 0x01, 0.001953125 },
        { MMH_DTYPE_F8_E4M3, 0xb8, -1 },
        { MMH_DTYPE_F8_E5M2, 0x7b, 57344 },
        { MMH_DTYPE_F8_E5M2, 0x04, 0x1p-14 },
        { MMH_DTYPE_F8_E5M2, 0x01, 0x1p-16 },
        { MMH_DTYPE_F8_E5M2, 0xbc, -1 },
        { MMH_DTYPE_F8_E4M3FNUZ, 0x7f, 240 },
        { MMH_DTYPE_F8_E4M3FNUZ, 0x08, 0x1p-7 },
        { MMH_DTYPE_F8_E4M3FNUZ, 0x01, 0x1p-10 },
        { MMH_DTYPE_F8_E4M3FNUZ, 0xc0, -1 },
        { MMH_DTYPE_F8_E5M2FNUZ, 0x7f, 57344 },
        { MMH_DTYPE_F8_E5M2FNUZ, 0x04, 0x1p-15 },
        { MMH_DTYPE_F8_E5M2FNUZ, 0x01, 0x1p-17 },
        { MMH_DTYPE_F8_E5M2FNUZ, 0xc0, -1 },
        { MMH_DTYPE_F8_E8M0, 0, 0x1p-127 },
        { MMH_DTYPE_F8_E8M0, 254, 0x1p127 },
        { MMH_DTYPE_F8_E8M0, 127, 1 },
        { MMH_DTYPE_I8, 0x80, -128 },
        { MMH_DTYPE_U8, 0x80, 128 },
        { MMH_DTYPE_I4, 0x08, -8 },
        { MMH_DTYPE_I4, 0x0f, -1 },
        { MMH_DTYPE_U4, 0xf8, 8 },
        { MMH_DTYPE_F4, 0x07, 6 },
        { MMH_DTYPE_F4, 0x09, -0.5 },
        { MMH_DTYPE_F6_E2M3, 0x1f, 7.5 },
        { MMH_DTYPE_F6_E2M3, 0x21, -0.125 },
        { MMH_DTYPE_F6_E3M2, 0x1f, 28 },
        { MMH_DTYPE_F6_E3M2, 0x21, -0.0625 },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (value_of_byte(known[i].dtype, known[i].byte) != known[i].value)
            fail_msg("%s 0x%02x is %g, not %g", mmh_dtype_name(known[i].dtype), known[i].byte,
                     value_of_byte(known[i].dtype, known[i].byte), known[i].value);
    static const struct {
        mmh_dtype dtype;
        unsigned byte;
    } nans[] = { { MMH_DTYPE_F8_E4M3, 0x7f },     { MMH_DTYPE_F8_E4M3, 0xff },
                 { MMH_DTYPE_F8_E5M2, 0x7d },     { MMH_DTYPE_F8_E4M3FNUZ, 0x80 },
                 { MMH_DTYPE_F8_E5M2FNUZ, 0x80 }, { MMH_DTYPE_F8_E8M0, 0xff } };
    for (size_t i = 0; i < sizeof nans / sizeof *nans; i++) {
        double value = value_of_byte(nans[i].dtype, nans[i].byte);
        assert_true(value != value);
    }
    assert_true(value_of_byte(MMH_DTYPE_F8_E5M2, 0xfc) < -1e300);
}

static void test_elements_are_read_where_they_lie(void **state)
{
    (void)state;
    /* Six bits: 1, 2, 3, 4 as E3M2's smallest steps, low bits first. */
    const uint8_t sixes[3] = { 1 | (2 << 6 & 255), 2 >> 2 | (3 << 4 & 255), 3 >> 4 | 4 << 2 };
    for (unsigned i = 0; i < 4; i++)
        assert_true(value_of(MMH_DTYPE_F6_E3M2, sixes, 3, i) == (i + 1) / 16.0);
    const uint8_t nibbles[2] = { 0x21, 0x43 };
    for (unsigned i = 0; i < 4; i++)
        assert_true(value_of(MMH_DTYPE_U4, nibbles, 2, i) == i + 1);
    const float complex_numbers[4] = { 1, -2, 3, -4 };
    double both[2];
    assert_int_equal(
        mmh_values(both, complex_numbers, sizeof complex_numbers, MMH_DTYPE_C64, 1, 1, NULL),
        MMH_OK);
    assert_true(both[0] == 3 && both[1] == -4);
    const uint64_t large = UINT64_C(1) << 63;
    assert_true(value_of(MMH_DTYPE_U64, &large, 8, 0) == 0x1p63);
    assert_true(value_of(MMH_DTYPE_I64, &large, 8, 0) == -0x1p63);
    for (int i = 0; i < MMH_DTYPE_COUNT; i++) { /* not one element past the end */
        uint8_t data[16] = { 0 };
        double value[2];
        size_t bytes = (mmh_dtype_bits((mmh_dtype)i) + 7) / 8;
        if (mmh_dtype_is_block((mmh_dtype)i))
            continue;
        assert_int_equal(mmh_values(value, data, bytes, (mmh_dtype)i, 0, 1, NULL), MMH_OK);
        assert_int_equal(mmh_values(value, data, bytes - 1, (mmh_dtype)i, 0, 1, NULL), MMH_E_USAGE);
        assert_int_equal(mmh_values(value, data, bytes, (mmh_dtype)i, UINT64_MAX, 1, NULL),
                         MMH_E_USAGE);
        assert_int_equal(mmh_values(value, data, bytes, (mmh_dtype)i, UINT64_MAX / 4, 1, NULL),
                         MMH_E_USAGE);
    }
    assert_int_equal(mmh_values(NULL, NULL, 0, MMH_DTYPE_COUNT, 0, 0, NULL), MMH_E_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_dtype_has_a_name_that_finds_it),
        cmocka_unit_test(test_codecs_see_scalars_of_1_2_4_or_8_bytes),
        cmocka_unit_test(test_dtypes_answer_to_the_names_of_numpy_and_torch),
        cmocka_unit_test(test_shape_bytes_never_overflow),
        cmocka_unit_test(test_blocks_are_as_ggml_has_them),
        cmocka_unit_test(test_shapes_of_block_types_are_whole_blocks),
        cmocka_unit_test(test_map_of_a_file_without_tensors_is_one_opaque_extent),
        cmocka_unit_test(test_map_sorts_and_fills_gaps),
        cmocka_unit_test(test_map_keeps_every_name_of_tied_tensors),
        cmocka_unit_test(test_map_leaves_out_what_overlaps),
        cmocka_unit_test(test_map_leaves_out_what_cannot_be),
        cmocka_unit_test(test_map_keeps_rank_64_and_tensors_without_bytes),
        cmocka_unit_test(test_remarks_are_bounded_and_whole_characters),
        cmocka_unit_test(test_map_remarks_on_equal_names),
        cmocka_unit_test(test_discard_forgets_all_but_remarks),
        cmocka_unit_test(test_hint_is_in_memory_order_and_in_scalars),
        cmocka_unit_test(test_views_are_listed_and_storages_own_bytes),
        cmocka_unit_test(test_a_tensor_says_how_codecs_see_it),
        cmocka_unit_test(test_strides_reach_from_the_first_to_the_last_element),
        cmocka_unit_test(test_tensors_with_strides_are_views),
        cmocka_unit_test(test_parts_count_from_their_first_byte_and_prefix_names),
        cmocka_unit_test(test_tensors_of_other_files_are_kept_apart),
        cmocka_unit_test(test_names_of_other_files_stay_in_their_folder),
        cmocka_unit_test(test_any_tensors_give_a_map_that_tiles_the_file),
        cmocka_unit_test(test_a_million_tensors_are_mapped_quickly),
        cmocka_unit_test(test_without_memory_a_map_fails_cleanly),
        cmocka_unit_test(test_elements_have_the_values_of_their_definitions),
        cmocka_unit_test(test_elements_are_read_where_they_lie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
