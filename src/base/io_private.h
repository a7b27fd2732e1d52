/*
 * What the files behind io.h share: descriptors, system failures, walking beneath a folder.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_IO_PRIVATE_H
#define MMH_IO_PRIVATE_H

#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1 /* fallocate, renameat2, secure_getenv, O_TMPFILE */
#endif

#include <sys/stat.h>
#include <sys/types.h>

#include "base/io.h"

enum { IO_CALL_BYTES = 1 << 30 }; /* most bytes of one read or write call: some systems' limit */

struct mmh_folder {
    const mmh_allocator *allocator;
    int descriptor;
    char *path; /* as it was given */
};

/* True, with errno EIO, when a test wants this system call to fail. */
bool io_fault(void);

/* MMH_E_IO "cannot VERB PATH: REASON" (or "cannot VERB FOLDER/PATH") from errno; ENOMEM is
 * MMH_E_MEMORY, EINTR MMH_E_CANCELLED. folder may be NULL. */
mmh_status io_fail(mmh_error *err, const char *verb, const mmh_folder *folder, const char *path);

/* What a function of the caller's failed with: its message, or if it left none "cannot VERB NAME". */
mmh_status io_fail_as(mmh_error *err, mmh_status status, mmh_error *why, const char *verb,
                      const char *name);

/* A copy of text on the heap; NULL if out of memory. */
char *io_text_copy(const mmh_allocator *allocator, const char *text);

/* Descriptor of the folder that holds `relative`, to be closed, and its last component within
 * `relative`. No symlink is followed. -1 after a failure, which is in err. */
int io_open_parent(const char **last, const mmh_folder *folder, const char *relative,
                   mmh_status *status, mmh_error *err);

void io_info_set(struct mmh_path_info *info, const struct stat *from);

/* Read or write all of it, at an offset or (offset < 0) where the descriptor stands. reading
 * returns the bytes before the end of file; -1 and errno after a failure. */
ssize_t io_read(int descriptor, void *dst, size_t bytes, int64_t offset);
bool io_write(int descriptor, const void *src, size_t bytes, int64_t offset);

/* ".mmh-<16 hex digits>.tmp": 26 bytes with the NUL. */
enum { IO_TEMPORARY_BYTES = 26 };
void io_temporary_name(char name[IO_TEMPORARY_BYTES]);
uint64_t io_random(void); /* for names: need not be secret */

/* Lock what has just been made as `name` in a folder against io_sweep. False: a sweep was quicker
 * and has removed it. Where nothing can be locked nothing is swept, so that is no failure. */
bool io_hold(int descriptor, int folder, const char *name);

/* Remove what killed writers left in an open folder: io.h, mmh_folder_sweep. */
void io_sweep(int folder, const mmh_allocator *allocator);

/* Bytes that the file system of an open file or folder can still take; UINT64_MAX: unknown. */
uint64_t io_room(int descriptor);

/* Rename a file or folder unless its new name is taken: false and errno EEXIST then. */
bool io_rename_new(int from_folder, const char *from, int to_folder, const char *to);

bool io_sync(int descriptor); /* fsync; what cannot be synced is no failure */

#endif
