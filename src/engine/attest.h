/*
 * What files of the engine share that implement include/mmh_trust.h: the files of a model, and their hashes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_ATTEST_H
#define MMH_ATTEST_H

#include "crypto/file_hash.h"
#include "engine/engine.h"
#include "engine/keys.h"
#include "mmh_trust.h"
#include "trust/statement.h"

/* A file of a model. */
struct mmh_model_file {
    const char *name; /* relative to the model */
    uint64_t bytes;
    uint64_t number; /* in a container */
    bool ignored;
    bool followed; /* a symlink that is taken as what it leads to */
};

/* A folder, a file, or the content of a container. Strings live in its arena. */
struct mmh_model {
    mmh_context *context;
    struct mmh_arena arena;
    const char *path;
    mmh_folder *folder;           /* NULL: it is a file or container */
    mmh_reader *reader;           /* NULL: it is a folder or file */
    const char *name;             /* the last part of its path; of a container without ".mmh" */
    struct mmh_model_file *files; /* [file_count] by name */
    size_t file_count;
};

/* What of a model is left out, and how it is looked at. */
struct mmh_model_rules {
    const char *const *ignored; /* [ignored_count] beside git's */
    size_t ignored_count;
    const char *bundle; /* path of a file that is left out, too; may be NULL */
    bool as_file, symlinks;
};

/* Names that are always left out, [MMH_MODEL_IGNORED_COUNT]. */
enum { MMH_MODEL_IGNORED_COUNT = 4 };
extern const char *const mmh_model_ignored[MMH_MODEL_IGNORED_COUNT];

/* List a model; release it in either case. */
mmh_status mmh_model_open(struct mmh_model *model, mmh_context *context, const char *path,
                          const struct mmh_model_rules *rules, mmh_error *err);
void mmh_model_release(struct mmh_model *model);

/* A file, or a part of one, and its hash. */
struct mmh_model_hash {
    size_t file; /* its place in model->files */
    uint64_t begin, end;
    uint8_t *digest; /* [mmh_file_hash_bytes(hash)] out */
};

/* Hash what is asked for, by all threads, each byte read once. `stage` is for progress. */
mmh_status mmh_model_hash(struct mmh_model *model, struct mmh_model_hash *hashes, size_t count,
                          unsigned hash, const char *stage, mmh_error *err);

/* A caller's requirement as policies have it. signers [trust->signer_count] is filled in. */
void mmh_policy_of(struct mmh_policy *policy, const mmh_identity **signers, const mmh_trust *trust);

#endif
