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
        size_t bytes = 0;
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

/* Names are those of files in a container, and there is one place for it to go to. */
static void test_what_cannot_be_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "", ".", "..", "/a", "a/", "a//b", "../", "a/.", "./a", "a/..", ".mmh-0123456789abcdef.tmp"
    };
    mmh_context *context = context_of(1);
    struct memory memory = model_memory();
    struct taken taken = { 0 };
    const mmh_sink sink = sink_of(&taken);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        mmh_error err = { 0 };
        const mmh_source source = source_of(&memory, wrong[i]);
        assert_int_equal(mmh_pack_sources(context, &source, 1, NULL, &sink, NULL, NULL, &err),
                         MMH_E_USAGE);
        assert_true(err.message[0]);
    }
    static const char *const pairs[][3] = { { "a", "b", "a" }, { "a/b", "a.b", "a" } };
    for (size_t i = 0; i < 2; i++) {
        const mmh_source sources[] = { source_of(&memory, pairs[i][0]),
                                       source_of(&memory, pairs[i][1]),
                                       source_of(&memory, pairs[i][2]) };
        mmh_reader *reader;
        assert_int_equal(mmh_pack_sources(context, sources, 3, NULL, &sink, NULL, NULL, NULL),
                         MMH_E_USAGE);
        assert_int_equal(mmh_open_original_source(context, sources, 3, NULL, &reader, NULL),
                         MMH_E_USAGE);
        assert_null(reader);
    }
    const mmh_source right = source_of(&memory, "model.safetensors");
    mmh_source sources[] = { right, right };
    mmh_reader *reader;
    sources[1].name = "b";
    sources[1].struct_size--;
    assert_int_equal(mmh_pack_sources(context, sources, 2, NULL, &sink, NULL, NULL, NULL),
                     MMH_E_USAGE);
    for (int what = 0; what < 3; what++) {
        mmh_source source = right;
        mmh_sink to = sink;
        source.struct_size = what == 0 ? 0 : source.struct_size;
        to.struct_size = what == 0 ? 0 : to.struct_size;
        source.name = what == 1 ? NULL : source.name;
        to.name = what == 1 ? NULL : to.name;
        source.read = what == 2 ? NULL : source.read;
        to.write = what == 2 ? NULL : to.write;
        assert_int_equal(mmh_pack_sources(context, &source, 1, NULL, &sink, NULL, NULL, NULL),
                         MMH_E_USAGE);
        assert_int_equal(mmh_pack_sources(context, &right, 1, NULL, &to, NULL, NULL, NULL),
                         MMH_E_USAGE);
        assert_int_equal(mmh_open_source(context, &source, &reader, NULL), MMH_E_USAGE);
        assert_null(reader);
        assert_int_equal(mmh_unpack_to_sink(context, at("model.mmh"), &to, NULL, NULL, NULL),
                         MMH_E_USAGE);
    }
    assert_int_equal(mmh_pack_sources(context, &right, 1, NULL, NULL, NULL, NULL, NULL),
                     MMH_E_USAGE);
    assert_int_equal(mmh_pack_sources(context, &right, 1, at("x.mmh"), &sink, NULL, NULL, NULL),
                     MMH_E_USAGE);
    assert_int_equal(mmh_pack_sources(context, &right, 0, NULL, &sink, NULL, NULL, NULL),
                     MMH_E_USAGE);
    assert_int_equal(mmh_pack_sources(context, NULL, 1, NULL, &sink, NULL, NULL, NULL),
                     MMH_E_USAGE);
    assert_int_equal(mmh_open_source(context, NULL, &reader, NULL), MMH_E_USAGE);
    assert_int_equal(mmh_unpack_to_sink(context, at("model.mmh"), NULL, NULL, NULL, NULL),
                     MMH_E_USAGE);
    const mmh_pack_options parity = { .struct_size = sizeof parity, .parity = 500 };
    assert_int_equal(mmh_pack_sources(context, &right, 1, NULL, &sink, &parity, NULL, NULL),
                     MMH_E_USAGE);
    assert_int_equal(taken.bytes, 0);
    assert_int_equal(memory.reads, 0);
    mmh_context_destroy(context);
}

/* A source of a caller that knows more than this library, or less, is what both know. */
static void test_sources_of_other_headers_are_understood(void **state)
{
    (void)state;
    struct {
        mmh_source source;
        uint64_t more[3];
    } sources[2];
    struct memory memory = model_memory();
    mmh_context *context = context_of(1);
    mmh_reader *reader;
    memset(sources, 0xff, sizeof sources);
    for (size_t i = 0; i < 2; i++) {
        sources[i].source = source_of(&memory, i ? "a.safetensors" : "b.safetensors");
        sources[i].source.struct_size = sizeof *sources;
    }
    assert_int_equal(mmh_open_original_source(context, &sources[0].source, 2, NULL, &reader, NULL),
                     MMH_OK);
    mmh_file_info info = { .struct_size = sizeof info };
    assert_int_equal(mmh_file(reader, 0, &info, NULL), MMH_OK);
    assert_string_equal(info.name, "a.safetensors");
    assert_int_equal(info.tensor_count, SMALL_COUNT + 1);
    assert_int_equal(info.mode, 0644);
    mmh_close(reader);
    mmh_context_destroy(context);
}

static const mmh_status failures[] = { MMH_E_IO, MMH_E_CANCELLED, MMH_E_CORRUPT, MMH_E_KEY };
enum { FAILURES = sizeof failures / sizeof *failures };

/* Whichever read of a source fails, the call does, with its status and message, and leaves nothing. */
static void test_pack_fails_as_its_source_does(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 4; threads += 3) {
        mmh_context *context = context_of(threads);
        mmh_status status = MMH_E_IO;
        uint64_t n = 0;
        while (status != MMH_OK) {
            struct memory memory = model_memory();
            memory.left = ++n;
            memory.status = failures[n % FAILURES];
            memory.silent = n % 3 == 0;
            const mmh_source source = source_of(&memory, "model.safetensors");
            const mmh_pack_options options = { .struct_size = sizeof options, .level = 2 };
            mmh_error err = { 0 };
            status = mmh_pack_sources(context, &source, 1, at("out/x.mmh"), NULL, &options, NULL,
                                      &err);
            if (status == MMH_OK)
                break;
            assert_int_equal(status, memory.status);
            assert_int_equal(err.status, status);
            assert_non_null(strstr(err.message, memory.silent ? "cannot read model.safetensors"
                                                              : "the line was cut"));
            assert_int_equal(entry_count(at("out")), 0);
        }
        assert_true(n > 5);
        assert_int_equal(entry_count(at("out")), 1);
        assert_int_equal(unlink(at("out/x.mmh")), 0);
        mmh_context_destroy(context);
    }
}

static void test_pack_fails_as_its_sink_does(void **state)
{
    (void)state;
    mmh_context *context = context_of(4);
    mmh_status status = MMH_E_IO;
    size_t n = 0;
    while (status != MMH_OK) {
        struct memory memory = model_memory();
        const mmh_source source = source_of(&memory, "model.safetensors");
        struct taken taken = { .left = ++n, .status = failures[n % FAILURES] };
        const mmh_sink sink = sink_of(&taken);
        mmh_error err = { 0 };
        status = mmh_pack_sources(context, &source, 1, NULL, &sink, NULL, NULL, &err);
        if (status == MMH_OK)
            assert_memory_equal(taken.data, sound.container, sound.container_bytes);
        else
            assert_string_equal(err.message, "the other side is full");
        assert_true(status == MMH_OK || status == taken.status);
        free(taken.data);
    }
    assert_true(n > 2);
    mmh_context_destroy(context);
}

/* What a tensor is described in, and what is described, may be sources both. */
static void test_formats_find_sources_beside_them(void **state)
{
    (void)state;
    static const char manifest[] =
        "[{\"paths\":[\"weights.bin\"],\"weights\":[{\"name\":\"w\",\"shape\":[64,32],"
        "\"dtype\":\"float32\"}]}]";
    uint8_t *weights = sound.model + sound.header_bytes;
    const char *input = at("t/weights_manifest.json");
    size_t bytes = 0;
    assert_int_equal(mkdir(at("t"), 0755), 0);
    write_file(input, manifest, sizeof manifest - 1);
    write_file(at("t/weights.bin"), weights, 8192);
    assert_int_equal(chmod(input, 0644) | chmod(at("t/weights.bin"), 0644), 0);
    mmh_context *context = context_of(2);
    assert_int_equal(mmh_pack(context, &input, 1, at("t.mmh"), NULL, NULL, NULL), MMH_OK);
    uint8_t *container = read_file(at("t.mmh"), &bytes);
    struct memory text = { .data = (const uint8_t *)manifest, .bytes = sizeof manifest - 1 };
    struct memory data = { .data = weights, .bytes = 8192 };
    const mmh_source sources[] = { source_of(&text, "weights_manifest.json"),
                                   source_of(&data, "weights.bin") };
    struct taken taken = { 0 };
    const mmh_sink sink = sink_of(&taken);
    mmh_pack_report report = { .struct_size = sizeof report };
    assert_int_equal(mmh_pack_sources(context, sources, 2, NULL, &sink, NULL, &report, NULL),
                     MMH_OK);
    assert_int_equal(report.tensor_count, 1);
    assert_int_equal(taken.bytes, bytes);
    assert_memory_equal(taken.data, container, bytes);
    /* Alone it is packed as it is: nothing is looked for anywhere else. */
    assert_int_equal(mmh_pack_sources(context, sources, 1, NULL, &sink, NULL, &report, NULL),
                     MMH_OK);
    assert_int_equal(report.file_count, 1);
    assert_int_equal(report.tensor_count, 0);
    free(taken.data);
    free(container);
    mmh_context_destroy(context);
}

/* ---- opening and loading ---- */

static mmh_reader *open_memory(mmh_context *context, struct memory *memory)
{
    const mmh_source source = source_of(memory, "served.mmh");
    mmh_reader *reader;
    mmh_error err = { 0 };
    if (mmh_open_source(context, &source, &reader, &err) != MMH_OK)
        fail_msg("%s", err.message);
    return reader;
}

static uint64_t find(mmh_reader *reader, const char *name)
{
    uint64_t tensor = 0;
    assert_int_equal(mmh_find(reader, name, &tensor, NULL), MMH_OK);
    return tensor;
}

/* Load all of it, by all calls that load; what comes back is right if they succeed. */
static mmh_status load_all(mmh_reader *reader, mmh_error *err)
{
    static mmh_load_request requests[SMALL_COUNT + 1];
    const uint8_t *tensors = sound.model + sound.header_bytes;
    const size_t small_bytes = SMALL_COUNT * 2048;
    uint8_t *memory = calloc(1, small_bytes + LARGE_BYTES);
    uint8_t *back = calloc(1, sound.model_bytes);
    assert_true(memory && back);
    for (int i = 0; i < SMALL_COUNT; i++) { /* the last ones first */
        char name[16];
        snprintf(name, sizeof name, "small.%02d", SMALL_COUNT - 1 - i);
        requests[i] = (mmh_load_request){ find(reader, name), memory + (SMALL_COUNT - 1 - i) * 2048,
                                          2048 };
    }
    requests[SMALL_COUNT] = (mmh_load_request){ find(reader, "large"), memory + small_bytes,
                                                LARGE_BYTES };
    mmh_status status = mmh_load_many(reader, requests, SMALL_COUNT + 1, err);
    if (status == MMH_OK) {
        assert_memory_equal(memory, tensors, small_bytes + LARGE_BYTES);
        status = mmh_read(reader, 0, 0, back, sound.model_bytes, err);
    }
    if (status == MMH_OK) {
        assert_memory_equal(back, sound.model, sound.model_bytes);
        status = mmh_load(reader, requests[3].tensor, memory, 2048, err);
    }
    const uint64_t begin[] = { 400, 10 }, end[] = { 1203, 37 };
    if (status == MMH_OK) {
        assert_memory_equal(memory, tensors + (SMALL_COUNT - 4) * 2048, 2048);
        status = mmh_load_slice(reader, requests[SMALL_COUNT].tensor, begin, end, memory,
                                small_bytes, err);
    }
    for (size_t row = 0; status == MMH_OK && row < 803; row++)
        assert_memory_equal(memory + row * 54,
                            tensors + small_bytes + ((400 + row) * COLUMNS + 10) * 2, 54);
    free(back);
    free(memory);
    return status;
}

/* Containers that are served give what files give, and so do served originals. */
static void test_served_tensors_are_those_of_files(void **state)
{
    (void)state;
    if (MMH_BIG_ENDIAN)
        skip();
    for (unsigned threads = 1; threads <= 4; threads += 3) {
        mmh_context *context = context_of(threads);
        struct memory container = container_memory(), model = model_memory();
        mmh_reader *reader = open_memory(context, &container);
        mmh_error err = { 0 };
        assert_int_equal(load_all(reader, &err), MMH_OK);
        mmh_close(reader);
        const mmh_source source = source_of(&model, "model.safetensors");
        assert_int_equal(mmh_open_original_source(context, &source, 1, NULL, &reader, &err),
                         MMH_OK);
        assert_int_equal(load_all(reader, &err), MMH_OK);
        mmh_close(reader);
        mmh_context_destroy(context);
    }
}

/* Whichever read fails, opening or loading does, with its status and message. */
static void test_loads_fail_as_their_source_does(void **state)
{
    (void)state;
    if (MMH_BIG_ENDIAN)
        skip();
    for (int original = 0; original < 2; original++)
        for (unsigned threads = 1; threads <= 4; threads += 3) {
            mmh_context *context = context_of(threads);
            mmh_status status = MMH_E_IO;
            uint64_t n = 0;
            while (status != MMH_OK) {
                struct memory memory = original ? model_memory() : container_memory();
                const mmh_source source = source_of(&memory, "m");
                mmh_reader *reader;
                mmh_error err = { 0 };
                memory.left = ++n;
                memory.status = failures[n % FAILURES];
                status = original
                           ? mmh_open_original_source(context, &source, 1, NULL, &reader, &err)
                           : mmh_open_source(context, &source, &reader, &err);
                if (status == MMH_OK) {
                    status = load_all(reader, &err);
                    mmh_close(reader);
                } else {
                    assert_null(reader);
                }
                assert_true(status == MMH_OK || status == memory.status);
                assert_true(status == MMH_OK || strstr(err.message, "the line was cut"));
            }
            assert_true(n > 5);
            mmh_context_destroy(context);
        }
}

/* ---- round trips ---- */

/* Opening is a few reads, and loading some for each thread, and all together little more than the container
 * once. */
static void test_served_containers_take_few_reads(void **state)
{
    (void)state;
    static uint8_t small[SMALL_COUNT][2048], large[LARGE_BYTES];
    for (unsigned threads = 1; threads <= 4; threads += 3) {
        mmh_context *context = context_of(threads);
        struct memory memory = container_memory();
        assert_true(memory.bytes > 1 << 20);
        mmh_reader *reader = open_memory(context, &memory);
        assert_int_equal(memory.reads, 2); /* the end, with both indexes, and the header */
        mmh_load_request requests[SMALL_COUNT + 1];
        for (int i = 0; i < SMALL_COUNT; i++) {
            char name[16];
            snprintf(name, sizeof name, "small.%02d", i);
            requests[i] = (mmh_load_request){ find(reader, name), small[i], 2048 };
        }
        memory.reads = memory.read_bytes = 0;
        assert_int_equal(mmh_load_many(reader, requests, SMALL_COUNT, NULL), MMH_OK);
        assert_true(memory.reads <= 2);
        requests[SMALL_COUNT] = (mmh_load_request){ find(reader, "large"), large, LARGE_BYTES };
        memory.reads = memory.read_bytes = 0;
        assert_int_equal(mmh_load_many(reader, requests, SMALL_COUNT + 1, NULL), MMH_OK);
        assert_true(memory.reads <= 2 * threads + 2);
        assert_true(memory.read_bytes <= memory.bytes);
        mmh_close(reader);
        mmh_context_destroy(context);
    }
}

/* Small tensors that share a chunk are asked for one after another: the chunk is read and decoded once, and what is
 * kept of it is never taken for another container's. */
static void test_small_tensors_in_turn_are_one_read(void **state)
{
    (void)state;
    static uint8_t small[2048];
    const uint8_t *tensors = sound.model + sound.header_bytes;
    uint8_t *changed = malloc(sound.model_bytes);
    struct taken taken = { 0 };
    const mmh_sink sink = sink_of(&taken);
    const mmh_pack_options options = { .struct_size = sizeof options };
    mmh_context *context = context_of(2);
    assert_non_null(changed);
    memcpy(changed, sound.model, sound.model_bytes);
    for (size_t i = sound.header_bytes; i < sound.model_bytes; i++)
        changed[i] ^= 1;
    struct memory original = { .data = changed, .bytes = sound.model_bytes };
    const mmh_source source = source_of(&original, "model.safetensors");
    assert_int_equal(mmh_pack_sources(context, &source, 1, NULL, &sink, &options, NULL, NULL),
                     MMH_OK);
    struct memory first = container_memory();
    struct memory second = { .data = taken.data, .bytes = taken.bytes };
    mmh_reader *readers[] = { open_memory(context, &first), open_memory(context, &second) };
    first.reads = 0;
    for (size_t i = 0; i < SMALL_COUNT; i++) {
        char name[16];
        snprintf(name, sizeof name, "small.%02zu", i);
        assert_int_equal(mmh_load(readers[0], find(readers[0], name), small, sizeof small, NULL),
                         MMH_OK);
        assert_memory_equal(small, tensors + i * sizeof small, sizeof small);
    }
    assert_true(first.reads <= 4); /* two chunks and their models: one tensor lies in both */
    for (size_t i = 0; i < SMALL_COUNT; i++) {
        const uint8_t *right = i & 1 ? changed + sound.header_bytes : tensors;
        char name[16];
        snprintf(name, sizeof name, "small.%02zu", i);
        assert_int_equal(
            mmh_load(readers[i & 1], find(readers[i & 1], name), small, sizeof small, NULL),
            MMH_OK);
        assert_memory_equal(small, right + i * sizeof small, sizeof small);
    }
    mmh_close(readers[1]);
    second.data = first.data; /* opened anew, perhaps where the other reader was */
    second.bytes = first.bytes;
    readers[1] = open_memory(context, &second);
    assert_int_equal(mmh_load(readers[1], find(readers[1], "small.39"), small, sizeof small, NULL),
                     MMH_OK);
    assert_memory_equal(small, tensors + 39 * sizeof small, sizeof small);
    mmh_close(readers[0]);
    mmh_close(readers[1]);
    free(taken.data);
    free(changed);
    mmh_context_destroy(context);
}

/* An index that is larger than what is read of the end takes one read more. */
static void test_large_indexes_take_one_read_more(void **state)
{
    (void)state;
    enum { TENSORS = 20000 };
    struct mmh_buffer file;
    mmh_context *context = context_of(2);
    struct taken taken = { 0 };
    const mmh_sink sink = sink_of(&taken);
    uint64_t seed = 1;
    mmh_buffer_init(&file, NULL);
    mmh_buffer_u64(&file, 0);
    for (size_t i = 0; i < TENSORS; i++) {
        char text[200];
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        int length = snprintf(text, sizeof text,
                              "%s\"%016llx%016llx\":{\"dtype\":\"U8\",\"shape\":[1],"
                              "\"data_offsets\":[%zu,%zu]}",
                              i ? "," : "{", (unsigned long long)seed,
                              (unsigned long long)(seed * seed), i, i + 1);
        mmh_buffer_bytes(&file, text, (size_t)length);
    }
    mmh_buffer_u8(&file, '}');
    mmh_store64(file.data, file.bytes - 8);
    mmh_buffer_zeros(&file, TENSORS);
    struct memory memory = { .data = file.data, .bytes = file.bytes };
    const mmh_source source = source_of(&memory, "many.safetensors");
    mmh_error err = { 0 };
    if (mmh_pack_sources(context, &source, 1, NULL, &sink, NULL, NULL, &err) != MMH_OK)
        fail_msg("%s", err.message);
    struct memory container = { .data = taken.data, .bytes = taken.bytes };
    mmh_reader *reader = open_memory(context, &container);
    mmh_container_info info = { .struct_size = sizeof info };
    assert_int_equal(mmh_container(reader, &info, NULL), MMH_OK);
    assert_int_equal(info.tensor_count, TENSORS);
    assert_true(info.index_bytes > 128 << 10);
    assert_int_equal(container.reads, 3);
    assert_true(container.read_bytes < info.index_bytes + (129 << 10));
    mmh_close(reader);
    mmh_buffer_release(&file);
    free(taken.data);
    mmh_context_destroy(context);
}

/* A slice reads the chunks that hold it, its model, and nothing else. */
static void test_slices_read_only_their_chunks(void **state)
{
    (void)state;
    mmh_context *context = context_of(1);
    struct memory memory = container_memory();
    mmh_reader *reader = open_memory(context, &memory);
    const struct mmh_index *index = &reader->container.index;
    uint64_t tensor = find(reader, "large");
    mmh_tensor_info info = { .struct_size = sizeof info };
    assert_int_equal(mmh_tensor(reader, tensor, &info, NULL), MMH_OK);
    /* Rows of the second chunk, some columns. */
    const uint64_t begin[] = { 420, 100 }, end[] = { 700, 130 };
    static uint8_t slice[280][60];
    memory.seen = calloc(1, (size_t)memory.bytes);
    memory.reads = 0;
    assert_int_equal(mmh_load_slice(reader, tensor, begin, end, slice, sizeof slice, NULL), MMH_OK);
    const uint8_t *values = sound.model + info.file_offset;
    for (size_t row = 0; row < 280 && !MMH_BIG_ENDIAN; row++)
        assert_memory_equal(slice[row], values + ((420 + row) * COLUMNS + 100) * 2, 60);
    const struct mmh_file_entry *file = &index->files[0];
    uint64_t first = info.file_offset + (begin[0] * COLUMNS + begin[1]) * 2;
    uint64_t last = info.file_offset + ((end[0] - 1) * COLUMNS + end[1]) * 2 - 1;
    const struct mmh_block_entry *block = &index->blocks[mmh_reader_block_at(reader, file, first)];
    uint64_t from = (first - block->file_offset) / block->chunk_bytes;
    assert_true(from > 0 && from == (last - block->file_offset) / block->chunk_bytes);
    const struct mmh_chunk_entry *chunk = &index->chunks[index->refs[block->first_ref + from]];
    const struct mmh_chunk_entry *model = block->has_model ? &index->chunks[block->model] : chunk;
    size_t wanted = 0;
    for (uint64_t i = 0; i < memory.bytes; i++) {
        bool in_chunk = i >= chunk->offset && i < chunk->offset + chunk->bytes;
        bool in_model = i >= model->offset && i < model->offset + model->bytes;
        assert_int_equal(memory.seen[i], in_chunk || in_model);
        wanted += in_chunk || in_model;
    }
    assert_true(wanted < memory.bytes / 2);
    assert_true(memory.reads <= 2);
    free(memory.seen);
    mmh_close(reader);
    mmh_context_destroy(context);
}

/* Served originals are mapped by their headers, and tensors that lie together are read together. */
static void test_served_originals_take_few_reads(void **state)
{
    (void)state;
    static uint8_t small[SMALL_COUNT][2048];
    mmh_context *context = context_of(2);
    struct memory memory = model_memory();
    const mmh_source source = source_of(&memory, "model.safetensors");
    mmh_reader *reader;
    assert_int_equal(mmh_open_original_source(context, &source, 1, NULL, &reader, NULL), MMH_OK);
    assert_true(memory.reads <= 6);
    assert_true(memory.read_bytes < 3 * sound.header_bytes);
    mmh_load_request requests[SMALL_COUNT];
    for (int i = 0; i < SMALL_COUNT; i++) {
        char name[16];
        snprintf(name, sizeof name, "small.%02d", i);
        requests[i] = (mmh_load_request){ find(reader, name), small[SMALL_COUNT - 1 - i], 2048 };
    }
    memory.reads = memory.read_bytes = 0;
    assert_int_equal(mmh_load_many(reader, requests, SMALL_COUNT, NULL), MMH_OK);
    assert_int_equal(memory.reads, 1);
    assert_int_equal(memory.read_bytes, sizeof small);
    mmh_close(reader);
    mmh_context_destroy(context);
}

/* ---- guarded and damaged containers ---- */

struct guarded {
    uint8_t *data;
    size_t bytes;
};

static mmh_key *person;

static struct guarded pack_guarded(bool sealed, unsigned parity)
{
    struct guarded guarded = { 0 };
    const mmh_pack_options options = { .struct_size = sizeof options,
                                       .overwrite = true,
                                       .recipients = (const mmh_key *const *)&person,
                                       .recipient_count = sealed,
                                       .signers = (const mmh_key *const *)&person,
                                       .signer_count = sealed,
                                       .parity = parity };
    pack_file(&options, at("guarded.mmh"));
    guarded.data = read_file(at("guarded.mmh"), &guarded.bytes);
    assert_non_null(guarded.data);
    return guarded;
}

static void test_served_containers_may_be_sealed_and_signed(void **state)
{
    (void)state;
    if (MMH_BIG_ENDIAN)
        skip();
    struct guarded guarded = pack_guarded(true, 500);
    const mmh_trust trust = { .struct_size = sizeof trust,
                              .signers = (const mmh_key *const *)&person,
                              .signer_count = 1 };
    struct memory memory = { .data = guarded.data, .bytes = guarded.bytes };
    const mmh_source source = source_of(&memory, "served.mmh");
    mmh_context *context = context_of(4);
    mmh_error err = { 0 };
    mmh_reader *reader;
    assert_int_equal(mmh_open_source(context, &source, &reader, &err), MMH_E_KEY);
    assert_non_null(strstr(err.message, "served.mmh"));
    assert_int_equal(mmh_context_add_key(context, person, NULL), MMH_OK);
    assert_int_equal(mmh_context_require(context, &trust, NULL), MMH_OK);
    memory.reads = 0;
    reader = open_memory(context, &memory);
    assert_true(memory.reads <= 3);
    memset(&err, 0, sizeof err);
    assert_int_equal(load_all(reader, &err), MMH_OK);
    mmh_close(reader);
    struct memory unsigned_memory = container_memory();
    const mmh_source unsigned_source = source_of(&unsigned_memory, "served.mmh");
    assert_int_equal(mmh_open_source(context, &unsigned_source, &reader, NULL), MMH_E_UNTRUSTED);
    mmh_context_destroy(context);
    free(guarded.data);
}

/* Damage of a chunk, and of all that opening needs, is mended from parity; what fails while that is read is
 * a failure. */
static void test_served_containers_are_mended(void **state)
{
    (void)state;
    if (MMH_BIG_ENDIAN)
        skip();
    struct guarded guarded = pack_guarded(false, 1000);
    mmh_context *context = context_of(4);
    struct memory memory = { .data = guarded.data, .bytes = guarded.bytes };
    mmh_reader *reader = open_memory(context, &memory);
    const struct mmh_index *index = &reader->container.index;
    guarded.data[index->chunks[index->chunk_count - 2].offset + 100] ^= 1;
    uint64_t index_a = reader->container.footer.index_a;
    uint64_t index_b = reader->container.footer.index_b;
    mmh_container_info info = { .struct_size = sizeof info };
    mmh_error err = { 0 };
    assert_int_equal(load_all(reader, &err), MMH_OK);
    assert_int_equal(mmh_container(reader, &info, NULL), MMH_OK);
    assert_int_equal(info.mended, MMH_MENDED_CHUNKS);
    mmh_close(reader);
    for (int round = 0; round < 2; round++) { /* then with its footers and indexes gone too */
        mmh_status status = MMH_E_IO;
        uint64_t n = 0;
        for (; status != MMH_OK; n++) {
            const mmh_source source = source_of(&memory, "served.mmh");
            memory.left = n; /* at first none fails */
            memory.status = failures[n % FAILURES];
            memset(&err, 0, sizeof err);
            status = mmh_open_source(context, &source, &reader, &err);
            if (status == MMH_OK) {
                status = load_all(reader, &err);
                assert_int_equal(mmh_container(reader, &info, NULL), MMH_OK);
                mmh_close(reader);
            }
            if (!n) {
                assert_int_equal(status, MMH_OK);
                assert_true(info.mended & MMH_MENDED_CHUNKS);
                assert_int_equal((info.mended & MMH_MENDED_INDEX) != 0, round);
                status = MMH_E_IO;
                continue;
            }
            assert_true(status == MMH_OK || status == memory.status);
            assert_true(status == MMH_OK || status == MMH_E_CORRUPT ||
                        strstr(err.message, "the line was cut"));
            n += n / 8; /* not each: reading what is left takes many */
        }
        assert_true(n > 5);
        memset(guarded.data + index_a, 0, 64);
        memset(guarded.data + index_b - 64, 0, guarded.bytes - index_b + 64);
    }
    mmh_context_destroy(context);
    free(guarded.data);
}

static mmh_status zeros_read(void *user, uint64_t offset, void *destination, size_t bytes,
                             mmh_error *err)
{
    unsigned *reads = user;
    (void)offset, (void)err;
    memset(destination, 0, bytes);
    ++*reads;
    return MMH_OK;
}

/* What is no container is refused, and however long it is, soon. */
static void test_other_sources_are_refused(void **state)
{
    (void)state;
    static const uint64_t lengths[] = { 0, 1, 127, 383, 384, 385, 5000, 1 << 18, 1 << 24 };
    mmh_context *context = context_of(1);
    mmh_reader *reader;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        unsigned reads = 0;
        const mmh_source source = { sizeof source, "page.html", lengths[i], zeros_read, &reads };
        mmh_error err = { 0 };
        assert_int_equal(mmh_open_source(context, &source, &reader, &err), MMH_E_CORRUPT);
        assert_int_equal(strncmp(err.message, "page.html: ", 11), 0);
        assert_true(reads <= 4 + (lengths[i] >> 20));
    }
    unsigned reads = 0;
    const mmh_source endless = { sizeof endless, "zeros", UINT64_MAX, zeros_read, &reads };
    assert_int_equal(mmh_open_source(context, &endless, &reader, NULL), MMH_E_CORRUPT);
    assert_true(reads <= 3);
    mmh_context_destroy(context);
}

/* ---- unpacking to a sink ---- */

static void test_unpack_fails_as_its_sink_does(void **state)
{
    (void)state;
    mmh_context *context = context_of(2);
    mmh_status status = MMH_E_IO;
    size_t n = 0;
    while (status != MMH_OK) {
        struct taken taken = { .left = ++n, .status = failures[n % FAILURES] };
        const mmh_sink sink = sink_of(&taken);
        mmh_error err = { 0 };
        status = mmh_unpack_to_sink(context, at("model.mmh"), &sink, NULL, NULL, &err);
        assert_true(status == MMH_OK || status == taken.status);
        if (status == MMH_OK) {
            assert_int_equal(taken.bytes, sound.model_bytes);
            assert_memory_equal(taken.data, sound.model, taken.bytes);
        } else {
            assert_string_equal(err.message, "the other side is full");
        }
        free(taken.data);
    }
    mmh_context_destroy(context);
}

/* ---- progress ---- */

struct watching {
    unsigned calls, stop_at;
    uint64_t last_done, total;
    pthread_t caller;
};

static bool watch(void *user, const mmh_progress *progress)
{
    struct watching *watching = user;
    assert_string_equal(progress->stage, "load");
    assert_true(progress->total_bytes > 0);
    assert_true(progress->done_bytes >= watching->last_done);
    watching->last_done = progress->done_bytes;
    watching->total = progress->total_bytes;
    return ++watching->calls != watching->stop_at;
}

static mmh_status load_by(mmh_reader *reader, int how, mmh_error *err)
{
    static uint8_t memory[LARGE_BYTES];
    uint64_t tensor = find(reader, "large");
    const mmh_load_request request = { tensor, memory, sizeof memory };
    const uint64_t begin[] = { 0, 0 }, end[] = { ROWS, 5 };
    switch (how) {
    case 0:
        return mmh_load(reader, tensor, memory, sizeof memory, err);
    case 1:
        return mmh_load_many(reader, &request, 1, err);
    case 2:
        return mmh_load_slice(reader, tensor, begin, end, memory, sizeof memory, err);
    default:
        return mmh_read(reader, 0, 0, memory, sizeof memory, err);
    }
}

/* Every call that loads tells how far it is, and ends when it is told to. */
static void test_every_load_tells_progress_and_may_be_cancelled(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++)
        for (unsigned stop_at = 0; stop_at < 2; stop_at++) {
            struct watching watching = { .stop_at = stop_at };
            const mmh_context_options options = { .struct_size = sizeof options,
                                                  .threads = 2,
                                                  .progress = watch,
                                                  .progress_user = &watching };
            mmh_context *context;
            mmh_reader *reader;
            mmh_error err = { 0 };
            assert_int_equal(mmh_context_create(&context, &options, NULL), MMH_OK);
            assert_int_equal(mmh_open(context, at("model.mmh"), &reader, NULL), MMH_OK);
            assert_int_equal(load_by(reader, how, &err), stop_at ? MMH_E_CANCELLED : MMH_OK);
            assert_true(watching.calls >= 1);
            if (!stop_at)
                assert_int_equal(watching.last_done, watching.total);
            mmh_close(reader);
            mmh_context_destroy(context);
        }
}

/* ---- faults ---- */

static atomic_uint_fast64_t allocations_left;

static void *few_allocate(void *user, size_t alignment, size_t bytes)
{
    void *memory = NULL;
    (void)user;
    if (!atomic_load(&allocations_left) || atomic_fetch_sub(&allocations_left, 1) == 1) {
        atomic_store(&allocations_left, 0);
        return NULL;
    }
    return posix_memalign(&memory, alignment < sizeof(void *) ? sizeof(void *) : alignment, bytes)
             ? NULL
             : memory;
}

static void few_release(void *user, void *memory)
{
    (void)user;
    free(memory);
}

static mmh_status pack_served(mmh_context *context, mmh_error *err)
{
    static const char small[] = "words and words, and words again";
    struct memory memory = { .data = (const uint8_t *)small, .bytes = sizeof small };
    const mmh_source sources[] = { source_of(&memory, "a/b"), source_of(&memory, "a/c") };
    struct taken taken = { 0 };
    const mmh_sink sink = sink_of(&taken);
    mmh_status status = mmh_pack_sources(context, sources, 2, NULL, &sink, NULL, NULL, err);
    free(taken.data);
    return status;
}

static mmh_status load_served(mmh_context *context, mmh_error *err)
{
    struct memory memory = container_memory();
    const mmh_source source = source_of(&memory, "served.mmh");
    mmh_reader *reader;
    mmh_status status = mmh_open_source(context, &source, &reader, err);
    for (int how = 1; how < 3 && status == MMH_OK; how++)
        status = load_by(reader, how, err);
    if (status != MMH_OK)
        assert_true(status == MMH_E_MEMORY);
    mmh_close(reader);
    return status;
}

static mmh_status load_original(mmh_context *context, mmh_error *err)
{
    struct memory memory = model_memory();
    const mmh_source source = source_of(&memory, "model.safetensors");
    mmh_reader *reader;
    mmh_status status = mmh_open_original_source(context, &source, 1, NULL, &reader, err);
    for (int how = 1; how < 3 && status == MMH_OK; how++)
        status = load_by(reader, how, err);
    mmh_close(reader);
    return status;
}

/* Whichever allocation fails, the call says so, and nothing leaks (the sanitizers look). */
static void test_no_allocation_may_fail_unseen(void **state)
{
    (void)state;
    static mmh_status (*const calls[])(mmh_context *, mmh_error *) = { pack_served, load_served,
                                                                       load_original };
    static const mmh_allocator few = { few_allocate, few_release, NULL };
    for (size_t c = 0; c < sizeof calls / sizeof *calls; c++) {
        mmh_status status = MMH_E_MEMORY;
        uint64_t n = 1;
        for (; status != MMH_OK; n++) {
            const mmh_context_options options = { .struct_size = sizeof options,
                                                  .threads = 1,
                                                  .allocator = &few };
            mmh_context *context;
            mmh_error err = { 0 };
            allocations_left = n;
            status = mmh_context_create(&context, &options, &err);
            if (status == MMH_OK)
                status = calls[c](context, &err);
            assert_int_equal(err.status, status);
            assert_true(status == MMH_OK || status == MMH_E_MEMORY);
            mmh_context_destroy(context);
        }
        assert_true(n > 20);
    }
}

static int prepare(void **state)
{
    if (scratch_make(state))
        return -1;
    make_model();
    write_file(at("model.safetensors"), sound.model, sound.model_bytes);
    assert_int_equal(chmod(at("model.safetensors"), 0644), 0);
    assert_int_equal(mkdir(at("out"), 0755), 0);
    pack_file(NULL, at("model.mmh"));
    sound.container = read_file(at("model.mmh"), &sound.container_bytes);
    assert_int_equal(mmh_key_generate(&person, "ed25519,x25519", 0, NULL), MMH_OK);
    return sound.container ? 0 : -1;
}

static int clean(void **state)
{
    free(sound.model);
    free(sound.container);
    mmh_key_destroy(person);
    return scratch_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sources_pack_as_files_do),
        cmocka_unit_test(test_what_cannot_be_is_refused),
        cmocka_unit_test(test_sources_of_other_headers_are_understood),
        cmocka_unit_test(test_pack_fails_as_its_source_does),
        cmocka_unit_test(test_pack_fails_as_its_sink_does),
        cmocka_unit_test(test_formats_find_sources_beside_them),
        cmocka_unit_test(test_served_tensors_are_those_of_files),
        cmocka_unit_test(test_loads_fail_as_their_source_does),
        cmocka_unit_test(test_served_containers_take_few_reads),
        cmocka_unit_test(test_small_tensors_in_turn_are_one_read),
        cmocka_unit_test(test_large_indexes_take_one_read_more),
        cmocka_unit_test(test_slices_read_only_their_chunks),
        cmocka_unit_test(test_served_originals_take_few_reads),
        cmocka_unit_test(test_served_containers_may_be_sealed_and_signed),
        cmocka_unit_test(test_served_containers_are_mended),
        cmocka_unit_test(test_other_sources_are_refused),
        cmocka_unit_test(test_unpack_fails_as_its_sink_does),
        cmocka_unit_test(test_every_load_tells_progress_and_may_be_cancelled),
        cmocka_unit_test(test_no_allocation_may_fail_unseen),
    };
    return cmocka_run_group_tests(tests, prepare, clean);
}
