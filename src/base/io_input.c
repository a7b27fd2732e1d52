/*
 * Inputs: files read in place, pipes spooled to an unlinked file, bytes in memory, sources of the caller's.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/io_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/cursor.h"

enum { SPOOL_BYTES = 1 << 20, SLURP_BYTES = 64 << 10 };

/* How long a pipe with a small file in it is waited for: for its writer, and for what that writes. */
enum { WRITER_MS = 2000, WRITTEN_MS = 60000, WAIT_MS = 20 };

struct mmh_input {
    const mmh_allocator *allocator;
    const uint8_t *data; /* in memory; else NULL */
    mmh_source source;   /* the caller's, if it can read */
    int descriptor;      /* -1: none of these */
    bool spooled;
    char *name;
    struct mmh_path_info info;
};

static mmh_status input_create(mmh_input **out, const char *name, const mmh_allocator *allocator,
                               mmh_error *err)
{
    *out = NULL;
    mmh_input *input = mmh_alloc_array(allocator, 1, sizeof *input);
    char *copy = io_text_copy(allocator, name);
    if (!input || !copy) {
        mmh_free(allocator, input);
        mmh_free(allocator, copy);
        return mmh_fail(err, MMH_E_MEMORY, "out of memory for %s", name);
    }
    input->allocator = allocator;
    input->descriptor = -1;
    input->name = copy;
    input->info.kind = MMH_PATH_FILE;
    *out = input;
    return MMH_OK;
}

void mmh_input_close(mmh_input *input)
{
    if (!input)
        return;
    if (input->descriptor >= 0)
        close(input->descriptor);
    mmh_free(input->allocator, input->name);
    mmh_free(input->allocator, input);
}

/* A new file without a name in $TMPDIR or /tmp, mode 0600; -1 and errno after a failure. */
static int open_unnamed(void)
{
    const char *folder = mmh_environment("TMPDIR");
    folder = folder && *folder ? folder : "/tmp";
    if (io_fault())
        return -1;
#if defined(O_TMPFILE)
    int unnamed = open(folder, O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);
    if (unnamed >= 0)
        return unnamed;
#endif
    int at = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), descriptor = -1;
    for (int tries = 0; at >= 0 && descriptor < 0 && tries < 100; tries++) {
        char name[IO_TEMPORARY_BYTES];
        io_temporary_name(name);
        descriptor = openat(at, name, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (descriptor >= 0)
            unlinkat(at, name, 0);
        else if (errno != EEXIST)
            break;
    }
    int error = errno;
    if (at >= 0)
        close(at);
    errno = error;
    return descriptor;
}

/* Copy what is left of `from` to an unnamed file, which becomes the input's. */
static mmh_status spool(mmh_input *input, int from, uint64_t limit_bytes, mmh_error *err)
{
    mmh_status status = MMH_OK;
    uint64_t done = 0;
    uint8_t *block = mmh_alloc(input->allocator, 64, SPOOL_BYTES);
    if (!block)
        return mmh_fail(err, MMH_E_MEMORY, "out of memory for %s", input->name);
    int to = open_unnamed();
    if (to < 0)
        status = io_fail(err, "create a temporary file for", NULL, input->name);
    while (status == MMH_OK) {
        ssize_t got = io_read(from, block, SPOOL_BYTES, -1);
        if (got < 0)
            status = io_fail(err, "read", NULL, input->name);
        if (got <= 0)
            break;
        if (limit_bytes && (uint64_t)got > limit_bytes - done)
            status = mmh_fail(err, MMH_E_LIMIT, "%s holds more than %llu bytes", input->name,
                              (unsigned long long)limit_bytes);
        else if (!io_write(to, block, (size_t)got, (int64_t)done))
            status = io_fail(err, "write a temporary file for", NULL, input->name);
        else
            done += (uint64_t)got;
    }
    mmh_free(input->allocator, block);
    if (status != MMH_OK) {
        if (to >= 0)
            close(to);
        return status;
    }
    if (input->descriptor >= 0)
        close(input->descriptor);
    input->descriptor = to;
    input->spooled = true;
    input->info.kind = MMH_PATH_FILE;
    input->info.bytes = done;
    return MMH_OK;
}

/* input->descriptor is open: learn what it is, and spool it if it is no file.
 *   plain  it must be a regular file */
static mmh_status input_look(mmh_input *input, bool plain, uint64_t limit_bytes, mmh_error *err)
{
    struct stat from;
    if (io_fault() || fstat(input->descriptor, &from))
        return io_fail(err, "look at", NULL, input->name);
    io_info_set(&input->info, &from);
    if (input->info.kind == MMH_PATH_FOLDER)
        return mmh_fail(err, MMH_E_USAGE, "%s is a folder, not a file", input->name);
    if (input->info.kind == MMH_PATH_FILE && lseek(input->descriptor, 0, SEEK_CUR) == 0)
        return MMH_OK;
    if (plain)
        return mmh_fail(err, MMH_E_USAGE, "%s is not a regular file", input->name);
    input->info.mode = 0644; /* a pipe's own mode and time say nothing about what comes out */
    input->info.mtime_seconds = 0;
    input->info.mtime_nanoseconds = 0;
    return spool(input, input->descriptor, limit_bytes, err);
}

static mmh_status input_open_at(mmh_input **out, const mmh_folder *folder, int at, const char *path,
                                const char *name, int flags, bool plain,
                                const mmh_allocator *allocator, mmh_error *err)
{
    mmh_status status = input_create(out, name, allocator, err);
    if (status != MMH_OK)
        return status;
    mmh_input *input = *out;
    /* A pipe waits here for its writer, and an interrupt ends that. */
    input->descriptor = io_fault() ? -1 : openat(at, path, O_RDONLY | O_CLOEXEC | flags);
    status = input->descriptor < 0 ? io_fail(err, "open", folder, name)
                                   : input_look(input, plain, 0, err);
    if (status != MMH_OK) {
        mmh_input_close(input);
        *out = NULL;
    }
    return status;
}

mmh_status mmh_input_open(mmh_input **input, const char *path, const mmh_allocator *allocator,
                          mmh_error *err)
{
    return input_open_at(input, NULL, AT_FDCWD, path, path, 0, false, allocator, err);
}

mmh_status mmh_input_open_file(mmh_input **input, const char *path, const mmh_allocator *allocator,
                               mmh_error *err)
{
    return input_open_at(input, NULL, AT_FDCWD, path, path, O_NONBLOCK, true, allocator, err);
}

mmh_status mmh_input_open_beneath(mmh_input **input, const mmh_folder *folder, const char *relative,
                                  const mmh_allocator *allocator, mmh_error *err)
{
    const char *last;
    mmh_status status;
    *input = NULL;
    int parent = io_open_parent(&last, folder, relative, &status, err);
    if (parent < 0)
        return status;
    status = input_open_at(input, folder, parent, last, relative, O_NOFOLLOW, false, allocator,
                           err);
    close(parent);
    return status;
}

mmh_status mmh_input_open_descriptor(mmh_input **out, int descriptor, const char *name,
                                     uint64_t limit_bytes, const mmh_allocator *allocator,
                                     mmh_error *err)
{
    mmh_status status = input_create(out, name, allocator, err);
    if (status != MMH_OK)
        return status;
    mmh_input *input = *out;
    input->descriptor = io_fault() ? -1 : fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
    status = input->descriptor < 0 ? io_fail(err, "open", NULL, name)
                                   : input_look(input, false, limit_bytes, err);
    if (status == MMH_OK && limit_bytes && input->info.bytes > limit_bytes)
        status = mmh_fail(err, MMH_E_LIMIT, "%s holds more than %llu bytes", name,
                          (unsigned long long)limit_bytes);
    if (status != MMH_OK) {
        mmh_input_close(input);
        *out = NULL;
    }
    return status;
}

mmh_status mmh_input_open_memory(mmh_input **out, const void *data, size_t bytes, const char *name,
                                 const mmh_allocator *allocator, mmh_error *err)
{
    mmh_status status = input_create(out, name, allocator, err);
    if (status != MMH_OK)
        return status;
    (*out)->data = data;
    (*out)->info.bytes = bytes;
    (*out)->info.mode = 0644;
    return MMH_OK;
}

mmh_status mmh_source_check(const mmh_source *source, mmh_error *err)
{
    if (!source->name || !source->read)
        return mmh_fail(err, MMH_E_USAGE, "a source has no %s",
                        source->name ? "function that reads" : "name");
    return MMH_OK;
}

mmh_status mmh_input_open_source(mmh_input **out, const mmh_source *source,
                                 const mmh_allocator *allocator, mmh_error *err)
{
    *out = NULL;
    mmh_status status = mmh_source_check(source, err);
    if (status == MMH_OK)
        status = input_create(out, source->name, allocator, err);
    if (status != MMH_OK)
        return status;
    (*out)->source = *source;
    (*out)->source.name = (*out)->name;
    (*out)->info.bytes = source->bytes;
    (*out)->info.mode = 0644;
    return MMH_OK;
}

const char *mmh_input_name(const mmh_input *input)
{
    return input->name;
}

uint64_t mmh_input_bytes(const mmh_input *input)
{
    return input->info.bytes;
}

const struct mmh_path_info *mmh_input_info(const mmh_input *input)
{
    return &input->info;
}

bool mmh_input_was_spooled(const mmh_input *input)
{
    return input->spooled;
}

bool mmh_input_is_source(const mmh_input *input)
{
    return input->source.read != NULL;
}

static mmh_status read_source(const mmh_source *source, void *dst, uint64_t offset, size_t bytes,
                              mmh_error *err)
{
    mmh_error why = { 0 };
    mmh_status status = source->read(source->user, offset, dst, bytes, &why);
    return status == MMH_OK ? MMH_OK : io_fail_as(err, status, &why, "read", source->name);
}

mmh_status mmh_input_read(const mmh_input *input, void *dst, uint64_t offset, size_t bytes,
                          mmh_error *err)
{
    if (offset > input->info.bytes || bytes > input->info.bytes - offset)
        return mmh_fail(err, MMH_E_CORRUPT,
                        "%s ends at byte %llu; %zu bytes were wanted from %llu on", input->name,
                        (unsigned long long)input->info.bytes, bytes, (unsigned long long)offset);
    if (!bytes)
        return MMH_OK;
    if (input->source.read)
        return read_source(&input->source, dst, offset, bytes, err);
    if (input->descriptor < 0) {
        memcpy(dst, input->data + offset, bytes);
        return MMH_OK;
    }
    ssize_t got = io_read(input->descriptor, dst, bytes, (int64_t)offset);
    if (got < 0)
        return io_fail(err, "read", NULL, input->name);
    if ((size_t)got < bytes)
        return mmh_fail(err, MMH_E_IO, "%s has become shorter while it was read: it ends at %llu",
                        input->name, (unsigned long long)offset + (unsigned long long)got);
    return MMH_OK;
}

mmh_status mmh_input_unchanged(const mmh_input *input, mmh_error *err)
{
    struct stat from;
    struct mmh_path_info now;
    if (input->descriptor < 0 || input->spooled)
        return MMH_OK;
    if (io_fault() || fstat(input->descriptor, &from))
        return io_fail(err, "look at", NULL, input->name);
    io_info_set(&now, &from);
    if (now.bytes != input->info.bytes || now.mtime_seconds != input->info.mtime_seconds ||
        now.mtime_nanoseconds != input->info.mtime_nanoseconds)
        return mmh_fail(err, MMH_E_IO, "%s changed while it was read", input->name);
    return MMH_OK;
}

#if defined(POSIX_FADV_NORMAL)
static void advise(const mmh_input *input, uint64_t offset, uint64_t bytes, int advice)
{
    if (input->descriptor >= 0 && bytes <= INT64_MAX && offset <= INT64_MAX)
        (void)posix_fadvise(input->descriptor, (off_t)offset, (off_t)bytes, advice);
}
#else
enum {
    POSIX_FADV_NORMAL,
    POSIX_FADV_SEQUENTIAL,
    POSIX_FADV_RANDOM,
    POSIX_FADV_WILLNEED,
    POSIX_FADV_DONTNEED
};
static void advise(const mmh_input *input, uint64_t offset, uint64_t bytes, int advice)
{
    (void)input, (void)offset, (void)bytes, (void)advice;
}
#endif

void mmh_input_advise(const mmh_input *input, enum mmh_access access)
{
    advise(input, 0, 0,
           access == MMH_ACCESS_SEQUENTIAL ? POSIX_FADV_SEQUENTIAL
           : access == MMH_ACCESS_RANDOM   ? POSIX_FADV_RANDOM
                                           : POSIX_FADV_NORMAL);
}

/* Whether a byte can be read without the disk; false too where the system does not tell. */
static bool is_cached(const mmh_input *input, uint64_t offset)
{
#if defined(RWF_NOWAIT)
    uint8_t byte;
    struct iovec to = { &byte, 1 };
    return input->descriptor >= 0 && offset < INT64_MAX &&
           preadv2(input->descriptor, &to, 1, (off_t)offset, RWF_NOWAIT) == 1;
#else
    (void)input, (void)offset;
    return false;
#endif
}

void mmh_input_ahead(const mmh_input *input, uint64_t offset, uint64_t bytes)
{
    /* Advice about what is cached walks all of its pages for nothing. */
    if (bytes && is_cached(input, offset) && is_cached(input, offset + bytes - 1))
        return;
    advise(input, offset, bytes, POSIX_FADV_WILLNEED);
}

void mmh_input_forget(const mmh_input *input, uint64_t offset, uint64_t bytes)
{
    advise(input, offset, bytes, POSIX_FADV_DONTNEED);
}

/* Fill dst[bytes] from a pipe that does not block, less where it ends. One that nobody writes to is
 * given up soon, and a writer that is silent after a while.
 *   written  a writer was seen */
static mmh_status pipe_read(size_t *done, bool *written, int descriptor, uint8_t *dst, size_t bytes,
                            const char *path, mmh_error *err)
{
    uint64_t silent_ms = 0;
    *done = 0;
    while (*done < bytes) {
        ssize_t got = io_fault() ? -1 : read(descriptor, dst + *done, bytes - *done);
        if (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
            return io_fail(err, "read", NULL, path);
        if (got > 0) {
            *done += (size_t)got;
            silent_ms = 0;
        }
        *written |= got != 0;
        if (got > 0)
            continue;
        if (got == 0 && *written)
            break;
        if (silent_ms >= (*written ? WRITTEN_MS : WRITER_MS))
            return mmh_fail(err, MMH_E_IO, "%s is not a regular file but a pipe, and nobody %s",
                            path, *written ? "goes on writing to it" : "writes to it");
        struct pollfd wait = { .fd = descriptor, .events = POLLIN };
        int ready = poll(&wait, 1, WAIT_MS);
        if (ready < 0)
            return io_fail(err, "read", NULL, path);
        *written |= ready > 0; /* also where the last writer has gone */
        silent_ms += WAIT_MS;
    }
    return MMH_OK;
}

/* Read `descriptor` to its end. Not spooled and not left in freed memory: it may be a key. */
static mmh_status slurp(struct mmh_buffer *all, int descriptor, const char *path,
                        size_t limit_bytes, mmh_error *err)
{
    struct stat from;
    if (io_fault() || fstat(descriptor, &from))
        return io_fail(err, "look at", NULL, path);
    if (S_ISDIR(from.st_mode))
        return mmh_fail(err, MMH_E_USAGE, "%s is a folder, not a file", path);
    bool plain = S_ISREG(from.st_mode), written = false;
    if (!plain && !S_ISFIFO(from.st_mode))
        return mmh_fail(err, MMH_E_USAGE, "%s is not a regular file", path);
    if (plain && from.st_size > 0 && (uint64_t)from.st_size > limit_bytes)
        return mmh_fail(err, MMH_E_LIMIT, "%s is larger than %zu bytes", path, limit_bytes);
    size_t room = SLURP_BYTES;
    if (plain && from.st_size >= 0 && (uint64_t)from.st_size < limit_bytes)
        room = (size_t)from.st_size + 1; /* one more, to see the end */
    for (bool more = true; more; room = MMH_MAX(all->bytes, SLURP_BYTES)) {
        if (all->bytes > limit_bytes)
            return mmh_fail(err, MMH_E_LIMIT, "%s is larger than %zu bytes", path, limit_bytes);
        struct mmh_buffer larger;
        mmh_buffer_init(&larger, all->allocator);
        mmh_buffer_bytes(&larger, all->data, all->bytes);
        uint8_t *to = mmh_buffer_extend(&larger, room);
        ssize_t read = to && plain ? io_read(descriptor, to, room, -1) : 0;
        size_t got = read < 0 ? 0 : (size_t)read;
        mmh_status status = MMH_OK;
        if (read < 0)
            status = io_fail(err, "read", NULL, path);
        else if (to && !plain)
            status = pipe_read(&got, &written, descriptor, to, room, path, err);
        size_t had = all->bytes;
        mmh_wipe(all->data, all->bytes);
        mmh_buffer_release(all);
        *all = larger;
        if (!to)
            return mmh_fail(err, MMH_E_MEMORY, "out of memory for %s", path);
        all->bytes = had + got;
        if (status != MMH_OK)
            return status;
        more = got == room;
    }
    return all->bytes > limit_bytes
             ? mmh_fail(err, MMH_E_LIMIT, "%s is larger than %zu bytes", path, limit_bytes)
             : MMH_OK;
}

mmh_status mmh_input_slurp(uint8_t **data, size_t *bytes, const char *path, size_t limit_bytes,
                           const mmh_allocator *allocator, mmh_error *err)
{
    struct mmh_buffer all;
    mmh_buffer_init(&all, allocator);
    *data = NULL;
    *bytes = 0;
    int descriptor = io_fault() ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0)
        return io_fail(err, "open", NULL, path);
    mmh_status status = slurp(&all, descriptor, path, limit_bytes, err);
    close(descriptor);
    size_t end = all.bytes;
    if (status == MMH_OK)
        mmh_buffer_u8(&all, 0);
    if (status == MMH_OK)
        status = mmh_buffer_finish(&all, path, err);
    if (status != MMH_OK) {
        mmh_wipe(all.data, all.bytes);
        mmh_buffer_release(&all);
        return status;
    }
    *data = all.data;
    *bytes = end;
    return MMH_OK;
}
