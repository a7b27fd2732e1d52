/*
 * Hashes of files as others know them, without the domains of crypto/hash.h: SHA-256, BLAKE2b, BLAKE3.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_FILE_HASH_H
#define MMH_FILE_HASH_H

#include "base/status.h"

enum mmh_file_hash_id {
    MMH_FILE_HASH_SHA256,
    MMH_FILE_HASH_BLAKE2B, /* of 64 bytes */
    MMH_FILE_HASH_BLAKE3,
    MMH_FILE_HASH_COUNT
};

enum { MMH_FILE_HASH_BYTES_MAX = 64 };

/* Init, update, final; nothing to release after final or a failed init. After a failed update only
 * abandon. */
struct mmh_file_hasher {
    unsigned id;
    void *openssl;
    _Alignas(16) unsigned char blake3[2048];
};

const char *mmh_file_hash_name(unsigned id); /* "sha256", ...; NULL: there is none */
size_t mmh_file_hash_bytes(unsigned id);
bool mmh_file_hash_available(unsigned id); /* in this build */

mmh_status mmh_file_hasher_init(struct mmh_file_hasher *hasher, unsigned id, mmh_error *err);
mmh_status mmh_file_hasher_update(struct mmh_file_hasher *hasher, const void *data, size_t bytes,
                                  mmh_error *err);
/* digest [mmh_file_hash_bytes(id)] */
mmh_status mmh_file_hasher_final(struct mmh_file_hasher *hasher, uint8_t *digest, mmh_error *err);
void mmh_file_hasher_abandon(struct mmh_file_hasher *hasher);

/* All in one. */
mmh_status mmh_file_hash(uint8_t *digest, unsigned id, const void *data, size_t bytes,
                         mmh_error *err);

#endif
