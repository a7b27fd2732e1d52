/*
 * The container writer: places chunks, shares equal ones, seals pages, and ends with the index, twice.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include <zstd.h>

#include "base/bits.h"
#include "container/container_end.h"
#include "container/layout.h"

/* Small appends are gathered here, so that padding and small chunks do not each cost a call. */
enum { GATHER_BYTES = 1 << 20, SMALL_INDEX_PAGES = 4 };

/* What is remembered of a stored chunk, to find equal ones. */
struct chunk_note {
    uint32_t bytes;
    uint8_t codec_id;
};

enum { LIKENESS_BYTES = sizeof((struct mmh_stored_chunk *)0)->likeness };

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
    size_t hash_bytes;
    mmh_aead *aead; /* of pages; NULL without encryption */
    uint8_t header[MMH_HEADER_BYTES];

    uint8_t *gathered;
    size_t gathered_bytes;
    uint64_t position;  /* container bytes so far, gathered ones included */
    uint64_t chunk_end; /* end of the last chunk */

    struct mmh_buffer codecs, sizes, gaps, hashes; /* the chunk table, column by column */
    struct mmh_buffer seal_numbers;
    struct mmh_buffer blocks, files;
    struct mmh_buffer tensors[TENSOR_COLUMNS];
    struct mmh_buffer notes;      /* struct chunk_note[] */
    struct mmh_buffer likenesses; /* of sealed chunks: equal ones are those of equal payloads */
    const uint8_t *rest;          /* [rest_bytes] instead of blocks, files and tensors */
    size_t rest_bytes;
    uint64_t chunk_count, block_count, file_count, tensor_count;
    uint64_t next_chunk; /* docs/format.md section 5, `next` */
    uint64_t next_seal;  /* the least seal number that the next chunk may have */
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
    writer->hash_bytes = mmh_hash_bytes(options->hash_suite);
    struct mmh_buffer *buffers[] = { &writer->codecs, &writer->sizes,        &writer->gaps,
                                     &writer->hashes, &writer->seal_numbers, &writer->blocks,
                                     &writer->files,  &writer->notes,        &writer->likenesses };
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        mmh_buffer_init(buffers[i], allocator);
    for (size_t i = 0; i < TENSOR_COLUMNS; i++)
        mmh_buffer_init(&writer->tensors[i], allocator);
    mmh_status status = MMH_OK;
    writer->gathered = mmh_alloc(allocator, 0, GATHER_BYTES);
    if (!writer->gathered)
        status = mmh_fail(err, MMH_E_MEMORY, "no memory for a container writer");
    if (status == MMH_OK && options->aead_suite)
        status = mmh_aead_create(&writer->aead, options->aead_suite, options->keys->page, err);
    mmh_header_write(writer->header, options);
    if (status == MMH_OK)
        status = append(writer, writer->header, sizeof writer->header, err);
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
    mmh_buffer_release(&writer->seal_numbers);
    mmh_buffer_release(&writer->blocks);
    mmh_buffer_release(&writer->files);
    for (size_t i = 0; i < TENSOR_COLUMNS; i++)
        mmh_buffer_release(&writer->tensors[i]);
    mmh_buffer_release(&writer->notes);
    mmh_buffer_release(&writer->likenesses);
    mmh_aead_destroy(writer->aead);
    mmh_free(writer->allocator, writer->table);
    mmh_free(writer->allocator, writer->gathered);
    mmh_free(writer->allocator, writer);
}

uint64_t mmh_container_written(const mmh_container_writer *writer)
{
    return writer->position;
}

/* By what chunk number `number` is told from others. */
static const uint8_t *note_hash(const mmh_container_writer *writer, uint64_t number)
{
    return writer->aead ? writer->likenesses.data + (size_t)number * LIKENESS_BYTES
                        : writer->hashes.data + (size_t)number * writer->hash_bytes;
}

/* The slot of an equal chunk, or the empty slot where it would go. */
static uint32_t *table_find(mmh_container_writer *writer, const uint8_t *hash, uint32_t bytes,
                            uint8_t codec_id)
{
    const struct chunk_note *notes = (const struct chunk_note *)(const void *)writer->notes.data;
    size_t mask = writer->table_room - 1;
    size_t hash_bytes = writer->aead ? (size_t)LIKENESS_BYTES : writer->hash_bytes;
    for (size_t at = (size_t)mmh_load64(hash) & mask;; at = (at + 1) & mask) {
        uint32_t entry = writer->table[at];
        if (!entry)
            return &writer->table[at];
        if (notes[entry - 1].bytes == bytes && notes[entry - 1].codec_id == codec_id &&
            memcmp(note_hash(writer, entry - 1), hash, hash_bytes) == 0)
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
    for (uint64_t i = 0; i < writer->chunk_count; i++)
        *table_find(writer, note_hash(writer, i), notes[i].bytes, notes[i].codec_id) = (uint32_t)i +
                                                                                       1;
    return MMH_OK;
}

mmh_status mmh_container_copy_chunk(mmh_container_writer *writer,
                                    const struct mmh_stored_chunk *chunk, unsigned alignment,
                                    mmh_error *err)
{
    if (writer->chunk_count == UINT32_MAX - 1)
        return mmh_fail(err, MMH_E_LIMIT, "more than 2^32 chunks");
    mmh_status status = append_padding(writer, alignment, err);
    if (status != MMH_OK)
        return status;
    mmh_buffer_varint(&writer->gaps, writer->position - writer->chunk_end);
    mmh_buffer_varint(&writer->sizes, chunk->bytes);
    mmh_buffer_u8(&writer->codecs, chunk->codec_id);
    mmh_buffer_bytes(&writer->hashes, chunk->hash, writer->hash_bytes);
    if (writer->aead) {
        mmh_buffer_varint(&writer->seal_numbers, chunk->seal_number - writer->next_seal);
        writer->next_seal = chunk->seal_number + 1;
    }
    if (writer->hashes.failed || writer->seal_numbers.failed)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for the chunk table");
    status = append(writer, chunk->data, chunk->bytes, err);
    writer->chunk_end = writer->position;
    writer->chunk_count++;
    return status;
}

/* Store a chunk, or find its equal; note it in the block's list. */
static mmh_status write_chunk(mmh_container_writer *writer, const struct mmh_stored_chunk *chunk,
                              unsigned alignment, uint64_t decoded_bytes, mmh_error *err)
{
    mmh_status status = table_grow(writer, err);
    if (status != MMH_OK)
        return status;
    uint32_t *slot = table_find(writer, writer->aead ? chunk->likeness : chunk->hash, chunk->bytes,
                                chunk->codec_id);
    uint64_t number = writer->chunk_count;
    if (*slot) {
        number = *slot - 1;
        writer->shared_chunks++;
        writer->shared_bytes += decoded_bytes;
    } else {
        struct chunk_note note = { chunk->bytes, chunk->codec_id };
        mmh_buffer_bytes(&writer->notes, &note, sizeof note);
        if (writer->aead)
            mmh_buffer_bytes(&writer->likenesses, chunk->likeness, LIKENESS_BYTES);
        if (writer->notes.failed || writer->likenesses.failed)
            return mmh_fail(err, MMH_E_MEMORY, "no memory for the chunk table");
        *slot = (uint32_t)number + 1;
        status = mmh_container_copy_chunk(writer, chunk, alignment, err);
        if (status != MMH_OK)
            return status;
    }
    buffer_svarint(&writer->blocks, (int64_t)number - (int64_t)writer->next_chunk);
    writer->next_chunk = number + 1;
    return MMH_OK;
}

mmh_status mmh_container_write_block(mmh_container_writer *writer,
                                     const struct mmh_block_record *block, mmh_error *err)
{
    uint64_t chunk_count = mmh_divide_up(block->bytes, block->chunk_bytes);
    uint64_t payload_bytes = 0;
    for (uint64_t i = 0; i < chunk_count; i++)
        payload_bytes += block->chunks[i].bytes - (writer->aead ? MMH_AEAD_TAG_BYTES : 0);

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
        status = write_chunk(writer, &block->chunks[i], mmh_chunk_alignment(payload_bytes, i),
                             left < block->chunk_bytes ? left : block->chunk_bytes, err);
    }
    mmh_buffer_varint(&writer->blocks, block->floor_bytes);
    writer->floor_bytes += block->floor_bytes;
    writer->block_count++;
    return status;
}

mmh_status mmh_container_copy_rest(mmh_container_writer *writer, const uint8_t *rest,
                                   size_t rest_bytes, mmh_error *err)
{
    uint8_t *copy = mmh_buffer_extend(&writer->files, rest_bytes);
    if (!copy)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for the index");
    memcpy(copy, rest, rest_bytes);
    writer->rest = copy;
    writer->rest_bytes = rest_bytes;
    return MMH_OK;
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
        mmh_buffer_bytes(out, file->digest, writer->hash_bytes);
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
                  (uint8_t)((tensor->big_endian ? MMH_ROW_BIG_ENDIAN : 0) |
                            (tensor->column_major ? MMH_ROW_COLUMN_MAJOR : 0) |
                            (tensor->strides ? MMH_ROW_STRIDES : 0)));
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

/* What pages are made with. */
struct paging {
    mmh_container_writer *writer;
    struct mmh_buffer *out; /* page table and pages */
    ZSTD_CCtx *zstd;
    uint8_t *packed; /* [packed_room] */
    size_t packed_room;
    int level;
    size_t decoded; /* bytes that the pages so far decode to */
    size_t page;    /* number of the next one */
};

/*
 * One page of the index. It is not compressed where that would make of the pages so far more than
 * mmh_index_bound allows: an index that says little (of terabytes of zeros) then takes a little more room.
 */
static mmh_status build_page(struct paging *paging, const uint8_t *page, size_t bytes, bool seal,
                             mmh_error *err)
{
    mmh_container_writer *writer = paging->writer;
    struct mmh_buffer *out = paging->out;
    size_t tag = seal ? MMH_AEAD_TAG_BYTES : 0;
    size_t entry = paging->page * mmh_page_entry_bytes(writer->options.hash_suite);
    size_t stored = ZSTD_compressCCtx(paging->zstd, paging->packed, paging->packed_room, page,
                                      bytes, paging->level);
    const uint8_t *data = paging->packed;
    if (ZSTD_isError(stored)) /* there is room, so it is memory */
        return mmh_fail(err, MMH_E_MEMORY, "no memory for the index");
    paging->decoded += bytes;
    if (stored >= bytes || paging->decoded > mmh_index_bound(out->bytes + stored + tag)) {
        data = page;
        stored = bytes;
    }
    uint8_t *dst = mmh_buffer_extend(out, stored + tag);
    if (!dst)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for the index");
    mmh_status status = MMH_OK;
    if (seal) {
        uint8_t nonce[MMH_AEAD_NONCE_BYTES];
        mmh_aead_nonce(nonce, paging->page);
        status = mmh_aead_seal(writer->aead, dst, nonce, data, stored, writer->header,
                               MMH_HEADER_BYTES, err);
    } else {
        memcpy(dst, data, stored);
    }
    mmh_store32(out->data + entry, (uint32_t)(stored + tag));
    mmh_store32(out->data + entry + 4, (uint32_t)bytes | (seal ? MMH_PAGE_SEALED : 0));
    if (status == MMH_OK)
        status = mmh_hash(out->data + entry + MMH_PAGE_HEAD_BYTES, writer->options.hash_suite,
                          MMH_DOMAIN_PAGE, dst, stored + tag, err);
    paging->page++;
    return status;
}

/* Pages of one part of the index. */
static mmh_status build_part(struct paging *paging, const uint8_t *data, size_t bytes, bool seal,
                             mmh_error *err)
{
    mmh_status status = MMH_OK;
    for (size_t at = 0; at < bytes && status == MMH_OK; at += MMH_PAGE_BYTES)
        status = build_page(paging, data + at, MMH_MIN(bytes - at, (size_t)MMH_PAGE_BYTES), seal,
                            err);
    return status;
}

/* Cut the index into pages; table and pages go to `out`, footer->table_bytes says where pages begin. With
 * encryption public_bytes of it are of one part, the others of another. */
static mmh_status build_pages(mmh_container_writer *writer, struct mmh_buffer *out,
                              const struct mmh_buffer *index, size_t public_bytes,
                              struct mmh_footer *footer, mmh_error *err)
{
    if (!writer->aead)
        public_bytes = index->bytes;
    size_t page_count = (size_t)(mmh_divide_up(public_bytes, MMH_PAGE_BYTES) +
                                 mmh_divide_up(index->bytes - public_bytes, MMH_PAGE_BYTES));
    size_t table_bytes = page_count * mmh_page_entry_bytes(writer->options.hash_suite);
    struct paging paging = {
        .writer = writer,
        .out = out,
        .zstd = ZSTD_createCCtx(),
        .packed_room = ZSTD_compressBound(MMH_PAGE_BYTES),
        .level = page_count <= SMALL_INDEX_PAGES ? 19 : 9, /* where it is much of a container */
    };
    mmh_status status = MMH_OK;
    mmh_buffer_zeros(out, table_bytes);
    paging.packed = mmh_alloc(writer->allocator, 0, paging.packed_room);
    if (!paging.packed || !paging.zstd || out->failed)
        status = mmh_fail(err, MMH_E_MEMORY, "no memory for the index");
    if (status == MMH_OK)
        status = build_part(&paging, index->data, public_bytes, false, err);
    if (status == MMH_OK)
        status = build_part(&paging, index->data + public_bytes, index->bytes - public_bytes, true,
                            err);
    ZSTD_freeCCtx(paging.zstd);
    mmh_free(writer->allocator, paging.packed);
    footer->table_bytes = (uint32_t)table_bytes;
    footer->page_count = (uint32_t)page_count;
    return status;
}

/* The index as it decodes; *public_bytes of it need no key. */
static mmh_status build_index(mmh_container_writer *writer, struct mmh_buffer *index,
                              size_t *public_bytes, mmh_error *err)
{
    mmh_buffer_u32(index, MMH_INDEX_VERSION);
    mmh_buffer_varint(index, writer->chunk_count);
    mmh_buffer_bytes(index, writer->sizes.data, writer->sizes.bytes);
    mmh_buffer_bytes(index, writer->gaps.data, writer->gaps.bytes);
    mmh_buffer_bytes(index, writer->hashes.data, writer->hashes.bytes);
    *public_bytes = index->bytes;
    buffer_string(index, writer->options.writer);
    mmh_buffer_u8(index, writer->options.level);
    mmh_buffer_bytes(index, writer->codecs.data, writer->codecs.bytes);
    mmh_buffer_bytes(index, writer->seal_numbers.data, writer->seal_numbers.bytes);
    if (writer->rest) {
        mmh_buffer_bytes(index, writer->rest, writer->rest_bytes);
    } else {
        mmh_buffer_varint(index, writer->block_count);
        mmh_buffer_bytes(index, writer->blocks.data, writer->blocks.bytes);
        mmh_buffer_varint(index, writer->file_count);
        mmh_buffer_bytes(index, writer->files.data, writer->files.bytes);
        mmh_buffer_varint(index, writer->tensor_count);
        for (size_t i = 0; i < TENSOR_COLUMNS; i++)
            mmh_buffer_bytes(index, writer->tensors[i].data, writer->tensors[i].bytes);
        mmh_buffer_varint(index, 0); /* extensions */
    }
    if (writer->codecs.failed || writer->sizes.failed || writer->gaps.failed ||
        writer->blocks.failed)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for the index");
    return mmh_buffer_finish(index, "the index", err);
}

/* What stands behind index A, which has been written. */
static mmh_status write_end(mmh_container_writer *writer, struct mmh_container_end *end,
                            mmh_error *err)
{
    const struct mmh_container_options *options = &writer->options;
    struct mmh_buffer trailer;
    mmh_buffer_init(&trailer, writer->allocator);
    mmh_status status = MMH_OK;
    if (options->guard)
        status = options->guard(options->guard_context, &trailer, writer->header, end->footer.root,
                                writer->hash_bytes, err);
    if (status == MMH_OK)
        status = mmh_buffer_finish(&trailer, "the trailer", err);
    if (status == MMH_OK) /* so that all of it can be read back */
        status = flush(writer, err);
    end->sink = writer->sink;
    end->sink_context = writer->sink_context;
    end->position = writer->position;
    end->hash_suite = options->hash_suite;
    end->trailer = &trailer;
    end->recovery = options->recovery;
    end->read_back = options->read_back;
    end->read_context = options->read_context;
    if (status == MMH_OK)
        status = mmh_container_end_write(end, writer->allocator, err);
    writer->position = end->position;
    end->trailer = NULL;
    mmh_buffer_release(&trailer);
    return status;
}

mmh_status mmh_container_finish(mmh_container_writer *writer, struct mmh_container_totals *totals,
                                mmh_error *err)
{
    struct mmh_buffer index, pages;
    struct mmh_container_end end = { 0 };
    struct mmh_footer *footer = &end.footer;
    size_t public_bytes;
    mmh_buffer_init(&index, writer->allocator);
    mmh_buffer_init(&pages, writer->allocator);
    mmh_status status = build_index(writer, &index, &public_bytes, err);
    if (status == MMH_OK)
        status = build_pages(writer, &pages, &index, public_bytes, footer, err);
    if (status == MMH_OK)
        status = mmh_root_hash(footer->root, writer->options.hash_suite, writer->header, pages.data,
                               footer->table_bytes, err);
    footer->index_a = writer->position;
    footer->index_bytes = pages.bytes;
    memcpy(footer->header, writer->header, MMH_HEADER_BYTES);
    end.index = pages.data;
    if (status == MMH_OK)
        status = append(writer, pages.data, pages.bytes, err);
    if (status == MMH_OK)
        status = write_end(writer, &end, err);
    if (status == MMH_OK && totals) {
        totals->container_bytes = writer->position;
        totals->chunk_count = writer->chunk_count;
        totals->shared_chunks = writer->shared_chunks;
        totals->shared_bytes = writer->shared_bytes;
        totals->index_bytes = pages.bytes;
        totals->floor_bytes = writer->floor_bytes;
        totals->recovery_bytes = end.recovery_bytes;
        memcpy(totals->root, footer->root, MMH_HASH_BYTES);
    }
    mmh_buffer_release(&pages);
    mmh_buffer_release(&index);
    return status;
}
