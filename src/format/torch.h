/*
 * What every PyTorch format has in common: storages that hold bytes, a pickle that says which
 * tensors look at them, and the way from both to an extent map.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 *     mmh_torch_init(&torch, map, source, &scratch);
 *     torch.storages = ..., torch.storage_count = ...;  mmh_torch_index(&torch, err);
 *     mmh_torch_walk(&torch, root, name, err);          each pickle
 *     mmh_torch_finish(&torch, err);                    adds storages, views, tensors
 */
#ifndef MMH_TORCH_H
#define MMH_TORCH_H

#include "format/pickle.h"

struct mmh_torch_storage {
    const char *key;
    uint64_t offset, bytes; /* in the source */
    mmh_dtype dtype;        /* as the pickle has it; OPAQUE: not known, or bytes alone */
    bool part; /* its bytes are told of elsewhere: a part of another storage, an archive */
    /* private */
    struct mmh_torch_storage *next;        /* of those that lie within a pickle */
    struct mmh_torch_claim *cover;         /* the first tensor that is just this, row by row */
    struct mmh_torch_claim *column_cover;  /* likewise column by column */
    struct mmh_torch_claim *ordered_cover; /* or dimensions in another order */
    struct mmh_torch_claim *largest;
};

/* A tensor that the pickle names by its key alone (before 0.2). */
struct mmh_torch_named {
    const char *key;
    struct mmh_torch_storage *storage;
    uint64_t offset; /* in elements */
    uint32_t dimensions;
    uint64_t *shape, *strides;
};

struct mmh_torch {
    struct mmh_extent_map *map;
    const mmh_source *source;
    struct mmh_arena *scratch; /* for what is not needed after mmh_torch_finish */
    struct mmh_torch_storage *storages;
    size_t storage_count;
    struct mmh_torch_named *named; /* sorted by key (strcmp) */
    size_t named_count;
    bool big_endian;
    /* private */
    struct mmh_torch_storage **by_key;
    size_t indexed_count;
    struct mmh_torch_storage *within; /* a pickle's bytes */
    struct mmh_torch_claim *first, *last;
    uint64_t spent_bytes;
};

void mmh_torch_init(struct mmh_torch *torch, struct mmh_extent_map *map, const mmh_source *source,
                    struct mmh_arena *scratch);

/* Make storages findable: to be called once they are all there. Fails with MMH_E_MEMORY. */
mmh_status mmh_torch_index(struct mmh_torch *torch, mmh_error *err);

/* NULL: there is none. */
struct mmh_torch_storage *mmh_torch_find(const struct mmh_torch *torch, const char *key);

/* The element type of a storage class ("torch FloatStorage"), its name after the space; OPAQUE: no
 * storage class, or an untyped one. */
mmh_dtype mmh_torch_storage_dtype(const struct mmh_pickle_value *value);

/*
 * Find the tensors of a value. `name` is what a tensor is called that is the value itself, NULL for
 * the file's own name; those within are called by their path, after "name." if there is a name.
 * Numpy arrays whose bytes lie in the pickle are added to the map. Fails with MMH_E_MEMORY.
 */
mmh_status mmh_torch_walk(struct mmh_torch *torch, const struct mmh_pickle *pickle,
                          const char *name, mmh_error *err);

/* Add one tensor that something else than a pickle tells of; `first` is its first element. */
struct mmh_torch_layout {
    mmh_dtype dtype;
    uint64_t first; /* element */
    uint32_t dimensions;
    uint64_t shape[MMH_MAP_DIMENSIONS_MAX], strides[MMH_MAP_DIMENSIONS_MAX];
};
mmh_status mmh_torch_tell(struct mmh_torch *torch, const char *name,
                          struct mmh_torch_storage *storage, const struct mmh_torch_layout *layout,
                          mmh_error *err);

/* Add all to the map. Fails with MMH_E_MEMORY. */
mmh_status mmh_torch_finish(struct mmh_torch *torch, mmh_error *err);

/* Map the archive that a torch.save of the zip kind is, or torch.jit.save or torch.export.save,
 * `name` as above. Fails as mmh_format.map does. */
mmh_status mmh_torch_map_zip(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                             const char *name, mmh_error *err);

/*
 * The one storage that bytes [offset, offset + bytes) of the source hold, as torch.save wrote it
 * before 1.6: pickled storages are such. Fails with MMH_E_CORRUPT if they are not that.
 */
mmh_status mmh_torch_read_bytes(struct mmh_torch_storage *storage, struct mmh_torch *torch,
                                uint64_t offset, uint64_t bytes, mmh_error *err);

struct mmh_zip;
struct mmh_zip_entry;

/* Entries whose names begin with `folder` become the storages, by the rest of their names. */
mmh_status mmh_torch_take_entries(struct mmh_torch *torch, const struct mmh_zip *zip,
                                  const char *folder, mmh_error *err);

/* The entry of the name top + name; NULL: there is none. */
const struct mmh_zip_entry *mmh_torch_entry(const struct mmh_zip *zip, const char *top,
                                            const char *name);

/* Map weights and constants of a torch.export archive, whose entries begin with `top` ("name/"). */
mmh_status mmh_torch_map_export(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                                const struct mmh_zip *zip, const char *top, bool big_endian,
                                mmh_error *err);

/* Map a file by what `find` makes of it: with a scratch arena of its own, which goes at the end. */
mmh_status mmh_torch_map_file(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                              mmh_status (*find)(struct mmh_torch *torch, mmh_error *err),
                              mmh_error *err);

#endif
