/*
 * The container writer: places chunks, shares equal ones, and ends with the index, twice.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include <zstd.h>

#include "base/bits.h"
#include "container/layout.h"

/* Small appends are gathered here, so that padding and small chunks do not each cost a call. */
enum { GATHER_BYTES = 1 << 20, SMALL_INDEX_PAGES = 4 };

/* What is remembered of a stored chunk, to find equal ones. */
struct chunk_note {
    uint32_t bytes;
    uint8_t codec_id;
};

/* The tensor table, docs/format.md section 5, column by column. */
enum {
    COLUMN_FILE,
    COLUMN_NAME,
    COLUMN_TYPE,
    COLUMN_FLAGS,
    COLUMN_DIMENSIONS,
    COLUMN_SHAPE,
    COLUMN_STRIDES,
    COLUMN_BYTES,
    COLUMN_PLACE,
    TENSOR_COLUMNS
};

struct mmh_container_writer {
    const mmh_allocator *allocator;
    mmh_container_sink *sink;
    void *sink_context;
    struct mmh_container_options options;
    uint8_t header[MMH_HEADER_BYTES];

    uint8_t *gathered;
    size_t gathered_bytes;
    uint64_t position;  /* container bytes so far, gathered ones included */
    uint64_t chunk_end; /* end of the last chunk */

    struct mmh_buffer codecs, sizes, gaps, hashes; /* the chunk table, column by column */
    struct mmh_buffer blocks, files;
    struct mmh_buffer tensors[TENSOR_COLUMNS];
    struct mmh_buffer notes; /* struct chunk_note[] */
    uint64_t chunk_count, block_count, file_count, tensor_count;
    uint64_t next_chunk; /* docs/format.md section 5, `next` */
    uint64_t last_file;  /* of the tensors */
    uint64_t tensor_end; /* of the last one, in it */
    uint64_t shared_chunks, shared_bytes, floor_bytes;

    uint32_t *table;   /* open addressing: chunk number + 1, by hash */
    size_t table_room; /* a power of two */
};

static void buffer_svarint(struct mmh_buffer *buffer, int64_t value)
{
    mmh_buffer_varint(buffer, ((uint64_t)value << 1) ^ (0 - (uint64_t)(value < 0)));
}

static void buffer_string(struct mmh_buffer *buffer, const char *text)
{
    size_t bytes = strlen(text);
    mmh_buffer_varint(buffer, bytes);
    mmh_buffer_bytes(buffer, text, bytes);
}

static mmh_status flush(mmh_container_writer *writer, mmh_error *err)
{
    size_t bytes = writer->gathered_bytes;
    writer->gathered_bytes = 0;
    return bytes ? writer->sink(writer->sink_context, writer->gathered, bytes, err) : MMH_OK;
}

static mmh_status append(mmh_container_writer *writer, const void *data, size_t bytes,
                         mmh_error *err)
{
    writer->position += bytes;
    if (bytes < GATHER_BYTES / 8) {
        if (bytes > GATHER_BYTES - writer->gathered_bytes) {
            mmh_status status = flush(writer, err);
            if (status != MMH_OK)
                return status;
        }
        memcpy(writer->gathered + writer->gathered_bytes, data, bytes);
        writer->gathered_bytes += bytes;
        return MMH_OK;
    }
    mmh_status status = flush(writer, err);
    return status != MMH_OK ? status : writer->sink(writer->sink_context, data, bytes, err);
}

/* Zeros up to a multiple of `alignment` (at most MMH_SEGMENT_ALIGNMENT). */
static mmh_status append_padding(mmh_container_writer *writer, unsigned alignment, mmh_error *err)
{
    static const uint8_t zeros[MMH_SEGMENT_ALIGNMENT];
    size_t bytes = (size_t)(mmh_round_up(writer->position, alignment) - writer->position);
    return bytes ? append(writer, zeros, bytes, err) : MMH_OK;
}

mmh_status mmh_container_writer_create(mmh_container_writer **out,
                                       const struct mmh_container_options *options,
                                       mmh_container_sink *sink, void *sink_context,
                                       const mmh_allocator *allocator, mmh_error *err)
{
    *out = NULL;
    mmh_container_writer *writer = mmh_alloc_array(allocator, 1, sizeof *writer);
    if (!writer)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for a container writer");
    writer->allocator = allocator;
    writer->sink = sink;
    writer->sink_context = sink_context;
    writer->options = *options;
    struct mmh_buffer *buffers[] = { &writer->codecs, &writer->sizes,  &writer->gaps,
                                     &writer->hashes, &writer->blocks, &writer->files,
                                     &writer->notes };
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        mmh_buffer_init(buffers[i], allocator);
    for (size_t i = 0; i < TENSOR_COLUMNS; i++)
        mmh_buffer_init(&writer->tensors[i], allocator);
    writer->gathered = mmh_alloc(allocator, 0, GATHER_BYTES);
    if (!writer->gathered) {
        mmh_container_writer_destroy(writer);
        return mmh_fail(err, MMH_E_MEMORY, "no memory for a container writer");
    }
    mmh_header_write(writer->header, options);
    mmh_status status = append(writer, writer->header, sizeof writer->header, err);
    if (status != MMH_OK) {
        mmh_container_writer_destroy(writer);
        return status;
    }
    writer->chunk_end = writer->position;
    *out = writer;
    return MMH_OK;
}

void mmh_container_writer_destroy(mmh_container_writer *writer)
{
    if (!writer)
        return;
    mmh_buffer_release(&writer->codecs);
    mmh_buffer_release(&writer->sizes);
    mmh_buffer_release(&writer->gaps);
    mmh_buffer_release(&writer->hashes);
    mmh_buffer_release(&writer->blocks);
    mmh_buffer_release(&writer->files);
    for (size_t i = 0; i < TENSOR_COLUMNS; i++)
        mmh_buffer_release(&writer->tensors[i]);
    mmh_buffer_release(&writer->notes);
    mmh_free(writer->allocator, writer->table);
    mmh_free(writer->allocator, writer->gathered);
    mmh_free(writer->allocator, writer);
}

uint64_t mmh_container_written(const mmh_container_writer *writer)
{
    return writer->position;
}

/* The slot of an equal chunk, or the empty slot where it would go. */
static uint32_t *table_find(mmh_container_writer *writer, const uint8_t *hash, uint32_t bytes,
                            uint8_t codec_id)
{
    const struct chunk_note *notes = (const struct chunk_note *)(const void *)writer->notes.data;
    size_t mask = writer->table_room - 1;
    for (size_t at = (size_t)mmh_load64(hash) & mask;; at = (at + 1) & mask) {
        uint32_t entry = writer->table[at];
        if (!entry)
            return &writer->table[at];
        const uint8_t *other = writer->hashes.data + (size_t)(entry - 1) * MMH_HASH_BYTES;
        if (notes[entry - 1].bytes == bytes && notes[entry - 1].codec_id == codec_id &&
            memcmp(other, hash, MMH_HASH_BYTES) == 0)
            return &writer->table[at];
    }
}

static mmh_status table_grow(mmh_container_writer *writer, mmh_error *err)
{
    if (writer->table_room && (writer->chunk_count + 1) * 2 <= writer->table_room)
        return MMH_OK;
    size_t room = writer->table_room ? writer->table_room * 2 : 1024;
    uint32_t *table = mmh_alloc_array(writer->allocator, room, sizeof *table);
    if (!table)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for a table of %zu chunks", room);
    mmh_free(writer->allocator, writer->table);
    writer->table = table;
    writer->table_room = room;
    const struct chunk_note *notes = (const struct chunk_note *)(const void *)writer->notes.data;
    for (uint64_t i = 0; i < writer->chunk_count; i++) {
        const uint8_t *hash = writer->hashes.data + (size_t)i * MMH_HASH_BYTES;
        *table_find(writer, hash, notes[i].bytes, notes[i].codec_id) = (uint32_t)i + 1;
    }
    return MMH_OK;
}

/* Store a chunk, or find its equal; note it in the block's list. */
static mmh_status write_chunk(mmh_container_writer *writer, const struct mmh_stored_chunk *chunk,
                              unsigned alignment, uint64_t decoded_bytes, mmh_error *err)
{
    mmh_status status = table_grow(writer, err);
    if (status != MMH_OK)
        return status;
    uint32_t *slot = table_find(writer, chunk->hash, chunk->bytes, chunk->codec_id);
    uint64_t number;
    if (*slot) {
        number = *slot - 1;
        writer->shared_chunks++;
        writer->shared_bytes += decoded_bytes;
    } else {
        if (writer->chunk_count == UINT32_MAX - 1)
            return mmh_fail(err, MMH_E_LIMIT, "more than 2^32 chunks");
        number = writer->chunk_count++;
        *slot = (uint32_t)number + 1;
        status = append_padding(writer, alignment, err);
        if (status != MMH_OK)
            return status;
        mmh_buffer_varint(&writer->gaps, writer->position - writer->chunk_end);
        mmh_buffer_varint(&writer->sizes, chunk->bytes);
        mmh_buffer_u8(&writer->codecs, chunk->codec_id);
        mmh_buffer_bytes(&writer->hashes, chunk->hash, MMH_HASH_BYTES);
        struct chunk_note note = { chunk->bytes, chunk->codec_id };
        mmh_buffer_bytes(&writer->notes, &note, sizeof note);
        if (writer->hashes.failed || writer->notes.failed)
            return mmh_fail(err, MMH_E_MEMORY, "no memory for the chunk table");
        status = append(writer, chunk->data, chunk->bytes, err);
        if (status != MMH_OK)
            return status;
        writer->chunk_end = writer->position;
    }
    buffer_svarint(&writer->blocks, (int64_t)number - (int64_t)writer->next_chunk);
    writer->next_chunk = number + 1;
    return MMH_OK;
}

mmh_status mmh_container_write_block(mmh_container_writer *writer,
                                     const struct mmh_block_record *block, mmh_error *err)
{
    uint64_t chunk_count = mmh_divide_up(block->bytes, block->chunk_bytes);
    uint64_t stored = 0;
    for (uint64_t i = 0; i < chunk_count; i++)
        stored += block->chunks[i].bytes;
    bool segment = stored >= MMH_SEGMENT_BYTES;

    mmh_buffer_u8(&writer->blocks, (uint8_t)block->dtype);
    mmh_buffer_u8(&writer->blocks, (uint8_t)((block->big_endian ? MMH_BLOCK_BIG_ENDIAN : 0) |
                                             (block->model ? MMH_BLOCK_MODEL : 0)));
    mmh_buffer_varint(&writer->blocks, block->bytes);
    mmh_buffer_varint(&writer->blocks, block->chunk_bytes);
    mmh_status status = MMH_OK;
    if (block->model)
        status = write_chunk(writer, block->model, MMH_SMALL_ALIGNMENT, 0, err);
    for (uint64_t i = 0; i < chunk_count && status == MMH_OK; i++) {
        uint64_t left = block->bytes - i * block->chunk_bytes;
        unsigned alignment = !segment ? MMH_SMALL_ALIGNMENT
                           : i        ? MMH_CHUNK_ALIGNMENT
                                      : MMH_SEGMENT_ALIGNMENT;
        status = write_chunk(writer, &block->chunks[i], alignment,
                             left < block->chunk_bytes ? left : block->chunk_bytes, err);
    }
    mmh_buffer_varint(&writer->blocks, block->floor_bytes);
    writer->floor_bytes += block->floor_bytes;
    writer->block_count++;
    return status;
}

mmh_status mmh_container_write_file(mmh_container_writer *writer,
                                    const struct mmh_file_record *file, mmh_error *err)
{
    struct mmh_buffer *out = &writer->files;
    buffer_string(out, file->name);
    mmh_buffer_u8(out, (uint8_t)file->kind);
    mmh_buffer_u8(out, file->format);
    mmh_buffer_varint(out, file->mode & 07777);
    /* Times before 1970 are kept as 1970: a time is a courtesy, not content. */
    mmh_buffer_varint(out, !file->has_time          ? 0
                           : file->time_seconds < 0 ? 1
                                                    : (uint64_t)file->time_seconds + 1);
    if (file->kind == MMH_FILE_REGULAR) {
        mmh_buffer_varint(out, file->bytes);
        mmh_buffer_bytes(out, file->digest, MMH_HASH_BYTES);
        mmh_buffer_varint(out, file->block_count);
    } else if (file->kind == MMH_FILE_SYMLINK) {
        buffer_string(out, file->target);
    }
    mmh_buffer_varint(out, file->metadata_count);
    for (size_t i = 0; i < file->metadata_count; i++) {
        buffer_string(out, file->metadata[i].key);
        buffer_string(out, file->metadata[i].value);
    }
    writer->file_count++;
    return mmh_buffer_finish(out, "the file table", err);
}

mmh_status mmh_container_write_tensor(mmh_container_writer *writer,
                                      const struct mmh_tensor_record *tensor, mmh_error *err)
{
    struct mmh_buffer *columns = writer->tensors;
    if (tensor->file != writer->last_file)
        writer->tensor_end = 0;
    mmh_buffer_varint(&columns[COLUMN_FILE], tensor->file - writer->last_file);
    writer->last_file = tensor->file;
    buffer_string(&columns[COLUMN_NAME], tensor->name);
    mmh_buffer_u8(&columns[COLUMN_TYPE], (uint8_t)tensor->dtype);
    mmh_buffer_u8(&columns[COLUMN_FLAGS],
                  (uint8_t)((tensor->big_endian ? MMH_TENSOR_BIG_ENDIAN : 0) |
                            (tensor->column_major ? MMH_TENSOR_COLUMN_MAJOR : 0) |
                            (tensor->strides ? MMH_TENSOR_STRIDES : 0)));
    mmh_buffer_u8(&columns[COLUMN_DIMENSIONS], (uint8_t)tensor->dimensions);
    for (uint32_t i = 0; i < tensor->dimensions; i++)
        mmh_buffer_varint(&columns[COLUMN_SHAPE], tensor->shape[i]);
    for (uint32_t i = 0; i < tensor->dimensions && tensor->strides; i++)
        mmh_buffer_varint(&columns[COLUMN_STRIDES], tensor->strides[i]);
    buffer_svarint(&columns[COLUMN_PLACE], (int64_t)(tensor->offset - writer->tensor_end));
    writer->tensor_end = tensor->offset + tensor->bytes;
    if (tensor->dtype == MMH_DTYPE_OPAQUE) /* others have what their shape says */
        mmh_buffer_varint(&columns[COLUMN_BYTES], tensor->bytes);
    writer->tensor_count++;
    mmh_status status = MMH_OK;
    for (size_t i = 0; i < TENSOR_COLUMNS && status == MMH_OK; i++)
        status = mmh_buffer_finish(&columns[i], "the tensor table", err);
    return status;
}

/* Cut the index into pages; table and pages go to `out`, *table_bytes says where pages begin. A page
 * is not compressed where that would make of the pages so far more than mmh_index_bound allows:
 * an index that says little (of terabytes of zeros) then takes a little more room. */
static mmh_status build_pages(mmh_container_writer *writer, struct mmh_buffer *out,
                              const struct mmh_buffer *index, struct mmh_footer *footer,
                              mmh_error *err)
{
    size_t page_count = (size_t)mmh_divide_up(index->bytes, MMH_PAGE_BYTES);
    size_t table_bytes = page_count * MMH_PAGE_ENTRY_BYTES;
    size_t bound = ZSTD_compressBound(MMH_PAGE_BYTES);
    int level = page_count <= SMALL_INDEX_PAGES ? 19 : 9; /* where it is much of a container */
    uint8_t *packed = mmh_alloc(writer->allocator, 0, bound);
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    mmh_status status = MMH_OK;
    mmh_buffer_zeros(out, table_bytes);
    if (!packed || !zstd)
        status = mmh_fail(err, MMH_E_MEMORY, "no memory for the index");
    for (size_t i = 0; i < page_count && status == MMH_OK; i++) {
        const uint8_t *page = index->data + i * MMH_PAGE_BYTES;
        size_t left = index->bytes - i * MMH_PAGE_BYTES;
        size_t bytes = left < MMH_PAGE_BYTES ? left : MMH_PAGE_BYTES;
        size_t stored = ZSTD_compressCCtx(zstd, packed, bound, page, bytes, level);
        const uint8_t *data = packed;
        if (ZSTD_isError(stored)) { /* there is room, so it is memory */
            status = mmh_fail(err, MMH_E_MEMORY, "no memory for the index");
            break;
        }
        if (stored >= bytes ||
            (uint64_t)i * MMH_PAGE_BYTES + bytes > mmh_index_bound(out->bytes + stored)) {
            data = page;
            stored = bytes;
        }
        mmh_buffer_bytes(out, data, stored);
        if (out->failed)
            break;
        uint8_t *entry = out->data + i * MMH_PAGE_ENTRY_BYTES;
        mmh_store32(entry, (uint32_t)stored);
        mmh_store32(entry + 4, (uint32_t)bytes);
        status = mmh_hash(entry + 8, writer->options.hash_suite, MMH_DOMAIN_PAGE, data, stored,
                          err);
    }
    ZSTD_freeCCtx(zstd);
    mmh_free(writer->allocator, packed);
    if (status == MMH_OK)
        status = mmh_buffer_finish(out, "the index", err);
    footer->table_bytes = (uint32_t)table_bytes;
    footer->page_count = (uint32_t)page_count;
    return status;
}

mmh_status mmh_container_finish(mmh_container_writer *writer, struct mmh_container_totals *totals,
                                mmh_error *err)
{
    struct mmh_buffer index, pages;
    mmh_buffer_init(&index, writer->allocator);
    mmh_buffer_init(&pages, writer->allocator);

    mmh_buffer_u32(&index, MMH_INDEX_VERSION);
    buffer_string(&index, writer->options.writer);
    mmh_buffer_u8(&index, writer->options.level);
    mmh_buffer_varint(&index, writer->chunk_count);
    mmh_buffer_bytes(&index, writer->codecs.data, writer->codecs.bytes);
    mmh_buffer_bytes(&index, writer->sizes.data, writer->sizes.bytes);
    mmh_buffer_bytes(&index, writer->gaps.data, writer->gaps.bytes);
    mmh_buffer_bytes(&index, writer->hashes.data, writer->hashes.bytes);
    mmh_buffer_varint(&index, writer->block_count);
    mmh_buffer_bytes(&index, writer->blocks.data, writer->blocks.bytes);
    mmh_buffer_varint(&index, writer->file_count);
    mmh_buffer_bytes(&index, writer->files.data, writer->files.bytes);
    mmh_buffer_varint(&index, writer->tensor_count);
    for (size_t i = 0; i < TENSOR_COLUMNS; i++)
        mmh_buffer_bytes(&index, writer->tensors[i].data, writer->tensors[i].bytes);
    mmh_buffer_varint(&index, 0); /* extensions */

    struct mmh_footer footer = { 0 };
    mmh_status status = MMH_OK;
    if (writer->codecs.failed || writer->sizes.failed || writer->gaps.failed ||
        writer->blocks.failed)
        status = mmh_fail(err, MMH_E_MEMORY, "no memory for the index");
    if (status == MMH_OK)
        status = mmh_buffer_finish(&index, "the index", err);
    if (status == MMH_OK)
        status = build_pages(writer, &pages, &index, &footer, err);
    if (status == MMH_OK)
        status = mmh_root_hash(footer.root, writer->options.hash_suite, writer->header, pages.data,
                               footer.table_bytes, err);
    if (status != MMH_OK)
        goto done;

    footer.index_a = writer->position;
    footer.index_bytes = pages.bytes;
    footer.trailer = footer.index_a + footer.index_bytes;
    footer.index_b = footer.trailer + MMH_FOOTER_BYTES;
    footer.container_bytes = footer.index_b + footer.index_bytes + MMH_FOOTER_BYTES;
    memcpy(footer.header, writer->header, MMH_HEADER_BYTES);
    uint8_t foot[MMH_FOOTER_BYTES];
    mmh_footer_write(foot, &footer);
    for (int copy = 0; copy < 2 && status == MMH_OK; copy++) {
        status = append(writer, pages.data, pages.bytes, err);
        if (status == MMH_OK)
            status = append(writer, foot, sizeof foot, err);
    }
    if (status == MMH_OK)
        status = flush(writer, err);
    if (status == MMH_OK && totals) {
        totals->container_bytes = writer->position;
        totals->chunk_count = writer->chunk_count;
        totals->shared_chunks = writer->shared_chunks;
        totals->shared_bytes = writer->shared_bytes;
        totals->index_bytes = pages.bytes;
        totals->floor_bytes = writer->floor_bytes;
        memcpy(totals->root, footer.root, MMH_HASH_BYTES);
    }
done:
    mmh_buffer_release(&pages);
    mmh_buffer_release(&index);
    return status;
}
