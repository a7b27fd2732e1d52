/*
 * The trust store: what it keeps, what it refuses to believe, and how a key hands over to the next.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "counting.h"
#include "crypto/secret.h"
#include "mmh_trust.h"
#include "scratch.h"
#include "trust/store.h"

enum { NOW = 1800000000, YEAR = 31536000 };

static mmh_identity *alice, *bob, *carol;

static int keys_make(void **state)
{
    if (scratch_make(state))
        return -1;
    return mmh_identity_generate(&alice, "ml-dsa-65-ed25519", "x-wing", 0, &counting, NULL) ||
                   mmh_identity_generate(&bob, "ed25519", NULL, 0, &counting, NULL) ||
                   mmh_identity_generate(&carol, "ml-dsa-44", "x25519", 0, &counting, NULL)
             ? -1
             : 0;
}

static int keys_drop(void **state)
{
    mmh_identity_destroy(alice);
    mmh_identity_destroy(bob);
    mmh_identity_destroy(carol);
    return scratch_remove(state) || allocated ? -1 : 0;
}

/* A new folder for each test. */
static const char *new_folder(void)
{
    static char path[300];
    static int number;
    snprintf(path, sizeof path, "%s/store-%d", scratch_folder, number++);
    return path;
}

static struct mmh_trust_store opened(const char *path)
{
    struct mmh_trust_store store;
    mmh_error err = { 0 };
    if (mmh_trust_store_open(&store, path, &counting, &err) != MMH_OK)
        fail_msg("%s", err.message);
    return store;
}

static void add(struct mmh_trust_store *store, const char *name, const mmh_identity *identity)
{
    mmh_error err = { 0 };
    if (mmh_trust_store_add(store, name, identity, NOW, 0, NULL, &err) != MMH_OK)
        fail_msg("%s", err.message);
}

#define assert_refused(call, expected, words)                           \
    do {                                                                \
        mmh_error err = { 0 };                                          \
        assert_int_equal(call, expected);                               \
        if (!strstr(err.message, words))                                \
            fail_msg("\"%s\" does not say \"%s\"", err.message, words); \
    } while (0)

static char *file_of(const char *folder, const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s.trusted", folder, name);
    return path;
}

/* ---- keeping ---- */

static void test_keys_come_back_as_they_were_added(void **state)
{
    const char *folder = new_folder();
    struct mmh_trust_store store = opened(folder), again;
    size_t number;
    (void)state;
    assert_int_equal(store.count, 0);
    add(&store, "bob@example.org", bob);
    add(&store, "alice", alice);
    assert_int_equal(mmh_trust_store_expire(&store, 1, NOW + YEAR, NULL), MMH_OK);
    assert_int_equal(mmh_trust_store_count(&store, 0, "llama", 7, NULL), MMH_OK);
    assert_int_equal(mmh_trust_store_revoke(&store, 1, "stolen\nin a train", NOW + 5, NULL),
                     MMH_OK);
    again = opened(folder);
    for (int i = 0; i < 2; i++) {
        struct mmh_trust_store *seen = i ? &again : &store;
        assert_int_equal(seen->count, 2);
        assert_string_equal(seen->keys[0].name, "alice"); /* by name */
        assert_string_equal(seen->keys[1].name, "bob@example.org");
        assert_int_equal(seen->keys[0].added_seconds, NOW);
        assert_int_equal(seen->keys[0].revoked_seconds, 0);
        assert_int_equal(seen->keys[0].counter_count, 1);
        assert_string_equal(seen->keys[0].counters[0].subject, "llama");
        assert_int_equal(seen->keys[0].counters[0].counter, 7);
        assert_int_equal(seen->keys[1].expires_seconds, NOW + YEAR);
        assert_int_equal(seen->keys[1].revoked_seconds, NOW + 5);
        assert_string_equal(seen->keys[1].reason, "stolen in a train");
        assert_int_equal(seen->keys[0].identity->part_count, 2);
        for (size_t p = 0; p < 2; p++) {
            assert_false(seen->keys[0].identity->parts[p].secret);
            assert_memory_equal(seen->keys[0].identity->parts[p].fingerprint,
                                alice->parts[p].fingerprint, MMH_FINGERPRINT_BYTES);
        }
        assert_int_equal(mmh_trust_store_find(seen, "alice", &number, NULL), MMH_OK);
        assert_int_equal(number, 0);
    }
    mmh_trust_store_release(&again);
    mmh_trust_store_release(&store);
}

static void test_keys_are_found_by_fingerprints(void **state)
{
    struct mmh_trust_store store = opened(new_folder());
    char print[65];
    size_t number;
    (void)state;
    add(&store, "alice", alice);
    add(&store, "bob", bob);
    for (size_t p = 0; p < 2; p++) {
        for (size_t i = 0; i < 32; i++)
            sprintf(print + 2 * i, i % 2 ? "%02X" : "%02x", alice->parts[p].fingerprint[i]);
        for (size_t digits = 64; digits >= 8; digits--) {
            print[digits] = 0;
            assert_int_equal(mmh_trust_store_find(&store, print, &number, NULL), MMH_OK);
            assert_int_equal(number, 0);
        }
        print[7] = 0; /* too few to be sure */
        assert_int_equal(mmh_trust_store_find(&store, print, &number, NULL), MMH_E_USAGE);
    }
    assert_int_equal(mmh_trust_store_find(&store, "0000000000", &number, NULL), MMH_E_USAGE);
    assert_int_equal(mmh_trust_store_find(&store, "", &number, NULL), MMH_E_USAGE);
    mmh_trust_store_release(&store);
}

static void test_names_and_keys_are_there_once(void **state)
{
    static const char *const bad_names[] = { "",   ".hidden", "-option",  "a/b",
                                             "..", "a b",     "\xc3\xa4", "a\nb" };
    char long_name[66];
    struct mmh_trust_store store = opened(new_folder());
    (void)state;
    add(&store, "alice", alice);
    assert_refused(mmh_trust_store_add(&store, "alice", bob, NOW, 0, NULL, &err), MMH_E_USAGE,
                   "another key \"alice\"");
    assert_refused(mmh_trust_store_add(&store, "alicia", alice, NOW, 0, NULL, &err), MMH_E_USAGE,
                   "already, as \"alice\"");
    memset(long_name, 'a', 65);
    long_name[65] = 0;
    assert_refused(mmh_trust_store_add(&store, long_name, bob, NOW, 0, NULL, &err), MMH_E_USAGE,
                   "no name for a key");
    long_name[64] = 0;
    add(&store, long_name, bob);
    for (size_t i = 0; i < MMH_COUNT_OF(bad_names); i++)
        assert_refused(mmh_trust_store_add(&store, bad_names[i], carol, NOW, 0, NULL, &err),
                       MMH_E_USAGE, "no name for a key");
    assert_refused(mmh_trust_store_add(&store, "carol", carol, NOW, NOW, NULL, &err), MMH_E_USAGE,
                   "expired already");
    assert_int_equal(store.count, 2);
    mmh_trust_store_release(&store);
}

static void test_a_revoked_key_stays_out(void **state)
{
    struct mmh_trust_store store = opened(new_folder());
    (void)state;
    add(&store, "alice", alice);
    assert_true(mmh_trusted_is_believed(&store.keys[0], NOW));
    assert_int_equal(mmh_trust_store_revoke(&store, 0, "lost", NOW, NULL), MMH_OK);
    assert_false(mmh_trusted_is_believed(&store.keys[0], NOW));
    assert_refused(mmh_trust_store_add(&store, "alice-again", alice, NOW, 0, NULL, &err),
                   MMH_E_UNTRUSTED, "as \"alice\", revoked");
    assert_refused(mmh_trust_store_revoke(&store, 0, "twice", NOW, &err), MMH_E_USAGE, "already");
    assert_int_equal(mmh_trust_store_remove(&store, 0, NULL), MMH_OK);
    assert_int_equal(store.count, 0);
    add(&store, "alice", alice);
    mmh_trust_store_release(&store);
}

static void test_an_expired_key_is_not_believed(void **state)
{
    struct mmh_trust_store store = opened(new_folder());
    (void)state;
    assert_int_equal(mmh_trust_store_add(&store, "bob", bob, NOW, NOW + 10, NULL, NULL), MMH_OK);
    assert_true(mmh_trusted_is_believed(&store.keys[0], NOW + 9));
    assert_false(mmh_trusted_is_believed(&store.keys[0], NOW + 10));
    assert_int_equal(mmh_trust_store_expire(&store, 0, 0, NULL), MMH_OK);
    assert_true(mmh_trusted_is_believed(&store.keys[0], NOW + 10));
    mmh_trust_store_release(&store);
}

static void test_an_older_version_is_seen(void **state)
{
    const char *folder = new_folder();
    struct mmh_trust_store store = opened(folder);
    (void)state;
    add(&store, "alice", alice);
    assert_int_equal(mmh_trust_store_count(&store, 0, "", 0, NULL), MMH_OK); /* no counter yet */
    assert_int_equal(mmh_trust_store_count(&store, 0, "", 5, NULL), MMH_OK);
    mmh_trust_store_release(&store);
    store = opened(folder);
    assert_int_equal(mmh_trust_store_count(&store, 0, "", 5, NULL), MMH_OK);
    assert_refused(mmh_trust_store_count(&store, 0, "", 4, &err), MMH_E_UNTRUSTED,
                   "counter 4, and 5 was seen before");
    assert_refused(mmh_trust_store_count(&store, 0, "", 0, &err), MMH_E_UNTRUSTED, "older version");
    assert_int_equal(mmh_trust_store_count(&store, 0, "other", 1, NULL), MMH_OK);
    assert_int_equal(mmh_trust_store_count(&store, 0, "", UINT64_MAX, NULL), MMH_OK);
    mmh_trust_store_release(&store);
    store = opened(folder);
    assert_int_equal(store.keys[0].counters[0].counter, UINT64_MAX);
    assert_refused(mmh_trust_store_count(&store, 0, "", 6, &err), MMH_E_UNTRUSTED, "older version");
    mmh_trust_store_release(&store);
}

/* What one process changes does not undo what another has. */
static void test_two_processes_keep_each_others_changes(void **state)
{
    const char *folder = new_folder();
    struct mmh_trust_store first = opened(folder), second;
    (void)state;
    add(&first, "alice", alice);
    second = opened(folder);
    assert_int_equal(mmh_trust_store_revoke(&second, 0, "stolen", NOW, NULL), MMH_OK);
    add(&second, "aaron", bob);
    /* The first has seen neither, and means alice by number 0. */
    assert_int_equal(mmh_trust_store_expire(&first, 0, NOW + YEAR, NULL), MMH_OK);
    assert_int_equal(first.count, 2);
    assert_string_equal(first.keys[1].name, "alice");
    assert_int_equal(first.keys[1].revoked_seconds, NOW);
    assert_int_equal(first.keys[1].expires_seconds, NOW + YEAR);
    assert_int_equal(mmh_trust_store_remove(&second, 1, NULL), MMH_OK);
    assert_refused(mmh_trust_store_expire(&first, 1, 0, &err), MMH_E_USAGE, "no longer");
    mmh_trust_store_release(&first);
    mmh_trust_store_release(&second);
}

/* ---- refusing ---- */

/* Nothing of the store is believed, and the message names the file. */
static void assert_store_refused(const char *folder, const char *file)
{
    struct mmh_trust_store store;
    mmh_error err = { 0 };
    const mmh_status status = mmh_trust_store_open(&store, folder, &counting, &err);
    mmh_trust_store_release(&store);
    if (status == MMH_OK || !strstr(err.message, file))
        fail_msg("%d, \"%s\" does not name \"%s\"", status, err.message, file);
}

/* Each byte of a file changed in three ways, and each truncation. */
static void test_a_damaged_file_is_never_believed(void **state)
{
    static const uint8_t flips[] = { 1, 0x80, 0xff };
    const char *folder = new_folder();
    struct mmh_trust_store store = opened(folder);
    size_t bytes = 0;
    (void)state;
    add(&store, "bob", bob);
    add(&store, "carol", carol);
    assert_int_equal(mmh_trust_store_revoke(&store, 0, "because", NOW, NULL), MMH_OK);
    mmh_trust_store_release(&store);
    uint8_t *text = read_file(file_of(folder, "bob"), &bytes);
    assert_non_null(text);
    for (size_t i = 0; i < bytes; i++) {
        for (size_t f = 0; f < 3; f++) {
            text[i] ^= flips[f];
            write_file(file_of(folder, "bob"), text, bytes);
            assert_store_refused(folder, "bob.trusted");
            text[i] ^= flips[f];
        }
        write_file(file_of(folder, "bob"), text, i);
        assert_store_refused(folder, "bob.trusted");
    }
    write_file(file_of(folder, "bob"), text, bytes);
    store = opened(folder);
    assert_int_equal(store.count, 2);
    mmh_trust_store_release(&store);
    /* Under another name it is not what it says. */
    write_file(file_of(folder, "bobby"), text, bytes);
    assert_store_refused(folder, "bobby.trusted");
    free(text);
}

static void test_foreign_files_are_refused_by_name(void **state)
{
    static const char *const names[] = { "readme.txt",  "key.pem",      ".trusted",
                                         "a b.trusted", "key.trusted~", ".hidden.trusted" };
    const char *folder = new_folder();
    struct mmh_trust_store store = opened(folder);
    char path[512];
    (void)state;
    add(&store, "bob", bob);
    mmh_trust_store_release(&store);
    for (size_t i = 0; i < MMH_COUNT_OF(names); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        write_file(path, "x", 1);
        assert_store_refused(folder, names[i]);
        assert_int_equal(remove(path), 0);
    }
    snprintf(path, sizeof path, "%s/folder.trusted", folder);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_store_refused(folder, "folder.trusted");
    assert_int_equal(rmdir(path), 0);
    snprintf(path, sizeof path, "%s/link.trusted", folder);
    assert_int_equal(symlink(file_of(folder, "bob"), path), 0);
    assert_store_refused(folder, "link.trusted");
    assert_int_equal(remove(path), 0);
    assert_int_equal(chmod(file_of(folder, "bob"), 0666), 0);
    assert_store_refused(folder, "bob.trusted");
    assert_int_equal(chmod(file_of(folder, "bob"), 0644), 0);
    assert_int_equal(chmod(folder, 0777), 0);
    assert_store_refused(folder, folder);
    assert_int_equal(chmod(folder, 0755), 0);
    store = opened(folder); /* what a killed writer has left is no matter */
    mmh_trust_store_release(&store);
    snprintf(path, sizeof path, "%s/.mmh-0123456789abcdef.tmp", folder);
    write_file(path, "x", 1);
    store = opened(folder);
    assert_int_equal(store.count, 1);
    mmh_trust_store_release(&store);
    assert_store_refused(file_of(folder, "bob"), "no folder");
}

/* ---- successors ---- */

static struct mmh_buffer statement(const mmh_identity *old, const mmh_identity *next,
                                   const char *name)
{
    struct mmh_buffer text;
    mmh_error err = { 0 };
    mmh_buffer_init(&text, &counting);
    if (mmh_successor_make(&text, old, next, name, NOW, &err) != MMH_OK)
        fail_msg("%s", err.message);
    return text;
}

static mmh_status accept(struct mmh_trust_store *store, const struct mmh_buffer *text,
                         mmh_error *err)
{
    size_t number;
    return mmh_trust_store_accept(store, (const char *)text->data, text->bytes, "statement", NULL,
                                  NOW + 1, &number, err);
}

static void test_a_chain_of_successors_is_followed(void **state)
{
    struct mmh_trust_store store = opened(new_folder());
    struct mmh_buffer first = statement(alice, bob, "bob"), second = statement(bob, carol, "carol");
    (void)state;
    add(&store, "alice", alice);
    assert_refused(accept(&store, &second, &err), MMH_E_UNTRUSTED, "not in the trust store");
    assert_int_equal(accept(&store, &first, NULL), MMH_OK);
    assert_int_equal(accept(&store, &second, NULL), MMH_OK);
    assert_int_equal(store.count, 3);
    assert_string_equal(store.keys[1].successor_of, "alice");
    assert_string_equal(store.keys[2].successor_of, "bob");
    assert_true(mmh_trusted_is_believed(&store.keys[0], NOW)); /* stays what it is */
    assert_int_equal(store.keys[2].identity->part_count, 2);
    assert_refused(accept(&store, &second, &err), MMH_E_USAGE, "already");
    mmh_buffer_release(&first);
    mmh_buffer_release(&second);
    mmh_trust_store_release(&store);
}

static void test_successors_of_keys_that_are_not_believed_are_refused(void **state)
{
    struct mmh_trust_store store = opened(new_folder());
    struct mmh_buffer text = statement(alice, bob, "bob");
    (void)state;
    assert_int_equal(mmh_trust_store_add(&store, "alice", alice, NOW - 9, NOW, NULL, NULL), MMH_OK);
    assert_refused(accept(&store, &text, &err), MMH_E_UNTRUSTED, "has expired");
    assert_int_equal(mmh_trust_store_expire(&store, 0, 0, NULL), MMH_OK);
    assert_int_equal(mmh_trust_store_revoke(&store, 0, "stolen", NOW + 1, NULL), MMH_OK);
    assert_refused(accept(&store, &text, &err), MMH_E_UNTRUSTED, "which is revoked");
    assert_int_equal(store.count, 1);
    mmh_buffer_release(&text);
    mmh_trust_store_release(&store);
}

static void test_a_changed_statement_is_refused(void **state)
{
    static const uint8_t flips[] = { 1, 0x80, 0xff };
    struct mmh_trust_store store = opened(new_folder());
    struct mmh_buffer text = statement(carol, bob, "bob");
    (void)state;
    add(&store, "carol", carol);
    for (size_t i = 0; i < text.bytes; i++) {
        for (size_t f = 0; f < 3; f++) {
            text.data[i] ^= flips[f];
            mmh_status status = accept(&store, &text, NULL);
            assert_true(status == MMH_E_UNTRUSTED || status == MMH_E_CORRUPT ||
                        status == MMH_E_KEY);
            text.data[i] ^= flips[f];
        }
        struct mmh_buffer cut = { .data = text.data, .bytes = i };
        assert_int_not_equal(accept(&store, &cut, NULL), MMH_OK);
    }
    assert_int_equal(store.count, 1);
    assert_int_equal(accept(&store, &text, NULL), MMH_OK);
    mmh_buffer_release(&text);
    mmh_trust_store_release(&store);
}

/* The new key must have signed, too: nobody makes another's key his own. */
static void test_a_successor_that_has_not_agreed_is_refused(void **state)
{
    struct mmh_trust_store store = opened(new_folder());
    struct mmh_buffer text = statement(alice, bob, "bob");
    mmh_error err = { 0 };
    (void)state;
    add(&store, "alice", alice);
    assert_true(text.data[text.bytes - 1] == '\n');
    do
        text.bytes--;
    while (text.data[text.bytes - 1] != '\n'); /* bob's line */
    assert_int_equal(accept(&store, &text, &err), MMH_E_UNTRUSTED);
    assert_non_null(strstr(err.message, "the new key has not signed"));
    mmh_buffer_release(&text);
    mmh_trust_store_release(&store);
}

static void test_successors_need_private_keys(void **state)
{
    struct mmh_trust_store store = opened(new_folder());
    struct mmh_buffer text;
    mmh_identity *decrypts;
    (void)state;
    mmh_buffer_init(&text, &counting);
    add(&store, "bob", bob);
    const mmh_identity *public_bob = store.keys[0].identity;
    assert_refused(mmh_successor_make(&text, public_bob, alice, "a", NOW, &err), MMH_E_KEY, "old");
    assert_refused(mmh_successor_make(&text, alice, public_bob, "a", NOW, &err), MMH_E_KEY, "new");
    assert_refused(mmh_successor_make(&text, alice, bob, "a/b", NOW, &err), MMH_E_USAGE, "name");
    assert_int_equal(mmh_identity_generate(&decrypts, NULL, "x25519", 0, &counting, NULL), MMH_OK);
    assert_refused(mmh_successor_make(&text, decrypts, bob, "a", NOW, &err), MMH_E_KEY,
                   "no part that signs");
    mmh_identity_destroy(decrypts);
    mmh_buffer_release(&text);
    mmh_trust_store_release(&store);
}

/* ---- times ---- */

static void test_times_come_back(void **state)
{
    static const struct {
        uint64_t seconds;
        const char *text;
    } known[] = { { 0, "1970-01-01T00:00:00Z" },
                  { 951782400, "2000-02-29T00:00:00Z" },
                  { 951868800, "2000-03-01T00:00:00Z" },
                  { 1700000000, "2023-11-14T22:13:20Z" },
                  { 4107542399, "2100-02-28T23:59:59Z" },
                  { 4107542400, "2100-03-01T00:00:00Z" },
                  { UINT64_C(253402300799), "9999-12-31T23:59:59Z" } };
    static const char *const wrong[] = { "2023-11-14T22:13:20",  "2023-11-14 22:13:20Z",
                                         "2023-02-29T00:00:00Z", "2023-04-31T00:00:00Z",
                                         "2023-13-01T00:00:00Z", "2023-00-01T00:00:00Z",
                                         "2023-01-01T24:00:00Z", "2023-01-01T00:60:00Z",
                                         "1969-12-31T23:59:59Z", "2100-02-29T00:00:00Z",
                                         "+023-01-01T00:00:00Z", "" };
    char text[24];
    uint64_t seconds;
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(known); i++) {
        mmh_time_text(text, known[i].seconds);
        assert_string_equal(text, known[i].text);
        assert_true(mmh_time_from_text(&seconds, known[i].text, 20));
        assert_true(seconds == known[i].seconds);
    }
    for (uint64_t at = 12345; at < UINT64_C(253402300799); at += UINT64_C(86399) * 97) {
        mmh_time_text(text, at);
        assert_true(mmh_time_from_text(&seconds, text, strlen(text)));
        assert_true(seconds == at);
    }
    for (size_t i = 0; i < MMH_COUNT_OF(wrong); i++)
        assert_false(mmh_time_from_text(&seconds, wrong[i], strlen(wrong[i])));
}

/* ---- faults ---- */

/* Fail each allocation, and each call of the system, in turn: told, no leak, and the store is what it was
 * or what it was to become. */
static void test_faults_leave_a_store_that_can_be_read(void **state)
{
    const char *folder = new_folder();
    struct mmh_trust_store store = opened(folder);
    (void)state;
    add(&store, "bob", bob);
    mmh_trust_store_release(&store);
    for (int kind = 0; kind < 2; kind++)
        for (size_t n = 1;; n++) {
            const size_t before = allocated;
            mmh_error err = { 0 };
            if (kind)
                (void)mmh_io_fail_after(n);
            else
                allocations_left = n - 1;
            mmh_status status = mmh_trust_store_open(&store, folder, &counting, &err);
            if (status == MMH_OK)
                status = mmh_trust_store_add(&store, "carol", carol, NOW, 0, NULL, &err);
            mmh_trust_store_release(&store);
            (void)mmh_io_fail_after(0);
            allocations_left = SIZE_MAX;
            assert_int_equal(allocated, before);
            assert_true(status == MMH_OK || status == (kind ? MMH_E_IO : MMH_E_MEMORY));
            store = opened(folder);
            assert_true(store.count == 1 || store.count == 2);
            assert_true(status != MMH_OK || store.count == 2);
            if (store.count == 2)
                assert_int_equal(mmh_trust_store_remove(&store, 1, NULL), MMH_OK);
            mmh_trust_store_release(&store);
            assert_int_equal(entry_count(folder), 1);
            if (status == MMH_OK) {
                assert_true(n > 4);
                break;
            }
        }
}

/* ---- the public interface ---- */

static void test_the_public_store(void **state)
{
    const char *folder = new_folder();
    mmh_key *key, *next;
    mmh_store *store;
    mmh_store_key info = { .struct_size = sizeof info };
    mmh_key_info part = { .struct_size = sizeof part };
    const mmh_key *const *signers;
    const uint64_t *expires;
    size_t count, number;
    mmh_error err = { 0 };
    (void)state;
    assert_int_equal(mmh_key_generate(&key, "ed25519,x25519", 0, NULL), MMH_OK);
    assert_int_equal(mmh_key_generate(&next, "ed25519", 0, NULL), MMH_OK);
    assert_int_equal(mmh_key_part(key, 0, &part, NULL), MMH_OK);
    assert_int_equal(mmh_store_open(&store, folder, NULL), MMH_OK);
    assert_int_equal(mmh_store_key_at(store, 0, &info, NULL), MMH_E_USAGE);
    assert_int_equal(mmh_store_signers(store, &signers, &expires, &count, NULL), MMH_OK);
    assert_int_equal(count, 0);
    assert_int_equal(mmh_store_add(store, "me", key, 4102444800, NULL), MMH_OK);
    assert_int_equal(mmh_store_key_at(store, 0, &info, NULL), MMH_OK);
    assert_string_equal(info.name, "me");
    assert_true(info.believed && info.key && info.expires_seconds == 4102444800);
    assert_int_equal(mmh_store_signers(store, &signers, &expires, &count, NULL), MMH_OK);
    assert_int_equal(count, 1);
    assert_true(expires[0] == 4102444800);
    assert_int_equal(mmh_key_part(signers[0], 0, &part, NULL), MMH_OK);
    assert_false(part.secret);
    assert_true(mmh_store_counter(store, part.fingerprint, NULL) == 0);
    assert_int_equal(mmh_store_note_counter(store, part.fingerprint, NULL, 3, NULL), MMH_OK);
    assert_true(mmh_store_counter(store, part.fingerprint, NULL) == 3);
    assert_int_equal(mmh_store_note_counter(store, part.fingerprint, NULL, 2, NULL),
                     MMH_E_UNTRUSTED);
    assert_int_equal(
        mmh_successor_write(key, next, "me-2", 1700000000, at("statement"), false, NULL), MMH_OK);
    if (mmh_store_accept(store, at("statement"), NULL, &number, &err) != MMH_OK)
        fail_msg("%s", err.message);
    assert_int_equal(mmh_store_key_at(store, number, &info, NULL), MMH_OK);
    assert_string_equal(info.name, "me-2");
    assert_string_equal(info.successor_of, "me");
    assert_int_equal(mmh_store_find(store, "me", &number, NULL), MMH_OK);
    assert_int_equal(mmh_store_revoke(store, number, "old", NULL), MMH_OK);
    assert_int_equal(mmh_store_signers(store, &signers, &expires, &count, NULL), MMH_OK);
    assert_int_equal(count, 1); /* me-2 */
    mmh_store_close(store);
    mmh_key_destroy(key);
    mmh_key_destroy(next);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_come_back_as_they_were_added),
        cmocka_unit_test(test_keys_are_found_by_fingerprints),
        cmocka_unit_test(test_names_and_keys_are_there_once),
        cmocka_unit_test(test_a_revoked_key_stays_out),
        cmocka_unit_test(test_an_expired_key_is_not_believed),
        cmocka_unit_test(test_an_older_version_is_seen),
        cmocka_unit_test(test_two_processes_keep_each_others_changes),
        cmocka_unit_test(test_a_damaged_file_is_never_believed),
        cmocka_unit_test(test_foreign_files_are_refused_by_name),
        cmocka_unit_test(test_a_chain_of_successors_is_followed),
        cmocka_unit_test(test_successors_of_keys_that_are_not_believed_are_refused),
        cmocka_unit_test(test_a_changed_statement_is_refused),
        cmocka_unit_test(test_a_successor_that_has_not_agreed_is_refused),
        cmocka_unit_test(test_successors_need_private_keys),
        cmocka_unit_test(test_times_come_back),
        cmocka_unit_test(test_faults_leave_a_store_that_can_be_read),
        cmocka_unit_test(test_the_public_store),
    };
    return cmocka_run_group_tests(tests, keys_make, keys_drop);
}
