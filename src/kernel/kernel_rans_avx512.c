/*
 * rANS, histograms and classes for AVX-512 (F, BW, VL, DQ, CD, VBMI, VBMI2).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernel/kernel_merge_avx512.h"
#include "kernel/kernel_rans_stream.h"

/* ---- decode ---- */

enum { LOOK_AHEAD = 2 }; /* vectors whose entries are loaded before their turn */

/* What becomes of symbols: they are stored, or elements of one of the shapes in daily use are. fp32
 * is not among those: its tails are one stream too many for each stripe. */
enum outcome { SYMBOLS, BRAIN_ELEMENTS, HALF_ELEMENTS, BYTE_PAIRS, OUTCOMES };

/* Merging 64 symbols, by outcome: element bytes, raw bits and as many stored ones. */
static const struct {
    uint8_t element_bytes, raw_bits;
} outcome_shapes[OUTCOMES] = {
    [BRAIN_ELEMENTS] = { 2, 6 },
    [HALF_ELEMENTS] = { 2, 9 },
    [BYTE_PAIRS] = { 2, PAIR_RAW_BITS },
};

static enum outcome outcome_of(const struct mmh_merge *merge)
{
    const struct mmh_split *split = merge->split;
    if (split->pair_values)
        return BYTE_PAIRS;
    for (enum outcome outcome = SYMBOLS + 1; outcome < OUTCOMES; outcome++)
        if (split->element_bytes == outcome_shapes[outcome].element_bytes &&
            split->raw_bits == outcome_shapes[outcome].raw_bits &&
            split->stored_bits == split->raw_bits && mmh_split_plain(split) &&
            (split->raw_bits == 6 || !split->window_base))
            return outcome;
    return SYMBOLS;
}

/*
 * tables[index[lane]] for four lanes. Scalar loads: on Zen 4 a gather instruction takes twice as
 * long, and its microcode keeps all else waiting.
 */
MMH_INLINE __m128i four_entries(const uint32_t *tables, const uint64_t *index)
{
    const uint64_t a = index[0], b = index[1];
    __m128i entries = _mm_cvtsi32_si128((int)tables[(uint32_t)a]);
    entries = _mm_insert_epi32(entries, (int)tables[a >> 32], 1);
    entries = _mm_insert_epi32(entries, (int)tables[(uint32_t)b], 2);
    return _mm_insert_epi32(entries, (int)tables[b >> 32], 3);
}

MMH_INLINE __m512i join(__m128i a, __m128i b, __m128i c, __m128i d)
{
    const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1);
    const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(c), d, 1);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/*
 * Where the entries of one vector of states are: the slot, and the table `step` (0..3) of `ids`.
 * They go through memory, a round of all vectors ahead of their use.
 */
MMH_INLINE void put_index(uint64_t index[8], __m512i states, __m512i mask, __m512i bits,
                          const uint8_t *ids, unsigned step)
{
    __m512i entry;
    if (ids) {
        const __m512i four = _mm512_srli_epi32(_mm512_loadu_si512(ids), 8 * step);
        const __m512i table = _mm512_and_si512(four, _mm512_set1_epi32(0xff));
        entry = _mm512_ternarylogic_epi32(states, mask, _mm512_sllv_epi32(table, bits), 0xea);
    } else {
        entry = _mm512_and_si512(states, mask);
    }
    _mm512_store_si512(index, entry);
    __asm__ volatile("" : : "r"(index) : "memory"); /* the store stays this early */
}

/*
 * Decode up to `groups` groups of n streams, fewer where a stream comes to its limit; returns how
 * many. n, with_ids and outcome are known when this is compiled. The loads for one vector of states
 * stand between the arithmetic on another: neither alone keeps the core busy. A vector of symbols
 * is 64 neighbours, so elements are merged straight from it: the stores go to memory meanwhile.
 */
MMH_INLINE size_t decode_groups(struct mmh_rans_stream *const *streams, const size_t n,
                                const bool with_ids, const enum outcome outcome,
                                const uint32_t *tables, unsigned bits, size_t groups)
{
    const unsigned element_bytes = outcome_shapes[outcome].element_bytes,
                   raw_bits = outcome_shapes[outcome].raw_bits;
    struct merge_form forms[MMH_STREAMS_MAX];
    uint8_t *dst[MMH_STREAMS_MAX];
    enum store_mode mode = STORE; /* of all: stripes are multiples of 128 elements */
    const __m512i mask = _mm512_set1_epi32((1 << bits) - 1), shift = _mm512_set1_epi32((int)bits);
    const __m512i low12 = _mm512_set1_epi32(0xfff), low_end = _mm512_set1_epi32(0x10000),
                  top8 = _mm512_set1_epi32((int)0xff000000);
    const size_t vectors = 2 * n;
    uint64_t index[2 * MMH_STREAMS_MAX][8] __attribute__((aligned(64)));
    __m512i x[2 * MMH_STREAMS_MAX], symbols[2 * MMH_STREAMS_MAX];
    const uint8_t *at[MMH_STREAMS_MAX], *ids[MMH_STREAMS_MAX] = { NULL };

    MMH_UNROLL
    for (size_t v = 0; v < vectors; v++) {
        at[v / 2] = streams[v / 2]->at;
        if (with_ids)
            ids[v / 2] = streams[v / 2]->ids;
        x[v] = _mm512_loadu_si512(streams[v / 2]->states + 16 * (v % 2));
        symbols[v] = _mm512_setzero_si512();
        put_index(index[v], x[v], mask, shift, with_ids ? ids[v / 2] + 64 * (v % 2) : NULL, 0);
    }
    for (size_t i = 0; i < n && outcome != SYMBOLS; i++) {
        const struct mmh_merge merge = mmh_merge_at(streams[i]->merge, streams[i]->merged);
        merge_form_init(&forms[i], merge.dst, &merge.planes, merge.tails, merge.split,
                        element_bytes);
        dst[i] = merge.dst;
        mode = store_mode_of(merge.dst, merge.stream);
    }
    const size_t depth = MMH_MIN((size_t)LOOK_AHEAD, vectors - 1);
    __m512i entries[2 * MMH_STREAMS_MAX];
    MMH_UNROLL
    for (size_t v = 0; v < depth; v++)
        entries[v] = join(four_entries(tables, index[v]), four_entries(tables, index[v] + 2),
                          four_entries(tables, index[v] + 4), four_entries(tables, index[v] + 6));

    size_t group = 0;
    for (; group < groups; group++) {
        bool inside = true;
        MMH_UNROLL
        for (size_t i = 0; i < n; i++)
            inside &= at[i] <= streams[i]->limit;
        if (!inside)
            break;
        /* the last round of the last group looks up the first ids once more */
        const size_t ahead = group + 1 < groups ? MMH_RANS_GROUP : 0;
        MMH_UNROLL
        for (unsigned step = 0; step < 4; step++) {
            MMH_UNROLL
            for (size_t v = 0; v < vectors; v++) {
                const size_t later = (v + depth) % vectors;
                const uint64_t *next = index[later];
                const __m512i entry = entries[v];
                const __m128i next0 = four_entries(tables, next);
                const __m512i frequency = _mm512_and_si512(_mm512_srli_epi32(entry, 12), low12);
                const __m512i offset = _mm512_and_si512(entry, low12);
                const __m512i high = _mm512_srlv_epi32(x[v], shift);
                const __m128i next1 = four_entries(tables, next + 2);
                __m512i state = _mm512_mullo_epi32(frequency, high);
                symbols[v] = _mm512_ternarylogic_epi32(_mm512_srli_epi32(symbols[v], 8), entry,
                                                       top8, 0xf8);
                const __m128i next2 = four_entries(tables, next + 4);
                state = _mm512_add_epi32(state, offset);
                const __mmask16 refill = _mm512_cmplt_epu32_mask(state, low_end);
                const __m256i words = _mm256_loadu_si256((const __m256i *)(const void *)at[v / 2]);
                const __m512i word = _mm512_maskz_expand_epi32(refill,
                                                               _mm512_cvtepu16_epi32(words));
                const __m128i next3 = four_entries(tables, next + 6);
                x[v] = _mm512_mask_or_epi32(state, refill, _mm512_slli_epi32(state, 16), word);
                at[v / 2] += 2 * (size_t)_mm_popcnt_u32(refill);
                const uint8_t *vector_ids = with_ids ? ids[v / 2] + 64 * (v % 2) : NULL;
                if (with_ids && step == 3)
                    vector_ids += ahead;
                put_index(index[v], x[v], mask, shift, vector_ids, (step + 1) % 4);
                entries[later] = join(next0, next1, next2, next3);
            }
        }
        MMH_UNROLL
        for (size_t v = 0; v < vectors; v++)
            if (outcome != SYMBOLS)
                merge_group(dst[v / 2], symbols[v], &forms[v / 2], 2 * group + v % 2, element_bytes,
                            raw_bits, outcome == BYTE_PAIRS ? 8 : raw_bits, true, raw_bits == 6,
                            mode);
            else
                _mm512_storeu_si512(streams[v / 2]->symbols + group * MMH_RANS_GROUP + 64 * (v % 2),
                                    symbols[v]);
        MMH_UNROLL
        for (size_t i = 0; i < n; i++)
            if (with_ids)
                ids[i] += MMH_RANS_GROUP;
    }

    for (size_t i = 0; i < n && outcome != SYMBOLS; i++)
        merge_form_finish(&forms[i], mode);
    MMH_UNROLL
    for (size_t v = 0; v < vectors; v++) {
        streams[v / 2]->at = at[v / 2];
        _mm512_storeu_si512(streams[v / 2]->states + 16 * (v % 2), x[v]);
    }
    return group;
}

/* One function for each shape, so that all vectors of states live in registers. */
#define DECODE_GROUPS(n, with_ids, outcome, name)                                        \
    static __attribute__((noinline)) size_t name(struct mmh_rans_stream *const *streams, \
                                                 const uint32_t *tables, unsigned bits,  \
                                                 size_t groups)                          \
    {                                                                                    \
        return decode_groups(streams, n, with_ids, outcome, tables, bits, groups);       \
    }
DECODE_GROUPS(1, false, SYMBOLS, decode_symbols_1)
DECODE_GROUPS(2, false, SYMBOLS, decode_symbols_2)
DECODE_GROUPS(3, false, SYMBOLS, decode_symbols_3)
DECODE_GROUPS(4, false, SYMBOLS, decode_symbols_4)
DECODE_GROUPS(1, true, SYMBOLS, decode_symbols_1_ids)
DECODE_GROUPS(2, true, SYMBOLS, decode_symbols_2_ids)
DECODE_GROUPS(3, true, SYMBOLS, decode_symbols_3_ids)
DECODE_GROUPS(4, true, SYMBOLS, decode_symbols_4_ids)
static const mmh_rans_shapes decode_symbols = {
    { decode_symbols_1, decode_symbols_2, decode_symbols_3, decode_symbols_4 },
    { decode_symbols_1_ids, decode_symbols_2_ids, decode_symbols_3_ids, decode_symbols_4_ids },
};

/* With fewer than three stripes the lookups leave time enough for a pass of its own. */
#define DECODE_OUTCOME(outcome, name)               \
    DECODE_GROUPS(3, false, outcome, name##_3)      \
    DECODE_GROUPS(4, false, outcome, name##_4)      \
    DECODE_GROUPS(3, true, outcome, name##_3_ids)   \
    DECODE_GROUPS(4, true, outcome, name##_4_ids)   \
    static const mmh_rans_shapes name = {           \
        { NULL, NULL, name##_3, name##_4 },         \
        { NULL, NULL, name##_3_ids, name##_4_ids }, \
    };
DECODE_OUTCOME(BRAIN_ELEMENTS, decode_brain)
DECODE_OUTCOME(HALF_ELEMENTS, decode_half)
DECODE_OUTCOME(BYTE_PAIRS, decode_pairs)

bool mmh_rans_decode_avx512(const struct mmh_rans_stripe *stripes, size_t stripe_count,
                            const uint32_t *tables, unsigned bits)
{
    static const mmh_rans_shapes *const merging[OUTCOMES] = {
        [BRAIN_ELEMENTS] = &decode_brain,
        [HALF_ELEMENTS] = &decode_half,
        [BYTE_PAIRS] = &decode_pairs,
    };
    const struct mmh_merge *merge = stripe_count ? stripes->merge : NULL;
    const bool right = mmh_rans_stripes_decode(mmh_merge_avx512, stripes, stripe_count,
                                               MMH_STREAMS_MAX, tables, bits, &decode_symbols,
                                               merge ? merging[outcome_of(merge)] : NULL);
    if (merge && merge->stream && merge->stream != MMH_STREAM_MORE)
        _mm_sfence();
    return right;
}

/* ---- encode ---- */

/*
 * States are held from the highest lane down: compressed that way, the words of a step only need
 * to be turned round to stand at the end of the vector, and what is stored below them is
 * overwritten by the steps that follow.
 */
MMH_INLINE __m512i eight_entries(const uint64_t *packed, const uint16_t *index,
                                 const unsigned first, const unsigned stride)
{
    __m128i pair[4];
    MMH_UNROLL
    for (unsigned i = 0; i < 4; i++) {
        const uint64_t *a = packed + index[first - 2 * i * stride];
        const uint64_t *b = packed + index[first - (2 * i + 1) * stride];
        pair[i] = _mm_insert_epi64(_mm_cvtsi64_si128((long long)*a), (long long)*b, 1);
    }
    return join(pair[0], pair[1], pair[2], pair[3]);
}

/* One step of 16 states; the words that are due are the low halves of *x beforehand. */
MMH_INLINE __m512i encode_vector(__m512i x, __mmask16 *emit, __m512i even, __m512i odd,
                                 __m512i slots, __m128i high_shift)
{
    /* even and odd: u64 entries for the lanes with those places in the vector */
    const __m512i high = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
    const __m512i frequency = _mm512_and_si512(high, _mm512_set1_epi32(0xffff));
    const __m512i start = _mm512_srli_epi32(high, 16);
    *emit = _mm512_cmpge_epu32_mask(_mm512_srl_epi32(x, high_shift), frequency);
    x = _mm512_mask_srli_epi32(x, *emit, x, 16);
    const __m512i even_product = _mm512_mul_epu32(x, even);
    const __m512i odd_product = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), odd);
    const __m512i quotient = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even_product, 32),
                                                     odd_product);
    const __m512i rest = _mm512_sub_epi32(x, _mm512_mullo_epi32(quotient, frequency));
    /* x + quotient * (slots - frequency) = quotient * slots + rest */
    const __m512i gap = _mm512_sub_epi32(slots, frequency);
    const __mmask16 low = _mm512_cmpge_epu32_mask(rest, frequency);
    const __m512i base = _mm512_add_epi32(_mm512_add_epi32(x, start),
                                          _mm512_mullo_epi32(quotient, gap));
    return _mm512_mask_add_epi32(base, low, base, gap);
}

/* Where the entries of one group are: u64s from the first table's `packed` on. */
MMH_INLINE void put_entries(uint16_t index[MMH_RANS_GROUP], const uint8_t *symbols,
                            const uint8_t *ids)
{
    const size_t table_entries = sizeof(struct mmh_rans_encode_table) / sizeof(uint64_t);
    MMH_UNROLL
    for (size_t i = 0; i < MMH_RANS_GROUP; i += 32) {
        const __m256i symbol = _mm256_loadu_si256((const __m256i *)(const void *)(symbols + i));
        __m512i entry = _mm512_cvtepu8_epi16(symbol);
        if (ids) {
            const __m256i id = _mm256_loadu_si256((const __m256i *)(const void *)(ids + i));
            const __m512i table = _mm512_mullo_epi16(_mm512_cvtepu8_epi16(id),
                                                     _mm512_set1_epi16((short)table_entries));
            entry = _mm512_add_epi16(entry, table);
        }
        _mm512_store_si512(index + i, entry);
    }
    __asm__ volatile("" : : "r"(index) : "memory"); /* the stores stay this early */
}

/* All steps. with_ids is known when this is compiled. */
MMH_INLINE uint8_t *encode_groups(uint8_t *states, uint8_t *at, const uint8_t *symbols,
                                  const uint8_t *ids, size_t groups,
                                  const struct mmh_rans_encode_table *tables, unsigned bits,
                                  const bool with_ids)
{
    const uint64_t *packed = tables->packed;
    const __m512i slots = _mm512_set1_epi32(1 << bits);
    const __m128i high_shift = _mm_cvtsi32_si128(32 - (int)bits);
    uint16_t order[32];
    for (unsigned i = 0; i < 32; i++)
        order[i] = (uint16_t)(2 * i); /* low halves of the 32 states */
    const __m512i low_halves = _mm512_loadu_si512(order);
    for (unsigned i = 0; i < 32; i++)
        order[i] = (uint16_t)(31 - i);
    const __m512i reversed = _mm512_loadu_si512(order);
    __m512i high_lanes = _mm512_set1_epi32(0x10000), low_lanes = high_lanes;

    /* what a group needs is looked up while the group before is coded */
    uint16_t indices[2][MMH_RANS_GROUP] __attribute__((aligned(64)));
    if (groups)
        put_entries(indices[(groups - 1) % 2], symbols + (groups - 1) * MMH_RANS_GROUP,
                    /* cppcheck-suppress nullPointerArithmetic ; with_ids says that ids is there */
                    with_ids ? ids + (groups - 1) * MMH_RANS_GROUP : NULL);
    for (size_t group = groups; group-- > 0;) {
        const size_t ahead = (group ? group - 1 : 0) * MMH_RANS_GROUP;
        put_entries(indices[(group + 1) % 2], symbols + ahead, with_ids ? ids + ahead : NULL);
        const uint16_t *index = indices[group % 2];
        MMH_UNROLL
        for (unsigned step = 4; step-- > 0;) {
            __mmask16 emit_high, emit_low;
            const __m512i words = _mm512_permutex2var_epi16(high_lanes, low_halves, low_lanes);
            high_lanes = encode_vector(
                high_lanes, &emit_high, eight_entries(packed, index, 31 * 4 + step, 8),
                eight_entries(packed, index, 30 * 4 + step, 8), slots, high_shift);
            low_lanes =
                encode_vector(low_lanes, &emit_low, eight_entries(packed, index, 15 * 4 + step, 8),
                              eight_entries(packed, index, 14 * 4 + step, 8), slots, high_shift);
            const __mmask32 emit = _mm512_kunpackw(emit_low, emit_high);
            const __m512i due = _mm512_maskz_compress_epi16(emit, words);
            _mm512_storeu_si512(at - 64, _mm512_permutexvar_epi16(reversed, due));
            at -= 2 * (size_t)_mm_popcnt_u32(emit);
        }
    }
    for (unsigned i = 0; i < 16; i++)
        ((uint32_t *)(void *)order)[i] = 15 - i;
    const __m512i turn = _mm512_loadu_si512(order);
    _mm512_storeu_si512(states, _mm512_permutexvar_epi32(turn, low_lanes));
    _mm512_storeu_si512(states + 64, _mm512_permutexvar_epi32(turn, high_lanes));
    return at;
}

size_t mmh_rans_encode_avx512(uint8_t *states, uint8_t *words, size_t word_room,
                              const uint8_t *symbols, const uint8_t *ids, size_t count,
                              const struct mmh_rans_encode_table *tables, unsigned bits)
{
    const size_t groups = count / MMH_RANS_GROUP + (count % MMH_RANS_GROUP != 0);
    uint8_t *const end = words + 2 * word_room;
    const uint8_t *at = ids
                          ? encode_groups(states, end, symbols, ids, groups, tables, bits, true)
                          : encode_groups(states, end, symbols, NULL, groups, tables, bits, false);
    return (size_t)(end - at) / 2;
}

/* ---- histograms ---- */

/* Each symbol costs one add in memory, whatever the registers: nothing here for wide ones. */
void mmh_histogram_avx512(uint32_t *histogram, const uint8_t *symbols, size_t count, size_t stride)
{
    mmh_histogram_c(histogram, symbols, count, stride);
}

void mmh_histogram_classes_avx512(uint32_t *histogram, const uint8_t *symbols, const uint8_t *bins,
                                  size_t count, size_t stride)
{
    mmh_histogram_classes_c(histogram, symbols, bins, count, stride);
}

/* ---- rows and columns ---- */

/* Rows of fewer than 64 columns: every 64 elements see a window of the pattern that repeats. */
static void classes_narrow(uint8_t *out, uint64_t row_index, size_t column_index, size_t count,
                           size_t columns, const int8_t *row, const int8_t *column,
                           const uint8_t *map)
{
    int8_t column_class[128]; /* of place p, counted from a row's beginning */
    uint8_t row_of[128];      /* how many rows further p lies */
    for (size_t p = 0, c = 0, r = 0; p < columns + 64; p++) {
        column_class[p] = column ? column[c] : 0;
        row_of[p] = (uint8_t)r;
        if (++c == columns) {
            c = 0;
            r++;
        }
    }
    const __m512i middle = _mm512_set1_epi8(MMH_CLASS_BINS / 2);
    const __m512i top = _mm512_set1_epi8(MMH_CLASS_BINS - 1);
    const __m512i bins = map ? _mm512_loadu_si512(map) : _mm512_setzero_si512();
    const size_t row_step = 64 / columns, column_step = 64 % columns;
    /* rows that the run touches are readable, those behind them are not */
    size_t rows_left = (column_index + count - 1) / columns + 1;
    if (row)
        row += row_index;
    while (count) {
        const __mmask64 used = count < 64 ? _bzhi_u64(UINT64_MAX, (unsigned)count) : UINT64_MAX;
        __m512i sum = _mm512_loadu_si512(column_class + column_index);
        if (row) {
            const __mmask64 rows = rows_left < 64 ? _bzhi_u64(UINT64_MAX, (unsigned)rows_left)
                                                  : UINT64_MAX;
            const __m512i which = _mm512_loadu_si512(row_of + column_index);
            const __m512i class = _mm512_permutexvar_epi8(which,
                                                          _mm512_maskz_loadu_epi8(rows, row));
            sum = map ? _mm512_adds_epi8(_mm512_add_epi8(class, middle), sum)
                      : _mm512_add_epi8(class, sum);
        } else if (map) {
            sum = _mm512_adds_epi8(middle, sum);
        }
        if (map) {
            sum = _mm512_min_epi8(_mm512_max_epi8(sum, _mm512_setzero_si512()), top);
            sum = _mm512_permutexvar_epi8(sum, bins);
        }
        if (count < 64) {
            _mm512_mask_storeu_epi8(out, used, sum);
            return;
        }
        _mm512_storeu_si512(out, sum);
        out += 64;
        count -= 64;
        size_t rows_done = row_step;
        column_index += column_step;
        if (column_index >= columns) {
            column_index -= columns;
            rows_done++;
        }
        rows_left -= rows_done;
        if (row)
            row += rows_done;
    }
}

void mmh_classes_avx512(uint8_t *out, uint64_t first, size_t count, uint64_t columns,
                        const int8_t *row, const int8_t *column, const uint8_t *map)
{
    uint64_t r = first / columns, c = first % columns;
    if (!count)
        return;
    if (columns < 64) {
        classes_narrow(out, r, (size_t)c, count, (size_t)columns, row, column, map);
        return;
    }
    const __m512i zero = _mm512_setzero_si512();
    const __m512i top = _mm512_set1_epi8(MMH_CLASS_BINS - 1);
    const __m512i bins = map ? _mm512_loadu_si512(map) : zero;
    while (count) {
        const size_t length = (size_t)MMH_MIN(count, columns - c);
        const int class = (row ? row[r] : 0) + (map ? MMH_CLASS_BINS / 2 : 0);
        const __m512i row_class = _mm512_set1_epi8((char)class);
        /* a row's last store runs into the next row, which comes later, but not past the end */
        for (size_t i = 0; i < length; i += 64) {
            __m512i sum = column ? _mm512_loadu_si512(column + c + i) : zero;
            if (map) {
                sum = _mm512_adds_epi8(row_class, sum);
                sum = _mm512_min_epi8(_mm512_max_epi8(sum, zero), top);
                sum = _mm512_permutexvar_epi8(sum, bins);
            } else {
                sum = _mm512_add_epi8(row_class, sum);
            }
            if (count - i >= 64)
                _mm512_storeu_si512(out + i, sum);
            else
                _mm512_mask_storeu_epi8(out + i, _bzhi_u64(UINT64_MAX, (unsigned)(count - i)), sum);
        }
        r++;
        c = 0;
        out += length;
        count -= length;
    }
}

enum {
    SUM_COLUMNS = 1024, /* summed side by side in u16, */
    SUM_ROWS = 256,     /* of so many rows: 256 * 255 < 2^16 */
};

MMH_INLINE __m512i widen(__m512i bytes, bool upper)
{
    return _mm512_cvtepu8_epi16(upper ? _mm512_extracti64x4_epi64(bytes, 1)
                                      : _mm512_castsi512_si256(bytes));
}

/*
 * Whole rows of at most `slot` = 8, 16 or 32 columns, spread to one row a slot. Returns how many
 * rows it has added: whole vectors of them. slot is known when this is compiled.
 */
MMH_INLINE size_t sums_narrow(uint64_t *row_sum, uint32_t *column_sum, const uint8_t *symbols,
                              size_t rows, size_t columns, const size_t slot)
{
    const size_t slots = 64 / slot;
    uint8_t from[64];
    uint64_t keep = 0;
    for (size_t i = 0; i < 64; i++) {
        from[i] = (uint8_t)(i / slot * columns + i % slot);
        keep |= (uint64_t)(i % slot < columns) << i;
    }
    const __m512i spread = _mm512_loadu_si512(from), zero = _mm512_setzero_si512();
    const __mmask64 whole = _bzhi_u64(UINT64_MAX, (unsigned)(slots * columns));
    size_t row = 0;
    while (rows - row >= slots) {
        __m512i low = zero, high = zero;
        const size_t stop = MMH_MIN(rows, row + slots * SUM_ROWS);
        for (; row + slots <= stop; row += slots) {
            __m512i bytes = _mm512_maskz_loadu_epi8(whole, symbols + row * columns);
            bytes = _mm512_maskz_permutexvar_epi8(keep, spread, bytes);
            low = _mm512_add_epi16(low, widen(bytes, false));
            high = _mm512_add_epi16(high, widen(bytes, true));
            __m512i sums = _mm512_sad_epu8(bytes, zero);
            uint64_t *to = row_sum + row;
            if (slot == 8) {
                _mm512_storeu_si512(to, _mm512_add_epi64(_mm512_loadu_si512(to), sums));
                continue;
            }
            sums = _mm512_add_epi64(sums, _mm512_permutex_epi64(sums, 0xb1));
            if (slot == 32) {
                sums = _mm512_add_epi64(sums, _mm512_permutex_epi64(sums, 0x4e));
                to[0] += (uint64_t)_mm_cvtsi128_si64(_mm512_castsi512_si128(sums));
                to[1] += (uint64_t)_mm_cvtsi128_si64(_mm512_extracti64x2_epi64(sums, 2));
                continue;
            }
            const __m256i four = _mm512_castsi512_si256(
                _mm512_permutexvar_epi64(_mm512_set_epi64(6, 4, 2, 0, 6, 4, 2, 0), sums));
            __m256i *const vector = (__m256i *)(void *)to;
            _mm256_storeu_si256(vector, _mm256_add_epi64(_mm256_loadu_si256(vector), four));
        }
        uint16_t sums[64];
        _mm512_storeu_si512(sums, low);
        _mm512_storeu_si512(sums + 32, high);
        for (size_t i = 0; i < 64; i++)
            if (i % slot < columns)
                column_sum[i % slot] += sums[i];
    }
    return row;
}

/* Part of one row: adds to u16 sums of its columns and returns its own. */
MMH_INLINE uint64_t sums_of_row(uint16_t *sums, const uint8_t *symbols, size_t count)
{
    const __m512i zero = _mm512_setzero_si512();
    __m512i total = zero;
    for (size_t i = 0; i < count; i += 64) {
        const __m512i bytes =
            count - i < 64
                ? _mm512_maskz_loadu_epi8(_bzhi_u64(UINT64_MAX, (unsigned)(count - i)), symbols + i)
                : _mm512_loadu_si512(symbols + i);
        total = _mm512_add_epi64(total, _mm512_sad_epu8(bytes, zero));
        uint16_t *to = sums + i;
        _mm512_storeu_si512(to, _mm512_add_epi16(_mm512_loadu_si512(to), widen(bytes, false)));
        to += 32;
        _mm512_storeu_si512(to, _mm512_add_epi16(_mm512_loadu_si512(to), widen(bytes, true)));
    }
    return (uint64_t)_mm512_reduce_add_epi64(total);
}

void mmh_row_column_sums_avx512(uint64_t *row_sum, uint32_t *column_sum, const uint8_t *symbols,
                                uint64_t first, size_t count, uint64_t columns)
{
    uint64_t r = first / columns, c = first % columns;
    if (columns <= 32) {
        const size_t width = (size_t)columns;
        const size_t head = MMH_MIN(count, (width - (size_t)c) % width);
        mmh_row_column_sums_c(row_sum, column_sum, symbols, first, head, columns);
        symbols += head;
        count -= head;
        row_sum += r + (c != 0);
        const size_t rows = count / width;
        const size_t done = columns <= 8 ? sums_narrow(row_sum, column_sum, symbols, rows, width, 8)
                          : columns <= 16
                              ? sums_narrow(row_sum, column_sum, symbols, rows, width, 16)
                              : sums_narrow(row_sum, column_sum, symbols, rows, width, 32);
        mmh_row_column_sums_c(row_sum + done, column_sum, symbols + done * width, 0,
                              count - done * width, columns);
        return;
    }
    /* Element `begin` of the run's rows is its first; `end` is behind its last. */
    const uint64_t begin = c, end = c + count;
    const uint64_t rows = mmh_divide_up(end, columns);
    row_sum += r;
    for (uint64_t tile = 0; tile < MMH_MIN(columns, end); tile += SUM_COLUMNS) {
        const size_t width = (size_t)MMH_MIN(columns - tile, SUM_COLUMNS);
        for (uint64_t row = 0; row < rows;) {
            uint16_t sums[SUM_COLUMNS + 64];
            memset(sums, 0, (width + 64) * sizeof *sums);
            const uint64_t stop = MMH_MIN(rows, row + SUM_ROWS);
            for (; row < stop; row++) {
                const uint64_t tile_begin = row * columns + tile;
                const uint64_t from = MMH_MAX(begin, tile_begin);
                const uint64_t to = MMH_MIN(end, tile_begin + width);
                if (from < to)
                    row_sum[row] += sums_of_row(sums + (from - tile_begin),
                                                symbols + (from - begin), (size_t)(to - from));
            }
            for (size_t i = 0; i < width; i++)
                column_sum[tile + i] += sums[i];
        }
    }
}

/* ---- bytes ---- */

size_t mmh_within_avx512(const uint8_t *symbols, const uint8_t *first, const uint8_t *last,
                         uint8_t zeros, size_t count)
{
    size_t i = 0;
    for (; i < count; i += 64) {
        const __m512i symbol = load(symbols + i);
        const __mmask64 low = _mm512_cmplt_epu8_mask(symbol, load(first + i));
        const __mmask64 high = _mm512_cmpgt_epu8_mask(symbol, load(last + i));
        if (_mm512_mask_cmpge_epu8_mask(low | high, symbol, bytes_of(zeros)))
            break;
    }
    return i;
}

void mmh_bytes_add_avx512(uint8_t *dst, const uint8_t *src, size_t count)
{
    size_t i = 0;
    for (; i + 64 <= count; i += 64)
        _mm512_storeu_si512(
            dst + i, _mm512_add_epi8(_mm512_loadu_si512(dst + i), _mm512_loadu_si512(src + i)));
    mmh_bytes_add_c(dst + i, src + i, count - i);
}

void mmh_bytes_subtract_avx512(uint8_t *dst, const uint8_t *src, size_t count)
{
    size_t i = 0;
    for (; i + 64 <= count; i += 64)
        _mm512_storeu_si512(
            dst + i, _mm512_sub_epi8(_mm512_loadu_si512(dst + i), _mm512_loadu_si512(src + i)));
    mmh_bytes_subtract_c(dst + i, src + i, count - i);
}
