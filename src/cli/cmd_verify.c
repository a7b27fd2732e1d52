/*
 * mmh verify: check every byte of containers, and change nothing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/progress.h"

static void write_json(const struct mmh_cli_options *options, const char *container,
                       const mmh_unpack_report *report, const mmh_error *err, int code)
{
    struct mmh_json_out out;
    mmh_cli_json_begin(&out, options, container, err->status, code);
    if (err->status != MMH_OK)
        mmh_json_out_text(&out, "message", err->message);
    mmh_cli_json_mended(&out, report->mended);
    mmh_json_out_u64(&out, "original_bytes", report->original_bytes);
    mmh_json_out_u64(&out, "stored_bytes", report->stored_bytes);
    mmh_json_out_u64(&out, "files", report->file_count);
    mmh_json_out_u64(&out, "chunks", report->chunk_count);
    mmh_json_out_object(&out, "ns");
    mmh_json_out_u64(&out, "read", report->read_ns);
    mmh_json_out_u64(&out, "hash", report->hash_ns);
    mmh_json_out_u64(&out, "decode", report->decode_ns);
    mmh_json_out_u64(&out, "wall", report->wall_ns);
    mmh_json_out_end(&out);
    mmh_json_out_end(&out);
    (void)mmh_json_out_finish(&out);
}

static void tell_good(const struct mmh_cli_options *options, const char *container,
                      const mmh_unpack_report *report)
{
    uint64_t bytes = options->quick ? report->stored_bytes : report->original_bytes;
    char *clean = mmh_cli_clean(container);
    printf("%s: ok, ", clean);
    if (report->file_count > 1) /* files, folders, symlinks */
        printf("%s, ", mmh_human_things(report->file_count, "entry", "entries").text);
    printf("%s, %s%s, %s\n", mmh_human_things(report->chunk_count, "chunk", "chunks").text,
           mmh_human_bytes(bytes).text, options->quick ? " stored, not decoded" : "",
           mmh_human_rate(bytes, report->wall_ns).text);
    free(clean);
    fflush(stdout);
}

static int verify_one(const struct mmh_cli_options *options, mmh_context *context,
                      const char *container, const char *shown)
{
    mmh_error err = { 0 };
    mmh_unpack_report report = { .struct_size = sizeof report };
    mmh_verify_options verify = { .struct_size = sizeof verify, .quick = options->quick };
    mmh_status status = mmh_verify(context, container, &verify, &report, &err);
    mmh_bar_end();
    int code = mmh_exit_of(status);
    if (status == MMH_E_CORRUPT && report.mended)
        code = MMH_EXIT_DAMAGED;
    if (status != MMH_OK)
        code = mmh_cli_tell_container(options, shown, &err, code);
    else if (!options->json && !options->quiet)
        tell_good(options, shown, &report);
    if (status == MMH_OK && options->verbose)
        mmh_message_note("  time: read %s, hash %s, decode %s; wall %s",
                         mmh_human_time(report.read_ns).text, mmh_human_time(report.hash_ns).text,
                         mmh_human_time(report.decode_ns).text,
                         mmh_human_time(report.wall_ns).text);
    if (options->json)
        write_json(options, shown, &report, &err, code);
    return code;
}

int mmh_cmd_verify(const struct mmh_cli_options *options, mmh_context *context)
{
    int code = MMH_EXIT_OK;
    for (size_t i = 0; i < options->input_count && code != MMH_EXIT_INTERRUPTED; i++) {
        const char *container = options->inputs[i];
        int one = MMH_EXIT_OK;
        char *spooled = NULL;
        if (strcmp(container, "-") == 0)
            spooled = mmh_cli_spool(options, &one);
        if (one == MMH_EXIT_OK) {
            mmh_bar_begin(container, i, options->input_count);
            one = verify_one(options, context, spooled ? spooled : container, container);
        }
        mmh_cli_spool_remove(spooled);
        code = mmh_exit_worse(code, one);
    }
    return code;
}
