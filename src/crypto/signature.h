/*
 * Signatures: one algorithm is one line of the table.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_SIGNATURE_H
#define MMH_SIGNATURE_H

#include "base/status.h"

enum mmh_signature_id { /* on disk: never reused */
                        MMH_SIGN_ED25519 = 1,
                        MMH_SIGN_ECDSA_P256 = 2,
                        MMH_SIGN_ECDSA_P384 = 3,
                        MMH_SIGN_ECDSA_P521 = 4,
                        MMH_SIGN_RSA_PSS = 5,
                        MMH_SIGN_ML_DSA_44 = 8,
                        MMH_SIGN_ML_DSA_65 = 9,
                        MMH_SIGN_ML_DSA_87 = 10,
                        MMH_SIGN_SLH_DSA = 16, /* 16..27: docs/format.md section 16 */
                        MMH_SIGN_ML_DSA_44_ED25519 = 32,
                        MMH_SIGN_ML_DSA_65_ED25519 = 33,
                        MMH_SIGN_ML_DSA_65_ECDSA_P256 = 34,
                        MMH_SIGN_ML_DSA_87_ECDSA_P384 = 35
};

enum { MMH_SIGNATURE_BYTES_MAX = 65536 };

struct mmh_signature {
    unsigned id;
    const char *name;       /* "ml-dsa-65-ed25519" */
    unsigned nist_category; /* 1..5; 0: falls to a quantum computer */
    bool classical, post_quantum;
    size_t signature_bytes; /* the most */
    /* What crypto/signature*.c needs of it follows there. */
    const char *first, *second; /* OpenSSL's names of the components; second of composites alone */
    const char *digest;         /* of ECDSA and RSA-PSS; NULL: the algorithm has its own */
    const char *label, *oid;    /* of composites: LAMPS' label, and the key's OID */
};

struct mmh_key_part;

size_t mmh_signature_count(void);
const struct mmh_signature *mmh_signature_at(size_t number);
const struct mmh_signature *mmh_signature_by_id(unsigned id);        /* NULL: unknown */
const struct mmh_signature *mmh_signature_by_name(const char *name); /* NULL: unknown */

/*
 * Sign a message.
 *
 *   signature  [MMH_SIGNATURE_BYTES_MAX] out, *bytes of it
 *   context    [context_bytes <= 255] for algorithms that take one (ML-DSA, SLH-DSA, composites);
 *              others ignore it
 *   key        a secret one
 */
mmh_status mmh_signature_sign(uint8_t *signature, size_t *bytes, const struct mmh_key_part *key,
                              const void *message, size_t message_bytes, const void *context,
                              size_t context_bytes, mmh_error *err);

/* MMH_E_UNTRUSTED unless all of it is right. Both halves of a composite are always checked. */
mmh_status mmh_signature_verify(const struct mmh_key_part *key, const uint8_t *signature,
                                size_t bytes, const void *message, size_t message_bytes,
                                const void *context, size_t context_bytes, mmh_error *err);

#endif
