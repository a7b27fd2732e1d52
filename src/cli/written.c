/*
 * What this run has written: with -f it may replace what was there before, never what it made itself.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/written.h"

#include <stdlib.h>
#include <string.h>

#include "cli/message.h"

static struct {
    char **paths; /* [sorted) in order, the rest as they came */
    size_t count, sorted, room;
} written;

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

bool mmh_written_has(const char *path)
{
    if (!written.count)
        return false;
    if (written.sorted < written.count) {
        qsort(written.paths, written.count, sizeof *written.paths, by_text);
        written.sorted = written.count;
    }
    return bsearch(&path, written.paths, written.count, sizeof *written.paths, by_text) != NULL;
}

void mmh_written_add(const char *path)
{
    if (written.count == written.room) {
        size_t room = written.room ? written.room * 2 : 16;
        char **paths = mmh_cli_alloc(room * sizeof *paths);
        if (written.count)
            memcpy(paths, written.paths, written.count * sizeof *paths);
        free(written.paths);
        written.paths = paths;
        written.room = room;
    }
    written.paths[written.count++] = mmh_cli_format("%s", path);
}

void mmh_written_release(void)
{
    for (size_t i = 0; i < written.count; i++)
        free(written.paths[i]);
    free(written.paths);
    written.paths = NULL;
    written.count = written.sorted = written.room = 0;
}
