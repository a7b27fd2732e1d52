/*
 * What the verbs share: paths, opening containers, and how failures are told.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/host.h"
#include "cli/keyring.h"
#include "cli/progress.h"

mmh_pack_options mmh_cli_pack_options(const struct mmh_cli_options *options)
{
    mmh_pack_options pack = {
        .struct_size = sizeof pack,
        .level = options->level,
        .overwrite = options->force,
        .alone = options->alone,
        .skip_check = options->no_check,
        .keep_times = options->times,
        .sha256 = options->sha256,
        .sha384 = options->sha384,
        .blake3 = options->blake3,
        .raw_dtype = options->dtype,
        .raw_shape = options->dimensions ? options->shape : NULL,
        .raw_dimensions = options->dimensions,
        .layout = options->layout,
        .aead = mmh_cli_aead(options),
        .counter = options->counter,
        .parity = options->parity,
    };
    mmh_profile_info profile = mmh_cli_profile(options);
    if (!pack.sha256 && !pack.blake3 && !pack.sha384 && profile.hash_suite) {
        pack.sha256 = strcmp(profile.hash_suite, "sha256") == 0;
        pack.sha384 = strcmp(profile.hash_suite, "sha384") == 0;
    }
    const struct mmh_keyring *keyring = options->keyring;
    if (keyring) {
        pack.recipients = keyring->recipients.keys;
        pack.recipient_count = keyring->recipients.count;
        pack.passphrase = keyring->passphrase;
        pack.passphrase_bytes = keyring->passphrase_bytes;
        pack.signers = keyring->signers.keys;
        pack.signer_count = keyring->signers.count;
        pack.time_seconds = keyring->signers.count ? mmh_keyring_time(options) : 0;
    }
    return pack;
}

mmh_profile_info mmh_cli_profile(const struct mmh_cli_options *options)
{
    mmh_profile_info info = { .struct_size = sizeof info };
    for (size_t i = 0; options->profile && mmh_profile(i, &info, NULL) == MMH_OK; i++)
        if (strcmp(info.name, options->profile) == 0)
            return info;
    return (mmh_profile_info){ 0 };
}

const char *mmh_cli_aead(const struct mmh_cli_options *options)
{
    return options->aead ? options->aead : mmh_cli_profile(options).aead;
}

/* ---- paths ---- */

bool mmh_cli_is_container_name(const char *path)
{
    const char *name = mmh_cli_base_name(path);
    size_t length = strlen(name);
    return length > 4 && strcmp(name + length - 4, ".mmh") == 0;
}

char *mmh_cli_join(const char *folder, const char *name)
{
    size_t length = strlen(folder);
    return mmh_cli_format("%s%s%s", folder, length && folder[length - 1] == '/' ? "" : "/", name);
}

const char *mmh_cli_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *mmh_cli_folder_of(const char *path)
{
    size_t length = (size_t)(mmh_cli_base_name(path) - path);
    if (!length)
        return mmh_cli_format(".");
    return mmh_cli_format("%.*s", (int)(length > 1 ? length - 1 : 1), path);
}

/* ---- standard input ---- */

/* There is one, so there is one of these. */
static struct {
    char *folder;     /* ours, to be removed; NULL: there is no copy */
    char *copy;       /* the copy's path in it */
    const char *path; /* where standard input is read from; NULL: it is not */
    const char *pipe; /* the named pipe that was copied in its place; NULL: none */
    bool used;
} input_state;

const char *mmh_cli_shown(const char *input)
{
    return strcmp(input, "-") == 0 ? "standard input" : input;
}

const char *mmh_cli_path_of(const char *input)
{
    const char *copied = input_state.pipe ? input_state.pipe : "-";
    return input_state.path && strcmp(input, copied) == 0 ? input_state.path : input;
}

static int refuse_input(const struct mmh_cli_options *options, const char *hint,
                        const char *message)
{
    return mmh_cli_refuse(options, "-", hint, "%s", message);
}

/* Copy what comes through a descriptor; NULL after telling why not. */
static const char *copy_input(const struct mmh_cli_options *options, const char *input, int from,
                              const char *name, int *exit_code)
{
    uint64_t limit = options->verb == MMH_VERB_PACK ? options->max_bytes : 0;
    const char *parent = getenv("TMPDIR"), *shown = mmh_cli_shown(input);
    if (!parent || !*parent)
        parent = "/tmp";
    input_state.folder = mmh_host_make_temporary(parent);
    if (input_state.folder)
        input_state.copy = mmh_cli_join(input_state.folder, name ? name : "stdin");
    if (!input_state.folder || !mmh_host_spool(input_state.copy, from, limit, mmh_bar_reading)) {
        mmh_error err = { .status = mmh_host_interrupted() ? MMH_E_CANCELLED : MMH_E_IO };
        bool over = limit && errno == EOVERFLOW;
        if (over) {
            err.status = MMH_E_LIMIT;
            snprintf(err.message, sizeof err.message,
                     "%.200s holds more than the limit of %llu bytes", shown,
                     (unsigned long long)limit);
        } else {
            snprintf(err.message, sizeof err.message, "cannot copy %.200s to %.200s: %s", shown,
                     parent, strerror(errno));
        }
        mmh_bar_end();
        *exit_code = mmh_cli_fail(
            options, input, &err, mmh_exit_of(err.status),
            err.status == MMH_E_IO ? "TMPDIR names the folder for temporary files" : NULL);
        mmh_cli_end_input();
        return NULL;
    }
    return input_state.path = input_state.copy;
}

/* A pipe with a name is read as standard input is: it takes a copy, and an interrupt ends it. */
static const char *begin_pipe(const struct mmh_cli_options *options, const char *input,
                              int *exit_code)
{
    int from = mmh_host_open_pipe(input);
    if (from < 0) {
        mmh_error err = { .status = mmh_host_interrupted() ? MMH_E_CANCELLED
                                  : errno == ENXIO         ? MMH_E_USAGE
                                                           : MMH_E_IO };
        snprintf(err.message, sizeof err.message,
                 errno == ENXIO ? "\"%.400s\" is neither a file nor a folder"
                                : "cannot open \"%.400s\": %s",
                 input, strerror(errno));
        mmh_bar_end();
        *exit_code = mmh_cli_fail(options, input, &err, mmh_exit_of(err.status), NULL);
        return NULL;
    }
    const char *path = copy_input(options, input, from, NULL, exit_code);
    mmh_host_close(from);
    input_state.pipe = path ? input : NULL;
    return path;
}

const char *mmh_cli_begin_input(const struct mmh_cli_options *options, const char *input,
                                const char *name, int *exit_code)
{
    *exit_code = MMH_EXIT_OK;
    if (strcmp(input, "-") != 0)
        return options->verb != MMH_VERB_PACK && mmh_host_kind(input) == MMH_HOST_OTHER
                 ? begin_pipe(options, input, exit_code)
                 : input;
    if (input_state.used) {
        *exit_code = refuse_input(options, NULL, "standard input can be read only once");
        return NULL;
    }
    if (mmh_host_is_terminal(stdin) && !options->force) {
        *exit_code = refuse_input(options, "name a file, or send one: ... < FILE",
                                  "standard input is a terminal");
        return NULL;
    }
    input_state.used = true;
    bool limited = options->verb == MMH_VERB_PACK && options->max_bytes;
    if (!name && !limited && (input_state.path = mmh_host_input_path()))
        return input_state.path;
    return copy_input(options, input, 0, name, exit_code);
}

void mmh_cli_end_input(void)
{
    if (input_state.folder)
        mmh_host_remove_tree(input_state.folder);
    free(input_state.folder);
    free(input_state.copy);
    input_state.folder = input_state.copy = NULL;
    input_state.path = input_state.pipe = NULL;
}

bool mmh_cli_is_input_copy(const char *path)
{
    return input_state.copy && strcmp(path, input_state.copy) == 0;
}

/* A message of the library's, with its path for standard input replaced. */
static void hide_input_path(mmh_error *err)
{
    char *at;
    if (!input_state.path)
        return;
    char *quoted = mmh_cli_format("\"%s\"", input_state.path);
    const char *const wanted[] = { quoted, input_state.path };
    for (size_t i = 0; i < 2; i++)
        while ((at = strstr(err->message, wanted[i]))) {
            char *rest = mmh_cli_format("%s%s",
                                        input_state.pipe ? input_state.pipe : "standard input",
                                        at + strlen(wanted[i]));
            snprintf(at, sizeof err->message - (size_t)(at - err->message), "%s", rest);
            free(rest);
        }
    free(quoted);
}

/* ---- failures ---- */

int mmh_exit_of(mmh_status status)
{
    switch (status) {
    case MMH_OK:
        return MMH_EXIT_OK;
    case MMH_E_USAGE:
        return MMH_EXIT_USAGE;
    case MMH_E_IO:
        return MMH_EXIT_IO;
    case MMH_E_CORRUPT:
        return MMH_EXIT_LOST;
    case MMH_E_UNTRUSTED:
        return MMH_EXIT_UNTRUSTED;
    case MMH_E_KEY:
        return MMH_EXIT_KEY;
    case MMH_E_UNSUPPORTED:
    case MMH_E_DEVICE:
        return MMH_EXIT_UNSUPPORTED;
    case MMH_E_MEMORY:
    case MMH_E_LIMIT:
        return MMH_EXIT_LIMIT;
    case MMH_E_CANCELLED:
        return MMH_EXIT_INTERRUPTED;
    }
    return MMH_EXIT_IO;
}

static int rank(int code)
{
    switch (code) {
    case MMH_EXIT_OK:
        return 0;
    case MMH_EXIT_MENDED:
        return 1;
    case MMH_EXIT_DAMAGED:
        return 3;
    case MMH_EXIT_LOST:
        return 4;
    case MMH_EXIT_INTERRUPTED:
        return 5;
    default:
        return 2;
    }
}

int mmh_exit_worse(int first, int second)
{
    return rank(second) > rank(first) ? second : first;
}

static const char build_hint[] =
    "this mmh was built without it: \"make deps\" gets what is missing";

static const char *general_hint(const struct mmh_cli_options *options, const mmh_error *err)
{
    switch (err->status) {
    case MMH_E_USAGE:
        if (strstr(err->message, "some systems"))
            return "--any-names unpacks it all the same";
        return !options->force && strstr(err->message, "exists") &&
                       !strstr(err->message, "no folder")
                 ? "-f replaces what exists"
                 : NULL;
    case MMH_E_KEY:
        return strstr(err->message, "no terminal")
                 ? "--passphrase-file=FILE, or $MMH_PASSPHRASE_FILE, has it for scripts"
             : options->verb == MMH_VERB_KEYGEN || options->verb == MMH_VERB_KEYS ||
                       options->keys.count
                 ? NULL
             : options->passphrase || options->passphrase_file || options->has_passphrase_descriptor
                 ? "the passphrase is not one of its, or it takes none"
             : options->keyring
                 ? "give a private key with --key or in $MMH_KEY, or a passphrase with -p"
                 : NULL;
    case MMH_E_UNTRUSTED:
        return "\"mmh info\" lists its signatures; --signer says whose are believed";
    case MMH_E_LIMIT:
        return options->max_bytes ? "that is what --max-size says" : NULL;
    case MMH_E_UNSUPPORTED:
        return strstr(err->message, "not in this build") ? build_hint : NULL;
    case MMH_E_MEMORY:
        return options->threads == 1 ? NULL : "fewer threads need less memory: -T1";
    default:
        return NULL;
    }
}

static const char *message_of(const mmh_error *err)
{
    return err->status == MMH_E_CANCELLED ? "interrupted"
         : err->message[0]                ? err->message
                                          : mmh_status_name(err->status);
}

static void tell(const struct mmh_cli_options *options, const mmh_error *given, const char *hint)
{
    mmh_error copy = *given, *err = &copy;
    hide_input_path(err);
    mmh_message_error("%s", message_of(err));
    if (!hint)
        hint = general_hint(options, err);
    if (hint)
        mmh_message_hint("%s", hint);
}

static void write_json(const struct mmh_cli_options *options, const char *input,
                       const mmh_error *given, int exit_code)
{
    struct mmh_json_out out;
    mmh_error copy = *given, *err = &copy;
    if (!options->json)
        return;
    hide_input_path(err);
    mmh_cli_json_begin(&out, options, input, err->status, exit_code);
    mmh_json_out_text(&out, "message", message_of(err));
    mmh_json_out_end(&out);
    (void)mmh_json_out_finish(&out);
}

/* With diff --exit-code 1 is a difference; trouble is 2 then, as diff(1) has it. */
static int exit_of_trouble(const struct mmh_cli_options *options, int exit_code)
{
    return options->tell_difference && exit_code == MMH_EXIT_IO ? MMH_EXIT_USAGE : exit_code;
}

int mmh_cli_fail(const struct mmh_cli_options *options, const char *input, const mmh_error *err,
                 int exit_code, const char *hint)
{
    exit_code = exit_of_trouble(options, exit_code);
    tell(options, err, hint);
    write_json(options, input, err, exit_code);
    return exit_code;
}

int mmh_cli_refuse(const struct mmh_cli_options *options, const char *input, const char *hint,
                   const char *format, ...)
{
    mmh_error err = { .status = MMH_E_USAGE };
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(err.message, sizeof err.message, format, arguments);
    va_end(arguments);
    return mmh_cli_fail(options, input, &err, MMH_EXIT_USAGE, hint);
}

/* The first bytes of an input that could not be read as a container. */
struct beginning {
    char bytes[16];
    size_t count;
};

static bool begins(const struct beginning *beginning, const char *magic)
{
    size_t length = strlen(magic);
    return beginning->count >= length && memcmp(beginning->bytes, magic, length) == 0;
}

/*
 * What MMH-RS wrote, the Rust program before this one (github.com/Bigrob7605/MMH-RS, src/cli.rs and
 * src/core/mod.rs). "MMH-RS V1.2.0" and two more lines of text are before a zstd stream; "MMH-RS
 * V1.0" is a packed folder; earlier versions wrote the zstd stream alone; "MMH" is the envelope of
 * V2. Returns what it is, and how to unpack it without that program if that can be done; or NULL.
 */
static const char *name_older(const struct beginning *beginning, const char *path,
                              const char **recipe)
{
    *recipe = NULL;
    if (begins(beginning, "MMH-RS V1.2")) {
        *recipe = "tail -n +4 '%s' | zstd -d > FILE";
        return "MMH-RS V1.2";
    }
    if (begins(beginning, "MMH-RS V1"))
        return "MMH-RS V1";
    if (begins(beginning, "MMH"))
        return "MMH-RS V1 or V2";
    if (begins(beginning, "\x28\xb5\x2f\xfd") && mmh_cli_is_container_name(path)) {
        *recipe = "zstd -d < '%s' > FILE";
        return "MMH-RS V1 (a bare zstd stream)";
    }
    return NULL;
}

/* Say so if this is a container of MMH-RS. */
static bool tell_older(const struct mmh_cli_options *options, const char *container,
                       const struct beginning *beginning, mmh_error *err)
{
    const char *recipe, *name = name_older(beginning, container, &recipe);
    if (!name)
        return false;
    err->status = MMH_E_UNSUPPORTED;
    bool is_input = strcmp(container, "-") == 0;
    snprintf(err->message, sizeof err->message,
             is_input ? "%.380s is a container of %s, which this mmh does not read"
                      : "\"%.380s\" is a container of %s, which this mmh does not read",
             mmh_cli_shown(container), name);
    /* zstd alone can restore some of them; a name with a quote in it needs more care than a hint. */
    char *hint = recipe && !strchr(container, '\'') && !is_input
                   ? mmh_cli_format("unpack it with that program, or: %.*s%s%s",
                                    (int)strcspn(recipe, "%"), recipe, container,
                                    strchr(recipe, '%') + 2)
                   : mmh_cli_format("unpack it with that program, and pack the result anew");
    tell(options, err, hint);
    free(hint);
    return true;
}

int mmh_cli_tell_container(const struct mmh_cli_options *options, const char *container,
                           mmh_error *err, int exit_code)
{
    bool is_input = strcmp(container, "-") == 0;
    const char *path = mmh_cli_path_of(container);
    hide_input_path(err);
    if ((err->status == MMH_E_CORRUPT || err->status == MMH_E_UNSUPPORTED) &&
        mmh_host_kind(path) == MMH_HOST_FILE) {
        struct beginning beginning = { 0 };
        beginning.count = mmh_host_peek(path, beginning.bytes, sizeof beginning.bytes);
        if (tell_older(options, container, &beginning, err))
            return MMH_EXIT_UNSUPPORTED;
        /* Another file: it does not begin as a container, and is not called one. */
        if (err->status == MMH_E_CORRUPT && !mmh_cli_is_container_name(container) &&
            !begins(&beginning, "\x89MMH")) {
            err->status = MMH_E_USAGE;
            snprintf(err->message, sizeof err->message,
                     is_input ? "%.400s is no mmh container" : "\"%.400s\" is no mmh container",
                     mmh_cli_shown(container));
            char *hint = is_input ? NULL
                                  : mmh_cli_format("\"mmh pack %s\" makes one of it", container);
            tell(options, err, hint);
            free(hint);
            return MMH_EXIT_USAGE;
        }
    }
    return mmh_cli_tell_opened(options, err, exit_code);
}

int mmh_cli_tell_opened(const struct mmh_cli_options *options, mmh_error *err, int exit_code)
{
    hide_input_path(err);
    const char *hint = NULL;
    if (exit_code == MMH_EXIT_DAMAGED)
        hint = "\"mmh repair\" restores it; \"mmh unpack\" gives back every byte as well";
    else if (exit_code == MMH_EXIT_LOST)
        hint = options->verb == MMH_VERB_REPAIR
                 ? "--source=PATH: another copy of it, damaged too, or what was packed"
                 : "fetch or copy it again, or \"mmh repair --source=PATH\": PATH is another copy "
                   "of it, which may be damaged too, or what was packed";
    else if (exit_code == MMH_EXIT_UNSUPPORTED)
        hint = strstr(err->message, "draft") && !strstr(err->message, "element")
                 ? "the mmh that wrote it unpacks it; drafts of the format are not kept readable"
             : strstr(err->message, "not in this build")
                 ? build_hint
                 : "a newer mmh may read it; this is " MMH_VERSION_STRING;
    tell(options, err, hint);
    return exit_code;
}

int mmh_cli_fail_container(const struct mmh_cli_options *options, const char *container,
                           mmh_error *err, int exit_code)
{
    exit_code = exit_of_trouble(options, exit_code);
    exit_code = mmh_cli_tell_container(options, container, err, exit_code);
    write_json(options, container, err, exit_code);
    return exit_code;
}

void mmh_cli_hush(const struct mmh_cli_options *options)
{
    if (options->remove)
        mmh_message_warning("--rm is ignored: what goes to standard output cannot be read back");
    if (options->verbose)
        return;
    mmh_message_quiet(true);
    mmh_bar_hush();
}

void mmh_cli_pipe_closed(void)
{
    mmh_cli_end_input();
    mmh_host_die_of_pipe();
}

struct mmh_human_list mmh_cli_mended_text(unsigned mended)
{
    static const char *const names[] = { "header",     "index",   "footer", "chunks",
                                         "spare copy", "padding", "trailer" };
    struct mmh_human_list human = { "" };
    size_t used = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names && used < sizeof human.text; i++)
        if (mended >> i & 1)
            used += (size_t)snprintf(human.text + used, sizeof human.text - used, "%s%s",
                                     used ? ", " : "", names[i]);
    return human;
}

void mmh_cli_tell_plain(const struct mmh_cli_options *options, const char *container,
                        bool encrypted)
{
    if (encrypted || (!options->keys.count && !options->passphrase && !options->passphrase_file &&
                      !options->has_passphrase_descriptor))
        return;
    mmh_message_warning("%s is not encrypted: no key was needed, anybody can have written it",
                        mmh_cli_shown(container));
    if (!options->signers.count && !options->trusted)
        mmh_message_hint("--signer says whose signature it must have");
}

int mmh_cli_tell_mended(const char *container, unsigned mended)
{
    mended &= ~(unsigned)(MMH_SPARE_DAMAGED | MMH_PADDING_DAMAGED);
    if (!mended) /* nothing was read from what is damaged */
        return MMH_EXIT_OK;
    mmh_message_warning("%s is damaged (%s); everything was restored exactly",
                        mmh_cli_shown(container), mmh_cli_mended_text(mended).text);
    return MMH_EXIT_MENDED;
}

mmh_reader *mmh_cli_open(const struct mmh_cli_options *options, mmh_context *context,
                         const char *container, int *exit_code)
{
    mmh_error err = { 0 };
    mmh_reader *reader = NULL;
    mmh_container_info info = { .struct_size = sizeof info };
    *exit_code = mmh_keyring_check_newest(options, context, mmh_cli_path_of(container), container);
    if (*exit_code != MMH_EXIT_OK)
        return NULL;
    mmh_status status = mmh_open(context, mmh_cli_path_of(container), &reader, &err);
    if (status == MMH_OK)
        status = mmh_container(reader, &info, &err);
    if (status != MMH_OK) {
        mmh_close(reader);
        *exit_code = mmh_cli_fail_container(options, container, &err, mmh_exit_of(status));
        return NULL;
    }
    mmh_cli_tell_plain(options, container, info.encrypted);
    *exit_code = mmh_cli_tell_mended(container, info.mended);
    return reader;
}

bool mmh_cli_is_container(const char *input)
{
    const char *where = mmh_cli_path_of(input), *recipe;
    struct beginning beginning = { 0 }, end = { 0 };
    if (mmh_host_kind(where) == MMH_HOST_FILE) {
        beginning.count = mmh_host_peek(where, beginning.bytes, sizeof beginning.bytes);
        end.count = mmh_host_peek_footer(where, end.bytes, sizeof end.bytes);
    }
    return mmh_cli_is_container_name(input) || begins(&beginning, "\x89MMH") ||
           begins(&end, "MMHFOOT\n") || name_older(&beginning, input, &recipe);
}

mmh_reader *mmh_cli_open_model(const struct mmh_cli_options *options, mmh_context *context,
                               const char *path, int *exit_code)
{
    const char *where = mmh_cli_path_of(path);
    if (mmh_cli_is_container(path))
        return mmh_cli_open(options, context, path, exit_code);
    mmh_error err = { 0 };
    mmh_reader *reader = NULL;
    mmh_pack_options pack = mmh_cli_pack_options(options);
    mmh_status status = mmh_open_original(context, where, &pack, &reader, &err);
    hide_input_path(&err);
    *exit_code = status == MMH_OK ? MMH_EXIT_OK
                                  : mmh_cli_fail(options, path, &err, mmh_exit_of(status), NULL);
    return reader;
}

void mmh_cli_shape(char *out, size_t room, const mmh_tensor_info *tensor)
{
    size_t used = (size_t)snprintf(out, room, "[");
    for (uint32_t d = 0; d < tensor->dimensions && used + 24 < room; d++)
        used += (size_t)snprintf(out + used, room - used, "%s%" PRIu64, d ? ", " : "",
                                 tensor->shape[d]);
    snprintf(out + used, room - used, "]");
}

/* ---- JSON ---- */

void mmh_cli_json_begin(struct mmh_json_out *out, const struct mmh_cli_options *options,
                        const char *input, mmh_status status, int exit_code)
{
    mmh_json_out_begin(out, stdout);
    out->compact = true;
    mmh_json_out_object(out, NULL);
    mmh_json_out_text(out, "verb", mmh_verb_name(options->verb));
    mmh_json_out_text(out, "input", input);
    mmh_json_out_text(out, "status", mmh_status_name(status));
    mmh_json_out_u64(out, "exit", (uint64_t)exit_code);
}

void mmh_cli_json_mended(struct mmh_json_out *out, unsigned mended)
{
    static const char *const names[] = { "header", "index",   "footer", "chunks",
                                         "spare",  "padding", "trailer" };
    mmh_json_out_array(out, "mended");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (mended >> i & 1)
            mmh_json_out_text(out, NULL, names[i]);
    mmh_json_out_end(out);
}
