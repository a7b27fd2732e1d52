/*
 * Private keys under a passphrase: our own block with Argon2id, and PKCS#8's that others wrote.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: RFC 9106 (Argon2), RFC 8439 (ChaCha20-Poly1305); RFC 5958, RFC 8018 (PBES2), RFC 7914
 * (scrypt).
 */
#include <string.h>

#include <openssl/err.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>

#include "base/bits.h"
#include "crypto/aead.h"
#include "crypto/kdf.h"
#include "crypto/key_private.h"
#include "crypto/random.h"
#include "crypto/secret.h"

enum {
    SEALED_VERSION = 1,
    SALT_BYTES = 16,
    SEALED_AT = 1 + 3 * 4 + SALT_BYTES + MMH_AEAD_NONCE_BYTES, /* what is authenticated besides */
    /* Of PBES2: some seconds of work. */
    PBKDF2_PASSES_MAX = 10000000,
    SCRYPT_WORK_MAX = 1 << 22
};

/* ---- our own ---- */

mmh_status mmh_key_seal(uint8_t **sealed, size_t *sealed_bytes, const char *text, size_t bytes,
                        const char *passphrase, size_t passphrase_bytes, mmh_error *err)
{
    const struct mmh_argon2_cost *cost = &mmh_argon2_default;
    uint8_t key[MMH_AEAD_KEY_BYTES];
    mmh_aead *aead = NULL;
    *sealed_bytes = SEALED_AT + bytes + MMH_AEAD_TAG_BYTES;
    uint8_t *out = *sealed = mmh_secret_alloc(*sealed_bytes);
    if (!out)
        return mmh_fail(err, MMH_E_MEMORY, "out of memory for a key");
    uint8_t *salt = out + 13, *nonce = salt + SALT_BYTES;
    out[0] = SEALED_VERSION;
    mmh_store32(out + 1, cost->memory_kib);
    mmh_store32(out + 5, cost->passes);
    mmh_store32(out + 9, cost->lanes);
    mmh_status status = mmh_random(salt, SALT_BYTES + MMH_AEAD_NONCE_BYTES, err);
    if (status == MMH_OK)
        status = mmh_argon2id(key, sizeof key, cost, passphrase, passphrase_bytes, salt, err);
    if (status == MMH_OK)
        status = mmh_aead_create(&aead, MMH_AEAD_CHACHA20_POLY1305, key, err);
    if (status == MMH_OK)
        status = mmh_aead_seal(aead, out + SEALED_AT, nonce, (const uint8_t *)text, bytes, out,
                               SEALED_AT, err);
    mmh_aead_destroy(aead);
    mmh_wipe(key, sizeof key);
    if (status != MMH_OK) {
        mmh_secret_free(out, *sealed_bytes);
        *sealed = NULL;
        *sealed_bytes = 0;
    }
    return status;
}

mmh_status mmh_key_unseal(char **text, size_t *bytes, const uint8_t *sealed, size_t sealed_bytes,
                          const char *passphrase, size_t passphrase_bytes, mmh_error *err)
{
    uint8_t key[MMH_AEAD_KEY_BYTES];
    mmh_aead *aead = NULL;
    *text = NULL;
    *bytes = 0;
    if (sealed_bytes < SEALED_AT + MMH_AEAD_TAG_BYTES)
        return mmh_fail(err, MMH_E_KEY, "it is too short");
    if (sealed[0] != SEALED_VERSION)
        return mmh_fail(err, MMH_E_UNSUPPORTED, "it is of a version that this mmh does not know");
    const struct mmh_argon2_cost cost = { mmh_load32(sealed + 1), mmh_load32(sealed + 5),
                                          mmh_load32(sealed + 9) };
    const uint8_t *salt = sealed + 13, *nonce = salt + SALT_BYTES;
    size_t room = sealed_bytes - SEALED_AT - MMH_AEAD_TAG_BYTES;
    mmh_status status = mmh_argon2id(key, sizeof key, &cost, passphrase, passphrase_bytes, salt,
                                     err);
    if (status == MMH_OK && !(*text = mmh_secret_alloc(room)))
        status = mmh_fail(err, MMH_E_MEMORY, "out of memory for a key");
    if (status == MMH_OK)
        status = mmh_aead_create(&aead, MMH_AEAD_CHACHA20_POLY1305, key, err);
    if (status == MMH_OK) {
        status = mmh_aead_open(aead, (uint8_t *)*text, nonce, sealed + SEALED_AT,
                               sealed_bytes - SEALED_AT, sealed, SEALED_AT, NULL);
        if (status != MMH_OK)
            status = mmh_fail(err, MMH_E_KEY, "the passphrase is wrong, or the file is damaged");
    }
    mmh_aead_destroy(aead);
    mmh_wipe(key, sizeof key);
    if (status == MMH_OK)
        *bytes = room;
    else {
        mmh_secret_free(*text, room);
        *text = NULL;
    }
    return status;
}

/* ---- PKCS#8's ---- */

/* An ASN.1 integer 0..INT64_MAX; -1: it is none. */
static int64_t number_of(const ASN1_INTEGER *integer)
{
    int64_t value;
    return integer && ASN1_INTEGER_get_int64(&value, integer) == 1 && value >= 0 ? value : -1;
}

static bool pbkdf2_is_bounded(const ASN1_TYPE *parameter)
{
    PBKDF2PARAM *kdf = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBKDF2PARAM), parameter);
    int64_t passes = kdf ? number_of(kdf->iter) : -1;
    PBKDF2PARAM_free(kdf);
    return passes > 0 && passes <= PBKDF2_PASSES_MAX;
}

static bool scrypt_is_bounded(const ASN1_TYPE *parameter)
{
    SCRYPT_PARAMS *kdf = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(SCRYPT_PARAMS), parameter);
    int64_t n = kdf ? number_of(kdf->costParameter) : -1;
    int64_t r = kdf ? number_of(kdf->blockSize) : -1;
    int64_t p = kdf ? number_of(kdf->parallelizationParameter) : -1;
    SCRYPT_PARAMS_free(kdf);
    return n > 0 && r > 0 && p > 0 && n <= SCRYPT_WORK_MAX && r <= SCRYPT_WORK_MAX / n &&
           p <= SCRYPT_WORK_MAX / (n * r);
}

/* Whether it is PBES2 that costs no more than some seconds, whatever is in it. */
static bool is_bounded(const X509_ALGOR *algorithm)
{
    const ASN1_OBJECT *oid;
    const void *value;
    int type;
    bool bounded = false;
    X509_ALGOR_get0(&oid, &type, &value, algorithm);
    if (OBJ_obj2nid(oid) != NID_pbes2 || type != V_ASN1_SEQUENCE)
        return false;
    PBE2PARAM *pbe = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBE2PARAM), algorithm->parameter);
    if (pbe && pbe->keyfunc && pbe->keyfunc->parameter) {
        int kdf = OBJ_obj2nid(pbe->keyfunc->algorithm);
        if (kdf == NID_id_pbkdf2)
            bounded = pbkdf2_is_bounded(pbe->keyfunc->parameter);
        else if (kdf == NID_id_scrypt)
            bounded = scrypt_is_bounded(pbe->keyfunc->parameter);
    }
    PBE2PARAM_free(pbe);
    return bounded;
}

mmh_status mmh_pkcs8_decrypt(uint8_t **der, size_t *bytes, const uint8_t *sealed,
                             size_t sealed_bytes, const char *passphrase, size_t passphrase_bytes,
                             mmh_error *err)
{
    const uint8_t *at = sealed;
    const X509_ALGOR *algorithm = NULL;
    const ASN1_OCTET_STRING *content;
    PKCS8_PRIV_KEY_INFO *info = NULL;
    uint8_t *made = NULL;
    int made_bytes = 0;
    mmh_status status = MMH_OK;
    *der = NULL;
    *bytes = 0;
    ERR_set_mark();
    X509_SIG *parsed = d2i_X509_SIG(NULL, &at, (long)sealed_bytes);
    if (parsed)
        X509_SIG_get0(parsed, &algorithm, &content);
    if (!parsed || at != sealed + sealed_bytes)
        status = mmh_fail(err, MMH_E_KEY, "it is broken");
    else if (!is_bounded(algorithm))
        status = mmh_fail(err, MMH_E_KEY,
                          "it is encrypted in a way that is not read (PBES2 with PBKDF2 or scrypt "
                          "is, at most %d passes)",
                          PBKDF2_PASSES_MAX);
    else if (!(info = PKCS8_decrypt_ex(parsed, passphrase, (int)passphrase_bytes, NULL, NULL)))
        status = mmh_fail(err, MMH_E_KEY, "the passphrase is wrong, or the file is damaged");
    else if ((made_bytes = i2d_PKCS8_PRIV_KEY_INFO(info, &made)) <= 0 ||
             !(*der = mmh_secret_alloc((size_t)made_bytes)))
        status = mmh_fail(err, MMH_E_MEMORY, "out of memory for a key");
    else
        memcpy(*der, made, *bytes = (size_t)made_bytes);
    if (made_bytes > 0)
        OPENSSL_clear_free(made, (size_t)made_bytes);
    PKCS8_PRIV_KEY_INFO_free(info);
    X509_SIG_free(parsed);
    ERR_pop_to_mark();
    return status;
}
