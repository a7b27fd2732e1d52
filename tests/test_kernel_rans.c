/*
 * rANS, histograms and classes: every kernel set against plain C or against the definition.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "rans_maker.h"

static void check_encode(const struct mmh_kernels *kernels, const struct model *model,
                         const struct stripe *stripe)
{
    struct guard words, states;
    guard_init(&words, 2 * stripe->padded);
    guard_init(&states, 4 * MMH_RANS_LANES);
    size_t count = kernels->rans_encode(states.at, words.at, stripe->padded, stripe->symbols.at,
                                        stripe->with_ids ? stripe->ids.at : NULL, stripe->count,
                                        model->encode, model->bits);
    assert_int_equal(count, stripe->word_count);
    assert_same(states.at, stripe->states.at, 4 * MMH_RANS_LANES);
    assert_same(words.at + 2 * (stripe->padded - count), stripe->words.at, 2 * count);
    guard_release(&words);
    guard_release(&states);
}

/* Decode stripes side by side; every buffer ends at a forbidden page. */
static bool decode(const struct mmh_kernels *kernels, const struct model *model,
                   const struct stripe *stripes, size_t stripe_count, struct guard *symbols)
{
    struct mmh_rans_stripe all[STRIPES];
    for (size_t i = 0; i < stripe_count; i++)
        all[i] = (struct mmh_rans_stripe){
            .symbols = guard_init(&symbols[i], stripes[i].padded),
            .ids = stripes[i].with_ids ? stripes[i].ids.at : NULL,
            .count = stripes[i].count,
            .states = stripes[i].states.at,
            .words = stripes[i].words.at,
            .word_count = stripes[i].word_count,
        };
    return kernels->rans_decode(all, stripe_count, model->decode, model->bits);
}

static void check_decode(const struct mmh_kernels *kernels, const struct model *model,
                         const struct stripe *stripes, size_t stripe_count)
{
    struct guard symbols[STRIPES];
    assert_true(decode(kernels, model, stripes, stripe_count, symbols));
    for (size_t i = 0; i < stripe_count; i++) {
        assert_same(symbols[i].at, stripes[i].symbols.at, stripes[i].padded);
        guard_release(&symbols[i]);
    }
}

/* ---- rANS ---- */

/* The reciprocal of every frequency gives the quotient of every state, or one less. */
static void test_reciprocals_divide(void **state)
{
    (void)state;
    struct mmh_rans_encode_table table;
    memset(&table, 0, sizeof table);
    for (uint32_t f = 1; f < 1u << MMH_RANS_BITS_MAX; f++) {
        table.frequency[f & 255] = (uint16_t)f;
        mmh_rans_encode_table_init(&table, MMH_RANS_BITS_MAX);
        const uint32_t reciprocal = (uint32_t)table.packed[f & 255];
        for (int i = 0; i < 200; i++) {
            uint32_t random = (uint32_t)(guard_random(&seed) >> (32 + below(17)));
            uint32_t multiple = random / f * f;
            const uint32_t states[] = {
                random,     multiple, multiple - 1, UINT32_MAX / f * f, UINT32_MAX - (uint32_t)i,
                (uint32_t)i
            };
            for (size_t k = 0; k < MMH_COUNT_OF(states); k++) {
                uint32_t quotient = (uint32_t)((uint64_t)states[k] * reciprocal >> 32);
                if (states[k] - quotient * f >= f)
                    quotient++;
                assert_int_equal(quotient, states[k] / f);
            }
        }
    }
}

/* Every kernel set writes the same words and states, and reads them back, for every number of
 * tables, of bits, every shape of table and the awkward lengths. */
static void test_rans_returns_every_symbol(void **state)
{
    static const size_t lengths[] = { 0,    1,    2,    127,  128,   129,   255,   256,
                                      1000, 4095, 4096, 4097, 32768, 65535, 65536, 65537 };
    static const uint32_t table_counts[] = { 1, 2, 3, 8, 31, 32, 64 };
    (void)state;
    for (unsigned bits = 8; bits <= MMH_RANS_BITS_MAX; bits++)
        for (size_t t = 0; t < MMH_COUNT_OF(table_counts); t++)
            for (int shape = 0; shape <= SHAPES; shape++) {
                struct model model;
                model_init(&model, bits, table_counts[t], shape);
                for (size_t i = 0; i < MMH_COUNT_OF(lengths); i++) {
                    if (lengths[i] > 5000 && (shape != SHAPES || table_counts[t] == 3))
                        continue;
                    struct stripe stripe;
                    stripe_init(&stripe, &model, lengths[i], table_counts[t] > 1,
                                (enum choice)(i % CHOICES));
                    const struct mmh_kernels *kernels;
                    for (size_t k = 0; (kernels = mmh_kernels_at(k)) != NULL; k++) {
                        check_encode(kernels, &model, &stripe);
                        check_decode(kernels, &model, &stripe, 1);
                    }
                    stripe_release(&stripe);
                }
                model_release(&model);
            }
}

/* Stripes of any lengths decode side by side, dear ones beside cheap ones, some without ids. */
static void test_rans_decodes_stripes_together(void **state)
{
    (void)state;
    for (int round = 0; round < 300; round++) {
        struct model model;
        const bool many = round & 1;
        model_init(&model, 8 + below(5), many ? 1 + below(64) : 1, SHAPES);
        struct stripe stripes[STRIPES];
        const size_t stripe_count = below(STRIPES + 1), same = below(3) * below(3000);
        for (size_t i = 0; i < stripe_count; i++)
            stripe_init(&stripes[i], &model, round % 3 ? same : below(6000),
                        many && (round % 5 || i & 1), (enum choice)below(CHOICES));
        const struct mmh_kernels *kernels;
        for (size_t k = 0; (kernels = mmh_kernels_at(k)) != NULL; k++)
            check_decode(kernels, &model, stripes, stripe_count);
        for (size_t i = 0; i < stripe_count; i++)
            stripe_release(&stripes[i]);
        model_release(&model);
    }
}

/*
 * Whatever the words and states hold: no access outside, and no success unless an encoder writes
 * just that (another symbol with the same frequency may explain a changed word).
 */
static void test_rans_refuses_hostile_streams(void **state)
{
    (void)state;
    int accepted = 0;
    for (int round = 0; round < 3000; round++) {
        struct model model;
        const bool many = round & 1;
        model_init(&model, 8 + below(5), many ? 1 + below(8) : 1, SHAPES);
        struct stripe stripes[STRIPES];
        const size_t stripe_count = 1 + below(STRIPES);
        for (size_t i = 0; i < stripe_count; i++)
            stripe_init(&stripes[i], &model, 500 + below(round % 16 ? 1500 : 20000), many,
                        (enum choice)below(CHOICES));
        for (uint32_t times = 1 + below(3); times > 0; times--)
            mutate(&stripes[below((uint32_t)stripe_count)]);
        for (size_t i = 0; i < stripe_count; i++) {
            guard_freeze(&stripes[i].states);
            guard_freeze(&stripes[i].words);
        }
        bool right = false;
        const struct mmh_kernels *kernels;
        for (size_t k = 0; (kernels = mmh_kernels_at(k)) != NULL; k++) {
            struct guard symbols[STRIPES];
            const bool now = decode(kernels, &model, stripes, stripe_count, symbols);
            if (k == 0)
                right = now;
            assert_int_equal(now, right);
            for (size_t i = 0; i < stripe_count; i++) {
                struct stripe again = stripes[i];
                again.symbols = symbols[i];
                if (right)
                    check_encode(kernels, &model, &again);
                guard_release(&symbols[i]);
            }
            accepted += k == 0 && right;
        }
        for (size_t i = 0; i < stripe_count; i++)
            stripe_release(&stripes[i]);
        model_release(&model);
    }
    assert_true(accepted < 200);
}

/* ---- histograms ---- */

/* Symbols of one kind: all the same, nearly, or all kinds. */
static void fill_bytes(uint8_t *bytes, size_t count, uint32_t kinds)
{
    const uint8_t first = (uint8_t)below(256);
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(first + below(kinds));
}

static size_t random_count(void)
{
    static const size_t counts[] = { 0, 1, 7, 8, 63, 64, 65, 127, 128, 1000, 8191, 8192, 70001 };
    return below(2) ? counts[below(MMH_COUNT_OF(counts))] : below(3000);
}

/* Every stride-th run of 64 is counted once, on top of what was there. */
static void test_histograms_count(void **state)
{
    (void)state;
    const struct mmh_kernels *kernels;
    for (size_t k = 0; (kernels = mmh_kernels_at(k)) != NULL; k++)
        for (int round = 0; round < 300; round++) {
            const size_t count = random_count(), stride = 1 + (below(2) ? below(20) : 0);
            struct guard symbols, bins, histogram, pairs;
            fill_bytes(guard_init(&symbols, count), count, 1 + (1u << below(9)) % 256);
            fill_bytes(guard_init(&bins, count), count, 1 + below(64));
            for (size_t i = 0; i < count; i++)
                bins.at[i] %= MMH_CLASS_BINS;
            guard_freeze(&symbols);
            guard_freeze(&bins);
            guard_init(&histogram, 256 * sizeof(uint32_t));
            guard_init(&pairs, 64 * 256 * sizeof(uint32_t));
            static uint32_t want[256], want_pairs[64 * 256];
            memset(want, GUARD_FILL, sizeof want);
            memset(want_pairs, GUARD_FILL, sizeof want_pairs);
            for (size_t i = 0; i < count; i++)
                if (i / 64 % stride == 0) {
                    want[symbols.at[i]]++;
                    want_pairs[256 * bins.at[i] + symbols.at[i]]++;
                }
            kernels->histogram((uint32_t *)(void *)histogram.at, symbols.at, count, stride);
            kernels->histogram_classes((uint32_t *)(void *)pairs.at, symbols.at, bins.at, count,
                                       stride);
            assert_memory_equal(histogram.at, want, sizeof want);
            assert_memory_equal(pairs.at, want_pairs, sizeof want_pairs);
            guard_release(&symbols);
            guard_release(&bins);
            guard_release(&histogram);
            guard_release(&pairs);
        }
}

/* ---- rows and columns ---- */

static const uint32_t column_counts[] = { 1,   2,   3,    4,    5,    7,    8,   9,   12,
                                          15,  16,  17,   25,   27,   31,   32,  33,  48,
                                          49,  63,  64,   65,   96,   100,  127, 128, 129,
                                          192, 768, 1000, 1024, 1025, 2100, 5000 };

/* Sums of rows and columns, wherever the run is cut; large symbols in many rows do not overflow. */
static void test_sums_add_up(void **state)
{
    (void)state;
    const struct mmh_kernels *kernels;
    for (size_t k = 0; (kernels = mmh_kernels_at(k)) != NULL; k++)
        for (size_t i = 0; i < MMH_COUNT_OF(column_counts); i++)
            for (int round = 0; round < 12; round++) {
                const uint64_t columns = column_counts[i];
                const uint64_t first = below(3) * below((uint32_t)(5 * columns));
                const size_t count = round < 2 ? 40000 * (size_t)round + below(500)
                                               : random_count();
                const uint64_t rows = (first + count + columns - 1) / columns;
                struct guard symbols, row_sum, column_sum, want_row, want_column;
                guard_init(&symbols, count);
                if (round == 1)
                    memset(symbols.at, 0xff, count);
                else
                    fill_bytes(symbols.at, count, 255);
                guard_freeze(&symbols);
                uint64_t *row_sums = (void *)guard_init(&row_sum, (size_t)rows * 8);
                uint32_t *column_sums = (void *)guard_init(&column_sum, (size_t)columns * 4);
                uint64_t *want_rows = (void *)guard_init(&want_row, (size_t)rows * 8);
                uint32_t *want_columns = (void *)guard_init(&want_column, (size_t)columns * 4);
                for (size_t j = 0; j < count; j++) {
                    want_rows[(first + j) / columns] += symbols.at[j];
                    want_columns[(first + j) % columns] += symbols.at[j];
                }
                for (size_t done = 0, part; done < count; done += part) {
                    part = below(4) ? count - done : 1 + below((uint32_t)(count - done));
                    kernels->row_column_sums(row_sums, column_sums, symbols.at + done, first + done,
                                             part, columns);
                }
                kernels->row_column_sums(row_sums, column_sums, symbols.at, first, 0, columns);
                assert_same(row_sums, want_rows, (size_t)rows * 8);
                assert_same(column_sums, want_columns, (size_t)columns * 4);
                guard_release(&symbols);
                guard_release(&row_sum);
                guard_release(&column_sum);
                guard_release(&want_row);
                guard_release(&want_column);
            }
}

/* Classes are what kernel.h defines, with and without rows, columns and map. */
static void test_classes_are_looked_up(void **state)
{
    (void)state;
    const struct mmh_kernels *kernels;
    for (size_t k = 0; (kernels = mmh_kernels_at(k)) != NULL; k++)
        for (size_t i = 0; i < MMH_COUNT_OF(column_counts); i++)
            for (int round = 0; round < 16; round++) {
                const uint64_t columns = column_counts[i];
                const uint64_t first = below(3) * below((uint32_t)(5 * columns));
                const size_t count = random_count();
                const size_t rows = (size_t)((first + count + columns - 1) / columns);
                struct guard out, row, column, map;
                guard_init(&out, count);
                guard_init(&row, rows);
                guard_init(&column, (size_t)columns + MMH_KERNEL_SLACK);
                guard_init(&map, MMH_CLASS_BINS);
                for (size_t j = 0; j < rows; j++)
                    row.at[j] = (uint8_t)(below(128) - 64);
                for (size_t j = 0; j < columns; j++)
                    column.at[j] = (uint8_t)(below(128) - 64);
                for (size_t j = 0; j < MMH_CLASS_BINS; j++)
                    map.at[j] = (uint8_t)below(256);
                guard_freeze(&row);
                guard_freeze(&column);
                guard_freeze(&map);
                const int8_t *rows_at = round & 1 ? NULL : (const int8_t *)row.at;
                const int8_t *columns_at = round & 2 ? NULL : (const int8_t *)column.at;
                const uint8_t *map_at = round & 4 ? NULL : map.at;
                kernels->classes(out.at, first, count, columns, rows_at, columns_at, map_at);
                for (size_t j = 0; j < count; j++) {
                    int sum = (rows_at ? rows_at[(first + j) / columns] : 0) +
                              (columns_at ? columns_at[(first + j) % columns] : 0);
                    int bin = MMH_MAX(0, MMH_MIN(sum + 32, MMH_CLASS_BINS - 1));
                    assert_int_equal(out.at[j], map_at ? map_at[bin] : (uint8_t)sum);
                }
                guard_release(&out);
                guard_release(&row);
                guard_release(&column);
                guard_release(&map);
            }
}

/* Bytes are added and subtracted modulo 256. */
static void test_bytes_add_and_subtract(void **state)
{
    (void)state;
    const struct mmh_kernels *kernels;
    for (size_t k = 0; (kernels = mmh_kernels_at(k)) != NULL; k++)
        for (int round = 0; round < 100; round++) {
            const size_t count = random_count();
            struct guard sum, src, before;
            fill_bytes(guard_init(&before, count), count, 256);
            fill_bytes(guard_init(&src, count), count, 256);
            guard_copy(&sum, before.at, count);
            guard_freeze(&src);
            kernels->bytes_add(sum.at, src.at, count);
            for (size_t j = 0; j < count; j++)
                assert_int_equal(sum.at[j], (uint8_t)(before.at[j] + src.at[j]));
            kernels->bytes_subtract(sum.at, src.at, count);
            assert_same(sum.at, before.at, count);
            guard_release(&sum);
            guard_release(&src);
            guard_release(&before);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reciprocals_divide),
        cmocka_unit_test(test_rans_returns_every_symbol),
        cmocka_unit_test(test_rans_decodes_stripes_together),
        cmocka_unit_test(test_rans_refuses_hostile_streams),
        cmocka_unit_test(test_histograms_count),
        cmocka_unit_test(test_sums_add_up),
        cmocka_unit_test(test_classes_are_looked_up),
        cmocka_unit_test(test_bytes_add_and_subtract),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
