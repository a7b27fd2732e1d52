/*
 * Where passphrases come from: a file, a descriptor, or the terminal.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/passphrase.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/host.h"

/* A passphrase that was had, and what for. */
struct known {
    struct known *next;
    char *why; /* NULL: it is the new one */
    size_t bytes;
    char *text; /* [MMH_PASSPHRASE_BYTES_MAX] */
};

static struct known *known_list;

static struct known *find(const char *why)
{
    struct known *known = known_list;
    while (known && (why ? !known->why || strcmp(known->why, why) != 0 : known->why != NULL))
        known = known->next;
    return known;
}

static struct known *add(const char *why)
{
    mmh_host_no_core();
    struct known *known = mmh_cli_alloc(sizeof *known);
    *known = (struct known){ .next = known_list,
                             .why = why ? mmh_cli_format("%s", why) : NULL,
                             .text = mmh_host_secret_alloc(MMH_PASSPHRASE_BYTES_MAX) };
    return known_list = known;
}

void mmh_passphrase_forget(void)
{
    for (struct known *next; known_list; known_list = next) {
        next = known_list->next;
        mmh_host_secret_free(known_list->text, MMH_PASSPHRASE_BYTES_MAX);
        free(known_list->why);
        free(known_list);
    }
}

static mmh_status fail(mmh_error *err, mmh_status status, const char *format, ...)
    MMH_CLI_PRINTF(3, 4);
static mmh_status fail(mmh_error *err, mmh_status status, const char *format, ...)
{
    va_list arguments;
    if (!err)
        return status;
    va_start(arguments, format);
    err->status = status;
    vsnprintf(err->message, sizeof err->message, format, arguments);
    va_end(arguments);
    return status;
}

/* What a read of a passphrase gave. `what`: "passphrase of alice.key". */
static mmh_status judge(ssize_t bytes, size_t *out, const char *what, const char *from,
                        mmh_error *err)
{
    if (bytes > 0) {
        *out = (size_t)bytes;
        return MMH_OK;
    }
    if (bytes == 0 || errno == ENODATA)
        return fail(err, MMH_E_KEY, "no %.300s was given: %.150s is empty", what, from);
    if (errno == EINTR)
        return fail(err, MMH_E_CANCELLED, "interrupted");
    if (errno == E2BIG)
        return fail(err, MMH_E_KEY, "the %.300s is longer than %d bytes", what,
                    MMH_PASSPHRASE_BYTES_MAX);
    return fail(err, MMH_E_IO, "cannot read the %.200s from %.150s: %s", what, from,
                strerror(errno));
}

static mmh_status ask(const char *what, const char *again, char *text, size_t *bytes,
                      mmh_error *err)
{
    char *clean = mmh_cli_clean(what), *prompt = mmh_cli_format("%s%s: ", clean, again);
    mmh_bar_clear();
    fflush(stdout);
    ssize_t count = mmh_host_ask_secret(prompt, text, MMH_PASSPHRASE_BYTES_MAX);
    free(prompt);
    free(clean);
    if (count < 0 && errno != EINTR && errno != E2BIG && errno != ENODATA)
        return fail(err, MMH_E_KEY, "there is no terminal to ask for the %.400s", what);
    return judge(count, bytes, what, "the answer", err);
}

static mmh_status read_from(const char *path, int descriptor, const char *what, char *text,
                            size_t *bytes, mmh_error *err)
{
    char *from = path ? mmh_cli_format("\"%s\"", path)
                      : mmh_cli_format("descriptor %d", descriptor);
    ssize_t count = mmh_host_read_secret(path, descriptor, text, MMH_PASSPHRASE_BYTES_MAX);
    mmh_status status = judge(count, bytes, what, from, err);
    free(from);
    return status;
}

static bool has_source(const struct mmh_cli_options *options)
{
    return options->passphrase_file || options->has_passphrase_descriptor;
}

/* From --passphrase-file or --passphrase-fd. A descriptor can be read once: it is remembered. */
static mmh_status read_option(const struct mmh_cli_options *options, const char *what, char *text,
                              size_t *bytes, mmh_error *err)
{
    static const char once[] = "\n"; /* nothing that is asked is called that */
    if (options->passphrase_file)
        return read_from(options->passphrase_file, -1, what, text, bytes, err);
    struct known *known = find(once);
    if (!known) {
        known = add(once);
        mmh_status status = read_from(NULL, options->passphrase_descriptor, what, known->text,
                                      &known->bytes, err);
        if (status != MMH_OK)
            return status;
    }
    if (!known->bytes)
        return fail(err, MMH_E_KEY, "no %.400s was given", what);
    memcpy(text, known->text, known->bytes);
    *bytes = known->bytes;
    return MMH_OK;
}

static const char *variable(void)
{
    const char *path = mmh_host_own_variable("MMH_PASSPHRASE_FILE");
    return path && *path ? path : NULL;
}

mmh_status mmh_passphrase_give(void *user, const char *why, char *passphrase, size_t room,
                               size_t *bytes, mmh_error *err)
{
    const struct mmh_cli_options *options = user;
    bool own = options->verb == MMH_VERB_PACK || options->verb == MMH_VERB_BENCH;
    struct known *known = own ? find(NULL) : NULL;
    if (!known)
        known = find(why);
    if (!known) {
        const char *path = variable();
        known = add(why);
        mmh_status status = path ? read_from(path, -1, why, known->text, &known->bytes, err)
                          : has_source(options)
                              ? read_option(options, why, known->text, &known->bytes, err)
                              : ask(why, "", known->text, &known->bytes, err);
        if (status != MMH_OK)
            return status;
    }
    if (!known->bytes || known->bytes > room)
        return fail(err, MMH_E_KEY, "no %.400s was given", why);
    memcpy(passphrase, known->text, known->bytes);
    *bytes = known->bytes;
    return MMH_OK;
}

bool mmh_passphrase_is_set(void)
{
    return variable() != NULL;
}

bool mmh_passphrase_wanted(const struct mmh_cli_options *options)
{
    return options->passphrase || has_source(options);
}

mmh_status mmh_passphrase_new(const struct mmh_cli_options *options, const char *of,
                              const char **passphrase, size_t *bytes, mmh_error *err)
{
    struct known *known = find(NULL);
    mmh_status status = MMH_OK;
    if (!known) {
        char *what = mmh_cli_format("new passphrase of %s", of);
        known = add(NULL);
        if (has_source(options)) {
            status = read_option(options, what, known->text, &known->bytes, err);
        } else if (variable()) {
            status = read_from(variable(), -1, what, known->text, &known->bytes, err);
        } else {
            size_t second_bytes = 0;
            char *second = mmh_host_secret_alloc(MMH_PASSPHRASE_BYTES_MAX);
            status = ask(what, "", known->text, &known->bytes, err);
            if (status == MMH_OK)
                status = ask(what, ", again", second, &second_bytes, err);
            if (status == MMH_OK &&
                (second_bytes != known->bytes || memcmp(second, known->text, known->bytes) != 0))
                status = fail(err, MMH_E_KEY, "the two passphrases differ");
            mmh_host_secret_free(second, MMH_PASSPHRASE_BYTES_MAX);
        }
        free(what);
    }
    *passphrase = known->text;
    *bytes = known->bytes;
    return status;
}
