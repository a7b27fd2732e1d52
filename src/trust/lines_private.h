/*
 * Files of lines "name: value" that are read in a fixed order.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_LINES_PRIVATE_H
#define MMH_LINES_PRIVATE_H

#include "trust/store.h"

struct mmh_lines {
    const char *text; /* what is left of it */
    size_t bytes;
    bool failed;
};

/* The next line's value, if it begins with `name` ("added: "); it has no control characters and is UTF-8.
 * Fails (*value "") otherwise. */
const char *mmh_lines_take(struct mmh_lines *lines, const char *name, size_t *bytes);

/* Whether the next line begins so. */
bool mmh_lines_is_next(const struct mmh_lines *lines, const char *name);

/* A time, "never" or "no" (both 0) where they may be. */
uint64_t mmh_lines_take_time(struct mmh_lines *lines, const char *name, const char *none);

/* What comes before the next line that begins so (at the beginning of a line): *bytes of it. */
const char *mmh_lines_take_until(struct mmh_lines *lines, const char *name, size_t *bytes);

/* A copy in an arena. */
char *mmh_lines_take_copy(struct mmh_lines *lines, const char *name, struct mmh_arena *arena);

/* Whether `name` may be one of a key in the store. */
bool mmh_trusted_name_is_fine(const char *name);

/* MMH_E_USAGE with what names may be, if it may not. */
mmh_status mmh_trusted_name_check(const char *name, mmh_error *err);

#endif
