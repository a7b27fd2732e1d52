/*
 * Containers whose checksums are right, so that fuzzing is not stopped by those.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sealed.h"

#include "tensor/extent.h"

enum { CHUNKS_MAX = 4096 /* whose hashes are made */ };

/* ---- making hashes right ---- */

static void seal_pages(uint8_t *table, size_t table_bytes, size_t index_bytes, unsigned suite)
{
    size_t within = table_bytes, entry_bytes = mmh_page_entry_bytes(suite);
    for (size_t entry = 0; entry + entry_bytes <= table_bytes; entry += entry_bytes) {
        size_t stored = mmh_load32(table + entry);
        if (stored > index_bytes - within)
            return;
        (void)mmh_hash(table + entry + 8, suite, MMH_DOMAIN_PAGE, table + within, stored, NULL);
        within += stored;
    }
}

static void seal_footer(uint8_t *footer, const uint8_t *header, const uint8_t *table,
                        size_t table_bytes, unsigned suite)
{
    uint8_t root[MMH_HASH_BYTES];
    memcpy(footer + 96, header, MMH_HEADER_BYTES);
    (void)mmh_root_hash(root, suite, header, table, table_bytes, NULL);
    memcpy(footer + 64, root, 32);
    memcpy(footer + 224, root + 32, MMH_HASH_BYTES - 32);
    mmh_store32(footer + 252, mmh_crc32(footer, 252));
}

void sealed_container(uint8_t *data, size_t bytes)
{
    if (bytes < MMH_HEADER_BYTES + MMH_FOOTER_BYTES)
        return;
    uint8_t *footer = data + bytes - MMH_FOOTER_BYTES;
    mmh_store32(data + 124, mmh_crc32(data, 124));
    memcpy(footer, MMH_FOOTER_MAGIC, 8);
    mmh_store64(footer + 8, bytes);
    uint64_t index_a = mmh_load64(footer + 16), index_bytes = mmh_load64(footer + 32);
    uint32_t table_bytes = mmh_load32(footer + 40);
    if (index_a > bytes || index_bytes > bytes - index_a || table_bytes > index_bytes ||
        !mmh_hash_suite_available(data[14]))
        return;
    seal_pages(data + index_a, table_bytes, (size_t)index_bytes, data[14]);
    seal_footer(footer, data, data + index_a, table_bytes, data[14]);
}

/* Right hashes for the chunks that an index names, where they lie in `chunks`. */
static void seal_chunks(uint8_t *index, size_t index_bytes, const uint8_t *chunks,
                        size_t chunks_bytes, unsigned suite)
{
    struct mmh_cursor in;
    uint32_t sizes[CHUNKS_MAX];
    uint64_t offsets[CHUNKS_MAX], end = 0;
    mmh_cursor_init(&in, index, index_bytes);
    size_t hash_bytes = mmh_hash_bytes(suite);
    mmh_cursor_skip(&in, 4);
    uint64_t count = mmh_cursor_varint(&in);
    if (count > CHUNKS_MAX)
        return;
    for (uint64_t i = 0; i < count; i++)
        sizes[i] = (uint32_t)mmh_cursor_varint(&in);
    for (uint64_t i = 0; i < count; i++) {
        offsets[i] = end + mmh_cursor_varint(&in);
        end = offsets[i] + sizes[i];
    }
    if (mmh_cursor_failed(&in) || count * hash_bytes > mmh_cursor_left(&in))
        return;
    uint8_t *hashes = index + mmh_cursor_position(&in);
    for (uint64_t i = 0; i < count; i++)
        if (offsets[i] <= chunks_bytes && sizes[i] <= chunks_bytes - offsets[i])
            (void)mmh_hash(hashes + i * hash_bytes, suite, MMH_DOMAIN_CHUNK, chunks + offsets[i],
                           sizes[i], NULL);
}

uint8_t *sealed_parts(size_t *out_bytes, const uint8_t *data, size_t bytes)
{
    struct mmh_container_options options = { .hash_suite = mmh_hash_suite_default() };
    if (bytes < 4)
        return NULL;
    size_t index_bytes = MMH_MIN((size_t)mmh_load32(data), bytes - 4);
    size_t chunks_bytes = bytes - 4 - index_bytes;
    size_t pages = mmh_divide_up(index_bytes, MMH_PAGE_BYTES);
    size_t entry_bytes = mmh_page_entry_bytes(options.hash_suite);
    size_t table_bytes = pages * entry_bytes, stored = table_bytes + index_bytes;
    struct mmh_footer footer = { .index_a = MMH_HEADER_BYTES + chunks_bytes,
                                 .index_bytes = stored,
                                 .table_bytes = (uint32_t)table_bytes,
                                 .page_count = (uint32_t)pages };
    footer.trailer = footer.index_a + stored;
    footer.index_b = footer.trailer + MMH_FOOTER_BYTES;
    footer.container_bytes = footer.index_b + stored + MMH_FOOTER_BYTES;
    uint8_t *container = calloc(1, (size_t)footer.container_bytes);
    FUZZ_REQUIRE(container);
    uint8_t *table = container + footer.index_a, *index = table + table_bytes;
    mmh_header_write(container, &options);
    memcpy(container + MMH_HEADER_BYTES, data + 4 + index_bytes, chunks_bytes);
    memcpy(index, data + 4, index_bytes);
    seal_chunks(index, index_bytes, container + MMH_HEADER_BYTES, chunks_bytes, options.hash_suite);
    for (size_t i = 0; i < pages; i++) {
        uint32_t page = (uint32_t)MMH_MIN(index_bytes - i * MMH_PAGE_BYTES, (size_t)MMH_PAGE_BYTES);
        mmh_store32(table + i * entry_bytes, page);
        mmh_store32(table + i * entry_bytes + 4, page);
    }
    seal_pages(table, table_bytes, stored, options.hash_suite);
    uint8_t *spare = container + footer.trailer, *last = container + footer.index_b + stored;
    mmh_footer_write(spare, &footer);
    seal_footer(spare, container, table, table_bytes, options.hash_suite);
    memcpy(container + footer.index_b, table, stored);
    memcpy(last, spare, MMH_FOOTER_BYTES);
    *out_bytes = (size_t)footer.container_bytes;
    return container;
}

/* ---- the same, encrypted ---- */

enum { SECRET_CHUNKS_MAX = 256 };

static const uint8_t file_key[MMH_FILE_KEY_BYTES] = "a key that is always the same..";

const mmh_key *sealed_key(void)
{
    static mmh_key *key;
    if (!key)
        FUZZ_REQUIRE(!mmh_key_generate(&key, "x25519", 0, NULL));
    return key;
}

/* What is being made; pages are sealed as they are added. */
struct secret {
    unsigned suite;
    uint8_t header[MMH_HEADER_BYTES];
    struct mmh_file_keys keys;
    mmh_aead *aead; /* of chunks, then of pages */
    struct mmh_buffer container, table, pages;
    uint32_t page_count;
};

static void secret_page(struct secret *secret, const uint8_t *data, size_t bytes, bool sealed)
{
    uint8_t nonce[MMH_AEAD_NONCE_BYTES], hash[MMH_HASH_BYTES];
    size_t stored = bytes + (sealed ? MMH_AEAD_TAG_BYTES : 0);
    uint8_t *page = mmh_buffer_extend(&secret->pages, stored);
    FUZZ_REQUIRE(page);
    mmh_aead_nonce(nonce, secret->page_count++);
    if (sealed)
        FUZZ_REQUIRE(!mmh_aead_seal(secret->aead, page, nonce, data, bytes, secret->header,
                                    MMH_HEADER_BYTES, NULL));
    else
        memcpy(page, data, bytes);
    mmh_buffer_u32(&secret->table, (uint32_t)stored);
    mmh_buffer_u32(&secret->table, (uint32_t)bytes | (sealed ? MMH_PAGE_SEALED : 0));
    FUZZ_REQUIRE(!mmh_hash(hash, secret->suite, MMH_DOMAIN_PAGE, page, stored, NULL));
    mmh_buffer_bytes(&secret->table, hash, mmh_hash_bytes(secret->suite));
}

static void secret_part(struct secret *secret, const uint8_t *data, size_t bytes, bool sealed)
{
    for (size_t at = 0; at < bytes; at += MMH_PAGE_BYTES)
        secret_page(secret, data + at, MMH_MIN(bytes - at, (size_t)MMH_PAGE_BYTES), sealed);
}

/* Seal the chunks that an index lists, as far as they are there, one behind the other, and list them
 * anew. False: the list cannot be read. */
static bool secret_chunks(struct secret *secret, struct mmh_buffer *list, uint64_t *count,
                          struct mmh_cursor *in, const uint8_t *chunks, size_t chunks_bytes)
{
    uint32_t sizes[SECRET_CHUNKS_MAX];
    struct mmh_buffer hashes;
    uint64_t end = 0;
    mmh_buffer_u32(list, mmh_cursor_u32(in));
    *count = mmh_cursor_varint(in);
    if (*count > SECRET_CHUNKS_MAX)
        return false;
    mmh_buffer_varint(list, *count);
    for (uint64_t i = 0; i < *count; i++) {
        uint64_t size = mmh_cursor_varint(in);
        if (size > chunks_bytes)
            return false;
        sizes[i] = (uint32_t)size;
        mmh_buffer_varint(list, size + MMH_AEAD_TAG_BYTES);
    }
    mmh_buffer_init(&hashes, NULL);
    for (uint64_t i = 0; i < *count; i++) {
        uint8_t nonce[MMH_AEAD_NONCE_BYTES], hash[MMH_HASH_BYTES];
        uint64_t at = end + mmh_cursor_varint(in);
        if (mmh_cursor_failed(in) || at > chunks_bytes || sizes[i] > chunks_bytes - at) {
            mmh_buffer_release(&hashes);
            return false;
        }
        end = at + sizes[i];
        uint8_t *sealed = mmh_buffer_extend(&secret->container, sizes[i] + MMH_AEAD_TAG_BYTES);
        FUZZ_REQUIRE(sealed);
        mmh_aead_nonce(nonce, i);
        FUZZ_REQUIRE(
            !mmh_aead_seal(secret->aead, sealed, nonce, chunks + at, sizes[i], NULL, 0, NULL));
        FUZZ_REQUIRE(!mmh_hash(hash, secret->suite, MMH_DOMAIN_CHUNK, sealed,
                               sizes[i] + MMH_AEAD_TAG_BYTES, NULL));
        mmh_buffer_u8(list, 0);
        mmh_buffer_bytes(&hashes, hash, mmh_hash_bytes(secret->suite));
    }
    mmh_buffer_bytes(list, hashes.data, hashes.bytes);
    mmh_buffer_release(&hashes);
    mmh_cursor_skip(in, (size_t)*count * mmh_hash_bytes(secret->suite));
    return !mmh_cursor_failed(in) && mmh_cursor_left(in);
}

/* Writer, level and codecs as they are, then seal numbers, then the rest as it is. */
static void secret_rest(struct mmh_buffer *rest, struct mmh_cursor *in, uint64_t count)
{
    const uint8_t *data = in->data + mmh_cursor_position(in);
    size_t bytes = mmh_cursor_left(in);
    mmh_cursor_skip(in, (size_t)MMH_MIN(mmh_cursor_varint(in), (uint64_t)bytes));
    mmh_cursor_skip(in, 1 + (size_t)count);
    size_t before = mmh_cursor_failed(in) ? bytes : bytes - mmh_cursor_left(in);
    mmh_buffer_bytes(rest, data, before);
    mmh_buffer_zeros(rest, mmh_cursor_failed(in) ? 0 : (size_t)count);
    mmh_buffer_bytes(rest, data + before, bytes - before);
}

/* The section of recipients, right for this root. */
static void secret_trailer(struct secret *secret, struct mmh_buffer *trailer, const uint8_t *root)
{
    static struct mmh_buffer stanza; /* one for all: it is of the file key alone */
    struct mmh_buffer section;
    mmh_buffer_init(&section, NULL);
    if (!stanza.bytes)
        FUZZ_REQUIRE(
            !mmh_stanza_write(&stanza, file_key, &mmh_key_identity(sealed_key())->parts[0], NULL));
    FUZZ_REQUIRE(!mmh_recipients_write(&section, stanza.data, stanza.bytes, 1, &secret->keys,
                                       secret->suite, secret->header, MMH_HEADER_BYTES, root,
                                       mmh_hash_bytes(secret->suite), NULL));
    mmh_trailer_add(trailer, MMH_SECTION_RECIPIENTS, section.data, section.bytes);
    mmh_buffer_release(&section);
}

static void secret_end(struct secret *secret)
{
    struct mmh_buffer *out = &secret->container, trailer;
    struct mmh_footer footer = { .page_count = secret->page_count,
                                 .table_bytes = (uint32_t)secret->table.bytes,
                                 .index_a = out->bytes,
                                 .index_bytes = secret->table.bytes + secret->pages.bytes };
    uint8_t foot[MMH_FOOTER_BYTES];
    memcpy(footer.header, secret->header, MMH_HEADER_BYTES);
    FUZZ_REQUIRE(!mmh_root_hash(footer.root, secret->suite, secret->header, secret->table.data,
                                secret->table.bytes, NULL));
    mmh_buffer_init(&trailer, NULL);
    secret_trailer(secret, &trailer, footer.root);
    footer.trailer = footer.index_a + footer.index_bytes;
    footer.trailer_bytes = trailer.bytes;
    footer.index_b = footer.trailer + footer.trailer_bytes + MMH_FOOTER_BYTES;
    footer.container_bytes = footer.index_b + footer.index_bytes + MMH_FOOTER_BYTES;
    mmh_footer_write(foot, &footer);
    for (int copy = 0; copy < 2; copy++) {
        mmh_buffer_bytes(out, secret->table.data, secret->table.bytes);
        mmh_buffer_bytes(out, secret->pages.data, secret->pages.bytes);
        if (!copy)
            mmh_buffer_bytes(out, trailer.data, trailer.bytes);
        mmh_buffer_bytes(out, foot, sizeof foot);
    }
    mmh_buffer_release(&trailer);
}

uint8_t *sealed_secret(size_t *out_bytes, const uint8_t *data, size_t bytes)
{
    struct secret secret = { .suite = mmh_hash_suite_default() };
    struct mmh_container_options options = { .hash_suite = secret.suite,
                                             .aead_suite = MMH_AEAD_CHACHA20_POLY1305,
                                             .keys = &secret.keys };
    struct mmh_buffer list, rest;
    struct mmh_cursor in;
    uint64_t count;
    if (bytes < 4)
        return NULL;
    size_t index_bytes = MMH_MIN((size_t)mmh_load32(data), bytes - 4);
    FUZZ_REQUIRE(
        !mmh_file_keys_derive(&secret.keys, file_key, options.aead_suite, secret.suite, NULL));
    FUZZ_REQUIRE(!mmh_aead_create(&secret.aead, options.aead_suite, secret.keys.chunk, NULL));
    mmh_header_write(secret.header, &options);
    mmh_buffer_bytes(&secret.container, secret.header, MMH_HEADER_BYTES);
    mmh_buffer_init(&list, NULL);
    mmh_buffer_init(&rest, NULL);
    mmh_cursor_init(&in, data + 4, index_bytes);
    bool listed = secret_chunks(&secret, &list, &count, &in, data + 4 + index_bytes,
                                bytes - 4 - index_bytes);
    mmh_aead_destroy(secret.aead);
    secret.aead = NULL;
    if (listed) {
        FUZZ_REQUIRE(!mmh_aead_create(&secret.aead, options.aead_suite, secret.keys.page, NULL));
        secret_rest(&rest, &in, count);
        secret_part(&secret, list.data, list.bytes, false);
        secret_part(&secret, rest.data, rest.bytes, true);
        secret_end(&secret);
        FUZZ_REQUIRE(!secret.container.failed);
        mmh_aead_destroy(secret.aead);
    }
    uint8_t *made = listed ? fuzz_copy(secret.container.data, secret.container.bytes) : NULL;
    *out_bytes = secret.container.bytes;
    struct mmh_buffer *buffers[] = { &list, &rest, &secret.container, &secret.table,
                                     &secret.pages };
    for (size_t i = 0; i < MMH_COUNT_OF(buffers); i++)
        mmh_buffer_release(buffers[i]);
    return made;
}

/* ---- what an index promises ---- */

static const char *name_problem(const char *name)
{
    if (!strcmp(name, "."))
        return NULL;
    for (const char *part = name;; part++) {
        size_t length = strcspn(part, "/");
        if (!length || (length == 1 && part[0] == '.') || !strncmp(part, "../", 3) ||
            (length == 2 && part[0] == '.' && part[1] == '.'))
            return "a name is not safe";
        part += length;
        if (!*part)
            return NULL;
    }
}

static const char *file_problem(const struct mmh_index *index, uint64_t number, uint64_t *block)
{
    const struct mmh_file_entry *file = &index->files[number];
    const struct mmh_file_record *record = &file->record;
    uint64_t bytes = 0;
    if (number && strcmp(index->files[number - 1].record.name, record->name) >= 0)
        return "files are not sorted";
    if (record->kind > MMH_FILE_SYMLINK || record->mode > 07777)
        return "a file has no such kind or mode";
    if (record->kind == MMH_FILE_SYMLINK && !record->target)
        return "a symlink has no target";
    if (file->first_tensor > index->tensor_count ||
        file->tensor_count > index->tensor_count - file->first_tensor)
        return "a file's tensors are not there";
    if (record->kind == MMH_FILE_REGULAR) {
        if (record->block_count && file->first_block != *block)
            return "a file's blocks are not the next ones";
        if (record->block_count > index->block_count - *block)
            return "a file's blocks are not there";
        for (uint64_t b = *block; b < *block + record->block_count; b++) {
            if (index->blocks[b].file != number || index->blocks[b].file_offset != bytes)
                return "a block is not where its file has it";
            bytes += index->blocks[b].bytes;
        }
        *block += record->block_count;
        if (bytes != record->bytes)
            return "blocks do not fill their file";
    }
    return name_problem(record->name);
}

const char *index_problem(const mmh_container_reader *reader)
{
    const struct mmh_index *index = &reader->index;
    const char *problem = NULL;
    uint64_t ref = 0, block = 0, bytes;
    for (uint64_t c = 0; c < index->chunk_count; c++) {
        const struct mmh_chunk_entry *chunk = &index->chunks[c];
        if (chunk->offset < MMH_HEADER_BYTES || chunk->offset > reader->index_offset ||
            chunk->bytes > reader->index_offset - chunk->offset)
            return "a chunk lies outside";
    }
    for (uint64_t b = 0; b < index->block_count; b++) {
        const struct mmh_block_entry *entry = &index->blocks[b];
        if (!entry->bytes || !entry->chunk_bytes || entry->chunk_bytes > MMH_CHUNK_BYTES_MAX)
            return "a block has impossible sizes";
        if (entry->bytes % mmh_dtype_scalar_bytes(entry->dtype) ||
            mmh_dtype_scalar(entry->dtype) != entry->dtype)
            return "a block is not made of scalars";
        uint64_t count = mmh_divide_up(entry->bytes, entry->chunk_bytes);
        if (entry->first_ref != ref || count > index->ref_count - ref)
            return "a block's chunks are not the next ones";
        for (uint64_t c = 0; c < count; c++)
            if (index->refs[ref + c] >= index->chunk_count)
                return "a block names a chunk that is not there";
        if (entry->has_model && entry->model >= index->chunk_count)
            return "a block's model is not there";
        ref += count;
    }
    for (uint64_t f = 0; f < index->file_count && !problem; f++)
        problem = file_problem(index, f, &block);
    if (problem)
        return problem;
    if (block != index->block_count)
        return "a block belongs to no file";
    for (uint64_t t = 0; t < index->tensor_count; t++) {
        const struct mmh_tensor_record *tensor = &index->tensors[t];
        if (tensor->file >= index->file_count || (t && tensor->file < tensor[-1].file))
            return "a tensor belongs to no file";
        if (tensor->dimensions > MMH_DIMENSIONS_MAX)
            return "a tensor has too many dimensions";
        uint64_t room = index->files[tensor->file].record.bytes;
        if (tensor->offset > room || tensor->bytes > room - tensor->offset)
            return "a tensor reaches past its file";
        if (tensor->strides && (!mmh_strides_bytes(&bytes, tensor->dtype, tensor->dimensions,
                                                   tensor->shape, tensor->strides) ||
                                bytes != tensor->bytes))
            return "a tensor's strides and bytes disagree";
        if (tensor->dtype != MMH_DTYPE_OPAQUE && !tensor->strides &&
            (!mmh_shape_bytes(&bytes, tensor->dtype, tensor->dimensions, tensor->shape) ||
             bytes != tensor->bytes))
            return "a tensor's shape and bytes disagree";
    }
    return NULL;
}
