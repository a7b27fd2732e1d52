/*
 * Zip archives, pickles and PyTorch's formats: tensors are found as the frameworks name them, and
 * nothing that a file says does harm.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * All files are made here, byte by byte.
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

enum { STORED = 0, DEFLATED = 8, ENTRIES_MAX = 16 };

/* ---- files in memory, mapped ---- */

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
    mmh_arena_init(&subject->arena, NULL);
}

static void map_bytes(struct subject *subject, const uint8_t *data, size_t bytes)
{
    mmh_error err = { 0 };
    mmh_source source = mmh_source_of_memory(data, bytes, subject->name);
    mmh_extent_map_init(&subject->map, &subject->arena, source.bytes);
    if (mmh_format_detect_and_map(&subject->map, &source, &subject->options, &err))
        fail_msg("%s: %s", subject->name, err.message);
    const char *problem = map_problem(&subject->map);
    if (problem)
        fail_msg("%s: %s", subject->name, problem);
}

static void map(struct subject *subject)
{
    map_bytes(subject, subject->file.data, subject->file.bytes);
}

static void end(struct subject *subject)
{
    mmh_buffer_release(&subject->file);
    mmh_arena_release(&subject->arena);
}

/* Tensors as "name DTYPE [shape]" with what is odd about them, in file order; offsets count from
 * the first tensor's, as where an archive's data begin is the archive's affair. */
static void assert_tensors(const struct subject *subject, enum mmh_format_id format,
                           const char *expected)
{
    static char text[1 << 14];
    const struct mmh_extent_map *map_ = &subject->map;
    size_t used = 0;
    *text = '\0';
    for (size_t i = 0; i < map_->tensor_count && used < sizeof text; i++) {
        const struct mmh_map_tensor *tensor = &map_->tensors[i];
        used += (size_t)snprintf(text + used, sizeof text - used, "%s %s%s%s%s [", tensor->name,
                                 tensor->role == MMH_MAP_VIEW ? "view " : "",
                                 tensor->big_endian ? ">" : "", tensor->column_major ? "F:" : "",
                                 mmh_dtype_name(tensor->dtype));
        for (uint32_t d = 0; d < tensor->dimensions && used < sizeof text; d++)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%llu", d ? "," : "",
                                     (unsigned long long)tensor->shape[d]);
        for (uint32_t d = 0; tensor->strides && d < tensor->dimensions && used < sizeof text; d++)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%llu", d ? "," : "/",
                                     (unsigned long long)tensor->strides[d]);
        used += (size_t)snprintf(text + used, sizeof text - used, "] %llu\n",
                                 (unsigned long long)(tensor->offset - map_->tensors[0].offset));
    }
    assert_true(used < sizeof text);
    assert_string_equal(text, expected);
    assert_int_equal(map_->format, format);
}

static void assert_remark(const struct subject *subject, const char *part)
{
    for (size_t i = 0; i < subject->map.remark_count && i < MMH_MAP_REMARKS_MAX; i++)
        if (strstr(subject->map.remarks[i], part))
            return;
    for (size_t i = 0; i < subject->map.remark_count && i < MMH_MAP_REMARKS_MAX; i++)
        print_message("%s\n", subject->map.remarks[i]);
    fail_msg("%s: no remark says \"%s\"", subject->name, part);
}

/* Whatever is done to the file, its map tiles it: cut anywhere, any byte changed. */
static void assert_sturdy(const struct subject *subject)
{
    static const uint8_t changes[] = { 0xff, 0x01, 0x80 };
    uint8_t *copy = malloc(subject->file.bytes);
    assert_non_null(copy);
    for (size_t i = 0; i < subject->file.bytes; i++) {
        struct subject cut;
        begin(&cut, subject->name);
        cut.options = subject->options;
        map_bytes(&cut, subject->file.data, i);
        end(&cut);
        for (size_t c = 0; c < sizeof changes; c++) {
            struct subject changed;
            begin(&changed, subject->name);
            changed.options = subject->options;
            memcpy(copy, subject->file.data, subject->file.bytes);
            copy[i] ^= changes[c];
            map_bytes(&changed, copy, subject->file.bytes);
            end(&changed);
        }
    }
    free(copy);
}

/* ---- pickles ---- */

static void op(struct mmh_buffer *out, const char *opcodes)
{
    mmh_buffer_bytes(out, opcodes, strlen(opcodes));
}

static void text(struct mmh_buffer *out, const char *value)
{
    mmh_buffer_u8(out, 'X');
    mmh_buffer_u32(out, (uint32_t)strlen(value));
    op(out, value);
}

static void global(struct mmh_buffer *out, const char *module, const char *name)
{
    op(out, "c");
    op(out, module);
    op(out, "\n");
    op(out, name);
    op(out, "\n");
}

static void integer(struct mmh_buffer *out, uint32_t value)
{
    mmh_buffer_u8(out, 'J');
    mmh_buffer_u32(out, value);
}

static void integers(struct mmh_buffer *out, const char *values)
{
    op(out, "(");
    for (char *at = (char *)(uintptr_t)values; *at;) {
        integer(out, (uint32_t)strtoul(at, &at, 10));
        at += *at == ',';
    }
    op(out, "t");
}

static void begin_pickle(struct mmh_buffer *out)
{
    mmh_buffer_u8(out, 0x80);
    mmh_buffer_u8(out, 2);
}

static void storage(struct mmh_buffer *out, const char *type, const char *key, uint32_t count)
{
    op(out, "(");
    text(out, "storage");
    global(out, "torch", type);
    text(out, key);
    text(out, "cpu");
    integer(out, count);
    op(out, "tQ");
}

/* _rebuild_tensor_v2(storage, offset, shape, strides, False, None), with a dtype: _v3. */
static void tensor(struct mmh_buffer *out, const char *type, const char *key, uint32_t count,
                   uint32_t offset, const char *shape, const char *strides, const char *dtype)
{
    global(out, "torch._utils", dtype ? "_rebuild_tensor_v3" : "_rebuild_tensor_v2");
    op(out, "(");
    storage(out, type, key, count);
    integer(out, offset);
    integers(out, shape);
    integers(out, strides);
    op(out, "\x89N");
    if (dtype)
        global(out, "torch", dtype);
    op(out, "tR");
}

/* A tensor of floats that covers its storage. */
static void floats(struct mmh_buffer *out, const char *key, uint32_t count)
{
    char shape[16];
    snprintf(shape, sizeof shape, "%u", (unsigned)count);
    tensor(out, "FloatStorage", key, count, 0, shape, "1", NULL);
}

/* ---- zips ---- */

struct zip {
    struct mmh_buffer *out;
    size_t begin; /* of the archive: offsets count from here */
    unsigned count;
    struct {
        const char *name;
        size_t header, bytes;
        uint16_t method, flags;
    } entries[ENTRIES_MAX];
    bool zip64;
    const char *comment;
};

static void begin_zip(struct zip *zip, struct mmh_buffer *out)
{
    memset(zip, 0, sizeof *zip);
    zip->out = out;
    zip->begin = out->bytes;
    zip->comment = "";
}

/* An entry as torch writes it: sizes behind the data, and padding in the extra field. */
static void entry(struct zip *zip, const char *name, uint16_t method, const void *data,
                  size_t bytes)
{
    struct mmh_buffer *out = zip->out;
    zip->entries[zip->count].name = name;
    zip->entries[zip->count].header = out->bytes - zip->begin;
    zip->entries[zip->count].bytes = bytes;
    zip->entries[zip->count].flags = 0x808;
    zip->entries[zip->count++].method = method;
    mmh_buffer_u32(out, 0x04034b50);
    mmh_buffer_u16(out, 20);
    mmh_buffer_u16(out, 0x808);
    mmh_buffer_u16(out, method);
    mmh_buffer_zeros(out, 16); /* time, CRC, both sizes */
    mmh_buffer_u16(out, (uint16_t)strlen(name));
    mmh_buffer_u16(out, 7);
    op(out, name);
    mmh_buffer_bytes(out, "FB\x03\0ZZZ", 7);
    if (data)
        mmh_buffer_bytes(out, data, bytes);
    else
        mmh_buffer_zeros(out, bytes);
    mmh_buffer_u32(out, 0x08074b50);
    mmh_buffer_zeros(out, 12);
}

static void end_zip(struct zip *zip)
{
    struct mmh_buffer *out = zip->out;
    size_t directory = out->bytes;
    for (unsigned i = 0; i < zip->count; i++) {
        mmh_buffer_u32(out, 0x02014b50);
        mmh_buffer_u32(out, 20);
        mmh_buffer_u16(out, zip->entries[i].flags);
        mmh_buffer_u16(out, zip->entries[i].method);
        mmh_buffer_zeros(out, 8);
        for (int size = 0; size < 2; size++)
            mmh_buffer_u32(out, zip->zip64 ? UINT32_MAX : (uint32_t)zip->entries[i].bytes);
        mmh_buffer_u16(out, (uint16_t)strlen(zip->entries[i].name));
        mmh_buffer_u16(out, zip->zip64 ? 28 : 0);
        mmh_buffer_zeros(out, 10);
        mmh_buffer_u32(out, zip->zip64 ? UINT32_MAX : (uint32_t)zip->entries[i].header);
        op(out, zip->entries[i].name);
        if (zip->zip64) {
            mmh_buffer_u32(out, 24 << 16 | 1);
            mmh_buffer_u64(out, zip->entries[i].bytes);
            mmh_buffer_u64(out, zip->entries[i].bytes);
            mmh_buffer_u64(out, zip->entries[i].header);
        }
    }
    size_t record = out->bytes;
    if (zip->zip64) {
        mmh_buffer_u32(out, 0x06064b50);
        mmh_buffer_u64(out, 44);
        mmh_buffer_zeros(out, 12);
        mmh_buffer_u64(out, zip->count);
        mmh_buffer_u64(out, zip->count);
        mmh_buffer_u64(out, record - directory);
        mmh_buffer_u64(out, directory - zip->begin);
        mmh_buffer_u32(out, 0x07064b50);
        mmh_buffer_u32(out, 0);
        mmh_buffer_u64(out, record - zip->begin);
        mmh_buffer_u32(out, 1);
    }
    mmh_buffer_u32(out, 0x06054b50);
    mmh_buffer_u32(out, 0);
    mmh_buffer_u16(out, zip->zip64 ? UINT16_MAX : (uint16_t)zip->count);
    mmh_buffer_u16(out, zip->zip64 ? UINT16_MAX : (uint16_t)zip->count);
    mmh_buffer_u32(out, zip->zip64 ? UINT32_MAX : (uint32_t)(record - directory));
    mmh_buffer_u32(out, zip->zip64 ? UINT32_MAX : (uint32_t)(directory - zip->begin));
    mmh_buffer_u16(out, (uint16_t)strlen(zip->comment));
    op(out, zip->comment);
}

/* An npy file of float32 [count]. */
static void npy_entry(struct zip *zip, const char *name, uint16_t method, unsigned count)
{
    struct mmh_buffer npy;
    char header[128];
    snprintf(header, sizeof header, "{'descr': '<f4', 'fortran_order': False, 'shape': (%u,), }",
             count);
    mmh_buffer_init(&npy, NULL);
    mmh_buffer_bytes(&npy, "\x93NUMPY\x01", 8);
    mmh_buffer_u16(&npy, (uint16_t)strlen(header));
    op(&npy, header);
    mmh_buffer_zeros(&npy, (size_t)count * 4);
    entry(zip, name, method, npy.data, npy.bytes);
    mmh_buffer_release(&npy);
}

static void test_npz_arrays_are_called_as_numpy_does(void **state)
{
    (void)state;
    for (int variant = 0; variant < 4; variant++) { /* plain, zip64, comment, junk before it */
        struct subject s;
        struct zip zip;
        begin(&s, "m.npz");
        if (variant == 3)
            op(&s.file, "#!/bin/sh junk");
        begin_zip(&zip, &s.file);
        zip.zip64 = variant == 1;
        zip.comment = variant >= 2 ? "PK\5\6 is not the end" : "";
        npy_entry(&zip, "x.npy", STORED, 5);
        npy_entry(&zip, "deep/er.y.npy", STORED, 2);
        npy_entry(&zip, "packed.npy", DEFLATED, 2);
        npy_entry(&zip, "\xc3\xa9.npy", STORED, 1);
        end_zip(&zip);
        map(&s);
        assert_int_equal(s.map.tensor_count, 3);
        assert_string_equal(s.map.tensors[0].name, "x");
        assert_string_equal(s.map.tensors[1].name, "deep/er.y");
        assert_string_equal(s.map.tensors[2].name, "\xc3\xa9");
        assert_int_equal(s.map.format, MMH_FORMAT_ZIP);
        assert_remark(&s, "compressed already");
        end(&s);
    }
}

static void test_names_that_are_not_utf8_are_code_page_437(void **state)
{
    struct subject s;
    struct zip zip;
    (void)state;
    begin(&s, "m.npz");
    begin_zip(&zip, &s.file);
    npy_entry(&zip, "\x82\xb0.npy", STORED, 5);
    zip.entries[0].flags = 0;
    end_zip(&zip);
    map(&s);
    assert_tensors(&s, MMH_FORMAT_ZIP, "\xc3\xa9\xe2\x96\x91 F32 [5] 0\n");
    end(&s);
}

static void test_entries_of_other_archives_are_prefixed_and_keras_weights_are_not(void **state)
{
    struct subject s;
    struct zip zip;
    (void)state;
    begin(&s, "m.zip");
    begin_zip(&zip, &s.file);
    npy_entry(&zip, "a/x.npy", STORED, 5);
    npy_entry(&zip, "model.weights.h5", STORED, 1);
    entry(&zip, "readme", STORED, "hello", 5);
    end_zip(&zip);
    map(&s);
    assert_int_equal(s.map.tensor_count, 2);
    assert_string_equal(s.map.tensors[0].name, "a/x.npy/x");
    assert_string_equal(s.map.tensors[1].name, "model.weights");
    end(&s);
}

static void test_of_entries_that_overlap_the_first_stays(void **state)
{
    struct subject s;
    struct zip zip;
    (void)state;
    begin(&s, "m.npz");
    begin_zip(&zip, &s.file);
    npy_entry(&zip, "x.npy", STORED, 5);
    npy_entry(&zip, "y.npy", STORED, 5);
    zip.entries[1].header = 0;
    end_zip(&zip);
    map(&s);
    assert_tensors(&s, MMH_FORMAT_ZIP, "x F32 [5] 0\n");
    assert_remark(&s, "overlap others");
    end(&s);
}

static void test_damaged_archives_do_no_harm(void **state)
{
    struct subject s;
    struct zip zip;
    (void)state;
    begin(&s, "m.npz");
    begin_zip(&zip, &s.file);
    zip.zip64 = true;
    npy_entry(&zip, "x.npy", STORED, 2);
    npy_entry(&zip, "y.npy", STORED, 2);
    end_zip(&zip);
    assert_sturdy(&s);
    end(&s);
}

/* ---- torch zips ---- */

/* An archive of data.pkl and storages of so many bytes each ("0", "1", ...). */
static void put_archive(struct subject *subject, const struct mmh_buffer *pickle, bool big_endian,
                        unsigned storage_count, const size_t *storage_bytes)
{
    static const char *const names[] = { "m/data/0", "m/data/1", "m/data/2", "m/data/3" };
    struct zip zip;
    begin_zip(&zip, &subject->file);
    entry(&zip, "m/data.pkl", STORED, pickle->data, pickle->bytes);
    entry(&zip, "m/byteorder", STORED, big_endian ? "big" : "little", big_endian ? 3 : 6);
    for (unsigned i = 0; i < storage_count; i++)
        entry(&zip, names[i], STORED, NULL, storage_bytes[i]);
    end_zip(&zip);
}

/* One whole pickle, made by `put`, on storages of 40 bytes each. */
static void begin_archive(struct subject *s, void (*put)(struct mmh_buffer *out), bool big_endian,
                          unsigned storage_count)
{
    static const size_t storage_bytes[] = { 40, 40, 40, 40 };
    struct mmh_buffer pickle;
    begin(s, "folder/model.pt");
    mmh_buffer_init(&pickle, NULL);
    begin_pickle(&pickle);
    put(&pickle);
    op(&pickle, ".");
    put_archive(s, &pickle, big_endian, storage_count, storage_bytes);
    mmh_buffer_release(&pickle);
}

static void put_nested(struct mmh_buffer *out)
{
    op(out, "}(");
    text(out, "model");
    global(out, "collections", "OrderedDict");
    op(out, ")R(");
    text(out, "a.weight");
    floats(out, "0", 10);
    op(out, "u");
    text(out, "list");
    op(out, "](");
    op(out, "K\x07");
    floats(out, "1", 10);
    op(out, "e");
    op(out, "K\x05");
    global(out, "torch._utils", "_rebuild_parameter");
    op(out, "(");
    floats(out, "2", 10);
    op(out, "\x88NtR");
    op(out, "u");
}

static void test_names_are_the_paths_of_keys(void **state)
{
    struct subject s;
    (void)state;
    begin_archive(&s, put_nested, false, 3);
    map(&s);
    assert_int_equal(s.map.tensor_count, 3);
    assert_string_equal(s.map.tensors[0].name, "model.a.weight");
    assert_string_equal(s.map.tensors[1].name, "list.1");
    assert_string_equal(s.map.tensors[2].name, "5");
    assert_int_equal(s.map.format, MMH_FORMAT_TORCH);
    end(&s);
}

static void put_alone(struct mmh_buffer *out)
{
    tensor(out, "FloatStorage", "0", 10, 0, "2,5", "5,1", NULL);
}

static void test_a_tensor_alone_is_called_as_its_file(void **state)
{
    struct subject s;
    (void)state;
    begin_archive(&s, put_alone, true, 1);
    map(&s);
    assert_tensors(&s, MMH_FORMAT_TORCH, "model >F32 [2,5] 0\n");
    end(&s);
}

static void put_module(struct mmh_buffer *out)
{
    global(out, "__main__", "Net");
    op(out, ")\x81}(");
    text(out, "training");
    op(out, "\x88");
    text(out, "_parameters");
    op(out, "}(");
    text(out, "weight");
    floats(out, "0", 10);
    op(out, "u");
    text(out, "_buffers");
    op(out, "}(");
    text(out, "mean");
    floats(out, "1", 10);
    op(out, "u");
    text(out, "_modules");
    op(out, "}(");
    text(out, "0");
    global(out, "__main__", "Sub");
    op(out, ")\x81}(");
    text(out, "_parameters");
    op(out, "}(");
    text(out, "bias");
    floats(out, "2", 10);
    op(out, "u");
    text(out, "_modules");
    op(out, "}ubuub");
}

static void test_modules_have_the_names_of_their_state_dict(void **state)
{
    struct subject s;
    (void)state;
    begin_archive(&s, put_module, false, 3);
    map(&s);
    assert_int_equal(s.map.tensor_count, 3);
    assert_string_equal(s.map.tensors[0].name, "weight");
    assert_string_equal(s.map.tensors[1].name, "mean");
    assert_string_equal(s.map.tensors[2].name, "0.bias");
    end(&s);
}

static void put_views(struct mmh_buffer *out)
{
    op(out, "}(");
    text(out, "row");
    tensor(out, "FloatStorage", "0", 10, 5, "5", "1", NULL);
    text(out, "column");
    tensor(out, "FloatStorage", "0", 10, 1, "2", "5", NULL);
    text(out, "transposed");
    tensor(out, "FloatStorage", "1", 10, 0, "5,2", "1,5", NULL);
    text(out, "tied");
    floats(out, "2", 10);
    text(out, "tied_too");
    floats(out, "2", 10);
    text(out, "expanded");
    tensor(out, "FloatStorage", "2", 10, 0, "3,2", "0,1", NULL);
    text(out, "ordered");
    tensor(out, "HalfStorage", "3", 20, 0, "1,2,5,2", "20,1,4,2", NULL);
    op(out, "u");
}

static void test_storages_carry_views_and_ties(void **state)
{
    struct subject s;
    (void)state;
    begin_archive(&s, put_views, false, 4);
    map(&s);
    assert_int_equal(s.map.tensor_count, 7);
    unsigned seen = 0;
    for (size_t i = 0; i < s.map.tensor_count; i++) {
        const struct mmh_map_tensor *t = &s.map.tensors[i];
        if (strcmp(t->name, "row") == 0) {
            assert_int_equal(t->role, MMH_MAP_VIEW);
            assert_null(t->strides);
            seen++;
        } else if (strcmp(t->name, "column") == 0) {
            assert_int_equal(t->strides[0], 5);
            assert_int_equal(t->bytes, 24);
            seen++;
        } else if (strcmp(t->name, "transposed") == 0) {
            assert_true(t->column_major && t->role == MMH_MAP_TENSOR);
            seen++;
        } else if (strcmp(t->name, "expanded") == 0) {
            assert_int_equal(t->strides[0], 0);
            assert_int_equal(t->bytes, 8);
            seen++;
        } else if (strcmp(t->name, "ordered") == 0) {
            assert_int_equal(t->role, MMH_MAP_VIEW);
            seen++;
        }
    }
    assert_int_equal(seen, 5);
    seen = 0;
    for (size_t i = 0; i < s.map.extent_count; i++) {
        const struct mmh_extent *extent = &s.map.extents[i];
        if (!extent->name)
            continue;
        assert_int_equal(extent->bytes, 40);
        if (strcmp(extent->name, "storage 0") == 0)
            assert_int_equal(extent->dimensions, 1);
        if (strcmp(extent->name, "tied") == 0)
            assert_int_equal(extent->owner_count, 2);
        if (strcmp(extent->name, "storage 3") == 0) /* in the order of memory */
            assert_true(extent->dimensions == 4 && extent->shape[1] == 5 && extent->shape[3] == 2);
        seen++;
    }
    assert_int_equal(seen, 4);
    end(&s);
}

static void put_types(struct mmh_buffer *out)
{
    op(out, "}(");
    text(out, "f8");
    tensor(out, "UntypedStorage", "0", 40, 0, "40", "1", "float8_e4m3fn");
    text(out, "bf");
    tensor(out, "BFloat16Storage", "1", 20, 0, "20", "1", NULL);
    text(out, "q");
    global(out, "torch._utils", "_rebuild_qtensor");
    op(out, "(");
    storage(out, "QInt8Storage", "2", 40);
    op(out, "K");
    mmh_buffer_u8(out, 0);
    integers(out, "40");
    integers(out, "1");
    op(out, "(");
    global(out, "torch", "per_tensor_affine");
    op(out, "NK\x03t\x89NtR");
    text(out, "sparse");
    global(out, "torch._utils", "_rebuild_sparse_tensor");
    op(out, "(");
    global(out, "torch.serialization", "_get_layout");
    text(out, "torch.sparse_coo");
    op(out, "\x85R(");
    tensor(out, "LongStorage", "3", 5, 0, "1,5", "5,1", NULL);
    tensor(out, "LongStorage", "3", 5, 0, "5", "1", NULL);
    op(out, "NttR");
    op(out, "u");
}

static void test_types_are_the_framework_s(void **state)
{
    struct subject s;
    (void)state;
    begin_archive(&s, put_types, false, 4);
    map(&s);
    assert_int_equal(s.map.tensor_count, 5);
    assert_int_equal(s.map.tensors[0].dtype, MMH_DTYPE_F8_E4M3);
    assert_int_equal(s.map.tensors[1].dtype, MMH_DTYPE_BF16);
    assert_int_equal(s.map.tensors[2].dtype, MMH_DTYPE_I8);
    assert_string_equal(s.map.tensors[3].name, "sparse.indices");
    assert_string_equal(s.map.tensors[4].name, "sparse.values");
    end(&s);
}

static void put_odd(struct mmh_buffer *out)
{
    op(out, "}(");
    text(out, "far");
    tensor(out, "FloatStorage", "0", 10, 1, "10", "1", NULL);
    text(out, "huge");
    tensor(out, "FloatStorage", "0", 10, 0, "2147483647,2147483647,2147483647", "1,1,1", NULL);
    text(out, "gone");
    tensor(out, "FloatStorage", "9", 10, 0, "10", "1", NULL);
    text(out, "negative");
    tensor(out, "FloatStorage", "0", 10, 0, "4294967295", "1", NULL);
    text(out, "unlike");
    tensor(out, "FloatStorage", "0", 10, 0, "1,1", "1", NULL);
    text(out, "untold");
    tensor(out, "OddStorage", "0", 10, 0, "1", "1", NULL);
    text(out, "empty");
    tensor(out, "FloatStorage", "9", 0, 0, "0,3", "3,1", NULL);
    text(out, "good");
    floats(out, "0", 10);
    op(out, "u");
}

static void test_odd_tensors_are_left_out_alone(void **state)
{
    struct subject s;
    (void)state;
    begin_archive(&s, put_odd, false, 1);
    map(&s);
    assert_int_equal(s.map.tensor_count, 2);
    assert_string_equal(s.map.tensors[0].name, "empty");
    assert_string_equal(s.map.tensors[1].name, "good");
    assert_int_equal(s.map.tensors[1].role, MMH_MAP_TENSOR);
    assert_remark(&s, "\"far\" reaches past its storage");
    assert_remark(&s, "\"huge\" has a shape whose size overflows");
    assert_remark(&s, "\"gone\" lies in a storage that the file lacks");
    assert_remark(&s, "\"negative\" has no shape");
    assert_remark(&s, "\"unlike\" has no shape");
    assert_remark(&s, "\"untold\" has an element type");
    end(&s);
}

static void test_damaged_torch_files_do_no_harm(void **state)
{
    struct subject s;
    (void)state;
    begin_archive(&s, put_views, false, 4);
    assert_sturdy(&s);
    end(&s);
    begin_archive(&s, put_module, false, 2);
    assert_sturdy(&s);
    end(&s);
}

/* Lists that hold the one before twice: 2^200 paths to one tensor. */
static void put_shared(struct mmh_buffer *out)
{
    floats(out, "0", 10);
    op(out, "q");
    mmh_buffer_u8(out, 0);
    for (uint8_t i = 1; i < 200; i++) {
        op(out, "](h");
        mmh_buffer_u8(out, (uint8_t)(i - 1));
        op(out, "h");
        mmh_buffer_u8(out, (uint8_t)(i - 1));
        op(out, "eq");
        mmh_buffer_u8(out, i);
    }
}

static void test_values_that_are_shared_are_not_looked_at_without_end(void **state)
{
    struct subject s;
    (void)state;
    begin_archive(&s, put_shared, false, 1);
    map(&s);
    assert_true(s.map.tensor_count <= 1024);
    end(&s);
}

/* 200 lists that each hold all of them. */
static void put_tangle(struct mmh_buffer *out)
{
    floats(out, "0", 10);
    for (uint8_t i = 0; i < 200; i++) {
        op(out, "]q");
        mmh_buffer_u8(out, i);
        op(out, "0");
    }
    for (uint8_t i = 0; i < 200; i++) {
        op(out, "h");
        mmh_buffer_u8(out, i);
        op(out, "(");
        for (uint8_t k = 0; k < 200; k++) {
            op(out, "h");
            mmh_buffer_u8(out, k);
        }
        op(out, "e0");
    }
    op(out, "0h");
    mmh_buffer_u8(out, 0);
}

static void test_values_that_hold_one_another_are_left_soon(void **state)
{
    struct subject s;
    (void)state;
    begin_archive(&s, put_tangle, false, 1);
    map(&s);
    assert_int_equal(s.map.tensor_count, 0);
    assert_remark(&s, "nested too deep or too often");
    end(&s);
}

/* A list that holds itself. */
static void put_cycle(struct mmh_buffer *out)
{
    op(out, "]q");
    mmh_buffer_u8(out, 0);
    op(out, "(h");
    mmh_buffer_u8(out, 0);
    floats(out, "0", 10);
    op(out, "e");
}

static void test_values_that_hold_themselves_are_looked_at_once(void **state)
{
    struct subject s;
    (void)state;
    begin_archive(&s, put_cycle, false, 1);
    map(&s);
    assert_tensors(&s, MMH_FORMAT_TORCH, "1 F32 [10] 0\n");
    end(&s);
}

/* ---- torch.export ---- */

static void test_exported_weights_are_named_by_their_configuration(void **state)
{
    static const char config[] =
        "{\"config\":{\"l.weight\":{\"path_name\":\"weight_0\",\"is_param\":true,"
        "\"use_pickle\":false,\"tensor_meta\":{\"dtype\":7,\"sizes\":[{\"as_int\":2},"
        "{\"as_int\":5}],\"strides\":[{\"as_int\":5},{\"as_int\":1}],"
        "\"storage_offset\":{\"as_int\":0}}},"
        "\"part\":{\"path_name\":\"weight_0\",\"tensor_meta\":{\"dtype\":7,\"sizes\":"
        "[{\"as_int\":3}],\"strides\":[{\"as_int\":1}],\"storage_offset\":{\"as_int\":4}}},"
        "\"odd\":{\"path_name\":\"weight_0\",\"tensor_meta\":{\"dtype\":7,\"sizes\":"
        "[{\"as_expr\":{}}],\"strides\":[{\"as_int\":1}]}}}}";
    struct subject s;
    struct zip zip;
    (void)state;
    begin(&s, "m.pt2");
    begin_zip(&zip, &s.file);
    entry(&zip, "m/archive_format", STORED, "pt2", 3);
    entry(&zip, "m/data/weights/weight_0", STORED, NULL, 40);
    entry(&zip, "m/data/weights/model_weights_config.json", STORED, config, strlen(config));
    end_zip(&zip);
    map(&s);
    assert_tensors(&s, MMH_FORMAT_TORCH, "l.weight F32 [2,5] 0\npart view F32 [3] 16\n");
    assert_remark(&s, "\"odd\" has no shape");
    assert_sturdy(&s);
    end(&s);
}

/* ---- the legacy stream ---- */

static void legacy_head(struct mmh_buffer *out)
{
    static const uint8_t magic[] = { 0x80, 2,    0x8a, 10,   0x6c, 0xfc, 0x9c, 0x46,
                                     0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.' };
    mmh_buffer_bytes(out, magic, sizeof magic);
    begin_pickle(out);
    op(out, "M\xe9\x03.");
    begin_pickle(out);
    op(out, "}.");
}

static void legacy_storage(struct mmh_buffer *out, const char *type, const char *key,
                           uint32_t count, const char *view)
{
    op(out, "(");
    text(out, "storage");
    global(out, "torch", type);
    text(out, key);
    text(out, "cpu");
    integer(out, count);
    if (view) {
        op(out, "(");
        text(out, "view");
        op(out, view);
        op(out, "t");
    } else {
        op(out, "N");
    }
    op(out, "tQ");
}

static void legacy_tensor(struct mmh_buffer *out, const char *type, const char *key, uint32_t count,
                          const char *view, const char *shape, const char *strides)
{
    global(out, "torch._utils", "_rebuild_tensor");
    op(out, "(");
    legacy_storage(out, type, key, count, view);
    op(out, "K");
    mmh_buffer_u8(out, 0);
    integers(out, shape);
    integers(out, strides);
    op(out, "tR");
}

static void put_legacy(struct subject *s)
{
    struct mmh_buffer *out = &s->file;
    legacy_head(out);
    begin_pickle(out);
    op(out, "}(");
    text(out, "b");
    legacy_tensor(out, "FloatStorage", "22", 6, NULL, "2,3", "3,1");
    text(out, "a");
    legacy_tensor(out, "LongStorage", "11", 2, NULL, "2", "1");
    text(out, "v");
    legacy_tensor(out, "FloatStorage", "22", 6, "K\x02K\x03", "3", "1");
    op(out, "u.");
    begin_pickle(out);
    op(out, "](");
    text(out, "11");
    text(out, "22");
    op(out, "e.");
    mmh_buffer_u64(out, 2);
    mmh_buffer_zeros(out, 16);
    mmh_buffer_u64(out, 6);
    mmh_buffer_zeros(out, 24);
}

static void test_legacy_streams_are_mapped_storage_by_storage(void **state)
{
    struct subject s;
    (void)state;
    begin(&s, "m.pth");
    put_legacy(&s);
    map(&s);
    assert_tensors(&s, MMH_FORMAT_TORCH_LEGACY, "a I64 [2] 0\nb F32 [2,3] 24\nv view F32 [3] 32\n");
    assert_int_equal(s.map.tensors[1].offset + 24, s.file.bytes);
    assert_int_equal(s.map.remark_count, 0);
    assert_sturdy(&s);
    end(&s);
}

/* ---- the tar before it ---- */

static void put_member(struct mmh_buffer *out, const char *name, const struct mmh_buffer *data)
{
    uint8_t block[512] = { 0 };
    unsigned sum = 0;
    memcpy(block, name, strlen(name));
    snprintf((char *)block + 124, 12, "%011o", (unsigned)data->bytes);
    memset(block + 148, ' ', 8);
    block[156] = '0';
    for (size_t i = 0; i < sizeof block; i++)
        sum += block[i];
    snprintf((char *)block + 148, 8, "%06o", sum);
    mmh_buffer_bytes(out, block, sizeof block);
    mmh_buffer_bytes(out, data->data, data->bytes);
    mmh_buffer_align(out, 512);
}

static void number_pickle(struct mmh_buffer *out, uint32_t number)
{
    begin_pickle(out);
    integer(out, number);
    op(out, ".");
}

static void test_tars_of_old_are_mapped(void **state)
{
    struct subject s;
    struct mmh_buffer member;
    (void)state;
    begin(&s, "m.tar");
    mmh_buffer_init(&member, NULL);
    number_pickle(&member, 1);
    begin_pickle(&member);
    op(&member, "(K\x07");
    text(&member, "cpu");
    global(&member, "torch", "FloatStorage");
    op(&member, "t.");
    mmh_buffer_u64(&member, 6);
    mmh_buffer_zeros(&member, 24);
    begin_pickle(&member);
    op(&member, "]((K\x08K\x07K\x02K\x04te."); /* storage 8: four of storage 7, from the third on */
    put_member(&s.file, "storages", &member);
    mmh_buffer_clear(&member);
    number_pickle(&member, 2);
    for (unsigned i = 0; i < 2; i++) {
        begin_pickle(&member);
        op(&member, i ? "(K\x0bK\x08" : "(K\x0aK\x07");
        global(&member, "torch", "FloatTensor");
        op(&member, "t.");
        mmh_buffer_u64(&member, 1);
        mmh_buffer_u64(&member, i ? 4 : 6);
        mmh_buffer_u64(&member, 1);
        mmh_buffer_u64(&member, 0);
    }
    put_member(&s.file, "tensors", &member);
    mmh_buffer_clear(&member);
    begin_pickle(&member);
    op(&member, "}(");
    text(&member, "w");
    op(&member, "K\x0aQ");
    text(&member, "part");
    op(&member, "K\x0bQu.");
    put_member(&s.file, "pickle", &member);
    mmh_buffer_release(&member);
    map(&s);
    assert_tensors(&s, MMH_FORMAT_TORCH_TAR, "w F32 [6] 0\npart view F32 [4] 8\n");
    assert_sturdy(&s);
    end(&s);
}

/* ---- distributed checkpoints ---- */

/* One item: an archive with a tensor of floats alone. */
static size_t put_item(struct subject *s, unsigned count)
{
    struct mmh_buffer pickle;
    size_t before = s->file.bytes, bytes = (size_t)count * 4;
    mmh_buffer_init(&pickle, NULL);
    begin_pickle(&pickle);
    floats(&pickle, "0", count);
    op(&pickle, ".");
    put_archive(s, &pickle, false, 1, &bytes);
    mmh_buffer_release(&pickle);
    return s->file.bytes - before;
}

static void test_shards_without_metadata_are_numbered(void **state)
{
    struct subject s;
    (void)state;
    begin(&s, "__0_0.distcp");
    put_item(&s, 4);
    put_item(&s, 3);
    map(&s);
    assert_int_equal(s.map.tensor_count, 2);
    assert_string_equal(s.map.tensors[0].name, "0");
    assert_string_equal(s.map.tensors[1].name, "1");
    assert_int_equal(s.map.format, MMH_FORMAT_TORCH_SHARD);
    assert_sturdy(&s);
    end(&s);
}

static struct mmh_buffer metadata;

static mmh_status read_beside(void *context, const char *name, size_t bytes_max, uint8_t **data,
                              size_t *bytes, const mmh_allocator *allocator, mmh_error *err)
{
    (void)context;
    if (strcmp(name, ".metadata") != 0 || metadata.bytes > bytes_max)
        return mmh_fail(err, MMH_E_IO, "no such file");
    *data = mmh_alloc(allocator, 0, metadata.bytes);
    if (!*data)
        return mmh_fail(err, MMH_E_MEMORY, "a file");
    memcpy(*data, metadata.data, metadata.bytes);
    *bytes = metadata.bytes;
    return MMH_OK;
}

static void metadata_object(const char *class)
{
    global(&metadata, "torch.distributed.checkpoint.metadata", class);
    op(&metadata, ")\x81}(");
}

static void metadata_place(const char *tensor_name, const char *offset, size_t at, size_t bytes)
{
    metadata_object("MetadataIndex");
    text(&metadata, "fqn");
    text(&metadata, tensor_name);
    if (offset) {
        text(&metadata, "offset");
        global(&metadata, "torch", "Size");
        integers(&metadata, offset);
        op(&metadata, "\x85R");
    }
    op(&metadata, "ub");
    metadata_object("_StorageInfo");
    text(&metadata, "relative_path");
    text(&metadata, "__0_0.distcp");
    text(&metadata, "offset");
    integer(&metadata, (uint32_t)at);
    text(&metadata, "length");
    integer(&metadata, (uint32_t)bytes);
    op(&metadata, "ub");
}

static void metadata_chunk(const char *offset, const char *sizes)
{
    metadata_object("ChunkStorageMetadata");
    text(&metadata, "offsets");
    integers(&metadata, offset);
    text(&metadata, "sizes");
    integers(&metadata, sizes);
    op(&metadata, "ub");
}

static void test_shards_are_named_by_their_metadata(void **state)
{
    struct subject s;
    (void)state;
    begin(&s, "folder/__0_0.distcp");
    size_t first = put_item(&s, 4), second = put_item(&s, 3), third = put_item(&s, 2);
    mmh_buffer_zeros(&s.file, 40);
    mmh_buffer_init(&metadata, NULL);
    begin_pickle(&metadata);
    metadata_object("Metadata");
    text(&metadata, "state_dict_metadata");
    op(&metadata, "}(");
    text(&metadata, "whole.weight");
    metadata_object("TensorStorageMetadata");
    text(&metadata, "size");
    integers(&metadata, "4");
    text(&metadata, "chunks");
    op(&metadata, "](");
    metadata_chunk("0", "4");
    op(&metadata, "eub");
    text(&metadata, "parted");
    metadata_object("TensorStorageMetadata");
    text(&metadata, "size");
    integers(&metadata, "6");
    text(&metadata, "chunks");
    op(&metadata, "](");
    metadata_chunk("0", "3");
    metadata_chunk("3", "3");
    op(&metadata, "eub");
    op(&metadata, "u");
    text(&metadata, "storage_data");
    op(&metadata, "}(");
    metadata_place("whole.weight", "0", 0, first);
    metadata_place("parted", "3", first, second);
    metadata_place("other", NULL, first + second, third);
    metadata_place("outside", NULL, first + second, third + 41);
    metadata_place("no archive", NULL, first + second + third, 40);
    metadata_place("again", NULL, 0, first);
    op(&metadata, "uub.");
    s.options.read_beside = read_beside;
    map(&s);
    assert_int_equal(s.map.tensor_count, 3);
    assert_string_equal(s.map.tensors[0].name, "whole.weight");
    assert_string_equal(s.map.tensors[1].name, "parted[3:6]");
    assert_string_equal(s.map.tensors[2].name, "other");
    assert_remark(&s, "\"outside\" lies outside of the file");
    assert_remark(&s, "\"no archive\" is no archive");
    assert_remark(&s, "\"again\" has no bytes of its own");
    for (size_t i = 0; i < metadata.bytes; i++) { /* damaged metadata do no harm */
        struct subject again;
        begin(&again, s.name);
        again.options = s.options;
        metadata.data[i] ^= 0x81;
        map_bytes(&again, s.file.data, s.file.bytes);
        metadata.data[i] ^= 0x81;
        end(&again);
    }
    end(&s);
    begin(&s, ".metadata");
    mmh_buffer_bytes(&s.file, metadata.data, metadata.bytes);
    map(&s);
    assert_tensors(&s, MMH_FORMAT_TORCH_METADATA, "");
    end(&s);
    mmh_buffer_release(&metadata);
}

/* ---- bare pickles ---- */

/* dtype('f4') of that byte order. */
static void numpy_type(struct mmh_buffer *out, const char *order)
{
    global(out, "numpy", "dtype");
    op(out, "(");
    text(out, "f4");
    op(out, "\x89\x88tR(K\x03");
    text(out, order);
    op(out, "NNNtb");
}

static void test_arrays_in_pickles_are_found(void **state)
{
    struct subject s;
    (void)state;
    begin(&s, "m.pkl");
    mmh_buffer_u8(&s.file, 0x80);
    mmh_buffer_u8(&s.file, 3);
    op(&s.file, "}(");
    text(&s.file, "w");
    global(&s.file, "numpy._core.multiarray", "_reconstruct");
    op(&s.file, "(");
    global(&s.file, "numpy", "ndarray");
    integers(&s.file, "0");
    op(&s.file, "C\x01"
                "btR(K\x01");
    integers(&s.file, "2,3");
    numpy_type(&s.file, ">");
    op(&s.file, "\x88"
                "B");
    mmh_buffer_u32(&s.file, 24);
    mmh_buffer_zeros(&s.file, 24);
    op(&s.file, "tb");
    text(&s.file, "buffer");
    global(&s.file, "numpy.core.numeric", "_frombuffer");
    op(&s.file, "(\x96");
    mmh_buffer_u64(&s.file, 8);
    mmh_buffer_zeros(&s.file, 8);
    numpy_type(&s.file, "<");
    integers(&s.file, "2");
    text(&s.file, "C");
    op(&s.file, "tRu.");
    map(&s);
    assert_int_equal(s.map.tensor_count, 2);
    assert_string_equal(s.map.tensors[0].name, "w");
    assert_true(s.map.tensors[0].big_endian && s.map.tensors[0].column_major);
    assert_string_equal(s.map.tensors[1].name, "buffer");
    assert_int_equal(s.map.format, MMH_FORMAT_PICKLE);
    assert_sturdy(&s);
    end(&s);
}

static void test_storages_in_pickles_are_found(void **state)
{
    struct subject s;
    struct mmh_buffer stream;
    (void)state;
    begin(&s, "m.pkl");
    mmh_buffer_init(&stream, NULL);
    legacy_head(&stream);
    begin_pickle(&stream);
    legacy_storage(&stream, "FloatStorage", "5", 6, NULL);
    op(&stream, ".");
    begin_pickle(&stream);
    op(&stream, "](");
    text(&stream, "5");
    op(&stream, "e.");
    mmh_buffer_u64(&stream, 6);
    mmh_buffer_zeros(&stream, 24);
    mmh_buffer_u8(&s.file, 0x80);
    mmh_buffer_u8(&s.file, 4);
    op(&s.file, "}(");
    text(&s.file, "w");
    global(&s.file, "torch._utils", "_rebuild_tensor_v2");
    op(&s.file, "(");
    global(&s.file, "torch.storage", "_load_from_bytes");
    op(&s.file, "B");
    mmh_buffer_u32(&s.file, (uint32_t)stream.bytes);
    mmh_buffer_bytes(&s.file, stream.data, stream.bytes);
    op(&s.file, "\x85RK");
    mmh_buffer_u8(&s.file, 0);
    integers(&s.file, "6");
    integers(&s.file, "1");
    op(&s.file, "\x89NtRu.");
    mmh_buffer_release(&stream);
    map(&s);
    assert_tensors(&s, MMH_FORMAT_PICKLE, "w F32 [6] 0\n");
    assert_sturdy(&s);
    end(&s);
}

/* ---- memory and reads that fail ---- */

static size_t allocations_left, reads_left;

static void *few_allocate(void *user, size_t alignment, size_t bytes)
{
    void *memory;
    (void)user;
    if (!allocations_left)
        return NULL;
    allocations_left--;
    return posix_memalign(&memory, alignment < 16 ? 16 : alignment, bytes ? bytes : 1) ? NULL
                                                                                       : memory;
}

static void few_release(void *user, void *memory)
{
    (void)user;
    free(memory);
}

static mmh_status few_read(void *context, uint64_t offset, void *dst, size_t bytes, mmh_error *err)
{
    if (!reads_left)
        return mmh_fail(err, MMH_E_IO, "no more reads");
    reads_left--;
    memcpy(dst, (const uint8_t *)context + offset, bytes);
    return MMH_OK;
}

/* With one allocation, or one read, more each time: told, without a leak, until it is enough. */
static void assert_failures_are_told(const struct subject *s, bool of_memory)
{
    static const mmh_allocator few = { few_allocate, few_release, NULL };
    bool enough = false;
    for (size_t n = 0; n < 2000 && !enough; n++) {
        struct mmh_arena arena;
        struct mmh_extent_map map_;
        mmh_error err = { 0 };
        mmh_source source = {
            .read = few_read, .user = s->file.data, .bytes = s->file.bytes, .name = s->name
        };
        allocations_left = of_memory ? n : SIZE_MAX;
        reads_left = of_memory ? SIZE_MAX : n;
        mmh_arena_init(&arena, &few);
        mmh_extent_map_init(&map_, &arena, source.bytes);
        mmh_status status = mmh_format_detect_and_map(&map_, &source, &s->options, &err);
        assert_true(!status || status == (of_memory ? MMH_E_MEMORY : MMH_E_IO));
        if (!status)
            assert_null(map_problem(&map_));
        mmh_arena_release(&arena);
        enough = !status && (of_memory ? allocations_left : reads_left);
    }
    assert_true(enough);
}

static void test_failures_are_told(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        struct subject s;
        if (kind == 0) {
            begin_archive(&s, put_views, false, 4);
        } else if (kind == 1) {
            begin_archive(&s, put_types, false, 4);
        } else {
            begin(&s, kind == 2 ? "m.pth" : "m.distcp");
            if (kind == 2)
                put_legacy(&s);
            else
                put_item(&s, 4);
        }
        assert_failures_are_told(&s, true);
        assert_failures_are_told(&s, false);
        end(&s);
    }
}

static void test_hostile_pickles_are_refused_soon(void **state)
{
    static const char *const hostile[] = {
        "]r\xff\xff\xff\xff.", /* a memo of 2^32 */
        "B\xff\xff\xff\xff",   /* bytes past the end */
        "\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
        "0.",                  /* nothing to drop */
        "t.",                  /* no mark */
        "(K\x01u.",            /* no dict */
        "}(K\x01u.",           /* a key alone */
        "h\x07.",              /* not in the memo */
        "cos\nsystem\n(X\x01", /* what would run is cut off */
        "(o.",                 /* no class */
        ".",                   /* no value */
        "\xff.",               /* no opcode */
        "I99999999999999999999\n.",
        "g-1\n.",
    };
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(hostile); i++) {
        struct subject s;
        begin(&s, "m.pkl");
        begin_pickle(&s.file);
        op(&s.file, "](");
        op(&s.file, hostile[i]);
        map(&s);
        assert_int_equal(s.map.tensor_count, 0);
        end(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_npz_arrays_are_called_as_numpy_does),
        cmocka_unit_test(test_names_that_are_not_utf8_are_code_page_437),
        cmocka_unit_test(test_entries_of_other_archives_are_prefixed_and_keras_weights_are_not),
        cmocka_unit_test(test_of_entries_that_overlap_the_first_stays),
        cmocka_unit_test(test_damaged_archives_do_no_harm),
        cmocka_unit_test(test_names_are_the_paths_of_keys),
        cmocka_unit_test(test_a_tensor_alone_is_called_as_its_file),
        cmocka_unit_test(test_modules_have_the_names_of_their_state_dict),
        cmocka_unit_test(test_storages_carry_views_and_ties),
        cmocka_unit_test(test_types_are_the_framework_s),
        cmocka_unit_test(test_odd_tensors_are_left_out_alone),
        cmocka_unit_test(test_damaged_torch_files_do_no_harm),
        cmocka_unit_test(test_values_that_are_shared_are_not_looked_at_without_end),
        cmocka_unit_test(test_values_that_hold_one_another_are_left_soon),
        cmocka_unit_test(test_values_that_hold_themselves_are_looked_at_once),
        cmocka_unit_test(test_exported_weights_are_named_by_their_configuration),
        cmocka_unit_test(test_legacy_streams_are_mapped_storage_by_storage),
        cmocka_unit_test(test_tars_of_old_are_mapped),
        cmocka_unit_test(test_shards_without_metadata_are_numbered),
        cmocka_unit_test(test_shards_are_named_by_their_metadata),
        cmocka_unit_test(test_arrays_in_pickles_are_found),
        cmocka_unit_test(test_storages_in_pickles_are_found),
        cmocka_unit_test(test_failures_are_told),
        cmocka_unit_test(test_hostile_pickles_are_refused_soon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
