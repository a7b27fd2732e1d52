/*
 * The one option parser.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/options_private.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cli/message.h"

struct parser {
    struct mmh_cli_options *options;
    char **arguments;
    int count, next;
    bool seen[OPTION_COUNT];
};

static const char *next_argument(struct parser *parser)
{
    return parser->next < parser->count ? parser->arguments[parser->next++] : NULL;
}

static int missing_value(const char *option, const struct option *entry)
{
    mmh_message_error("%s needs a value: %s", option, entry->value);
    return MMH_EXIT_USAGE;
}

/* Where to read on, when the guess fails. */
static const char *verb_so_far(const struct parser *parser)
{
    const struct mmh_cli_options *options = parser->options;
    enum mmh_verb verb = options->verb;
    if (verb == MMH_VERB_NONE && options->input_count)
        verb = mmh_verb_find(options->inputs[0]);
    return verb == MMH_VERB_NONE ? "VERB" : mmh_verb_name(verb);
}

static int parse_long(struct parser *parser, const char *argument)
{
    const char *name = argument + 2, *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option *option = &mmh_option_table[i];
        if (strlen(option->name) != length || strncmp(option->name, name, length) != 0)
            continue;
        const char *value = equals ? equals + 1 : NULL;
        if (value && !option->value) {
            mmh_message_error("--%s takes no value", option->name);
            return MMH_EXIT_USAGE;
        }
        if (!value && option->value && !option->optional && !(value = next_argument(parser)))
            return missing_value(argument, option);
        parser->seen[i] = true;
        return mmh_option_apply(parser->options, (enum option_id)i, value);
    }
    const char *names[OPTION_COUNT];
    for (size_t i = 0; i < OPTION_COUNT; i++)
        names[i] = mmh_option_table[i].name;
    mmh_message_error("there is no option \"--%.*s\"", (int)length, name);
    char *word = mmh_cli_format("%.*s", (int)length, name);
    const char *nearest = mmh_message_nearest(word, names, OPTION_COUNT);
    free(word);
    if (nearest)
        mmh_message_hint("did you mean \"--%s\"?", nearest);
    else
        mmh_message_hint("\"mmh help %s\" lists the options", verb_so_far(parser));
    return MMH_EXIT_USAGE;
}

/* zstd's habit: -d, -t and -l before any verb or file are verbs, alone or among others: -dcf. */
static enum mmh_verb verb_of_letter(const struct parser *parser, char letter)
{
    if (parser->options->verb != MMH_VERB_NONE || parser->options->input_count)
        return MMH_VERB_NONE;
    return letter == 'd' ? MMH_VERB_UNPACK
         : letter == 't' ? MMH_VERB_VERIFY
         : letter == 'l' ? MMH_VERB_LS
                         : MMH_VERB_NONE;
}

static int parse_short(struct parser *parser, const char *argument)
{
    for (const char *at = argument + 1; *at;) {
        enum mmh_verb verb = verb_of_letter(parser, *at);
        if (verb != MMH_VERB_NONE) {
            parser->options->verb = verb;
            at++;
            continue;
        }
        if (isdigit((unsigned char)*at)) { /* all digits that follow: -19 is no -1 -9 */
            size_t length = strspn(at, "0123456789");
            char *digits = mmh_cli_format("%.*s", (int)length, at);
            int problem = mmh_option_set_level(parser->options, digits);
            free(digits);
            parser->seen[OPTION_LEVEL] = true;
            if (problem)
                return problem;
            at += length;
            continue;
        }
        size_t i = 0;
        while (i < OPTION_COUNT &&
               (!mmh_option_table[i].letter || mmh_option_table[i].letter != *at))
            i++;
        if (i == OPTION_COUNT) {
            bool is_verb = mmh_verb_find(argument + 1) != MMH_VERB_NONE;
            if (at == argument + 1 || is_verb)
                mmh_message_error("there is no option \"%s\"", argument);
            else
                mmh_message_error("there is no option \"-%c\" (in \"%s\")", *at, argument);
            if (is_verb)
                mmh_message_hint("verbs have no dash: mmh %s", argument + 1);
            else
                mmh_message_hint("\"mmh help %s\" lists the options; files that begin with - "
                                 "go behind --",
                                 verb_so_far(parser));
            return MMH_EXIT_USAGE;
        }
        const struct option *option = &mmh_option_table[i];
        const char *value = NULL;
        at++;
        if (option->value) {
            char name[3] = { '-', option->letter, 0 };
            value = *at ? at : next_argument(parser);
            if (!value)
                return missing_value(name, option);
            at = "";
        }
        parser->seen[i] = true;
        int problem = mmh_option_apply(parser->options, (enum option_id)i, value);
        if (problem)
            return problem;
    }
    return MMH_EXIT_OK;
}

int mmh_options_verb(enum mmh_verb *verb, const char *word)
{
    const char *names[MMH_VERB_COUNT];
    *verb = mmh_verb_find(word);
    if (*verb != MMH_VERB_NONE)
        return MMH_EXIT_OK;
    for (int i = 1; i < MMH_VERB_COUNT; i++)
        names[i - 1] = mmh_verb_name((enum mmh_verb)i);
    const char *nearest = mmh_message_nearest(word, names, MMH_VERB_COUNT - 1);
    mmh_message_error("there is no verb \"%s\"", word);
    if (nearest)
        mmh_message_hint("did you mean \"mmh %s\"?", nearest);
    else if (strchr(word, '.') || strchr(word, '/'))
        mmh_message_hint("mmh pack %s, or unpack, verify, info, ls, bench", word);
    else
        mmh_message_hint("\"mmh --help\" lists the verbs");
    return MMH_EXIT_USAGE;
}

/* Of "mmh verify": what goes with --frameworks, and what only with it. */
static int check_frameworks(const struct parser *parser)
{
    static const enum option_id with[] = {
        OPTION_FRAMEWORKS, OPTION_RUN_CODE,        OPTION_SOURCE,        OPTION_KEY,
        OPTION_SIGNER,     OPTION_PASSPHRASE_FILE, OPTION_PASSPHRASE_FD, OPTION_JSON,
        OPTION_QUIET,      OPTION_VERBOSE,         OPTION_PROGRESS,
    };
    const struct mmh_cli_options *options = parser->options;
    if (options->verb != MMH_VERB_VERIFY)
        return MMH_EXIT_OK;
    if (!options->frameworks && (options->run_code || options->repair_source_count)) {
        mmh_message_error("--%s goes with --frameworks", options->run_code ? "run-code" : "source");
        return MMH_EXIT_USAGE;
    }
    if (options->repair_source_count > 1 ||
        (options->repair_source_count && options->input_count > 1)) {
        mmh_message_error("--source is the original of one container");
        return MMH_EXIT_USAGE;
    }
    for (size_t i = 0; options->frameworks && i < OPTION_COUNT; i++) {
        bool fits = !parser->seen[i];
        for (size_t k = 0; k < sizeof with / sizeof *with; k++)
            fits = fits || with[k] == (enum option_id)i;
        if (!fits) {
            mmh_message_error("--frameworks does not go with --%s", mmh_option_table[i].name);
            return MMH_EXIT_USAGE;
        }
    }
    for (size_t i = 0; options->frameworks && i < options->input_count; i++)
        if (strcmp(options->inputs[i], "-") == 0) {
            mmh_message_error("--frameworks does not read standard input");
            return MMH_EXIT_USAGE;
        }
    return MMH_EXIT_OK;
}

static int check_seen(const struct parser *parser)
{
    const struct mmh_cli_options *options = parser->options;
    const char *verb = mmh_verb_name(options->verb);
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (!parser->seen[i] || (mmh_option_table[i].verbs & 1 << options->verb))
            continue;
        if (i == OPTION_LEVEL)
            mmh_message_error("\"mmh %s\" takes no level", verb);
        else
            mmh_message_error("\"mmh %s\" takes no --%s", verb, mmh_option_table[i].name);
        mmh_message_hint("\"mmh help %s\" lists its options", verb);
        return MMH_EXIT_USAGE;
    }
    if (options->require_newest && options->verb == MMH_VERB_REPAIR) {
        mmh_message_error("\"mmh repair\" does not look for the newest");
        mmh_message_hint("--require=counter=N, or \"mmh verify --require=newest\" of the result");
        return MMH_EXIT_USAGE;
    }
    static const unsigned streams = 1u << MMH_VERB_PACK | 1u << MMH_VERB_UNPACK |
                                    1u << MMH_VERB_CAT | 1u << MMH_VERB_REPORT;
    if (options->to_stdout && !(streams >> options->verb & 1)) {
        mmh_message_error("\"mmh %s\" does not write to standard output", verb);
        mmh_message_hint("-o PATH names a file");
        return MMH_EXIT_USAGE;
    }
    if ((options->detached_file && strcmp(options->detached_file, "-") == 0) ||
        (options->bundle && strcmp(options->bundle, "-") == 0)) {
        mmh_message_error("signatures do not go to standard output");
        mmh_message_hint("name a file, ./- if it is to be called that");
        return MMH_EXIT_USAGE;
    }
    if (options->layout && options->dtype != MMH_DTYPE_OPAQUE) {
        mmh_message_error("--layout and --dtype exclude each other");
        mmh_message_hint("a layout has an element type for each tensor");
        return MMH_EXIT_USAGE;
    }
    if (options->dimensions && options->dtype == MMH_DTYPE_OPAQUE) {
        mmh_message_error("--shape needs --dtype");
        mmh_message_hint("for raw arrays: --dtype=bf16 --shape=4096,1024");
        return MMH_EXIT_USAGE;
    }
    bool encrypts = options->recipients.count || options->passphrase || options->passphrase_file ||
                    options->has_passphrase_descriptor || options->verb == MMH_VERB_ENCRYPT;
    if (options->aead && !encrypts) {
        mmh_message_error("--aead is for what is encrypted");
        mmh_message_hint("-r KEY.pub, or -p for a passphrase, encrypts it");
        return MMH_EXIT_USAGE;
    }
    if ((options->counter || options->no_time) && options->verb != MMH_VERB_SIGN &&
        !options->sign_with.count) {
        mmh_message_error("--%s is for what is signed", options->counter ? "counter" : "no-time");
        mmh_message_hint("--sign-with=KEY.key signs it");
        return MMH_EXIT_USAGE;
    }
    if ((options->has_policy || (options->signature_file && options->verb != MMH_VERB_INFO)) &&
        !options->signers.count && !options->trusted) {
        mmh_message_error("--%s needs to know whose signatures are believed",
                          options->has_policy ? "require" : "signature");
        mmh_message_hint("--signer=KEY.pub, or --trusted for all keys of the trust store");
        return MMH_EXIT_USAGE;
    }
    return check_frameworks(parser);
}

/* Lists that may each hold all arguments. */
static void begin_lists(struct mmh_cli_options *options, size_t room)
{
    struct mmh_cli_list *const lists[] = { &options->recipients, &options->added_recipients,
                                           &options->keys, &options->sign_with, &options->signers };
    enum { COUNT = sizeof lists / sizeof *lists };
    options->list_storage = mmh_cli_alloc((COUNT + 1) * room * sizeof *options->list_storage);
    for (size_t i = 0; i < COUNT; i++)
        lists[i]->items = options->list_storage + i * room;
    options->repair_sources = options->list_storage + COUNT * room;
}

int mmh_options_parse(struct mmh_cli_options *options, int argument_count, char **arguments)
{
    struct parser parser = { options, arguments, argument_count, 1, { false } };
    int problem = MMH_EXIT_OK;
    bool ended = false;
    memset(options, 0, sizeof *options);
    options->input_storage = mmh_cli_alloc((size_t)argument_count * sizeof *options->inputs);
    options->inputs = options->input_storage;
    options->plugins = mmh_cli_alloc((size_t)argument_count * sizeof *options->plugins);
    begin_lists(options, (size_t)argument_count);
    for (const char *argument; !problem && (argument = next_argument(&parser));) {
        if (ended || argument[0] != '-' || !argument[1])
            options->inputs[options->input_count++] = argument;
        else if (strcmp(argument, "--") == 0)
            ended = true;
        else if (argument[1] == '-')
            problem = parse_long(&parser, argument);
        else
            problem = parse_short(&parser, argument);
    }
    if (!problem && options->verb == MMH_VERB_NONE && options->input_count) {
        problem = mmh_options_verb(&options->verb, options->inputs[0]);
        options->inputs++;
        options->input_count--;
    }
    if (!problem && options->verb != MMH_VERB_NONE && !options->help && !options->version)
        problem = check_seen(&parser);
    return problem;
}

void mmh_options_release(struct mmh_cli_options *options)
{
    free(options->input_storage);
    free(options->plugins);
    free(options->list_storage);
    options->list_storage = NULL;
    options->input_storage = NULL;
    options->plugins = NULL;
}
