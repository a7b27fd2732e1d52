/*
 * Keys of people: an identity has a key to sign, one to decrypt, or both; public or private.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * In files they are PEM: for each component PKCS#8 (private; seed-only for ML-KEM and ML-DSA) or
 * SubjectPublicKeyInfo, so that OpenSSL and others read them one by one. A hybrid is the blocks of
 * its components in this order (X-Wing: ML-KEM-768 and X25519; ml-dsa-65-ed25519: ML-DSA-65 and
 * Ed25519), under one line of text before them:
 *
 *     mmh key: sign ml-dsa-65-ed25519, decrypt x-wing
 *
 * The line names one key to sign, one to decrypt, or both, and just their blocks follow, up to the
 * next such line. Without it each block is a key by itself, and an RSA key two: one to sign, one to
 * decrypt. Between blocks there may be empty lines and such that begin with '#', nothing else: what
 * is misspelt is told. Composite keys in the LAMPS drafts' own encodings are read too, and so are
 * age's recipients and identities (age1..., age1pq1..., AGE-SECRET-KEY-...), one a line. Classic
 * McEliece has no standard encoding that others read: "MMH CLASSIC MCELIECE PUBLIC KEY" and "...
 * PRIVATE KEY" blocks hold name NUL key; a private key's public one, which nothing gives otherwise,
 * is the block behind it. With a passphrase all of a private file stands in one block "MMH
 * ENCRYPTED PRIVATE KEY": u8 1, u32 memory in KiB, u32 passes, u32 lanes, 16 bytes salt, 12 bytes
 * nonce, then the PEM text sealed with ChaCha20-Poly1305 (associated data: all before it).
 */
#ifndef MMH_KEY_H
#define MMH_KEY_H

#include "base/memory.h"
#include "crypto/kem.h"
#include "crypto/signature.h"

enum { MMH_FINGERPRINT_BYTES = 32 };

/* A key: for one signature algorithm, or for one KEM. */
struct mmh_key_part {
    const struct mmh_signature *signature; /* NULL: a KEM's */
    const struct mmh_kem *kem;             /* NULL: a signature's */
    bool secret;
    unsigned bits;                              /* of RSA; else 0 */
    uint8_t fingerprint[MMH_FINGERPRINT_BYTES]; /* docs/format.md section 16; of a KEM's key SHA-256
                                                   of u16 kind || public key */
    /* KEM: encoded as in crypto/kem.h. */
    uint8_t *public_key, *secret_key;
    size_t public_bytes, secret_bytes;
    /* Signature: EVP_PKEYs; of composites the ML-DSA key and the classical one. */
    void *first, *second;
};

typedef struct mmh_identity {
    struct mmh_key_part *parts;
    size_t part_count;
    const mmh_allocator *allocator;
} mmh_identity;

/* Ask for a passphrase. `why` is for people ("passphrase of alice.key"). Fails with MMH_E_KEY if
 * there is none to be had. *bytes <= room. */
typedef mmh_status mmh_passphrase_ask(void *user, const char *why, char *passphrase, size_t room,
                                      size_t *bytes, mmh_error *err);

/*
 * Make a private identity.
 *
 *   signature  algorithm name, NULL: none
 *   kem        likewise
 *   rsa_bits   for rsa-pss and rsa-oaep; 0: 3072
 */
mmh_status mmh_identity_generate(mmh_identity **identity, const char *signature, const char *kem,
                                 unsigned rsa_bits, const mmh_allocator *allocator, mmh_error *err);

/*
 * Read PEM text, or age's strings, one a line ('#' begins a comment).
 *
 *   name  for messages
 *   ask   for encrypted keys, ours and PKCS#8's; NULL: those are MMH_E_KEY
 *
 * Fails with MMH_E_KEY: no key in it, a broken one, a wrong passphrase.
 */
mmh_status mmh_identity_parse(mmh_identity **identity, const char *text, size_t bytes,
                              const char *name, mmh_passphrase_ask *ask, void *user,
                              const mmh_allocator *allocator, mmh_error *err);

/*
 * PEM text, NUL-terminated, for mmh_secret_free(*text, *bytes + 1).
 *
 *   secret      private keys; else public ones
 *   passphrase  NULL: in the clear
 */
mmh_status mmh_identity_write(char **text, size_t *bytes, const mmh_identity *identity, bool secret,
                              const char *passphrase, size_t passphrase_bytes, mmh_error *err);

void mmh_identity_destroy(mmh_identity *identity); /* wipes; may be NULL */

/* One key by itself, as encoded DER of its SubjectPublicKeyInfo (signature keys), for
 * mmh_secret_free. */
mmh_status mmh_key_part_public_der(uint8_t **der, size_t *bytes, const struct mmh_key_part *part,
                                   mmh_error *err);

#endif
