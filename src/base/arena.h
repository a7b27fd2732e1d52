/*
 * Arena: many small allocations that go together.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * One thread at a time. A request over a quarter of a block gets a block of its own.
 */
#ifndef MMH_ARENA_H
#define MMH_ARENA_H

#include "base/memory.h"

struct mmh_arena {
    const mmh_allocator *allocator;
    struct mmh_arena_block *blocks; /* newest first */
    uint8_t *next;                  /* free bytes of the shared block */
    size_t left;
    size_t used; /* bytes taken from the allocator */
};

/* allocator may be NULL; it must outlive the arena. Allocates nothing yet. */
void mmh_arena_init(struct mmh_arena *arena, const mmh_allocator *allocator);

/* Free all that came from the arena; it is empty again and may be used on. */
void mmh_arena_release(struct mmh_arena *arena);

/* As mmh_alloc: not cleared, never NULL for 0 bytes; NULL on failure. */
MMH_MUST_CHECK void *mmh_arena_alloc(struct mmh_arena *arena, size_t alignment, size_t bytes);

/* count elements of `size` bytes, all zero. NULL on failure and on overflow. */
MMH_MUST_CHECK void *mmh_arena_array(struct mmh_arena *arena, size_t count, size_t size);

/* A copy of text[bytes] with a NUL after it. */
MMH_MUST_CHECK char *mmh_arena_string(struct mmh_arena *arena, const char *text, size_t bytes);

/* As sprintf. */
MMH_MUST_CHECK char *mmh_arena_format(struct mmh_arena *arena, const char *format, ...)
    MMH_PRINTF(2, 3);

#endif
