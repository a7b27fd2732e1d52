/*
 * Codec 6: a mask of the elements that are not zero, then those alone.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Layout: docs/format.md section 11.
 */
#include "codec/codec_zstd_private.h"

enum {
    HEADER = 12,
    MASK_PLAIN = 0,
    MASK_ZSTD = 1,
    WORD = 64,             /* elements whose bits of the mask are taken together */
    WORD_DENSE = 24,       /* so many of them are moved faster without a loop over the bits */
    MASK_LEVEL = 1,        /* of libzstd: a quick look for matches */
    MASK_SEARCH_LEVEL = 7, /* from this level on matches are always looked for */
    MASK_HALF_BITS = 3,    /* of entropy in a byte, below which codes of whole bits waste some */
};

/* A bit for each element of eight bytes that is not zero: the first element's lowest. */
static inline uint64_t nonzero_bits(uint64_t eight, unsigned bytes)
{
    uint64_t tops;
    switch (bytes) {
    case 1:
        tops = ((eight & UINT64_C(0x7f7f7f7f7f7f7f7f)) + UINT64_C(0x7f7f7f7f7f7f7f7f)) | eight;
        return (tops >> 7 & UINT64_C(0x0101010101010101)) * UINT64_C(0x0102040810204080) >> 56;
    case 2:
        tops = ((eight & UINT64_C(0x7fff7fff7fff7fff)) + UINT64_C(0x7fff7fff7fff7fff)) | eight;
        return (tops >> 15 & UINT64_C(0x0001000100010001)) * UINT64_C(0x0001000200040008) >> 48 &
               15;
    case 4:
        return (uint64_t)((uint32_t)eight != 0) | (uint64_t)(eight >> 32 != 0) << 1;
    default:
        return eight != 0;
    }
}

static inline uint64_t nonzero_word(const uint8_t *src, unsigned bytes)
{
    uint64_t any = 0, word = 0;
    for (unsigned i = 0; i < bytes * 8; i++)
        any |= mmh_load64(src + (size_t)8 * i);
    for (unsigned i = 0; any && i < bytes * 8; i++)
        word |= nonzero_bits(mmh_load64(src + (size_t)8 * i), bytes) << i * (8 / bytes);
    return word;
}

static inline unsigned popcount64(uint64_t value)
{
    value -= value >> 1 & UINT64_C(0x5555555555555555);
    value = (value & UINT64_C(0x3333333333333333)) + (value >> 2 & UINT64_C(0x3333333333333333));
    value = (value + (value >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (unsigned)(value * UINT64_C(0x0101010101010101) >> 56);
}

/* Set bits of a mask of whole bytes. */
static size_t mask_count(const uint8_t *mask, size_t bytes)
{
    size_t set = 0, i = 0;
    for (; i + 8 <= bytes; i += 8)
        set += popcount64(mmh_load64(mask + i));
    for (; i < bytes; i++)
        set += popcount64(mask[i]);
    return set;
}

/*
 * Take the elements that are not zero together; returns how many. Always inlined with a width
 * that is known, so that an element is one load and one store.
 *
 *   run   has room for all elements and 8 bytes more
 */
static inline size_t compact_width(uint8_t *mask, uint8_t *run, const uint8_t *src, size_t count,
                                   unsigned bytes)
{
    size_t i = 0, kept = 0;
    for (; i + WORD <= count; i += WORD) {
        const uint8_t *from = src + i * bytes;
        uint64_t word = nonzero_word(from, bytes);
        mmh_store64(mask + i / 8, word);
        if (!word)
            continue;
        if (popcount64(word) < WORD_DENSE) {
            for (; word; word &= word - 1)
                memcpy(run + kept++ * bytes, from + mmh_ctz64(word) * bytes, bytes);
        } else {
            for (unsigned e = 0; e < WORD; e++) {
                memcpy(run + kept * bytes, from + e * bytes, bytes); /* over a zero */
                kept += word >> e & 1;
            }
        }
    }
    if (i < count)
        memset(mask + i / 8, 0, mmh_divide_up(count - i, 8));
    for (; i < count; i++) {
        uint64_t element = 0;
        memcpy(&element, src + i * bytes, bytes);
        memcpy(run + kept * bytes, src + i * bytes, bytes);
        mask[i / 8] |= (uint8_t)((element != 0) << i % 8);
        kept += element != 0;
    }
    return kept;
}

static size_t compact(uint8_t *mask, uint8_t *run, const uint8_t *src, size_t count, unsigned bytes)
{
    switch (bytes) {
    case 1:
        return compact_width(mask, run, src, count, 1);
    case 2:
        return compact_width(mask, run, src, count, 2);
    case 4:
        return compact_width(mask, run, src, count, 4);
    default:
        return compact_width(mask, run, src, count, 8);
    }
}

/* The way back; dst is zero already. */
static inline void spread_word(uint8_t *dst, uint64_t word, const uint8_t **run, unsigned bytes)
{
    const uint8_t *from = *run;
    for (; word; word &= word - 1, from += bytes)
        memcpy(dst + mmh_ctz64(word) * bytes, from, bytes);
    *run = from;
}

static inline void spread_width(uint8_t *dst, const uint8_t *mask, const uint8_t *run, size_t count,
                                unsigned bytes)
{
    size_t i = 0;
    for (; i + WORD <= count; i += WORD)
        spread_word(dst + i * bytes, mmh_load64(mask + i / 8), &run, bytes);
    for (; i < count; i += 8)
        spread_word(dst + i * bytes, mask[i / 8], &run, bytes);
}

static void spread(uint8_t *dst, const uint8_t *mask, const uint8_t *run, size_t count,
                   unsigned bytes)
{
    if (count)
        memset(dst, 0, count * bytes);
    switch (bytes) {
    case 1:
        spread_width(dst, mask, run, count, 1);
        break;
    case 2:
        spread_width(dst, mask, run, count, 2);
        break;
    case 4:
        spread_width(dst, mask, run, count, 4);
        break;
    default:
        spread_width(dst, mask, run, count, 8);
        break;
    }
}

/* Code the mask at dst with one more coder (level 0: entropy alone); keep what is smaller. */
static mmh_status try_mask(uint8_t *dst, size_t *bytes, mmh_codec_workspace *workspace,
                           const uint8_t *mask, size_t mask_plain, int level, mmh_error *err)
{
    size_t room = MMH_MIN(*bytes - 1, mask_plain - mask_plain / 16), used;
    uint8_t *trial = mmh_workspace_scratch(workspace, MMH_SCRATCH_SECTION, mask_plain);
    if (!trial)
        return mmh_fail(err, MMH_E_MEMORY, "encoding a mask of %zu bytes", mask_plain);
    mmh_status status = mmh_zstd_encode(trial, room, &used, workspace, mask, mask_plain, level,
                                        err);
    if (!status && used != MMH_NO_FIT) {
        memcpy(dst, trial, used);
        *bytes = used;
    }
    return status;
}

/*
 * Code the mask at dst, plainly if zstd gains little: *bytes is MMH_NO_FIT then. In a mask without
 * a pattern there are no matches to find, and those that a level takes all the same cost more than
 * they save; so entropy coding alone comes first. The plan's level, which takes up to a hundred
 * times as long, has its turn where a quick one finds matches that pay, or where a byte has so
 * little entropy that a code of whole bits wastes some.
 */
static mmh_status encode_mask(uint8_t *dst, size_t *bytes, mmh_codec_workspace *workspace,
                              const struct mmh_block_plan *plan, const uint8_t *mask,
                              size_t mask_plain, mmh_error *err)
{
    uint32_t counts[256] = { 0 };
    *bytes = MMH_NO_FIT;
    mmh_status status = try_mask(dst, bytes, workspace, mask, mask_plain, 0, err);
    size_t entropy_alone = *bytes;
    if (!status)
        status = try_mask(dst, bytes, workspace, mask, mask_plain, MASK_LEVEL, err);
    if (status || plan->zstd_level <= MASK_LEVEL)
        return status;
    plan->kernels->histogram(counts, mask, mask_plain, 1);
    uint64_t entropy_bits = mmh_cost_histogram(counts, 256) / MMH_COST_ONE;
    if (plan->level < MASK_SEARCH_LEVEL && *bytes == entropy_alone &&
        entropy_bits >= mask_plain * MASK_HALF_BITS / 2)
        return MMH_OK;
    return try_mask(dst, bytes, workspace, mask, mask_plain, plan->zstd_level, err);
}

/*
 * Bytes that a float chunk of all the elements takes at the least, by the header of one of those
 * that are not zero: it stores as many raw bits of each, but for a longer symbol's.
 */
static size_t float_least(const uint8_t *inner, const struct mmh_block_plan *plan, size_t elements)
{
    unsigned q = MMH_MAX(inner[1], plan->try_rans ? plan->q : 0), sign_mode = inner[2];
    unsigned mantissa = mmh_float_type(plan->dtype)->mantissa_bits - inner[3];
    return elements / 8 * ((sign_mode == 0) + mantissa - MMH_MIN(mantissa, q));
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

    size_t mask_bytes;
    mmh_status status = encode_mask(dst + HEADER, &mask_bytes, workspace, plan, mask, mask_plain,
                                    err);
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
    if (inner_id == MMH_CODEC_FLOAT)
        job->float_least = float_least(dst + start, plan, job->elements);
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
    size_t set = mask_count(mask, mask_plain);
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
