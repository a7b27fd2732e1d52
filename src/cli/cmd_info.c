/*
 * mmh info and mmh ls: what is in a container, and where its bytes are.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/guard_text.h"
#include "cli/host.h"
#include "cli/keyring.h"
#include "cli/passphrase.h"
#include "cli/progress.h"
#include "cli/table.h"

enum { KIND_COUNT = 3 };
static const char *const kind_names[KIND_COUNT] = { "file", "folder", "symlink" };
static const char *const kind_plurals[KIND_COUNT] = { "files", "folders", "symlinks" };

/* Run `show` on every container. */
typedef int show_fn(const struct mmh_cli_options *options, mmh_context *context, mmh_reader *reader,
                    const char *container, int code, mmh_error *err);

typedef mmh_reader *open_fn(const struct mmh_cli_options *options, mmh_context *context,
                            const char *path, int *exit_code);

static int show_all(const struct mmh_cli_options *options, mmh_context *context, open_fn *open_one,
                    show_fn *show)
{
    int code = MMH_EXIT_OK;
    for (size_t i = 0; i < options->input_count && !mmh_host_interrupted(); i++) {
        const char *shown = options->inputs[i];
        int one;
        mmh_error err = { 0 };
        mmh_reader *reader = NULL;
        mmh_bar_begin(shown, i, options->input_count);
        if (mmh_cli_begin_input(options, shown, NULL, &one))
            reader = open_one(options, context, shown, &one);
        mmh_bar_end();
        if (reader) {
            if (i && !options->json)
                putchar('\n');
            one = show(options, context, reader, shown, one, &err);
            if (err.status != MMH_OK)
                one = mmh_cli_fail_container(options, shown, &err, mmh_exit_of(err.status));
        }
        mmh_close(reader);
        mmh_cli_end_input();
        code = mmh_exit_worse(code, one);
    }
    return mmh_host_interrupted() ? MMH_EXIT_INTERRUPTED : code;
}

/* ---- info ---- */

void mmh_cli_json_usage(struct mmh_json_out *out, const char *key, const mmh_usage *usage,
                        size_t count)
{
    mmh_json_out_array(out, key);
    for (size_t i = 0; i < count; i++) {
        mmh_json_out_object(out, NULL);
        mmh_json_out_text(out, "name", usage[i].name);
        mmh_json_out_u64(out, "original_bytes", usage[i].original_bytes);
        mmh_json_out_u64(out, "stored_bytes", usage[i].stored_bytes);
        if (usage[i].floor_bytes)
            mmh_json_out_u64(out, "floor_bytes", usage[i].floor_bytes);
        mmh_json_out_u64(out, "chunks", usage[i].chunk_count);
        mmh_json_out_end(out);
    }
    mmh_json_out_end(out);
}

/* Its whole root; what says no more has the first 32 bytes. */
static const uint8_t *root_of(const mmh_container_info *info, size_t *bytes)
{
    *bytes = info->root_bytes ? info->root_bytes : sizeof info->root;
    return info->root_bytes ? info->whole_root : info->root;
}

static void info_json(const struct mmh_cli_options *options, const mmh_container_info *info,
                      const mmh_security *security, const char *container, int code)
{
    size_t root_bytes;
    const uint8_t *root = root_of(info, &root_bytes);
    struct mmh_json_out out;
    mmh_cli_json_begin(&out, options, container, MMH_OK, code);
    mmh_cli_json_mended(&out, info->mended);
    mmh_json_out_object(&out, "format");
    mmh_json_out_u64(&out, "major", info->format_major);
    mmh_json_out_u64(&out, "minor", info->format_minor);
    mmh_json_out_end(&out);
    mmh_json_out_text(&out, "writer", info->writer);
    mmh_json_out_u64(&out, "level", (uint64_t)(info->level > 0 ? info->level : 0));
    mmh_json_out_text(&out, "hash", info->hash_suite);
    mmh_json_out_hex(&out, "root", root, root_bytes);
    mmh_json_out_u64(&out, "original_bytes", info->original_bytes);
    mmh_json_out_u64(&out, "stored_bytes", info->container_bytes);
    mmh_json_out_u64(&out, "index_bytes", info->index_bytes);
    mmh_json_out_u64(&out, "floor_bytes", info->floor_bytes);
    mmh_json_out_ratio(&out, "ratio", info->container_bytes, info->original_bytes);
    mmh_json_out_u64(&out, "files", info->file_count);
    mmh_json_out_u64(&out, "tensors", info->tensor_count);
    mmh_json_out_u64(&out, "blocks", info->block_count);
    mmh_json_out_u64(&out, "chunks", info->chunk_count);
    mmh_cli_json_usage(&out, "by_dtype", info->by_dtype, info->by_dtype_count);
    mmh_cli_json_usage(&out, "by_codec", info->by_codec, info->by_codec_count);
    mmh_json_out_bool(&out, "locked", false);
    mmh_cli_guard_json(&out, security);
    mmh_json_out_end(&out);
    (void)mmh_json_out_finish(&out);
}

/* "#####   " : the share of the stored bytes, to see at once where they are. */
static void share_cell(mmh_table *table, uint64_t part, uint64_t whole)
{
    enum { COLUMNS = 10 };
    char text[COLUMNS * 3 + 1];
    bool utf8 = mmh_host_is_utf8();
    size_t used = 0;
    uint64_t full = whole ? (part * COLUMNS + whole / 2) / whole : 0;
    for (uint64_t i = 0; i < full && i < COLUMNS; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s",
                                 utf8 ? "\xe2\x96\x88" : "#");
    text[used] = 0;
    mmh_table_cell(table, "%s", text);
}

static void usage_row(mmh_table *table, const mmh_usage *usage, uint64_t whole, bool with_floor)
{
    /* What is opaque has no values to take the entropy of. */
    bool has_floor = usage->floor_bytes && usage->floor_bytes < usage->original_bytes;
    mmh_table_cell(table, "%s", strcmp(usage->name, "OPAQUE") == 0 ? "opaque" : usage->name);
    mmh_table_cell(table, "%s",
                   usage->original_bytes ? mmh_human_bytes(usage->original_bytes).text : "");
    mmh_table_cell(table, "%s", mmh_human_bytes(usage->stored_bytes).text);
    mmh_table_cell(table, "%s",
                   usage->original_bytes
                       ? mmh_human_percent(usage->stored_bytes, usage->original_bytes).text
                       : "");
    if (with_floor)
        mmh_table_cell(table, "%s",
                       has_floor ? mmh_human_percent(usage->floor_bytes, usage->original_bytes).text
                                 : "");
    else
        mmh_table_cell(table, "%s",
                       usage->chunk_count ? mmh_human_count(usage->chunk_count).text : "");
    share_cell(table, usage->stored_bytes, whole);
}

static int by_stored(const void *a, const void *b)
{
    uint64_t left = ((const mmh_usage *)a)->stored_bytes;
    uint64_t right = ((const mmh_usage *)b)->stored_bytes;
    return left < right ? 1 : left > right ? -1 : 0;
}

/* The largest first; to be freed. */
static mmh_usage *sorted(const mmh_usage *usage, size_t count)
{
    mmh_usage *copy = mmh_cli_alloc(count * sizeof *copy);
    if (count)
        memcpy(copy, usage, count * sizeof *copy);
    qsort(copy, count, sizeof *copy, by_stored);
    return copy;
}

static void info_table(const mmh_container_info *info)
{
    uint64_t chunk_bytes = 0, whole = info->container_bytes;
    mmh_table *table = mmh_table_create("lrrRRL");
    static const char *const heading[] = {
        "type", "original", "stored", "ratio", "floor", "share"
    };
    for (size_t i = 0; i < sizeof heading / sizeof *heading; i++)
        mmh_table_cell(table, "%s", heading[i]);
    mmh_table_heading(table);
    mmh_usage *rows = sorted(info->by_dtype, info->by_dtype_count);
    for (size_t i = 0; i < info->by_dtype_count; i++) {
        usage_row(table, &rows[i], whole, true);
        chunk_bytes += rows[i].stored_bytes;
    }
    free(rows);
    /* Shared chunks count in every row that has them, so there may be nothing left over. */
    mmh_usage index = { .name = "index, twice", .stored_bytes = 2 * info->index_bytes };
    usage_row(table, &index, whole, true);
    if (chunk_bytes + index.stored_bytes < whole) {
        mmh_usage rest = { .name = "headers, alignment",
                           .stored_bytes = whole - chunk_bytes - index.stored_bytes };
        usage_row(table, &rest, whole, true);
    }
    mmh_table_rule(table);
    mmh_usage total = { .name = "container",
                        .original_bytes = info->original_bytes,
                        .stored_bytes = whole,
                        .floor_bytes = info->floor_bytes };
    usage_row(table, &total, 0, true);
    mmh_table_print(table, stdout, "  ");
    mmh_table_destroy(table);
}

static void codec_table(const mmh_container_info *info)
{
    mmh_table *table = mmh_table_create("lrrRRL");
    static const char *const heading[] = {
        "codec", "original", "stored", "ratio", "chunks", "share"
    };
    for (size_t i = 0; i < sizeof heading / sizeof *heading; i++)
        mmh_table_cell(table, "%s", heading[i]);
    mmh_table_heading(table);
    mmh_usage *rows = sorted(info->by_codec, info->by_codec_count);
    for (size_t i = 0; i < info->by_codec_count; i++)
        usage_row(table, &rows[i], info->container_bytes, false);
    free(rows);
    mmh_table_print(table, stdout, "  ");
    mmh_table_destroy(table);
}

static void print_title(const char *container)
{
    char *clean = mmh_cli_clean(mmh_cli_shown(container));
    bool bold = mmh_host_is_colour(stdout);
    printf("%s%s%s\n", bold ? "\033[1m" : "", clean, bold ? "\033[0m" : "");
    free(clean);
}

static void print_root(const uint8_t *root, size_t bytes)
{
    char digits[2 * sizeof((mmh_container_info *)0)->whole_root + 1];
    printf("  root %s\n", mmh_human_hex(digits, root, bytes));
}

static void print_info(const mmh_container_info *info, const uint64_t counts[KIND_COUNT],
                       const mmh_security *security, const char *container)
{
    size_t root_bytes;
    const uint8_t *root = root_of(info, &root_bytes);
    print_title(container);
    printf("  %s, %s of %s", mmh_human_bytes(info->container_bytes).text,
           mmh_human_percent(info->container_bytes, info->original_bytes).text,
           mmh_human_bytes(info->original_bytes).text);
    if (info->floor_bytes < info->original_bytes)
        printf("; entropy floor %s",
               mmh_human_percent(info->floor_bytes, info->original_bytes).text);
    printf("\n  ");
    for (int kind = 0; kind < KIND_COUNT; kind++)
        if (counts[kind])
            printf("%s, ",
                   mmh_human_things(counts[kind], kind_names[kind], kind_plurals[kind]).text);
    printf("%s, %s\n", mmh_human_things(info->tensor_count, "tensor", "tensors").text,
           mmh_human_things(info->chunk_count, "chunk", "chunks").text);
    char *clean = mmh_cli_clean(info->writer ? info->writer : "?");
    printf("  format %" PRIu32 ".%" PRIu32 ", level %d, %s, written by %s\n", info->format_major,
           info->format_minor, info->level, info->hash_suite, clean);
    free(clean);
    print_root(root, root_bytes);
    if (security)
        mmh_cli_guard_print(security);
    putchar('\n');
    info_table(info);
    putchar('\n');
    codec_table(info);
}

static int show_info(const struct mmh_cli_options *options, mmh_context *context,
                     mmh_reader *reader, const char *container, int code, mmh_error *err)
{
    mmh_container_info info = { .struct_size = sizeof info };
    uint64_t counts[KIND_COUNT] = { 0 };
    err->status = mmh_container(reader, &info, err);
    for (uint64_t i = 0; i < info.file_count && err->status == MMH_OK; i++) {
        mmh_file_info file = { .struct_size = sizeof file };
        err->status = mmh_file(reader, i, &file, err);
        if (err->status == MMH_OK)
            counts[file.kind]++;
    }
    if (err->status != MMH_OK)
        return code;
    int guard_code;
    mmh_security *security = mmh_cli_guard_open(options, context, mmh_cli_path_of(container),
                                                container, &guard_code);
    if (!security)
        return guard_code;
    if (options->json)
        info_json(options, &info, security, container, code);
    else
        print_info(&info, counts, security, container);
    mmh_security_close(security);
    return code;
}

/* An encrypted container without its key: what is public. */
static int show_locked(const struct mmh_cli_options *options, mmh_context *context,
                       const char *container)
{
    int code;
    mmh_security_info info = { .struct_size = sizeof info };
    mmh_security *security = mmh_cli_guard_open(options, context, mmh_cli_path_of(container),
                                                container, &code);
    if (!security || mmh_security_get(security, &info, NULL) != MMH_OK)
        return code;
    if (options->json) {
        struct mmh_json_out out;
        mmh_cli_json_begin(&out, options, container, MMH_OK, MMH_EXIT_OK);
        mmh_json_out_text(&out, "hash", info.hash_suite);
        mmh_json_out_hex(&out, "root", info.root, info.root_bytes);
        mmh_json_out_bool(&out, "locked", true);
        mmh_cli_guard_json(&out, security);
        mmh_json_out_end(&out);
        (void)mmh_json_out_finish(&out);
    } else {
        print_title(container);
        printf("  %s\n", info.hash_suite);
        print_root(info.root, info.root_bytes);
        mmh_cli_guard_print(security);
        mmh_message_note("%s is locked: with --key there is more to tell",
                         mmh_cli_shown(container));
    }
    mmh_security_close(security);
    return MMH_EXIT_OK;
}

/* As mmh_cli_open; what nothing here opens is shown as far as it is public. */
static mmh_reader *open_info(const struct mmh_cli_options *options, mmh_context *context,
                             const char *container, int *exit_code)
{
    mmh_security *security = NULL;
    mmh_security_info info = { .struct_size = sizeof info };
    const char *path = mmh_cli_path_of(container);
    bool locked = !options->keyring->opener_count && !mmh_passphrase_wanted(options) &&
                  !mmh_passphrase_is_set() &&
                  mmh_security_open(context, path, NULL, 0, NULL, &security, NULL) == MMH_OK &&
                  mmh_security_get(security, &info, NULL) == MMH_OK && info.encrypted;
    mmh_security_close(security);
    if (!locked)
        return mmh_cli_open(options, context, container, exit_code);
    mmh_bar_end();
    *exit_code = show_locked(options, context, container);
    return NULL;
}

int mmh_cmd_info(const struct mmh_cli_options *options, mmh_context *context)
{
    return show_all(options, context, open_info, show_info);
}

/* ---- ls ---- */

static mmh_status list_tensors(mmh_reader *reader, const mmh_container_info *info, mmh_error *err)
{
    mmh_table *table = mmh_table_create("lllRRR");
    static const char *const heading[] = { "tensor", "type", "shape", "bytes", "stored", "ratio" };
    mmh_status status = MMH_OK;
    /* With several files, as mmh_find takes it: "file:tensor". */
    uint64_t regular_count = 0;
    for (uint64_t i = 0; i < info->file_count && status == MMH_OK; i++) {
        mmh_file_info file = { .struct_size = sizeof file };
        status = mmh_file(reader, i, &file, err);
        regular_count += status == MMH_OK && file.tensor_count;
    }
    for (size_t i = 0; i < sizeof heading / sizeof *heading; i++)
        mmh_table_cell(table, "%s", heading[i]);
    mmh_table_heading(table);
    for (uint64_t i = 0; i < info->tensor_count && status == MMH_OK; i++) {
        char shape[64 * 24];
        mmh_tensor_info tensor = { .struct_size = sizeof tensor };
        mmh_file_info file = { .struct_size = sizeof file };
        status = mmh_tensor(reader, i, &tensor, err);
        if (status == MMH_OK && regular_count > 1)
            status = mmh_file(reader, tensor.file, &file, err);
        if (status != MMH_OK)
            break;
        mmh_cli_shape(shape, sizeof shape, &tensor);
        mmh_table_cell(table, "%s%s%s", regular_count > 1 ? file.name : "",
                       regular_count > 1 ? ":" : "", tensor.name);
        mmh_table_cell(table, "%s%s", mmh_dtype_text(tensor.dtype), tensor.big_endian ? " BE" : "");
        mmh_table_cell(table, "%s%s", shape,
                       tensor.column_major ? " F"
                       : tensor.strides    ? " strided"
                                           : "");
        mmh_table_cell(table, "%s", mmh_human_bytes(tensor.bytes).text);
        mmh_table_cell(table, "%s", mmh_human_bytes(tensor.stored_bytes).text);
        mmh_table_cell(table, "%s", mmh_human_percent(tensor.stored_bytes, tensor.bytes).text);
    }
    if (status == MMH_OK)
        mmh_table_print(table, stdout, "");
    mmh_table_destroy(table);
    return status;
}

static mmh_status list_files(mmh_reader *reader, const mmh_container_info *info, mmh_error *err)
{
    mmh_table *table = mmh_table_create("llrRRRLl");
    static const char *const heading[] = { "kind",  "mode",    "bytes",  "stored",
                                           "ratio", "tensors", "format", "file" };
    mmh_status status = MMH_OK;
    for (size_t i = 0; i < sizeof heading / sizeof *heading; i++)
        mmh_table_cell(table, "%s", heading[i]);
    mmh_table_heading(table);
    for (uint64_t i = 0; i < info->file_count; i++) {
        mmh_file_info file = { .struct_size = sizeof file };
        status = mmh_file(reader, i, &file, err);
        if (status != MMH_OK)
            break;
        bool regular = file.kind == MMH_FILE_REGULAR;
        mmh_table_cell(table, "%s", kind_names[file.kind]);
        mmh_table_cell(table, "%04o", (unsigned)file.mode);
        mmh_table_cell(table, "%s", regular ? mmh_human_bytes(file.bytes).text : "");
        mmh_table_cell(table, "%s", regular ? mmh_human_bytes(file.stored_bytes).text : "");
        mmh_table_cell(table, "%s",
                       regular ? mmh_human_percent(file.stored_bytes, file.bytes).text : "");
        mmh_table_cell(table, "%s",
                       file.tensor_count ? mmh_human_count(file.tensor_count).text : "");
        mmh_table_cell(table, "%s", regular ? file.format : "");
        mmh_table_cell(table, "%s%s%s", file.name, file.link_target ? " -> " : "",
                       file.link_target ? file.link_target : "");
    }
    if (status == MMH_OK)
        mmh_table_print(table, stdout, "");
    mmh_table_destroy(table);
    return status;
}

/* ls -v: what was odd about original files. */
static mmh_status list_remarks(mmh_reader *reader, const mmh_container_info *info, mmh_error *err)
{
    mmh_status status = MMH_OK;
    bool any = false;
    for (uint64_t i = 0; i < info->file_count && status == MMH_OK; i++) {
        mmh_file_info file = { .struct_size = sizeof file };
        status = mmh_file(reader, i, &file, err);
        if (status != MMH_OK || !file.remark_count)
            continue;
        char *name = mmh_cli_clean(file.name);
        const char *text;
        uint64_t told = 0;
        if (!any)
            putchar('\n');
        any = true;
        for (; mmh_remark(reader, i, told, &text, NULL) == MMH_OK; told++) {
            char *clean = mmh_cli_clean(text);
            printf("%s: %s\n", name, clean);
            free(clean);
        }
        if (file.remark_count > told)
            printf("%s: ... and %s more\n", name, mmh_human_count(file.remark_count - told).text);
        free(name);
    }
    return status;
}

static mmh_status file_json(struct mmh_json_out *out, mmh_reader *reader, uint64_t index,
                            mmh_error *err)
{
    mmh_file_info file = { .struct_size = sizeof file };
    mmh_status status = mmh_file(reader, index, &file, err);
    if (status != MMH_OK)
        return status;
    mmh_json_out_object(out, NULL);
    mmh_json_out_text(out, "name", file.name);
    mmh_json_out_text(out, "kind", kind_names[file.kind]);
    mmh_json_out_u64(out, "mode", file.mode);
    if (file.kind == MMH_FILE_SYMLINK)
        mmh_json_out_text(out, "target", file.link_target);
    if (file.kind == MMH_FILE_REGULAR) {
        mmh_json_out_u64(out, "bytes", file.bytes);
        mmh_json_out_u64(out, "stored_bytes", file.stored_bytes);
        mmh_json_out_text(out, "format", file.format);
        mmh_json_out_hex(out, "digest", file.digest, file.digest_bytes);
        mmh_json_out_u64(out, "tensors", file.tensor_count);
        mmh_json_out_array(out, "metadata"); /* pairs: keys need not be unique */
        const char *key, *value;
        for (uint64_t i = 0; mmh_metadata(reader, index, i, &key, &value, NULL) == MMH_OK; i++) {
            mmh_json_out_array(out, NULL);
            mmh_json_out_text(out, NULL, key);
            mmh_json_out_text(out, NULL, value);
            mmh_json_out_end(out);
        }
        mmh_json_out_end(out);
        mmh_json_out_array(out, "remarks");
        const char *text;
        for (uint64_t i = 0; mmh_remark(reader, index, i, &text, NULL) == MMH_OK; i++)
            mmh_json_out_text(out, NULL, text);
        mmh_json_out_end(out);
        mmh_json_out_u64(out, "remark_count", file.remark_count);
    }
    mmh_json_out_end(out);
    return MMH_OK;
}

static mmh_status tensor_json(struct mmh_json_out *out, mmh_reader *reader, uint64_t index,
                              mmh_error *err)
{
    mmh_tensor_info tensor = { .struct_size = sizeof tensor };
    mmh_status status = mmh_tensor(reader, index, &tensor, err);
    if (status != MMH_OK)
        return status;
    mmh_json_out_object(out, NULL);
    mmh_json_out_text(out, "name", tensor.name);
    mmh_json_out_u64(out, "file", tensor.file);
    mmh_json_out_text(out, "dtype", mmh_dtype_text(tensor.dtype));
    mmh_json_out_array(out, "shape");
    for (uint32_t d = 0; d < tensor.dimensions; d++)
        mmh_json_out_u64(out, NULL, tensor.shape[d]);
    mmh_json_out_end(out);
    if (tensor.strides) { /* a view: elements that do not lie one after another */
        mmh_json_out_array(out, "strides");
        for (uint32_t d = 0; d < tensor.dimensions; d++)
            mmh_json_out_u64(out, NULL, tensor.strides[d]);
        mmh_json_out_end(out);
    }
    mmh_json_out_bool(out, "big_endian", tensor.big_endian);
    mmh_json_out_bool(out, "column_major", tensor.column_major);
    mmh_json_out_u64(out, "offset", tensor.file_offset);
    mmh_json_out_u64(out, "bytes", tensor.bytes);
    mmh_json_out_u64(out, "stored_bytes", tensor.stored_bytes);
    mmh_json_out_end(out);
    return MMH_OK;
}

static int show_list(const struct mmh_cli_options *options, mmh_context *context,
                     mmh_reader *reader, const char *container, int code, mmh_error *err)
{
    (void)context;
    mmh_container_info info = { .struct_size = sizeof info };
    mmh_status status = mmh_container(reader, &info, err);
    if (status == MMH_OK && options->json) {
        struct mmh_json_out out;
        mmh_cli_json_begin(&out, options, container, MMH_OK, code);
        mmh_json_out_array(&out, "files");
        for (uint64_t i = 0; i < info.file_count && status == MMH_OK; i++)
            status = file_json(&out, reader, i, err);
        mmh_json_out_end(&out);
        mmh_json_out_array(&out, "tensors");
        for (uint64_t i = 0; i < info.tensor_count && status == MMH_OK; i++)
            status = tensor_json(&out, reader, i, err);
        mmh_json_out_end(&out);
        mmh_json_out_end(&out);
        (void)mmh_json_out_finish(&out);
    } else if (status == MMH_OK) {
        if (options->input_count > 1) {
            char *clean = mmh_cli_clean(mmh_cli_shown(container));
            printf("%s:\n", clean);
            free(clean);
        }
        bool files = options->long_list || !info.tensor_count;
        if (files)
            status = list_files(reader, &info, err);
        if (files && info.tensor_count)
            putchar('\n');
        if (status == MMH_OK && info.tensor_count)
            status = list_tensors(reader, &info, err);
        if (status == MMH_OK && options->verbose)
            status = list_remarks(reader, &info, err);
    }
    err->status = status;
    return code;
}

int mmh_cmd_ls(const struct mmh_cli_options *options, mmh_context *context)
{
    return show_all(options, context, mmh_cli_open_model, show_list);
}
