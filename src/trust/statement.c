/*
 * Signatures of containers, and policies (docs/format.md section 16).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "trust/statement.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <lzma.h>

#include "base/bits.h"

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

/* False if a statement of the version that we know is not as it should be. */
static bool statement_read(struct mmh_signature_view *view)
{
    struct mmh_cursor cursor;
    mmh_cursor_init(&cursor, view->stated, view->stated_bytes);
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

/* ---- checking ---- */

/* Whether a key may have made a signature, by what the signature says itself. */
static bool is_signer(const struct mmh_key_part *part, const struct mmh_signature_view *view)
{
    return part->signature && view->known && part->signature->id == view->algorithm &&
           memcmp(part->fingerprint, view->fingerprint, MMH_FINGERPRINT_BYTES) == 0;
}

static mmh_status signature_check(const struct mmh_signature_view *view,
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
            if (is_signer(&signers[i]->parts[j], view)) {
                *part = &signers[i]->parts[j];
                return signature_check(view, *part, signers[i]->allocator, err);
            }
    return mmh_fail(err, MMH_E_UNTRUSTED, "the signature is by none of the given keys");
}

/* How far signatures by a key got. */
enum reached {
    REACHED_NONE, /* there is no signature by it */
    REACHED_WRONG,
    REACHED_OTHER_ROOT,
    REACHED_OLD,
    REACHED_EXPIRED,
    REACHED_ALL
};

/* A key of the policy. */
struct policy_key {
    const struct mmh_key_part *part;
    size_t signer; /* its number in the policy */
    uint64_t expires;
    bool strong;
    enum reached reached;
    uint64_t counter; /* the highest of its right signatures */
};

static bool is_strong(const struct mmh_policy *policy, const struct mmh_signature *signature)
{
    return (!policy->hybrid || (signature->classical && signature->post_quantum)) &&
           (!policy->post_quantum || signature->post_quantum) &&
           signature->nist_category >= policy->min_category;
}

static const char *strength_text(const struct mmh_policy *policy, char *text, size_t bytes)
{
    int used = snprintf(text, bytes, "%s",
                        policy->hybrid         ? "hybrid"
                        : policy->post_quantum ? "post-quantum"
                                               : "");
    if (policy->min_category)
        (void)snprintf(text + used, bytes - (size_t)used, "%sof NIST category %u",
                       used ? " and " : "", policy->min_category);
    return text;
}

/* Check one signature, once, and note what it does for each key that may have made it. */
static mmh_status signature_judge(const struct mmh_signature_view *view, struct policy_key *keys,
                                  size_t key_count, const struct mmh_policy *policy, bool of_root,
                                  uint64_t now_seconds, struct mmh_policy_counts *counts,
                                  mmh_error *err)
{
    bool checked = false, right = false, counted = false;
    for (size_t k = 0; k < key_count; k++) {
        struct policy_key *key = &keys[k];
        enum reached reached = REACHED_ALL;
        if (!is_signer(key->part, view))
            continue;
        if (!checked) {
            mmh_error problem = { MMH_OK, "" };
            const mmh_status status =
                signature_check(view, key->part, policy->signers[key->signer]->allocator, &problem);
            if (status != MMH_OK && status != MMH_E_UNTRUSTED)
                return mmh_fail(err, status, "%s", problem.message);
            checked = true;
            right = status == MMH_OK;
        }
        if (!right)
            reached = REACHED_WRONG;
        else if (!of_root)
            reached = REACHED_OTHER_ROOT;
        else if (view->statement.counter < policy->min_counter)
            reached = REACHED_OLD;
        else if (key->expires && now_seconds >= key->expires)
            reached = REACHED_EXPIRED;
        if (right && of_root)
            key->counter = MMH_MAX(key->counter, view->statement.counter);
        key->reached = MMH_MAX(key->reached, reached);
        counted = counted || (reached == REACHED_ALL && key->strong);
    }
    counts->matched += checked;
    counts->right += right && of_root;
    counts->counted += counted;
    if (counted)
        counts->counter = MMH_MAX(counts->counter, view->statement.counter);
    return MMH_OK;
}

/* Say why a key's signatures do not do. */
static mmh_status refuse(const struct mmh_policy *policy, const struct policy_key *key,
                         mmh_error *err)
{
    char who[96], strength[64];
    (void)snprintf(who, sizeof who, "%s key %02x%02x%02x%02x%02x%02x%02x%02x",
                   key->part->signature->name, key->part->fingerprint[0], key->part->fingerprint[1],
                   key->part->fingerprint[2], key->part->fingerprint[3], key->part->fingerprint[4],
                   key->part->fingerprint[5], key->part->fingerprint[6], key->part->fingerprint[7]);
    switch (key->reached) {
    case REACHED_NONE:
        return mmh_fail(err, MMH_E_UNTRUSTED, "there is no signature by the %s", who);
    case REACHED_WRONG:
        return mmh_fail(err, MMH_E_UNTRUSTED, "the signature by the %s is wrong", who);
    case REACHED_OTHER_ROOT:
        return mmh_fail(err, MMH_E_UNTRUSTED,
                        "the signature by the %s is of other content, not of this container", who);
    case REACHED_OLD:
        return mmh_fail(err, MMH_E_UNTRUSTED,
                        "the signature by the %s has counter %" PRIu64 ", at least %" PRIu64
                        " is required: this is an older version",
                        who, key->counter, policy->min_counter);
    case REACHED_EXPIRED:
        return mmh_fail(err, MMH_E_UNTRUSTED, "the %s has expired", who);
    default:
        return mmh_fail(err, MMH_E_UNTRUSTED, "the signature by the %s is too weak: %s is required",
                        who, strength_text(policy, strength, sizeof strength));
    }
}

static const mmh_allocator *policy_allocator(const struct mmh_policy *policy)
{
    return policy->signer_count ? policy->signers[0]->allocator : NULL;
}

/* The keys of a policy that sign, in its order, for mmh_free. */
static mmh_status policy_keys(const struct mmh_policy *policy, struct policy_key **keys,
                              size_t *count, mmh_error *err)
{
    size_t room = 0;
    *keys = NULL;
    *count = 0;
    for (size_t i = 0; i < policy->signer_count; i++)
        room += policy->signers[i]->part_count;
    *keys = mmh_alloc_array(policy_allocator(policy), room, sizeof **keys);
    if (!*keys)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for %zu signers", policy->signer_count);
    for (size_t i = 0; i < policy->signer_count; i++) {
        const size_t before = *count;
        for (size_t j = 0; j < policy->signers[i]->part_count; j++) {
            const struct mmh_key_part *part = &policy->signers[i]->parts[j];
            if (part->signature)
                (*keys)[(*count)++] =
                    (struct policy_key){ .part = part,
                                         .signer = i,
                                         .expires = policy->expires ? policy->expires[i] : 0,
                                         .strong = is_strong(policy, part->signature) };
        }
        if (*count == before)
            return mmh_fail(err, MMH_E_USAGE,
                            "signer %zu of %zu has no key that signs: nothing can be by it", i + 1,
                            policy->signer_count);
    }
    return MMH_OK;
}

/* Whether each key that is strong enough has signed, and each signer has one. */
static mmh_status all_decide(const struct mmh_policy *policy, const struct policy_key *keys,
                             size_t key_count, mmh_error *err)
{
    char strength[64];
    for (size_t k = 0, strong = 0; k < key_count; k++) {
        if (keys[k].strong && keys[k].reached != REACHED_ALL)
            return refuse(policy, &keys[k], err);
        strong += keys[k].strong;
        if (k + 1 < key_count && keys[k + 1].signer == keys[k].signer)
            continue;
        if (!strong)
            return mmh_fail(err, MMH_E_UNTRUSTED, "signer %zu of %zu has no key that is %s",
                            keys[k].signer + 1, policy->signer_count,
                            strength_text(policy, strength, sizeof strength));
        strong = 0;
    }
    return MMH_OK;
}

/* Whether one key that is strong enough has signed. */
static mmh_status any_decide(const struct mmh_policy *policy, const struct policy_key *keys,
                             size_t key_count, size_t found, mmh_error *err)
{
    const struct policy_key *furthest = &keys[0];
    char strength[64];
    bool strong = false;
    for (size_t k = 0; k < key_count; k++) {
        if (keys[k].strong && keys[k].reached == REACHED_ALL)
            return MMH_OK;
        if (keys[k].reached > furthest->reached)
            furthest = &keys[k];
        strong = strong || keys[k].strong;
    }
    if (!strong)
        return mmh_fail(err, MMH_E_UNTRUSTED, "no signer has a key that is %s",
                        strength_text(policy, strength, sizeof strength));
    if (furthest->reached == REACHED_NONE)
        return mmh_fail(err, MMH_E_UNTRUSTED,
                        "none of the signatures (%zu) is by a key that is believed", found);
    return refuse(policy, furthest, err);
}

/* Whether what the keys have reached is enough. */
static mmh_status policy_decide(const struct mmh_policy *policy, const struct policy_key *keys,
                                size_t key_count, size_t found, mmh_error *err)
{
    if (!key_count)
        return mmh_fail(err, MMH_E_UNTRUSTED,
                        "a signature is required, but there is no key to believe one by");
    if (!found)
        return mmh_fail(err, MMH_E_UNTRUSTED, "a signature is required, and there is none");
    return policy->all ? all_decide(policy, keys, key_count, err)
                       : any_decide(policy, keys, key_count, found, err);
}

mmh_status mmh_policy_check(const struct mmh_policy *policy,
                            const struct mmh_section_view *sections, size_t section_count,
                            unsigned hash_suite, const uint8_t *root, size_t root_bytes,
                            uint64_t now_seconds, struct mmh_policy_counts *counts, mmh_error *err)
{
    struct mmh_policy_counts own;
    struct policy_key *keys;
    size_t key_count;
    counts = counts ? counts : &own;
    memset(counts, 0, sizeof *counts);
    mmh_status status = policy_keys(policy, &keys, &key_count, err);
    for (size_t s = 0; s < section_count && status == MMH_OK; s++) {
        struct mmh_signatures signatures;
        status = mmh_signatures_view(&signatures, sections[s].section, sections[s].bytes, err);
        for (size_t i = 0; status == MMH_OK && i < signatures.count; i++) {
            struct mmh_signature_view view;
            mmh_signatures_at(&signatures, i, &view);
            status = signature_judge(&view, keys, key_count, policy,
                                     mmh_signature_is_of(&view, hash_suite, root, root_bytes),
                                     now_seconds, counts, err);
        }
        counts->found += status == MMH_OK ? signatures.count : 0;
    }
    if (status == MMH_OK)
        status = policy_decide(policy, keys, key_count, counts->found, err);
    mmh_free(policy_allocator(policy), keys);
    return status;
}

/* ---- detached signatures ---- */

mmh_status mmh_signature_file_write(struct mmh_buffer *file, const uint8_t *section, size_t bytes,
                                    mmh_error *err)
{
    mmh_buffer_bytes(file, file_magic, sizeof file_magic);
    mmh_buffer_u32(file, lzma_crc32(section, bytes, 0));
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
    if (mmh_load32(file + sizeof file_magic) != lzma_crc32(section->section, section->bytes, 0))
        return mmh_fail(err, MMH_E_CORRUPT, "\"%s\": the signatures are damaged", name);
    return MMH_OK;
}
