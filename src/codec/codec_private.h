/*
 * What the files of the codec room share: workspace, plan, model, and one line for each codec.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_CODEC_PRIVATE_H
#define MMH_CODEC_PRIVATE_H

#include "base/bits.h"
#include "base/cursor.h"
#include "codec/codec.h"
#include "kernel/kernel.h"

/* ---- cost in bits: integers, so that every machine decides alike ---- */

enum { MMH_COST_ONE = 1 << 16 }; /* one bit, in the unit of all costs below */

/* log2(x) * 2^16, x >= 1; off by 1 at the most. */
uint32_t mmh_cost_log2(uint32_t x);

/* x * log2(x) * 2^16; 0 for 0. */
uint64_t mmh_cost_xlog2x(uint32_t x);

/* Entropy of a histogram times its total. */
uint64_t mmh_cost_histogram(const uint32_t *histogram, size_t count);

/* ---- workspace ---- */

/* Buffers that grow and are used again. What calls what decides who may share one. */
enum mmh_scratch {
    MMH_SCRATCH_SYMBOLS,     /* float, bytes-rans: the symbols of a chunk */
    MMH_SCRATCH_IDS,         /* float, bytes-rans: its table ids or shifts */
    MMH_SCRATCH_PLANES,      /* float: its raw planes */
    MMH_SCRATCH_TAILS,       /* float: its tails as u16 planes */
    MMH_SCRATCH_SEGMENTS,    /* float: its tails as segments */
    MMH_SCRATCH_PATCHES,     /* float: positions */
    MMH_SCRATCH_SECTION,     /* float, bytes-rans: words of a stripe, planes of a tier block;
                           * zero-run: a second coding of the mask */
    MMH_SCRATCH_TIERS,       /* tiers: the kernel's scratch */
    MMH_SCRATCH_RUN,         /* zero-run: the elements that are not zero */
    MMH_SCRATCH_MASK,        /* zero-run: the mask */
    MMH_SCRATCH_SHUFFLE,     /* shuffle-zstd: the byte planes */
    MMH_SCRATCH_TRIAL,       /* a second encoding that may be the smaller one */
    MMH_SCRATCH_CHECK,       /* what a check decodes */
    MMH_SCRATCH_BLOCK,       /* planning: the symbols of a block */
    MMH_SCRATCH_LEVELS,      /* planning: the magnitudes of a block's bytes */
    MMH_SCRATCH_SUMS,        /* planning: sums over rows and columns */
    MMH_SCRATCH_CLASSES,     /* planning: classes of rows and columns */
    MMH_SCRATCH_SPARE,       /* planning: the same of a second view */
    MMH_SCRATCH_COUNTS,      /* planning: histograms of the bins, tables of the merge */
    MMH_SCRATCH_MODEL,       /* planning: the model payload */
    MMH_SCRATCH_JOIN,        /* joining: the tensors joined so far */
    MMH_SCRATCH_FIELD,       /* fields: the elements of one; mixed: the elements */
    MMH_SCRATCH_FIELD_CODED, /* fields, mixed: their payload */
    MMH_SCRATCH_FIELD_PARTS, /* planning fields: the block's parts, as those of one */
    MMH_SCRATCH_FIELD_MODEL, /* planning fields and mixed: the model payload */
    MMH_SCRATCH_REST,        /* mixed: runs and other bytes */
    MMH_SCRATCH_COUNT
};

/* At least `bytes` + MMH_KERNEL_SLACK bytes, 64-byte aligned, not cleared; contents are lost when
 * the buffer has to grow. NULL if memory is out. */
MMH_MUST_CHECK uint8_t *mmh_workspace_scratch(mmh_codec_workspace *workspace,
                                              enum mmh_scratch which, size_t bytes);

/* Put bytes behind the first `used` of a buffer, which are kept when it has to grow. */
mmh_status mmh_workspace_append(mmh_codec_workspace *workspace, enum mmh_scratch which, size_t used,
                                const uint8_t *data, size_t bytes, mmh_error *err);

/* For tests and benchmarks: use these kernels instead of the machine's best. */
void mmh_workspace_set_kernels(mmh_codec_workspace *workspace, const struct mmh_kernels *kernels);

/* ---- models ---- */

enum {
    MMH_MODEL_RANS = 1,
    MMH_MODEL_SHIFTS = 2,
    MMH_MODEL_PAIRS = 3,
    MMH_MODEL_FIELDS = 4,
    MMH_MODEL_MIXED = 5
};

enum { MMH_PAIR_TABLES_MAX = 8 };

/* A run of a block's elements as a matrix whose rows and columns have classes. */
struct mmh_view {
    uint64_t first, elements; /* of the block */
    uint64_t columns, phase;  /* the run begins in column `phase` of row 0 */
    uint64_t rows;            /* that it touches */
    int8_t *row;              /* [rows + slack] or NULL */
    int8_t *column;           /* [columns + slack] or NULL */
};

/* A field of records, and its own model. */
struct mmh_model_field {
    struct mmh_field field;
    struct mmh_model *model; /* of a kind but this, or NULL */
};

/* What a model payload says, docs/format.md "Models". */
struct mmh_model {
    const mmh_allocator *allocator;
    unsigned kind;
    unsigned bits; /* K */
    unsigned table_count;
    uint64_t elements;      /* of the block; kind 3: its pairs of bytes */
    struct mmh_view *views; /* in order of their elements */
    size_t view_count;      /* 0: no classes */
    uint8_t map[MMH_CLASS_BINS];
    uint32_t *tables;                              /* [table_count << bits], kinds 1 and 3 */
    uint8_t pair_code[MMH_PAIR_TABLES_MAX][256];   /* kind 3: by table, the code of each byte */
    uint8_t pair_values[MMH_PAIR_TABLES_MAX][256]; /* and the byte of each code */
    bool pairs_alike;                              /* those of all tables are the same */
    struct mmh_model_field *fields;                /* kind 4 [field_count], and nothing else */
    unsigned field_count, record_bytes;
    struct mmh_model *within; /* kind 5: of the elements, or NULL; and the rest of it: */
    mmh_dtype within_dtype;
    bool within_big_endian;
    uint32_t within_elements;
};

/* Kind 4: read it into a model whose elements, of the block, are set; and free what that took. */
mmh_status mmh_model_fields_read(struct mmh_model *model, const uint8_t *payload,
                                 size_t payload_bytes, mmh_error *err);
void mmh_model_fields_release(struct mmh_model *model);

/* Kind 5: the same. */
mmh_status mmh_model_mixed_read(struct mmh_model *model, const uint8_t *payload,
                                size_t payload_bytes, mmh_error *err);

/* The same from the encoder's side; arrays belong to the planner. */
struct mmh_model_draft {
    unsigned kind, bits, table_count;
    uint64_t elements;
    const uint8_t (*buckets)[256]; /* [table_count], kind 3 */
    const struct mmh_view *views;
    size_t view_count;
    uint8_t bounds[MMH_RANS_TABLES_MAX]; /* [table_count - 1] */
    uint16_t (*frequency)[256];          /* [table_count] */
};

/* Codes of byte pairs from buckets of 16 byte values each, format.md section 12; false if those
 * are not. */
bool mmh_pair_codes(uint8_t code[256], uint8_t values[256], const uint8_t buckets[256]);

/* Write the payload; returns its bytes, 0 if memory is out. *payload lies in the workspace. */
size_t mmh_model_write(mmh_codec_workspace *workspace, const uint8_t **payload,
                       const struct mmh_model_draft *draft);

/* What kernels->classes gives, over all views: for `count` elements from block element `first` on.
 * out has MMH_KERNEL_SLACK bytes more. */
void mmh_views_classes(uint8_t *out, const struct mmh_kernels *kernels,
                       const struct mmh_view *views, size_t view_count, uint64_t first,
                       size_t count, const uint8_t *map);

/* Bits of a view in the payload, of a table, and of a run of classes. */
uint64_t mmh_model_view_bits(const struct mmh_view *view);
uint64_t mmh_model_table_bits(const uint16_t *frequency);
uint64_t mmh_model_classes_bits(const int8_t *classes, size_t count);

/* Table of each bin from the bounds. */
void mmh_model_map(uint8_t map[MMH_CLASS_BINS], const uint8_t *bounds, unsigned table_count);

/* ---- plans ---- */

struct mmh_block_plan {
    mmh_dtype dtype;
    unsigned element_bytes;
    int level;
    uint64_t elements;
    const struct mmh_kernels *kernels;

    /* floats */
    bool is_float;
    uint8_t q;             /* of rANS symbols; tiers have 0 */
    uint16_t window;       /* of rANS symbols */
    uint16_t tier_window;  /* of tier symbols (q = 0) */
    uint64_t row_elements; /* tails: elements of a matrix row, 0: none worth a segment */
    uint64_t row_phase;    /* column of the block's first element in such rows */

    /* what to try */
    bool try_zero_run;
    bool try_zstd; /* typed data with structure that only matches can catch */
    bool try_rans; /* there are tables */
    bool pairs;    /* of pairs of bytes */
    int zstd_level;
    unsigned stripe_log2; /* elements of a rANS stripe, at least */
    unsigned stripes;     /* of a chunk, at the most */

    /* records */
    const struct mmh_fields_plan *fields; /* NULL: none */
    uint64_t bytes, whole_bits; /* of the block, and what zstd would make of it as it is */

    /* elements in other bytes */
    const struct mmh_mixed_plan *mixed; /* NULL: none */

    /* rANS tables or shifts */
    struct mmh_model *model; /* parsed from what was written; NULL: none */
    struct mmh_rans_encode_table *tables;
    uint8_t allowed[MMH_RANS_TABLES_MAX][256]; /* 1: the table codes the symbol */
    uint8_t best[MMH_RANS_TABLES_MAX];         /* the likeliest symbol of each table */
    uint8_t common; /* a symbol of every table, for elements that are patched */
    uint8_t first_of_bin[MMH_CLASS_BINS]; /* the run of symbols that the table codes */
    uint8_t last_of_bin[MMH_CLASS_BINS];
    uint8_t zeros; /* symbols below it are coded by every table */
};

/* Plans of the fields of records, in a workspace. */
struct mmh_fields_plan {
    struct mmh_fields layout;
    struct mmh_block_plan plans[MMH_FIELDS_MAX];
    struct mmh_rans_encode_table *tables[MMH_FIELDS_MAX]; /* [MMH_RANS_TABLES_MAX] or NULL */
    uint8_t header[4 + 16 * MMH_FIELDS_MAX];              /* of the model payload */
};

/* The plan of a mixed block's elements, in a workspace. */
struct mmh_mixed_plan {
    mmh_dtype dtype;
    bool big_endian;
    const struct mmh_mixed_run *runs; /* the caller's */
    size_t run_count;
    struct mmh_block_plan plan;
    struct mmh_rans_encode_table *tables; /* [MMH_RANS_TABLES_MAX] or NULL */
};

struct mmh_codec_workspace {
    const mmh_allocator *allocator;
    const struct mmh_kernels *kernels;
    struct {
        uint8_t *data;
        size_t room;
    } scratch[MMH_SCRATCH_COUNT];
    void *zstd_encoder, *zstd_decoder;    /* made when first needed */
    struct mmh_rans_encode_table *tables; /* [MMH_RANS_TABLES_MAX] of the plan */
    struct mmh_block_plan plan;
    struct mmh_fields_plan *fields; /* made when first needed */
    struct mmh_mixed_plan *mixed;   /* the same */
};

/* Plan a block of scalars: mmh_block_plan_make without records, into `plan`, whose model has gone. */
mmh_status mmh_block_plan_scalar(struct mmh_block_plan *plan, const uint8_t **model,
                                 size_t *model_bytes, uint64_t *floor_bits,
                                 mmh_codec_workspace *workspace, const uint8_t *data, size_t bytes,
                                 const struct mmh_block_hint *hint, mmh_error *err);

/* Plan a block of whole records; hint->records has fields. `plan` is set up but for them. */
mmh_status mmh_fields_plan_make(struct mmh_block_plan *plan, const uint8_t **model,
                                size_t *model_bytes, uint64_t *floor_bits,
                                mmh_codec_workspace *workspace, const uint8_t *data, size_t bytes,
                                const struct mmh_block_hint *hint, mmh_error *err);
/* Free the models of the last such plan, or all. */
void mmh_fields_plan_forget(mmh_codec_workspace *workspace);
void mmh_fields_plan_release(mmh_codec_workspace *workspace);

/* Plan a mixed block: hint->mixed and its runs. The same. */
mmh_status mmh_mixed_plan_make(struct mmh_block_plan *plan, const uint8_t **model,
                               size_t *model_bytes, uint64_t *floor_bits,
                               mmh_codec_workspace *workspace, const uint8_t *data, size_t bytes,
                               const struct mmh_block_hint *hint, mmh_error *err);
void mmh_mixed_plan_forget(mmh_codec_workspace *workspace);
void mmh_mixed_plan_release(mmh_codec_workspace *workspace);

/* Most tables of a block at a level, and what a block takes beside its tables and symbols. */
unsigned mmh_plan_tables(int level, mmh_dtype dtype);
uint64_t mmh_plan_fixed_bits(uint64_t elements, int level);
/* Whether so many elements may be coded as pairs of bytes. */
bool mmh_plan_pairs(uint64_t elements, int level, mmh_dtype dtype);

/* Magnitudes of an 8-bit type's values in quarter octaves, so that a class means for bytes what it
 * means for floats. counts: of the values, whose median is zero where the type does not say. */
void mmh_byte_levels(uint8_t levels[256], mmh_dtype dtype, const uint32_t counts[256]);

/* Where part `index` of `parts` of a sample starts: spread evenly, but not in step with rows. */
uint64_t mmh_part_position(uint64_t index, uint64_t parts, uint64_t elements, uint64_t length);

/* ---- codecs ---- */

struct mmh_encode_job {
    mmh_codec_workspace *workspace;
    const struct mmh_block_plan *plan;
    const uint8_t *src;
    const struct mmh_chunk *chunk;
    size_t elements; /* of element_bytes; bytes if opaque */
    unsigned element_bytes;
    uint8_t *dst;       /* [room] */
    size_t room;        /* mmh_chunk_bound(chunk->bytes) at least */
    size_t limit;       /* a payload longer than this is of no use */
    size_t bytes;       /* out: bytes of the payload; MMH_NO_FIT: over the limit */
    bool inner;         /* within a zero-run: no classes */
    size_t float_least; /* out of zero-run: float takes that many bytes at the least */
};

#define MMH_NO_FIT SIZE_MAX

struct mmh_decode_job {
    mmh_codec_workspace *workspace;
    const struct mmh_chunk *chunk;
    const uint8_t *src;
    size_t src_bytes;
    const struct mmh_model *model;
    uint8_t *dst;
    size_t elements;
    unsigned element_bytes;
    bool stream;
    bool inner; /* within a zero-run: the model has no classes */
};

/*
 * Encode elements that are part of a chunk as a chunk of their own: the smallest payload, at
 * part->dst [part->bytes] in MMH_SCRATCH_FIELD_CODED. src lies in another buffer of the workspace
 * than those that encoders use.
 */
mmh_status mmh_encode_within(struct mmh_encode_job *part, unsigned *codec_id,
                             const struct mmh_block_plan *plan, mmh_codec_workspace *workspace,
                             const struct mmh_chunk *chunk, const uint8_t *src, mmh_error *err);

struct mmh_codec {
    const char *name;
    /* Fails with MMH_E_MEMORY alone; what cannot be coded is MMH_NO_FIT. */
    mmh_status (*encode)(struct mmh_encode_job *job, mmh_error *err);
    mmh_status (*decode)(const struct mmh_decode_job *job, mmh_error *err);
};

/* The smallest that the codecs of a plan make of a chunk, store aside; MMH_NO_FIT if none does. */
mmh_status mmh_encode_smallest(struct mmh_encode_job *job, unsigned *codec_id, mmh_error *err);

const struct mmh_codec *mmh_codec_at(unsigned codec_id); /* NULL if it codes no data */

extern const struct mmh_codec mmh_codec_store, mmh_codec_constant, mmh_codec_zstd, mmh_codec_lzma,
    mmh_codec_float, mmh_codec_bytes_rans, mmh_codec_zero_run, mmh_codec_shuffle_zstd,
    mmh_codec_byte_pairs, mmh_codec_fields, mmh_codec_mixed;

/* ---- symbol sections ---- */

/*
 * rANS symbols, docs/format.md section 10.
 *
 *   symbols  [elements padded to 128] bytes; encode fills the padding in
 *   ids      the same, or NULL: all table 0
 *   stripes  that the symbols are cut into, as long as each other
 * encode returns the bytes at dst, MMH_NO_FIT if they are more than `room`; *status tells when
 * memory is out. decode fails with MMH_E_CORRUPT. With `merge` it writes elements instead, and
 * symbols is scratch of MMH_RANS_MERGE_SCRATCH bytes.
 */
enum { MMH_RANS_STRIPES = 4 }; /* that a kernel decodes side by side */
enum { MMH_RANS_MERGE_SCRATCH = MMH_RANS_STRIPES * (MMH_RANS_BURST + MMH_KERNEL_SLACK) };

size_t mmh_rans_symbols_encode(uint8_t *dst, size_t room, mmh_codec_workspace *workspace,
                               uint8_t *symbols, uint8_t *ids, size_t elements,
                               const struct mmh_rans_encode_table *tables, unsigned bits,
                               uint8_t filling, unsigned stripes, mmh_status *status);
/*
 * Symbols that their table does not code become patches (of elements counted from the chunk's
 * first one), in order among the *patch_count that there are; the likeliest symbol of the table
 * stands in.
 *   symbols  [elements], ids of their tables or NULL
 *   patches  room for 2 * elements
 */
mmh_status mmh_rans_patch(uint8_t *symbols, uint32_t *patches, size_t *patch_count,
                          const uint8_t *ids, const struct mmh_encode_job *job, size_t elements,
                          uint64_t first_element, mmh_error *err);
/* How many stripes a chunk is cut into: at most `most`, none shorter than 2^log2 if there are two. */
unsigned mmh_rans_stripes(size_t elements, unsigned log2, unsigned most);
mmh_status mmh_rans_symbols_decode(uint8_t *symbols, const struct mmh_merge *merge, uint8_t *ids,
                                   size_t elements, const uint8_t *src, size_t src_bytes,
                                   const struct mmh_model *model, const struct mmh_kernels *kernels,
                                   mmh_error *err);

/* Tables of the elements of a chunk into MMH_SCRATCH_IDS, or *ids = NULL if there is one table. */
mmh_status mmh_rans_ids(uint8_t **ids, mmh_codec_workspace *workspace,
                        const struct mmh_model *model, uint64_t first_element, size_t elements,
                        mmh_error *err);

/* Tier symbols, docs/format.md section 8.1. A view of a section whose structure was checked. */
struct mmh_tier_section {
    struct mmh_tiers tiers;
    bool shifted;
    size_t elements;
    const uint8_t *directory;
    const uint8_t *blocks;
    size_t blocks_bytes;
};

/* Choose tier shapes from a histogram; returns the cost in bits of `total` symbols. */
uint64_t mmh_tiers_choose(struct mmh_tiers *tiers, const uint32_t histogram[256],
                          unsigned tier_count_min, unsigned tier_count_max);
size_t mmh_tier_symbols_encode(uint8_t *dst, size_t room, mmh_codec_workspace *workspace,
                               const uint8_t *symbols, size_t elements, bool shifted,
                               const struct mmh_tiers *tiers, mmh_status *status);
mmh_status mmh_tier_section_read(struct mmh_tier_section *section, const uint8_t *src,
                                 size_t src_bytes, size_t elements, mmh_error *err);
/* Where block `index` of a section that was read lies. */
const uint8_t *mmh_tier_block(const struct mmh_tier_section *section, size_t index, size_t *bytes,
                              uint16_t counts[MMH_TIER_MAX + 1]);

/* ---- floats ---- */

struct mmh_float_type {
    uint8_t bytes, exponent_bits, mantissa_bits, tail_bits; /* mantissa bits of the head */
};

/* NULL unless the type is coded as floats. */
const struct mmh_float_type *mmh_float_type(mmh_dtype dtype);

/* The split of a type with q mantissa bits in the symbol and everything stored. */
struct mmh_split mmh_float_split(const struct mmh_float_type *type, unsigned q, uint16_t window);

/* Symbol bytes of a whole block, nothing else; dst has room for `count` up to whole groups of 64. */
void mmh_float_symbols(uint8_t *dst, const struct mmh_kernels *kernels, const uint8_t *src,
                       size_t count, const struct mmh_float_type *type, unsigned q, uint16_t window,
                       uint8_t patch_symbol, uint32_t *patches);

/* ---- model search ---- */

struct mmh_search {
    mmh_codec_workspace *workspace;
    const uint8_t *symbols;  /* [elements + slack] what tables code */
    const uint8_t *levels;   /* [elements + slack] magnitudes; may be symbols */
    const uint8_t *level_of; /* [256] the level of each symbol; NULL: itself */
    unsigned level_shift;    /* a level is 2^-shift... levels << shift are quarter octaves */
    uint64_t elements;
    const struct mmh_block_part *parts;
    size_t part_count; /* >= 1 */
    unsigned bits;     /* K */
    unsigned tables_max;
    unsigned passes;        /* of refinement */
    unsigned sample;        /* elements that histograms look at, about */
    unsigned patch_bits;    /* what an element costs that the table does not code; 0: must */
    unsigned overhead_bits; /* of having a model with classes over one without */
};

/* Find classes and tables. cost: of all symbols with the model, in bits. The draft's arrays lie
 * in the workspace. */
mmh_status mmh_model_search(struct mmh_model_draft *draft, uint64_t *cost,
                            const struct mmh_search *search, mmh_error *err);

/* Scale counts to frequencies that add up to 2^bits, each at most 2^bits - 1. Symbols that are
 * cheaper patched get 0 (patch_bits 0: none does). Returns the cost in bits of the counts,
 * patches included. */
uint64_t mmh_model_normalise(uint16_t frequency[256], const uint32_t counts[256], unsigned bits,
                             unsigned patch_bits);

/* Row and column shifts of tier symbols: a draft of kind 2, left alone if none pay. cost: of all
 * symbols in tiers, in bits. */
mmh_status mmh_shift_search(struct mmh_model_draft *draft, uint64_t *cost,
                            const struct mmh_search *search, mmh_error *err);

/* ---- byte pairs ---- */

/* What is looked for in a block of bytes as pairs. */
struct mmh_pair_search {
    mmh_codec_workspace *workspace;
    const uint8_t *data;                /* [2 * pairs] */
    uint64_t pairs;                     /* > 0 */
    const uint8_t *levels;              /* [256] magnitude of each byte value, in quarter octaves */
    const struct mmh_block_part *parts; /* of bytes */
    size_t part_count;                  /* 0: no classes */
    unsigned tables_max;                /* up to MMH_PAIR_TABLES_MAX */
    uint64_t sample;                    /* pairs that tables are made from */
    unsigned patch_bits;
};

/*
 * Classes, buckets and tables of byte pairs: a draft of kind 3. The caller has set its bits,
 * table_count 1 and `frequency` [1]; buckets [MMH_PAIR_TABLES_MAX] must outlive it. *bits: of all
 * the pairs, everything counted.
 */
mmh_status mmh_pair_search(struct mmh_model_draft *draft, uint8_t buckets[][256], uint64_t *bits,
                           const struct mmh_pair_search *search, mmh_error *err);

#endif
