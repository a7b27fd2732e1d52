/*
 * What the command asks of the operating system: signals, the terminal, paths.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_HOST_H
#define MMH_HOST_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Before anything else: descriptors 0 to 2 are open, an interrupt is noted, a closed pipe is an
 * error and not a death. */
void mmh_host_begin(void);

/* Write out stdout. False if that failed; a reader that went away ends the program here, as
 * it would have without us. */
bool mmh_host_flush(void);

/* Whether an interrupt came. The first asks for a clean stop, the second kills. */
bool mmh_host_interrupted(void);

uint64_t mmh_host_clock_ns(void); /* monotonic */

/* ---- terminal ---- */

bool mmh_host_is_terminal(FILE *file); /* a terminal that knows how to move its cursor */
bool mmh_host_is_colour(FILE *file);   /* and that colours are welcome on (NO_COLOR) */
bool mmh_host_is_utf8(void);
unsigned mmh_host_columns(FILE *file); /* of a terminal, as of now */

/* ---- paths ---- */

enum mmh_host_kind { MMH_HOST_NONE, MMH_HOST_FILE, MMH_HOST_FOLDER, MMH_HOST_OTHER };

enum mmh_host_kind mmh_host_kind(const char *path); /* through symlinks */
bool mmh_host_exists(const char *path);             /* a dangling symlink too */
bool mmh_host_same(const char *path, const char *other);
bool mmh_host_make_folder(const char *path); /* or it exists already */
char *mmh_host_absolute(const char *path);   /* to be freed; NULL: errno says why */

/* Read the first bytes of a file. Returns how many there were; 0 after a failure too. */
size_t mmh_host_peek(const char *path, void *dst, size_t bytes);

/* Compare two files. False also if one cannot be read. */
bool mmh_host_equal(const char *path, const char *other);

/* ---- temporary files ---- */

uint64_t mmh_host_room(const char *folder); /* free bytes; 0 if that cannot be told */
bool mmh_host_can_write(const char *folder);
char *mmh_host_make_temporary(const char *parent); /* a new folder, 0700; to be freed */
void mmh_host_remove_tree(const char *path);

/* Copy standard input to a new file. False: errno says why (EINTR: interrupted, EOVERFLOW: it holds
 * more than limit_bytes, 0: no limit). */
bool mmh_host_spool(const char *path, uint64_t limit_bytes);

#endif
