/*
 * Memory from the caller's allocator or the system's, huge pages, and secrets.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#if !defined(_DEFAULT_SOURCE)
#define _DEFAULT_SOURCE 1 /* madvise */
#endif
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>
#if defined(_WIN32)
#include <malloc.h>
#else
#include <sys/mman.h>
#endif

#include "base/bits.h"

void mmh_huge_advise(void *memory, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    uintptr_t first = mmh_round_up((uintptr_t)memory, MMH_HUGE_ALIGNMENT);
    uintptr_t end = ((uintptr_t)memory + bytes) & ~(uintptr_t)(MMH_HUGE_ALIGNMENT - 1);
    if (bytes >= MMH_HUGE_BYTES && first < end)
        (void)madvise((uint8_t *)memory + (first - (uintptr_t)memory), end - first, MADV_HUGEPAGE);
#else
    (void)memory;
    (void)bytes;
#endif
}

#if defined(_WIN32) /* aligned memory is of a kind of its own there */
static void *system_allocate(size_t alignment, size_t bytes)
{
    return _aligned_malloc(bytes, alignment);
}

static void system_release(void *memory)
{
    _aligned_free(memory);
}
#else
static void *system_allocate(size_t alignment, size_t bytes)
{
    void *memory = NULL;
    return posix_memalign(&memory, alignment, bytes) ? NULL : memory;
}

static void system_release(void *memory)
{
    free(memory);
}
#endif

void *mmh_alloc(const mmh_allocator *allocator, size_t alignment, size_t bytes)
{
    if (bytes > PTRDIFF_MAX)
        return NULL;
    bytes += !bytes;
    alignment = MMH_MAX(alignment, sizeof(void *) * 2);
    if (bytes >= MMH_HUGE_BYTES)
        alignment = MMH_MAX(alignment, MMH_HUGE_ALIGNMENT);
    void *memory = allocator ? allocator->allocate(allocator->user, alignment, bytes)
                             : system_allocate(alignment, bytes);
    if (memory && bytes >= MMH_HUGE_BYTES && !allocator)
        mmh_huge_advise(memory, bytes);
    return memory;
}

void *mmh_alloc_array(const mmh_allocator *allocator, size_t count, size_t size)
{
    size_t bytes;
    if (!mmh_size_mul(&bytes, count, size))
        return NULL;
    void *memory = mmh_alloc(allocator, 0, bytes);
    if (memory)
        memset(memory, 0, bytes);
    return memory;
}

void mmh_free(const mmh_allocator *allocator, void *memory)
{
    if (!memory)
        return;
    if (allocator)
        allocator->release(allocator->user, memory);
    else
        system_release(memory);
}

void mmh_wipe(void *memory, size_t bytes)
{
    if (!bytes)
        return;
    memset(memory, 0, bytes);
    __asm__ __volatile__("" : : "r"(memory) : "memory"); /* the stores above are observed */
}

bool mmh_secret_equal(const void *a, const void *b, size_t bytes)
{
    const volatile uint8_t *left = a, *right = b;
    unsigned difference = 0;
    for (size_t i = 0; i < bytes; i++)
        difference |= (unsigned)(left[i] ^ right[i]);
    return difference == 0;
}
