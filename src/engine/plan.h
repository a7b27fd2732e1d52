/*
 * What pack will do: which files, cut into which blocks.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_PLAN_H
#define MMH_PLAN_H

#include "engine/engine.h"
#include "format/format.h"

/* A file, folder or symlink of the container. */
struct mmh_plan_file {
    const char *name; /* in the container */
    const char *path; /* where it is */
    struct mmh_path_info info;
    struct mmh_extent_map map; /* regular files */
    size_t first_block, block_count;
};

/* A run of bytes that is coded as one. */
struct mmh_plan_block {
    size_t file;
    uint64_t offset, bytes; /* in the file; bytes at most MMH_BLOCK_BYTES_MAX or one chunk */
    uint32_t chunk_bytes;
    bool big_endian;
    struct mmh_block_hint hint;
};

struct mmh_plan {
    struct mmh_plan_file *files; /* sorted by name */
    size_t file_count;
    struct mmh_plan_block *blocks;
    size_t block_count;
    uint64_t total_bytes;
};

/* List the inputs and map every file. All in the arena. `output` (may be NULL) is left out when
 * it lies in an input folder. */
mmh_status mmh_plan_make(struct mmh_plan *plan, mmh_context *context, struct mmh_arena *arena,
                         const char *const *inputs, size_t input_count, const char *output,
                         const mmh_pack_options *options, mmh_error *err);

#endif
