/*
 * A file that the command itself writes: under its name only when it is complete.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
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
    if (mmh_host_kind(path) == MMH_HOST_FOLDER) {
        errno = EISDIR;
        return false;
    }
    char *folder = mmh_cli_folder_of(path);
    out->path = mmh_cli_format("%s", path);
    out->temporary = mmh_cli_format("%s/.mmh-cat-%ld", folder, (long)getpid());
    free(folder);
    (void)unlink(out->temporary); /* of a dead process that had our number */
    int descriptor = open(out->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
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
    bool good = fflush(out->file) == 0 && fsync(fileno(out->file)) == 0;
    int problem = errno;
    if (fclose(out->file) != 0 && good) {
        problem = errno;
        good = false;
    }
    if (good) { /* link refuses where somebody was quicker; rename replaces */
        good = replace ? rename(out->temporary, out->path) == 0
                       : link(out->temporary, out->path) == 0;
        problem = errno;
        if (!good && !replace && problem != EEXIST) { /* a file system without links */
            good = !mmh_host_exists(out->path) && rename(out->temporary, out->path) == 0;
            problem = errno;
        }
    }
    (void)unlink(out->temporary);
    release(out);
    errno = problem;
    return good;
}

void mmh_outfile_abandon(struct mmh_outfile *out)
{
    if (out->path) {
        (void)fclose(out->file);
        (void)unlink(out->temporary);
    }
    release(out);
}
