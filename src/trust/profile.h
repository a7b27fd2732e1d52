/*
 * Profiles: which algorithms somebody's rules allow, and what a bill of materials says of each.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_TRUST_PROFILE_H
#define MMH_TRUST_PROFILE_H

#include "base/status.h"

enum mmh_profile_id {
    MMH_PROFILE_DEFAULT,
    MMH_PROFILE_CNSA2,
    MMH_PROFILE_BSI,
    MMH_PROFILE_CLASSICAL,
    MMH_PROFILE_COUNT
};

/* What each makes by default. */
struct mmh_profile_row {
    const char *name;       /* "cnsa2" */
    const char *algorithms; /* for mmh_key_generate */
    const char *aead;       /* NULL: any */
    const char *hash_suite; /* NULL: any */
    const char *about;
};

const struct mmh_profile_row *mmh_profile_row(size_t number); /* NULL past the last */

/* Something of crypto/'s tables, by its name there; AEADs, hash suites and "passphrase" too. What it is
 * made of is listed as well ("hkdf-sha256"), but no profile is asked about that. */
struct mmh_asset {
    const char *name;           /* "ml-kem-768" */
    const char *title;          /* "ML-KEM-768" */
    const char *primitive;      /* CycloneDX's: "kem" */
    const char *parameters;     /* "768"; NULL: it has none */
    const char *functions;      /* CycloneDX's, divided by ' ' */
    const char *oid;            /* NULL: none, or none for good yet */
    const char *first, *second; /* names of what it is made of; NULL: nothing */
    unsigned classical_bits;    /* of security; 0: not told */
    int quantum_level; /* NIST category, 0: falls to a quantum computer; -1: NIST defines none */
    uint8_t verdicts[MMH_PROFILE_COUNT];
};

size_t mmh_asset_count(void);
const struct mmh_asset *mmh_asset_at(size_t number);
const struct mmh_asset *mmh_asset_by_name(const char *name); /* NULL: unknown */

/* Whether a profile allows an asset (may be NULL: it does not), and why (static). */
bool mmh_asset_allowed(const struct mmh_asset *asset, size_t profile, const char **why);

#endif
