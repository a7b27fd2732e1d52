/*
 * The container room: what was written is read, damage is found or mended, hostile indexes are refused.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zstd.h>

#include "base/bits.h"
#include "container/layout.h"
#include "container/trailer.h"
#include "integrity/digest.h"
#include "tensor/extent.h"

/* A container in memory. */
struct image {
    uint8_t *data;
    size_t bytes, room;
};

static mmh_status image_sink(void *context, const void *data, size_t bytes, mmh_error *err)
{
    struct image *image = context;
    (void)err;
    if (image->bytes + bytes > image->room) {
        image->room = (image->bytes + bytes) * 2;
        image->data = realloc(image->data, image->room);
        assert_non_null(image->data);
    }
    memcpy(image->data + image->bytes, data, bytes);
    image->bytes += bytes;
    return MMH_OK;
}

static mmh_status image_read(void *context, void *dst, uint64_t offset, size_t bytes,
                             mmh_error *err)
{
    const struct image *image = context;
    if (offset > image->bytes || bytes > image->bytes - offset)
        return mmh_fail(err, MMH_E_CORRUPT, "past the end");
    memcpy(dst, image->data + offset, bytes);
    return MMH_OK;
}

static mmh_status image_open(mmh_container_reader *reader, struct image *image, bool spares,
                             mmh_error *err)
{
    return mmh_container_open(reader, image_read, image, image->bytes, 1 << 30, spares, NULL, err);
}

static void chunk_set_with(struct mmh_stored_chunk *chunk, const uint8_t *data, uint32_t bytes,
                           unsigned hash_suite)
{
    memset(chunk, 0, sizeof *chunk);
    chunk->data = data;
    chunk->bytes = bytes;
    assert_int_equal(mmh_hash(chunk->hash, hash_suite, MMH_DOMAIN_CHUNK, data, bytes, NULL),
                     MMH_OK);
}

static void chunk_set(struct mmh_stored_chunk *chunk, const uint8_t *data, uint32_t bytes)
{
    chunk_set_with(chunk, data, bytes, mmh_hash_suite_default());
}

enum { CHUNK = 1000, BLOCK = 2500 };

/* Two files of opaque blocks, a folder, a symlink, tensors, metadata; block 2 equals block 0. */
static void image_make_with(struct image *image, size_t extra_tensors, unsigned hash_suite,
                            mmh_container_guard *guard, void *guard_context)
{
    static uint8_t data[3][BLOCK];
    struct mmh_container_options options = { .hash_suite = hash_suite,
                                             .level = 5,
                                             .writer = "test",
                                             .guard = guard,
                                             .guard_context = guard_context };
    mmh_container_writer *writer;
    memset(image, 0, sizeof *image);
    for (size_t b = 0; b < 3; b++)
        for (size_t i = 0; i < BLOCK; i++)
            data[b][i] = (uint8_t)(i * 7 + (b % 2) * 31);
    assert_int_equal(mmh_container_writer_create(&writer, &options, image_sink, image, NULL, NULL),
                     MMH_OK);
    for (size_t b = 0; b < 3; b++) {
        struct mmh_stored_chunk chunks[3];
        for (size_t c = 0; c < 3; c++)
            chunk_set_with(&chunks[c], data[b] + c * CHUNK, c < 2 ? CHUNK : BLOCK - 2 * CHUNK,
                           hash_suite);
        struct mmh_block_record block = { .dtype = MMH_DTYPE_OPAQUE,
                                          .bytes = BLOCK,
                                          .chunk_bytes = CHUNK,
                                          .floor_bytes = 99,
                                          .chunks = chunks };
        assert_int_equal(mmh_container_write_block(writer, &block, NULL), MMH_OK);
    }
    const struct mmh_metadata_entry metadata = { "format", "pt" };
    const struct mmh_file_record files[] = {
        { .name = ".", .kind = MMH_FILE_FOLDER, .mode = 0755 },
        { .name = "a.bin",
          .kind = MMH_FILE_REGULAR,
          .mode = 0644,
          .bytes = 2 * BLOCK,
          .block_count = 2,
          .metadata = &metadata,
          .metadata_count = 1 },
        { .name = "b", .kind = MMH_FILE_FOLDER, .mode = 0700 },
        { .name = "b/c.bin",
          .kind = MMH_FILE_REGULAR,
          .mode = 0600,
          .bytes = BLOCK,
          .block_count = 1,
          .has_time = true,
          .time_seconds = 12345 },
        { .name = "b/link", .kind = MMH_FILE_SYMLINK, .mode = 0777, .target = "c.bin" },
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        assert_int_equal(mmh_container_write_file(writer, &files[i], NULL), MMH_OK);
    const uint64_t shape[] = { 10, 20 };
    struct mmh_tensor_record tensor = { .file = 1,
                                        .name = "weight",
                                        .dtype = MMH_DTYPE_BF16,
                                        .dimensions = 2,
                                        .shape = shape,
                                        .offset = 100,
                                        .bytes = 400 };
    assert_int_equal(mmh_container_write_tensor(writer, &tensor, NULL), MMH_OK);
    tensor.file = 3;
    tensor.name = "bias";
    for (size_t i = 0; i <= extra_tensors; i++)
        assert_int_equal(mmh_container_write_tensor(writer, &tensor, NULL), MMH_OK);
    struct mmh_container_totals totals;
    assert_int_equal(mmh_container_finish(writer, &totals, NULL), MMH_OK);
    assert_int_equal(totals.container_bytes, image->bytes);
    assert_int_equal(totals.chunk_count, 6);
    assert_int_equal(totals.shared_chunks, 3);
    assert_int_equal(totals.shared_bytes, BLOCK);
    mmh_container_writer_destroy(writer);
}

static void image_make(struct image *image, size_t extra_tensors)
{
    image_make_with(image, extra_tensors, mmh_hash_suite_default(), NULL, NULL);
}

static void test_container_gives_back_what_was_written(void **state)
{
    (void)state;
    struct image image;
    mmh_container_reader reader;
    image_make(&image, 20000); /* several pages */
    assert_int_equal(image_open(&reader, &image, true, NULL), MMH_OK);
    const struct mmh_index *index = &reader.index;
    assert_int_equal(reader.mended, 0);
    assert_int_equal(index->file_count, 5);
    assert_int_equal(index->block_count, 3);
    assert_int_equal(index->chunk_count, 6);
    assert_int_equal(index->ref_count, 9);
    assert_string_equal(index->files[1].record.name, "a.bin");
    assert_string_equal(index->files[1].record.metadata[0].value, "pt");
    assert_int_equal(index->files[3].record.time_seconds, 12345);
    assert_string_equal(index->files[4].record.target, "c.bin");
    assert_int_equal(index->files[3].first_block, 2);
    assert_int_equal(index->refs[index->blocks[2].first_ref], index->refs[0]);
    assert_int_equal(index->blocks[1].file_offset, BLOCK);
    assert_int_equal(index->tensor_count, 20002);
    assert_string_equal(index->tensors[0].name, "weight");
    assert_int_equal(index->tensors[0].shape[1], 20);
    for (uint64_t i = 0; i < index->chunk_count; i++) {
        const struct mmh_chunk_entry *chunk = &index->chunks[i];
        assert_int_equal(chunk->offset % MMH_SMALL_ALIGNMENT, 0);
        assert_int_equal(mmh_container_check_chunk(&reader, i, image.data + chunk->offset, NULL),
                         MMH_OK);
        image.data[chunk->offset] ^= 1;
        assert_int_equal(mmh_container_check_chunk(&reader, i, image.data + chunk->offset, NULL),
                         MMH_E_CORRUPT);
        image.data[chunk->offset] ^= 1;
    }
    mmh_container_close(&reader);
    free(image.data);
}

/* Of each suite, whose hashes have 32 bytes or 48: root, digests and chunk hashes are whole. */
static void test_hashes_of_every_length_are_kept(void **state)
{
    (void)state;
    for (unsigned suite = MMH_HASH_BLAKE3; suite <= MMH_HASH_SHA384; suite++) {
        struct image image;
        mmh_container_reader reader;
        static const uint8_t zeros[MMH_HASH_BYTES];
        size_t bytes = mmh_hash_bytes(suite);
        if (!mmh_hash_suite_available(suite))
            continue;
        image_make_with(&image, 20000, suite, NULL, NULL);
        assert_int_equal(image_open(&reader, &image, true, NULL), MMH_OK);
        assert_int_equal(reader.mended, 0);
        assert_int_equal(reader.hash_bytes, bytes);
        assert_memory_not_equal(reader.root + bytes - 8, zeros, 8);
        assert_memory_equal(reader.root + bytes, zeros, MMH_HASH_BYTES - bytes);
        for (uint64_t i = 0; i < reader.index.chunk_count; i++) {
            const struct mmh_chunk_entry *chunk = &reader.index.chunks[i];
            uint8_t hash[MMH_HASH_BYTES];
            assert_int_equal(mmh_hash(hash, suite, MMH_DOMAIN_CHUNK, image.data + chunk->offset,
                                      chunk->bytes, NULL),
                             MMH_OK);
            assert_memory_equal(chunk->hash, hash, bytes);
        }
        mmh_container_close(&reader);
        /* The last byte of a root counts as the first does. */
        uint8_t *footer = image.data + image.bytes - MMH_FOOTER_BYTES;
        footer[suite == MMH_HASH_SHA384 ? 239 : 95] ^= 1;
        mmh_store32(footer + 252, mmh_crc32(footer, 252));
        assert_int_equal(image_open(&reader, &image, false, NULL), MMH_E_CORRUPT);
        free(image.data);
    }
}

static mmh_status add_sections(void *context, struct mmh_buffer *trailer,
                               const uint8_t header[MMH_HEADER_BYTES], const uint8_t *root,
                               size_t root_bytes, mmh_error *err)
{
    (void)err;
    assert_memory_equal(header, "\x89MMH", 4);
    mmh_trailer_add(trailer, MMH_SECTION_SIGNATURES, root, root_bytes);
    mmh_trailer_add(trailer, 77, "unknown", 7);
    mmh_trailer_add(trailer, MMH_SECTION_PARITY, context, 100);
    return MMH_OK;
}

static const uint8_t hundred[100] = "a hundred bytes, most of them zeros";

/* Sections come back by their types; what is not known is passed over, and kept. */
static void test_sections_come_back(void **state)
{
    struct image image;
    mmh_container_reader reader;
    struct mmh_trailer trailer;
    struct mmh_buffer kept;
    (void)state;
    image_make_with(&image, 0, MMH_HASH_SHA256, add_sections, (void *)hundred);
    assert_int_equal(image_open(&reader, &image, true, NULL), MMH_OK);
    assert_int_equal(reader.mended, 0);
    const struct mmh_section *sections = reader.trailer.sections;
    assert_true(reader.trailer.fits && reader.trailer.sound);
    assert_false(sections[MMH_SECTION_RECIPIENTS].present);
    assert_int_equal(sections[MMH_SECTION_SIGNATURES].bytes, reader.hash_bytes);
    assert_memory_equal(sections[MMH_SECTION_SIGNATURES].data, reader.root, reader.hash_bytes);
    assert_int_equal(sections[MMH_SECTION_PARITY].bytes, 100);
    assert_memory_equal(image.data + sections[MMH_SECTION_PARITY].offset, hundred, 100);
    mmh_buffer_init(&kept, NULL);
    mmh_trailer_keep(&kept, &reader.trailer, 1u << MMH_SECTION_SIGNATURES);
    assert_int_equal(kept.bytes, 16 + 8 + 16 + 104);
    assert_memory_equal(kept.data + 16, "unknown", 8);
    assert_memory_equal(kept.data + 40, hundred, 100);
    mmh_buffer_release(&kept);
    /* Every byte of it counts, and is told. */
    struct mmh_footer footer = reader.footer;
    mmh_container_close(&reader);
    for (uint64_t at = footer.trailer; at < footer.trailer + footer.trailer_bytes; at++) {
        image.data[at] ^= 0x40;
        assert_int_equal(image_open(&reader, &image, true, NULL), MMH_OK);
        assert_int_equal(reader.mended, MMH_TRAILER_DAMAGED);
        mmh_container_close(&reader);
        assert_int_equal(image_open(&reader, &image, false, NULL), MMH_OK);
        mmh_container_close(&reader);
        image.data[at] ^= 0x40;
    }
    for (size_t cut = 1; cut <= footer.trailer_bytes; cut++) {
        struct mmh_footer shorter = footer;
        shorter.trailer_bytes -= cut;
        assert_int_equal(
            mmh_trailer_read(&trailer, &shorter, image_read, &image, image.bytes, NULL, NULL),
            MMH_OK);
        bool whole = cut == footer.trailer_bytes || cut == 16 + 104 || cut == 16 + 104 + 16 + 8;
        assert_int_equal(trailer.fits, whole);
        mmh_trailer_release(&trailer);
    }
    free(image.data);
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

/* The bytes that a tensor's type, shape and strides say; an opaque one's without strides stay. */
static bool set_bytes(struct mmh_tensor_record *tensor)
{
    if (tensor->dtype == MMH_DTYPE_OPAQUE && !tensor->strides)
        return true;
    return mmh_shape_bytes(&tensor->bytes, tensor->dtype, tensor->dimensions, tensor->shape) &&
           (!tensor->strides || mmh_strides_bytes(&tensor->bytes, tensor->dtype, tensor->dimensions,
                                                  tensor->shape, tensor->strides));
}

/* A tensor of any kind that lies within a file of so many bytes. */
static void any_tensor(struct mmh_tensor_record *tensor, uint64_t *shape, uint64_t *strides,
                       uint64_t file_bytes, uint64_t *random)
{
    do {
        *tensor = (struct mmh_tensor_record){
            .name = next_random(random) % 8 ? "w" : "",
            .dtype = (mmh_dtype)(next_random(random) % MMH_DTYPE_COUNT),
            .dimensions = (uint32_t)next_random(random) % 4,
            .big_endian = next_random(random) % 4 == 0,
            .column_major = next_random(random) % 4 == 0,
            .shape = shape,
            .bytes = next_random(random) % 300,
        };
        unsigned bytes, unit = mmh_dtype_block(tensor->dtype, &bytes);
        for (uint32_t d = 0; d < tensor->dimensions; d++) {
            shape[d] = next_random(random) % 6;
            strides[d] = next_random(random) % 40;
        }
        if (tensor->dimensions && unit)
            shape[tensor->dimensions - 1] *= unit;
        if (next_random(random) % 3 == 0 && !tensor->column_major)
            tensor->strides = strides;
    } while (!set_bytes(tensor) || tensor->bytes > file_bytes);
    tensor->offset = next_random(random) % (file_bytes - tensor->bytes + 1);
}

/* Tensors of all types, with and without strides, in any order in their files, come back alike. */
static void test_tensors_come_back_in_every_column(void **state)
{
    enum { TENSORS = 3000, DIMENSIONS = 4, FILES = 3 };
    static struct mmh_tensor_record tensors[TENSORS];
    static uint64_t shapes[TENSORS][DIMENSIONS], strides[TENSORS][DIMENSIONS];
    static uint8_t data[BLOCK];
    struct mmh_container_options options = { .hash_suite = mmh_hash_suite_default(),
                                             .level = 5,
                                             .writer = "test" };
    struct image image = { 0 };
    mmh_container_writer *writer;
    mmh_container_reader reader;
    uint64_t random = 12;
    unsigned strided = 0;
    (void)state;
    assert_int_equal(mmh_container_writer_create(&writer, &options, image_sink, &image, NULL, NULL),
                     MMH_OK);
    for (unsigned f = 0; f < FILES; f++) {
        struct mmh_stored_chunk chunk;
        chunk_set(&chunk, data, BLOCK);
        struct mmh_block_record block = { .bytes = BLOCK, .chunk_bytes = BLOCK, .chunks = &chunk };
        assert_int_equal(mmh_container_write_block(writer, &block, NULL), MMH_OK);
        const char *const names[FILES] = { "a", "b", "c" };
        struct mmh_file_record file = {
            .name = names[f], .kind = MMH_FILE_REGULAR, .bytes = BLOCK, .block_count = 1
        };
        assert_int_equal(mmh_container_write_file(writer, &file, NULL), MMH_OK);
    }
    for (size_t i = 0; i < TENSORS; i++) {
        any_tensor(&tensors[i], shapes[i], strides[i], BLOCK, &random);
        tensors[i].file = i * FILES / TENSORS / 2 * 2; /* "b" has none */
        strided += tensors[i].strides != NULL;
        assert_int_equal(mmh_container_write_tensor(writer, &tensors[i], NULL), MMH_OK);
    }
    struct mmh_container_totals totals;
    assert_int_equal(mmh_container_finish(writer, &totals, NULL), MMH_OK);
    mmh_container_writer_destroy(writer);
    assert_int_equal(image_open(&reader, &image, true, NULL), MMH_OK);
    assert_int_equal(reader.index.tensor_count, TENSORS);
    assert_in_range(strided, TENSORS / 10, TENSORS / 2);
    for (size_t i = 0; i < TENSORS; i++) {
        const struct mmh_tensor_record *was = &tensors[i], *is = &reader.index.tensors[i];
        assert_int_equal(is->file, was->file);
        assert_string_equal(is->name, was->name);
        assert_int_equal(is->dtype, was->dtype);
        assert_int_equal(is->big_endian, was->big_endian);
        assert_int_equal(is->column_major, was->column_major);
        assert_int_equal(is->offset, was->offset);
        assert_int_equal(is->bytes, was->bytes);
        assert_int_equal(is->dimensions, was->dimensions);
        assert_int_equal(is->strides != NULL, was->strides != NULL);
        size_t bytes = was->dimensions * sizeof *was->shape;
        if (bytes)
            assert_memory_equal(is->shape, was->shape, bytes);
        if (bytes && was->strides)
            assert_memory_equal(is->strides, was->strides, bytes);
    }
    for (unsigned f = 0; f < FILES; f++)
        assert_int_equal(reader.index.files[f].tensor_count, f == 1   ? 0
                                                             : f == 0 ? TENSORS * 2 / FILES
                                                                      : TENSORS / FILES);
    mmh_container_close(&reader);
    free(image.data);
}

/* Every byte outside the chunks, damaged: noticed when spares are checked, and never believed. */
static void test_container_finds_every_damaged_byte(void **state)
{
    (void)state;
    struct image image;
    mmh_container_reader reader;
    image_make(&image, 0);
    assert_int_equal(image_open(&reader, &image, false, NULL), MMH_OK);
    uint64_t first = reader.index.chunks[0].offset;
    uint64_t last = reader.index.chunks[5].offset + reader.index.chunks[5].bytes;
    uint8_t root[MMH_HASH_BYTES];
    memcpy(root, reader.root, sizeof root);
    mmh_container_close(&reader);
    static const uint8_t flips[] = { 0x01, 0x80, 0xff };
    for (size_t at = 0; at < image.bytes; at++) {
        if (at >= first && at < last)
            continue; /* chunks and the padding between them */
        for (size_t f = 0; f < sizeof flips; f++) {
            image.data[at] ^= flips[f];
            mmh_status status = image_open(&reader, &image, true, NULL);
            if (status == MMH_OK) {
                assert_int_not_equal(reader.mended, 0);
                assert_memory_equal(reader.root, root, sizeof root);
                assert_string_equal(reader.index.files[1].record.name, "a.bin");
                mmh_container_close(&reader);
            } else {
                assert_true(status == MMH_E_CORRUPT || status == MMH_E_UNSUPPORTED);
            }
            image.data[at] ^= flips[f];
        }
    }
    free(image.data);
}

static void test_container_refuses_every_truncation_that_loses_the_index(void **state)
{
    (void)state;
    struct image image;
    mmh_container_reader reader;
    image_make(&image, 0);
    size_t bytes = image.bytes;
    for (image.bytes = 0; image.bytes < bytes; image.bytes++) {
        mmh_status status = image_open(&reader, &image, false, NULL);
        if (status == MMH_OK) { /* index A and the spare footer are still there */
            assert_true(reader.mended & MMH_MENDED_FOOTER);
            mmh_container_close(&reader);
        } else {
            assert_int_equal(status, MMH_E_CORRUPT);
        }
    }
    free(image.data);
}

/* Give a decoded index its pages, compressed or not, and a right root: a hostile writer can. */
static void image_seal(struct image *image, const uint8_t *index, size_t index_bytes,
                       uint64_t index_a, bool compressed)
{
    size_t count = mmh_divide_up(index_bytes, MMH_PAGE_BYTES);
    size_t entry_bytes = mmh_page_entry_bytes(mmh_hash_suite_default());
    size_t table_bytes = count * entry_bytes, bytes = table_bytes;
    size_t room = ZSTD_compressBound(MMH_PAGE_BYTES);
    uint8_t *pages = malloc(table_bytes + count * room), foot[MMH_FOOTER_BYTES];
    struct mmh_footer footer = { 0 };
    unsigned suite = mmh_hash_suite_default();
    assert_non_null(pages);
    memcpy(footer.header, image->data, MMH_HEADER_BYTES);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *page = index + i * MMH_PAGE_BYTES;
        size_t decoded = MMH_MIN(index_bytes - i * MMH_PAGE_BYTES, (size_t)MMH_PAGE_BYTES);
        size_t stored = ZSTD_compress(pages + bytes, room, page, decoded, 9);
        if (!compressed || ZSTD_isError(stored) || stored >= decoded)
            memcpy(pages + bytes, page, stored = decoded);
        mmh_store32(pages + i * entry_bytes, (uint32_t)stored);
        mmh_store32(pages + i * entry_bytes + 4, (uint32_t)decoded);
        assert_int_equal(mmh_hash(pages + i * entry_bytes + 8, suite, MMH_DOMAIN_PAGE,
                                  pages + bytes, stored, NULL),
                         MMH_OK);
        bytes += stored;
    }
    assert_int_equal(mmh_root_hash(footer.root, suite, footer.header, pages, table_bytes, NULL),
                     MMH_OK);
    footer.index_a = index_a;
    footer.table_bytes = (uint32_t)table_bytes;
    footer.page_count = (uint32_t)count;
    footer.index_bytes = bytes;
    footer.trailer = footer.index_a + footer.index_bytes;
    footer.index_b = footer.trailer + MMH_FOOTER_BYTES;
    footer.container_bytes = footer.index_b + footer.index_bytes + MMH_FOOTER_BYTES;
    mmh_footer_write(foot, &footer);
    image->bytes = (size_t)index_a;
    for (int copy = 0; copy < 2; copy++) {
        image_sink(image, pages, bytes, NULL);
        image_sink(image, foot, sizeof foot, NULL);
    }
    free(pages);
}

/* Read all that an accepted index offers, as the engine would. */
static void touch_everything(const mmh_container_reader *reader)
{
    const struct mmh_index *index = &reader->index;
    uint64_t sum = 0;
    for (uint64_t b = 0; b < index->block_count; b++) {
        const struct mmh_block_entry *block = &index->blocks[b];
        assert_true(block->bytes && block->chunk_bytes);
        uint64_t refs = mmh_divide_up(block->bytes, block->chunk_bytes);
        assert_true(block->first_ref + refs <= index->ref_count);
        for (uint64_t r = 0; r < refs; r++) {
            uint32_t chunk = index->refs[block->first_ref + r];
            assert_true(chunk < index->chunk_count);
            assert_true(index->chunks[chunk].offset + index->chunks[chunk].bytes <=
                        reader->container_bytes);
        }
        assert_true(block->file < index->file_count);
    }
    for (uint64_t f = 0; f < index->file_count; f++)
        sum += strlen(index->files[f].record.name);
    for (uint64_t t = 0; t < index->tensor_count; t++) {
        const struct mmh_tensor_record *tensor = &index->tensors[t];
        assert_true(tensor->offset + tensor->bytes <= index->files[tensor->file].record.bytes);
        sum += tensor->dimensions ? tensor->shape[0] : 0;
    }
    (void)sum;
}

static void test_hostile_indexes_are_refused_or_consistent(void **state)
{
    (void)state;
    struct image image;
    mmh_container_reader reader;
    struct mmh_footer footer;
    image_make(&image, 0);
    assert_true(mmh_footer_read(&footer, image.data + image.bytes - MMH_FOOTER_BYTES));
    /* The index of this image is small and compresses, so take it from a reader's view: write
     * the decoded pages again as one stored page. */
    uint8_t *index = malloc(MMH_PAGE_BYTES);
    assert_non_null(index);
    uint32_t stored = mmh_load32(image.data + footer.index_a);
    uint32_t decoded = mmh_load32(image.data + footer.index_a + 4);
    const uint8_t *page = image.data + footer.index_a + footer.table_bytes;
    if (stored == decoded) {
        memcpy(index, page, decoded);
    } else {
        assert_int_equal(ZSTD_decompress(index, MMH_PAGE_BYTES, page, stored), decoded);
    }
    uint8_t *mutant = malloc(decoded + 64);
    assert_non_null(mutant);
    image_seal(&image, index, decoded, footer.index_a, false);
    assert_int_equal(image_open(&reader, &image, true, NULL), MMH_OK);
    mmh_container_close(&reader);
    uint64_t random = 1;
    size_t accepted = 0;
    for (int round = 0; round < 30000; round++) {
        size_t bytes = decoded;
        memcpy(mutant, index, decoded);
        unsigned changes = 1 + (unsigned)next_random(&random) % 4;
        for (unsigned c = 0; c < changes; c++) {
            size_t at = (size_t)next_random(&random) % bytes;
            switch (next_random(&random) % 4) {
            case 0:
                mutant[at] ^= (uint8_t)(1u << next_random(&random) % 8);
                break;
            case 1:
                mutant[at] = (uint8_t)next_random(&random);
                break;
            case 2:
                mutant[at] = 0xff;
                break;
            default:
                bytes -= (size_t)next_random(&random) % (bytes / 2);
                break;
            }
        }
        image_seal(&image, mutant, bytes, footer.index_a, false);
        mmh_status status = image_open(&reader, &image, false, NULL);
        if (status == MMH_OK) {
            touch_everything(&reader);
            mmh_container_close(&reader);
            accepted++;
        } else {
            assert_true(status == MMH_E_CORRUPT || status == MMH_E_UNSUPPORTED);
        }
    }
    assert_true(accepted > 0); /* else the test tested nothing but the first check */
    free(mutant);
    free(index);
    free(image.data);
}

/* The system's memory; `user` counts what was asked for. */
static void *counted_allocate(void *user, size_t alignment, size_t bytes)
{
    void *memory = NULL;
    *(uint64_t *)user += bytes;
    return posix_memalign(&memory, alignment, bytes) ? NULL : memory;
}

static void counted_release(void *user, void *memory)
{
    (void)user;
    free(memory);
}

enum emptiness { METADATA, TENSORS, EXTENSIONS, EMPTINESS_COUNT };

/* An index of about `bytes` that says next to nothing, many times. */
static void empty_index(struct mmh_buffer *out, enum emptiness emptiness, size_t bytes)
{
    enum { TENSOR_BYTES = 8, BEFORE_DIMENSIONS = 4 }; /* opaque, without a name, of the shape [0] */
    mmh_buffer_u32(out, MMH_INDEX_VERSION);
    mmh_buffer_zeros(out, 1); /* chunks */
    mmh_buffer_zeros(out, 2); /* writer, level */
    mmh_buffer_zeros(out, 1); /* blocks */
    if (emptiness == METADATA) {
        mmh_buffer_u8(out, 1);
        mmh_buffer_bytes(out, "\1a\1\0\0", 5); /* a folder: name, kind, format, mode */
        mmh_buffer_u8(out, 0);
        mmh_buffer_varint(out, bytes / 2);
        mmh_buffer_zeros(out, bytes / 2 * 2);
        mmh_buffer_zeros(out, 2); /* tensors, extensions */
    } else if (emptiness == TENSORS) {
        mmh_buffer_u8(out, 1);
        mmh_buffer_bytes(out, "\1a\0\0\0", 5);
        mmh_buffer_zeros(out, 1 + 1 + mmh_hash_bytes(mmh_hash_suite_default()) +
                                  2); /* time, size, digest, blocks, metadata */
        size_t count = bytes / TENSOR_BYTES;
        mmh_buffer_varint(out, count);
        mmh_buffer_zeros(out, BEFORE_DIMENSIONS * count);
        for (size_t i = 0; i < count; i++)
            mmh_buffer_u8(out, 1);
        mmh_buffer_zeros(out, (TENSOR_BYTES - BEFORE_DIMENSIONS - 1) * count);
        mmh_buffer_u8(out, 0);
    } else {
        mmh_buffer_zeros(out, 2); /* files, tensors */
        mmh_buffer_varint(out, bytes / 2);
        mmh_buffer_zeros(out, bytes / 2 * 2);
    }
    assert_int_equal(mmh_buffer_finish(out, "index", NULL), MMH_OK);
}

/* A small container may not claim a large index; one that it may have takes bounded memory. */
static void test_small_containers_ask_for_little(void **state)
{
    (void)state;
    static const size_t sizes[] = { 1 << 19, 1000000, 1 << 21, 1 << 25 };
    struct image image;
    uint64_t asked = 0;
    const mmh_allocator allocator = { counted_allocate, counted_release, &asked };
    image_make(&image, 0);
    for (int emptiness = 0; emptiness < EMPTINESS_COUNT; emptiness++)
        for (size_t i = 0; i < MMH_COUNT_OF(sizes); i++) {
            struct mmh_buffer index;
            mmh_container_reader reader;
            mmh_buffer_init(&index, NULL);
            empty_index(&index, (enum emptiness)emptiness, sizes[i]);
            image_seal(&image, index.data, index.bytes, MMH_HEADER_BYTES, true);
            assert_true(image.bytes < 256 << 10);
            asked = 0;
            mmh_status status = mmh_container_open(&reader, image_read, &image, image.bytes,
                                                   1 << 30, false, &allocator, NULL);
            assert_int_equal(status, sizes[i] <= 1000000 ? MMH_OK : MMH_E_CORRUPT);
            assert_true(asked < 64 << 20);
            if (status == MMH_OK)
                mmh_container_close(&reader);
            else
                assert_true(asked < 1 << 20);
            mmh_buffer_release(&index);
        }
    free(image.data);
}

/* What we write we read: an index that compresses too well is kept large enough. */
static void test_writer_keeps_to_the_bound_of_the_index(void **state)
{
    (void)state;
    struct image image;
    mmh_container_reader reader;
    image_make(&image, 400000);
    assert_int_equal(image_open(&reader, &image, true, NULL), MMH_OK);
    assert_int_equal(reader.index.tensor_count, 400002);
    assert_true(reader.index_bytes < 1 << 20);
    mmh_container_close(&reader);
    free(image.data);
}

static void test_newer_versions_are_named_not_called_damaged(void **state)
{
    (void)state;
    struct image image;
    mmh_container_reader reader;
    mmh_error err = { 0 };
    image_make(&image, 0);
    mmh_store16(image.data + 8, 4);
    /* The checksum is looked at first: this is damage, which the footer's copy mends. */
    assert_int_equal(image_open(&reader, &image, false, &err), MMH_OK);
    assert_int_equal(reader.mended, MMH_MENDED_HEADER);
    mmh_container_close(&reader);
    mmh_store16(image.data + 8, MMH_FORMAT_MAJOR);
    mmh_store32(image.data + 16, 1u << 9);
    uint32_t crc = mmh_load32(image.data + 124);
    /* A right checksum over an unknown feature. */
    uint8_t header[MMH_HEADER_BYTES];
    memcpy(header, image.data, sizeof header);
    uint32_t value = 0xffffffff; /* CRC-32, IEEE, bit by bit */
    for (size_t i = 0; i < 124; i++) {
        value ^= header[i];
        for (int k = 0; k < 8; k++)
            value = value >> 1 ^ (value & 1 ? 0xedb88320 : 0);
    }
    mmh_store32(header + 124, ~value);
    assert_int_not_equal(crc, mmh_load32(header + 124));
    memcpy(image.data, header, sizeof header);
    err = (mmh_error){ 0 };
    assert_int_equal(image_open(&reader, &image, false, &err), MMH_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "features"));
    free(image.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_container_gives_back_what_was_written),
        cmocka_unit_test(test_hashes_of_every_length_are_kept),
        cmocka_unit_test(test_sections_come_back),
        cmocka_unit_test(test_tensors_come_back_in_every_column),
        cmocka_unit_test(test_container_finds_every_damaged_byte),
        cmocka_unit_test(test_container_refuses_every_truncation_that_loses_the_index),
        cmocka_unit_test(test_hostile_indexes_are_refused_or_consistent),
        cmocka_unit_test(test_small_containers_ask_for_little),
        cmocka_unit_test(test_writer_keeps_to_the_bound_of_the_index),
        cmocka_unit_test(test_newer_versions_are_named_not_called_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
