/*
 * Keys come back from files as they were; what is wrong with a file, a key or a signature is
 * refused.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>

#include "counting.h"
#include "crypto/bech32.h"
#include "crypto/key_private.h"
#include "crypto/pem.h"
#include "crypto/secret.h"
#include "scratch.h"

static const char message[] = "a message";
static const char passphrase[] = "correct horse";

/* user: the passphrase. */
static mmh_status ask(void *user, const char *why, char *to, size_t room, size_t *bytes,
                      mmh_error *err)
{
    (void)err;
    assert_non_null(strstr(why, "passphrase of "));
    *bytes = strlen(user);
    assert_true(*bytes <= room);
    memcpy(to, user, *bytes);
    return MMH_OK;
}

static mmh_status parse_with(mmh_identity **identity, const char *text, size_t bytes,
                             const char *with, mmh_error *err)
{
    /* Exactly as long as it is, so that a sanitizer sees every byte past it. */
    char *copy = malloc(bytes + !bytes);
    assert_non_null(copy);
    memcpy(copy, text, bytes);
    mmh_status status = mmh_identity_parse(identity, copy, bytes, "test.key", with ? ask : NULL,
                                           (void *)(uintptr_t)with, NULL, err);
    free(copy);
    assert_int_equal(status != MMH_OK, !*identity);
    assert_int_equal(ERR_peek_error(), 0);
    return status;
}

static mmh_status parse(mmh_identity **identity, const char *text, size_t bytes)
{
    return parse_with(identity, text, bytes, NULL, NULL);
}

/* A text is refused, for a reason that has these words. */
static void assert_refused(const char *text, mmh_status expected, const char *words)
{
    mmh_identity *identity;
    mmh_error err = { 0 };
    assert_int_equal(parse_with(&identity, text, strlen(text), NULL, &err), expected);
    if (!strstr(err.message, words))
        fail_msg("\"%s\" is to say \"%s\"", err.message, words);
}

struct text {
    char *data;
    size_t bytes;
};

static struct text write_with(const mmh_identity *identity, bool secret, const char *with)
{
    struct text text;
    assert_int_equal(mmh_identity_write(&text.data, &text.bytes, identity, secret, with,
                                        with ? strlen(with) : 0, NULL),
                     MMH_OK);
    assert_int_equal(text.data[text.bytes], 0);
    return text;
}

static void text_free(struct text *text)
{
    mmh_secret_free(text->data, text->bytes + 1);
}

static mmh_identity *make(const char *signature, const char *kem)
{
    mmh_identity *identity;
    assert_int_equal(mmh_identity_generate(&identity, signature, kem, 2048, NULL, NULL), MMH_OK);
    return identity;
}

struct signed_text {
    uint8_t data[MMH_SIGNATURE_BYTES_MAX];
    size_t bytes;
};

static void sign(struct signed_text *signature, const struct mmh_key_part *part)
{
    assert_int_equal(mmh_signature_sign(signature->data, &signature->bytes, part, message,
                                        sizeof message, "mmh", 3, NULL),
                     MMH_OK);
    assert_true(signature->bytes <= part->signature->signature_bytes);
    assert_int_equal(ERR_peek_error(), 0);
}

static mmh_status verify(const struct mmh_key_part *part, const struct signed_text *signature)
{
    mmh_status status = mmh_signature_verify(part, signature->data, signature->bytes, message,
                                             sizeof message, "mmh", 3, NULL);
    assert_int_equal(ERR_peek_error(), 0);
    return status;
}

/* ---- round trips ---- */

/* What one signs or encapsulates with a key, the other one verifies or opens. */
static void assert_same_key(const struct mmh_key_part *a, const struct mmh_key_part *b)
{
    static struct signed_text signature;
    assert_memory_equal(a->fingerprint, b->fingerprint, sizeof a->fingerprint);
    assert_ptr_equal(a->signature, b->signature);
    assert_ptr_equal(a->kem, b->kem);
    assert_int_equal(a->bits, b->bits);
    if (!a->kem) {
        const char *name = a->signature->name; /* the small sets of SLH-DSA take seconds */
        if (strncmp(name, "slh-dsa", 7) == 0 && name[strlen(name) - 1] == 's')
            return;
        if (b->secret) {
            sign(&signature, b);
            assert_int_equal(verify(a, &signature), MMH_OK);
        }
        sign(&signature, a);
        assert_int_equal(verify(b, &signature), MMH_OK);
        return;
    }
    assert_int_equal(a->public_bytes, b->public_bytes);
    assert_memory_equal(a->public_key, b->public_key, a->public_bytes);
    if (b->secret) {
        assert_int_equal(a->secret_bytes, b->secret_bytes);
        assert_memory_equal(a->secret_key, b->secret_key, a->secret_bytes);
    }
}

static void round_trip(const char *signature, const char *kem)
{
    mmh_identity *identity = make(signature, kem), *back;
    size_t count = (signature != NULL) + (size_t)(kem != NULL);
    assert_int_equal(identity->part_count, count);
    for (unsigned i = 0; i < 3; i++) {
        bool secret = i > 0;
        const char *with = i == 2 ? passphrase : NULL;
        struct text text = write_with(identity, secret, with);
        if (i == 2)
            assert_null(strstr(text.data, "-----BEGIN PRIVATE"));
        assert_int_equal(parse_with(&back, text.data, text.bytes, with, NULL), MMH_OK);
        assert_int_equal(back->part_count, count);
        for (size_t p = 0; p < count; p++) {
            assert_int_equal(back->parts[p].secret, secret);
            assert_same_key(&identity->parts[p], &back->parts[p]);
        }
        if (i < 2) { /* the same bytes again */
            struct text again = write_with(back, secret, NULL);
            assert_int_equal(again.bytes, text.bytes);
            assert_memory_equal(again.data, text.data, text.bytes);
            text_free(&again);
        }
        mmh_identity_destroy(back);
        text_free(&text);
    }
    mmh_identity_destroy(identity);
}

static void test_every_signature_key_returns(void **state)
{
    (void)state;
    for (size_t i = 0; i < mmh_signature_count(); i++)
        round_trip(mmh_signature_at(i)->name, NULL);
}

static void test_every_kem_key_returns(void **state)
{
    (void)state;
    for (size_t i = 0; i < mmh_kem_count(); i++)
        round_trip(NULL, mmh_kem_at(i)->name);
}

static void test_identities_return(void **state)
{
    (void)state;
    round_trip("ml-dsa-65-ed25519", "x-wing");
    round_trip("rsa-pss", "rsa-oaep");
    round_trip("slh-dsa-shake-128f", "ml-kem-1024");
}

/* Several identities in one file are those, one after another. */
static void test_files_can_be_joined(void **state)
{
    (void)state;
    mmh_identity *a = make("ed25519", "x25519"), *b = make("ml-dsa-44-ed25519", NULL), *both;
    struct text first = write_with(a, false, NULL), second = write_with(b, true, NULL);
    char *joined = malloc(first.bytes + second.bytes);
    assert_non_null(joined);
    memcpy(joined, first.data, first.bytes);
    memcpy(joined + first.bytes, second.data, second.bytes);
    assert_int_equal(parse(&both, joined, first.bytes + second.bytes), MMH_OK);
    assert_int_equal(both->part_count, 3);
    assert_same_key(&a->parts[0], &both->parts[0]);
    assert_same_key(&a->parts[1], &both->parts[1]);
    assert_same_key(&b->parts[0], &both->parts[2]);
    /* And once more, written as one. */
    struct text all = write_with(both, false, NULL);
    mmh_identity *again;
    assert_int_equal(parse(&again, all.data, all.bytes), MMH_OK);
    assert_int_equal(again->part_count, 3);
    mmh_identity_destroy(again);
    text_free(&all);
    free(joined);
    text_free(&second);
    text_free(&first);
    mmh_identity_destroy(both);
    mmh_identity_destroy(b);
    mmh_identity_destroy(a);
}

/* A fingerprint depends on the public key alone: not on the file, the form, or this program's
 * version. */
static void test_fingerprints_are_stable(void **state)
{
    (void)state;
    static const char text[] = "-----BEGIN PUBLIC KEY-----\n"
                               "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
                               "-----END PUBLIC KEY-----\n";
    /* echo | sha256sum of the DER */
    uint8_t expected[32];
    size_t bytes;
    static const uint8_t der[] = {
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00, 0xd7, 0x5a, 0x98,
        0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1,
        0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a
    };
    assert_int_equal(EVP_Q_digest(NULL, "SHA256", NULL, der, sizeof der, expected, &bytes), 1);
    mmh_identity *key;
    assert_int_equal(parse(&key, text, sizeof text - 1), MMH_OK);
    assert_memory_equal(key->parts[0].fingerprint, expected, 32);
    mmh_identity_destroy(key);

    /* A KEM's: of its kind and key. */
    uint8_t hashed[2 + 32] = { 1, 0 };
    key = make(NULL, "x25519");
    memcpy(hashed + 2, key->parts[0].public_key, 32);
    assert_int_equal(EVP_Q_digest(NULL, "SHA256", NULL, hashed, sizeof hashed, expected, &bytes),
                     1);
    assert_memory_equal(key->parts[0].fingerprint, expected, 32);
    mmh_identity_destroy(key);
}

/* ---- what others write ---- */

static struct text of_bio(BIO *bio)
{
    char *data;
    long bytes = BIO_get_mem_data(bio, &data);
    struct text text = { mmh_secret_alloc((size_t)bytes + 1), (size_t)bytes };
    assert_non_null(text.data);
    memcpy(text.data, data, text.bytes);
    BIO_free(bio);
    return text;
}

static void assert_reads(struct text text, const char *with, const char *const *names)
{
    mmh_identity *identity;
    mmh_error err = { 0 };
    if (parse_with(&identity, text.data, text.bytes, with, &err) != MMH_OK)
        fail_msg("%s", err.message);
    for (size_t i = 0; i < identity->part_count; i++) {
        const struct mmh_key_part *part = &identity->parts[i];
        assert_non_null(names[i]);
        assert_string_equal(part->kem ? part->kem->name : part->signature->name, names[i]);
    }
    assert_null(names[identity->part_count]);
    mmh_identity_destroy(identity);
    text_free(&text);
}

/* Keys that OpenSSL makes and writes in each of its ways are read, for what their kind can do. */
static void test_keys_of_openssl_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *type, *more, *names[3];
    } kinds[] = {
        { "RSA", NULL, { "rsa-pss", "rsa-oaep" } },
        { "EC", "P-256", { "ecdsa-p256" } },
        { "EC", "P-384", { "ecdsa-p384" } },
        { "EC", "P-521", { "ecdsa-p521" } },
        { "ED25519", NULL, { "ed25519" } },
        { "X25519", NULL, { "x25519" } },
        { "ML-KEM-768", NULL, { "ml-kem-768" } },
        { "ML-KEM-1024", NULL, { "ml-kem-1024" } },
        { "ML-DSA-44", NULL, { "ml-dsa-44" } },
        { "ML-DSA-65", NULL, { "ml-dsa-65" } },
        { "ML-DSA-87", NULL, { "ml-dsa-87" } },
        { "SLH-DSA-SHA2-128f", NULL, { "slh-dsa-sha2-128f" } },
    };
    for (size_t i = 0; i < MMH_COUNT_OF(kinds); i++) {
        EVP_PKEY *key = strcmp(kinds[i].type, "RSA") == 0
                          ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048)
                      : kinds[i].more ? EVP_PKEY_Q_keygen(NULL, NULL, kinds[i].type, kinds[i].more)
                                      : EVP_PKEY_Q_keygen(NULL, NULL, kinds[i].type);
        assert_non_null(key);
        BIO *bio = BIO_new(BIO_s_mem());
        assert_int_equal(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
        assert_reads(of_bio(bio), NULL, kinds[i].names);
        bio = BIO_new(BIO_s_mem());
        assert_int_equal(PEM_write_bio_PUBKEY(bio, key), 1);
        assert_reads(of_bio(bio), NULL, kinds[i].names);
        bio = BIO_new(BIO_s_mem()); /* PBES2 */
        assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, key, EVP_aes_256_cbc(), passphrase,
                                                       (int)strlen(passphrase), NULL, NULL),
                         1);
        assert_reads(of_bio(bio), passphrase, kinds[i].names);
        if (strcmp(kinds[i].type, "RSA") == 0 || kinds[i].more) {
            bio = BIO_new(BIO_s_mem());
            assert_int_equal(
                PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0, NULL, NULL), 1);
            assert_reads(of_bio(bio), NULL, kinds[i].names);
        }
        EVP_PKEY_free(key);
    }
}

/* A key of FIPS 203 or 204 without its seed, as older programs write it, does what one with it
 * does; but it is no half of a hybrid whose form is of seeds. */
static void test_expanded_keys_are_read(void **state)
{
    (void)state;
    static const char *const kinds[] = { "ML-KEM-768", "ML-KEM-1024", "ML-DSA-44", "ML-DSA-87" };
    for (size_t i = 0; i < MMH_COUNT_OF(kinds); i++) {
        static uint8_t expanded[8192];
        size_t bytes;
        mmh_identity *read, *again;
        EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, kinds[i]), *bare = NULL;
        assert_int_equal(
            EVP_PKEY_get_octet_string_param(key, "priv", expanded, sizeof expanded, &bytes), 1);
        OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_string("priv", expanded, bytes),
                                OSSL_PARAM_construct_end() };
        EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, kinds[i], NULL);
        assert_int_equal(EVP_PKEY_fromdata_init(context), 1);
        assert_int_equal(EVP_PKEY_fromdata(context, &bare, EVP_PKEY_KEYPAIR, params), 1);
        BIO *bio = BIO_new(BIO_s_mem());
        assert_int_equal(PEM_write_bio_PrivateKey(bio, bare, NULL, NULL, 0, NULL, NULL), 1);
        struct text text = of_bio(bio);
        assert_int_equal(parse(&read, text.data, text.bytes), MMH_OK);
        struct text written = write_with(read, true, NULL);
        assert_int_equal(parse(&again, written.data, written.bytes), MMH_OK);
        assert_same_key(&read->parts[0], &again->parts[0]);
        const struct mmh_key_part *part = &read->parts[0];
        if (part->kem) {
            uint8_t enc[MMH_KEM_ENC_BYTES_MAX], sent[MMH_KEM_SHARED_BYTES_MAX],
                got[MMH_KEM_SHARED_BYTES_MAX];
            size_t enc_bytes;
            assert_int_equal(part->secret_bytes, bytes);
            assert_int_equal(part->kem->encapsulate(enc, &enc_bytes, sent, part->public_key,
                                                    part->public_bytes, NULL),
                             MMH_OK);
            assert_int_equal(part->kem->decapsulate(got, enc, enc_bytes, part->secret_key,
                                                    part->secret_bytes, part->public_key,
                                                    part->public_bytes, NULL),
                             MMH_OK);
            assert_memory_equal(sent, got, part->kem->shared_bytes);
        }
        if (strcmp(kinds[i], "ML-KEM-768") == 0) {
            mmh_identity *other = make(NULL, "x25519");
            struct text half = write_with(other, true, NULL);
            char *both = malloc(text.bytes + half.bytes + 64);
            assert_non_null(both);
            snprintf(both, text.bytes + half.bytes + 64, "mmh key: decrypt x-wing\n%s%s", text.data,
                     strchr(half.data, '\n') + 1);
            assert_refused(both, MMH_E_KEY, "has no seed");
            free(both);
            text_free(&half);
            mmh_identity_destroy(other);
        }
        mmh_identity_destroy(again);
        mmh_identity_destroy(read);
        text_free(&written);
        text_free(&text);
        EVP_PKEY_CTX_free(context);
        EVP_PKEY_free(bare);
        EVP_PKEY_free(key);
    }
}

/* One key in other encodings has one fingerprint. */
static void test_an_ec_key_has_one_fingerprint(void **state)
{
    (void)state;
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    mmh_identity *plain, *compressed;
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PUBKEY(bio, key), 1);
    struct text text = of_bio(bio);
    assert_int_equal(parse(&plain, text.data, text.bytes), MMH_OK);
    text_free(&text);
    assert_int_equal(EVP_PKEY_set_utf8_string_param(key, "point-format", "compressed"), 1);
    bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PUBKEY(bio, key), 1);
    text = of_bio(bio);
    assert_int_equal(parse(&compressed, text.data, text.bytes), MMH_OK);
    text_free(&text);
    assert_memory_equal(plain->parts[0].fingerprint, compressed->parts[0].fingerprint, 32);
    mmh_identity_destroy(compressed);
    mmh_identity_destroy(plain);
    EVP_PKEY_free(key);
}

/* Curve given by its numbers: nothing is computed with those. */
static void test_curves_without_a_name_are_refused(void **state)
{
    (void)state;
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    assert_int_equal(EVP_PKEY_set_utf8_string_param(key, "encoding", "explicit"), 1);
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PUBKEY(bio, key), 1);
    struct text text = of_bio(bio);
    assert_refused(text.data, MMH_E_KEY, "named curve");
    text_free(&text);
    EVP_PKEY_free(key);
}

/* What is not used says so: small RSA keys, other curves, certificates, others' files. */
static void test_other_keys_are_refused_with_a_reason(void **state)
{
    (void)state;
    static const struct {
        const char *type, *more;
    } kinds[] = {
        { "EC", "secp256k1" }, { "ED448", NULL }, { "X448", NULL }, { "ML-KEM-512", NULL }
    };
    for (size_t i = 0; i < MMH_COUNT_OF(kinds); i++) {
        EVP_PKEY *key = kinds[i].more ? EVP_PKEY_Q_keygen(NULL, NULL, kinds[i].type, kinds[i].more)
                                      : EVP_PKEY_Q_keygen(NULL, NULL, kinds[i].type);
        BIO *bio = BIO_new(BIO_s_mem());
        assert_int_equal(PEM_write_bio_PUBKEY(bio, key), 1);
        struct text text = of_bio(bio);
        assert_refused(text.data, MMH_E_KEY, "of a kind that is not used here");
        text_free(&text);
        EVP_PKEY_free(key);
    }
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024);
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
    struct text text = of_bio(bio);
    assert_refused(text.data, MMH_E_KEY, "an RSA key of 1024 bits");
    text_free(&text);
    EVP_PKEY_free(key);

    assert_refused("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", MMH_E_KEY,
                   "openssl x509 -pubkey");
    assert_refused("-----BEGIN OPENSSH PRIVATE KEY-----\nMAA=\n-----END OPENSSH PRIVATE KEY-----\n",
                   MMH_E_KEY, "ssh-keygen -p -m PKCS8");
    assert_refused("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI alice\n", MMH_E_KEY, "ssh-keygen -e");
    assert_refused("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
                   "DEK-Info: AES-256-CBC,00\n\nMAA=\n-----END RSA PRIVATE KEY-----\n",
                   MMH_E_KEY, "openssl pkcs8 -topk8");
    assert_refused("-----BEGIN SOMETHING-----\nMAA=\n-----END SOMETHING-----\n", MMH_E_KEY,
                   "\"SOMETHING\"");
    assert_refused("0\x82\x01\x02", MMH_E_KEY, "DER, not PEM");
    assert_refused("", MMH_E_KEY, "no key in it");
    assert_refused("# nothing\n\n", MMH_E_KEY, "no key in it");
    assert_refused("nothing\n", MMH_E_KEY, "line 1");
}

/* ---- age ---- */

static void test_age_strings(void **state)
{
    (void)state;
    char text[MMH_BECH32_TEXT_MAX], file[2 * MMH_BECH32_TEXT_MAX];
    static const char *const kems[] = { "x25519", "x-wing" };
    static const char *const prefixes[] = { "age1", "age1pq1" };
    for (size_t i = 0; i < 2; i++) {
        mmh_identity *made = make(NULL, kems[i]), *read;
        assert_int_equal(mmh_age_recipient(text, &made->parts[0], NULL), MMH_OK);
        assert_memory_equal(text, prefixes[i], strlen(prefixes[i]));
        snprintf(file, sizeof file, "# a comment\r\n\r\n  %s \r\n", text);
        assert_int_equal(parse(&read, file, strlen(file)), MMH_OK);
        assert_int_equal(read->part_count, 1);
        assert_false(read->parts[0].secret);
        assert_memory_equal(read->parts[0].fingerprint, made->parts[0].fingerprint, 32);
        mmh_identity_destroy(read);
        /* No character of it can be another. */
        size_t length = strlen(text), step = i ? 61 : 1;
        for (size_t at = 0; at < length; at += step) {
            char had = text[at];
            text[at] = had == 'q' ? 'p' : 'q';
            assert_int_not_equal(parse(&read, text, length), MMH_OK);
            text[at] = (char)(had ^ 0x20); /* of another case */
            assert_int_not_equal(parse(&read, text, length), MMH_OK);
            text[at] = had;
            assert_int_not_equal(parse(&read, text, at), MMH_OK);
        }
        mmh_identity_destroy(made);
    }
    /* A secret one, of x25519: the scalar. */
    mmh_identity *made = make(NULL, "x25519"), *read;
    assert_true(
        mmh_bech32_encode(text, sizeof text, "AGE-SECRET-KEY-", made->parts[0].secret_key, 32));
    assert_int_equal(parse(&read, text, strlen(text)), MMH_OK);
    assert_same_key(&made->parts[0], &read->parts[0]);
    assert_true(read->parts[0].secret);
    mmh_identity_destroy(read);
    mmh_identity_destroy(made);
    /* Of x-wing: its seed. */
    uint8_t seed[32] = { 7 }, expanded[MMH_X_WING_SECRET_BYTES];
    assert_int_equal(mmh_x_wing_expand(expanded, seed, NULL), MMH_OK);
    assert_true(mmh_bech32_encode(text, sizeof text, "AGE-SECRET-KEY-PQ-", seed, 32));
    assert_int_equal(parse(&read, text, strlen(text)), MMH_OK);
    assert_memory_equal(read->parts[0].secret_key, expanded, sizeof expanded);
    mmh_identity_destroy(read);
    assert_refused("age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t\n",
                   MMH_E_KEY, "age string");
}

/* BIP 173's own. */
static void test_bech32_is_that_of_bip_173(void **state)
{
    (void)state;
    static const char *const good[] = {
        "A12UEL5L",
        "a12uel5l",
        "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw",
        "?1ezyfcl",
    };
    static const char *const wrong[] = {
        "pzry9x0s0muk", "1pzry9x0s0muk", "x1b4n0q5v", "li1dgmt3", "A1G7SGD8",
        "10a06t8",      "1qzzfhee",      "a12UEL5L",  "",
    };
    char prefix[MMH_BECH32_PREFIX_MAX], text[128];
    uint8_t data[64];
    size_t bytes;
    for (size_t i = 0; i < MMH_COUNT_OF(good); i++) {
        assert_true(mmh_bech32_decode(prefix, data, sizeof data, &bytes, good[i], strlen(good[i])));
        assert_true(mmh_bech32_encode(text, sizeof text, prefix, data, bytes));
        assert_string_equal(text, good[i]);
    }
    for (size_t i = 0; i < MMH_COUNT_OF(wrong); i++)
        assert_false(
            mmh_bech32_decode(prefix, data, sizeof data, &bytes, wrong[i], strlen(wrong[i])));
}

/* ---- passphrases ---- */

static void test_wrong_passphrases_open_nothing(void **state)
{
    (void)state;
    mmh_identity *identity = make("ed25519", "x25519"), *back;
    mmh_error err = { 0 };
    struct text text = write_with(identity, true, passphrase);
    assert_int_equal(parse_with(&back, text.data, text.bytes, "correct horsf", &err), MMH_E_KEY);
    assert_non_null(strstr(err.message, "passphrase is wrong"));
    assert_int_equal(parse_with(&back, text.data, text.bytes, "", NULL), MMH_E_KEY);
    memset(&err, 0, sizeof err);
    assert_int_equal(parse_with(&back, text.data, text.bytes, NULL, &err), MMH_E_KEY);
    assert_non_null(strstr(err.message, "is encrypted"));
    /* What is written with an empty one needs it. */
    struct text empty = write_with(identity, true, "");
    assert_int_equal(parse_with(&back, empty.data, empty.bytes, passphrase, NULL), MMH_E_KEY);
    assert_int_equal(parse_with(&back, empty.data, empty.bytes, "", NULL), MMH_OK);
    mmh_identity_destroy(back);
    text_free(&empty);
    /* Nothing stands beside it. */
    char *more = malloc(2 * text.bytes);
    assert_non_null(more);
    memcpy(more, text.data, text.bytes);
    memcpy(more + text.bytes, text.data, text.bytes);
    assert_int_equal(parse_with(&back, more, 2 * text.bytes, passphrase, NULL), MMH_E_KEY);
    free(more);
    text_free(&text);
    mmh_identity_destroy(identity);
}

/* A file cannot make us work without end: costs are judged before anything is computed. */
static void test_costs_are_bounded(void **state)
{
    (void)state;
    uint8_t sealed[41 + 16 + 8] = { 1 };
    struct mmh_secret_text text = { 0 };
    mmh_identity *back;
    mmh_error err = { 0 };
    mmh_store32(sealed + 1, UINT32_MAX);
    mmh_store32(sealed + 5, 3);
    mmh_store32(sealed + 9, 4);
    mmh_pem_write(&text, MMH_SEALED_LABEL, sealed, sizeof sealed);
    assert_int_equal(parse_with(&back, text.data, text.bytes, passphrase, &err), MMH_E_KEY);
    assert_non_null(strstr(err.message, "KiB"));
    mmh_secret_text_release(&text);

    /* PBKDF2 with 2^31 - 1 passes, and scrypt with N = 2^30. */
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
    uint8_t *der = NULL;
    int bytes = i2d_PKCS8_PRIV_KEY_INFO(info, &der);
    assert_true(bytes > 0);
    for (unsigned i = 0; i < 2; i++) {
        uint8_t salt[16] = { 1 };
        X509_ALGOR *algorithm =
            i ? PKCS5_pbe2_set_scrypt(EVP_aes_256_cbc(), salt, 16, NULL, 1 << 14, 8, 1)
              : PKCS5_pbe2_set_iv(EVP_aes_256_cbc(), 1000, salt, 16, NULL, NID_hmacWithSHA256);
        assert_non_null(algorithm);
        X509_SIG *good = PKCS8_set0_pbe(passphrase, (int)strlen(passphrase), info,
                                        X509_ALGOR_dup(algorithm));
        assert_non_null(good);
        uint8_t *good_der = NULL;
        int good_bytes = i2d_X509_SIG(good, &good_der);
        assert_true(good_bytes > 0);
        mmh_pem_write(&text, "ENCRYPTED PRIVATE KEY", good_der, (size_t)good_bytes);
        assert_int_equal(parse_with(&back, text.data, text.bytes, passphrase, NULL), MMH_OK);
        mmh_identity_destroy(back);
        mmh_secret_text_release(&text);
        OPENSSL_free(good_der);
        X509_SIG_free(good);
        PBE2PARAM *pbe = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBE2PARAM), algorithm->parameter);
        X509_ALGOR *kdf = pbe->keyfunc;
        if (i) {
            SCRYPT_PARAMS *cost = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(SCRYPT_PARAMS),
                                                            kdf->parameter);
            assert_int_equal(ASN1_INTEGER_set(cost->costParameter, 1 << 30), 1);
            assert_non_null(
                ASN1_TYPE_pack_sequence(ASN1_ITEM_rptr(SCRYPT_PARAMS), cost, &kdf->parameter));
            SCRYPT_PARAMS_free(cost);
        } else {
            PBKDF2PARAM *cost = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBKDF2PARAM),
                                                          kdf->parameter);
            assert_int_equal(ASN1_INTEGER_set(cost->iter, INT32_MAX), 1);
            assert_non_null(
                ASN1_TYPE_pack_sequence(ASN1_ITEM_rptr(PBKDF2PARAM), cost, &kdf->parameter));
            PBKDF2PARAM_free(cost);
        }
        assert_non_null(
            ASN1_TYPE_pack_sequence(ASN1_ITEM_rptr(PBE2PARAM), pbe, &algorithm->parameter));
        PBE2PARAM_free(pbe);
        X509_SIG *whole = X509_SIG_new();
        X509_ALGOR *to;
        ASN1_OCTET_STRING *content;
        X509_SIG_getm(whole, &to, &content);
        assert_int_equal(X509_ALGOR_copy(to, algorithm), 1);
        assert_int_equal(ASN1_OCTET_STRING_set(content, der, bytes), 1);
        uint8_t *out = NULL;
        int out_bytes = i2d_X509_SIG(whole, &out);
        assert_true(out_bytes > 0);
        mmh_pem_write(&text, "ENCRYPTED PRIVATE KEY", out, (size_t)out_bytes);
        memset(&err, 0, sizeof err);
        assert_int_equal(parse_with(&back, text.data, text.bytes, passphrase, &err), MMH_E_KEY);
        assert_non_null(strstr(err.message, "in a way that is not read"));
        mmh_secret_text_release(&text);
        OPENSSL_free(out);
        X509_SIG_free(whole);
        X509_ALGOR_free(algorithm);
    }
    OPENSSL_free(der);
    PKCS8_PRIV_KEY_INFO_free(info);
    EVP_PKEY_free(key);
}

/* ---- hybrids ---- */

/* The blocks of a text, one after another; the header line first. */
static size_t split(char *text, char *pieces[], size_t room)
{
    size_t count = 0;
    pieces[count++] = text;
    for (char *at = strstr(text, "-----BEGIN"); at; at = strstr(at + 1, "-----BEGIN")) {
        assert_true(count < room);
        pieces[count++] = at;
    }
    return count;
}

/* Half of a hybrid is no key of the hybrid; without the line it is one by itself. */
static void test_half_a_hybrid_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *signature, *kem;
    } kinds[] = {
        { "ml-dsa-65-ed25519", NULL },      { "ml-dsa-87-ecdsa-p384", NULL },  { NULL, "x-wing" },
        { NULL, "mceliece460896f-x25519" }, { "ml-dsa-44-ed25519", "x-wing" },
    };
    for (size_t i = 0; i < MMH_COUNT_OF(kinds); i++) {
        if (kinds[i].kem && !mmh_kem_by_name(kinds[i].kem))
            continue;
        mmh_identity *identity = make(kinds[i].signature, kinds[i].kem), *back;
        for (unsigned secret = 0; secret < 2; secret++) {
            struct text text = write_with(identity, secret != 0, NULL);
            char *pieces[8], *without = malloc(text.bytes + 1);
            assert_non_null(without);
            size_t count = split(text.data, pieces, MMH_COUNT_OF(pieces));
            for (size_t missing = 1; missing < count; missing++) {
                size_t before = (size_t)(pieces[missing] - text.data);
                size_t after = missing + 1 < count ? (size_t)(pieces[missing + 1] - text.data)
                                                   : text.bytes;
                memcpy(without, text.data, before);
                memcpy(without + before, text.data + after, text.bytes - after);
                assert_int_equal(parse(&back, without, before + text.bytes - after), MMH_E_KEY);
                /* Twice the one is not both. */
                memcpy(without, text.data, text.bytes);
                assert_int_equal(parse(&back, without, after),
                                 after == text.bytes ? MMH_OK : MMH_E_KEY);
                mmh_identity_destroy(back);
            }
            free(without);
            text_free(&text);
        }
        mmh_identity_destroy(identity);
    }
}

static void test_blocks_beyond_the_line_are_refused(void **state)
{
    (void)state;
    mmh_identity *identity = make("ed25519", NULL), *back;
    struct text text = write_with(identity, false, NULL);
    char *pieces[2];
    assert_int_equal(split(text.data, pieces, 2), 2);
    char *more = malloc(2 * text.bytes);
    assert_non_null(more);
    snprintf(more, 2 * text.bytes, "%s%s", text.data, pieces[1]);
    assert_int_equal(parse(&back, more, strlen(more)), MMH_E_KEY);
    free(more);
    text_free(&text);
    mmh_identity_destroy(identity);
    assert_refused("mmh key: sign ed25519\n", MMH_E_KEY, "has none");
    assert_refused("mmh key:\n", MMH_E_KEY, "\"sign\" or \"decrypt\"");
    assert_refused("mmh key: sign ed25519, sign ed25519\n", MMH_E_KEY, "two keys");
    assert_refused("mmh key: sign rot13\n", MMH_E_UNSUPPORTED, "rot13");
    assert_refused("mmh key: decrypt ed25519\n", MMH_E_UNSUPPORTED, "ed25519");
    assert_refused("mmh key: verify ed25519\n", MMH_E_KEY, "line 1");
}

/* A line that says another algorithm than the key's. */
static void test_algorithms_are_not_confused(void **state)
{
    (void)state;
    static const char *const signatures[] = {
        "ed25519",           "ecdsa-p256",        "ecdsa-p384",
        "rsa-pss",           "ml-dsa-44",         "ml-dsa-65",
        "slh-dsa-sha2-128f", "ml-dsa-65-ed25519", "ml-dsa-65-ecdsa-p256"
    };
    static struct signed_text signature;
    for (size_t i = 0; i < MMH_COUNT_OF(signatures); i++) {
        mmh_identity *identity = make(signatures[i], NULL), *back;
        struct text text = write_with(identity, true, NULL);
        char *pieces[4], *other = malloc(text.bytes + 64);
        assert_non_null(other);
        (void)split(text.data, pieces, 4);
        for (size_t j = 0; j < MMH_COUNT_OF(signatures); j++) {
            snprintf(other, text.bytes + 64, "mmh key: sign %s\n%s", signatures[j], pieces[1]);
            assert_int_equal(parse(&back, other, strlen(other)), i == j ? MMH_OK : MMH_E_KEY);
            mmh_identity_destroy(back);
            /* And a signature of another algorithm's key is wrong. */
            if (i != j) {
                mmh_identity *stranger = make(signatures[j], NULL);
                sign(&signature, &stranger->parts[0]);
                assert_int_equal(verify(&identity->parts[0], &signature), MMH_E_UNTRUSTED);
                mmh_identity_destroy(stranger);
            }
        }
        free(other);
        text_free(&text);
        mmh_identity_destroy(identity);
    }
}

/* ---- signatures ---- */

/* No half of a composite signature is one by itself, nor can a signature of a component be its
 * half. */
static void test_halves_of_composites_are_not_reused(void **state)
{
    (void)state;
    static struct signed_text whole, half, forged;
    for (size_t i = 0; i < mmh_signature_count(); i++) {
        const struct mmh_signature *algorithm = mmh_signature_at(i);
        if (!algorithm->second)
            continue;
        mmh_identity *identity = make(algorithm->name, NULL), *halves;
        const struct mmh_key_part *part = &identity->parts[0];
        assert_int_equal(mmh_identity_create(&halves, NULL, NULL), MMH_OK);
        for (size_t j = 0; j < mmh_signature_count(); j++) {
            const struct mmh_signature *alone = mmh_signature_at(j);
            if (!alone->second && mmh_component_is(part->first, alone->first))
                assert_int_equal(
                    mmh_identity_add_signature(halves, alone, part->first, NULL, true, NULL),
                    MMH_OK);
        }
        for (size_t j = 0; j < mmh_signature_count(); j++) {
            const struct mmh_signature *alone = mmh_signature_at(j);
            if (!alone->second && mmh_component_is(part->second, alone->first))
                assert_int_equal(
                    mmh_identity_add_signature(halves, alone, part->second, NULL, true, NULL),
                    MMH_OK);
        }
        assert_int_equal(halves->part_count, 2);
        sign(&whole, part);
        size_t first_bytes = halves->parts[0].signature->signature_bytes;
        /* The halves of it, as signatures of their own. */
        memcpy(half.data, whole.data, half.bytes = first_bytes);
        assert_int_equal(verify(&halves->parts[0], &half), MMH_E_UNTRUSTED);
        memcpy(half.data, whole.data + first_bytes, half.bytes = whole.bytes - first_bytes);
        assert_int_equal(verify(&halves->parts[1], &half), MMH_E_UNTRUSTED);
        /* Signatures of the components, put together; one of them right. */
        sign(&half, &halves->parts[0]);
        memcpy(forged.data, half.data, half.bytes);
        memcpy(forged.data + first_bytes, whole.data + first_bytes, whole.bytes - first_bytes);
        forged.bytes = whole.bytes;
        assert_int_equal(verify(part, &forged), MMH_E_UNTRUSTED);
        sign(&half, &halves->parts[1]);
        memcpy(forged.data, whole.data, first_bytes);
        memcpy(forged.data + first_bytes, half.data, half.bytes);
        forged.bytes = first_bytes + half.bytes;
        assert_int_equal(verify(part, &forged), MMH_E_UNTRUSTED);
        /* One half alone, and none. */
        memcpy(forged.data, whole.data, forged.bytes = first_bytes);
        assert_int_equal(verify(part, &forged), MMH_E_UNTRUSTED);
        forged.bytes = 0;
        assert_int_equal(verify(part, &forged), MMH_E_UNTRUSTED);
        assert_int_equal(verify(part, &whole), MMH_OK);
        mmh_identity_destroy(halves);
        mmh_identity_destroy(identity);
    }
}

/* Each byte of a signature counts, and so do its length, the message and the context. */
static void test_every_byte_of_a_signature_counts(void **state)
{
    (void)state;
    static struct signed_text signature;
    for (size_t i = 0; i < mmh_signature_count(); i++) {
        const struct mmh_signature *algorithm = mmh_signature_at(i);
        bool slh = strncmp(algorithm->name, "slh-dsa", 7) == 0;
        if (slh && strcmp(algorithm->name, "slh-dsa-sha2-128f") != 0 &&
            strcmp(algorithm->name, "slh-dsa-shake-192f") != 0)
            continue;
        mmh_identity *identity = make(algorithm->name, NULL);
        const struct mmh_key_part *part = &identity->parts[0];
        sign(&signature, part);
        /* Some milliseconds each: a prime step meets all of the tree's levels. */
        for (size_t at = 0; at < signature.bytes; at += slh ? 211 : 1) {
            signature.data[at] ^= 0x40;
            if (verify(part, &signature) != MMH_E_UNTRUSTED)
                fail_msg("%s: byte %zu does not count", algorithm->name, at);
            signature.data[at] ^= 0x40;
        }
        assert_int_equal(verify(part, &signature), MMH_OK);
        signature.bytes--;
        assert_int_equal(verify(part, &signature), MMH_E_UNTRUSTED);
        signature.bytes += 2;
        signature.data[signature.bytes - 1] = 0;
        assert_int_equal(verify(part, &signature), MMH_E_UNTRUSTED);
        signature.bytes--;
        assert_int_equal(mmh_signature_verify(part, signature.data, signature.bytes, message,
                                              sizeof message - 1, "mmh", 3, NULL),
                         MMH_E_UNTRUSTED);
        bool has_context = algorithm->post_quantum;
        assert_int_equal(mmh_signature_verify(part, signature.data, signature.bytes, message,
                                              sizeof message, "mmi", 3, NULL),
                         has_context ? MMH_E_UNTRUSTED : MMH_OK);
        /* Another key of the kind. */
        mmh_identity *stranger = make(algorithm->name, NULL);
        assert_int_equal(verify(&stranger->parts[0], &signature), MMH_E_UNTRUSTED);
        mmh_identity_destroy(stranger);
        mmh_identity_destroy(identity);
    }
}

static void test_keys_do_what_they_are_for(void **state)
{
    (void)state;
    static struct signed_text signature;
    static char long_context[256];
    mmh_identity *identity = make("ed25519", "x25519"), *public;
    struct text text = write_with(identity, false, NULL);
    assert_int_equal(parse(&public, text.data, text.bytes), MMH_OK);
    assert_int_equal(mmh_signature_sign(signature.data, &signature.bytes, &public->parts[0],
                                        message, sizeof message, NULL, 0, NULL),
                     MMH_E_KEY);
    assert_int_equal(mmh_signature_sign(signature.data, &signature.bytes, &identity->parts[1],
                                        message, sizeof message, NULL, 0, NULL),
                     MMH_E_KEY);
    assert_int_equal(mmh_signature_verify(&identity->parts[1], signature.data, 0, message,
                                          sizeof message, NULL, 0, NULL),
                     MMH_E_KEY);
    assert_int_equal(mmh_signature_sign(signature.data, &signature.bytes, &identity->parts[0],
                                        message, sizeof message, long_context, 256, NULL),
                     MMH_E_USAGE);
    char *secret;
    size_t bytes;
    assert_int_equal(mmh_identity_write(&secret, &bytes, public, true, NULL, 0, NULL), MMH_E_USAGE);
    mmh_identity_destroy(public);
    text_free(&text);
    mmh_identity_destroy(identity);
}

/* ---- damaged files ---- */

/* Whether a public file that was changed gives what it was written of: how it is written was
 * changed, not the key (the unused bits of a BIT STRING). */
static bool is_written_as(const mmh_identity *identity, const struct text *expected)
{
    struct text text = write_with(identity, false, NULL);
    bool same = text.bytes == expected->bytes && memcmp(text.data, expected->data, text.bytes) == 0;
    text_free(&text);
    return same;
}

/*
 * Any byte of a file changed: no crash, and no other key with its fingerprint. A secret key that
 * keeps it (the version in PKCS#8 was changed) signs as before. A KEM's has bits that its public
 * key does not depend on: those that X25519 sets itself, and ML-KEM's for wrong ciphertexts.
 */
static void flip(const char *signature, const char *kem, bool secret, size_t step)
{
    static const uint8_t changes[] = { 0x01, 0x02, 0x04, 0x20, 0x80, 0xff };
    mmh_identity *identity = make(signature, kem), *back;
    struct text text = write_with(identity, secret, NULL),
                changed = write_with(identity, secret, NULL);
    for (size_t at = 0; at < text.bytes; at += step)
        for (size_t c = 0; c < sizeof changes; c++) {
            changed.data[at] = (char)(text.data[at] ^ changes[c]);
            mmh_status status = parse(&back, changed.data, changed.bytes);
            if (status == MMH_OK) {
                bool same = back->part_count == identity->part_count;
                for (size_t p = 0; same && p < back->part_count; p++)
                    same = memcmp(back->parts[p].fingerprint, identity->parts[p].fingerprint, 32) ==
                           0;
                if (same && !secret && !is_written_as(back, &text))
                    fail_msg("%s: byte %zu ^ %u is of no matter", signature ? signature : kem, at,
                             changes[c]);
                if (same && secret && signature)
                    assert_same_key(&identity->parts[0], &back->parts[0]);
            } else
                assert_true(status == MMH_E_KEY || status == MMH_E_UNSUPPORTED);
            mmh_identity_destroy(back);
            changed.data[at] = text.data[at];
        }
    for (size_t bytes = 0; bytes < text.bytes - 1; bytes++) /* the last newline may go */
        assert_int_not_equal(parse(&back, text.data, bytes), MMH_OK);
    text_free(&changed);
    text_free(&text);
    mmh_identity_destroy(identity);
}

static void test_every_byte_of_a_file_counts(void **state)
{
    (void)state;
    flip("ed25519", NULL, false, 1);
    flip("ed25519", NULL, true, 1);
    flip("ecdsa-p256", NULL, false, 1);
    flip("ecdsa-p256", NULL, true, 1);
    flip(NULL, "x25519", false, 1);
    flip("ml-dsa-44-ed25519", NULL, true, 1);
    flip(NULL, "x-wing", true, 1);
    flip("slh-dsa-sha2-128f", NULL, true, 3);
    flip(NULL, "ml-kem-768", false, 7);
    flip("ml-dsa-44", NULL, false, 7);
}

/* Composite keys in one block, as the draft has them. */
static void test_composites_in_one_block(void **state)
{
    (void)state;
    for (size_t i = 0; i < mmh_signature_count(); i++) {
        const struct mmh_signature *algorithm = mmh_signature_at(i);
        uint8_t *der;
        size_t bytes;
        struct mmh_secret_text text = { 0 };
        if (!algorithm->second)
            continue;
        mmh_identity *identity = make(algorithm->name, NULL), *back;
        assert_int_equal(mmh_key_part_public_der(&der, &bytes, &identity->parts[0], NULL), MMH_OK);
        mmh_pem_write(&text, "PUBLIC KEY", der, bytes);
        assert_int_equal(parse(&back, text.data, text.bytes), MMH_OK);
        assert_int_equal(back->part_count, 1);
        assert_same_key(&identity->parts[0], &back->parts[0]);
        mmh_identity_destroy(back);
        mmh_secret_text_release(&text);
        mmh_secret_free(der, bytes);
        mmh_identity_destroy(identity);
    }
}

static void test_memory_may_run_out(void **state)
{
    (void)state;
    mmh_identity *identity = make("ed25519", "x-wing"), *back = NULL;
    struct text text = write_with(identity, true, NULL);
    bool done = false;
    for (size_t n = 0; !done; n++) {
        allocations_left = n;
        mmh_status status = mmh_identity_parse(&back, text.data, text.bytes, "test.key", NULL, NULL,
                                               &counting, NULL);
        done = status == MMH_OK;
        if (!done) {
            assert_int_equal(status, MMH_E_MEMORY);
            assert_null(back);
            assert_int_equal(allocated, 0);
        }
        assert_true(n < 1000);
    }
    allocations_left = SIZE_MAX;
    mmh_identity_destroy(back);
    assert_int_equal(allocated, 0);
    done = false;
    for (size_t n = 0; !done; n++) {
        allocations_left = n;
        mmh_status status = mmh_identity_generate(&back, "ml-dsa-44", "x25519", 0, &counting, NULL);
        done = status == MMH_OK;
        if (!done) {
            assert_int_equal(status, MMH_E_MEMORY);
            assert_int_equal(allocated, 0);
        }
    }
    allocations_left = SIZE_MAX;
    mmh_identity_destroy(back);
    assert_int_equal(allocated, 0);
    text_free(&text);
    mmh_identity_destroy(identity);
}

/* ---- include/mmh.h ---- */

static void test_files_of_keys(void **state)
{
    (void)state;
    mmh_key *key, *back;
    mmh_error err = { 0 };
    mmh_key_info info = { .struct_size = sizeof info }, other = { .struct_size = sizeof other };
    struct stat about;
    assert_int_equal(mmh_key_generate(&key, NULL, 0, NULL), MMH_OK);
    assert_int_equal(mmh_key_part(key, 0, &info, NULL), MMH_OK);
    assert_string_equal(info.algorithm, "ml-dsa-65-ed25519");
    assert_true(info.signs && info.secret && info.classical && info.post_quantum);
    assert_int_equal(info.nist_category, 3);
    assert_int_equal(mmh_key_part(key, 1, &other, NULL), MMH_OK);
    assert_string_equal(other.algorithm, "x-wing");
    assert_false(other.signs);
    assert_int_equal(mmh_key_part(key, 2, &other, NULL), MMH_E_USAGE);

    mode_t had = umask(0);
    if (mmh_key_write(key, at("a.key"), true, NULL, 0, false, &err) != MMH_OK)
        fail_msg("%s", err.message);
    assert_int_equal(mmh_key_write(key, at("a.pub"), false, NULL, 0, false, NULL), MMH_OK);
    umask(had);
    assert_int_equal(stat(at("a.key"), &about), 0);
    assert_int_equal(about.st_mode & 07777, 0600);
    assert_int_equal(stat(at("a.pub"), &about), 0);
    assert_int_equal(about.st_mode & 07777, 0644);
    assert_int_equal(mmh_key_write(key, at("a.key"), true, NULL, 0, false, NULL), MMH_E_USAGE);
    assert_int_equal(
        mmh_key_write(key, at("a.key"), true, passphrase, strlen(passphrase), true, NULL), MMH_OK);
    assert_int_equal(stat(at("a.key"), &about), 0);
    assert_int_equal(about.st_mode & 07777, 0600);
    assert_int_equal(mmh_key_read(&back, at("a.key"), NULL, NULL, NULL), MMH_E_KEY);
    assert_int_equal(mmh_key_read(&back, at("a.key"), ask, (void *)(uintptr_t)passphrase, NULL),
                     MMH_OK);
    assert_int_equal(mmh_key_part(back, 0, &other, NULL), MMH_OK);
    assert_memory_equal(other.fingerprint, info.fingerprint, 32);
    mmh_key_destroy(back);
    assert_int_equal(mmh_key_read(&back, at("a.pub"), NULL, NULL, NULL), MMH_OK);
    assert_int_equal(mmh_key_part(back, 0, &other, NULL), MMH_OK);
    assert_false(other.secret);
    assert_int_equal(mmh_key_write(back, at("b.key"), true, NULL, 0, false, NULL), MMH_E_USAGE);
    assert_int_equal(stat(at("b.key"), &about), -1);
    mmh_key_destroy(back);
    mmh_key_destroy(key);

    assert_int_equal(mmh_key_read(&back, at("missing.key"), NULL, NULL, &err), MMH_E_IO);
    assert_null(back);
    FILE *file = fopen(at("large.key"), "wb");
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), (16 << 20) + 1), 0);
    fclose(file);
    memset(&err, 0, sizeof err);
    assert_int_equal(mmh_key_read(&back, at("large.key"), NULL, NULL, &err), MMH_E_KEY);
    assert_non_null(strstr(err.message, "too large"));

    assert_int_equal(mmh_key_generate(&key, "ed25519,ml-dsa-44", 0, NULL), MMH_E_USAGE);
    assert_int_equal(mmh_key_generate(&key, "rot13", 0, NULL), MMH_E_USAGE);
    assert_int_equal(mmh_key_generate(&key, "", 0, NULL), MMH_E_USAGE);
    assert_int_equal(mmh_key_generate(&key, "x25519,", 0, NULL), MMH_E_USAGE);
    assert_int_equal(mmh_key_generate(&key, "rsa-pss", 1024, NULL), MMH_E_USAGE);
    assert_int_equal(mmh_key_generate(&key, "rsa-pss", 2048, NULL), MMH_OK);
    assert_int_equal(mmh_key_part(key, 0, &info, NULL), MMH_OK);
    assert_int_equal(info.bits, 2048);
    mmh_key_destroy(key);
    size_t count = 0;
    while (mmh_algorithm(count, &info, NULL) == MMH_OK)
        count++;
    assert_int_equal(count, mmh_signature_count() + mmh_kem_count());
}

/* ---- secrets ---- */

struct secret {
    const char *what;
    uint8_t data[64];
    size_t bytes;
};

/* Whether memory that can be written to, but for the stack and what is searched for, has a secret
 * in it. -1: this system does not show it. */
static int is_in_memory(const struct secret *secret)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    int memory = open("/proc/self/mem", O_RDONLY), found = 0;
    char line[512];
    if (!maps || memory < 0) {
        if (maps)
            fclose(maps);
        if (memory >= 0)
            close(memory);
        return -1;
    }
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        char access[8];
        static uint8_t piece[1 << 16];
        if (sscanf(line, "%lx-%lx %7s", &from, &to, access) != 3 || access[0] != 'r' ||
            access[1] != 'w' || strstr(line, "[stack]") || to - from > (256UL << 20))
            continue;
        for (unsigned long at = from; at < to; at += sizeof piece - 64) {
            ssize_t got = pread(memory, piece, MMH_MIN(sizeof piece, to - at), (off_t)at);
            for (ssize_t i = 0; i + (ssize_t)secret->bytes <= got; i++) {
                uintptr_t where = at + (uintptr_t)i;
                bool own = where >= (uintptr_t)piece && where < (uintptr_t)piece + sizeof piece;
                own |= where == (uintptr_t)secret->data;
                if (piece[i] == secret->data[0] && !own &&
                    memcmp(piece + i, secret->data, secret->bytes) == 0)
                    found++;
            }
        }
    }
    memset(line, 0, sizeof line);
    close(memory);
    fclose(maps);
    return found;
}

/* What was secret in memory is not there any more once it is released: keys, their text,
 * passphrases. */
static void test_secrets_are_wiped(void **state)
{
    (void)state;
    static struct secret secrets[6];
    mmh_identity *identity = make("ml-dsa-65-ed25519", "x-wing"), *back;
    const struct mmh_key_part *part = &identity->parts[0];
    struct text text = write_with(identity, true, NULL);
    secrets[0] = (struct secret){ .what = "ML-DSA's seed" };
    assert_int_equal(EVP_PKEY_get_octet_string_param(part->first, "seed", secrets[0].data, 64,
                                                     &secrets[0].bytes),
                     1);
    secrets[1] = (struct secret){ .what = "Ed25519's key", .bytes = 64 };
    assert_int_equal(EVP_PKEY_get_octet_string_param(part->second, "priv", secrets[1].data, 64,
                                                     &secrets[1].bytes),
                     1);
    secrets[2] = (struct secret){ .what = "ML-KEM's seed", .bytes = 64 };
    memcpy(secrets[2].data, identity->parts[1].secret_key, 64);
    secrets[3] = (struct secret){ .what = "X25519's scalar", .bytes = 32 };
    memcpy(secrets[3].data, identity->parts[1].secret_key + 64, 32);
    secrets[4] = (struct secret){ .what = "base64", .bytes = 40 };
    memcpy(secrets[4].data, strstr(text.data, "PRIVATE KEY-----\n") + 17 + 24, 40);
    secrets[5] = (struct secret){ .what = "a passphrase", .bytes = 14 };
    for (size_t i = 0; i < 14; i++)
        secrets[5].data[i] = (uint8_t)("kcivrdqcvvgta3"[i] - 2);
    int found = is_in_memory(&secrets[2]);
    if (found < 0) {
        mmh_identity_destroy(identity);
        text_free(&text);
        skip();
    }
    /* The search finds what is there. */
    assert_true(found > 0);
    assert_true(is_in_memory(&secrets[3]) > 0);
    assert_true(is_in_memory(&secrets[4]) > 0);

    char *given = mmh_secret_alloc(16);
    memcpy(given, secrets[5].data, 14);
    struct text sealed = write_with(identity, true, given);
    assert_int_equal(parse_with(&back, sealed.data, sealed.bytes, given, NULL), MMH_OK);
    static struct signed_text signature;
    sign(&signature, &back->parts[0]);
    mmh_identity_destroy(back);
    text_free(&sealed);
    assert_true(is_in_memory(&secrets[5]) > 0);
    mmh_secret_free(given, 16);
    assert_int_equal(
        mmh_identity_parse(&back, text.data, text.bytes, "test.key", NULL, NULL, NULL, NULL),
        MMH_OK);
    mmh_identity_destroy(back);
    text_free(&text);
    mmh_identity_destroy(identity);
    for (size_t i = 0; i < MMH_COUNT_OF(secrets); i++)
        if (is_in_memory(&secrets[i]))
            fail_msg("%s is still in memory", secrets[i].what);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_signature_key_returns),
        cmocka_unit_test(test_every_kem_key_returns),
        cmocka_unit_test(test_identities_return),
        cmocka_unit_test(test_files_can_be_joined),
        cmocka_unit_test(test_fingerprints_are_stable),
        cmocka_unit_test(test_keys_of_openssl_are_read),
        cmocka_unit_test(test_expanded_keys_are_read),
        cmocka_unit_test(test_an_ec_key_has_one_fingerprint),
        cmocka_unit_test(test_curves_without_a_name_are_refused),
        cmocka_unit_test(test_other_keys_are_refused_with_a_reason),
        cmocka_unit_test(test_age_strings),
        cmocka_unit_test(test_bech32_is_that_of_bip_173),
        cmocka_unit_test(test_wrong_passphrases_open_nothing),
        cmocka_unit_test(test_costs_are_bounded),
        cmocka_unit_test(test_half_a_hybrid_is_refused),
        cmocka_unit_test(test_blocks_beyond_the_line_are_refused),
        cmocka_unit_test(test_algorithms_are_not_confused),
        cmocka_unit_test(test_halves_of_composites_are_not_reused),
        cmocka_unit_test(test_every_byte_of_a_signature_counts),
        cmocka_unit_test(test_keys_do_what_they_are_for),
        cmocka_unit_test(test_every_byte_of_a_file_counts),
        cmocka_unit_test(test_composites_in_one_block),
        cmocka_unit_test(test_memory_may_run_out),
        cmocka_unit_test(test_files_of_keys),
        cmocka_unit_test(test_secrets_are_wiped),
    };
    return cmocka_run_group_tests_name("keys", tests, scratch_make, scratch_remove);
}
