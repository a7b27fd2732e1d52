/*
 * Unpack and verify: one pipeline; runs of chunks are fetched, checked and decoded by workers.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "engine/place.h"
#include "integrity/digest.h"

enum {
    RUN_BYTES = 16 << 20, /* decoded bytes of one job */
    FILES_AT_ONCE = 64    /* outputs that are open at a time */
};

/* Consecutive chunks of one block. */
struct run {
    uint64_t block;
    uint64_t first, count; /* chunks of the block */
    uint64_t bytes;        /* decoded */
};

/* What a run leaves for the ordered side, when digests are compared. */
struct slot {
    uint8_t *data, *hashes;
    size_t data_room, hashes_room;
};

struct restoring {
    mmh_context *context;
    mmh_reader *reader;
    bool digests;                      /* compare content digests */
    bool write;                        /* restore; else only check */
    int descriptor_output;             /* outputs[0] takes appends, in order */
    uint64_t first_block, block_count; /* of the files being restored */
    uint64_t *runs_before;             /* [block_count + 1] runs of the blocks before each */
    struct slot *slots;
    size_t window;
    uint64_t first_file; /* of the group being restored */
    mmh_output *outputs[FILES_AT_ONCE];
    /* the ordered side */
    mmh_digest *digest;
    bool digest_open;
    uint64_t file;
};

/* ---- jobs ---- */

/* Chunks of one run of a block. */
static uint64_t run_chunks(const struct mmh_block_entry *block)
{
    return MMH_MAX(RUN_BYTES / block->chunk_bytes, UINT64_C(1));
}

/* Run number `job`: runs are not listed, as a small container may claim a great many. */
static struct run run_find(const struct restoring *restoring, size_t job)
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

static mmh_output *file_output(struct restoring *restoring, uint64_t file)
{
    return restoring->outputs[file - restoring->first_file];
}

static mmh_status slot_room(struct restoring *restoring, uint8_t **buffer, size_t *room,
                            size_t bytes, mmh_error *err)
{
    if (*room >= bytes && *buffer)
        return MMH_OK;
    mmh_free(restoring->context->allocator, *buffer);
    *room = 0;
    *buffer = mmh_alloc(restoring->context->allocator, 64, bytes);
    if (!*buffer)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for %zu bytes", bytes);
    *room = bytes;
    return MMH_OK;
}

/*
 * Decode a run. Where nobody needs the bytes afterwards, each chunk goes through the same small
 * buffer, which stays in the cache until the chunk has been written.
 */
static mmh_status run_produce(void *context, size_t job, unsigned worker_index, mmh_error *err)
{
    struct restoring *restoring = context;
    mmh_reader *reader = restoring->reader;
    struct mmh_stage_times *times = &restoring->context->times;
    struct mmh_worker *worker = &restoring->context->workers[worker_index];
    const struct run run = run_find(restoring, job);
    const struct mmh_block_entry *block = &reader->container.index.blocks[run.block];
    uint64_t begin = block->file_offset + run.first * block->chunk_bytes, done = 0;
    bool keep = restoring->digests || restoring->descriptor_output;
    struct slot *slot = &restoring->slots[job % restoring->window];
    mmh_model *model = NULL;

    mmh_status status = mmh_worker_room(restoring->context, worker, 0,
                                        keep ? 0 : block->chunk_bytes, err);
    if (status == MMH_OK && keep)
        status = slot_room(restoring, &slot->data, &slot->data_room, (size_t)run.bytes, err);
    if (status == MMH_OK)
        status = mmh_reader_model(reader, worker, run.block, &model, err);
    for (uint64_t i = 0; i < run.count && status == MMH_OK; i++) {
        uint8_t *dst = keep ? slot->data + done : worker->decoded;
        size_t bytes;
        status = mmh_reader_chunk(reader, worker, run.block, run.first + i, model, dst, &bytes,
                                  false, err);
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
    if (status == MMH_OK && restoring->digests) {
        uint64_t clock = mmh_clock_ns();
        uint64_t file_bytes = reader->container.index.files[block->file].record.bytes;
        size_t slices = mmh_slices_inside(begin, (size_t)run.bytes, file_bytes);
        status = slot_room(restoring, &slot->hashes, &slot->hashes_room, slices * MMH_HASH_BYTES,
                           err);
        if (status == MMH_OK)
            status = mmh_slices_hash(slot->hashes, reader->container.hash_suite, slot->data, begin,
                                     (size_t)run.bytes, file_bytes, err);
        mmh_stage_add(&times->hash_ns, clock);
    }
    return status;
}

/* Compare the digest of the file that has just been completed. */
static mmh_status digest_compare(struct restoring *restoring, mmh_error *err)
{
    const struct mmh_file_record *record =
        &restoring->reader->container.index.files[restoring->file].record;
    uint8_t digest[MMH_HASH_BYTES];
    restoring->digest_open = false;
    mmh_status status = mmh_digest_final(restoring->digest, digest, err);
    if (status == MMH_OK && memcmp(digest, record->digest, sizeof digest) != 0)
        status = mmh_fail(err, MMH_E_CORRUPT, "%s: \"%s\" decodes to other content than was packed",
                          mmh_input_name(restoring->reader->input), record->name);
    return status;
}

static mmh_status run_consume(void *context, size_t job, mmh_error *err)
{
    struct restoring *restoring = context;
    const struct run run = run_find(restoring, job);
    struct slot *slot = &restoring->slots[job % restoring->window];
    const struct mmh_index *index = &restoring->reader->container.index;
    const struct mmh_block_entry *block = &index->blocks[run.block];
    const struct mmh_file_record *record = &index->files[block->file].record;
    mmh_status status = MMH_OK;
    restoring->context->state.name = record->name;
    if (restoring->descriptor_output)
        status = mmh_output_append(restoring->outputs[0], slot->data, (size_t)run.bytes, err);
    if (status != MMH_OK || !restoring->digests)
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

/* The digest of an empty file is that of no slices. */
static mmh_status check_empty(struct restoring *restoring, uint64_t file, mmh_error *err)
{
    restoring->file = file;
    mmh_status status = mmh_digest_init(restoring->digest, restoring->reader->container.hash_suite,
                                        0, err);
    return status == MMH_OK ? digest_compare(restoring, err) : status;
}

/* Restore or check the contents of the regular files [first, end). */
static mmh_status restore_files(struct restoring *restoring, uint64_t first, uint64_t end,
                                mmh_error *err)
{
    const struct mmh_index *index = &restoring->reader->container.index;
    const mmh_allocator *allocator = restoring->context->allocator;
    uint64_t count = 0;
    mmh_status status = MMH_OK;
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
    for (uint64_t f = first; f < end && restoring->digests && status == MMH_OK; f++)
        if (index->files[f].record.kind == MMH_FILE_REGULAR && !index->files[f].record.bytes)
            status = check_empty(restoring, f, err);
    if (status == MMH_OK)
        status = mmh_pool_ordered(restoring->context->pool, (size_t)count, restoring->window,
                                  run_produce, run_consume, restoring, err);
    mmh_free(allocator, restoring->runs_before);
    restoring->runs_before = NULL;
    return status;
}

static mmh_status restoring_init(struct restoring *restoring, mmh_context *context,
                                 mmh_reader *reader, mmh_error *err)
{
    restoring->context = context;
    restoring->reader = reader;
    restoring->window = mmh_pool_window(context->pool);
    restoring->slots = mmh_alloc_array(context->allocator, restoring->window,
                                       sizeof *restoring->slots);
    restoring->digest = mmh_alloc(context->allocator, 64, sizeof *restoring->digest);
    if (!restoring->slots || !restoring->digest)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to unpack");
    return MMH_OK;
}

static void restoring_release(struct restoring *restoring)
{
    const mmh_allocator *allocator = restoring->context->allocator;
    if (restoring->digest_open)
        mmh_digest_abandon(restoring->digest);
    for (size_t i = 0; restoring->slots && i < restoring->window; i++) {
        mmh_free(allocator, restoring->slots[i].data);
        mmh_free(allocator, restoring->slots[i].hashes);
    }
    mmh_free(allocator, restoring->slots);
    mmh_free(allocator, restoring->digest);
}

static mmh_status check_output_limit(const mmh_context *context, const mmh_reader *reader,
                                     mmh_error *err)
{
    uint64_t limit = context->limits.output_bytes;
    if (limit && reader->original_bytes > limit)
        return mmh_fail(err, MMH_E_LIMIT,
                        "%s holds %" PRIu64 " bytes unpacked, over the limit of %" PRIu64,
                        mmh_input_name(reader->input), reader->original_bytes, limit);
    return MMH_OK;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* No name is one that some system would take for something else, unless the caller wants any. */
static mmh_status check_names(const struct restoring *restoring, const mmh_unpack_options *options,
                              mmh_error *err)
{
    const struct mmh_index *index = &restoring->reader->container.index;
    const mmh_allocator *allocator = restoring->context->allocator;
    struct mmh_odd_names odd;
    char text[400];
    if (options->any_names)
        return MMH_OK;
    const char **names = mmh_alloc_array(allocator, (size_t)index->file_count, sizeof *names);
    if (!names)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for %" PRIu64 " names", index->file_count);
    for (uint64_t i = 0; i < index->file_count; i++)
        names[i] = index->files[i].record.name;
    mmh_names_look(&odd, names, (size_t)index->file_count);
    mmh_free(allocator, names);
    if (!odd.count)
        return MMH_OK;
    mmh_odd_name_text(text, sizeof text, &odd);
    return mmh_fail(err, MMH_E_USAGE, "%s", text);
}

/* ---- one file ---- */

static mmh_status only_file(const mmh_reader *reader, uint64_t *file, mmh_error *err)
{
    const struct mmh_index *index = &reader->container.index;
    if (index->file_count != 1 || index->files[0].record.kind != MMH_FILE_REGULAR)
        return mmh_fail(err, MMH_E_USAGE,
                        "the container holds %" PRIu64 " entries; unpack it to a folder",
                        index->file_count);
    *file = 0;
    return MMH_OK;
}

/* Restore file number `file` to an output that the caller commits. */
static mmh_status restore_one(struct restoring *restoring, uint64_t file, mmh_output *output,
                              mmh_error *err)
{
    const struct mmh_file_record *record = &restoring->reader->container.index.files[file].record;
    restoring->first_file = file;
    restoring->outputs[0] = output;
    mmh_status status = MMH_OK;
    if (!restoring->descriptor_output)
        status = mmh_output_resize(output, record->bytes, err);
    if (status == MMH_OK)
        status = restore_files(restoring, file, file + 1, err);
    if (status == MMH_OK && record->has_time && !restoring->descriptor_output)
        status = mmh_output_set_mtime(output, record->time_seconds, 0, err);
    return status;
}

static mmh_status commit(mmh_context *context, mmh_output *output, bool sync, uint64_t *sync_ns,
                         mmh_error *err)
{
    (void)context;
    uint64_t clock = mmh_clock_ns();
    mmh_status status = sync ? mmh_output_commit(output, err)
                             : mmh_output_commit_unsynced(output, err);
    *sync_ns += mmh_clock_ns() - clock;
    return status;
}

static mmh_status unpack_file(struct restoring *restoring, const char *path,
                              const mmh_unpack_options *options, uint64_t *sync_ns, mmh_error *err)
{
    uint64_t file;
    mmh_output *output = NULL;
    mmh_status status = only_file(restoring->reader, &file, err);
    if (status != MMH_OK)
        return status;
    const struct mmh_file_record *record = &restoring->reader->container.index.files[file].record;
    struct mmh_path_info info;
    status = mmh_path_stat(&info, path, false, err);
    if (status == MMH_OK && info.kind != MMH_PATH_NONE && !options->overwrite)
        return mmh_fail(err, MMH_E_USAGE, "\"%s\" exists", path);
    const struct mmh_path_info *self = mmh_input_info(restoring->reader->input);
    if (status == MMH_OK && info.kind == MMH_PATH_FILE && info.device == self->device &&
        info.inode == self->inode)
        return mmh_fail(err, MMH_E_USAGE, "\"%s\" would replace the container that it is in", path);
    struct mmh_output_options out = { .overwrite = options->overwrite,
                                      .sweep = true,
                                      .mode = record->mode & MMH_MODE_KEPT };
    if (status == MMH_OK && strcmp(last_part(path), last_part(record->name)) == 0)
        status = check_names(restoring, options, err);
    if (status == MMH_OK)
        status = mmh_output_create(&output, path, &out, restoring->context->allocator, err);
    if (status == MMH_OK)
        status = restore_one(restoring, file, output, err);
    if (status == MMH_OK)
        status = commit(restoring->context, output, options->sync, sync_ns, err);
    mmh_output_close(output);
    return status;
}

/* ---- folders ---- */

bool mmh_target_stays_inside(const char *name, const char *target)
{
    if (target[0] == '/' || !target[0])
        return false;
    long depth = 0;
    bool named = false;
    for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/'))
        depth++;
    for (const char *part = target; *part;) {
        size_t length = strcspn(part, "/");
        bool up = length == 2 && part[0] == '.' && part[1] == '.';
        if (up)
            depth--;
        else if (length && !(length == 1 && part[0] == '.'))
            named = true;
        /* What has a name may be a link itself, and its ".." somewhere else. */
        if (depth < 0 || (up && named))
            return false;
        part += length;
        part += *part == '/';
    }
    return true;
}

/* No symlink leads outside. */
static mmh_status check_symlinks(const mmh_reader *reader, mmh_error *err)
{
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

/* Contents of all regular files, into the staging folder; a group of outputs at a time. */
static mmh_status stage_files(struct restoring *restoring, const mmh_folder *folder,
                              const char *staging, const mmh_unpack_options *options,
                              uint64_t *sync_ns, mmh_error *err)
{
    const struct mmh_index *index = &restoring->reader->container.index;
    mmh_status status = MMH_OK;
    for (uint64_t first = 0; first < index->file_count && status == MMH_OK;
         first += FILES_AT_ONCE) {
        uint64_t end = first + FILES_AT_ONCE < index->file_count ? first + FILES_AT_ONCE
                                                                 : index->file_count;
        memset(restoring->outputs, 0, sizeof restoring->outputs);
        restoring->first_file = first;
        for (uint64_t i = first; i < end && status == MMH_OK; i++) {
            const struct mmh_file_record *record = &index->files[i].record;
            if (record->kind != MMH_FILE_REGULAR)
                continue;
            char name[64];
            mmh_place_staged_name(name, staging, i);
            struct mmh_output_options out = { .mode = record->mode & MMH_MODE_KEPT };
            mmh_output **output = &restoring->outputs[i - first];
            status = mmh_output_create_beneath(output, folder, name, &out,
                                               restoring->context->allocator, err);
            if (status == MMH_OK)
                status = mmh_output_resize(*output, record->bytes, err);
        }
        if (status == MMH_OK)
            status = restore_files(restoring, first, end, err);
        for (uint64_t i = first; i < end; i++) {
            const struct mmh_file_record *record = &index->files[i].record;
            mmh_output *output = restoring->outputs[i - first];
            if (output && status == MMH_OK && record->has_time)
                status = mmh_output_set_mtime(output, record->time_seconds, 0, err);
            if (output && status == MMH_OK)
                status = commit(restoring->context, output, options->sync, sync_ns, err);
            mmh_output_close(output);
        }
    }
    return status;
}

static mmh_status unpack_folder(struct restoring *restoring, const char *path,
                                const mmh_unpack_options *options, uint64_t *sync_ns,
                                mmh_error *err)
{
    const struct mmh_index *index = &restoring->reader->container.index;
    const mmh_allocator *allocator = restoring->context->allocator;
    mmh_folder *folder = NULL, *stage = NULL;
    struct mmh_placed *placed = NULL;
    struct mmh_path_info info;
    char staging[MMH_STAGING_BYTES];
    size_t existing = mmh_place_existing_bytes(path);

    mmh_status status = mmh_path_stat(&info, path, true, err);
    if (status == MMH_OK && info.kind != MMH_PATH_NONE && info.kind != MMH_PATH_FOLDER)
        status = mmh_fail(err, MMH_E_USAGE, "\"%s\" exists and is no folder", path);
    bool created = status == MMH_OK && info.kind == MMH_PATH_NONE;
    if (status == MMH_OK)
        status = check_symlinks(restoring->reader, err);
    if (status == MMH_OK)
        status = check_names(restoring, options, err);
    if (status != MMH_OK)
        return status;
    placed = mmh_alloc_array(allocator, (size_t)index->file_count, sizeof *placed);
    if (!placed)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to unpack %" PRIu64 " files",
                        index->file_count);
    status = mmh_folder_open(&folder, path, true, allocator, err);
    if (status == MMH_OK) {
        mmh_folder_sweep(folder);
        status = mmh_place_check(folder, restoring->reader, options->overwrite, err);
    }
    if (status == MMH_OK)
        status = mmh_place_check_room(folder, path, restoring->reader, err);
    if (status == MMH_OK)
        status = mmh_folder_stage(&stage, staging, folder, err);
    if (status == MMH_OK)
        status = stage_files(restoring, folder, staging, options, sync_ns, err);
    if (status == MMH_OK) { /* one process at a time: each sees all that another has placed */
        mmh_folder_lock(folder);
        status = mmh_place_check(folder, restoring->reader, options->overwrite, err);
    }
    if (status == MMH_OK)
        status = mmh_place_files(folder, staging, index, options->overwrite, created, placed, err);
    if (status == MMH_OK && options->sync) {
        uint64_t clock = mmh_clock_ns();
        status = mmh_folder_sync(folder, err);
        *sync_ns += mmh_clock_ns() - clock;
    }
    if (status != MMH_OK && stage)
        mmh_place_undo(folder, staging, index, placed);
    if (stage)
        mmh_place_remove_staged(folder, staging, index);
    mmh_folder_close(stage);
    mmh_folder_close(folder);
    mmh_free(allocator, placed);
    if (status != MMH_OK && created)
        mmh_place_remove_made(path, existing);
    return status;
}

/* ---- the calls ---- */

static void fill_report(mmh_unpack_report *report, const mmh_context *context,
                        const mmh_reader *reader, uint64_t begin_ns, uint64_t sync_ns)
{
    const struct mmh_stage_times *times = &context->times;
    mmh_unpack_report done = {
        .original_bytes = reader->original_bytes,
        .stored_bytes = reader->container.container_bytes,
        .file_count = reader->container.index.file_count,
        .chunk_count = reader->container.index.chunk_count,
        .mended = reader->container.mended,
        .read_ns = times->read_ns,
        .hash_ns = times->hash_ns,
        .decode_ns = times->decode_ns,
        .write_ns = times->write_ns,
        .sync_ns = sync_ns,
        .wall_ns = mmh_clock_ns() - begin_ns,
    };
    mmh_report_copy(report, &done, sizeof done);
}

static mmh_status unpack_to(mmh_context *context, const char *container, const char *destination,
                            int descriptor, const mmh_unpack_options *given,
                            mmh_unpack_report *report, mmh_error *err)
{
    mmh_unpack_options options = { 0 };
    mmh_options_copy(&options, sizeof options, given);
    mmh_reader *reader;
    uint64_t begin = mmh_clock_ns(), sync_ns = 0;
    mmh_context_begin(context, "unpack", 0);
    mmh_status status = mmh_reader_open(context, container, false, &reader, err);
    if (status != MMH_OK)
        return status;
    struct restoring restoring = { .write = true, .digests = !options.skip_digests };
    context->state.total_bytes = reader->original_bytes;
    status = check_output_limit(context, reader, err);
    if (status == MMH_OK)
        status = restoring_init(&restoring, context, reader, err);
    else
        restoring.context = context;
    if (status == MMH_OK && !destination) {
        uint64_t file;
        mmh_output *output = NULL;
        restoring.descriptor_output = 1;
        status = only_file(reader, &file, err);
        if (status == MMH_OK)
            status = mmh_output_open_descriptor(&output, descriptor, "output", context->allocator,
                                                err);
        if (status == MMH_OK)
            status = restore_one(&restoring, file, output, err);
        if (status == MMH_OK)
            status = mmh_output_commit(output, err);
        mmh_output_close(output);
    } else if (status == MMH_OK && options.as_file) {
        status = unpack_file(&restoring, destination, &options, &sync_ns, err);
    } else if (status == MMH_OK) {
        status = unpack_folder(&restoring, destination, &options, &sync_ns, err);
    }
    fill_report(report, context, reader, begin, sync_ns);
    mmh_context_end(context, status);
    restoring_release(&restoring);
    mmh_close(reader);
    return status;
}

mmh_status mmh_unpack(mmh_context *context, const char *container, const char *destination,
                      const mmh_unpack_options *options, mmh_unpack_report *report, mmh_error *err)
{
    return unpack_to(context, container, destination, -1, options, report, err);
}

mmh_status mmh_unpack_to_descriptor(mmh_context *context, const char *container, int descriptor,
                                    const mmh_unpack_options *options, mmh_unpack_report *report,
                                    mmh_error *err)
{
    return unpack_to(context, container, NULL, descriptor, options, report, err);
}

/* Chunks that no block names (a container may hold them) and stored bytes only. */
struct quick_check {
    mmh_context *context;
    mmh_reader *reader;
};

static mmh_status quick_chunk(void *context, size_t job, unsigned worker_index, mmh_error *err)
{
    struct quick_check *check = context;
    struct mmh_worker *worker = &check->context->workers[worker_index];
    mmh_error local = { 0 };
    mmh_status status = mmh_reader_fetch(check->reader, worker, job, &local);
    if (status == MMH_E_CORRUPT)
        status = mmh_fail(err, status, "%s: %s", mmh_input_name(check->reader->input),
                          local.message);
    else if (status != MMH_OK)
        status = mmh_fail(err, status, "%s", local.message);
    atomic_fetch_add(&check->context->done_bytes, check->reader->container.index.chunks[job].bytes);
    return status;
}

/* Chunks that no block names: nothing decodes them, but their bytes have hashes too. */
static mmh_status check_unnamed(mmh_context *context, mmh_reader *reader, mmh_error *err)
{
    const struct mmh_index *index = &reader->container.index;
    uint8_t *named = mmh_alloc_array(context->allocator, (size_t)index->chunk_count, 1);
    if (!named)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to check %" PRIu64 " chunks",
                        index->chunk_count);
    for (uint64_t i = 0; i < index->ref_count; i++)
        named[index->refs[i]] = 1;
    for (uint64_t i = 0; i < index->block_count; i++)
        if (index->blocks[i].has_model)
            named[index->blocks[i].model] = 1;
    mmh_status status = MMH_OK;
    for (uint64_t i = 0; i < index->chunk_count && status == MMH_OK; i++)
        if (!named[i])
            status = mmh_reader_fetch(reader, &context->workers[0], i, err);
    mmh_free(context->allocator, named);
    return status;
}

/* The bytes between chunks mean nothing and no hash covers them, but they were written as zeros: note
 * it if they are not. */
static mmh_status check_padding(mmh_reader *reader, mmh_error *err)
{
    const struct mmh_index *index = &reader->container.index;
    uint64_t at = MMH_CHUNKS_BEGIN;
    for (uint64_t i = 0; i <= index->chunk_count; i++) {
        uint64_t next = i < index->chunk_count ? index->chunks[i].offset
                                               : reader->container.index_offset;
        if (i == index->chunk_count && next - at >= MMH_SMALL_ALIGNMENT)
            break; /* what a trailer was added behind: old indexes and footers */
        while (at < next) {
            uint8_t gap[4096], any = 0;
            size_t bytes = next - at < sizeof gap ? (size_t)(next - at) : sizeof gap;
            mmh_status status = mmh_input_read(reader->input, gap, at, bytes, err);
            if (status != MMH_OK)
                return status;
            for (size_t b = 0; b < bytes; b++)
                any |= gap[b];
            if (any)
                reader->container.mended |= MMH_PADDING_DAMAGED;
            at += bytes;
        }
        if (i < index->chunk_count)
            at = index->chunks[i].offset + index->chunks[i].bytes;
    }
    return MMH_OK;
}

mmh_status mmh_verify(mmh_context *context, const char *container, const mmh_verify_options *given,
                      mmh_unpack_report *report, mmh_error *err)
{
    mmh_verify_options options = { 0 };
    mmh_options_copy(&options, sizeof options, given);
    mmh_reader *reader;
    uint64_t begin = mmh_clock_ns();
    mmh_context_begin(context, "verify", 0);
    mmh_status status = mmh_reader_open(context, container, true, &reader, err);
    if (status != MMH_OK)
        return status;
    struct restoring restoring = { .digests = true, .context = context };
    if (options.quick) {
        struct quick_check check = { context, reader };
        context->state.total_bytes = reader->container.container_bytes;
        status = mmh_pool_run(context->pool, (size_t)reader->container.index.chunk_count,
                              quick_chunk, &check, err);
    } else {
        context->state.total_bytes = reader->original_bytes;
        status = check_output_limit(context, reader, err);
        if (status == MMH_OK)
            status = check_symlinks(reader, err);
        if (status == MMH_OK)
            status = restoring_init(&restoring, context, reader, err);
        if (status == MMH_OK)
            status = restore_files(&restoring, 0, reader->container.index.file_count, err);
        if (status == MMH_OK)
            status = check_unnamed(context, reader, err);
    }
    if (status == MMH_OK)
        status = check_padding(reader, err);
    if (status == MMH_E_CORRUPT) /* chunks have no second copy, whatever else could be mended */
        reader->container.mended = 0;
    /* Verify never mends: what unpack would have mended is damage all the same. */
    fill_report(report, context, reader, begin, 0);
    if (status == MMH_OK && reader->container.mended) {
        unsigned mended = reader->container.mended;
        status = mmh_fail(err, MMH_E_CORRUPT, "%s: damaged, and can be restored:%s%s%s%s%s",
                          container, mended & MMH_MENDED_HEADER ? " header" : "",
                          mended & MMH_MENDED_INDEX ? " index" : "",
                          mended & MMH_MENDED_FOOTER ? " footer" : "",
                          mended & MMH_SPARE_DAMAGED ? " spare copy" : "",
                          mended & MMH_PADDING_DAMAGED ? " padding" : "");
    }
    mmh_context_end(context, status);
    restoring_release(&restoring);
    mmh_close(reader);
    return status;
}
