/*
 * Times Reed-Solomon coding and hashing of blocks on one core, beside memcpy.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 *   bench_parity [MiB of data, default 256] [runs, default 5]
 *
 * For each geometry: bytes of data by the seconds that encoding their parity takes, and restoring
 * as many blocks of each stripe as it has parity, and one; by the clock of the thread, medians.
 */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crypto/hash.h"
#include "integrity/parity.h"

enum { RUNS_MAX = 99, BLOCK_BYTES = 65536 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *get(size_t bytes)
{
    void *at = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (!at) {
        fprintf(stderr, "bench_parity: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    memset(at, 1, bytes); /* the pages are there before the clock runs */
    return at;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, ascending);
    return values[count / 2];
}

/* Encode (lost 0) or restore `lost` blocks of every stripe that the data has; seconds. */
static double run(const struct mmh_parity_code *code, uint8_t *data, size_t stripes,
                  uint8_t *parity, unsigned lost)
{
    unsigned k = code->data_count, m = code->parity_count;
    uint8_t *blocks[MMH_PARITY_BLOCKS_MAX];
    bool present[MMH_PARITY_BLOCKS_MAX];
    double begin = now();
    for (size_t s = 0; s < stripes; s++) {
        for (unsigned j = 0; j < k + m; j++) {
            blocks[j] = j < k ? data + (j * stripes + s) * BLOCK_BYTES
                              : parity + (size_t)(j - k) * BLOCK_BYTES;
            present[j] = j >= lost;
        }
        if (!lost)
            mmh_parity_encode(code, blocks + k, (const uint8_t *const *)blocks, BLOCK_BYTES);
        else if (mmh_parity_restore(code, blocks, present, BLOCK_BYTES, NULL) != MMH_OK)
            exit(1);
    }
    return now() - begin;
}

int main(int argc, char **argv)
{
    size_t bytes = (argc > 1 ? strtoull(argv[1], NULL, 10) : 256) << 20;
    size_t runs = argc > 2 ? strtoull(argv[2], NULL, 10) : 5;
    static const unsigned shapes[][2] = { { 252, 3 }, { 160, 8 }, { 80, 8 }, { 16, 8 }, { 8, 8 } };
    if (!runs || runs > RUNS_MAX)
        runs = 5;
    uint8_t *data = get(bytes), *copy = get(bytes), *parity = get(255 * (size_t)BLOCK_BYTES);
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)(i * 2654435761u >> 13);
    double seconds[4][RUNS_MAX];
    for (size_t r = 0; r < runs; r++) {
        double begin = now();
        memcpy(copy, data, bytes);
        seconds[0][r] = now() - begin;
        begin = now();
        for (size_t at = 0; at + BLOCK_BYTES <= bytes; at += BLOCK_BYTES) {
            uint8_t hash[64];
            if (mmh_hash(hash, mmh_hash_suite_default(), MMH_DOMAIN_CHUNK, data + at, BLOCK_BYTES,
                         NULL) != MMH_OK)
                return 1;
        }
        seconds[1][r] = now() - begin;
    }
    printf("memcpy %.2f GB/s, %s of blocks %.2f GB/s\n",
           (double)bytes / median(seconds[0], runs) / 1e9,
           mmh_hash_suite_name(mmh_hash_suite_default()),
           (double)bytes / median(seconds[1], runs) / 1e9);
    printf("%4s %3s %8s %8s %12s %12s\n", "k", "m", "parity", "encode", "restore one", "restore m");
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        struct mmh_parity_code code;
        unsigned k = shapes[s][0], m = shapes[s][1];
        size_t stripes = bytes / BLOCK_BYTES / k;
        if (mmh_parity_code_init(&code, k, m, NULL, NULL) != MMH_OK)
            return 1;
        for (size_t r = 0; r < runs; r++) {
            seconds[0][r] = run(&code, data, stripes, parity, 0);
            seconds[1][r] = run(&code, data, stripes, parity, 1);
            seconds[2][r] = run(&code, data, stripes, parity, m);
        }
        double amount = (double)(stripes * k) * BLOCK_BYTES / 1e9;
        printf("%4u %3u %7.2f%% %8.2f %12.2f %12.2f GB/s\n", k, m, 100.0 * m / k,
               amount / median(seconds[0], runs), amount / median(seconds[1], runs),
               amount / median(seconds[2], runs));
        mmh_parity_code_release(&code);
    }
    free(data);
    free(copy);
    free(parity);
    return 0;
}
