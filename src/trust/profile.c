/*
 * Profiles, and the table of all that protects a container with each profile's verdict.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Sources: NSA, CNSA 2.0 and its FAQ 2.1 (December 2024); BSI TR-02102-1; FIPS 203, 204, 205. Security levels
 * are those that the algorithms' designers and NIST give; of RSA no level is told, it depends on the key.
 */
#include "trust/profile.h"

#include <string.h>

static const struct mmh_profile_row profiles[MMH_PROFILE_COUNT] = {
    [MMH_PROFILE_DEFAULT] = { "default", "ml-dsa-65-ed25519,x-wing", NULL, NULL,
                              "safe from quantum computers, and hybrid when keys are made" },
    [MMH_PROFILE_CNSA2] = { "cnsa2", "ml-dsa-87,ml-kem-1024", "aes-256-gcm", "sha384",
                            "NSA's Commercial National Security Algorithm Suite 2.0" },
    [MMH_PROFILE_BSI] = { "bsi", "ml-dsa-87-ecdsa-p384,mceliece6688128-x25519", "aes-256-gcm",
                          "sha384", "BSI TR-02102-1: hybrids, and hash-based signatures" },
    [MMH_PROFILE_CLASSICAL] = { "classical", "ed25519,x25519", NULL, NULL,
                                "what tools without post-quantum cryptography know" },
};

enum verdict {
    ALLOWED,
    QUANTUM,   /* no: falls to a quantum computer */
    UNNAMED,   /* no: the rules do not name it */
    ALONE,     /* no: only together with a classical algorithm */
    CATEGORY,  /* no: below NIST category 3 */
    TOO_NEW,   /* no: post-quantum */
    PARTS_ONLY /* it is a part of others: nobody is asked about it */
};

static const char *const reasons[] = {
    [ALLOWED] = "allowed",
    [QUANTUM] = "falls to a quantum computer",
    [UNNAMED] = "is not among the algorithms that the profile names",
    [ALONE] = "is allowed only together with a classical algorithm",
    [CATEGORY] = "is below NIST category 3",
    [TOO_NEW] = "is post-quantum: tools of this profile do not know it",
    [PARTS_ONLY] = "is a part of other algorithms",
};

/* Verdicts of default, cnsa2, bsi, classical. */
#define OLD                                \
    {                                      \
        QUANTUM, QUANTUM, QUANTUM, ALLOWED \
    }
#define PURE                             \
    {                                    \
        ALLOWED, UNNAMED, ALONE, TOO_NEW \
    }
#define HYBRID                             \
    {                                      \
        ALLOWED, UNNAMED, ALLOWED, TOO_NEW \
    }
#define EVERYWHERE                         \
    {                                      \
        ALLOWED, ALLOWED, ALLOWED, ALLOWED \
    }
#define NOWHERE_NAMED                      \
    {                                      \
        ALLOWED, UNNAMED, UNNAMED, TOO_NEW \
    }
#define PART                                           \
    {                                                  \
        PARTS_ONLY, PARTS_ONLY, PARTS_ONLY, PARTS_ONLY \
    }

#define KEM_FUNCTIONS "keygen encapsulate decapsulate"
#define SIGN_FUNCTIONS "keygen sign verify"

#define MCELIECE(set, bits, level, pure, hybrid)                                      \
    { "mceliece" set,                                                                 \
      "Classic McEliece " set,                                                        \
      "kem",                                                                          \
      set,                                                                            \
      KEM_FUNCTIONS,                                                                  \
      NULL,                                                                           \
      NULL,                                                                           \
      NULL,                                                                           \
      bits,                                                                           \
      level,                                                                          \
      pure },                                                                         \
    {                                                                                 \
        "mceliece" set "-x25519", "Classic McEliece " set " with X25519", "kem", set, \
            KEM_FUNCTIONS, NULL, "mceliece" set, "x25519", bits, level, hybrid        \
    }
#define SLH_DSA(set, oid, bits, level, bsi)                               \
    {                                                                     \
        "slh-dsa-" set, "SLH-DSA-" set, "signature", set, SIGN_FUNCTIONS, \
            "2.16.840.1.101.3.4.3." oid, NULL, NULL, bits, level,         \
        {                                                                 \
            ALLOWED, UNNAMED, bsi, TOO_NEW                                \
        }                                                                 \
    }

static const struct mmh_asset assets[] = {
    /* recipients */
    { "x25519", "X25519", "key-agree", "x25519", "keygen keyderive", "1.3.101.110", NULL, NULL, 128,
      0, OLD },
    { "ml-kem-768", "ML-KEM-768", "kem", "768", KEM_FUNCTIONS, "2.16.840.1.101.3.4.4.2", NULL, NULL,
      192, 3, PURE },
    { "ml-kem-1024",
      "ML-KEM-1024",
      "kem",
      "1024",
      KEM_FUNCTIONS,
      "2.16.840.1.101.3.4.4.3",
      NULL,
      NULL,
      256,
      5,
      { ALLOWED, ALLOWED, ALONE, TOO_NEW } },
    { "x-wing", "X-Wing", "kem", "768", KEM_FUNCTIONS, NULL, "ml-kem-768", "x25519", 192, 3,
      HYBRID },
    MCELIECE("460896f", 192, 3, PURE, HYBRID),
    MCELIECE("6688128", 256, 5, PURE, HYBRID),
    MCELIECE("6960119f", 256, 5, NOWHERE_NAMED, NOWHERE_NAMED),
    { "rsa-oaep", "RSA-OAEP", "pke", NULL, "keygen encrypt decrypt", "1.2.840.113549.1.1.7", NULL,
      NULL, 0, 0, OLD },
    { "passphrase",
      "passphrase",
      "kdf",
      NULL,
      "keyderive",
      NULL,
      "argon2id",
      NULL,
      0,
      -1,
      { ALLOWED, UNNAMED, ALLOWED, ALLOWED } },
    /* signatures */
    { "ed25519", "Ed25519", "signature", "ed25519", SIGN_FUNCTIONS, "1.3.101.112", NULL, NULL, 128,
      0, OLD },
    { "ecdsa-p256", "ECDSA P-256 with SHA-256", "signature", "P-256", SIGN_FUNCTIONS,
      "1.2.840.10045.4.3.2", NULL, NULL, 128, 0, OLD },
    { "ecdsa-p384", "ECDSA P-384 with SHA-384", "signature", "P-384", SIGN_FUNCTIONS,
      "1.2.840.10045.4.3.3", NULL, NULL, 192, 0, OLD },
    { "ecdsa-p521", "ECDSA P-521 with SHA-512", "signature", "P-521", SIGN_FUNCTIONS,
      "1.2.840.10045.4.3.4", NULL, NULL, 256, 0, OLD },
    { "rsa-pss", "RSA-PSS with SHA-256", "signature", NULL, SIGN_FUNCTIONS, "1.2.840.113549.1.1.10",
      NULL, NULL, 0, 0, OLD },
    { "ml-dsa-44",
      "ML-DSA-44",
      "signature",
      "44",
      SIGN_FUNCTIONS,
      "2.16.840.1.101.3.4.3.17",
      NULL,
      NULL,
      128,
      2,
      { ALLOWED, UNNAMED, CATEGORY, TOO_NEW } },
    { "ml-dsa-65", "ML-DSA-65", "signature", "65", SIGN_FUNCTIONS, "2.16.840.1.101.3.4.3.18", NULL,
      NULL, 192, 3, PURE },
    { "ml-dsa-87",
      "ML-DSA-87",
      "signature",
      "87",
      SIGN_FUNCTIONS,
      "2.16.840.1.101.3.4.3.19",
      NULL,
      NULL,
      256,
      5,
      { ALLOWED, ALLOWED, ALONE, TOO_NEW } },
    SLH_DSA("sha2-128s", "20", 128, 1, CATEGORY),
    SLH_DSA("sha2-128f", "21", 128, 1, CATEGORY),
    SLH_DSA("sha2-192s", "22", 192, 3, ALLOWED),
    SLH_DSA("sha2-192f", "23", 192, 3, ALLOWED),
    SLH_DSA("sha2-256s", "24", 256, 5, ALLOWED),
    SLH_DSA("sha2-256f", "25", 256, 5, ALLOWED),
    SLH_DSA("shake-128s", "26", 128, 1, CATEGORY),
    SLH_DSA("shake-128f", "27", 128, 1, CATEGORY),
    SLH_DSA("shake-192s", "28", 192, 3, ALLOWED),
    SLH_DSA("shake-192f", "29", 192, 3, ALLOWED),
    SLH_DSA("shake-256s", "30", 256, 5, ALLOWED),
    SLH_DSA("shake-256f", "31", 256, 5, ALLOWED),
    { "ml-dsa-44-ed25519",
      "ML-DSA-44 with Ed25519",
      "signature",
      "44",
      SIGN_FUNCTIONS,
      "1.3.6.1.5.5.7.6.39",
      "ml-dsa-44",
      "ed25519",
      128,
      2,
      { ALLOWED, UNNAMED, CATEGORY, TOO_NEW } },
    { "ml-dsa-65-ed25519", "ML-DSA-65 with Ed25519", "signature", "65", SIGN_FUNCTIONS,
      "1.3.6.1.5.5.7.6.48", "ml-dsa-65", "ed25519", 192, 3, HYBRID },
    { "ml-dsa-65-ecdsa-p256", "ML-DSA-65 with ECDSA P-256", "signature", "65", SIGN_FUNCTIONS,
      "1.3.6.1.5.5.7.6.45", "ml-dsa-65", "ecdsa-p256", 192, 3, HYBRID },
    { "ml-dsa-87-ecdsa-p384", "ML-DSA-87 with ECDSA P-384", "signature", "87", SIGN_FUNCTIONS,
      "1.3.6.1.5.5.7.6.49", "ml-dsa-87", "ecdsa-p384", 256, 5, HYBRID },
    /* encryption */
    { "aes-256-gcm", "AES-256-GCM", "ae", "256", "keygen encrypt decrypt tag",
      "2.16.840.1.101.3.4.1.46", NULL, NULL, 256, 5, EVERYWHERE },
    { "chacha20-poly1305",
      "ChaCha20-Poly1305",
      "ae",
      "256",
      "keygen encrypt decrypt tag",
      "1.2.840.113549.1.9.16.3.18",
      NULL,
      NULL,
      256,
      -1,
      { ALLOWED, UNNAMED, UNNAMED, ALLOWED } },
    /* hash suites */
    { "blake3",
      "BLAKE3",
      "hash",
      "256",
      "digest",
      NULL,
      NULL,
      NULL,
      128,
      -1,
      { ALLOWED, UNNAMED, UNNAMED, ALLOWED } },
    { "sha256",
      "SHA-256",
      "hash",
      "256",
      "digest",
      "2.16.840.1.101.3.4.2.1",
      NULL,
      NULL,
      128,
      2,
      { ALLOWED, UNNAMED, ALLOWED, ALLOWED } },
    { "sha384", "SHA-384", "hash", "384", "digest", "2.16.840.1.101.3.4.2.2", NULL, NULL, 192, 4,
      EVERYWHERE },
    /* what these are made of */
    { "hkdf-sha256", "HKDF with SHA-256", "kdf", NULL, "keyderive", "1.2.840.113549.1.9.16.3.28",
      NULL, NULL, 0, -1, PART },
    { "hkdf-sha384", "HKDF with SHA-384", "kdf", NULL, "keyderive", "1.2.840.113549.1.9.16.3.29",
      NULL, NULL, 0, -1, PART },
    { "hmac-sha256", "HMAC with SHA-256", "mac", NULL, "tag", "1.2.840.113549.2.9", NULL, NULL, 0,
      -1, PART },
    { "hmac-sha384", "HMAC with SHA-384", "mac", NULL, "tag", "1.2.840.113549.2.10", NULL, NULL, 0,
      -1, PART },
    { "argon2id", "Argon2id", "kdf", NULL, "keyderive", NULL, NULL, NULL, 0, -1, PART },
};

const struct mmh_profile_row *mmh_profile_row(size_t number)
{
    return number < MMH_PROFILE_COUNT ? &profiles[number] : NULL;
}

size_t mmh_asset_count(void)
{
    return sizeof assets / sizeof *assets;
}

const struct mmh_asset *mmh_asset_at(size_t number)
{
    return &assets[number];
}

const struct mmh_asset *mmh_asset_by_name(const char *name)
{
    for (size_t i = 0; i < mmh_asset_count(); i++)
        if (strcmp(assets[i].name, name) == 0)
            return &assets[i];
    return NULL;
}

bool mmh_asset_allowed(const struct mmh_asset *asset, size_t profile, const char **why)
{
    const char *reason = asset ? reasons[asset->verdicts[profile]] : "is not known";
    if (why)
        *why = reason;
    return asset && asset->verdicts[profile] == ALLOWED;
}
