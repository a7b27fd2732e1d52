/*
 * What a container makes use of: one feature of docs/format.md a line, for the golden files.
 *
 *   golden_features CONTAINER [KEY]
 *   golden_features             what the tables have: the golden files together must use all of it
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>

#include "codec/codec_private.h"
#include "engine/engine.h"
#include "format/format.h"

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

/* One chunk's payload, until the next one is asked for; NULL if it cannot be read. */
static const uint8_t *chunk_payload(mmh_reader *reader, uint64_t chunk)
{
    struct mmh_worker *worker = &reader->context->workers[0];
    return mmh_reader_fetch(reader, worker, chunk, NULL) ? NULL : worker->stored;
}

static void say_container(mmh_reader *reader)
{
    const struct mmh_index *index = &reader->container.index;
    printf("hash %s\n", mmh_hash_suite_name(reader->container.hash_suite));
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
            const uint8_t *payload = chunk_payload(reader, block->model);
            if (payload)
                say_model(payload, mmh_reader_payload_bytes(reader, &index->chunks[block->model]),
                          block->bytes / mmh_dtype_scalar_bytes(block->dtype));
            printf("codec model\n");
        }
        for (uint64_t c = 0; c < count; c++) {
            uint64_t number = index->refs[block->first_ref + c];
            const struct mmh_chunk_entry *chunk = &index->chunks[number];
            const uint8_t *payload = chunk_payload(reader, number);
            if (payload)
                say_chunk(chunk->codec_id, payload, mmh_reader_payload_bytes(reader, chunk));
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

/* What stands in the trailer. */
static void say_guards(mmh_context *context, const char *container)
{
    mmh_security *security;
    mmh_security_info info = { .struct_size = sizeof info };
    mmh_recipient_info recipient = { .struct_size = sizeof recipient };
    mmh_signature_info signature = { .struct_size = sizeof signature };
    if (mmh_security_open(context, container, NULL, 0, NULL, &security, NULL))
        return;
    (void)mmh_security_get(security, &info, NULL);
    if (info.encrypted)
        printf("encryption %s\n", info.aead);
    for (size_t i = 0; !mmh_security_recipient(security, i, &recipient, NULL); i++)
        printf("recipient %s\n", recipient.algorithm);
    for (size_t i = 0; !mmh_security_signature(security, i, &signature, NULL); i++)
        printf("signature %s\n", signature.algorithm);
    if (info.parity)
        printf("parity\n");
    mmh_security_close(security);
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
        if (mmh_aead_name(id))
            printf("encryption %s\n", mmh_aead_name(id));
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
    mmh_context *context;
    mmh_reader *reader = NULL;
    mmh_key *key = NULL;
    mmh_error err = { .status = MMH_OK };
    if (argc == 1) {
        say_tables();
        return 0;
    }
    if (argc > 3) {
        fprintf(stderr, "usage: golden_features [CONTAINER [KEY]]\n");
        return 2;
    }
    mmh_status status = mmh_context_create(&context, NULL, &err);
    if (status == MMH_OK && argc == 3)
        status = mmh_key_read(&key, argv[2], NULL, NULL, &err);
    if (status == MMH_OK && key)
        status = mmh_context_add_key(context, key, &err);
    if (status == MMH_OK)
        status = mmh_open(context, argv[1], &reader, &err);
    if (status == MMH_OK) {
        say_container(reader);
        say_guards(context, argv[1]);
    } else {
        fprintf(stderr, "%s\n", err.message);
    }
    mmh_close(reader);
    mmh_context_destroy(context);
    mmh_key_destroy(key);
    return status == MMH_OK ? 0 : 1;
}
