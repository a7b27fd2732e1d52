/*
 * Chunks of real and of made weights, for the tests and benchmarks of devices.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A corpus gathers blocks and chunks in the form that devices take, and knows what the processor
 * makes of them. Runs out of memory or of luck by ending the program: it is no part of the library.
 */
#ifndef MMH_TESTS_DEVICE_CORPUS_H
#define MMH_TESTS_DEVICE_CORPUS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/json.h"
#include "device/device.h"

struct device_corpus {
    struct mmh_device_block *blocks;
    struct mmh_device_chunk *chunks;
    size_t block_count, chunk_count;
    size_t other_chunks;    /* that devices do not take, and so are not here */
    uint64_t element_bytes; /* decoded bytes of all chunks */
    uint64_t stored_bytes;  /* of their payloads and models */
    uint64_t output_bytes;  /* each chunk begins at a multiple of 64 */
    mmh_codec_workspace *workspace;
};

static inline void *must(void *memory)
{
    if (!memory) {
        (void)fputs("device corpus: out of memory\n", stderr);
        abort();
    }
    return memory;
}

static inline void check(mmh_status status, const mmh_error *err)
{
    if (status) {
        (void)fprintf(stderr, "device corpus: %s\n", err->message);
        abort();
    }
}

static inline uint8_t *copy_of(const uint8_t *data, size_t bytes)
{
    uint8_t *copy = must(malloc(bytes + 1));
    if (bytes)
        memcpy(copy, data, bytes);
    return copy;
}

/* Random numbers that are the same everywhere. */
static inline uint64_t device_random(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

/* Make the processors' OpenCL, where it is installed, show two devices unless the environment says
 * otherwise, and keep its cache out of the user's home. Before the first device call. */
static inline void device_environment(void)
{
    char cache[4096];
    const char *temporary = getenv("TMPDIR");
    (void)snprintf(cache, sizeof cache, "%s/mmh-pocl-cache", temporary ? temporary : "/tmp");
    (void)setenv("POCL_DEVICES", "pthread pthread", 0);
    (void)setenv("POCL_CACHE_DIR", cache, 0);
}

static inline void device_corpus_init(struct device_corpus *corpus)
{
    mmh_error err = { 0 };
    *corpus = (struct device_corpus){ 0 };
    check(mmh_codec_workspace_create(&corpus->workspace, NULL, &err), &err);
}

static inline void device_corpus_release(struct device_corpus *corpus)
{
    for (size_t b = 0; b < corpus->block_count; b++)
        free((void *)(uintptr_t)corpus->blocks[b].model);
    for (size_t c = 0; c < corpus->chunk_count; c++)
        free((void *)(uintptr_t)corpus->chunks[c].payload);
    free(corpus->blocks);
    free(corpus->chunks);
    mmh_codec_workspace_destroy(corpus->workspace);
    *corpus = (struct device_corpus){ 0 };
}

/* Add a block; its model (NULL: none) is copied. Returns its index. */
static inline size_t device_corpus_block(struct device_corpus *corpus, const uint8_t *model,
                                         size_t model_bytes, uint64_t elements)
{
    size_t count = corpus->block_count + 1;
    corpus->blocks = must(realloc(corpus->blocks, count * sizeof *corpus->blocks));
    corpus->blocks[corpus->block_count] = (struct mmh_device_block){
        .model = model ? copy_of(model, model_bytes) : NULL,
        .model_bytes = model_bytes,
        .elements = elements,
    };
    corpus->stored_bytes += model_bytes;
    return corpus->block_count++;
}

/* Add a chunk of the last block; its payload is copied. */
static inline void device_corpus_chunk(struct device_corpus *corpus, const struct mmh_chunk *chunk,
                                       const uint8_t *payload, size_t payload_bytes)
{
    size_t count = corpus->chunk_count + 1;
    corpus->chunks = must(realloc(corpus->chunks, count * sizeof *corpus->chunks));
    corpus->chunks[corpus->chunk_count++] = (struct mmh_device_chunk){
        .chunk = *chunk,
        .block = corpus->block_count - 1,
        .payload = copy_of(payload, payload_bytes),
        .payload_bytes = payload_bytes,
        .offset = corpus->output_bytes,
    };
    corpus->output_bytes += mmh_round_up(chunk->bytes, 64);
    corpus->element_bytes += chunk->bytes;
    corpus->stored_bytes += payload_bytes;
}

/* ---- tensors ---- */

static inline void add_block(struct device_corpus *corpus, const uint8_t *data, size_t bytes,
                             const struct mmh_block_hint *hint)
{
    mmh_error err = { 0 };
    const struct mmh_block_plan *plan;
    const uint8_t *model;
    size_t model_bytes, width = mmh_dtype_scalar_bytes(hint->dtype);
    uint64_t floor_bits;
    check(mmh_block_plan_make(&plan, &model, &model_bytes, &floor_bits, corpus->workspace, data,
                              bytes, hint, &err),
          &err);
    device_corpus_block(corpus, model, model ? model_bytes : 0, bytes / width);
    uint8_t *payload = must(malloc(mmh_chunk_bound(MMH_CHUNK_ELEMENTS * width)));
    for (size_t at = 0; at < bytes; at += MMH_CHUNK_ELEMENTS * width) {
        struct mmh_chunk chunk = { hint->dtype, at / width,
                                   MMH_MIN(bytes - at, MMH_CHUNK_ELEMENTS * width) };
        size_t payload_bytes;
        unsigned codec_id;
        check(mmh_chunk_encode(payload, &payload_bytes, &codec_id, corpus->workspace, plan,
                               data + at, &chunk, false, &err),
              &err);
        if (mmh_device_takes(chunk.dtype, codec_id))
            device_corpus_chunk(corpus, &chunk, payload, payload_bytes);
        else
            corpus->other_chunks++;
    }
    free(payload);
}

/* Encode a tensor as mmh packs it, and add what devices take. */
static inline void device_corpus_tensor(struct device_corpus *corpus, const uint8_t *data,
                                        size_t bytes, mmh_dtype dtype, uint32_t dimensions,
                                        const uint64_t *shape, int level)
{
    size_t width = mmh_dtype_scalar_bytes(dtype);
    struct mmh_block_part part = { .dimensions = dimensions };
    struct mmh_block_hint hint = {
        .dtype = dtype, .parts = &part, .part_count = 1, .level = level
    };
    for (uint32_t d = 0; d < dimensions; d++)
        part.shape[d] = shape[d];
    for (size_t at = 0; at < bytes; at += MMH_BLOCK_BYTES_MAX) {
        size_t block_bytes = MMH_MIN(bytes - at, (size_t)MMH_BLOCK_BYTES_MAX);
        part.tensor_first = at / width;
        part.elements = block_bytes / width;
        add_block(corpus, data + at, block_bytes, &hint);
    }
}

/* A standard normal number, near enough: the sum of twelve uniform ones. */
static inline double normal(uint64_t *state)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += (double)(device_random(state) >> 11) * 0x1p-53;
    return sum;
}

/* exp of 0.6 times such a number, near enough and without libm. */
static inline double lognormal(uint64_t *state)
{
    double value = 1 + 0.6 / 256 * normal(state);
    for (int i = 0; i < 8; i++)
        value *= value;
    return value;
}

static inline uint16_t half_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000;
    int exponent = (int)(bits >> 23 & 255) - 112;
    if (exponent <= 0)
        return (uint16_t)(sign | (uint32_t)((double)(value < 0 ? -value : value) * 0x1p24));
    return (uint16_t)(sign | ((uint32_t)exponent << 10 | (bits >> 13 & 1023)));
}

/* A matrix of weights as training leaves them: normal, rows and columns of different scale. */
static inline void device_corpus_weights(struct device_corpus *corpus, mmh_dtype dtype,
                                         uint64_t rows, uint64_t columns, int level, uint64_t seed)
{
    size_t width = mmh_dtype_scalar_bytes(dtype);
    uint8_t *data = must(malloc(rows * columns * width));
    double *scales = must(malloc(columns * sizeof *scales));
    for (uint64_t c = 0; c < columns; c++)
        scales[c] = lognormal(&seed);
    for (uint64_t r = 0; r < rows; r++) {
        double scale = 0.04 * lognormal(&seed);
        for (uint64_t c = 0; c < columns; c++) {
            float value = (float)(scale * scales[c] * normal(&seed));
            uint32_t bits;
            memcpy(&bits, &value, sizeof bits);
            uint8_t *at = data + (r * columns + c) * width;
            if (dtype == MMH_DTYPE_F16)
                mmh_store16(at, half_of(value));
            else if (dtype == MMH_DTYPE_BF16)
                mmh_store16(at, (uint16_t)(bits >> 16));
            else
                mmh_store32(at, r % 3 ? bits : bits & 0xffffe000); /* some rows were fp16 once */
        }
    }
    uint64_t shape[2] = { rows, columns };
    device_corpus_tensor(corpus, data, rows * columns * width, dtype, 2, shape, level);
    free(scales);
    free(data);
}

/* ---- safetensors ---- */

struct tensor {
    mmh_dtype dtype;
    uint32_t dimensions;
    uint64_t shape[8], begin, end;
};

static inline bool read_tensor(struct tensor *tensor, struct mmh_json *json)
{
    struct mmh_json_token token;
    *tensor = (struct tensor){ .dtype = MMH_DTYPE_COUNT };
    if (mmh_json_next(json, &token) != MMH_JSON_OBJECT)
        return false;
    while (mmh_json_next(json, &token) == MMH_JSON_KEY) {
        if (mmh_json_is(&token, "dtype")) {
            (void)mmh_json_next(json, &token);
            tensor->dtype = mmh_dtype_find(token.text, token.bytes);
        } else if (mmh_json_is(&token, "shape")) {
            (void)mmh_json_next(json, &token);
            while (mmh_json_next(json, &token) == MMH_JSON_NUMBER)
                if (tensor->dimensions < 8)
                    tensor->shape[tensor->dimensions++] = token.u64;
        } else if (mmh_json_is(&token, "data_offsets")) {
            (void)mmh_json_next(json, &token);
            (void)mmh_json_next(json, &token);
            tensor->begin = token.u64;
            (void)mmh_json_next(json, &token);
            tensor->end = token.u64;
            (void)mmh_json_next(json, &token);
        } else {
            mmh_json_skip_value(json);
        }
    }
    return tensor->dtype != MMH_DTYPE_COUNT;
}

static inline uint8_t *read_file(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    (void)fseek(file, 0, SEEK_END);
    *bytes = (size_t)ftell(file);
    rewind(file);
    uint8_t *data = must(malloc(*bytes + 1));
    if (fread(data, 1, *bytes, file) != *bytes)
        *bytes = 0;
    (void)fclose(file);
    return data;
}

/* The same for the tensors of a safetensors file, until most_bytes of weights were looked at. False
 * if there is no such file. */
static inline bool device_corpus_file(struct device_corpus *corpus, const char *path, int level,
                                      uint64_t most_bytes)
{
    size_t bytes;
    uint8_t *data = read_file(path, &bytes);
    if (!data)
        return false;
    uint64_t header = bytes >= 8 ? mmh_load64(data) : 0;
    struct mmh_json json;
    struct mmh_json_token token;
    mmh_json_init(&json, data + 8, header <= bytes - 8 ? (size_t)header : 0);
    if (mmh_json_next(&json, &token) == MMH_JSON_OBJECT)
        while (most_bytes && mmh_json_next(&json, &token) == MMH_JSON_KEY) {
            struct tensor tensor;
            if (mmh_json_is(&token, "__metadata__")) {
                mmh_json_skip_value(&json);
                continue;
            }
            if (!read_tensor(&tensor, &json) || tensor.end < tensor.begin ||
                tensor.end > bytes - 8 - header)
                break;
            if (!mmh_device_takes(tensor.dtype, MMH_CODEC_FLOAT))
                continue;
            uint64_t part = MMH_MIN(tensor.end - tensor.begin, most_bytes) & ~(uint64_t)7;
            device_corpus_tensor(corpus, data + 8 + header + tensor.begin, (size_t)part,
                                 tensor.dtype, tensor.dimensions, tensor.shape, level);
            most_bytes -= part ? part : most_bytes;
        }
    free(data);
    return true;
}

/* ---- decoding ---- */

static inline struct mmh_device_set device_corpus_set(const struct device_corpus *corpus)
{
    return (struct mmh_device_set){ corpus->blocks, corpus->block_count, corpus->chunks,
                                    corpus->chunk_count };
}

/* What the processor decodes: output_bytes, zero between chunks, for free(). ok[chunk_count] (may
 * be NULL) tells which chunks decoded; without it all must. */
static inline uint8_t *device_corpus_decode(const struct device_corpus *corpus, bool *ok)
{
    mmh_error err = { 0 };
    uint8_t *output = must(calloc(corpus->output_bytes + 1, 1));
    mmh_model *model = NULL;
    bool has_model = true;
    size_t block = SIZE_MAX;
    for (size_t c = 0; c < corpus->chunk_count; c++) {
        const struct mmh_device_chunk *chunk = &corpus->chunks[c];
        const struct mmh_device_block *from = &corpus->blocks[chunk->block];
        mmh_status status = MMH_OK;
        if (chunk->block != block) {
            block = chunk->block;
            mmh_model_destroy(model);
            model = NULL;
            if (from->model)
                status = mmh_model_create(&model, from->model, from->model_bytes, from->elements,
                                          NULL, &err);
            has_model = !status;
        }
        if (has_model)
            status = mmh_chunk_decode(output + chunk->offset, corpus->workspace, &chunk->chunk,
                                      MMH_CODEC_FLOAT, chunk->payload, chunk->payload_bytes, model,
                                      false, &err);
        if (ok)
            ok[c] = has_model && !status;
        else
            check(status, &err);
    }
    mmh_model_destroy(model);
    return output;
}

#endif
