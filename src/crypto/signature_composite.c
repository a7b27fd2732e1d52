/*
 * Composite signatures: ML-DSA and a classical algorithm over one message; both must be right.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: draft-ietf-lamps-pq-composite-sigs. What both sign is
 *
 *     M' = "CompositeAlgorithmSignatures2025" || label || u8 context bytes || context || SHA-512(M)
 *
 * and ML-DSA's context is the label: neither half is a signature of the component alone. Keys and
 * signatures are ML-DSA's (of secret keys the seed), then the classical ones: Ed25519's as in RFC
 * 8032, of ECDSA the uncompressed point and RFC 5915's ECPrivateKey with the curve and without the
 * point.
 */
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include "crypto/key_private.h"

enum { PREHASH_BYTES = 64, MESSAGE_BYTES_MAX = 32 + 64 + 1 + 255 + PREHASH_BYTES };

static const char prefix[] = "CompositeAlgorithmSignatures2025";

static bool is_ed25519(const struct mmh_signature *signature)
{
    return !signature->digest; /* ECDSA has one */
}

static size_t ml_dsa_signature_bytes(const struct mmh_signature *signature)
{
    return strcmp(signature->first, "ML-DSA-44") == 0 ? 2420
         : strcmp(signature->first, "ML-DSA-65") == 0 ? 3309
                                                      : 4627;
}

static size_t ml_dsa_public_bytes(const struct mmh_signature *signature)
{
    return strcmp(signature->first, "ML-DSA-44") == 0 ? 1312
         : strcmp(signature->first, "ML-DSA-65") == 0 ? 1952
                                                      : 2592;
}

/* M' into whole[MESSAGE_BYTES_MAX]; 0 if there is no SHA-512. */
static size_t message_of(uint8_t *whole, const struct mmh_signature *signature, const void *message,
                         size_t message_bytes, const void *context, size_t context_bytes)
{
    size_t label_bytes = strlen(signature->label), at = 0, hashed = 0;
    memcpy(whole, prefix, sizeof prefix - 1);
    at += sizeof prefix - 1;
    memcpy(whole + at, signature->label, label_bytes);
    at += label_bytes;
    whole[at++] = (uint8_t)context_bytes;
    if (context_bytes)
        memcpy(whole + at, context, context_bytes);
    at += context_bytes;
    ERR_set_mark();
    bool done = EVP_Q_digest(NULL, "SHA512", NULL, message, message_bytes, whole + at, &hashed);
    ERR_pop_to_mark();
    return done && hashed == PREHASH_BYTES ? at + hashed : 0;
}

mmh_status mmh_composite_sign(uint8_t *signature, size_t *bytes, const struct mmh_key_part *key,
                              const void *message, size_t message_bytes, const void *context,
                              size_t context_bytes, mmh_error *err)
{
    uint8_t whole[MESSAGE_BYTES_MAX];
    const struct mmh_signature *algorithm = key->signature;
    size_t first_bytes, second_bytes;
    size_t whole_bytes = message_of(whole, algorithm, message, message_bytes, context,
                                    context_bytes);
    if (!whole_bytes)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to sign");
    mmh_status status = mmh_component_sign(signature, MMH_SIGNATURE_BYTES_MAX, &first_bytes,
                                           key->first, NULL, whole, whole_bytes, algorithm->label,
                                           strlen(algorithm->label), err);
    if (status == MMH_OK)
        status = mmh_component_sign(signature + first_bytes, MMH_SIGNATURE_BYTES_MAX - first_bytes,
                                    &second_bytes, key->second, algorithm->digest, whole,
                                    whole_bytes, NULL, 0, err);
    if (status == MMH_OK)
        *bytes = first_bytes + second_bytes;
    return status;
}

bool mmh_composite_verify(const struct mmh_key_part *key, const uint8_t *signature, size_t bytes,
                          const void *message, size_t message_bytes, const void *context,
                          size_t context_bytes)
{
    uint8_t whole[MESSAGE_BYTES_MAX];
    const struct mmh_signature *algorithm = key->signature;
    size_t first_bytes = ml_dsa_signature_bytes(algorithm);
    size_t whole_bytes = message_of(whole, algorithm, message, message_bytes, context,
                                    context_bytes);
    if (!whole_bytes || bytes < first_bytes)
        return false;
    /* Both, whatever the first says: nothing tells which of them is wrong. */
    bool first = mmh_component_verify(key->first, NULL, signature, first_bytes, whole, whole_bytes,
                                      algorithm->label, strlen(algorithm->label));
    bool second = mmh_component_verify(key->second, algorithm->digest, signature + first_bytes,
                                       bytes - first_bytes, whole, whole_bytes, NULL, 0);
    return first & second;
}

/* ---- keys ---- */

static mmh_status no_encoding(const struct mmh_key_part *key, mmh_error *err)
{
    return mmh_fail(err, MMH_E_KEY, "a key for %s cannot be written as one", key->signature->name);
}

mmh_status mmh_composite_public(uint8_t *encoded, size_t *bytes, const struct mmh_key_part *key,
                                mmh_error *err)
{
    size_t first = MMH_COMPOSITE_PUBLIC_BYTES_MAX, second = 0;
    ERR_set_mark();
    bool done = EVP_PKEY_get_octet_string_param(key->first, OSSL_PKEY_PARAM_PUB_KEY, encoded, first,
                                                &first) == 1 &&
                EVP_PKEY_get_octet_string_param(
                    key->second,
                    is_ed25519(key->signature) ? OSSL_PKEY_PARAM_PUB_KEY
                                               : OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY,
                    encoded + first, MMH_COMPOSITE_PUBLIC_BYTES_MAX - first, &second) == 1;
    ERR_pop_to_mark();
    *bytes = done ? first + second : 0;
    return done ? MMH_OK : no_encoding(key, err);
}

/* RFC 5915's ECPrivateKey with the curve, without the point: 0 if that fails. */
static size_t ec_secret(uint8_t *encoded, size_t room, EVP_PKEY *key)
{
    static int without_point = 0;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_PKEY_PARAM_EC_INCLUDE_PUBLIC, &without_point),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY *own = EVP_PKEY_dup(key);
    uint8_t *der = NULL;
    int bytes = own && EVP_PKEY_set_params(own, params) == 1 ? i2d_PrivateKey(own, &der) : 0;
    size_t written = bytes > 0 && (size_t)bytes <= room ? (size_t)bytes : 0;
    if (written)
        memcpy(encoded, der, written);
    if (bytes > 0)
        OPENSSL_clear_free(der, (size_t)bytes);
    EVP_PKEY_free(own);
    return written;
}

mmh_status mmh_composite_secret(uint8_t *encoded, size_t *bytes, const struct mmh_key_part *key,
                                mmh_error *err)
{
    size_t first = 0, second = MMH_COMPOSITE_SECRET_BYTES_MAX - MMH_ML_DSA_SEED_BYTES;
    ERR_set_mark();
    bool done = EVP_PKEY_get_octet_string_param(key->first, OSSL_PKEY_PARAM_ML_DSA_SEED, encoded,
                                                MMH_ML_DSA_SEED_BYTES, &first) == 1 &&
                first == MMH_ML_DSA_SEED_BYTES;
    if (done && is_ed25519(key->signature))
        done = EVP_PKEY_get_octet_string_param(key->second, OSSL_PKEY_PARAM_PRIV_KEY,
                                               encoded + first, second, &second) == 1;
    else if (done)
        done = (second = ec_secret(encoded + first, second, key->second)) > 0;
    ERR_pop_to_mark();
    *bytes = done ? first + second : 0;
    return done ? MMH_OK : no_encoding(key, err);
}

static EVP_PKEY *ec_public_read(const char *curve, const uint8_t *point, size_t bytes)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)(uintptr_t)curve, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)(uintptr_t)point, bytes),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY *key = NULL;
    if (!bytes || point[0] != 4) /* uncompressed */
        return NULL;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    if (context && EVP_PKEY_fromdata_init(context) == 1)
        (void)EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params);
    EVP_PKEY_CTX_free(context);
    return key;
}

static EVP_PKEY *ec_secret_read(const uint8_t *der, size_t bytes)
{
    const uint8_t *at = der;
    EVP_PKEY *key = d2i_PrivateKey_ex(EVP_PKEY_EC, NULL, &at, (long)bytes, NULL, NULL);
    if (key && at != der + bytes) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    return key;
}

bool mmh_composite_read(EVP_PKEY **first, EVP_PKEY **second, const struct mmh_signature *signature,
                        bool secret, const uint8_t *encoded, size_t bytes)
{
    size_t first_bytes = secret ? MMH_ML_DSA_SEED_BYTES : ml_dsa_public_bytes(signature);
    *first = *second = NULL;
    if (bytes <= first_bytes)
        return false;
    const uint8_t *rest = encoded + first_bytes;
    size_t rest_bytes = bytes - first_bytes;
    ERR_set_mark();
    if (secret) {
        *first = mmh_component_of_seed(signature->first, encoded, first_bytes);
        *second = is_ed25519(signature) ? EVP_PKEY_new_raw_private_key_ex(NULL, signature->second,
                                                                          NULL, rest, rest_bytes)
                                        : ec_secret_read(rest, rest_bytes);
    } else {
        *first = EVP_PKEY_new_raw_public_key_ex(NULL, signature->first, NULL, encoded, first_bytes);
        *second = is_ed25519(signature) ? EVP_PKEY_new_raw_public_key_ex(NULL, signature->second,
                                                                         NULL, rest, rest_bytes)
                                        : ec_public_read(signature->second, rest, rest_bytes);
    }
    ERR_pop_to_mark();
    if (*first && *second && mmh_component_is(*second, signature->second))
        return true;
    EVP_PKEY_free(*first);
    EVP_PKEY_free(*second);
    *first = *second = NULL;
    return false;
}
