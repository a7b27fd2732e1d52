/*
 * The container reader: finds footer, header and index, mends them from their spares, and opens sealed
 * pages.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include <zstd.h>
#include <zstd_errors.h>

#include "base/bits.h"
#include "base/io.h"
#include "container/index_read.h"
#include "container/layout.h"
#include "container/trailer.h"

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
    if (!found) {
        uint8_t header[MMH_HEADER_BYTES];
        status = source_read(source, header, 0, MMH_HEADER_BYTES, err);
        if (status != MMH_OK)
            return status;
        return mmh_fail(err, MMH_E_CORRUPT,
                        mmh_container_magic(header, MMH_HEADER_BYTES)
                            ? "no footer: the end is damaged or missing"
                            : "this is no mmh container: pack makes one of a model file");
    }
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
        status = mmh_index_parse(reader, index, (size_t)table.public_bytes,
                                 (size_t)table.decoded_bytes, footer->index_a, err);
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
