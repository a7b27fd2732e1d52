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
                     MMH_FORMAT_SHARD_INDEX = 4,
                     MMH_FORMAT_TORCH = 5,          /* zip of torch.save, TorchScript, .pt2 */
                     MMH_FORMAT_TORCH_LEGACY = 6,   /* one stream, before 1.6 */
                     MMH_FORMAT_TORCH_TAR = 7,      /* before 0.2 */
                     MMH_FORMAT_TORCH_SHARD = 8,    /* .distcp */
                     MMH_FORMAT_TORCH_METADATA = 9, /* their .metadata */
                     MMH_FORMAT_PICKLE = 10,
                     MMH_FORMAT_ZIP = 11, /* any other, .npz and .keras too */
                     MMH_FORMAT_ONNX = 12,
                     MMH_FORMAT_TF_GRAPH = 13,  /* SavedModel, GraphDef, MetaGraphDef */
                     MMH_FORMAT_TF_BUNDLE = 14, /* the .index of a TensorBundle */
                     MMH_FORMAT_TFLITE = 15,
                     MMH_FORMAT_HDF5 = 16,
                     MMH_FORMAT_GGUF = 17,
                     MMH_FORMAT_COREML = 18,         /* .mlmodel */
                     MMH_FORMAT_COREML_WEIGHTS = 19, /* weight.bin */
                     MMH_FORMAT_DATA = 20,           /* tensors that another file tells of */
                     MMH_FORMAT_CUSTOM = 21,         /* by a plug-in or a layout file */
                     MMH_FORMAT_TFJS = 22            /* weights_manifest.json, model.json */
};

/* "safetensors", ...; NULL for a number that no format has. */
const char *mmh_format_name(unsigned format_id);

/* ---- sources ---- */

/*
 * Files are mmh_source here: read-only random access, err may be NULL. Their name is a file name or path:
 * tensors of files that name none take theirs there.
 *
 * Both keep their pointers: input (data) and name must outlive the source.
 */
mmh_source mmh_source_of_input(const mmh_input *input);
mmh_source mmh_source_of_memory(const void *data, size_t bytes, const char *name);

/* ---- mapping ---- */

struct mmh_format_options {
    mmh_dtype raw_dtype; /* MMH_DTYPE_OPAQUE: none; else files of no known format are
                                   little-endian arrays of it */
    uint32_t raw_dimensions;
    const uint64_t *raw_shape; /* NULL: one dimension, all that fits */

    /*
     * Read a whole file of the same folder (a config.json, a .metadata): *data [*bytes] for
     * mmh_free with `allocator`. `name` is relative and safe (mmh_map_file_is_safe). Fails with
     * MMH_E_IO if there is none, MMH_E_LIMIT if it has more than bytes_max. NULL: nothing is beside.
     */
    mmh_status (*read_beside)(void *context, const char *name, size_t bytes_max, uint8_t **data,
                              size_t *bytes, const mmh_allocator *allocator, mmh_error *err);
    /* How large one is: MMH_E_IO if there is none. NULL as above. */
    mmh_status (*bytes_beside)(void *context, const char *name, uint64_t *bytes, mmh_error *err);
    void *beside_context;

    const struct mmh_layout *layout;   /* NULL: none; it is for this file (mmh_layout_is_for) */
    const struct mmh_plugins *plugins; /* NULL: none */
};

/*
 * Find out what a file is and map it: map is finished, map->format says which it was.
 *
 *   map      fresh from mmh_extent_map_init(map, arena, source->bytes)
 *   options  NULL: all zero
 *
 * Reads headers only (a 100 MB safetensors header at the most), and allocates in proportion to
 * what was read. Fails with what source->read fails with, MMH_E_MEMORY, and for a
 * layout that does not fit the file MMH_E_USAGE.
 */
mmh_status mmh_format_detect_and_map(struct mmh_extent_map *map, const mmh_source *source,
                                     const struct mmh_format_options *options, mmh_error *err);

/*
 * Map a file anew from what others tell of it: tensors [count]. Offsets and sizes are checked
 * against the file here; map as above, its format becomes MMH_FORMAT_DATA.
 */
mmh_status mmh_format_map_told(struct mmh_extent_map *map, const struct mmh_map_tensor *tensors,
                               size_t count, mmh_error *err);

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
                                const mmh_source *source, mmh_error *err);

/*
 * The files that a file tells of (a model's external data, the shards of a checkpoint): *files
 * [*count] in the arena, relative to its folder, sorted, each once, safe; none for most files. Fails
 * as mmh_format_detect_and_map does.
 */
mmh_status mmh_format_companions(const char *const **files, size_t *count, struct mmh_arena *arena,
                                 const mmh_source *source, mmh_error *err);

/* What is packed when the user names one path; all in the arena. */
struct mmh_unit {
    const char *root;              /* folder that the names are relative to; "" for the current */
    struct mmh_path_info *entries; /* path relative to root; sorted by it */
    size_t entry_count;
    const char **missing; /* files that it names and the folder lacks */
    size_t missing_count;
    const char *problem; /* why an index was taken alone; NULL: nothing */
};

/*
 * A file is a unit by itself (a symlink to it is followed); a shard index or a file that tells of
 * others (unless `alone`) brings those that are there; a folder brings all that is in it, symlinks as symlinks. Fails with
 * MMH_E_IO (nothing there), MMH_E_USAGE (neither file nor folder), MMH_E_LIMIT, MMH_E_MEMORY.
 */
mmh_status mmh_unit_list(struct mmh_unit *unit, struct mmh_arena *arena, const char *path,
                         bool alone, mmh_error *err);

#endif
