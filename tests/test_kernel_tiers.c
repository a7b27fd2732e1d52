/*
 * The tier kernels: blocks that come back, lie as the format says, and harm nothing when hostile.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Every kernel set is held against a model written from docs/format.md section 8.1 alone, with each
 * buffer right before a forbidden page.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "guard.h"
#include "kernel/kernel.h"

enum {
    LIST = MMH_TIER_BLOCK + MMH_KERNEL_SLACK,
    BLOCK_ROOM = MMH_TIER_MAX * MMH_TIER_BLOCK / 4 + MMH_TIER_BLOCK + MMH_KERNEL_SLACK,
};

static size_t plane_bytes(size_t entries)
{
    return (entries + 31) / 32 * 4;
}

static size_t model_encode(uint8_t *dst, uint16_t *counts, const uint8_t *symbols, size_t count,
                           const struct mmh_tiers *tiers)
{
    uint8_t list[MMH_TIER_BLOCK];
    uint8_t *at = dst;
    memcpy(list, symbols, count);
    counts[0] = (uint16_t)count;
    for (unsigned k = 0; k < tiers->tier_count; k++) {
        size_t sent = 0, bytes = plane_bytes(count);
        memset(at, 0, 2 * bytes);
        for (size_t i = 0; i < count; i++) {
            unsigned code = 0;
            while (code < 3 && tiers->ranks[3 * k + code] != list[i])
                code++;
            at[i / 8] |= (uint8_t)((code & 1) << i % 8);
            at[bytes + i / 8] |= (uint8_t)((code >> 1) << i % 8);
            if (code == 3)
                list[sent++] = list[i];
        }
        at += 2 * bytes;
        count = sent;
        counts[k + 1] = (uint16_t)count;
    }
    memcpy(at, list, count);
    at += count;
    while ((at - dst) % 4)
        *at++ = 0;
    return (size_t)(at - dst);
}

/* Symbols whose frequencies fall by `keep` / 256 from rank to rank. */
static void make_symbols(uint8_t *symbols, size_t count, unsigned keep, uint64_t *seed)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t r = guard_random(seed);
        unsigned s = 0;
        for (; s < 255 && (r & 255) < keep; s++)
            r = r >> 8 ? r >> 8 : guard_random(seed);
        symbols[i] = (uint8_t)(120 - s);
    }
}

static struct mmh_tiers make_tiers(unsigned tier_count)
{
    struct mmh_tiers tiers = { .tier_count = (uint8_t)tier_count };
    for (unsigned i = 0; i < sizeof tiers.ranks; i++)
        tiers.ranks[i] = (uint8_t)(120 - i);
    return tiers;
}

/* Buffers for all blocks; what is shorter lies at their ends. */
static struct guard in, block, coded, scratch, out;

static int make_buffers(void **state)
{
    (void)state;
    guard_init(&in, MMH_TIER_BLOCK);
    guard_init(&block, BLOCK_ROOM);
    guard_init(&coded, BLOCK_ROOM);
    guard_init(&scratch, 2 * LIST);
    guard_init(&out, LIST);
    return 0;
}

static int release_buffers(void **state)
{
    (void)state;
    guard_release(&in);
    guard_release(&block);
    guard_release(&coded);
    guard_release(&scratch);
    guard_release(&out);
    return 0;
}

static void assert_block(const struct mmh_kernels *kernels, const uint8_t *symbols, size_t count,
                         const struct mmh_tiers *tiers)
{
    uint8_t model[BLOCK_ROOM];
    uint16_t model_counts[MMH_TIER_MAX + 1], counts[MMH_TIER_MAX + 1];
    size_t bytes = model_encode(model, model_counts, symbols, count, tiers);

    uint8_t *input = guard_last(&in, count);
    uint8_t *dst = guard_last(&block, MMH_TIER_BLOCK / 4 * tiers->tier_count + MMH_TIER_BLOCK +
                                          MMH_KERNEL_SLACK);
    memcpy(input, symbols, count);
    assert_int_equal(kernels->tier_encode(dst, counts, input, count, tiers, scratch.at), bytes);
    assert_memory_equal(counts, model_counts, (tiers->tier_count + 1u) * sizeof *counts);
    if (bytes)
        assert_memory_equal(dst, model, bytes);

    uint8_t *src = guard_last(&coded, bytes + MMH_KERNEL_SLACK);
    memcpy(src, dst, bytes);
    assert_true(kernels->tier_decode(out.at, src, counts, tiers, scratch.at));
    if (count) {
        assert_memory_equal(out.at, symbols, count);
        assert_memory_equal(input, symbols, count);
    }
}

/* Every count up to several groups, and whole blocks, for each number of tiers. */
static void test_every_count_comes_back(void **state)
{
    static uint8_t symbols[MMH_TIER_BLOCK];
    uint64_t seed = 1;
    (void)state;
    for (size_t k = 0; mmh_kernels_at(k); k++)
        for (unsigned t = 1; t <= MMH_TIER_MAX; t++) {
            struct mmh_tiers tiers = make_tiers(t);
            for (size_t count = 0; count <= MMH_TIER_BLOCK; count += count < 200 ? 1 : 997) {
                make_symbols(symbols, count, 180, &seed);
                assert_block(mmh_kernels_at(k), symbols, count, &tiers);
            }
            for (size_t count = MMH_TIER_BLOCK - 65; count <= MMH_TIER_BLOCK; count++)
                assert_block(mmh_kernels_at(k), symbols, count, &tiers);
        }
}

/* Data without structure, constants, and symbols that no tier has. */
static void test_any_symbols_come_back(void **state)
{
    static uint8_t symbols[MMH_TIER_BLOCK];
    uint64_t seed = 2;
    (void)state;
    for (size_t k = 0; mmh_kernels_at(k); k++)
        for (unsigned t = 1; t <= MMH_TIER_MAX; t++)
            for (unsigned round = 0; round < 24; round++) {
                struct mmh_tiers tiers = make_tiers(t);
                size_t count = round & 1 ? MMH_TIER_BLOCK : guard_random(&seed) % MMH_TIER_BLOCK;
                switch (round / 4) {
                case 0: /* all bytes alike */
                    for (size_t i = 0; i < count; i++)
                        symbols[i] = (uint8_t)guard_random(&seed);
                    break;
                case 1: /* constant, with a code */
                    memset(symbols, tiers.ranks[round % (3 * t)], count);
                    break;
                case 2: /* constant, an escape */
                    memset(symbols, 3, count);
                    break;
                case 3: /* equal ranks: the first one counts */
                    for (unsigned i = 0; i < sizeof tiers.ranks; i++)
                        tiers.ranks[i] = (uint8_t)(120 - guard_random(&seed) % 4);
                    make_symbols(symbols, count, 180, &seed);
                    break;
                default:
                    make_symbols(symbols, count, 10 + 12 * round, &seed);
                    break;
                }
                assert_block(mmh_kernels_at(k), symbols, count, &tiers);
            }
}

/* Planes that disagree with the counts are refused by every kernel alike, within all buffers. */
static void test_hostile_blocks_are_refused(void **state)
{
    static uint8_t symbols[MMH_TIER_BLOCK], bad[BLOCK_ROOM];
    uint64_t seed = 4;
    size_t refused = 0;
    (void)state;
    for (unsigned round = 0; round < 1500; round++) {
        unsigned t = 1 + (unsigned)(guard_random(&seed) % MMH_TIER_MAX);
        struct mmh_tiers tiers = make_tiers(t);
        uint16_t counts[MMH_TIER_MAX + 1];
        size_t count = round % 5 ? 1 + guard_random(&seed) % MMH_TIER_BLOCK : MMH_TIER_BLOCK;
        make_symbols(symbols, count, 180, &seed);
        size_t bytes = model_encode(bad, counts, symbols, count, &tiers);
        switch (round % 7) {
        case 0: /* one bit */
            bad[guard_random(&seed) % bytes] ^= (uint8_t)(1 << guard_random(&seed) % 8);
            break;
        case 1: /* everything goes on */
            memset(bad, 0xff, bytes);
            break;
        case 2: /* noise, true counts */
            for (size_t i = 0; i < bytes; i++)
                bad[i] = (uint8_t)guard_random(&seed);
            break;
        case 3: /* the least counts, planes full of ones */
            for (unsigned k = 1; k <= t; k++)
                counts[k] = 0;
            memset(bad, 0xff, bytes);
            break;
        case 4: /* counts that fall anyhow */
            for (unsigned k = 1; k <= t; k++)
                counts[k] = (uint16_t)(guard_random(&seed) % (counts[k - 1] + 1u));
            break;
        case 5: /* counts that never fall */
            for (unsigned k = 1; k <= t; k++)
                counts[k] = counts[0];
            break;
        default: /* a bit in the padding of the first plane, or of the escapes */
            if (counts[t] % 4)
                bad[bytes - 1] = 1;
            else if (count % 32)
                bad[plane_bytes(count) - 1] |= 0x80;
            break;
        }
        bytes = (counts[t] + 3u) / 4 * 4;
        for (unsigned k = 0; k < t; k++)
            bytes += 2 * plane_bytes(counts[k]);

        static uint8_t first[MMH_TIER_BLOCK];
        bool first_right = false;
        for (size_t k = 0; mmh_kernels_at(k); k++) {
            uint8_t *src = guard_last(&coded, bytes + MMH_KERNEL_SLACK);
            memcpy(src, bad, bytes);
            memset(src + bytes, (int)round, MMH_KERNEL_SLACK);
            bool right = mmh_kernels_at(k)->tier_decode(out.at, src, counts, &tiers, scratch.at);
            if (k == 0) {
                first_right = right;
                memcpy(first, out.at, count);
                refused += !right;
            }
            assert_int_equal(right, first_right);
            if (right)
                assert_memory_equal(out.at, first, count);
            assert_memory_equal(src, bad, bytes);
        }
    }
    assert_true(refused > 1000);
}

/* A block that is accepted is the only one for its symbols: whatever is decoded encodes back. */
static void test_accepted_blocks_are_canonical(void **state)
{
    static uint8_t symbols[MMH_TIER_BLOCK], flipped[BLOCK_ROOM], again[BLOCK_ROOM];
    uint64_t seed = 6;
    (void)state;
    for (unsigned round = 0; round < 300; round++) {
        struct mmh_tiers tiers = make_tiers(1 + round % MMH_TIER_MAX);
        uint16_t counts[MMH_TIER_MAX + 1], counts_again[MMH_TIER_MAX + 1];
        size_t count = 1 + guard_random(&seed) % 700;
        make_symbols(symbols, count, 200, &seed);
        size_t bytes = model_encode(flipped, counts, symbols, count, &tiers);
        unsigned escapes = counts[tiers.tier_count];
        size_t planes = bytes - (escapes + 3u) / 4 * 4;
        /* Flip a bit outside the escapes: those may name a symbol that has a code. */
        if (planes)
            flipped[guard_random(&seed) % planes] ^= (uint8_t)(1 << guard_random(&seed) % 8);
        memset(flipped + bytes, 0, MMH_KERNEL_SLACK);
        for (size_t k = 0; mmh_kernels_at(k); k++)
            if (mmh_kernels_at(k)->tier_decode(out.at, flipped, counts, &tiers, scratch.at)) {
                assert_int_equal(model_encode(again, counts_again, out.at, count, &tiers), bytes);
                assert_memory_equal(again, flipped, bytes);
                assert_memory_equal(counts, counts_again, (tiers.tier_count + 1u) * 2);
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_count_comes_back),
        cmocka_unit_test(test_any_symbols_come_back),
        cmocka_unit_test(test_hostile_blocks_are_refused),
        cmocka_unit_test(test_accepted_blocks_are_canonical),
    };
    return cmocka_run_group_tests(tests, make_buffers, release_buffers);
}
