/*
 * Where passphrases come from: a file, a descriptor, or the terminal.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Never from an argument. Those that open something come from $MMH_PASSPHRASE_FILE, else from
 * --passphrase-file or --passphrase-fd, else from the terminal; new ones from the options first.
 */
#ifndef MMH_PASSPHRASE_H
#define MMH_PASSPHRASE_H

#include "cli/cli.h"

enum { MMH_PASSPHRASE_BYTES_MAX = 1024 };

/* The library's mmh_passphrase_fn; user: the options. A question is asked once, however often the
 * library asks it. */
mmh_status mmh_passphrase_give(void *options, const char *why, char *passphrase, size_t room,
                               size_t *bytes, mmh_error *err);

/* Whether the options ask for a new passphrase: for a container or for a private key. */
bool mmh_passphrase_wanted(const struct mmh_cli_options *options);

bool mmh_passphrase_is_set(void); /* $MMH_PASSPHRASE_FILE names a file */

/* A new one, from the terminal twice. It lives until mmh_passphrase_forget; it also opens what pack and
 * bench make with it. */
mmh_status mmh_passphrase_new(const struct mmh_cli_options *options, const char *of,
                              const char **passphrase, size_t *bytes, mmh_error *err);

void mmh_passphrase_forget(void); /* wipes all of them */

#endif
