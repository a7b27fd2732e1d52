/*
 * Parity: any k of k + m blocks give the rest, by the matrix that docs/format.md section 17 says.
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

#include "counting.h"
#include "integrity/parity.h"

static uint64_t random_state = 1;

static uint32_t random32(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 32);
}

/* ---- Reed-Solomon ---- */

/* GF(2^8) as a schoolbook has it. */
static uint8_t plain_multiply(unsigned a, unsigned b)
{
    unsigned product = 0;
    for (; b; b >>= 1) {
        if (b & 1)
            product ^= a;
        a <<= 1;
        if (a & 0x100)
            a ^= 0x11d;
    }
    return (uint8_t)product;
}

static uint8_t plain_inverse(unsigned a)
{
    for (unsigned b = 1; b < 256; b++)
        if (plain_multiply(a, b) == 1)
            return (uint8_t)b;
    return 0;
}

/* k + m blocks of a stripe, and what they should be. */
struct stripe {
    unsigned k, m;
    size_t bytes;
    uint8_t *memory, *right; /* [k + m][bytes] */
    uint8_t *blocks[MMH_PARITY_BLOCKS_MAX];
    bool present[MMH_PARITY_BLOCKS_MAX];
    struct mmh_parity_code code;
};

static void stripe_make(struct stripe *stripe, unsigned k, unsigned m, size_t bytes)
{
    *stripe = (struct stripe){ .k = k, .m = m, .bytes = bytes };
    stripe->memory = malloc((k + m) * bytes);
    stripe->right = malloc((k + m) * bytes);
    assert_true(stripe->memory && stripe->right);
    for (unsigned j = 0; j < k + m; j++)
        stripe->blocks[j] = stripe->memory + j * bytes;
    for (size_t i = 0; i < k * bytes; i++)
        stripe->memory[i] = (uint8_t)random32();
    assert_int_equal(mmh_parity_code_init(&stripe->code, k, m, NULL, NULL), MMH_OK);
    mmh_parity_encode(&stripe->code, stripe->blocks + k, (const uint8_t *const *)stripe->blocks,
                      bytes);
    memcpy(stripe->right, stripe->memory, (k + m) * bytes);
}

static void stripe_release(struct stripe *stripe)
{
    mmh_parity_code_release(&stripe->code);
    free(stripe->memory);
    free(stripe->right);
}

/* Lose what is not present, restore, compare. */
static void assert_restored(struct stripe *stripe)
{
    for (unsigned j = 0; j < stripe->k + stripe->m; j++)
        if (!stripe->present[j])
            memset(stripe->blocks[j], 0xa5, stripe->bytes);
    assert_int_equal(
        mmh_parity_restore(&stripe->code, stripe->blocks, stripe->present, stripe->bytes, NULL),
        MMH_OK);
    assert_memory_equal(stripe->memory, stripe->right, stripe->k * stripe->bytes);
    memcpy(stripe->memory, stripe->right, (stripe->k + stripe->m) * stripe->bytes);
}

static void test_parity_is_the_cauchy_sum(void **state)
{
    static const unsigned shapes[][2] = { { 1, 1 }, { 3, 2 }, { 8, 8 }, { 160, 8 }, { 253, 2 } };
    (void)state;
    for (size_t s = 0; s < MMH_COUNT_OF(shapes); s++) {
        struct stripe stripe;
        stripe_make(&stripe, shapes[s][0], shapes[s][1], 264);
        for (unsigned i = 0; i < stripe.m; i++)
            for (size_t at = 0; at < stripe.bytes; at += 7) {
                uint8_t sum = 0;
                for (unsigned j = 0; j < stripe.k; j++)
                    sum ^= plain_multiply(plain_inverse((stripe.k + i) ^ j), stripe.blocks[j][at]);
                assert_int_equal(stripe.blocks[stripe.k + i][at], sum);
            }
        stripe_release(&stripe);
    }
}

static void test_parity_restores_every_pattern_of_few_blocks(void **state)
{
    (void)state;
    for (unsigned k = 1; k <= 8; k++)
        for (unsigned m = 1; m <= 4; m++) {
            struct stripe stripe;
            stripe_make(&stripe, k, m, 8 * k + 40);
            for (unsigned mask = 0; mask < 1u << (k + m); mask++) {
                for (unsigned j = 0; j < k + m; j++)
                    stripe.present[j] = mask >> j & 1;
                if (mmh_popcount32(mask) >= k) {
                    assert_restored(&stripe);
                    continue;
                }
                mmh_error err = { MMH_OK, "" };
                mmh_status status = mmh_parity_restore(&stripe.code, stripe.blocks, stripe.present,
                                                       stripe.bytes, &err);
                assert_int_equal(status, MMH_E_CORRUPT);
                assert_memory_equal(stripe.memory, stripe.right, (k + m) * stripe.bytes);
            }
            stripe_release(&stripe);
        }
}

static void test_parity_restores_random_patterns_of_many_blocks(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 400; round++) {
        struct stripe stripe;
        unsigned k = 1 + random32() % 254, m = 1 + random32() % (255 - k);
        stripe_make(&stripe, k, m, 8 * (1 + random32() % 40));
        for (unsigned pattern = 0; pattern < 3; pattern++) {
            memset(stripe.present, 1, sizeof stripe.present);
            for (unsigned lost = pattern ? random32() % (m + 1) : m; lost;) {
                unsigned j = random32() % (k + m);
                lost -= stripe.present[j];
                stripe.present[j] = false;
            }
            assert_restored(&stripe);
        }
        stripe_release(&stripe);
    }
}

static void test_parity_restores_only_what_is_wanted(void **state)
{
    (void)state;
    struct stripe stripe;
    stripe_make(&stripe, 10, 4, 5000);
    memset(stripe.present, 1, sizeof stripe.present);
    stripe.present[3] = stripe.present[7] = stripe.present[11] = false;
    uint8_t *unwanted = stripe.blocks[3];
    memset(stripe.blocks[7], 0, 5000);
    memset(unwanted, 0x11, 5000);
    stripe.blocks[3] = NULL;
    assert_int_equal(mmh_parity_restore(&stripe.code, stripe.blocks, stripe.present, 5000, NULL),
                     MMH_OK);
    assert_memory_equal(stripe.blocks[7], stripe.right + (size_t)7 * 5000, 5000);
    for (size_t i = 0; i < 5000; i++)
        assert_int_equal(unwanted[i], 0x11);
    stripe_release(&stripe);
}

static void test_parity_says_when_memory_runs_out(void **state)
{
    (void)state;
    for (size_t n = 0;; n++) {
        struct mmh_parity_code code;
        uint8_t memory[5][64] = { { 1 } };
        uint8_t *blocks[5] = { memory[0], memory[1], memory[2], memory[3], memory[4] };
        const bool present[5] = { true, true, false, true, true };
        allocations_left = n;
        mmh_error err = { MMH_OK, "" };
        mmh_status status = mmh_parity_code_init(&code, 3, 2, &counting, &err);
        if (status == MMH_OK)
            status = mmh_parity_restore(&code, blocks, present, 64, &err);
        mmh_parity_code_release(&code);
        allocations_left = SIZE_MAX;
        assert_int_equal(allocated, 0);
        assert_int_equal(status, err.status);
        if (status == MMH_OK)
            break;
        assert_int_equal(status, MMH_E_MEMORY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parity_is_the_cauchy_sum),
        cmocka_unit_test(test_parity_restores_every_pattern_of_few_blocks),
        cmocka_unit_test(test_parity_restores_random_patterns_of_many_blocks),
        cmocka_unit_test(test_parity_restores_only_what_is_wanted),
        cmocka_unit_test(test_parity_says_when_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
