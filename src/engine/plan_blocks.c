/*
 * Planning a pack, the second half: the extents of its files become blocks.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/bits.h"
#include "base/cursor.h"
#include "engine/copies.h"
#include "engine/plan.h"
#include "engine/survey.h"

enum {
    SHARED_FROM_LEVEL = 5,  /* from this level on tables are shared by ... */
    SHARED_BYTES = 1 << 20, /* ... neighbours of one type below this; equal ones among larger */
    SMALL_BYTES = 1 << 16,  /* tensors are stored once. Below that level: below this. */
    JOINED_MAX = 4096,      /* tensors in one block */
    JOINED_RECORDS_BYTES = 1 << 20, /* of such that are small, of one block type */
    TINY_BYTES = 512, /* typed runs below this are opaque: a chunk costs about 50 bytes */
    MIXED_OTHER_BYTES = 1 << 20, /* of one mixed block, about */
    TINY_RECORDS_BYTES = 4096,   /* and records, as their models say what fields they have */
    OPAQUE_CHUNK_HIGH_LEVEL = 7  /* from this level on opaque chunks are as large as may be */
};

/* Blocks and the parts of them while they are found; moved into the arena when complete. */
struct block_list {
    struct mmh_buffer blocks; /* struct mmh_plan_block[], hint.parts and hint.runs not set yet */
    struct mmh_buffer parts;  /* struct mmh_block_part[], of the blocks in order */
    struct mmh_buffer mixed;  /* struct mmh_mixed_run[], the same */
};

/* A run of extents that will be coded as one: at first each extent by itself. */
struct run {
    uint64_t offset, bytes;
    mmh_dtype dtype;
    mmh_dtype records; /* not OPAQUE: opaque bytes that are records of this block type */
    bool big_endian;
    const struct mmh_survey *survey;
    struct mmh_bit_signature signature; /* of all of it */
    size_t extents;                     /* that it is made of */
    bool major;                         /* one of them is, and `survey` is of the first such */
    size_t first_part, part_count;      /* in the file's list */
    bool mixed;                         /* elements of the mixed block that it lies in */
};

/* The runs of a file, and their parts. */
struct run_list {
    struct mmh_buffer runs;  /* struct run[] in file order */
    struct mmh_buffer parts; /* struct mmh_block_part[] */
};

/* Whether runs have parts: the codecs know what they are made of. */
static bool has_parts(const struct run *run)
{
    return run->dtype != MMH_DTYPE_OPAQUE || run->records != MMH_DTYPE_OPAQUE;
}

/* Bytes that the parts of a run count. */
static unsigned unit_bytes(const struct run *run)
{
    unsigned bytes;
    if (run->records == MMH_DTYPE_OPAQUE)
        return mmh_dtype_scalar_bytes(run->dtype);
    (void)mmh_dtype_block(run->records, &bytes);
    return bytes;
}

/* An extent of a block type as records. Those of big-endian files are bytes to us. */
static void take_records(struct run *run, struct mmh_block_part *part,
                         const struct mmh_extent *extent)
{
    run->dtype = MMH_DTYPE_OPAQUE;
    if (!mmh_dtype_fields(extent->dtype) || extent->big_endian)
        return;
    run->records = extent->dtype;
    unsigned record_bytes = unit_bytes(run);
    if (extent->bytes % record_bytes) {
        run->records = MMH_DTYPE_OPAQUE;
        return;
    }
    part->elements = extent->bytes / record_bytes;
    part->dimensions = mmh_extent_hint(part->shape, extent);
    if (part->dimensions) /* bytes of a row */
        part->shape[part->dimensions - 1] /= record_bytes;
}

/* An extent as a run, and (where codecs know what it is made of) the one part of it. */
static struct run run_of_extent(struct mmh_block_part *part, const struct mmh_extent *extent,
                                const struct mmh_survey *survey)
{
    *part = (struct mmh_block_part){ 0 };
    struct run run = { .offset = extent->offset,
                       .bytes = extent->bytes,
                       .extents = 1,
                       .survey = survey,
                       .signature = survey->signature,
                       .major = extent->bytes >= MMH_SURVEY_MINOR_BYTES };
    run.dtype = extent->coded;
    if (mmh_dtype_is_block(extent->dtype)) {
        take_records(&run, part, extent);
        return run;
    }
    unsigned scalar_bytes = mmh_dtype_scalar_bytes(run.dtype);
    if (extent->bytes % scalar_bytes)
        run.dtype = MMH_DTYPE_OPAQUE;
    if (run.dtype == MMH_DTYPE_OPAQUE)
        return run;
    run.big_endian = extent->big_endian && scalar_bytes > 1;
    part->elements = extent->bytes / scalar_bytes;
    part->dimensions = mmh_extent_hint(part->shape, extent);
    return run;
}

/* Whether the next extent is better coded together with the run before it: then they share
 * tables, and each keeps its own rows and columns. run->signature is then that of both. */
static bool runs_join(struct run *run, const struct run *next, int level)
{
    if (run->dtype != next->dtype || run->records != next->records ||
        run->big_endian != next->big_endian)
        return false;
    if (!has_parts(run))
        return true;
    if (run->records != MMH_DTYPE_OPAQUE) /* all are scaled to about the same statistics */
        return next->bytes < SMALL_BYTES && (run->extents > 1 || run->bytes < SMALL_BYTES) &&
               run->bytes + next->bytes <= JOINED_RECORDS_BYTES && run->extents < JOINED_MAX;
    uint64_t small = level >= SHARED_FROM_LEVEL ? SHARED_BYTES : SMALL_BYTES;
    if (!run->survey->seen || !next->survey->seen || next->bytes >= small ||
        (run->extents == 1 && run->bytes >= small) ||
        run->bytes + next->bytes > MMH_BLOCK_BYTES_MAX || run->extents >= JOINED_MAX)
        return false;
    if ((run->major && run->survey->repeated) || (next->major && next->survey->repeated))
        return false;
    if (run->major && next->major)
        return !run->survey->alone && !next->survey->alone && next->survey->joins;
    unsigned scalar_bytes = mmh_dtype_scalar_bytes(run->dtype);
    return mmh_survey_minor_joins(&run->signature, run->bytes / scalar_bytes, &next->signature,
                                  next->bytes / scalar_bytes);
}

/* Cut a run into blocks of whole chunks. */
static void add_run(struct block_list *list, const struct run *run, size_t file, int level,
                    const struct mmh_block_part *parts)
{
    unsigned unit = unit_bytes(run);
    uint64_t chunk_bytes = run->records != MMH_DTYPE_OPAQUE ? mmh_records_chunk_bytes(run->records)
                         : run->dtype != MMH_DTYPE_OPAQUE   ? (uint64_t)unit * MMH_CHUNK_ELEMENTS
                         : level >= OPAQUE_CHUNK_HIGH_LEVEL ? MMH_OPAQUE_CHUNK_BYTES_MAX
                                                            : MMH_OPAQUE_CHUNK_BYTES;
    uint64_t block_max = MMH_BLOCK_BYTES_MAX / chunk_bytes * chunk_bytes;
    for (uint64_t done = 0; done < run->bytes;) {
        uint64_t left = run->bytes - done;
        struct mmh_plan_block block = {
            .file = file,
            .offset = run->offset + done,
            .bytes = left < block_max ? left : block_max,
            .chunk_bytes = (uint32_t)chunk_bytes,
            .big_endian = run->big_endian,
            .hint = { .dtype = run->dtype, .records = run->records, .level = level },
        };
        if (block.bytes < chunk_bytes)
            block.chunk_bytes = (uint32_t)block.bytes;
        if (run->extents == 1 && has_parts(run)) { /* maybe a part of a tensor */
            struct mmh_block_part part = parts[run->first_part];
            part.tensor_first = done / unit;
            part.elements = block.bytes / unit;
            mmh_buffer_bytes(&list->parts, &part, sizeof part);
            block.hint.part_count = 1;
        } else if (has_parts(run)) { /* joined: it is one block */
            mmh_buffer_bytes(&list->parts, &parts[run->first_part],
                             run->part_count * sizeof *parts);
            block.hint.part_count = run->part_count;
        }
        mmh_buffer_bytes(&list->blocks, &block, sizeof block);
        done += block.bytes;
    }
}

/* Add what is pending: opaque bytes before the next run. */
static void flush(struct block_list *list, struct run *pending, size_t file, int level)
{
    if (pending->bytes)
        add_run(list, pending, file, level, NULL);
    pending->bytes = 0;
}

/* A run by itself. One that is too small for a chunk of its own is opaque, and may join what is. */
static void end_run(struct block_list *list, struct run run, struct run *pending, size_t file,
                    int level, const struct mmh_block_part *parts)
{
    if (run.bytes < (run.records ? TINY_RECORDS_BYTES : TINY_BYTES)) {
        run.dtype = run.records = MMH_DTYPE_OPAQUE;
        run.big_endian = false;
    }
    if (has_parts(&run)) {
        flush(list, pending, file, level);
        add_run(list, &run, file, level, parts);
    } else if (pending->bytes) {
        pending->bytes += run.bytes;
    } else {
        *pending = run;
    }
}

/* ---- elements among other bytes ---- */

/* Whether a run may be part of a mixed block, by its own size. */
static bool may_mix(const struct run *run)
{
    return run->dtype != MMH_DTYPE_OPAQUE && run->survey->seen &&
           run->bytes / unit_bytes(run) <= MMH_CHUNK_ELEMENTS &&
           !(run->major && run->survey->alone);
}

/* Whether a run is little enough to be other bytes within one. */
static bool is_gap(const struct run *run)
{
    return has_parts(run) ? !run->major : run->bytes <= MMH_SURVEY_GAP_BYTES;
}

/* The end of the runs from `first` on that are better one mixed block: first + 1 if none is. Those
 * that are its elements are marked. */
static size_t mixed_end(struct run *runs, size_t count, size_t first, int level)
{
    struct run all = runs[first];
    uint64_t elements = all.bytes / unit_bytes(&all), gap = 0, other = 0;
    size_t end = first + 1;
    if (!may_mix(&all))
        return end;
    for (size_t i = first + 1; i < count; i++) {
        struct run *next = &runs[i];
        if (may_mix(next) && elements + next->bytes / unit_bytes(next) <= MMH_CHUNK_ELEMENTS &&
            other + gap <= MMH_MIN(all.bytes + next->bytes, (uint64_t)MIXED_OTHER_BYTES) &&
            runs_join(&all, next, level)) {
            elements += next->bytes / unit_bytes(next);
            other += gap;
            gap = 0;
            if (!all.major)
                all.survey = next->survey;
            all.major = all.major || next->major;
            all.bytes += next->bytes;
            all.extents += next->extents;
            next->mixed = true;
            end = i + 1;
            continue;
        }
        gap += next->bytes;
        if (!is_gap(next) || gap > MMH_SURVEY_GAP_BYTES)
            break;
    }
    bool worth = all.bytes >= TINY_BYTES;
    for (size_t i = first; i < end; i++)
        runs[i].mixed = worth && (i == first || runs[i].mixed);
    return worth ? end : first + 1;
}

/* Whether a run that joins no other is small enough to be coded with the few bytes before it: those
 * would be a block of their own. */
static bool takes_lead(const struct run *run)
{
    return run->dtype != MMH_DTYPE_OPAQUE && run->bytes >= TINY_BYTES && run->bytes < SMALL_BYTES &&
           run->survey->seen && !(run->major && run->survey->repeated);
}

/* Runs [first, end) as one mixed block, with `lead` other bytes before them: what is marked is its
 * elements. */
static void add_mixed(struct block_list *list, const struct run *runs, size_t first, size_t end,
                      uint64_t lead, size_t file, int level, const struct mmh_block_part *parts)
{
    const struct run *head = &runs[first], *last = &runs[end - 1];
    uint64_t bytes = lead + last->offset + last->bytes - head->offset, other = lead;
    struct mmh_plan_block block = {
        .file = file,
        .offset = head->offset - lead,
        .bytes = bytes,
        .chunk_bytes = (uint32_t)bytes,
        .hint = { .dtype = MMH_DTYPE_OPAQUE,
                  .mixed = head->dtype,
                  .mixed_big_endian = head->big_endian,
                  .level = level },
    };
    for (size_t i = first; i < end; i++) {
        if (!runs[i].mixed) {
            other += runs[i].bytes;
            continue;
        }
        struct mmh_mixed_run mixed = { (uint32_t)other,
                                       (uint32_t)(runs[i].bytes / unit_bytes(&runs[i])) };
        mmh_buffer_bytes(&list->mixed, &mixed, sizeof mixed);
        mmh_buffer_bytes(&list->parts, &parts[runs[i].first_part],
                         runs[i].part_count * sizeof *parts);
        block.hint.part_count += runs[i].part_count;
        block.hint.run_count++;
        other = 0;
    }
    mmh_buffer_bytes(&list->blocks, &block, sizeof block);
}

/* ---- from extents to blocks ---- */

/* Extents side by side that are better coded as one. */
static void find_runs(struct run_list *found, const struct mmh_extent_map *map,
                      const struct mmh_survey *survey, int level)
{
    struct run run = { 0 };
    for (size_t i = 0; i < map->extent_count; i++) {
        struct mmh_block_part part;
        struct run next = run_of_extent(&part, &map->extents[i], &survey[i]);
        if (run.bytes && runs_join(&run, &next, level)) {
            if (!run.major)
                run.survey = next.survey;
            run.major = run.major || next.major;
            run.bytes += next.bytes;
            run.extents++;
        } else {
            if (run.bytes)
                mmh_buffer_bytes(&found->runs, &run, sizeof run);
            run = next;
            run.first_part = found->parts.bytes / sizeof part;
        }
        if (has_parts(&run)) {
            mmh_buffer_bytes(&found->parts, &part, sizeof part);
            run.part_count++;
        }
    }
    if (run.bytes)
        mmh_buffer_bytes(&found->runs, &run, sizeof run);
}

static mmh_status plan_blocks(struct block_list *list, const struct mmh_extent_map *map,
                              const struct mmh_survey *survey, size_t file, int level,
                              mmh_error *err)
{
    struct run_list found;
    struct run pending = { 0 };
    mmh_buffer_init(&found.runs, list->blocks.allocator);
    mmh_buffer_init(&found.parts, list->blocks.allocator);
    find_runs(&found, map, survey, level);
    bool good = !found.runs.failed && !found.parts.failed;
    struct run *runs = (void *)found.runs.data;
    const struct mmh_block_part *parts = (const void *)found.parts.data;
    size_t count = found.runs.bytes / sizeof *runs;
    for (size_t i = 0, end; good && i < count; i = end) {
        end = mixed_end(runs, count, i, level);
        uint64_t lead = pending.bytes <= MMH_SURVEY_GAP_BYTES ? pending.bytes : 0;
        if (end == i + 1 && !(lead && takes_lead(&runs[i]))) {
            end_run(list, runs[i], &pending, file, level, parts);
            continue;
        }
        if (lead)
            pending.bytes = 0;
        flush(list, &pending, file, level);
        runs[i].mixed = true;
        add_mixed(list, runs, i, end, lead, file, level, parts);
    }
    flush(list, &pending, file, level);
    mmh_buffer_release(&found.runs);
    mmh_buffer_release(&found.parts);
    if (!good || list->blocks.failed || list->parts.failed || list->mixed.failed)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to plan the blocks of a file");
    return MMH_OK;
}

/* Move the lists into the arena, and point the blocks at their parts. */
static mmh_status keep_blocks(struct mmh_plan *plan, struct mmh_arena *arena,
                              const struct block_list *list, mmh_error *err)
{
    size_t parts = list->parts.bytes / sizeof(struct mmh_block_part);
    plan->block_count = list->blocks.bytes / sizeof *plan->blocks;
    plan->blocks = mmh_arena_array(arena, plan->block_count, sizeof *plan->blocks);
    struct mmh_block_part *part = mmh_arena_array(arena, parts, sizeof *part);
    struct mmh_mixed_run *mixed = mmh_arena_array(arena, list->mixed.bytes / sizeof *mixed,
                                                  sizeof *mixed);
    if (!plan->blocks || !part || !mixed)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to plan %zu blocks", plan->block_count);
    if (list->blocks.bytes)
        memcpy(plan->blocks, list->blocks.data, list->blocks.bytes);
    if (list->parts.bytes)
        memcpy(part, list->parts.data, list->parts.bytes);
    if (list->mixed.bytes)
        memcpy(mixed, list->mixed.data, list->mixed.bytes);
    for (size_t i = 0; i < plan->block_count; i++) {
        plan->blocks[i].hint.parts = part;
        plan->blocks[i].hint.runs = mixed;
        part += plan->blocks[i].hint.part_count;
        mixed += plan->blocks[i].hint.run_count;
    }
    return MMH_OK;
}

static mmh_status find_copies(struct mmh_plan_file *file, const mmh_allocator *allocator,
                              mmh_error *err)
{
    mmh_input *input;
    mmh_status status = mmh_plan_open(&input, file, allocator, err);
    if (status != MMH_OK)
        return status;
    status = mmh_copies_find(&file->map, input, allocator, err);
    mmh_input_close(input);
    return status;
}

/* Survey the files, and cut them into blocks. */
static mmh_status cut_files(struct mmh_plan *plan, struct mmh_arena *arena, struct block_list *list,
                            mmh_context *context, int level, mmh_error *err)
{
    struct mmh_survey **surveys = mmh_arena_array(arena, plan->file_count, sizeof *surveys);
    size_t *counts = mmh_arena_array(arena, plan->file_count, sizeof *counts);
    uint64_t limit = level >= SHARED_FROM_LEVEL ? SHARED_BYTES : SMALL_BYTES;
    mmh_status status = MMH_OK;
    if (!surveys || !counts)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to plan %zu files", plan->file_count);
    for (size_t i = 0; i < plan->file_count && status == MMH_OK; i++) {
        struct mmh_plan_file *file = &plan->files[i];
        if (file->info.kind != MMH_PATH_FILE)
            continue;
        status = find_copies(file, context->allocator, err);
        if (status != MMH_OK)
            return status;
        counts[i] = file->map.extent_count;
        surveys[i] = mmh_arena_array(arena, counts[i], sizeof **surveys);
        if (!surveys[i])
            return mmh_fail(err, MMH_E_MEMORY, "no memory to plan %zu tensors", counts[i]);
        status = mmh_survey_file(surveys[i], context, file, limit, level, err);
    }
    if (status == MMH_OK)
        status = mmh_survey_equal(surveys, counts, plan->file_count, context->allocator, err);
    for (size_t i = 0; i < plan->file_count && status == MMH_OK; i++) {
        struct mmh_plan_file *file = &plan->files[i];
        file->first_block = list->blocks.bytes / sizeof *plan->blocks;
        if (file->info.kind == MMH_PATH_FILE)
            status = plan_blocks(list, &file->map, surveys[i], i, level, err);
        file->block_count = list->blocks.bytes / sizeof *plan->blocks - file->first_block;
    }
    return status;
}

mmh_status mmh_plan_cut(struct mmh_plan *plan, mmh_context *context, struct mmh_arena *arena,
                        int level, mmh_error *err)
{
    struct block_list list;
    mmh_buffer_init(&list.blocks, context->allocator);
    mmh_buffer_init(&list.parts, context->allocator);
    mmh_buffer_init(&list.mixed, context->allocator);
    mmh_status status = cut_files(plan, arena, &list, context, level, err);
    if (status == MMH_OK)
        status = keep_blocks(plan, arena, &list, err);
    mmh_buffer_release(&list.blocks);
    mmh_buffer_release(&list.parts);
    mmh_buffer_release(&list.mixed);
    return status;
}
