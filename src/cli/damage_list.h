/*
 * What is lost of a container's files: kept while it is told by the library, for people and for JSON.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_DAMAGE_LIST_H
#define MMH_DAMAGE_LIST_H

#include "cli/cli.h"

/* A range of a file that cannot be had, or after it a tensor that it hits. */
struct mmh_damage_entry {
    char *file;   /* NULL: a chunk that no file needs, or a tensor */
    char *tensor; /* NULL: a range */
    uint64_t offset, bytes;
    size_t tensors; /* that a range hits, kept or not */
    bool unsearched;
};

struct mmh_damage_list {
    struct mmh_damage_entry *entries;
    size_t count, room;
    size_t name_bytes;
    size_t last; /* 1 + the last range told, if it is kept; else 0 */
    bool cut;    /* there was more */
};

void mmh_cli_damage_keep(void *list, const mmh_damage *damage); /* a mmh_damage_fn */
void mmh_cli_damage_release(struct mmh_damage_list *list);

/* How much it is, and where; with -v all of it. whole: all was looked at. */
void mmh_cli_damage_tell(const struct mmh_cli_options *options, const struct mmh_damage_list *list,
                         const mmh_unpack_report *report, bool whole);
/* "damaged_chunks", "damaged_bytes" (report NULL: not these), "damage", "damage_cut". */
void mmh_cli_damage_json(struct mmh_json_out *out, const struct mmh_damage_list *list,
                         const mmh_unpack_report *report);

#endif
