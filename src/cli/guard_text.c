/*
 * What guards a container, for people and for JSON: recipients, signatures, parity.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/guard_text.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "cli/keyring.h"

static const char *const results[] = {
    [MMH_SIGNATURE_UNCHECKED] = "unchecked",
    [MMH_SIGNATURE_RIGHT] = "right",
    [MMH_SIGNATURE_WRONG] = "wrong",
};

mmh_security *mmh_cli_guard_open(const struct mmh_cli_options *options, mmh_context *context,
                                 const char *path, const char *shown, int *exit_code)
{
    const struct mmh_keyring *keyring = options->keyring;
    mmh_error err = { 0 };
    mmh_security *security = NULL;
    mmh_status status = mmh_security_open(context, path, keyring ? keyring->trusted.keys : NULL,
                                          keyring ? keyring->trusted.count : 0,
                                          options->signature_file, &security, &err);
    *exit_code = status == MMH_OK
                   ? MMH_EXIT_OK
                   : mmh_cli_fail_container(options, shown, &err, mmh_exit_of(status));
    return security;
}

struct mmh_human mmh_cli_parity_text(unsigned hundredths)
{
    struct mmh_human text = { "" };
    if (hundredths % 100 == 0)
        snprintf(text.text, sizeof text.text, "%u %%", hundredths / 100);
    else
        snprintf(text.text, sizeof text.text, "%u.%02u %%", hundredths / 100, hundredths % 100);
    return text;
}

struct mmh_human mmh_cli_time_text(uint64_t seconds)
{
    struct mmh_human text = { "" };
    struct tm parts;
    time_t when = (time_t)seconds;
    if (seconds > INT64_MAX / 2 || !gmtime_r(&when, &parts) ||
        !strftime(text.text, sizeof text.text, "%Y-%m-%d %H:%M:%S UTC", &parts))
        snprintf(text.text, sizeof text.text, "?");
    return text;
}

static void print_signature(const mmh_signature_info *info)
{
    printf("  signed with %s (%s)", info->algorithm,
           mmh_cli_strength_text(info->classical, info->post_quantum, info->nist_category).text);
    if (info->counter)
        printf(", counter %" PRIu64, info->counter);
    if (info->time_seconds)
        printf(", %s", mmh_cli_time_text(info->time_seconds).text);
    char print[2 * sizeof info->fingerprint + 1];
    printf("\n    by %s: %s\n", mmh_human_hex(print, info->fingerprint, sizeof info->fingerprint),
           !info->of_this_root                   ? "of another container"
           : info->result == MMH_SIGNATURE_RIGHT ? "right"
           : info->result == MMH_SIGNATURE_WRONG ? "WRONG"
                                                 : "not checked (--signer)");
}

void mmh_cli_guard_print(const mmh_security *security)
{
    mmh_security_info info = { .struct_size = sizeof info };
    if (mmh_security_get(security, &info, NULL) != MMH_OK)
        return;
    if (info.encrypted)
        printf("  encrypted with %s, for %s\n", info.aead,
               mmh_human_things(info.recipient_count, "recipient", "recipients").text);
    for (size_t i = 0; i < info.recipient_count; i++) {
        mmh_recipient_info one = { .struct_size = sizeof one };
        if (mmh_security_recipient(security, i, &one, NULL) == MMH_OK)
            printf("    %s (%s)\n", one.algorithm,
                   strcmp(one.algorithm, "passphrase") == 0
                       ? "as good as that is"
                       : mmh_cli_strength_text(one.classical, one.post_quantum, one.nist_category)
                             .text);
    }
    for (size_t i = 0; i < info.signature_count; i++) {
        mmh_signature_info one = { .struct_size = sizeof one };
        if (mmh_security_signature(security, i, &one, NULL) == MMH_OK)
            print_signature(&one);
    }
    if (info.parity)
        printf("  parity %s, %s\n", mmh_cli_parity_text(info.parity).text,
               mmh_human_bytes(info.parity_bytes).text);
}

static void recipients_json(struct mmh_json_out *out, const mmh_security *security, size_t count)
{
    mmh_json_out_array(out, "recipients");
    for (size_t i = 0; i < count; i++) {
        mmh_recipient_info one = { .struct_size = sizeof one };
        if (mmh_security_recipient(security, i, &one, NULL) != MMH_OK)
            continue;
        mmh_json_out_object(out, NULL);
        mmh_cli_strength_json(out, one.algorithm, one.classical, one.post_quantum,
                              one.nist_category);
        mmh_json_out_end(out);
    }
    mmh_json_out_end(out);
}

static void signatures_json(struct mmh_json_out *out, const mmh_security *security, size_t count)
{
    mmh_json_out_array(out, "signatures");
    for (size_t i = 0; i < count; i++) {
        mmh_signature_info one = { .struct_size = sizeof one };
        if (mmh_security_signature(security, i, &one, NULL) != MMH_OK)
            continue;
        mmh_json_out_object(out, NULL);
        mmh_cli_strength_json(out, one.algorithm, one.classical, one.post_quantum,
                              one.nist_category);
        mmh_json_out_hex(out, "fingerprint", one.fingerprint, sizeof one.fingerprint);
        mmh_json_out_u64(out, "counter", one.counter);
        mmh_json_out_u64(out, "time", one.time_seconds);
        mmh_json_out_bool(out, "of_this_root", one.of_this_root);
        mmh_json_out_text(out, "result", results[one.result]);
        mmh_json_out_end(out);
    }
    mmh_json_out_end(out);
}

void mmh_cli_guard_json(struct mmh_json_out *out, const mmh_security *security)
{
    mmh_security_info info = { .struct_size = sizeof info };
    if (security)
        (void)mmh_security_get(security, &info, NULL);
    if (info.encrypted) {
        mmh_json_out_object(out, "encryption");
        mmh_json_out_text(out, "aead", info.aead);
        recipients_json(out, security, info.recipient_count);
        mmh_json_out_end(out);
    } else {
        mmh_json_out_null(out, "encryption");
    }
    signatures_json(out, security, info.signature_count);
    if (info.parity) {
        mmh_json_out_object(out, "parity");
        mmh_json_out_double(out, "percent", info.parity / 100.0);
        mmh_json_out_u64(out, "bytes", info.parity_bytes);
        mmh_json_out_end(out);
    } else {
        mmh_json_out_null(out, "parity");
    }
}
