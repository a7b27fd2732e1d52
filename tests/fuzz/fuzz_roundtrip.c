/*
 * Fuzz target: any file, at any level, comes back bit for bit; its container does not depend on
 * threads, nor on whether chunks were checked, and verifies.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Input: u8 level, u8 flags (1 SHA-256, 2 times), u8 kind of file, then what that kind takes.
 */
#include "fuzz.h"

#include <sys/stat.h>

enum { TENSORS_MAX = 4, ELEMENTS_MAX = 6000, FILE_MAX = 1 << 18, THREADS = 3 };

enum { KIND_SAFETENSORS, KIND_NPY, KIND_RAW, KIND_BYTES, KIND_FOLDER, KIND_COUNT };

struct made {
    uint8_t *data;
    size_t bytes;
    char head[2048];
};

static const char *dtype_name(struct fuzz_input *in, unsigned *unit, mmh_dtype *dtype)
{
    *dtype = (mmh_dtype)(1 + fuzz_below(in, MMH_DTYPE_COUNT - 1));
    *unit = MMH_MAX(mmh_dtype_bit_count(*dtype) / 8, 1u);
    return mmh_dtype_text(*dtype);
}

static void join(struct made *made, const void *prefix, size_t prefix_bytes, const uint8_t *data,
                 size_t bytes)
{
    made->bytes = prefix_bytes + bytes;
    made->data = fuzz_memory(made->bytes);
    memcpy(made->data, prefix, prefix_bytes);
    if (bytes)
        memcpy(made->data + prefix_bytes, data, bytes);
}

/* Header and tensors of a safetensors file; sizes are right but for sub-byte types, where they are
 * nearly. */
static void make_safetensors(struct made *made, struct fuzz_input *in)
{
    char *head = made->head + 8;
    size_t room = sizeof made->head - 8, at = 0, bytes = 0;
    uint8_t *data = fuzz_memory((size_t)TENSORS_MAX * ELEMENTS_MAX * 16);
    unsigned tensors = fuzz_below(in, TENSORS_MAX + 1);
    at += (size_t)snprintf(head, room, "{");
    for (unsigned t = 0; t < tensors; t++) {
        unsigned unit;
        mmh_dtype dtype;
        const char *name = dtype_name(in, &unit, &dtype);
        unsigned rows = (unsigned)fuzz_number(in, 1), columns = (unsigned)fuzz_number(in, 2);
        columns = rows ? columns % (ELEMENTS_MAX / rows + 1) : columns;
        unsigned block_bytes, block = mmh_dtype_block(dtype, &block_bytes);
        if (block > 1)
            columns -= columns % block;
        size_t size = block > 1 ? (size_t)rows * columns / block * block_bytes
                                : ((size_t)rows * columns * mmh_dtype_bit_count(dtype) + 7) / 8;
        at += (size_t)snprintf(
            head + at, room - at,
            "%s\"t%u\":{\"dtype\":\"%s\",\"shape\":[%u,%u],\"data_offsets\":[%zu,%zu]}",
            t ? "," : "", t, name, rows, columns, bytes, bytes + size);
        fuzz_fill(data + bytes, size, MMH_MIN(unit, 8u), in);
        bytes += size;
    }
    at += (size_t)snprintf(head + at, room - at, "}");
    FUZZ_REQUIRE(at < room);
    mmh_store64((uint8_t *)made->head, at);
    join(made, made->head, 8 + at, data, bytes);
    free(data);
}

static void make_npy(struct made *made, struct fuzz_input *in)
{
    static const char *const types[] = { "<f2", "<f4", "<f8", ">f4", "|u1", "<i4", ">i8", "<c8" };
    static const unsigned units[] = { 2, 4, 8, 4, 1, 4, 8, 8 };
    unsigned type = fuzz_below(in, MMH_COUNT_OF(types));
    unsigned rows = (unsigned)fuzz_number(in, 1), columns = (unsigned)fuzz_number(in, 2);
    columns = rows ? columns % (ELEMENTS_MAX / rows + 1) : columns % ELEMENTS_MAX;
    memset(made->head, ' ', 128);
    memcpy(made->head, "\x93NUMPY\x01\x00\x76\x00", 10);
    int length = snprintf(made->head + 10, 110,
                          "{'descr': '%s', 'fortran_order': %s, 'shape': (%u, %u), }", types[type],
                          fuzz_below(in, 2) ? "True" : "False", rows, columns);
    made->head[10 + length] = ' ';
    made->head[127] = '\n';
    size_t bytes = (size_t)rows * columns * units[type];
    uint8_t *data = fuzz_memory(bytes);
    fuzz_fill(data, bytes, units[type], in);
    join(made, made->head, 128, data, bytes);
    free(data);
}

static void make_filled(struct made *made, struct fuzz_input *in, unsigned unit)
{
    made->bytes = (size_t)fuzz_number(in, 3) % FILE_MAX;
    made->data = fuzz_memory(made->bytes);
    fuzz_fill(made->data, made->bytes, unit, in);
}

/* False if the file is no raw array of the type and shape that were given: pack says so. */
static bool pack_and_unpack(const char *input, const mmh_pack_options *options)
{
    const char *one = fuzz_path("one.mmh"), *other = fuzz_path("other.mmh");
    const char *out = fuzz_path("out");
    mmh_pack_options unchecked = *options;
    mmh_pack_report report = { .struct_size = sizeof report };
    mmh_error err = { .status = MMH_OK };
    unchecked.skip_check = true;
    mmh_status status = mmh_pack(fuzz_context(1), &input, 1, one, options, &report, &err);
    if (status == MMH_E_USAGE && options->raw_dtype != MMH_DTYPE_OPAQUE)
        return false;
    FUZZ_REQUIRE(!status);
    FUZZ_REQUIRE(!mmh_pack(fuzz_context(THREADS), &input, 1, other, &unchecked, NULL, &err));
    size_t one_bytes, other_bytes;
    uint8_t *one_data = fuzz_read(one, &one_bytes), *other_data = fuzz_read(other, &other_bytes);
    FUZZ_REQUIRE(one_data && other_data && one_bytes == report.stored_bytes);
    FUZZ_REQUIRE(one_bytes == other_bytes && !memcmp(one_data, other_data, one_bytes));
    free(one_data);
    free(other_data);
    FUZZ_REQUIRE(!mmh_verify(fuzz_context(THREADS), one, NULL, NULL, &err));
    fuzz_remove(out);
    FUZZ_REQUIRE(!mmh_unpack(fuzz_context(THREADS), one, out, NULL, NULL, &err));
    return true;
}

static void require_equal(const char *path, const struct made *made)
{
    size_t bytes;
    uint8_t *back = fuzz_read(path, &bytes);
    FUZZ_REQUIRE(back && bytes == made->bytes);
    FUZZ_REQUIRE(!bytes || !memcmp(back, made->data, bytes));
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct fuzz_input in = { data, bytes };
    struct made made = { 0 }, second = { 0 };
    mmh_pack_options options = { .struct_size = sizeof options, .overwrite = true };
    static const char *const names[KIND_COUNT] = { "x.safetensors", "x.npy", "x.bin",
                                                   "x.safetensors", "x" };
    uint64_t shape[3];
    options.level = 1 + (int)fuzz_below(&in, 9);
    unsigned flags = fuzz_below(&in, 4), kind = fuzz_below(&in, KIND_COUNT), unit = 1;
    options.sha256 = flags & 1;
    options.keep_times = flags & 2;
    const char *input = fuzz_path(names[kind]);
    fuzz_remove(input);
    switch (kind) {
    case KIND_SAFETENSORS:
        make_safetensors(&made, &in);
        break;
    case KIND_NPY:
        make_npy(&made, &in);
        break;
    case KIND_RAW:
        (void)dtype_name(&in, &unit, &options.raw_dtype);
        options.raw_dimensions = fuzz_below(&in, 4);
        for (size_t d = 0; d < options.raw_dimensions; d++)
            shape[d] = fuzz_number(&in, 2);
        options.raw_shape = options.raw_dimensions ? shape : NULL;
        make_filled(&made, &in, MMH_MIN(unit, 8u));
        break;
    case KIND_FOLDER:
        FUZZ_REQUIRE(!mkdir(input, 0755));
        make_safetensors(&made, &in);
        make_filled(&second, &in, 1 + fuzz_below(&in, 8));
        fuzz_write(fuzz_path("x/a.safetensors"), made.data, made.bytes);
        fuzz_write(fuzz_path("x/b.bin"), second.data, second.bytes);
        break;
    default:
        made.bytes = in.bytes;
        made.data = fuzz_copy(in.data, in.bytes);
    }
    if (kind != KIND_FOLDER)
        fuzz_write(input, made.data, made.bytes);
    bool packed = pack_and_unpack(input, &options);
    if (packed && kind == KIND_FOLDER) {
        require_equal(fuzz_path("out/a.safetensors"), &made);
        require_equal(fuzz_path("out/b.bin"), &second);
    } else if (packed) {
        char back[32];
        (void)snprintf(back, sizeof back, "out/%s", names[kind]);
        require_equal(fuzz_path(back), &made);
    }
    free(made.data);
    free(second.data);
    return 0;
}
