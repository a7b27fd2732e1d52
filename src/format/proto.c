/*
 * Walking protocol buffers: keys, payloads as ranges, groups and unknown fields passed over.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Nothing is read that nobody asks for, so that a message may be of any size; protocol buffers
 * themselves stop at 2 GB.
 */
#include "format/proto.h"

#include <string.h>

#include "base/bits.h"

enum {
    WIRE_GROUP_END = 4,
    GROUPS_MAX = 64, /* one within the other; protobuf's own limit is 100 */
    NUMBER_MAX = (1 << 29) - 1,
    MEMORY_BYTES_MIN = 16 << 20,
    MEMORY_PER_BYTE = 4
};

static void fail_field(struct mmh_stream *in, uint64_t position, const char *problem)
{
    if (!mmh_stream_failed(in))
        in->status = mmh_fail(&in->error, MMH_E_CORRUPT, "a field %s at 0x%llx", problem,
                              (unsigned long long)position);
}

/* The key; false if there is none. */
static bool next_key(struct mmh_stream *in, uint32_t *number, unsigned *wire)
{
    uint64_t position = in->position, key = mmh_stream_varint(in);
    if (mmh_stream_failed(in))
        return false;
    if (key >> 3 == 0 || key >> 3 > NUMBER_MAX) {
        fail_field(in, position, "has a number that none has");
        return false;
    }
    *number = (uint32_t)(key >> 3);
    *wire = key & 7;
    return true;
}

/* The payload of all but groups. */
static void take_payload(struct mmh_stream *in, unsigned wire, struct mmh_proto_field *field)
{
    uint64_t bytes = wire == MMH_PROTO_FIXED64 ? 8 : wire == MMH_PROTO_FIXED32 ? 4 : 0;
    field->begin = in->position;
    if (wire == MMH_PROTO_VARINT) {
        field->value = mmh_stream_varint(in);
    } else if (wire == MMH_PROTO_BYTES) {
        bytes = mmh_stream_varint(in);
        field->begin = in->position;
    } else if (!bytes) {
        fail_field(in, field->begin, "is of no known wire type");
    }
    mmh_stream_skip(in, bytes);
    field->end = in->position;
}

/* Pass over the rest of a group and the groups in it. */
static void skip_group(struct mmh_stream *in, uint32_t number)
{
    uint32_t open[GROUPS_MAX];
    size_t depth = 0;
    open[depth++] = number;
    while (depth && !mmh_stream_failed(in)) {
        struct mmh_proto_field field = { 0 };
        uint64_t position = in->position;
        unsigned wire;
        if (!next_key(in, &number, &wire))
            return;
        if (wire == WIRE_GROUP_END) {
            if (open[--depth] != number)
                fail_field(in, position, "ends another group");
        } else if (wire == MMH_PROTO_GROUP) {
            if (depth == GROUPS_MAX)
                fail_field(in, position, "lies in too many groups");
            else
                open[depth++] = number;
        } else {
            take_payload(in, wire, &field);
        }
    }
}

bool mmh_proto_next(struct mmh_stream *in, struct mmh_proto_field *field)
{
    unsigned wire;
    *field = (struct mmh_proto_field){ 0 };
    if (!mmh_stream_left(in) || !next_key(in, &field->number, &wire))
        return false;
    if (wire == MMH_PROTO_GROUP) {
        field->begin = in->position;
        skip_group(in, field->number);
        field->end = in->position;
    } else {
        take_payload(in, wire, field);
    }
    field->wire = (enum mmh_proto_wire)wire;
    return !mmh_stream_failed(in);
}

bool mmh_proto_is_bytes(const struct mmh_proto_field *field, uint32_t number)
{
    return field->number == number && field->wire == MMH_PROTO_BYTES;
}

bool mmh_proto_is_varint(const struct mmh_proto_field *field, uint32_t number)
{
    return field->number == number && field->wire == MMH_PROTO_VARINT;
}

struct mmh_proto_place mmh_proto_enter(struct mmh_stream *in, const struct mmh_proto_field *field)
{
    struct mmh_proto_place outer = { in->position, in->end };
    mmh_stream_seek(in, field->begin, field->end);
    return outer;
}

void mmh_proto_leave(struct mmh_stream *in, const struct mmh_proto_place *outer)
{
    mmh_stream_seek(in, outer->position, outer->end);
}

char *mmh_proto_string(struct mmh_stream *in, const struct mmh_proto_field *field,
                       struct mmh_arena *arena)
{
    uint64_t bytes = field->end - field->begin;
    if (bytes > MMH_PROTO_NAME_BYTES_MAX)
        return NULL;
    struct mmh_proto_place outer = mmh_proto_enter(in, field);
    char *text = mmh_stream_string(in, bytes, MMH_PROTO_NAME_BYTES_MAX, arena);
    mmh_proto_leave(in, &outer);
    return text;
}

uint64_t mmh_proto_memory_max(const struct mmh_extent_map *map)
{
    uint64_t bytes = MMH_MIN(map->file_bytes, UINT64_MAX / 2 / MEMORY_PER_BYTE);
    return map->arena->used + MEMORY_BYTES_MIN + bytes * MEMORY_PER_BYTE;
}

/* Whether there may be more of it. */
static bool affords(struct mmh_stream *in, const struct mmh_arena *arena, uint64_t memory_max)
{
    if (arena->used > memory_max && !mmh_stream_failed(in))
        in->status = mmh_fail(&in->error, MMH_E_UNSUPPORTED,
                              "names and shapes are far larger than the file");
    return !mmh_stream_failed(in);
}

const char *mmh_proto_join(struct mmh_stream *in, struct mmh_arena *arena, const char *name,
                           const char *rest, uint64_t memory_max)
{
    if (!affords(in, arena, memory_max))
        return rest;
    char *whole = mmh_arena_format(arena, "%.*s%s", MMH_PROTO_SHARED_BYTES_MAX, name, rest);
    if (!whole && !mmh_stream_failed(in))
        in->status = mmh_fail(&in->error, MMH_E_MEMORY, "name of a tensor");
    return whole ? whole : rest;
}

char *mmh_proto_find_string(struct mmh_stream *in, const struct mmh_proto_field *message,
                            uint32_t number, struct mmh_arena *arena)
{
    struct mmh_proto_field field, found = { .begin = message->end, .end = message->end };
    struct mmh_proto_place outer = mmh_proto_enter(in, message);
    while (mmh_proto_next(in, &field))
        if (mmh_proto_is_bytes(&field, number)) {
            found = field;
            break;
        }
    mmh_proto_leave(in, &outer);
    return mmh_stream_failed(in) ? NULL : mmh_proto_string(in, &found, arena);
}

bool mmh_proto_equals(struct mmh_stream *in, const struct mmh_proto_field *field, const char *text)
{
    bool equal = field->end - field->begin == strlen(text);
    struct mmh_proto_place outer = mmh_proto_enter(in, field);
    for (; equal && *text; text++)
        equal = mmh_stream_u8(in) == (uint8_t)*text;
    mmh_proto_leave(in, &outer);
    return equal;
}

void mmh_proto_integers(struct mmh_stream *in, const struct mmh_proto_field *field,
                        uint64_t *values, uint32_t *count, uint32_t room)
{
    if (field->wire == MMH_PROTO_VARINT) {
        if (*count < room)
            values[*count] = field->value;
        *count += *count <= room;
    } else if (field->wire == MMH_PROTO_BYTES) {
        struct mmh_proto_place outer = mmh_proto_enter(in, field);
        while (mmh_stream_left(in) && *count <= room) {
            uint64_t value = mmh_stream_varint(in);
            if (*count < room)
                values[*count] = value;
            ++*count;
        }
        mmh_proto_leave(in, &outer);
    }
}

/* ---- what a file is ---- */

bool mmh_proto_looks_like(const mmh_source *source, const struct mmh_proto_known *known,
                          size_t known_count, bool closed)
{
    struct mmh_stream in;
    struct mmh_proto_field field;
    uint64_t seen = 0, required = 0; /* a bit for each that is known */
    unsigned count = 0;
    for (size_t k = 0; k < known_count; k++)
        required |= (uint64_t)known[k].required << k;
    mmh_stream_init(&in, source, 0, source->bytes);
    while (mmh_proto_next(&in, &field)) {
        size_t k = 0;
        while (k < known_count && known[k].number != field.number)
            k++;
        if (k < known_count ? known[k].wire != field.wire : closed)
            return false;
        if (k < known_count)
            seen |= (uint64_t)1 << k;
        if (++count == MMH_PROTO_LOOK_FIELDS)
            break;
    }
    return !mmh_stream_failed(&in) && (seen & required) == required;
}

/* ---- tensors ---- */

void mmh_proto_add(struct mmh_stream *in, struct mmh_extent_map *map,
                   const struct mmh_proto_tensor *tensor, const char *file, uint64_t memory_max)
{
    if (!affords(in, map->arena, memory_max))
        return;
    if (tensor->dimensions > MMH_MAP_DIMENSIONS_MAX) {
        mmh_extent_map_remark_tensor(map, tensor->name, "has more than 64 dimensions");
        return;
    }
    uint64_t *shape = mmh_arena_array(map->arena, tensor->dimensions, sizeof *shape);
    if (!shape) {
        in->status = mmh_fail(&in->error, MMH_E_MEMORY, "shape of a tensor");
        return;
    }
    memcpy(shape, tensor->shape, tensor->dimensions * sizeof *shape);
    struct mmh_map_tensor added = {
        .name = tensor->name,
        .dtype = tensor->dtype,
        .big_endian = tensor->big_endian,
        .dimensions = tensor->dimensions,
        .shape = shape,
        .offset = tensor->begin,
        .bytes = tensor->end - tensor->begin,
    };
    in->status = file ? mmh_extent_map_add_elsewhere(map, file, &added, &in->error)
                      : mmh_extent_map_add(map, &added, &in->error);
}
