/*
 * What the verbs share: paths, opening containers, and how failures are told.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/host.h"

mmh_pack_options mmh_cli_pack_options(const struct mmh_cli_options *options)
{
    return (mmh_pack_options){
        .struct_size = sizeof(mmh_pack_options),
        .level = options->level,
        .overwrite = options->force,
        .alone = options->alone,
        .skip_check = options->no_check,
        .keep_times = options->times,
        .sha256 = options->sha256,
        .raw_dtype = options->dtype,
        .raw_shape = options->dimensions ? options->shape : NULL,
        .raw_dimensions = options->dimensions,
    };
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

char *mmh_cli_spool(const struct mmh_cli_options *options, int *exit_code)
{
    const char *parent = getenv("TMPDIR");
    if (!parent || !*parent)
        parent = "/tmp";
    char *folder = mmh_host_make_temporary(parent);
    char *path = folder ? mmh_cli_join(folder, "stdin") : NULL;
    *exit_code = MMH_EXIT_OK;
    if (!path || !mmh_host_spool(path)) {
        mmh_error err = { .status = MMH_E_IO };
        if (mmh_host_interrupted())
            err.status = MMH_E_CANCELLED;
        snprintf(err.message, sizeof err.message, "cannot copy standard input to %.300s: %s",
                 parent, strerror(errno));
        *exit_code = mmh_cli_fail(options, "-", &err, mmh_exit_of(err.status),
                                  "TMPDIR names the folder for temporary files");
        if (folder)
            mmh_host_remove_tree(folder);
        free(path);
        path = NULL;
    }
    free(folder);
    return path;
}

void mmh_cli_spool_remove(char *path)
{
    if (!path)
        return;
    char *folder = mmh_cli_folder_of(path);
    mmh_host_remove_tree(folder);
    free(folder);
    free(path);
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

static const char *general_hint(const struct mmh_cli_options *options, const mmh_error *err)
{
    switch (err->status) {
    case MMH_E_USAGE:
        return !options->force && strstr(err->message, "exists") &&
                       !strstr(err->message, "no folder")
                 ? "-f replaces what exists"
                 : NULL;
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

static void tell(const struct mmh_cli_options *options, const mmh_error *err, const char *hint)
{
    mmh_message_error("%s", message_of(err));
    if (!hint)
        hint = general_hint(options, err);
    if (hint)
        mmh_message_hint("%s", hint);
}

static void write_json(const struct mmh_cli_options *options, const char *input,
                       const mmh_error *err, int exit_code)
{
    struct mmh_json_out out;
    if (!options->json)
        return;
    mmh_cli_json_begin(&out, options, input, err->status, exit_code);
    mmh_json_out_text(&out, "message", message_of(err));
    mmh_json_out_end(&out);
    (void)mmh_json_out_finish(&out);
}

int mmh_cli_fail(const struct mmh_cli_options *options, const char *input, const mmh_error *err,
                 int exit_code, const char *hint)
{
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

/* Whether this is some other file: not called a container, and it does not begin as one. */
static bool is_foreign(const char *path)
{
    static const unsigned char magic[4] = { 0x89, 'M', 'M', 'H' };
    unsigned char begin[sizeof magic];
    return mmh_host_kind(path) == MMH_HOST_FILE && !mmh_cli_is_container_name(path) &&
           (mmh_host_peek(path, begin, sizeof begin) < sizeof begin ||
            memcmp(begin, magic, sizeof magic) != 0);
}

int mmh_cli_tell_container(const struct mmh_cli_options *options, const char *container,
                           mmh_error *err, int exit_code)
{
    if (err->status == MMH_E_CORRUPT && is_foreign(container)) {
        err->status = MMH_E_USAGE;
        snprintf(err->message, sizeof err->message, "\"%.400s\" is no mmh container", container);
        char *hint = mmh_cli_format("\"mmh pack %s\" makes one of it", container);
        tell(options, err, hint);
        free(hint);
        return MMH_EXIT_USAGE;
    }
    const char *hint = NULL;
    if (exit_code == MMH_EXIT_DAMAGED)
        hint = "\"mmh unpack\" restores every byte; pack it anew from that";
    else if (exit_code == MMH_EXIT_LOST)
        hint = "fetch or copy it again: the rest cannot restore what is damaged";
    else if (exit_code == MMH_EXIT_UNSUPPORTED)
        hint = "a newer mmh may read it; this is " MMH_VERSION_STRING;
    tell(options, err, hint);
    return exit_code;
}

int mmh_cli_fail_container(const struct mmh_cli_options *options, const char *container,
                           mmh_error *err, int exit_code)
{
    exit_code = mmh_cli_tell_container(options, container, err, exit_code);
    write_json(options, container, err, exit_code);
    return exit_code;
}

struct mmh_human mmh_cli_mended_text(unsigned mended)
{
    static const char *const names[] = { "header", "index",      "footer",
                                         "chunks", "spare copy", "padding" };
    struct mmh_human human = { "" };
    size_t used = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names && used < sizeof human.text; i++)
        if (mended >> i & 1)
            used += (size_t)snprintf(human.text + used, sizeof human.text - used, "%s%s",
                                     used ? ", " : "", names[i]);
    return human;
}

int mmh_cli_tell_mended(const char *container, unsigned mended)
{
    mended &= ~(unsigned)(MMH_SPARE_DAMAGED | MMH_PADDING_DAMAGED);
    if (!mended) /* nothing was read from what is damaged */
        return MMH_EXIT_OK;
    mmh_message_warning("%s is damaged (%s); everything was restored exactly", container,
                        mmh_cli_mended_text(mended).text);
    return MMH_EXIT_MENDED;
}

mmh_reader *mmh_cli_open(const struct mmh_cli_options *options, mmh_context *context,
                         const char *container, int *exit_code)
{
    mmh_error err = { 0 };
    mmh_reader *reader = NULL;
    mmh_container_info info = { .struct_size = sizeof info };
    mmh_status status = mmh_open(context, container, &reader, &err);
    if (status == MMH_OK)
        status = mmh_container(reader, &info, &err);
    if (status != MMH_OK) {
        mmh_close(reader);
        *exit_code = mmh_cli_fail_container(options, container, &err, mmh_exit_of(status));
        return NULL;
    }
    *exit_code = mmh_cli_tell_mended(container, info.mended);
    return reader;
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
    static const char *const names[] = { "header", "index", "footer", "chunks", "spare" };
    mmh_json_out_array(out, "mended");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (mended >> i & 1)
            mmh_json_out_text(out, NULL, names[i]);
    mmh_json_out_end(out);
}
