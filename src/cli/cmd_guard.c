/*
 * mmh sign, encrypt and decrypt: change what guards a container, without coding its weights again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/guard_text.h"
#include "cli/host.h"
#include "cli/keyring.h"
#include "cli/progress.h"

/* One container in work. */
struct change {
    const struct mmh_cli_options *options;
    mmh_context *context;
    const char *container, *output; /* output NULL: in place */
    mmh_change_options change;
    mmh_security_info before;
    mmh_error err;
};

typedef int change_fn(struct change *change);

static int check_hash(const struct change *change, const char *hash)
{
    const struct mmh_cli_options *options = change->options;
    if (mmh_profile_allows(options->profile, hash, NULL))
        return MMH_EXIT_OK;
    return mmh_cli_refuse(options, change->container,
                          "its hash stays what it is: pack the model with that profile",
                          "\"%s\" has the hash %s, which is not in the profile %s",
                          change->container, hash, options->profile);
}

/* What guards it now. */
static int look(struct change *change)
{
    int code;
    mmh_security *security = mmh_cli_guard_open(change->options, change->context, change->container,
                                                change->container, &code);
    change->before = (mmh_security_info){ .struct_size = sizeof change->before };
    if (!security)
        return code;
    if (mmh_security_get(security, &change->before, &change->err) != MMH_OK)
        code = mmh_cli_fail_container(change->options, change->container, &change->err,
                                      mmh_exit_of(change->err.status));
    if (code == MMH_EXIT_OK && change->options->profile && change->before.hash_suite)
        code = check_hash(change, change->before.hash_suite);
    /* Texts of it are not looked at once it is closed. */
    change->before.aead = change->before.hash_suite = NULL;
    mmh_security_close(security);
    return code;
}

/* What guards the container that there is now, as JSON, or `note` for people. */
static int tell(struct change *change, const char *note)
{
    const struct mmh_cli_options *options = change->options;
    const char *made = change->output ? change->output : change->container;
    if (note)
        mmh_message_note("%s: %s", made, note);
    if (!options->json)
        return MMH_EXIT_OK;
    int code;
    mmh_security *security = mmh_cli_guard_open(options, change->context, made, change->container,
                                                &code);
    if (!security)
        return code;
    struct mmh_json_out out;
    mmh_cli_json_begin(&out, options, change->container, MMH_OK, MMH_EXIT_OK);
    mmh_json_out_text(&out, "output", change->change.detached ? change->change.detached : made);
    mmh_cli_guard_json(&out, security);
    mmh_json_out_end(&out);
    (void)mmh_json_out_finish(&out);
    mmh_security_close(security);
    return MMH_EXIT_OK;
}

static int failed(struct change *change, mmh_status status)
{
    return mmh_cli_fail_container(change->options, change->container, &change->err,
                                  mmh_exit_of(status));
}

/* ---- sign ---- */

/* Signatures must not take the place of what is signed, or of a key. */
static int check_new(const struct change *change, const char *path)
{
    const struct mmh_cli_options *options = change->options;
    bool same = mmh_host_same(path, change->container);
    for (size_t i = 0; i < options->keys.count && !same; i++)
        same = mmh_host_same(path, options->keys.items[i]);
    for (size_t i = 0; i < options->sign_with.count && !same; i++)
        same = mmh_host_same(path, options->sign_with.items[i]);
    return same ? mmh_cli_refuse(options, change->container, "name another file",
                                 "\"%s\" is what is read here", path)
                : MMH_EXIT_OK;
}

static int sign_one(struct change *change)
{
    const struct mmh_cli_options *options = change->options;
    const struct mmh_keyring *keyring = options->keyring;
    char *detached = NULL;
    int code = MMH_EXIT_OK;
    if (options->detached) {
        detached = options->detached_file ? mmh_cli_format("%s", options->detached_file)
                                          : mmh_cli_format("%s.sig", change->container);
        change->change.detached = detached;
        code = check_new(change, detached);
        if (code == MMH_EXIT_OK && !options->force && mmh_host_exists(detached))
            code = mmh_cli_refuse(options, change->container,
                                  "-f replaces it, --detached=FILE names another", "\"%s\" exists",
                                  detached);
    }
    if (code == MMH_EXIT_OK) {
        mmh_status status = mmh_sign(change->context, change->container, keyring->signers.keys,
                                     keyring->signers.count, &change->change, &change->err);
        mmh_bar_end();
        if (status != MMH_OK) {
            code = failed(change, status);
        } else {
            struct mmh_human count = mmh_human_things(mmh_keyring_signatures(keyring), "signature",
                                                      "signatures");
            char *note = detached ? mmh_cli_format("%s in %s", count.text, detached)
                       : keyring->signers.count
                           ? mmh_cli_format("%s%s", count.text, options->unsign ? "" : " added")
                           : mmh_cli_format("no signatures any more");
            code = tell(change, note);
            free(note);
        }
    }
    free(detached);
    return code;
}

/* ---- Model Signing ---- */

/* A bundle of the original files: of a container, a file or a folder. */
static int bundle_one(struct change *change)
{
    const struct mmh_cli_options *options = change->options;
    const struct mmh_keyring *keyring = options->keyring;
    mmh_bundle_report report = { .struct_size = sizeof report };
    mmh_bundle_options bundle = { .struct_size = sizeof bundle, .overwrite = options->force };
    int code = options->verb == MMH_VERB_SIGN ? check_new(change, options->bundle) : MMH_EXIT_OK;
    if (code != MMH_EXIT_OK)
        return code;
    mmh_status status = mmh_bundle_write(change->context, change->container, options->bundle,
                                         keyring->signers.keys, keyring->signers.count, &bundle,
                                         &report, &change->err);
    mmh_bar_end();
    if (status != MMH_OK)
        return mmh_cli_fail(options, change->container, &change->err, mmh_exit_of(status), NULL);
    mmh_message_note("%s: %s signed, %s", options->bundle,
                     mmh_human_things(report.file_count, "file", "files").text,
                     mmh_human_bytes(report.bytes).text);
    if (options->json) {
        struct mmh_json_out out;
        mmh_cli_json_begin(&out, options, change->container, MMH_OK, MMH_EXIT_OK);
        mmh_json_out_text(&out, "output", options->bundle);
        mmh_json_out_u64(&out, "files", report.file_count);
        mmh_json_out_u64(&out, "original_bytes", report.bytes);
        mmh_json_out_u64(&out, "signatures", mmh_keyring_signatures(keyring));
        mmh_json_out_end(&out);
        (void)mmh_json_out_finish(&out);
    }
    return MMH_EXIT_OK;
}

/* ---- encrypt ---- */

static int check_encrypt(const struct change *change)
{
    const struct mmh_cli_options *options = change->options;
    bool adds = options->added_recipients.count, encrypted = change->before.encrypted;
    if (encrypted && !adds && !options->rekey)
        return mmh_cli_refuse(options, change->container,
                              "--add-recipient=KEY lets one more in, --rekey encrypts it anew",
                              "\"%s\" is encrypted already", change->container);
    if (!encrypted && (adds || options->rekey))
        return mmh_cli_refuse(options, change->container, "-r KEY encrypts it",
                              "\"%s\" is not encrypted", change->container);
    return MMH_EXIT_OK;
}

static void warn_signatures(const struct change *change)
{
    if (change->before.signature_count && !change->options->sign_with.count)
        mmh_message_warning(
            "%s of %s %s of what it was, and gone: sign it anew",
            mmh_human_things(change->before.signature_count, "signature", "signatures").text,
            change->container, change->before.signature_count == 1 ? "was" : "were");
}

static int encrypt_one(struct change *change)
{
    const struct mmh_cli_options *options = change->options;
    const struct mmh_keyring *keyring = options->keyring;
    bool adds = options->added_recipients.count;
    int code = look(change);
    if (code == MMH_EXIT_OK)
        code = check_encrypt(change);
    if (code != MMH_EXIT_OK)
        return code;
    mmh_status status = (adds ? mmh_add_recipients : mmh_encrypt)(
        change->context, change->container, keyring->recipients.keys, keyring->recipients.count,
        keyring->passphrase, keyring->passphrase_bytes, &change->change, &change->err);
    const char *made = change->output ? change->output : change->container;
    if (status == MMH_OK && keyring->signers.count) {
        mmh_change_options sign = change->change;
        sign.output = NULL;
        status = mmh_sign(change->context, made, keyring->signers.keys, keyring->signers.count,
                          &sign, &change->err);
    }
    mmh_bar_end();
    if (status != MMH_OK)
        return failed(change, status);
    if (!adds)
        warn_signatures(change);
    struct mmh_human count = mmh_human_things(mmh_keyring_recipients(keyring),
                                              adds ? "more recipient" : "recipient",
                                              adds ? "more recipients" : "recipients");
    char *note = mmh_cli_format("encrypted for %s", count.text);
    code = tell(change, note);
    free(note);
    return code;
}

/* ---- decrypt ---- */

static int decrypt_one(struct change *change)
{
    int code = look(change);
    if (code == MMH_EXIT_OK)
        code = mmh_keyring_check_newest(change->options, change->context, change->container,
                                        change->container);
    if (code != MMH_EXIT_OK)
        return code;
    if (!change->before.encrypted)
        return mmh_cli_refuse(change->options, change->container, NULL, "\"%s\" is not encrypted",
                              change->container);
    mmh_status status = mmh_decrypt(change->context, change->container, &change->change,
                                    &change->err);
    mmh_bar_end();
    if (status != MMH_OK)
        return failed(change, status);
    warn_signatures(change);
    return tell(change, "not encrypted any more");
}

/* ---- all of them ---- */

/* A name for the result that is not the container's own and does not exist. */
static int check_output(const struct mmh_cli_options *options, const char *container,
                        const char *output)
{
    if (strcmp(container, "-") == 0)
        return mmh_cli_refuse(options, container, NULL,
                              "\"mmh %s\" changes a file, and standard input is none",
                              mmh_verb_name(options->verb));
    if (mmh_host_kind(container) == MMH_HOST_OTHER)
        return mmh_cli_refuse(options, container, NULL,
                              "\"mmh %s\" changes a file, and \"%s\" is a pipe or a device",
                              mmh_verb_name(options->verb), container);
    if (!output)
        return MMH_EXIT_OK;
    if (mmh_host_same(container, output))
        return mmh_cli_refuse(options, container, "without -o the container itself is changed",
                              "\"%s\" is input and output", output);
    if (mmh_host_kind(output) == MMH_HOST_FOLDER)
        return mmh_cli_refuse(options, container, "-o names another file", "\"%s\" is a folder",
                              output);
    if (!options->force && mmh_host_exists(output))
        return mmh_cli_refuse(options, container, "-f replaces it, -o names another",
                              "\"%s\" exists", output);
    return MMH_EXIT_OK;
}

static int change_all(const struct mmh_cli_options *options, mmh_context *context, change_fn *work)
{
    int code = MMH_EXIT_OK;
    if (options->input_count > 1 && (options->output || options->detached_file))
        return mmh_cli_refuse(options, NULL, "without it each is changed itself",
                              "several containers cannot all become \"%s\"",
                              options->output ? options->output : options->detached_file);
    for (size_t i = 0; i < options->input_count && code != MMH_EXIT_INTERRUPTED; i++) {
        struct change change = {
            .options = options,
            .context = context,
            .container = options->inputs[i],
            .output = options->output,
            .change = { .struct_size = sizeof change.change,
                        .output = options->output,
                        .overwrite = options->force,
                        .aead = mmh_cli_aead(options),
                        .counter = options->counter,
                        .time_seconds = mmh_keyring_time(options),
                        .parity = options->parity,
                        .remove = options->unsign },
        };
        mmh_bar_begin(change.container, i, options->input_count);
        int one = check_output(options, change.container, change.output);
        if (one == MMH_EXIT_OK)
            one = work(&change);
        mmh_bar_end();
        code = mmh_exit_worse(code, one);
    }
    return code;
}

int mmh_cmd_sign(const struct mmh_cli_options *options, mmh_context *context)
{
    if (options->bundle && (options->detached || options->unsign || options->output))
        return mmh_cli_refuse(options, NULL, NULL,
                              "--bundle stands alone: it writes a file of its own");
    if (options->bundle && options->input_count > 1)
        return mmh_cli_refuse(options, NULL, "a folder is one model, with all that is in it",
                              "a bundle is of one model");
    if (options->detached && options->unsign)
        return mmh_cli_refuse(options, NULL, NULL, "--detached and --remove exclude each other");
    if (options->detached && options->output)
        return mmh_cli_refuse(options, NULL, "--detached=FILE names the signatures' file",
                              "--detached writes no container");
    if (!options->keyring->signers.count && !options->unsign)
        return mmh_cli_refuse(options, NULL, "--key=FILE names the private key that signs",
                              "\"mmh sign\" needs a key");
    return change_all(options, context, options->bundle ? bundle_one : sign_one);
}

int mmh_cmd_encrypt(const struct mmh_cli_options *options, mmh_context *context)
{
    const struct mmh_keyring *keyring = options->keyring;
    if (options->added_recipients.count && (options->recipients.count || options->rekey))
        return mmh_cli_refuse(options, NULL, "--rekey with every -r lets others in and some out",
                              "--add-recipient stands alone");
    if (!keyring->recipients.count && !keyring->passphrase)
        return mmh_cli_refuse(options, NULL, "-r KEY.pub, -r age1..., or -p for a passphrase",
                              "nobody could open it: \"mmh encrypt\" needs a recipient");
    return change_all(options, context, encrypt_one);
}

int mmh_cmd_decrypt(const struct mmh_cli_options *options, mmh_context *context)
{
    return change_all(options, context, decrypt_one);
}
