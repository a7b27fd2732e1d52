/*
 * Shared libraries that are opened when they are needed: drivers that a machine may lack.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_LIBRARY_H
#define MMH_LIBRARY_H

#include "base/memory.h"

typedef struct mmh_library mmh_library;

/* Open the first of names[count] that loads, each as the system's loader looks for it. Fails with
 * MMH_E_UNSUPPORTED and the loader's words on the last. */
mmh_status mmh_library_open(mmh_library **library, const char *const *names, size_t count,
                            const mmh_allocator *allocator, mmh_error *err);
void mmh_library_close(mmh_library *library); /* may be NULL */

/* *function = the address of a function, given as a pointer to the caller's function pointer (C
 * has no conversion between the two kinds). False, and NULL, if the library has none so named. */
MMH_MUST_CHECK bool mmh_library_function(const mmh_library *library, const char *name,
                                         void *function);

#endif
