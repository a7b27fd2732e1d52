/*
 * Sources and sinks: inputs that the caller reads and outputs that the caller writes are as good as files.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "engine/engine.h"
#include "scratch.h"

/* ---- sources and sinks in memory ---- */

/* Bytes behind a source; what is read of them is counted. */
struct memory {
    const uint8_t *data;
    uint64_t bytes;
    atomic_uint_fast64_t reads, read_bytes;
    atomic_uint_fast64_t left; /* reads until one fails; 0: none does */
    mmh_status status;         /* with this */
    bool silent;               /* and without a message */
    uint8_t *seen;             /* [bytes] 1: was read; NULL: nobody asks */
};

static mmh_status memory_read(void *user, uint64_t offset, void *destination, size_t bytes,
                              mmh_error *err)
{
    struct memory *memory = user;
    assert_non_null(err);
    assert_true(bytes > 0 && offset <= memory->bytes && bytes <= memory->bytes - offset);
    atomic_fetch_add(&memory->reads, 1);
    atomic_fetch_add(&memory->read_bytes, bytes);
    if (atomic_load(&memory->left) && atomic_fetch_sub(&memory->left, 1) == 1) {
        atomic_store(&memory->left, 1); /* and so do all later ones */
        if (memory->silent)
            return memory->status;
        err->status = memory->status;
        snprintf(err->message, sizeof err->message, "the line was cut");
        return memory->status;
    }
    memcpy(destination, memory->data + offset, bytes);
    if (memory->seen)
        memset(memory->seen + offset, 1, bytes);
    return MMH_OK;
}

static mmh_source source_of(struct memory *memory, const char *name)
{
    return (mmh_source){ .struct_size = sizeof(mmh_source),
                         .name = name,
                         .bytes = memory->bytes,
                         .read = memory_read,
                         .user = memory };
}

/* What a sink was given. */
struct taken {
    uint8_t *data;
    size_t bytes, room, writes;
    size_t left; /* writes until one fails; 0: none does */
    mmh_status status;
};

static mmh_status taken_write(void *user, const void *data, size_t bytes, mmh_error *err)
{
    struct taken *taken = user;
    assert_true(bytes > 0);
    taken->writes++;
    if (taken->left && !--taken->left) {
        taken->left = 1;
        err->status = taken->status;
        snprintf(err->message, sizeof err->message, "the other side is full");
        return taken->status;
    }
    if (taken->bytes + bytes > taken->room) {
        taken->room = 2 * (taken->bytes + bytes);
        taken->data = realloc(taken->data, taken->room);
        assert_non_null(taken->data);
    }
    memcpy(taken->data + taken->bytes, data, bytes);
    taken->bytes += bytes;
    return MMH_OK;
}

static mmh_sink sink_of(struct taken *taken)
{
    return (mmh_sink){
        .struct_size = sizeof(mmh_sink), .name = "sink", .write = taken_write, .user = taken
    };
}

/* ---- a model ---- */

enum {
    SMALL_COUNT = 40, /* tensors of 1024 bf16 */
    ROWS = 1500,
    COLUMNS = 640, /* of the large one: four chunks */
    LARGE_BYTES = 2 * ROWS * COLUMNS
};

static struct {
    uint8_t *model, *container; /* the container is of the file, by mmh_pack */
    size_t model_bytes, container_bytes;
    size_t header_bytes; /* where tensors begin in the file */
} sound;

static void make_weights(uint8_t *to, size_t count, uint64_t seed)
{
    for (size_t i = 0; i < count; i++) {
        int32_t sum = 0;
        for (int k = 0; k < 4; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            sum += (int32_t)(seed >> 48) - 0x8000;
        }
        float weight = (float)sum * 1e-6f;
        uint32_t bits;
        memcpy(&bits, &weight, 4);
        mmh_store16(to + 2 * i, (uint16_t)(bits >> 16));
    }
}

static void make_model(void)
{
    static char header[64 << 10];
    size_t length = 0, offset = 0;
    for (int i = 0; i < SMALL_COUNT; i++, offset += 2048)
        length += (size_t)snprintf(header + length, sizeof header - length,
                                   "%s\"small.%02d\":{\"dtype\":\"BF16\",\"shape\":[32,32],"
                                   "\"data_offsets\":[%zu,%zu]}",
                                   i ? "," : "{", i, offset, offset + 2048);
    length += (size_t)snprintf(header + length, sizeof header - length,
                               ",\"large\":{\"dtype\":\"BF16\",\"shape\":[%d,%d],"
                               "\"data_offsets\":[%zu,%zu]}}",
                               ROWS, COLUMNS, offset, offset + LARGE_BYTES);
    sound.header_bytes = 8 + length;
    sound.model_bytes = sound.header_bytes + offset + LARGE_BYTES;
    sound.model = malloc(sound.model_bytes);
    assert_non_null(sound.model);
    mmh_store64(sound.model, length);
    memcpy(sound.model + 8, header, length);
    make_weights(sound.model + sound.header_bytes, (offset + LARGE_BYTES) / 2, 88172645463325252u);
    /* Two of the small ones are equal. */
    memcpy(sound.model + sound.header_bytes + 7 * 2048, sound.model + sound.header_bytes, 2048);
}

static struct memory model_memory(void)
{
    return (struct memory){ .data = sound.model, .bytes = sound.model_bytes };
}

static struct memory container_memory(void)
{
    return (struct memory){ .data = sound.container, .bytes = sound.container_bytes };
}

static mmh_context *context_of(unsigned threads)
{
    const mmh_context_options options = { .struct_size = sizeof options, .threads = threads };
    mmh_context *context;
    assert_int_equal(mmh_context_create(&context, &options, NULL), MMH_OK);
    return context;
}

static void pack_file(const mmh_pack_options *options, const char *output)
{
    const char *input = at("model.safetensors");
    mmh_context *context = context_of(2);
    mmh_error err = { 0 };
    if (mmh_pack(context, &input, 1, output, options, NULL, &err) != MMH_OK)
        fail_msg("%s", err.message);
    mmh_context_destroy(context);
}

/* ---- packing ---- */

/* A file that is a source gives the container of the file, at any level and with any threads, as a file and
 * as a stream. */
static void test_sources_pack_as_files_do(void **state)
{
    (void)state;
    static const int levels[] = { 1, 5, 9 };
    for (size_t l = 0; l < sizeof levels / sizeof *levels; l++) {
        const mmh_pack_options options = { .struct_size = sizeof options,
                                           .level = levels[l],
                                           .overwrite = true };
        size_t bytes;
        pack_file(&options, at("file.mmh"));
        uint8_t *container = read_file(at("file.mmh"), &bytes);
        for (unsigned threads = 1; threads <= 4; threads += 3) {
            struct memory memory = model_memory();
            const mmh_source source = source_of(&memory, "model.safetensors");
            struct taken taken = { 0 };
            const mmh_sink sink = sink_of(&taken);
            mmh_pack_report report = { .struct_size = sizeof report };
            mmh_context *context = context_of(threads);
            mmh_error err = { 0 };
            assert_int_equal(mmh_pack_sources(context, &source, 1, at("source.mmh"), NULL, &options,
                                              &report, &err),
                             MMH_OK);
            assert_true(file_is(at("source.mmh"), container, bytes));
            assert_int_equal(report.original_bytes, sound.model_bytes);
            assert_int_equal(report.tensor_count, SMALL_COUNT + 1);
            assert_int_equal(
                mmh_pack_sources(context, &source, 1, NULL, &sink, &options, &report, &err),
                MMH_OK);
            assert_int_equal(taken.bytes, bytes);
            assert_memory_equal(taken.data, container, bytes);
            free(taken.data);
            mmh_context_destroy(context);
        }
        free(container);
    }
}

static int prepare(void **state)
{
    if (scratch_make(state))
        return -1;
    make_model();
    write_file(at("model.safetensors"), sound.model, sound.model_bytes);
    assert_int_equal(chmod(at("model.safetensors"), 0644), 0);
    pack_file(NULL, at("model.mmh"));
    sound.container = read_file(at("model.mmh"), &sound.container_bytes);
    return sound.container ? 0 : -1;
}

static int clean(void **state)
{
    free(sound.model);
    free(sound.container);
    return scratch_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sources_pack_as_files_do),
    };
    return cmocka_run_group_tests(tests, prepare, clean);
}
