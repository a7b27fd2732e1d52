/*
 * Fuzz target: any block is planned and encoded, by every kernel set to the same bytes, and each of
 * them decodes it exactly; nothing is checked by the encoder itself.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Input: u8 element type, u8 level, u8 parts, u24 elements, then for each part u8 dimensions and
 * u16 for each of them, then the elements (fuzz_fill).
 */
#include "fuzz.h"

#include "codec/codec_private.h"

enum {
    PARTS_MAX = 4,
    ELEMENTS_MAX = 300000,
    ELEMENTS_USUAL = 1 << 11,
    ELEMENTS_MORE = 1 << 14,
    RECORDS_SHARE = 32,
    KERNELS_MAX = 8
};

struct block {
    struct mmh_block_hint hint;
    struct mmh_block_part parts[PARTS_MAX];
    uint8_t *data;
    size_t bytes;
    unsigned unit;
};

/* What one kernel set makes of a block; chunks one after another. */
struct coded {
    uint8_t *model, *chunks;
    size_t model_bytes, chunks_bytes;
    uint64_t floor_bits;
    unsigned joins; /* bit i: part i joins those before it */
};

static void read_block(struct block *block, struct fuzz_input *in)
{
    mmh_dtype dtype = (mmh_dtype)fuzz_below(in, MMH_DTYPE_COUNT);
    block->hint.records = mmh_dtype_fields(dtype) ? dtype : MMH_DTYPE_OPAQUE;
    block->hint.dtype = block->hint.records ? MMH_DTYPE_OPAQUE : mmh_dtype_scalar(dtype);
    block->unit = mmh_dtype_scalar_bytes(block->hint.dtype);
    block->hint.level = 1 + (int)fuzz_below(in, 9);
    size_t parts = fuzz_below(in, PARTS_MAX + 1);
    size_t elements = (size_t)fuzz_number(in, 3);
    /* Large blocks are slow: few inputs ask for one, and fewer for one of several chunks. */
    elements = 1 + elements % (elements >> 20 == 15  ? ELEMENTS_MAX
                               : elements >> 22 == 2 ? ELEMENTS_MORE
                                                     : ELEMENTS_USUAL);
    if (block->hint.records)
        elements = 1 + elements / RECORDS_SHARE;
    parts = MMH_MIN(parts, elements);
    size_t left = elements;
    for (size_t p = 0; p < parts; p++) {
        struct mmh_block_part *part = &block->parts[p];
        size_t most = left - (parts - 1 - p), share = elements / parts;
        part->elements = p + 1 == parts ? left : MMH_MIN(MMH_MAX(share, (size_t)1), most);
        part->dimensions = fuzz_below(in, 9);
        for (uint32_t d = 0; d < part->dimensions; d++)
            part->shape[d] = fuzz_number(in, 2);
        part->tensor_first = part->dimensions ? fuzz_number(in, 2) : 0;
        left -= part->elements;
    }
    block->hint.parts = parts ? block->parts : NULL;
    block->hint.part_count = parts;
    block->bytes = elements * block->unit;
    if (block->hint.records)
        block->bytes = elements * mmh_dtype_fields(block->hint.records)->record_bytes;
    block->data = fuzz_memory(block->bytes);
    fuzz_fill(block->data, block->bytes, block->unit, in);
}

static size_t chunk_bytes(const struct block *block)
{
    return block->hint.records                   ? mmh_records_chunk_bytes(block->hint.records)
         : block->hint.dtype == MMH_DTYPE_OPAQUE ? (size_t)MMH_OPAQUE_CHUNK_BYTES
                                                 : (size_t)MMH_CHUNK_ELEMENTS * block->unit;
}

static void join_parts(struct coded *coded, mmh_codec_workspace *workspace,
                       const struct block *block)
{
    const uint8_t *data = block->data;
    bool joins = false;
    for (size_t p = 0; p < block->hint.part_count; p++) {
        const struct mmh_block_part *part = &block->parts[p];
        FUZZ_REQUIRE(!mmh_join_next(&joins, workspace, data, block->hint.dtype, part,
                                    block->hint.level, !p || !joins, NULL));
        coded->joins |= (unsigned)joins << p;
        data += part->elements * block->unit;
    }
}

static void encode(struct coded *coded, mmh_codec_workspace *workspace, const struct block *block)
{
    const struct mmh_block_plan *plan;
    const uint8_t *model;
    if (block->hint.dtype != MMH_DTYPE_OPAQUE)
        join_parts(coded, workspace, block);
    FUZZ_REQUIRE(!mmh_block_plan_make(&plan, &model, &coded->model_bytes, &coded->floor_bits,
                                      workspace, block->data, block->bytes, &block->hint, NULL));
    coded->model = model ? fuzz_copy(model, coded->model_bytes) : NULL;
    size_t step = chunk_bytes(block), count = mmh_divide_up(block->bytes, step);
    coded->chunks = fuzz_memory(count * (mmh_chunk_bound(step) + 8));
    for (size_t at = 0; at < block->bytes; at += step) {
        struct mmh_chunk chunk = { .dtype = block->hint.dtype,
                                   .first_element = at / block->unit,
                                   .bytes = MMH_MIN(step, block->bytes - at) };
        uint8_t *src = fuzz_copy(block->data + at, chunk.bytes);
        uint8_t *dst = fuzz_memory(mmh_chunk_bound(chunk.bytes));
        size_t bytes;
        unsigned codec_id;
        FUZZ_REQUIRE(
            !mmh_chunk_encode(dst, &bytes, &codec_id, workspace, plan, src, &chunk, false, NULL));
        FUZZ_REQUIRE(bytes <= chunk.bytes); /* store takes no more */
        uint8_t *out = coded->chunks + coded->chunks_bytes;
        mmh_store32(out, (uint32_t)bytes);
        mmh_store32(out + 4, codec_id);
        memcpy(out + 8, dst, bytes);
        coded->chunks_bytes += 8 + bytes;
        free(src);
        free(dst);
    }
}

static void decode(mmh_codec_workspace *workspace, const struct block *block,
                   const struct coded *coded)
{
    mmh_model *model = NULL;
    size_t step = chunk_bytes(block);
    const uint8_t *in = coded->chunks;
    if (coded->model)
        FUZZ_REQUIRE(!mmh_model_create(&model, coded->model, coded->model_bytes,
                                       block->bytes / block->unit, NULL, NULL));
    for (size_t at = 0; at < block->bytes; at += step) {
        struct mmh_chunk chunk = { .dtype = block->hint.dtype,
                                   .first_element = at / block->unit,
                                   .bytes = MMH_MIN(step, block->bytes - at) };
        size_t bytes = mmh_load32(in);
        uint8_t *payload = fuzz_copy(in + 8, bytes), *dst = fuzz_memory(chunk.bytes);
        FUZZ_REQUIRE(!mmh_chunk_decode(dst, workspace, &chunk, mmh_load32(in + 4), payload, bytes,
                                       model, false, NULL));
        FUZZ_REQUIRE(!memcmp(dst, block->data + at, chunk.bytes));
        in += 8 + bytes;
        free(payload);
        free(dst);
    }
    mmh_model_destroy(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static mmh_codec_workspace *workspaces[KERNELS_MAX];
    struct fuzz_input in = { data, bytes };
    struct block block = { 0 };
    struct coded first = { 0 };
    const struct mmh_kernels *kernels;
    read_block(&block, &in);
    for (size_t k = 0; (kernels = mmh_kernels_at(k)) != NULL && k < KERNELS_MAX; k++) {
        struct coded coded = { 0 };
        if (!workspaces[k])
            FUZZ_REQUIRE(!mmh_codec_workspace_create(&workspaces[k], NULL, NULL));
        mmh_workspace_set_kernels(workspaces[k], kernels);
        encode(&coded, workspaces[k], &block);
        if (!k) {
            first = coded;
        } else {
            FUZZ_REQUIRE(coded.joins == first.joins && coded.floor_bits == first.floor_bits);
            FUZZ_REQUIRE(!coded.model == !first.model && coded.model_bytes == first.model_bytes);
            FUZZ_REQUIRE(!coded.model || !memcmp(coded.model, first.model, coded.model_bytes));
            FUZZ_REQUIRE(coded.chunks_bytes == first.chunks_bytes);
            FUZZ_REQUIRE(!memcmp(coded.chunks, first.chunks, coded.chunks_bytes));
            free(coded.model);
            free(coded.chunks);
        }
        decode(workspaces[k], &block, &first);
    }
    free(first.model);
    free(first.chunks);
    free(block.data);
    return 0;
}
