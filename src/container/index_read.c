/*
 * The index's own text: all that it says is checked before anyone relies on it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "container/index_read.h"

#include <string.h>

#include "base/bits.h"
#include "base/cursor.h"
#include "base/io.h"
#include "container/layout.h"
#include "tensor/extent.h"

static int64_t cursor_svarint(struct mmh_cursor *in)
{
    uint64_t value = mmh_cursor_varint(in);
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

/* A count of things that take at least `least` bytes each: bounds the allocation too. */
static mmh_status read_count(uint64_t *count, struct mmh_cursor *in, size_t least, const char *what,
                             mmh_error *err)
{
    *count = mmh_cursor_varint(in);
    if (*count > mmh_cursor_left(in) / least)
        return mmh_fail(err, MMH_E_CORRUPT, "index claims %llu %s in %zu bytes",
                        (unsigned long long)*count, what, mmh_cursor_left(in));
    return MMH_OK;
}

static const char *read_string(struct mmh_cursor *in, struct mmh_arena *arena, mmh_error *err)
{
    uint64_t bytes = mmh_cursor_varint(in);
    if (bytes > mmh_cursor_left(in)) {
        mmh_fail(err, MMH_E_CORRUPT, "a string of %llu bytes runs out of the index",
                 (unsigned long long)bytes);
        return NULL;
    }
    if (!bytes)
        return "";
    const uint8_t *text = mmh_cursor_bytes(in, (size_t)bytes);
    if (memchr(text, 0, (size_t)bytes)) {
        mmh_fail(err, MMH_E_CORRUPT, "a string in the index holds a zero byte");
        return NULL;
    }
    const char *copy = mmh_arena_string(arena, (const char *)text, (size_t)bytes);
    if (!copy)
        mmh_fail(err, MMH_E_MEMORY, "no memory for the index");
    return copy;
}

/* The public part: how many chunks, and where they are. */
static mmh_status read_chunks(mmh_container_reader *reader, struct mmh_cursor *in,
                              uint64_t data_end, mmh_error *err)
{
    struct mmh_index *index = &reader->index;
    size_t hash_bytes = reader->hash_bytes;
    mmh_status status = read_count(&index->chunk_count, in, 2 + hash_bytes, "chunks", err);
    if (status != MMH_OK)
        return status;
    if (index->chunk_count >= UINT32_MAX)
        return mmh_fail(err, MMH_E_CORRUPT, "index claims too many chunks");
    size_t count = (size_t)index->chunk_count;
    index->chunks = mmh_arena_array(&reader->arena, count, sizeof *index->chunks);
    if (count && !index->chunks)
        return mmh_fail(err, MMH_E_MEMORY, "index of %zu chunks", count);
    for (size_t i = 0; i < count; i++) {
        uint64_t bytes = mmh_cursor_varint(in);
        if (bytes > 2 * (uint64_t)MMH_CHUNK_BYTES_MAX ||
            (reader->aead_suite && bytes < MMH_AEAD_TAG_BYTES && !mmh_cursor_failed(in)))
            return mmh_fail(err, MMH_E_CORRUPT, "chunk %zu claims %llu bytes", i,
                            (unsigned long long)bytes);
        index->chunks[i].bytes = (uint32_t)bytes;
    }
    uint64_t end = MMH_HEADER_BYTES;
    for (size_t i = 0; i < count; i++) {
        uint64_t gap = mmh_cursor_varint(in);
        if (gap > data_end - end || index->chunks[i].bytes > data_end - end - gap)
            return mmh_fail(err, MMH_E_CORRUPT, "chunk %zu lies outside the container", i);
        index->chunks[i].offset = end + gap;
        end += gap + index->chunks[i].bytes;
    }
    const uint8_t *hashes = mmh_cursor_bytes(in, count * hash_bytes);
    if (!hashes)
        return mmh_cursor_finish_prefix(in, "chunk table", err);
    uint8_t *copy = mmh_arena_alloc(&reader->arena, 8, count * hash_bytes);
    if (!copy)
        return mmh_fail(err, MMH_E_MEMORY, "index of %zu chunks", count);
    memcpy(copy, hashes, count * hash_bytes);
    for (size_t i = 0; i < count; i++)
        index->chunks[i].hash = copy + i * hash_bytes;
    return mmh_cursor_finish_prefix(in, "chunk table", err);
}

/* What the private part says of chunks: their codecs, and the numbers that they were sealed with. */
static mmh_status read_chunk_kinds(mmh_container_reader *reader, struct mmh_cursor *in,
                                   mmh_error *err)
{
    struct mmh_index *index = &reader->index;
    const uint64_t limit = UINT64_C(1) << 63;
    size_t count = (size_t)index->chunk_count;
    for (size_t i = 0; i < count; i++)
        index->chunks[i].codec_id = mmh_cursor_u8(in);
    if (!reader->aead_suite)
        return mmh_cursor_finish_prefix(in, "chunk table", err);
    index->seal_numbers = mmh_arena_array(&reader->arena, count, sizeof *index->seal_numbers);
    if (!index->seal_numbers)
        return mmh_fail(err, MMH_E_MEMORY, "index of %zu chunks", count);
    for (size_t i = 0; i < count; i++) {
        uint64_t least = i ? index->seal_numbers[i - 1] + 1 : 0, more = mmh_cursor_varint(in);
        if (least >= limit || more >= limit - least)
            return mmh_fail(err, MMH_E_CORRUPT, "chunk %zu has an impossible seal number", i);
        index->seal_numbers[i] = least + more;
    }
    return mmh_cursor_finish_prefix(in, "chunk table", err);
}

/* One chunk number; every reference takes a byte of the index at least, which bounds refs. */
static mmh_status read_ref(uint32_t *ref, uint64_t *next, struct mmh_cursor *in,
                           uint64_t chunk_count, mmh_error *err)
{
    int64_t step = cursor_svarint(in), number = (int64_t)*next;
    if (step < -number || step >= (int64_t)chunk_count - number)
        return mmh_fail(err, MMH_E_CORRUPT, "a block names a chunk that does not exist");
    *ref = (uint32_t)(number + step);
    *next = (uint64_t)*ref + 1;
    return MMH_OK;
}

static mmh_status read_blocks(mmh_container_reader *reader, struct mmh_cursor *in, mmh_error *err)
{
    struct mmh_index *index = &reader->index;
    mmh_status status = read_count(&index->block_count, in, 6, "blocks", err);
    if (status != MMH_OK)
        return status;
    size_t count = (size_t)index->block_count;
    index->blocks = mmh_arena_array(&reader->arena, count, sizeof *index->blocks);
    size_t refs_room = mmh_cursor_left(in), refs_bytes;
    /* Not cleared: most of the room is never touched, so it takes no memory. */
    index->refs = mmh_size_mul(&refs_bytes, refs_room, sizeof *index->refs)
                    ? mmh_arena_alloc(&reader->arena, 0, refs_bytes)
                    : NULL;
    if ((count && !index->blocks) || !index->refs)
        return mmh_fail(err, MMH_E_MEMORY, "index of %zu blocks", count);
    uint64_t next = 0;
    for (size_t i = 0; i < count; i++) {
        struct mmh_block_entry *block = &index->blocks[i];
        block->dtype = mmh_cursor_u8(in);
        unsigned flags = mmh_cursor_u8(in);
        block->bytes = mmh_cursor_varint(in);
        uint64_t chunk_bytes = mmh_cursor_varint(in);
        if (mmh_cursor_failed(in))
            break;
        if (flags & ~(unsigned)MMH_BLOCK_FLAGS)
            return mmh_fail(err, MMH_E_UNSUPPORTED, "block %zu has unknown flags 0x%x", i, flags);
        if (!mmh_dtype_known(block->dtype))
            return mmh_fail(err, MMH_E_UNSUPPORTED, "block %zu has unknown element type %u", i,
                            (unsigned)block->dtype);
        unsigned scalar_bytes = mmh_dtype_scalar_bytes(block->dtype);
        if (!block->bytes || !chunk_bytes || chunk_bytes > MMH_CHUNK_BYTES_MAX ||
            mmh_dtype_scalar(block->dtype) != block->dtype || block->bytes % scalar_bytes ||
            chunk_bytes % scalar_bytes ||
            (block->dtype != MMH_DTYPE_OPAQUE && block->bytes > chunk_bytes &&
             chunk_bytes != (uint64_t)scalar_bytes << 18))
            return mmh_fail(err, MMH_E_CORRUPT, "block %zu has impossible sizes", i);
        block->chunk_bytes = (uint32_t)chunk_bytes;
        block->big_endian = flags & MMH_BLOCK_BIG_ENDIAN;
        block->has_model = flags & MMH_BLOCK_MODEL;
        if (block->has_model) {
            status = read_ref(&block->model, &next, in, index->chunk_count, err);
            if (status != MMH_OK)
                return status;
        }
        uint64_t refs = mmh_divide_up(block->bytes, chunk_bytes);
        if (refs > mmh_cursor_left(in) || refs > refs_room - index->ref_count)
            return mmh_fail(err, MMH_E_CORRUPT, "block %zu claims %llu chunks", i,
                            (unsigned long long)refs);
        block->first_ref = index->ref_count;
        for (uint64_t r = 0; r < refs; r++) {
            status = read_ref(&index->refs[index->ref_count++], &next, in, index->chunk_count, err);
            if (status != MMH_OK)
                return status;
        }
        block->floor_bytes = mmh_cursor_varint(in);
    }
    return mmh_cursor_finish_prefix(in, "block table", err);
}

/* Relative, no empty part, no "." or "..", no temporary name of ours, which would be swept. What
 * other systems read in names is asked where they are given. */
static bool name_is_safe(const char *name)
{
    if (strcmp(name, ".") == 0)
        return true;
    for (const char *part = name;;) {
        size_t length = strcspn(part, "/");
        if (length == 0 || (length == 1 && part[0] == '.') ||
            (length == 2 && part[0] == '.' && part[1] == '.') ||
            mmh_path_is_temporary(part, length))
            return false;
        if (!part[length])
            return true;
        part += length + 1;
    }
}

/* Whether `name` lies beneath `parent`. */
static bool name_is_beneath(const char *name, const char *parent)
{
    size_t length = strlen(parent);
    return strncmp(name, parent, length) == 0 && name[length] == '/';
}

static mmh_status read_metadata(struct mmh_file_record *record, struct mmh_cursor *in,
                                struct mmh_arena *arena, mmh_error *err)
{
    uint64_t count;
    mmh_status status = read_count(&count, in, 2, "metadata entries", err);
    if (status != MMH_OK)
        return status;
    struct mmh_metadata_entry *entries = mmh_arena_array(arena, (size_t)count, sizeof *entries);
    if (count && !entries)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for the index");
    for (uint64_t i = 0; i < count; i++) {
        entries[i].key = read_string(in, arena, err);
        if (!entries[i].key)
            return err ? err->status : MMH_E_CORRUPT;
        entries[i].value = read_string(in, arena, err);
        if (!entries[i].value)
            return err ? err->status : MMH_E_CORRUPT;
    }
    record->metadata = entries;
    record->metadata_count = (size_t)count;
    return MMH_OK;
}

/* Names before this one that could hold it: the chain of symlinks and files is short, as names
 * are sorted and a name's parents come before it. */
static mmh_status check_parents(const struct mmh_index *index, size_t file, mmh_error *err)
{
    const char *name = index->files[file].record.name;
    if (file == 0)
        return MMH_OK;
    if (strcmp(index->files[file - 1].record.name, name) >= 0)
        return mmh_fail(err, MMH_E_CORRUPT, "file names are not sorted or not unique: \"%s\"",
                        name);
    /* Names with the parent as their prefix sort behind it, so walk back through each parent by
     * binary search. */
    for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
        size_t length = (size_t)(slash - name), low = 0, high = file;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            const char *other = index->files[middle].record.name;
            int order = strncmp(other, name, length);
            if (order == 0 && other[length])
                order = 1;
            if (order == 0) {
                if (index->files[middle].record.kind != MMH_FILE_FOLDER &&
                    name_is_beneath(name, other))
                    return mmh_fail(err, MMH_E_CORRUPT, "\"%s\" lies beneath a file or symlink",
                                    name);
                break;
            }
            if (order < 0)
                low = middle + 1;
            else
                high = middle;
        }
    }
    return MMH_OK;
}

static mmh_status read_files(mmh_container_reader *reader, struct mmh_cursor *in, mmh_error *err)
{
    struct mmh_index *index = &reader->index;
    struct mmh_arena *arena = &reader->arena;
    mmh_status status = read_count(&index->file_count, in, 7, "files", err);
    if (status != MMH_OK)
        return status;
    size_t count = (size_t)index->file_count;
    index->files = mmh_arena_array(arena, count, sizeof *index->files);
    if (count && !index->files)
        return mmh_fail(err, MMH_E_MEMORY, "index of %zu files", count);
    uint64_t next_block = 0;
    for (size_t i = 0; i < count; i++) {
        struct mmh_file_entry *file = &index->files[i];
        struct mmh_file_record *record = &file->record;
        record->name = read_string(in, arena, err);
        if (!record->name)
            return err ? err->status : MMH_E_CORRUPT;
        record->kind = mmh_cursor_u8(in);
        record->format = mmh_cursor_u8(in);
        uint64_t mode = mmh_cursor_varint(in);
        uint64_t time = mmh_cursor_varint(in);
        record->has_time = time != 0;
        record->time_seconds = time ? (int64_t)(time - 1) : 0;
        if (mmh_cursor_failed(in))
            break;
        if (!name_is_safe(record->name))
            return mmh_fail(err, MMH_E_CORRUPT, "unsafe file name \"%s\"", record->name);
        status = check_parents(index, i, err);
        if (status != MMH_OK)
            return status;
        if (record->kind > MMH_FILE_SYMLINK)
            return mmh_fail(err, MMH_E_UNSUPPORTED, "\"%s\" is of unknown kind %u", record->name,
                            (unsigned)record->kind);
        if (mode > 07777 || record->time_seconds < 0 ||
            (strcmp(record->name, ".") == 0 && record->kind != MMH_FILE_FOLDER))
            return mmh_fail(err, MMH_E_CORRUPT, "impossible entry for \"%s\"", record->name);
        record->mode = (uint32_t)mode;
        file->first_block = next_block;
        if (record->kind == MMH_FILE_REGULAR) {
            record->bytes = mmh_cursor_varint(in);
            mmh_cursor_copy(in, record->digest, reader->hash_bytes);
            record->block_count = mmh_cursor_varint(in);
            if (record->block_count > index->block_count - next_block)
                return mmh_fail(err, MMH_E_CORRUPT, "\"%s\" claims blocks that do not exist",
                                record->name);
            uint64_t offset = 0;
            for (uint64_t b = 0; b < record->block_count; b++) {
                struct mmh_block_entry *block = &index->blocks[next_block + b];
                block->file = i;
                block->file_offset = offset;
                if (block->bytes > record->bytes - offset)
                    return mmh_fail(err, MMH_E_CORRUPT, "blocks of \"%s\" exceed its size",
                                    record->name);
                offset += block->bytes;
            }
            if (offset != record->bytes)
                return mmh_fail(err, MMH_E_CORRUPT, "blocks of \"%s\" do not fill it",
                                record->name);
            next_block += record->block_count;
        } else if (record->kind == MMH_FILE_SYMLINK) {
            record->target = read_string(in, arena, err);
            if (!record->target)
                return err ? err->status : MMH_E_CORRUPT;
        }
        status = read_metadata(record, in, arena, err);
        if (status != MMH_OK)
            return status;
    }
    status = mmh_cursor_finish_prefix(in, "file table", err);
    if (status == MMH_OK && next_block != index->block_count)
        status = mmh_fail(err, MMH_E_CORRUPT, "blocks that belong to no file");
    return status;
}

/* ---- the tensor table, column by column ---- */

static mmh_status read_tensor_files(mmh_container_reader *reader, struct mmh_cursor *in,
                                    mmh_error *err)
{
    struct mmh_index *index = &reader->index;
    uint64_t number = 0;
    for (size_t i = 0; i < index->tensor_count; i++) {
        uint64_t step = mmh_cursor_varint(in);
        if (step >= index->file_count || number + step >= index->file_count)
            return mmh_fail(err, MMH_E_CORRUPT, "tensor %zu belongs to no file", i);
        number += step;
        struct mmh_file_entry *file = &index->files[number];
        index->tensors[i].file = number;
        if (!file->tensor_count++)
            file->first_tensor = i;
    }
    return MMH_OK;
}

static mmh_status read_tensor_names(mmh_container_reader *reader, struct mmh_cursor *in,
                                    mmh_error *err)
{
    struct mmh_index *index = &reader->index;
    for (size_t i = 0; i < index->tensor_count; i++) {
        index->tensors[i].name = read_string(in, &reader->arena, err);
        if (!index->tensors[i].name)
            return err ? err->status : MMH_E_CORRUPT;
    }
    return MMH_OK;
}

/* Element types, flags, and how many dimensions. `strided` gets who has strides. */
static mmh_status read_tensor_types(mmh_container_reader *reader, const uint8_t **strided,
                                    struct mmh_cursor *in, mmh_error *err)
{
    struct mmh_index *index = &reader->index;
    size_t count = (size_t)index->tensor_count;
    const uint8_t *types = mmh_cursor_bytes(in, count), *flags = mmh_cursor_bytes(in, count);
    const uint8_t *dimensions = mmh_cursor_bytes(in, count);
    if (!dimensions || !flags || !types)
        return mmh_cursor_finish_prefix(in, "tensor table", err);
    for (size_t i = 0; i < count; i++) {
        struct mmh_tensor_record *tensor = &index->tensors[i];
        if (flags[i] & ~(unsigned)MMH_ROW_FLAGS)
            return mmh_fail(err, MMH_E_UNSUPPORTED, "tensor \"%s\" has unknown flags 0x%x",
                            tensor->name, flags[i]);
        tensor->dtype = types[i];
        tensor->big_endian = flags[i] & MMH_ROW_BIG_ENDIAN;
        tensor->column_major = flags[i] & MMH_ROW_COLUMN_MAJOR;
        tensor->dimensions = dimensions[i];
        if (!mmh_dtype_known(tensor->dtype))
            return mmh_fail(err, MMH_E_UNSUPPORTED, "tensor \"%s\" has unknown element type %u",
                            tensor->name, (unsigned)tensor->dtype);
        if (tensor->dimensions > MMH_DIMENSIONS_MAX)
            return mmh_fail(err, MMH_E_CORRUPT, "tensor \"%s\" has an impossible shape",
                            tensor->name);
    }
    *strided = flags;
    return MMH_OK;
}

/* One varint for each dimension of a tensor, in the arena; NULL: too few, or (as *status) no memory. */
static const uint64_t *read_sizes(mmh_container_reader *reader, uint32_t dimensions,
                                  struct mmh_cursor *in, mmh_status *status, mmh_error *err)
{
    uint64_t *sizes = NULL;
    if (dimensions > mmh_cursor_left(in))
        *status = mmh_fail(err, MMH_E_CORRUPT, "the tensor table ends too early");
    else if (!(sizes = mmh_arena_array(&reader->arena, dimensions, sizeof *sizes)))
        *status = mmh_fail(err, MMH_E_MEMORY, "no memory for the index");
    for (uint32_t d = 0; d < dimensions && *status == MMH_OK; d++)
        sizes[d] = mmh_cursor_varint(in);
    return sizes;
}

/* Bytes from its first to its last element; false if its shape is none. */
static bool tensor_bytes(uint64_t *bytes, const struct mmh_tensor_record *tensor)
{
    if (!tensor->strides)
        return mmh_shape_bytes(bytes, tensor->dtype, tensor->dimensions, tensor->shape);
    return !tensor->column_major &&
           mmh_shape_bytes(bytes, tensor->dtype, tensor->dimensions, tensor->shape) &&
           mmh_strides_bytes(bytes, tensor->dtype, tensor->dimensions, tensor->shape,
                             tensor->strides);
}

static mmh_status read_tensor_places(mmh_container_reader *reader, struct mmh_cursor *in,
                                     mmh_error *err)
{
    struct mmh_index *index = &reader->index;
    uint64_t end = 0;
    for (size_t i = 0; i < index->tensor_count; i++) {
        struct mmh_tensor_record *tensor = &index->tensors[i];
        uint64_t step = mmh_cursor_varint(in);
        if (i && tensor->file != tensor[-1].file)
            end = 0;
        tensor->offset = end + ((step >> 1) ^ (0 - (step & 1)));
        end = tensor->offset + tensor->bytes;
        const struct mmh_file_record *file = &index->files[tensor->file].record;
        if (file->kind != MMH_FILE_REGULAR || tensor->offset > file->bytes ||
            tensor->bytes > file->bytes - tensor->offset)
            return mmh_fail(err, MMH_E_CORRUPT, "tensor \"%s\" does not fit its file",
                            tensor->name);
    }
    return MMH_OK;
}

static mmh_status read_tensors(mmh_container_reader *reader, struct mmh_cursor *in, mmh_error *err)
{
    struct mmh_index *index = &reader->index;
    const uint8_t *flags = NULL;
    mmh_status status = read_count(&index->tensor_count, in, 6, "tensors", err);
    if (status != MMH_OK)
        return status;
    size_t count = (size_t)index->tensor_count;
    index->tensors = mmh_arena_array(&reader->arena, count, sizeof *index->tensors);
    if (count && !index->tensors)
        return mmh_fail(err, MMH_E_MEMORY, "index of %zu tensors", count);
    status = read_tensor_files(reader, in, err);
    if (status == MMH_OK)
        status = read_tensor_names(reader, in, err);
    if (status == MMH_OK)
        status = read_tensor_types(reader, &flags, in, err);
    for (size_t i = 0; i < count && status == MMH_OK; i++)
        index->tensors[i].shape = read_sizes(reader, index->tensors[i].dimensions, in, &status,
                                             err);
    for (size_t i = 0; i < count && status == MMH_OK; i++)
        if (flags[i] & MMH_ROW_STRIDES)
            index->tensors[i].strides = read_sizes(reader, index->tensors[i].dimensions, in,
                                                   &status, err);
    for (size_t i = 0; i < count && status == MMH_OK; i++) {
        struct mmh_tensor_record *tensor = &index->tensors[i];
        if (tensor->dtype == MMH_DTYPE_OPAQUE)
            tensor->bytes = mmh_cursor_varint(in);
        uint64_t bytes = tensor->bytes;
        bool shaped = tensor->dtype != MMH_DTYPE_OPAQUE || tensor->strides;
        if (shaped && (!tensor_bytes(&bytes, tensor) ||
                       (tensor->dtype == MMH_DTYPE_OPAQUE && bytes != tensor->bytes)))
            status = mmh_fail(err, MMH_E_CORRUPT, "tensor \"%s\" has an impossible shape",
                              tensor->name);
        tensor->bytes = bytes;
    }
    if (status == MMH_OK)
        status = read_tensor_places(reader, in, err);
    return status != MMH_OK ? status : mmh_cursor_finish_prefix(in, "tensor table", err);
}

static mmh_status read_extensions(struct mmh_cursor *in, mmh_error *err)
{
    uint64_t count;
    mmh_status status = read_count(&count, in, 2, "extensions", err);
    for (uint64_t i = 0; i < count && status == MMH_OK; i++) {
        uint64_t type = mmh_cursor_varint(in);
        uint64_t bytes = mmh_cursor_varint(in);
        if (bytes > mmh_cursor_left(in))
            return mmh_fail(err, MMH_E_CORRUPT, "an extension runs out of the index");
        mmh_cursor_skip(in, (size_t)bytes);
        if (type & 1)
            status = mmh_fail(err, MMH_E_UNSUPPORTED, "the index needs extension %llu",
                              (unsigned long long)type);
    }
    return status;
}

static mmh_status parse_public(mmh_container_reader *reader, struct mmh_cursor *in,
                               uint64_t data_end, mmh_error *err)
{
    uint32_t version = mmh_cursor_u32(in);
    if (!mmh_cursor_failed(in) && version != MMH_INDEX_VERSION)
        return mmh_fail(err, MMH_E_UNSUPPORTED, "index version %u", (unsigned)version);
    return read_chunks(reader, in, data_end, err);
}

static mmh_status parse_private(mmh_container_reader *reader, struct mmh_cursor *in, mmh_error *err)
{
    reader->index.writer = read_string(in, &reader->arena, err);
    if (!reader->index.writer)
        return err ? err->status : MMH_E_CORRUPT;
    reader->index.level = mmh_cursor_u8(in);
    mmh_status status = read_chunk_kinds(reader, in, err);
    reader->rest = in->data + mmh_cursor_position(in);
    reader->rest_bytes = mmh_cursor_left(in);
    if (status == MMH_OK)
        status = read_blocks(reader, in, err);
    if (status == MMH_OK)
        status = read_files(reader, in, err);
    if (status == MMH_OK)
        status = read_tensors(reader, in, err);
    if (status == MMH_OK)
        status = read_extensions(in, err);
    if (status == MMH_OK)
        status = mmh_cursor_finish(in, "index", err);
    return status;
}

mmh_status mmh_index_parse(mmh_container_reader *reader, const uint8_t *data, size_t public_bytes,
                           size_t decoded_bytes, uint64_t data_end, mmh_error *err)
{
    struct mmh_cursor in;
    if (!reader->aead_suite) { /* one part */
        mmh_cursor_init(&in, data, decoded_bytes);
        mmh_status status = parse_public(reader, &in, data_end, err);
        return status == MMH_OK ? parse_private(reader, &in, err) : status;
    }
    mmh_cursor_init(&in, data, public_bytes);
    mmh_status status = parse_public(reader, &in, data_end, err);
    if (status == MMH_OK)
        status = mmh_cursor_finish(&in, "public part of the index", err);
    if (status != MMH_OK || reader->locked)
        return status;
    mmh_cursor_init(&in, data + public_bytes, decoded_bytes - public_bytes);
    return parse_private(reader, &in, err);
}
