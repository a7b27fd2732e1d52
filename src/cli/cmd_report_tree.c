/*
 * mmh report: the names of a model's tensors as a tree of a bounded size.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tensors are sorted by name, so that a group is a range of them: of what is not shown nothing is
 * kept but the tensors themselves.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report.h"

/* A group that may become a node. */
struct part {
    size_t first, end;         /* its tensors */
    size_t label, name_offset; /* its own part of their names */
    uint64_t bytes;
    bool is_shown;
};

/* ---- the order of names ---- */

static int rank(unsigned char letter)
{
    return !letter ? 0 : letter == '.' ? 1 : letter == '/' ? 2 : letter + 2;
}

/* As people count: h.2 before h.10. What is between two '.' or '/' stays together. */
static int compare_names(const char *a, const char *b)
{
    static const char digits[] = "0123456789";
    for (;; a++, b++) {
        if (isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
            size_t a_zeros = strspn(a, "0"), b_zeros = strspn(b, "0");
            size_t a_length = strspn(a + a_zeros, digits), b_length = strspn(b + b_zeros, digits);
            if (a_length != b_length)
                return a_length < b_length ? -1 : 1;
            int order = memcmp(a + a_zeros, b + b_zeros, a_length);
            if (order)
                return order;
            if (a_zeros != b_zeros)
                return a_zeros < b_zeros ? -1 : 1;
            a += a_zeros + a_length;
            b += b_zeros + b_length;
        }
        if (*a != *b)
            return rank((unsigned char)*a) < rank((unsigned char)*b) ? -1 : 1;
        if (!*a)
            return 0;
    }
}

static int by_name(const void *a, const void *b)
{
    const struct mmh_report_tensor *x = a, *y = b;
    int order = compare_names(x->name, y->name);
    return order ? order : x->number < y->number ? -1 : x->number > y->number;
}

static int by_file_and_name(const void *a, const void *b)
{
    const struct mmh_report_tensor *x = a, *y = b;
    return x->file < y->file ? -1 : x->file > y->file ? 1 : by_name(a, b);
}

struct place {
    uint64_t file, offset;
    size_t tensor;
};

static int by_place(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return x->file != y->file     ? (x->file < y->file ? -1 : 1)
         : x->offset != y->offset ? (x->offset < y->offset ? -1 : 1)
         : x->tensor < y->tensor  ? -1
                                  : x->tensor > y->tensor;
}

static void sort_places(struct mmh_report_tree *tree)
{
    struct place *places = mmh_cli_alloc((tree->tensor_count + 1) * sizeof *places);
    for (size_t i = 0; i < tree->tensor_count; i++)
        places[i] = (struct place){ tree->tensors[i].file, tree->tensors[i].offset, i };
    qsort(places, tree->tensor_count, sizeof *places, by_place);
    tree->by_place = mmh_cli_alloc((tree->tensor_count + 1) * sizeof *tree->by_place);
    for (size_t i = 0; i < tree->tensor_count; i++)
        tree->by_place[i] = places[i].tensor;
    free(places);
}

static mmh_status list_tensors(struct mmh_report_tree *tree, mmh_reader *reader, size_t count,
                               mmh_error *err)
{
    tree->tensors = mmh_cli_alloc((count + 1) * sizeof *tree->tensors);
    for (size_t i = 0; i < count; i++) {
        mmh_tensor_info info = { .struct_size = sizeof info };
        mmh_status status = mmh_tensor(reader, i, &info, err);
        if (status != MMH_OK)
            return status;
        tree->tensors[i] = (struct mmh_report_tensor){ .name = info.name,
                                                       .number = i,
                                                       .file = info.file,
                                                       .offset = info.file_offset,
                                                       .bytes = info.bytes,
                                                       .stored_bytes = info.stored_bytes,
                                                       .dtype = (uint8_t)info.dtype,
                                                       .big_endian = info.big_endian,
                                                       .strided = info.strides != NULL };
    }
    tree->tensor_count = count;
    qsort(tree->tensors, count, sizeof *tree->tensors, by_name);
    for (size_t i = 1; i < count && !tree->by_file; i++)
        tree->by_file = tree->tensors[i].file != tree->tensors[i - 1].file &&
                        strcmp(tree->tensors[i].name, tree->tensors[i - 1].name) == 0;
    if (tree->by_file)
        qsort(tree->tensors, count, sizeof *tree->tensors, by_file_and_name);
    sort_places(tree);
    return MMH_OK;
}

/* ---- nodes ---- */

/* Where a character begins at or before text[at]. */
static size_t character_start(const char *text, size_t at)
{
    for (int i = 0; i < 3 && at && ((unsigned char)text[at] & 0xc0) == 0x80; i++)
        at--;
    return at;
}

char *mmh_report_name(const char *name, size_t bytes)
{
    enum { KEPT = MMH_REPORT_NAME_BYTES - 3 };
    if (bytes <= MMH_REPORT_NAME_BYTES)
        return mmh_cli_format("%.*s", (int)bytes, name);
    size_t head = character_start(name, KEPT / 2);
    size_t tail = character_start(name, bytes - KEPT / 2);
    if (bytes - tail > KEPT - head)
        tail = bytes - (KEPT - head);
    return mmh_cli_format("%.*s...%.*s", (int)head, name, (int)(bytes - tail), name + tail);
}

static struct mmh_report_node *add_node(struct mmh_report_tree *tree, enum mmh_report_kind kind,
                                        size_t parent, char *name)
{
    struct mmh_report_node *node = &tree->nodes[tree->node_count++];
    *node = (struct mmh_report_node){ .kind = kind, .parent = parent, .name = name };
    return node;
}

/* Let a node show a range of tensors, besides what it shows already. */
static void add_tensors(struct mmh_report_tree *tree, struct mmh_report_node *node, size_t first,
                        size_t end)
{
    for (size_t i = first; i < end; i++) {
        struct mmh_report_tensor *tensor = &tree->tensors[i];
        tensor->node = (uint32_t)(node - tree->nodes);
        node->bytes += tensor->bytes;
        node->stored_bytes += tensor->stored_bytes;
    }
    node->tensor_count += end - first;
}

/* ---- groups ---- */

/* The part of a name that follows name[offset]: between '.' or '/'. Empty where it ends. */
static size_t part_begin(const char *name, size_t offset)
{
    return offset + strspn(name + offset, "./");
}

static size_t part_end(const char *name, size_t begin)
{
    return begin + strcspn(name + begin, "./");
}

/* Of two names that are the same up to `offset`: whether they are to the end of their next part. So all
 * names of a group are the same up to its name_offset, separators too. */
static bool same_part(const char *a, const char *b, size_t offset)
{
    size_t begin = part_begin(a, offset), end = part_end(a, begin);
    return begin < end && strncmp(a + offset, b + offset, end - offset) == 0 &&
           part_end(b, end) == end;
}

/* A range whose names have a part in common: as many more as they have. */
static void name_part(const struct mmh_report_tree *tree, struct part *part, size_t offset)
{
    const char *first = tree->tensors[part->first].name;
    const char *last = tree->tensors[part->end - 1].name;
    part->label = part_begin(first, offset);
    part->name_offset = part_end(first, part->label);
    if (part->end - part->first == 1)
        part->name_offset = strlen(first);
    else /* sorted: what the outer two have in common, all have */
        while (same_part(first, last, part->name_offset))
            part->name_offset = part_end(first, part_begin(first, part->name_offset));
}

/* Cut a group into parts; only counts if parts is NULL. */
static size_t cut(const struct mmh_report_tree *tree, const struct mmh_report_node *group,
                  struct part *parts)
{
    const struct mmh_report_tensor *tensors = tree->tensors;
    bool files = tree->by_file && group->parent == MMH_REPORT_NONE;
    size_t count = 0;
    for (size_t first = group->first, end; first < group->end; first = end, count++) {
        uint64_t bytes = tensors[first].bytes;
        for (end = first + 1; end < group->end; end++) {
            if (files ? tensors[end].file != tensors[first].file
                      : !same_part(tensors[first].name, tensors[end].name, group->name_offset))
                break;
            bytes += tensors[end].bytes;
        }
        if (!parts)
            continue;
        parts[count] = (struct part){ .first = first, .end = end, .bytes = bytes };
        if (!files)
            name_part(tree, &parts[count], group->name_offset);
    }
    return count;
}

static int larger_first(const void *a, const void *b)
{
    const struct part *x = *(struct part *const *)a, *y = *(struct part *const *)b;
    return x->bytes != y->bytes ? (x->bytes > y->bytes ? -1 : 1) : x < y ? -1 : x > y;
}

static void choose(struct part *parts, size_t count, size_t shown)
{
    struct part **order = mmh_cli_alloc(count * sizeof *order);
    for (size_t i = 0; i < count; i++)
        order[i] = &parts[i];
    qsort(order, count, sizeof *order, larger_first);
    for (size_t i = 0; i < shown; i++)
        order[i]->is_shown = true;
    free(order);
}

static mmh_status label_of(const struct mmh_report_tree *tree, mmh_reader *reader,
                           const struct mmh_report_node *group, const struct part *part,
                           char **label, mmh_error *err)
{
    const struct mmh_report_tensor *tensor = &tree->tensors[part->first];
    mmh_file_info file = { .struct_size = sizeof file };
    if (tree->by_file && group->parent == MMH_REPORT_NONE) {
        mmh_status status = mmh_file(reader, tensor->file, &file, err);
        *label = status == MMH_OK ? mmh_report_name(file.name, strlen(file.name)) : NULL;
        return status;
    }
    *label = part->name_offset == part->label
               ? mmh_cli_format("(itself)")
               : mmh_report_name(tensor->name + part->label, part->name_offset - part->label);
    return MMH_OK;
}

/* Give a group its children. */
static mmh_status open_group(struct mmh_report_tree *tree, size_t number, mmh_reader *reader,
                             mmh_error *err)
{
    struct mmh_report_node *group = &tree->nodes[number];
    size_t room = MMH_REPORT_NODES_MAX - tree->node_count;
    size_t count = cut(tree, group, NULL), shown = count;
    if (room > MMH_REPORT_CHILDREN_MAX)
        room = MMH_REPORT_CHILDREN_MAX;
    if (shown > room)
        shown = room - 1;
    struct part *parts = mmh_cli_alloc(count * sizeof *parts);
    (void)cut(tree, group, parts);
    choose(parts, count, shown);
    mmh_status status = MMH_OK;
    for (size_t i = 0; i < count && status == MMH_OK; i++) {
        const struct part *part = &parts[i];
        char *label;
        if (!part->is_shown)
            continue;
        status = label_of(tree, reader, group, part, &label, err);
        if (status != MMH_OK)
            break;
        struct mmh_report_node *node =
            add_node(tree, part->end - part->first == 1 ? MMH_REPORT_TENSOR : MMH_REPORT_GROUP,
                     number, label);
        node->first = part->first;
        node->end = part->end;
        node->name_offset = part->name_offset;
        add_tensors(tree, node, part->first, part->end);
    }
    if (shown < count && status == MMH_OK) {
        struct mmh_report_node *rest = add_node(tree, MMH_REPORT_TOGETHER, number,
                                                mmh_cli_format("%zu more", count - shown));
        for (size_t i = 0; i < count; i++)
            if (!parts[i].is_shown)
                add_tensors(tree, rest, parts[i].first, parts[i].end);
    }
    group->is_open = true;
    free(parts);
    return status;
}

/* ---- what is in no tensor ---- */

/* A file without tensors, to be named. */
struct other_file {
    const char *name;
    uint64_t bytes, stored_bytes;
    size_t order;
};

static int larger_file_first(const void *a, const void *b)
{
    const struct other_file *x = a, *y = b;
    return x->bytes != y->bytes ? (x->bytes > y->bytes ? -1 : 1)
         : x->order < y->order  ? -1
                                : x->order > y->order;
}

/* Bytes of a file that no tensor has; *next is the first of its tensors by place, or after those. */
static uint64_t uncovered(const struct mmh_report_tree *tree, uint64_t file, uint64_t bytes,
                          size_t *next)
{
    uint64_t covered_to = 0, free_bytes = 0;
    for (; *next < tree->tensor_count; (*next)++) {
        const struct mmh_report_tensor *tensor = &tree->tensors[tree->by_place[*next]];
        if (tensor->file != file)
            break;
        if (tensor->offset > covered_to)
            free_bytes += tensor->offset - covered_to;
        if (tensor->offset + tensor->bytes > covered_to)
            covered_to = tensor->offset + tensor->bytes;
    }
    return bytes > covered_to ? free_bytes + (bytes - covered_to) : free_bytes;
}

static void add_rest(struct mmh_report_tree *tree, struct other_file *files, size_t file_count,
                     uint64_t between, uint64_t stored)
{
    size_t named = file_count, number = tree->node_count;
    uint64_t bytes = between, named_stored = 0;
    struct mmh_report_node *rest = add_node(tree, MMH_REPORT_REST, 0,
                                            mmh_cli_format("(in no tensor)"));
    if (named > MMH_REPORT_FILES_MAX)
        named = MMH_REPORT_FILES_MAX;
    qsort(files, file_count, sizeof *files, larger_file_first);
    for (size_t i = 0; i < file_count; i++)
        bytes += files[i].bytes;
    rest->bytes = bytes;
    rest->stored_bytes = stored;
    rest->is_open = true;
    for (size_t i = 0; i < named; i++) {
        struct mmh_report_node *node = add_node(
            tree, MMH_REPORT_FILE, number, mmh_report_name(files[i].name, strlen(files[i].name)));
        node->bytes = files[i].bytes;
        node->stored_bytes = files[i].stored_bytes;
        named_stored += files[i].stored_bytes;
        bytes -= files[i].bytes;
    }
    if (!bytes)
        return;
    /* Chunks that files share count in each, so that there may be less left over than nothing. */
    uint64_t left = stored > named_stored ? stored - named_stored : 0;
    struct mmh_report_node *node =
        add_node(tree, MMH_REPORT_REST, number,
                 named < file_count
                     ? mmh_cli_format("between tensors, and %zu more files", file_count - named)
                     : mmh_cli_format("between tensors"));
    node->bytes = bytes;
    node->stored_bytes = left;
}

static mmh_status list_rest(struct mmh_report_tree *tree, mmh_reader *reader,
                            const mmh_container_info *info, mmh_error *err)
{
    struct other_file *files = mmh_cli_alloc((size_t)(info->file_count + 1) * sizeof *files);
    size_t file_count = 0, next = 0;
    uint64_t between = 0, bytes = 0, stored = 0, files_stored = 0;
    mmh_status status = MMH_OK;
    for (uint64_t i = 0; i < info->file_count && status == MMH_OK; i++) {
        mmh_file_info file = { .struct_size = sizeof file };
        status = mmh_file(reader, i, &file, err);
        if (status != MMH_OK || file.kind != MMH_FILE_REGULAR)
            continue;
        uint64_t open = uncovered(tree, i, file.bytes, &next);
        bytes += open;
        if (file.tensor_count) {
            between += open;
        } else if (file.bytes) {
            files[file_count] = (struct other_file){ file.name, file.bytes, file.stored_bytes,
                                                     file_count };
            files_stored += files[file_count++].stored_bytes;
        }
    }
    /* Of what no tensor has, the types' sums know the stored bytes. */
    for (size_t i = 0; i < info->by_dtype_count; i++)
        if (strcmp(info->by_dtype[i].name, "OPAQUE") == 0)
            stored = info->by_dtype[i].stored_bytes;
    if (!info->tensor_count)
        stored = files_stored;
    if (status == MMH_OK && bytes) {
        add_rest(tree, files, file_count, between, stored);
        tree->nodes[0].bytes += bytes;
        tree->nodes[0].stored_bytes += stored;
    }
    free(files);
    return status;
}

/* ---- the door ---- */

mmh_status mmh_report_tree_make(struct mmh_report_tree *tree, mmh_reader *reader,
                                const mmh_container_info *info, const char *title, mmh_error *err)
{
    tree->nodes = mmh_cli_alloc(MMH_REPORT_NODES_MAX * sizeof *tree->nodes);
    struct mmh_report_node *root = add_node(tree, MMH_REPORT_GROUP, MMH_REPORT_NONE,
                                            mmh_report_name(title, strlen(title)));
    mmh_status status = list_tensors(tree, reader, (size_t)info->tensor_count, err);
    if (status != MMH_OK)
        return status;
    root->end = tree->tensor_count;
    add_tensors(tree, root, 0, root->end);
    status = list_rest(tree, reader, info, err);
    if (!tree->tensor_count) {
        root->is_open = true;
        return status;
    }
    while (status == MMH_OK && MMH_REPORT_NODES_MAX - tree->node_count >= 2) {
        size_t largest = MMH_REPORT_NONE;
        for (size_t i = 0; i < tree->node_count; i++) {
            const struct mmh_report_node *node = &tree->nodes[i];
            if (node->kind == MMH_REPORT_GROUP && !node->is_open &&
                (largest == MMH_REPORT_NONE || node->bytes > tree->nodes[largest].bytes))
                largest = i;
        }
        if (largest == MMH_REPORT_NONE)
            break;
        status = open_group(tree, largest, reader, err);
    }
    return status;
}

void mmh_report_tree_release(struct mmh_report_tree *tree)
{
    for (size_t i = 0; i < tree->node_count; i++) {
        free(tree->nodes[i].name);
        for (struct mmh_report_statistics *one = tree->nodes[i].statistics, *next; one;
             one = next) {
            next = one->next;
            free(one->bins);
            free(one);
        }
    }
    free(tree->nodes);
    free(tree->tensors);
    free(tree->by_place);
    *tree = (struct mmh_report_tree){ .nodes = NULL };
}
