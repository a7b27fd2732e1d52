/*
 * Arena: bump allocation in blocks that grow, released together.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/arena.h"

#include <stdio.h>
#include <string.h>

#include "base/bits.h"

enum { BLOCK_ALIGNMENT = 64, FIRST_BLOCK_BYTES = 16 << 10, LAST_BLOCK_BYTES = 1 << 20 };

struct mmh_arena_block {
    struct mmh_arena_block *older;
};

void mmh_arena_init(struct mmh_arena *arena, const mmh_allocator *allocator)
{
    *arena = (struct mmh_arena){ .allocator = allocator };
}

void mmh_arena_release(struct mmh_arena *arena)
{
    for (struct mmh_arena_block *block = arena->blocks, *older; block; block = older) {
        older = block->older;
        mmh_free(arena->allocator, block);
    }
    mmh_arena_init(arena, arena->allocator);
}

/* A block with `bytes` free bytes from a multiple of `alignment` on; its first free byte. */
static uint8_t *block_add(struct mmh_arena *arena, size_t alignment, size_t bytes)
{
    size_t header = mmh_round_up(sizeof(struct mmh_arena_block), alignment), all;
    if (!mmh_size_add(&all, header, bytes))
        return NULL;
    struct mmh_arena_block *block = mmh_alloc(arena->allocator, alignment, all);
    if (!block)
        return NULL;
    block->older = arena->blocks;
    arena->blocks = block;
    arena->used += all;
    return (uint8_t *)block + header;
}

void *mmh_arena_alloc(struct mmh_arena *arena, size_t alignment, size_t bytes)
{
    alignment = MMH_MAX(alignment, sizeof(void *) * 2);
    bytes += !bytes;
    for (;;) {
        size_t pad = -(uintptr_t)arena->next & (alignment - 1);
        if (arena->next && pad <= arena->left && bytes <= arena->left - pad) {
            uint8_t *memory = arena->next + pad;
            arena->next = memory + bytes;
            arena->left -= pad + bytes;
            return memory;
        }
        size_t block_bytes = MMH_MIN(MMH_MAX(arena->used, FIRST_BLOCK_BYTES), LAST_BLOCK_BYTES);
        if (alignment > BLOCK_ALIGNMENT || bytes > block_bytes / 4)
            return block_add(arena, MMH_MAX(alignment, BLOCK_ALIGNMENT), bytes);
        uint8_t *first = block_add(arena, BLOCK_ALIGNMENT, block_bytes);
        if (!first)
            return NULL;
        arena->next = first;
        arena->left = block_bytes;
    }
}

void *mmh_arena_array(struct mmh_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (!mmh_size_mul(&bytes, count, size))
        return NULL;
    void *memory = mmh_arena_alloc(arena, 0, bytes);
    if (memory)
        memset(memory, 0, bytes);
    return memory;
}

char *mmh_arena_string(struct mmh_arena *arena, const char *text, size_t bytes)
{
    char *copy = bytes < PTRDIFF_MAX ? mmh_arena_alloc(arena, 1, bytes + 1) : NULL;
    if (!copy)
        return NULL;
    if (bytes)
        memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    return copy;
}

char *mmh_arena_format(struct mmh_arena *arena, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int bytes = vsnprintf(NULL, 0, format, arguments);
    char *text = bytes < 0 ? NULL : mmh_arena_alloc(arena, 1, (size_t)bytes + 1);
    if (text)
        vsnprintf(text, (size_t)bytes + 1, format, again);
    va_end(again);
    va_end(arguments);
    return text;
}
