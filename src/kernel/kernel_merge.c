/*
 * Runs of elements of any length from kernels that take whole groups; reading ahead.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernel/kernel_private.h"

#include <string.h>

struct mmh_merge mmh_merge_at(const struct mmh_merge *merge, size_t first)
{
    const struct mmh_split *split = merge->split;
    struct mmh_merge at = { .split = split, .stream = merge->stream };
    at.dst = merge->dst + first * split->element_bytes;
    for (unsigned p = 0; p < 4; p++)
        if (split->stored_bits & 8u >> p)
            at.planes.plane[p] = merge->planes.plane[p] + first * (8u >> p) / 8;
    for (unsigned p = 0; p < split->element_bytes / 2u - 1; p++)
        at.tails[p] = merge->tails[p] + 2 * first;
    if (split->pair_values && merge->tails[0])
        at.tails[0] = merge->tails[0] + first;
    return at;
}

void mmh_merge_symbols(mmh_merge_elements *elements, const struct mmh_merge *merge, size_t first,
                       const uint8_t *symbols, size_t count)
{
    const struct mmh_split *split = merge->split;
    const size_t whole = count & ~(size_t)(MMH_GROUP - 1);
    struct mmh_merge run = mmh_merge_at(merge, first);
    if (whole)
        elements(run.dst, symbols, &run.planes, run.tails, whole, split, run.stream);
    if (whole == count)
        return;
    uint8_t last_symbols[MMH_GROUP] = { 0 };
    uint8_t last[MMH_GROUP * 8];
    run = mmh_merge_at(&run, whole);
    memcpy(last_symbols, symbols + whole, count - whole);
    elements(last, last_symbols, &run.planes, run.tails, MMH_GROUP, split, MMH_STREAM_OFF);
    memcpy(run.dst, last, (count - whole) * split->element_bytes);
}

void mmh_read_through(const uint8_t *src, size_t bytes)
{
    enum { LINE = 64 };
    uint8_t a = 0, b = 0, c = 0, d = 0;
    size_t i = 0;
    for (; i + 4 * LINE <= bytes; i += 4 * LINE) {
        a |= src[i];
        b |= src[i + LINE];
        c |= src[i + 2 * LINE];
        d |= src[i + 3 * LINE];
    }
    for (; i < bytes; i += LINE)
        a |= src[i];
    volatile uint8_t kept = a | b | c | d; /* so that the loads stay */
    (void)kept;
}
