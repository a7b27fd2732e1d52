/*
 * The table of options, and the help and JSON that are made from it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/options_private.h"

#include <ctype.h>
#include <string.h>

enum {
    PACK = 1 << MMH_VERB_PACK,
    UNPACK = 1 << MMH_VERB_UNPACK,
    VERIFY = 1 << MMH_VERB_VERIFY,
    REPAIR = 1 << MMH_VERB_REPAIR,
    INFO = 1 << MMH_VERB_INFO,
    LS = 1 << MMH_VERB_LS,
    CAT = 1 << MMH_VERB_CAT,
    DIFF = 1 << MMH_VERB_DIFF,
    REPORT = 1 << MMH_VERB_REPORT,
    ORIGINALS = LS | CAT | DIFF | REPORT, /* they take files that are no containers too */
    KEYGEN = 1 << MMH_VERB_KEYGEN,
    KEYS = 1 << MMH_VERB_KEYS,
    SIGN = 1 << MMH_VERB_SIGN,
    ENCRYPT = 1 << MMH_VERB_ENCRYPT,
    DECRYPT = 1 << MMH_VERB_DECRYPT,
    AUDIT = 1 << MMH_VERB_AUDIT,
    BENCH = 1 << MMH_VERB_BENCH,
    WORK = PACK | UNPACK | VERIFY | REPAIR | BENCH | CAT | DIFF | REPORT | SIGN | ENCRYPT | DECRYPT,
    READ = UNPACK | VERIFY | INFO | LS | CAT | DIFF | REPORT | BENCH |
           DECRYPT,                                       /* containers, from others */
    OPEN = READ | PACK | REPAIR | SIGN | ENCRYPT | AUDIT, /* they may need a private key */
    WRITE = PACK | ENCRYPT | BENCH,                       /* they encrypt */
    ALL = -1
};

const struct option mmh_option_table[OPTION_COUNT] = {
    [OPTION_LEVEL] = { 0, "level", "N", false, PACK | BENCH, ALL,
                       "-1 (fastest) to -9 (smallest); the default is -5" },
    [OPTION_OUTPUT] = { 'o', "output", "PATH", false,
                        PACK | UNPACK | CAT | REPORT | REPAIR | KEYGEN | KEYS | SIGN | ENCRYPT |
                            DECRYPT,
                        ALL, NULL },
    [OPTION_STDOUT] = { 'c', "stdout", NULL, false, PACK | UNPACK | CAT | REPORT, ALL,
                        "write to standard output" },
    [OPTION_FORCE] = { 'f', "force", NULL, false,
                       PACK | UNPACK | CAT | REPORT | REPAIR | KEYGEN | KEYS | SIGN | ENCRYPT |
                           DECRYPT | AUDIT,
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
    [OPTION_QUICK] = { 0, "quick", NULL, false, VERIFY | REPORT, ALL,
                       "hashes of the stored bytes only; decode nothing" },
    [OPTION_ALL] = { 0, "all", NULL, false, REPORT, ALL,
                     "count every value, however large the tensors" },
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
    [OPTION_SIGNER] = { 0, "signer", "KEY", false, READ | REPAIR | AUDIT, ALL,
                        "refuse what this public key has not signed" },
    [OPTION_TRUSTED] = { 0, "trusted", NULL, false, READ | REPAIR | AUDIT, ALL,
                         "signers are all keys of the trust store" },
    [OPTION_REQUIRE] = { 0, "require", "WHAT", false, READ | REPAIR, ALL,
                         "all, hybrid, pq, category=N, counter=N, newest" },
    [OPTION_SIGNATURE] = { 0, "signature", "FILE", false, READ | REPAIR | AUDIT, ALL,
                           "detached signatures" },
    [OPTION_AEAD] = { 0, "aead", "NAME", false, WRITE, ALL, "aes-256-gcm or chacha20-poly1305" },
    [OPTION_PROFILE] = { 0, "profile", "NAME", false, PACK | ENCRYPT | KEYGEN | AUDIT, ALL, NULL },
    [OPTION_PARITY] = { 0, "parity", "N%", false, PACK | BENCH | REPAIR | ENCRYPT | DECRYPT, ALL,
                        "so much more, to mend damage with: 5%" },
    [OPTION_FRAMEWORKS] = { 0, "frameworks", "NAMES", true, VERIFY, ALL,
                            "do frameworks load the same from it?" },
    [OPTION_RUN_CODE] = { 0, "run-code", NULL, false, VERIFY, ALL,
                          "with --frameworks: run what models bring of code" },
    [OPTION_SOURCE] = { 0, "source", "PATH", false, REPAIR | VERIFY, ALL,
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
    OPTION_QUICK,         OPTION_FRAMEWORKS,
    OPTION_RUN_CODE,      OPTION_ALL,
    OPTION_LONG,          OPTION_NPY,
    OPTION_TEXT,          OPTION_EXIT_CODE,
    OPTION_MAX_SIZE,      OPTION_ANY_NAMES,
    OPTION_SKIP_DAMAGED,  OPTION_THREADS,
    OPTION_JSON,          OPTION_PROGRESS,
    OPTION_QUIET,         OPTION_VERBOSE,
    OPTION_HELP,
};

const char *const mmh_option_bar_modes[] = { "bar", "json", "none", NULL };
static const char *const hashes[] = { "blake3", "sha256", "sha384", NULL };
static const char *const levels[] = { "1", "2", "3", "4", "5", "6", "7", "8", "9", NULL };
const char *const mmh_option_aeads[] = { "aes-256-gcm", "chacha20-poly1305", NULL };
const char *const mmh_option_profiles[] = { "default", "cnsa2", "bsi", "classical", NULL };
static const char *const policies[] = { "any",    "all",        "hybrid",    "pq",
                                        "newest", "category=5", "counter=1", NULL };

struct mmh_human mmh_option_dtype_word(mmh_dtype dtype)
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
                                      : mmh_option_table[id].help;
    case OPTION_OUTPUT:
        return verb == MMH_VERB_PACK   ? "one container for all; into PATH if that is a folder"
             : verb == MMH_VERB_CAT    ? "write to PATH"
             : verb == MMH_VERB_REPORT ? "write to PATH; the default is MODEL.report.html"
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
    case OPTION_SOURCE:
        return verb == MMH_VERB_VERIFY ? "with --frameworks: the original"
                                       : mmh_option_table[id].help;
    case OPTION_VERBOSE:
        return verb == MMH_VERB_VERIFY ? "tell more: each layer, all damage, times"
             : verb == MMH_VERB_LS     ? "tell more: what is odd in files"
             : verb == MMH_VERB_PACK   ? "tell more: times, what is odd in files"
                                       : "tell more: times";
    default:
        return mmh_option_table[id].help;
    }
}

void mmh_options_help(FILE *file, enum mmh_verb verb)
{
    for (size_t i = 0; i < sizeof help_order / sizeof *help_order; i++) {
        const struct option *option = &mmh_option_table[help_order[i]];
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
                               : id == OPTION_PROGRESS ? mmh_option_bar_modes
                               : id == OPTION_AEAD     ? mmh_option_aeads
                               : id == OPTION_PROFILE  ? mmh_option_profiles
                               : id == OPTION_REQUIRE  ? policies
                                                       : NULL;
    if (!choices && id != OPTION_DTYPE)
        return;
    mmh_json_out_array(out, "choices");
    for (; choices && *choices; choices++)
        mmh_json_out_text(out, NULL, *choices);
    for (int i = MMH_DTYPE_OPAQUE + 1; id == OPTION_DTYPE && i < MMH_DTYPE_COUNT; i++) {
        struct mmh_human name = mmh_option_dtype_word((mmh_dtype)i);
        mmh_json_out_text(out, NULL, name.text);
    }
    mmh_json_out_end(out);
}

void mmh_options_json(struct mmh_json_out *out, enum mmh_verb verb)
{
    mmh_json_out_array(out, "options");
    for (size_t i = 0; i < sizeof help_order / sizeof *help_order; i++) {
        const struct option *option = &mmh_option_table[help_order[i]];
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
