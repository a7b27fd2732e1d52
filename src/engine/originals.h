/*
 * Reading original files for a reader that mmh_open_original made.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_ORIGINALS_H
#define MMH_ORIGINALS_H

#include "engine/plan.h"

void mmh_originals_close(mmh_reader *reader); /* what is not in the arena; may have none */

/* Bytes of a file; one thread at a time. */
mmh_status mmh_originals_read(mmh_reader *reader, uint64_t file, uint64_t offset, void *dst,
                              size_t bytes, mmh_error *err);

/* The map of a file, which has the remarks about it. */
const struct mmh_extent_map *mmh_originals_map(const mmh_reader *reader, uint64_t file);

struct mmh_original_part {
    uint64_t file, offset;
    uint8_t *destination;
    size_t bytes;
};

/* Several parts of one file; by any number of threads. */
mmh_status mmh_originals_read_many(mmh_reader *reader, const struct mmh_original_part *parts,
                                   size_t count, mmh_error *err);

#endif
