/*
 * Float chunks and models of any shape that the format allows, at random.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Written from docs/format.md and not from the codec: what packs weights never uses most of it.
 */
#ifndef MMH_TESTS_DEVICE_MAKER_H
#define MMH_TESTS_DEVICE_MAKER_H

#include "base/cursor.h"
#include "device_corpus.h"

/* A float chunk as docs/format.md has it, with everything that the format lets vary. */
struct shape {
    mmh_dtype dtype;
    uint32_t elements;
    unsigned kind, q, sign_mode, zero_low, segments;
    unsigned tier_count;
    bool shifted;
    unsigned stripe_elements, table_bits, table_count;
    unsigned views; /* matrices that the block's elements lie in */
    uint64_t first_element;
    uint32_t patches;
};

enum { VIEWS_MAX = 6 };

struct view {
    uint64_t first, end, columns, phase;
    int8_t *column, *row; /* NULL: no classes */
};

struct maker {
    uint64_t random;
    struct mmh_buffer payload, model;
    uint16_t (*frequency)[256];
    uint8_t bounds[64];
    struct view views[VIEWS_MAX];
    unsigned view_count;
};

static inline uint32_t pick(struct maker *maker, uint32_t below)
{
    return (uint32_t)((device_random(&maker->random) >> 32) * below >> 32);
}

struct bits {
    struct mmh_buffer *out;
    uint64_t value;
    unsigned count;
};

static inline void put(struct bits *bits, unsigned value, unsigned count)
{
    value &= count < 32 ? (1u << count) - 1 : ~0u;
    bits->value |= (uint64_t)value << bits->count;
    for (bits->count += count; bits->count >= 8; bits->count -= 8, bits->value >>= 8)
        mmh_buffer_u8(bits->out, (uint8_t)bits->value);
}

static inline void put_ones(struct bits *bits, unsigned ones)
{
    while (ones--)
        put(bits, 1, 1);
    put(bits, 0, 1);
}

/* An exp-Golomb code. */
static inline void put_golomb(struct bits *bits, uint64_t value, unsigned order)
{
    uint64_t g = value + ((uint64_t)1 << order);
    unsigned low_bits = mmh_log2_ceil(g + 1) - 1;
    put_ones(bits, low_bits - order);
    put(bits, (unsigned)(g & 0xffff), MMH_MIN(low_bits, 16));
    if (low_bits > 16)
        put(bits, (unsigned)(g >> 16 & ((1u << (low_bits - 16)) - 1)), low_bits - 16);
}

static inline void put_classes(struct bits *bits, struct maker *maker, int8_t *classes,
                               uint64_t count)
{
    int mean = (int)pick(maker, 9) - 4;
    unsigned k = pick(maker, 4);
    put(bits, (uint8_t)mean, 8);
    put(bits, k, 3);
    for (uint64_t i = 0; i < count; i++) {
        int value = (int)pick(maker, 17) - 8;
        if (pick(maker, 50) == 0)
            value = (int)pick(maker, 128) - 64;
        classes[i] = (int8_t)value;
        int away = value - mean;
        unsigned code = away < 0 ? 2 * (unsigned)-away - 1 : 2 * (unsigned)away;
        put_ones(bits, code >> k);
        put(bits, code & ((1u << k) - 1), k);
    }
}

static inline void make_table(struct maker *maker, uint16_t frequency[256], unsigned bits)
{
    unsigned symbols = 2 + pick(maker, pick(maker, 3) ? 40 : 200),
             first = pick(maker, 256 - symbols);
    unsigned left = 1u << bits;
    memset(frequency, 0, 256 * sizeof *frequency);
    for (unsigned s = 0; s < symbols; s++) /* one each, so that all can be coded */
        frequency[first + s]++;
    left -= symbols;
    while (left) {
        unsigned s = first + pick(maker, 1 + pick(maker, symbols)), more = 1 + pick(maker, left);
        if (frequency[s] + more > (1u << bits) - 1)
            continue;
        frequency[s] = (uint16_t)(frequency[s] + more);
        left -= more;
    }
}

static inline void put_view(struct bits *bits, struct maker *maker, struct view *view,
                            uint64_t elements)
{
    unsigned flags = pick(maker, 4);
    view->columns = 1 + pick(maker, pick(maker, 2) ? 20 : 5000);
    view->phase = pick(maker, (uint32_t)view->columns);
    uint64_t rows = mmh_divide_up(view->phase + elements, view->columns);
    view->end = view->first + elements;
    put(bits, flags, 2);
    put_golomb(bits, elements, 12);
    put_golomb(bits, view->columns, 6);
    put_golomb(bits, view->phase, 0);
    view->column = flags & 1 ? must(malloc(view->columns)) : NULL;
    view->row = flags & 2 ? must(malloc(rows)) : NULL;
    if (view->column)
        put_classes(bits, maker, view->column, view->columns);
    if (view->row)
        put_classes(bits, maker, view->row, rows);
}

static inline void forget_views(struct maker *maker)
{
    for (unsigned v = 0; v < maker->view_count; v++) {
        free(maker->views[v].column);
        free(maker->views[v].row);
    }
    maker->view_count = 0;
}

static inline void make_model(struct maker *maker, const struct shape *shape,
                              uint64_t block_elements)
{
    bool rans = shape->kind == 1;
    forget_views(maker);
    mmh_buffer_clear(&maker->model);
    mmh_buffer_u8(&maker->model, rans ? 1 : 2);
    mmh_buffer_u8(&maker->model, rans ? (uint8_t)shape->table_bits : 0);
    mmh_buffer_u8(&maker->model, rans ? (uint8_t)shape->table_count : 0);
    mmh_buffer_u8(&maker->model, 0);
    size_t count = maker->model.bytes;
    mmh_buffer_u32(&maker->model, 0);
    struct bits bits = { .out = &maker->model };
    if (rans) {
        maker->frequency =
            must(realloc(maker->frequency, shape->table_count * sizeof *maker->frequency));
        for (unsigned t = 0; t < shape->table_count; t++) {
            unsigned first = 0, last = 255;
            uint16_t *frequency = maker->frequency[t];
            make_table(maker, frequency, shape->table_bits);
            while (!frequency[first])
                first++;
            while (!frequency[last])
                last--;
            put(&bits, first, 8);
            put(&bits, last, 8);
            for (unsigned s = first; s <= last; s++)
                put_golomb(&bits, frequency[s], 3);
        }
        for (unsigned t = 1; t < shape->table_count; t++) {
            maker->bounds[t - 1] = (uint8_t)(63 * t / shape->table_count + (t == 1 ? 1 : 0));
            if (t > 1 && maker->bounds[t - 1] <= maker->bounds[t - 2])
                maker->bounds[t - 1] = (uint8_t)(maker->bounds[t - 2] + 1);
            put(&bits, maker->bounds[t - 1], 6);
        }
    }
    uint64_t first = 0;
    for (unsigned v = 0; v < shape->views && first < block_elements; v++) {
        /* Short ones and long ones; what the last one leaves has no class. */
        uint64_t left = block_elements - first, elements = left;
        if (pick(maker, 4))
            elements = 1 + pick(maker, (uint32_t)(pick(maker, 2) ? MMH_MIN(left, 100) : left));
        maker->views[v] = (struct view){ .first = first };
        put_view(&bits, maker, &maker->views[v], elements);
        maker->view_count++;
        first += elements;
    }
    if (bits.count)
        mmh_buffer_u8(&maker->model, (uint8_t)bits.value);
    mmh_store32(maker->model.data + count, maker->view_count);
}

static inline unsigned table_of(const struct maker *maker, const struct shape *shape,
                                uint64_t element)
{
    if (element >= shape->elements || shape->table_count == 1)
        return 0;
    int bin = 32;
    uint64_t at = shape->first_element + element;
    for (unsigned v = 0; v < maker->view_count; v++) {
        const struct view *view = &maker->views[v];
        if (at < view->first || at >= view->end)
            continue;
        uint64_t place = view->phase + (at - view->first);
        bin += view->column ? view->column[place % view->columns] : 0;
        bin += view->row ? view->row[place / view->columns] : 0;
    }
    bin = bin < 0 ? 0 : bin > 63 ? 63 : bin;
    unsigned table = 0;
    while (table + 1 < shape->table_count && maker->bounds[table] <= bin)
        table++;
    return table;
}

/* Stripes of symbols that are drawn as the tables expect them. */
static inline void put_rans(struct maker *maker, const struct shape *shape)
{
    uint32_t stripe = shape->stripe_elements;
    uint32_t stripes = (shape->elements + stripe - 1) / stripe,
             mask = (1u << shape->table_bits) - 1;
    mmh_buffer_u32(&maker->payload, shape->stripe_elements);
    size_t lengths = maker->payload.bytes;
    mmh_buffer_zeros(&maker->payload, 4 * (size_t)stripes);
    uint16_t *words = must(malloc(2 * ((size_t)stripe + 128)));
    for (uint32_t s = 0; s < stripes; s++) {
        uint32_t count = MMH_MIN(stripe, shape->elements - s * stripe), x[32];
        uint32_t steps = (count + 127) / 128 * 4, word_count = 0;
        for (unsigned l = 0; l < 32; l++)
            x[l] = 1u << 16;
        for (uint32_t t = steps; t-- > 0;)
            for (unsigned l = 32; l-- > 0;) {
                uint64_t element = (uint64_t)s * stripe + (t >> 2) * 128 + l * 4 + (t & 3);
                const uint16_t *frequency = maker->frequency[table_of(maker, shape, element)];
                uint32_t slot = pick(maker, mask + 1), start = 0, symbol = 0;
                while (slot >= start + frequency[symbol])
                    start += frequency[symbol++];
                uint32_t f = frequency[symbol];
                if ((uint64_t)x[l] >= (uint64_t)f << (32 - shape->table_bits)) {
                    words[word_count++] = (uint16_t)x[l];
                    x[l] >>= 16;
                }
                x[l] = (x[l] / f << shape->table_bits) + x[l] % f + start;
            }
        for (unsigned l = 0; l < 32; l++)
            mmh_buffer_u32(&maker->payload, x[l]);
        for (uint32_t w = word_count; w-- > 0;)
            mmh_buffer_u16(&maker->payload, words[w]);
        if (word_count % 2)
            mmh_buffer_u16(&maker->payload, 0);
        mmh_store32(maker->payload.data + lengths + 4 * (size_t)s, word_count);
    }
    free(words);
}

/* Blocks of symbols of which each tier catches some, by a mixture that differs between blocks. */
static inline void put_tiers(struct maker *maker, const struct shape *shape)
{
    struct mmh_buffer *out = &maker->payload;
    unsigned tiers = shape->tier_count;
    uint8_t ranks[18];
    mmh_buffer_u8(out, (uint8_t)tiers);
    mmh_buffer_u8(out, shape->shifted);
    mmh_buffer_u16(out, 0);
    for (unsigned r = 0; r < 3 * tiers; r++) {
        ranks[r] = (uint8_t)pick(maker, 256);
        mmh_buffer_u8(out, ranks[r]);
    }
    mmh_buffer_align(out, 4);
    uint32_t blocks = (shape->elements + 16383) / 16384;
    size_t directory = out->bytes;
    mmh_buffer_zeros(out, 2 * (size_t)blocks * (1 + tiers));
    mmh_buffer_align(out, 4);
    size_t start = out->bytes;
    for (uint32_t b = 0; b < blocks; b++) {
        uint32_t count = MMH_MIN(16384, shape->elements - b * 16384), odds = 1 + pick(maker, 100);
        size_t entry = directory + 2 * (size_t)b * (1 + tiers);
        if (pick(maker, 8) == 0)
            odds = pick(maker, 2) ? 0 : 100; /* no symbol is sent on, or all are */
        if (out->bytes - start > 150000)
            odds = MMH_MIN(odds, 9); /* offsets have 18 bits */
        mmh_store16(out->data + entry, (uint16_t)((out->bytes - start) / 4));
        for (unsigned k = 0; k < tiers; k++) {
            uint32_t words = (count + 31) / 32, sent = 0;
            size_t planes = out->bytes;
            mmh_buffer_zeros(out, 8 * (size_t)words);
            for (uint32_t i = 0; i < count; i++) {
                unsigned code = pick(maker, 100) < odds ? 3 : pick(maker, 3);
                uint8_t *at = out->data + planes + i / 8;
                *at |= (uint8_t)((code & 1) << (i % 8));
                at[4 * (size_t)words] |= (uint8_t)((code >> 1) << (i % 8));
                sent += code == 3;
            }
            count = sent;
            mmh_store16(out->data + entry + 2 + 2 * (size_t)k, (uint16_t)count);
        }
        for (uint32_t i = 0; i < count; i++)
            mmh_buffer_u8(out, (uint8_t)pick(maker, 256));
        mmh_buffer_align(out, 4);
    }
}

/* Bits at random for `elements` values of a plane, whole groups, the filling zero. */
static inline void put_plane(struct maker *maker, uint32_t elements, unsigned width)
{
    uint32_t whole = elements / 64, groups = (elements + 63) / 64;
    for (uint32_t i = 0; i < whole * width; i++)
        mmh_buffer_u64(&maker->payload, device_random(&maker->random));
    mmh_buffer_zeros(&maker->payload, (size_t)(groups - whole) * 8 * width);
}

static inline void put_tails(struct maker *maker, const struct shape *shape)
{
    if (!shape->segments) {
        put_plane(maker, shape->elements, 16);
        return;
    }
    uint32_t length = 64 + pick(maker, pick(maker, 2) ? 1000 : 100),
             first = 1 + pick(maker, length);
    if (shape->segments == 2) {
        length = (length + 3) & ~3u;
        first = (first + 3) & ~3u;
    }
    uint32_t left = shape->elements;
    mmh_buffer_u32(&maker->payload, length);
    mmh_buffer_u32(&maker->payload, first);
    size_t zeros = maker->payload.bytes, count = 1;
    if (left > first)
        count += (left - first + length - 1) / length;
    for (size_t s = 0; s < count; s++)
        mmh_buffer_u8(&maker->payload, (uint8_t)pick(maker, 17));
    mmh_buffer_align(&maker->payload, 8);
    for (size_t s = 0; s < count; s++) {
        uint32_t n = MMH_MIN(s ? length : first, left);
        unsigned bits = 16 - maker->payload.data[zeros + s];
        left -= n;
        for (unsigned width = 16; width; width /= 2)
            if (bits & width)
                put_plane(maker, n, width);
    }
}

static inline void make_chunk(struct maker *maker, const struct shape *shape)
{
    struct mmh_buffer *out = &maker->payload;
    unsigned exponent = shape->dtype == MMH_DTYPE_F16 ? 5 : 8,
             align = shape->elements >= 32768 ? 64 : 8;
    unsigned raw = 16 - exponent - shape->q,
             stored = raw - shape->zero_low - (shape->sign_mode != 0);
    mmh_buffer_clear(out);
    mmh_buffer_u8(out, (uint8_t)shape->kind);
    mmh_buffer_u8(out, (uint8_t)shape->q);
    mmh_buffer_u8(out, (uint8_t)shape->sign_mode);
    mmh_buffer_u8(out, (uint8_t)shape->zero_low);
    mmh_buffer_u8(out, shape->dtype == MMH_DTYPE_F32 ? shape->segments ? 2 : 1 : 0);
    mmh_buffer_u8(out, shape->kind == 2 ? (uint8_t)pick(maker, 256) : 0);
    mmh_buffer_u16(out, (uint16_t)(pick(maker, 65536) & ~((1u << shape->q) - 1)));
    mmh_buffer_u32(out, shape->patches);
    size_t symbol_bytes = out->bytes;
    mmh_buffer_u32(out, 0);
    for (uint32_t p = 0; p < shape->patches; p++) /* ascending: one in each part */
        mmh_buffer_u32(out, (uint32_t)((uint64_t)shape->elements * p / shape->patches) +
                                pick(maker, shape->elements / shape->patches));
    for (uint32_t p = 0; p < shape->patches; p++)
        mmh_buffer_u16(out, (uint16_t)pick(maker, 65536));
    mmh_buffer_align(out, 8);
    size_t symbols = out->bytes;
    if (shape->kind == 0)
        put_tiers(maker, shape);
    else if (shape->kind == 1)
        put_rans(maker, shape);
    mmh_store32(out->data + symbol_bytes, (uint32_t)(out->bytes - symbols));
    mmh_buffer_align(out, align);
    for (unsigned width = 8; width; width /= 2)
        if (stored & width) {
            put_plane(maker, shape->elements, width);
            mmh_buffer_align(out, align);
        }
    if (shape->dtype == MMH_DTYPE_F32) {
        put_tails(maker, shape);
        mmh_buffer_align(out, align);
    }
    mmh_error err = { 0 };
    check(mmh_buffer_finish(out, "chunk", &err), &err);
}

static inline struct shape random_shape(struct maker *maker, unsigned kind, bool small)
{
    static const mmh_dtype dtypes[3] = { MMH_DTYPE_F16, MMH_DTYPE_BF16, MMH_DTYPE_F32 };
    static const uint32_t lengths[] = { 1,     2,     3,      5,      63,    64,    65,
                                        127,   128,   129,    1000,   4097,  8192,  8193,
                                        9000,  16383, 16384,  16385,  20000, 32767, 32768,
                                        32769, 65536, 100001, 262143, 262144 };
    struct shape shape = {
        .dtype = dtypes[pick(maker, 3)],
        .elements = lengths[pick(maker, small ? 17 : MMH_COUNT_OF(lengths))],
        .kind = kind,
        .q = pick(maker, 3),
        .sign_mode = pick(maker, 3),
        .segments = pick(maker, 3),
        .tier_count = 1 + pick(maker, 6),
        .stripe_elements = pick(maker, 2) ? 1u << (13 + pick(maker, 6))
                                          : 128 * (64 + pick(maker, 1985)),
        .table_bits = 8 + pick(maker, 5),
        .table_count = 1,
        .views = pick(maker, 2) ? pick(maker, 2) : pick(maker, VIEWS_MAX + 1),
    };
    unsigned mantissa = shape.dtype == MMH_DTYPE_F16 ? 10 : 7;
    shape.zero_low = pick(maker, 2) ? 0 : pick(maker, mantissa - shape.q + 1);
    shape.shifted = kind == 0 && pick(maker, 2);
    if (pick(maker, 3))
        shape.table_count = 1 + pick(maker, pick(maker, 2) ? 8 : 64);
    if (shape.elements > 1 && pick(maker, 2))
        shape.patches = 1 + pick(maker, MMH_MIN(shape.elements / 2, 700));
    if (pick(maker, 3) == 0)
        shape.first_element = (uint64_t)MMH_CHUNK_ELEMENTS * pick(maker, 3);
    if (shape.table_bits == 8) /* a table needs two symbols, and may have 200 */
        shape.table_bits += pick(maker, 2);
    return shape;
}

/* Add a block with one chunk of a symbol kind (0 tiers, 1 rans, 2 none), the rest at random. */
static inline void add_random(struct device_corpus *corpus, struct maker *maker, unsigned kind,
                              bool small)
{
    struct shape shape = random_shape(maker, kind, small);
    bool model = kind == 1 || shape.shifted;
    uint64_t elements = shape.first_element + shape.elements + pick(maker, 1000);
    if (model)
        make_model(maker, &shape, elements);
    make_chunk(maker, &shape);
    device_corpus_block(corpus, model ? maker->model.data : NULL, model ? maker->model.bytes : 0,
                        elements);
    struct mmh_chunk chunk = { shape.dtype, shape.first_element,
                               (size_t)shape.elements * mmh_dtype_scalar_bytes(shape.dtype) };
    device_corpus_chunk(corpus, &chunk, maker->payload.data, maker->payload.bytes);
}

static inline void maker_init(struct maker *maker, uint64_t seed)
{
    *maker = (struct maker){ .random = seed };
    mmh_buffer_init(&maker->payload, NULL);
    mmh_buffer_init(&maker->model, NULL);
}

static inline void maker_release(struct maker *maker)
{
    mmh_buffer_release(&maker->payload);
    mmh_buffer_release(&maker->model);
    free(maker->frequency);
    forget_views(maker);
}

#endif
