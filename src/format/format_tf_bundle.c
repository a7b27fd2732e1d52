/*
 * The index of a TensorBundle: a table of names, and where in which data file each tensor lies.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The table is LevelDB's: blocks of entries that share the beginnings of their keys, an index block
 * of where those blocks are, a footer. Checksums are not looked at: what the entries say is checked
 * where the data is.
 * Source: github.com/tensorflow/tensorflow, tensorflow/core/util/tensor_bundle/tensor_bundle.h,
 * tensorflow/core/protobuf/tensor_bundle.proto, tensorflow/core/lib/strings/ordered_code.h;
 * github.com/google/leveldb, doc/table_format.md.
 */
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "format/tf.h"

enum {
    FOOTER_BYTES = 48,
    TRAILER_BYTES = 5, /* behind a block: how it is compressed, a checksum */
    KEY_BYTES_MAX = 1 << 13,
    SHARDS_MAX = 99999 /* five digits in the names of the files */
};

static const uint8_t magic[8] = { 0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb };

enum header_field { HEADER_SHARDS = 1, HEADER_ENDIANNESS = 2 };
enum entry_field {
    ENTRY_TYPE = 1,
    ENTRY_SHAPE = 2,
    ENTRY_SHARD = 3,
    ENTRY_OFFSET = 4,
    ENTRY_BYTES = 5,
    ENTRY_SLICES = 7
};

static bool detect(const struct mmh_format_probe *probe)
{
    const mmh_source *source = probe->source;
    uint8_t tail[sizeof magic];
    return source->bytes > FOOTER_BYTES &&
           source->read(source->user, source->bytes - sizeof tail, tail, sizeof tail, NULL) ==
               MMH_OK &&
           memcmp(tail, magic, sizeof tail) == 0;
}

/* A walk over a table. */
struct walk {
    struct mmh_stream index, in; /* blocks: of blocks, of entries */
    struct mmh_extent_map *map;
    uint64_t memory_max;
    const char *stem;
    uint64_t shards;
    bool big_endian;
    const char *file; /* of the last tensor */
    uint64_t file_shard;
    uint64_t left_out;
    uint8_t *key; /* [KEY_BYTES_MAX], and as much for a name in it */
    size_t key_bytes;
};

/* ---- blocks ---- */

/* Where a block lies. */
struct handle {
    uint64_t offset, bytes;
};

static struct handle read_handle(struct mmh_stream *in)
{
    struct handle handle;
    handle.offset = mmh_stream_varint(in);
    handle.bytes = mmh_stream_varint(in);
    return handle;
}

/* Begin to walk the entries of a block. It lies in the bytes before the footer. */
static mmh_status open_block(struct mmh_stream *in, const mmh_source *source,
                             const struct handle *handle, mmh_error *err)
{
    uint64_t end, behind, limit = source->bytes - FOOTER_BYTES;
    if (!mmh_u64_add(&end, handle->offset, handle->bytes) ||
        !mmh_u64_add(&behind, end, TRAILER_BYTES) || behind > limit || handle->bytes < 4)
        return mmh_fail(err, MMH_E_CORRUPT, "a block of the table lies outside of it, at 0x%llx",
                        (unsigned long long)handle->offset);
    mmh_stream_init(in, source, end - 4, behind);
    uint32_t restarts = mmh_stream_u32(in);
    unsigned compression = mmh_stream_u8(in);
    mmh_status status = mmh_stream_finish(in, "table", err);
    if (status)
        return status;
    if (compression)
        return mmh_fail(err, MMH_E_UNSUPPORTED, "blocks of the table are compressed");
    if (restarts > (handle->bytes - 4) / 4)
        return mmh_fail(err, MMH_E_CORRUPT, "a block claims %lu restarts in %llu bytes",
                        (unsigned long)restarts, (unsigned long long)handle->bytes);
    mmh_stream_seek(in, handle->offset, end - 4 - (uint64_t)restarts * 4);
    return MMH_OK;
}

/* How an entry begins: bytes of the key before it that its own key has too, further ones, value. */
struct entry {
    uint64_t shared, more, value_bytes;
};

static struct entry read_entry(struct mmh_stream *in)
{
    struct entry entry;
    entry.shared = mmh_stream_varint(in);
    entry.more = mmh_stream_varint(in);
    entry.value_bytes = mmh_stream_varint(in);
    return entry;
}

/* The key and where the value is; false: it ends too early, or the key is none. */
static bool next_entry(struct walk *walk, struct mmh_proto_field *value)
{
    struct mmh_stream *in = &walk->in;
    struct entry entry = read_entry(in);
    if (entry.shared > walk->key_bytes || entry.more > KEY_BYTES_MAX - entry.shared) {
        in->short_read = true;
        return false;
    }
    mmh_stream_copy(in, walk->key + entry.shared, (size_t)entry.more);
    walk->key_bytes = (size_t)(entry.shared + entry.more);
    value->begin = in->position;
    mmh_stream_skip(in, entry.value_bytes);
    value->end = in->position;
    return !mmh_stream_failed(in);
}

/* ---- names ---- */

/* A number of a slice: its first bits say how many bytes it has, as in UTF-8; UINT64_MAX is -1, all
 * of a dimension. */
static bool read_slice_number(struct mmh_stream *in, uint64_t *value)
{
    uint8_t first = mmh_stream_u8(in);
    unsigned more = 0;
    *value = UINT64_MAX;
    if (first == 0x7f)
        return true;
    if (!(first & 0x80) || first == 0xff) /* negative, or of 56 bits and more */
        return false;
    while (first & 0x40 >> more)
        more++;
    *value = first & 0x3fu >> more;
    for (; more; more--)
        *value = *value << 8 | mmh_stream_u8(in);
    return !mmh_stream_failed(in);
}

/*
 * The key of a part of a variable: 0, its name with a mark at the end, how many dimensions, start and
 * length of each. "name[0:10,:]"; NULL: it is something else, or no memory.
 */
static char *slice_name(struct walk *walk)
{
    enum { SLICE_DIMENSIONS_MAX = 8, /* TensorFlow's own limit */ DIMENSION_BYTES_MAX = 44 };
    struct mmh_arena *arena = walk->map->arena;
    mmh_source source = mmh_source_of_memory(walk->key, walk->key_bytes, "");
    struct mmh_stream in;
    char slices[SLICE_DIMENSIONS_MAX * DIMENSION_BYTES_MAX + 1] = "";
    size_t bytes = 0, slices_bytes = 0;
    uint8_t c;
    char *name = (char *)walk->key + KEY_BYTES_MAX; /* has at least one byte less than the key */
    mmh_stream_init(&in, &source, 1, source.bytes);
    while ((c = mmh_stream_u8(&in)) != 0 && !mmh_stream_failed(&in)) {
        name[bytes++] = (char)c;
        if (c == 0xff && mmh_stream_u8(&in) != 0)
            return NULL;
    }
    name[bytes] = '\0';
    unsigned dimensions = mmh_stream_u8(&in) == 1 && mmh_stream_u8(&in) == 1 ? mmh_stream_u8(&in)
                                                                             : 0;
    if (!bytes || !dimensions || dimensions > SLICE_DIMENSIONS_MAX)
        return NULL;
    for (unsigned d = 0; d < dimensions; d++) {
        uint64_t start, length;
        if (!read_slice_number(&in, &start) || !read_slice_number(&in, &length))
            return NULL;
        char *at = slices + slices_bytes;
        int written = length == UINT64_MAX
                        ? snprintf(at, DIMENSION_BYTES_MAX, "%s:", d ? "," : "")
                        : snprintf(at, DIMENSION_BYTES_MAX, "%s%llu:%llu", d ? "," : "",
                                   (unsigned long long)start, (unsigned long long)(start + length));
        slices_bytes += (size_t)written;
    }
    return mmh_stream_left(&in) || mmh_stream_failed(&in)
             ? NULL
             : mmh_arena_format(arena, "%s[%s]", name, slices);
}

/* ---- entries ---- */

/* What an entry says. */
struct claim {
    struct mmh_proto_tensor tensor;
    uint64_t shard, offset, bytes;
    bool sliced; /* lies in parts, with entries of their own */
};

static void read_claim(struct walk *walk, const struct mmh_proto_field *value, struct claim *claim)
{
    struct mmh_proto_field field;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, value);
    *claim =
        (struct claim){ .tensor = { .dtype = MMH_DTYPE_COUNT, .big_endian = walk->big_endian } };
    while (mmh_proto_next(&walk->in, &field)) {
        if (mmh_proto_is_varint(&field, ENTRY_TYPE))
            claim->tensor.dtype = mmh_tf_dtype(field.value);
        else if (mmh_proto_is_bytes(&field, ENTRY_SHAPE))
            mmh_tf_read_shape(&walk->in, &field, &claim->tensor);
        else if (mmh_proto_is_varint(&field, ENTRY_SHARD))
            claim->shard = field.value;
        else if (mmh_proto_is_varint(&field, ENTRY_OFFSET))
            claim->offset = field.value;
        else if (mmh_proto_is_varint(&field, ENTRY_BYTES))
            claim->bytes = field.value;
        else if (mmh_proto_is_bytes(&field, ENTRY_SLICES))
            claim->sliced = true;
    }
    mmh_proto_leave(&walk->in, &outer);
}

/* The name of the data file; most entries have that of the entry before them. */
static const char *shard_file(struct walk *walk, uint64_t shard)
{
    if (!walk->file || walk->file_shard != shard) {
        walk->file = mmh_arena_format(walk->map->arena, "%s.data-%05u-of-%05u", walk->stem,
                                      (unsigned)shard, (unsigned)walk->shards);
        walk->file_shard = shard;
    }
    return walk->file;
}

static void map_entry(struct walk *walk, const struct mmh_proto_field *value)
{
    bool sliced = !walk->key[0];
    struct claim claim;
    read_claim(walk, value, &claim);
    if (claim.sliced || mmh_stream_failed(&walk->in))
        return;
    claim.tensor.begin = claim.offset;
    if (!mmh_tf_fits(&claim.tensor, claim.bytes) || claim.shard >= walk->shards ||
        !mmh_u64_add(&claim.tensor.end, claim.offset, claim.bytes)) {
        walk->left_out++;
        return;
    }
    claim.tensor.name = sliced ? slice_name(walk)
                               : mmh_arena_string(walk->map->arena, (const char *)walk->key,
                                                  walk->key_bytes);
    claim.tensor.big_endian = walk->big_endian && mmh_dtype_scalar_bytes(claim.tensor.dtype) > 1;
    const char *file = shard_file(walk, claim.shard);
    if (!file || (!claim.tensor.name && !sliced))
        walk->in.status = mmh_fail(&walk->in.error, MMH_E_MEMORY, "name of a tensor");
    else if (claim.tensor.name)
        mmh_proto_add(&walk->in, walk->map, &claim.tensor, file, walk->memory_max);
    else
        walk->left_out++;
}

/* The entry of the empty key, the first. */
static mmh_status read_header(struct walk *walk, const struct mmh_proto_field *value,
                              mmh_error *err)
{
    struct mmh_proto_field field;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, value);
    while (mmh_proto_next(&walk->in, &field)) {
        if (mmh_proto_is_varint(&field, HEADER_SHARDS))
            walk->shards = field.value;
        else if (mmh_proto_is_varint(&field, HEADER_ENDIANNESS))
            walk->big_endian = field.value == 1;
    }
    mmh_proto_leave(&walk->in, &outer);
    if (!mmh_stream_failed(&walk->in) && (!walk->shards || walk->shards > SHARDS_MAX))
        return mmh_fail(err, MMH_E_CORRUPT, "a bundle of %llu data files",
                        (unsigned long long)walk->shards);
    return mmh_stream_finish(&walk->in, "header of a bundle", err);
}

static mmh_status map_block(struct walk *walk, const struct handle *handle, mmh_error *err)
{
    struct mmh_proto_field value = { 0 };
    mmh_status status = open_block(&walk->in, walk->index.source, handle, err);
    walk->key_bytes = 0;
    while (!status && mmh_stream_left(&walk->in) && next_entry(walk, &value)) {
        if (!walk->key_bytes)
            status = read_header(walk, &value, err);
        else if (!walk->shards)
            return mmh_fail(err, MMH_E_CORRUPT, "a table that is no tensor bundle");
        else
            map_entry(walk, &value);
    }
    return status ? status : mmh_stream_finish(&walk->in, "block of a table", err);
}

/* The blocks that the index block tells of: one behind the other, so that none is walked twice. */
static mmh_status map_blocks(struct walk *walk, const mmh_source *source, mmh_error *err)
{
    uint64_t covered = 0;
    mmh_stream_init(&walk->index, source, source->bytes - FOOTER_BYTES, source->bytes);
    read_handle(&walk->index); /* of what this table has none of */
    struct handle handle = read_handle(&walk->index);
    mmh_status status = mmh_stream_finish(&walk->index, "footer of a table", err);
    if (!status)
        status = open_block(&walk->index, source, &handle, err);
    while (!status && mmh_stream_left(&walk->index)) {
        struct entry entry = read_entry(&walk->index);
        mmh_stream_skip(&walk->index, entry.more); /* a key behind those of the block */
        struct mmh_proto_field value = { .begin = walk->index.position };
        mmh_stream_skip(&walk->index, entry.value_bytes);
        value.end = walk->index.position;
        struct mmh_proto_place outer = mmh_proto_enter(&walk->index, &value);
        handle = read_handle(&walk->index);
        mmh_proto_leave(&walk->index, &outer);
        if (mmh_stream_failed(&walk->index))
            break;
        if (handle.offset < covered)
            return mmh_fail(err, MMH_E_CORRUPT, "blocks of a table overlap at 0x%llx",
                            (unsigned long long)handle.offset);
        status = map_block(walk, &handle, err);
        covered = handle.offset + handle.bytes;
    }
    return status ? status : mmh_stream_finish(&walk->index, "index of a table", err);
}

static mmh_status map_file(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                           mmh_error *err)
{
    const mmh_source *source = probe->source;
    const mmh_allocator *allocator = map->arena->allocator;
    struct walk walk = { .map = map,
                         .memory_max = mmh_proto_memory_max(map),
                         .stem = mmh_source_stem(source, map->arena) };
    walk.key = mmh_alloc(allocator, 0, (size_t)2 * KEY_BYTES_MAX);
    mmh_status status = walk.key && walk.stem ? map_blocks(&walk, source, err)
                                              : mmh_fail(err, MMH_E_MEMORY, "name of a tensor");
    mmh_free(allocator, walk.key);
    if (!status && !walk.shards)
        status = mmh_fail(err, MMH_E_CORRUPT, "a table that is no tensor bundle");
    if (!status && walk.left_out)
        mmh_extent_map_remark(map,
                              "%llu entries are strings, or say what cannot be: their bytes are "
                              "kept as plain ones",
                              (unsigned long long)walk.left_out);
    return status;
}

const struct mmh_format mmh_format_tf_bundle = {
    .name = "tensorflow bundle",
    .tells = true,
    .detect = detect,
    .map = map_file,
};
