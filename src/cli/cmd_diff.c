/*
 * mmh diff: which tensors differ, and by how much.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/host.h"
#include "cli/progress.h"
#include "cli/table.h"

enum change { SAME, VALUES, TYPE, SHAPE, LAYOUT, ONLY_A, ONLY_B, CHANGE_COUNT };
static const char *const change_names[CHANGE_COUNT] = { "same",   "values", "type",  "shape",
                                                        "layout", "only_a", "only_b" };

/* One tensor, on one side or both. */
struct pair {
    enum change change;
    mmh_tensor_info a, b; /* name NULL: not there */
    const char *a_file, *b_file;
    uint64_t a_number, b_number;
    mmh_difference difference;
};

/* One file, on one side or both. */
struct file_pair {
    enum change change;
    const char *what; /* of VALUES: how it differs */
    mmh_file_info a, b;
    uint64_t a_number, b_number;
    bool has_offset;
    uint64_t offset; /* the first byte that differs */
    bool tensors_differ;
};

/* A tensor of B, for finding it by name. */
struct entry {
    const char *name, *file;
    uint64_t number;
    bool taken;
};

struct diff {
    const struct mmh_cli_options *options;
    mmh_reader *a, *b;
    struct pair *pairs;
    size_t pair_count;
    struct file_pair *files;
    size_t file_count;
    uint64_t counts[CHANGE_COUNT], file_changes;
    mmh_error *err;
};

/* ---- matching ---- */

static int by_name(const void *x, const void *y)
{
    const struct entry *a = x, *b = y;
    int order = strcmp(a->name, b->name);
    return order ? order : strcmp(a->file, b->file);
}

static uint64_t tensor_count(mmh_reader *reader)
{
    mmh_container_info info = { .struct_size = sizeof info };
    return mmh_container(reader, &info, NULL) == MMH_OK ? info.tensor_count : 0;
}

static uint64_t file_count(mmh_reader *reader)
{
    mmh_container_info info = { .struct_size = sizeof info };
    return mmh_container(reader, &info, NULL) == MMH_OK ? info.file_count : 0;
}

static mmh_status tensor_of(mmh_reader *reader, uint64_t number, mmh_tensor_info *tensor,
                            const char **file, mmh_error *err)
{
    mmh_file_info info = { .struct_size = sizeof info };
    *tensor = (mmh_tensor_info){ .struct_size = sizeof *tensor };
    mmh_status status = mmh_tensor(reader, number, tensor, err);
    if (status == MMH_OK)
        status = mmh_file(reader, tensor->file, &info, err);
    *file = info.name;
    return status;
}

/* B's tensor for one of A's: of that name, in the file of that name if several have it. */
static struct entry *match(struct entry *entries, size_t count, const struct pair *pair)
{
    size_t low = 0, high = count;
    struct entry *only = NULL;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(entries[middle].name, pair->a.name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    size_t found = 0;
    for (; low < count && strcmp(entries[low].name, pair->a.name) == 0; low++) {
        if (entries[low].taken)
            continue;
        if (strcmp(entries[low].file, pair->a_file) == 0)
            return &entries[low];
        only = &entries[low];
        found++;
    }
    return found == 1 ? only : NULL;
}

static mmh_status match_tensors(struct diff *diff)
{
    uint64_t a_count = tensor_count(diff->a), b_count = tensor_count(diff->b);
    struct entry *entries = mmh_cli_alloc((size_t)(b_count + 1) * sizeof *entries);
    mmh_status status = MMH_OK;
    diff->pairs = mmh_cli_alloc((size_t)(a_count + b_count + 1) * sizeof *diff->pairs);
    memset(diff->pairs, 0, (size_t)(a_count + b_count + 1) * sizeof *diff->pairs);
    for (uint64_t i = 0; i < b_count && status == MMH_OK; i++) {
        mmh_tensor_info tensor;
        entries[i] = (struct entry){ .number = i };
        status = tensor_of(diff->b, i, &tensor, &entries[i].file, diff->err);
        entries[i].name = tensor.name;
    }
    if (status == MMH_OK)
        qsort(entries, (size_t)b_count, sizeof *entries, by_name);
    for (uint64_t i = 0; i < a_count && status == MMH_OK; i++) {
        struct pair *pair = &diff->pairs[diff->pair_count];
        status = tensor_of(diff->a, i, &pair->a, &pair->a_file, diff->err);
        if (status != MMH_OK)
            break;
        pair->a_number = i;
        struct entry *entry = match(entries, (size_t)b_count, pair);
        pair->change = entry ? SAME : ONLY_A;
        if (entry) {
            entry->taken = true;
            pair->b_number = entry->number;
            status = tensor_of(diff->b, entry->number, &pair->b, &pair->b_file, diff->err);
        }
        diff->pair_count++;
    }
    for (uint64_t i = 0; i < b_count && status == MMH_OK; i++) {
        struct pair *pair = &diff->pairs[diff->pair_count];
        if (entries[i].taken)
            continue;
        pair->change = ONLY_B;
        pair->b_number = entries[i].number;
        status = tensor_of(diff->b, entries[i].number, &pair->b, &pair->b_file, diff->err);
        diff->pair_count++;
    }
    free(entries);
    return status;
}

/* Files by name; the only file of each side whatever they are called. */
static mmh_status match_files(struct diff *diff)
{
    uint64_t a_count = file_count(diff->a), b_count = file_count(diff->b);
    bool single = a_count == 1 && b_count == 1;
    mmh_status status = MMH_OK;
    size_t room = (size_t)(a_count + b_count + 1);
    diff->files = mmh_cli_alloc(room * sizeof *diff->files);
    memset(diff->files, 0, room * sizeof *diff->files);
    for (uint64_t a = 0, b = 0; (a < a_count || b < b_count) && status == MMH_OK;) {
        struct file_pair *pair = &diff->files[diff->file_count];
        pair->a.struct_size = sizeof pair->a;
        pair->b.struct_size = sizeof pair->b;
        if (a < a_count)
            status = mmh_file(diff->a, a, &pair->a, diff->err);
        if (b < b_count && status == MMH_OK)
            status = mmh_file(diff->b, b, &pair->b, diff->err);
        int order = a == a_count ? 1
                  : b == b_count ? -1
                  : single       ? 0
                                 : strcmp(pair->a.name, pair->b.name);
        pair->change = order < 0 ? ONLY_A : order > 0 ? ONLY_B : SAME;
        pair->a_number = a;
        pair->b_number = b;
        a += order <= 0;
        b += order >= 0;
        if (order < 0)
            pair->b.name = NULL;
        if (order > 0)
            pair->a.name = NULL;
        diff->file_count++;
    }
    return status;
}

/* ---- comparing ---- */

static bool same_shape(const mmh_tensor_info *a, const mmh_tensor_info *b)
{
    return a->dimensions == b->dimensions &&
           (!a->dimensions || memcmp(a->shape, b->shape, a->dimensions * sizeof *a->shape) == 0);
}

static mmh_status compare_tensors(struct diff *diff)
{
    mmh_status status = MMH_OK;
    for (size_t i = 0; i < diff->pair_count && status == MMH_OK; i++) {
        struct pair *pair = &diff->pairs[i];
        pair->difference.struct_size = sizeof pair->difference;
        if (pair->change == SAME) {
            bool numbers = true;
            if (!same_shape(&pair->a, &pair->b)) {
                pair->change = SHAPE;
                numbers = false;
            } else if (pair->a.column_major != pair->b.column_major && pair->a.dimensions > 1) {
                pair->change = LAYOUT;
                numbers = false;
            } else if (pair->a.dtype != pair->b.dtype) {
                pair->change = TYPE;
                unsigned values =
                    mmh_dtype_values(pair->a.dtype); /* 0: in blocks, not of numbers */
                numbers = values && values == mmh_dtype_values(pair->b.dtype);
            }
            mmh_bar_begin(pair->a.name, i, diff->pair_count);
            if (numbers)
                status = mmh_compare(diff->a, pair->a_number, diff->b, pair->b_number,
                                     &pair->difference, diff->err);
            if (pair->change == SAME && pair->difference.differing)
                pair->change = VALUES;
        }
        diff->counts[pair->change]++;
        for (size_t f = 0; f < diff->file_count && pair->change != SAME; f++)
            if ((pair->a.name && diff->files[f].a.name &&
                 diff->files[f].a_number == pair->a.file) ||
                (pair->b.name && diff->files[f].b.name && diff->files[f].b_number == pair->b.file))
                diff->files[f].tensors_differ = true;
    }
    return status;
}

static bool same_metadata(const struct diff *diff, const struct file_pair *pair)
{
    const char *a_key, *a_value, *b_key, *b_value;
    for (uint64_t i = 0;; i++) {
        bool a = mmh_metadata(diff->a, pair->a_number, i, &a_key, &a_value, NULL) == MMH_OK;
        bool b = mmh_metadata(diff->b, pair->b_number, i, &b_key, &b_value, NULL) == MMH_OK;
        if (!a || !b)
            return a == b;
        if (strcmp(a_key, b_key) != 0 || strcmp(a_value, b_value) != 0)
            return false;
    }
}

static mmh_status compare_files(struct diff *diff)
{
    mmh_status status = MMH_OK;
    for (size_t i = 0; i < diff->file_count && status == MMH_OK; i++) {
        struct file_pair *pair = &diff->files[i];
        bool equal = true;
        if (pair->change == SAME && pair->a.kind != pair->b.kind)
            pair->what = "kind differs";
        else if (pair->change == SAME && pair->a.kind == MMH_FILE_SYMLINK)
            pair->what = strcmp(pair->a.link_target, pair->b.link_target) ? "target differs" : NULL;
        else if (pair->change == SAME && pair->a.kind == MMH_FILE_REGULAR) {
            /* The bytes of tensors that differ are told already: what else is different? */
            if (!same_metadata(diff, pair)) {
                pair->what = "metadata differs";
            } else if (!pair->tensors_differ) {
                mmh_bar_begin(pair->a.name, i, diff->file_count);
                status = mmh_compare_files(diff->a, pair->a_number, diff->b, pair->b_number, &equal,
                                           &pair->offset, diff->err);
                pair->has_offset = !equal;
                if (!equal)
                    pair->what = pair->a.tensor_count ? "same tensors, other bytes differ"
                                                      : "content differs";
            }
        }
        if (pair->change == SAME && !pair->what && pair->a.kind == pair->b.kind &&
            pair->a.kind != MMH_FILE_SYMLINK && file_count(diff->a) > 1 &&
            pair->a.mode != pair->b.mode)
            pair->what = "mode differs";
        if (pair->what)
            pair->change = VALUES;
        diff->file_changes += pair->change != SAME;
    }
    mmh_bar_end();
    return status;
}

/* ---- telling ---- */

static struct mmh_human distance_text(double value)
{
    struct mmh_human human;
    snprintf(human.text, sizeof human.text, "%.3g", value);
    return human;
}

static struct mmh_human relative_text(const mmh_difference *difference)
{
    struct mmh_human human;
    double share = difference->difference_norm / difference->first_norm;
    if (difference->difference_norm == 0)
        snprintf(human.text, sizeof human.text, "0");
    else if (!isfinite(share))
        snprintf(human.text, sizeof human.text, "-");
    else
        snprintf(human.text, sizeof human.text, "%.3g", share);
    return human;
}

/* Whether a pair that was compared is of blocks, which have no distances. */
static bool in_blocks(const struct pair *pair)
{
    return pair->difference.element_count && !mmh_dtype_values(pair->a.dtype);
}

static void pair_row(mmh_table *table, const struct pair *pair)
{
    char a_shape[64 * 24], b_shape[64 * 24];
    const mmh_tensor_info *one = pair->a.name ? &pair->a : &pair->b;
    const mmh_difference *difference = &pair->difference;
    bool numbers = difference->element_count != 0;
    mmh_cli_shape(a_shape, sizeof a_shape, one);
    mmh_cli_shape(b_shape, sizeof b_shape, pair->b.name ? &pair->b : one);
    mmh_table_cell(table, "%s", pair->change == ONLY_A ? "-" : pair->change == ONLY_B ? "+" : "~");
    mmh_table_cell(table, "%s", one->name);
    if (pair->change == TYPE)
        mmh_table_cell(table, "%s -> %s", mmh_dtype_text(pair->a.dtype),
                       mmh_dtype_text(pair->b.dtype));
    else
        mmh_table_cell(table, "%s", mmh_dtype_text(one->dtype));
    if (pair->change == SHAPE)
        mmh_table_cell(table, "%s -> %s", a_shape, b_shape);
    else
        mmh_table_cell(table, "%s%s", a_shape, pair->change == LAYOUT ? " other order" : "");
    if (!numbers) {
        for (int i = 0; i < 4; i++)
            mmh_table_cell(table, "%s", "");
        return;
    }
    if (in_blocks(pair))
        mmh_table_cell(table, "%s",
                       mmh_human_things(difference->differing, "block", "blocks").text);
    else
        mmh_table_cell(table, "%s", mmh_human_count(difference->differing).text);
    mmh_table_cell(table, "%s",
                   mmh_human_percent(difference->differing, difference->element_count).text);
    if (in_blocks(pair)) {
        mmh_table_cell(table, "%s", "");
        mmh_table_cell(table, "%s", "");
        return;
    }
    mmh_table_cell(table, "%s%s", distance_text(difference->max_absolute).text,
                   difference->unmeasured ? " !" : "");
    mmh_table_cell(table, "%s", relative_text(difference).text);
}

static void print_tensors(const struct diff *diff)
{
    static const char *const heading[] = { "",       "tensor", "type",    "shape",
                                           "differ", "share",  "max |d|", "relative" };
    uint64_t unmeasured = 0;
    mmh_table *table = mmh_table_create("llLLrRrR");
    for (size_t i = 0; i < sizeof heading / sizeof *heading; i++)
        mmh_table_cell(table, "%s", heading[i]);
    mmh_table_heading(table);
    for (size_t i = 0; i < diff->pair_count; i++)
        if (diff->pairs[i].change != SAME) {
            pair_row(table, &diff->pairs[i]);
            if (!in_blocks(&diff->pairs[i]))
                unmeasured += diff->pairs[i].difference.unmeasured;
        }
    mmh_table_print(table, stdout, "");
    mmh_table_destroy(table);
    if (unmeasured)
        printf("!: with %s of NaN or infinity, which no distance counts\n",
               mmh_human_things(unmeasured, "element", "elements").text);
}

static void print_files(const struct diff *diff)
{
    for (size_t i = 0; i < diff->file_count; i++) {
        const struct file_pair *pair = &diff->files[i];
        if (pair->change == SAME)
            continue;
        char *name = mmh_cli_clean(pair->a.name ? pair->a.name : pair->b.name);
        printf("%s %s", pair->change == ONLY_A ? "-" : pair->change == ONLY_B ? "+" : "~", name);
        if (pair->what)
            printf(": %s", pair->what);
        if (pair->has_offset)
            printf(", from byte %" PRIu64 " on (%" PRIu64 " and %" PRIu64 " bytes)", pair->offset,
                   pair->a.bytes, pair->b.bytes);
        if (pair->what && strcmp(pair->what, "mode differs") == 0)
            printf(": %04o and %04o", (unsigned)pair->a.mode, (unsigned)pair->b.mode);
        putchar('\n');
        free(name);
    }
}

static void print_counts(const struct diff *diff)
{
    uint64_t changed = diff->counts[VALUES] + diff->counts[TYPE] + diff->counts[SHAPE] +
                       diff->counts[LAYOUT];
    printf("%s the same, %s differ", mmh_human_things(diff->counts[SAME], "tensor", "tensors").text,
           mmh_human_count(changed).text);
    if (diff->counts[ONLY_A])
        printf(", %s only in A (-)", mmh_human_count(diff->counts[ONLY_A]).text);
    if (diff->counts[ONLY_B])
        printf(", %s only in B (+)", mmh_human_count(diff->counts[ONLY_B]).text);
    if (diff->file_changes)
        printf("; %s changed otherwise",
               mmh_human_things(diff->file_changes, "file", "files").text);
    putchar('\n');
}

static void json_side(struct mmh_json_out *out, const char *key, const mmh_tensor_info *tensor,
                      const char *file)
{
    if (!tensor->name) {
        mmh_json_out_null(out, key);
        return;
    }
    mmh_json_out_object(out, key);
    mmh_json_out_text(out, "file", file);
    mmh_json_out_text(out, "dtype", mmh_dtype_text(tensor->dtype));
    mmh_json_out_array(out, "shape");
    for (uint32_t d = 0; d < tensor->dimensions; d++)
        mmh_json_out_u64(out, NULL, tensor->shape[d]);
    mmh_json_out_end(out);
    mmh_json_out_end(out);
}

static void write_json(const struct diff *diff, int code, bool identical)
{
    struct mmh_json_out out;
    mmh_cli_json_begin(&out, diff->options, diff->options->inputs[0], MMH_OK, code);
    mmh_json_out_text(&out, "other", diff->options->inputs[1]);
    mmh_json_out_bool(&out, "identical", identical);
    mmh_json_out_u64(&out, "same_tensors", diff->counts[SAME]);
    mmh_json_out_array(&out, "tensors");
    for (size_t i = 0; i < diff->pair_count; i++) {
        const struct pair *pair = &diff->pairs[i];
        const mmh_difference *difference = &pair->difference;
        if (pair->change == SAME)
            continue;
        mmh_json_out_object(&out, NULL);
        mmh_json_out_text(&out, "name", pair->a.name ? pair->a.name : pair->b.name);
        mmh_json_out_text(&out, "change", change_names[pair->change]);
        json_side(&out, "a", &pair->a, pair->a_file);
        json_side(&out, "b", &pair->b, pair->b_file);
        if (in_blocks(pair)) {
            mmh_json_out_u64(&out, "blocks", difference->element_count);
            mmh_json_out_u64(&out, "differing", difference->differing);
        } else if (difference->element_count) {
            mmh_json_out_u64(&out, "elements", difference->element_count);
            mmh_json_out_u64(&out, "differing", difference->differing);
            mmh_json_out_u64(&out, "unmeasured", difference->unmeasured);
            mmh_json_out_double(&out, "max_absolute", difference->max_absolute);
            mmh_json_out_u64(&out, "max_element", difference->max_element);
            mmh_json_out_double(&out, "max_relative", difference->max_relative);
            mmh_json_out_double(&out, "difference_norm", difference->difference_norm);
            mmh_json_out_double(&out, "a_norm", difference->first_norm);
        }
        mmh_json_out_end(&out);
    }
    mmh_json_out_end(&out);
    mmh_json_out_array(&out, "files");
    for (size_t i = 0; i < diff->file_count; i++) {
        const struct file_pair *pair = &diff->files[i];
        if (pair->change == SAME)
            continue;
        mmh_json_out_object(&out, NULL);
        mmh_json_out_text(&out, "name", pair->a.name ? pair->a.name : pair->b.name);
        mmh_json_out_text(&out, "change", pair->what ? pair->what : change_names[pair->change]);
        if (pair->has_offset)
            mmh_json_out_u64(&out, "offset", pair->offset);
        mmh_json_out_end(&out);
    }
    mmh_json_out_end(&out);
    mmh_json_out_end(&out);
    (void)mmh_json_out_finish(&out);
}

static int tell(struct diff *diff, int code)
{
    uint64_t changes = diff->file_changes;
    for (int change = SAME + 1; change < CHANGE_COUNT; change++)
        changes += diff->counts[change];
    if (changes && diff->options->tell_difference && code == MMH_EXIT_OK)
        code = 1;
    if (diff->options->json) {
        write_json(diff, code, !changes);
    } else if (!changes) {
        if (!diff->options->quiet)
            printf("no difference: %s, %s\n",
                   mmh_human_things(diff->counts[SAME], "tensor", "tensors").text,
                   mmh_human_things(diff->file_count, "file", "files").text);
    } else if (!diff->options->quiet) {
        if (changes > diff->file_changes)
            print_tensors(diff);
        print_files(diff);
        print_counts(diff);
    }
    return code;
}

int mmh_cmd_diff(const struct mmh_cli_options *options, mmh_context *context)
{
    mmh_error err = { 0 };
    struct diff diff = { .options = options, .err = &err };
    int code = MMH_EXIT_OK, other_code = MMH_EXIT_OK;
    if (options->input_count != 2)
        return mmh_cli_refuse(options, options->inputs[0], "mmh diff A B",
                              "\"mmh diff\" compares two, not %zu", options->input_count);
    for (size_t i = 0; i < 2; i++)
        if (strcmp(options->inputs[i], "-") == 0)
            return mmh_cli_refuse(options, options->inputs[0], NULL,
                                  "\"mmh diff\" does not read standard input");
    diff.a = mmh_cli_open_model(options, context, options->inputs[0], &code);
    if (!diff.a)
        return code;
    diff.b = mmh_cli_open_model(options, context, options->inputs[1], &other_code);
    code = mmh_exit_worse(code, other_code);
    mmh_status status = MMH_OK;
    if (diff.b) {
        status = match_files(&diff);
        if (status == MMH_OK)
            status = match_tensors(&diff);
        if (status == MMH_OK)
            status = compare_tensors(&diff);
        if (status == MMH_OK)
            status = compare_files(&diff);
        mmh_bar_end();
        if (status != MMH_OK)
            code = mmh_cli_fail(options, options->inputs[0], &err, mmh_exit_of(status), NULL);
        else
            code = tell(&diff, code);
    }
    free(diff.pairs);
    free(diff.files);
    mmh_close(diff.a);
    mmh_close(diff.b);
    return code;
}
