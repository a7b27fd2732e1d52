/*
 * What the command asks of the operating system (POSIX).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* nftw, MAP_ANON, madvise */
#endif
#include "cli/host.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#ifdef __APPLE__
#include <mach-o/dyld.h>
#endif

#include "cli/cli.h"
#include "cli/message.h"

static volatile sig_atomic_t interrupted, pipe_closed;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void (*tell_status)(void);

/* A terminal whose echo is off, and how it was before. */
static volatile sig_atomic_t hushed;
static int hushed_terminal;
static struct termios terminal_before;

static void restore_echo(void)
{
    if (!hushed)
        return;
    hushed = 0;
    (void)tcsetattr(hushed_terminal, TCSAFLUSH, &terminal_before);
}

static void on_interrupt(int number)
{
    int problem = errno;
    (void)number;
    restore_echo();
    errno = problem;
    interrupted = 1; /* SA_RESETHAND: the next one kills */
}

static void on_pipe(int number)
{
    (void)number;
    pipe_closed = 1; /* the write fails too, with EPIPE */
}

/* The signals that ask for a status line. */
static void status_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGUSR1);
#ifdef SIGINFO
    sigaddset(set, SIGINFO);
#endif
}

static void on_status(int number)
{
    (void)number; /* never called: they are blocked, and waited for */
}

void mmh_host_begin(void)
{
    /* A file that is opened must not become somebody's stdout. What is closed takes no writes: they
     * fail, and are told. */
    for (int descriptor = 0; descriptor <= 2; descriptor++)
        if (fcntl(descriptor, F_GETFD) < 0 && errno == EBADF)
            (void)!open("/dev/null", descriptor == 2 ? O_WRONLY : O_RDONLY);

    struct sigaction action, old;
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_handler = on_interrupt;
    action.sa_flags = (int)SA_RESETHAND;
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) /* nohup, & */
            sigaction(signals[i], &action, NULL);
    action.sa_flags = SA_RESTART;
    action.sa_handler = on_pipe;
    sigaction(SIGPIPE, &action, NULL);
    action.sa_handler = on_status; /* what is ignored would never wait */
    sigaction(SIGUSR1, &action, NULL);
#ifdef SIGINFO
    sigaction(SIGINFO, &action, NULL);
#endif
    sigset_t set;
    status_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    action.sa_handler = SIG_IGN;
    action.sa_flags = 0;
    sigaction(SIGXFSZ, &action, NULL); /* a file-size limit is then an error of the write */
}

static bool output_failed; /* and that has been told */

void mmh_host_output_failed(void)
{
    output_failed = true;
}

bool mmh_host_flush(void)
{
    int problem = 0;
    if (output_failed)
        return false;
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout))
        problem = errno ? errno : EIO;
    output_failed = problem;
    if (problem == EPIPE)
        mmh_host_die_of_pipe();
    if (problem)
        mmh_message_error("cannot write to standard output: %s", strerror(problem));
    return !problem;
}

bool mmh_host_interrupted(void)
{
    return interrupted;
}

bool mmh_host_pipe_closed(void)
{
    return pipe_closed;
}

void mmh_host_die_of_pipe(void)
{
    signal(SIGPIPE, SIG_DFL);
    raise(SIGPIPE);
}

/* Waits for signals: unlike a handler it may format and write, and comes at once. */
static void *status_thread(void *unused)
{
    sigset_t set;
    int number;
    status_signals(&set);
    while (sigwait(&set, &number) == 0)
        tell_status();
    return unused;
}

void mmh_host_on_status(void (*tell)(void))
{
    pthread_t thread;
    sigset_t all, old;
    tell_status = tell;
    sigfillset(&all); /* interrupts are for the others: a read must notice */
    pthread_sigmask(SIG_BLOCK, &all, &old);
    if (pthread_create(&thread, NULL, status_thread, NULL) == 0)
        pthread_detach(thread);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void mmh_host_lock(void)
{
    pthread_mutex_lock(&lock);
}

void mmh_host_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

uint64_t mmh_host_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- other programs ---- */

char *mmh_host_program(void)
{
#ifdef __APPLE__
    char path[4096];
    uint32_t room = sizeof path;
    return _NSGetExecutablePath(path, &room) == 0 ? realpath(path, NULL) : NULL;
#else
    return realpath("/proc/self/exe", NULL);
#endif
}

char *mmh_host_find_program(const char *name)
{
    const char *at = getenv("PATH");
    while (at && *at) {
        int length = (int)strcspn(at, ":");
        const char *folder = at;
        at += length + (at[length] == ':');
        if (folder[0] != '/')
            continue;
        char *path = mmh_cli_format("%.*s/%s", length, folder, name);
        if (mmh_host_kind(path) == MMH_HOST_FILE && access(path, X_OK) == 0)
            return path;
        free(path);
    }
    return NULL;
}

/* As they were before mmh_host_begin, for a program that takes this one's place. */
static void restore_signals(void)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGUSR1, SIGXFSZ };
    struct sigaction action, old;
    sigset_t set;
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_handler = SIG_DFL;
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (sigaction(signals[i], NULL, &old) == 0 &&
            (old.sa_handler != SIG_IGN || signals[i] == SIGXFSZ)) /* nohup */
            (void)sigaction(signals[i], &action, NULL);
    status_signals(&set);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

int mmh_host_run_silently(const char *const *arguments)
{
    int code;
    pid_t child = fork();
    if (child < 0)
        return -1;
    if (child == 0) {
        int nothing = open("/dev/null", O_RDWR);
        for (int descriptor = 0; nothing >= 0 && descriptor <= 2; descriptor++)
            (void)dup2(nothing, descriptor);
        restore_signals();
        (void)execv(arguments[0], (char *const *)(uintptr_t)arguments);
        _exit(127);
    }
    while (waitpid(child, &code, 0) < 0)
        if (errno != EINTR)
            return -1;
    return WIFEXITED(code) ? WEXITSTATUS(code) : -1;
}

void mmh_host_become(const char *const *arguments)
{
    (void)fflush(NULL);
    restore_signals();
    (void)signal(SIGUSR1, SIG_IGN); /* until it answers that itself: to ask must not kill it */
    (void)execv(arguments[0], (char *const *)(uintptr_t)arguments);
}

/* ---- terminal ---- */

bool mmh_host_is_terminal(FILE *file)
{
    return isatty(fileno(file));
}

static bool can_move_cursor(FILE *file)
{
    const char *term = getenv("TERM");
    return mmh_host_is_terminal(file) && term && *term && strcmp(term, "dumb") != 0;
}

bool mmh_host_is_screen(FILE *file)
{
    /* What runs in the background must not write over what is typed in the foreground. */
    return can_move_cursor(file) && tcgetpgrp(fileno(file)) == getpgrp();
}

bool mmh_host_is_colour(FILE *file)
{
    const char *refused = getenv("NO_COLOR"), *forced = getenv("CLICOLOR_FORCE");
    const char *wanted = getenv("CLICOLOR");
    if (refused && *refused)
        return false;
    if (forced && *forced && strcmp(forced, "0") != 0)
        return true;
    return !(wanted && strcmp(wanted, "0") == 0) && can_move_cursor(file);
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

bool mmh_host_has_input(void)
{
    struct stat status;
    return fstat(0, &status) == 0 &&
           (S_ISREG(status.st_mode) || S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode));
}

/* ---- secrets ---- */

bool mmh_host_is_open(int descriptor)
{
    return fcntl(descriptor, F_GETFD) >= 0;
}

void mmh_host_no_core(void)
{
    /* Not 0: Linux gives those to a program that collects them all the same. */
    const struct rlimit none = { 1, 1 };
    (void)setrlimit(RLIMIT_CORE, &none);
}

void mmh_host_wipe(void *memory, size_t bytes)
{
    volatile unsigned char *at = memory;
    while (bytes--)
        *at++ = 0;
}

/* Whole pages of its own: no neighbour unlocks them, and what is freed is gone. */
static size_t secret_room(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (bytes + page - 1) / page * page;
}

void *mmh_host_secret_alloc(size_t bytes)
{
    size_t room = secret_room(bytes);
    void *memory = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    if (memory == MAP_FAILED) {
        mmh_message_error("out of memory (%zu bytes)", bytes);
        exit(MMH_EXIT_LIMIT);
    }
    (void)mlock(memory, room); /* where there is a limit it may be swapped: better than no secret */
#ifdef MADV_DONTDUMP
    (void)madvise(memory, room, MADV_DONTDUMP);
#endif
    return memory;
}

void mmh_host_secret_free(void *memory, size_t bytes)
{
    if (!memory)
        return;
    mmh_host_wipe(memory, bytes);
    (void)munmap(memory, secret_room(bytes));
}

/* Wait until there is something to read. False: interrupted, which any thread may have noticed. */
static bool wait_for_input(int descriptor)
{
    while (!interrupted) {
        fd_set set;
        struct timeval moment = { .tv_usec = 200000 };
        FD_ZERO(&set);
        FD_SET(descriptor, &set);
        int ready = select(descriptor + 1, &set, NULL, NULL, &moment);
        if (ready > 0 || (ready < 0 && errno != EINTR)) /* the read tells what is wrong */
            return true;
    }
    errno = EINTR;
    return false;
}

/* A line without its end. -1: errno; E2BIG: it does not fit into `room`; ENODATA: there is none. */
static ssize_t read_line(int descriptor, char *line, size_t room)
{
    size_t bytes = 0;
    if (fcntl(descriptor, F_GETFD) < 0) /* select() waits for what is beyond Linux's own table */
        return -1;
    for (;;) {
        char one;
        if (descriptor < FD_SETSIZE && !wait_for_input(descriptor))
            return -1;
        ssize_t count = read(descriptor, &one, 1);
        if (count < 0 && errno == EINTR && !interrupted)
            continue;
        if (count < 0)
            return -1;
        if (count == 0 && !bytes) {
            errno = ENODATA;
            return -1;
        }
        if (count == 0 || one == '\n')
            break;
        if (bytes == room) {
            errno = E2BIG;
            return -1;
        }
        line[bytes++] = one;
        mmh_host_wipe(&one, 1);
    }
    if (bytes && line[bytes - 1] == '\r')
        bytes--;
    return (ssize_t)bytes;
}

ssize_t mmh_host_read_secret(const char *path, int descriptor, char *line, size_t room)
{
    int from = path ? open(path, O_RDONLY | O_CLOEXEC) : descriptor;
    if (from < 0)
        return -1;
    ssize_t bytes = read_line(from, line, room);
    int problem = errno;
    if (path)
        close(from);
    errno = problem;
    return bytes;
}

static void say(int terminal, const char *text)
{
    for (size_t left = strlen(text); left;) {
        ssize_t count = write(terminal, text, left);
        if (count < 0 && errno != EINTR)
            return;
        if (count > 0) {
            text += count;
            left -= (size_t)count;
        }
    }
}

ssize_t mmh_host_ask_secret(const char *prompt, char *line, size_t room)
{
    int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (terminal < 0)
        return -1;
    struct termios quiet;
    if (tcgetattr(terminal, &terminal_before) != 0) {
        int problem = errno;
        close(terminal);
        errno = problem;
        return -1;
    }
    quiet = terminal_before;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
    quiet.c_lflag |= ICANON | ISIG;
    quiet.c_cc[VSUSP] = _POSIX_VDISABLE; /* a stop would leave a shell without echo */
    hushed_terminal = terminal;
    hushed = 1;
    (void)tcsetattr(terminal, TCSAFLUSH, &quiet);
    say(terminal, prompt);
    ssize_t bytes = read_line(terminal, line, room);
    int problem = errno;
    restore_echo();
    say(terminal, "\n");
    close(terminal);
    errno = problem;
    return bytes;
}

/* ---- paths ---- */

bool mmh_host_is_exposed(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode) && (status.st_mode & 077);
}

enum mmh_host_kind mmh_host_kind(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return MMH_HOST_NONE;
    return S_ISREG(status.st_mode) ? MMH_HOST_FILE
         : S_ISDIR(status.st_mode) ? MMH_HOST_FOLDER
                                   : MMH_HOST_OTHER;
}

bool mmh_host_is_link(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0 && S_ISLNK(status.st_mode);
}

bool mmh_host_exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

const char *mmh_host_own_variable(const char *name)
{
    return getuid() == geteuid() && getgid() == getegid() ? getenv(name) : NULL;
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

static size_t peek(const char *path, void *dst, size_t bytes, off_t from_end)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0)
        return 0;
    ssize_t count = -1;
    if (!from_end || lseek(descriptor, -from_end, SEEK_END) >= 0)
        count = read_fully(descriptor, dst, bytes);
    close(descriptor);
    return count < 0 ? 0 : (size_t)count;
}

size_t mmh_host_peek(const char *path, void *dst, size_t bytes)
{
    return peek(path, dst, bytes, 0);
}

size_t mmh_host_peek_footer(const char *path, void *dst, size_t bytes)
{
    return peek(path, dst, bytes, 256);
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

bool mmh_host_spool(const char *path, int from, uint64_t limit_bytes, void (*tick)(uint64_t bytes))
{
    /* As any new file: the folder around it is this user's alone. */
    int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor < 0)
        return false;
    char *buffer = mmh_cli_alloc(COPY_BYTES);
    uint64_t total = 0;
    ssize_t count;
    bool good = true;
    while (good && (count = read_fully(from, buffer, COPY_BYTES)) != 0) {
        good = count > 0;
        if (good && limit_bytes && (uint64_t)count > limit_bytes - total) {
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
        if (good)
            tick(total += (uint64_t)count);
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

int mmh_host_open_pipe(const char *path)
{
    struct stat status;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC); /* waits for a writer; a signal ends that */
    if (descriptor < 0)
        return -1;
    if (fstat(descriptor, &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode)))
        return descriptor;
    close(descriptor);
    errno = ENXIO;
    return -1;
}

void mmh_host_close(int descriptor)
{
    close(descriptor);
}

const char *mmh_host_input_path(void)
{
    static const char path[] = "/proc/self/fd/0"; /* opening it gives a place of its own */
    struct stat given, found;
    if (fstat(0, &given) != 0 || !S_ISREG(given.st_mode) || lseek(0, 0, SEEK_CUR) != 0)
        return NULL;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return NULL;
    bool same = fstat(descriptor, &found) == 0 && found.st_dev == given.st_dev &&
                found.st_ino == given.st_ino;
    close(descriptor);
    return same ? path : NULL;
}

/* ---- removing what was packed ---- */

#ifdef __APPLE__
#define CONTENTS_TIME st_mtimespec
#define STATUS_TIME st_ctimespec
#else
#define CONTENTS_TIME st_mtim
#define STATUS_TIME st_ctim
#endif

bool mmh_host_identify(struct mmh_host_identity *identity, const char *path)
{
    struct stat status;
    if (lstat(path, &status) != 0)
        return false;
    *identity = (struct mmh_host_identity){
        .kind = S_ISREG(status.st_mode) ? MMH_HOST_FILE
              : S_ISDIR(status.st_mode) ? MMH_HOST_FOLDER
                                        : MMH_HOST_OTHER,
        .device = (uint64_t)status.st_dev,
        .inode = (uint64_t)status.st_ino,
        .bytes = (uint64_t)status.st_size,
        .changed_ns = { (int64_t)status.CONTENTS_TIME.tv_sec * 1000000000 +
                            status.CONTENTS_TIME.tv_nsec,
                        (int64_t)status.STATUS_TIME.tv_sec * 1000000000 +
                            status.STATUS_TIME.tv_nsec },
    };
    return true;
}

bool mmh_host_identical(const struct mmh_host_identity *a, const struct mmh_host_identity *b)
{
    return a->kind == b->kind && a->device == b->device && a->inode == b->inode &&
           a->bytes == b->bytes && a->changed_ns[0] == b->changed_ns[0] &&
           a->changed_ns[1] == b->changed_ns[1];
}

char *mmh_host_link_target(const char *path)
{
    enum { TARGET_BYTES_MAX = 1 << 16 };
    char *target = mmh_cli_alloc(TARGET_BYTES_MAX);
    ssize_t length = readlink(path, target, TARGET_BYTES_MAX - 1);
    if (length < 0) {
        free(target);
        return NULL;
    }
    target[length] = 0;
    return target;
}

bool mmh_host_remove_file(const char *path)
{
    return unlink(path) == 0;
}

bool mmh_host_remove_folder(const char *path)
{
    return rmdir(path) == 0;
}

void mmh_host_drop_cache(const char *path)
{
#ifdef POSIX_FADV_DONTNEED
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return;
    (void)posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
    close(descriptor);
#else
    (void)path;
#endif
}
