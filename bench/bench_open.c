/*
 * How long a container takes to open and one named tensor to load, warm.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 *   bench_open FILE.mmh [TENSOR] [RUNS]     prints one JSON line; TENSOR: by default the middle one
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "mmh.h"

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void must(mmh_status status, const mmh_error *err)
{
    if (status == MMH_OK)
        return;
    fprintf(stderr, "bench_open: %s\n", err->message);
    exit(1);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "bench_open: no FILE.mmh\n");
        return 2;
    }
    size_t runs = argc > 3 ? (size_t)strtoul(argv[3], NULL, 10) : 11;
    double *opened = calloc(runs + 1, sizeof *opened), *loaded = calloc(runs + 1, sizeof *loaded);
    if (!opened || !loaded || !runs)
        return 1;
    mmh_error err = { 0 };
    mmh_container_info info = { .struct_size = sizeof info };
    char name[4096] = "";
    for (size_t i = 0; i <= runs; i++) { /* the first one warms up */
        mmh_context *context;
        mmh_reader *reader;
        uint64_t number, begin = mmh_clock_ns();
        must(mmh_context_create(&context, NULL, &err), &err);
        must(mmh_open(context, argv[1], &reader, &err), &err);
        must(mmh_container(reader, &info, &err), &err);
        opened[i] = (double)(mmh_clock_ns() - begin) / 1e6;
        mmh_tensor_info tensor = { .struct_size = sizeof tensor };
        if (!*name && argc > 2) {
            snprintf(name, sizeof name, "%s", argv[2]);
        } else if (!*name) {
            must(mmh_tensor(reader, info.tensor_count / 2, &tensor, &err), &err);
            snprintf(name, sizeof name, "%s", tensor.name);
        }
        must(mmh_find(reader, name, &number, &err), &err);
        must(mmh_tensor(reader, number, &tensor, &err), &err);
        void *memory = malloc(tensor.bytes ? tensor.bytes : 1);
        if (!memory)
            return 1;
        must(mmh_load(reader, number, memory, tensor.bytes, &err), &err);
        loaded[i] = (double)(mmh_clock_ns() - begin) / 1e6;
        free(memory);
        mmh_close(reader);
        mmh_context_destroy(context);
    }
    qsort(opened + 1, runs, sizeof *opened, by_value);
    qsort(loaded + 1, runs, sizeof *loaded, by_value);
    printf("{\"chunks\":%llu,\"tensors\":%llu,\"index_bytes\":%llu,\"runs\":%zu,"
           "\"open_ms\":%.2f,\"open_and_load_ms\":%.2f}\n",
           (unsigned long long)info.chunk_count, (unsigned long long)info.tensor_count,
           (unsigned long long)info.index_bytes, runs, opened[1 + runs / 2], loaded[1 + runs / 2]);
    free(opened);
    free(loaded);
    return 0;
}
