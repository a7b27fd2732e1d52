/*
 * What guards a container: who may open it, who has signed it; made for writing. (engine.h has what is asked when reading.)
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_GUARD_H
#define MMH_GUARD_H

#include "container/trailer.h"
#include "engine/engine.h"
#include "engine/keys.h"

/* ---- making ---- */

/* What a trailer is to hold. Zeroed but for what the caller sets. */
struct mmh_guarding {
    mmh_context *context;
    unsigned hash_suite, aead_suite;
    /* Recipients, if file_key is not NULL: those of old_recipients [old_recipient_bytes], a section that
     * was looked through, then these. */
    const uint8_t *file_key; /* [MMH_FILE_KEY_BYTES] */
    const struct mmh_file_keys *keys;
    const uint8_t *old_recipients;
    size_t old_recipient_bytes;
    const mmh_key *const *recipients;
    size_t recipient_count;
    const char *passphrase;
    size_t passphrase_bytes;
    /* Signatures: those of old_signatures, a section, that are by none of the signers, then one of each
     * part of each signer that signs. */
    const uint8_t *old_signatures;
    size_t old_signature_bytes;
    const mmh_key *const *signers;
    size_t signer_count;
    uint64_t counter, time_seconds;
};

/* MMH_E_USAGE unless each key can do what is asked of it. Before any work is done. */
mmh_status mmh_guarding_check(const struct mmh_guarding *guarding, mmh_error *err);

/* Append sections 1 and 2 to a trailer: a mmh_container_guard, context a struct mmh_guarding. */
mmh_status mmh_guarding_write(void *context, struct mmh_buffer *trailer,
                              const uint8_t header[MMH_HEADER_BYTES], const uint8_t *root,
                              size_t root_bytes, mmh_error *err);

/* The body of section 2 alone. */
mmh_status mmh_guarding_sign(const struct mmh_guarding *guarding, struct mmh_buffer *section,
                             const uint8_t *root, size_t root_bytes, mmh_error *err);

/* A file key, and what is derived from it. */
struct mmh_fresh_key {
    uint8_t file_key[MMH_FILE_KEY_BYTES];
    struct mmh_file_keys keys;
};

/* Make one at random; for mmh_wipe. */
mmh_status mmh_fresh_key_make(struct mmh_fresh_key *key, unsigned aead_suite, unsigned hash_suite,
                              mmh_error *err);

/* The suite that a name of an AEAD means, NULL: the default; MMH_E_USAGE if there is none. */
mmh_status mmh_aead_choose(unsigned *aead_suite, const char *name, mmh_error *err);

#endif
