/*
 * zstd over a workspace's contexts, for the codecs that end in it.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * In a build without it (core_only) nothing fits when it encodes, and decoding is MMH_E_UNSUPPORTED.
 */
#ifndef MMH_CODEC_ZSTD_PRIVATE_H
#define MMH_CODEC_ZSTD_PRIVATE_H

#include "codec/codec_private.h"

/* *dst_bytes is MMH_NO_FIT if the frame is longer than `room`. Level 0: entropy coding alone, for
 * bytes without matches; level 1 where libzstd cannot. Fails with MMH_E_MEMORY. */
mmh_status mmh_zstd_encode(uint8_t *dst, size_t room, size_t *dst_bytes,
                           mmh_codec_workspace *workspace, const uint8_t *src, size_t bytes,
                           int level, mmh_error *err);

/* The whole chunk, at the plan's level, from `src`: its bytes or what was made of them. */
mmh_status mmh_zstd_encode_chunk(struct mmh_encode_job *job, const uint8_t *src, mmh_error *err);

/* Fails unless src decodes to exactly `bytes` bytes. */
mmh_status mmh_zstd_decode(uint8_t *dst, size_t bytes, mmh_codec_workspace *workspace,
                           const uint8_t *src, size_t src_bytes, mmh_error *err);

/* Free the contexts of a workspace that goes. */
void mmh_zstd_release(mmh_codec_workspace *workspace);

#endif
