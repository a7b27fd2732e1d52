/*
 * Open containers: what is inside, and loading tensors, slices and bytes of files.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "engine/ahead.h"
#include "engine/mend_reader.h"
#include "engine/originals.h"
#include "engine/repair.h"
#include "engine/seal.h"
#include "kernel/kernel.h"

enum {
    REFS_SUMMED = 16, /* stored bytes are summed so many refs at a time: a ref may be one byte */
    AHEAD_BYTES = 32 << 20 /* of a scan, for the disk to read */
};

static uint64_t proportion(uint64_t stored, uint64_t part, uint64_t whole)
{
    return part == whole ? stored : (uint64_t)((double)stored * (double)part / (double)whole);
}

/* ---- what takes the bytes ---- */

/* Where a walk through a file is: all before `position` is counted. */
struct usage_walk {
    const struct mmh_tensor_record *tensors, *end; /* of the file, those that may still come */
    uint64_t position, span_end;                   /* bytes up to span_end are of one type */
    mmh_dtype dtype;
    uint64_t
        counted[MMH_DTYPE_COUNT]; /* number of the last chunk that a type holds bytes of, + 1 */
};

/* The type of what comes next, and up to where. Bytes of several tensors are the first one's. */
static void next_span(struct usage_walk *walk, uint64_t file_bytes)
{
    while (walk->tensors < walk->end &&
           walk->tensors->offset + walk->tensors->bytes <= walk->position)
        walk->tensors++;
    bool inside = walk->tensors < walk->end && walk->tensors->offset <= walk->position;
    walk->dtype = inside ? walk->tensors->dtype : MMH_DTYPE_OPAQUE;
    walk->span_end = inside                    ? walk->tensors->offset + walk->tensors->bytes
                   : walk->tensors < walk->end ? walk->tensors->offset
                                               : file_bytes;
}

/* What bytes [from, to) of `whole` take, so that all parts together take `stored`. */
static uint64_t part_stored(uint64_t stored, uint64_t from, uint64_t to, uint64_t whole)
{
    uint64_t until = proportion(stored, to, whole), before = proportion(stored, from, whole);
    return MMH_MIN(until, stored) - MMH_MIN(before, stored);
}

/* Share a chunk out among the types of the tensors that lie in it. */
static void share_chunk(mmh_reader *reader, struct usage_walk *walk, uint64_t file_bytes,
                        const struct mmh_block_entry *block, uint64_t number)
{
    const struct mmh_index *index = &reader->container.index;
    uint64_t ref = block->first_ref + number, stored = index->chunks[index->refs[ref]].bytes;
    uint64_t model = block->has_model ? index->chunks[block->model].bytes : 0;
    uint64_t length = mmh_block_chunk_bytes(block, number);
    uint64_t begin = block->file_offset + number * block->chunk_bytes;
    while (walk->position < begin + length) {
        if (walk->position >= walk->span_end)
            next_span(walk, file_bytes);
        uint64_t from = walk->position, to = MMH_MIN(walk->span_end, begin + length);
        mmh_usage *type = &reader->by_dtype[walk->dtype];
        type->original_bytes += to - from;
        type->stored_bytes += part_stored(stored, from - begin, to - begin, length);
        from -= block->file_offset;
        to -= block->file_offset;
        type->stored_bytes += part_stored(model, from, to, block->bytes);
        type->floor_bytes += part_stored(block->floor_bytes, from, to, block->bytes);
        type->chunk_count += walk->counted[walk->dtype] != ref + 1;
        walk->counted[walk->dtype] = ref + 1;
        walk->position = block->file_offset + to;
    }
}

/* By the types of the tensors, which need not be those of the blocks: blocks of small tensors, or
 * of records, say nothing of theirs. */
static void sum_tensors(mmh_reader *reader)
{
    const struct mmh_index *index = &reader->container.index;
    struct usage_walk walk = { .tensors = NULL };
    for (uint64_t f = 0; f < index->file_count; f++) {
        const struct mmh_file_entry *file = &index->files[f];
        walk.tensors = index->tensors + file->first_tensor;
        walk.end = walk.tensors + file->tensor_count;
        walk.position = walk.span_end = 0;
        for (uint64_t b = 0; b < file->record.block_count; b++) {
            const struct mmh_block_entry *block = &index->blocks[file->first_block + b];
            uint64_t count = mmh_divide_up(block->bytes, block->chunk_bytes);
            for (uint64_t c = 0; c < count; c++)
                share_chunk(reader, &walk, file->record.bytes, block, c);
        }
    }
}

/* By the types of the blocks: a container without tensors has no others. */
static void sum_blocks(mmh_reader *reader)
{
    const struct mmh_index *index = &reader->container.index;
    for (uint64_t i = 0; i < index->block_count; i++) {
        const struct mmh_block_entry *block = &index->blocks[i];
        mmh_usage *type = &reader->by_dtype[block->dtype];
        uint64_t count = mmh_divide_up(block->bytes, block->chunk_bytes);
        type->floor_bytes += block->floor_bytes;
        type->original_bytes += block->bytes;
        type->stored_bytes += reader->blocks_stored[i + 1] - reader->blocks_stored[i];
        type->chunk_count += count;
    }
}

/* Sum what all takes, by element type and by codec. */
static mmh_status sum_usage(mmh_reader *reader, mmh_error *err)
{
    const struct mmh_index *index = &reader->container.index;
    reader->by_dtype = mmh_arena_array(&reader->container.arena, MMH_DTYPE_COUNT,
                                       sizeof *reader->by_dtype);
    reader->by_codec = mmh_arena_array(&reader->container.arena, 256, sizeof *reader->by_codec);
    reader->refs_stored = mmh_arena_array(
        &reader->container.arena, (size_t)index->ref_count / REFS_SUMMED + 1, sizeof(uint64_t));
    reader->blocks_stored = mmh_arena_array(&reader->container.arena,
                                            (size_t)index->block_count + 1, sizeof(uint64_t));
    if (!reader->by_dtype || !reader->by_codec || !reader->refs_stored || !reader->blocks_stored)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for an open container");
    for (uint64_t i = 0, stored = 0; i < index->block_count; i++) {
        const struct mmh_block_entry *block = &index->blocks[i];
        const uint64_t stored_before = stored;
        reader->original_bytes += block->bytes;
        reader->floor_bytes += block->floor_bytes;
        uint64_t count = mmh_divide_up(block->bytes, block->chunk_bytes);
        for (uint64_t c = 0; c < count; c++) {
            const struct mmh_chunk_entry *chunk = &index->chunks[index->refs[block->first_ref + c]];
            mmh_usage *codec = &reader->by_codec[chunk->codec_id];
            codec->original_bytes += mmh_block_chunk_bytes(block, c);
            codec->stored_bytes += chunk->bytes;
            codec->chunk_count++;
            stored += chunk->bytes;
            if ((block->first_ref + c + 1) % REFS_SUMMED == 0)
                reader->refs_stored[(block->first_ref + c + 1) / REFS_SUMMED] = stored;
        }
        reader->blocks_stored[i + 1] = reader->blocks_stored[i] + stored - stored_before;
        if (block->has_model) {
            const struct mmh_chunk_entry *model = &index->chunks[block->model];
            reader->blocks_stored[i + 1] += model->bytes;
            reader->by_codec[model->codec_id].stored_bytes += model->bytes;
            reader->by_codec[model->codec_id].chunk_count++;
        }
    }
    if (index->tensor_count)
        sum_tensors(reader);
    else
        sum_blocks(reader);
    /* Keep what occurs, with its name. */
    for (unsigned i = 0; i < MMH_DTYPE_COUNT; i++)
        if (reader->by_dtype[i].chunk_count) {
            mmh_usage usage = reader->by_dtype[i];
            usage.name = mmh_dtype_text((mmh_dtype)i);
            reader->by_dtype[reader->by_dtype_count++] = usage;
        }
    for (unsigned i = 0; i < 256; i++)
        if (reader->by_codec[i].chunk_count) {
            mmh_usage usage = reader->by_codec[i];
            usage.name = mmh_codec_name(i) ? mmh_codec_name(i) : "unknown";
            reader->by_codec[reader->by_codec_count++] = usage;
        }
    return MMH_OK;
}

/* Look for parity where that is worth reading the file: it is a container, and what is wrong is not what
 * right pages hold. *problem is what was wrong, or is now. */
static mmh_status rescue(mmh_reader *reader, struct mmh_opening *opening, const char *path,
                         mmh_error *problem)
{
    uint8_t magic[8] = { 0 };
    mmh_error local = { 0 };
    mmh_status status = MMH_OK;
    if (opening->stage == MMH_OPEN_STRUCTURE && mmh_input_bytes(reader->input) >= sizeof magic)
        status = mmh_input_read(reader->input, magic, 0, sizeof magic, &local);
    bool worth = opening->stage == MMH_OPEN_STRUCTURE ? mmh_container_magic(magic, sizeof magic)
                                                      : opening->stage <= MMH_OPEN_MERKLE;
    if (status == MMH_OK && worth)
        status = mmh_repair_rescue(reader, opening, path, &local);
    else if (status == MMH_OK)
        return MMH_E_CORRUPT;
    /* It could be read, but for whom it is or is not by; or a source could not be read at all. */
    bool told = status == MMH_E_UNTRUSTED || status == MMH_E_KEY ||
                (opening->source && status != MMH_E_CORRUPT);
    if (status == MMH_OK)
        return MMH_OK;
    if (told)
        *problem = local;
    return told ? status : MMH_E_CORRUPT;
}

mmh_status mmh_reader_open_as(mmh_context *context, const char *path, struct mmh_opening *opening,
                              mmh_reader **out, mmh_error *err)
{
    *out = NULL;
    mmh_error local = { 0 };
    uint64_t clock = mmh_clock_ns();
    mmh_reader *reader = mmh_alloc_array(context->allocator, 1, sizeof *reader);
    if (!reader)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for an open container");
    reader->context = context;
    reader->number = atomic_fetch_add(&context->reader_count, 1) + 1;
    const mmh_source *source = opening->source;
    mmh_status status = source
                          ? mmh_input_open_source(&reader->input, source, context->allocator, err)
                          : mmh_input_open(&reader->input, path, context->allocator, err);
    if (status != MMH_OK) {
        mmh_free(context->allocator, reader);
        return status;
    }
    mmh_input_advise(reader->input, MMH_ACCESS_RANDOM);
    status = mmh_guards_open(reader, opening, &local);
    if (status == MMH_E_CORRUPT && !opening->spares)
        status = rescue(reader, opening, path, &local);
    if (status != MMH_OK) {
        mmh_input_close(reader->input);
        mmh_free(context->allocator, reader);
        return mmh_fail(err, status, "%s: %s", path, local.message);
    }
    const mmh_container_reader *container = &reader->container;
    if (container->aead_suite && !container->locked)
        status = mmh_sealer_create(&reader->sealer, context, container->aead_suite,
                                   container->keys.chunk, false, err);
    if (status == MMH_OK)
        status = sum_usage(reader, err);
    if (status != MMH_OK) {
        mmh_close(reader);
        return status;
    }
    mmh_stage_add(&context->times.open_ns, clock);
    *out = reader;
    return MMH_OK;
}

mmh_status mmh_reader_open(mmh_context *context, const char *path, bool spares, mmh_reader **reader,
                           mmh_error *err)
{
    struct mmh_opening opening = { .spares = spares };
    return mmh_reader_open_as(context, path, &opening, reader, err);
}

mmh_status mmh_open(mmh_context *context, const char *container, mmh_reader **reader,
                    mmh_error *err)
{
    return mmh_reader_open(context, container, false, reader, err);
}

mmh_status mmh_open_source(mmh_context *context, const mmh_source *given, mmh_reader **reader,
                           mmh_error *err)
{
    mmh_source source = { 0 };
    struct mmh_opening opening = { .source = &source };
    *reader = NULL;
    mmh_status status = given ? mmh_options_copy(&source, sizeof source, given, "mmh_source", err)
                              : mmh_fail(err, MMH_E_USAGE, "there is no source");
    return status == MMH_OK ? mmh_reader_open_as(context, source.name, &opening, reader, err)
                            : status;
}

void mmh_close(mmh_reader *reader)
{
    if (!reader)
        return;
    mmh_reader_mend_release(reader);
    mmh_sealer_destroy(reader->sealer);
    mmh_container_close(&reader->container);
    mmh_input_close(reader->input);
    mmh_free(reader->context->allocator, reader);
}

unsigned mmh_reader_mended(const mmh_reader *reader)
{
    return reader->container.mended | (reader->mended_chunks ? MMH_MENDED_CHUNKS : 0u);
}

/* ---- what is inside ---- */

static mmh_status info_give(void *out, const void *info, size_t bytes, const char *type,
                            mmh_error *err)
{
    mmh_status status = mmh_struct_check(out, type, err);
    if (status == MMH_OK)
        mmh_report_copy(out, info, bytes);
    return status;
}

mmh_status mmh_container(mmh_reader *reader, mmh_container_info *out, mmh_error *err)
{
    const mmh_container_reader *container = &reader->container;
    mmh_container_info info = {
        .format_major = container->major,
        .format_minor = container->minor,
        .hash_suite = reader->originals ? NULL : mmh_hash_suite_name(container->hash_suite),
        .writer = container->index.writer,
        .level = container->index.level,
        .container_bytes = container->container_bytes,
        .original_bytes = reader->original_bytes,
        .index_bytes = container->index_bytes,
        .floor_bytes = reader->floor_bytes,
        .file_count = container->index.file_count,
        .tensor_count = container->index.tensor_count,
        .block_count = container->index.block_count,
        .chunk_count = container->index.chunk_count,
        .mended = mmh_reader_mended(reader),
        .by_dtype = reader->by_dtype,
        .by_dtype_count = reader->by_dtype_count,
        .by_codec = reader->by_codec,
        .by_codec_count = reader->by_codec_count,
        .encrypted = container->aead_suite != MMH_AEAD_NONE,
        .root_bytes = container->hash_bytes,
    };
    memcpy(info.root, container->root, sizeof info.root);
    memcpy(info.whole_root, container->root, sizeof info.whole_root);
    return info_give(out, &info, sizeof info, "mmh_container_info", err);
}

/* The block that holds a byte of a file. */
uint64_t mmh_reader_block_at(const mmh_reader *reader, const struct mmh_file_entry *file,
                             uint64_t offset)
{
    uint64_t low = file->first_block, high = low + file->record.block_count;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (reader->container.index.blocks[middle].file_offset <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Stored bytes of the chunks of all refs before one. */
static uint64_t refs_stored(const mmh_reader *reader, uint64_t ref)
{
    const struct mmh_index *index = &reader->container.index;
    uint64_t stored = reader->refs_stored[ref / REFS_SUMMED];
    for (uint64_t r = ref - ref % REFS_SUMMED; r < ref; r++)
        stored += index->chunks[index->refs[r]].bytes;
    return stored;
}

/* Share of the stored chunks, and of the model, that bytes [from, to) of a block take. */
static uint64_t block_stored(const mmh_reader *reader, const struct mmh_block_entry *block,
                             uint64_t from, uint64_t to)
{
    const struct mmh_index *index = &reader->container.index;
    uint64_t first = from / block->chunk_bytes, last = (to - 1) / block->chunk_bytes, stored = 0;
    if (last > first + 1)
        stored = refs_stored(reader, block->first_ref + last) -
                 refs_stored(reader, block->first_ref + first + 1);
    for (uint64_t c = first; c <= last; c = c < last ? last : c + 1) {
        uint64_t begin = c * block->chunk_bytes, length = mmh_block_chunk_bytes(block, c);
        uint64_t end = begin + length < to ? begin + length : to;
        stored += proportion(index->chunks[index->refs[block->first_ref + c]].bytes,
                             end - (begin > from ? begin : from), length);
    }
    if (block->has_model)
        stored += proportion(reader->container.index.chunks[block->model].bytes, to - from,
                             block->bytes);
    return stored;
}

/* The same of a byte range of a file: of what lies between its ends by sums that were made when
 * the container was opened, as tensors may be many and overlap. */
static uint64_t range_stored(const mmh_reader *reader, const struct mmh_file_entry *file,
                             uint64_t offset, uint64_t bytes)
{
    const struct mmh_block_entry *blocks = reader->container.index.blocks;
    if (!bytes || reader->originals)
        return bytes;
    uint64_t end = offset + bytes, first = mmh_reader_block_at(reader, file, offset);
    uint64_t last = mmh_reader_block_at(reader, file, end - 1);
    if (first == last)
        return block_stored(reader, &blocks[first], offset - blocks[first].file_offset,
                            end - blocks[first].file_offset);
    return block_stored(reader, &blocks[first], offset - blocks[first].file_offset,
                        blocks[first].bytes) +
           reader->blocks_stored[last] - reader->blocks_stored[first + 1] +
           block_stored(reader, &blocks[last], 0, end - blocks[last].file_offset);
}

mmh_status mmh_file(mmh_reader *reader, uint64_t file, mmh_file_info *out, mmh_error *err)
{
    if (file >= reader->container.index.file_count)
        return mmh_fail(err, MMH_E_USAGE, "there is no file %" PRIu64, file);
    const struct mmh_file_entry *entry = &reader->container.index.files[file];
    mmh_file_info info = {
        .name = entry->record.name,
        .kind = entry->record.kind,
        .mode = entry->record.mode,
        .bytes = entry->record.bytes,
        .format = mmh_format_name(entry->record.format),
        .link_target = entry->record.target,
        .digest = entry->record.digest,
        .digest_bytes = entry->record.kind == MMH_FILE_REGULAR && !reader->originals
                          ? reader->container.hash_bytes
                          : 0,
        .tensor_count = entry->tensor_count,
        .stored_bytes = range_stored(reader, entry, 0, entry->record.bytes),
        .remark_count = reader->originals ? mmh_originals_map(reader, file)->remark_count : 0,
    };
    return info_give(out, &info, sizeof info, "mmh_file_info", err);
}

mmh_status mmh_reader_tensor(mmh_reader *reader, uint64_t tensor,
                             const struct mmh_tensor_record **record, mmh_error *err)
{
    if (tensor >= reader->container.index.tensor_count)
        return mmh_fail(err, MMH_E_USAGE, "there is no tensor %" PRIu64, tensor);
    *record = &reader->container.index.tensors[tensor];
    return MMH_OK;
}

mmh_status mmh_tensor(mmh_reader *reader, uint64_t tensor, mmh_tensor_info *out, mmh_error *err)
{
    const struct mmh_tensor_record *record = NULL;
    mmh_status status = mmh_reader_tensor(reader, tensor, &record, err);
    if (status != MMH_OK)
        return status;
    mmh_tensor_info info = {
        .name = record->name,
        .dtype = record->dtype,
        .big_endian = record->big_endian,
        .column_major = record->column_major,
        .dimensions = record->dimensions,
        .shape = record->shape,
        .bytes = record->bytes,
        .file = record->file,
        .file_offset = record->offset,
        .stored_bytes = range_stored(reader, &reader->container.index.files[record->file],
                                     record->offset, record->bytes),
        .strides = record->strides,
    };
    return info_give(out, &info, sizeof info, "mmh_tensor_info", err);
}

mmh_status mmh_find(mmh_reader *reader, const char *name, uint64_t *tensor, mmh_error *err)
{
    const struct mmh_index *index = &reader->container.index;
    for (uint64_t i = 0; i < index->tensor_count; i++)
        if (strcmp(index->tensors[i].name, name) == 0) {
            *tensor = i;
            return MMH_OK;
        }
    for (uint64_t i = 0; i < index->tensor_count; i++) {
        const char *file = index->files[index->tensors[i].file].record.name;
        size_t bytes = strlen(file);
        if (strncmp(name, file, bytes) == 0 && name[bytes] == ':' &&
            strcmp(name + bytes + 1, index->tensors[i].name) == 0) {
            *tensor = i;
            return MMH_OK;
        }
    }
    return mmh_fail(err, MMH_E_USAGE, "there is no tensor \"%s\"", name);
}

mmh_status mmh_metadata(mmh_reader *reader, uint64_t file, uint64_t entry, const char **key,
                        const char **value, mmh_error *err)
{
    if (file >= reader->container.index.file_count)
        return mmh_fail(err, MMH_E_USAGE, "there is no file %" PRIu64, file);
    const struct mmh_file_record *record = &reader->container.index.files[file].record;
    if (entry >= record->metadata_count)
        return mmh_fail(err, MMH_E_USAGE, "there is no metadata entry %" PRIu64, entry);
    *key = record->metadata[entry].key;
    *value = record->metadata[entry].value;
    return MMH_OK;
}

mmh_status mmh_remark(mmh_reader *reader, uint64_t file, uint64_t number, const char **text,
                      mmh_error *err)
{
    if (file >= reader->container.index.file_count)
        return mmh_fail(err, MMH_E_USAGE, "there is no file %" PRIu64, file);
    const struct mmh_extent_map *map = reader->originals ? mmh_originals_map(reader, file) : NULL;
    if (!map || number >= MMH_MIN(map->remark_count, (uint64_t)MMH_MAP_REMARKS_MAX))
        return mmh_fail(err, MMH_E_USAGE, "there is no remark %" PRIu64, number);
    *text = map->remarks[number];
    return MMH_OK;
}

/* ---- chunks ---- */

size_t mmh_block_chunk_bytes(const struct mmh_block_entry *block, uint64_t index)
{
    uint64_t left = block->bytes - index * block->chunk_bytes;
    return left < block->chunk_bytes ? (size_t)left : block->chunk_bytes;
}

void mmh_reader_scan(mmh_reader *reader, bool scanning)
{
    if (scanning != reader->scanning)
        mmh_input_advise(reader->input, scanning ? MMH_ACCESS_SEQUENTIAL : MMH_ACCESS_RANDOM);
    reader->scanning = scanning;
    atomic_store_explicit(&reader->ahead_offset, 0, memory_order_relaxed);
}

/* Let the disk read what comes after `offset` while chunks are decoded. */
static void read_ahead(mmh_reader *reader, uint64_t offset)
{
    uint_fast64_t told = atomic_load_explicit(&reader->ahead_offset, memory_order_relaxed);
    uint64_t until = offset + AHEAD_BYTES;
    if (until - AHEAD_BYTES / 2 > told &&
        atomic_compare_exchange_strong(&reader->ahead_offset, &told, until)) {
        uint64_t from = MMH_MAX((uint64_t)told, offset);
        mmh_input_ahead(reader->input, from, until - from);
    }
}

mmh_status mmh_reader_fetch_stored(mmh_reader *reader, struct mmh_worker *worker, uint64_t chunk,
                                   mmh_error *err)
{
    struct mmh_stage_times *times = &reader->context->times;
    const struct mmh_chunk_entry *entry = &reader->container.index.chunks[chunk];
    mmh_status status = mmh_worker_room(reader->context, worker, entry->bytes, 0, err);
    if (status != MMH_OK)
        return status;
    uint64_t clock = mmh_clock_ns();
    mmh_error problem = { 0 };
    bool mended = false;
    if (reader->scanning)
        read_ahead(reader, entry->offset);
    status = worker->ahead.chunks
               ? mmh_ahead_fetch(reader, worker, (uint32_t)chunk, worker->stored, &problem)
               : mmh_input_read(reader->input, worker->stored, entry->offset, entry->bytes,
                                &problem);
    clock = mmh_stage_add(&times->read_ns, clock);
    if (status == MMH_OK)
        status = mmh_container_check_chunk(&reader->container, chunk, worker->stored, &problem);
    mmh_stage_add(&times->hash_ns, clock);
    atomic_fetch_add_explicit(&reader->context->stored_bytes, entry->bytes, memory_order_relaxed);
    if (status == MMH_OK)
        return MMH_OK;
    /* A disk that does not give its bytes has lost them; a source that fails may have them. */
    bool lost = status == MMH_E_CORRUPT ||
                (status == MMH_E_IO && !mmh_input_is_source(reader->input));
    mmh_status mend = lost ? mmh_reader_mend(reader, chunk, worker->stored, &mended, err) : MMH_OK;
    if (mend != MMH_OK || mended)
        return mend;
    if (status == MMH_E_CORRUPT)
        atomic_fetch_add_explicit(&reader->checked.hashes_wrong, 1, memory_order_relaxed);
    return mmh_fail(err, status, "%s", problem.message);
}

mmh_status mmh_reader_fetch(mmh_reader *reader, struct mmh_worker *worker, uint64_t chunk,
                            mmh_error *err)
{
    mmh_status status = mmh_reader_fetch_stored(reader, worker, chunk, err);
    if (status != MMH_OK || !reader->sealer)
        return status;
    const struct mmh_index *index = &reader->container.index;
    const struct mmh_chunk_entry *entry = &index->chunks[chunk];
    uint64_t clock = mmh_clock_ns();
    mmh_error problem = { 0 };
    status = mmh_sealer_open(reader->sealer, (unsigned)(worker - reader->context->workers),
                             worker->stored, entry->bytes, index->seal_numbers[chunk], &problem);
    mmh_stage_add(&reader->context->times.unseal_ns, clock);
    atomic_fetch_add_explicit(status == MMH_OK ? &reader->checked.seals_right
                                               : &reader->checked.seals_wrong,
                              1, memory_order_relaxed);
    if (status == MMH_E_CORRUPT)
        return mmh_fail(err, status,
                        "chunk %" PRIu64 " is not what was sealed (offset 0x%" PRIx64 ", %u bytes)",
                        chunk, entry->offset, (unsigned)entry->bytes);
    return status == MMH_OK ? status : mmh_fail(err, status, "%s", problem.message);
}

const char *mmh_reader_owner(const mmh_reader *reader, uint64_t file, uint64_t offset)
{
    const struct mmh_index *index = &reader->container.index;
    const struct mmh_file_entry *entry = &index->files[file];
    for (uint64_t i = entry->first_tensor; i < entry->first_tensor + entry->tensor_count; i++) {
        const struct mmh_tensor_record *tensor = &index->tensors[i];
        if (offset >= tensor->offset && offset - tensor->offset < tensor->bytes)
            return tensor->name;
    }
    return entry->record.name;
}

/* Say of what container and tensor a chunk is, unless nothing is wrong with it. */
static mmh_status chunk_fail(const mmh_reader *reader, const char *what,
                             const struct mmh_block_entry *block, uint64_t begin, mmh_status status,
                             const mmh_error *problem, mmh_error *err)
{
    if (status == MMH_OK)
        return MMH_OK;
    if (status != MMH_E_CORRUPT)
        return mmh_fail(err, status, "%s", problem->message);
    return mmh_fail(err, status, "%s: %s\"%s\": %s", mmh_input_name(reader->input), what,
                    mmh_reader_owner(reader, block->file, begin), problem->message);
}

mmh_status mmh_reader_model_plain(mmh_reader *reader, struct mmh_worker *worker, uint64_t block,
                                  mmh_model **model, mmh_error *problem)
{
    const struct mmh_block_entry *entry = &reader->container.index.blocks[block];
    *model = NULL;
    if (!entry->has_model)
        return MMH_OK;
    const struct mmh_chunk_entry *chunk = &reader->container.index.chunks[entry->model];
    if (chunk->codec_id != MMH_CODEC_MODEL)
        return mmh_fail(problem, MMH_E_CORRUPT, "it is no model");
    mmh_status status = mmh_reader_fetch(reader, worker, entry->model, problem);
    if (status == MMH_OK)
        status = mmh_model_create(model, worker->stored, mmh_reader_payload_bytes(reader, chunk),
                                  entry->bytes / mmh_dtype_scalar_bytes(entry->dtype),
                                  reader->context->allocator, problem);
    return status;
}

mmh_status mmh_reader_model(mmh_reader *reader, struct mmh_worker *worker, uint64_t block,
                            mmh_model **model, mmh_error *err)
{
    const struct mmh_block_entry *entry = &reader->container.index.blocks[block];
    mmh_error problem = { 0 };
    mmh_status status = mmh_reader_model_plain(reader, worker, block, model, &problem);
    return chunk_fail(reader, "model of ", entry, entry->file_offset, status, &problem, err);
}

mmh_status mmh_reader_chunk_plain(mmh_reader *reader, struct mmh_worker *worker, uint64_t block,
                                  uint64_t index, const mmh_model *model, uint8_t *dst,
                                  size_t *bytes, bool stream, mmh_error *problem)
{
    const struct mmh_block_entry *entry = &reader->container.index.blocks[block];
    uint64_t number = reader->container.index.refs[entry->first_ref + index];
    const struct mmh_chunk_entry *stored = &reader->container.index.chunks[number];
    *bytes = mmh_block_chunk_bytes(entry, index);
    mmh_status status = mmh_reader_fetch(reader, worker, number, problem);
    if (status != MMH_OK)
        return status;
    uint64_t clock = mmh_clock_ns();
    unsigned scalar_bytes = mmh_dtype_scalar_bytes(entry->dtype);
    struct mmh_chunk chunk = {
        .dtype = entry->dtype,
        .first_element = index * (entry->chunk_bytes / scalar_bytes),
        .bytes = *bytes,
    };
    status = mmh_chunk_decode(dst, worker->codec, &chunk, stored->codec_id, worker->stored,
                              mmh_reader_payload_bytes(reader, stored), model,
                              stream && !entry->big_endian, problem);
    atomic_fetch_add_explicit(status == MMH_OK ? &reader->checked.decodes_right
                                               : &reader->checked.decodes_wrong,
                              1, memory_order_relaxed);
    if (status == MMH_OK && entry->big_endian && scalar_bytes > 1)
        mmh_kernels_get()->swap_bytes(dst, dst, *bytes / scalar_bytes, scalar_bytes);
    mmh_stage_add(&reader->context->times.decode_ns, clock);
    return status;
}

mmh_status mmh_reader_chunk(mmh_reader *reader, struct mmh_worker *worker, uint64_t block,
                            uint64_t index, const mmh_model *model, uint8_t *dst, size_t *bytes,
                            bool stream, mmh_error *err)
{
    const struct mmh_block_entry *entry = &reader->container.index.blocks[block];
    mmh_error problem = { 0 };
    mmh_status status = mmh_reader_chunk_plain(reader, worker, block, index, model, dst, bytes,
                                               stream, &problem);
    return chunk_fail(reader, "", entry, entry->file_offset + index * entry->chunk_bytes, status,
                      &problem, err);
}
