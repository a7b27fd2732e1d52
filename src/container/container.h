/*
 * The container room's door: the bytes of docs/format.md sections 1 to 6.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The writer appends; the reader gives the parsed index. Chunk payloads pass through as bytes.
 */
#ifndef MMH_CONTAINER_H
#define MMH_CONTAINER_H

#include "base/arena.h"
#include "base/cursor.h"
#include "crypto/hash.h"
#include "crypto/recipient.h"
#include "tensor/dtype.h"

enum {
    MMH_FORMAT_MAJOR = 3,
    MMH_FORMAT_MINOR = 0,
    MMH_FORMAT_DRAFT = 4,
    MMH_HEADER_BYTES = 128,
    MMH_FOOTER_BYTES = 256,
    MMH_CHUNKS_BEGIN = MMH_HEADER_BYTES,
    MMH_COMMITMENT_AT = 32,              /* in the header */
    MMH_CONTAINER_MIN_BYTES = 128 + 256, /* header and a footer: one that was cut has no more */
    MMH_CHUNK_BYTES_MAX = 1 << 24,       /* decoded */
    MMH_SEGMENT_BYTES = 4 << 20,         /* stored chunks of a block that get device alignment */
    MMH_SEGMENT_ALIGNMENT = 4096,
    MMH_CHUNK_ALIGNMENT = 128,
    MMH_SMALL_ALIGNMENT = 8,
    MMH_DIMENSIONS_MAX = 64
};

/* Section 4. */
struct mmh_footer {
    uint64_t container_bytes, index_a, index_b, index_bytes, trailer, trailer_bytes;
    uint32_t table_bytes, page_count;
    uint8_t root[MMH_HASH_BYTES]; /* [mmh_hash_bytes(suite)], zeros behind */
    uint8_t header[MMH_HEADER_BYTES];
};

/* Random access to the container. */
typedef mmh_status mmh_container_read_at(void *context, void *dst, uint64_t offset, size_t bytes,
                                         mmh_error *err);

/* ---- the trailer: container/trailer.h has what is done with it ---- */

enum mmh_section_type { /* on disk: never reused */
                        MMH_SECTION_RECIPIENTS = 1,
                        MMH_SECTION_SIGNATURES = 2,
                        MMH_SECTION_PARITY = 3,
                        MMH_SECTION_TYPES
};

enum {
    MMH_TRAILER_BYTES_MAX = 1 << 26,
    MMH_SECTION_HEAD_BYTES = 16,
    MMH_GEOMETRY_BYTES = 64, /* of parity: docs/format.md section 17 */
    MMH_PARITY_SECTION_BYTES = MMH_GEOMETRY_BYTES + 16
};

struct mmh_section {
    bool present;
    bool right;          /* its CRC is */
    uint64_t offset;     /* of its body, in the container */
    size_t bytes;        /* of its body */
    const uint8_t *data; /* in mmh_trailer.data */
};

/* A trailer in memory. */
struct mmh_trailer {
    const mmh_allocator *allocator;
    uint8_t *data; /* [bytes] */
    size_t bytes;
    bool fits;  /* sections fill it, each of a known type at most once; else none is to be used */
    bool sound; /* all of it is as section 4 says, and all CRCs are right */
    struct mmh_section sections[MMH_SECTION_TYPES]; /* by type; the first of each */
};

/* ---- writing ---- */

typedef struct mmh_container_writer mmh_container_writer;

/* Where the bytes go, in order. */
typedef mmh_status mmh_container_sink(void *context, const void *data, size_t bytes,
                                      mmh_error *err);

struct mmh_container_recovery;

/*
 * Asked for sections of the trailer when the root is known: append them with mmh_trailer_add
 * (all but parity's).
 */
typedef mmh_status mmh_container_guard(void *context, struct mmh_buffer *trailer,
                                       const uint8_t header[MMH_HEADER_BYTES], const uint8_t *root,
                                       size_t root_bytes, mmh_error *err);

struct mmh_container_options {
    unsigned hash_suite;
    uint8_t level;      /* informative */
    const char *writer; /* informative: "mmh 3.0.0" */
    bool times;         /* modification times are kept */

    /* Encryption: chunks come sealed, pages are sealed here. */
    unsigned aead_suite;              /* MMH_AEAD_NONE: none */
    const struct mmh_file_keys *keys; /* that outlive the writer; NULL without */

    mmh_container_guard *guard; /* NULL: no recipients, no signatures */
    void *guard_context;
    /* NULL: no parity. Else what was written can be read back. */
    const struct mmh_container_recovery *recovery;
    mmh_container_read_at *read_back;
    void *read_context;
};

/* One chunk of a block: stored bytes, their hash (mmh_hash with MMH_DOMAIN_CHUNK), its codec. */
struct mmh_stored_chunk {
    const uint8_t *data;
    uint32_t bytes;
    uint8_t codec_id;
    uint8_t hash[MMH_HASH_BYTES];
    /* Of a sealed one. Seal numbers ascend over all chunks that are given; those of chunks that turn out
     * to be stored already are not used. */
    uint64_t seal_number;
    uint8_t likeness[16]; /* of the payload: by which equal ones are found */
};

struct mmh_block_record {
    mmh_dtype dtype; /* a scalar */
    bool big_endian;
    uint64_t bytes;
    uint32_t chunk_bytes;
    uint64_t floor_bytes;
    const struct mmh_stored_chunk *model;  /* NULL: none */
    const struct mmh_stored_chunk *chunks; /* [ceil(bytes / chunk_bytes)] */
};

struct mmh_metadata_entry {
    const char *key, *value;
};

struct mmh_file_record {
    const char *name;
    mmh_file_kind kind;
    uint8_t format; /* enum mmh_format_id */
    uint32_t mode;
    bool has_time;
    int64_t time_seconds;
    uint64_t bytes; /* regular */
    uint8_t digest[MMH_HASH_BYTES];
    uint64_t block_count;
    const char *target; /* symlink */
    const struct mmh_metadata_entry *metadata;
    size_t metadata_count;
};

struct mmh_tensor_record {
    uint64_t file;
    const char *name;
    mmh_dtype dtype;
    bool big_endian;
    bool column_major;
    uint32_t dimensions;
    const uint64_t *shape;
    const uint64_t *strides; /* [dimensions] in elements; NULL: one after another */
    uint64_t offset, bytes;
};

struct mmh_container_totals {
    uint64_t container_bytes, chunk_count, shared_chunks, shared_bytes, index_bytes, floor_bytes;
    uint64_t recovery_bytes;
    uint8_t root[MMH_HASH_BYTES];
};

mmh_status mmh_container_writer_create(mmh_container_writer **writer,
                                       const struct mmh_container_options *options,
                                       mmh_container_sink *sink, void *sink_context,
                                       const mmh_allocator *allocator, mmh_error *err);
void mmh_container_writer_destroy(mmh_container_writer *writer); /* may be NULL */

/* Blocks in file order, then files in order of name, tensors in file order, then finish. */
mmh_status mmh_container_write_block(mmh_container_writer *writer,
                                     const struct mmh_block_record *block, mmh_error *err);
mmh_status mmh_container_write_file(mmh_container_writer *writer,
                                    const struct mmh_file_record *file, mmh_error *err);
mmh_status mmh_container_write_tensor(mmh_container_writer *writer,
                                      const struct mmh_tensor_record *tensor, mmh_error *err);
/*
 * For those who copy a container: a chunk under the next number, whether it is stored already or not,
 * and instead of blocks, files and tensors `rest` [rest_bytes], which an index has from its block table
 * on (mmh_container_reader.rest).
 */
mmh_status mmh_container_copy_chunk(mmh_container_writer *writer,
                                    const struct mmh_stored_chunk *chunk, unsigned alignment,
                                    mmh_error *err);
mmh_status mmh_container_copy_rest(mmh_container_writer *writer, const uint8_t *rest,
                                   size_t rest_bytes, mmh_error *err);

/* How a block's chunk number `number` is aligned, if the block has so many bytes of payloads. */
static inline unsigned mmh_chunk_alignment(uint64_t payload_bytes, uint64_t number)
{
    return payload_bytes < MMH_SEGMENT_BYTES ? MMH_SMALL_ALIGNMENT
         : number                            ? MMH_CHUNK_ALIGNMENT
                                             : MMH_SEGMENT_ALIGNMENT;
}

mmh_status mmh_container_finish(mmh_container_writer *writer, struct mmh_container_totals *totals,
                                mmh_error *err);
uint64_t mmh_container_written(const mmh_container_writer *writer);

/* ---- reading ---- */

struct mmh_chunk_entry {
    uint64_t offset;
    uint32_t bytes; /* stored */
    uint8_t codec_id;
    const uint8_t *hash;
};

struct mmh_block_entry {
    mmh_dtype dtype;
    bool big_endian;
    bool has_model;
    uint32_t chunk_bytes;
    uint32_t model; /* chunk number, if has_model */
    uint64_t bytes;
    uint64_t file_offset;
    uint64_t file;
    uint64_t floor_bytes;
    uint64_t first_ref; /* into index.refs; ceil(bytes / chunk_bytes) of them */
};

struct mmh_file_entry {
    struct mmh_file_record record; /* strings in the arena */
    uint64_t first_block;
    uint64_t first_tensor, tensor_count;
};

struct mmh_index {
    const char *writer;
    uint8_t level;
    uint64_t chunk_count, block_count, file_count, tensor_count, ref_count;
    struct mmh_chunk_entry *chunks;
    uint64_t *seal_numbers; /* [chunk_count]; NULL without encryption */
    struct mmh_block_entry *blocks;
    uint32_t *refs;
    struct mmh_file_entry *files;
    struct mmh_tensor_record *tensors;
};

/* What is done one after another when a container is opened. */
enum mmh_open_stage {
    MMH_OPEN_STRUCTURE, /* header, footer, trailer */
    MMH_OPEN_TRUST,     /* signatures (by who unlocks) */
    MMH_OPEN_KEYS,      /* recipients (likewise) */
    MMH_OPEN_MERKLE,    /* page table and pages up to the root */
    MMH_OPEN_SEALS,     /* tags of pages */
    MMH_OPEN_INDEX,     /* what pages hold */
    MMH_OPEN_DONE
};

typedef struct mmh_container_reader {
    enum mmh_open_stage stage; /* the last one that was begun; after a failure too */
    unsigned hash_suite, aead_suite;
    size_t hash_bytes;
    uint16_t major, minor;
    bool times; /* modification times are kept, says the header */
    uint64_t container_bytes, index_bytes, index_offset; /* of index A */
    uint8_t root[MMH_HASH_BYTES];                        /* [hash_bytes], zeros behind */
    unsigned mended;                                     /* MMH_MENDED_..., MMH_SPARE_DAMAGED */
    uint64_t page_count;
    struct mmh_footer footer;
    /* If it was wanted: with `spares`, of encrypted containers, and where a lock asks for it. */
    struct mmh_trailer trailer;
    /* Encrypted, and no key opened it: of the index chunks alone are known, their codecs are not. */
    bool locked;
    struct mmh_file_keys keys; /* of an encrypted one that is not locked */
    struct mmh_index index;
    struct mmh_arena arena;
    /* If it was wanted: the index from the block table on, as it is stored. */
    uint8_t *decoded;
    const uint8_t *rest;
    size_t rest_bytes;
} mmh_container_reader;

/*
 * Read and check footer, header and index. Damage that the spare copies make good is mended and
 * noted in reader->mended; with `spares` the spare copies are checked as well even when nothing
 * is wrong with the first ones (verify does).
 *
 *   limit_bytes   refuse an index that decodes to more (MMH_E_LIMIT)
 *
 * Everything in the index has been checked for consistency: offsets, sizes, names, references. An
 * encrypted container stays locked.
 */
mmh_status mmh_container_open(mmh_container_reader *reader, mmh_container_read_at *read,
                              void *read_context, uint64_t container_bytes, uint64_t limit_bytes,
                              bool spares, const mmh_allocator *allocator, mmh_error *err);

/* Who may read, and what. */
struct mmh_container_lock {
    /*
     * Asked when footer, header and trailer have been read and nothing of the index has: to check
     * signatures, and of an encrypted container (reader->aead_suite) for its keys, which are those of its
     * header's commitment. Without keys and with MMH_OK it stays locked.
     *
     *   found  out; keys are looked at if it is true
     */
    mmh_status (*unlock)(void *context, const mmh_container_reader *reader,
                         struct mmh_file_keys *keys, bool *found, mmh_error *err);
    void *context;
    bool needs_trailer; /* of plain containers too */
    bool keeps_rest;
};

/* The same, of one that is encrypted too. lock NULL: nobody is asked. */
mmh_status mmh_container_open_locked(mmh_container_reader *reader, mmh_container_read_at *read,
                                     void *read_context, uint64_t container_bytes,
                                     uint64_t limit_bytes, bool spares,
                                     const struct mmh_container_lock *lock,
                                     const mmh_allocator *allocator, mmh_error *err);
void mmh_container_close(mmh_container_reader *reader); /* wipes the keys */

/* Check a stored chunk that was read: MMH_E_CORRUPT if its hash is another. */
mmh_status mmh_container_check_chunk(const mmh_container_reader *reader, uint64_t chunk,
                                     const uint8_t *data, mmh_error *err);

/* The container's magic, for telling containers from other files. */
bool mmh_container_magic(const uint8_t *data, size_t bytes);

#endif
