/*
 * What this run has written: with -f it may replace what was there before, never what it made itself.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_WRITTEN_H
#define MMH_WRITTEN_H

#include <stdbool.h>

bool mmh_written_has(const char *path); /* by this very name */

/* Note an output. The path is copied. */
void mmh_written_add(const char *path);

void mmh_written_release(void);

#endif
