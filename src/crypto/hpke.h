/*
 * HPKE, base mode: the key and the nonce that follow from what a KEM gives.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The suite is (0x647a X-Wing, 0x0001 HKDF-SHA-256, 0x0003 ChaCha20-Poly1305). X-Wing's encapsulation
 * (crypto/kem.h), this, and sealing under that key with that nonce (crypto/aead.h) are HPKE's Seal.
 */
#ifndef MMH_HPKE_H
#define MMH_HPKE_H

#include "crypto/aead.h"

/*
 *   nonce   of the first message: base_nonce
 *   shared  of the KEM
 *   info    [info_bytes] what the key is for
 */
mmh_status mmh_hpke_schedule(uint8_t key[MMH_AEAD_KEY_BYTES], uint8_t nonce[MMH_AEAD_NONCE_BYTES],
                             const uint8_t shared[32], const void *info, size_t info_bytes,
                             mmh_error *err);

#endif
