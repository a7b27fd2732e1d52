/*
 * How far the work is: a bar, JSON lines, or an answer to SIGUSR1.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/host.h"

enum {
    FIRST_DRAW_MS = 300, /* short work shows no bar at all */
    JSON_INTERVAL_MS = 200,
    NAME_COLUMNS_MAX = 40,
    BAR_COLUMNS_MIN = 8,
    BAR_COLUMNS_MAX = 40,
    LINE_COLUMNS_MAX = 240
};

/* Under mmh_host_lock: a worker reports while the thread that waits for signals answers one. */
static struct {
    const char *verb;
    enum mmh_bar_mode mode;
    size_t shown_columns; /* of the line on the screen; 0: there is none */
    bool begun;
    const char *name;
    size_t item, item_count;
    uint64_t begin_ns, stage_ns, json_ns;
    mmh_progress last; /* its name is in last_name */
    char last_name[1024];
    bool own; /* mmh_bar_own reports */
} bar;

static uint64_t elapsed_ns(void) /* of the stage, for the pace */
{
    return mmh_host_clock_ns() - bar.stage_ns;
}

/* ---- JSON ---- */

static void write_event(const char *event)
{
    char *text = NULL;
    size_t bytes = 0;
    struct mmh_json_out out;
    FILE *memory = open_memstream(&text, &bytes); /* stderr has no buffer: one line, one write */
    if (!memory)
        return;
    mmh_json_out_begin(&out, memory);
    out.compact = true;
    mmh_json_out_object(&out, NULL);
    mmh_json_out_text(&out, "event", event);
    mmh_json_out_text(&out, "verb", bar.verb);
    mmh_json_out_text(&out, "input", bar.name);
    mmh_json_out_u64(&out, "item", bar.item + 1);
    mmh_json_out_u64(&out, "items", bar.item_count);
    mmh_json_out_text(&out, "stage", bar.last.stage);
    mmh_json_out_text(&out, "name", bar.last.name);
    mmh_json_out_u64(&out, "done_bytes", bar.last.done_bytes);
    mmh_json_out_u64(&out, "total_bytes", bar.last.total_bytes);
    mmh_json_out_u64(&out, "stored_bytes", bar.last.stored_bytes);
    mmh_json_out_u64(&out, "elapsed_ns", mmh_host_clock_ns() - bar.begin_ns);
    mmh_json_out_end(&out);
    bool good = mmh_json_out_finish(&out);
    if (fclose(memory) == 0 && good)
        fputs(text, stderr);
    free(text);
}

/* ---- the line ---- */

/* The cursor rests at the beginning of the line: "^C" is echoed there, and wiped with it; and if
 * the terminal becomes narrower, what is wrapped is below. */
static const char *go_back(size_t columns)
{
    return bar.shown_columns >= columns && mmh_host_is_screen(stderr) ? "\r\033[J" : "\r";
}

/* Blanks, not an escape sequence: they work on everything that knows a carriage return. */
static void wipe(void)
{
    size_t columns = mmh_host_columns(stderr);
    if (!bar.shown_columns)
        return;
    const char *back = go_back(columns);
    if (bar.shown_columns >= columns)
        bar.shown_columns = columns - 1;
    fprintf(stderr, "%s%*s\r", back, (int)bar.shown_columns, "");
    bar.shown_columns = 0;
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

/* "0:07", "2:10:00": what the rest takes at the pace so far. */
static struct mmh_human time_left(const mmh_progress *progress, uint64_t elapsed)
{
    struct mmh_human text = { "-:--" };
    if (!progress->done_bytes)
        return text;
    if (progress->done_bytes >= progress->total_bytes)
        return (struct mmh_human){ "0:00" };
    double share = (double)progress->done_bytes / (double)progress->total_bytes;
    uint64_t seconds = (uint64_t)((double)elapsed * (1 - share) / share / 1e9) + 1;
    if (seconds < 3600)
        snprintf(text.text, sizeof text.text, "%u:%02u", (unsigned)(seconds / 60),
                 (unsigned)(seconds % 60));
    else if (seconds < 360000)
        snprintf(text.text, sizeof text.text, "%u:%02u:%02u", (unsigned)(seconds / 3600),
                 (unsigned)(seconds / 60 % 60), (unsigned)(seconds % 60));
    return text;
}

static void draw(const mmh_progress *progress, uint64_t elapsed)
{
    /* The width is asked for every time: that is as good as SIGWINCH, and no signal. */
    size_t columns = mmh_host_columns(stderr), used = 0, shown = 0;
    char name[960], numbers[80], line[1600], track[8 * BAR_COLUMNS_MAX];
    double share = progress->total_bytes
                     ? (double)progress->done_bytes / (double)progress->total_bytes
                     : 0;
    if (share > 1)
        share = 1;
    if (columns > 1)
        columns--; /* a full last column would wrap */
    if (columns > LINE_COLUMNS_MAX)
        columns = LINE_COLUMNS_MAX;

    /* What matters most goes last to be left out: share, time left, rate, name, bar. */
    struct mmh_human rate = mmh_human_rate(progress->done_bytes, elapsed);
    size_t room = columns;
    if (!progress->total_bytes) {
        snprintf(numbers, sizeof numbers, "%s  %s", mmh_human_bytes(progress->done_bytes).text,
                 rate.text);
    } else {
        struct mmh_human eta = time_left(progress, elapsed);
        snprintf(numbers, sizeof numbers, "%3u %%", (unsigned)(share * 100));
        if (room >= 16 + 12)
            snprintf(numbers + strlen(numbers), sizeof numbers - strlen(numbers), "  %9s",
                     rate.text);
        if (room >= 16)
            snprintf(numbers + strlen(numbers), sizeof numbers - strlen(numbers), " %7s", eta.text);
    }
    size_t numbers_width = strlen(numbers);
    if (numbers_width > room)
        return;
    room -= numbers_width;

    const char *title = progress->name ? progress->name
                      : bar.name       ? mmh_cli_shown(bar.name)
                                       : progress->stage;
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
        shown = mmh_text_width(name) + 2;
    }
    if (bar_room) {
        draw_bar(track, bar_room, share);
        used += (size_t)sprintf(line + used, "%s  ", track);
        shown += bar_room + (mmh_host_is_utf8() ? 2 : 4);
    }
    snprintf(line + used, sizeof line - used, "%s", numbers);
    shown += numbers_width;
    size_t stale = bar.shown_columns > shown ? bar.shown_columns - shown : 0;
    if (shown + stale > columns)
        stale = columns > shown ? columns - shown : 0;
    fprintf(stderr, "%s%s%*s\r", go_back(columns + 1), line, (int)stale, ""); /* one write */
    bar.shown_columns = shown;
}

/* ---- the door ---- */

static void tell_status(void)
{
    mmh_host_lock();
    const mmh_progress *now = &bar.last;
    if (bar.mode == MMH_BAR_JSON) {
        write_event("status");
    } else if (!bar.begun || !now->stage) {
        wipe();
        fprintf(stderr, "mmh: %s: nothing done yet, %s\n", bar.verb,
                mmh_human_time(elapsed_ns()).text);
    } else {
        uint64_t elapsed = elapsed_ns();
        char name[1024], place[48] = "", text[160];
        const char *shown = now->name ? now->name : mmh_cli_shown(bar.name);
        mmh_text_clean(name, sizeof name, shown);
        if (bar.item_count > 1)
            snprintf(place, sizeof place, "%zu/%zu ", bar.item + 1, bar.item_count);
        if (now->total_bytes && !now->done_bytes) /* there is no pace yet */
            snprintf(text, sizeof text, "0 %% of %s", mmh_human_bytes(now->total_bytes).text);
        else if (now->total_bytes)
            snprintf(text, sizeof text, "%s of %s, %s, %s left",
                     mmh_human_percent(now->done_bytes, now->total_bytes).text,
                     mmh_human_bytes(now->total_bytes).text,
                     mmh_human_rate(now->done_bytes, elapsed).text, time_left(now, elapsed).text);
        else
            snprintf(text, sizeof text, "%s, %s", mmh_human_bytes(now->done_bytes).text,
                     mmh_human_rate(now->done_bytes, elapsed).text);
        wipe();
        fprintf(stderr, "mmh: %s %s%s: %s", now->stage, place, name, text);
        if (now->stored_bytes)
            fprintf(stderr, ", %s stored", mmh_human_bytes(now->stored_bytes).text);
        fprintf(stderr, ", %s\n", mmh_human_time(elapsed).text);
    }
    mmh_host_unlock();
}

void mmh_bar_setup(const char *verb, enum mmh_bar_mode mode)
{
    bar.verb = verb;
    bar.mode = mode;
    bar.begin_ns = bar.stage_ns = mmh_host_clock_ns();
    bar.item_count = 1;
    mmh_host_on_status(tell_status);
}

void mmh_bar_hush(void)
{
    if (bar.mode == MMH_BAR_AUTO)
        bar.mode = MMH_BAR_NONE;
}

void mmh_bar_begin(const char *name, size_t item, size_t item_count)
{
    mmh_host_lock();
    bar.begun = true;
    bar.name = name;
    bar.item = item;
    bar.item_count = item_count;
    bar.begin_ns = bar.stage_ns = mmh_host_clock_ns();
    bar.json_ns = 0;
    bar.own = false;
    memset(&bar.last, 0, sizeof bar.last);
    mmh_host_unlock();
}

void mmh_bar_end(void)
{
    mmh_host_lock();
    if (bar.begun && bar.mode == MMH_BAR_JSON)
        write_event("end");
    if (bar.shown_columns && bar.mode == MMH_BAR_ALWAYS && !mmh_host_is_terminal(stderr)) {
        fputc('\n', stderr); /* a log keeps the last line */
        bar.shown_columns = 0;
    }
    wipe();
    bar.begun = false;
    bar.own = false;
    bar.name = NULL;
    mmh_host_unlock();
}

void mmh_bar_clear(void)
{
    mmh_host_lock();
    wipe();
    mmh_host_unlock();
}

static void update(const mmh_progress *progress)
{
    uint64_t elapsed = elapsed_ns();
    bar.last = *progress;
    bar.last.name = NULL;
    if (progress->name) {
        snprintf(bar.last_name, sizeof bar.last_name, "%s", progress->name);
        bar.last.name = bar.last_name;
    }
    switch (bar.mode) {
    case MMH_BAR_AUTO:
        if (elapsed >= FIRST_DRAW_MS * UINT64_C(1000000) && mmh_host_is_screen(stderr))
            draw(&bar.last, elapsed);
        break;
    case MMH_BAR_ALWAYS:
        draw(&bar.last, elapsed);
        break;
    case MMH_BAR_JSON:
        if (bar.begun &&
            mmh_host_clock_ns() - bar.json_ns >= JSON_INTERVAL_MS * UINT64_C(1000000)) {
            bar.json_ns = mmh_host_clock_ns();
            write_event("progress");
        }
        break;
    case MMH_BAR_NONE:
        break;
    }
}

bool mmh_bar_update(void *user, const mmh_progress *progress)
{
    (void)user;
    mmh_host_lock();
    if (!bar.own)
        update(progress);
    mmh_host_unlock();
    return !mmh_host_interrupted();
}

void mmh_bar_own(const char *stage, uint64_t done_bytes, uint64_t total_bytes)
{
    mmh_progress progress = { .stage = stage,
                              .done_bytes = done_bytes,
                              .total_bytes = total_bytes };
    mmh_host_lock();
    if (!bar.own) /* the pace is this work's alone */
        bar.stage_ns = mmh_host_clock_ns();
    bar.own = true;
    update(&progress);
    mmh_host_unlock();
}

void mmh_bar_reading(uint64_t bytes)
{
    static uint64_t last_ns;
    uint64_t now = mmh_host_clock_ns();
    mmh_progress progress = { .stage = "read", .name = mmh_cli_shown("-"), .done_bytes = bytes };
    if (now - last_ns < 100 * UINT64_C(1000000)) /* as often as the library does */
        return;
    last_ns = now;
    (void)mmh_bar_update(NULL, &progress);
}
