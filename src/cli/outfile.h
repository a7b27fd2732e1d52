/*
 * A file that the command itself writes: under its name only when it is complete.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_OUTFILE_H
#define MMH_OUTFILE_H

#include <stdbool.h>
#include <stdio.h>

struct mmh_cli_options; /* cli/cli.h */

struct mmh_outfile {
    FILE *file;
    char *path, *temporary; /* NULL: it is standard output */
    bool nameless;          /* `temporary` is not used yet */
};

/* path NULL: standard output. False: errno says why (EEXIST: it is there, and not `replace`; ENXIO: a
 * device or pipe). */
bool mmh_outfile_open(struct mmh_outfile *out, const char *path, bool replace);

/* Sync it and give it its name; standard output is flushed. False: errno. Released either way. */
bool mmh_outfile_commit(struct mmh_outfile *out, bool replace);

void mmh_outfile_abandon(struct mmh_outfile *out); /* after open, instead of commit; errno stays */

/* Tell why it could not be opened, written or given its name: path (NULL: standard output) and errno as they were
 * then. `hint`: what to do where it exists. Returns the exit code. */
int mmh_outfile_fail(const struct mmh_cli_options *options, const char *input, const char *path,
                     const char *hint);

#endif
