/*
 * HPKE's key schedule of one suite, in base mode.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: RFC 9180, sections 4 and 5.1; draft-ietf-hpke-pq for the KEM's number.
 */
#include "crypto/hpke.h"

#include <string.h>

#include "base/memory.h"
#include "crypto/kdf.h"

enum { HASH_BYTES = 32, INFO_BYTES_MAX = 1024 };

/* "HPKE-v1" || "HPKE" || the suite's numbers: what RFC 9180 puts before every label. */
static const uint8_t prefix[] = { 'H', 'P', 'K',  'E',  '-',  'v',  '1',  'H', 'P',
                                  'K', 'E', 0x64, 0x7a, 0x00, 0x01, 0x00, 0x03 };

static mmh_status labeled_extract(uint8_t out[HASH_BYTES], const uint8_t *salt, size_t salt_bytes,
                                  const char *label, const void *data, size_t bytes, mmh_error *err)
{
    uint8_t text[sizeof prefix + 16 + INFO_BYTES_MAX];
    size_t label_bytes = strlen(label);
    memcpy(text, prefix, sizeof prefix);
    memcpy(text + sizeof prefix, label, label_bytes);
    if (bytes)
        memcpy(text + sizeof prefix + label_bytes, data, bytes);
    return mmh_hkdf_extract(out, MMH_KDF_SHA256, salt, salt_bytes, text,
                            sizeof prefix + label_bytes + bytes, err);
}

static mmh_status labeled_expand(uint8_t *out, size_t out_bytes, const uint8_t prk[HASH_BYTES],
                                 const char *label, const uint8_t *context, size_t context_bytes,
                                 mmh_error *err)
{
    uint8_t text[2 + sizeof prefix + 16 + 1 + 2 * HASH_BYTES];
    size_t label_bytes = strlen(label);
    text[0] = (uint8_t)(out_bytes >> 8);
    text[1] = (uint8_t)out_bytes;
    memcpy(text + 2, prefix, sizeof prefix);
    memcpy(text + 2 + sizeof prefix, label, label_bytes);
    memcpy(text + 2 + sizeof prefix + label_bytes, context, context_bytes);
    return mmh_hkdf_expand(out, out_bytes, MMH_KDF_SHA256, prk, text,
                           2 + sizeof prefix + label_bytes + context_bytes, err);
}

mmh_status mmh_hpke_schedule(uint8_t key[MMH_AEAD_KEY_BYTES], uint8_t nonce[MMH_AEAD_NONCE_BYTES],
                             const uint8_t shared[32], const void *info, size_t info_bytes,
                             mmh_error *err)
{
    uint8_t context[1 + 2 * HASH_BYTES] = { 0 }; /* mode_base, two hashes */
    uint8_t secret[HASH_BYTES];
    if (info_bytes > INFO_BYTES_MAX)
        return mmh_fail(err, MMH_E_USAGE, "HPKE's info has %zu bytes: at most %d", info_bytes,
                        INFO_BYTES_MAX);
    mmh_status status = labeled_extract(context + 1, NULL, 0, "psk_id_hash", NULL, 0, err);
    if (status == MMH_OK)
        status = labeled_extract(context + 1 + HASH_BYTES, NULL, 0, "info_hash", info, info_bytes,
                                 err);
    if (status == MMH_OK)
        status = labeled_extract(secret, shared, 32, "secret", NULL, 0, err);
    if (status == MMH_OK)
        status = labeled_expand(key, MMH_AEAD_KEY_BYTES, secret, "key", context, sizeof context,
                                err);
    if (status == MMH_OK)
        status = labeled_expand(nonce, MMH_AEAD_NONCE_BYTES, secret, "base_nonce", context,
                                sizeof context, err);
    mmh_wipe(secret, sizeof secret);
    return status;
}
