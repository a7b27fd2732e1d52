/*
 * mmh report: what was found as JSON, and the page that shows it.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Names in a model are anybody's: in the page they are inside the JSON alone, where no '<' is left,
 * and its script makes text of them, never markup.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/guard_text.h"
#include "cli/report.h"

static const char *const kind_names[MMH_REPORT_KIND_COUNT] = { "group", "tensor", "together",
                                                               "rest", "file" };
static const char *const change_names[MMH_REPORT_CHANGE_COUNT] = { "same",  "values", "type",
                                                                   "shape", "layout", "only_first",
                                                                   "unread" };

/* ---- state ---- */

static void write_container(struct mmh_json_out *out, const struct mmh_report *report)
{
    const mmh_container_info *info = &report->info;
    mmh_security_info security = { .struct_size = sizeof security };
    if (!report->is_container) {
        mmh_json_out_null(out, "container");
        return;
    }
    mmh_json_out_object(out, "container");
    mmh_json_out_u64(out, "stored_bytes", report->file_bytes);
    if (report->reader) {
        mmh_json_out_object(out, "format");
        mmh_json_out_u64(out, "major", info->format_major);
        mmh_json_out_u64(out, "minor", info->format_minor);
        mmh_json_out_end(out);
        mmh_json_out_text(out, "writer", info->writer);
        mmh_json_out_u64(out, "level", (uint64_t)(info->level > 0 ? info->level : 0));
        mmh_json_out_text(out, "hash", info->hash_suite);
        mmh_json_out_hex(out, "root", info->root_bytes ? info->whole_root : info->root,
                         info->root_bytes ? info->root_bytes : sizeof info->root);
        mmh_json_out_u64(out, "index_bytes", info->index_bytes);
        mmh_json_out_u64(out, "blocks", info->block_count);
        mmh_json_out_u64(out, "chunks", info->chunk_count);
    } else {
        bool known = report->security &&
                     mmh_security_get(report->security, &security, NULL) == MMH_OK;
        mmh_json_out_null(out, "format");
        mmh_json_out_null(out, "writer");
        mmh_json_out_null(out, "level");
        mmh_json_out_text(out, "hash", known ? security.hash_suite : NULL);
        if (known)
            mmh_json_out_hex(out, "root", security.root, security.root_bytes);
        else
            mmh_json_out_null(out, "root");
        mmh_json_out_null(out, "index_bytes");
        mmh_json_out_null(out, "blocks");
        mmh_json_out_null(out, "chunks");
    }
    mmh_json_out_end(out);
}

static void write_state(struct mmh_json_out *out, const struct mmh_report *report)
{
    if (!report->is_container) {
        mmh_json_out_null(out, "state");
    } else {
        mmh_json_out_object(out, "state");
        mmh_json_out_bool(out, "quick", report->quick);
        mmh_cli_json_mended(out, report->verified.mended);
        mmh_cli_damage_json(out, &report->damage, &report->verified);
        mmh_cli_layers_json(out, &report->layers);
        mmh_json_out_bool(out, "guards_read", report->security != NULL);
        mmh_json_out_end(out);
    }
    mmh_cli_guard_json(out, report->security);
}

/* ---- content ---- */

static void write_type(struct mmh_json_out *out, mmh_dtype dtype)
{
    const struct mmh_report_type type = mmh_report_type_of(dtype);
    mmh_json_out_object(out, NULL);
    mmh_json_out_text(out, "name", mmh_dtype_text(dtype));
    mmh_json_out_u64(out, "bits", type.bits);
    mmh_json_out_bool(out, "in_blocks", type.in_blocks);
    mmh_json_out_bool(out, "sign", type.has_sign);
    mmh_json_out_u64(out, "exponent_bits", type.exponent_bits);
    mmh_json_out_u64(out, "mantissa_bits", type.mantissa_bits);
    mmh_json_out_i64(out, "bias", type.bias);
    mmh_json_out_end(out);
}

static void write_types(struct mmh_json_out *out, const struct mmh_report_tree *tree)
{
    bool occurs[MMH_DTYPE_COUNT] = { false };
    for (size_t i = 0; i < tree->tensor_count; i++)
        occurs[tree->tensors[i].dtype] = true;
    mmh_json_out_array(out, "types");
    for (int dtype = 0; dtype < MMH_DTYPE_COUNT; dtype++)
        if (occurs[dtype])
            write_type(out, (mmh_dtype)dtype);
    mmh_json_out_end(out);
}

/* *room: bins that there is room for. Returns how many types have none for want of it. */
static size_t write_statistics(struct mmh_json_out *out, const struct mmh_report_node *node,
                               size_t *room)
{
    size_t without = 0;
    mmh_json_out_array(out, "statistics");
    for (const struct mmh_report_statistics *one = node->statistics; one; one = one->next) {
        const struct mmh_report_type type = mmh_report_type_of(one->dtype);
        mmh_json_out_object(out, NULL);
        mmh_json_out_text(out, "dtype", mmh_dtype_text(one->dtype));
        mmh_json_out_u64(out, "tensors", one->tensors);
        mmh_json_out_u64(out, "values", one->values);
        mmh_json_out_u64(out, "counted", one->counted);
        if (one->unread_bytes)
            mmh_json_out_u64(out, "unread_bytes", one->unread_bytes);
        mmh_json_out_u64(out, "floor_bytes", mmh_report_floor(one));
        mmh_json_out_array(out, "ones");
        for (unsigned b = 0; b < type.bits; b++)
            mmh_json_out_u64(out, NULL, one->ones[b]);
        mmh_json_out_end(out);
        if (mmh_report_symbol_bits(&type) && one->bin_count > *room) {
            without++;
        } else if (mmh_report_symbol_bits(&type)) {
            *room -= one->bin_count;
            if (type.exponent_bits)
                mmh_json_out_u64(out, "lowest", one->lowest);
            mmh_json_out_u64(out, "first_bin", one->first_bin);
            mmh_json_out_array(out, "bins");
            for (unsigned i = 0; i < one->bin_count; i++)
                mmh_json_out_u64(out, NULL, one->bins[i]);
            mmh_json_out_end(out);
        }
        mmh_json_out_end(out);
    }
    mmh_json_out_end(out);
    return without;
}

static void write_change(struct mmh_json_out *out, const struct mmh_report_change *change)
{
    mmh_json_out_object(out, "change");
    mmh_json_out_object(out, "tensors");
    for (int kind = 0; kind < MMH_REPORT_CHANGE_COUNT; kind++)
        mmh_json_out_u64(out, change_names[kind], change->tensors[kind]);
    mmh_json_out_end(out);
    mmh_json_out_u64(out, "elements", change->elements);
    mmh_json_out_u64(out, "differing", change->differing);
    mmh_json_out_u64(out, "unmeasured", change->unmeasured);
    mmh_json_out_double(out, "max_absolute", change->max_absolute);
    mmh_json_out_double(out, "difference_norm", sqrt(change->difference_square));
    mmh_json_out_double(out, "first_norm", sqrt(change->first_square));
    mmh_json_out_end(out);
}

static bool write_shape(struct mmh_json_out *out, const struct mmh_report *report,
                        const struct mmh_report_node *node)
{
    enum { DIMENSIONS_TOLD = 8 };
    mmh_tensor_info info = { .struct_size = sizeof info };
    if (mmh_tensor(report->reader, report->tree.tensors[node->first].number, &info, NULL) != MMH_OK)
        return false;
    mmh_json_out_text(out, "dtype", mmh_dtype_text(info.dtype));
    mmh_json_out_array(out, "shape");
    for (uint32_t d = 0; d < info.dimensions && d < DIMENSIONS_TOLD; d++)
        mmh_json_out_u64(out, NULL, info.shape[d]);
    mmh_json_out_end(out);
    if (info.dimensions > DIMENSIONS_TOLD)
        mmh_json_out_u64(out, "dimensions", info.dimensions);
    return true;
}

/* Returns for how many there was no room for a histogram. */
static size_t write_nodes(struct mmh_json_out *out, const struct mmh_report *report)
{
    size_t room = MMH_REPORT_BINS_MAX, without = 0;
    const struct mmh_report_tree *tree = &report->tree;
    mmh_json_out_array(out, "nodes");
    for (size_t i = 0; i < tree->node_count; i++) {
        const struct mmh_report_node *node = &tree->nodes[i];
        bool counts = !node->is_open && node->tensor_count;
        mmh_json_out_object(out, NULL);
        if (node->parent == MMH_REPORT_NONE)
            mmh_json_out_null(out, "parent");
        else
            mmh_json_out_u64(out, "parent", node->parent);
        mmh_json_out_text(out, "kind", kind_names[node->kind]);
        mmh_json_out_text(out, "name", node->name);
        mmh_json_out_u64(out, "tensors", node->tensor_count);
        mmh_json_out_u64(out, "bytes", node->bytes);
        if (report->is_container)
            mmh_json_out_u64(out, "stored_bytes", node->stored_bytes);
        else
            mmh_json_out_null(out, "stored_bytes");
        if (node->kind == MMH_REPORT_TENSOR)
            (void)write_shape(out, report, node);
        if (counts)
            without += write_statistics(out, node, &room);
        if (counts && report->second)
            write_change(out, &node->change);
        mmh_json_out_end(out);
    }
    mmh_json_out_end(out);
    return without;
}

static void write_content(struct mmh_json_out *out, const struct mmh_report *report)
{
    const mmh_container_info *info = &report->info;
    const struct mmh_report_tree *tree = &report->tree;
    uint64_t apart = 0;
    if (!report->reader) {
        mmh_json_out_null(out, "content");
        return;
    }
    for (size_t i = 0; i < tree->node_count; i++)
        if (!tree->nodes[i].is_open && tree->nodes[i].kind != MMH_REPORT_TENSOR)
            apart += tree->nodes[i].tensor_count;
    mmh_json_out_object(out, "content");
    mmh_json_out_u64(out, "original_bytes", info->original_bytes);
    if (report->is_container)
        mmh_json_out_u64(out, "floor_bytes", info->floor_bytes);
    else
        mmh_json_out_null(out, "floor_bytes");
    mmh_cli_json_usage(out, "by_dtype", info->by_dtype, info->by_dtype_count);
    mmh_cli_json_usage(out, "by_codec", info->by_codec, info->by_codec_count);
    mmh_json_out_u64(out, "files", info->file_count);
    mmh_json_out_u64(out, "tensors", info->tensor_count);
    mmh_json_out_u64(out, "tensors_together", apart); /* in nodes that show several as one */
    mmh_json_out_bool(out, "every_value", report->every_value);
    mmh_json_out_u64(out, "values", report->sums.values);
    mmh_json_out_u64(out, "counted", report->sums.counted);
    mmh_json_out_u64(out, "unread_bytes", report->sums.unread_bytes);
    write_types(out, tree);
    size_t without = write_nodes(out, report);
    mmh_json_out_u64(out, "without_histogram", without);
    if (report->second) {
        mmh_json_out_object(out, "changes");
        mmh_json_out_u64(out, "only_second", report->changes.only_second);
        mmh_json_out_array(out, "only_second_names");
        for (size_t i = 0; i < report->changes.name_count; i++)
            mmh_json_out_text(out, NULL, report->changes.names[i]);
        mmh_json_out_end(out);
        mmh_json_out_end(out);
    } else {
        mmh_json_out_null(out, "changes");
    }
    mmh_json_out_end(out);
}

bool mmh_report_write_json(const struct mmh_report *report, FILE *file)
{
    struct mmh_json_out out;
    mmh_json_out_begin(&out, file);
    out.compact = true;
    mmh_json_out_object(&out, NULL);
    mmh_json_out_text(&out, "verb", mmh_verb_name(MMH_VERB_REPORT));
    mmh_json_out_text(&out, "input", report->input);
    mmh_json_out_text(&out, "status", mmh_status_name(report->problem.status));
    mmh_json_out_u64(&out, "exit", (uint64_t)report->exit_code);
    if (report->problem.status != MMH_OK)
        mmh_json_out_text(&out, "message", report->problem.message);
    mmh_json_out_text(&out, "second", report->second);
    mmh_json_out_text(&out, "version", mmh_version());
    write_container(&out, report);
    write_state(&out, report);
    write_content(&out, report);
    mmh_json_out_end(&out);
    return mmh_json_out_finish(&out);
}

/* ---- the page ---- */

/* JSON as the content of a script element: what would end or begin anything there becomes an escape,
 * which strings alone can need. */
static void put_inert(FILE *file, const char *json, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (json[i] == '<' || json[i] == '>' || json[i] == '&')
            fprintf(file, "\\u%04x", (unsigned)json[i]);
        else
            putc(json[i], file);
    }
}

static void put_title(FILE *file, const char *text)
{
    char *clean = mmh_cli_clean(text);
    for (const char *at = clean; *at; at++)
        switch (*at) {
        case '&':
            fputs("&amp;", file);
            break;
        case '<':
            fputs("&lt;", file);
            break;
        case '>':
            fputs("&gt;", file);
            break;
        default:
            putc(*at, file);
        }
    free(clean);
}

bool mmh_report_write_page(const struct mmh_report *report, FILE *file)
{
    static const char title_mark[] = "@title@", data_mark[] = "@data@";
    const char *title = strstr(mmh_report_page, title_mark);
    const char *data = title ? strstr(title, data_mark) : NULL;
    char *json = NULL;
    size_t bytes = 0;
    FILE *memory = data ? open_memstream(&json, &bytes) : NULL;
    if (!memory)
        return false;
    bool good = mmh_report_write_json(report, memory);
    if (fclose(memory) != 0)
        good = false;
    if (good) {
        fwrite(mmh_report_page, 1, (size_t)(title - mmh_report_page), file);
        put_title(file, mmh_cli_base_name(mmh_cli_shown(report->input)));
        title += sizeof title_mark - 1;
        fwrite(title, 1, (size_t)(data - title), file);
        put_inert(file, json, bytes);
        data += sizeof data_mark - 1;
        fwrite(data, 1, mmh_report_page_bytes - (size_t)(data - mmh_report_page), file);
        good = fflush(file) == 0 && !ferror(file);
    }
    free(json);
    return good;
}
