/*
 * Devices: what a GPU decodes is what the processor decodes, for every kind of float chunk.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Runs on every OpenCL device of the machine, in both styles of kernels, whatever the device is;
 * without one the tests are skipped. $MMH_DEVICE_SMALL keeps chunks small, for simulators.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "device_corpus.h"
#include "device_maker.h"

enum { DEVICES_MAX = 4, HANDLES_MAX = 2 * DEVICES_MAX };

static mmh_device *handles[HANDLES_MAX];
static size_t handle_count, device_count;
static bool small;
static const char *why_not;

static int open_devices(void **state)
{
    static char reason[600];
    mmh_error err = { 0 };
    (void)state;
    device_environment();
    small = getenv("MMH_DEVICE_SMALL") != NULL;
    why_not = reason;
    if (mmh_device_count(&device_count, &err)) {
        (void)snprintf(reason, sizeof reason, "%s", err.message);
        return 0;
    }
    if (!device_count) {
        (void)snprintf(reason, sizeof reason, "there is no OpenCL device");
        return 0;
    }
    static const enum mmh_device_style styles[2] = { MMH_DEVICE_STYLE_ITEMS,
                                                     MMH_DEVICE_STYLE_GROUPS };
    for (size_t d = 0; d < device_count && d < DEVICES_MAX; d++)
        for (size_t s = 0; s < 2; s++) {
            struct mmh_device_options options = { .style = styles[s] };
            if (mmh_device_open(&handles[handle_count], d, &options, NULL, &err)) {
                (void)fprintf(stderr, "device %zu: %s\n", d, err.message);
                return -1;
            }
            const struct mmh_device_info *info = mmh_device_info(handles[handle_count]);
            print_message("device %zu: %s (%s), %s, %s style\n", d, info->name, info->driver,
                          info->is_processor ? "processor" : "GPU", s ? "group" : "item");
            handle_count++;
        }
    why_not = NULL;
    return 0;
}

static int close_devices(void **state)
{
    (void)state;
    for (size_t h = 0; h < handle_count; h++)
        mmh_device_close(handles[h]);
    return 0;
}

static void need_device(void)
{
    if (!why_not)
        return;
    print_message("skipped: %s\n", why_not);
    skip();
}

/* ---- comparing ---- */

/* The first chunk of a set that differs; chunk_count if none does. */
static size_t first_difference(const struct device_corpus *corpus, const uint8_t *expected,
                               const uint8_t *output)
{
    for (size_t c = 0; c < corpus->chunk_count; c++) {
        const struct mmh_device_chunk *chunk = &corpus->chunks[c];
        if (memcmp(expected + chunk->offset, output + chunk->offset, chunk->chunk.bytes) != 0)
            return c;
    }
    return corpus->chunk_count;
}

static void assert_decodes(const struct device_corpus *corpus)
{
    struct mmh_device_set set = device_corpus_set(corpus);
    uint8_t *expected = device_corpus_decode(corpus, NULL);
    uint8_t *output = malloc(corpus->output_bytes + 1);
    for (size_t h = 0; h < handle_count; h++) {
        mmh_error err = { 0 };
        memset(output, 0x5a, corpus->output_bytes);
        mmh_status status = mmh_device_decode(handles[h], output, corpus->output_bytes, &set, &err);
        if (status)
            print_error("handle %zu: %s\n", h, err.message);
        assert_int_equal(status, MMH_OK);
        size_t wrong = first_difference(corpus, expected, output);
        if (wrong < corpus->chunk_count) {
            const struct mmh_device_chunk *chunk = &corpus->chunks[wrong];
            size_t at = 0;
            while (expected[chunk->offset + at] == output[chunk->offset + at])
                at++;
            fail_msg("handle %zu: chunk %zu (type %d, %zu bytes, kind %d, q %d, sign %d, zeros %d, "
                     "tail %d) differs at byte %zu",
                     h, wrong, chunk->chunk.dtype, chunk->chunk.bytes, chunk->payload[0],
                     chunk->payload[1], chunk->payload[2], chunk->payload[3], chunk->payload[4],
                     at);
        }
    }
    free(output);
    free(expected);
}

/* ---- promises ---- */

/* Whatever the format can say, a device reads as the processor does. */
static void test_devices_decode_every_kind_of_chunk(void **state)
{
    (void)state;
    need_device();
    for (unsigned kind = 0; kind < 3; kind++)
        for (unsigned round = 0; round < (small ? 2u : 6u); round++) {
            struct device_corpus corpus;
            struct maker maker;
            maker_init(&maker, 100 * kind + round);
            device_corpus_init(&corpus);
            for (unsigned c = 0; c < (small ? 6u : 12u); c++)
                add_random(&corpus, &maker, kind, small);
            assert_decodes(&corpus);
            device_corpus_release(&corpus);
            maker_release(&maker);
        }
}

/* What mmh packs, at every level, a device unpacks. */
static void test_devices_decode_packed_weights(void **state)
{
    static const int levels[] = { 1, 3, 4, 5, 9 };
    static const mmh_dtype dtypes[] = { MMH_DTYPE_BF16, MMH_DTYPE_F16, MMH_DTYPE_F32 };
    (void)state;
    need_device();
    struct device_corpus corpus;
    device_corpus_init(&corpus);
    uint64_t rows = small ? 20 : 700, columns = small ? 430 : 770;
    for (size_t l = 0; l < MMH_COUNT_OF(levels); l++)
        for (size_t d = 0; d < MMH_COUNT_OF(dtypes); d++)
            device_corpus_weights(&corpus, dtypes[d], rows, columns, levels[l], 10 * l + d);
    assert_true(corpus.chunk_count > 0);
    assert_decodes(&corpus);
    device_corpus_release(&corpus);
}

/* The same with a real model, where the demo or the benchmarks have brought it here. */
static void test_devices_decode_a_real_model(void **state)
{
    static const int levels[] = { 1, 3, 4, 5, 9 };
    static const char *const types[] = { "bf16", "fp16", "fp32" };
    (void)state;
    need_device();
    const char *cache = getenv("MMH_CACHE");
    bool found = false, all = getenv("MMH_DEVICE_FULL") != NULL;
    for (size_t t = 0; t < MMH_COUNT_OF(types) && !small; t++)
        for (size_t l = 0; l < MMH_COUNT_OF(levels); l++) {
            char path[4096];
            (void)snprintf(path, sizeof path, "%s/models/minilm.%s.safetensors",
                           cache ? cache : ".cache", types[t]);
            struct device_corpus corpus;
            device_corpus_init(&corpus);
            uint64_t most = levels[l] == 9 ? 1u << 20 : 3u << 20;
            if (device_corpus_file(&corpus, path, levels[l], all ? UINT64_MAX : most)) {
                found = true;
                assert_true(corpus.chunk_count > 0);
                assert_decodes(&corpus);
                print_message("MiniLM %s, level %d: %zu chunks, %zu others, %.2f %%\n", types[t],
                              levels[l], corpus.chunk_count, corpus.other_chunks,
                              100. * (double)corpus.stored_bytes / (double)corpus.element_bytes);
            }
            device_corpus_release(&corpus);
        }
    if (!found) {
        print_message("skipped: no MiniLM in the cache (`make demo` brings it), or small chunks\n");
        skip();
    }
}

/* Damage that the processor sees, a device sees; where it sees none, both read the same. */
static void test_devices_and_processor_agree_on_damage(void **state)
{
    (void)state;
    need_device();
    unsigned rounds = small ? 8 : 120, refused = 0;
    for (unsigned round = 0; round < rounds; round++) {
        struct device_corpus corpus;
        struct maker maker;
        maker_init(&maker, 1000 + round);
        device_corpus_init(&corpus);
        add_random(&corpus, &maker, round % 3, true); /* small: damage hits structure often */
        uint8_t *payload = (uint8_t *)(uintptr_t)corpus.chunks[0].payload;
        size_t bytes = corpus.chunks[0].payload_bytes;
        unsigned hits = 1 + pick(&maker, 3);
        for (unsigned i = 0; i < hits; i++) {
            uint32_t at = pick(&maker, (uint32_t)(pick(&maker, 2) ? MMH_MIN(bytes, 200) : bytes));
            payload[at] ^= (uint8_t)(1u << pick(&maker, 8));
        }
        if (pick(&maker, 10) == 0)
            corpus.chunks[0].payload_bytes -= MMH_MIN(bytes, 1 + pick(&maker, 9));
        if (corpus.blocks[0].model && pick(&maker, 4) == 0) {
            uint8_t *model = (uint8_t *)(uintptr_t)corpus.blocks[0].model;
            model[pick(&maker, (uint32_t)corpus.blocks[0].model_bytes)] ^=
                (uint8_t)(1u << pick(&maker, 8));
        }
        bool ok;
        struct mmh_device_set set = device_corpus_set(&corpus);
        uint8_t *expected = device_corpus_decode(&corpus, &ok);
        uint8_t *output = calloc(corpus.output_bytes + 1, 1);
        refused += !ok;
        for (size_t h = 0; h < handle_count; h++) {
            mmh_error err = { 0 };
            mmh_status status = mmh_device_decode(handles[h], output, corpus.output_bytes, &set,
                                                  &err);
            if (status != (ok ? MMH_OK : MMH_E_CORRUPT))
                fail_msg("round %u, handle %zu: the processor says %s, the device %d (%s)", round,
                         h, ok ? "good" : "bad", status, err.message);
            if (ok)
                assert_int_equal(first_difference(&corpus, expected, output), 1);
        }
        free(output);
        free(expected);
        device_corpus_release(&corpus);
        maker_release(&maker);
    }
    assert_true(small || (refused > rounds / 4 && refused < rounds));
}

/* Two devices (or one twice) decode a set's halves at the same time, again and again. */
static void test_devices_share_a_set(void **state)
{
    (void)state;
    need_device();
    struct device_corpus corpus;
    struct maker maker;
    maker_init(&maker, 7);
    device_corpus_init(&corpus);
    for (unsigned c = 0; c < (small ? 4u : 16u); c++)
        add_random(&corpus, &maker, c % 3, small);
    uint8_t *expected = device_corpus_decode(&corpus, NULL);
    uint8_t *output = calloc(corpus.output_bytes + 1, 1);
    mmh_device *device[2] = { handles[0], handles[handle_count - 1] };
    struct mmh_device_set whole = device_corpus_set(&corpus);
    size_t half = whole.chunk_count / 2;
    mmh_device_batch *batch[2];
    mmh_device_buffer *buffer[2];
    for (size_t d = 0; d < 2; d++) {
        struct mmh_device_set part = whole;
        part.chunks += d * half;
        part.chunk_count = half;
        assert_int_equal(mmh_device_batch_create(&batch[d], device[d], &part, NULL), MMH_OK);
        assert_int_equal(mmh_device_buffer_create(&buffer[d], device[d], corpus.output_bytes, NULL),
                         MMH_OK);
    }
    for (unsigned again = 0; again < 3; again++) {
        for (size_t d = 0; d < 2; d++)
            assert_int_equal(mmh_device_batch_start(batch[d], buffer[d], NULL), MMH_OK);
        for (size_t d = 0; d < 2; d++) {
            uint64_t ns;
            assert_int_equal(mmh_device_batch_wait(batch[d], &ns, NULL), MMH_OK);
            assert_true(ns > 0);
        }
    }
    for (size_t c = 0; c < 2 * half; c++)
        assert_int_equal(mmh_device_buffer_read(buffer[c / half], output + corpus.chunks[c].offset,
                                                corpus.chunks[c].offset,
                                                corpus.chunks[c].chunk.bytes, NULL),
                         MMH_OK);
    assert_int_equal(first_difference(&corpus, expected, output), corpus.chunk_count);
    for (size_t d = 0; d < 2; d++) {
        mmh_device_batch_destroy(batch[d]);
        mmh_device_buffer_destroy(buffer[d]);
    }
    free(output);
    free(expected);
    device_corpus_release(&corpus);
    maker_release(&maker);
}

/* Tables go to local memory where they fit, and are read from global memory where they do not. */
static void test_tables_fit_the_local_memory_allowed(void **state)
{
    (void)state;
    need_device();
    struct device_corpus corpus;
    struct maker maker;
    maker_init(&maker, 11);
    device_corpus_init(&corpus);
    for (unsigned c = 0; c < (small ? 2u : 8u); c++)
        add_random(&corpus, &maker, 1, small);
    struct mmh_device_set set = device_corpus_set(&corpus);
    uint8_t *expected = device_corpus_decode(&corpus, NULL);
    uint8_t *output = calloc(corpus.output_bytes + 1, 1);
    static const size_t allowed[] = { 1024, 48 << 10 };
    for (size_t a = 0; a < MMH_COUNT_OF(allowed); a++) {
        struct mmh_device_options options = { MMH_DEVICE_STYLE_GROUPS, allowed[a] };
        mmh_device *device;
        assert_int_equal(mmh_device_open(&device, 0, &options, NULL, NULL), MMH_OK);
        memset(output, 0, corpus.output_bytes);
        assert_int_equal(mmh_device_decode(device, output, corpus.output_bytes, &set, NULL),
                         MMH_OK);
        assert_int_equal(first_difference(&corpus, expected, output), corpus.chunk_count);
        mmh_device_close(device);
    }
    free(output);
    free(expected);
    device_corpus_release(&corpus);
    maker_release(&maker);
}

/* What cannot be done is refused with the status that says what to do about it. */
static void test_devices_refuse_what_they_cannot_do(void **state)
{
    (void)state;
    assert_true(mmh_device_takes(MMH_DTYPE_BF16, MMH_CODEC_FLOAT));
    assert_false(mmh_device_takes(MMH_DTYPE_F64, MMH_CODEC_FLOAT));
    assert_false(mmh_device_takes(MMH_DTYPE_BF16, MMH_CODEC_ZSTD));
    assert_false(mmh_device_takes(MMH_DTYPE_COUNT, MMH_CODEC_FLOAT));
    need_device();
    struct device_corpus corpus;
    struct maker maker;
    mmh_error err = { 0 };
    uint8_t *output = malloc(1 << 20);
    maker_init(&maker, 3);
    device_corpus_init(&corpus);
    struct shape shape = { .dtype = MMH_DTYPE_BF16, .elements = 1000, .kind = 2 };
    make_chunk(&maker, &shape);
    device_corpus_block(&corpus, NULL, 0, 1000);
    struct mmh_chunk chunk = { MMH_DTYPE_BF16, 0, 2000 };
    device_corpus_chunk(&corpus, &chunk, maker.payload.data, maker.payload.bytes);
    struct mmh_device_set set = device_corpus_set(&corpus);
    assert_int_equal(mmh_device_decode(handles[0], output, 1999, &set, NULL), MMH_E_USAGE);
    assert_int_equal(mmh_device_decode(handles[0], output, 2000, &set, NULL), MMH_OK);
    corpus.chunks[0].offset = 32;
    assert_int_equal(mmh_device_decode(handles[0], output, 1 << 20, &set, NULL), MMH_E_USAGE);
    corpus.chunks[0].offset = 0;
    corpus.chunks[0].block = 1;
    assert_int_equal(mmh_device_decode(handles[0], output, 1 << 20, &set, NULL), MMH_E_USAGE);
    corpus.chunks[0].block = 0;
    corpus.chunks[0].chunk.dtype = MMH_DTYPE_F64;
    assert_int_equal(mmh_device_decode(handles[0], output, 1 << 20, &set, NULL), MMH_E_UNSUPPORTED);
    struct mmh_device_set nothing = { 0 };
    assert_int_equal(mmh_device_decode(handles[0], output, 0, &nothing, &err), MMH_OK);
    mmh_device *device;
    assert_int_equal(mmh_device_open(&device, 1000, NULL, NULL, NULL), MMH_E_DEVICE);
    assert_null(device);
    free(output);
    device_corpus_release(&corpus);
    maker_release(&maker);
}

/* A machine without OpenCL says so, and nothing else happens. */
static void test_a_missing_driver_is_named(void **state)
{
    (void)state;
    const char *before = getenv("MMH_OPENCL");
    char *kept = before ? strdup(before) : NULL;
    mmh_error err = { 0 };
    size_t count = 1;
    mmh_device *device;
    (void)setenv("MMH_OPENCL", "libmmh-no-such-driver.so", 1);
    assert_int_equal(mmh_device_count(&count, &err), MMH_E_DEVICE);
    assert_int_equal(count, 0);
    assert_non_null(strstr(err.message, "no OpenCL here"));
    assert_non_null(strstr(err.message, "libmmh-no-such-driver.so"));
    assert_int_equal(mmh_device_open(&device, 0, NULL, NULL, NULL), MMH_E_DEVICE);
    if (kept)
        (void)setenv("MMH_OPENCL", kept, 1);
    else
        (void)unsetenv("MMH_OPENCL");
    free(kept);
}

/* Memory that runs out anywhere is reported and leaves nothing behind. */
struct meter {
    long left, live;
};

static void *meter_allocate(void *user, size_t alignment, size_t bytes)
{
    struct meter *meter = user;
    void *memory = NULL;
    if (meter->left-- <= 0)
        return NULL;
    if (posix_memalign(&memory, alignment, bytes))
        return NULL;
    meter->live++;
    return memory;
}

static void meter_release(void *user, void *memory)
{
    struct meter *meter = user;
    meter->live -= memory != NULL;
    free(memory);
}

static void test_devices_survive_a_lack_of_memory(void **state)
{
    (void)state;
    need_device();
    struct meter meter = { 1000, 0 };
    mmh_allocator allocator = { meter_allocate, meter_release, &meter };
    struct device_corpus corpus;
    struct maker maker;
    maker_init(&maker, 5);
    device_corpus_init(&corpus);
    for (unsigned c = 0; c < 3; c++)
        add_random(&corpus, &maker, c, true);
    struct mmh_device_set set = device_corpus_set(&corpus);
    uint8_t *output = malloc(corpus.output_bytes);
    mmh_device *device;
    assert_int_equal(mmh_device_open(&device, 0, NULL, &allocator, NULL), MMH_OK);
    long at_rest = meter.live, n = 0;
    mmh_status status = MMH_E_MEMORY;
    for (; status && n < 200; n++) {
        meter.left = n;
        status = mmh_device_decode(device, output, corpus.output_bytes, &set, NULL);
        assert_true(status == MMH_OK || status == MMH_E_MEMORY);
        assert_int_equal(meter.live, at_rest);
    }
    assert_int_equal(status, MMH_OK);
    assert_true(n > 5);
    mmh_device_close(device);
    assert_int_equal(meter.live, 0);
    for (long left = 0; left < 2; left++) {
        meter.left = left;
        assert_int_equal(mmh_device_open(&device, 0, NULL, &allocator, NULL), MMH_E_MEMORY);
        assert_int_equal(meter.live, 0);
    }
    free(output);
    device_corpus_release(&corpus);
    maker_release(&maker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_missing_driver_is_named),
        cmocka_unit_test(test_devices_refuse_what_they_cannot_do),
        cmocka_unit_test(test_devices_decode_every_kind_of_chunk),
        cmocka_unit_test(test_devices_decode_packed_weights),
        cmocka_unit_test(test_devices_decode_a_real_model),
        cmocka_unit_test(test_devices_and_processor_agree_on_damage),
        cmocka_unit_test(test_devices_share_a_set),
        cmocka_unit_test(test_tables_fit_the_local_memory_allowed),
        cmocka_unit_test(test_devices_survive_a_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, open_devices, close_devices);
}
