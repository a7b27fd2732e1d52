/*
 * The journal of a repair.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine/journal.h"

#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "integrity/digest.h"

#define JOURNAL_MAGIC "MMHJRNL\n"
#define JOURNAL_ENDING "-journal"

enum { HEAD_BYTES = 128, RECORD_HEAD_BYTES = 24, RECORD_MAX = 1 << 24, ALIGNMENT = 8 };

struct record {
    uint64_t offset;
    uint32_t bytes, crc;
    bool is_void;
};

static char *journal_path(const char *container, const mmh_allocator *allocator, mmh_error *err)
{
    size_t bytes = strlen(container) + sizeof JOURNAL_ENDING;
    char *path = mmh_alloc(allocator, 0, bytes);
    if (path)
        (void)snprintf(path, bytes, "%s%s", container, JOURNAL_ENDING);
    else
        mmh_fail(err, MMH_E_MEMORY, "no memory for a path");
    return path;
}

mmh_status mmh_journal_create(struct mmh_journal *journal, const char *container,
                              const uint8_t root[MMH_JOURNAL_ROOT_BYTES], uint64_t size_before,
                              uint64_t size_after, const mmh_allocator *allocator, mmh_error *err)
{
    static const uint8_t zeros[HEAD_BYTES];
    *journal = (struct mmh_journal){ .allocator = allocator,
                                     .size_before = size_before,
                                     .size_after = size_after,
                                     .position = HEAD_BYTES };
    memcpy(journal->root, root, sizeof journal->root);
    journal->path = journal_path(container, allocator, err);
    if (!journal->path)
        return MMH_E_MEMORY;
    mmh_status status = mmh_output_create(&journal->output, journal->path, NULL, allocator, err);
    return status == MMH_OK ? mmh_output_append(journal->output, zeros, sizeof zeros, err) : status;
}

void mmh_journal_release(struct mmh_journal *journal)
{
    mmh_output_close(journal->output);
    mmh_free(journal->allocator, journal->path);
    *journal = (struct mmh_journal){ .allocator = journal->allocator };
}

mmh_status mmh_journal_add(struct mmh_journal *journal, uint64_t offset, const void *data,
                           size_t bytes, uint64_t *data_at, mmh_error *err)
{
    for (size_t at = 0; at < bytes;) {
        uint8_t head[RECORD_HEAD_BYTES] = { 0 };
        size_t part = MMH_MIN(bytes - at, (size_t)RECORD_MAX);
        size_t padding = (size_t)mmh_round_up(part, ALIGNMENT) - part;
        mmh_store64(head, offset + at);
        mmh_store32(head + 8, (uint32_t)part);
        mmh_store32(head + 12, 1);
        mmh_store32(head + 16, mmh_crc32((const uint8_t *)data + at, part));
        mmh_status status = mmh_output_append(journal->output, head, sizeof head, err);
        if (status == MMH_OK)
            status = mmh_output_append(journal->output, (const uint8_t *)data + at, part, err);
        if (status == MMH_OK && padding)
            status = mmh_output_append_zeros(journal->output, padding, err);
        if (status != MMH_OK)
            return status;
        if (data_at && !at)
            *data_at = journal->position + RECORD_HEAD_BYTES;
        journal->position += RECORD_HEAD_BYTES + part + padding;
        journal->count++;
        journal->data_bytes += part;
        at += part;
    }
    return MMH_OK;
}

mmh_status mmh_journal_read(const struct mmh_journal *journal, void *dst, uint64_t data_at,
                            size_t bytes, mmh_error *err)
{
    return mmh_output_read_at(journal->output, dst, data_at, bytes, err);
}

mmh_status mmh_journal_void(struct mmh_journal *journal, uint64_t data_at, mmh_error *err)
{
    static const uint8_t zeros[4];
    return mmh_output_write_at(journal->output, data_at - RECORD_HEAD_BYTES + 12, zeros,
                               sizeof zeros, err);
}

mmh_status mmh_journal_commit(struct mmh_journal *journal, mmh_error *err)
{
    uint8_t head[HEAD_BYTES] = { 0 };
    memcpy(head, JOURNAL_MAGIC, 8);
    memcpy(head + 8, journal->root, sizeof journal->root);
    mmh_store64(head + 40, journal->size_before);
    mmh_store64(head + 48, journal->size_after);
    mmh_store64(head + 56, journal->count);
    mmh_store64(head + 64, journal->position);
    mmh_store32(head + 124, mmh_crc32(head, 124));
    mmh_status status = mmh_output_write_at(journal->output, 0, head, sizeof head, err);
    return status == MMH_OK ? mmh_output_commit(journal->output, err) : status;
}

/* ---- what is in one ---- */

static void record_read(struct record *record, const uint8_t head[RECORD_HEAD_BYTES])
{
    *record = (struct record){ .offset = mmh_load64(head),
                               .bytes = mmh_load32(head + 8),
                               .is_void = !mmh_load32(head + 12),
                               .crc = mmh_load32(head + 16) };
}

/* Read a journal from the output that it is still written through, or from its file. */
struct journal_source {
    const mmh_output *output;
    const mmh_input *input;
};

static mmh_status source_read(const struct journal_source *source, void *dst, uint64_t offset,
                              size_t bytes, mmh_error *err)
{
    return source->input
             ? mmh_input_read(source->input, dst, offset, bytes, err)
             : mmh_output_read_at((mmh_output *)(uintptr_t)source->output, dst, offset, bytes, err);
}

/* Go through `count` records up to `end`: check them, and write them to `output` if it is not NULL. */
static mmh_status walk(const struct journal_source *source, uint64_t count, uint64_t end,
                       mmh_output *output, const mmh_allocator *allocator, mmh_error *err)
{
    uint8_t head[RECORD_HEAD_BYTES], *data = mmh_alloc(allocator, 0, RECORD_MAX);
    mmh_status status = data ? MMH_OK : mmh_fail(err, MMH_E_MEMORY, "no memory for a journal");
    uint64_t at = HEAD_BYTES;
    for (uint64_t i = 0; i < count && status == MMH_OK; i++) {
        struct record record = { 0 };
        bool right = end - at >= RECORD_HEAD_BYTES;
        if (right)
            status = source_read(source, head, at, sizeof head, err);
        if (right && status == MMH_OK) {
            record_read(&record, head);
            right = record.bytes <= RECORD_MAX && record.bytes <= end - at - RECORD_HEAD_BYTES &&
                    record.offset < UINT64_C(1) << 62;
        }
        if (right && status == MMH_OK)
            status = source_read(source, data, at + RECORD_HEAD_BYTES, record.bytes, err);
        if (status != MMH_OK)
            break;
        if (!right || mmh_crc32(data, record.bytes) != record.crc)
            status = mmh_fail(err, MMH_E_CORRUPT, "record %llu is damaged", (unsigned long long)i);
        else if (output && !record.is_void)
            status = mmh_output_write_at(output, record.offset, data, record.bytes, err);
        at += RECORD_HEAD_BYTES + mmh_round_up(record.bytes, ALIGNMENT);
        if (at > end) /* the last one's padding */
            at = end;
    }
    mmh_free(allocator, data);
    return status;
}

mmh_status mmh_journal_apply(const struct mmh_journal *journal, mmh_output *output, mmh_error *err)
{
    struct journal_source source = { .output = journal->output };
    return walk(&source, journal->count, journal->position, output, journal->allocator, err);
}

/* ---- replaying ---- */

mmh_status mmh_journal_exists(bool *exists, const char *container, const mmh_allocator *allocator,
                              mmh_error *err)
{
    struct mmh_path_info info;
    char *path = journal_path(container, allocator, err);
    *exists = false;
    if (!path)
        return MMH_E_MEMORY;
    mmh_status status = mmh_path_stat(&info, path, false, err);
    *exists = status == MMH_OK && info.kind != MMH_PATH_NONE;
    mmh_free(allocator, path);
    return status;
}

static mmh_status remove_file(char *path, const mmh_allocator *allocator, mmh_error *err)
{
    mmh_folder *folder;
    char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    char first = slash ? slash[1] : 0;
    if (slash)
        slash[slash == path] = 0;
    mmh_status status = mmh_folder_open(&folder, slash ? path : ".", false, allocator, err);
    if (slash) {
        slash[0] = '/';
        slash[1] = first;
    }
    if (status != MMH_OK)
        return status;
    status = mmh_folder_remove(folder, name, err);
    mmh_folder_close(folder);
    return status;
}

static mmh_status replay(const mmh_input *input, const char *container, const uint8_t *root,
                         const mmh_allocator *allocator, mmh_error *err)
{
    uint8_t head[HEAD_BYTES];
    struct journal_source source = { .input = input };
    mmh_output *output = NULL;
    uint64_t bytes = mmh_input_bytes(input);
    if (bytes < HEAD_BYTES)
        return mmh_fail(err, MMH_E_CORRUPT, "it has %llu bytes", (unsigned long long)bytes);
    mmh_status status = mmh_input_read(input, head, 0, sizeof head, err);
    if (status != MMH_OK)
        return status;
    uint64_t count = mmh_load64(head + 56), end = mmh_load64(head + 64);
    if (memcmp(head, JOURNAL_MAGIC, 8) != 0 || mmh_load32(head + 124) != mmh_crc32(head, 124) ||
        end < HEAD_BYTES || end > bytes)
        return mmh_fail(err, MMH_E_CORRUPT, "it is none, or damaged");
    if (root && memcmp(head + 8, root, MMH_JOURNAL_ROOT_BYTES) != 0)
        return mmh_fail(err, MMH_E_USAGE, "it is of another container: move it away");
    status = walk(&source, count, end, NULL, allocator, err);
    if (status == MMH_OK)
        status = mmh_output_open_existing(&output, container, allocator, err);
    if (status == MMH_OK)
        status = mmh_output_resize(output, mmh_load64(head + 48), err);
    if (status == MMH_OK)
        status = walk(&source, count, end, output, allocator, err);
    if (status == MMH_OK)
        status = mmh_output_commit(output, err);
    mmh_output_close(output);
    return status;
}

mmh_status mmh_journal_replay(bool *replayed, const char *container, const uint8_t *root,
                              const mmh_allocator *allocator, mmh_error *err)
{
    mmh_input *input = NULL;
    mmh_error local = { 0 };
    *replayed = false;
    bool exists;
    mmh_status status = mmh_journal_exists(&exists, container, allocator, err);
    if (status != MMH_OK || !exists)
        return status;
    char *path = journal_path(container, allocator, err);
    if (!path)
        return MMH_E_MEMORY;
    status = mmh_input_open(&input, path, allocator, &local);
    if (status == MMH_OK)
        status = replay(input, container, root, allocator, &local);
    mmh_input_close(input);
    if (status == MMH_OK)
        status = remove_file(path, allocator, &local);
    *replayed = status == MMH_OK;
    if (status != MMH_OK)
        mmh_fail(err, status, "the journal \"%s\": %s", path, local.message);
    mmh_free(allocator, path);
    return status;
}
