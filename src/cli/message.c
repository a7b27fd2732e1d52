/*
 * Messages to stderr, and the guess at what a misspelt word meant.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/message.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/host.h"
#include "cli/human.h"
#include "cli/progress.h"

static bool no_notes;

void mmh_message_quiet(bool quiet)
{
    no_notes = quiet;
}

/* One line in one write, so that the lines of several processes stay whole. */
static void tell(const char *kind, const char *colour, const char *format, va_list arguments)
    MMH_CLI_PRINTF(3, 0);
static void tell(const char *kind, const char *colour, const char *format, va_list arguments)
{
    char text[2048], clean[4096], line[4224];
    vsnprintf(text, sizeof text, format, arguments);
    mmh_text_clean(clean, sizeof clean, text);
    if (!kind)
        snprintf(line, sizeof line, "%s\n", clean);
    else if (mmh_host_is_colour(stderr))
        snprintf(line, sizeof line, "mmh: \033[%sm%s:\033[0m %s\n", colour, kind, clean);
    else
        snprintf(line, sizeof line, "mmh: %s: %s\n", kind, clean);
    mmh_bar_clear();
    if (mmh_host_interrupted() && mmh_host_is_terminal(stderr))
        fputc('\r', stderr); /* over the "^C" that the terminal has shown */
    fflush(stdout);          /* in a terminal the two belong in order */
    fputs(line, stderr);
}

void mmh_message_error(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    tell("error", "1;31", format, arguments);
    va_end(arguments);
}

void mmh_message_warning(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    tell("warning", "1;33", format, arguments);
    va_end(arguments);
}

void mmh_message_hint(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    tell("hint", "1;36", format, arguments);
    va_end(arguments);
}

void mmh_message_note(const char *format, ...)
{
    if (no_notes)
        return;
    va_list arguments;
    va_start(arguments, format);
    tell(NULL, NULL, format, arguments);
    va_end(arguments);
}

/* Edits between two words: insert, delete, replace, swap neighbours (Damerau-Levenshtein). */
static size_t distance(const char *a, const char *b)
{
    enum { LONGEST = 31 };
    size_t rows[LONGEST + 2][LONGEST + 2];
    while (*a && *a == *b) /* what both begin and end with makes no difference */
        a++, b++;
    size_t a_length = strlen(a), b_length = strlen(b);
    while (a_length && b_length && a[a_length - 1] == b[b_length - 1])
        a_length--, b_length--;
    if (a_length > LONGEST || b_length > LONGEST)
        return SIZE_MAX;
    for (size_t i = 0; i <= a_length; i++)
        for (size_t j = 0; j <= b_length; j++) {
            if (!i || !j) {
                rows[i][j] = i + j;
                continue;
            }
            size_t best = rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (rows[i - 1][j] + 1 < best)
                best = rows[i - 1][j] + 1;
            if (rows[i][j - 1] + 1 < best)
                best = rows[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                rows[i - 2][j - 2] + 1 < best)
                best = rows[i - 2][j - 2] + 1;
            rows[i][j] = best;
        }
    return rows[a_length][b_length];
}

const char *mmh_message_nearest(const char *word, const char *const *names, size_t count)
{
    enum { NEAR_MAX = 5 }; /* edits */
    const char *nearest = NULL;
    size_t length = strlen(word), best = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        size_t apart = length > 1 && strncmp(word, names[i], length) == 0
                         ? 0 /* the beginning of a name */
                         : distance(word, names[i]);
        size_t name_length = strlen(names[i]);
        size_t near = (length > name_length ? length : name_length) / 3;
        near = near > NEAR_MAX ? NEAR_MAX : near;
        if (apart <= (near ? near : 1) && apart < name_length && apart < best) {
            best = apart;
            nearest = names[i];
        }
    }
    return nearest;
}

void *mmh_cli_alloc(size_t bytes)
{
    void *memory = malloc(bytes ? bytes : 1);
    if (!memory) {
        mmh_message_error("out of memory (%zu bytes)", bytes);
        exit(MMH_EXIT_LIMIT);
    }
    return memory;
}

char *mmh_cli_format_v(const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    size_t room = length < 0 ? 1 : (size_t)length + 1;
    char *text = mmh_cli_alloc(room);
    text[0] = 0;
    vsnprintf(text, room, format, arguments);
    return text;
}

char *mmh_cli_format(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = mmh_cli_format_v(format, arguments);
    va_end(arguments);
    return text;
}

char *mmh_cli_clean(const char *text)
{
    size_t room = 4 * strlen(text) + 1;
    return mmh_text_clean(mmh_cli_alloc(room), room, text);
}
