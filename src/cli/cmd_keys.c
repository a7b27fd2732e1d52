/*
 * mmh keys: what is in files of keys, and whose signatures are believed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/host.h"
#include "cli/keyring.h"
#include "cli/passphrase.h"

static int show_file(const struct mmh_cli_options *options, const char *path)
{
    mmh_error err = { 0 };
    mmh_key *key = NULL;
    mmh_status status = mmh_key_read(&key, path, mmh_passphrase_give, (void *)(uintptr_t)options,
                                     &err);
    if (status != MMH_OK)
        return mmh_cli_fail(options, path, &err, mmh_exit_of(status), NULL);
    if (options->json) {
        struct mmh_json_out out;
        mmh_cli_json_begin(&out, options, path, MMH_OK, MMH_EXIT_OK);
        mmh_key_json(&out, key);
        mmh_json_out_end(&out);
        (void)mmh_json_out_finish(&out);
    } else {
        char *clean = mmh_cli_clean(path);
        bool secret = mmh_key_parts(key, true, true) || mmh_key_parts(key, false, true);
        printf("%s: %s\n", clean, secret ? "private" : "public");
        free(clean);
        mmh_key_print(key);
    }
    mmh_key_destroy(key);
    return MMH_EXIT_OK;
}

int mmh_cmd_keys(const struct mmh_cli_options *options, mmh_context *context)
{
    (void)context;
    int code = MMH_EXIT_OK;
    for (size_t i = 1; i < options->input_count && code != MMH_EXIT_INTERRUPTED; i++)
        code = mmh_exit_worse(code, show_file(options, options->inputs[i]));
    return code;
}
