/*
 * The end of a container: recovery area, trailer, spare footer, index B, footer.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_CONTAINER_END_H
#define MMH_CONTAINER_END_H

#include "container/trailer.h"

struct mmh_container_end {
    mmh_container_sink *sink;
    void *sink_context;
    uint64_t position; /* of what goes into the sink next */
    unsigned hash_suite;
    /* In: index_a, index_bytes, table_bytes, page_count, root and header. Out: all of it. */
    struct mmh_footer footer;
    const uint8_t *index;             /* [footer.index_bytes] page table and pages */
    const struct mmh_buffer *trailer; /* sections, parity's not among them */
    /* NULL: no parity. */
    const struct mmh_container_recovery *recovery;
    mmh_container_read_at *read_back;
    void *read_context;
    /* Of a trailer that is added behind a whole container: its section of parity, or NULL. */
    const struct mmh_section *old_parity;
    /* What went into the sink must be safe before what follows does; NULL: it need not. */
    mmh_status (*settle)(void *context, mmh_error *err);
    void *settle_context;
    uint64_t recovery_bytes; /* out */
};

mmh_status mmh_container_end_write(struct mmh_container_end *end, const mmh_allocator *allocator,
                                   mmh_error *err);

#endif
