/*
 * The highest level's last word on which small tensors share tables: they are coded both ways.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine/survey.h"

#include "base/bits.h"
#include "kernel/kernel.h"

enum {
    STORED_BYTES = 41, /* what the container spends on a chunk or a model, about */
    BLOCK_BYTES = 8,   /* and on a block */
    TRIED_RATIO = 16   /* a run that is so many times what may join it is not coded again */
};

struct trial {
    mmh_context *context;
    struct mmh_worker *worker;        /* `stored` holds the extents' bytes, little endian */
    const struct mmh_extent *extents; /* [count] */
    size_t count;
    mmh_dtype dtype;
    int level;
};

/* Extents that are coded as one block. */
struct run {
    size_t first, end;
    uint64_t cost;
};

static uint64_t bytes_of(const struct trial *trial, const struct run *run)
{
    const struct mmh_extent *last = &trial->extents[run->end - 1];
    return last->offset + last->bytes - trial->extents[run->first].offset;
}

/* Code the run, for its cost in bytes. */
static mmh_status code(struct run *run, const struct trial *trial, mmh_error *err)
{
    struct mmh_worker *worker = trial->worker;
    struct mmh_block_part parts[MMH_SURVEY_BATCH];
    unsigned scalar_bytes = mmh_dtype_scalar_bytes(trial->dtype);
    size_t bytes = (size_t)bytes_of(trial, run), model_bytes;
    size_t chunk_bytes = MMH_MIN(bytes, (size_t)scalar_bytes * MMH_CHUNK_ELEMENTS);
    const uint8_t *model,
        *data = worker->stored + (trial->extents[run->first].offset - trial->extents[0].offset);
    const struct mmh_block_plan *plan;
    uint64_t floor_bits;
    struct mmh_block_hint hint = { .dtype = trial->dtype, .level = trial->level, .parts = parts };
    for (size_t i = run->first; i < run->end; i++) {
        struct mmh_block_part *part = &parts[hint.part_count];
        *part = (struct mmh_block_part){ .elements = trial->extents[i].bytes / scalar_bytes };
        part->dimensions = mmh_extent_hint(part->shape, &trial->extents[i]);
        hint.part_count += part->elements != 0;
    }
    mmh_status status = mmh_worker_room(trial->context, worker, 0, mmh_chunk_bound(chunk_bytes),
                                        err);
    if (status == MMH_OK)
        status = mmh_block_plan_make(&plan, &model, &model_bytes, &floor_bits, worker->codec, data,
                                     bytes, &hint, err);
    run->cost = BLOCK_BYTES;
    if (status == MMH_OK && model)
        run->cost += STORED_BYTES + model_bytes;
    for (size_t at = 0; at < bytes && status == MMH_OK; at += chunk_bytes) {
        struct mmh_chunk chunk = { .dtype = trial->dtype,
                                   .first_element = at / scalar_bytes,
                                   .bytes = MMH_MIN(chunk_bytes, bytes - at) };
        size_t stored = 0;
        unsigned codec_id;
        status = mmh_chunk_encode(worker->decoded, &stored, &codec_id, worker->codec, plan,
                                  data + at, &chunk, false, err);
        run->cost += STORED_BYTES + stored;
    }
    return status;
}

/* Whether the extent begins a run as the survey has it, or might: those that are asked. */
static bool is_major(const struct trial *trial, size_t i)
{
    return trial->extents[i].bytes >= MMH_SURVEY_MINOR_BYTES;
}

/* Runs of the extents from `first` to `end`: each begins with a major one that does not join, or
 * with each if `all`; minor ones belong to what is before them. */
static size_t list_runs(struct run *runs, const struct trial *trial,
                        const struct mmh_survey *survey, size_t first, size_t end, bool all)
{
    size_t count = 0, majors = 0;
    for (size_t i = first; i < end; i++) {
        if (!count || (majors && is_major(trial, i) && (all || !survey[i].joins)))
            runs[count++].first = i;
        runs[count - 1].end = i + 1;
        majors += is_major(trial, i);
    }
    return count;
}

static mmh_status settle(const struct trial *trial, struct mmh_survey *survey, mmh_error *err)
{
    struct run joined[MMH_SURVEY_BATCH], runs[MMH_SURVEY_BATCH];
    size_t joined_count = list_runs(joined, trial, survey, 0, trial->count, false), count = 0;
    mmh_status status = MMH_OK;
    /* What the survey joins, or each of its extents. */
    for (size_t j = 0; j < joined_count && status == MMH_OK; j++) {
        size_t singles = list_runs(runs + count, trial, survey, joined[j].first, joined[j].end,
                                   true);
        uint64_t apart = 0;
        status = code(&joined[j], trial, err);
        for (size_t i = 0; i < singles && singles > 1 && status == MMH_OK; i++) {
            status = code(&runs[count + i], trial, err);
            apart += runs[count + i].cost;
        }
        if (singles == 1 || apart >= joined[j].cost) {
            runs[count] = joined[j];
            singles = 1;
        }
        count += singles;
    }
    /* Then the neighbours among those. */
    size_t kept = 0;
    for (size_t i = 1; i < count && status == MMH_OK; i++) {
        struct run both = { .first = runs[kept].first, .end = runs[i].end, .cost = UINT64_MAX };
        if (bytes_of(trial, &runs[kept]) / TRIED_RATIO <= bytes_of(trial, &runs[i]))
            status = code(&both, trial, err);
        if (both.cost < runs[kept].cost + runs[i].cost)
            runs[kept] = both;
        else
            runs[++kept] = runs[i];
    }
    for (size_t r = 0; r <= kept && status == MMH_OK; r++) {
        bool joins = false;
        for (size_t i = runs[r].first; i < runs[r].end; i++)
            if (is_major(trial, i)) {
                survey[i].joins = joins;
                joins = true;
            }
    }
    return status;
}

mmh_status mmh_survey_settle(struct mmh_survey *survey, mmh_context *context,
                             struct mmh_worker *worker, mmh_input *input,
                             const struct mmh_extent *extents, size_t count, int level,
                             mmh_error *err)
{
    struct trial trial = {
        context, worker, extents, count, mmh_dtype_scalar(extents->dtype), level
    };
    struct run whole = { .end = count };
    size_t bytes = (size_t)bytes_of(&trial, &whole);
    unsigned scalar_bytes = mmh_dtype_scalar_bytes(trial.dtype);
    mmh_status status = mmh_worker_room(context, worker, bytes, 0, err);
    if (status == MMH_OK)
        status = mmh_input_read(input, worker->stored, extents->offset, bytes, err);
    if (status == MMH_OK && extents->big_endian && scalar_bytes > 1)
        mmh_kernels_get()->swap_bytes(worker->stored, worker->stored, bytes / scalar_bytes,
                                      scalar_bytes);
    return status == MMH_OK ? settle(&trial, survey, err) : status;
}
