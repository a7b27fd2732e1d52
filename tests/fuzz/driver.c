/*
 * Plain driver for fuzz targets, for compilers without libFuzzer, with that one's options:
 *
 *   fuzz_TARGET [-max_total_time=SECONDS] [-runs=N] [-seed=N] [-max_len=BYTES] [-timeout=SECONDS]
 *               [-artifact_prefix=PATH] [CORPUS...]
 *
 * Runs the target on every file of the corpora (folders and files), and on some mutations of each;
 * then, with -max_total_time, on mutations of what it has until the time is up, always the same
 * ones for one seed. Built with -fsanitize-coverage=trace-pc it keeps inputs that reach something
 * new. What is under way when the process fails is written to PATHcrash-HASH, or PATHtimeout-HASH.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "fuzz.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"

enum {
    REPLAY_MUTATIONS = 64,
    FILE_BYTES_MAX = 16 << 20,
    INPUTS_MAX = 1 << 15,
    EDGES = 1 << 16,
    MUTATIONS_MAX = 8 /* of one input */
};

static struct {
    double seconds;
    uint64_t runs, seed;
    size_t length_max;
    unsigned timeout;
    const char *artifacts;
} options = { .seed = 1, .length_max = 1 << 16, .timeout = 60, .artifacts = "" };

static struct {
    uint8_t *data;
    size_t bytes;
} inputs[INPUTS_MAX];
static size_t input_count;
static uint64_t executions;

/* ---- coverage, where the compiler tells ---- */

static uint8_t reached[EDGES]; /* in this execution */
static uint8_t known[EDGES];   /* in all: a bit for each magnitude of the count */
static _Thread_local uintptr_t before;

void __sanitizer_cov_trace_pc(void);

#if defined(__has_attribute)
#if __has_attribute(no_sanitize_coverage)
#define UNCOUNTED __attribute__((no_sanitize_coverage))
#endif
#endif
#ifndef UNCOUNTED
#define UNCOUNTED
#endif

UNCOUNTED __attribute__((no_sanitize("address", "undefined"))) void __sanitizer_cov_trace_pc(void)
{
    /* Distances in the program are the same in every process. */
    uintptr_t here = (uintptr_t)__builtin_return_address(0) - (uintptr_t)&options;
    uint8_t *count = &reached[(here ^ before) % EDGES];
    *count = (uint8_t)(*count + (*count < 255));
    before = (here >> 1) * 31;
}

UNCOUNTED static bool found_new(void)
{
    bool new = false;
    for (size_t e = 0; e < EDGES; e++) {
        unsigned count = reached[e];
        if (!count)
            continue;
        uint8_t bit = (uint8_t)(1u << (count < 4     ? count - 1
                                       : count < 8   ? 3
                                       : count < 16  ? 4
                                       : count < 32  ? 5
                                       : count < 128 ? 6
                                                     : 7));
        new = new || !(known[e] & bit);
        known[e] |= bit;
    }
    return new;
}

UNCOUNTED static size_t edges_known(void)
{
    size_t edges = 0;
    for (size_t e = 0; e < EDGES; e++)
        edges += known[e] != 0;
    return edges;
}

/* ---- running, and what is left when that fails ---- */

static const uint8_t *running;
static size_t running_bytes;

static void write_artifact(const char *kind)
{
    char path[1024];
    uint64_t hash = 0xcbf29ce484222325u;
    if (!running)
        return;
    for (size_t i = 0; i < running_bytes; i++)
        hash = (hash ^ running[i]) * 0x100000001b3u;
    (void)snprintf(path, sizeof path, "%s%s-%016llx", options.artifacts, kind,
                   (unsigned long long)hash);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (file >= 0 && write(file, running, running_bytes) == (ssize_t)running_bytes)
        (void)fprintf(stderr, "the input is in %s\n", path);
    running = NULL;
}

static void on_death(void)
{
    write_artifact("crash");
}

static void on_signal(int number)
{
    write_artifact(number == SIGALRM ? "timeout" : "crash");
    (void)signal(number, SIG_DFL);
    if (number == SIGALRM)
        _exit(70);
    (void)raise(number);
}

/* Of a sanitizer, if there is one. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void watch(void)
{
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(on_death);
    else
        (void)signal(SIGSEGV, on_signal);
    (void)signal(SIGABRT, on_signal);
    (void)signal(SIGALRM, on_signal);
}

static void run(const uint8_t *data, size_t bytes)
{
    uint8_t *copy = fuzz_copy(data, bytes);
    memset(reached, 0, sizeof reached);
    before = 0;
    running = copy;
    running_bytes = bytes;
    (void)alarm(options.timeout);
    (void)LLVMFuzzerTestOneInput(copy, bytes);
    (void)alarm(0);
    running = NULL;
    free(copy);
    executions++;
}

static void keep(const uint8_t *data, size_t bytes)
{
    if (input_count == INPUTS_MAX)
        return;
    inputs[input_count].data = fuzz_copy(data, bytes);
    inputs[input_count++].bytes = bytes;
}

/* ---- mutations ---- */

static uint64_t random_state;

UNCOUNTED static uint64_t random_below(uint64_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return limit ? (random_state >> 11) % limit : 0;
}

/* One change of data [bytes], which has room for length_max. Returns the new length. */
UNCOUNTED static size_t mutate(uint8_t *data, size_t bytes)
{
    static const uint64_t odd[] = {
        0,       1,       0x7f,       0x80,        0xff,        0x7fff,     0x8000,          0xffff,
        1 << 18, 1 << 24, 0x7fffffff, 0x80000000u, 0xffffffffu, UINT64_MAX, UINT64_MAX >> 1, 64,
        128,     4096
    };
    size_t at = (size_t)random_below(bytes), room = options.length_max - bytes;
    size_t run = (size_t)random_below((uint64_t)1 << random_below(8)) + 1; /* MMH_MIN asks twice */
    uint8_t number[8];
    run = MMH_MIN(run, bytes - at);
    switch (bytes ? random_below(9) : 4) {
    case 0:
        data[at] ^= (uint8_t)(1u << random_below(8));
        return bytes;
    case 1:
        data[at] = (uint8_t)random_below(256);
        return bytes;
    case 2:
        data[at] = (uint8_t)(data[at] + (random_below(2) ? random_below(16) : -random_below(16)));
        return bytes;
    case 3: /* a number that is often on an edge */
        mmh_store64(number, odd[random_below(MMH_COUNT_OF(odd))]);
        run = (size_t)1 << random_below(4);
        run = MMH_MIN(run, bytes - at);
        memcpy(data + at, number, run);
        return bytes;
    case 4: /* insert */
        run = MMH_MIN(bytes ? run : 16, room);
        memmove(data + at + run, data + at, bytes - at);
        for (size_t i = 0; i < run; i++)
            data[at + i] = (uint8_t)random_below(random_below(2) ? 256 : 4);
        return bytes + run;
    case 5: /* remove */
        memmove(data + at, data + at + run, bytes - at - run);
        return bytes - run;
    case 6: /* repeat, or overwrite with what is elsewhere */
        if (random_below(2)) {
            run = MMH_MIN(run, room);
            memmove(data + at + run, data + at, bytes - at);
            return bytes + run;
        }
        memmove(data + random_below(bytes - run + 1), data + at, run);
        return bytes;
    case 7: { /* take from another input */
        size_t other = (size_t)random_below(input_count);
        if (!inputs[other].bytes)
            return bytes;
        size_t from = (size_t)random_below(inputs[other].bytes);
        run = (size_t)random_below(512) + 1;
        run = MMH_MIN(run, inputs[other].bytes - from);
        run = MMH_MIN(run, options.length_max - at);
        memcpy(data + at, inputs[other].data + from, run);
        return MMH_MAX(bytes, at + run);
    }
    default: /* cut */
        return random_below(4) ? bytes : at;
    }
}

static double now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void fuzz(double end)
{
    uint8_t *data = fuzz_memory(options.length_max);
    while (now() < end && (!options.runs || executions < options.runs)) {
        /* New inputs are tried most: they lead on. */
        size_t span = input_count - (random_below(2) ? input_count / 2 : 0);
        size_t chosen = input_count - 1 - (size_t)random_below(span);
        size_t bytes = MMH_MIN(inputs[chosen].bytes, options.length_max);
        if (bytes)
            memcpy(data, inputs[chosen].data, bytes);
        for (uint64_t m = random_below(MUTATIONS_MAX) + 1; m > 0; m--)
            bytes = mutate(data, bytes);
        run(data, bytes);
        if (found_new())
            keep(data, bytes);
    }
    free(data);
}

/* ---- corpora ---- */

static void run_file(const char *path)
{
    uint8_t *data;
    size_t bytes;
    mmh_error err = { .status = MMH_OK };
    if (mmh_input_slurp(&data, &bytes, path, FILE_BYTES_MAX, NULL, &err)) {
        (void)fprintf(stderr, "%s\n", err.message);
        exit(2);
    }
    run(data, bytes);
    (void)found_new();
    keep(data, bytes);
    for (int i = 0; bytes && i < REPLAY_MUTATIONS && options.seconds <= 0 && options.runs != 1;
         i++) {
        size_t at = (size_t)random_below(bytes);
        uint8_t kept = data[at];
        data[at] = (uint8_t)random_below(256);
        run(data, i % 4 ? bytes : at);
        data[at] = kept;
    }
    mmh_free(NULL, data);
}

static size_t run_corpus(const char *name)
{
    struct mmh_path_info info;
    struct mmh_arena arena;
    struct mmh_path_info *entries;
    size_t count, files = 0;
    mmh_folder *folder;
    mmh_error err = { .status = MMH_OK };
    if (mmh_path_stat(&info, name, true, &err) || info.kind == MMH_PATH_NONE)
        return 0;
    if (info.kind == MMH_PATH_FILE) {
        run_file(name);
        return 1;
    }
    mmh_arena_init(&arena, NULL);
    if (mmh_folder_open(&folder, name, false, NULL, &err) ||
        mmh_folder_list(&entries, &count, &arena, folder, NULL, &err)) {
        (void)fprintf(stderr, "%s\n", err.message);
        exit(2);
    }
    for (size_t f = 0; f < count; f++) {
        const char *path = mmh_arena_format(&arena, "%s/%s", name, entries[f].path);
        if (path && entries[f].kind == MMH_PATH_FILE) {
            run_file(path);
            files++;
        }
    }
    mmh_folder_close(folder);
    mmh_arena_release(&arena);
    return files;
}

static bool take_option(const char *argument)
{
    const char *value = strchr(argument, '=');
    if (argument[0] != '-')
        return false;
    if (!value)
        return true;
    value++;
    if (strncmp(argument, "-max_total_time=", 16) == 0)
        options.seconds = strtod(value, NULL);
    else if (strncmp(argument, "-runs=", 6) == 0)
        options.runs = strtoull(value, NULL, 10);
    else if (strncmp(argument, "-seed=", 6) == 0)
        options.seed = strtoull(value, NULL, 10);
    else if (strncmp(argument, "-max_len=", 9) == 0)
        options.length_max = MMH_MAX((size_t)strtoull(value, NULL, 10), (size_t)64);
    else if (strncmp(argument, "-timeout=", 9) == 0)
        options.timeout = (unsigned)strtoul(value, NULL, 10);
    else if (strncmp(argument, "-artifact_prefix=", 17) == 0)
        options.artifacts = value;
    return true;
}

int main(int argc, char **argv)
{
    size_t files = 0;
    double start = now();
    for (int i = 1; i < argc; i++)
        (void)take_option(argv[i]);
    random_state = options.seed * 0x9e3779b97f4a7c15u | 1;
    watch();
    run(NULL, 0);
    (void)found_new();
    keep(NULL, 0);
    for (int i = 1; i < argc; i++)
        if (argv[i][0] != '-')
            files += run_corpus(argv[i]);
    if (options.seconds > 0)
        fuzz(start + options.seconds);
    (void)fprintf(stderr, "#%llu DONE cov: %zu corp: %zu files: %zu\n",
                  (unsigned long long)executions, edges_known(), input_count, files);
    for (size_t i = 0; i < input_count; i++)
        free(inputs[i].data);
    return 0;
}
