/*
 * Outputs: files that appear complete or not at all, descriptors, files changed in place, and sinks of the
 * caller's.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/io_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/bits.h"

enum kind { NEW_FILE, DESCRIPTOR, EXISTING_FILE, SINK };

struct mmh_output {
    const mmh_allocator *allocator;
    enum kind kind;
    int descriptor;
    int parent;                         /* of a new file: the folder that gets it */
    char *name;                         /* for messages */
    const char *last;                   /* its last component, within name */
    char temporary[IO_TEMPORARY_BYTES]; /* its name until then; empty: it has none */
    bool overwrite;
    bool committed;
    uint32_t mode;
    uint64_t position;
    uint64_t bytes_before; /* of an existing file */
    mmh_sink sink;
};

/* Whether bytes can only be added at its end. */
static bool is_stream(const mmh_output *output)
{
    return output->kind == DESCRIPTOR || output->kind == SINK;
}

/* The umask, without touching it where the system can tell. */
static uint32_t umask_now(void)
{
#if defined(__linux__)
    FILE *status = fopen("/proc/self/status", "re");
    if (status) {
        char line[128];
        unsigned mask = 0;
        bool found = false;
        while (!found && fgets(line, sizeof line, status))
            found = sscanf(line, "Umask: %o", &mask) == 1;
        fclose(status);
        if (found)
            return mask & 0777;
    }
#endif
    mode_t mask = umask(077);
    umask(mask);
    return (uint32_t)mask & 0777;
}

/* The umask is one for the process and costs a few system calls: asked for once. */
static uint32_t default_mode(void)
{
    static atomic_uint known; /* 1 + mode; 0: not yet */
    unsigned mode = atomic_load_explicit(&known, memory_order_relaxed);
    if (!mode) {
        mode = 1 + (0666 & ~umask_now());
        atomic_store_explicit(&known, mode, memory_order_relaxed);
    }
    return mode - 1;
}

static mmh_status output_alloc(mmh_output **out, enum kind kind, const char *name,
                               const mmh_allocator *allocator, mmh_error *err)
{
    *out = NULL;
    mmh_output *output = mmh_alloc_array(allocator, 1, sizeof *output);
    char *copy = io_text_copy(allocator, name);
    if (!output || !copy) {
        mmh_free(allocator, output);
        mmh_free(allocator, copy);
        return mmh_fail(err, MMH_E_MEMORY, "out of memory for %s", name);
    }
    output->allocator = allocator;
    output->kind = kind;
    output->descriptor = output->parent = -1;
    output->name = copy;
    const char *slash = strrchr(copy, '/');
    output->last = slash ? slash + 1 : copy;
    *out = output;
    return MMH_OK;
}

void mmh_output_close(mmh_output *output)
{
    if (!output)
        return;
    if (output->descriptor >= 0) {
        if (output->kind == NEW_FILE && !output->committed && output->temporary[0])
            unlinkat(output->parent, output->temporary, 0);
        if (output->kind == EXISTING_FILE && !output->committed &&
            ftruncate(output->descriptor, (off_t)output->bytes_before) == 0)
            (void)io_sync(output->descriptor);
        close(output->descriptor);
    }
    if (output->parent >= 0)
        close(output->parent);
    mmh_free(output->allocator, output->name);
    mmh_free(output->allocator, output);
}

/* What stands where the output will go may be replaced: nothing, or with `overwrite` a file.
 * Devices and pipes never: a rename would put a file in the place of /dev/null. */
static mmh_status check_place(const mmh_output *output, mmh_error *err)
{
    struct stat from;
    if (!*output->last || strcmp(output->last, ".") == 0 || strcmp(output->last, "..") == 0)
        return mmh_fail(err, MMH_E_USAGE, "%s names a folder, not a file", output->name);
    if (io_fault() || fstatat(output->parent, output->last, &from, AT_SYMLINK_NOFOLLOW))
        return errno == ENOENT ? MMH_OK : io_fail(err, "look at", NULL, output->name);
    if (S_ISDIR(from.st_mode))
        return mmh_fail(err, MMH_E_USAGE, "%s is a folder", output->name);
    if (!output->overwrite)
        return mmh_fail(err, MMH_E_USAGE, "%s exists", output->name);
    if (S_ISLNK(from.st_mode) && fstatat(output->parent, output->last, &from, 0))
        return MMH_OK; /* a dangling link is replaced */
    if (!S_ISREG(from.st_mode) && !S_ISDIR(from.st_mode))
        return mmh_fail(err, MMH_E_USAGE, "%s is a device or a pipe, which cannot be replaced",
                        output->name);
    return MMH_OK;
}

static atomic_bool unnamed_refused; /* by a test */

void mmh_io_allow_unnamed(bool allow)
{
    atomic_store(&unnamed_refused, !allow);
}

#if defined(O_TMPFILE)
/* The path by which an open file is given a name: AT_EMPTY_PATH would take a privilege. */
enum { LINK_PATH_BYTES = 40 };

static void link_path(char path[LINK_PATH_BYTES], int descriptor)
{
    snprintf(path, LINK_PATH_BYTES, "/proc/self/fd/%d", descriptor);
}
#endif

/* A file without a name, which nobody finds if we are killed, in an open folder. -1: the system, or
 * the file system, has no such thing, or could not name it later. */
static int open_unnamed_in(int folder)
{
#if defined(O_TMPFILE)
    char path[LINK_PATH_BYTES];
    struct stat open, seen;
    int descriptor = openat(folder, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    link_path(path, descriptor);
    if (descriptor >= 0 && fstat(descriptor, &open) == 0 && stat(path, &seen) == 0 &&
        open.st_dev == seen.st_dev && open.st_ino == seen.st_ino)
        return descriptor;
    if (descriptor >= 0)
        close(descriptor);
#else
    (void)folder;
#endif
    return -1;
}

/* Give an unnamed file a name that nothing has: false and errno EEXIST if something does. */
static bool link_unnamed(const mmh_output *output, const char *name)
{
#if defined(O_TMPFILE)
    char path[LINK_PATH_BYTES];
    link_path(path, output->descriptor);
    return !io_fault() && linkat(AT_FDCWD, path, output->parent, name, AT_SYMLINK_FOLLOW) == 0;
#else
    (void)output, (void)name;
    errno = ENOSYS;
    return false;
#endif
}

/* A file with a temporary name beside the place; locked, so that no sweep takes it for a leftover.
 * -1 and errno after a failure. */
static int open_temporary(mmh_output *output)
{
    for (int tries = 0;; tries++) {
        io_temporary_name(output->temporary);
        int descriptor = io_fault()
                           ? -1
                           : openat(output->parent, output->temporary,
                                    O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (descriptor >= 0 && io_hold(descriptor, output->parent, output->temporary))
            return descriptor;
        int error = errno;
        if (descriptor >= 0)
            close(descriptor);
        else
            output->temporary[0] = '\0';
        errno = error;
        if ((descriptor < 0 && errno != EEXIST && errno != EINTR) || tries == 100)
            return -1;
    }
}

/* output->parent is open: create the file, without a name or with one beside the place. */
static mmh_status output_begin(mmh_output *output, const struct mmh_output_options *options,
                               mmh_error *err)
{
    static const struct mmh_output_options defaults;
    options = options ? options : &defaults;
    output->overwrite = options->overwrite;
    output->mode = options->secret ? 0600 : options->mode ? options->mode & 07777 : default_mode();
    mmh_status status = check_place(output, err);
    if (status != MMH_OK)
        return status;
    if (options->sweep)
        io_sweep(output->parent, output->allocator);
    if (io_fault())
        return io_fail(err, "create", NULL, output->name);
    if (!atomic_load(&unnamed_refused))
        output->descriptor = open_unnamed_in(output->parent);
    if (output->descriptor < 0)
        output->descriptor = open_temporary(output);
    return output->descriptor < 0 ? io_fail(err, "create", NULL, output->name) : MMH_OK;
}

mmh_status mmh_output_create(mmh_output **out, const char *path,
                             const struct mmh_output_options *options,
                             const mmh_allocator *allocator, mmh_error *err)
{
    mmh_status status = output_alloc(out, NEW_FILE, path, allocator, err);
    if (status != MMH_OK)
        return status;
    mmh_output *output = *out;
    size_t bytes = (size_t)(output->last - output->name);
    char *parent = mmh_alloc(allocator, 1, bytes + 2);
    if (!parent) {
        status = mmh_fail(err, MMH_E_MEMORY, "out of memory for %s", path);
    } else {
        memcpy(parent, bytes ? output->name : ".", MMH_MAX(bytes, 1));
        parent[MMH_MAX(bytes, 1)] = '\0';
        if (!io_fault())
            output->parent = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (output->parent < 0)
            status = io_fail(err, "create", NULL, path);
        mmh_free(allocator, parent);
    }
    if (status == MMH_OK)
        status = output_begin(output, options, err);
    if (status != MMH_OK) {
        mmh_output_close(output);
        *out = NULL;
    }
    return status;
}

mmh_status mmh_output_create_beneath(mmh_output **out, const mmh_folder *folder,
                                     const char *relative, const struct mmh_output_options *options,
                                     const mmh_allocator *allocator, mmh_error *err)
{
    const char *last;
    mmh_status status = output_alloc(out, NEW_FILE, relative, allocator, err);
    if (status != MMH_OK)
        return status;
    mmh_output *output = *out;
    output->parent = io_open_parent(&last, folder, relative, &status, err);
    if (output->parent >= 0)
        status = output_begin(output, options, err);
    if (status != MMH_OK) {
        mmh_output_close(output);
        *out = NULL;
    }
    return status;
}

mmh_status mmh_output_open_descriptor(mmh_output **out, int descriptor, const char *name,
                                      const mmh_allocator *allocator, mmh_error *err)
{
    mmh_status status = output_alloc(out, DESCRIPTOR, name, allocator, err);
    if (status != MMH_OK)
        return status;
    mmh_output *output = *out;
    if (!io_fault())
        output->descriptor = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
    if (output->descriptor < 0) {
        status = io_fail(err, "open", NULL, name);
        mmh_output_close(output);
        *out = NULL;
    }
    return status;
}

mmh_status mmh_sink_check(const mmh_sink *sink, mmh_error *err)
{
    if (!sink->name || !sink->write)
        return mmh_fail(err, MMH_E_USAGE, "a sink has no %s",
                        sink->name ? "function that writes" : "name");
    return MMH_OK;
}

mmh_status mmh_output_open_sink(mmh_output **out, const mmh_sink *sink,
                                const mmh_allocator *allocator, mmh_error *err)
{
    *out = NULL;
    mmh_status status = mmh_sink_check(sink, err);
    if (status == MMH_OK)
        status = output_alloc(out, SINK, sink->name, allocator, err);
    if (status == MMH_OK)
        (*out)->sink = *sink;
    return status;
}

mmh_status mmh_output_open_existing(mmh_output **out, const char *path,
                                    const mmh_allocator *allocator, mmh_error *err)
{
    mmh_status status = output_alloc(out, EXISTING_FILE, path, allocator, err);
    if (status != MMH_OK)
        return status;
    mmh_output *output = *out;
    struct stat from;
    int descriptor = io_fault() ? -1 : open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0 || io_fault() || fstat(descriptor, &from)) {
        status = io_fail(err, "open", NULL, path);
    } else if (!S_ISREG(from.st_mode)) {
        status = mmh_fail(err, MMH_E_USAGE, "%s is not a regular file", path);
    } else {
        output->descriptor = descriptor; /* from here on close would cut the file back */
        output->bytes_before = output->position = (uint64_t)from.st_size;
        return MMH_OK;
    }
    if (descriptor >= 0)
        close(descriptor);
    mmh_output_close(output);
    *out = NULL;
    return status;
}

/* ---- commit ---- */

/* Give a complete file its name; false and errno EEXIST if something has it and stays. */
static bool give_name(mmh_output *output)
{
    if (!output->temporary[0]) {
        if (link_unnamed(output, output->last))
            return true;
        if (errno != EEXIST || !output->overwrite)
            return false;
        /* A link replaces nothing, a rename does: for that moment it needs a name. */
        (void)flock(output->descriptor, LOCK_EX | LOCK_NB);
        char name[IO_TEMPORARY_BYTES];
        for (int tries = 0; !output->temporary[0]; tries++) {
            io_temporary_name(name);
            if (link_unnamed(output, name))
                memcpy(output->temporary, name, sizeof name);
            else if (errno != EEXIST || tries == 100)
                return false;
        }
    }
    if (output->overwrite)
        return !io_fault() &&
               renameat(output->parent, output->temporary, output->parent, output->last) == 0;
    return io_rename_new(output->parent, output->temporary, output->parent, output->last);
}

static mmh_status commit(mmh_output *output, bool sync, mmh_error *err)
{
    if (is_stream(output)) {
        output->committed = true;
        return MMH_OK;
    }
    if (output->kind == NEW_FILE &&
        (io_fault() || fchmod(output->descriptor, (mode_t)output->mode)))
        return io_fail(err, "set the mode of", NULL, output->name);
    if (sync && !io_sync(output->descriptor))
        return io_fail(err, "sync", NULL, output->name);
    if (output->kind == EXISTING_FILE) {
        output->committed = true;
        return MMH_OK;
    }
    bool named = give_name(output);
    if (!named && errno == EEXIST)
        return mmh_fail(err, MMH_E_USAGE, "%s exists", output->name);
    if (!named)
        return io_fail(err, "rename a temporary file to", NULL, output->name);
    output->committed = true;
    if (sync && !io_sync(output->parent))
        return io_fail(err, "sync the folder of", NULL, output->name);
    return MMH_OK;
}

mmh_status mmh_output_commit(mmh_output *output, mmh_error *err)
{
    return commit(output, true, err);
}

mmh_status mmh_output_commit_unsynced(mmh_output *output, mmh_error *err)
{
    return commit(output, false, err);
}

mmh_status mmh_output_sync(mmh_output *output, mmh_error *err)
{
    if (!is_stream(output) && !io_sync(output->descriptor))
        return io_fail(err, "sync", NULL, output->name);
    return MMH_OK;
}

/* ---- writing ---- */

const char *mmh_output_name(const mmh_output *output)
{
    return output->name;
}

uint64_t mmh_output_position(const mmh_output *output)
{
    return output->position;
}

static mmh_status refuse_stream(const mmh_output *output, mmh_error *err)
{
    return mmh_fail(err, MMH_E_USAGE, "%s is written as a stream, which cannot go back",
                    output->name);
}

static mmh_status check_range(const mmh_output *output, uint64_t offset, uint64_t bytes,
                              mmh_error *err)
{
    if (offset > INT64_MAX || bytes > INT64_MAX - offset)
        return mmh_fail(err, MMH_E_LIMIT, "%s would be larger than a file can be", output->name);
    return MMH_OK;
}

static mmh_status write_sink(const mmh_output *output, const void *data, size_t bytes,
                             mmh_error *err)
{
    mmh_error why = { 0 };
    mmh_status status = output->sink.write(output->sink.user, data, bytes, &why);
    return status == MMH_OK ? MMH_OK : io_fail_as(err, status, &why, "write", output->name);
}

mmh_status mmh_output_append(mmh_output *output, const void *data, size_t bytes, mmh_error *err)
{
    mmh_status status = check_range(output, output->position, bytes, err);
    if (status != MMH_OK)
        return status;
    int64_t offset = is_stream(output) ? -1 : (int64_t)output->position;
    if (output->kind == SINK)
        status = bytes ? write_sink(output, data, bytes, err) : MMH_OK;
    else if (!io_write(output->descriptor, data, bytes, offset))
        status = io_fail(err, "write", NULL, output->name);
    if (status == MMH_OK)
        output->position += bytes;
    return status;
}

mmh_status mmh_output_append_zeros(mmh_output *output, uint64_t bytes, mmh_error *err)
{
    static const uint8_t zeros[4096];
    mmh_status status = MMH_OK;
    for (; bytes && status == MMH_OK; bytes -= MMH_MIN(bytes, sizeof zeros))
        status = mmh_output_append(output, zeros, (size_t)MMH_MIN(bytes, sizeof zeros), err);
    return status;
}

mmh_status mmh_output_write_at(mmh_output *output, uint64_t offset, const void *data, size_t bytes,
                               mmh_error *err)
{
    if (is_stream(output))
        return refuse_stream(output, err);
    mmh_status status = check_range(output, offset, bytes, err);
    if (status == MMH_OK && !io_write(output->descriptor, data, bytes, (int64_t)offset))
        status = io_fail(err, "write", NULL, output->name);
    return status;
}

mmh_status mmh_output_read_at(mmh_output *output, void *dst, uint64_t offset, size_t bytes,
                              mmh_error *err)
{
    if (is_stream(output))
        return refuse_stream(output, err);
    mmh_status status = check_range(output, offset, bytes, err);
    if (status != MMH_OK)
        return status;
    ssize_t got = io_read(output->descriptor, dst, bytes, (int64_t)offset);
    if (got < 0)
        return io_fail(err, "read", NULL, output->name);
    if ((size_t)got < bytes)
        return mmh_fail(err, MMH_E_IO, "cannot read %s back past its end", output->name);
    return MMH_OK;
}

mmh_status mmh_output_seek_end(mmh_output *output, mmh_error *err)
{
    struct stat from;
    if (is_stream(output))
        return refuse_stream(output, err);
    if (io_fault() || fstat(output->descriptor, &from))
        return io_fail(err, "look at", NULL, output->name);
    output->position = (uint64_t)from.st_size;
    return MMH_OK;
}

mmh_status mmh_output_resize(mmh_output *output, uint64_t bytes, mmh_error *err)
{
    if (is_stream(output))
        return refuse_stream(output, err);
    mmh_status status = check_range(output, 0, bytes, err);
    if (status != MMH_OK)
        return status;
    bool good = !io_fault();
    struct stat from;
    if (good && fstat(output->descriptor, &from) == 0 && bytes > (uint64_t)from.st_size &&
        bytes - (uint64_t)from.st_size > io_room(output->descriptor)) {
        errno = ENOSPC; /* before the disk is full of it */
        good = false;
    }
#if defined(__linux__)
    /* Not posix_fallocate: where the file system cannot, that writes every block. */
    if (good && bytes && fallocate(output->descriptor, 0, 0, (off_t)bytes) && errno != EOPNOTSUPP &&
        errno != ENOSYS && errno != EINVAL && errno != EPERM)
        good = errno == EINTR;
#endif
    if (!good || ftruncate(output->descriptor, (off_t)bytes))
        return io_fail(err, "make room for", NULL, output->name);
    return MMH_OK;
}

mmh_status mmh_output_set_mtime(mmh_output *output, int64_t seconds, uint32_t nanoseconds,
                                mmh_error *err)
{
    struct timespec times[2] = { { .tv_nsec = UTIME_OMIT },
                                 { .tv_sec = (time_t)seconds, .tv_nsec = (long)nanoseconds } };
    if (is_stream(output))
        return refuse_stream(output, err);
    if (io_fault() || futimens(output->descriptor, times))
        return io_fail(err, "set the time of", NULL, output->name);
    return MMH_OK;
}
