/*
 * Errors, and sizes that may not overflow.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_STATUS_H
#define MMH_STATUS_H

#include <stdarg.h>

#include "mmh.h"

#if defined(__GNUC__)
#if defined(__MINGW32__) && \
    !defined(__clang__) /* whose printf knows %zu, as C has it, when asked */
#define MMH_PRINTF(text, first) __attribute__((__format__(__gnu_printf__, text, first)))
#else
#define MMH_PRINTF(text, first) __attribute__((__format__(__printf__, text, first)))
#endif
#define MMH_MUST_CHECK __attribute__((warn_unused_result))
#else
#define MMH_PRINTF(text, first)
#define MMH_MUST_CHECK
#endif

/*
 * Record a failure and return `status`, so that callers write `return mmh_fail(err, ...)`.
 *
 *   err     may be NULL; one that already holds a failure keeps it: the first failure wins
 *   format  lower case, no full stop: what, where, what helps. A message that does not fit in
 *           err->message is cut at a whole UTF-8 character and ends in "..."; control characters
 *           (of hostile names) become '?'
 */
mmh_status mmh_fail(mmh_error *err, mmh_status status, const char *format, ...) MMH_PRINTF(3, 4);
#ifdef __clang_analyzer__ /* which does not see that a failure is never MMH_OK */
#define mmh_fail(err, status, ...) ((void)mmh_fail(err, status, __VA_ARGS__), (status))
#endif
mmh_status mmh_fail_v(mmh_error *err, mmh_status status, const char *format, va_list arguments)
    MMH_PRINTF(3, 0);

/* *out = a * b (a + b); false, and *out untouched, if that does not fit. */
MMH_MUST_CHECK bool mmh_size_mul(size_t *out, size_t a, size_t b);
MMH_MUST_CHECK bool mmh_size_add(size_t *out, size_t a, size_t b);
MMH_MUST_CHECK bool mmh_u64_mul(uint64_t *out, uint64_t a, uint64_t b);
MMH_MUST_CHECK bool mmh_u64_add(uint64_t *out, uint64_t a, uint64_t b);

#endif
