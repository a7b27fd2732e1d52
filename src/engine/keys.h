/*
 * What a key of include/mmh.h is: an identity.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_KEYS_H
#define MMH_KEYS_H

#include "crypto/key.h"

struct mmh_key {
    mmh_identity *identity;
};

#endif
