/*
 * Codec 5: the bytes of a chunk as rANS symbols.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/codec_private.h"

static mmh_status bytes_encode(struct mmh_encode_job *job, mmh_error *err)
{
    const struct mmh_block_plan *plan = job->plan;
    size_t bytes = job->chunk->bytes;
    uint8_t *ids = NULL;
    mmh_status status = MMH_OK;
    if (bytes > MMH_CHUNK_ELEMENTS)
        return MMH_OK;
    uint8_t *symbols = mmh_workspace_scratch(job->workspace, MMH_SCRATCH_SYMBOLS, bytes + 128);
    if (!symbols)
        return mmh_fail(err, MMH_E_MEMORY, "encoding %zu bytes", bytes);
    if (!job->inner)
        status = mmh_rans_ids(&ids, job->workspace, plan->model, job->chunk->first_element, bytes,
                              err);
    if (status)
        return status;
    /* There are no patches here. Tables code every byte that the plan saw, unless zeros were to be
     * taken out first: then a chunk that has some goes elsewhere. */
    for (size_t i = 0; i < bytes && plan->try_zero_run; i++)
        if (!plan->allowed[ids ? ids[i] : 0][job->src[i]])
            return MMH_OK;
    memcpy(symbols, job->src, bytes);
    job->bytes =
        mmh_rans_symbols_encode(job->dst, MMH_MIN(job->limit, job->room), job->workspace, symbols,
                                ids, bytes, plan->tables, plan->model->bits, plan->best[0],
                                mmh_rans_stripes(bytes, plan->stripe_log2, plan->stripes), &status);
    return status ? mmh_fail(err, status, "encoding %zu bytes", bytes) : MMH_OK;
}

static mmh_status bytes_decode(const struct mmh_decode_job *job, mmh_error *err)
{
    const struct mmh_model *model = job->model;
    size_t bytes = job->chunk->bytes;
    if (bytes > MMH_CHUNK_ELEMENTS)
        return mmh_fail(err, MMH_E_CORRUPT, "bytes-rans chunk of %zu bytes", bytes);
    /* Views count elements, and a wide element would be several symbols. */
    bool viewless = job->inner || mmh_dtype_scalar_bytes(job->chunk->dtype) > 1;
    if (!model || model->kind != MMH_MODEL_RANS || (viewless && model->view_count) ||
        (job->inner && model->table_count != 1))
        return mmh_fail(err, MMH_E_CORRUPT, "rans bytes without a model that fits");
    uint8_t *ids = NULL;
    mmh_status status = MMH_OK;
    if (!job->inner)
        status = mmh_rans_ids(&ids, job->workspace, model, job->chunk->first_element, bytes, err);
    if (status)
        return status;
    /* The kernel writes whole multiples of 128 symbols, for which there may be no room. */
    bool direct = bytes % 128 == 0;
    uint8_t *symbols = direct
                         ? job->dst
                         : mmh_workspace_scratch(job->workspace, MMH_SCRATCH_SYMBOLS, bytes + 128);
    if (!symbols)
        return mmh_fail(err, MMH_E_MEMORY, "decoding %zu bytes", bytes);
    status = mmh_rans_symbols_decode(symbols, NULL, ids, bytes, job->src, job->src_bytes, model,
                                     job->workspace->kernels, err);
    if (!status && !direct)
        memcpy(job->dst, symbols, bytes);
    return status;
}

const struct mmh_codec mmh_codec_bytes_rans = { "bytes-rans", bytes_encode, bytes_decode };
