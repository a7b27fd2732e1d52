/*
 * The host's side of format plug-ins: loading them, and the table of functions that they call.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "format/plugin.h"

#include <string.h>

#include "base/bits.h"
#include "base/io.h"
#include "base/library.h"

enum {
    BUFFER_BYTES = 4096,
    NAME_BYTES_MAX = 64 * 1024, /* of a tensor */
    /* What a struct of ABI 1 has at the least. */
    READER_BYTES_MIN = sizeof(mmh_format_reader),
    TENSOR_BYTES_MIN = sizeof(mmh_format_tensor)
};

struct mmh_plugin {
    struct mmh_plugin *next;
    mmh_library *library; /* NULL: it came from memory */
    const mmh_format_reader *reader;
    const char *path;
    enum mmh_plugin_turn turn;
};

/* What a plug-in holds while it is asked. */
struct mmh_format_file {
    const mmh_source *source;
    struct mmh_extent_map *map; /* NULL: detect */
    mmh_status status;          /* the first failure of the source, or of memory */
    mmh_error error;
    uint64_t buffer_offset;
    size_t buffer_bytes;
    uint8_t buffer[BUFFER_BYTES];
};

/* ---- what a plug-in may call ---- */

static int plugin_status(const struct mmh_format_file *file)
{
    return !file->status                ? MMH_PLUGIN_OK
         : file->status == MMH_E_MEMORY ? MMH_PLUGIN_MEMORY
                                        : MMH_PLUGIN_IO;
}

static uint64_t host_file_bytes(mmh_format_file *file)
{
    return file->source->bytes;
}

static const char *host_file_name(mmh_format_file *file)
{
    return mmh_source_base_name(file->source);
}

static void read_source(struct mmh_format_file *file, uint64_t offset, void *dst, size_t bytes)
{
    if (!file->status && bytes)
        file->status = file->source->read(file->source->user, offset, dst, bytes, &file->error);
}

static int host_read(mmh_format_file *file, uint64_t offset, void *dst, size_t bytes)
{
    uint64_t whole = file->source->bytes;
    if (offset > whole || bytes > whole - offset)
        return MMH_PLUGIN_END;
    if (bytes > BUFFER_BYTES) {
        read_source(file, offset, dst, bytes);
        return plugin_status(file);
    }
    uint64_t ahead = offset - file->buffer_offset; /* huge if it lies before */
    if (offset < file->buffer_offset || ahead > file->buffer_bytes ||
        file->buffer_bytes - ahead < bytes) {
        size_t wanted = (size_t)MMH_MIN(whole - offset, (uint64_t)BUFFER_BYTES);
        file->buffer_bytes = 0;
        read_source(file, offset, file->buffer, wanted);
        if (file->status)
            return plugin_status(file);
        file->buffer_offset = offset;
        file->buffer_bytes = wanted;
        ahead = 0;
    }
    if (bytes)
        memcpy(dst, file->buffer + ahead, bytes);
    return MMH_PLUGIN_OK;
}

static int no_memory(struct mmh_format_file *file)
{
    if (!file->status)
        file->status = mmh_fail(&file->error, MMH_E_MEMORY, "what a format plug-in adds");
    return plugin_status(file);
}

/* A copy of `count` numbers in the arena; NULL: no memory. */
static const uint64_t *copy_numbers(struct mmh_format_file *file, const uint64_t *numbers,
                                    uint32_t count)
{
    uint64_t *copy = mmh_arena_array(file->map->arena, count, sizeof *copy);
    if (copy && count)
        memcpy(copy, numbers, count * sizeof *copy);
    return copy;
}

/* What is wrong with a tensor before its shape is looked at; NULL: nothing. */
static const char *tensor_problem(const mmh_format_tensor *given, mmh_dtype dtype)
{
    if (strnlen(given->name, NAME_BYTES_MAX) == NAME_BYTES_MAX)
        return "has a name that is too long";
    if (!mmh_dtype_known(dtype) || dtype == MMH_DTYPE_OPAQUE)
        return "has no element type that we know";
    if (given->dimensions > MMH_MAP_DIMENSIONS_MAX)
        return "has more than 64 dimensions";
    if (given->dimensions && !given->shape)
        return "has no shape";
    return NULL;
}

static int host_add_tensor(mmh_format_file *file, const mmh_format_tensor *given)
{
    if (file->status)
        return plugin_status(file);
    if (!file->map || !given || given->struct_size < TENSOR_BYTES_MIN || !given->name)
        return MMH_PLUGIN_LEFT_OUT;
    mmh_dtype dtype = given->dtype_name
                        ? mmh_dtype_find(given->dtype_name, strlen(given->dtype_name))
                    : given->dtype < MMH_DTYPE_COUNT ? (mmh_dtype)given->dtype
                                                     : MMH_DTYPE_OPAQUE;
    struct mmh_map_tensor tensor = {
        .dtype = dtype,
        .big_endian = (given->flags & MMH_TENSOR_BIG_ENDIAN) != 0,
        .column_major = (given->flags & MMH_TENSOR_COLUMN_MAJOR) != 0,
        .dimensions = given->dimensions,
        .offset = given->offset,
    };
    size_t count = file->map->node_count;
    const char *problem = count >= MMH_MAP_TENSORS_MAX ? "is beyond the ten millionth"
                                                       : tensor_problem(given, dtype);
    if (!problem &&
        !(given->strides ? mmh_strides_bytes(&tensor.bytes, dtype, given->dimensions, given->shape,
                                             given->strides)
                         : mmh_shape_bytes(&tensor.bytes, dtype, given->dimensions, given->shape)))
        problem = "has a shape that its type cannot have";
    if (!problem && given->bytes && given->bytes != tensor.bytes)
        problem = "has another size than its type and shape";
    if (problem) {
        mmh_extent_map_remark_tensor(file->map, given->name, problem);
        return MMH_PLUGIN_LEFT_OUT;
    }
    tensor.name = mmh_arena_string(file->map->arena, given->name, strlen(given->name));
    tensor.shape = copy_numbers(file, given->shape, given->dimensions);
    if (given->strides)
        tensor.strides = copy_numbers(file, given->strides, given->dimensions);
    if (!tensor.name || !tensor.shape || (given->strides && !tensor.strides))
        return no_memory(file);
    file->status = mmh_extent_map_add(file->map, &tensor, &file->error);
    if (!file->status && file->map->node_count == count)
        return MMH_PLUGIN_LEFT_OUT;
    return plugin_status(file);
}

static int host_add_metadata(mmh_format_file *file, const char *key, const char *value)
{
    if (file->status)
        return plugin_status(file);
    if (!file->map || !key || !value)
        return MMH_PLUGIN_LEFT_OUT;
    key = mmh_arena_string(file->map->arena, key, strlen(key));
    value = mmh_arena_string(file->map->arena, value, strlen(value));
    if (!key || !value)
        return no_memory(file);
    file->status = mmh_extent_map_add_metadata(file->map, key, value, &file->error);
    return plugin_status(file);
}

static void host_remark(mmh_format_file *file, const char *text)
{
    if (file->map && text && *text)
        mmh_extent_map_remark(file->map, "%s", text);
}

static const mmh_format_host host = {
    .abi = MMH_FORMAT_ABI,
    .table_size = sizeof host,
    .file_bytes = host_file_bytes,
    .file_name = host_file_name,
    .read = host_read,
    .add_tensor = host_add_tensor,
    .add_metadata = host_add_metadata,
    .remark = host_remark,
};

/* ---- loading ---- */

void mmh_plugins_init(struct mmh_plugins *plugins, const mmh_allocator *allocator)
{
    mmh_arena_init(&plugins->arena, allocator);
    plugins->first = NULL;
}

void mmh_plugins_release(struct mmh_plugins *plugins)
{
    for (struct mmh_plugin *plugin = plugins->first; plugin; plugin = plugin->next)
        mmh_library_close(plugin->library);
    mmh_arena_release(&plugins->arena);
    plugins->first = NULL;
}

static mmh_status add(struct mmh_plugins *plugins, mmh_library *library,
                      const mmh_format_reader *reader, const char *path, enum mmh_plugin_turn turn,
                      mmh_error *err)
{
    if (!reader)
        return mmh_fail(err, MMH_E_USAGE, "\"%s\" gives no format", path);
    /* The number before all else: what follows it is only ours if it is. */
    if (reader->abi != MMH_FORMAT_ABI)
        return mmh_fail(
            err, MMH_E_UNSUPPORTED,
            "\"%s\" is a format plug-in for version %u of the interface, this mmh has %u", path,
            (unsigned)reader->abi, MMH_FORMAT_ABI);
    if (reader->struct_size < READER_BYTES_MIN || !reader->name || !reader->detect || !reader->map)
        return mmh_fail(err, MMH_E_USAGE, "\"%s\" leaves out a part of its mmh_format_reader",
                        path);
    struct mmh_plugin *made = mmh_arena_array(&plugins->arena, 1, sizeof *made);
    const char *copy = mmh_arena_string(&plugins->arena, path, strlen(path));
    if (!made || !copy)
        return mmh_fail(err, MMH_E_MEMORY, "format plug-in");
    *made = (struct mmh_plugin){ NULL, library, reader, copy, turn };
    struct mmh_plugin **end = &plugins->first;
    while (*end)
        end = &(*end)->next;
    *end = made;
    return MMH_OK;
}

mmh_status mmh_plugins_take(struct mmh_plugins *plugins, const mmh_format_reader *reader,
                            const char *path, enum mmh_plugin_turn turn, mmh_error *err)
{
    return add(plugins, NULL, reader, path, turn, err);
}

mmh_status mmh_plugins_load(struct mmh_plugins *plugins, const char *path,
                            enum mmh_plugin_turn turn, mmh_error *err)
{
    const mmh_format_reader *(*plugin)(void);
    mmh_library *library;
    struct mmh_path_info info;
    mmh_error problem = { 0 };
    /* A name without a folder would be looked for among the system's libraries. */
    const char *file = strchr(path, '/') ? path : mmh_arena_format(&plugins->arena, "./%s", path);
    if (!file)
        return mmh_fail(err, MMH_E_MEMORY, "format plug-in");
    mmh_status status = mmh_path_stat(&info, file, true, err);
    if (!status && info.kind == MMH_PATH_NONE)
        status = mmh_fail(err, MMH_E_IO, "there is no format plug-in \"%s\"", path);
    if (status)
        return status;
    status = mmh_library_open(&library, &file, 1, plugins->arena.allocator, &problem);
    if (status)
        return mmh_fail(err, status, "format plug-in \"%s\": %s", path, problem.message);
    if (!mmh_library_function(library, "mmh_format_plugin", &plugin))
        status = mmh_fail(err, MMH_E_USAGE,
                          "\"%s\" is no format plug-in: it has no mmh_format_plugin", path);
    else
        status = add(plugins, library, plugin(), path, turn, err);
    if (status)
        mmh_library_close(library);
    return status;
}

/* ---- asking ---- */

static mmh_status ask(struct mmh_extent_map *map, bool *taken, struct mmh_format_file *file,
                      const struct mmh_plugin *plugin, mmh_error *err)
{
    struct mmh_map_mark before = mmh_extent_map_mark(map);
    int answer = MMH_PLUGIN_OTHER;
    file->map = NULL;
    bool wanted = plugin->reader->detect(file, &host) != 0;
    file->map = map;
    if (wanted && !file->status)
        answer = plugin->reader->map(file, &host);
    if (file->status)
        return mmh_fail(err, file->status, "%s", file->error.message);
    *taken = wanted && answer == MMH_PLUGIN_OK;
    if (wanted && !*taken) {
        mmh_extent_map_discard(map, &before);
        mmh_extent_map_remark(map, "not taken as %s by the plug-in \"%s\"", plugin->reader->name,
                              plugin->path);
    }
    return MMH_OK;
}

mmh_status mmh_plugins_map(struct mmh_extent_map *map, bool *taken,
                           const struct mmh_format_probe *probe, enum mmh_plugin_turn turn,
                           mmh_error *err)
{
    const struct mmh_plugin *plugin = probe->options->plugins ? probe->options->plugins->first
                                                              : NULL;
    mmh_status status = MMH_OK;
    *taken = false;
    for (; plugin && !status && !*taken; plugin = plugin->next) {
        if (plugin->turn != turn)
            continue;
        struct mmh_format_file file = { .source = probe->source };
        status = ask(map, taken, &file, plugin, err);
    }
    return status;
}

/* ---- as a format of the table ---- */

static bool detect(const struct mmh_format_probe *probe)
{
    const struct mmh_plugin *plugin = probe->options->plugins ? probe->options->plugins->first
                                                              : NULL;
    while (plugin && plugin->turn != MMH_PLUGIN_AFTER_ALL)
        plugin = plugin->next;
    return plugin != NULL;
}

static mmh_status map_file(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                           mmh_error *err)
{
    bool taken;
    mmh_status status = mmh_plugins_map(map, &taken, probe, MMH_PLUGIN_AFTER_ALL, err);
    if (!status && !taken)
        return mmh_fail(err, MMH_E_UNSUPPORTED, "no plug-in knows it");
    return status;
}

const struct mmh_format mmh_format_custom = {
    .name = "custom",
    .detect = detect,
    .map = map_file,
};
