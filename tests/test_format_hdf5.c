/*
 * HDF5's promises: datasets are found by every way that files tell of them, and no file does harm.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Small files are made here by hand, of addresses and lengths of 8 bytes. tests/test_format_hdf5.py
 * looks at those that h5py makes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/cursor.h"
#include "format/format.h"
#include "map_check.h"

#define NOWHERE UINT64_MAX

enum { FLETCHER32 = 3, SHUFFLE = 2, DEFLATE = 1 };

/* One file and its map. */
struct subject {
    struct mmh_buffer file;
    struct mmh_buffer message; /* of the header that is being made */
    struct mmh_arena arena;
    struct mmh_extent_map map;
    uint64_t base; /* of its addresses */
};

/* ---- bytes ---- */

static void u8(struct subject *s, unsigned value)
{
    mmh_buffer_u8(&s->file, (uint8_t)value);
}

static void u64(struct subject *s, uint64_t value)
{
    mmh_buffer_u64(&s->file, value);
}

static void text(struct subject *s, const char *letters)
{
    mmh_buffer_bytes(&s->file, letters, strlen(letters));
}

/* The address of what comes next. */
static uint64_t here(const struct subject *s)
{
    return s->file.bytes - s->base;
}

/* Bytes of data, and their address. */
static uint64_t data(struct subject *s, size_t bytes)
{
    uint64_t address = here(s);
    for (size_t i = 0; i < bytes; i++)
        u8(s, (unsigned)(i * 7 + 1));
    return address;
}

/* ---- headers of version 2: messages are gathered, then written ---- */

static void message(struct subject *s, unsigned type, const struct mmh_buffer *body)
{
    assert_false(body->failed);
    mmh_buffer_u8(&s->message, (uint8_t)type);
    mmh_buffer_u16(&s->message, (uint16_t)body->bytes);
    mmh_buffer_u8(&s->message, 0);
    mmh_buffer_bytes(&s->message, body->data, body->bytes);
}

static uint64_t header(struct subject *s)
{
    uint64_t address = here(s);
    text(s, "OHDR\2\2"); /* version 2, a size of four bytes */
    mmh_buffer_u32(&s->file, (uint32_t)s->message.bytes);
    mmh_buffer_bytes(&s->file, s->message.data, s->message.bytes);
    mmh_buffer_u32(&s->file, 0); /* a checksum, which nobody looks at */
    mmh_buffer_clear(&s->message);
    return address;
}

static void space(struct subject *s, uint32_t dimensions, const uint64_t *shape,
                  const uint64_t *shape_max)
{
    struct mmh_buffer body;
    mmh_buffer_init(&body, NULL);
    mmh_buffer_u8(&body, 2);
    mmh_buffer_u8(&body, (uint8_t)dimensions);
    mmh_buffer_u8(&body, shape_max != NULL);
    mmh_buffer_u8(&body, dimensions > 0);
    for (uint32_t d = 0; d < dimensions; d++)
        mmh_buffer_u64(&body, shape[d]);
    for (uint32_t d = 0; shape_max && d < dimensions; d++)
        mmh_buffer_u64(&body, shape_max[d]);
    message(s, 0x01, &body);
    mmh_buffer_release(&body);
}

static void put_float(struct mmh_buffer *body, uint32_t bytes, unsigned exponent_bits,
                      uint32_t bias, bool big_endian)
{
    unsigned mantissa_bits = 8 * bytes - 1 - exponent_bits;
    mmh_buffer_u8(body, 0x11);
    mmh_buffer_u8(body, 0x20 | big_endian);
    mmh_buffer_u8(body, (uint8_t)(8 * bytes - 1));
    mmh_buffer_u8(body, 0);
    mmh_buffer_u32(body, bytes);
    mmh_buffer_u16(body, 0);
    mmh_buffer_u16(body, (uint16_t)(8 * bytes));
    mmh_buffer_u8(body, (uint8_t)mantissa_bits);
    mmh_buffer_u8(body, (uint8_t)exponent_bits);
    mmh_buffer_u8(body, 0);
    mmh_buffer_u8(body, (uint8_t)mantissa_bits);
    mmh_buffer_u32(body, bias);
}

static void put_integer(struct mmh_buffer *body, uint32_t bytes, bool is_signed, bool big_endian)
{
    mmh_buffer_u32(body, 0x10 | (is_signed ? 0x800u : 0) | (big_endian ? 0x100u : 0));
    mmh_buffer_u32(body, bytes);
    mmh_buffer_u16(body, 0);
    mmh_buffer_u16(body, (uint16_t)(8 * bytes));
}

static void type_f32(struct subject *s)
{
    struct mmh_buffer body;
    mmh_buffer_init(&body, NULL);
    put_float(&body, 4, 8, 127, false);
    message(s, 0x03, &body);
    mmh_buffer_release(&body);
}

static void contiguous(struct subject *s, uint64_t address, uint64_t bytes)
{
    struct mmh_buffer body;
    mmh_buffer_init(&body, NULL);
    mmh_buffer_u8(&body, 3);
    mmh_buffer_u8(&body, 1);
    mmh_buffer_u64(&body, address);
    mmh_buffer_u64(&body, bytes);
    message(s, 0x08, &body);
    mmh_buffer_release(&body);
}

/* Chunks of version 3: the B-tree's address. */
static void chunked_3(struct subject *s, uint32_t dimensions, const uint64_t *chunk,
                      uint64_t address)
{
    struct mmh_buffer body;
    mmh_buffer_init(&body, NULL);
    mmh_buffer_u8(&body, 3);
    mmh_buffer_u8(&body, 2);
    mmh_buffer_u8(&body, (uint8_t)(dimensions + 1));
    mmh_buffer_u64(&body, address);
    for (uint32_t d = 0; d < dimensions; d++)
        mmh_buffer_u32(&body, (uint32_t)chunk[d]);
    mmh_buffer_u32(&body, 4);
    message(s, 0x08, &body);
    mmh_buffer_release(&body);
}

/* Chunks of version 4: the index's number and its parameters, of which readers need no more than
 * how many they are. */
static void chunked_4(struct subject *s, uint32_t dimensions, const uint64_t *chunk, unsigned index,
                      unsigned flags, const void *parameters, size_t parameter_bytes,
                      uint64_t address)
{
    struct mmh_buffer body;
    mmh_buffer_init(&body, NULL);
    mmh_buffer_u8(&body, 4);
    mmh_buffer_u8(&body, 2);
    mmh_buffer_u8(&body, (uint8_t)flags);
    mmh_buffer_u8(&body, (uint8_t)(dimensions + 1));
    mmh_buffer_u8(&body, 2); /* bytes of a size */
    for (uint32_t d = 0; d < dimensions; d++)
        mmh_buffer_u16(&body, (uint16_t)chunk[d]);
    mmh_buffer_u16(&body, 4);
    mmh_buffer_u8(&body, (uint8_t)index);
    mmh_buffer_bytes(&body, parameters, parameter_bytes);
    mmh_buffer_u64(&body, address);
    message(s, 0x08, &body);
    mmh_buffer_release(&body);
}

static void filters(struct subject *s, size_t count, const uint16_t *ids)
{
    struct mmh_buffer body;
    mmh_buffer_init(&body, NULL);
    mmh_buffer_u8(&body, 2);
    mmh_buffer_u8(&body, (uint8_t)count);
    for (size_t i = 0; i < count; i++) {
        bool has_value = ids[i] == SHUFFLE;
        mmh_buffer_u16(&body, ids[i]);
        mmh_buffer_u16(&body, 0);
        mmh_buffer_u16(&body, has_value);
        if (has_value)
            mmh_buffer_u32(&body, 4);
    }
    message(s, 0x0b, &body);
    mmh_buffer_release(&body);
}

static void put_link(struct mmh_buffer *body, const char *name, uint64_t address)
{
    mmh_buffer_u8(body, 1);
    mmh_buffer_u8(body, 0);
    mmh_buffer_u8(body, (uint8_t)strlen(name));
    mmh_buffer_bytes(body, name, strlen(name));
    mmh_buffer_u64(body, address);
}

static void link_to(struct subject *s, const char *name, uint64_t address)
{
    struct mmh_buffer body;
    mmh_buffer_init(&body, NULL);
    put_link(&body, name, address);
    message(s, 0x06, &body);
    mmh_buffer_release(&body);
}

/* ---- files ---- */

/* A superblock of version 2 behind `user_bytes` of something else; finish says where the root is. */
static void begin(struct subject *s, size_t user_bytes)
{
    *s = (struct subject){ .base = user_bytes };
    mmh_buffer_init(&s->file, NULL);
    mmh_buffer_init(&s->message, NULL);
    mmh_arena_init(&s->arena, NULL);
    for (size_t i = 0; i < user_bytes; i++)
        u8(s, 'u');
    text(s, "\x89HDF\r\n\x1a\n\2\10\10");
    u8(s, 0);
    u64(s, 0); /* where addresses count from: readers look where they found it */
    u64(s, NOWHERE);
    u64(s, 0);
    u64(s, 0); /* the root */
    mmh_buffer_u32(&s->file, 0);
}

static void set_root(struct subject *s, uint64_t root)
{
    mmh_store64(s->file.data + s->base + 36, root);
}

static void map_bytes(struct subject *s, const uint8_t *bytes, size_t count)
{
    mmh_error err = { 0 };
    mmh_source source = mmh_source_of_memory(bytes, count, "m.h5");
    mmh_extent_map_init(&s->map, &s->arena, source.bytes);
    if (mmh_format_detect_and_map(&s->map, &source, NULL, &err))
        fail_msg("%s", err.message);
    const char *problem = map_problem(&s->map);
    if (problem)
        fail_msg("%s", problem);
}

static void map(struct subject *s)
{
    assert_false(s->file.failed);
    map_bytes(s, s->file.data, s->file.bytes);
}

static void end(struct subject *s)
{
    mmh_buffer_release(&s->file);
    mmh_buffer_release(&s->message);
    mmh_arena_release(&s->arena);
}

/* Lines "name DTYPE [shape] offset bytes", offsets from the first of the data on. */
static void assert_list(const struct subject *s, uint64_t from, const char *expected)
{
    static char found[1 << 14];
    size_t used = 0;
    *found = '\0';
    for (size_t i = 0; i < s->map.tensor_count && used < sizeof found; i++) {
        const struct mmh_map_tensor *tensor = &s->map.tensors[i];
        used += (size_t)snprintf(found + used, sizeof found - used, "%s %s%s [", tensor->name,
                                 tensor->big_endian ? ">" : "", mmh_dtype_name(tensor->dtype));
        for (uint32_t d = 0; d < tensor->dimensions && used < sizeof found; d++)
            used += (size_t)snprintf(found + used, sizeof found - used, "%s%llu", d ? "," : "",
                                     (unsigned long long)tensor->shape[d]);
        if (used < sizeof found)
            used += (size_t)snprintf(found + used, sizeof found - used, "] %lld %llu\n",
                                     (long long)(tensor->offset - s->base - from),
                                     (unsigned long long)tensor->bytes);
    }
    assert_true(used < sizeof found);
    assert_string_equal(found, expected);
    assert_int_equal(s->map.format, MMH_FORMAT_HDF5);
}

static void assert_remark(const struct subject *s, const char *part)
{
    for (size_t i = 0; i < s->map.remark_count && i < MMH_MAP_REMARKS_MAX; i++)
        if (strstr(s->map.remarks[i], part))
            return;
    fail_msg("no remark says \"%s\", the first is \"%s\"", part,
             s->map.remark_count ? s->map.remarks[0] : "");
}

/* ---- superblock 0, headers of version 1, symbol tables ---- */

static void message_1(struct subject *s, unsigned type, const void *body, size_t bytes)
{
    mmh_buffer_u16(&s->file, (uint16_t)type);
    mmh_buffer_u16(&s->file, (uint16_t)mmh_round_up(bytes, 8));
    u64(s, 0);
    s->file.bytes -= 4; /* flags and three reserved bytes */
    mmh_buffer_bytes(&s->file, body, bytes);
    mmh_buffer_zeros(&s->file, (size_t)(mmh_round_up(bytes, 8) - bytes));
}

static void prefix_1(struct subject *s, unsigned count, uint32_t bytes)
{
    u8(s, 1);
    u8(s, 0);
    mmh_buffer_u16(&s->file, (uint16_t)count);
    mmh_buffer_u32(&s->file, 1);
    mmh_buffer_u32(&s->file, bytes);
    mmh_buffer_u32(&s->file, 0);
}

/* A dataset of float32 [2, 3], big-endian, whose layout stands in a continuation. */
static uint64_t dataset_1(struct subject *s, uint64_t data_address)
{
    struct mmh_buffer type;
    uint8_t shape[24] = { 1, 2 }, place[18] = { 3, 1 }, more[16];
    mmh_store64(shape + 8, 2);
    mmh_store64(shape + 16, 3);
    mmh_store64(place + 2, data_address);
    mmh_store64(place + 10, 24);
    uint64_t continuation = here(s);
    message_1(s, 0x08, place, sizeof place);
    mmh_store64(more, continuation);
    mmh_store64(more + 8, here(s) - continuation);
    uint64_t address = here(s);
    mmh_buffer_init(&type, NULL);
    put_float(&type, 4, 8, 127, true);
    prefix_1(s, 5, 8 * 4 + 24 + 24 + 16 + 8);
    message_1(s, 0x01, shape, sizeof shape);
    message_1(s, 0x00, more, 8); /* nothing */
    message_1(s, 0x03, type.data, type.bytes);
    message_1(s, 0x10, more, sizeof more);
    mmh_buffer_release(&type);
    return address;
}

static void symbol(struct subject *s, uint64_t name, uint64_t address, uint32_t kind)
{
    u64(s, name);
    u64(s, address);
    mmh_buffer_u32(&s->file, kind);
    mmh_buffer_zeros(&s->file, 20);
}

/* A group of a dataset by two names, itself, and a soft link. */
static void make_symbol_table(struct subject *s, size_t user_bytes)
{
    static const char names[40] = "\0\0\0\0\0\0\0\0kernel:0\0\0\0again\0\0me\0soft";
    uint8_t table[16];
    *s = (struct subject){ .base = user_bytes };
    mmh_buffer_init(&s->file, NULL);
    mmh_buffer_init(&s->message, NULL);
    mmh_arena_init(&s->arena, NULL);
    mmh_buffer_zeros(&s->file, user_bytes);
    text(s, "\x89HDF\r\n\x1a\n");
    mmh_buffer_zeros(&s->file, 5);
    u8(s, 8);
    u8(s, 8);
    u8(s, 0);
    mmh_buffer_zeros(&s->file, 8); /* K of trees, flags */
    u64(s, user_bytes);
    u64(s, NOWHERE);
    u64(s, 0);
    u64(s, NOWHERE);
    u64(s, 0);
    size_t root_at = s->file.bytes;
    mmh_buffer_zeros(&s->file, 32);
    uint64_t dataset = dataset_1(s, data(s, 24));
    uint64_t names_at = here(s);
    mmh_buffer_bytes(&s->file, names, sizeof names);
    mmh_store64(table + 8, here(s));
    text(s, "HEAP");
    mmh_buffer_u32(&s->file, 0);
    u64(s, sizeof names);
    u64(s, NOWHERE);
    u64(s, names_at);
    uint64_t node = here(s);
    text(s, "SNOD\1");
    u8(s, 0);
    mmh_buffer_u16(&s->file, 4);
    size_t self_at = s->file.bytes + 40 * 2 + 8;
    symbol(s, 19, dataset, 0);
    symbol(s, 8, dataset, 0);
    symbol(s, 26, 0, 1);
    symbol(s, 29, 0, 2);
    mmh_store64(table, here(s));
    text(s, "TREE");
    u8(s, 0);
    u8(s, 0);
    mmh_buffer_u16(&s->file, 1);
    u64(s, NOWHERE);
    u64(s, NOWHERE);
    u64(s, 0);
    u64(s, node);
    u64(s, 26);
    mmh_store64(s->file.data + root_at, here(s));
    mmh_store64(s->file.data + self_at, here(s));
    prefix_1(s, 1, 24);
    message_1(s, 0x11, table, sizeof table);
}

static void test_symbol_tables_are_followed(void **state)
{
    static const size_t user_bytes[] = { 0, 512, 4096 };
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(user_bytes); i++) {
        struct subject s;
        make_symbol_table(&s, user_bytes[i]);
        map(&s);
        assert_list(&s, 96, "again >F32 [2,3] 0 24\nkernel:0 >F32 [2,3] 0 24\n");
        assert_int_equal(s.map.extents[1].owner_count, 2);
        assert_int_equal(s.map.remark_count, 0);
        end(&s);
    }
}

/* ---- superblock 2, links ---- */

static void test_links_in_headers_are_followed_once(void **state)
{
    struct subject s;
    (void)state;
    begin(&s, 0);
    uint64_t values = data(&s, 24);
    space(&s, 2, (const uint64_t[]){ 3, 2 }, NULL);
    type_f32(&s);
    contiguous(&s, values, 24);
    uint64_t dataset = header(&s);
    link_to(&s, "w", dataset);
    uint64_t inner = here(&s);
    link_to(&s, "loop", inner);
    header(&s);
    link_to(&s, "inner", inner);
    link_to(&s, "same", inner);
    link_to(&s, "x", dataset);
    set_root(&s, header(&s));
    map(&s);
    assert_list(&s, values, "inner/w F32 [3,2] 0 24\nx F32 [3,2] 0 24\n");
    end(&s);
}

/* An attribute of the header that is being made: one string of `bytes` bytes. */
static void attribute(struct subject *s, const char *name, const char *value, uint32_t bytes,
                      unsigned dimensions)
{
    struct mmh_buffer body;
    mmh_buffer_init(&body, NULL);
    mmh_buffer_u16(&body, 3); /* the version, no flags */
    mmh_buffer_u16(&body, (uint16_t)(strlen(name) + 1));
    mmh_buffer_u16(&body, 8);
    mmh_buffer_u16(&body, 4);
    mmh_buffer_u8(&body, 0);
    mmh_buffer_bytes(&body, name, strlen(name) + 1);
    mmh_buffer_u32(&body, 0x13);
    mmh_buffer_u32(&body, bytes);
    mmh_buffer_u8(&body, 2);
    mmh_buffer_u8(&body, (uint8_t)dimensions);
    mmh_buffer_u16(&body, 0);
    mmh_buffer_bytes(&body, value, strlen(value));
    message(s, 0x0c, &body);
    mmh_buffer_release(&body);
}

/* Whatever is wrong with one, the group is read on. */
static void test_short_strings_of_the_root_are_metadata(void **state)
{
    struct subject s;
    (void)state;
    begin(&s, 0);
    uint64_t values = data(&s, 4);
    space(&s, 0, NULL, NULL);
    type_f32(&s);
    attribute(&s, "of a dataset", "x", 1, 0);
    contiguous(&s, values, 4);
    uint64_t dataset = header(&s);
    attribute(&s, "keras_version", "3.4.1", 5, 0);
    attribute(&s, "longer than it is", "3", 100, 0);
    attribute(&s, "several", "abc", 3, 1);
    attribute(&s, "backend", "torch", 5, 0);
    link_to(&s, "w", dataset);
    set_root(&s, header(&s));
    map(&s);
    assert_list(&s, values, "w F32 [] 0 4\n");
    assert_int_equal(s.map.metadata_count, 2);
    assert_string_equal(s.map.metadata[0].key, "keras_version");
    assert_string_equal(s.map.metadata[0].value, "3.4.1");
    assert_string_equal(s.map.metadata[1].value, "torch");
    assert_int_equal(s.map.remark_count, 0);
    end(&s);
}

static uint64_t scalar(struct subject *s, uint64_t values)
{
    space(s, 0, NULL, NULL);
    type_f32(s);
    contiguous(s, values, 4);
    return header(s);
}

static void put_group_of_heap(struct subject *s, uint64_t heap, uint64_t tree)
{
    struct mmh_buffer body;
    mmh_buffer_init(&body, NULL);
    mmh_buffer_u16(&body, 0);
    mmh_buffer_u64(&body, heap);
    mmh_buffer_u64(&body, tree);
    message(s, 0x02, &body);
    mmh_buffer_release(&body);
    set_root(s, header(s));
}

/* A record's tree of one leaf. */
static uint64_t tree_2(struct subject *s, unsigned type, unsigned record_bytes, unsigned count,
                       const struct mmh_buffer *records)
{
    uint64_t leaf = here(s);
    text(s, "BTLF");
    u8(s, 0);
    u8(s, type);
    mmh_buffer_bytes(&s->file, records->data, records->bytes);
    uint64_t tree = here(s);
    text(s, "BTHD");
    u8(s, 0);
    u8(s, type);
    mmh_buffer_u32(&s->file, 2048);
    mmh_buffer_u16(&s->file, (uint16_t)record_bytes);
    mmh_buffer_u16(&s->file, 0);
    mmh_buffer_u16(&s->file, 0);
    u64(s, leaf);
    mmh_buffer_u16(&s->file, (uint16_t)count);
    u64(s, count);
    mmh_buffer_u32(&s->file, 0);
    return tree;
}

/* Links in a heap of 64-byte blocks, two in a row: in its third block, of its second row. */
static void make_dense_links(struct subject *s)
{
    enum { BLOCK_PREFIX = 4 + 1 + 8 + 4 };
    struct mmh_buffer links, records;
    begin(s, 0);
    uint64_t values = data(s, 8);
    uint64_t first = scalar(s, values), second = scalar(s, values + 4);
    mmh_buffer_init(&links, NULL);
    mmh_buffer_init(&records, NULL);
    put_link(&links, "one", first);
    size_t second_at = links.bytes;
    put_link(&links, "other", second);
    uint64_t block = here(s);
    text(s, "FHDB");
    u8(s, 0);
    u64(s, 0);
    mmh_buffer_u32(&s->file, 128);
    mmh_buffer_bytes(&s->file, links.data, links.bytes);
    mmh_buffer_zeros(&s->file, 64 - BLOCK_PREFIX - links.bytes);
    uint64_t root = here(s);
    text(s, "FHIB");
    u8(s, 0);
    u64(s, 0);
    mmh_buffer_u32(&s->file, 0);
    u64(s, NOWHERE);
    u64(s, NOWHERE);
    u64(s, block);
    u64(s, NOWHERE);
    mmh_buffer_u32(&s->file, 0);
    uint64_t heap = here(s);
    text(s, "FRHP");
    u8(s, 0);
    mmh_buffer_u16(&s->file, 7);
    mmh_buffer_u16(&s->file, 0);
    u8(s, 0);
    mmh_buffer_u32(&s->file, 64);
    mmh_buffer_zeros(&s->file, 12 * 8);
    mmh_buffer_u16(&s->file, 2);
    u64(s, 64);
    u64(s, 1024);
    mmh_buffer_u16(&s->file, 32);
    mmh_buffer_u16(&s->file, 1);
    u64(s, root);
    mmh_buffer_u16(&s->file, 2);
    mmh_buffer_u32(&s->file, 0);
    for (unsigned i = 0; i < 2; i++) {
        mmh_buffer_u32(&records, i); /* a hash */
        mmh_buffer_u8(&records, 0);
        mmh_buffer_u32(&records, (uint32_t)(128 + BLOCK_PREFIX + i * second_at));
        mmh_buffer_u16(&records, 20);
    }
    put_group_of_heap(s, heap, tree_2(s, 5, 11, 2, &records));
    mmh_buffer_release(&links);
    mmh_buffer_release(&records);
}

static void test_links_in_heaps_are_followed(void **state)
{
    struct subject s;
    (void)state;
    make_dense_links(&s);
    map(&s);
    assert_list(&s, 48, "one F32 [] 0 4\nother F32 [] 4 4\n");
    assert_int_equal(s.map.remark_count, 0);
    end(&s);
}

/* ---- chunks: an array of 4 x 4 in four chunks of 2 x 2 ---- */

enum index { TREE = 0, SINGLE = 1, IMPLICIT = 2, FIXED = 3, EXTENSIBLE = 4, TREE_2 = 5 };

static const uint64_t shape_4x4[] = { 4, 4 }, chunk_2x2[] = { 2, 2 };

/* An array's element, or a record: with a size and a mask if it is filtered. */
static void put_element(struct mmh_buffer *out, uint64_t address, bool filtered, uint64_t bytes)
{
    mmh_buffer_u64(out, address);
    if (filtered) {
        mmh_buffer_u16(out, (uint16_t)bytes);
        mmh_buffer_u32(out, 0);
    }
}

/* The index over chunks of `bytes` each, one of them never written; the layout message. */
static void put_index(struct subject *s, enum index index, uint64_t first, uint64_t bytes,
                      bool filtered)
{
    struct mmh_buffer out;
    unsigned element_bytes = filtered ? 14 : 8;
    uint64_t address = 0;
    static const uint8_t parameters[] = { 10, 0, 0, 0, 0, 0 };
    static const size_t parameter_bytes[] = { 0, 0, 0, 1, 5, 6 };
    mmh_buffer_init(&out, NULL);
    if (index == TREE) {
        address = here(s);
        text(s, "TREE\1");
        u8(s, 0);
        mmh_buffer_u16(&s->file, 3);
        u64(s, NOWHERE);
        u64(s, NOWHERE);
        for (unsigned i = 0; i < 4; i++)
            if (i != 1) {
                mmh_buffer_u32(&s->file, (uint32_t)bytes);
                mmh_buffer_u32(&s->file, 0);
                u64(s, i / 2 * 2);
                u64(s, i % 2 * 2);
                u64(s, 0);
                u64(s, first + i * bytes);
            }
        mmh_buffer_zeros(&s->file, 32); /* the last key */
        chunked_3(s, 2, chunk_2x2, address);
        return;
    }
    if (index == TREE_2) {
        for (unsigned i = 0; i < 4; i++)
            if (i != 1) {
                put_element(&out, first + i * bytes, filtered, bytes);
                mmh_buffer_u64(&out, i / 2);
                mmh_buffer_u64(&out, i % 2);
            }
        address = tree_2(s, filtered ? 11 : 10, element_bytes + 16, 3, &out);
    }
    uint64_t block = here(s);
    if (index == FIXED || index == EXTENSIBLE) {
        text(s, index == FIXED ? "FADB" : "EAIB");
        u8(s, 0);
        u8(s, filtered);
        u64(s, 0);
        for (unsigned i = 0; i < (index == FIXED ? 4 : 2); i++)
            put_element(&out, i == 1 ? NOWHERE : first + i * bytes, filtered, bytes);
        mmh_buffer_bytes(&s->file, out.data, out.bytes);
    }
    if (index == EXTENSIBLE) { /* the other two stand in a block of data */
        uint64_t more = here(s) + 8 + 8;
        u64(s, more);
        u64(s, NOWHERE);
        text(s, "EADB");
        u8(s, 0);
        u8(s, filtered);
        u64(s, 0);
        mmh_buffer_u8(&s->file, 0); /* its place */
        mmh_buffer_clear(&out);
        put_element(&out, first + 2 * bytes, filtered, bytes);
        put_element(&out, first + 3 * bytes, filtered, bytes);
        mmh_buffer_bytes(&s->file, out.data, out.bytes);
    }
    if (index == FIXED || index == EXTENSIBLE) {
        address = here(s);
        text(s, index == FIXED ? "FAHD" : "EAHD");
        u8(s, 0);
        u8(s, filtered);
        u8(s, element_bytes);
        if (index == EXTENSIBLE)
            text(s, "\2\2\2\2\12"); /* bits of a count, in the index, in a block, pointers, page */
        else
            u8(s, 10);
        for (unsigned i = 0; i < (index == EXTENSIBLE ? 6 : 1); i++)
            u64(s, 4);
        u64(s, block);
    }
    mmh_buffer_release(&out);
    chunked_4(s, 2, chunk_2x2, index, 0, parameters, parameter_bytes[index],
              index == IMPLICIT ? first : address);
}

static void make_chunks(struct subject *s, enum index index, size_t filter_count,
                        const uint16_t *ids, uint64_t bytes)
{
    const uint64_t limits[] = { index == EXTENSIBLE || index == TREE_2 ? NOWHERE : 4,
                                index == TREE_2 ? NOWHERE : 4 };
    begin(s, 0);
    uint64_t first = data(s, (size_t)(4 * bytes));
    space(s, 2, shape_4x4, limits);
    type_f32(s);
    if (filter_count)
        filters(s, filter_count, ids);
    put_index(s, index, first, bytes, filter_count > 0);
    uint64_t dataset = header(s);
    link_to(s, "w", dataset);
    set_root(s, header(s));
}

static void test_every_chunk_index_finds_its_chunks(void **state)
{
    static const enum index indexes[] = { TREE, IMPLICIT, FIXED, EXTENSIBLE, TREE_2 };
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(indexes); i++) {
        struct subject s;
        make_chunks(&s, indexes[i], 0, NULL, 16);
        map(&s);
        assert_list(&s, 48,
                    indexes[i] == IMPLICIT
                        ? "w[0:2,0:2] F32 [2,2] 0 16\nw[0:2,2:4] F32 [2,2] 16 16\n"
                          "w[2:4,0:2] F32 [2,2] 32 16\nw[2:4,2:4] F32 [2,2] 48 16\n"
                        : "w[0:2,0:2] F32 [2,2] 0 16\nw[2:4,0:2] F32 [2,2] 32 16\n"
                          "w[2:4,2:4] F32 [2,2] 48 16\n");
        assert_int_equal(s.map.remark_count, 0);
        end(&s);
    }
}

static void test_checksums_and_shuffles_are_looked_through(void **state)
{
    static const enum index indexes[] = { TREE, FIXED, EXTENSIBLE, TREE_2 };
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(indexes); i++) {
        struct subject s;
        make_chunks(&s, indexes[i], 1, (const uint16_t[]){ FLETCHER32 }, 20);
        map(&s);
        assert_list(&s, 48,
                    "w[0:2,0:2] F32 [2,2] 0 16\nw[2:4,0:2] F32 [2,2] 40 16\n"
                    "w[2:4,2:4] F32 [2,2] 60 16\n");
        end(&s);

        make_chunks(&s, indexes[i], 2, (const uint16_t[]){ SHUFFLE, FLETCHER32 }, 20);
        map(&s);
        assert_list(&s, 48, "");
        assert_int_equal(s.map.extent_count, 7);
        const struct mmh_extent *planes = &s.map.extents[3];
        assert_string_equal(planes->name, "w[2:4,0:2]");
        assert_int_equal(planes->offset, 48 + 40);
        assert_int_equal(planes->dtype, MMH_DTYPE_U8);
        assert_int_equal(planes->dimensions, 2);
        assert_int_equal(planes->shape[0], 4);
        assert_int_equal(planes->shape[1], 4);
        end(&s);

        make_chunks(&s, indexes[i], 2, (const uint16_t[]){ SHUFFLE, DEFLATE }, 13);
        map(&s);
        assert_list(&s, 48, "");
        assert_int_equal(s.map.extent_count, 1);
        assert_remark(&s, "1 datasets keep 39 bytes");
        end(&s);
    }
}

/* Each by itself, if it is worth an extent. */
static void test_planes_of_large_shuffled_chunks_are_storages(void **state)
{
    struct subject s;
    (void)state;
    begin(&s, 0);
    uint64_t first = data(&s, 4096);
    space(&s, 1, (const uint64_t[]){ 1000 }, NULL);
    type_f32(&s);
    filters(&s, 1, (const uint16_t[]){ SHUFFLE });
    chunked_4(&s, 1, (const uint64_t[]){ 1024 }, SINGLE, 2, "\0\20\0\0\0\0\0\0\0\0\0\0", 12, first);
    link_to(&s, "w", header(&s));
    set_root(&s, header(&s));
    map(&s);
    assert_list(&s, first, "");
    assert_int_equal(s.map.extent_count, 6);
    for (unsigned plane = 0; plane < 4; plane++) {
        const struct mmh_extent *extent = &s.map.extents[1 + plane];
        assert_string_equal(extent->name, "w[0:1024]");
        assert_int_equal(extent->dtype, MMH_DTYPE_U8);
        assert_int_equal(extent->offset, first + 1024 * plane);
        assert_int_equal(extent->bytes, 1024);
    }
    end(&s);
}

static void test_chunks_that_are_the_array_are_one_tensor(void **state)
{
    static const struct {
        uint64_t shape[3], chunk[3];
        const char *expected;
    } cases[] = {
        { { 4, 2, 3 }, { 2, 2, 3 }, "w F32 [4,2,3] 0 96\n" },
        { { 3, 2, 3 }, { 2, 2, 3 }, "w F32 [3,2,3] 0 72\n" }, /* the last has rows to spare */
        { { 2, 4, 3 }, { 1, 2, 3 }, "w F32 [2,4,3] 0 96\n" },
        { { 2, 3, 3 },
          { 1, 2, 3 },
          "w[0:1,0:2,0:3] F32 [1,2,3] 0 24\nw[0:1,2:4,0:3] F32 [1,2,3] 24 24\n"
          "w[1:2,0:2,0:3] F32 [1,2,3] 48 24\nw[1:2,2:4,0:3] F32 [1,2,3] 72 24\n" },
        { { 2, 2, 6 },
          { 2, 2, 3 },
          "w[0:2,0:2,0:3] F32 [2,2,3] 0 48\nw[0:2,0:2,3:6] F32 [2,2,3] 48 48\n" },
    };
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(cases); i++) {
        struct subject s;
        begin(&s, 0);
        uint64_t first = data(&s, 96);
        space(&s, 3, cases[i].shape, NULL);
        type_f32(&s);
        chunked_4(&s, 3, cases[i].chunk, IMPLICIT, 0, NULL, 0, first);
        link_to(&s, "w", header(&s));
        set_root(&s, header(&s));
        map(&s);
        assert_list(&s, 48, cases[i].expected);
        end(&s);
    }
}

/* ---- types ---- */

static void test_types_of_ours_are_known(void **state)
{
    static const struct {
        const char *name;
        uint32_t bytes;
        unsigned exponent_bits; /* 0: an integer, with a sign if bias is 1 */
        uint32_t bias;
        bool big_endian;
    } cases[] = { { "F16", 2, 5, 15, false },        { ">F16", 2, 5, 15, true },
                  { "BF16", 2, 8, 127, false },      { "F32", 4, 8, 127, false },
                  { ">F64", 8, 11, 1023, true },     { "F8_E4M3", 1, 4, 7, false },
                  { "F8_E5M2", 1, 5, 15, false },    { "U8", 1, 0, 0, false },
                  { "I8", 1, 0, 1, true },           { ">U16", 2, 0, 0, true },
                  { "I32", 4, 0, 1, false },         { ">I64", 8, 0, 1, true },
                  { "U64", 8, 0, 0, false },         { "F8_E4M3FNUZ", 1, 4, 8, false },
                  { "F8_E5M2FNUZ", 1, 5, 16, false } };
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(cases); i++) {
        struct subject s;
        struct mmh_buffer type;
        char expected[64];
        begin(&s, 0);
        uint64_t first = data(&s, 16);
        space(&s, 1, (const uint64_t[]){ 2 }, NULL);
        mmh_buffer_init(&type, NULL);
        if (cases[i].exponent_bits)
            put_float(&type, cases[i].bytes, cases[i].exponent_bits, cases[i].bias,
                      cases[i].big_endian);
        else
            put_integer(&type, cases[i].bytes, cases[i].bias, cases[i].big_endian);
        message(&s, 0x03, &type);
        mmh_buffer_release(&type);
        contiguous(&s, first, 2 * cases[i].bytes);
        link_to(&s, "w", header(&s));
        set_root(&s, header(&s));
        map(&s);
        snprintf(expected, sizeof expected, "w %s [2] 0 %u\n", cases[i].name, 2 * cases[i].bytes);
        assert_list(&s, first, expected);
        end(&s);
    }
}

static void put_member(struct mmh_buffer *type, const char *name, unsigned offset, uint32_t bytes)
{
    mmh_buffer_bytes(type, name, strlen(name) + 1);
    mmh_buffer_u8(type, (uint8_t)offset);
    put_float(type, bytes, bytes == 4 ? 8 : 11, bytes == 4 ? 127 : 1023, false);
}

/* numpy's bool and complex numbers, and a pair that is none. */
static void make_compounds(struct subject *s)
{
    struct mmh_buffer type;
    uint64_t dataset[4];
    begin(s, 0);
    uint64_t first = data(s, 64);
    for (unsigned i = 0; i < 4; i++) {
        unsigned half = i == 2 ? 8 : 4;
        mmh_buffer_init(&type, NULL);
        if (!i) {
            mmh_buffer_u32(&type, 0x38 | 2 << 8);
            mmh_buffer_u32(&type, 1);
            put_integer(&type, 1, true, false);
            mmh_buffer_bytes(&type, "FALSE\0TRUE\0\0\1", 13);
        } else {
            mmh_buffer_u32(&type, 0x36 | 2 << 8);
            mmh_buffer_u32(&type, 2 * half);
            put_member(&type, "r", 0, half);
            put_member(&type, i == 3 ? "x" : "i", half, half);
        }
        space(s, 1, (const uint64_t[]){ 1 }, NULL);
        message(s, 0x03, &type);
        contiguous(s, first + 16 * i, 16);
        dataset[i] = header(s);
        mmh_buffer_release(&type);
    }
    link_to(s, "bool", dataset[0]);
    link_to(s, "c64", dataset[1]);
    link_to(s, "c128", dataset[2]);
    link_to(s, "pair", dataset[3]);
    set_root(s, header(s));
}

static void test_numpys_bool_and_complex_are_known(void **state)
{
    struct subject s;
    (void)state;
    make_compounds(&s);
    map(&s);
    assert_list(&s, 48, "bool BOOL [1] 0 1\nc64 C64 [1] 16 8\nc128 C128 [1] 32 16\n");
    assert_remark(&s, "1 datasets are of strings or other types");
    end(&s);
}

/* ---- what files should not be ---- */

static void test_odd_datasets_are_left_out_alone(void **state)
{
    struct subject s;
    (void)state;
    begin(&s, 0);
    uint64_t first = data(&s, 16);
    uint64_t good = scalar(&s, first);
    uint64_t beyond = scalar(&s, 1 << 20);
    space(&s, 1, (const uint64_t[]){ 5 }, NULL);
    type_f32(&s);
    contiguous(&s, first, 16);
    uint64_t small = header(&s);
    space(&s, 2, (const uint64_t[]){ 1ull << 40, 1ull << 40 }, NULL);
    type_f32(&s);
    contiguous(&s, first, NOWHERE);
    uint64_t huge = header(&s);
    space(&s, 2, shape_4x4, NULL);
    type_f32(&s);
    chunked_4(&s, 2, (const uint64_t[]){ 2, 0 }, IMPLICIT, 0, NULL, 0, first);
    uint64_t flat = header(&s);
    space(&s, 2, shape_4x4, NULL);
    type_f32(&s);
    contiguous(&s, NOWHERE, 64);
    uint64_t unwritten = header(&s);
    space(&s, 2, (const uint64_t[]){ 0, 4 }, NULL);
    type_f32(&s);
    contiguous(&s, NOWHERE, 0);
    uint64_t empty = header(&s);
    link_to(&s, "good", good);
    link_to(&s, "beyond", beyond);
    link_to(&s, "small", small);
    link_to(&s, "huge", huge);
    link_to(&s, "flat", flat);
    link_to(&s, "unwritten", unwritten);
    link_to(&s, "empty", empty);
    link_to(&s, "nothing", 1 << 21);
    link_to(&s, "data", first + 1); /* no header begins so */
    set_root(&s, header(&s));
    map(&s);
    assert_list(&s, first, "empty F32 [0,4] -48 0\ngood F32 [] 0 4\n");
    assert_remark(&s, "\"beyond\" reaches past the end");
    assert_remark(&s, "\"small\" has fewer bytes");
    assert_remark(&s, "\"huge\" has a shape whose size overflows");
    assert_remark(&s, "\"flat\" has chunks of another shape");
    assert_remark(&s, "\"nothing\" refers to places past the end");
    assert_remark(&s, "\"data\"");
    assert_int_equal(s.map.remark_count, 6);
    end(&s);
}

/* Every file made above. */
static void make(struct subject *s, unsigned which)
{
    static const uint16_t sealed[] = { SHUFFLE, FLETCHER32 };
    if (which == 0)
        make_symbol_table(s, 0);
    else if (which == 1)
        make_dense_links(s);
    else if (which == 2)
        make_compounds(s);
    else if (which < 9)
        make_chunks(s,
                    (enum index[]){ TREE, IMPLICIT, FIXED, EXTENSIBLE, TREE_2, FIXED }[which - 3],
                    which == 8 ? 2 : 0, sealed, which == 8 ? 20 : 16);
}

enum { MADE = 9 };

static void test_cut_files_are_mapped(void **state)
{
    (void)state;
    for (unsigned which = 0; which < MADE; which++) {
        struct subject s;
        make(&s, which);
        for (size_t bytes = 0; bytes <= s.file.bytes; bytes++) {
            uint8_t *copy = malloc(bytes + 1); /* of its own, so that reading past it is noticed */
            assert_non_null(copy);
            memcpy(copy, s.file.data, bytes);
            map_bytes(&s, copy, bytes);
            free(copy);
            mmh_arena_release(&s.arena);
        }
        end(&s);
    }
}

static void test_changed_files_are_mapped(void **state)
{
    static const uint8_t changes[] = { 0xff, 0x01, 0x80 };
    (void)state;
    for (unsigned which = 0; which < MADE; which++) {
        struct subject s;
        make(&s, which);
        for (size_t at = 0; at < s.file.bytes; at++)
            for (size_t c = 0; c < MMH_COUNT_OF(changes); c++) {
                s.file.data[at] ^= changes[c];
                map(&s);
                mmh_arena_release(&s.arena);
                s.file.data[at] ^= changes[c];
            }
        end(&s);
    }
}

/* ---- what may fail ---- */

static size_t allocated, allocations_left;

static void *few_allocate(void *user, size_t alignment, size_t bytes)
{
    void *memory;
    (void)user;
    if (!allocations_left || posix_memalign(&memory, MMH_MAX(alignment, sizeof(void *)), bytes))
        return NULL;
    allocations_left--;
    allocated++;
    return memory;
}

static void few_release(void *user, void *memory)
{
    (void)user;
    allocated -= memory != NULL;
    free(memory);
}

static void test_memory_that_runs_out_is_reported(void **state)
{
    static const mmh_allocator few = { few_allocate, few_release, NULL };
    (void)state;
    for (unsigned which = 0; which < MADE; which++) {
        struct subject s;
        mmh_status status = MMH_E_MEMORY;
        make(&s, which);
        for (size_t most = 0; status; most++) {
            struct mmh_arena arena;
            mmh_source source = mmh_source_of_memory(s.file.data, s.file.bytes, "m.h5");
            allocations_left = most;
            mmh_arena_init(&arena, &few);
            mmh_extent_map_init(&s.map, &arena, source.bytes);
            status = mmh_format_detect_and_map(&s.map, &source, NULL, NULL);
            assert_true(!status || status == MMH_E_MEMORY);
            mmh_arena_release(&arena);
            assert_int_equal(allocated, 0);
        }
        end(&s);
    }
}

static const struct subject *read_subject;
static size_t reads_left;

static mmh_status read_few(void *context, uint64_t offset, void *dst, size_t bytes, mmh_error *err)
{
    (void)context;
    if (!reads_left)
        return mmh_fail(err, MMH_E_IO, "a disk that ends");
    reads_left--;
    assert_true(offset <= read_subject->file.bytes && bytes <= read_subject->file.bytes - offset);
    memcpy(dst, read_subject->file.data + offset, bytes);
    return MMH_OK;
}

static void test_reads_that_fail_are_reported(void **state)
{
    (void)state;
    for (unsigned which = 0; which < MADE; which++) {
        struct subject s;
        mmh_status status = MMH_E_IO;
        make(&s, which);
        read_subject = &s;
        for (size_t most = 0; status; most++) {
            mmh_source source = { .read = read_few, .bytes = s.file.bytes, .name = "m.h5" };
            reads_left = most;
            mmh_extent_map_init(&s.map, &s.arena, source.bytes);
            status = mmh_format_detect_and_map(&s.map, &source, NULL, NULL);
            assert_true(!status || status == MMH_E_IO);
            assert_true(status || s.map.format == MMH_FORMAT_HDF5);
            mmh_arena_release(&s.arena);
        }
        end(&s);
    }
}

static void assert_quick(struct subject *s)
{
    clock_t start = clock();
    map(s);
    assert_true(clock() - start < 5 * CLOCKS_PER_SEC);
    assert_true(s->arena.used < (64u << 20) + 4 * s->file.bytes);
}

/* A tree whose nodes are full of themselves: 2^levels leaves, none of them real. */
static void test_trees_without_end_come_to_one(void **state)
{
    struct subject s;
    (void)state;
    begin(&s, 0);
    uint64_t first = data(&s, 16), below = first;
    for (unsigned level = 0; level < 20; level++) {
        uint64_t node = here(&s);
        text(&s, "TREE\1");
        u8(&s, level);
        mmh_buffer_u16(&s.file, 200);
        u64(&s, NOWHERE);
        u64(&s, NOWHERE);
        for (unsigned i = 0; i < 200; i++) {
            mmh_buffer_u32(&s.file, 16);
            mmh_buffer_u32(&s.file, 0);
            u64(&s, 0);
            u64(&s, 0);
            u64(&s, 0);
            u64(&s, below);
        }
        below = node;
    }
    space(&s, 2, shape_4x4, NULL);
    type_f32(&s);
    chunked_3(&s, 2, chunk_2x2, below);
    link_to(&s, "w", header(&s));
    set_root(&s, header(&s));
    assert_quick(&s);
    assert_remark(&s, "tells of more");
    end(&s);
}

/* The same dataset by very many long names. */
static void test_names_without_end_come_to_one(void **state)
{
    char name[256];
    struct subject s;
    (void)state;
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    begin(&s, 0);
    uint64_t target = scalar(&s, data(&s, 16));
    for (unsigned group = 0; group < 15; group++) { /* one in another */
        for (unsigned i = 0; i < 2000; i++)
            link_to(&s, name, target);
        target = header(&s);
    }
    set_root(&s, target);
    assert_quick(&s);
    end(&s);
}

/* Arrays that claim more chunks than any file has. */
static void test_counts_beyond_reason_are_not_believed(void **state)
{
    (void)state;
    for (unsigned index = IMPLICIT; index <= EXTENSIBLE; index++) {
        const uint64_t shape[] = { 1ull << 60, 1 }, chunk[] = { 1, 1 };
        const uint64_t limits[] = { NOWHERE, 1 };
        struct subject s;
        begin(&s, 0);
        uint64_t first = data(&s, 64), block = here(&s);
        text(&s, index == FIXED ? "FADB" : "EAIB");
        mmh_buffer_zeros(&s.file, 10);
        for (unsigned i = 0; i < 300; i++)
            u64(&s, i % 2 ? block : first);
        uint64_t address = here(&s);
        text(&s, index == FIXED ? "FAHD" : "EAHD");
        u8(&s, 0);
        u8(&s, 0);
        u8(&s, 8);
        text(&s, index == FIXED ? "\12" : "\60\1\1\2\12");
        for (unsigned i = 0; i < (index == FIXED ? 1 : 6); i++)
            u64(&s, 1ull << 47);
        u64(&s, block);
        space(&s, 2, shape, limits);
        type_f32(&s);
        chunked_4(&s, 2, chunk, index, 0, "\0\0\0\0\0",
                  index == FIXED        ? 1
                  : index == EXTENSIBLE ? 5
                                        : 0,
                  index == IMPLICIT ? first : address);
        link_to(&s, "w", header(&s));
        set_root(&s, header(&s));
        assert_quick(&s);
        assert_true(s.map.remark_count > 0);
        end(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_symbol_tables_are_followed),
        cmocka_unit_test(test_links_in_headers_are_followed_once),
        cmocka_unit_test(test_short_strings_of_the_root_are_metadata),
        cmocka_unit_test(test_links_in_heaps_are_followed),
        cmocka_unit_test(test_every_chunk_index_finds_its_chunks),
        cmocka_unit_test(test_checksums_and_shuffles_are_looked_through),
        cmocka_unit_test(test_planes_of_large_shuffled_chunks_are_storages),
        cmocka_unit_test(test_chunks_that_are_the_array_are_one_tensor),
        cmocka_unit_test(test_types_of_ours_are_known),
        cmocka_unit_test(test_numpys_bool_and_complex_are_known),
        cmocka_unit_test(test_odd_datasets_are_left_out_alone),
        cmocka_unit_test(test_cut_files_are_mapped),
        cmocka_unit_test(test_changed_files_are_mapped),
        cmocka_unit_test(test_memory_that_runs_out_is_reported),
        cmocka_unit_test(test_reads_that_fail_are_reported),
        cmocka_unit_test(test_trees_without_end_come_to_one),
        cmocka_unit_test(test_names_without_end_come_to_one),
        cmocka_unit_test(test_counts_beyond_reason_are_not_believed),
    };
    return cmocka_run_group_tests_name("hdf5", tests, NULL, NULL);
}
