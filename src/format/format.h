/*
 * The format room's door: the bytes of a model file become an extent map.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Parsing only finds extents. Whatever a file claims, the worst that happens is one opaque extent
 * and a remark; only failures of the source and of memory are errors.
 */
#ifndef MMH_FORMAT_H
#define MMH_FORMAT_H

#include "base/io.h"
#include "tensor/extent.h"

enum mmh_format_id { /* on disk: never reused */
                     MMH_FORMAT_OPAQUE = 0,
                     MMH_FORMAT_SAFETENSORS = 1,
                     MMH_FORMAT_NPY = 2,
                     MMH_FORMAT_RAW = 3,
                     MMH_FORMAT_SHARD_INDEX = 4
};

/* "safetensors", ...; NULL for a number that no format has. */
const char *mmh_format_name(unsigned format_id);

/* ---- sources ---- */

/* Read-only random access to a file. */
struct mmh_source {
    /* Read exactly dst[bytes]; never asked for bytes past the end. */
    mmh_status (*read)(void *context, uint64_t offset, void *dst, size_t bytes, mmh_error *err);
    void *context;
    uint64_t bytes;
    const char *name; /* its file name or path: tensors of files that name none take theirs here */
};

/* Both keep their pointers: input (data) and name must outlive the source. */
struct mmh_source mmh_source_of_input(const mmh_input *input);
struct mmh_source mmh_source_of_memory(const void *data, size_t bytes, const char *name);

/* ---- mapping ---- */

struct mmh_format_options {
    mmh_dtype raw_dtype; /* MMH_DTYPE_OPAQUE: none; else files of no known format are
                                   little-endian arrays of it */
    uint32_t raw_dimensions;
    const uint64_t *raw_shape; /* NULL: one dimension, all that fits */
};

/*
 * Find out what a file is and map it: map is finished, map->format says which it was.
 *
 *   map      fresh from mmh_extent_map_init(map, arena, source->bytes)
 *   options  NULL: all zero
 *
 * Reads headers only (a 100 MB safetensors header at the most), and allocates in proportion to
 * what was read. Fails with what source->read fails with, and MMH_E_MEMORY.
 */
mmh_status mmh_format_detect_and_map(struct mmh_extent_map *map, const struct mmh_source *source,
                                     const struct mmh_format_options *options, mmh_error *err);

/* ---- units: files that belong together ---- */

/* True for "model.safetensors.index.json" and the like, with or without folders before it. */
bool mmh_shard_index_name(const char *path);

/* What an index refers to, all in the arena. */
struct mmh_shard_index {
    const char *const *files; /* relative to the folder of the index, sorted, each once, safe */
    size_t file_count;
    uint64_t tensor_count; /* entries of weight_map */
};

/*
 * Read a shard index. Names are relative, their parts divided by '/', none empty, "." or "..",
 * without backslash, colon or control characters. Fails with MMH_E_CORRUPT if it is no shard
 * index or has another name in it, MMH_E_LIMIT over 100 MB.
 */
mmh_status mmh_shard_index_read(struct mmh_shard_index *index, struct mmh_arena *arena,
                                const struct mmh_source *source, mmh_error *err);

/* What is packed when the user names one path; all in the arena. */
struct mmh_unit {
    const char *root;              /* folder that the names are relative to; "" for the current */
    struct mmh_path_info *entries; /* path relative to root; sorted by it */
    size_t entry_count;
    const char **missing; /* shards that the index names and the folder lacks */
    size_t missing_count;
    const char *problem; /* why an index was taken alone; NULL: nothing */
};

/*
 * A file is a unit by itself (a symlink to it is followed); a shard index (unless `alone`) brings
 * the shards that are there; a folder brings all that is in it, symlinks as symlinks. Fails with
 * MMH_E_IO (nothing there), MMH_E_USAGE (neither file nor folder), MMH_E_LIMIT, MMH_E_MEMORY.
 */
mmh_status mmh_unit_list(struct mmh_unit *unit, struct mmh_arena *arena, const char *path,
                         bool alone, mmh_error *err);

#endif
