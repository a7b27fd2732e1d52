/*
 * The keys of one call: read before its verb begins, and kept until its context is gone.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/keyring.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/host.h"
#include "cli/passphrase.h"

static const char name_hint[] = "a key is a file, age1..., or a name that \"mmh keys list\" shows";

/* ---- one key ---- */

static mmh_key_info part_of(const mmh_key *key, size_t number, bool *more)
{
    mmh_key_info info = { .struct_size = sizeof info };
    *more = mmh_key_part(key, number, &info, NULL) == MMH_OK;
    return info;
}

size_t mmh_cli_key_parts(const mmh_key *key, bool signs, bool secret)
{
    size_t count = 0;
    bool more;
    for (size_t i = 0;; i++) {
        mmh_key_info info = part_of(key, i, &more);
        if (!more)
            return count;
        count += info.signs == signs && (info.secret || !secret);
    }
}

static bool is_age(const char *text)
{
    return strncmp(text, "age1", 4) == 0 && !mmh_host_exists(text);
}

static void own(struct mmh_keyring *keyring, mmh_key *key)
{
    mmh_key **grown = mmh_cli_alloc((keyring->owned_count + 1) * sizeof *grown);
    if (keyring->owned_count)
        memcpy(grown, keyring->owned, keyring->owned_count * sizeof *grown);
    free(keyring->owned);
    keyring->owned = grown;
    keyring->owned[keyring->owned_count++] = key;
}

static void append(struct mmh_key_list *list, const mmh_key *key)
{
    const mmh_key **grown = mmh_cli_alloc((list->count + 1) * sizeof *grown);
    if (list->count)
        memcpy(grown, list->keys, list->count * sizeof *grown);
    free(list->keys);
    list->keys = grown;
    list->keys[list->count++] = key;
}

/* Tell why a key is not to be had. */
static int fail(const struct mmh_cli_options *options, mmh_error *err, const char *hint)
{
    if (mmh_host_interrupted())
        err->status = MMH_E_CANCELLED;
    return mmh_cli_fail(options, NULL, err, mmh_exit_of(err->status),
                        err->status == MMH_E_CANCELLED ? NULL : hint);
}

char *mmh_cli_store_folder(void)
{
    const char *folder = mmh_host_own_variable("MMH_TRUST");
    if (folder && *folder)
        return mmh_cli_format("%s", folder);
    const char *home = mmh_host_own_variable("XDG_CONFIG_HOME");
    if (home && *home == '/')
        return mmh_cli_join(home, "mmh/trust");
    home = mmh_host_own_variable("HOME");
    return home && *home ? mmh_cli_join(home, ".config/mmh/trust") : NULL;
}

static mmh_status open_store(mmh_store **store, mmh_error *err)
{
    if (*store)
        return MMH_OK;
    char *folder = mmh_cli_store_folder();
    mmh_status status = MMH_E_USAGE;
    if (folder)
        status = mmh_store_open(store, folder, err);
    else
        snprintf(err->message, sizeof err->message,
                 "there is no place for a trust store: neither MMH_TRUST nor HOME is set");
    free(folder);
    return err->status = status;
}

/* A key of the trust store, by its name or fingerprint; NULL: there is none that is believed. */
static const mmh_key *find_stored(struct mmh_keyring *keyring, const char *name,
                                  uint64_t *expires_seconds, mmh_error *err)
{
    size_t number;
    mmh_store_key info = { .struct_size = sizeof info };
    if (open_store(&keyring->store, err) != MMH_OK ||
        (err->status = mmh_store_find(keyring->store, name, &number, err)) != MMH_OK ||
        (err->status = mmh_store_key_at(keyring->store, number, &info, err)) != MMH_OK)
        return NULL;
    if (!info.believed) {
        err->status = MMH_E_UNTRUSTED;
        snprintf(err->message, sizeof err->message, "the key \"%.200s\" of the trust store %s",
                 info.name, info.revoked_seconds ? "is revoked" : "has expired");
        return NULL;
    }
    *expires_seconds = info.expires_seconds;
    return info.key;
}

static bool is_stored(struct mmh_keyring *keyring, const char *name)
{
    size_t number;
    mmh_error err = { 0 };
    return open_store(&keyring->store, &err) == MMH_OK &&
           mmh_store_find(keyring->store, name, &number, NULL) == MMH_OK;
}

const mmh_key *mmh_keyring_read(struct mmh_keyring *keyring, const struct mmh_cli_options *options,
                                const char *text, uint64_t *expires_seconds, int *exit_code)
{
    mmh_error err = { 0 };
    mmh_key *key = NULL;
    mmh_host_no_core();
    *exit_code = MMH_EXIT_OK;
    if (expires_seconds)
        *expires_seconds = 0;
    bool may_be_name = expires_seconds && !is_age(text) && !strchr(text, '/');
    bool exists = mmh_host_exists(text);
    if (may_be_name && exists && is_stored(keyring, text)) {
        /* A file that came with a model must not stand in for a key that is known. */
        err.status = MMH_E_USAGE;
        snprintf(err.message, sizeof err.message,
                 "\"%.200s\" is a file here, and a key of the trust store", text);
        *exit_code = fail(options, &err,
                          "./ before it means the file; the fingerprint that \"mmh keys list\" "
                          "shows, or another folder, the stored key");
        return NULL;
    }
    if (may_be_name && !exists) {
        const mmh_key *stored = find_stored(keyring, text, expires_seconds, &err);
        if (!stored) {
            bool unknown = err.status == MMH_E_USAGE;
            if (unknown)
                snprintf(err.message, sizeof err.message,
                         "there is neither a file nor a key called \"%.400s\"", text);
            *exit_code = fail(options, &err, unknown ? name_hint : NULL);
        }
        return stored;
    }
    mmh_status status =
        is_age(text)
            ? mmh_key_parse(&key, text, strlen(text), "the recipient", NULL, NULL, &err)
            : mmh_key_read(&key, text, mmh_passphrase_give, (void *)(uintptr_t)options, &err);
    if (status != MMH_OK) {
        *exit_code = fail(options, &err, NULL);
        return NULL;
    }
    own(keyring, key);
    return key;
}

/* ---- all of them ---- */

static int refuse(const struct mmh_cli_options *options, const char *hint, const char *name,
                  const char *what)
{
    mmh_error err = { .status = MMH_E_KEY };
    snprintf(err.message, sizeof err.message, "\"%.400s\" %s", name, what);
    return mmh_cli_fail(options, NULL, &err, MMH_EXIT_KEY, hint);
}

/* Of the last one that is trusted. */
static void keep_expiry(struct mmh_keyring *keyring, uint64_t expires_seconds)
{
    size_t count = keyring->trusted.count;
    uint64_t *grown = mmh_cli_alloc(count * sizeof *grown);
    if (count > 1)
        memcpy(grown, keyring->expires, (count - 1) * sizeof *grown);
    free(keyring->expires);
    keyring->expires = grown;
    keyring->expires[count - 1] = expires_seconds;
}

/* Read a list of keys that each must be able to do something. */
static int read_list(struct mmh_keyring *keyring, const struct mmh_cli_options *options,
                     const struct mmh_cli_list *names, struct mmh_key_list *list, bool signs,
                     bool secret)
{
    int code = MMH_EXIT_OK;
    for (size_t i = 0; i < names->count && code == MMH_EXIT_OK; i++) {
        const char *name = names->items[i];
        uint64_t expires = 0;
        const mmh_key *key = mmh_keyring_read(keyring, options, name, secret ? NULL : &expires,
                                              &code);
        if (!key)
            break;
        if (!mmh_cli_key_parts(key, signs, secret)) {
            code = secret ? refuse(options, "the private key is in the file that ends in .key",
                                   name, "has no private key to sign with")
                 : signs  ? refuse(options, NULL, name, "has no key that signs")
                          : refuse(options, "a key made by \"mmh keygen\" does both", name,
                                   "has no key to encrypt to");
        } else {
            if (secret && mmh_host_is_exposed(name))
                mmh_message_warning("others may read %s: \"chmod 600\" keeps it yours", name);
            append(list, key);
            if (list == &keyring->trusted)
                keep_expiry(keyring, expires);
        }
    }
    return code;
}

/* Private keys that containers may be opened with. */
static int read_openers(struct mmh_keyring *keyring, const struct mmh_cli_options *options,
                        mmh_context *context, const char *const *names, size_t count)
{
    int code = MMH_EXIT_OK;
    for (size_t i = 0; i < count && code == MMH_EXIT_OK; i++) {
        mmh_error err = { 0 };
        const mmh_key *key = mmh_keyring_read(keyring, options, names[i], NULL, &code);
        if (!key)
            break;
        bool signs = mmh_cli_key_parts(key, true, true),
             opens = mmh_cli_key_parts(key, false, true);
        if (!signs && !opens)
            return refuse(options, "the private key is in the file that ends in .key", names[i],
                          "is a public key, and opens nothing");
        if (mmh_host_is_exposed(names[i]))
            mmh_message_warning("others may read %s: \"chmod 600\" keeps it yours", names[i]);
        if (signs && options->verb == MMH_VERB_SIGN)
            append(&keyring->signers, key);
        if (opens && mmh_context_add_key(context, key, &err) != MMH_OK)
            code = fail(options, &err, NULL);
        keyring->opener_count += opens;
    }
    return code;
}

/* Whether a container among the inputs is encrypted, as far as that can be told now. */
static bool any_encrypted(const struct mmh_cli_options *options, mmh_context *context)
{
    for (size_t i = 0; i < options->input_count; i++) {
        mmh_security *security = NULL;
        mmh_security_info info = { .struct_size = sizeof info };
        enum mmh_host_kind kind = mmh_host_kind(options->inputs[i]);
        if (strcmp(options->inputs[i], "-") == 0 || kind == MMH_HOST_OTHER)
            return true;
        if (kind != MMH_HOST_FILE)
            continue;
        bool encrypted = mmh_security_open(context, options->inputs[i], NULL, 0, NULL, &security,
                                           NULL) == MMH_OK &&
                         mmh_security_get(security, &info, NULL) == MMH_OK && info.encrypted;
        mmh_security_close(security);
        if (encrypted)
            return true;
    }
    return false;
}

/* $MMH_KEY: files with colons between them. They may want passphrases, so they are not read in vain. */
static int read_variable(struct mmh_keyring *keyring, const struct mmh_cli_options *options,
                         mmh_context *context)
{
    const char *variable = mmh_host_own_variable("MMH_KEY");
    int code = MMH_EXIT_OK;
    if (!variable || !*variable || options->verb == MMH_VERB_SIGN || options->keys.count ||
        (options->verb == MMH_VERB_PACK ? !options->remove : !any_encrypted(options, context)))
        return MMH_EXIT_OK;
    while (*variable && code == MMH_EXIT_OK) {
        size_t length = strcspn(variable, ":");
        char *path = mmh_cli_format("%.*s", (int)length, variable);
        const char *name = path;
        if (length)
            code = read_openers(keyring, options, context, &name, 1);
        free(path);
        variable += length + (variable[length] == ':');
    }
    return code;
}

/* --trusted: all keys of the store that are believed now. */
static int read_store(struct mmh_keyring *keyring, const struct mmh_cli_options *options)
{
    mmh_error err = { 0 };
    const mmh_key *const *signers = NULL;
    const uint64_t *expires = NULL;
    size_t count = 0;
    if (open_store(&keyring->store, &err) == MMH_OK)
        err.status = mmh_store_signers(keyring->store, &signers, &expires, &count, &err);
    if (err.status != MMH_OK)
        return fail(options, &err, NULL);
    for (size_t i = 0; i < count; i++) {
        append(&keyring->trusted, signers[i]);
        keep_expiry(keyring, expires ? expires[i] : 0);
    }
    if (count)
        return MMH_EXIT_OK;
    err.status = MMH_E_UNTRUSTED;
    snprintf(err.message, sizeof err.message, "the trust store holds no key that is believed");
    return fail(options, &err, "\"mmh keys add NAME FILE\" adds one");
}

/* A key that the trust store says is revoked is not believed, and nothing is encrypted to it, for being
 * given as a file. */
static int check_revoked(struct mmh_keyring *keyring, const struct mmh_cli_options *options,
                         const struct mmh_key_list *list)
{
    mmh_error err = { 0 };
    char *folder = mmh_cli_store_folder();
    bool has_store = folder != NULL;
    free(folder);
    if (!has_store || !list->count)
        return MMH_EXIT_OK;
    if (open_store(&keyring->store, &err) != MMH_OK)
        return fail(options, &err, NULL);
    for (size_t k = 0; k < list->count; k++) {
        mmh_key_info part = { .struct_size = sizeof part };
        for (size_t p = 0; mmh_key_part(list->keys[k], p, &part, NULL) == MMH_OK; p++) {
            mmh_store_key known = { .struct_size = sizeof known };
            char hex[2 * sizeof part.fingerprint + 1];
            size_t number;
            mmh_human_hex(hex, part.fingerprint, sizeof part.fingerprint);
            if (mmh_store_find(keyring->store, hex, &number, NULL) != MMH_OK ||
                mmh_store_key_at(keyring->store, number, &known, NULL) != MMH_OK ||
                !known.revoked_seconds)
                continue;
            err.status = MMH_E_UNTRUSTED;
            snprintf(err.message, sizeof err.message,
                     "the trust store says that this key is revoked (\"%.60s\"%s%.200s)",
                     known.name, *known.reason ? ": " : "", known.reason);
            return fail(options, &err, "\"mmh keys list\" tells when, and of all others");
        }
    }
    return MMH_EXIT_OK;
}

mmh_trust mmh_keyring_trust(const struct mmh_cli_options *options)
{
    const struct mmh_keyring *keyring = options->keyring;
    return (mmh_trust){ .struct_size = sizeof(mmh_trust),
                        .signers = keyring->trusted.keys,
                        .signer_count = keyring->trusted.count,
                        .all = options->require_all,
                        .hybrid = options->require_hybrid,
                        .post_quantum = options->require_post_quantum,
                        .min_category = options->require_category,
                        .min_counter = options->require_counter,
                        .signature_file = options->signature_file,
                        .expires = keyring->expires };
}

static int read_all(struct mmh_keyring *keyring, const struct mmh_cli_options *options,
                    mmh_context *context)
{
    int code = read_openers(keyring, options, context, options->keys.items, options->keys.count);
    if (code == MMH_EXIT_OK)
        code = read_variable(keyring, options, context);
    if (code == MMH_EXIT_OK)
        code = read_list(keyring, options, &options->sign_with, &keyring->signers, true, true);
    if (code == MMH_EXIT_OK)
        code = read_list(keyring, options, &options->recipients, &keyring->recipients, false,
                         false);
    if (code == MMH_EXIT_OK)
        code = read_list(keyring, options, &options->added_recipients, &keyring->recipients, false,
                         false);
    if (code == MMH_EXIT_OK)
        code = read_list(keyring, options, &options->signers, &keyring->trusted, true, false);
    if (code == MMH_EXIT_OK)
        code = check_revoked(keyring, options, &keyring->trusted);
    if (code == MMH_EXIT_OK)
        code = check_revoked(keyring, options, &keyring->recipients);
    if (code == MMH_EXIT_OK && options->trusted)
        code = read_store(keyring, options);
    return code;
}

/* What has no such requirement: an audit tells, and a bundle is about other signatures. */
static bool requires(const struct mmh_cli_options *options)
{
    return options->keyring->trusted.count && options->verb != MMH_VERB_AUDIT && !options->bundle;
}

int mmh_keyring_open(struct mmh_keyring *keyring, struct mmh_cli_options *options,
                     mmh_context *context)
{
    static const unsigned writers = 1u << MMH_VERB_PACK | 1u << MMH_VERB_ENCRYPT |
                                    1u << MMH_VERB_BENCH;
    mmh_error err = { 0 };
    *keyring = (struct mmh_keyring){ 0 };
    options->keyring = keyring;
    mmh_context_set_passphrase(context, mmh_passphrase_give, options);
    int code = read_all(keyring, options, context);
    if (code == MMH_EXIT_OK && requires(options)) {
        mmh_trust trust = mmh_keyring_trust(options);
        if (mmh_context_require(context, &trust, &err) != MMH_OK)
            code = fail(options, &err, NULL);
    }
    if (code == MMH_EXIT_OK && (writers >> options->verb & 1) && mmh_passphrase_wanted(options)) {
        const char *of = options->output      ? options->output
                       : options->input_count ? options->inputs[0]
                                              : "the container";
        if (mmh_passphrase_new(options, of, &keyring->passphrase, &keyring->passphrase_bytes,
                               &err) != MMH_OK)
            code = fail(options, &err, NULL);
    }
    if (code == MMH_EXIT_OK && (writers >> options->verb & 1) && options->profile)
        code = mmh_keyring_check_profile(options);
    return code;
}

int mmh_keyring_check_newest(const struct mmh_cli_options *options, mmh_context *context,
                             const char *path, const char *shown)
{
    const struct mmh_keyring *keyring = options->keyring;
    mmh_error err = { 0 };
    mmh_security *security = NULL;
    mmh_store *store = NULL; /* of its own: what changes it moves its keys */
    mmh_signature_info one = { .struct_size = sizeof one };
    if (!options->require_newest)
        return MMH_EXIT_OK;
    if (open_store(&store, &err) != MMH_OK)
        return fail(options, &err, NULL);
    mmh_status status = mmh_security_open(context, path, keyring->trusted.keys,
                                          keyring->trusted.count, options->signature_file,
                                          &security, &err);
    for (size_t i = 0;
         status == MMH_OK && mmh_security_signature(security, i, &one, NULL) == MMH_OK; i++)
        if (one.of_this_root && one.result == MMH_SIGNATURE_RIGHT)
            status = mmh_store_note_counter(store, one.fingerprint, mmh_cli_base_name(shown),
                                            one.counter, &err);
    mmh_security_close(security);
    mmh_store_close(store);
    if (status == MMH_OK)
        return MMH_EXIT_OK;
    mmh_bar_end();
    err.status = status;
    return mmh_cli_fail_container(options, shown, &err, mmh_exit_of(status));
}

/* Parts of keys that a profile does not allow. */
static int check_parts(const struct mmh_cli_options *options, const struct mmh_key_list *list,
                       const struct mmh_cli_list *names, bool signs)
{
    bool more;
    for (size_t i = 0; i < list->count; i++)
        for (size_t p = 0;; p++) {
            const char *why = "";
            mmh_key_info info = part_of(list->keys[i], p, &more);
            if (!more)
                break;
            if (info.signs == signs && (info.secret || !signs) &&
                !mmh_profile_allows(options->profile, info.algorithm, &why))
                return mmh_cli_refuse(
                    options, NULL, *why ? why : NULL, "%s of %s is not in the profile %s",
                    info.algorithm, i < names->count ? names->items[i] : "a key", options->profile);
        }
    return MMH_EXIT_OK;
}

static int check_word(const struct mmh_cli_options *options, const char *word)
{
    const char *why = "";
    return !word || mmh_profile_allows(options->profile, word, &why)
             ? MMH_EXIT_OK
             : mmh_cli_refuse(options, NULL, *why ? why : NULL, "%s is not in the profile %s", word,
                              options->profile);
}

int mmh_keyring_check_profile(const struct mmh_cli_options *options)
{
    const struct mmh_keyring *keyring = options->keyring;
    const struct mmh_cli_list *recipients = options->recipients.count ? &options->recipients
                                                                      : &options->added_recipients;
    int code = check_parts(options, &keyring->recipients, recipients, false);
    if (code == MMH_EXIT_OK)
        code = check_parts(options, &keyring->signers, &options->sign_with, true);
    if (code == MMH_EXIT_OK && keyring->passphrase)
        code = check_word(options, "passphrase");
    if (code == MMH_EXIT_OK)
        code = check_word(options, options->aead);
    if (code == MMH_EXIT_OK)
        code = check_word(options, options->sha256   ? "sha256"
                                   : options->sha384 ? "sha384"
                                   : options->blake3 ? "blake3"
                                                     : NULL);
    return code;
}

void mmh_keyring_close(struct mmh_keyring *keyring)
{
    for (size_t i = 0; i < keyring->owned_count; i++)
        mmh_key_destroy(keyring->owned[i]);
    free(keyring->owned);
    free(keyring->recipients.keys);
    free(keyring->signers.keys);
    free(keyring->trusted.keys);
    free(keyring->expires);
    mmh_store_close(keyring->store);
    mmh_passphrase_forget();
    *keyring = (struct mmh_keyring){ 0 };
}

static size_t parts_of(const struct mmh_key_list *list, bool signs, bool secret)
{
    size_t count = 0;
    for (size_t i = 0; i < list->count; i++)
        count += mmh_cli_key_parts(list->keys[i], signs, secret);
    return count;
}

size_t mmh_keyring_recipients(const struct mmh_keyring *keyring)
{
    return parts_of(&keyring->recipients, false, false) + (keyring->passphrase != NULL);
}

size_t mmh_keyring_signatures(const struct mmh_keyring *keyring)
{
    return parts_of(&keyring->signers, true, true);
}

uint64_t mmh_keyring_time(const struct mmh_cli_options *options)
{
    time_t now = options->no_time ? 0 : time(NULL);
    return now > 0 ? (uint64_t)now : 0;
}

/* ---- what is told of keys ---- */

struct mmh_human mmh_cli_strength_text(bool classical, bool post_quantum, unsigned nist_category)
{
    struct mmh_human text = { "" };
    const char *rests_on = classical && post_quantum ? "hybrid"
                         : post_quantum              ? "post-quantum"
                         : classical                 ? "classical"
                                                     : "unknown";
    if (nist_category)
        snprintf(text.text, sizeof text.text, "%s, NIST category %u", rests_on, nist_category % 10);
    else
        snprintf(text.text, sizeof text.text, "%s", rests_on);
    return text;
}

void mmh_cli_strength_json(struct mmh_json_out *out, const char *algorithm, bool classical,
                           bool post_quantum, unsigned nist_category)
{
    mmh_json_out_text(out, "algorithm", algorithm);
    mmh_json_out_bool(out, "classical", classical);
    mmh_json_out_bool(out, "post_quantum", post_quantum);
    mmh_json_out_u64(out, "nist_category", nist_category);
}

void mmh_cli_key_print(const mmh_key *key)
{
    bool more;
    for (size_t i = 0;; i++) {
        mmh_key_info info = part_of(key, i, &more);
        char bits[16] = "";
        if (!more)
            return;
        if (info.bits)
            snprintf(bits, sizeof bits, " %u", info.bits);
        char print[2 * sizeof info.fingerprint + 1];
        printf("  %s  %s%s, %s\n           %s\n", info.signs ? "signs   " : "decrypts",
               info.algorithm, bits,
               mmh_cli_strength_text(info.classical, info.post_quantum, info.nist_category).text,
               mmh_human_hex(print, info.fingerprint, sizeof info.fingerprint));
    }
}

void mmh_cli_key_json(struct mmh_json_out *out, const mmh_key *key)
{
    bool more;
    mmh_json_out_array(out, "keys");
    for (size_t i = 0;; i++) {
        mmh_key_info info = part_of(key, i, &more);
        if (!more)
            break;
        mmh_json_out_object(out, NULL);
        mmh_json_out_text(out, "use", info.signs ? "sign" : "decrypt");
        mmh_cli_strength_json(out, info.algorithm, info.classical, info.post_quantum,
                              info.nist_category);
        mmh_json_out_bool(out, "secret", info.secret);
        if (info.bits)
            mmh_json_out_u64(out, "bits", info.bits);
        mmh_json_out_hex(out, "fingerprint", info.fingerprint, sizeof info.fingerprint);
        mmh_json_out_end(out);
    }
    mmh_json_out_end(out);
}
