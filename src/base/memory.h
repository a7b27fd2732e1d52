/*
 * Memory from the caller's allocator or the system's.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A `const mmh_allocator *` may be NULL everywhere: the system's aligned allocation, with huge
 * pages advised from MMH_HUGE_BYTES on.
 */
#ifndef MMH_MEMORY_H
#define MMH_MEMORY_H

#include "base/status.h"

enum { MMH_HUGE_BYTES = 4 << 20, MMH_HUGE_ALIGNMENT = 2 << 20 };

/*
 * `alignment` is a power of two, 0 for that of any C object. The memory is not cleared.
 * 0 bytes give a pointer that may be freed but not read. Returns NULL on failure.
 */
MMH_MUST_CHECK void *mmh_alloc(const mmh_allocator *allocator, size_t alignment, size_t bytes);

/* count elements of `size` bytes, all zero. Returns NULL on failure and on overflow. */
MMH_MUST_CHECK void *mmh_alloc_array(const mmh_allocator *allocator, size_t count, size_t size);

/* memory may be NULL. */
void mmh_free(const mmh_allocator *allocator, void *memory);

/* Ask for huge pages under a range. Never fails. */
void mmh_huge_advise(void *memory, size_t bytes);

/* Whether huge pages have been worth asking for: zeros at first. For one thread at a time. */
struct mmh_huge_pace {
    size_t pause, left; /* calls without them after the last slow one, and how many are to come */
    uint64_t (*clock)(void); /* NULL: mmh_clock_ns; tests have their own */
};

/*
 * The same where they come quickly, under whole ones that are about to be written; their bytes stay as they are.
 *   memory  at a multiple of MMH_HUGE_ALIGNMENT
 *   bytes   a multiple of it
 *
 * A huge page costs a tenth of its small ones, unless the machine is a virtual one that gives free memory
 * back to its host: then the host has to find each anew, and small pages, which come from memory lately
 * used, are the quicker ones by far. So the first page is tried and timed; after slow ones, some calls do
 * nothing, twice as many each time.
 */
void mmh_huge_try(struct mmh_huge_pace *pace, uint8_t *memory, size_t bytes);

/* Clear a secret; the compiler may not leave it out. */
void mmh_wipe(void *memory, size_t bytes);

/* Equality in a time that depends on `bytes` alone. */
MMH_MUST_CHECK bool mmh_secret_equal(const void *a, const void *b, size_t bytes);

#endif
