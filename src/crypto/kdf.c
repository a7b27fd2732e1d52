/*
 * Keys from keys, and from passphrases, over OpenSSL's EVP_KDF and EVP_MAC.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: RFC 5869 (HKDF), RFC 2104 (HMAC), RFC 9106 (Argon2).
 */
#include "crypto/kdf.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "base/memory.h"

enum { ARGON2_MEMORY_KIB_MAX = 1 << 20, ARGON2_PASSES_MAX = 16, ARGON2_LANES_MAX = 16 };

const struct mmh_argon2_cost mmh_argon2_default = { 1 << 16, 3, 4 };

static char *hash_name(enum mmh_kdf_hash hash) /* OSSL_PARAM takes no const */
{
    static char names[][8] = { "SHA256", "SHA384" };
    return names[hash];
}

size_t mmh_kdf_hash_bytes(enum mmh_kdf_hash hash)
{
    return hash == MMH_KDF_SHA384 ? 48 : 32;
}

/* One derivation; false on any failure, which is of memory or of an OpenSSL that lacks it. */
static bool derive(uint8_t *out, size_t out_bytes, const char *name, const OSSL_PARAM *params)
{
    ERR_set_mark();
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, name, NULL);
    EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    bool done = context && EVP_KDF_derive(context, out, out_bytes, params) == 1;
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    ERR_pop_to_mark();
    return done;
}

static OSSL_PARAM octets(const char *name, const void *data, size_t bytes)
{
    static uint8_t nothing; /* an empty string is not a missing one */
    return OSSL_PARAM_construct_octet_string(name, bytes ? (void *)(uintptr_t)data : &nothing,
                                             bytes);
}

static mmh_status hkdf(uint8_t *out, size_t out_bytes, int mode, enum mmh_kdf_hash hash,
                       const void *salt, size_t salt_bytes, const void *key, size_t key_bytes,
                       const void *info, size_t info_bytes, mmh_error *err)
{
    OSSL_PARAM params[6], *next = params;
    *next++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
    *next++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, hash_name(hash), 0);
    *next++ = octets(OSSL_KDF_PARAM_KEY, key, key_bytes);
    if (salt_bytes)
        *next++ = octets(OSSL_KDF_PARAM_SALT, salt, salt_bytes);
    if (info_bytes)
        *next++ = octets(OSSL_KDF_PARAM_INFO, info, info_bytes);
    *next = OSSL_PARAM_construct_end();
    return derive(out, out_bytes, "HKDF", params)
             ? MMH_OK
             : mmh_fail(err, MMH_E_MEMORY, "a key could not be derived");
}

mmh_status mmh_hkdf(uint8_t *out, size_t out_bytes, enum mmh_kdf_hash hash, const void *salt,
                    size_t salt_bytes, const void *key, size_t key_bytes, const void *info,
                    size_t info_bytes, mmh_error *err)
{
    return hkdf(out, out_bytes, EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND, hash, salt, salt_bytes, key,
                key_bytes, info, info_bytes, err);
}

mmh_status mmh_hkdf_extract(uint8_t *prk, enum mmh_kdf_hash hash, const void *salt,
                            size_t salt_bytes, const void *key, size_t key_bytes, mmh_error *err)
{
    return hkdf(prk, mmh_kdf_hash_bytes(hash), EVP_KDF_HKDF_MODE_EXTRACT_ONLY, hash, salt,
                salt_bytes, key, key_bytes, NULL, 0, err);
}

mmh_status mmh_hkdf_expand(uint8_t *out, size_t out_bytes, enum mmh_kdf_hash hash,
                           const uint8_t *prk, const void *info, size_t info_bytes, mmh_error *err)
{
    return hkdf(out, out_bytes, EVP_KDF_HKDF_MODE_EXPAND_ONLY, hash, NULL, 0, prk,
                mmh_kdf_hash_bytes(hash), info, info_bytes, err);
}

mmh_status mmh_hmac(uint8_t mac[32], enum mmh_kdf_hash hash, const uint8_t key[32],
                    const struct mmh_piece *pieces, size_t piece_count, mmh_error *err)
{
    uint8_t whole[MMH_KDF_HASH_BYTES_MAX];
    size_t written = 0;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, hash_name(hash), 0),
        OSSL_PARAM_construct_end(),
    };
    ERR_set_mark();
    EVP_MAC *algorithm = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *context = algorithm ? EVP_MAC_CTX_new(algorithm) : NULL;
    bool done = context && EVP_MAC_init(context, key, 32, params) == 1;
    for (size_t i = 0; done && i < piece_count; i++)
        done = !pieces[i].bytes || EVP_MAC_update(context, pieces[i].data, pieces[i].bytes) == 1;
    done = done && EVP_MAC_final(context, whole, &written, sizeof whole) == 1 && written >= 32;
    EVP_MAC_CTX_free(context);
    EVP_MAC_free(algorithm);
    ERR_pop_to_mark();
    if (done)
        memcpy(mac, whole, 32);
    mmh_wipe(whole, sizeof whole);
    return done ? MMH_OK : mmh_fail(err, MMH_E_MEMORY, "a MAC could not be computed");
}

mmh_status mmh_argon2id(uint8_t *out, size_t out_bytes, const struct mmh_argon2_cost *cost,
                        const void *passphrase, size_t passphrase_bytes, const uint8_t salt[16],
                        mmh_error *err)
{
    uint32_t memory = cost->memory_kib, passes = cost->passes, lanes = cost->lanes;
    if (memory > ARGON2_MEMORY_KIB_MAX || passes > ARGON2_PASSES_MAX || lanes > ARGON2_LANES_MAX ||
        !passes || !lanes || memory < 8 * lanes)
        return mmh_fail(
            err, MMH_E_LIMIT,
            "a passphrase wants Argon2id with %lu KiB, %lu passes and %lu lanes: at most "
            "%d KiB, %d and %d are computed, and at least 8 KiB a lane, 1 and 1",
            (unsigned long)memory, (unsigned long)passes, (unsigned long)lanes,
            ARGON2_MEMORY_KIB_MAX, ARGON2_PASSES_MAX, ARGON2_LANES_MAX);
    OSSL_PARAM params[] = {
        octets(OSSL_KDF_PARAM_PASSWORD, passphrase, passphrase_bytes),
        octets(OSSL_KDF_PARAM_SALT, salt, 16),
        OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_ITER, &passes),
        OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_ARGON2_LANES, &lanes),
        OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_ARGON2_MEMCOST, &memory),
        OSSL_PARAM_construct_end(),
    };
    return derive(out, out_bytes, "ARGON2ID", params)
             ? MMH_OK
             : mmh_fail(err, MMH_E_MEMORY, "no memory for Argon2id with %lu KiB",
                        (unsigned long)memory);
}
