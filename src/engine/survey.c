/*
 * Signatures and fingerprints of small tensors, gathered by the pool.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine/survey.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "kernel/kernel.h"

enum {
    BATCH_BYTES = 4 << 20, /* extents that one job looks at */
    MINOR_BITS = 8 * 300,  /* that a minor extent may cost its neighbours by joining them */
    SAMPLE_VALUES = 512,   /* elements that are looked at for values that come again nearby */
    NEARBY = 16
};

struct batch {
    size_t first, count;
};

struct surveying {
    mmh_context *context;
    const struct mmh_plan_file *file;
    const struct mmh_extent_map *map; /* its */
    struct mmh_survey *survey;
    struct batch *batches;
    int level;
};

static inline uint64_t element_at(const uint8_t *data, size_t index, unsigned bytes)
{
    data += index * bytes;
    return bytes == 2 ? mmh_load16(data) : bytes == 4 ? mmh_load32(data) : mmh_load64(data);
}

/* Whether many values came just before, as in weights that were quantised once: matches find
 * more in them than statistics. Looks at a spread sample; zeros do not count. */
static inline bool values_of_width_repeat(const uint8_t *data, size_t elements, unsigned bytes)
{
    size_t step = elements > SAMPLE_VALUES ? elements / SAMPLE_VALUES : 1;
    size_t looked = 0, repeated = 0;
    for (size_t i = NEARBY; i < elements; i += step) {
        uint64_t value = element_at(data, i, bytes);
        bool found = false;
        for (size_t k = 1; k <= NEARBY; k++)
            found |= element_at(data, i - k, bytes) == value;
        looked += value != 0;
        repeated += value != 0 && found;
    }
    return repeated * 3 > looked;
}

static bool values_repeat(const uint8_t *data, size_t elements, unsigned bytes)
{
    switch (bytes) { /* each a loop for itself */
    case 2:
        return values_of_width_repeat(data, elements, 2);
    case 4:
        return values_of_width_repeat(data, elements, 4);
    default:
        return values_of_width_repeat(data, elements, 8);
    }
}

/* Whether the lowest byte is far from uniform, as noise is not: again weights with a history. */
static bool low_byte_skewed(const uint8_t *data, size_t elements, unsigned bytes)
{
    uint32_t counts[256] = { 0 };
    size_t step = elements > 8 * SAMPLE_VALUES ? elements / (8 * SAMPLE_VALUES) : 1;
    uint64_t looked = 0, squares = 0;
    for (size_t i = 0; i < elements; i += step, looked++)
        counts[data[i * bytes]]++;
    for (unsigned i = 0; i < 256; i++)
        squares += (uint64_t)counts[i] * counts[i];
    return looked >= SAMPLE_VALUES && squares > looked * looked / 128 + looked;
}

static size_t count_zeros(const uint8_t *data, size_t elements, unsigned bytes)
{
    size_t zeros = 0;
    switch (bytes) {
    case 1:
        for (size_t i = 0; i < elements; i++)
            zeros += data[i] == 0;
        break;
    case 2:
        for (size_t i = 0; i < elements; i++)
            zeros += mmh_load16(data + 2 * i) == 0;
        break;
    case 4:
        for (size_t i = 0; i < elements; i++)
            zeros += mmh_load32(data + 4 * i) == 0;
        break;
    default:
        for (size_t i = 0; i < elements; i++)
            zeros += mmh_load64(data + 8 * i) == 0;
        break;
    }
    return zeros;
}

static void look(struct mmh_survey *survey, const struct mmh_extent *extent, uint8_t *data)
{
    unsigned bytes = mmh_dtype_scalar_bytes(extent->coded);
    size_t elements = (size_t)extent->bytes / bytes;
    if (!elements)
        return;
    size_t zeros = count_zeros(data, elements, bytes);
    if (bytes == 1) {
        survey->signature.zeros = zeros == elements ? 2 : zeros * 2 > elements;
        return;
    }
    const struct mmh_kernels *kernels = mmh_kernels_get();
    if (extent->big_endian)
        kernels->swap_bytes(data, data, elements, bytes);
    uint64_t any, all, sign = UINT64_C(1) << (8 * bytes - 1);
    kernels->bits_used(&any, &all, data, elements, bytes);
    survey->signature.sign = !(any & sign) ? 1 : all & sign ? 2 : 0;
    survey->signature.zeros = zeros == elements ? 2 : zeros * 32 > elements;
    survey->signature.trailing_zeros = any ? (uint8_t)mmh_ctz64(any) : 64;
    survey->alone = values_repeat(data, elements, bytes) || low_byte_skewed(data, elements, bytes);
}

bool mmh_survey_minor_joins(struct mmh_bit_signature *run, uint64_t run_elements,
                            const struct mmh_bit_signature *next, uint64_t next_elements)
{
    struct mmh_bit_signature both = {
        .sign = run->sign == next->sign ? run->sign : 0,
        .zeros = run->zeros,
        .trailing_zeros = MMH_MIN(run->trailing_zeros, next->trailing_zeros),
    };
    uint64_t run_bits = (run->sign != both.sign) + run->trailing_zeros - both.trailing_zeros;
    uint64_t next_bits = (next->sign != both.sign) + next->trailing_zeros - both.trailing_zeros;
    if (run_elements * run_bits + next_elements * next_bits > MINOR_BITS)
        return false;
    *run = both;
    return true;
}

/* Extents that are coded together, as far as they are known. */
struct run {
    const struct mmh_survey *first;  /* major one of them, or their first; NULL: none */
    const struct mmh_extent *extent; /* the same */
    struct mmh_bit_signature signature;
    uint64_t elements;
};

/* Compare an extent with the run of those before it. */
static mmh_status compare(struct run *run, struct surveying *surveying, struct mmh_worker *worker,
                          size_t index, mmh_error *err)
{
    const struct mmh_extent *extent = &surveying->map->extents[index];
    struct mmh_survey *survey = &surveying->survey[index];
    mmh_dtype scalar = extent->coded;
    struct mmh_block_part part = { .elements = extent->bytes / mmh_dtype_scalar_bytes(scalar) };
    mmh_status status = MMH_OK;
    if (extent->bytes < MMH_SURVEY_MINOR_BYTES) {
        survey->compared = run->first && mmh_survey_minor_joins(&run->signature, run->elements,
                                                                &survey->signature, part.elements);
        if (survey->compared) /* else it is but a gap to what comes next */
            run->elements += part.elements;
        return MMH_OK;
    }
    survey->compared = run->first && !survey->alone && !run->first->alone &&
                       memcmp(&run->first->signature, &survey->signature,
                              sizeof survey->signature) == 0;
    part.dimensions = mmh_extent_hint(part.shape, extent);
    status = mmh_join_next(&survey->joins, worker->codec, worker->stored, scalar, &part,
                           surveying->level, !survey->compared, err);
    if (!survey->joins)
        *run = (struct run){ .first = survey, .extent = extent, .signature = survey->signature };
    run->elements += part.elements;
    return status;
}

static bool one_type(const struct mmh_extent *a, const struct mmh_extent *b)
{
    return a->coded == b->coded && a->big_endian == b->big_endian;
}

/* Find the neighbours that might join, and settle what they do. */
static mmh_status try_batch(struct surveying *surveying, struct mmh_worker *worker,
                            mmh_input *input, const struct batch *batch, mmh_error *err)
{
    const struct mmh_extent *extents = surveying->map->extents;
    size_t end = batch->first + batch->count, first = batch->first;
    struct mmh_survey *survey = surveying->survey;
    mmh_status status = MMH_OK;
    while (first < end && status == MMH_OK) {
        size_t next = first, majors = 0, major = first;
        do {
            if (extents[next].bytes >= MMH_SURVEY_MINOR_BYTES && !majors++)
                major = next;
        } while (++next < end && survey[next].compared &&
                 one_type(&extents[first], &extents[next]));
        if (majors > 1 && survey[first].seen) {
            bool joins = survey[first].compared && survey[major].joins; /* those before a gap */
            status = mmh_survey_settle(&survey[first], surveying->context, worker, input,
                                       &extents[first], next - first, surveying->level, err);
            survey[major].joins = joins;
        }
        first = next;
    }
    return status;
}

static mmh_status survey_batch(void *context, size_t job, unsigned worker_index, mmh_error *err)
{
    struct surveying *surveying = context;
    struct mmh_worker *worker = &surveying->context->workers[worker_index];
    const struct batch *batch = &surveying->batches[job];
    mmh_input *input;
    mmh_status status = mmh_plan_open(&input, surveying->file, surveying->context->allocator, err);
    if (status != MMH_OK)
        return status;
    struct run run = { .first = NULL };
    for (size_t i = batch->first; i < batch->first + batch->count && status == MMH_OK; i++) {
        const struct mmh_extent *extent = &surveying->map->extents[i];
        struct mmh_survey *survey = &surveying->survey[i];
        bool other = !survey->seen || (run.first && !one_type(run.extent, extent));
        bool gap = survey->seen ? extent->bytes < MMH_SURVEY_MINOR_BYTES
                                : extent->bytes <= MMH_SURVEY_GAP_BYTES;
        if (other && !gap) /* across gaps tensors may join */
            run.first = NULL;
        if (!survey->seen)
            continue;
        status = mmh_worker_room(surveying->context, worker, (size_t)extent->bytes, 0, err);
        if (status == MMH_OK)
            status = mmh_input_read(input, worker->stored, extent->offset, (size_t)extent->bytes,
                                    err);
        uint8_t digest[MMH_HASH_BYTES];
        if (status == MMH_OK)
            status = mmh_hash(digest, mmh_hash_suite_default(), MMH_DOMAIN_SLICE, worker->stored,
                              (size_t)extent->bytes, err);
        if (status != MMH_OK)
            break;
        survey->fingerprint[0] = mmh_load64(digest);
        survey->fingerprint[1] = mmh_load64(digest + 8);
        look(survey, extent, worker->stored);
        if (!run.first || !other)
            status = compare(&run, surveying, worker, i, err);
    }
    if (status == MMH_OK && surveying->level >= MMH_SURVEY_TRIAL_LEVEL)
        status = try_batch(surveying, worker, input, batch, err);
    mmh_input_close(input);
    return status;
}

mmh_status mmh_survey_file(struct mmh_survey *survey, mmh_context *context,
                           const struct mmh_plan_file *file, uint64_t limit_bytes, int level,
                           mmh_error *err)
{
    const struct mmh_extent_map *map = &file->map;
    struct surveying surveying = {
        .context = context, .file = file, .map = map, .survey = survey, .level = level
    };
    size_t batches = 0;
    for (int pass = 0; pass < 2; pass++) { /* count, then fill in */
        uint64_t bytes = 0;
        size_t extents = 0;
        batches = 0;
        for (size_t i = 0; i < map->extent_count; i++) {
            const struct mmh_extent *extent = &map->extents[i];
            mmh_dtype scalar = extent->coded;
            survey[i].seen = scalar != MMH_DTYPE_OPAQUE && !mmh_dtype_is_block(extent->dtype) &&
                             extent->bytes < limit_bytes &&
                             extent->bytes % mmh_dtype_scalar_bytes(scalar) == 0;
            if (!survey[i].seen)
                continue;
            if (!batches || bytes + extent->bytes > BATCH_BYTES || extents == MMH_SURVEY_BATCH) {
                if (pass)
                    surveying.batches[batches].first = i;
                batches++;
                bytes = extents = 0;
            }
            bytes += extent->bytes;
            extents++;
            if (pass)
                surveying.batches[batches - 1].count = i + 1 - surveying.batches[batches - 1].first;
        }
        if (!batches)
            return MMH_OK;
        if (!pass) {
            surveying.batches = mmh_alloc_array(context->allocator, batches,
                                                sizeof *surveying.batches);
            if (!surveying.batches)
                return mmh_fail(err, MMH_E_MEMORY, "no memory to survey \"%s\"", file->path);
        }
    }
    mmh_status status = mmh_pool_run(context->pool, batches, survey_batch, &surveying, err);
    mmh_free(context->allocator, surveying.batches);
    return status;
}

static int by_fingerprint(const void *a, const void *b)
{
    const uint64_t *x = (*(struct mmh_survey *const *)a)->fingerprint;
    const uint64_t *y = (*(struct mmh_survey *const *)b)->fingerprint;
    if (x[0] != y[0])
        return x[0] < y[0] ? -1 : 1;
    return x[1] == y[1] ? 0 : x[1] < y[1] ? -1 : 1;
}

mmh_status mmh_survey_equal(struct mmh_survey *const *surveys, const size_t *counts,
                            size_t file_count, const mmh_allocator *allocator, mmh_error *err)
{
    size_t total = 0, at = 0;
    for (size_t f = 0; f < file_count; f++)
        total += counts[f];
    struct mmh_survey **sorted = mmh_alloc_array(allocator, total, sizeof *sorted);
    if (!sorted)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to compare %zu tensors", total);
    for (size_t f = 0; f < file_count; f++)
        for (size_t i = 0; i < counts[f]; i++)
            if (surveys[f][i].seen)
                sorted[at++] = &surveys[f][i];
    qsort(sorted, at, sizeof *sorted, by_fingerprint);
    for (size_t i = 1; i < at; i++)
        if (by_fingerprint(&sorted[i - 1], &sorted[i]) == 0)
            sorted[i - 1]->alone = sorted[i]->alone = sorted[i - 1]->repeated =
                sorted[i]->repeated = true;
    mmh_free(allocator, sorted);
    return MMH_OK;
}
