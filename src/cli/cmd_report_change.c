/*
 * mmh report A B: how each tensor of A differs from B's of that name.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "cli/host.h"
#include "cli/progress.h"
#include "cli/report.h"

enum { NAMES_MAX = 200 };

/* A tensor of B, for finding it by name. */
struct entry {
    const char *name, *file;
    uint64_t number;
    bool is_taken;
};

static int by_name(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : strcmp(x->file, y->file);
}

static mmh_status list(mmh_reader *reader, struct entry **entries, size_t *count, mmh_error *err)
{
    mmh_container_info info = { .struct_size = sizeof info };
    mmh_status status = mmh_container(reader, &info, err);
    *entries = mmh_cli_alloc(((size_t)info.tensor_count + 1) * sizeof **entries);
    *count = (size_t)info.tensor_count;
    for (uint64_t i = 0; i < info.tensor_count && status == MMH_OK; i++) {
        mmh_tensor_info tensor = { .struct_size = sizeof tensor };
        mmh_file_info file = { .struct_size = sizeof file };
        status = mmh_tensor(reader, i, &tensor, err);
        if (status == MMH_OK)
            status = mmh_file(reader, tensor.file, &file, err);
        (*entries)[i] = (struct entry){ tensor.name, file.name, i, false };
    }
    if (status == MMH_OK)
        qsort(*entries, *count, sizeof **entries, by_name);
    return status;
}

/* B's tensor for one of A's: of that name, in the file of that name if several have it. */
static struct entry *match(struct entry *entries, size_t count, const char *name, const char *file)
{
    size_t low = 0, high = count, found = 0;
    struct entry *only = NULL;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(entries[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < count && strcmp(entries[low].name, name) == 0; low++) {
        if (entries[low].is_taken)
            continue;
        if (strcmp(entries[low].file, file) == 0)
            return &entries[low];
        only = &entries[low];
        found++;
    }
    return found == 1 ? only : NULL;
}

static enum mmh_report_change_kind kind_of(const mmh_tensor_info *a, const mmh_tensor_info *b)
{
    if (a->dimensions != b->dimensions ||
        (a->dimensions && memcmp(a->shape, b->shape, a->dimensions * sizeof *a->shape) != 0))
        return MMH_REPORT_SHAPE;
    if (a->column_major != b->column_major && a->dimensions > 1)
        return MMH_REPORT_LAYOUT;
    return a->dtype != b->dtype ? MMH_REPORT_TYPE : MMH_REPORT_SAME;
}

static mmh_status compare_pair(struct mmh_report_change *sums, mmh_reader *first, uint64_t a_number,
                               mmh_reader *second, uint64_t b_number, mmh_error *err)
{
    mmh_tensor_info a = { .struct_size = sizeof a }, b = { .struct_size = sizeof b };
    mmh_difference difference = { .struct_size = sizeof difference };
    mmh_status status = mmh_tensor(first, a_number, &a, err);
    if (status == MMH_OK)
        status = mmh_tensor(second, b_number, &b, err);
    if (status != MMH_OK)
        return status;
    enum mmh_report_change_kind kind = kind_of(&a, &b);
    unsigned values = mmh_dtype_values(a.dtype); /* 0: in blocks, not of numbers */
    bool compared = kind == MMH_REPORT_SAME ||
                    (kind == MMH_REPORT_TYPE && values && values == mmh_dtype_values(b.dtype));
    if (compared)
        status = mmh_compare(first, a_number, second, b_number, &difference, err);
    if (status == MMH_E_CORRUPT) {
        kind = MMH_REPORT_UNREAD;
        *err = (mmh_error){ 0 };
        difference = (mmh_difference){ 0 };
        status = MMH_OK;
    }
    if (kind == MMH_REPORT_SAME && difference.differing)
        kind = MMH_REPORT_VALUES;
    sums->tensors[kind]++;
    sums->elements += difference.element_count;
    sums->differing += difference.differing;
    if (values)
        sums->unmeasured += difference.unmeasured;
    if (difference.max_absolute > sums->max_absolute)
        sums->max_absolute = difference.max_absolute;
    sums->difference_square += difference.difference_norm * difference.difference_norm;
    sums->first_square += difference.first_norm * difference.first_norm;
    return status;
}

static void list_only_second(struct mmh_report_changes *changes, const struct entry *entries,
                             size_t count)
{
    changes->names = mmh_cli_alloc(NAMES_MAX * sizeof *changes->names);
    for (size_t i = 0; i < count; i++) {
        if (entries[i].is_taken)
            continue;
        if (changes->only_second++ < NAMES_MAX)
            changes->names[changes->name_count++] = mmh_report_name(entries[i].name,
                                                                    strlen(entries[i].name));
    }
}

mmh_status mmh_report_compare(struct mmh_report_changes *changes, struct mmh_report_tree *tree,
                              mmh_reader *first, mmh_reader *second, mmh_error *err)
{
    struct entry *entries;
    size_t count;
    uint64_t done = 0, total = 0;
    mmh_status status = list(second, &entries, &count, err);
    for (size_t i = 0; i < tree->tensor_count; i++)
        total += tree->tensors[i].bytes;
    for (size_t i = 0; i < tree->tensor_count && status == MMH_OK; i++) {
        const struct mmh_report_tensor *tensor = &tree->tensors[tree->by_place[i]];
        struct mmh_report_change *sums = &tree->nodes[tensor->node].change;
        mmh_file_info file = { .struct_size = sizeof file };
        status = mmh_file(first, tensor->file, &file, err);
        if (status != MMH_OK)
            break;
        struct entry *entry = match(entries, count, tensor->name, file.name);
        if (entry) {
            entry->is_taken = true;
            status = compare_pair(sums, first, tensor->number, second, entry->number, err);
        } else {
            sums->tensors[MMH_REPORT_ONLY_FIRST]++;
        }
        done += tensor->bytes;
        mmh_bar_own("compare", done, total);
        if (mmh_host_interrupted()) {
            snprintf(err->message, sizeof err->message, "interrupted");
            status = MMH_E_CANCELLED;
        }
    }
    if (status == MMH_OK)
        list_only_second(changes, entries, count);
    free(entries);
    return status;
}

void mmh_report_changes_release(struct mmh_report_changes *changes)
{
    for (size_t i = 0; i < changes->name_count; i++)
        free(changes->names[i]);
    free(changes->names);
}
