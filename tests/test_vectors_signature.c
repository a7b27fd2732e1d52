/*
 * Published vectors of what signs: Ed25519, ECDSA, ML-DSA, SLH-DSA, and the LAMPS composites.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * They are read from $MMH_SHARED/vectors; without it nothing is run, and that is told. For each
 * file it prints how many were run, and how many were not, and why. Keys go the way of all keys: as
 * PEM.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/x509.h>

#include "base/bits.h"
#include "crypto/key_private.h"
#include "crypto/pem.h"
#include "crypto/secret.h"
#include "vector_file.h"

static struct vector_count count;

static void count_begin(const char *file, const char *why)
{
    count = (struct vector_count){ .file = file, .why = why };
}

/* ---- keys ---- */

/* NULL: it is refused. */
static mmh_identity *key_of_der(bool secret, struct blob der)
{
    struct mmh_secret_text text = { 0 };
    mmh_identity *identity;
    mmh_pem_write(&text, secret ? "PRIVATE KEY" : "PUBLIC KEY", der.data, der.bytes);
    (void)mmh_identity_parse(&identity, text.data, text.bytes, "vector", NULL, NULL, NULL, NULL);
    mmh_secret_text_release(&text);
    return identity;
}

/* One DER element around another. */
static struct blob der_wrap(uint8_t tag, struct blob content)
{
    struct blob out = { vector_memory(content.bytes + 4), 0 };
    out.data[out.bytes++] = tag;
    assert_true(content.bytes < 65536);
    if (content.bytes > 255) {
        out.data[out.bytes++] = 0x82;
        out.data[out.bytes++] = (uint8_t)(content.bytes >> 8);
    } else if (content.bytes > 127)
        out.data[out.bytes++] = 0x81;
    out.data[out.bytes++] = (uint8_t)content.bytes;
    memcpy(out.data + out.bytes, content.data, content.bytes);
    out.bytes += content.bytes;
    return out;
}

static struct blob join(struct blob a, struct blob b)
{
    struct blob out = { vector_memory(a.bytes + b.bytes), a.bytes + b.bytes };
    memcpy(out.data, a.data, a.bytes);
    memcpy(out.data + a.bytes, b.data, b.bytes);
    return out;
}

static struct blob algorithm_of(const char *name)
{
    ASN1_OBJECT *oid = OBJ_txt2obj(name, 0);
    assert_non_null(oid);
    struct blob text = { (uint8_t *)(uintptr_t)OBJ_get0_data(oid), OBJ_length(oid) };
    struct blob out = der_wrap(0x30, der_wrap(0x06, text));
    ASN1_OBJECT_free(oid);
    return out;
}

/* PKCS#8 around what stands in its OCTET STRING, in the plainest way. */
static mmh_identity *secret_key(const char *name, struct blob content)
{
    static uint8_t version[] = { 2, 1, 0 };
    return key_of_der(true, der_wrap(0x30, join(join((struct blob){ version, sizeof version },
                                                     algorithm_of(name)),
                                                der_wrap(0x04, content))));
}

static mmh_identity *secret_of_seed(const char *name, struct blob seed)
{
    return secret_key(name, der_wrap(0x80, seed));
}

static mmh_identity *public_key(const char *name, struct blob key)
{
    static uint8_t unused_bits;
    return key_of_der(
        false, der_wrap(0x30, join(algorithm_of(name),
                                   der_wrap(0x03, join((struct blob){ &unused_bits, 1 }, key)))));
}

/* The end of its SubjectPublicKeyInfo. */
static void assert_public(const struct mmh_key_part *part, struct blob expected)
{
    uint8_t *der;
    size_t bytes;
    assert_int_equal(mmh_key_part_public_der(&der, &bytes, part, NULL), MMH_OK);
    assert_true(bytes > expected.bytes);
    assert_memory_equal(der + bytes - expected.bytes, expected.data, expected.bytes);
    mmh_secret_free(der, bytes);
}

/* What our side never does: a signature without chance, or with a given one. */
static struct blob sign_so(const struct mmh_key_part *part, struct blob message,
                           struct blob context, struct blob entropy)
{
    static uint8_t nothing;
    int deterministic = !entropy.data;
    struct blob out = { vector_memory(MMH_SIGNATURE_BYTES_MAX), MMH_SIGNATURE_BYTES_MAX };
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_SIGNATURE_PARAM_CONTEXT_STRING,
                                          context.data ? context.data : &nothing, context.bytes),
        OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_DETERMINISTIC, &deterministic),
        OSSL_PARAM_construct_octet_string(OSSL_SIGNATURE_PARAM_TEST_ENTROPY, entropy.data,
                                          entropy.bytes),
        OSSL_PARAM_construct_end(),
    };
    if (deterministic)
        params[2] = OSSL_PARAM_construct_end();
    EVP_SIGNATURE *algorithm = EVP_SIGNATURE_fetch(NULL, part->signature->first, NULL);
    EVP_PKEY_CTX *signer = EVP_PKEY_CTX_new_from_pkey(NULL, part->first, NULL);
    assert_int_equal(EVP_PKEY_sign_message_init(signer, algorithm, params), 1);
    assert_int_equal(EVP_PKEY_sign(signer, out.data, &out.bytes,
                                   message.data ? message.data : &nothing, message.bytes),
                     1);
    EVP_PKEY_CTX_free(signer);
    EVP_SIGNATURE_free(algorithm);
    return out;
}

static mmh_status verify(const struct mmh_key_part *part, struct blob signature,
                         struct blob message, struct blob context)
{
    return mmh_signature_verify(part, signature.data, signature.bytes, message.data, message.bytes,
                                context.data, context.bytes, NULL);
}

static void assert_signs(const struct mmh_key_part *part, struct blob message, struct blob context)
{
    struct blob signature = { vector_memory(MMH_SIGNATURE_BYTES_MAX), 0 };
    assert_int_equal(mmh_signature_sign(signature.data, &signature.bytes, part, message.data,
                                        message.bytes, context.data, context.bytes, NULL),
                     MMH_OK);
    assert_int_equal(verify(part, signature, message, context), MMH_OK);
}

/* ---- wycheproof ---- */

enum { MESSAGE, SIGNATURE, RESULT, CONTEXT, ENTROPY };

/* Each test of a group, in a loop: `test` has its members. */
static bool tests_next(struct mmh_json *json, struct member *test, size_t members)
{
    struct mmh_json_token token;
    if (mmh_json_next(json, &token) != MMH_JSON_OBJECT)
        return false;
    members_read(json, test, members);
    return true;
}

static struct mmh_json tests_of(const struct member *group)
{
    struct mmh_json json = group->inside;
    struct mmh_json_token token;
    assert_int_equal(mmh_json_next(&json, &token), MMH_JSON_ARRAY);
    return json;
}

static void run_verify(struct member *group)
{
    struct member test[] = { [MESSAGE] = { .name = "msg" },
                             [SIGNATURE] = { .name = "sig" },
                             [RESULT] = { .name = "result" },
                             [CONTEXT] = { .name = "ctx" } };
    struct blob der = member_hex(&group[0]);
    mmh_identity *key = der.data ? key_of_der(false, der) : NULL;
    struct mmh_json json = tests_of(&group[1]);
    while (tests_next(&json, test, MMH_COUNT_OF(test))) {
        bool valid = member_is(&test[RESULT], "valid");
        struct blob context = member_hex(&test[CONTEXT]);
        mmh_status status = key ? verify(&key->parts[0], member_hex(&test[SIGNATURE]),
                                         member_hex(&test[MESSAGE]), context)
                                : MMH_E_KEY;
        if (!key && valid)
            fail_msg("%s: a good key is refused", count.file);
        assert_int_equal(status, valid                 ? MMH_OK
                                 : !key                ? MMH_E_KEY
                                 : context.bytes > 255 ? MMH_E_USAGE
                                                       : MMH_E_UNTRUSTED);
        count.run++;
    }
    mmh_identity_destroy(key);
}

static void test_wycheproof_verify(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        unsigned tests;
    } files[] = {
        { "wycheproof/ed25519_test.json", 151 },
        { "wycheproof/ecdsa_secp256r1_sha256_test.json", 484 },
        { "wycheproof/mldsa_65_verify_test.json", 210 },
        { "wycheproof/mldsa_87_verify_test.json", 241 },
    };
    struct member group[] = { { .name = "publicKeyDer" }, { .name = "tests" } };
    for (size_t i = 0; i < MMH_COUNT_OF(files); i++) {
        count_begin(files[i].file, "");
        vectors_each(files[i].file, "testGroups", group, MMH_COUNT_OF(group), run_verify);
        assert_int_equal(count.run, files[i].tests);
        count_tell(&count);
    }
}

static void run_sign(struct member *group)
{
    struct member test[] = { [MESSAGE] = { .name = "msg" },
                             [SIGNATURE] = { .name = "sig" },
                             [RESULT] = { .name = "result" },
                             [CONTEXT] = { .name = "ctx" },
                             [ENTROPY] = { .name = "rnd" } };
    struct blob der = member_hex(&group[0]), seed = member_hex(&group[1]);
    mmh_identity *key = der.data ? key_of_der(true, der) : secret_of_seed("ML-DSA-65", seed);
    if (key)
        assert_public(&key->parts[0], member_hex(&group[2]));
    struct mmh_json json = tests_of(&group[3]);
    while (tests_next(&json, test, MMH_COUNT_OF(test))) {
        bool valid = member_is(&test[RESULT], "valid");
        struct blob message = member_hex(&test[MESSAGE]), context = member_hex(&test[CONTEXT]);
        struct blob expected = member_hex(&test[SIGNATURE]);
        if (!message.data) {
            count.skipped++;
            continue;
        }
        if (valid) {
            struct blob made = sign_so(&key->parts[0], message, context,
                                       member_hex(&test[ENTROPY]));
            assert_int_equal(made.bytes, expected.bytes);
            assert_memory_equal(made.data, expected.data, made.bytes);
            assert_int_equal(verify(&key->parts[0], expected, message, context), MMH_OK);
            assert_signs(&key->parts[0], message, context);
        } else if (key) {
            struct blob signature = { vector_memory(MMH_SIGNATURE_BYTES_MAX), 0 };
            assert_int_equal(mmh_signature_sign(signature.data, &signature.bytes, &key->parts[0],
                                                message.data, message.bytes, context.data,
                                                context.bytes, NULL),
                             MMH_E_USAGE);
        }
        count.run++;
    }
    mmh_identity_destroy(key);
}

static void test_wycheproof_sign(void **state)
{
    (void)state;
    struct member group[] = { { .name = "privateKeyPkcs8" },
                              { .name = "privateSeed" },
                              { .name = "publicKey" },
                              { .name = "tests" } };
    count_begin("wycheproof/mldsa_65_sign_seed_test.json",
                "of a hash that was made elsewhere, which nothing here signs");
    vectors_each(count.file, "testGroups", group, MMH_COUNT_OF(group), run_sign);
    assert_int_equal(count.run, 88);
    assert_int_equal(count.skipped, 17);
    count_tell(&count);
}

/* ---- composites ---- */

static struct blob of_base64(const struct member *member)
{
    const char *text = member->token.text;
    size_t length = member->token.bytes;
    struct blob out = { vector_memory(length), 0 };
    assert_int_equal(member->token.kind, MMH_JSON_STRING);
    int bytes = EVP_DecodeBlock(out.data, (const uint8_t *)text, (int)length);
    assert_true(bytes > 0);
    out.bytes = (size_t)bytes;
    for (size_t i = length; i-- > 0 && text[i] == '=';)
        out.bytes--;
    return out;
}

static struct blob composite_message, composite_context;

/* A certificate has the key as we write it, and is signed by it. */
static void check_certificate(const struct mmh_key_part *part, struct blob certificate)
{
    const uint8_t *at = certificate.data;
    uint8_t *signed_text = NULL, *expected = NULL, *der;
    size_t der_bytes;
    const ASN1_BIT_STRING *signature;
    X509 *parsed = d2i_X509(NULL, &at, (long)certificate.bytes);
    assert_non_null(parsed);
    int signed_bytes = i2d_re_X509_tbs(parsed, &signed_text);
    int expected_bytes = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(parsed), &expected);
    assert_true(signed_bytes > 0 && expected_bytes > 0);
    assert_int_equal(mmh_key_part_public_der(&der, &der_bytes, part, NULL), MMH_OK);
    assert_int_equal(der_bytes, expected_bytes);
    assert_memory_equal(der, expected, der_bytes);
    X509_get0_signature(&signature, NULL, parsed);
    assert_int_equal(verify(part,
                            (struct blob){ (uint8_t *)(uintptr_t)ASN1_STRING_get0_data(signature),
                                           (size_t)ASN1_STRING_length(signature) },
                            (struct blob){ signed_text, (size_t)signed_bytes },
                            (struct blob){ NULL, 0 }),
                     MMH_OK);
    mmh_secret_free(der, der_bytes);
    OPENSSL_free(signed_text);
    OPENSSL_free(expected);
    X509_free(parsed);
}

static void run_composite(struct member *m)
{
    static const char *const ours[] = { "id-ML-DSA-44",
                                        "id-ML-DSA-65",
                                        "id-ML-DSA-87",
                                        "id-MLDSA44-Ed25519-SHA512",
                                        "id-MLDSA65-Ed25519-SHA512",
                                        "id-MLDSA65-ECDSA-P256-SHA512",
                                        "id-MLDSA87-ECDSA-P384-SHA512" };
    static const char *const names[] = { "ml-dsa-44",           "ml-dsa-65",
                                         "ml-dsa-87",           "ml-dsa-44-ed25519",
                                         "ml-dsa-65-ed25519",   "ml-dsa-65-ecdsa-p256",
                                         "ml-dsa-87-ecdsa-p384" };
    const struct blob none = { NULL, 0 };
    size_t which = 0;
    while (which < MMH_COUNT_OF(ours) && !member_is(&m[0], ours[which]))
        which++;
    struct blob pkcs8 = of_base64(&m[4]);
    mmh_identity *key = key_of_der(true, pkcs8);
    if (which == MMH_COUNT_OF(ours)) {
        assert_null(key); /* refused, not taken for something else */
        count.skipped++;
        return;
    }
    assert_non_null(key);
    struct mmh_key_part *part = &key->parts[0];
    struct blob plain = of_base64(&m[5]), with_context = of_base64(&m[6]);
    assert_string_equal(part->signature->name, names[which]);
    assert_public(part, of_base64(&m[1]));
    assert_int_equal(verify(part, plain, composite_message, none), MMH_OK);
    assert_int_equal(verify(part, with_context, composite_message, composite_context), MMH_OK);
    assert_int_equal(verify(part, plain, composite_message, composite_context), MMH_E_UNTRUSTED);
    assert_int_equal(verify(part, with_context, composite_message, none), MMH_E_UNTRUSTED);
    assert_signs(part, composite_message, none);
    assert_signs(part, composite_message, composite_context);
    check_certificate(part, of_base64(&m[2]));
    if (part->second) {
        uint8_t encoded[MMH_COMPOSITE_SECRET_BYTES_MAX];
        size_t bytes;
        struct blob expected = of_base64(&m[3]);
        assert_int_equal(mmh_composite_secret(encoded, &bytes, part, NULL), MMH_OK);
        assert_int_equal(bytes, expected.bytes);
        assert_memory_equal(encoded, expected.data, bytes);
    }
    mmh_identity_destroy(key);
    count.run++;
}

static void test_composites(void **state)
{
    (void)state;
    struct member whole[] = { { .name = "m" }, { .name = "ctx" } };
    struct member members[] = { { .name = "tcId" },        { .name = "pk" },
                                { .name = "x5c" },         { .name = "sk" },
                                { .name = "sk_pkcs8" },    { .name = "s" },
                                { .name = "sWithContext" } };
    count_begin("composite-sigs/testvectors.json",
                "composites that mmh does not have; each is refused as a key");
    struct blob text = vector_read(count.file);
    struct mmh_json json;
    struct mmh_json_token token;
    mmh_json_init(&json, text.data, text.bytes);
    assert_int_equal(mmh_json_next(&json, &token), MMH_JSON_OBJECT);
    mmh_arena_init(&vector_arena, NULL);
    members_read(&json, whole, MMH_COUNT_OF(whole));
    struct blob message = of_base64(&whole[0]), context = of_base64(&whole[1]);
    static uint8_t message_memory[256], context_memory[256];
    memcpy(message_memory, message.data, message.bytes);
    memcpy(context_memory, context.data, context.bytes);
    composite_message = (struct blob){ message_memory, message.bytes };
    composite_context = (struct blob){ context_memory, context.bytes };
    mmh_arena_release(&vector_arena);
    free(text.data);
    vectors_each(count.file, "tests", members, MMH_COUNT_OF(members), run_composite);
    assert_int_equal(count.run, 7);
    assert_int_equal(count.skipped, 14);
    count_tell(&count);
}

/* ---- NIST's, as OpenSSL and Botan have them ---- */

static void test_keygen(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        unsigned tests;
    } files[] = { { "openssl-3.5.7/evppkey_ml_dsa_keygen.txt", 75 },
                  { "openssl-3.5.7/evppkey_slh_dsa_keygen.txt", 120 } };
    for (size_t i = 0; i < MMH_COUNT_OF(files); i++) {
        struct vector_lines lines;
        const char *name, *value, *algorithm = "";
        mmh_identity *key = NULL;
        struct blob expected = { NULL, 0 };
        count_begin(files[i].file, "");
        mmh_arena_init(&vector_arena, NULL);
        lines_open(&lines, files[i].file);
        while (lines_next(&lines, &name, &value)) {
            const char *colon = strchr(value, ':');
            if (strcmp(name, "KeyGen") == 0)
                algorithm = value;
            else if (strcmp(name, "Ctrl") == 0 && strncmp(algorithm, "ML-DSA", 6) == 0)
                key = secret_of_seed(algorithm, hex_blob(colon + 1, strlen(colon + 1)));
            else if (strncmp(value, "hexpub", 6) == 0)
                expected = hex_blob(colon + 1, strlen(colon + 1));
            else if (strncmp(value, "hexpriv", 7) == 0 && strncmp(algorithm, "SLH", 3) == 0)
                key = secret_key(algorithm, hex_blob(colon + 1, strlen(colon + 1)));
            if (!key || !expected.data)
                continue;
            assert_string_equal(key->parts[0].signature->first, algorithm);
            assert_public(&key->parts[0], expected);
            mmh_identity_destroy(key);
            key = NULL;
            expected.data = NULL;
            count.run++;
        }
        lines_close(&lines);
        mmh_arena_release(&vector_arena);
        assert_int_equal(count.run, files[i].tests);
        count_tell(&count);
    }
}

static void test_slh_dsa_verify(void **state)
{
    (void)state;
    struct vector_lines lines;
    const char *name, *value;
    mmh_identity *key = NULL;
    struct blob message = { NULL, 0 }, signature = { NULL, 0 }, context = { NULL, 0 };
    bool valid = true, more;
    unsigned right = 0;
    count_begin("openssl-3.5.7/slh_dsa_sigver_sample.txt", "");
    mmh_arena_init(&vector_arena, NULL);
    lines_open(&lines, count.file);
    do {
        more = lines_next(&lines, &name, &value);
        if (!more || strcmp(name, "PublicKeyRaw") == 0) {
            if (key) {
                assert_int_equal(verify(&key->parts[0], signature, message, context),
                                 valid ? MMH_OK : MMH_E_UNTRUSTED);
                right += valid;
                count.run++;
            }
            mmh_identity_destroy(key);
            key = NULL;
            context = (struct blob){ NULL, 0 };
            valid = true;
        }
        if (!more)
            break;
        if (strcmp(name, "PublicKeyRaw") == 0) {
            char algorithm[32];
            const char *from = strchr(value, ':') + 1, *to = strchr(from, ':');
            assert_true(snprintf(algorithm, sizeof algorithm, "%.*s", (int)(to - from), from) <
                        (int)sizeof algorithm);
            key = public_key(algorithm, hex_blob(to + 1, strlen(to + 1)));
            assert_non_null(key);
        } else if (strcmp(name, "Input") == 0)
            message = hex_blob(value, strlen(value));
        else if (strcmp(name, "Output") == 0)
            signature = hex_blob(value, strlen(value));
        else if (strncmp(value, "hexcontext-string:", 18) == 0)
            context = hex_blob(value + 18, strlen(value + 18));
        else if (strcmp(name, "Result") == 0)
            valid = strcmp(value, "VERIFY_ERROR") != 0;
    } while (more);
    lines_close(&lines);
    mmh_arena_release(&vector_arena);
    assert_int_equal(count.run, 24);
    assert_int_equal(right, 12);
    count_tell(&count);
}

static void test_botan_slh_dsa(void **state)
{
    (void)state;
    struct vector_lines lines;
    const char *name, *value;
    mmh_identity *key = NULL;
    struct blob message = { NULL, 0 }, expected = { NULL, 0 };
    const struct blob none = { NULL, 0 };
    count_begin("botan-3.7.1/slh_dsa.vec", "");
    mmh_arena_init(&vector_arena, NULL);
    lines_open(&lines, count.file);
    const char *set = NULL;
    while (lines_next(&lines, &name, &value)) {
        if (strcmp(name, "SphincsParameterSet") == 0)
            set = value;
        else if (strcmp(name, "msg") == 0)
            message = hex_blob(value, strlen(value));
        else if (strcmp(name, "pk") == 0)
            expected = hex_blob(value, strlen(value));
        else if (strcmp(name, "sk") == 0) {
            key = secret_key(set, hex_blob(value, strlen(value)));
            assert_non_null(key);
            assert_public(&key->parts[0], expected);
        } else if (strcmp(name, "HashSigDet") == 0) {
            uint8_t digest[64];
            size_t bytes;
            struct blob made = sign_so(&key->parts[0], message, none, none);
            struct blob wanted = hex_blob(value, strlen(value));
            assert_int_equal(EVP_Q_digest(NULL, strstr(set, "SHAKE") ? "SHA3-256" : "SHA256", NULL,
                                          made.data, made.bytes, digest, &bytes),
                             1);
            assert_int_equal(bytes, wanted.bytes);
            assert_memory_equal(digest, wanted.data, bytes);
            assert_int_equal(verify(&key->parts[0], made, message, none), MMH_OK);
            mmh_identity_destroy(key);
            key = NULL;
            count.run++;
        }
    }
    lines_close(&lines);
    mmh_arena_release(&vector_arena);
    assert_int_equal(count.run, 12);
    count_tell(&count);
}

static void test_botan_slh_dsa_generic(void **state)
{
    (void)state;
    struct vector_lines lines;
    const char *name, *value, *set = NULL;
    mmh_identity *key = NULL;
    struct blob message = { NULL, 0 }, entropy = { NULL, 0 };
    const struct blob none = { NULL, 0 };
    count_begin("botan-3.7.1/slh_dsa_generic.vec", "");
    mmh_arena_init(&vector_arena, NULL);
    lines_open(&lines, count.file);
    while (lines_next(&lines, &name, &value)) {
        if (strcmp(name, "Instance") == 0) {
            set = value;
            entropy = none;
        } else if (strcmp(name, "Msg") == 0)
            message = hex_blob(value, strlen(value));
        else if (strcmp(name, "PrivateKey") == 0)
            key = secret_key(set, hex_blob(value, strlen(value)));
        else if (strcmp(name, "Nonce") == 0)
            entropy = hex_blob(value, strlen(value));
        else if (strcmp(name, "Signature") == 0) {
            struct blob signature = hex_blob(value, strlen(value));
            struct blob made = sign_so(&key->parts[0], message, none, entropy);
            assert_int_equal(made.bytes, signature.bytes);
            assert_memory_equal(made.data, signature.data, made.bytes);
            assert_int_equal(verify(&key->parts[0], signature, message, none), MMH_OK);
            mmh_identity_destroy(key);
            count.run++;
        }
    }
    lines_close(&lines);
    mmh_arena_release(&vector_arena);
    assert_int_equal(count.run, 2);
    count_tell(&count);
}

/* ---- CCTV: hashes of many keys and signatures ---- */

static void accumulate(const char *name, const char *expected)
{
    enum { ROUNDS = 100 };
    const struct blob none = { NULL, 0 };
    uint8_t seeds[ROUNDS * 32], result[32];
    EVP_MD *shake = EVP_MD_fetch(NULL, "SHAKE128", NULL);
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestInit_ex2(hash, shake, NULL), 1);
    assert_int_equal(EVP_DigestFinalXOF(hash, seeds, sizeof seeds), 1);
    assert_int_equal(EVP_DigestInit_ex2(hash, shake, NULL), 1);
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint8_t public[4096];
        size_t bytes = sizeof public;
        mmh_arena_init(&vector_arena, NULL);
        mmh_identity *key = secret_of_seed(name, (struct blob){ seeds + i * (size_t)32, 32 });
        assert_non_null(key);
        assert_int_equal(EVP_PKEY_get_raw_public_key(key->parts[0].first, public, &bytes), 1);
        assert_int_equal(EVP_DigestUpdate(hash, public, bytes), 1);
        struct blob made = sign_so(&key->parts[0], none, none, none);
        assert_int_equal(verify(&key->parts[0], made, none, none), MMH_OK);
        assert_int_equal(EVP_DigestUpdate(hash, made.data, made.bytes), 1);
        mmh_identity_destroy(key);
        mmh_arena_release(&vector_arena);
        count.run++;
    }
    assert_int_equal(EVP_DigestFinalXOF(hash, result, sizeof result), 1);
    EVP_MD_CTX_free(hash);
    EVP_MD_free(shake);
    mmh_arena_init(&vector_arena, NULL);
    assert_memory_equal(result, hex_blob(expected, 64).data, 32);
    mmh_arena_release(&vector_arena);
}

static void test_cctv_accumulated(void **state)
{
    (void)state;
    count_begin("cctv-mlkem/ML-DSA/accumulated/README.md", "");
    accumulate("ML-DSA-44", "d51148e1f9f4fa1a723a6cf42e25f2a99eb5c1b378b3d2dbbd561b1203beeae4");
    accumulate("ML-DSA-65", "8358a1843220194417cadbc2651295cd8fc65125b5a5c1a239a16dc8b57ca199");
    accumulate("ML-DSA-87", "8c3ad714777622b8f21ce31bb35f71394f23bc0fcf3c78ace5d608990f3b061b");
    count_tell(&count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wycheproof_verify),
        cmocka_unit_test(test_wycheproof_sign),
        cmocka_unit_test(test_composites),
        cmocka_unit_test(test_keygen),
        cmocka_unit_test(test_slh_dsa_verify),
        cmocka_unit_test(test_botan_slh_dsa),
        cmocka_unit_test(test_botan_slh_dsa_generic),
        cmocka_unit_test(test_cctv_accumulated),
    };
    if (!vectors_are_there()) {
        puts("skipped: $MMH_SHARED/vectors is not there");
        return 77;
    }
    return cmocka_run_group_tests_name("vectors_signature", tests, NULL, NULL);
}
