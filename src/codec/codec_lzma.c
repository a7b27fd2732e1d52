/*
 * Codec 3: one .xz stream.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/codec_private.h"

#include <lzma.h>

enum {
    DECODE_MEMORY = 128 << 20, /* a stream that asks for more is refused */
    DICTIONARY_MIN = 1 << 16,
};

static void *lzma_allocate(void *user, size_t count, size_t size)
{
    size_t bytes;
    return mmh_size_mul(&bytes, count, size) ? mmh_alloc(user, 0, bytes) : NULL;
}

static void lzma_release(void *user, void *memory)
{
    mmh_free(user, memory);
}

static mmh_status xz_encode(struct mmh_encode_job *job, mmh_error *err)
{
    lzma_allocator allocator = { lzma_allocate, lzma_release, (void *)job->workspace->allocator };
    lzma_options_lzma options;
    if (lzma_lzma_preset(&options, 9 | LZMA_PRESET_EXTREME))
        return MMH_OK;
    /* A dictionary beyond the chunk is memory for nothing. */
    options.dict_size = DICTIONARY_MIN;
    while (options.dict_size < job->chunk->bytes && options.dict_size < (64u << 20))
        options.dict_size *= 2;
    lzma_filter filters[] = { { LZMA_FILTER_LZMA2, &options }, { LZMA_VLI_UNKNOWN, NULL } };
    size_t used = 0;
    lzma_ret result = lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC32, &allocator, job->src,
                                                job->chunk->bytes, job->dst, &used,
                                                MMH_MIN(job->room, job->limit));
    if (result == LZMA_MEM_ERROR)
        return mmh_fail(err, MMH_E_MEMORY, "lzma encoder");
    if (result == LZMA_OK)
        job->bytes = used;
    return MMH_OK;
}

static mmh_status xz_decode(const struct mmh_decode_job *job, mmh_error *err)
{
    lzma_allocator allocator = { lzma_allocate, lzma_release, (void *)job->workspace->allocator };
    uint64_t memory = DECODE_MEMORY;
    size_t read = 0, written = 0;
    lzma_ret result = lzma_stream_buffer_decode(&memory, 0, &allocator, job->src, &read,
                                                job->src_bytes, job->dst, &written,
                                                job->chunk->bytes);
    if (result == LZMA_MEM_ERROR)
        return mmh_fail(err, MMH_E_MEMORY, "lzma decoder");
    if (result != LZMA_OK || read != job->src_bytes || written != job->chunk->bytes)
        return mmh_fail(err, MMH_E_CORRUPT, "lzma data is damaged (%d)", (int)result);
    return MMH_OK;
}

const struct mmh_codec mmh_codec_lzma = { "lzma", xz_encode, xz_decode };
