/*
 * The table of signature algorithms, and signing and verifying with OpenSSL's.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: RFC 8032 (Ed25519), FIPS 186-5 (ECDSA), RFC 8017 (RSA-PSS), FIPS 204, FIPS 205.
 * Signatures are hedged where the algorithm can be, as OpenSSL makes them.
 */
#include "crypto/signature.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>

#include "base/bits.h"
#include "crypto/key_private.h"

enum { CONTEXT_BYTES_MAX = 255, PSS_SALT_BYTES = 32 };

#define ED25519 "ED25519"
#define P256 "prime256v1"
#define P384 "secp384r1"
#define P521 "secp521r1"

#define CLASSICAL(id, name, bytes, key, digest)                        \
    {                                                                  \
        id, name, 0, true, false, bytes, key, NULL, digest, NULL, NULL \
    }
#define POST_QUANTUM(id, name, category, bytes, key)                        \
    {                                                                       \
        id, name, category, false, true, bytes, key, NULL, NULL, NULL, NULL \
    }
#define SLH_DSA(number, set, category, bytes, key) \
    POST_QUANTUM(MMH_SIGN_SLH_DSA + (number), "slh-dsa-" set, category, bytes, "SLH-DSA-" key)
#define COMPOSITE(id, name, category, bytes, first, second, digest, label, oid)  \
    {                                                                            \
        id, name, category, true, true, bytes, first, second, digest, label, oid \
    }

static const struct mmh_signature signatures[] = {
    CLASSICAL(MMH_SIGN_ED25519, "ed25519", 64, ED25519, NULL),
    CLASSICAL(MMH_SIGN_ECDSA_P256, "ecdsa-p256", 72, P256, "SHA256"),
    CLASSICAL(MMH_SIGN_ECDSA_P384, "ecdsa-p384", 104, P384, "SHA384"),
    CLASSICAL(MMH_SIGN_ECDSA_P521, "ecdsa-p521", 139, P521, "SHA512"),
    CLASSICAL(MMH_SIGN_RSA_PSS, "rsa-pss", MMH_RSA_BITS_MAX / 8, "RSA", "SHA256"),
    POST_QUANTUM(MMH_SIGN_ML_DSA_44, "ml-dsa-44", 2, 2420, "ML-DSA-44"),
    POST_QUANTUM(MMH_SIGN_ML_DSA_65, "ml-dsa-65", 3, 3309, "ML-DSA-65"),
    POST_QUANTUM(MMH_SIGN_ML_DSA_87, "ml-dsa-87", 5, 4627, "ML-DSA-87"),
    SLH_DSA(0, "sha2-128s", 1, 7856, "SHA2-128s"),
    SLH_DSA(1, "sha2-128f", 1, 17088, "SHA2-128f"),
    SLH_DSA(2, "sha2-192s", 3, 16224, "SHA2-192s"),
    SLH_DSA(3, "sha2-192f", 3, 35664, "SHA2-192f"),
    SLH_DSA(4, "sha2-256s", 5, 29792, "SHA2-256s"),
    SLH_DSA(5, "sha2-256f", 5, 49856, "SHA2-256f"),
    SLH_DSA(6, "shake-128s", 1, 7856, "SHAKE-128s"),
    SLH_DSA(7, "shake-128f", 1, 17088, "SHAKE-128f"),
    SLH_DSA(8, "shake-192s", 3, 16224, "SHAKE-192s"),
    SLH_DSA(9, "shake-192f", 3, 35664, "SHAKE-192f"),
    SLH_DSA(10, "shake-256s", 5, 29792, "SHAKE-256s"),
    SLH_DSA(11, "shake-256f", 5, 49856, "SHAKE-256f"),
    COMPOSITE(MMH_SIGN_ML_DSA_44_ED25519, "ml-dsa-44-ed25519", 2, 2484, "ML-DSA-44", ED25519, NULL,
              "COMPSIG-MLDSA44-Ed25519-SHA512", "1.3.6.1.5.5.7.6.39"),
    COMPOSITE(MMH_SIGN_ML_DSA_65_ED25519, "ml-dsa-65-ed25519", 3, 3373, "ML-DSA-65", ED25519, NULL,
              "COMPSIG-MLDSA65-Ed25519-SHA512", "1.3.6.1.5.5.7.6.48"),
    COMPOSITE(MMH_SIGN_ML_DSA_65_ECDSA_P256, "ml-dsa-65-ecdsa-p256", 3, 3381, "ML-DSA-65", P256,
              "SHA256", "COMPSIG-MLDSA65-ECDSA-P256-SHA512", "1.3.6.1.5.5.7.6.45"),
    COMPOSITE(MMH_SIGN_ML_DSA_87_ECDSA_P384, "ml-dsa-87-ecdsa-p384", 5, 4731, "ML-DSA-87", P384,
              "SHA384", "COMPSIG-MLDSA87-ECDSA-P384-SHA512", "1.3.6.1.5.5.7.6.49"),
};

size_t mmh_signature_count(void)
{
    return MMH_COUNT_OF(signatures);
}

const struct mmh_signature *mmh_signature_at(size_t number)
{
    return number < MMH_COUNT_OF(signatures) ? &signatures[number] : NULL;
}

const struct mmh_signature *mmh_signature_by_id(unsigned id)
{
    for (size_t i = 0; i < MMH_COUNT_OF(signatures); i++)
        if (signatures[i].id == id)
            return &signatures[i];
    return NULL;
}

const struct mmh_signature *mmh_signature_by_name(const char *name)
{
    for (size_t i = 0; i < MMH_COUNT_OF(signatures); i++)
        if (strcmp(signatures[i].name, name) == 0)
            return &signatures[i];
    return NULL;
}

/* ---- components ---- */

static bool is_curve(const char *component)
{
    return strcmp(component, P256) == 0 || strcmp(component, P384) == 0 ||
           strcmp(component, P521) == 0;
}

bool mmh_component_is(const EVP_PKEY *key, const char *component)
{
    char curve[32];
    if (!is_curve(component))
        return EVP_PKEY_is_a(key, component) == 1;
    ERR_set_mark();
    bool same = EVP_PKEY_is_a(key, "EC") == 1 &&
                EVP_PKEY_get_group_name(key, curve, sizeof curve, NULL) == 1 &&
                strcmp(curve, component) == 0;
    ERR_pop_to_mark();
    return same;
}

mmh_status mmh_component_generate(EVP_PKEY **key, const char *component, unsigned rsa_bits,
                                  mmh_error *err)
{
    ERR_set_mark();
    if (strcmp(component, "RSA") == 0)
        *key = EVP_PKEY_Q_keygen(NULL, NULL, component, (size_t)rsa_bits);
    else if (is_curve(component))
        *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", component);
    else
        *key = EVP_PKEY_Q_keygen(NULL, NULL, component);
    ERR_pop_to_mark();
    return *key ? MMH_OK : mmh_fail(err, MMH_E_MEMORY, "a key for %s could not be made", component);
}

EVP_PKEY *mmh_component_of_seed(const char *component, const uint8_t *seed, size_t bytes)
{
    OSSL_PARAM params[] = {
        /* The name is the same for both. */
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_ML_DSA_SEED, (void *)(uintptr_t)seed,
                                          bytes),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY *key = NULL;
    ERR_set_mark();
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, component, NULL);
    if (context && EVP_PKEY_fromdata_init(context) == 1)
        (void)EVP_PKEY_fromdata(context, &key, EVP_PKEY_KEYPAIR, params);
    EVP_PKEY_CTX_free(context);
    ERR_pop_to_mark();
    return key;
}

/* What a context is told before it signs or verifies. */
static bool configure(EVP_PKEY_CTX *pkey, const EVP_PKEY *key, const void *context,
                      size_t context_bytes)
{
    static char pss[] = "pss", mgf1[] = "SHA256";
    static uint8_t nothing; /* an empty context is not a missing one */
    int salt_bytes = PSS_SALT_BYTES;
    OSSL_PARAM params[4], *next = params;
    const char *type = EVP_PKEY_get0_type_name(key);
    if (strcmp(type, "RSA") == 0) {
        *next++ = OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, pss, 0);
        *next++ = OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, mgf1, 0);
        *next++ = OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, &salt_bytes);
    } else if (strncmp(type, "ML-DSA", 6) == 0 || strncmp(type, "SLH-DSA", 7) == 0)
        *next++ = OSSL_PARAM_construct_octet_string(
            OSSL_SIGNATURE_PARAM_CONTEXT_STRING,
            context_bytes ? (void *)(uintptr_t)context : &nothing, context_bytes);
    *next = OSSL_PARAM_construct_end();
    return next == params || EVP_PKEY_CTX_set_params(pkey, params) == 1;
}

mmh_status mmh_component_sign(uint8_t *signature, size_t room, size_t *bytes, EVP_PKEY *key,
                              const char *digest, const void *message, size_t message_bytes,
                              const void *context, size_t context_bytes, mmh_error *err)
{
    EVP_PKEY_CTX *pkey;
    *bytes = room;
    ERR_set_mark();
    EVP_MD_CTX *signer = EVP_MD_CTX_new();
    bool done = signer &&
                EVP_DigestSignInit_ex(signer, &pkey, digest, NULL, NULL, key, NULL) == 1 &&
                configure(pkey, key, context, context_bytes) &&
                EVP_DigestSign(signer, signature, bytes, message, message_bytes) == 1;
    EVP_MD_CTX_free(signer);
    ERR_pop_to_mark();
    if (done)
        return MMH_OK;
    *bytes = 0;
    return mmh_fail(err, MMH_E_KEY, "a key of %s does not sign", EVP_PKEY_get0_type_name(key));
}

bool mmh_component_verify(EVP_PKEY *key, const char *digest, const uint8_t *signature, size_t bytes,
                          const void *message, size_t message_bytes, const void *context,
                          size_t context_bytes)
{
    EVP_PKEY_CTX *pkey;
    ERR_set_mark();
    EVP_MD_CTX *verifier = EVP_MD_CTX_new();
    bool right = verifier &&
                 EVP_DigestVerifyInit_ex(verifier, &pkey, digest, NULL, NULL, key, NULL) == 1 &&
                 configure(pkey, key, context, context_bytes) &&
                 EVP_DigestVerify(verifier, signature, bytes, message, message_bytes) == 1;
    EVP_MD_CTX_free(verifier);
    ERR_pop_to_mark();
    return right;
}

/* ---- signatures ---- */

mmh_status mmh_signature_sign(uint8_t *signature, size_t *bytes, const struct mmh_key_part *key,
                              const void *message, size_t message_bytes, const void *context,
                              size_t context_bytes, mmh_error *err)
{
    *bytes = 0;
    if (!key->signature)
        return mmh_fail(err, MMH_E_KEY, "a key for %s decrypts, it does not sign", key->kem->name);
    if (!key->secret)
        return mmh_fail(err, MMH_E_KEY, "a public key for %s checks signatures, it makes none",
                        key->signature->name);
    if (context_bytes > CONTEXT_BYTES_MAX)
        return mmh_fail(err, MMH_E_USAGE, "a context has at most %d bytes", CONTEXT_BYTES_MAX);
    if (key->second)
        return mmh_composite_sign(signature, bytes, key, message, message_bytes, context,
                                  context_bytes, err);
    return mmh_component_sign(signature, MMH_SIGNATURE_BYTES_MAX, bytes, key->first,
                              key->signature->digest, message, message_bytes, context,
                              context_bytes, err);
}

mmh_status mmh_signature_verify(const struct mmh_key_part *key, const uint8_t *signature,
                                size_t bytes, const void *message, size_t message_bytes,
                                const void *context, size_t context_bytes, mmh_error *err)
{
    if (!key->signature)
        return mmh_fail(err, MMH_E_KEY, "a key for %s checks no signatures", key->kem->name);
    if (context_bytes > CONTEXT_BYTES_MAX)
        return mmh_fail(err, MMH_E_USAGE, "a context has at most %d bytes", CONTEXT_BYTES_MAX);
    bool right;
    if (bytes > key->signature->signature_bytes)
        right = false;
    else if (key->second)
        right = mmh_composite_verify(key, signature, bytes, message, message_bytes, context,
                                     context_bytes);
    else
        right = mmh_component_verify(key->first, key->signature->digest, signature, bytes, message,
                                     message_bytes, context, context_bytes);
    return right
             ? MMH_OK
             : mmh_fail(err, MMH_E_UNTRUSTED, "a signature by %s is wrong", key->signature->name);
}
