/*
 * mmh unpack: give back every byte that was packed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/damage_list.h"
#include "cli/host.h"
#include "cli/keyring.h"
#include "cli/progress.h"
#include "cli/written.h"

/* What decides where the files go. */
struct content {
    uint64_t file_count;
    bool one_file; /* one regular file, and nothing else */
    bool has_root; /* it is a packed folder */
    char *name;    /* of the first file */
    char **names;  /* [file_count] with several containers: of all that are no folders; else NULL */
};

static int look_inside(const struct mmh_cli_options *options, mmh_context *context,
                       const char *path, const char *shown, struct content *content)
{
    mmh_error err = { 0 };
    mmh_reader *reader = NULL;
    mmh_container_info info = { .struct_size = sizeof info };
    mmh_status status = mmh_open(context, path, &reader, &err);
    if (status == MMH_OK)
        status = mmh_container(reader, &info, &err);
    content->file_count = info.file_count;
    for (uint64_t i = 0; i < info.file_count && status == MMH_OK; i++) {
        mmh_file_info file = { .struct_size = sizeof file };
        status = mmh_file(reader, i, &file, &err);
        if (status != MMH_OK)
            break;
        if (!content->name)
            content->name = mmh_cli_format("%s", file.name);
        if (options->input_count > 1) {
            if (!content->names) {
                content->names = mmh_cli_alloc((size_t)info.file_count * sizeof *content->names);
                memset(content->names, 0, (size_t)info.file_count * sizeof *content->names);
            }
            if (file.kind != MMH_FILE_FOLDER)
                content->names[i] = mmh_cli_format("%s", file.name);
        }
        content->has_root |= strcmp(file.name, ".") == 0;
        content->one_file = info.file_count == 1 && file.kind == MMH_FILE_REGULAR;
    }
    mmh_close(reader);
    if (status != MMH_OK)
        return mmh_cli_fail_container(options, shown, &err, mmh_exit_of(status));
    return MMH_EXIT_OK; /* what was mended is told when it is unpacked */
}

static void release(struct content *content)
{
    for (uint64_t i = 0; content->names && i < content->file_count; i++)
        free(content->names[i]);
    free(content->names);
    free(content->name);
}

/* With several containers: the first thing that another of them has put there (to be freed; NULL:
 * none), or with `note` that all this is there now. */
static char *find_written(const struct content *content, const char *destination, bool as_file,
                          bool note)
{
    for (uint64_t i = 0; content->names && i < content->file_count; i++) {
        if (!content->names[i])
            continue;
        char *path = as_file ? mmh_cli_format("%s", destination)
                             : mmh_cli_join(destination, content->names[i]);
        if (note)
            mmh_written_add(path);
        else if (mmh_written_has(path))
            return path;
        free(path);
    }
    return NULL;
}

static bool names_folder(const char *path)
{
    return path[strlen(path) - 1] == '/' || mmh_host_kind(path) == MMH_HOST_FOLDER;
}

/* Where it goes; to be freed. NULL: that cannot be told. */
static char *choose_destination(const struct mmh_cli_options *options, const char *container,
                                const struct content *content, bool *as_file)
{
    *as_file = false;
    if (options->output) {
        *as_file = content->one_file && !names_folder(options->output);
        return mmh_cli_format("%s", options->output);
    }
    char *folder = mmh_cli_folder_of(container);
    if (content->has_root) {
        /* A packed folder comes back as a folder: llama.mmh gives llama/. */
        free(folder);
        return mmh_cli_is_container_name(container)
                 ? mmh_cli_format("%.*s", (int)strlen(container) - 4, container)
                 : NULL;
    }
    if (content->one_file && !strchr(content->name, '/')) {
        char *path = strchr(container, '/') ? mmh_cli_join(folder, content->name)
                                            : mmh_cli_format("%s", content->name);
        *as_file = !names_folder(path);
        if (*as_file) {
            free(folder);
            return path;
        }
        free(path); /* a folder has that name: the library says so */
    }
    return folder;
}

static void tell_times(const mmh_unpack_report *report)
{
    if (report->unseal_ns)
        mmh_message_note("  time: decrypt %s", mmh_human_time(report->unseal_ns).text);
    mmh_message_note("  time: read %s, hash %s, decode %s, write %s, sync %s; wall %s",
                     mmh_human_time(report->read_ns).text, mmh_human_time(report->hash_ns).text,
                     mmh_human_time(report->decode_ns).text, mmh_human_time(report->write_ns).text,
                     mmh_human_time(report->sync_ns).text, mmh_human_time(report->wall_ns).text);
}

/* damage NULL: none was to be skipped. */
static void write_json(const struct mmh_cli_options *options, const char *container,
                       const char *destination, const mmh_unpack_report *report, uint64_t removed,
                       const struct mmh_damage_list *damage, const mmh_error *err, int code)
{
    struct mmh_json_out out;
    mmh_cli_json_begin(&out, options, container, err->status, code);
    if (err->status != MMH_OK)
        mmh_json_out_text(&out, "message", err->message);
    mmh_json_out_text(&out, "output", destination);
    mmh_json_out_u64(&out, "original_bytes", report->original_bytes);
    mmh_json_out_u64(&out, "stored_bytes", report->stored_bytes);
    mmh_json_out_u64(&out, "files", report->file_count);
    mmh_json_out_u64(&out, "chunks", report->chunk_count);
    if (options->remove)
        mmh_json_out_u64(&out, "removed", removed);
    mmh_cli_json_mended(&out, report->mended);
    mmh_json_out_u64(&out, "mended_chunks", report->mended_chunks);
    if (damage)
        mmh_cli_damage_json(&out, damage, report);
    mmh_json_out_object(&out, "ns");
    mmh_json_out_u64(&out, "read", report->read_ns);
    mmh_json_out_u64(&out, "hash", report->hash_ns);
    mmh_json_out_u64(&out, "decode", report->decode_ns);
    mmh_json_out_u64(&out, "unseal", report->unseal_ns);
    mmh_json_out_u64(&out, "write", report->write_ns);
    mmh_json_out_u64(&out, "sync", report->sync_ns);
    mmh_json_out_u64(&out, "wall", report->wall_ns);
    mmh_json_out_end(&out);
    mmh_json_out_end(&out);
    (void)mmh_json_out_finish(&out);
}

/* After a success: what was unpacked is synced, so the container may go. */
static int remove_container(const struct mmh_cli_options *options, const char *container,
                            const mmh_unpack_report *report)
{
    if (report->mended) {
        mmh_message_warning("%s is kept: it is damaged, though nothing was lost", container);
        return MMH_EXIT_OK;
    }
    if (mmh_host_remove_file(container))
        return MMH_EXIT_OK;
    mmh_error err = { .status = MMH_E_IO };
    snprintf(err.message, sizeof err.message, "cannot remove \"%.400s\": %s", container,
             strerror(errno));
    return mmh_cli_fail(options, container, &err, MMH_EXIT_IO, "what it held is unpacked");
}

/* destination NULL: standard output. */
static int unpack_to(const struct mmh_cli_options *options, mmh_context *context,
                     const char *container, const char *shown, const char *destination,
                     bool as_file)
{
    bool removes = options->remove && destination && strcmp(shown, "-") != 0;
    mmh_error err = { 0 };
    mmh_unpack_report report = { .struct_size = sizeof report };
    mmh_unpack_options unpack = { .struct_size = sizeof unpack,
                                  .overwrite = options->force,
                                  .as_file = as_file,
                                  .any_names = options->any_names,
                                  .sync = removes,
                                  .skip_damaged = options->skip_damaged };
    struct mmh_damage_list damage = { 0 };
    if (options->skip_damaged) {
        unpack.damage = mmh_cli_damage_keep;
        unpack.damage_user = &damage;
    }
    mmh_status status = destination
                          ? mmh_unpack(context, container, destination, &unpack, &report, &err)
                          : mmh_unpack_to_descriptor(context, container, 1, &unpack, &report, &err);
    mmh_bar_end();
    if (status == MMH_E_IO && !destination && mmh_host_pipe_closed())
        mmh_cli_pipe_closed();
    if (status == MMH_E_CORRUPT && options->skip_damaged && damage.count) {
        int lost = mmh_cli_tell_opened(options, &err, MMH_EXIT_LOST);
        mmh_message_note("%s: what could be had is there; the rest is zeros",
                         destination ? destination : "(standard output)");
        mmh_cli_damage_tell(options, &damage, &report, true);
        if (options->json)
            write_json(options, shown, destination, &report, 0, &damage, &err, lost);
        mmh_cli_damage_release(&damage);
        return lost;
    }
    mmh_cli_damage_release(&damage);
    if (status != MMH_OK)
        return mmh_cli_fail_container(options, shown, &err, mmh_exit_of(status));
    mmh_cli_tell_plain(options, shown, report.encrypted);
    int code = mmh_cli_tell_mended(shown, report.mended);
    struct mmh_human entries = { "" };
    if (report.file_count > 1) /* files, folders, symlinks */
        snprintf(entries.text, sizeof entries.text, "%.29s, ",
                 mmh_human_things(report.file_count, "entry", "entries").text);
    mmh_message_note("%s: %s%s from %s, %s", destination ? destination : "(standard output)",
                     entries.text, mmh_human_bytes(report.original_bytes).text,
                     mmh_human_bytes(report.stored_bytes).text,
                     mmh_human_rate(report.original_bytes, report.wall_ns).text);
    if (options->verbose)
        tell_times(&report);
    if (removes) {
        int problem = remove_container(options, shown, &report);
        if (problem != MMH_EXIT_OK)
            return problem;
    }
    if (options->json)
        write_json(options, shown, destination, &report, removes && !report.mended, NULL, &err,
                   code);
    return code;
}

/* Whether what a container holds may be shown: text to look at, but not a model. */
static bool is_text(mmh_context *context, const char *container)
{
    char text[512];
    mmh_reader *reader = NULL;
    mmh_file_info file = { .struct_size = sizeof file };
    bool good = mmh_open(context, container, &reader, NULL) == MMH_OK &&
                mmh_file(reader, 0, &file, NULL) == MMH_OK && file.kind == MMH_FILE_REGULAR;
    size_t bytes = file.bytes < sizeof text ? (size_t)file.bytes : sizeof text;
    good = good && mmh_read(reader, 0, 0, text, bytes, NULL) == MMH_OK;
    for (size_t i = 0; i < bytes && good; i++)
        good = (unsigned char)text[i] >= ' ' ? text[i] != 0x7f
                                             : text[i] && strchr("\n\r\t\f", text[i]);
    mmh_close(reader);
    return good;
}

static int unpack_one(const struct mmh_cli_options *options, mmh_context *context,
                      const char *container, const char *shown)
{
    struct content content = { 0 };
    bool as_file = false;
    int old = mmh_keyring_check_newest(options, context, container, shown);
    if (old != MMH_EXIT_OK)
        return old;
    if (options->to_stdout && mmh_host_is_terminal(stdout) && !options->force &&
        !is_text(context, container)) {
        int looked = look_inside(options, context, container, shown, &content);
        release(&content);
        return looked != MMH_EXIT_OK
                 ? looked
                 : mmh_cli_refuse(options, shown,
                                  "send it somewhere, name a file with -o, or -f shows it",
                                  "what %s holds is nothing for a terminal", mmh_cli_shown(shown));
    }
    if (options->to_stdout)
        return unpack_to(options, context, container, shown, NULL, false);
    int code = look_inside(options, context, container, shown, &content);
    char *destination = code == MMH_EXIT_OK ? choose_destination(options, shown, &content, &as_file)
                                            : NULL;
    if (code == MMH_EXIT_OK && !destination)
        code = mmh_cli_refuse(options, shown, "-o FOLDER names it",
                              "%s is a packed folder, and its own name does not tell where to "
                              "unpack it",
                              mmh_cli_shown(shown));
    else if (code == MMH_EXIT_OK && as_file && mmh_host_same(container, destination))
        code = mmh_cli_refuse(options, shown, "-o names another place",
                              "\"%s\" would replace the container that it is in", destination);
    else if (code == MMH_EXIT_OK && as_file && !options->force && mmh_host_exists(destination))
        code = mmh_cli_refuse(options, shown, "-f replaces it, -o names another", "\"%s\" exists",
                              destination);
    char *written = code == MMH_EXIT_OK ? find_written(&content, destination, as_file, false)
                                        : NULL;
    if (written) {
        code = mmh_cli_refuse(options, shown, "-o names another place",
                              "\"%s\" comes from another container of this call", written);
    } else if (code == MMH_EXIT_OK) {
        code = unpack_to(options, context, container, shown, destination, as_file);
        if (code == MMH_EXIT_OK || code == MMH_EXIT_MENDED)
            (void)find_written(&content, destination, as_file, true);
    }
    free(written);
    free(destination);
    release(&content);
    return code;
}

int mmh_cmd_unpack(const struct mmh_cli_options *options, mmh_context *context)
{
    struct mmh_cli_options given = *options;
    int code = MMH_EXIT_OK;
    if (!options->output && options->input_count == 1 && strcmp(options->inputs[0], "-") == 0)
        given.to_stdout = true;
    if (given.to_stdout && options->json)
        return mmh_cli_refuse(options, NULL, "name a file or folder with -o",
                              "--json and -c both want standard output");
    if (given.to_stdout)
        mmh_cli_hush(options);
    if (options->output && options->input_count > 1 && !names_folder(options->output))
        return mmh_cli_refuse(options, NULL, "a folder's name ends in /: -o out/",
                              "several containers need a folder, and \"%s\" is none",
                              options->output);
    for (size_t i = 0; i < options->input_count && code != MMH_EXIT_INTERRUPTED; i++) {
        const char *container = options->inputs[i];
        int one;
        mmh_bar_begin(container, i, options->input_count);
        const char *path = mmh_cli_begin_input(options, container, NULL, &one);
        if (path) {
            mmh_bar_begin(container, i, options->input_count);
            one = unpack_one(&given, context, path, container);
        }
        mmh_cli_end_input();
        code = mmh_exit_worse(code, one);
    }
    return code;
}
