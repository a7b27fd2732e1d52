/*
 * The one option parser, and the help that is made from its table.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_OPTIONS_H
#define MMH_OPTIONS_H

#include <stdio.h>

#include "cli/cli.h"

/*
 * Parse a command line. Options may stand anywhere, "--" ends them; short ones bundle (-kf9),
 * values follow at once or as the next argument (-T4, -T 4, --threads=4). The first argument that
 * is no option is the verb; zstd's -d, -t and -l before it are unpack, verify and ls.
 *
 * Returns MMH_EXIT_OK, or MMH_EXIT_USAGE after telling what is wrong. options->inputs is
 * allocated either way.
 */
int mmh_options_parse(struct mmh_cli_options *options, int argument_count, char **arguments);
void mmh_options_release(struct mmh_cli_options *options);

/* The verb that a word names; tells what may have been meant if there is none. */
int mmh_options_verb(enum mmh_verb *verb, const char *word);

/* The lines about a verb's options, for help. */
void mmh_options_help(FILE *file, enum mmh_verb verb);
void mmh_options_json(struct mmh_json_out *out, enum mmh_verb verb); /* "options": [...] */

#endif
