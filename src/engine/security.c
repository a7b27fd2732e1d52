/*
 * What guards a container, told without a key: encryption, recipients, signatures, parity.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/bits.h"
#include "engine/guard.h"
#include "integrity/recovery.h"

enum { SIGNATURE_FILE_BYTES_MAX = 64 << 20, HUNDREDTHS = 10000, SIGNATURE_SECTIONS = 2 };

/* Who has signed, as far as the given keys can say. */
struct looked {
    struct mmh_signatures signatures;
    uint8_t results[MMH_SIGNATURES_MAX]; /* of mmh_signature_info.result */
};

struct mmh_security {
    mmh_context *context;
    mmh_reader *reader;
    struct mmh_recipients_view recipients;
    uint8_t *file;                            /* detached signatures */
    struct looked looked[SIGNATURE_SECTIONS]; /* of the trailer, of the file */
    unsigned parity;
    uint64_t parity_bytes;
};

static mmh_status look_at_signatures(struct looked *looked, const uint8_t *section, size_t bytes,
                                     const mmh_identity *const *signers, size_t signer_count,
                                     mmh_error *err)
{
    mmh_status status = mmh_signatures_view(&looked->signatures, section, bytes, err);
    for (size_t i = 0; status == MMH_OK && i < looked->signatures.count; i++) {
        struct mmh_signature_view view;
        const struct mmh_key_part *part;
        mmh_signatures_at(&looked->signatures, i, &view);
        mmh_status checked = mmh_signature_check(&view, signers, signer_count, &part, NULL);
        if (checked == MMH_E_MEMORY)
            status = mmh_fail(err, checked, "no memory to check a signature");
        looked->results[i] = !part             ? MMH_SIGNATURE_UNCHECKED
                           : checked == MMH_OK ? MMH_SIGNATURE_RIGHT
                                               : MMH_SIGNATURE_WRONG;
    }
    return status;
}

/* The sections of the trailer. */
static mmh_status look_at_trailer(mmh_security *security, const mmh_identity *const *signers,
                                  size_t signer_count, mmh_error *err)
{
    const struct mmh_trailer *trailer = &security->reader->container.trailer;
    const struct mmh_section *recipients = &trailer->sections[MMH_SECTION_RECIPIENTS];
    const struct mmh_section *signatures = &trailer->sections[MMH_SECTION_SIGNATURES];
    const struct mmh_section *parity = &trailer->sections[MMH_SECTION_PARITY];
    struct mmh_geometry geometry;
    mmh_status status = MMH_OK;
    if (recipients->present && recipients->right)
        status = mmh_recipients_view(&security->recipients, recipients->data, recipients->bytes,
                                     err);
    if (status == MMH_OK && signatures->present && signatures->right)
        status = look_at_signatures(&security->looked[0], signatures->data, signatures->bytes,
                                    signers, signer_count, err);
    if (parity->present && parity->right && parity->bytes >= MMH_PARITY_SECTION_BYTES &&
        mmh_geometry_read(&geometry, parity->data)) {
        security->parity = geometry.parity_count * HUNDREDTHS / geometry.data_count;
        security->parity_bytes = mmh_load64(parity->data + MMH_GEOMETRY_BYTES + 8);
    }
    return status;
}

static mmh_status look_at_file(mmh_security *security, const char *path,
                               const mmh_identity *const *signers, size_t signer_count,
                               mmh_error *err)
{
    struct mmh_section_view section;
    size_t bytes;
    mmh_status status = mmh_input_slurp(&security->file, &bytes, path, SIGNATURE_FILE_BYTES_MAX,
                                        security->context->allocator, err);
    if (status == MMH_OK)
        status = mmh_signature_file_open(&section, security->file, bytes, path, err);
    if (status == MMH_OK)
        status = look_at_signatures(&security->looked[1], section.section, section.bytes, signers,
                                    signer_count, err);
    return status;
}

mmh_status mmh_security_open(mmh_context *context, const char *container,
                             const mmh_key *const *signers, size_t signer_count,
                             const char *signature_file, mmh_security **out, mmh_error *err)
{
    struct mmh_opening opening = { .keyless = true, .trusting = true, .trailer = true };
    const mmh_identity **identities = NULL;
    mmh_error local = { 0 };
    *out = NULL;
    mmh_security *security = mmh_alloc_array(context->allocator, 1, sizeof *security);
    if (!security)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to look at a container");
    security->context = context;
    mmh_status status = MMH_OK;
    if (signer_count) {
        identities = mmh_alloc_array(context->allocator, signer_count, sizeof *identities);
        if (!identities)
            status = mmh_fail(err, MMH_E_MEMORY, "no memory for %zu keys", signer_count);
    }
    for (size_t i = 0; i < signer_count && status == MMH_OK; i++)
        identities[i] = mmh_key_identity(signers[i]);
    if (status == MMH_OK)
        status = mmh_reader_open_as(context, container, &opening, &security->reader, err);
    if (status == MMH_OK) {
        status = look_at_trailer(security, identities, signer_count, &local);
        if (status != MMH_OK)
            mmh_fail(err, status, "%s: %s", container, local.message);
    }
    if (status == MMH_OK && signature_file)
        status = look_at_file(security, signature_file, identities, signer_count, err);
    mmh_free(context->allocator, identities);
    if (status != MMH_OK)
        mmh_security_close(security);
    else
        *out = security;
    return status;
}

void mmh_security_close(mmh_security *security)
{
    if (!security)
        return;
    mmh_close(security->reader);
    mmh_free(security->context->allocator, security->file);
    mmh_free(security->context->allocator, security);
}

static mmh_status give(void *out, const void *info, size_t bytes, const char *type, mmh_error *err)
{
    mmh_status status = mmh_struct_check(out, type, err);
    if (status == MMH_OK)
        mmh_report_copy(out, info, bytes);
    return status;
}

mmh_status mmh_security_get(const mmh_security *security, mmh_security_info *out, mmh_error *err)
{
    const mmh_container_reader *container = &security->reader->container;
    mmh_security_info info = {
        .encrypted = container->aead_suite != MMH_AEAD_NONE,
        .aead = container->aead_suite ? mmh_aead_name(container->aead_suite) : NULL,
        .hash_suite = mmh_hash_suite_name(container->hash_suite),
        .recipient_count = security->recipients.count,
        .signature_count = security->looked[0].signatures.count +
                           security->looked[1].signatures.count,
        .parity = security->parity,
        .parity_bytes = security->parity_bytes,
        .root_bytes = container->hash_bytes,
    };
    memcpy(info.root, container->root, sizeof info.root);
    return give(out, &info, sizeof info, "mmh_security_info", err);
}

mmh_status mmh_security_recipient(const mmh_security *security, size_t number,
                                  mmh_recipient_info *out, mmh_error *err)
{
    unsigned kind;
    const uint8_t *body;
    size_t body_bytes;
    if (number >= security->recipients.count)
        return mmh_fail(err, MMH_E_USAGE, "there is no recipient %zu", number);
    mmh_status status = mmh_recipients_stanza(&security->recipients, (unsigned)number, &kind, &body,
                                              &body_bytes, err);
    if (status != MMH_OK)
        return status;
    const struct mmh_kem *kem = mmh_kem_by_id(kind);
    const char *name = mmh_kem_name(kind);
    mmh_recipient_info info = { .algorithm = name ? name : "unknown" };
    if (kem) {
        info.classical = kem->classical;
        info.post_quantum = kem->post_quantum;
        info.nist_category = kem->nist_category;
    } else if (kind == MMH_KEM_PASSPHRASE) { /* as strong as it is, to any computer */
        info.post_quantum = true;
    }
    return give(out, &info, sizeof info, "mmh_recipient_info", err);
}

mmh_status mmh_security_signature(const mmh_security *security, size_t number,
                                  mmh_signature_info *out, mmh_error *err)
{
    const mmh_container_reader *container = &security->reader->container;
    const struct looked *looked = &security->looked[0];
    struct mmh_signature_view view;
    if (number >= looked->signatures.count) {
        number -= looked->signatures.count;
        looked = &security->looked[1];
    }
    if (number >= looked->signatures.count)
        return mmh_fail(err, MMH_E_USAGE, "there is no such signature");
    mmh_signatures_at(&looked->signatures, number, &view);
    const struct mmh_signature *algorithm = mmh_signature_by_id(view.algorithm);
    mmh_signature_info info = {
        .algorithm = algorithm ? algorithm->name : "unknown",
        .classical = algorithm && algorithm->classical,
        .post_quantum = algorithm && algorithm->post_quantum,
        .nist_category = algorithm ? algorithm->nist_category : 0,
        .counter = view.statement.counter,
        .time_seconds = view.statement.time_seconds,
        .of_this_root = mmh_signature_is_of(&view, container->hash_suite, container->root,
                                            container->hash_bytes),
        .result = looked->results[number],
    };
    if (view.known)
        memcpy(info.fingerprint, view.fingerprint, sizeof info.fingerprint);
    return give(out, &info, sizeof info, "mmh_signature_info", err);
}
