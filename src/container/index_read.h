/*
 * The index of a container, as it stands in its pages.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_INDEX_READ_H
#define MMH_INDEX_READ_H

#include "container/container.h"

/*
 * Read an index into reader->index (docs/format.md section 5).
 *
 *   reader         whose suites and arena are known; of one that is locked the public part alone is read
 *   data           [decoded_bytes] the pages, checked and decoded; [public_bytes] if it is locked
 *   public_bytes   of an encrypted container: where the private part begins
 *   data_end       of the container: no chunk reaches beyond
 *
 * reader->rest points into data. MMH_E_CORRUPT, MMH_E_UNSUPPORTED, MMH_E_LIMIT, MMH_E_MEMORY.
 */
mmh_status mmh_index_parse(mmh_container_reader *reader, const uint8_t *data, size_t public_bytes,
                           size_t decoded_bytes, uint64_t data_end, mmh_error *err);

#endif
