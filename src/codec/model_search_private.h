/*
 * What the two halves of the model search share: bins in, tables out.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_MODEL_SEARCH_PRIVATE_H
#define MMH_MODEL_SEARCH_PRIVATE_H

#include "codec/codec_private.h"

typedef uint32_t mmh_bin_counts[256];

/*
 * Merge the bins into at most search->tables_max tables: into the draft's frequency, bounds and
 * table_count.
 *
 *   counts   [64] histograms of `counted` elements, a sample perhaps; changed
 *   costs    [64 * 64] scratch
 * Returns the cost of all the block's symbols in bits, tables included.
 */
uint64_t mmh_model_tables(struct mmh_model_draft *draft, mmh_bin_counts *counts, uint64_t *costs,
                          const struct mmh_search *search, uint64_t counted);

/* The same cost alone, by counts that were multiplied by `weight`, the elements that each counted
 * one stands for: what is cheap in a sample alone does not count. */
uint64_t mmh_model_tables_bits(mmh_bin_counts *counts, unsigned bins, unsigned tables_max,
                               uint32_t weight);

#endif
