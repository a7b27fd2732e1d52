/*
 * What the files of the KEMs share, and what tests of published vectors need: encapsulation out of given
 * randomness.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_KEM_PRIVATE_H
#define MMH_KEM_PRIVATE_H

#include "crypto/kem.h"

enum { MMH_ML_KEM_ENTROPY_BYTES = 32, MMH_X_WING_ENTROPY_BYTES = 64 };

extern const struct mmh_kem mmh_kem_x25519, mmh_kem_ml_kem_768, mmh_kem_ml_kem_1024, mmh_kem_x_wing,
    mmh_kem_rsa_oaep;
#ifdef MMH_HAVE_MCELIECE
enum { MMH_KEM_MCELIECE_COUNT = 6 };
extern const struct mmh_kem mmh_kem_mceliece[MMH_KEM_MCELIECE_COUNT];
#endif

/* One answer for all that may be wrong with a key or with what was sent. */
mmh_status mmh_kem_fail(mmh_error *err);

/* shared = scalar * point; MMH_E_KEY if that is zero. */
mmh_status mmh_x25519(uint8_t shared[MMH_X25519_BYTES], const uint8_t scalar[MMH_X25519_BYTES],
                      const uint8_t point[MMH_X25519_BYTES], mmh_error *err);
mmh_status mmh_x25519_public(uint8_t public_key[MMH_X25519_BYTES],
                             const uint8_t scalar[MMH_X25519_BYTES], mmh_error *err);

/* kem: mmh_kem_ml_kem_768 or -1024; of encapsulation entropy is FIPS 203's m. */
mmh_status mmh_ml_kem_derive(const struct mmh_kem *kem, uint8_t *public_key,
                             const uint8_t *secret_key, mmh_error *err);
mmh_status mmh_ml_kem_encapsulate(const struct mmh_kem *kem, uint8_t *enc, uint8_t *shared,
                                  const uint8_t *public_key, size_t public_bytes,
                                  const uint8_t entropy[MMH_ML_KEM_ENTROPY_BYTES], mmh_error *err);
mmh_status mmh_ml_kem_decapsulate(const struct mmh_kem *kem, uint8_t *shared, const uint8_t *enc,
                                  size_t enc_bytes, const uint8_t *secret_key, size_t secret_bytes,
                                  mmh_error *err);

/* entropy: the draft's eseed, ML-KEM's m and then X25519's scalar. */
mmh_status mmh_x_wing_encapsulate(uint8_t *enc, uint8_t *shared, const uint8_t *public_key,
                                  size_t public_bytes,
                                  const uint8_t entropy[MMH_X_WING_ENTROPY_BYTES], mmh_error *err);

#endif
