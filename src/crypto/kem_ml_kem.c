/*
 * ML-KEM of OpenSSL, kept as its seed.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: FIPS 203. OpenSSL checks a public key's modulus and an expanded secret key's hash.
 */
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "base/memory.h"
#include "crypto/kem_private.h"
#include "crypto/random.h"

static const char *openssl_name(const struct mmh_kem *kem)
{
    return kem->id == MMH_KEM_ML_KEM_1024 ? "ML-KEM-1024" : "ML-KEM-768";
}

/* The key of a seed, or of FIPS 203's expanded form; NULL: it is none. */
static EVP_PKEY *secret_load(const struct mmh_kem *kem, const uint8_t *secret_key,
                             size_t secret_bytes)
{
    const char *name = openssl_name(kem);
    if (secret_bytes != MMH_ML_KEM_SEED_BYTES)
        return EVP_PKEY_new_raw_private_key_ex(NULL, name, NULL, secret_key, secret_bytes);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_ML_KEM_SEED,
                                          (void *)(uintptr_t)secret_key, secret_bytes),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, name, NULL);
    if (context && EVP_PKEY_fromdata_init(context) == 1)
        (void)EVP_PKEY_fromdata(context, &key, EVP_PKEY_KEYPAIR, params);
    EVP_PKEY_CTX_free(context);
    return key;
}

mmh_status mmh_ml_kem_derive(const struct mmh_kem *kem, uint8_t *public_key,
                             const uint8_t *secret_key, mmh_error *err)
{
    size_t bytes = kem->public_bytes;
    ERR_set_mark();
    EVP_PKEY *key = secret_load(kem, secret_key, MMH_ML_KEM_SEED_BYTES);
    bool done = key && EVP_PKEY_get_raw_public_key(key, public_key, &bytes) == 1;
    EVP_PKEY_free(key);
    ERR_pop_to_mark();
    return done ? MMH_OK : mmh_fail(err, MMH_E_MEMORY, "no memory for ML-KEM");
}

mmh_status mmh_ml_kem_encapsulate(const struct mmh_kem *kem, uint8_t *enc, uint8_t *shared,
                                  const uint8_t *public_key, size_t public_bytes,
                                  const uint8_t entropy[MMH_ML_KEM_ENTROPY_BYTES], mmh_error *err)
{
    size_t enc_bytes = kem->enc_bytes, shared_bytes = kem->shared_bytes;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_KEM_PARAM_IKME, (void *)(uintptr_t)entropy,
                                          MMH_ML_KEM_ENTROPY_BYTES),
        OSSL_PARAM_construct_end(),
    };
    ERR_set_mark();
    EVP_PKEY *key = public_bytes == kem->public_bytes
                      ? EVP_PKEY_new_raw_public_key_ex(NULL, openssl_name(kem), NULL, public_key,
                                                       public_bytes)
                      : NULL;
    EVP_PKEY_CTX *context = key ? EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL) : NULL;
    bool done = context && EVP_PKEY_encapsulate_init(context, params) == 1 &&
                EVP_PKEY_encapsulate(context, enc, &enc_bytes, shared, &shared_bytes) == 1;
    bool is_key = key != NULL;
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(key);
    ERR_pop_to_mark();
    if (done)
        return MMH_OK;
    return is_key ? mmh_fail(err, MMH_E_MEMORY, "no memory for ML-KEM") : mmh_kem_fail(err);
}

mmh_status mmh_ml_kem_decapsulate(const struct mmh_kem *kem, uint8_t *shared, const uint8_t *enc,
                                  size_t enc_bytes, const uint8_t *secret_key, size_t secret_bytes,
                                  mmh_error *err)
{
    size_t shared_bytes = kem->shared_bytes;
    if (enc_bytes != kem->enc_bytes)
        return mmh_kem_fail(err);
    ERR_set_mark();
    EVP_PKEY *key = secret_load(kem, secret_key, secret_bytes);
    EVP_PKEY_CTX *context = key ? EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL) : NULL;
    bool done = context && EVP_PKEY_decapsulate_init(context, NULL) == 1 &&
                EVP_PKEY_decapsulate(context, shared, &shared_bytes, enc, enc_bytes) == 1;
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(key);
    ERR_pop_to_mark();
    return done ? MMH_OK : mmh_kem_fail(err);
}

/* What the table has, for each of the two. */
static mmh_status generate(const struct mmh_kem *kem, uint8_t *public_key, uint8_t *secret_key,
                           mmh_error *err)
{
    mmh_status status = mmh_random(secret_key, MMH_ML_KEM_SEED_BYTES, err);
    return status == MMH_OK ? mmh_ml_kem_derive(kem, public_key, secret_key, err) : status;
}

static mmh_status encapsulate(const struct mmh_kem *kem, uint8_t *enc, size_t *enc_bytes,
                              uint8_t *shared, const uint8_t *public_key, size_t public_bytes,
                              mmh_error *err)
{
    uint8_t entropy[MMH_ML_KEM_ENTROPY_BYTES];
    mmh_status status = mmh_random(entropy, sizeof entropy, err);
    if (status == MMH_OK)
        status = mmh_ml_kem_encapsulate(kem, enc, shared, public_key, public_bytes, entropy, err);
    mmh_wipe(entropy, sizeof entropy);
    *enc_bytes = kem->enc_bytes;
    return status;
}

#define ML_KEM(set, category, public_size, enc_size)                                               \
    static mmh_status generate_##set(uint8_t *public_key, uint8_t *secret_key, mmh_error *err)     \
    {                                                                                              \
        return generate(&mmh_kem_ml_kem_##set, public_key, secret_key, err);                       \
    }                                                                                              \
    static mmh_status derive_##set(uint8_t *public_key, const uint8_t *secret_key, mmh_error *err) \
    {                                                                                              \
        return mmh_ml_kem_derive(&mmh_kem_ml_kem_##set, public_key, secret_key, err);              \
    }                                                                                              \
    static mmh_status encapsulate_##set(uint8_t *enc, size_t *enc_bytes, uint8_t *shared,          \
                                        const uint8_t *public_key, size_t public_bytes,            \
                                        mmh_error *err)                                            \
    {                                                                                              \
        return encapsulate(&mmh_kem_ml_kem_##set, enc, enc_bytes, shared, public_key,              \
                           public_bytes, err);                                                     \
    }                                                                                              \
    static mmh_status decapsulate_##set(                                                           \
        uint8_t *shared, const uint8_t *enc, size_t enc_bytes, const uint8_t *secret_key,          \
        size_t secret_bytes, const uint8_t *public_key, size_t public_bytes, mmh_error *err)       \
    {                                                                                              \
        (void)public_key;                                                                          \
        (void)public_bytes;                                                                        \
        return mmh_ml_kem_decapsulate(&mmh_kem_ml_kem_##set, shared, enc, enc_bytes, secret_key,   \
                                      secret_bytes, err);                                          \
    }                                                                                              \
    const struct mmh_kem mmh_kem_ml_kem_##set = {                                                  \
        .id = MMH_KEM_ML_KEM_##set,                                                                \
        .name = "ml-kem-" #set,                                                                    \
        .nist_category = (category),                                                               \
        .post_quantum = true,                                                                      \
        .wrap = MMH_WRAP_HKDF384,                                                                  \
        .public_bytes = (public_size),                                                             \
        .secret_bytes = MMH_ML_KEM_SEED_BYTES,                                                     \
        .enc_bytes = (enc_size),                                                                   \
        .shared_bytes = 32,                                                                        \
        .generate = generate_##set,                                                                \
        .derive = derive_##set,                                                                    \
        .encapsulate = encapsulate_##set,                                                          \
        .decapsulate = decapsulate_##set,                                                          \
    };

/* clang-format off */
ML_KEM(768, 3, 1184, 1088)
ML_KEM(1024, 5, 1568, 1568)
