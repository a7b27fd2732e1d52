/*
 * Buffers between pages that may not be touched: what a kernel reads or writes past them ends the
 * test at once.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_TEST_GUARD_H
#define MMH_TEST_GUARD_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { GUARD_FILL = 0xa5 };

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
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t room = (bytes + page - 1) / page * page;
    if (!room)
        room = page;
    guard->page = page;
    guard->bytes = bytes;
    guard->map_bytes = room + 2 * page;
    guard->map = (uint8_t *)mmap(NULL, guard->map_bytes, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (guard->map == (uint8_t *)MAP_FAILED || mprotect(guard->map, page, PROT_NONE) ||
        mprotect(guard->map + page + room, page, PROT_NONE)) {
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
    munmap(guard->map, guard->map_bytes);
    guard->map = NULL;
}

/* From here on the buffer may only be read. */
static inline void guard_freeze(struct guard *guard)
{
    if (mprotect(guard->map + guard->page, guard->map_bytes - 2 * guard->page, PROT_READ)) {
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
