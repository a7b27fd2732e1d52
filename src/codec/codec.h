/*
 * The codec room's door: blocks are planned, their chunks encoded and decoded.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A block is a run of elements of one type that share a plan (and a model, if the plan has one);
 * its chunks decode independently of each other. docs/format.md sections 7 to 13 define the bytes.
 * Nothing here does I/O; memory comes from the caller (libzstd's and liblzma's own aside, which
 * live in a workspace).
 */
#ifndef MMH_CODEC_H
#define MMH_CODEC_H

#include "base/memory.h"
#include "base/status.h"
#include "tensor/fields.h"

enum mmh_codec_id { /* ids are on disk: never reused */
                    MMH_CODEC_STORE = 0,
                    MMH_CODEC_CONSTANT = 1,
                    MMH_CODEC_ZSTD = 2,
                    MMH_CODEC_LZMA = 3,
                    MMH_CODEC_FLOAT = 4,
                    MMH_CODEC_BYTES_RANS = 5,
                    MMH_CODEC_ZERO_RUN = 6,
                    MMH_CODEC_SHUFFLE_ZSTD = 7,
                    MMH_CODEC_MODEL = 8,
                    MMH_CODEC_BYTE_PAIRS = 9,
                    MMH_CODEC_FIELDS = 10,
                    MMH_CODEC_MIXED = 11,
                    MMH_CODEC_COUNT
};

enum {
    MMH_CHUNK_ELEMENTS = 1 << 18,     /* elements of a typed chunk */
    MMH_OPAQUE_CHUNK_BYTES = 4 << 20, /* bytes of an opaque chunk: default */
    MMH_OPAQUE_CHUNK_BYTES_MAX = 16 << 20,
    MMH_BLOCK_BYTES_MAX = 16 << 20,   /* bytes of a block, but at least one chunk */
    MMH_CHUNK_BOUND_EXTRA = 32 << 10, /* mmh_chunk_bound adds so many bytes */
};

/* One chunk's place in its block. dtype is a scalar (mmh_dtype_scalar). */
struct mmh_chunk {
    mmh_dtype dtype;
    uint64_t first_element; /* within the block: a multiple of MMH_CHUNK_ELEMENTS, or 0; of an
                               opaque one its first byte */
    size_t bytes;           /* decoded bytes; a multiple of the scalar's size unless opaque */
};

const char *mmh_codec_name(unsigned codec_id); /* "store", "float", ...; NULL if unknown */

/* Whether chunks of the codec may make use of their block's model. */
bool mmh_codec_uses_model(unsigned codec_id);

/* Scratch and library contexts of one worker thread. */
typedef struct mmh_codec_workspace mmh_codec_workspace;
mmh_status mmh_codec_workspace_create(mmh_codec_workspace **workspace,
                                      const mmh_allocator *allocator, mmh_error *err);
void mmh_codec_workspace_destroy(mmh_codec_workspace *workspace);

/* ---- encoding ---- */

/* A tensor, or the part of one, that lies in a block. */
struct mmh_block_part {
    uint64_t elements;     /* in the block, >= 1 */
    uint64_t tensor_first; /* index of the first of them within the tensor */
    uint32_t dimensions;   /* 0: flat */
    uint64_t shape[8];     /* of the whole tensor, slowest first; only a hint */
};

/* A run of a mixed block: other bytes, and the elements behind them. */
struct mmh_mixed_run {
    uint32_t other_bytes, elements; /* elements >= 1 */
};

/* What the encoder knows of a block before it plans. */
struct mmh_block_hint {
    mmh_dtype dtype;   /* scalar; OPAQUE: zstd or LZMA */
    mmh_dtype records; /* OPAQUE bytes that are records of this block type; elements
                                           and shapes of the parts count those. OPAQUE: none */
    mmh_dtype mixed;   /* OPAQUE bytes (one chunk of them) with elements of this scalar among them,
                                           which the parts count. OPAQUE: none */
    bool mixed_big_endian;
    const struct mmh_mixed_run *runs; /* [run_count] in order; behind them other bytes */
    size_t run_count;
    const struct mmh_block_part *parts; /* [part_count] in order; together all its elements */
    size_t part_count;                  /* 0: one part without a shape */
    int level;                          /* 1..9 */
};

/*
 * Whether a tensor is better coded in one block with those before it, sharing tables: an integer
 * estimate from a sample. The tensors that it is compared with are those given since the last one
 * that did not join; `first` says that there are none. The workspace remembers them until it is
 * used for something else.
 *
 *   data   [part->elements >= 1] of the tensor, little-endian, of `dtype`, a scalar: where that
 *          is no float and has more than 8 bits there are no tables, and all join
 */
mmh_status mmh_join_next(bool *joins, mmh_codec_workspace *workspace, const uint8_t *data,
                         mmh_dtype dtype, const struct mmh_block_part *part, int level, bool first,
                         mmh_error *err);

/* Decisions for one block: codecs to try, tables, classes. Lives in the workspace until the
 * next mmh_block_plan call on it. */
struct mmh_block_plan;

/*
 * Plan a block: data [bytes] is all of it.
 *   *model        NULL, or the model payload (format.md section 9), owned by the workspace
 *   *floor_bits   a lower bound in bits for the block under one order-0 table of its exponents
 *                 (integers: of its bytes), sign and mantissa raw: what `mmh info` shows
 */
mmh_status mmh_block_plan_make(const struct mmh_block_plan **plan, const uint8_t **model,
                               size_t *model_bytes, uint64_t *floor_bits,
                               mmh_codec_workspace *workspace, const uint8_t *data, size_t bytes,
                               const struct mmh_block_hint *hint, mmh_error *err);

/* Bytes of a chunk of records: of a block with such a hint all chunks have so many, but the last. */
size_t mmh_records_chunk_bytes(mmh_dtype records);

/* Most bytes that a chunk of `bytes` can take encoded; dst below must have that much room. */
size_t mmh_chunk_bound(size_t bytes);

/*
 * Encode a chunk of the planned block with the codec that an integer estimate prefers, falling
 * back to store. The result is checked by decoding unless `check` is false (benchmarks).
 * src must have no slack; the bytes are the same on every machine.
 */
mmh_status mmh_chunk_encode(uint8_t *dst, size_t *dst_bytes, unsigned *codec_id,
                            mmh_codec_workspace *workspace, const struct mmh_block_plan *plan,
                            const uint8_t *src, const struct mmh_chunk *chunk, bool check,
                            mmh_error *err);

/* ---- decoding ---- */

/* A parsed model: classes and decode tables. Read-only after reading: threads may share it. */
typedef struct mmh_model mmh_model;
mmh_status mmh_model_create(mmh_model **model, const uint8_t *payload, size_t payload_bytes,
                            uint64_t block_elements, const mmh_allocator *allocator,
                            mmh_error *err);
void mmh_model_destroy(mmh_model *model);

/*
 * Decode one chunk into dst [chunk->bytes]; dst is unspecified after a failure. `model` is the
 * block's or NULL. `stream`: dst is large and will not be read soon (stores bypass the cache).
 * Safe for any src. Fails with MMH_E_CORRUPT, MMH_E_UNSUPPORTED (codec id), MMH_E_MEMORY.
 */
mmh_status mmh_chunk_decode(uint8_t *dst, mmh_codec_workspace *workspace,
                            const struct mmh_chunk *chunk, unsigned codec_id, const uint8_t *src,
                            size_t src_bytes, const mmh_model *model, bool stream, mmh_error *err);

#endif
