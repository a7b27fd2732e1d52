/*
 * weight.bin of CoreML: a header of 64 bytes, then blobs, each behind 64 bytes that describe it.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Names and shapes are in the program that refers to it (format_coreml.c); alone, as in a compiled
 * model, the blobs are numbered. Reserved fields are not zero: what was in memory gets written.
 * Source: github.com/apple/coremltools, mlmodel/src/MILBlob/Blob/StorageFormat.hpp.
 */
#include "base/bits.h"
#include "format/format_table.h"

enum { HEADER_BYTES = 64, METADATA_BYTES = 64, ALIGNMENT = 64, VERSION = 2 };

static const uint32_t sentinel = 0xdeadbeef;

static bool detect(const struct mmh_format_probe *probe)
{
    const mmh_source *source = probe->source;
    uint8_t first[4];
    return source->bytes >= HEADER_BYTES + METADATA_BYTES && mmh_load32(probe->head) > 0 &&
           mmh_load32(probe->head + 4) == VERSION &&
           source->read(source->user, HEADER_BYTES, first, sizeof first, NULL) == MMH_OK &&
           mmh_load32(first) == sentinel;
}

/* BlobDataType as ours; those that no byte has a whole number of are bytes. */
static mmh_dtype dtype_of(uint32_t type)
{
    static const uint8_t dtypes[] = {
        [1] = MMH_DTYPE_F16,      [2] = MMH_DTYPE_F32,      [3] = MMH_DTYPE_U8,
        [4] = MMH_DTYPE_I8,       [5] = MMH_DTYPE_BF16,     [6] = MMH_DTYPE_I16,
        [7] = MMH_DTYPE_U16,      [8] = MMH_DTYPE_I4,       [9] = MMH_DTYPE_U8,
        [10] = MMH_DTYPE_U2,      [11] = MMH_DTYPE_U4,      [12] = MMH_DTYPE_U8,
        [13] = MMH_DTYPE_U8,      [14] = MMH_DTYPE_I32,     [15] = MMH_DTYPE_U32,
        [16] = MMH_DTYPE_F8_E4M3, [17] = MMH_DTYPE_F8_E5M2,
    };
    return type && type < MMH_COUNT_OF(dtypes) ? (mmh_dtype)dtypes[type] : MMH_DTYPE_U8;
}

static mmh_status add_blob(struct mmh_extent_map *map, uint64_t number, uint32_t type,
                           uint64_t offset, uint64_t bytes, mmh_error *err)
{
    struct mmh_map_tensor tensor = {
        .dtype = dtype_of(type), .dimensions = 1, .offset = offset, .bytes = bytes
    };
    uint64_t *shape = mmh_arena_array(map->arena, 1, sizeof *shape);
    tensor.name = mmh_arena_format(map->arena, "weight %llu", (unsigned long long)number);
    if (!shape || !tensor.name)
        return mmh_fail(err, MMH_E_MEMORY, "weight %llu", (unsigned long long)number);
    *shape = bytes / (mmh_dtype_bits(tensor.dtype) < 8 ? 1 : mmh_dtype_bits(tensor.dtype) / 8);
    if (mmh_dtype_bits(tensor.dtype) < 8) /* fits: bytes are those of a file */
        *shape *= 8 / mmh_dtype_bits(tensor.dtype);
    tensor.shape = shape;
    return mmh_extent_map_add(map, &tensor, err);
}

static mmh_status map_file(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                           mmh_error *err)
{
    const mmh_source *source = probe->source;
    uint32_t count = mmh_load32(probe->head);
    uint64_t place = HEADER_BYTES;
    struct mmh_stream in;
    mmh_stream_init(&in, source, place, source->bytes);
    for (uint64_t number = 0; number < count; number++) {
        if (place > source->bytes || source->bytes - place < METADATA_BYTES) {
            mmh_extent_map_remark(map, "%llu of %lu weights are missing",
                                  (unsigned long long)(count - number), (unsigned long)count);
            break;
        }
        mmh_stream_seek(&in, place, source->bytes);
        uint32_t begins = mmh_stream_u32(&in), type = mmh_stream_u32(&in);
        uint64_t bytes = mmh_stream_u64(&in), offset = mmh_stream_u64(&in);
        mmh_status status = mmh_stream_finish(&in, "weights", err);
        if (status)
            return status;
        if (begins != sentinel || offset < place + METADATA_BYTES || offset > source->bytes ||
            bytes > source->bytes - offset)
            return mmh_fail(err, MMH_E_CORRUPT, "weight %llu is not what it should be, at 0x%llx",
                            (unsigned long long)number, (unsigned long long)place);
        status = add_blob(map, number, type, offset, bytes, err);
        if (status)
            return status;
        place = mmh_round_up(offset + bytes, ALIGNMENT);
    }
    return MMH_OK;
}

const struct mmh_format mmh_format_coreml_weights = {
    .name = "coreml weights",
    .detect = detect,
    .map = map_file,
};
