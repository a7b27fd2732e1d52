/*
 * mmh verify: check every byte of containers, and change nothing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/progress.h"

enum {
    KEPT_MAX = 10000, /* entries of the list: a small container may have a great many */
    RANGES_TOLD = 8,  /* without -v */
    TENSORS_TOLD = 4
};

/* A range of a file that cannot be had, or after it a tensor that it hits. */
struct entry {
    char *file;   /* NULL: a chunk that no file needs, or a tensor */
    char *tensor; /* NULL: a range */
    uint64_t offset, bytes;
};

struct damage_list {
    struct entry *entries;
    size_t count, room;
    bool cut; /* there was more */
};

static char *copy_or_null(const char *text)
{
    return text ? mmh_cli_format("%s", text) : NULL;
}

static void keep_damage(void *user, const mmh_damage *damage)
{
    struct damage_list *list = user;
    if (list->count == KEPT_MAX) {
        list->cut = true;
        return;
    }
    if (list->count == list->room) {
        list->room = list->room ? 2 * list->room : 16;
        struct entry *grown = mmh_cli_alloc(list->room * sizeof *grown);
        if (list->count)
            memcpy(grown, list->entries, list->count * sizeof *grown);
        free(list->entries);
        list->entries = grown;
    }
    list->entries[list->count++] = (struct entry){
        .file = damage->tensor ? NULL : copy_or_null(damage->name),
        .tensor = copy_or_null(damage->tensor),
        .offset = damage->offset,
        .bytes = damage->bytes,
    };
}

static void free_damage(struct damage_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->entries[i].file);
        free(list->entries[i].tensor);
    }
    free(list->entries);
}

/* "  model.safetensors, bytes 0 to 65536: "a", "b"", for people. */
static void tell_damage(const struct mmh_cli_options *options, const struct damage_list *list,
                        const mmh_unpack_report *report)
{
    size_t ranges = 0, next;
    mmh_message_note(
        "  damaged: %s, %s of %s", mmh_human_things(report->damaged_chunks, "chunk", "chunks").text,
        mmh_human_bytes(report->damaged_bytes).text, mmh_human_bytes(report->original_bytes).text);
    for (size_t i = 0; i < list->count; i = next) {
        const struct entry *range = &list->entries[i];
        for (next = i + 1; next < list->count && list->entries[next].tensor;)
            next++;
        if (!options->verbose && ranges == RANGES_TOLD) {
            mmh_message_note("  and more (-v lists all)");
            return;
        }
        ranges++;
        if (!range->file) {
            mmh_message_note("  a chunk that no file needs");
            continue;
        }
        char *line = mmh_cli_format("  %s, bytes %" PRIu64 " to %" PRIu64, range->file,
                                    range->offset, range->offset + range->bytes);
        for (size_t t = i + 1; t < next && t - i <= TENSORS_TOLD && !options->verbose; t++) {
            char *longer = mmh_cli_format("%s%s\"%s\"", line, t == i + 1 ? ": " : ", ",
                                          list->entries[t].tensor);
            free(line);
            line = longer;
        }
        size_t left = !options->verbose && next - i - 1 > TENSORS_TOLD ? next - i - 1 - TENSORS_TOLD
                                                                       : 0;
        mmh_message_note(left ? "%s, and %zu more" : "%s", line, left);
        free(line);
        for (size_t t = i + 1; t < next && options->verbose; t++)
            mmh_message_note("    \"%s\", %s", list->entries[t].tensor,
                             mmh_human_bytes(list->entries[t].bytes).text);
    }
    if (list->cut)
        mmh_message_note("  and more, which are not listed");
}

static void write_damage(struct mmh_json_out *out, const struct damage_list *list,
                         const mmh_unpack_report *report)
{
    mmh_json_out_u64(out, "damaged_chunks", report->damaged_chunks);
    mmh_json_out_u64(out, "damaged_bytes", report->damaged_bytes);
    mmh_json_out_array(out, "damage");
    for (size_t i = 0; i < list->count;) {
        const struct entry *range = &list->entries[i++];
        mmh_json_out_object(out, NULL);
        if (range->file)
            mmh_json_out_text(out, "file", range->file);
        else
            mmh_json_out_null(out, "file");
        mmh_json_out_u64(out, "offset", range->offset);
        mmh_json_out_u64(out, "bytes", range->bytes);
        mmh_json_out_array(out, "tensors");
        for (; i < list->count && list->entries[i].tensor; i++)
            mmh_json_out_text(out, NULL, list->entries[i].tensor);
        mmh_json_out_end(out);
        mmh_json_out_end(out);
    }
    mmh_json_out_end(out);
}

static void write_json(const struct mmh_cli_options *options, const char *container,
                       const mmh_unpack_report *report, const struct damage_list *list,
                       const mmh_error *err, int code)
{
    struct mmh_json_out out;
    mmh_cli_json_begin(&out, options, container, err->status, code);
    if (err->status != MMH_OK)
        mmh_json_out_text(&out, "message", err->message);
    mmh_cli_json_mended(&out, report->mended);
    mmh_json_out_u64(&out, "original_bytes", report->original_bytes);
    mmh_json_out_u64(&out, "stored_bytes", report->stored_bytes);
    mmh_json_out_u64(&out, "files", report->file_count);
    mmh_json_out_u64(&out, "chunks", report->chunk_count);
    write_damage(&out, list, report);
    mmh_json_out_object(&out, "ns");
    mmh_json_out_u64(&out, "read", report->read_ns);
    mmh_json_out_u64(&out, "hash", report->hash_ns);
    mmh_json_out_u64(&out, "decode", report->decode_ns);
    mmh_json_out_u64(&out, "wall", report->wall_ns);
    mmh_json_out_end(&out);
    mmh_json_out_end(&out);
    (void)mmh_json_out_finish(&out);
}

static void tell_good(const struct mmh_cli_options *options, const char *container,
                      const mmh_unpack_report *report)
{
    uint64_t bytes = options->quick ? report->stored_bytes : report->original_bytes;
    char *clean = mmh_cli_clean(mmh_cli_shown(container));
    printf("%s: ok, ", clean);
    if (report->file_count > 1) /* files, folders, symlinks */
        printf("%s, ", mmh_human_things(report->file_count, "entry", "entries").text);
    printf("%s, %s%s, %s\n", mmh_human_things(report->chunk_count, "chunk", "chunks").text,
           mmh_human_bytes(bytes).text, options->quick ? " stored, not decoded" : "",
           mmh_human_rate(bytes, report->wall_ns).text);
    free(clean);
    fflush(stdout);
}

static int verify_one(const struct mmh_cli_options *options, mmh_context *context, const char *path,
                      const char *shown)
{
    mmh_error err = { 0 };
    mmh_unpack_report report = { .struct_size = sizeof report };
    struct damage_list damage = { 0 };
    mmh_verify_options verify = { .struct_size = sizeof verify,
                                  .quick = options->quick,
                                  .damage = keep_damage,
                                  .damage_user = &damage };
    mmh_status status = mmh_verify(context, path, &verify, &report, &err);
    mmh_bar_end();
    int code = mmh_exit_of(status);
    if (status == MMH_E_CORRUPT && report.mended) {
        code = MMH_EXIT_DAMAGED;
        snprintf(err.message, sizeof err.message, "%.400s is damaged (%s), and can be restored",
                 mmh_cli_shown(shown), mmh_cli_mended_text(report.mended).text);
    }
    if (status != MMH_OK)
        code = mmh_cli_tell_container(options, shown, &err, code);
    else if (!options->json && !options->quiet)
        tell_good(options, shown, &report);
    if (damage.count)
        tell_damage(options, &damage, &report);
    if (status == MMH_OK && options->verbose)
        mmh_message_note("  time: read %s, hash %s, decode %s; wall %s",
                         mmh_human_time(report.read_ns).text, mmh_human_time(report.hash_ns).text,
                         mmh_human_time(report.decode_ns).text,
                         mmh_human_time(report.wall_ns).text);
    if (options->json)
        write_json(options, shown, &report, &damage, &err, code);
    free_damage(&damage);
    return code;
}

int mmh_cmd_verify(const struct mmh_cli_options *options, mmh_context *context)
{
    int code = MMH_EXIT_OK;
    for (size_t i = 0; i < options->input_count && code != MMH_EXIT_INTERRUPTED; i++) {
        const char *container = options->inputs[i];
        int one;
        mmh_bar_begin(container, i, options->input_count);
        const char *path = mmh_cli_begin_input(options, container, NULL, &one);
        if (path) {
            mmh_bar_begin(container, i, options->input_count);
            one = verify_one(options, context, path, container);
        }
        mmh_cli_end_input();
        code = mmh_exit_worse(code, one);
    }
    return code;
}
