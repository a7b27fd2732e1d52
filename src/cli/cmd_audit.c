/*
 * mmh audit: what guards a container, and which profiles that meets.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/keyring.h"
#include "cli/outfile.h"
#include "cli/progress.h"

static bool is_asked(const struct mmh_cli_options *options, const char *profile)
{
    return !options->profile || strcmp(options->profile, profile) == 0;
}

static void findings_json(struct mmh_json_out *out, const mmh_audit *audit, const char *profile)
{
    mmh_audit_finding finding = { .struct_size = sizeof finding };
    mmh_json_out_array(out, "findings");
    for (size_t i = 0; mmh_audit_finding_at(audit, i, &finding, NULL) == MMH_OK; i++) {
        if (strcmp(finding.profile, profile) != 0)
            continue;
        mmh_json_out_object(out, NULL);
        mmh_json_out_text(out, "subject", finding.subject);
        mmh_json_out_text(out, "algorithm", finding.algorithm);
        mmh_json_out_bool(out, "meets", finding.meets);
        mmh_json_out_text(out, "why", finding.why);
        mmh_json_out_u64(out, "nist_category", finding.nist_category);
        mmh_json_out_bool(out, "quantum_vulnerable", finding.quantum_vulnerable);
        mmh_json_out_end(out);
    }
    mmh_json_out_end(out);
}

static void write_json(const struct mmh_cli_options *options, const char *container,
                       const mmh_audit *audit, const mmh_error *err, int code)
{
    struct mmh_json_out out;
    mmh_profile_info profile = { .struct_size = sizeof profile };
    mmh_cli_json_begin(&out, options, container, err->status, code);
    if (err->status != MMH_OK)
        mmh_json_out_text(&out, "message", err->message);
    mmh_json_out_array(&out, "profiles");
    for (size_t i = 0; mmh_profile(i, &profile, NULL) == MMH_OK; i++) {
        if (!is_asked(options, profile.name))
            continue;
        mmh_json_out_object(&out, NULL);
        mmh_json_out_text(&out, "name", profile.name);
        mmh_json_out_bool(&out, "meets", mmh_audit_meets(audit, profile.name));
        findings_json(&out, audit, profile.name);
        mmh_json_out_end(&out);
    }
    mmh_json_out_end(&out);
    mmh_json_out_end(&out);
    (void)mmh_json_out_finish(&out);
}

/* What no profile asks for, and is not there: signatures, encryption. */
static void print_missing(const struct mmh_audit *audit)
{
    mmh_audit_finding finding = { .struct_size = sizeof finding };
    const char *first = NULL;
    for (size_t f = 0; mmh_audit_finding_at(audit, f, &finding, NULL) == MMH_OK; f++) {
        if (!first)
            first = finding.profile;
        if (strcmp(finding.profile, first) == 0 && strcmp(finding.algorithm, "none") == 0)
            printf("  %s\n", finding.why);
    }
}

/* "cnsa2: no", and beneath it what does not meet it. */
static void print(const struct mmh_cli_options *options, const char *container,
                  const mmh_audit *audit)
{
    mmh_profile_info profile = { .struct_size = sizeof profile };
    char *clean = mmh_cli_clean(mmh_cli_shown(container));
    printf("%s\n", clean);
    free(clean);
    print_missing(audit);
    for (size_t i = 0; mmh_profile(i, &profile, NULL) == MMH_OK; i++) {
        mmh_audit_finding finding = { .struct_size = sizeof finding };
        if (!is_asked(options, profile.name))
            continue;
        printf("  %s: %s\n", profile.name,
               mmh_audit_meets(audit, profile.name) ? "meets it" : "does not meet it");
        for (size_t f = 0; mmh_audit_finding_at(audit, f, &finding, NULL) == MMH_OK; f++) {
            if (strcmp(finding.profile, profile.name) != 0 ||
                (finding.meets && !options->profile && !options->verbose))
                continue;
            static const char quantum[] = "falls to a quantum computer";
            bool more = finding.quantum_vulnerable && !strstr(finding.why, quantum);
            printf("    %s %s, %s: %s%s%s\n", finding.meets ? "ok" : "NO", finding.subject,
                   finding.algorithm, finding.why, more ? "; " : "", more ? quantum : "");
        }
    }
}

static int write_bill(const struct mmh_cli_options *options, const char *container,
                      mmh_audit *audit)
{
    mmh_error err = { 0 };
    const char *text = NULL;
    size_t bytes = 0;
    struct mmh_outfile out;
    mmh_status status = mmh_audit_write(audit, MMH_AUDIT_BILL, &text, &bytes, &err);
    if (status != MMH_OK)
        return mmh_cli_fail(options, container, &err, mmh_exit_of(status), NULL);
    bool good = mmh_outfile_open(&out, options->cbom, options->force);
    if (good && fwrite(text, 1, bytes, out.file) != bytes) {
        mmh_outfile_abandon(&out);
        good = false;
    } else if (good) {
        good = mmh_outfile_commit(&out, options->force);
    }
    return good ? MMH_EXIT_OK
                : mmh_outfile_fail(options, container, options->cbom, "-f replaces it");
}

static int audit_one(const struct mmh_cli_options *options, mmh_context *context, const char *path,
                     const char *shown)
{
    const struct mmh_keyring *keyring = options->keyring;
    mmh_error err = { 0 };
    mmh_audit *audit = NULL;
    mmh_audit_options given = { .struct_size = sizeof given,
                                .signers = keyring->trusted.keys,
                                .signer_count = keyring->trusted.count,
                                .signature_file = options->signature_file,
                                .hash_files = options->cbom != NULL };
    mmh_status status = mmh_audit_create(&audit, context, path, &given, &err);
    if (status == MMH_E_KEY && given.hash_files && !keyring->opener_count) {
        given.hash_files = false;
        status = mmh_audit_create(&audit, context, path, &given, &err);
        if (status == MMH_OK) {
            err = (mmh_error){ 0 };
            mmh_message_note("the files of %s are not in the bill: that takes a --key",
                             mmh_cli_shown(shown));
        }
    }
    mmh_bar_end();
    if (status != MMH_OK)
        return mmh_cli_fail_container(options, shown, &err, mmh_exit_of(status));
    int code = options->cbom ? write_bill(options, shown, audit) : MMH_EXIT_OK;
    if (code == MMH_EXIT_OK) {
        if (options->profile && !mmh_audit_meets(audit, options->profile)) {
            err.status = MMH_E_UNTRUSTED;
            code = mmh_exit_of(err.status);
            snprintf(err.message, sizeof err.message, "%.400s does not meet the profile %s",
                     mmh_cli_shown(shown), options->profile);
        }
        if (options->json)
            write_json(options, shown, audit, &err, code);
        else if (!options->quiet)
            print(options, shown, audit);
        if (code != MMH_EXIT_OK)
            mmh_message_error("%s", err.message);
    }
    mmh_audit_destroy(audit);
    return code;
}

int mmh_cmd_audit(const struct mmh_cli_options *options, mmh_context *context)
{
    int code = MMH_EXIT_OK;
    if (options->cbom && options->input_count > 1)
        return mmh_cli_refuse(options, NULL, NULL, "--cbom is of one container");
    for (size_t i = 0; i < options->input_count && code != MMH_EXIT_INTERRUPTED; i++) {
        const char *container = options->inputs[i];
        int one;
        mmh_bar_begin(container, i, options->input_count);
        const char *path = mmh_cli_begin_input(options, container, NULL, &one);
        if (path)
            one = audit_one(options, context, path, container);
        mmh_cli_end_input();
        code = mmh_exit_worse(code, one);
    }
    return code;
}
