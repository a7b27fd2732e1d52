/*
 * Times the float and tier kernels of every kernel set beside memcpy.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 *   bench_kernel [MiB of each type, default 256] [runs, default 7] [only this set, type, operation]
 *
 * The data are normally distributed weights. Work goes chunk by chunk (2^18 elements) and within a
 * decoded chunk block by block, as in the codec: elements and coded bytes in DRAM, in memory that
 * is there already, what lies between two kernels in cache.
 *
 *   encode   split, histogram of every eighth run, choice of four tiers, tier_encode
 *   decode   tier_decode and merge, with stores that bypass the cache
 *   split, merge, tiers in, tiers out: each alone, over the same data (tiers: in cache)
 *   used     bits_used
 *
 * Each run times memcpy and then every operation once. Speeds are in bytes of elements: the median,
 * with the median of the shares of memcpy in the same run, and the best, with its share of the best
 * memcpy, which a busy machine disturbs less.
 */
#include "kernel/kernel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    CHUNK = 1 << 18,
    BLOCKS = CHUNK / MMH_TIER_BLOCK,
    TIERS = 4,
    LIST = MMH_TIER_BLOCK + MMH_KERNEL_SLACK,
    BLOCK_ROOM = TIERS * MMH_TIER_BLOCK / 4 + MMH_TIER_BLOCK + MMH_KERNEL_SLACK,
    RUNS_MAX = 99,
    SETS_MAX = 8,
};

enum { OP_ENCODE, OP_DECODE, OP_SPLIT, OP_MERGE, OP_TIERS_IN, OP_TIERS_OUT, OP_USED, OPS };

static const char *const op_names[OPS] = { "encode",   "decode",    "split", "merge",
                                           "tiers in", "tiers out", "used" };

static const struct {
    const char *name;
    struct mmh_split split;
} types[] = {
    { "bf16", { 2, 8, 8, 0, 0, 1, 0, 0, NULL, 0 } },
    { "bf16+", { 2, 8, 7, 1, 0, 1, 0, 0, NULL, 0 } }, /* all weights positive */
    { "fp16", { 2, 11, 11, 0, 0, 1, 0, 0, NULL, 0 } },
    { "fp32", { 4, 8, 8, 0, 0, 1, 0, 0, NULL, 0 } },
    { "fp64", { 8, 5, 5, 0, 0, 1, 255, 850, NULL, 0 } },
};

static double now(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *get(size_t bytes)
{
    bytes = (bytes + 4095) / 4096 * 4096 + 4096;
    void *at = aligned_alloc(4096, bytes);
    if (!at) {
        fprintf(stderr, "bench_kernel: no memory for %zu bytes\n", bytes);
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

/* ---- data ---- */

static uint16_t half_of(float value)
{
    union {
        float f;
        uint32_t u;
    } v = { value };
    int exponent = (int)(v.u >> 23 & 255) - 127 + 15;
    uint32_t sign = v.u >> 16 & 0x8000;
    if (exponent < -10) /* truncated all: near enough for a benchmark */
        return (uint16_t)sign;
    if (exponent <= 0)
        return (uint16_t)(sign | ((v.u & 0x7fffff) | 0x800000) >> (14 - exponent));
    return (uint16_t)(sign | (uint32_t)exponent << 10 | (v.u >> 13 & 0x3ff));
}

static void make_weights(uint8_t *dst, size_t count, unsigned type)
{
    enum { NORMALS = 1 << 16 };
    static double normals[NORMALS];
    if (normals[0] == 0)
        for (unsigned i = 0; i < NORMALS; i++) {
            double u = (random32() + 1.0) / 4294967297.0, v = random32() / 4294967296.0;
            normals[i] = 0.03 * sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
        }
    for (size_t i = 0; i < count; i++) {
        uint32_t r = random32();
        /* Exponents of a normal distribution, mantissas without a period. */
        double value = normals[r >> 16] * (1 + (r & 0xffff) * 1e-6);
        union {
            float f;
            uint32_t u;
        } v = { (float)value };
        uint16_t half = 0;
        switch (type) {
        case 0:
        case 1:
            v.u &= type ? 0x7fffffff : 0xffffffff;
            half = (uint16_t)(v.u >> 16);
            memcpy(dst + 2 * i, &half, 2);
            break;
        case 2:
            half = half_of(v.f);
            memcpy(dst + 2 * i, &half, 2);
            break;
        case 3:
            memcpy(dst + 4 * i, &v, 4);
            break;
        default:
            memcpy(dst + 8 * i, &value, 8);
        }
    }
}

/* ---- the work ---- */

struct chunk {
    uint8_t *at;            /* planes, tails, blocks */
    uint32_t block[BLOCKS]; /* offsets of blocks from at */
    uint16_t counts[BLOCKS][MMH_TIER_MAX + 1];
    struct mmh_tiers tiers;
    size_t patch_count;
};

struct work {
    const struct mmh_kernels *kernels;
    struct mmh_split split;
    uint8_t *src, *dst, *coded;
    size_t chunks, bytes;
    struct chunk *chunk;
    uint8_t *symbols, *scratch;
    uint32_t *patches;
    volatile uint64_t sink;
};

static struct mmh_planes planes_at(const struct mmh_split *split, uint8_t *at, size_t first,
                                   uint8_t *tails[3])
{
    struct mmh_planes planes = { { NULL } };
    for (unsigned p = 0; p < 4; p++) {
        unsigned w = 8 >> p;
        planes.plane[p] = at + first / 8 * w;
        if (split->stored_bits & w)
            at += (size_t)CHUNK / 8 * w;
    }
    for (unsigned p = 0; p < split->element_bytes / 2u - 1; p++, at += 2 * (size_t)CHUNK)
        tails[p] = at + 2 * first;
    return planes;
}

static size_t fixed_bytes(const struct mmh_split *split)
{
    return (size_t)CHUNK / 8 * split->stored_bits +
           (split->element_bytes / 2u - 1) * 2 * (size_t)CHUNK;
}

static void choose(struct mmh_tiers *tiers, const uint32_t *histogram)
{
    uint32_t left[256];
    memcpy(left, histogram, sizeof left);
    tiers->tier_count = TIERS;
    for (unsigned i = 0; i < 3 * TIERS; i++) {
        unsigned best = 0;
        for (unsigned s = 0; s < 256; s++)
            if (left[s] != UINT32_MAX && (left[best] == UINT32_MAX || left[s] > left[best]))
                best = s;
        tiers->ranks[i] = (uint8_t)best;
        left[best] = UINT32_MAX;
    }
}

static void encode(struct work *work)
{
    uint8_t *at = work->coded;
    size_t chunk_bytes = (size_t)CHUNK * work->split.element_bytes;
    for (size_t c = 0; c < work->chunks; c++) {
        struct chunk *chunk = &work->chunk[c];
        uint8_t *tails[3] = { NULL };
        uint32_t histogram[256] = { 0 };
        chunk->at = at;
        struct mmh_planes planes = planes_at(&work->split, at, 0, tails);
        chunk->patch_count = work->kernels->split(work->symbols, &planes, tails, work->patches,
                                                  work->src + c * chunk_bytes, CHUNK, &work->split);
        work->kernels->histogram(histogram, work->symbols, CHUNK, 8);
        choose(&chunk->tiers, histogram);
        size_t used = fixed_bytes(&work->split);
        for (size_t b = 0; b < BLOCKS; b++) {
            chunk->block[b] = (uint32_t)used;
            used += work->kernels->tier_encode(at + used, chunk->counts[b],
                                               work->symbols + b * MMH_TIER_BLOCK, MMH_TIER_BLOCK,
                                               &chunk->tiers, work->scratch);
        }
        at += (used + 63) / 64 * 64;
    }
    work->bytes = (size_t)(at - work->coded);
}

static void decode(struct work *work)
{
    size_t block_bytes = (size_t)MMH_TIER_BLOCK * work->split.element_bytes;
    for (size_t c = 0; c < work->chunks; c++) {
        struct chunk *chunk = &work->chunk[c];
        for (size_t b = 0; b < BLOCKS; b++) {
            uint8_t *tails[3] = { NULL };
            struct mmh_planes planes = planes_at(&work->split, chunk->at, b * MMH_TIER_BLOCK,
                                                 tails);
            if (!work->kernels->tier_decode(work->symbols, chunk->at + chunk->block[b],
                                            chunk->counts[b], &chunk->tiers, work->scratch)) {
                fprintf(stderr, "bench_kernel: a block was refused\n");
                exit(1);
            }
            work->kernels->merge(work->dst + (c * BLOCKS + b) * block_bytes, work->symbols, &planes,
                                 (const uint8_t *const *)tails, MMH_TIER_BLOCK, &work->split,
                                 MMH_STREAM_MORE);
        }
    }
}

static void split_alone(struct work *work)
{
    size_t chunk_bytes = (size_t)CHUNK * work->split.element_bytes;
    for (size_t c = 0; c < work->chunks; c++) {
        uint8_t *tails[3] = { NULL };
        struct mmh_planes planes = planes_at(&work->split, work->chunk[c].at, 0, tails);
        work->kernels->split(work->symbols, &planes, tails, work->patches,
                             work->src + c * chunk_bytes, CHUNK, &work->split);
    }
}

static void merge_alone(struct work *work)
{
    size_t block_bytes = (size_t)MMH_TIER_BLOCK * work->split.element_bytes;
    for (size_t c = 0; c < work->chunks; c++)
        for (size_t b = 0; b < BLOCKS; b++) {
            uint8_t *tails[3] = { NULL };
            struct mmh_planes planes = planes_at(&work->split, work->chunk[c].at,
                                                 b * MMH_TIER_BLOCK, tails);
            work->kernels->merge(work->dst + (c * BLOCKS + b) * block_bytes, work->symbols, &planes,
                                 (const uint8_t *const *)tails, MMH_TIER_BLOCK, &work->split,
                                 MMH_STREAM_MORE);
        }
}

/* The blocks of the first chunk over and over. */
static void tiers_in(struct work *work)
{
    struct chunk *chunk = &work->chunk[0];
    static uint8_t block[BLOCK_ROOM];
    uint16_t counts[MMH_TIER_MAX + 1];
    for (size_t c = 0; c < work->chunks; c++)
        for (size_t b = 0; b < BLOCKS; b++)
            work->sink = work->kernels->tier_encode(block, counts,
                                                    work->symbols + b * MMH_TIER_BLOCK,
                                                    MMH_TIER_BLOCK, &chunk->tiers, work->scratch);
}

static void tiers_out(struct work *work)
{
    struct chunk *chunk = &work->chunk[0];
    static uint8_t symbols[LIST];
    for (size_t c = 0; c < work->chunks; c++)
        for (size_t b = 0; b < BLOCKS; b++)
            work->sink = work->kernels->tier_decode(symbols, chunk->at + chunk->block[b],
                                                    chunk->counts[b], &chunk->tiers, work->scratch);
}

static void used(struct work *work)
{
    size_t chunk_bytes = (size_t)CHUNK * work->split.element_bytes;
    for (size_t c = 0; c < work->chunks; c++) {
        uint64_t any, all;
        work->kernels->bits_used(&any, &all, work->src + c * chunk_bytes, CHUNK,
                                 work->split.element_bytes);
        work->sink = any ^ all;
    }
}

static void (*const ops[OPS])(struct work *) = { encode,   decode,    split_alone, merge_alone,
                                                 tiers_in, tiers_out, used };

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, unsigned count)
{
    qsort(values, count, sizeof *values, by_value);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

int main(int argc, char **argv)
{
    size_t bytes = (argc > 1 ? strtoul(argv[1], NULL, 10) : 256) << 20;
    unsigned runs = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 7;
    const char *only = argc > 3 && *argv[3] ? argv[3] : NULL;
    const char *only_type = argc > 4 && *argv[4] ? argv[4] : NULL;
    const char *only_op = argc > 5 ? argv[5] : NULL;
    runs = runs < 1 ? 1 : runs > RUNS_MAX ? RUNS_MAX : runs;
    struct work work = { 0 };
    work.src = get(bytes);
    work.dst = get(bytes);
    work.coded = get(bytes + bytes / 8 + ((size_t)4 << 20));
    work.symbols = get(CHUNK + MMH_KERNEL_SLACK);
    work.scratch = get(2 * LIST);
    work.patches = get(4 * (size_t)CHUNK);
    work.chunk = get((bytes / 2 / CHUNK + 1) * sizeof *work.chunk);
    printf("%-6s %-8s %7s %-10s %7s %7s %7s %7s\n", "type", "kernels", "size %", "operation",
           "GB/s", "share", "best", "share");
    for (unsigned t = 0; t < sizeof types / sizeof *types; t++) {
        if (only_type && strcmp(only_type, types[t].name) != 0)
            continue;
        static double times[SETS_MAX][OPS][RUNS_MAX], shares[SETS_MAX][OPS][RUNS_MAX];
        double copy[RUNS_MAX], percent[SETS_MAX] = { 0 };
        work.split = types[t].split;
        work.chunks = bytes / ((size_t)CHUNK * work.split.element_bytes);
        size_t used_bytes = work.chunks * CHUNK * work.split.element_bytes;
        make_weights(work.src, work.chunks * CHUNK, t);
        for (unsigned run = 0; run < runs; run++) {
            double start = now();
            memcpy(work.dst, work.src, used_bytes);
            copy[run] = now() - start;
            for (unsigned k = 0; k < SETS_MAX && mmh_kernels_at(k); k++) {
                work.kernels = mmh_kernels_at(k);
                if (only && strcmp(only, work.kernels->name) != 0)
                    continue;
                for (unsigned o = 0; o < OPS; o++) {
                    if (only_op && run && strcmp(only_op, op_names[o]) != 0)
                        continue; /* but the first run makes what the others read */
                    start = now();
                    ops[o](&work);
                    times[k][o][run] = now() - start;
                    shares[k][o][run] = copy[run] / times[k][o][run];
                    size_t patch_count = 0;
                    for (size_t c = 0; c < work.chunks; c++)
                        patch_count += work.chunk[c].patch_count;
                    if (o == OP_DECODE && run == 0 && !patch_count &&
                        memcmp(work.src, work.dst, used_bytes) != 0) {
                        fprintf(stderr, "bench_kernel: %s %s is not exact\n", types[t].name,
                                work.kernels->name);
                        return 1;
                    }
                    if (o == OP_DECODE && run == 0)
                        memset(work.dst, 0, used_bytes);
                    percent[k] = 100.0 * (double)work.bytes / (double)used_bytes;
                }
            }
        }
        double gigabytes = (double)used_bytes / 1e9, copy_median = median(copy, runs);
        printf("%-6s %-8s %7s %-10s %7.2f %7s %7.2f\n", types[t].name, "-", "100", "memcpy",
               gigabytes / copy_median, "", gigabytes / copy[0]);
        for (unsigned k = 0; k < SETS_MAX && mmh_kernels_at(k); k++)
            for (unsigned o = 0; o < OPS; o++)
                if ((!only || strcmp(only, mmh_kernels_at(k)->name) == 0) &&
                    (!only_op || strcmp(only_op, op_names[o]) == 0)) {
                    double middle = median(times[k][o], runs); /* sorts them */
                    printf("%-6s %-8s %7.2f %-10s %7.2f %6.0f%% %7.2f %6.0f%%\n", types[t].name,
                           mmh_kernels_at(k)->name, percent[k], op_names[o], gigabytes / middle,
                           100 * median(shares[k][o], runs), gigabytes / times[k][o][0],
                           100 * copy[0] / times[k][o][0]);
                }
        fflush(stdout);
    }
    return 0;
}
