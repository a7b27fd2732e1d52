/*
 * Published vectors of what encrypts: AEADs, HKDF, X25519, ML-KEM, X-Wing, HPKE, age, Classic McEliece.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * They are read from $MMH_SHARED/vectors; without it nothing is run, and that is told. For each file it
 * prints how many were run, and how many were not, and why.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <isa-l/igzip_lib.h>
#include <openssl/evp.h>

#include "base/bits.h"
#include "crypto/hpke.h"
#include "crypto/kdf.h"
#include "crypto/kem_private.h"
#include "crypto/recipient_private.h"
#include "vector_file.h"

static struct vector_count count;

static void count_begin(const char *file, const char *why)
{
    count = (struct vector_count){ .file = file, .why = why };
}

static void assert_blob(struct blob found, struct blob expected)
{
    assert_int_equal(found.bytes, expected.bytes);
    assert_memory_equal(found.data, expected.data, expected.bytes);
}

/* A hash that OpenSSL has, of any length. */
static struct blob digest(const char *name, struct blob data, size_t bytes)
{
    struct blob out = { vector_memory(bytes), bytes };
    EVP_MD *algorithm = EVP_MD_fetch(NULL, name, NULL);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestInit_ex2(context, algorithm, NULL), 1);
    assert_int_equal(EVP_DigestUpdate(context, data.data, data.bytes), 1);
    if (strncmp(name, "SHAKE", 5) == 0)
        assert_int_equal(EVP_DigestFinalXOF(context, out.data, bytes), 1);
    else
        assert_int_equal(EVP_DigestFinal_ex(context, out.data, NULL), 1);
    EVP_MD_CTX_free(context);
    EVP_MD_free(algorithm);
    return out;
}

/* ---- AEADs ---- */

static unsigned aead_suite;

static void run_aead(struct member *m)
{
    struct blob key = member_hex(&m[0]), nonce = member_hex(&m[1]), extra = member_hex(&m[2]);
    struct blob plain = member_hex(&m[3]), cipher = member_hex(&m[4]), tag = member_hex(&m[5]);
    mmh_aead *aead;
    if (key.bytes != 32 || nonce.bytes != 12 || tag.bytes != 16) {
        count.skipped++;
        return;
    }
    bool valid = member_is(&m[6], "valid");
    size_t n = cipher.bytes;
    uint8_t *sealed = vector_memory(n + 16), *out = vector_memory(n + 16);
    memcpy(sealed, cipher.data, n);
    memcpy(sealed + n, tag.data, 16);
    assert_int_equal(mmh_aead_create(&aead, aead_suite, key.data, NULL), MMH_OK);
    assert_int_equal(
        mmh_aead_open(aead, out, nonce.data, sealed, n + 16, extra.data, extra.bytes, NULL),
        valid ? MMH_OK : MMH_E_CORRUPT);
    if (valid) {
        assert_blob((struct blob){ out, n }, plain);
        assert_int_equal(mmh_aead_seal(aead, out, nonce.data, plain.data, plain.bytes, extra.data,
                                       extra.bytes, NULL),
                         MMH_OK);
        assert_memory_equal(out, sealed, n + 16);
    }
    mmh_aead_destroy(aead);
    count.run++;
}

static void pass_over(struct member *m)
{
    (void)m;
    count.skipped++;
}

static void test_wycheproof_aead(void **state)
{
    (void)state;
    static const char *const files[] = { "wycheproof/aes_gcm_test.json",
                                         "wycheproof/chacha20_poly1305_test.json" };
    struct member members[] = { { .name = "key" },   { .name = "iv" }, { .name = "aad" },
                                { .name = "msg" },   { .name = "ct" }, { .name = "tag" },
                                { .name = "result" } };
    for (unsigned i = 0; i < 2; i++) {
        count_begin(files[i], "other sizes of key or nonce than 256 and 96 bits");
        aead_suite = i + 1;
        vectors_each(files[i], "tests", members, MMH_COUNT_OF(members), run_aead);
        assert_true(count.run > 50);
        count_tell(&count);
    }
    count_begin("wycheproof/xchacha20_poly1305_test.json", "no suite of ours");
    vectors_each(count.file, "tests", members, MMH_COUNT_OF(members), pass_over);
    count_tell(&count);
}

/* ---- HKDF ---- */

static void run_hkdf(struct member *m)
{
    struct blob key = member_hex(&m[0]), salt = member_hex(&m[1]), info = member_hex(&m[2]);
    struct blob expected = member_hex(&m[4]);
    size_t bytes = (size_t)m[3].token.u64;
    uint8_t *out = vector_memory(bytes);
    bool valid = member_is(&m[5], "valid");
    mmh_status status = mmh_hkdf(out, bytes, MMH_KDF_SHA256, salt.data, salt.bytes, key.data,
                                 key.bytes, info.data, info.bytes, NULL);
    assert_int_equal(status == MMH_OK, valid);
    if (valid)
        assert_blob((struct blob){ out, bytes }, expected);
    count.run++;
}

static void test_wycheproof_hkdf(void **state)
{
    (void)state;
    struct member members[] = { { .name = "ikm" },  { .name = "salt" }, { .name = "info" },
                                { .name = "size" }, { .name = "okm" },  { .name = "result" } };
    count_begin("wycheproof/hkdf_sha256_test.json", NULL);
    vectors_each(count.file, "tests", members, MMH_COUNT_OF(members), run_hkdf);
    assert_true(count.run > 50);
    count_tell(&count);
}

/* ---- X25519 ---- */

static void run_x25519(struct member *m)
{
    struct blob point = member_hex(&m[0]), scalar = member_hex(&m[1]), shared = member_hex(&m[2]);
    uint8_t out[32];
    bool zero = true;
    assert_true(point.bytes == 32 && scalar.bytes == 32 && shared.bytes == 32);
    for (size_t i = 0; i < 32; i++)
        zero &= !shared.data[i];
    assert_int_equal(
        mmh_kem_x25519.decapsulate(out, point.data, 32, scalar.data, 32, NULL, 0, NULL),
        zero ? MMH_E_KEY : MMH_OK);
    if (!zero)
        assert_memory_equal(out, shared.data, 32);
    count.run++;
}

static void test_wycheproof_x25519(void **state)
{
    (void)state;
    struct member members[] = { { .name = "public" }, { .name = "private" }, { .name = "shared" } };
    count_begin("wycheproof/x25519_test.json", NULL);
    vectors_each(count.file, "tests", members, MMH_COUNT_OF(members), run_x25519);
    assert_true(count.run > 500);
    count_tell(&count);
}

/* ---- ML-KEM ---- */

static const struct mmh_kem *ml_kem;

static struct blob ml_kem_public(const uint8_t *seed)
{
    struct blob out = { vector_memory(ml_kem->public_bytes), ml_kem->public_bytes };
    assert_int_equal(ml_kem->derive(out.data, seed, NULL), MMH_OK);
    return out;
}

/* FIPS 203's expanded key of a seed. */
static struct blob ml_kem_expanded(const uint8_t seed[MMH_ML_KEM_SEED_BYTES])
{
    const char *name = ml_kem == &mmh_kem_ml_kem_768 ? "ML-KEM-768" : "ML-KEM-1024";
    OSSL_PARAM params[] = { OSSL_PARAM_octet_string("seed", (void *)(uintptr_t)seed,
                                                    MMH_ML_KEM_SEED_BYTES),
                            OSSL_PARAM_END };
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, name, NULL);
    struct blob out = { vector_memory(4096), 4096 };
    assert_int_equal(EVP_PKEY_fromdata_init(context), 1);
    assert_int_equal(EVP_PKEY_fromdata(context, &key, EVP_PKEY_KEYPAIR, params), 1);
    assert_int_equal(EVP_PKEY_get_octet_string_param(key, "priv", out.data, 4096, &out.bytes), 1);
    EVP_PKEY_free(key);
    EVP_PKEY_CTX_free(context);
    return out;
}

static mmh_status ml_kem_decapsulate(uint8_t shared[32], struct blob secret, struct blob enc)
{
    return ml_kem->decapsulate(shared, enc.data, enc.bytes, secret.data, secret.bytes, NULL, 0,
                               NULL);
}

static void run_ml_kem(struct member *m)
{
    struct blob secret = member_hex(&m[0]), enc = member_hex(&m[2]), shared = member_hex(&m[3]);
    uint8_t out[32];
    bool valid = member_is(&m[4], "valid");
    assert_int_equal(ml_kem_decapsulate(out, secret, enc), valid ? MMH_OK : MMH_E_KEY);
    if (valid) {
        assert_blob((struct blob){ out, 32 }, shared);
        if (secret.bytes == MMH_ML_KEM_SEED_BYTES)
            assert_blob(ml_kem_public(secret.data), member_hex(&m[1]));
    }
    count.run++;
}

static void test_wycheproof_ml_kem(void **state)
{
    (void)state;
    static const struct {
        const char *file, *secret;
        const struct mmh_kem *kem;
        unsigned vectors;
    } files[] = {
        { "wycheproof/mlkem_768_test.json", "seed", &mmh_kem_ml_kem_768, 193 },
        { "wycheproof/mlkem_1024_test.json", "seed", &mmh_kem_ml_kem_1024, 193 },
        { "wycheproof/mlkem_768_semi_expanded_decaps_test.json", "dk", &mmh_kem_ml_kem_768, 9 },
    };
    for (size_t i = 0; i < MMH_COUNT_OF(files); i++) {
        struct member members[] = { { .name = files[i].secret },
                                    { .name = "ek" },
                                    { .name = "c" },
                                    { .name = "K" },
                                    { .name = "result" } };
        count_begin(files[i].file, NULL);
        ml_kem = files[i].kem;
        vectors_each(count.file, "tests", members, MMH_COUNT_OF(members), run_ml_kem);
        assert_int_equal(count.run, files[i].vectors);
        count_tell(&count);
    }
}

/* Values of a file of "name = hex" lines, the first of each name. */
static struct blob lines_find(const char *file, const char *wanted)
{
    struct vector_lines lines;
    const char *name, *value;
    struct blob found = { NULL, 0 };
    lines_open(&lines, file);
    while (!found.data && lines_next(&lines, &name, &value))
        if (strcmp(name, wanted) == 0)
            found = hex_blob(value, strlen(value));
    lines_close(&lines);
    return found;
}

/* dk opens c, and m gives c to ek: the files' d and z are those of FIPS 203's draft, which made other keys
 * of them. */
static void ml_kem_file(const char *file)
{
    uint8_t shared[32];
    mmh_arena_init(&vector_arena, NULL);
    struct blob ek = lines_find(file, "ek"), dk = lines_find(file, "dk");
    struct blob c = lines_find(file, "c"), k = lines_find(file, "K"), m = lines_find(file, "m");
    assert_true(dk.data && c.data && k.bytes == 32);
    assert_int_equal(ml_kem_decapsulate(shared, dk, c), MMH_OK);
    assert_memory_equal(shared, k.data, 32);
    if (m.data) {
        struct blob enc = { vector_memory(c.bytes), c.bytes };
        assert_int_equal(m.bytes, 32);
        assert_int_equal(
            mmh_ml_kem_encapsulate(ml_kem, enc.data, shared, ek.data, ek.bytes, m.data, NULL),
            MMH_OK);
        assert_blob(enc, c);
        assert_memory_equal(shared, k.data, 32);
    }
    mmh_arena_release(&vector_arena);
}

static struct blob inflated(struct blob packed, unsigned wrapper)
{
    struct blob out = { malloc(32 << 20), 32 << 20 };
    static struct inflate_state inflate;
    assert_non_null(out.data);
    isal_inflate_init(&inflate);
    inflate.crc_flag = wrapper;
    inflate.next_in = packed.data;
    inflate.avail_in = (uint32_t)packed.bytes;
    inflate.next_out = out.data;
    inflate.avail_out = (uint32_t)out.bytes;
    assert_int_equal(isal_inflate(&inflate), ISAL_DECOMP_OK);
    out.bytes = inflate.total_out;
    return out;
}

/* Every line of the file is a public key with a number over the modulus. */
static unsigned modulus_file(const char *file)
{
    struct blob packed = vector_read(file), text = inflated(packed, ISAL_GZIP);
    uint8_t enc[MMH_KEM_ENC_BYTES_MAX], shared[32];
    unsigned lines = 0;
    size_t enc_bytes, length = 2 * ml_kem->public_bytes;
    for (size_t at = 0; at + length <= text.bytes; at += length + 1, lines++) {
        mmh_arena_init(&vector_arena, NULL);
        struct blob key = hex_blob((const char *)text.data + at, length);
        assert_int_equal(ml_kem->encapsulate(enc, &enc_bytes, shared, key.data, key.bytes, NULL),
                         MMH_E_KEY);
        mmh_arena_release(&vector_arena);
    }
    free(text.data);
    free(packed.data);
    return lines;
}

static void test_cctv_ml_kem(void **state)
{
    (void)state;
    static const struct mmh_kem *const kems[] = { &mmh_kem_ml_kem_768, &mmh_kem_ml_kem_1024 };
    static const char *const folders[] = { "intermediate", "strcmp", "unluckysample" };
    static const char *const names[] = { "ML-KEM-768", "ML-KEM-1024" };
    char file[128];
    for (size_t i = 0; i < 2; i++) {
        ml_kem = kems[i];
        for (size_t k = 0; k < MMH_COUNT_OF(folders); k++) {
            snprintf(file, sizeof file, "cctv-mlkem/ML-KEM/%s/%s.txt", folders[k], names[i]);
            ml_kem_file(file);
            count_begin(file, NULL);
            count.run = 1;
            count_tell(&count);
        }
        snprintf(file, sizeof file, "cctv-mlkem/ML-KEM/modulus/%s.txt.gz", names[i]);
        count_begin(file, NULL);
        count.run = modulus_file(file);
        assert_true(count.run > 500);
        count_tell(&count);
    }
    count_begin("cctv-mlkem/ML-KEM/*/ML-KEM-512.txt", "files of a set that we have not");
    count.skipped = 4;
    count_tell(&count);
}

/* Ten thousand keys, and what is made with them, in one hash. CCTV's README has the hashes of FIPS 203's
 * draft; these are of the standard, as BoringSSL's tests have them. */
static void test_cctv_ml_kem_accumulated(void **state)
{
    (void)state;
    enum { TESTS = 10000 };
    static const struct {
        const struct mmh_kem *kem;
        const char *expected;
    } sets[] = {
        { &mmh_kem_ml_kem_768, "f959d18d3d1180121433bf0e05f11e7908cf9d03edc150b2b07cb90bef5bc1c1" },
        { &mmh_kem_ml_kem_1024,
          "e3bf82b013307b2e9d47dde791ff6dfc82e694e6382404abdb948b908b75bad5" },
    };
    EVP_MD *shake = EVP_MD_fetch(NULL, "SHAKE128", NULL);
    for (size_t s = 0; s < MMH_COUNT_OF(sets); s++) {
        EVP_MD_CTX *source = EVP_MD_CTX_new(), *sum = EVP_MD_CTX_new();
        uint8_t seed[64], m[32], enc[1568], odd[1568], sent[32], got[32], sum_bytes[32];
        ml_kem = sets[s].kem;
        assert_int_equal(EVP_DigestInit_ex2(source, shake, NULL), 1);
        assert_int_equal(EVP_DigestInit_ex2(sum, shake, NULL), 1);
        for (int i = 0; i < TESTS; i++) {
            mmh_arena_init(&vector_arena, NULL);
            assert_int_equal(EVP_DigestSqueeze(source, seed, 64), 1);
            assert_int_equal(EVP_DigestSqueeze(source, m, 32), 1);
            assert_int_equal(EVP_DigestSqueeze(source, odd, ml_kem->enc_bytes), 1);
            struct blob ek = ml_kem_public(seed), dk = ml_kem_expanded(seed);
            assert_int_equal(mmh_ml_kem_encapsulate(ml_kem, enc, sent, ek.data, ek.bytes, m, NULL),
                             MMH_OK);
            assert_int_equal(ml_kem_decapsulate(got, (struct blob){ seed, 64 },
                                                (struct blob){ enc, ml_kem->enc_bytes }),
                             MMH_OK);
            assert_memory_equal(got, sent, 32);
            assert_int_equal(ml_kem_decapsulate(got, (struct blob){ seed, 64 },
                                                (struct blob){ odd, ml_kem->enc_bytes }),
                             MMH_OK);
            EVP_DigestUpdate(sum, ek.data, ek.bytes);
            EVP_DigestUpdate(sum, dk.data, dk.bytes);
            EVP_DigestUpdate(sum, enc, ml_kem->enc_bytes);
            EVP_DigestUpdate(sum, sent, 32);
            EVP_DigestUpdate(sum, got, 32);
            mmh_arena_release(&vector_arena);
        }
        assert_int_equal(EVP_DigestFinalXOF(sum, sum_bytes, sizeof sum_bytes), 1);
        mmh_arena_init(&vector_arena, NULL);
        assert_blob((struct blob){ sum_bytes, 32 }, hex_blob(sets[s].expected, 64));
        mmh_arena_release(&vector_arena);
        EVP_MD_CTX_free(source);
        EVP_MD_CTX_free(sum);
        print_message("vectors: cctv-mlkem/ML-KEM accumulated, %s: %d run in one hash\n",
                      ml_kem->name, TESTS);
    }
    EVP_MD_free(shake);
}

/* Botan's have keys and ciphertexts hashed: of secret keys the seeds. */
static void test_botan_ml_kem(void **state)
{
    (void)state;
    static const char *const files[] = { "botan-3.7.1/ml_kem_acvp_keygen.vec",
                                         "botan-3.7.1/ml_kem_acvp_encap.vec" };
    for (int f = 0; f < 2; f++) {
        struct vector_lines lines;
        const char *name, *value;
        struct blob values[4]; /* Z, D, EK, DK; EK, M, K, C */
        size_t at = 0;
        uint8_t seed[64], enc[1568], shared[32];
        count_begin(files[f], "ML-KEM-512, a set that we have not");
        lines_open(&lines, files[f]);
        mmh_arena_init(&vector_arena, NULL);
        while (lines_next(&lines, &name, &value)) {
            values[at++] = hex_blob(value, strlen(value));
            if (at < 4)
                continue;
            at = 0;
            ml_kem = strcmp(lines.section, "ML-KEM-768") == 0  ? &mmh_kem_ml_kem_768
                   : strcmp(lines.section, "ML-KEM-1024") == 0 ? &mmh_kem_ml_kem_1024
                                                               : NULL;
            count.run += ml_kem != NULL;
            count.skipped += !ml_kem;
            if (ml_kem && f == 0) {
                assert_true(values[0].bytes == 32 && values[1].bytes == 32);
                memcpy(seed, values[1].data, 32);
                memcpy(seed + 32, values[0].data, 32);
                assert_blob(digest("SHAKE256", ml_kem_public(seed), 16), values[2]);
                assert_blob(digest("SHAKE256", (struct blob){ seed, sizeof seed }, 16), values[3]);
            } else if (ml_kem) {
                assert_int_equal(mmh_ml_kem_encapsulate(ml_kem, enc, shared, values[0].data,
                                                        values[0].bytes, values[1].data, NULL),
                                 MMH_OK);
                assert_blob((struct blob){ shared, 32 }, values[2]);
                assert_blob(digest("SHAKE256", (struct blob){ enc, ml_kem->enc_bytes }, 16),
                            values[3]);
            }
            mmh_arena_release(&vector_arena);
            mmh_arena_init(&vector_arena, NULL);
        }
        mmh_arena_release(&vector_arena);
        lines_close(&lines);
        assert_int_equal(at, 0);
        assert_true(count.run >= 50);
        count_tell(&count);
    }
}

/* ---- X-Wing and HPKE ---- */

static void run_x_wing(struct member *m)
{
    struct blob entropy = member_hex(&m[0]), shared = member_hex(&m[1]), seed = member_hex(&m[2]);
    struct blob public_key = member_hex(&m[3]), enc = member_hex(&m[4]);
    uint8_t secret[MMH_X_WING_SECRET_BYTES], out[32];
    struct blob made = { vector_memory(2048), mmh_kem_x_wing.public_bytes };
    assert_true(seed.bytes == 32 && entropy.bytes == MMH_X_WING_ENTROPY_BYTES);
    assert_int_equal(mmh_x_wing_expand(secret, seed.data, NULL), MMH_OK);
    assert_int_equal(mmh_kem_x_wing.derive(made.data, secret, NULL), MMH_OK);
    assert_blob(made, public_key);
    made.bytes = mmh_kem_x_wing.enc_bytes;
    assert_int_equal(mmh_x_wing_encapsulate(made.data, out, public_key.data, public_key.bytes,
                                            entropy.data, NULL),
                     MMH_OK);
    assert_blob(made, enc);
    assert_blob((struct blob){ out, 32 }, shared);
    memset(out, 0, 32);
    assert_int_equal(mmh_kem_x_wing.decapsulate(out, enc.data, enc.bytes, secret, sizeof secret,
                                                public_key.data, public_key.bytes, NULL),
                     MMH_OK);
    assert_blob((struct blob){ out, 32 }, shared);
    count.run++;
}

static void test_x_wing(void **state)
{
    (void)state;
    struct member members[] = {
        { .name = "eseed" }, { .name = "ss" }, { .name = "sk" }, { .name = "pk" }, { .name = "ct" }
    };
    count_begin("xwing/test-vectors.json", NULL);
    vectors_each(count.file, NULL, members, MMH_COUNT_OF(members), run_x_wing);
    assert_int_equal(count.run, 3);
    count_tell(&count);
}

static unsigned hpke_messages;

static void run_hpke(struct member *m)
{
    if (m[0].token.u64 != 0x647a || m[1].token.u64 != 1 || m[2].token.u64 != 3) {
        count.skipped++;
        return;
    }
    struct member kem[] = { m[3], m[4], m[5], m[6], m[7] };
    run_x_wing(kem); /* counts this suite */
    struct blob shared = member_hex(&m[4]), info = member_hex(&m[8]);
    uint8_t key[32], nonce[12];
    assert_int_equal(mmh_hpke_schedule(key, nonce, shared.data, info.data, info.bytes, NULL),
                     MMH_OK);
    assert_blob((struct blob){ key, 32 }, member_hex(&m[9]));
    assert_blob((struct blob){ nonce, 12 }, member_hex(&m[10]));
    struct member message[] = {
        { .name = "aad" }, { .name = "ct" }, { .name = "nonce" }, { .name = "pt" }
    };
    struct mmh_json json = m[11].inside;
    struct mmh_json_token token;
    mmh_aead *aead;
    assert_int_equal(mmh_aead_create(&aead, MMH_AEAD_CHACHA20_POLY1305, key, NULL), MMH_OK);
    assert_int_equal(mmh_json_next(&json, &token), MMH_JSON_ARRAY);
    while (mmh_json_next(&json, &token) == MMH_JSON_OBJECT) {
        members_read(&json, message, MMH_COUNT_OF(message));
        struct blob aad = member_hex(&message[0]), sealed = member_hex(&message[1]);
        struct blob own = member_hex(&message[2]), plain = member_hex(&message[3]);
        uint8_t *out = vector_memory(sealed.bytes);
        assert_int_equal(own.bytes, 12);
        if (!hpke_messages) /* the first message's: what Seal uses */
            assert_memory_equal(own.data, nonce, 12);
        assert_int_equal(
            mmh_aead_seal(aead, out, own.data, plain.data, plain.bytes, aad.data, aad.bytes, NULL),
            MMH_OK);
        assert_blob((struct blob){ out, sealed.bytes }, sealed);
        assert_int_equal(mmh_aead_open(aead, out, own.data, sealed.data, sealed.bytes, aad.data,
                                       aad.bytes, NULL),
                         MMH_OK);
        assert_memory_equal(out, plain.data, plain.bytes);
        hpke_messages++;
    }
    mmh_aead_destroy(aead);
}

static void test_hpke(void **state)
{
    (void)state;
    struct member members[] = { { .name = "kem_id" },        { .name = "kdf_id" },
                                { .name = "aead_id" },       { .name = "ikmE" },
                                { .name = "shared_secret" }, { .name = "skRm" },
                                { .name = "pkRm" },          { .name = "enc" },
                                { .name = "info" },          { .name = "key" },
                                { .name = "base_nonce" },    { .name = "encryptions" } };
    count_begin("hpke-pq/test-vectors.json", "other suites than (0x647a, 1, 3)");
    vectors_each(count.file, NULL, members, MMH_COUNT_OF(members), run_hpke);
    assert_int_equal(count.run, 1);
    assert_true(hpke_messages > 1);
    count_tell(&count);
    print_message("vectors: %s: %u messages of it\n", count.file, hpke_messages);
}

/* ---- age ---- */

enum outcome { SUCCESS, NO_MATCH, HMAC_FAILURE, HEADER_FAILURE, PAYLOAD_FAILURE };

enum { AGE_KEY_BYTES = 16, AGE_IDENTITIES = 4, AGE_CHUNK_BYTES = 65536 };

struct age_identity {
    bool hybrid;
    uint8_t public_key[1216], secret_key[MMH_X_WING_SECRET_BYTES];
};

/* One file: what it says of itself, and the encrypted file behind that. */
struct age_vector {
    enum outcome expected;
    bool ours;
    struct age_identity identities[AGE_IDENTITIES];
    size_t identity_count;
    struct blob payload_hash, file;
};

/* The bytes of a Bech32 string, its checksum left out. */
static size_t bech32(uint8_t *out, size_t room, const char *text)
{
    static const char alphabet[] = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L";
    const char *at = strrchr(text, '1');
    size_t bytes = 0;
    uint32_t bits = 0, count_of_bits = 0;
    assert_true(at && strlen(at) > 7);
    for (at++; strlen(at) > 6; at++) {
        const char *digit = strchr(alphabet, *at);
        assert_non_null(digit);
        bits = bits << 5 | (uint32_t)(digit - alphabet);
        count_of_bits += 5;
        if (count_of_bits >= 8) {
            assert_true(bytes < room);
            count_of_bits -= 8;
            out[bytes++] = (uint8_t)(bits >> count_of_bits);
        }
    }
    return bytes;
}

static void age_identity_read(struct age_vector *vector, const char *text)
{
    uint8_t seed[32];
    assert_true(vector->identity_count < AGE_IDENTITIES);
    struct age_identity *identity = &vector->identities[vector->identity_count++];
    assert_int_equal(bech32(seed, sizeof seed, text), 32);
    identity->hybrid = strncmp(text, "AGE-SECRET-KEY-PQ-1", 19) == 0;
    if (identity->hybrid) {
        assert_int_equal(mmh_x_wing_expand(identity->secret_key, seed, NULL), MMH_OK);
        assert_int_equal(mmh_kem_x_wing.derive(identity->public_key, identity->secret_key, NULL),
                         MMH_OK);
    } else {
        memcpy(identity->secret_key, seed, 32);
        assert_int_equal(mmh_kem_x25519.derive(identity->public_key, identity->secret_key, NULL),
                         MMH_OK);
    }
}

static void age_vector_read(struct age_vector *vector, struct blob text)
{
    static const char *const outcomes[] = { "success", "no match", "HMAC failure", "header failure",
                                            "payload failure" };
    char *line = (char *)text.data, *end;
    bool compressed = false;
    memset(vector, 0, sizeof *vector);
    for (; (end = strchr(line, '\n')) != NULL && end != line; line = end + 1) {
        *end = 0;
        if (strncmp(line, "expect: ", 8) == 0)
            for (int i = 0; i < 5; i++)
                if (strcmp(line + 8, outcomes[i]) == 0) {
                    vector->expected = (enum outcome)i;
                    vector->ours = true;
                }
        if (strncmp(line, "identity: ", 10) == 0)
            age_identity_read(vector, line + 10);
        if (strncmp(line, "payload: ", 9) == 0)
            vector->payload_hash = hex_blob(line + 9, 64);
        compressed |= strcmp(line, "compressed: zlib") == 0;
    }
    assert_non_null(end);
    struct blob rest = { (uint8_t *)line + 1,
                         text.bytes - (size_t)((uint8_t *)line + 1 - text.data) };
    if (compressed) {
        vector->file = inflated(rest, ISAL_ZLIB);
    } else {
        vector->file.data = malloc(rest.bytes + 1);
        assert_non_null(vector->file.data);
        memcpy(vector->file.data, rest.data, rest.bytes);
        vector->file.bytes = rest.bytes;
    }
}

/* Base64 without padding, in its one form. */
static bool base64(struct blob *out, const char *text, size_t length)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0, count_of_bits = 0;
    out->data = vector_memory(length);
    out->bytes = 0;
    for (size_t i = 0; i < length; i++) {
        const char *digit = text[i] ? strchr(alphabet, text[i]) : NULL;
        if (!digit)
            return false;
        bits = bits << 6 | (uint32_t)(digit - alphabet);
        count_of_bits += 6;
        if (count_of_bits >= 8) {
            count_of_bits -= 8;
            out->data[out->bytes++] = (uint8_t)(bits >> count_of_bits);
        }
    }
    return length % 4 != 1 && !(bits & ((1u << count_of_bits) - 1));
}

/* The next line, without its end; false if there is none. */
static bool age_line(const struct blob *file, size_t *at, struct blob *line)
{
    const uint8_t *end = memchr(file->data + *at, '\n', file->bytes - *at);
    if (!end)
        return false;
    line->data = file->data + *at;
    line->bytes = (size_t)(end - line->data);
    *at += line->bytes + 1;
    return true;
}

/* Arguments of a stanza: words of visible characters, divided by one space each. */
static bool age_arguments(struct blob line, struct blob *arguments, size_t room, size_t *found)
{
    *found = 0;
    for (size_t at = 0;;) {
        size_t begin = at;
        while (at < line.bytes && line.data[at] > ' ' && line.data[at] < 0x7f)
            at++;
        if (at == begin || (at < line.bytes && line.data[at] != ' '))
            return false;
        if (*found < room)
            arguments[*found] = (struct blob){ line.data + begin, at - begin };
        ++*found;
        if (at++ == line.bytes)
            return true;
    }
}

static bool blob_is(struct blob blob, const char *text)
{
    return blob.bytes == strlen(text) && memcmp(blob.data, text, blob.bytes) == 0;
}

/* Try the keys on one stanza: HEADER_FAILURE if it is not as its kind should be. */
static enum outcome age_stanza(const struct age_vector *vector, const struct blob *arguments,
                               size_t argument_count, struct blob sealed,
                               uint8_t file_key[AGE_KEY_BYTES])
{
    bool hybrid = blob_is(arguments[0], "mlkem768x25519");
    const struct mmh_kem *kem = hybrid ? &mmh_kem_x_wing : &mmh_kem_x25519;
    const char *label = hybrid ? "age-encryption.org/mlkem768x25519"
                               : "age-encryption.org/v1/X25519";
    struct blob enc;
    uint8_t shared[32];
    if (!hybrid && !blob_is(arguments[0], "X25519"))
        return NO_MATCH;
    if (argument_count != 2 || !base64(&enc, (const char *)arguments[1].data, arguments[1].bytes) ||
        enc.bytes != kem->enc_bytes || sealed.bytes != AGE_KEY_BYTES + MMH_AEAD_TAG_BYTES)
        return HEADER_FAILURE;
    for (size_t i = 0; i < vector->identity_count; i++) {
        const struct age_identity *identity = &vector->identities[i];
        if (identity->hybrid != hybrid)
            continue;
        struct blob body = { vector_memory(enc.bytes + sealed.bytes), enc.bytes + sealed.bytes };
        memcpy(body.data, enc.data, enc.bytes);
        memcpy(body.data + enc.bytes, sealed.data, sealed.bytes);
        mmh_status status = mmh_wrap_open(file_key, AGE_KEY_BYTES, kem, label, identity->public_key,
                                          kem->public_bytes, identity->secret_key,
                                          kem->secret_bytes, body.data, body.bytes, NULL);
        if (status == MMH_OK)
            return SUCCESS;
        assert_int_equal(status, MMH_E_KEY);
        /* age tells a point of low order from a wrong key; ours are one to whoever asks. */
        if (mmh_x25519(shared, identity->secret_key + kem->secret_bytes - 32,
                       enc.data + enc.bytes - 32, NULL) != MMH_OK)
            return HEADER_FAILURE;
    }
    return NO_MATCH;
}

/* The payload, from its nonce on; what was good of it is hashed. */
static enum outcome age_payload(const struct age_vector *vector, const uint8_t *file_key,
                                struct blob payload)
{
    uint8_t key[32], nonce[12] = { 0 };
    mmh_aead *aead;
    enum outcome outcome = PAYLOAD_FAILURE;
    if (payload.bytes < 16)
        return HEADER_FAILURE;
    struct blob plain = { malloc(payload.bytes), 0 };
    assert_non_null(plain.data);
    assert_int_equal(mmh_hkdf(key, 32, MMH_KDF_SHA256, payload.data, 16, file_key, AGE_KEY_BYTES,
                              "payload", 7, NULL),
                     MMH_OK);
    assert_int_equal(mmh_aead_create(&aead, MMH_AEAD_CHACHA20_POLY1305, key, NULL), MMH_OK);
    for (size_t at = 16, number = 0; at < payload.bytes; number++) {
        size_t n = MMH_MIN(payload.bytes - at, (size_t)AGE_CHUNK_BYTES + 16);
        bool good = false;
        if (n < 16 || (number && n == 16))
            break;
        nonce[9] = (uint8_t)(number >> 8);
        nonce[10] = (uint8_t)number;
        /* A whole chunk may be the last or not: age tries both, and judges afterwards. */
        for (nonce[11] = n < AGE_CHUNK_BYTES + 16; !good && nonce[11] < 2; nonce[11]++)
            good = mmh_aead_open(aead, plain.data + plain.bytes, nonce, payload.data + at, n, NULL,
                                 0, NULL) == MMH_OK;
        if (!good)
            break;
        plain.bytes += n - 16;
        at += n;
        if (nonce[11] == 2) { /* the last one */
            outcome = at == payload.bytes ? SUCCESS : PAYLOAD_FAILURE;
            break;
        }
    }
    if (vector->payload_hash.data)
        assert_blob(digest("SHA256", plain, 32), vector->payload_hash);
    mmh_aead_destroy(aead);
    free(plain.data);
    return outcome;
}

static enum outcome age_open(const struct age_vector *vector)
{
    const struct blob *file = &vector->file;
    uint8_t file_key[AGE_KEY_BYTES], key[32], mac[32];
    struct blob line, expected, bodies[8], arguments[8][2];
    size_t at = 0, stanzas = 0, found[8];
    enum outcome outcome = NO_MATCH;
    if (!age_line(file, &at, &line) || !blob_is(line, "age-encryption.org/v1"))
        return HEADER_FAILURE;
    for (;;) {
        size_t begin = at;
        struct blob body = { vector_memory(4096), 0 };
        if (!age_line(file, &at, &line))
            return HEADER_FAILURE;
        if (line.bytes > 4 && memcmp(line.data, "--- ", 4) == 0) {
            if (!stanzas || !base64(&expected, (const char *)line.data + 4, line.bytes - 4) ||
                expected.bytes != 32)
                return HEADER_FAILURE;
            line = (struct blob){ file->data, begin + 3 }; /* what the MAC is of */
            break;
        }
        assert_true(stanzas < 8);
        if (line.bytes < 3 || memcmp(line.data, "-> ", 3) != 0 ||
            !age_arguments((struct blob){ line.data + 3, line.bytes - 3 }, arguments[stanzas], 2,
                           &found[stanzas]))
            return HEADER_FAILURE;
        do {
            struct blob piece;
            if (!age_line(file, &at, &line) || line.bytes > 64 ||
                !base64(&piece, (const char *)line.data, line.bytes))
                return HEADER_FAILURE;
            assert_true(body.bytes + piece.bytes <= 4096);
            memcpy(body.data + body.bytes, piece.data, piece.bytes);
            body.bytes += piece.bytes;
        } while (line.bytes == 64);
        bodies[stanzas++] = body;
    }
    for (size_t i = 0; i < stanzas && outcome == NO_MATCH; i++)
        outcome = age_stanza(vector, arguments[i], found[i], bodies[i], file_key);
    if (outcome != SUCCESS)
        return outcome;
    assert_int_equal(
        mmh_hkdf(key, 32, MMH_KDF_SHA256, NULL, 0, file_key, AGE_KEY_BYTES, "header", 6, NULL),
        MMH_OK);
    const struct mmh_piece piece = { line.data, line.bytes };
    assert_int_equal(mmh_hmac(mac, MMH_KDF_SHA256, key, &piece, 1, NULL), MMH_OK);
    if (memcmp(mac, expected.data, 32) != 0)
        return HMAC_FAILURE;
    return age_payload(vector, file_key, (struct blob){ file->data + at, file->bytes - at });
}

static void test_cctv_age(void **state)
{
    (void)state;
    unsigned by_outcome[5] = { 0 }, hybrids = 0;
    char path[1024];
    count_begin("cctv-age/age/testdata", "armor, and passphrases by scrypt");
    vector_path(path, count.file);
    DIR *folder = opendir(path);
    assert_non_null(folder);
    for (const struct dirent *item; (item = readdir(folder)) != NULL;) {
        const char *name = item->d_name;
        struct age_vector vector;
        char file[512];
        if (*name == '.')
            continue;
        if (strncmp(name, "armor", 5) == 0 || strncmp(name, "scrypt", 6) == 0) {
            count.skipped++;
            continue;
        }
        assert_true(snprintf(file, sizeof file, "%s/%s", count.file, name) < (int)sizeof file);
        struct blob text = vector_read(file);
        mmh_arena_init(&vector_arena, NULL);
        age_vector_read(&vector, text);
        if (!vector.ours)
            fail_msg("%s expects what is not known here", name);
        enum outcome outcome = age_open(&vector);
        if (outcome != vector.expected)
            fail_msg("%s: %d, not %d", name, outcome, vector.expected);
        by_outcome[outcome]++;
        hybrids += strncmp(name, "hybrid", 6) == 0;
        mmh_arena_release(&vector_arena);
        free(vector.file.data);
        free(text.data);
        count.run++;
    }
    closedir(folder);
    assert_int_equal(count.run + count.skipped, 143);
    assert_true(by_outcome[SUCCESS] >= 15 && by_outcome[NO_MATCH] >= 8 && hybrids == 18);
    count_tell(&count);
    print_message(
        "vectors: %s: %u opened, %u without a key for them, %u with a wrong MAC, %u with a "
        "wrong header, %u with a wrong payload; %u of X-Wing\n",
        count.file, by_outcome[SUCCESS], by_outcome[NO_MATCH], by_outcome[HMAC_FAILURE],
        by_outcome[HEADER_FAILURE], by_outcome[PAYLOAD_FAILURE], hybrids);
}

/* ---- Classic McEliece ---- */

#ifdef MMH_MCELIECE_STATIC
/* NIST's generator of its known-answer tests: AES-256 in counter mode, SP 800-90A without derivation. */
static struct {
    uint8_t key[32], counter[16];
} drbg;

static void drbg_block(uint8_t out[16])
{
    int bytes = 0;
    for (int i = 15; i >= 0 && !++drbg.counter[i]; i--)
        continue;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-ECB", NULL);
    if (EVP_EncryptInit_ex2(context, cipher, drbg.key, NULL, NULL) != 1 ||
        EVP_EncryptUpdate(context, out, &bytes, drbg.counter, 16) != 1 || bytes != 16)
        abort();
    EVP_CIPHER_free(cipher);
    EVP_CIPHER_CTX_free(context);
}

static void drbg_update(const uint8_t *provided)
{
    uint8_t next[48];
    for (int i = 0; i < 3; i++)
        drbg_block(next + 16 * i);
    for (int i = 0; provided && i < 48; i++)
        next[i] ^= provided[i];
    memcpy(drbg.key, next, 32);
    memcpy(drbg.counter, next + 32, 16);
}

void randombytes_internal_void_voidstar_longlong(void *dst, long long bytes);

/* Instead of the library's, which is of the system's random bytes. */
void randombytes_internal_void_voidstar_longlong(void *dst, long long bytes)
{
    uint8_t *out = dst, block[16];
    for (; bytes > 0; bytes -= 16, out += 16) {
        drbg_block(block);
        memcpy(out, block, (size_t)MMH_MIN(bytes, 16));
    }
    drbg_update(NULL);
}

/* Seed, SS, PK, SK, CT of each set: one key, and one secret sent to it. */
static void test_botan_mceliece(void **state)
{
    (void)state;
    struct vector_lines lines;
    const char *name, *value;
    struct blob values[5];
    size_t at = 0;
    count_begin("botan-3.7.1/cmce_kat_hashed.vec", "sets that we have not");
    lines_open(&lines, count.file);
    mmh_arena_init(&vector_arena, NULL);
    while (lines_next(&lines, &name, &value)) {
        char kem_name[80];
        values[at++] = hex_blob(value, strlen(value));
        if (at < 5)
            continue;
        at = 0;
        snprintf(kem_name, sizeof kem_name, "mceliece%s", lines.section);
        const struct mmh_kem *kem = mmh_kem_by_name(kem_name);
        count.skipped += !kem;
        if (!kem)
            continue;
        struct blob public_key = { vector_memory(kem->public_bytes), kem->public_bytes };
        struct blob secret_key = { vector_memory(kem->secret_bytes), kem->secret_bytes };
        uint8_t enc[256], shared[32];
        size_t enc_bytes;
        assert_int_equal(values[0].bytes, 48);
        memset(&drbg, 0, sizeof drbg);
        drbg_update(values[0].data);
        assert_int_equal(kem->generate(public_key.data, secret_key.data, NULL), MMH_OK);
        assert_blob(digest("SHAKE256", public_key, 64), values[2]);
        assert_blob(digest("SHAKE256", secret_key, 64), values[3]);
        assert_int_equal(
            kem->encapsulate(enc, &enc_bytes, shared, public_key.data, public_key.bytes, NULL),
            MMH_OK);
        assert_blob((struct blob){ enc, enc_bytes }, values[4]);
        assert_blob((struct blob){ shared, 32 }, values[1]);
        memset(shared, 0, sizeof shared);
        assert_int_equal(kem->decapsulate(shared, enc, enc_bytes, secret_key.data, secret_key.bytes,
                                          public_key.data, public_key.bytes, NULL),
                         MMH_OK);
        assert_blob((struct blob){ shared, 32 }, values[1]);
        count.run++;
    }
    mmh_arena_release(&vector_arena);
    lines_close(&lines);
    assert_int_equal(count.run, 3);
    count_tell(&count);
    count_begin("botan-3.7.1/cmce_negative.vec", "348864f and 6688128pcf, sets that we have not");
    count.skipped = 2;
    count_tell(&count);
}
#else
static void test_botan_mceliece(void **state)
{
    (void)state;
    count_begin("botan-3.7.1/cmce_*.vec", "no libmceliece whose random bytes can be given");
    count.skipped = 18;
    count_tell(&count);
    skip();
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wycheproof_aead),
        cmocka_unit_test(test_wycheproof_hkdf),
        cmocka_unit_test(test_wycheproof_x25519),
        cmocka_unit_test(test_wycheproof_ml_kem),
        cmocka_unit_test(test_cctv_ml_kem),
        cmocka_unit_test(test_cctv_ml_kem_accumulated),
        cmocka_unit_test(test_botan_ml_kem),
        cmocka_unit_test(test_x_wing),
        cmocka_unit_test(test_hpke),
        cmocka_unit_test(test_cctv_age),
        cmocka_unit_test(test_botan_mceliece),
    };
    if (!vectors_are_there()) {
        puts("skipped: $MMH_SHARED/vectors is not there");
        return 77;
    }
    return cmocka_run_group_tests_name("vectors_kem", tests, NULL, NULL);
}
