/*
 * The engine through its public door: what is packed comes back, whatever happens on the way.
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
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/io.h"
#include "engine/restore.h"
#include "mmh.h"
#include "scratch.h"

/* To be freed. */
static uint8_t *read_whole(const char *path, size_t *bytes)
{
    uint8_t *data = read_file(path, bytes);
    assert_non_null(data);
    return data;
}

static void assert_same_file(const char *a, const char *b)
{
    size_t a_bytes, b_bytes;
    uint8_t *a_data = read_whole(a, &a_bytes), *b_data = read_whole(b, &b_bytes);
    assert_int_equal(a_bytes, b_bytes);
    assert_memory_equal(a_data, b_data, a_bytes);
    free(a_data);
    free(b_data);
}

static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Something like weights: a sum of uniform numbers, scaled by row. */
static float next_weight(size_t row)
{
    int32_t sum = 0;
    for (int i = 0; i < 4; i++)
        sum += (int32_t)(next_random() & 0xffff) - 0x8000;
    return (float)sum / 65536.0f * 0.02f * (float)(1 + row % 13);
}

enum { ROWS = 700, COLUMNS = 512 };

/* A safetensors file: fp32, bf16, fp16-like bits, int8, int64, a tied-like copy, small ones. */
static void make_model(const char *path)
{
    static const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"a.f32\":{\"dtype\":\"F32\",\"shape\":[700,512],\"data_offsets\":[0,1433600]},"
        "\"b.bf16\":{\"dtype\":\"BF16\",\"shape\":[700,512],\"data_offsets\":[1433600,2150400]},"
        "\"c.bf16\":{\"dtype\":\"BF16\",\"shape\":[700,512],\"data_offsets\":[2150400,2867200]},"
        "\"d.i8\":{\"dtype\":\"I8\",\"shape\":[358400],\"data_offsets\":[2867200,3225600]},"
        "\"e.i64\":{\"dtype\":\"I64\",\"shape\":[512],\"data_offsets\":[3225600,3229696]},"
        "\"f.zeros\":{\"dtype\":\"F32\",\"shape\":[100000],\"data_offsets\":[3229696,3629696]},"
        "\"g.scalar\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[3629696,3629700]}}";
    size_t header_bytes = sizeof header - 1, data_bytes = 3629700;
    uint8_t *file = calloc(1, 8 + header_bytes + data_bytes);
    assert_non_null(file);
    for (int i = 0; i < 8; i++)
        file[i] = (uint8_t)((uint64_t)header_bytes >> (8 * i));
    memcpy(file + 8, header, header_bytes);
    uint8_t *data = file + 8 + header_bytes;
    for (size_t r = 0; r < ROWS; r++)
        for (size_t c = 0; c < COLUMNS; c++) {
            float weight = next_weight(r);
            uint32_t bits;
            memcpy(&bits, &weight, 4);
            uint16_t half = (uint16_t)(bits >> 16);
            mmh_store32(data + 4 * (r * COLUMNS + c), bits);
            mmh_store16(data + 1433600 + 2 * (r * COLUMNS + c), half);
            mmh_store16(data + 2150400 + 2 * (r * COLUMNS + c), half);
            data[2867200 + r * COLUMNS + c] = (uint8_t)(int8_t)(weight * 400.0f);
        }
    for (size_t i = 0; i < 512; i++)
        data[3225600 + 8 * i] = (uint8_t)i;
    write_file(path, file, 8 + header_bytes + data_bytes);
    free(file);
}

static mmh_context *context_make(unsigned threads)
{
    mmh_context *context;
    mmh_context_options options = { .struct_size = sizeof options, .threads = threads };
    assert_int_equal(mmh_context_create(&context, &options, NULL), MMH_OK);
    return context;
}

static void pack_one(mmh_context *context, const char *input, const char *output, int level)
{
    mmh_error err = { 0 };
    mmh_pack_options options = { .struct_size = sizeof options, .level = level, .overwrite = true };
    mmh_pack_report report = { .struct_size = sizeof report };
    mmh_status status = mmh_pack(context, &input, 1, output, &options, &report, &err);
    if (status != MMH_OK)
        print_error("%s\n", err.message);
    assert_int_equal(status, MMH_OK);
    struct stat info;
    assert_int_equal(stat(output, &info), 0);
    assert_int_equal(report.stored_bytes, info.st_size);
}

static mmh_status unpack_one(mmh_context *context, const char *container, const char *output,
                             unsigned *mended)
{
    mmh_unpack_options options = { .struct_size = sizeof options,
                                   .overwrite = true,
                                   .as_file = true };
    mmh_unpack_report report = { .struct_size = sizeof report };
    mmh_status status = mmh_unpack(context, container, output, &options, &report, NULL);
    if (mended)
        *mended = report.mended;
    return status;
}

static mmh_status verify(mmh_context *context, const char *container)
{
    mmh_verify_options options = { .struct_size = sizeof options };
    mmh_unpack_report report = { .struct_size = sizeof report };
    return mmh_verify(context, container, &options, &report, NULL);
}

static void test_every_level_gives_back_every_byte(void **state)
{
    (void)state;
    mmh_context *context = context_make(2);
    make_model(at("m.safetensors"));
    for (int level = 1; level <= 9; level++) {
        pack_one(context, at("m.safetensors"), at("m.mmh"), level);
        assert_int_equal(verify(context, at("m.mmh")), MMH_OK);
        assert_int_equal(unpack_one(context, at("m.mmh"), at("m.out"), NULL), MMH_OK);
        assert_same_file(at("m.safetensors"), at("m.out"));
    }
    mmh_context_destroy(context);
}

static void test_the_bytes_do_not_depend_on_the_threads(void **state)
{
    (void)state;
    static const unsigned threads[] = { 1, 2, 3, 8 };
    make_model(at("m.safetensors"));
    for (int level = 1; level <= 9; level += 4) {
        for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
            mmh_context *context = context_make(threads[i]);
            pack_one(context, at("m.safetensors"), i ? at("m2.mmh") : at("m1.mmh"), level);
            mmh_context_destroy(context);
            if (i)
                assert_same_file(at("m1.mmh"), at("m2.mmh"));
        }
    }
}

/* Tensors asked for together, in any order, some twice, some not, are those of the file. */
static void check_load_many(mmh_context *context, const char *container, const uint8_t *file)
{
    mmh_reader *reader;
    mmh_container_info info = { .struct_size = sizeof info };
    assert_int_equal(mmh_open(context, container, &reader, NULL), MMH_OK);
    assert_int_equal(mmh_container(reader, &info, NULL), MMH_OK);
    assert_int_equal(mmh_load_many(reader, NULL, 0, NULL), MMH_OK);
    assert_int_equal(mmh_load_many(reader, NULL, 1, NULL), MMH_E_USAGE);
    for (unsigned round = 0; round < 12; round++) {
        size_t count = round ? 1 + (size_t)round * 17 % info.tensor_count : info.tensor_count;
        mmh_load_request *requests = calloc(count, sizeof *requests);
        assert_non_null(requests);
        for (size_t i = 0; i < count; i++) {
            mmh_tensor_info tensor = { .struct_size = sizeof tensor };
            uint64_t t = round ? (i * 7919 + round) % info.tensor_count : i;
            assert_int_equal(mmh_tensor(reader, t, &tensor, NULL), MMH_OK);
            requests[i] = (mmh_load_request){ t, malloc(tensor.bytes + 1), tensor.bytes };
            assert_non_null(requests[i].destination);
            memset(requests[i].destination, 0x5a, tensor.bytes + 1);
        }
        assert_int_equal(mmh_load_many(reader, requests, count, NULL), MMH_OK);
        for (size_t i = 0; i < count; i++) {
            mmh_tensor_info tensor = { .struct_size = sizeof tensor };
            uint8_t *loaded = requests[i].destination;
            assert_int_equal(mmh_tensor(reader, requests[i].tensor, &tensor, NULL), MMH_OK);
            assert_loaded(loaded, file + tensor.file_offset, tensor.bytes, tensor.dtype);
            assert_int_equal(loaded[tensor.bytes], 0x5a);
            if (!i && tensor.bytes) {
                requests[i].destination_bytes--;
                assert_int_equal(mmh_load_many(reader, requests, count, NULL), MMH_E_USAGE);
            }
        }
        requests[0].destination_bytes += !requests[0].destination_bytes;
        if (count > 1) { /* over each other */
            void *own = requests[1].destination;
            size_t room = requests[1].destination_bytes;
            mmh_tensor_info tensor = { .struct_size = sizeof tensor };
            assert_int_equal(mmh_tensor(reader, requests[1].tensor, &tensor, NULL), MMH_OK);
            if (tensor.bytes && tensor.bytes <= requests[0].destination_bytes) {
                requests[1].destination = requests[0].destination;
                requests[1].destination_bytes = requests[0].destination_bytes;
                requests[0].destination_bytes = SIZE_MAX;
                assert_int_equal(mmh_load_many(reader, requests, count, NULL), MMH_E_USAGE);
                requests[1].destination = NULL;
                assert_int_equal(mmh_load_many(reader, requests, count, NULL), MMH_E_USAGE);
                requests[1].destination = own;
                requests[1].destination_bytes = room;
            }
        }
        requests[0].tensor = info.tensor_count;
        assert_int_equal(mmh_load_many(reader, requests, count, NULL), MMH_E_USAGE);
        for (size_t i = 0; i < count; i++)
            free(requests[i].destination);
        free(requests);
    }
    mmh_close(reader);
}

/* Many small tensors of different scale, sign and shape share tables; some are equal, some zero. */
static void test_small_tensors_that_share_tables_come_back(void **state)
{
    (void)state;
    enum { TENSORS = 90, HEADER_ROOM = 20000 };
    char *header = malloc(HEADER_ROOM);
    uint8_t *data = malloc(TENSORS * 70000 + HEADER_ROOM + 8);
    assert_true(header && data);
    size_t used = 0, length = 0;
    uint8_t *values = malloc(TENSORS * 70000);
    assert_non_null(values);
    length += (size_t)snprintf(header, HEADER_ROOM, "{");
    for (int t = 0; t < TENSORS; t++) {
        size_t rows = 1 + next_random() % 90, columns = 1 + next_random() % 190;
        bool wide = t % 7 == 3;
        size_t bytes = rows * columns * (wide ? 4 : 2);
        float scale = (float)(1 << (t % 12));
        length += (size_t)snprintf(header + length, HEADER_ROOM - length,
                                   "%s\"t%03d\":{\"dtype\":\"%s\",\"shape\":[%zu,%zu],"
                                   "\"data_offsets\":[%zu,%zu]}",
                                   t ? "," : "", t, wide ? "F32" : "BF16", rows, columns, used,
                                   used + bytes);
        for (size_t i = 0; i < rows * columns; i++) {
            float weight = t % 11 == 5 ? 0.0f : next_weight(i / columns) * scale;
            uint32_t bits;
            memcpy(&bits, &weight, 4);
            if (t % 5 == 2)
                bits &= 0x7fffffff;
            if (wide)
                mmh_store32(values + used + 4 * i, bits);
            else
                mmh_store16(values + used + 2 * i, (uint16_t)(bits >> 16));
        }
        if (t % 13 == 12 && used > bytes) /* a copy of what came before */
            memcpy(values + used, values + used - bytes, bytes);
        used += bytes;
    }
    length += (size_t)snprintf(header + length, HEADER_ROOM - length, "}");
    for (int i = 0; i < 8; i++)
        data[i] = (uint8_t)((uint64_t)length >> (8 * i));
    memcpy(data + 8, header, length);
    memcpy(data + 8 + length, values, used);
    write_file(at("small.safetensors"), data, 8 + length + used);
    mmh_context *context = context_make(3), *single = context_make(1);
    for (int level = 1; level <= 9; level++) {
        pack_one(context, at("small.safetensors"), at("small.mmh"), level);
        pack_one(single, at("small.safetensors"), at("small1.mmh"), level);
        assert_same_file(at("small.mmh"), at("small1.mmh"));
        assert_int_equal(verify(context, at("small.mmh")), MMH_OK);
        assert_int_equal(unpack_one(context, at("small.mmh"), at("small.out"), NULL), MMH_OK);
        assert_same_file(at("small.safetensors"), at("small.out"));
    }
    check_load_many(context, at("small.mmh"), data);
    mmh_reader *reader;
    assert_int_equal(mmh_open(context, at("small.mmh"), &reader, NULL), MMH_OK);
    for (uint64_t t = 0; t < TENSORS; t++) {
        mmh_tensor_info tensor = { .struct_size = sizeof tensor };
        assert_int_equal(mmh_tensor(reader, t, &tensor, NULL), MMH_OK);
        uint8_t *loaded = malloc(tensor.bytes);
        assert_non_null(loaded);
        assert_int_equal(mmh_load(reader, t, loaded, tensor.bytes, NULL), MMH_OK);
        assert_loaded(loaded, data + tensor.file_offset, tensor.bytes, tensor.dtype);
        free(loaded);
    }
    mmh_close(reader);
    mmh_context_destroy(single);
    mmh_context_destroy(context);
    free(values);
    free(data);
    free(header);
}

/* Positive weights beside a small tensor that is not: they do not get its signs. */
static void test_a_small_neighbour_costs_no_signs(void **state)
{
    (void)state;
    static const char header[] =
        "{\"m\":{\"dtype\":\"BF16\",\"shape\":[200,512],\"data_offsets\":[0,204800]},"
        "\"n\":{\"dtype\":\"BF16\",\"shape\":[512],\"data_offsets\":[204800,205824]}}";
    enum { HEADER = sizeof header - 1, WEIGHTS = 200 * 512, SMALL = 512 };
    static uint8_t file[8 + HEADER + 2 * (WEIGHTS + SMALL)];
    struct stat info[2];
    mmh_context *context = context_make(2);
    file[0] = HEADER & 255;
    file[1] = HEADER >> 8;
    memcpy(file + 8, header, HEADER);
    for (int level = 1; level <= 9; level++) {
        for (int negative = 0; negative < 2; negative++) {
            random_state = 7;
            for (size_t i = 0; i < WEIGHTS + SMALL; i++) {
                float weight = next_weight(i / 512);
                uint32_t bits;
                memcpy(&bits, &weight, 4);
                if (!negative || i < WEIGHTS)
                    bits &= 0x7fffffff;
                memcpy(file + 8 + HEADER + 2 * i, (uint8_t *)&bits + 2, 2);
            }
            write_file(at("signs.safetensors"), file, sizeof file);
            pack_one(context, at("signs.safetensors"), at("signs.mmh"), level);
            assert_int_equal(stat(at("signs.mmh"), &info[negative]), 0);
        }
        assert_true(info[1].st_size < info[0].st_size + 1000);
    }
    mmh_context_destroy(context);
}

static void test_equal_tensors_are_stored_once(void **state)
{
    (void)state;
    mmh_context *context = context_make(1);
    const char *input = at("m.safetensors");
    make_model(input);
    mmh_pack_options options = { .struct_size = sizeof options, .overwrite = true };
    mmh_pack_report report = { .struct_size = sizeof report };
    assert_int_equal(mmh_pack(context, &input, 1, at("m.mmh"), &options, &report, NULL), MMH_OK);
    assert_true(report.shared_bytes >= (uint64_t)ROWS * COLUMNS * 2);
    assert_int_equal(report.tensor_count, 7);
    mmh_context_destroy(context);
}

static void test_tensors_and_slices_load_as_the_file_has_them(void **state)
{
    (void)state;
    mmh_context *context = context_make(2);
    mmh_reader *reader;
    make_model(at("m.safetensors"));
    pack_one(context, at("m.safetensors"), at("m.mmh"), 5);
    size_t bytes;
    uint8_t *file = read_whole(at("m.safetensors"), &bytes);
    check_load_many(context, at("m.mmh"), file);
    assert_int_equal(mmh_open(context, at("m.mmh"), &reader, NULL), MMH_OK);
    mmh_container_info info = { .struct_size = sizeof info };
    assert_int_equal(mmh_container(reader, &info, NULL), MMH_OK);
    assert_int_equal(info.tensor_count, 7);
    for (uint64_t i = 0; i < info.tensor_count; i++) {
        mmh_tensor_info tensor = { .struct_size = sizeof tensor };
        assert_int_equal(mmh_tensor(reader, i, &tensor, NULL), MMH_OK);
        uint8_t *data = malloc(tensor.bytes + 1);
        assert_non_null(data);
        assert_int_equal(mmh_load(reader, i, data, tensor.bytes, NULL), MMH_OK);
        assert_loaded(data, file + tensor.file_offset, tensor.bytes, tensor.dtype);
        if (tensor.bytes)
            assert_int_equal(mmh_load(reader, i, data, tensor.bytes - 1, NULL), MMH_E_USAGE);
        free(data);
    }
    uint64_t number;
    assert_int_equal(mmh_find(reader, "b.bf16", &number, NULL), MMH_OK);
    assert_int_equal(mmh_find(reader, "m.safetensors:b.bf16", &number, NULL), MMH_OK);
    assert_int_equal(mmh_find(reader, "none", &number, NULL), MMH_E_USAGE);
    mmh_tensor_info tensor = { .struct_size = sizeof tensor };
    assert_int_equal(mmh_tensor(reader, number, &tensor, NULL), MMH_OK);
    for (int round = 0; round < 50; round++) {
        uint64_t begin[2], end[2];
        const uint64_t shape[2] = { ROWS, COLUMNS };
        for (int d = 0; d < 2; d++) {
            begin[d] = next_random() % (shape[d] + 1);
            end[d] = begin[d] + next_random() % (shape[d] - begin[d] + 1);
        }
        size_t width = (size_t)(end[1] - begin[1]), height = (size_t)(end[0] - begin[0]);
        uint16_t *slice = malloc(2 * width * height + 1);
        assert_non_null(slice);
        assert_int_equal(
            mmh_load_slice(reader, number, begin, end, slice, 2 * width * height, NULL), MMH_OK);
        for (size_t r = 0; r < height; r++)
            assert_loaded(slice + r * width,
                          file + tensor.file_offset + 2 * ((begin[0] + r) * COLUMNS + begin[1]),
                          2 * width, tensor.dtype);
        free(slice);
    }
    const uint64_t wrong_begin[2] = { 5, 0 }, wrong_end[2] = { 4, 1 };
    assert_int_equal(mmh_load_slice(reader, number, wrong_begin, wrong_end, file, bytes, NULL),
                     MMH_E_USAGE);
    uint8_t middle[1000];
    assert_int_equal(mmh_read(reader, 0, 1434000, middle, sizeof middle, NULL), MMH_OK);
    assert_memory_equal(middle, file + 1434000, sizeof middle);
    assert_int_equal(mmh_read(reader, 0, bytes - 10, middle, 11, NULL), MMH_E_USAGE);
    mmh_close(reader);
    free(file);
    mmh_context_destroy(context);
}

/* ---- small tensors between the headers of their formats ---- */

enum { ARRAYS = 40, ARRAY_ROWS = 8, ARRAY_COLUMNS = 25, NPY_HEADER = 128, ZIP_ROOM = 1 << 18 };

/* Array `number` of an .npz: weights of rows of their own, 24-27 columns; two are larger, and equal. */
static size_t put_array(uint8_t *out, unsigned number, bool big_endian)
{
    enum { LARGE = 64 };
    bool large = number % 20 == 10;
    unsigned columns = large ? LARGE : ARRAY_COLUMNS - 1 + number % 4;
    char text[NPY_HEADER];
    memset(out, ' ', NPY_HEADER);
    memcpy(out, "\x93NUMPY\x01\x00\x76\x00", 10);
    int length = snprintf(text, sizeof text,
                          "{'descr': '%cf4', 'fortran_order': False, 'shape': (%d, %u), }",
                          big_endian ? '>' : '<', ARRAY_ROWS, columns);
    memcpy(out + 10, text, (size_t)length);
    out[NPY_HEADER - 1] = '\n';
    uint64_t before = random_state;
    if (large)
        random_state = 77;
    for (size_t i = 0; i < (size_t)ARRAY_ROWS * columns; i++) {
        float weight = next_weight(i / columns);
        uint8_t bytes[4], *at = out + NPY_HEADER + 4 * i;
        uint32_t bits;
        memcpy(&bits, &weight, 4);
        mmh_store32(bytes, bits);
        for (unsigned b = 0; b < 4; b++)
            at[b] = bytes[big_endian ? 3 - b : b];
    }
    if (large)
        random_state = before;
    return NPY_HEADER + (size_t)ARRAY_ROWS * columns * 4;
}

/* An .npz, members stored as they are. */
static void make_arrays(const char *path, bool big_endian)
{
    uint8_t *file = calloc(1, ZIP_ROOM), directory[ARRAYS * 80] = { 0 };
    size_t at = 0, listed = 0;
    assert_non_null(file);
    for (unsigned i = 0; i < ARRAYS; i++) {
        char name[16];
        size_t name_bytes = (size_t)snprintf(name, sizeof name, "w%u.npy", i), header = at;
        size_t bytes = put_array(file + at + 30 + name_bytes, i, big_endian);
        mmh_store32(file + at, 0x04034b50);
        mmh_store32(file + at + 18, (uint32_t)bytes);
        mmh_store32(file + at + 22, (uint32_t)bytes);
        mmh_store16(file + at + 26, (uint16_t)name_bytes);
        memcpy(file + at + 30, name, name_bytes);
        at += 30 + name_bytes + bytes;
        uint8_t *entry = directory + listed;
        mmh_store32(entry, 0x02014b50);
        mmh_store32(entry + 20, (uint32_t)bytes);
        mmh_store32(entry + 24, (uint32_t)bytes);
        mmh_store16(entry + 28, (uint16_t)name_bytes);
        mmh_store32(entry + 42, (uint32_t)header);
        memcpy(entry + 46, name, name_bytes);
        listed += 46 + name_bytes;
    }
    memcpy(file + at, directory, listed);
    mmh_store32(file + at + listed, 0x06054b50);
    mmh_store16(file + at + listed + 8, ARRAYS);
    mmh_store16(file + at + listed + 10, ARRAYS);
    mmh_store32(file + at + listed + 12, (uint32_t)listed);
    mmh_store32(file + at + listed + 16, (uint32_t)at);
    write_file(path, file, at + listed + 22);
    free(file);
}

/* Original bytes in chunks of a codec. */
static uint64_t bytes_by_codec(const mmh_container_info *info, const char *name)
{
    for (size_t i = 0; i < info->by_codec_count; i++)
        if (strcmp(info->by_codec[i].name, name) == 0)
            return info->by_codec[i].original_bytes;
    return 0;
}

/* Every tensor, some slices of it and a comparison are as the file has them. */
static void check_arrays(mmh_context *context, mmh_reader *reader, const char *path,
                         bool big_endian)
{
    size_t bytes;
    uint8_t *file = read_whole(path, &bytes);
    mmh_reader *original;
    assert_int_equal(mmh_open_original(context, path, NULL, &original, NULL), MMH_OK);
    for (uint64_t i = 0; i < ARRAYS; i++) {
        mmh_tensor_info tensor = { .struct_size = sizeof tensor };
        float data[ARRAY_ROWS * 64], slice[ARRAY_ROWS * 64];
        assert_int_equal(mmh_tensor(reader, i, &tensor, NULL), MMH_OK);
        assert_int_equal(tensor.big_endian, big_endian);
        assert_int_equal(tensor.dimensions, 2);
        assert_int_equal(mmh_load(reader, i, data, sizeof data, NULL), MMH_OK);
        for (size_t e = 0; e < tensor.bytes / 4; e++) {
            const uint8_t *at = file + tensor.file_offset + 4 * e;
            uint32_t bits, right = big_endian ? (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 |
                                                    (uint32_t)at[2] << 8 | at[3]
                                              : mmh_load32(at);
            memcpy(&bits, &data[e], 4);
            assert_int_equal(bits, right);
        }
        size_t columns = (size_t)tensor.shape[1];
        for (unsigned round = 0; round < 4; round++) {
            uint64_t begin[2] = { next_random() % ARRAY_ROWS, next_random() % columns };
            uint64_t end[2] = { begin[0] + 1 + next_random() % (ARRAY_ROWS - begin[0]),
                                begin[1] + 1 + next_random() % (columns - begin[1]) };
            size_t width = (size_t)(end[1] - begin[1]), rows = (size_t)(end[0] - begin[0]);
            assert_int_equal(mmh_load_slice(reader, i, begin, end, slice, rows * width * 4, NULL),
                             MMH_OK);
            for (size_t r = 0; r < rows; r++)
                assert_memory_equal(slice + r * width,
                                    data + ((size_t)begin[0] + r) * columns + begin[1], width * 4);
        }
        mmh_difference difference = { .struct_size = sizeof difference };
        assert_int_equal(mmh_compare(reader, i, original, i, &difference, NULL), MMH_OK);
        assert_int_equal(difference.differing, 0);
    }
    for (uint64_t at = 0; at < bytes; at += 997) {
        uint8_t part[1500];
        size_t count = MMH_MIN(sizeof part, bytes - (size_t)at);
        assert_int_equal(mmh_read(reader, 0, at, part, count, NULL), MMH_OK);
        assert_memory_equal(part, file + at, count);
    }
    bool equal = false;
    assert_int_equal(mmh_compare_files(reader, 0, original, 0, &equal, NULL, NULL), MMH_OK);
    assert_true(equal);
    mmh_close(original);
    free(file);
}

static void test_small_tensors_between_headers_share_a_block(void **state)
{
    (void)state;
    mmh_context *context = context_make(2);
    for (unsigned big_endian = 0; big_endian < 2; big_endian++) {
        make_arrays(at("a.npz"), big_endian);
        for (int level = 1; level <= 9; level += 4) {
            mmh_reader *reader;
            mmh_container_info info = { .struct_size = sizeof info };
            pack_one(context, at("a.npz"), at("a.mmh"), level);
            assert_int_equal(verify(context, at("a.mmh")), MMH_OK);
            assert_int_equal(unpack_one(context, at("a.mmh"), at("a.out"), NULL), MMH_OK);
            assert_same_file(at("a.npz"), at("a.out"));
            assert_int_equal(mmh_open(context, at("a.mmh"), &reader, NULL), MMH_OK);
            assert_int_equal(mmh_container(reader, &info, NULL), MMH_OK);
            assert_int_equal(info.tensor_count, ARRAYS);
            assert_true(bytes_by_codec(&info, "mixed") >
                        (uint64_t)(ARRAYS - 2) * ARRAY_ROWS * (ARRAY_COLUMNS - 1) * 4);
            check_arrays(context, reader, at("a.npz"), big_endian);
            mmh_close(reader);
        }
    }
    mmh_context_destroy(context);
}

/* Tensors that are equal, of 2 KiB and more, stay out of mixed blocks: they are stored once. */
static void test_equal_tensors_between_headers_are_stored_once(void **state)
{
    enum { LARGE_BYTES = ARRAY_ROWS * 64 * 4 };
    (void)state;
    mmh_context *context = context_make(1);
    const char *input = at("a.npz");
    make_arrays(input, false);
    for (int level = 1; level <= 9; level += 4) {
        mmh_pack_options options = { .struct_size = sizeof options,
                                     .level = level,
                                     .overwrite = true };
        mmh_pack_report report = { .struct_size = sizeof report };
        assert_int_equal(mmh_pack(context, &input, 1, at("a.mmh"), &options, &report, NULL),
                         MMH_OK);
        assert_int_equal(report.shared_bytes, LARGE_BYTES);
    }
    mmh_context_destroy(context);
}

/* The same answers from the file itself as from its container. */
static void test_originals_answer_as_their_container(void **state)
{
    (void)state;
    mmh_context *context = context_make(2);
    mmh_reader *reader, *original;
    make_model(at("m.safetensors"));
    pack_one(context, at("m.safetensors"), at("m.mmh"), 5);
    assert_int_equal(mmh_open(context, at("m.mmh"), &reader, NULL), MMH_OK);
    assert_int_equal(mmh_open_original(context, at("m.safetensors"), NULL, &original, NULL),
                     MMH_OK);
    mmh_container_info info = { .struct_size = sizeof info };
    assert_int_equal(mmh_container(original, &info, NULL), MMH_OK);
    assert_int_equal(info.tensor_count, 7);
    mmh_load_request requests[7];
    for (uint64_t i = 0; i < 7; i++) {
        mmh_tensor_info a = { .struct_size = sizeof a }, b = { .struct_size = sizeof b };
        assert_int_equal(mmh_tensor(reader, i, &a, NULL), MMH_OK);
        assert_int_equal(mmh_tensor(original, i, &b, NULL), MMH_OK);
        assert_string_equal(a.name, b.name);
        assert_int_equal(a.file_offset, b.file_offset);
        mmh_difference difference = { .struct_size = sizeof difference };
        assert_int_equal(mmh_compare(reader, i, original, i, &difference, NULL), MMH_OK);
        assert_int_equal(difference.differing, 0);
        requests[i] = (mmh_load_request){ 6 - i, malloc((size_t)b.bytes + ROWS * COLUMNS * 8),
                                          (size_t)b.bytes + ROWS * COLUMNS * 8 };
        assert_non_null(requests[i].destination);
    }
    assert_int_equal(mmh_load_many(original, requests, 7, NULL), MMH_OK);
    for (size_t i = 0; i < 7; i++) {
        mmh_tensor_info tensor = { .struct_size = sizeof tensor };
        assert_int_equal(mmh_tensor(reader, requests[i].tensor, &tensor, NULL), MMH_OK);
        uint8_t *data = malloc((size_t)tensor.bytes + 1);
        assert_non_null(data);
        assert_int_equal(mmh_load(reader, requests[i].tensor, data, (size_t)tensor.bytes, NULL),
                         MMH_OK);
        assert_memory_equal(data, requests[i].destination, (size_t)tensor.bytes);
        free(data);
        free(requests[i].destination);
    }
    bool equal = false;
    assert_int_equal(mmh_compare_files(reader, 0, original, 0, &equal, NULL, NULL), MMH_OK);
    assert_true(equal);
    uint64_t tensor;
    uint16_t slice[6], same[6];
    const uint64_t begin[2] = { 7, 3 }, end[2] = { 9, 6 };
    assert_int_equal(mmh_find(original, "b.bf16", &tensor, NULL), MMH_OK);
    assert_int_equal(mmh_load_slice(original, tensor, begin, end, slice, sizeof slice, NULL),
                     MMH_OK);
    assert_int_equal(mmh_load_slice(reader, tensor, begin, end, same, sizeof same, NULL), MMH_OK);
    assert_memory_equal(slice, same, sizeof slice);
    /* All rows but for their ends: more than is read of an original at once. */
    const uint64_t left[2] = { 0, 1 }, right[2] = { ROWS, COLUMNS - 1 };
    const size_t bytes = (size_t)ROWS * (COLUMNS - 2) * 4;
    uint8_t *rows = malloc(bytes), *same_rows = malloc(bytes);
    assert_true(rows && same_rows);
    assert_int_equal(mmh_find(original, "a.f32", &tensor, NULL), MMH_OK);
    assert_int_equal(mmh_load_slice(original, tensor, left, right, rows, bytes, NULL), MMH_OK);
    assert_int_equal(mmh_load_slice(reader, tensor, left, right, same_rows, bytes, NULL), MMH_OK);
    assert_memory_equal(rows, same_rows, bytes);
    free(rows);
    free(same_rows);
    mmh_close(original);
    mmh_close(reader);
    mmh_context_destroy(context);
}

static void count_remarks(void *user, const mmh_remarks *remarks)
{
    assert_string_equal(remarks->name, "r.npy");
    assert_int_equal(remarks->text_count, 1);
    assert_int_equal(remarks->count, 1);
    assert_non_null(strstr(remarks->texts[0], "npy"));
    ++*(int *)user;
}

static void test_remarks_are_told_and_counted(void **state)
{
    (void)state;
    mmh_context *context = context_make(1);
    const char *input = at("r.npy"), *text = NULL;
    write_file(input, "\x93NUMPY\x01\x00\x04\x00{}  ", 14);
    int told = 0;
    mmh_pack_options options = { .struct_size = sizeof options,
                                 .remarks = count_remarks,
                                 .remarks_user = &told };
    mmh_pack_report report = { .struct_size = sizeof report };
    assert_int_equal(mmh_pack(context, &input, 1, at("r.mmh"), &options, &report, NULL), MMH_OK);
    assert_int_equal(told, 1);
    assert_int_equal(report.remark_count, 1);
    mmh_reader *reader;
    mmh_file_info file = { .struct_size = sizeof file };
    assert_int_equal(mmh_open_original(context, input, NULL, &reader, NULL), MMH_OK);
    assert_int_equal(mmh_file(reader, 0, &file, NULL), MMH_OK);
    assert_int_equal(file.remark_count, 1);
    assert_int_equal(mmh_remark(reader, 0, 0, &text, NULL), MMH_OK);
    assert_non_null(strstr(text, "npy"));
    assert_int_equal(mmh_remark(reader, 0, 1, &text, NULL), MMH_E_USAGE);
    assert_int_equal(mmh_remark(reader, 1, 0, &text, NULL), MMH_E_USAGE);
    mmh_close(reader);
    assert_int_equal(mmh_open(context, at("r.mmh"), &reader, NULL), MMH_OK);
    assert_int_equal(mmh_remark(reader, 0, 0, &text, NULL), MMH_E_USAGE); /* not kept */
    mmh_close(reader);
    mmh_context_destroy(context);
}

static void test_an_original_that_changes_is_an_error(void **state)
{
    (void)state;
    mmh_context *context = context_make(1);
    mmh_reader *original;
    mmh_error err = { 0 };
    uint8_t data[100];
    make_model(at("m.safetensors"));
    assert_int_equal(mmh_open_original(context, at("m.safetensors"), NULL, &original, NULL),
                     MMH_OK);
    assert_int_equal(truncate(at("m.safetensors"), 5000), 0);
    assert_int_equal(mmh_read(original, 0, 0, data, sizeof data, &err), MMH_E_IO);
    assert_non_null(strstr(err.message, "changed"));
    mmh_close(original);
    assert_int_equal(mmh_open_original(context, at("nothing"), NULL, &original, NULL), MMH_E_IO);
    assert_null(original);
    mmh_context_destroy(context);
}

static void test_a_flipped_bit_is_found_or_mended(void **state)
{
    (void)state;
    mmh_context *context = context_make(2);
    uint8_t text[3000];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)(next_random() & 0x3f);
    write_file(at("t.bin"), text, sizeof text);
    pack_one(context, at("t.bin"), at("t.mmh"), 5);
    size_t bytes;
    uint8_t *data = read_whole(at("t.mmh"), &bytes);
    size_t silent = 0;
    for (size_t i = 0; i < bytes; i++) {
        data[i] ^= 0x10;
        write_file(at("t2.mmh"), data, bytes);
        data[i] ^= 0x10;
        mmh_status checked = verify(context, at("t2.mmh"));
        unlink(at("t.out"));
        mmh_status unpacked = unpack_one(context, at("t2.mmh"), at("t.out"), NULL);
        if (checked == MMH_OK)
            silent++; /* padding: no hash covers it */
        else
            assert_true(checked == MMH_E_CORRUPT || checked == MMH_E_UNSUPPORTED);
        if (unpacked == MMH_OK) {
            assert_same_file(at("t.bin"), at("t.out"));
        } else {
            assert_int_not_equal(access(at("t.out"), F_OK), 0);
        }
    }
    assert_true(silent < 16);
    free(data);
    mmh_context_destroy(context);
}

enum { DAMAGES_MAX = 64 };

struct told {
    size_t count;
    uint64_t bytes; /* of the ranges */
    mmh_damage damage[DAMAGES_MAX];
    char tensors[DAMAGES_MAX][32];
};

static void note_damage(void *user, const mmh_damage *damage)
{
    struct told *told = user;
    assert_true(told->count < DAMAGES_MAX);
    snprintf(told->tensors[told->count], sizeof told->tensors[0], "%s",
             damage->tensor ? damage->tensor : "");
    told->damage[told->count] = *damage;
    told->damage[told->count].name = told->damage[told->count].tensor = NULL;
    told->count++;
    told->bytes += damage->tensor ? 0 : damage->bytes;
}

static void tell_damage(struct told *told, const char *container, unsigned threads, bool quick,
                        mmh_unpack_report *report)
{
    mmh_context *context = context_make(threads);
    mmh_verify_options options = {
        .struct_size = sizeof options, .quick = quick, .damage = note_damage, .damage_user = told
    };
    memset(told, 0, sizeof *told);
    *report = (mmh_unpack_report){ .struct_size = sizeof *report };
    assert_int_equal(mmh_verify(context, container, &options, report, NULL), MMH_E_CORRUPT);
    assert_int_equal(report->damaged_bytes, told->bytes);
    mmh_context_destroy(context);
}

/* Verify tells exactly those ranges that cannot be read, whatever chunks are damaged: tables that
 * others need, chunks that two tensors share, single ones. */
static void test_all_that_is_damaged_is_told(void **state)
{
    (void)state;
    mmh_context *context = context_make(2);
    make_model(at("m.safetensors"));
    pack_one(context, at("m.safetensors"), at("m.mmh"), 5);
    mmh_reader *reader;
    size_t bytes, models = 0, shared = 0;
    uint8_t *data = read_whole(at("m.mmh"), &bytes);
    assert_int_equal(mmh_open(context, at("m.mmh"), &reader, NULL), MMH_OK);
    const struct mmh_index index = reader->container.index;
    for (uint64_t first = 0; first < index.chunk_count; first++) {
        uint64_t second = (first * 7 + 3) % index.chunk_count; /* another one, or it is mended */
        const uint64_t spoiled[] = { first,
                                     second == first ? (first + 1) % index.chunk_count : second };
        uint64_t named = 0;
        for (size_t i = 0; i < 2; i++)
            data[index.chunks[spoiled[i]].offset] ^= 1;
        write_file(at("d.mmh"), data, bytes);
        for (size_t i = 0; i < 2; i++)
            data[index.chunks[spoiled[i]].offset] ^= 1;
        models += index.chunks[first].codec_id == MMH_CODEC_MODEL;
        for (uint64_t r = 0; r < index.ref_count; r++)
            named += index.refs[r] == first;
        shared += named > 1;

        struct told told, other;
        mmh_unpack_report report, again;
        tell_damage(&told, at("d.mmh"), 1, false, &report);
        tell_damage(&other, at("d.mmh"), 3, false, &again);
        assert_memory_equal(&told, &other, sizeof told);
        assert_int_equal(report.damaged_chunks, again.damaged_chunks);
        tell_damage(&other, at("d.mmh"), 2, true, &again);
        assert_memory_equal(&told, &other, sizeof told);
        assert_int_equal(report.damaged_chunks, again.damaged_chunks);

        mmh_reader *damaged;
        mmh_file_info file = { .struct_size = sizeof file };
        assert_int_equal(mmh_open(context, at("d.mmh"), &damaged, NULL), MMH_OK);
        assert_int_equal(mmh_file(damaged, 0, &file, NULL), MMH_OK);
        for (uint64_t offset = 0; offset < file.bytes; offset += 1 << 14) {
            bool lost = false;
            uint8_t byte;
            for (size_t i = 0; i < told.count; i++)
                lost |= !told.tensors[i][0] && offset >= told.damage[i].offset &&
                        offset - told.damage[i].offset < told.damage[i].bytes;
            assert_int_equal(mmh_read(damaged, 0, offset, &byte, 1, NULL),
                             lost ? MMH_E_CORRUPT : MMH_OK);
        }
        for (uint64_t t = 0; t < index.tensor_count; t++) {
            uint8_t *tensor = malloc((size_t)index.tensors[t].bytes);
            bool lost = false;
            for (size_t i = 0; i < told.count; i++)
                lost |= strcmp(told.tensors[i], index.tensors[t].name) == 0;
            assert_non_null(tensor);
            assert_int_equal(mmh_load(damaged, t, tensor, (size_t)index.tensors[t].bytes, NULL),
                             lost ? MMH_E_CORRUPT : MMH_OK);
            free(tensor);
        }
        mmh_close(damaged);
    }
    assert_true(models > 0 && shared > 0);
    mmh_close(reader);
    free(data);
    mmh_context_destroy(context);
}

/* Chunks that decode, but to something else than was packed: nothing but the digest can tell. */
static void test_another_content_is_damage_of_the_whole_file(void **state)
{
    (void)state;
    mmh_context *context = context_make(2);
    make_model(at("m.safetensors"));
    pack_one(context, at("m.safetensors"), at("m.mmh"), 5);
    mmh_reader *reader;
    assert_int_equal(mmh_open(context, at("m.mmh"), &reader, NULL), MMH_OK);
    struct told told = { 0 };
    struct mmh_damages damages = { .reader = reader, .tell = note_damage, .user = &told };
    struct mmh_restoring restoring = {
        .context = context, .reader = reader, .digests = true, .damages = &damages
    };
    mmh_error err = { 0 };
    struct mmh_file_record *record = &reader->container.index.files[0].record;
    record->digest[0] ^= 1; /* what the packer would have written for another file */
    assert_int_equal(mmh_restoring_init(&restoring, NULL), MMH_OK);
    assert_int_equal(mmh_restore_files(&restoring, 0, 1, NULL), MMH_OK);
    assert_int_equal(mmh_damages_end(&damages, MMH_OK, &err), MMH_E_CORRUPT);
    assert_non_null(strstr(err.message, "\"m.safetensors\": decodes to other content"));
    assert_int_equal(told.bytes, record->bytes);
    assert_int_equal(told.count, 1 + reader->container.index.tensor_count);
    restoring.damages = NULL;
    assert_int_equal(mmh_restore_files(&restoring, 0, 1, NULL), MMH_E_CORRUPT);
    mmh_restoring_release(&restoring);
    mmh_close(reader);
    mmh_context_destroy(context);
}

static void test_folders_come_back_with_modes_and_links(void **state)
{
    (void)state;
    mmh_context *context = context_make(2);
    mkdir(at("f"), 0755);
    mkdir(at("f/sub"), 0750);
    mkdir(at("f/empty"), 0755);
    make_model(at("f/model.safetensors"));
    write_file(at("f/config.json"), "{}", 2);
    write_file(at("f/sub/nothing"), "", 0);
    chmod(at("f/config.json"), 0640);
    assert_int_equal(symlink("../config.json", at("f/sub/link")), 0);
    assert_int_equal(symlink(at("f/config.json"), at("f/outside")), 0); /* absolute: followed */
    const char *input = at("f");
    mmh_pack_options options = { .struct_size = sizeof options, .overwrite = true };
    mmh_error err = { 0 };
    mmh_status packed = mmh_pack(context, &input, 1, at("f.mmh"), &options, NULL, &err);
    if (packed != MMH_OK)
        print_error("%s\n", err.message);
    assert_int_equal(packed, MMH_OK);
    assert_int_equal(verify(context, at("f.mmh")), MMH_OK);
    mmh_unpack_options out = { .struct_size = sizeof out };
    mmh_status unpacked = mmh_unpack(context, at("f.mmh"), at("g"), &out, NULL, &err);
    if (unpacked != MMH_OK)
        print_error("%s\n", err.message);
    assert_int_equal(unpacked, MMH_OK);
    assert_same_file(at("f/model.safetensors"), at("g/model.safetensors"));
    assert_same_file(at("f/config.json"), at("g/config.json"));
    assert_same_file(at("f/config.json"), at("g/outside"));
    assert_same_file(at("f/sub/nothing"), at("g/sub/nothing"));
    struct stat info;
    assert_int_equal(stat(at("g/config.json"), &info), 0);
    assert_int_equal(info.st_mode & 07777, 0640);
    assert_int_equal(stat(at("g/sub"), &info), 0);
    assert_int_equal(info.st_mode & 07777, 0750);
    assert_int_equal(stat(at("g/empty"), &info), 0);
    assert_int_equal(lstat(at("g/sub/link"), &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(lstat(at("g/outside"), &info), 0);
    assert_true(S_ISREG(info.st_mode));
    /* Again: it exists, and stays as it is unless told otherwise. */
    assert_int_equal(mmh_unpack(context, at("f.mmh"), at("g"), &out, NULL, NULL), MMH_E_USAGE);
    out.overwrite = true;
    assert_int_equal(mmh_unpack(context, at("f.mmh"), at("g"), &out, NULL, NULL), MMH_OK);
    mmh_context_destroy(context);
}

/* A symlink of a container stays inside whatever links lie on its way. */
static void test_symlinks_stay_inside(void **state)
{
    static const struct {
        const char *name, *target;
        bool inside;
    } links[] = {
        { "a", "b", true },           { "a", "b/c/d", true },
        { "d/a", "../b", true },      { "d/e/a", "../../b", true },
        { "d/a", ".././b", true },    { "a", "./b", true },
        { "a", "..", false },         { "a", "../b", false },
        { "d/a", "../../b", false },  { "a", "/b", false },
        { "a", "", false },           { "a", "b/..", false },
        { "a", "d/u/../etc", false }, { "d/a", "../b/../c", false },
    };
    (void)state;
    for (size_t i = 0; i < sizeof links / sizeof *links; i++)
        assert_int_equal(mmh_target_stays_inside(links[i].name, links[i].target), links[i].inside);
}

static void test_a_symlink_in_the_destination_is_not_followed(void **state)
{
    (void)state;
    mmh_context *context = context_make(1);
    mkdir(at("s"), 0755);
    mkdir(at("s/sub"), 0755);
    mkdir(at("elsewhere"), 0755);
    mkdir(at("d"), 0755);
    write_file(at("s/sub/file"), "x", 1);
    const char *input = at("s");
    assert_int_equal(mmh_pack(context, &input, 1, at("s.mmh"), NULL, NULL, NULL), MMH_OK);
    assert_int_equal(symlink("../elsewhere", at("d/sub")), 0);
    mmh_unpack_options out = { .struct_size = sizeof out, .overwrite = true };
    assert_int_not_equal(mmh_unpack(context, at("s.mmh"), at("d"), &out, NULL, NULL), MMH_OK);
    assert_int_not_equal(access(at("elsewhere/file"), F_OK), 0);
    mmh_context_destroy(context);
}

/* An allocator that fails from the nth request on, and counts what is not given back. */
struct counting {
    uint64_t left;
    int64_t live;
};

static void *counting_allocate(void *user, size_t alignment, size_t bytes)
{
    struct counting *counting = user;
    void *memory = NULL;
    if (!counting->left)
        return NULL;
    counting->left--;
    if (posix_memalign(&memory, alignment < sizeof(void *) ? sizeof(void *) : alignment,
                       bytes ? bytes : 1))
        return NULL;
    counting->live++;
    return memory;
}

static void counting_release(void *user, void *memory)
{
    struct counting *counting = user;
    if (memory)
        counting->live--;
    free(memory);
}

static void test_every_failed_allocation_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    make_model(at("m.safetensors"));
    const char *input = at("m.safetensors");
    bool done = false;
    for (uint64_t n = 0; !done && n < 100000; n += n < 200 ? 1 : 37) {
        struct counting counting = { .left = n };
        const mmh_allocator allocator = { counting_allocate, counting_release, &counting };
        mmh_context_options options = { .struct_size = sizeof options,
                                        .threads = 1,
                                        .allocator = &allocator };
        mmh_context *context;
        mmh_error err = { 0 };
        unlink(at("alloc.mmh"));
        mmh_status status = mmh_context_create(&context, &options, &err);
        if (status == MMH_OK) {
            mmh_pack_options pack = { .struct_size = sizeof pack, .level = 1 };
            status = mmh_pack(context, &input, 1, at("alloc.mmh"), &pack, NULL, &err);
            if (status == MMH_OK) {
                done = true;
                status = unpack_one(context, at("alloc.mmh"), at("alloc.out"), NULL);
                done = status == MMH_OK;
            } else {
                assert_int_not_equal(access(at("alloc.mmh"), F_OK), 0);
            }
            mmh_context_destroy(context);
        }
        assert_int_equal(counting.live, 0);
        if (!done && status != MMH_E_MEMORY)
            print_error("allocation %llu: %s\n", (unsigned long long)n, err.message);
        if (!done)
            assert_int_equal(status, MMH_E_MEMORY);
    }
    assert_true(done);
    assert_same_file(at("m.safetensors"), at("alloc.out"));
}

static void test_every_failed_system_call_leaves_nothing_behind(void **state)
{
    (void)state;
    uint8_t data[20000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)next_random();
    write_file(at("x.bin"), data, sizeof data);
    const char *input = at("x.bin");
    for (uint64_t n = 1;; n++) {
        mmh_context *context = context_make(1);
        unlink(at("x.mmh"));
        mmh_io_fail_after(n);
        mmh_status status = mmh_pack(context, &input, 1, at("x.mmh"), NULL, NULL, NULL);
        uint64_t left = mmh_io_fail_after(0);
        mmh_context_destroy(context);
        if (status == MMH_OK) { /* the nth call was not reached */
            assert_true(left >= 1);
            break;
        }
        assert_int_equal(status, MMH_E_IO);
        if (access(at("x.mmh"), F_OK) == 0) { /* only the folder's sync failed: it is complete */
            context = context_make(1);
            assert_int_equal(verify(context, at("x.mmh")), MMH_OK);
            mmh_context_destroy(context);
        }
        assert_true(n < 1000);
    }
    for (uint64_t n = 1;; n++) {
        mmh_context *context = context_make(1);
        unlink(at("x.out"));
        mmh_io_fail_after(n);
        mmh_status status = unpack_one(context, at("x.mmh"), at("x.out"), NULL);
        uint64_t left = mmh_io_fail_after(0);
        mmh_context_destroy(context);
        if (status == MMH_OK) { /* the nth call was not reached */
            assert_true(left >= 1);
            break;
        }
        assert_int_equal(status, MMH_E_IO);
        if (access(at("x.out"), F_OK) == 0)
            print_error("call %llu left an output\n", (unsigned long long)n);
        assert_int_not_equal(access(at("x.out"), F_OK), 0);
        assert_true(n < 1000);
    }
    assert_same_file(at("x.bin"), at("x.out"));
}

static bool stop_at_once(void *user, const mmh_progress *progress)
{
    (void)user;
    (void)progress;
    return false;
}

static void test_cancelling_leaves_no_output(void **state)
{
    (void)state;
    mmh_context *context;
    mmh_context_options options = { .struct_size = sizeof options,
                                    .threads = 2,
                                    .progress = stop_at_once };
    assert_int_equal(mmh_context_create(&context, &options, NULL), MMH_OK);
    make_model(at("m.safetensors"));
    const char *input = at("m.safetensors");
    assert_int_equal(mmh_pack(context, &input, 1, at("c.mmh"), NULL, NULL, NULL), MMH_E_CANCELLED);
    assert_int_not_equal(access(at("c.mmh"), F_OK), 0);
    mmh_context_destroy(context);
}

static void test_options_of_an_older_header_keep_the_defaults(void **state)
{
    (void)state;
    mmh_context *context = context_make(1);
    uint8_t data[100] = { 1 };
    write_file(at("o.bin"), data, sizeof data);
    const char *input = at("o.bin");
    mmh_pack_options options;
    memset(&options, 0xff, sizeof options); /* what lies behind struct_size is not looked at */
    options.struct_size = offsetof(mmh_pack_options, level);
    struct {
        size_t struct_size;
        uint64_t original_bytes;
        uint64_t guard;
    } report = { 2 * sizeof(size_t), 0, 42 };
    assert_int_equal(mmh_pack(context, &input, 1, at("o.mmh"), &options,
                              (mmh_pack_report *)(void *)&report, NULL),
                     MMH_OK);
    assert_int_equal(report.original_bytes, 100);
    assert_int_equal(report.guard, 42);
    mmh_context_destroy(context);
}

static void test_a_struct_without_its_size_is_an_error(void **state)
{
    (void)state;
    mmh_context *context, *none;
    mmh_reader *reader;
    mmh_error err = { 0 };
    mmh_context_options how = { .threads = 2 };
    assert_int_equal(mmh_context_create(&none, &how, &err), MMH_E_USAGE);
    assert_null(none);
    assert_non_null(strstr(err.message, "mmh_context_options: struct_size is not set"));
    context = context_make(1);
    write_file(at("z.bin"), "abc", 3);
    const char *input = at("z.bin"), *packed = at("z.mmh");
    mmh_pack_options pack = { .level = 9 };
    mmh_pack_report packing = { 0 };
    mmh_unpack_options unpack = { .as_file = true };
    mmh_verify_options verify_options = { .quick = true };
    mmh_unpack_report unpacking = { 0 };
    assert_int_equal(mmh_pack(context, &input, 1, packed, &pack, NULL, NULL), MMH_E_USAGE);
    assert_int_equal(mmh_pack(context, &input, 1, packed, NULL, &packing, NULL), MMH_E_USAGE);
    assert_int_not_equal(access(packed, F_OK), 0);
    assert_int_equal(mmh_pack(context, &input, 1, packed, NULL, NULL, NULL), MMH_OK);
    assert_int_equal(mmh_unpack(context, packed, at("z.out"), &unpack, NULL, NULL), MMH_E_USAGE);
    assert_int_equal(mmh_unpack(context, packed, at("z.out"), NULL, &unpacking, NULL), MMH_E_USAGE);
    assert_int_not_equal(access(at("z.out"), F_OK), 0);
    assert_int_equal(mmh_verify(context, packed, &verify_options, NULL, NULL), MMH_E_USAGE);
    assert_int_equal(mmh_verify(context, packed, NULL, &unpacking, NULL), MMH_E_USAGE);
    assert_int_equal(mmh_open_original(context, input, &pack, &reader, NULL), MMH_E_USAGE);
    assert_null(reader);
    assert_int_equal(mmh_open(context, packed, &reader, NULL), MMH_OK);
    mmh_container_info container = { 0 };
    mmh_file_info file = { 0 };
    assert_int_equal(mmh_container(reader, &container, NULL), MMH_E_USAGE);
    assert_int_equal(mmh_file(reader, 0, &file, NULL), MMH_E_USAGE);
    mmh_close(reader);
    mmh_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_level_gives_back_every_byte),
        cmocka_unit_test(test_the_bytes_do_not_depend_on_the_threads),
        cmocka_unit_test(test_small_tensors_that_share_tables_come_back),
        cmocka_unit_test(test_a_small_neighbour_costs_no_signs),
        cmocka_unit_test(test_equal_tensors_are_stored_once),
        cmocka_unit_test(test_tensors_and_slices_load_as_the_file_has_them),
        cmocka_unit_test(test_small_tensors_between_headers_share_a_block),
        cmocka_unit_test(test_equal_tensors_between_headers_are_stored_once),
        cmocka_unit_test(test_originals_answer_as_their_container),
        cmocka_unit_test(test_remarks_are_told_and_counted),
        cmocka_unit_test(test_an_original_that_changes_is_an_error),
        cmocka_unit_test(test_a_flipped_bit_is_found_or_mended),
        cmocka_unit_test(test_all_that_is_damaged_is_told),
        cmocka_unit_test(test_another_content_is_damage_of_the_whole_file),
        cmocka_unit_test(test_folders_come_back_with_modes_and_links),
        cmocka_unit_test(test_symlinks_stay_inside),
        cmocka_unit_test(test_a_symlink_in_the_destination_is_not_followed),
        cmocka_unit_test(test_every_failed_allocation_is_an_error_and_leaks_nothing),
        cmocka_unit_test(test_every_failed_system_call_leaves_nothing_behind),
        cmocka_unit_test(test_cancelling_leaves_no_output),
        cmocka_unit_test(test_options_of_an_older_header_keep_the_defaults),
        cmocka_unit_test(test_a_struct_without_its_size_is_an_error),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
