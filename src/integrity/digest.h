/*
 * Content digests of original files, and the CRC of headers.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The content digest (docs/format.md section 3) is a hash over the hashes of 64 KiB slices, so
 * that workers hash what they hold and only slices that straddle two pieces are hashed in order:
 *
 *     worker, for each piece:   mmh_slices_hash(...)     all slices that lie inside the piece
 *     in order:                 mmh_digest_add(...)      their hashes, and the ragged ends
 */
#ifndef MMH_DIGEST_H
#define MMH_DIGEST_H

#include "crypto/hash.h"

enum { MMH_SLICE_BYTES = 1 << 16 };

/* Slices that lie wholly inside [offset, offset + bytes) of a file of file_bytes. */
size_t mmh_slices_inside(uint64_t offset, size_t bytes, uint64_t file_bytes);

/* Hash them: hashes [mmh_slices_inside() * mmh_hash_bytes(suite)]. data [bytes] is the piece. */
mmh_status mmh_slices_hash(uint8_t *hashes, unsigned suite, const uint8_t *data, uint64_t offset,
                           size_t bytes, uint64_t file_bytes, mmh_error *err);

typedef struct mmh_digest {
    mmh_hasher content;
    unsigned suite;
    uint64_t file_bytes;
    uint64_t position;  /* bytes added so far */
    size_t carry_bytes; /* of a slice that is not complete */
    uint8_t carry[MMH_SLICE_BYTES];
} mmh_digest;

mmh_status mmh_digest_init(mmh_digest *digest, unsigned suite, uint64_t file_bytes, mmh_error *err);

/* Add the next piece: data [bytes] and the hashes that mmh_slices_hash gave for it. Only the
 * ragged ends of data are read. */
mmh_status mmh_digest_add(mmh_digest *digest, const uint8_t *data, size_t bytes,
                          const uint8_t *hashes, mmh_error *err);

/* All file_bytes have been added. out [mmh_hash_bytes(suite)]. */
mmh_status mmh_digest_final(mmh_digest *digest, uint8_t *out, mmh_error *err);
void mmh_digest_abandon(mmh_digest *digest);

/* CRC-32 (IEEE, as in zlib and PNG). */
uint32_t mmh_crc32(const void *data, size_t bytes);

/* The same of bytes behind others, whose CRC is `crc`. */
uint32_t mmh_crc32_more(uint32_t crc, const void *data, size_t bytes);

#endif
