/*
 * Sealing and opening of chunks by workers: docs/format.md section 15.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_SEAL_H
#define MMH_SEAL_H

#include "engine/engine.h"

/* The chunk key of a container, ready for each worker of a context. */
typedef struct mmh_sealer mmh_sealer;

/* likens: mmh_sealer_likeness will be called. */
mmh_status mmh_sealer_create(mmh_sealer **sealer, mmh_context *context, unsigned aead_suite,
                             const uint8_t key[MMH_AEAD_KEY_BYTES], bool likens, mmh_error *err);
void mmh_sealer_destroy(mmh_sealer *sealer); /* wipes; may be NULL */

/*
 * Seal a payload in place: data [bytes + MMH_AEAD_TAG_BYTES]. No number is used for two payloads.
 *
 *   worker  that runs this
 */
mmh_status mmh_sealer_seal(mmh_sealer *sealer, unsigned worker, uint8_t *data, size_t bytes,
                           uint64_t number, mmh_error *err);

/*
 * By what equal payloads are told from others before they are sealed: their MAC under a key that is made at
 * random for this sealer, and goes with it. Who chose the payloads did not know it, so that two that differ
 * have one MAC with a chance of 2^-80 at the most; and a MAC takes a small part of the time of a hash.
 *
 *   likeness  never to leave this process
 */
mmh_status mmh_sealer_likeness(mmh_sealer *sealer, unsigned worker,
                               uint8_t likeness[MMH_AEAD_TAG_BYTES], const uint8_t *data,
                               size_t bytes, mmh_error *err);

/* Open what was sealed, in place: data [bytes], the payload is its first bytes - MMH_AEAD_TAG_BYTES.
 * MMH_E_CORRUPT if it was not sealed with this key and number: data is zeros then. */
mmh_status mmh_sealer_open(mmh_sealer *sealer, unsigned worker, uint8_t *data, size_t bytes,
                           uint64_t number, mmh_error *err);

#endif
