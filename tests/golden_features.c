/*
 * What a container makes use of: one feature of docs/format.md a line, for the golden files.
 *
 *   golden_features CONTAINER
 *   golden_features             what the tables have: the golden files together must use all of it
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/io.h"
#include "codec/codec_private.h"
#include "container/container.h"
#include "format/format.h"

static mmh_status read_at(void *context, void *dst, uint64_t offset, size_t bytes, mmh_error *err)
{
    return mmh_input_read(context, dst, offset, bytes, err);
}

static void say_float(const uint8_t *payload, const char *where)
{
    static const char *const kinds[] = { "tiers", "rans", "one symbol" };
    static const char *const signs[] = { "stored", "0", "1" };
    static const char *const tails[] = { "none", "plain", "segments" };
    if (payload[0] > 2 || payload[2] > 2 || payload[4] > 2)
        return;
    printf("float %s%s\n", kinds[payload[0]], where);
    printf("float symbols with %u mantissa bits\n", payload[1]);
    printf("float sign %s\n", signs[payload[2]]);
    printf("float tails %s\n", tails[payload[4]]);
    if (payload[3])
        printf("float zero mantissa bits\n");
    if (mmh_load16(payload + 6))
        printf("float window\n");
    if (mmh_load32(payload + 8))
        printf("float patches\n");
    if (payload[0] == 0)
        printf("tiers %s\n", payload[16 + mmh_round_up(6 * mmh_load32(payload + 8), 8) + 1]
                                 ? "shifted"
                                 : "plain");
}

/* The codecs of a mixed chunk's two parts. */
static void say_mixed(const uint8_t *payload)
{
    printf("mixed of %s\n", mmh_codec_name(payload[0]));
    printf("mixed rest %s\n", mmh_codec_name(payload[1]));
    if (payload[0] == MMH_CODEC_FLOAT && mmh_load32(payload + 4) > 24)
        say_float(payload + 16, " in mixed");
}

static void say_chunk(unsigned codec_id, const uint8_t *payload, size_t bytes)
{
    const char *name = mmh_codec_name(codec_id);
    printf("codec %s\n", name ? name : "unknown");
    if (codec_id == MMH_CODEC_FLOAT && bytes > 24)
        say_float(payload, "");
    if (codec_id == MMH_CODEC_MIXED && bytes > 16 && payload[0] < MMH_CODEC_COUNT &&
        payload[1] < MMH_CODEC_COUNT)
        say_mixed(payload);
    if (codec_id == MMH_CODEC_ZERO_RUN && bytes > 12) {
        size_t inner = mmh_round_up(12 + mmh_load32(payload + 8), 8);
        printf("zero-run mask %s\n", payload[5] ? "zstd" : "plain");
        printf("zero-run of %s\n", mmh_codec_name(payload[4]));
        if (payload[4] == MMH_CODEC_FLOAT && inner + 24 < bytes)
            say_float(payload + inner, " in zero-run");
    }
}

static void say_model(const uint8_t *payload, size_t bytes, uint64_t elements)
{
    mmh_model *model;
    if (mmh_model_create(&model, payload, bytes, elements, NULL, NULL))
        return;
    if (model->kind == MMH_MODEL_SHIFTS)
        printf("model shifts\n");
    else if (model->kind == MMH_MODEL_PAIRS)
        printf("model pairs\n");
    else if (model->kind == MMH_MODEL_FIELDS)
        printf("model fields\n");
    else if (model->kind == MMH_MODEL_MIXED)
        printf("model mixed%s\n", model->within ? "" : " without one of its own");
    else
        printf("model %s, %s\n", model->table_count > 1 ? "several tables" : "one table",
               model->view_count ? "classes" : "no classes");
    if (model->within_big_endian)
        printf("mixed big endian\n");
    for (unsigned i = 0; i < model->field_count; i++)
        printf("fields %s\n", model->fields[i].field.pieces[0].group ? "bits" : "whole elements");
    for (size_t i = 0; i < model->view_count; i++)
        printf("model view with%s%s\n", model->views[i].row ? " rows" : "",
               model->views[i].column ? " columns" : "");
    if (model->view_count > 1)
        printf("model of several views\n");
    mmh_model_destroy(model);
}

/* One chunk's payload, NULL if it cannot be read. For mmh_free. */
static uint8_t *chunk_payload(mmh_input *input, const struct mmh_chunk_entry *chunk)
{
    uint8_t *payload = mmh_alloc(NULL, 64, chunk->bytes + 64);
    if (payload && mmh_input_read(input, payload, chunk->offset, chunk->bytes, NULL)) {
        mmh_free(NULL, payload);
        payload = NULL;
    }
    return payload;
}

static void say_container(const mmh_container_reader *reader, mmh_input *input)
{
    const struct mmh_index *index = &reader->index;
    printf("hash %s\n", mmh_hash_suite_name(reader->hash_suite));
    printf("level %u\n", index->level);
    if (index->ref_count > index->chunk_count)
        printf("equal chunks\n");
    for (uint64_t b = 0; b < index->block_count; b++) {
        const struct mmh_block_entry *block = &index->blocks[b];
        uint64_t count = mmh_divide_up(block->bytes, block->chunk_bytes);
        printf("block of %s\n", mmh_dtype_name(block->dtype));
        if (block->big_endian)
            printf("block big endian\n");
        if (count > 1)
            printf("block of several chunks\n");
        if (block->has_model) {
            const struct mmh_chunk_entry *chunk = &index->chunks[block->model];
            uint8_t *payload = chunk_payload(input, chunk);
            if (payload)
                say_model(payload, chunk->bytes,
                          block->bytes / mmh_dtype_scalar_bytes(block->dtype));
            mmh_free(NULL, payload);
            printf("codec model\n");
        }
        for (uint64_t c = 0; c < count; c++) {
            const struct mmh_chunk_entry *chunk = &index->chunks[index->refs[block->first_ref + c]];
            uint8_t *payload = chunk_payload(input, chunk);
            if (payload)
                say_chunk(chunk->codec_id, payload, chunk->bytes);
            mmh_free(NULL, payload);
        }
    }
    for (uint64_t f = 0; f < index->file_count; f++) {
        const struct mmh_file_record *file = &index->files[f].record;
        static const char *const kinds[] = { "regular", "folder", "symlink" };
        printf("file %s\n", kinds[file->kind]);
        if (file->kind == MMH_FILE_REGULAR && mmh_format_name(file->format))
            printf("format %s\n", mmh_format_name(file->format));
        if (file->kind == MMH_FILE_REGULAR && !file->bytes)
            printf("file empty\n");
        if (file->has_time)
            printf("file time\n");
        if (file->metadata_count)
            printf("file metadata\n");
    }
    for (uint64_t t = 0; t < index->tensor_count; t++) {
        const struct mmh_tensor_record *tensor = &index->tensors[t];
        printf("tensor of %s\n", mmh_dtype_name(tensor->dtype));
        if (tensor->big_endian)
            printf("tensor big endian\n");
        if (tensor->column_major)
            printf("tensor column-major\n");
        if (tensor->strides)
            printf("tensor with strides\n");
        if (!tensor->bytes)
            printf("tensor empty\n");
    }
}

static void say_tables(void)
{
    enum { NUMBERS = 256, LEVELS = 9 }; /* ids are bytes */
    for (unsigned id = 0; id < NUMBERS; id++) {
        mmh_dtype dtype = (mmh_dtype)id;
        if (mmh_codec_name(id))
            printf("codec %s\n", mmh_codec_name(id));
        if (mmh_format_name(id))
            printf("format %s\n", mmh_format_name(id));
        if (mmh_hash_suite_available(id))
            printf("hash %s\n", mmh_hash_suite_name(id));
        if (mmh_dtype_name(dtype) && dtype != MMH_DTYPE_OPAQUE)
            printf("tensor of %s\n", mmh_dtype_name(dtype));
        if (mmh_dtype_name(dtype) && mmh_dtype_scalar(dtype) == dtype)
            printf("block of %s\n", mmh_dtype_name(dtype));
    }
    for (unsigned level = 1; level <= LEVELS; level++)
        printf("level %u\n", level);
}

int main(int argc, char **argv)
{
    mmh_input *input;
    mmh_container_reader reader;
    mmh_error err = { .status = MMH_OK };
    if (argc == 1) {
        say_tables();
        return 0;
    }
    if (argc != 2) {
        fprintf(stderr, "usage: golden_features [CONTAINER]\n");
        return 2;
    }
    if (mmh_input_open(&input, argv[1], NULL, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    mmh_status status = mmh_container_open(&reader, read_at, input, mmh_input_bytes(input),
                                           UINT64_C(1) << 30, false, NULL, &err);
    if (status == MMH_OK) {
        say_container(&reader, input);
        mmh_container_close(&reader);
    } else {
        fprintf(stderr, "%s: %s\n", argv[1], err.message);
    }
    mmh_input_close(input);
    return status == MMH_OK ? 0 : 1;
}
