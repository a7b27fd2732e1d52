/*
 * mmh repair: make damaged containers what they were.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/damage_list.h"
#include "cli/progress.h"

static void write_json(const struct mmh_cli_options *options, const char *container,
                       const char *output, const mmh_repair_report *report,
                       const struct mmh_damage_list *list, const mmh_error *err, int code)
{
    struct mmh_json_out out;
    mmh_cli_json_begin(&out, options, container, err->status, code);
    if (err->status != MMH_OK)
        mmh_json_out_text(&out, "message", err->message);
    mmh_json_out_text(&out, "output", output);
    mmh_cli_json_mended(&out, report->mended);
    mmh_json_out_object(&out, "blocks");
    mmh_json_out_u64(&out, "damaged", report->damaged_blocks);
    mmh_json_out_u64(&out, "restored", report->restored_blocks);
    mmh_json_out_end(&out);
    mmh_json_out_object(&out, "chunks");
    mmh_json_out_u64(&out, "damaged", report->damaged_chunks);
    mmh_json_out_u64(&out, "restored", report->restored_chunks);
    mmh_json_out_u64(&out, "from_parity", report->from_parity);
    mmh_json_out_u64(&out, "from_sources", report->from_sources);
    mmh_json_out_end(&out);
    mmh_json_out_u64(&out, "bytes_written", report->bytes_written);
    mmh_json_out_bool(&out, "replayed", report->replayed);
    mmh_cli_damage_json(&out, list, NULL);
    mmh_json_out_object(&out, "ns");
    mmh_json_out_u64(&out, "wall", report->wall_ns);
    mmh_json_out_end(&out);
    mmh_json_out_end(&out);
    (void)mmh_json_out_finish(&out);
}

static void tell_done(const char *container, const mmh_repair_report *report, bool was_damaged)
{
    char *clean = mmh_cli_clean(mmh_cli_shown(container));
    if (report->replayed)
        mmh_message_note("%s: a repair that was interrupted has been completed", clean);
    if (!was_damaged)
        printf("%s: nothing is damaged\n", clean);
    else
        printf("%s: restored, %s and %s, %s written\n", clean,
               mmh_human_things(report->restored_chunks, "chunk", "chunks").text,
               mmh_human_things(report->restored_blocks, "block", "blocks").text,
               mmh_human_bytes(report->bytes_written).text);
    free(clean);
    fflush(stdout);
}

static int repair_one(const struct mmh_cli_options *options, mmh_context *context, const char *path)
{
    mmh_error err = { 0 };
    mmh_repair_report report = { .struct_size = sizeof report };
    struct mmh_damage_list damage = { 0 };
    const mmh_repair_options repair = { .struct_size = sizeof repair,
                                        .output = options->output,
                                        .overwrite = options->force,
                                        .sources = options->repair_sources,
                                        .source_count = options->repair_source_count,
                                        .damage = mmh_cli_damage_keep,
                                        .damage_user = &damage,
                                        .add_parity = options->parity };
    mmh_status status = mmh_repair(context, path, &repair, &report, &err);
    mmh_bar_end();
    bool was_damaged = report.damaged_blocks || report.damaged_chunks || report.mended ||
                       report.replayed;
    int code = status != MMH_OK ? mmh_exit_of(status) : was_damaged ? MMH_EXIT_MENDED : MMH_EXIT_OK;
    if (status != MMH_OK) {
        const mmh_unpack_report lost = { .damaged_chunks = report.damaged_chunks -
                                                           report.restored_chunks };
        code = report.damaged_blocks || report.damaged_chunks
                 ? mmh_cli_tell_opened(options, &err, code)
                 : mmh_cli_tell_container(options, path, &err, code);
        if (damage.count)
            mmh_cli_damage_tell(options, &damage, &lost, status == MMH_E_CORRUPT);
    } else if (!options->json && !options->quiet) {
        tell_done(path, &report, was_damaged);
    }
    if (options->json)
        write_json(options, path, options->output ? options->output : path, &report, &damage, &err,
                   code);
    mmh_cli_damage_release(&damage);
    return code;
}

int mmh_cmd_repair(const struct mmh_cli_options *options, mmh_context *context)
{
    int code = MMH_EXIT_OK;
    if (options->output && options->input_count > 1)
        return mmh_cli_refuse(options, NULL, NULL, "-o names one output, and there are %zu inputs",
                              options->input_count);
    for (size_t i = 0; i < options->input_count && code != MMH_EXIT_INTERRUPTED; i++) {
        mmh_bar_begin(options->inputs[i], i, options->input_count);
        code = mmh_exit_worse(code, repair_one(options, context, options->inputs[i]));
    }
    return code;
}
