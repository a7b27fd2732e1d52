/*
 * The options: their table, and what each does. For options*.c alone.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_OPTIONS_PRIVATE_H
#define MMH_OPTIONS_PRIVATE_H

#include "cli/options.h"

enum option_id {
    OPTION_LEVEL,
    OPTION_THREADS,
    OPTION_OUTPUT,
    OPTION_STDOUT,
    OPTION_FORCE,
    OPTION_KEEP,
    OPTION_REMOVE,
    OPTION_QUIET,
    OPTION_VERBOSE,
    OPTION_JSON,
    OPTION_PROGRESS,
    OPTION_STDIN_NAME,
    OPTION_DTYPE,
    OPTION_SHAPE,
    OPTION_LAYOUT,
    OPTION_FORMAT_PLUGIN,
    OPTION_ALONE,
    OPTION_NO_CHECK,
    OPTION_TIMES,
    OPTION_HASH,
    OPTION_QUICK,
    OPTION_ALL,
    OPTION_LONG,
    OPTION_NPY,
    OPTION_TEXT,
    OPTION_EXIT_CODE,
    OPTION_MAX_SIZE,
    OPTION_ANY_NAMES,
    OPTION_SKIP_DAMAGED,
    OPTION_RECIPIENT,
    OPTION_ADD_RECIPIENT,
    OPTION_REKEY,
    OPTION_PASSPHRASE,
    OPTION_PASSPHRASE_FILE,
    OPTION_PASSPHRASE_FD,
    OPTION_KEY,
    OPTION_SIGN_WITH,
    OPTION_DETACHED,
    OPTION_UNSIGN,
    OPTION_BUNDLE,
    OPTION_COUNTER,
    OPTION_NO_TIME,
    OPTION_SIGNER,
    OPTION_TRUSTED,
    OPTION_REQUIRE,
    OPTION_SIGNATURE,
    OPTION_AEAD,
    OPTION_PROFILE,
    OPTION_PARITY,
    OPTION_SOURCE,
    OPTION_ALGORITHM,
    OPTION_RSA_BITS,
    OPTION_EXPIRES,
    OPTION_CBOM,
    OPTION_FRAMEWORKS,
    OPTION_RUN_CODE,
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_COUNT
};

struct option {
    char letter; /* 0: none */
    const char *name;
    const char *value; /* what follows, for help; NULL: nothing does */
    bool optional;     /* the value: it follows a '=', or there is none */
    int verbs;         /* bits of the verbs that take it */
    int shown;         /* and of those whose help names it */
    const char *help;
};

extern const struct option mmh_option_table[OPTION_COUNT];

/* Names that a value may have; NULL ends them. */
extern const char *const mmh_option_bar_modes[];
extern const char *const mmh_option_aeads[];
extern const char *const mmh_option_profiles[];

/* An element type as it is typed: "bf16". */
struct mmh_human mmh_option_dtype_word(mmh_dtype dtype);

/* Apply one option. value: NULL if it takes none. Returns an exit code, after telling what is wrong. */
int mmh_option_apply(struct mmh_cli_options *options, enum option_id id, const char *value);
int mmh_option_set_level(struct mmh_cli_options *options, const char *text); /* "5" */

#endif
