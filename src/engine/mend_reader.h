/*
 * Mending in memory: what open containers have of parity.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_MEND_READER_H
#define MMH_MEND_READER_H

#include "engine/engine.h"

/*
 * Mend a chunk whose stored bytes are damaged, or cannot be read. Safe for several workers at once. Parity is
 * opened by the first that asks.
 *
 *   dst     [stored bytes of the chunk]
 *   mended  out: it has its hash now
 *
 * Fails with MMH_E_MEMORY. A chunk that parity does not give back is no failure.
 */
mmh_status mmh_reader_mend(mmh_reader *reader, uint64_t chunk, uint8_t *dst, bool *mended,
                           mmh_error *err);

/* For mmh_close. */
void mmh_reader_mend_release(mmh_reader *reader);

#endif
