/*
 * Keys from keys, and from passphrases: HKDF, HMAC, Argon2id of OpenSSL.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_KDF_H
#define MMH_KDF_H

#include "base/status.h"

enum mmh_kdf_hash { MMH_KDF_SHA256, MMH_KDF_SHA384 };

enum { MMH_KDF_HASH_BYTES_MAX = 48 };

size_t mmh_kdf_hash_bytes(enum mmh_kdf_hash hash); /* 32, 48 */

/* HKDF (RFC 5869), extract and expand. salt and info may be NULL with 0. */
mmh_status mmh_hkdf(uint8_t *out, size_t out_bytes, enum mmh_kdf_hash hash, const void *salt,
                    size_t salt_bytes, const void *key, size_t key_bytes, const void *info,
                    size_t info_bytes, mmh_error *err);

/* Its halves: prk has mmh_kdf_hash_bytes(hash) bytes. */
mmh_status mmh_hkdf_extract(uint8_t *prk, enum mmh_kdf_hash hash, const void *salt,
                            size_t salt_bytes, const void *key, size_t key_bytes, mmh_error *err);
mmh_status mmh_hkdf_expand(uint8_t *out, size_t out_bytes, enum mmh_kdf_hash hash,
                           const uint8_t *prk, const void *info, size_t info_bytes, mmh_error *err);

/* HMAC, its first 32 bytes, of several pieces one after another. */
struct mmh_piece {
    const void *data;
    size_t bytes;
};
mmh_status mmh_hmac(uint8_t mac[32], enum mmh_kdf_hash hash, const uint8_t key[32],
                    const struct mmh_piece *pieces, size_t piece_count, mmh_error *err);

struct mmh_argon2_cost {
    uint32_t memory_kib, passes, lanes;
};
extern const struct mmh_argon2_cost mmh_argon2_default;

/* Argon2id (RFC 9106). MMH_E_LIMIT over 2^20 KiB, 16 passes or 16 lanes, or below what Argon2 takes:
 * before any work. */
mmh_status mmh_argon2id(uint8_t *out, size_t out_bytes, const struct mmh_argon2_cost *cost,
                        const void *passphrase, size_t passphrase_bytes, const uint8_t salt[16],
                        mmh_error *err);

#endif
