/*
 * rANS, histograms and classes in plain C: the reference for the other kernel sets.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernel/kernel_private.h"

#include <string.h>

#define STATE_END UINT32_C(0x10000)

/* ---- decode ---- */

/* The words of one stripe that the decoder has yet to take. */
struct word_source {
    const uint8_t *at;
    size_t left; /* words */
    bool short_read;
};

/* Four steps of all lanes. `careful` where fewer words are left than the steps can take. */
static inline void decode_group(uint8_t *symbols, const uint8_t *ids, uint32_t x[MMH_RANS_LANES],
                                struct word_source *words, const uint32_t *tables, unsigned bits,
                                bool careful)
{
    const uint32_t mask = ((uint32_t)1 << bits) - 1;
    const uint8_t *at = words->at;
    for (size_t step = 0; step < 4; step++) {
        for (size_t lane = 0; lane < MMH_RANS_LANES; lane++) {
            uint32_t state = x[lane];
            uint32_t table = ids ? (uint32_t)ids[4 * lane + step] << bits : 0;
            uint32_t entry = tables[table + (state & mask)];
            state = (entry >> 12 & 0xfff) * (state >> bits) + (entry & 0xfff);
            symbols[4 * lane + step] = (uint8_t)(entry >> 24);
            bool refill = state < STATE_END;
            if (careful) {
                if (refill && words->left) {
                    state = state << 16 | mmh_load16(at);
                    at += 2;
                    words->left--;
                } else if (refill) {
                    words->short_read = true;
                }
            } else { /* no branch: which lanes refill is noise */
                const uint32_t take = (uint32_t)0 - refill;
                state = state << (take & 16) | (mmh_load16(at) & take);
                at += take & 2;
            }
            x[lane] = state;
        }
    }
    if (!careful)
        words->left -= (size_t)(at - words->at) / 2;
    words->at = at;
}

static bool decode_stripe(const struct mmh_rans_stripe *stripe, const uint32_t *tables,
                          unsigned bits)
{
    uint32_t x[MMH_RANS_LANES];
    for (size_t lane = 0; lane < MMH_RANS_LANES; lane++)
        x[lane] = mmh_load32(stripe->states + 4 * lane);

    struct word_source words = { stripe->words, stripe->word_count, false };
    const size_t groups = stripe->count / MMH_RANS_GROUP + (stripe->count % MMH_RANS_GROUP != 0);
    size_t merged = 0;
    for (size_t group = 0; group < groups; group++) {
        size_t place = stripe->merge ? group % (MMH_RANS_BURST / MMH_RANS_GROUP) : group;
        uint8_t *symbols = stripe->symbols + place * MMH_RANS_GROUP;
        const uint8_t *ids = stripe->ids ? stripe->ids + group * MMH_RANS_GROUP : NULL;
        if (words.left < MMH_RANS_GROUP)
            decode_group(symbols, ids, x, &words, tables, bits, true);
        else if (ids)
            decode_group(symbols, ids, x, &words, tables, bits, false);
        else
            decode_group(symbols, NULL, x, &words, tables, bits, false);
        if (stripe->merge &&
            (group + 1 == groups || place + 1 == MMH_RANS_BURST / MMH_RANS_GROUP)) {
            const size_t n = MMH_MIN((size_t)MMH_RANS_BURST, stripe->count - merged);
            mmh_merge_symbols(mmh_merge_c, stripe->merge, merged, stripe->symbols, n);
            merged += n;
        }
    }

    uint32_t wrong = words.left != 0 || words.short_read;
    for (size_t lane = 0; lane < MMH_RANS_LANES; lane++)
        wrong |= x[lane] ^ STATE_END;
    return !wrong;
}

bool mmh_rans_decode_c(const struct mmh_rans_stripe *stripes, size_t stripe_count,
                       const uint32_t *tables, unsigned bits)
{
    bool right = true;
    for (size_t i = 0; i < stripe_count; i++)
        right &= decode_stripe(&stripes[i], tables, bits);
    return right;
}

/* ---- encode ---- */

/* One group backwards; returns where its words begin. */
static inline uint8_t *encode_group(uint32_t x[MMH_RANS_LANES], uint8_t *at, const uint8_t *symbols,
                                    const uint8_t *ids, const struct mmh_rans_encode_table *tables,
                                    unsigned bits)
{
    const uint32_t slots = (uint32_t)1 << bits;
    for (size_t step = 4; step-- > 0;) {
        for (size_t lane = MMH_RANS_LANES; lane-- > 0;) {
            const size_t i = 4 * lane + step;
            const uint64_t packed = tables[ids ? ids[i] : 0].packed[symbols[i]];
            const uint32_t frequency = (uint32_t)(packed >> 32) & 0xffff;
            uint32_t state = x[lane];

            /* The word is always written: a later one takes its place if it was not due. */
            mmh_store16(at - 2, (uint16_t)state);
            bool emit = state >> (32 - bits) >= frequency;
            at -= 2 * (size_t)emit;
            state = emit ? state >> 16 : state;

            uint32_t quotient = (uint32_t)((uint64_t)state * (uint32_t)packed >> 32);
            uint32_t rest = state - quotient * frequency;
            uint32_t fix = rest >= frequency ? slots - frequency : 0;
            x[lane] = state + quotient * (slots - frequency) + fix + (uint32_t)(packed >> 48);
        }
    }
    return at;
}

size_t mmh_rans_encode_c(uint8_t *states, uint8_t *words, size_t word_room, const uint8_t *symbols,
                         const uint8_t *ids, size_t count,
                         const struct mmh_rans_encode_table *tables, unsigned bits)
{
    uint32_t x[MMH_RANS_LANES];
    for (size_t lane = 0; lane < MMH_RANS_LANES; lane++)
        x[lane] = STATE_END;

    uint8_t *const end = words + 2 * word_room, *at = end;
    for (size_t group = count / MMH_RANS_GROUP + (count % MMH_RANS_GROUP != 0); group-- > 0;) {
        const uint8_t *group_symbols = symbols + group * MMH_RANS_GROUP;
        if (ids)
            at = encode_group(x, at, group_symbols, ids + group * MMH_RANS_GROUP, tables, bits);
        else
            at = encode_group(x, at, group_symbols, NULL, tables, bits);
    }
    for (size_t lane = 0; lane < MMH_RANS_LANES; lane++)
        mmh_store32(states + 4 * lane, x[lane]);
    return (size_t)(end - at) / 2;
}

/* ---- histograms ---- */

enum {
    HISTOGRAM_RUN = 64,     /* bytes */
    HISTOGRAM_WAYS = 8,     /* copies, so that equal neighbours do not wait for each other */
    HISTOGRAM_SMALL = 1024, /* below so many symbols clearing the copies costs more */
};

static inline void count_eight(uint32_t ways[HISTOGRAM_WAYS][256], const uint8_t *symbols)
{
    const uint64_t eight = mmh_load64(symbols);
    for (unsigned k = 0; k < 8; k++)
        ways[k][eight >> 8 * k & 0xff]++;
}

void mmh_histogram_c(uint32_t *histogram, const uint8_t *symbols, size_t count, size_t stride)
{
    if (count / stride < HISTOGRAM_SMALL) {
        for (size_t run = 0; run < count; run += stride * HISTOGRAM_RUN)
            for (size_t i = run; i < MMH_MIN(count, run + HISTOGRAM_RUN); i++)
                histogram[symbols[i]]++;
        return;
    }
    uint32_t ways[HISTOGRAM_WAYS][256];
    memset(ways, 0, sizeof ways);
    for (size_t run = 0; run < count; run += stride * HISTOGRAM_RUN) {
        const size_t end = MMH_MIN(count, run + HISTOGRAM_RUN);
        size_t i = run;
        for (; i + 8 <= end; i += 8)
            count_eight(ways, symbols + i);
        for (; i < end; i++)
            histogram[symbols[i]]++;
    }
    for (size_t s = 0; s < 256; s++)
        for (size_t k = 0; k < HISTOGRAM_WAYS; k++)
            histogram[s] += ways[k][s];
}

/* Four counts at the u16 places of `four`. */
static inline void count_pairs(uint32_t *histogram, uint64_t four)
{
    histogram[four & 0xffff]++;
    histogram[four >> 16 & 0xffff]++;
    histogram[four >> 32 & 0xffff]++;
    histogram[four >> 48]++;
}

void mmh_histogram_classes_c(uint32_t *histogram, const uint8_t *symbols, const uint8_t *bins,
                             size_t count, size_t stride)
{
    const uint64_t even = UINT64_C(0x00ff00ff00ff00ff);
    for (size_t run = 0; run < count; run += stride * HISTOGRAM_RUN) {
        const size_t end = MMH_MIN(count, run + HISTOGRAM_RUN);
        size_t i = run;
        for (; i + 8 <= end; i += 8) {
            const uint64_t low = mmh_load64(symbols + i), high = mmh_load64(bins + i);
            count_pairs(histogram, (low & even) | (high & even) << 8);
            count_pairs(histogram, (low >> 8 & even) | (high & ~even));
        }
        for (; i < end; i++)
            histogram[(size_t)bins[i] << 8 | symbols[i]]++;
    }
}

/* ---- rows and columns ---- */

void mmh_row_column_sums_c(uint64_t *row_sum, uint32_t *column_sum, const uint8_t *symbols,
                           uint64_t first, size_t count, uint64_t columns)
{
    uint64_t row = first / columns, column = first % columns;
    while (count) {
        const size_t length = (size_t)MMH_MIN(count, columns - column);
        uint32_t *sums = column_sum + column;
        uint64_t sum = 0;
        for (size_t i = 0; i < length; i++) {
            sums[i] += symbols[i];
            sum += symbols[i];
        }
        row_sum[row++] += sum;
        column = 0;
        symbols += length;
        count -= length;
    }
}

static uint8_t class_bin(int sum)
{
    sum += MMH_CLASS_BINS / 2;
    return (uint8_t)MMH_MAX(0, MMH_MIN(sum, MMH_CLASS_BINS - 1));
}

void mmh_classes_c(uint8_t *out, uint64_t first, size_t count, uint64_t columns, const int8_t *row,
                   const int8_t *column, const uint8_t *map)
{
    uint8_t of_sum[256]; /* by the sum modulo 256, which tells all of -128..126 apart */
    for (int sum = -128; sum < 128; sum++)
        of_sum[(uint8_t)sum] = map ? map[class_bin(sum)] : (uint8_t)sum;

    uint64_t r = first / columns, c = first % columns;
    while (count) {
        const size_t length = (size_t)MMH_MIN(count, columns - c);
        const unsigned row_class = row ? (uint8_t)row[r] : 0;
        if (column)
            for (size_t i = 0; i < length; i++)
                out[i] = of_sum[(row_class + (uint8_t)column[c + i]) & 0xff];
        else
            memset(out, of_sum[row_class], length);
        r++;
        c = 0;
        out += length;
        count -= length;
    }
}

/* ---- bytes ---- */

size_t mmh_within_c(const uint8_t *symbols, const uint8_t *first, const uint8_t *last,
                    uint8_t zeros, size_t count)
{
    for (size_t group = 0; group < count; group += MMH_GROUP) {
        uint8_t outside = 0; /* written for vectors */
        for (size_t i = group; i < group + MMH_GROUP; i++) {
            uint8_t low = symbols[i]<first[i], high = symbols[i]> last[i];
            outside |= (uint8_t)((low | high) & (symbols[i] >= zeros));
        }
        if (outside)
            return group;
    }
    return count;
}

void mmh_bytes_add_c(uint8_t *dst, const uint8_t *src, size_t count)
{
    for (size_t i = 0; i < count; i++)
        dst[i] = (uint8_t)(dst[i] + src[i]);
}

void mmh_bytes_subtract_c(uint8_t *dst, const uint8_t *src, size_t count)
{
    for (size_t i = 0; i < count; i++)
        dst[i] = (uint8_t)(dst[i] - src[i]);
}
