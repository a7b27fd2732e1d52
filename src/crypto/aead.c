/*
 * Authenticated encryption over OpenSSL's EVP interface.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: RFC 5116, NIST SP 800-38D (GCM), RFC 8439 (ChaCha20-Poly1305).
 */
#include "crypto/aead.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "base/bits.h"
#include "base/memory.h"

static const struct suite {
    unsigned id;
    const char *name, *openssl;
} suites[] = {
    { MMH_AEAD_AES_256_GCM, "aes-256-gcm", "AES-256-GCM" },
    { MMH_AEAD_CHACHA20_POLY1305, "chacha20-poly1305", "ChaCha20-Poly1305" },
};

/* What one call of OpenSSL's takes is an int. */
enum { PIECE_BYTES = 1 << 30 };

struct mmh_aead {
    EVP_CIPHER_CTX *context; /* with the key set: a call sets the nonce alone */
};

static const struct suite *suite_find(unsigned id)
{
    for (size_t i = 0; i < MMH_COUNT_OF(suites); i++)
        if (suites[i].id == id)
            return &suites[i];
    return NULL;
}

const char *mmh_aead_name(unsigned suite)
{
    const struct suite *found = suite_find(suite);
    return found ? found->name : NULL;
}

unsigned mmh_aead_find(const char *name)
{
    for (size_t i = 0; i < MMH_COUNT_OF(suites); i++)
        if (strcmp(suites[i].name, name) == 0)
            return suites[i].id;
    return MMH_AEAD_NONE;
}

unsigned mmh_aead_default(void)
{
    bool aes = true; /* of processors that OpenSSL says nothing about */
    const char *said = OPENSSL_info(OPENSSL_INFO_CPU_SETTINGS);
    if (said && strncmp(said, "OPENSSL_ia32cap=", 16) == 0) /* CPUID.1: EDX, ECX */
        aes = (strtoull(said + 16, NULL, 16) >> (32 + 25) & 1) != 0;
    else if (said && strncmp(said, "OPENSSL_armcap=", 15) == 0)
        aes = (strtoull(said + 15, NULL, 16) >> 2 & 1) != 0; /* ARMV8_AES */
    return aes ? MMH_AEAD_AES_256_GCM : MMH_AEAD_CHACHA20_POLY1305;
}

mmh_status mmh_aead_create(mmh_aead **aead, unsigned suite, const uint8_t key[MMH_AEAD_KEY_BYTES],
                           mmh_error *err)
{
    const struct suite *found = suite_find(suite);
    EVP_CIPHER *cipher = NULL;
    *aead = NULL;
    if (!found)
        return mmh_fail(err, MMH_E_UNSUPPORTED, "encryption suite %u is not in this build", suite);
    mmh_aead *made = mmh_alloc_array(NULL, 1, sizeof *made);
    if (!made)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for a cipher");
    ERR_set_mark();
    cipher = EVP_CIPHER_fetch(NULL, found->openssl, NULL);
    made->context = EVP_CIPHER_CTX_new();
    bool ready = cipher && made->context &&
                 EVP_EncryptInit_ex2(made->context, cipher, key, NULL, NULL) == 1 &&
                 EVP_CIPHER_CTX_get_iv_length(made->context) == MMH_AEAD_NONCE_BYTES;
    EVP_CIPHER_free(cipher);
    ERR_pop_to_mark();
    if (!ready) {
        bool unknown = !cipher;
        mmh_aead_destroy(made);
        return unknown ? mmh_fail(err, MMH_E_UNSUPPORTED, "this OpenSSL has no %s", found->openssl)
                       : mmh_fail(err, MMH_E_MEMORY, "no memory for a cipher");
    }
    *aead = made;
    return MMH_OK;
}

void mmh_aead_destroy(mmh_aead *aead)
{
    if (!aead)
        return;
    EVP_CIPHER_CTX_free(aead->context); /* which wipes the key */
    mmh_free(NULL, aead);
}

void mmh_aead_nonce(uint8_t nonce[MMH_AEAD_NONCE_BYTES], uint64_t number)
{
    memset(nonce, 0, 4);
    mmh_store64(nonce + 4, number);
}

/* Associated data (to NULL) or text through the cipher, however long. */
static bool update(EVP_CIPHER_CTX *context, uint8_t *out, const uint8_t *in, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        int piece = (int)MMH_MIN(bytes - done, (size_t)PIECE_BYTES), written;
        if (EVP_CipherUpdate(context, out ? out + done : NULL, &written, in + done, piece) != 1)
            return false;
        done += (size_t)piece;
    }
    return true;
}

mmh_status mmh_aead_seal(mmh_aead *aead, uint8_t *sealed, const uint8_t nonce[MMH_AEAD_NONCE_BYTES],
                         const uint8_t *plain, size_t bytes, const uint8_t *extra,
                         size_t extra_bytes, mmh_error *err)
{
    EVP_CIPHER_CTX *context = aead->context;
    int written;
    uint8_t none[MMH_AEAD_TAG_BYTES]; /* stream ciphers have nothing left at the end */
    ERR_set_mark();
    bool done = EVP_EncryptInit_ex2(context, NULL, NULL, nonce, NULL) == 1 &&
                update(context, NULL, extra, extra_bytes) &&
                update(context, sealed, plain, bytes) &&
                EVP_EncryptFinal_ex(context, none, &written) == 1 &&
                EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, MMH_AEAD_TAG_BYTES,
                                    sealed + bytes) == 1;
    ERR_pop_to_mark();
    return done ? MMH_OK : mmh_fail(err, MMH_E_MEMORY, "the cipher library failed");
}

mmh_status mmh_aead_open(mmh_aead *aead, uint8_t *plain, const uint8_t nonce[MMH_AEAD_NONCE_BYTES],
                         const uint8_t *sealed, size_t sealed_bytes, const uint8_t *extra,
                         size_t extra_bytes, mmh_error *err)
{
    EVP_CIPHER_CTX *context = aead->context;
    int written;
    uint8_t tag[MMH_AEAD_TAG_BYTES], none[MMH_AEAD_TAG_BYTES];
    if (sealed_bytes < MMH_AEAD_TAG_BYTES)
        return mmh_fail(err, MMH_E_CORRUPT, "%zu sealed bytes are too few for a tag", sealed_bytes);
    const size_t bytes = sealed_bytes - MMH_AEAD_TAG_BYTES;
    memcpy(tag, sealed + bytes, sizeof tag);
    ERR_set_mark();
    bool ready = EVP_DecryptInit_ex2(context, NULL, NULL, nonce, NULL) == 1 &&
                 EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, sizeof tag, tag) == 1 &&
                 update(context, NULL, extra, extra_bytes) && update(context, plain, sealed, bytes);
    bool right = ready && EVP_DecryptFinal_ex(context, none, &written) == 1;
    ERR_pop_to_mark();
    if (right)
        return MMH_OK;
    mmh_wipe(plain, bytes);
    return ready
             ? mmh_fail(err, MMH_E_CORRUPT, "the tag of %zu sealed bytes is wrong", sealed_bytes)
             : mmh_fail(err, MMH_E_MEMORY, "the cipher library failed");
}
