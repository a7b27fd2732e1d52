/*
 * Bundles and audits of whole models: faults leave nothing behind, and many threads say the same as one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "mmh_trust.h"
#include "scratch.h"

/* ---- memory that runs out ---- */

static size_t live, allocations_left = SIZE_MAX;

static void *faulty_allocate(void *user, size_t alignment, size_t bytes)
{
    void *memory = NULL;
    (void)user;
    if (!allocations_left ||
        posix_memalign(&memory, alignment < sizeof(void *) ? sizeof(void *) : alignment, bytes))
        return NULL;
    allocations_left -= allocations_left != SIZE_MAX;
    live++;
    return memory;
}

static void faulty_release(void *user, void *memory)
{
    (void)user;
    live -= memory != NULL;
    free(memory);
}

static const mmh_allocator faulty = { faulty_allocate, faulty_release, NULL };

/* ---- models ---- */

static mmh_key *signer, *reader_key;
static const char *folder, *container, *sealed;

static mmh_context *context_of(unsigned threads)
{
    mmh_context_options options = { .struct_size = sizeof options,
                                    .threads = threads,
                                    .allocator = threads == 1 ? &faulty : NULL };
    mmh_context *context;
    assert_int_equal(mmh_context_create(&context, &options, NULL), MMH_OK);
    return context;
}

/* A folder with a model, files of all sizes, and containers of it. */
static int make(void **state)
{
    static uint8_t model[SMALL_MODEL_ROOM], large[9 << 20];
    if (scratch_make(state))
        return -1;
    folder = at("model");
    assert_int_equal(mkdir(folder, 0755), 0);
    write_file(at("model/w.safetensors"), model, make_small_model(model));
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (uint8_t)(i * i >> 7);
    write_file(at("model/large.bin"), large, sizeof large);
    write_file(at("model/empty"), "", 0);
    write_file(at("model/one"), "1", 1);
    container = at("m.mmh");
    sealed = at("sealed.mmh");
    if (mmh_key_generate(&signer, "ecdsa-p256", 0, NULL) ||
        mmh_key_generate(&reader_key, "ml-kem-768", 0, NULL))
        return -1;
    mmh_context *context = context_of(1);
    const mmh_key *recipients[] = { reader_key }, *signers[] = { signer };
    mmh_pack_options options = { .struct_size = sizeof options };
    assert_int_equal(mmh_pack(context, &folder, 1, container, &options, NULL, NULL), MMH_OK);
    options.recipients = recipients;
    options.recipient_count = 1;
    options.signers = signers;
    options.signer_count = 1;
    assert_int_equal(mmh_pack(context, &folder, 1, sealed, &options, NULL, NULL), MMH_OK);
    mmh_context_destroy(context);
    return 0;
}

static int drop(void **state)
{
    mmh_key_destroy(signer);
    mmh_key_destroy(reader_key);
    return scratch_remove(state) || live ? -1 : 0;
}

static mmh_status write_bundle(mmh_context *context, const char *model, const char *output,
                               uint64_t shard_bytes, mmh_error *err)
{
    const mmh_key *signers[] = { signer };
    mmh_bundle_options options = { .struct_size = sizeof options,
                                   .overwrite = true,
                                   .name = "model",
                                   .shard_bytes = shard_bytes };
    return mmh_bundle_write(context, model, output, signers, 1, &options, NULL, err);
}

static mmh_status verify_bundle(mmh_context *context, const char *bundle, const char *model,
                                mmh_error *err)
{
    const mmh_key *signers[] = { signer };
    mmh_trust trust = { .struct_size = sizeof trust, .signers = signers, .signer_count = 1 };
    return mmh_bundle_verify(context, bundle, model, &trust, NULL, NULL, err);
}

/* The payload of a bundle: that of one model is the same, whoever hashes it and wherever it is. */
static char *payload_of(const char *bundle)
{
    size_t bytes = 0;
    char *text = (char *)read_file(bundle, &bytes);
    assert_non_null(text);
    text[bytes] = 0;
    char *begin = strstr(text, "\"payload\": \"");
    assert_non_null(begin);
    char *end = strstr(begin + 12, "\"");
    assert_non_null(end);
    *end = 0;
    char *payload = strdup(begin + 12);
    free(text);
    return payload;
}

static void test_threads_and_places_make_no_difference(void **state)
{
    static const uint64_t shard_bytes[] = { 0, 1 << 20, 4 << 20, 5000001 };
    static const unsigned threads[] = { 1, 2, 7 };
    const char *const models[] = { folder, container, sealed };
    (void)state;
    for (size_t s = 0; s < MMH_COUNT_OF(shard_bytes); s++) {
        char *first = NULL;
        for (size_t t = 0; t < MMH_COUNT_OF(threads); t++) {
            mmh_context *context = context_of(threads[t]);
            assert_int_equal(mmh_context_add_key(context, reader_key, NULL), MMH_OK);
            for (size_t m = 0; m < MMH_COUNT_OF(models); m++) {
                mmh_error err = { 0 };
                if (write_bundle(context, models[m], at("b.sig"), shard_bytes[s], &err) != MMH_OK)
                    fail_msg("%s: %s", models[m], err.message);
                char *payload = payload_of(at("b.sig"));
                if (first)
                    assert_string_equal(payload, first);
                else
                    first = strdup(payload);
                free(payload);
                for (size_t n = 0; n < MMH_COUNT_OF(models); n++)
                    assert_int_equal(verify_bundle(context, at("b.sig"), models[n], &err), MMH_OK);
            }
            mmh_context_destroy(context);
        }
        free(first);
    }
}

static void test_an_encrypted_container_needs_its_key(void **state)
{
    mmh_context *context = context_of(1);
    (void)state;
    assert_int_equal(write_bundle(context, sealed, at("none.sig"), 0, NULL), MMH_E_KEY);
    assert_null(fopen(at("none.sig"), "rb"));
    mmh_context_destroy(context);
}

enum { WRITE_FOLDER, WRITE_CONTAINER, VERIFY_FOLDER, VERIFY_CONTAINER, AUDIT, CALL_COUNT };

static mmh_status call(mmh_context *context, int which, mmh_error *err)
{
    mmh_audit *audit;
    const char *text;
    size_t bytes;
    mmh_status status;
    switch (which) {
    case WRITE_FOLDER:
        return write_bundle(context, folder, at("fault.sig"), 0, err);
    case WRITE_CONTAINER:
        return write_bundle(context, container, at("fault.sig"), 1 << 20, err);
    case VERIFY_FOLDER:
        return verify_bundle(context, at("whole.sig"), folder, err);
    case VERIFY_CONTAINER:
        return verify_bundle(context, at("whole.sig"), container, err);
    default:
        status = mmh_audit_create(&audit, context, sealed, NULL, err);
        for (int form = 0; form < 3 && status == MMH_OK; form++)
            status = mmh_audit_write(audit, (mmh_audit_form)form, &text, &bytes, err);
        mmh_audit_destroy(audit);
        return status;
    }
}

/* Fail each allocation, and each call of the system, in turn. */
static void test_faults_are_told_and_leave_nothing(void **state)
{
    mmh_context *warm = context_of(1);
    size_t faults = 0;
    (void)state;
    assert_int_equal(write_bundle(warm, folder, at("whole.sig"), 0, NULL), MMH_OK);
    mmh_context_destroy(warm);
    for (int which = 0; which < CALL_COUNT; which++)
        for (int kind = 0; kind < 2; kind++)
            for (size_t n = 1;; n++) {
                mmh_error err = { 0 };
                (void)remove(at("fault.sig"));
                const size_t before = live, files = entry_count(scratch_folder);
                mmh_context *context = context_of(1);
                if (kind)
                    (void)mmh_io_fail_after(n);
                else
                    allocations_left = n - 1;
                const mmh_status status = call(context, which, &err);
                (void)mmh_io_fail_after(0);
                allocations_left = SIZE_MAX;
                mmh_context_destroy(context);
                assert_int_equal(live, before);
                if (status == MMH_OK) {
                    assert_true(n > 3);
                    break;
                }
                faults++;
                if (status != (kind ? MMH_E_IO : MMH_E_MEMORY) || !err.message[0])
                    fail_msg("call %d, fault %zu of kind %d: %d, %s", which, n, kind, status,
                             err.message);
                const size_t left = entry_count(scratch_folder);
                if (left == files + 1) { /* it was named, and then the folder's sync failed */
                    context = context_of(1);
                    assert_int_equal(verify_bundle(context, at("fault.sig"), folder, NULL), MMH_OK);
                    mmh_context_destroy(context);
                } else {
                    assert_int_equal(left, files);
                }
            }
    print_message("%zu faults told\n", faults);
}

static bool never_go_on(void *user, const mmh_progress *progress)
{
    (void)user;
    (void)progress;
    return false;
}

static void test_a_call_can_be_cancelled(void **state)
{
    const char *const models[] = { folder, container };
    (void)state;
    for (size_t m = 0; m < 2; m++) {
        mmh_context_options options = { .struct_size = sizeof options,
                                        .threads = 2,
                                        .progress = never_go_on };
        mmh_context *context;
        assert_int_equal(mmh_context_create(&context, &options, NULL), MMH_OK);
        (void)remove(at("stopped.sig"));
        assert_int_equal(write_bundle(context, models[m], at("stopped.sig"), 0, NULL),
                         MMH_E_CANCELLED);
        assert_null(fopen(at("stopped.sig"), "rb"));
        mmh_context_destroy(context);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_and_places_make_no_difference),
        cmocka_unit_test(test_an_encrypted_container_needs_its_key),
        cmocka_unit_test(test_faults_are_told_and_leave_nothing),
        cmocka_unit_test(test_a_call_can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, make, drop);
}
