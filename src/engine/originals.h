/*
 * Reading original files for a reader that mmh_open_original made.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_ORIGINALS_H
#define MMH_ORIGINALS_H

#include "engine/plan.h"

/* Open one of the files, by any thread; MMH_E_IO if it is not as it was. */
mmh_status mmh_originals_open(mmh_input **input, const mmh_reader *reader, uint64_t file,
                              mmh_error *err);

bool mmh_originals_are_sources(const mmh_reader *reader);

/* The map of a file, which has the remarks about it. */
const struct mmh_extent_map *mmh_originals_map(const mmh_reader *reader, uint64_t file);

#endif
