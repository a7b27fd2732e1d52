/*
 * Speed of the public library: verified loads of every tensor, and packing with its checks.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 *   bench_load [options] FILE.mmh          load: chunk hashes checked, chunks decoded
 *   bench_load [options] --pack LEVEL FILE pack to nowhere: FILE is read, encoded, each chunk
 *                                          decoded and compared, all hashes made; nothing is kept
 *     --file             load the container's first file whole, instead of all tensors by one call
 *     --one-by-one       a call for each tensor
 *     --threads T        default 1
 *     --runs N           timed runs, the median is printed (default 5)
 *     --fresh            load into new memory in each run (page faults counted)
 *     --huge             the same, asking the system for huge pages
 *
 * The container is opened once. Loads go into memory that is already there, and memcpy over the
 * same buffers with as many threads is timed in the same run. Prints one JSON line.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/io.h"
#include "base/memory.h"
#include "base/pool.h"
#include "mmh.h"

enum { RUNS_MAX = 101, PART_BYTES = 4 << 20 }; /* a part is what a thread copies at a time */

struct part {
    size_t offset, bytes;
};

struct bench {
    mmh_reader *reader;
    uint64_t tensor_count;
    size_t *offsets, *sizes; /* [tensor_count], in the memory */
    size_t bytes, tensor_bytes;
    uint8_t *expected, *out; /* [bytes] */
    struct part *parts;
    size_t part_count;
    mmh_pool *pool;
    unsigned threads, runs;
    bool fresh, huge, whole_file, one_by_one;
    mmh_load_request *requests; /* [tensor_count] */
};

static void must(mmh_status status, const mmh_error *err)
{
    if (status == MMH_OK)
        return;
    fprintf(stderr, "bench_load: %s\n", err->message);
    exit(1);
}

static void *need(void *memory)
{
    if (memory)
        return memory;
    fprintf(stderr, "bench_load: out of memory\n");
    exit(1);
}

static uint8_t *new_memory(size_t bytes, bool huge)
{
    uint8_t *memory = need(
        aligned_alloc(MMH_HUGE_ALIGNMENT, mmh_round_up(bytes + 1, (size_t)MMH_HUGE_ALIGNMENT)));
    if (huge)
        mmh_huge_advise(memory, bytes);
    return memory;
}

static double median(double *values, size_t count)
{
    for (size_t i = 1; i < count; i++)
        for (size_t k = i; k && values[k] < values[k - 1]; k--) {
            double value = values[k];
            values[k] = values[k - 1];
            values[k - 1] = value;
        }
    return values[count / 2];
}

static mmh_status copy_part(void *context, size_t job, unsigned worker, mmh_error *err)
{
    const struct bench *bench = context;
    const struct part *part = &bench->parts[job];
    (void)worker;
    (void)err;
    memcpy(bench->out + part->offset, bench->expected + part->offset, part->bytes);
    return MMH_OK;
}

static double copy_seconds(struct bench *bench)
{
    mmh_error err = { 0 };
    uint64_t begin = mmh_clock_ns();
    must(mmh_pool_run(bench->pool, bench->part_count, copy_part, bench, &err), &err);
    return (double)(mmh_clock_ns() - begin) * 1e-9;
}

static double load_seconds(struct bench *bench)
{
    mmh_error err = { 0 };
    uint64_t begin = mmh_clock_ns();
    if (bench->fresh)
        bench->out = new_memory(bench->bytes, bench->huge);
    if (bench->whole_file)
        must(mmh_read(bench->reader, 0, 0, bench->out, bench->sizes[0], &err), &err);
    for (uint64_t t = 0; t < bench->tensor_count && !bench->whole_file; t++) {
        uint8_t *place = bench->out + bench->offsets[t];
        bench->requests[t] = (mmh_load_request){ t, place, bench->sizes[t] };
        if (bench->one_by_one)
            must(mmh_load(bench->reader, t, place, bench->sizes[t], &err), &err);
    }
    if (!bench->whole_file && !bench->one_by_one)
        must(mmh_load_many(bench->reader, bench->requests, bench->tensor_count, &err), &err);
    return (double)(mmh_clock_ns() - begin) * 1e-9;
}

/* Lay the tensors out as a caller's arrays would be, each on a cache line of its own; a whole
 * file counts as one. */
static void place_tensors(struct bench *bench)
{
    mmh_error err = { 0 };
    bench->offsets = need(calloc(bench->tensor_count + 1, sizeof *bench->offsets));
    bench->sizes = need(calloc(bench->tensor_count + 1, sizeof *bench->sizes));
    bench->requests = need(calloc(bench->tensor_count + 1, sizeof *bench->requests));
    size_t parts = 0;
    for (uint64_t t = 0; t < bench->tensor_count; t++) {
        mmh_tensor_info tensor = { .struct_size = sizeof tensor };
        mmh_file_info file = { .struct_size = sizeof file };
        if (bench->whole_file)
            must(mmh_file(bench->reader, 0, &file, &err), &err);
        else
            must(mmh_tensor(bench->reader, t, &tensor, &err), &err);
        size_t bytes = (size_t)(bench->whole_file ? file.bytes : tensor.bytes);
        bench->offsets[t] = bench->bytes;
        bench->sizes[t] = bytes;
        bench->tensor_bytes += bytes;
        bench->bytes += mmh_round_up(bytes, 64);
        parts += mmh_divide_up(bytes, PART_BYTES);
    }
    bench->parts = need(calloc(parts + 1, sizeof *bench->parts));
    for (uint64_t t = 0; t < bench->tensor_count; t++)
        for (size_t at = 0; at < bench->sizes[t]; at += PART_BYTES)
            bench->parts[bench->part_count++] = (struct part){
                bench->offsets[t] + at, MMH_MIN(bench->sizes[t] - at, (size_t)PART_BYTES)
            };
}

static void time_loads(struct bench *bench, mmh_context *context, const char *path)
{
    double load[RUNS_MAX], copy[RUNS_MAX];
    mmh_error err = { 0 };
    mmh_container_info info = { .struct_size = sizeof info };
    must(mmh_open(context, path, &bench->reader, &err), &err);
    must(mmh_container(bench->reader, &info, &err), &err);
    bench->tensor_count = bench->whole_file ? 1 : info.tensor_count;
    place_tensors(bench);
    must(mmh_pool_create(&bench->pool, bench->threads, NULL, &err), &err);
    uint8_t *there = new_memory(bench->bytes, false);
    bool fresh = bench->fresh;
    bench->expected = bench->out = new_memory(bench->bytes, false);
    memset(bench->out, 0, bench->bytes);
    bench->fresh = false;
    load_seconds(bench); /* warms up, too */
    bench->fresh = fresh;
    bench->out = there;
    memset(there, 0, bench->bytes);
    if (fresh) {
        /* A virtual machine gets memory from its host when it first touches it, which takes far
         * longer than a page fault: have had as much before. */
        uint8_t *memory = new_memory(bench->bytes, bench->huge);
        memset(memory, 1, bench->bytes);
        free(memory);
    }
    for (unsigned r = 0; r < bench->runs; r++) {
        copy[r] = copy_seconds(bench);
        memset(bench->out, 0, bench->bytes); /* what is not written shows */
        load[r] = load_seconds(bench);
        for (uint64_t t = 0; t < bench->tensor_count; t++)
            if (memcmp(bench->out + bench->offsets[t], bench->expected + bench->offsets[t],
                       bench->sizes[t])) {
                fprintf(stderr, "bench_load: a tensor was loaded differently\n");
                exit(1);
            }
        if (bench->out != there)
            free(bench->out);
        bench->out = there;
    }
    double gb = (double)bench->tensor_bytes * 1e-9, copied = median(copy, bench->runs);
    double loaded = median(load, bench->runs);
    printf("{\"op\":\"%s\",\"level\":%d,\"threads\":%u,\"memory\":\"%s\","
           "\"tensors\":%llu,\"bytes\":%zu,\"stored\":%llu,\"runs\":%u,\"gbps\":%.3f,"
           "\"memcpy_gbps\":%.3f,\"share\":%.3f}\n",
           bench->whole_file   ? "verified file"
           : bench->one_by_one ? "verified load, one by one"
                               : "verified load",
           info.level, mmh_pool_threads(bench->pool),
           bench->huge    ? "fresh, huge pages"
           : bench->fresh ? "fresh"
                          : "there",
           (unsigned long long)info.tensor_count, bench->tensor_bytes,
           (unsigned long long)info.container_bytes, bench->runs, gb / loaded, gb / copied,
           copied / loaded);
    free(there);
    free(bench->expected);
    free(bench->offsets);
    free(bench->sizes);
    free(bench->requests);
    free(bench->parts);
    mmh_pool_destroy(bench->pool);
    mmh_close(bench->reader);
}

static void time_packs(const struct bench *bench, mmh_context *context, const char *path, int level)
{
    double pack[RUNS_MAX];
    mmh_error err = { 0 };
    mmh_pack_options options = { .struct_size = sizeof options, .level = level, .alone = true };
    mmh_pack_report report = { .struct_size = sizeof report };
    int nowhere = open("/dev/null", O_WRONLY);
    if (nowhere < 0) {
        perror("bench_load: /dev/null");
        exit(1);
    }
    for (unsigned r = 0; r <= bench->runs; r++) { /* the first one warms up */
        uint64_t begin = mmh_clock_ns();
        must(mmh_pack_to_descriptor(context, &path, 1, nowhere, &options, &report, &err), &err);
        pack[r ? r - 1 : 0] = (double)(mmh_clock_ns() - begin) * 1e-9;
    }
    close(nowhere);
    printf("{\"op\":\"pack with its checks\",\"level\":%d,\"threads\":%u,\"memory\":\"fresh\","
           "\"bytes\":%llu,\"stored\":%llu,\"runs\":%u,\"gbps\":%.3f}\n",
           level, bench->threads, (unsigned long long)report.original_bytes,
           (unsigned long long)report.stored_bytes, bench->runs,
           (double)report.original_bytes * 1e-9 / median(pack, bench->runs));
}

int main(int argc, char **argv)
{
    struct bench bench = { .threads = 1, .runs = 5 };
    const char *path = NULL;
    int level = 0;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(argv[i], "--threads"))
            bench.threads = (unsigned)atoi(value), i++;
        else if (!strcmp(argv[i], "--runs"))
            bench.runs = (unsigned)MMH_MIN(MMH_MAX(atoi(value), 1), RUNS_MAX - 1), i++;
        else if (!strcmp(argv[i], "--pack"))
            level = atoi(value), i++;
        else if (!strcmp(argv[i], "--file"))
            bench.whole_file = true;
        else if (!strcmp(argv[i], "--one-by-one"))
            bench.one_by_one = true;
        else if (!strcmp(argv[i], "--fresh"))
            bench.fresh = true;
        else if (!strcmp(argv[i], "--huge"))
            bench.fresh = bench.huge = true;
        else
            path = argv[i];
    }
    if (!path) {
        fprintf(stderr, "bench_load: no FILE; see the top of bench/bench_load.c\n");
        return 2;
    }
    mmh_error err = { 0 };
    mmh_context *context;
    mmh_context_options options = { .struct_size = sizeof options, .threads = bench.threads };
    must(mmh_context_create(&context, &options, &err), &err);
    if (level)
        time_packs(&bench, context, path, level);
    else
        time_loads(&bench, context, path);
    mmh_context_destroy(context);
    return 0;
}
