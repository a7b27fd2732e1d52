/*
 * The hash suites: BLAKE3 (libblake3), SHA-256 and SHA-384 (OpenSSL).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_HASH_H
#define MMH_HASH_H

#include "base/status.h"

enum { MMH_HASH_BYTES = 48 }; /* of the longest; mmh_hash_bytes says how many a suite has */

enum mmh_hash_suite { /* ids are on disk: never reused */
                      MMH_HASH_BLAKE3 = 1,
                      MMH_HASH_SHA256 = 2,
                      MMH_HASH_SHA384 = 3
};

/* What is hashed: the first byte of every hashed string (docs/format.md section 3). */
enum mmh_hash_domain {
    MMH_DOMAIN_CHUNK = 0,
    MMH_DOMAIN_PAGE = 1,
    MMH_DOMAIN_ROOT = 2,
    MMH_DOMAIN_CONTENT = 3,
    MMH_DOMAIN_SLICE = 4,
    MMH_DOMAIN_PACKET = 5, /* of parity */
    MMH_DOMAIN_BLOCK = 6
};

/* An incremental hash: init, update, final; nothing to release afterwards. After a failed
 * init or update only mmh_hasher_abandon. */
typedef struct mmh_hasher {
    unsigned suite;
    void *openssl;                           /* EVP_MD_CTX of the SHA suites */
    _Alignas(16) unsigned char blake3[2048]; /* blake3_hasher */
} mmh_hasher;

/* "blake3", "sha256", "sha384"; NULL for a number that is no suite. */
const char *mmh_hash_suite_name(unsigned suite);

/* Bytes of its hashes: 32, of SHA-384 48. What is written below has so many. */
static inline size_t mmh_hash_bytes(unsigned suite)
{
    return suite == MMH_HASH_SHA384 ? 48 : 32;
}

/* Whether this build can compute it. */
bool mmh_hash_suite_available(unsigned suite);

/* The suite that pack uses by default: BLAKE3 where the build has it. */
unsigned mmh_hash_suite_default(void);

mmh_status mmh_hasher_init(mmh_hasher *hasher, unsigned suite, enum mmh_hash_domain domain,
                           mmh_error *err);
mmh_status mmh_hasher_update(mmh_hasher *hasher, const void *data, size_t bytes, mmh_error *err);
mmh_status mmh_hasher_final(mmh_hasher *hasher, uint8_t *digest, mmh_error *err);
void mmh_hasher_abandon(mmh_hasher *hasher);

/* All three in one. digest [mmh_hash_bytes(suite)]. */
mmh_status mmh_hash(uint8_t *digest, unsigned suite, enum mmh_hash_domain domain, const void *data,
                    size_t bytes, mmh_error *err);

#endif
