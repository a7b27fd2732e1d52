/*
 * Model payloads, docs/format.md section 9, as tables and classes that kernels read.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tables come in two forms. The one for global memory has a word for each slot, which one access
 * reads. The compact one, for local memory, has an index byte for each slot and a word for each
 * symbol: a quarter of the size, so that several tables fit where a GPU is quickest.
 */
#include <string.h>

#include "base/bits.h"
#include "device/device_plan.h"

enum {
    MODELS_BYTES_MAX = 1 << 30, /* in one batch */
    HEADER = 8,
    VIEW_BITS_MIN = 2 + 13 + 7 + 1,
    ORDER_BITS_MAX = 32,
    ELEMENTS_ORDER = 12,
    COLUMNS_ORDER = 6,
    KIND_RANS = 1,
    KIND_SHIFTS = 2,
    FLAG_COLUMNS = 1,
    FLAG_ROWS = 2,
    BITS_MIN = 8,
    BITS_MAX = 12,
    TABLES_MAX = 64,
    BINS = 64,
    CLASS_MIN = -64,
    CLASS_MAX = 63,
    RICE_ONES_MAX = 255,
    GOLOMB_ORDER = 3,
    GOLOMB_ONES_MAX = 16,
    READ_AHEAD = 8, /* bytes that kernels may read behind classes */
};

/* ---- the bit stream: low bits of a byte first ---- */

struct bit_reader {
    const uint8_t *data;
    size_t bytes;
    uint64_t position; /* in bits */
    bool failed;
};

static unsigned get_bit(struct bit_reader *in)
{
    if (in->position >= 8 * (uint64_t)in->bytes) {
        in->failed = true;
        return 0;
    }
    unsigned bit = in->data[in->position / 8] >> (in->position % 8) & 1;
    in->position++;
    return bit;
}

static uint64_t get(struct bit_reader *in, unsigned count)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < count; i++)
        value |= (uint64_t)get_bit(in) << i;
    return value;
}

/* Ones before the next zero, which is taken too. */
static unsigned get_ones(struct bit_reader *in, unsigned most)
{
    unsigned ones = 0;
    while (get_bit(in))
        if (++ones > most)
            in->failed = true;
    return in->failed ? 0 : ones;
}

/* An exp-Golomb code. */
static uint64_t get_golomb(struct bit_reader *in, unsigned order, unsigned ones_max)
{
    unsigned bits = get_ones(in, ones_max) + order;
    return (get(in, bits) | (uint64_t)1 << bits) - ((uint64_t)1 << order);
}

/* ---- tables ---- */

struct table {
    unsigned first, last;
    uint16_t frequency[256];
};

static bool get_table(struct table *table, struct bit_reader *in, unsigned bits)
{
    unsigned total = 0, size = 1u << bits;
    table->first = (unsigned)get(in, 8);
    table->last = (unsigned)get(in, 8);
    for (unsigned s = table->first; s <= table->last; s++) {
        uint64_t frequency = get_golomb(in, GOLOMB_ORDER, GOLOMB_ONES_MAX);
        if (in->failed || frequency >= size || frequency > size - total)
            return false;
        table->frequency[s] = (uint16_t)frequency;
        total += (unsigned)frequency;
    }
    return total == size;
}

static uint32_t words_of(const struct mmh_buffer *buffer)
{
    return (uint32_t)(buffer->bytes / 4);
}

static void put_tables(struct mmh_buffer *models, struct mmh_device_model *model,
                       const struct table *tables)
{
    unsigned count = model->table_count, stride = 1;
    for (unsigned t = 0; t < count; t++)
        stride = MMH_MAX(stride, tables[t].last - tables[t].first + 1);
    model->tables = words_of(models);
    for (unsigned t = 0; t < count; t++)
        for (unsigned s = tables[t].first; s <= tables[t].last; s++)
            for (uint32_t i = 0; i < tables[t].frequency[s]; i++)
                mmh_buffer_u32(models, s << 24 | (uint32_t)tables[t].frequency[s] << 12 | i);
    model->compact = words_of(models);
    model->compact_ranges = (count << model->bits) / 4;
    model->compact_stride = stride;
    model->compact_words = model->compact_ranges + count * stride;
    for (unsigned t = 0; t < count; t++)
        for (unsigned s = tables[t].first; s <= tables[t].last; s++)
            for (unsigned i = 0; i < tables[t].frequency[s]; i++)
                mmh_buffer_u8(models, (uint8_t)(s - tables[t].first));
    for (unsigned t = 0; t < count; t++) {
        uint32_t start = 0;
        for (unsigned i = 0; i < stride; i++) {
            unsigned s = tables[t].first + i;
            uint32_t frequency = s <= tables[t].last ? tables[t].frequency[s] : 0;
            mmh_buffer_u32(models, (uint32_t)(s & 255) << 24 | frequency << 12 | (start & 4095));
            start += frequency;
        }
    }
}

static mmh_status read_tables(struct mmh_device_model *model, struct mmh_buffer *models,
                              struct bit_reader *in, mmh_error *err)
{
    struct table *tables = mmh_alloc_array(models->allocator, model->table_count, sizeof *tables);
    if (!tables)
        return mmh_fail(err, MMH_E_MEMORY, "model of %u tables", model->table_count);
    bool right = true;
    for (unsigned t = 0; t < model->table_count && right; t++)
        right = get_table(&tables[t], in, model->bits);
    uint8_t map[BINS] = { 0 };
    unsigned least = 1; /* bounds ascend strictly, from 1 */
    for (unsigned t = 1; t < model->table_count && right; t++) {
        unsigned bound = (unsigned)get(in, 6);
        right = !in->failed && bound >= least;
        least = bound + 1;
        for (unsigned bin = bound; bin < BINS; bin++)
            map[bin] = (uint8_t)t;
    }
    if (right) {
        put_tables(models, model, tables);
        model->map = words_of(models);
        mmh_buffer_bytes(models, map, sizeof map);
    }
    mmh_free(models->allocator, tables);
    return right ? MMH_OK : mmh_fail(err, MMH_E_CORRUPT, "the tables of a model are damaged");
}

/* ---- classes ---- */

/* *at = where they are, in bytes; MMH_DEVICE_NONE if there are none. */
static bool read_classes(uint32_t *at, struct mmh_buffer *models, struct bit_reader *in,
                         uint64_t count, bool has)
{
    *at = MMH_DEVICE_NONE;
    if (!has)
        return true;
    *at = (uint32_t)models->bytes;
    uint64_t room = mmh_round_up(count, 4) + READ_AHEAD;
    uint8_t *classes = mmh_buffer_extend(models, (size_t)room);
    int mean = (int8_t)get(in, 8);
    unsigned k = (unsigned)get(in, 3);
    for (uint64_t i = 0; i < room; i++) {
        int value = 0;
        if (i < count) {
            unsigned code = get_ones(in, RICE_ONES_MAX) << k;
            code |= (unsigned)get(in, k);
            value = mean + (int)(code >> 1 ^ (0u - (code & 1)));
            if (in->failed || value < CLASS_MIN || value > CLASS_MAX)
                return false;
        }
        if (classes)
            classes[i] = (uint8_t)value;
    }
    return true;
}

/* ---- models ---- */

static mmh_status read_header(struct mmh_device_model *model, struct bit_reader *bits,
                              const struct mmh_device_block *block, mmh_error *err)
{
    struct mmh_cursor in;
    mmh_cursor_init(&in, block->model, block->model_bytes);
    unsigned kind = mmh_cursor_u8(&in);
    model->bits = mmh_cursor_u8(&in);
    model->table_count = mmh_cursor_u8(&in);
    bool right = mmh_cursor_u8(&in) == 0;
    model->run_count = mmh_cursor_u32(&in);
    if (mmh_cursor_failed(&in))
        return mmh_cursor_finish(&in, "model", err);
    if (kind == KIND_RANS)
        right = right && model->bits >= BITS_MIN && model->bits <= BITS_MAX &&
                model->table_count >= 1 && model->table_count <= TABLES_MAX;
    else
        right = right && kind == KIND_SHIFTS && !model->bits && !model->table_count;
    *bits = (struct bit_reader){ .data = block->model + HEADER,
                                 .bytes = block->model_bytes - HEADER };
    /* That bounds the memory, too. */
    if (!right || model->run_count > 8 * (uint64_t)bits->bytes / VIEW_BITS_MIN ||
        block->elements > INT64_MAX)
        return mmh_fail(err, MMH_E_CORRUPT, "model header is damaged");
    model->kind = kind;
    model->elements = block->elements;
    return MMH_OK;
}

static bool read_run(struct mmh_device_run *run, struct mmh_buffer *models, struct bit_reader *in,
                     uint64_t first, uint64_t left)
{
    unsigned flags = (unsigned)get(in, 2);
    uint64_t elements = get_golomb(in, ELEMENTS_ORDER, ORDER_BITS_MAX - ELEMENTS_ORDER);
    run->first = first;
    run->end = first + elements;
    run->columns = get_golomb(in, COLUMNS_ORDER, ORDER_BITS_MAX - COLUMNS_ORDER);
    run->phase = get_golomb(in, 0, ORDER_BITS_MAX);
    if (in->failed || !elements || elements > left || !run->columns ||
        run->columns > (uint64_t)1 << 31 || run->phase >= run->columns)
        return false;
    run->rows = mmh_divide_up(run->phase + elements, run->columns);
    /* Each class takes a bit at least: that bounds the memory. */
    uint64_t classes = (flags & FLAG_COLUMNS ? run->columns : 0) +
                       (flags & FLAG_ROWS ? run->rows : 0);
    return classes <= 8 * (uint64_t)in->bytes - in->position &&
           models->bytes + classes < MODELS_BYTES_MAX &&
           read_classes(&run->column_classes, models, in, run->columns, flags & FLAG_COLUMNS) &&
           read_classes(&run->row_classes, models, in, run->rows, flags & FLAG_ROWS);
}

static mmh_status read_model(struct mmh_device_model *model, struct mmh_buffer *models,
                             const struct mmh_device_block *block, mmh_error *err)
{
    struct bit_reader in;
    mmh_status status = read_header(model, &in, block, err);
    if (!status && model->kind == KIND_RANS)
        status = read_tables(model, models, &in, err);
    if (status)
        return status;
    model->runs = mmh_alloc_array(models->allocator, model->run_count, sizeof *model->runs);
    if (!model->runs)
        return mmh_fail(err, MMH_E_MEMORY, "model of %zu runs", model->run_count);
    bool right = true;
    uint64_t first = 0;
    for (size_t r = 0; r < model->run_count && right; r++) {
        right = read_run(&model->runs[r], models, &in, first, model->elements - first);
        first = model->runs[r].end;
    }
    right = right && !in.failed && mmh_divide_up(in.position, 8) == in.bytes;
    while (right && in.position % 8)
        right = get_bit(&in) == 0;
    if (!right)
        return mmh_fail(err, MMH_E_CORRUPT, "the classes of a model are damaged");
    return mmh_buffer_finish(models, "models", err);
}

mmh_status mmh_device_model_init(struct mmh_device_model *model, struct mmh_buffer *models,
                                 const struct mmh_device_block *block, mmh_error *err)
{
    *model = (struct mmh_device_model){ 0 };
    mmh_status status = block->model ? read_model(model, models, block, err) : MMH_OK;
    if (status)
        mmh_device_model_release(model, models->allocator);
    return status;
}

void mmh_device_model_release(struct mmh_device_model *model, const mmh_allocator *allocator)
{
    mmh_free(allocator, model->runs);
    *model = (struct mmh_device_model){ 0 };
}
