/*
 * What the command asks of the operating system (POSIX).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700 /* nftw */
#endif
#include "cli/host.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "cli/message.h"

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1; /* SA_RESETHAND: the next one kills */
}

void mmh_host_begin(void)
{
    /* A file that is opened must not become somebody's stdout. */
    for (int descriptor = 0; descriptor <= 2; descriptor++)
        if (fcntl(descriptor, F_GETFD) < 0 && errno == EBADF)
            (void)!open("/dev/null", descriptor ? O_WRONLY : O_RDONLY);

    struct sigaction action, old;
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_handler = on_interrupt;
    action.sa_flags = (int)SA_RESETHAND;
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) /* nohup, & */
            sigaction(signals[i], &action, NULL);
    action.sa_handler = SIG_IGN;
    action.sa_flags = 0;
    sigaction(SIGPIPE, &action, NULL);
    sigaction(SIGXFSZ, &action, NULL); /* a file-size limit is then an error of the write */
}

bool mmh_host_flush(void)
{
    int problem = 0;
    if (fflush(stdout) != 0 || ferror(stdout))
        problem = errno ? errno : EIO;
    if (problem == EPIPE) {
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
    if (problem)
        mmh_message_error("cannot write to standard output: %s", strerror(problem));
    return !problem;
}

bool mmh_host_interrupted(void)
{
    return interrupted;
}

uint64_t mmh_host_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- terminal ---- */

bool mmh_host_is_terminal(FILE *file)
{
    const char *term = getenv("TERM");
    return isatty(fileno(file)) && term && *term && strcmp(term, "dumb") != 0;
}

bool mmh_host_is_colour(FILE *file)
{
    const char *refused = getenv("NO_COLOR");
    return !(refused && *refused) && mmh_host_is_terminal(file);
}

bool mmh_host_is_utf8(void)
{
    static const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (!value || !*value)
            continue;
        const char *charset = strchr(value, '.');
        return charset &&
               (strncasecmp(charset, ".utf-8", 6) == 0 || strncasecmp(charset, ".utf8", 5) == 0);
    }
    return false;
}

unsigned mmh_host_columns(FILE *file)
{
    struct winsize size;
    if (ioctl(fileno(file), TIOCGWINSZ, &size) == 0 && size.ws_col)
        return size.ws_col;
    const char *columns = getenv("COLUMNS");
    int count = columns ? atoi(columns) : 0;
    return count > 0 && count < 10000 ? (unsigned)count : 80;
}

/* ---- paths ---- */

enum mmh_host_kind mmh_host_kind(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return MMH_HOST_NONE;
    return S_ISREG(status.st_mode) ? MMH_HOST_FILE
         : S_ISDIR(status.st_mode) ? MMH_HOST_FOLDER
                                   : MMH_HOST_OTHER;
}

bool mmh_host_exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

bool mmh_host_same(const char *path, const char *other)
{
    struct stat a, b;
    return stat(path, &a) == 0 && stat(other, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

bool mmh_host_make_folder(const char *path)
{
    return mkdir(path, 0777) == 0 || mmh_host_kind(path) == MMH_HOST_FOLDER;
}

char *mmh_host_absolute(const char *path)
{
    return realpath(path, NULL);
}

/* Read until `bytes` are there or the end is. */
static ssize_t read_fully(int descriptor, char *dst, size_t bytes)
{
    size_t done = 0;
    while (done < bytes) {
        ssize_t count = read(descriptor, dst + done, bytes - done);
        if (count < 0 && errno == EINTR && !interrupted)
            continue;
        if (count < 0)
            return -1;
        if (count == 0)
            break;
        done += (size_t)count;
    }
    return (ssize_t)done;
}

size_t mmh_host_peek(const char *path, void *dst, size_t bytes)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0)
        return 0;
    ssize_t count = read_fully(descriptor, dst, bytes);
    close(descriptor);
    return count < 0 ? 0 : (size_t)count;
}

enum { COPY_BYTES = 1 << 18 };

bool mmh_host_equal(const char *path, const char *other)
{
    int a = open(path, O_RDONLY | O_CLOEXEC), b = open(other, O_RDONLY | O_CLOEXEC);
    char *buffer = mmh_cli_alloc(2 * (size_t)COPY_BYTES);
    bool equal = a >= 0 && b >= 0, more = equal;
    while (more) {
        ssize_t a_bytes = read_fully(a, buffer, COPY_BYTES);
        ssize_t b_bytes = read_fully(b, buffer + COPY_BYTES, COPY_BYTES);
        equal = a_bytes >= 0 && a_bytes == b_bytes &&
                memcmp(buffer, buffer + COPY_BYTES, (size_t)a_bytes) == 0;
        more = equal && a_bytes == COPY_BYTES;
    }
    free(buffer);
    if (a >= 0)
        close(a);
    if (b >= 0)
        close(b);
    return equal;
}

/* ---- temporary files ---- */

uint64_t mmh_host_room(const char *folder)
{
    struct statvfs room;
    if (statvfs(folder, &room) != 0)
        return 0;
    return (uint64_t)room.f_bavail * room.f_frsize;
}

bool mmh_host_can_write(const char *folder)
{
    return mmh_host_kind(folder) == MMH_HOST_FOLDER && access(folder, W_OK | X_OK) == 0;
}

char *mmh_host_make_temporary(const char *parent)
{
    char *path = mmh_cli_format("%s/mmh-XXXXXX", parent);
    if (mkdtemp(path))
        return path;
    int problem = errno;
    free(path);
    errno = problem;
    return NULL;
}

static int open_up(const char *path, const struct stat *status, int type, struct FTW *at)
{
    (void)status;
    (void)at;
    if (type == FTW_D || type == FTW_DNR)
        (void)chmod(path, 0700);
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *at)
{
    (void)status;
    (void)type;
    (void)at;
    (void)remove(path);
    return 0;
}

void mmh_host_remove_tree(const char *path)
{
    nftw(path, open_up, 16, FTW_PHYS); /* folders that were restored may forbid writing */
    nftw(path, remove_one, 16, FTW_PHYS | FTW_DEPTH);
}

bool mmh_host_spool(const char *path, uint64_t limit_bytes)
{
    int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (descriptor < 0)
        return false;
    char *buffer = mmh_cli_alloc(COPY_BYTES);
    ssize_t count;
    bool good = true;
    uint64_t copied = 0;
    while (good && (count = read_fully(0, buffer, COPY_BYTES)) != 0) {
        good = count > 0;
        copied += count > 0 ? (uint64_t)count : 0;
        if (limit_bytes && copied > limit_bytes) {
            errno = EOVERFLOW;
            good = false;
        }
        if (good && interrupted) {
            errno = EINTR;
            good = false;
        }
        for (ssize_t done = 0; good && done < count;) {
            ssize_t written = write(descriptor, buffer + done, (size_t)(count - done));
            if (written < 0 && errno != EINTR)
                good = false;
            else if (written > 0)
                done += written;
        }
    }
    int problem = errno;
    free(buffer);
    if (close(descriptor) != 0 && good) {
        problem = errno;
        good = false;
    }
    errno = problem;
    return good;
}
