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
    mmh_error unknown; /* the first of what this version cannot check */
    bool open;         /* file, offset and end are a range that the next damage may go on with */
    uint64_t file, offset, end;
    uint64_t looks;       /* at tensors, in search of those that are hit */
    uint64_t looked_file; /* 1 + the file that `in_order` is of; 0: none */
    bool in_order;        /* its tensors follow one another */
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

/*
 * Note damaged chunks by what needs them: their places in files, or the blocks that they are models of.
 *
 *   bad  [chunk_count] 1: damaged
 *   why  says what is wrong with a chunk; asked about the first alone
 */
void mmh_damages_add_chunks(struct mmh_damages *damages, const uint8_t *bad,
                            void (*why)(void *context, uint64_t chunk, mmh_error *problem),
                            void *context);

/* Note a chunk or model of a kind that this version does not know; its file has not been checked whole. */
void mmh_damages_unknown(struct mmh_damages *damages, const mmh_error *problem);

/* Tell the last range. Returns how all of it ended, and err says why: `status` and what err says
 * already, if that is not for want of a file or of knowledge while there is damage, which counts more. */
mmh_status mmh_damages_end(struct mmh_damages *damages, mmh_status status, mmh_error *err);

#endif
