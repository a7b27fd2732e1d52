/*
 * Statements, policies, bundles, and text: what is believed, and what is refused and why.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "counting.h"
#include "crypto/aead.h"
#include "crypto/hash.h"
#include "crypto/key.h"
#include "scratch.h"
#include "trust/oms.h"
#include "trust/profile.h"
#include "trust/statement.h"
#include "trust/text.h"

/* ---- keys ---- */

enum { ALICE, BOB, OLD_FASHIONED, LATTICE, KEY_COUNT };
static const char *const algorithms[KEY_COUNT] = { "ml-dsa-65-ed25519", "ml-dsa-65-ed25519",
                                                   "ed25519", "ml-dsa-65" };
static mmh_identity *keys[KEY_COUNT];
static mmh_identity *p256;

static int keys_make(void **state)
{
    (void)state;
    for (int i = 0; i < KEY_COUNT; i++)
        if (mmh_identity_generate(&keys[i], algorithms[i], NULL, 0, &counting, NULL))
            return -1;
    return mmh_identity_generate(&p256, "ecdsa-p256", NULL, 0, &counting, NULL) ? -1 : 0;
}

static int keys_drop(void **state)
{
    (void)state;
    for (int i = 0; i < KEY_COUNT; i++)
        mmh_identity_destroy(keys[i]);
    mmh_identity_destroy(p256);
    return allocated ? -1 : 0;
}

/* ---- signatures ---- */

static const uint8_t root[32] = { 1, 2, 3 }, other_root[32] = { 1, 2, 4 };

static struct mmh_statement statement_of(const uint8_t *of, uint64_t counter)
{
    return (struct mmh_statement){ .hash_suite = 1,
                                   .root = of,
                                   .root_bytes = 32,
                                   .counter = counter,
                                   .time_seconds = 1700000000 };
}

/* Sign once more. */
static void sign(struct mmh_buffer *section, const mmh_identity *key,
                 const struct mmh_statement *statement)
{
    struct mmh_buffer grown;
    mmh_error err = { 0 };
    mmh_buffer_init(&grown, section->allocator);
    assert_int_equal(
        mmh_signatures_add(&grown, section->data, section->bytes, &key->parts[0], statement, &err),
        MMH_OK);
    mmh_buffer_release(section);
    *section = grown;
}

static struct mmh_buffer signed_by(int key, const uint8_t *of, uint64_t counter)
{
    struct mmh_buffer section;
    struct mmh_statement statement = statement_of(of, counter);
    mmh_buffer_init(&section, &counting);
    sign(&section, keys[key], &statement);
    return section;
}

/* Policies of the tests: signers are what the test says. */
struct wanted {
    int signers[KEY_COUNT];
    size_t count;
    struct mmh_policy policy;
    uint64_t now;
};

static mmh_status check_root(const struct wanted *wanted, const struct mmh_buffer *section,
                             const uint8_t *of, mmh_error *err)
{
    const mmh_identity *signers[KEY_COUNT];
    struct mmh_policy policy = wanted->policy;
    struct mmh_section_view view = { section ? section->data : NULL, section ? section->bytes : 0 };
    for (size_t i = 0; i < wanted->count; i++)
        signers[i] = keys[wanted->signers[i]];
    policy.signers = signers;
    policy.signer_count = wanted->count;
    *err = (mmh_error){ 0 };
    return mmh_policy_check(&policy, &view, 1, 1, of, 32, wanted->now, NULL, err);
}

#define assert_refused(wanted, section, words)                                           \
    do {                                                                                 \
        mmh_error refused_;                                                              \
        assert_int_equal(check_root(wanted, section, root, &refused_), MMH_E_UNTRUSTED); \
        if (!strstr(refused_.message, words))                                            \
            fail_msg("\"%s\" does not say \"%s\"", refused_.message, words);             \
    } while (0)

#define assert_believed(wanted, section)                                    \
    do {                                                                    \
        mmh_error believed_;                                                \
        mmh_status status_ = check_root(wanted, section, root, &believed_); \
        if (status_ != MMH_OK)                                              \
            fail_msg("refused: %s", believed_.message);                     \
    } while (0)

static void test_a_right_signature_is_believed(void **state)
{
    (void)state;
    for (int i = 0; i < KEY_COUNT; i++) {
        struct wanted wanted = { .signers = { i }, .count = 1 };
        struct mmh_buffer section = signed_by(i, root, 0);
        assert_believed(&wanted, &section);
        mmh_buffer_release(&section);
    }
}

static void test_a_missing_or_stripped_signature_is_refused(void **state)
{
    struct wanted alice = { .signers = { ALICE }, .count = 1 }, nobody = { .count = 0 };
    (void)state;
    assert_refused(&alice, NULL, "there is none");
    struct mmh_buffer section = signed_by(BOB, root, 0);
    assert_refused(&alice, &section, "none of the signatures (1) is by a key that is believed");
    assert_refused(&nobody, &section, "no key to believe one by");
    mmh_buffer_release(&section);
}

static void test_a_signature_of_other_content_is_refused(void **state)
{
    struct wanted wanted = { .signers = { ALICE }, .count = 1 };
    (void)state;
    struct mmh_buffer section = signed_by(ALICE, other_root, 0);
    assert_refused(&wanted, &section, "of other content");
    /* The same bytes under another hash suite are another root. */
    struct mmh_statement statement = statement_of(root, 0);
    statement.hash_suite = 2;
    mmh_buffer_release(&section);
    sign(&section, keys[ALICE], &statement);
    assert_refused(&wanted, &section, "of other content");
    /* A root that begins the same is another one. */
    statement = statement_of(root, 0);
    statement.root_bytes = 31;
    mmh_buffer_release(&section);
    sign(&section, keys[ALICE], &statement);
    assert_refused(&wanted, &section, "of other content");
    mmh_buffer_release(&section);
}

/* Offsets of the first signature's fields in a section. */
enum { ALGORITHM_AT = 4, STATED_BYTES_AT = 8, SIGNATURE_BYTES_AT = 12, STATED_AT = 16 };

static size_t signature_at(const struct mmh_buffer *section)
{
    return STATED_AT + mmh_load32(section->data + STATED_BYTES_AT);
}

/* Half of a composite, alone, is no signature of the whole, nor of its half. */
static void test_half_of_a_composite_is_refused(void **state)
{
    struct wanted alice = { .signers = { ALICE }, .count = 1 };
    enum { ML_DSA_BYTES = 3309, ED25519_BYTES = 64 };
    (void)state;
    struct mmh_buffer section = signed_by(ALICE, root, 0);
    const size_t at = signature_at(&section);
    assert_int_equal(section.bytes - at, ML_DSA_BYTES + ED25519_BYTES);
    for (int half = 0; half < 4; half++) {
        struct mmh_buffer broken;
        mmh_buffer_init(&broken, &counting);
        mmh_buffer_bytes(&broken, section.data, section.bytes);
        if (half == 0) { /* without its classical half */
            broken.bytes -= ED25519_BYTES;
            mmh_store32(broken.data + SIGNATURE_BYTES_AT, ML_DSA_BYTES);
        } else if (half == 1) { /* without its post-quantum half */
            memmove(broken.data + at, broken.data + at + ML_DSA_BYTES, ED25519_BYTES);
            broken.bytes -= ML_DSA_BYTES;
            mmh_store32(broken.data + SIGNATURE_BYTES_AT, ED25519_BYTES);
        } else if (half == 2) { /* one right, the other wrong */
            broken.data[at + ML_DSA_BYTES + 5] ^= 1;
        } else {
            broken.data[at + 5] ^= 1;
        }
        assert_refused(&alice, &broken, "is wrong");
        mmh_buffer_release(&broken);
    }
    mmh_buffer_release(&section);
}

/* Hybrid to classical, ML-DSA to Ed25519: what is too weak does not count, right as it is. */
static void test_a_downgrade_is_refused(void **state)
{
    struct wanted wanted = { .signers = { ALICE, OLD_FASHIONED, LATTICE }, .count = 3 };
    (void)state;
    struct mmh_buffer old = signed_by(OLD_FASHIONED, root, 0),
                      lattice = signed_by(LATTICE, root, 0), alice = signed_by(ALICE, root, 0);
    assert_believed(&wanted, &old);
    assert_believed(&wanted, &lattice);
    wanted.policy = (struct mmh_policy){ .post_quantum = true };
    assert_refused(&wanted, &old, "too weak: post-quantum is required");
    assert_believed(&wanted, &lattice);
    wanted.policy = (struct mmh_policy){ .hybrid = true };
    assert_refused(&wanted, &old, "too weak: hybrid is required");
    assert_refused(&wanted, &lattice, "too weak: hybrid is required");
    assert_believed(&wanted, &alice);
    wanted.policy = (struct mmh_policy){ .min_category = 3 };
    assert_refused(&wanted, &old, "too weak: of NIST category 3 is required");
    assert_believed(&wanted, &alice);
    wanted.policy = (struct mmh_policy){ .min_category = 5, .hybrid = true };
    assert_refused(&wanted, &alice, "no signer has a key that is hybrid and of NIST category 5");
    mmh_buffer_release(&old);
    mmh_buffer_release(&lattice);
    mmh_buffer_release(&alice);
}

/* The algorithm that a signature names is signed with it, and must be the key's own. */
static void test_another_algorithm_id_is_refused(void **state)
{
    (void)state;
    for (int i = 0; i < KEY_COUNT; i++) {
        struct wanted wanted = { .signers = { i }, .count = 1 };
        struct mmh_buffer section = signed_by(i, root, 0);
        const unsigned own = mmh_load16(section.data + ALGORITHM_AT);
        for (unsigned id = 0; id < 64; id++) {
            mmh_error err = { 0 };
            if (id == own)
                continue;
            mmh_store16(section.data + ALGORITHM_AT, (uint16_t)id);
            assert_int_equal(check_root(&wanted, &section, root, &err), MMH_E_UNTRUSTED);
        }
        mmh_buffer_release(&section);
    }
}

/* Whoever puts his key's fingerprint, or another's, into a signature, gains nothing. */
static void test_a_substituted_signer_is_refused(void **state)
{
    struct wanted alice = { .signers = { ALICE }, .count = 1 };
    (void)state;
    struct mmh_buffer section = signed_by(BOB, root, 0);
    memcpy(section.data + STATED_AT + 3 + 32, keys[ALICE]->parts[0].fingerprint,
           MMH_FINGERPRINT_BYTES);
    assert_refused(&alice, &section, "is wrong");
    mmh_buffer_release(&section);
}

static void test_an_older_counter_is_refused(void **state)
{
    struct wanted wanted = { .signers = { ALICE }, .count = 1, .policy = { .min_counter = 7 } };
    (void)state;
    struct mmh_buffer none = signed_by(ALICE, root, 0), older = signed_by(ALICE, root, 6),
                      same = signed_by(ALICE, root, 7);
    assert_refused(&wanted, &none, "counter 0, at least 7 is required: this is an older version");
    assert_refused(&wanted, &older, "counter 6, at least 7 is required: this is an older version");
    assert_believed(&wanted, &same);
    mmh_store64(older.data + STATED_AT + 3 + 32 + 32, 9); /* it is signed */
    assert_refused(&wanted, &older, "is wrong");
    mmh_buffer_release(&none);
    mmh_buffer_release(&older);
    mmh_buffer_release(&same);
}

static void test_an_expired_key_is_refused(void **state)
{
    static const uint64_t expires[] = { 1000, 0 };
    struct wanted wanted = {
        .signers = { ALICE, BOB }, .count = 2, .policy = { .expires = expires }, .now = 999
    };
    (void)state;
    struct mmh_buffer alice = signed_by(ALICE, root, 0), bob = signed_by(BOB, root, 0);
    assert_believed(&wanted, &alice);
    wanted.now = 1000;
    assert_refused(&wanted, &alice, "has expired");
    assert_believed(&wanted, &bob);
    mmh_buffer_release(&alice);
    mmh_buffer_release(&bob);
}

static void test_all_or_any_of_the_signers(void **state)
{
    struct wanted any = { .signers = { ALICE, BOB }, .count = 2 }, all = any;
    struct mmh_statement statement = statement_of(root, 3);
    (void)state;
    all.policy.all = true;
    struct mmh_buffer section = signed_by(ALICE, root, 0);
    assert_believed(&any, &section);
    assert_refused(&all, &section, "there is no signature by the ml-dsa-65-ed25519 key");
    sign(&section, keys[BOB], &statement);
    assert_believed(&any, &section);
    assert_believed(&all, &section);
    /* A signer without a key that is strong enough cannot have signed. */
    struct wanted hybrid = { .signers = { ALICE, OLD_FASHIONED },
                             .count = 2,
                             .policy = { .all = true, .hybrid = true } };
    sign(&section, keys[OLD_FASHIONED], &statement);
    assert_refused(&hybrid, &section, "signer 2 of 2 has no key that is hybrid");
    mmh_buffer_release(&section);
}

/* A wrong signature beside a right one by the same key takes nothing away. */
static void test_a_wrong_signature_beside_a_right_one_is_passed_over(void **state)
{
    struct wanted wanted = { .signers = { ALICE }, .count = 1, .policy = { .all = true } };
    struct mmh_statement statement = statement_of(root, 1);
    struct mmh_policy_counts counts;
    (void)state;
    struct mmh_buffer section = signed_by(ALICE, root, 0);
    section.data[section.bytes - 1] ^= 1;
    assert_refused(&wanted, &section, "is wrong");
    sign(&section, keys[ALICE], &statement);
    assert_believed(&wanted, &section);
    const mmh_identity *signer = keys[ALICE];
    struct mmh_policy policy = { .signers = &signer, .signer_count = 1 };
    struct mmh_section_view views[2] = { { section.data, section.bytes }, { NULL, 0 } };
    assert_int_equal(mmh_policy_check(&policy, views, 2, 1, root, 32, 0, &counts, NULL), MMH_OK);
    assert_int_equal(counts.found, 2);
    assert_int_equal(counts.matched, 2);
    assert_int_equal(counts.right, 1);
    assert_int_equal(counts.counted, 1);
    assert_int_equal(counts.counter, 1);
    mmh_buffer_release(&section);
}

/* A detached file counts as the trailer's section does, and both together. */
static void test_detached_signatures_count(void **state)
{
    const mmh_identity *signers[] = { keys[ALICE], keys[BOB] };
    struct mmh_policy policy = { .signers = signers, .signer_count = 2, .all = true };
    struct mmh_section_view views[2];
    struct mmh_buffer file;
    mmh_error err = { 0 };
    (void)state;
    struct mmh_buffer alice = signed_by(ALICE, root, 0), bob = signed_by(BOB, root, 0);
    mmh_buffer_init(&file, &counting);
    assert_int_equal(mmh_signature_file_write(&file, bob.data, bob.bytes, NULL), MMH_OK);
    assert_memory_equal(file.data, "MMHSIG1\n", 8);
    views[0] = (struct mmh_section_view){ alice.data, alice.bytes };
    assert_int_equal(mmh_policy_check(&policy, views, 1, 1, root, 32, 0, NULL, NULL),
                     MMH_E_UNTRUSTED);
    assert_int_equal(mmh_signature_file_open(&views[1], file.data, file.bytes, "x", NULL), MMH_OK);
    assert_int_equal(mmh_policy_check(&policy, views, 2, 1, root, 32, 0, NULL, &err), MMH_OK);
    for (size_t i = 0; i < file.bytes; i++) {
        struct mmh_section_view view;
        file.data[i] ^= 0x40;
        assert_int_equal(mmh_signature_file_open(&view, file.data, file.bytes, "x", NULL),
                         MMH_E_CORRUPT);
        file.data[i] ^= 0x40;
        assert_int_equal(mmh_signature_file_open(&view, file.data, i, "x", NULL), MMH_E_CORRUPT);
    }
    mmh_buffer_release(&file);
    mmh_buffer_release(&alice);
    mmh_buffer_release(&bob);
}

static void test_statements_come_back(void **state)
{
    static const struct mmh_note notes[] = { { "model", 5, "llama", 5 }, { "", 0, "", 0 } };
    struct mmh_statement statement = statement_of(root, 11);
    struct mmh_signatures signatures;
    struct mmh_signature_view view;
    struct mmh_buffer section;
    struct mmh_note note;
    (void)state;
    statement.notes = notes;
    statement.note_count = 2;
    mmh_buffer_init(&section, &counting);
    sign(&section, keys[ALICE], &statement);
    sign(&section, keys[BOB], &statement);
    assert_int_equal(mmh_signatures_view(&signatures, section.data, section.bytes, NULL), MMH_OK);
    assert_int_equal(signatures.count, 2);
    for (size_t i = 0; i < 2; i++) {
        mmh_signatures_at(&signatures, i, &view);
        assert_true(view.known);
        assert_int_equal(view.algorithm, MMH_SIGN_ML_DSA_65_ED25519);
        assert_true(mmh_signature_is_of(&view, 1, root, 32));
        assert_int_equal(view.statement.counter, 11);
        assert_int_equal(view.statement.time_seconds, 1700000000);
        assert_memory_equal(view.fingerprint, keys[i ? BOB : ALICE]->parts[0].fingerprint, 32);
        assert_true(mmh_signature_note(&view, 0, &note));
        assert_int_equal(note.key_bytes, 5);
        assert_memory_equal(note.value, "llama", 5);
        assert_true(mmh_signature_note(&view, 1, &note));
        assert_int_equal(note.value_bytes, 0);
        assert_false(mmh_signature_note(&view, 2, &note));
    }
    mmh_buffer_release(&section);
}

static void test_what_is_too_much_is_refused(void **state)
{
    struct mmh_note note = { "k", 1, NULL, 65536 }, notes[65];
    struct mmh_statement statement = statement_of(root, 0);
    struct mmh_buffer section, full;
    (void)state;
    mmh_buffer_init(&section, &counting);
    statement.notes = &note;
    statement.note_count = 1;
    assert_int_equal(
        mmh_signatures_add(&section, NULL, 0, &keys[ALICE]->parts[0], &statement, NULL),
        MMH_E_LIMIT);
    for (size_t i = 0; i < 65; i++)
        notes[i] = (struct mmh_note){ "key", 3, "value", 5 };
    statement.notes = notes;
    statement.note_count = 65;
    assert_int_equal(
        mmh_signatures_add(&section, NULL, 0, &keys[ALICE]->parts[0], &statement, NULL),
        MMH_E_LIMIT);
    assert_int_equal(section.bytes, 0);
    /* 256 signatures are the most. */
    statement.note_count = 0;
    mmh_buffer_release(&section);
    sign(&section, keys[OLD_FASHIONED], &statement);
    mmh_buffer_init(&full, &counting);
    mmh_buffer_u16(&full, 1);
    mmh_buffer_u16(&full, 256);
    for (int i = 0; i < 256; i++)
        mmh_buffer_bytes(&full, section.data + 4, section.bytes - 4);
    struct wanted wanted = { .signers = { OLD_FASHIONED }, .count = 1 };
    assert_believed(&wanted, &full);
    mmh_buffer_clear(&section);
    assert_int_equal(mmh_signatures_add(&section, full.data, full.bytes,
                                        &keys[OLD_FASHIONED]->parts[0], &statement, NULL),
                     MMH_E_LIMIT);
    mmh_store16(full.data + 2, 257);
    assert_int_equal(check_root(&wanted, &full, root, &(mmh_error){ 0 }), MMH_E_CORRUPT);
    mmh_buffer_release(&full);
    mmh_buffer_release(&section);
}

/* Each byte changed in three ways, and each truncation: never believed, never a crash. */
static void test_a_damaged_section_is_never_believed(void **state)
{
    static const uint8_t flips[] = { 1, 0x80, 0xff };
    struct wanted wanted = { .signers = { OLD_FASHIONED, LATTICE }, .count = 2 };
    struct mmh_statement statement = statement_of(root, 5);
    struct mmh_buffer section;
    size_t refused = 0;
    (void)state;
    wanted.policy.all = true;
    mmh_buffer_init(&section, &counting);
    sign(&section, keys[OLD_FASHIONED], &statement);
    sign(&section, keys[LATTICE], &statement);
    assert_believed(&wanted, &section);
    for (size_t i = 0; i < section.bytes; i++) {
        mmh_error err;
        for (size_t f = 0; f < 3; f++) {
            section.data[i] ^= flips[f];
            mmh_status status = check_root(&wanted, &section, root, &err);
            assert_true(status == MMH_E_UNTRUSTED || status == MMH_E_CORRUPT ||
                        status == MMH_E_UNSUPPORTED);
            refused++;
            section.data[i] ^= flips[f];
        }
        uint8_t *cut = malloc(i + 1); /* of its own, so that a sanitizer sees every byte beyond */
        assert_non_null(cut);
        memcpy(cut, section.data, i);
        struct mmh_buffer truncated = { .data = cut, .bytes = i };
        assert_int_not_equal(check_root(&wanted, &truncated, root, &err), MMH_OK);
        free(cut);
    }
    print_message("%zu changes of %zu bytes refused\n", refused, section.bytes);
    mmh_buffer_release(&section);
}

static void test_every_lack_of_memory_is_told(void **state)
{
    struct mmh_statement statement = statement_of(root, 5);
    struct mmh_buffer section, old = signed_by(OLD_FASHIONED, root, 0);
    const mmh_identity *signer = keys[OLD_FASHIONED];
    struct mmh_policy policy = { .signers = &signer, .signer_count = 1 };
    struct mmh_section_view view = { old.data, old.bytes };
    const size_t before = allocated;
    mmh_status status;
    size_t n = 0;
    (void)state;
    do {
        mmh_buffer_init(&section, &counting);
        allocations_left = n++;
        status = mmh_signatures_add(&section, old.data, old.bytes, &signer->parts[0], &statement,
                                    NULL);
        mmh_buffer_release(&section);
        assert_true(status == MMH_OK || status == MMH_E_MEMORY);
        assert_int_equal(allocated, before);
    } while (status != MMH_OK);
    assert_true(n > 3);
    n = 0;
    do {
        allocations_left = n++;
        status = mmh_policy_check(&policy, &view, 1, 1, root, 32, 0, NULL, NULL);
        assert_true(status == MMH_OK || status == MMH_E_MEMORY);
        assert_int_equal(allocated, before);
    } while (status != MMH_OK);
    assert_true(n > 1);
    allocations_left = SIZE_MAX;
    mmh_buffer_release(&old);
}

/* ---- text ---- */

static void test_base64_comes_back(void **state)
{
    static const char *const wrong[] = { "A",    "AA",   "AAA",  "A===",     "=AAA",   "AA=A",
                                         "AB==", "AAB=", "AA A", "AA==AAAA", "AAAA\n", "AA-A" };
    uint8_t data[64], back[64];
    size_t bytes;
    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 37 + 200);
    for (size_t n = 0; n <= sizeof data; n++) {
        struct mmh_buffer text;
        mmh_buffer_init(&text, NULL);
        mmh_text_base64(&text, data, n, 0);
        assert_int_equal(text.bytes, (n + 2) / 3 * 4);
        assert_true(mmh_text_from_base64(back, &bytes, (const char *)text.data, text.bytes));
        assert_int_equal(bytes, n);
        assert_memory_equal(back, data, n);
        mmh_buffer_release(&text);
    }
    assert_true(mmh_text_from_base64(back, &bytes, "TW1o", 4));
    assert_memory_equal(back, "Mmh", 3);
    for (size_t i = 0; i < MMH_COUNT_OF(wrong); i++)
        assert_false(mmh_text_from_base64(back, &bytes, wrong[i], strlen(wrong[i])));
}

static void test_utf8_is_told_from_other_bytes(void **state)
{
    static const char *const right[] = {
        "", "a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"
    };
    static const char *const wrong[] = { "\x80",
                                         "\xc3",
                                         "\xc0\x80",
                                         "\xc1\xbf",
                                         "\xe0\x80\x80",
                                         "\xed\xa0\x80",
                                         "\xf0\x80\x80\x80",
                                         "\xf4\x90\x80\x80",
                                         "\xf5\x80\x80\x80",
                                         "\xe2\x82",
                                         "a\xff" };
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(right); i++)
        assert_true(mmh_text_is_utf8(right[i], strlen(right[i])));
    for (size_t i = 0; i < MMH_COUNT_OF(wrong); i++)
        assert_false(mmh_text_is_utf8(wrong[i], strlen(wrong[i])));
}

/* ---- bundles ---- */

static struct mmh_oms_resource resources[] = { { "a.json", 0, 0, { 1 } },
                                               { "weights/\xc3\xa4 \"1\".bin", 0, 0, { 2 } } };

static struct mmh_buffer bundle_of(const mmh_identity *const *signers, size_t count)
{
    static const char *const ignored[] = { ".git" };
    struct mmh_oms_manifest manifest = {
        .model = "m", .resources = resources, .count = 2, .ignored = ignored, .ignored_count = 1
    };
    const struct mmh_key_part *parts[4];
    struct mmh_buffer text;
    mmh_error err = { 0 };
    for (size_t i = 0; i < count; i++)
        parts[i] = &signers[i]->parts[0];
    mmh_buffer_init(&text, &counting);
    assert_int_equal(mmh_oms_write(&text, &manifest, parts, count, &err), MMH_OK);
    return text;
}

/* What reading, checking and listing a bundle comes to. */
static mmh_status bundle_check(const void *text, size_t bytes, const struct mmh_policy *policy,
                               mmh_error *err)
{
    struct mmh_oms_bundle bundle;
    struct mmh_oms_manifest manifest;
    *err = (mmh_error){ 0 };
    mmh_status status = mmh_oms_read(&bundle, text, bytes, &counting, err);
    if (status == MMH_OK && policy)
        status = mmh_oms_check(&bundle, policy, 0, NULL, err);
    if (status == MMH_OK)
        status = mmh_oms_manifest(&manifest, &bundle, err);
    mmh_oms_release(&bundle);
    return status;
}

static void test_bundles_come_back(void **state)
{
    const mmh_identity *signers[] = { keys[ALICE], p256, keys[LATTICE] };
    struct mmh_buffer text = bundle_of(signers, 3);
    struct mmh_policy policy = { .signers = signers, .signer_count = 3, .all = true };
    struct mmh_oms_bundle bundle;
    struct mmh_oms_manifest manifest;
    char hint[65];
    mmh_error err = { 0 };
    (void)state;
    assert_int_equal(mmh_oms_read(&bundle, text.data, text.bytes, &counting, &err), MMH_OK);
    assert_int_equal(bundle.method, MMH_OMS_KEY);
    assert_int_equal(bundle.signature_count, 3);
    assert_string_equal(bundle.signatures[0].keyid, ""); /* ECDSA's, whom others look for */
    assert_int_equal(mmh_oms_hint(hint, &p256->parts[0], NULL, NULL), MMH_OK);
    assert_string_equal(bundle.hint, hint);
    assert_memory_equal(bundle.signatures[1].keyid, "ml-dsa-65-ed25519:", 18);
    assert_int_equal(mmh_oms_check(&bundle, &policy, 0, NULL, &err), MMH_OK);
    assert_int_equal(mmh_oms_manifest(&manifest, &bundle, &err), MMH_OK);
    assert_string_equal(manifest.model, "m");
    assert_int_equal(manifest.count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(manifest.resources[i].path, resources[i].path);
        assert_memory_equal(manifest.resources[i].digest, resources[i].digest, 32);
    }
    assert_int_equal(manifest.ignored_count, 1);
    assert_string_equal(manifest.ignored[0], ".git");
    policy.signers = (const mmh_identity *[]){ keys[BOB] };
    policy.signer_count = 1;
    assert_int_equal(mmh_oms_check(&bundle, &policy, 0, NULL, &err), MMH_E_UNTRUSTED);
    mmh_oms_release(&bundle);
    mmh_buffer_release(&text);
}

/* Each byte of a bundle changed, and each truncation: never believed unless what it says is the same. */
static void test_a_damaged_bundle_is_never_believed(void **state)
{
    const mmh_identity *signers[] = { p256 };
    struct mmh_policy policy = { .signers = signers, .signer_count = 1 };
    struct mmh_buffer text = bundle_of(signers, 1);
    static const uint8_t flips[] = { 1, 0x80, 0xff };
    size_t believed = 0;
    mmh_error err;
    (void)state;
    assert_int_equal(bundle_check(text.data, text.bytes, &policy, &err), MMH_OK);
    const char *material = strstr((char *)text.data, "verificationMaterial");
    const char *envelope = strstr((char *)text.data, "\"payload\"");
    for (size_t i = 0; i < text.bytes; i++) {
        for (size_t f = 0; f < 3; f++) {
            text.data[i] ^= flips[f];
            if (bundle_check(text.data, text.bytes, &policy, &err) == MMH_OK) {
                /* Only white space, and the hint that nobody signs. */
                const char *place = (const char *)text.data + i;
                assert_true((place > material && place < envelope) || text.data[i] == '\t' ||
                            text.data[i] == '\n' || text.data[i] == ' ' || text.data[i] == '\r');
                believed++;
            }
            text.data[i] ^= flips[f];
        }
        uint8_t *cut = malloc(i + 1);
        assert_non_null(cut);
        memcpy(cut, text.data, i);
        if (i + 1 < text.bytes) /* the last byte is a line break */
            assert_int_not_equal(bundle_check(cut, i, &policy, &err), MMH_OK);
        free(cut);
    }
    print_message("%zu bytes, %zu changes meant nothing\n", text.bytes, believed);
    mmh_buffer_release(&text);
}

/* A bundle around a statement, unsigned in truth: for what the list is refused for. */
static void assert_list(mmh_status expected, const char *words, const char *subject,
                        const char *type, const char *listed, const char *serialization)
{
    char statement[2048], *bundle;
    struct mmh_buffer payload;
    mmh_error err;
    snprintf(
        statement, sizeof statement,
        "{\"_type\":\"https://in-toto.io/Statement/v1\",\"subject\":[{\"name\":\"m\",\"digest\":{"
        "\"sha256\":\"%s\"}}],\"predicateType\":\"%s\",\"predicate\":{\"resources\":[%s],"
        "\"serialization\":{%s}}}",
        subject, type, listed, serialization);
    mmh_buffer_init(&payload, NULL);
    mmh_text_base64(&payload, (const uint8_t *)statement, strlen(statement), 0);
    bundle = malloc(payload.bytes + 512);
    assert_non_null(bundle);
    snprintf(
        bundle, payload.bytes + 512,
        "{\"mediaType\":\"application/vnd.dev.sigstore.bundle.v0.3+json\","
        "\"verificationMaterial\":{\"publicKey\":{\"hint\":\"\"}},\"dsseEnvelope\":{\"payload\":"
        "\"%.*s\",\"payloadType\":\"application/vnd.in-toto+json\",\"signatures\":[{\"sig\":"
        "\"AAAA\"}]}}",
        (int)payload.bytes, (const char *)payload.data);
    const mmh_status status = bundle_check(bundle, strlen(bundle), NULL, &err);
    if (status != expected || !strstr(err.message, words))
        fail_msg("%d, \"%s\" does not say \"%s\"", status, err.message, words);
    free(bundle);
    mmh_buffer_release(&payload);
}

static void test_lists_that_mean_harm_are_refused(void **state)
{
    enum { SHA256_OF_ONE, SHA256_OF_TWO };
    char one[256], names[2048], root_one[65] = "", root_two[65] = "", digest[65];
    static const char v1[] = "https://model_signing/signature/v1.0";
    static const char files[] =
        "\"method\":\"files\",\"hash_type\":\"sha256\",\"allow_symlinks\":false";
    static const char *const bad_names[] = { "../a", "/etc/passwd", "a/../b", "a//b",
                                             "./a",  "a/",          "a/./b",  ".." };
    uint8_t zeros[64] = { 0 }, hash[32];
    (void)state;
    for (int i = 0; i < 64; i++)
        digest[i] = '0';
    digest[64] = 0;
    assert_int_equal(mmh_file_hash(hash, MMH_FILE_HASH_SHA256, zeros, 32, NULL), MMH_OK);
    for (int i = 0; i < 32; i++)
        sprintf(root_one + 2 * i, "%02x", hash[i]);
    assert_int_equal(mmh_file_hash(hash, MMH_FILE_HASH_SHA256, zeros, 64, NULL), MMH_OK);
    for (int i = 0; i < 32; i++)
        sprintf(root_two + 2 * i, "%02x", hash[i]);
    snprintf(one, sizeof one, "{\"name\":\"a\",\"digest\":\"%s\",\"algorithm\":\"sha256\"}",
             digest);
    assert_list(MMH_OK, "", root_one, v1, one, files);
    assert_list(MMH_E_CORRUPT, "not that of its list", root_two, v1, one, files);
    assert_list(MMH_E_CORRUPT, "no list of a model's files", root_one, "https://x", one, files);
    assert_list(MMH_E_CORRUPT, "a file of the model is expected", root_one, v1, "", files);
    snprintf(names, sizeof names, "%s,%s", one, one);
    assert_list(MMH_E_CORRUPT, "twice", root_two, v1, names, files);
    for (size_t i = 0; i < MMH_COUNT_OF(bad_names); i++) {
        snprintf(names, sizeof names,
                 "{\"name\":\"%s\",\"digest\":\"%s\",\"algorithm\":\"sha256\"}", bad_names[i],
                 digest);
        assert_list(MMH_E_CORRUPT, "not in the model", root_one, v1, names, files);
    }
    snprintf(names, sizeof names,
             "{\"name\":\"a\\u0000b\",\"digest\":\"%s\",\"algorithm\":\"sha256\"}", digest);
    assert_list(MMH_E_CORRUPT, "NUL", root_one, v1, names, files);
    snprintf(names, sizeof names,
             "{\"name\":\"a\",\"name\":\"b\",\"digest\":\"%s\",\"algorithm\":\"sha256\"}", digest);
    assert_list(MMH_E_CORRUPT, "twice", root_one, v1, names, files);
    snprintf(names, sizeof names, "{\"name\":\"a\",\"digest\":\"%s\",\"algorithm\":\"md5\"}",
             digest);
    assert_list(MMH_E_CORRUPT, "not known", root_one, v1, names, files);
    snprintf(names, sizeof names, "{\"name\":\"a\",\"digest\":\"00\",\"algorithm\":\"sha256\"}");
    assert_list(MMH_E_CORRUPT, "not a digest", root_one, v1, names, files);
    assert_list(MMH_E_CORRUPT, "not of its hash", root_one, v1, one,
                "\"method\":\"files\",\"hash_type\":\"blake2b\",\"allow_symlinks\":false");
    assert_list(MMH_E_CORRUPT, "method is not known", root_one, v1, one,
                "\"method\":\"magic\",\"hash_type\":\"sha256\",\"allow_symlinks\":false");
    assert_list(MMH_E_CORRUPT, "do not go together", root_one, v1, one,
                "\"method\":\"shards\",\"hash_type\":\"sha256\",\"allow_symlinks\":false");
    assert_list(MMH_E_CORRUPT, "unknown field", root_one, v1, one,
                "\"method\":\"files\",\"hash_type\":\"sha256\",\"allow_symlinks\":false,\"x\":1");
    static const char shards[] =
        "\"method\":\"shards\",\"hash_type\":\"sha256\",\"allow_symlinks\":"
        "false,\"shard_size\":10.0";
    static const char *const bad_parts[] = { "a",     "a:1", "a:x:2",  "a:2:1",
                                             "a:1:1", "a::", "a:01:2", ":0:10x" };
    for (size_t i = 0; i < MMH_COUNT_OF(bad_parts); i++) {
        snprintf(names, sizeof names,
                 "{\"name\":\"%s\",\"digest\":\"%s\",\"algorithm\":\"sha256\"}", bad_parts[i],
                 digest);
        assert_list(MMH_E_CORRUPT, "no part of a file", root_one, v1, names, shards);
    }
    snprintf(names, sizeof names,
             "{\"name\":\"a:b:0:10\",\"digest\":\"%s\",\"algorithm\":\"sha256\",\"uri\":null}",
             digest);
    assert_list(MMH_OK, "", root_one, v1, names, shards);
}

static void test_every_lack_of_memory_is_told_of_bundles(void **state)
{
    const mmh_identity *signers[] = { p256, keys[ALICE] };
    struct mmh_policy policy = { .signers = signers, .signer_count = 2, .all = true };
    struct mmh_oms_manifest manifest = { .model = "m", .resources = resources, .count = 2 };
    const struct mmh_key_part *parts[] = { &p256->parts[0], &keys[ALICE]->parts[0] };
    struct mmh_buffer text;
    const size_t before = allocated;
    mmh_status status;
    mmh_error err;
    size_t n = 0;
    (void)state;
    do {
        mmh_buffer_init(&text, &counting);
        allocations_left = n++;
        status = mmh_oms_write(&text, &manifest, parts, 2, NULL);
        mmh_buffer_release(&text);
        assert_true(status == MMH_OK || status == MMH_E_MEMORY);
        assert_int_equal(allocated, before);
    } while (status != MMH_OK);
    assert_true(n > 5);
    allocations_left = SIZE_MAX;
    text = bundle_of(signers, 2);
    const size_t with_text = allocated;
    n = 0;
    do {
        allocations_left = n++;
        status = bundle_check(text.data, text.bytes, &policy, &err);
        assert_true(status == MMH_OK || status == MMH_E_MEMORY);
        assert_int_equal(allocated, with_text);
    } while (status != MMH_OK);
    assert_true(n > 5);
    allocations_left = SIZE_MAX;
    mmh_buffer_release(&text);
}

/* The specification's own bundles: those in "valid" are read, the others are not. */
static void test_bundles_of_the_specification(void **state)
{
    static const char *const names[] = { "valid/certificate",
                                         "valid/key",
                                         "valid/sigstore",
                                         "invalid/empty",
                                         "invalid/missing-envelope",
                                         "invalid/missing-tlog-entries",
                                         "invalid/missing-verification-material",
                                         "invalid-payload/wrong-predicate" };
    const char *shared = getenv("MMH_SHARED");
    const mmh_identity *signers[] = { p256 };
    struct mmh_policy policy = { .signers = signers, .signer_count = 1 };
    size_t valid = 0, invalid = 0;
    (void)state;
    if (!shared) {
        print_message("MMH_SHARED is not set: the specification's bundles are not read\n");
        skip();
    }
    for (size_t i = 0; i < MMH_COUNT_OF(names); i++) {
        char path[1024];
        size_t bytes = 0;
        mmh_error err;
        snprintf(path, sizeof path, "%s/vectors/oms/test-vectors/v1.0/%s.bundle.json", shared,
                 names[i]);
        uint8_t *text = read_file(path, &bytes);
        assert_non_null(text);
        const mmh_status status = bundle_check(text, bytes, NULL, &err);
        if (strncmp(names[i], "valid/", 6) == 0) {
            if (status != MMH_OK)
                fail_msg("%s: %s", names[i], err.message);
            assert_int_equal(bundle_check(text, bytes, &policy, &err), MMH_E_UNTRUSTED);
            valid++;
        } else {
            assert_int_equal(status, MMH_E_CORRUPT);
            invalid++;
        }
        free(text);
    }
    print_message("%zu valid bundles read, %zu invalid ones refused\n", valid, invalid);
}

/* ---- profiles ---- */

static void assert_asset(const char *name, unsigned nist_category, bool classical,
                         bool post_quantum)
{
    const struct mmh_asset *asset = mmh_asset_by_name(name);
    if (!asset)
        fail_msg("%s is in no table of profiles", name);
    assert_int_equal(asset->quantum_level, nist_category);
    assert_int_equal(classical && post_quantum, asset->first && asset->second);
    if (!asset->first)
        return;
    const struct mmh_asset *first = mmh_asset_by_name(asset->first),
                           *second = mmh_asset_by_name(asset->second);
    assert_non_null(first);
    assert_non_null(second);
    assert_int_equal(first->quantum_level, nist_category);
    assert_int_equal(second->quantum_level, 0);
}

/* What the tables of crypto/ have, profiles know, and of the same strength. */
static void test_profiles_know_all_that_there_is(void **state)
{
    (void)state;
    for (size_t i = 0; i < mmh_signature_count(); i++) {
        const struct mmh_signature *signature = mmh_signature_at(i);
        assert_asset(signature->name, signature->nist_category, signature->classical,
                     signature->post_quantum);
        if (signature->oid)
            assert_string_equal(mmh_asset_by_name(signature->name)->oid, signature->oid);
    }
    for (size_t i = 0; i < mmh_kem_count(); i++)
        assert_asset(mmh_kem_at(i)->name, mmh_kem_at(i)->nist_category, mmh_kem_at(i)->classical,
                     mmh_kem_at(i)->post_quantum);
    for (unsigned i = 1; mmh_hash_suite_name(i); i++)
        assert_non_null(mmh_asset_by_name(mmh_hash_suite_name(i)));
    for (unsigned i = 1; mmh_aead_name(i); i++)
        assert_non_null(mmh_asset_by_name(mmh_aead_name(i)));
    for (size_t i = 0; i < mmh_asset_count(); i++)
        assert_ptr_equal(mmh_asset_by_name(mmh_asset_at(i)->name), mmh_asset_at(i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_right_signature_is_believed),
        cmocka_unit_test(test_a_missing_or_stripped_signature_is_refused),
        cmocka_unit_test(test_a_signature_of_other_content_is_refused),
        cmocka_unit_test(test_half_of_a_composite_is_refused),
        cmocka_unit_test(test_a_downgrade_is_refused),
        cmocka_unit_test(test_another_algorithm_id_is_refused),
        cmocka_unit_test(test_a_substituted_signer_is_refused),
        cmocka_unit_test(test_an_older_counter_is_refused),
        cmocka_unit_test(test_an_expired_key_is_refused),
        cmocka_unit_test(test_all_or_any_of_the_signers),
        cmocka_unit_test(test_a_wrong_signature_beside_a_right_one_is_passed_over),
        cmocka_unit_test(test_detached_signatures_count),
        cmocka_unit_test(test_statements_come_back),
        cmocka_unit_test(test_what_is_too_much_is_refused),
        cmocka_unit_test(test_a_damaged_section_is_never_believed),
        cmocka_unit_test(test_every_lack_of_memory_is_told),
        cmocka_unit_test(test_base64_comes_back),
        cmocka_unit_test(test_utf8_is_told_from_other_bytes),
        cmocka_unit_test(test_bundles_come_back),
        cmocka_unit_test(test_a_damaged_bundle_is_never_believed),
        cmocka_unit_test(test_lists_that_mean_harm_are_refused),
        cmocka_unit_test(test_every_lack_of_memory_is_told_of_bundles),
        cmocka_unit_test(test_bundles_of_the_specification),
        cmocka_unit_test(test_profiles_know_all_that_there_is),
    };
    return cmocka_run_group_tests(tests, keys_make, keys_drop);
}
