/*
 * Pages of one's own: memory for secrets, and a stack for what wants much of it and leaves secrets there.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_PAGES_H
#define MMH_PAGES_H

#include "base/status.h"

/* Whole pages, zeroed, kept out of core dumps and, with `lock`, out of swap: where the system lets us.
 * NULL on failure. */
MMH_MUST_CHECK void *mmh_pages_map(size_t bytes, bool lock);
void mmh_pages_unmap(void *memory,
                     size_t bytes); /* given back to the system at once; may be NULL */

/*
 * Call run(context) on a new stack of stack_bytes, by a thread that ends with it, and wait. The stack goes
 * back to the system with all that was left on it. MMH_E_MEMORY if there is no stack or no thread to be
 * had: nothing was run then.
 */
mmh_status mmh_stack_run(size_t stack_bytes, void (*run)(void *context), void *context,
                         mmh_error *err);

#endif
