/*
 * What each option does with its value.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/options_private.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli/host.h"
#include "cli/message.h"

enum { THREADS_MAX = 4096 };

static bool parse_u64(uint64_t *out, const char *text, const char **end)
{
    char *stop;
    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    unsigned long long value = strtoull(text, &stop, 10);
    if (errno)
        return false;
    *end = stop;
    *out = value;
    return true;
}

/* Bytes: a number and perhaps a unit: k, M, G, T are powers of 1000, Ki ... Ti of 1024; a B may
 * follow. */
static bool parse_size(uint64_t *out, const char *text)
{
    static const char units[] = "kmgt";
    const char *end;
    if (!parse_u64(out, text, &end))
        return false;
    const char *unit = *end ? strchr(units, tolower((unsigned char)*end)) : NULL;
    if (unit) {
        bool binary = tolower((unsigned char)end[1]) == 'i';
        end += binary ? 2 : 1;
        for (; unit >= units; unit--) {
            if (*out > UINT64_MAX / 1024)
                return false;
            *out *= binary ? 1024 : 1000;
        }
    }
    end += tolower((unsigned char)*end) == 'b';
    return !*end;
}

static bool parse_shape(struct mmh_cli_options *options, const char *text)
{
    options->dimensions = 0;
    for (;;) {
        if (options->dimensions == MMH_CLI_DIMENSIONS_MAX ||
            !parse_u64(&options->shape[options->dimensions++], text, &text))
            return false;
        if (!*text)
            return true;
        if (*text != ',' && *text != 'x' && *text != 'X')
            return false;
        text++;
    }
}

int mmh_option_set_level(struct mmh_cli_options *options, const char *text)
{
    const char *end = text;
    uint64_t level = 0;
    if (!parse_u64(&level, text, &end) || *end || level < 1 || level > 9) {
        mmh_message_error("there is no level \"%s\"", text);
        mmh_message_hint("levels are -1 (fastest) to -9 (smallest)");
        return MMH_EXIT_USAGE;
    }
    options->level = (int)level;
    options->levels |= 1u << level;
    return MMH_EXIT_OK;
}

static int set_dtype(struct mmh_cli_options *options, const char *text)
{
    const char *names[MMH_DTYPE_COUNT];
    struct mmh_human words[MMH_DTYPE_COUNT];
    char word[24];
    size_t count = 0, length = 0;
    options->dtype = mmh_dtype_parse(text);
    if (options->dtype != MMH_DTYPE_COUNT && options->dtype != MMH_DTYPE_OPAQUE)
        return MMH_EXIT_OK;
    mmh_message_error("no element type is called \"%s\"", text);
    for (int i = MMH_DTYPE_OPAQUE + 1; i < MMH_DTYPE_COUNT; i++, count++) {
        words[count] = mmh_option_dtype_word((mmh_dtype)i);
        names[count] = words[count].text;
    }
    for (; text[length] && length + 1 < sizeof word; length++)
        word[length] = (char)tolower((unsigned char)text[length]);
    word[length] = 0;
    const char *nearest = mmh_message_nearest(word, names, count);
    if (nearest)
        mmh_message_hint("did you mean \"%s\"?", nearest);
    else
        mmh_message_hint("such as bf16, f16, f32, f64, f8_e4m3, i8, u8, i32, i64");
    return MMH_EXIT_USAGE;
}

static int set_progress(struct mmh_cli_options *options, const char *text)
{
    static const enum mmh_bar_mode modes[] = { MMH_BAR_ALWAYS, MMH_BAR_JSON, MMH_BAR_NONE };
    for (size_t i = 0; mmh_option_bar_modes[i]; i++)
        if (strcmp(text, mmh_option_bar_modes[i]) == 0) {
            options->bar = modes[i];
            return MMH_EXIT_OK;
        }
    mmh_message_error("there is no progress called \"%s\"", text);
    mmh_message_hint("--progress=bar, --progress=json or --progress=none");
    return MMH_EXIT_USAGE;
}

/* A file's name, and no path. */
static int set_stdin_name(struct mmh_cli_options *options, const char *text)
{
    if (!*text || strchr(text, '/') || strcmp(text, ".") == 0 || strcmp(text, "..") == 0) {
        mmh_message_error("\"%s\" is no name for a file", text);
        mmh_message_hint("a name without a folder: --stdin-name=model.safetensors");
        return MMH_EXIT_USAGE;
    }
    options->stdin_name = text;
    return MMH_EXIT_OK;
}

/* One of a list of names; NULL after telling that it is none of them. */
static const char *choose(const char *text, const char *const *choices, const char *what,
                          const char *hint)
{
    for (size_t i = 0; choices[i]; i++)
        if (strcmp(text, choices[i]) == 0)
            return choices[i];
    mmh_message_error("no %s is called \"%s\"", what, text);
    mmh_message_hint("%s", hint);
    return NULL;
}

/* A percentage with two places at most: "5%", "5", "0.25%". In hundredths. */
static int set_parity(struct mmh_cli_options *options, const char *text)
{
    const char *end;
    uint64_t whole = 0, hundredths = 0;
    bool good = parse_u64(&whole, text, &end) && whole <= 100;
    if (good && *end == '.') {
        size_t digits = strspn(++end, "0123456789");
        good = digits == 1 || digits == 2;
        for (size_t i = 0; i < 2 && good; i++)
            hundredths = 10 * hundredths + (uint64_t)(i < digits ? end[i] - '0' : 0);
        end += digits;
    }
    hundredths += 100 * whole;
    end += good && *end == '%';
    if (!good || *end || !hundredths || hundredths > 10000) {
        mmh_message_error("\"%s\" is no parity", text);
        mmh_message_hint("a part of what it protects, up to 100%%: --parity=5%%");
        return MMH_EXIT_USAGE;
    }
    options->parity = (unsigned)hundredths;
    return MMH_EXIT_OK;
}

static bool parse_assigned(uint64_t *out, const char *text, const char *name)
{
    size_t length = strlen(name);
    const char *end;
    return strncmp(text, name, length) == 0 && text[length] == '=' &&
           parse_u64(out, text + length + 1, &end) && !*end;
}

/* Policies with commas between them. */
static int set_policy(struct mmh_cli_options *options, const char *text)
{
    char *copy = mmh_cli_format("%s", text), *rest = copy;
    int problem = MMH_EXIT_OK;
    options->has_policy = true;
    while (rest && !problem) {
        char *word = rest, *comma = strchr(rest, ',');
        uint64_t number;
        rest = comma ? comma + 1 : NULL;
        if (comma)
            *comma = 0;
        if (strcmp(word, "any") == 0) {
            options->require_all = false;
        } else if (strcmp(word, "all") == 0) {
            options->require_all = true;
        } else if (strcmp(word, "newest") == 0) {
            options->require_newest = true;
        } else if (strcmp(word, "hybrid") == 0) {
            options->require_hybrid = true;
        } else if (strcmp(word, "pq") == 0 || strcmp(word, "post-quantum") == 0) {
            options->require_post_quantum = true;
        } else if (parse_assigned(&number, word, "category") && number >= 1 && number <= 5) {
            options->require_category = (unsigned)number;
        } else if (parse_assigned(&number, word, "counter")) {
            options->require_counter = number;
        } else {
            mmh_message_error("nothing is called \"%s\" that could be required", word);
            mmh_message_hint("any, all, hybrid, pq, category=1 to category=5, counter=N, newest");
            problem = MMH_EXIT_USAGE;
        }
    }
    free(copy);
    return problem;
}

static int set_number(uint64_t *out, const char *text, uint64_t max, const char *what)
{
    const char *end;
    if (parse_u64(out, text, &end) && !*end && *out <= max)
        return MMH_EXIT_OK;
    mmh_message_error("\"%s\" is no %s", text, what);
    return MMH_EXIT_USAGE;
}

static void keep(struct mmh_cli_list *list, const char *value)
{
    list->items[list->count++] = value;
}

/* What is about keys; the same as apply. */
static int apply_security(struct mmh_cli_options *options, enum option_id id, const char *value)
{
    uint64_t number = 0;
    int problem = MMH_EXIT_OK;
    switch (id) {
    case OPTION_RECIPIENT:
        keep(&options->recipients, value);
        break;
    case OPTION_ADD_RECIPIENT:
        keep(&options->added_recipients, value);
        break;
    case OPTION_REKEY:
        options->rekey = true;
        break;
    case OPTION_PASSPHRASE:
        options->passphrase = true;
        break;
    case OPTION_PASSPHRASE_FILE:
        options->passphrase_file = value;
        options->has_passphrase_descriptor = false;
        break;
    case OPTION_PASSPHRASE_FD:
        problem = set_number(&number, value, INT_MAX, "descriptor");
        if (!problem && (number == 1 || number == 2)) {
            mmh_message_error("descriptor %s is for output", value);
            problem = MMH_EXIT_USAGE;
        } else if (!problem && !mmh_host_is_open((int)number)) {
            /* Later it may be one of a file that was opened meanwhile. */
            mmh_message_error("descriptor %s is not open", value);
            problem = MMH_EXIT_IO;
        }
        options->passphrase_descriptor = (int)number;
        options->has_passphrase_descriptor = true;
        options->passphrase_file = NULL;
        break;
    case OPTION_KEY:
        keep(&options->keys, value);
        break;
    case OPTION_SIGN_WITH:
        keep(&options->sign_with, value);
        break;
    case OPTION_DETACHED:
        options->detached = true;
        options->detached_file = value;
        break;
    case OPTION_UNSIGN:
        options->unsign = true;
        break;
    case OPTION_BUNDLE:
        options->bundle = value;
        break;
    case OPTION_COUNTER:
        return set_number(&options->counter, value, UINT64_MAX, "counter");
    case OPTION_NO_TIME:
        options->no_time = true;
        break;
    case OPTION_SIGNER:
        keep(&options->signers, value);
        break;
    case OPTION_TRUSTED:
        options->trusted = true;
        break;
    case OPTION_REQUIRE:
        return set_policy(options, value);
    case OPTION_SIGNATURE:
        options->signature_file = value;
        break;
    case OPTION_AEAD:
        options->aead = choose(value, mmh_option_aeads, "AEAD",
                               "--aead=aes-256-gcm or --aead=chacha20-poly1305");
        return options->aead ? MMH_EXIT_OK : MMH_EXIT_USAGE;
    case OPTION_PROFILE:
        options->profile = choose(value, mmh_option_profiles, "profile",
                                  "--profile=default, cnsa2, bsi or classical");
        return options->profile ? MMH_EXIT_OK : MMH_EXIT_USAGE;
    case OPTION_ALGORITHM:
        options->algorithms = value;
        break;
    case OPTION_RSA_BITS:
        problem = set_number(&number, value, 16384, "number of bits");
        options->rsa_bits = (unsigned)number;
        break;
    case OPTION_EXPIRES:
        options->expires = value;
        break;
    case OPTION_CBOM:
        options->cbom = value;
        break;
    default:
        break;
    }
    return problem;
}

int mmh_option_apply(struct mmh_cli_options *options, enum option_id id, const char *value)
{
    const char *end;
    uint64_t number;
    switch (id) {
    case OPTION_LEVEL:
        return mmh_option_set_level(options, value);
    case OPTION_THREADS:
        if (!parse_u64(&number, value, &end) || *end || number > THREADS_MAX) {
            mmh_message_error("\"%s\" is no number of threads", value);
            mmh_message_hint("-T4 for four, -T0 for all processors");
            return MMH_EXIT_USAGE;
        }
        options->threads = (unsigned)number;
        break;
    case OPTION_OUTPUT:
        if (!*value) {
            mmh_message_error("-o needs a path, and this one is empty");
            return MMH_EXIT_USAGE;
        }
        options->to_stdout = strcmp(value, "-") == 0;
        options->output = options->to_stdout ? NULL : value;
        break;
    case OPTION_STDOUT:
        options->to_stdout = true;
        options->output = NULL;
        break;
    case OPTION_FORCE:
        options->force = true;
        break;
    case OPTION_QUIET:
        options->quiet = true;
        break;
    case OPTION_VERBOSE:
        options->verbose++;
        break;
    case OPTION_JSON:
        options->json = true;
        break;
    case OPTION_DTYPE:
        return set_dtype(options, value);
    case OPTION_SHAPE:
        if (!parse_shape(options, value)) {
            mmh_message_error("\"%s\" is no shape", value);
            mmh_message_hint("numbers with commas, slowest dimension first: --shape=4096,1024");
            return MMH_EXIT_USAGE;
        }
        break;
    case OPTION_LAYOUT:
        options->layout = value;
        break;
    case OPTION_FORMAT_PLUGIN:
        options->plugins[options->plugin_count++] = value;
        break;
    case OPTION_ALONE:
        options->alone = true;
        break;
    case OPTION_NO_CHECK:
        options->no_check = true;
        break;
    case OPTION_TIMES:
        options->times = true;
        break;
    case OPTION_HASH:
        options->sha256 = strcmp(value, "sha256") == 0 || strcmp(value, "sha-256") == 0;
        options->sha384 = strcmp(value, "sha384") == 0 || strcmp(value, "sha-384") == 0;
        options->blake3 = strcmp(value, "blake3") == 0;
        if (!options->sha256 && !options->sha384 && !options->blake3) {
            mmh_message_error("no hash is called \"%s\"", value);
            mmh_message_hint("--hash=blake3, --hash=sha256 or --hash=sha384");
            return MMH_EXIT_USAGE;
        }
        break;
    case OPTION_QUICK:
        options->quick = true;
        break;
    case OPTION_ALL:
        options->every_value = true;
        break;
    case OPTION_LONG:
        options->long_list = true;
        break;
    case OPTION_NPY:
        options->npy = true;
        break;
    case OPTION_TEXT:
        options->text = true;
        break;
    case OPTION_EXIT_CODE:
        options->tell_difference = true;
        break;
    case OPTION_MAX_SIZE:
        if (!parse_size(&options->max_bytes, value) || !options->max_bytes) {
            mmh_message_error("\"%s\" is no size", value);
            mmh_message_hint("bytes, or with a unit: 500M, 10G, 64KiB");
            return MMH_EXIT_USAGE;
        }
        break;
    case OPTION_ANY_NAMES:
        options->any_names = true;
        break;
    case OPTION_HELP:
        options->help = true;
        break;
    case OPTION_VERSION:
        options->version = true;
        break;
    case OPTION_KEEP: /* the last of the two counts */
        options->remove = false;
        break;
    case OPTION_REMOVE:
        options->remove = true;
        break;
    case OPTION_PROGRESS:
        return set_progress(options, value);
    case OPTION_STDIN_NAME:
        return set_stdin_name(options, value);
    case OPTION_SKIP_DAMAGED:
        options->skip_damaged = true;
        break;
    case OPTION_PARITY:
        return set_parity(options, value);
    case OPTION_FRAMEWORKS:
        options->frameworks = true;
        options->framework_names = value;
        break;
    case OPTION_RUN_CODE:
        options->run_code = true;
        break;
    case OPTION_SOURCE:
        options->repair_sources[options->repair_source_count++] = value;
        break;
    default:
        return apply_security(options, id, value);
    }
    return MMH_EXIT_OK;
}
