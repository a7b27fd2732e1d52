/*
 * Buffers between pages that may not be touched: what a kernel reads or writes past them ends the
 * test at once.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_TEST_GUARD_H
#define MMH_TEST_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(_WIN32)
#include <windows.h>
#undef near /* words of a machine long gone */
#undef far
#else
#include <sys/mman.h>
#include <unistd.h>
#endif

enum { GUARD_FILL = 0xa5 };

/* ---- pages, by what the system calls them ---- */

enum guard_access { GUARD_NONE, GUARD_READ, GUARD_WRITE };

#if defined(_WIN32)
static inline size_t guard_page(void)
{
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    return info.dwPageSize;
}

static inline void *guard_map(size_t bytes)
{
    return VirtualAlloc(NULL, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

static inline void guard_unmap(void *map, size_t bytes)
{
    (void)bytes;
    VirtualFree(map, 0, MEM_RELEASE);
}

static inline bool guard_protect(void *at, size_t bytes, enum guard_access access)
{
    static const DWORD by_access[] = { PAGE_NOACCESS, PAGE_READONLY, PAGE_READWRITE };
    DWORD before;
    return VirtualProtect(at, bytes, by_access[access], &before);
}
#else
static inline size_t guard_page(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static inline void *guard_map(size_t bytes)
{
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return map == MAP_FAILED ? NULL : map;
}

static inline void guard_unmap(void *map, size_t bytes)
{
    munmap(map, bytes);
}

static inline bool guard_protect(void *at, size_t bytes, enum guard_access access)
{
    static const int by_access[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE };
    return mprotect(at, bytes, by_access[access]) == 0;
}
#endif

/* ---- buffers ---- */

struct guard {
    uint8_t *at; /* the buffer */
    size_t bytes;
    uint8_t *map; /* forbidden page, pages, forbidden page */
    size_t map_bytes;
    size_t page;
};

/*
 * Map a buffer that ends right before a forbidden page, its bytes set to GUARD_FILL. What lies
 * between the page before it and its first byte is checked when it is released.
 */
static inline uint8_t *guard_init(struct guard *guard, size_t bytes)
{
    size_t page = guard_page();
    size_t room = (bytes + page - 1) / page * page;
    if (!room)
        room = page;
    guard->page = page;
    guard->bytes = bytes;
    guard->map_bytes = room + 2 * page;
    guard->map = (uint8_t *)guard_map(guard->map_bytes);
    if (!guard->map || !guard_protect(guard->map, page, GUARD_NONE) ||
        !guard_protect(guard->map + page + room, page, GUARD_NONE)) {
        perror("guard_init");
        abort();
    }
    memset(guard->map + page, GUARD_FILL, room);
    guard->at = guard->map + page + room - bytes;
    return guard->at;
}

/* The last `bytes` of a buffer: its end is as well guarded, at less cost than a new one. */
static inline uint8_t *guard_last(const struct guard *guard, size_t bytes)
{
    return guard->at + guard->bytes - bytes;
}

/* A buffer like that of guard_init with given contents. */
static inline uint8_t *guard_copy(struct guard *guard, const void *src, size_t bytes)
{
    guard_init(guard, bytes);
    if (bytes)
        memcpy(guard->at, src, bytes);
    return guard->at;
}

/* Unmap; aborts if bytes before the buffer have been written. */
static inline void guard_release(struct guard *guard)
{
    for (uint8_t *p = guard->map + guard->page; p < guard->at; p++)
        if (*p != GUARD_FILL) {
            fprintf(stderr, "guard: %zu bytes before a buffer of %zu were written\n",
                    (size_t)(guard->at - p), guard->bytes);
            abort();
        }
    guard_unmap(guard->map, guard->map_bytes);
    guard->map = NULL;
}

/* From here on the buffer may only be read. */
static inline void guard_freeze(struct guard *guard)
{
    if (!guard_protect(guard->map + guard->page, guard->map_bytes - 2 * guard->page, GUARD_READ)) {
        perror("guard_freeze");
        abort();
    }
}

/* A small generator of test data: xorshift64*, any seed but 0. */
static inline uint64_t guard_random(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * 0x2545f4914f6cdd1dull;
}

#endif
