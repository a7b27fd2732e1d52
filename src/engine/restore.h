/*
 * What unpack and verify share: the contents of files, decoded by all threads, written or only checked.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_RESTORE_H
#define MMH_RESTORE_H

#include "engine/damage.h"
#include "integrity/digest.h"

enum { MMH_RESTORE_FILES = 64 }; /* outputs that are open at a time */

struct mmh_restore_slot;

/* Zeroed but for what the caller sets: context, reader, digests, write, descriptor_output, damages. */
struct mmh_restoring {
    mmh_context *context;
    mmh_reader *reader;
    bool digests;           /* compare content digests */
    bool write;             /* restore; else only check */
    bool descriptor_output; /* outputs[0] takes appends, in order */
    struct mmh_damages
        *damages; /* not NULL: damage is noted and passed over; with `write` it becomes zeros */

    uint64_t first_file; /* that outputs[0] belongs to */
    mmh_output *outputs[MMH_RESTORE_FILES];

    /* of restore.c */
    uint64_t first_block, block_count; /* of the files being restored */
    uint64_t *runs_before;             /* [block_count + 1] runs of the blocks before each */
    struct mmh_restore_slot *slots;
    size_t window;
    /* the ordered side */
    mmh_digest *digest;
    bool digest_open;
    uint64_t file;      /* that the digest is of */
    uint64_t lost_file; /* 1 + that which can have no digest, as some is missing; 0: none */
    uint64_t next_file; /* empty files before it have been checked */
    uint64_t digests_right, digests_wrong;
};

mmh_status mmh_restoring_init(struct mmh_restoring *restoring, mmh_error *err);
void mmh_restoring_release(struct mmh_restoring *restoring);

/* Restore or check the contents of the regular files [first, end). */
mmh_status mmh_restore_files(struct mmh_restoring *restoring, uint64_t first, uint64_t end,
                             mmh_error *err);

/* MMH_E_LIMIT if all files together are larger than the caller's limit. */
mmh_status mmh_restore_check_limit(const struct mmh_restoring *restoring, mmh_error *err);

/* MMH_E_CORRUPT if a symlink leads outside. */
mmh_status mmh_restore_check_links(const struct mmh_restoring *restoring, mmh_error *err);

/* What the call has done. report: the caller's, may be NULL. */
void mmh_restore_report(mmh_unpack_report *report, const struct mmh_restoring *restoring,
                        uint64_t begin_ns, uint64_t sync_ns);

#endif
