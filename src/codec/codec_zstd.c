/*
 * Codec 2: zstd frames.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/codec_zstd_private.h"

/* Chunks from so many bytes on are tried with level 1 before a level above this one: what is
 * noise to the first is noise to the second, after a hundred times as long. */
enum { QUICK_LEVEL = 3, LOOK_FIRST = 1 << 16 };

#if !defined(MMH_CORE_ONLY)
#include <zstd.h>
#include <zstd_errors.h>

/* Frames of Huffman-coded literals: the fast strategy, made to step over everything. */
static size_t compress_literals(ZSTD_CCtx *encoder, uint8_t *dst, size_t room, const uint8_t *src,
                                size_t bytes)
{
    /* The last is ZSTD_c_literalCompressionMode, by its name without static linking: the fast
     * strategy's long steps would mean that literals stay as they are. */
    static const struct {
        ZSTD_cParameter parameter;
        int value;
    } settings[] = { { ZSTD_c_compressionLevel, 1 },
                     { ZSTD_c_strategy, ZSTD_fast },
                     { ZSTD_c_targetLength, 1 << 17 },
                     { ZSTD_c_experimentalParam5, 1 } };
    bool right = !ZSTD_isError(ZSTD_CCtx_reset(encoder, ZSTD_reset_session_and_parameters));
    for (size_t i = 0; i < MMH_COUNT_OF(settings); i++)
        right = right && !ZSTD_isError(ZSTD_CCtx_setParameter(encoder, settings[i].parameter,
                                                              settings[i].value));
    if (!right)
        return ZSTD_compressCCtx(encoder, dst, room, src, bytes, 1);
    return ZSTD_compress2(encoder, dst, room, src, bytes);
}

mmh_status mmh_zstd_encode(uint8_t *dst, size_t room, size_t *dst_bytes,
                           mmh_codec_workspace *workspace, const uint8_t *src, size_t bytes,
                           int level, mmh_error *err)
{
    *dst_bytes = MMH_NO_FIT;
    if (!workspace->zstd_encoder && !(workspace->zstd_encoder = ZSTD_createCCtx()))
        return mmh_fail(err, MMH_E_MEMORY, "zstd encoder");
    size_t result = level ? ZSTD_compressCCtx(workspace->zstd_encoder, dst, room, src, bytes, level)
                          : compress_literals(workspace->zstd_encoder, dst, room, src, bytes);
    if (!ZSTD_isError(result))
        *dst_bytes = result;
    else if (ZSTD_getErrorCode(result) != ZSTD_error_dstSize_tooSmall) /* for want of memory */
        return mmh_fail(err, MMH_E_MEMORY, "zstd: %s", ZSTD_getErrorName(result));
    return MMH_OK;
}

mmh_status mmh_zstd_decode(uint8_t *dst, size_t bytes, mmh_codec_workspace *workspace,
                           const uint8_t *src, size_t src_bytes, mmh_error *err)
{
    if (!workspace->zstd_decoder && !(workspace->zstd_decoder = ZSTD_createDCtx()))
        return mmh_fail(err, MMH_E_MEMORY, "zstd decoder");
    size_t result = ZSTD_decompressDCtx(workspace->zstd_decoder, dst, bytes, src, src_bytes);
    if (ZSTD_isError(result))
        return mmh_fail(err,
                        ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation ? MMH_E_MEMORY
                                                                                  : MMH_E_CORRUPT,
                        "zstd: %s", ZSTD_getErrorName(result));
    if (result != bytes)
        return mmh_fail(err, MMH_E_CORRUPT, "zstd data holds %zu bytes instead of %zu", result,
                        bytes);
    return MMH_OK;
}

void mmh_zstd_release(mmh_codec_workspace *workspace)
{
    ZSTD_freeCCtx(workspace->zstd_encoder);
    ZSTD_freeDCtx(workspace->zstd_decoder);
}

#else /* no libzstd */

mmh_status mmh_zstd_encode(uint8_t *dst, size_t room, size_t *dst_bytes,
                           mmh_codec_workspace *workspace, const uint8_t *src, size_t bytes,
                           int level, mmh_error *err)
{
    (void)dst, (void)room, (void)workspace, (void)src, (void)bytes, (void)level, (void)err;
    *dst_bytes = MMH_NO_FIT;
    return MMH_OK;
}

mmh_status mmh_zstd_decode(uint8_t *dst, size_t bytes, mmh_codec_workspace *workspace,
                           const uint8_t *src, size_t src_bytes, mmh_error *err)
{
    (void)dst, (void)bytes, (void)workspace, (void)src, (void)src_bytes;
    return mmh_fail(err, MMH_E_UNSUPPORTED, "zstd data: this build is without libzstd");
}

void mmh_zstd_release(mmh_codec_workspace *workspace)
{
    (void)workspace;
}

#endif

mmh_status mmh_zstd_encode_chunk(struct mmh_encode_job *job, const uint8_t *src, mmh_error *err)
{
    size_t bytes = job->chunk->bytes, room = MMH_MIN(job->room, job->limit);
    int level = job->zstd_level ? job->zstd_level : job->plan->zstd_level;
    if (!job->zstd_level && level > QUICK_LEVEL && bytes >= LOOK_FIRST) {
        mmh_status status = mmh_zstd_encode(job->dst, room, &job->bytes, job->workspace, src, bytes,
                                            1, err);
        bool noise = job->bytes == MMH_NO_FIT || job->bytes > bytes - bytes / 256;
        if (status || noise)
            return status;
    }
    return mmh_zstd_encode(job->dst, room, &job->bytes, job->workspace, src, bytes, level, err);
}

static mmh_status zstd_encode(struct mmh_encode_job *job, mmh_error *err)
{
    return mmh_zstd_encode_chunk(job, job->src, err);
}

static mmh_status zstd_decode(const struct mmh_decode_job *job, mmh_error *err)
{
    return mmh_zstd_decode(job->dst, job->chunk->bytes, job->workspace, job->src, job->src_bytes,
                           err);
}

const struct mmh_codec mmh_codec_zstd = { "zstd", zstd_encode, zstd_decode };
