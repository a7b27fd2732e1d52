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

enum {
    HEAD_BYTES = 128,
    DEVICE_AT = 72,
    INODE_AT = 80,
    RECORD_HEAD_BYTES = 24,
    CHECKED_AT = 8, /* of a record: what its CRC is of */
    RECORD_MAX = 1 << 20,
    ALIGNMENT = 8
};

/* No damage to some bits makes one of the other. */
#define RECORD_VALID UINT32_C(0x64696c76)
#define RECORD_VOID UINT32_C(0x9b969389)

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
    struct mmh_path_info info;
    mmh_status status = mmh_path_stat(&info, container, true, err); /* a new one has none yet */
    if (status != MMH_OK)
        return status;
    journal->device = info.device;
    journal->inode = info.inode;
    journal->path = journal_path(container, allocator, err);
    journal->record = mmh_alloc(allocator, 0, RECORD_HEAD_BYTES + RECORD_MAX + ALIGNMENT);
    if (!journal->path || !journal->record)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for a journal");
    const struct mmh_output_options options = { .secret = true, .overwrite = true };
    status = mmh_output_create(&journal->output, journal->path, &options, allocator, err);
    return status == MMH_OK ? mmh_output_append(journal->output, zeros, sizeof zeros, err) : status;
}

void mmh_journal_release(struct mmh_journal *journal)
{
    mmh_output_close(journal->output);
    mmh_free(journal->allocator, journal->record);
    mmh_free(journal->allocator, journal->path);
    *journal = (struct mmh_journal){ .allocator = journal->allocator };
}

mmh_status mmh_journal_add(struct mmh_journal *journal, uint64_t offset, const void *data,
                           size_t bytes, uint64_t *data_at, mmh_error *err)
{
    uint8_t *record = journal->record;
    for (size_t at = 0; at < bytes;) {
        size_t part = MMH_MIN(bytes - at, (size_t)RECORD_MAX);
        size_t padded = (size_t)mmh_round_up(part, ALIGNMENT);
        mmh_store32(record + 4, RECORD_VALID);
        mmh_store64(record + 8, offset + at);
        mmh_store32(record + 16, (uint32_t)part);
        mmh_store32(record + 20, 0);
        memcpy(record + RECORD_HEAD_BYTES, (const uint8_t *)data + at, part);
        memset(record + RECORD_HEAD_BYTES + part, 0, padded - part);
        mmh_store32(record, mmh_crc32(record + CHECKED_AT, RECORD_HEAD_BYTES - CHECKED_AT + part));
        mmh_status status = mmh_output_append(journal->output, record, RECORD_HEAD_BYTES + padded,
                                              err);
        if (status != MMH_OK)
            return status;
        if (data_at && !at)
            *data_at = journal->position + RECORD_HEAD_BYTES;
        journal->position += RECORD_HEAD_BYTES + padded;
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
    uint8_t mark[4];
    mmh_store32(mark, RECORD_VOID);
    return mmh_output_write_at(journal->output, data_at - RECORD_HEAD_BYTES + 4, mark, sizeof mark,
                               err);
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
    mmh_store64(head + DEVICE_AT, journal->device);
    mmh_store64(head + INODE_AT, journal->inode);
    mmh_store32(head + 124, mmh_crc32(head, 124));
    mmh_status status = mmh_output_write_at(journal->output, 0, head, sizeof head, err);
    return status == MMH_OK ? mmh_output_commit(journal->output, err) : status;
}

/* ---- what is in one ---- */

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

/* What a journal is about to do. */
struct journal_work {
    struct journal_source source;
    uint64_t count, end;      /* of its records */
    uint64_t container_bytes; /* nothing is written beyond */
    mmh_output *output;       /* NULL: they are only checked */
};

/* One record at `at`; *bytes: how many it takes. record: [RECORD_HEAD_BYTES + RECORD_MAX] */
static mmh_status do_record(const struct journal_work *work, uint64_t at, uint8_t *record,
                            uint64_t *bytes, mmh_error *err)
{
    mmh_status status;
    if (work->end - at < RECORD_HEAD_BYTES)
        return mmh_fail(err, MMH_E_CORRUPT, "it ends too early");
    status = source_read(&work->source, record, at, RECORD_HEAD_BYTES, err);
    if (status != MMH_OK)
        return status;
    uint64_t offset = mmh_load64(record + 8);
    uint32_t length = mmh_load32(record + 16), mark = mmh_load32(record + 4);
    *bytes = RECORD_HEAD_BYTES + mmh_round_up(length, ALIGNMENT);
    if ((mark != RECORD_VALID && mark != RECORD_VOID) || length > RECORD_MAX ||
        *bytes > work->end - at || length > work->container_bytes ||
        offset > work->container_bytes - length)
        return mmh_fail(err, MMH_E_CORRUPT, "a record is damaged");
    status = source_read(&work->source, record + RECORD_HEAD_BYTES, at + RECORD_HEAD_BYTES, length,
                         err);
    if (status != MMH_OK)
        return status;
    if (mmh_crc32(record + CHECKED_AT, RECORD_HEAD_BYTES - CHECKED_AT + length) !=
        mmh_load32(record))
        return mmh_fail(err, MMH_E_CORRUPT, "a record is damaged");
    if (!work->output || mark == RECORD_VOID)
        return MMH_OK;
    return mmh_output_write_at(work->output, offset, record + RECORD_HEAD_BYTES, length, err);
}

static mmh_status do_records(const struct journal_work *work, const mmh_allocator *allocator,
                             mmh_error *err)
{
    uint8_t *record = mmh_alloc(allocator, 0, RECORD_HEAD_BYTES + RECORD_MAX);
    mmh_status status = record ? MMH_OK : mmh_fail(err, MMH_E_MEMORY, "no memory for a journal");
    uint64_t at = HEAD_BYTES, bytes = 0;
    for (uint64_t i = 0; i < work->count && status == MMH_OK; i++, at += bytes)
        status = do_record(work, at, record, &bytes, err);
    mmh_free(allocator, record);
    return status;
}

mmh_status mmh_journal_apply(const struct mmh_journal *journal, mmh_output *output, mmh_error *err)
{
    const struct journal_work work = { .source = { .output = journal->output },
                                       .count = journal->count,
                                       .end = journal->position,
                                       .container_bytes = journal->size_after,
                                       .output = output };
    return do_records(&work, journal->allocator, err);
}

/* ---- replaying ---- */

static mmh_status has_magic(bool *yes, const char *path, const mmh_allocator *allocator,
                            mmh_error *err)
{
    uint8_t magic[8];
    mmh_input *input = NULL;
    *yes = false;
    mmh_status status = mmh_input_open_file(&input, path, allocator, err);
    if (status == MMH_OK && mmh_input_bytes(input) >= sizeof magic) {
        status = mmh_input_read(input, magic, 0, sizeof magic, err);
        *yes = status == MMH_OK && memcmp(magic, JOURNAL_MAGIC, sizeof magic) == 0;
    }
    mmh_input_close(input);
    return status;
}

mmh_status mmh_journal_look(enum mmh_journal_kind *kind, const char *container,
                            const mmh_allocator *allocator, mmh_error *err)
{
    struct mmh_path_info info;
    char *path = journal_path(container, allocator, err);
    bool own = false;
    *kind = MMH_JOURNAL_NONE;
    if (!path)
        return MMH_E_MEMORY;
    mmh_status status = mmh_path_stat(&info, path, false, err);
    if (status == MMH_OK && info.kind != MMH_PATH_NONE) {
        if (info.kind == MMH_PATH_FILE && info.own)
            status = has_magic(&own, path, allocator, err);
        *kind = own ? MMH_JOURNAL_OWN : MMH_JOURNAL_OTHER;
    }
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

mmh_status mmh_journal_forget(const char *container, const mmh_allocator *allocator, mmh_error *err)
{
    char *path = journal_path(container, allocator, err);
    if (!path)
        return MMH_E_MEMORY;
    mmh_status status = remove_file(path, allocator, err);
    mmh_free(allocator, path);
    return status;
}

static mmh_status replay(const mmh_input *input, const char *container, const uint8_t *root,
                         uint64_t container_bytes, const mmh_allocator *allocator, mmh_error *err)
{
    uint8_t head[HEAD_BYTES];
    struct journal_work work = { .source = { .input = input } };
    uint64_t bytes = mmh_input_bytes(input);
    struct mmh_path_info info;
    if (bytes < HEAD_BYTES)
        return mmh_fail(err, MMH_E_CORRUPT, "it has %llu bytes", (unsigned long long)bytes);
    mmh_status status = mmh_input_read(input, head, 0, sizeof head, err);
    if (status == MMH_OK)
        status = mmh_path_stat(&info, container, true, err);
    if (status != MMH_OK)
        return status;
    work.container_bytes = mmh_load64(head + 48);
    work.count = mmh_load64(head + 56);
    work.end = mmh_load64(head + 64);
    if (memcmp(head, JOURNAL_MAGIC, 8) != 0 || mmh_load32(head + 124) != mmh_crc32(head, 124) ||
        work.end < HEAD_BYTES || work.end > bytes)
        return mmh_fail(err, MMH_E_CORRUPT, "it is none, or damaged");
    if (root && memcmp(head + 8, root, MMH_JOURNAL_ROOT_BYTES) != 0)
        return mmh_fail(err, MMH_E_USAGE, "it is of another container");
    if (root && work.container_bytes != container_bytes)
        return mmh_fail(err, MMH_E_USAGE, "it is of another state of the container");
    if (mmh_load64(head + DEVICE_AT) != info.device || mmh_load64(head + INODE_AT) != info.inode)
        return mmh_fail(err, MMH_E_USAGE, "it was not made for this file");
    status = do_records(&work, allocator, err);
    if (status == MMH_OK)
        status = mmh_output_open_existing(&work.output, container, allocator, err);
    if (status == MMH_OK)
        status = mmh_output_resize(work.output, work.container_bytes, err);
    if (status == MMH_OK)
        status = do_records(&work, allocator, err);
    if (status == MMH_OK)
        status = mmh_output_commit(work.output, err);
    mmh_output_close(work.output);
    return status;
}

mmh_status mmh_journal_replay(bool *replayed, const char *container, const uint8_t *root,
                              uint64_t container_bytes, const mmh_allocator *allocator,
                              mmh_error *err)
{
    mmh_input *input = NULL;
    mmh_error local = { 0 };
    *replayed = false;
    enum mmh_journal_kind kind;
    mmh_status status = mmh_journal_look(&kind, container, allocator, err);
    if (status != MMH_OK || kind != MMH_JOURNAL_OWN)
        return status;
    char *path = journal_path(container, allocator, err);
    if (!path)
        return MMH_E_MEMORY;
    status = mmh_input_open_file(&input, path, allocator, &local);
    if (status == MMH_OK)
        status = replay(input, container, root, container_bytes, allocator, &local);
    mmh_input_close(input);
    if (status == MMH_OK)
        status = remove_file(path, allocator, &local);
    *replayed = status == MMH_OK;
    bool unfit = status == MMH_E_CORRUPT || status == MMH_E_USAGE;
    if (unfit) /* of the journal, not of the container */
        status = MMH_E_USAGE;
    if (status != MMH_OK)
        mmh_fail(err, status, "the journal \"%s\": %s%s", path, local.message,
                 unfit ? "; move it away to repair without it" : "");
    mmh_free(allocator, path);
    return status;
}
