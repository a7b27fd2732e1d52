/*
 * Plans: what to try on the chunks of a block, and the tables that they share.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/codec_zstd_private.h"

enum {
    RUN = 64,                   /* elements that a sample takes together */
    RUNS_AHEAD = 8,             /* of them that are fetched before their turn */
    SAMPLE_RUN = 1024,          /* and one for tables */
    UNEVEN = 8,                 /* a share of the variance so big between runs is worth a look */
    LOOK_LEVEL_MIN = 5,         /* from which on chunks are looked at for repeats */
    SAMPLE_MIN = 1 << 10,       /* elements that are looked at before anything is chosen */
    SAMPLE_TABLE_MIN = 1 << 13, /* the same where that decides between tiers and tables */
    SAMPLE_MAX = 1 << 14,
    SAMPLE_TABLE = 1 << 16,  /* elements that the table of level 4 is made from */
    SAMPLE_TABLES = 5 << 17, /* and the tables of level 5 */
    SAMPLE_SHIFTS = 1 << 16, /* elements that show what shifts of the tiers save */
    ZSTD_PART_MIN = 1 << 10, /* bytes of each of the parts that zstd is tried on */
    ZSTD_PART_MAX = 1 << 13,
    ZSTD_PART_FAR = 1 << 14, /* the same where there is time for matches farther away */
    ZSTD_PARTS = 4,
    ZSTD_SMALL_BYTES = 2 << 20, /* of a block: libzstd's highest levels take no long time */
    ZSTD_TINY_BYTES = 1 << 19,
    LZMA_BYTES = 1 << 18,     /* of a block of bytes that is tried as LZMA in any case */
    ZSTD_PLANE_MIN = 1 << 16, /* elements whose bytes of one place take zstd most of a block */
    SHIFTS_MIN = 1 << 13,     /* elements from which on shifts are looked for */
    MASK_PART = 1 << 13,      /* elements of each part that a zero mask is tried on */
    PAIRS_LEVEL_MAX = 5,      /* above, the smaller of bytes one by one is worth its time */
    PAIRS_MIN = 1 << 13,      /* bytes of a block */
    PAIRS_TABLES = 2,         /* a third takes the decoder a tenth of its time; e5m2, whose few */
    PAIRS_TABLES_MAX = 3,     /* values differ most, needs it to stay at the entropy of its bytes */
    SAMPLE_BYTES = 1 << 17,   /* that show what bytes one by one would take */
    SAMPLE_PAIRS = 1 << 19,   /* that their tables are made from */
    PAIRS_SHARE = 128,        /* of its size that pairs may cost, as they decode twice as fast */
    PATCH_BITS = 48,          /* a position and a head */
    MODEL_BITS = 8 * (16 + 64), /* a model's header, and what the container spends on it */
    BLOCK_BITS = 8 * 160,       /* and a block's own, its chunk's header and filling included */
    STRIPE_BITS = 8 * (4 + 96), /* a stripe's length, and what its states waste */
    SYMBOLS_MAX = 1 << 13,      /* of exponents with two mantissa bits: fp64 */
};

/* What a level spends. */
static const struct effort {
    uint8_t zstd;        /* its level of libzstd, */
    uint8_t zstd_small;  /* that of small blocks that matches suit, */
    uint8_t zstd_tiny;   /* and of smaller ones */
    uint8_t bits;        /* K */
    uint8_t tables;      /* of a block, at the most */
    uint8_t passes;      /* of refinement */
    uint8_t stripe_log2; /* elements of a stripe, at least; more where a chunk has them */
    uint8_t stripes;     /* of a chunk, at the most: four decode fastest, fewer are smaller */
} efforts[10] = {
    { 0 },
    { 1, 1, 1, 0, 0, 0, 14, 4 },
    { 2, 2, 2, 0, 0, 0, 14, 4 },
    { 3, 3, 3, 0, 0, 0, 14, 4 },
    { 6, 6, 6, 11, 1, 0, 14, 4 },
    { 12, 16, 19, 11, 6, 0, 14, 4 }, /* no model needed more tables, and these are near */
    { 15, 18, 19, 12, 16, 1, 15, 4 },
    { 17, 19, 19, 12, 32, 2, 16, 4 },
    { 19, 19, 19, 12, 32, 4, 16, 3 },
    { 19, 19, 19, 12, 32, 6, 16, 3 },
};

static uint64_t scale(uint64_t bits, uint64_t elements, uint64_t counted)
{
    return counted ? bits / counted * elements + bits % counted * elements / counted : 0;
}

/* rANS stripes of a block. */
static uint64_t stripes_of(uint64_t elements, int level)
{
    const struct effort *effort = &efforts[level];
    return elements / MMH_CHUNK_ELEMENTS * effort->stripes +
           mmh_rans_stripes(elements % MMH_CHUNK_ELEMENTS, effort->stripe_log2, effort->stripes);
}

unsigned mmh_plan_tables(int level, mmh_dtype dtype)
{
    if (mmh_float_type(dtype) || level > PAIRS_LEVEL_MAX)
        return efforts[level].tables;
    return dtype == MMH_DTYPE_F8_E5M2 ? PAIRS_TABLES_MAX : PAIRS_TABLES;
}

bool mmh_plan_pairs(uint64_t elements, int level, mmh_dtype dtype)
{
    return mmh_dtype_scalar_bytes(dtype) == 1 && level <= PAIRS_LEVEL_MAX && elements >= PAIRS_MIN;
}

uint64_t mmh_plan_fixed_bits(uint64_t elements, int level)
{
    return BLOCK_BITS + (level >= 4 ? stripes_of(elements, level) * STRIPE_BITS : 0);
}

uint64_t mmh_part_position(uint64_t index, uint64_t parts, uint64_t elements, uint64_t length)
{
    uint64_t stride = (elements - length) / parts;
    uint64_t jitter = ((uint64_t)((uint32_t)index * 2654435761u >> 8) * stride) >> 24;
    return index * stride + jitter;
}

/* ---- what libzstd would make of it ---- */

/* Bits of the block by zstd's fastest level on a sample, as it is or shuffled. */
static mmh_status zstd_bits(uint64_t *bits, mmh_codec_workspace *workspace, const uint8_t *data,
                            size_t bytes, unsigned element_bytes, bool far, mmh_error *err)
{
    size_t elements = bytes / element_bytes;
    size_t part = MMH_MIN(MMH_MAX(bytes / 64, (size_t)ZSTD_PART_MIN), (size_t)ZSTD_PART_MAX);
    if (far) /* asked for few blocks, where matches may be a row away */
        part = MMH_MIN(MMH_MAX(bytes / 16, (size_t)ZSTD_PART_MIN), (size_t)ZSTD_PART_FAR);
    part &= ~(size_t)7;
    bool all = bytes <= ZSTD_PARTS * part;
    size_t sampled = all ? bytes : ZSTD_PARTS * part;
    uint8_t *memory = mmh_workspace_scratch(workspace, MMH_SCRATCH_TRIAL, 3 * sampled + 1024);
    *bits = 8 * (uint64_t)bytes;
    if (!memory)
        return mmh_fail(err, MMH_E_MEMORY, "planning a block of %zu bytes", bytes);
    uint8_t *sample = memory, *shuffled = memory + sampled, *out = memory + 2 * sampled;
    if (all)
        memcpy(sample, data, sampled);
    else
        for (size_t p = 0; p < ZSTD_PARTS; p++)
            memcpy(sample + p * part,
                   data + mmh_part_position(p, ZSTD_PARTS, elements, part / element_bytes) *
                              element_bytes,
                   part);
    size_t best, used;
    mmh_status status = mmh_zstd_encode(out, sampled, &best, workspace, sample, sampled, 1, err);
    if (!status && element_bytes > 1) {
        size_t n = sampled / element_bytes, planes = 0;
        /* Long planes fill blocks of zstd's, each with its own codes; the sample's would not. */
        size_t pieces = elements >= ZSTD_PLANE_MIN ? element_bytes : 1;
        for (size_t i = 0; i < n; i++)
            for (unsigned b = 0; b < element_bytes; b++)
                shuffled[b * n + i] = sample[i * element_bytes + b];
        for (size_t p = 0; p < pieces && !status; p++, planes += MMH_MIN(used, sampled / pieces))
            status = mmh_zstd_encode(out, sampled / pieces, &used, workspace,
                                     shuffled + p * (sampled / pieces), sampled / pieces, 1, err);
        best = MMH_MIN(best, planes);
    }
    if (!status && best != MMH_NO_FIT)
        *bits = scale(8 * (uint64_t)best, bytes, sampled);
    return status;
}

/* Its entropy coder alone comes within a percent of ours: only more than that speaks of matches.
 * Its higher levels find more of them, but take their time. */
static bool zstd_may_win(const struct mmh_block_plan *plan, uint64_t matched, uint64_t bits)
{
    return plan->level >= 7 ? matched < bits + bits / 64 : matched < bits - bits / 64;
}

/* Bits of the mask of a block's non-zero elements, by a sample. */
static mmh_status mask_bits(uint64_t *bits, mmh_codec_workspace *workspace, const uint8_t *data,
                            uint64_t elements, unsigned element_bytes, mmh_error *err)
{
    static const uint8_t zero[8];
    uint8_t mask[ZSTD_PARTS * MASK_PART / 8] = { 0 }, out[sizeof mask];
    size_t counted = 0, used;
    bool all = elements <= ZSTD_PARTS * MASK_PART;
    for (size_t p = 0; p < ZSTD_PARTS; p++) {
        uint64_t at = all ? p * MASK_PART : mmh_part_position(p, ZSTD_PARTS, elements, MASK_PART);
        for (size_t i = 0; i < MASK_PART && at + i < elements; i++, counted++) {
            bool set = memcmp(data + (at + i) * element_bytes, zero, element_bytes) != 0;
            mask[counted / 8] |= (uint8_t)(set << counted % 8);
        }
    }
    mmh_status status = mmh_zstd_encode(out, sizeof out, &used, workspace, mask,
                                        mmh_divide_up(counted, 8), 1, err);
    *bits = used == MMH_NO_FIT ? elements
                               : MMH_MIN(elements, scale(8 * (uint64_t)used, elements, counted));
    return status;
}

/* ---- tables for the encoder ---- */

/* Make the encoder's tables from a draft and write the model; forget it if that fails to read
 * back, which would be a defect of ours. */
static mmh_status finish_model(struct mmh_block_plan *plan, mmh_codec_workspace *workspace,
                               const struct mmh_model_draft *draft, const uint8_t **payload,
                               size_t *payload_bytes, mmh_error *err)
{
    *payload_bytes = mmh_model_write(workspace, payload, draft);
    if (!*payload_bytes)
        return mmh_fail(err, MMH_E_MEMORY, "model of %u tables", draft->table_count);
    mmh_status status = mmh_model_create(&plan->model, *payload, *payload_bytes, plan->elements,
                                         workspace->allocator, err);
    if (status || draft->kind == MMH_MODEL_SHIFTS)
        return status;
    plan->pairs = draft->kind == MMH_MODEL_PAIRS;
    if (!workspace->tables)
        workspace->tables = mmh_alloc(workspace->allocator, 64,
                                      MMH_RANS_TABLES_MAX * sizeof *workspace->tables);
    if (!workspace->tables)
        return mmh_fail(err, MMH_E_MEMORY, "encoding tables");
    plan->tables = workspace->tables;
    plan->try_rans = true;
    uint64_t common[256] = { 0 };
    uint8_t first[MMH_RANS_TABLES_MAX] = { 0 }, last[MMH_RANS_TABLES_MAX] = { 0 };
    unsigned zeros = 255;
    for (unsigned t = 0; t < draft->table_count; t++) {
        struct mmh_rans_encode_table *table = &plan->tables[t];
        unsigned start = 0, best = 0;
        for (unsigned s = 0; s < 256; s++) {
            unsigned f = draft->frequency[t][s];
            table->frequency[s] = (uint16_t)f;
            table->start[s] = (uint16_t)start;
            start += f;
            plan->allowed[t][s] = f != 0;
            common[s] += f;
            if (f > draft->frequency[t][best])
                best = s;
        }
        plan->best[t] = (uint8_t)best;
        unsigned low = best, high = best, coded = 0;
        while (low && draft->frequency[t][low - 1])
            low--;
        while (high < 255 && draft->frequency[t][high + 1])
            high++;
        first[t] = (uint8_t)low;
        last[t] = (uint8_t)high;
        while (coded < zeros && draft->frequency[t][coded])
            coded++;
        zeros = coded;
        mmh_rans_encode_table_init(table, draft->bits);
    }
    unsigned most = 0;
    for (unsigned s = 0; s < 256; s++)
        if (common[s] > common[most])
            most = s;
    plan->common = (uint8_t)most;
    plan->zeros = (uint8_t)zeros;
    for (unsigned bin = 0; bin < MMH_CLASS_BINS; bin++) {
        plan->first_of_bin[bin] = first[plan->model->map[bin]];
        plan->last_of_bin[bin] = last[plan->model->map[bin]];
    }
    return MMH_OK;
}

/* ---- floats ---- */

/* What a sample of a block says. */
struct float_sample {
    uint64_t counted;
    uint64_t zeros;       /* of them: all bits zero */
    uint64_t any, all;    /* OR and AND */
    uint32_t *histogram;  /* [4 << exponent bits]: exponents with their two top mantissa bits */
    uint32_t low[256];    /* the lowest bytes */
    bool structured;      /* those are not noise */
    uint64_t squares;     /* sums over all elements: of their symbols' squares, */
    uint64_t run_squares; /* and of the squared means of the runs that they are in */
    uint64_t sum;         /* and of their symbols */
    bool uneven;          /* the runs' scales differ by more than noise, so that it would show */
};

static inline uint64_t element_at(const uint8_t *at, unsigned bytes)
{
    return bytes == 2 ? mmh_load16(at) : bytes == 4 ? mmh_load32(at) : mmh_load64(at);
}

static void count_run(struct float_sample *sample, const uint8_t *run, size_t count,
                      const struct mmh_float_type *type)
{
    unsigned head_shift = 8u * type->bytes - 16, shift = 16 - type->exponent_bits - 2;
    uint64_t sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t element = element_at(run + i * type->bytes, type->bytes);
        sample->any |= element;
        sample->all &= element;
        sample->zeros += !element;
        sample->low[element & 255]++;
        uint64_t symbol = mmh_rotl16((uint16_t)(element >> head_shift), 1) >> shift;
        sample->histogram[symbol]++;
        sum += symbol;
        squares += symbol * symbol;
    }
    sample->counted += count;
    sample->sum += sum;
    sample->squares += squares;
    sample->run_squares += count ? sum * sum / count : 0;
}

static void take_sample(struct float_sample *sample, const uint8_t *data, uint64_t elements,
                        const struct mmh_float_type *type, uint64_t wanted)
{
    memset(sample->histogram, 0, sizeof *sample->histogram << (type->exponent_bits + 2));
    memset(sample->low, 0, sizeof sample->low);
    sample->counted = sample->zeros = sample->any = 0;
    sample->all = UINT64_MAX;
    sample->sum = sample->squares = sample->run_squares = 0;
    if (elements <= wanted) {
        for (uint64_t i = 0; i < elements; i += RUN)
            count_run(sample, data + i * type->bytes, (size_t)MMH_MIN(RUN, elements - i), type);
    } else {
        uint64_t runs = wanted / RUN;
        for (uint64_t r = 0; r < runs; r++) {
            /* Far apart, so each would be waited for. */
            const uint8_t *later = data + mmh_part_position(MMH_MIN(r + RUNS_AHEAD, runs - 1), runs,
                                                            elements, RUN) *
                                              type->bytes;
            for (size_t i = 0; i < (size_t)RUN * type->bytes; i += 64)
                __builtin_prefetch(later + i);
            count_run(sample, data + mmh_part_position(r, runs, elements, RUN) * type->bytes, RUN,
                      type);
        }
    }
    if (sample->counted) {
        uint64_t centre = sample->sum * sample->sum / sample->counted;
        uint64_t total = sample->squares - MMH_MIN(sample->squares, centre);
        uint64_t between = sample->run_squares - MMH_MIN(sample->run_squares, centre);
        sample->uneven = between > total / RUN + total / UNEVEN;
    }
    /* The lowest byte of a weight is noise; where it is not, matches may pay. */
    uint64_t noise = 8 * MMH_COST_ONE;
    if (sample->counted < 256)
        noise = mmh_cost_log2((uint32_t)MMH_MAX(sample->counted, 1u));
    uint64_t low = mmh_cost_histogram(sample->low, 256);
    sample->structured = sample->counted && low / sample->counted + MMH_COST_ONE < noise;
}

/* The window that keeps the most symbols: a multiple of 2^q. */
static uint16_t choose_window(const uint32_t *histogram, unsigned exponent_bits, unsigned q)
{
    unsigned fold = 2 - q, count = 1u << (exponent_bits + q), low = 1u << q;
    if (count <= 256)
        return 0;
    uint64_t inside = 0, best_inside = 0;
    unsigned best = 0, first = count, last = 0;
    for (unsigned s = 0; s < count << fold; s++)
        if (histogram[s] && s >> fold >= low) {
            first = MMH_MIN(first, s >> fold);
            last = MMH_MAX(last, s >> fold);
        }
    if (first > last)
        return 0;
    if (last - first < 256 - low) /* all fit: the lowest next to those of exponent 0 */
        return (uint16_t)((first - low) & ~(low - 1));
    for (unsigned s = low << fold; s < 256u << fold; s++)
        inside += histogram[s];
    best_inside = inside;
    for (unsigned window = low; window + 256 <= count; window += low) {
        for (unsigned s = 0; s < low << fold; s++) {
            inside -= histogram[(window << fold) + s]; /* falls out at the bottom */
            inside += histogram[((window + 256 - low) << fold) + s];
        }
        if (inside > best_inside) {
            best_inside = inside;
            best = window;
        }
    }
    return (uint16_t)best;
}

/* Histogram of the symbol bytes; returns those outside the window. */
static uint64_t fold_histogram(uint32_t folded[256], const uint32_t *histogram,
                               unsigned exponent_bits, unsigned q, unsigned window)
{
    unsigned fold = 2 - q, low = 1u << q;
    uint64_t outside = 0;
    memset(folded, 0, 256 * sizeof *folded);
    for (unsigned s = 0; s < 4u << exponent_bits; s++) {
        unsigned symbol = s >> fold;
        if (symbol < low)
            folded[symbol] += histogram[s];
        else if (symbol >= window + low && symbol < window + 256)
            folded[symbol - window] += histogram[s];
        else
            outside += histogram[s];
    }
    return outside;
}

/* The cheapest way to code symbols with such counts. */
struct float_choice {
    uint64_t bits;          /* of all elements: symbols and what is stored raw */
    uint64_t raw_bits;      /* of that: what is stored raw */
    uint64_t tier_raw_bits; /* the same if tiers are used */
    bool rans;
    uint8_t q;
    uint16_t window, tier_window;
    uint16_t frequency[256];
};

static void choose_float(struct float_choice *choice, const struct float_sample *sample,
                         uint64_t elements, const struct mmh_float_type *type, int level)
{
    uint32_t folded[256];
    uint64_t counted = MMH_MAX(sample->counted, 1u);
    unsigned e = type->exponent_bits, top = 8u * type->bytes - 1;
    /* Bits beside the exponent that vary: the sign, and the mantissa down to its zeros. */
    unsigned zeros = MMH_MIN(mmh_ctz64(sample->any), top - e);
    bool sign = (sample->any & ~sample->all) >> top & 1;
    uint64_t rest = top - e - zeros + sign;
    unsigned mantissa = MMH_MIN(top - e - zeros, type->mantissa_bits); /* of them in the head */
    choice->tier_window = choose_window(sample->histogram, e, 0);
    uint64_t outside = fold_histogram(folded, sample->histogram, e, 0, choice->tier_window);
    struct mmh_tiers tiers;
    unsigned least = level == 1 ? 4 : 1, most = level == 1 ? 4 : MMH_TIER_MAX;
    uint64_t cost = mmh_tiers_choose(&tiers, folded, least, most) + outside * PATCH_BITS;
    choice->raw_bits = choice->tier_raw_bits = elements * rest;
    choice->bits = scale(cost, elements, counted) + choice->raw_bits;
    choice->rans = false;
    if (level <= 3)
        return;
    unsigned bits = efforts[level].bits; /* cppcheck-suppress arrayIndexOutOfBoundsCond */
    uint64_t stripes = stripes_of(elements, level);
    for (unsigned q = 0; q <= 2; q++) {
        uint16_t frequency[256], window = choose_window(sample->histogram, e, q);
        outside = fold_histogram(folded, sample->histogram, e, q, window);
        cost = mmh_model_normalise(frequency, folded, bits, PATCH_BITS);
        cost = (cost >> 16) + outside * PATCH_BITS;
        uint64_t raw = elements * (rest - MMH_MIN(q, mantissa));
        cost = scale(cost, elements, counted) + raw + mmh_model_table_bits(frequency) + MODEL_BITS +
               stripes * STRIPE_BITS;
        if (cost >= choice->bits)
            continue;
        choice->bits = cost;
        choice->raw_bits = raw;
        choice->rans = true;
        choice->q = (uint8_t)q;
        choice->window = window;
        memcpy(choice->frequency, frequency, sizeof frequency);
    }
}

static void take_choice(struct mmh_block_plan *plan, const struct float_choice *choice)
{
    plan->q = choice->q;
    plan->window = choice->window;
    plan->tier_window = choice->tier_window;
}

static mmh_status fail_memory(const struct mmh_block_plan *plan, mmh_error *err)
{
    return mmh_fail(err, MMH_E_MEMORY, "planning a block of %llu elements",
                    (unsigned long long)plan->elements);
}

/* Look for classes and tables, or for shifts of the tiers. `bits`: what the block then takes. */
static mmh_status search_float(struct mmh_block_plan *plan, struct mmh_model_draft *draft,
                               uint64_t *bits, bool shifts, mmh_codec_workspace *workspace,
                               const uint8_t *data, const struct mmh_block_hint *hint,
                               const struct float_choice *choice, mmh_error *err)
{
    const struct mmh_float_type *type = mmh_float_type(plan->dtype);
    uint64_t n = plan->elements;
    unsigned q = shifts ? 0 : choice->q;
    uint16_t window = shifts ? choice->tier_window : choice->window;
    bool part = plan->level == 4 && !shifts && n > SAMPLE_TABLE; /* one table: a sample will do */
    if (part)
        n = SAMPLE_TABLE;
    uint8_t *symbols = mmh_workspace_scratch(workspace, MMH_SCRATCH_BLOCK,
                                             mmh_round_up(n, MMH_GROUP));
    uint32_t *patches = (uint32_t *)(void *)mmh_workspace_scratch(workspace, MMH_SCRATCH_PATCHES,
                                                                  4 * MMH_TIER_BLOCK);
    if (!symbols || !patches)
        return fail_memory(plan, err);
    if (part) {
        uint64_t runs = n / SAMPLE_RUN;
        for (uint64_t r = 0; r < runs; r++)
            mmh_float_symbols(symbols + r * SAMPLE_RUN, workspace->kernels,
                              data + mmh_part_position(r, runs, plan->elements, SAMPLE_RUN) *
                                         type->bytes,
                              SAMPLE_RUN, type, q, window, (uint8_t)(1u << q), patches);
    } else {
        mmh_float_symbols(symbols, workspace->kernels, data, (size_t)n, type, q, window,
                          (uint8_t)(1u << q), patches);
    }
    struct mmh_search search = {
        .workspace = workspace,
        .symbols = symbols,
        .levels = symbols,
        .level_shift = 2u - q,
        .elements = n,
        .parts = hint->parts,
        .part_count = hint->part_count,
        .bits = draft->bits,
        .tables_max = efforts[plan->level].tables,
        .passes = efforts[plan->level].passes,
        .sample = shifts           ? SAMPLE_SHIFTS
                : plan->level <= 5 ? SAMPLE_TABLES
                                   : UINT32_MAX,
        .patch_bits = PATCH_BITS,
        .overhead_bits = shifts ? MODEL_BITS : 0,
    };
    uint64_t cost = 0;
    mmh_status status = (shifts ? mmh_shift_search : mmh_model_search)(draft, &cost, &search, err);
    if (!status)
        *bits = scale(cost, plan->elements, n) +
                (shifts ? choice->tier_raw_bits : choice->raw_bits);
    draft->elements = plan->elements;
    return status;
}

static mmh_status plan_float(struct mmh_block_plan *plan, mmh_codec_workspace *workspace,
                             const uint8_t *data, const struct mmh_block_hint *hint,
                             const uint8_t **payload, size_t *payload_bytes, uint64_t *floor_bits,
                             mmh_error *err)
{
    const struct mmh_float_type *type = mmh_float_type(plan->dtype);
    uint64_t n = plan->elements;
    plan->is_float = true;
    struct float_sample sample;
    sample.histogram = (uint32_t *)(void *)mmh_workspace_scratch(
        workspace, MMH_SCRATCH_SUMS, (SYMBOLS_MAX + SYMBOLS_MAX / 4) * sizeof *sample.histogram);
    if (!sample.histogram)
        return fail_memory(plan, err);
    uint64_t wanted = plan->level <= 3 ? MMH_MAX(n / 64, (uint64_t)SAMPLE_MIN)
                                       : MMH_MAX(n / 16, (uint64_t)SAMPLE_TABLE_MIN);
    wanted = MMH_MIN(wanted, (uint64_t)SAMPLE_MAX);
    take_sample(&sample, data, n, type, wanted);
    if (!type->tail_bits && !(sample.any & 1)) { /* a single element ends the zeros of a chunk */
        uint64_t any, all;
        workspace->kernels->bits_used(&any, &all, data, (size_t)n, type->bytes);
        sample.any |= any;
        sample.all &= all;
    }
    uint32_t *exponents = sample.histogram + SYMBOLS_MAX;
    for (unsigned e = 0; e < 1u << type->exponent_bits; e++)
        exponents[e] = sample.histogram[4 * e] + sample.histogram[4 * e + 1] +
                       sample.histogram[4 * e + 2] + sample.histogram[4 * e + 3];
    *floor_bits = scale(mmh_cost_histogram(exponents, (size_t)1 << type->exponent_bits) >> 16, n,
                        sample.counted) +
                  n * (8u * type->bytes - type->exponent_bits);

    /* Rows for the trailing zeros of tails. */
    if (type->tail_bits && hint->part_count == 1 && hint->parts[0].dimensions >= 2) {
        const struct mmh_block_part *part = &hint->parts[0];
        plan->row_elements = part->shape[part->dimensions - 1];
        plan->row_phase = plan->row_elements ? part->tensor_first % plan->row_elements : 0;
    }
    struct float_choice choice, dense;
    choose_float(&choice, &sample, n, type, plan->level);
    take_choice(plan, &choice);
    uint64_t bits = choice.bits;

    /* Zeros apart, if there are some: what a mask and the others would take. */
    bool sparse = sample.zeros * (plan->level >= 5 ? 64 : 32) > sample.counted;
    if (sparse) {
        uint64_t mask;
        mmh_status status = mask_bits(&mask, workspace, data, n, type->bytes, err);
        if (status)
            return status;
        struct float_sample rest = sample;
        rest.histogram[0] -= (uint32_t)sample.zeros;
        rest.counted -= sample.zeros;
        uint64_t left = n - scale(sample.zeros, n, sample.counted);
        choose_float(&dense, &rest, left, type, plan->level);
        rest.histogram[0] += (uint32_t)sample.zeros;
        dense.bits += mask;
    }

    struct mmh_model_draft draft = { .kind = MMH_MODEL_RANS, .table_count = 1, .elements = n };
    draft.bits = efforts[plan->level].bits;
    draft.frequency = &choice.frequency;
    bool model = choice.rans;
    if (choice.rans) {
        mmh_status status = search_float(plan, &draft, &bits, false, workspace, data, hint, &choice,
                                         err);
        if (status)
            return status;
    }
    /* Shifted tiers are what level 3 is about. Level 4 has one table, which they beat where the
     * scale differs a lot from place to place. */
    if ((plan->level == 3 || (plan->level == 4 && sample.uneven)) && n >= SHIFTS_MIN) {
        struct mmh_model_draft shifted = { .elements = n };
        uint64_t shifted_bits;
        mmh_status status = search_float(plan, &shifted, &shifted_bits, true, workspace, data, hint,
                                         &choice, err);
        if (status)
            return status;
        if (shifted.view_count && shifted_bits < bits) {
            draft = shifted;
            bits = shifted_bits;
            model = true;
        }
    }
    if (sparse && dense.bits < bits) {
        plan->try_zero_run = true;
        take_choice(plan, &dense);
        draft = (struct mmh_model_draft){ .kind = MMH_MODEL_RANS,
                                          .table_count = 1,
                                          .elements = n,
                                          .bits = efforts[plan->level].bits,
                                          .frequency = &dense.frequency };
        model = dense.rans;
        bits = dense.bits;
    }
    plan->try_zstd = sample.structured;
    if (sample.structured && plan->level < 7) { /* with time, each chunk shows it */
        uint64_t matched;
        mmh_status status = zstd_bits(&matched, workspace, data, (size_t)n * type->bytes,
                                      type->bytes, plan->level >= 4, err);
        if (status)
            return status;
        plan->try_zstd = zstd_may_win(plan, matched, bits);
    }
    return model ? finish_model(plan, workspace, &draft, payload, payload_bytes, err) : MMH_OK;
}

/* ---- bytes ---- */

void mmh_byte_levels(uint8_t levels[256], mmh_dtype dtype, const uint32_t counts[256])
{
    uint64_t total = 0, below = 0;
    unsigned centre = 0;
    for (unsigned s = 0; s < 256; s++)
        total += counts[s];
    for (; centre < 255 && 2 * (below += counts[centre]) < total; centre++)
        ;
    for (unsigned s = 0; s < 256; s++) {
        switch (dtype) {
        case MMH_DTYPE_F8_E5M2:
        case MMH_DTYPE_F8_E5M2FNUZ: /* two mantissa bits: a quarter octave a step */
            levels[s] = (uint8_t)(s & 127);
            break;
        case MMH_DTYPE_F8_E4M3:
        case MMH_DTYPE_F8_E4M3FNUZ:
            levels[s] = (uint8_t)((s & 127) >> 1);
            break;
        default: {
            int value = dtype == MMH_DTYPE_I8 ? (int8_t)s : (int)s - (int)centre;
            unsigned magnitude = (unsigned)(value < 0 ? -value : value);
            levels[s] = (uint8_t)(magnitude ? 4 + (mmh_cost_log2(magnitude) >> 14) : 0);
        }
        }
    }
}

/* Classes and tables of bytes one by one, by a sample. */
static mmh_status search_bytes(struct mmh_model_draft *draft, uint64_t *bits,
                               const struct mmh_block_plan *plan, mmh_codec_workspace *workspace,
                               const uint8_t *data, const struct mmh_block_hint *hint,
                               const uint8_t level_of[256], uint64_t sample, mmh_error *err)
{
    uint64_t n = plan->elements;
    uint8_t *levels = mmh_workspace_scratch(workspace, MMH_SCRATCH_LEVELS, (size_t)n);
    if (!levels)
        return fail_memory(plan, err);
    for (uint64_t i = 0; i < n; i++)
        levels[i] = level_of[data[i]];
    struct mmh_search search = {
        .workspace = workspace,
        .symbols = data,
        .levels = levels,
        .level_of = level_of,
        .elements = n,
        .parts = hint->parts,
        .part_count = hint->part_count,
        .bits = 12,
        .tables_max = efforts[plan->level].tables,
        .passes = efforts[plan->level].passes,
        .sample = sample,
    };
    return mmh_model_search(draft, bits, &search, err);
}

static mmh_status plan_bytes(struct mmh_block_plan *plan, mmh_codec_workspace *workspace,
                             const uint8_t *data, const struct mmh_block_hint *hint,
                             const uint8_t **payload, size_t *payload_bytes, uint64_t *floor_bits,
                             mmh_error *err)
{
    uint64_t n = plan->elements, matched, mask = n;
    uint32_t counts[256] = { 0 };
    workspace->kernels->histogram(counts, data, (size_t)n, 1);
    *floor_bits = mmh_cost_histogram(counts, 256) >> 16;
    mmh_status status = zstd_bits(&matched, workspace, data, (size_t)n, 1, false, err);
    if (status || !n)
        return status;

    uint16_t frequency[1][256], dense_frequency[1][256], pair_frequency[1][256];
    struct mmh_model_draft draft = {
        .kind = MMH_MODEL_RANS, .table_count = 1, .elements = n, .bits = 12, .frequency = frequency
    };
    uint64_t bits = mmh_model_normalise(frequency[0], counts, draft.bits, 0) >> 16;
    bits += mmh_model_table_bits(frequency[0]);
    uint8_t level_of[256], buckets[MMH_PAIR_TABLES_MAX][256];
    mmh_byte_levels(level_of, plan->dtype, counts);
    bool classes = plan->level >= 5 && bits > MODEL_BITS;
    bool pairs = mmh_plan_pairs(n, plan->level, plan->dtype) && counts[0] <= n / 2;
    if (pairs) {
        /* What they are held against is what one by one the bytes would take, about. */
        struct mmh_model_draft one_draft = draft, pair_draft = { .table_count = 1,
                                                                 .bits = 12,
                                                                 .frequency = pair_frequency };
        uint64_t one_bits = bits, pair_bits = 0;
        if (classes)
            status = search_bytes(&one_draft, &one_bits, plan, workspace, data, hint, level_of,
                                  SAMPLE_BYTES, err);
        one_bits = MMH_MIN(one_bits, bits);
        struct mmh_pair_search search = {
            .workspace = workspace,
            .data = data,
            .pairs = n / 2,
            .levels = level_of,
            .parts = hint->parts,
            .part_count = classes ? hint->part_count : 0,
            .tables_max = mmh_plan_tables(plan->level, plan->dtype),
            .sample = SAMPLE_PAIRS,
            .patch_bits = PATCH_BITS,
        };
        if (!status)
            status = mmh_pair_search(&pair_draft, buckets, &pair_bits, &search, err);
        if (status)
            return status;
        pair_bits += 8 * (n % 2);
        pairs = pair_bits < one_bits + one_bits / PAIRS_SHARE;
        if (pairs) {
            draft = pair_draft;
            bits = pair_bits;
        }
    }
    if (!pairs && classes) /* a table must code every byte that there is */
        status = search_bytes(&draft, &bits, plan, workspace, data, hint, level_of, UINT32_MAX,
                              err);
    if (status)
        return status;
    uint64_t stripes = stripes_of(pairs ? n / 2 : n, plan->level);
    bits += MODEL_BITS + stripes * STRIPE_BITS;

    /* Where zeros come in runs, a packed mask takes less than their entropy. */
    if (counts[0] > n / 2) {
        uint64_t zeros = counts[0];
        status = mask_bits(&mask, workspace, data, n, 1, err);
        if (status)
            return status;
        counts[0] = 0;
        uint64_t dense = mmh_model_normalise(dense_frequency[0], counts, draft.bits, 0) >> 16;
        dense = MMH_MIN(dense + MODEL_BITS + mmh_model_table_bits(dense_frequency[0]),
                        8 * (n - zeros)) +
                mask;
        if (dense < bits) {
            plan->try_zero_run = true;
            bits = dense;
            draft = (struct mmh_model_draft){ .kind = MMH_MODEL_RANS,
                                              .table_count = 1,
                                              .elements = n,
                                              .bits = 12,
                                              .frequency = dense_frequency };
        }
    }
    plan->try_zstd = zstd_may_win(plan, matched, bits);
    if (matched < bits - bits / 4) /* not close: do without the model */
        plan->try_zero_run = false;
    else if (bits + bits / 256 < 8 * n)
        return finish_model(plan, workspace, &draft, payload, payload_bytes, err);
    return MMH_OK;
}

/* ---- the door ---- */

/* The parts are all of the block. */
static bool parts_fit(const struct mmh_block_hint *hint, uint64_t elements)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < hint->part_count; i++) {
        if (hint->parts[i].dimensions > 8 || hint->parts[i].elements > elements - sum)
            return false;
        sum += hint->parts[i].elements;
    }
    return sum == elements;
}

static void plan_init(struct mmh_block_plan *made, const struct mmh_block_hint *hint,
                      const mmh_codec_workspace *workspace, size_t bytes)
{
    *made = (struct mmh_block_plan){
        .dtype = hint->dtype,
        .element_bytes = mmh_dtype_scalar_bytes(hint->dtype),
        .level = MMH_MIN(MMH_MAX(hint->level, 1), 9),
        .kernels = workspace->kernels,
        .bytes = bytes,
    };
    made->elements = made->element_bytes ? bytes / made->element_bytes : 0;
    made->zstd_level = made->zstd_level_best = efforts[made->level].zstd;
    if (bytes <= ZSTD_SMALL_BYTES)
        made->zstd_level_best = efforts[made->level].zstd_small;
    if (bytes <= ZSTD_TINY_BYTES)
        made->zstd_level_best = efforts[made->level].zstd_tiny;
    made->stripe_log2 = efforts[made->level].stripe_log2;
    made->stripes = efforts[made->level].stripes;
}

mmh_status mmh_block_plan_scalar(struct mmh_block_plan *made, const uint8_t **model,
                                 size_t *model_bytes, uint64_t *floor_bits,
                                 mmh_codec_workspace *workspace, const uint8_t *data, size_t bytes,
                                 const struct mmh_block_hint *hint, mmh_error *err)
{
    plan_init(made, hint, workspace, bytes);
    *model = NULL;
    *model_bytes = 0;
    *floor_bits = 8 * (uint64_t)bytes;
    if (!made->element_bytes || bytes % made->element_bytes || !parts_fit(hint, made->elements))
        return mmh_fail(err, MMH_E_USAGE, "a block of %zu bytes of element type %u", bytes,
                        (unsigned)hint->dtype);
    if (!bytes)
        return MMH_OK;
    if (mmh_float_type(made->dtype))
        return plan_float(made, workspace, data, hint, model, model_bytes, floor_bits, err);
    if (made->dtype != MMH_DTYPE_OPAQUE && made->element_bytes == 1)
        return plan_bytes(made, workspace, data, hint, model, model_bytes, floor_bits, err);
    made->try_zstd = true;
    return MMH_OK;
}

void mmh_plan_look(struct mmh_block_plan *plan)
{
    bool typed_bytes = plan->element_bytes == 1 && plan->dtype != MMH_DTYPE_OPAQUE;
    plan->look = plan->level >= LOOK_LEVEL_MIN && (plan->is_float || typed_bytes);
    plan->try_lzma = typed_bytes && plan->bytes <= LZMA_BYTES;
}

mmh_status mmh_block_plan_make(const struct mmh_block_plan **plan, const uint8_t **model,
                               size_t *model_bytes, uint64_t *floor_bits,
                               mmh_codec_workspace *workspace, const uint8_t *data, size_t bytes,
                               const struct mmh_block_hint *given, mmh_error *err)
{
    struct mmh_block_hint hint = *given;
    const struct mmh_fields *fields = mmh_dtype_fields(given->records);
    unsigned unit = fields ? fields->record_bytes : mmh_dtype_scalar_bytes(given->dtype);
    struct mmh_block_part flat = { .elements = unit ? bytes / unit : 0 };
    if (!given->part_count) {
        hint.parts = &flat;
        hint.part_count = 1;
    }
    struct mmh_block_plan *made = &workspace->plan;
    mmh_model_destroy(made->model);
    made->model = NULL;
    mmh_fields_plan_forget(workspace);
    mmh_mixed_plan_forget(workspace);
    *plan = made;
    if (given->mixed) {
        plan_init(made, &hint, workspace, bytes);
        *model = NULL;
        *model_bytes = 0;
        *floor_bits = 8 * (uint64_t)bytes;
        made->try_zstd = true;
        return mmh_mixed_plan_make(made, model, model_bytes, floor_bits, workspace, data, bytes,
                                   given, err);
    }
    if (!fields) {
        mmh_status status = mmh_block_plan_scalar(made, model, model_bytes, floor_bits, workspace,
                                                  data, bytes, &hint, err);
        mmh_plan_look(made);
        return status;
    }
    plan_init(made, &hint, workspace, bytes);
    *model = NULL;
    *model_bytes = 0;
    *floor_bits = 8 * (uint64_t)bytes;
    if (hint.dtype != MMH_DTYPE_OPAQUE || !unit || bytes % unit || !parts_fit(&hint, bytes / unit))
        return mmh_fail(err, MMH_E_USAGE, "a block of %zu bytes of records of type %u", bytes,
                        (unsigned)hint.records);
    if (!bytes)
        return MMH_OK;
    made->try_zstd = true;
    mmh_status status = zstd_bits(&made->whole_bits, workspace, data, bytes, 1, true, err);
    if (status)
        return status;
    return mmh_fields_plan_make(made, model, model_bytes, floor_bits, workspace, data, bytes, &hint,
                                err);
}
