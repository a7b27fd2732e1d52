/*
 * OpenSSF Model Signing bundles: signed lists of a model's files, as other tools write and read them.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: OpenSSF Model Signing specification 1.0; DSSE 1.0; in-toto Statement 1; Sigstore bundle 0.3.
 *
 * ECDSA signatures are as that specification has them: the first signature of a bundle, whose key
 * verificationMaterial.publicKey.hint names (SHA-256 of its PEM text). Others are ours: signatures of the
 * same payload, without a context, whose keyid is "<algorithm>:<hint>". So a bundle with both is read by
 * tools that know ECDSA alone.
 */
#ifndef MMH_OMS_H
#define MMH_OMS_H

#include "base/arena.h"
#include "crypto/file_hash.h"
#include "trust/statement.h"

enum {
    MMH_OMS_BYTES_MAX = 64 << 20, /* of a bundle */
    MMH_OMS_SIGNATURES_MAX = 16   /* of a bundle */
};

/* A file, or a part of one. */
struct mmh_oms_resource {
    const char *path;    /* relative to the model, '/' between parts; of a single file "." too */
    uint64_t begin, end; /* of manifests with shards; else 0 */
    uint8_t digest[MMH_FILE_HASH_BYTES_MAX];
};

struct mmh_oms_manifest {
    const char *model;                  /* its name, for people */
    struct mmh_oms_resource *resources; /* [count], by path and begin */
    size_t count;
    unsigned hash;              /* mmh_file_hash_id, of all resources */
    uint64_t shard_bytes;       /* 0: resources are whole files */
    bool symlinks;              /* were followed */
    const char *const *ignored; /* [ignored_count] paths that were left out */
    size_t ignored_count;
};

/*
 * Sign a manifest and append the bundle's text.
 *
 *   manifest  sorted by mmh_oms_sort; names are UTF-8
 *   signers   [signer_count] private keys that sign; the first ECDSA key's signature comes first
 */
mmh_status mmh_oms_write(struct mmh_buffer *bundle, const struct mmh_oms_manifest *manifest,
                         const struct mmh_key_part *const *signers, size_t signer_count,
                         mmh_error *err);

/* Sort resources by path and begin. */
void mmh_oms_sort(struct mmh_oms_resource *resources, size_t count);

/* How the signer's key is given. */
enum mmh_oms_method {
    MMH_OMS_KEY,
    MMH_OMS_CERTIFICATE, /* a chain */
    MMH_OMS_SIGSTORE     /* Sigstore's, for a moment, without a key to keep */
};

struct mmh_oms_signature {
    const char *keyid; /* "": not said */
    const uint8_t *data;
    size_t bytes;
};

struct mmh_oms_bundle {
    struct mmh_arena arena; /* of all that is below */
    enum mmh_oms_method method;
    const char *hint; /* "": not said */
    const char *payload_type;
    const uint8_t *payload; /* [payload_bytes] not believed until mmh_oms_check says so */
    size_t payload_bytes;
    struct mmh_oms_signature signatures[MMH_OMS_SIGNATURES_MAX];
    size_t signature_count;
};

/* Read a bundle; release it in either case. MMH_E_CORRUPT, MMH_E_UNSUPPORTED (of a kind that this does
 * not know), MMH_E_LIMIT. */
mmh_status mmh_oms_read(struct mmh_oms_bundle *bundle, const void *text, size_t bytes,
                        const mmh_allocator *allocator, mmh_error *err);
void mmh_oms_release(struct mmh_oms_bundle *bundle);

/* Whether its signatures meet a policy. Certificates and logs in it are not looked at: only keys of the
 * policy are believed. MMH_E_UNTRUSTED otherwise. */
mmh_status mmh_oms_check(const struct mmh_oms_bundle *bundle, const struct mmh_policy *policy,
                         uint64_t now_seconds, struct mmh_policy_counts *counts, mmh_error *err);

/* The list in its payload, in the bundle's arena; sorted. To be believed only after mmh_oms_check. */
mmh_status mmh_oms_manifest(struct mmh_oms_manifest *manifest, struct mmh_oms_bundle *bundle,
                            mmh_error *err);

/* The hint for a key: SHA-256, in hexadecimal digits, of the PEM text of its public part. */
mmh_status mmh_oms_hint(char hint[65], const struct mmh_key_part *part,
                        const mmh_allocator *allocator, mmh_error *err);

/* What DSSE signs of a payload. */
void mmh_oms_signed_text(struct mmh_buffer *text, const char *type, const uint8_t *payload,
                         size_t bytes);

#endif
