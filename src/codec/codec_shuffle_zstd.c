/*
 * Codec 7: the bytes of the elements regrouped by their place in the element, then zstd.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/codec_zstd_private.h"

enum { TILE = 4096 }; /* rows that stay in the cache */

/* dst[i][j] = src[j][i]; rows and columns of bytes. Inlined with columns that are known, so that
 * the inner loop becomes shuffles. */
static inline void transpose_width(uint8_t *dst, const uint8_t *src, size_t rows, size_t columns)
{
    for (size_t first = 0; first < rows; first += TILE) {
        size_t last = MMH_MIN(rows, first + TILE);
        for (size_t c = 0; c < columns; c++)
            for (size_t r = first; r < last; r++)
                dst[c * rows + r] = src[r * columns + c];
    }
}

static inline void untranspose_width(uint8_t *dst, const uint8_t *src, size_t rows, size_t columns)
{
    for (size_t first = 0; first < rows; first += TILE) {
        size_t last = MMH_MIN(rows, first + TILE);
        for (size_t r = first; r < last; r++)
            for (size_t c = 0; c < columns; c++)
                dst[r * columns + c] = src[c * rows + r];
    }
}

static void transpose(uint8_t *dst, const uint8_t *src, size_t rows, size_t columns)
{
    switch (columns) {
    case 2:
        transpose_width(dst, src, rows, 2);
        break;
    case 4:
        transpose_width(dst, src, rows, 4);
        break;
    case 8:
        transpose_width(dst, src, rows, 8);
        break;
    default:
        transpose_width(dst, src, rows, columns);
        break;
    }
}

static void untranspose(uint8_t *dst, const uint8_t *src, size_t rows, size_t columns)
{
    switch (columns) {
    case 2:
        untranspose_width(dst, src, rows, 2);
        break;
    case 4:
        untranspose_width(dst, src, rows, 4);
        break;
    case 8:
        untranspose_width(dst, src, rows, 8);
        break;
    default:
        untranspose_width(dst, src, rows, columns);
        break;
    }
}

static mmh_status shuffle_encode(struct mmh_encode_job *job, mmh_error *err)
{
    uint8_t *planes = mmh_workspace_scratch(job->workspace, MMH_SCRATCH_SHUFFLE, job->chunk->bytes);
    if (!planes)
        return mmh_fail(err, MMH_E_MEMORY, "shuffling %zu bytes", job->chunk->bytes);
    transpose(planes, job->src, job->elements, job->element_bytes);
    return mmh_zstd_encode_chunk(job, planes, err);
}

static mmh_status shuffle_decode(const struct mmh_decode_job *job, mmh_error *err)
{
    uint8_t *planes = mmh_workspace_scratch(job->workspace, MMH_SCRATCH_SHUFFLE, job->chunk->bytes);
    if (!planes)
        return mmh_fail(err, MMH_E_MEMORY, "shuffling %zu bytes", job->chunk->bytes);
    mmh_status status = mmh_zstd_decode(planes, job->chunk->bytes, job->workspace, job->src,
                                        job->src_bytes, err);
    if (!status)
        untranspose(job->dst, planes, job->elements, job->element_bytes);
    return status;
}

const struct mmh_codec mmh_codec_shuffle_zstd = { "shuffle-zstd", shuffle_encode, shuffle_decode };
