/*
 * Tensors that one file tells of and another one holds: brought together once all files are mapped.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine/told.h"

#include <stdlib.h>
#include <string.h>

/* A tensor of file `holder`, told by file `teller`. */
struct told {
    size_t holder, teller, number;
    const struct mmh_map_tensor *tensor;
};

static int by_holder(const void *left, const void *right)
{
    const struct told *a = left, *b = right;
    if (a->holder != b->holder)
        return a->holder < b->holder ? -1 : 1;
    if (a->teller != b->teller)
        return a->teller < b->teller ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

/* Files that say nothing of themselves that is worth more. */
static bool may_be_told(const struct mmh_plan_file *file)
{
    return file->info.kind == MMH_PATH_FILE &&
           (file->map.format == MMH_FORMAT_OPAQUE || file->map.format == MMH_FORMAT_COREML_WEIGHTS);
}

/* The file that a teller means by a name; NULL: none, or (as err tells) no memory. */
static struct mmh_plan_file *find_holder(const struct mmh_plan *plan, struct mmh_arena *arena,
                                         const struct mmh_plan_file *teller, const char *name,
                                         mmh_error *err)
{
    const char *slash = strrchr(teller->name, '/');
    int folder = slash ? (int)(slash + 1 - teller->name) : 0;
    const char *path = mmh_arena_format(arena, "%.*s%s", folder, teller->name, name);
    if (!path)
        mmh_fail(err, MMH_E_MEMORY, "no memory for a name");
    return path ? mmh_plan_find(plan, path) : NULL;
}

/* Add what a file tells of others to told [*count]. */
static mmh_status collect_told(struct told *told, size_t *count, struct mmh_plan *plan,
                               struct mmh_arena *arena, size_t teller_index, mmh_error *err)
{
    struct mmh_plan_file *teller = &plan->files[teller_index];
    const char *name = NULL;
    const struct mmh_plan_file *holder = NULL;
    for (size_t i = 0; i < teller->map.elsewhere_count; i++) {
        const struct mmh_map_elsewhere *elsewhere = &teller->map.elsewhere[i];
        if (!name || strcmp(name, elsewhere->file) != 0) { /* mostly the same as before */
            mmh_error problem = { 0 };
            name = elsewhere->file;
            holder = find_holder(plan, arena, teller, name, &problem);
            if (problem.status)
                return mmh_fail(err, problem.status, "%s", problem.message);
            if (!holder || !may_be_told(holder))
                mmh_extent_map_remark(&teller->map, "tells of tensors in \"%s\", which %s", name,
                                      holder ? "is something else" : "is not packed with it");
        }
        if (holder && may_be_told(holder)) {
            told[*count] = (struct told){ (size_t)(holder - plan->files), teller_index, i,
                                          &elsewhere->tensor };
            ++*count;
        }
    }
    return MMH_OK;
}

mmh_status mmh_plan_map_told(struct mmh_plan *plan, struct mmh_arena *arena, mmh_error *err)
{
    const mmh_allocator *allocator = arena->allocator;
    size_t room = 0, count = 0, done = 0;
    for (size_t i = 0; i < plan->file_count; i++)
        room += plan->files[i].map.elsewhere_count;
    if (!room)
        return MMH_OK;
    struct told *told = mmh_alloc_array(allocator, room, sizeof *told);
    struct mmh_map_tensor *tensors = mmh_alloc_array(allocator, room, sizeof *tensors);
    mmh_status status = told && tensors
                          ? MMH_OK
                          : mmh_fail(err, MMH_E_MEMORY, "no memory for %zu tensors", room);
    for (size_t i = 0; i < plan->file_count && status == MMH_OK; i++)
        status = collect_told(told, &count, plan, arena, i, err);
    if (status == MMH_OK && count)
        qsort(told, count, sizeof *told, by_holder);
    while (done < count && status == MMH_OK) {
        size_t first = done;
        struct mmh_plan_file *holder = &plan->files[told[first].holder];
        for (; done < count && told[done].holder == told[first].holder; done++)
            tensors[done - first] = *told[done].tensor;
        mmh_extent_map_init(&holder->map, arena, holder->info.bytes);
        status = mmh_format_map_told(&holder->map, tensors, done - first, err);
    }
    mmh_free(allocator, tensors);
    mmh_free(allocator, told);
    return status;
}
