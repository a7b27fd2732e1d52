/*
 * Runs of chunks are fetched, checked and decoded by workers, and compared or written in order.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine/restore.h"

#include <inttypes.h>
#include <string.h>

#include "base/bits.h"

enum { RUN_BYTES = 16 << 20 }; /* decoded bytes of one job */

/* Consecutive chunks of one block. */
struct run {
    uint64_t block;
    uint64_t first, count; /* chunks of the block */
    uint64_t bytes;        /* decoded */
};

/* What a run leaves for the ordered side, when digests are compared. */
struct mmh_restore_slot {
    uint8_t *data, *hashes;
    uint8_t *bad; /* [chunks of the run] 1: damaged; only if `damaged` */
    size_t data_room, hashes_room, bad_room;
    bool damaged;
    const char *what; /* the first damaged one is, and its problem */
    mmh_error problem;
    mmh_error unknown; /* the first of what this version cannot check */
    mmh_error failure; /* what ended the run; what was found before is told first */
};

/* ---- jobs ---- */

/* Chunks of one run of a block. */
static uint64_t run_chunks(const struct mmh_block_entry *block)
{
    return MMH_MAX(RUN_BYTES / block->chunk_bytes, UINT64_C(1));
}

/* Run number `job`: runs are not listed, as a small container may claim a great many. */
static struct run run_find(const struct mmh_restoring *restoring, size_t job)
{
    uint64_t low = 0, high = restoring->block_count;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (restoring->runs_before[middle] <= job)
            low = middle;
        else
            high = middle;
    }
    struct run run = { .block = restoring->first_block + low };
    const struct mmh_block_entry *block = &restoring->reader->container.index.blocks[run.block];
    uint64_t chunks = mmh_divide_up(block->bytes, block->chunk_bytes), each = run_chunks(block);
    run.first = (job - restoring->runs_before[low]) * each;
    run.count = MMH_MIN(chunks - run.first, each);
    run.bytes = MMH_MIN(block->bytes - run.first * block->chunk_bytes,
                        run.count * block->chunk_bytes);
    return run;
}

static mmh_output *file_output(struct mmh_restoring *restoring, uint64_t file)
{
    return restoring->outputs[file - restoring->first_file];
}

/* Note that chunks [first, first + count) of the slot's run are damaged. */
static mmh_status slot_spoil(struct mmh_restoring *restoring, struct mmh_restore_slot *slot,
                             const struct run *run, uint64_t first, uint64_t count,
                             const char *what, const mmh_error *problem, mmh_error *err)
{
    if (!slot->damaged) {
        mmh_status status = mmh_context_room(restoring->context, &slot->bad, &slot->bad_room,
                                             (size_t)run->count, err);
        if (status != MMH_OK)
            return status;
        memset(slot->bad, 0, (size_t)run->count);
        slot->damaged = true;
        slot->what = what;
        slot->problem = *problem;
    }
    memset(slot->bad + first, 1, (size_t)count);
    return MMH_OK;
}

static mmh_status slot_unknown(struct mmh_restore_slot *slot, const mmh_error *problem)
{
    if (slot->unknown.status == MMH_OK)
        slot->unknown = *problem;
    return MMH_OK;
}

/* Decode chunk number `i` of a run; with damages wanted, one that is damaged is no failure. */
static mmh_status run_chunk(struct mmh_restoring *restoring, struct mmh_worker *worker,
                            struct mmh_restore_slot *slot, const struct run *run, uint64_t i,
                            const mmh_model *model, uint8_t *dst, size_t *bytes, mmh_error *err)
{
    mmh_error problem = { 0 };
    if (!restoring->damages)
        return mmh_reader_chunk(restoring->reader, worker, run->block, run->first + i, model, dst,
                                bytes, false, err);
    mmh_status status = mmh_reader_chunk_plain(restoring->reader, worker, run->block,
                                               run->first + i, model, dst, bytes, false, &problem);
    if (status == MMH_E_CORRUPT || (status == MMH_E_IO && restoring->write))
        return slot_spoil(restoring, slot, run, i, 1, "", &problem, err);
    if (status == MMH_E_UNSUPPORTED && !restoring->write)
        return slot_unknown(slot, &problem);
    return status == MMH_OK ? status : mmh_fail(err, status, "%s", problem.message);
}

/* The model of a run's block; with damages wanted, all chunks that need a damaged one are spoiled. */
static mmh_status run_model(struct mmh_restoring *restoring, struct mmh_worker *worker,
                            struct mmh_restore_slot *slot, const struct run *run, mmh_model **model,
                            mmh_error *err)
{
    mmh_error problem = { 0 };
    if (!restoring->damages)
        return mmh_reader_model(restoring->reader, worker, run->block, model, err);
    mmh_status status = mmh_reader_model_plain(restoring->reader, worker, run->block, model,
                                               &problem);
    if (status == MMH_E_CORRUPT || (status == MMH_E_IO && restoring->write))
        return slot_spoil(restoring, slot, run, 0, run->count, "model of ", &problem, err);
    if (status == MMH_E_UNSUPPORTED && !restoring->write)
        return slot_unknown(slot, &problem);
    return status == MMH_OK ? status : mmh_fail(err, status, "%s", problem.message);
}

/*
 * Decode a run. Where nobody needs the bytes afterwards, each chunk goes through the same small
 * buffer, which stays in the cache until the chunk has been written.
 */
static mmh_status run_produce(void *context, size_t job, unsigned worker_index, mmh_error *err)
{
    struct mmh_restoring *restoring = context;
    mmh_reader *reader = restoring->reader;
    struct mmh_stage_times *times = &restoring->context->times;
    struct mmh_worker *worker = &restoring->context->workers[worker_index];
    const struct run run = run_find(restoring, job);
    const struct mmh_block_entry *block = &reader->container.index.blocks[run.block];
    uint64_t begin = block->file_offset + run.first * block->chunk_bytes, done = 0;
    bool keep = restoring->digests || restoring->descriptor_output;
    struct mmh_restore_slot *slot = &restoring->slots[job % restoring->window];
    mmh_model *model = NULL;

    slot->damaged = false;
    slot->unknown.status = slot->failure.status = MMH_OK;
    mmh_status status = mmh_worker_room(restoring->context, worker, 0,
                                        keep ? 0 : block->chunk_bytes, err);
    if (status == MMH_OK && keep)
        status = mmh_context_room(restoring->context, &slot->data, &slot->data_room,
                                  (size_t)run.bytes, err);
    if (status == MMH_OK)
        status = run_model(restoring, worker, slot, &run, &model, err);
    bool modelless = slot->damaged || slot->unknown.status;
    for (uint64_t i = 0; i < run.count && status == MMH_OK; i++) {
        uint8_t *dst = keep ? slot->data + done : worker->decoded;
        size_t bytes = mmh_block_chunk_bytes(block, run.first + i);
        if (!modelless)
            status = run_chunk(restoring, worker, slot, &run, i, model, dst, &bytes, err);
        if (restoring->write && (modelless || (slot->damaged && slot->bad[i])))
            memset(dst, 0, bytes); /* what cannot be had */
        if (status == MMH_OK && restoring->write && !restoring->descriptor_output) {
            uint64_t clock = mmh_clock_ns();
            status = mmh_output_write_at(file_output(restoring, block->file), begin + done, dst,
                                         bytes, err);
            mmh_stage_add(&times->write_ns, clock);
        }
        done += bytes;
        atomic_fetch_add_explicit(&restoring->context->done_bytes, bytes, memory_order_relaxed);
        if (status == MMH_OK)
            status = mmh_context_poll(restoring->context, err);
    }
    mmh_model_destroy(model);
    if (restoring->damages && status == MMH_E_IO) { /* for run_consume to tell, after the damage */
        slot->failure = *err;
        *err = (mmh_error){ .status = MMH_OK };
        return MMH_OK;
    }
    if (status == MMH_OK && restoring->digests && !slot->damaged && !slot->unknown.status) {
        uint64_t clock = mmh_clock_ns();
        uint64_t file_bytes = reader->container.index.files[block->file].record.bytes;
        size_t slices = mmh_slices_inside(begin, (size_t)run.bytes, file_bytes);
        status = mmh_context_room(restoring->context, &slot->hashes, &slot->hashes_room,
                                  slices * reader->container.hash_bytes, err);
        if (status == MMH_OK)
            status = mmh_slices_hash(slot->hashes, reader->container.hash_suite, slot->data, begin,
                                     (size_t)run.bytes, file_bytes, err);
        mmh_stage_add(&times->hash_ns, clock);
    }
    return status;
}

/* Pass on what run_produce has found damaged. */
static void run_tell_damage(struct mmh_restoring *restoring, const struct run *run,
                            const struct mmh_restore_slot *slot)
{
    const struct mmh_block_entry *block = &restoring->reader->container.index.blocks[run->block];
    uint64_t next;
    for (uint64_t i = 0; i < run->count; i = next) {
        for (next = i + 1; next < run->count && slot->bad[next] == slot->bad[i];)
            next++;
        if (!slot->bad[i])
            continue;
        uint64_t first = run->first + i, end = (run->first + next) * block->chunk_bytes;
        mmh_damages_add(restoring->damages, block->file,
                        block->file_offset + first * block->chunk_bytes,
                        MMH_MIN(end, block->bytes) - first * block->chunk_bytes, next - i,
                        slot->what, &slot->problem);
    }
}

/* A file of which something is missing can have no digest. */
static void digest_forget(struct mmh_restoring *restoring, uint64_t file)
{
    if (restoring->digest_open)
        mmh_digest_abandon(restoring->digest);
    restoring->digest_open = false;
    restoring->lost_file = file + 1;
}

/* Compare the digest of the file that has just been completed. */
static mmh_status digest_compare(struct mmh_restoring *restoring, mmh_error *err)
{
    const struct mmh_file_record *record =
        &restoring->reader->container.index.files[restoring->file].record;
    uint8_t digest[MMH_HASH_BYTES];
    restoring->digest_open = false;
    mmh_status status = mmh_digest_final(restoring->digest, digest, err);
    if (status != MMH_OK)
        return status;
    if (memcmp(digest, record->digest, restoring->reader->container.hash_bytes) == 0) {
        restoring->digests_right++;
        return MMH_OK;
    }
    restoring->digests_wrong++;
    if (restoring->damages) {
        mmh_error problem = { .message = "decodes to other content than was packed" };
        mmh_damages_add(restoring->damages, restoring->file, 0, record->bytes, 0, "", &problem);
        return MMH_OK;
    }
    return mmh_fail(err, MMH_E_CORRUPT, "%s: \"%s\": decodes to other content than was packed",
                    mmh_input_name(restoring->reader->input), record->name);
}

/* The digests of the empty files before `end`, in their turn: that of an empty file is one of no slices. */
static mmh_status check_empty_before(struct mmh_restoring *restoring, uint64_t end, mmh_error *err)
{
    const struct mmh_index *index = &restoring->reader->container.index;
    mmh_status status = MMH_OK;
    for (; restoring->next_file < end && status == MMH_OK; restoring->next_file++) {
        const struct mmh_file_record *record = &index->files[restoring->next_file].record;
        if (record->kind != MMH_FILE_REGULAR || record->bytes)
            continue;
        restoring->file = restoring->next_file;
        status = mmh_digest_init(restoring->digest, restoring->reader->container.hash_suite, 0,
                                 err);
        if (status == MMH_OK)
            status = digest_compare(restoring, err);
    }
    return status;
}

static mmh_status run_consume(void *context, size_t job, mmh_error *err)
{
    struct mmh_restoring *restoring = context;
    const struct run run = run_find(restoring, job);
    struct mmh_restore_slot *slot = &restoring->slots[job % restoring->window];
    const struct mmh_index *index = &restoring->reader->container.index;
    const struct mmh_block_entry *block = &index->blocks[run.block];
    const struct mmh_file_record *record = &index->files[block->file].record;
    mmh_status status = MMH_OK;
    restoring->context->state.name = record->name;
    if (restoring->descriptor_output)
        status = mmh_output_append(restoring->outputs[0], slot->data, (size_t)run.bytes, err);
    if (status == MMH_OK && restoring->digests)
        status = check_empty_before(restoring, block->file, err);
    if (slot->damaged)
        run_tell_damage(restoring, &run, slot);
    if (slot->unknown.status)
        mmh_damages_unknown(restoring->damages, &slot->unknown);
    if (slot->damaged || slot->unknown.status)
        digest_forget(restoring, block->file);
    if (slot->failure.status && status == MMH_OK)
        return mmh_fail(err, slot->failure.status, "%s", slot->failure.message);
    if (status != MMH_OK || !restoring->digests || restoring->lost_file == block->file + 1)
        return status;
    if (!restoring->digest_open) {
        restoring->file = block->file;
        status = mmh_digest_init(restoring->digest, restoring->reader->container.hash_suite,
                                 record->bytes, err);
        restoring->digest_open = status == MMH_OK;
    }
    if (status == MMH_OK)
        status = mmh_digest_add(restoring->digest, slot->data, (size_t)run.bytes, slot->hashes,
                                err);
    if (status == MMH_OK && restoring->digest->position == record->bytes)
        status = digest_compare(restoring, err);
    return status;
}

mmh_status mmh_restore_files(struct mmh_restoring *restoring, uint64_t first, uint64_t end,
                             mmh_error *err)
{
    const struct mmh_index *index = &restoring->reader->container.index;
    const mmh_allocator *allocator = restoring->context->allocator;
    uint64_t count = 0;
    restoring->block_count = 0;
    for (uint64_t f = first; f < end; f++) {
        if (!restoring->block_count)
            restoring->first_block = index->files[f].first_block;
        restoring->block_count += index->files[f].record.block_count;
    }
    restoring->runs_before = mmh_alloc_array(allocator, (size_t)restoring->block_count + 1,
                                             sizeof *restoring->runs_before);
    if (!restoring->runs_before)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for %" PRIu64 " blocks",
                        restoring->block_count);
    for (uint64_t b = 0; b < restoring->block_count; b++) {
        const struct mmh_block_entry *block = &index->blocks[restoring->first_block + b];
        count += mmh_divide_up(mmh_divide_up(block->bytes, block->chunk_bytes), run_chunks(block));
        restoring->runs_before[b + 1] = count;
    }
    restoring->next_file = first;
    mmh_status status = mmh_pool_ordered(restoring->context->pool, (size_t)count, restoring->window,
                                         run_produce, run_consume, restoring, err);
    if (status == MMH_OK && restoring->digests)
        status = check_empty_before(restoring, end, err);
    mmh_free(allocator, restoring->runs_before);
    restoring->runs_before = NULL;
    return status;
}

mmh_status mmh_restoring_init(struct mmh_restoring *restoring, mmh_error *err)
{
    mmh_context *context = restoring->context;
    restoring->window = mmh_pool_window(context->pool);
    mmh_reader_scan(restoring->reader, true);
    restoring->slots = mmh_alloc_array(context->allocator, restoring->window,
                                       sizeof *restoring->slots);
    restoring->digest = mmh_alloc(context->allocator, 64, sizeof *restoring->digest);
    if (!restoring->slots || !restoring->digest)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to unpack");
    return MMH_OK;
}

void mmh_restoring_release(struct mmh_restoring *restoring)
{
    const mmh_allocator *allocator = restoring->context->allocator;
    if (restoring->digest_open)
        mmh_digest_abandon(restoring->digest);
    for (size_t i = 0; restoring->slots && i < restoring->window; i++) {
        mmh_free(allocator, restoring->slots[i].data);
        mmh_free(allocator, restoring->slots[i].hashes);
        mmh_free(allocator, restoring->slots[i].bad);
    }
    mmh_free(allocator, restoring->slots);
    mmh_free(allocator, restoring->digest);
}

/* ---- what unpack and verify ask of a whole container ---- */

mmh_status mmh_restore_check_limit(const struct mmh_restoring *restoring, mmh_error *err)
{
    const mmh_reader *reader = restoring->reader;
    uint64_t limit = restoring->context->limits.output_bytes;
    if (limit && reader->original_bytes > limit)
        return mmh_fail(err, MMH_E_LIMIT,
                        "%s holds %" PRIu64 " bytes unpacked, over the limit of %" PRIu64,
                        mmh_input_name(reader->input), reader->original_bytes, limit);
    return MMH_OK;
}

mmh_status mmh_restore_check_links(const struct mmh_restoring *restoring, mmh_error *err)
{
    const mmh_reader *reader = restoring->reader;
    const struct mmh_index *index = &reader->container.index;
    for (uint64_t i = 0; i < index->file_count; i++) {
        const struct mmh_file_record *record = &index->files[i].record;
        if (record->kind == MMH_FILE_SYMLINK &&
            !mmh_target_stays_inside(record->name, record->target))
            return mmh_fail(err, MMH_E_CORRUPT, "%s: symlink \"%s\" points outside: \"%s\"",
                            mmh_input_name(reader->input), record->name, record->target);
    }
    return MMH_OK;
}

void mmh_restore_report(mmh_unpack_report *report, const struct mmh_restoring *restoring,
                        uint64_t begin_ns, uint64_t sync_ns)
{
    const struct mmh_stage_times *times = &restoring->context->times;
    const mmh_reader *reader = restoring->reader;
    mmh_unpack_report done = {
        .original_bytes = reader->original_bytes,
        .stored_bytes = reader->container.container_bytes,
        .file_count = reader->container.index.file_count,
        .chunk_count = reader->container.index.chunk_count,
        .mended = mmh_reader_mended(reader),
        .mended_chunks = reader->mended_chunks,
        .encrypted = reader->container.aead_suite != MMH_AEAD_NONE,
        .read_ns = times->read_ns,
        .hash_ns = times->hash_ns,
        .decode_ns = times->decode_ns,
        .write_ns = times->write_ns,
        .sync_ns = sync_ns,
        .open_ns = times->open_ns,
        .unseal_ns = times->unseal_ns,
        .wall_ns = mmh_clock_ns() - begin_ns,
    };
    if (restoring->damages) {
        done.damaged_chunks = restoring->damages->chunks;
        done.damaged_bytes = restoring->damages->bytes;
    }
    mmh_report_copy(report, &done, sizeof done);
}
