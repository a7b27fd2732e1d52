/*
 * SHA-256 and BLAKE2b over OpenSSL's EVP interface, BLAKE3 over libblake3.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "crypto/file_hash.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#ifdef MMH_HAVE_BLAKE3
#include <blake3.h>
_Static_assert(sizeof(blake3_hasher) <= sizeof((struct mmh_file_hasher *)0)->blake3,
               "blake3_hasher fits");
#endif

static const struct {
    const char *name;
    size_t bytes;
} hashes[MMH_FILE_HASH_COUNT] = {
    [MMH_FILE_HASH_SHA256] = { "sha256", 32 },
    [MMH_FILE_HASH_BLAKE2B] = { "blake2b", 64 },
    [MMH_FILE_HASH_BLAKE3] = { "blake3", 32 },
};

const char *mmh_file_hash_name(unsigned id)
{
    return id < MMH_FILE_HASH_COUNT ? hashes[id].name : NULL;
}

size_t mmh_file_hash_bytes(unsigned id)
{
    return id < MMH_FILE_HASH_COUNT ? hashes[id].bytes : 0;
}

bool mmh_file_hash_available(unsigned id)
{
#ifndef MMH_HAVE_BLAKE3
    if (id == MMH_FILE_HASH_BLAKE3)
        return false;
#endif
    return id < MMH_FILE_HASH_COUNT;
}

mmh_status mmh_file_hasher_init(struct mmh_file_hasher *hasher, unsigned id, mmh_error *err)
{
    hasher->id = id;
    hasher->openssl = NULL;
#ifdef MMH_HAVE_BLAKE3
    if (id == MMH_FILE_HASH_BLAKE3) {
        blake3_hasher_init((blake3_hasher *)(void *)hasher->blake3);
        return MMH_OK;
    }
#endif
    if (!mmh_file_hash_available(id))
        return mmh_fail(err, MMH_E_UNSUPPORTED, "hash %s is not in this build",
                        id < MMH_FILE_HASH_COUNT ? hashes[id].name : "of an unknown number");
    ERR_set_mark();
    hasher->openssl = EVP_MD_CTX_new();
    const EVP_MD *kind = id == MMH_FILE_HASH_SHA256 ? EVP_sha256() : EVP_blake2b512();
    const bool done = hasher->openssl && EVP_DigestInit_ex(hasher->openssl, kind, NULL) == 1;
    ERR_pop_to_mark();
    if (done)
        return MMH_OK;
    mmh_file_hasher_abandon(hasher);
    return mmh_fail(err, MMH_E_MEMORY, "no memory for a hash");
}

mmh_status mmh_file_hasher_update(struct mmh_file_hasher *hasher, const void *data, size_t bytes,
                                  mmh_error *err)
{
#ifdef MMH_HAVE_BLAKE3
    if (hasher->id == MMH_FILE_HASH_BLAKE3) {
        blake3_hasher_update((blake3_hasher *)(void *)hasher->blake3, data, bytes);
        return MMH_OK;
    }
#endif
    if (EVP_DigestUpdate(hasher->openssl, data, bytes) != 1)
        return mmh_fail(err, MMH_E_MEMORY, "the hash library failed");
    return MMH_OK;
}

mmh_status mmh_file_hasher_final(struct mmh_file_hasher *hasher, uint8_t *digest, mmh_error *err)
{
#ifdef MMH_HAVE_BLAKE3
    if (hasher->id == MMH_FILE_HASH_BLAKE3) {
        blake3_hasher_finalize((const blake3_hasher *)(const void *)hasher->blake3, digest,
                               hashes[MMH_FILE_HASH_BLAKE3].bytes);
        return MMH_OK;
    }
#endif
    const int done = EVP_DigestFinal_ex(hasher->openssl, digest, NULL);
    mmh_file_hasher_abandon(hasher);
    return done == 1 ? MMH_OK : mmh_fail(err, MMH_E_MEMORY, "the hash library failed");
}

void mmh_file_hasher_abandon(struct mmh_file_hasher *hasher)
{
    EVP_MD_CTX_free(hasher->openssl);
    hasher->openssl = NULL;
}

mmh_status mmh_file_hash(uint8_t *digest, unsigned id, const void *data, size_t bytes,
                         mmh_error *err)
{
    struct mmh_file_hasher hasher;
    mmh_status status = mmh_file_hasher_init(&hasher, id, err);
    if (status == MMH_OK)
        status = mmh_file_hasher_update(&hasher, data, bytes, err);
    else
        return status;
    if (status == MMH_OK)
        return mmh_file_hasher_final(&hasher, digest, err);
    mmh_file_hasher_abandon(&hasher);
    return status;
}
