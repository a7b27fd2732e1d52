/*
 * Successors: the holder of a key states who comes after it, and both keys sign that.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "crypto/secret.h"
#include "trust/lines_private.h"
#include "trust/text.h"

enum { SIGNATURES_MAX = 32, FINGERPRINT_DIGITS = 2 * MMH_FINGERPRINT_BYTES };

static const char first_line[] = "mmh successor 1";
static const char signed_prefix[] = "mmh successor v1\n";
static const char signature_context[] = "mmh";

static size_t signing_parts(const mmh_identity *identity)
{
    size_t count = 0;
    for (size_t i = 0; i < identity->part_count; i++)
        count += identity->parts[i].signature != NULL;
    return count;
}

/* ---- making ---- */

static mmh_status check_private(const mmh_identity *identity, const char *which, mmh_error *err)
{
    for (size_t i = 0; i < identity->part_count; i++)
        if (identity->parts[i].signature && !identity->parts[i].secret)
            return mmh_fail(err, MMH_E_KEY,
                            "the %s key is a public one: the private one is to sign", which);
    return signing_parts(identity)
             ? MMH_OK
             : mmh_fail(err, MMH_E_KEY, "the %s key has no part that signs", which);
}

/* A line for each part of an identity that signs. */
static mmh_status sign_by(struct mmh_buffer *text, const struct mmh_buffer *message,
                          const mmh_identity *identity, uint8_t *signature, mmh_error *err)
{
    for (size_t i = 0; i < identity->part_count; i++) {
        const struct mmh_key_part *part = &identity->parts[i];
        size_t bytes;
        if (!part->signature)
            continue;
        mmh_status status = mmh_signature_sign(signature, &bytes, part, message->data,
                                               message->bytes, signature_context,
                                               sizeof signature_context - 1, err);
        if (status != MMH_OK)
            return status;
        mmh_text_add(text, "signature: ");
        mmh_text_add(text, part->signature->name);
        mmh_buffer_u8(text, ' ');
        mmh_text_hex(text, part->fingerprint, MMH_FINGERPRINT_BYTES);
        mmh_buffer_u8(text, ' ');
        mmh_text_base64(text, signature, bytes, 0);
        mmh_buffer_u8(text, '\n');
    }
    return MMH_OK;
}

static mmh_status statement_write(struct mmh_buffer *text, const mmh_identity *old,
                                  const mmh_identity *next, const char *name, uint64_t time_seconds,
                                  mmh_error *err)
{
    char time[24], *pem;
    size_t pem_bytes;
    mmh_time_text(time, time_seconds);
    const char *const lines[] = { first_line, "\nname: ", name, "\ntime: ", time, "\n" };
    for (size_t i = 0; i < MMH_COUNT_OF(lines); i++)
        mmh_text_add(text, lines[i]);
    for (size_t i = 0; i < old->part_count; i++) {
        if (!old->parts[i].signature)
            continue;
        mmh_text_add(text, "of: ");
        mmh_text_hex(text, old->parts[i].fingerprint, MMH_FINGERPRINT_BYTES);
        mmh_buffer_u8(text, '\n');
    }
    mmh_status status = mmh_identity_write(&pem, &pem_bytes, next, false, NULL, 0, err);
    if (status != MMH_OK)
        return status;
    mmh_buffer_bytes(text, pem, pem_bytes);
    if (pem_bytes && pem[pem_bytes - 1] != '\n')
        mmh_buffer_u8(text, '\n');
    mmh_secret_free(pem, pem_bytes + 1);
    return mmh_buffer_finish(text, "successor's statement", err);
}

mmh_status mmh_successor_make(struct mmh_buffer *text, const mmh_identity *old,
                              const mmh_identity *next, const char *name, uint64_t time_seconds,
                              mmh_error *err)
{
    struct mmh_buffer message;
    uint8_t *signature = NULL;
    mmh_status status = mmh_trusted_name_check(name, err);
    if (status == MMH_OK)
        status = check_private(old, "old", err);
    if (status == MMH_OK)
        status = check_private(next, "new", err);
    if (status != MMH_OK)
        return status;
    mmh_buffer_init(&message, text->allocator);
    const size_t begin = text->bytes;
    status = statement_write(text, old, next, name, time_seconds, err);
    if (status != MMH_OK)
        goto done;
    mmh_text_add(&message, signed_prefix);
    mmh_buffer_bytes(&message, text->data + begin, text->bytes - begin);
    status = mmh_buffer_finish(&message, "what is signed", err);
    if (status != MMH_OK)
        goto done;
    signature = mmh_alloc(text->allocator, 0, MMH_SIGNATURE_BYTES_MAX);
    if (!signature) {
        status = mmh_fail(err, MMH_E_MEMORY, "no memory for a signature");
        goto done;
    }
    status = sign_by(text, &message, old, signature, err);
    if (status == MMH_OK)
        status = sign_by(text, &message, next, signature, err);
    if (status == MMH_OK)
        status = mmh_buffer_finish(text, "successor's statement", err);
done:
    mmh_free(text->allocator, signature);
    mmh_buffer_release(&message);
    return status;
}

/* ---- accepting ---- */

struct signature_line {
    const char *algorithm;
    size_t algorithm_bytes;
    uint8_t fingerprint[MMH_FINGERPRINT_BYTES];
    const char *base64;
    size_t base64_bytes;
};

struct successor {
    char *name;
    uint64_t time_seconds;
    uint8_t of[SIGNATURES_MAX][MMH_FINGERPRINT_BYTES];
    size_t of_count;
    const char *pem;
    size_t pem_bytes;
    size_t stated_bytes; /* before the first signature */
    struct signature_line signatures[SIGNATURES_MAX];
    size_t signature_count;
};

static void read_signature(struct signature_line *line, struct mmh_lines *lines)
{
    size_t bytes;
    const char *value = mmh_lines_take(lines, "signature: ", &bytes);
    const char *space = bytes ? memchr(value, ' ', bytes) : NULL;
    if (!space || (size_t)(value + bytes - space) < FINGERPRINT_DIGITS + 3 ||
        space[1 + FINGERPRINT_DIGITS] != ' ' ||
        !mmh_text_from_hex(line->fingerprint, space + 1, FINGERPRINT_DIGITS)) {
        lines->failed = true;
        return;
    }
    line->algorithm = value;
    line->algorithm_bytes = (size_t)(space - value);
    line->base64 = space + FINGERPRINT_DIGITS + 2;
    line->base64_bytes = (size_t)(value + bytes - line->base64);
}

static mmh_status successor_read(struct successor *successor, const char *text, size_t bytes,
                                 const char *what, struct mmh_arena *arena, mmh_error *err)
{
    struct mmh_lines lines = { text, bytes, false };
    size_t line_bytes;
    memset(successor, 0, sizeof *successor);
    (void)mmh_lines_take(&lines, first_line, &line_bytes);
    lines.failed = lines.failed || line_bytes;
    successor->name = mmh_lines_take_copy(&lines, "name: ", arena);
    if (!successor->name)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for a name");
    successor->time_seconds = mmh_lines_take_time(&lines, "time: ", NULL);
    while (!lines.failed && mmh_lines_is_next(&lines, "of: ")) {
        const char *digits = mmh_lines_take(&lines, "of: ", &line_bytes);
        lines.failed = lines.failed || successor->of_count == SIGNATURES_MAX ||
                       line_bytes != FINGERPRINT_DIGITS ||
                       !mmh_text_from_hex(successor->of[successor->of_count], digits, line_bytes);
        successor->of_count += !lines.failed;
    }
    successor->pem = mmh_lines_take_until(&lines, "signature: ", &successor->pem_bytes);
    successor->stated_bytes = (size_t)(lines.text - text);
    while (!lines.failed && lines.bytes) {
        if (successor->signature_count == SIGNATURES_MAX)
            lines.failed = true;
        else
            read_signature(&successor->signatures[successor->signature_count++], &lines);
    }
    if (lines.failed || !successor->of_count || !mmh_trusted_name_is_fine(successor->name))
        return mmh_fail(err, MMH_E_CORRUPT, "\"%s\" is no statement of a successor, or damaged",
                        what);
    return MMH_OK;
}

/* Whether one part has signed. */
static mmh_status part_signed(const struct successor *successor, const struct mmh_key_part *part,
                              const struct mmh_buffer *message, const char *which, mmh_error *err)
{
    const struct signature_line *line = NULL;
    for (size_t i = 0; i < successor->signature_count && !line; i++) {
        const struct signature_line *tried = &successor->signatures[i];
        if (memcmp(tried->fingerprint, part->fingerprint, MMH_FINGERPRINT_BYTES) == 0 &&
            tried->algorithm_bytes == strlen(part->signature->name) &&
            memcmp(tried->algorithm, part->signature->name, tried->algorithm_bytes) == 0)
            line = tried;
    }
    if (!line)
        return mmh_fail(err, MMH_E_UNTRUSTED, "the %s key has not signed with its %s part", which,
                        part->signature->name);
    size_t bytes;
    uint8_t *signature = mmh_alloc(message->allocator, 0, line->base64_bytes / 4 * 3);
    if (!signature)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for a signature");
    mmh_status status = MMH_E_UNTRUSTED;
    if (mmh_text_from_base64(signature, &bytes, line->base64, line->base64_bytes))
        status = mmh_signature_verify(part, signature, bytes, message->data, message->bytes,
                                      signature_context, sizeof signature_context - 1, NULL);
    mmh_free(message->allocator, signature);
    return status == MMH_E_UNTRUSTED
             ? mmh_fail(err, status, "the signature by the %s key's %s part is wrong", which,
                        part->signature->name)
         : status != MMH_OK ? mmh_fail(err, status, "a signature cannot be checked")
                            : MMH_OK;
}

static mmh_status all_signed(const struct successor *successor, const mmh_identity *identity,
                             const struct mmh_buffer *message, const char *which, mmh_error *err)
{
    mmh_status status = MMH_OK;
    for (size_t i = 0; i < identity->part_count && status == MMH_OK; i++)
        if (identity->parts[i].signature)
            status = part_signed(successor, &identity->parts[i], message, which, err);
    return status;
}

/* The old key in the store, if it is believed. */
static mmh_status find_old(const struct mmh_trusted **old, const struct mmh_trust_store *store,
                           const struct successor *successor, uint64_t now_seconds, mmh_error *err)
{
    *old = mmh_trust_store_by_fingerprint(store, successor->of[0]);
    if (!*old)
        return mmh_fail(err, MMH_E_UNTRUSTED,
                        "\"%s\" is the successor of a key that is not in the trust store",
                        successor->name);
    if ((*old)->revoked_seconds)
        return mmh_fail(err, MMH_E_UNTRUSTED,
                        "\"%s\" is the successor of \"%s\", which is revoked: whoever has that key "
                        "could say so",
                        successor->name, (*old)->name);
    if (!mmh_trusted_is_believed(*old, now_seconds))
        return mmh_fail(err, MMH_E_UNTRUSTED,
                        "\"%s\" is the successor of \"%s\", which has expired", successor->name,
                        (*old)->name);
    for (size_t i = 1; i < successor->of_count; i++)
        if (mmh_trust_store_by_fingerprint(store, successor->of[i]) != *old)
            return mmh_fail(
                err, MMH_E_UNTRUSTED,
                "\"%s\" is the successor of a key of which the trust store has a part only",
                successor->name);
    return signing_parts((*old)->identity)
             ? MMH_OK
             : mmh_fail(err, MMH_E_UNTRUSTED, "\"%s\" has no part that signs", (*old)->name);
}

mmh_status mmh_trust_store_accept(struct mmh_trust_store *store, const char *text, size_t bytes,
                                  const char *what, const char *name, uint64_t now_seconds,
                                  size_t *number, mmh_error *err)
{
    char old_name[MMH_TRUSTED_NAME_MAX + 1];
    struct successor successor;
    const struct mmh_trusted *old;
    struct mmh_buffer message;
    struct mmh_arena arena;
    mmh_identity *next = NULL;
    mmh_arena_init(&arena, store->allocator);
    mmh_buffer_init(&message, store->allocator);
    mmh_status status = successor_read(&successor, text, bytes, what, &arena, err);
    if (status == MMH_OK)
        status = find_old(&old, store, &successor, now_seconds, err);
    if (status == MMH_OK && successor.time_seconds > now_seconds)
        status = mmh_fail(err, MMH_E_UNTRUSTED, "\"%s\" is of a time that is still to come", what);
    if (status != MMH_OK)
        goto done;
    mmh_text_add(&message, signed_prefix);
    mmh_buffer_bytes(&message, text, successor.stated_bytes);
    status = mmh_buffer_finish(&message, "what was signed", err);
    if (status == MMH_OK) /* before anything else of it is looked at */
        status = all_signed(&successor, old->identity, &message, "old", err);
    if (status == MMH_OK)
        status = mmh_identity_parse(&next, successor.pem, successor.pem_bytes, what, NULL, NULL,
                                    store->allocator, err);
    if (status != MMH_OK)
        goto done;
    if (!signing_parts(next))
        status = mmh_fail(err, MMH_E_UNTRUSTED, "the new key has no part that signs");
    else
        status = all_signed(&successor, next, &message, "new", err);
    if (status != MMH_OK)
        goto done;
    (void)snprintf(old_name, sizeof old_name, "%s", old->name);
    name = name ? name : successor.name;
    status = mmh_trust_store_add(store, name, next, now_seconds, 0, old_name, err);
    if (status == MMH_OK)
        status = mmh_trust_store_find(store, name, number, err);
done:
    mmh_identity_destroy(next);
    mmh_buffer_release(&message);
    mmh_arena_release(&arena);
    return status;
}
