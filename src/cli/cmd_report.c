/*
 * mmh report: what is in a model, as one HTML file that needs nothing else.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "cli/guard_text.h"
#include "cli/host.h"
#include "cli/keyring.h"
#include "cli/outfile.h"
#include "cli/progress.h"
#include "cli/report.h"

enum { DAMAGE_MAX = 1000 }; /* entries of the list that go into a report */

/* Entries and names beyond what a report of a few MB has room for are left out. */
static void cut_damage(struct mmh_damage_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        char **names[] = { &list->entries[i].file, &list->entries[i].tensor };
        for (size_t n = 0; n < 2; n++) {
            if (!*names[n])
                continue;
            char *shorter = i < DAMAGE_MAX ? mmh_report_name(*names[n], strlen(*names[n])) : NULL;
            free(*names[n]);
            *names[n] = shorter;
        }
    }
    if (list->count > DAMAGE_MAX) {
        list->count = DAMAGE_MAX;
        list->cut = true;
    }
}

/* With --json: why there is no report. */
static void tell_json(const struct mmh_cli_options *options, const struct mmh_report *report)
{
    struct mmh_json_out out;
    if (!options->json)
        return;
    mmh_cli_json_begin(&out, options, report->input, report->problem.status, report->exit_code);
    mmh_json_out_text(&out, "message", report->problem.message);
    mmh_json_out_end(&out);
    (void)mmh_json_out_finish(&out);
}

/* Check a container, which may be damaged, and look at what guards it. Returns MMH_EXIT_OK if there can
 * be a report, with report->exit_code; else the exit code, after telling why not. */
static int check(const struct mmh_cli_options *options, mmh_context *context, const char *path,
                 struct mmh_report *report)
{
    mmh_error *problem = &report->problem;
    mmh_verify_options verify = { .struct_size = sizeof verify,
                                  .quick = options->quick,
                                  .damage = mmh_cli_damage_keep,
                                  .damage_user = &report->damage,
                                  .layer = mmh_cli_layer_keep,
                                  .layer_user = &report->layers };
    struct mmh_host_identity identity = { .bytes = 0 };
    if (mmh_host_identify(&identity, path) && identity.kind == MMH_HOST_FILE)
        report->file_bytes = identity.bytes;
    int code = mmh_keyring_check_newest(options, context, path, report->input);
    if (code != MMH_EXIT_OK)
        return code;
    report->verified.struct_size = sizeof report->verified;
    mmh_status status = mmh_verify(context, path, &verify, &report->verified, problem);
    mmh_bar_end();
    cut_damage(&report->damage);
    report->exit_code = mmh_exit_of(status);
    if (status == MMH_E_CORRUPT && report->verified.mended) {
        report->exit_code = MMH_EXIT_DAMAGED;
        snprintf(problem->message, sizeof problem->message,
                 "%.400s is damaged (%s), and can be restored", mmh_cli_shown(report->input),
                 mmh_cli_mended_text(report->verified.mended).text);
    }
    if (status == MMH_OK) {
        mmh_cli_tell_plain(options, report->input, report->verified.encrypted);
    } else {
        report->exit_code = report->verified.stored_bytes
                              ? mmh_cli_tell_opened(options, problem, report->exit_code)
                              : mmh_cli_tell_container(options, report->input, problem,
                                                       report->exit_code);
        bool has_report = report->exit_code == MMH_EXIT_DAMAGED ||
                          report->exit_code == MMH_EXIT_LOST ||
                          report->exit_code == MMH_EXIT_UNTRUSTED ||
                          report->exit_code == MMH_EXIT_KEY;
        if (!has_report) {
            tell_json(options, report);
            return report->exit_code;
        }
        problem->status = status;
    }
    const struct mmh_keyring *keyring = options->keyring;
    if (mmh_security_open(context, path, keyring->trusted.keys, keyring->trusted.count,
                          options->signature_file, &report->security, NULL) != MMH_OK)
        report->security = NULL;
    return MMH_EXIT_OK;
}

/* Open the content of a container, if that can be had. */
static int open_container(const struct mmh_cli_options *options, mmh_context *context,
                          const char *path, struct mmh_report *report)
{
    mmh_error err = { 0 };
    if (report->exit_code == MMH_EXIT_UNTRUSTED || report->exit_code == MMH_EXIT_KEY)
        return MMH_EXIT_OK;
    mmh_status status = mmh_open(context, path, &report->reader, &err);
    if (status == MMH_OK) {
        report->info.struct_size = sizeof report->info;
        status = mmh_container(report->reader, &report->info, &err);
    }
    if (status == MMH_OK || (status == MMH_E_CORRUPT && report->problem.status == MMH_E_CORRUPT))
        return MMH_EXIT_OK;
    return mmh_cli_fail_container(options, report->input, &err, mmh_exit_of(status));
}

/* Look at all that the report is about. Returns as `check` does. */
static int look(const struct mmh_cli_options *options, mmh_context *context,
                struct mmh_report *report)
{
    mmh_error err = { 0 };
    int code = MMH_EXIT_OK;
    const char *path = mmh_cli_path_of(report->input);
    report->is_container = mmh_cli_is_container(report->input);
    if (report->is_container) {
        mmh_bar_begin(report->input, 0, 1);
        code = check(options, context, path, report);
        if (code == MMH_EXIT_OK)
            code = open_container(options, context, path, report);
    } else {
        report->reader = mmh_cli_open_model(options, context, report->input, &code);
        report->info.struct_size = sizeof report->info;
        if (report->reader && mmh_container(report->reader, &report->info, &err) != MMH_OK)
            code = mmh_cli_fail(options, report->input, &err, mmh_exit_of(err.status), NULL);
    }
    if (code != MMH_EXIT_OK || !report->reader)
        return code;
    if (report->second) {
        int other = MMH_EXIT_OK;
        report->other = mmh_cli_open_model(options, context, report->second, &other);
        if (!report->other)
            return other;
        report->exit_code = mmh_exit_worse(report->exit_code, other);
    }
    mmh_bar_begin(report->input, 0, 1);
    mmh_status status = mmh_report_tree_make(&report->tree, report->reader, &report->info,
                                             mmh_cli_base_name(mmh_cli_shown(report->input)), &err);
    if (status == MMH_OK)
        status = mmh_report_count(&report->tree, report->reader, options->every_value,
                                  &report->sums, &err);
    mmh_bar_end();
    if (status == MMH_OK && report->other) {
        mmh_bar_begin(report->second, 0, 1);
        status = mmh_report_compare(&report->changes, &report->tree, report->reader, report->other,
                                    &err);
        mmh_bar_end();
    }
    for (size_t i = 0; i < report->tree.node_count && report->problem.status == MMH_OK; i++)
        if (report->tree.nodes[i].change.tensors[MMH_REPORT_UNREAD]) {
            report->problem.status = MMH_E_CORRUPT;
            snprintf(report->problem.message, sizeof report->problem.message,
                     "%.400s is damaged: not all of it could be compared", report->second);
            report->exit_code = mmh_cli_tell_opened(options, &report->problem, MMH_EXIT_LOST);
        }
    err.status = status;
    return status == MMH_OK ? MMH_EXIT_OK
                            : mmh_cli_fail(options, report->input, &err, mmh_exit_of(status), NULL);
}

/* ---- output ---- */

/* MODEL.report.html, of a folder as well; to be freed. */
static char *default_output(const char *input)
{
    size_t length = strlen(input);
    while (length > 1 && input[length - 1] == '/')
        length--;
    return mmh_cli_format("%.*s.report.html", (int)length, input);
}

/* Look, and write what was seen to `output` (NULL: standard output). */
static int report_to(const struct mmh_cli_options *options, mmh_context *context,
                     struct mmh_report *report, const char *output)
{
    static const char hint[] = "-f replaces it, -o names another";
    struct mmh_outfile out;
    if (!mmh_outfile_open(&out, output, options->force))
        return mmh_outfile_fail(options, report->input, output, hint);
    int code = look(options, context, report);
    if (code != MMH_EXIT_OK) {
        mmh_outfile_abandon(&out);
        return code;
    }
    bool good = options->json ? mmh_report_write_json(report, out.file)
                              : mmh_report_write_page(report, out.file);
    if (!good)
        mmh_outfile_abandon(&out);
    if (!good || !mmh_outfile_commit(&out, options->force))
        return mmh_outfile_fail(options, report->input, output, hint);
    if (report->reader && report->info.encrypted)
        mmh_message_warning("%s is encrypted, and this report of it is not: it has the names and "
                            "statistics of its tensors",
                            mmh_cli_shown(report->input));
    if (output)
        mmh_message_note("%s", output);
    return report->exit_code;
}

static int refuse_input(const struct mmh_cli_options *options, const char *output)
{
    const char *input = options->inputs[0];
    if (options->input_count > 2)
        return mmh_cli_refuse(options, input, "mmh report MODEL [SECOND]",
                              "\"mmh report\" is of one model, or of two, not of %zu",
                              options->input_count);
    if (options->input_count == 2 && strcmp(options->inputs[1], "-") == 0)
        return mmh_cli_refuse(options, input, NULL, "SECOND is not read from standard input");
    if (options->json && (options->output || options->to_stdout))
        return mmh_cli_refuse(options, input, NULL,
                              "--json writes to standard output, and there is no page then");
    if (!options->json && !options->output && !options->to_stdout && strcmp(input, "-") == 0)
        return mmh_cli_refuse(options, input, "-o FILE.html, or -o - for standard output",
                              "a report of standard input has no name");
    for (size_t i = 0; output && i < options->input_count; i++)
        if (mmh_host_same(output, options->inputs[i]))
            return mmh_cli_refuse(options, input, NULL, "\"%s\" is input and output", output);
    return MMH_EXIT_OK;
}

int mmh_cmd_report(const struct mmh_cli_options *options, mmh_context *context)
{
    struct mmh_report report = { .input = options->inputs[0],
                                 .second = options->input_count > 1 ? options->inputs[1] : NULL,
                                 .quick = options->quick,
                                 .every_value = options->every_value };
    char *made = options->json || options->to_stdout || options->output
                   ? NULL
                   : default_output(report.input);
    const char *output = made ? made : options->output;
    int code = refuse_input(options, output);
    if (code == MMH_EXIT_OK && mmh_cli_begin_input(options, report.input, NULL, &code)) {
        if (options->to_stdout)
            mmh_cli_hush(options);
        code = report_to(options, context, &report, output);
        mmh_report_changes_release(&report.changes);
        mmh_report_tree_release(&report.tree);
        mmh_cli_damage_release(&report.damage);
        mmh_security_close(report.security);
        mmh_close(report.other);
        mmh_close(report.reader);
        mmh_cli_end_input();
    }
    free(made);
    return code;
}
