/*
 * Planning a pack: inputs become files, and files extents (plan_blocks.c cuts those into blocks).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine/plan.h"

#include "base/bits.h"
#include "engine/told.h"
#include "format/layout_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- files ---- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct mmh_plan_file *)a)->name, ((const struct mmh_plan_file *)b)->name);
}

struct mmh_plan_file *mmh_plan_find(const struct mmh_plan *plan, const char *name)
{
    const struct mmh_plan_file key = { .name = name };
    return bsearch(&key, plan->files, plan->file_count, sizeof key, by_name);
}

/* Where an entry of a unit is. */
static const char *entry_path(struct mmh_arena *arena, const char *root, const char *path)
{
    if (!*root)
        return mmh_arena_format(arena, "%s", path);
    if (!*path)
        return mmh_arena_format(arena, "%s", root);
    return mmh_arena_format(arena, "%s/%s", strcmp(root, "/") == 0 ? "" : root, path);
}

/* A folder's own name, for when several inputs share a container: "models/" gives "models". */
static const char *folder_name(struct mmh_arena *arena, const char *path)
{
    size_t bytes = strlen(path);
    while (bytes > 1 && path[bytes - 1] == '/')
        bytes--;
    char *copy = mmh_arena_string(arena, path, bytes);
    return copy ? base_name(copy) : NULL;
}

/* Whether a path names the very place of the output, and not only the same file by another link; and
 * whether a container lies there. */
static mmh_status is_output(bool *replaced, bool *container, struct mmh_arena *arena,
                            const char *path, const char *output, mmh_error *err)
{
    const char *const paths[2] = { path, output };
    struct mmh_path_info folders[2];
    uint8_t magic[8];
    mmh_input *input;
    for (int i = 0; i < 2; i++) {
        size_t length = (size_t)(base_name(paths[i]) - paths[i]);
        const char *folder = length ? mmh_arena_string(arena, paths[i], length) : ".";
        if (!folder)
            return mmh_fail(err, MMH_E_MEMORY, "no memory for a path");
        mmh_status status = mmh_path_stat(&folders[i], folder, true, err);
        if (status != MMH_OK)
            return status;
    }
    *replaced = folders[0].device == folders[1].device && folders[0].inode == folders[1].inode &&
                strcmp(base_name(path), base_name(output)) == 0;
    mmh_status status = mmh_input_open(&input, path, arena->allocator, err);
    if (status != MMH_OK)
        return status;
    *container = mmh_input_bytes(input) >= sizeof magic &&
                 mmh_input_read(input, magic, 0, sizeof magic, NULL) == MMH_OK &&
                 mmh_container_magic(magic, sizeof magic);
    mmh_input_close(input);
    return MMH_OK;
}

struct listing {
    struct mmh_unit unit;
    const char *prefix; /* NULL: names as they are */
    bool folder;        /* the unit is a folder with this info */
    struct mmh_path_info info;
};

/* Whether some part of a path is a temporary name of mmh's own. */
static bool is_temporary(const char *path)
{
    for (;;) {
        size_t bytes = strcspn(path, "/");
        if (mmh_path_is_temporary(path, bytes))
            return true;
        if (!path[bytes])
            return false;
        path += bytes + 1;
    }
}

static mmh_status check_names(struct mmh_plan *plan, struct mmh_arena *arena, mmh_error *err)
{
    const char **names = mmh_arena_array(arena, plan->file_count, sizeof *names);
    if (!names)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to list %zu files", plan->file_count);
    for (size_t i = 0; i < plan->file_count; i++)
        names[i] = plan->files[i].name;
    mmh_names_look(&plan->odd_names, names, plan->file_count);
    return MMH_OK;
}

static mmh_status list_inputs(struct mmh_plan *plan, struct mmh_arena *arena,
                              const char *const *inputs, size_t input_count, const char *output,
                              const mmh_pack_options *options, mmh_error *err)
{
    struct mmh_path_info out_info = { 0 };
    struct listing *listings = mmh_arena_array(arena, input_count, sizeof *listings);
    size_t room = input_count;
    if (!listings)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to list the inputs");
    if (output) {
        mmh_status status = mmh_path_stat(&out_info, output, true, err);
        if (status != MMH_OK)
            return status;
    }
    for (size_t i = 0; i < input_count; i++) {
        struct listing *listing = &listings[i];
        mmh_status status = mmh_path_stat(&listing->info, inputs[i], true, err);
        if (status == MMH_OK)
            status = mmh_unit_list(&listing->unit, arena, inputs[i], options->alone, err);
        if (status != MMH_OK)
            return status;
        if (listing->unit.problem && !options->alone)
            return mmh_fail(err, MMH_E_USAGE, "\"%s\" cannot be packed with its shards: %s",
                            inputs[i], listing->unit.problem);
        if (listing->unit.missing_count)
            return mmh_fail(err, MMH_E_USAGE,
                            "\"%s\" refers to files that are not there (%zu, the first: \"%s\")",
                            inputs[i], listing->unit.missing_count, listing->unit.missing[0]);
        listing->folder = listing->info.kind == MMH_PATH_FOLDER;
        if (listing->folder && input_count > 1) {
            listing->prefix = folder_name(arena, inputs[i]);
            if (!listing->prefix)
                return mmh_fail(err, MMH_E_MEMORY, "no memory to list the inputs");
        }
        room += listing->unit.entry_count;
    }
    plan->files = mmh_arena_array(arena, room, sizeof *plan->files);
    if (!plan->files)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to list %zu files", room);
    for (size_t i = 0; i < input_count; i++) {
        const struct listing *listing = &listings[i];
        const struct mmh_unit *unit = &listing->unit;
        if (listing->folder) {
            struct mmh_plan_file *file = &plan->files[plan->file_count++];
            file->name = listing->prefix ? listing->prefix : ".";
            file->path = unit->root;
            file->info = listing->info;
        }
        for (size_t e = 0; e < unit->entry_count; e++) {
            const struct mmh_path_info *info = &unit->entries[e];
            if (output && out_info.kind == MMH_PATH_FILE && info->device == out_info.device &&
                info->inode == out_info.inode) {
                const char *path = entry_path(arena, unit->root, info->path);
                bool replaced = false, container = false;
                mmh_status status = path
                                      ? is_output(&replaced, &container, arena, path, output, err)
                                      : mmh_fail(err, MMH_E_MEMORY, "no memory for a path");
                if (status != MMH_OK)
                    return status;
                if (!listing->folder || (replaced && !container))
                    return mmh_fail(err, MMH_E_USAGE, "\"%s\" is input and output", output);
                if (replaced) /* the container of the last time, which is packed anew */
                    continue;
            }
            if (is_temporary(info->path)) { /* of a run that is at work there, or was killed */
                if (!listing->folder)
                    return mmh_fail(err, MMH_E_USAGE, "\"%s\" is a temporary name of mmh's own",
                                    inputs[i]);
                continue;
            }
            struct mmh_plan_file *file = &plan->files[plan->file_count++];
            file->name = listing->prefix
                           ? mmh_arena_format(arena, "%s/%s", listing->prefix, info->path)
                           : info->path;
            file->path = entry_path(arena, unit->root, info->path);
            file->info = *info;
            if (!file->name || !file->path)
                return mmh_fail(err, MMH_E_MEMORY, "no memory to list the inputs");
            if (info->kind == MMH_PATH_SYMLINK &&
                !mmh_target_stays_inside(info->path, info->target)) {
                /* A hub's snapshot folder links to its blobs: what counts is what they hold. */
                mmh_status status = mmh_path_stat(&file->info, file->path, true, err);
                if (status != MMH_OK)
                    return status;
                if (file->info.kind != MMH_PATH_FILE)
                    return mmh_fail(err, MMH_E_USAGE,
                                    "symlink \"%s\" points outside the folder, and not to a file",
                                    file->path);
                plan->followed_links++;
            }
            if (file->info.kind == MMH_PATH_OTHER)
                return mmh_fail(err, MMH_E_USAGE, "\"%s\" is neither file, folder nor symlink",
                                file->path);
        }
    }
    qsort(plan->files, plan->file_count, sizeof *plan->files, by_name);
    for (size_t i = 1; i < plan->file_count; i++)
        if (strcmp(plan->files[i - 1].name, plan->files[i].name) == 0)
            return mmh_fail(err, MMH_E_USAGE, "two inputs would be called \"%s\"",
                            plan->files[i].name);
    return check_names(plan, arena, err);
}

/* ---- reading ---- */

mmh_status mmh_plan_open(mmh_input **input, const struct mmh_plan_file *file,
                         const mmh_allocator *allocator, mmh_error *err)
{
    mmh_status status = mmh_input_open(input, file->path, allocator, err);
    if (status != MMH_OK)
        return status;
    const struct mmh_path_info *now = mmh_input_info(*input);
    if (mmh_input_bytes(*input) == file->info.bytes && now->inode == file->info.inode &&
        now->device == file->info.device && now->mtime_seconds == file->info.mtime_seconds &&
        now->mtime_nanoseconds == file->info.mtime_nanoseconds)
        return MMH_OK;
    mmh_input_close(*input);
    *input = NULL;
    return mmh_fail(err, MMH_E_IO, "\"%s\" changed while it was being read", file->path);
}

/* The size of a file of the same folder. `context` is the plan's file. */
static mmh_status bytes_beside(void *context, const char *name, uint64_t *bytes, mmh_error *err)
{
    const struct mmh_plan_file *file = context;
    struct mmh_path_info info;
    char path[4096];
    int folder = (int)(base_name(file->path) - file->path);
    int length = snprintf(path, sizeof path, "%.*s%s", folder, file->path, name);
    if (length < 0 || (size_t)length >= sizeof path)
        return mmh_fail(err, MMH_E_IO, "the path of \"%s\" is too long", name);
    mmh_status status = mmh_path_stat(&info, path, true, err);
    if (status == MMH_OK && info.kind != MMH_PATH_FILE)
        status = mmh_fail(err, MMH_E_IO, "there is no file \"%s\"", path);
    *bytes = info.bytes;
    return status;
}

/* A small file of the same folder, for formats that want one. `context` is the plan's file. */
static mmh_status read_beside(void *context, const char *name, size_t bytes_max, uint8_t **data,
                              size_t *bytes, const mmh_allocator *allocator, mmh_error *err)
{
    const struct mmh_plan_file *file = context;
    struct mmh_arena arena;
    struct mmh_path_info info;
    mmh_input *input = NULL;
    uint8_t *memory = NULL;
    mmh_arena_init(&arena, allocator);
    const char *path = mmh_arena_format(&arena, "%.*s%s", (int)(base_name(file->path) - file->path),
                                        file->path, name);
    mmh_status status = path ? mmh_path_stat(&info, path, true, err)
                             : mmh_fail(err, MMH_E_MEMORY, "no memory for a path");
    if (status == MMH_OK && info.kind != MMH_PATH_FILE)
        status = mmh_fail(err, MMH_E_IO, "there is no file \"%s\"", path);
    if (status == MMH_OK)
        status = mmh_input_open(&input, path, allocator, err);
    if (status == MMH_OK && mmh_input_bytes(input) > bytes_max)
        status = mmh_fail(err, MMH_E_LIMIT, "\"%s\" is too large to look at", path);
    if (status == MMH_OK) {
        *bytes = (size_t)mmh_input_bytes(input);
        memory = mmh_alloc(allocator, 0, *bytes + 1);
        status = memory ? mmh_input_read(input, memory, 0, *bytes, err)
                        : mmh_fail(err, MMH_E_MEMORY, "no memory for \"%s\"", path);
    }
    if (status == MMH_OK) {
        memory[*bytes] = '\0';
        *data = memory;
    } else {
        mmh_free(allocator, memory);
    }
    mmh_input_close(input);
    mmh_arena_release(&arena);
    return status;
}

/* The layout file that the options name, if they do. */
static mmh_status read_layout(struct mmh_layout *layout, struct mmh_arena *arena,
                              const mmh_pack_options *options, mmh_error *err)
{
    uint8_t *text;
    size_t bytes;
    if (options->raw_dtype != MMH_DTYPE_OPAQUE)
        return mmh_fail(err, MMH_E_USAGE,
                        "a layout and an element type for all exclude each other");
    struct mmh_path_info info;
    mmh_status status = mmh_path_stat(&info, options->layout, true, err);
    if (status == MMH_OK && info.kind != MMH_PATH_FILE && info.kind != MMH_PATH_NONE)
        status = mmh_fail(err, MMH_E_USAGE, "the layout \"%s\" is no file", options->layout);
    if (status == MMH_OK) /* which tells if there is none */
        status = mmh_input_slurp(&text, &bytes, options->layout, MMH_LAYOUT_TEXT_BYTES_MAX,
                                 arena->allocator, err);
    if (status != MMH_OK)
        return status;
    status = mmh_layout_read(layout, arena, text, bytes, options->layout, err);
    mmh_free(arena->allocator, text);
    return status;
}

static mmh_status map_file(struct mmh_plan_file *file, struct mmh_arena *arena,
                           const mmh_pack_options *options, const struct mmh_layout *layout,
                           mmh_context *context, mmh_error *err)
{
    const mmh_allocator *allocator = context->allocator;
    mmh_input *input;
    mmh_status status = mmh_input_open(&input, file->path, allocator, err);
    if (status != MMH_OK)
        return status;
    struct mmh_format_options format = {
        .raw_dtype = options->raw_dtype,
        .raw_dimensions = (uint32_t)options->raw_dimensions,
        .raw_shape = options->raw_shape,
        .layout = layout,
        .plugins = &context->plugins,
        .read_beside = read_beside,
        .bytes_beside = bytes_beside,
        .beside_context = file,
    };
    struct mmh_source source = mmh_source_of_input(input);
    file->info.bytes = mmh_input_bytes(input);
    mmh_extent_map_init(&file->map, arena, source.bytes);
    status = mmh_format_detect_and_map(&file->map, &source, &format, err);
    mmh_input_close(input);
    if (status == MMH_OK && options->raw_dtype != MMH_DTYPE_OPAQUE &&
        file->map.format != MMH_FORMAT_RAW) {
        const char *name = mmh_format_name(file->map.format);
        if (file->map.format != MMH_FORMAT_OPAQUE)
            return mmh_fail(err, MMH_E_USAGE, "\"%s\" is %s: an element type is for raw arrays",
                            file->path, name ? name : "something else");
        return mmh_fail(err, MMH_E_USAGE, "\"%s\" is no such raw array: %s", file->path,
                        file->map.remark_count && file->map.remarks[0]
                            ? file->map.remarks[0]
                            : "type and shape do not fit its size");
    }
    if (status == MMH_OK && options->raw_shape && file->map.tensor_count &&
        file->map.tensors[0].bytes != file->info.bytes)
        return mmh_fail(err, MMH_E_USAGE, "\"%s\" has %llu bytes, the shape takes %llu", file->path,
                        (unsigned long long)file->info.bytes,
                        (unsigned long long)file->map.tensors[0].bytes);
    return status;
}

/* ---- the plan ---- */

mmh_status mmh_plan_files(struct mmh_plan *plan, mmh_context *context, struct mmh_arena *arena,
                          const char *const *inputs, size_t input_count, const char *output,
                          const mmh_pack_options *options, mmh_error *err)
{
    memset(plan, 0, sizeof *plan);
    if (!input_count)
        return mmh_fail(err, MMH_E_USAGE, "nothing to pack");
    struct mmh_layout layout;
    bool laid_out = !options->layout;
    mmh_status status = list_inputs(plan, arena, inputs, input_count, output, options, err);
    if (status == MMH_OK && options->layout)
        status = read_layout(&layout, arena, options, err);
    for (size_t i = 0; i < plan->file_count && status == MMH_OK; i++) {
        struct mmh_plan_file *file = &plan->files[i];
        if (file->info.kind != MMH_PATH_FILE)
            continue;
        bool meant = options->layout && mmh_layout_is_for(&layout, file->path);
        laid_out = laid_out || meant;
        status = map_file(file, arena, options, meant ? &layout : NULL, context, err);
        plan->total_bytes += file->info.bytes;
    }
    if (status == MMH_OK && !laid_out)
        return mmh_fail(err, MMH_E_USAGE, "layout \"%s\" is for \"%s\", which is not there",
                        options->layout, layout.file ? layout.file : "a file");
    return status == MMH_OK ? mmh_plan_map_told(plan, arena, err) : status;
}

mmh_status mmh_plan_make(struct mmh_plan *plan, mmh_context *context, struct mmh_arena *arena,
                         const char *const *inputs, size_t input_count, const char *output,
                         const mmh_pack_options *options, mmh_error *err)
{
    mmh_status status = mmh_plan_files(plan, context, arena, inputs, input_count, output, options,
                                       err);
    return status == MMH_OK ? mmh_plan_cut(plan, context, arena, options->level, err) : status;
}
