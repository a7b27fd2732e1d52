/*
 * How far the work is: a line on stderr where that is a terminal, JSON lines, or an answer to
 * SIGUSR1.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_PROGRESS_H
#define MMH_PROGRESS_H

#include "mmh.h"

enum mmh_bar_mode {
    MMH_BAR_AUTO, /* a bar if stderr is a terminal that can show one */
    MMH_BAR_NONE,
    MMH_BAR_ALWAYS, /* a bar, whatever stderr is */
    MMH_BAR_JSON    /* docs/cli-json.md, "Progress" */
};

/* Once, before the work. From here on SIGUSR1 and SIGINFO are answered. */
void mmh_bar_setup(const char *verb, enum mmh_bar_mode mode);
void mmh_bar_hush(void); /* no bar, unless one was asked for */

/* A new piece of work, number `item` of `item_count`. `name` is what was typed; it is shown when
 * the library names no file, and must live until mmh_bar_end. */
void mmh_bar_begin(const char *name, size_t item, size_t item_count);
void mmh_bar_end(void);

/* Wipe the line before something else is written; the next update draws it anew. */
void mmh_bar_clear(void);

/* The library's mmh_progress_fn: draws, and asks to stop after an interrupt. */
bool mmh_bar_update(void *user, const mmh_progress *progress);

/* Work of the command's own, until mmh_bar_end: what the library reports meanwhile is left out. */
void mmh_bar_own(const char *stage, uint64_t done_bytes, uint64_t total_bytes);

/* The same for standard input that is being copied. */
void mmh_bar_reading(uint64_t bytes);

#endif
