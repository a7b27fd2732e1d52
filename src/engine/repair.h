/*
 * Repair's state, shared by its files: what is known of a damaged container, and what is found to be
 * written.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_REPAIR_H
#define MMH_REPAIR_H

#include "engine/journal.h"
#include "engine/remains.h"

struct mmh_repairing {
    mmh_context *context;
    const char *path;
    const mmh_source *source; /* of the container; NULL: the file of that path */
    mmh_repair_options options;
    mmh_repair_report report;

    /* Copies of the container; the first is the one to be repaired. */
    size_t copy_count;
    mmh_input **inputs;          /* [1 + source_count] */
    struct mmh_remains *remains; /* [1 + source_count] */
    struct mmh_copy *copies;     /* [copy_count], as they are in `remains` */
    const char **originals;      /* [original_count] sources that are no containers */
    size_t original_count;
    const struct mmh_remains *main; /* whose footer and trailer count */

    uint8_t *index; /* [main->footer.index_bytes] right */
    bool has_mend;
    struct mmh_mend mend;
    uint32_t block_bytes; /* of parity's blocks; what is written is noted in these */
    uint64_t block_count;
    uint64_t *patched;      /* [block_count] where the journal has a block; 0: it has not */
    uint8_t *damaged;       /* [block_count] 1: found damaged */
    uint8_t *parity_wanted; /* [packets] */

    mmh_reader reader; /* over what is known to be right */
    bool reader_open;
    uint8_t *bad;      /* [chunk_count] 1: damaged, and not restored */
    uint8_t *bad_gaps; /* [chunk_count + 1] 1: bytes before a chunk are not zeros */
    uint64_t bad_count, right_count;

    bool dry;          /* only to see what could be restored: there is no journal */
    bool chunks_right; /* all of them are known to be */
    struct mmh_journal journal;
    uint64_t
        differences; /* between what is there and what should be, but for chunks and parity packets */
};

/* Look at everything, and mend what can be mended; nothing but the journal is written. */
mmh_status mmh_repairing_run(struct mmh_repairing *repairing, mmh_error *err);
void mmh_repairing_release(struct mmh_repairing *repairing);

/* What could be done for a container. */
struct mmh_assessment {
    bool has_parity;
    bool restorable;       /* all of it, by what the container has itself */
    uint64_t packet_count; /* of parity blocks */
    uint64_t packets_wrong;
    unsigned mended; /* MMH_MENDED_... that a repair would tell */
};

/*
 * See what a repair could do, and do nothing.
 *
 *   chunks_right  all chunks are known to be right: they are not read
 *
 * A container of which too little is left is no failure.
 */
mmh_status mmh_repair_assess(struct mmh_assessment *assessment, mmh_context *context,
                             const char *container, bool chunks_right, mmh_error *err);

/*
 * Open a container whose footers are lost, or pages of whose index, as far as parity gives them back: what
 * mmh_guards_open_by does, and says. Of opening->source, or the file at `path`.
 */
mmh_status mmh_repair_rescue(mmh_reader *reader, struct mmh_opening *opening, const char *path,
                             mmh_error *err);

/* Header, footer, trailer and index are known, and can be read; nothing has been looked at yet. */
mmh_status mmh_repairing_begin(struct mmh_repairing *repairing, mmh_error *err);

/* mmh_container_read_at of the container as far as it is known: context a struct mmh_repairing. */
mmh_status mmh_repairing_read(void *repairing, void *dst, uint64_t offset, size_t bytes,
                              mmh_error *err);

/* Note the right bytes of a chunk. */
mmh_status mmh_repairing_put_chunk(struct mmh_repairing *repairing, uint64_t chunk,
                                   const uint8_t *data, mmh_error *err);

/* Make lost chunks anew of the originals; *made: how many. */
mmh_status mmh_repairing_remake(struct mmh_repairing *repairing, uint64_t *made, mmh_error *err);

#endif
