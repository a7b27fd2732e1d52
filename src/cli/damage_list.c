/*
 * What is lost of a container's files: kept while it is told by the library, for people and for JSON.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/damage_list.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEPT_MAX = 10000,     /* entries of the list: a small container may have a great many */
    NAMES_MAX = 4 << 20,  /* bytes of their names, which may be of any length */
    RANGES_TOLD = 8,      /* without -v */
    TENSORS_TOLD = 4,     /* the same, of each */
    NAME_TOLD_BYTES = 200 /* of each name */
};

static bool has_room(struct mmh_damage_list *list, size_t name_bytes)
{
    list->cut = list->cut || list->count == KEPT_MAX || name_bytes > NAMES_MAX - list->name_bytes;
    if (list->cut)
        return false;
    list->name_bytes += name_bytes;
    if (list->count < list->room)
        return true;
    list->room = list->room ? 2 * list->room : 16;
    struct mmh_damage_entry *grown = mmh_cli_alloc(list->room * sizeof *grown);
    if (list->count)
        memcpy(grown, list->entries, list->count * sizeof *grown);
    free(list->entries);
    list->entries = grown;
    return true;
}

void mmh_cli_damage_keep(void *user, const mmh_damage *damage)
{
    struct mmh_damage_list *list = user;
    const char *name = damage->tensor ? damage->tensor : damage->name;
    if (!damage->tensor)
        list->last = 0;
    else if (list->last)
        list->entries[list->last - 1].tensors++;
    if (!has_room(list, name ? strlen(name) : 0))
        return;
    struct mmh_damage_entry *entry = &list->entries[list->count++];
    *entry = (struct mmh_damage_entry){ .offset = damage->offset,
                                        .bytes = damage->bytes,
                                        .unsearched = damage->unsearched };
    if (damage->tensor)
        entry->tensor = mmh_cli_format("%s", name);
    else if (name)
        entry->file = mmh_cli_format("%s", name);
    if (!damage->tensor)
        list->last = list->count;
}

void mmh_cli_damage_release(struct mmh_damage_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->entries[i].file);
        free(list->entries[i].tensor);
    }
    free(list->entries);
}

/* "  "model.safetensors", 65536 bytes at offset 1024: tensors "a", "b"", for people. */
static void tell_range(const struct mmh_cli_options *options, const struct mmh_damage_entry *range,
                       size_t kept)
{
    if (!range->file) {
        mmh_message_note("  a chunk of no file that is known");
        return;
    }
    size_t told = options->verbose ? 0 : kept < TENSORS_TOLD ? kept : (size_t)TENSORS_TOLD;
    char *line = mmh_cli_format("  \"%.*s\", %" PRIu64 " bytes at offset %" PRIu64 "%s",
                                NAME_TOLD_BYTES, range->file, range->bytes, range->offset,
                                range->unsearched ? ": too many tensors to look for those hit"
                                                  : "");
    for (size_t t = 0; t < told; t++) {
        char *longer = mmh_cli_format("%s%s\"%.*s\"", line,
                                      t                     ? ", "
                                      : range->tensors == 1 ? ": tensor "
                                                            : ": tensors ",
                                      NAME_TOLD_BYTES, range[1 + t].tensor);
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

void mmh_cli_damage_tell(const struct mmh_cli_options *options, const struct mmh_damage_list *list,
                         const mmh_unpack_report *report, bool whole)
{
    size_t ranges = 0, next;
    struct mmh_human chunks = mmh_human_things(report->damaged_chunks, "chunk", "chunks");
    char *bytes = report->original_bytes /* else nothing is known of files: there is no key */
                    ? mmh_cli_format(", %s of %s", mmh_human_bytes(report->damaged_bytes).text,
                                     mmh_human_bytes(report->original_bytes).text)
                    : mmh_cli_format("%s", "");
    mmh_message_note("  damaged%s: %s%s", whole ? "" : " as far as was looked at",
                     report->damaged_chunks ? chunks.text : "other content than was packed", bytes);
    free(bytes);
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

void mmh_cli_damage_json(struct mmh_json_out *out, const struct mmh_damage_list *list,
                         const mmh_unpack_report *report)
{
    if (report) {
        mmh_json_out_u64(out, "damaged_chunks", report->damaged_chunks);
        mmh_json_out_u64(out, "damaged_bytes", report->damaged_bytes);
    }
    mmh_json_out_array(out, "damage");
    for (size_t i = 0; i < list->count;) {
        const struct mmh_damage_entry *range = &list->entries[i++];
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
