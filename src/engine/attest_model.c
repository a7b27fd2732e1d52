/*
 * The files of a model, wherever it is, and their hashes.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: OpenSSF Model Signing specification 1.0, sections 6.1 to 6.3.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "engine/attest.h"
#include "trust/text.h"

enum { PIECE_BYTES = 4 << 20 };

static const uint8_t container_magic[8] = "\x89MMH\r\n\x1a\n";

const char *const mmh_model_ignored[MMH_MODEL_IGNORED_COUNT] = { ".git", ".gitattributes",
                                                                 ".github", ".gitignore" };

/* ---- listing ---- */

/* Whether `name` is `path` or beneath it. */
static bool is_beneath(const char *name, const char *path)
{
    const size_t bytes = strlen(path);
    return strncmp(name, path, bytes) == 0 && (!name[bytes] || name[bytes] == '/');
}

static bool is_ignored(const char *name, const struct mmh_model_rules *rules)
{
    for (size_t i = 0; i < MMH_MODEL_IGNORED_COUNT; i++)
        if (is_beneath(name, mmh_model_ignored[i]))
            return true;
    for (size_t i = 0; i < rules->ignored_count; i++)
        if (is_beneath(name, rules->ignored[i]))
            return true;
    return false;
}

static mmh_status check_name(const char *name, mmh_error *err)
{
    return mmh_text_is_utf8(name, strlen(name))
             ? MMH_OK
             : mmh_fail(err, MMH_E_UNSUPPORTED,
                        "\"%s\" is no UTF-8: a bundle cannot name such a file", name);
}

/* A folder's entry that is no plain file; *bytes of what it leads to, if that is one. */
static mmh_status follow(const struct mmh_model *model, const struct mmh_path_info *entry,
                         bool symlinks, uint64_t *bytes, mmh_error *err)
{
    struct mmh_path_info target;
    struct mmh_arena arena;
    if (entry->kind != MMH_PATH_SYMLINK)
        return mmh_fail(err, MMH_E_UNSUPPORTED, "\"%s/%s\" is neither file nor folder", model->path,
                        entry->path);
    if (!symlinks)
        return mmh_fail(err, MMH_E_USAGE,
                        "\"%s/%s\" is a symlink: ignore it, or let symlinks be followed",
                        model->path, entry->path);
    mmh_arena_init(&arena, model->context->allocator);
    const char *path = mmh_arena_format(&arena, "%s/%s", model->path, entry->path);
    mmh_status status = path ? mmh_path_stat(&target, path, true, err)
                             : mmh_fail(err, MMH_E_MEMORY, "no memory for a path");
    if (status == MMH_OK && target.kind != MMH_PATH_FILE)
        status = mmh_fail(err, MMH_E_UNSUPPORTED, "the symlink \"%s\" does not lead to a file",
                          path);
    *bytes = status == MMH_OK ? target.bytes : 0;
    mmh_arena_release(&arena);
    return status;
}

static mmh_status list_folder(struct mmh_model *model, const struct mmh_model_rules *rules,
                              mmh_error *err)
{
    struct mmh_path_info *entries, bundle = { .kind = MMH_PATH_NONE };
    size_t count;
    mmh_status status = mmh_folder_list(&entries, &count, &model->arena, model->folder, NULL, err);
    if (status == MMH_OK && rules->bundle)
        status = mmh_path_stat(&bundle, rules->bundle, true, err);
    if (status != MMH_OK)
        return status;
    model->files = mmh_arena_array(&model->arena, count, sizeof *model->files);
    if (!model->files)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for %zu files", count);
    for (size_t i = 0; i < count && status == MMH_OK; i++) {
        const struct mmh_path_info *entry = &entries[i];
        struct mmh_model_file file = { .name = entry->path,
                                       .bytes = entry->bytes,
                                       .ignored = is_ignored(entry->path, rules) };
        if (entry->kind == MMH_PATH_FOLDER ||
            (bundle.kind == MMH_PATH_FILE && entry->kind == MMH_PATH_FILE &&
             entry->device == bundle.device && entry->inode == bundle.inode))
            continue;
        if (entry->kind != MMH_PATH_FILE) {
            if (file.ignored)
                continue;
            file.followed = true;
            status = follow(model, entry, rules->symlinks, &file.bytes, err);
        }
        if (status == MMH_OK && !file.ignored)
            status = check_name(file.name, err);
        model->files[model->file_count++] = file;
    }
    return status;
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const struct mmh_model_file *)a)->name,
                  ((const struct mmh_model_file *)b)->name);
}

static mmh_status list_container(struct mmh_model *model, const struct mmh_model_rules *rules,
                                 mmh_error *err)
{
    const struct mmh_index *index = &model->reader->container.index;
    mmh_status status = MMH_OK;
    model->files = mmh_arena_array(&model->arena, (size_t)index->file_count, sizeof *model->files);
    if (!model->files)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for %" PRIu64 " files", index->file_count);
    for (uint64_t i = 0; i < index->file_count && status == MMH_OK; i++) {
        mmh_file_info info = { .struct_size = sizeof info };
        status = mmh_file(model->reader, i, &info, err);
        if (status != MMH_OK || info.kind == MMH_FILE_FOLDER)
            continue;
        struct mmh_model_file file = { .name = info.name,
                                       .bytes = info.bytes,
                                       .number = i,
                                       .ignored = is_ignored(info.name, rules) };
        if (file.ignored && info.kind == MMH_FILE_SYMLINK)
            continue;
        if (info.kind == MMH_FILE_SYMLINK)
            status = mmh_fail(err, MMH_E_UNSUPPORTED,
                              "\"%s\" is a symlink in the container: ignore it, or unpack first",
                              info.name);
        else if (!file.ignored)
            status = check_name(file.name, err);
        model->files[model->file_count++] = file;
    }
    if (model->file_count)
        qsort(model->files, model->file_count, sizeof *model->files, compare_files);
    return status;
}

static mmh_status is_container(bool *container, const char *path, const mmh_allocator *allocator,
                               mmh_error *err)
{
    mmh_input *input;
    uint8_t magic[sizeof container_magic] = { 0 };
    mmh_status status = mmh_input_open(&input, path, allocator, err);
    if (status != MMH_OK)
        return status;
    *container = mmh_input_bytes(input) >= sizeof magic;
    if (*container)
        status = mmh_input_read(input, magic, 0, sizeof magic, err);
    *container = *container && status == MMH_OK &&
                 memcmp(magic, container_magic, sizeof magic) == 0;
    mmh_input_close(input);
    return status;
}

/* The last part of a path. */
static const char *last_part(struct mmh_model *model, bool container)
{
    size_t bytes = strlen(model->path);
    while (bytes > 1 && model->path[bytes - 1] == '/')
        bytes--;
    size_t begin = bytes;
    while (begin && model->path[begin - 1] != '/')
        begin--;
    const char *name = model->path + begin;
    bytes -= begin;
    if (container && bytes > 4 && memcmp(name + bytes - 4, ".mmh", 4) == 0)
        bytes -= 4;
    if (!bytes || name[0] == '.' || name[0] == '/') /* ".", "..", "/": no name */
        return "model";
    return mmh_arena_string(&model->arena, name, bytes);
}

mmh_status mmh_model_open(struct mmh_model *model, mmh_context *context, const char *path,
                          const struct mmh_model_rules *rules, mmh_error *err)
{
    struct mmh_path_info info;
    bool container = false;
    memset(model, 0, sizeof *model);
    model->context = context;
    model->path = path;
    mmh_arena_init(&model->arena, context->allocator);
    mmh_status status = mmh_path_stat(&info, path, true, err);
    if (status == MMH_OK && info.kind == MMH_PATH_NONE)
        status = mmh_fail(err, MMH_E_IO, "\"%s\" is not there", path);
    if (status == MMH_OK && info.kind == MMH_PATH_FILE && !rules->as_file)
        status = is_container(&container, path, context->allocator, err);
    if (status != MMH_OK)
        return status;
    model->name = last_part(model, container);
    if (!model->name)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for a name");
    if (info.kind == MMH_PATH_FOLDER) {
        status = mmh_folder_open(&model->folder, path, false, context->allocator, err);
        return status == MMH_OK ? list_folder(model, rules, err) : status;
    }
    if (container) {
        status = mmh_reader_open(context, path, false, &model->reader, err);
        return status == MMH_OK ? list_container(model, rules, err) : status;
    }
    model->files = mmh_arena_array(&model->arena, 1, sizeof *model->files);
    if (!model->files)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for a file");
    model->files[0] = (struct mmh_model_file){ .name = model->name, .bytes = info.bytes };
    model->file_count = 1;
    return check_name(model->name, err);
}

void mmh_model_release(struct mmh_model *model)
{
    mmh_close(model->reader);
    mmh_folder_close(model->folder);
    mmh_arena_release(&model->arena);
}

/* ---- hashing ---- */

struct hashing {
    struct mmh_model *model;
    struct mmh_model_hash *hashes;
    unsigned hash;
    /* Of containers: decoded by all threads, hashed in order. */
    struct piece *pieces;
    uint8_t *ring; /* [window] of PIECE_BYTES */
    size_t window;
    struct mmh_file_hasher hasher;
    bool hashing; /* the hasher is in use */
};

static mmh_status open_file(mmh_input **input, const struct mmh_model *model,
                            const struct mmh_model_file *file, mmh_error *err)
{
    const mmh_allocator *allocator = model->context->allocator;
    if (!model->folder)
        return mmh_input_open(input, model->path, allocator, err);
    if (!file->followed)
        return mmh_input_open_beneath(input, model->folder, file->name, allocator, err);
    struct mmh_arena arena;
    mmh_arena_init(&arena, allocator);
    const char *path = mmh_arena_format(&arena, "%s/%s", model->path, file->name);
    mmh_status status = path ? mmh_input_open(input, path, allocator, err)
                             : mmh_fail(err, MMH_E_MEMORY, "no memory for a path");
    mmh_arena_release(&arena);
    return status;
}

/* A range of a file on disk. */
static mmh_status hash_range(void *context, size_t job, unsigned worker_index, mmh_error *err)
{
    struct hashing *hashing = context;
    mmh_context *engine = hashing->model->context;
    struct mmh_worker *worker = &engine->workers[worker_index];
    const struct mmh_model_hash *range = &hashing->hashes[job];
    const struct mmh_model_file *file = &hashing->model->files[range->file];
    struct mmh_file_hasher hasher;
    mmh_input *input = NULL;
    mmh_status status = mmh_worker_room(engine, worker, 0, PIECE_BYTES, err);
    if (status == MMH_OK)
        status = open_file(&input, hashing->model, file, err);
    if (status != MMH_OK)
        return status;
    if (mmh_input_bytes(input) != file->bytes) {
        status = mmh_fail(err, MMH_E_IO, "\"%s\" changes while it is read", file->name);
        goto done;
    }
    status = mmh_file_hasher_init(&hasher, hashing->hash, err);
    if (status != MMH_OK)
        goto done;
    mmh_input_advise(input, MMH_ACCESS_SEQUENTIAL);
    for (uint64_t at = range->begin; at < range->end && status == MMH_OK;) {
        const size_t bytes = (size_t)MMH_MIN(range->end - at, (uint64_t)PIECE_BYTES);
        status = mmh_input_read(input, worker->decoded, at, bytes, err);
        if (status == MMH_OK)
            status = mmh_file_hasher_update(&hasher, worker->decoded, bytes, err);
        atomic_fetch_add_explicit(&engine->done_bytes, bytes, memory_order_relaxed);
        if (status == MMH_OK)
            status = mmh_context_poll(engine, err);
        at += bytes;
    }
    if (status == MMH_OK)
        status = mmh_input_unchanged(input, err);
    if (status == MMH_OK)
        status = mmh_file_hasher_final(&hasher, range->digest, err);
    else
        mmh_file_hasher_abandon(&hasher);
done:
    mmh_input_close(input);
    return status;
}

struct piece {
    size_t range; /* its place in hashes */
    uint64_t begin;
    size_t bytes; /* 0: of an empty range */
};

static mmh_status decode_piece(void *context, size_t job, unsigned worker_index, mmh_error *err)
{
    struct hashing *hashing = context;
    const struct piece *piece = &hashing->pieces[job];
    const uint64_t number = hashing->model->files[hashing->hashes[piece->range].file].number;
    (void)worker_index;
    return mmh_reader_bytes(hashing->model->reader, number, piece->begin,
                            hashing->ring + job % hashing->window * PIECE_BYTES, piece->bytes, err);
}

static mmh_status hash_piece(void *context, size_t job, mmh_error *err)
{
    struct hashing *hashing = context;
    const struct piece *piece = &hashing->pieces[job];
    const struct mmh_model_hash *range = &hashing->hashes[piece->range];
    mmh_status status = MMH_OK;
    if (piece->begin == range->begin) {
        status = mmh_file_hasher_init(&hashing->hasher, hashing->hash, err);
        if (status != MMH_OK)
            return status;
        hashing->hashing = true;
    }
    status = mmh_file_hasher_update(
        &hashing->hasher, hashing->ring + job % hashing->window * PIECE_BYTES, piece->bytes, err);
    if (status == MMH_OK && piece->begin + piece->bytes == range->end) {
        hashing->hashing = false;
        status = mmh_file_hasher_final(&hashing->hasher, range->digest, err);
    }
    return status;
}

static mmh_status hash_container(struct hashing *hashing, size_t count, mmh_error *err)
{
    mmh_context *context = hashing->model->context;
    size_t pieces = 0;
    for (size_t i = 0; i < count; i++)
        pieces += (size_t)MMH_MAX(
            mmh_divide_up(hashing->hashes[i].end - hashing->hashes[i].begin, PIECE_BYTES),
            UINT64_C(1));
    hashing->window = MMH_MIN((size_t)mmh_pool_threads(context->pool) + 1, pieces);
    hashing->pieces = mmh_alloc_array(context->allocator, pieces, sizeof *hashing->pieces);
    hashing->ring = mmh_alloc(context->allocator, 0, hashing->window * PIECE_BYTES);
    mmh_status status = MMH_OK;
    if (!hashing->pieces || !hashing->ring) {
        status = mmh_fail(err, MMH_E_MEMORY, "no memory to hash %zu files", count);
        goto done;
    }
    for (size_t i = 0, p = 0; i < count; i++) {
        uint64_t at = hashing->hashes[i].begin;
        do {
            const size_t bytes = (size_t)MMH_MIN(hashing->hashes[i].end - at,
                                                 (uint64_t)PIECE_BYTES);
            hashing->pieces[p++] = (struct piece){ i, at, bytes };
            at += bytes;
        } while (at < hashing->hashes[i].end);
    }
    status = mmh_pool_ordered(context->pool, pieces, hashing->window, decode_piece, hash_piece,
                              hashing, err);
    if (hashing->hashing)
        mmh_file_hasher_abandon(&hashing->hasher);
done:
    mmh_free(context->allocator, hashing->ring);
    mmh_free(context->allocator, hashing->pieces);
    return status;
}

mmh_status mmh_model_hash(struct mmh_model *model, struct mmh_model_hash *hashes, size_t count,
                          unsigned hash, const char *stage, mmh_error *err)
{
    struct hashing hashing = { .model = model, .hashes = hashes, .hash = hash };
    uint64_t bytes = 0;
    mmh_status status = MMH_OK;
    for (size_t i = 0; i < count; i++)
        bytes += hashes[i].end - hashes[i].begin;
    mmh_context_begin(model->context, stage, bytes);
    if (count)
        status = model->reader
                   ? hash_container(&hashing, count, err)
                   : mmh_pool_run(model->context->pool, count, hash_range, &hashing, err);
    mmh_context_end(model->context, status);
    return status;
}
