/*
 * Signatures of containers, and policies (docs/format.md section 16).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "trust/statement.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "integrity/digest.h"

enum {
    SECTION_VERSION = 1,
    STATEMENT_VERSION = 1,
    ENTRY_PREFIX = 12, /* of a signature, before its statement */
    ROOT_BYTES_MAX = 64
};

static const char signed_prefix[] = "mmh signature v1\n";
static const char signature_context[] = "mmh";
static const uint8_t file_magic[8] = "MMHSIG1\n";

/* ---- reading ---- */

/* Pass over the notes of a statement. */
static bool notes_skip(struct mmh_cursor *cursor, size_t count)
{
    if (count > MMH_NOTES_MAX)
        return false;
    for (size_t i = 0; i < 2 * count; i++)
        mmh_cursor_skip(cursor, mmh_cursor_u16(cursor));
    return !mmh_cursor_failed(cursor);
}

/* False if a statement of the version that we know, by an algorithm that we know, is not as it should be. */
static bool statement_read(struct mmh_signature_view *view)
{
    struct mmh_cursor cursor;
    mmh_cursor_init(&cursor, view->stated, view->stated_bytes);
    if (!mmh_signature_by_id(view->algorithm))
        return true; /* whatever it states */
    view->known = mmh_cursor_u8(&cursor) == STATEMENT_VERSION;
    if (mmh_cursor_failed(&cursor))
        return false;
    if (!view->known)
        return true;
    view->statement.hash_suite = mmh_cursor_u8(&cursor);
    view->statement.root_bytes = mmh_cursor_u8(&cursor);
    view->statement.root = mmh_cursor_bytes(&cursor, view->statement.root_bytes);
    view->fingerprint = mmh_cursor_bytes(&cursor, MMH_FINGERPRINT_BYTES);
    view->statement.counter = mmh_cursor_u64(&cursor);
    view->statement.time_seconds = mmh_cursor_u64(&cursor);
    view->statement.note_count = mmh_cursor_u16(&cursor);
    if (mmh_cursor_failed(&cursor) || !view->statement.root_bytes ||
        view->statement.root_bytes > ROOT_BYTES_MAX)
        return false;
    view->notes_bytes = mmh_cursor_left(&cursor);
    view->notes = view->stated + mmh_cursor_position(&cursor);
    return notes_skip(&cursor, view->statement.note_count) && !mmh_cursor_left(&cursor);
}

/* False if what begins at the cursor is no signature. */
static bool signature_read(struct mmh_cursor *cursor, struct mmh_signature_view *view)
{
    memset(view, 0, sizeof *view);
    view->algorithm = mmh_cursor_u16(cursor);
    const unsigned zero = mmh_cursor_u16(cursor);
    view->stated_bytes = mmh_cursor_u32(cursor);
    view->signature_bytes = mmh_cursor_u32(cursor);
    if (zero || view->stated_bytes > MMH_STATEMENT_BYTES_MAX ||
        view->signature_bytes > MMH_SIGNATURE_BYTES_MAX)
        return false;
    view->stated = mmh_cursor_bytes(cursor, view->stated_bytes);
    view->signature = mmh_cursor_bytes(cursor, view->signature_bytes);
    return !mmh_cursor_failed(cursor) && statement_read(view);
}

mmh_status mmh_signatures_view(struct mmh_signatures *signatures, const uint8_t *section,
                               size_t bytes, mmh_error *err)
{
    struct mmh_cursor cursor;
    struct mmh_signature_view view;
    memset(signatures, 0, sizeof *signatures);
    if (!bytes)
        return MMH_OK;
    mmh_cursor_init(&cursor, section, bytes);
    const unsigned version = mmh_cursor_u16(&cursor);
    const size_t count = mmh_cursor_u16(&cursor);
    if (mmh_cursor_failed(&cursor))
        return mmh_fail(err, MMH_E_CORRUPT, "signatures: %zu bytes are too few", bytes);
    if (version != SECTION_VERSION)
        return mmh_fail(err, MMH_E_UNSUPPORTED, "signatures are of version %u, this reads %d",
                        version, SECTION_VERSION);
    if (!count || count > MMH_SIGNATURES_MAX)
        return mmh_fail(err, MMH_E_CORRUPT, "signatures: %zu of them, not 1 to %d", count,
                        MMH_SIGNATURES_MAX);
    for (size_t i = 0; i < count; i++) {
        signatures->offsets[i] = (uint32_t)mmh_cursor_position(&cursor);
        if (!signature_read(&cursor, &view))
            return mmh_fail(err, MMH_E_CORRUPT,
                            "signature %zu of %zu is damaged (offset %" PRIu32
                            " in the signatures)",
                            i, count, signatures->offsets[i]);
    }
    if (mmh_cursor_left(&cursor))
        return mmh_fail(err, MMH_E_CORRUPT, "signatures: %zu bytes too many",
                        mmh_cursor_left(&cursor));
    signatures->section = section;
    signatures->bytes = bytes;
    signatures->count = count;
    return MMH_OK;
}

void mmh_signatures_at(const struct mmh_signatures *signatures, size_t number,
                       struct mmh_signature_view *view)
{
    struct mmh_cursor cursor;
    mmh_cursor_init(&cursor, signatures->section, signatures->bytes);
    mmh_cursor_skip(&cursor, signatures->offsets[number]);
    (void)signature_read(&cursor, view); /* it was right when the section was looked through */
}

bool mmh_signature_note(const struct mmh_signature_view *view, size_t number, struct mmh_note *note)
{
    struct mmh_cursor cursor;
    if (number >= view->statement.note_count)
        return false;
    mmh_cursor_init(&cursor, view->notes, view->notes_bytes);
    (void)notes_skip(&cursor, number);
    note->key_bytes = mmh_cursor_u16(&cursor);
    note->key = (const char *)mmh_cursor_bytes(&cursor, note->key_bytes);
    note->value_bytes = mmh_cursor_u16(&cursor);
    note->value = (const char *)mmh_cursor_bytes(&cursor, note->value_bytes);
    return !mmh_cursor_failed(&cursor);
}

bool mmh_signature_is_of(const struct mmh_signature_view *view, unsigned hash_suite,
                         const uint8_t *root, size_t root_bytes)
{
    return view->known && view->statement.hash_suite == hash_suite &&
           view->statement.root_bytes == root_bytes &&
           memcmp(view->statement.root, root, root_bytes) == 0;
}

/* ---- signing ---- */

/* What is signed of a statement. */
static void signed_text(struct mmh_buffer *text, unsigned algorithm, const uint8_t *stated,
                        size_t stated_bytes)
{
    mmh_buffer_bytes(text, signed_prefix, sizeof signed_prefix - 1);
    mmh_buffer_u16(text, (uint16_t)algorithm);
    mmh_buffer_u32(text, (uint32_t)stated_bytes);
    mmh_buffer_bytes(text, stated, stated_bytes);
}

static mmh_status statement_write(struct mmh_buffer *stated, const struct mmh_key_part *signer,
                                  const struct mmh_statement *statement, mmh_error *err)
{
    assert(statement->root_bytes && statement->root_bytes <= ROOT_BYTES_MAX);
    if (statement->note_count > MMH_NOTES_MAX)
        return mmh_fail(err, MMH_E_LIMIT, "%zu notes with a signature: at most %d",
                        statement->note_count, MMH_NOTES_MAX);
    mmh_buffer_u8(stated, STATEMENT_VERSION);
    mmh_buffer_u8(stated, (uint8_t)statement->hash_suite);
    mmh_buffer_u8(stated, (uint8_t)statement->root_bytes);
    mmh_buffer_bytes(stated, statement->root, statement->root_bytes);
    mmh_buffer_bytes(stated, signer->fingerprint, MMH_FINGERPRINT_BYTES);
    mmh_buffer_u64(stated, statement->counter);
    mmh_buffer_u64(stated, statement->time_seconds);
    mmh_buffer_u16(stated, (uint16_t)statement->note_count);
    for (size_t i = 0; i < statement->note_count; i++) {
        const struct mmh_note *note = &statement->notes[i];
        if (note->key_bytes > UINT16_MAX || note->value_bytes > UINT16_MAX)
            return mmh_fail(err, MMH_E_LIMIT, "note %zu of a signature has more than %d bytes", i,
                            UINT16_MAX);
        mmh_buffer_u16(stated, (uint16_t)note->key_bytes);
        mmh_buffer_bytes(stated, note->key, note->key_bytes);
        mmh_buffer_u16(stated, (uint16_t)note->value_bytes);
        mmh_buffer_bytes(stated, note->value, note->value_bytes);
    }
    if (stated->bytes > MMH_STATEMENT_BYTES_MAX)
        return mmh_fail(err, MMH_E_LIMIT, "the notes of a signature have %zu bytes, too many",
                        stated->bytes);
    return mmh_buffer_finish(stated, "statement", err);
}

mmh_status mmh_signatures_add(struct mmh_buffer *section, const uint8_t *old_section,
                              size_t old_bytes, const struct mmh_key_part *signer,
                              const struct mmh_statement *statement, mmh_error *err)
{
    struct mmh_signatures old;
    struct mmh_buffer stated, text;
    uint8_t *signature = NULL;
    size_t signature_bytes = 0;
    mmh_status status = mmh_signatures_view(&old, old_section, old_bytes, err);
    if (status != MMH_OK)
        return status;
    if (old.count == MMH_SIGNATURES_MAX)
        return mmh_fail(err, MMH_E_LIMIT, "there are %zu signatures, the most that there may be",
                        old.count);
    if (!signer->signature || !signer->secret)
        return mmh_fail(err, MMH_E_KEY, "that key cannot sign: a private one is needed");
    mmh_buffer_init(&stated, section->allocator);
    mmh_buffer_init(&text, section->allocator);
    status = statement_write(&stated, signer, statement, err);
    if (status != MMH_OK)
        goto done;
    signed_text(&text, signer->signature->id, stated.data, stated.bytes);
    status = mmh_buffer_finish(&text, "what is signed", err);
    if (status != MMH_OK)
        goto done;
    signature = mmh_alloc(section->allocator, 0, MMH_SIGNATURE_BYTES_MAX);
    if (!signature) {
        status = mmh_fail(err, MMH_E_MEMORY, "no memory for a signature");
        goto done;
    }
    status = mmh_signature_sign(signature, &signature_bytes, signer, text.data, text.bytes,
                                signature_context, sizeof signature_context - 1, err);
    if (status != MMH_OK)
        goto done;
    mmh_buffer_u16(section, SECTION_VERSION);
    mmh_buffer_u16(section, (uint16_t)(old.count + 1));
    if (old.count)
        mmh_buffer_bytes(section, old_section + old.offsets[0], old_bytes - old.offsets[0]);
    mmh_buffer_u16(section, (uint16_t)signer->signature->id);
    mmh_buffer_u16(section, 0);
    mmh_buffer_u32(section, (uint32_t)stated.bytes);
    mmh_buffer_u32(section, (uint32_t)signature_bytes);
    mmh_buffer_bytes(section, stated.data, stated.bytes);
    mmh_buffer_bytes(section, signature, signature_bytes);
    status = mmh_buffer_finish(section, "signatures", err);
done:
    mmh_free(section->allocator, signature);
    mmh_buffer_release(&text);
    mmh_buffer_release(&stated);
    return status;
}

static bool signs_anew(const struct mmh_signature_view *view, const mmh_identity *signer)
{
    for (size_t i = 0; i < signer->part_count; i++)
        if (signer->parts[i].secret && mmh_signature_is_by(view, &signer->parts[i]))
            return true;
    return false;
}

mmh_status mmh_signatures_drop(struct mmh_buffer *section, const uint8_t *old_section,
                               size_t old_bytes, const mmh_identity *signer, mmh_error *err)
{
    struct mmh_signatures old;
    struct mmh_signature_view view;
    size_t kept = 0;
    mmh_status status = mmh_signatures_view(&old, old_section, old_bytes, err);
    if (status != MMH_OK)
        return status;
    mmh_buffer_u16(section, SECTION_VERSION);
    mmh_buffer_u16(section, 0); /* their number is known below */
    for (size_t i = 0; i < old.count; i++) {
        mmh_signatures_at(&old, i, &view);
        if (signs_anew(&view, signer))
            continue;
        kept++;
        mmh_buffer_bytes(section, old_section + old.offsets[i],
                         ENTRY_PREFIX + view.stated_bytes + view.signature_bytes);
    }
    if (!kept)
        mmh_buffer_clear(section);
    status = mmh_buffer_finish(section, "signatures", err);
    if (status == MMH_OK && kept)
        mmh_store16(section->data + 2, (uint16_t)kept);
    return status;
}

/* ---- checking ---- */

bool mmh_signature_is_by(const struct mmh_signature_view *view, const struct mmh_key_part *part)
{
    return part->signature && view->known && part->signature->id == view->algorithm &&
           memcmp(part->fingerprint, view->fingerprint, MMH_FINGERPRINT_BYTES) == 0;
}

mmh_status mmh_signature_check_by(const struct mmh_signature_view *view,
                                  const struct mmh_key_part *part, const mmh_allocator *allocator,
                                  mmh_error *err)
{
    struct mmh_buffer text;
    mmh_buffer_init(&text, allocator);
    signed_text(&text, view->algorithm, view->stated, view->stated_bytes);
    mmh_status status = mmh_buffer_finish(&text, "what was signed", err);
    if (status == MMH_OK)
        status = mmh_signature_verify(part, view->signature, view->signature_bytes, text.data,
                                      text.bytes, signature_context, sizeof signature_context - 1,
                                      err);
    mmh_buffer_release(&text);
    return status;
}

mmh_status mmh_signature_check(const struct mmh_signature_view *view,
                               const mmh_identity *const *signers, size_t signer_count,
                               const struct mmh_key_part **part, mmh_error *err)
{
    *part = NULL;
    for (size_t i = 0; i < signer_count; i++)
        for (size_t j = 0; j < signers[i]->part_count; j++)
            if (mmh_signature_is_by(view, &signers[i]->parts[j])) {
                *part = &signers[i]->parts[j];
                return mmh_signature_check_by(view, *part, signers[i]->allocator, err);
            }
    return mmh_fail(err, MMH_E_UNTRUSTED, "the signature is by none of the given keys");
}

/* ---- detached signatures ---- */

mmh_status mmh_signature_file_write(struct mmh_buffer *file, const uint8_t *section, size_t bytes,
                                    mmh_error *err)
{
    mmh_buffer_bytes(file, file_magic, sizeof file_magic);
    mmh_buffer_u32(file, mmh_crc32(section, bytes));
    mmh_buffer_bytes(file, section, bytes);
    return mmh_buffer_finish(file, "signatures", err);
}

mmh_status mmh_signature_file_open(struct mmh_section_view *section, const uint8_t *file,
                                   size_t bytes, const char *name, mmh_error *err)
{
    if (bytes < MMH_SIGNATURE_FILE_PREFIX || memcmp(file, file_magic, sizeof file_magic) != 0)
        return mmh_fail(err, MMH_E_CORRUPT, "\"%s\" is no file of signatures", name);
    section->section = file + MMH_SIGNATURE_FILE_PREFIX;
    section->bytes = bytes - MMH_SIGNATURE_FILE_PREFIX;
    if (mmh_load32(file + sizeof file_magic) != mmh_crc32(section->section, section->bytes))
        return mmh_fail(err, MMH_E_CORRUPT, "\"%s\": the signatures are damaged", name);
    return MMH_OK;
}
