/*
 * Who makes recovery areas in outputs: container/trailer.h's seam, over integrity/recovery.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_AREA_H
#define MMH_AREA_H

#include "container/trailer.h"
#include "engine/engine.h"

struct mmh_area_maker {
    mmh_context *context;
    mmh_output *output;              /* whose bytes are the container's */
    unsigned parity;                 /* hundredths of a percent */
    uint32_t generation;             /* of a tail that is added to a container: 1 and up */
    uint64_t wall_ns;                /* out: what it took */
    mmh_container_recovery recovery; /* for the container writer */
};

/* The maker stays where it is. */
void mmh_area_maker_init(struct mmh_area_maker *maker, mmh_context *context, mmh_output *output,
                         unsigned parity);

/* mmh_container_read_at of an output, for its options' read_back. */
mmh_status mmh_area_read_back(void *output, void *dst, uint64_t offset, size_t bytes,
                              mmh_error *err);

#endif
