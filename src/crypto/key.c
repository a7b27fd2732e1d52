/*
 * Identities: made, put together out of keys, fingerprinted, released.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "crypto/key.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/bits.h"
#include "crypto/key_private.h"
#include "crypto/secret.h"

enum { PARTS_MAX = 1024 };

static mmh_status no_memory(mmh_error *err)
{
    return mmh_fail(err, MMH_E_MEMORY, "out of memory for a key");
}

mmh_status mmh_identity_create(mmh_identity **identity, const mmh_allocator *allocator,
                               mmh_error *err)
{
    *identity = mmh_alloc_array(allocator, 1, sizeof **identity);
    if (!*identity)
        return no_memory(err);
    (*identity)->allocator = allocator;
    return MMH_OK;
}

static void part_release(struct mmh_key_part *part, const mmh_allocator *allocator)
{
    EVP_PKEY_free(part->second);
    EVP_PKEY_free(part->first);
    mmh_secret_free(part->secret_key, part->secret_bytes);
    mmh_free(allocator, part->public_key);
}

void mmh_identity_destroy(mmh_identity *identity)
{
    if (!identity)
        return;
    for (size_t i = identity->part_count; i-- > 0;)
        part_release(&identity->parts[i], identity->allocator);
    mmh_free(identity->allocator, identity->parts);
    mmh_free(identity->allocator, identity);
}

/* ---- public keys as DER, and fingerprints ---- */

static mmh_status composite_der(uint8_t **der, size_t *bytes, const struct mmh_key_part *part,
                                mmh_error *err)
{
    uint8_t encoded[MMH_COMPOSITE_PUBLIC_BYTES_MAX], *made = NULL;
    size_t encoded_bytes;
    mmh_status status = mmh_composite_public(encoded, &encoded_bytes, part, err);
    if (status != MMH_OK)
        return status;
    ERR_set_mark();
    X509_PUBKEY *key = X509_PUBKEY_new_ex(NULL, NULL);
    ASN1_OBJECT *oid = OBJ_txt2obj(part->signature->oid, 1);
    uint8_t *held = OPENSSL_memdup(encoded, encoded_bytes);
    int made_bytes = 0;
    if (key && oid && held &&
        X509_PUBKEY_set0_param(key, oid, V_ASN1_UNDEF, NULL, held, (int)encoded_bytes) == 1) {
        oid = NULL; /* the key's now */
        held = NULL;
        made_bytes = i2d_X509_PUBKEY(key, &made);
    }
    OPENSSL_free(held);
    ASN1_OBJECT_free(oid);
    X509_PUBKEY_free(key);
    ERR_pop_to_mark();
    if (made_bytes > 0 && (*der = mmh_secret_alloc((size_t)made_bytes)))
        memcpy(*der, made, *bytes = (size_t)made_bytes);
    OPENSSL_free(made);
    return *der ? MMH_OK : no_memory(err);
}

mmh_status mmh_key_part_public_der(uint8_t **der, size_t *bytes, const struct mmh_key_part *part,
                                   mmh_error *err)
{
    uint8_t *made = NULL;
    *der = NULL;
    *bytes = 0;
    if (!part->signature)
        return mmh_fail(err, MMH_E_USAGE, "a key for %s has no DER of its own", part->kem->name);
    if (part->second)
        return composite_der(der, bytes, part, err);
    ERR_set_mark();
    int made_bytes = i2d_PUBKEY(part->first, &made);
    ERR_pop_to_mark();
    if (made_bytes > 0 && (*der = mmh_secret_alloc((size_t)made_bytes)))
        memcpy(*der, made, *bytes = (size_t)made_bytes);
    OPENSSL_free(made);
    return *der ? MMH_OK : no_memory(err);
}

static mmh_status sha256(uint8_t digest[MMH_FINGERPRINT_BYTES], const void *first,
                         size_t first_bytes, const void *second, size_t second_bytes,
                         mmh_error *err)
{
    ERR_set_mark();
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    bool done = hash && EVP_DigestInit_ex2(hash, EVP_sha256(), NULL) == 1 &&
                EVP_DigestUpdate(hash, first, first_bytes) == 1 &&
                EVP_DigestUpdate(hash, second, second_bytes) == 1 &&
                EVP_DigestFinal_ex(hash, digest, NULL) == 1;
    EVP_MD_CTX_free(hash);
    ERR_pop_to_mark();
    return done ? MMH_OK : no_memory(err);
}

static mmh_status fingerprint(struct mmh_key_part *part, mmh_error *err)
{
    uint8_t kind[2], *der;
    size_t bytes;
    if (part->kem) {
        mmh_store16(kind, (uint16_t)part->kem->id);
        return sha256(part->fingerprint, kind, sizeof kind, part->public_key, part->public_bytes,
                      err);
    }
    mmh_status status = mmh_key_part_public_der(&der, &bytes, part, err);
    if (status == MMH_OK)
        status = sha256(part->fingerprint, der, bytes, NULL, 0, err);
    mmh_secret_free(der, bytes);
    return status;
}

/* ---- putting together ---- */

/* Takes the part over, also when it fails. */
static mmh_status add(mmh_identity *identity, struct mmh_key_part *part, mmh_error *err)
{
    struct mmh_key_part *parts = NULL;
    mmh_status status = fingerprint(part, err);
    if (status == MMH_OK && identity->part_count >= PARTS_MAX)
        status = mmh_fail(err, MMH_E_KEY, "more than %d keys in one file", PARTS_MAX);
    if (status == MMH_OK &&
        !(parts = mmh_alloc_array(identity->allocator, identity->part_count + 1, sizeof *parts)))
        status = no_memory(err);
    if (status != MMH_OK) {
        part_release(part, identity->allocator);
        return status;
    }
    if (identity->part_count)
        memcpy(parts, identity->parts, identity->part_count * sizeof *parts);
    parts[identity->part_count] = *part;
    mmh_free(identity->allocator, identity->parts);
    identity->parts = parts;
    identity->part_count++;
    return MMH_OK;
}

mmh_status mmh_identity_add_signature(mmh_identity *identity, const struct mmh_signature *signature,
                                      EVP_PKEY *first, EVP_PKEY *second, bool secret,
                                      mmh_error *err)
{
    struct mmh_key_part part = { .signature = signature, .secret = secret };
    if (EVP_PKEY_up_ref(first))
        part.first = first;
    if (second && EVP_PKEY_up_ref(second))
        part.second = second;
    if (strcmp(signature->first, "RSA") == 0)
        part.bits = (unsigned)EVP_PKEY_get_bits(first);
    return add(identity, &part, err);
}

mmh_status mmh_identity_add_kem(mmh_identity *identity, const struct mmh_kem *kem,
                                const uint8_t *public_key, size_t public_bytes,
                                const uint8_t *secret_key, size_t secret_bytes, mmh_error *err)
{
    struct mmh_key_part part = {
        .kem = kem,
        .secret = secret_key,
        .public_key = mmh_alloc(identity->allocator, 0, public_bytes),
        .public_bytes = public_bytes,
    };
    if (secret_key && (part.secret_key = mmh_secret_alloc(secret_bytes))) {
        part.secret_bytes = secret_bytes;
        memcpy(part.secret_key, secret_key, secret_bytes);
    }
    if (!part.public_key || (secret_key && !part.secret_key)) {
        part_release(&part, identity->allocator);
        return no_memory(err);
    }
    memcpy(part.public_key, public_key, public_bytes);
    return add(identity, &part, err);
}

mmh_status mmh_identity_add_rsa_kem(mmh_identity *identity, EVP_PKEY *key, bool secret,
                                    mmh_error *err)
{
    uint8_t *public_key = NULL, *secret_key = NULL;
    int secret_bytes = 0;
    ERR_set_mark();
    int public_bytes = i2d_PUBKEY(key, &public_key);
    PKCS8_PRIV_KEY_INFO *info = secret ? EVP_PKEY2PKCS8(key) : NULL;
    if (info)
        secret_bytes = i2d_PKCS8_PRIV_KEY_INFO(info, &secret_key);
    PKCS8_PRIV_KEY_INFO_free(info);
    ERR_pop_to_mark();
    mmh_status status = MMH_OK;
    if (public_bytes <= 0 || (secret && secret_bytes <= 0))
        status = no_memory(err);
    if (status == MMH_OK)
        status = mmh_identity_add_kem(identity, mmh_kem_by_id(MMH_KEM_RSA_OAEP), public_key,
                                      (size_t)public_bytes, secret_key, (size_t)secret_bytes, err);
    if (status == MMH_OK)
        identity->parts[identity->part_count - 1].bits = (unsigned)EVP_PKEY_get_bits(key);
    if (secret_bytes > 0)
        OPENSSL_clear_free(secret_key, (size_t)secret_bytes);
    OPENSSL_free(public_key);
    return status;
}

/* ---- making ---- */

static mmh_status generate_signature(mmh_identity *identity, const struct mmh_signature *signature,
                                     unsigned rsa_bits, mmh_error *err)
{
    EVP_PKEY *first = NULL, *second = NULL;
    mmh_status status = mmh_component_generate(&first, signature->first, rsa_bits, err);
    if (status == MMH_OK && signature->second)
        status = mmh_component_generate(&second, signature->second, rsa_bits, err);
    if (status == MMH_OK)
        status = mmh_identity_add_signature(identity, signature, first, second, true, err);
    EVP_PKEY_free(second);
    EVP_PKEY_free(first);
    return status;
}

static mmh_status generate_kem(mmh_identity *identity, const struct mmh_kem *kem, unsigned rsa_bits,
                               mmh_error *err)
{
    if (kem->id == MMH_KEM_RSA_OAEP) {
        EVP_PKEY *key = NULL;
        mmh_status status = mmh_component_generate(&key, "RSA", rsa_bits, err);
        if (status == MMH_OK)
            status = mmh_identity_add_rsa_kem(identity, key, true, err);
        EVP_PKEY_free(key);
        return status;
    }
    uint8_t *public_key = mmh_alloc(identity->allocator, 0, kem->public_bytes);
    uint8_t *secret_key = mmh_secret_alloc(kem->secret_bytes);
    mmh_status status = public_key && secret_key ? kem->generate(public_key, secret_key, err)
                                                 : no_memory(err);
    if (status == MMH_OK)
        status = mmh_identity_add_kem(identity, kem, public_key, kem->public_bytes, secret_key,
                                      kem->secret_bytes, err);
    mmh_secret_free(secret_key, kem->secret_bytes);
    mmh_free(identity->allocator, public_key);
    return status;
}

mmh_status mmh_identity_generate(mmh_identity **identity, const char *signature, const char *kem,
                                 unsigned rsa_bits, const mmh_allocator *allocator, mmh_error *err)
{
    const struct mmh_signature *signs = signature ? mmh_signature_by_name(signature) : NULL;
    const struct mmh_kem *decrypts = kem ? mmh_kem_by_name(kem) : NULL;
    *identity = NULL;
    rsa_bits = rsa_bits ? rsa_bits : 3072;
    if (signature && !signs)
        return mmh_fail(err, MMH_E_USAGE, "\"%s\" is no algorithm to sign with", signature);
    if (kem && !decrypts)
        return mmh_fail(err, MMH_E_USAGE, "\"%s\" is no algorithm to encrypt to", kem);
    if (rsa_bits < MMH_RSA_BITS_MIN || rsa_bits > MMH_RSA_BITS_MAX)
        return mmh_fail(err, MMH_E_USAGE, "RSA keys have %d to %d bits, not %u", MMH_RSA_BITS_MIN,
                        MMH_RSA_BITS_MAX, rsa_bits);
    mmh_status status = mmh_identity_create(identity, allocator, err);
    if (status == MMH_OK && signs)
        status = generate_signature(*identity, signs, rsa_bits, err);
    if (status == MMH_OK && decrypts)
        status = generate_kem(*identity, decrypts, rsa_bits, err);
    if (status != MMH_OK) {
        mmh_identity_destroy(*identity);
        *identity = NULL;
    }
    return status;
}
