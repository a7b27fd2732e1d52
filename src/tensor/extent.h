/*
 * The extent map of one file: which bytes are which tensor, every byte in exactly one extent.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A format module adds tensors in any order; mmh_extent_map_finish sorts them, puts aside those
 * that cannot be, and fills what is left with opaque extents. What is put aside is never an
 * error, as the bytes are packed all the same: it leaves a remark. ADR 0001 says why.
 *
 *     mmh_extent_map_init(&map, &arena, file_bytes);
 *     mmh_extent_map_add(&map, &tensor, err);            each tensor
 *     mmh_extent_map_finish(&map, err);
 *     map.extents[0 .. extent_count)                     in file order, end to end
 */
#ifndef MMH_EXTENT_H
#define MMH_EXTENT_H

#include "base/arena.h"
#include "tensor/dtype.h"

enum {
    MMH_MAP_DIMENSIONS_MAX = 64,
    MMH_MAP_TENSORS_MAX = 10 * 1000 * 1000, /* in one file; those beyond are opaque bytes */
    MMH_MAP_REMARKS_MAX = 16,               /* kept; further ones are only counted */
    MMH_HINT_DIMENSIONS = 8
};

enum mmh_map_role {
    MMH_MAP_TENSOR = 0, /* a tensor with bytes of its own, or tied to one that has the same */
    MMH_MAP_VIEW,       /* a tensor within bytes that something else owns: listed, and no more */
    MMH_MAP_STORAGE     /* bytes that views look at: coded as what it says, and not listed */
};

/* A tensor as its file names it. */
struct mmh_map_tensor {
    const char *name; /* UTF-8 or what the file has instead */
    mmh_dtype dtype;
    bool big_endian;
    bool column_major;       /* the first dimension varies fastest, not the last */
    uint8_t role;            /* enum mmh_map_role */
    mmh_dtype coded;         /* scalar that codecs shall see instead of the dtype's own (packed
                                nibbles in I32: U8); OPAQUE: none */
    uint32_t dimensions;     /* 0: a scalar */
    const uint64_t *shape;   /* [dimensions], as the file names it */
    const uint64_t *strides; /* [dimensions] in elements of whole bytes; NULL: one after another */
    uint64_t offset, bytes;  /* in the file; bytes is mmh_shape_bytes of the shape, maybe 0; with
                                strides what lies from the first to the last element */
};

/* A run of bytes. Opaque ones have no name and no shape. */
struct mmh_extent {
    uint64_t offset, bytes; /* bytes > 0 */
    const char *name;       /* of the first tensor or storage; NULL: opaque */
    mmh_dtype dtype;
    mmh_dtype coded; /* the scalar that codecs see */
    bool big_endian;
    bool column_major;
    uint32_t dimensions;
    const uint64_t *shape;
    size_t owner_count; /* tensors and storages that have exactly these bytes (several: tied) */
};

/* A tensor whose bytes lie in another file of the same unit. */
struct mmh_map_elsewhere {
    const char
        *file; /* relative to the folder of the file that tells it; safe, '/' between parts */
    struct mmh_map_tensor tensor;
};

struct mmh_map_metadata {
    const char *key, *value;
};

/* All pointers are to the arena's memory and go with it; there is nothing else to release. */
struct mmh_extent_map {
    struct mmh_arena *arena;
    uint64_t file_bytes;
    uint8_t format; /* enum mmh_format_id (format/format.h) */

    /* from mmh_extent_map_finish on */
    const struct mmh_extent *extents;
    size_t extent_count;                  /* 0 only for an empty file */
    const struct mmh_map_tensor *tensors; /* by offset, those without bytes first */
    size_t tensor_count;
    const struct mmh_map_metadata *metadata; /* in file order */
    size_t metadata_count;
    const struct mmh_map_elsewhere *elsewhere; /* in the order of adding */
    size_t elsewhere_count;

    const char *remarks[MMH_MAP_REMARKS_MAX]; /* for -v: what was odd about the file */
    uint64_t remark_count;                    /* all of them: may be more than are kept */

    /* private */
    struct mmh_map_node *nodes;
    struct mmh_map_entry *entries;
    struct mmh_map_distant *distant;
    size_t node_count, entry_count, distant_count;
    uint64_t window_offset; /* of the part that is being mapped: 0 outside of one */
    const char *prefix;     /* of its tensors' names; NULL: none */
};

/* What a map was like: to go back to. */
struct mmh_map_mark {
    struct mmh_map_node *nodes;
    struct mmh_map_entry *entries;
    struct mmh_map_distant *distant;
    size_t node_count, entry_count, distant_count;
    uint64_t file_bytes, window_offset;
    const char *prefix;
};

/* Keeps arena, for all that the map holds. The file has file_bytes bytes. */
void mmh_extent_map_init(struct mmh_extent_map *map, struct mmh_arena *arena, uint64_t file_bytes);

/*
 * Add a tensor. The struct is copied, its name and shape are not: they must live as long as the
 * arena. One that cannot be (no dtype, more than 64 dimensions, shape and bytes disagree, outside
 * the file) is left out with a remark. Fails with MMH_E_MEMORY only.
 */
mmh_status mmh_extent_map_add(struct mmh_extent_map *map, const struct mmh_map_tensor *tensor,
                              mmh_error *err);

/*
 * Add a tensor of another file, named relative to the folder of this one; strings and shape as
 * above. One whose file name is not safe is left out with a remark; whether the file has such bytes is
 * looked at later.
 */
mmh_status mmh_extent_map_add_elsewhere(struct mmh_extent_map *map, const char *file,
                                        const struct mmh_map_tensor *tensor, mmh_error *err);

/* Relative, its parts divided by '/', none empty, "." or ".." or of more than 255 bytes; no backslash
 * or colon, which mean something else on Windows, no control character. */
bool mmh_map_file_is_safe(const char *name);

/* Add an entry of the file's own metadata; the strings must live as long as the arena. */
mmh_status mmh_extent_map_add_metadata(struct mmh_extent_map *map, const char *key,
                                       const char *value, mmh_error *err);

/* As printf: note something odd. Never fails: without memory the remark is only counted. */
void mmh_extent_map_remark(struct mmh_extent_map *map, const char *format, ...) MMH_PRINTF(2, 3);

/* The remark that tensor `name` was left out; `problem` goes on from its name: "is no object". */
void mmh_extent_map_remark_tensor(struct mmh_extent_map *map, const char *name,
                                  const char *problem);

/* Forget the tensors and metadata since `mark`, keep the remarks: the file turned out to be
 * something else. */
void mmh_extent_map_discard(struct mmh_extent_map *map, const struct mmh_map_mark *mark);
struct mmh_map_mark mmh_extent_map_mark(const struct mmh_extent_map *map);

/*
 * From here on what is added lies in a part of the file (a member of an archive): its offsets count
 * from that part's first byte, map->file_bytes is the part's size, and names get a prefix (NULL:
 * none, beside those of parts around it). Until mmh_extent_map_leave, with what enter gave. The
 * part must lie within map->file_bytes; the prefix must live as long as the arena.
 */
MMH_MUST_CHECK mmh_status mmh_extent_map_enter(struct mmh_map_mark *outside,
                                               struct mmh_extent_map *map, uint64_t offset,
                                               uint64_t bytes, const char *prefix, mmh_error *err);
void mmh_extent_map_leave(struct mmh_extent_map *map, const struct mmh_map_mark *outside);

/*
 * Make the map. Of tensors that overlap the one that starts first stays (at one offset the
 * longest, then the one added first), the others are left out with a remark; tensors with exactly
 * the same bytes share an extent. Nothing is added afterwards. Fails with MMH_E_MEMORY only.
 */
mmh_status mmh_extent_map_finish(struct mmh_extent_map *map, mmh_error *err);

/* Have codecs see the bytes of an extent of a finished map, and not what its type says. Opaque ones
 * stay opaque. */
void mmh_extent_map_see_bytes(struct mmh_extent_map *map, size_t extent);

/* Bytes of a tensor, sub-byte types rounded up to whole bytes. False if dtype is none, if elements
 * of a block type are no whole blocks, or if that does not fit in 64 bits; shape [dimensions] may be
 * NULL for a scalar. */
MMH_MUST_CHECK bool mmh_shape_bytes(uint64_t *bytes, mmh_dtype dtype, uint32_t dimensions,
                                    const uint64_t *shape);

/* Bytes from the first to the last element of a tensor with strides (0 if it has none): false as
 * above, and for types that have no whole bytes. */
MMH_MUST_CHECK bool mmh_strides_bytes(uint64_t *bytes, mmh_dtype dtype, uint32_t dimensions,
                                      const uint64_t *shape, const uint64_t *strides);

/*
 * What codecs want to know of a typed extent: its shape in memory order, slowest first, counted
 * in scalars (extent->coded: a complex number is two, two F4 are one). Leading dimensions
 * beyond MMH_HINT_DIMENSIONS are multiplied together, so that rows stay rows. Returns how many
 * dimensions; 0: flat, or opaque, or rows end inside a byte.
 */
uint32_t mmh_extent_hint(uint64_t shape[MMH_HINT_DIMENSIONS], const struct mmh_extent *extent);

#endif
