/*
 * mmh keys: what is in files of keys, and whose signatures are believed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/guard_text.h"
#include "cli/host.h"
#include "cli/keyring.h"

static int failed(const struct mmh_cli_options *options, const char *input, mmh_error *err)
{
    return mmh_cli_fail(options, input, err, mmh_exit_of(err->status), NULL);
}

/* ---- one key ---- */

static int show(struct mmh_keyring *keyring, const struct mmh_cli_options *options,
                const char *path)
{
    int code;
    const mmh_key *key = mmh_keyring_read(keyring, options, path, NULL, &code);
    if (!key)
        return code;
    if (options->json) {
        struct mmh_json_out out;
        mmh_cli_json_begin(&out, options, path, MMH_OK, MMH_EXIT_OK);
        mmh_cli_key_json(&out, key);
        mmh_json_out_end(&out);
        (void)mmh_json_out_finish(&out);
        return MMH_EXIT_OK;
    }
    char *clean = mmh_cli_clean(path);
    bool secret = mmh_cli_key_parts(key, true, true) || mmh_cli_key_parts(key, false, true);
    printf("%s: %s\n", clean, secret ? "private" : "public");
    free(clean);
    mmh_cli_key_print(key);
    return MMH_EXIT_OK;
}

/* ---- the store ---- */

static const char *state_of(const mmh_store_key *info)
{
    return info->revoked_seconds ? "revoked" : info->believed ? "believed" : "expired";
}

static void entry_json(struct mmh_json_out *out, const mmh_store_key *info)
{
    mmh_json_out_object(out, NULL);
    mmh_json_out_text(out, "name", info->name);
    mmh_json_out_text(out, "state", state_of(info));
    mmh_json_out_u64(out, "added", info->added_seconds);
    mmh_json_out_u64(out, "expires", info->expires_seconds);
    mmh_json_out_u64(out, "revoked", info->revoked_seconds);
    mmh_json_out_text(out, "reason", info->reason);
    mmh_json_out_text(out, "successor_of", info->successor_of);
    mmh_cli_key_json(out, info->key);
    mmh_json_out_end(out);
}

static void print_entry(const mmh_store_key *info)
{
    char *name = mmh_cli_clean(info->name), *reason = mmh_cli_clean(info->reason);
    printf("%s: %s", name, state_of(info));
    if (info->revoked_seconds)
        printf(" %s%s%s", mmh_cli_time_text(info->revoked_seconds).text, *reason ? ", " : "",
               reason);
    else if (info->expires_seconds)
        printf("%s %s", info->believed ? " until" : "",
               mmh_cli_time_text(info->expires_seconds).text);
    if (*info->successor_of)
        printf(", successor of %s", info->successor_of);
    putchar('\n');
    mmh_cli_key_print(info->key);
    free(name);
    free(reason);
}

/* The store's keys, all or one, as JSON or for people. number SIZE_MAX: all. */
/* With its fingerprints: who adds a key is to compare them. */
static void tell_note(const mmh_store_key *entry, const char *note)
{
    mmh_key_info part = { .struct_size = sizeof part };
    char print[2 * sizeof part.fingerprint + 1];
    mmh_message_note("%s: %s", entry->name, note);
    for (size_t i = 0; mmh_key_part(entry->key, i, &part, NULL) == MMH_OK; i++)
        mmh_message_note("  %s %s", part.algorithm,
                         mmh_human_hex(print, part.fingerprint, sizeof part.fingerprint));
}

static int tell(const struct mmh_cli_options *options, const mmh_store *store, size_t number,
                const char *note)
{
    struct mmh_json_out out;
    mmh_store_key info = { .struct_size = sizeof info };
    const char *input = options->input_count > 1 ? options->inputs[1] : NULL;
    size_t count = 0;
    if (options->json) {
        mmh_cli_json_begin(&out, options, input, MMH_OK, MMH_EXIT_OK);
        mmh_json_out_array(&out, "store");
    }
    for (size_t i = number == SIZE_MAX ? 0 : number;
         mmh_store_key_at(store, i, &info, NULL) == MMH_OK; i++, count++) {
        if (options->json)
            entry_json(&out, &info);
        else if (note)
            tell_note(&info, note);
        else
            print_entry(&info);
        if (number != SIZE_MAX)
            break;
    }
    if (options->json) {
        mmh_json_out_end(&out);
        mmh_json_out_end(&out);
        (void)mmh_json_out_finish(&out);
    } else if (!count && number == SIZE_MAX) {
        mmh_message_note("the trust store is empty: \"mmh keys add NAME FILE\" adds a key");
    }
    return MMH_EXIT_OK;
}

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* "2027-12-31": the end of that day, UTC, in seconds since 1970; "never": 0. */
static bool parse_date(uint64_t *seconds, const char *text)
{
    static const int lengths[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    if (strcmp(text, "never") == 0) {
        *seconds = 0;
        return true;
    }
    for (size_t i = 0; i < 10; i++)
        if (i == 4 || i == 7 ? text[i] != '-' : !isdigit((unsigned char)text[i]))
            return false;
    int year = atoi(text), month = atoi(text + 5), day = atoi(text + 8);
    if (text[10] || year < 1970 || month < 1 || month > 12 || day < 1 ||
        day > lengths[month - 1] + (month == 2 && is_leap(year)))
        return false;
    uint64_t days = (uint64_t)day;
    for (int y = 1970; y < year; y++)
        days += is_leap(y) ? 366 : 365;
    for (int m = 1; m < month; m++)
        days += (uint64_t)lengths[m - 1] + (m == 2 && is_leap(year));
    *seconds = days * 86400;
    return true;
}

/* ---- what is done ---- */

struct work {
    const struct mmh_cli_options *options;
    struct mmh_keyring *keyring;
    const char *name, *rest; /* what follows the word; NULL: nothing */
    mmh_store *store;
    uint64_t expires_seconds;
};

static int store_failed(const struct work *work, mmh_status status, mmh_error *err)
{
    err->status = status;
    return failed(work->options, work->name, err);
}

static int find(const struct work *work, size_t *number)
{
    mmh_error err = { 0 };
    mmh_status status = mmh_store_find(work->store, work->name, number, &err);
    if (status == MMH_OK)
        return MMH_EXIT_OK;
    err.status = status;
    return mmh_cli_fail(work->options, work->name, &err, mmh_exit_of(status),
                        "\"mmh keys list\" shows what there is");
}

static int do_list(struct work *work)
{
    return tell(work->options, work->store, SIZE_MAX, NULL);
}

static int do_add(struct work *work)
{
    int code;
    mmh_error err = { 0 };
    size_t number = 0;
    const mmh_key *key = mmh_keyring_read(work->keyring, work->options, work->rest, NULL, &code);
    if (!key)
        return code;
    mmh_status status = mmh_store_add(work->store, work->name, key, work->expires_seconds, &err);
    if (status == MMH_OK)
        status = mmh_store_find(work->store, work->name, &number, &err);
    return status == MMH_OK ? tell(work->options, work->store, number, "believed from now on")
                            : store_failed(work, status, &err);
}

static int do_expire(struct work *work)
{
    mmh_error err = { 0 };
    size_t number;
    int code = find(work, &number);
    if (code != MMH_EXIT_OK)
        return code;
    mmh_status status = mmh_store_expire(work->store, number, work->expires_seconds, &err);
    return status == MMH_OK ? tell(work->options, work->store, number,
                                   work->expires_seconds ? "believed until the time that was given"
                                                         : "believed whenever it is")
                            : store_failed(work, status, &err);
}

static int do_revoke(struct work *work)
{
    mmh_error err = { 0 };
    size_t number;
    int code = find(work, &number);
    if (code != MMH_EXIT_OK)
        return code;
    mmh_status status = mmh_store_revoke(work->store, number, work->rest ? work->rest : "", &err);
    return status == MMH_OK ? tell(work->options, work->store, number, "revoked")
                            : store_failed(work, status, &err);
}

static int do_remove(struct work *work)
{
    mmh_error err = { 0 };
    size_t number;
    int code = find(work, &number);
    if (code != MMH_EXIT_OK)
        return code;
    mmh_status status = mmh_store_remove(work->store, number, &err);
    if (status != MMH_OK)
        return store_failed(work, status, &err);
    mmh_message_note("%s: unknown from now on", work->name);
    return work->options->json ? tell(work->options, work->store, SIZE_MAX, NULL) : MMH_EXIT_OK;
}

/* A name for a key, of its file's: "keys/bob2.key" gives "bob2"; to be freed. */
static char *name_of(const char *path)
{
    const char *base = mmh_cli_base_name(path), *dot = strrchr(base, '.');
    return mmh_cli_format("%.*s", (int)(dot && dot > base ? dot - base : (ptrdiff_t)strlen(base)),
                          base);
}

static bool share_part(const mmh_key *a, const mmh_key *b)
{
    mmh_key_info first = { .struct_size = sizeof first }, second = { .struct_size = sizeof second };
    for (size_t i = 0; mmh_key_part(a, i, &first, NULL) == MMH_OK; i++)
        for (size_t k = 0; mmh_key_part(b, k, &second, NULL) == MMH_OK; k++)
            if (memcmp(first.fingerprint, second.fingerprint, sizeof first.fingerprint) == 0)
                return true;
    return false;
}

static int do_rotate(struct work *work)
{
    const struct mmh_cli_options *options = work->options;
    int code;
    mmh_error err = { 0 };
    if (!options->output)
        return mmh_cli_refuse(options, work->name, "-o FILE names it",
                              "\"mmh keys rotate\" writes a statement, and needs a name for it");
    const mmh_key *old = mmh_keyring_read(work->keyring, options, work->name, NULL, &code);
    const mmh_key *next = old ? mmh_keyring_read(work->keyring, options, work->rest, NULL, &code)
                              : NULL;
    if (!next)
        return code;
    if (share_part(old, next))
        return mmh_cli_refuse(options, work->name, "\"mmh keygen\" makes another",
                              "\"%s\" has a key of \"%s\": it would follow itself", work->rest,
                              work->name);
    char *name = name_of(work->rest);
    mmh_status status = mmh_successor_write(old, next, name, mmh_keyring_time(options),
                                            options->output, options->force, &err);
    free(name);
    if (status != MMH_OK)
        return store_failed(work, status, &err);
    mmh_message_note("%s: who believes %s believes %s by \"mmh keys accept %s\"", options->output,
                     work->name, work->rest, options->output);
    if (options->json) {
        struct mmh_json_out out;
        mmh_cli_json_begin(&out, options, work->name, MMH_OK, MMH_EXIT_OK);
        mmh_json_out_text(&out, "output", options->output);
        mmh_json_out_end(&out);
        (void)mmh_json_out_finish(&out);
    }
    return MMH_EXIT_OK;
}

static int do_accept(struct work *work)
{
    mmh_error err = { 0 };
    size_t number;
    mmh_status status = mmh_store_accept(work->store, work->name, work->rest, &number, &err);
    return status == MMH_OK ? tell(work->options, work->store, number, "believed from now on")
                            : store_failed(work, status, &err);
}

static const struct action {
    const char *word, *follows;
    size_t least, most; /* how much follows */
    bool uses_store, takes_date, wants_date;
    int (*run)(struct work *work);
} actions[] = {
    { "list", "", 0, 0, true, false, false, do_list },
    { "add", "NAME FILE", 2, 2, true, true, false, do_add },
    { "expire", "NAME --expires=DATE", 1, 1, true, true, true, do_expire },
    { "revoke", "NAME [REASON]", 1, 2, true, false, false, do_revoke },
    { "remove", "NAME", 1, 1, true, false, false, do_remove },
    { "rotate", "OLD.key NEW.key -o FILE", 2, 2, false, false, false, do_rotate },
    { "accept", "FILE [NAME]", 1, 2, true, false, false, do_accept },
};

static int act(const struct mmh_cli_options *options, struct mmh_keyring *keyring,
               const struct action *action)
{
    mmh_error err = { 0 };
    size_t count = options->input_count - 1;
    struct work work = { .options = options,
                         .keyring = keyring,
                         .name = count ? options->inputs[1] : NULL,
                         .rest = count > 1 ? options->inputs[2] : NULL };
    if (count < action->least || count > action->most ||
        (action->wants_date && !options->expires)) {
        char *hint = mmh_cli_format("mmh keys %s %s", action->word, action->follows);
        int code = mmh_cli_refuse(options, NULL, hint, "\"mmh keys %s\" is used differently",
                                  action->word);
        free(hint);
        return code;
    }
    if (options->expires && !action->takes_date)
        return mmh_cli_refuse(options, work.name, NULL, "\"mmh keys %s\" takes no --expires",
                              action->word);
    if (options->expires && !parse_date(&work.expires_seconds, options->expires))
        return mmh_cli_refuse(options, work.name, "--expires=2027-12-31, or --expires=never",
                              "\"%s\" is no date", options->expires);
    if (action->uses_store) {
        char *folder = mmh_cli_store_folder();
        if (!folder)
            return mmh_cli_refuse(options, work.name, "MMH_TRUST names a folder for it",
                                  "there is no place for a trust store");
        mmh_status status = mmh_store_open(&work.store, folder, &err);
        free(folder);
        if (status != MMH_OK)
            return store_failed(&work, status, &err);
    }
    int code = action->run(&work);
    mmh_store_close(work.store);
    return code;
}

int mmh_cmd_keys(const struct mmh_cli_options *options, mmh_context *context)
{
    enum { COUNT = sizeof actions / sizeof *actions };
    const char *word = options->inputs[0], *names[COUNT + 1] = { "show" };
    struct mmh_keyring keyring = { 0 };
    int code = MMH_EXIT_OK;
    (void)context;
    if (strcmp(word, "show") == 0) {
        if (options->input_count == 1)
            return mmh_cli_refuse(options, NULL, "mmh keys show FILE...",
                                  "\"mmh keys show\" needs a file");
        for (size_t i = 1; i < options->input_count && code != MMH_EXIT_INTERRUPTED; i++)
            code = mmh_exit_worse(code, show(&keyring, options, options->inputs[i]));
        mmh_keyring_close(&keyring);
        return code;
    }
    for (size_t i = 0; i < COUNT; i++) {
        names[i + 1] = actions[i].word;
        if (strcmp(word, actions[i].word) != 0)
            continue;
        code = act(options, &keyring, &actions[i]);
        mmh_keyring_close(&keyring);
        return code;
    }
    const char *nearest = mmh_message_nearest(word, names, COUNT + 1);
    char *hint = nearest
                   ? mmh_cli_format("did you mean \"mmh keys %s\"?", nearest)
                   : mmh_cli_format("show, list, add, expire, revoke, remove, rotate, accept");
    code = mmh_cli_refuse(options, NULL, hint, "there is no \"mmh keys %s\"", word);
    free(hint);
    return code;
}
