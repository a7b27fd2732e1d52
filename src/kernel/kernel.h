/*
 * The kernel room's door: the inner loops of the codecs, one implementation per instruction set.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Every implementation fills one struct mmh_kernels and gives the same bytes as kernel_c.c, for
 * every input. Kernels allocate nothing, keep nothing and trust nothing that they read: whatever
 * the source holds, they stay inside the stated buffers. Unless said otherwise pointers need no
 * alignment, buffers do not overlap, and "readable slack" means bytes that may be read, never used.
 */
#ifndef MMH_KERNEL_H
#define MMH_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MMH_GROUP = 64,           /* elements in one group of the packed planes */
    MMH_TIER_BLOCK = 16384,   /* symbols coded together by the tiers */
    MMH_TIER_MAX = 6,         /* tiers at the most */
    MMH_RANS_LANES = 32,      /* rANS states in one stripe */
    MMH_RANS_BITS_MAX = 12,   /* log2 of the slots of one table, at the most */
    MMH_RANS_TABLES_MAX = 64, /* tables in one model, at the most */
    MMH_CLASS_BINS = 64,      /* values that row class + column class is clamped to */
    MMH_RANS_BURST = 65536,   /* symbols of a stripe that are decoded before they are merged */
    MMH_KERNEL_SLACK = 128,   /* readable and writable bytes after every scratch buffer */
};

/*
 * How an element is divided, docs/format.md "Float chunks".
 *
 * The head is the top 16 bits of an element (all of bf16 and fp16), the tail the rest: none, one
 * u16 (fp32) or three (fp64). With key = rotl16(head, 1), the exponent on top and the sign at the
 * bottom: symbol = key >> raw_bits, raw = key & (2^raw_bits - 1).
 */
struct mmh_split {
    uint8_t element_bytes; /* 2, 4, 8 */
    uint8_t raw_bits;      /* 16 - exponent bits - mantissa bits in the symbol; 3..11 */
    uint8_t stored_bits;   /* of raw: raw_bits - zero_low - (sign_mode != 0); 0..11 */
    uint8_t sign_mode;     /* 0: the sign is stored; 1: always 0; 2: always 1 */
    uint8_t zero_low;      /* lowest mantissa bits of the head that are 0 in every element */
    uint8_t symbol_low;    /* 2^q: symbols below it (exponent 0) are not moved by the window */
    uint8_t patch_symbol;  /* the byte that stands in for a symbol outside the window */
    uint16_t window_base;  /* symbol byte = symbol < symbol_low ? symbol : symbol - window_base */

    /*
     * merge alone: NULL, or [pair_tables][256] bytes by code. Then elements are pairs of bytes
     * (element_bytes 2, raw_bits and stored_bits 8, what else there is above 0): the first is that
     * of code (symbol & 15) << 4 | (raw & 15), the second that of (symbol & 240) | raw >> 4.
     * tails[0] is then the table of each pair, below pair_tables, or NULL: all table 0.
     */
    const uint8_t *pair_values;
    uint8_t pair_tables;
};

/*
 * The stored raw bits: planes of 8, 4, 2 and 1 bits whose widths add up to stored_bits, the
 * topmost bits in the widest plane. A plane of w bits holds 8*w bytes for each group of 64
 * elements; byte j of them holds element j + k*(8*w) in its bits [k*w, (k+1)*w).
 */
struct mmh_planes {
    uint8_t *plane[4]; /* of 8, 4, 2, 1 bits; ignored where stored_bits lacks that bit */
};

/* A tier of one block: two bit planes of count bits, u32 words, low bit first. */
struct mmh_tiers {
    uint8_t tier_count;              /* 1..MMH_TIER_MAX */
    uint8_t ranks[3 * MMH_TIER_MAX]; /* the symbols of each tier's codes 0, 1, 2 */
};

/* Whether stores bypass the cache: a hint, ignored where dst is not aligned well enough (AVX2: to 16
 * bytes, AVX-512: to 2); 64 is best. NEON has no such stores. */
enum mmh_stream_mode {
    MMH_STREAM_OFF,
    MMH_STREAM_ON,   /* fenced: other threads that learn of the call's end see the elements */
    MMH_STREAM_MORE, /* not fenced: the caller calls `fence` after the last one. 6 % faster */
};

/* Where the elements of a run go, and what they consist of beside their symbols. */
struct mmh_merge {
    uint8_t *dst;             /* [count * element_bytes] */
    struct mmh_planes planes; /* from the run's first element on; whole groups */
    const uint8_t *tails[3];  /* likewise; of pairs the tables, see struct mmh_split */
    const struct mmh_split *split;
    unsigned stream; /* enum mmh_stream_mode */
};

/* One stripe of rANS, docs/format.md "rANS symbols". */
struct mmh_rans_stripe {
    uint8_t *symbols; /* [ceil(count / 128) * 128 + slack] decoded, in element order; with
                             * `merge` scratch of MMH_RANS_BURST + slack bytes */
    const struct mmh_merge *merge; /* NULL, or where the stripe's elements go at once */
    const uint8_t *ids;            /* table of each element, the same length; NULL: all table 0 */
    size_t count;          /* elements; those that pad it to a multiple of 128 have table 0 */
    const uint8_t *states; /* [32] u32, the decoder's initial states */
    const uint8_t *words;  /* [word_count] u16, in the order in which the decoder takes them */
    size_t word_count;     /* the kernel never reads past words + 2 * word_count */
};

/* One frequency table for encoding. The caller sets frequency and start, then calls
 * mmh_rans_encode_table_init. Tables used together lie one after another. */
struct mmh_rans_encode_table {
    uint16_t frequency[256]; /* 0..2^bits - 1; they add up to 2^bits */
    uint16_t start[256];     /* cumulative */
    uint64_t packed[256];    /* private: reciprocal | frequency << 32 | start << 48 */
};

/*
 * Elements from symbols, planes and tails: the inverse of `split`. count is a multiple of 64.
 * `stream` is one of enum mmh_stream_mode; false and true do. Call it block by block
 * (MMH_TIER_BLOCK symbols), so that the symbols stay in the cache.
 */
typedef void mmh_merge_elements(uint8_t *dst, const uint8_t *symbols,
                                const struct mmh_planes *planes, const uint8_t *const tails[3],
                                size_t count, const struct mmh_split *split, unsigned stream);

struct mmh_kernels {
    const char *name; /* "c", "avx2", "avx512", "neon" */

    /*
     * Split `count` elements at src (little endian, element_bytes each) into symbol bytes,
     * packed planes and tail planes. count is a multiple of 64.
     *
     *   symbols  [count] bytes out
     *   planes   out, each 8*w*count/64 bytes
     *   tails    out, element_bytes/2 - 1 planes of [count] u16 little endian; tail 0 holds bits
     *            16.. below the head (the highest), the last one the lowest bits; NULL: unwanted
     *   patches  out, positions (0..count-1) of the elements whose symbol is outside the window,
     *            ascending; room for `count` of them
     * Returns the number of patches.
     */
    size_t (*split)(uint8_t *symbols, const struct mmh_planes *planes, uint8_t *const tails[3],
                    uint32_t *patches, const uint8_t *src, size_t count,
                    const struct mmh_split *split);

    mmh_merge_elements *merge;

    /*
     * The elements of one block of tiers, all in one pass: tier_decode, then merge. counts[0] is a
     * multiple of 64; symbols as for tier_decode, unspecified afterwards.
     */
    bool (*tier_merge)(const struct mmh_merge *merge, const uint8_t *src, const uint16_t *counts,
                       const struct mmh_tiers *tiers, uint8_t *symbols, uint8_t *scratch);

    /* The inverse for pairs of bytes: symbols [pairs] and raw [pairs] (NULL: unwanted) from src
     * [2 * pairs] by code [256]. */
    void (*pairs_split)(uint8_t *symbols, uint8_t *raw, const uint8_t *src, size_t pairs,
                        const uint8_t *code);

    /* Order the stores of earlier merges with MMH_STREAM_MORE before what follows. */
    void (*fence)(void);

    /* Pack the low `bits` (1..16) of each u16 into planes laid one after another at dst (16-bit
     * plane alone, or 8, 4, 2, 1), each padded to whole groups; and back. dst of unpack has room
     * for whole groups. Returns the bytes at dst (src): 8 * bits * ceil(count / 64). */
    size_t (*pack_bits)(uint8_t *dst, const uint16_t *src, size_t count, unsigned bits);
    size_t (*unpack_bits)(uint16_t *dst, const uint8_t *src, size_t count, unsigned bits);

    /* Add to histogram[256] the counts of every `stride`-th run of 64 bytes of symbols: of runs
     * 0, stride, 2 * stride, ...; the last run may be shorter. stride > 0. */
    void (*histogram)(uint32_t *histogram, const uint8_t *symbols, size_t count, size_t stride);

    /* The same for pairs: add to histogram[64][256] the counts of (bins[i], symbols[i]). Every
     * bin is below MMH_CLASS_BINS. */
    void (*histogram_classes)(uint32_t *histogram, const uint8_t *symbols, const uint8_t *bins,
                              size_t count, size_t stride);

    /*
     * Add to row_sum[r] and column_sum[c] every symbol of a run that starts at element `first` of
     * a matrix with rows of `columns` elements, where element first + i lies in row r and column c
     * (r and c count from the matrix's beginning, as for `classes`). Runs may be given in any
     * order and cut anywhere. column_sum counts modulo 2^32: safe below 2^24 rows.
     */
    void (*row_column_sums)(uint64_t *row_sum, uint32_t *column_sum, const uint8_t *symbols,
                            uint64_t first, size_t count, uint64_t columns);

    /* OR and AND of all elements (2, 4 or 8 bytes each), as u64: finds constant signs, trailing
     * zeros and constant chunks. Of no elements: 0, and ones as wide as an element. */
    void (*bits_used)(uint64_t *any, uint64_t *all, const uint8_t *src, size_t count,
                      unsigned element_bytes);

    /*
     * Tiers of one block of count <= MMH_TIER_BLOCK symbols.
     *
     * encode: writes planes and escapes at dst as docs/format.md "Tier symbols" lays them out and
     * counts[k] = the symbols that reach tier k + 1 (counts[0] = count, counts[tier_count] =
     * escapes). dst has room for MMH_TIER_BLOCK / 4 * tier_count + MMH_TIER_BLOCK + slack bytes,
     * scratch as for decode. Of equal ranks the first one counts. Returns the bytes.
     *
     * decode: src holds the block, the caller has checked that src_bytes covers what counts says
     * and that counts never rise. symbols has room for MMH_TIER_BLOCK + slack bytes; scratch for
     * 2 * (MMH_TIER_BLOCK + slack). Reads may run MMH_KERNEL_SLACK past src + src_bytes: the caller
     * guarantees that they are readable. Returns false if the planes disagree with counts, or if
     * unused bits of a plane or the bytes that pad the escapes are not zero.
     */
    size_t (*tier_encode)(uint8_t *dst, uint16_t counts[MMH_TIER_MAX + 1], const uint8_t *symbols,
                          size_t count, const struct mmh_tiers *tiers, uint8_t *scratch);
    bool (*tier_decode)(uint8_t *symbols, const uint8_t *src, const uint16_t *counts,
                        const struct mmh_tiers *tiers, uint8_t *scratch);

    /*
     * The class of each element of a run that starts at element `first` of a matrix with rows of
     * `columns` elements: out[i] = map[clamp(row[r] + column[c] + 32, 0, 63)], where element
     * first + i lies in row r and column c. row/column hold -64..63; row or column NULL: 0.
     * column has MMH_KERNEL_SLACK readable bytes after it. map NULL: out[i] = row[r] + column[c]
     * (mod 256, no clamp).
     */
    void (*classes)(uint8_t *out, uint64_t first, size_t count, uint64_t columns, const int8_t *row,
                    const int8_t *column, const uint8_t *map);

    /* How many symbols from the first on, a multiple of 64, all lie within [first[i], last[i]] or
     * below `zeros`. count is a multiple of 64. */
    size_t (*within)(const uint8_t *symbols, const uint8_t *first, const uint8_t *last,
                     uint8_t zeros, size_t count);

    /* dst[i] = dst[i] + src[i], dst[i] - src[i] (mod 256). */
    void (*bytes_add)(uint8_t *dst, const uint8_t *src, size_t count);
    void (*bytes_subtract)(uint8_t *dst, const uint8_t *src, size_t count);

    /*
     * Decode up to four stripes side by side with the decode tables
     * [table_count << bits] u32 = symbol << 24 | frequency << 12 | (slot - start).
     * ids, the padding ones too, are below table_count (the caller's `classes` map guarantees
     * it). Returns false unless every stripe uses exactly word_count words and ends with all 32
     * states at 2^16. Writes whole multiples of 128 symbols, unspecified ones after a failure.
     * With `merge` (of every stripe or of none: parts of one run, each from a multiple of 128
     * elements on, with one `stream`) elements are written as their symbols are decoded, so that
     * stores to memory go on behind the arithmetic: elements that a damaged stripe gave are there
     * too when it returns false.
     */
    bool (*rans_decode)(const struct mmh_rans_stripe *stripes, size_t stripe_count,
                        const uint32_t *tables, unsigned bits);

    /*
     * Encode one stripe: symbols and ids [ceil(count/128)*128] (the caller has padded them; ids
     * NULL: all table 0). Every symbol has a frequency > 0 in its table. Writes 32 u32 states at
     * states and the words at the end of words[word_room] u16, word_room >= padded count;
     * returns the number of words: they are words[word_room - n .. word_room).
     */
    size_t (*rans_encode)(uint8_t *states, uint8_t *words, size_t word_room, const uint8_t *symbols,
                          const uint8_t *ids, size_t count,
                          const struct mmh_rans_encode_table *tables, unsigned bits);

    /* Reverse the bytes of each element (2, 4 or 8 bytes); dst may equal src. */
    void (*swap_bytes)(uint8_t *dst, const uint8_t *src, size_t count, unsigned element_bytes);
};

/* The best kernels of this machine; MMH_CPU (a comma list of names, e.g. "c,avx2") narrows the
 * choice. Thread safe; the pointer is static. */
const struct mmh_kernels *mmh_kernels_get(void);

/* Walk all kernels that this machine can run, the plain C ones first; NULL past the end. */
const struct mmh_kernels *mmh_kernels_at(size_t index);

/*
 * Read src so that the second-level cache has it: for rANS, whose many slow streams wait for memory
 * a fifth of the time if each is fetched as it goes.
 */
void mmh_read_through(const uint8_t *src, size_t bytes);

/* The same run from element `first` on, a multiple of 64. */
struct mmh_merge mmh_merge_at(const struct mmh_merge *merge, size_t first);

/* Write by `elements` the `count` elements that follow element `first` (a multiple of 64) of a run from their
 * symbols. Nothing is read behind those, nor written behind their elements. */
void mmh_merge_symbols(mmh_merge_elements *elements, const struct mmh_merge *merge, size_t first,
                       const uint8_t *symbols, size_t count);

void mmh_rans_encode_table_init(struct mmh_rans_encode_table *table, unsigned bits);

#endif
