/*
 * What the host lays out for the kernels: read by C, by OpenCL C and by CUDA.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A batch is five buffers: payloads, fields (one struct for each chunk), side (32-bit words that
 * fields point into: stripes, tail segments, work lists), models (decode tables and classes) and
 * flags (one word for each chunk: not 0 once it was found to be damaged). Everything is a 32-bit
 * word, so that no compiler pads. Whatever is here was checked by the host: kernels trust it, and
 * clamp only what they compute from payload bits.
 */
#ifndef MMH_DEVICE_LAYOUT_H
#define MMH_DEVICE_LAYOUT_H

#if defined(__OPENCL_C_VERSION__) || defined(__CUDACC__)
typedef unsigned int mmh_device_word;
#else
#include <stdint.h>
typedef uint32_t mmh_device_word;
#endif

#define MMH_DEVICE_UNIT 64          /* payloads and outputs begin at multiples of so many bytes */
#define MMH_DEVICE_RUN 16384        /* elements of one tier block, and of one run of a fill */
#define MMH_DEVICE_TIERS 6          /* tiers at the most */
#define MMH_DEVICE_ITEMS 256        /* work-items of a group that decodes one run */
#define MMH_DEVICE_PATCH_ITEMS 64   /* patches, and work-items, of a group that patches */
#define MMH_DEVICE_LANES 32         /* rANS states of a stripe */
#define MMH_DEVICE_NONE 0xffffffffu /* no classes of that kind */

/* Shapes that kernels are made for, named by stored bits and element bytes: sign stored, no zero
 * bits, plain tails. Those of 6 bits may have a window, the others have none. */
#define MMH_DEVICE_SHAPE_ANY 0
#define MMH_DEVICE_SHAPE_8_OF_2 1  /* bf16 tiers */
#define MMH_DEVICE_SHAPE_8_OF_4 2  /* fp32 tiers */
#define MMH_DEVICE_SHAPE_11_OF_2 3 /* fp16 tiers */
#define MMH_DEVICE_SHAPE_6_OF_2 4  /* bf16 rANS, two mantissa bits in the symbol */
#define MMH_DEVICE_SHAPE_6_OF_4 5  /* fp32 rANS */
#define MMH_DEVICE_SHAPE_9_OF_2 6  /* fp16 rANS */

/* Kernels: what a work list is for. An entry is two words: chunk, and which part of it. */
#define MMH_DEVICE_FILL 0        /* part: run */
#define MMH_DEVICE_TIER 1        /* part: tier block */
#define MMH_DEVICE_RANS_LOCAL 2  /* part: first stripe of the group; tables in local memory */
#define MMH_DEVICE_RANS_GLOBAL 3 /* the same; tables in global memory */
#define MMH_DEVICE_PATCH 4       /* part: first patch / MMH_DEVICE_PATCH_ITEMS; after all others */
#define MMH_DEVICE_KERNELS 5

/* One chunk. Offsets are in bytes from its payload unless said otherwise. */
struct mmh_device_fields {
    mmh_device_word payload; /* in units of MMH_DEVICE_UNIT from the payloads' beginning */
    mmh_device_word output;  /* the same from the output's beginning */
    mmh_device_word elements;
    mmh_device_word element_bytes; /* 2 or 4 */

    /* From symbol byte and stored bits to head. */
    mmh_device_word shape;
    mmh_device_word mantissa_bits; /* q: of the symbol */
    mmh_device_word window;        /* modulo the symbol's range */
    mmh_device_word symbol_mask;   /* 2^(16 - R) - 1, twice */
    mmh_device_word symbol_shift;  /* R - 1 */
    mmh_device_word zero_low;      /* z */
    mmh_device_word sign_stored;   /* 1: the lowest stored bit is the sign */
    mmh_device_word sign;          /* else the sign bit, twice */
    mmh_device_word fill;          /* symbol byte of a fill, four times */
    mmh_device_word stored_bits;
    mmh_device_word plane[4]; /* of 8, 4, 2, 1 bits */

    /* fp32 */
    mmh_device_word tail_mode; /* 0 none, 1 plain, 2 segments */
    mmh_device_word tail;      /* plain: the u16 plane */
    mmh_device_word segment_elements;
    mmh_device_word segment_first; /* elements of the first one */
    mmh_device_word segments;      /* in side: for each one offset, then zero bits */

    mmh_device_word patch_count;
    mmh_device_word positions;
    mmh_device_word heads;

    /* tiers */
    mmh_device_word tier_count;
    mmh_device_word ranks[MMH_DEVICE_TIERS]; /* symbol of code 0 | of 1 << 8 | of 2 << 16 */
    mmh_device_word directory;
    mmh_device_word blocks;
    mmh_device_word shifted;

    /* rANS; tables are in words from the models' beginning */
    mmh_device_word stripe_elements;
    mmh_device_word stripe_count;
    mmh_device_word stripes; /* in side: for each one offset of its states, then words */
    mmh_device_word table_bits;
    mmh_device_word table_count;
    mmh_device_word tables;         /* symbol << 24 | frequency << 12 | slot - start, by slot */
    mmh_device_word compact;        /* an index byte by slot, all tables; then, by index, */
    mmh_device_word compact_words;  /* symbol << 24 | frequency << 12 | start: words of it all, */
    mmh_device_word compact_ranges; /* words before the first of those, */
    mmh_device_word compact_stride; /* and entries of one table */
    mmh_device_word map;            /* table of each of the 64 bins, a byte each */

    /* In side: the parts of the chunk that lie in one matrix each, in order. The last one has no
     * end: there is always one for every element. */
    mmh_device_word views;
    mmh_device_word view_count;
};

/* A view of a chunk. Element i of the chunk lies `column + i - first` elements behind the beginning
 * of `row`. */
struct mmh_device_view {
    mmh_device_word first, end; /* of the chunk's elements */
    mmh_device_word columns;
    mmh_device_word column, row;
    mmh_device_word rows;                        /* that there are classes for */
    mmh_device_word column_classes, row_classes; /* in bytes in the models, or MMH_DEVICE_NONE */
};

#endif
