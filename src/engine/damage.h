/*
 * What verify finds damaged: counted, joined to ranges, and told to the caller.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_DAMAGE_H
#define MMH_DAMAGE_H

#include "engine/engine.h"

#define MMH_DAMAGE_NO_FILE UINT64_MAX

/* Zeroed but for reader, tell and user. */
struct mmh_damages {
    const mmh_reader *reader;
    mmh_damage_fn tell; /* NULL: nobody listens */
    void *user;
    uint64_t chunks, bytes; /* found so far */
    mmh_error first;
    bool open; /* file, offset and end are a range that the next damage may go on with */
    uint64_t file, offset, end;
    uint64_t looks; /* at tensors, in search of those that are hit */
};

/*
 * Note that bytes [offset, offset + bytes) of a file cannot be had. Damage comes in the order of
 * files and offsets.
 *
 *   file    or MMH_DAMAGE_NO_FILE: a chunk that is of no file
 *   chunks  how many that is; 0: the file as a whole is not what was packed
 *   what    "model of ", ""; before the name, in the message
 */
void mmh_damages_add(struct mmh_damages *damages, uint64_t file, uint64_t offset, uint64_t bytes,
                     uint64_t chunks, const char *what, const mmh_error *problem);

/* Tell the last range. MMH_E_CORRUPT, with the first message, if there was damage. */
mmh_status mmh_damages_end(struct mmh_damages *damages, mmh_error *err);

#endif
