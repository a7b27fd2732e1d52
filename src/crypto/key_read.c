/*
 * Identities read: PEM of ours and of others, and age's strings.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: RFC 5958 (PKCS#8), RFC 5280 (SubjectPublicKeyInfo), RFC 8017 and RFC 5915 (the older
 * forms of RSA and EC keys). Blocks become components; a line "mmh key: ..." before them says what
 * they are together, and without it each is a key by itself. DER is bounded before OpenSSL sees it:
 * so are all numbers in it.
 */
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include "base/bits.h"
#include "crypto/bech32.h"
#include "crypto/key_private.h"
#include "crypto/pem.h"
#include "crypto/secret.h"

enum {
    DER_BYTES_MAX = 12288, /* RSA's of 16384 bits has 9300 */
    COMPONENTS_MAX = 1024,
    DECRYPTED_MAX = 8, /* encrypted blocks of one file: each may take seconds */
    PASSPHRASE_BYTES_MAX = 1024,
    NAME_BYTES_MAX = 64
};

/* One block. */
struct component {
    EVP_PKEY *key, *second;                /* second: of a composite in one block */
    const struct mmh_signature *composite; /* what that is */
    const struct mmh_kem *mceliece;        /* then not one of OpenSSL's: */
    uint8_t *data;                         /* [bytes] the block, for mmh_secret_free */
    size_t bytes;
    const uint8_t *encoded; /* in data */
    bool secret;
    unsigned line;
};

struct reader {
    mmh_identity *identity;
    const char *name;
    mmh_passphrase_ask *ask;
    void *user;
    char passphrase[PASSPHRASE_BYTES_MAX];
    size_t passphrase_bytes;
    bool asked;
    unsigned decrypted; /* blocks */
    bool sealed;        /* it was one block of ours, and what is read now was in it */
    struct component *components;
    size_t count, room, taken;
    /* What the header line says; NULL both: there was none. */
    const struct mmh_signature *signature;
    const struct mmh_kem *kem;
    unsigned header_line;
};

static mmh_status no_memory(mmh_error *err)
{
    return mmh_fail(err, MMH_E_MEMORY, "out of memory for a key");
}

static mmh_status bad(const struct reader *reader, unsigned line, const char *what, mmh_error *err)
{
    return mmh_fail(err, MMH_E_KEY, "%s, line %u: %s", reader->name, line, what);
}

static void component_release(struct component *component)
{
    EVP_PKEY_free(component->second);
    EVP_PKEY_free(component->key);
    mmh_secret_free(component->data, component->bytes);
    memset(component, 0, sizeof *component);
}

static void components_clear(struct reader *reader)
{
    for (size_t i = 0; i < reader->count; i++)
        component_release(&reader->components[i]);
    reader->count = reader->taken = 0;
    reader->signature = NULL;
    reader->kem = NULL;
}

/* Takes the component over, also when it fails. */
static mmh_status component_add(struct reader *reader, struct component *component, mmh_error *err)
{
    if (reader->count == reader->room) {
        size_t room = MMH_MAX((size_t)8, 2 * reader->room);
        struct component *grown = room <= COMPONENTS_MAX
                                    ? mmh_alloc_array(reader->identity->allocator, room,
                                                      sizeof *grown)
                                    : NULL;
        if (!grown) {
            component_release(component);
            return room > COMPONENTS_MAX ? bad(reader, component->line, "too many keys", err)
                                         : no_memory(err);
        }
        if (reader->count)
            memcpy(grown, reader->components, reader->count * sizeof *grown);
        mmh_free(reader->identity->allocator, reader->components);
        reader->components = grown;
        reader->room = room;
    }
    reader->components[reader->count++] = *component;
    return MMH_OK;
}

/* ---- components out of blocks ---- */

/* Whether the numbers of a private RSA key are no larger than they can be: so its costs are known.
 * */
static bool rsa_is_bounded(EVP_PKEY *key)
{
    static const char *const numbers[] = {
        OSSL_PKEY_PARAM_RSA_D,         OSSL_PKEY_PARAM_RSA_FACTOR1,
        OSSL_PKEY_PARAM_RSA_FACTOR2,   OSSL_PKEY_PARAM_RSA_EXPONENT1,
        OSSL_PKEY_PARAM_RSA_EXPONENT2, OSSL_PKEY_PARAM_RSA_COEFFICIENT1
    };
    BIGNUM *number = NULL;
    bool bounded = true;
    for (size_t i = 0; bounded && i < MMH_COUNT_OF(numbers); i++) {
        if (EVP_PKEY_get_bn_param(key, numbers[i], &number) == 1)
            bounded = BN_num_bits(number) <= EVP_PKEY_get_bits(key);
        BN_clear_free(number);
        number = NULL;
    }
    if (EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_FACTOR3, &number) ==
        1) /* nobody has three */
        bounded = false;
    BN_clear_free(number);
    return bounded;
}

/* Whether a private key is that of its public one; RSA's by trying, as proving it takes primes. */
static bool is_pair(EVP_PKEY *key)
{
    if (EVP_PKEY_is_a(key, "RSA")) {
        uint8_t signature[MMH_RSA_BITS_MAX / 8];
        size_t bytes;
        return rsa_is_bounded(key) &&
               mmh_component_sign(signature, sizeof signature, &bytes, key, "SHA256", "", 0, NULL,
                                  0, NULL) == MMH_OK &&
               mmh_component_verify(key, "SHA256", signature, bytes, "", 0, NULL, 0);
    }
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    bool pair = context && EVP_PKEY_pairwise_check(context) == 1;
    EVP_PKEY_CTX_free(context);
    return pair;
}

/* EC keys in one form alone, so that a key has one fingerprint. */
static bool ec_normalise(EVP_PKEY *key)
{
    int explicit = 0;
    (void)EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &explicit);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    bool done = !explicit && context && EVP_PKEY_public_check(context) == 1 &&
                EVP_PKEY_set_utf8_string_param(key, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT,
                                               "uncompressed") == 1;
    EVP_PKEY_CTX_free(context);
    return done;
}

static mmh_status check_key(const struct reader *reader, EVP_PKEY *key, bool secret, unsigned line,
                            mmh_error *err)
{
    if (EVP_PKEY_is_a(key, "RSA") &&
        (EVP_PKEY_get_bits(key) < MMH_RSA_BITS_MIN || EVP_PKEY_get_bits(key) > MMH_RSA_BITS_MAX))
        return mmh_fail(
            err, MMH_E_KEY, "%s, line %u: an RSA key of %d bits; those of %d to %d bits are taken",
            reader->name, line, EVP_PKEY_get_bits(key), MMH_RSA_BITS_MIN, MMH_RSA_BITS_MAX);
    if (EVP_PKEY_is_a(key, "EC") && !ec_normalise(key))
        return bad(reader, line, "an elliptic curve key that is broken or of no named curve", err);
    if (secret && !is_pair(key))
        return bad(reader, line, "a private key that does not fit its public key", err);
    return MMH_OK;
}

static const struct mmh_signature *composite_of(const ASN1_OBJECT *oid)
{
    char text[64];
    if (OBJ_obj2txt(text, sizeof text, oid, 1) <= 0)
        return NULL;
    for (size_t i = 0; i < mmh_signature_count(); i++) {
        const struct mmh_signature *signature = mmh_signature_at(i);
        if (signature->oid && strcmp(signature->oid, text) == 0)
            return signature;
    }
    return NULL;
}

static mmh_status unknown_kind(const struct reader *reader, const ASN1_OBJECT *oid, unsigned line,
                               mmh_error *err)
{
    char text[64];
    if (!oid || OBJ_obj2txt(text, sizeof text, oid, 0) <= 0)
        return bad(reader, line, "this key is broken", err);
    return mmh_fail(err, MMH_E_KEY,
                    "%s, line %u: this key is broken, or of a kind that is not known (%s)",
                    reader->name, line, text);
}

/* A private key out of its PKCS#8. Those that are plain bytes are taken out here, as OpenSSL's
 * decoders leave copies behind. */
static EVP_PKEY *private_key_of(const PKCS8_PRIV_KEY_INFO *info, const ASN1_OBJECT *oid,
                                const uint8_t *encoded, int encoded_bytes)
{
    const char *name = OBJ_nid2ln(OBJ_obj2nid(oid));
    size_t bytes = encoded_bytes > 2 ? (size_t)encoded_bytes - 2 : 0;
    bool is_whole = bytes && bytes < 128 &&
                    encoded[1] == bytes; /* one element, of one length byte */
    if (name && is_whole && encoded[0] == 0x80 && strncmp(name, "ML-", 3) == 0)
        return mmh_component_of_seed(name, encoded + 2, bytes);
    if (name && is_whole && encoded[0] == V_ASN1_OCTET_STRING &&
        (strcmp(name, "ED25519") == 0 || strcmp(name, "X25519") == 0))
        return EVP_PKEY_new_raw_private_key_ex(NULL, name, NULL, encoded + 2, bytes);
    if (name && strncmp(name, "SLH-DSA-", 8) == 0 && encoded_bytes > 0)
        return EVP_PKEY_new_raw_private_key_ex(NULL, name, NULL, encoded, (size_t)encoded_bytes);
    return EVP_PKCS82PKEY_ex(info, NULL, NULL);
}

static mmh_status read_private(struct reader *reader, struct component *component,
                               const uint8_t *der, size_t bytes, mmh_error *err)
{
    const uint8_t *at = der, *encoded = NULL;
    const ASN1_OBJECT *oid = NULL;
    int encoded_bytes = 0;
    component->secret = true;
    PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, (long)bytes);
    if (info && at == der + bytes &&
        PKCS8_pkey_get0(&oid, &encoded, &encoded_bytes, NULL, info) == 1) {
        component->composite = composite_of(oid);
        if (component->composite)
            (void)mmh_composite_read(&component->key, &component->second, component->composite,
                                     true, encoded, (size_t)encoded_bytes);
        else
            component->key = private_key_of(info, oid, encoded, encoded_bytes);
    }
    mmh_status status = component->key ? MMH_OK : unknown_kind(reader, oid, component->line, err);
    PKCS8_PRIV_KEY_INFO_free(info);
    return status;
}

static mmh_status read_public(struct reader *reader, struct component *component,
                              const uint8_t *der, size_t bytes, mmh_error *err)
{
    const uint8_t *at = der, *encoded = NULL;
    ASN1_OBJECT *oid = NULL;
    int encoded_bytes = 0;
    X509_PUBKEY *info = d2i_X509_PUBKEY(NULL, &at, (long)bytes);
    if (info && at == der + bytes &&
        X509_PUBKEY_get0_param(&oid, &encoded, &encoded_bytes, NULL, info) == 1) {
        component->composite = composite_of(oid);
        if (component->composite)
            (void)mmh_composite_read(&component->key, &component->second, component->composite,
                                     false, encoded, (size_t)encoded_bytes);
        else
            component->key = X509_PUBKEY_get(info);
    }
    mmh_status status = component->key ? MMH_OK : unknown_kind(reader, oid, component->line, err);
    X509_PUBKEY_free(info);
    return status;
}

/* "RSA PRIVATE KEY" and the like. */
static mmh_status read_traditional(struct reader *reader, struct component *component, int type,
                                   bool secret, const uint8_t *der, size_t bytes, mmh_error *err)
{
    const uint8_t *at = der;
    component->secret = secret;
    component->key = secret ? d2i_PrivateKey_ex(type, NULL, &at, (long)bytes, NULL, NULL)
                            : d2i_PublicKey(type, NULL, &at, (long)bytes);
    return component->key && at == der + bytes
             ? MMH_OK
             : bad(reader, component->line, "this key is broken", err);
}

/* name NUL key. The block becomes the component's. */
static mmh_status read_mceliece(struct reader *reader, struct component *component,
                                struct mmh_pem_item *item, bool secret, mmh_error *err)
{
    const uint8_t *end = memchr(item->data, 0, MMH_MIN(item->bytes, (size_t)NAME_BYTES_MAX));
    if (!end)
        return bad(reader, item->line, "this key is broken", err);
    const struct mmh_kem *kem = mmh_kem_by_name((const char *)item->data);
    if (!kem || mmh_kem_mceliece_of(kem) != kem)
        return mmh_fail(err, MMH_E_UNSUPPORTED, "%s, line %u: this build knows no \"%s\"",
                        reader->name, item->line, (const char *)item->data);
    size_t bytes = item->bytes - (size_t)(end + 1 - item->data);
    if (bytes != (secret ? kem->secret_bytes : kem->public_bytes))
        return mmh_fail(err, MMH_E_KEY, "%s, line %u: a key for %s has %zu bytes, not %zu",
                        reader->name, item->line, kem->name,
                        secret ? kem->secret_bytes : kem->public_bytes, bytes);
    component->mceliece = kem;
    component->secret = secret;
    component->encoded = end + 1;
    component->data = item->data;
    component->bytes = item->bytes;
    item->data = NULL;
    item->bytes = 0;
    return MMH_OK;
}

/* ---- passphrases ---- */

static mmh_status ask(struct reader *reader, unsigned line, mmh_error *err)
{
    char why[256];
    if (reader->decrypted++ == DECRYPTED_MAX)
        return bad(reader, line, "too many encrypted keys in one file", err);
    if (reader->asked)
        return MMH_OK;
    if (!reader->ask)
        return mmh_fail(err, MMH_E_KEY, "%s is encrypted, and there is no passphrase for it",
                        reader->name);
    size_t name_bytes = strlen(reader->name);
    size_t from = name_bytes > 200 ? name_bytes - 200 : 0;
    memcpy(why, "passphrase of ", 14);
    memcpy(why + 14, reader->name + from, name_bytes - from + 1);
    mmh_status status = reader->ask(reader->user, why, reader->passphrase,
                                    sizeof reader->passphrase, &reader->passphrase_bytes, err);
    if (status == MMH_OK && reader->passphrase_bytes > sizeof reader->passphrase)
        status = mmh_fail(err, MMH_E_USAGE, "a passphrase has at most %zu bytes",
                          sizeof reader->passphrase);
    reader->asked = status == MMH_OK;
    return status;
}

/* Whatever is wrong with it, said of this file. */
static mmh_status not_decrypted(const struct reader *reader, unsigned line, mmh_status status,
                                const mmh_error *why, mmh_error *err)
{
    return mmh_fail(err, status == MMH_E_LIMIT ? MMH_E_KEY : status, "%s, line %u: %s",
                    reader->name, line, why->message);
}

static mmh_status read_text(struct reader *reader, const char *text, size_t bytes, mmh_error *err);

static mmh_status read_sealed(struct reader *reader, const struct mmh_pem_item *item,
                              mmh_error *err)
{
    mmh_error why = { 0 };
    char *text;
    size_t bytes;
    if (reader->sealed || reader->count || reader->header_line || reader->identity->part_count)
        return bad(reader, item->line, "an encrypted file of keys within another", err);
    mmh_status status = ask(reader, item->line, err);
    if (status != MMH_OK)
        return status;
    status = mmh_key_unseal(&text, &bytes, item->data, item->bytes, reader->passphrase,
                            reader->passphrase_bytes, &why);
    if (status != MMH_OK)
        return not_decrypted(reader, item->line, status, &why, err);
    reader->sealed = true;
    status = read_text(reader, text, bytes, err);
    mmh_secret_free(text, bytes);
    return status;
}

static mmh_status read_encrypted(struct reader *reader, struct component *component,
                                 const struct mmh_pem_item *item, mmh_error *err)
{
    mmh_error why = { 0 };
    uint8_t *der;
    size_t bytes;
    mmh_status status = ask(reader, item->line, err);
    if (status != MMH_OK)
        return status;
    status = mmh_pkcs8_decrypt(&der, &bytes, item->data, item->bytes, reader->passphrase,
                               reader->passphrase_bytes, &why);
    if (status != MMH_OK)
        return not_decrypted(reader, item->line, status, &why, err);
    status = read_private(reader, component, der, bytes, err);
    mmh_secret_free(der, bytes);
    return status;
}

/* ---- blocks ---- */

static mmh_status other_block(const struct reader *reader, const struct mmh_pem_item *item,
                              mmh_error *err)
{
    static const struct {
        const char *label, *help;
    } known[] = {
        { "CERTIFICATE", "this is a certificate, not a key: `openssl x509 -pubkey -noout -in FILE` "
                         "prints the key in it, and who vouches for it is yours to judge" },
        { "TRUSTED CERTIFICATE",
          "this is a certificate, not a key: `openssl x509 -pubkey -noout -in "
          "FILE` prints the key in it" },
        { "CERTIFICATE REQUEST", "this is a certificate request, not a key: `openssl req -pubkey "
                                 "-noout -in FILE` prints the key in it" },
        { "OPENSSH PRIVATE KEY", "this is OpenSSH's own form: `ssh-keygen -p -m PKCS8 -f FILE` "
                                 "turns the file into one that can be read" },
        { "SSH2 PUBLIC KEY", "this is OpenSSH's own form: `ssh-keygen -e -m PKCS8 -f FILE` prints "
                             "one that can be read" },
    };
    for (size_t i = 0; i < MMH_COUNT_OF(known); i++)
        if (mmh_pem_item_is(item, known[i].label))
            return bad(reader, item->line, known[i].help, err);
    return mmh_fail(err, MMH_E_KEY, "%s, line %u: a \"%.*s\" is no key that is read here",
                    reader->name, item->line, (int)item->text_bytes, item->text);
}

static mmh_status read_component(struct reader *reader, struct component *component,
                                 struct mmh_pem_item *item, mmh_error *err)
{
    if (mmh_pem_item_is(item, MMH_MCELIECE_PRIVATE_LABEL))
        return read_mceliece(reader, component, item, true, err);
    if (mmh_pem_item_is(item, MMH_MCELIECE_PUBLIC_LABEL))
        return read_mceliece(reader, component, item, false, err);
    if (item->bytes > DER_BYTES_MAX)
        return bad(reader, item->line, "too large for a key", err);
    mmh_status status;
    if (mmh_pem_item_is(item, "PRIVATE KEY"))
        status = read_private(reader, component, item->data, item->bytes, err);
    else if (mmh_pem_item_is(item, "PUBLIC KEY"))
        status = read_public(reader, component, item->data, item->bytes, err);
    else if (mmh_pem_item_is(item, "ENCRYPTED PRIVATE KEY"))
        status = read_encrypted(reader, component, item, err);
    else if (mmh_pem_item_is(item, "RSA PRIVATE KEY"))
        status = read_traditional(reader, component, EVP_PKEY_RSA, true, item->data, item->bytes,
                                  err);
    else if (mmh_pem_item_is(item, "RSA PUBLIC KEY"))
        status = read_traditional(reader, component, EVP_PKEY_RSA, false, item->data, item->bytes,
                                  err);
    else if (mmh_pem_item_is(item, "EC PRIVATE KEY"))
        status = read_traditional(reader, component, EVP_PKEY_EC, true, item->data, item->bytes,
                                  err);
    else
        return other_block(reader, item, err);
    if (status == MMH_OK)
        status = check_key(reader, component->key, component->secret, item->line, err);
    if (status == MMH_OK && component->second)
        status = check_key(reader, component->second, component->secret, item->line, err);
    return status;
}

static mmh_status read_block(struct reader *reader, struct mmh_pem_item *item, mmh_error *err)
{
    struct component component = { .line = item->line };
    if (mmh_pem_item_is(item, MMH_SEALED_LABEL))
        return read_sealed(reader, item, err);
    if (mmh_pem_item_is(item, "EC PARAMETERS")) /* what OpenSSL puts before the key, once more */
        return MMH_OK;
    ERR_set_mark();
    mmh_status status = read_component(reader, &component, item, err);
    ERR_pop_to_mark();
    if (status != MMH_OK) {
        component_release(&component);
        return status;
    }
    return component_add(reader, &component, err);
}

/* ---- keys out of components ---- */

/* The components of a KEM, in the order of its encodings. */
static void names_of(const struct mmh_kem *kem, const char *names[2])
{
    const struct mmh_kem *mceliece = mmh_kem_mceliece_of(kem);
    names[0] = names[1] = NULL;
    if (mceliece)
        names[0] = mceliece->name;
    else if (kem->id == MMH_KEM_X25519)
        names[0] = "X25519";
    else if (kem->id == MMH_KEM_RSA_OAEP)
        names[0] = "RSA";
    else
        names[0] = kem->id == MMH_KEM_ML_KEM_1024 ? "ML-KEM-1024" : "ML-KEM-768";
    if (kem->id == MMH_KEM_X_WING || (mceliece && mceliece != kem))
        names[1] = "X25519";
}

static bool component_is(const struct component *component, const char *name)
{
    if (component->mceliece)
        return strcmp(component->mceliece->name, name) == 0;
    return !component->composite && mmh_component_is(component->key, name);
}

/* The next component, which must be this one. */
static mmh_status take(struct reader *reader, const char *name, bool secret, const char *whole,
                       const struct component **taken, mmh_error *err)
{
    const struct component *next = reader->taken < reader->count
                                     ? &reader->components[reader->taken]
                                     : NULL;
    *taken = NULL;
    if (!next || !component_is(next, name))
        return mmh_fail(err, MMH_E_KEY,
                        "%s, line %u: a key for %s is to have a %s %s key here, and has none",
                        reader->name, next ? next->line : reader->header_line, whole,
                        secret ? "private" : "public", name);
    if (next->secret != secret)
        return mmh_fail(err, MMH_E_KEY, "%s, line %u: the %s key is %s, the one before is not",
                        reader->name, next->line, name, next->secret ? "private" : "public");
    reader->taken++;
    *taken = next;
    return MMH_OK;
}

/* What a KEM's key is encoded as in memory, of one component. */
static bool encoded_of(const struct component *component, bool secret, uint8_t *encoded,
                       size_t room, size_t *bytes)
{
    if (component->mceliece) {
        *bytes = secret ? component->mceliece->secret_bytes : component->mceliece->public_bytes;
        if (*bytes > room)
            return false;
        memcpy(encoded, component->encoded, *bytes);
        return true;
    }
    *bytes = room;
    if (!secret)
        return EVP_PKEY_get_raw_public_key(component->key, encoded, bytes) == 1;
    if (EVP_PKEY_get_octet_string_param(component->key, OSSL_PKEY_PARAM_ML_KEM_SEED, encoded, room,
                                        bytes) == 1)
        return true;
    return EVP_PKEY_get_octet_string_param(component->key, OSSL_PKEY_PARAM_PRIV_KEY, encoded, room,
                                           bytes) == 1;
}

/* Whether one of McEliece's keys opens what is sent to the other: nothing else proves that they
 * belong together. */
static bool mceliece_is_pair(const struct component *secret, const struct component *public_key)
{
    uint8_t enc[MMH_KEM_ENC_BYTES_MAX], sent[MMH_KEM_SHARED_BYTES_MAX],
        got[MMH_KEM_SHARED_BYTES_MAX];
    const struct mmh_kem *kem = secret->mceliece;
    size_t enc_bytes = 0;
    bool pair = kem->encapsulate(enc, &enc_bytes, sent, public_key->encoded, kem->public_bytes,
                                 NULL) == MMH_OK &&
                kem->decapsulate(got, enc, enc_bytes, secret->encoded, kem->secret_bytes,
                                 public_key->encoded, kem->public_bytes, NULL) == MMH_OK &&
                mmh_secret_equal(sent, got, kem->shared_bytes);
    mmh_wipe(sent, sizeof sent);
    mmh_wipe(got, sizeof got);
    return pair;
}

/* Put a KEM's key together of its components; public_part: where its public key is. */
static mmh_status add_kem(struct reader *reader, const struct mmh_kem *kem,
                          const struct component *first, const struct component *first_public,
                          const struct component *second, mmh_error *err)
{
    enum { ML_KEM_EXPANDED_BYTES_MAX = 3168 };
    bool secret = first->secret;
    if (kem->id == MMH_KEM_RSA_OAEP)
        return mmh_identity_add_rsa_kem(reader->identity, first->key, secret, err);
    size_t room = MMH_MAX(MMH_MAX(kem->public_bytes, kem->secret_bytes),
                          (size_t)ML_KEM_EXPANDED_BYTES_MAX);
    uint8_t *public_key = mmh_secret_alloc(room), *secret_key = mmh_secret_alloc(room);
    size_t public_bytes = 0, secret_bytes = 0, more = 0;
    mmh_status status = public_key && secret_key ? MMH_OK : no_memory(err);
    if (status == MMH_OK) {
        bool done = encoded_of(first_public, false, public_key, room, &public_bytes) &&
                    (!second || encoded_of(second, false, public_key + public_bytes,
                                           room - public_bytes, &more));
        public_bytes += more;
        more = 0;
        done = done && (!secret || (encoded_of(first, true, secret_key, room, &secret_bytes) &&
                                    (!second || encoded_of(second, true, secret_key + secret_bytes,
                                                           room - secret_bytes, &more))));
        secret_bytes += more;
        if (!done || public_bytes != kem->public_bytes)
            status = bad(reader, first->line, "this key is broken", err);
        else if (second && secret && secret_bytes != kem->secret_bytes)
            status = bad(reader, first->line,
                         "the ML-KEM key of this hybrid has no seed, and cannot be used in it",
                         err);
    }
    if (status == MMH_OK)
        status = mmh_identity_add_kem(reader->identity, kem, public_key, public_bytes,
                                      secret ? secret_key : NULL, secret_bytes, err);
    mmh_secret_free(secret_key, room);
    mmh_secret_free(public_key, room);
    return status;
}

static mmh_status take_kem(struct reader *reader, const struct mmh_kem *kem, bool secret,
                           mmh_error *err)
{
    const struct component *first, *first_public, *second = NULL;
    const char *names[2];
    names_of(kem, names);
    mmh_status status = take(reader, names[0], secret, kem->name, &first, err);
    first_public = first;
    if (status == MMH_OK && secret && first->mceliece) {
        status = take(reader, names[0], false, kem->name, &first_public, err);
        if (status == MMH_OK && !mceliece_is_pair(first, first_public))
            status = bad(reader, first->line, "a private key that does not fit its public key",
                         err);
    }
    if (status == MMH_OK && names[1])
        status = take(reader, names[1], secret, kem->name, &second, err);
    if (status == MMH_OK)
        status = add_kem(reader, kem, first, first_public, second, err);
    return status;
}

static mmh_status take_signature(struct reader *reader, const struct mmh_signature *signature,
                                 bool secret, mmh_error *err)
{
    const struct component *first,
        *second = NULL,
        *next = reader->taken < reader->count ? &reader->components[reader->taken] : NULL;
    if (next && next->composite && next->composite == signature && next->secret == secret) {
        reader->taken++;
        return mmh_identity_add_signature(reader->identity, signature, next->key, next->second,
                                          secret, err);
    }
    mmh_status status = take(reader, signature->first, secret, signature->name, &first, err);
    if (status == MMH_OK && signature->second)
        status = take(reader, signature->second, secret, signature->name, &second, err);
    if (status == MMH_OK)
        status = mmh_identity_add_signature(reader->identity, signature, first->key,
                                            second ? second->key : NULL, secret, err);
    return status;
}

/* A block by itself: what it can do by its kind. */
static mmh_status take_alone(struct reader *reader, mmh_error *err)
{
    const struct component *next = &reader->components[reader->taken];
    bool secret = next->secret;
    reader->header_line = next->line; /* for messages */
    if (next->composite)
        return take_signature(reader, next->composite, secret, err);
    if (next->mceliece)
        return take_kem(reader, next->mceliece, secret, err);
    mmh_status status = MMH_OK;
    bool used = false;
    size_t at = reader->taken;
    for (size_t i = 0; status == MMH_OK && i < mmh_signature_count(); i++) {
        const struct mmh_signature *signature = mmh_signature_at(i);
        if (!signature->second && component_is(next, signature->first)) {
            reader->taken = at;
            status = take_signature(reader, signature, secret, err);
            used = true;
        }
    }
    for (size_t i = 0; status == MMH_OK && i < mmh_kem_count(); i++) {
        const char *names[2];
        names_of(mmh_kem_at(i), names);
        if (!names[1] && component_is(next, names[0])) {
            reader->taken = at; /* RSA does both */
            status = take_kem(reader, mmh_kem_at(i), secret, err);
            used = true;
        }
    }
    if (status == MMH_OK && !used)
        status = mmh_fail(err, MMH_E_KEY, "%s, line %u: a key of a kind that is not used here (%s)",
                          reader->name, next->line, EVP_PKEY_get0_type_name(next->key));
    return status;
}

/* What stands between two header lines, or without one, becomes keys. */
static mmh_status finish_section(struct reader *reader, mmh_error *err)
{
    mmh_status status = MMH_OK;
    if (reader->signature || reader->kem) {
        bool secret = reader->count && reader->components[0].secret;
        if (reader->signature)
            status = take_signature(reader, reader->signature, secret, err);
        if (status == MMH_OK && reader->kem)
            status = take_kem(reader, reader->kem, secret, err);
        if (status == MMH_OK && reader->taken < reader->count)
            status = bad(reader, reader->components[reader->taken].line,
                         "one key more than the line \"mmh key:\" says", err);
    } else
        while (status == MMH_OK && reader->taken < reader->count)
            status = take_alone(reader, err);
    components_clear(reader);
    return status;
}

/* ---- lines ---- */

static bool begins(const char *text, size_t bytes, const char *with)
{
    return bytes >= strlen(with) && memcmp(text, with, strlen(with)) == 0;
}

static void skip_blanks(const char **text, size_t *bytes)
{
    for (; *bytes && (**text == ' ' || **text == '\t'); (*bytes)--)
        (*text)++;
}

/* "sign NAME" or "decrypt NAME". */
static mmh_status read_use(struct reader *reader, const char *text, size_t bytes, unsigned line,
                           mmh_error *err)
{
    char name[NAME_BYTES_MAX];
    bool signs = begins(text, bytes, "sign ");
    size_t verb = signs ? 5 : 8;
    if (!signs && !begins(text, bytes, "decrypt "))
        return bad(reader, line, "this is to say \"sign\" or \"decrypt\", and an algorithm", err);
    text += verb;
    bytes -= verb;
    skip_blanks(&text, &bytes);
    if (!bytes || bytes >= sizeof name || memchr(text, 0, bytes))
        return bad(reader, line, "an algorithm has another name", err);
    memcpy(name, text, bytes);
    name[bytes] = 0;
    if (signs ? reader->signature != NULL : reader->kem != NULL)
        return bad(reader, line, "two keys for one thing", err);
    if (signs)
        reader->signature = mmh_signature_by_name(name);
    else
        reader->kem = mmh_kem_by_name(name);
    if (signs ? reader->signature == NULL : reader->kem == NULL)
        return mmh_fail(err, MMH_E_UNSUPPORTED, "%s, line %u: this build knows no \"%s\" to %s",
                        reader->name, line, name, signs ? "sign with" : "decrypt with");
    return MMH_OK;
}

static mmh_status read_header(struct reader *reader, const struct mmh_pem_item *item,
                              mmh_error *err)
{
    const char *text = item->text + strlen(MMH_HEADER_LINE);
    size_t left = item->text_bytes - strlen(MMH_HEADER_LINE);
    mmh_status status = finish_section(reader, err);
    reader->header_line = item->line;
    for (bool more = true; status == MMH_OK && more;) {
        const char *comma = memchr(text, ',', left);
        more = comma != NULL;
        size_t bytes = comma ? (size_t)(comma - text) : left;
        const char *use = text;
        size_t use_bytes = bytes;
        skip_blanks(&use, &use_bytes);
        status = read_use(reader, use, use_bytes, item->line, err);
        text += bytes + more;
        left -= bytes + more;
    }
    return status;
}

static mmh_status read_line(struct reader *reader, const struct mmh_pem_item *item, mmh_error *err)
{
    if (begins(item->text, item->text_bytes, MMH_HEADER_LINE))
        return read_header(reader, item, err);
    if (begins(item->text, item->text_bytes, "age1") ||
        begins(item->text, item->text_bytes, "AGE-SECRET-KEY-")) {
        mmh_error why = { 0 };
        mmh_status status = finish_section(reader, err);
        if (status == MMH_OK &&
            (status = mmh_age_read(reader->identity, item->text, item->text_bytes, &why)) != MMH_OK)
            status = mmh_fail(err, status, "%s, line %u: %s", reader->name, item->line,
                              why.message);
        return status;
    }
    if (begins(item->text, item->text_bytes, "ssh-") ||
        begins(item->text, item->text_bytes, "ecdsa-sha2-"))
        return bad(
            reader, item->line,
            "this is OpenSSH's own form: `ssh-keygen -e -m PKCS8 -f FILE` prints one that can "
            "be read",
            err);
    return bad(reader, item->line,
               "this is neither a key nor an empty line, nor a comment ('#' at its begin)", err);
}

static mmh_status read_text(struct reader *reader, const char *text, size_t bytes, mmh_error *err)
{
    bool within = reader->sealed;
    struct mmh_pem pem;
    struct mmh_pem_item item;
    mmh_pem_init(&pem, text, bytes, reader->name);
    mmh_status status;
    while ((status = mmh_pem_next(&pem, &item, err)) == MMH_OK && item.kind != MMH_PEM_END) {
        if (reader->sealed && !within)
            status = bad(reader, item.line, "something stands behind the encrypted keys", err);
        else
            status = item.kind == MMH_PEM_BLOCK ? read_block(reader, &item, err)
                                                : read_line(reader, &item, err);
        mmh_pem_item_release(&item);
        if (status != MMH_OK)
            break;
    }
    return status == MMH_OK ? finish_section(reader, err) : status;
}

mmh_status mmh_identity_parse(mmh_identity **identity, const char *text, size_t bytes,
                              const char *name, mmh_passphrase_ask *ask_passphrase, void *user,
                              const mmh_allocator *allocator, mmh_error *err)
{
    struct reader reader = { .name = name, .ask = ask_passphrase, .user = user };
    *identity = NULL;
    if (bytes > MMH_KEY_FILE_BYTES_MAX)
        return mmh_fail(err, MMH_E_KEY, "%s is too large for keys (at most %d bytes)", name,
                        MMH_KEY_FILE_BYTES_MAX);
    if (bytes > 1 && text[0] == 0x30 && ((unsigned char)text[1] & 0x80))
        return mmh_fail(err, MMH_E_KEY,
                        "%s is DER, not PEM: `openssl pkey -inform DER -in FILE` (with -pubin for "
                        "a public key) prints it",
                        name);
    mmh_status status = mmh_identity_create(&reader.identity, allocator, err);
    if (status == MMH_OK)
        status = read_text(&reader, text, bytes, err);
    if (status == MMH_OK && !reader.identity->part_count)
        status = mmh_fail(err, MMH_E_KEY, "%s: there is no key in it", name);
    components_clear(&reader);
    mmh_wipe(reader.passphrase, sizeof reader.passphrase);
    if (status == MMH_OK)
        *identity = reader.identity;
    else
        mmh_identity_destroy(reader.identity);
    mmh_free(allocator, reader.components);
    return status;
}
