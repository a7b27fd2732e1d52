/*
 * What the verbs of the command share: exit codes, options, and how a failure is told.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_CLI_H
#define MMH_CLI_H

#include "mmh.h"
#include "mmh_trust.h"

#include "cli/human.h"
#include "cli/json_out.h"
#include "cli/message.h"
#include "cli/progress.h"

/* Scripts depend on these: docs/cli-json.md lists them. */
enum mmh_exit {
    MMH_EXIT_OK = 0,
    MMH_EXIT_IO = 1,
    MMH_EXIT_USAGE = 2,
    MMH_EXIT_DAMAGED = 3, /* damaged; unpack would restore it exactly */
    MMH_EXIT_MENDED = 4,  /* damaged, and restored exactly */
    MMH_EXIT_LOST = 5,    /* damaged beyond repair */
    MMH_EXIT_GUARD = 6,
    MMH_EXIT_UNTRUSTED = 7,
    MMH_EXIT_KEY = 8,
    MMH_EXIT_UNSUPPORTED = 9,
    MMH_EXIT_LIMIT = 10, /* a limit, or out of memory */
    MMH_EXIT_INTERRUPTED = 130
};

enum mmh_verb {
    MMH_VERB_NONE,
    MMH_VERB_PACK,
    MMH_VERB_UNPACK,
    MMH_VERB_VERIFY,
    MMH_VERB_REPAIR,
    MMH_VERB_INFO,
    MMH_VERB_LS,
    MMH_VERB_CAT,
    MMH_VERB_DIFF,
    MMH_VERB_REPORT,
    MMH_VERB_KEYGEN,
    MMH_VERB_KEYS,
    MMH_VERB_SIGN,
    MMH_VERB_ENCRYPT,
    MMH_VERB_DECRYPT,
    MMH_VERB_AUDIT,
    MMH_VERB_BENCH,
    MMH_VERB_HELP,
    MMH_VERB_COUNT
};

enum { MMH_CLI_DIMENSIONS_MAX = 64 };

struct mmh_keyring; /* cli/keyring.h */

/* What an option that may be given several times was given. */
struct mmh_cli_list {
    const char **items; /* [count] */
    size_t count;
};

/* The options of one call; all zero is the default. */
struct mmh_cli_options {
    enum mmh_verb verb;
    const char **inputs; /* [input_count] what is left: paths */
    size_t input_count;
    const char **input_storage; /* the parser's own */
    int level;                  /* the last -1 ... -9; 0: none was given */
    unsigned levels;            /* bit n: -n was given */
    unsigned threads;           /* 0: all processors */
    const char *output;         /* -o */
    bool to_stdout;             /* -c, -o - */
    bool force;
    bool remove; /* --rm, unless -k came later */
    bool quiet;
    unsigned verbose;
    bool json;
    bool alone;
    bool no_check;
    bool times;
    bool sha256;
    bool blake3; /* asked for by name */
    bool quick;
    bool frameworks;             /* verify: what frameworks load */
    const char *framework_names; /* some of them; NULL: all that are there */
    bool run_code;               /* that models bring, too */
    bool any_names;
    uint64_t max_bytes; /* --max-size; 0: no limit */
    bool long_list;
    bool npy;
    bool text;
    bool tell_difference; /* diff: exit with 1 if there is one */
    bool every_value;     /* report: no samples */
    bool help;
    bool version;
    const char *stdin_name; /* what "-" is called in the container; NULL: "stdin" */
    enum mmh_bar_mode bar;  /* --progress */
    mmh_dtype dtype;        /* raw input, unless MMH_DTYPE_OPAQUE */
    uint64_t shape[MMH_CLI_DIMENSIONS_MAX];
    size_t dimensions;
    const char *layout;   /* --layout; NULL: none */
    const char **plugins; /* [plugin_count] --format-plugin */
    size_t plugin_count;
    bool skip_damaged;
    unsigned parity;             /* hundredths of a percent; 0: none */
    const char **repair_sources; /* [repair_source_count] --source */
    size_t repair_source_count;
    const char **list_storage; /* the parser's own */

    /* Keys, as they were typed: paths, "age1...", names of the trust store. */
    struct mmh_cli_list recipients, added_recipients; /* -r, --add-recipient */
    struct mmh_cli_list keys;                         /* --key */
    struct mmh_cli_list sign_with;                    /* --sign-with */
    struct mmh_cli_list signers;                      /* --signer */
    const struct mmh_keyring *keyring;                /* the same, read; NULL: before that */

    bool passphrase; /* -p */
    const char *passphrase_file;
    bool has_passphrase_descriptor;
    int passphrase_descriptor;

    bool sha384;
    const char *aead;    /* NULL: the library's choice */
    const char *profile; /* NULL: none was named */
    uint64_t counter;    /* of signatures; 0: none */
    bool no_time;        /* signatures do not say when */
    bool rekey;
    bool detached;             /* sign: to a file beside the container, or ... */
    const char *detached_file; /* ... to this; NULL: beside it */
    bool unsign;               /* sign --remove */
    const char *bundle;        /* of Model Signing; NULL: none */

    /* What is required of signatures. */
    bool trusted;    /* by any key of the trust store */
    bool has_policy; /* --require was given */
    bool require_all, require_hybrid, require_post_quantum;
    unsigned require_category;
    uint64_t require_counter;
    bool require_newest;        /* no older than what the trust store has seen */
    const char *signature_file; /* detached ones */

    const char *algorithms; /* keygen */
    unsigned rsa_bits;      /* 0: the default */
    const char *expires;    /* keys add */
    const char *cbom;       /* audit */
};

/* A verb does its work and returns the exit code; it has told about failures. */
typedef int mmh_verb_run(const struct mmh_cli_options *options, mmh_context *context);

mmh_verb_run mmh_cmd_pack, mmh_cmd_unpack, mmh_cmd_verify, mmh_cmd_repair, mmh_cmd_info, mmh_cmd_ls,
    mmh_cmd_cat, mmh_cmd_diff, mmh_cmd_report, mmh_cmd_keygen, mmh_cmd_keys, mmh_cmd_sign,
    mmh_cmd_encrypt, mmh_cmd_decrypt, mmh_cmd_audit, mmh_cmd_bench;

/* mmh verify --frameworks: becomes another program, unless that fails. */
int mmh_cmd_frameworks(const struct mmh_cli_options *options);

/* The name of a verb ("pack"), and the verb of a name (MMH_VERB_NONE: there is none). */
const char *mmh_verb_name(enum mmh_verb verb);
enum mmh_verb mmh_verb_find(const char *name);

/* What is given to mmh_pack. It points into `options`. */
mmh_pack_options mmh_cli_pack_options(const struct mmh_cli_options *options);

/* What --profile names; without it all is NULL. */
mmh_profile_info mmh_cli_profile(const struct mmh_cli_options *options);

/* The AEAD that the options ask for; NULL: the library's choice. */
const char *mmh_cli_aead(const struct mmh_cli_options *options);

/* Load the format plug-ins for a verb that looks for tensors: those of --format-plugin (MMH_EXIT_OK, or
 * the exit code after telling why not), of $MMH_FORMAT_PLUGINS, and of the installation's folder. */
int mmh_cli_load_plugins(const struct mmh_cli_options *options, mmh_context *context);

/* ---- paths ---- */

bool mmh_cli_is_container_name(const char *path); /* ends in ".mmh", and is more than that */
char *mmh_cli_join(const char *folder, const char *name); /* "folder/name", to be freed */
const char *mmh_cli_base_name(const char *path);          /* what follows the last '/' */
char *mmh_cli_folder_of(const char *path); /* what is before it, or "."; to be freed */

/* An input as messages call it: "-" is "standard input". */
const char *mmh_cli_shown(const char *input);

/*
 * Where the bytes of an input are: itself, or for "-" a path to what standard input holds. That is
 * the file itself if it is one and `name` is NULL; else it is copied into a folder of its own in
 * $TMPDIR or /tmp, under `name` (NULL: "stdin"). NULL after telling why not (*exit_code).
 * Messages never show that path. mmh_cli_end_input removes the copy, if there is one.
 */
const char *mmh_cli_begin_input(const struct mmh_cli_options *options, const char *input,
                                const char *name, int *exit_code);
void mmh_cli_end_input(void);
const char *mmh_cli_path_of(const char *input); /* of one that was begun, again */
bool mmh_cli_is_input_copy(const char *path);   /* it is that copy */

/* ---- failures ---- */

int mmh_exit_of(mmh_status status);

/* Of two inputs' exit codes, the one to exit with: interrupted, lost, damaged, then other
 * failures in the order in which they came, mended, ok. */
int mmh_exit_worse(int first, int second);

/*
 * Tell about a failure on stderr, with a hint where one helps (hint NULL: a general one), and
 * with --json as a line on stdout: {"verb", "input", "status", "exit", "message"}. Returns
 * exit_code.
 */
int mmh_cli_fail(const struct mmh_cli_options *options, const char *input, const mmh_error *err,
                 int exit_code, const char *hint);

/* The same for what the command itself refuses as MMH_E_USAGE. hint may be NULL. */
int mmh_cli_refuse(const struct mmh_cli_options *options, const char *input, const char *hint,
                   const char *format, ...) MMH_CLI_PRINTF(4, 5);

/* The same after a failure to read a container, which may never have been one: then err and the
 * exit code become MMH_E_USAGE's. mmh_cli_tell_container leaves the JSON to the caller. */
int mmh_cli_fail_container(const struct mmh_cli_options *options, const char *container,
                           mmh_error *err, int exit_code);
int mmh_cli_tell_container(const struct mmh_cli_options *options, const char *container,
                           mmh_error *err, int exit_code);
/* The same of one that has been opened: what else it might be is no question. */
int mmh_cli_tell_opened(const struct mmh_cli_options *options, mmh_error *err, int exit_code);

/*
 * Open a container (or "-", between mmh_cli_begin_input and its end) to look inside; tells about failures, and warns if something was mended.
 * *exit_code: MMH_EXIT_OK or MMH_EXIT_MENDED, or the failure's; NULL is returned then.
 */
mmh_reader *mmh_cli_open(const struct mmh_cli_options *options, mmh_context *context,
                         const char *container, int *exit_code);

/* Whether an input is, or was once, a container: by its name, its first or its last bytes. */
bool mmh_cli_is_container(const char *input);

/* The same for containers and, if it is something else, for original files and folders
 * (mmh_open_original). */
mmh_reader *mmh_cli_open_model(const struct mmh_cli_options *options, mmh_context *context,
                               const char *path, int *exit_code);

/* The output goes to standard output, mostly to another program: no bar and no remarks then, as
 * zstd has it, unless they were asked for; and a warning that --rm is ignored. */
void mmh_cli_hush(const struct mmh_cli_options *options);

/* Standard output has no reader any more: clean up, and die as a program does that never asked. */
void mmh_cli_pipe_closed(void);

/* Warn if data had to be mended. Returns MMH_EXIT_OK or MMH_EXIT_MENDED. */
int mmh_cli_tell_mended(const char *container, unsigned mended);

/* Warn that a container is not encrypted, if a key or passphrase was given to open it with: a plain one
 * may have been put in the place of another. */
void mmh_cli_tell_plain(const struct mmh_cli_options *options, const char *container,
                        bool encrypted);

/* What was mended, for people: "header, index". */
struct mmh_human_list mmh_cli_mended_text(unsigned mended);

/* A tensor's shape for people: "[32, 64]". */
void mmh_cli_shape(char *out, size_t room, const mmh_tensor_info *tensor);

/* ---- JSON ---- */

/* Begin the line of an input: {"verb", "input", "status", "exit", ... left open. Whether stdout
 * could be written is looked at once, at the end of main. */
void mmh_cli_json_begin(struct mmh_json_out *out, const struct mmh_cli_options *options,
                        const char *input, mmh_status status, int exit_code);
void mmh_cli_json_mended(struct mmh_json_out *out, unsigned mended); /* "mended": [...] */

/* "by_dtype" or "by_codec": [count] usages. */
void mmh_cli_json_usage(struct mmh_json_out *out, const char *key, const mmh_usage *usage,
                        size_t count);

#endif
