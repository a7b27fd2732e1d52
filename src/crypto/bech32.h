/*
 * Bech32, and the strings that age writes keys with.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: BIP 173, without its limit of 90 characters; the age specification (C2SP).
 */
#ifndef MMH_BECH32_H
#define MMH_BECH32_H

#include "crypto/key.h"

enum { MMH_BECH32_PREFIX_MAX = 32, MMH_BECH32_TEXT_MAX = 4096 };

/*
 * Decode text [text_bytes], all of it lower or all of it upper case.
 *
 *   prefix  what is before the last '1', as it stands there, NUL-terminated
 *   data    [room] out, *bytes of it
 *
 * False if it is no Bech32 or does not fit.
 */
bool mmh_bech32_decode(char prefix[MMH_BECH32_PREFIX_MAX], uint8_t *data, size_t room,
                       size_t *bytes, const char *text, size_t text_bytes);

/* The other way, NUL-terminated; upper case if the prefix is. False if it does not fit. */
bool mmh_bech32_encode(char *text, size_t room, const char *prefix, const uint8_t *data,
                       size_t bytes);

/* Append the key that an age string is: a recipient (age1..., age1pq1...) or an identity
 * (AGE-SECRET-KEY-1..., AGE-SECRET-KEY-PQ-1...). MMH_E_KEY: it is none. */
mmh_status mmh_age_read(mmh_identity *identity, const char *text, size_t text_bytes,
                        mmh_error *err);

/* The recipient that age knows a key of x25519 or x-wing by; MMH_E_USAGE for others. */
mmh_status mmh_age_recipient(char text[MMH_BECH32_TEXT_MAX], const struct mmh_key_part *part,
                             mmh_error *err);

#endif
