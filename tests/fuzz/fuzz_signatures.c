/*
 * Fuzz target: signatures of any bytes are looked through, and none is believed that nobody made.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "fuzz.h"

#include "trust/statement.h"

/* The key of the seeds that begin with "signed". */
static const char key_text[] = "-----BEGIN PUBLIC KEY-----\n"
                               "MCowBQYDK2VwAyEALDtB19LBScKqOuo6Qc536Jg2MtUUuKtyIp+CrmIJeFY=\n"
                               "-----END PUBLIC KEY-----\n";

static const mmh_identity *signer(void)
{
    static mmh_identity *identity;
    if (!identity)
        FUZZ_REQUIRE(mmh_identity_parse(&identity, key_text, sizeof key_text - 1, "key", NULL, NULL,
                                        NULL, NULL) == MMH_OK);
    return identity;
}

/* What a section says lies within it. */
static void look(const struct mmh_signatures *signatures, const uint8_t *section, size_t bytes)
{
    size_t end = 4;
    for (size_t i = 0; i < signatures->count; i++) {
        struct mmh_signature_view view;
        struct mmh_note note;
        size_t notes = 0;
        mmh_signatures_at(signatures, i, &view);
        FUZZ_REQUIRE(view.stated == section + end + 12);
        FUZZ_REQUIRE(view.signature == view.stated + view.stated_bytes);
        end += 12 + view.stated_bytes + view.signature_bytes;
        FUZZ_REQUIRE(end <= bytes);
        while (view.known && mmh_signature_note(&view, notes, &note))
            notes++;
        FUZZ_REQUIRE(notes == view.statement.note_count && notes <= MMH_NOTES_MAX);
    }
    FUZZ_REQUIRE(end == bytes);
}

/* What is left without the signatures of a private key is a section again, or nothing. */
static void drop(const uint8_t *section, const struct mmh_signatures *signatures)
{
    mmh_identity private = *signer();
    struct mmh_key_part part = private.parts[0];
    struct mmh_signatures left;
    struct mmh_buffer rest;
    size_t by = 0;
    private.parts = &part;
    private.part_count = 1;
    part.secret = true;
    for (size_t i = 0; i < signatures->count; i++) {
        struct mmh_signature_view view;
        mmh_signatures_at(signatures, i, &view);
        by += mmh_signature_is_by(&view, &part);
    }
    mmh_buffer_init(&rest, NULL);
    FUZZ_REQUIRE(!mmh_signatures_drop(&rest, section, signatures->bytes, &private, NULL));
    FUZZ_REQUIRE(!mmh_signatures_view(&left, rest.data, rest.bytes, NULL));
    FUZZ_REQUIRE(left.count + by == signatures->count);
    mmh_buffer_release(&rest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const uint8_t root[32] = { 1, 2, 3 };
    const mmh_identity *signers[] = { signer() };
    struct mmh_policy policy = { .signers = signers, .signer_count = 1 };
    struct mmh_section_view view = { data, bytes };
    struct mmh_signatures signatures;
    struct mmh_policy_counts counts;
    struct mmh_buffer file;
    uint8_t *copy = NULL;
    if (mmh_signature_file_open(&view, data, bytes, "fuzz", NULL) == MMH_OK)
        FUZZ_REQUIRE(view.bytes + MMH_SIGNATURE_FILE_PREFIX == bytes);
    copy = fuzz_copy(view.section, view.bytes);
    view.section = copy;
    if (mmh_signatures_view(&signatures, view.section, view.bytes, NULL) == MMH_OK &&
        signatures.count) {
        look(&signatures, view.section, view.bytes);
        drop(view.section, &signatures);
        const mmh_status status = mmh_policy_check(&policy, &view, 1, 1, root, sizeof root, 0,
                                                   &counts, NULL);
        FUZZ_REQUIRE((status == MMH_OK) == (counts.counted > 0));
        FUZZ_REQUIRE(counts.found == signatures.count && counts.counted <= counts.right &&
                     counts.right <= counts.matched && counts.matched <= counts.found);
        policy.hybrid = true; /* the key is none */
        FUZZ_REQUIRE(mmh_policy_check(&policy, &view, 1, 1, root, sizeof root, 0, NULL, NULL) ==
                     MMH_E_UNTRUSTED);
    }
    /* A section comes back from a detached file as it was. */
    mmh_buffer_init(&file, NULL);
    FUZZ_REQUIRE(mmh_signature_file_write(&file, copy, view.bytes, NULL) == MMH_OK);
    FUZZ_REQUIRE(mmh_signature_file_open(&view, file.data, file.bytes, "fuzz", NULL) == MMH_OK);
    FUZZ_REQUIRE(!view.bytes || memcmp(view.section, copy, view.bytes) == 0);
    mmh_buffer_release(&file);
    free(copy);
    return 0;
}
