/*
 * What the files of keys and signatures share: OpenSSL's keys by our names, and parts of
 * identities.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A component is one key of OpenSSL's, named as OpenSSL names it: "ED25519", "RSA", "ML-DSA-65",
 * "SLH-DSA-SHA2-128s", "X25519", "ML-KEM-768"; of elliptic curves by the curve, "prime256v1".
 */
#ifndef MMH_KEY_PRIVATE_H
#define MMH_KEY_PRIVATE_H

#include <openssl/evp.h>

#include "crypto/key.h"

enum { MMH_RSA_BITS_MIN = 2048, MMH_RSA_BITS_MAX = 16384, MMH_ML_DSA_SEED_BYTES = 32 };

/* ---- components (signature.c) ---- */

bool mmh_component_is(const EVP_PKEY *key, const char *component);
mmh_status mmh_component_generate(EVP_PKEY **key, const char *component, unsigned rsa_bits,
                                  mmh_error *err);

/* The key that FIPS 203 or 204 makes of a seed, of ML-KEM or ML-DSA; NULL: it is none. */
EVP_PKEY *mmh_component_of_seed(const char *component, const uint8_t *seed, size_t bytes);

/*
 * Sign and verify with one component.
 *
 *   signature  [room] out, *bytes of it
 *   digest     of ECDSA and RSA-PSS; else NULL
 *   context    for ML-DSA and SLH-DSA; others ignore it
 */
mmh_status mmh_component_sign(uint8_t *signature, size_t room, size_t *bytes, EVP_PKEY *key,
                              const char *digest, const void *message, size_t message_bytes,
                              const void *context, size_t context_bytes, mmh_error *err);
bool mmh_component_verify(EVP_PKEY *key, const char *digest, const uint8_t *signature, size_t bytes,
                          const void *message, size_t message_bytes, const void *context,
                          size_t context_bytes);

/* ---- composites (signature_composite.c) ---- */

enum { MMH_COMPOSITE_PUBLIC_BYTES_MAX = 4096, MMH_COMPOSITE_SECRET_BYTES_MAX = 256 };

mmh_status mmh_composite_sign(uint8_t *signature, size_t *bytes, const struct mmh_key_part *key,
                              const void *message, size_t message_bytes, const void *context,
                              size_t context_bytes, mmh_error *err);
bool mmh_composite_verify(const struct mmh_key_part *key, const uint8_t *signature, size_t bytes,
                          const void *message, size_t message_bytes, const void *context,
                          size_t context_bytes);

/* The draft's encodings of both keys in one: *bytes <= MMH_COMPOSITE_..._MAX. */
mmh_status mmh_composite_public(uint8_t *encoded, size_t *bytes, const struct mmh_key_part *key,
                                mmh_error *err);
mmh_status mmh_composite_secret(uint8_t *encoded, size_t *bytes, const struct mmh_key_part *key,
                                mmh_error *err);
/* Both keys of an encoding; false: it is none. */
bool mmh_composite_read(EVP_PKEY **first, EVP_PKEY **second, const struct mmh_signature *signature,
                        bool secret, const uint8_t *encoded, size_t bytes);

/* ---- parts and identities (key.c) ---- */

mmh_status mmh_identity_create(mmh_identity **identity, const mmh_allocator *allocator,
                               mmh_error *err);

/* Append a key, computing its fingerprint. The EVP_PKEYs are kept (their count goes up), bytes are
 * copied. second may be NULL; so may secret_key. */
mmh_status mmh_identity_add_signature(mmh_identity *identity, const struct mmh_signature *signature,
                                      EVP_PKEY *first, EVP_PKEY *second, bool secret,
                                      mmh_error *err);
mmh_status mmh_identity_add_kem(mmh_identity *identity, const struct mmh_kem *kem,
                                const uint8_t *public_key, size_t public_bytes,
                                const uint8_t *secret_key, size_t secret_bytes, mmh_error *err);
/* A key of OpenSSL's as the public and secret key of rsa-oaep. */
mmh_status mmh_identity_add_rsa_kem(mmh_identity *identity, EVP_PKEY *key, bool secret,
                                    mmh_error *err);

/* ---- files (key_pem.c, key_sealed.c) ---- */

#define MMH_SEALED_LABEL "MMH ENCRYPTED PRIVATE KEY"
#define MMH_MCELIECE_PUBLIC_LABEL "MMH CLASSIC MCELIECE PUBLIC KEY"
#define MMH_MCELIECE_PRIVATE_LABEL "MMH CLASSIC MCELIECE PRIVATE KEY"
#define MMH_HEADER_LINE "mmh key:"

enum { MMH_KEY_FILE_BYTES_MAX = 16 << 20 };

/* The McEliece KEM in a KEM, itself or without its X25519; NULL: there is none in it. */
const struct mmh_kem *mmh_kem_mceliece_of(const struct mmh_kem *kem);

/* What a sealed block holds, of the text of a private file; both for mmh_secret_free. */
mmh_status mmh_key_seal(uint8_t **sealed, size_t *sealed_bytes, const char *text, size_t bytes,
                        const char *passphrase, size_t passphrase_bytes, mmh_error *err);
/* MMH_E_KEY: it is broken, or the passphrase is wrong. */
mmh_status mmh_key_unseal(char **text, size_t *bytes, const uint8_t *sealed, size_t sealed_bytes,
                          const char *passphrase, size_t passphrase_bytes, mmh_error *err);
/* The PKCS#8 in an EncryptedPrivateKeyInfo, for mmh_secret_free. */
mmh_status mmh_pkcs8_decrypt(uint8_t **der, size_t *bytes, const uint8_t *sealed,
                             size_t sealed_bytes, const char *passphrase, size_t passphrase_bytes,
                             mmh_error *err);

#endif
