/*
 * X-Wing: ML-KEM-768 and X25519 in one.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: draft-connolly-cfrg-xwing-kem.
 */
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>

#include "base/memory.h"
#include "crypto/kem_private.h"
#include "crypto/random.h"

enum {
    ML_KEM_PUBLIC_BYTES = 1184,
    ML_KEM_ENC_BYTES = 1088,
    SHARED_BYTES = 32,
    PUBLIC_BYTES = ML_KEM_PUBLIC_BYTES + MMH_X25519_BYTES,
    ENC_BYTES = ML_KEM_ENC_BYTES + MMH_X25519_BYTES
};

/* SHA3-256, or SHAKE256 of as many bytes as are wanted. */
static mmh_status hash(uint8_t *out, size_t out_bytes, const char *name, bool extendable,
                       const uint8_t *data, size_t bytes, mmh_error *err)
{
    ERR_set_mark();
    EVP_MD *algorithm = EVP_MD_fetch(NULL, name, NULL);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done = algorithm && context && EVP_DigestInit_ex2(context, algorithm, NULL) == 1 &&
                EVP_DigestUpdate(context, data, bytes) == 1 &&
                (extendable ? EVP_DigestFinalXOF(context, out, out_bytes)
                            : EVP_DigestFinal_ex(context, out, NULL)) == 1;
    EVP_MD_CTX_free(context);
    EVP_MD_free(algorithm);
    ERR_pop_to_mark();
    return done ? MMH_OK : mmh_fail(err, MMH_E_MEMORY, "no memory for a hash");
}

mmh_status mmh_x_wing_expand(uint8_t secret_key[MMH_X_WING_SECRET_BYTES],
                             const uint8_t seed[MMH_X_WING_SEED_BYTES], mmh_error *err)
{
    return hash(secret_key, MMH_X_WING_SECRET_BYTES, "SHAKE256", true, seed, MMH_X_WING_SEED_BYTES,
                err);
}

/* The draft's Combiner; `parts` holds ML-KEM's secret and X25519's. */
static mmh_status combine(uint8_t *shared, const uint8_t parts[2 * SHARED_BYTES],
                          const uint8_t *sent_point, const uint8_t *public_point, mmh_error *err)
{
    static const uint8_t label[6] = { 0x5c, 0x2e, 0x2f, 0x2f, 0x5e, 0x5c };
    uint8_t text[4 * 32 + sizeof label];
    memcpy(text, parts, 64);
    memcpy(text + 64, sent_point, 32);
    memcpy(text + 96, public_point, 32);
    memcpy(text + 128, label, sizeof label);
    mmh_status status = hash(shared, SHARED_BYTES, "SHA3-256", false, text, sizeof text, err);
    mmh_wipe(text, sizeof text);
    return status;
}

static mmh_status derive(uint8_t *public_key, const uint8_t *secret_key, mmh_error *err)
{
    mmh_status status = mmh_ml_kem_derive(&mmh_kem_ml_kem_768, public_key, secret_key, err);
    return status == MMH_OK ? mmh_x25519_public(public_key + ML_KEM_PUBLIC_BYTES,
                                                secret_key + MMH_ML_KEM_SEED_BYTES, err)
                            : status;
}

static mmh_status generate(uint8_t *public_key, uint8_t *secret_key, mmh_error *err)
{
    mmh_status status = mmh_random(secret_key, MMH_X_WING_SECRET_BYTES, err);
    return status == MMH_OK ? derive(public_key, secret_key, err) : status;
}

mmh_status mmh_x_wing_encapsulate(uint8_t *enc, uint8_t *shared, const uint8_t *public_key,
                                  size_t public_bytes,
                                  const uint8_t entropy[MMH_X_WING_ENTROPY_BYTES], mmh_error *err)
{
    uint8_t parts[2 * SHARED_BYTES];
    if (public_bytes != PUBLIC_BYTES)
        return mmh_kem_fail(err);
    const uint8_t *point = public_key + ML_KEM_PUBLIC_BYTES;
    const uint8_t *scalar = entropy + MMH_ML_KEM_ENTROPY_BYTES;
    mmh_status status = mmh_ml_kem_encapsulate(&mmh_kem_ml_kem_768, enc, parts, public_key,
                                               ML_KEM_PUBLIC_BYTES, entropy, err);
    if (status == MMH_OK)
        status = mmh_x25519_public(enc + ML_KEM_ENC_BYTES, scalar, err);
    if (status == MMH_OK)
        status = mmh_x25519(parts + SHARED_BYTES, scalar, point, err);
    if (status == MMH_OK)
        status = combine(shared, parts, enc + ML_KEM_ENC_BYTES, point, err);
    mmh_wipe(parts, sizeof parts);
    return status;
}

static mmh_status encapsulate(uint8_t *enc, size_t *enc_bytes, uint8_t *shared,
                              const uint8_t *public_key, size_t public_bytes, mmh_error *err)
{
    uint8_t entropy[MMH_X_WING_ENTROPY_BYTES];
    mmh_status status = mmh_random(entropy, sizeof entropy, err);
    if (status == MMH_OK)
        status = mmh_x_wing_encapsulate(enc, shared, public_key, public_bytes, entropy, err);
    mmh_wipe(entropy, sizeof entropy);
    *enc_bytes = ENC_BYTES;
    return status;
}

static mmh_status decapsulate(uint8_t *shared, const uint8_t *enc, size_t enc_bytes,
                              const uint8_t *secret_key, size_t secret_bytes,
                              const uint8_t *public_key, size_t public_bytes, mmh_error *err)
{
    uint8_t parts[2 * SHARED_BYTES], point[MMH_X25519_BYTES];
    (void)public_key;
    (void)public_bytes;
    if (enc_bytes != ENC_BYTES || secret_bytes != MMH_X_WING_SECRET_BYTES)
        return mmh_kem_fail(err);
    const uint8_t *scalar = secret_key + MMH_ML_KEM_SEED_BYTES;
    mmh_status status = mmh_ml_kem_decapsulate(&mmh_kem_ml_kem_768, parts, enc, ML_KEM_ENC_BYTES,
                                               secret_key, MMH_ML_KEM_SEED_BYTES, err);
    if (status == MMH_OK)
        status = mmh_x25519(parts + SHARED_BYTES, scalar, enc + ML_KEM_ENC_BYTES, err);
    if (status == MMH_OK)
        status = mmh_x25519_public(point, scalar, err);
    if (status == MMH_OK)
        status = combine(shared, parts, enc + ML_KEM_ENC_BYTES, point, err);
    mmh_wipe(parts, sizeof parts);
    return status;
}

const struct mmh_kem mmh_kem_x_wing = {
    .id = MMH_KEM_X_WING,
    .name = "x-wing",
    .nist_category = 3,
    .classical = true,
    .post_quantum = true,
    .wrap = MMH_WRAP_HPKE,
    .public_bytes = PUBLIC_BYTES,
    .secret_bytes = MMH_X_WING_SECRET_BYTES,
    .enc_bytes = ENC_BYTES,
    .shared_bytes = SHARED_BYTES,
    .generate = generate,
    .derive = derive,
    .encapsulate = encapsulate,
    .decapsulate = decapsulate,
};
