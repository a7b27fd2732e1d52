/*
 * The progress bar: name, bar, share, rate and time left, as wide as the terminal allows.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/progress.h"

#include <stdio.h>
#include <string.h>

#include "cli/host.h"
#include "cli/human.h"

enum {
    FIRST_DRAW_MS = 300, /* short work shows no bar at all */
    NAME_COLUMNS_MAX = 40,
    BAR_COLUMNS_MIN = 8,
    BAR_COLUMNS_MAX = 40
};

static struct {
    bool quiet;
    bool shown;
    const char *name;
    size_t item, item_count;
    uint64_t begin_ns;
} bar;

void mmh_bar_quiet(bool quiet)
{
    bar.quiet = quiet;
}

void mmh_bar_begin(const char *name, size_t item, size_t item_count)
{
    bar.name = name;
    bar.item = item;
    bar.item_count = item_count;
    bar.begin_ns = mmh_host_clock_ns();
}

void mmh_bar_end(void)
{
    mmh_bar_clear();
    bar.name = NULL;
}

void mmh_bar_clear(void)
{
    if (!bar.shown)
        return;
    fputs("\r\033[K", stderr);
    bar.shown = false;
}

/* The bar itself, in eighths of a character where there is UTF-8. */
static size_t draw_bar(char *out, size_t columns, double share)
{
    static const char *const eighths[] = { "",
                                           "\xe2\x96\x8f",
                                           "\xe2\x96\x8e",
                                           "\xe2\x96\x8d",
                                           "\xe2\x96\x8c",
                                           "\xe2\x96\x8b",
                                           "\xe2\x96\x8a",
                                           "\xe2\x96\x89" };
    size_t used = 0;
    bool utf8 = mmh_host_is_utf8(), colour = mmh_host_is_colour(stderr);
    size_t parts = (size_t)(share * (double)columns * 8), full = parts / 8;
    if (!utf8)
        out[used++] = '[';
    if (colour)
        used += (size_t)sprintf(out + used, "\033[32m");
    for (size_t i = 0; i < full; i++)
        used += (size_t)sprintf(out + used, "%s", utf8 ? "\xe2\x96\x88" : "=");
    if (utf8 && full < columns && parts % 8) {
        used += (size_t)sprintf(out + used, "%s", eighths[parts % 8]);
        full++;
    }
    if (colour)
        used += (size_t)sprintf(out + used, "\033[0m");
    while (full++ < columns)
        out[used++] = ' ';
    if (!utf8)
        out[used++] = ']';
    out[used] = 0;
    return used;
}

static void draw(const mmh_progress *progress, uint64_t elapsed_ns)
{
    /* The width is asked for every time: that is as good as SIGWINCH, and no signal. */
    size_t columns = mmh_host_columns(stderr), used = 0;
    char name[960], numbers[80], line[1600], track[8 * BAR_COLUMNS_MAX];
    double share = progress->total_bytes
                     ? (double)progress->done_bytes / (double)progress->total_bytes
                     : 0;
    if (share > 1)
        share = 1;
    if (columns > 1)
        columns--; /* a full last column would wrap */
    if (columns > 240)
        columns = 240;

    /* What matters most goes last to be left out: share, time left, rate, name, bar. */
    struct mmh_human rate = mmh_human_rate(progress->done_bytes, elapsed_ns);
    size_t room = columns;
    if (!progress->total_bytes) {
        snprintf(numbers, sizeof numbers, "%s  %s", mmh_human_bytes(progress->done_bytes).text,
                 rate.text);
    } else {
        uint64_t left = share > 0 ? (uint64_t)((double)elapsed_ns * (1 - share) / share) : 0;
        struct mmh_human eta = { "-:--" };
        uint64_t seconds = left / 1000000000u + 1;
        if (share > 0 && seconds < 3600)
            snprintf(eta.text, sizeof eta.text, "%u:%02u", (unsigned)(seconds / 60),
                     (unsigned)(seconds % 60));
        else if (share > 0 && seconds < 360000)
            snprintf(eta.text, sizeof eta.text, "%u:%02u:%02u", (unsigned)(seconds / 3600),
                     (unsigned)(seconds / 60 % 60), (unsigned)(seconds % 60));
        snprintf(numbers, sizeof numbers, "%3u %%", (unsigned)(share * 100));
        if (room >= 16 + 11)
            snprintf(numbers + strlen(numbers), sizeof numbers - strlen(numbers), " %9s",
                     rate.text);
        if (room >= 16)
            snprintf(numbers + strlen(numbers), sizeof numbers - strlen(numbers), " %7s", eta.text);
    }
    size_t numbers_width = strlen(numbers);
    if (numbers_width > room)
        return;
    room -= numbers_width;

    const char *title = progress->name ? progress->name : bar.name ? bar.name : progress->stage;
    char counted[1024];
    counted[0] = 0;
    if (bar.item_count > 1)
        snprintf(counted, sizeof counted, "%zu/%zu ", bar.item + 1, bar.item_count);
    strncat(counted, title, sizeof counted - strlen(counted) - 1);
    mmh_text_clean(name, sizeof name, counted);
    size_t name_room = room > 2 ? room - 2 : 0, bar_room = 0;
    if (progress->total_bytes && room >= 2 + 12 + 2 + BAR_COLUMNS_MIN + 2) {
        size_t wanted = mmh_text_width(name);
        if (wanted > NAME_COLUMNS_MAX)
            wanted = NAME_COLUMNS_MAX;
        bar_room = room - 6;
        bar_room = bar_room > wanted + BAR_COLUMNS_MIN ? bar_room - wanted : BAR_COLUMNS_MIN;
        name_room = room - 6 - bar_room;
        if (bar_room > BAR_COLUMNS_MAX)
            bar_room = BAR_COLUMNS_MAX;
    }
    if (name_room >= 6) {
        mmh_text_shorten(name, name_room);
        used = (size_t)snprintf(line, 1024, "%s  ", name);
    }
    if (bar_room) {
        draw_bar(track, bar_room, share);
        used += (size_t)sprintf(line + used, "%s  ", track);
    }
    snprintf(line + used, sizeof line - used, "%s", numbers);
    fprintf(stderr, "\r%s\033[K", line); /* stderr has no buffer: a FILE makes it one write */
    bar.shown = true;
}

bool mmh_bar_update(void *user, const mmh_progress *progress)
{
    (void)user;
    uint64_t elapsed = mmh_host_clock_ns() - bar.begin_ns;
    if (!bar.quiet && elapsed >= FIRST_DRAW_MS * UINT64_C(1000000) && mmh_host_is_terminal(stderr))
        draw(progress, elapsed);
    return !mmh_host_interrupted();
}
