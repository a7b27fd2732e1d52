/*
 * Work of every kernel set between marks, for counting instructions where nothing can be timed.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * tools/count_instructions.py runs it under qemu-user with the plugin tools/count_instructions.c.
 * For each type of weights, level and kernel set it prints `type level set operation weights` and
 * does the operation between two marks: `encode` plans a block and encodes its chunks, `decode`
 * parses its model and decodes them, as the engine does but for hashes. Then the kernels alone, with
 * "-" for the level. The weights, a bell in a matrix whose rows and columns differ in scale, are made
 * of integers, so that every machine counts the same work; what is decoded is compared.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "codec/codec_private.h"

enum {
    ROWS = 683,
    COLUMNS = 768,
    ELEMENTS = 2 * MMH_CHUNK_ELEMENTS, /* of them */
    CHUNKS = 2,
};

static void die(const char *what, const mmh_error *err)
{
    fprintf(stderr, "bench_instructions: %s%s%s\n", what, err ? ": " : "", err ? err->message : "");
    exit(1);
}

static void *get(size_t bytes)
{
    void *memory = aligned_alloc(64, mmh_round_up(bytes + MMH_KERNEL_SLACK, 64));
    if (!memory)
        die("out of memory", NULL);
    memset(memory, 0, bytes);
    return memory;
}

static void mark(void)
{
    static unsigned number;
    close((int)(0xbe000000 | (number++ & 0xff))); /* fails, and is seen */
}

static void begin(const char *type, const char *level, const char *set, const char *operation,
                  size_t weights)
{
    printf("%s\t%s\t%s\t%s\t%zu\n", type, level, set, operation, weights);
    fflush(stdout);
    mark();
}

/* ---- weights ---- */

static void make_weights(uint8_t *dst, mmh_dtype dtype)
{
    uint64_t seed = 1;
    for (size_t i = 0; i < ELEMENTS; i++) {
        int64_t sum = 0;
        for (unsigned k = 0; k < 8; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            sum += (int64_t)(seed >> 40) - (1 << 23);
        }
        const size_t row = i / COLUMNS, column = i % COLUMNS;
        const float scale = (float)(4 + row * 7 % 13) * (float)(4 + column * 5 % 11);
        const float weight = (float)sum * scale * 0x1p-36f;
        uint32_t bits;
        memcpy(&bits, &weight, sizeof bits);
        if (dtype == MMH_DTYPE_F32) {
            mmh_store32(dst + 4 * i, bits);
        } else if (dtype == MMH_DTYPE_BF16) {
            mmh_store16(dst + 2 * i, (uint16_t)(bits >> 16));
        } else { /* truncated; none is so small or large that more would be needed */
            const int exponent = (int)(bits >> 23 & 255) - 112;
            const uint32_t half = exponent < 1 ? 0
                                               : (uint32_t)exponent << 10 | (bits >> 13 & 0x3ff);
            mmh_store16(dst + 2 * i, (uint16_t)((bits >> 16 & 0x8000) | half));
        }
    }
}

/* ---- whole chunks ---- */

static void count_codec(const struct mmh_kernels *kernels, const char *type, mmh_dtype dtype,
                        int level)
{
    mmh_error err = { 0 };
    const size_t unit = mmh_dtype_scalar_bytes(dtype), bytes = ELEMENTS * unit;
    const size_t chunk_bytes = (size_t)MMH_CHUNK_ELEMENTS * unit;
    mmh_codec_workspace *workspace;
    if (mmh_codec_workspace_create(&workspace, NULL, &err))
        die("workspace", &err);
    mmh_workspace_set_kernels(workspace, kernels);
    uint8_t *src = get(bytes), *out = get(bytes), *payload[CHUNKS];
    size_t payload_bytes[CHUNKS];
    unsigned codec[CHUNKS];
    char level_text[8];
    snprintf(level_text, sizeof level_text, "%d", level);
    make_weights(src, dtype);
    for (size_t c = 0; c < CHUNKS; c++)
        payload[c] = get(mmh_chunk_bound(chunk_bytes));

    struct mmh_block_part part = { .elements = ELEMENTS,
                                   .dimensions = 2,
                                   .shape = { ROWS, COLUMNS } };
    const struct mmh_block_hint hint = {
        .dtype = dtype, .parts = &part, .part_count = 1, .level = (uint8_t)level
    };
    const struct mmh_block_plan *plan;
    const uint8_t *model_at;
    size_t model_bytes;
    uint64_t floor_bits;
    mmh_status status = MMH_OK;
    begin(type, level_text, kernels->name, "encode", ELEMENTS);
    status = mmh_block_plan_make(&plan, &model_at, &model_bytes, &floor_bits, workspace, src, bytes,
                                 &hint, &err);
    for (size_t c = 0; c < CHUNKS && !status; c++) {
        const struct mmh_chunk chunk = { dtype, c * MMH_CHUNK_ELEMENTS, chunk_bytes };
        status = mmh_chunk_encode(payload[c], &payload_bytes[c], &codec[c], workspace, plan,
                                  src + c * chunk_bytes, &chunk, false, &err);
    }
    mark();
    if (status)
        die("encode", &err);
    uint8_t *model_copy = get(model_bytes + 1);
    memcpy(model_copy, model_at, model_bytes);

    for (unsigned round = 0; round < 2; round++) { /* once for the workspace's memory */
        mmh_model *model = NULL;
        if (round)
            begin(type, level_text, kernels->name, "decode", ELEMENTS);
        if (model_bytes)
            status = mmh_model_create(&model, model_copy, model_bytes, ELEMENTS, NULL, &err);
        for (size_t c = 0; c < CHUNKS && !status; c++) {
            const struct mmh_chunk chunk = { dtype, c * MMH_CHUNK_ELEMENTS, chunk_bytes };
            status = mmh_chunk_decode(out + c * chunk_bytes, workspace, &chunk, codec[c],
                                      payload[c], payload_bytes[c], model, true, &err);
        }
        if (round)
            mark();
        if (status)
            die("decode", &err);
        mmh_model_destroy(model);
    }
    if (memcmp(src, out, bytes) != 0)
        die("what was decoded differs", NULL);
    free(model_copy);
    for (size_t c = 0; c < CHUNKS; c++)
        free(payload[c]);
    free(src);
    free(out);
    mmh_codec_workspace_destroy(workspace);
}

/* ---- kernels alone ---- */

/* A code of its own for every byte. */
static void count_pairs(const struct mmh_kernels *kernels, const uint8_t *src)
{
    const size_t pairs = ELEMENTS;
    uint8_t *symbols = get(pairs), *raw = get(pairs), *out = get(2 * pairs);
    uint8_t code[256], values[256];
    for (unsigned b = 0; b < 256; b++) {
        code[b] = (uint8_t)(37 * b + 11);
        values[code[b]] = (uint8_t)b;
    }
    begin("byte pairs", "-", kernels->name, "split", pairs);
    kernels->pairs_split(symbols, raw, src, pairs, code);
    mark();
    const struct mmh_split split = {
        .element_bytes = 2, .raw_bits = 8, .stored_bits = 8, .pair_values = values, .pair_tables = 1
    };
    const struct mmh_planes planes = { { raw } };
    const uint8_t *const none[3] = { NULL };
    begin("byte pairs", "-", kernels->name, "merge", pairs);
    kernels->merge(out, symbols, &planes, none, pairs, &split, MMH_STREAM_ON);
    mark();
    if (memcmp(src, out, 2 * pairs) != 0)
        die("pairs differ", NULL);
    free(symbols);
    free(raw);
    free(out);
}

/* What a plan does to symbols, here the high bytes of bf16. */
static void count_planning(const struct mmh_kernels *kernels, const uint8_t *weights)
{
    uint8_t *symbols = get(ELEMENTS), *bins = get(ELEMENTS);
    int8_t *row = get(ROWS + 64), *column = get(COLUMNS + 64);
    uint64_t *row_sum = get(8 * (ROWS + 1));
    uint32_t *column_sum = get(4 * COLUMNS), *histogram = get(4 * 64 * 256);
    uint8_t map[MMH_CLASS_BINS];
    for (size_t i = 0; i < ELEMENTS; i++)
        symbols[i] = (uint8_t)(mmh_load16(weights + 2 * i) >> 7);
    for (size_t i = 0; i < ROWS; i++)
        row[i] = (int8_t)(i * 7 % 13) - 6;
    for (size_t i = 0; i < COLUMNS; i++)
        column[i] = (int8_t)(i * 5 % 11) - 5;
    for (size_t i = 0; i < MMH_CLASS_BINS; i++)
        map[i] = (uint8_t)i;
    begin("symbols", "-", kernels->name, "classes", ELEMENTS);
    kernels->classes(bins, 0, ELEMENTS, COLUMNS, row, column, map);
    mark();
    begin("symbols", "-", kernels->name, "sums", ELEMENTS);
    kernels->row_column_sums(row_sum, column_sum, symbols, 0, ELEMENTS, COLUMNS);
    mark();
    begin("symbols", "-", kernels->name, "histogram", ELEMENTS);
    kernels->histogram(histogram, symbols, ELEMENTS, 1);
    mark();
    begin("symbols", "-", kernels->name, "histogram by class", ELEMENTS);
    kernels->histogram_classes(histogram, symbols, bins, ELEMENTS, 1);
    mark();
    free(symbols);
    free(bins);
    free(row);
    free(column);
    free(row_sum);
    free(column_sum);
    free(histogram);
}

int main(void)
{
    static const struct {
        const char *name;
        mmh_dtype dtype;
    } types[] = { { "bf16", MMH_DTYPE_BF16 },
                  { "fp16", MMH_DTYPE_F16 },
                  { "fp32", MMH_DTYPE_F32 } };
    static const int levels[] = { 1, 4, 5 };
    const struct mmh_kernels *kernels;
    for (size_t t = 0; t < MMH_COUNT_OF(types); t++)
        for (size_t l = 0; l < MMH_COUNT_OF(levels); l++)
            for (size_t k = 0; (kernels = mmh_kernels_at(k)) != NULL; k++)
                count_codec(kernels, types[t].name, types[t].dtype, levels[l]);
    uint8_t *weights = get(2 * ELEMENTS);
    make_weights(weights, MMH_DTYPE_BF16);
    for (size_t k = 0; (kernels = mmh_kernels_at(k)) != NULL; k++) {
        count_pairs(kernels, weights);
        count_planning(kernels, weights);
    }
    free(weights);
    return 0;
}
