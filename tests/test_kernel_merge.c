/*
 * Elements written as their symbols are decoded, by tiers or by rANS: the same as in two steps of
 * plain C, wherever they go and however they are stored.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Every buffer ends right before a forbidden page, those that are only read are frozen, and what
 * lies around the elements is looked at after each call.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "rans_maker.h"

enum {
    LIST = MMH_TIER_BLOCK + MMH_KERNEL_SLACK,
    BLOCK_ROOM = MMH_TIER_MAX * MMH_TIER_BLOCK / 4 + MMH_TIER_BLOCK + MMH_KERNEL_SLACK,
    LENGTH_MAX = 70000, /* more than a burst */
    RUN_MAX = STRIPES * (LENGTH_MAX + 2 * GROUP),
    ELEMENT_MAX = 8,
    MARGIN = 1024, /* bytes looked at on either side of elements */
    STREAM_MODES = 3,
};

/* ---- where elements go ---- */

enum { BEFORE_PAGE = 64 };

/* Bytes from a cache line on, as loaders may leave them; or wherever the elements end at a page. */
static const unsigned offsets[] = { 0, 2, 8, 16, 1, 62, BEFORE_PAGE };

static struct guard out;
static uint8_t expected[RUN_MAX * ELEMENT_MAX], whole[RUN_MAX * ELEMENT_MAX];

/* A place for so many bytes, filled like all that is around it. */
static uint8_t *place(size_t bytes, unsigned offset)
{
    const size_t behind = offset == BEFORE_PAGE ? 0 : (64 - (bytes + offset) % 64) % 64;
    uint8_t *dst = guard_last(&out, bytes + behind);
    assert_true(offset == BEFORE_PAGE || (uintptr_t)dst % 64 == offset);
    memset(dst - MARGIN, GUARD_FILL, MARGIN + bytes + behind);
    return dst;
}

static bool untouched(const uint8_t *from, const uint8_t *to)
{
    while (from < to && *from == GUARD_FILL)
        from++;
    return from == to;
}

static void assert_only(const uint8_t *dst, size_t bytes, const char *who)
{
    if (!untouched(dst - MARGIN, dst))
        fail_msg("%s wrote before the elements", who);
    if (!untouched(dst + bytes, out.at + out.bytes))
        fail_msg("%s wrote behind the elements", who);
}

/* assert_memory_equal, for megabytes */
static void assert_bytes(const uint8_t *got, const uint8_t *want, size_t bytes, const char *who)
{
    if (!bytes || !memcmp(got, want, bytes))
        return;
    size_t i = 0;
    while (got[i] == want[i])
        i++;
    fail_msg("%s: byte %zu of %zu is %02x, not %02x", who, i, bytes, got[i], want[i]);
}

/* ---- what elements consist of ---- */

static const struct {
    unsigned bytes, exponent_bits, mantissa_bits;
} types[] = { { 2, 8, 7 }, { 2, 5, 10 }, { 4, 8, 7 }, { 8, 11, 4 } };

enum { BF16, FP16, FP32, FP64, TYPES };

static struct mmh_split split_of(unsigned type, unsigned q, unsigned sign_mode, unsigned zero_low,
                                 unsigned window)
{
    struct mmh_split split = {
        .element_bytes = (uint8_t)types[type].bytes,
        .raw_bits = (uint8_t)(16 - types[type].exponent_bits - q),
        .sign_mode = (uint8_t)sign_mode,
        .zero_low = (uint8_t)zero_low,
        .symbol_low = (uint8_t)(1 << q),
        .window_base = (uint16_t)(window << q),
    };
    split.stored_bits = (uint8_t)(split.raw_bits - zero_low - (sign_mode != 0));
    return split;
}

/* Pairs of bytes, whose values are any. */
static struct mmh_split split_of_pairs(unsigned tables)
{
    static uint8_t values[8][256];
    for (size_t i = 0; i < sizeof values; i++)
        values[i / 256][i % 256] = (uint8_t)guard_random(&seed);
    return (struct mmh_split){ .element_bytes = 2,
                               .raw_bits = 8,
                               .stored_bits = 8,
                               .pair_values = values[0],
                               .pair_tables = (uint8_t)tables };
}

static unsigned random_window(void)
{
    return below(2) ? 0 : below(2) ? 40 : below(1u << 14);
}

static void fill_random(struct guard *guard, size_t bytes)
{
    guard_init(guard, bytes);
    for (size_t i = 0; i < bytes; i++)
        guard->at[i] = (uint8_t)guard_random(&seed);
    guard_freeze(guard);
}

/* Planes and tails of a run: whole groups, and not a byte more. */
struct parts {
    struct guard plane[4], tails[3];
    struct mmh_split split;
    struct mmh_merge merge; /* without dst and stream */
};

static void parts_init(struct parts *parts, const struct mmh_split *split, size_t count)
{
    const size_t groups = (count + MMH_GROUP - 1) / MMH_GROUP;
    parts->split = *split;
    parts->merge = (struct mmh_merge){ .split = &parts->split };
    for (unsigned p = 0; p < 4; p++) {
        fill_random(&parts->plane[p], split->stored_bits & 8u >> p ? groups * (64u >> p) : 0);
        parts->merge.planes.plane[p] = parts->plane[p].at;
    }
    for (unsigned p = 0; p < 3; p++) {
        const bool used = p < split->element_bytes / 2u - 1;
        fill_random(&parts->tails[p], used ? groups * MMH_GROUP * 2 : 0);
        parts->merge.tails[p] = parts->tails[p].at;
    }
    if (!split->pair_values)
        return;
    /* The table of each pair; NULL: all table 0. */
    guard_release(&parts->tails[0]);
    guard_init(&parts->tails[0], split->pair_tables > 1 ? groups * MMH_GROUP : 0);
    for (size_t i = 0; i < parts->tails[0].bytes; i++)
        parts->tails[0].at[i] = (uint8_t)below(split->pair_tables);
    guard_freeze(&parts->tails[0]);
    parts->merge.tails[0] = split->pair_tables > 1 ? parts->tails[0].at : NULL;
}

static void parts_release(struct parts *parts)
{
    for (unsigned p = 0; p < 4; p++)
        guard_release(&parts->plane[p]);
    for (unsigned p = 0; p < 3; p++)
        guard_release(&parts->tails[p]);
}

static struct mmh_merge merge_to(const struct parts *parts, uint8_t *dst, unsigned stream)
{
    struct mmh_merge merge = parts->merge;
    merge.dst = dst;
    merge.stream = stream;
    return merge;
}

/* What plain C makes of whole groups of symbols. */
static void merge_plainly(uint8_t *dst, const struct parts *parts, const uint8_t *symbols,
                          size_t count)
{
    mmh_kernels_at(0)->merge(dst, symbols, &parts->merge.planes, parts->merge.tails, count,
                             &parts->split, MMH_STREAM_OFF);
}

/* ---- tiers ---- */

static struct guard scratch, tier_symbols;

/* Symbols of which most are near the first of the ranks, and the rest is anything. */
static void make_symbols(uint8_t *symbols, size_t count, const struct mmh_tiers *tiers)
{
    const uint32_t codes = 1 + below(3u * tiers->tier_count), escapes = below(2) * below(64);
    for (size_t i = 0; i < count; i++)
        symbols[i] = below(256) < escapes ? (uint8_t)below(256)
                                          : tiers->ranks[below(1 + below(codes))];
}

static struct mmh_tiers make_tiers(unsigned tier_count)
{
    struct mmh_tiers tiers = { .tier_count = (uint8_t)tier_count };
    const uint32_t first = below(256), step = 2 * below(8) + 1;
    for (uint32_t i = 0; i < sizeof tiers.ranks; i++)
        tiers.ranks[i] = (uint8_t)(first - step * i);
    return tiers;
}

static size_t block_bytes(const uint16_t *counts, unsigned tier_count)
{
    size_t bytes = (counts[tier_count] + 3u) / 4 * 4;
    for (unsigned k = 0; k < tier_count; k++)
        bytes += (counts[k] + 31u) / 32 * 8;
    return bytes;
}

/* A block as plain C takes it: decoded, then merged. */
static bool decode_plainly(const struct parts *parts, const uint8_t *src, const uint16_t *counts,
                           const struct mmh_tiers *tiers)
{
    if (!mmh_kernels_at(0)->tier_decode(tier_symbols.at, src, counts, tiers, scratch.at))
        return false;
    merge_plainly(expected, parts, tier_symbols.at, counts[0]);
    return true;
}

/* Every kernel set takes a block as plain C does, or refuses it likewise. */
static void assert_tier_merge(const struct parts *parts, const uint8_t *src, const uint16_t *counts,
                              const struct mmh_tiers *tiers, bool right, size_t every)
{
    const size_t bytes = (size_t)counts[0] * parts->split.element_bytes;
    const struct mmh_kernels *kernels;
    size_t round = below((uint32_t)every);
    for (size_t k = 0; (kernels = mmh_kernels_at(k)) != NULL; k++)
        for (size_t o = 0; o < MMH_COUNT_OF(offsets); o++)
            for (unsigned stream = 0; stream < STREAM_MODES; stream++, round++) {
                if (round % every)
                    continue;
                uint8_t *dst = place(bytes, offsets[o]);
                const struct mmh_merge merge = merge_to(parts, dst, stream);
                assert_int_equal(
                    kernels->tier_merge(&merge, src, counts, tiers, tier_symbols.at, scratch.at),
                    right);
                kernels->fence();
                assert_only(dst, bytes, kernels->name);
                if (right)
                    assert_bytes(dst, expected, bytes, kernels->name);
            }
}

/* Tiers that are merged at once give what decoding and merging in plain C give, for every shape. */
static void test_tiers_merge_as_in_two_steps(void **state)
{
    static const size_t counts_of[] = { 64, 0, 128, 192, 960, 4096, MMH_TIER_BLOCK };
    static uint8_t symbols[MMH_TIER_BLOCK];
    unsigned round = 0;
    (void)state;
    for (unsigned type = 0; type < TYPES; type++)
        for (unsigned q = 0; q <= 2; q++)
            for (unsigned sign_mode = 0; sign_mode <= 2; sign_mode++)
                for (unsigned z = 0; z <= types[type].mantissa_bits - q; z++)
                    for (unsigned w = 0; w < (z || q ? 2 : 8); w++, round++) {
                        /* shapes that are merged at once have no window: those more often */
                        const struct mmh_split split = split_of(type, q, sign_mode, z,
                                                                w % 2 ? random_window() : 0);
                        const size_t i = round % (MMH_COUNT_OF(counts_of) + 1);
                        const size_t count = i < MMH_COUNT_OF(counts_of)
                                               ? counts_of[i]
                                               : 64 * (size_t)below(MMH_TIER_BLOCK / 64 + 1);
                        const struct mmh_tiers tiers = make_tiers(1 + round % MMH_TIER_MAX);
                        static uint8_t block[BLOCK_ROOM];
                        uint16_t counts[MMH_TIER_MAX + 1];
                        struct parts parts;
                        struct guard src;
                        parts_init(&parts, &split, count);
                        make_symbols(symbols, count, &tiers);
                        const size_t bytes = mmh_kernels_at(0)->tier_encode(
                            block, counts, symbols, count, &tiers, scratch.at);
                        guard_init(&src, bytes + MMH_KERNEL_SLACK);
                        memcpy(src.at, block, bytes);
                        guard_freeze(&src);
                        assert_true(decode_plainly(&parts, src.at, counts, &tiers));
                        assert_tier_merge(&parts, src.at, counts, &tiers, true,
                                          count > 1000 ? 4 : 1);
                        guard_release(&src);
                        parts_release(&parts);
                    }
}

/* Planes that disagree with the counts are refused by every kernel set alike; nothing but the
 * block's elements is written. */
static void test_hostile_tiers_are_refused(void **state)
{
    static uint8_t symbols[MMH_TIER_BLOCK], bad[BLOCK_ROOM];
    size_t refused = 0, rounds = 0;
    (void)state;
    for (; rounds < 1500; rounds++) {
        const uint32_t way = below(7);
        const unsigned t = 1 + below(MMH_TIER_MAX), type = below(TYPES);
        const size_t count = 64 * (size_t)(below(4) ? below(20) : below(MMH_TIER_BLOCK / 64)) + 64;
        const struct mmh_split split = split_of(type, 0, below(3), 0, below(8) ? 0 : 40);
        const struct mmh_tiers tiers = make_tiers(t);
        uint16_t counts[MMH_TIER_MAX + 1];
        make_symbols(symbols, count, &tiers);
        size_t bytes = mmh_kernels_at(0)->tier_encode(bad, counts, symbols, count, &tiers,
                                                      scratch.at);
        if (way == 0) { /* one bit */
            bad[below((uint32_t)bytes)] ^= (uint8_t)(1 << below(8));
        } else if (way == 1) { /* one bit of the first tier */
            bad[below((uint32_t)count / 4)] ^= (uint8_t)(1 << below(8));
        } else if (way == 2) { /* everything goes on */
            memset(bad, 0xff, bytes);
        } else if (way == 3) { /* noise, true counts */
            for (size_t i = 0; i < bytes; i++)
                bad[i] = (uint8_t)guard_random(&seed);
        } else if (way == 4) { /* the least counts, planes full of ones */
            memset(counts + 1, 0, t * sizeof *counts);
            memset(bad, 0xff, bytes);
        } else if (way == 5) { /* counts that fall anyhow */
            for (unsigned k = 1; k <= t; k++)
                counts[k] = (uint16_t)below(counts[k - 1] + 1u);
        } else { /* counts that never fall */
            for (unsigned k = 1; k <= t; k++)
                counts[k] = counts[0];
        }
        bytes = block_bytes(counts, t);
        struct parts parts;
        struct guard src;
        parts_init(&parts, &split, count);
        guard_copy(&src, bad, bytes + MMH_KERNEL_SLACK);
        memset(src.at + bytes, below(2) ? 0xff : 0, MMH_KERNEL_SLACK);
        guard_freeze(&src);
        const bool right = decode_plainly(&parts, src.at, counts, &tiers);
        refused += !right;
        assert_tier_merge(&parts, src.at, counts, &tiers, right, 8);
        guard_release(&src);
        parts_release(&parts);
    }
    assert_true(refused > rounds / 2 && refused < rounds);
}

/* ---- rANS ---- */

/* Stripes of one run: each begins at a multiple of 128 elements, what lies between is no one's. */
struct run {
    struct model model;
    struct stripe stripes[STRIPES];
    size_t first[STRIPES], stripe_count, elements;
    struct parts parts;
};

/* with_ids: one bit for each stripe */
static void run_init(struct run *run, const struct mmh_split *split, const size_t *lengths,
                     size_t stripe_count, unsigned bits, unsigned with_ids)
{
    model_init(&run->model, bits, with_ids ? 1 + below(MMH_RANS_TABLES_MAX) : 1, SHAPES);
    run->stripe_count = stripe_count;
    run->elements = 0;
    for (size_t i = 0, at = 0; i < stripe_count; i++) {
        stripe_init(&run->stripes[i], &run->model, lengths[i], with_ids >> i & 1,
                    below(4) ? TYPICAL : (enum choice)below(CHOICES));
        run->first[i] = at;
        run->elements = at + lengths[i];
        at += run->stripes[i].padded;
    }
    parts_init(&run->parts, split, run->elements);
}

/* What is only read, from here on: damage is done before. */
static void run_freeze(struct run *run)
{
    for (size_t i = 0; i < run->stripe_count; i++) {
        guard_freeze(&run->stripes[i].states);
        guard_freeze(&run->stripes[i].words);
    }
}

static void run_release(struct run *run)
{
    for (size_t i = 0; i < run->stripe_count; i++)
        stripe_release(&run->stripes[i]);
    parts_release(&run->parts);
    model_release(&run->model);
}

static struct mmh_rans_stripe stripe_at(const struct run *run, size_t i, uint8_t *symbols,
                                        const struct mmh_merge *merge)
{
    const struct stripe *stripe = &run->stripes[i];
    return (struct mmh_rans_stripe){
        .symbols = symbols,
        .merge = merge,
        .ids = stripe->with_ids ? stripe->ids.at : NULL,
        .count = stripe->count,
        .states = stripe->states.at,
        .words = stripe->words.at,
        .word_count = stripe->word_count,
    };
}

/* The run as plain C takes it: all symbols decoded, then merged. Between stripes nothing is. */
static bool run_decode_plainly(const struct run *run)
{
    static uint8_t symbols[RUN_MAX + MMH_GROUP];
    const unsigned unit = run->parts.split.element_bytes;
    const size_t padded = (size_t)mmh_round_up(run->elements, MMH_GROUP);
    struct mmh_rans_stripe all[STRIPES];
    for (size_t i = 0; i < run->stripe_count; i++)
        all[i] = stripe_at(run, i, symbols + run->first[i], NULL);
    const bool right = mmh_kernels_at(0)->rans_decode(all, run->stripe_count, run->model.decode,
                                                      run->model.bits);
    merge_plainly(whole, &run->parts, symbols, padded);
    memset(expected, GUARD_FILL, run->elements * unit);
    for (size_t i = 0; i < run->stripe_count && right; i++)
        memcpy(expected + run->first[i] * unit, whole + run->first[i] * unit,
               run->stripes[i].count * unit);
    return right;
}

static struct guard bursts[STRIPES];

/* Every kernel set takes the run as plain C does, or refuses it likewise. */
static void assert_run(const struct run *run, size_t every)
{
    const unsigned unit = run->parts.split.element_bytes;
    const size_t bytes = run->elements * unit;
    const bool right = run_decode_plainly(run);
    const struct mmh_kernels *kernels;
    size_t round = below((uint32_t)every);
    for (size_t k = 0; (kernels = mmh_kernels_at(k)) != NULL; k++)
        for (size_t o = 0; o < MMH_COUNT_OF(offsets); o++)
            for (unsigned stream = 0; stream < STREAM_MODES; stream++, round++) {
                if (round % every)
                    continue;
                struct mmh_rans_stripe all[STRIPES];
                struct mmh_merge merges[STRIPES];
                uint8_t *dst = place(bytes, offsets[o]);
                const struct mmh_merge merge = merge_to(&run->parts, dst, stream);
                for (size_t i = 0; i < run->stripe_count; i++) {
                    merges[i] = mmh_merge_at(&merge, run->first[i]);
                    all[i] = stripe_at(run, i, bursts[i].at, &merges[i]);
                }
                assert_int_equal(kernels->rans_decode(all, run->stripe_count, run->model.decode,
                                                      run->model.bits),
                                 right);
                kernels->fence();
                assert_only(dst, bytes, kernels->name);
                if (right) {
                    assert_bytes(dst, expected, bytes, kernels->name);
                    continue;
                }
                for (size_t i = 0; i + 1 < run->stripe_count; i++)
                    if (!untouched(dst + (run->first[i] + run->stripes[i].count) * unit,
                                   dst + run->first[i + 1] * unit))
                        fail_msg("%s wrote between stripes", kernels->name);
            }
}

static const size_t lengths_of[] = { 0,   1,   63,   64,   65,         127,
                                     128, 129, 1000, 4096, 16384 + 77, LENGTH_MAX };

/* A shape: those that are merged from registers more often than not, the others in turn. */
static struct mmh_split split_in_turn(unsigned turn)
{
    if (turn % 5 == 3)
        return split_of_pairs(1 + below(8));
    if (turn % 4 == 0)
        return split_of(BF16, 2, 0, 0, random_window());
    if (turn % 4 == 2)
        return split_of(FP16, 2, 0, 0, 0);
    const unsigned others = turn / 2, type = others % TYPES, q = others / TYPES % 3;
    const unsigned sign_mode = others / 12 % 3;
    const unsigned zero_low = below(3) ? 0 : below(types[type].mantissa_bits - q + 1);
    return split_of(type, q, sign_mode, zero_low, random_window());
}

/* Stripes that are merged as they are decoded give what decoding and merging in plain C give: one
 * to four of any length, with tables of their own or without, in any shape. */
static void test_stripes_merge_as_in_two_steps(void **state)
{
    unsigned turn = 0;
    (void)state;
    for (size_t l = 0; l < MMH_COUNT_OF(lengths_of); l++)
        for (size_t stripe_count = 1; stripe_count <= STRIPES; stripe_count++) {
            const unsigned turns = lengths_of[l] > 5000 ? 12 : 72;
            for (unsigned t = 0; t < turns; t++, turn++) {
                const struct mmh_split split = split_in_turn(turn);
                size_t lengths[STRIPES];
                struct run run;
                for (size_t i = 0; i < stripe_count; i++)
                    lengths[i] = lengths_of[l];
                run_init(&run, &split, lengths, stripe_count, 8 + turn % 5, t / 4 % 2 ? 0xf : 0);
                run_freeze(&run);
                assert_run(&run, lengths_of[l] > 5000 ? 4 : 1);
                run_release(&run);
            }
        }
}

/* The same for stripes of different lengths, some of them with ids, in any order. */
static void test_unequal_stripes_merge_as_in_two_steps(void **state)
{
    (void)state;
    for (unsigned turn = 0; turn < 400; turn++) {
        const struct mmh_split split = split_in_turn(turn);
        const size_t stripe_count = 1 + below(STRIPES);
        size_t lengths[STRIPES];
        struct run run;
        for (size_t i = 0; i < stripe_count; i++) {
            const uint32_t l = below(MMH_COUNT_OF(lengths_of) - (turn % 8 != 0));
            lengths[i] = below(3) ? lengths_of[l] : below(3000);
        }
        run_init(&run, &split, lengths, stripe_count, 8 + below(5),
                 below(2) ? below(2) * 0xf : below(16));
        run_freeze(&run);
        assert_run(&run, turn % 8 ? 3 : 7);
        run_release(&run);
    }
}

/* Words and states that plain C refuses are refused by every kernel set, those that it takes are
 * taken; either way nothing but the stripes' elements is written. */
static void test_hostile_stripes_are_refused(void **state)
{
    unsigned refused = 0, turn = 0;
    (void)state;
    for (; turn < 2000; turn++) {
        const struct mmh_split split = split_in_turn(turn);
        const size_t stripe_count = 1 + below(STRIPES);
        size_t lengths[STRIPES];
        struct run run;
        const size_t same = 1 + below(2500);
        for (size_t i = 0; i < stripe_count; i++)
            lengths[i] = turn % 3 ? same : 1 + below(turn % 16 ? 2000 : 20000);
        run_init(&run, &split, lengths, stripe_count, 8 + below(5), turn / 4 % 2 ? 0xf : 0);
        for (uint32_t times = 1 + below(3); times > 0; times--)
            mutate(&run.stripes[below((uint32_t)stripe_count)]);
        run_freeze(&run);
        refused += !run_decode_plainly(&run);
        assert_run(&run, 5);
        run_release(&run);
    }
    assert_true(refused > turn / 2 && refused < turn);
}

/* Pairs of bytes fall into the same symbols and raw bytes for every kernel set, and come back. */
static void test_pairs_split_and_come_back(void **state)
{
    static const size_t lengths[] = { 0, 1, 2, 63, 64, 65, 127, 128, 129, 1000, 4096 };
    (void)state;
    for (unsigned round = 0; round < 40; round++)
        for (size_t l = 0; l < MMH_COUNT_OF(lengths); l++) {
            const size_t pairs = lengths[l];
            uint8_t code[256], values[256];
            for (unsigned b = 0; b < 256; b++)
                code[b] = (uint8_t)b;
            for (unsigned b = 255; b; b--) {
                const unsigned other = below(b + 1);
                const uint8_t swapped = code[b];
                code[b] = code[other];
                code[other] = swapped;
            }
            for (unsigned b = 0; b < 256; b++)
                values[code[b]] = (uint8_t)b;
            struct guard src, symbols, raw, wanted_symbols, wanted_raw;
            fill_random(&src, 2 * pairs);
            guard_init(&wanted_symbols, pairs);
            guard_init(&wanted_raw, pairs);
            for (size_t i = 0; i < pairs; i++) {
                const unsigned a = code[src.at[2 * i]], b = code[src.at[2 * i + 1]];
                wanted_symbols.at[i] = (uint8_t)(a >> 4 | (b >> 4) << 4);
                wanted_raw.at[i] = (uint8_t)((a & 15) | (b & 15) << 4);
            }
            const struct mmh_kernels *kernels;
            for (size_t k = 0; (kernels = mmh_kernels_at(k)) != NULL; k++) {
                guard_init(&symbols, pairs);
                guard_init(&raw, pairs);
                kernels->pairs_split(symbols.at, raw.at, src.at, pairs, code);
                assert_bytes(symbols.at, wanted_symbols.at, pairs, kernels->name);
                assert_bytes(raw.at, wanted_raw.at, pairs, kernels->name);
                memset(symbols.at, 0, pairs);
                kernels->pairs_split(symbols.at, NULL, src.at, pairs, code);
                assert_bytes(symbols.at, wanted_symbols.at, pairs, kernels->name);
                guard_release(&symbols);
                guard_release(&raw);
                if (pairs % MMH_GROUP)
                    continue;
                const struct mmh_split split = { .element_bytes = 2,
                                                 .raw_bits = 8,
                                                 .stored_bits = 8,
                                                 .pair_values = values,
                                                 .pair_tables = 1 };
                const struct mmh_planes planes = { { wanted_raw.at } };
                const uint8_t *const none[3] = { NULL };
                uint8_t *dst = place(2 * pairs, offsets[round % MMH_COUNT_OF(offsets)]);
                kernels->merge(dst, wanted_symbols.at, &planes, none, pairs, &split, round % 3);
                kernels->fence();
                assert_bytes(dst, src.at, 2 * pairs, kernels->name);
                assert_only(dst, 2 * pairs, kernels->name);
            }
            guard_release(&src);
            guard_release(&wanted_symbols);
            guard_release(&wanted_raw);
        }
}

/* ---- runs in parts ---- */

/* A run of any length may be written part by part; no symbol behind its last is read. */
static void test_runs_merge_part_by_part(void **state)
{
    const struct mmh_kernels *kernels;
    (void)state;
    for (size_t k = 0; (kernels = mmh_kernels_at(k)) != NULL; k++)
        for (unsigned turn = 0; turn < 600; turn++) {
            const struct mmh_split split = split_in_turn(turn);
            const size_t count = turn < 300 ? turn : below(3000), unit = split.element_bytes;
            const size_t padded = (size_t)mmh_round_up(count, MMH_GROUP);
            struct parts parts;
            struct guard symbols;
            parts_init(&parts, &split, count);
            fill_random(&symbols, count);
            uint8_t padded_symbols[3000 + MMH_GROUP] = { 0 };
            if (count)
                memcpy(padded_symbols, symbols.at, count);
            merge_plainly(expected, &parts, padded_symbols, padded);
            uint8_t *dst = place(count * unit, offsets[turn % MMH_COUNT_OF(offsets)]);
            const struct mmh_merge merge = merge_to(&parts, dst, below(STREAM_MODES));
            for (size_t first = 0, n; first < count || !count; first += n) {
                const size_t part = MMH_GROUP * (1 + (size_t)below(8));
                n = below(2) ? count - first : MMH_MIN(count - first, part);
                mmh_merge_symbols(kernels->merge, &merge, first, symbols.at + first, n);
                if (!count)
                    break;
            }
            kernels->fence();
            assert_only(dst, count * unit, kernels->name);
            assert_bytes(dst, expected, count * unit, kernels->name);
            guard_release(&symbols);
            parts_release(&parts);
        }
}

/* Reading ahead reads what it is given, whatever its length, and nothing else. */
static void test_reading_through_stays_inside(void **state)
{
    struct guard src;
    (void)state;
    fill_random(&src, 4096); /* a page on either side is forbidden */
    for (size_t bytes = 0; bytes <= src.bytes; bytes += bytes < 700 ? 1 : 97)
        mmh_read_through(guard_last(&src, bytes), bytes);
    mmh_read_through(src.at, src.bytes);
    guard_release(&src);
}

/* ---- within ---- */

/* The groups before the first that has a symbol outside. */
static size_t plain_within(const uint8_t *symbols, const uint8_t *first, const uint8_t *last,
                           unsigned zeros, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if ((symbols[i] < first[i] || symbols[i] > last[i]) && symbols[i] >= zeros)
            return i / MMH_GROUP * MMH_GROUP;
    return count;
}

/* The first symbol outside its bounds is found wherever it is, and none where there is none. */
static void test_symbols_outside_are_found(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 3000; round++) {
        const size_t count = MMH_GROUP * (size_t)(round % 4 ? below(6) : below(40));
        static const uint8_t zeros_of[] = { 0, 1, 2, 4, 128, 255 };
        const uint8_t zeros = zeros_of[below(MMH_COUNT_OF(zeros_of))];
        struct guard symbols, first, last;
        guard_init(&symbols, count);
        guard_init(&first, count);
        guard_init(&last, count);
        for (size_t i = 0; i < count; i++) {
            const uint8_t a = (uint8_t)below(256), b = (uint8_t)below(256);
            first.at[i] = MMH_MIN(a, b);
            last.at[i] = MMH_MAX(a, b);
            const uint8_t in =
                (uint8_t)(first.at[i] + below(last.at[i] - first.at[i] + UINT32_C(1)));
            const uint32_t way = below(5); /* at either end, between, or 0 to zeros - 1 */
            symbols.at[i] = way == 0          ? first.at[i]
                          : way == 1          ? last.at[i]
                          : way == 2 && zeros ? (uint8_t)below(zeros)
                                              : in;
        }
        assert_int_equal(plain_within(symbols.at, first.at, last.at, zeros, count), count);
        for (uint32_t times = round % 3; times > 0 && count; times--) {
            const size_t at = below((uint32_t)count); /* by as little as can be, or anyhow */
            const uint32_t way = below(3);
            symbols.at[at] = way == 0 ? (uint8_t)(first.at[at] - 1)
                           : way == 1 ? (uint8_t)(last.at[at] + 1)
                                      : (uint8_t)below(256);
        }
        const size_t want = plain_within(symbols.at, first.at, last.at, zeros, count);
        guard_freeze(&symbols);
        guard_freeze(&first);
        guard_freeze(&last);
        const struct mmh_kernels *kernels;
        for (size_t k = 0; (kernels = mmh_kernels_at(k)) != NULL; k++)
            assert_int_equal(kernels->within(symbols.at, first.at, last.at, zeros, count), want);
        guard_release(&symbols);
        guard_release(&first);
        guard_release(&last);
    }
}

/* ---- */

static int make_buffers(void **state)
{
    (void)state;
    guard_init(&out, MARGIN + RUN_MAX * ELEMENT_MAX + BEFORE_PAGE);
    guard_init(&scratch, 2 * LIST);
    guard_init(&tier_symbols, LIST);
    for (size_t i = 0; i < STRIPES; i++)
        guard_init(&bursts[i], MMH_RANS_BURST + MMH_KERNEL_SLACK);
    return 0;
}

static int release_buffers(void **state)
{
    (void)state;
    guard_release(&out);
    guard_release(&scratch);
    guard_release(&tier_symbols);
    for (size_t i = 0; i < STRIPES; i++)
        guard_release(&bursts[i]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tiers_merge_as_in_two_steps),
        cmocka_unit_test(test_hostile_tiers_are_refused),
        cmocka_unit_test(test_stripes_merge_as_in_two_steps),
        cmocka_unit_test(test_unequal_stripes_merge_as_in_two_steps),
        cmocka_unit_test(test_hostile_stripes_are_refused),
        cmocka_unit_test(test_pairs_split_and_come_back),
        cmocka_unit_test(test_runs_merge_part_by_part),
        cmocka_unit_test(test_reading_through_stays_inside),
        cmocka_unit_test(test_symbols_outside_are_found),
    };
    return cmocka_run_group_tests(tests, make_buffers, release_buffers);
}
