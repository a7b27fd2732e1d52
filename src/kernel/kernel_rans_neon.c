/*
 * rANS, histograms and classes for NEON.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Eight lanes at a time, in two vectors: their arithmetic is vector code, their entries are eight
 * scalar loads, as there is no gather. Which lanes take words becomes one number for both vectors,
 * a sum across lanes whose weights give the mask and the count at once.
 */
#include "kernel/kernel_rans_stream.h"

#include <arm_neon.h>

/* ---- tables of byte shuffles, built by the preprocessor ---- */

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

/* expand_low[m], expand_high[m]: which of eight words lanes 0..3 and 4..7 take if the lanes of m take
 * words, as a byte shuffle that leaves zeros above them. */
#define TAKEN(m, lane)                                     \
    {                                                      \
        2 * RANK(m, lane), 2 * RANK(m, lane) + 1, 255, 255 \
    }
#define EXPAND_LOW(m)                                      \
    {                                                      \
        TAKEN(m, 0), TAKEN(m, 1), TAKEN(m, 2), TAKEN(m, 3) \
    }
#define EXPAND_HIGH(m)                                     \
    {                                                      \
        TAKEN(m, 4), TAKEN(m, 5), TAKEN(m, 6), TAKEN(m, 7) \
    }
static const uint8_t expand_low[16][4][4] = { ROWS_16(EXPAND_LOW, 0) };
static const uint8_t expand_high[256][4][4] = { ROWS_256(EXPAND_HIGH) };

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

/* Of eight lanes: their mask in bits 0..7, 0 in bit 8, their count from bit 9 on: moved down by 8
 * that is the bytes of their words. */
MMH_INLINE uint64_t lanes_of(uint32x4_t low, uint32x4_t high, uint16x8_t weights)
{
    const uint16x8_t both = vuzp1q_u16(vreinterpretq_u16_u32(low), vreinterpretq_u16_u32(high));
    uint64_t lanes = vaddlvq_u16(vandq_u16(both, weights));
    __asm__("" : "+r"(lanes)); /* so that it is added shifted, in one instruction */
    return lanes;
}

MMH_INLINE uint16x8_t lane_weights(void)
{
    uint16x8_t weights = { 0x201, 0x202, 0x204, 0x208, 0x210, 0x220, 0x240, 0x280 };
    __asm__("" : "+w"(weights)); /* kept in a register, not loaded at every use */
    return weights;
}

MMH_INLINE uint8x16_t row_at(const void *rows, uint64_t row)
{
    return vld1q_u8((const uint8_t *)rows + 16 * row);
}

/* ---- decode ---- */

enum { VECTORS = MMH_RANS_LANES / 4 };

/* One entry in the lowest lane. */
MMH_INLINE uint32x2_t entry_at(const uint32_t *tables, size_t index)
{
    return vcreate_u32(tables[index]);
}

/* tables[index[lane]]. */
MMH_INLINE uint32x4_t four_entries(const uint32_t *tables, uint32x4_t index)
{
    uint64_t a = vgetq_lane_u64(vreinterpretq_u64_u32(index), 0);
    const uint64_t b = vgetq_lane_u64(vreinterpretq_u64_u32(index), 1);
    __asm__("" : "+r"(a)); /* or it is moved twice, once for each half */
    return vcombine_u32(vzip1_u32(entry_at(tables, (uint32_t)a), entry_at(tables, a >> 32)),
                        vzip1_u32(entry_at(tables, (uint32_t)b), entry_at(tables, b >> 32)));
}

/* A step of four states without its words; symbols[v] gets the symbol above what it had. */
MMH_INLINE uint32x4_t advance(uint32x4_t state, uint32x4_t entry, uint32x4_t *symbols,
                              int32x4_t down)
{
    const uint32x4_t low12 = vdupq_n_u32(0xfff);
    const uint32x4_t frequency = vandq_u32(vshrq_n_u32(entry, 12), low12);
    state = vmlaq_u32(vandq_u32(entry, low12), frequency, vshlq_u32(state, down));
    *symbols = vsriq_n_u32(entry, *symbols, 8);
    return state;
}

/* States of which those in `due` take words. */
MMH_INLINE uint32x4_t refill(uint32x4_t state, uint32x4_t due, uint8x16_t words, uint8x16_t row)
{
    const uint32x4_t word = vreinterpretq_u32_u8(vqtbl1q_u8(words, row));
    return vbslq_u32(due, vsliq_n_u32(word, state, 16), state);
}

/* See mmh_rans_decode_groups; one stream. with_ids is known when this is compiled. */
MMH_INLINE size_t decode_groups(struct mmh_rans_stream *stream, const bool with_ids,
                                const uint32_t *tables, unsigned bits, size_t groups)
{
    const uint32x4_t mask = vdupq_n_u32((1u << bits) - 1), low_end = vdupq_n_u32(0x10000);
    const int32x4_t down = vdupq_n_s32(-(int)bits), table_up = vdupq_n_s32((int)bits - 8);
    const uint16x8_t weights = lane_weights();
    const uint8_t *at = stream->at, *ids = stream->ids, *const limit = stream->limit;
    uint8_t *out = stream->symbols;
    uint32x4_t x[VECTORS];
    MMH_UNROLL
    for (unsigned v = 0; v < VECTORS; v++)
        x[v] = vld1q_u32(stream->states + 4 * v);

    size_t group = 0;
    for (; group < groups && at <= limit; group++) {
        uint32x4_t symbols[VECTORS];
        MMH_UNROLL
        for (unsigned v = 0; v < VECTORS; v++)
            symbols[v] = vdupq_n_u32(0);
        MMH_UNROLL
        for (unsigned step = 0; step < 4; step++) {
            MMH_UNROLL
            for (unsigned v = 0; v < VECTORS; v += 2) {
                uint32x4_t index[2];
                for (unsigned i = 0; i < 2; i++) {
                    uint32x4_t table = vdupq_n_u32(0);
                    if (with_ids) { /* byte `step` of each lane's four ids, in bits 8..15 */
                        const uint32x4_t from = { 0xffff00ff | step << 8,
                                                  0xffff00ff | (step + 4) << 8,
                                                  0xffff00ff | (step + 8) << 8,
                                                  0xffff00ff | (step + 12) << 8 };
                        table = vreinterpretq_u32_u8(
                            vqtbl1q_u8(vld1q_u8(ids + 16 * (v + i)), vreinterpretq_u8_u32(from)));
                        table = vshlq_u32(table, table_up);
                    }
                    index[i] = with_ids ? vbslq_u32(mask, x[v + i], table)
                                        : vandq_u32(x[v + i], mask);
                }
                const uint32x4_t entry0 = four_entries(tables, index[0]);
                const uint32x4_t entry1 = four_entries(tables, index[1]);
                const uint32x4_t state0 = advance(x[v], entry0, &symbols[v], down);
                const uint32x4_t state1 = advance(x[v + 1], entry1, &symbols[v + 1], down);
                const uint32x4_t due0 = vcltq_u32(state0, low_end);
                const uint32x4_t due1 = vcltq_u32(state1, low_end);
                const uint64_t lanes = lanes_of(due0, due1, weights);
                const uint8x16_t words = vld1q_u8(at);
                x[v] = refill(state0, due0, words, row_at(expand_low, lanes & 0xf));
                x[v + 1] = refill(state1, due1, words, row_at(expand_high, lanes & 0xff));
                at += lanes >> 8;
            }
        }
        MMH_UNROLL
        for (unsigned v = 0; v < VECTORS; v++)
            vst1q_u8(out + 16 * v, vreinterpretq_u8_u32(symbols[v]));
        out += MMH_RANS_GROUP;
        if (with_ids)
            ids += MMH_RANS_GROUP;
    }

    MMH_UNROLL
    for (unsigned v = 0; v < VECTORS; v++)
        vst1q_u32(stream->states + 4 * v, x[v]);
    stream->at = at;
    return group;
}

static size_t decode_groups_plain(struct mmh_rans_stream *const *streams, const uint32_t *tables,
                                  unsigned bits, size_t groups)
{
    return decode_groups(streams[0], false, tables, bits, groups);
}

static size_t decode_groups_ids(struct mmh_rans_stream *const *streams, const uint32_t *tables,
                                unsigned bits, size_t groups)
{
    return decode_groups(streams[0], true, tables, bits, groups);
}

/* Stripe by stripe: the 32 states of one and its symbols fill the registers. */
bool mmh_rans_decode_neon(const struct mmh_rans_stripe *stripes, size_t stripe_count,
                          const uint32_t *tables, unsigned bits)
{
    static const mmh_rans_shapes shapes = { { decode_groups_plain }, { decode_groups_ids } };
    return mmh_rans_stripes_decode(mmh_merge_neon, stripes, stripe_count, 1, tables, bits, &shapes,
                                   NULL);
}

/* ---- encode ---- */

/* Four lanes' entries, index[0], index[4], ...: their reciprocals, and frequencies and starts. */
MMH_INLINE uint32x4x2_t four_packed(const uint64_t *packed, const uint16_t *index)
{
    const uint64x2_t low = vcombine_u64(vcreate_u64(packed[index[0]]),
                                        vcreate_u64(packed[index[4]]));
    const uint64x2_t high = vcombine_u64(vcreate_u64(packed[index[8]]),
                                         vcreate_u64(packed[index[12]]));
    return vuzpq_u32(vreinterpretq_u32_u64(low), vreinterpretq_u32_u64(high));
}

/* The states after one more symbol, their words gone already. */
MMH_INLINE uint32x4_t take_symbol(uint32x4_t x, uint32x4x2_t entry, uint32x4_t frequency,
                                  uint32x4_t slots)
{
    const uint64x2_t low = vmull_u32(vget_low_u32(x), vget_low_u32(entry.val[0]));
    const uint64x2_t high = vmull_high_u32(x, entry.val[0]);
    const uint32x4_t quotient = vuzp2q_u32(vreinterpretq_u32_u64(low), vreinterpretq_u32_u64(high));
    const uint32x4_t rest = vmlsq_u32(x, quotient, frequency);
    /* x + quotient * (slots - frequency) = quotient * slots + rest */
    const uint32x4_t gap = vsubq_u32(slots, frequency);
    const uint32x4_t fix = vandq_u32(vcgeq_u32(rest, frequency), gap);
    return vaddq_u32(vmlaq_u32(vsraq_n_u32(x, entry.val[1], 16), quotient, gap), fix);
}

/* Where the entries of one group are: u64s from the first table's `packed` on. */
MMH_INLINE void put_entries(uint16_t index[MMH_RANS_GROUP], const uint8_t *symbols,
                            const uint8_t *ids)
{
    const uint16_t table_entries = sizeof(struct mmh_rans_encode_table) / sizeof(uint64_t);
    for (size_t i = 0; i < MMH_RANS_GROUP; i += 16) {
        const uint8x16_t symbol = vld1q_u8(symbols + i);
        uint16x8_t low = vmovl_u8(vget_low_u8(symbol)), high = vmovl_high_u8(symbol);
        if (ids) {
            const uint8x16_t table = vld1q_u8(ids + i);
            low = vmlaq_n_u16(low, vmovl_u8(vget_low_u8(table)), table_entries);
            high = vmlaq_n_u16(high, vmovl_high_u8(table), table_entries);
        }
        vst1q_u16(index + i, low);
        vst1q_u16(index + i + 8, high);
    }
}

/* All steps. with_ids is known when this is compiled. */
MMH_INLINE uint8_t *encode_groups(uint8_t *states, uint8_t *at, const uint8_t *symbols,
                                  const uint8_t *ids, size_t groups,
                                  const struct mmh_rans_encode_table *tables, unsigned bits,
                                  const bool with_ids)
{
    const uint64_t *packed = tables->packed;
    const uint32x4_t slots = vdupq_n_u32(1u << bits), low16 = vdupq_n_u32(0xffff);
    const uint16x8_t weights = lane_weights();
    const int32x4_t high_down = vdupq_n_s32((int)bits - 32);
    uint32x4_t x[VECTORS];
    MMH_UNROLL
    for (unsigned v = 0; v < VECTORS; v++)
        x[v] = vdupq_n_u32(0x10000);

    for (size_t group = groups; group-- > 0;) {
        uint16_t index[MMH_RANS_GROUP];
        put_entries(index, symbols + group * MMH_RANS_GROUP,
                    with_ids ? ids + group * MMH_RANS_GROUP : NULL);
        MMH_UNROLL
        for (unsigned step = 4; step-- > 0;) {
            MMH_UNROLL
            for (unsigned v = VECTORS; v > 0;) {
                uint32x4x2_t entry[2];
                uint32x4_t frequency[2], due[2];
                v -= 2;
                for (unsigned i = 0; i < 2; i++) {
                    entry[i] = four_packed(packed, index + 16 * (v + i) + step);
                    frequency[i] = vandq_u32(entry[i].val[1], low16);
                    due[i] = vcgeq_u32(vshlq_u32(x[v + i], high_down), frequency[i]);
                }
                const uint64_t lanes = lanes_of(due[0], due[1], weights);
                const uint16x8_t words = vuzp1q_u16(vreinterpretq_u16_u32(x[v]),
                                                    vreinterpretq_u16_u32(x[v + 1]));
                vst1q_u8(at - 16,
                         vqtbl1q_u8(vreinterpretq_u8_u16(words), row_at(compress, lanes & 0xff)));
                at -= lanes >> 8;
                for (unsigned i = 0; i < 2; i++)
                    x[v + i] = take_symbol(vbslq_u32(due[i], vshrq_n_u32(x[v + i], 16), x[v + i]),
                                           entry[i], frequency[i], slots);
            }
        }
    }
    MMH_UNROLL
    for (unsigned v = 0; v < VECTORS; v++)
        vst1q_u8(states + 16 * v, vreinterpretq_u8_u32(x[v]));
    return at;
}

size_t mmh_rans_encode_neon(uint8_t *states, uint8_t *words, size_t word_room,
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

/* ---- histograms: one counter after another, whatever the instructions ---- */

void mmh_histogram_neon(uint32_t *histogram, const uint8_t *symbols, size_t count, size_t stride)
{
    mmh_histogram_c(histogram, symbols, count, stride);
}

void mmh_histogram_classes_neon(uint32_t *histogram, const uint8_t *symbols, const uint8_t *bins,
                                size_t count, size_t stride)
{
    mmh_histogram_classes_c(histogram, symbols, bins, count, stride);
}

/* ---- rows and columns ---- */

/* What `classes` gives for 16 row and column classes; with a map the row's has 32 added. */
MMH_INLINE uint8x16_t class_of(int8x16_t row, int8x16_t column, const uint8x16x4_t *map,
                               bool mapped)
{
    if (!mapped)
        return vreinterpretq_u8_s8(vaddq_s8(row, column));
    const int8x16_t bin = vmaxq_s8(vqaddq_s8(row, column), vdupq_n_s8(0));
    return vqtbl4q_u8(*map, vreinterpretq_u8_s8(vminq_s8(bin, vdupq_n_s8(MMH_CLASS_BINS - 1))));
}

MMH_INLINE void store_first(uint8_t *out, uint8x16_t bytes, size_t count)
{
    if (count >= 16) {
        vst1q_u8(out, bytes);
        return;
    }
    uint8_t all[16];
    vst1q_u8(all, bytes);
    memcpy(out, all, count);
}

void mmh_classes_neon(uint8_t *out, uint64_t first, size_t count, uint64_t columns,
                      const int8_t *row, const int8_t *column, const uint8_t *map)
{
    if (columns < 16) {
        mmh_classes_c(out, first, count, columns, row, column, map);
        return;
    }
    uint8x16x4_t table = { { vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0) } };
    if (map)
        table = vld1q_u8_x4(map);
    uint64_t r = first / columns, c = first % columns;
    while (count) {
        const size_t length = (size_t)MMH_MIN(count, columns - c);
        const int class = (row ? row[r] : 0) + (map ? MMH_CLASS_BINS / 2 : 0);
        const int8x16_t row_class = vdupq_n_s8((int8_t) class);
        /* a row's last store runs into the next row, which comes later, but not past the end */
        for (size_t i = 0; i < length; i += 16) {
            const int8x16_t of_columns = column ? vld1q_s8(column + c + i) : vdupq_n_s8(0);
            store_first(out + i, class_of(row_class, of_columns, &table, map != NULL), count - i);
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

/* Part of one row, at most SUM_COLUMNS: adds to u16 sums of its columns and returns its own. */
MMH_INLINE uint64_t sums_of_row(uint16_t *sums, const uint8_t *symbols, size_t count)
{
    uint32x4_t total = vdupq_n_u32(0);
    size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        const uint8x16_t bytes = vld1q_u8(symbols + i);
        total = vpadalq_u16(total, vpaddlq_u8(bytes));
        vst1q_u16(sums + i, vaddw_u8(vld1q_u16(sums + i), vget_low_u8(bytes)));
        vst1q_u16(sums + i + 8, vaddw_high_u8(vld1q_u16(sums + i + 8), bytes));
    }
    uint64_t sum = vaddvq_u32(total);
    for (; i < count; i++) {
        sums[i] = (uint16_t)(sums[i] + symbols[i]);
        sum += symbols[i];
    }
    return sum;
}

void mmh_row_column_sums_neon(uint64_t *row_sum, uint32_t *column_sum, const uint8_t *symbols,
                              uint64_t first, size_t count, uint64_t columns)
{
    uint64_t r = first / columns, c = first % columns;
    if (columns < 16) {
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
            uint16_t sums[SUM_COLUMNS];
            memset(sums, 0, width * sizeof *sums);
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

/* ---- bytes: written for vectors in C, and compiled to them ---- */

size_t mmh_within_neon(const uint8_t *symbols, const uint8_t *first, const uint8_t *last,
                       uint8_t zeros, size_t count)
{
    const uint8x16_t zero = vdupq_n_u8(zeros);
    size_t i = 0;
    for (; i < count; i += 64) {
        uint8x16_t outside = vdupq_n_u8(0);
        for (size_t k = i; k < i + 64; k += 16) {
            const uint8x16_t symbol = vld1q_u8(symbols + k);
            const uint8x16_t out = vorrq_u8(vcltq_u8(symbol, vld1q_u8(first + k)),
                                            vcgtq_u8(symbol, vld1q_u8(last + k)));
            outside = vorrq_u8(outside, vandq_u8(out, vcgeq_u8(symbol, zero)));
        }
        if (vmaxvq_u8(outside))
            break;
    }
    return i;
}

void mmh_bytes_add_neon(uint8_t *dst, const uint8_t *src, size_t count)
{
    mmh_bytes_add_c(dst, src, count);
}

void mmh_bytes_subtract_neon(uint8_t *dst, const uint8_t *src, size_t count)
{
    mmh_bytes_subtract_c(dst, src, count);
}
