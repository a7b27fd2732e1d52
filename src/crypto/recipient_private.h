/*
 * Wrapping of a file key under what a KEM gives: also that of age and HPKE, which have other labels and,
 * for age, other file keys.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_RECIPIENT_PRIVATE_H
#define MMH_RECIPIENT_PRIVATE_H

#include "base/cursor.h"
#include "crypto/kem.h"

/*
 * Append enc and the sealed file key to out.
 *
 *   label  info of section 15's A and H; what stands before the name in that of B
 */
mmh_status mmh_wrap_seal(struct mmh_buffer *out, const struct mmh_kem *kem, const char *label,
                         const uint8_t *public_key, size_t public_bytes, const uint8_t *file_key,
                         size_t file_key_bytes, mmh_error *err);

/* MMH_E_KEY unless body is enc and a sealed file key of file_key_bytes, and the key opens it. */
mmh_status mmh_wrap_open(uint8_t *file_key, size_t file_key_bytes, const struct mmh_kem *kem,
                         const char *label, const uint8_t *public_key, size_t public_bytes,
                         const uint8_t *secret_key, size_t secret_bytes, const uint8_t *body,
                         size_t body_bytes, mmh_error *err);

#endif
