/*
 * Profiles: what one word stands for, when keys are made and containers written.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_PROFILE_H
#define MMH_PROFILE_H

#include <stdbool.h>

struct mmh_profile {
    const char *name;
    const char *algorithms; /* of keygen */
    bool sha384;            /* hash suite, else the default */
    const char *aead;       /* NULL: the library's choice */
};

/* NULL: there is no such profile; the option parser has none of those. */
const struct mmh_profile *mmh_profile_find(const char *name);

#endif
