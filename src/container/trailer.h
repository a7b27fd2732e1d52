/*
 * Footers, and the trailer: sections that guard a container and stand outside of its root; and the seam for parity.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * docs/format.md section 4. A trailer is read whole (it has at most 64 MiB) by whoever needs it:
 * opening a container that is not encrypted needs none.
 */
#ifndef MMH_TRAILER_H
#define MMH_TRAILER_H

#include "container/container.h"

/* ---- footers, for those who look at what is left of a container ---- */

void mmh_footer_write(uint8_t out[MMH_FOOTER_BYTES], const struct mmh_footer *footer);

/* False unless magic and CRC are right, its header is whole, and offsets fit as section 4 says. */
bool mmh_footer_read(struct mmh_footer *footer, const uint8_t in[MMH_FOOTER_BYTES]);

/* The footer of a source, or the last one in it that stands where it says; *found false: there is none. */
mmh_status mmh_footer_find(struct mmh_footer *footer, bool *found, mmh_container_read_at *read,
                           void *read_context, uint64_t source_bytes,
                           const mmh_allocator *allocator, mmh_error *err);

/* The Merkle root over header and page table; zeros behind it. */
mmh_status mmh_root_hash(uint8_t root[MMH_HASH_BYTES], unsigned suite,
                         const uint8_t header[MMH_HEADER_BYTES], const uint8_t *table,
                         size_t table_bytes, mmh_error *err);

/* ---- the trailer ---- */

/*
 * Read the trailer that a footer names. What is wrong in it is no failure: `sound` is false then, and
 * the sections are those that could be found. source_bytes: what there is to read. For mmh_trailer_release, whatever comes back.
 * Fails with MMH_E_MEMORY, MMH_E_IO.
 */
mmh_status mmh_trailer_read(struct mmh_trailer *trailer, const struct mmh_footer *footer,
                            mmh_container_read_at *read, void *read_context, uint64_t source_bytes,
                            const mmh_allocator *allocator, mmh_error *err);
void mmh_trailer_release(struct mmh_trailer *trailer);

/* Append a section to a trailer that is being made: head, body, padding. */
void mmh_trailer_add(struct mmh_buffer *trailer, uint32_t type, const void *body, size_t bytes);

/* Append all sections of a trailer but those of a type that has its bit (1 << type) in `without`:
 * those of unknown types too. Of one that is not sound, those that are right. */
void mmh_trailer_keep(struct mmh_buffer *trailer, const struct mmh_trailer *old, unsigned without);

/* ---- parity's seam ---- */

/* What is protected, and how. */
struct mmh_recovery_request {
    unsigned hash_suite;
    uint64_t end;        /* E: bytes [0, end) are protected; they have been written */
    const uint8_t *root; /* [root_bytes] */
    size_t root_bytes;
    size_t tail_bytes; /* footer and trailer, section 3 included */
    /* NULL: a whole recovery area. Else a new trailer is put behind the old one, and only packets of
     * the tail (kind 3) are wanted: */
    const uint8_t *geometry;          /* [MMH_GEOMETRY_BYTES] of the area that there is */
    uint64_t area_offset, area_bytes; /* of the same */
};

/*
 * Who makes recovery areas. The writer asks `plan` when index A is written, and `write` at once after
 * it, with the footer and trailer as they will be.
 */
typedef struct mmh_container_recovery {
    void *context;
    /* How many bytes `write` will take, and with request->geometry NULL the
     * geometry, for section 3. */
    mmh_status (*plan)(void *context, const struct mmh_recovery_request *request,
                       uint64_t *area_bytes, uint8_t geometry[MMH_GEOMETRY_BYTES], mmh_error *err);
    /*
     * Put exactly so many bytes at area_offset of what is behind the sink, at any places in any order; what
     * is appended next goes on behind them.
     *
     *   tail  [request->tail_bytes] footer, then trailer
     *   read  gives back what has been written, [0, request->end) at least
     */
    mmh_status (*write)(void *context, const struct mmh_recovery_request *request,
                        uint64_t area_offset, uint64_t area_bytes, const uint8_t *tail,
                        mmh_container_read_at *read, void *read_context, mmh_error *err);
} mmh_container_recovery;

#endif
