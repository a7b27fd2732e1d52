/*
 * Audits: what guards a container, seen by each profile.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine/attest_audit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "trust/store.h"

static mmh_status no_memory(mmh_error *err)
{
    return mmh_fail(err, MMH_E_MEMORY, "no memory for an audit");
}

/* ---- profiles ---- */

mmh_status mmh_profile(size_t number, mmh_profile_info *info, mmh_error *err)
{
    const struct mmh_profile_row *row = mmh_profile_row(number);
    mmh_status status = mmh_struct_check(info, "mmh_profile_info", err);
    if (status != MMH_OK)
        return status;
    if (!row)
        return mmh_fail(err, MMH_E_USAGE, "there are %d profiles", MMH_PROFILE_COUNT);
    const mmh_profile_info whole = { .struct_size = sizeof whole,
                                     .name = row->name,
                                     .algorithms = row->algorithms,
                                     .aead = row->aead,
                                     .hash_suite = row->hash_suite,
                                     .about = row->about };
    mmh_report_copy(info, &whole, sizeof whole);
    return MMH_OK;
}

/* The number of a profile; MMH_PROFILE_COUNT: there is none of that name. */
static size_t profile_number(const char *name)
{
    size_t number = 0;
    while (number < MMH_PROFILE_COUNT && strcmp(mmh_profile_row(number)->name, name) != 0)
        number++;
    return number;
}

bool mmh_profile_allows(const char *profile, const char *algorithm, const char **why)
{
    const size_t number = profile_number(profile);
    if (number < MMH_PROFILE_COUNT)
        return mmh_asset_allowed(mmh_asset_by_name(algorithm), number, why);
    if (why)
        *why = "there is no such profile";
    return false;
}

/* ---- looking ---- */

static mmh_status look_at_security(struct mmh_audit *audit, const mmh_security *security,
                                   mmh_error *err)
{
    audit->security.struct_size = sizeof audit->security;
    mmh_status status = mmh_security_get(security, &audit->security, err);
    if (status != MMH_OK)
        return status;
    const size_t recipients = audit->security.recipient_count;
    const size_t signatures = audit->security.signature_count;
    audit->recipients = mmh_arena_array(&audit->arena, recipients, sizeof *audit->recipients);
    audit->signatures = mmh_arena_array(&audit->arena, signatures, sizeof *audit->signatures);
    if (!audit->recipients || !audit->signatures)
        return no_memory(err);
    for (size_t i = 0; i < recipients && status == MMH_OK; i++) {
        audit->recipients[i].struct_size = sizeof audit->recipients[i];
        status = mmh_security_recipient(security, i, &audit->recipients[i], err);
    }
    for (size_t i = 0; i < signatures && status == MMH_OK; i++) {
        audit->signatures[i].struct_size = sizeof audit->signatures[i];
        status = mmh_security_signature(security, i, &audit->signatures[i], err);
    }
    return status;
}

/* The files, and their hashes if they are wanted. */
static mmh_status look_at_files(struct mmh_audit *audit, mmh_context *context,
                                const char *container, bool hash_files, mmh_error *err)
{
    const struct mmh_model_rules rules = { .ignored = NULL };
    struct mmh_model model;
    struct mmh_model_hash *hashes;
    mmh_error problem = { MMH_OK, "" };
    mmh_status status = mmh_model_open(&model, context, container, &rules, &problem);
    /* Without its key, or without the signatures that the context wants, only the outside is told of. */
    if ((status == MMH_E_KEY || status == MMH_E_UNTRUSTED) && !hash_files) {
        mmh_model_release(&model);
        return MMH_OK;
    }
    /* Symlinks and names that a bundle could not have are no matter here. */
    if (status != MMH_OK && (status != MMH_E_UNSUPPORTED || !model.reader)) {
        mmh_fail(err, status, "%s", problem.message);
        mmh_model_release(&model);
        return status;
    }
    const struct mmh_index *index = &model.reader->container.index;
    status = MMH_OK;
    audit->files_known = true;
    audit->files = mmh_arena_array(&audit->arena, (size_t)index->file_count, sizeof *audit->files);
    hashes = mmh_arena_array(&audit->arena, (size_t)index->file_count, sizeof *hashes);
    model.files = mmh_arena_array(&model.arena, (size_t)index->file_count, sizeof *model.files);
    if (!audit->files || !hashes || !model.files)
        status = no_memory(err);
    for (uint64_t i = 0; i < index->file_count && status == MMH_OK; i++) {
        mmh_file_info info = { .struct_size = sizeof info };
        struct mmh_audit_file *file = &audit->files[audit->file_count];
        status = mmh_file(model.reader, i, &info, err);
        if (status != MMH_OK || info.kind != MMH_FILE_REGULAR)
            continue;
        file->name = mmh_arena_string(&audit->arena, info.name, strlen(info.name));
        file->format = mmh_arena_string(&audit->arena, info.format, strlen(info.format));
        file->bytes = info.bytes;
        file->tensor_count = info.tensor_count;
        audit->original_bytes += info.bytes;
        audit->tensor_count += info.tensor_count;
        model.files[audit->file_count] =
            (struct mmh_model_file){ .name = info.name, .bytes = info.bytes, .number = i };
        hashes[audit->file_count] = (struct mmh_model_hash){ .file = audit->file_count,
                                                             .end = info.bytes,
                                                             .digest = file->sha256 };
        audit->file_count++;
        if (!file->name || !file->format)
            status = no_memory(err);
    }
    model.file_count = audit->file_count;
    if (status == MMH_OK && hash_files) {
        status = mmh_model_hash(&model, hashes, audit->file_count, MMH_FILE_HASH_SHA256, "audit",
                                err);
        audit->hashed = status == MMH_OK;
    }
    mmh_model_release(&model);
    return status;
}

/* ---- findings ---- */

static void find(struct mmh_audit *audit, size_t profile, const char *subject,
                 const char *algorithm)
{
    mmh_audit_finding *finding = &audit->findings[audit->finding_count++];
    const struct mmh_asset *asset = mmh_asset_by_name(algorithm);
    finding->struct_size = sizeof *finding;
    finding->profile = mmh_profile_row(profile)->name;
    finding->subject = subject;
    finding->algorithm = algorithm;
    finding->meets = mmh_asset_allowed(asset, profile, &finding->why);
    finding->nist_category = asset && asset->quantum_level > 0 ? (unsigned)asset->quantum_level : 0;
    finding->quantum_vulnerable = asset && asset->quantum_level == 0;
}

/* Something that is not there breaks no rule about algorithms. */
static void find_nothing(struct mmh_audit *audit, size_t profile, const char *subject,
                         const char *why)
{
    mmh_audit_finding *finding = &audit->findings[audit->finding_count++];
    *finding = (mmh_audit_finding){ .struct_size = sizeof *finding,
                                    .profile = mmh_profile_row(profile)->name,
                                    .subject = subject,
                                    .algorithm = "none",
                                    .meets = true,
                                    .why = why };
}

/* A signature that a profile does not allow is no matter beside one that it does: those who follow the
 * profile look at the other. With recipients it is not so: each can open all. */
static void forgive_signatures(struct mmh_audit *audit, size_t first)
{
    bool any = false;
    for (size_t i = first; i < audit->finding_count; i++)
        any = any || audit->findings[i].meets;
    for (size_t i = first; any && i < audit->finding_count; i++)
        if (!audit->findings[i].meets) {
            audit->findings[i].meets = true;
            audit->findings[i].why = "is not of the profile, but another signature is";
        }
}

static mmh_status find_all(struct mmh_audit *audit, mmh_error *err)
{
    const mmh_security_info *security = &audit->security;
    const size_t recipients = security->recipient_count, signatures = security->signature_count;
    const char **subjects = mmh_arena_array(&audit->arena, recipients + signatures,
                                            sizeof *subjects);
    audit->findings = mmh_arena_array(
        &audit->arena, MMH_PROFILE_COUNT * (recipients + signatures + 3), sizeof *audit->findings);
    if (!subjects || !audit->findings)
        return no_memory(err);
    for (size_t i = 0; i < recipients + signatures; i++) {
        subjects[i] = i < recipients
                        ? mmh_arena_format(&audit->arena, "recipient %zu", i + 1)
                        : mmh_arena_format(&audit->arena, "signature %zu", i - recipients + 1);
        if (!subjects[i])
            return no_memory(err);
    }
    for (size_t p = 0; p < MMH_PROFILE_COUNT; p++) {
        find(audit, p, "hash", security->hash_suite);
        if (security->encrypted)
            find(audit, p, "encryption", security->aead ? security->aead : "unknown");
        else
            find_nothing(audit, p, "encryption", "not encrypted: whoever has it can read it");
        for (size_t i = 0; i < recipients; i++)
            find(audit, p, subjects[i], audit->recipients[i].algorithm);
        const size_t first = audit->finding_count;
        if (!signatures)
            find_nothing(audit, p, "signatures", "not signed: nobody answers for it");
        for (size_t i = 0; i < signatures; i++)
            find(audit, p, subjects[recipients + i], audit->signatures[i].algorithm);
        forgive_signatures(audit, first);
    }
    return MMH_OK;
}

/* ---- audits ---- */

mmh_status mmh_audit_create(mmh_audit **out, mmh_context *context, const char *container,
                            const mmh_audit_options *given, mmh_error *err)
{
    mmh_audit_options options = { 0 };
    mmh_security *security = NULL;
    *out = NULL;
    mmh_status status = mmh_options_copy(&options, sizeof options, given, "mmh_audit_options", err);
    if (status != MMH_OK)
        return status;
    mmh_audit *audit = mmh_alloc_array(context->allocator, 1, sizeof *audit);
    if (!audit)
        return no_memory(err);
    audit->allocator = context->allocator;
    audit->time_seconds = options.time_seconds;
    mmh_arena_init(&audit->arena, context->allocator);
    mmh_buffer_init(&audit->text, context->allocator);
    const char *slash = strrchr(container, '/');
    const char *name = slash && slash[1] ? slash + 1 : container;
    audit->name = mmh_arena_string(&audit->arena, name, strlen(name));
    status = audit->name
               ? mmh_security_open(context, container, options.signers, options.signer_count,
                                   options.signature_file, &security, err)
               : no_memory(err);
    if (status == MMH_OK)
        status = look_at_security(audit, security, err);
    mmh_security_close(security);
    if (status == MMH_OK)
        status = look_at_files(audit, context, container, options.hash_files, err);
    if (status == MMH_OK)
        status = find_all(audit, err);
    if (status == MMH_OK)
        *out = audit;
    else
        mmh_audit_destroy(audit);
    return status;
}

void mmh_audit_destroy(mmh_audit *audit)
{
    if (!audit)
        return;
    mmh_buffer_release(&audit->text);
    mmh_arena_release(&audit->arena);
    mmh_free(audit->allocator, audit);
}

mmh_status mmh_audit_finding_at(const mmh_audit *audit, size_t number, mmh_audit_finding *finding,
                                mmh_error *err)
{
    mmh_status status = mmh_struct_check(finding, "mmh_audit_finding", err);
    if (status != MMH_OK)
        return status;
    if (number >= audit->finding_count)
        return mmh_fail(err, MMH_E_USAGE, "there are %zu findings", audit->finding_count);
    mmh_report_copy(finding, &audit->findings[number], sizeof audit->findings[number]);
    return MMH_OK;
}

bool mmh_audit_meets(const mmh_audit *audit, const char *profile)
{
    for (size_t i = 0; i < audit->finding_count; i++)
        if (strcmp(audit->findings[i].profile, profile) == 0 && !audit->findings[i].meets)
            return false;
    return profile_number(profile) < MMH_PROFILE_COUNT;
}

/* ---- reports ---- */

static void write_text(const mmh_audit *audit, struct mmh_buffer *text)
{
    char line[256];
    for (size_t i = 0; i < audit->finding_count; i++) {
        const mmh_audit_finding *finding = &audit->findings[i];
        if (!i || strcmp(finding->profile, audit->findings[i - 1].profile) != 0) {
            (void)snprintf(line, sizeof line, "%s: %s\n", finding->profile,
                           mmh_audit_meets(audit, finding->profile) ? "met" : "not met");
            mmh_text_add(text, line);
        }
        (void)snprintf(line, sizeof line, "  %-3s  %-14s  %-22s  %s", finding->meets ? "yes" : "no",
                       finding->subject, finding->algorithm, finding->why);
        mmh_text_add(text, line);
        if (finding->nist_category) {
            (void)snprintf(line, sizeof line, ", NIST category %u", finding->nist_category);
            mmh_text_add(text, line);
        }
        mmh_buffer_u8(text, '\n');
    }
}

static void strength_json(struct mmh_json_writer *json, const char *algorithm, bool classical,
                          bool post_quantum, unsigned nist_category)
{
    mmh_json_pair(json, "algorithm", algorithm);
    mmh_json_key(json, "classical");
    mmh_json_bool(json, classical);
    mmh_json_key(json, "post_quantum");
    mmh_json_bool(json, post_quantum);
    mmh_json_key(json, "nist_category");
    mmh_json_number(json, nist_category);
    mmh_json_key(json, "quantum_vulnerable");
    mmh_json_bool(json, classical && !post_quantum);
}

static void signature_json(struct mmh_json_writer *json, const mmh_signature_info *signature)
{
    static const char *const results[] = { [MMH_SIGNATURE_UNCHECKED] = "unchecked",
                                           [MMH_SIGNATURE_RIGHT] = "right",
                                           [MMH_SIGNATURE_WRONG] = "wrong" };
    mmh_json_open(json, '{');
    strength_json(json, signature->algorithm, signature->classical, signature->post_quantum,
                  signature->nist_category);
    mmh_json_key(json, "fingerprint");
    mmh_json_hex(json, signature->fingerprint, sizeof signature->fingerprint);
    mmh_json_key(json, "counter");
    mmh_json_number(json, signature->counter);
    mmh_json_key(json, "time_seconds");
    mmh_json_number(json, signature->time_seconds);
    mmh_json_key(json, "of_this_root");
    mmh_json_bool(json, signature->of_this_root);
    mmh_json_pair(json, "result", results[signature->result]);
    mmh_json_close(json, '}');
}

static void write_json(const mmh_audit *audit, struct mmh_buffer *text)
{
    const mmh_security_info *security = &audit->security;
    struct mmh_json_writer json;
    mmh_json_writer_init(&json, text);
    mmh_json_open(&json, '{');
    mmh_json_pair(&json, "container", audit->name);
    mmh_json_key(&json, "root");
    mmh_json_hex(&json, security->root, security->root_bytes);
    mmh_json_pair(&json, "hash_suite", security->hash_suite);
    mmh_json_key(&json, "encrypted");
    mmh_json_bool(&json, security->encrypted);
    if (security->aead)
        mmh_json_pair(&json, "aead", security->aead);
    mmh_json_key(&json, "recipients");
    mmh_json_open(&json, '[');
    for (size_t i = 0; i < security->recipient_count; i++) {
        const mmh_recipient_info *recipient = &audit->recipients[i];
        mmh_json_open(&json, '{');
        strength_json(&json, recipient->algorithm, recipient->classical, recipient->post_quantum,
                      recipient->nist_category);
        mmh_json_close(&json, '}');
    }
    mmh_json_close(&json, ']');
    mmh_json_key(&json, "signatures");
    mmh_json_open(&json, '[');
    for (size_t i = 0; i < security->signature_count; i++)
        signature_json(&json, &audit->signatures[i]);
    mmh_json_close(&json, ']');
    mmh_json_key(&json, "parity_hundredths_percent");
    mmh_json_number(&json, security->parity);
    mmh_json_key(&json, "profiles");
    mmh_json_open(&json, '[');
    for (size_t i = 0; i < audit->finding_count;) {
        const char *profile = audit->findings[i].profile;
        mmh_json_open(&json, '{');
        mmh_json_pair(&json, "name", profile);
        mmh_json_key(&json, "met");
        mmh_json_bool(&json, mmh_audit_meets(audit, profile));
        mmh_json_key(&json, "findings");
        mmh_json_open(&json, '[');
        for (; i < audit->finding_count && strcmp(audit->findings[i].profile, profile) == 0; i++) {
            const mmh_audit_finding *finding = &audit->findings[i];
            mmh_json_open(&json, '{');
            mmh_json_pair(&json, "subject", finding->subject);
            mmh_json_pair(&json, "algorithm", finding->algorithm);
            mmh_json_key(&json, "meets");
            mmh_json_bool(&json, finding->meets);
            mmh_json_pair(&json, "why", finding->why);
            mmh_json_key(&json, "nist_category");
            mmh_json_number(&json, finding->nist_category);
            mmh_json_key(&json, "quantum_vulnerable");
            mmh_json_bool(&json, finding->quantum_vulnerable);
            mmh_json_close(&json, '}');
        }
        mmh_json_close(&json, ']');
        mmh_json_close(&json, '}');
    }
    mmh_json_close(&json, ']');
    mmh_json_close(&json, '}');
}

mmh_status mmh_audit_write(mmh_audit *audit, mmh_audit_form form, const char **text, size_t *bytes,
                           mmh_error *err)
{
    mmh_status status = MMH_OK;
    mmh_buffer_clear(&audit->text);
    switch (form) {
    case MMH_AUDIT_TEXT:
        write_text(audit, &audit->text);
        break;
    case MMH_AUDIT_JSON:
        write_json(audit, &audit->text);
        break;
    case MMH_AUDIT_BILL:
        status = mmh_audit_bill(audit, &audit->text, err);
        break;
    default:
        return mmh_fail(err, MMH_E_USAGE, "an audit is not written in form %d", (int)form);
    }
    mmh_buffer_u8(&audit->text, 0);
    if (status == MMH_OK)
        status = mmh_buffer_finish(&audit->text, "audit", err);
    if (status != MMH_OK)
        return status;
    *text = (const char *)audit->text.data;
    *bytes = audit->text.bytes - 1;
    return MMH_OK;
}
