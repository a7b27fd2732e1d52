/*
 * Identities written as PEM.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: RFC 5958 (PKCS#8), RFC 5280 (SubjectPublicKeyInfo), RFC 9881 (ML-DSA: seeds), RFC 9935
 * (ML-KEM: seeds). OpenSSL would write seeds only after a setting of the whole process, so that
 * their PKCS#8 is put together here.
 */
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include "crypto/key_private.h"
#include "crypto/pem.h"
#include "crypto/secret.h"

enum { HYBRID_AFTER = MMH_KEM_MCELIECE_460896F_X25519 - MMH_KEM_MCELIECE_460896F };

const struct mmh_kem *mmh_kem_mceliece_of(const struct mmh_kem *kem)
{
    if (kem->id >= MMH_KEM_MCELIECE_460896F_X25519 && kem->id <= MMH_KEM_MCELIECE_6960119F_X25519)
        return mmh_kem_by_id(kem->id - HYBRID_AFTER);
    return kem->id >= MMH_KEM_MCELIECE_460896F && kem->id <= MMH_KEM_MCELIECE_6960119F ? kem : NULL;
}

/* DER of OpenSSL's as a block; wiped. */
static bool write_der(struct mmh_secret_text *text, bool secret, uint8_t *der, int bytes)
{
    if (bytes <= 0)
        return false;
    mmh_pem_write(text, secret ? "PRIVATE KEY" : "PUBLIC KEY", der, (size_t)bytes);
    OPENSSL_clear_free(der, (size_t)bytes);
    return true;
}

/* PKCS#8 around what its OCTET STRING holds: a tag, a length and the secret, or without a tag just
 * that. */
static bool write_content(struct mmh_secret_text *text, const char *component, unsigned tag,
                          const uint8_t *secret, size_t bytes)
{
    size_t head = tag ? 2 : 0;
    uint8_t *content = OPENSSL_malloc(head + bytes), *der = NULL;
    PKCS8_PRIV_KEY_INFO *info = PKCS8_PRIV_KEY_INFO_new();
    ASN1_OBJECT *oid = OBJ_txt2obj(component, 0);
    int der_bytes = 0;
    if (content && info && oid) {
        if (tag) {
            content[0] = (uint8_t)tag;
            content[1] = (uint8_t)bytes;
        }
        memcpy(content + head, secret, bytes);
        if (PKCS8_pkey_set0(info, oid, 0, V_ASN1_UNDEF, NULL, content, (int)(head + bytes)) == 1) {
            content = NULL; /* the structure's now */
            oid = NULL;
            der_bytes = i2d_PKCS8_PRIV_KEY_INFO(info, &der);
        }
    }
    ASN1_OBJECT_free(oid);
    PKCS8_PRIV_KEY_INFO_free(info);
    if (content)
        OPENSSL_clear_free(content, head + bytes);
    return write_der(text, true, der, der_bytes);
}

/*
 * A private key as PKCS#8. Most are put together here: OpenSSL's encoders (and
 * EVP_PKEY_get_raw_private_key) leave copies behind, and of ML-DSA and ML-KEM they would write the
 * expanded key too. One of those that was read without its seed has none, and goes the way of EC
 * and RSA.
 */
static bool write_private(struct mmh_secret_text *text, EVP_PKEY *key)
{
    uint8_t secret[128], *der = NULL; /* the largest are SLH-DSA's */
    const char *type = EVP_PKEY_get0_type_name(key);
    size_t bytes = sizeof secret;
    bool done;
    if (strncmp(type, "ML-", 3) == 0 &&
        EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_ML_DSA_SEED, secret, sizeof secret,
                                        &bytes) == 1)
        done = write_content(text, type, 0x80, secret, bytes);
    else if (strncmp(type, "SLH-", 4) == 0)
        done = EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PRIV_KEY, secret, sizeof secret,
                                               &bytes) == 1 &&
               write_content(text, type, 0, secret, bytes);
    else if (strcmp(type, "ED25519") == 0 || strcmp(type, "X25519") == 0)
        done = EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PRIV_KEY, secret, sizeof secret,
                                               &bytes) == 1 &&
               write_content(text, type, V_ASN1_OCTET_STRING, secret, bytes);
    else {
        PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
        int der_bytes = info ? i2d_PKCS8_PRIV_KEY_INFO(info, &der) : 0;
        PKCS8_PRIV_KEY_INFO_free(info);
        done = write_der(text, true, der, der_bytes);
    }
    mmh_wipe(secret, sizeof secret);
    return done;
}

static bool write_key(struct mmh_secret_text *text, EVP_PKEY *key, bool secret)
{
    uint8_t *der = NULL;
    if (secret)
        return write_private(text, key);
    int bytes = i2d_PUBKEY(key, &der);
    return write_der(text, false, der, bytes);
}

/* A KEM's key, encoded as in crypto/kem.h, as one of OpenSSL's. */
static EVP_PKEY *key_of(const char *component, bool secret, const uint8_t *encoded, size_t bytes)
{
    if (!secret)
        return EVP_PKEY_new_raw_public_key_ex(NULL, component, NULL, encoded, bytes);
    if (strncmp(component, "ML-KEM", 6) == 0 && bytes == MMH_ML_KEM_SEED_BYTES)
        return mmh_component_of_seed(component, encoded, bytes);
    return EVP_PKEY_new_raw_private_key_ex(NULL, component, NULL, encoded, bytes);
}

static bool write_encoded(struct mmh_secret_text *text, const char *component, bool secret,
                          const uint8_t *encoded, size_t bytes)
{
    EVP_PKEY *key = key_of(component, secret, encoded, bytes);
    bool done = key && write_key(text, key, secret);
    EVP_PKEY_free(key);
    return done;
}

static bool write_mceliece(struct mmh_secret_text *text, const struct mmh_kem *kem, bool secret,
                           const uint8_t *encoded)
{
    size_t name_bytes = strlen(kem->name) + 1;
    size_t bytes = secret ? kem->secret_bytes : kem->public_bytes;
    uint8_t *block = mmh_secret_alloc(name_bytes + bytes);
    if (!block)
        return false;
    memcpy(block, kem->name, name_bytes);
    memcpy(block + name_bytes, encoded, bytes);
    mmh_pem_write(text, secret ? MMH_MCELIECE_PRIVATE_LABEL : MMH_MCELIECE_PUBLIC_LABEL, block,
                  name_bytes + bytes);
    mmh_secret_free(block, name_bytes + bytes);
    return true;
}

static bool write_kem(struct mmh_secret_text *text, const struct mmh_key_part *part, bool secret)
{
    const struct mmh_kem *kem = part->kem, *mceliece = mmh_kem_mceliece_of(kem);
    const uint8_t *encoded = secret ? part->secret_key : part->public_key;
    size_t bytes = secret ? part->secret_bytes : part->public_bytes;
    switch (kem->id) {
    case MMH_KEM_X25519:
        return write_encoded(text, "X25519", secret, encoded, bytes);
    case MMH_KEM_ML_KEM_768:
        return write_encoded(text, "ML-KEM-768", secret, encoded, bytes);
    case MMH_KEM_ML_KEM_1024:
        return write_encoded(text, "ML-KEM-1024", secret, encoded, bytes);
    case MMH_KEM_X_WING:
        return write_encoded(text, "ML-KEM-768", secret, encoded, bytes - MMH_X25519_BYTES) &&
               write_encoded(text, "X25519", secret, encoded + bytes - MMH_X25519_BYTES,
                             MMH_X25519_BYTES);
    case MMH_KEM_RSA_OAEP:
        mmh_pem_write(text, secret ? "PRIVATE KEY" : "PUBLIC KEY", encoded, bytes);
        return true;
    default: /* McEliece: of a secret key nothing gives the public one, so that it stands beside */
        return mceliece && write_mceliece(text, mceliece, secret, encoded) &&
               (!secret || write_mceliece(text, mceliece, false, part->public_key)) &&
               (mceliece == kem ||
                write_encoded(text, "X25519", secret, encoded + bytes - MMH_X25519_BYTES,
                              MMH_X25519_BYTES));
    }
}

static void add_text(struct mmh_secret_text *text, const char *more)
{
    mmh_secret_text_add(text, more, strlen(more));
}

/* The line that says what follows: a key to sign, one to decrypt, or both. Returns how many. */
static size_t write_header(struct mmh_secret_text *text, const struct mmh_key_part *parts,
                           size_t count)
{
    size_t named = 0;
    add_text(text, MMH_HEADER_LINE);
    do {
        const struct mmh_key_part *part = &parts[named];
        add_text(text, named ? ", " : " ");
        add_text(text, part->signature ? "sign " : "decrypt ");
        add_text(text, part->signature ? part->signature->name : part->kem->name);
        named++;
    } while (named == 1 && count > 1 && parts[0].signature && parts[1].kem);
    add_text(text, "\n");
    return named;
}

static mmh_status write_parts(struct mmh_secret_text *text, const mmh_identity *identity,
                              bool secret, mmh_error *err)
{
    mmh_status status = MMH_OK;
    size_t named = 0; /* parts that the last header is of */
    ERR_set_mark();
    for (size_t i = 0; status == MMH_OK && i < identity->part_count; i++) {
        const struct mmh_key_part *part = &identity->parts[i];
        const char *name = part->kem ? part->kem->name : part->signature->name;
        if (i == named)
            named += write_header(text, part, identity->part_count - i);
        if (secret && !part->secret)
            status = mmh_fail(err, MMH_E_USAGE, "a public key for %s has no private one to write",
                              name);
        else if (!(part->kem ? write_kem(text, part, secret)
                             : write_key(text, part->first, secret) &&
                                   (!part->second || write_key(text, part->second, secret))))
            status = mmh_fail(err, MMH_E_MEMORY, "a key for %s could not be written", name);
    }
    ERR_pop_to_mark();
    if (status == MMH_OK && text->failed)
        status = mmh_fail(err, MMH_E_MEMORY, "out of memory for a key");
    return status;
}

mmh_status mmh_identity_write(char **text, size_t *bytes, const mmh_identity *identity, bool secret,
                              const char *passphrase, size_t passphrase_bytes, mmh_error *err)
{
    struct mmh_secret_text plain = { 0 }, sealed = { 0 }, *written = &plain;
    *text = NULL;
    *bytes = 0;
    mmh_status status = write_parts(&plain, identity, secret, err);
    if (status == MMH_OK && secret && passphrase) {
        uint8_t *block;
        size_t block_bytes;
        status = mmh_key_seal(&block, &block_bytes, plain.data, plain.bytes, passphrase,
                              passphrase_bytes, err);
        if (status == MMH_OK)
            mmh_pem_write(&sealed, MMH_SEALED_LABEL, block, block_bytes);
        mmh_secret_free(block, block_bytes);
        written = &sealed;
    }
    if (status == MMH_OK && !written->failed && (*text = mmh_secret_alloc(written->bytes + 1)))
        memcpy(*text, written->data, *bytes = written->bytes); /* and a NUL behind it */
    else if (status == MMH_OK)
        status = mmh_fail(err, MMH_E_MEMORY, "out of memory for a key");
    mmh_secret_text_release(&sealed);
    mmh_secret_text_release(&plain);
    return status;
}
