/*
 * Times the rANS kernels of every kernel set beside memcpy.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 *   bench_rans [MiB of bf16, default 256] [runs, default 5] [only this kernel set]
 *
 * The symbols are those of normally distributed bf16 weights in a matrix whose rows and columns
 * differ in scale: exponent and two mantissa bits. Work goes chunk by chunk (2^18 elements, four
 * stripes) with scratch in cache and the coded words in DRAM, as in the codec. Each run times
 * memcpy and then every operation once, by the clock of the thread, so that a busy machine does
 * less harm. Printed are medians, speeds as bytes of bf16 (two for each symbol), the share of the
 * median memcpy, and last the share that the best run has of the best memcpy.
 */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "kernel/kernel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    CHUNK = 1 << 18,
    STRIPE = 1 << 16,
    STRIPES = CHUNK / STRIPE,
    RUNS_MAX = 99,
    OPS_MAX = 16,
    SETS_MAX = 8,
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *get(size_t bytes)
{
    bytes = (bytes + 4095) / 4096 * 4096 + 4096;
    void *at = aligned_alloc(4096, bytes);
    if (!at) {
        fprintf(stderr, "bench_rans: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    memset(at, 1, bytes); /* the pages are there before the clock runs */
    return at;
}

static uint64_t seed = 1;

static uint32_t random32(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 32);
}

static double normal(void)
{
    double u = (random32() + 1.0) / 4294967297.0, v = random32() / 4294967296.0;
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

/* One way of coding the same symbols. */
struct model {
    const char *name;
    unsigned bits, tables;
    size_t columns; /* of the classes; 0: none */
    uint8_t map[MMH_CLASS_BINS];
    struct mmh_rans_encode_table *encode;
    uint32_t *decode;
    uint8_t *states; /* [stripes][128] */
    uint8_t *words;  /* [stripes][STRIPE] u16, of which the last are used */
    size_t *word_count;
};

static uint8_t *symbols_all;
static int8_t *row_class, *column_class;
static size_t element_count, matrix_columns;

static void table_fill(struct mmh_rans_encode_table *table, uint32_t *decode,
                       const uint32_t *counts, unsigned bits)
{
    uint64_t total = 0;
    for (int s = 0; s < 256; s++)
        total += counts[s];
    const uint32_t slots = 1u << bits;
    uint32_t used = 0, best = 0;
    for (uint32_t s = 0; s < 256; s++) {
        uint32_t f = total ? (uint32_t)((double)counts[s] * slots / (double)total) : s < 2;
        table->frequency[s] = (uint16_t)(counts[s] && !f ? 1 : f);
        used += table->frequency[s];
        if (table->frequency[s] > table->frequency[best])
            best = s;
    }
    while (used > slots) { /* the largest pays for the smallest */
        for (uint32_t s = 0; s < 256; s++)
            if (table->frequency[s] > table->frequency[best])
                best = s;
        table->frequency[best]--;
        used--;
    }
    table->frequency[best] = (uint16_t)(table->frequency[best] + slots - used);
    if (table->frequency[best] == slots) {
        table->frequency[best]--;
        table->frequency[best ? 0 : 1]++;
    }
    uint32_t start = 0;
    for (uint32_t s = 0; s < 256; s++) {
        table->start[s] = (uint16_t)start;
        for (uint32_t i = 0; i < table->frequency[s]; i++)
            decode[start++] = s << 24 | (uint32_t)table->frequency[s] << 12 | i;
    }
    mmh_rans_encode_table_init(table, bits);
}

static void model_make(struct model *m, const struct mmh_kernels *k, uint8_t *ids)
{
    const size_t stripes = element_count / STRIPE;
    uint32_t *pairs = calloc(64 * 256, sizeof *pairs);
    m->encode = get(m->tables * sizeof *m->encode);
    m->decode = get(m->tables * sizeof *m->decode << m->bits);
    m->states = get(stripes * 128);
    m->words = get(stripes * STRIPE * 2);
    m->word_count = get(stripes * sizeof *m->word_count);
    uint64_t mass[64] = { 0 }, total = 0, sum = 0;
    for (size_t at = 0; at < element_count; at += CHUNK) {
        if (m->columns)
            k->classes(ids, at, CHUNK, m->columns, row_class, column_class, m->map);
        else
            memset(ids, 0, CHUNK);
        k->histogram_classes(pairs, symbols_all + at, ids, CHUNK, 1);
    }
    for (size_t i = 0; i < 64 * 256; i++)
        mass[i / 256] += pairs[i], total += pairs[i];
    uint32_t *merged = calloc(64 * 256, sizeof *merged);
    for (size_t b = 0; b < 64; b++) { /* tables of about equal mass */
        size_t t = m->columns ? (size_t)(((double)sum + (double)mass[b] / 2) / ((double)total + 1) *
                                         m->tables)
                              : 0;
        for (size_t s = 0; s < 256; s++)
            merged[t * 256 + s] += pairs[b * 256 + s];
        sum += mass[b];
        m->map[b] = (uint8_t)t;
    }
    for (size_t t = 0; t < m->tables; t++)
        table_fill(&m->encode[t], m->decode + (t << m->bits), merged + 256 * t, m->bits);
    free(pairs);
    free(merged);
}

/* ---- operations: each goes through all symbols once ---- */

struct work {
    const struct mmh_kernels *k;
    struct model *m;
    uint8_t *symbols, *ids; /* [CHUNK + slack] */
    uint32_t *pairs;
    uint64_t *row_sum;
    uint32_t *column_sum;
    uint64_t check;
};

static void do_encode(struct work *w)
{
    struct model *m = w->m;
    for (size_t at = 0; at < element_count; at += CHUNK) {
        if (m->columns)
            w->k->classes(w->ids, at, CHUNK, m->columns, row_class, column_class, m->map);
        for (size_t s = 0; s < STRIPES; s++) {
            size_t i = at / STRIPE + s;
            m->word_count[i] = w->k->rans_encode(m->states + 128 * i, m->words + 2 * STRIPE * i,
                                                 STRIPE, symbols_all + at + s * STRIPE,
                                                 m->columns ? w->ids + s * STRIPE : NULL, STRIPE,
                                                 m->encode, m->bits);
            w->check += m->word_count[i];
        }
    }
}

static void do_decode_n(struct work *w, size_t together)
{
    struct model *m = w->m;
    bool right = true;
    for (size_t at = 0; at < element_count; at += CHUNK) {
        struct mmh_rans_stripe stripes[STRIPES];
        if (m->columns)
            w->k->classes(w->ids, at, CHUNK, m->columns, row_class, column_class, m->map);
        for (size_t s = 0; s < STRIPES; s++) {
            size_t i = at / STRIPE + s;
            stripes[s] = (struct mmh_rans_stripe){
                .symbols = w->symbols + s * STRIPE,
                .ids = m->columns ? w->ids + s * STRIPE : NULL,
                .count = STRIPE,
                .states = m->states + 128 * i,
                .words = m->words + 2 * (STRIPE * (i + 1) - m->word_count[i]),
                .word_count = m->word_count[i],
            };
        }
        for (size_t s = 0; s < STRIPES; s += together)
            right &= w->k->rans_decode(stripes + s, together, m->decode, m->bits);
        w->check += w->symbols[CHUNK - 1];
    }
    if (!right) {
        fprintf(stderr, "bench_rans: %s cannot decode %s\n", w->k->name, m->name);
        exit(1);
    }
}

static void do_decode(struct work *w)
{
    do_decode_n(w, STRIPES);
}

static void do_decode1(struct work *w)
{
    do_decode_n(w, 1);
}

static void do_classes(struct work *w)
{
    for (size_t at = 0; at < element_count; at += CHUNK)
        w->k->classes(w->ids, at, CHUNK, w->m->columns, row_class, column_class, w->m->map);
}

static void do_histogram(struct work *w)
{
    uint32_t counts[256] = { 0 };
    for (size_t at = 0; at < element_count; at += CHUNK)
        w->k->histogram(counts, symbols_all + at, CHUNK, 1);
    w->check += counts[200];
}

static void do_histogram_classes(struct work *w)
{
    for (size_t at = 0; at < element_count; at += CHUNK)
        w->k->histogram_classes(w->pairs, symbols_all + at, w->ids, CHUNK, 1);
}

static void do_sums(struct work *w)
{
    for (size_t at = 0; at < element_count; at += CHUNK)
        w->k->row_column_sums(w->row_sum, w->column_sum, symbols_all + at, at, CHUNK,
                              w->m->columns);
}

static void do_add(struct work *w)
{
    for (size_t at = 0; at < element_count; at += CHUNK)
        w->k->bytes_add(w->symbols, symbols_all + at, CHUNK);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, by_value);
    return values[count / 2];
}

int main(int argc, char **argv)
{
    size_t mib = argc > 1 ? strtoul(argv[1], NULL, 10) : 256;
    size_t runs = argc > 2 ? strtoul(argv[2], NULL, 10) : 5;
    runs = runs < 1 ? 1 : runs > RUNS_MAX ? RUNS_MAX : runs;
    element_count = (mib << 19) / CHUNK * CHUNK;
    element_count = element_count ? element_count : CHUNK;
    matrix_columns = 768;

    symbols_all = get(element_count);
    row_class = get(element_count + MMH_KERNEL_SLACK); /* enough for one column */
    column_class = get(element_count + MMH_KERNEL_SLACK);
    for (size_t i = 0; i < element_count; i++) {
        row_class[i] = (int8_t)lrint(4 * normal());
        column_class[i] = (int8_t)lrint(3 * normal());
    }
    enum { DRAWS = 1 << 20 };
    float *scale = get(256 * sizeof *scale), *draws = get(DRAWS * sizeof *draws);
    for (int i = 0; i < 256; i++)
        scale[i] = (float)exp2((i - 128) / 4.0);
    for (size_t i = 0; i < DRAWS; i++)
        draws[i] = (float)(0.02 * normal());
    for (size_t i = 0; i < element_count; i++) {
        int class = row_class[i / matrix_columns] + column_class[i % matrix_columns];
        float value = draws[random32() % DRAWS] * scale[128 + class];
        uint32_t word;
        memcpy(&word, &value, sizeof word);
        uint32_t symbol = word << 1 >> 22; /* exponent and two mantissa bits */
        symbol = symbol < 4 * 76 ? 0 : symbol - 4 * 76;
        symbols_all[i] = (uint8_t)(symbol > 255 ? 255 : symbol);
    }

    struct model models[] = {
        { .name = "1 table, 11 bits", .bits = 11, .tables = 1 },
        { .name = "8 tables, 11 bits", .bits = 11, .tables = 8, .columns = matrix_columns },
        { .name = "32 tables, 12 bits", .bits = 12, .tables = 32, .columns = matrix_columns },
    };
    struct model rows[] = { { .name = "64 columns", .columns = 64 },
                            { .name = "49 columns", .columns = 49 },
                            { .name = "9 columns", .columns = 9 },
                            { .name = "768 columns", .columns = 768 } };
    struct work w = { .symbols = get(CHUNK + MMH_KERNEL_SLACK),
                      .ids = get(CHUNK + MMH_KERNEL_SLACK),
                      .pairs = get(64 * 256 * sizeof(uint32_t)),
                      .row_sum = get(element_count * sizeof(uint64_t)),
                      .column_sum = get(element_count * sizeof(uint32_t)) };
    const struct mmh_kernels *best = mmh_kernels_get();
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        for (size_t b = 0; b < 64; b++)
            models[i].map[b] = (uint8_t)b;
        model_make(&models[i], best, w.ids);
        w.k = best;
        w.m = &models[i];
        do_encode(&w);
        double words = 0;
        for (size_t s = 0; s < element_count / STRIPE; s++)
            words += (double)models[i].word_count[s];
        printf("%-18s %.3f bits a symbol\n", models[i].name, 16 * words / (double)element_count);
    }
    static struct {
        const char *name;
        void (*go)(struct work *);
        struct model *m;
        double times[RUNS_MAX];
    } ops[] = {
        { "decode 1 x 11 bits", do_decode, NULL, { 0 } },
        { "decode 8 x 11 bits", do_decode, NULL, { 0 } },
        { "decode 32 x 12 bits", do_decode, NULL, { 0 } },
        { "decode 1, stripe alone", do_decode1, NULL, { 0 } },
        { "encode 1 x 11 bits", do_encode, NULL, { 0 } },
        { "encode 8 x 11 bits", do_encode, NULL, { 0 } },
        { "encode 32 x 12 bits", do_encode, NULL, { 0 } },
        { "histogram", do_histogram, NULL, { 0 } },
        { "histogram by class", do_histogram_classes, NULL, { 0 } },
        { "classes, 768 columns", do_classes, NULL, { 0 } },
        { "classes, 49 columns", do_classes, NULL, { 0 } },
        { "classes, 9 columns", do_classes, NULL, { 0 } },
        { "sums, 768 columns", do_sums, NULL, { 0 } },
        { "sums, 49 columns", do_sums, NULL, { 0 } },
        { "sums, 9 columns", do_sums, NULL, { 0 } },
        { "bytes_add", do_add, NULL, { 0 } },
    };
    struct model *const op_models[] = {
        &models[0], &models[1], &models[2], &models[0], &models[0], &models[1],
        &models[2], &models[0], &models[1], &rows[3],   &rows[1],   &rows[2],
        &rows[3],   &rows[1],   &rows[2],   &models[0],
    };
    const size_t op_count = sizeof ops / sizeof *ops;
    size_t copy_bytes = 2 * element_count;
    uint8_t *from = get(copy_bytes), *to = get(copy_bytes);
    for (size_t set = 0; (w.k = mmh_kernels_at(set)) != NULL; set++) {
        if (argc > 3 && strcmp(argv[3], w.k->name) != 0)
            continue;
        double copies[RUNS_MAX];
        for (size_t run = 0; run < runs; run++) {
            double start = now();
            memcpy(to, from, copy_bytes);
            copies[run] = now() - start;
            w.check += to[run];
            for (size_t i = 0; i < op_count; i++) {
                w.m = op_models[i];
                start = now();
                ops[i].go(&w);
                ops[i].times[run] = now() - start;
            }
        }
        double copy = median(copies, runs);
        printf("\n%-8s memcpy %.1f GB/s\n", w.k->name, (double)copy_bytes / copy * 1e-9);
        for (size_t i = 0; i < op_count; i++) {
            double time = median(ops[i].times, runs);
            printf("  %-24s %6.2f Gsymbols/s  %6.2f GB/s of bf16  %6.3f of memcpy  (best %.3f)\n",
                   ops[i].name, (double)element_count / time * 1e-9,
                   (double)copy_bytes / time * 1e-9, copy / time, copies[0] / ops[i].times[0]);
        }
    }
    return w.check == 42;
}
