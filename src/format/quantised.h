/*
 * Quantised weights that a file keeps packed in wider integers.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_QUANTISED_H
#define MMH_QUANTISED_H

#include "format/format_table.h"

/*
 * Look for integers of several bytes that hold packed weights of a few bits (GPTQ's and AWQ's qweight,
 * compressed-tensors' weight_packed, ...), and have codecs see the bytes of their extents: nothing else
 * of the map changes. They are known by their names, and by scales beside them or by what config.json
 * says. The map is finished. Fails with MMH_E_MEMORY only.
 */
mmh_status mmh_quantised_look(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                              mmh_error *err);

#endif
