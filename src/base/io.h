/*
 * Files, folders, clocks and processors: every call to the operating system is behind this door.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Paths are bytes as the system has them, '/' between folders. System failures are MMH_E_IO with
 * the path and the system's reason. Reading and writing at offsets is safe from several threads
 * at once on one handle; everything else takes one thread at a time.
 */
#ifndef MMH_IO_H
#define MMH_IO_H

#include "base/arena.h"

typedef struct mmh_folder mmh_folder; /* an open folder: paths beneath it follow no symlink */
typedef struct mmh_input mmh_input;   /* an input: seekable, of known size */
typedef struct mmh_output mmh_output; /* an output */

enum mmh_path_kind {
    MMH_PATH_NONE, /* there is nothing */
    MMH_PATH_FILE,
    MMH_PATH_FOLDER,
    MMH_PATH_SYMLINK,
    MMH_PATH_OTHER /* pipe, socket, device */
};

struct mmh_path_info {
    const char *path;   /* relative to the root that was listed; "" for the root itself */
    const char *target; /* of a symlink, as listed; else NULL */
    enum mmh_path_kind kind;
    uint32_t mode;  /* permission bits, 07777 */
    uint64_t bytes; /* of a file */
    int64_t mtime_seconds;
    uint32_t mtime_nanoseconds;
    uint64_t device, inode; /* equal for two names of one file */
    bool own;               /* it belongs to this user, and nobody else may write to it */
};

/* ---- looking ---- */

/* Whether its owner alone may do anything with it. */
static inline bool mmh_path_is_private(const struct mmh_path_info *info)
{
    return !(info->mode & 077);
}

/* What lies at a path. follow: look through a final symlink. A missing path is MMH_PATH_NONE
 * and no failure. Leaves path and target NULL. */
mmh_status mmh_path_stat(struct mmh_path_info *info, const char *path, bool follow, mmh_error *err);

/*
 * Lock an existing regular file against other processes that change it, and wait up to wait_ns for
 * one that does. What has the path in the end is locked, also where the other process has put a new
 * file in place. Where the file system has no locks nothing is locked, and that is no failure.
 *
 *   lock  out: for mmh_path_unlock; -1: after a failure, or another process is still changing it
 */
mmh_status mmh_path_lock(int *lock, const char *path, uint64_t wait_ns, mmh_error *err);
void mmh_path_unlock(int lock); /* -1: none */

struct mmh_list_limits {
    size_t entries; /* 0: ten million */
    unsigned depth; /* folders within folders; 0: 64 */
};

/*
 * List everything beneath a folder, itself not included, sorted by the bytes of the whole
 * relative path (so a folder comes before what is in it). Symlinks are listed, not followed.
 * Entries and strings live in the arena. Fails with MMH_E_LIMIT over a limit.
 */
mmh_status mmh_folder_list(struct mmh_path_info **entries, size_t *count, struct mmh_arena *arena,
                           const mmh_folder *folder, const struct mmh_list_limits *limits,
                           mmh_error *err);

/* ---- folders ---- */

/* Open an existing folder; `path` itself may be or hold symlinks. create: make it (and its
 * parents) if there is none. */
mmh_status mmh_folder_open(mmh_folder **folder, const char *path, bool create,
                           const mmh_allocator *allocator, mmh_error *err);
void mmh_folder_close(mmh_folder *folder); /* may be NULL */

/*
 * Beneath a folder: `relative` has components separated by single '/', none of them empty, "."
 * or ".."; anything else is MMH_E_USAGE, and so is a symlink on the way: none is followed.
 */
bool mmh_path_is_relative(const char *relative);

mmh_status mmh_folder_open_beneath(mmh_folder **out, const mmh_folder *folder, const char *relative,
                                   const mmh_allocator *allocator, mmh_error *err);

/* mkdir -p; each folder that is created gets `mode` less the umask. An existing one stays. */
mmh_status mmh_folder_make(const mmh_folder *folder, const char *relative, uint32_t mode,
                           mmh_error *err);
mmh_status mmh_folder_symlink(const mmh_folder *folder, const char *relative, const char *target,
                              bool overwrite, mmh_error *err);
mmh_status mmh_folder_stat(struct mmh_path_info *info, const mmh_folder *folder,
                           const char *relative, mmh_error *err); /* as mmh_path_stat */
/* Remove a file, symlink or empty folder; nothing there is no failure. */
mmh_status mmh_folder_remove(const mmh_folder *folder, const char *relative, mmh_error *err);
/* Move an entry to another name beneath the same folder; an existing one is MMH_E_USAGE "exists"
 * unless `overwrite`. */
mmh_status mmh_folder_rename(const mmh_folder *folder, const char *from, const char *to,
                             bool overwrite, mmh_error *err);
/* Let two entries beneath a folder change places at once. *exchanged false and MMH_OK: `to` is not
 * there, or the file system cannot; nothing has happened. */
mmh_status mmh_folder_exchange(const mmh_folder *folder, const char *from, const char *to,
                               bool *exchanged, mmh_error *err);
/* Remove a folder and all that is in it. */
mmh_status mmh_folder_remove_tree(const mmh_folder *folder, const char *relative, mmh_error *err);
mmh_status mmh_path_remove_folder(const char *path, mmh_error *err); /* an empty one */

/* ".mmh-<16 hex digits>.tmp" (files that are being written) and ".mmh-unpack-<16 hex digits>"
 * (folders that are being filled): names that mmh gives and removes. */
enum { MMH_STAGING_BYTES = 32 };
bool mmh_path_is_temporary(const char *name, size_t bytes);

/*
 * Make a folder of such a name beneath another, mode 0700, and open it. It is locked as long as the
 * handle is open, so that mmh_folder_sweep of other processes leaves it alone.
 *
 *   name   [MMH_STAGING_BYTES] out
 */
mmh_status mmh_folder_stage(mmh_folder **staging, char *name, const mmh_folder *folder,
                            mmh_error *err);

/* Wait until no other process has locked a folder so, for some seconds at the most; the lock goes
 * with the handle. */
void mmh_folder_lock(const mmh_folder *folder);

/* Remove what writers that were killed have left right beneath a folder: what has a temporary name,
 * is the user's own, and is locked by nobody. Never fails. */
void mmh_folder_sweep(const mmh_folder *folder);

/* Bytes that the file system of a folder can still take; UINT64_MAX if it does not tell. */
uint64_t mmh_folder_room(const mmh_folder *folder);
/* Permission bits of a file or folder (after its files were written); ".": the folder itself. */
mmh_status mmh_folder_set_mode(const mmh_folder *folder, const char *relative, uint32_t mode,
                               mmh_error *err);
mmh_status mmh_folder_set_mtime(const mmh_folder *folder, const char *relative, int64_t seconds,
                                uint32_t nanoseconds, mmh_error *err); /* of a symlink itself */

/* ---- inputs ---- */

enum mmh_access { MMH_ACCESS_NORMAL, MMH_ACCESS_SEQUENTIAL, MMH_ACCESS_RANDOM };

/* Open for reading. A regular file is read in place; a pipe or the like is spooled, as below.
 * A folder is MMH_E_USAGE. An interrupt while a pipe is waited for is MMH_E_CANCELLED. */
mmh_status mmh_input_open(mmh_input **input, const char *path, const mmh_allocator *allocator,
                          mmh_error *err);

/* The same of a regular file alone: what it is not is MMH_E_USAGE, and is not waited for. */
mmh_status mmh_input_open_file(mmh_input **input, const char *path, const mmh_allocator *allocator,
                               mmh_error *err);
mmh_status mmh_input_open_beneath(mmh_input **input, const mmh_folder *folder, const char *relative,
                                  const mmh_allocator *allocator, mmh_error *err);

/*
 * Take an open descriptor (0: standard input), which stays the caller's. A regular file that
 * stands at its beginning is read in place; anything else is copied to an unlinked temporary
 * file in $TMPDIR or /tmp, up to limit_bytes (0: no limit; over it: MMH_E_LIMIT).
 */
mmh_status mmh_input_open_descriptor(mmh_input **input, int descriptor, const char *name,
                                     uint64_t limit_bytes, const mmh_allocator *allocator,
                                     mmh_error *err);

/* Bytes in memory as a file; they stay the caller's and must outlive it. */
mmh_status mmh_input_open_memory(mmh_input **input, const void *data, size_t bytes,
                                 const char *name, const mmh_allocator *allocator, mmh_error *err);

/* MMH_E_USAGE if a source of the caller's (mmh.h) lacks something. */
mmh_status mmh_source_check(const mmh_source *source, mmh_error *err);

/* A source of the caller's, which is copied: its failures are those of reads. Checked as above. */
mmh_status mmh_input_open_source(mmh_input **input, const mmh_source *source,
                                 const mmh_allocator *allocator, mmh_error *err);
void mmh_input_close(mmh_input *input); /* may be NULL */

const char *mmh_input_name(const mmh_input *input); /* for messages */
uint64_t mmh_input_bytes(const mmh_input *input);   /* when it was opened */
const struct mmh_path_info *mmh_input_info(const mmh_input *input);
bool mmh_input_was_spooled(const mmh_input *input);
bool mmh_input_is_source(const mmh_input *input); /* reads cost a round trip, maybe a far one */

/* Read exactly dst[bytes] from `offset`. A range that ends past mmh_input_bytes is MMH_E_CORRUPT
 * ("ends at"); a file that has become shorter is MMH_E_IO. */
mmh_status mmh_input_read(const mmh_input *input, void *dst, uint64_t offset, size_t bytes,
                          mmh_error *err);

/* Fails with MMH_E_IO if the file has another size or modification time than when it was opened. */
mmh_status mmh_input_unchanged(const mmh_input *input, mmh_error *err);

/* Advice; never fails. ahead: this range will be wanted soon. forget: it will not. */
void mmh_input_advise(const mmh_input *input, enum mmh_access access);
void mmh_input_ahead(const mmh_input *input, uint64_t offset, uint64_t bytes);
void mmh_input_forget(const mmh_input *input, uint64_t offset, uint64_t bytes);

/* A whole small file with a NUL after it (not counted), for mmh_free. Over limit_bytes:
 * MMH_E_LIMIT. A pipe will do if somebody writes to it: it is waited for, but not forever. Other
 * than these is MMH_E_USAGE. */
mmh_status mmh_input_slurp(uint8_t **data, size_t *bytes, const char *path, size_t limit_bytes,
                           const mmh_allocator *allocator, mmh_error *err);

/* ---- outputs ---- */

struct mmh_output_options {
    bool overwrite; /* replace what is there; else it is MMH_E_USAGE "exists" */
    bool secret;    /* mode 0600 whatever `mode` says: keys */
    bool sweep;     /* mmh_folder_sweep first */
    uint32_t mode;  /* permission bits, taken as they are; 0: 0666 less the umask */
};

/*
 * A file that appears under its name only when it is committed: until then it has no name, or where
 * the system cannot do that a temporary one beside it, mode 0600 (docs/adr/0008). options NULL: all
 * zero.
 */
mmh_status mmh_output_create(mmh_output **output, const char *path,
                             const struct mmh_output_options *options,
                             const mmh_allocator *allocator, mmh_error *err);
mmh_status mmh_output_create_beneath(mmh_output **output, const mmh_folder *folder,
                                     const char *relative, const struct mmh_output_options *options,
                                     const mmh_allocator *allocator, mmh_error *err);

/* A descriptor of the caller's, e.g. 1 for standard output: append only. */
mmh_status mmh_output_open_descriptor(mmh_output **output, int descriptor, const char *name,
                                      const mmh_allocator *allocator, mmh_error *err);

/* MMH_E_USAGE if a sink of the caller's (mmh.h) lacks something. */
mmh_status mmh_sink_check(const mmh_sink *sink, mmh_error *err);

/* A sink of the caller's, which is copied: append only. Checked as above. */
mmh_status mmh_output_open_sink(mmh_output **output, const mmh_sink *sink,
                                const mmh_allocator *allocator, mmh_error *err);

/* An existing regular file, in place: appends go to its end, and closing without a commit cuts
 * it back to the size that it had (what write_at changed below that stays changed). */
mmh_status mmh_output_open_existing(mmh_output **output, const char *path,
                                    const mmh_allocator *allocator, mmh_error *err);

/* Free the handle. What was not committed is removed (abandoned). May be NULL. */
void mmh_output_close(mmh_output *output);

/* Sync the file, give it its name, sync the folder. The output takes no more writes. */
mmh_status mmh_output_commit(mmh_output *output, mmh_error *err);

/* Commit without the syncs, for many small files: mmh_folder_sync follows. */
mmh_status mmh_output_commit_unsynced(mmh_output *output, mmh_error *err);
mmh_status mmh_folder_sync(const mmh_folder *folder, mmh_error *err); /* its whole file system */

/* Sync what was written so far; it may be written on. Of a descriptor nothing is done. */
mmh_status mmh_output_sync(mmh_output *output, mmh_error *err);

const char *mmh_output_name(const mmh_output *output);
uint64_t mmh_output_position(const mmh_output *output); /* where append goes on */

mmh_status mmh_output_append(mmh_output *output, const void *data, size_t bytes, mmh_error *err);
mmh_status mmh_output_append_zeros(mmh_output *output, uint64_t bytes, mmh_error *err);

/* Seekable outputs only, else MMH_E_USAGE. write_at does not move the append position, but
 * append goes on behind the furthest byte of both once mmh_output_seek_end says so. */
mmh_status mmh_output_write_at(mmh_output *output, uint64_t offset, const void *data, size_t bytes,
                               mmh_error *err);
mmh_status mmh_output_read_at(mmh_output *output, void *dst, uint64_t offset, size_t bytes,
                              mmh_error *err);
mmh_status mmh_output_seek_end(mmh_output *output, mmh_error *err);

/* Set the size; room for it is reserved where the file system can, and nothing is written where it
 * has less (a full disk shows now). */
mmh_status mmh_output_resize(mmh_output *output, uint64_t bytes, mmh_error *err);
mmh_status mmh_output_set_mtime(mmh_output *output, int64_t seconds, uint32_t nanoseconds,
                                mmh_error *err);

/* ---- the machine ---- */

uint64_t mmh_clock_ns(void);    /* monotonic */
unsigned mmh_cpu_count(void);   /* that this process may use; at least 1 */
uint64_t mmh_peak_memory(void); /* peak resident bytes of this process; 0 if unknown */
const char *mmh_environment(const char *name); /* getenv; NULL in set-user-id programs */

/* ---- for tests ---- */

/* Make the nth system read, write, sync, rename, open or truncate from now on (1: the next), and
 * all that follow, fail with "input/output error"; 0: none. Returns how many are still to go. */
uint64_t mmh_io_fail_after(uint64_t nth);

/* The same for the nth call alone: those that follow succeed. */
uint64_t mmh_io_fail_once(uint64_t nth);

/* Call a function before the nth such call is made; 0: none. What it calls itself is not counted. */
void mmh_io_at(uint64_t nth, void (*call)(void));

/* Whether outputs may be files without a name (the default); not: as if the system had none. */
void mmh_io_allow_unnamed(bool allow);

#endif
