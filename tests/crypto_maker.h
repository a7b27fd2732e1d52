/*
 * For tests of what is encrypted: keys of every KEM, made without files.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * To be included after cmocka.h.
 */
#ifndef MMH_CRYPTO_MAKER_H
#define MMH_CRYPTO_MAKER_H

#include <stdlib.h>
#include <string.h>

#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "crypto/recipient.h"

/* An RSA key as crypto/kem.h has it. */
static inline void make_rsa(struct mmh_key_part *part, unsigned bits)
{
    EVP_PKEY *key = EVP_RSA_gen(bits);
    assert_non_null(key);
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
    uint8_t *public_key = NULL, *secret_key = NULL;
    int public_bytes = i2d_PUBKEY(key, &public_key);
    int secret_bytes = i2d_PKCS8_PRIV_KEY_INFO(info, &secret_key);
    assert_true(public_bytes > 0 && secret_bytes > 0);
    part->public_bytes = (size_t)public_bytes;
    part->secret_bytes = (size_t)secret_bytes;
    part->public_key = malloc(part->public_bytes);
    part->secret_key = malloc(part->secret_bytes);
    assert_true(part->public_key && part->secret_key);
    memcpy(part->public_key, public_key, part->public_bytes);
    memcpy(part->secret_key, secret_key, part->secret_bytes);
    OPENSSL_free(public_key);
    OPENSSL_free(secret_key);
    PKCS8_PRIV_KEY_INFO_free(info);
    EVP_PKEY_free(key);
}

/* A new secret key, of the least size. */
static inline struct mmh_key_part make_part(const struct mmh_kem *kem)
{
    struct mmh_key_part part = { .kem = kem, .secret = true };
    assert_non_null(kem);
    if (kem->id == MMH_KEM_RSA_OAEP) {
        make_rsa(&part, 2048);
        return part;
    }
    part.public_bytes = kem->public_bytes;
    part.secret_bytes = kem->secret_bytes;
    part.public_key = malloc(part.public_bytes);
    part.secret_key = malloc(part.secret_bytes);
    assert_true(part.public_key && part.secret_key);
    assert_int_equal(kem->generate(part.public_key, part.secret_key, NULL), MMH_OK);
    return part;
}

static inline void release_part(struct mmh_key_part *part)
{
    free(part->public_key);
    free(part->secret_key);
    memset(part, 0, sizeof *part);
}

#endif
