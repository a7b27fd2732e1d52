/*
 * What a report is made of: the model as a tree of names, and what was counted in it.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * For cmd_report*.c alone. However many tensors a model has, the report shows a bounded number of
 * nodes: what is small is put together, and that is said.
 */
#ifndef MMH_REPORT_H
#define MMH_REPORT_H

#include "cli/cli.h"
#include "cli/damage_list.h"
#include "cli/layer_list.h"

enum {
    MMH_REPORT_NODES_MAX = 3000,   /* that are shown, groups too */
    MMH_REPORT_CHILDREN_MAX = 400, /* of one group; the smaller ones become one */
    MMH_REPORT_FILES_MAX = 200,    /* files without tensors that are named */
    MMH_REPORT_NAME_BYTES = 160,   /* of each name */
    MMH_REPORT_BINS_MAX = 400000,  /* of all nodes; what is beyond has no histogram */
    MMH_REPORT_BITS_MAX = 64
};
#define MMH_REPORT_NONE ((size_t)-1)

/* ---- the tree ---- */

enum mmh_report_kind {
    MMH_REPORT_GROUP,    /* of tensors: what their names have in common */
    MMH_REPORT_TENSOR,   /* one tensor */
    MMH_REPORT_TOGETHER, /* tensors of a group that are too small, or too many, to be shown */
    MMH_REPORT_REST,     /* what belongs to no tensor */
    MMH_REPORT_FILE,     /* of that, a file without tensors */
    MMH_REPORT_KIND_COUNT
};

/* What is kept of every tensor. The name lives as long as the reader. */
struct mmh_report_tensor {
    const char *name;
    uint64_t number; /* in its reader */
    uint64_t file, offset, bytes, stored_bytes;
    uint32_t node; /* the one without children that shows it */
    uint8_t dtype;
    bool big_endian, strided;
};

/* How two models differ in some tensors. */
enum mmh_report_change_kind {
    MMH_REPORT_SAME,
    MMH_REPORT_VALUES,
    MMH_REPORT_TYPE,
    MMH_REPORT_SHAPE,
    MMH_REPORT_LAYOUT,
    MMH_REPORT_ONLY_FIRST,
    MMH_REPORT_UNREAD, /* damaged */
    MMH_REPORT_CHANGE_COUNT
};

struct mmh_report_change {
    uint64_t tensors[MMH_REPORT_CHANGE_COUNT];
    uint64_t elements, differing, unmeasured; /* of those that could be compared */
    double max_absolute;
    double difference_square, first_square; /* of the norms */
};

/* What was counted of the values of one element type in a node. */
struct mmh_report_statistics {
    struct mmh_report_statistics *next; /* of another type */
    mmh_dtype dtype;
    uint64_t tensors;
    uint64_t values, counted;           /* that there are, that were looked at */
    uint64_t unread_bytes;              /* damaged ones */
    uint64_t ones[MMH_REPORT_BITS_MAX]; /* how often each bit was set, the lowest first */
    uint64_t lowest; /* of floats: how often the lowest exponent did, that of zero */
    uint64_t *bins;  /* [bin_count] how often each other symbol did, from first_bin on */
    unsigned first_bin, bin_count;
};

struct mmh_report_node {
    enum mmh_report_kind kind;
    size_t parent; /* MMH_REPORT_NONE: the root */
    char *name;    /* what it adds to its parent's */
    uint64_t tensor_count, bytes, stored_bytes;
    size_t first, end;  /* its tensors, of a group or a tensor */
    size_t name_offset; /* where their names go on */
    bool is_open;       /* it has children */
    struct mmh_report_statistics *statistics;
    struct mmh_report_change change;
};

struct mmh_report_tree {
    struct mmh_report_tensor *tensors; /* [tensor_count] by name, in the order that people count */
    size_t tensor_count;
    size_t *by_place;              /* [tensor_count] the same by file and offset */
    struct mmh_report_node *nodes; /* [node_count] parents before their children */
    size_t node_count;
    bool by_file; /* names occur in several files: those are a level of their own */
};

/* Put the model's tensors, and what is in no tensor, into a tree. Names of nodes are the tree's own. */
mmh_status mmh_report_tree_make(struct mmh_report_tree *tree, mmh_reader *reader,
                                const mmh_container_info *info, const char *title, mmh_error *err);
void mmh_report_tree_release(struct mmh_report_tree *tree);

/* ---- values ---- */

/* How the bits of an element type are used. */
struct mmh_report_type {
    unsigned bits;   /* of a value, or of a byte of a block */
    unsigned values; /* in an element */
    bool in_blocks, has_sign;
    unsigned exponent_bits, mantissa_bits; /* 0 and 0: no float */
    int bias;
};

struct mmh_report_type mmh_report_type_of(mmh_dtype dtype);

/* Symbols of a type that have bins: 1 << this. 0: it has none. */
unsigned mmh_report_symbol_bits(const struct mmh_report_type *type);

struct mmh_report_sums {
    uint64_t values, counted, unread_bytes;
};

/* Count bits and symbols. Damaged pieces are left out, and counted. */
mmh_status mmh_report_count(struct mmh_report_tree *tree, mmh_reader *reader, bool every_value,
                            struct mmh_report_sums *sums, mmh_error *err);

/* Bytes that these values come to if exponents and small integers were coded by their own frequencies
 * and everything else as it is. */
uint64_t mmh_report_floor(const struct mmh_report_statistics *statistics);

/* ---- two models ---- */

struct mmh_report_changes {
    uint64_t only_second;
    char **names; /* [name_count] of these, the first ones */
    size_t name_count;
};

mmh_status mmh_report_compare(struct mmh_report_changes *changes, struct mmh_report_tree *tree,
                              mmh_reader *first, mmh_reader *second, mmh_error *err);
void mmh_report_changes_release(struct mmh_report_changes *changes);

/* ---- the report ---- */

struct mmh_report {
    const char *input, *second; /* as they were typed; second NULL: there is none */
    int exit_code;
    mmh_error problem; /* what is wrong with a container that has its report all the same */
    bool is_container, quick, every_value;
    uint64_t file_bytes; /* of the container */

    /* Of a container. */
    mmh_unpack_report verified;
    struct mmh_layer_list layers;
    struct mmh_damage_list damage;
    mmh_security *security; /* NULL: it could not be read */

    mmh_reader *reader; /* NULL: nothing is known of its content */
    mmh_container_info info;
    struct mmh_report_tree tree;
    struct mmh_report_sums sums;
    mmh_reader *other;
    struct mmh_report_changes changes;
};

/* At most MMH_REPORT_NAME_BYTES of a name, its middle left out; to be freed. */
char *mmh_report_name(const char *name, size_t bytes);

/* All of it as one JSON object, on one line. False: it could not be written. */
bool mmh_report_write_json(const struct mmh_report *report, FILE *file);

/* The page, with that JSON in it. */
bool mmh_report_write_page(const struct mmh_report *report, FILE *file);

/* The page without its data (src/cli/report/): what is put in its place is written there. */
extern const char mmh_report_page[];
extern const size_t mmh_report_page_bytes;

#endif
