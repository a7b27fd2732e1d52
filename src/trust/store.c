/*
 * The trust store: reading, finding, changing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "trust/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/io.h"
#include "crypto/file_hash.h"
#include "crypto/secret.h"
#include "trust/lines_private.h"
#include "trust/text.h"

enum {
    FILE_BYTES_MAX = 16 << 20, /* the largest keys have some MiB */
    FINGERPRINT_DIGITS_MIN = 8,
    STORE_KEYS_MAX = 100000
};

static const char first_line[] = "mmh trusted key 1";
static const char suffix[] = ".trusted";

/* ---- lines ---- */

bool mmh_lines_is_next(const struct mmh_lines *lines, const char *name)
{
    const size_t bytes = strlen(name);
    return lines->bytes >= bytes && memcmp(lines->text, name, bytes) == 0;
}

const char *mmh_lines_take(struct mmh_lines *lines, const char *name, size_t *bytes)
{
    const size_t name_bytes = strlen(name);
    const char *end = lines->bytes ? memchr(lines->text, '\n', lines->bytes) : NULL;
    *bytes = 0;
    lines->failed = lines->failed || !end || !mmh_lines_is_next(lines, name) ||
                    (size_t)(end - lines->text) < name_bytes;
    if (lines->failed)
        return "";
    const char *value = lines->text + name_bytes;
    *bytes = (size_t)(end - value);
    lines->bytes -= (size_t)(end + 1 - lines->text);
    lines->text = end + 1;
    for (size_t i = 0; i < *bytes; i++)
        lines->failed = lines->failed || (uint8_t)value[i] < 0x20 || value[i] == 0x7f;
    lines->failed = lines->failed || !mmh_text_is_utf8(value, *bytes);
    return value;
}

uint64_t mmh_lines_take_time(struct mmh_lines *lines, const char *name, const char *none)
{
    uint64_t seconds = 0;
    size_t bytes;
    const char *value = mmh_lines_take(lines, name, &bytes);
    if (lines->failed || (none && bytes == strlen(none) && memcmp(value, none, bytes) == 0))
        return 0;
    lines->failed = !mmh_time_from_text(&seconds, value, bytes);
    return seconds;
}

const char *mmh_lines_take_until(struct mmh_lines *lines, const char *name, size_t *bytes)
{
    const char *begin = lines->text;
    struct mmh_lines left = *lines;
    while (!lines->failed && !mmh_lines_is_next(&left, name)) {
        const char *end = left.bytes ? memchr(left.text, '\n', left.bytes) : NULL;
        if (!end) {
            lines->failed = true;
            break;
        }
        left.bytes -= (size_t)(end + 1 - left.text);
        left.text = end + 1;
    }
    *bytes = lines->failed ? 0 : (size_t)(left.text - begin);
    if (!lines->failed)
        *lines = left;
    return begin;
}

char *mmh_lines_take_copy(struct mmh_lines *lines, const char *name, struct mmh_arena *arena)
{
    size_t bytes;
    const char *value = mmh_lines_take(lines, name, &bytes);
    return mmh_arena_string(arena, value, bytes);
}

/* ---- names ---- */

bool mmh_trusted_name_is_fine(const char *name)
{
    const size_t bytes = strlen(name);
    for (size_t i = 0; i < bytes; i++) {
        const char c = name[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              strchr("._@+-", c)))
            return false;
    }
    return bytes && bytes <= MMH_TRUSTED_NAME_MAX && name[0] != '.' && name[0] != '-';
}

mmh_status mmh_trusted_name_check(const char *name, mmh_error *err)
{
    return mmh_trusted_name_is_fine(name)
             ? MMH_OK
             : mmh_fail(err, MMH_E_USAGE,
                        "\"%s\" is no name for a key: 1 to %d letters, digits, and . _ @ + -, the "
                        "first of them no . or -",
                        name, MMH_TRUSTED_NAME_MAX);
}

/* A text of people's that is to stand on a line: control characters become spaces. */
static char *one_line(struct mmh_arena *arena, const char *text)
{
    size_t bytes = strlen(text);
    while (bytes > MMH_TRUSTED_TEXT_MAX ||
           (bytes && bytes < strlen(text) && !mmh_text_is_utf8(text, bytes)))
        bytes--;
    char *line = mmh_arena_string(arena, text, bytes);
    for (size_t i = 0; line && i < bytes; i++)
        if ((uint8_t)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = ' ';
    if (line && !mmh_text_is_utf8(line, bytes))
        line[0] = 0;
    return line;
}

/* ---- a file ---- */

static mmh_status no_memory(mmh_error *err)
{
    return mmh_fail(err, MMH_E_MEMORY, "no memory for the trust store");
}

/* The counters' lines. */
static bool read_counters(struct mmh_trusted *key, struct mmh_lines *lines, struct mmh_arena *arena)
{
    key->counters = mmh_arena_array(arena, MMH_TRUSTED_COUNTERS_MAX, sizeof *key->counters);
    if (!key->counters)
        return false;
    while (!lines->failed && mmh_lines_is_next(lines, "counter: ")) {
        struct mmh_trusted_counter *counter = &key->counters[key->counter_count];
        size_t bytes, at = 0;
        const char *value = mmh_lines_take(lines, "counter: ", &bytes);
        if (key->counter_count == MMH_TRUSTED_COUNTERS_MAX) {
            lines->failed = true;
            break;
        }
        for (; at < bytes && value[at] >= '0' && value[at] <= '9'; at++)
            if (!mmh_u64_mul(&counter->counter, counter->counter, 10) ||
                !mmh_u64_add(&counter->counter, counter->counter, (uint64_t)(value[at] - '0')))
                lines->failed = true;
        lines->failed = lines->failed || !at || at == bytes || value[at] != ' ';
        if (lines->failed)
            break;
        counter->subject = mmh_arena_string(arena, value + at + 1, bytes - at - 1);
        if (!counter->subject)
            return false;
        key->counter_count++;
    }
    return true;
}

/* The last line: SHA-256 of all before it. */
static mmh_status check_sum(const struct mmh_lines *lines, const char *text, bool *right,
                            mmh_error *err)
{
    struct mmh_lines last = *lines;
    uint8_t said[32], digest[32];
    size_t bytes;
    const char *value = mmh_lines_take(&last, "sha256: ", &bytes);
    *right = !last.failed && !last.bytes && bytes == 64 && mmh_text_from_hex(said, value, bytes);
    mmh_status status = mmh_file_hash(digest, MMH_FILE_HASH_SHA256, text,
                                      (size_t)(lines->text - text), err);
    *right = *right && status == MMH_OK && memcmp(said, digest, sizeof said) == 0;
    return status;
}

static bool is_public(const mmh_identity *identity)
{
    for (size_t i = 0; i < identity->part_count; i++)
        if (identity->parts[i].secret)
            return false;
    return true;
}

/* Read a key's file; key->identity is the caller's to destroy in either case. */
static mmh_status trusted_read(struct mmh_trusted *key, const char *text, size_t bytes,
                               const mmh_allocator *allocator, struct mmh_arena *arena,
                               mmh_error *err)
{
    struct mmh_lines lines = { text, bytes, false };
    size_t pem_bytes, line_bytes;
    bool right = false;
    (void)mmh_lines_take(&lines, first_line, &line_bytes);
    lines.failed = lines.failed || line_bytes;
    const char *name = mmh_lines_take_copy(&lines, "name: ", arena);
    key->added_seconds = mmh_lines_take_time(&lines, "added: ", NULL);
    key->expires_seconds = mmh_lines_take_time(&lines, "expires: ", "never");
    key->revoked_seconds = mmh_lines_take_time(&lines, "revoked: ", "no");
    key->reason = mmh_lines_take_copy(&lines, "reason: ", arena);
    key->successor_of = mmh_lines_take_copy(&lines, "successor-of: ", arena);
    if (!name || !key->reason || !key->successor_of || !read_counters(key, &lines, arena))
        return no_memory(err);
    const char *pem = mmh_lines_take_until(&lines, "sha256: ", &pem_bytes);
    if (!lines.failed) {
        mmh_status status = check_sum(&lines, text, &right, err);
        if (status != MMH_OK)
            return status;
    }
    if (!right || strcmp(name, key->name) != 0)
        return mmh_fail(err, MMH_E_CORRUPT,
                        "\"%s\" is damaged, or no file of the trust store: nothing in the store is "
                        "believed until it is taken out",
                        key->path);
    mmh_status status = mmh_identity_parse(&key->identity, pem, pem_bytes, key->path, NULL, NULL,
                                           allocator, err);
    if (status != MMH_OK)
        key->identity = NULL;
    if (status == MMH_OK && !is_public(key->identity))
        status = mmh_fail(err, MMH_E_CORRUPT,
                          "\"%s\" has a private key in it: take it out of the trust store",
                          key->path);
    return status;
}

static mmh_status trusted_write(struct mmh_buffer *text, const struct mmh_trusted *key,
                                const mmh_identity *identity, mmh_error *err)
{
    char added[24], expires[24] = "never", revoked[24] = "no", number[32], *pem;
    uint8_t digest[32];
    size_t pem_bytes;
    mmh_time_text(added, key->added_seconds);
    if (key->expires_seconds)
        mmh_time_text(expires, key->expires_seconds);
    if (key->revoked_seconds)
        mmh_time_text(revoked, key->revoked_seconds);
    const char *const lines[] = { first_line,        "\nname: ",    key->name,
                                  "\nadded: ",       added,         "\nexpires: ",
                                  expires,           "\nrevoked: ", revoked,
                                  "\nreason: ",      key->reason,   "\nsuccessor-of: ",
                                  key->successor_of, "\n" };
    mmh_status status = mmh_identity_write(&pem, &pem_bytes, identity, false, NULL, 0, err);
    if (status != MMH_OK)
        return status;
    for (size_t i = 0; i < MMH_COUNT_OF(lines); i++)
        mmh_text_add(text, lines[i]);
    for (size_t i = 0; i < key->counter_count; i++) {
        (void)snprintf(number, sizeof number, "counter: %" PRIu64 " ", key->counters[i].counter);
        mmh_text_add(text, number);
        mmh_text_add(text, key->counters[i].subject);
        mmh_buffer_u8(text, '\n');
    }
    mmh_buffer_bytes(text, pem, pem_bytes);
    if (pem_bytes && pem[pem_bytes - 1] != '\n')
        mmh_buffer_u8(text, '\n');
    mmh_secret_free(pem, pem_bytes + 1);
    status = mmh_buffer_finish(text, "trust store", err);
    if (status == MMH_OK)
        status = mmh_file_hash(digest, MMH_FILE_HASH_SHA256, text->data, text->bytes, err);
    if (status != MMH_OK)
        return status;
    mmh_text_add(text, "sha256: ");
    mmh_text_hex(text, digest, sizeof digest);
    mmh_buffer_u8(text, '\n');
    return mmh_buffer_finish(text, "trust store", err);
}

/* ---- the folder ---- */

static mmh_status foreign(const struct mmh_trust_store *store, const char *name, const char *why,
                          mmh_error *err)
{
    return mmh_fail(err, MMH_E_UNTRUSTED,
                    "\"%s/%s\" %s: nothing in the trust store is believed until that is mended",
                    store->path, name, why);
}

/* Read the file of an entry into the next key of the store. */
static mmh_status read_entry(struct mmh_trust_store *store, const struct mmh_path_info *entry,
                             mmh_error *err)
{
    struct mmh_trusted *key = &store->keys[store->count];
    const size_t bytes = strlen(entry->path), suffix_bytes = sizeof suffix - 1;
    uint8_t *text;
    size_t text_bytes;
    if (entry->kind != MMH_PATH_FILE || bytes <= suffix_bytes ||
        strcmp(entry->path + bytes - suffix_bytes, suffix) != 0)
        return foreign(store, entry->path, "is no key's file", err);
    key->name = mmh_arena_string(&store->arena, entry->path, bytes - suffix_bytes);
    key->path = mmh_arena_format(&store->arena, "%s/%s", store->path, entry->path);
    if (!key->name || !key->path)
        return no_memory(err);
    if (!mmh_trusted_name_is_fine(key->name))
        return foreign(store, entry->path, "is no name of a key's file", err);
    if (entry->mode & 2)
        return foreign(store, entry->path, "may be written by every user", err);
    mmh_status status = mmh_input_slurp(&text, &text_bytes, key->path, FILE_BYTES_MAX,
                                        store->allocator, err);
    if (status != MMH_OK)
        return status;
    store->count++; /* its identity goes with the store */
    status = trusted_read(key, (const char *)text, text_bytes, store->allocator, &store->arena,
                          err);
    mmh_free(store->allocator, text);
    return status;
}

static void forget(struct mmh_trust_store *store)
{
    for (size_t i = 0; i < store->count; i++)
        mmh_identity_destroy(store->keys[i].identity);
    store->count = 0;
    store->keys = NULL;
    mmh_arena_release(&store->arena);
}

static mmh_status read_all(struct mmh_trust_store *store, mmh_error *err)
{
    const struct mmh_list_limits limits = { .entries = STORE_KEYS_MAX };
    struct mmh_path_info info, *entries;
    mmh_folder *folder = NULL;
    size_t count;
    forget(store);
    mmh_status status = mmh_path_stat(&info, store->path, true, err);
    if (status != MMH_OK || info.kind == MMH_PATH_NONE)
        return status;
    if (info.kind != MMH_PATH_FOLDER)
        return mmh_fail(err, MMH_E_USAGE, "the trust store \"%s\" is no folder", store->path);
    if (info.mode & 2)
        return mmh_fail(err, MMH_E_UNTRUSTED,
                        "every user may write to the trust store \"%s\": nothing in it is believed",
                        store->path);
    status = mmh_folder_open(&folder, store->path, false, store->allocator, err);
    if (status == MMH_OK)
        status = mmh_folder_list(&entries, &count, &store->arena, folder, &limits, err);
    mmh_folder_close(folder);
    if (status != MMH_OK)
        return status;
    store->keys = mmh_arena_array(&store->arena, count, sizeof *store->keys);
    if (!store->keys)
        return no_memory(err);
    for (size_t i = 0; i < count && status == MMH_OK; i++)
        if (!mmh_path_is_temporary(entries[i].path, strlen(entries[i].path)))
            status = read_entry(store, &entries[i], err);
    return status;
}

mmh_status mmh_trust_store_open(struct mmh_trust_store *store, const char *path,
                                const mmh_allocator *allocator, mmh_error *err)
{
    const size_t bytes = strlen(path) + 1;
    memset(store, 0, sizeof *store);
    store->allocator = allocator;
    mmh_arena_init(&store->arena, allocator);
    store->path = mmh_alloc(allocator, 0, bytes);
    if (!store->path)
        return no_memory(err);
    memcpy(store->path, path, bytes);
    return read_all(store, err);
}

void mmh_trust_store_release(struct mmh_trust_store *store)
{
    forget(store);
    mmh_free(store->allocator, store->path);
    store->path = NULL;
}

/* ---- finding ---- */

bool mmh_trusted_is_believed(const struct mmh_trusted *key, uint64_t now_seconds)
{
    return !key->revoked_seconds && (!key->expires_seconds || now_seconds < key->expires_seconds);
}

/* Whether digits [bytes] are how a fingerprint begins. */
static bool begins_so(const uint8_t *fingerprint, const char *digits, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        const unsigned nibble = fingerprint[i / 2] >> (i % 2 ? 0 : 4) & 15;
        const char lower = digits[i] >= 'A' && digits[i] <= 'F' ? (char)(digits[i] + 32)
                                                                : digits[i];
        if (lower != "0123456789abcdef"[nibble])
            return false;
    }
    return true;
}

mmh_status mmh_trust_store_find(const struct mmh_trust_store *store, const char *name,
                                size_t *number, mmh_error *err)
{
    const size_t bytes = strlen(name);
    size_t found = 0;
    for (size_t i = 0; i < store->count; i++)
        if (strcmp(store->keys[i].name, name) == 0) {
            *number = i;
            return MMH_OK;
        }
    for (size_t i = 0;
         i < store->count && bytes >= FINGERPRINT_DIGITS_MIN && bytes <= 2 * MMH_FINGERPRINT_BYTES;
         i++) {
        const mmh_identity *identity = store->keys[i].identity;
        bool is_it = false;
        for (size_t p = 0; p < identity->part_count; p++)
            is_it = is_it || begins_so(identity->parts[p].fingerprint, name, bytes);
        found += is_it;
        if (is_it)
            *number = i;
    }
    if (found == 1)
        return MMH_OK;
    return found ? mmh_fail(err, MMH_E_USAGE, "%zu keys of the trust store begin with \"%s\"",
                            found, name)
                 : mmh_fail(err, MMH_E_USAGE, "there is no key \"%s\" in the trust store \"%s\"",
                            name, store->path);
}

const struct mmh_trusted *mmh_trust_store_by_fingerprint(const struct mmh_trust_store *store,
                                                         const uint8_t *fingerprint)
{
    for (size_t i = 0; i < store->count; i++) {
        const mmh_identity *identity = store->keys[i].identity;
        for (size_t p = 0; p < identity->part_count; p++)
            if (memcmp(identity->parts[p].fingerprint, fingerprint, MMH_FINGERPRINT_BYTES) == 0)
                return &store->keys[i];
    }
    return NULL;
}

/* ---- changing ---- */

/* Let nobody else change the store until the handle is closed. */
static mmh_status lock(mmh_folder **folder, const struct mmh_trust_store *store, mmh_error *err)
{
    mmh_status status = mmh_folder_open(folder, store->path, true, store->allocator, err);
    if (status == MMH_OK)
        mmh_folder_lock(*folder);
    return status;
}

static mmh_status write_key(const struct mmh_trust_store *store, const mmh_folder *folder,
                            const struct mmh_trusted *key, const mmh_identity *identity,
                            bool overwrite, mmh_error *err)
{
    const struct mmh_output_options options = { .overwrite = overwrite, .mode = 0644 };
    char file[MMH_TRUSTED_NAME_MAX + sizeof suffix];
    struct mmh_buffer text;
    mmh_output *output = NULL;
    (void)snprintf(file, sizeof file, "%s%s", key->name, suffix);
    mmh_buffer_init(&text, store->allocator);
    mmh_status status = trusted_write(&text, key, identity, err);
    if (status == MMH_OK)
        status = mmh_output_create_beneath(&output, folder, file, &options, store->allocator, err);
    if (status == MMH_OK)
        status = mmh_output_append(output, text.data, text.bytes, err);
    if (status == MMH_OK)
        status = mmh_output_commit(output, err);
    mmh_output_close(output);
    mmh_buffer_release(&text);
    return status;
}

/* Why a key cannot be added: its name, or one of its parts, is there. */
static mmh_status check_new(const struct mmh_trust_store *store, const char *name,
                            const mmh_identity *identity, mmh_error *err)
{
    for (size_t i = 0; i < identity->part_count; i++) {
        const struct mmh_trusted *key =
            mmh_trust_store_by_fingerprint(store, identity->parts[i].fingerprint);
        if (key && key->revoked_seconds)
            return mmh_fail(err, MMH_E_UNTRUSTED,
                            "that key is in the trust store as \"%s\", revoked", key->name);
        if (key)
            return mmh_fail(err, MMH_E_USAGE, "that key is in the trust store already, as \"%s\"",
                            key->name);
    }
    for (size_t i = 0; i < store->count; i++)
        if (strcmp(store->keys[i].name, name) == 0)
            return mmh_fail(err, MMH_E_USAGE, "the trust store has another key \"%s\"", name);
    return MMH_OK;
}

mmh_status mmh_trust_store_add(struct mmh_trust_store *store, const char *name,
                               const mmh_identity *identity, uint64_t now_seconds,
                               uint64_t expires_seconds, const char *successor_of, mmh_error *err)
{
    const struct mmh_trusted key = { .name = name,
                                     .added_seconds = now_seconds,
                                     .expires_seconds = expires_seconds,
                                     .reason = "",
                                     .successor_of = successor_of ? successor_of : "" };
    mmh_folder *folder = NULL;
    mmh_status status = mmh_trusted_name_check(name, err);
    if (status == MMH_OK && !identity->part_count)
        status = mmh_fail(err, MMH_E_USAGE, "there is no key in what is to be believed");
    if (status == MMH_OK && expires_seconds && expires_seconds <= now_seconds)
        status = mmh_fail(err, MMH_E_USAGE, "that key would have expired already");
    if (status == MMH_OK)
        status = lock(&folder, store, err);
    if (status == MMH_OK)
        status = read_all(store, err); /* what others have added meanwhile */
    if (status == MMH_OK)
        status = check_new(store, name, identity, err);
    if (status == MMH_OK)
        status = write_key(store, folder, &key, identity, false, err);
    mmh_folder_close(folder);
    return status == MMH_OK ? read_all(store, err) : status;
}

/* Begin a change of key number `number`: the lock is taken and the store read anew, after which it may have
 * another number, or be gone. */
static mmh_status begin_change(struct mmh_trust_store *store, size_t *number, mmh_folder **folder,
                               mmh_error *err)
{
    char name[MMH_TRUSTED_NAME_MAX + 1];
    *folder = NULL;
    if (*number >= store->count)
        return mmh_fail(err, MMH_E_USAGE, "there is no key %zu in the trust store", *number);
    (void)snprintf(name, sizeof name, "%s", store->keys[*number].name);
    mmh_status status = lock(folder, store, err);
    if (status == MMH_OK)
        status = read_all(store, err);
    for (*number = 0; status == MMH_OK && *number < store->count; ++*number)
        if (strcmp(store->keys[*number].name, name) == 0)
            return MMH_OK;
    return status == MMH_OK
             ? mmh_fail(err, MMH_E_USAGE, "\"%s\" is no longer in the trust store", name)
             : status;
}

/* Write the key as it is in memory by now, and read all again. */
static mmh_status end_change(struct mmh_trust_store *store, size_t number, mmh_folder *folder,
                             mmh_status status, mmh_error *err)
{
    if (status == MMH_OK)
        status = write_key(store, folder, &store->keys[number], store->keys[number].identity, true,
                           err);
    mmh_folder_close(folder);
    return status == MMH_OK ? read_all(store, err) : status;
}

mmh_status mmh_trust_store_revoke(struct mmh_trust_store *store, size_t number, const char *reason,
                                  uint64_t now_seconds, mmh_error *err)
{
    mmh_folder *folder;
    mmh_status status = begin_change(store, &number, &folder, err);
    if (status == MMH_OK && store->keys[number].revoked_seconds)
        status = mmh_fail(err, MMH_E_USAGE, "\"%s\" is revoked already", store->keys[number].name);
    if (status == MMH_OK) {
        store->keys[number].revoked_seconds = now_seconds ? now_seconds : 1;
        store->keys[number].reason = one_line(&store->arena, reason);
        if (!store->keys[number].reason)
            status = no_memory(err);
    }
    return end_change(store, number, folder, status, err);
}

mmh_status mmh_trust_store_expire(struct mmh_trust_store *store, size_t number,
                                  uint64_t expires_seconds, mmh_error *err)
{
    mmh_folder *folder;
    mmh_status status = begin_change(store, &number, &folder, err);
    if (status == MMH_OK)
        store->keys[number].expires_seconds = expires_seconds;
    return end_change(store, number, folder, status, err);
}

mmh_status mmh_trust_store_remove(struct mmh_trust_store *store, size_t number, mmh_error *err)
{
    char file[MMH_TRUSTED_NAME_MAX + sizeof suffix];
    mmh_folder *folder;
    mmh_status status = begin_change(store, &number, &folder, err);
    if (status == MMH_OK) {
        (void)snprintf(file, sizeof file, "%s%s", store->keys[number].name, suffix);
        status = mmh_folder_remove(folder, file, err);
    }
    mmh_folder_close(folder);
    return status == MMH_OK ? read_all(store, err) : status;
}

mmh_status mmh_trust_store_count(struct mmh_trust_store *store, size_t number, const char *subject,
                                 uint64_t counter, mmh_error *err)
{
    mmh_folder *folder;
    mmh_status status = begin_change(store, &number, &folder, err);
    struct mmh_trusted *key = status == MMH_OK ? &store->keys[number] : NULL;
    const char *line = key ? one_line(&store->arena, subject) : NULL;
    bool changed = false;
    size_t i = 0;
    if (key && !line)
        status = no_memory(err);
    while (status == MMH_OK && i < key->counter_count &&
           strcmp(key->counters[i].subject, line) != 0)
        i++;
    if (status == MMH_OK && i < key->counter_count && counter < key->counters[i].counter)
        status = mmh_fail(err, MMH_E_UNTRUSTED,
                          "the signature by \"%s\" has counter %" PRIu64 ", and %" PRIu64
                          " was seen before: this is an older version",
                          key->name, counter, key->counters[i].counter);
    else if (status == MMH_OK && i == key->counter_count && counter) {
        if (i == MMH_TRUSTED_COUNTERS_MAX)
            status = mmh_fail(err, MMH_E_LIMIT, "\"%s\" has counters for %zu subjects, the most",
                              key->name, i);
        else
            key->counters[key->counter_count++] = (struct mmh_trusted_counter){ line, counter };
        changed = true;
    } else if (status == MMH_OK && i < key->counter_count && counter > key->counters[i].counter) {
        key->counters[i].counter = counter;
        changed = true;
    }
    if (status == MMH_OK && !changed) {
        mmh_folder_close(folder);
        return MMH_OK;
    }
    return end_change(store, number, folder, status, err);
}
