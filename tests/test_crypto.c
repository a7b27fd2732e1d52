/*
 * What is sealed opens with its key alone; file keys reach their recipients and nobody else.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>
#include <openssl/err.h>

#include "base/bits.h"
#include "base/pages.h"
#include "counting.h"
#include "crypto/kem_private.h"
#include "crypto/random.h"
#include "crypto/recipient_private.h"
#include "crypto/secret.h"
#include "crypto_maker.h"
#include "recipients_sample.h"

enum { AEAD = MMH_AEAD_AES_256_GCM, HASH = 1, HEADER_BYTES = 128, ROOT_BYTES = 32 };

static double seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void fill(uint8_t *data, size_t bytes, unsigned seed)
{
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
}

static bool is_zero(const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (((const uint8_t *)data)[i])
            return false;
    return true;
}

/* ---- AEADs ---- */

static void test_what_is_sealed_opens_in_place_and_apart(void **state)
{
    (void)state;
    static const size_t lengths[] = { 0, 1, 15, 16, 17, 4096, 300000 };
    uint8_t *plain = malloc(300000), *sealed = malloc(300016), *back = malloc(300000);
    uint8_t key[32], nonce[12];
    assert_true(plain && sealed && back);
    fill(plain, 300000, 1);
    fill(key, sizeof key, 2);
    for (unsigned suite = 1; suite <= 2; suite++) {
        mmh_aead *aead;
        assert_int_equal(mmh_aead_create(&aead, suite, key, NULL), MMH_OK);
        for (size_t i = 0; i < MMH_COUNT_OF(lengths); i++) {
            size_t n = lengths[i];
            mmh_aead_nonce(nonce, i);
            assert_int_equal(mmh_aead_seal(aead, sealed, nonce, plain, n, key, i, NULL), MMH_OK);
            assert_int_equal(mmh_aead_open(aead, back, nonce, sealed, n + 16, key, i, NULL),
                             MMH_OK);
            assert_memory_equal(back, plain, n);
            /* The same memory, and the same key for both directions. */
            memcpy(back, plain, n);
            uint8_t *inside = malloc(n + 16);
            assert_non_null(inside);
            memcpy(inside, plain, n);
            assert_int_equal(mmh_aead_seal(aead, inside, nonce, inside, n, key, i, NULL), MMH_OK);
            assert_memory_equal(inside, sealed, n + 16);
            assert_int_equal(mmh_aead_open(aead, inside, nonce, inside, n + 16, key, i, NULL),
                             MMH_OK);
            assert_memory_equal(inside, plain, n);
            free(inside);
        }
        mmh_aead_destroy(aead);
    }
    free(plain);
    free(sealed);
    free(back);
    assert_int_equal(ERR_peek_error(), 0);
}

static void test_changed_sealed_bytes_give_zeros_and_corrupt(void **state)
{
    (void)state;
    enum { N = 40, EXTRA = 9 };
    uint8_t key[32], nonce[12], plain[N], sealed[N + 16], extra[EXTRA], back[N];
    fill(key, sizeof key, 3);
    fill(plain, sizeof plain, 4);
    fill(extra, sizeof extra, 5);
    mmh_aead_nonce(nonce, 77);
    for (unsigned suite = 1; suite <= 2; suite++) {
        mmh_aead *aead;
        assert_int_equal(mmh_aead_create(&aead, suite, key, NULL), MMH_OK);
        assert_int_equal(mmh_aead_seal(aead, sealed, nonce, plain, N, extra, EXTRA, NULL), MMH_OK);
        struct {
            uint8_t *data;
            size_t bytes;
        } parts[] = { { sealed, sizeof sealed }, { nonce, sizeof nonce }, { extra, sizeof extra } };
        for (size_t p = 0; p < MMH_COUNT_OF(parts); p++)
            for (size_t i = 0; i < parts[p].bytes; i++) {
                mmh_error err = { 0 };
                parts[p].data[i] ^= 1;
                memset(back, 7, sizeof back);
                assert_int_equal(
                    mmh_aead_open(aead, back, nonce, sealed, sizeof sealed, extra, EXTRA, &err),
                    MMH_E_CORRUPT);
                assert_true(is_zero(back, sizeof back) && err.status == MMH_E_CORRUPT);
                parts[p].data[i] ^= 1;
            }
        assert_int_equal(mmh_aead_open(aead, back, nonce, sealed, 15, extra, EXTRA, NULL),
                         MMH_E_CORRUPT);
        /* Nothing of a failure stays behind. */
        assert_int_equal(
            mmh_aead_open(aead, back, nonce, sealed, sizeof sealed, extra, EXTRA, NULL), MMH_OK);
        assert_memory_equal(back, plain, N);
        mmh_aead_destroy(aead);
    }
    assert_int_equal(ERR_peek_error(), 0);
}

static void test_suites_have_names_and_numbers(void **state)
{
    (void)state;
    uint8_t key[32] = { 0 }, nonce[12];
    mmh_aead *aead;
    assert_string_equal(mmh_aead_name(1), "aes-256-gcm");
    assert_string_equal(mmh_aead_name(2), "chacha20-poly1305");
    assert_null(mmh_aead_name(0));
    assert_null(mmh_aead_name(3));
    assert_int_equal(mmh_aead_find("chacha20-poly1305"), 2);
    assert_int_equal(mmh_aead_find("aes-128-gcm"), MMH_AEAD_NONE);
    assert_non_null(mmh_aead_name(mmh_aead_default()));
    assert_int_equal(mmh_aead_create(&aead, 3, key, NULL), MMH_E_UNSUPPORTED);
    assert_null(aead);
    mmh_aead_nonce(nonce, 0x0123456789abcdef);
    static const uint8_t expected[12] = { 0, 0, 0, 0, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 1 };
    assert_memory_equal(nonce, expected, 12);
}

/* ---- derivation ---- */

/* RFC 4231, case 1; its key of 20 bytes is one of 32 with zeros behind. */
static void test_hmac_is_the_published_one(void **state)
{
    (void)state;
    static const uint8_t sha256[32] = { 0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53,
                                        0x5c, 0xa8, 0xaf, 0xce, 0xaf, 0x0b, 0xf1, 0x2b,
                                        0x88, 0x1d, 0xc2, 0x00, 0xc9, 0x83, 0x3d, 0xa7,
                                        0x26, 0xe9, 0x37, 0x6c, 0x2e, 0x32, 0xcf, 0xf7 };
    static const uint8_t sha384[32] = { 0xaf, 0xd0, 0x39, 0x44, 0xd8, 0x48, 0x95, 0x62,
                                        0x6b, 0x08, 0x25, 0xf4, 0xab, 0x46, 0x90, 0x7f,
                                        0x15, 0xf9, 0xda, 0xdb, 0xe4, 0x10, 0x1e, 0xc6,
                                        0x82, 0xaa, 0x03, 0x4c, 0x7c, 0xeb, 0xc5, 0x9c };
    uint8_t key[32] = { 0 }, mac[32];
    memset(key, 0x0b, 20);
    const struct mmh_piece pieces[] = { { "Hi ", 3 }, { NULL, 0 }, { "There", 5 } };
    assert_int_equal(mmh_hmac(mac, MMH_KDF_SHA256, key, pieces, 3, NULL), MMH_OK);
    assert_memory_equal(mac, sha256, 32);
    assert_int_equal(mmh_hmac(mac, MMH_KDF_SHA384, key, pieces, 3, NULL), MMH_OK);
    assert_memory_equal(mac, sha384, 32);
}

static void test_hkdf_is_its_halves(void **state)
{
    (void)state;
    for (int hash = MMH_KDF_SHA256; hash <= MMH_KDF_SHA384; hash++) {
        uint8_t whole[100], halves[100], prk[MMH_KDF_HASH_BYTES_MAX];
        assert_int_equal(mmh_hkdf(whole, 100, hash, "salt", 4, "key", 3, "info", 4, NULL), MMH_OK);
        assert_int_equal(mmh_hkdf_extract(prk, hash, "salt", 4, "key", 3, NULL), MMH_OK);
        assert_int_equal(mmh_hkdf_expand(halves, 100, hash, prk, "info", 4, NULL), MMH_OK);
        assert_memory_equal(whole, halves, 100);
        assert_int_equal(mmh_hkdf(whole, 32, hash, NULL, 0, "key", 3, NULL, 0, NULL), MMH_OK);
        assert_int_equal(mmh_hkdf_extract(prk, hash, "", 0, "key", 3, NULL), MMH_OK);
        assert_int_equal(mmh_hkdf_expand(halves, 32, hash, prk, "", 0, NULL), MMH_OK);
        assert_memory_equal(whole, halves, 32);
    }
}

static void test_hostile_costs_are_refused_before_work(void **state)
{
    (void)state;
    static const struct mmh_argon2_cost hostile[] = {
        { (1 << 20) + 1, 3, 4 },
        { UINT32_MAX, 1, 1 },
        { 1 << 16, 17, 4 },
        { 1 << 16, UINT32_MAX, 4 },
        { 1 << 16, 3, 17 },
        { 1 << 16, 3, UINT32_MAX },
        { 0, 3, 1 },
        { 1 << 16, 0, 4 },
        { 1 << 16, 3, 0 },
        { 31, 1, 4 },
        { UINT32_MAX, UINT32_MAX, UINT32_MAX },
    };
    uint8_t out[32], salt[16] = { 0 };
    double begin = seconds();
    for (size_t i = 0; i < MMH_COUNT_OF(hostile); i++)
        assert_int_equal(mmh_argon2id(out, 32, &hostile[i], "x", 1, salt, NULL), MMH_E_LIMIT);
    assert_true(seconds() - begin < 0.05);
    static const struct mmh_argon2_cost least = { 32, 1, 4 };
    assert_int_equal(mmh_argon2id(out, 32, &least, "x", 1, salt, NULL), MMH_OK);
}

/* ---- KEMs ---- */

static void test_every_kem_gives_both_sides_the_same_secret(void **state)
{
    (void)state;
    for (size_t i = 0; i < mmh_kem_count(); i++) {
        const struct mmh_kem *kem = mmh_kem_at(i);
        struct mmh_key_part part = make_part(kem), other = make_part(kem);
        uint8_t enc[MMH_KEM_ENC_BYTES_MAX], sent[MMH_KEM_SHARED_BYTES_MAX] = { 0 };
        uint8_t got[MMH_KEM_SHARED_BYTES_MAX] = { 0 }, wrong[MMH_KEM_SHARED_BYTES_MAX] = { 0 };
        size_t enc_bytes = 0;
        assert_ptr_equal(mmh_kem_by_id(kem->id), kem);
        assert_ptr_equal(mmh_kem_by_name(kem->name), kem);
        assert_string_equal(mmh_kem_name(kem->id), kem->name);
        assert_true(kem->shared_bytes <= sizeof got && kem->enc_bytes <= sizeof enc);
        assert_true(kem->post_quantum == (kem->nist_category > 0));
        assert_int_equal(
            kem->encapsulate(enc, &enc_bytes, sent, part.public_key, part.public_bytes, NULL),
            MMH_OK);
        assert_int_equal(enc_bytes, kem->id == MMH_KEM_RSA_OAEP ? 256 : kem->enc_bytes);
        assert_int_equal(kem->decapsulate(got, enc, enc_bytes, part.secret_key, part.secret_bytes,
                                          part.public_key, part.public_bytes, NULL),
                         MMH_OK);
        assert_memory_equal(sent, got, sizeof got);
        assert_false(is_zero(got, kem->shared_bytes));
        /* Another key, another secret, or none. */
        mmh_error err = { 0 };
        mmh_status status = kem->decapsulate(wrong, enc, enc_bytes, other.secret_key,
                                             other.secret_bytes, other.public_key,
                                             other.public_bytes, &err);
        assert_true(status == MMH_OK || status == MMH_E_KEY);
        assert_memory_not_equal(wrong, sent, kem->shared_bytes);
        /* Another length of anything is wrong. */
        for (int by = -1; by <= 1; by += 2) {
            assert_int_equal(kem->decapsulate(wrong, enc, enc_bytes + (size_t)by, part.secret_key,
                                              part.secret_bytes, part.public_key, part.public_bytes,
                                              NULL),
                             MMH_E_KEY);
            uint8_t *longer = calloc(1, part.secret_bytes + 1);
            assert_non_null(longer);
            memcpy(longer, part.secret_key, part.secret_bytes);
            if (kem->id != MMH_KEM_RSA_OAEP || by < 0)
                assert_int_equal(kem->decapsulate(wrong, enc, enc_bytes, longer,
                                                  part.secret_bytes + (size_t)by, part.public_key,
                                                  part.public_bytes, NULL),
                                 MMH_E_KEY);
            free(longer);
            longer = calloc(1, part.public_bytes + 1);
            assert_non_null(longer);
            memcpy(longer, part.public_key, part.public_bytes);
            assert_int_equal(kem->encapsulate(enc, &enc_bytes, wrong, longer,
                                              part.public_bytes + (size_t)by, NULL),
                             MMH_E_KEY);
            free(longer);
            enc_bytes = kem->id == MMH_KEM_RSA_OAEP ? 256 : kem->enc_bytes;
        }
        if (kem->derive) {
            uint8_t *derived = malloc(part.public_bytes);
            assert_non_null(derived);
            assert_int_equal(kem->derive(derived, part.secret_key, NULL), MMH_OK);
            assert_memory_equal(derived, part.public_key, part.public_bytes);
            free(derived);
        }
        release_part(&part);
        release_part(&other);
    }
    assert_null(mmh_kem_at(mmh_kem_count()));
    assert_null(mmh_kem_by_id(0));
    assert_null(mmh_kem_by_id(MMH_KEM_PASSPHRASE));
    assert_null(mmh_kem_name(0));
    assert_null(mmh_kem_name(13));
    assert_string_equal(mmh_kem_name(MMH_KEM_PASSPHRASE), "passphrase");
    assert_int_equal(ERR_peek_error(), 0);
}

/* Points of RFC 7748's curve whose multiples are all zero. */
static const uint8_t low_order[][32] = {
    { 0 },
    { 1 },
    { 0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3,
      0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32,
      0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00 },
    { 0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f },
};

static void test_low_order_points_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < mmh_kem_count(); i++) {
        const struct mmh_kem *kem = mmh_kem_at(i);
        if (!kem->classical || kem->id == MMH_KEM_RSA_OAEP)
            continue; /* without X25519 */
        struct mmh_key_part part = make_part(kem);
        uint8_t enc[MMH_KEM_ENC_BYTES_MAX], shared[MMH_KEM_SHARED_BYTES_MAX];
        size_t enc_bytes;
        assert_int_equal(
            kem->encapsulate(enc, &enc_bytes, shared, part.public_key, part.public_bytes, NULL),
            MMH_OK);
        for (size_t k = 0; k < MMH_COUNT_OF(low_order); k++) {
            uint8_t again[MMH_KEM_ENC_BYTES_MAX];
            memcpy(enc + enc_bytes - 32, low_order[k], 32);
            assert_int_equal(kem->decapsulate(shared, enc, enc_bytes, part.secret_key,
                                              part.secret_bytes, part.public_key, part.public_bytes,
                                              NULL),
                             MMH_E_KEY);
            memcpy(part.public_key + part.public_bytes - 32, low_order[k], 32);
            assert_int_equal(kem->encapsulate(again, &enc_bytes, shared, part.public_key,
                                              part.public_bytes, NULL),
                             MMH_E_KEY);
            enc_bytes = kem->enc_bytes;
        }
        release_part(&part);
    }
    assert_int_equal(ERR_peek_error(), 0);
}

static void test_a_public_key_over_the_modulus_is_refused(void **state)
{
    (void)state;
    static const unsigned ids[] = { MMH_KEM_ML_KEM_768, MMH_KEM_ML_KEM_1024, MMH_KEM_X_WING };
    for (size_t i = 0; i < MMH_COUNT_OF(ids); i++) {
        const struct mmh_kem *kem = mmh_kem_by_id(ids[i]);
        struct mmh_key_part part = make_part(kem);
        uint8_t enc[MMH_KEM_ENC_BYTES_MAX], shared[MMH_KEM_SHARED_BYTES_MAX];
        size_t enc_bytes;
        part.public_key[300] = part.public_key[301] = part.public_key[302] = 0xff; /* 4095, twice */
        assert_int_equal(
            kem->encapsulate(enc, &enc_bytes, shared, part.public_key, part.public_bytes, NULL),
            MMH_E_KEY);
        release_part(&part);
    }
    assert_int_equal(ERR_peek_error(), 0);
}

static void test_short_rsa_keys_are_refused(void **state)
{
    (void)state;
    struct mmh_key_part part = { .kem = &mmh_kem_rsa_oaep };
    uint8_t enc[MMH_KEM_ENC_BYTES_MAX], shared[32];
    size_t enc_bytes;
    make_rsa(&part, 1024);
    assert_int_equal(mmh_kem_rsa_oaep.encapsulate(enc, &enc_bytes, shared, part.public_key,
                                                  part.public_bytes, NULL),
                     MMH_E_KEY);
    assert_int_equal(mmh_kem_rsa_oaep.decapsulate(shared, enc, 128, part.secret_key,
                                                  part.secret_bytes, part.public_key,
                                                  part.public_bytes, NULL),
                     MMH_E_KEY);
    assert_int_equal(mmh_kem_rsa_oaep.generate(enc, shared, NULL), MMH_E_UNSUPPORTED);
    release_part(&part);
}

static void *make_and_use_every_kem(void *failed)
{
    for (size_t i = 0; i < mmh_kem_count(); i++) {
        const struct mmh_kem *kem = mmh_kem_at(i);
        if (kem->id == MMH_KEM_RSA_OAEP)
            continue; /* whose keys crypto/key.h makes */
        uint8_t *public_key = malloc(kem->public_bytes), *secret_key = malloc(kem->secret_bytes);
        uint8_t enc[MMH_KEM_ENC_BYTES_MAX], sent[64], got[64];
        size_t enc_bytes;
        if (!public_key || !secret_key || kem->generate(public_key, secret_key, NULL) != MMH_OK ||
            kem->encapsulate(enc, &enc_bytes, sent, public_key, kem->public_bytes, NULL) !=
                MMH_OK ||
            kem->decapsulate(got, enc, enc_bytes, secret_key, kem->secret_bytes, public_key,
                             kem->public_bytes, NULL) != MMH_OK ||
            memcmp(got, sent, kem->shared_bytes) != 0)
            *(bool *)failed = true;
        free(public_key);
        free(secret_key);
    }
    return NULL;
}

static void test_a_small_stack_is_enough(void **state)
{
    (void)state;
    pthread_attr_t attributes;
    pthread_t thread;
    bool failed = false;
    assert_int_equal(pthread_attr_init(&attributes), 0);
    assert_int_equal(pthread_attr_setstacksize(&attributes, 256 << 10), 0);
    assert_int_equal(pthread_create(&thread, &attributes, make_and_use_every_kem, &failed), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    (void)pthread_attr_destroy(&attributes);
    assert_false(failed);
}

/* ---- recipients ---- */

/* A container's file key, what is bound to it, and a section in the making. */
struct made {
    uint8_t file_key[MMH_FILE_KEY_BYTES], header[HEADER_BYTES], root[ROOT_BYTES];
    struct mmh_file_keys keys;
    struct mmh_buffer stanzas, section;
    unsigned count;
};

static void made_init(struct made *made)
{
    memset(made, 0, sizeof *made);
    assert_int_equal(mmh_random(made->file_key, sizeof made->file_key, NULL), MMH_OK);
    fill(made->header, sizeof made->header, 8);
    fill(made->root, sizeof made->root, 9);
    assert_int_equal(mmh_file_keys_derive(&made->keys, made->file_key, AEAD, HASH, NULL), MMH_OK);
    mmh_buffer_init(&made->stanzas, NULL);
    mmh_buffer_init(&made->section, NULL);
}

static void made_add(struct made *made, const struct mmh_key_part *part)
{
    assert_int_equal(mmh_stanza_write(&made->stanzas, made->file_key, part, NULL), MMH_OK);
    made->count++;
}

static const struct mmh_argon2_cost cheap = { 64, 1, 1 };

static void made_add_passphrase(struct made *made, const char *text)
{
    assert_int_equal(mmh_stanza_write_passphrase(&made->stanzas, made->file_key, text, strlen(text),
                                                 &cheap, NULL),
                     MMH_OK);
    made->count++;
}

static void made_finish(struct made *made)
{
    mmh_buffer_clear(&made->section);
    assert_int_equal(mmh_recipients_write(&made->section, made->stanzas.data, made->stanzas.bytes,
                                          made->count, &made->keys, HASH, made->header,
                                          sizeof made->header, made->root, sizeof made->root, NULL),
                     MMH_OK);
}

static void made_release(struct made *made)
{
    mmh_buffer_release(&made->stanzas);
    mmh_buffer_release(&made->section);
}

static unsigned times_asked;

static mmh_status answer(void *user, const char *why, char *passphrase, size_t room, size_t *bytes,
                         mmh_error *err)
{
    (void)err;
    assert_non_null(why);
    *bytes = strlen(user);
    assert_true(*bytes <= room);
    memcpy(passphrase, user, *bytes);
    times_asked++;
    return MMH_OK;
}

static mmh_status answer_nothing(void *user, const char *why, char *passphrase, size_t room,
                                 size_t *bytes, mmh_error *err)
{
    (void)user, (void)why, (void)passphrase, (void)room, (void)bytes;
    return mmh_fail(err, MMH_E_KEY, "nobody there");
}

/* Open a section as made->header and root have it. */
static mmh_status open_bytes(const struct made *made, const uint8_t *section, size_t bytes,
                             const struct mmh_unlock *unlock, mmh_error *err)
{
    uint8_t file_key[MMH_FILE_KEY_BYTES];
    struct mmh_file_keys keys;
    memset(&keys, 1, sizeof keys);
    memset(file_key, 1, sizeof file_key);
    mmh_status status = mmh_recipients_open(
        file_key, &keys, section, bytes, unlock, made->keys.commitment, AEAD, HASH, made->header,
        sizeof made->header, made->root, sizeof made->root, err);
    if (status == MMH_OK) {
        assert_memory_equal(file_key, made->file_key, sizeof file_key);
        assert_memory_equal(&keys, &made->keys, sizeof keys);
    } else {
        assert_true(is_zero(file_key, sizeof file_key) && is_zero(&keys, sizeof keys));
    }
    return status;
}

static mmh_status open_made(const struct made *made, const struct mmh_key_part *parts, size_t count,
                            mmh_error *err)
{
    mmh_identity identity = { .parts = (struct mmh_key_part *)(uintptr_t)parts,
                              .part_count = count };
    const mmh_identity *identities[] = { &identity };
    const struct mmh_unlock unlock = { .identities = identities, .identity_count = 1 };
    return open_bytes(made, made->section.data, made->section.bytes, &unlock, err);
}

static mmh_status open_passphrase(const struct made *made, const char *text, mmh_error *err)
{
    const struct mmh_unlock unlock = { .ask = answer, .user = (void *)(uintptr_t)text };
    return open_bytes(made, made->section.data, made->section.bytes, &unlock, err);
}

/* All that Python made of docs/format.md section 15 is read. */
static void test_a_section_of_another_implementation_opens(void **state)
{
    (void)state;
    struct mmh_key_part x25519 = make_part(&mmh_kem_x25519);
    struct mmh_key_part ml_kem = make_part(&mmh_kem_ml_kem_768);
    struct mmh_file_keys keys;
    uint8_t file_key[32], header[HEADER_BYTES];
    for (size_t i = 0; i < sizeof header; i++)
        header[i] = (uint8_t)i;
    memcpy(x25519.secret_key, sample_x25519_secret, 32);
    memcpy(ml_kem.secret_key, sample_ml_kem_seed, 64);
    assert_int_equal(x25519.kem->derive(x25519.public_key, x25519.secret_key, NULL), MMH_OK);
    assert_int_equal(ml_kem.kem->derive(ml_kem.public_key, ml_kem.secret_key, NULL), MMH_OK);
    mmh_identity first = { .parts = &x25519, .part_count = 1 };
    mmh_identity second = { .parts = &ml_kem, .part_count = 1 };
    const mmh_identity *identities[] = { &first, &second };
    const struct mmh_unlock unlocks[] = {
        { .identities = &identities[0], .identity_count = 1 },
        { .identities = &identities[1], .identity_count = 1 },
        { .ask = answer, .user = (void *)(uintptr_t)sample_passphrase },
    };
    for (size_t i = 0; i < MMH_COUNT_OF(unlocks); i++) {
        assert_int_equal(mmh_recipients_open(file_key, &keys, sample_section, sizeof sample_section,
                                             &unlocks[i], sample_commitment, SAMPLE_AEAD,
                                             SAMPLE_HASH, header, sizeof header, sample_root,
                                             sizeof sample_root, NULL),
                         MMH_OK);
        assert_memory_equal(file_key, sample_file_key, 32);
        assert_memory_equal(keys.chunk, sample_chunk_key, 32);
        assert_memory_equal(keys.page, sample_page_key, 32);
        assert_memory_equal(keys.commitment, sample_commitment, 32);
    }
    assert_int_equal(mmh_file_keys_derive(&keys, file_key, SAMPLE_AEAD, 3, NULL), MMH_OK);
    assert_memory_equal(keys.commitment, sample_commitment_sha384, 32);
    release_part(&x25519);
    release_part(&ml_kem);
}

static void test_every_recipient_opens_and_no_other_key_does(void **state)
{
    (void)state;
    enum { MOST = 16 };
    struct mmh_key_part parts[MOST], others[MOST];
    size_t count = mmh_kem_count();
    struct made made;
    mmh_error first = { 0 };
    made_init(&made);
    assert_true(count <= MOST);
    for (size_t i = 0; i < count; i++) {
        parts[i] = make_part(mmh_kem_at(i));
        others[i] = make_part(mmh_kem_at(i));
        size_t before = made.stanzas.bytes;
        made_add(&made, &parts[i]);
        size_t enc_bytes = mmh_kem_at(i)->enc_bytes ? mmh_kem_at(i)->enc_bytes : 256;
        assert_int_equal(made.stanzas.bytes - before, 8 + enc_bytes + 48);
    }
    made_add_passphrase(&made, "correct horse");
    made_finish(&made);
    times_asked = 0;
    for (size_t i = 0; i < count; i++) {
        mmh_error err = { 0 };
        assert_int_equal(open_made(&made, &parts[i], 1, NULL), MMH_OK);
        assert_int_equal(open_made(&made, &others[i], 1, &err), MMH_E_KEY);
        if (!i)
            first = err;
        assert_string_equal(err.message, first.message);
    }
    assert_int_equal(times_asked, 0);
    assert_int_equal(open_made(&made, others, count, NULL), MMH_E_KEY);
    assert_int_equal(open_passphrase(&made, "correct horse", NULL), MMH_OK);
    assert_int_equal(times_asked, 1);
    assert_int_equal(open_passphrase(&made, "correct house", NULL), MMH_E_KEY);
    struct mmh_unlock silent = { .ask = answer_nothing };
    assert_int_equal(open_bytes(&made, made.section.data, made.section.bytes, &silent, NULL),
                     MMH_E_KEY);
    /* A key that opens is enough: nobody is asked. */
    mmh_identity identity = { .parts = &parts[0], .part_count = 1 };
    const mmh_identity *identities[] = { &identity };
    silent.identities = identities;
    silent.identity_count = 1;
    assert_int_equal(open_bytes(&made, made.section.data, made.section.bytes, &silent, NULL),
                     MMH_OK);
    for (size_t i = 0; i < count; i++) {
        release_part(&parts[i]);
        release_part(&others[i]);
    }
    made_release(&made);
    assert_int_equal(ERR_peek_error(), 0);
}

static void test_a_changed_byte_opens_nothing(void **state)
{
    (void)state;
    static const uint8_t by[] = { 1, 0x80, 0xff };
    struct mmh_key_part x25519 = make_part(&mmh_kem_x25519), x_wing = make_part(&mmh_kem_x_wing);
    struct mmh_key_part parts[] = { x25519, x_wing };
    struct made made;
    size_t refused = 0, damaged = 0;
    made_init(&made);
    made_add(&made, &x25519);
    made_add(&made, &x_wing);
    made_add_passphrase(&made, "p");
    made_finish(&made);
    for (size_t i = 0; i < made.section.bytes; i++)
        for (size_t k = 0; k < sizeof by; k++) {
            mmh_error err = { 0 };
            made.section.data[i] ^= by[k];
            mmh_status status = open_made(&made, parts, 2, &err);
            made.section.data[i] ^= by[k];
            assert_true(status == MMH_E_CORRUPT || (status == MMH_E_UNSUPPORTED && i < 2));
            damaged += status == MMH_E_CORRUPT;
            /* With the one key alone, a change of its own stanza looks always the same. */
            made.section.data[i] ^= by[k];
            mmh_error own = { 0 };
            status = open_made(&made, &x25519, 1, &own);
            made.section.data[i] ^= by[k];
            bool inside = i >= 4 + 8 && i < 4 + 8 + 80;
            assert_true(status != MMH_OK);
            if (inside)
                assert_string_equal(own.message, "no key opens this container");
            refused += inside && status == MMH_E_KEY;
        }
    assert_int_equal(refused, 3 * 80);
    assert_true(damaged > 3 * (made.section.bytes - 8));
    assert_int_equal(open_made(&made, parts, 2, NULL), MMH_OK);
    release_part(&x25519);
    release_part(&x_wing);
    made_release(&made);
}

static void test_a_section_cut_or_longer_is_corrupt(void **state)
{
    (void)state;
    struct mmh_key_part part = make_part(&mmh_kem_x25519);
    mmh_identity identity = { .parts = &part, .part_count = 1 };
    const mmh_identity *identities[] = { &identity };
    const struct mmh_unlock unlock = { .identities = identities, .identity_count = 1 };
    struct made made;
    made_init(&made);
    made_add(&made, &part);
    made_add_passphrase(&made, "p");
    made_finish(&made);
    for (size_t n = 0; n < made.section.bytes; n++) {
        uint8_t *cut = malloc(n + !n);
        assert_non_null(cut);
        memcpy(cut, made.section.data, n);
        assert_int_equal(open_bytes(&made, cut, n, &unlock, NULL), MMH_E_CORRUPT);
        free(cut);
    }
    mmh_buffer_u8(&made.section, 0);
    assert_int_equal(open_bytes(&made, made.section.data, made.section.bytes, &unlock, NULL),
                     MMH_E_CORRUPT);
    release_part(&part);
    made_release(&made);
}

static void test_a_flipped_mceliece_bit_opens_nothing(void **state)
{
    (void)state;
    size_t seen = 0;
    for (unsigned id = MMH_KEM_MCELIECE_460896F; id <= MMH_KEM_MCELIECE_6960119F_X25519; id++) {
        const struct mmh_kem *kem = mmh_kem_by_id(id);
        if (!kem)
            continue;
        struct mmh_key_part part = make_part(kem);
        struct made made;
        made_init(&made);
        made_add(&made, &part);
        made_finish(&made);
        for (size_t i = 0; i < kem->enc_bytes; i += 13) {
            mmh_error err = { 0 };
            made.section.data[4 + 8 + i] ^= 4;
            assert_int_equal(open_made(&made, &part, 1, &err), MMH_E_KEY);
            assert_string_equal(err.message, "no key opens this container");
            made.section.data[4 + 8 + i] ^= 4;
            seen++;
        }
        /* Bits of padding too, where there are some: 1547 bits of 6960119f in 194 bytes. */
        if (id == MMH_KEM_MCELIECE_6960119F) {
            made.section.data[4 + 8 + 193] ^= 0x80;
            assert_int_equal(open_made(&made, &part, 1, NULL), MMH_E_KEY);
            made.section.data[4 + 8 + 193] ^= 0x80;
        }
        assert_int_equal(open_made(&made, &part, 1, NULL), MMH_OK);
        release_part(&part);
        made_release(&made);
    }
#ifdef MMH_HAVE_MCELIECE
    assert_true(seen > 0);
#endif
}

static void test_no_container_opens_with_two_file_keys(void **state)
{
    (void)state;
    struct mmh_key_part alice = make_part(&mmh_kem_x25519), bob = make_part(&mmh_kem_x25519);
    struct made made, second;
    made_init(&made);
    made_init(&second);
    made_add(&made, &alice);
    /* Bob's stanza has another file key; all that is bound to it is right for Alice's. */
    assert_int_equal(mmh_stanza_write(&made.stanzas, second.file_key, &bob, NULL), MMH_OK);
    made.count++;
    made_finish(&made);
    assert_int_equal(open_made(&made, &alice, 1, NULL), MMH_OK);
    assert_int_equal(open_made(&made, &bob, 1, NULL), MMH_E_KEY);
    /* Suites are bound too: the same file key commits to others otherwise. */
    struct mmh_file_keys other;
    assert_int_equal(mmh_file_keys_derive(&other, made.file_key, 2, HASH, NULL), MMH_OK);
    assert_memory_not_equal(other.commitment, made.keys.commitment, 32);
    assert_int_equal(mmh_file_keys_derive(&other, made.file_key, AEAD, 2, NULL), MMH_OK);
    assert_memory_not_equal(other.commitment, made.keys.commitment, 32);
    assert_memory_not_equal(made.keys.chunk, made.keys.page, 32);
    release_part(&alice);
    release_part(&bob);
    made_release(&made);
    made_release(&second);
}

static void test_recipients_added_removed_or_moved_are_found(void **state)
{
    (void)state;
    struct mmh_key_part alice = make_part(&mmh_kem_x25519), bob = make_part(&mmh_kem_x25519);
    struct made made, eve;
    struct mmh_recipients_view view;
    mmh_identity identity = { .parts = &alice, .part_count = 1 };
    const mmh_identity *identities[] = { &identity };
    const struct mmh_unlock unlock = { .identities = identities, .identity_count = 1 };
    struct mmh_buffer forged;
    enum { STANZA = 8 + 80 };
    made_init(&made);
    made_init(&eve);
    made_add(&made, &alice);
    made_add(&made, &bob);
    made_finish(&made);
    assert_int_equal(mmh_recipients_view(&view, made.section.data, made.section.bytes, NULL),
                     MMH_OK);
    assert_int_equal(view.count, 2);
    assert_int_equal(view.stanza_bytes, 2 * STANZA);
    mmh_buffer_init(&forged, NULL);
    const struct {
        unsigned count;
        size_t first, first_bytes, second, second_bytes;
    } forgeries[] = {
        { 1, 0, STANZA, 0, 0 },           /* Bob is gone */
        { 2, STANZA, STANZA, 0, STANZA }, /* they changed places */
        { 3, 0, 2 * STANZA, 0, STANZA },  /* Alice stands there twice */
        { 2, 0, 2 * STANZA, 0, 0 },       /* as it was */
    };
    for (size_t i = 0; i < MMH_COUNT_OF(forgeries); i++) {
        mmh_buffer_clear(&forged);
        mmh_buffer_u16(&forged, 1);
        mmh_buffer_u16(&forged, (uint16_t)forgeries[i].count);
        mmh_buffer_bytes(&forged, view.stanzas + forgeries[i].first, forgeries[i].first_bytes);
        mmh_buffer_bytes(&forged, view.stanzas + forgeries[i].second, forgeries[i].second_bytes);
        mmh_buffer_bytes(&forged, view.mac, 32);
        assert_int_equal(open_bytes(&made, forged.data, forged.bytes, &unlock, NULL),
                         i + 1 < MMH_COUNT_OF(forgeries) ? MMH_E_CORRUPT : MMH_OK);
    }
    /* A section of another container, of another header, of another root. */
    eve.count = 0;
    made_add(&eve, &alice);
    made_finish(&eve);
    assert_int_equal(open_bytes(&made, eve.section.data, eve.section.bytes, &unlock, NULL),
                     MMH_E_KEY);
    made.header[40] ^= 1;
    assert_int_equal(open_made(&made, &alice, 1, NULL), MMH_E_CORRUPT);
    made.header[40] ^= 1;
    made.root[31] ^= 1;
    assert_int_equal(open_made(&made, &alice, 1, NULL), MMH_E_CORRUPT);
    made.root[31] ^= 1;
    assert_int_equal(open_made(&made, &alice, 1, NULL), MMH_OK);
    mmh_buffer_release(&forged);
    release_part(&alice);
    release_part(&bob);
    made_release(&made);
    made_release(&eve);
}

static void test_stanzas_of_unknown_kinds_are_passed_over(void **state)
{
    (void)state;
    struct mmh_key_part part = make_part(&mmh_kem_x25519);
    struct made made;
    struct mmh_recipients_view view;
    made_init(&made);
    mmh_buffer_u16(&made.stanzas, 60000);
    mmh_buffer_u16(&made.stanzas, 0);
    mmh_buffer_u32(&made.stanzas, 0); /* without a body */
    mmh_buffer_u16(&made.stanzas, 13);
    mmh_buffer_u16(&made.stanzas, 0);
    mmh_buffer_u32(&made.stanzas, 5);
    mmh_buffer_bytes(&made.stanzas, "hello", 5);
    mmh_buffer_u16(&made.stanzas, MMH_KEM_X25519); /* of ours, and too short */
    mmh_buffer_u16(&made.stanzas, 0);
    mmh_buffer_u32(&made.stanzas, 48);
    mmh_buffer_zeros(&made.stanzas, 48);
    made.count = 3;
    made_add(&made, &part);
    made_finish(&made);
    assert_int_equal(open_made(&made, &part, 1, NULL), MMH_OK);
    assert_int_equal(mmh_recipients_view(&view, made.section.data, made.section.bytes, NULL),
                     MMH_OK);
    static const unsigned kinds[] = { 60000, 13, MMH_KEM_X25519, MMH_KEM_X25519 };
    static const size_t lengths[] = { 0, 5, 48, 80 };
    assert_int_equal(view.count, 4);
    for (unsigned i = 0; i < 4; i++) {
        unsigned kind;
        const uint8_t *body;
        size_t bytes;
        assert_int_equal(mmh_recipients_stanza(&view, i, &kind, &body, &bytes, NULL), MMH_OK);
        assert_int_equal(kind, kinds[i]);
        assert_int_equal(bytes, lengths[i]);
        assert_true(i != 1 || memcmp(body, "hello", 5) == 0);
    }
    unsigned kind;
    const uint8_t *body;
    size_t bytes;
    assert_int_equal(mmh_recipients_stanza(&view, 4, &kind, &body, &bytes, NULL), MMH_E_USAGE);
    release_part(&part);
    made_release(&made);
}

/* A passphrase's stanza that wants what it likes. */
static void made_add_costly(struct made *made, uint32_t memory, uint32_t passes, uint32_t lanes)
{
    mmh_buffer_u16(&made->stanzas, MMH_KEM_PASSPHRASE);
    mmh_buffer_u16(&made->stanzas, 0);
    mmh_buffer_u32(&made->stanzas, 28 + 48);
    mmh_buffer_u32(&made->stanzas, memory);
    mmh_buffer_u32(&made->stanzas, passes);
    mmh_buffer_u32(&made->stanzas, lanes);
    mmh_buffer_zeros(&made->stanzas, 16 + 48);
    made->count++;
}

static void test_costly_passphrases_are_refused_and_the_rest_tried(void **state)
{
    (void)state;
    struct made made;
    made_init(&made);
    made_add_costly(&made, UINT32_MAX, UINT32_MAX, UINT32_MAX);
    made_add_costly(&made, 1 << 21, 1, 1);
    made_finish(&made);
    double begin = seconds();
    assert_int_equal(open_passphrase(&made, "p", NULL), MMH_E_LIMIT);
    made_add_passphrase(&made, "q");
    made_add_passphrase(&made, "p");
    made_finish(&made);
    times_asked = 0;
    assert_int_equal(open_passphrase(&made, "p", NULL), MMH_OK);
    assert_int_equal(times_asked, 1);
    assert_int_equal(open_passphrase(&made, "x", NULL), MMH_E_LIMIT);
    assert_true(seconds() - begin < 2);
    /* Whoever opens may allow less. */
    static const struct mmh_argon2_cost limits[] = { { 64, 1, 1 }, { 63, 1, 1 }, { 64, 0, 1 } };
    for (size_t i = 0; i < MMH_COUNT_OF(limits); i++) {
        const struct mmh_unlock unlock = { .ask = answer,
                                           .user = (void *)(uintptr_t) "p",
                                           .cost_limit = &limits[i] };
        assert_int_equal(open_bytes(&made, made.section.data, made.section.bytes, &unlock, NULL),
                         i ? MMH_E_LIMIT : MMH_OK);
    }
    /* Each by itself would be allowed, all of them not: the second is refused before any work. */
    struct made dear;
    made_init(&dear);
    made_add_costly(&dear, 1 << 10, 16, 1);
    made_add_costly(&dear, 1 << 20, 16, 1);
    made_finish(&dear);
    begin = seconds();
    assert_int_equal(open_passphrase(&dear, "p", NULL), MMH_E_LIMIT);
    assert_true(seconds() - begin < 2);
    made_release(&dear);
    /* Eight, and no more. */
    for (int i = 0; i < 4; i++)
        made_add_passphrase(&made, "r");
    made_finish(&made);
    assert_int_equal(open_passphrase(&made, "p", NULL), MMH_OK);
    made_add_passphrase(&made, "s");
    made_finish(&made);
    assert_int_equal(open_passphrase(&made, "p", NULL), MMH_E_CORRUPT);
    made_release(&made);
}

static void test_passphrases_have_bytes(void **state)
{
    (void)state;
    static char longest[MMH_PASSPHRASE_BYTES_MAX + 2];
    struct made made;
    made_init(&made);
    memset(longest, 'x', sizeof longest - 1);
    for (int by = 0; by <= 1; by++) {
        longest[MMH_PASSPHRASE_BYTES_MAX + by] = 0;
        assert_int_equal(mmh_stanza_write_passphrase(&made.stanzas, made.file_key, longest,
                                                     strlen(longest), &cheap, NULL),
                         by ? MMH_E_USAGE : MMH_OK);
        longest[MMH_PASSPHRASE_BYTES_MAX] = 'x';
    }
    assert_int_equal(mmh_stanza_write_passphrase(&made.stanzas, made.file_key, "", 0, &cheap, NULL),
                     MMH_E_USAGE);
    made.count = 1;
    made_finish(&made);
    longest[MMH_PASSPHRASE_BYTES_MAX] = 0;
    assert_int_equal(open_passphrase(&made, longest, NULL), MMH_OK);
    made_release(&made);
}

/* A try of a long RSA key takes a third of a second. */
static void test_long_rsa_keys_are_tried_less_often(void **state)
{
    (void)state;
    uint8_t key[1] = { 0 };
    struct mmh_key_part part = { .kem = mmh_kem_by_id(MMH_KEM_RSA_OAEP),
                                 .secret = true,
                                 .public_key = key,
                                 .public_bytes = 1,
                                 .secret_key = key,
                                 .secret_bytes = 1 };
    struct made made;
    made_init(&made);
    for (int i = 0; i < 1000; i++) {
        mmh_buffer_u16(&made.stanzas, MMH_KEM_RSA_OAEP);
        mmh_buffer_u16(&made.stanzas, 0);
        mmh_buffer_u32(&made.stanzas, 1);
        mmh_buffer_u8(&made.stanzas, 0);
        made.count++;
    }
    made_finish(&made);
    part.bits = 3072;
    assert_int_equal(open_made(&made, &part, 1, NULL), MMH_E_KEY);
    part.bits = 16384;
    assert_int_equal(open_made(&made, &part, 1, NULL), MMH_E_LIMIT);
    made_release(&made);
}

static void test_many_recipients_are_bounded(void **state)
{
    (void)state;
    enum { KEYS = MMH_UNLOCK_TRIES_MAX / MMH_RECIPIENTS_MAX + 4 };
    struct mmh_key_part part = make_part(&mmh_kem_x25519), keys[KEYS];
    struct made made;
    made_init(&made);
    for (int i = 0; i < MMH_RECIPIENTS_MAX - 1; i++) {
        mmh_buffer_u16(&made.stanzas, MMH_KEM_X25519);
        mmh_buffer_u16(&made.stanzas, 0);
        mmh_buffer_u32(&made.stanzas, 1);
        mmh_buffer_u8(&made.stanzas, 0); /* which no key opens, at little cost to this test */
        made.count++;
    }
    made_add(&made, &part);
    made_finish(&made);
    assert_int_equal(open_made(&made, &part, 1, NULL), MMH_OK);
    for (int i = 0; i < KEYS; i++)
        keys[i] = part;
    assert_int_equal(open_made(&made, keys, KEYS, NULL), MMH_E_LIMIT);
    assert_int_equal(open_made(&made, keys, MMH_UNLOCK_TRIES_MAX / MMH_RECIPIENTS_MAX, NULL),
                     MMH_OK);
    made_add(&made, &part);
    assert_int_equal(mmh_recipients_write(&made.section, made.stanzas.data, made.stanzas.bytes,
                                          made.count, &made.keys, HASH, made.header, 128, made.root,
                                          32, NULL),
                     MMH_E_USAGE);
    /* A count that is none, or too high, is refused by who reads. */
    struct mmh_recipients_view view;
    uint8_t *section = made.section.data;
    mmh_store16(section + 2, 0);
    assert_int_equal(mmh_recipients_view(&view, section, made.section.bytes, NULL), MMH_E_CORRUPT);
    mmh_store16(section + 2, MMH_RECIPIENTS_MAX + 1);
    assert_int_equal(mmh_recipients_view(&view, section, made.section.bytes, NULL), MMH_E_CORRUPT);
    mmh_store16(section, 2);
    assert_int_equal(mmh_recipients_view(&view, section, made.section.bytes, NULL),
                     MMH_E_UNSUPPORTED);
    release_part(&part);
    made_release(&made);
}

static void test_keys_that_are_no_recipients_are_refused(void **state)
{
    (void)state;
    struct mmh_key_part part = make_part(&mmh_kem_x25519), odd = { 0 };
    struct made made;
    made_init(&made);
    mmh_buffer_u8(&made.stanzas, 1);
    assert_int_equal(mmh_stanza_write(&made.stanzas, made.file_key, &odd, NULL), MMH_E_KEY);
    odd = part;
    odd.public_bytes--;
    assert_int_equal(mmh_stanza_write(&made.stanzas, made.file_key, &odd, NULL), MMH_E_KEY);
    memset(part.public_key, 0, 32);
    assert_int_equal(mmh_stanza_write(&made.stanzas, made.file_key, &part, NULL), MMH_E_KEY);
    assert_int_equal(made.stanzas.bytes, 1);
    release_part(&part);
    made_release(&made);
}

static void test_no_memory_is_told_and_nothing_is_left(void **state)
{
    (void)state;
    struct mmh_key_part part = make_part(&mmh_kem_x_wing);
    struct made made;
    made_init(&made);
    for (size_t n = 0;; n++) {
        struct mmh_buffer stanzas, section;
        unsigned failures = 0;
        allocations_left = n;
        mmh_buffer_init(&stanzas, &counting);
        mmh_buffer_init(&section, &counting);
        mmh_status status = mmh_stanza_write(&stanzas, made.file_key, &part, NULL);
        failures += status == MMH_E_MEMORY;
        assert_true(status == MMH_OK || (status == MMH_E_MEMORY && !stanzas.bytes));
        status = mmh_stanza_write_passphrase(&stanzas, made.file_key, "p", 1, &cheap, NULL);
        failures += status == MMH_E_MEMORY;
        assert_true(status == MMH_OK || status == MMH_E_MEMORY);
        if (!failures) {
            status = mmh_recipients_write(&section, stanzas.data, stanzas.bytes, 2, &made.keys,
                                          HASH, made.header, 128, made.root, 32, NULL);
            failures += status == MMH_E_MEMORY;
            assert_true(status == MMH_OK || (status == MMH_E_MEMORY && !section.bytes));
        }
        mmh_buffer_release(&stanzas);
        mmh_buffer_release(&section);
        assert_int_equal(allocated, 0);
        if (!failures)
            break;
        assert_true(n < 20);
    }
    allocations_left = SIZE_MAX;
    release_part(&part);
    made_release(&made);
}

static void test_memory_of_secrets_begins_as_zeros(void **state)
{
    (void)state;
    static const size_t lengths[] = { 0, 1, 4096, 4097, 100000 };
    for (size_t i = 0; i < MMH_COUNT_OF(lengths); i++) {
        uint8_t *memory = mmh_secret_alloc(lengths[i]);
        assert_non_null(memory);
        assert_true(is_zero(memory, lengths[i]));
        memset(memory, 1, lengths[i]);
        mmh_secret_free(memory, lengths[i]);
    }
    mmh_secret_free(NULL, 7);
    assert_null(mmh_secret_alloc(SIZE_MAX));
}

/* Use some megabytes of stack. */
static void reach_down(void *context)
{
    volatile uint8_t deep[6 << 20];
    for (size_t i = 0; i < sizeof deep; i += 4096)
        deep[i] = 1;
    *(unsigned *)context += deep[4096];
}

static void test_a_stack_of_ones_own_is_as_large_as_asked(void **state)
{
    (void)state;
    unsigned ran = 0;
    mmh_error err = { 0 };
    assert_int_equal(mmh_stack_run(8 << 20, reach_down, &ran, NULL), MMH_OK);
    assert_int_equal(ran, 1);
    assert_int_equal(mmh_stack_run(SIZE_MAX / 4 * 3, reach_down, &ran, &err), MMH_E_MEMORY);
    assert_int_equal(ran, 1);
    assert_int_equal(err.status, MMH_E_MEMORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_sealed_opens_in_place_and_apart),
        cmocka_unit_test(test_changed_sealed_bytes_give_zeros_and_corrupt),
        cmocka_unit_test(test_suites_have_names_and_numbers),
        cmocka_unit_test(test_hmac_is_the_published_one),
        cmocka_unit_test(test_hkdf_is_its_halves),
        cmocka_unit_test(test_hostile_costs_are_refused_before_work),
        cmocka_unit_test(test_every_kem_gives_both_sides_the_same_secret),
        cmocka_unit_test(test_low_order_points_are_refused),
        cmocka_unit_test(test_a_public_key_over_the_modulus_is_refused),
        cmocka_unit_test(test_short_rsa_keys_are_refused),
        cmocka_unit_test(test_a_small_stack_is_enough),
        cmocka_unit_test(test_a_section_of_another_implementation_opens),
        cmocka_unit_test(test_every_recipient_opens_and_no_other_key_does),
        cmocka_unit_test(test_a_changed_byte_opens_nothing),
        cmocka_unit_test(test_a_section_cut_or_longer_is_corrupt),
        cmocka_unit_test(test_a_flipped_mceliece_bit_opens_nothing),
        cmocka_unit_test(test_no_container_opens_with_two_file_keys),
        cmocka_unit_test(test_recipients_added_removed_or_moved_are_found),
        cmocka_unit_test(test_stanzas_of_unknown_kinds_are_passed_over),
        cmocka_unit_test(test_costly_passphrases_are_refused_and_the_rest_tried),
        cmocka_unit_test(test_passphrases_have_bytes),
        cmocka_unit_test(test_long_rsa_keys_are_tried_less_often),
        cmocka_unit_test(test_many_recipients_are_bounded),
        cmocka_unit_test(test_keys_that_are_no_recipients_are_refused),
        cmocka_unit_test(test_no_memory_is_told_and_nothing_is_left),
        cmocka_unit_test(test_memory_of_secrets_begins_as_zeros),
        cmocka_unit_test(test_a_stack_of_ones_own_is_as_large_as_asked),
    };
    return cmocka_run_group_tests_name("crypto", tests, NULL, NULL);
}
