/*
 * Codec 9: bytes by twos, a rANS symbol and a raw byte for each pair.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Layout: docs/format.md section 12. A decoder of one symbol a byte cannot go faster than its table
 * lookups; here one of them gives two bytes, for some hundredths of a bit each.
 */
#include "codec/codec_private.h"

enum { HEADER = 8, ALIGN_FROM = 32768 };

static size_t align_of(size_t pairs)
{
    return pairs >= ALIGN_FROM ? 64 : 8;
}

/* Zeros up to the next multiple of align; returns it. */
static size_t pad(uint8_t *dst, size_t used, size_t align)
{
    size_t end = mmh_round_up(used, align);
    memset(dst + used, 0, end - used);
    return end;
}

/* Symbols and raw bytes by the tables of the pairs' ids. */
static void split_pairs(uint8_t *symbols, uint8_t *raw, const uint8_t *src, const uint8_t *ids,
                        size_t pairs, const struct mmh_model *model,
                        const struct mmh_kernels *kernels)
{
    if (!ids || model->pairs_alike) {
        kernels->pairs_split(symbols, raw, src, pairs, model->pair_code[0]);
        return;
    }
    for (size_t i = 0; i < pairs; i++) {
        const uint8_t *code = model->pair_code[ids[i]];
        unsigned a = code[src[2 * i]], b = code[src[2 * i + 1]];
        symbols[i] = (uint8_t)(a >> 4 | (b & 240));
        raw[i] = (uint8_t)((a & 15) | b << 4);
    }
}

static mmh_status pairs_encode(struct mmh_encode_job *job, mmh_error *err)
{
    const struct mmh_block_plan *plan = job->plan;
    const struct mmh_model *model = plan->model;
    size_t bytes = job->chunk->bytes, pairs = bytes / 2, align = align_of(pairs);
    uint64_t first = job->chunk->first_element / 2;
    if (!pairs || bytes > MMH_CHUNK_ELEMENTS || job->inner)
        return MMH_OK;
    uint8_t *symbols = mmh_workspace_scratch(job->workspace, MMH_SCRATCH_SYMBOLS, pairs + 128);
    uint8_t *raw = mmh_workspace_scratch(job->workspace, MMH_SCRATCH_PLANES, pairs);
    uint32_t *patches = (uint32_t *)(void *)mmh_workspace_scratch(job->workspace,
                                                                  MMH_SCRATCH_PATCHES, 8 * pairs);
    if (!symbols || !raw || !patches)
        return mmh_fail(err, MMH_E_MEMORY, "encoding %zu bytes", bytes);
    uint8_t *ids;
    size_t patch_count = 0;
    mmh_status status = mmh_rans_ids(&ids, job->workspace, model, first, pairs, err);
    if (status)
        return status;
    split_pairs(symbols, raw, job->src, ids, pairs, model, job->workspace->kernels);
    status = mmh_rans_patch(symbols, patches, &patch_count, ids, job, pairs, first, err);
    if (status)
        return status;

    size_t room = MMH_MIN(job->limit, job->room), plane = mmh_round_up(pairs, MMH_GROUP);
    size_t used = HEADER + mmh_round_up(6 * patch_count, 8), fixed = plane + align + bytes % 2;
    if (used + fixed > room)
        return MMH_OK;
    uint8_t *dst = job->dst;
    for (size_t i = 0; i < patch_count; i++) {
        mmh_store32(dst + HEADER + 4 * i, patches[i]);
        memcpy(dst + HEADER + 4 * patch_count + 2 * i, job->src + 2 * (size_t)patches[i], 2);
    }
    pad(dst, HEADER + 6 * patch_count, 8);
    size_t symbol_bytes =
        mmh_rans_symbols_encode(dst + used, room - used - fixed, job->workspace, symbols, ids,
                                pairs, plan->tables, model->bits, plan->best[0],
                                mmh_rans_stripes(pairs, plan->stripe_log2, plan->stripes), &status);
    if (status)
        return mmh_fail(err, status, "encoding %zu bytes", bytes);
    if (symbol_bytes == MMH_NO_FIT)
        return MMH_OK;
    mmh_store32(dst, (uint32_t)patch_count);
    mmh_store32(dst + 4, (uint32_t)symbol_bytes);
    used = pad(dst, used + symbol_bytes, align);
    memcpy(dst + used, raw, pairs);
    memset(dst + used + pairs, 0, plane - pairs);
    used += plane; /* aligned as it began */
    if (bytes % 2)
        dst[used++] = job->src[bytes - 1];
    job->bytes = used;
    return MMH_OK;
}

static mmh_status pairs_decode(const struct mmh_decode_job *job, mmh_error *err)
{
    const struct mmh_model *model = job->model;
    size_t bytes = job->chunk->bytes, pairs = bytes / 2, align = align_of(pairs);
    if (bytes > MMH_CHUNK_ELEMENTS || job->element_bytes != 1 || job->inner)
        return mmh_fail(err, MMH_E_CORRUPT, "byte-pairs chunk of %zu bytes", bytes);
    if (!model || model->kind != MMH_MODEL_PAIRS)
        return mmh_fail(err, MMH_E_CORRUPT, "byte pairs without a model that fits");
    struct mmh_cursor in;
    mmh_cursor_init(&in, job->src, job->src_bytes);
    size_t patch_count = mmh_cursor_u32(&in), symbol_bytes = mmh_cursor_u32(&in);
    if (patch_count > pairs)
        return mmh_fail(err, MMH_E_CORRUPT, "%zu patches of %zu byte pairs", patch_count, pairs);
    const uint8_t *positions = mmh_cursor_bytes(&in, 4 * patch_count);
    const uint8_t *patches = mmh_cursor_bytes(&in, 2 * patch_count);
    bool zeros = mmh_cursor_pad(&in, 8);
    const uint8_t *coded = mmh_cursor_bytes(&in, symbol_bytes);
    zeros = mmh_cursor_pad(&in, align) && zeros;
    const uint8_t *raw = mmh_cursor_bytes(&in, mmh_round_up(pairs, MMH_GROUP));
    for (size_t i = pairs; raw && i < mmh_round_up(pairs, MMH_GROUP); i++)
        zeros = zeros && !raw[i];
    const uint8_t *last = mmh_cursor_bytes(&in, bytes % 2);
    mmh_status status = mmh_cursor_finish(&in, "byte-pairs chunk", err);
    if (status)
        return status;
    if (!zeros)
        return mmh_fail(err, MMH_E_CORRUPT, "byte-pairs chunk: padding is not zero");

    uint8_t *ids;
    status = mmh_rans_ids(&ids, job->workspace, model, job->chunk->first_element / 2, pairs, err);
    if (status)
        return status;
    uint8_t *symbols = mmh_workspace_scratch(job->workspace, MMH_SCRATCH_SYMBOLS,
                                             MMH_RANS_MERGE_SCRATCH);
    if (!symbols)
        return mmh_fail(err, MMH_E_MEMORY, "decoding %zu bytes", bytes);
    const struct mmh_split split = { .element_bytes = 2,
                                     .raw_bits = 8,
                                     .stored_bits = 8,
                                     .pair_values = model->pair_values[0],
                                     .pair_tables = (uint8_t)model->table_count };
    const struct mmh_merge merge = {
        .dst = job->dst,
        .planes = { { (uint8_t *)(uintptr_t)raw } }, /* only read */
        .tails = { model->pairs_alike ? NULL : ids },
        .split = &split,
        .stream = job->stream ? MMH_STREAM_MORE : MMH_STREAM_OFF,
    };
    mmh_read_through(job->src, job->src_bytes);
    status = mmh_rans_symbols_decode(symbols, &merge, ids, pairs, coded, symbol_bytes, model,
                                     job->workspace->kernels, err);
    if (job->stream)
        job->workspace->kernels->fence(); /* patches follow, and who reads the elements */
    uint32_t least = 0;
    for (size_t i = 0; i < patch_count && !status; i++) {
        uint32_t at = mmh_load32(positions + 4 * i);
        if (at < least || at >= pairs)
            return mmh_fail(err, MMH_E_CORRUPT, "patch %zu is at pair %u", i, at);
        least = at + 1;
        memcpy(job->dst + 2 * (size_t)at, patches + 2 * i, 2);
    }
    if (!status && bytes % 2)
        job->dst[bytes - 1] = *last;
    return status;
}

const struct mmh_codec mmh_codec_byte_pairs = { "byte-pairs", pairs_encode, pairs_decode };
