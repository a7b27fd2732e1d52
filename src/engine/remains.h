/*
 * What is left of a damaged container: its footer, trailer and parity, wherever they can be had from.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_REMAINS_H
#define MMH_REMAINS_H

#include "container/trailer.h"
#include "engine/mend.h"

/* A footer with its trailer, as packets of parity have them. */
struct mmh_old_tail {
    struct mmh_footer footer;
    uint8_t *bytes; /* [MMH_FOOTER_BYTES + footer.trailer_bytes] footer, then trailer */
    uint32_t generation;
};

enum { MMH_OLD_TAILS_MAX = 64 };

struct mmh_remains {
    const mmh_allocator *allocator;
    struct mmh_copy copy;
    bool found; /* a footer that serves: */
    struct mmh_footer footer;
    uint8_t footer_bytes[MMH_FOOTER_BYTES];
    uint8_t *trailer; /* [footer.trailer_bytes] */
    bool trailer_right;
    bool trailer_lost;   /* there was a later one, whose bytes are lost */
    uint32_t generation; /* of the tail's packets */
    unsigned hash_suite;
    bool has_parity;  /* with copy.layout */
    bool has_packets; /* of some container's parity: some were seen */
    /* Tails of the same parity that later ones were put behind; some. */
    struct mmh_old_tail *old_tails; /* [old_tail_count] */
    size_t old_tail_count;
};

/*
 * Look for them in a file. *remains is for mmh_remains_release, whatever comes back. Fails with
 * MMH_E_MEMORY alone.
 *
 *   thorough  doubt a trailer that seems right, and look at all packets for a better one
 */
mmh_status mmh_remains_find(struct mmh_remains *remains, const mmh_input *input, bool thorough,
                            const mmh_allocator *allocator, mmh_error *err);
/* Whether two footers are of one container, whatever trailers they end. */
bool mmh_footers_agree(const struct mmh_footer *a, const struct mmh_footer *b);

void mmh_remains_release(struct mmh_remains *remains);

#endif
