/*
 * Profiles: what one word stands for, when keys are made and containers written.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Sources: CNSA 2.0 (NSA), BSI TR-02102-1.
 */
#include "cli/profile.h"

#include <stddef.h>
#include <string.h>

static const struct mmh_profile table[] = {
    { "default", "ml-dsa-65-ed25519,x-wing", false, NULL },
    { "cnsa2", "ml-dsa-87,ml-kem-1024", true, "aes-256-gcm" },
    { "bsi", "ml-dsa-87-ecdsa-p384,mceliece6688128-x25519", true, "aes-256-gcm" },
    { "classical", "ed25519,x25519", false, NULL },
};

const struct mmh_profile *mmh_profile_find(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(name, table[i].name) == 0)
            return &table[i];
    return NULL;
}
