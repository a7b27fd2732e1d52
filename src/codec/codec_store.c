/*
 * Codec 0: the bytes themselves.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/codec_private.h"

static mmh_status store_encode(struct mmh_encode_job *job, mmh_error *err)
{
    (void)err;
    if (job->chunk->bytes > job->limit)
        return MMH_OK;
    memcpy(job->dst, job->src, job->chunk->bytes);
    job->bytes = job->chunk->bytes;
    return MMH_OK;
}

static mmh_status store_decode(const struct mmh_decode_job *job, mmh_error *err)
{
    if (job->src_bytes != job->chunk->bytes)
        return mmh_fail(err, MMH_E_CORRUPT, "store chunk holds %zu bytes instead of %zu",
                        job->src_bytes, job->chunk->bytes);
    if (job->src_bytes)
        memcpy(job->dst, job->src, job->src_bytes);
    return MMH_OK;
}

const struct mmh_codec mmh_codec_store = { "store", store_encode, store_decode };
