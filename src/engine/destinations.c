/*
 * Destinations of a load: huge pages, asked for just ahead of the threads that fill them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine/destinations.h"

#include "base/bits.h"

enum {
    STEP_BYTES = 8 * MMH_HUGE_ALIGNMENT, /* asked for at once */
    AHEAD_BYTES = 16 << 20,
    AHEAD_THREAD_BYTES = 4 << 20,
    NEIGHBOUR_BYTES = 4096, /* between destinations of one allocation, at the most */
};

void mmh_destinations_begin(struct mmh_destinations *destinations, const struct mmh_wanted *pieces,
                            size_t piece_count, unsigned threads)
{
    *destinations = (struct mmh_destinations){
        .pieces = pieces,
        .piece_count = piece_count,
        .ahead_bytes = AHEAD_BYTES + (uint64_t)threads * AHEAD_THREAD_BYTES,
        .busy = ATOMIC_FLAG_INIT,
    };
}

/* The next pieces that lie one after another in memory, as small tensors of one file often do. */
static bool next_extent(struct mmh_destinations *destinations)
{
    const struct mmh_wanted *pieces = destinations->pieces;
    size_t p = destinations->next_piece;
    if (p == destinations->piece_count)
        return false;
    destinations->at = destinations->end = pieces[p].destination;
    for (; p < destinations->piece_count; p++) {
        uintptr_t gap = (uintptr_t)pieces[p].destination - (uintptr_t)destinations->end;
        if (gap >= NEIGHBOUR_BYTES) /* before it, too: then it wraps around */
            break;
        destinations->end = pieces[p].destination + (pieces[p].end - pieces[p].begin);
    }
    destinations->next_piece = p;
    return true;
}

/* Pass over some memory, or ask for huge pages there. */
static void step(struct mmh_destinations *destinations, bool filled)
{
    uint8_t *at = destinations->at;
    size_t left = (size_t)(destinations->end - at);
    size_t begin = (size_t)(-(uintptr_t)at & (MMH_HUGE_ALIGNMENT - 1));
    size_t bytes = MMH_MIN(left, (size_t)STEP_BYTES);
    if (begin)
        bytes = MMH_MIN(left, begin);
    else if (left >= MMH_HUGE_ALIGNMENT) {
        bytes &= ~(size_t)(MMH_HUGE_ALIGNMENT - 1);
        if (!filled)
            mmh_huge_try(&destinations->pace, at, bytes);
    }
    destinations->at = at + bytes;
    destinations->passed += bytes;
}

void mmh_destinations_take(struct mmh_destinations *destinations, uint64_t bytes)
{
    uint64_t taken = atomic_fetch_add_explicit(&destinations->taken, bytes, memory_order_relaxed) +
                     bytes;
    if (atomic_flag_test_and_set_explicit(&destinations->busy, memory_order_acquire))
        return; /* somebody does: nobody waits for it */
    while (destinations->passed < taken + destinations->ahead_bytes) {
        if (destinations->at == destinations->end && !next_extent(destinations))
            break;
        step(destinations, destinations->passed + STEP_BYTES <= taken - MMH_MIN(taken, bytes));
    }
    atomic_flag_clear_explicit(&destinations->busy, memory_order_release);
}
