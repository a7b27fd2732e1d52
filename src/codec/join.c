/*
 * Joining: whether neighbouring tensors cost less with tables in common than each with its own.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * What a model search would find is estimated from a sample: symbols beside the scale of the row
 * and column that they stand in, and the best few tables for those scales. All of it is integer
 * arithmetic, so that every machine joins the same tensors.
 */
#include "codec/model_search_private.h"

#include <assert.h>

enum {
    SAMPLE_MAX = 1 << 13, /* elements of a tensor that are looked at, about */
    RUN = 64,             /* taken together at least */
    ROWS_MIN = 16,        /* rows in a sample; longer rows are cut into runs */
    ROW_MIN = 32,         /* elements from which on a row, */
    COLUMN_MIN = 8,       /* and a column has a mean worth knowing */
    UNEVEN = 32,          /* that explains one of so many parts of the variance */
    BINS = 16,            /* scales that are told apart: octaves */
    OCTAVE = 4,           /* levels in one */
    SYMBOLS = 256,        /* exponents, those of the first tensor in their middle */
    REACH = 64,           /* levels farther from the mean count as so far in means, */
    STEPS = 16,           /* which are in so many parts of a level */
    DOUBT = 512,          /* what is saved apart is the sample's below one of so many parts, */
    DOUBT_FEW = 1536,     /* or of so many with few tables, which suit what is alike */
};

/* The sample of a tensor, and what is known of each element. */
struct sample {
    size_t count;
    uint32_t weight;   /* elements that each one stands for */
    int32_t mean;      /* level */
    int32_t explained; /* of the variance, times count, by the classes */
    uint16_t level[SAMPLE_MAX];
    uint8_t symbol[SAMPLE_MAX]; /* 8-bit types */
    int16_t class[SAMPLE_MAX];  /* of its row and column, against the mean */
};

struct join {
    mmh_dtype dtype;
    int level;
    int32_t mean;                     /* level of the first of the tensors joined so far */
    uint64_t elements, sampled, bits; /* of them */
    mmh_bin_counts joined[BINS];
    mmh_bin_counts next[BINS], trial[BINS];
    struct sample samples[2];
    int32_t column_sum[SAMPLE_MAX];
};

/* Elements of `rows` runs of `columns` elements each, spread over the tensor's rows of as many. */
static void take_sample(struct sample *sample, const uint8_t *data, mmh_dtype dtype,
                        uint64_t elements, uint64_t columns, uint64_t rows)
{
    const struct mmh_float_type *type = mmh_float_type(dtype);
    uint64_t all = mmh_divide_up(elements, columns);
    uint64_t together = mmh_divide_up(RUN, columns); /* short rows: several at a place */
    size_t count = 0;
    for (uint64_t r = 0; r < rows; r++) {
        uint64_t row = r;
        if (rows < all)
            row = r % together +
                  mmh_part_position(r / together, mmh_divide_up(rows, together), all, together);
        uint64_t first = row * columns, end = MMH_MIN(first + columns, elements);
        for (uint64_t i = first; i < end; i++, count++)
            if (type) { /* quarter octaves: the exponent and two mantissa bits */
                uint16_t head = mmh_load16(data + (i + 1) * type->bytes - 2);
                sample->level[count] = mmh_rotl16(head, 1) >> (16 - type->exponent_bits - 2);
            } else {
                sample->symbol[count] = data[i];
            }
    }
    assert(count); /* a part has elements */
    sample->count = count;
    sample->weight = (uint32_t)MMH_MAX((elements + count / 2) / count, 1u);
    if (!type) {
        uint32_t counts[256] = { 0 };
        uint8_t level_of[256];
        for (size_t i = 0; i < count; i++)
            counts[sample->symbol[i]]++;
        mmh_byte_levels(level_of, dtype, counts);
        for (size_t i = 0; i < count; i++)
            sample->level[i] = level_of[sample->symbol[i]];
    }
    uint64_t sum = 0, counted = 0;
    for (size_t i = 0; i < count; i++)
        if (!type || sample->level[i] >= OCTAVE) { /* zeros are of no scale */
            sum += sample->level[i];
            counted++;
        }
    sample->mean = counted ? (int32_t)(sum / counted) : 0;
}

/* Classes of the sample's rows and columns, where they explain enough. */
static void classify(struct sample *sample, size_t columns, int32_t *column_sum)
{
    assert(sample->count && columns);
    size_t count = sample->count, rows = mmh_divide_up(count, columns);
    int32_t row_sum[SAMPLE_MAX / ROW_MIN], squares = 0, sum = 0;
    int32_t row_squares = 0, column_squares = 0;
    bool has_rows = columns >= ROW_MIN && rows > 1, has_columns = rows >= COLUMN_MIN;
    assert(rows);
    memset(column_sum, 0, columns * sizeof *column_sum);
    for (size_t r = 0; r < rows; r++) {
        size_t n = MMH_MIN(columns, count - r * columns);
        const uint16_t *levels = sample->level + r * columns;
        int32_t of_row = 0;
        for (size_t c = 0; c < n; c++) {
            int32_t level = MMH_MIN(MMH_MAX(levels[c] - sample->mean, -REACH), REACH);
            of_row += level;
            squares += level * level;
            column_sum[c] += level;
        }
        if (has_rows) {
            int32_t width = (int32_t)n;
            assert(width > 0);
            row_squares += of_row * of_row / width;
            row_sum[r] = of_row;
        }
        sum += of_row;
    }
    for (size_t c = 0; has_columns && c < columns; c++)
        column_squares += (int32_t)((int64_t)column_sum[c] * column_sum[c] / (int64_t)rows);
    /* Means of noise have variance too: that of one element for each row or column. */
    int32_t centre = (int32_t)((int64_t)sum * sum / (int64_t)count);
    int32_t total = squares - centre, noise = total / (int32_t)count;
    int32_t by_rows = row_squares - centre - (int32_t)rows * noise;
    int32_t by_columns = column_squares - centre - (int32_t)columns * noise;
    has_rows = has_rows && by_rows > total / UNEVEN;
    has_columns = has_columns && by_columns > total / UNEVEN;
    sample->explained = (has_rows ? by_rows : 0) + (has_columns ? by_columns : 0);
    int32_t mean = sum * STEPS / (int32_t)count;
    for (size_t c = 0; c < columns; c++) { /* damped */
        int32_t deviation = column_sum[c] * STEPS - mean * (int32_t)rows;
        column_sum[c] = has_columns ? deviation / (int32_t)(rows + 1) : 0;
    }
    for (size_t r = 0; r < rows; r++) {
        size_t first = r * columns, n = MMH_MIN(columns, count - first);
        int32_t of_row = 0;
        if (has_rows)
            of_row = (row_sum[r] * STEPS - mean * (int32_t)n) / (int32_t)(n + 1);
        for (size_t c = 0; c < n; c++) /* to the nearest; no sum is below -4 * REACH */
            sample->class[first + c] =
                (int16_t)((of_row + column_sum[c] + (8 * REACH * STEPS + STEPS / 2)) / STEPS -
                          8 * REACH);
    }
}

/* Sample a tensor in the view that explains the most. */
static const struct sample *look(struct join *join, const uint8_t *data, uint64_t elements,
                                 const struct mmh_block_part *part)
{
    uint64_t views[2] = { RUN, 0 };
    size_t best = 0;
    if (part->dimensions >= 2) {
        views[0] = part->shape[part->dimensions - 1];
        views[1] = part->shape[0] ? elements / part->shape[0] : 0;
    }
    for (size_t v = 0; v < 2; v++) {
        uint64_t columns = views[v];
        if (v && (columns < 2 || columns == views[0]))
            continue;
        if (columns < 2 || columns > SAMPLE_MAX / ROWS_MIN)
            columns = RUN;
        uint64_t rows = MMH_MIN(mmh_divide_up(elements, columns), SAMPLE_MAX / columns);
        struct sample *sample = &join->samples[v && best == 0 ? 1 : 0];
        take_sample(sample, data, join->dtype, elements, columns, rows);
        classify(sample, (size_t)columns, join->column_sum);
        if (v && sample->explained > join->samples[0].explained)
            best = 1;
    }
    return &join->samples[best];
}

/* Counts of the sample's symbols by their scale, both against a mean level. */
static void count(mmh_bin_counts counts[BINS], const struct sample *sample, int32_t mean,
                  bool is_float)
{
    memset(counts, 0, BINS * sizeof *counts);
    int32_t centre = (BINS + 1) * OCTAVE / 2 + sample->mean - mean;
    for (size_t i = 0; i < sample->count; i++) {
        int32_t bin = MMH_MIN(MMH_MAX(sample->class[i] + centre, 0), BINS * OCTAVE - 1) / OCTAVE;
        int32_t symbol = sample->symbol[i];
        if (is_float) {
            symbol = sample->level[i] / OCTAVE - mean / OCTAVE + SYMBOLS / 2;
            symbol = MMH_MIN(MMH_MAX(symbol, 0), SYMBOLS - 1);
        }
        counts[bin][symbol] += sample->weight;
    }
}

static void add(mmh_bin_counts *sum, const mmh_bin_counts *a, const mmh_bin_counts *b)
{
    for (size_t bin = 0; bin < BINS; bin++)
        for (size_t s = 0; s < SYMBOLS; s++)
            sum[bin][s] = a[bin][s] + b[bin][s];
}

/* Bits of a block of what join->trial counted, with the best tables. Changes the counts. */
static uint64_t trial_bits(struct join *join, uint64_t elements, uint64_t sampled)
{
    return mmh_plan_fixed_bits(elements, join->level) +
           mmh_model_tables_bits(join->trial, BINS, mmh_plan_tables(join->level, join->dtype),
                                 (uint32_t)MMH_MAX(elements / sampled, 1u));
}

mmh_status mmh_join_next(bool *joins, mmh_codec_workspace *workspace, const uint8_t *data,
                         mmh_dtype dtype, const struct mmh_block_part *part, int level, bool first,
                         mmh_error *err)
{
    uint64_t elements = part->elements;
    bool is_float = mmh_float_type(dtype) != NULL;
    if (!is_float && mmh_dtype_scalar_bytes(dtype) != 1) { /* no tables to share */
        *joins = !first;
        return MMH_OK;
    }
    struct join *join = (struct join *)(void *)mmh_workspace_scratch(workspace, MMH_SCRATCH_JOIN,
                                                                     sizeof *join);
    if (!join)
        return mmh_fail(err, MMH_E_MEMORY, "comparing tensors");
    join->dtype = dtype;
    join->level = MMH_MIN(MMH_MAX(level, 1), 9);
    const struct sample *sample = look(join, data, elements, part);
    count(join->trial, sample, sample->mean, is_float);
    uint64_t alone = trial_bits(join, elements, sample->count), together = 0;
    *joins = false;
    if (!first) {
        count(join->next, sample, join->mean, is_float);
        add(join->trial, join->joined, join->next);
        together = trial_bits(join, join->elements + elements, join->sampled + sample->count);
        uint64_t apart = join->bits + alone;
        *joins = together < apart + apart / (join->level > 5 ? DOUBT : DOUBT_FEW);
        /* Bytes by twos have few tables, each with buckets that suit one tensor. */
        if (mmh_plan_pairs(elements, level, dtype))
            *joins = false;
    }
    if (*joins) {
        add(join->joined, join->joined, join->next);
        join->elements += elements;
        join->sampled += sample->count;
        join->bits = together;
    } else {
        join->mean = sample->mean;
        count(join->joined, sample, join->mean, is_float);
        join->elements = elements;
        join->sampled = sample->count;
        join->bits = alone;
    }
    return MMH_OK;
}
