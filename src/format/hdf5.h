/*
 * Inside the HDF5 reader: what its files share. Nobody but format_hdf5.c and hdf5_*.c includes this.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * One stream is led from structure to structure. Every place that it is led to costs work, of which
 * there is about twice the file: structures that refer to one another in circles come to an end.
 * Source: "HDF5 File Format Specification", versions 0 to 3 of the superblock
 * (support.hdfgroup.org/documentation/hdf5/latest/_s_p_e_c.html).
 */
#ifndef MMH_HDF5_H
#define MMH_HDF5_H

#include "format/format_table.h"

enum { MMH_HDF5_DIMENSIONS_MAX = 32, MMH_HDF5_FILTERS_MAX = 32 };
#define MMH_HDF5_NOWHERE UINT64_MAX /* the address of what has no place in the file */

/* A name that an object goes by, in the arena. */
struct mmh_hdf5_link {
    struct mmh_hdf5_link *next;
    const char *path; /* without a slash before it */
    uint64_t address; /* of the object's header */
};

/* The reader of one file. */
struct mmh_hdf5 {
    struct mmh_extent_map *map;
    struct mmh_stream in;    /* the structure that is being read */
    struct mmh_stream names; /* names of a symbol table: beside it, so that neither reads twice */
    uint64_t base;           /* where addresses count from: the superblock's place */
    unsigned address_bytes, length_bytes; /* 2, 4 or 8 */
    uint64_t work_left;
    size_t arena_bytes_max; /* what is found may take no more than this */
    bool exhausted;         /* work or memory: what was found stays, nothing more is looked for */
    const char *problem;    /* of the object being read, as text that goes on from its name */
    uint64_t coded_count, coded_bytes; /* datasets (chunks' bytes) that only filters can read */
    uint64_t foreign_count;            /* datasets of types that are none of ours */
};

enum mmh_hdf5_layout {
    MMH_HDF5_COMPACT = 0,
    MMH_HDF5_CONTIGUOUS = 1,
    MMH_HDF5_CHUNKED = 2,
    MMH_HDF5_VIRTUAL = 3
};

enum mmh_hdf5_index {
    MMH_HDF5_BTREE_1 = 0, /* layouts before version 4 */
    MMH_HDF5_SINGLE = 1,
    MMH_HDF5_IMPLICIT = 2,
    MMH_HDF5_FIXED_ARRAY = 3,
    MMH_HDF5_EXTENSIBLE_ARRAY = 4,
    MMH_HDF5_BTREE_2 = 5
};

struct mmh_hdf5_type {
    mmh_dtype dtype; /* OPAQUE: none of ours */
    bool big_endian;
    uint32_t bytes; /* of one element */
};

/* What an object's header says: a dataset, a group, or a committed type. */
struct mmh_hdf5_object {
    const char *path;
    bool has_space, has_type, has_layout, is_group;

    bool is_null; /* of no elements and no shape */
    uint32_t dimensions;
    uint64_t shape[MMH_HDF5_DIMENSIONS_MAX];
    uint64_t shape_max[MMH_HDF5_DIMENSIONS_MAX]; /* UINT64_MAX: unlimited */

    struct mmh_hdf5_type type;
    uint64_t type_address; /* of the object that has the type; NOWHERE: it is here */

    unsigned layout; /* enum mmh_hdf5_layout */
    bool is_external;
    uint64_t data_address; /* of the bytes or of the index; of compact data, as a source offset */
    uint64_t data_bytes;
    unsigned index;   /* enum mmh_hdf5_index */
    bool whole_edges; /* chunks over the edge are not filtered */
    uint32_t chunk_dimensions;
    uint64_t chunk[MMH_HDF5_DIMENSIONS_MAX];
    uint64_t single_bytes; /* of a filtered single chunk; 0: not filtered */
    uint32_t single_mask;

    unsigned filter_count;
    uint16_t filters[MMH_HDF5_FILTERS_MAX];
    uint32_t shuffle_bytes;

    uint64_t symbol_tree, symbol_heap; /* NOWHERE: none */
    uint64_t link_heap, link_tree;     /* NOWHERE: none */
    struct mmh_hdf5_link *links;       /* last first */
};

/* ---- hdf5_read.c: places and numbers ---- */

/* Whether the object can be read on. */
bool mmh_hdf5_good(const struct mmh_hdf5 *h5);
/* Notes what is wrong with the object; false, for a return. */
bool mmh_hdf5_fail(struct mmh_hdf5 *h5, const char *problem);
/* Lead the stream to an address that `bytes` bytes of structure begin at. */
bool mmh_hdf5_go(struct mmh_hdf5 *h5, uint64_t address, uint64_t bytes);
/* The same, over four letters and a version of its own (-1: none follows). */
bool mmh_hdf5_go_signed(struct mmh_hdf5 *h5, uint64_t address, const char *letters, int version);
/* Lead it elsewhere within a structure, to an offset of the source. */
bool mmh_hdf5_seek(struct mmh_hdf5 *h5, uint64_t offset, uint64_t bytes);
uint64_t mmh_hdf5_number(struct mmh_hdf5 *h5, unsigned bytes); /* up to 8 bytes */
uint64_t mmh_hdf5_address(struct mmh_hdf5 *h5);
uint64_t mmh_hdf5_length(struct mmh_hdf5 *h5);
/* Whether there is memory for what is found. */
bool mmh_hdf5_has_room(struct mmh_hdf5 *h5);

/* ---- hdf5_object.c, hdf5_type.c: headers ---- */

/* Read the object header at an address; h5->problem says what is wrong with it. */
void mmh_hdf5_object_read(struct mmh_hdf5 *h5, struct mmh_hdf5_object *object, const char *path,
                          uint64_t address);
void mmh_hdf5_type_read(struct mmh_hdf5 *h5, struct mmh_hdf5_type *type);

/* ---- hdf5_group.c: links ---- */

/* The link message that the stream stands at. */
void mmh_hdf5_link_read(struct mmh_hdf5 *h5, struct mmh_hdf5_object *group);
/* Links that lie outside of the header join group->links. */
void mmh_hdf5_group_read(struct mmh_hdf5 *h5, struct mmh_hdf5_object *group);

/* ---- hdf5_attribute.c ---- */

/* The attribute message that the stream stands at becomes metadata, if it is a short string. */
void mmh_hdf5_attribute_read(struct mmh_hdf5 *h5);

/* ---- hdf5_tree.c: B-trees ---- */

/* Called with the stream at an entry of a leaf (key and child) or at a record. False: stop. */
typedef bool mmh_hdf5_visit(struct mmh_hdf5 *h5, void *context, unsigned entry_bytes);

bool mmh_hdf5_tree_walk(struct mmh_hdf5 *h5, uint64_t address, unsigned type, unsigned key_bytes,
                        mmh_hdf5_visit *visit, void *context);
/* `types`: bits of the record types that are welcome. */
bool mmh_hdf5_tree2_walk(struct mmh_hdf5 *h5, uint64_t address, unsigned types,
                         mmh_hdf5_visit *visit, void *context);

/* ---- hdf5_chunk.c: chunk indexes ---- */

struct mmh_hdf5_chunk {
    uint64_t begin[MMH_HDF5_DIMENSIONS_MAX]; /* in elements of the dataset */
    uint64_t address, bytes;                 /* as stored */
    uint32_t mask;                           /* of the filters that were left out */
};

typedef bool mmh_hdf5_chunk_visit(struct mmh_hdf5 *h5, void *context,
                                  const struct mmh_hdf5_chunk *chunk);

/* Every chunk that has a place and lies within the dataset, each index in its own order.
 * chunk_bytes: of one without filters. False: h5->problem, or stopped. */
bool mmh_hdf5_chunks_walk(struct mmh_hdf5 *h5, const struct mmh_hdf5_object *dataset,
                          uint64_t chunk_bytes, mmh_hdf5_chunk_visit *visit, void *context);

/* ---- hdf5_dataset.c: tensors ---- */

mmh_status mmh_hdf5_dataset_map(struct mmh_hdf5 *h5, const struct mmh_hdf5_object *dataset,
                                mmh_error *err);

#endif
