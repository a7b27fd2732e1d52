/*
 * Times what devices decode, device memory to device memory, beside a copy of the same bytes there.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 *   bench_device [--mib N] [--runs N] [--level N] [--style items|groups] [--local-kib N]
 *
 * For every OpenCL device, element type and level: MiniLM from the cache where `make demo` has left
 * it, else made weights, repeated up to N MiB of elements (default: 1024 on GPUs, 128 on
 * processors). What is printed is the median of the runs by the device's own clock, after one run
 * to warm up whose output is compared with the processor's, byte for byte; speeds are in bytes of
 * output. Exits with 1 after a difference, 77 where there is no device.
 */
#include "../tests/device_corpus.h"

#include <time.h>

enum { RUNS_MAX = 101 };

struct options {
    uint64_t mib;
    int runs, level;
    struct mmh_device_options device;
};

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t median(uint64_t *ns, int runs)
{
    qsort(ns, (size_t)runs, sizeof *ns, by_value);
    return ns[runs / 2];
}

/* Kinds of the chunks' symbols, as "tiers 5, rans 2". */
static const char *kinds_of(const struct device_corpus *corpus)
{
    static char text[64];
    static const char *const names[] = { "tiers", "rans", "none" };
    size_t counts[3] = { 0 }, used = 0;
    text[0] = 0;
    for (size_t c = 0; c < corpus->chunk_count; c++)
        counts[corpus->chunks[c].payload[0] % 3]++;
    for (size_t k = 0; k < 3; k++)
        if (counts[k])
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s %zu", used ? ", " : "",
                                     names[k], counts[k]);
    return text;
}

/* The chunks again and again, each time at a place of its own in the output. */
static struct mmh_device_set repeat(const struct device_corpus *corpus, size_t times)
{
    struct mmh_device_set set = device_corpus_set(corpus);
    struct mmh_device_chunk *chunks = must(malloc(times * set.chunk_count * sizeof *chunks));
    for (size_t i = 0; i < times; i++)
        for (size_t c = 0; c < set.chunk_count; c++) {
            chunks[i * set.chunk_count + c] = set.chunks[c];
            chunks[i * set.chunk_count + c].offset += i * corpus->output_bytes;
        }
    set.chunks = chunks;
    set.chunk_count *= times;
    return set;
}

static bool same(const struct device_corpus *corpus, mmh_device_buffer *output, size_t times)
{
    mmh_error err = { 0 };
    uint8_t *expected = device_corpus_decode(corpus, NULL);
    uint8_t *part = must(malloc(corpus->output_bytes));
    bool equal = true;
    for (size_t i = 0; i < times && equal; i++) {
        check(mmh_device_buffer_read(output, part, i * corpus->output_bytes, corpus->output_bytes,
                                     &err),
              &err);
        for (size_t c = 0; c < corpus->chunk_count; c++) {
            const struct mmh_device_chunk *chunk = &corpus->chunks[c];
            equal = equal &&
                    memcmp(part + chunk->offset, expected + chunk->offset, chunk->chunk.bytes) == 0;
        }
    }
    free(part);
    free(expected);
    return equal;
}

/* One row of the table. */
static bool bench(mmh_device *device, const struct device_corpus *corpus, const char *name,
                  int level, const struct options *options)
{
    mmh_error err = { 0 };
    uint64_t mib = options->mib ? options->mib : mmh_device_info(device)->is_processor ? 128 : 1024;
    size_t times = (size_t)MMH_MAX((mib << 20) / corpus->output_bytes, 1);
    struct mmh_device_set set = repeat(corpus, times);
    mmh_device_batch *batch;
    mmh_device_buffer *output, *copy;
    size_t bytes = times * (size_t)corpus->output_bytes;
    check(mmh_device_buffer_create(&output, device, bytes, &err), &err);
    check(mmh_device_buffer_create(&copy, device, bytes, &err), &err);
    check(mmh_device_batch_create(&batch, device, &set, &err), &err);
    uint64_t decode_ns[RUNS_MAX], copy_ns[RUNS_MAX];
    bool equal = true;
    for (int run = -1; run < options->runs; run++) {
        uint64_t ns;
        check(mmh_device_batch_start(batch, output, &err), &err);
        check(mmh_device_batch_wait(batch, &ns, &err), &err);
        if (run < 0) {
            equal = same(corpus, output, times);
            check(mmh_device_buffer_copy(copy, output, bytes, &ns, &err), &err);
            continue;
        }
        decode_ns[run] = ns;
        check(mmh_device_buffer_copy(copy, output, bytes, &copy_ns[run], &err), &err);
    }
    double decode = (double)bytes / (double)median(decode_ns, options->runs);
    double memcpy_speed = (double)bytes / (double)median(copy_ns, options->runs);
    printf("  %-6s %5d  %-20s %6.2f %% %8.2f %8.2f %6.0f %%  %s\n", name, level, kinds_of(corpus),
           100. * (double)corpus->stored_bytes / (double)corpus->element_bytes, decode,
           memcpy_speed, 100 * decode / memcpy_speed, equal ? "exact" : "DIFFERENT");
    (void)fflush(stdout);
    mmh_device_batch_destroy(batch);
    mmh_device_buffer_destroy(output);
    mmh_device_buffer_destroy(copy);
    free((void *)(uintptr_t)set.chunks);
    return equal;
}

static bool bench_device(size_t index, const struct options *options)
{
    static const char *const names[] = { "bf16", "fp16", "fp32" };
    static const mmh_dtype dtypes[] = { MMH_DTYPE_BF16, MMH_DTYPE_F16, MMH_DTYPE_F32 };
    static const int levels[] = { 1, 3, 4, 5, 9 };
    mmh_error err = { 0 };
    mmh_device *device;
    bool equal = true;
    check(mmh_device_open(&device, index, &options->device, NULL, &err), &err);
    const struct mmh_device_info *info = mmh_device_info(device);
    printf("device %zu: %s, driver %s, %u units, %s style\n", index, info->name, info->driver,
           info->compute_units, info->style == MMH_DEVICE_STYLE_ITEMS ? "item" : "group");
    printf("  %-6s %5s  %-20s %8s %8s %8s %8s\n", "type", "level", "chunks", "size", "GB/s", "copy",
           "of copy");
    for (size_t t = 0; t < MMH_COUNT_OF(dtypes); t++)
        for (size_t l = 0; l < MMH_COUNT_OF(levels); l++) {
            const char *cache = getenv("MMH_CACHE");
            char path[4096];
            struct device_corpus corpus;
            if (options->level && levels[l] != options->level)
                continue;
            device_corpus_init(&corpus);
            (void)snprintf(path, sizeof path, "%s/models/minilm.%s.safetensors",
                           cache ? cache : ".cache", names[t]);
            if (!device_corpus_file(&corpus, path, levels[l], levels[l] > 5 ? 4 << 20 : 24 << 20))
                device_corpus_weights(&corpus, dtypes[t], 4096, 768, levels[l], t + 1);
            if (corpus.chunk_count)
                equal = bench(device, &corpus, names[t], levels[l], options) && equal;
            device_corpus_release(&corpus);
        }
    mmh_device_close(device);
    return equal;
}

int main(int argc, char **argv)
{
    struct options options = { .runs = 9 };
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--mib") == 0)
            options.mib = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--runs") == 0)
            options.runs = atoi(value);
        else if (strcmp(argv[i], "--level") == 0)
            options.level = atoi(value);
        else if (strcmp(argv[i], "--local-kib") == 0)
            options.device.local_bytes = strtoull(value, NULL, 10) << 10;
        else if (strcmp(argv[i], "--style") == 0)
            options.device.style = strcmp(value, "items") == 0 ? MMH_DEVICE_STYLE_ITEMS
                                                               : MMH_DEVICE_STYLE_GROUPS;
        else
            value = NULL;
        if (!value || !*value || options.runs < 1 || options.runs > RUNS_MAX) {
            (void)fprintf(stderr, "bench_device: see the beginning of bench/bench_device.c\n");
            return 2;
        }
    }
    /* One processor device, unless the environment wants more: two would share the same cores. */
    (void)setenv("POCL_DEVICES", "pthread", 0);
    device_environment();
    mmh_error err = { 0 };
    size_t count;
    if (mmh_device_count(&count, &err) || !count) {
        printf("bench_device: skipped: %s\n", err.status ? err.message : "no OpenCL device");
        return 77;
    }
    time_t now = time(NULL);
    char date[32];
    (void)strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", gmtime(&now));
    printf("%s, command:", date);
    for (int i = 0; i < argc; i++)
        printf(" %s", argv[i]);
    printf("\n");
    bool equal = true;
    for (size_t d = 0; d < count; d++)
        equal = bench_device(d, &options) && equal;
    return equal ? 0 : 1;
}
