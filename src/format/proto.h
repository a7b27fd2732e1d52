/*
 * Protocol buffers on the wire: fields of messages in a source, walked and never copied.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 *     struct mmh_proto_field field;
 *     while (mmh_proto_next(&in, &field))
 *         if (mmh_proto_is_bytes(&field, 7)) {
 *             struct mmh_proto_place outer = mmh_proto_enter(&in, &field);
 *             ...                                 the message within, the same way
 *             mmh_proto_leave(&in, &outer);
 *         }
 *
 * Source: protobuf.dev/programming-guides/encoding.
 */
#ifndef MMH_PROTO_H
#define MMH_PROTO_H

#include "format/format_table.h"

enum mmh_proto_wire {
    MMH_PROTO_VARINT = 0,
    MMH_PROTO_FIXED64 = 1,
    MMH_PROTO_BYTES = 2, /* a string, a message, packed numbers */
    MMH_PROTO_GROUP = 3,
    MMH_PROTO_FIXED32 = 5
};

/* One field. */
struct mmh_proto_field {
    uint32_t number;
    enum mmh_proto_wire wire;
    uint64_t value;      /* of a varint */
    uint64_t begin, end; /* of the payload, in the source */
};

/*
 * The next field, whatever it is; the stream stands behind it. False at the end, and once the
 * stream has failed: as a short read, or MMH_E_CORRUPT if this is no message at all.
 */
bool mmh_proto_next(struct mmh_stream *in, struct mmh_proto_field *field);

/* Whether it is the field of this number, and bytes or a varint as it should be. */
bool mmh_proto_is_bytes(const struct mmh_proto_field *field, uint32_t number);
bool mmh_proto_is_varint(const struct mmh_proto_field *field, uint32_t number);

/* Where to go back to. */
struct mmh_proto_place {
    uint64_t position, end;
};
struct mmh_proto_place mmh_proto_enter(struct mmh_stream *in, const struct mmh_proto_field *field);
void mmh_proto_leave(struct mmh_stream *in, const struct mmh_proto_place *outer);

/*
 * The payload as a string in the arena, "" for a field without one. NULL if it has more than
 * MMH_PROTO_NAME_BYTES_MAX, if nothing could be read, and without memory (the stream has failed in
 * these two cases).
 */
enum { MMH_PROTO_NAME_BYTES_MAX = 1 << 16 };
char *mmh_proto_string(struct mmh_stream *in, const struct mmh_proto_field *field,
                       struct mmh_arena *arena);

/*
 * How large the map's arena may get while a file is walked: names that tensors share, and tensors of
 * few bytes, can take many times the memory of what says them. Beyond it the stream fails with
 * MMH_E_UNSUPPORTED.
 */
uint64_t mmh_proto_memory_max(const struct mmh_extent_map *map);

/*
 * "<name><rest>" in the arena, for a name that several tensors share: cut at
 * MMH_PROTO_SHARED_BYTES_MAX. Without memory the stream fails, and `rest` is what comes back.
 */
enum { MMH_PROTO_SHARED_BYTES_MAX = 256 };
const char *mmh_proto_join(struct mmh_stream *in, struct mmh_arena *arena, const char *name,
                           const char *rest, uint64_t memory_max);

/* The first string of that number in a message; "" if there is none, NULL as above. */
char *mmh_proto_find_string(struct mmh_stream *in, const struct mmh_proto_field *message,
                            uint32_t number, struct mmh_arena *arena);

/* Whether the payload is this text. */
bool mmh_proto_equals(struct mmh_stream *in, const struct mmh_proto_field *field, const char *text);

/*
 * The numbers of a repeated integer field, packed or one by one: appended to values [room]. *count
 * goes on growing past `room`, by one at the least: then there are too many.
 */
void mmh_proto_integers(struct mmh_stream *in, const struct mmh_proto_field *field,
                        uint64_t *values, uint32_t *count, uint32_t room);

/* ---- what a file is ---- */

/* A field that a message may have. */
struct mmh_proto_known {
    uint32_t number;
    enum mmh_proto_wire wire;
    bool required;
};

/*
 * Whether bytes [begin, end) of the source look like a message: fields to the very end, or
 * MMH_PROTO_LOOK_FIELDS of them; those known, by ascending number, have their wire type, and the
 * required ones are there. `closed`: no others are.
 */
enum { MMH_PROTO_LOOK_FIELDS = 4096 };
bool mmh_proto_looks_like(const mmh_source *source, const struct mmh_proto_known *known,
                          size_t known_count, bool closed);

/* ---- tensors ---- */

/* What a message says of a tensor. */
struct mmh_proto_tensor {
    const char *name; /* in the arena */
    mmh_dtype dtype;  /* MMH_DTYPE_COUNT: none that we know */
    bool big_endian;
    uint32_t dimensions; /* may be more than the shape has room for */
    uint64_t shape[MMH_MAP_DIMENSIONS_MAX];
    uint64_t begin, end; /* its bytes, in the source */
};

/*
 * Add it, with a copy of its shape, or remark what is wrong with it. `file`: it lies in that other
 * file (NULL: in this one). Without memory the stream fails.
 */
void mmh_proto_add(struct mmh_stream *in, struct mmh_extent_map *map,
                   const struct mmh_proto_tensor *tensor, const char *file, uint64_t memory_max);

#endif
