/*
 * mmh verify: check every byte of containers, and change nothing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/damage_list.h"
#include "cli/keyring.h"
#include "cli/layer_list.h"
#include "cli/progress.h"

static void write_json(const struct mmh_cli_options *options, const char *container,
                       const mmh_unpack_report *report, const struct mmh_damage_list *list,
                       const struct mmh_layer_list *layers, const mmh_error *err, int code)
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
    mmh_cli_damage_json(&out, list, report);
    mmh_cli_layers_json(&out, layers);
    mmh_json_out_object(&out, "ns");
    mmh_json_out_u64(&out, "read", report->read_ns);
    mmh_json_out_u64(&out, "hash", report->hash_ns);
    mmh_json_out_u64(&out, "decode", report->decode_ns);
    mmh_json_out_u64(&out, "unseal", report->unseal_ns);
    mmh_json_out_u64(&out, "wall", report->wall_ns);
    mmh_json_out_end(&out);
    mmh_json_out_end(&out);
    (void)mmh_json_out_finish(&out);
}

static void tell_good(const struct mmh_cli_options *options, const char *container,
                      const mmh_unpack_report *report)
{
    uint64_t bytes = options->quick ? report->stored_bytes : report->original_bytes;
    char *clean = mmh_cli_clean(mmh_cli_shown(container));
    printf("%s: ok, ", clean);
    if (report->file_count > 1) /* files, folders, symlinks */
        printf("%s, ", mmh_human_things(report->file_count, "entry", "entries").text);
    printf("%s, %s%s, %s\n", mmh_human_things(report->chunk_count, "chunk", "chunks").text,
           mmh_human_bytes(bytes).text, options->quick ? " stored, not decoded" : "",
           mmh_human_rate(bytes, report->wall_ns).text);
    free(clean);
    fflush(stdout);
}

static int verify_one(const struct mmh_cli_options *options, mmh_context *context, const char *path,
                      const char *shown)
{
    mmh_error err = { 0 };
    mmh_unpack_report report = { .struct_size = sizeof report };
    struct mmh_damage_list damage = { 0 };
    struct mmh_layer_list layers = { 0 };
    mmh_verify_options verify = { .struct_size = sizeof verify,
                                  .quick = options->quick,
                                  .damage = options->quiet && !options->json ? NULL
                                                                             : mmh_cli_damage_keep,
                                  .damage_user = &damage,
                                  .layer = mmh_cli_layer_keep,
                                  .layer_user = &layers };
    int old = mmh_keyring_check_newest(options, context, path, shown);
    if (old != MMH_EXIT_OK)
        return old;
    mmh_status status = mmh_verify(context, path, &verify, &report, &err);
    mmh_bar_end();
    int code = mmh_exit_of(status);
    if (status == MMH_E_CORRUPT && report.mended) {
        code = MMH_EXIT_DAMAGED;
        snprintf(err.message, sizeof err.message, "%.400s is damaged (%s), and can be restored",
                 mmh_cli_shown(shown), mmh_cli_mended_text(report.mended).text);
    }
    if (status != MMH_OK)
        code = report.stored_bytes ? mmh_cli_tell_opened(options, &err, code)
                                   : mmh_cli_tell_container(options, shown, &err, code);
    else if (!options->json && !options->quiet)
        tell_good(options, shown, &report);
    if (status == MMH_OK)
        mmh_cli_tell_plain(options, shown, report.encrypted);
    if (damage.count)
        mmh_cli_damage_tell(options, &damage, &report, status == MMH_E_CORRUPT);
    if (damage.count && code == MMH_EXIT_LOST && report.damaged_bytes < report.original_bytes)
        mmh_message_hint("\"mmh unpack --skip-damaged\" gives back the rest, with zeros for what "
                         "is lost");
    if (options->verbose)
        mmh_cli_layers_tell(&layers);
    if (status == MMH_OK && options->verbose)
        mmh_message_note("  time: read %s, hash %s, decode %s; wall %s",
                         mmh_human_time(report.read_ns).text, mmh_human_time(report.hash_ns).text,
                         mmh_human_time(report.decode_ns).text,
                         mmh_human_time(report.wall_ns).text);
    if (options->json)
        write_json(options, shown, &report, &damage, &layers, &err, code);
    mmh_cli_damage_release(&damage);
    return code;
}

/* ---- Model Signing ---- */

enum { FINDINGS_MAX = 10000 };

struct findings {
    struct {
        mmh_bundle_finding finding;
        char *name;
    } * found; /* [count] */
    size_t count, room;
};

static const char *const finding_names[] = {
    [MMH_BUNDLE_DIFFERS] = "differs", [MMH_BUNDLE_MISSING] = "missing", [MMH_BUNDLE_EXTRA] = "extra"
};

static void keep_finding(void *user, mmh_bundle_finding finding, const char *name)
{
    struct findings *findings = user;
    if (findings->count == FINDINGS_MAX)
        return;
    if (findings->count == findings->room) {
        findings->room = findings->room ? 2 * findings->room : 16;
        void *grown = mmh_cli_alloc(findings->room * sizeof *findings->found);
        if (findings->count)
            memcpy(grown, findings->found, findings->count * sizeof *findings->found);
        free(findings->found);
        findings->found = grown;
    }
    findings->found[findings->count].finding = finding;
    findings->found[findings->count++].name = mmh_cli_format("%s", name);
}

static void bundle_json(const struct mmh_cli_options *options, const char *model,
                        const mmh_bundle_report *report, const struct findings *findings,
                        const mmh_error *err, int code)
{
    struct mmh_json_out out;
    mmh_cli_json_begin(&out, options, model, err->status, code);
    if (err->status != MMH_OK)
        mmh_json_out_text(&out, "message", err->message);
    mmh_json_out_text(&out, "bundle", options->bundle);
    mmh_json_out_bool(&out, "signed", report->is_signed);
    mmh_json_out_u64(&out, "signatures", report->signature_count);
    mmh_json_out_u64(&out, "right", report->right_count);
    mmh_json_out_u64(&out, "files", report->file_count);
    mmh_json_out_u64(&out, "original_bytes", report->bytes);
    mmh_json_out_array(&out, "findings");
    for (size_t i = 0; i < findings->count; i++) {
        mmh_json_out_object(&out, NULL);
        mmh_json_out_text(&out, "finding", finding_names[findings->found[i].finding]);
        mmh_json_out_text(&out, "name", findings->found[i].name);
        mmh_json_out_end(&out);
    }
    mmh_json_out_end(&out);
    mmh_json_out_end(&out);
    (void)mmh_json_out_finish(&out);
}

/* The files of a model, packed or not, by a bundle. */
static int verify_bundle(const struct mmh_cli_options *options, mmh_context *context,
                         const char *model, const char *shown)
{
    mmh_error err = { 0 };
    struct findings findings = { 0 };
    mmh_bundle_report report = { .struct_size = sizeof report };
    mmh_bundle_options bundle = { .struct_size = sizeof bundle,
                                  .finding = keep_finding,
                                  .finding_user = &findings };
    mmh_trust trust = mmh_keyring_trust(options);
    trust.min_counter = 0;
    mmh_status status = mmh_bundle_verify(context, options->bundle, model, &trust, &bundle, &report,
                                          &err);
    mmh_bar_end();
    int code = mmh_exit_of(status);
    if (status != MMH_OK)
        code = mmh_cli_tell_opened(options, &err, code);
    else if (!options->json && !options->quiet) {
        char *clean = mmh_cli_clean(mmh_cli_shown(shown));
        printf("%s: ok, %s as signed, %s\n", clean,
               mmh_human_things(report.file_count, "file", "files").text,
               mmh_human_bytes(report.bytes).text);
        free(clean);
    }
    for (size_t i = 0; i < findings.count; i++)
        mmh_message_note("  %s: %s", finding_names[findings.found[i].finding],
                         findings.found[i].name);
    if (options->json)
        bundle_json(options, shown, &report, &findings, &err, code);
    for (size_t i = 0; i < findings.count; i++)
        free(findings.found[i].name);
    free(findings.found);
    return code;
}

int mmh_cmd_verify(const struct mmh_cli_options *options, mmh_context *context)
{
    int code = MMH_EXIT_OK;
    if (options->bundle && !options->keyring->trusted.count)
        return mmh_cli_refuse(options, NULL,
                              "--signer=KEY.pub, or --trusted for all keys of the trust store",
                              "--bundle needs to know whose signatures are believed");
    if (options->bundle && options->require_counter)
        return mmh_cli_refuse(options, NULL, NULL, "Model Signing bundles have no counter");
    for (size_t i = 0; i < options->input_count && code != MMH_EXIT_INTERRUPTED; i++) {
        const char *container = options->inputs[i];
        int one;
        mmh_bar_begin(container, i, options->input_count);
        const char *path = mmh_cli_begin_input(options, container, NULL, &one);
        if (path) {
            mmh_bar_begin(container, i, options->input_count);
            one = (options->bundle ? verify_bundle : verify_one)(options, context, path, container);
        }
        mmh_cli_end_input();
        code = mmh_exit_worse(code, one);
    }
    return code;
}
