/*
 * X25519 as a KEM: what is sent is a public key made for once.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: RFC 7748.
 */
#include <openssl/err.h>
#include <openssl/evp.h>

#include "base/memory.h"
#include "crypto/kem_private.h"
#include "crypto/random.h"

mmh_status mmh_x25519(uint8_t shared[MMH_X25519_BYTES], const uint8_t scalar[MMH_X25519_BYTES],
                      const uint8_t point[MMH_X25519_BYTES], mmh_error *err)
{
    static const uint8_t zeros[MMH_X25519_BYTES];
    size_t bytes = MMH_X25519_BYTES;
    ERR_set_mark();
    EVP_PKEY *own = EVP_PKEY_new_raw_private_key_ex(NULL, "X25519", NULL, scalar, MMH_X25519_BYTES);
    EVP_PKEY *other = EVP_PKEY_new_raw_public_key_ex(NULL, "X25519", NULL, point, MMH_X25519_BYTES);
    EVP_PKEY_CTX *context = own ? EVP_PKEY_CTX_new_from_pkey(NULL, own, NULL) : NULL;
    bool ready = other && context && EVP_PKEY_derive_init(context) == 1;
    bool done = ready && EVP_PKEY_derive_set_peer(context, other) == 1 &&
                EVP_PKEY_derive(context, shared, &bytes) == 1 && bytes == MMH_X25519_BYTES &&
                !mmh_secret_equal(shared, zeros, sizeof zeros);
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(other);
    EVP_PKEY_free(own);
    ERR_pop_to_mark();
    if (done)
        return MMH_OK;
    mmh_wipe(shared, MMH_X25519_BYTES);
    return ready ? mmh_kem_fail(err) : mmh_fail(err, MMH_E_MEMORY, "no memory for X25519");
}

mmh_status mmh_x25519_public(uint8_t public_key[MMH_X25519_BYTES],
                             const uint8_t scalar[MMH_X25519_BYTES], mmh_error *err)
{
    size_t bytes = MMH_X25519_BYTES;
    ERR_set_mark();
    EVP_PKEY *own = EVP_PKEY_new_raw_private_key_ex(NULL, "X25519", NULL, scalar, MMH_X25519_BYTES);
    bool done = own && EVP_PKEY_get_raw_public_key(own, public_key, &bytes) == 1;
    EVP_PKEY_free(own);
    ERR_pop_to_mark();
    return done ? MMH_OK : mmh_fail(err, MMH_E_MEMORY, "no memory for X25519");
}

static mmh_status generate(uint8_t *public_key, uint8_t *secret_key, mmh_error *err)
{
    mmh_status status = mmh_random(secret_key, MMH_X25519_BYTES, err);
    return status == MMH_OK ? mmh_x25519_public(public_key, secret_key, err) : status;
}

static mmh_status encapsulate(uint8_t *enc, size_t *enc_bytes, uint8_t *shared,
                              const uint8_t *public_key, size_t public_bytes, mmh_error *err)
{
    uint8_t scalar[MMH_X25519_BYTES];
    if (public_bytes != MMH_X25519_BYTES)
        return mmh_kem_fail(err);
    mmh_status status = generate(enc, scalar, err);
    if (status == MMH_OK)
        status = mmh_x25519(shared, scalar, public_key, err);
    mmh_wipe(scalar, sizeof scalar);
    *enc_bytes = MMH_X25519_BYTES;
    return status;
}

static mmh_status decapsulate(uint8_t *shared, const uint8_t *enc, size_t enc_bytes,
                              const uint8_t *secret_key, size_t secret_bytes,
                              const uint8_t *public_key, size_t public_bytes, mmh_error *err)
{
    (void)public_key;
    (void)public_bytes;
    if (enc_bytes != MMH_X25519_BYTES || secret_bytes != MMH_X25519_BYTES)
        return mmh_kem_fail(err);
    return mmh_x25519(shared, secret_key, enc, err);
}

const struct mmh_kem mmh_kem_x25519 = {
    .id = MMH_KEM_X25519,
    .name = "x25519",
    .classical = true,
    .wrap = MMH_WRAP_AGE,
    .public_bytes = MMH_X25519_BYTES,
    .secret_bytes = MMH_X25519_BYTES,
    .enc_bytes = MMH_X25519_BYTES,
    .shared_bytes = MMH_X25519_BYTES,
    .generate = generate,
    .derive = mmh_x25519_public,
    .encapsulate = encapsulate,
    .decapsulate = decapsulate,
};
