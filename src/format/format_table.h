/*
 * Inside the format room: what each format_*.c gives, and how it reads.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_FORMAT_TABLE_H
#define MMH_FORMAT_TABLE_H

#include "format/format.h"

enum { MMH_FORMAT_HEAD_BYTES = 16 };

/* What detection looks at. */
struct mmh_format_probe {
    const mmh_source *source;                 /* a part of a file is a source too */
    unsigned depth;                           /* parts around this one: an archive's member has 1 */
    const struct mmh_format_options *options; /* never NULL */
    uint8_t head[MMH_FORMAT_HEAD_BYTES];      /* the file's first bytes */
    size_t head_bytes;                        /* fewer only if the file has no more */
};

struct mmh_format {
    const char *name;
    const char *suffix; /* that its files have; NULL: none of their own */
    bool tells;         /* its files tell of tensors in others (mmh_extent_map_add_elsewhere) */

    /* True if the file looks like one of this format: a cheap and narrow test. */
    bool (*detect)(const struct mmh_format_probe *probe);

    /*
     * Add its tensors and metadata. MMH_E_CORRUPT and MMH_E_UNSUPPORTED mean that the file is not
     * of this format after all: the message becomes a remark, what was added is discarded, and
     * the next format gets its turn. Other failures are the caller's.
     */
    mmh_status (*map)(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                      mmh_error *err);
};

/* ---- reading ---- */

/*
 * A bounded reader over a range of a source, for walking structures of any size: small reads come
 * from a buffer, skipping costs nothing. As mmh_cursor it remembers its first failure, after which
 * every read gives 0: parsers read straight down and ask once.
 *
 *     struct mmh_stream in;
 *     mmh_stream_init(&in, source, begin, end);
 *     while (mmh_stream_left(&in)) { uint64_t key = mmh_stream_varint(&in); ... }
 *     return mmh_stream_finish(&in, "onnx model", err);
 */
enum { MMH_STREAM_BUFFER_BYTES = 4096 };
struct mmh_stream {
    const mmh_source *source;
    uint64_t position, end; /* in the source; end - position is what is left */
    uint64_t buffer_offset; /* of buffer[buffer_bytes] */
    size_t buffer_bytes;
    bool big_endian;   /* how u16, u32, u64 are read; little-endian at first */
    bool short_read;   /* ran over the end, or a varint of more than 10 bytes */
    mmh_status status; /* of a failed read of the source */
    mmh_error error;
    uint8_t buffer[MMH_STREAM_BUFFER_BYTES];
};

/* [begin, end) lies within the source. */
void mmh_stream_init(struct mmh_stream *stream, const mmh_source *source, uint64_t begin,
                     uint64_t end);
uint8_t mmh_stream_u8(struct mmh_stream *stream);
uint16_t mmh_stream_u16(struct mmh_stream *stream);
uint32_t mmh_stream_u32(struct mmh_stream *stream);
uint64_t mmh_stream_u64(struct mmh_stream *stream);
/* LEB128 as protocol buffers have it: up to 10 bytes, not always the shortest; bits beyond the 64th
 * are dropped. */
uint64_t mmh_stream_varint(struct mmh_stream *stream);
bool mmh_stream_copy(struct mmh_stream *stream, void *dst, size_t bytes); /* false: too few */
void mmh_stream_skip(struct mmh_stream *stream, uint64_t bytes);
/* Go to a place within [0, source->bytes], and move the end. */
void mmh_stream_seek(struct mmh_stream *stream, uint64_t position, uint64_t end);
/* The next `bytes` bytes (at most `bytes_max`) as a string in the arena; NULL: too few, too many (as
 * a short read), or no memory (as status). What is behind a NUL is cut off by who reads it. */
char *mmh_stream_string(struct mmh_stream *stream, uint64_t bytes, size_t bytes_max,
                        struct mmh_arena *arena);
uint64_t mmh_stream_left(const struct mmh_stream *stream); /* 0 once failed */
bool mmh_stream_failed(const struct mmh_stream *stream);
/* Fails with what the source failed with, or MMH_E_CORRUPT: `what` "ends too early". */
mmh_status mmh_stream_finish(const struct mmh_stream *stream, const char *what, mmh_error *err);

/* The table, in the order in which formats are asked; NULL past its end. */
const struct mmh_format *mmh_format_at(size_t index);

extern const struct mmh_format mmh_format_safetensors;
extern const struct mmh_format mmh_format_npy;
extern const struct mmh_format mmh_format_shard_index;
extern const struct mmh_format mmh_format_torch;
extern const struct mmh_format mmh_format_torch_legacy;
extern const struct mmh_format mmh_format_torch_tar;
extern const struct mmh_format mmh_format_torch_shard;
extern const struct mmh_format mmh_format_torch_metadata;
extern const struct mmh_format mmh_format_pickle;
extern const struct mmh_format mmh_format_zip;
extern const struct mmh_format mmh_format_onnx;
extern const struct mmh_format mmh_format_tf_graph;
extern const struct mmh_format mmh_format_tf_bundle;
extern const struct mmh_format mmh_format_tflite;
extern const struct mmh_format mmh_format_hdf5;
extern const struct mmh_format mmh_format_gguf;
extern const struct mmh_format mmh_format_coreml;
extern const struct mmh_format mmh_format_coreml_weights;
extern const struct mmh_format mmh_format_tfjs;
extern const struct mmh_format mmh_format_data;
extern const struct mmh_format mmh_format_custom;
extern const struct mmh_format mmh_format_raw;
extern const struct mmh_format mmh_format_opaque;

/*
 * Bytes [offset, offset + bytes) of the source with a NUL after them, for mmh_free (allocator as
 * the caller's). The caller has checked that the source has them.
 */
mmh_status mmh_source_take(uint8_t **data, const mmh_source *source, uint64_t offset, size_t bytes,
                           const mmh_allocator *allocator, mmh_error *err);

/* A part of another source, which must outlive it. Keeps the pointers. */
struct mmh_source_part {
    const mmh_source *whole;
    uint64_t offset;
};
mmh_source mmh_source_of_part(struct mmh_source_part *part, const mmh_source *whole,
                              uint64_t offset, uint64_t bytes, const char *name);

/*
 * Map a part of the file as a file of its own: an archive's member. Its tensors' names get `prefix`
 * (NULL: none), `name` is what it is called. A part that no format knows, or that is too deep
 * (MMH_FORMAT_DEPTH_MAX), gives nothing. *format_id (may be NULL) is what it was. The part lies
 * within the source.
 */
enum { MMH_FORMAT_DEPTH_MAX = 4 };
mmh_status mmh_format_map_part(struct mmh_extent_map *map, unsigned *format_id,
                               const struct mmh_format_probe *probe, uint64_t offset,
                               uint64_t bytes, const char *name, const char *prefix,
                               mmh_error *err);

/* The file's name without folders and without its last suffix, or "array"; NULL: no memory. */
const char *mmh_source_stem(const mmh_source *source, struct mmh_arena *arena);

/* The file's name without folders; never NULL. */
const char *mmh_source_base_name(const mmh_source *source);

/* Whether a name ends so, case and all; either may be NULL. */
bool mmh_name_has_suffix(const char *name, const char *suffix);

#endif
