/*
 * Model search: classes of rows and columns, and the few tables that serve them all.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Rows and columns of a weight matrix differ in scale. Each gets a class, its mean deviation in
 * quarter octaves; elements whose classes add up to the same bin are alike, and an optimal
 * partition of the bins into runs gives the tables. All of it is integer arithmetic.
 */
#include "codec/model_search_private.h"

#include <assert.h>

enum {
    CLASS_LIMIT = 32, /* classes lie within +-; bins are clamped anyway */
    ROW_MIN = 32,     /* columns below which rows get no classes */
    COLUMN_MIN = 8,   /* rows below which columns get none */
    COLUMNS_MAX = 1 << 20,
    VIEWS_MAX = 6,
    SAMPLE_RUN = 256,
    SAMPLE_FLAT = 1 << 16, /* elements that show about what one table costs */
    PART_MIN = 1024,       /* elements below which a part of several is one row */
    FLAT_ROW = 256,        /* what is no matrix is cut into rows of so many */
    CANDIDATES = 8,        /* classes that a refinement looks at: from 4 below to 3 above */
    COST_STEPS = 32,       /* its unit: 1/32 bit, in 16 bits */
    COST_MAX = 2047,       /* so that 32 of them fit */
};

/* ---- views: the block as a matrix ---- */

struct view {
    uint64_t first, elements; /* of the block */
    uint64_t columns, phase, rows;
    bool use_rows, use_columns;
    int8_t *row, *column;
    int64_t score; /* bits saved, by the variance that the classes explain */
};

/* Rows of `columns` elements from the first of the tensor on. `first`: the part's, in the block. */
static void add_view(struct view *views, size_t *count, const struct mmh_block_part *part,
                     uint64_t first, uint64_t columns)
{
    if (columns < 2 || columns > COLUMNS_MAX || *count == VIEWS_MAX)
        return;
    for (size_t i = 0; i < *count; i++)
        if (views[i].columns == columns)
            return;
    uint64_t phase = part->tensor_first % columns;
    struct view view = {
        .first = first, .elements = part->elements, .columns = columns, .phase = phase
    };
    view.rows = mmh_divide_up(phase + part->elements, columns);
    if (view.rows >= 2 && (columns >= ROW_MIN || view.rows >= COLUMN_MIN))
        views[(*count)++] = view;
}

static size_t list_views(struct view views[VIEWS_MAX], const struct mmh_block_part *part,
                         uint64_t first)
{
    size_t count = 0;
    uint64_t after_first = 1, kernel = 1;
    uint32_t d = part->dimensions;
    for (uint32_t i = 1; i < d; i++)
        if (!mmh_u64_mul(&after_first, after_first, part->shape[i]))
            return 0;
    if (d >= 2) {
        for (uint32_t i = 2; i < d; i++)
            kernel *= part->shape[i];
        add_view(views, &count, part, first, after_first);        /* dim 0 | rest */
        add_view(views, &count, part, first, part->shape[d - 1]); /* all but last | last */
        if (d >= 3) {
            add_view(views, &count, part, first, kernel); /* all but kernel | kernel */
            add_view(views, &count, part, first, part->shape[d - 1] * part->shape[d - 2]);
        }
    }
    if (!count && part->elements >= 16 * FLAT_ROW)
        add_view(views, &count, part, first, FLAT_ROW);
    return count;
}

/* Elements in a row and in a column of the view. */
static uint64_t row_length(const struct view *view, uint64_t row)
{
    uint64_t first = row ? row * view->columns - view->phase : 0;
    uint64_t end = MMH_MIN((row + 1) * view->columns - view->phase, view->elements);
    return end - first;
}

static uint64_t column_length(const struct view *view, uint64_t column)
{
    uint64_t end = view->phase + view->elements;
    uint64_t n = end / view->columns + (column < end % view->columns);
    return n - (column < view->phase);
}

/*
 * Classes from sums: the deviation from the mean in quarter octaves, damped by n / (n + 1).
 * Either row_sums or column_sums is NULL. Returns the sum over all elements of the deviations'
 * squares in 1/256 of squared level units.
 */
static uint64_t make_classes(int8_t *classes, const uint64_t *row_sums, const uint32_t *column_sums,
                             const struct view *view, int64_t mean, unsigned shift)
{
    bool rows = row_sums != NULL;
    uint64_t count = rows ? view->rows : view->columns;
    uint64_t squares = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t n = rows ? row_length(view, i) : column_length(view, i);
        if (!n) {
            classes[i] = 0;
            continue;
        }
        uint64_t sum = rows ? row_sums[i] : column_sums[i];
        int64_t deviation = (int64_t)(sum * 256 / n) - mean; /* in 1/256 */
        squares += n * (uint64_t)(deviation * deviation) / 256;
        int64_t damped = deviation * ((int64_t)1 << shift) * (int64_t)n;
        damped /= (int64_t)(n + 1);
        int64_t class = (damped + (damped < 0 ? -128 : 128)) / 256;
        classes[i] = (int8_t)MMH_MAX(MMH_MIN(class, CLASS_LIMIT - 1), -CLASS_LIMIT);
    }
    return squares;
}

/* Bits that `elements` symbols save when classes explain part of their variance. */
static int64_t variance_gain(uint64_t elements, uint64_t total, uint64_t explained)
{
    if (!total || !explained)
        return 0;
    explained = MMH_MIN(explained, total - total / 8);
    unsigned shift = mmh_log2_ceil(total) > 31 ? mmh_log2_ceil(total) - 31 : 0;
    uint32_t whole = (uint32_t)(total >> shift), rest = (uint32_t)((total - explained) >> shift);
    if (!rest || whole <= rest)
        return 0;
    return (int64_t)(elements * (mmh_cost_log2(whole) - mmh_cost_log2(rest)) / 2 >> 16);
}

/* Variance of the levels times `elements`, in 1/256, from counts of the symbols. */
static uint64_t variance_of(const struct mmh_search *search, const uint32_t counts[256],
                            uint64_t elements)
{
    uint64_t total = 0, sum = 0, squares = 0;
    for (unsigned s = 0; s < 256; s++) {
        uint64_t level = search->level_of ? search->level_of[s] : s;
        total += counts[s];
        sum += counts[s] * level;
        squares += counts[s] * level * level;
    }
    uint64_t mean = sum * 256 / total, square = squares * 256 / total;
    return (square - MMH_MIN(square, mean * mean / 256)) * elements;
}

/* Fill in a view's classes and score it. Levels << shift are steps of classes. */
static void score_view(struct view *view, const struct mmh_search *search, uint64_t *sums,
                       uint64_t variance, unsigned shift)
{
    uint64_t *row_sums = sums;
    uint32_t *column_sums = (uint32_t *)(void *)(sums + view->rows);
    uint64_t n = view->elements;
    memset(row_sums, 0, view->rows * sizeof *row_sums);
    memset(column_sums, 0, view->columns * sizeof *column_sums);
    search->workspace->kernels->row_column_sums(row_sums, column_sums, search->levels + view->first,
                                                view->phase, (size_t)n, view->columns);
    uint64_t total = 0;
    for (uint64_t r = 0; r < view->rows; r++)
        total += row_sums[r];
    int64_t mean = (int64_t)(total * 256 / n);
    view->score = 0;
    view->use_rows = view->use_columns = false;
    memset(view->row, 0, view->rows + MMH_KERNEL_SLACK);
    memset(view->column, 0, view->columns + MMH_KERNEL_SLACK);
    /* Means of noise have variance too: that of one element for each row or column. */
    uint64_t noise = variance / n;
    if (view->columns >= ROW_MIN) {
        uint64_t squares = make_classes(view->row, row_sums, NULL, view, mean, shift);
        uint64_t less = view->rows * noise;
        int64_t gain = variance_gain(n, variance, squares - MMH_MIN(squares, less));
        gain -= (int64_t)mmh_model_classes_bits(view->row, (size_t)view->rows);
        view->use_rows = gain > 0;
        view->score += MMH_MAX(gain, 0);
    }
    if (view->rows >= COLUMN_MIN) {
        uint64_t squares = make_classes(view->column, NULL, column_sums, view, mean, shift);
        uint64_t less = view->columns * noise;
        int64_t gain = variance_gain(n, variance, squares - MMH_MIN(squares, less));
        gain -= (int64_t)mmh_model_classes_bits(view->column, (size_t)view->columns);
        view->use_columns = gain > 0;
        view->score += MMH_MAX(gain, 0);
    }
}

/* ---- histograms of the bins ---- */

/* A position for run `index` of `runs` in [0, elements - length], spread evenly but not on a grid:
 * one that is in step with the columns would see few of them. */
static uint64_t sample_position(uint64_t index, uint64_t runs, uint64_t elements, uint64_t length)
{
    uint64_t room = elements - length, stride = room / runs;
    uint32_t mixed = (uint32_t)index * 2654435761u;
    uint64_t jitter = stride ? ((uint64_t)(mixed >> 8) * stride) >> 24 : 0;
    return index * stride + jitter;
}

/* Joint histogram of bin and symbol, of `sample` elements or all; returns how many were counted.
 * Without views there is one bin. */
static uint64_t count_bins(mmh_bin_counts *counts, const struct mmh_view *views, size_t view_count,
                           const struct mmh_search *search, uint64_t sample)
{
    const struct mmh_kernels *kernels = search->workspace->kernels;
    uint64_t n = search->elements, runs = mmh_divide_up(n, SAMPLE_RUN), counted = 0;
    bool all = n <= sample;
    uint8_t identity[MMH_CLASS_BINS];
    for (unsigned i = 0; i < MMH_CLASS_BINS; i++)
        identity[i] = (uint8_t)i;
    memset(counts, 0, MMH_CLASS_BINS * sizeof *counts);
    if (!all)
        runs = sample / SAMPLE_RUN;
    for (uint64_t i = 0; i < runs; i++) {
        uint8_t bins[SAMPLE_RUN + MMH_KERNEL_SLACK];
        uint64_t at = all ? i * SAMPLE_RUN : sample_position(i, runs, n, SAMPLE_RUN);
        size_t length = (size_t)MMH_MIN(SAMPLE_RUN, n - at);
        counted += length;
        if (!view_count) {
            kernels->histogram(counts[MMH_CLASS_BINS / 2], search->symbols + at, length, 1);
            continue;
        }
        mmh_views_classes(bins, kernels, views, view_count, at, length, identity);
        kernels->histogram_classes(counts[0], search->symbols + at, bins, length, 1);
    }
    return counted;
}

/* ---- refinement: classes by what they cost ---- */

/* cost[symbol][bin + CANDIDATES]: in 1/32 bit, bins beyond the ends as the last ones. */
enum {
    COST_BINS = MMH_CLASS_BINS + 4 * CLASS_LIMIT + 2 * CANDIDATES,
    COST_FIRST = 2 * CLASS_LIMIT
};
typedef uint16_t symbol_costs[COST_BINS];

static void fill_costs(symbol_costs *costs, const struct mmh_model_draft *draft,
                       const struct mmh_search *search)
{
    uint8_t map[MMH_CLASS_BINS];
    mmh_model_map(map, draft->bounds, draft->table_count);
    for (unsigned s = 0; s < 256; s++)
        for (int b = 0; b < COST_BINS; b++) {
            int bin = MMH_MIN(MMH_MAX(b - COST_FIRST, 0), MMH_CLASS_BINS - 1);
            unsigned f = draft->frequency[map[bin]][s];
            uint32_t cost = f ? (draft->bits << 16) - mmh_cost_log2(f)
                              : (search->patch_bits + 2) << 16;
            costs[s][b] = (uint16_t)MMH_MIN(cost * COST_STEPS >> 16, COST_MAX);
        }
}

/* Bits that a class takes in the model, about: a Rice code around the mean. */
static uint32_t class_bits(int class, int mean, unsigned k)
{
    unsigned distance = (unsigned)(class < mean ? mean - class : class - mean) * 2;
    return (distance >> k) + 1 + k;
}

/* The candidate that costs the least, the class's own bits included. */
static int8_t best_class(int8_t class, const uint32_t costs[CANDIDATES], int mean, unsigned k)
{
    uint32_t best = UINT32_MAX;
    int8_t chosen = class;
    for (int i = 0; i < CANDIDATES; i++) {
        int candidate = class + i - CANDIDATES / 2;
        if (candidate < -CLASS_LIMIT || candidate >= CLASS_LIMIT)
            continue;
        uint32_t cost = costs[i] + COST_STEPS * class_bits(candidate, mean, k);
        if (cost < best || (cost == best && candidate == class)) {
            best = cost;
            chosen = (int8_t)candidate;
        }
    }
    return chosen;
}

/* Mean and Rice order of classes, for class_bits. */
static void class_shape(const int8_t *classes, uint64_t count, int *mean, unsigned *k)
{
    int64_t sum = 0, spread = 0;
    assert(count);
    for (uint64_t i = 0; i < count; i++)
        sum += classes[i];
    *mean = (int)(sum / (int64_t)count);
    for (uint64_t i = 0; i < count; i++)
        spread += classes[i] < *mean ? *mean - classes[i] : classes[i] - *mean;
    *k = mmh_log2_ceil((uint64_t)spread * 2 / count + 1);
    *k -= *k > 0;
}

static void refine_rows(struct view *view, const struct mmh_search *search, symbol_costs *costs)
{
    int mean;
    unsigned k;
    class_shape(view->row, view->rows, &mean, &k);
    uint64_t at = 0;
    for (uint64_t r = 0; r < view->rows; r++) {
        size_t first = r ? 0 : (size_t)view->phase;
        size_t n = (size_t)row_length(view, r);
        const uint8_t *symbols = search->symbols + view->first + at;
        const int8_t *column = view->use_columns ? view->column + first : NULL;
        int base = COST_FIRST + MMH_CLASS_BINS / 2 + view->row[r] - CANDIDATES / 2;
        uint32_t sums[CANDIDATES] = { 0 };
        for (size_t c = 0; c < n;) {
            uint16_t part[CANDIDATES] = { 0 };
            for (size_t end = MMH_MIN(n, c + COST_STEPS); c < end; c++) {
                const uint16_t *cost = costs[symbols[c]] + base + (column ? column[c] : 0);
                for (unsigned i = 0; i < CANDIDATES; i++)
                    part[i] = (uint16_t)(part[i] + cost[i]);
            }
            for (unsigned i = 0; i < CANDIDATES; i++)
                sums[i] += part[i];
        }
        view->row[r] = best_class(view->row[r], sums, mean, k);
        at += n;
    }
}

/* sums: [columns][CANDIDATES] u32, then u16. */
static void refine_columns(struct view *view, const struct mmh_search *search, symbol_costs *costs,
                           uint32_t *sums)
{
    int mean;
    unsigned k, pending = 0;
    size_t columns = (size_t)view->columns, cells = columns * CANDIDATES;
    uint16_t *part = (uint16_t *)(sums + cells);
    class_shape(view->column, view->columns, &mean, &k);
    memset(sums, 0, cells * sizeof *sums);
    memset(part, 0, cells * sizeof *part);
    uint64_t at = 0;
    for (uint64_t r = 0; r < view->rows; r++) {
        size_t first = r ? 0 : (size_t)view->phase;
        size_t n = (size_t)row_length(view, r);
        const uint8_t *symbols = search->symbols + view->first + at;
        const int8_t *column = view->column + first;
        int base = COST_FIRST + MMH_CLASS_BINS / 2 - CANDIDATES / 2;
        base += view->use_rows ? view->row[r] : 0;
        uint16_t *out = part + first * CANDIDATES;
        for (size_t c = 0; c < n; c++, out += CANDIDATES) {
            const uint16_t *cost = costs[symbols[c]] + base + column[c];
            for (unsigned i = 0; i < CANDIDATES; i++)
                out[i] = (uint16_t)(out[i] + cost[i]);
        }
        at += n;
        if (++pending == COST_STEPS || r + 1 == view->rows) {
            for (size_t i = 0; i < cells; i++)
                sums[i] += part[i];
            memset(part, 0, cells * sizeof *part);
            pending = 0;
        }
    }
    for (size_t c = 0; c < columns; c++)
        view->column[c] = best_class(view->column[c], sums + c * CANDIDATES, mean, k);
}

/* ---- the search ---- */

/* Buffers of one search, and what it has found so far. */
struct state {
    const struct mmh_search *search;
    struct mmh_model_draft *draft;
    uint64_t *cost;
    mmh_bin_counts *counts;
    uint64_t *costs;           /* [64 * 64] */
    uint16_t (*tables)[256];   /* [2][MMH_RANS_TABLES_MAX]: of the best draft and of the next */
    struct view *chosen;       /* [part_count] one for each part */
    struct mmh_view *views[2]; /* [part_count] the same, of the best draft and of the next */
    int8_t *classes[2];        /* [class_room] their classes */
    unsigned next;             /* which of the two is free */
};

/* A view as a model has it. */
static struct mmh_view kept_view(const struct view *view)
{
    return (struct mmh_view){
        .first = view->first,
        .elements = view->elements,
        .columns = view->columns,
        .phase = view->phase,
        .rows = view->rows,
        .row = view->use_rows ? view->row : NULL,
        .column = view->use_columns ? view->column : NULL,
    };
}

/* Copy views and their classes to the free set; returns their cost in bits. */
static uint64_t keep_views(struct state *state, size_t *count, const struct view *views,
                           size_t view_count)
{
    struct mmh_view *out = state->views[state->next];
    int8_t *keep = state->classes[state->next];
    uint64_t bits = 0;
    *count = 0;
    for (size_t i = 0; i < view_count; i++) {
        struct mmh_view view = kept_view(&views[i]);
        if (view.row) {
            view.row = memcpy(keep, view.row, view.rows + MMH_KERNEL_SLACK);
            keep += view.rows + MMH_KERNEL_SLACK;
        }
        if (view.column) {
            view.column = memcpy(keep, view.column, view.columns + MMH_KERNEL_SLACK);
            keep += view.columns + MMH_KERNEL_SLACK;
        }
        bits += mmh_model_view_bits(&view);
        out[(*count)++] = view;
    }
    return bits;
}

/* Tables for the views' classes; the draft if it is better than what there was. */
static bool try_views(struct state *state, const struct view *views, size_t view_count,
                      uint64_t sample)
{
    struct mmh_model_draft trial = {
        .kind = MMH_MODEL_RANS,
        .bits = state->search->bits,
        .elements = state->search->elements,
        .views = state->views[state->next],
        .frequency = state->tables + state->next * MMH_RANS_TABLES_MAX,
    };
    uint64_t bits = keep_views(state, &trial.view_count, views, view_count);
    uint64_t counted = count_bins(state->counts, trial.views, trial.view_count, state->search,
                                  sample);
    bits += mmh_model_tables(&trial, state->counts, state->costs, state->search, counted);
    if (trial.view_count && bits + state->search->overhead_bits >= *state->cost)
        return false;
    *state->cost = bits;
    *state->draft = trial;
    state->next = !state->next;
    return true;
}

/* Rescore each class by the cost under the draft's tables, and make the tables anew. */
static mmh_status refine(struct state *state, struct view *views, size_t view_count, mmh_error *err)
{
    const struct mmh_search *search = state->search;
    size_t columns = 0;
    for (size_t i = 0; i < view_count; i++)
        columns = MMH_MAX(columns, state->draft->views[i].column ? (size_t)views[i].columns : 0);
    uint8_t *memory = mmh_workspace_scratch(search->workspace, MMH_SCRATCH_SPARE,
                                            256 * sizeof(symbol_costs) + columns * CANDIDATES * 6);
    if (!memory)
        return mmh_fail(err, MMH_E_MEMORY, "refining the classes of %zu views", view_count);
    symbol_costs *costs = (symbol_costs *)(void *)memory;
    uint32_t *sums = (uint32_t *)(void *)(memory + 256 * sizeof *costs);
    for (size_t i = 0; i < view_count; i++) { /* the views may hold what was tried since */
        const struct mmh_view *kept = &state->draft->views[i];
        views[i].use_rows = kept->row != NULL;
        views[i].use_columns = kept->column != NULL;
        if (kept->row)
            memcpy(views[i].row, kept->row, (size_t)kept->rows);
        if (kept->column)
            memcpy(views[i].column, kept->column, (size_t)kept->columns);
    }
    for (unsigned pass = 0; pass < search->passes; pass++) {
        fill_costs(costs, state->draft, search);
        for (size_t i = 0; i < view_count; i++) {
            if (views[i].use_rows)
                refine_rows(&views[i], search, costs);
            if (views[i].use_columns)
                refine_columns(&views[i], search, costs, sums);
        }
        if (!try_views(state, views, view_count, search->sample) && pass)
            break;
    }
    return MMH_OK;
}

/* Add to all classes of one kind, so that tensors of different scale share the bins. */
static void shift_classes(int8_t *classes, uint64_t count, int64_t by)
{
    for (uint64_t i = 0; i < count; i++) {
        int64_t class = classes[i] + by;
        classes[i] = (int8_t)MMH_MAX(MMH_MIN(class, CLASS_LIMIT - 1), -CLASS_LIMIT);
    }
}

/* The part as one row: its class is its scale. */
static struct view flat_view(const struct mmh_block_part *part, uint64_t first, int8_t *classes)
{
    struct view view = { .first = first,
                         .elements = part->elements,
                         .columns = part->elements,
                         .rows = 1,
                         .use_rows = true,
                         .row = classes,
                         .column = classes + 1 + MMH_KERNEL_SLACK };
    memset(classes, 0, 1 + MMH_KERNEL_SLACK);
    return view;
}

/* Mean of the levels of a run, in 1/256. */
static int64_t mean_level(const struct mmh_search *search, const uint32_t counts[256])
{
    uint64_t total = 0, sum = 0;
    for (unsigned s = 0; s < 256; s++) {
        total += counts[s];
        sum += (uint64_t)counts[s] * (search->level_of ? search->level_of[s] : s);
    }
    return total ? (int64_t)(sum * 256 / total) : 0;
}

/* Choose the view of one part of several, by the variance that it explains, and set its classes
 * against the mean of the whole block. */
static void choose_view(struct view *chosen, const struct mmh_search *search,
                        const struct mmh_block_part *part, uint64_t first, int64_t block_mean,
                        int8_t *classes, int8_t *candidate, uint64_t *sums)
{
    struct view views[VIEWS_MAX];
    uint32_t counts[256] = { 0 };
    search->workspace->kernels->histogram(counts, search->symbols + first, (size_t)part->elements,
                                          1);
    uint64_t variance = variance_of(search, counts, part->elements);
    int64_t away = (mean_level(search, counts) - block_mean) * ((int64_t)1 << search->level_shift);
    away = (away + (away < 0 ? -128 : 128)) / 256;
    *chosen = flat_view(part, first, classes);
    size_t view_count = part->elements >= PART_MIN ? list_views(views, part, first) : 0;
    for (size_t i = 0; i < view_count; i++) {
        struct view *view = &views[i];
        view->row = candidate;
        view->column = candidate + view->rows + MMH_KERNEL_SLACK;
        score_view(view, search, sums, variance, search->level_shift);
        if (view->score <= chosen->score)
            continue;
        memcpy(classes, candidate, view->rows + view->columns + 2 * MMH_KERNEL_SLACK);
        *chosen = *view;
        chosen->row = classes;
        chosen->column = classes + view->rows + MMH_KERNEL_SLACK;
    }
    if (chosen->use_rows)
        shift_classes(chosen->row, chosen->rows, away);
    else
        shift_classes(chosen->column, chosen->columns, away);
}

/* Room for the classes of any view of a part, and of the sums that make them. */
static void part_room(uint64_t *classes, uint64_t *sums, const struct mmh_block_part *part)
{
    struct view views[VIEWS_MAX];
    size_t count = list_views(views, part, 0);
    *classes = 1 + 2 * MMH_KERNEL_SLACK;
    for (size_t i = 0; i < count; i++) {
        *classes = MMH_MAX(*classes, views[i].rows + views[i].columns + 2 * MMH_KERNEL_SLACK);
        *sums = MMH_MAX(*sums, 8 * views[i].rows + 4 * views[i].columns);
    }
}

/* One tensor: the view whose classes explain the most; with more time, what each really gives. */
static mmh_status search_part(struct state *state, int8_t *classes, uint64_t most, uint64_t *sums,
                              mmh_error *err)
{
    const struct mmh_search *search = state->search;
    struct view views[VIEWS_MAX], *best = NULL;
    uint64_t variance = variance_of(search, state->counts[MMH_CLASS_BINS / 2], search->elements);
    size_t view_count = list_views(views, search->parts, 0);
    for (size_t i = 0; i < view_count; i++) {
        struct view *view = &views[i];
        view->row = classes + i * most;
        view->column = view->row + view->rows + MMH_KERNEL_SLACK;
        /* With time, eighths of octaves too: they suit rows and columns that differ little. */
        for (unsigned finer = 0; finer <= (search->passes ? 1u : 0u); finer++) {
            score_view(view, search, sums, variance, search->level_shift + finer);
            if (view->score <= 0)
                continue;
            if (!search->passes) {
                if (!best || view->score > best->score)
                    best = view;
            } else if (try_views(state, view, 1, search->sample)) {
                best = view;
            }
        }
    }
    if (best && search->passes)
        return refine(state, best, 1, err);
    if (best)
        try_views(state, best, 1, search->sample);
    return MMH_OK;
}

/* Several tensors: each its own view, all the same tables. */
static mmh_status search_parts(struct state *state, int8_t *classes, int8_t *candidate,
                               uint64_t *sums, mmh_error *err)
{
    const struct mmh_search *search = state->search;
    int64_t mean = mean_level(search, state->counts[MMH_CLASS_BINS / 2]);
    uint64_t first = 0;
    for (size_t i = 0; i < search->part_count; i++) {
        uint64_t room, unused = 0;
        part_room(&room, &unused, &search->parts[i]);
        choose_view(&state->chosen[i], search, &search->parts[i], first, mean, classes, candidate,
                    sums);
        classes += room;
        first += search->parts[i].elements;
    }
    if (!try_views(state, state->chosen, search->part_count, search->sample) || !search->passes)
        return MMH_OK;
    return refine(state, state->chosen, search->part_count, err);
}

mmh_status mmh_model_search(struct mmh_model_draft *draft, uint64_t *cost,
                            const struct mmh_search *search, mmh_error *err)
{
    mmh_codec_workspace *workspace = search->workspace;
    size_t parts = search->part_count;
    uint64_t sums = 0, most = 0, all = 0;
    for (size_t i = 0; i < parts; i++) {
        uint64_t room;
        part_room(&room, &sums, &search->parts[i]);
        most = MMH_MAX(most, room);
        all += room;
    }
    size_t bins_bytes = MMH_CLASS_BINS * sizeof(mmh_bin_counts);
    size_t cost_bytes = MMH_CLASS_BINS * MMH_CLASS_BINS * sizeof(uint64_t);
    size_t table_bytes = MMH_RANS_TABLES_MAX * sizeof *draft->frequency;
    size_t views_bytes = parts * (sizeof(struct view) + 2 * sizeof(struct mmh_view));
    uint8_t *memory = mmh_workspace_scratch(
        workspace, MMH_SCRATCH_COUNTS, bins_bytes + cost_bytes + 2 * table_bytes + views_bytes);
    uint8_t *sum_memory = mmh_workspace_scratch(workspace, MMH_SCRATCH_SUMS, sums);
    uint8_t *class_memory = mmh_workspace_scratch(workspace, MMH_SCRATCH_CLASSES,
                                                  3 * all + (parts == 1 ? VIEWS_MAX : 1) * most);
    if (!memory || !sum_memory || !class_memory)
        return mmh_fail(err, MMH_E_MEMORY, "searching the model of %llu elements",
                        (unsigned long long)search->elements);
    uint8_t *after = memory + bins_bytes + cost_bytes + 2 * table_bytes;
    struct state state = {
        .search = search,
        .draft = draft,
        .cost = cost,
        .counts = (mmh_bin_counts *)(void *)memory,
        .costs = (uint64_t *)(void *)(memory + bins_bytes),
        .tables = (uint16_t(*)[256])(void *)(memory + bins_bytes + cost_bytes),
        .chosen = (struct view *)(void *)after,
        .views = { (struct mmh_view *)(void *)(after + parts * sizeof(struct view)),
                   (struct mmh_view *)(void *)(after + parts * sizeof(struct view)) + parts },
        .classes = { (int8_t *)class_memory, (int8_t *)class_memory + all },
    };
    int8_t *work = (int8_t *)class_memory + 2 * all, *candidate = work + all;
    uint64_t *sum_array = (uint64_t *)(void *)sum_memory;

    /* Without classes: one table. */
    uint64_t few = search->passes || search->tables_max <= 1
                     ? search->sample
                     : MMH_MIN(search->sample, (uint64_t)SAMPLE_FLAT);
    *cost = UINT64_MAX;
    try_views(&state, NULL, 0, few);
    if (search->tables_max <= 1)
        return MMH_OK;
    mmh_status status = parts == 1 ? search_part(&state, candidate, most, sum_array, err)
                                   : search_parts(&state, work, candidate, sum_array, err);
    if (status == MMH_OK && !draft->view_count && few < search->sample) {
        *cost = UINT64_MAX;
        try_views(&state, NULL, 0, search->sample);
    }
    return status;
}

/* ---- shifts for the tiers ---- */

/* Tier cost of the block's symbols less their shifts, in bits. */
static uint64_t shifted_cost(const struct mmh_search *search, const struct view *view)
{
    const struct mmh_kernels *kernels = search->workspace->kernels;
    uint32_t histogram[256] = { 0 };
    uint64_t n = search->elements, runs = search->sample / SAMPLE_RUN, counted = 0;
    bool all = n <= search->sample;
    if (all)
        runs = mmh_divide_up(n, SAMPLE_RUN);
    for (uint64_t i = 0; i < runs; i++) {
        uint8_t shifts[SAMPLE_RUN + MMH_KERNEL_SLACK], symbols[SAMPLE_RUN + MMH_KERNEL_SLACK];
        uint64_t at = all ? i * SAMPLE_RUN : sample_position(i, runs, n, SAMPLE_RUN);
        size_t length = (size_t)MMH_MIN(SAMPLE_RUN, n - at);
        memcpy(symbols, search->symbols + at, length);
        kernels->classes(shifts, view->phase + at, length, view->columns,
                         view->use_rows ? view->row : NULL, view->use_columns ? view->column : NULL,
                         NULL);
        kernels->bytes_subtract(symbols, shifts, length);
        kernels->histogram(histogram, symbols, length, 1);
        counted += length;
    }
    struct mmh_tiers tiers;
    assert(counted); /* a view has elements */
    return mmh_tiers_choose(&tiers, histogram, 1, MMH_TIER_MAX) * n / counted;
}

mmh_status mmh_shift_search(struct mmh_model_draft *draft, uint64_t *cost,
                            const struct mmh_search *search, mmh_error *err)
{
    mmh_codec_workspace *workspace = search->workspace;
    struct view views[VIEWS_MAX];
    size_t view_count = search->part_count == 1 ? list_views(views, search->parts, 0) : 0;
    uint64_t sums = 0, most = 0;
    for (size_t i = 0; i < view_count; i++) {
        sums = MMH_MAX(sums, 8 * views[i].rows + 4 * views[i].columns);
        most = MMH_MAX(most, views[i].rows + views[i].columns + 2 * MMH_KERNEL_SLACK);
    }
    uint8_t *sum_memory = mmh_workspace_scratch(workspace, MMH_SCRATCH_SUMS, sums);
    uint8_t *class_memory = mmh_workspace_scratch(workspace, MMH_SCRATCH_CLASSES,
                                                  view_count * most + sizeof(struct mmh_view));
    struct mmh_view *chosen = (struct mmh_view *)(void *)class_memory;
    class_memory += class_memory ? sizeof *chosen : 0;
    if (!sum_memory || !class_memory)
        return mmh_fail(err, MMH_E_MEMORY, "searching the shifts of %llu elements",
                        (unsigned long long)search->elements);
    uint32_t counts[256] = { 0 };
    workspace->kernels->histogram(counts, search->symbols, (size_t)search->elements,
                                  1 + search->elements / search->sample);
    uint64_t variance = variance_of(search, counts, search->elements);
    struct view flat = { .columns = search->elements, .rows = 1 };
    *cost = shifted_cost(search, &flat);
    for (size_t i = 0; i < view_count; i++) {
        struct view *view = &views[i];
        view->row = (int8_t *)class_memory + i * most;
        view->column = view->row + view->rows + MMH_KERNEL_SLACK;
        score_view(view, search, (uint64_t *)(void *)sum_memory, variance, search->level_shift);
        uint64_t bits = search->overhead_bits;
        for (uint64_t r = 0; r < view->rows; r++) /* quarter octaves to octaves */
            view->row[r] = (int8_t)((view->row[r] + 34) / 4 - 8);
        for (uint64_t c = 0; c < view->columns; c++)
            view->column[c] = (int8_t)((view->column[c] + 34) / 4 - 8);
        if (view->use_rows)
            bits += mmh_model_classes_bits(view->row, (size_t)view->rows);
        if (view->use_columns)
            bits += mmh_model_classes_bits(view->column, (size_t)view->columns);
        if (view->score <= 0 || (bits += shifted_cost(search, view)) >= *cost)
            continue;
        *cost = bits;
        *chosen = kept_view(view);
        *draft = (struct mmh_model_draft){
            .kind = MMH_MODEL_SHIFTS,
            .elements = search->elements,
            .views = chosen,
            .view_count = 1,
        };
    }
    return MMH_OK;
}
