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
#include <unistd.h>
#endif

#include "base/bits.h"
#include "base/io.h"

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

#ifdef MADV_HUGEPAGE
enum {
    QUICK_NS = 300000, /* is quick enough for a huge page, whatever small ones cost */
    SMALL_PAGES = 32,  /* are timed to know that */
    FIRST_PAUSE = 2,
    LONGEST_PAUSE = 64,
};

/* Nanoseconds to have pages in memory. What is written is what was there, which may be the caller's. */
static uint64_t touch(const struct mmh_huge_pace *pace, uint8_t *page, size_t pages,
                      size_t page_bytes)
{
    uint64_t begin = pace->clock();
    for (size_t i = 0; i < pages; i++) { /* clang makes a mere read of an atomic "or" with 0 */
        uint8_t *at = page + i * page_bytes, byte = __atomic_load_n(at, __ATOMIC_RELAXED);
        __atomic_compare_exchange_n(at, &byte, byte, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
    return pace->clock() - begin;
}

void mmh_huge_try(struct mmh_huge_pace *pace, uint8_t *memory, size_t bytes)
{
    const size_t small = (size_t)sysconf(_SC_PAGESIZE), in_huge = MMH_HUGE_ALIGNMENT / small;
    const size_t tried = MMH_MIN(in_huge, (size_t)SMALL_PAGES);
    if (!pace->clock)
        pace->clock = mmh_clock_ns;
    if (pace->left) {
        pace->left--;
        return;
    }
    (void)madvise(memory, MMH_HUGE_ALIGNMENT, MADV_HUGEPAGE);
    uint64_t took = touch(pace, memory, 1, 0);
    uint8_t *rest = memory + MMH_HUGE_ALIGNMENT;
    bytes -= MMH_HUGE_ALIGNMENT;
    if (took > QUICK_NS && (!bytes || took / in_huge > touch(pace, rest, tried, small) / tried)) {
        pace->pause = pace->pause ? MMH_MIN(2 * pace->pause, (size_t)LONGEST_PAUSE) : FIRST_PAUSE;
        pace->left = pace->pause;
        return;
    }
    pace->pause = 0;
    (void)madvise(rest, bytes, MADV_HUGEPAGE);
}
#else
void mmh_huge_try(struct mmh_huge_pace *pace, uint8_t *memory, size_t bytes)
{
    (void)pace;
    (void)memory;
    (void)bytes;
}
#endif

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
