/*
 * Authenticated encryption: one suite is one line of the table.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Sealed bytes are the ciphertext and behind it a tag of 16 bytes (RFC 5116).
 */
#ifndef MMH_AEAD_H
#define MMH_AEAD_H

#include "base/status.h"

enum { MMH_AEAD_KEY_BYTES = 32, MMH_AEAD_NONCE_BYTES = 12, MMH_AEAD_TAG_BYTES = 16 };

enum mmh_aead_suite { /* ids are on disk (header): never reused */
                      MMH_AEAD_NONE = 0,
                      MMH_AEAD_AES_256_GCM = 1,
                      MMH_AEAD_CHACHA20_POLY1305 = 2
};

const char *mmh_aead_name(unsigned suite); /* "aes-256-gcm"; NULL for a number that is none */
unsigned mmh_aead_find(const char *name);  /* MMH_AEAD_NONE if there is none */
/* What this processor does faster. */
unsigned mmh_aead_default(void);

/* A key, ready to use: of one thread at a time. */
typedef struct mmh_aead mmh_aead;

mmh_status mmh_aead_create(mmh_aead **aead, unsigned suite, const uint8_t key[MMH_AEAD_KEY_BYTES],
                           mmh_error *err);
void mmh_aead_destroy(mmh_aead *aead); /* wipes; may be NULL */

/* The nonce of docs/format.md section 15: four zeros, then the number, little-endian. */
void mmh_aead_nonce(uint8_t nonce[MMH_AEAD_NONCE_BYTES], uint64_t number);

/*
 * Seal `plain` [bytes] into `sealed` [bytes + MMH_AEAD_TAG_BYTES]. The two may be the same memory.
 *
 *   extra  [extra_bytes] associated data; may be NULL with 0
 */
mmh_status mmh_aead_seal(mmh_aead *aead, uint8_t *sealed, const uint8_t nonce[MMH_AEAD_NONCE_BYTES],
                         const uint8_t *plain, size_t bytes, const uint8_t *extra,
                         size_t extra_bytes, mmh_error *err);

/*
 * Open `sealed` [sealed_bytes] into `plain` [sealed_bytes - MMH_AEAD_TAG_BYTES], which may be the same
 * memory. MMH_E_CORRUPT if the tag is wrong: `plain` is zeros then.
 */
mmh_status mmh_aead_open(mmh_aead *aead, uint8_t *plain, const uint8_t nonce[MMH_AEAD_NONCE_BYTES],
                         const uint8_t *sealed, size_t sealed_bytes, const uint8_t *extra,
                         size_t extra_bytes, mmh_error *err);

#endif
