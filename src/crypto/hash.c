/*
 * Hash suites over libblake3 and OpenSSL's EVP interface.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "crypto/hash.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>

#ifdef MMH_HAVE_BLAKE3
#include <blake3.h>
_Static_assert(sizeof(blake3_hasher) <= sizeof((mmh_hasher *)0)->blake3, "blake3_hasher fits");
#endif

const char *mmh_hash_suite_name(unsigned suite)
{
    switch (suite) {
    case MMH_HASH_BLAKE3:
        return "blake3";
    case MMH_HASH_SHA256:
        return "sha256";
    case MMH_HASH_SHA384:
        return "sha384";
    default:
        return NULL;
    }
}

bool mmh_hash_suite_available(unsigned suite)
{
#ifdef MMH_HAVE_BLAKE3
    if (suite == MMH_HASH_BLAKE3)
        return true;
#endif
    return suite == MMH_HASH_SHA256 || suite == MMH_HASH_SHA384;
}

unsigned mmh_hash_suite_default(void)
{
    return mmh_hash_suite_available(MMH_HASH_BLAKE3) ? MMH_HASH_BLAKE3 : MMH_HASH_SHA256;
}

mmh_status mmh_hasher_init(mmh_hasher *hasher, unsigned suite, enum mmh_hash_domain domain,
                           mmh_error *err)
{
    hasher->suite = suite;
    hasher->openssl = NULL;
    const uint8_t prefix = (uint8_t)domain;
#ifdef MMH_HAVE_BLAKE3
    if (suite == MMH_HASH_BLAKE3) {
        blake3_hasher *blake3 = (blake3_hasher *)(void *)hasher->blake3;
        blake3_hasher_init(blake3);
        blake3_hasher_update(blake3, &prefix, 1);
        return MMH_OK;
    }
#endif
    if (suite != MMH_HASH_SHA256 && suite != MMH_HASH_SHA384) {
        const char *name = mmh_hash_suite_name(suite);
        return mmh_fail(err, MMH_E_UNSUPPORTED, "hash suite %u (%s) is not in this build", suite,
                        name ? name : "unknown");
    }
    ERR_set_mark(); /* what fails here is ours to tell, and no business of the caller's queue */
    hasher->openssl = EVP_MD_CTX_new();
    const EVP_MD *function = suite == MMH_HASH_SHA384 ? EVP_sha384() : EVP_sha256();
    if (!hasher->openssl || EVP_DigestInit_ex(hasher->openssl, function, NULL) != 1 ||
        EVP_DigestUpdate(hasher->openssl, &prefix, 1) != 1) {
        mmh_hasher_abandon(hasher);
        ERR_pop_to_mark();
        return mmh_fail(err, MMH_E_MEMORY, "no memory for a hash");
    }
    ERR_clear_last_mark();
    return MMH_OK;
}

mmh_status mmh_hasher_update(mmh_hasher *hasher, const void *data, size_t bytes, mmh_error *err)
{
#ifdef MMH_HAVE_BLAKE3
    if (hasher->suite == MMH_HASH_BLAKE3) {
        blake3_hasher_update((blake3_hasher *)(void *)hasher->blake3, data, bytes);
        return MMH_OK;
    }
#endif
    if (EVP_DigestUpdate(hasher->openssl, data, bytes) != 1)
        return mmh_fail(err, MMH_E_MEMORY, "the hash library failed");
    return MMH_OK;
}

mmh_status mmh_hasher_final(mmh_hasher *hasher, uint8_t *digest, mmh_error *err)
{
#ifdef MMH_HAVE_BLAKE3
    if (hasher->suite == MMH_HASH_BLAKE3) {
        blake3_hasher_finalize((const blake3_hasher *)(const void *)hasher->blake3, digest,
                               mmh_hash_bytes(MMH_HASH_BLAKE3));
        return MMH_OK;
    }
#endif
    int done = EVP_DigestFinal_ex(hasher->openssl, digest, NULL);
    mmh_hasher_abandon(hasher);
    return done == 1 ? MMH_OK : mmh_fail(err, MMH_E_MEMORY, "the hash library failed");
}

void mmh_hasher_abandon(mmh_hasher *hasher)
{
    EVP_MD_CTX_free(hasher->openssl);
    hasher->openssl = NULL;
}

mmh_status mmh_hash(uint8_t *digest, unsigned suite, enum mmh_hash_domain domain, const void *data,
                    size_t bytes, mmh_error *err)
{
    mmh_hasher hasher;
    mmh_status status = mmh_hasher_init(&hasher, suite, domain, err);
    if (status != MMH_OK)
        return status;
    status = mmh_hasher_update(&hasher, data, bytes, err);
    if (status != MMH_OK) {
        mmh_hasher_abandon(&hasher);
        return status;
    }
    return mmh_hasher_final(&hasher, digest, err);
}
