/*
 * Fuzz target: original files of any bytes open, answer as their container does, and compare equal
 * with it; slices are the parts of the tensor that they claim to be, and numbers are bits' values.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Input: u8 flags (1 as npy, else safetensors), u8 element type for a raw array (0: none), then the
 * file.
 */
#include "fuzz.h"

#include <math.h>

enum { TENSOR_MAX = 1 << 20, TENSORS_MAX = 64 };

static void check_slice(mmh_reader *original, mmh_reader *container, uint64_t number,
                        const mmh_tensor_info *tensor)
{
    uint64_t begin[64], end[64], elements = 1;
    unsigned unit, block = mmh_dtype_block(tensor->dtype, &unit);
    for (uint32_t d = 0; d < tensor->dimensions; d++) {
        begin[d] = tensor->shape[d] / 3;
        end[d] = begin[d] + (tensor->shape[d] - begin[d] + 1) / 2;
        if (block > 1 && d == (tensor->column_major ? 0 : tensor->dimensions - 1)) {
            begin[d] = 0; /* rows of blocks are taken whole */
            end[d] = tensor->shape[d];
        }
        elements *= end[d] - begin[d];
    }
    size_t bytes = (size_t)(elements / MMH_MAX(block, 1u)) * unit;
    uint8_t *one = fuzz_memory(bytes), *other = fuzz_memory(bytes);
    mmh_status status = mmh_load_slice(original, number, begin, end, one, bytes, NULL);
    FUZZ_REQUIRE(status == mmh_load_slice(container, number, begin, end, other, bytes, NULL));
    FUZZ_REQUIRE(status == MMH_OK || status == MMH_E_UNSUPPORTED);
    FUZZ_REQUIRE(status || !bytes || !memcmp(one, other, bytes));
    free(one);
    free(other);
}

static void check_tensor(mmh_reader *original, mmh_reader *container, uint64_t number)
{
    mmh_tensor_info a = { .struct_size = sizeof a }, b = { .struct_size = sizeof b };
    mmh_difference difference = { .struct_size = sizeof difference };
    FUZZ_REQUIRE(!mmh_tensor(original, number, &a, NULL));
    FUZZ_REQUIRE(!mmh_tensor(container, number, &b, NULL));
    FUZZ_REQUIRE(!strcmp(a.name, b.name) && a.dtype == b.dtype && a.bytes == b.bytes &&
                 a.file_offset == b.file_offset && a.dimensions == b.dimensions);
    FUZZ_REQUIRE(a.big_endian == b.big_endian && a.column_major == b.column_major);
    for (uint32_t d = 0; d < a.dimensions; d++)
        FUZZ_REQUIRE(a.shape[d] == b.shape[d]);
    if (a.bytes > TENSOR_MAX)
        return;
    uint8_t *one = fuzz_memory((size_t)a.bytes), *other = fuzz_memory((size_t)a.bytes);
    FUZZ_REQUIRE(!mmh_load(original, number, one, (size_t)a.bytes, NULL));
    FUZZ_REQUIRE(!mmh_load(container, number, other, (size_t)a.bytes, NULL));
    FUZZ_REQUIRE(!a.bytes || !memcmp(one, other, (size_t)a.bytes));
    FUZZ_REQUIRE(!mmh_compare(original, number, container, number, &difference, NULL));
    FUZZ_REQUIRE(!difference.differing && difference.difference_norm == 0);
    if (a.bytes &&
        mmh_dtype_values(
            a.dtype)) { /* one bit more in the first element is one difference, if it is no padding */
        double values[2], again[2];
        one[0] ^= 1;
        FUZZ_REQUIRE(!mmh_values(values, one, (size_t)a.bytes, a.dtype, 0, 1, NULL));
        FUZZ_REQUIRE(!mmh_values(again, other, (size_t)a.bytes, a.dtype, 0, 1, NULL));
        /* The lowest bit tells values apart, but NaNs, and a byte of bool or opaque may be any. */
        FUZZ_REQUIRE(values[0] != again[0] || isnan(values[0]) || isnan(again[0]) || a.big_endian ||
                     mmh_dtype_bit_count(a.dtype) >= 64);
    }
    if (a.bytes)
        check_slice(original, container, number, &a);
    free(one);
    free(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct fuzz_input in = { data, bytes };
    bool npy = fuzz_below(&in, 2);
    mmh_pack_options options = { .struct_size = sizeof options,
                                 .level = 1,
                                 .raw_dtype = fuzz_below(&in, MMH_DTYPE_COUNT) };
    const char *path = fuzz_path(npy ? "o.npy" : "o.safetensors"), *packed = fuzz_path("o.mmh");
    mmh_context *context = fuzz_context(2);
    mmh_reader *original, *container;
    mmh_error err = { .status = MMH_OK };
    fuzz_write(path, in.data, in.bytes);
    fuzz_remove(packed);
    mmh_status status = mmh_open_original(context, path, &options, &original, &err);
    FUZZ_REQUIRE(status == mmh_pack(context, &path, 1, packed, &options, NULL, NULL));
    FUZZ_REQUIRE(status == err.status && (status || original));
    if (status)
        return 0; /* a raw type that does not fit */
    FUZZ_REQUIRE(!mmh_open(context, packed, &container, &err));
    mmh_container_info info = { .struct_size = sizeof info }, same = { .struct_size = sizeof same };
    FUZZ_REQUIRE(!mmh_container(original, &info, NULL) && !mmh_container(container, &same, NULL));
    FUZZ_REQUIRE(info.tensor_count == same.tensor_count && info.file_count == 1 &&
                 info.original_bytes == in.bytes && same.original_bytes == in.bytes);
    for (uint64_t i = 0; i < MMH_MIN(info.tensor_count, (uint64_t)TENSORS_MAX); i++)
        check_tensor(original, container, i);
    bool equal = false;
    FUZZ_REQUIRE(!mmh_compare_files(original, 0, container, 0, &equal, NULL, NULL) && equal);
    mmh_close(container);
    mmh_close(original);
    return 0;
}
