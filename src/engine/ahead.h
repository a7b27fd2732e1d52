/*
 * Reading ahead where every read is a round trip: few large reads of a source instead of many small ones.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_AHEAD_H
#define MMH_AHEAD_H

#include "engine/engine.h"

enum {
    MMH_AHEAD_BYTES = 16 << 20,     /* of chunks in one read, about: those of a block */
    MMH_AHEAD_GAP_BYTES = 64 << 10, /* between them, which nobody wants, at the most */
};

/* ---- opening ---- */

/* Bytes that were read. */
struct mmh_kept {
    uint8_t *data; /* [bytes] of the source from `offset` on */
    uint64_t offset;
    size_t bytes;
};

/* What is kept of a container while it is opened. */
struct mmh_ahead_opening {
    const mmh_input *input;
    const mmh_allocator *allocator;
    uint64_t index_begin, index_end; /* index A, if there is a footer to tell */
    struct mmh_kept header, tail, index;
};

/*
 * Read the end of a container and its beginning. For mmh_ahead_close, whatever comes back. What is large
 * and has neither of a container is MMH_E_CORRUPT: it is not searched for one.
 */
mmh_status mmh_ahead_open(struct mmh_ahead_opening *opening, const mmh_input *input,
                          const mmh_allocator *allocator, mmh_error *err);
void mmh_ahead_close(struct mmh_ahead_opening *opening);

/* A mmh_container_read_at: what is kept is not read again, and index A is read in large pieces. */
mmh_status mmh_ahead_read_at(void *opening, void *dst, uint64_t offset, size_t bytes,
                             mmh_error *err);

/* ---- chunks ---- */

/* Whether a chunk may be read with what lies before it, [begin, end) of the source. */
bool mmh_ahead_follows(const struct mmh_chunk_entry *chunk, uint64_t begin, uint64_t end);

/*
 * Tell what a worker will fetch, in this order. 0: nothing more, and what it has kept is forgotten.
 *
 *   chunks  [count] numbers, which outlive what was told
 */
void mmh_ahead_expect(struct mmh_worker *worker, const uint32_t *chunks, size_t count);

/* Read a stored chunk to dst: of what is kept, or with those that are expected after it and lie behind it. */
mmh_status mmh_ahead_fetch(mmh_reader *reader, struct mmh_worker *worker, uint32_t chunk,
                           uint8_t *dst, mmh_error *err);

#endif
