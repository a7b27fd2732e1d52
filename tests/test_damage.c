/*
 * Damage: each byte of small containers changed in three ways, and every length that they could be
 * cut to, is found or mended; nobody gets other bytes than were packed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>

#include "base/bits.h"
#include "engine/engine.h"
#include "scratch.h"

/* Exit codes, as the command maps them (src/cli/cli.h). */
enum { OK = 0, DAMAGED = 3, MENDED = 4, LOST = 5, UNSUPPORTED = 9 };

static int exit_of(mmh_status status)
{
    switch (status) {
    case MMH_OK:
        return OK;
    case MMH_E_CORRUPT:
        return LOST;
    case MMH_E_UNSUPPORTED:
        return UNSUPPORTED;
    default:
        return -(int)status;
    }
}

static int verify(mmh_context *context, const char *container)
{
    mmh_unpack_report report = { .struct_size = sizeof report };
    mmh_status status = mmh_verify(context, container, NULL, &report, NULL);
    return status == MMH_E_CORRUPT && report.mended ? DAMAGED : exit_of(status);
}

static int unpack(mmh_context *context, const char *container, const char *destination,
                  bool as_file)
{
    mmh_unpack_options options = { .struct_size = sizeof options, .as_file = as_file };
    mmh_unpack_report report = { .struct_size = sizeof report };
    mmh_status status = mmh_unpack(context, container, destination, &options, &report, NULL);
    unsigned spare = MMH_SPARE_DAMAGED | MMH_PADDING_DAMAGED;
    return status == MMH_OK && (report.mended & ~spare) ? MENDED : exit_of(status);
}

/* A container, what was packed, and which of its bytes are never needed. */
struct subject {
    const char *container;
    uint8_t *data;
    size_t bytes;
    bool *idle; /* [bytes] padding, the spare footer, index B */
    bool as_file;
    size_t file_count;
    const char *names[4];
    uint8_t *files[4];
    size_t file_bytes[4];
};

static void subject_open(struct subject *subject, mmh_context *context, const char *container)
{
    mmh_reader *reader;
    subject->container = container;
    subject->data = read_file(container, &subject->bytes);
    assert_non_null(subject->data);
    subject->idle = calloc(subject->bytes, sizeof *subject->idle);
    assert_non_null(subject->idle);
    const uint8_t *footer = subject->data + subject->bytes - 256;
    uint64_t trailer = mmh_load64(footer + 48) + mmh_load64(footer + 56);
    for (uint64_t i = trailer; i < subject->bytes - 256; i++)
        subject->idle[i] = true;
    assert_int_equal(mmh_open(context, container, &reader, NULL), MMH_OK);
    const struct mmh_index *index = &reader->container.index;
    uint64_t end = 128;
    for (uint64_t i = 0; i <= index->chunk_count; i++) {
        uint64_t next = i < index->chunk_count ? index->chunks[i].offset : mmh_load64(footer + 16);
        for (; end < next; end++)
            subject->idle[end] = true;
        if (i < index->chunk_count)
            end = next + index->chunks[i].bytes;
    }
    mmh_close(reader);
}

static void subject_close(struct subject *subject)
{
    for (size_t i = 0; i < subject->file_count; i++)
        free(subject->files[i]);
    free(subject->data);
    free(subject->idle);
}

/* Every file is there and is what was packed, and nothing else is; it is removed again. */
static bool output_is_exact(const struct subject *subject)
{
    bool exact = entry_count(at("out")) == (subject->as_file ? 1 : subject->file_count);
    for (size_t i = 0; i < subject->file_count; i++) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", at("out"), subject->names[i]);
        exact = exact && file_is(path, subject->files[i], subject->file_bytes[i]);
        unlink(path);
    }
    return exact;
}

/* Look at the damaged container. idle: nothing that is ever read was hit. */
static void check(mmh_context *context, const struct subject *subject, const char *what,
                  size_t where, bool idle, bool header)
{
    char destination[600];
    snprintf(destination, sizeof destination, "%s/%s", at("out"),
             subject->as_file ? subject->names[0] : "");
    int verified = verify(context, subject->container);
    int unpacked = unpack(context, subject->container, destination, subject->as_file);
    bool right = verified == DAMAGED || verified == LOST || verified == UNSUPPORTED;
    if (unpacked == MENDED || unpacked == OK)
        right = right && verified == DAMAGED && output_is_exact(subject) &&
                idle == (unpacked == OK);
    else
        right = right && verified == unpacked && unpacked != DAMAGED && !idle &&
                entry_count(at("out")) == 0;
    /* The header's CRC is looked at before its version, so that this is damage, never "newer". */
    if (header)
        right = right && verified == DAMAGED && unpacked == MENDED;
    if (!right)
        fail_msg("%s %zu: verify exits %d, unpack %d, %zu entries are left", what, where, verified,
                 unpacked, entry_count(at("out")));
}

/* Change bytes in place; each with all masks, or with one of them in turn. */
static void change_bytes(mmh_context *context, const struct subject *subject, bool all_masks)
{
    static const uint8_t masks[] = { 0x01, 0x80, 0xff };
    int descriptor = open(subject->container, O_WRONLY);
    assert_true(descriptor >= 0);
    for (size_t i = 0; i < subject->bytes; i++)
        for (size_t m = all_masks ? 0 : i % 3; m < 3; m += all_masks ? 1 : 3) {
            char what[32];
            uint8_t changed = subject->data[i] ^ masks[m];
            assert_int_equal(pwrite(descriptor, &changed, 1, (off_t)i), 1);
            snprintf(what, sizeof what, "xor 0x%02x at byte", masks[m]);
            check(context, subject, what, i, subject->idle[i], i < 128);
            assert_int_equal(pwrite(descriptor, &subject->data[i], 1, (off_t)i), 1);
        }
    close(descriptor);
}

static void cut(mmh_context *context, const struct subject *subject)
{
    for (size_t bytes = subject->bytes; bytes-- > 0;) {
        assert_int_equal(truncate(subject->container, (off_t)bytes), 0);
        check(context, subject, "cut to", bytes, false, false);
    }
    write_file(subject->container, subject->data, subject->bytes);
}

static void subject_add(struct subject *subject, const char *name, const void *data, size_t bytes)
{
    size_t i = subject->file_count++;
    subject->names[i] = name;
    subject->files[i] = malloc(bytes + 1);
    assert_non_null(subject->files[i]);
    memcpy(subject->files[i], data, bytes);
    subject->file_bytes[i] = bytes;
}

static void pack(mmh_context *context, const char *input, const char *output, int level)
{
    mmh_error err = { 0 };
    mmh_pack_options options = { .struct_size = sizeof options, .level = level };
    if (mmh_pack(context, &input, 1, output, &options, NULL, &err) != MMH_OK)
        fail_msg("%s", err.message);
}

/* A safetensors file: chunks with a model, padding between them, a footer, a header, two indexes. */
static void test_every_damaged_byte_of_a_model_is_found_or_mended(void **state)
{
    static uint8_t file[SMALL_MODEL_ROOM];
    (void)state;
    mmh_context *context;
    mmh_context_options options = { .struct_size = sizeof options, .threads = 1 };
    assert_int_equal(mmh_context_create(&context, &options, NULL), MMH_OK);
    size_t bytes = make_small_model(file), padding = 0;
    write_file(at("m.safetensors"), file, bytes);
    pack(context, at("m.safetensors"), at("m.mmh"), 5);
    struct subject subject = { .as_file = true };
    subject_add(&subject, "m.safetensors", file, bytes);
    subject_open(&subject, context, at("m.mmh"));
    for (uint64_t i = 0; i < mmh_load64(subject.data + subject.bytes - 256 + 16); i++)
        padding += subject.idle[i];
    assert_true(padding > 0); /* there is some to damage */
    assert_int_equal(mkdir(at("out"), 0700), 0);
    print_message("%zu bytes, %zu of them padding\n", subject.bytes, padding);
    change_bytes(context, &subject, true);
    cut(context, &subject);
    assert_int_equal(verify(context, subject.container), OK);
    subject_close(&subject);
    assert_int_equal(rmdir(at("out")), 0);
    mmh_context_destroy(context);
}

/* Several files, one of them empty, restored to a folder. */
static void test_every_damaged_byte_of_a_folder_is_found_or_mended(void **state)
{
    (void)state;
    mmh_context *context;
    mmh_context_options options = { .struct_size = sizeof options, .threads = 2 };
    assert_int_equal(mmh_context_create(&context, &options, NULL), MMH_OK);
    char text[600];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = "some text, some words, and more\n"[i * i % 31];
    assert_int_equal(mkdir(at("f"), 0755), 0);
    write_file(at("f/a.txt"), text, sizeof text);
    write_file(at("f/b"), text + 100, 333);
    write_file(at("f/nothing"), "", 0);
    pack(context, at("f"), at("f.mmh"), 9);
    struct subject subject = { 0 };
    subject_add(&subject, "a.txt", text, sizeof text);
    subject_add(&subject, "b", text + 100, 333);
    subject_add(&subject, "nothing", "", 0);
    subject_open(&subject, context, at("f.mmh"));
    assert_int_equal(mkdir(at("out"), 0700), 0);
    print_message("%zu bytes\n", subject.bytes);
    change_bytes(context, &subject, false);
    cut(context, &subject);
    subject_close(&subject);
    assert_int_equal(rmdir(at("out")), 0);
    mmh_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_damaged_byte_of_a_model_is_found_or_mended),
        cmocka_unit_test(test_every_damaged_byte_of_a_folder_is_found_or_mended),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
