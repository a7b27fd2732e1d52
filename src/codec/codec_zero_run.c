/*
 * Codec 6: a mask of the elements that are not zero, then those alone.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Layout: docs/format.md section 11.
 */
#include "codec/codec_zstd_private.h"

enum { HEADER = 12, MASK_PLAIN = 0, MASK_ZSTD = 1 };

/* Element `index` as bits, whatever its width. */
static uint64_t element_at(const uint8_t *src, size_t index, unsigned bytes)
{
    switch (bytes) {
    case 1:
        return src[index];
    case 2:
        return mmh_load16(src + 2 * index);
    case 4:
        return mmh_load32(src + 4 * index);
    default:
        return mmh_load64(src + 8 * index);
    }
}

/* Returns how many are not zero. */
static size_t compact(uint8_t *mask, uint8_t *run, const uint8_t *src, size_t count, unsigned bytes)
{
    size_t kept = 0;
    memset(mask, 0, mmh_divide_up(count, 8));
    for (size_t i = 0; i < count; i++) {
        bool set = element_at(src, i, bytes) != 0;
        mask[i / 8] |= (uint8_t)(set << i % 8);
        memcpy(run + kept * bytes, src + i * bytes, bytes); /* the next one overwrites a zero */
        kept += set;
    }
    return kept;
}

static void spread(uint8_t *dst, const uint8_t *mask, const uint8_t *run, size_t count,
                   unsigned bytes)
{
    memset(dst, 0, count * bytes);
    for (size_t i = 0; i < count; i += 8)
        for (unsigned left = mask[i / 8]; left; left &= left - 1) {
            memcpy(dst + (i + mmh_ctz32(left)) * bytes, run, bytes);
            run += bytes;
        }
}

static mmh_status zero_run_encode(struct mmh_encode_job *job, mmh_error *err)
{
    const struct mmh_block_plan *plan = job->plan;
    mmh_codec_workspace *workspace = job->workspace;
    unsigned unit = job->element_bytes;
    size_t mask_plain = mmh_divide_up(job->elements, 8);
    uint8_t *mask = mmh_workspace_scratch(workspace, MMH_SCRATCH_MASK, mask_plain);
    uint8_t *run = mmh_workspace_scratch(workspace, MMH_SCRATCH_RUN, job->chunk->bytes + 8);
    if (!mask || !run)
        return mmh_fail(err, MMH_E_MEMORY, "encoding %zu elements", job->elements);
    size_t kept = compact(mask, run, job->src, job->elements, unit);
    size_t room = MMH_MIN(job->limit, job->room);
    if (room < HEADER + mask_plain + 8)
        return MMH_OK;
    uint8_t *dst = job->dst;

    /* A mask with a pattern packs further; one without is cheaper to read as it is. */
    size_t mask_bytes;
    mmh_status status = mmh_zstd_encode(dst + HEADER, mask_plain - mask_plain / 16, &mask_bytes,
                                        workspace, mask, mask_plain, plan->zstd_level, err);
    if (status)
        return status;
    unsigned coding = mask_bytes == MMH_NO_FIT ? MASK_PLAIN : MASK_ZSTD;
    if (coding == MASK_PLAIN)
        memcpy(dst + HEADER, mask, mask_bytes = mask_plain);
    size_t start = mmh_round_up(HEADER + mask_bytes, 8);
    memset(dst + HEADER + mask_bytes, 0, start - HEADER - mask_bytes);

    struct mmh_chunk chunk = { .dtype = job->chunk->dtype, .bytes = kept * unit };
    struct mmh_encode_job inner = {
        .workspace = workspace,
        .plan = plan,
        .src = run,
        .chunk = &chunk,
        .elements = kept,
        .element_bytes = unit,
        .dst = dst + start,
        .room = job->room - start,
        .limit = MMH_MIN(kept * unit, room - start),
        .bytes = MMH_NO_FIT,
        .inner = true,
    };
    unsigned inner_id = plan->is_float ? MMH_CODEC_FLOAT : MMH_CODEC_BYTES_RANS;
    bool coded = kept && (plan->is_float || (plan->try_rans && unit == 1));
    if (coded)
        status = mmh_codec_at(inner_id)->encode(&inner, err);
    if (!status && inner.bytes == MMH_NO_FIT) {
        inner_id = MMH_CODEC_STORE;
        status = mmh_codec_store.encode(&inner, err);
    }
    if (status || inner.bytes == MMH_NO_FIT)
        return status;
    mmh_store32(dst, (uint32_t)kept);
    dst[4] = (uint8_t)inner_id;
    dst[5] = (uint8_t)coding;
    mmh_store16(dst + 6, 0);
    mmh_store32(dst + 8, (uint32_t)mask_bytes);
    job->bytes = start + inner.bytes;
    return MMH_OK;
}

static mmh_status zero_run_decode(const struct mmh_decode_job *job, mmh_error *err)
{
    mmh_codec_workspace *workspace = job->workspace;
    unsigned unit = job->element_bytes;
    struct mmh_cursor in;
    mmh_cursor_init(&in, job->src, job->src_bytes);
    size_t kept = mmh_cursor_u32(&in);
    unsigned inner_id = mmh_cursor_u8(&in), coding = mmh_cursor_u8(&in);
    bool zeros = mmh_cursor_u16(&in) == 0;
    size_t mask_bytes = mmh_cursor_u32(&in), mask_plain = mmh_divide_up(job->elements, 8);
    const uint8_t *coded = mmh_cursor_bytes(&in, mask_bytes);
    zeros = mmh_cursor_pad(&in, 8) && zeros;
    if (mmh_cursor_failed(&in))
        return mmh_cursor_finish(&in, "zero-run chunk", err);
    if (!zeros || kept > job->elements || coding > MASK_ZSTD || job->inner ||
        job->elements > MMH_CHUNK_ELEMENTS || (coding == MASK_PLAIN && mask_bytes != mask_plain) ||
        (inner_id != MMH_CODEC_STORE && inner_id != MMH_CODEC_FLOAT &&
         inner_id != MMH_CODEC_BYTES_RANS))
        return mmh_fail(err, MMH_E_CORRUPT, "zero-run header is damaged");
    uint8_t *mask = mmh_workspace_scratch(workspace, MMH_SCRATCH_MASK, mask_plain);
    uint8_t *run = mmh_workspace_scratch(workspace, MMH_SCRATCH_RUN, kept * unit);
    if (!mask || !run)
        return mmh_fail(err, MMH_E_MEMORY, "decoding %zu elements", job->elements);
    mmh_status status = MMH_OK;
    if (coding == MASK_ZSTD)
        status = mmh_zstd_decode(mask, mask_plain, workspace, coded, mask_bytes, err);
    else
        memcpy(mask, coded, mask_plain);
    if (status)
        return status;
    size_t set = 0;
    for (size_t i = 0; i < mask_plain; i++)
        set += mmh_popcount32(mask[i]);
    if (job->elements % 8 && mask[mask_plain - 1] >> job->elements % 8)
        set = SIZE_MAX;
    if (set != kept)
        return mmh_fail(err, MMH_E_CORRUPT, "zero-run mask does not have %zu elements", kept);
    struct mmh_chunk chunk = { .dtype = job->chunk->dtype, .bytes = kept * unit };
    struct mmh_decode_job inner = *job;
    inner.chunk = &chunk;
    inner.src = job->src + mmh_cursor_position(&in);
    inner.src_bytes = mmh_cursor_left(&in);
    inner.dst = run;
    inner.elements = kept;
    inner.stream = false;
    inner.inner = true;
    status = mmh_codec_at(inner_id)->decode(&inner, err);
    if (!status)
        spread(job->dst, mask, run, job->elements, unit);
    return status;
}

const struct mmh_codec mmh_codec_zero_run = { "zero-run", zero_run_encode, zero_run_decode };
