/*
 * Faults: whatever the nth allocation, system call or thread start that fails, nothing leaks,
 * nothing crashes, and what lies in the folder afterwards is the old file or the new one.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Each call is made for n = 1, 2, ... until there is no nth call to fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "base/pool.h"
#include "engine/engine.h"
#include "scratch.h"

/* ---- faults ---- */

/* A count down to the failure; `once`: those after it succeed again. */
struct countdown {
    atomic_uint_least64_t left; /* 0: no failure */
    bool once;
    atomic_bool hit;
    atomic_int_least64_t live; /* allocations that were not given back */
};

static bool strikes(struct countdown *countdown)
{
    uint_least64_t left = atomic_load(&countdown->left);
    while (left > 1)
        if (atomic_compare_exchange_weak(&countdown->left, &left, left - 1))
            return false;
    if (!left)
        return false;
    countdown->hit = true;
    if (countdown->once)
        atomic_store(&countdown->left, 0);
    return true;
}

static void *faulty_allocate(void *user, size_t alignment, size_t bytes)
{
    struct countdown *countdown = user;
    void *memory = NULL;
    if (strikes(countdown) ||
        posix_memalign(&memory, alignment < sizeof(void *) ? sizeof(void *) : alignment, bytes))
        return NULL;
    atomic_fetch_add(&countdown->live, 1);
    return memory;
}

static void faulty_release(void *user, void *memory)
{
    struct countdown *countdown = user;
    atomic_fetch_sub(&countdown->live, 1);
    free(memory);
}

/* The whole program's heap, for what libzstd, libcrypto and the C library take for themselves. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && \
    !defined(SANITIZED)
#define HEAP_FAULTS 1
#include <malloc.h>

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *memory);

static struct countdown heap;
static atomic_bool heap_counts;

static void *heap_gave(void *memory)
{
    if (memory && atomic_load(&heap_counts))
        atomic_fetch_add(&heap.live, 1);
    return memory;
}

static bool heap_strikes(void)
{
    if (!strikes(&heap))
        return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t bytes)
{
    return heap_strikes() ? NULL : heap_gave(__libc_malloc(bytes));
}

void *calloc(size_t count, size_t bytes)
{
    return heap_strikes() ? NULL : heap_gave(__libc_calloc(count, bytes));
}

void *realloc(void *memory, size_t bytes)
{
    if (heap_strikes())
        return NULL;
    return memory ? __libc_realloc(memory, bytes) : heap_gave(__libc_realloc(NULL, bytes));
}

void *memalign(size_t alignment, size_t bytes)
{
    return heap_strikes() ? NULL : heap_gave(__libc_memalign(alignment, bytes));
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    return memalign(alignment, bytes);
}

int posix_memalign(void **out, size_t alignment, size_t bytes)
{
    void *memory = memalign(alignment, bytes);
    if (!memory)
        return ENOMEM;
    *out = memory;
    return 0;
}

void free(void *memory)
{
    if (memory && atomic_load(&heap_counts))
        atomic_fetch_sub(&heap.live, 1);
    __libc_free(memory);
}
#endif

/* ---- calls ---- */

static struct {
    uint8_t model[SMALL_MODEL_ROOM];
    size_t model_bytes;
    uint8_t *container[3];
    size_t container_bytes[3];
} sound;

enum { MODEL, FOLDER, MODEL_HIGH }; /* sound.container */
static const char text[] = "words and words and other words, and words again, over and over\n";
static const char old[] = "what was there before";

static bool output_is(const char *name, const void *data, size_t bytes)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", at("out"), name);
    return file_is(path, data, bytes);
}

static void write_old(const char *name)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", at("out"), name);
    write_file(path, old, sizeof old);
}

static void prepare_nothing(void)
{
}

static mmh_status pack(mmh_context *context, const char *input, int level, bool sha256,
                       bool overwrite, mmh_error *err)
{
    mmh_pack_options options = {
        .struct_size = sizeof options, .level = level, .sha256 = sha256, .overwrite = overwrite
    };
    mmh_pack_report report = { .struct_size = sizeof report };
    return mmh_pack(context, &input, 1, at("out/x.mmh"), &options, &report, err);
}

static mmh_status run_pack(mmh_context *context, mmh_error *err)
{
    return pack(context, at("m.safetensors"), 5, true, false, err);
}

static mmh_status run_pack_high(mmh_context *context, mmh_error *err)
{
    return pack(context, at("m.safetensors"), 9, true, false, err);
}

static mmh_status run_pack_over(mmh_context *context, mmh_error *err)
{
    return pack(context, at("f"), 9, true, true, err);
}

static void prepare_pack_over(void)
{
    write_old("x.mmh");
}

static bool packed(bool success, int which)
{
    return entry_count(at("out")) == 0
             ? !success
             : output_is("x.mmh", sound.container[which], sound.container_bytes[which]);
}

static bool packed_model(bool success)
{
    return packed(success, MODEL);
}

static bool packed_high(bool success)
{
    return packed(success, MODEL_HIGH);
}

static bool packed_over(bool success)
{
    if (output_is("x.mmh", sound.container[FOLDER], sound.container_bytes[FOLDER]))
        return true;
    return !success && output_is("x.mmh", old, sizeof old);
}

static mmh_status unpack(mmh_context *context, const char *container, const char *destination,
                         bool as_file, bool overwrite, mmh_error *err)
{
    mmh_unpack_options options = {
        .struct_size = sizeof options, .as_file = as_file, .sync = overwrite, .overwrite = overwrite
    };
    mmh_unpack_report report = { .struct_size = sizeof report };
    return mmh_unpack(context, container, destination, &options, &report, err);
}

static mmh_status run_unpack(mmh_context *context, mmh_error *err)
{
    return unpack(context, at("m.mmh"), at("out/m"), true, false, err);
}

static mmh_status run_unpack_over(mmh_context *context, mmh_error *err)
{
    return unpack(context, at("m.mmh"), at("out/m"), true, true, err);
}

static void prepare_unpack_over(void)
{
    write_old("m");
}

static bool unpacked(bool success)
{
    return entry_count(at("out")) == 0 ? !success : output_is("m", sound.model, sound.model_bytes);
}

static bool unpacked_over(bool success)
{
    if (output_is("m", sound.model, sound.model_bytes))
        return true;
    return !success && output_is("m", old, sizeof old);
}

static mmh_status run_unpack_folder(mmh_context *context, mmh_error *err)
{
    return unpack(context, at("f.mmh"), at("out/new/deep"), false, false, err);
}

static bool folder_is_complete(const char *prefix)
{
    char model[80], words[80];
    snprintf(model, sizeof model, "%ssub/m.safetensors", prefix);
    snprintf(words, sizeof words, "%swords.txt", prefix);
    return output_is(model, sound.model, sound.model_bytes) && output_is(words, text, sizeof text);
}

static bool unpacked_folder(bool success)
{
    return success ? folder_is_complete("new/deep/") && entry_count(at("out/new/deep")) == 4
                   : entry_count(at("out")) == 0;
}

/* Over a folder that has some of it: after a failure all that was there is there. */
static mmh_status run_unpack_folder_over(mmh_context *context, mmh_error *err)
{
    return unpack(context, at("f.mmh"), at("out"), false, true, err);
}

static void prepare_folder_over(void)
{
    write_old("words.txt");
    write_old("mine");
    assert_int_equal(mkdir(at("out/empty"), 0700), 0);
}

static bool unpacked_folder_over(bool success)
{
    if (!output_is("mine", old, sizeof old) || access(at("out/empty"), F_OK))
        return false;
    if (success)
        return folder_is_complete("") && entry_count(at("out")) == 5;
    return output_is("words.txt", old, sizeof old) && entry_count(at("out")) == 3;
}

static mmh_status run_verify(mmh_context *context, mmh_error *err)
{
    mmh_unpack_report report = { .struct_size = sizeof report };
    mmh_status status = mmh_verify(context, at("f.mmh"), NULL, &report, err);
    const mmh_verify_options quick = { .struct_size = sizeof quick, .quick = true };
    return status ? status : mmh_verify(context, at("m.mmh"), &quick, &report, err);
}

/* Two chunks of f.mmh are damaged: told or not told for want of something, never taken as sound. */
static mmh_status run_verify_damaged(mmh_context *context, mmh_error *err)
{
    mmh_error found = { 0 };
    for (int quick = 0; quick < 2; quick++) {
        mmh_unpack_report report = { .struct_size = sizeof report };
        const mmh_verify_options options = { .struct_size = sizeof options, .quick = quick };
        mmh_status status = mmh_verify(context, at("damaged.mmh"), &options, &report, &found);
        assert_int_not_equal(status, MMH_OK);
        if (status == MMH_E_CORRUPT && report.damaged_chunks < 2)
            status = MMH_E_IO; /* what was found before a read failed counts more */
        if (status != MMH_E_CORRUPT) {
            *err = found;
            err->status = status;
            return status;
        }
        assert_int_equal(report.damaged_chunks, 2);
    }
    return MMH_OK;
}

static mmh_status run_load(mmh_context *context, mmh_error *err)
{
    static uint8_t weights[24 * 64 * 2], values[1024], back[300];
    const uint64_t begin[] = { 3, 5 }, end[] = { 9, 64 };
    mmh_reader *reader;
    uint64_t w = 0, v = 0;
    mmh_status status = mmh_open(context, at("m.mmh"), &reader, err);
    if (status != MMH_OK)
        return status;
    mmh_file_info file = { .struct_size = sizeof file };
    mmh_tensor_info tensor = { .struct_size = sizeof tensor };
    status = mmh_file(reader, 0, &file, err);
    if (status == MMH_OK)
        status = mmh_find(reader, "w", &w, err);
    if (status == MMH_OK)
        status = mmh_find(reader, "v", &v, err);
    if (status == MMH_OK)
        status = mmh_tensor(reader, w, &tensor, err);
    const mmh_load_request requests[] = { { v, values, sizeof values },
                                          { w, weights, sizeof weights } };
    if (status == MMH_OK)
        status = mmh_load_many(reader, requests, 2, err);
    if (status == MMH_OK) {
        assert_loaded(weights, sound.model + tensor.file_offset, sizeof weights, MMH_DTYPE_BF16);
        status = mmh_load_slice(reader, w, begin, end, weights, sizeof weights, err);
    }
    if (status == MMH_OK)
        status = mmh_read(reader, 0, 100, back, sizeof back, err);
    if (status == MMH_OK)
        assert_memory_equal(back, sound.model + 100, sizeof back);
    mmh_close(reader);
    return status;
}

/* The container of a folder against the folder that was packed, and one tensor with itself. */
static mmh_status run_compare(mmh_context *context, mmh_error *err)
{
    mmh_reader *original = NULL, *packed = NULL;
    mmh_container_info info = { .struct_size = sizeof info };
    mmh_difference difference = { .struct_size = sizeof difference };
    mmh_status status = mmh_open_original(context, at("f"), NULL, &original, err);
    if (status == MMH_OK)
        status = mmh_open(context, at("f.mmh"), &packed, err);
    if (status == MMH_OK)
        status = mmh_container(packed, &info, err);
    for (uint64_t i = 0; i < info.file_count && status == MMH_OK; i++) {
        mmh_file_info file = { .struct_size = sizeof file };
        bool equal = false;
        status = mmh_file(packed, i, &file, err);
        if (status != MMH_OK || file.kind != MMH_FILE_REGULAR)
            continue;
        status = mmh_compare_files(original, i, packed, i, &equal, NULL, err);
        if (status == MMH_OK)
            assert_true(equal);
    }
    for (uint64_t i = 0; i < info.tensor_count && status == MMH_OK; i++) {
        status = mmh_compare(original, i, packed, i, &difference, err);
        if (status == MMH_OK)
            assert_int_equal(difference.differing, 0);
    }
    mmh_close(packed);
    mmh_close(original);
    return status;
}

/* ---- sealed containers ---- */

static mmh_key *person; /* reads and signs; s.mmh is for her, and by her */

static mmh_status know_person(mmh_context *context, mmh_error *err)
{
    const mmh_trust trust = { .struct_size = sizeof trust,
                              .signers = (const mmh_key *const *)&person,
                              .signer_count = 1 };
    mmh_status status = mmh_context_add_key(context, person, err);
    return status == MMH_OK ? mmh_context_require(context, &trust, err) : status;
}

static mmh_status seal(mmh_context *context, const char *output, mmh_error *err)
{
    const char *input = at("m.safetensors");
    const mmh_pack_options options = { .struct_size = sizeof options,
                                       .recipients = (const mmh_key *const *)&person,
                                       .recipient_count = 1,
                                       .signers = (const mmh_key *const *)&person,
                                       .signer_count = 1 };
    mmh_pack_report report = { .struct_size = sizeof report };
    return mmh_pack(context, &input, 1, output, &options, &report, err);
}

static mmh_status run_seal(mmh_context *context, mmh_error *err)
{
    return seal(context, at("out/x.mmh"), err);
}

/* How a container in out/ ends a verify: by one who has her key, and believes her alone, or by anyone. */
static mmh_status verified(bool knows)
{
    mmh_context *context;
    assert_int_equal(mmh_context_create(&context, NULL, NULL), MMH_OK);
    if (knows)
        assert_int_equal(know_person(context, NULL), MMH_OK);
    mmh_status status = mmh_verify(context, at("out/x.mmh"), NULL, NULL, NULL);
    mmh_context_destroy(context);
    return status;
}

static bool sealed_anew(bool success)
{
    if (entry_count(at("out")) == 0)
        return !success;
    return verified(true) == MMH_OK && verified(false) == MMH_E_KEY;
}

static mmh_status run_open_sealed(mmh_context *context, mmh_error *err)
{
    mmh_status status = know_person(context, err);
    return status == MMH_OK ? unpack(context, at("s.mmh"), at("out/m"), true, false, err) : status;
}

static mmh_status run_verify_sealed(mmh_context *context, mmh_error *err)
{
    mmh_status status = know_person(context, err);
    return status == MMH_OK ? mmh_verify(context, at("s.mmh"), NULL, NULL, err) : status;
}

static mmh_status run_look(mmh_context *context, mmh_error *err)
{
    mmh_security *security = NULL;
    mmh_status status = mmh_security_open(context, at("s.mmh"), (const mmh_key *const *)&person, 1,
                                          NULL, &security, err);
    mmh_security_close(security);
    return status;
}

static void copy_in(const char *from)
{
    size_t bytes = 0;
    uint8_t *data = read_file(from, &bytes);
    assert_non_null(data);
    write_file(at("out/x.mmh"), data, bytes);
    free(data);
}

static void prepare_plain(void)
{
    copy_in(at("m.mmh"));
}

static void prepare_sealed(void)
{
    copy_in(at("s.mmh"));
}

static const mmh_change_options in_place = { .struct_size = sizeof in_place };

static mmh_status run_encrypt(mmh_context *context, mmh_error *err)
{
    return mmh_encrypt(context, at("out/x.mmh"), (const mmh_key *const *)&person, 1, NULL, 0,
                       &in_place, err);
}

static bool encrypted(bool success)
{
    bool old_one = output_is("x.mmh", sound.container[MODEL], sound.container_bytes[MODEL]);
    return entry_count(at("out")) == 1 &&
           (success ? verified(false) == MMH_E_KEY : old_one || verified(false) == MMH_E_KEY);
}

static mmh_status run_decrypt(mmh_context *context, mmh_error *err)
{
    mmh_status status = know_person(context, err);
    return status == MMH_OK ? mmh_decrypt(context, at("out/x.mmh"), &in_place, err) : status;
}

static bool decrypted(bool success)
{
    if (entry_count(at("out")) != 1)
        return false;
    return success ? verified(false) == MMH_OK
                   : verified(true) == MMH_OK || verified(false) == MMH_OK;
}

static mmh_status run_sign(mmh_context *context, mmh_error *err)
{
    return mmh_sign(context, at("out/x.mmh"), (const mmh_key *const *)&person, 1, &in_place, err);
}

/* Behind the old footer, as for large containers. */
static mmh_status run_sign_behind(mmh_context *context, mmh_error *err)
{
    context->anew_bytes = 0;
    return run_sign(context, err);
}

static bool is_signed(bool success)
{
    if (entry_count(at("out")) != 1)
        return false;
    return success ? verified(true) == MMH_OK
                   : verified(true) == MMH_OK ||
                         output_is("x.mmh", sound.container[MODEL], sound.container_bytes[MODEL]);
}

/* What a killed signing has left behind the old footer is no output of it. */
static bool is_signed_behind(bool success)
{
    size_t bytes = 0;
    if (is_signed(success))
        return true;
    uint8_t *data = read_file(at("out/x.mmh"), &bytes);
    bool begins = data && bytes > sound.container_bytes[MODEL] &&
                  memcmp(data, sound.container[MODEL], sound.container_bytes[MODEL]) == 0;
    free(data);
    mmh_context *context;
    mmh_reader *reader;
    assert_int_equal(mmh_context_create(&context, NULL, NULL), MMH_OK);
    bool opens = mmh_open(context, at("out/x.mmh"), &reader, NULL) == MMH_OK;
    mmh_close(opens ? reader : NULL);
    mmh_context_destroy(context);
    return !success && begins && opens;
}

static mmh_status run_add_recipient(mmh_context *context, mmh_error *err)
{
    mmh_status status = know_person(context, err);
    return status == MMH_OK
             ? mmh_add_recipients(context, at("out/x.mmh"), (const mmh_key *const *)&person, 1,
                                  NULL, 0, &in_place, err)
             : status;
}

static bool still_sealed(bool success)
{
    (void)success;
    return entry_count(at("out")) == 1 && verified(true) == MMH_OK;
}

static bool left_nothing(bool success)
{
    (void)success;
    return entry_count(at("out")) == 0;
}

/* What is called, what is there before, and whether what is there afterwards is as it must be. */
static const struct call {
    const char *name;
    mmh_status (*run)(mmh_context *context, mmh_error *err);
    void (*prepare)(void);
    bool (*is_right)(bool success);
    bool ciphers; /* OpenSSL is at work, which does not always tell memory from other trouble */
} calls[] = {
    { "pack", run_pack, prepare_nothing, packed_model, false },
    { "pack -9", run_pack_high, prepare_nothing, packed_high, false },
    { "pack over", run_pack_over, prepare_pack_over, packed_over, false },
    { "unpack", run_unpack, prepare_nothing, unpacked, false },
    { "unpack over", run_unpack_over, prepare_unpack_over, unpacked_over, false },
    { "unpack to a folder", run_unpack_folder, prepare_nothing, unpacked_folder, false },
    { "unpack over a folder", run_unpack_folder_over, prepare_folder_over, unpacked_folder_over,
      false },
    { "verify", run_verify, prepare_nothing, left_nothing, false },
    { "verify damage", run_verify_damaged, prepare_nothing, left_nothing, false },
    { "load", run_load, prepare_nothing, left_nothing, false },
    { "compare", run_compare, prepare_nothing, left_nothing, false },
    { "seal", run_seal, prepare_nothing, sealed_anew, true },
    { "open sealed", run_open_sealed, prepare_nothing, unpacked, true },
    { "verify sealed", run_verify_sealed, prepare_nothing, left_nothing, true },
    { "look at guards", run_look, prepare_nothing, left_nothing, true },
    { "encrypt", run_encrypt, prepare_plain, encrypted, true },
    { "decrypt", run_decrypt, prepare_sealed, decrypted, true },
    { "sign", run_sign, prepare_plain, is_signed, true },
    { "sign behind", run_sign_behind, prepare_plain, is_signed_behind, true },
    { "add a recipient", run_add_recipient, prepare_sealed, still_sealed, true },
};

static mmh_status make_call(const struct call *call, unsigned threads,
                            const mmh_allocator *allocator, mmh_error *err)
{
    mmh_context *context;
    mmh_context_options options = { .struct_size = sizeof options,
                                    .threads = threads,
                                    .allocator = allocator };
    mmh_status status = mmh_context_create(&context, &options, err);
    if (status != MMH_OK)
        return status;
    status = call->run(context, err);
    mmh_context_destroy(context);
    return status;
}

static void prepare(const struct call *call)
{
    remove_tree(at("out"));
    assert_int_equal(mkdir(at("out"), 0700), 0);
    call->prepare();
}

/* Whether to go on to the next n. `wanted`: how the failure must be called. */
static bool settle(const struct call *call, const char *fault, uint64_t n, mmh_status status,
                   mmh_status wanted, bool hit, int64_t live, const mmh_error *err)
{
    bool right = call->is_right(status == MMH_OK);
    if (!right || live || (status != MMH_OK && (status != wanted || !hit)) || n == 100000)
        fail_msg("%s, %s %llu: status %d (%s), %lld blocks leak, the folder is %s", call->name,
                 fault, (unsigned long long)n, (int)status, err->message, (long long)live,
                 right ? "right" : "wrong");
    if (!hit) {
        assert_int_equal(status, MMH_OK);
        print_message("  %-22s %s: %llu\n", call->name, fault, (unsigned long long)n - 1);
    }
    return hit;
}

/* ---- the tests ---- */

static void test_a_failed_allocation_is_told_and_leaves_nothing(void **state)
{
    (void)state;
    for (size_t c = 0; c < MMH_COUNT_OF(calls); c++)
        for (int once = 0; once < 2; once++) {
            bool more = true;
            for (uint64_t n = 1; more; n++) {
                struct countdown countdown = { .left = n, .once = once };
                const mmh_allocator allocator = { faulty_allocate, faulty_release, &countdown };
                mmh_error err = { 0 };
                prepare(&calls[c]);
                mmh_status status = make_call(&calls[c], 1, &allocator, &err);
                more = settle(&calls[c], once ? "allocation" : "allocation and all that follow", n,
                              status, MMH_E_MEMORY, countdown.hit, countdown.live, &err);
            }
        }
}

/* With threads it is chance which call is the nth, but none is harmless for that. */
static void test_a_failed_allocation_stops_all_threads(void **state)
{
    (void)state;
    for (size_t c = 0; c < MMH_COUNT_OF(calls); c++) {
        bool more = true;
        for (uint64_t n = 1; more; n += 1 + n / 16) {
            struct countdown countdown = { .left = n, .once = true };
            const mmh_allocator allocator = { faulty_allocate, faulty_release, &countdown };
            mmh_error err = { 0 };
            prepare(&calls[c]);
            mmh_status status = make_call(&calls[c], 4, &allocator, &err);
            more = settle(&calls[c], "allocation of four threads", n, status, MMH_E_MEMORY,
                          countdown.hit, countdown.live, &err);
        }
    }
}

/* Reads, writes, opens, syncs, renames, links, truncations. */
static void test_a_failed_system_call_is_told_and_leaves_nothing(void **state)
{
    (void)state;
    for (int named = 0; named < 2; named++) {
        mmh_io_allow_unnamed(!named);
        for (size_t c = 0; c < MMH_COUNT_OF(calls); c++) {
            bool more = true;
            for (uint64_t n = 1; more; n++) {
                mmh_error err = { 0 };
                prepare(&calls[c]);
                mmh_io_fail_once(n);
                mmh_status status = make_call(&calls[c], 1, NULL, &err);
                more = settle(&calls[c], named ? "system call, with names" : "system call", n,
                              status, MMH_E_IO, mmh_io_fail_after(0) == 0, 0, &err);
            }
        }
    }
    mmh_io_allow_unnamed(true);
}

/* A disk that is gone for good takes no cleaning up either: what is left then is no output, has a
 * temporary name, and goes with the next run. */
static void test_a_dead_disk_leaves_no_half_of_an_output(void **state)
{
    (void)state;
    for (size_t c = 0; c < MMH_COUNT_OF(calls); c++)
        for (uint64_t n = 1;; n++) {
            mmh_error err = { 0 };
            mmh_folder *folder;
            prepare(&calls[c]);
            mmh_io_fail_after(n);
            mmh_status status = make_call(&calls[c], 1, NULL, &err);
            bool hit = mmh_io_fail_after(0) <= 1;
            if (calls[c].run == run_unpack_folder && status != MMH_OK) {
                remove_tree(at("out/new")); /* an empty one may stay, and what is swept */
            } else if (calls[c].run == run_unpack_folder_over && status != MMH_OK) {
                assert_true(output_is("mine", old, sizeof old));
                assert_true(output_is("words.txt", old, sizeof old) ||
                            output_is("words.txt", text, sizeof text));
                prepare(&calls[c]); /* entries that were placed already cannot be taken back */
            } else {
                const char *beside = calls[c].run == run_unpack_folder ? at("out/new/deep")
                                                                       : at("out");
                assert_int_equal(mmh_folder_open(&folder, beside, false, NULL, NULL), MMH_OK);
                mmh_folder_sweep(folder);
                mmh_folder_close(folder);
            }
            if (!settle(&calls[c], "system call and all that follow", n, status, MMH_E_IO, hit, 0,
                        &err))
                break;
        }
}

/* Of a folder that was being unpacked each file by itself is the old one, the new one or, if there
 * was none, absent. */
static bool each_file_is_whole(bool fresh)
{
    const char *words = fresh ? "new/deep/words.txt" : "words.txt";
    const char *model = fresh ? "new/deep/sub/m.safetensors" : "sub/m.safetensors";
    const char *model_path = fresh ? at("out/new/deep/sub/m.safetensors")
                                   : at("out/sub/m.safetensors");
    bool right = output_is(words, text, sizeof text) ||
                 (fresh ? access(at("out/new/deep/words.txt"), F_OK) != 0
                        : output_is(words, old, sizeof old));
    return right && (fresh || output_is("mine", old, sizeof old)) &&
           (access(model_path, F_OK) != 0 || output_is(model, sound.model, sound.model_bytes));
}

static void die(void)
{
    (void)raise(SIGKILL);
}

/* Killed before each system call in turn: the old file or the new one, and what else is there has a
 * temporary name that the next run removes. Without names there is nothing else. */
static void test_a_killed_run_leaves_the_old_file_or_the_new_one(void **state)
{
    (void)state;
    for (int named = 0; named < 2; named++)
        for (size_t c = 0; c < MMH_COUNT_OF(calls); c++) {
            bool more = true, in_folder = calls[c].run == run_unpack_folder ||
                                          calls[c].run == run_unpack_folder_over;
            size_t left = 0;
            for (uint64_t n = 1; more; n++) {
                int result;
                prepare(&calls[c]);
                pid_t child = fork();
                assert_true(child >= 0);
                if (!child) {
                    mmh_io_allow_unnamed(!named);
                    mmh_io_at(n, die);
                    _exit(make_call(&calls[c], 1, NULL, NULL) == MMH_OK ? 0 : 1);
                }
                assert_int_equal(waitpid(child, &result, 0), child);
                more = WIFSIGNALED(result);
                assert_true(more ? WTERMSIG(result) == SIGKILL : WEXITSTATUS(result) == 0);
                const char *beside = access(at("out/new/deep"), F_OK) ? at("out")
                                                                      : at("out/new/deep");
                mmh_folder *folder;
                size_t before = entry_count(beside);
                assert_int_equal(mmh_folder_open(&folder, beside, false, NULL, NULL), MMH_OK);
                mmh_folder_sweep(folder);
                mmh_folder_close(folder);
                left += before - entry_count(beside);
                bool right = more && in_folder
                               ? each_file_is_whole(calls[c].run == run_unpack_folder)
                               : calls[c].is_right(!more);
                if (!right)
                    fail_msg("%s, killed at system call %d: the folder is wrong", calls[c].name,
                             (int)n);
                assert_true(n < 1000);
                if (!more)
                    print_message("  %-22s killed at each of %d system calls%s, %zu leftovers\n",
                                  calls[c].name, (int)n - 1, named ? ", with names" : "", left);
            }
            /* Between a link and a rename there is a name for a moment, if something is replaced. */
            if (!named && !in_folder)
                assert_true(left <= 1);
        }
}

static void test_a_thread_that_does_not_start_is_done_without(void **state)
{
    (void)state;
    for (size_t c = 0; c < MMH_COUNT_OF(calls); c++) {
        for (uint64_t n = 1; n <= 4; n++) {
            mmh_error err = { 0 };
            prepare(&calls[c]);
            mmh_pool_fail_after(n);
            mmh_status status = make_call(&calls[c], 4, NULL, &err);
            assert_int_equal(mmh_pool_fail_after(0), 1); /* the fourth is just not reached */
            if (status != MMH_OK)
                fail_msg("%s, thread %d: %s", calls[c].name, (int)n, err.message);
            assert_true(calls[c].is_right(true));
        }
    }
}

static void test_a_heap_that_fails_is_told_and_leaks_nothing(void **state)
{
    (void)state;
#if defined(HEAP_FAULTS)
    mmh_error err = { 0 };
    for (size_t c = 0; c < MMH_COUNT_OF(calls); c++) { /* what libraries make once and keep */
        prepare(&calls[c]);
        assert_int_equal(make_call(&calls[c], 1, NULL, &err), MMH_OK);
    }
    for (size_t c = 0; c < MMH_COUNT_OF(calls) && !calls[c].ciphers; c++)
        for (int once = 0; once < 2; once++) {
            bool more = true;
            for (uint64_t n = 1; more; n++) {
                mmh_status status = MMH_OK;
                for (int turn = 0; turn < 2; turn++) { /* in the first a library may keep things */
                    err = (mmh_error){ 0 };
                    prepare(&calls[c]);
                    atomic_store(&heap.live, 0);
                    heap.once = once;
                    heap.hit = false;
                    atomic_store(&heap_counts, true);
                    atomic_store(&heap.left, n);
                    status = make_call(&calls[c], 1, NULL, &err);
                    atomic_store(&heap.left, 0);
                    atomic_store(&heap_counts, false);
                }
                more = settle(&calls[c], once ? "malloc" : "malloc and all that follow", n, status,
                              MMH_E_MEMORY, heap.hit, heap.live, &err);
            }
        }
#else
    skip(); /* another allocator is at work here */
#endif
}

static void keep_container(int which, const char *input, int level, const char *name)
{
    mmh_context *context;
    mmh_error err = { 0 };
    assert_int_equal(mmh_context_create(&context, NULL, NULL), MMH_OK);
    if (pack(context, input, level, true, false, &err) != MMH_OK)
        fail_msg("%s", err.message);
    mmh_context_destroy(context);
    assert_int_equal(rename(at("out/x.mmh"), name), 0);
    sound.container[which] = read_file(name, &sound.container_bytes[which]);
    assert_non_null(sound.container[which]);
}

/* f.mmh, with the chunks of its first and of its last block damaged. */
static void make_damaged(void)
{
    mmh_context *context;
    mmh_reader *reader;
    uint8_t *data = malloc(sound.container_bytes[FOLDER]);
    assert_non_null(data);
    memcpy(data, sound.container[FOLDER], sound.container_bytes[FOLDER]);
    assert_int_equal(mmh_context_create(&context, NULL, NULL), MMH_OK);
    assert_int_equal(mmh_open(context, at("f.mmh"), &reader, NULL), MMH_OK);
    const struct mmh_index *index = &reader->container.index;
    assert_true(index->ref_count > 1);
    data[index->chunks[index->refs[0]].offset] ^= 1;
    data[index->chunks[index->refs[index->ref_count - 1]].offset] ^= 1;
    write_file(at("damaged.mmh"), data, sound.container_bytes[FOLDER]);
    mmh_close(reader);
    mmh_context_destroy(context);
    free(data);
}

static int make_inputs(void **state)
{
    if (scratch_make(state))
        return -1;
    sound.model_bytes = make_small_model(sound.model);
    write_file(at("m.safetensors"), sound.model, sound.model_bytes);
    assert_int_equal(mkdir(at("f"), 0755), 0);
    assert_int_equal(mkdir(at("f/sub"), 0755), 0);
    assert_int_equal(mkdir(at("f/empty"), 0755), 0);
    write_file(at("f/sub/m.safetensors"), sound.model, sound.model_bytes);
    write_file(at("f/words.txt"), text, sizeof text);
    assert_int_equal(symlink("sub/m.safetensors", at("f/link")), 0);
    assert_int_equal(mkdir(at("out"), 0700), 0);
    keep_container(MODEL, at("m.safetensors"), 5, at("m.mmh"));
    keep_container(FOLDER, at("f"), 9, at("f.mmh"));
    keep_container(MODEL_HIGH, at("m.safetensors"), 9, at("m9.mmh"));
    make_damaged();
    mmh_context *context;
    assert_int_equal(mmh_key_generate(&person, "ed25519,x25519", 0, NULL), MMH_OK);
    assert_int_equal(mmh_context_create(&context, NULL, NULL), MMH_OK);
    assert_int_equal(seal(context, at("s.mmh"), NULL), MMH_OK);
    mmh_context_destroy(context);
    return 0;
}

static int remove_inputs(void **state)
{
    for (size_t i = 0; i < MMH_COUNT_OF(sound.container); i++)
        free(sound.container[i]);
    mmh_key_destroy(person);
    return scratch_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_failed_allocation_is_told_and_leaves_nothing),
        cmocka_unit_test(test_a_failed_allocation_stops_all_threads),
        cmocka_unit_test(test_a_failed_system_call_is_told_and_leaves_nothing),
        cmocka_unit_test(test_a_dead_disk_leaves_no_half_of_an_output),
        cmocka_unit_test(test_a_killed_run_leaves_the_old_file_or_the_new_one),
        cmocka_unit_test(test_a_thread_that_does_not_start_is_done_without),
        cmocka_unit_test(test_a_heap_that_fails_is_told_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, make_inputs, remove_inputs);
}
