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
                              const struct mmh_plan_inputs *given, const char *output,
                              const mmh_pack_options *options, mmh_error *err)
{
    const char *const *inputs = given->paths;
    const size_t input_count = given->count;
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
    return MMH_OK;
}

/* ---- sources ---- */

/* A source as a file, in the arena. */
static mmh_status take_source(struct mmh_plan_file *file, struct mmh_arena *arena,
                              const mmh_source *given, mmh_error *err)
{
    mmh_source *source = mmh_arena_array(arena, 1, sizeof *source);
    if (!source)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to list the sources");
    mmh_status status = mmh_options_copy(source, sizeof *source, given, "mmh_source", err);
    if (status == MMH_OK)
        status = mmh_source_check(source, err);
    if (status != MMH_OK)
        return status;
    if (!mmh_path_is_relative(source->name))
        return mmh_fail(err, MMH_E_USAGE, "\"%s\" is no name of a file in a container",
                        source->name);
    if (is_temporary(source->name))
        return mmh_fail(err, MMH_E_USAGE, "\"%s\" is a temporary name of mmh's own", source->name);
    source->name = mmh_arena_string(arena, source->name, strlen(source->name));
    if (!source->name)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to list the sources");
    *file = (struct mmh_plan_file){
        .name = source->name,
        .path = source->name,
        .source = source,
        .info = { .kind = MMH_PATH_FILE, .mode = 0644, .bytes = source->bytes },
    };
    return MMH_OK;
}

/* A name that is a folder of another one cannot be a file: sorted, but not side by side ("a", "a.b",
 * "a/b"). */
static mmh_status check_folders(const struct mmh_plan *plan, struct mmh_arena *arena,
                                mmh_error *err)
{
    for (size_t i = 0; i < plan->file_count; i++) {
        const char *name = plan->files[i].name;
        for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
            const char *folder = mmh_arena_string(arena, name, (size_t)(slash - name));
            if (!folder)
                return mmh_fail(err, MMH_E_MEMORY, "no memory to list the sources");
            if (mmh_plan_find(plan, folder))
                return mmh_fail(err, MMH_E_USAGE, "\"%s\" is a file, and the folder of \"%s\"",
                                folder, name);
        }
    }
    return MMH_OK;
}

static mmh_status list_sources(struct mmh_plan *plan, struct mmh_arena *arena,
                               const struct mmh_plan_inputs *inputs, mmh_error *err)
{
    const uint8_t *next = (const uint8_t *)inputs->sources;
    mmh_status status = MMH_OK;
    plan->files = mmh_arena_array(arena, inputs->count, sizeof *plan->files);
    if (!plan->files)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to list %zu files", inputs->count);
    for (size_t i = 0; i < inputs->count && status == MMH_OK; i++) {
        const mmh_source *source = (const mmh_source *)(const void *)next;
        if (source->struct_size != inputs->sources->struct_size)
            return mmh_fail(err, MMH_E_USAGE, "mmh_source: of several sizes");
        status = take_source(&plan->files[plan->file_count++], arena, source, err);
        next += source->struct_size; /* of the caller's header, which may be another */
    }
    return status;
}

/* The files of a plan, by name. */
static mmh_status list_files(struct mmh_plan *plan, struct mmh_arena *arena,
                             const struct mmh_plan_inputs *inputs, const char *output,
                             const mmh_pack_options *options, mmh_error *err)
{
    mmh_status status = inputs->paths ? list_inputs(plan, arena, inputs, output, options, err)
                                      : list_sources(plan, arena, inputs, err);
    if (status != MMH_OK)
        return status;
    qsort(plan->files, plan->file_count, sizeof *plan->files, by_name);
    for (size_t i = 1; i < plan->file_count; i++)
        if (strcmp(plan->files[i - 1].name, plan->files[i].name) == 0)
            return mmh_fail(err, MMH_E_USAGE, "two inputs would be called \"%s\"",
                            plan->files[i].name);
    if (!inputs->paths)
        status = check_folders(plan, arena, err);
    return status == MMH_OK ? check_names(plan, arena, err) : status;
}

/* ---- reading ---- */

mmh_status mmh_plan_open(mmh_input **input, const struct mmh_plan_file *file,
                         const mmh_allocator *allocator, mmh_error *err)
{
    if (file->source)
        return mmh_input_open_source(input, file->source, allocator, err);
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

/* A file that is being mapped. Formats may take a read that fails for a file that is not theirs, but what
 * cannot be read is no file of another kind: the first failure is kept. */
struct mapping {
    const struct mmh_plan *plan;
    const struct mmh_plan_file *file;
    const mmh_allocator *allocator;
    const mmh_input *input;
    mmh_error problem;
};

static mmh_status keep_problem(struct mapping *mapping, mmh_status status, const mmh_error *problem,
                               mmh_error *err)
{
    if (status != MMH_OK && mapping->problem.status == MMH_OK)
        mapping->problem = *problem;
    return status == MMH_OK ? MMH_OK : mmh_fail(err, status, "%s", problem->message);
}

static mmh_status read_mapped(void *context, uint64_t offset, void *dst, size_t bytes,
                              mmh_error *err)
{
    struct mapping *mapping = context;
    mmh_error problem = { 0 };
    mmh_status status = mmh_input_read(mapping->input, dst, offset, bytes, &problem);
    return keep_problem(mapping, status, &problem, err);
}

/* A file of the same folder. */
struct beside {
    const char *path;
    const mmh_source *source; /* NULL: a file of the file system */
    uint64_t bytes;
};

static mmh_status find_beside(struct beside *beside, const struct mapping *mapping,
                              struct mmh_arena *arena, const char *name, mmh_error *err)
{
    const char *self = mapping->file->path;
    struct mmh_path_info info;
    *beside = (struct beside){ .path = mmh_arena_format(
                                   arena, "%.*s%s", (int)(base_name(self) - self), self, name) };
    if (!beside->path)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for a path");
    if (mapping->file->source) {
        const struct mmh_plan_file *found = mmh_plan_find(mapping->plan, beside->path);
        if (!found)
            return mmh_fail(err, MMH_E_IO, "there is no source \"%s\"", beside->path);
        beside->source = found->source;
        beside->bytes = found->source->bytes;
        return MMH_OK;
    }
    mmh_status status = mmh_path_stat(&info, beside->path, true, err);
    if (status == MMH_OK && info.kind != MMH_PATH_FILE)
        status = mmh_fail(err, MMH_E_IO, "there is no file \"%s\"", beside->path);
    beside->bytes = info.bytes;
    return status;
}

/* How large it is. `context` is a mapping. */
static mmh_status bytes_beside(void *context, const char *name, uint64_t *bytes, mmh_error *err)
{
    const struct mapping *mapping = context;
    struct mmh_arena arena;
    struct beside beside;
    mmh_arena_init(&arena, mapping->allocator);
    mmh_status status = find_beside(&beside, mapping, &arena, name, err);
    *bytes = beside.bytes;
    mmh_arena_release(&arena);
    return status;
}

/* All of a small one, for formats that want it. `context` is a mapping. */
static mmh_status read_beside(void *context, const char *name, size_t bytes_max, uint8_t **data,
                              size_t *bytes, const mmh_allocator *allocator, mmh_error *err)
{
    struct mapping *mapping = context;
    struct mmh_arena arena;
    struct beside beside;
    mmh_input *input = NULL;
    uint8_t *memory = NULL;
    mmh_arena_init(&arena, allocator);
    mmh_status status = find_beside(&beside, mapping, &arena, name, err);
    if (status == MMH_OK)
        status = beside.source ? mmh_input_open_source(&input, beside.source, allocator, err)
                               : mmh_input_open(&input, beside.path, allocator, err);
    if (status == MMH_OK && mmh_input_bytes(input) > bytes_max)
        status = mmh_fail(err, MMH_E_LIMIT, "\"%s\" is too large to look at", beside.path);
    if (status == MMH_OK) {
        mmh_error problem = { 0 };
        *bytes = (size_t)mmh_input_bytes(input);
        memory = mmh_alloc(allocator, 0, *bytes + 1);
        status = memory ? mmh_input_read(input, memory, 0, *bytes, &problem)
                        : mmh_fail(&problem, MMH_E_MEMORY, "no memory for \"%s\"", beside.path);
        status = keep_problem(mapping, status, &problem, err);
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

static mmh_status map_file(struct mmh_plan *plan, struct mmh_plan_file *file,
                           struct mmh_arena *arena, const mmh_pack_options *options,
                           const struct mmh_layout *layout, mmh_context *context, mmh_error *err)
{
    const mmh_allocator *allocator = context->allocator;
    struct mapping mapping = { .plan = plan, .file = file, .allocator = allocator };
    mmh_input *input;
    mmh_status status = file->source ? mmh_plan_open(&input, file, allocator, err)
                                     : mmh_input_open(&input, file->path, allocator, err);
    if (status != MMH_OK)
        return status;
    mapping.input = input;
    struct mmh_format_options format = {
        .raw_dtype = options->raw_dtype,
        .raw_dimensions = (uint32_t)options->raw_dimensions,
        .raw_shape = options->raw_shape,
        .layout = layout,
        .plugins = &context->plugins,
        .read_beside = read_beside,
        .bytes_beside = bytes_beside,
        .beside_context = &mapping,
    };
    const mmh_source source = {
        .struct_size = sizeof source,
        .name = mmh_input_name(input),
        .bytes = mmh_input_bytes(input),
        .read = read_mapped,
        .user = &mapping,
    };
    file->info.bytes = mmh_input_bytes(input);
    mmh_extent_map_init(&file->map, arena, source.bytes);
    status = mmh_format_detect_and_map(&file->map, &source, &format, err);
    mmh_input_close(input);
    if (status == MMH_OK && mapping.problem.status != MMH_OK)
        status = mmh_fail(err, mapping.problem.status, "%s", mapping.problem.message);
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
                          const struct mmh_plan_inputs *inputs, const char *output,
                          const mmh_pack_options *options, mmh_error *err)
{
    memset(plan, 0, sizeof *plan);
    if (!inputs->count || (!inputs->paths && !inputs->sources))
        return mmh_fail(err, MMH_E_USAGE, "nothing to pack");
    struct mmh_layout layout;
    bool laid_out = !options->layout;
    mmh_status status = list_files(plan, arena, inputs, output, options, err);
    if (status == MMH_OK && options->layout)
        status = read_layout(&layout, arena, options, err);
    for (size_t i = 0; i < plan->file_count && status == MMH_OK; i++) {
        struct mmh_plan_file *file = &plan->files[i];
        if (file->info.kind != MMH_PATH_FILE)
            continue;
        bool meant = options->layout && mmh_layout_is_for(&layout, file->path);
        laid_out = laid_out || meant;
        status = map_file(plan, file, arena, options, meant ? &layout : NULL, context, err);
        plan->total_bytes += file->info.bytes;
    }
    if (status == MMH_OK && !laid_out)
        return mmh_fail(err, MMH_E_USAGE, "layout \"%s\" is for \"%s\", which is not there",
                        options->layout, layout.file ? layout.file : "a file");
    return status == MMH_OK ? mmh_plan_map_told(plan, arena, err) : status;
}

mmh_status mmh_plan_make(struct mmh_plan *plan, mmh_context *context, struct mmh_arena *arena,
                         const struct mmh_plan_inputs *inputs, const char *output,
                         const mmh_pack_options *options, mmh_error *err)
{
    mmh_status status = mmh_plan_files(plan, context, arena, inputs, output, options, err);
    return status == MMH_OK ? mmh_plan_cut(plan, context, arena, options->level, err) : status;
}
