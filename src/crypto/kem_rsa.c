/*
 * RSA-OAEP as a KEM: what is sent is 32 random bytes, encrypted.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: RFC 8017 (RSAES-OAEP with SHA-256, MGF1 with SHA-256, no label).
 */
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "base/memory.h"
#include "crypto/kem_private.h"
#include "crypto/random.h"

enum { SHARED_BYTES = 32, BITS_MIN = 2048, BITS_MAX = 16384, DER_BYTES_MAX = 1 << 16 };

/* A context to encrypt or decrypt with; *bytes is the modulus'. NULL: it is no key of ours. */
static EVP_PKEY_CTX *context_of(EVP_PKEY *key, bool decrypt, size_t *bytes)
{
    static char padding[] = OSSL_PKEY_RSA_PAD_MODE_OAEP, digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, padding, 0),
        OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, digest, 0),
        OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    if (!key || !EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_get_bits(key) < BITS_MIN ||
        EVP_PKEY_get_bits(key) > BITS_MAX)
        return NULL;
    *bytes = (size_t)EVP_PKEY_get_size(key);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    if (context && (decrypt ? EVP_PKEY_decrypt_init_ex(context, params)
                            : EVP_PKEY_encrypt_init_ex(context, params)) == 1)
        return context;
    EVP_PKEY_CTX_free(context);
    return NULL;
}

static mmh_status generate(uint8_t *public_key, uint8_t *secret_key, mmh_error *err)
{
    (void)public_key;
    (void)secret_key;
    return mmh_fail(err, MMH_E_UNSUPPORTED, "RSA keys have no fixed size");
}

static mmh_status encapsulate(uint8_t *enc, size_t *enc_bytes, uint8_t *shared,
                              const uint8_t *public_key, size_t public_bytes, mmh_error *err)
{
    const uint8_t *at = public_key;
    size_t bytes = 0;
    if (public_bytes > DER_BYTES_MAX)
        return mmh_kem_fail(err);
    mmh_status status = mmh_random(shared, SHARED_BYTES, err);
    if (status != MMH_OK)
        return status;
    ERR_set_mark();
    EVP_PKEY *key = d2i_PUBKEY_ex(NULL, &at, (long)public_bytes, NULL, NULL);
    EVP_PKEY_CTX *context = context_of(key, false, &bytes);
    *enc_bytes = bytes;
    bool done = context && at == public_key + public_bytes &&
                EVP_PKEY_encrypt(context, enc, enc_bytes, shared, SHARED_BYTES) == 1 &&
              *enc_bytes == bytes;
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(key);
    ERR_pop_to_mark();
    if (done)
        return MMH_OK;
    mmh_wipe(shared, SHARED_BYTES);
    return mmh_kem_fail(err);
}

static mmh_status decapsulate(uint8_t *shared, const uint8_t *enc, size_t enc_bytes,
                              const uint8_t *secret_key, size_t secret_bytes,
                              const uint8_t *public_key, size_t public_bytes, mmh_error *err)
{
    uint8_t plain[BITS_MAX / 8];
    const uint8_t *at = secret_key;
    size_t bytes = 0, plain_bytes = sizeof plain;
    (void)public_key;
    (void)public_bytes;
    if (secret_bytes > DER_BYTES_MAX)
        return mmh_kem_fail(err);
    ERR_set_mark();
    EVP_PKEY *key = d2i_AutoPrivateKey_ex(NULL, &at, (long)secret_bytes, NULL, NULL);
    EVP_PKEY_CTX *context = context_of(key, true, &bytes);
    bool done = context && enc_bytes == bytes &&
                EVP_PKEY_decrypt(context, plain, &plain_bytes, enc, enc_bytes) == 1 &&
                plain_bytes == SHARED_BYTES;
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(key);
    ERR_pop_to_mark();
    if (done)
        memcpy(shared, plain, SHARED_BYTES);
    mmh_wipe(plain, sizeof plain);
    return done ? MMH_OK : mmh_kem_fail(err);
}

const struct mmh_kem mmh_kem_rsa_oaep = {
    .id = MMH_KEM_RSA_OAEP,
    .name = "rsa-oaep",
    .classical = true,
    .wrap = MMH_WRAP_HKDF384,
    .shared_bytes = SHARED_BYTES,
    .generate = generate,
    .encapsulate = encapsulate,
    .decapsulate = decapsulate,
};
