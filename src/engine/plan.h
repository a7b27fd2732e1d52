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
    const char *name;         /* in the container */
    const char *path;         /* where it is; of a source its name */
    const mmh_source *source; /* NULL: a file of the file system */
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
    uint64_t followed_links; /* symlinks that lead out of a folder: files here */
    struct mmh_odd_names odd_names;
};

/* What is to be packed: paths, or sources. */
struct mmh_plan_inputs {
    const char *const *paths;  /* [count], or NULL and */
    const mmh_source *sources; /* [count], as the caller's struct_size has them */
    size_t count;
};

/* List the inputs and find the tensors in every file: no blocks yet. All in the arena, sources too.
 * Failures and `output` as below. */
mmh_status mmh_plan_files(struct mmh_plan *plan, mmh_context *context, struct mmh_arena *arena,
                          const struct mmh_plan_inputs *inputs, const char *output,
                          const mmh_pack_options *options, mmh_error *err);

/* The file of that name in the container; NULL: none. */
struct mmh_plan_file *mmh_plan_find(const struct mmh_plan *plan, const char *name);

/* Open a planned file; MMH_E_IO if it is not as it was when it was listed. */
mmh_status mmh_plan_open(mmh_input **input, const struct mmh_plan_file *file,
                         const mmh_allocator *allocator, mmh_error *err);

/* Cut the files of a plan into blocks, in the arena. */
mmh_status mmh_plan_cut(struct mmh_plan *plan, mmh_context *context, struct mmh_arena *arena,
                        int level, mmh_error *err);

/* The same, and cut into blocks: list the inputs and map every file. All in the arena. `output` (may
 * be NULL) is left out when it lies in an input folder, and so are mmh's own temporary files. */
mmh_status mmh_plan_make(struct mmh_plan *plan, mmh_context *context, struct mmh_arena *arena,
                         const struct mmh_plan_inputs *inputs, const char *output,
                         const mmh_pack_options *options, mmh_error *err);

#endif
