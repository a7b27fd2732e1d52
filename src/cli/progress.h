/*
 * The progress bar: one line on stderr, when that is a terminal.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_PROGRESS_H
#define MMH_PROGRESS_H

#include "mmh.h"

/* -q: no bar at all. */
void mmh_bar_quiet(bool quiet);

/* A new piece of work, number `item` of `item_count`. `name` is shown when the library names no
 * file; it must live until mmh_bar_end. */
void mmh_bar_begin(const char *name, size_t item, size_t item_count);
void mmh_bar_end(void);

/* Wipe the line before something else is written; the next update draws it anew. */
void mmh_bar_clear(void);

/* The library's mmh_progress_fn: draws, and asks to stop after an interrupt. */
bool mmh_bar_update(void *user, const mmh_progress *progress);

#endif
