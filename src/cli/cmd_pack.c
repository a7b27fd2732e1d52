/*
 * mmh pack: files and folders into containers.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/host.h"
#include "cli/keyring.h"
#include "cli/progress.h"
#include "cli/read_back.h"
#include "cli/written.h"

static void tell_times(const mmh_pack_report *report)
{
    bool floor = report->floor_bytes < report->original_bytes; /* else nothing is known of any */
    mmh_message_note("  time: read %s, plan %s, encode %s, check %s, hash %s, write %s, sync %s; "
                     "wall %s",
                     mmh_human_time(report->read_ns).text, mmh_human_time(report->plan_ns).text,
                     mmh_human_time(report->encode_ns).text, mmh_human_time(report->check_ns).text,
                     mmh_human_time(report->hash_ns).text, mmh_human_time(report->write_ns).text,
                     mmh_human_time(report->sync_ns).text, mmh_human_time(report->wall_ns).text);
    if (report->seal_ns || report->sign_ns || report->parity_ns)
        mmh_message_note("  time: encrypt %s, sign %s, parity %s (%s)",
                         mmh_human_time(report->seal_ns).text, mmh_human_time(report->sign_ns).text,
                         mmh_human_time(report->parity_ns).text,
                         mmh_human_bytes(report->parity_bytes).text);
    mmh_message_note("  %s, %s, %s, equal chunks left out %s (%s)%s%s",
                     mmh_human_things(report->file_count, "entry", "entries").text,
                     mmh_human_things(report->tensor_count, "tensor", "tensors").text,
                     mmh_human_things(report->chunk_count, "chunk", "chunks").text,
                     mmh_human_count(report->shared_chunks).text,
                     mmh_human_bytes(report->shared_bytes).text, floor ? "; entropy floor " : "",
                     floor ? mmh_human_percent(report->floor_bytes, report->original_bytes).text
                           : "");
}

/* What is to be told when the bar is gone. */
struct note {
    struct note *next;
    char *text;
};

struct notes {
    struct note *first, **end;
};

static void keep_note(struct notes *notes, char *text)
{
    struct note *note = mmh_cli_alloc(sizeof *note);
    *note = (struct note){ .text = text };
    *notes->end = note;
    notes->end = &note->next;
}

static void keep_remarks(void *user, const mmh_remarks *remarks)
{
    struct notes *notes = user;
    for (size_t i = 0; i < remarks->text_count; i++)
        keep_note(notes, mmh_cli_format("  %s: %s", remarks->name, remarks->texts[i]));
    if (remarks->count > remarks->text_count)
        keep_note(notes,
                  mmh_cli_format("  %s: ... and %s more", remarks->name,
                                 mmh_human_count(remarks->count - remarks->text_count).text));
}

static void tell_notes(struct notes *notes, bool show)
{
    for (struct note *note = notes->first, *next; note; note = next) {
        next = note->next;
        if (show)
            mmh_message_note("%s", note->text);
        free(note->text);
        free(note);
    }
    *notes = (struct notes){ .end = &notes->first };
}

static void write_json(const struct mmh_cli_options *options, const char *input, const char *output,
                       const mmh_pack_report *report, uint64_t removed)
{
    struct mmh_json_out out;
    mmh_cli_json_begin(&out, options, input, MMH_OK, MMH_EXIT_OK);
    mmh_json_out_text(&out, "output", output);
    mmh_json_out_u64(&out, "level", options->level ? (uint64_t)options->level : 5);
    mmh_json_out_u64(&out, "original_bytes", report->original_bytes);
    mmh_json_out_u64(&out, "stored_bytes", report->stored_bytes);
    mmh_json_out_u64(&out, "floor_bytes", report->floor_bytes);
    mmh_json_out_ratio(&out, "ratio", report->stored_bytes, report->original_bytes);
    mmh_json_out_u64(&out, "files", report->file_count);
    mmh_json_out_u64(&out, "tensors", report->tensor_count);
    mmh_json_out_u64(&out, "chunks", report->chunk_count);
    mmh_json_out_u64(&out, "shared_chunks", report->shared_chunks);
    mmh_json_out_u64(&out, "shared_bytes", report->shared_bytes);
    mmh_json_out_u64(&out, "followed_links", report->followed_links);
    mmh_json_out_u64(&out, "odd_names", report->odd_names);
    mmh_json_out_u64(&out, "remark_count", report->remark_count);
    mmh_json_out_hex(&out, "root", report->root, report->root_bytes);
    mmh_json_out_u64(&out, "recipients", mmh_keyring_recipients(options->keyring));
    mmh_json_out_u64(&out, "signatures", mmh_keyring_signatures(options->keyring));
    mmh_json_out_u64(&out, "parity_bytes", report->parity_bytes);
    if (options->remove)
        mmh_json_out_u64(&out, "removed", removed);
    mmh_json_out_object(&out, "ns");
    mmh_json_out_u64(&out, "read", report->read_ns);
    mmh_json_out_u64(&out, "plan", report->plan_ns);
    mmh_json_out_u64(&out, "encode", report->encode_ns);
    mmh_json_out_u64(&out, "check", report->check_ns);
    mmh_json_out_u64(&out, "hash", report->hash_ns);
    mmh_json_out_u64(&out, "write", report->write_ns);
    mmh_json_out_u64(&out, "sync", report->sync_ns);
    mmh_json_out_u64(&out, "seal", report->seal_ns);
    mmh_json_out_u64(&out, "sign", report->sign_ns);
    mmh_json_out_u64(&out, "parity", report->parity_ns);
    mmh_json_out_u64(&out, "wall", report->wall_ns);
    mmh_json_out_end(&out);
    mmh_json_out_end(&out);
    (void)mmh_json_out_finish(&out);
}

/* "  encrypted for 2 recipients, 1 signature, parity 12.3 kB", if any of these. */
static void tell_guards(const struct mmh_cli_options *options, const mmh_pack_report *report)
{
    size_t recipients = mmh_keyring_recipients(options->keyring);
    size_t signatures = mmh_keyring_signatures(options->keyring);
    if (!recipients && !signatures && !report->parity_bytes)
        return;
    char *line = mmh_cli_format(
        "%s%s%s%s%s%s", recipients ? "encrypted for " : "",
        recipients ? mmh_human_things(recipients, "recipient, ", "recipients, ").text : "",
        signatures ? mmh_human_things(signatures, "signature, ", "signatures, ").text : "",
        report->parity_bytes ? "parity " : "",
        report->parity_bytes ? mmh_human_bytes(report->parity_bytes).text : "",
        report->parity_bytes ? ", " : "");
    mmh_message_note("  %.*s", (int)strlen(line) - 2, line);
    free(line);
}

/* --rm, after the container was written. */
static int remove_inputs(const struct mmh_cli_options *options, mmh_context *context,
                         const char *const *inputs, size_t input_count, const char *shown,
                         const char *output, uint64_t *removed)
{
    mmh_error err = { 0 };
    mmh_status status = mmh_read_back(context, inputs, input_count, output, removed, &err);
    if (status != MMH_OK)
        return mmh_cli_fail(options, shown, &err, mmh_exit_of(status),
                            *removed ? NULL : "nothing was removed; the container is kept too");
    mmh_message_note("%s: read back and compared; %s removed", output,
                     mmh_human_things(*removed, "entry", "entries").text);
    return MMH_EXIT_OK;
}

/* Inputs into one container. output NULL: standard output. `shown`: the inputs, as typed. */
static int pack_one(const struct mmh_cli_options *options, mmh_context *context,
                    const char *const *inputs, size_t input_count, const char *shown,
                    const char *output)
{
    mmh_error err = { 0 };
    uint64_t removed = 0;
    mmh_pack_report report = { .struct_size = sizeof report };
    mmh_pack_options pack = mmh_cli_pack_options(options);
    if (output && mmh_host_exists(output)) {
        for (size_t i = 0; i < input_count; i++)
            if (mmh_host_same(inputs[i], output))
                return mmh_cli_refuse(options, shown, "give the container a name of its own",
                                      "\"%s\" is input and output", output);
        if (mmh_host_kind(output) == MMH_HOST_FOLDER)
            return mmh_cli_refuse(options, shown, "-o names another file",
                                  "\"%s\" is a folder; the container would be called that", output);
        if (!options->force)
            return mmh_cli_refuse(options, shown, "-f replaces it, -o names another",
                                  "\"%s\" exists", output);
        if (mmh_written_has(output))
            return mmh_cli_refuse(options, shown, "-o OUT.mmh packs them together",
                                  "another input of this call is packed as \"%s\"", output);
    }
    for (size_t i = 0; i < input_count && options->remove; i++)
        if (mmh_host_is_link(inputs[i]) && mmh_host_kind(inputs[i]) == MMH_HOST_FOLDER)
            return mmh_cli_refuse(options, shown, "name the folder itself, or leave --rm out",
                                  "\"%s\" is a symlink to a folder: --rm would empty that",
                                  inputs[i]);
    struct notes notes = { .end = &notes.first };
    if (options->verbose) {
        pack.remarks = keep_remarks;
        pack.remarks_user = &notes;
    }
    mmh_status status =
        output ? mmh_pack(context, inputs, input_count, output, &pack, &report, &err)
               : mmh_pack_to_descriptor(context, inputs, input_count, 1, &pack, &report, &err);
    mmh_bar_end();
    if (status == MMH_E_IO && !output && mmh_host_pipe_closed())
        mmh_cli_pipe_closed();
    if (status != MMH_OK) {
        tell_notes(&notes, false);
        return mmh_cli_fail(options, shown, &err, mmh_exit_of(status), NULL);
    }
    if (output)
        mmh_written_add(output);
    if (input_count == 1 && report.file_count > 1 && mmh_host_kind(inputs[0]) == MMH_HOST_FILE)
        mmh_message_note("%s is packed with the %s that it refers to (--alone: without)",
                         mmh_cli_shown(shown),
                         mmh_human_things(report.file_count - 1, "file", "files").text);
    mmh_message_note("%s: %s, %s of %s, %s", output ? output : "(standard output)",
                     mmh_human_bytes(report.stored_bytes).text,
                     mmh_human_percent(report.stored_bytes, report.original_bytes).text,
                     mmh_human_bytes(report.original_bytes).text,
                     mmh_human_rate(report.original_bytes, report.wall_ns).text);
    tell_guards(options, &report);
    if (report.followed_links)
        mmh_message_note("%s out of the folder %s packed as what %s to",
                         mmh_human_things(report.followed_links, "symlink", "symlinks").text,
                         report.followed_links == 1 ? "is" : "are",
                         report.followed_links == 1 ? "it points" : "they point");
    if (report.odd_names) {
        mmh_message_warning("%s%s", report.odd_name,
                            report.odd_names > 1 ? ", and there are more such names" : "");
        mmh_message_hint("\"mmh unpack\" wants --any-names for that, or rename it");
    }
    if (options->verbose)
        tell_times(&report);
    tell_notes(&notes, true);
    if (options->remove && output) {
        int code = remove_inputs(options, context, inputs, input_count, shown, output, &removed);
        if (code != MMH_EXIT_OK)
            return code;
    }
    if (options->json)
        write_json(options, shown, output, &report, removed);
    return MMH_EXIT_OK;
}

/* What the container of an input is called, in `folder` or (NULL) beside it. To be freed; NULL
 * if the input has no name. */
static char *name_container(const char *input, const char *folder)
{
    size_t length = strlen(input);
    while (length > 1 && input[length - 1] == '/')
        length--;
    char *path = mmh_cli_format("%.*s", (int)length, input);
    const char *name = mmh_cli_base_name(path);
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        char *absolute = mmh_host_absolute(path);
        free(path);
        path = absolute;
        name = path ? mmh_cli_base_name(path) : "";
        if (!*name) {
            free(path);
            return NULL;
        }
    }
    char *output;
    if (folder) {
        char *file = mmh_cli_format("%s.mmh", name);
        output = mmh_cli_join(folder, file);
        free(file);
    } else {
        output = mmh_cli_format("%s.mmh", path);
    }
    free(path);
    return output;
}

static const char *name_of_input(const struct mmh_cli_options *options)
{
    return options->stdin_name ? options->stdin_name : "stdin";
}

/* One container for each input. */
static int pack_each(const struct mmh_cli_options *options, mmh_context *context,
                     const char *folder)
{
    int code = MMH_EXIT_OK;
    for (size_t i = 0; i < options->input_count && code != MMH_EXIT_INTERRUPTED; i++) {
        const char *input = options->inputs[i];
        bool is_stdin = strcmp(input, "-") == 0;
        char *output = name_container(is_stdin ? name_of_input(options) : input, folder);
        int one;
        if (is_stdin && !folder && !options->stdin_name) {
            one = mmh_cli_refuse(options, input, "-o OUT.mmh or --stdin-name=NAME",
                                 "what standard input is packed as has no name");
        } else if (output) {
            if (mmh_cli_is_container_name(input) && mmh_host_kind(input) == MMH_HOST_FILE)
                mmh_message_warning("%s is a container already", input);
            mmh_bar_begin(input, i, options->input_count);
            const char *path = mmh_cli_begin_input(options, input, name_of_input(options), &one);
            if (path) {
                mmh_bar_begin(input, i, options->input_count);
                one = pack_one(options, context, &path, 1, input, output);
            }
            mmh_cli_end_input();
        } else {
            one = mmh_cli_refuse(options, input, "-o OUT.mmh names the container",
                                 "\"%s\" has no name", input);
        }
        code = mmh_exit_worse(code, one);
        free(output);
    }
    return code;
}

/* All inputs into one container. */
static int pack_together(const struct mmh_cli_options *options, mmh_context *context)
{
    int code = MMH_EXIT_OK;
    char *shown = mmh_cli_format("%s", options->inputs[0]);
    const char **inputs = mmh_cli_alloc(options->input_count * sizeof *inputs);
    for (size_t i = 1; i < options->input_count; i++) {
        char *longer = mmh_cli_format("%s %s", shown, options->inputs[i]);
        free(shown);
        shown = longer;
    }
    for (size_t i = 0; i < options->input_count && code == MMH_EXIT_OK; i++) {
        mmh_bar_begin(options->inputs[i], 0, 1);
        inputs[i] = mmh_cli_begin_input(options, options->inputs[i], name_of_input(options), &code);
    }
    if (code == MMH_EXIT_OK) {
        mmh_bar_begin(options->input_count > 1 && options->output ? options->output : shown, 0, 1);
        code = pack_one(options, context, inputs, options->input_count, shown, options->output);
    }
    mmh_cli_end_input();
    free(inputs);
    free(shown);
    return code;
}

int mmh_cmd_pack(const struct mmh_cli_options *options, mmh_context *context)
{
    struct mmh_cli_options given = *options;
    const char *output = options->output;
    if (options->remove && options->recipients.count && !options->keyring->opener_count &&
        !options->keyring->passphrase)
        return mmh_cli_refuse(options, NULL, "--key=FILE names a private key of a recipient",
                              "--rm reads the container back, and nothing here opens it");
    if (options->parity && options->to_stdout)
        return mmh_cli_refuse(options, NULL, "name a file with -o",
                              "parity is computed from what was written: that cannot be a stream");
    if (!output && options->input_count == 1 && strcmp(options->inputs[0], "-") == 0 &&
        !options->stdin_name)
        given.to_stdout = true;
    if (given.to_stdout) {
        if (options->json)
            return mmh_cli_refuse(options, NULL, "name a file with -o",
                                  "--json and -c both want standard output");
        if (mmh_host_is_terminal(stdout) && !options->force)
            return mmh_cli_refuse(options, NULL,
                                  "-o OUT.mmh, or send it somewhere: mmh pack -c "
                                  "... | ssh ...",
                                  "a container is nothing for a terminal");
        mmh_cli_hush(options);
        return pack_together(&given, context);
    }
    if (!output)
        return pack_each(&given, context, NULL);
    if (mmh_host_kind(output) == MMH_HOST_FOLDER)
        return pack_each(&given, context, output);
    if (output[strlen(output) - 1] == '/') {
        if (!mmh_host_make_folder(output))
            return mmh_cli_refuse(options, NULL, NULL, "cannot make the folder \"%s\"", output);
        return pack_each(&given, context, output);
    }
    return pack_together(&given, context);
}
