/*
 * What the engine needs of the keys that callers give (engine/keys.c).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_KEYS_H
#define MMH_KEYS_H

#include "crypto/key.h"
#include "mmh.h"

/* The identity that a key is; as long as the key lives. */
const mmh_identity *mmh_key_identity(const mmh_key *key);

#endif
