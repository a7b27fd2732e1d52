/*
 * mmh: whose word is believed, and what a container rests on: bundles, trust store, profiles, audits.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Beside mmh.h, and of the same habits. Nothing here is needed to pack, sign or verify.
 */
#ifndef MMH_TRUST_H
#define MMH_TRUST_H

#include "mmh.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- OpenSSF Model Signing bundles ---- */

/*
 * A bundle is a signed list of a model's files with their SHA-256, as `model_signing` of PyPI and others
 * write and verify them for ECDSA keys. Here every key signs; others than ECDSA are an extension that
 * those tools pass over where an ECDSA signature stands beside, and refuse where none does.
 *
 * A model is a folder, a file, or a container, which stands for the original files in it.
 */

typedef enum mmh_bundle_finding {
    MMH_BUNDLE_DIFFERS, /* from what was signed */
    MMH_BUNDLE_MISSING, /* signed, and not in the model */
    MMH_BUNDLE_EXTRA    /* in the model, and not signed */
} mmh_bundle_finding;

/* name: relative to the model; lives as long as the call. From the calling thread. */
typedef void (*mmh_bundle_fn)(void *user, mmh_bundle_finding finding, const char *name);

typedef struct mmh_bundle_options {
    size_t struct_size;
    /* Paths within the model that are left out, with all beneath them. So are .git, .gitattributes,
     * .github, .gitignore, and the bundle itself. */
    const char *const *ignored;
    size_t ignored_count;
    bool as_file; /* a container is the file that it is */
    /* When a bundle is written: */
    bool overwrite; /* replace what is there */
    bool
        symlinks; /* take symlinks in a folder as the files that they lead to, else they are refused */
    uint64_t shard_bytes; /* list parts of so many bytes; 0: whole files */
    const char *name;     /* of the model; NULL: the last part of its path */
    /* When one is verified: */
    bool allow_extra; /* files that are not signed are none of its business */
    mmh_bundle_fn finding;
    void *finding_user;
} mmh_bundle_options;

typedef struct mmh_bundle_report {
    size_t struct_size;
    uint64_t file_count, bytes; /* that were hashed */
    uint64_t differing, missing, extra;
    size_t signature_count, right_count; /* in the bundle; those that are right by the given keys */
    bool is_signed; /* the signatures are as required: what was found later is about the files */
} mmh_bundle_report;

/*
 * Write a bundle for a model.
 *
 *   signers  private keys: each part of each that signs, does
 *   output   path of the bundle
 *   options  may be NULL; report too
 *
 * Fails with MMH_E_USAGE (the output exists, a symlink, no files), MMH_E_KEY, MMH_E_IO.
 */
MMH_API mmh_status mmh_bundle_write(mmh_context *context, const char *model, const char *output,
                                    const mmh_key *const *signers, size_t signer_count,
                                    const mmh_bundle_options *options, mmh_bundle_report *report,
                                    mmh_error *err);

/*
 * Verify a model by a bundle: first its signatures, then each file.
 *
 *   trust  whose signature is required; min_counter must be 0, signature_file is not looked at.
 *          Only these keys are believed: certificates and logs in a bundle are not checked.
 *
 * Fails with MMH_E_UNTRUSTED (not signed as required, or files that differ, are missing or extra: all of
 * them are told of), MMH_E_CORRUPT (no bundle), MMH_E_UNSUPPORTED.
 */
MMH_API mmh_status mmh_bundle_verify(mmh_context *context, const char *bundle, const char *model,
                                     const mmh_trust *trust, const mmh_bundle_options *options,
                                     mmh_bundle_report *report, mmh_error *err);

/* ---- trust store ---- */

/*
 * Public keys that are believed, by name: a folder with one text file for each, "<name>.trusted". A file
 * in it that is damaged, of another kind, or that every user may write to, is refused by name, and the
 * store with it: it might be a revocation. One thread at a time; what another process changes is seen
 * when the store is opened anew.
 */
typedef struct mmh_store mmh_store;

/* Pointers live until the store is changed or closed. */
typedef struct mmh_store_key {
    size_t struct_size;
    const char *name;
    const mmh_key *key;       /* public */
    uint64_t added_seconds;   /* since 1970 */
    uint64_t expires_seconds; /* 0: never */
    uint64_t revoked_seconds; /* 0: it is not */
    const char *reason;       /* of the revocation; "" */
    const char *successor_of; /* name of the key that it was made the successor of; "" */
    bool believed;            /* now: neither revoked nor expired */
    const char *path;         /* of its file */
} mmh_store_key;

/* A folder that is not there is an empty store; it is made when a key is added. */
MMH_API mmh_status mmh_store_open(mmh_store **store, const char *folder, mmh_error *err);
MMH_API void mmh_store_close(mmh_store *store); /* may be NULL */

/* Key number `number`, in the order of their names, or MMH_E_USAGE past the last. */
MMH_API mmh_status mmh_store_key_at(const mmh_store *store, size_t number, mmh_store_key *info,
                                    mmh_error *err);

/* The number of the key called `name`, or with that fingerprint (at least 8 of its hexadecimal digits);
 * MMH_E_USAGE if there is none, or several. */
MMH_API mmh_status mmh_store_find(const mmh_store *store, const char *name, size_t *number,
                                  mmh_error *err);

/*
 * Believe a key from now on. Of a private one its public part is kept.
 *
 *   name             1 to 64 letters, digits, and . _ @ + - (the first is no '.')
 *   expires_seconds  since 1970; 0: never
 *
 * Fails with MMH_E_USAGE if the name is taken, or the key is there already; MMH_E_UNTRUSTED if it was
 * revoked.
 */
MMH_API mmh_status mmh_store_add(mmh_store *store, const char *name, const mmh_key *key,
                                 uint64_t expires_seconds, mmh_error *err);

/* No longer believe it. It stays in the store, so that it is not added again. For good. */
MMH_API mmh_status mmh_store_revoke(mmh_store *store, size_t number, const char *reason,
                                    mmh_error *err);

/* Believe it until then; 0: for ever. */
MMH_API mmh_status mmh_store_expire(mmh_store *store, size_t number, uint64_t expires_seconds,
                                    mmh_error *err);

/* Take it out: it is unknown then, and so is its revocation. */
MMH_API mmh_status mmh_store_remove(mmh_store *store, size_t number, mmh_error *err);

/* What mmh_trust wants: the keys that are believed now and sign. The arrays live until the store is changed
 * or closed. */
MMH_API mmh_status mmh_store_signers(mmh_store *store, const mmh_key *const **signers,
                                     const uint64_t **expires, size_t *count, mmh_error *err);

/*
 * Counters, against older versions: the highest that was seen in a right signature by a key.
 *
 *   fingerprint  of the part that signed (mmh_signature_info)
 *   subject      what it is about, where a key signs several things: any short text; NULL: all the same
 *
 * mmh_store_counter: 0 if none was seen, or the key is not there. mmh_store_note_counter remembers one, or
 * fails with MMH_E_UNTRUSTED if a higher one was seen: the container is an older version. 0 is no counter,
 * and is an older version of everything that had one.
 */
MMH_API uint64_t mmh_store_counter(const mmh_store *store, const uint8_t fingerprint[32],
                                   const char *subject);
MMH_API mmh_status mmh_store_note_counter(mmh_store *store, const uint8_t fingerprint[32],
                                          const char *subject, uint64_t counter, mmh_error *err);

/*
 * Rotation. The holder of a key states who comes after it; whoever believes the old key and is given the
 * statement believes the new one, too. Both keys sign it, with all their parts that sign.
 *
 *   old, next     private keys
 *   name          of the new one, as mmh_store_add has it
 *   time_seconds  that it states
 *   output        the statement: text
 */
MMH_API mmh_status mmh_successor_write(const mmh_key *old, const mmh_key *next, const char *name,
                                       uint64_t time_seconds, const char *output, bool overwrite,
                                       mmh_error *err);

/*
 * Add the key that a statement names. *number: its place. The old key stays what it is.
 *
 *   name  another name for it; NULL: as the statement says
 *
 * Fails with MMH_E_UNTRUSTED if the old key is not in the store or not believed now (whoever has stolen a
 * key can say any time), or a signature is wrong; MMH_E_CORRUPT: it is no such statement.
 */
MMH_API mmh_status mmh_store_accept(mmh_store *store, const char *statement, const char *name,
                                    size_t *number, mmh_error *err);

/* ---- profiles and audits ---- */

typedef struct mmh_profile_info {
    size_t struct_size;
    const char *name;       /* "default", "cnsa2", "bsi", "classical" */
    const char *algorithms; /* for mmh_key_generate */
    const char *aead;       /* for mmh_pack; NULL: any */
    const char *hash_suite; /* "sha384"; NULL: any */
    const char *about;      /* one line */
} mmh_profile_info;

/* Profile number `number`, or MMH_E_USAGE past the last. */
MMH_API mmh_status mmh_profile(size_t number, mmh_profile_info *info, mmh_error *err);

/* Whether a profile allows an algorithm (of signatures, recipients or AEADs), hash suite or "passphrase".
 *
 *   why  out: one line, static; may be NULL
 *
 * false too if there is no such profile or algorithm. */
MMH_API bool mmh_profile_allows(const char *profile, const char *algorithm, const char **why);

typedef struct mmh_audit mmh_audit;

typedef struct mmh_audit_options {
    size_t struct_size;
    const mmh_key *const *signers; /* to check signatures with */
    size_t signer_count;
    const char *signature_file; /* detached signatures; NULL: none */
    /* For the bill of materials: read everything, and tell the SHA-256 of each original file. */
    bool hash_files;
    uint64_t time_seconds; /* that the bill states; 0: none, so that it is the same each time */
} mmh_audit_options;

/* Something that a container uses, seen by a profile. Pointers live as long as the audit. */
typedef struct mmh_audit_finding {
    size_t struct_size;
    const char *profile;   /* its name */
    const char *subject;   /* "recipient 1", "signature 2", "encryption", "hash" */
    const char *algorithm; /* "x-wing"; "none" */
    bool meets;
    const char *why; /* it does or does not */
    unsigned nist_category;
    bool quantum_vulnerable; /* it falls to a quantum computer */
} mmh_audit_finding;

/* Look at what guards a container. Needs no key; with one (mmh_context_add_key) an encrypted container's
 * files are in the bill of materials too. */
MMH_API mmh_status mmh_audit_create(mmh_audit **audit, mmh_context *context, const char *container,
                                    const mmh_audit_options *options, mmh_error *err);
MMH_API void mmh_audit_destroy(mmh_audit *audit); /* may be NULL */

/* Finding number `number`, or MMH_E_USAGE past the last: all of the first profile, then the next. */
MMH_API mmh_status mmh_audit_finding_at(const mmh_audit *audit, size_t number,
                                        mmh_audit_finding *finding, mmh_error *err);

/* Whether all findings of a profile meet it; false too if there is no such profile. */
MMH_API bool mmh_audit_meets(const mmh_audit *audit, const char *profile);

typedef enum mmh_audit_form {
    MMH_AUDIT_TEXT, /* for people */
    MMH_AUDIT_JSON, /* docs/schema/ */
    MMH_AUDIT_BILL  /* CycloneDX 1.6, JSON: cryptography (CBOM) and model (ML-BOM) */
} mmh_audit_form;

/* Write it. *text [*bytes], with a NUL after it, lives until the next call or the end of the audit. */
MMH_API mmh_status mmh_audit_write(mmh_audit *audit, mmh_audit_form form, const char **text,
                                   size_t *bytes, mmh_error *err);

#ifdef __cplusplus
}
#endif
#endif
