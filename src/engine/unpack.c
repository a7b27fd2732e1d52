/*
 * Unpack and verify: one pipeline; runs of chunks are fetched, checked and decoded by workers.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "engine/engine.h"
#include "integrity/digest.h"

enum {
    RUN_BYTES = 16 << 20, /* decoded bytes of one job */
    FILES_AT_ONCE = 64,   /* outputs that are open at a time */
    MODE_KEPT = 0777      /* no container makes a file run as somebody else */
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
    bool digests;          /* compare content digests */
    bool write;            /* restore; else only check */
    int descriptor_output; /* outputs[0] takes appends, in order */
    struct run *runs;
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
    const struct run *run = &restoring->runs[job];
    const struct mmh_block_entry *block = &reader->container.index.blocks[run->block];
    uint64_t begin = block->file_offset + run->first * block->chunk_bytes, done = 0;
    bool keep = restoring->digests || restoring->descriptor_output;
    struct slot *slot = &restoring->slots[job % restoring->window];
    mmh_model *model = NULL;

    mmh_status status = mmh_worker_room(restoring->context, worker, 0,
                                        keep ? 0 : block->chunk_bytes, err);
    if (status == MMH_OK && keep)
        status = slot_room(restoring, &slot->data, &slot->data_room, (size_t)run->bytes, err);
    if (status == MMH_OK)
        status = mmh_reader_model(reader, worker, run->block, &model, err);
    for (uint64_t i = 0; i < run->count && status == MMH_OK; i++) {
        uint8_t *dst = keep ? slot->data + done : worker->decoded;
        size_t bytes;
        status = mmh_reader_chunk(reader, worker, run->block, run->first + i, model, dst, &bytes,
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
        size_t slices = mmh_slices_inside(begin, (size_t)run->bytes, file_bytes);
        status = slot_room(restoring, &slot->hashes, &slot->hashes_room, slices * MMH_HASH_BYTES,
                           err);
        if (status == MMH_OK)
            status = mmh_slices_hash(slot->hashes, reader->container.hash_suite, slot->data, begin,
                                     (size_t)run->bytes, file_bytes, err);
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
        status = mmh_fail(err, MMH_E_CORRUPT, "\"%s\" decodes to other content than was packed",
                          record->name);
    return status;
}

static mmh_status run_consume(void *context, size_t job, mmh_error *err)
{
    struct restoring *restoring = context;
    const struct run *run = &restoring->runs[job];
    struct slot *slot = &restoring->slots[job % restoring->window];
    const struct mmh_index *index = &restoring->reader->container.index;
    const struct mmh_block_entry *block = &index->blocks[run->block];
    const struct mmh_file_record *record = &index->files[block->file].record;
    mmh_status status = MMH_OK;
    restoring->context->state.name = record->name;
    if (restoring->descriptor_output)
        status = mmh_output_append(restoring->outputs[0], slot->data, (size_t)run->bytes, err);
    if (status != MMH_OK || !restoring->digests)
        return status;
    if (!restoring->digest_open) {
        restoring->file = block->file;
        status = mmh_digest_init(restoring->digest, restoring->reader->container.hash_suite,
                                 record->bytes, err);
        restoring->digest_open = status == MMH_OK;
    }
    if (status == MMH_OK)
        status = mmh_digest_add(restoring->digest, slot->data, (size_t)run->bytes, slot->hashes,
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
    size_t count = 0, at = 0;
    mmh_status status = MMH_OK;
    for (int pass = 0; pass < 2; pass++) { /* count, then fill in */
        for (uint64_t f = first; f < end; f++) {
            const struct mmh_file_entry *file = &index->files[f];
            for (uint64_t b = 0; b < file->record.block_count; b++) {
                const struct mmh_block_entry *block = &index->blocks[file->first_block + b];
                uint64_t chunks = mmh_divide_up(block->bytes, block->chunk_bytes);
                uint64_t each = RUN_BYTES / block->chunk_bytes ? RUN_BYTES / block->chunk_bytes : 1;
                for (uint64_t c = 0; c < chunks; c += each, at++) {
                    if (!pass) {
                        count++;
                        continue;
                    }
                    struct run *run = &restoring->runs[at];
                    run->block = file->first_block + b;
                    run->first = c;
                    run->count = chunks - c < each ? chunks - c : each;
                    uint64_t left = block->bytes - c * block->chunk_bytes;
                    run->bytes = left < run->count * block->chunk_bytes
                                   ? left
                                   : run->count * block->chunk_bytes;
                }
            }
        }
        at = 0;
        if (!pass) {
            restoring->runs = mmh_alloc_array(allocator, count, sizeof *restoring->runs);
            if (!restoring->runs)
                return mmh_fail(err, MMH_E_MEMORY, "no memory for %zu jobs", count);
        }
    }
    for (uint64_t f = first; f < end && restoring->digests && status == MMH_OK; f++)
        if (index->files[f].record.kind == MMH_FILE_REGULAR && !index->files[f].record.bytes)
            status = check_empty(restoring, f, err);
    if (status == MMH_OK)
        status = mmh_pool_ordered(restoring->context->pool, count, restoring->window, run_produce,
                                  run_consume, restoring, err);
    mmh_free(allocator, restoring->runs);
    restoring->runs = NULL;
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
        return mmh_fail(err, MMH_E_LIMIT, "%" PRIu64 " bytes would be over the limit of %" PRIu64,
                        reader->original_bytes, limit);
    return MMH_OK;
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
    struct mmh_output_options out = { .overwrite = options->overwrite,
                                      .mode = record->mode & MODE_KEPT };
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
static mmh_status check_symlinks(const struct mmh_index *index, mmh_error *err)
{
    for (uint64_t i = 0; i < index->file_count; i++) {
        const struct mmh_file_record *record = &index->files[i].record;
        if (record->kind == MMH_FILE_SYMLINK &&
            !mmh_target_stays_inside(record->name, record->target))
            return mmh_fail(err, MMH_E_CORRUPT, "symlink \"%s\" points outside: \"%s\"",
                            record->name, record->target);
    }
    return MMH_OK;
}

/* Nothing that exists is in the way: before any work is done. */
static mmh_status check_destination(const mmh_folder *folder, const struct mmh_index *index,
                                    bool overwrite, mmh_error *err)
{
    for (uint64_t i = 0; i < index->file_count; i++) {
        const struct mmh_file_record *record = &index->files[i].record;
        if (strcmp(record->name, ".") == 0)
            continue;
        struct mmh_path_info info;
        mmh_status status = mmh_folder_stat(&info, folder, record->name, err);
        if (status != MMH_OK)
            return status;
        if (info.kind == MMH_PATH_NONE ||
            (info.kind == MMH_PATH_FOLDER && record->kind == MMH_FILE_FOLDER))
            continue;
        if (!overwrite || info.kind == MMH_PATH_FOLDER || record->kind == MMH_FILE_FOLDER)
            return mmh_fail(err, MMH_E_USAGE, "\"%s\" exists in the destination", record->name);
    }
    return MMH_OK;
}

/* Staged files are called by their number. */
static void staged_name(char name[64], const char *staging, uint64_t file)
{
    size_t length = strlen(staging);
    memcpy(name, staging, length);
    name[length++] = '/';
    char digits[24];
    size_t count = 0;
    do
        digits[count++] = (char)('0' + file % 10);
    while (file /= 10);
    while (count)
        name[length++] = digits[--count];
    name[length] = 0;
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
            staged_name(name, staging, i);
            struct mmh_output_options out = { .overwrite = true, .mode = record->mode & MODE_KEPT };
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

/* Everything is complete and checked: give the files their names. A destination that was there
 * before keeps its mode. *placed: how many entries. */
static mmh_status place_files(const mmh_folder *folder, const char *staging,
                              const struct mmh_index *index, bool overwrite, bool created,
                              uint64_t *placed, mmh_error *err)
{
    mmh_status status = MMH_OK;
    for (*placed = 0; *placed < index->file_count && status == MMH_OK; ++*placed) {
        const struct mmh_file_record *record = &index->files[*placed].record;
        char staged[64];
        if (strcmp(record->name, ".") == 0)
            continue;
        const char *slash = strrchr(record->name, '/');
        if (slash && record->kind != MMH_FILE_FOLDER) { /* containers may leave folders out */
            char parent[4096];
            size_t length = (size_t)(slash - record->name);
            if (length >= sizeof parent)
                return mmh_fail(err, MMH_E_UNSUPPORTED, "the name \"%.64s...\" is too long",
                                record->name);
            memcpy(parent, record->name, length);
            parent[length] = 0;
            status = mmh_folder_make(folder, parent, 0777, err);
            if (status != MMH_OK)
                return status;
        }
        switch (record->kind) {
        case MMH_FILE_REGULAR:
            staged_name(staged, staging, *placed);
            status = mmh_folder_rename(folder, staged, record->name, overwrite, err);
            break;
        case MMH_FILE_FOLDER:
            status = mmh_folder_make(folder, record->name, 0777, err);
            break;
        case MMH_FILE_SYMLINK:
            status = mmh_folder_symlink(folder, record->name, record->target, overwrite, err);
            break;
        }
    }
    /* Modes of folders last and innermost first: one may forbid writing. */
    for (uint64_t i = index->file_count; i-- > 0 && status == MMH_OK;) {
        const struct mmh_file_record *record = &index->files[i].record;
        if (record->kind == MMH_FILE_FOLDER && (created || strcmp(record->name, ".") != 0))
            status = mmh_folder_set_mode(folder, record->name, record->mode & MODE_KEPT, err);
    }
    return status;
}

static mmh_status unpack_folder(struct restoring *restoring, const char *path,
                                const mmh_unpack_options *options, uint64_t *sync_ns,
                                mmh_error *err)
{
    const struct mmh_index *index = &restoring->reader->container.index;
    const mmh_allocator *allocator = restoring->context->allocator;
    mmh_folder *folder = NULL;
    struct mmh_path_info info;
    char staging[40] = ".mmh-unpack-";
    uint64_t placed = 0;
    bool staged = false;

    mmh_status status = mmh_path_stat(&info, path, true, err);
    if (status == MMH_OK && info.kind != MMH_PATH_NONE && info.kind != MMH_PATH_FOLDER)
        status = mmh_fail(err, MMH_E_USAGE, "\"%s\" exists and is no folder", path);
    bool created = status == MMH_OK && info.kind == MMH_PATH_NONE;
    if (status == MMH_OK)
        status = mmh_folder_open(&folder, path, true, allocator, err);
    if (status != MMH_OK)
        return status;
    status = check_symlinks(index, err);
    if (status == MMH_OK)
        status = check_destination(folder, index, options->overwrite, err);
    if (status == MMH_OK) {
        uint64_t tag = mmh_clock_ns() ^ (uint64_t)(uintptr_t)restoring; /* only to be unlike */
        size_t length = strlen(staging);
        for (int i = 0; i < 16; i++)
            staging[length++] = "0123456789abcdef"[(tag >> (4 * i)) & 15];
        status = mmh_folder_make(folder, staging, 0700, err);
        staged = status == MMH_OK;
    }
    if (status == MMH_OK)
        status = stage_files(restoring, folder, staging, options, sync_ns, err);
    if (status == MMH_OK)
        status = place_files(folder, staging, index, options->overwrite, created, &placed, err);
    if (status == MMH_OK && options->sync) {
        uint64_t clock = mmh_clock_ns();
        status = mmh_folder_sync(folder, err);
        *sync_ns += mmh_clock_ns() - clock;
    }
    if (status != MMH_OK && !options->overwrite) /* none of these was there before */
        for (uint64_t i = placed; i-- > 0;)
            if (strcmp(index->files[i].record.name, ".") != 0)
                (void)mmh_folder_remove(folder, index->files[i].record.name, NULL);
    if (staged)
        (void)mmh_folder_remove_tree(folder, staging, NULL);
    mmh_folder_close(folder);
    if (status != MMH_OK && created)
        (void)mmh_path_remove_folder(path, NULL);
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
    mmh_status status = mmh_reader_fetch(check->reader, worker, job, err);
    atomic_fetch_add(&check->context->done_bytes, check->reader->container.index.chunks[job].bytes);
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
        status = check_symlinks(&reader->container.index, err);
        if (status == MMH_OK)
            status = restoring_init(&restoring, context, reader, err);
        if (status == MMH_OK)
            status = restore_files(&restoring, 0, reader->container.index.file_count, err);
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
