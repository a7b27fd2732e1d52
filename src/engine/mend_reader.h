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

/*
 * Open a container that cannot be opened as it is, by what parity gives back of its header, index and tail.
 *
 *   opened  out: it is open; else nothing of it is, and what was wrong with it stays wrong
 *
 * Fails with MMH_E_MEMORY, or as mmh_guards_open does of what was mended.
 */
mmh_status mmh_guards_open_mended(mmh_reader *reader, struct mmh_opening *opening, bool *opened,
                                  mmh_error *err);

/* For mmh_close. */
void mmh_reader_mend_release(mmh_reader *reader);

#endif
