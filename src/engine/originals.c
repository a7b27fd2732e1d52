/*
 * Original files behind the reader's interface: the same questions, answered without a container.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The index holds files and tensors as a container's would, and no blocks: bytes come from the
 * files themselves.
 */
#include <string.h>

#include "engine/originals.h"

struct mmh_originals {
    struct mmh_plan plan;
};

/* A folder's own name is ".", as in a container. */
static void fill_file(struct mmh_file_entry *entry, const struct mmh_plan_file *file,
                      uint64_t first_tensor)
{
    entry->record = (struct mmh_file_record){
        .name = file->name,
        .mode = file->info.mode,
        .format = file->map.format,
        .kind = file->info.kind == MMH_PATH_FILE   ? MMH_FILE_REGULAR
              : file->info.kind == MMH_PATH_FOLDER ? MMH_FILE_FOLDER
                                                   : MMH_FILE_SYMLINK,
        .target = file->info.target,
    };
    if (file->info.kind != MMH_PATH_FILE)
        return;
    entry->record.bytes = file->info.bytes;
    entry->record.target = NULL;
    entry->record.metadata_count = file->map.metadata_count;
    entry->first_tensor = first_tensor;
    entry->tensor_count = file->map.tensor_count;
}

static mmh_status fill_index(mmh_reader *reader, mmh_error *err)
{
    struct mmh_index *index = &reader->container.index;
    struct mmh_arena *arena = &reader->container.arena;
    const struct mmh_plan *plan = &reader->originals->plan;
    index->file_count = plan->file_count;
    for (size_t i = 0; i < plan->file_count; i++)
        if (plan->files[i].info.kind == MMH_PATH_FILE)
            index->tensor_count += plan->files[i].map.tensor_count;
    index->files = mmh_arena_array(arena, plan->file_count, sizeof *index->files);
    index->tensors = mmh_arena_array(arena, (size_t)index->tensor_count, sizeof *index->tensors);
    if (!index->files || !index->tensors)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to list %zu files", plan->file_count);
    uint64_t tensor = 0;
    for (size_t i = 0; i < plan->file_count; i++) {
        const struct mmh_plan_file *file = &plan->files[i];
        struct mmh_file_entry *entry = &index->files[i];
        fill_file(entry, file, tensor);
        struct mmh_metadata_entry *metadata = mmh_arena_array(arena, entry->record.metadata_count,
                                                              sizeof *metadata);
        if (!metadata)
            return mmh_fail(err, MMH_E_MEMORY, "no memory for the metadata of \"%s\"", file->path);
        for (size_t m = 0; m < entry->record.metadata_count; m++)
            metadata[m] = (struct mmh_metadata_entry){ file->map.metadata[m].key,
                                                       file->map.metadata[m].value };
        entry->record.metadata = metadata;
        for (size_t t = 0; t < entry->tensor_count; t++) {
            const struct mmh_map_tensor *from = &file->map.tensors[t];
            index->tensors[tensor++] = (struct mmh_tensor_record){
                .file = i,
                .name = from->name,
                .dtype = from->dtype,
                .big_endian = from->big_endian,
                .column_major = from->column_major,
                .dimensions = from->dimensions,
                .shape = from->shape,
                .strides = from->strides,
                .offset = from->offset,
                .bytes = from->bytes,
            };
        }
    }
    reader->original_bytes = plan->total_bytes;
    reader->container.container_bytes = plan->total_bytes;
    return MMH_OK;
}

static mmh_status open_originals(mmh_context *context, const struct mmh_plan_inputs *inputs,
                                 const mmh_pack_options *given, mmh_reader **out, mmh_error *err)
{
    mmh_pack_options options = { 0 };
    *out = NULL;
    mmh_status status = mmh_options_copy(&options, sizeof options, given, "mmh_pack_options", err);
    if (status != MMH_OK)
        return status;
    mmh_reader *reader = mmh_alloc_array(context->allocator, 1, sizeof *reader);
    if (!reader)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for an open model");
    reader->context = context;
    reader->number = atomic_fetch_add(&context->reader_count, 1) + 1;
    mmh_arena_init(&reader->container.arena, context->allocator);
    reader->originals = mmh_arena_array(&reader->container.arena, 1, sizeof *reader->originals);
    if (!reader->originals)
        status = mmh_fail(err, MMH_E_MEMORY, "no memory for an open model");
    if (status == MMH_OK)
        status = mmh_plan_files(&reader->originals->plan, context, &reader->container.arena, inputs,
                                NULL, &options, err);
    if (status == MMH_OK)
        status = fill_index(reader, err);
    if (status != MMH_OK) {
        mmh_close(reader);
        return status;
    }
    *out = reader;
    return MMH_OK;
}

mmh_status mmh_open_original(mmh_context *context, const char *path,
                             const mmh_pack_options *options, mmh_reader **reader, mmh_error *err)
{
    const struct mmh_plan_inputs inputs = { .paths = &path, .count = 1 };
    return open_originals(context, &inputs, options, reader, err);
}

mmh_status mmh_open_original_source(mmh_context *context, const mmh_source *sources,
                                    size_t source_count, const mmh_pack_options *options,
                                    mmh_reader **reader, mmh_error *err)
{
    const struct mmh_plan_inputs inputs = { .sources = sources, .count = source_count };
    return open_originals(context, &inputs, options, reader, err);
}

const struct mmh_extent_map *mmh_originals_map(const mmh_reader *reader, uint64_t file)
{
    return &reader->originals->plan.files[file].map;
}

bool mmh_originals_are_sources(const mmh_reader *reader)
{
    return reader->originals->plan.files->source != NULL;
}

mmh_status mmh_originals_open(mmh_input **input, const mmh_reader *reader, uint64_t file,
                              mmh_error *err)
{
    return mmh_plan_open(input, &reader->originals->plan.files[file], reader->context->allocator,
                         err);
}
