/*
 * Selections: "layers.3.w[0:16, :]" as a tensor and a part of it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_SELECTION_H
#define MMH_SELECTION_H

#include "mmh.h"

enum { MMH_SELECTION_DIMENSIONS_MAX = 64 };

/* A box in a tensor, as mmh_load_slice takes it. */
struct mmh_selection {
    uint32_t dimensions;
    uint64_t begin[MMH_SELECTION_DIMENSIONS_MAX], end[MMH_SELECTION_DIMENSIONS_MAX];
    bool dropped[MMH_SELECTION_DIMENSIONS_MAX]; /* by an index: not in the result's shape */
    bool whole;                                 /* all of the tensor */
};

/* All of a tensor. False: it has too many dimensions (no reader gives such). */
bool mmh_selection_all(struct mmh_selection *selection, const mmh_tensor_info *tensor);

/*
 * What stands in the brackets, "0:16, :" for w[0:16, :], as numpy reads it: "2" takes one and
 * drops the dimension, "2:5", ":5", "2:", ":" ranges (cut to the tensor), negative numbers count
 * from the end, "..." stands for all dimensions not named, and what is left out at the end is
 * whole. Steps are not supported. False: `problem` [room] says why.
 */
bool mmh_selection_parse(struct mmh_selection *selection, const char *text, size_t bytes,
                         const mmh_tensor_info *tensor, char *problem, size_t room);

/* Elements in a selection; the shape that is left: at most `dimensions` numbers. */
uint64_t mmh_selection_count(const struct mmh_selection *selection);
uint32_t mmh_selection_shape(uint64_t *shape, const struct mmh_selection *selection);

/*
 * Where an argument's brackets begin: the offset of the "[" that matches a "]" at its very end, or
 * its length if there is none (names may have brackets themselves: the whole is tried first).
 */
size_t mmh_selection_split(const char *argument);

#endif
