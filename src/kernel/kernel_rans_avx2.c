/*
 * rANS, histograms and classes for AVX2 (with BMI and BMI2).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernel/kernel_rans_stream.h"

#include <immintrin.h>

/* ---- tables of byte masks, built by the preprocessor ---- */

#define ROWS_4(row, m) row((m)), row((m) + 1), row((m) + 2), row((m) + 3)
#define ROWS_16(row, m) \
    ROWS_4(row, (m)), ROWS_4(row, (m) + 4), ROWS_4(row, (m) + 8), ROWS_4(row, (m) + 12)
#define ROWS_64(row, m) \
    ROWS_16(row, (m)), ROWS_16(row, (m) + 16), ROWS_16(row, (m) + 32), ROWS_16(row, (m) + 48)
#define ROWS_256(row) ROWS_64(row, 0), ROWS_64(row, 64), ROWS_64(row, 128), ROWS_64(row, 192)

#define BIT(m, lane) (1 & (m) >> (lane))
/* How many of the lowest `lane` bits of mask m are set. */
#define RANK(m, lane)                                                                             \
    (((lane) > 0 ? BIT(m, 0) : 0) + ((lane) > 1 ? BIT(m, 1) : 0) + ((lane) > 2 ? BIT(m, 2) : 0) + \
     ((lane) > 3 ? BIT(m, 3) : 0) + ((lane) > 4 ? BIT(m, 4) : 0) + ((lane) > 5 ? BIT(m, 5) : 0) + \
     ((lane) > 6 ? BIT(m, 6) : 0) + ((lane) > 7 ? BIT(m, 7) : 0))

/* expand[m][lane]: which word a lane takes if the lanes of m take words. */
#define EXPAND(m)                                                                           \
    {                                                                                       \
        RANK(m, 0), RANK(m, 1), RANK(m, 2), RANK(m, 3), RANK(m, 4), RANK(m, 5), RANK(m, 6), \
            RANK(m, 7)                                                                      \
    }
static const uint8_t expand[256][8] = { ROWS_256(EXPAND) };

/* compress[m]: the u16 of the lanes of m moved to the upper end, as a byte shuffle; what stands
 * below them does not matter. */
#define PLACE(m, lane) (8 - RANK(m, 8) + RANK(m, lane)) /* of a lane of m */
#define MOVED(m, place, lane) \
    (BIT(m, lane) && PLACE(m, lane) == (place) ? 0x100 + 0x202 * (lane) : 0)
#define CONTROL(m, place)                                                                \
    (MOVED(m, place, 0) + MOVED(m, place, 1) + MOVED(m, place, 2) + MOVED(m, place, 3) + \
     MOVED(m, place, 4) + MOVED(m, place, 5) + MOVED(m, place, 6) + MOVED(m, place, 7))
#define COMPRESS(m)                                                                               \
    {                                                                                             \
        CONTROL(m, 0), CONTROL(m, 1), CONTROL(m, 2), CONTROL(m, 3), CONTROL(m, 4), CONTROL(m, 5), \
            CONTROL(m, 6), CONTROL(m, 7)                                                          \
    }
static const uint16_t compress[256][8] = { ROWS_256(COMPRESS) };

static inline __m128i load128(const void *at)
{
    return _mm_loadu_si128(at);
}

static inline __m256i load256(const void *at)
{
    return _mm256_loadu_si256(at);
}

/* ---- decode ---- */

enum { LOOK_AHEAD = 2 }; /* vectors whose entries are loaded before their turn */

/* tables[index[lane]] for four lanes; faster by scalar loads than by a gather. */
MMH_INLINE __m128i four_entries(const uint32_t *tables, const uint64_t *index)
{
    const uint64_t a = index[0], b = index[1];
    __m128i entries = _mm_cvtsi32_si128((int)tables[(uint32_t)a]);
    entries = _mm_insert_epi32(entries, (int)tables[a >> 32], 1);
    entries = _mm_insert_epi32(entries, (int)tables[(uint32_t)b], 2);
    return _mm_insert_epi32(entries, (int)tables[b >> 32], 3);
}

MMH_INLINE __m256i join(__m128i low, __m128i high)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

/* Where the entries of one vector of states are: the slot, and the table `step` (0..3) of `ids`.
 * They go through memory, a round of all vectors ahead of their use. */
MMH_INLINE void put_index(uint64_t index[4], __m256i states, __m256i mask, __m128i bits,
                          const uint8_t *ids, unsigned step)
{
    __m256i entry = _mm256_and_si256(states, mask);
    if (ids) {
        const __m256i table = _mm256_and_si256(_mm256_srli_epi32(load256(ids), (int)(8 * step)),
                                               _mm256_set1_epi32(0xff));
        entry = _mm256_or_si256(entry, _mm256_sll_epi32(table, bits));
    }
    _mm256_store_si256((__m256i *)(void *)index, entry);
    __asm__ volatile("" : : "r"(index) : "memory"); /* the store stays this early */
}

/* See mmh_rans_decode_groups. Everything about n and with_ids is known when this is compiled. The
 * loads for one vector of states stand between the arithmetic on another. */
MMH_INLINE size_t decode_groups(struct mmh_rans_stream *const *streams, const size_t n,
                                const bool with_ids, const uint32_t *tables, unsigned bits,
                                size_t groups)
{
    const __m256i mask = _mm256_set1_epi32((1 << bits) - 1), low12 = _mm256_set1_epi32(0xfff),
                  zero = _mm256_setzero_si256();
    const __m128i shift = _mm_cvtsi32_si128((int)bits);
    const size_t vectors = 4 * n;
    uint64_t index[4 * MMH_STREAMS_MAX][4] __attribute__((aligned(32)));
    __m256i x[4 * MMH_STREAMS_MAX], symbols[4 * MMH_STREAMS_MAX];
    const uint8_t *at[MMH_STREAMS_MAX], *ids[MMH_STREAMS_MAX] = { NULL };

    MMH_UNROLL
    for (size_t v = 0; v < vectors; v++) {
        at[v / 4] = streams[v / 4]->at;
        if (with_ids)
            ids[v / 4] = streams[v / 4]->ids;
        x[v] = load256(streams[v / 4]->states + 8 * (v % 4));
        symbols[v] = zero;
        put_index(index[v], x[v], mask, shift, with_ids ? ids[v / 4] + 32 * (v % 4) : NULL, 0);
    }
    const size_t depth = MMH_MIN((size_t)LOOK_AHEAD, vectors - 1);
    __m256i entries[4 * MMH_STREAMS_MAX];
    MMH_UNROLL
    for (size_t v = 0; v < depth; v++)
        entries[v] = join(four_entries(tables, index[v]), four_entries(tables, index[v] + 2));

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
                const __m256i entry = entries[v];
                const __m256i frequency = _mm256_and_si256(_mm256_srli_epi32(entry, 12), low12);
                const __m256i offset = _mm256_and_si256(entry, low12);
                const __m256i symbol = _mm256_andnot_si256(_mm256_set1_epi32(0xffffff), entry);
                __m256i state = _mm256_mullo_epi32(frequency, _mm256_srl_epi32(x[v], shift));
                symbols[v] = _mm256_or_si256(_mm256_srli_epi32(symbols[v], 8), symbol);
                const __m128i next0 = four_entries(tables, next);
                state = _mm256_add_epi32(state, offset);
                const __m256i low = _mm256_cmpeq_epi32(_mm256_srli_epi32(state, 16), zero);
                const unsigned refill = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(low));
                const __m256i words = _mm256_cvtepu16_epi32(load128(at[v / 4]));
                const __m256i order = _mm256_cvtepu8_epi32(
                    _mm_loadl_epi64((const __m128i *)(const void *)expand[refill]));
                const __m256i refilled = _mm256_or_si256(_mm256_slli_epi32(state, 16),
                                                         _mm256_permutevar8x32_epi32(words, order));
                const __m128i next1 = four_entries(tables, next + 2);
                x[v] = _mm256_blendv_epi8(state, refilled, low);
                at[v / 4] += 2 * (size_t)_mm_popcnt_u32(refill);
                const uint8_t *vector_ids = with_ids ? ids[v / 4] + 32 * (v % 4) : NULL;
                if (with_ids && step == 3)
                    vector_ids += ahead;
                put_index(index[v], x[v], mask, shift, vector_ids, (step + 1) % 4);
                entries[later] = join(next0, next1);
            }
        }
        MMH_UNROLL
        for (size_t v = 0; v < vectors; v++)
            _mm256_storeu_si256((__m256i *)(void *)(streams[v / 4]->symbols +
                                                    group * MMH_RANS_GROUP + 32 * (v % 4)),
                                symbols[v]);
        MMH_UNROLL
        for (size_t i = 0; i < n; i++)
            if (with_ids)
                ids[i] += MMH_RANS_GROUP;
    }

    MMH_UNROLL
    for (size_t v = 0; v < vectors; v++) {
        streams[v / 4]->at = at[v / 4];
        _mm256_storeu_si256((__m256i *)(void *)(streams[v / 4]->states + 8 * (v % 4)), x[v]);
    }
    return group;
}

/* One function for each shape. More than two streams do not fit the 16 registers. */
#define DECODE_GROUPS(n, with_ids, name)                                                 \
    static __attribute__((noinline)) size_t name(struct mmh_rans_stream *const *streams, \
                                                 const uint32_t *tables, unsigned bits,  \
                                                 size_t groups)                          \
    {                                                                                    \
        return decode_groups(streams, n, with_ids, tables, bits, groups);                \
    }
DECODE_GROUPS(1, false, decode_groups_1)
DECODE_GROUPS(2, false, decode_groups_2)
DECODE_GROUPS(1, true, decode_groups_1_ids)
DECODE_GROUPS(2, true, decode_groups_2_ids)

bool mmh_rans_decode_avx2(const struct mmh_rans_stripe *stripes, size_t stripe_count,
                          const uint32_t *tables, unsigned bits)
{
    static const mmh_rans_shapes shapes = {
        { decode_groups_1, decode_groups_2 },
        { decode_groups_1_ids, decode_groups_2_ids },
    };
    return mmh_rans_stripes_decode(mmh_merge_avx2, stripes, stripe_count, 2, tables, bits, &shapes,
                                   NULL);
}

/* ---- encode ---- */

/* The u64 entries of four lanes: index[first], index[first + 8], ... */
MMH_INLINE __m256i every_other_entry(const uint64_t *packed, const uint16_t *index)
{
    __m128i low = _mm_cvtsi64_si128((long long)packed[index[0]]);
    low = _mm_insert_epi64(low, (long long)packed[index[8]], 1);
    __m128i high = _mm_cvtsi64_si128((long long)packed[index[16]]);
    high = _mm_insert_epi64(high, (long long)packed[index[24]], 1);
    return join(low, high);
}

MMH_INLINE __m256i greater_equal(__m256i a, __m256i b)
{
    return _mm256_cmpeq_epi32(_mm256_max_epu32(a, b), a);
}

/* One step of eight states; *emit gets the lanes whose low halves were due before it. */
MMH_INLINE __m256i encode_vector(__m256i x, unsigned *emit, const uint64_t *packed,
                                 const uint16_t *index, __m256i slots, __m128i high_shift)
{
    const __m256i even = every_other_entry(packed, index);
    const __m256i odd = every_other_entry(packed, index + 4);
    const __m256i high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
    const __m256i frequency = _mm256_and_si256(high, _mm256_set1_epi32(0xffff));
    const __m256i start = _mm256_srli_epi32(high, 16);
    const __m256i due = greater_equal(_mm256_srl_epi32(x, high_shift), frequency);
    *emit = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(due));
    x = _mm256_blendv_epi8(x, _mm256_srli_epi32(x, 16), due);
    const __m256i even_product = _mm256_mul_epu32(x, even);
    const __m256i odd_product = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), odd);
    const __m256i quotient = _mm256_blend_epi32(_mm256_srli_epi64(even_product, 32), odd_product,
                                                0xaa);
    const __m256i rest = _mm256_sub_epi32(x, _mm256_mullo_epi32(quotient, frequency));
    /* x + quotient * (slots - frequency) = quotient * slots + rest */
    const __m256i gap = _mm256_sub_epi32(slots, frequency);
    const __m256i fix = _mm256_and_si256(greater_equal(rest, frequency), gap);
    const __m256i base = _mm256_add_epi32(_mm256_add_epi32(x, start),
                                          _mm256_mullo_epi32(quotient, gap));
    return _mm256_add_epi32(base, fix);
}

/* Where the entries of one group are: u64s from the first table's `packed` on. */
MMH_INLINE void put_entries(uint16_t index[MMH_RANS_GROUP], const uint8_t *symbols,
                            const uint8_t *ids)
{
    const size_t table_entries = sizeof(struct mmh_rans_encode_table) / sizeof(uint64_t);
    MMH_UNROLL
    for (size_t i = 0; i < MMH_RANS_GROUP; i += 16) {
        __m256i entry = _mm256_cvtepu8_epi16(load128(symbols + i));
        if (ids) {
            const __m256i table = _mm256_mullo_epi16(_mm256_cvtepu8_epi16(load128(ids + i)),
                                                     _mm256_set1_epi16((short)table_entries));
            entry = _mm256_add_epi16(entry, table);
        }
        _mm256_store_si256((__m256i *)(void *)(index + i), entry);
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
    const __m256i slots = _mm256_set1_epi32(1 << bits), low16 = _mm256_set1_epi32(0xffff);
    const __m128i high_shift = _mm_cvtsi32_si128(32 - (int)bits);
    __m256i x[4];
    MMH_UNROLL
    for (size_t v = 0; v < 4; v++)
        x[v] = _mm256_set1_epi32(0x10000);

    /* what a group needs is looked up while the group before is coded */
    uint16_t indices[2][MMH_RANS_GROUP] __attribute__((aligned(32)));
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
            MMH_UNROLL
            for (size_t v = 4; v-- > 0;) {
                const __m256i low = _mm256_and_si256(x[v], low16);
                const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(low),
                                                       _mm256_extracti128_si256(low, 1));
                unsigned emit;
                x[v] = encode_vector(x[v], &emit, packed, index + 32 * v + step, slots, high_shift);
                _mm_storeu_si128((__m128i *)(void *)(at - 16),
                                 _mm_shuffle_epi8(words, load128(compress[emit])));
                at -= 2 * (size_t)_mm_popcnt_u32(emit);
            }
        }
    }
    MMH_UNROLL
    for (size_t v = 0; v < 4; v++)
        _mm256_storeu_si256((__m256i *)(void *)(states + 32 * v), x[v]);
    return at;
}

size_t mmh_rans_encode_avx2(uint8_t *states, uint8_t *words, size_t word_room,
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

void mmh_histogram_avx2(uint32_t *histogram, const uint8_t *symbols, size_t count, size_t stride)
{
    mmh_histogram_c(histogram, symbols, count, stride);
}

void mmh_histogram_classes_avx2(uint32_t *histogram, const uint8_t *symbols, const uint8_t *bins,
                                size_t count, size_t stride)
{
    mmh_histogram_classes_c(histogram, symbols, bins, count, stride);
}

/* ---- rows and columns ---- */

/* map[bin], bins 0..63. */
MMH_INLINE __m256i look_up(const __m256i map[4], __m256i bin)
{
    const __m256i bit4 = _mm256_slli_epi16(bin, 3), bit5 = _mm256_slli_epi16(bin, 2);
    const __m256i low = _mm256_blendv_epi8(_mm256_shuffle_epi8(map[0], bin),
                                           _mm256_shuffle_epi8(map[1], bin), bit4);
    const __m256i high = _mm256_blendv_epi8(_mm256_shuffle_epi8(map[2], bin),
                                            _mm256_shuffle_epi8(map[3], bin), bit4);
    return _mm256_blendv_epi8(low, high, bit5);
}

/* What `classes` gives for 32 row and column classes; with a map the row's has 32 added. */
MMH_INLINE __m256i class_of(__m256i row, __m256i column, const __m256i map[4], bool mapped)
{
    if (!mapped)
        return _mm256_add_epi8(row, column);
    __m256i bin = _mm256_adds_epi8(row, column);
    bin = _mm256_max_epi8(bin, _mm256_setzero_si256());
    return look_up(map, _mm256_min_epi8(bin, _mm256_set1_epi8(MMH_CLASS_BINS - 1)));
}

MMH_INLINE void store_first(uint8_t *out, __m256i bytes, size_t count)
{
    if (count >= 32) {
        _mm256_storeu_si256((__m256i *)(void *)out, bytes);
        return;
    }
    uint8_t all[32];
    _mm256_storeu_si256((__m256i *)(void *)all, bytes);
    memcpy(out, all, count);
}

/* Rows of 3 to 31 columns: every 32 elements see a window of the pattern that repeats. */
static void classes_narrow(uint8_t *out, uint64_t row_index, size_t column_index, size_t count,
                           size_t columns, const int8_t *row, const int8_t *column,
                           const __m256i map[4], bool mapped)
{
    int8_t column_class[64]; /* of place p, counted from a row's beginning */
    uint8_t row_of[64];      /* how many rows further p lies; at most 11 */
    for (size_t p = 0, c = 0, r = 0; p < columns + 32; p++) {
        column_class[p] = column ? column[c] : 0;
        row_of[p] = (uint8_t)r;
        if (++c == columns) {
            c = 0;
            r++;
        }
    }
    const __m256i middle = _mm256_set1_epi8(mapped ? MMH_CLASS_BINS / 2 : 0);
    const size_t row_step = 32 / columns, column_step = 32 % columns;
    /* rows that the run touches are readable, those behind them are not */
    size_t rows_left = (column_index + count - 1) / columns + 1;
    __m256i row_class = middle;
    if (row)
        row += row_index;
    for (;;) {
        if (row) {
            uint8_t last[16] = { 0 };
            if (rows_left < 16)
                memcpy(last, row, rows_left);
            const __m256i rows =
                _mm256_broadcastsi128_si256(load128(rows_left < 16 ? (const void *)last : row));
            row_class = _mm256_add_epi8(_mm256_shuffle_epi8(rows, load256(row_of + column_index)),
                                        middle);
        }
        store_first(out, class_of(row_class, load256(column_class + column_index), map, mapped),
                    count);
        if (count <= 32)
            return;
        out += 32;
        count -= 32;
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

void mmh_classes_avx2(uint8_t *out, uint64_t first, size_t count, uint64_t columns,
                      const int8_t *row, const int8_t *column, const uint8_t *map)
{
    if (!count)
        return;
    if (columns < 3) {
        mmh_classes_c(out, first, count, columns, row, column, map);
        return;
    }
    __m256i tables[4];
    for (size_t i = 0; i < 4; i++)
        tables[i] = map ? _mm256_broadcastsi128_si256(load128(map + 16 * i))
                        : _mm256_setzero_si256();
    uint64_t r = first / columns, c = first % columns;
    if (columns < 32) {
        classes_narrow(out, r, (size_t)c, count, (size_t)columns, row, column, tables, map != NULL);
        return;
    }
    while (count) {
        const size_t length = (size_t)MMH_MIN(count, columns - c);
        const int class = (row ? row[r] : 0) + (map ? MMH_CLASS_BINS / 2 : 0);
        const __m256i row_class = _mm256_set1_epi8((char)class);
        /* a row's last store runs into the next row, which comes later, but not past the end */
        for (size_t i = 0; i < length; i += 32) {
            const __m256i columns32 = column ? load256(column + c + i) : _mm256_setzero_si256();
            store_first(out + i, class_of(row_class, columns32, tables, map != NULL), count - i);
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

MMH_INLINE void add_words(uint16_t *sums, __m128i bytes)
{
    _mm256_storeu_si256((__m256i *)(void *)sums,
                        _mm256_add_epi16(load256(sums), _mm256_cvtepu8_epi16(bytes)));
}

MMH_INLINE uint64_t sum_of_bytes(__m256i sad)
{
    const __m128i two = _mm_add_epi64(_mm256_castsi256_si128(sad),
                                      _mm256_extracti128_si256(sad, 1));
    return (uint64_t)_mm_cvtsi128_si64(two) + (uint64_t)_mm_extract_epi64(two, 1);
}

/* Part of one row: adds to u16 sums of its columns and returns its own. `readable` >= count. */
MMH_INLINE uint64_t sums_of_row(uint16_t *sums, const uint8_t *symbols, size_t count,
                                size_t readable)
{
    static const uint8_t ones_then_zeros[64] = {
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    };
    const __m256i zero = _mm256_setzero_si256();
    __m256i total = zero;
    for (size_t i = 0; i < count; i += 32) {
        uint8_t last[32] = { 0 };
        const uint8_t *from = symbols + i;
        if (readable - i < 32) {
            memcpy(last, from, readable - i);
            from = last;
        }
        __m256i bytes = load256(from);
        if (count - i < 32)
            bytes = _mm256_and_si256(bytes, load256(ones_then_zeros + 32 - (count - i)));
        total = _mm256_add_epi64(total, _mm256_sad_epu8(bytes, zero));
        add_words(sums + i, _mm256_castsi256_si128(bytes));
        add_words(sums + i + 16, _mm256_extracti128_si256(bytes, 1));
    }
    return sum_of_bytes(total);
}

void mmh_row_column_sums_avx2(uint64_t *row_sum, uint32_t *column_sum, const uint8_t *symbols,
                              uint64_t first, size_t count, uint64_t columns)
{
    uint64_t r = first / columns, c = first % columns;
    if (columns < 4) {
        mmh_row_column_sums_c(row_sum, column_sum, symbols, first, count, columns);
        return;
    }
    /* Element `begin` of the run's rows is its first; `end` is behind its last. */
    const uint64_t begin = c, end = c + count;
    const uint64_t rows = mmh_divide_up(end, columns);
    row_sum += r;
    for (uint64_t tile = 0; tile < MMH_MIN(columns, end); tile += SUM_COLUMNS) {
        const size_t width = (size_t)MMH_MIN(columns - tile, SUM_COLUMNS);
        for (uint64_t row = 0; row < rows;) {
            uint16_t sums[SUM_COLUMNS + 32];
            memset(sums, 0, (width + 32) * sizeof *sums);
            const uint64_t stop = MMH_MIN(rows, row + SUM_ROWS);
            for (; row < stop; row++) {
                const uint64_t tile_begin = row * columns + tile;
                const uint64_t from = MMH_MAX(begin, tile_begin);
                const uint64_t to = MMH_MIN(end, tile_begin + width);
                if (from < to)
                    row_sum[row] += sums_of_row(sums + (from - tile_begin),
                                                symbols + (from - begin), (size_t)(to - from),
                                                (size_t)(end - from));
            }
            for (size_t i = 0; i < width; i++)
                column_sum[tile + i] += sums[i];
        }
    }
}

/* ---- bytes ---- */

size_t mmh_within_avx2(const uint8_t *symbols, const uint8_t *first, const uint8_t *last,
                       uint8_t zeros, size_t count)
{
    const __m256i zero = _mm256_set1_epi8((char)zeros);
    size_t i = 0;
    for (; i < count; i += 64) {
        __m256i inside = _mm256_set1_epi8(-1);
        for (size_t half = i; half < i + 64; half += 32) {
            const __m256i symbol = load256(symbols + half);
            const __m256i not_low = _mm256_max_epu8(symbol, load256(first + half));
            const __m256i not_high = _mm256_min_epu8(symbol, load256(last + half));
            const __m256i in = _mm256_and_si256(_mm256_cmpeq_epi8(not_low, symbol),
                                                _mm256_cmpeq_epi8(not_high, symbol));
            const __m256i below = _mm256_andnot_si256(
                _mm256_cmpeq_epi8(_mm256_max_epu8(symbol, zero), symbol), _mm256_set1_epi8(-1));
            inside = _mm256_and_si256(inside, _mm256_or_si256(in, below));
        }
        if (_mm256_movemask_epi8(inside) != -1)
            break;
    }
    return i;
}

void mmh_bytes_add_avx2(uint8_t *dst, const uint8_t *src, size_t count)
{
    size_t i = 0;
    for (; i + 32 <= count; i += 32)
        _mm256_storeu_si256((__m256i *)(void *)(dst + i),
                            _mm256_add_epi8(load256(dst + i), load256(src + i)));
    mmh_bytes_add_c(dst + i, src + i, count - i);
}

void mmh_bytes_subtract_avx2(uint8_t *dst, const uint8_t *src, size_t count)
{
    size_t i = 0;
    for (; i + 32 <= count; i += 32)
        _mm256_storeu_si256((__m256i *)(void *)(dst + i),
                            _mm256_sub_epi8(load256(dst + i), load256(src + i)));
    mmh_bytes_subtract_c(dst + i, src + i, count - i);
}
