/*
 * Content digests depend on the bytes alone, however they are cut; hashes are the published ones.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "integrity/digest.h"

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

/* The digest as docs/format.md section 3 says it, in the most obvious way. */
static void plain_digest(uint8_t out[MMH_HASH_BYTES], unsigned suite, const uint8_t *data,
                         size_t bytes)
{
    mmh_hasher hasher;
    uint8_t size[8];
    for (int i = 0; i < 8; i++)
        size[i] = (uint8_t)((uint64_t)bytes >> (8 * i));
    assert_int_equal(mmh_hasher_init(&hasher, suite, MMH_DOMAIN_CONTENT, NULL), MMH_OK);
    assert_int_equal(mmh_hasher_update(&hasher, size, sizeof size, NULL), MMH_OK);
    for (size_t at = 0; at < bytes; at += MMH_SLICE_BYTES) {
        uint8_t hash[MMH_HASH_BYTES];
        size_t n = bytes - at < MMH_SLICE_BYTES ? bytes - at : MMH_SLICE_BYTES;
        assert_int_equal(mmh_hash(hash, suite, MMH_DOMAIN_SLICE, data + at, n, NULL), MMH_OK);
        assert_int_equal(mmh_hasher_update(&hasher, hash, mmh_hash_bytes(suite), NULL), MMH_OK);
    }
    assert_int_equal(mmh_hasher_final(&hasher, out, NULL), MMH_OK);
}

static void test_digest_does_not_depend_on_the_pieces(void **state)
{
    (void)state;
    enum { MOST = 5 * MMH_SLICE_BYTES + 12345 };
    static const size_t lengths[] = {
        0, 1, MMH_SLICE_BYTES - 1, MMH_SLICE_BYTES, MMH_SLICE_BYTES + 1, 3 * MMH_SLICE_BYTES, MOST
    };
    uint8_t *data = malloc(MOST), *hashes = malloc(8 * MMH_HASH_BYTES);
    mmh_digest *digest = malloc(sizeof *digest);
    assert_true(data && hashes && digest);
    uint64_t random = 7;
    for (size_t i = 0; i < MOST; i++)
        data[i] = (uint8_t)next_random(&random);
    for (unsigned suite = MMH_HASH_BLAKE3; suite <= MMH_HASH_SHA384; suite++) {
        if (!mmh_hash_suite_available(suite))
            continue;
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
            size_t bytes = lengths[l];
            uint8_t expected[MMH_HASH_BYTES], found[MMH_HASH_BYTES];
            plain_digest(expected, suite, data, bytes);
            for (int round = 0; round < 40; round++) {
                assert_int_equal(mmh_digest_init(digest, suite, bytes, NULL), MMH_OK);
                for (size_t at = 0; at < bytes;) {
                    size_t most = round % 3 ? 3 * MMH_SLICE_BYTES : 3000;
                    size_t n = 1 + (size_t)next_random(&random) % most;
                    if (round % 4 == 0)
                        n = MMH_SLICE_BYTES;
                    n = n < bytes - at ? n : bytes - at;
                    assert_true(mmh_slices_inside(at, n, bytes) <= 8);
                    assert_int_equal(mmh_slices_hash(hashes, suite, data + at, at, n, bytes, NULL),
                                     MMH_OK);
                    assert_int_equal(mmh_digest_add(digest, data + at, n, hashes, NULL), MMH_OK);
                    at += n;
                }
                assert_int_equal(mmh_digest_final(digest, found, NULL), MMH_OK);
                assert_memory_equal(found, expected, mmh_hash_bytes(suite));
            }
        }
    }
    free(digest);
    free(hashes);
    free(data);
}

/* H(0x61 || "bc"): the published digests of "abc", as the domain is the first byte. */
static void test_hashes_are_the_published_ones(void **state)
{
    (void)state;
    static const uint8_t sha256[8] = { 0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea };
    static const uint8_t sha384[8] = { 0xcb, 0x00, 0x75, 0x3f, 0x45, 0xa3, 0x5e, 0x8b };
    static const uint8_t blake3[8] = { 0x64, 0x37, 0xb3, 0xac, 0x38, 0x46, 0x51, 0x33 };
    uint8_t found[MMH_HASH_BYTES];
    assert_int_equal(mmh_hash(found, MMH_HASH_SHA256, (enum mmh_hash_domain)'a', "bc", 2, NULL),
                     MMH_OK);
    assert_memory_equal(found, sha256, sizeof sha256);
    assert_int_equal(mmh_hash(found, MMH_HASH_SHA384, (enum mmh_hash_domain)'a', "bc", 2, NULL),
                     MMH_OK);
    assert_memory_equal(found, sha384, sizeof sha384);
    if (mmh_hash_suite_available(MMH_HASH_BLAKE3)) {
        assert_int_equal(mmh_hash(found, MMH_HASH_BLAKE3, (enum mmh_hash_domain)'a', "bc", 2, NULL),
                         MMH_OK);
        assert_memory_equal(found, blake3, sizeof blake3);
    }
    assert_int_equal(mmh_hash(found, 9, MMH_DOMAIN_CHUNK, "", 0, NULL), MMH_E_UNSUPPORTED);
    assert_int_equal(mmh_crc32("123456789", 9), 0xcbf43926);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digest_does_not_depend_on_the_pieces),
        cmocka_unit_test(test_hashes_are_the_published_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
