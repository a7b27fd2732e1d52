/*
 * Folders, listings, locks, system calls that are never short, and the machine.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/io_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sched.h>
#include <sys/random.h>
#endif

#include "base/bits.h"

#if defined(__APPLE__)
#define STAT_MTIME st_mtimespec
#else
#define STAT_MTIME st_mtim
#endif

enum { DEPTH_DEFAULT = 64, ENTRIES_DEFAULT = 10000000 };

/* ---- system calls ---- */

static atomic_uint_least64_t fault_countdown; /* 0: none; 1: this call and all later ones fail */
static atomic_bool fault_once;                /* only this one */
static atomic_uint_least64_t call_countdown;  /* 0: none */
static void (*call_made)(void);

uint64_t mmh_io_fail_after(uint64_t nth)
{
    atomic_store(&fault_once, false);
    return atomic_exchange(&fault_countdown, nth);
}

uint64_t mmh_io_fail_once(uint64_t nth)
{
    atomic_store(&fault_once, true);
    return atomic_exchange(&fault_countdown, nth);
}

void mmh_io_at(uint64_t nth, void (*call)(void))
{
    call_made = call;
    atomic_store(&call_countdown, nth);
}

static void perhaps_call(void)
{
    uint_least64_t left = atomic_load_explicit(&call_countdown, memory_order_relaxed);
    while (left && !atomic_compare_exchange_weak(&call_countdown, &left, left - 1))
        continue;
    if (left == 1)
        call_made();
}

bool io_fault(void)
{
    perhaps_call();
    uint_least64_t left = atomic_load_explicit(&fault_countdown, memory_order_relaxed);
    while (left > 1)
        if (atomic_compare_exchange_weak(&fault_countdown, &left, left - 1))
            return false;
    if (!left ||
        (atomic_load(&fault_once) && !atomic_compare_exchange_strong(&fault_countdown, &left, 0)))
        return false;
    errno = EIO;
    return true;
}

static const char *reason_text(int error, char *text, size_t bytes)
{
#if defined(__GLIBC__)
    return strerror_r(error, text, bytes);
#else
    return strerror_r(error, text, bytes) ? "unknown error" : text;
#endif
}

mmh_status io_fail_as(mmh_error *err, mmh_status status, mmh_error *why, const char *verb,
                      const char *name)
{
    why->message[sizeof why->message - 1] = '\0'; /* it was the caller's to write */
    return why->message[0] ? mmh_fail(err, status, "%s", why->message)
                           : mmh_fail(err, status, "cannot %s %s", verb, name);
}

mmh_status io_fail(mmh_error *err, const char *verb, const mmh_folder *folder, const char *path)
{
    int error = errno;
    char text[128];
    const char *reason = reason_text(error, text, sizeof text);
    mmh_status kind = error == ENOMEM ? MMH_E_MEMORY : error == EINTR ? MMH_E_CANCELLED : MMH_E_IO;
    bool beneath = folder && *path && strcmp(folder->path, ".") != 0;
    mmh_status status = mmh_fail(err, kind, "cannot %s %s%s%s: %s", verb,
                                 folder && (beneath || !*path) ? folder->path : "",
                                 beneath ? "/" : "", path, reason);
    errno = error; /* callers may still ask */
    return status;
}

char *io_text_copy(const mmh_allocator *allocator, const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = mmh_alloc(allocator, 1, bytes);
    return copy ? memcpy(copy, text, bytes) : NULL;
}

/* A pipe that someone set to non-blocking: wait for it. True if the call is worth repeating: of a
 * stream it is not once a signal has come whose handler lets calls end (SA_RESTART says otherwise),
 * as nothing tells how long the other end would take.
 *   stream  nothing that lies at an offset */
static bool call_again(int descriptor, short events, bool stream)
{
    if (errno == EINTR)
        return !stream;
    if (errno != EAGAIN && errno != EWOULDBLOCK)
        return false;
    struct pollfd wait = { .fd = descriptor, .events = events };
    return poll(&wait, 1, -1) >= 0 || errno == EINTR; /* a poll ends for any handler */
}

ssize_t io_read(int descriptor, void *dst, size_t bytes, int64_t offset)
{
    size_t done = 0;
    while (done < bytes) {
        if (io_fault())
            return -1;
        size_t part = MMH_MIN(bytes - done, IO_CALL_BYTES);
        ssize_t got = offset < 0 ? read(descriptor, (uint8_t *)dst + done, part)
                                 : pread(descriptor, (uint8_t *)dst + done, part,
                                         (off_t)(offset + (int64_t)done));
        if (got == 0)
            break;
        if (got > 0)
            done += (size_t)got;
        else if (!call_again(descriptor, POLLIN, offset < 0))
            return -1;
    }
    return (ssize_t)done;
}

bool io_write(int descriptor, const void *src, size_t bytes, int64_t offset)
{
    size_t done = 0;
    while (done < bytes) {
        if (io_fault())
            return false;
        size_t part = MMH_MIN(bytes - done, IO_CALL_BYTES);
        ssize_t put = offset < 0 ? write(descriptor, (const uint8_t *)src + done, part)
                                 : pwrite(descriptor, (const uint8_t *)src + done, part,
                                          (off_t)(offset + (int64_t)done));
        if (put > 0) {
            done += (size_t)put;
        } else if (put == 0) {
            errno = EIO;
            return false;
        } else if (!call_again(descriptor, POLLOUT, offset < 0)) {
            return false;
        }
    }
    return true;
}

bool io_sync(int descriptor)
{
    if (io_fault())
        return false;
#if defined(F_FULLFSYNC)
    if (fcntl(descriptor, F_FULLFSYNC) == 0)
        return true;
#endif
    int result;
    do
        result = fsync(descriptor);
    while (result && errno == EINTR);
    return !result || errno == EINVAL || errno == EROFS || errno == ENOTSUP;
}

bool io_rename_new(int from_folder, const char *from, int to_folder, const char *to)
{
    if (io_fault())
        return false;
#if defined(RENAME_NOREPLACE)
    if (renameat2(from_folder, from, to_folder, to, RENAME_NOREPLACE) == 0)
        return true;
    if (errno != ENOSYS && errno != EINVAL && errno != ENOTSUP)
        return false;
#endif
    if (linkat(from_folder, from, to_folder, to, 0) == 0) {
        unlinkat(from_folder, from, 0);
        return true;
    }
    if (errno == EEXIST)
        return false;
    struct stat there; /* a folder, or a file system without links: all that is left is to look */
    if (fstatat(to_folder, to, &there, AT_SYMLINK_NOFOLLOW) == 0) {
        errno = EEXIST;
        return false;
    }
    return errno == ENOENT && renameat(from_folder, from, to_folder, to) == 0;
}

uint64_t io_random(void)
{
    static atomic_uint_least64_t counter;
    uint64_t number = 0;
#if defined(__linux__)
    bool random = getrandom(&number, sizeof number, GRND_NONBLOCK) == (ssize_t)sizeof number;
#else
    bool random = getentropy(&number, sizeof number) == 0;
#endif
    if (!random)
        number = (mmh_clock_ns() << 16) ^ ((uint64_t)getpid() << 40) ^
                 atomic_fetch_add(&counter, 1);
    return number;
}

void io_temporary_name(char name[IO_TEMPORARY_BYTES])
{
    snprintf(name, IO_TEMPORARY_BYTES, ".mmh-%016llx.tmp", (unsigned long long)io_random());
}

uint64_t io_room(int descriptor)
{
    struct statvfs room;
    if (fstatvfs(descriptor, &room) || !room.f_blocks) /* some say nothing of themselves */
        return UINT64_MAX;
    uint64_t bytes;
    return mmh_u64_mul(&bytes, room.f_bavail, room.f_frsize) ? bytes : UINT64_MAX;
}

uint64_t mmh_folder_room(const mmh_folder *folder)
{
    return io_room(folder->descriptor);
}

/* ---- looking ---- */

void io_info_set(struct mmh_path_info *info, const struct stat *from)
{
    *info = (struct mmh_path_info){
        .kind = S_ISREG(from->st_mode) ? MMH_PATH_FILE
              : S_ISDIR(from->st_mode) ? MMH_PATH_FOLDER
              : S_ISLNK(from->st_mode) ? MMH_PATH_SYMLINK
                                       : MMH_PATH_OTHER,
        .mode = (uint32_t)from->st_mode & 07777,
        .bytes = S_ISREG(from->st_mode) && from->st_size > 0 ? (uint64_t)from->st_size : 0,
        .mtime_seconds = from->STAT_MTIME.tv_sec,
        .mtime_nanoseconds = (uint32_t)from->STAT_MTIME.tv_nsec,
        .device = (uint64_t)from->st_dev,
        .own = from->st_uid == geteuid() && !(from->st_mode & (S_IWGRP | S_IWOTH)),
        .inode = (uint64_t)from->st_ino,
    };
}

static bool is_missing(int error)
{
    return error == ENOENT || error == ENOTDIR;
}

mmh_status mmh_path_stat(struct mmh_path_info *info, const char *path, bool follow, mmh_error *err)
{
    struct stat from;
    *info = (struct mmh_path_info){ .kind = MMH_PATH_NONE };
    if (io_fault() || fstatat(AT_FDCWD, path, &from, follow ? 0 : AT_SYMLINK_NOFOLLOW))
        return is_missing(errno) ? MMH_OK : io_fail(err, "look at", NULL, path);
    io_info_set(info, &from);
    return MMH_OK;
}

/* ---- locks ---- */

/* Open an existing file as a lock needs it: some systems want it writable. */
static mmh_status lock_open(int *lock, const char *path, mmh_error *err)
{
    static const int flags = O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    struct stat open_file;
    *lock = io_fault() ? -1 : open(path, O_RDWR | flags);
    if (*lock < 0)
        *lock = io_fault() ? -1 : open(path, O_RDONLY | flags);
    if (*lock < 0)
        return io_fail(err, "open", NULL, path);
    if (fstat(*lock, &open_file))
        return io_fail(err, "look at", NULL, path);
    if (S_ISDIR(open_file.st_mode))
        return mmh_fail(err, MMH_E_USAGE, "%s is a folder, not a file", path);
    if (!S_ISREG(open_file.st_mode))
        return mmh_fail(err, MMH_E_USAGE, "%s is not a regular file", path);
    return MMH_OK;
}

/* Whether the path still leads to what is open: another process may have replaced it. */
static bool is_same_file(int descriptor, const char *path)
{
    struct stat open_file, there;
    return fstat(descriptor, &open_file) == 0 && stat(path, &there) == 0 &&
           open_file.st_dev == there.st_dev && open_file.st_ino == there.st_ino;
}

mmh_status mmh_path_lock(int *lock, const char *path, uint64_t wait_ns, mmh_error *err)
{
    static const struct timespec pause = { .tv_nsec = 10000000 };
    uint64_t begin = mmh_clock_ns();
    for (;;) {
        mmh_status status = lock_open(lock, path, err);
        bool locked = status == MMH_OK && flock(*lock, LOCK_EX | LOCK_NB) == 0;
        bool busy = status == MMH_OK && !locked && (errno == EWOULDBLOCK || errno == EINTR);
        if (status == MMH_OK && !busy && (!locked || is_same_file(*lock, path)))
            return MMH_OK;
        mmh_path_unlock(*lock);
        *lock = -1;
        if (status != MMH_OK)
            return status;
        if (mmh_clock_ns() - begin >= wait_ns)
            return MMH_OK;
        (void)nanosleep(&pause, NULL);
    }
}

void mmh_path_unlock(int lock)
{
    if (lock >= 0)
        close(lock);
}

/* ---- beneath a folder ---- */

bool mmh_path_is_relative(const char *relative)
{
    for (;;) {
        size_t bytes = strcspn(relative, "/");
        if (!bytes || (bytes == 1 && relative[0] == '.') ||
            (bytes == 2 && relative[0] == '.' && relative[1] == '.'))
            return false;
        if (!relative[bytes])
            return true;
        relative += bytes + 1;
    }
}

static int open_folder_at(int at, const char *name)
{
    if (io_fault())
        return -1;
    int descriptor;
    do
        descriptor = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    while (descriptor < 0 && errno == EINTR);
    return descriptor;
}

/*
 * Go down from a folder, whose descriptor is not taken, to relative[bytes]; create: make what is
 * missing with `mode`. Returns a descriptor to close; -1 after a failure, which is in err.
 */
static int descend(const mmh_folder *folder, const char *relative, size_t bytes, bool create,
                   uint32_t mode, mmh_status *status, mmh_error *err)
{
    int at = open_folder_at(folder->descriptor, ".");
    for (size_t start = 0; at >= 0 && start < bytes;) {
        char name[NAME_MAX + 1];
        size_t part = 0;
        while (start + part < bytes && relative[start + part] != '/')
            part++;
        if (part >= sizeof name) {
            errno = ENAMETOOLONG;
            close(at);
            at = -1;
            break;
        }
        memcpy(name, relative + start, part);
        name[part] = '\0';
        int next = open_folder_at(at, name);
        if (next < 0 && errno == ENOENT && create &&
            (mkdirat(at, name, (mode_t)mode & 07777) == 0 || errno == EEXIST))
            next = open_folder_at(at, name);
        int error = errno;
        struct stat link;
        if (next < 0 && (error == ELOOP || error == ENOTDIR) &&
            fstatat(at, name, &link, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(link.st_mode)) {
            *status = mmh_fail(err, MMH_E_USAGE,
                               "%s beneath %s passes through a symbolic link, %.*s", relative,
                               folder->path, (int)MMH_MIN(start + part, 4096), relative);
            close(at);
            return -1;
        }
        close(at);
        at = next;
        errno = error;
        start += part + 1;
    }
    if (at < 0)
        *status = io_fail(err, create ? "create folder" : "open folder", folder, relative);
    return at;
}

static mmh_status refuse_path(const mmh_folder *folder, const char *relative, mmh_error *err)
{
    return mmh_fail(err, MMH_E_USAGE, "\"%s\" is no path beneath %s", relative, folder->path);
}

int io_open_parent(const char **last, const mmh_folder *folder, const char *relative,
                   mmh_status *status, mmh_error *err)
{
    if (!mmh_path_is_relative(relative)) {
        *status = refuse_path(folder, relative, err);
        return -1;
    }
    const char *slash = strrchr(relative, '/');
    *last = slash ? slash + 1 : relative;
    *status = MMH_OK;
    return descend(folder, relative, slash ? (size_t)(slash - relative) : 0, false, 0, status, err);
}

/* mkdir -p of a path of the user's own, symlinks allowed. */
static bool make_path(char *path)
{
    for (char *at = path + (*path == '/');; at++) {
        char kept = *at;
        if (kept && kept != '/')
            continue;
        *at = '\0';
        struct stat from;
        bool good = !*path || (!io_fault() && (mkdir(path, 0777) == 0 ||
                                               (errno == EEXIST && stat(path, &from) == 0)));
        *at = kept;
        if (!good || !kept)
            return good;
    }
}

static mmh_status folder_create(mmh_folder **out, const mmh_folder *above, const char *path,
                                const mmh_allocator *allocator, mmh_error *err)
{
    size_t above_bytes = above ? strlen(above->path) + 1 : 0, bytes = strlen(path) + 1;
    *out = NULL;
    mmh_folder *folder = mmh_alloc_array(allocator, 1, sizeof *folder);
    char *copy = mmh_alloc(allocator, 1, above_bytes + bytes);
    if (!folder || !copy) {
        mmh_free(allocator, folder);
        mmh_free(allocator, copy);
        return mmh_fail(err, MMH_E_MEMORY, "out of memory for folder %s", path);
    }
    if (above)
        snprintf(copy, above_bytes + 1, "%s/", above->path);
    memcpy(copy + above_bytes, path, bytes);
    *folder = (mmh_folder){ .allocator = allocator, .descriptor = -1, .path = copy };
    *out = folder;
    return MMH_OK;
}

mmh_status mmh_folder_open(mmh_folder **out, const char *path, bool create,
                           const mmh_allocator *allocator, mmh_error *err)
{
    mmh_status status = folder_create(out, NULL, path, allocator, err);
    if (status != MMH_OK)
        return status;
    mmh_folder *folder = *out;
    bool good = !io_fault();
    if (good)
        folder->descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (good && folder->descriptor < 0 && errno == ENOENT && create && make_path(folder->path) &&
        !io_fault())
        folder->descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder->descriptor < 0) {
        status = io_fail(err, create ? "create folder" : "open folder", NULL, path);
        mmh_folder_close(folder);
        *out = NULL;
    }
    return status;
}

mmh_status mmh_folder_open_beneath(mmh_folder **out, const mmh_folder *folder, const char *relative,
                                   const mmh_allocator *allocator, mmh_error *err)
{
    *out = NULL;
    if (!mmh_path_is_relative(relative))
        return refuse_path(folder, relative, err);
    mmh_status status = folder_create(out, folder, relative, allocator, err);
    if (status != MMH_OK)
        return status;
    (*out)->descriptor = descend(folder, relative, strlen(relative), false, 0, &status, err);
    if ((*out)->descriptor < 0) {
        mmh_folder_close(*out);
        *out = NULL;
    }
    return status;
}

void mmh_folder_close(mmh_folder *folder)
{
    if (!folder)
        return;
    if (folder->descriptor >= 0)
        close(folder->descriptor);
    mmh_free(folder->allocator, folder->path);
    mmh_free(folder->allocator, folder);
}

mmh_status mmh_folder_make(const mmh_folder *folder, const char *relative, uint32_t mode,
                           mmh_error *err)
{
    mmh_status status = MMH_OK;
    if (!mmh_path_is_relative(relative))
        return refuse_path(folder, relative, err);
    int made = descend(folder, relative, strlen(relative), true, mode, &status, err);
    if (made >= 0)
        close(made);
    return status;
}

mmh_status mmh_folder_symlink(const mmh_folder *folder, const char *relative, const char *target,
                              bool overwrite, mmh_error *err)
{
    const char *last;
    mmh_status status;
    int parent = io_open_parent(&last, folder, relative, &status, err);
    if (parent < 0)
        return status;
    if (io_fault() || symlinkat(target, parent, last)) {
        if (errno == EEXIST && !overwrite) {
            status = mmh_fail(err, MMH_E_USAGE, "%s/%s exists", folder->path, relative);
        } else if (errno == EEXIST) {
            char name[IO_TEMPORARY_BYTES];
            io_temporary_name(name);
            if (io_fault() || symlinkat(target, parent, name)) {
                status = io_fail(err, "create symbolic link", folder, relative);
            } else if (io_fault() || renameat(parent, name, parent, last)) {
                status = io_fail(err, "replace", folder, relative);
                unlinkat(parent, name, 0);
            }
        } else {
            status = io_fail(err, "create symbolic link", folder, relative);
        }
    }
    close(parent);
    return status;
}

mmh_status mmh_folder_stat(struct mmh_path_info *info, const mmh_folder *folder,
                           const char *relative, mmh_error *err)
{
    const char *last;
    mmh_status status;
    mmh_error ignored = { .status = MMH_OK };
    struct stat from;
    *info = (struct mmh_path_info){ .kind = MMH_PATH_NONE };
    int parent = io_open_parent(&last, folder, relative, &status, &ignored);
    if (parent < 0 && status == MMH_E_IO && is_missing(errno))
        return MMH_OK;
    if (parent < 0)
        return mmh_fail(err, status, "%s", ignored.message);
    if (!io_fault() && fstatat(parent, last, &from, AT_SYMLINK_NOFOLLOW) == 0)
        io_info_set(info, &from);
    else if (!is_missing(errno))
        status = io_fail(err, "look at", folder, relative);
    close(parent);
    return status;
}

mmh_status mmh_folder_remove(const mmh_folder *folder, const char *relative, mmh_error *err)
{
    const char *last;
    mmh_status status;
    int parent = io_open_parent(&last, folder, relative, &status, err);
    if (parent < 0)
        return status;
    struct stat from;
    if (io_fault() || fstatat(parent, last, &from, AT_SYMLINK_NOFOLLOW) ||
        unlinkat(parent, last, S_ISDIR(from.st_mode) ? AT_REMOVEDIR : 0))
        if (errno != ENOENT)
            status = io_fail(err, "remove", folder, relative);
    close(parent);
    return status;
}

mmh_status mmh_folder_set_mode(const mmh_folder *folder, const char *relative, uint32_t mode,
                               mmh_error *err)
{
    if (strcmp(relative, ".") == 0) { /* the folder itself */
        if (io_fault() || fchmod(folder->descriptor, (mode_t)mode))
            return io_fail(err, "set the mode of", NULL, folder->path);
        return MMH_OK;
    }
    const char *last;
    mmh_status status;
    int parent = io_open_parent(&last, folder, relative, &status, err);
    if (parent < 0)
        return status;
    /* Through a descriptor: not every system's fchmodat can leave symlinks alone. */
    int item = io_fault() ? -1
                          : openat(parent, last, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (item < 0 || io_fault() || fchmod(item, (mode_t)mode & 07777))
        status = io_fail(err, "set the mode of", folder, relative);
    if (item >= 0)
        close(item);
    close(parent);
    return status;
}

mmh_status mmh_folder_set_mtime(const mmh_folder *folder, const char *relative, int64_t seconds,
                                uint32_t nanoseconds, mmh_error *err)
{
    const char *last;
    mmh_status status;
    int parent = io_open_parent(&last, folder, relative, &status, err);
    if (parent < 0)
        return status;
    struct timespec times[2] = { { .tv_nsec = UTIME_OMIT },
                                 { .tv_sec = (time_t)seconds, .tv_nsec = (long)nanoseconds } };
    if (io_fault() || utimensat(parent, last, times, AT_SYMLINK_NOFOLLOW))
        status = io_fail(err, "set the time of", folder, relative);
    close(parent);
    return status;
}

mmh_status mmh_folder_sync(const mmh_folder *folder, mmh_error *err)
{
    if (io_fault())
        return io_fail(err, "sync", NULL, folder->path);
#if defined(__linux__)
    if (syncfs(folder->descriptor))
        return io_fail(err, "sync", NULL, folder->path);
#else
    sync();
#endif
    return MMH_OK;
}

/* ---- listing ---- */

struct listing {
    struct mmh_arena *arena;
    const mmh_folder *folder;
    struct mmh_list_limits limits;
    struct mmh_path_info *entries; /* also the queue of folders still to read */
    size_t count, room;
};

/* The target of a symlink, in the arena. */
static mmh_status read_target(const char **target, struct listing *list, int at, const char *name,
                              const char *path, mmh_error *err)
{
    char text[PATH_MAX + 1];
    ssize_t bytes = io_fault() ? -1 : readlinkat(at, name, text, sizeof text);
    if (bytes < 0 || (size_t)bytes == sizeof text) {
        errno = bytes < 0 ? errno : ENAMETOOLONG;
        return io_fail(err, "read symbolic link", list->folder, path);
    }
    *target = mmh_arena_string(list->arena, text, (size_t)bytes);
    return *target ? MMH_OK : mmh_fail(err, MMH_E_MEMORY, "out of memory listing %s", path);
}

static mmh_status list_entry(struct listing *list, int at, const char *parent, const char *name,
                             mmh_error *err)
{
    if (list->count >= list->limits.entries)
        return mmh_fail(err, MMH_E_LIMIT, "%s holds more than %zu files", list->folder->path,
                        list->limits.entries);
    if (list->count == list->room) {
        size_t room = list->room ? list->room * 2 : 64, bytes;
        struct mmh_path_info *entries = NULL;
        if (mmh_size_mul(&bytes, room, sizeof *entries))
            entries = mmh_alloc(list->arena->allocator, 0, bytes);
        if (!entries)
            return mmh_fail(err, MMH_E_MEMORY, "out of memory for a list of %zu files", room);
        if (list->count)
            memcpy(entries, list->entries, list->count * sizeof *entries);
        mmh_free(list->arena->allocator, list->entries);
        list->entries = entries;
        list->room = room;
    }
    const char *path = *parent ? mmh_arena_format(list->arena, "%s/%s", parent, name)
                               : mmh_arena_string(list->arena, name, strlen(name));
    if (!path)
        return mmh_fail(err, MMH_E_MEMORY, "out of memory listing %s", list->folder->path);
    struct stat from;
    if (io_fault() || fstatat(at, name, &from, AT_SYMLINK_NOFOLLOW))
        return io_fail(err, "look at", list->folder, path);
    struct mmh_path_info *entry = &list->entries[list->count];
    io_info_set(entry, &from);
    entry->path = path;
    mmh_status status = MMH_OK;
    if (entry->kind == MMH_PATH_SYMLINK)
        status = read_target(&entry->target, list, at, name, path, err);
    list->count += status == MMH_OK;
    return status;
}

static mmh_status list_folder(struct listing *list, const char *path, mmh_error *err)
{
    mmh_status status = MMH_OK;
    int descriptor = descend(list->folder, path, strlen(path), false, 0, &status, err);
    if (descriptor < 0)
        return status;
    DIR *stream = io_fault() ? NULL : fdopendir(descriptor);
    if (!stream) {
        status = io_fail(err, "open folder", list->folder, path);
        close(descriptor);
        return status;
    }
    while (status == MMH_OK) {
        errno = 0;
        const struct dirent *item = io_fault() ? NULL : readdir(stream);
        if (!item && errno)
            status = io_fail(err, "read folder", list->folder, path);
        if (!item)
            break;
        if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0)
            status = list_entry(list, descriptor, path, item->d_name, err);
    }
    closedir(stream);
    return status;
}

static int compare_paths(const void *a, const void *b)
{
    const struct mmh_path_info *left = a, *right = b;
    return strcmp(left->path, right->path); /* compares as unsigned char */
}

static unsigned path_depth(const char *path)
{
    unsigned depth = 1;
    for (; *path; path++)
        depth += *path == '/';
    return depth;
}

mmh_status mmh_folder_list(struct mmh_path_info **entries, size_t *count, struct mmh_arena *arena,
                           const mmh_folder *folder, const struct mmh_list_limits *limits,
                           mmh_error *err)
{
    struct listing list = { .arena = arena, .folder = folder };
    *entries = NULL;
    *count = 0;
    if (limits)
        list.limits = *limits;
    if (!list.limits.entries)
        list.limits.entries = ENTRIES_DEFAULT;
    if (!list.limits.depth)
        list.limits.depth = DEPTH_DEFAULT;
    mmh_status status = list_folder(&list, "", err);
    for (size_t next = 0; status == MMH_OK && next < list.count; next++) {
        const char *path = list.entries[next].path;
        if (list.entries[next].kind != MMH_PATH_FOLDER)
            continue;
        if (path_depth(path) >= list.limits.depth)
            status = mmh_fail(err, MMH_E_LIMIT, "folders in %s are nested more than %u deep",
                              folder->path, list.limits.depth);
        else
            status = list_folder(&list, path, err);
    }
    if (status == MMH_OK && list.count) {
        qsort(list.entries, list.count, sizeof *list.entries, compare_paths);
        *entries = mmh_arena_array(arena, list.count, sizeof **entries);
        if (*entries)
            memcpy(*entries, list.entries, list.count * sizeof **entries);
        else
            status = mmh_fail(err, MMH_E_MEMORY, "out of memory for a list of %zu files",
                              list.count);
    }
    *count = status == MMH_OK ? list.count : 0;
    mmh_free(arena->allocator, list.entries);
    return status;
}

/* ---- the machine ---- */

uint64_t mmh_clock_ns(void)
{
    struct timespec now = { 0 };
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

unsigned mmh_cpu_count(void)
{
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return (unsigned)CPU_COUNT(&set);
#endif
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (unsigned)count : 1;
}

uint64_t mmh_peak_memory(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) || usage.ru_maxrss < 0)
        return 0;
#if defined(__APPLE__)
    return (uint64_t)usage.ru_maxrss;
#else
    return (uint64_t)usage.ru_maxrss * 1024;
#endif
}

const char *mmh_environment(const char *name)
{
#if defined(__GLIBC__)
    return secure_getenv(name);
#else
    return getenv(name);
#endif
}
