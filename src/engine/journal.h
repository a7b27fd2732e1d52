/*
 * The journal of a repair: what is to be written where, complete on disk before anything is.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A file of its own beside the container, "NAME-journal", that has its name only when it is complete
 * and synced. Whoever finds one writes what it says, again perhaps, and removes it; but only to the very
 * file that it was made for. What an archive has put there beside a container is of another file.
 *
 *     head, 128 bytes: magic, root, sizes, count, end, device and inode of the container, CRC
 *     records: u32 CRC of all behind `valid`, u32 valid or void, u64 offset, u32 bytes, u32 0, data,
 *         padding to 8
 */
#ifndef MMH_JOURNAL_H
#define MMH_JOURNAL_H

#include "container/trailer.h"
#include "engine/engine.h"

enum { MMH_JOURNAL_ROOT_BYTES = 32 };

struct mmh_journal {
    const mmh_allocator *allocator;
    mmh_output *output;
    char *path;
    uint8_t *record;   /* one that is being written */
    uint64_t position; /* where the next record goes */
    uint64_t count;    /* records */
    uint64_t data_bytes;
    uint8_t root[MMH_JOURNAL_ROOT_BYTES];
    uint64_t size_before, size_after; /* of the container */
    uint64_t device, inode;           /* of its file */
};

enum mmh_journal_kind {
    MMH_JOURNAL_NONE,
    MMH_JOURNAL_OWN, /* a file of this user's, that nobody else may write to, with a journal's magic */
    MMH_JOURNAL_OTHER /* some other file of that name */
};

/* Begin one for a container. It disappears if it is not committed. For mmh_journal_release, whatever
 * comes back. */
mmh_status mmh_journal_create(struct mmh_journal *journal, const char *container,
                              const uint8_t root[MMH_JOURNAL_ROOT_BYTES], uint64_t size_before,
                              uint64_t size_after, const mmh_allocator *allocator, mmh_error *err);
void mmh_journal_release(struct mmh_journal *journal);

/* Note bytes to be written; *data_at: where they are in the journal. */
mmh_status mmh_journal_add(struct mmh_journal *journal, uint64_t offset, const void *data,
                           size_t bytes, uint64_t *data_at, mmh_error *err);
/* Read noted bytes back, and take them back. */
mmh_status mmh_journal_read(const struct mmh_journal *journal, void *dst, uint64_t data_at,
                            size_t bytes, mmh_error *err);
mmh_status mmh_journal_void(struct mmh_journal *journal, uint64_t data_at, mmh_error *err);

/* Complete it, sync it, and give it its name. */
mmh_status mmh_journal_commit(struct mmh_journal *journal, mmh_error *err);

/* Write all records, of a journal that is not committed, to an output. */
mmh_status mmh_journal_apply(const struct mmh_journal *journal, mmh_output *output, mmh_error *err);

/*
 * If there is a committed journal of a container, write what it says, sync, and remove it.
 *
 *   root      [MMH_JOURNAL_ROOT_BYTES] of the container as it is; NULL: not known
 *   container_bytes  that it should have; not looked at without a root
 *   replayed  out
 *
 * Fails with MMH_E_USAGE if the journal is of another container or file, or damaged, and writes nothing
 * then.
 */
mmh_status mmh_journal_replay(bool *replayed, const char *container, const uint8_t *root,
                              uint64_t container_bytes, const mmh_allocator *allocator,
                              mmh_error *err);

/* Remove the journal of a container that is as it should be. */
mmh_status mmh_journal_forget(const char *container, const mmh_allocator *allocator,
                              mmh_error *err);

/* What there is beside a container under a journal's name. */
mmh_status mmh_journal_look(enum mmh_journal_kind *kind, const char *container,
                            const mmh_allocator *allocator, mmh_error *err);

#endif
