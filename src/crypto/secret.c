/*
 * Memory for secrets: pages of their own, locked and not dumped where the system has that.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#if !defined(_DEFAULT_SOURCE)
#define _DEFAULT_SOURCE 1 /* madvise, MAP_ANONYMOUS */
#endif
#include "crypto/secret.h"

#include <stdlib.h>
#if !defined(_WIN32)
#include <sys/mman.h>
#endif

#if defined(_WIN32)
void *mmh_secret_alloc(size_t bytes)
{
    return calloc(1, bytes + !bytes);
}

void mmh_secret_free(void *memory, size_t bytes)
{
    if (!memory)
        return;
    mmh_wipe(memory, bytes);
    free(memory);
}
#else
void *mmh_secret_alloc(size_t bytes)
{
    bytes += !bytes;
    if (bytes > PTRDIFF_MAX)
        return NULL;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    (void)mlock(memory,
                bytes); /* few systems let a user lock much: a key is worth having unlocked */
#ifdef MADV_DONTDUMP
    (void)madvise(memory, bytes, MADV_DONTDUMP);
#endif
    return memory;
}

void mmh_secret_free(void *memory, size_t bytes)
{
    if (!memory)
        return;
    mmh_wipe(memory, bytes);
    (void)munmap(memory, bytes + !bytes);
}
#endif
