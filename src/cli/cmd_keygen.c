/*
 * mmh keygen: a new identity, to sign and to decrypt with.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/host.h"
#include "cli/keyring.h"
#include "cli/passphrase.h"

static void tell(const struct mmh_cli_options *options, const mmh_key *key, const char *secret,
                 const char *public, bool encrypted)
{
    if (options->json) {
        struct mmh_json_out out;
        mmh_cli_json_begin(&out, options, NULL, MMH_OK, MMH_EXIT_OK);
        mmh_json_out_text(&out, "private_file", secret);
        mmh_json_out_text(&out, "public_file", public);
        mmh_json_out_bool(&out, "passphrase", encrypted);
        mmh_cli_key_json(&out, key);
        mmh_json_out_end(&out);
        (void)mmh_json_out_finish(&out);
    } else if (!options->quiet) {
        char *clean_secret = mmh_cli_clean(secret), *clean_public = mmh_cli_clean(public);
        printf("%s: private, keep it%s; %s: public, give it away\n", clean_secret,
               encrypted ? " and its passphrase" : "", clean_public);
        free(clean_secret);
        free(clean_public);
        mmh_cli_key_print(key);
    }
}

/* "alice", or "alice.key": to be freed. */
static char *stem_of(const char *output)
{
    size_t length = strlen(output);
    if (length > 4 && strcmp(output + length - 4, ".key") == 0 && output[length - 5] != '/')
        length -= 4;
    return mmh_cli_format("%.*s", (int)length, output);
}

/* Neither of the two is to be written over. */
static int check_files(const struct mmh_cli_options *options, const char *secret,
                       const char *public)
{
    if (!options->force && mmh_host_exists(secret))
        return mmh_cli_refuse(options, NULL,
                              "-f replaces it; what is encrypted to the old key is lost then",
                              "\"%s\" exists", secret);
    if (!options->force && mmh_host_exists(public))
        return mmh_cli_refuse(options, NULL, "-f replaces it, -o names another", "\"%s\" exists",
                              public);
    return MMH_EXIT_OK;
}

/* "there are ed25519, ...": to be freed. */
static char *algorithm_list(void)
{
    char *list = mmh_cli_format("there are");
    mmh_key_info info = { .struct_size = sizeof info };
    for (size_t i = 0; mmh_algorithm(i, &info, NULL) == MMH_OK; i++) {
        char *longer = mmh_cli_format("%s%s %s", list, i ? "," : "", info.algorithm);
        free(list);
        list = longer;
    }
    return list;
}

static int make(const struct mmh_cli_options *options, const char *secret, const char *public)
{
    mmh_error err = { 0 };
    mmh_key *key = NULL;
    const char *algorithms = options->algorithms;
    const char *passphrase = NULL;
    size_t passphrase_bytes = 0;
    bool encrypted = mmh_passphrase_wanted(options);
    if (!algorithms && options->profile)
        algorithms = mmh_cli_profile(options).algorithms;
    mmh_status status = MMH_OK;
    if (encrypted)
        status = mmh_passphrase_new(options, secret, &passphrase, &passphrase_bytes, &err);
    if (status == MMH_OK)
        status = mmh_key_generate(&key, algorithms, options->rsa_bits, &err);
    if (status == MMH_OK)
        status = mmh_key_write(key, secret, true, passphrase, passphrase_bytes, options->force,
                               &err);
    if (status == MMH_OK) {
        status = mmh_key_write(key, public, false, NULL, 0, options->force, &err);
        if (status != MMH_OK) /* half an identity is none */
            (void)mmh_host_remove_file(secret);
    }
    int code = MMH_EXIT_OK;
    if (status == MMH_OK)
        tell(options, key, secret, public, encrypted);
    else {
        char *hint = status == MMH_E_USAGE && strstr(err.message, "knows no algorithm")
                       ? algorithm_list()
                       : NULL;
        code = mmh_cli_fail(options, NULL, &err, mmh_exit_of(status), hint);
        free(hint);
    }
    mmh_key_destroy(key);
    mmh_passphrase_forget();
    return code;
}

int mmh_cmd_keygen(const struct mmh_cli_options *options, mmh_context *context)
{
    (void)context;
    if (!options->output || options->input_count)
        return mmh_cli_refuse(options, NULL, "mmh keygen -o alice writes alice.key and alice.pub",
                              options->input_count ? "\"mmh keygen\" reads no files"
                                                   : "\"mmh keygen\" needs a name for the key");
    char *stem = stem_of(options->output);
    char *secret = mmh_cli_format("%s.key", stem), *public = mmh_cli_format("%s.pub", stem);
    int code = check_files(options, secret, public);
    if (code == MMH_EXIT_OK)
        code = make(options, secret, public);
    free(stem);
    free(secret);
    free(public);
    return code;
}
