/*
 * Encrypted and signed containers: who has the key gets every byte, whatever is done to a container gives
 * no other byte, and what guards one can be changed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "container/layout.h"
#include "container/trailer.h"
#include "engine/engine.h"
#include "engine/keys.h"
#include "integrity/digest.h"
#include "scratch.h"

enum { FILES = 5, FILE_ROOM = 200, IMAGE_ROOM = 1 << 16, UNTOUCHED = 0xa5 };

/* ---- who there is ---- */

static mmh_key *alice, *bob, *mallory; /* Alice reads, Bob signs; Mallory does neither */

/* Contexts that are used again and again. */
static mmh_context *stranger; /* has no key */
static mmh_context *reader;   /* has Alice's */
static mmh_context *truster;  /* has Alice's, and believes Bob alone */

static mmh_key *make_key(const char *algorithms)
{
    mmh_key *key;
    mmh_error err = { 0 };
    if (mmh_key_generate(&key, algorithms, 0, &err))
        fail_msg("%s: %s", algorithms ? algorithms : "the default", err.message);
    return key;
}

static mmh_context *make_context(const mmh_key *key, const mmh_key *signer)
{
    mmh_context *context;
    const mmh_context_options options = { .struct_size = sizeof options, .threads = 1 };
    assert_int_equal(mmh_context_create(&context, &options, NULL), MMH_OK);
    if (key)
        assert_int_equal(mmh_context_add_key(context, key, NULL), MMH_OK);
    if (signer) {
        const mmh_trust trust = { .struct_size = sizeof trust,
                                  .signers = &signer,
                                  .signer_count = 1 };
        assert_int_equal(mmh_context_require(context, &trust, NULL), MMH_OK);
    }
    return context;
}

/* ---- what there is ---- */

static struct {
    uint8_t data[FILES][FILE_ROOM];
    size_t bytes[FILES];
} files; /* "m/a" to "m/e": a chunk each */

static const char *file_name(size_t number)
{
    static const char *const names[FILES] = { "a", "b", "c", "d", "e" };
    return names[number];
}

/* A container in memory. */
struct image {
    uint8_t data[IMAGE_ROOM];
    size_t bytes;
};
static struct image sound,
    other; /* two of the same files for the same reader, by the same signer */

static void image_read(struct image *image, const char *path)
{
    uint8_t *data = read_file(path, &image->bytes);
    assert_non_null(data);
    assert_true(image->bytes <= IMAGE_ROOM);
    memcpy(image->data, data, image->bytes);
    free(data);
}

static void pack_with(const char *input, const char *output, mmh_pack_options options)
{
    mmh_error err = { 0 };
    options.struct_size = sizeof options;
    options.overwrite = true;
    if (mmh_pack(stranger, &input, 1, output, &options, NULL, &err))
        fail_msg("%s", err.message);
}

static void pack_sound(const char *output)
{
    const mmh_pack_options options = {
        .recipients = (const mmh_key *const *)&alice,
        .recipient_count = 1,
        .signers = (const mmh_key *const *)&bob,
        .signer_count = 1,
        .counter = 7,
    };
    pack_with(at("m"), output, options);
}

static int make_all(void **state)
{
    uint64_t random = 5;
    if (scratch_make(state) || mkdir(at("m"), 0755))
        return -1;
    alice = make_key("x25519");
    bob = make_key("ed25519");
    mallory = make_key("ed25519,x25519");
    stranger = make_context(NULL, NULL);
    reader = make_context(alice, NULL);
    truster = make_context(alice, bob);
    for (size_t f = 0; f < FILES; f++) {
        char path[600];
        files.bytes[f] = 60 + 20 * f;
        for (size_t i = 0; i < files.bytes[f]; i++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
            files.data[f][i] = (uint8_t)(random >> 56);
        }
        snprintf(path, sizeof path, "%s/%s", at("m"), file_name(f));
        write_file(path, files.data[f], files.bytes[f]);
    }
    pack_sound(at("m.mmh"));
    image_read(&sound, at("m.mmh"));
    pack_sound(at("n.mmh"));
    image_read(&other, at("n.mmh"));
    return 0;
}

static int remove_all(void **state)
{
    mmh_context_destroy(stranger);
    mmh_context_destroy(reader);
    mmh_context_destroy(truster);
    mmh_key_destroy(alice);
    mmh_key_destroy(bob);
    mmh_key_destroy(mallory);
    return scratch_remove(state);
}

/* ---- what is tried with a container ---- */

static bool all_untouched(const uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (data[i] != UNTOUCHED)
            return false;
    return true;
}

/* Which file has a name; FILES: the folder itself. */
static size_t file_number(const char *name)
{
    for (size_t f = 0; f < FILES; f++)
        if (strcmp(name, file_name(f)) == 0)
            return f;
    assert_string_equal(name, ".");
    return FILES;
}

/* Read all files of an open container: each comes whole, or nothing of it. Returns how many came. */
static size_t read_files(mmh_reader *opened, mmh_status *failure)
{
    mmh_container_info info = { .struct_size = sizeof info };
    size_t came = 0;
    assert_int_equal(mmh_container(opened, &info, NULL), MMH_OK);
    for (uint64_t i = 0; i < info.file_count; i++) {
        uint8_t back[FILE_ROOM];
        mmh_file_info file = { .struct_size = sizeof file };
        assert_int_equal(mmh_file(opened, i, &file, NULL), MMH_OK);
        size_t number = file_number(file.name);
        if (number == FILES)
            continue;
        assert_int_equal(file.bytes, files.bytes[number]);
        memset(back, UNTOUCHED, sizeof back);
        mmh_status status = mmh_read(opened, i, 0, back, (size_t)file.bytes, NULL);
        if (status == MMH_OK) {
            assert_memory_equal(back, files.data[number], files.bytes[number]);
            came++;
        } else {
            assert_true(all_untouched(back, sizeof back));
            *failure = status;
        }
    }
    return came;
}

static bool is_refusal(mmh_status status)
{
    return status == MMH_E_CORRUPT || status == MMH_E_KEY || status == MMH_E_UNTRUSTED ||
           status == MMH_E_UNSUPPORTED || status == MMH_E_LIMIT;
}

/*
 * Open, read, unpack and verify a container: what comes is what was packed, what does not come is not
 * there in part either. Returns how unpacking it ended.
 *
 *   came  out: files that could be read by themselves; may be NULL
 */
static mmh_status attempt(mmh_context *context, const uint8_t *data, size_t bytes, size_t *came)
{
    mmh_reader *opened;
    mmh_status failure = MMH_OK;
    size_t count = 0;
    write_file(at("x.mmh"), data, bytes);
    mmh_status status = mmh_open(context, at("x.mmh"), &opened, NULL);
    if (status == MMH_OK) {
        count = read_files(opened, &failure);
        mmh_close(opened);
    } else {
        assert_true(is_refusal(status));
    }
    mmh_status unpacked = mmh_unpack(context, at("x.mmh"), at("out"), NULL, NULL, NULL);
    if (unpacked == MMH_OK) {
        assert_int_equal(status, MMH_OK);
        assert_int_equal(count, FILES);
        assert_int_equal(entry_count(at("out")), FILES);
        for (size_t f = 0; f < FILES; f++) {
            char path[600];
            snprintf(path, sizeof path, "%s/%s", at("out"), file_name(f));
            assert_true(file_is(path, files.data[f], files.bytes[f]));
        }
        remove_tree(at("out"));
    } else {
        assert_true(is_refusal(unpacked));
        assert_true(access(at("out"), F_OK) != 0);
        assert_true(status != MMH_OK || failure != MMH_OK);
        assert_int_not_equal(mmh_verify(context, at("x.mmh"), NULL, NULL, NULL), MMH_OK);
    }
    if (came)
        *came = count;
    return unpacked;
}

/* ---- the parts of a container, and containers of parts, as one without the key can make them ---- */

enum { PARTS_MAX = 8 };

struct parts {
    uint8_t header[MMH_HEADER_BYTES];
    size_t chunk_count;
    struct {
        const uint8_t *data;
        uint32_t bytes;
        uint64_t gap;
    } chunks[PARTS_MAX];
    size_t page_count; /* sealed ones */
    struct {
        const uint8_t *data;
        uint32_t stored, decoded; /* with the flag */
    } pages[PARTS_MAX];
    const uint8_t *trailer;
    size_t trailer_bytes;
};

static void take_apart(struct parts *parts, const struct image *image)
{
    struct mmh_footer footer;
    struct mmh_cursor in;
    memset(parts, 0, sizeof *parts);
    assert_true(mmh_footer_read(&footer, image->data + image->bytes - MMH_FOOTER_BYTES));
    memcpy(parts->header, image->data, MMH_HEADER_BYTES);
    unsigned suite = parts->header[14];
    const uint8_t *table = image->data + footer.index_a, *page = table + footer.table_bytes;
    uint32_t stored = mmh_load32(table);
    assert_int_equal(stored, mmh_load32(table + 4)); /* hashes do not compress */
    mmh_cursor_init(&in, page, stored);
    assert_int_equal(mmh_cursor_u32(&in), MMH_INDEX_VERSION);
    parts->chunk_count = (size_t)mmh_cursor_varint(&in);
    assert_true(parts->chunk_count <= PARTS_MAX);
    for (size_t i = 0; i < parts->chunk_count; i++)
        parts->chunks[i].bytes = (uint32_t)mmh_cursor_varint(&in);
    uint64_t at = MMH_HEADER_BYTES;
    for (size_t i = 0; i < parts->chunk_count; i++) {
        parts->chunks[i].gap = mmh_cursor_varint(&in);
        parts->chunks[i].data = image->data + at + parts->chunks[i].gap;
        at += parts->chunks[i].gap + parts->chunks[i].bytes;
    }
    page += stored;
    for (size_t p = 1; p < footer.page_count; p++) {
        const uint8_t *entry = table + p * mmh_page_entry_bytes(suite);
        parts->pages[parts->page_count].data = page;
        parts->pages[parts->page_count].stored = mmh_load32(entry);
        parts->pages[parts->page_count++].decoded = mmh_load32(entry + 4);
        page += mmh_load32(entry);
    }
    parts->trailer = image->data + footer.trailer;
    parts->trailer_bytes = (size_t)footer.trailer_bytes;
}

static void put(struct image *image, const void *data, size_t bytes)
{
    assert_true(image->bytes + bytes <= IMAGE_ROOM);
    memcpy(image->data + image->bytes, data, bytes);
    image->bytes += bytes;
}

static void put_hash(struct mmh_buffer *out, unsigned suite, enum mmh_hash_domain domain,
                     const uint8_t *data, size_t bytes)
{
    uint8_t hash[MMH_HASH_BYTES];
    assert_int_equal(mmh_hash(hash, suite, domain, data, bytes, NULL), MMH_OK);
    mmh_buffer_bytes(out, hash, mmh_hash_bytes(suite));
}

/* The page table and the pages; every hash is right. */
static void make_pages(struct mmh_buffer *out, uint32_t *table_bytes, const struct parts *parts,
                       unsigned suite)
{
    struct mmh_buffer chunks, pages;
    mmh_buffer_init(&chunks, NULL);
    mmh_buffer_init(&pages, NULL);
    mmh_buffer_u32(&chunks, MMH_INDEX_VERSION);
    mmh_buffer_varint(&chunks, parts->chunk_count);
    for (size_t i = 0; i < parts->chunk_count; i++)
        mmh_buffer_varint(&chunks, parts->chunks[i].bytes);
    for (size_t i = 0; i < parts->chunk_count; i++)
        mmh_buffer_varint(&chunks, parts->chunks[i].gap);
    for (size_t i = 0; i < parts->chunk_count; i++)
        put_hash(&chunks, suite, MMH_DOMAIN_CHUNK, parts->chunks[i].data, parts->chunks[i].bytes);
    mmh_buffer_u32(out, (uint32_t)chunks.bytes);
    mmh_buffer_u32(out, (uint32_t)chunks.bytes);
    put_hash(out, suite, MMH_DOMAIN_PAGE, chunks.data, chunks.bytes);
    mmh_buffer_bytes(&pages, chunks.data, chunks.bytes);
    for (size_t p = 0; p < parts->page_count; p++) {
        mmh_buffer_u32(out, parts->pages[p].stored);
        mmh_buffer_u32(out, parts->pages[p].decoded);
        put_hash(out, suite, MMH_DOMAIN_PAGE, parts->pages[p].data, parts->pages[p].stored);
        mmh_buffer_bytes(&pages, parts->pages[p].data, parts->pages[p].stored);
    }
    *table_bytes = (uint32_t)out->bytes;
    mmh_buffer_bytes(out, pages.data, pages.bytes);
    assert_int_equal(mmh_buffer_finish(out, "index", NULL), MMH_OK);
    mmh_buffer_release(&pages);
    mmh_buffer_release(&chunks);
}

/*
 * A container of parts: all hashes and checksums are right.
 *
 *   keys  NULL: the trailer is taken as it is. Else its recipients get a right MAC too, as one who has the
 *         file key can give it.
 */
static void put_together(struct image *image, struct parts *parts, const struct mmh_file_keys *keys)
{
    static const uint8_t zeros[MMH_SEGMENT_ALIGNMENT];
    unsigned suite = parts->header[14];
    struct mmh_footer footer = { .page_count = (uint32_t)parts->page_count + 1 };
    struct mmh_buffer pages, trailer;
    uint8_t foot[MMH_FOOTER_BYTES];
    mmh_buffer_init(&pages, NULL);
    mmh_buffer_init(&trailer, NULL);
    mmh_store32(parts->header + 124, mmh_crc32(parts->header, 124));
    image->bytes = 0;
    put(image, parts->header, MMH_HEADER_BYTES);
    for (size_t i = 0; i < parts->chunk_count; i++) {
        put(image, zeros, (size_t)parts->chunks[i].gap);
        put(image, parts->chunks[i].data, parts->chunks[i].bytes);
    }
    make_pages(&pages, &footer.table_bytes, parts, suite);
    memcpy(footer.header, parts->header, MMH_HEADER_BYTES);
    assert_int_equal(
        mmh_root_hash(footer.root, suite, footer.header, pages.data, footer.table_bytes, NULL),
        MMH_OK);
    if (keys) {
        struct mmh_recipients_view view;
        struct mmh_buffer section;
        const uint8_t *old = parts->trailer + MMH_SECTION_HEAD_BYTES;
        size_t old_bytes = (size_t)mmh_load64(parts->trailer + 8);
        mmh_buffer_init(&section, NULL);
        assert_int_equal(mmh_load32(parts->trailer), MMH_SECTION_RECIPIENTS);
        assert_int_equal(mmh_recipients_view(&view, old, old_bytes, NULL), MMH_OK);
        assert_int_equal(mmh_recipients_write(&section, view.stanzas, view.stanza_bytes, view.count,
                                              keys, suite, footer.header, MMH_HEADER_BYTES,
                                              footer.root, mmh_hash_bytes(suite), NULL),
                         MMH_OK);
        mmh_trailer_add(&trailer, MMH_SECTION_RECIPIENTS, section.data, section.bytes);
        mmh_buffer_release(&section);
    } else {
        mmh_buffer_bytes(&trailer, parts->trailer, parts->trailer_bytes);
    }
    footer.index_a = image->bytes;
    footer.index_bytes = pages.bytes;
    footer.trailer = footer.index_a + footer.index_bytes;
    footer.trailer_bytes = trailer.bytes;
    footer.index_b = footer.trailer + footer.trailer_bytes + MMH_FOOTER_BYTES;
    footer.container_bytes = footer.index_b + footer.index_bytes + MMH_FOOTER_BYTES;
    mmh_footer_write(foot, &footer);
    put(image, pages.data, pages.bytes);
    put(image, trailer.data, trailer.bytes);
    put(image, foot, sizeof foot);
    put(image, pages.data, pages.bytes);
    put(image, foot, sizeof foot);
    assert_int_equal(image->bytes, footer.container_bytes);
    mmh_buffer_release(&trailer);
    mmh_buffer_release(&pages);
}

/* A forgery is refused by all; by those who ask for signatures as not signed. */
static void assert_refused(struct parts *parts)
{
    static struct image forged;
    put_together(&forged, parts, NULL);
    assert_int_not_equal(attempt(stranger, forged.data, forged.bytes, NULL), MMH_OK);
    mmh_status status = attempt(reader, forged.data, forged.bytes, NULL);
    assert_true(status == MMH_E_CORRUPT || status == MMH_E_KEY);
    status = attempt(truster, forged.data, forged.bytes, NULL);
    assert_true(status == MMH_E_UNTRUSTED || status == MMH_E_CORRUPT);
}

/* ---- the promises ---- */

static void test_who_has_the_key_gets_every_byte(void **state)
{
    size_t came;
    (void)state;
    assert_int_equal(attempt(reader, sound.data, sound.bytes, &came), MMH_OK);
    assert_int_equal(came, FILES);
    assert_int_equal(attempt(truster, sound.data, sound.bytes, &came), MMH_OK);
    assert_int_equal(attempt(stranger, sound.data, sound.bytes, &came), MMH_E_KEY);
    assert_int_equal(came, 0);
    assert_int_equal(mmh_verify(reader, at("m.mmh"), NULL, NULL, NULL), MMH_OK);
    mmh_context *wrong = make_context(mallory, NULL);
    assert_int_equal(attempt(wrong, sound.data, sound.bytes, &came), MMH_E_KEY);
    mmh_context_destroy(wrong);
    /* Nothing of the names is there to be read. */
    for (size_t f = 0; f < FILES; f++)
        for (size_t at = 0; at + 8 <= sound.bytes; at++)
            assert_true(memcmp(sound.data + at, files.data[f], 8) != 0);
}

static void test_containers_of_parts_are_the_containers(void **state)
{
    static struct image again;
    struct parts parts;
    (void)state;
    take_apart(&parts, &sound);
    assert_int_equal(parts.chunk_count, FILES);
    put_together(&again, &parts, NULL);
    assert_int_equal(again.bytes, sound.bytes);
    assert_memory_equal(again.data, sound.data, sound.bytes);
}

static void test_every_byte_is_guarded(void **state)
{
    static const uint8_t flips[] = { 0x01, 0x80, 0xff };
    static struct image changed;
    size_t refused = 0, mended = 0;
    (void)state;
    changed = sound;
    for (size_t at = 0; at < sound.bytes; at++)
        for (size_t f = 0; f < sizeof flips; f++) {
            changed.data[at] ^= flips[f];
            mmh_status status = attempt(reader, changed.data, changed.bytes, NULL);
            mmh_status trusted = attempt(truster, changed.data, changed.bytes, NULL);
            assert_int_not_equal(attempt(stranger, changed.data, changed.bytes, NULL), MMH_OK);
            if (trusted == MMH_OK) /* and whoever asks for less */
                assert_int_equal(status, MMH_OK);
            refused += status != MMH_OK;
            mended += status == MMH_OK;
            changed.data[at] ^= flips[f];
        }
    assert_true(refused > 3 * 400); /* chunks, recipients */
    assert_true(mended > 3 * 400);  /* what has a second copy, padding, the signature */
}

static void test_every_truncation_is_refused_or_whole(void **state)
{
    size_t refused = 0;
    (void)state;
    for (size_t bytes = 0; bytes < sound.bytes; bytes++) {
        mmh_status status = attempt(reader, sound.data, bytes, NULL);
        assert_int_equal(attempt(truster, sound.data, bytes, NULL), status);
        refused += status != MMH_OK;
        if (status != MMH_OK)
            assert_int_equal(status, MMH_E_CORRUPT);
    }
    assert_true(refused > sound.bytes / 2);
}

/* The next permutation in lexical order; false: that was the last. */
static bool permute(size_t *order, size_t count)
{
    size_t i = count - 1, j = count - 1;
    while (i && order[i - 1] >= order[i])
        i--;
    if (!i)
        return false;
    while (order[j] <= order[i - 1])
        j--;
    size_t swap = order[i - 1];
    order[i - 1] = order[j];
    order[j] = swap;
    for (j = count - 1; i < j; i++, j--) {
        swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    return true;
}

static struct mmh_file_keys keys_of(const char *path)
{
    mmh_reader *opened;
    struct mmh_opening opening = { .spares = false };
    assert_int_equal(mmh_reader_open_as(reader, path, &opening, &opened, NULL), MMH_OK);
    struct mmh_file_keys keys = opened->container.keys;
    mmh_close(opened);
    return keys;
}

/* All orders of five chunks: with every hash right that can be had without a key, and once more by one who
 * has the key, so that only the seals are left to tell. */
static void test_every_permutation_of_chunks_is_refused(void **state)
{
    static struct image forged;
    size_t order[FILES] = { 0, 1, 2, 3, 4 }, permutations = 0;
    struct mmh_file_keys keys = keys_of(at("m.mmh"));
    struct parts was, parts;
    (void)state;
    take_apart(&was, &sound);
    while (permute(order, FILES)) {
        size_t stayed = 0, came;
        parts = was;
        for (size_t i = 0; i < FILES; i++) {
            parts.chunks[i].data = was.chunks[order[i]].data;
            parts.chunks[i].bytes = was.chunks[order[i]].bytes;
            stayed += order[i] == i;
        }
        assert_refused(&parts);
        put_together(&forged, &parts, &keys);
        assert_int_equal(attempt(reader, forged.data, forged.bytes, &came), MMH_E_CORRUPT);
        assert_int_equal(came, stayed);
        assert_int_equal(attempt(truster, forged.data, forged.bytes, NULL), MMH_E_UNTRUSTED);
        permutations++;
    }
    assert_int_equal(permutations, 119);
}

static void test_changed_chunks_with_right_hashes_are_refused(void **state)
{
    static struct image forged;
    struct mmh_file_keys keys = keys_of(at("m.mmh"));
    struct parts parts;
    (void)state;
    for (size_t c = 0; c < FILES; c++)
        for (size_t byte = 0;; byte++) {
            uint8_t chunk[FILE_ROOM + MMH_AEAD_TAG_BYTES];
            size_t came;
            take_apart(&parts, &sound);
            if (byte == parts.chunks[c].bytes)
                break;
            memcpy(chunk, parts.chunks[c].data, parts.chunks[c].bytes);
            chunk[byte] ^= 1;
            parts.chunks[c].data = chunk;
            if (byte % 16 == 0)
                assert_refused(&parts);
            put_together(&forged, &parts, &keys);
            assert_int_equal(attempt(reader, forged.data, forged.bytes, &came), MMH_E_CORRUPT);
            assert_int_equal(came, FILES - 1);
        }
}

static void test_dropped_and_doubled_chunks_are_refused(void **state)
{
    struct parts was, parts;
    (void)state;
    take_apart(&was, &sound);
    for (size_t c = 0; c < FILES; c++) {
        parts = was;
        for (size_t i = c; i + 1 < FILES; i++)
            parts.chunks[i] = was.chunks[i + 1];
        parts.chunk_count = FILES - 1;
        assert_refused(&parts);
        for (size_t i = c + 1; i <= FILES; i++)
            parts.chunks[i] = was.chunks[i - 1];
        parts.chunk_count = FILES + 1;
        parts.chunks[c] = was.chunks[c];
        assert_refused(&parts);
    }
}

/* Two containers of the same files and people: no part of one serves in the other. */
static void test_splices_are_refused(void **state)
{
    struct parts ours, theirs, parts;
    (void)state;
    take_apart(&ours, &sound);
    take_apart(&theirs, &other);
    for (size_t c = 0; c < FILES; c++) {
        parts = ours;
        parts.chunks[c] = theirs.chunks[c];
        assert_refused(&parts);
    }
    parts = ours; /* all chunks */
    memcpy(parts.chunks, theirs.chunks, sizeof parts.chunks);
    assert_refused(&parts);
    parts = ours; /* names and digests */
    memcpy(parts.pages, theirs.pages, sizeof parts.pages);
    assert_refused(&parts);
    parts = ours; /* recipients and signatures */
    parts.trailer = theirs.trailer;
    parts.trailer_bytes = theirs.trailer_bytes;
    assert_refused(&parts);
    parts = ours; /* the header */
    memcpy(parts.header, theirs.header, sizeof parts.header);
    assert_refused(&parts);
    parts = ours; /* the header, and with it who reads */
    memcpy(parts.header, theirs.header, sizeof parts.header);
    parts.trailer = theirs.trailer;
    parts.trailer_bytes = theirs.trailer_bytes;
    assert_refused(&parts);
}

static void test_headers_that_were_edited_are_refused(void **state)
{
    struct parts parts;
    (void)state;
    for (size_t at = 0; at < 124; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            take_apart(&parts, &sound);
            parts.header[at] ^= (uint8_t)(1u << bit);
            if (at == 14 && mmh_hash_suite_name(parts.header[at]) == NULL)
                continue; /* there is no hash to make it right with */
            static struct image forged;
            put_together(&forged, &parts, NULL);
            mmh_status status = attempt(reader, forged.data, forged.bytes, NULL);
            assert_int_not_equal(status, MMH_OK);
            assert_int_not_equal(attempt(truster, forged.data, forged.bytes, NULL), MMH_OK);
        }
}

static void test_downgrades_are_refused(void **state)
{
    struct parts parts;
    (void)state;
    take_apart(&parts, &sound); /* another cipher */
    parts.header[15] = parts.header[15] == MMH_AEAD_AES_256_GCM ? MMH_AEAD_CHACHA20_POLY1305
                                                                : MMH_AEAD_AES_256_GCM;
    assert_refused(&parts);
    take_apart(&parts, &sound); /* none: what is sealed is taken for plain */
    parts.header[15] = MMH_AEAD_NONE;
    mmh_store32(parts.header + 16, 0);
    assert_refused(&parts);
    for (size_t p = 0; p < parts.page_count; p++) {
        parts.pages[p].stored -= MMH_AEAD_TAG_BYTES;
        parts.pages[p].decoded = parts.pages[p].stored;
    }
    assert_refused(&parts);
    for (unsigned suite = MMH_HASH_BLAKE3; suite <= MMH_HASH_SHA384; suite++) { /* another hash */
        take_apart(&parts, &sound);
        if (suite == parts.header[14] || !mmh_hash_suite_available(suite))
            continue;
        parts.header[14] = (uint8_t)suite;
        assert_refused(&parts);
    }
}

static void test_pages_whose_flag_was_flipped_are_refused(void **state)
{
    struct parts parts;
    (void)state;
    take_apart(&parts, &sound);
    for (size_t p = 0; p < parts.page_count; p++) {
        parts.pages[p].decoded ^= MMH_PAGE_SEALED;
        assert_refused(&parts);
        parts.pages[p].decoded ^= MMH_PAGE_SEALED;
        parts.pages[p].decoded--;
        assert_refused(&parts);
        parts.pages[p].decoded++;
    }
}

/* Copy the trailer without the sections of some types. */
static void trailer_without(struct mmh_buffer *out, const struct parts *parts, unsigned without)
{
    for (size_t at = 0; at < parts->trailer_bytes;) {
        const uint8_t *head = parts->trailer + at;
        size_t bytes = (size_t)mmh_load64(head + 8);
        if (!(without & 1u << mmh_load32(head)))
            mmh_trailer_add(out, mmh_load32(head), head + MMH_SECTION_HEAD_BYTES, bytes);
        at += MMH_SECTION_HEAD_BYTES + (size_t)mmh_round_up(bytes, 8);
    }
}

static void test_stripped_sections_are_missed(void **state)
{
    static struct image stripped;
    struct parts parts;
    (void)state;
    for (unsigned type = MMH_SECTION_RECIPIENTS; type <= MMH_SECTION_SIGNATURES; type++) {
        struct mmh_buffer trailer;
        mmh_buffer_init(&trailer, NULL);
        take_apart(&parts, &sound);
        trailer_without(&trailer, &parts, 1u << type);
        parts.trailer = trailer.data;
        parts.trailer_bytes = trailer.bytes;
        put_together(&stripped, &parts, NULL);
        bool signatures = type == MMH_SECTION_SIGNATURES;
        assert_int_equal(attempt(reader, stripped.data, stripped.bytes, NULL),
                         signatures ? MMH_OK : MMH_E_CORRUPT);
        assert_int_equal(attempt(truster, stripped.data, stripped.bytes, NULL),
                         signatures ? MMH_E_UNTRUSTED : MMH_E_CORRUPT);
        assert_int_equal(attempt(stranger, stripped.data, stripped.bytes, NULL), MMH_E_KEY);
        mmh_buffer_release(&trailer);
    }
}

/* One who may read it cannot give others another content in the signer's name. */
static void test_a_recipient_cannot_sign_for_another(void **state)
{
    static struct image forged;
    struct mmh_buffer trailer;
    struct parts theirs, ours;
    const mmh_pack_options options = { .recipients = (const mmh_key *const *)&alice,
                                       .recipient_count = 1,
                                       .signers = (const mmh_key *const *)&mallory,
                                       .signer_count = 1 };
    (void)state;
    pack_with(at("m"), at("forged.mmh"), options);
    image_read(&forged, at("forged.mmh"));
    assert_int_equal(attempt(reader, forged.data, forged.bytes, NULL), MMH_OK);
    assert_int_equal(attempt(truster, forged.data, forged.bytes, NULL), MMH_E_UNTRUSTED);
    take_apart(&theirs, &forged);
    take_apart(&ours, &sound);
    mmh_buffer_init(&trailer, NULL);
    trailer_without(&trailer, &theirs, 1u << MMH_SECTION_SIGNATURES);
    trailer_without(&trailer, &ours, 1u << MMH_SECTION_RECIPIENTS);
    theirs.trailer = trailer.data;
    theirs.trailer_bytes = trailer.bytes;
    static struct image signed_by_both;
    put_together(&signed_by_both, &theirs, NULL);
    assert_int_equal(attempt(reader, signed_by_both.data, signed_by_both.bytes, NULL), MMH_OK);
    assert_int_equal(attempt(truster, signed_by_both.data, signed_by_both.bytes, NULL),
                     MMH_E_UNTRUSTED);
    mmh_buffer_release(&trailer);
}

static void test_an_older_version_is_refused(void **state)
{
    (void)state;
    for (uint64_t least = 6; least <= 8; least++) {
        mmh_context *context = make_context(alice, NULL);
        const mmh_trust trust = { .struct_size = sizeof trust,
                                  .signers = (const mmh_key *const *)&bob,
                                  .signer_count = 1,
                                  .min_counter = least };
        assert_int_equal(mmh_context_require(context, &trust, NULL), MMH_OK);
        assert_int_equal(attempt(context, sound.data, sound.bytes, NULL),
                         least <= 7 ? MMH_OK : MMH_E_UNTRUSTED);
        mmh_context_destroy(context);
    }
}

/* ---- the rest of what is damaged ---- */

static void note_damage(void *user, const mmh_damage *damage)
{
    size_t number = file_number(damage->name);
    assert_int_equal(damage->bytes, files.bytes[number]);
    ((bool *)user)[number] = true;
}

/* Files that lack a chunk have zeros for it, the others all of theirs; and it is told. */
static void assert_rest_comes(const struct image *image, const bool *lost)
{
    static const uint8_t zeros[FILE_ROOM];
    bool told[FILES] = { false };
    const mmh_unpack_options options = { .struct_size = sizeof options,
                                         .skip_damaged = true,
                                         .damage = note_damage,
                                         .damage_user = told };
    mmh_unpack_report report = { .struct_size = sizeof report };
    mmh_error err = { 0 };
    size_t count = 0;
    write_file(at("x.mmh"), image->data, image->bytes);
    mmh_status status = mmh_unpack(reader, at("x.mmh"), at("out"), &options, &report, &err);
    for (size_t f = 0; f < FILES; f++) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", at("out"), file_name(f));
        assert_true(file_is(path, lost[f] ? zeros : files.data[f], files.bytes[f]));
        assert_int_equal(told[f], lost[f]);
        count += lost[f];
    }
    assert_int_equal(status, count ? MMH_E_CORRUPT : MMH_OK);
    assert_int_equal(status, err.status);
    assert_int_equal(report.damaged_chunks, count);
    remove_tree(at("out"));
}

static void test_the_rest_of_what_is_damaged_can_be_had(void **state)
{
    static struct image damaged;
    struct mmh_file_keys keys = keys_of(at("m.mmh"));
    (void)state;
    for (unsigned pattern = 0; pattern < 1u << FILES; pattern++) {
        bool lost[FILES];
        struct parts parts;
        uint8_t changed[FILES][FILE_ROOM];
        damaged = sound;
        take_apart(&parts, &damaged);
        for (size_t c = 0; c < FILES; c++) {
            lost[c] = pattern >> c & 1;
            memcpy(changed[c], parts.chunks[c].data, parts.chunks[c].bytes);
            changed[c][c] ^= lost[c];
            if (lost[c])
                damaged.data[parts.chunks[c].data - damaged.data + 5] ^= 0x10;
        }
        assert_rest_comes(&damaged, lost);
        for (size_t c = 0; c < FILES; c++) /* and with right hashes, but wrong tags */
            parts.chunks[c].data = changed[c];
        static struct image forged;
        put_together(&forged, &parts, &keys);
        assert_rest_comes(&forged, lost);
    }
}

/* ---- verify from outside, layer by layer ---- */

struct seen {
    int results[MMH_LAYER_COUNT];
    uint64_t counts[MMH_LAYER_COUNT];
    unsigned told;
};

static void see_layer(void *user, const mmh_layer *layer)
{
    struct seen *seen = user;
    assert_int_equal(layer->id, seen->told++);
    assert_true(layer->name && layer->text);
    seen->results[layer->id] = layer->result;
    seen->counts[layer->id] = layer->count;
}

static mmh_status verify_layers(mmh_context *context, const struct image *image, bool quick,
                                struct seen *seen)
{
    const mmh_verify_options options = {
        .struct_size = sizeof options, .quick = quick, .layer = see_layer, .layer_user = seen
    };
    memset(seen, 0, sizeof *seen);
    write_file(at("x.mmh"), image->data, image->bytes);
    mmh_status status = mmh_verify(context, at("x.mmh"), &options, NULL, NULL);
    assert_int_equal(seen->told, MMH_LAYER_COUNT);
    return status;
}

static void test_verify_tells_each_layer(void **state)
{
    static struct image changed;
    struct seen seen;
    struct parts parts;
    (void)state;
    assert_int_equal(verify_layers(truster, &sound, false, &seen), MMH_OK);
    static const int all[MMH_LAYER_COUNT] = { [MMH_LAYER_PARITY] = MMH_LAYER_ABSENT };
    assert_memory_equal(seen.results, all, sizeof all);
    assert_int_equal(seen.counts[MMH_LAYER_CHUNKS], FILES);
    assert_int_equal(seen.counts[MMH_LAYER_AEAD], FILES);
    assert_int_equal(seen.counts[MMH_LAYER_SIGNATURE], 1);
    assert_int_equal(seen.counts[MMH_LAYER_DIGEST], FILES);
    assert_int_equal(verify_layers(reader, &sound, false, &seen), MMH_OK);
    assert_int_equal(seen.results[MMH_LAYER_SIGNATURE], MMH_LAYER_SKIPPED);

    /* Without a key: structure, chunks and the path to the root. */
    assert_int_equal(verify_layers(stranger, &sound, false, &seen), MMH_E_KEY);
    assert_int_equal(seen.results[MMH_LAYER_STRUCTURE], MMH_LAYER_RIGHT);
    assert_int_equal(seen.results[MMH_LAYER_CHUNKS], MMH_LAYER_RIGHT);
    assert_int_equal(seen.counts[MMH_LAYER_CHUNKS], FILES);
    assert_int_equal(seen.results[MMH_LAYER_MERKLE], MMH_LAYER_RIGHT);
    assert_int_equal(seen.results[MMH_LAYER_AEAD], MMH_LAYER_SKIPPED);
    assert_int_equal(seen.results[MMH_LAYER_DECODE], MMH_LAYER_SKIPPED);
    assert_int_equal(verify_layers(stranger, &sound, true, &seen), MMH_OK);
    changed = sound;
    take_apart(&parts, &sound);
    size_t first = (size_t)(parts.chunks[0].data - sound.data);
    changed.data[first] ^= 1;
    assert_int_equal(verify_layers(stranger, &changed, false, &seen), MMH_E_CORRUPT);
    assert_int_equal(seen.results[MMH_LAYER_CHUNKS], MMH_LAYER_WRONG);
    assert_int_equal(seen.results[MMH_LAYER_MERKLE], MMH_LAYER_RIGHT);
    assert_int_equal(verify_layers(reader, &changed, false, &seen), MMH_E_CORRUPT);
    assert_int_equal(seen.results[MMH_LAYER_CHUNKS], MMH_LAYER_WRONG);

    /* What only the key can tell. */
    struct mmh_file_keys keys = keys_of(at("m.mmh"));
    uint8_t chunk[FILE_ROOM];
    memcpy(chunk, parts.chunks[1].data, parts.chunks[1].bytes);
    chunk[3] ^= 4;
    parts.chunks[1].data = chunk;
    put_together(&changed, &parts, &keys);
    assert_int_equal(verify_layers(reader, &changed, false, &seen), MMH_E_CORRUPT);
    assert_int_equal(seen.results[MMH_LAYER_CHUNKS], MMH_LAYER_RIGHT);
    assert_int_equal(seen.results[MMH_LAYER_AEAD], MMH_LAYER_WRONG);
    assert_int_equal(verify_layers(truster, &changed, false, &seen), MMH_E_UNTRUSTED);
    assert_int_equal(seen.results[MMH_LAYER_SIGNATURE], MMH_LAYER_WRONG);
}

static void test_what_guards_a_container_is_told_without_a_key(void **state)
{
    mmh_security *security;
    mmh_security_info info = { .struct_size = sizeof info };
    mmh_recipient_info recipient = { .struct_size = sizeof recipient };
    mmh_signature_info signature = { .struct_size = sizeof signature };
    mmh_key_info key = { .struct_size = sizeof key };
    (void)state;
    for (int known = 0; known < 2; known++) {
        assert_int_equal(mmh_security_open(truster, at("m.mmh"), (const mmh_key *const *)&bob,
                                           (size_t)known, NULL, &security, NULL),
                         MMH_OK);
        assert_int_equal(mmh_security_get(security, &info, NULL), MMH_OK);
        assert_true(info.encrypted);
        assert_string_equal(info.aead, mmh_aead_name(mmh_aead_default()));
        assert_int_equal(info.recipient_count, 1);
        assert_int_equal(info.signature_count, 1);
        assert_int_equal(mmh_security_recipient(security, 0, &recipient, NULL), MMH_OK);
        assert_string_equal(recipient.algorithm, "x25519");
        assert_true(recipient.classical && !recipient.post_quantum);
        assert_int_equal(mmh_security_recipient(security, 1, &recipient, NULL), MMH_E_USAGE);
        assert_int_equal(mmh_security_signature(security, 0, &signature, NULL), MMH_OK);
        assert_string_equal(signature.algorithm, "ed25519");
        assert_int_equal(signature.counter, 7);
        assert_true(signature.of_this_root);
        assert_int_equal(signature.result, known ? MMH_SIGNATURE_RIGHT : MMH_SIGNATURE_UNCHECKED);
        assert_int_equal(mmh_key_part(bob, 0, &key, NULL), MMH_OK);
        assert_memory_equal(signature.fingerprint, key.fingerprint, sizeof key.fingerprint);
        assert_int_equal(mmh_security_signature(security, 1, &signature, NULL), MMH_E_USAGE);
        mmh_security_close(security);
    }
}

/* ---- change ---- */

static mmh_status attempt_file(mmh_context *context, const char *path)
{
    static struct image image;
    image_read(&image, path);
    return attempt(context, image.data, image.bytes, NULL);
}

static const mmh_change_options in_place = { .struct_size = sizeof in_place };

static void test_encrypting_and_decrypting_give_back_the_container(void **state)
{
    static struct image plain, back;
    static const char passphrase[] = "correct horse";
    const mmh_change_options to_new = { .struct_size = sizeof to_new, .output = at("new.mmh") };
    (void)state;
    pack_with(at("m"), at("p.mmh"), (mmh_pack_options){ .level = 3, .keep_times = true });
    image_read(&plain, at("p.mmh"));
    assert_int_equal(mmh_encrypt(stranger, at("p.mmh"), (const mmh_key *const *)&alice, 1, NULL, 0,
                                 &in_place, NULL),
                     MMH_OK);
    assert_int_equal(attempt_file(reader, at("p.mmh")), MMH_OK);
    assert_int_equal(attempt_file(stranger, at("p.mmh")), MMH_E_KEY);
    assert_int_equal(mmh_verify(reader, at("p.mmh"), NULL, NULL, NULL), MMH_OK);
    /* Under another key, for others. */
    assert_int_equal(mmh_encrypt(stranger, at("p.mmh"), (const mmh_key *const *)&mallory, 1, NULL,
                                 0, &to_new, NULL),
                     MMH_E_KEY);
    assert_true(access(at("new.mmh"), F_OK) != 0);
    assert_int_equal(mmh_encrypt(reader, at("p.mmh"), (const mmh_key *const *)&mallory, 1,
                                 passphrase, sizeof passphrase - 1, &to_new, NULL),
                     MMH_OK);
    assert_int_equal(mmh_encrypt(reader, at("p.mmh"), (const mmh_key *const *)&mallory, 1, NULL, 0,
                                 &to_new, NULL),
                     MMH_E_USAGE);
    mmh_context *other_reader = make_context(mallory, NULL);
    assert_int_equal(attempt_file(other_reader, at("new.mmh")), MMH_OK);
    assert_int_equal(attempt_file(reader, at("new.mmh")), MMH_E_KEY);
    mmh_context_destroy(other_reader);
    /* And back: what was packed without encryption, to the byte. */
    assert_int_equal(mmh_decrypt(stranger, at("p.mmh"), &in_place, NULL), MMH_E_KEY);
    assert_int_equal(mmh_decrypt(reader, at("p.mmh"), &in_place, NULL), MMH_OK);
    image_read(&back, at("p.mmh"));
    assert_int_equal(back.bytes, plain.bytes);
    assert_memory_equal(back.data, plain.data, plain.bytes);
    assert_int_equal(mmh_decrypt(reader, at("p.mmh"), &in_place, NULL), MMH_E_USAGE);
    assert_int_equal(unlink(at("new.mmh")), 0);
}

/* Blocks with models, several chunks, equal ones, large enough to be aligned: by all threads. */
static void test_large_models_come_back_from_encryption(void **state)
{
    enum { ELEMENTS = 3 << 20 };
    static const char *const aeads[] = { "aes-256-gcm", "chacha20-poly1305" };
    const mmh_context_options four = { .struct_size = sizeof four, .threads = 4 };
    uint16_t *weights = malloc(2 * ELEMENTS);
    uint8_t *back = malloc(2 * ELEMENTS);
    uint64_t random = 9;
    mmh_context *context;
    (void)state;
    assert_true(weights && back);
    for (size_t i = 0; i < ELEMENTS; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        weights[i] = (uint16_t)(0x3c00 + (random >> 60) * 0x20 + (random >> 40 & 0x801f));
    }
    memcpy(weights + 2 * ELEMENTS / 3, weights, 2 * ELEMENTS / 3); /* equal chunks */
    write_file(at("w.bin"), weights, 2 * ELEMENTS);
    assert_int_equal(mmh_context_create(&context, &four, NULL), MMH_OK);
    assert_int_equal(mmh_context_add_key(context, alice, NULL), MMH_OK);
    const char *input = at("w.bin");
    uint8_t *plain, *sealed_then_opened;
    size_t plain_bytes = 0, opened_bytes = 0;
    for (size_t a = 0; a < MMH_COUNT_OF(aeads); a++) {
        mmh_pack_options options = { .struct_size = sizeof options,
                                     .overwrite = true,
                                     .raw_dtype = MMH_DTYPE_F16,
                                     .sha384 = a == 0,
                                     .aead = aeads[a] };
        mmh_pack_report report = { .struct_size = sizeof report };
        assert_int_equal(mmh_pack(context, &input, 1, at("wp.mmh"), &options, &report, NULL),
                         MMH_OK);
        assert_true(report.shared_chunks > 2 && report.chunk_count > 5);
        uint64_t chunks = report.chunk_count, shared = report.shared_chunks;
        options.recipients = (const mmh_key *const *)&alice;
        options.recipient_count = 1;
        assert_int_equal(mmh_pack(context, &input, 1, at("we.mmh"), &options, &report, NULL),
                         MMH_OK);
        assert_int_equal(report.chunk_count, chunks); /* equal chunks are found all the same */
        assert_int_equal(report.shared_chunks, shared);
        assert_int_equal(report.root_bytes, a == 0 ? 48 : 32);
        assert_int_equal(mmh_verify(context, at("we.mmh"), NULL, NULL, NULL), MMH_OK);
        mmh_reader *opened;
        assert_int_equal(mmh_open(context, at("we.mmh"), &opened, NULL), MMH_OK);
        assert_int_equal(mmh_read(opened, 0, 0, back, 2 * ELEMENTS, NULL), MMH_OK);
        assert_memory_equal(back, weights, 2 * ELEMENTS);
        mmh_close(opened);
        const mmh_change_options change = { .struct_size = sizeof change, .aead = aeads[1 - a] };
        assert_int_equal(mmh_encrypt(context, at("we.mmh"), (const mmh_key *const *)&alice, 1, NULL,
                                     0, &change, NULL),
                         MMH_OK);
        assert_int_equal(mmh_verify(context, at("we.mmh"), NULL, NULL, NULL), MMH_OK);
        assert_int_equal(mmh_decrypt(context, at("we.mmh"), &in_place, NULL), MMH_OK);
        plain = read_file(at("wp.mmh"), &plain_bytes);
        sealed_then_opened = read_file(at("we.mmh"), &opened_bytes);
        assert_int_equal(opened_bytes, plain_bytes);
        assert_memory_equal(sealed_then_opened, plain, plain_bytes);
        free(plain);
        free(sealed_then_opened);
    }
    mmh_context_destroy(context);
    free(back);
    free(weights);
}

static mmh_status say_passphrase(void *user, const char *why, char *passphrase, size_t room,
                                 size_t *bytes, mmh_error *err)
{
    const char *text = user;
    (void)err;
    assert_true(*why && room >= strlen(text));
    *bytes = strlen(text);
    memcpy(passphrase, text, *bytes);
    return MMH_OK;
}

static void test_recipients_are_added_and_signatures_stay(void **state)
{
    static char passphrase[] = "open sesame", wrong[] = "open barley";
    (void)state;
    for (int appended = 0; appended < 2; appended++) {
        pack_sound(at("r.mmh"));
        reader->anew_bytes = appended ? 0 : 64 << 20;
        assert_int_equal(mmh_add_recipients(reader, at("r.mmh"), (const mmh_key *const *)&mallory,
                                            1, NULL, 0, &in_place, NULL),
                         MMH_OK);
        assert_int_equal(mmh_add_recipients(reader, at("r.mmh"), NULL, 0, passphrase,
                                            sizeof passphrase - 1, &in_place, NULL),
                         MMH_OK);
        reader->anew_bytes = 64 << 20;
        assert_int_equal(mmh_add_recipients(stranger, at("r.mmh"), (const mmh_key *const *)&mallory,
                                            1, NULL, 0, &in_place, NULL),
                         MMH_E_KEY);
        mmh_context *other_reader = make_context(mallory, bob);
        assert_int_equal(attempt_file(other_reader, at("r.mmh")), MMH_OK);
        mmh_context_destroy(other_reader);
        assert_int_equal(attempt_file(truster, at("r.mmh")), MMH_OK);
        assert_int_equal(mmh_verify(truster, at("r.mmh"), NULL, NULL, NULL), MMH_OK);
        mmh_context *talker = make_context(NULL, bob);
        mmh_context_set_passphrase(talker, say_passphrase, passphrase);
        assert_int_equal(mmh_verify(talker, at("r.mmh"), NULL, NULL, NULL), MMH_OK);
        mmh_context_set_passphrase(talker, say_passphrase, wrong);
        assert_int_equal(mmh_verify(talker, at("r.mmh"), NULL, NULL, NULL), MMH_E_KEY);
        mmh_context_destroy(talker);
    }
    pack_with(at("m"), at("p.mmh"), (mmh_pack_options){ .level = 3 });
    assert_int_equal(mmh_add_recipients(reader, at("p.mmh"), (const mmh_key *const *)&mallory, 1,
                                        NULL, 0, &in_place, NULL),
                     MMH_E_USAGE);
}

static size_t signature_count(const char *path)
{
    mmh_security *security;
    mmh_security_info info = { .struct_size = sizeof info };
    assert_int_equal(mmh_security_open(stranger, path, NULL, 0, NULL, &security, NULL), MMH_OK);
    assert_int_equal(mmh_security_get(security, &info, NULL), MMH_OK);
    mmh_security_close(security);
    return info.signature_count;
}

static void test_signatures_are_added_and_removed(void **state)
{
    (void)state;
    for (int appended = 0; appended < 2; appended++)
        for (int encrypted = 0; encrypted < 2; encrypted++) {
            mmh_pack_options options = { .recipients = (const mmh_key *const *)&alice,
                                         .recipient_count = (size_t)encrypted };
            struct stat before, after;
            pack_with(at("m"), at("s.mmh"), options);
            stranger->anew_bytes = appended ? 0 : 64 << 20;
            assert_int_equal(attempt_file(truster, at("s.mmh")), MMH_E_UNTRUSTED);
            assert_int_equal(mmh_sign(stranger, at("s.mmh"), (const mmh_key *const *)&mallory, 1,
                                      &in_place, NULL),
                             MMH_OK);
            assert_int_equal(attempt_file(truster, at("s.mmh")), MMH_E_UNTRUSTED);
            assert_int_equal(stat(at("s.mmh"), &before), 0);
            assert_int_equal(
                mmh_sign(stranger, at("s.mmh"), (const mmh_key *const *)&bob, 1, &in_place, NULL),
                MMH_OK);
            assert_int_equal(stat(at("s.mmh"), &after), 0);
            assert_int_equal(before.st_ino == after.st_ino, appended);
            assert_int_equal(attempt_file(truster, at("s.mmh")), MMH_OK);
            assert_int_equal(mmh_verify(truster, at("s.mmh"), NULL, NULL, NULL), MMH_OK);
            assert_int_equal(signature_count(at("s.mmh")), 2);
            /* Removed ones are not there any more, not even in dead bytes. */
            const mmh_change_options removing = { .struct_size = sizeof removing, .remove = true };
            assert_int_equal(mmh_sign(stranger, at("s.mmh"), NULL, 0, &removing, NULL), MMH_OK);
            stranger->anew_bytes = 64 << 20;
            assert_int_equal(signature_count(at("s.mmh")), 0);
            assert_int_equal(attempt_file(truster, at("s.mmh")), MMH_E_UNTRUSTED);
            struct image *image = malloc(sizeof *image);
            assert_non_null(image);
            image_read(image, at("s.mmh"));
            for (size_t bytes = image->bytes; bytes > 256; bytes--)
                assert_int_not_equal(attempt(truster, image->data, bytes, NULL), MMH_OK);
            free(image);
        }
}

static void test_detached_signatures_count_as_others_do(void **state)
{
    const mmh_change_options detached = { .struct_size = sizeof detached,
                                          .detached = at("s.sig"),
                                          .counter = 3 };
    static struct image before, after;
    (void)state;
    pack_with(at("m"), at("s.mmh"), (mmh_pack_options){ .level = 3 });
    image_read(&before, at("s.mmh"));
    assert_int_equal(
        mmh_sign(stranger, at("s.mmh"), (const mmh_key *const *)&bob, 1, &detached, NULL), MMH_OK);
    assert_int_equal(
        mmh_sign(stranger, at("s.mmh"), (const mmh_key *const *)&bob, 1, &detached, NULL),
        MMH_E_USAGE);
    image_read(&after, at("s.mmh"));
    assert_int_equal(after.bytes, before.bytes);
    assert_memory_equal(after.data, before.data, after.bytes);
    assert_int_equal(mmh_verify(truster, at("s.mmh"), NULL, NULL, NULL), MMH_E_UNTRUSTED);
    mmh_context *context = make_context(NULL, NULL);
    mmh_trust trust = { .struct_size = sizeof trust,
                        .signers = (const mmh_key *const *)&bob,
                        .signer_count = 1,
                        .min_counter = 3,
                        .signature_file = at("s.sig") };
    assert_int_equal(mmh_context_require(context, &trust, NULL), MMH_OK);
    assert_int_equal(mmh_verify(context, at("s.mmh"), NULL, NULL, NULL), MMH_OK);
    assert_int_equal(mmh_verify(context, at("m.mmh"), NULL, NULL, NULL), MMH_E_KEY);
    /* Every byte of the file counts. */
    size_t bytes = 0;
    uint8_t *file = read_file(at("s.sig"), &bytes);
    assert_non_null(file);
    trust.signature_file = at("t.sig");
    assert_int_equal(mmh_context_require(context, &trust, NULL), MMH_OK);
    for (size_t i = 0; i < bytes; i++) {
        file[i] ^= 0x20;
        write_file(at("t.sig"), file, bytes);
        file[i] ^= 0x20;
        mmh_status status = mmh_verify(context, at("s.mmh"), NULL, NULL, NULL);
        assert_true(status == MMH_E_CORRUPT || status == MMH_E_UNTRUSTED);
    }
    mmh_context_destroy(context);
    free(file);
}

/* What was appended is cut off anywhere, as by a crash: the container is the old one or the new one, and
 * can be signed again. */
static void test_a_signing_that_is_cut_off_leaves_the_old_container(void **state)
{
    static struct image before, after;
    size_t trusted = 0;
    (void)state;
    const mmh_pack_options options = { .recipients = (const mmh_key *const *)&alice,
                                       .recipient_count = 1 };
    pack_with(at("m"), at("s.mmh"), options);
    image_read(&before, at("s.mmh"));
    stranger->anew_bytes = 0;
    assert_int_equal(
        mmh_sign(stranger, at("s.mmh"), (const mmh_key *const *)&bob, 1, &in_place, NULL), MMH_OK);
    image_read(&after, at("s.mmh"));
    assert_true(after.bytes > before.bytes);
    assert_memory_equal(after.data, before.data, before.bytes);
    for (size_t bytes = before.bytes; bytes <= after.bytes; bytes++) {
        assert_int_equal(attempt(reader, after.data, bytes, NULL), MMH_OK);
        mmh_status status = attempt(truster, after.data, bytes, NULL);
        assert_true(status == MMH_OK || (status == MMH_E_UNTRUSTED && !trusted));
        trusted += status == MMH_OK;
        if (bytes % 64 || status == MMH_OK)
            continue;
        write_file(at("s.mmh"), after.data, bytes);
        assert_int_equal(
            mmh_sign(stranger, at("s.mmh"), (const mmh_key *const *)&bob, 1, &in_place, NULL),
            MMH_OK);
        assert_int_equal(mmh_verify(truster, at("s.mmh"), NULL, NULL, NULL), MMH_OK);
        static struct image again;
        image_read(&again, at("s.mmh"));
        assert_int_equal(again.bytes, after.bytes);
    }
    stranger->anew_bytes = 64 << 20;
    assert_true(trusted > 0);
}

/* The default algorithms, with both halves. */
static void test_hybrids_guard_as_well(void **state)
{
    static struct image image, changed;
    mmh_key *key = make_key(NULL);
    const mmh_pack_options options = { .recipients = (const mmh_key *const *)&key,
                                       .recipient_count = 1,
                                       .signers = (const mmh_key *const *)&key,
                                       .signer_count = 1 };
    (void)state;
    pack_with(at("m"), at("h.mmh"), options);
    image_read(&image, at("h.mmh"));
    mmh_context *context = make_context(key, key);
    assert_int_equal(attempt(context, image.data, image.bytes, NULL), MMH_OK);
    changed = image;
    for (size_t at = 0; at < image.bytes; at += 17) {
        changed.data[at] ^= 0x80;
        (void)attempt(context, changed.data, changed.bytes, NULL);
        changed.data[at] ^= 0x80;
    }
    mmh_context_destroy(context);
    mmh_key_destroy(key);
}

static void test_keys_that_cannot_are_refused_before_any_work(void **state)
{
    const mmh_pack_options seal = { .struct_size = sizeof seal,
                                    .recipients = (const mmh_key *const *)&bob,
                                    .recipient_count = 1 };
    const mmh_pack_options sign = { .struct_size = sizeof sign,
                                    .signers = (const mmh_key *const *)&alice,
                                    .signer_count = 1 };
    const mmh_pack_options cipher = { .struct_size = sizeof cipher,
                                      .recipients = (const mmh_key *const *)&alice,
                                      .recipient_count = 1,
                                      .aead = "rot13" };
    const char *input = at("m");
    (void)state;
    assert_int_equal(mmh_pack(stranger, &input, 1, at("no.mmh"), &seal, NULL, NULL), MMH_E_USAGE);
    assert_int_equal(mmh_pack(stranger, &input, 1, at("no.mmh"), &sign, NULL, NULL), MMH_E_USAGE);
    assert_int_equal(mmh_pack(stranger, &input, 1, at("no.mmh"), &cipher, NULL, NULL), MMH_E_USAGE);
    assert_true(access(at("no.mmh"), F_OK) != 0);
    const mmh_trust nobody = { .struct_size = sizeof nobody };
    mmh_context *context = make_context(NULL, NULL);
    assert_int_equal(mmh_context_require(context, &nobody, NULL), MMH_E_USAGE);
    mmh_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_has_the_key_gets_every_byte),
        cmocka_unit_test(test_containers_of_parts_are_the_containers),
        cmocka_unit_test(test_every_byte_is_guarded),
        cmocka_unit_test(test_every_truncation_is_refused_or_whole),
        cmocka_unit_test(test_every_permutation_of_chunks_is_refused),
        cmocka_unit_test(test_changed_chunks_with_right_hashes_are_refused),
        cmocka_unit_test(test_dropped_and_doubled_chunks_are_refused),
        cmocka_unit_test(test_splices_are_refused),
        cmocka_unit_test(test_headers_that_were_edited_are_refused),
        cmocka_unit_test(test_downgrades_are_refused),
        cmocka_unit_test(test_pages_whose_flag_was_flipped_are_refused),
        cmocka_unit_test(test_stripped_sections_are_missed),
        cmocka_unit_test(test_a_recipient_cannot_sign_for_another),
        cmocka_unit_test(test_an_older_version_is_refused),
        cmocka_unit_test(test_the_rest_of_what_is_damaged_can_be_had),
        cmocka_unit_test(test_verify_tells_each_layer),
        cmocka_unit_test(test_what_guards_a_container_is_told_without_a_key),
        cmocka_unit_test(test_encrypting_and_decrypting_give_back_the_container),
        cmocka_unit_test(test_large_models_come_back_from_encryption),
        cmocka_unit_test(test_recipients_are_added_and_signatures_stay),
        cmocka_unit_test(test_signatures_are_added_and_removed),
        cmocka_unit_test(test_detached_signatures_count_as_others_do),
        cmocka_unit_test(test_a_signing_that_is_cut_off_leaves_the_old_container),
        cmocka_unit_test(test_hybrids_guard_as_well),
        cmocka_unit_test(test_keys_that_cannot_are_refused_before_any_work),
    };
    return cmocka_run_group_tests(tests, make_all, remove_all);
}
