/*
 * Recipients and signatures: made for a trailer, and asked before a container is read.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine/guard.h"

#include <string.h>
#include <time.h>

#include "base/bits.h"
#include "crypto/random.h"
#include "engine/ahead.h"

/* ---- making ---- */

static bool can_open(const mmh_identity *identity)
{
    for (size_t i = 0; i < identity->part_count; i++)
        if (identity->parts[i].kem)
            return true;
    return false;
}

static bool can_sign(const mmh_identity *identity)
{
    for (size_t i = 0; i < identity->part_count; i++)
        if (identity->parts[i].signature && identity->parts[i].secret)
            return true;
    return false;
}

mmh_status mmh_guarding_check(const struct mmh_guarding *guarding, mmh_error *err)
{
    if ((guarding->recipient_count && !guarding->recipients) ||
        (guarding->signer_count && !guarding->signers))
        return mmh_fail(err, MMH_E_USAGE, "keys are counted, and none are given");
    for (size_t i = 0; i < guarding->recipient_count; i++)
        if (!guarding->recipients[i] || !can_open(mmh_key_identity(guarding->recipients[i])))
            return mmh_fail(err, MMH_E_USAGE, "recipient %zu has no key to encrypt to", i + 1);
    for (size_t i = 0; i < guarding->signer_count; i++)
        if (!guarding->signers[i] || !can_sign(mmh_key_identity(guarding->signers[i])))
            return mmh_fail(err, MMH_E_USAGE, "signer %zu has no private key to sign with", i + 1);
    return MMH_OK;
}

static mmh_status write_recipients(const struct mmh_guarding *guarding, struct mmh_buffer *section,
                                   const uint8_t header[MMH_HEADER_BYTES], const uint8_t *root,
                                   size_t root_bytes, mmh_error *err)
{
    struct mmh_buffer stanzas;
    struct mmh_recipients_view old = { .count = 0 };
    unsigned count = 0;
    mmh_status status = MMH_OK;
    mmh_buffer_init(&stanzas, guarding->context->allocator);
    if (guarding->old_recipients) {
        status = mmh_recipients_view(&old, guarding->old_recipients, guarding->old_recipient_bytes,
                                     err);
        if (status == MMH_OK)
            mmh_buffer_bytes(&stanzas, old.stanzas, old.stanza_bytes);
        count = old.count;
    }
    for (size_t i = 0; i < guarding->recipient_count && status == MMH_OK; i++) {
        const mmh_identity *identity = mmh_key_identity(guarding->recipients[i]);
        for (size_t p = 0; p < identity->part_count && status == MMH_OK; p++)
            if (identity->parts[p].kem && count++ < MMH_RECIPIENTS_MAX)
                status = mmh_stanza_write(&stanzas, guarding->file_key, &identity->parts[p], err);
    }
    if (status == MMH_OK && guarding->passphrase && count++ < MMH_RECIPIENTS_MAX)
        status = mmh_stanza_write_passphrase(&stanzas, guarding->file_key, guarding->passphrase,
                                             guarding->passphrase_bytes, &mmh_argon2_default, err);
    if (status == MMH_OK && count > MMH_RECIPIENTS_MAX)
        status = mmh_fail(err, MMH_E_LIMIT, "more than %d recipients", MMH_RECIPIENTS_MAX);
    if (status == MMH_OK)
        status = mmh_buffer_finish(&stanzas, "the recipients", err);
    if (status == MMH_OK)
        status = mmh_recipients_write(section, stanzas.data, stanzas.bytes, count, guarding->keys,
                                      guarding->hash_suite, header, MMH_HEADER_BYTES, root,
                                      root_bytes, err);
    mmh_buffer_release(&stanzas);
    return status == MMH_OK ? mmh_buffer_finish(section, "the recipients", err) : status;
}

/* Sign with each part of a key that signs, in place of what it has signed before. */
static mmh_status sign_with(const struct mmh_guarding *guarding, struct mmh_buffer *section,
                            const mmh_key *signer, const struct mmh_statement *statement,
                            mmh_error *err)
{
    const mmh_identity *identity = mmh_key_identity(signer);
    struct mmh_buffer next;
    mmh_buffer_init(&next, guarding->context->allocator);
    mmh_status status = mmh_signatures_drop(&next, section->data, section->bytes, identity, err);
    mmh_buffer_swap(section, &next);
    for (size_t p = 0; p < identity->part_count && status == MMH_OK; p++) {
        if (!identity->parts[p].signature || !identity->parts[p].secret)
            continue;
        mmh_buffer_clear(&next);
        status = mmh_signatures_add(&next, section->data, section->bytes, &identity->parts[p],
                                    statement, err);
        mmh_buffer_swap(section, &next);
    }
    mmh_buffer_release(&next);
    return status;
}

mmh_status mmh_guarding_sign(const struct mmh_guarding *guarding, struct mmh_buffer *section,
                             const uint8_t *root, size_t root_bytes, mmh_error *err)
{
    const struct mmh_statement statement = { .hash_suite = guarding->hash_suite,
                                             .root = root,
                                             .root_bytes = root_bytes,
                                             .counter = guarding->counter,
                                             .time_seconds = guarding->time_seconds };
    if (guarding->old_signatures)
        mmh_buffer_bytes(section, guarding->old_signatures, guarding->old_signature_bytes);
    mmh_status status = mmh_buffer_finish(section, "the signatures", err);
    uint64_t clock = mmh_clock_ns();
    for (size_t i = 0; i < guarding->signer_count && status == MMH_OK; i++)
        status = sign_with(guarding, section, guarding->signers[i], &statement, err);
    mmh_stage_add(&guarding->context->times.sign_ns, clock);
    return status;
}

mmh_status mmh_guarding_write(void *context, struct mmh_buffer *trailer,
                              const uint8_t header[MMH_HEADER_BYTES], const uint8_t *root,
                              size_t root_bytes, mmh_error *err)
{
    const struct mmh_guarding *guarding = context;
    struct mmh_buffer section;
    mmh_status status = MMH_OK;
    mmh_buffer_init(&section, guarding->context->allocator);
    if (guarding->file_key) {
        status = write_recipients(guarding, &section, header, root, root_bytes, err);
        if (status == MMH_OK)
            mmh_trailer_add(trailer, MMH_SECTION_RECIPIENTS, section.data, section.bytes);
        mmh_buffer_clear(&section);
    }
    if (status == MMH_OK && (guarding->old_signatures || guarding->signer_count)) {
        status = mmh_guarding_sign(guarding, &section, root, root_bytes, err);
        if (status == MMH_OK)
            mmh_trailer_add(trailer, MMH_SECTION_SIGNATURES, section.data, section.bytes);
    }
    mmh_buffer_release(&section);
    return status;
}

mmh_status mmh_fresh_key_make(struct mmh_fresh_key *key, unsigned aead_suite, unsigned hash_suite,
                              mmh_error *err)
{
    mmh_status status = mmh_random(key->file_key, sizeof key->file_key, err);
    if (status == MMH_OK)
        status = mmh_file_keys_derive(&key->keys, key->file_key, aead_suite, hash_suite, err);
    return status;
}

mmh_status mmh_aead_choose(unsigned *aead_suite, const char *name, mmh_error *err)
{
    *aead_suite = name ? mmh_aead_find(name) : mmh_aead_default();
    if (*aead_suite == MMH_AEAD_NONE)
        return mmh_fail(err, MMH_E_USAGE, "there is no encryption suite \"%s\"", name);
    return MMH_OK;
}

/* ---- what a context believes and opens with ---- */

mmh_status mmh_context_add_key(mmh_context *context, const mmh_key *key, mmh_error *err)
{
    struct mmh_guards *guards = &context->guards;
    const mmh_identity *identity = mmh_key_identity(key);
    if (guards->identity_count == guards->identity_room) {
        size_t room = 2 * guards->identity_room + 4;
        const mmh_identity **more = mmh_alloc_array(context->allocator, room, sizeof *more);
        if (!more)
            return mmh_fail(err, MMH_E_MEMORY, "no memory for a key");
        if (guards->identity_count)
            memcpy(more, guards->identities, guards->identity_count * sizeof *more);
        mmh_free(context->allocator, guards->identities);
        guards->identities = more;
        guards->identity_room = room;
    }
    guards->identities[guards->identity_count++] = identity;
    return MMH_OK;
}

void mmh_context_set_passphrase(mmh_context *context, mmh_passphrase_fn passphrase, void *user)
{
    context->guards.passphrase = passphrase;
    context->guards.passphrase_user = user;
}

static void forget_trust(mmh_context *context)
{
    struct mmh_guards *guards = &context->guards;
    mmh_free(context->allocator, guards->signers);
    mmh_free(context->allocator, guards->expires);
    mmh_free(context->allocator, guards->signature_file);
    guards->signers = NULL;
    guards->expires = NULL;
    guards->signature_file = NULL;
    guards->policy = (struct mmh_policy){ .signers = NULL };
    guards->required = false;
}

void mmh_guards_release(mmh_context *context)
{
    forget_trust(context);
    mmh_free(context->allocator, context->guards.identities);
}

mmh_status mmh_context_require(mmh_context *context, const mmh_trust *given, mmh_error *err)
{
    struct mmh_guards *guards = &context->guards;
    mmh_trust trust = { 0 };
    mmh_status status = mmh_options_copy(&trust, sizeof trust, given, "mmh_trust", err);
    if (status != MMH_OK)
        return status;
    if (given && (!trust.signer_count || !trust.signers))
        return mmh_fail(err, MMH_E_USAGE, "signatures are required, and no key is believed");
    forget_trust(context);
    if (!given)
        return MMH_OK;
    size_t count = trust.signer_count, path_bytes = 0;
    guards->signers = mmh_alloc_array(context->allocator, count, sizeof *guards->signers);
    bool memory = guards->signers != NULL;
    if (trust.expires) {
        guards->expires = mmh_alloc_array(context->allocator, count, sizeof *guards->expires);
        memory = memory && guards->expires;
    }
    if (trust.signature_file) {
        path_bytes = strlen(trust.signature_file) + 1;
        guards->signature_file = mmh_alloc(context->allocator, 0, path_bytes);
        memory = memory && guards->signature_file;
    }
    /* Until all of it is there nothing is believed: a call that failed must not open a door. */
    guards->required = true;
    if (!memory) {
        forget_trust(context);
        guards->required = true;
        return mmh_fail(err, MMH_E_MEMORY, "no memory for %zu keys", count);
    }
    for (size_t i = 0; i < count; i++)
        guards->signers[i] = mmh_key_identity(trust.signers[i]);
    if (trust.expires)
        memcpy(guards->expires, trust.expires, count * sizeof *guards->expires);
    if (trust.signature_file)
        memcpy(guards->signature_file, trust.signature_file, path_bytes);
    guards->policy = (struct mmh_policy){ .signers = guards->signers,
                                          .signer_count = count,
                                          .expires = guards->expires,
                                          .all = trust.all,
                                          .hybrid = trust.hybrid,
                                          .post_quantum = trust.post_quantum,
                                          .min_category = trust.min_category,
                                          .min_counter = trust.min_counter };
    return MMH_OK;
}

/* ---- asking ---- */

enum { SIGNATURE_FILE_BYTES_MAX = 64 << 20 };

struct asking {
    mmh_context *context;
    struct mmh_opening *opening;
};

/* Whether the signatures are such as the context requires. */
static mmh_status check_trust(struct asking *asking, const mmh_container_reader *reader,
                              mmh_error *err)
{
    const struct mmh_guards *guards = &asking->context->guards;
    const struct mmh_section *own = &reader->trailer.sections[MMH_SECTION_SIGNATURES];
    struct mmh_section_view sections[2];
    struct mmh_policy_counts counts = { 0 };
    size_t section_count = 0, file_bytes;
    uint8_t *file = NULL;
    mmh_status status = MMH_OK;
    if (!reader->trailer.fits || (own->present && !own->right))
        return mmh_fail(err, MMH_E_CORRUPT, "the trailer, which has the signatures, is damaged");
    if (own->present)
        sections[section_count++] = (struct mmh_section_view){ own->data, own->bytes };
    if (guards->signature_file) {
        status = mmh_input_slurp(&file, &file_bytes, guards->signature_file,
                                 SIGNATURE_FILE_BYTES_MAX, asking->context->allocator, err);
        if (status == MMH_OK)
            status = mmh_signature_file_open(&sections[section_count], file, file_bytes,
                                             guards->signature_file, err);
        section_count += status == MMH_OK;
    }
    time_t now = time(NULL);
    if (status == MMH_OK)
        status = mmh_policy_check(&guards->policy, sections, section_count, reader->hash_suite,
                                  reader->root, reader->hash_bytes,
                                  now > 0 ? (uint64_t)now : UINT64_MAX, &counts, err);
    asking->opening->signatures_counted = counts.counted;
    mmh_free(asking->context->allocator, file);
    return status;
}

/* A struct mmh_container_lock's unlock. */
static mmh_status unlock(void *context, const mmh_container_reader *reader,
                         struct mmh_file_keys *keys, bool *found, mmh_error *err)
{
    struct asking *asking = context;
    const struct mmh_guards *guards = &asking->context->guards;
    const struct mmh_section *section = &reader->trailer.sections[MMH_SECTION_RECIPIENTS];
    struct mmh_opening *opening = asking->opening;
    uint8_t file_key[MMH_FILE_KEY_BYTES];
    mmh_status status = MMH_OK;
    opening->has_signatures = reader->trailer.sections[MMH_SECTION_SIGNATURES].present;
    opening->stage = MMH_OPEN_TRUST;
    if (guards->required && !opening->trusting)
        status = check_trust(asking, reader, err);
    if (status != MMH_OK || !reader->aead_suite)
        return status;
    opening->stage = MMH_OPEN_KEYS;
    if (!guards->identity_count && !guards->passphrase)
        return opening->keyless ? MMH_OK
                                : mmh_fail(err, MMH_E_KEY, "it is encrypted: no key is given");
    if (!reader->trailer.fits || !section->present || !section->right)
        return opening->lenient ? MMH_OK
                                : mmh_fail(err, MMH_E_CORRUPT, "the list of recipients is %s",
                                           section->present ? "damaged" : "missing");
    const struct mmh_unlock unlock = { .identities = guards->identities,
                                       .identity_count = guards->identity_count,
                                       .ask = guards->passphrase,
                                       .user = guards->passphrase_user };
    mmh_error problem = { 0 };
    status = mmh_recipients_open(file_key, keys, section->data, section->bytes, &unlock,
                                 reader->footer.header + MMH_COMMITMENT_AT, reader->aead_suite,
                                 reader->hash_suite, reader->footer.header, MMH_HEADER_BYTES,
                                 reader->root, reader->hash_bytes, &problem);
    *found = status == MMH_OK;
    if (status == MMH_OK && opening->file_key)
        memcpy(opening->file_key, file_key, sizeof file_key);
    mmh_wipe(file_key, sizeof file_key);
    if ((status == MMH_E_KEY && opening->keyless) || (status == MMH_E_CORRUPT && opening->lenient))
        return MMH_OK;
    return status == MMH_OK ? status : mmh_fail(err, status, "%s", problem.message);
}

mmh_status mmh_reader_read_at(void *input, void *dst, uint64_t offset, size_t bytes, mmh_error *err)
{
    return mmh_input_read(input, dst, offset, bytes, err);
}

mmh_status mmh_guards_open(mmh_reader *reader, struct mmh_opening *opening, mmh_error *err)
{
    const uint64_t bytes = mmh_input_bytes(reader->input);
    if (!mmh_input_is_source(reader->input))
        return mmh_guards_open_by(reader, opening, mmh_reader_read_at, reader->input, bytes, err);
    struct mmh_ahead_opening ahead;
    mmh_status status = mmh_ahead_open(&ahead, reader->input, reader->context->allocator, err);
    if (status == MMH_OK)
        status = mmh_guards_open_by(reader, opening, mmh_ahead_read_at, &ahead, bytes, err);
    mmh_ahead_close(&ahead);
    return status;
}

mmh_status mmh_guards_open_by(mmh_reader *reader, struct mmh_opening *opening,
                              mmh_container_read_at *read, void *read_context,
                              uint64_t container_bytes, mmh_error *err)
{
    mmh_context *context = reader->context;
    struct asking asking = { context, opening };
    const struct mmh_container_lock lock = {
        .unlock = unlock,
        .context = &asking,
        .needs_trailer = context->guards.required || opening->spares || opening->trailer,
        .keeps_rest = opening->keeps_rest,
    };
    mmh_status status = mmh_container_open_locked(&reader->container, read, read_context,
                                                  container_bytes, context->limits.index_bytes,
                                                  opening->spares, &lock, context->allocator, err);
    if (reader->container.stage > opening->stage)
        opening->stage = reader->container.stage;
    return status;
}
