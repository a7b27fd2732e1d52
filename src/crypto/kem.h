/*
 * Key encapsulation: one suite is one file and one line of the table.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Public keys and what is sent are encoded as docs/format.md section 15 says. In memory a secret key is
 *
 *     x25519             the scalar, 32 bytes
 *     ml-kem-768, -1024  the seed d || z, 64 bytes; decapsulate takes FIPS 203's expanded key as well
 *     x-wing             ML-KEM-768's seed, then X25519's scalar, 96 bytes (mmh_x_wing_expand)
 *     mceliece...        libmceliece's secret key; with X25519 that and the scalar
 *     rsa-oaep           DER of PKCS#8
 *
 * How it is kept in files is crypto/key.h's. McEliece runs on a stack of its own, so that a caller's may
 * be small.
 */
#ifndef MMH_KEM_H
#define MMH_KEM_H

#include "base/status.h"

enum mmh_kem_id { /* also stanza kinds, on disk: never reused */
                  MMH_KEM_X25519 = 1,
                  MMH_KEM_ML_KEM_768 = 2,
                  MMH_KEM_ML_KEM_1024 = 3,
                  MMH_KEM_X_WING = 4,
                  MMH_KEM_MCELIECE_460896F = 5,
                  MMH_KEM_MCELIECE_6688128 = 6,
                  MMH_KEM_MCELIECE_6960119F = 7,
                  MMH_KEM_MCELIECE_460896F_X25519 = 8,
                  MMH_KEM_MCELIECE_6688128_X25519 = 9,
                  MMH_KEM_MCELIECE_6960119F_X25519 = 10,
                  MMH_KEM_RSA_OAEP = 11,
                  MMH_KEM_PASSPHRASE = 12 /* a stanza kind alone: no line of the table */
};

enum {
    MMH_KEM_SHARED_BYTES_MAX = 64,
    MMH_KEM_ENC_BYTES_MAX = 2048, /* RSA's, of 16384 bits */
    MMH_X25519_BYTES = 32,        /* of scalars, public keys and shared secrets */
    MMH_ML_KEM_SEED_BYTES = 64,
    MMH_X_WING_SEED_BYTES = 32,
    MMH_X_WING_SECRET_BYTES = MMH_ML_KEM_SEED_BYTES + MMH_X25519_BYTES
};

/* How the file key is wrapped under the shared secret: section 15's A, B and H. */
enum mmh_kem_wrap { MMH_WRAP_AGE, MMH_WRAP_HKDF384, MMH_WRAP_HPKE };

struct mmh_kem {
    unsigned id;
    const char *name;             /* "x-wing" */
    unsigned nist_category;       /* 1..5; 0: falls to a quantum computer */
    bool classical, post_quantum; /* what it rests on; both: a hybrid */
    enum mmh_kem_wrap wrap;
    /* Bytes; 0: they vary (RSA). */
    size_t public_bytes, secret_bytes, enc_bytes, shared_bytes;

    /* MMH_E_MEMORY, MMH_E_IO; of RSA MMH_E_UNSUPPORTED (crypto/key.h makes those). */
    mmh_status (*generate)(uint8_t *public_key, uint8_t *secret_key, mmh_error *err);
    /* The public key of a secret one of secret_bytes; NULL: it cannot be had so (McEliece, RSA). */
    mmh_status (*derive)(uint8_t *public_key, const uint8_t *secret_key, mmh_error *err);
    /*
     * MMH_E_KEY if the public key is no key (wrong length, modulus, low order).
     *
     *   enc     [enc_bytes, of RSA the modulus' bytes] out
     *   shared  [shared_bytes] out
     */
    mmh_status (*encapsulate)(uint8_t *enc, size_t *enc_bytes, uint8_t *shared,
                              const uint8_t *public_key, size_t public_bytes, mmh_error *err);
    /* MMH_E_KEY for anything that is wrong; what a KEM rejects implicitly gives another secret. */
    mmh_status (*decapsulate)(uint8_t *shared, const uint8_t *enc, size_t enc_bytes,
                              const uint8_t *secret_key, size_t secret_bytes,
                              const uint8_t *public_key, size_t public_bytes, mmh_error *err);
};

size_t mmh_kem_count(void); /* those of this build */
const struct mmh_kem *mmh_kem_at(size_t number);
const struct mmh_kem *mmh_kem_by_id(unsigned id);        /* NULL: not in this build */
const struct mmh_kem *mmh_kem_by_name(const char *name); /* NULL likewise */
const char *
mmh_kem_name(unsigned id); /* of stanza kinds too, in this build or not; NULL: unknown */

/* X-Wing's secret key as in memory, out of the seed that its draft has for one. */
mmh_status mmh_x_wing_expand(uint8_t secret_key[MMH_X_WING_SECRET_BYTES],
                             const uint8_t seed[MMH_X_WING_SEED_BYTES], mmh_error *err);

#endif
