/*
 * Writes sets of chunks as a device gets them, for bench_device_cuda.cu, which links none of mmh.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 *   device_dump OUTPUT [--kib N] [--local-kib N]
 *
 * One case for each element type and level, of N KiB of weights (default 1024) from MiniLM in the
 * cache or made up, and one with chunks of every shape. Tables go to local memory up to N KiB
 * (default 60, which every CUDA device has). A case is struct device_case, then fields,
 * side words, models, and payloads.
 */
#include "../tests/device_maker.h"
#include "device/device_plan.h"
#include "device_case.h"

static void write_all(FILE *file, const void *data, size_t bytes)
{
    if (fwrite(data, 1, bytes, file) != bytes) {
        (void)fprintf(stderr, "device_dump: cannot write\n");
        exit(1);
    }
}

static void dump(FILE *file, const struct device_corpus *corpus, const char *name,
                 const struct mmh_device_plan_options *options)
{
    mmh_error err = { 0 };
    struct mmh_device_plan plan;
    struct mmh_device_set set = device_corpus_set(corpus);
    check(mmh_device_plan_init(&plan, &set, options, NULL, &err), &err);
    struct device_case header = {
        .magic = DEVICE_CASE_MAGIC,
        .chunk_count = plan.chunk_count,
        .fields_bytes = plan.chunk_count * sizeof *plan.fields,
        .side_bytes = plan.side.bytes,
        .models_bytes = plan.models.bytes,
        .payload_bytes = plan.payload_bytes,
        .output_bytes = corpus->output_bytes,
        .element_bytes = corpus->element_bytes,
        .stored_bytes = corpus->stored_bytes,
        .table_bytes = plan.table_bytes,
    };
    (void)snprintf(header.name, sizeof header.name, "%s", name);
    for (size_t k = 0; k < MMH_DEVICE_KERNELS; k++) {
        header.work_first[k] = plan.work[k].first;
        header.work_count[k] = plan.work[k].count;
    }
    uint8_t *expected = device_corpus_decode(corpus, NULL);
    header.digest = device_case_digest(expected, corpus->output_bytes);
    uint8_t *payload = must(calloc(plan.payload_bytes + 1, 1));
    for (size_t c = 0; c < plan.chunk_count; c++)
        memcpy(payload + (size_t)plan.fields[c].payload * MMH_DEVICE_UNIT, plan.chunks[c].payload,
               plan.chunks[c].payload_bytes);
    write_all(file, &header, sizeof header);
    write_all(file, plan.fields, header.fields_bytes);
    write_all(file, plan.side.data, plan.side.bytes);
    write_all(file, plan.models.data, plan.models.bytes);
    write_all(file, payload, plan.payload_bytes);
    printf("%-16s %4zu chunks, %8llu bytes to %8llu\n", name, plan.chunk_count,
           (unsigned long long)corpus->stored_bytes, (unsigned long long)corpus->element_bytes);
    free(payload);
    free(expected);
    mmh_device_plan_release(&plan);
}

int main(int argc, char **argv)
{
    static const char *const names[] = { "bf16", "fp16", "fp32" };
    static const mmh_dtype dtypes[] = { MMH_DTYPE_BF16, MMH_DTYPE_F16, MMH_DTYPE_F32 };
    static const int levels[] = { 1, 3, 4, 5, 9 };
    uint64_t kib = 1024;
    struct mmh_device_plan_options options = { .local_bytes = 60 << 10,
                                               .local_stripes = DEVICE_CASE_LOCAL_STRIPES,
                                               .global_stripes = DEVICE_CASE_GLOBAL_STRIPES };
    for (int i = 2; i + 1 < argc; i += 2)
        if (strcmp(argv[i], "--kib") == 0)
            kib = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--local-kib") == 0)
            options.local_bytes = strtoull(argv[i + 1], NULL, 10) << 10;
    FILE *file = argc > 1 && argc % 2 == 0 ? fopen(argv[1], "wb") : NULL;
    if (!file || !kib) {
        (void)fprintf(stderr, "usage: device_dump OUTPUT [--kib N] [--local-kib N]\n");
        return 2;
    }
    struct device_corpus corpus;
    for (size_t t = 0; t < MMH_COUNT_OF(dtypes); t++)
        for (size_t l = 0; l < MMH_COUNT_OF(levels); l++) {
            const char *cache = getenv("MMH_CACHE");
            char path[4096], name[32];
            device_corpus_init(&corpus);
            (void)snprintf(path, sizeof path, "%s/models/minilm.%s.safetensors",
                           cache ? cache : ".cache", names[t]);
            (void)snprintf(name, sizeof name, "%s level %d", names[t], levels[l]);
            if (!device_corpus_file(&corpus, path, levels[l], kib << 10))
                device_corpus_weights(&corpus, dtypes[t],
                                      (kib << 10) / 768 / mmh_dtype_scalar_bytes(dtypes[t]) + 1,
                                      768, levels[l], t + 1);
            if (corpus.chunk_count)
                dump(file, &corpus, name, &options);
            device_corpus_release(&corpus);
        }
    struct maker maker;
    maker_init(&maker, 1);
    device_corpus_init(&corpus);
    for (unsigned c = 0; c < 60; c++)
        add_random(&corpus, &maker, c % 3, c % 4 != 0);
    dump(file, &corpus, "every shape", &options);
    device_corpus_release(&corpus);
    maker_release(&maker);
    return fclose(file) ? 1 : 0;
}
