/*
 * What the files of the engine share: the context, worker state, ranges of containers.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The engine implements include/mmh.h on top of every other room.
 */
#ifndef MMH_ENGINE_H
#define MMH_ENGINE_H

#include <stdatomic.h>

#include "base/io.h"
#include "base/pool.h"
#include "codec/codec.h"
#include "container/container.h"
#include "format/plugin.h"
#include "trust/statement.h"

/* Times of the stages of a call, summed over the workers. */
struct mmh_stage_times {
    atomic_uint_fast64_t read_ns, plan_ns, encode_ns, check_ns, hash_ns, decode_ns, write_ns;
    atomic_uint_fast64_t open_ns, seal_ns, unseal_ns, sign_ns;
};

/* What a worker will fetch of a source, and has read of it: engine/ahead.h. */
struct mmh_ahead {
    const uint32_t *chunks; /* [count] expected, in this order; NULL: read each by itself */
    size_t count;
    struct mmh_ahead_kept {
        uint8_t *data; /* [bytes <= room] of the source from `offset` on */
        uint64_t offset;
        size_t bytes, room;
    } kept[2]; /* what follows each other, and one chunk from before that */
};

/* One worker's buffers; grown when first needed, kept with the context. */
struct mmh_worker {
    mmh_codec_workspace *codec;
    uint8_t *stored; /* [stored_room] a chunk as stored */
    size_t stored_room;
    uint8_t *decoded; /* [decoded_room] a chunk or more, decoded */
    size_t decoded_room;
    struct
    { /* which chunk `decoded` is of, for who loads small tensors one by one; reader 0: of none */
        uint64_t reader, block, index;
    } holds;
    struct mmh_ahead ahead;
};

/* What a context believes, and what it opens with. */
struct mmh_guards {
    const mmh_identity **identities; /* [identity_count] */
    size_t identity_count, identity_room;
    mmh_passphrase_fn passphrase;
    void *passphrase_user;
    bool required; /* signatures are, as `policy` has it */
    struct mmh_policy policy;
    const mmh_identity **signers; /* that the policy names, with the rest of it */
    uint64_t *expires;
    char *signature_file;
};

struct mmh_context {
    mmh_allocator allocator_copy;
    const mmh_allocator *allocator; /* NULL: the system's */
    mmh_limits limits;
    struct mmh_plugins plugins;
    struct mmh_guards guards;
    uint64_t anew_bytes; /* larger containers get a trailer behind the old one; tests set it */
    mmh_pool *pool;
    struct mmh_worker *workers;        /* [mmh_pool_threads(pool)] */
    atomic_uint_fast64_t reader_count; /* that it ever had */

    mmh_progress_fn progress;
    void *progress_user;
    mmh_progress state; /* stage, name and total of the running call */
    atomic_uint_fast64_t done_bytes, stored_bytes;
    atomic_flag reporting; /* held by the thread that is calling progress */
    atomic_bool stopped;   /* progress has said stop */
    uint64_t last_report_ns;
    struct mmh_stage_times times;
};

/* Begin a call: progress is told the stage and the total; times are zero. */
void mmh_context_begin(mmh_context *context, const char *stage, uint64_t total_bytes);
/* End it: a last report when it went well. */
void mmh_context_end(mmh_context *context, mmh_status status);

/* Report the progress if it is time; MMH_E_CANCELLED once the caller has said stop. For workers,
 * between chunks: any thread, any number of them. */
mmh_status mmh_context_poll(mmh_context *context, mmh_error *err);

/* Lock a container that is to be changed, against other processes: mmh_path_lock, for some 30 seconds.
 * For mmh_path_unlock, also after a failure. */
mmh_status mmh_context_lock(mmh_context *context, int *lock, const char *path, mmh_error *err);

/* Add the time since `begin_ns` to a stage. Returns the clock. */
uint64_t mmh_stage_add(atomic_uint_fast64_t *stage, uint64_t begin_ns);

/* MMH_E_USAGE if the caller has left the struct_size of a struct at 0: nothing of it would be seen.
 *   object  may be NULL
 *   type    for the message */
mmh_status mmh_struct_check(const void *object, const char *type, mmh_error *err);

/* Options by struct_size: copy what the caller's struct has into `options` [bytes], which holds
 * the defaults (zeros). Checked as above. */
mmh_status mmh_options_copy(void *options, size_t bytes, const void *from, const char *type,
                            mmh_error *err);
/* The same outwards: fill a report as far as the caller's struct_size goes. */
void mmh_report_copy(void *to, const void *report, size_t bytes);

/* Grow a buffer to [bytes] at least; what it held is lost. With 0 bytes too it is not NULL then. */
mmh_status mmh_context_room(mmh_context *context, uint8_t **buffer, size_t *room, size_t bytes,
                            mmh_error *err);

/* Room for what is read and what is decoded; of what is asked for, the contents are lost. */
mmh_status mmh_worker_room(mmh_context *context, struct mmh_worker *worker, size_t stored_bytes,
                           size_t decoded_bytes, mmh_error *err);

/* Whether a symlink called `name` points to something beneath the folder that its name is
 * relative to, whatever other such links lie on the way (no ".." after a name): pack follows those that do not, unpack refuses them. */
bool mmh_target_stays_inside(const char *name, const char *target);

/* ---- names ---- */

/* Names of a container that are not for every system (docs/format.md section 5). */
struct mmh_odd_names {
    uint64_t count;
    const char *first; /* one of them */
    const char *why;   /* "is a device on some systems"; NULL: there is a twin */
    const char *twin;  /* that differs from it in case alone */
};

/* Look at names [count]; sorts them. */
void mmh_names_look(struct mmh_odd_names *odd, const char **names, size_t count);

/* What is odd, for people, cut to [bytes]; odd->count is not 0. */
void mmh_odd_name_text(char *text, size_t bytes, const struct mmh_odd_names *odd);

/* ---- containers ---- */

/* What has been checked of a container's chunks, for verify to tell; a chunk that several need counts each
 * time. */
struct mmh_checked {
    atomic_uint_fast64_t hashes_wrong, seals_right, seals_wrong, decodes_right, decodes_wrong;
};

struct mmh_reader {
    mmh_context *context;
    uint64_t number; /* among those of the context, from 1 */
    mmh_input *input;
    struct mmh_sealer *sealer; /* of an encrypted container that is not locked */
    struct mmh_checked checked;
    struct mmh_originals *originals; /* not NULL: files and no container; engine/originals.h */
    mmh_container_reader container;
    mmh_usage *by_dtype, *by_codec;
    size_t by_dtype_count, by_codec_count;
    uint64_t original_bytes, floor_bytes;
    uint64_t *refs_stored;   /* stored bytes of the chunks of refs before every sixteenth */
    uint64_t *blocks_stored; /* [block_count + 1] the same of blocks, their models included */
    bool never_mends;        /* damaged chunks stay so, whatever parity gives back */
    struct mmh_reader_parity *_Atomic parity; /* engine/mend_reader.h */
    atomic_uint_fast64_t mended_chunks;
    bool scanning;                     /* nearly all chunks are read, in their order */
    atomic_uint_fast64_t ahead_offset; /* up to which the system was told to read ahead */
};

/* From now on, or no longer, the reader's chunks are read in their order, nearly all of them. */
void mmh_reader_scan(mmh_reader *reader, bool scanning);

mmh_status mmh_reader_open(mmh_context *context, const char *path, bool spares, mmh_reader **reader,
                           mmh_error *err);

/* How a container is opened; zeroed but for what the caller sets. */
struct mmh_opening {
    const mmh_source *source; /* what is opened; NULL: the file of that path */
    bool spares;              /* check spare copies too */
    bool keyless;             /* without a key it stays locked, and that is no failure */
    bool trusting;            /* signatures are not asked for: of those who tell what there are */
    bool lenient;             /* with a damaged list of recipients it stays locked, too */
    bool trailer;             /* its sections are wanted, of a plain container too */
    bool keeps_rest;
    uint8_t *
        file_key; /* out: [MMH_FILE_KEY_BYTES] of an encrypted one that is not locked; may be NULL */
    /* out, after a failure too */
    enum mmh_open_stage stage;
    size_t signatures_counted; /* that met what the context requires */
    bool has_signatures;
};

mmh_status mmh_reader_open_as(mmh_context *context, const char *path, struct mmh_opening *opening,
                              mmh_reader **reader, mmh_error *err);

/* MMH_MENDED_..., what was mended so far. */
unsigned mmh_reader_mended(const mmh_reader *reader);

/* mmh_container_read_at of an input. */
mmh_status mmh_reader_read_at(void *input, void *dst, uint64_t offset, size_t bytes,
                              mmh_error *err);

/* Open reader->container from reader->input, with what the context believes and opens with. */
mmh_status mmh_guards_open(mmh_reader *reader, struct mmh_opening *opening, mmh_error *err);

/* The same, of the container_bytes that `read` gives. */
mmh_status mmh_guards_open_by(mmh_reader *reader, struct mmh_opening *opening,
                              mmh_container_read_at *read, void *read_context,
                              uint64_t container_bytes, mmh_error *err);
void mmh_guards_release(mmh_context *context);

/* Bytes of a file, in file order, decoded and checked; what is wanted exists. For the calls that
 * tell no progress of their own. */
mmh_status mmh_reader_bytes(mmh_reader *reader, uint64_t file, uint64_t offset, void *dst,
                            size_t bytes, mmh_error *err);

/* Bytes of a file and where they go. */
struct mmh_wanted {
    uint64_t file, begin, end;
    uint8_t *destination; /* of byte `begin` */
};

/* The same of pieces [count], which are sorted: each chunk is decoded once. */
mmh_status mmh_reader_gather(mmh_reader *reader, struct mmh_wanted *pieces, size_t count,
                             mmh_error *err);

/* Read the stored bytes of a chunk into the worker's `stored`, and check their hash. */
mmh_status mmh_reader_fetch_stored(mmh_reader *reader, struct mmh_worker *worker, uint64_t chunk,
                                   mmh_error *err);

/* The same, and open what is sealed: mmh_reader_payload_bytes of them are the payload. */
mmh_status mmh_reader_fetch(mmh_reader *reader, struct mmh_worker *worker, uint64_t chunk,
                            mmh_error *err);

static inline uint32_t mmh_reader_payload_bytes(const mmh_reader *reader,
                                                const struct mmh_chunk_entry *chunk)
{
    return chunk->bytes - (reader->sealer ? MMH_AEAD_TAG_BYTES : 0);
}

/* The model of a block, or NULL if it has none; for mmh_model_destroy. */
mmh_status mmh_reader_model(mmh_reader *reader, struct mmh_worker *worker, uint64_t block,
                            mmh_model **model, mmh_error *err);

/* Decode chunk number `index` of a block into dst: original file bytes. *bytes: how many. */
mmh_status mmh_reader_chunk(mmh_reader *reader, struct mmh_worker *worker, uint64_t block,
                            uint64_t index, const mmh_model *model, uint8_t *dst, size_t *bytes,
                            bool stream, mmh_error *err);

/* Both, with a message that does not say whose chunk it is: for those who see many that fail. */
mmh_status mmh_reader_model_plain(mmh_reader *reader, struct mmh_worker *worker, uint64_t block,
                                  mmh_model **model, mmh_error *problem);
mmh_status mmh_reader_chunk_plain(mmh_reader *reader, struct mmh_worker *worker, uint64_t block,
                                  uint64_t index, const mmh_model *model, uint8_t *dst,
                                  size_t *bytes, bool stream, mmh_error *problem);

/* Name of the tensor that byte `offset` of a file is of, or of the file. Looks at all tensors of it. */
const char *mmh_reader_owner(const mmh_reader *reader, uint64_t file, uint64_t offset);

/* Decoded bytes of chunk number `index` of a block. */
size_t mmh_block_chunk_bytes(const struct mmh_block_entry *block, uint64_t index);

/* The block of a file that holds byte `offset`, which there is. */
uint64_t mmh_reader_block_at(const mmh_reader *reader, const struct mmh_file_entry *file,
                             uint64_t offset);

/* The record of a tensor; MMH_E_USAGE if there is none. */
mmh_status mmh_reader_tensor(mmh_reader *reader, uint64_t tensor,
                             const struct mmh_tensor_record **record, mmh_error *err);

/* From the file's byte order to the host's, in place. */
void mmh_host_order(void *data, size_t bytes, const struct mmh_tensor_record *tensor);

#endif
