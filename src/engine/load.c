/*
 * Loading: bytes of files and tensors into the caller's memory, each chunk decoded once.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Small tensors share chunks, and large ones have many: what is wanted becomes pieces of files, and
 * the chunks that hold them become jobs, in the order in which the container keeps them.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/memory.h"
#include "codec/codec.h"
#include "engine/ahead.h"
#include "engine/destinations.h"
#include "engine/originals.h"
#include "kernel/kernel.h"

enum {
    RUN_CHUNKS = 8,             /* of one job, at the most: they share a parsed model */
    SOURCE_JOB_BYTES = 4 << 20, /* stored, of sources, that lie together in a job: the least */
    SOURCE_ALL_BYTES =
        96 << 20,             /* the same of the jobs of all threads, which are in memory, about */
    ORIGINAL_BYTES = 4 << 20, /* of original files in one job, and in one read of a source */
    ORIGINAL_SPAN_BYTES = 1 << 18, /* of several parts in one read of a file */
    ORIGINAL_GAP_BYTES = 4096,     /* between such, at the most */
    STREAM_BYTES = 32 << 20,       /* from here on nobody will find the bytes in a cache */
};

/* Consecutive chunks of a block. */
struct run {
    uint64_t block, first, count;
    size_t first_piece; /* that reaches into them */
};

/* Runs whose chunks are read together, of a source. */
struct batch {
    size_t first_run, run_count;
    const uint32_t *chunks; /* [chunk_count] in the order in which they are fetched, models too */
    size_t chunk_count;
};

struct gathering {
    mmh_reader *reader;
    struct mmh_wanted *pieces; /* by file and begin */
    size_t piece_count;
    struct run *runs;
    size_t run_count;
    uint32_t *chunks; /* of a source: those of all batches */
    struct batch *batches;
    size_t batch_count;
    struct mmh_destinations destinations;
    bool stream;
};

static int compare_pieces(const void *a, const void *b)
{
    const struct mmh_wanted *x = a, *y = b;
    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

/* Whether a worker still has a chunk: small tensors that share one are mostly asked for one after another. */
static bool holds(const struct mmh_worker *worker, const mmh_reader *reader, uint64_t block,
                  uint64_t index)
{
    return worker->holds.reader == reader->number && worker->holds.block == block &&
           worker->holds.index == index;
}

/* Decode a chunk that lies at [begin, end) of `file`, to wherever its bytes are wanted.
 *   next_piece  the first that may reach into it; those before the next chunk are passed over */
static mmh_status gather_chunk(struct gathering *gathering, struct mmh_worker *worker,
                               const struct run *run, uint64_t index, const mmh_model *model,
                               size_t *next_piece, mmh_error *err)
{
    mmh_reader *reader = gathering->reader;
    const struct mmh_block_entry *block = &reader->container.index.blocks[run->block];
    uint64_t begin = block->file_offset + index * block->chunk_bytes;
    size_t bytes = mmh_block_chunk_bytes(block, index);
    uint64_t end = begin + bytes;
    const struct mmh_wanted *all = gathering->pieces;
    size_t first = *next_piece, wanted = 0;
    while (first < gathering->piece_count && all[first].file == block->file &&
           all[first].end <= begin)
        first++;
    *next_piece = first;
    for (size_t p = first; p < gathering->piece_count; p++) {
        if (all[p].file != block->file || all[p].begin >= end)
            break;
        wanted += all[p].end > begin;
    }
    if (!wanted)
        return MMH_OK;
    uint64_t loaded = 0;
    bool held = holds(worker, reader, run->block, index);
    bool direct = !held && wanted == 1 && all[first].begin <= begin && all[first].end >= end;
    mmh_status status = MMH_OK;
    if (!held)
        status = mmh_worker_room(reader->context, worker, 0, direct ? 0 : bytes, err);
    if (status != MMH_OK)
        return status;
    uint8_t *dst = direct ? all[first].destination + (begin - all[first].begin) : worker->decoded;
    if (!held)
        status = mmh_reader_chunk(reader, worker, run->block, index, model, dst, &bytes,
                                  direct && gathering->stream, err);
    if (direct) {
        loaded = bytes;
    } else if (status == MMH_OK) {
        worker->holds.reader = reader->number;
        worker->holds.block = run->block;
        worker->holds.index = index;
    }
    for (size_t p = first; p < gathering->piece_count && status == MMH_OK && !direct; p++) {
        if (all[p].file != block->file || all[p].begin >= end)
            break;
        uint64_t from = MMH_MAX(all[p].begin, begin), to = MMH_MIN(all[p].end, end);
        loaded += from < to ? to - from : 0;
        if (from < to)
            memcpy(all[p].destination + (from - all[p].begin), worker->decoded + (from - begin),
                   (size_t)(to - from));
    }
    atomic_fetch_add_explicit(&reader->context->done_bytes, loaded, memory_order_relaxed);
    return status;
}

static mmh_status gather_run(struct gathering *gathering, const struct run *run,
                             struct mmh_worker *worker, mmh_error *err)
{
    mmh_reader *reader = gathering->reader;
    size_t piece = run->first_piece;
    mmh_model *model = NULL;
    mmh_destinations_take(&gathering->destinations,
                          run->count * reader->container.index.blocks[run->block].chunk_bytes);
    mmh_status status = MMH_OK;
    if (run->count > 1 || !holds(worker, reader, run->block, run->first))
        status = mmh_reader_model(reader, worker, run->block, &model, err);
    for (uint64_t i = 0; i < run->count && status == MMH_OK; i++) {
        status = gather_chunk(gathering, worker, run, run->first + i, model, &piece, err);
        if (status == MMH_OK)
            status = mmh_context_poll(reader->context, err);
    }
    mmh_model_destroy(model);
    return status;
}

static mmh_status gather_job(void *context, size_t job, unsigned worker_index, mmh_error *err)
{
    struct gathering *gathering = context;
    struct mmh_worker *worker = &gathering->reader->context->workers[worker_index];
    if (!gathering->batches)
        return gather_run(gathering, &gathering->runs[job], worker, err);
    const struct batch *batch = &gathering->batches[job];
    mmh_status status = MMH_OK;
    mmh_ahead_expect(worker, batch->chunks, batch->chunk_count);
    for (size_t i = 0; i < batch->run_count && status == MMH_OK; i++)
        status = gather_run(gathering, &gathering->runs[batch->first_run + i], worker, err);
    mmh_ahead_expect(worker, NULL, 0);
    return status;
}

/* ---- what is read together ---- */

/* The chunks of a run, and before them its model; only counts if chunks is NULL. */
static size_t list_chunks(uint32_t *chunks, const struct mmh_index *index, const struct run *run)
{
    const struct mmh_block_entry *block = &index->blocks[run->block];
    size_t count = 0;
    if (block->has_model) {
        if (chunks)
            chunks[count] = block->model;
        count++;
    }
    if (chunks)
        memcpy(chunks + count, index->refs + block->first_ref + run->first,
               (size_t)run->count * sizeof *chunks);
    return count + (size_t)run->count;
}

/* Runs that are read together, so far. */
struct reach {
    uint64_t begin, end; /* in the container */
    uint64_t bytes;      /* of all chunks */
};

/* Whether a run of stored bytes is read with those before it; if not, reach is where it begins. */
static bool run_follows(struct reach *reach, const struct mmh_index *index, const struct run *run,
                        uint64_t bytes, uint64_t most)
{
    const struct mmh_block_entry *block = &index->blocks[run->block];
    const struct mmh_chunk_entry *own = &index->chunks[index->refs[block->first_ref + run->first]];
    const struct mmh_chunk_entry *model = block->has_model ? &index->chunks[block->model] : own;
    const struct mmh_chunk_entry *next = model->offset >= reach->end ? model : own;
    if (reach->bytes && reach->bytes + bytes <= most) {
        if (mmh_ahead_follows(next, reach->begin, reach->end))
            return true;
        if (next->offset < reach->end && bytes <= MMH_AHEAD_GAP_BYTES) /* equal to one before */
            return true;
    }
    /* The model of a run from within a block lies too far before it to be read with it. */
    uint64_t model_end = model->offset + model->bytes;
    bool with_model = model_end <= own->offset && own->offset - model_end <= MMH_AHEAD_GAP_BYTES;
    reach->begin = reach->end = with_model ? model->offset : own->offset;
    reach->bytes = 0;
    return false;
}

/* Bring runs of a source together in jobs, each of which is about one read. The last are small: while a job
 * is decoded others read, but for the last. */
static void fill_batches(struct gathering *gathering, uint64_t stored, unsigned threads)
{
    const struct mmh_index *index = &gathering->reader->container.index;
    const uint32_t *chunks = gathering->chunks;
    struct reach reach = { 0, 0, 0 };
    uint64_t most = 0;
    for (size_t r = 0; r < gathering->run_count; r++) {
        const struct run *run = &gathering->runs[r];
        size_t count = list_chunks(NULL, index, run);
        uint64_t bytes = 0;
        for (size_t i = 0; i < count; i++)
            bytes += index->chunks[chunks[i]].bytes;
        if (!run_follows(&reach, index, run, bytes, most)) {
            gathering->batches[gathering->batch_count++] = (struct batch){ .first_run = r,
                                                                           .chunks = chunks };
            most = MMH_MIN(stored / (2 * threads), (uint64_t)SOURCE_ALL_BYTES / threads);
            most = MMH_MIN(MMH_MAX(most, (uint64_t)SOURCE_JOB_BYTES), (uint64_t)MMH_AHEAD_BYTES);
        }
        struct batch *batch = &gathering->batches[gathering->batch_count - 1];
        batch->run_count++;
        batch->chunk_count += count;
        reach.bytes += bytes;
        stored -= bytes;
        for (size_t i = 0; i < count; i++) {
            const struct mmh_chunk_entry *chunk = &index->chunks[chunks[i]];
            if (mmh_ahead_follows(chunk, reach.begin, reach.end))
                reach.end = chunk->offset + chunk->bytes;
        }
        chunks += count;
    }
}

static mmh_status list_batches(struct gathering *gathering, mmh_error *err)
{
    const mmh_context *context = gathering->reader->context;
    const struct mmh_index *index = &gathering->reader->container.index;
    size_t chunk_count = 0;
    uint64_t stored = 0;
    for (size_t r = 0; r < gathering->run_count; r++)
        chunk_count += list_chunks(NULL, index, &gathering->runs[r]);
    gathering->chunks = mmh_alloc_array(context->allocator, chunk_count, sizeof(uint32_t));
    gathering->batches = mmh_alloc_array(context->allocator, gathering->run_count,
                                         sizeof *gathering->batches);
    if (!gathering->chunks || !gathering->batches)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to load %zu chunks", chunk_count);
    chunk_count = 0;
    for (size_t r = 0; r < gathering->run_count; r++)
        chunk_count += list_chunks(gathering->chunks + chunk_count, index, &gathering->runs[r]);
    for (size_t i = 0; i < chunk_count; i++)
        stored += index->chunks[gathering->chunks[i]].bytes;
    fill_batches(gathering, stored, mmh_pool_threads(context->pool));
    return MMH_OK;
}

/* ---- which chunks ---- */

/* The first chunk that has not been listed: chunks are listed in their order. */
struct place {
    uint64_t block, chunk;
    uint64_t file, listed; /* of that file all before this, from where the last piece began */
};

/* List what holds piece number p and is not listed yet; only counts if runs is NULL. No piece
 * before p reaches into these chunks, or they would have been listed for it. */
static size_t list_runs(struct run *runs, const struct gathering *gathering, size_t p,
                        uint64_t each, struct place *next)
{
    const struct mmh_index *index = &gathering->reader->container.index;
    const struct mmh_wanted *piece = &gathering->pieces[p];
    const struct mmh_file_entry *file = &index->files[piece->file];
    uint64_t end_block = file->first_block + file->record.block_count;
    size_t count = 0;
    if (piece->file == next->file && piece->end <= next->listed)
        return 0;
    for (uint64_t b = mmh_reader_block_at(gathering->reader, file, piece->begin);
         b < end_block && index->blocks[b].file_offset < piece->end; b++) {
        const struct mmh_block_entry *block = &index->blocks[b];
        uint64_t begin = MMH_MAX(piece->begin, block->file_offset) - block->file_offset;
        uint64_t end = MMH_MIN(piece->end - block->file_offset, block->bytes);
        uint64_t last = mmh_divide_up(end, block->chunk_bytes);
        if (b < next->block)
            continue;
        if (b > next->block) {
            next->block = b;
            next->chunk = 0;
        }
        for (uint64_t c = MMH_MAX(begin / block->chunk_bytes, next->chunk); c < last; c += each) {
            if (runs)
                runs[count] = (struct run){ b, c, MMH_MIN(each, last - c), p };
            count++;
        }
        next->chunk = MMH_MAX(next->chunk, last);
        next->file = piece->file;
        next->listed = MMH_MIN(block->file_offset + next->chunk * block->chunk_bytes,
                               block->file_offset + block->bytes);
    }
    return count;
}

/* ---- original files ---- */

/* Bytes of an original file. */
struct part {
    uint64_t file, offset;
    uint8_t *destination;
    size_t bytes;
};

/* Parts of original files, and the jobs: runs of parts of one file. */
struct copying {
    mmh_reader *reader;
    struct mmh_destinations *destinations;
    struct part *parts;
    size_t *jobs; /* [job_count + 1] the first part of each */
    size_t part_count, job_count;
};

/* Parts from `first` on that are better read at once. Returns the end of them; [*from, *to) in the file. */
static size_t read_together(const struct copying *copying, size_t first, size_t end, bool far,
                            uint64_t *from, uint64_t *to)
{
    const struct part *parts = copying->parts;
    const uint64_t gap = far ? MMH_AHEAD_GAP_BYTES : ORIGINAL_GAP_BYTES;
    const uint64_t span = far ? ORIGINAL_BYTES : ORIGINAL_SPAN_BYTES;
    size_t next = first + 1;
    *from = parts[first].offset;
    *to = parts[first].offset + parts[first].bytes;
    for (; next < end; next++) {
        uint64_t after = parts[next].offset + parts[next].bytes;
        if (parts[next].offset > *to + gap || after - *from > span)
            break;
        *to = MMH_MAX(*to, after);
    }
    return next;
}

static mmh_status copy_parts(void *context, size_t job, unsigned worker_index, mmh_error *err)
{
    struct copying *copying = context;
    mmh_context *engine = copying->reader->context;
    struct mmh_worker *worker = &engine->workers[worker_index];
    size_t first = copying->jobs[job], end = copying->jobs[job + 1];
    uint64_t bytes = 0;
    for (size_t i = first; i < end; i++)
        bytes += copying->parts[i].bytes;
    mmh_destinations_take(copying->destinations, bytes);
    bool far = mmh_originals_are_sources(copying->reader);
    mmh_input *input;
    mmh_status status = mmh_originals_open(&input, copying->reader, copying->parts[first].file,
                                           err);
    for (size_t i = first, next; i < end && status == MMH_OK; i = next) {
        const struct part *part = &copying->parts[i];
        uint64_t from, to;
        next = read_together(copying, i, end, far, &from, &to);
        if (next == i + 1) {
            status = mmh_input_read(input, part->destination, part->offset, part->bytes, err);
            continue;
        }
        status = mmh_worker_room(engine, worker, 0, (size_t)(to - from), err);
        if (status == MMH_OK)
            status = mmh_input_read(input, worker->decoded, from, (size_t)(to - from), err);
        for (; part < &copying->parts[next] && status == MMH_OK; part++)
            memcpy(part->destination, worker->decoded + (part->offset - from), part->bytes);
    }
    mmh_input_close(input);
    atomic_fetch_add_explicit(&engine->done_bytes, bytes, memory_order_relaxed);
    return status == MMH_OK ? mmh_context_poll(copying->reader->context, err) : status;
}

/* Cut sorted pieces into parts and jobs; only counts if copying->parts is NULL. */
static void list_parts(struct copying *copying, const struct mmh_wanted *pieces, size_t count)
{
    const bool far = mmh_originals_are_sources(copying->reader);
    uint64_t job_bytes = ORIGINAL_BYTES;
    size_t part = 0, job = 0;
    for (size_t p = 0; p < count; p++)
        for (uint64_t at = pieces[p].begin; at < pieces[p].end; part++) {
            uint64_t bytes = MMH_MIN(pieces[p].end - at, (uint64_t)ORIGINAL_BYTES);
            bool first = p && at == pieces[p].begin;
            if (job_bytes >= ORIGINAL_BYTES || (first && pieces[p].file != pieces[p - 1].file) ||
                (first && far && at > pieces[p - 1].end + MMH_AHEAD_GAP_BYTES)) {
                if (copying->jobs)
                    copying->jobs[job] = part;
                job++;
                job_bytes = 0;
            }
            if (copying->parts)
                copying->parts[part] =
                    (struct part){ pieces[p].file, at,
                                   pieces[p].destination + (at - pieces[p].begin), (size_t)bytes };
            job_bytes += bytes;
            at += bytes;
        }
    if (copying->jobs)
        copying->jobs[job] = part;
    copying->part_count = part;
    copying->job_count = job;
}

static mmh_status gather_originals(struct gathering *gathering, mmh_error *err)
{
    mmh_reader *reader = gathering->reader;
    const struct mmh_wanted *pieces = gathering->pieces;
    const size_t count = gathering->piece_count;
    const mmh_allocator *allocator = reader->context->allocator;
    struct copying copying = { .reader = reader, .destinations = &gathering->destinations };
    mmh_status status = MMH_OK;
    list_parts(&copying, pieces, count);
    copying.parts = mmh_alloc_array(allocator, copying.part_count, sizeof *copying.parts);
    copying.jobs = mmh_alloc_array(allocator, copying.job_count + 1, sizeof *copying.jobs);
    if (!copying.parts || !copying.jobs)
        status = mmh_fail(err, MMH_E_MEMORY, "no memory to load %zu pieces", copying.part_count);
    if (status == MMH_OK) {
        list_parts(&copying, pieces, count);
        status = mmh_pool_run(reader->context->pool, copying.job_count, copy_parts, &copying, err);
    }
    mmh_free(allocator, copying.parts);
    mmh_free(allocator, copying.jobs);
    return status;
}

/* The runs that hold the pieces. */
static mmh_status list_all_runs(struct gathering *gathering, uint64_t each, mmh_error *err)
{
    const struct mmh_wanted *pieces = gathering->pieces;
    for (int pass = 0; pass < 2; pass++) { /* count, then fill in */
        struct place next = { 0, 0, 0, 0 };
        size_t runs = 0;
        for (size_t p = 0; p < gathering->piece_count; p++)
            if (pieces[p].begin < pieces[p].end)
                runs += list_runs(pass ? gathering->runs + runs : NULL, gathering, p, each, &next);
        gathering->run_count = runs;
        if (pass)
            break;
        gathering->runs = mmh_alloc_array(gathering->reader->context->allocator, runs,
                                          sizeof *gathering->runs);
        if (!gathering->runs)
            return mmh_fail(err, MMH_E_MEMORY, "no memory to load %zu runs of chunks", runs);
    }
    return MMH_OK;
}

/* Whether the runs are nearly all that lies between the first and the last of their chunks. */
static bool is_scan(const struct gathering *gathering)
{
    const struct mmh_index *index = &gathering->reader->container.index;
    uint64_t begin = UINT64_MAX, end = 0, stored = 0;
    for (size_t r = 0; r < gathering->run_count; r++) {
        const struct run *run = &gathering->runs[r];
        const uint32_t *refs = index->refs + index->blocks[run->block].first_ref + run->first;
        for (uint64_t i = 0; i < run->count; i++) {
            const struct mmh_chunk_entry *chunk = &index->chunks[refs[i]];
            begin = MMH_MIN(begin, chunk->offset);
            end = MMH_MAX(end, chunk->offset + chunk->bytes);
            stored += chunk->bytes;
        }
    }
    return begin < end && stored >= (end - begin) / 4 * 3;
}

mmh_status mmh_reader_gather(mmh_reader *reader, struct mmh_wanted *pieces, size_t count,
                             mmh_error *err)
{
    mmh_context *context = reader->context;
    struct gathering gathering = { .reader = reader, .pieces = pieces, .piece_count = count };
    uint64_t bytes = 0;
    bool sorted = true;
    for (size_t p = 0; p < count; p++) {
        bytes += pieces[p].end - pieces[p].begin;
        sorted = sorted && (!p || compare_pieces(&pieces[p - 1], &pieces[p]) <= 0);
    }
    if (!sorted)
        qsort(pieces, count, sizeof *pieces, compare_pieces);
    mmh_destinations_begin(&gathering.destinations, pieces, count, mmh_pool_threads(context->pool));
    if (reader->originals)
        return gather_originals(&gathering, err);
    gathering.stream = bytes >= STREAM_BYTES;
    /* Long enough that a model serves several chunks, short enough that all threads have some. */
    const bool far = mmh_input_is_source(reader->input);
    uint64_t each = bytes / (MMH_CHUNK_ELEMENTS * UINT64_C(2)) /
                    ((far ? 2 : 4) * mmh_pool_threads(context->pool));
    each = MMH_MIN(MMH_MAX(each, UINT64_C(1)), (uint64_t)RUN_CHUNKS);
    mmh_status status = list_all_runs(&gathering, each, err);
    if (status == MMH_OK && far)
        status = list_batches(&gathering, err);
    mmh_reader_scan(reader, status == MMH_OK && !far && gathering.stream && is_scan(&gathering));
    if (status == MMH_OK)
        status = mmh_pool_run(context->pool, far ? gathering.batch_count : gathering.run_count,
                              gather_job, &gathering, err);
    mmh_free(context->allocator, gathering.batches);
    mmh_free(context->allocator, gathering.chunks);
    mmh_free(context->allocator, gathering.runs);
    return status;
}

mmh_status mmh_reader_bytes(mmh_reader *reader, uint64_t file, uint64_t offset, void *dst,
                            size_t bytes, mmh_error *err)
{
    struct mmh_wanted piece = { file, offset, offset + bytes, dst };
    return bytes ? mmh_reader_gather(reader, &piece, 1, err) : MMH_OK;
}

mmh_status mmh_read(mmh_reader *reader, uint64_t file, uint64_t offset, void *destination,
                    size_t bytes, mmh_error *err)
{
    const struct mmh_index *index = &reader->container.index;
    if (file >= index->file_count)
        return mmh_fail(err, MMH_E_USAGE, "there is no file %" PRIu64, file);
    const struct mmh_file_entry *entry = &index->files[file];
    if (offset > entry->record.bytes || bytes > entry->record.bytes - offset)
        return mmh_fail(err, MMH_E_USAGE, "\"%s\" has %" PRIu64 " bytes", entry->record.name,
                        entry->record.bytes);
    if (!bytes)
        return MMH_OK;
    if (!destination)
        return mmh_fail(err, MMH_E_USAGE, "no memory is given to load into");
    mmh_context_begin(reader->context, "load", bytes);
    mmh_status status = mmh_reader_bytes(reader, file, offset, destination, bytes, err);
    mmh_context_end(reader->context, status);
    return status;
}

static int compare_destinations(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const struct mmh_wanted *)a)->destination;
    uintptr_t y = (uintptr_t)((const struct mmh_wanted *)b)->destination;
    return x < y ? -1 : x > y;
}

/* Whether destinations overlap. Changes the order. */
static bool overlap(struct mmh_wanted *pieces, size_t count)
{
    uintptr_t end = 0;
    qsort(pieces, count, sizeof *pieces, compare_destinations);
    for (size_t p = 0; p < count; p++) {
        if (pieces[p].begin == pieces[p].end)
            continue;
        if ((uintptr_t)pieces[p].destination < end)
            return true;
        end = (uintptr_t)pieces[p].destination + (uintptr_t)(pieces[p].end - pieces[p].begin);
    }
    return false;
}

void mmh_host_order(void *data, size_t bytes, const struct mmh_tensor_record *tensor)
{
    const uint16_t probe = 1;
    bool host_is_big = *(const uint8_t *)&probe == 0;
    unsigned scalar_bytes = mmh_dtype_scalar_bytes(mmh_dtype_scalar(tensor->dtype));
    if (tensor->big_endian != host_is_big && scalar_bytes > 1)
        mmh_kernels_get()->swap_bytes(data, data, bytes / scalar_bytes, scalar_bytes);
}

mmh_status mmh_load_many(mmh_reader *reader, const mmh_load_request *requests, size_t count,
                         mmh_error *err)
{
    mmh_context *context = reader->context;
    const struct mmh_tensor_record *record;
    if (count && !requests)
        return mmh_fail(err, MMH_E_USAGE, "%zu requests, and none is given", count);
    struct mmh_wanted *pieces = mmh_alloc_array(context->allocator, count, sizeof *pieces);
    uint64_t bytes = 0;
    if (!pieces)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to load %zu tensors", count);
    mmh_status status = MMH_OK;
    for (size_t i = 0; i < count && status == MMH_OK; i++) {
        status = mmh_reader_tensor(reader, requests[i].tensor, &record, err);
        if (status == MMH_OK && record->bytes > requests[i].destination_bytes)
            status = mmh_fail(err, MMH_E_USAGE, "tensor \"%s\" takes %" PRIu64 " bytes, not %zu",
                              record->name, record->bytes, requests[i].destination_bytes);
        if (status == MMH_OK && record->bytes && !requests[i].destination)
            status = mmh_fail(err, MMH_E_USAGE, "no memory is given for tensor \"%s\"",
                              record->name);
        if (status != MMH_OK)
            break;
        pieces[i] = (struct mmh_wanted){ record->file, record->offset,
                                         record->offset + record->bytes, requests[i].destination };
        bytes += record->bytes;
    }
    if (status == MMH_OK && overlap(pieces, count))
        status = mmh_fail(err, MMH_E_USAGE, "tensors are to be loaded over each other");
    if (status == MMH_OK) {
        mmh_context_begin(context, "load", bytes);
        status = mmh_reader_gather(reader, pieces, count, err);
        mmh_context_end(context, status);
    }
    for (size_t i = 0; i < count && status == MMH_OK; i++) {
        status = mmh_reader_tensor(reader, requests[i].tensor, &record, err);
        if (status == MMH_OK)
            mmh_host_order(requests[i].destination, (size_t)record->bytes, record);
    }
    mmh_free(context->allocator, pieces);
    return status;
}

mmh_status mmh_load(mmh_reader *reader, uint64_t tensor, void *destination,
                    size_t destination_bytes, mmh_error *err)
{
    const mmh_load_request request = { tensor, destination, destination_bytes };
    return mmh_load_many(reader, &request, 1, err);
}
