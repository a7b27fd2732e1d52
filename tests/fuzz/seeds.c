/*
 * Seeds of the fuzz targets out of golden containers: seeds CONTAINER NAME CORPUS
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Writes CORPUS/container/NAME.parts (fuzz_container.c) and CORPUS/codec/NAME-N.chunk
 * (fuzz_codec.c), one for each kind of chunk that the container has.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/bits.h"
#include "base/io.h"
#include "codec/codec_private.h"
#include "container/layout.h"

enum { CHUNK_BYTES_MAX = 9000, PARTS_BYTES_MAX = 10000, KINDS_MAX = 256 };

static const uint8_t *container;

static mmh_status read_at(void *context, void *dst, uint64_t offset, size_t bytes, mmh_error *err)
{
    (void)context;
    (void)err;
    memcpy(dst, container + offset, bytes);
    return MMH_OK;
}

static void put(const char *folder, const char *kind, const char *name, const char *suffix,
                const uint8_t *data, size_t bytes)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s/%s%s", folder, kind, name, suffix);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, bytes, file) != bytes || fclose(file)) {
        perror(path);
        exit(1);
    }
}

/* The decoded index, then the chunks. */
static void put_parts(const char *folder, const char *name, const struct mmh_footer *footer)
{
    const uint8_t *table = container + footer->index_a, *page = table + footer->table_bytes;
    size_t entry_bytes = mmh_page_entry_bytes(footer->header[14]);
    size_t chunks_bytes = (size_t)footer->index_a - MMH_HEADER_BYTES, bytes = 4;
    uint8_t *parts = malloc(4 + (size_t)footer->page_count * MMH_PAGE_BYTES + chunks_bytes);
    if (!parts)
        exit(1);
    for (uint32_t i = 0; i < footer->page_count; i++) {
        size_t stored = mmh_load32(table + i * entry_bytes);
        size_t decoded = mmh_load32(table + i * entry_bytes + 4);
        if (stored == decoded)
            memcpy(parts + bytes, page, stored);
        else if (ZSTD_decompress(parts + bytes, decoded, page, stored) != decoded)
            exit(1);
        bytes += decoded;
        page += stored;
    }
    mmh_store32(parts, (uint32_t)bytes - 4);
    memcpy(parts + bytes, container + MMH_HEADER_BYTES, chunks_bytes);
    bytes += chunks_bytes;
    if (bytes <= PARTS_BYTES_MAX)
        put(folder, "container", name, ".parts", parts, bytes);
    free(parts);
}

/* Chunks that differ in codec, type, model, or in what their payload makes use of, once each. */
static void put_chunks(const char *folder, const char *name, const struct mmh_index *index)
{
    uint64_t kinds[KINDS_MAX];
    unsigned count = 0;
    for (uint64_t b = 0; b < index->block_count; b++) {
        const struct mmh_block_entry *block = &index->blocks[b];
        const struct mmh_chunk_entry *chunk = &index->chunks[index->refs[block->first_ref]];
        const struct mmh_chunk_entry *model = block->has_model ? &index->chunks[block->model]
                                                               : NULL;
        size_t model_bytes = model ? model->bytes : 0, bytes = 12 + model_bytes + chunk->bytes;
        const uint8_t *payload = container + chunk->offset;
        uint8_t seed[12 + CHUNK_BYTES_MAX];
        if (bytes > sizeof seed || !chunk->bytes)
            continue;
        uint64_t kind = chunk->codec_id | (uint64_t)block->dtype << 8 |
                        (uint64_t)(model ? container[model->offset] : 0) << 16;
        if (chunk->codec_id == MMH_CODEC_FLOAT) /* its header, and whether there are patches */
            kind |= (uint64_t)payload[4] << 24 | (uint64_t)(mmh_load32(payload + 8) != 0) << 28 |
                    (uint64_t)mmh_load32(payload) << 32;
        if (chunk->codec_id == MMH_CODEC_ZERO_RUN)
            kind |= (uint64_t)mmh_load16(payload + 4) << 32;
        if (chunk->codec_id == MMH_CODEC_MIXED) /* element type, and the codecs of both parts */
            kind |= (uint64_t)mmh_load16(payload) << 32 |
                    (uint64_t)mmh_load16(container + model->offset + 1) << 48;
        bool known = false;
        for (unsigned i = 0; i < count; i++)
            known = known || kinds[i] == kind;
        if (known || count == KINDS_MAX)
            continue;
        kinds[count++] = kind;
        seed[0] = chunk->codec_id;
        seed[1] = (uint8_t)block->dtype;
        seed[2] = model != NULL;
        seed[3] = 0;
        mmh_store32(seed + 4, (uint32_t)MMH_MIN(block->bytes, (uint64_t)block->chunk_bytes));
        mmh_store32(seed + 8, (uint32_t)model_bytes);
        if (model)
            memcpy(seed + 12, container + model->offset, model_bytes);
        memcpy(seed + 12 + model_bytes, payload, chunk->bytes);
        char suffix[32];
        snprintf(suffix, sizeof suffix, "-%llu.chunk", (unsigned long long)b);
        put(folder, "codec", name, suffix, seed, bytes);
    }
}

int main(int argc, char **argv)
{
    uint8_t *data;
    size_t bytes;
    struct mmh_footer footer;
    mmh_container_reader reader;
    mmh_error err = { .status = MMH_OK };
    if (argc != 4) {
        fprintf(stderr, "usage: seeds CONTAINER NAME CORPUS\n");
        return 2;
    }
    if (mmh_input_slurp(&data, &bytes, argv[1], 1 << 24, NULL, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    container = data;
    if (mmh_container_open(&reader, read_at, NULL, bytes, 1 << 24, false, NULL, &err) ||
        !mmh_footer_read(&footer, data + bytes - MMH_FOOTER_BYTES)) {
        fprintf(stderr, "%s: %s\n", argv[1], err.message);
        return 1;
    }
    put_parts(argv[3], argv[2], &footer);
    put_chunks(argv[3], argv[2], &reader.index);
    mmh_container_close(&reader);
    mmh_free(NULL, data);
    return 0;
}
