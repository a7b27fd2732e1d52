/*
 * The codec table, the workspace, and a chunk's way through them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/codec_zstd_private.h"

enum {
    QUICK_LEVEL = 3,   /* of libzstd: the least that finds matches of four bytes */
    QUICK_SHARE = 8,   /* its result may be longer by so much than what there is */
    BETTER_SHARE = 16, /* what matches must save for the time of a higher level, */
    OPAQUE_SHARE = 2,  /* and what of opaque bytes: text, but not weights or machine code */
};

static const struct mmh_codec *const codecs[MMH_CODEC_COUNT] = {
    [MMH_CODEC_STORE] = &mmh_codec_store, /* ids are on disk: never reused */
    [MMH_CODEC_CONSTANT] = &mmh_codec_constant,
    [MMH_CODEC_ZSTD] = &mmh_codec_zstd,
    [MMH_CODEC_LZMA] = &mmh_codec_lzma,
    [MMH_CODEC_FLOAT] = &mmh_codec_float,
    [MMH_CODEC_BYTES_RANS] = &mmh_codec_bytes_rans,
    [MMH_CODEC_ZERO_RUN] = &mmh_codec_zero_run,
    [MMH_CODEC_SHUFFLE_ZSTD] = &mmh_codec_shuffle_zstd,
    [MMH_CODEC_BYTE_PAIRS] = &mmh_codec_byte_pairs,
    [MMH_CODEC_FIELDS] = &mmh_codec_fields,
    [MMH_CODEC_MIXED] = &mmh_codec_mixed,
};

const struct mmh_codec *mmh_codec_at(unsigned codec_id)
{
    return codec_id < MMH_CODEC_COUNT ? codecs[codec_id] : NULL;
}

const char *mmh_codec_name(unsigned codec_id)
{
    if (codec_id == MMH_CODEC_MODEL)
        return "model";
    return codec_id < MMH_CODEC_COUNT ? codecs[codec_id]->name : NULL;
}

/* ---- workspace ---- */

mmh_status mmh_codec_workspace_create(mmh_codec_workspace **workspace,
                                      const mmh_allocator *allocator, mmh_error *err)
{
    *workspace = mmh_alloc_array(allocator, 1, sizeof **workspace);
    if (!*workspace)
        return mmh_fail(err, MMH_E_MEMORY, "codec workspace");
    (*workspace)->allocator = allocator;
    (*workspace)->kernels = mmh_kernels_get();
    return MMH_OK;
}

void mmh_codec_workspace_destroy(mmh_codec_workspace *workspace)
{
    if (!workspace)
        return;
    for (size_t i = 0; i < MMH_SCRATCH_COUNT; i++)
        mmh_free(workspace->allocator, workspace->scratch[i].data);
    mmh_zstd_release(workspace);
    mmh_free(workspace->allocator, workspace->tables);
    mmh_model_destroy(workspace->plan.model);
    mmh_fields_plan_release(workspace);
    mmh_mixed_plan_release(workspace);
    mmh_free(workspace->allocator, workspace);
}

uint8_t *mmh_workspace_scratch(mmh_codec_workspace *workspace, enum mmh_scratch which, size_t bytes)
{
    size_t room = workspace->scratch[which].room;
    if (bytes <= room && room)
        return workspace->scratch[which].data;
    room = MMH_MAX(room + room / 2, (size_t)1 << 14);
    room = mmh_round_up(MMH_MAX(room, bytes), 4096);
    mmh_free(workspace->allocator, workspace->scratch[which].data);
    workspace->scratch[which].room = 0;
    workspace->scratch[which].data = mmh_alloc(workspace->allocator, 64, room + MMH_KERNEL_SLACK);
    if (workspace->scratch[which].data)
        workspace->scratch[which].room = room;
    return workspace->scratch[which].data;
}

mmh_status mmh_workspace_append(mmh_codec_workspace *workspace, enum mmh_scratch which, size_t used,
                                const uint8_t *data, size_t bytes, mmh_error *err)
{
    uint8_t *old = workspace->scratch[which].data;
    size_t room = workspace->scratch[which].room;
    if (used + bytes > room) {
        workspace->scratch[which].data = NULL; /* the old one is still needed */
        workspace->scratch[which].room = 0;
        uint8_t *grown = mmh_workspace_scratch(workspace, which, 2 * (used + bytes));
        if (grown && used)
            memcpy(grown, old, used);
        mmh_free(workspace->allocator, old);
        old = grown;
    }
    if (!old)
        return mmh_fail(err, MMH_E_MEMORY, "%zu bytes in a workspace", used + bytes);
    if (bytes)
        memcpy(old + used, data, bytes);
    return MMH_OK;
}

void mmh_workspace_set_kernels(mmh_codec_workspace *workspace, const struct mmh_kernels *kernels)
{
    workspace->kernels = kernels;
}

bool mmh_codec_uses_model(unsigned codec_id)
{
    return codec_id != MMH_CODEC_STORE && codec_id != MMH_CODEC_CONSTANT &&
           codec_id != MMH_CODEC_ZSTD && codec_id != MMH_CODEC_LZMA &&
           codec_id != MMH_CODEC_SHUFFLE_ZSTD;
}

/* ---- encoding ---- */

size_t mmh_records_chunk_bytes(mmh_dtype records)
{
    const struct mmh_fields *fields = mmh_dtype_fields(records);
    /* A power of two of them: an even number of elements comes before a chunk. */
    unsigned log2 = 31 - mmh_clz32(MMH_CHUNK_ELEMENTS / mmh_fields_most(fields));
    return (size_t)fields->record_bytes << log2;
}

size_t mmh_chunk_bound(size_t bytes)
{
    /* Store takes `bytes`; the rest is room for a kernel that writes before it is measured. */
    return bytes > SIZE_MAX - MMH_CHUNK_BOUND_EXTRA ? SIZE_MAX : bytes + MMH_CHUNK_BOUND_EXTRA;
}

static bool is_constant(const uint8_t *src, size_t bytes, unsigned element_bytes)
{
    return bytes >= element_bytes && bytes % element_bytes == 0 &&
           memcmp(src, src + element_bytes, bytes - element_bytes) == 0;
}

/* Encode with one more codec; keep what is smaller. */
static mmh_status try_codec(struct mmh_encode_job *job, unsigned *codec_id, unsigned candidate,
                            mmh_error *err)
{
    struct mmh_encode_job trial = *job;
    bool first = job->bytes == MMH_NO_FIT;
    if (!first) {
        trial.dst = mmh_workspace_scratch(job->workspace, MMH_SCRATCH_TRIAL, job->room);
        if (!trial.dst)
            return mmh_fail(err, MMH_E_MEMORY, "encoding a chunk of %zu bytes", job->chunk->bytes);
        trial.limit = job->bytes - 1;
    }
    trial.bytes = MMH_NO_FIT;
    mmh_status status = codecs[candidate]->encode(&trial, err);
    if (status || trial.bytes == MMH_NO_FIT)
        return status;
    if (!first)
        memcpy(job->dst, trial.dst, trial.bytes);
    job->bytes = trial.bytes;
    job->float_least = trial.float_least;
    *codec_id = candidate;
    return MMH_OK;
}

/* Whether zstd may make less of a chunk of records than their fields took, by what it would make of
 * the block. With time, what is close is tried. */
static bool zstd_may_win(const struct mmh_encode_job *job)
{
    const struct mmh_block_plan *plan = job->plan;
    if (!plan->fields || job->bytes == MMH_NO_FIT)
        return true;
    uint64_t bits = plan->whole_bits / plan->bytes * job->chunk->bytes +
                    plan->whole_bits % plan->bytes * job->chunk->bytes / plan->bytes;
    return plan->level >= 7 ? bits < 8 * job->bytes + job->bytes / 8 : bits < 8 * job->bytes;
}

/* What a quick level makes of a chunk says whether the plan's may make less than there is. */
static mmh_status try_if_quick(struct mmh_encode_job *job, unsigned *codec_id, unsigned candidate,
                               mmh_error *err)
{
    struct mmh_encode_job quick = *job;
    size_t close = MMH_MIN(job->bytes, job->chunk->bytes);
    quick.dst = mmh_workspace_scratch(job->workspace, MMH_SCRATCH_TRIAL, job->room);
    if (!quick.dst)
        return mmh_fail(err, MMH_E_MEMORY, "encoding a chunk of %zu bytes", job->chunk->bytes);
    quick.zstd_level = QUICK_LEVEL;
    quick.limit = close + close / QUICK_SHARE;
    quick.bytes = MMH_NO_FIT;
    mmh_status status = codecs[candidate]->encode(&quick, err);
    if (status || quick.bytes == MMH_NO_FIT)
        return status;
    job->zstd_level = job->plan->zstd_level;
    return try_codec(job, codec_id, candidate, err);
}

/* Matches, if the plan wants them or the chunk shows some. */
static mmh_status try_matches(struct mmh_encode_job *job, unsigned *codec_id, mmh_error *err)
{
    const struct mmh_block_plan *plan = job->plan;
    size_t before = MMH_MIN(job->bytes, job->chunk->bytes);
    bool wanted = plan->try_zstd && zstd_may_win(job);
    struct mmh_repeats seen = { 0 };
    mmh_status status = MMH_OK;
    if (wanted) {
        status = try_codec(job, codec_id, MMH_CODEC_ZSTD, err);
        if (!status && plan->element_bytes > 1)
            status = try_codec(job, codec_id, MMH_CODEC_SHUFFLE_ZSTD, err);
    } else if (plan->look) {
        status = mmh_repeats_look(&seen, job, err);
        if (!status && seen.values)
            status = try_if_quick(job, codec_id, MMH_CODEC_ZSTD, err);
        if (!status && seen.rows)
            status = try_if_quick(job, codec_id, MMH_CODEC_SHUFFLE_ZSTD, err);
    }
    size_t share = plan->dtype == MMH_DTYPE_OPAQUE ? OPAQUE_SHARE : BETTER_SHARE;
    bool matched = *codec_id == MMH_CODEC_ZSTD || *codec_id == MMH_CODEC_SHUFFLE_ZSTD;
    if (!status && matched && plan->zstd_level_best > plan->zstd_level &&
        job->bytes < before - before / share) {
        job->zstd_level = plan->zstd_level_best;
        status = try_codec(job, codec_id, *codec_id, err);
    }
    /* A float chunk without a sign of matches is not worth the time. */
    if (!status && plan->level == 9 && job->bytes != MMH_NO_FIT &&
        (plan->is_float ? matched || seen.values || seen.rows : wanted || plan->try_lzma))
        status = try_codec(job, codec_id, MMH_CODEC_LZMA, err);
    return status;
}

mmh_status mmh_encode_smallest(struct mmh_encode_job *job, unsigned *codec_id, mmh_error *err)
{
    const struct mmh_block_plan *plan = job->plan;
    if (is_constant(job->src, job->chunk->bytes, job->element_bytes)) {
        mmh_status status = try_codec(job, codec_id, MMH_CODEC_CONSTANT, err);
        if (status || job->bytes != MMH_NO_FIT)
            return status;
    }
    mmh_status status = MMH_OK;
    if (plan->fields) /* the first that is tried: it needs the room for trials itself */
        status = try_codec(job, codec_id, MMH_CODEC_FIELDS, err);
    else if (plan->mixed)
        status = try_codec(job, codec_id, MMH_CODEC_MIXED, err);
    if (!status && plan->try_zero_run)
        status = try_codec(job, codec_id, MMH_CODEC_ZERO_RUN, err);
    /* Most elements would be patched, which is slow: not for a result that is known to lose. */
    if (!status && plan->is_float && (job->bytes == MMH_NO_FIT || job->bytes > job->float_least))
        status = try_codec(job, codec_id, MMH_CODEC_FLOAT, err);
    if (!status && plan->try_rans && !plan->is_float)
        status = try_codec(job, codec_id, plan->pairs ? MMH_CODEC_BYTE_PAIRS : MMH_CODEC_BYTES_RANS,
                           err);
    return status ? status : try_matches(job, codec_id, err);
}

mmh_status mmh_encode_within(struct mmh_encode_job *part, unsigned *codec_id,
                             const struct mmh_block_plan *plan, mmh_codec_workspace *workspace,
                             const struct mmh_chunk *chunk, const uint8_t *src, mmh_error *err)
{
    *part = (struct mmh_encode_job){
        .workspace = workspace,
        .plan = plan,
        .src = src,
        .chunk = chunk,
        .elements = chunk->bytes / plan->element_bytes,
        .element_bytes = plan->element_bytes,
        .room = mmh_chunk_bound(chunk->bytes),
        .limit = chunk->bytes - 1,
        .bytes = MMH_NO_FIT,
    };
    part->dst = mmh_workspace_scratch(workspace, MMH_SCRATCH_FIELD_CODED, part->room);
    if (!part->dst)
        return mmh_fail(err, MMH_E_MEMORY, "encoding a part of %zu bytes", chunk->bytes);
    mmh_status status = mmh_encode_smallest(part, codec_id, err);
    if (!status && part->bytes == MMH_NO_FIT) {
        part->limit = chunk->bytes;
        *codec_id = MMH_CODEC_STORE;
        status = mmh_codec_store.encode(part, err);
    }
    return status;
}

/* Does the payload decode to what was encoded? */
static mmh_status check_chunk(bool *equal, mmh_codec_workspace *workspace,
                              const struct mmh_block_plan *plan, const struct mmh_chunk *chunk,
                              const uint8_t *src, unsigned codec_id, const uint8_t *payload,
                              size_t payload_bytes, mmh_error *err)
{
    uint8_t *copy = mmh_workspace_scratch(workspace, MMH_SCRATCH_CHECK, chunk->bytes);
    if (!copy)
        return mmh_fail(err, MMH_E_MEMORY, "checking a chunk of %zu bytes", chunk->bytes);
    mmh_status status = mmh_chunk_decode(copy, workspace, chunk, codec_id, payload, payload_bytes,
                                         plan->model, false, NULL);
    if (status == MMH_E_MEMORY)
        return mmh_fail(err, status, "checking a chunk of %zu bytes", chunk->bytes);
    *equal = status == MMH_OK && memcmp(copy, src, chunk->bytes) == 0;
    return MMH_OK;
}

mmh_status mmh_chunk_encode(uint8_t *dst, size_t *dst_bytes, unsigned *codec_id,
                            mmh_codec_workspace *workspace, const struct mmh_block_plan *plan,
                            const uint8_t *src, const struct mmh_chunk *chunk, bool check,
                            mmh_error *err)
{
    struct mmh_encode_job job = {
        .workspace = workspace,
        .plan = plan,
        .src = src,
        .chunk = chunk,
        .elements = chunk->bytes / plan->element_bytes,
        .element_bytes = plan->element_bytes,
        .dst = dst,
        .room = mmh_chunk_bound(chunk->bytes),
        .limit = chunk->bytes ? chunk->bytes - 1 : 0,
        .bytes = MMH_NO_FIT,
    };
    if (chunk->bytes % plan->element_bytes)
        return mmh_fail(err, MMH_E_USAGE, "a chunk of %zu bytes is not made of %u-byte elements",
                        chunk->bytes, plan->element_bytes);
    *codec_id = MMH_CODEC_STORE;
    if (chunk->bytes) {
        mmh_status status = mmh_encode_smallest(&job, codec_id, err);
        if (status)
            return status;
    }
    if (job.bytes != MMH_NO_FIT && check) {
        bool equal = false;
        mmh_status status = check_chunk(&equal, workspace, plan, chunk, src, *codec_id, dst,
                                        job.bytes, err);
        if (status)
            return status;
        if (!equal)
            job.bytes = MMH_NO_FIT;
    }
    if (job.bytes == MMH_NO_FIT) {
        *codec_id = MMH_CODEC_STORE;
        if (chunk->bytes)
            memcpy(dst, src, chunk->bytes);
        job.bytes = chunk->bytes;
    }
    *dst_bytes = job.bytes;
    return MMH_OK;
}

/* ---- decoding ---- */

mmh_status mmh_chunk_decode(uint8_t *dst, mmh_codec_workspace *workspace,
                            const struct mmh_chunk *chunk, unsigned codec_id, const uint8_t *src,
                            size_t src_bytes, const mmh_model *model, bool stream, mmh_error *err)
{
    const struct mmh_codec *codec = mmh_codec_at(codec_id);
    unsigned element_bytes = mmh_dtype_scalar_bytes(chunk->dtype);
    struct mmh_decode_job job = {
        .workspace = workspace,
        .chunk = chunk,
        .src = src,
        .src_bytes = src_bytes,
        .model = model,
        .dst = dst,
        .element_bytes = element_bytes,
        .stream = stream,
    };
    if (!codec)
        return mmh_fail(err, MMH_E_UNSUPPORTED, "codec %u is not known to this version", codec_id);
    if (!element_bytes || chunk->bytes % element_bytes)
        return mmh_fail(err, MMH_E_CORRUPT, "%s chunk of %zu bytes is not made of whole elements",
                        codec->name, chunk->bytes);
    job.elements = chunk->bytes / element_bytes;
    return codec->decode(&job, err);
}
