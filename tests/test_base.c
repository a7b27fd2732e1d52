/*
 * Tests of the base room: errors, cursor, arena, JSON, pool, files.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/bits.h"
#include "base/cursor.h"
#include "base/io.h"
#include "base/json.h"
#include "base/pool.h"

#define assert_ok(call) assert_status(MMH_OK, call)
#define assert_status(expected, call) assert_int_equal(expected, call)

/* ---- an allocator that fails on request and counts ---- */

struct counting {
    mmh_allocator allocator;
    uint64_t fail_at; /* the nth allocation from now on fails; 0: none */
    int64_t live;
};

static void *counting_allocate(void *user, size_t alignment, size_t bytes)
{
    struct counting *counting = user;
    void *memory = NULL;
    assert_true(alignment && !(alignment & (alignment - 1)) && bytes);
    if (counting->fail_at && !--counting->fail_at) {
        counting->fail_at = 1;
        return NULL;
    }
    if (posix_memalign(&memory, alignment, bytes))
        return NULL;
    counting->live++;
    return memory;
}

static void counting_release(void *user, void *memory)
{
    struct counting *counting = user;
    assert_non_null(memory);
    counting->live--;
    free(memory);
}

static void counting_init(struct counting *counting)
{
    *counting = (struct counting){ { counting_allocate, counting_release, counting }, 0, 0 };
}

/* ---- a folder for one test ---- */

static char test_folder[256];

static int folder_setup(void **state)
{
    const char *tmp = getenv("TMPDIR");
    (void)state;
    snprintf(test_folder, sizeof test_folder, "%s/mmh-base.XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(test_folder) ? 0 : -1;
}

/* The same, on a system that has no files without a name. */
static int named_setup(void **state)
{
    mmh_io_allow_unnamed(false);
    return folder_setup(state);
}

static int folder_teardown(void **state)
{
    char command[1200];
    (void)state;
    mmh_io_fail_after(0);
    mmh_io_allow_unnamed(true);
    snprintf(command, sizeof command, "chmod -R u+rwx '%s'; rm -rf '%s'", test_folder, test_folder);
    return system(command);
}

static const char *beneath(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", test_folder, name);
    return path;
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(0, fclose(file));
}

static void assert_text(const char *path, const char *text)
{
    uint8_t *data;
    size_t bytes;
    mmh_error err = { .status = MMH_OK };
    assert_ok(mmh_input_slurp(&data, &bytes, path, 1 << 20, NULL, &err));
    assert_string_equal((const char *)data, text);
    assert_int_equal(bytes, strlen(text));
    mmh_free(NULL, data);
}

/* Entries beneath the test's folder, temporary ones too. */
static size_t entries_beneath(void)
{
    struct mmh_arena arena;
    struct mmh_path_info *entries;
    size_t count;
    mmh_folder *folder;
    mmh_arena_init(&arena, NULL);
    assert_ok(mmh_folder_open(&folder, test_folder, false, NULL, NULL));
    assert_ok(mmh_folder_list(&entries, &count, &arena, folder, NULL, NULL));
    mmh_folder_close(folder);
    mmh_arena_release(&arena);
    return count;
}

/* ---- status ---- */

static void test_the_first_failure_wins(void **state)
{
    mmh_error err = { .status = MMH_OK };
    (void)state;
    assert_status(MMH_E_IO, mmh_fail(&err, MMH_E_IO, "first %d", 1));
    assert_status(MMH_E_KEY, mmh_fail(&err, MMH_E_KEY, "second"));
    assert_int_equal(err.status, MMH_E_IO);
    assert_string_equal(err.message, "first 1");
    assert_status(MMH_E_KEY, mmh_fail(NULL, MMH_E_KEY, "nobody listens"));
}

static void test_messages_are_cut_whole_and_printable(void **state)
{
    mmh_error err = { .status = MMH_OK };
    char text[1200];
    (void)state;
    for (size_t i = 0; i < sizeof text - 1; i++)
        text[i] = (char)(i % 2 ? 0xa9 : 0xc3); /* U+00E9, two bytes */
    text[sizeof text - 1] = '\0';
    for (size_t lead = 0; lead < 2; lead++) {
        err.status = MMH_OK;
        mmh_fail(&err, MMH_E_IO, "%s%s", lead ? "x" : "", text);
        size_t bytes = strlen(err.message);
        assert_true(bytes < sizeof err.message && bytes > sizeof err.message - 6);
        assert_string_equal(err.message + bytes - 3, "...");
        assert_int_equal(0, (bytes - 3 - lead) % 2);
    }
    err.status = MMH_OK;
    mmh_fail(&err, MMH_E_IO, "a\x1b[31mb\nc\x7f");
    assert_string_equal(err.message, "a?[31mb?c?");
}

static void test_sizes_do_not_overflow(void **state)
{
    size_t size = 7;
    uint64_t wide = 7;
    (void)state;
    assert_false(mmh_size_mul(&size, SIZE_MAX / 2 + 1, 2));
    assert_false(mmh_size_add(&size, SIZE_MAX, 1));
    assert_false(mmh_u64_mul(&wide, UINT64_MAX, 2));
    assert_false(mmh_u64_add(&wide, UINT64_MAX, 1));
    assert_true(size == 7 && wide == 7);
    assert_true(mmh_size_mul(&size, SIZE_MAX, 1) && size == SIZE_MAX);
    assert_true(mmh_size_mul(&size, SIZE_MAX, 0) && size == 0);
    assert_true(mmh_size_add(&size, SIZE_MAX - 1, 1) && size == SIZE_MAX);
    assert_true(mmh_u64_mul(&wide, 1ull << 32, (1ull << 32) - 1));
    assert_true(wide == UINT64_MAX - UINT32_MAX);
}

static void test_bits_are_little_endian_anywhere(void **state)
{
    uint8_t bytes[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8 };
    (void)state;
    assert_int_equal(mmh_load16(bytes + 1), 0x0201);
    assert_int_equal(mmh_load32(bytes + 1), 0x04030201);
    assert_true(mmh_load64(bytes + 1) == 0x0807060504030201);
    assert_true(mmh_load64_big(bytes + 1) == 0x0102030405060708);
    mmh_store32(bytes + 3, 0xa1b2c3d4);
    assert_true(bytes[3] == 0xd4 && bytes[6] == 0xa1 && bytes[7] == 7);
    assert_int_equal(mmh_rotl16(0x8001, 1), 3);
    assert_int_equal(mmh_rotr16(3, 1), 0x8001);
    assert_int_equal(mmh_rotl32(1, 0), 1);
    assert_true(mmh_rotr64(1, 1) == 1ull << 63);
    assert_true(mmh_clz32(0) == 32 && mmh_clz64(1) == 63 && mmh_ctz32(8) == 3 &&
                mmh_ctz64(0) == 64);
    assert_true(mmh_log2_ceil(0) == 0 && mmh_log2_ceil(1) == 0 && mmh_log2_ceil(5) == 3 &&
                mmh_log2_ceil(8) == 3 && mmh_log2_ceil(UINT64_MAX) == 64);
    assert_true(mmh_round_up(65, 64) == 128 && mmh_divide_up(UINT64_MAX, 2) == 1ull << 63);
}

/* ---- memory ---- */

static void test_arena_gives_aligned_memory_and_frees_all(void **state)
{
    struct counting counting;
    struct mmh_arena arena;
    (void)state;
    counting_init(&counting);
    mmh_arena_init(&arena, &counting.allocator);
    for (size_t i = 0; i < 3000; i++) {
        size_t alignment = (size_t)1 << i % 13, bytes = i * 37 % 5000;
        uint8_t *memory = mmh_arena_alloc(&arena, alignment, bytes);
        assert_non_null(memory);
        assert_int_equal(0, (uintptr_t)memory % alignment);
        memset(memory, 0xff, bytes);
        uint8_t *zeros = mmh_arena_array(&arena, bytes, 3);
        assert_non_null(zeros);
        for (size_t k = 0; k < 3 * bytes; k++)
            assert_int_equal(0, zeros[k]);
    }
    assert_string_equal(mmh_arena_string(&arena, "abcdef", 3), "abc");
    assert_string_equal(mmh_arena_format(&arena, "%s-%d", "x", 12), "x-12");
    assert_null(mmh_arena_array(&arena, SIZE_MAX / 2, 3));
    assert_null(mmh_arena_alloc(&arena, 64, SIZE_MAX));
    assert_null(mmh_arena_alloc(&arena, 64, (size_t)PTRDIFF_MAX + 1));
    assert_null(mmh_alloc_array(&counting.allocator, SIZE_MAX, 2));
    counting.fail_at = 1;
    assert_null(mmh_arena_alloc(&arena, 0, 10 << 20));
    mmh_arena_release(&arena);
    assert_int_equal(0, counting.live);
    counting.fail_at = 0;
    assert_non_null(mmh_arena_alloc(&arena, 0, 1));
    mmh_arena_release(&arena);
    assert_int_equal(0, counting.live);
}

static void test_large_memory_is_aligned_for_huge_pages(void **state)
{
    (void)state;
    uint8_t *memory = mmh_alloc(NULL, 0, MMH_HUGE_BYTES + 1);
    assert_non_null(memory);
    assert_int_equal(0, (uintptr_t)memory % MMH_HUGE_ALIGNMENT);
    memory[MMH_HUGE_BYTES] = 1;
    mmh_free(NULL, memory);
    mmh_free(NULL, mmh_alloc(NULL, 0, 0));
    mmh_free(NULL, NULL);
    uint8_t secret[5] = "abcd";
    assert_true(mmh_secret_equal(secret, "abcd", 5) && !mmh_secret_equal(secret, "abce", 5));
    mmh_wipe(secret, sizeof secret);
    assert_memory_equal(secret, "\0\0\0\0\0", 5);
}

#ifdef __linux__
/* A clock on which each huge page takes huge_ns, and the small ones after it as long as small_ns for each. */
static uint64_t scripted_now, scripted_reads, huge_ns, small_ns;

static uint64_t scripted_clock(void)
{
    static const unsigned small_pages = 32;
    switch (scripted_reads++ % 4) {
    case 1:
        return scripted_now += huge_ns;
    case 3:
        return scripted_now += small_pages * small_ns;
    default:
        return scripted_now;
    }
}

/* How many bytes of [memory, memory + bytes) the system has been asked for huge pages in. */
static size_t asked_bytes(const uint8_t *memory, size_t bytes)
{
    FILE *file = fopen("/proc/self/smaps", "r");
    char line[512];
    unsigned long long begin = 0, end = 0, from, to;
    size_t asked = 0;
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%llx-%llx ", &from, &to) == 2) {
            begin = MMH_MAX(from, (uintptr_t)memory);
            end = MMH_MIN(to, (uintptr_t)memory + bytes);
        } else if (!strncmp(line, "VmFlags:", 8) && strstr(line, " hg") && begin < end) {
            asked += (size_t)(end - begin);
        }
    }
    fclose(file);
    return asked;
}

static void test_huge_pages_are_left_while_they_are_slow(void **state)
{
    const size_t huge = MMH_HUGE_ALIGNMENT, step = 4 * huge, steps = 16;
    struct mmh_huge_pace pace = { .clock = scripted_clock };
    uint8_t *area = mmap(NULL, step * steps + huge, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(area != MAP_FAILED);
    uint8_t *memory = area + (-(uintptr_t)area & (huge - 1));
    (void)state;
    memory[0] = 0xa5;
    memory[huge] = 0x5a;
    scripted_reads = 0;
    huge_ns = 100000;
    small_ns = 1;
    mmh_huge_try(&pace, memory, step);
    if (!asked_bytes(memory, step)) { /* a kernel without them */
        munmap(area, step * steps + huge);
        skip();
    }
    assert_int_equal(step, asked_bytes(memory, step));
    huge_ns = 2400000; /* 512 small pages of 4 KiB would take 0.5 ms */
    small_ns = 1000 * (uint64_t)sysconf(_SC_PAGESIZE) / 4096;
    for (size_t i = 1; i < steps; i++) { /* tried at 1, 4, 9: 2, 4, 8 are passed over */
        scripted_reads = 0;
        mmh_huge_try(&pace, memory + i * step, step);
        assert_int_equal(i == 1 || i == 4 || i == 9 ? huge : 0,
                         asked_bytes(memory + i * step, step));
    }
    assert_int_equal(8, pace.pause);
    pace.left = 0;
    scripted_reads = 0;
    small_ns *= 10; /* slow, and small ones are slower */
    mmh_huge_try(&pace, memory + 15 * step, step);
    assert_int_equal(step, asked_bytes(memory + 15 * step, step));
    assert_int_equal(0, pace.pause);
    assert_int_equal(0xa5, memory[0]);
    assert_int_equal(0x5a, memory[huge]);
    munmap(area, step * steps + huge);
}
#endif

/* ---- cursor and buffer ---- */

static void test_cursor_remembers_its_first_short_read(void **state)
{
    static const uint8_t bytes[] = { 1,    2,    0,    3,    0,    0,    0,   0xff, 0xff,
                                     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 'a', 'b' };
    struct mmh_cursor in;
    mmh_error err = { .status = MMH_OK };
    (void)state;
    mmh_cursor_init(&in, bytes, sizeof bytes);
    assert_int_equal(mmh_cursor_u8(&in), 1);
    assert_int_equal(mmh_cursor_u16(&in), 2);
    assert_int_equal(mmh_cursor_u32(&in), 3);
    assert_true(mmh_cursor_i64(&in) == -1);
    assert_status(MMH_E_CORRUPT, mmh_cursor_finish(&in, "x", NULL)); /* two are left */
    assert_ok(mmh_cursor_finish_prefix(&in, "x", NULL));
    assert_memory_equal(mmh_cursor_bytes(&in, 2), "ab", 2);
    assert_ok(mmh_cursor_finish(&in, "x", NULL));
    assert_non_null(mmh_cursor_bytes(&in, 0));
    assert_null(mmh_cursor_bytes(&in, SIZE_MAX));
    assert_int_equal(0, mmh_cursor_left(&in));
    assert_int_equal(0, mmh_cursor_u8(&in));
    assert_null(mmh_cursor_bytes(&in, 0));
    assert_status(MMH_E_CORRUPT, mmh_cursor_finish_prefix(&in, "index", &err));
    assert_non_null(strstr(err.message, "index ends early"));
    /* Every prefix fails at the same spot, whatever is read after it. */
    for (size_t n = 0; n < sizeof bytes; n++) {
        mmh_cursor_init(&in, bytes, n);
        (void)mmh_cursor_u8(&in);
        (void)mmh_cursor_u16(&in);
        (void)mmh_cursor_u32(&in);
        (void)mmh_cursor_u64(&in);
        uint8_t copy[2] = { 9, 9 };
        mmh_cursor_copy(&in, copy, 2);
        assert_true(copy[0] == 0 && copy[1] == 0);
        assert_true(mmh_cursor_failed(&in));
        assert_status(MMH_E_CORRUPT, mmh_cursor_finish(&in, "x", NULL));
    }
    mmh_cursor_init(&in, NULL, 0);
    assert_ok(mmh_cursor_finish(&in, "nothing", NULL));
    assert_int_equal(0, mmh_cursor_u64(&in));
    mmh_cursor_init(&in, bytes, 4);
    struct mmh_cursor part = mmh_cursor_part(&in, 3);
    assert_int_equal(mmh_cursor_u8(&part), 1);
    assert_int_equal(mmh_cursor_left(&in), 1);
    part = mmh_cursor_part(&in, 2);
    assert_true(mmh_cursor_failed(&part) && mmh_cursor_failed(&in));
}

static void test_varints_have_one_form(void **state)
{
    static const struct {
        uint8_t bytes[11];
        size_t count;
    } bad[] = {
        { { 0x80 }, 1 },
        { { 0x80, 0 }, 2 },
        { { 0xff, 0x80, 0 }, 3 },
        { { 0x80, 0x80 }, 2 }, /* ends early */
        { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2 }, 10 },
        { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0 }, 11 },
    };
    struct mmh_buffer out;
    struct mmh_cursor in;
    (void)state;
    mmh_buffer_init(&out, NULL);
    for (unsigned shift = 0; shift < 64; shift++)
        for (int i = -1; i <= 1; i++)
            mmh_buffer_varint(&out, (1ull << shift) + (uint64_t)i);
    mmh_buffer_varint(&out, UINT64_MAX);
    assert_ok(mmh_buffer_finish(&out, "varints", NULL));
    mmh_cursor_init(&in, out.data, out.bytes);
    for (unsigned shift = 0; shift < 64; shift++)
        for (int i = -1; i <= 1; i++) {
            size_t before = mmh_cursor_position(&in);
            uint64_t value = (1ull << shift) + (uint64_t)i;
            assert_true(mmh_cursor_varint(&in) == value);
            assert_int_equal(mmh_cursor_position(&in) - before, mmh_varint_bytes(value));
        }
    assert_true(mmh_cursor_varint(&in) == UINT64_MAX);
    assert_ok(mmh_cursor_finish(&in, "varints", NULL));
    mmh_buffer_release(&out);
    for (size_t i = 0; i < MMH_COUNT_OF(bad); i++) {
        mmh_cursor_init(&in, bad[i].bytes, bad[i].count);
        assert_int_equal(0, mmh_cursor_varint(&in));
        assert_int_equal(0, mmh_cursor_position(&in));
        assert_status(MMH_E_CORRUPT, mmh_cursor_finish_prefix(&in, "x", NULL));
    }
}

static void test_buffer_remembers_a_failed_allocation(void **state)
{
    struct counting counting;
    struct mmh_buffer out;
    mmh_error err = { .status = MMH_OK };
    (void)state;
    counting_init(&counting);
    mmh_buffer_init(&out, &counting.allocator);
    mmh_buffer_u8(&out, 1);
    mmh_buffer_align(&out, 8);
    mmh_buffer_u16(&out, 0x0203);
    mmh_buffer_u32(&out, 4);
    mmh_buffer_i64(&out, -2);
    mmh_buffer_bytes(&out, NULL, 0);
    assert_int_equal(out.bytes, 22);
    assert_memory_equal(out.data, "\1\0\0\0\0\0\0\0\3\2\4\0\0\0\376\377", 16);
    counting.fail_at = 1;
    mmh_buffer_zeros(&out, 100000);
    mmh_buffer_u8(&out, 1);
    assert_int_equal(out.bytes, 22);
    assert_status(MMH_E_MEMORY, mmh_buffer_finish(&out, "index", &err));
    mmh_buffer_release(&out);
    assert_null(mmh_buffer_extend(&out, SIZE_MAX));
    mmh_buffer_release(&out);
    assert_int_equal(0, counting.live);
}

/* ---- JSON ---- */

static mmh_status json_read_all(const void *text, size_t bytes, mmh_error *err)
{
    struct mmh_json json;
    struct mmh_json_token token;
    /* Exactly sized, so that a sanitizer sees a read past the end. */
    uint8_t *copy = malloc(bytes ? bytes : 1);
    assert_non_null(copy);
    if (bytes)
        memcpy(copy, text, bytes);
    mmh_json_init(&json, copy, bytes);
    while (mmh_json_next(&json, &token) != MMH_JSON_END)
        assert_true(token.offset < bytes);
    mmh_status status = mmh_json_finish(&json, "text", err);
    free(copy);
    return status;
}

static void test_json_takes_what_is_json(void **state)
{
    /* clang-format off */
    static const char *const good[] = {
        "{}", "[]", " \t\r\n[ ] ", "0", "-0", "-1.5e+10", "1E5", "true", "false", "null", "\"\"",
        "\"\\u00e9\\ud83d\\ude00\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\xc3\xa9\xf0\x9f\x98\x80\"",
        "{\"a\":1,\"a\":2}", "[1,[2,[3,{\"x\":[]}]],\"\"]", "18446744073709551616",
        "{\"a\" : {\"b\" :[ 1 , 2 ] } , \"\":null}",
    };
    /* clang-format on */
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(good); i++)
        assert_ok(json_read_all(good[i], strlen(good[i]), NULL));
}

static void test_json_refuses_what_is_not(void **state)
{
    /* clang-format off */
    static const char *const bad[] = {
        "", " ", "{", "}", "[", "]", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "{\"a\"}", "{\"a\":}",
        "{\"a\":1,}", "{,}", "{a:1}", "{1:1}", "{\"a\":1 \"b\":2}", "[}", "{]", "[1}", "{\"a\":1]",
        "01", "-", "-a", "1.", ".5", "1e", "1e+", "+1", "0x1", "1.e5", "00", "NaN", "Infinity",
        "tru", "truex", "nul", "True", "\"", "\"a", "\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\\u123g\"",
        "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\\ud800\\ud800\"", "\"\n\"",
        "\"\t\"", "\"\x01\"", "\"\x80\"", "\"\xc3\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"",
        "\"\xe0\x80\x80\"", "\"\xf4\x90\x80\x80\"", "\"\xf5\x80\x80\x80\"", "\"\xff\"", "[] []",
        "1 2", "{} x", "// a\n1", "[1]/**/", "'a'", "\xef\xbb\xbf{}", "\"\\", "\"\\u",
        "\"\\ud800\\u",
    };
    /* clang-format on */
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(bad); i++) {
        mmh_error err = { .status = MMH_OK };
        if (json_read_all(bad[i], strlen(bad[i]), &err) != MMH_E_CORRUPT)
            fail_msg("taken for JSON: %s", bad[i]);
        assert_non_null(strstr(err.message, "byte "));
    }
    assert_status(MMH_E_CORRUPT, json_read_all("\"\0\"", 3, NULL));
    assert_status(MMH_E_CORRUPT, json_read_all("[1]\0", 4, NULL));
}

/* 100,000 brackets are refused at the 65th, without recursion. */
static void test_json_depth_is_bounded(void **state)
{
    enum { DEEP = 100000 };
    static char text[2 * DEEP];
    mmh_error err = { .status = MMH_OK };
    (void)state;
    memset(text, '[', DEEP);
    memset(text + DEEP, ']', DEEP);
    assert_status(MMH_E_CORRUPT, json_read_all(text, 2 * DEEP, &err));
    assert_non_null(strstr(err.message, "nested too deeply (byte 64)"));
    assert_ok(json_read_all(text + DEEP - 64, 128, NULL));
    assert_status(MMH_E_CORRUPT, json_read_all(text + DEEP - 65, 130, NULL));
    for (size_t i = 0; i + 4 < sizeof text; i += 5)
        memcpy(text + i, "{\"a\":", 5);
    assert_status(MMH_E_CORRUPT, json_read_all(text, sizeof text, NULL));
}

static void test_json_gives_tokens_with_their_place(void **state)
{
    static const char text[] =
        "{\"sh\\u0061pe\":[18446744073709551615,-1,2.0,18446744073709551616,0],"
        "\"skip\":{\"x\":[1,2,{\"y\":3}]},\"last\":\"a\\u0000\\ud83d\\ude00\"}";
    struct mmh_json json;
    struct mmh_json_token token;
    struct mmh_arena arena;
    size_t bytes;
    (void)state;
    mmh_arena_init(&arena, NULL);
    mmh_json_init(&json, text, sizeof text - 1);
    assert_int_equal(mmh_json_next(&json, &token), MMH_JSON_OBJECT);
    assert_int_equal(mmh_json_next(&json, &token), MMH_JSON_KEY);
    assert_true(mmh_json_is(&token, "shape") && !mmh_json_is(&token, "shap") &&
                !mmh_json_is(&token, "shapes") && !mmh_json_is(&token, "sh\\u0061pe"));
    assert_string_equal(mmh_json_string(&token, &arena, NULL), "shape");
    assert_int_equal(mmh_json_next(&json, &token), MMH_JSON_ARRAY);
    assert_int_equal(mmh_json_next(&json, &token), MMH_JSON_NUMBER);
    assert_true(token.is_u64 && token.u64 == UINT64_MAX && token.bytes == 20);
    assert_int_equal(text[token.offset], '1');
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mmh_json_next(&json, &token), MMH_JSON_NUMBER);
        assert_false(token.is_u64);
    }
    assert_int_equal(mmh_json_next(&json, &token), MMH_JSON_NUMBER);
    assert_true(token.is_u64 && token.u64 == 0);
    assert_int_equal(mmh_json_next(&json, &token), MMH_JSON_ARRAY_END);
    assert_int_equal(mmh_json_next(&json, &token), MMH_JSON_KEY);
    assert_true(mmh_json_is(&token, "skip"));
    mmh_json_skip_value(&json);
    assert_int_equal(mmh_json_next(&json, &token), MMH_JSON_KEY);
    assert_true(mmh_json_is(&token, "last"));
    assert_int_equal(mmh_json_next(&json, &token), MMH_JSON_STRING);
    assert_memory_equal(mmh_json_string(&token, &arena, &bytes), "a\0\xf0\x9f\x98\x80", 7);
    assert_int_equal(bytes, 6);
    assert_false(mmh_json_is(&token, "a"));
    assert_int_equal(mmh_json_next(&json, &token), MMH_JSON_OBJECT_END);
    assert_int_equal(mmh_json_next(&json, &token), MMH_JSON_END);
    assert_ok(mmh_json_finish(&json, "x", NULL));
    mmh_json_init(&json, text, sizeof text - 1);
    mmh_json_next(&json, &token);
    mmh_json_skip_rest(&json, &token);
    assert_ok(mmh_json_finish(&json, "x", NULL));
    mmh_json_init(&json, text, sizeof text - 1);
    mmh_json_next(&json, &token);
    assert_status(MMH_E_CORRUPT, mmh_json_finish(&json, "x", NULL)); /* not read to its end */
    mmh_json_init(&json, text, sizeof text - 1);
    mmh_json_next(&json, &token);
    mmh_json_reject(&json, &token, "no object is wanted");
    assert_int_equal(mmh_json_next(&json, &token), MMH_JSON_END);
    assert_status(MMH_E_CORRUPT, mmh_json_finish(&json, "x", NULL));
    mmh_arena_release(&arena);
}

/* Every prefix and every damaged byte of a header is read without going astray. */
static void test_json_survives_any_bytes(void **state)
{
    static const char text[] = "{\"__metadata__\":{\"format\":\"p\\u00e9\\n\"},\"a.b\":{\"dtype\":"
                               "\"BF16\",\"shape\":[2,3],\"data_offsets\":[0,12],\"x\":-1.5e-3}}";
    (void)state;
    for (size_t n = 0; n + 1 < sizeof text - 1; n++)
        assert_status(MMH_E_CORRUPT, json_read_all(text, n, NULL));
    for (size_t at = 0; at < sizeof text - 1; at++)
        for (unsigned value = 0; value < 256; value++) {
            char damaged[sizeof text];
            memcpy(damaged, text, sizeof text);
            damaged[at] = (char)value;
            mmh_status status = json_read_all(damaged, sizeof text - 1, NULL);
            assert_true(status == MMH_OK || status == MMH_E_CORRUPT);
        }
}

/* ---- pool ---- */

enum { JOBS = 500 };

struct work {
    unsigned threads;
    atomic_uint runs[JOBS];
    atomic_int in_worker[8]; /* calls at the moment, by worker */
    size_t fail_at, fail_also;
    size_t cancel_at;
    size_t window;
    size_t consumed; /* plain: the pool must order it */
    size_t ring[JOBS];
    atomic_size_t started;
    size_t consume_fail_at;
    mmh_pool *pool;
};

static void work_init(struct work *work, mmh_pool *pool)
{
    memset(work, 0, sizeof *work);
    work->pool = pool;
    work->threads = mmh_pool_threads(pool);
    work->fail_at = work->fail_also = work->consume_fail_at = work->cancel_at = SIZE_MAX;
}

static mmh_status work_job(void *context, size_t job, unsigned worker, mmh_error *err)
{
    struct work *work = context;
    if (worker >= work->threads || atomic_fetch_add(&work->in_worker[worker], 1) != 0 ||
        err->status != MMH_OK)
        abort();
    atomic_fetch_add(&work->runs[job], 1);
    atomic_fetch_add(&work->started, 1);
    if (job % 7 == 0)
        usleep((useconds_t)(job % 5 * 50));
    if (work->window)
        work->ring[job % work->window] = job * 3;
    atomic_fetch_sub(&work->in_worker[worker], 1);
    if (job == work->cancel_at)
        mmh_pool_cancel(work->pool);
    if (job == work->fail_at || job == work->fail_also)
        return mmh_fail(err, MMH_E_CORRUPT, "job %zu is bad", job);
    return MMH_OK;
}

static mmh_status work_consume(void *context, size_t job, mmh_error *err)
{
    struct work *work = context;
    if (job != work->consumed || work->ring[job % work->window] != job * 3)
        abort();
    if (atomic_load(&work->started) > job + work->window)
        abort();
    if (job == work->consume_fail_at)
        return mmh_fail(err, MMH_E_IO, "disk full at %zu", job);
    work->consumed++;
    if (job % 11 == 0)
        usleep(100);
    return MMH_OK;
}

static void test_pool_runs_each_job_once(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 8; threads++) {
        mmh_pool *pool;
        struct work work;
        assert_ok(mmh_pool_create(&pool, threads, NULL, NULL));
        assert_int_equal(threads, mmh_pool_threads(pool));
        for (size_t count = 0; count <= JOBS; count = count * 3 + 1) {
            work_init(&work, pool);
            assert_ok(mmh_pool_run(pool, count, work_job, &work, NULL));
            for (size_t job = 0; job < JOBS; job++)
                assert_int_equal(atomic_load(&work.runs[job]), job < count);
        }
        mmh_pool_destroy(pool);
    }
}

static void test_pool_reports_the_lowest_failure(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 8; threads++) {
        mmh_pool *pool;
        struct work work;
        assert_ok(mmh_pool_create(&pool, threads, NULL, NULL));
        for (size_t at = 0; at < 60; at += 7) {
            mmh_error err = { .status = MMH_OK };
            char expected[64];
            work_init(&work, pool);
            work.fail_at = at + 1;
            work.fail_also = at;
            assert_status(MMH_E_CORRUPT, mmh_pool_run(pool, JOBS, work_job, &work, &err));
            snprintf(expected, sizeof expected, "job %zu is bad", at);
            assert_string_equal(err.message, expected);
            if (threads == 1) /* others may run ahead while the failing one sleeps */
                assert_int_equal(at + 1, atomic_load(&work.started));
            for (size_t job = 0; job <= at; job++)
                assert_int_equal(1, atomic_load(&work.runs[job]));
        }
        mmh_pool_destroy(pool);
    }
}

static void test_pool_consumes_in_order(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 8; threads++) {
        mmh_pool *pool;
        struct work work;
        assert_ok(mmh_pool_create(&pool, threads, NULL, NULL));
        for (size_t window = 0; window < 20; window += 3) {
            work_init(&work, pool);
            work.window = window ? window : mmh_pool_window(pool);
            assert_ok(mmh_pool_ordered(pool, JOBS, window, work_job, work_consume, &work, NULL));
            assert_int_equal(work.consumed, JOBS);
        }
        mmh_pool_destroy(pool);
    }
}

static void test_pool_consumes_up_to_a_failure(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 8; threads++) {
        mmh_pool *pool;
        struct work work;
        assert_ok(mmh_pool_create(&pool, threads, NULL, NULL));
        for (size_t at = 0; at < 200; at += 23) {
            mmh_error err = { .status = MMH_OK };
            work_init(&work, pool);
            work.window = 6;
            work.fail_at = at;
            assert_status(MMH_E_CORRUPT,
                          mmh_pool_ordered(pool, JOBS, 6, work_job, work_consume, &work, &err));
            assert_int_equal(work.consumed, at);
            work_init(&work, pool);
            work.window = 6;
            work.consume_fail_at = at;
            work.fail_at = at + 1; /* may or may not have been started: at wins */
            err.status = MMH_OK;
            assert_status(MMH_E_IO,
                          mmh_pool_ordered(pool, JOBS, 6, work_job, work_consume, &work, &err));
            assert_int_equal(work.consumed, at);
        }
        mmh_pool_destroy(pool);
    }
}

static bool cancelled_after(void *user)
{
    int *left = user;
    return (*left)-- <= 0;
}

static void test_pool_stops_when_cancelled(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 8; threads++) {
        mmh_pool *pool;
        struct work work;
        int left = 40;
        assert_ok(mmh_pool_create(&pool, threads, NULL, NULL));
        work_init(&work, pool);
        work.cancel_at = 30;
        assert_status(MMH_E_CANCELLED, mmh_pool_run(pool, JOBS, work_job, &work, NULL));
        if (threads == 1)
            assert_int_equal(31, atomic_load(&work.started));
        work_init(&work, pool);
        assert_status(MMH_E_CANCELLED, mmh_pool_run(pool, JOBS, work_job, &work, NULL));
        assert_int_equal(0, atomic_load(&work.started));
        mmh_pool_resume(pool);
        mmh_pool_set_cancelled(pool, cancelled_after, &left);
        work_init(&work, pool);
        work.window = 4;
        assert_status(MMH_E_CANCELLED,
                      mmh_pool_ordered(pool, JOBS, 4, work_job, work_consume, &work, NULL));
        assert_true(work.consumed <= 40);
        mmh_pool_set_cancelled(pool, NULL, NULL);
        work_init(&work, pool);
        assert_ok(mmh_pool_run(pool, JOBS, work_job, &work, NULL));
        mmh_pool_destroy(pool);
    }
}

struct nested {
    mmh_pool *pool;
    atomic_uint runs;
    unsigned worker; /* of the job that started the loop */
};

static mmh_status nested_inner(void *context, size_t job, unsigned worker, mmh_error *err)
{
    struct nested *nested = context;
    (void)job;
    atomic_fetch_add(&nested->runs, 1);
    return worker == nested->worker ? MMH_OK : mmh_fail(err, MMH_E_USAGE, "another worker");
}

static mmh_status nested_outer(void *context, size_t job, unsigned worker, mmh_error *err)
{
    struct nested *all = context;
    struct nested mine = { .pool = all->pool, .worker = worker };
    (void)job;
    mmh_status status = mmh_pool_run(all->pool, 5, nested_inner, &mine, err);
    atomic_fetch_add(&all->runs, atomic_load(&mine.runs));
    return status;
}

static mmh_status nested_consume(void *context, size_t job, mmh_error *err)
{
    return nested_outer(context, job, 0, err) == MMH_E_USAGE ? MMH_OK : MMH_OK;
}

static void test_pool_loops_may_be_nested(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 8; threads++) {
        struct nested nested = { .pool = NULL };
        assert_ok(mmh_pool_create(&nested.pool, threads, NULL, NULL));
        assert_ok(mmh_pool_run(nested.pool, 40, nested_outer, &nested, NULL));
        assert_int_equal(200, atomic_load(&nested.runs));
        assert_ok(
            mmh_pool_ordered(nested.pool, 40, 0, nested_outer, nested_consume, &nested, NULL));
        mmh_pool_destroy(nested.pool);
    }
}

static void *outside_thread(void *argument)
{
    mmh_pool *pool = argument;
    struct work work;
    for (int i = 0; i < 5; i++) {
        work_init(&work, pool);
        if (mmh_pool_run(pool, JOBS, work_job, &work, NULL) || atomic_load(&work.started) != JOBS)
            abort();
    }
    return NULL;
}

static void test_pool_serves_one_loop_at_a_time(void **state)
{
    mmh_pool *pool;
    pthread_t threads[4];
    (void)state;
    assert_ok(mmh_pool_create(&pool, 3, NULL, NULL));
    for (size_t i = 0; i < MMH_COUNT_OF(threads); i++)
        assert_int_equal(0, pthread_create(&threads[i], NULL, outside_thread, pool));
    for (size_t i = 0; i < MMH_COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
    mmh_pool_destroy(pool);
    mmh_pool_destroy(NULL);
}

static void test_pool_survives_failing_allocations(void **state)
{
    struct counting counting;
    (void)state;
    counting_init(&counting);
    for (uint64_t n = 1;; n++) {
        mmh_pool *pool = NULL;
        struct work work;
        counting.fail_at = n;
        mmh_status status = mmh_pool_create(&pool, 3, &counting.allocator, NULL);
        if (status == MMH_OK) {
            work_init(&work, pool);
            work.window = 4;
            status = mmh_pool_ordered(pool, 50, 4, work_job, work_consume, &work, NULL);
        }
        mmh_pool_destroy(pool);
        assert_int_equal(0, counting.live);
        if (status == MMH_OK)
            break;
        assert_status(MMH_E_MEMORY, status);
        assert_true(n < 100);
    }
}

/* ---- files ---- */

static mmh_status write_output(const char *path, const char *text, bool overwrite, mmh_error *err)
{
    mmh_output *output;
    struct mmh_output_options options = { .overwrite = overwrite };
    mmh_status status = mmh_output_create(&output, path, &options, NULL, err);
    if (status == MMH_OK)
        status = mmh_output_append(output, text, strlen(text), err);
    if (status == MMH_OK)
        status = mmh_output_commit(output, err);
    mmh_output_close(output);
    return status;
}

static void test_output_appears_when_committed(void **state)
{
    mmh_output *output;
    mmh_error err = { .status = MMH_OK };
    struct stat info;
    char back[8];
    const char *path = beneath("out");
    struct mmh_output_options options = { .mode = 0640 };
    (void)state;
    assert_ok(mmh_output_create(&output, path, &options, NULL, &err));
    assert_ok(mmh_output_resize(output, 1 << 20, &err));
    assert_ok(mmh_output_append(output, "hello", 5, &err));
    assert_ok(mmh_output_append_zeros(output, 3, &err));
    assert_ok(mmh_output_write_at(output, 0, "J", 1, &err));
    assert_ok(mmh_output_read_at(output, back, 0, 8, &err));
    assert_memory_equal(back, "Jello\0\0\0", 8);
    assert_int_equal(8, mmh_output_position(output));
    assert_ok(mmh_output_resize(output, 5, &err));
    assert_ok(mmh_output_set_mtime(output, 12345, 678, &err));
    assert_int_equal(-1, access(path, F_OK));
    assert_true(entries_beneath() <= 1);
    assert_ok(mmh_output_commit(output, &err));
    mmh_output_close(output);
    assert_text(path, "Jello");
    assert_int_equal(0, stat(path, &info));
    assert_int_equal(info.st_mode & 07777, 0640);
    assert_int_equal(info.st_mtime, 12345);
    assert_int_equal(1, entries_beneath());
}

static void test_output_does_not_replace_unasked(void **state)
{
    mmh_output *output;
    mmh_error err = { .status = MMH_OK };
    const char *path = beneath("out");
    (void)state;
    write_text(path, "old");
    assert_status(MMH_E_USAGE, write_output(path, "new", false, &err));
    assert_non_null(strstr(err.message, "exists"));
    assert_text(path, "old");
    assert_ok(write_output(path, "new", true, NULL));
    assert_text(path, "new");
    assert_int_equal(1, entries_beneath());
    /* One that appears meanwhile is not replaced either. */
    err.status = MMH_OK;
    assert_ok(mmh_output_create(&output, beneath("late"), NULL, NULL, &err));
    write_text(beneath("late"), "theirs");
    assert_status(MMH_E_USAGE, mmh_output_commit(output, &err));
    assert_non_null(strstr(err.message, "exists"));
    mmh_output_close(output);
    assert_text(beneath("late"), "theirs");
    assert_int_equal(2, entries_beneath());
    /* Folders and devices are never replaced. */
    assert_int_equal(0, mkdir(beneath("dir"), 0700));
    assert_status(MMH_E_USAGE, write_output(beneath("dir"), "x", true, NULL));
    assert_status(MMH_E_USAGE, write_output(beneath("dir/"), "x", true, NULL));
    assert_int_equal(0, mkfifo(beneath("fifo"), 0600));
    assert_int_equal(0, symlink("fifo", beneath("link")));
    assert_status(MMH_E_USAGE, write_output(beneath("fifo"), "x", true, NULL));
    assert_status(MMH_E_USAGE, write_output(beneath("link"), "x", true, NULL));
    assert_status(MMH_E_IO, write_output(beneath("none/x"), "x", true, NULL));
}

static void test_abandoned_output_leaves_nothing(void **state)
{
    mmh_output *output;
    (void)state;
    assert_ok(mmh_output_create(&output, beneath("out"), NULL, NULL, NULL));
    assert_ok(mmh_output_append(output, "x", 1, NULL));
    mmh_output_close(output);
    assert_int_equal(0, entries_beneath());
    mmh_output_close(NULL);
}

/* Fail the nth system call, for n = 1, 2, ... until none fails: the old file or the new one. */
static void test_output_is_whole_or_absent_when_the_system_fails(void **state)
{
    (void)state;
    for (int turn = 0; turn < 4; turn++)
        for (uint64_t n = 1;; n++) {
            mmh_error err = { .status = MMH_OK };
            bool overwrite = turn & 1;
            unlink(beneath("out"));
            if (overwrite)
                write_text(beneath("out"), "old");
            (void)(turn & 2 ? mmh_io_fail_once : mmh_io_fail_after)(n);
            mmh_status status = write_output(beneath("out"), "new", overwrite, &err);
            bool reached = mmh_io_fail_after(0) < 2;
            bool there = access(beneath("out"), F_OK) == 0;
            assert_int_equal(entries_beneath(), there);
            if (status == MMH_OK) {
                assert_text(beneath("out"), "new");
                if (reached && turn & 2)
                    continue; /* it could do without that call */
                break;
            }
            assert_status(MMH_E_IO, status);
            assert_int_equal(err.status, MMH_E_IO);
            if (overwrite)
                assert_true(there);
            if (there) {
                uint8_t *data;
                size_t bytes;
                assert_ok(mmh_input_slurp(&data, &bytes, beneath("out"), 10, NULL, NULL));
                assert_true(bytes == 3 && (!memcmp(data, "new", 3) || !memcmp(data, "old", 3)));
                mmh_free(NULL, data);
            }
            assert_true(n < 100);
        }
}

/* Nothing is seen of a file before it is complete, where the system knows files without a name. */
static void test_unfinished_output_has_no_name(void **state)
{
    mmh_output *output;
    (void)state;
#if defined(__linux__)
    int probe = open(test_folder, O_TMPFILE | O_RDWR, 0600);
    if (probe < 0)
        skip();
    close(probe);
    for (int overwrite = 0; overwrite < 2; overwrite++) {
        struct mmh_output_options options = { .overwrite = overwrite };
        assert_ok(mmh_output_create(&output, beneath("out"), &options, NULL, NULL));
        assert_ok(mmh_output_append(output, "x", 1, NULL));
        assert_int_equal(overwrite, entries_beneath());
        assert_ok(mmh_output_commit(output, NULL));
        mmh_output_close(output);
        assert_int_equal(1, entries_beneath());
    }
#else
    skip();
    (void)output;
#endif
}

/* A disk that is too small for a file is not filled before that is told. */
static void test_room_is_asked_for_before_it_is_taken(void **state)
{
    mmh_output *output;
    mmh_error err = { .status = MMH_OK };
    mmh_folder *folder;
    (void)state;
    assert_ok(mmh_folder_open(&folder, test_folder, false, NULL, NULL));
    uint64_t room = mmh_folder_room(folder);
    assert_true(room > 1 << 20 && room < UINT64_MAX);
    assert_ok(mmh_output_create(&output, beneath("out"), NULL, NULL, NULL));
    assert_status(MMH_E_IO, mmh_output_resize(output, room + (UINT64_C(1) << 40), &err));
    assert_non_null(strstr(err.message, "No space left"));
    assert_true(mmh_folder_room(folder) > room / 2);
    mmh_output_close(output);
    mmh_folder_close(folder);
    assert_int_equal(0, entries_beneath());
}

/* What killed writers left goes; what somebody is writing, and what only looks alike, stays. */
static void test_a_sweep_takes_leftovers_alone(void **state)
{
    static const char *const leftovers[] = { ".mmh-0123456789abcdef.tmp",
                                             ".mmh-00ff00ff00ff00ff.tmp",
                                             ".mmh-unpack-0123456789abcdef/7",
                                             ".mmh-unpack-0123456789abcdef/8" };
    static const char *const others[] = { ".mmh-0123456789abcdeg.tmp",
                                          ".mmh-0123456789abcdef.tmp2",
                                          ".mmh-0123456789ABCDEF.tmp",
                                          ".mmh-.tmp",
                                          "x.tmp",
                                          "mmh-0123456789abcdef.tmp",
                                          ".mmh-unpack-0123456789abcdef0/7",
                                          ".mmh-unpack-012345/7",
                                          "below/.mmh-0123456789abcdef.tmp" };
    mmh_folder *folder, *staging;
    mmh_output *output;
    char name[MMH_STAGING_BYTES];
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(leftovers) + MMH_COUNT_OF(others); i++) {
        const char *path = i < MMH_COUNT_OF(leftovers) ? leftovers[i]
                                                       : others[i - MMH_COUNT_OF(leftovers)];
        const char *slash = strchr(path, '/');
        char parent[64];
        snprintf(parent, sizeof parent, "%.*s", slash ? (int)(slash - path) : 0, path);
        if (slash)
            assert_true(mkdir(beneath(parent), 0700) == 0 || errno == EEXIST);
        write_text(beneath(path), "x");
    }
    size_t all = entries_beneath();
    assert_int_equal(0, mkdir(beneath(".mmh-000000000000000a.tmp"), 0700)); /* of another kind */
    write_text(beneath(".mmh-unpack-000000000000000b"), "x");
    assert_int_equal(0, symlink("x.tmp", beneath(".mmh-000000000000000c.tmp")));
    assert_ok(mmh_folder_open(&folder, test_folder, false, NULL, NULL));
    assert_ok(mmh_folder_stage(&staging, name, folder, NULL)); /* another one is at work */
    mmh_io_allow_unnamed(false);
    assert_ok(mmh_output_create(&output, beneath("theirs"), NULL, NULL, NULL));
    mmh_io_allow_unnamed(true);
    assert_int_equal(all + 5, entries_beneath());

    struct mmh_output_options options = { .sweep = true };
    mmh_output *ours;
    assert_ok(mmh_output_create(&ours, beneath("ours"), &options, NULL, NULL));
    mmh_output_close(ours);
    assert_int_equal(all + 5 - MMH_COUNT_OF(leftovers) - 1, entries_beneath());
    for (size_t i = 0; i < MMH_COUNT_OF(leftovers); i++)
        assert_int_equal(-1, access(beneath(leftovers[i]), F_OK));
    for (size_t i = 0; i < MMH_COUNT_OF(others); i++)
        assert_int_equal(0, access(beneath(others[i]), F_OK));
    assert_ok(mmh_output_commit(output, NULL));
    mmh_output_close(output);
    assert_text(beneath("theirs"), "");
    mmh_folder_close(staging); /* killed: nobody holds it any more */
    assert_int_equal(0, access(beneath(name), F_OK));
    mmh_folder_sweep(folder);
    assert_int_equal(-1, access(beneath(name), F_OK));
    mmh_folder_close(folder);
}

static void sweep_now(void)
{
    mmh_folder *folder;
    assert_ok(mmh_folder_open(&folder, test_folder, false, NULL, NULL));
    mmh_folder_sweep(folder);
    mmh_folder_close(folder);
}

/* Who has just begun is not swept away: between a name and its lock another process may look. */
static void test_a_sweep_leaves_who_begins_alone(void **state)
{
    (void)state;
    mmh_io_allow_unnamed(false);
    for (uint64_t n = 1; n < 30; n++) {
        mmh_folder *folder, *staging;
        mmh_error err = { .status = MMH_OK };
        char name[MMH_STAGING_BYTES], path[MMH_STAGING_BYTES + 2];
        assert_ok(mmh_folder_open(&folder, test_folder, false, NULL, NULL));
        mmh_io_at(n, sweep_now);
        mmh_status status = mmh_folder_stage(&staging, name, folder, &err);
        if (status == MMH_OK) {
            snprintf(path, sizeof path, "%s/7", name);
            status = mmh_folder_symlink(folder, path, "x", false, &err);
        }
        mmh_io_at(0, NULL);
        if (status == MMH_OK)
            status = mmh_folder_remove_tree(folder, name, &err);
        if (status == MMH_OK)
            mmh_folder_close(staging);
        mmh_io_at(n, sweep_now);
        if (status == MMH_OK)
            status = write_output(beneath("out"), "new", true, &err);
        mmh_io_at(0, NULL);
        mmh_folder_close(folder);
        if (status != MMH_OK)
            fail_msg("a sweep at system call %d: %s", (int)n, err.message);
        assert_text(beneath("out"), "new");
        assert_int_equal(1, entries_beneath());
    }
}

static void test_existing_output_is_cut_back_unless_committed(void **state)
{
    mmh_output *output;
    (void)state;
    write_text(beneath("file"), "0123456789");
    assert_ok(mmh_output_open_existing(&output, beneath("file"), NULL, NULL));
    assert_ok(mmh_output_append(output, "trailer", 7, NULL));
    mmh_output_close(output);
    assert_text(beneath("file"), "0123456789");
    assert_ok(mmh_output_open_existing(&output, beneath("file"), NULL, NULL));
    assert_ok(mmh_output_append(output, "trailer", 7, NULL));
    assert_ok(mmh_output_commit(output, NULL));
    mmh_output_close(output);
    assert_text(beneath("file"), "0123456789trailer");
    assert_status(MMH_E_IO, mmh_output_open_existing(&output, beneath("none"), NULL, NULL));
    assert_null(output);
}

static void test_streams_cannot_go_back(void **state)
{
    mmh_output *output;
    int ends[2];
    char byte[2];
    (void)state;
    assert_int_equal(0, pipe(ends));
    assert_ok(mmh_output_open_descriptor(&output, ends[1], "standard output", NULL, NULL));
    assert_ok(mmh_output_append(output, "ab", 2, NULL));
    assert_status(MMH_E_USAGE, mmh_output_write_at(output, 0, "x", 1, NULL));
    assert_status(MMH_E_USAGE, mmh_output_read_at(output, byte, 0, 1, NULL));
    assert_status(MMH_E_USAGE, mmh_output_resize(output, 1, NULL));
    assert_ok(mmh_output_commit(output, NULL));
    mmh_output_close(output);
    assert_int_equal(2, read(ends[0], byte, 2));
    assert_memory_equal(byte, "ab", 2);
    close(ends[0]);
    close(ends[1]);
}

static void test_input_reads_ranges_and_refuses_others(void **state)
{
    mmh_input *input;
    char bytes[8];
    mmh_error err = { .status = MMH_OK };
    (void)state;
    write_text(beneath("file"), "0123456789");
    for (int memory = 0; memory < 2; memory++) {
        if (memory)
            assert_ok(mmh_input_open_memory(&input, "0123456789", 10, "memory", NULL, NULL));
        else
            assert_ok(mmh_input_open(&input, beneath("file"), NULL, NULL));
        assert_int_equal(10, mmh_input_bytes(input));
        assert_false(mmh_input_was_spooled(input));
        assert_ok(mmh_input_read(input, bytes, 3, 4, NULL));
        assert_memory_equal(bytes, "3456", 4);
        assert_ok(mmh_input_read(input, bytes, 10, 0, NULL));
        assert_status(MMH_E_CORRUPT, mmh_input_read(input, bytes, 9, 2, NULL));
        assert_status(MMH_E_CORRUPT, mmh_input_read(input, bytes, 11, 0, NULL));
        assert_status(MMH_E_CORRUPT, mmh_input_read(input, bytes, UINT64_MAX, 8, NULL));
        mmh_input_advise(input, MMH_ACCESS_SEQUENTIAL);
        mmh_input_ahead(input, 0, UINT64_MAX);
        mmh_input_forget(input, 2, 3);
        if (!memory) {
            assert_int_equal(0, truncate(beneath("file"), 5));
            assert_status(MMH_E_IO, mmh_input_read(input, bytes, 3, 4, NULL));
        }
        mmh_input_close(input);
    }
    assert_status(MMH_E_USAGE, mmh_input_open(&input, test_folder, NULL, NULL));
    assert_null(input);
    assert_status(MMH_E_IO, mmh_input_open(&input, beneath("none"), NULL, &err));
    assert_non_null(strstr(err.message, "No such file"));
    mmh_input_close(NULL);
}

static void *fill_pipe(void *argument)
{
    int descriptor = *(int *)argument;
    for (int i = 0; i < 300000; i++) {
        uint32_t value = (uint32_t)i;
        if (write(descriptor, &value, 4) != 4)
            abort();
    }
    close(descriptor);
    return NULL;
}

static void test_pipes_are_spooled_and_leave_no_file(void **state)
{
    (void)state;
    for (int limited = 0; limited < 2; limited++) {
        int ends[2];
        pthread_t filler;
        mmh_input *input;
        uint32_t value;
        setenv("TMPDIR", test_folder, 1);
        assert_int_equal(0, pipe(ends));
        if (limited) {
            assert_int_equal(4, write(ends[1], "abcd", 4));
            close(ends[1]);
            assert_status(MMH_E_LIMIT,
                          mmh_input_open_descriptor(&input, ends[0], "pipe", 3, NULL, NULL));
            close(ends[0]);
            continue;
        }
        fcntl(ends[0], F_SETFL, O_NONBLOCK); /* must not matter */
        assert_int_equal(0, pthread_create(&filler, NULL, fill_pipe, &ends[1]));
        assert_ok(mmh_input_open_descriptor(&input, ends[0], "standard input", 0, NULL, NULL));
        pthread_join(filler, NULL);
        assert_true(mmh_input_was_spooled(input));
        assert_int_equal(1200000, mmh_input_bytes(input));
        assert_ok(mmh_input_read(input, &value, 4 * 299999, 4, NULL));
        assert_int_equal(299999, value);
        assert_int_equal(0, entries_beneath());
        mmh_input_close(input);
        close(ends[0]);
    }
    unsetenv("TMPDIR");
    /* A regular file at its beginning is not copied; past it, the rest is. */
    mmh_input *input;
    write_text(beneath("file"), "0123456789");
    int descriptor = open(beneath("file"), O_RDONLY);
    assert_ok(mmh_input_open_descriptor(&input, descriptor, "file", 0, NULL, NULL));
    assert_false(mmh_input_was_spooled(input));
    mmh_input_close(input);
    lseek(descriptor, 4, SEEK_SET);
    assert_ok(mmh_input_open_descriptor(&input, descriptor, "file", 0, NULL, NULL));
    assert_true(mmh_input_was_spooled(input));
    assert_int_equal(6, mmh_input_bytes(input));
    mmh_input_close(input);
    close(descriptor);
}

static void test_what_is_no_regular_file_is_refused_and_not_waited_for(void **state)
{
    (void)state;
    mmh_input *input;
    uint8_t *data;
    size_t bytes;
    int lock;
    assert_int_equal(0, mkfifo(beneath("fifo"), 0600));
    assert_status(MMH_E_USAGE, mmh_input_open_file(&input, beneath("fifo"), NULL, NULL));
    assert_status(MMH_E_USAGE, mmh_path_lock(&lock, beneath("fifo"), 0, NULL));
    assert_int_equal(-1, lock);
    assert_status(MMH_E_IO, mmh_input_slurp(&data, &bytes, beneath("fifo"), 10, NULL, NULL));
    assert_status(MMH_E_USAGE, mmh_input_open_file(&input, "/dev/zero", NULL, NULL));
    assert_status(MMH_E_USAGE, mmh_input_slurp(&data, &bytes, "/dev/zero", 10, NULL, NULL));
}

static void test_a_locked_path_is_waited_for_and_a_new_file_of_that_name_is_locked(void **state)
{
    (void)state;
    int first, second;
    write_text(beneath("file"), "old");
    write_text(beneath("new"), "new");
    assert_ok(mmh_path_lock(&first, beneath("file"), 0, NULL));
    assert_true(first >= 0);
    uint64_t begin = mmh_clock_ns();
    assert_ok(mmh_path_lock(&second, beneath("file"), 50000000, NULL));
    assert_int_equal(-1, second);
    assert_true(mmh_clock_ns() - begin >= 50000000);
    assert_int_equal(0, rename(beneath("new"), beneath("file")));
    assert_ok(mmh_path_lock(&second, beneath("file"), 0, NULL));
    assert_true(second >= 0);
    mmh_path_unlock(first);
    assert_ok(mmh_path_lock(&first, beneath("file"), 0, NULL));
    assert_int_equal(-1, first);
    mmh_path_unlock(second);
    assert_ok(mmh_path_lock(&first, beneath("file"), 0, NULL));
    assert_true(first >= 0);
    mmh_path_unlock(first);
    assert_status(MMH_E_IO, mmh_path_lock(&first, beneath("none"), 0, NULL));
}

static void test_slurp_is_bounded(void **state)
{
    uint8_t *data;
    size_t bytes;
    int ends[2];
    (void)state;
    write_text(beneath("file"), "0123456789");
    assert_status(MMH_E_LIMIT, mmh_input_slurp(&data, &bytes, beneath("file"), 9, NULL, NULL));
    assert_null(data);
    assert_ok(mmh_input_slurp(&data, &bytes, beneath("file"), 10, NULL, NULL));
    mmh_free(NULL, data);
    write_text(beneath("file"), "");
    assert_text(beneath("file"), "");
    assert_status(MMH_E_USAGE, mmh_input_slurp(&data, &bytes, test_folder, 9, NULL, NULL));
    for (size_t limit = 200000; limit >= 100000; limit -= 100000) {
        char path[64];
        static char block[64];
        assert_int_equal(0, pipe(ends));
        fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
        for (size_t i = 0; i < 160000; i += sizeof block)
            assert_int_equal(sizeof block, write(ends[1], block, sizeof block));
        close(ends[1]);
        snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
        mmh_status status = mmh_input_slurp(&data, &bytes, path, limit, NULL, NULL);
        assert_status(limit == 200000 ? MMH_OK : MMH_E_LIMIT, status);
        assert_int_equal(bytes, limit == 200000 ? 160000 : 0);
        mmh_free(NULL, data);
        close(ends[0]);
    }
}

static void test_names_beneath_a_folder_stay_beneath_it(void **state)
{
    static const char *const bad[] = { "",  "/",   "/etc/passwd", "..",   "../x", "a/../b", "a/..",
                                       ".", "./a", "a/./b",       "a//b", "a/",   "//" };
    mmh_folder *folder;
    mmh_output *output;
    mmh_input *input;
    struct mmh_path_info info;
    mmh_error err = { .status = MMH_OK };
    (void)state;
    assert_ok(mmh_folder_open(&folder, beneath("new/root"), true, NULL, NULL));
    for (size_t i = 0; i < MMH_COUNT_OF(bad); i++) {
        assert_false(mmh_path_is_relative(bad[i]));
        assert_status(MMH_E_USAGE, mmh_folder_make(folder, bad[i], 0777, NULL));
        assert_status(MMH_E_USAGE,
                      mmh_output_create_beneath(&output, folder, bad[i], NULL, NULL, NULL));
        assert_status(MMH_E_USAGE, mmh_folder_symlink(folder, bad[i], "x", true, NULL));
        assert_status(MMH_E_USAGE, mmh_input_open_beneath(&input, folder, bad[i], NULL, NULL));
        assert_status(MMH_E_USAGE, mmh_folder_remove(folder, bad[i], NULL));
    }
    assert_ok(mmh_folder_make(folder, "a/b/c", 0755, NULL));
    assert_ok(mmh_folder_make(folder, "a/b/c", 0755, NULL));
    assert_ok(mmh_output_create_beneath(&output, folder, "a/b/file", NULL, NULL, NULL));
    assert_ok(mmh_output_append(output, "inside", 6, NULL));
    assert_ok(mmh_output_commit_unsynced(output, NULL));
    mmh_output_close(output);
    assert_ok(mmh_folder_sync(folder, NULL));
    assert_text(beneath("new/root/a/b/file"), "inside");
    /* No symlink on the way, no symlink at the end, is followed. */
    assert_int_equal(0, symlink(test_folder, beneath("new/root/out")));
    write_text(beneath("outside"), "safe");
    assert_status(MMH_E_USAGE, mmh_folder_make(folder, "out/x", 0777, &err));
    assert_non_null(strstr(err.message, "symbolic link"));
    assert_status(MMH_E_USAGE,
                  mmh_output_create_beneath(&output, folder, "out/x", NULL, NULL, NULL));
    assert_status(MMH_E_USAGE, mmh_folder_remove(folder, "out/outside", NULL));
    assert_status(MMH_E_USAGE, mmh_input_open_beneath(&input, folder, "out/outside", NULL, NULL));
    assert_ok(mmh_folder_symlink(folder, "leaf", "../../outside", false, NULL));
    assert_status(MMH_E_IO, mmh_input_open_beneath(&input, folder, "leaf", NULL, NULL));
    struct mmh_output_options replace = { .overwrite = true };
    assert_ok(mmh_output_create_beneath(&output, folder, "leaf", &replace, NULL, NULL));
    assert_ok(mmh_output_append(output, "mine", 4, NULL));
    assert_ok(mmh_output_commit(output, NULL));
    mmh_output_close(output);
    assert_text(beneath("outside"), "safe");
    assert_text(beneath("new/root/leaf"), "mine");
    /* Symlinks are replaced only when asked to. */
    assert_status(MMH_E_USAGE, mmh_folder_symlink(folder, "leaf", "a", false, NULL));
    assert_ok(mmh_folder_symlink(folder, "leaf", "a", true, NULL));
    assert_ok(mmh_folder_stat(&info, folder, "leaf", NULL));
    assert_int_equal(MMH_PATH_SYMLINK, info.kind);
    assert_ok(mmh_folder_stat(&info, folder, "a/b/none/deeper", NULL));
    assert_int_equal(MMH_PATH_NONE, info.kind);
    assert_ok(mmh_folder_set_mode(folder, "a/b", 0700, NULL));
    assert_ok(mmh_folder_set_mtime(folder, "leaf", 99, 0, NULL));
    assert_ok(mmh_folder_stat(&info, folder, "leaf", NULL));
    assert_true(info.mtime_seconds == 99);
    assert_status(MMH_E_IO, mmh_folder_set_mode(folder, "out", 0700, NULL));
    assert_status(MMH_E_USAGE, mmh_folder_rename(folder, "a/b/file", "leaf", false, NULL));
    assert_ok(mmh_folder_rename(folder, "a/b/file", "a/moved", false, NULL));
    assert_ok(mmh_folder_rename(folder, "a/b", "a/folder", false, NULL));
    assert_ok(mmh_folder_remove(folder, "leaf", NULL));
    assert_ok(mmh_folder_remove(folder, "leaf", NULL));
    assert_status(MMH_E_USAGE, mmh_folder_remove_tree(folder, "out", NULL)); /* a symlink */
    assert_ok(mmh_folder_remove_tree(folder, "a", NULL));
    assert_ok(mmh_folder_stat(&info, folder, "a", NULL));
    assert_int_equal(MMH_PATH_NONE, info.kind);
    mmh_folder_close(folder);
}

static void test_listing_is_sorted_and_bounded(void **state)
{
    static const char *const expected[] = { "B",     "a",      "a-b", "a/b",
                                            "a/b/z", "a/link", "a0",  "\xc3\xa9" };
    struct counting counting;
    struct mmh_arena arena;
    struct mmh_path_info *entries;
    size_t count;
    mmh_folder *folder;
    struct mmh_list_limits limits = { .entries = 7 };
    (void)state;
    counting_init(&counting);
    mmh_arena_init(&arena, &counting.allocator);
    assert_ok(mmh_folder_open(&folder, test_folder, false, &counting.allocator, NULL));
    assert_ok(mmh_folder_list(&entries, &count, &arena, folder, NULL, NULL));
    assert_int_equal(0, count);
    assert_ok(mmh_folder_make(folder, "a/b", 0755, NULL));
    for (size_t i = 0; i < MMH_COUNT_OF(expected); i++)
        if (strcmp(expected[i], "a") != 0 && strcmp(expected[i], "a/b") != 0 && i != 5)
            write_text(beneath(expected[i]), "12345");
    assert_ok(mmh_folder_symlink(folder, "a/link", "../somewhere/else", false, NULL));
    assert_ok(mmh_folder_list(&entries, &count, &arena, folder, NULL, NULL));
    assert_int_equal(MMH_COUNT_OF(expected), count);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(entries[i].path, expected[i]);
    assert_int_equal(entries[0].bytes, 5);
    assert_int_equal(entries[1].kind, MMH_PATH_FOLDER);
    assert_string_equal(entries[5].target, "../somewhere/else");
    assert_status(MMH_E_LIMIT, mmh_folder_list(&entries, &count, &arena, folder, &limits, NULL));
    limits = (struct mmh_list_limits){ .depth = 2 };
    assert_status(MMH_E_LIMIT, mmh_folder_list(&entries, &count, &arena, folder, &limits, NULL));
    limits.depth = 3;
    assert_ok(mmh_folder_list(&entries, &count, &arena, folder, &limits, NULL));
    for (uint64_t n = 1;; n++) { /* any failure is reported and leaks nothing */
        mmh_io_fail_after(n);
        mmh_status status = mmh_folder_list(&entries, &count, &arena, folder, NULL, NULL);
        mmh_io_fail_after(0);
        if (status == MMH_OK)
            break;
        assert_status(MMH_E_IO, status);
        assert_int_equal(0, count);
    }
    mmh_folder_close(folder);
    mmh_arena_release(&arena);
    assert_int_equal(0, counting.live);
}

static void test_the_machine_answers(void **state)
{
    (void)state;
    uint64_t before = mmh_clock_ns();
    usleep(1000);
    assert_true(mmh_clock_ns() - before >= 1000000);
    assert_true(mmh_cpu_count() >= 1);
    assert_true(mmh_peak_memory() > 100000);
}

#define named_test(name)                                           \
    {                                                              \
#name " (named)", name, named_setup, folder_teardown, NULL \
    }
#define folder_test(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_failure_wins),
        cmocka_unit_test(test_messages_are_cut_whole_and_printable),
        cmocka_unit_test(test_sizes_do_not_overflow),
        cmocka_unit_test(test_bits_are_little_endian_anywhere),
        cmocka_unit_test(test_arena_gives_aligned_memory_and_frees_all),
        cmocka_unit_test(test_large_memory_is_aligned_for_huge_pages),
#ifdef __linux__
        cmocka_unit_test(test_huge_pages_are_left_while_they_are_slow),
#endif
        cmocka_unit_test(test_cursor_remembers_its_first_short_read),
        cmocka_unit_test(test_varints_have_one_form),
        cmocka_unit_test(test_buffer_remembers_a_failed_allocation),
        cmocka_unit_test(test_json_takes_what_is_json),
        cmocka_unit_test(test_json_refuses_what_is_not),
        cmocka_unit_test(test_json_depth_is_bounded),
        cmocka_unit_test(test_json_gives_tokens_with_their_place),
        cmocka_unit_test(test_json_survives_any_bytes),
        cmocka_unit_test(test_pool_runs_each_job_once),
        cmocka_unit_test(test_pool_reports_the_lowest_failure),
        cmocka_unit_test(test_pool_consumes_in_order),
        cmocka_unit_test(test_pool_consumes_up_to_a_failure),
        cmocka_unit_test(test_pool_stops_when_cancelled),
        cmocka_unit_test(test_pool_loops_may_be_nested),
        cmocka_unit_test(test_pool_serves_one_loop_at_a_time),
        cmocka_unit_test(test_pool_survives_failing_allocations),
        folder_test(test_output_appears_when_committed),
        folder_test(test_output_does_not_replace_unasked),
        folder_test(test_abandoned_output_leaves_nothing),
        folder_test(test_output_is_whole_or_absent_when_the_system_fails),
        named_test(test_output_appears_when_committed),
        named_test(test_output_does_not_replace_unasked),
        named_test(test_abandoned_output_leaves_nothing),
        named_test(test_output_is_whole_or_absent_when_the_system_fails),
        folder_test(test_unfinished_output_has_no_name),
        folder_test(test_room_is_asked_for_before_it_is_taken),
        folder_test(test_a_sweep_takes_leftovers_alone),
        folder_test(test_a_sweep_leaves_who_begins_alone),
        folder_test(test_existing_output_is_cut_back_unless_committed),
        folder_test(test_streams_cannot_go_back),
        folder_test(test_input_reads_ranges_and_refuses_others),
        folder_test(test_pipes_are_spooled_and_leave_no_file),
        folder_test(test_what_is_no_regular_file_is_refused_and_not_waited_for),
        folder_test(test_a_locked_path_is_waited_for_and_a_new_file_of_that_name_is_locked),
        folder_test(test_slurp_is_bounded),
        folder_test(test_names_beneath_a_folder_stay_beneath_it),
        folder_test(test_listing_is_sorted_and_bounded),
        cmocka_unit_test(test_the_machine_answers)
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
