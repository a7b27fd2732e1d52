/*
 * Destinations of a load: their memory, which is mostly new, in huge pages where that is quicker.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Large new memory costs more to page in than to decode into. Huge pages are asked for just ahead of the threads that
 * decode, so that it is seen in time when they stop being the quicker ones (base/memory.h).
 */
#ifndef MMH_ENGINE_DESTINATIONS_H
#define MMH_ENGINE_DESTINATIONS_H

#include "base/memory.h"
#include "engine/engine.h"

/* Where the threads are in pieces [piece_count], which they fill in their order. */
struct mmh_destinations {
    const struct mmh_wanted *pieces;
    size_t piece_count, next_piece;
    uint64_t ahead_bytes;
    uint8_t *at,
        *end; /* of the piece, or the pieces that are neighbours in memory: what is still to be asked for */
    uint64_t passed;            /* bytes of pieces before `at` */
    atomic_uint_fast64_t taken; /* bytes that threads have or had to fill */
    atomic_flag busy;
    struct mmh_huge_pace pace;
};

void mmh_destinations_begin(struct mmh_destinations *destinations, const struct mmh_wanted *pieces,
                            size_t piece_count, unsigned threads);

/* A thread is about to fill the next `bytes`: see to what comes after them. Any thread. */
void mmh_destinations_take(struct mmh_destinations *destinations, uint64_t bytes);

#endif
