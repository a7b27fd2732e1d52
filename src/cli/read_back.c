/*
 * pack --rm: read a container back, compare it with what it was made of, and only then remove that.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/read_back.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/host.h"
#include "cli/progress.h"

enum { PIECE_BYTES = 1 << 26 }; /* a read of this size keeps all threads busy */

/* An entry of the container, and what it was made of. */
struct origin {
    char *path;
    mmh_file_kind kind;
    bool kept;                         /* a copy of standard input: there is nothing to remove */
    struct mmh_host_identity identity; /* as it was before it was compared */
};

struct read_back {
    mmh_context *context;
    const char *const *inputs;
    size_t input_count;
    mmh_reader *reader;
    struct origin *origins;
    size_t origin_count;
    unsigned char *stored, *source; /* [PIECE_BYTES] each */
    uint64_t done_bytes, total_bytes;
    mmh_error *err;
};

static mmh_status fail(struct read_back *back, mmh_status status, const char *format, ...)
    MMH_CLI_PRINTF(3, 4);
static mmh_status fail(struct read_back *back, mmh_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    back->err->status = status;
    vsnprintf(back->err->message, sizeof back->err->message, format, arguments);
    va_end(arguments);
    return status;
}

/* ---- where it came from ---- */

/* The name of a folder when several inputs share a container: "models/" gives "models". */
static char *folder_name(const char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    char *trimmed = mmh_cli_format("%.*s", (int)length, path);
    char *name = mmh_cli_format("%s", mmh_cli_base_name(trimmed));
    free(trimmed);
    return name;
}

/* Where `name` would lie if it came with this input, to be freed; NULL: it did not.
 * *certain: it did, and not only maybe, as a shard beside the index that was given. */
static char *candidate(const struct read_back *back, const char *input, const char *name,
                       bool *certain)
{
    *certain = true;
    if (mmh_host_kind(input) != MMH_HOST_FOLDER) {
        if (strcmp(name, mmh_cli_base_name(input)) == 0)
            return mmh_cli_format("%s", input);
        *certain = false;
        char *folder = mmh_cli_folder_of(input), *path = mmh_cli_join(folder, name);
        struct mmh_host_identity identity;
        bool there = mmh_host_identify(&identity, path);
        free(folder);
        if (there)
            return path;
        free(path);
        return NULL;
    }
    if (back->input_count == 1)
        return strcmp(name, ".") == 0 ? mmh_cli_format("%s", input) : mmh_cli_join(input, name);
    char *own = folder_name(input), *path = NULL;
    size_t length = strlen(own);
    if (strncmp(name, own, length) == 0 && (!name[length] || name[length] == '/'))
        path = name[length] ? mmh_cli_join(input, name + length + 1) : mmh_cli_format("%s", input);
    free(own);
    return path;
}

/* The path that an entry came from, to be freed. NULL if that cannot be told. */
static char *find_origin(const struct read_back *back, const char *name)
{
    char *found = NULL;
    for (int pass = 0; pass < 2 && !found; pass++) /* those that are certain first */
        for (size_t i = 0; i < back->input_count; i++) {
            bool certain;
            char *path = candidate(back, back->inputs[i], name, &certain);
            if (!path || certain == (pass == 1)) {
                free(path);
                continue;
            }
            bool ambiguous = found && !mmh_host_same(found, path);
            if (found && !ambiguous) {
                free(path);
                continue;
            }
            free(found);
            found = path;
            if (ambiguous) {
                free(found);
                return NULL;
            }
        }
    return found;
}

/* ---- comparing ---- */

static mmh_status compare_file(struct read_back *back, uint64_t index, const mmh_file_info *info,
                               const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return fail(back, MMH_E_IO, "cannot read \"%.400s\": %s", path, strerror(errno));
    setvbuf(file, NULL, _IONBF, 0);
    mmh_status status = MMH_OK;
    for (uint64_t done = 0; done < info->bytes && status == MMH_OK;) {
        size_t bytes = info->bytes - done < PIECE_BYTES ? (size_t)(info->bytes - done)
                                                        : PIECE_BYTES;
        status = mmh_read(back->reader, index, done, back->stored, bytes, back->err);
        if (status == MMH_OK && (fread(back->source, 1, bytes, file) != bytes ||
                                 memcmp(back->source, back->stored, bytes) != 0))
            status = fail(back, MMH_E_IO, "\"%.400s\" is not what was packed (any more)", path);
        done += bytes;
        mmh_bar_own("compare", back->done_bytes += bytes, back->total_bytes);
        if (status == MMH_OK && mmh_host_interrupted())
            status = fail(back, MMH_E_CANCELLED, "interrupted");
    }
    if (status == MMH_OK && getc(file) != EOF)
        status = fail(back, MMH_E_IO, "\"%.400s\" has grown since it was packed", path);
    fclose(file);
    return status;
}

static mmh_status compare_entry(struct read_back *back, uint64_t index)
{
    mmh_file_info info = { .struct_size = sizeof info };
    struct origin *origin = &back->origins[index];
    mmh_status status = mmh_file(back->reader, index, &info, back->err);
    if (status != MMH_OK)
        return status;
    origin->kind = info.kind;
    origin->path = find_origin(back, info.name);
    if (!origin->path)
        return fail(back, MMH_E_IO, "where \"%.400s\" came from cannot be told", info.name);
    origin->kept = mmh_cli_is_input_copy(origin->path);
    if (!mmh_host_identify(&origin->identity, origin->path))
        return fail(back, MMH_E_IO, "cannot look at \"%.400s\": %s", origin->path, strerror(errno));
    if (info.kind == MMH_FILE_REGULAR)
        return compare_file(back, index, &info, origin->path);
    if (info.kind == MMH_FILE_SYMLINK) {
        char *target = mmh_host_link_target(origin->path);
        if (!target || strcmp(target, info.link_target) != 0)
            status = fail(back, MMH_E_IO, "\"%.400s\" is not what was packed (any more)",
                          origin->path);
        free(target);
    }
    return status;
}

/* ---- removing ---- */

static int by_path(const void *a, const void *b)
{
    const struct origin *const *x = a, *const *y = b;
    return strcmp((*x)->path, (*y)->path);
}

/* Two entries that were made of one file: the inputs name it twice. */
static mmh_status check_twice(struct read_back *back)
{
    const struct origin **order = mmh_cli_alloc((back->origin_count + 1) * sizeof *order);
    mmh_status status = MMH_OK;
    for (size_t i = 0; i < back->origin_count; i++)
        order[i] = &back->origins[i];
    qsort(order, back->origin_count, sizeof *order, by_path);
    for (size_t i = 1; i < back->origin_count && status == MMH_OK; i++)
        if (order[i]->kind != MMH_FILE_FOLDER && strcmp(order[i - 1]->path, order[i]->path) == 0)
            status = fail(back, MMH_E_USAGE, "\"%.400s\" was packed twice: nothing is removed",
                          order[i]->path);
    free(order);
    return status;
}

static mmh_status remove_origins(struct read_back *back, uint64_t *removed)
{
    mmh_status status = check_twice(back);
    if (status != MMH_OK)
        return status;
    for (size_t i = 0; i < back->origin_count;
         i++) { /* a last look at all, before the first goes */
        struct origin *origin = &back->origins[i];
        struct mmh_host_identity now;
        if (origin->kind != MMH_FILE_FOLDER && (!mmh_host_identify(&now, origin->path) ||
                                                !mmh_host_identical(&now, &origin->identity)))
            return fail(back, MMH_E_IO, "\"%.400s\" has changed while it was compared",
                        origin->path);
    }
    for (size_t i = 0; i < back->origin_count; i++) {
        struct origin *origin = &back->origins[i];
        if (origin->kind == MMH_FILE_FOLDER || origin->kept)
            continue;
        if (!mmh_host_remove_file(origin->path))
            return fail(back, MMH_E_IO, "cannot remove \"%.400s\": %s", origin->path,
                        strerror(errno));
        ++*removed;
    }
    /* Names are in order, so what is in a folder comes after it. */
    for (size_t i = back->origin_count; i-- > 0;) {
        struct origin *origin = &back->origins[i];
        if (origin->kind != MMH_FILE_FOLDER)
            continue;
        if (mmh_host_remove_folder(origin->path))
            ++*removed;
        else
            mmh_message_note("%s is kept: %s", origin->path, strerror(errno));
    }
    return MMH_OK;
}

mmh_status mmh_read_back(mmh_context *context, const char *const *inputs, size_t input_count,
                         const char *container, uint64_t *removed, mmh_error *err)
{
    struct read_back back = {
        .context = context, .inputs = inputs, .input_count = input_count, .err = err
    };
    mmh_container_info info = { .struct_size = sizeof info };
    mmh_verify_options quick = { .struct_size = sizeof quick, .quick = true };
    *removed = 0;
    mmh_bar_begin(container, 0, 1);
    /* From the disk, not from what the system still has of the writing. */
    mmh_host_drop_cache(container);
    mmh_status status = mmh_verify(context, container, &quick, NULL, err); /* the spares too */
    if (status == MMH_OK)
        status = mmh_open(context, container, &back.reader, err);
    if (status == MMH_OK)
        status = mmh_container(back.reader, &info, err);
    if (status == MMH_OK) {
        back.origin_count = (size_t)info.file_count;
        back.origins = mmh_cli_alloc(back.origin_count * sizeof *back.origins);
        memset(back.origins, 0, back.origin_count * sizeof *back.origins);
        back.stored = mmh_cli_alloc(PIECE_BYTES);
        back.source = mmh_cli_alloc(PIECE_BYTES);
        back.total_bytes = info.original_bytes;
        mmh_bar_own("compare", 0, back.total_bytes);
    }
    for (size_t i = 0; i < back.origin_count && status == MMH_OK; i++)
        status = compare_entry(&back, i);
    mmh_bar_end();
    if (status == MMH_OK)
        status = remove_origins(&back, removed);
    mmh_close(back.reader);
    for (size_t i = 0; i < back.origin_count; i++)
        free(back.origins[i].path);
    free(back.origins);
    free(back.stored);
    free(back.source);
    return status;
}
