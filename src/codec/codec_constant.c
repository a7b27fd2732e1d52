/*
 * Codec 1: one element, repeated.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/codec_private.h"

/* The caller has seen that the chunk is constant. */
static mmh_status constant_encode(struct mmh_encode_job *job, mmh_error *err)
{
    (void)err;
    unsigned unit = job->element_bytes;
    if (unit > job->limit)
        return MMH_OK;
    memcpy(job->dst, job->src, unit);
    job->bytes = unit;
    return MMH_OK;
}

static mmh_status constant_decode(const struct mmh_decode_job *job, mmh_error *err)
{
    size_t unit = job->src_bytes, bytes = job->chunk->bytes;
    if ((unit != 1 && unit != 2 && unit != 4 && unit != 8) || bytes % unit)
        return mmh_fail(err, MMH_E_CORRUPT, "constant chunk of %zu bytes has an element of %zu",
                        bytes, unit);
    bool uniform = true; /* all bytes of the element are the same: zero, most often */
    for (size_t i = 1; i < unit; i++)
        uniform = uniform && job->src[i] == job->src[0];
    if (uniform) {
        if (bytes)
            memset(job->dst, job->src[0], bytes);
        return MMH_OK;
    }
    uint8_t run[64];
    for (size_t i = 0; i < sizeof run; i++)
        run[i] = job->src[i % unit];
    size_t i = 0;
    for (; i + sizeof run <= bytes; i += sizeof run)
        memcpy(job->dst + i, run, sizeof run);
    if (i < bytes)
        memcpy(job->dst + i, run, bytes - i);
    return MMH_OK;
}

const struct mmh_codec mmh_codec_constant = { "constant", constant_encode, constant_decode };
