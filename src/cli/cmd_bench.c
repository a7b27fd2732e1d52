/*
 * mmh bench: what each level makes of a file on this machine, in memory, with every byte compared.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/host.h"
#include "cli/progress.h"

enum {
    LEVEL_MAX = 9,
    RUNS_MAX = 5, /* the fastest counts; slow work runs once */
    REPEAT_BELOW_MS = 1000
};

static const char temporary_hint[] = "TMPDIR names the folder for temporary files";

struct bench {
    const struct mmh_cli_options *options;
    mmh_context *context;
    const char *input;
    char *container, *restored;
    mmh_error err;
};

struct result {
    int level;
    mmh_pack_report pack;
    uint64_t pack_ns, unpack_ns, verify_ns;
};

/* Where an original file is: inside the folder that was packed, or beside the file that was. */
static char *original_path(const char *input, const char *name)
{
    if (mmh_host_kind(input) == MMH_HOST_FOLDER)
        return mmh_cli_join(input, name);
    if (strcmp(name, mmh_cli_base_name(input)) == 0)
        return mmh_cli_format("%s", input);
    char *folder = mmh_cli_folder_of(input), *path = mmh_cli_join(folder, name);
    free(folder);
    return path;
}

static mmh_status compare(struct bench *bench)
{
    mmh_reader *reader = NULL;
    mmh_container_info info = { .struct_size = sizeof info };
    mmh_status status = mmh_open(bench->context, bench->container, &reader, &bench->err);
    if (status == MMH_OK)
        status = mmh_container(reader, &info, &bench->err);
    for (uint64_t i = 0; i < info.file_count && status == MMH_OK; i++) {
        mmh_file_info file = { .struct_size = sizeof file };
        status = mmh_file(reader, i, &file, &bench->err);
        if (status != MMH_OK || file.kind != MMH_FILE_REGULAR)
            continue;
        char *original = original_path(bench->input, file.name);
        char *restored = mmh_cli_join(bench->restored, file.name);
        if (!mmh_host_equal(original, restored)) {
            status = MMH_E_CORRUPT;
            snprintf(bench->err.message, sizeof bench->err.message,
                     "\"%.400s\" did not come back as it was", original);
        }
        free(original);
        free(restored);
        if (mmh_host_interrupted())
            status = MMH_E_CANCELLED;
    }
    mmh_close(reader);
    return status;
}

typedef mmh_status work_fn(struct bench *bench, struct result *result);

static mmh_status pack_work(struct bench *bench, struct result *result)
{
    mmh_pack_options pack = mmh_cli_pack_options(bench->options);
    pack.level = result->level;
    pack.overwrite = true;
    result->pack.struct_size = sizeof result->pack;
    return mmh_pack(bench->context, &bench->input, 1, bench->container, &pack, &result->pack,
                    &bench->err);
}

static mmh_status verify_work(struct bench *bench, struct result *result)
{
    (void)result;
    return mmh_verify(bench->context, bench->container, NULL, NULL, &bench->err);
}

static mmh_status unpack_work(struct bench *bench, struct result *result)
{
    (void)result;
    return mmh_unpack(bench->context, bench->container, bench->restored, NULL, NULL, &bench->err);
}

/* Run it some times; the fastest counts. */
static mmh_status measure(struct bench *bench, struct result *result, work_fn *work,
                          uint64_t *fastest_ns)
{
    uint64_t total = 0;
    mmh_status status = MMH_OK;
    *fastest_ns = UINT64_MAX;
    for (int run = 0; run < RUNS_MAX && status == MMH_OK; run++) {
        if (work == unpack_work)
            mmh_host_remove_tree(bench->restored);
        uint64_t begin = mmh_host_clock_ns();
        status = work(bench, result);
        uint64_t took = mmh_host_clock_ns() - begin;
        if (took < *fastest_ns)
            *fastest_ns = took;
        total += took;
        if (total >= REPEAT_BELOW_MS * UINT64_C(1000000))
            break;
    }
    return status;
}

static void write_json(const struct mmh_cli_options *options, const char *input,
                       const struct result *results, size_t count)
{
    struct mmh_json_out out;
    mmh_cli_json_begin(&out, options, input, MMH_OK, MMH_EXIT_OK);
    mmh_json_out_u64(&out, "original_bytes", results[0].pack.original_bytes);
    mmh_json_out_u64(&out, "files", results[0].pack.file_count);
    mmh_json_out_u64(&out, "tensors", results[0].pack.tensor_count);
    mmh_json_out_array(&out, "levels");
    for (size_t i = 0; i < count; i++) {
        const struct result *result = &results[i];
        mmh_json_out_object(&out, NULL);
        mmh_json_out_u64(&out, "level", (uint64_t)result->level);
        mmh_json_out_u64(&out, "stored_bytes", result->pack.stored_bytes);
        mmh_json_out_u64(&out, "floor_bytes", result->pack.floor_bytes);
        mmh_json_out_ratio(&out, "ratio", result->pack.stored_bytes, result->pack.original_bytes);
        mmh_json_out_u64(&out, "pack_ns", result->pack_ns);
        mmh_json_out_u64(&out, "unpack_ns", result->unpack_ns);
        mmh_json_out_u64(&out, "verify_ns", result->verify_ns);
        mmh_json_out_end(&out);
    }
    mmh_json_out_end(&out);
    mmh_json_out_end(&out);
    (void)mmh_json_out_finish(&out);
}

static void tell_row(const struct result *result)
{
    uint64_t bytes = result->pack.original_bytes;
    double scale = bytes ? 100.0 / (double)bytes : 0;
    printf("  %5d  %9s  %7.2f  %10s  %10s  %10s\n", result->level,
           mmh_human_bytes(result->pack.stored_bytes).text,
           scale * (double)result->pack.stored_bytes, mmh_human_rate(bytes, result->pack_ns).text,
           mmh_human_rate(bytes, result->unpack_ns).text,
           mmh_human_rate(bytes, result->verify_ns).text);
    fflush(stdout);
}

/* One floor for all levels, beneath their sizes: it is the input's. Higher levels sample more of
 * it, so the last one's is the best estimate; where no element type is known there is none. */
static void tell_floor(const struct result *last)
{
    const mmh_pack_report *pack = &last->pack;
    if (pack->floor_bytes >= pack->original_bytes)
        return;
    printf("  %5s  %9s  %7.2f  entropy of exponents and integers, one by one\n", "floor",
           mmh_human_bytes(pack->floor_bytes).text,
           100.0 * (double)pack->floor_bytes / (double)pack->original_bytes);
}

static void tell_heading(const struct bench *bench, const mmh_pack_report *pack, const char *folder)
{
    char *clean = mmh_cli_clean(bench->input), threads[32] = "all processors";
    bool bold = mmh_host_is_colour(stdout);
    if (bench->options->threads)
        snprintf(threads, sizeof threads, "%s",
                 mmh_human_things(bench->options->threads, "thread", "threads").text);
    printf("%s: %s, %s; %s, in %s\n", clean, mmh_human_bytes(pack->original_bytes).text,
           mmh_human_things(pack->tensor_count, "tensor", "tensors").text, threads, folder);
    printf("%s  %5s  %9s  %7s  %10s  %10s  %10s%s\n", bold ? "\033[1m" : "", "level", "size", "%",
           "pack", "unpack", "verify", bold ? "\033[0m" : "");
    free(clean);
}

/* In memory where there is some: $TMPDIR if it is set, else /dev/shm, else /tmp. */
static const char *choose_folder(void)
{
    const char *folder = getenv("TMPDIR");
    if (folder && *folder)
        return folder;
    return mmh_host_can_write("/dev/shm") ? "/dev/shm" : "/tmp";
}

/* One level: pack, verify, unpack, compare. `parent` is where the temporary folder is. */
static mmh_status bench_level(struct bench *bench, struct result *result, const char *parent)
{
    mmh_status status = measure(bench, result, pack_work, &result->pack_ns);
    uint64_t room = mmh_host_room(parent);
    if (status == MMH_OK && room && result->pack.original_bytes > room) {
        snprintf(bench->err.message, sizeof bench->err.message,
                 "no room to unpack %s: %s are free in %.300s",
                 mmh_human_bytes(result->pack.original_bytes).text, mmh_human_bytes(room).text,
                 parent);
        status = MMH_E_IO;
    }
    if (status == MMH_OK)
        status = measure(bench, result, verify_work, &result->verify_ns);
    if (status == MMH_OK)
        status = measure(bench, result, unpack_work, &result->unpack_ns);
    if (status == MMH_OK)
        status = compare(bench);
    mmh_bar_end();
    bench->err.status = status;
    return status;
}

static int bench_one(const struct mmh_cli_options *options, mmh_context *context, const char *input)
{
    struct bench bench = { .options = options, .context = context, .input = input };
    struct result results[LEVEL_MAX] = { 0 };
    size_t count = 0;
    mmh_status status = MMH_OK;
    const char *parent = choose_folder();
    char *folder = mmh_host_make_temporary(parent);
    if (!folder) {
        bench.err.status = MMH_E_IO;
        snprintf(bench.err.message, sizeof bench.err.message,
                 "cannot make a temporary folder in \"%.300s\"", parent);
        return mmh_cli_fail(options, input, &bench.err, MMH_EXIT_IO, temporary_hint);
    }
    bench.container = mmh_cli_join(folder, "bench.mmh");
    bench.restored = mmh_cli_join(folder, "restored");
    for (int level = 1; level <= LEVEL_MAX && status == MMH_OK && !ferror(stdout); level++) {
        struct result *result = &results[count];
        if (options->levels && !(options->levels >> level & 1))
            continue;
        *result = (struct result){ .level = level };
        mmh_bar_begin(input, 0, 1);
        status = bench_level(&bench, result, parent);
        if (status != MMH_OK)
            break;
        if (!options->json && !count)
            tell_heading(&bench, &result->pack, parent);
        if (!options->json)
            tell_row(result);
        count++;
    }
    mmh_host_remove_tree(folder);
    free(bench.container);
    free(bench.restored);
    free(folder);
    if (status != MMH_OK)
        return mmh_cli_fail(options, input, &bench.err, mmh_exit_of(status),
                            status == MMH_E_IO ? temporary_hint : NULL);
    if (options->json)
        write_json(options, input, results, count);
    else if (count)
        tell_floor(&results[count - 1]);
    return MMH_EXIT_OK;
}

int mmh_cmd_bench(const struct mmh_cli_options *options, mmh_context *context)
{
    int code = MMH_EXIT_OK;
    for (size_t i = 0; i < options->input_count && code != MMH_EXIT_INTERRUPTED; i++) {
        if (i && !options->json)
            putchar('\n');
        code = mmh_exit_worse(code, bench_one(options, context, options->inputs[i]));
    }
    return code;
}
