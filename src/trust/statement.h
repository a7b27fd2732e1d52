/*
 * Signatures of containers: the section that holds them, and the policies that they must meet.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The bytes are those of docs/format.md section 16.
 */
#ifndef MMH_STATEMENT_H
#define MMH_STATEMENT_H

#include "base/cursor.h"
#include "crypto/key.h"

enum {
    MMH_STATEMENT_BYTES_MAX = 65536,
    MMH_SIGNATURES_MAX = 256,      /* of a section */
    MMH_NOTES_MAX = 64,            /* of a statement */
    MMH_SIGNATURE_FILE_PREFIX = 12 /* magic and CRC-32 before the section of a detached file */
};

/* Key and value are UTF-8, of at most 65535 bytes each. */
struct mmh_note {
    const char *key;
    size_t key_bytes;
    const char *value;
    size_t value_bytes;
};

/* What a signer states. */
struct mmh_statement {
    unsigned hash_suite;
    const uint8_t *root; /* [root_bytes <= 64] */
    size_t root_bytes;
    uint64_t counter, time_seconds; /* 0: none */
    const struct mmh_note *notes;   /* of statements to be made; mmh_signature_note reads */
    size_t note_count;
};

/* A signature of a section; pointers lead into the section. */
struct mmh_signature_view {
    unsigned algorithm;
    bool known; /* algorithm and version are understood; else the fields below are 0 */
    struct mmh_statement statement; /* notes NULL */
    const uint8_t *fingerprint;     /* [MMH_FINGERPRINT_BYTES] */
    const uint8_t *notes;           /* [notes_bytes] as they are stored */
    size_t notes_bytes;
    const uint8_t *stated; /* [stated_bytes] the statement as it was signed */
    size_t stated_bytes;
    const uint8_t *signature; /* [signature_bytes] */
    size_t signature_bytes;
};

/* A section that was looked through. */
struct mmh_signatures {
    const uint8_t *section;
    size_t bytes, count;
    uint32_t offsets[MMH_SIGNATURES_MAX];
};

/*
 * Make a section with one signature more.
 *
 *   section      empty; what an append to it fails with is told here
 *   old_section  [old_bytes] the signatures that there are; NULL and 0: none
 *   signer       a private key that signs
 *
 * Fails with MMH_E_LIMIT beyond 256 signatures or a statement's room, and as mmh_signature_sign and
 * mmh_signatures_view do.
 */
mmh_status mmh_signatures_add(struct mmh_buffer *section, const uint8_t *old_section,
                              size_t old_bytes, const struct mmh_key_part *signer,
                              const struct mmh_statement *statement, mmh_error *err);

/*
 * Make a section without the signatures by private keys of `signer`: it will sign anew.
 *
 *   section  empty, and so it stays if nothing is left
 *
 * Fails as mmh_signatures_view does.
 */
mmh_status mmh_signatures_drop(struct mmh_buffer *section, const uint8_t *old_section,
                               size_t old_bytes, const mmh_identity *signer, mmh_error *err);

/* Look through a section, without any key. Keeps `section`. MMH_E_CORRUPT for what docs/format.md does
 * not allow, MMH_E_UNSUPPORTED for another version. Bytes 0: no signatures. */
mmh_status mmh_signatures_view(struct mmh_signatures *signatures, const uint8_t *section,
                               size_t bytes, mmh_error *err);

/* Signature number `number` < signatures->count. */
void mmh_signatures_at(const struct mmh_signatures *signatures, size_t number,
                       struct mmh_signature_view *view);

/* Note number `number` of it; false past the last. */
bool mmh_signature_note(const struct mmh_signature_view *view, size_t number,
                        struct mmh_note *note);

/* Whether it is about this root. */
bool mmh_signature_is_of(const struct mmh_signature_view *view, unsigned hash_suite,
                         const uint8_t *root, size_t root_bytes);

/* Whether a key may have made it, by what it says itself: its fingerprint and its algorithm. */
bool mmh_signature_is_by(const struct mmh_signature_view *view, const struct mmh_key_part *part);

/* MMH_E_UNTRUSTED unless it is right by that key. What it states is not looked at. */
mmh_status mmh_signature_check_by(const struct mmh_signature_view *view,
                                  const struct mmh_key_part *part, const mmh_allocator *allocator,
                                  mmh_error *err);

/*
 * Check a signature by the one key, if any, that has its fingerprint and its algorithm. What it states
 * is not looked at.
 *
 *   part  out: that key; NULL: there is none, and MMH_E_UNTRUSTED is returned
 */
mmh_status mmh_signature_check(const struct mmh_signature_view *view,
                               const mmh_identity *const *signers, size_t signer_count,
                               const struct mmh_key_part **part, mmh_error *err);

/* ---- policies ---- */

/* As mmh_trust (mmh.h) has it. */
struct mmh_policy {
    const mmh_identity *const *signers; /* [signer_count] that are believed */
    size_t signer_count;
    const uint64_t *expires; /* [signer_count] seconds since 1970, 0: always; NULL: always */
    bool all;                /* each key of each signer, that is strong enough, must have signed */
    bool hybrid, post_quantum;
    unsigned min_category;
    uint64_t min_counter;
};

struct mmh_section_view {
    const uint8_t *section;
    size_t bytes;
};

struct mmh_policy_counts {
    size_t found;     /* signatures */
    size_t matched;   /* ... by a key of the policy */
    size_t right;     /* ... that are right, and of this root */
    size_t counted;   /* ... and strong, new and in time as the policy wants them */
    uint64_t counter; /* the highest of those that counted */
};

/*
 * Whether signatures meet a policy.
 *
 *   sections     [section_count] the trailer's, and a detached file's (mmh_signature_file_open)
 *   now_seconds  since 1970, for `expires`
 *   counts       may be NULL
 *
 * MMH_E_UNTRUSTED with the requirement that is not met. Only keys of the policy are believed, and each
 * only for signatures that name its fingerprint and its algorithm; each signature is checked once at
 * most.
 */
mmh_status mmh_policy_check(const struct mmh_policy *policy,
                            const struct mmh_section_view *sections, size_t section_count,
                            unsigned hash_suite, const uint8_t *root, size_t root_bytes,
                            uint64_t now_seconds, struct mmh_policy_counts *counts, mmh_error *err);

/* ---- detached signatures ---- */

/* The content of a detached signature file that holds a section. */
mmh_status mmh_signature_file_write(struct mmh_buffer *file, const uint8_t *section, size_t bytes,
                                    mmh_error *err);

/* The section in such a file, not copied. MMH_E_CORRUPT: it is none, or damaged. `name`: for
 * messages. */
mmh_status mmh_signature_file_open(struct mmh_section_view *section, const uint8_t *file,
                                   size_t bytes, const char *name, mmh_error *err);

#endif
