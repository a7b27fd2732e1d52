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
    KEPT_MAX = 10000,     /* entries of the list: a small container may have a great many */
    NAMES_MAX = 4 << 20,  /* bytes of their names, which may be of any length */
    RANGES_TOLD = 8,      /* without -v */
    TENSORS_TOLD = 4,     /* the same, of each */
    NAME_TOLD_BYTES = 200 /* of each name */
};

/* A range of a file that cannot be had, or after it a tensor that it hits. */
struct entry {
    char *file;   /* NULL: a chunk that no file needs, or a tensor */
    char *tensor; /* NULL: a range */
    uint64_t offset, bytes;
    size_t tensors; /* that a range hits, kept or not */
    bool unsearched;
};

struct damage_list {
    struct entry *entries;
    size_t count, room;
    size_t name_bytes;
    size_t last; /* 1 + the last range told, if it is kept; else 0 */
    bool cut;    /* there was more */
};

static bool has_room(struct damage_list *list, size_t name_bytes)
{
    list->cut = list->cut || list->count == KEPT_MAX || name_bytes > NAMES_MAX - list->name_bytes;
    if (list->cut)
        return false;
    list->name_bytes += name_bytes;
    if (list->count < list->room)
        return true;
    list->room = list->room ? 2 * list->room : 16;
    struct entry *grown = mmh_cli_alloc(list->room * sizeof *grown);
    if (list->count)
        memcpy(grown, list->entries, list->count * sizeof *grown);
    free(list->entries);
    list->entries = grown;
    return true;
}

static void keep_damage(void *user, const mmh_damage *damage)
{
    struct damage_list *list = user;
    const char *name = damage->tensor ? damage->tensor : damage->name;
    if (!damage->tensor)
        list->last = 0;
    else if (list->last)
        list->entries[list->last - 1].tensors++;
    if (!has_room(list, name ? strlen(name) : 0))
        return;
    struct entry *entry = &list->entries[list->count++];
    *entry = (struct entry){ .offset = damage->offset,
                             .bytes = damage->bytes,
                             .unsearched = damage->unsearched };
    if (damage->tensor)
        entry->tensor = mmh_cli_format("%s", name);
    else if (name)
        entry->file = mmh_cli_format("%s", name);
    if (!damage->tensor)
        list->last = list->count;
}

static void free_damage(struct damage_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->entries[i].file);
        free(list->entries[i].tensor);
    }
    free(list->entries);
}

/* "  "model.safetensors", 65536 bytes at 1024: "a", "b"", for people. */
static void tell_range(const struct mmh_cli_options *options, const struct entry *range,
                       size_t kept)
{
    if (!range->file) {
        mmh_message_note("  a chunk that no file needs");
        return;
    }
    size_t told = options->verbose ? 0 : kept < TENSORS_TOLD ? kept : (size_t)TENSORS_TOLD;
    char *line = mmh_cli_format("  \"%.*s\", %" PRIu64 " bytes at %" PRIu64 "%s", NAME_TOLD_BYTES,
                                range->file, range->bytes, range->offset,
                                range->unsearched ? ": too many tensors to look for those hit"
                                                  : "");
    for (size_t t = 0; t < told; t++) {
        char *longer = mmh_cli_format("%s%s\"%.*s\"", line, t ? ", " : ": ", NAME_TOLD_BYTES,
                                      range[1 + t].tensor);
        free(line);
        line = longer;
    }
    if (!options->verbose && told && range->tensors > told)
        mmh_message_note("%s, and %zu more", line, range->tensors - told);
    else
        mmh_message_note("%s", line);
    free(line);
    for (size_t t = 0; t < kept && options->verbose; t++)
        mmh_message_note("    \"%.*s\", %s", NAME_TOLD_BYTES, range[1 + t].tensor,
                         mmh_human_bytes(range[1 + t].bytes).text);
}

static void tell_damage(const struct mmh_cli_options *options, const struct damage_list *list,
                        const mmh_unpack_report *report, bool whole)
{
    size_t ranges = 0, next;
    struct mmh_human chunks = mmh_human_things(report->damaged_chunks, "chunk", "chunks");
    mmh_message_note("  damaged%s: %s, %s of %s", whole ? "" : " as far as was looked at",
                     report->damaged_chunks ? chunks.text : "other content than was packed",
                     mmh_human_bytes(report->damaged_bytes).text,
                     mmh_human_bytes(report->original_bytes).text);
    for (size_t i = 0; i < list->count; i = next) {
        for (next = i + 1; next < list->count && list->entries[next].tensor;)
            next++;
        if (!options->verbose && ranges == RANGES_TOLD) {
            mmh_message_note(list->cut ? "  and more (-v lists more)"
                                       : "  and more (-v lists all)");
            return;
        }
        ranges++;
        tell_range(options, &list->entries[i], next - i - 1);
    }
    if (list->cut)
        mmh_message_note("  and more than is listed");
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
        if (range->unsearched) {
            mmh_json_out_null(out, "tensors");
        } else {
            mmh_json_out_array(out, "tensors");
            for (; i < list->count && list->entries[i].tensor; i++)
                mmh_json_out_text(out, NULL, list->entries[i].tensor);
            mmh_json_out_end(out);
        }
        mmh_json_out_end(out);
    }
    mmh_json_out_end(out);
    mmh_json_out_bool(out, "damage_cut", list->cut);
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
                                  .damage = options->quiet && !options->json ? NULL : keep_damage,
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
        code = report.stored_bytes ? mmh_cli_tell_opened(options, &err, code)
                                   : mmh_cli_tell_container(options, shown, &err, code);
    else if (!options->json && !options->quiet)
        tell_good(options, shown, &report);
    if (damage.count)
        tell_damage(options, &damage, &report, status == MMH_E_CORRUPT);
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
