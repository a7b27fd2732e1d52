/*
 * The walk over a zip archive's directory, from its end back and from its entries to their data.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Sizes come from the central directory, as the local headers of streamed archives (every one of
 * torch's) leave them open; where data begin comes from the local header, whose extra field may be
 * another one (torch pads in it).
 * Source: PKWARE APPNOTE.TXT 6.3.10, sections 4.3 and 4.5.3.
 */
#include "format/zip.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

enum {
    END_BYTES = 22,     /* of the end record without its comment */
    END64_BYTES = 56,   /* of the zip64 end record without extensions */
    LOCATOR_BYTES = 20, /* of what says where that is */
    CENTRAL_BYTES = 46, /* of an entry in the directory without its name, extra field, comment */
    LOCAL_BYTES = 30,   /* of the header before an entry's data, likewise */
    COMMENT_BYTES_MAX = 65535,
    WINDOW_BYTES = 2048, /* that are searched for the end record at a time */
    ZIP64_FIELD = 1,
    FLAG_ENCRYPTED = 1,
    FLAG_UTF8 = 0x800
};

#define LOCAL_MAGIC 0x04034b50u
#define CENTRAL_MAGIC 0x02014b50u
#define END_MAGIC 0x06054b50u
#define END64_MAGIC 0x06064b50u
#define LOCATOR_MAGIC 0x07064b50u

/* ---- the end of the archive ---- */

/* Whether a record of that magic number lies at `offset`. */
static bool magic_at(const mmh_source *source, uint64_t offset, uint32_t magic)
{
    uint8_t bytes[4];
    return offset <= source->bytes && source->bytes - offset >= sizeof bytes &&
           source->read(source->user, offset, bytes, sizeof bytes, NULL) == MMH_OK &&
           mmh_load32(bytes) == magic;
}

/* What an end record says. */
struct claim {
    uint64_t entry_count, directory_bytes, directory_offset;
    uint64_t record; /* where it lies in the source: the directory ends there */
};

/* Let a zip64 end record before the end record say it instead, if there is one. */
static mmh_status read_end64(struct claim *claim, const mmh_source *source, mmh_error *err)
{
    uint8_t bytes[END64_BYTES];
    uint64_t end = claim->record;
    if (end < LOCATOR_BYTES + END64_BYTES || !magic_at(source, end - LOCATOR_BYTES, LOCATOR_MAGIC))
        return MMH_OK;
    mmh_status status = source->read(source->user, end - LOCATOR_BYTES, bytes, LOCATOR_BYTES, err);
    if (status)
        return status;
    uint64_t told = mmh_load64(bytes + 8); /* counts from the archive's begin, where that may be */
    uint64_t at = end - LOCATOR_BYTES - END64_BYTES; /* nothing lies between them, as a rule */
    if (!magic_at(source, at, END64_MAGIC) && told < at)
        at = told;
    if (!magic_at(source, at, END64_MAGIC))
        return MMH_OK;
    status = source->read(source->user, at, bytes, sizeof bytes, err);
    if (status)
        return status;
    claim->entry_count = mmh_load64(bytes + 32);
    claim->directory_bytes = mmh_load64(bytes + 40);
    claim->directory_offset = mmh_load64(bytes + 48);
    claim->record = at;
    return MMH_OK;
}

/* The last end record before `end` whose comment reaches just to it; else the last one at all. */
static mmh_status find_end(uint64_t *record, const mmh_source *source, uint64_t end, mmh_error *err)
{
    uint8_t window[WINDOW_BYTES + END_BYTES - 1];
    uint64_t any = UINT64_MAX, next = end - END_BYTES + 1; /* where records have been looked for */
    uint64_t most = END_BYTES + COMMENT_BYTES_MAX, first = end > most ? end - most : 0;
    while (next > first) {
        size_t places = (size_t)MMH_MIN(next - first, (uint64_t)WINDOW_BYTES);
        uint64_t begin = next - places;
        mmh_status status = source->read(source->user, begin, window, places + END_BYTES - 1, err);
        if (status)
            return status;
        for (size_t at = places; at-- > 0;) {
            if (window[at] != 'P' || mmh_load32(window + at) != END_MAGIC)
                continue;
            *record = begin + at;
            if (mmh_load16(window + at + 20) == end - *record - END_BYTES)
                return MMH_OK;
            if (any == UINT64_MAX)
                any = *record;
        }
        next = begin;
    }
    *record = any;
    return any == UINT64_MAX ? mmh_fail(err, MMH_E_CORRUPT, "zip has no end record") : MMH_OK;
}

static mmh_status read_end(struct claim *claim, const mmh_source *source, uint64_t end,
                           mmh_error *err)
{
    uint8_t bytes[END_BYTES];
    mmh_status status = find_end(&claim->record, source, end, err);
    if (!status)
        status = source->read(source->user, claim->record, bytes, sizeof bytes, err);
    if (status)
        return status;
    claim->entry_count = mmh_load16(bytes + 10);
    claim->directory_bytes = mmh_load32(bytes + 12);
    claim->directory_offset = mmh_load32(bytes + 16);
    return read_end64(claim, source, err);
}

mmh_status mmh_zip_find_directory(struct mmh_zip_directory *directory, const mmh_source *source,
                                  uint64_t end, mmh_error *err)
{
    struct claim claim;
    if (end < END_BYTES || end > source->bytes)
        return mmh_fail(err, MMH_E_CORRUPT, "zip of %llu bytes", (unsigned long long)end);
    mmh_status status = read_end(&claim, source, end, err);
    if (status)
        return status;
    if (claim.directory_bytes > claim.record)
        return mmh_fail(err, MMH_E_CORRUPT, "directory of %llu bytes in a zip of %llu",
                        (unsigned long long)claim.directory_bytes, (unsigned long long)end);
    directory->end = claim.record;
    directory->offset = claim.record - claim.directory_bytes;
    directory->entry_count = claim.entry_count;
    if (claim.entry_count && !magic_at(source, directory->offset, CENTRAL_MAGIC))
        directory->offset = claim.directory_offset; /* something lies between it and its end */
    if (directory->offset > claim.record || claim.directory_offset > directory->offset ||
        (claim.entry_count && !magic_at(source, directory->offset, CENTRAL_MAGIC)))
        return mmh_fail(err, MMH_E_CORRUPT, "zip has no directory where its end says");
    directory->shift = directory->offset - claim.directory_offset;
    return MMH_OK;
}

bool mmh_zip_detect(const struct mmh_format_probe *probe)
{
    static const char *const suffixes[] = { ".zip", ".npz", ".pt",    ".pth",
                                            ".pt2", ".jit", ".keras", ".mar" };
    const mmh_source *source = probe->source;
    struct mmh_zip_directory directory;
    if (source->bytes < END_BYTES)
        return false;
    if (mmh_load32(probe->head) == LOCAL_MAGIC || mmh_load32(probe->head) == END_MAGIC)
        return true;
    for (size_t i = 0; i < MMH_COUNT_OF(suffixes); i++)
        if (mmh_name_has_suffix(source->name, suffixes[i]))
            return mmh_zip_find_directory(&directory, source, source->bytes, NULL) == MMH_OK;
    return magic_at(source, source->bytes - END_BYTES, END_MAGIC) &&
           mmh_zip_find_directory(&directory, source, source->bytes, NULL) == MMH_OK &&
           directory.entry_count;
}

/* ---- entries ---- */

/* An entry as the directory has it. */
struct central {
    uint16_t flags, method, name_bytes, extra_bytes, comment_bytes;
    uint64_t bytes, plain_bytes, header; /* header counts from the archive's begin */
};

/* The fixed part of the next entry; false: the directory ends here. */
static bool read_central(struct central *central, struct mmh_stream *in)
{
    if (mmh_stream_left(in) < CENTRAL_BYTES || mmh_stream_u32(in) != CENTRAL_MAGIC)
        return false;
    mmh_stream_skip(in, 4); /* versions */
    central->flags = mmh_stream_u16(in);
    central->method = mmh_stream_u16(in);
    mmh_stream_skip(in, 8); /* time, date, CRC */
    central->bytes = mmh_stream_u32(in);
    central->plain_bytes = mmh_stream_u32(in);
    central->name_bytes = mmh_stream_u16(in);
    central->extra_bytes = mmh_stream_u16(in);
    central->comment_bytes = mmh_stream_u16(in);
    mmh_stream_skip(in, 8); /* disk, attributes */
    central->header = mmh_stream_u32(in);
    return mmh_stream_left(in) >=
           (uint64_t)central->name_bytes + central->extra_bytes + central->comment_bytes;
}

/* Take what the 32-bit fields have no room for from the extra fields, and pass these over. */
static void read_extra(struct central *central, struct mmh_stream *in)
{
    uint64_t end = in->position + central->extra_bytes;
    while (!mmh_stream_failed(in) && end - in->position >= 4) {
        unsigned id = mmh_stream_u16(in);
        uint64_t bytes = mmh_stream_u16(in);
        uint64_t next = in->position + bytes;
        uint64_t *const wide[] = { &central->plain_bytes, &central->bytes, &central->header };
        if (next > end)
            break;
        for (size_t i = 0; id == ZIP64_FIELD && i < MMH_COUNT_OF(wide); i++)
            if (*wide[i] == UINT32_MAX && next - in->position >= 8)
                *wide[i] = mmh_stream_u64(in);
        mmh_stream_seek(in, next, in->end);
    }
    mmh_stream_seek(in, end, in->end);
}

bool mmh_zip_has_suffix(const mmh_source *source, const char *suffix)
{
    struct mmh_zip_directory directory;
    struct mmh_stream in;
    struct central central;
    char end[64];
    size_t bytes = strlen(suffix);
    if (bytes > sizeof end ||
        mmh_zip_find_directory(&directory, source, source->bytes, NULL) != MMH_OK)
        return false;
    mmh_stream_init(&in, source, directory.offset, directory.end);
    while (read_central(&central, &in)) {
        uint64_t after = in.position + central.name_bytes;
        if (central.name_bytes >= bytes) {
            mmh_stream_seek(&in, after - bytes, in.end);
            for (size_t i = 0; i < bytes; i++)
                end[i] = (char)mmh_stream_u8(&in);
            if (memcmp(end, suffix, bytes) == 0)
                return true;
        }
        mmh_stream_seek(&in, after, in.end);
        mmh_stream_skip(&in, (uint64_t)central.extra_bytes + central.comment_bytes);
    }
    return false;
}

/* The second half of code page 437, which names are in unless they say that they are UTF-8. */
static const uint16_t code_page_437[128] = {
    0x00c7, 0x00fc, 0x00e9, 0x00e2, 0x00e4, 0x00e0, 0x00e5, 0x00e7, 0x00ea, 0x00eb, 0x00e8, 0x00ef,
    0x00ee, 0x00ec, 0x00c4, 0x00c5, 0x00c9, 0x00e6, 0x00c6, 0x00f4, 0x00f6, 0x00f2, 0x00fb, 0x00f9,
    0x00ff, 0x00d6, 0x00dc, 0x00a2, 0x00a3, 0x00a5, 0x20a7, 0x0192, 0x00e1, 0x00ed, 0x00f3, 0x00fa,
    0x00f1, 0x00d1, 0x00aa, 0x00ba, 0x00bf, 0x2310, 0x00ac, 0x00bd, 0x00bc, 0x00a1, 0x00ab, 0x00bb,
    0x2591, 0x2592, 0x2593, 0x2502, 0x2524, 0x2561, 0x2562, 0x2556, 0x2555, 0x2563, 0x2551, 0x2557,
    0x255d, 0x255c, 0x255b, 0x2510, 0x2514, 0x2534, 0x252c, 0x251c, 0x2500, 0x253c, 0x255e, 0x255f,
    0x255a, 0x2554, 0x2569, 0x2566, 0x2560, 0x2550, 0x256c, 0x2567, 0x2568, 0x2564, 0x2565, 0x2559,
    0x2558, 0x2552, 0x2553, 0x256b, 0x256a, 0x2518, 0x250c, 0x2588, 0x2584, 0x258c, 0x2590, 0x2580,
    0x03b1, 0x00df, 0x0393, 0x03c0, 0x03a3, 0x03c3, 0x00b5, 0x03c4, 0x03a6, 0x0398, 0x03a9, 0x03b4,
    0x221e, 0x03c6, 0x03b5, 0x2229, 0x2261, 0x00b1, 0x2265, 0x2264, 0x2320, 0x2321, 0x00f7, 0x2248,
    0x00b0, 0x2219, 0x00b7, 0x221a, 0x207f, 0x00b2, 0x25a0, 0x00a0,
};

/* The name in UTF-8; NULL: no memory. */
static const char *utf8_name(const char *name, bool is_utf8, struct mmh_arena *arena)
{
    size_t bytes = strlen(name), high = 0, at = 0;
    for (size_t i = 0; i < bytes; i++)
        high += (uint8_t)name[i] >= 0x80;
    if (is_utf8 || !high)
        return name;
    char *text = mmh_arena_alloc(arena, 1, bytes + 2 * high + 1);
    if (!text)
        return NULL;
    for (size_t i = 0; i < bytes; i++) {
        unsigned byte = (uint8_t)name[i];
        unsigned code = byte < 0x80 ? byte : code_page_437[byte - 0x80];
        if (code >= 0x800)
            text[at++] = (char)(0xe0 | code >> 12);
        if (code >= 0x80)
            text[at++] = (char)(code >= 0x800 ? 0x80 | (code >> 6 & 63) : 0xc0 | code >> 6);
        text[at++] = (char)(code >= 0x80 ? 0x80 | (code & 63) : code);
    }
    text[at] = '\0';
    return text;
}

/* Find where the entry's data begin; false: there is no header of its own before them. */
static mmh_status find_data(struct mmh_zip_entry *entry, bool *found, const mmh_source *source,
                            uint64_t end, mmh_error *err)
{
    uint8_t local[LOCAL_BYTES];
    *found = false;
    if (entry->header > end || end - entry->header < LOCAL_BYTES)
        return MMH_OK;
    mmh_status status = source->read(source->user, entry->header, local, sizeof local, err);
    if (status)
        return status;
    entry->offset = entry->header + LOCAL_BYTES + mmh_load16(local + 26) + mmh_load16(local + 28);
    *found = mmh_load32(local) == LOCAL_MAGIC && entry->offset <= end &&
             entry->bytes <= end - entry->offset;
    return MMH_OK;
}

/* Read one entry; `kept` tells whether it is one. */
static mmh_status read_entry(struct mmh_zip_entry *entry, bool *kept, struct mmh_stream *in,
                             const struct mmh_zip_directory *directory, struct mmh_arena *arena,
                             mmh_error *err)
{
    struct central central;
    *kept = read_central(&central, in);
    if (!*kept)
        return mmh_stream_finish(in, "zip directory", err);
    const char *raw = mmh_stream_string(in, central.name_bytes, UINT16_MAX, arena);
    read_extra(&central, in);
    mmh_stream_skip(in, central.comment_bytes);
    mmh_status status = mmh_stream_finish(in, "zip directory", err);
    if (status)
        return status;
    *entry = (struct mmh_zip_entry){
        .name = utf8_name(raw, central.flags & FLAG_UTF8, arena),
        .bytes = central.bytes,
        .method = central.method,
        .encrypted = central.flags & FLAG_ENCRYPTED,
    };
    if (!entry->name)
        return mmh_fail(err, MMH_E_MEMORY, "names in a zip");
    if (!mmh_u64_add(&entry->header, central.header, directory->shift))
        entry->header = UINT64_MAX;
    status = find_data(entry, &entry->plain, in->source, directory->offset, err);
    if (!entry->plain)
        entry->bytes = 0;
    entry->plain = entry->plain && entry->method == MMH_ZIP_STORED && !entry->encrypted &&
                   central.bytes == central.plain_bytes;
    return status;
}

static int compare_headers(const void *left, const void *right)
{
    const struct mmh_zip_entry *a = *(const struct mmh_zip_entry *const *)left;
    const struct mmh_zip_entry *b = *(const struct mmh_zip_entry *const *)right;
    if (a->header != b->header)
        return a->header < b->header ? -1 : 1;
    return a < b ? -1 : a > b;
}

/* Entries that begin within an earlier one are not plain. */
static mmh_status check_overlaps(struct mmh_zip *zip, const mmh_allocator *allocator,
                                 mmh_error *err)
{
    uint64_t covered = 0;
    struct mmh_zip_entry **order = mmh_alloc_array(allocator, zip->entry_count,
                                                   sizeof(struct mmh_zip_entry *));
    if (!order)
        return mmh_fail(err, MMH_E_MEMORY, "zip of %zu entries", zip->entry_count);
    for (size_t i = 0; i < zip->entry_count; i++)
        order[i] = &zip->entries[i];
    if (zip->entry_count > 1)
        qsort(order, zip->entry_count, sizeof(struct mmh_zip_entry *), compare_headers);
    for (size_t i = 0; i < zip->entry_count; i++) {
        struct mmh_zip_entry *entry = order[i];
        if (entry->header < covered)
            entry->plain = false;
        else if (entry->bytes || entry->plain)
            covered = entry->offset + entry->bytes;
        zip->doubtful_count += !entry->plain && entry->method == MMH_ZIP_STORED;
        zip->compressed_bytes += entry->method != MMH_ZIP_STORED ? entry->bytes : 0;
    }
    mmh_free(allocator, order);
    return MMH_OK;
}

mmh_status mmh_zip_read(struct mmh_zip *zip, struct mmh_arena *arena, const mmh_source *source,
                        uint64_t end, mmh_error *err)
{
    struct mmh_zip_directory directory;
    struct mmh_stream in;
    mmh_status status = mmh_zip_find_directory(&directory, source, end, err);
    if (status)
        return status;
    uint64_t most = MMH_MIN(directory.entry_count,
                            (directory.end - directory.offset) / CENTRAL_BYTES);
    *zip = (struct mmh_zip){ 0 };
    zip->entries = mmh_arena_array(arena, (size_t)most, sizeof *zip->entries);
    if (!zip->entries)
        return mmh_fail(err, MMH_E_MEMORY, "zip of %llu entries", (unsigned long long)most);
    mmh_stream_init(&in, source, directory.offset, directory.end);
    for (bool kept = true; kept && zip->entry_count < most; zip->entry_count += kept) {
        status = read_entry(&zip->entries[zip->entry_count], &kept, &in, &directory, arena, err);
        if (status)
            return status;
    }
    return check_overlaps(zip, arena->allocator, err);
}

void mmh_zip_remark(const struct mmh_zip *zip, struct mmh_extent_map *map)
{
    if (zip->compressed_bytes)
        mmh_extent_map_remark(map,
                              "%llu bytes of the archive are compressed already: they stay as "
                              "they are",
                              (unsigned long long)zip->compressed_bytes);
    if (zip->doubtful_count)
        mmh_extent_map_remark(map,
                              "%zu entries of the archive are encrypted, overlap others or lie "
                              "outside of it: kept as plain bytes",
                              zip->doubtful_count);
}
