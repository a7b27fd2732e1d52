/*
 * Unpack: to one file, a folder or a descriptor.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "engine/place.h"
#include "engine/restore.h"

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* No name is one that some system would take for something else, unless the caller wants any. */
static mmh_status check_names(const struct mmh_restoring *restoring,
                              const mmh_unpack_options *options, mmh_error *err)
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
static mmh_status restore_one(struct mmh_restoring *restoring, uint64_t file, mmh_output *output,
                              mmh_error *err)
{
    const struct mmh_file_record *record = &restoring->reader->container.index.files[file].record;
    restoring->first_file = file;
    restoring->outputs[0] = output;
    mmh_status status = MMH_OK;
    if (!restoring->descriptor_output)
        status = mmh_output_resize(output, record->bytes, err);
    if (status == MMH_OK)
        status = mmh_restore_files(restoring, file, file + 1, err);
    if (status == MMH_OK && record->has_time && !restoring->descriptor_output)
        status = mmh_output_set_mtime(output, record->time_seconds, 0, err);
    return status;
}

static mmh_status commit(mmh_output *output, bool sync, uint64_t *sync_ns, mmh_error *err)
{
    uint64_t clock = mmh_clock_ns();
    mmh_status status = sync ? mmh_output_commit(output, err)
                             : mmh_output_commit_unsynced(output, err);
    *sync_ns += mmh_clock_ns() - clock;
    return status;
}

static mmh_status unpack_file(struct mmh_restoring *restoring, const char *path,
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
        status = commit(output, options->sync, sync_ns, err);
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

/* Contents of all regular files, into the staging folder; a group of outputs at a time. */
static mmh_status stage_files(struct mmh_restoring *restoring, const mmh_folder *folder,
                              const char *staging, const mmh_unpack_options *options,
                              uint64_t *sync_ns, mmh_error *err)
{
    const struct mmh_index *index = &restoring->reader->container.index;
    mmh_status status = MMH_OK;
    for (uint64_t first = 0; first < index->file_count && status == MMH_OK;
         first += MMH_RESTORE_FILES) {
        uint64_t end = first + MMH_RESTORE_FILES < index->file_count ? first + MMH_RESTORE_FILES
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
            status = mmh_restore_files(restoring, first, end, err);
        for (uint64_t i = first; i < end; i++) {
            const struct mmh_file_record *record = &index->files[i].record;
            mmh_output *output = restoring->outputs[i - first];
            if (output && status == MMH_OK && record->has_time)
                status = mmh_output_set_mtime(output, record->time_seconds, 0, err);
            if (output && status == MMH_OK)
                status = commit(output, options->sync, sync_ns, err);
            mmh_output_close(output);
        }
    }
    return status;
}

static mmh_status unpack_folder(struct mmh_restoring *restoring, const char *path,
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
        status = mmh_restore_check_links(restoring, err);
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

static mmh_status unpack_to(mmh_context *context, const char *container, const char *destination,
                            const mmh_sink *sink, int descriptor, const mmh_unpack_options *given,
                            mmh_unpack_report *report, mmh_error *err)
{
    mmh_unpack_options options = { 0 };
    mmh_reader *reader;
    mmh_status status = mmh_options_copy(&options, sizeof options, given, "mmh_unpack_options",
                                         err);
    if (status == MMH_OK)
        status = mmh_struct_check(report, "mmh_unpack_report", err);
    if (status != MMH_OK)
        return status;
    uint64_t begin = mmh_clock_ns(), sync_ns = 0;
    mmh_context_begin(context, "unpack", 0);
    status = mmh_reader_open(context, container, false, &reader, err);
    if (status != MMH_OK)
        return status;
    struct mmh_restoring restoring = {
        .context = context, .reader = reader, .write = true, .digests = !options.skip_digests
    };
    struct mmh_damages damages = { .reader = reader,
                                   .tell = options.damage,
                                   .user = options.damage_user };
    if (options.skip_damaged)
        restoring.damages = &damages;
    context->state.total_bytes = reader->original_bytes;
    status = mmh_restore_check_limit(&restoring, err);
    if (status == MMH_OK)
        status = mmh_restoring_init(&restoring, err);
    if (status == MMH_OK && !destination) {
        uint64_t file;
        mmh_output *output = NULL;
        restoring.descriptor_output = true;
        status = only_file(reader, &file, err);
        if (status == MMH_OK)
            status = sink ? mmh_output_open_sink(&output, sink, context->allocator, err)
                          : mmh_output_open_descriptor(&output, descriptor, "output",
                                                       context->allocator, err);
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
    if (options.skip_damaged) {
        mmh_error problem = { 0 };
        mmh_status whole = mmh_damages_end(&damages, status, &problem);
        if (whole != status)
            status = mmh_fail(err, whole, "%s", problem.message);
    }
    mmh_restore_report(report, &restoring, begin, sync_ns);
    mmh_context_end(context, status);
    mmh_restoring_release(&restoring);
    mmh_close(reader);
    return status;
}

mmh_status mmh_unpack(mmh_context *context, const char *container, const char *destination,
                      const mmh_unpack_options *options, mmh_unpack_report *report, mmh_error *err)
{
    return unpack_to(context, container, destination, NULL, -1, options, report, err);
}

mmh_status mmh_unpack_to_descriptor(mmh_context *context, const char *container, int descriptor,
                                    const mmh_unpack_options *options, mmh_unpack_report *report,
                                    mmh_error *err)
{
    return unpack_to(context, container, NULL, NULL, descriptor, options, report, err);
}

mmh_status mmh_unpack_to_sink(mmh_context *context, const char *container, const mmh_sink *given,
                              const mmh_unpack_options *options, mmh_unpack_report *report,
                              mmh_error *err)
{
    mmh_sink sink = { 0 };
    mmh_status status = given ? mmh_options_copy(&sink, sizeof sink, given, "mmh_sink", err)
                              : mmh_fail(err, MMH_E_USAGE, "there is no sink");
    return status == MMH_OK ? unpack_to(context, container, NULL, &sink, -1, options, report, err)
                            : status;
}
