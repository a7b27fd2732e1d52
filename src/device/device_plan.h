/*
 * A set of chunks checked and laid out for the kernels; knows nothing of any driver.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_DEVICE_PLAN_H
#define MMH_DEVICE_PLAN_H

#include "base/cursor.h"
#include "device/device.h"
#include "device/device_layout.h"

struct mmh_device_plan_options {
    bool items;             /* item style: one stripe for each work-item, tables in global memory */
    size_t local_bytes;     /* of a work-group, for tables */
    unsigned local_stripes; /* that share a group when the tables lie in local memory */
    unsigned global_stripes; /* and when they do not */
};

/* Entries of a kernel's work list. */
struct mmh_device_work {
    uint32_t first; /* in side, in words */
    uint32_t count;
};

struct mmh_device_plan {
    const mmh_allocator *allocator;
    const struct mmh_device_chunk *chunks; /* the set's: gone once its payloads are uploaded */
    size_t chunk_count;
    struct mmh_device_fields *fields; /* [chunk_count] */
    struct mmh_buffer side, models;   /* words, little endian */
    struct mmh_device_work work[MMH_DEVICE_KERNELS];
    uint32_t table_bytes;   /* local memory that MMH_DEVICE_RANS_LOCAL needs for its tables */
    uint64_t payload_bytes; /* of all payloads, each at fields[].payload * MMH_DEVICE_UNIT */
    uint64_t output_bytes;
};

/* Fails as mmh_device_batch_create. The plan is empty after a failure. */
mmh_status mmh_device_plan_init(struct mmh_device_plan *plan, const struct mmh_device_set *set,
                                const struct mmh_device_plan_options *options,
                                const mmh_allocator *allocator, mmh_error *err);
void mmh_device_plan_release(struct mmh_device_plan *plan);

/* Free what only the upload needs: fields, side, models, and the set's chunks are forgotten. */
void mmh_device_plan_trim(struct mmh_device_plan *plan);

/* decode.cl with all that it includes: tools/embed.py makes it while building. */
extern const char mmh_device_source[];
extern const size_t mmh_device_source_bytes;

/* A run of a block's elements that lie in one matrix. */
struct mmh_device_run {
    uint64_t first, end; /* of the block's elements */
    uint64_t columns, phase, rows;
    uint32_t column_classes, row_classes; /* in bytes in the models, or MMH_DEVICE_NONE */
};

/* What a model brings to the fields of its block's chunks; everything in it was checked. */
struct mmh_device_model {
    unsigned kind; /* 0: none; 1: rANS tables; 2: tier shifts */
    unsigned bits, table_count;
    uint64_t elements;
    uint32_t tables, compact, compact_words, compact_ranges, compact_stride, map;
    struct mmh_device_run *runs; /* [run_count] in order; the first begins at element 0 */
    size_t run_count;
};

/* Read a model payload and append its tables and classes to `models`. The model is empty after a
 * failure. */
mmh_status mmh_device_model_init(struct mmh_device_model *model, struct mmh_buffer *models,
                                 const struct mmh_device_block *block, mmh_error *err);
void mmh_device_model_release(struct mmh_device_model *model, const mmh_allocator *allocator);

#endif
