/*
 * Fuzz target: containers of any bytes are opened, listed, loaded and verified, or refused.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Input that begins as a container is one; it is read as it is, and again with right checksums.
 * Any other is the parts of one: u32 bytes of the index, the index (decoded), then the chunks; a
 * container is made of them whose hashes are right, so that nothing stops at those.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "container/layout.h"
#include "integrity/digest.h"

#include "base/bits.h"
#include "mmh.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum {
    ORIGINAL_MAX = 4 << 20, /* what a container claims beyond that is not restored, to be fast */
    THINGS_MAX = 16,        /* files and tensors that are looked at */
    CHUNKS_MAX = 4096       /* whose hashes are made */
};

/* ---- making hashes right ---- */

static void seal_pages(uint8_t *table, size_t table_bytes, size_t index_bytes, unsigned suite)
{
    size_t within = table_bytes;
    for (size_t entry = 0; entry + MMH_PAGE_ENTRY_BYTES <= table_bytes;
         entry += MMH_PAGE_ENTRY_BYTES) {
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
    memcpy(footer + 96, header, MMH_HEADER_BYTES);
    (void)mmh_root_hash(footer + 64, suite, header, table, table_bytes, NULL);
    mmh_store32(footer + 252, mmh_crc32(footer, 252));
}

/* Right checksums for header, pages and the last footer, in place. */
static void seal_container(uint8_t *data, size_t bytes)
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
    mmh_cursor_skip(&in, 4);
    mmh_cursor_skip(&in, (size_t)mmh_cursor_varint(&in));
    mmh_cursor_skip(&in, 1);
    uint64_t count = mmh_cursor_varint(&in);
    if (count > CHUNKS_MAX)
        return;
    mmh_cursor_skip(&in, (size_t)count);
    for (uint64_t i = 0; i < count; i++)
        sizes[i] = (uint32_t)mmh_cursor_varint(&in);
    for (uint64_t i = 0; i < count; i++) {
        offsets[i] = end + mmh_cursor_varint(&in);
        end = offsets[i] + sizes[i];
    }
    if (mmh_cursor_failed(&in) || count * MMH_HASH_BYTES > mmh_cursor_left(&in))
        return;
    uint8_t *hashes = index + mmh_cursor_position(&in);
    for (uint64_t i = 0; i < count; i++)
        if (offsets[i] <= chunks_bytes && sizes[i] <= chunks_bytes - offsets[i])
            (void)mmh_hash(hashes + i * MMH_HASH_BYTES, suite, MMH_DOMAIN_CHUNK,
                           chunks + offsets[i], sizes[i], NULL);
}

/* A container of an index and chunks; to be freed. */
static uint8_t *make_container(size_t *out_bytes, const uint8_t *data, size_t bytes)
{
    struct mmh_container_options options = { .hash_suite = mmh_hash_suite_default() };
    size_t index_bytes = MMH_MIN((size_t)mmh_load32(data), bytes - 4);
    size_t chunks_bytes = bytes - 4 - index_bytes;
    size_t pages = mmh_divide_up(index_bytes, MMH_PAGE_BYTES);
    size_t table_bytes = pages * MMH_PAGE_ENTRY_BYTES, stored = table_bytes + index_bytes;
    struct mmh_footer footer = { .index_a = MMH_HEADER_BYTES + chunks_bytes,
                                 .index_bytes = stored,
                                 .table_bytes = (uint32_t)table_bytes,
                                 .page_count = (uint32_t)pages };
    footer.trailer = footer.index_a + stored;
    footer.index_b = footer.trailer + MMH_FOOTER_BYTES;
    footer.container_bytes = footer.index_b + stored + MMH_FOOTER_BYTES;
    uint8_t *container = calloc(1, (size_t)footer.container_bytes);
    if (!container)
        abort();
    uint8_t *table = container + footer.index_a, *index = table + table_bytes;
    mmh_header_write(container, &options);
    memcpy(container + MMH_HEADER_BYTES, data + 4 + index_bytes, chunks_bytes);
    memcpy(index, data + 4, index_bytes);
    seal_chunks(index, index_bytes, container + MMH_HEADER_BYTES, chunks_bytes, options.hash_suite);
    for (size_t i = 0; i < pages; i++) {
        uint32_t page = (uint32_t)MMH_MIN(index_bytes - i * MMH_PAGE_BYTES, (size_t)MMH_PAGE_BYTES);
        mmh_store32(table + i * MMH_PAGE_ENTRY_BYTES, page);
        mmh_store32(table + i * MMH_PAGE_ENTRY_BYTES + 4, page);
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

/* ---- reading ---- */

static char path[64];

static void remove_file(void)
{
    (void)unlink(path);
}

/* The library reads files, so one file takes all containers in turn. */
static void write_file(const uint8_t *data, size_t bytes)
{
    static int file = -1;
    if (file < 0) {
        strcpy(path,
               access("/dev/shm", W_OK) ? "/tmp/mmh-fuzz-XXXXXX" : "/dev/shm/mmh-fuzz-XXXXXX");
        file = mkstemp(path);
        if (file < 0 || atexit(remove_file))
            abort();
    }
    if (ftruncate(file, 0) || (bytes && pwrite(file, data, bytes, 0) != (ssize_t)bytes))
        abort();
}

/* Load a tensor whole and without its first and last index; whether all was well. */
static bool load_tensor(mmh_reader *reader, uint64_t number)
{
    mmh_tensor_info tensor = { .struct_size = sizeof tensor };
    uint64_t begin[64], end[64], found;
    if (mmh_tensor(reader, number, &tensor, NULL))
        abort();
    (void)mmh_find(reader, tensor.name, &found, NULL);
    uint8_t *memory = malloc((size_t)tensor.bytes + 1);
    if (!memory)
        abort();
    mmh_status status = mmh_load(reader, number, memory, (size_t)tensor.bytes, NULL);
    for (uint32_t d = 0; d < tensor.dimensions; d++) {
        begin[d] = tensor.shape[d] > 2;
        end[d] = tensor.shape[d] - begin[d];
    }
    if (status == MMH_OK && mmh_dtype_bit_count(tensor.dtype) % 8 == 0)
        status = mmh_load_slice(reader, number, begin, end, memory, (size_t)tensor.bytes, NULL);
    free(memory);
    return status == MMH_OK;
}

static bool read_file(mmh_reader *reader, uint64_t number)
{
    mmh_file_info file = { .struct_size = sizeof file };
    const char *key, *value;
    if (mmh_file(reader, number, &file, NULL))
        abort();
    for (uint64_t i = 0; i < THINGS_MAX && !mmh_metadata(reader, number, i, &key, &value, NULL);)
        i += 1 + strlen(key) % 2 + strlen(value) % 2;
    if (file.kind != MMH_FILE_REGULAR || !file.bytes)
        return true;
    uint8_t *memory = malloc((size_t)file.bytes);
    if (!memory)
        abort();
    uint64_t skip = file.bytes / 3;
    bool good = mmh_read(reader, number, skip, memory, (size_t)(file.bytes - skip), NULL) == MMH_OK;
    free(memory);
    return good;
}

static void read_container(const uint8_t *data, size_t bytes)
{
    static mmh_context *context;
    mmh_context_options options = { .struct_size = sizeof options, .threads = 1 };
    mmh_reader *reader;
    if (!context && mmh_context_create(&context, &options, NULL))
        abort();
    write_file(data, bytes);
    if (mmh_open(context, path, &reader, NULL))
        return;
    mmh_container_info info = { .struct_size = sizeof info };
    bool good = true;
    if (mmh_container(reader, &info, NULL))
        abort();
    if (info.original_bytes <= ORIGINAL_MAX) {
        for (uint64_t i = 0; i < info.file_count && i < THINGS_MAX; i++)
            good = read_file(reader, i) && good;
        for (uint64_t i = 0; i < info.tensor_count && i < THINGS_MAX; i++)
            good = load_tensor(reader, i) && good;
    }
    mmh_close(reader);
    mmh_verify_options quick = { .struct_size = sizeof quick, .quick = true };
    (void)mmh_verify(context, path, &quick, NULL, NULL);
    /* What verify finds nothing wrong with can be read. */
    if (info.original_bytes <= ORIGINAL_MAX && !mmh_verify(context, path, NULL, NULL, NULL) &&
        !good)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes < 8)
        return 0;
    if (!mmh_container_magic(data, bytes)) {
        size_t made_bytes;
        uint8_t *made = make_container(&made_bytes, data, bytes);
        read_container(made, made_bytes);
        free(made);
        return 0;
    }
    uint8_t *copy = malloc(bytes);
    if (!copy)
        abort();
    memcpy(copy, data, bytes);
    read_container(copy, bytes);
    seal_container(copy, bytes);
    read_container(copy, bytes);
    free(copy);
    return 0;
}
