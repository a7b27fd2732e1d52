/*
 * The one option parser, and the help that is made from its table.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/options.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli/message.h"

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
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_COUNT
};

enum {
    PACK = 1 << MMH_VERB_PACK,
    UNPACK = 1 << MMH_VERB_UNPACK,
    VERIFY = 1 << MMH_VERB_VERIFY,
    REPAIR = 1 << MMH_VERB_REPAIR,
    INFO = 1 << MMH_VERB_INFO,
    LS = 1 << MMH_VERB_LS,
    CAT = 1 << MMH_VERB_CAT,
    DIFF = 1 << MMH_VERB_DIFF,
    ORIGINALS = LS | CAT | DIFF, /* they take files that are no containers too */
    KEYGEN = 1 << MMH_VERB_KEYGEN,
    KEYS = 1 << MMH_VERB_KEYS,
    SIGN = 1 << MMH_VERB_SIGN,
    ENCRYPT = 1 << MMH_VERB_ENCRYPT,
    DECRYPT = 1 << MMH_VERB_DECRYPT,
    AUDIT = 1 << MMH_VERB_AUDIT,
    BENCH = 1 << MMH_VERB_BENCH,
    WORK = PACK | UNPACK | VERIFY | REPAIR | BENCH | CAT | DIFF | SIGN | ENCRYPT | DECRYPT,
    READ = UNPACK | VERIFY | INFO | LS | CAT | DIFF | BENCH | DECRYPT, /* containers, from others */
    OPEN = READ | PACK | REPAIR | SIGN | ENCRYPT | AUDIT, /* they may need a private key */
    WRITE = PACK | ENCRYPT | BENCH,                       /* they encrypt */
    ALL = -1,
    THREADS_MAX = 4096
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

static const struct option table[OPTION_COUNT] = {
    [OPTION_LEVEL] = { 0, "level", "N", false, PACK | BENCH, ALL,
                       "-1 (fastest) to -9 (smallest); the default is -5" },
    [OPTION_OUTPUT] = { 'o', "output", "PATH", false,
                        PACK | UNPACK | CAT | REPAIR | KEYGEN | KEYS | SIGN | ENCRYPT | DECRYPT,
                        ALL, NULL },
    [OPTION_STDOUT] = { 'c', "stdout", NULL, false, PACK | UNPACK | CAT, ALL,
                        "write to standard output" },
    [OPTION_FORCE] = { 'f', "force", NULL, false,
                       PACK | UNPACK | CAT | REPAIR | KEYGEN | KEYS | SIGN | ENCRYPT | DECRYPT |
                           AUDIT,
                       ALL, "replace what exists" },
    [OPTION_KEEP] = { 'k', "keep", NULL, false, PACK | UNPACK, ALL,
                      "keep the input, as without --rm" },
    [OPTION_REMOVE] = { 0, "rm", NULL, false, PACK | UNPACK, ALL, NULL },
    [OPTION_STDIN_NAME] = { 0, "stdin-name", "NAME", false, PACK, ALL,
                            "pack standard input as this; the default is stdin" },
    [OPTION_DTYPE] = { 0, "dtype", "TYPE", false, PACK | BENCH | ORIGINALS, ALL,
                       "inputs are raw arrays of TYPE: bf16, f32, i8, ..." },
    [OPTION_SHAPE] = { 0, "shape", "N,N", false, PACK | BENCH | ORIGINALS, ALL,
                       "their shape, slowest dimension first" },
    [OPTION_LAYOUT] = { 0, "layout", "FILE", false, PACK | BENCH | ORIGINALS, ALL,
                        "JSON that says where the tensors of raw files are" },
    [OPTION_FORMAT_PLUGIN] = { 0, "format-plugin", "FILE", false, PACK | BENCH | ORIGINALS, ALL,
                               "a library that reads a format of your own" },
    [OPTION_ALONE] = { 0, "alone", NULL, false, PACK | BENCH | ORIGINALS, ALL,
                       "a shard index without the files it refers to" },
    [OPTION_TIMES] = { 0, "times", NULL, false, PACK, ALL, "store modification times" },
    [OPTION_HASH] = { 0, "hash", "NAME", false, PACK | BENCH, ALL,
                      "blake3 (the default), sha256 or sha384" },
    [OPTION_NO_CHECK] = { 0, "no-check", NULL, false, PACK | BENCH, ALL,
                          "do not decode what was encoded, to compare it" },
    [OPTION_QUICK] = { 0, "quick", NULL, false, VERIFY, ALL,
                       "hashes of the stored bytes only; decode nothing" },
    [OPTION_LONG] = { 'l', "long", NULL, false, LS, ALL, "files too: kind, mode, size, format" },
    [OPTION_NPY] = { 0, "npy", NULL, false, CAT, ALL, "tensors as npy files (numpy.load)" },
    [OPTION_TEXT] = { 0, "text", NULL, false, CAT, ALL, "tensors as numbers, all of them" },
    [OPTION_EXIT_CODE] = { 0, "exit-code", NULL, false, DIFF, ALL,
                           "exit with 1 if something differs" },
    [OPTION_MAX_SIZE] = { 0, "max-size", "SIZE", false, PACK | UNPACK | VERIFY | CAT,
                          UNPACK | VERIFY | CAT, "refuse what unpacks to more: 500M, 10G" },
    [OPTION_ANY_NAMES] = { 0, "any-names", NULL, false, UNPACK, ALL,
                           "names too that other systems take for something else" },
    [OPTION_SKIP_DAMAGED] = { 0, "skip-damaged", NULL, false, UNPACK, ALL,
                              "zeros for what is lost; the exit code is 5 then" },
    [OPTION_RECIPIENT] = { 'r', "recipient", "KEY", false, WRITE, ALL,
                           "who may open it: a public key, age1...; repeatable" },
    [OPTION_ADD_RECIPIENT] = { 0, "add-recipient", "KEY", false, ENCRYPT, ALL,
                               "let KEY in too; its signatures stay" },
    [OPTION_REKEY] = { 0, "rekey", NULL, false, ENCRYPT, ALL,
                       "encrypt what is encrypted under a new file key" },
    [OPTION_PASSPHRASE] = { 'p', "passphrase", NULL, false, OPEN | KEYGEN, WRITE | KEYGEN, NULL },
    [OPTION_PASSPHRASE_FILE] = { 0, "passphrase-file", "FILE", false, OPEN | KEYGEN | KEYS, ALL,
                                 "its first line is the passphrase" },
    [OPTION_PASSPHRASE_FD] = { 0, "passphrase-fd", "N", false, OPEN | KEYGEN | KEYS, ALL,
                               "the same, of an open descriptor" },
    [OPTION_KEY] = { 0, "key", "FILE", false, OPEN, ALL, NULL },
    [OPTION_SIGN_WITH] = { 0, "sign-with", "FILE", false, WRITE, ALL,
                           "private key to sign with; repeatable" },
    [OPTION_DETACHED] = { 0, "detached", "FILE", true, SIGN, ALL,
                          "sign into FILE, or X.mmh.sig; X.mmh stays as it is" },
    [OPTION_UNSIGN] = { 0, "remove", NULL, false, SIGN, ALL, "drop the signatures that it has" },
    [OPTION_BUNDLE] = { 0, "bundle", "FILE", false, SIGN | VERIFY, ALL, NULL },
    [OPTION_COUNTER] = { 0, "counter", "N", false, PACK | ENCRYPT | SIGN, ALL,
                         "signatures say: version N of this" },
    [OPTION_NO_TIME] = { 0, "no-time", NULL, false, PACK | ENCRYPT | SIGN, ALL,
                         "signatures do not say when" },
    [OPTION_SIGNER] = { 0, "signer", "KEY", false, READ | AUDIT, ALL,
                        "refuse what this public key has not signed" },
    [OPTION_TRUSTED] = { 0, "trusted", NULL, false, READ | AUDIT, ALL,
                         "signers are all keys of the trust store" },
    [OPTION_REQUIRE] = { 0, "require", "WHAT", false, READ, ALL,
                         "all, hybrid, pq, category=N, counter=N, newest" },
    [OPTION_SIGNATURE] = { 0, "signature", "FILE", false, READ | AUDIT, ALL,
                           "detached signatures" },
    [OPTION_AEAD] = { 0, "aead", "NAME", false, WRITE, ALL, "aes-256-gcm or chacha20-poly1305" },
    [OPTION_PROFILE] = { 0, "profile", "NAME", false, PACK | ENCRYPT | KEYGEN | AUDIT, ALL, NULL },
    [OPTION_PARITY] = { 0, "parity", "N%", false, PACK | BENCH | REPAIR | ENCRYPT | DECRYPT, ALL,
                        "so much more, to mend damage with: 5%" },
    [OPTION_SOURCE] = { 0, "source", "PATH", false, REPAIR, ALL,
                        "another copy of it, or what was packed; repeatable" },
    [OPTION_ALGORITHM] = { 0, "algorithm", "NAMES", false, KEYGEN, ALL,
                           "to sign, to decrypt, or one of each with a comma" },
    [OPTION_RSA_BITS] = { 0, "rsa-bits", "N", false, KEYGEN, ALL,
                          "of RSA keys; the default is 3072" },
    [OPTION_EXPIRES] = { 0, "expires", "DATE", false, KEYS, ALL,
                         "add: believe it until then (2027-12-31)" },
    [OPTION_CBOM] = { 0, "cbom", "FILE", false, AUDIT, ALL, "write a CycloneDX bill of materials" },
    [OPTION_THREADS] = { 'T', "threads", "N", false, ALL, WORK, "0: all processors, the default" },
    [OPTION_JSON] = { 0, "json", NULL, false, ALL, ALL, "results as JSON on standard output" },
    [OPTION_PROGRESS] = { 0, "progress", "HOW", false, WORK, ALL,
                          "bar, json or none; the default: a bar on a terminal" },
    [OPTION_QUIET] = { 'q', "quiet", NULL, false, ALL, ALL, "no progress and no remarks" },
    [OPTION_VERBOSE] = { 'v', "verbose", NULL, false, ALL, PACK | UNPACK | VERIFY | LS, NULL },
    [OPTION_HELP] = { 'h', "help", NULL, false, ALL, ALL, "this text" },
    [OPTION_VERSION] = { 'V', "version", NULL, false, ALL, ALL, NULL },
};

static const enum option_id help_order[] = {
    OPTION_LEVEL,         OPTION_OUTPUT,
    OPTION_STDOUT,        OPTION_FORCE,
    OPTION_KEEP,          OPTION_REMOVE,
    OPTION_ALGORITHM,     OPTION_RSA_BITS,
    OPTION_RECIPIENT,     OPTION_ADD_RECIPIENT,
    OPTION_REKEY,         OPTION_KEY,
    OPTION_PASSPHRASE,    OPTION_PASSPHRASE_FILE,
    OPTION_PASSPHRASE_FD, OPTION_AEAD,
    OPTION_SIGN_WITH,     OPTION_DETACHED,
    OPTION_UNSIGN,        OPTION_BUNDLE,
    OPTION_COUNTER,       OPTION_NO_TIME,
    OPTION_SIGNER,        OPTION_TRUSTED,
    OPTION_REQUIRE,       OPTION_SIGNATURE,
    OPTION_PROFILE,       OPTION_PARITY,
    OPTION_SOURCE,        OPTION_EXPIRES,
    OPTION_CBOM,          OPTION_DTYPE,
    OPTION_SHAPE,         OPTION_LAYOUT,
    OPTION_FORMAT_PLUGIN, OPTION_STDIN_NAME,
    OPTION_ALONE,         OPTION_TIMES,
    OPTION_HASH,          OPTION_NO_CHECK,
    OPTION_QUICK,         OPTION_LONG,
    OPTION_NPY,           OPTION_TEXT,
    OPTION_EXIT_CODE,     OPTION_MAX_SIZE,
    OPTION_ANY_NAMES,     OPTION_SKIP_DAMAGED,
    OPTION_THREADS,       OPTION_JSON,
    OPTION_PROGRESS,      OPTION_QUIET,
    OPTION_VERBOSE,       OPTION_HELP,
};

static const char *const bar_modes[] = { "bar", "json", "none", NULL };
static const char *const hashes[] = { "blake3", "sha256", "sha384", NULL };
static const char *const levels[] = { "1", "2", "3", "4", "5", "6", "7", "8", "9", NULL };
static const char *const aeads[] = { "aes-256-gcm", "chacha20-poly1305", NULL };
static const char *const profiles[] = { "default", "cnsa2", "bsi", "classical", NULL };
static const char *const policies[] = { "any",    "all",        "hybrid",    "pq",
                                        "newest", "category=5", "counter=1", NULL };

/* An element type as it is typed: "bf16". */
static struct mmh_human dtype_word(mmh_dtype dtype)
{
    struct mmh_human word = { "" };
    const char *name = mmh_dtype_text(dtype);
    for (size_t i = 0; name[i] && i + 1 < sizeof word.text; i++)
        word.text[i] = (char)tolower((unsigned char)name[i]);
    return word;
}

/* What an option says about itself to a verb. */
static const char *help_of(enum option_id id, enum mmh_verb verb)
{
    switch (id) {
    case OPTION_LEVEL:
        return verb == MMH_VERB_BENCH ? "levels to try, as many as you like; the default is all"
                                      : table[id].help;
    case OPTION_OUTPUT:
        return verb == MMH_VERB_PACK   ? "one container for all; into PATH if that is a folder"
             : verb == MMH_VERB_CAT    ? "write to PATH"
             : verb == MMH_VERB_UNPACK ? "folder (exists, or ends in /), or the file's new name"
             : verb == MMH_VERB_KEYGEN ? "write PATH.key and PATH.pub"
             : verb == MMH_VERB_KEYS   ? "where \"rotate\" writes its statement"
                                       : "write a new container; without it X.mmh is changed";
    case OPTION_REMOVE:
        return verb == MMH_VERB_PACK ? "remove the input, once it was read back and compared"
                                     : "remove the container, once all is on the disk";
    case OPTION_PASSPHRASE:
        return verb == MMH_VERB_KEYGEN ? "ask for one, twice, and encrypt the private key with it"
                                       : "ask for one, twice: who knows it may open it";
    case OPTION_KEY:
        return verb == MMH_VERB_SIGN ? "private key to sign with; repeatable"
             : verb == MMH_VERB_PACK ? "private key to read it back with, for --rm"
                                     : "private key to open it with; repeatable";
    case OPTION_BUNDLE:
        return verb == MMH_VERB_SIGN ? "write a Model Signing bundle of its files instead"
                                     : "check its files by a Model Signing bundle";
    case OPTION_PROFILE:
        return verb == MMH_VERB_AUDIT ? "fail if it does not meet this one"
                                      : "default, cnsa2, bsi or classical";
    case OPTION_VERBOSE:
        return verb == MMH_VERB_VERIFY ? "tell more: each layer, all damage, times"
             : verb == MMH_VERB_LS     ? "tell more: what is odd in files"
             : verb == MMH_VERB_PACK   ? "tell more: times, what is odd in files"
                                       : "tell more: times";
    default:
        return table[id].help;
    }
}

void mmh_options_help(FILE *file, enum mmh_verb verb)
{
    for (size_t i = 0; i < sizeof help_order / sizeof *help_order; i++) {
        const struct option *option = &table[help_order[i]];
        char left[40];
        const char *help = help_of(help_order[i], verb);
        if (!(option->verbs & option->shown & 1 << verb))
            continue;
        if (help_order[i] == OPTION_LEVEL)
            snprintf(left, sizeof left, "-1 ... -9, --level=N");
        else if (option->value && option->letter)
            snprintf(left, sizeof left, "-%c, --%s=%s", option->letter, option->name,
                     option->value);
        else if (option->letter)
            snprintf(left, sizeof left, "-%c, --%s", option->letter, option->name);
        else if (option->optional)
            snprintf(left, sizeof left, "    --%s[=%s]", option->name, option->value);
        else
            snprintf(left, sizeof left, "    --%s%s%s", option->name, option->value ? "=" : "",
                     option->value ? option->value : "");
        fprintf(file, "  %-22s %s\n", left, help);
    }
}

/* The values that an option takes, if there are few enough to name. */
static void choices_json(struct mmh_json_out *out, enum option_id id)
{
    const char *const *choices = id == OPTION_HASH     ? hashes
                               : id == OPTION_LEVEL    ? levels
                               : id == OPTION_PROGRESS ? bar_modes
                               : id == OPTION_AEAD     ? aeads
                               : id == OPTION_PROFILE  ? profiles
                               : id == OPTION_REQUIRE  ? policies
                                                       : NULL;
    if (!choices && id != OPTION_DTYPE)
        return;
    mmh_json_out_array(out, "choices");
    for (; choices && *choices; choices++)
        mmh_json_out_text(out, NULL, *choices);
    for (int i = MMH_DTYPE_OPAQUE + 1; id == OPTION_DTYPE && i < MMH_DTYPE_COUNT; i++) {
        struct mmh_human name = dtype_word((mmh_dtype)i);
        mmh_json_out_text(out, NULL, name.text);
    }
    mmh_json_out_end(out);
}

void mmh_options_json(struct mmh_json_out *out, enum mmh_verb verb)
{
    mmh_json_out_array(out, "options");
    for (size_t i = 0; i < sizeof help_order / sizeof *help_order; i++) {
        const struct option *option = &table[help_order[i]];
        if (!(option->verbs & option->shown & 1 << verb))
            continue;
        mmh_json_out_object(out, NULL);
        mmh_json_out_text(out, "name", option->name);
        if (option->letter)
            mmh_json_out_text_bytes(out, "letter", &option->letter, 1);
        if (option->value)
            mmh_json_out_text(out, "value", option->value);
        if (option->optional)
            mmh_json_out_bool(out, "optional", true);
        choices_json(out, help_order[i]);
        mmh_json_out_text(out, "help", help_of(help_order[i], verb));
        mmh_json_out_end(out);
    }
    mmh_json_out_end(out);
}

/* ---- values ---- */

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

static int set_level(struct mmh_cli_options *options, const char *text)
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
        words[count] = dtype_word((mmh_dtype)i);
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
    for (size_t i = 0; bar_modes[i]; i++)
        if (strcmp(text, bar_modes[i]) == 0) {
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
        options->aead = choose(value, aeads, "AEAD",
                               "--aead=aes-256-gcm or --aead=chacha20-poly1305");
        return options->aead ? MMH_EXIT_OK : MMH_EXIT_USAGE;
    case OPTION_PROFILE:
        options->profile = choose(value, profiles, "profile",
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

/* Apply one option. value: NULL if it takes none. */
static int apply(struct mmh_cli_options *options, enum option_id id, const char *value)
{
    const char *end;
    uint64_t number;
    switch (id) {
    case OPTION_LEVEL:
        return set_level(options, value);
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
    case OPTION_SOURCE:
        options->repair_sources[options->repair_source_count++] = value;
        break;
    default:
        return apply_security(options, id, value);
    }
    return MMH_EXIT_OK;
}

/* ---- the command line ---- */

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
        const struct option *option = &table[i];
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
        return apply(parser->options, (enum option_id)i, value);
    }
    const char *names[OPTION_COUNT];
    for (size_t i = 0; i < OPTION_COUNT; i++)
        names[i] = table[i].name;
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
            int problem = set_level(parser->options, digits);
            free(digits);
            parser->seen[OPTION_LEVEL] = true;
            if (problem)
                return problem;
            at += length;
            continue;
        }
        size_t i = 0;
        while (i < OPTION_COUNT && (!table[i].letter || table[i].letter != *at))
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
        const struct option *option = &table[i];
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
        int problem = apply(parser->options, (enum option_id)i, value);
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

static int check_seen(const struct parser *parser)
{
    const struct mmh_cli_options *options = parser->options;
    const char *verb = mmh_verb_name(options->verb);
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (!parser->seen[i] || (table[i].verbs & 1 << options->verb))
            continue;
        if (i == OPTION_LEVEL)
            mmh_message_error("\"mmh %s\" takes no level", verb);
        else
            mmh_message_error("\"mmh %s\" takes no --%s", verb, table[i].name);
        mmh_message_hint("\"mmh help %s\" lists its options", verb);
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
    return MMH_EXIT_OK;
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
