/*
 * A look at the small tensors of a pack before it is planned: which may share tables.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_SURVEY_H
#define MMH_SURVEY_H

#include "engine/engine.h"
#include "tensor/extent.h"

enum {
    MMH_SURVEY_MINOR_BYTES = 2048, /* extents below this join whatever is beside them */
    MMH_SURVEY_BATCH = 256,        /* extents that are compared with each other, at the most */
    MMH_SURVEY_TRIAL_LEVEL = 9     /* from this level on they are coded to compare them */
};

/* What was seen of one extent. Only those with the same signature are coded together. */
struct mmh_survey {
    bool seen;              /* it is small enough to be looked at */
    bool alone;             /* equal to another one (stored once), or better coded by itself */
    bool compared;          /* it might join those before it */
    bool joins;             /* and is better coded with them; minor ones are not asked */
    uint8_t signature[3];   /* signs, zeros, trailing zero bits */
    uint64_t fingerprint[2]; /* of its bytes */
};

/*
 * Look at the typed extents of up to `limit_bytes` of a file.
 *
 *   survey   [map->extent_count] out
 *   level    that decides how many tables they may share
 */
mmh_status mmh_survey_file(struct mmh_survey *survey, mmh_context *context, const char *path,
                           const struct mmh_extent_map *map, uint64_t limit_bytes,
                           int level, mmh_error *err);

/*
 * Settle by coding which of some neighbours join: extents [count <= MMH_SURVEY_BATCH], seen, of one
 * type, each major one but the first compared. Uses the worker's buffers and workspace.
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
