/*
 * Made rANS stripes, each buffer before a forbidden page, and how they come to be damaged.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_TEST_RANS_MAKER_H
#define MMH_TEST_RANS_MAKER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "guard.h"
#include "kernel/kernel.h"

enum { GROUP = 4 * MMH_RANS_LANES, STRIPES = 4 };

static uint64_t seed = 0x9e3779b97f4a7c15;

static inline uint32_t below(uint32_t bound)
{
    return (uint32_t)((guard_random(&seed) >> 32) * bound >> 32);
}

/* ---- material ---- */

enum shape { FLAT, SKEWED, SINGLE, PAIR, SCATTERED, SHAPES };

/* Frequencies of 2^bits slots in one of several shapes. */
static inline void fill_frequencies(uint16_t frequency[256], unsigned bits, enum shape shape)
{
    const uint32_t slots = 1u << bits;
    uint32_t used = 0;
    memset(frequency, 0, 256 * sizeof *frequency);
    if (shape == FLAT) { /* all symbols */
        for (uint32_t s = 0; s < 256; s++)
            frequency[s] = (uint16_t)(slots / 256);
        used = slots / 256 * 256;
    } else if (shape == SKEWED) {
        uint32_t left = slots - 40, first = below(200);
        for (uint32_t s = 0; s < 40; s++) {
            uint32_t f = 1 + (s < 39 ? left * 3 / 10 : left);
            frequency[first + s] = (uint16_t)f;
            left -= f - 1;
            used += f;
        }
    } else if (shape == SINGLE) { /* as near to it as the format allows */
        frequency[below(256)] = (uint16_t)(slots - 1);
        used = slots - 1;
    } else if (shape == PAIR) {
        uint32_t s = below(255);
        frequency[s] = (uint16_t)(slots / 2);
        frequency[s + 1] = (uint16_t)(slots / 2);
        used = slots;
    } else {
        for (uint32_t i = 0; i < 100; i++, used++)
            frequency[below(256)]++;
    }
    while (used < slots) { /* the rest goes anywhere */
        uint32_t s = below(256), f = 1 + below((slots - used + 3) / 4);
        if (frequency[s] + f >= slots)
            continue;
        frequency[s] = (uint16_t)(frequency[s] + f);
        used += f;
    }
}

struct model {
    unsigned bits;
    uint32_t table_count;
    struct mmh_rans_encode_table *encode;
    uint32_t *decode;
    struct guard encode_guard, decode_guard;
};

static inline void model_init(struct model *model, unsigned bits, uint32_t table_count, int shape)
{
    model->bits = bits;
    model->table_count = table_count;
    model->encode = (void *)guard_init(&model->encode_guard, table_count * sizeof *model->encode);
    model->decode = (void *)guard_init(&model->decode_guard,
                                       table_count * sizeof *model->decode << bits);
    for (uint32_t t = 0; t < table_count; t++) {
        struct mmh_rans_encode_table *table = &model->encode[t];
        fill_frequencies(table->frequency, bits,
                         shape < SHAPES ? (enum shape)shape : (enum shape)below(SHAPES));
        uint32_t start = 0;
        for (uint32_t s = 0; s < 256; s++) {
            table->start[s] = (uint16_t)start;
            for (uint32_t i = 0; i < table->frequency[s]; i++)
                model->decode[(t << bits) + start++] = s << 24 |
                                                       (uint32_t)table->frequency[s] << 12 | i;
        }
        assert_int_equal(start, 1u << bits);
        mmh_rans_encode_table_init(table, bits);
    }
    guard_freeze(&model->encode_guard);
    guard_freeze(&model->decode_guard);
}

static inline void model_release(struct model *model)
{
    guard_release(&model->encode_guard);
    guard_release(&model->decode_guard);
}

/* A stripe and what plain C makes of it. */
struct stripe {
    size_t count, padded, word_count;
    struct guard symbols, ids, words, states;
    bool with_ids;
};

enum choice { TYPICAL, CHEAPEST, DEAREST, CHOICES };

static inline uint8_t choose_symbol(const struct model *model, uint32_t table, enum choice choice)
{
    const uint16_t *frequency = model->encode[table].frequency;
    if (choice == TYPICAL)
        return (uint8_t)(model->decode[(table << model->bits) + below(1u << model->bits)] >> 24);
    uint32_t best = 256;
    for (uint32_t s = 0; s < 256; s++)
        if (frequency[s] && (best == 256 || (choice == CHEAPEST ? frequency[s] > frequency[best]
                                                                : frequency[s] < frequency[best])))
            best = s;
    return (uint8_t)best;
}

static inline void stripe_init(struct stripe *stripe, const struct model *model, size_t count,
                               bool with_ids, enum choice choice)
{
    stripe->count = count;
    stripe->padded = (count + GROUP - 1) / GROUP * GROUP;
    stripe->with_ids = with_ids;
    uint8_t *symbols = guard_init(&stripe->symbols, stripe->padded);
    uint8_t *ids = guard_init(&stripe->ids, stripe->padded);
    uint8_t fixed[256];
    for (uint32_t t = 0; t < model->table_count && choice != TYPICAL; t++)
        fixed[t] = choose_symbol(model, t, choice);
    for (size_t i = 0; i < stripe->padded; i++) {
        ids[i] = (uint8_t)(with_ids && i < count ? below(model->table_count) : 0);
        symbols[i] = choice == TYPICAL ? choose_symbol(model, ids[i], choice) : fixed[ids[i]];
    }
    guard_freeze(&stripe->symbols);
    guard_freeze(&stripe->ids);

    struct guard room, states;
    uint8_t *words = guard_init(&room, 2 * stripe->padded);
    guard_init(&states, 4 * MMH_RANS_LANES);
    stripe->word_count = mmh_kernels_at(0)->rans_encode(states.at, words, stripe->padded, symbols,
                                                        with_ids ? ids : NULL, count, model->encode,
                                                        model->bits);
    assert_true(stripe->word_count <= stripe->padded);
    guard_copy(&stripe->words, words + 2 * (stripe->padded - stripe->word_count),
               2 * stripe->word_count);
    guard_copy(&stripe->states, states.at, 4 * MMH_RANS_LANES);
    guard_release(&room);
    guard_release(&states);
}

static inline void stripe_release(struct stripe *stripe)
{
    guard_release(&stripe->symbols);
    guard_release(&stripe->ids);
    guard_release(&stripe->words);
    guard_release(&stripe->states);
}

static inline void assert_same(const void *a, const void *b, size_t bytes)
{
    if (bytes)
        assert_memory_equal(a, b, bytes);
}

/* ---- damage ---- */

static inline void replace(struct guard *guard, const uint8_t *src, size_t bytes)
{
    struct guard new;
    guard_copy(&new, src, bytes);
    guard_release(guard);
    *guard = new;
}

/* Change one stripe in one of many ways. */
static inline void mutate(struct stripe *stripe)
{
    uint8_t *states = stripe->states.at, *words = stripe->words.at;
    const size_t lane = below(MMH_RANS_LANES), bytes = 2 * stripe->word_count;
    const uint32_t way = below(9);
    if (way == 0) {
        states[below(4 * MMH_RANS_LANES)] ^= (uint8_t)(1 + below(255));
    } else if (way == 1) {
        for (size_t i = 0; i < 4 * MMH_RANS_LANES; i++)
            states[i] = (uint8_t)guard_random(&seed);
    } else if (way == 2) { /* below 2^16: no encoder writes that */
        mmh_store32(states + 4 * lane, below(3) ? below(0x10000) : 0);
    } else if (way == 3) {
        memset(states, below(2) ? 0 : 0xff, 4 * MMH_RANS_LANES);
    } else if (way == 4 && bytes) {
        words[below((uint32_t)bytes)] ^= (uint8_t)(1 << below(8));
    } else if (way == 5) {
        for (size_t i = 0; i < bytes; i++)
            words[i] = (uint8_t)guard_random(&seed);
    } else if (way == 6 && bytes) { /* cut short, by a word or many */
        stripe->word_count -= below(2) ? 1 : 1 + below((uint32_t)stripe->word_count);
        replace(&stripe->words, words, 2 * stripe->word_count);
    } else if (way == 7) { /* some too many, or zeros for the last */
        uint8_t more[2 * 300] = { 0 };
        const size_t extra = below(300), keep = MMH_MIN(bytes, sizeof more - 2 * extra);
        memcpy(more, words, keep);
        stripe->word_count = keep / 2 + extra;
        replace(&stripe->words, more, 2 * stripe->word_count);
    } else if (way == 8 && stripe->padded >= 2 * GROUP) { /* words for another length */
        stripe->padded -= GROUP;
        stripe->count = stripe->padded;
    }
}

#endif
