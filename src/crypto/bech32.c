/*
 * Bech32, and age's recipients and identities.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: BIP 173; the age specification (C2SP), X25519 and hybrid (X-Wing) recipients.
 */
#include "crypto/bech32.h"

#include <string.h>

#include "crypto/key_private.h"

enum { CHECKSUM_DIGITS = 6, X_WING_PUBLIC_BYTES = 1216 };

static const char digits[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/* The checksum of BIP 173, one digit more. */
static uint32_t checksum_add(uint32_t sum, unsigned digit)
{
    static const uint32_t generator[] = { 0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd,
                                          0x2a1462b3 };
    uint32_t top = sum >> 25;
    sum = (sum & 0x1ffffff) << 5 ^ digit;
    for (unsigned i = 0; i < 5; i++)
        sum ^= generator[i] & (0U - (top >> i & 1U));
    return sum;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static uint32_t checksum_begin(const char *prefix, size_t bytes)
{
    uint32_t sum = 1;
    for (size_t i = 0; i < bytes; i++)
        sum = checksum_add(sum, (unsigned char)lower(prefix[i]) >> 5);
    sum = checksum_add(sum, 0);
    for (size_t i = 0; i < bytes; i++)
        sum = checksum_add(sum, lower(prefix[i]) & 31);
    return sum;
}

bool mmh_bech32_decode(char prefix[MMH_BECH32_PREFIX_MAX], uint8_t *data, size_t room,
                       size_t *bytes, const char *text, size_t text_bytes)
{
    size_t separator = text_bytes;
    bool any_lower = false, any_upper = false;
    for (size_t i = 0; i < text_bytes; i++) {
        if (text[i] < 33 || text[i] > 126)
            return false;
        any_lower |= text[i] >= 'a' && text[i] <= 'z';
        any_upper |= text[i] >= 'A' && text[i] <= 'Z';
        if (text[i] == '1')
            separator = i;
    }
    if ((any_lower && any_upper) || !separator || separator >= MMH_BECH32_PREFIX_MAX ||
        separator == text_bytes || text_bytes - separator - 1 < CHECKSUM_DIGITS)
        return false;
    memcpy(prefix, text, separator);
    prefix[separator] = 0;
    uint32_t sum = checksum_begin(text, separator), bits = 0;
    unsigned count = 0;
    *bytes = 0;
    for (size_t i = separator + 1; i < text_bytes; i++) {
        const char *found = strchr(digits, lower(text[i]));
        if (!found)
            return false;
        unsigned digit = (unsigned)(found - digits);
        sum = checksum_add(sum, digit);
        if (i + CHECKSUM_DIGITS >= text_bytes)
            continue;
        bits = (bits << 5 | digit) & 0xfff;
        count += 5;
        if (count >= 8) {
            if (*bytes == room)
                return false;
            count -= 8;
            data[(*bytes)++] = (uint8_t)(bits >> count);
        }
    }
    return sum == 1 && count < 5 && !(bits & ((1U << count) - 1));
}

bool mmh_bech32_encode(char *text, size_t room, const char *prefix, const uint8_t *data,
                       size_t bytes)
{
    size_t prefix_bytes = strlen(prefix), at = prefix_bytes;
    size_t digit_count = (8 * bytes + 4) / 5;
    bool is_upper = *prefix >= 'A' && *prefix <= 'Z';
    if (bytes > MMH_BECH32_TEXT_MAX || room < prefix_bytes + 1 + digit_count + CHECKSUM_DIGITS + 1)
        return false;
    memcpy(text, prefix, prefix_bytes);
    text[at++] = '1';
    uint32_t sum = checksum_begin(prefix, prefix_bytes), bits = 0;
    unsigned count = 0;
    for (size_t i = 0; i < digit_count; i++) {
        if (count < 5) {
            bits = (bits << 8 | (bytes ? *data++ : 0)) & 0xfff;
            bytes -= bytes != 0;
            count += 8;
        }
        count -= 5;
        unsigned digit = bits >> count & 31;
        sum = checksum_add(sum, digit);
        text[at++] = digits[digit];
    }
    for (unsigned i = 0; i < CHECKSUM_DIGITS; i++)
        sum = checksum_add(sum, 0);
    sum ^= 1;
    for (unsigned i = 0; i < CHECKSUM_DIGITS; i++)
        text[at++] = digits[sum >> 5 * (CHECKSUM_DIGITS - 1 - i) & 31];
    text[at] = 0;
    for (size_t i = prefix_bytes; is_upper && i < at; i++)
        text[i] = upper(text[i]);
    return true;
}

/* ---- age ---- */

static mmh_status add_secret(mmh_identity *identity, unsigned kem_id, const uint8_t *secret,
                             mmh_error *err)
{
    uint8_t public_key[X_WING_PUBLIC_BYTES];
    const struct mmh_kem *kem = mmh_kem_by_id(kem_id);
    mmh_status status = kem->derive(public_key, secret, err);
    if (status == MMH_OK)
        status = mmh_identity_add_kem(identity, kem, public_key, kem->public_bytes, secret,
                                      kem->secret_bytes, err);
    return status;
}

mmh_status mmh_age_read(mmh_identity *identity, const char *text, size_t text_bytes, mmh_error *err)
{
    char prefix[MMH_BECH32_PREFIX_MAX];
    uint8_t data[X_WING_PUBLIC_BYTES], secret[MMH_X_WING_SECRET_BYTES];
    size_t bytes = 0;
    mmh_status status;
    bool read = text_bytes <= MMH_BECH32_TEXT_MAX &&
                mmh_bech32_decode(prefix, data, sizeof data, &bytes, text, text_bytes);
    if (read && strcmp(prefix, "age") == 0 && bytes == MMH_X25519_BYTES)
        status = mmh_identity_add_kem(identity, mmh_kem_by_id(MMH_KEM_X25519), data, bytes, NULL, 0,
                                      err);
    else if (read && strcmp(prefix, "age1pq") == 0 && bytes == X_WING_PUBLIC_BYTES)
        status = mmh_identity_add_kem(identity, mmh_kem_by_id(MMH_KEM_X_WING), data, bytes, NULL, 0,
                                      err);
    else if (read && strcmp(prefix, "AGE-SECRET-KEY-") == 0 && bytes == MMH_X25519_BYTES)
        status = add_secret(identity, MMH_KEM_X25519, data, err);
    else if (read && strcmp(prefix, "AGE-SECRET-KEY-PQ-") == 0 && bytes == MMH_X_WING_SEED_BYTES) {
        status = mmh_x_wing_expand(secret, data, err);
        if (status == MMH_OK)
            status = add_secret(identity, MMH_KEM_X_WING, secret, err);
    } else
        status = mmh_fail(err, MMH_E_KEY,
                          "an age string is broken, or of a kind that is not read (age1..., "
                          "age1pq1..., AGE-SECRET-KEY-1... and AGE-SECRET-KEY-PQ-1... are)");
    mmh_wipe(secret, sizeof secret);
    mmh_wipe(data, sizeof data);
    return status;
}

mmh_status mmh_age_recipient(char text[MMH_BECH32_TEXT_MAX], const struct mmh_key_part *part,
                             mmh_error *err)
{
    unsigned kem = part->kem ? part->kem->id : 0;
    const char *prefix = kem == MMH_KEM_X25519 ? "age" : kem == MMH_KEM_X_WING ? "age1pq" : NULL;
    if (prefix &&
        mmh_bech32_encode(text, MMH_BECH32_TEXT_MAX, prefix, part->public_key, part->public_bytes))
        return MMH_OK;
    return mmh_fail(err, MMH_E_USAGE, "age has no recipients for %s",
                    part->kem ? part->kem->name : part->signature->name);
}
