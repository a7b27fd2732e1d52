/*
 * Coding blocks of original files again, as pack does: for repair.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_RECODE_H
#define MMH_RECODE_H

#include "engine/engine.h"
#include "tensor/extent.h"

/* What is to be coded, and who takes it. */
struct mmh_recoding {
    const char *path; /* a model file, a shard index, or a folder */
    int level;
    /* The tensors of a file in which no format finds any, as pack was told of them (--dtype, a layout, a
     * plug-in): tensors [*count], in the arena. */
    mmh_status (*tell)(void *user, const char *name, struct mmh_arena *arena,
                       struct mmh_map_tensor **tensors, size_t *count, mmh_error *err);
    /* Whether a block is wanted: of this file, as pack would name it. */
    bool (*wanted)(void *user, const char *name, uint64_t offset, uint64_t bytes);
    /* Payloads of a block, not sealed: its model's, if it has one, and its chunks', in order. */
    mmh_status (*take)(void *user, const char *name, uint64_t offset,
                       const struct mmh_stored_chunk *model, const struct mmh_stored_chunk *chunks,
                       size_t chunk_count, mmh_error *err);
    void *user;
};

mmh_status mmh_recode(mmh_context *context, const struct mmh_recoding *recoding, mmh_error *err);

#endif
