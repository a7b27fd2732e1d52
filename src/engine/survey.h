/*
 * A look at the small tensors of a pack before it is planned: which may share tables.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_SURVEY_H
#define MMH_SURVEY_H

#include "engine/plan.h"

enum {
    MMH_SURVEY_GAP_BYTES = 4096,   /* between tensors that may be coded together, at the most */
    MMH_SURVEY_MINOR_BYTES = 2048, /* extents below this join what loses little by that */
    MMH_SURVEY_BATCH = 256,        /* extents that are compared with each other, at the most */
    MMH_SURVEY_TRIAL_LEVEL = 9     /* from this level on they are coded to compare them */
};

/* What the bits of an extent, or of several that are coded together, have in common. */
struct mmh_bit_signature {
    uint8_t sign;           /* 1: all positive, 2: all negative, else 0 */
    uint8_t zeros;          /* elements that are: 0 few, 1 many, 2 all */
    uint8_t trailing_zeros; /* of every element; 64 if they are zero */
};

/* What was seen of one extent. But for minor ones only those with the same signature join. */
struct mmh_survey {
    bool seen;     /* it is small enough to be looked at */
    bool repeated; /* equal to another one: coded by itself, and stored once */
    bool alone;    /* equal to another one (stored once), or better coded by itself */
    bool compared; /* it might join those before it */
    bool joins;    /* and is better coded with them; minor ones are not asked */
    struct mmh_bit_signature signature;
    uint64_t fingerprint[2]; /* of its bytes */
};

/*
 * Look at the typed extents of up to `limit_bytes` of a file.
 *
 *   survey   [file->map.extent_count] out
 *   level    that decides how many tables they may share
 */
mmh_status mmh_survey_file(struct mmh_survey *survey, mmh_context *context,
                           const struct mmh_plan_file *file, uint64_t limit_bytes, int level,
                           mmh_error *err);

/* Whether a minor extent and its neighbour lose little, signs and trailing zeros that one has and
 * the other not, compared with what a block costs. `run` [run_elements] is then what both have. */
bool mmh_survey_minor_joins(struct mmh_bit_signature *run, uint64_t run_elements,
                            const struct mmh_bit_signature *next, uint64_t next_elements);

/*
 * Settle by coding which of some neighbours join: extents [count <= MMH_SURVEY_BATCH], seen, of one
 * type, all but the first compared. Uses the worker's buffers and workspace.
 *
 *   survey   [count] theirs: `joins` holds an estimate, and then the answer
 */
mmh_status mmh_survey_settle(struct mmh_survey *survey, mmh_context *context,
                             struct mmh_worker *worker, mmh_input *input,
                             const struct mmh_extent *extents, size_t count, int level,
                             mmh_error *err);

/* Mark those that are equal to another one, over all files. */
mmh_status mmh_survey_equal(struct mmh_survey *const *surveys, const size_t *counts,
                            size_t file_count, const mmh_allocator *allocator, mmh_error *err);

#endif
