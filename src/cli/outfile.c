/*
 * A file that the command itself writes: under its name only when it is complete.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* O_TMPFILE */
#endif
#include "cli/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/host.h"

bool mmh_outfile_open(struct mmh_outfile *out, const char *path, bool replace)
{
    *out = (struct mmh_outfile){ .file = stdout };
    if (!path)
        return true;
    if (!replace && mmh_host_exists(path)) {
        errno = EEXIST;
        return false;
    }
    if (mmh_host_kind(path) == MMH_HOST_OTHER) { /* a rename would put a file in its place */
        errno = ENXIO;
        return false;
    }
    if (mmh_host_kind(path) == MMH_HOST_FOLDER) {
        errno = EISDIR;
        return false;
    }
    char *folder = mmh_cli_folder_of(path);
    out->path = mmh_cli_format("%s", path);
    /* As the library's: what a killed run leaves is swept by the next one that writes there. */
    out->temporary = mmh_cli_format("%s/.mmh-%016llx.tmp", folder,
                                    (unsigned long long)mmh_host_clock_ns() ^
                                        (unsigned long long)getpid() << 40);
    int descriptor = -1;
#ifdef O_TMPFILE
    /* No name at all until it is complete: nothing stays behind, however we end. */
    descriptor = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    out->nameless = descriptor >= 0;
#endif
    if (descriptor < 0) {
        descriptor = open(out->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    }
    free(folder);
    if (descriptor >= 0)
        (void)flock(descriptor, LOCK_EX | LOCK_NB); /* alive: not to be swept */
    out->file = descriptor < 0 ? NULL : fdopen(descriptor, "wb");
    if (out->file)
        return true;
    int problem = errno;
    if (descriptor >= 0)
        close(descriptor);
    free(out->path);
    free(out->temporary);
    errno = problem;
    return false;
}

/* Link the file, which may have no name yet, to one. */
static bool link_to(const struct mmh_outfile *out, const char *path)
{
    if (!out->nameless)
        return link(out->temporary, path) == 0;
    char *self = mmh_cli_format("/proc/self/fd/%d", fileno(out->file));
    bool good = linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0;
    int problem = errno;
    free(self);
    errno = problem;
    return good;
}

static bool give_name(const struct mmh_outfile *out, bool replace)
{
    if (!replace) { /* a link refuses where somebody was quicker */
        if (link_to(out, out->path))
            return true;
        if (errno == EEXIST || out->nameless)
            return false;
        errno = EEXIST; /* a file system without links */
        return !mmh_host_exists(out->path) && rename(out->temporary, out->path) == 0;
    }
    if (out->nameless) {
        (void)unlink(out->temporary);
        if (!link_to(out, out->temporary))
            return false;
    }
    return rename(out->temporary, out->path) == 0;
}

static void release(struct mmh_outfile *out)
{
    free(out->path);
    free(out->temporary);
    *out = (struct mmh_outfile){ .file = NULL };
}

bool mmh_outfile_commit(struct mmh_outfile *out, bool replace)
{
    if (!out->path) {
        bool flushed = mmh_host_flush();
        release(out);
        return flushed;
    }
    bool good = fflush(out->file) == 0 && fsync(fileno(out->file)) == 0 && give_name(out, replace);
    int problem = errno;
    if (fclose(out->file) != 0 && good) {
        problem = errno;
        good = false;
    }
    (void)unlink(out->temporary);
    release(out);
    errno = problem;
    return good;
}

void mmh_outfile_abandon(struct mmh_outfile *out)
{
    int problem = errno;
    if (out->path) {
        (void)fclose(out->file);
        (void)unlink(out->temporary);
    }
    release(out);
    errno = problem;
}

int mmh_outfile_fail(const struct mmh_cli_options *options, const char *input, const char *path,
                     const char *hint)
{
    int problem = errno;
    mmh_error err = { .status = MMH_E_IO };
    if (!path && mmh_host_pipe_closed())
        mmh_cli_pipe_closed();
    if (!path)
        mmh_host_output_failed();
    if (path && problem == EEXIST)
        return mmh_cli_refuse(options, input, hint, "\"%s\" exists", path);
    if (path && problem == ENXIO)
        return mmh_cli_refuse(options, input, NULL,
                              "\"%s\" is a device or a pipe, which cannot be replaced", path);
    if (path && problem == EISDIR)
        return mmh_cli_refuse(options, input, "name a file", "\"%s\" is a folder", path);
    if (path)
        snprintf(err.message, sizeof err.message, "cannot write \"%.400s\": %s", path,
                 strerror(problem));
    else
        snprintf(err.message, sizeof err.message, "cannot write standard output: %s",
                 strerror(problem));
    return mmh_cli_fail(options, input, &err, MMH_EXIT_IO, NULL);
}
