/*
 * The container reader: finds footer, header and index, mends them from their spares, opens sealed pages,
 * and checks all that the index says before anyone relies on it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include <zstd.h>
#include <zstd_errors.h>

#include "base/bits.h"
#include "base/io.h"
#include "container/layout.h"
#include "container/trailer.h"
#include "tensor/extent.h"

enum {
    SCAN_BYTES = 1 << 20, /* of the container's end that are searched at a time */
    PAGES_MAX = 1 << 20
};

/* ---- the footer ---- */

struct source {
    mmh_container_read_at *read;
    void *context;
    uint64_t bytes;
};

static mmh_status source_read(const struct source *source, void *dst, uint64_t offset, size_t bytes,
                              mmh_error *err)
{
    return source->read(source->context, dst, offset, bytes, err);
}

/* Whether a footer stands at one of the two places that it names. */
static bool stands_right(const struct mmh_footer *footer, uint64_t at)
{
    return at == footer->container_bytes - MMH_FOOTER_BYTES ||
           at == footer->trailer + footer->trailer_bytes;
}

/*
 * Look backwards for another footer. It is an answer only if it stands where it says; its
 * container may have been cut short, or have bytes behind it, so its size need not be the file's.
 */
static mmh_status find_spare(struct mmh_footer *footer, bool *found, const struct source *source,
                             const mmh_allocator *allocator, mmh_error *err)
{
    *found = false;
    uint8_t *window = mmh_alloc(allocator, 0, SCAN_BYTES + MMH_FOOTER_BYTES);
    if (!window)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to look for the spare footer");
    mmh_status status = MMH_OK;
    for (uint64_t end = source->bytes; end >= MMH_CONTAINER_MIN_BYTES && !*found;) {
        uint64_t begin = end > SCAN_BYTES ? end - SCAN_BYTES : 0;
        uint64_t stop = end + MMH_FOOTER_BYTES < source->bytes ? end + MMH_FOOTER_BYTES
                                                               : source->bytes;
        status = source_read(source, window, begin, (size_t)(stop - begin), err);
        if (status != MMH_OK)
            break;
        for (uint64_t at = stop - MMH_FOOTER_BYTES + 1; at-- > begin;) {
            const uint8_t *candidate = window + (at - begin);
            if (candidate[0] == 'M' && mmh_footer_read(footer, candidate) &&
                stands_right(footer, at)) {
                *found = true;
                break;
            }
        }
        end = begin;
    }
    mmh_free(allocator, window);
    return status;
}

static mmh_status read_footer(struct mmh_footer *footer, unsigned *mended,
                              const struct source *source, bool spares,
                              const mmh_allocator *allocator, mmh_error *err)
{
    uint8_t bytes[MMH_FOOTER_BYTES];
    mmh_status status = source_read(source, bytes, source->bytes - MMH_FOOTER_BYTES,
                                    MMH_FOOTER_BYTES, err);
    if (status != MMH_OK)
        return status;
    if (mmh_footer_read(footer, bytes) && footer->container_bytes == source->bytes) {
        if (!spares)
            return MMH_OK;
        uint8_t spare[MMH_FOOTER_BYTES];
        status = source_read(source, spare, footer->trailer + footer->trailer_bytes,
                             MMH_FOOTER_BYTES, err);
        if (status == MMH_OK && memcmp(spare, bytes, MMH_FOOTER_BYTES) != 0)
            *mended |= MMH_SPARE_DAMAGED;
        return status;
    }
    bool found;
    status = find_spare(footer, &found, source, allocator, err);
    if (status != MMH_OK)
        return status;
    if (!found)
        return mmh_fail(err, MMH_E_CORRUPT, "no footer: the end is damaged or missing");
    *mended |= MMH_MENDED_FOOTER;
    return MMH_OK;
}

/* ---- the header ---- */

/* A sound header that says "not for you" is believed before any footer is looked for: another
 * version may end differently. */
static mmh_status peek_header(const struct source *source, mmh_error *err)
{
    uint8_t header[MMH_HEADER_BYTES];
    unsigned hash_suite, aead_suite;
    mmh_status status = source_read(source, header, 0, MMH_HEADER_BYTES, err);
    if (status == MMH_OK && mmh_header_crc_right(header) &&
        mmh_container_magic(header, MMH_HEADER_BYTES))
        status = mmh_header_check(header, &hash_suite, &aead_suite, err);
    return status;
}

static mmh_status read_header(mmh_container_reader *reader, const struct source *source,
                              mmh_error *err)
{
    const struct mmh_footer *footer = &reader->footer;
    uint8_t header[MMH_HEADER_BYTES];
    mmh_status status = source_read(source, header, 0, MMH_HEADER_BYTES, err);
    if (status != MMH_OK)
        return status;
    if (memcmp(header, footer->header, MMH_HEADER_BYTES) != 0) {
        if (mmh_header_crc_right(header) && mmh_container_magic(header, MMH_HEADER_BYTES))
            return mmh_fail(err, MMH_E_CORRUPT, "header and footer are of different containers");
        reader->mended |= MMH_MENDED_HEADER;
    }
    mmh_status checked = mmh_header_check(footer->header, &reader->hash_suite, &reader->aead_suite,
                                          err);
    reader->hash_bytes = mmh_hash_bytes(reader->hash_suite);
    reader->major = mmh_load16(footer->header + 8);
    reader->minor = mmh_load16(footer->header + 10);
    reader->times = mmh_load32(footer->header + 20) & MMH_OPTIONAL_TIMES;
    return checked;
}

/* ---- pages ---- */

struct page_table {
    const uint8_t *entries;
    uint32_t count;
    uint32_t public_count;  /* pages that are not sealed: the first ones */
    uint64_t decoded_bytes; /* of all */
    uint64_t public_bytes;  /* of those that are not sealed */
    unsigned hash_suite;
    size_t entry_bytes, hash_bytes;
};

static const uint8_t *page_entry(const struct page_table *table, uint32_t page)
{
    return table->entries + (size_t)page * table->entry_bytes;
}

static uint32_t page_stored(const struct page_table *table, uint32_t page)
{
    return mmh_load32(page_entry(table, page));
}

static uint32_t page_decoded(const struct page_table *table, uint32_t page)
{
    return mmh_load32(page_entry(table, page) + 4) & ~MMH_PAGE_SEALED;
}

static bool page_sealed(const struct page_table *table, uint32_t page)
{
    return mmh_load32(page_entry(table, page) + 4) & MMH_PAGE_SEALED;
}

/* The table's sizes add up to the index as stored, and decode to full pages: of a plain container one
 * run of open ones, of another such a run and one of sealed ones. */
static bool page_table_fits(struct page_table *table, const struct mmh_footer *footer,
                            bool encrypted)
{
    uint64_t stored = footer->table_bytes;
    table->decoded_bytes = table->public_bytes = 0;
    table->public_count = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        uint32_t bytes = page_stored(table, i), decoded = page_decoded(table, i);
        bool sealed = page_sealed(table, i);
        bool last = i + 1 == table->count || page_sealed(table, i + 1) != sealed;
        uint32_t tag = sealed ? MMH_AEAD_TAG_BYTES : 0;
        if (bytes <= tag || bytes - tag > decoded || decoded > MMH_PAGE_BYTES ||
            (!last && decoded != MMH_PAGE_BYTES) || (!sealed && i && page_sealed(table, i - 1)))
            return false;
        stored += bytes;
        table->decoded_bytes += decoded;
        if (!sealed) {
            table->public_bytes += decoded;
            table->public_count++;
        }
    }
    return table->public_count && (table->public_count < table->count) == encrypted &&
           stored == footer->index_bytes;
}

/* Read the page table of one copy of the index into entries; *right: it has the footer's root. */
static mmh_status read_table(uint8_t *entries, bool *right, const struct source *source,
                             uint64_t at, const struct mmh_footer *footer, unsigned hash_suite,
                             mmh_error *err)
{
    *right = false;
    if (at + footer->table_bytes > source->bytes)
        return MMH_OK;
    mmh_status status = source_read(source, entries, at, footer->table_bytes, err);
    if (status != MMH_OK)
        return status;
    uint8_t root[MMH_HASH_BYTES];
    status = mmh_root_hash(root, hash_suite, footer->header, entries, footer->table_bytes, err);
    *right = status == MMH_OK && memcmp(root, footer->root, MMH_HASH_BYTES) == 0;
    return status;
}

/* Read one page of one copy into stored[]; *right: it has the hash that the table says. */
static mmh_status read_page(uint8_t *stored, bool *right, const struct source *source, uint64_t at,
                            const struct page_table *table, uint32_t page, mmh_error *err)
{
    uint32_t bytes = page_stored(table, page);
    *right = false;
    if (at + bytes > source->bytes)
        return MMH_OK;
    mmh_status status = source_read(source, stored, at, bytes, err);
    if (status != MMH_OK)
        return status;
    uint8_t hash[MMH_HASH_BYTES];
    status = mmh_hash(hash, table->hash_suite, MMH_DOMAIN_PAGE, stored, bytes, err);
    *right = status == MMH_OK &&
             memcmp(hash, page_entry(table, page) + MMH_PAGE_HEAD_BYTES, table->hash_bytes) == 0;
    return status;
}

/* One page, of whichever copy is right, into stored[]. */
static mmh_status find_page(mmh_container_reader *reader, uint8_t *stored,
                            const struct source *source, const struct page_table *table,
                            uint32_t page, uint64_t within, bool spares, mmh_error *err)
{
    const struct mmh_footer *footer = &reader->footer;
    bool right = false;
    mmh_status status;
    if (spares) {
        status = read_page(stored, &right, source, footer->index_b + within, table, page, err);
        if (status != MMH_OK)
            return status;
        if (!right)
            reader->mended |= MMH_SPARE_DAMAGED;
    }
    status = read_page(stored, &right, source, footer->index_a + within, table, page, err);
    if (status != MMH_OK || right)
        return status;
    status = read_page(stored, &right, source, footer->index_b + within, table, page, err);
    if (status != MMH_OK)
        return status;
    if (!right)
        return mmh_fail(err, MMH_E_CORRUPT, "both copies of index page %u are damaged", page);
    reader->mended |= MMH_MENDED_INDEX;
    return MMH_OK;
}

static mmh_status decode_page(uint8_t *dst, const struct page_table *table, uint32_t page,
                              const uint8_t *stored, size_t bytes, mmh_error *err)
{
    uint32_t decoded = page_decoded(table, page);
    if (bytes == decoded) {
        memcpy(dst, stored, bytes);
        return MMH_OK;
    }
    size_t got = ZSTD_decompress(dst, decoded, stored, bytes);
    if (ZSTD_getErrorCode(got) == ZSTD_error_memory_allocation)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to decode the index");
    if (ZSTD_isError(got) || got != decoded)
        return mmh_fail(err, MMH_E_CORRUPT, "index page %u does not decode", page);
    return MMH_OK;
}

/* All pages: checked, and those that can be opened decoded into index[]. */
static mmh_status read_pages(mmh_container_reader *reader, uint8_t *index,
                             const struct source *source, const struct page_table *table,
                             bool spares, uint8_t *stored, mmh_error *err)
{
    uint64_t within = reader->footer.table_bytes;
    mmh_aead *aead = NULL;
    mmh_status status = MMH_OK;
    if (reader->aead_suite && !reader->locked)
        status = mmh_aead_create(&aead, reader->aead_suite, reader->keys.page, err);
    for (uint32_t page = 0; page < table->count && status == MMH_OK; page++) {
        size_t bytes = page_stored(table, page);
        reader->stage = MMH_OPEN_MERKLE;
        status = find_page(reader, stored, source, table, page, within, spares, err);
        within += bytes;
        if (status != MMH_OK || (page_sealed(table, page) && reader->locked))
            continue;
        if (page_sealed(table, page)) {
            uint8_t nonce[MMH_AEAD_NONCE_BYTES];
            mmh_aead_nonce(nonce, page);
            reader->stage = MMH_OPEN_SEALS;
            status = mmh_aead_open(aead, stored, nonce, stored, bytes, reader->footer.header,
                                   MMH_HEADER_BYTES, NULL);
            if (status != MMH_OK)
                status = mmh_fail(err, status, "index page %u is not what was sealed", page);
            bytes -= MMH_AEAD_TAG_BYTES;
        }
        if (status != MMH_OK)
            break;
        reader->stage = MMH_OPEN_INDEX;
        status = decode_page(index, table, page, stored, bytes, err);
        index += page_decoded(table, page);
    }
    mmh_aead_destroy(aead);
    return status;
}

/* ---- the index ---- */

static int64_t cursor_svarint(struct mmh_cursor *in)
{
    uint64_t value = mmh_cursor_varint(in);
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

/* A count of things that take at least `least` bytes each: bounds the allocation too. */
static mmh_status read_count(uint64_t *count, struct mmh_cursor *in, size_t least, const char *what,
                             mmh_error *err)
{
    *count = mmh_cursor_varint(in);
    if (*count > mmh_cursor_left(in) / least)
        return mmh_fail(err, MMH_E_CORRUPT, "index claims %llu %s in %zu bytes",
                        (unsigned long long)*count, what, mmh_cursor_left(in));
    return MMH_OK;
}

static const char *read_string(struct mmh_cursor *in, struct mmh_arena *arena, mmh_error *err)
{
    uint64_t bytes = mmh_cursor_varint(in);
    if (bytes > mmh_cursor_left(in)) {
        mmh_fail(err, MMH_E_CORRUPT, "a string of %llu bytes runs out of the index",
                 (unsigned long long)bytes);
        return NULL;
    }
    if (!bytes)
        return "";
    const uint8_t *text = mmh_cursor_bytes(in, (size_t)bytes);
    if (memchr(text, 0, (size_t)bytes)) {
        mmh_fail(err, MMH_E_CORRUPT, "a string in the index holds a zero byte");
        return NULL;
    }
    const char *copy = mmh_arena_string(arena, (const char *)text, (size_t)bytes);
    if (!copy)
        mmh_fail(err, MMH_E_MEMORY, "no memory for the index");
    return copy;
}

/* The public part: how many chunks, and where they are. */
static mmh_status read_chunks(mmh_container_reader *reader, struct mmh_cursor *in,
                              uint64_t data_end, mmh_error *err)
{
    struct mmh_index *index = &reader->index;
    size_t hash_bytes = reader->hash_bytes;
    mmh_status status = read_count(&index->chunk_count, in, 2 + hash_bytes, "chunks", err);
    if (status != MMH_OK)
        return status;
    if (index->chunk_count >= UINT32_MAX)
        return mmh_fail(err, MMH_E_CORRUPT, "index claims too many chunks");
    size_t count = (size_t)index->chunk_count;
    index->chunks = mmh_arena_array(&reader->arena, count, sizeof *index->chunks);
    if (count && !index->chunks)
        return mmh_fail(err, MMH_E_MEMORY, "index of %zu chunks", count);
    for (size_t i = 0; i < count; i++) {
        uint64_t bytes = mmh_cursor_varint(in);
        if (bytes > 2 * (uint64_t)MMH_CHUNK_BYTES_MAX ||
            (reader->aead_suite && bytes < MMH_AEAD_TAG_BYTES && !mmh_cursor_failed(in)))
            return mmh_fail(err, MMH_E_CORRUPT, "chunk %zu claims %llu bytes", i,
                            (unsigned long long)bytes);
        index->chunks[i].bytes = (uint32_t)bytes;
    }
    uint64_t end = MMH_HEADER_BYTES;
    for (size_t i = 0; i < count; i++) {
        uint64_t gap = mmh_cursor_varint(in);
        if (gap > data_end - end || index->chunks[i].bytes > data_end - end - gap)
            return mmh_fail(err, MMH_E_CORRUPT, "chunk %zu lies outside the container", i);
        index->chunks[i].offset = end + gap;
        end += gap + index->chunks[i].bytes;
    }
    const uint8_t *hashes = mmh_cursor_bytes(in, count * hash_bytes);
    if (!hashes)
        return mmh_cursor_finish_prefix(in, "chunk table", err);
    uint8_t *copy = mmh_arena_alloc(&reader->arena, 8, count * hash_bytes);
    if (!copy)
        return mmh_fail(err, MMH_E_MEMORY, "index of %zu chunks", count);
    memcpy(copy, hashes, count * hash_bytes);
    for (size_t i = 0; i < count; i++)
        index->chunks[i].hash = copy + i * hash_bytes;
    return mmh_cursor_finish_prefix(in, "chunk table", err);
}

/* What the private part says of chunks: their codecs, and the numbers that they were sealed with. */
static mmh_status read_chunk_kinds(mmh_container_reader *reader, struct mmh_cursor *in,
                                   mmh_error *err)
{
    struct mmh_index *index = &reader->index;
    const uint64_t limit = UINT64_C(1) << 63;
    size_t count = (size_t)index->chunk_count;
    for (size_t i = 0; i < count; i++)
        index->chunks[i].codec_id = mmh_cursor_u8(in);
    if (!reader->aead_suite)
        return mmh_cursor_finish_prefix(in, "chunk table", err);
    index->seal_numbers = mmh_arena_array(&reader->arena, count, sizeof *index->seal_numbers);
    if (!index->seal_numbers)
        return mmh_fail(err, MMH_E_MEMORY, "index of %zu chunks", count);
    for (size_t i = 0; i < count; i++) {
        uint64_t least = i ? index->seal_numbers[i - 1] + 1 : 0, more = mmh_cursor_varint(in);
        if (least >= limit || more >= limit - least)
            return mmh_fail(err, MMH_E_CORRUPT, "chunk %zu has an impossible seal number", i);
        index->seal_numbers[i] = least + more;
    }
    return mmh_cursor_finish_prefix(in, "chunk table", err);
}

/* One chunk number; every reference takes a byte of the index at least, which bounds refs. */
static mmh_status read_ref(uint32_t *ref, uint64_t *next, struct mmh_cursor *in,
                           uint64_t chunk_count, mmh_error *err)
{
    int64_t step = cursor_svarint(in), number = (int64_t)*next;
    if (step < -number || step >= (int64_t)chunk_count - number)
        return mmh_fail(err, MMH_E_CORRUPT, "a block names a chunk that does not exist");
    *ref = (uint32_t)(number + step);
    *next = (uint64_t)*ref + 1;
    return MMH_OK;
}

static mmh_status read_blocks(mmh_container_reader *reader, struct mmh_cursor *in, mmh_error *err)
{
    struct mmh_index *index = &reader->index;
    mmh_status status = read_count(&index->block_count, in, 6, "blocks", err);
    if (status != MMH_OK)
        return status;
    size_t count = (size_t)index->block_count;
    index->blocks = mmh_arena_array(&reader->arena, count, sizeof *index->blocks);
    size_t refs_room = mmh_cursor_left(in), refs_bytes;
    /* Not cleared: most of the room is never touched, so it takes no memory. */
    index->refs = mmh_size_mul(&refs_bytes, refs_room, sizeof *index->refs)
                    ? mmh_arena_alloc(&reader->arena, 0, refs_bytes)
                    : NULL;
    if ((count && !index->blocks) || !index->refs)
        return mmh_fail(err, MMH_E_MEMORY, "index of %zu blocks", count);
    uint64_t next = 0;
    for (size_t i = 0; i < count; i++) {
        struct mmh_block_entry *block = &index->blocks[i];
        block->dtype = mmh_cursor_u8(in);
        unsigned flags = mmh_cursor_u8(in);
        block->bytes = mmh_cursor_varint(in);
        uint64_t chunk_bytes = mmh_cursor_varint(in);
        if (mmh_cursor_failed(in))
            break;
        if (flags & ~(unsigned)MMH_BLOCK_FLAGS)
            return mmh_fail(err, MMH_E_UNSUPPORTED, "block %zu has unknown flags 0x%x", i, flags);
        if (!mmh_dtype_known(block->dtype))
            return mmh_fail(err, MMH_E_UNSUPPORTED, "block %zu has unknown element type %u", i,
                            (unsigned)block->dtype);
        unsigned scalar_bytes = mmh_dtype_scalar_bytes(block->dtype);
        if (!block->bytes || !chunk_bytes || chunk_bytes > MMH_CHUNK_BYTES_MAX ||
            mmh_dtype_scalar(block->dtype) != block->dtype || block->bytes % scalar_bytes ||
            chunk_bytes % scalar_bytes ||
            (block->dtype != MMH_DTYPE_OPAQUE && block->bytes > chunk_bytes &&
             chunk_bytes != (uint64_t)scalar_bytes << 18))
            return mmh_fail(err, MMH_E_CORRUPT, "block %zu has impossible sizes", i);
        block->chunk_bytes = (uint32_t)chunk_bytes;
        block->big_endian = flags & MMH_BLOCK_BIG_ENDIAN;
        block->has_model = flags & MMH_BLOCK_MODEL;
        if (block->has_model) {
            status = read_ref(&block->model, &next, in, index->chunk_count, err);
            if (status != MMH_OK)
                return status;
        }
        uint64_t refs = mmh_divide_up(block->bytes, chunk_bytes);
        if (refs > mmh_cursor_left(in) || refs > refs_room - index->ref_count)
            return mmh_fail(err, MMH_E_CORRUPT, "block %zu claims %llu chunks", i,
                            (unsigned long long)refs);
        block->first_ref = index->ref_count;
        for (uint64_t r = 0; r < refs; r++) {
            status = read_ref(&index->refs[index->ref_count++], &next, in, index->chunk_count, err);
            if (status != MMH_OK)
                return status;
        }
        block->floor_bytes = mmh_cursor_varint(in);
    }
    return mmh_cursor_finish_prefix(in, "block table", err);
}

/* Relative, no empty part, no "." or "..", no temporary name of ours, which would be swept. What
 * other systems read in names is asked where they are given. */
static bool name_is_safe(const char *name)
{
    if (strcmp(name, ".") == 0)
        return true;
    for (const char *part = name;;) {
        size_t length = strcspn(part, "/");
        if (length == 0 || (length == 1 && part[0] == '.') ||
            (length == 2 && part[0] == '.' && part[1] == '.') ||
            mmh_path_is_temporary(part, length))
            return false;
        if (!part[length])
            return true;
        part += length + 1;
    }
}

/* Whether `name` lies beneath `parent`. */
static bool name_is_beneath(const char *name, const char *parent)
{
    size_t length = strlen(parent);
    return strncmp(name, parent, length) == 0 && name[length] == '/';
}

static mmh_status read_metadata(struct mmh_file_record *record, struct mmh_cursor *in,
                                struct mmh_arena *arena, mmh_error *err)
{
    uint64_t count;
    mmh_status status = read_count(&count, in, 2, "metadata entries", err);
    if (status != MMH_OK)
        return status;
    struct mmh_metadata_entry *entries = mmh_arena_array(arena, (size_t)count, sizeof *entries);
    if (count && !entries)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for the index");
    for (uint64_t i = 0; i < count; i++) {
        entries[i].key = read_string(in, arena, err);
        if (!entries[i].key)
            return err ? err->status : MMH_E_CORRUPT;
        entries[i].value = read_string(in, arena, err);
        if (!entries[i].value)
            return err ? err->status : MMH_E_CORRUPT;
    }
    record->metadata = entries;
    record->metadata_count = (size_t)count;
    return MMH_OK;
}

/* Names before this one that could hold it: the chain of symlinks and files is short, as names
 * are sorted and a name's parents come before it. */
static mmh_status check_parents(const struct mmh_index *index, size_t file, mmh_error *err)
{
    const char *name = index->files[file].record.name;
    if (file == 0)
        return MMH_OK;
    if (strcmp(index->files[file - 1].record.name, name) >= 0)
        return mmh_fail(err, MMH_E_CORRUPT, "file names are not sorted or not unique: \"%s\"",
                        name);
    /* Names with the parent as their prefix sort behind it, so walk back through each parent by
     * binary search. */
    for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
        size_t length = (size_t)(slash - name), low = 0, high = file;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            const char *other = index->files[middle].record.name;
            int order = strncmp(other, name, length);
            if (order == 0 && other[length])
                order = 1;
            if (order == 0) {
                if (index->files[middle].record.kind != MMH_FILE_FOLDER &&
                    name_is_beneath(name, other))
                    return mmh_fail(err, MMH_E_CORRUPT, "\"%s\" lies beneath a file or symlink",
                                    name);
                break;
            }
            if (order < 0)
                low = middle + 1;
            else
                high = middle;
        }
    }
    return MMH_OK;
}

static mmh_status read_files(mmh_container_reader *reader, struct mmh_cursor *in, mmh_error *err)
{
    struct mmh_index *index = &reader->index;
    struct mmh_arena *arena = &reader->arena;
    mmh_status status = read_count(&index->file_count, in, 7, "files", err);
    if (status != MMH_OK)
        return status;
    size_t count = (size_t)index->file_count;
    index->files = mmh_arena_array(arena, count, sizeof *index->files);
    if (count && !index->files)
        return mmh_fail(err, MMH_E_MEMORY, "index of %zu files", count);
    uint64_t next_block = 0;
    for (size_t i = 0; i < count; i++) {
        struct mmh_file_entry *file = &index->files[i];
        struct mmh_file_record *record = &file->record;
        record->name = read_string(in, arena, err);
        if (!record->name)
            return err ? err->status : MMH_E_CORRUPT;
        record->kind = mmh_cursor_u8(in);
        record->format = mmh_cursor_u8(in);
        uint64_t mode = mmh_cursor_varint(in);
        uint64_t time = mmh_cursor_varint(in);
        record->has_time = time != 0;
        record->time_seconds = time ? (int64_t)(time - 1) : 0;
        if (mmh_cursor_failed(in))
            break;
        if (!name_is_safe(record->name))
            return mmh_fail(err, MMH_E_CORRUPT, "unsafe file name \"%s\"", record->name);
        status = check_parents(index, i, err);
        if (status != MMH_OK)
            return status;
        if (record->kind > MMH_FILE_SYMLINK)
            return mmh_fail(err, MMH_E_UNSUPPORTED, "\"%s\" is of unknown kind %u", record->name,
                            (unsigned)record->kind);
        if (mode > 07777 || record->time_seconds < 0 ||
            (strcmp(record->name, ".") == 0 && record->kind != MMH_FILE_FOLDER))
            return mmh_fail(err, MMH_E_CORRUPT, "impossible entry for \"%s\"", record->name);
        record->mode = (uint32_t)mode;
        file->first_block = next_block;
        if (record->kind == MMH_FILE_REGULAR) {
            record->bytes = mmh_cursor_varint(in);
            mmh_cursor_copy(in, record->digest, reader->hash_bytes);
            record->block_count = mmh_cursor_varint(in);
            if (record->block_count > index->block_count - next_block)
                return mmh_fail(err, MMH_E_CORRUPT, "\"%s\" claims blocks that do not exist",
                                record->name);
            uint64_t offset = 0;
            for (uint64_t b = 0; b < record->block_count; b++) {
                struct mmh_block_entry *block = &index->blocks[next_block + b];
                block->file = i;
                block->file_offset = offset;
                if (block->bytes > record->bytes - offset)
                    return mmh_fail(err, MMH_E_CORRUPT, "blocks of \"%s\" exceed its size",
                                    record->name);
                offset += block->bytes;
            }
            if (offset != record->bytes)
                return mmh_fail(err, MMH_E_CORRUPT, "blocks of \"%s\" do not fill it",
                                record->name);
            next_block += record->block_count;
        } else if (record->kind == MMH_FILE_SYMLINK) {
            record->target = read_string(in, arena, err);
            if (!record->target)
                return err ? err->status : MMH_E_CORRUPT;
        }
        status = read_metadata(record, in, arena, err);
        if (status != MMH_OK)
            return status;
    }
    status = mmh_cursor_finish_prefix(in, "file table", err);
    if (status == MMH_OK && next_block != index->block_count)
        status = mmh_fail(err, MMH_E_CORRUPT, "blocks that belong to no file");
    return status;
}

/* ---- the tensor table, column by column ---- */

static mmh_status read_tensor_files(mmh_container_reader *reader, struct mmh_cursor *in,
                                    mmh_error *err)
{
    struct mmh_index *index = &reader->index;
    uint64_t number = 0;
    for (size_t i = 0; i < index->tensor_count; i++) {
        uint64_t step = mmh_cursor_varint(in);
        if (step >= index->file_count || number + step >= index->file_count)
            return mmh_fail(err, MMH_E_CORRUPT, "tensor %zu belongs to no file", i);
        number += step;
        struct mmh_file_entry *file = &index->files[number];
        index->tensors[i].file = number;
        if (!file->tensor_count++)
            file->first_tensor = i;
    }
    return MMH_OK;
}

static mmh_status read_tensor_names(mmh_container_reader *reader, struct mmh_cursor *in,
                                    mmh_error *err)
{
    struct mmh_index *index = &reader->index;
    for (size_t i = 0; i < index->tensor_count; i++) {
        index->tensors[i].name = read_string(in, &reader->arena, err);
        if (!index->tensors[i].name)
            return err ? err->status : MMH_E_CORRUPT;
    }
    return MMH_OK;
}

/* Element types, flags, and how many dimensions. `strided` gets who has strides. */
static mmh_status read_tensor_types(mmh_container_reader *reader, const uint8_t **strided,
                                    struct mmh_cursor *in, mmh_error *err)
{
    struct mmh_index *index = &reader->index;
    size_t count = (size_t)index->tensor_count;
    const uint8_t *types = mmh_cursor_bytes(in, count), *flags = mmh_cursor_bytes(in, count);
    const uint8_t *dimensions = mmh_cursor_bytes(in, count);
    if (!dimensions || !flags || !types)
        return mmh_cursor_finish_prefix(in, "tensor table", err);
    for (size_t i = 0; i < count; i++) {
        struct mmh_tensor_record *tensor = &index->tensors[i];
        if (flags[i] & ~(unsigned)MMH_ROW_FLAGS)
            return mmh_fail(err, MMH_E_UNSUPPORTED, "tensor \"%s\" has unknown flags 0x%x",
                            tensor->name, flags[i]);
        tensor->dtype = types[i];
        tensor->big_endian = flags[i] & MMH_ROW_BIG_ENDIAN;
        tensor->column_major = flags[i] & MMH_ROW_COLUMN_MAJOR;
        tensor->dimensions = dimensions[i];
        if (!mmh_dtype_known(tensor->dtype))
            return mmh_fail(err, MMH_E_UNSUPPORTED, "tensor \"%s\" has unknown element type %u",
                            tensor->name, (unsigned)tensor->dtype);
        if (tensor->dimensions > MMH_DIMENSIONS_MAX)
            return mmh_fail(err, MMH_E_CORRUPT, "tensor \"%s\" has an impossible shape",
                            tensor->name);
    }
    *strided = flags;
    return MMH_OK;
}

/* One varint for each dimension of a tensor, in the arena; NULL: too few, or (as *status) no memory. */
static const uint64_t *read_sizes(mmh_container_reader *reader, uint32_t dimensions,
                                  struct mmh_cursor *in, mmh_status *status, mmh_error *err)
{
    uint64_t *sizes = NULL;
    if (dimensions > mmh_cursor_left(in))
        *status = mmh_fail(err, MMH_E_CORRUPT, "the tensor table ends too early");
    else if (!(sizes = mmh_arena_array(&reader->arena, dimensions, sizeof *sizes)))
        *status = mmh_fail(err, MMH_E_MEMORY, "no memory for the index");
    for (uint32_t d = 0; d < dimensions && *status == MMH_OK; d++)
        sizes[d] = mmh_cursor_varint(in);
    return sizes;
}

/* Bytes from its first to its last element; false if its shape is none. */
static bool tensor_bytes(uint64_t *bytes, const struct mmh_tensor_record *tensor)
{
    if (!tensor->strides)
        return mmh_shape_bytes(bytes, tensor->dtype, tensor->dimensions, tensor->shape);
    return !tensor->column_major &&
           mmh_shape_bytes(bytes, tensor->dtype, tensor->dimensions, tensor->shape) &&
           mmh_strides_bytes(bytes, tensor->dtype, tensor->dimensions, tensor->shape,
                             tensor->strides);
}

static mmh_status read_tensor_places(mmh_container_reader *reader, struct mmh_cursor *in,
                                     mmh_error *err)
{
    struct mmh_index *index = &reader->index;
    uint64_t end = 0;
    for (size_t i = 0; i < index->tensor_count; i++) {
        struct mmh_tensor_record *tensor = &index->tensors[i];
        uint64_t step = mmh_cursor_varint(in);
        if (i && tensor->file != tensor[-1].file)
            end = 0;
        tensor->offset = end + ((step >> 1) ^ (0 - (step & 1)));
        end = tensor->offset + tensor->bytes;
        const struct mmh_file_record *file = &index->files[tensor->file].record;
        if (file->kind != MMH_FILE_REGULAR || tensor->offset > file->bytes ||
            tensor->bytes > file->bytes - tensor->offset)
            return mmh_fail(err, MMH_E_CORRUPT, "tensor \"%s\" does not fit its file",
                            tensor->name);
    }
    return MMH_OK;
}

static mmh_status read_tensors(mmh_container_reader *reader, struct mmh_cursor *in, mmh_error *err)
{
    struct mmh_index *index = &reader->index;
    const uint8_t *flags = NULL;
    mmh_status status = read_count(&index->tensor_count, in, 6, "tensors", err);
    if (status != MMH_OK)
        return status;
    size_t count = (size_t)index->tensor_count;
    index->tensors = mmh_arena_array(&reader->arena, count, sizeof *index->tensors);
    if (count && !index->tensors)
        return mmh_fail(err, MMH_E_MEMORY, "index of %zu tensors", count);
    status = read_tensor_files(reader, in, err);
    if (status == MMH_OK)
        status = read_tensor_names(reader, in, err);
    if (status == MMH_OK)
        status = read_tensor_types(reader, &flags, in, err);
    for (size_t i = 0; i < count && status == MMH_OK; i++)
        index->tensors[i].shape = read_sizes(reader, index->tensors[i].dimensions, in, &status,
                                             err);
    for (size_t i = 0; i < count && status == MMH_OK; i++)
        if (flags[i] & MMH_ROW_STRIDES)
            index->tensors[i].strides = read_sizes(reader, index->tensors[i].dimensions, in,
                                                   &status, err);
    for (size_t i = 0; i < count && status == MMH_OK; i++) {
        struct mmh_tensor_record *tensor = &index->tensors[i];
        if (tensor->dtype == MMH_DTYPE_OPAQUE)
            tensor->bytes = mmh_cursor_varint(in);
        uint64_t bytes = tensor->bytes;
        bool shaped = tensor->dtype != MMH_DTYPE_OPAQUE || tensor->strides;
        if (shaped && (!tensor_bytes(&bytes, tensor) ||
                       (tensor->dtype == MMH_DTYPE_OPAQUE && bytes != tensor->bytes)))
            status = mmh_fail(err, MMH_E_CORRUPT, "tensor \"%s\" has an impossible shape",
                              tensor->name);
        tensor->bytes = bytes;
    }
    if (status == MMH_OK)
        status = read_tensor_places(reader, in, err);
    return status != MMH_OK ? status : mmh_cursor_finish_prefix(in, "tensor table", err);
}

static mmh_status read_extensions(struct mmh_cursor *in, mmh_error *err)
{
    uint64_t count;
    mmh_status status = read_count(&count, in, 2, "extensions", err);
    for (uint64_t i = 0; i < count && status == MMH_OK; i++) {
        uint64_t type = mmh_cursor_varint(in);
        uint64_t bytes = mmh_cursor_varint(in);
        if (bytes > mmh_cursor_left(in))
            return mmh_fail(err, MMH_E_CORRUPT, "an extension runs out of the index");
        mmh_cursor_skip(in, (size_t)bytes);
        if (type & 1)
            status = mmh_fail(err, MMH_E_UNSUPPORTED, "the index needs extension %llu",
                              (unsigned long long)type);
    }
    return status;
}

static mmh_status parse_public(mmh_container_reader *reader, struct mmh_cursor *in,
                               uint64_t data_end, mmh_error *err)
{
    uint32_t version = mmh_cursor_u32(in);
    if (!mmh_cursor_failed(in) && version != MMH_INDEX_VERSION)
        return mmh_fail(err, MMH_E_UNSUPPORTED, "index version %u", (unsigned)version);
    return read_chunks(reader, in, data_end, err);
}

static mmh_status parse_private(mmh_container_reader *reader, struct mmh_cursor *in, mmh_error *err)
{
    reader->index.writer = read_string(in, &reader->arena, err);
    if (!reader->index.writer)
        return err ? err->status : MMH_E_CORRUPT;
    reader->index.level = mmh_cursor_u8(in);
    mmh_status status = read_chunk_kinds(reader, in, err);
    reader->rest = in->data + mmh_cursor_position(in);
    reader->rest_bytes = mmh_cursor_left(in);
    if (status == MMH_OK)
        status = read_blocks(reader, in, err);
    if (status == MMH_OK)
        status = read_files(reader, in, err);
    if (status == MMH_OK)
        status = read_tensors(reader, in, err);
    if (status == MMH_OK)
        status = read_extensions(in, err);
    if (status == MMH_OK)
        status = mmh_cursor_finish(in, "index", err);
    return status;
}

static mmh_status parse_index(mmh_container_reader *reader, const uint8_t *data,
                              const struct page_table *table, uint64_t data_end, mmh_error *err)
{
    struct mmh_cursor in;
    if (!reader->aead_suite) { /* one part */
        mmh_cursor_init(&in, data, (size_t)table->decoded_bytes);
        mmh_status status = parse_public(reader, &in, data_end, err);
        return status == MMH_OK ? parse_private(reader, &in, err) : status;
    }
    mmh_cursor_init(&in, data, (size_t)table->public_bytes);
    mmh_status status = parse_public(reader, &in, data_end, err);
    if (status == MMH_OK)
        status = mmh_cursor_finish(&in, "public part of the index", err);
    if (status != MMH_OK || reader->locked)
        return status;
    mmh_cursor_init(&in, data + table->public_bytes,
                    (size_t)(table->decoded_bytes - table->public_bytes));
    return parse_private(reader, &in, err);
}

/* The page table, of whichever copy is right. */
static mmh_status find_table(mmh_container_reader *reader, uint8_t *entries,
                             const struct source *source, bool spares, mmh_error *err)
{
    const struct mmh_footer *footer = &reader->footer;
    bool right = false;
    mmh_status status = MMH_OK;
    if (spares) {
        status = read_table(entries, &right, source, footer->index_b, footer, reader->hash_suite,
                            err);
        if (!right)
            reader->mended |= MMH_SPARE_DAMAGED;
    }
    if (status == MMH_OK)
        status = read_table(entries, &right, source, footer->index_a, footer, reader->hash_suite,
                            err);
    if (status == MMH_OK && !right) {
        status = read_table(entries, &right, source, footer->index_b, footer, reader->hash_suite,
                            err);
        reader->mended |= MMH_MENDED_INDEX;
    }
    if (status == MMH_OK && !right)
        status = mmh_fail(err, MMH_E_CORRUPT, "both copies of the index are damaged");
    return status;
}

/* What the page table says is possible, and within the limits. */
static mmh_status check_table(const mmh_container_reader *reader, struct page_table *table,
                              uint64_t limit_bytes, mmh_error *err)
{
    const struct mmh_footer *footer = &reader->footer;
    if (!page_table_fits(table, footer, reader->aead_suite != MMH_AEAD_NONE))
        return mmh_fail(err, MMH_E_CORRUPT, "the page table is inconsistent");
    if (table->decoded_bytes > mmh_index_bound(footer->index_bytes))
        return mmh_fail(err, MMH_E_CORRUPT, "the index claims %llu bytes in %llu",
                        (unsigned long long)table->decoded_bytes,
                        (unsigned long long)footer->index_bytes);
    if (table->decoded_bytes > limit_bytes)
        return mmh_fail(err, MMH_E_LIMIT, "an index of %llu bytes is over the limit of %llu",
                        (unsigned long long)table->decoded_bytes, (unsigned long long)limit_bytes);
    return MMH_OK;
}

static mmh_status read_index(mmh_container_reader *reader, const struct source *source,
                             uint64_t limit_bytes, bool spares, bool keeps_rest,
                             const mmh_allocator *allocator, mmh_error *err)
{
    const struct mmh_footer *footer = &reader->footer;
    uint8_t *entries = NULL, *index = NULL, *stored = NULL;
    mmh_status status;
    reader->stage = MMH_OPEN_MERKLE;
    if (footer->page_count > PAGES_MAX || footer->index_a + footer->table_bytes > source->bytes)
        return mmh_fail(err, MMH_E_CORRUPT, "the index lies outside the container");
    entries = mmh_alloc(allocator, 0, footer->table_bytes);
    status = entries ? find_table(reader, entries, source, spares, err)
                     : mmh_fail(err, MMH_E_MEMORY, "page table of %u pages", footer->page_count);
    struct page_table table = { .entries = entries,
                                .count = footer->page_count,
                                .hash_suite = reader->hash_suite,
                                .hash_bytes = reader->hash_bytes,
                                .entry_bytes = mmh_page_entry_bytes(reader->hash_suite) };
    if (status == MMH_OK)
        status = check_table(reader, &table, limit_bytes, err);
    if (status != MMH_OK)
        goto done;
    size_t index_bytes = (size_t)(reader->locked ? table.public_bytes : table.decoded_bytes);
    index = mmh_alloc(allocator, 0, index_bytes);
    stored = mmh_alloc(allocator, 0, MMH_PAGE_BYTES + MMH_AEAD_TAG_BYTES);
    if (!index || !stored) {
        status = mmh_fail(err, MMH_E_MEMORY, "index of %zu bytes", index_bytes);
        goto done;
    }
    status = read_pages(reader, index, source, &table, spares, stored, err);
    if (status == MMH_OK) {
        reader->stage = MMH_OPEN_INDEX;
        status = parse_index(reader, index, &table, footer->index_a, err);
    }
    reader->page_count = table.count;
    if (keeps_rest && !reader->locked) {
        reader->decoded = index;
        index = NULL;
    } else {
        reader->rest = NULL;
        reader->rest_bytes = 0;
    }
done:
    mmh_free(allocator, stored);
    mmh_free(allocator, index);
    mmh_free(allocator, entries);
    return status;
}

/* ---- the door ---- */

/* The trailer, signatures and keys, as far as they are wanted. */
static mmh_status unlock(mmh_container_reader *reader, const struct source *source, bool spares,
                         const struct mmh_container_lock *lock, const mmh_allocator *allocator,
                         mmh_error *err)
{
    bool encrypted = reader->aead_suite != MMH_AEAD_NONE, found = false;
    mmh_status status = MMH_OK;
    if (spares || encrypted || (lock && lock->needs_trailer))
        status = mmh_trailer_read(&reader->trailer, &reader->footer, source->read, source->context,
                                  source->bytes, allocator, err);
    if (spares && !reader->trailer.sound)
        reader->mended |= MMH_TRAILER_DAMAGED;
    if (status == MMH_OK && lock && (encrypted || lock->needs_trailer))
        status = lock->unlock(lock->context, reader, &reader->keys, &found, err);
    reader->locked = encrypted && !found;
    return status;
}

mmh_status mmh_container_open_locked(mmh_container_reader *reader, mmh_container_read_at *read,
                                     void *read_context, uint64_t container_bytes,
                                     uint64_t limit_bytes, bool spares,
                                     const struct mmh_container_lock *lock,
                                     const mmh_allocator *allocator, mmh_error *err)
{
    mmh_error local = { 0 };
    memset(reader, 0, sizeof *reader);
    mmh_arena_init(&reader->arena, allocator);
    reader->trailer.fits = reader->trailer.sound = true;
    struct source source = { read, read_context, container_bytes };
    mmh_status status;
    if (container_bytes < MMH_CONTAINER_MIN_BYTES)
        status = mmh_fail(&local, MMH_E_CORRUPT, "%llu bytes are too few for a container",
                          (unsigned long long)container_bytes);
    else
        status = peek_header(&source, &local);
    if (status == MMH_OK)
        status = read_footer(&reader->footer, &reader->mended, &source, spares, allocator, &local);
    if (status == MMH_OK)
        status = read_header(reader, &source, &local);
    if (status == MMH_OK) {
        reader->container_bytes = container_bytes;
        reader->index_bytes = reader->footer.index_bytes;
        reader->index_offset = reader->footer.index_a;
        memcpy(reader->root, reader->footer.root, MMH_HASH_BYTES);
        status = unlock(reader, &source, spares, lock, allocator, &local);
    }
    if (status == MMH_OK)
        status = read_index(reader, &source, limit_bytes, spares, lock && lock->keeps_rest,
                            allocator, &local);
    if (status != MMH_OK) {
        mmh_container_close(reader);
        return mmh_fail(err, status, "%s", local.message);
    }
    reader->stage = MMH_OPEN_DONE;
    return MMH_OK;
}

mmh_status mmh_container_open(mmh_container_reader *reader, mmh_container_read_at *read,
                              void *read_context, uint64_t container_bytes, uint64_t limit_bytes,
                              bool spares, const mmh_allocator *allocator, mmh_error *err)
{
    return mmh_container_open_locked(reader, read, read_context, container_bytes, limit_bytes,
                                     spares, NULL, allocator, err);
}

void mmh_container_close(mmh_container_reader *reader)
{
    mmh_wipe(&reader->keys, sizeof reader->keys);
    mmh_trailer_release(&reader->trailer);
    mmh_free(reader->arena.allocator, reader->decoded);
    reader->decoded = NULL;
    mmh_arena_release(&reader->arena);
}

mmh_status mmh_container_check_chunk(const mmh_container_reader *reader, uint64_t chunk,
                                     const uint8_t *data, mmh_error *err)
{
    const struct mmh_chunk_entry *entry = &reader->index.chunks[chunk];
    uint8_t hash[MMH_HASH_BYTES];
    mmh_status status = mmh_hash(hash, reader->hash_suite, MMH_DOMAIN_CHUNK, data, entry->bytes,
                                 err);
    if (status != MMH_OK)
        return status;
    if (memcmp(hash, entry->hash, reader->hash_bytes) != 0)
        return mmh_fail(err, MMH_E_CORRUPT, "chunk %llu is damaged (offset 0x%llx, %u bytes)",
                        (unsigned long long)chunk, (unsigned long long)entry->offset,
                        (unsigned)entry->bytes);
    return MMH_OK;
}

mmh_status mmh_footer_find(struct mmh_footer *footer, bool *found, mmh_container_read_at *read,
                           void *read_context, uint64_t source_bytes,
                           const mmh_allocator *allocator, mmh_error *err)
{
    struct source source = { .read = read, .context = read_context, .bytes = source_bytes };
    unsigned mended = 0;
    mmh_error local = { 0 };
    *found = false;
    if (source_bytes < MMH_FOOTER_BYTES)
        return MMH_OK;
    mmh_status status = read_footer(footer, &mended, &source, false, allocator, &local);
    *found = status == MMH_OK;
    return *found || status == MMH_E_CORRUPT ? MMH_OK : mmh_fail(err, status, "%s", local.message);
}
