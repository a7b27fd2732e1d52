/*
 * For tests: memory that is counted, and runs out on demand.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_COUNTING_H
#define MMH_COUNTING_H

#include <stdlib.h>

#include "base/bits.h"
#include "mmh.h"

static size_t allocated, allocated_most, allocations_left = SIZE_MAX;

static void *count_allocate(void *user, size_t alignment, size_t bytes)
{
    enum { PREFIX = 64 };
    void *memory;
    (void)user;
    if (!allocations_left)
        return NULL;
    allocations_left -= allocations_left != SIZE_MAX;
    if (alignment > PREFIX || posix_memalign(&memory, PREFIX, bytes + PREFIX))
        return NULL;
    *(size_t *)memory = bytes;
    allocated += bytes;
    allocated_most = MMH_MAX(allocated_most, allocated);
    return (uint8_t *)memory + PREFIX;
}

static void count_release(void *user, void *memory)
{
    (void)user;
    if (!memory)
        return;
    uint8_t *begin = (uint8_t *)memory - 64;
    allocated -= *(size_t *)(void *)begin;
    free(begin);
}

static const mmh_allocator counting = { count_allocate, count_release, NULL };

#endif
