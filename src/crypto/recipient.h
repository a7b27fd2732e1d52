/*
 * File keys, what is derived from them, and the recipients section: docs/format.md section 15.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_RECIPIENT_H
#define MMH_RECIPIENT_H

#include "base/cursor.h"
#include "crypto/aead.h"
#include "crypto/kdf.h"
#include "crypto/key.h"

enum {
    MMH_FILE_KEY_BYTES = 32,
    MMH_COMMITMENT_BYTES = 32,
    MMH_RECIPIENTS_MAX = 1024,
    MMH_PASSPHRASES_MAX = 8,
    MMH_PASSPHRASE_BYTES_MAX = 1024,
    MMH_UNLOCK_TRIES_MAX = 1 << 16 /* some seconds */
};

/* The keys of a container. */
struct mmh_file_keys {
    uint8_t chunk[32], page[32], recipients[32], commitment[MMH_COMMITMENT_BYTES];
};

mmh_status mmh_file_keys_derive(struct mmh_file_keys *keys,
                                const uint8_t file_key[MMH_FILE_KEY_BYTES], unsigned aead_suite,
                                unsigned hash_suite, mmh_error *err);

/* Append a stanza for a public key of a KEM to out. MMH_E_KEY if it is no key; out is as it was after a
 * failure. */
mmh_status mmh_stanza_write(struct mmh_buffer *out, const uint8_t file_key[MMH_FILE_KEY_BYTES],
                            const struct mmh_key_part *recipient, mmh_error *err);
/* MMH_E_USAGE unless the passphrase has 1..MMH_PASSPHRASE_BYTES_MAX bytes. */
mmh_status mmh_stanza_write_passphrase(struct mmh_buffer *out,
                                       const uint8_t file_key[MMH_FILE_KEY_BYTES],
                                       const char *passphrase, size_t passphrase_bytes,
                                       const struct mmh_argon2_cost *cost, mmh_error *err);

/* Whole section: u16 version, u16 count, stanzas [stanza_bytes], MAC. */
mmh_status mmh_recipients_write(struct mmh_buffer *out, const uint8_t *stanzas, size_t stanza_bytes,
                                unsigned count, const struct mmh_file_keys *keys,
                                unsigned hash_suite, const uint8_t *header, size_t header_bytes,
                                const uint8_t *root, size_t root_bytes, mmh_error *err);

/* What a section says, without any key: for `info`, audits, and adding recipients. MMH_E_CORRUPT unless
 * all of it is stanzas and a MAC. */
struct mmh_recipients_view {
    unsigned count;
    const uint8_t *stanzas; /* into the section */
    size_t stanza_bytes;
    const uint8_t *mac;
};
mmh_status mmh_recipients_view(struct mmh_recipients_view *view, const uint8_t *section,
                               size_t bytes, mmh_error *err);
/* Stanza number `number` (< view->count): its kind and body. */
mmh_status mmh_recipients_stanza(const struct mmh_recipients_view *view, unsigned number,
                                 unsigned *kind, const uint8_t **body, size_t *body_bytes,
                                 mmh_error *err);

/* What may open containers. Of a secret key part the public key is wanted too. */
struct mmh_unlock {
    const mmh_identity *const *identities; /* [identity_count] those with secret keys */
    size_t identity_count;
    /* Asked once, if no key opens it and there is such a stanza; NULL: not. */
    mmh_passphrase_ask *ask;
    void *user;
    /* Passphrases that cost more are not tried: MMH_E_LIMIT. NULL: all that mmh_argon2id computes. */
    const struct mmh_argon2_cost *cost_limit;
};

/*
 * Find the file key: MMH_E_KEY if nothing opens it, whatever is wrong with a stanza, MMH_E_CORRUPT if a
 * key does and the MAC is wrong, or if it is no section; MMH_E_LIMIT if it would take more than
 * MMH_UNLOCK_TRIES_MAX tries (RSA's count 6 and more, as their moduli are long, McEliece's 4), or costs of a
 * passphrase that are refused, to say.
 * The key has the commitment. *keys and file_key are zeros after a failure.
 */
mmh_status mmh_recipients_open(uint8_t file_key[MMH_FILE_KEY_BYTES], struct mmh_file_keys *keys,
                               const uint8_t *section, size_t bytes,
                               const struct mmh_unlock *unlock,
                               const uint8_t commitment[MMH_COMMITMENT_BYTES], unsigned aead_suite,
                               unsigned hash_suite, const uint8_t *header, size_t header_bytes,
                               const uint8_t *root, size_t root_bytes, mmh_error *err);

#endif
