/*
 * What guards a container, for people and for JSON: recipients, signatures, parity.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_GUARD_TEXT_H
#define MMH_GUARD_TEXT_H

#include "cli/cli.h"

/* What guards the container at `path`; signatures are checked by the keys of --signer. NULL after
 * telling why not (*exit_code). For mmh_security_close. */
mmh_security *mmh_cli_guard_open(const struct mmh_cli_options *options, mmh_context *context,
                                 const char *path, const char *shown, int *exit_code);

/* Lines on standard output: "  encrypted with ...", or none. */
void mmh_cli_guard_print(const mmh_security *security);

/* "encryption", "signatures", "parity"; security NULL: null, [], null. */
void mmh_cli_guard_json(struct mmh_json_out *out, const mmh_security *security);

/* "5 %" of hundredths of a percent. */
struct mmh_human mmh_cli_parity_text(unsigned hundredths);

/* "2026-11-28 12:30:00 UTC". */
struct mmh_human mmh_cli_time_text(uint64_t seconds);

#endif
