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
    SPLITS_DEEP = 8,   /* pieces that are taken out of a run, one out of what another has left */
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

/* Whether the survey compares the extent with those before it. */
static bool is_major(const struct trial *trial, size_t i)
{
    return trial->extents[i].bytes >= MMH_SURVEY_MINOR_BYTES;
}

/* The piece of a run that begins at `first`: a major extent, and the minor ones behind it (a run's
 * first piece has those before it too). Returns its end. */
static size_t piece_end(const struct trial *trial, size_t first, size_t end)
{
    bool found = false;
    size_t i = first;
    for (; i < end && !(found && is_major(trial, i)); i++)
        found = found || is_major(trial, i);
    return i;
}

/* Append a run, or what is smaller: its largest piece by itself, and what is before and after that
 * treated the same. Adds to *cost. */
static mmh_status split(struct run *runs, size_t *count, uint64_t *cost, struct run run,
                        const struct trial *trial, unsigned depth, mmh_error *err)
{
    struct run parts[3] = { { .first = run.first },
                            { .first = run.first, .end = run.first },
                            { .end = run.end } };
    size_t start = *count;
    uint64_t apart = 0;
    mmh_status status = code(&run, trial, err);
    for (size_t i = run.first, end; i < run.end; i = end) {
        end = piece_end(trial, i, run.end);
        struct run piece = { .first = i, .end = end };
        if (i == run.first || bytes_of(trial, &piece) > bytes_of(trial, &parts[1]))
            parts[1] = piece;
    }
    parts[0].end = parts[1].first;
    parts[2].first = parts[1].end;
    bool one = parts[0].first == parts[0].end && parts[2].first == parts[2].end;
    if (!one && depth) {
        for (size_t i = 0; i < 3 && status == MMH_OK; i++)
            if (parts[i].first < parts[i].end)
                status = split(runs, count, &apart, parts[i], trial, depth - 1, err);
        if (status != MMH_OK || apart < run.cost) {
            *cost += apart;
            return status;
        }
    }
    runs[start] = run;
    *count = start + 1;
    *cost += run.cost;
    return status;
}

static mmh_status settle(const struct trial *trial, struct mmh_survey *survey, mmh_error *err)
{
    struct run runs[MMH_SURVEY_BATCH];
    size_t count = 0;
    uint64_t cost = 0;
    mmh_status status = MMH_OK;
    for (size_t first = 0, end; first < trial->count && status == MMH_OK; first = end) {
        for (end = piece_end(trial, first, trial->count);
             end < trial->count && survey[end].joins; /* what the survey estimates */
             end = piece_end(trial, end, trial->count))
            ;
        status = split(runs, &count, &cost, (struct run){ .first = first, .end = end }, trial,
                       SPLITS_DEEP, err);
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
        /* cppcheck-suppress uninitvar ; 0 .. kept are set */
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
    struct trial trial = { context, worker, extents, count, extents->coded, level };
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
