/*
 * Pages of one's own, over mmap and threads.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#if !defined(_DEFAULT_SOURCE)
#define _DEFAULT_SOURCE 1 /* madvise, MAP_ANONYMOUS */
#endif
#include "base/pages.h"

#include <pthread.h>
#include <stdlib.h>
#if !defined(_WIN32)
#include <sys/mman.h>
#endif

#include "base/bits.h"

enum { GUARD_BYTES = 64 << 10 }; /* a page at least, however large they are */

#if defined(_WIN32)
void *mmh_pages_map(size_t bytes, bool lock)
{
    (void)lock;
    return calloc(1, bytes + !bytes);
}

void mmh_pages_unmap(void *memory, size_t bytes)
{
    (void)bytes;
    free(memory);
}
#else
void *mmh_pages_map(size_t bytes, bool lock)
{
    bytes += !bytes;
    if (bytes > PTRDIFF_MAX)
        return NULL;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    if (lock) /* few systems let a user lock much: memory is worth having unlocked */
        (void)mlock(memory, bytes);
#ifdef MADV_DONTDUMP
    (void)madvise(memory, bytes, MADV_DONTDUMP);
#endif
    return memory;
}

void mmh_pages_unmap(void *memory, size_t bytes)
{
    if (memory)
        (void)munmap(memory, bytes + !bytes);
}
#endif

struct call {
    void (*run)(void *context);
    void *context;
};

static void *call_run(void *argument)
{
    const struct call *call = argument;
    call->run(call->context);
    return NULL;
}

mmh_status mmh_stack_run(size_t stack_bytes, void (*run)(void *context), void *context,
                         mmh_error *err)
{
    struct call call = { run, context };
    pthread_attr_t attributes;
    pthread_t thread;
    bool ran = false;
    void *stack = NULL;
    if (pthread_attr_init(&attributes) != 0)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for a thread");
#if defined(_WIN32)
    bool ready = pthread_attr_setstacksize(&attributes, stack_bytes) == 0;
#else
    /* Below a stack that grows downwards, as all do that we run on, nothing may be touched. */
    stack = mmh_pages_map(stack_bytes + GUARD_BYTES, false);
    bool ready = stack && mprotect(stack, GUARD_BYTES, PROT_NONE) == 0 &&
                 pthread_attr_setstack(&attributes, (uint8_t *)stack + GUARD_BYTES, stack_bytes) ==
                     0;
#endif
    if (ready && pthread_create(&thread, &attributes, call_run, &call) == 0)
        ran = pthread_join(thread, NULL) == 0;
    (void)pthread_attr_destroy(&attributes);
    mmh_pages_unmap(stack, stack_bytes + GUARD_BYTES);
    return ran ? MMH_OK : mmh_fail(err, MMH_E_MEMORY, "no thread, or no stack for one");
}
