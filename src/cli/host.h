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
#include <sys/types.h>

/* Before anything else: descriptors 0 to 2 are open, an interrupt is noted, a closed pipe is an
 * error and not a death, and SIGUSR1 (SIGINFO too, where there is one) waits to be asked for. */
void mmh_host_begin(void);

/* Write out stdout. False if that failed; a reader that went away ends the program here, as
 * it would have without us. */
bool mmh_host_flush(void);

/* A write to stdout has failed, and that was told: mmh_host_flush says no more about it. */
void mmh_host_output_failed(void);

/* Whether an interrupt came. The first asks for a clean stop, the second kills. */
bool mmh_host_interrupted(void);

/* Whether a pipe was written to that nobody reads any more; and to end as it would have without us. */
bool mmh_host_pipe_closed(void);
void mmh_host_die_of_pipe(void);

/* From now on call `tell` at each SIGUSR1 or SIGINFO, from a thread of its own. */
void mmh_host_on_status(void (*tell)(void));

void mmh_host_lock(void); /* one lock for what both that thread and the others show */
void mmh_host_unlock(void);

uint64_t mmh_host_clock_ns(void); /* monotonic */

/* ---- other programs, never by a shell ---- */

char *
mmh_host_program(void); /* the path of this one; to be freed. NULL: the system does not tell */

/* The first program of this name in PATH; to be freed. NULL: there is none. Only absolute folders are looked in: one
 * that somebody happens to stand in does not decide what is run. */
char *mmh_host_find_program(const char *name);

/* Run a program, arguments[0] its path, without input and output. Returns its exit code, or -1 if it did not run or a
 * signal ended it. */
int mmh_host_run_silently(const char *const *arguments);

/* Become a program, arguments[0] its path: it has this one's descriptors and takes the signals that it would have taken (but for SIGUSR1,
 * which it finds ignored), and its exit code is this one's. Returns only after a failure: errno. */
void mmh_host_become(const char *const *arguments);

/* ---- terminal ---- */

bool mmh_host_is_terminal(FILE *file); /* of whatever kind */
bool mmh_host_is_screen(FILE *file);   /* a terminal that can show a bar, and is ours just now */
bool mmh_host_is_colour(FILE *file);   /* NO_COLOR, CLICOLOR_FORCE, CLICOLOR, TERM, in this order */
bool mmh_host_is_utf8(void);
unsigned mmh_host_columns(FILE *file); /* of a terminal, as of now; else COLUMNS, else 80 */

/* Whether something was sent to standard input: a file, a pipe or a socket. */
bool mmh_host_has_input(void);

/* A variable of the environment, unless the program runs with more rights than who started it has:
 * NULL then. */
const char *mmh_host_own_variable(const char *name);

/* ---- secrets ---- */

void mmh_host_wipe(void *memory, size_t bytes); /* no compiler leaves it out */

/* Memory that is not swapped nor dumped, where the system lets us. Never NULL, as mmh_cli_alloc's. */
void *mmh_host_secret_alloc(size_t bytes);
void mmh_host_secret_free(void *memory, size_t bytes); /* wiped; may be NULL */

/*
 * Ask on the terminal, whatever the standard streams are, with its echo off. Returns the line's bytes
 * (0..room), not terminated. -1: errno: EINTR: interrupted, ENODATA: no line came, E2BIG: a longer one,
 * else there is no terminal.
 */
ssize_t mmh_host_ask_secret(const char *prompt, char *line, size_t room);

bool mmh_host_is_open(int descriptor);

/* Leave no image of this process, with the secrets in it, where it crashes. */
void mmh_host_no_core(void);

/* The same of the first line of a file, or (path NULL) of an open descriptor. */
ssize_t mmh_host_read_secret(const char *path, int descriptor, char *line, size_t room);

/* ---- paths ---- */

bool mmh_host_is_exposed(const char *path); /* a file with rights for others than its owner */

enum mmh_host_kind { MMH_HOST_NONE, MMH_HOST_FILE, MMH_HOST_FOLDER, MMH_HOST_OTHER };

enum mmh_host_kind mmh_host_kind(const char *path); /* through symlinks */
bool mmh_host_is_link(const char *path);            /* a symlink, wherever it leads */
bool mmh_host_exists(const char *path);             /* a dangling symlink too */
bool mmh_host_same(const char *path, const char *other);
bool mmh_host_make_folder(const char *path); /* or it exists already */
char *mmh_host_absolute(const char *path);   /* to be freed; NULL: errno says why */

/* Read the first bytes of a file. Returns how many there were; 0 after a failure too. */
size_t mmh_host_peek(const char *path, void *dst, size_t bytes);

/* The same 256 bytes before its end: where a container has its footer. */
size_t mmh_host_peek_footer(const char *path, void *dst, size_t bytes);

/* Compare two files. False also if one cannot be read. */
bool mmh_host_equal(const char *path, const char *other);

/* ---- temporary files ---- */

uint64_t mmh_host_room(const char *folder); /* free bytes; 0 if that cannot be told */
bool mmh_host_can_write(const char *folder);
char *mmh_host_make_temporary(const char *parent); /* a new folder, 0700; to be freed */
void mmh_host_remove_tree(const char *path);

/* Open a pipe that has a name, once somebody writes to it. -1: errno; ENXIO if it is none. */
int mmh_host_open_pipe(const char *path);
void mmh_host_close(int descriptor);

/* Copy standard input, or another open descriptor, to a new file, and tell `tick` how much there is so far. False: errno says
 * why (EINTR: interrupted, EOVERFLOW: it holds more than limit_bytes; 0: no limit). */
bool mmh_host_spool(const char *path, int from, uint64_t limit_bytes, void (*tick)(uint64_t bytes));

/* A path by which standard input can be opened anew, if it is a file that nothing was read of:
 * static. NULL: it is a pipe, or the system has no such paths. */
const char *mmh_host_input_path(void);

/* ---- removing what was packed ---- */

/* What a file is and how it was last changed. */
struct mmh_host_identity {
    enum mmh_host_kind kind; /* of the path itself: a symlink is MMH_HOST_OTHER */
    uint64_t device, inode, bytes;
    int64_t changed_ns[2]; /* contents, and anything at all */
};

bool mmh_host_identify(struct mmh_host_identity *identity, const char *path); /* no symlinks */
bool mmh_host_identical(const struct mmh_host_identity *a, const struct mmh_host_identity *b);
char *mmh_host_link_target(const char *path);  /* of a symlink, to be freed; NULL: it is none */
bool mmh_host_remove_file(const char *path);   /* or a symlink. False: errno says why */
bool mmh_host_remove_folder(const char *path); /* if it is empty. False: errno says why */

/* Ask the system to forget what it has cached of a file that was synced, so that the next read is
 * of the disk. */
void mmh_host_drop_cache(const char *path);

#endif
