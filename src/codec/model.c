/*
 * Model payloads: written from a draft, read into tables.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Layout: docs/format.md section 9.
 */
#include "codec/codec_private.h"

enum {
    HEADER = 8,
    VIEW_BITS_MIN = 2 + 13 + 7 + 1,
    ELEMENTS_ORDER = 12,
    COLUMNS_ORDER = 6,
    FLAG_COLUMNS = 1,
    FLAG_ROWS = 2,
    CLASS_MIN = -64,
    CLASS_MAX = 63,
    RICE_ONES_MAX = 255,
    GOLOMB_ORDER = 3,
    GOLOMB_ONES_MAX = 16,
};

/* ---- the bit stream ---- */

struct bit_writer {
    uint8_t *next;
    uint64_t bits; /* pending, low bit first */
    unsigned count;
};

static void put(struct bit_writer *out, uint64_t value, unsigned count)
{
    out->bits |= value << out->count;
    out->count += count;
    while (out->count >= 8) {
        *out->next++ = (uint8_t)out->bits;
        out->bits >>= 8;
        out->count -= 8;
    }
}

static void put_ones(struct bit_writer *out, unsigned ones)
{
    for (; ones >= 32; ones -= 32)
        put(out, UINT32_MAX, 32);
    put(out, ((uint64_t)1 << ones) - 1, ones + 1); /* and the zero */
}

struct bit_reader {
    const uint8_t *data;
    size_t bytes;
    uint64_t position; /* in bits */
    bool failed;
};

/* The next bits, up to 56, zeros past the end; the position does not move. */
static uint64_t peek(const struct bit_reader *in)
{
    size_t at = (size_t)(in->position / 8), left = in->bytes - at;
    uint64_t value = 0;
    if (left >= 8) {
        value = mmh_load64(in->data + at);
    } else {
        for (size_t i = 0; i < left; i++)
            value |= (uint64_t)in->data[at + i] << (8 * i);
    }
    return value >> (in->position % 8);
}

static void advance(struct bit_reader *in, unsigned count)
{
    if (count > 8 * (uint64_t)in->bytes - in->position) {
        in->failed = true;
        in->position = 8 * (uint64_t)in->bytes;
    } else {
        in->position += count;
    }
}

static uint32_t get(struct bit_reader *in, unsigned count)
{
    uint32_t value = (uint32_t)(peek(in) & (((uint64_t)1 << count) - 1));
    advance(in, count);
    return in->failed ? 0 : value;
}

/* Ones before the next zero, which is taken too. */
static unsigned get_ones(struct bit_reader *in, unsigned most)
{
    unsigned ones = 0;
    while (!in->failed) {
        unsigned run = mmh_ctz64(~(peek(in) & 0xffffffff));
        ones += run;
        if (ones > most)
            in->failed = true;
        advance(in, run < 32 ? run + 1 : run);
        if (run < 32)
            break;
    }
    return in->failed ? 0 : ones;
}

/* ---- codes ---- */

static unsigned zigzag(int value)
{
    return value < 0 ? 2 * (unsigned)-value - 1 : 2 * (unsigned)value;
}

static int unzigzag(unsigned code)
{
    return code & 1 ? -(int)(code >> 1) - 1 : (int)(code >> 1);
}

static unsigned golomb_bits(unsigned value)
{
    unsigned length = 32 - mmh_clz32(value + (1u << GOLOMB_ORDER));
    return 2 * length - GOLOMB_ORDER - 1;
}

static void put_golomb(struct bit_writer *out, unsigned value)
{
    unsigned g = value + (1u << GOLOMB_ORDER), length = 32 - mmh_clz32(g);
    put_ones(out, length - GOLOMB_ORDER - 1);
    put(out, g & ((1u << (length - 1)) - 1), length - 1);
}

static unsigned get_golomb(struct bit_reader *in)
{
    unsigned length = get_ones(in, GOLOMB_ONES_MAX) + GOLOMB_ORDER + 1;
    unsigned low = get(in, length - 1);
    return (low | 1u << (length - 1)) - (1u << GOLOMB_ORDER);
}

/* ---- byte pairs ---- */

bool mmh_pair_codes(uint8_t code[256], uint8_t values[256], const uint8_t buckets[256])
{
    uint8_t used[16] = { 0 };
    for (unsigned b = 0; b < 256; b++) {
        unsigned bucket = buckets[b];
        if (used[bucket] == 16)
            return false;
        code[b] = (uint8_t)(bucket << 4 | used[bucket]++);
        values[code[b]] = (uint8_t)b;
    }
    return true; /* 256 values, none of 16 buckets over: all full */
}

static void put_buckets(struct bit_writer *out, const uint8_t buckets[256])
{
    unsigned last = 0;
    for (unsigned b = 0; b < 256; b++) {
        bool same = buckets[b] == last;
        put(out, same, 1);
        if (!same)
            put(out, last = buckets[b], 4);
    }
}

static bool get_buckets(struct bit_reader *in, uint8_t code[256], uint8_t values[256])
{
    uint8_t buckets[256];
    unsigned last = 0;
    for (unsigned b = 0; b < 256; b++) {
        if (!get(in, 1)) {
            unsigned next = get(in, 4);
            if (next == last) /* said the long way */
                return false;
            last = next;
        }
        buckets[b] = (uint8_t)last;
    }
    return !in->failed && mmh_pair_codes(code, values, buckets);
}

/* ---- tables ---- */

static void table_range(unsigned *first, unsigned *last, const uint16_t *frequency)
{
    *first = 0;
    *last = 255;
    while (*first < 255 && !frequency[*first])
        ++*first;
    while (*last > *first && !frequency[*last])
        --*last;
}

uint64_t mmh_model_table_bits(const uint16_t *frequency)
{
    unsigned first, last;
    table_range(&first, &last, frequency);
    uint64_t bits = 16;
    for (unsigned s = first; s <= last; s++)
        bits += golomb_bits(frequency[s]);
    return bits;
}

static void put_table(struct bit_writer *out, const uint16_t *frequency)
{
    unsigned first, last;
    table_range(&first, &last, frequency);
    put(out, first, 8);
    put(out, last, 8);
    for (unsigned s = first; s <= last; s++)
        put_golomb(out, frequency[s]);
}

/* Fill in the decode table of one table: symbol << 24 | frequency << 12 | slot - start. */
static bool get_table(struct bit_reader *in, uint32_t *slots, unsigned bits)
{
    unsigned first = get(in, 8), last = get(in, 8), start = 0, size = 1u << bits;
    for (unsigned s = first; s <= last; s++) {
        unsigned frequency = get_golomb(in);
        if (in->failed || frequency >= size || frequency > size - start)
            return false;
        uint32_t entry = s << 24 | frequency << 12;
        for (unsigned i = 0; i < frequency; i++)
            slots[start + i] = entry + i;
        start += frequency;
    }
    return start == size;
}

void mmh_model_map(uint8_t map[MMH_CLASS_BINS], const uint8_t *bounds, unsigned table_count)
{
    unsigned table = 0;
    for (unsigned bin = 0; bin < MMH_CLASS_BINS; bin++) {
        while (table + 1 < table_count && bounds[table] <= bin)
            table++;
        map[bin] = (uint8_t)table;
    }
}

/* ---- classes ---- */

struct classes_shape {
    int mean;
    unsigned k;
    uint64_t bits;
};

/* The mean and the Rice order that give the fewest bits, near enough: the median and its k. */
static struct classes_shape shape_classes(const int8_t *classes, size_t count)
{
    uint32_t histogram[CLASS_MAX - CLASS_MIN + 1] = { 0 };
    for (size_t i = 0; i < count; i++)
        histogram[classes[i] - CLASS_MIN]++;
    size_t below = 0;
    int median = 0;
    for (int v = CLASS_MIN; v <= CLASS_MAX; v++) {
        below += histogram[v - CLASS_MIN];
        if (2 * below >= count) {
            median = v;
            break;
        }
    }
    struct classes_shape best = { .mean = median, .bits = UINT64_MAX };
    for (unsigned k = 0; k < 8; k++) {
        uint64_t bits = 11;
        for (int v = CLASS_MIN; v <= CLASS_MAX; v++)
            bits += (uint64_t)histogram[v - CLASS_MIN] * ((zigzag(v - median) >> k) + 1 + k);
        if (bits < best.bits) {
            best.bits = bits;
            best.k = k;
        }
    }
    return best;
}

uint64_t mmh_model_classes_bits(const int8_t *classes, size_t count)
{
    return shape_classes(classes, count).bits;
}

static void put_classes(struct bit_writer *out, const int8_t *classes, size_t count)
{
    struct classes_shape shape = shape_classes(classes, count);
    put(out, (uint8_t)shape.mean, 8);
    put(out, shape.k, 3);
    for (size_t i = 0; i < count; i++) {
        unsigned code = zigzag(classes[i] - shape.mean);
        put_ones(out, code >> shape.k);
        put(out, code & ((1u << shape.k) - 1), shape.k);
    }
}

static bool get_classes(struct bit_reader *in, int8_t *classes, size_t count)
{
    int mean = (int8_t)get(in, 8);
    unsigned k = get(in, 3);
    for (size_t i = 0; i < count && !in->failed; i++) {
        unsigned code = get_ones(in, RICE_ONES_MAX) << k;
        int value = mean + unzigzag(code | get(in, k));
        if (value < CLASS_MIN || value > CLASS_MAX)
            return false;
        classes[i] = (int8_t)value;
    }
    return !in->failed;
}

/* ---- views ---- */

static unsigned order_bits(uint64_t value, unsigned order)
{
    unsigned length = 64 - mmh_clz64(value + ((uint64_t)1 << order));
    return 2 * length - order - 1;
}

uint64_t mmh_model_view_bits(const struct mmh_view *view)
{
    uint64_t bits = 2 + order_bits(view->elements, ELEMENTS_ORDER) +
                    order_bits(view->columns, COLUMNS_ORDER) + order_bits(view->phase, 0);
    if (view->column)
        bits += mmh_model_classes_bits(view->column, (size_t)view->columns);
    if (view->row)
        bits += mmh_model_classes_bits(view->row, (size_t)view->rows);
    return bits;
}

static void put_order(struct bit_writer *out, uint64_t value, unsigned order)
{
    uint64_t g = value + ((uint64_t)1 << order);
    unsigned length = 64 - mmh_clz64(g);
    put_ones(out, length - order - 1);
    put(out, g & (((uint64_t)1 << (length - 1)) - 1), length - 1);
}

/* At most 2^32, else the reader has failed. */
static uint64_t get_order(struct bit_reader *in, unsigned order)
{
    unsigned low_bits = get_ones(in, 32 - order) + order;
    uint64_t low = get(in, low_bits / 2);
    low |= (uint64_t)get(in, low_bits - low_bits / 2) << (low_bits / 2);
    return (low | (uint64_t)1 << low_bits) - ((uint64_t)1 << order);
}

static void put_view(struct bit_writer *out, const struct mmh_view *view)
{
    put(out, (view->column ? FLAG_COLUMNS : 0) | (view->row ? FLAG_ROWS : 0), 2);
    put_order(out, view->elements, ELEMENTS_ORDER);
    put_order(out, view->columns, COLUMNS_ORDER);
    put_order(out, view->phase, 0);
    if (view->column)
        put_classes(out, view->column, (size_t)view->columns);
    if (view->row)
        put_classes(out, view->row, (size_t)view->rows);
}

static int8_t *class_array(const mmh_allocator *allocator, uint64_t count)
{
    int8_t *classes = mmh_alloc(allocator, 64, (size_t)count + MMH_KERNEL_SLACK);
    if (classes)
        memset(classes + count, 0, MMH_KERNEL_SLACK);
    return classes;
}

static mmh_status get_view(struct bit_reader *in, struct mmh_view *view,
                           const mmh_allocator *allocator, uint64_t first, uint64_t left,
                           mmh_error *err)
{
    unsigned flags = get(in, 2);
    view->first = first;
    view->elements = get_order(in, ELEMENTS_ORDER);
    view->columns = get_order(in, COLUMNS_ORDER);
    view->phase = get_order(in, 0);
    if (in->failed || !view->elements || view->elements > left || !view->columns ||
        view->columns > (uint64_t)1 << 31 || view->phase >= view->columns)
        return mmh_fail(err, MMH_E_CORRUPT, "a view of a model is damaged");
    view->rows = mmh_divide_up(view->phase + view->elements, view->columns);
    /* Each class takes a bit at least: that bounds the allocation. */
    uint64_t classes = (flags & FLAG_COLUMNS ? view->columns : 0) +
                       (flags & FLAG_ROWS ? view->rows : 0);
    if (classes > 8 * (uint64_t)in->bytes - in->position)
        return mmh_fail(err, MMH_E_CORRUPT, "a model claims %llu classes in %zu bytes",
                        (unsigned long long)classes, in->bytes);
    bool right = true;
    if (flags & FLAG_COLUMNS) {
        view->column = class_array(allocator, view->columns);
        if (!view->column)
            return mmh_fail(err, MMH_E_MEMORY, "model of %llu columns",
                            (unsigned long long)view->columns);
        right = get_classes(in, view->column, (size_t)view->columns);
    }
    if (flags & FLAG_ROWS && right) {
        view->row = class_array(allocator, view->rows);
        if (!view->row)
            return mmh_fail(err, MMH_E_MEMORY, "model of %llu rows",
                            (unsigned long long)view->rows);
        right = get_classes(in, view->row, (size_t)view->rows);
    }
    return right ? MMH_OK : mmh_fail(err, MMH_E_CORRUPT, "the classes of a model are damaged");
}

void mmh_views_classes(uint8_t *out, const struct mmh_kernels *kernels,
                       const struct mmh_view *views, size_t view_count, uint64_t first,
                       size_t count, const uint8_t *map)
{
    size_t low = 0, high = view_count;
    while (low < high) { /* the first view that ends behind `first` */
        size_t middle = low + (high - low) / 2;
        if (views[middle].first + views[middle].elements <= first)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < view_count && count; low++) {
        const struct mmh_view *view = &views[low];
        uint64_t within = first - view->first;
        size_t n = (size_t)MMH_MIN(count, view->elements - within);
        kernels->classes(out, view->phase + within, n, view->columns, view->row, view->column, map);
        out += n;
        first += n;
        count -= n;
    }
    memset(out, map ? map[MMH_CLASS_BINS / 2] : 0, count); /* behind the last view: class 0 */
}

/* ---- writing ---- */

size_t mmh_model_write(mmh_codec_workspace *workspace, const uint8_t **payload,
                       const struct mmh_model_draft *draft)
{
    uint64_t bits = 6 * MMH_RANS_TABLES_MAX + 5 * 256 * MMH_PAIR_TABLES_MAX;
    for (unsigned t = 0; t < draft->table_count; t++)
        bits += mmh_model_table_bits(draft->frequency[t]);
    for (size_t v = 0; v < draft->view_count; v++)
        bits += mmh_model_view_bits(&draft->views[v]);
    uint8_t *data = mmh_workspace_scratch(workspace, MMH_SCRATCH_MODEL, HEADER + bits / 8 + 16);
    if (!data)
        return 0;
    *payload = data;
    data[0] = (uint8_t)draft->kind;
    data[1] = (uint8_t)draft->bits;
    data[2] = (uint8_t)draft->table_count;
    data[3] = 0;
    mmh_store32(data + 4, (uint32_t)draft->view_count);
    struct bit_writer out = { .next = data + HEADER };
    for (unsigned t = 0; t < draft->table_count && draft->kind == MMH_MODEL_PAIRS; t++) {
        bool same = t && !memcmp(draft->buckets[t], draft->buckets[t - 1], 256);
        if (t)
            put(&out, same, 1);
        if (!same)
            put_buckets(&out, draft->buckets[t]);
    }
    for (unsigned t = 0; t < draft->table_count; t++)
        put_table(&out, draft->frequency[t]);
    for (unsigned t = 0; t + 1 < draft->table_count; t++)
        put(&out, draft->bounds[t], 6);
    for (size_t v = 0; v < draft->view_count; v++)
        put_view(&out, &draft->views[v]);
    if (out.count)
        *out.next++ = (uint8_t)out.bits;
    return (size_t)(out.next - data);
}

/* ---- reading ---- */

static mmh_status read_header(struct mmh_model *model, struct bit_reader *bits,
                              const uint8_t *payload, size_t payload_bytes, mmh_error *err)
{
    struct mmh_cursor in;
    mmh_cursor_init(&in, payload, payload_bytes);
    model->kind = mmh_cursor_u8(&in);
    model->bits = mmh_cursor_u8(&in);
    model->table_count = mmh_cursor_u8(&in);
    unsigned zero = mmh_cursor_u8(&in);
    size_t view_count = mmh_cursor_u32(&in);
    if (mmh_cursor_failed(&in))
        return mmh_cursor_finish(&in, "model", err);
    bool right = !zero;
    if (model->kind == MMH_MODEL_RANS || model->kind == MMH_MODEL_PAIRS)
        right = right && model->bits >= 8 && model->bits <= MMH_RANS_BITS_MAX &&
                model->table_count >= 1 &&
                model->table_count <=
                    (model->kind == MMH_MODEL_PAIRS ? MMH_PAIR_TABLES_MAX : MMH_RANS_TABLES_MAX);
    else if (model->kind == MMH_MODEL_SHIFTS)
        right = right && !model->bits && !model->table_count;
    else
        return mmh_fail(err, MMH_E_UNSUPPORTED, "model of unknown kind %u", model->kind);
    *bits = (struct bit_reader){ .data = payload + HEADER, .bytes = payload_bytes - HEADER };
    if (!right || view_count > 8 * (uint64_t)bits->bytes / VIEW_BITS_MIN)
        return mmh_fail(err, MMH_E_CORRUPT, "model header is damaged");
    model->views = mmh_alloc_array(model->allocator, view_count, sizeof *model->views);
    if (!model->views)
        return mmh_fail(err, MMH_E_MEMORY, "model");
    model->view_count = view_count;
    return MMH_OK;
}

static mmh_status read_model(struct mmh_model *model, const uint8_t *payload, size_t payload_bytes,
                             mmh_error *err)
{
    struct bit_reader in;
    mmh_status status = read_header(model, &in, payload, payload_bytes, err);
    if (status)
        return status;
    uint8_t bounds[MMH_RANS_TABLES_MAX] = { 0 };
    if (model->kind == MMH_MODEL_PAIRS)
        model->elements /= 2;
    model->pairs_alike = true;
    for (unsigned t = 0; t < model->table_count && model->kind == MMH_MODEL_PAIRS; t++) {
        if (t && get(&in, 1)) {
            memcpy(model->pair_code[t], model->pair_code[t - 1], 256);
            memcpy(model->pair_values[t], model->pair_values[t - 1], 256);
            continue;
        }
        model->pairs_alike = model->pairs_alike && !t;
        if (!get_buckets(&in, model->pair_code[t], model->pair_values[t]))
            return mmh_fail(err, MMH_E_CORRUPT, "the buckets of a model are damaged");
    }
    if (model->table_count) {
        model->tables =
            mmh_alloc(model->allocator, 64,
                      ((size_t)model->table_count << model->bits) * 4 + MMH_KERNEL_SLACK);
        if (!model->tables)
            return mmh_fail(err, MMH_E_MEMORY, "model of %u tables", model->table_count);
        for (unsigned t = 0; t < model->table_count; t++)
            if (!get_table(&in, model->tables + ((size_t)t << model->bits), model->bits))
                return mmh_fail(err, MMH_E_CORRUPT, "table %u of a model is damaged", t);
        for (unsigned t = 0; t + 1 < model->table_count; t++) {
            bounds[t] = (uint8_t)get(&in, 6);
            if (in.failed || bounds[t] <= (t ? bounds[t - 1] : 0))
                return mmh_fail(err, MMH_E_CORRUPT, "the bounds of a model are damaged");
        }
    }
    mmh_model_map(model->map, bounds, model->table_count);
    uint64_t first = 0;
    for (size_t v = 0; v < model->view_count; v++) {
        status = get_view(&in, &model->views[v], model->allocator, first, model->elements - first,
                          err);
        if (status)
            return status;
        first += model->views[v].elements;
    }
    bool right = !in.failed && mmh_divide_up(in.position, 8) == in.bytes;
    if (right && in.position % 8)
        right = in.data[in.bytes - 1] >> (in.position % 8) == 0;
    return right ? MMH_OK : mmh_fail(err, MMH_E_CORRUPT, "a model is damaged");
}

mmh_status mmh_model_create(mmh_model **model, const uint8_t *payload, size_t payload_bytes,
                            uint64_t block_elements, const mmh_allocator *allocator, mmh_error *err)
{
    struct mmh_model *made = mmh_alloc_array(allocator, 1, sizeof *made);
    *model = NULL;
    if (!made)
        return mmh_fail(err, MMH_E_MEMORY, "model");
    made->allocator = allocator;
    made->elements = block_elements;
    mmh_status status;
    if (block_elements > INT64_MAX)
        status = mmh_fail(err, MMH_E_CORRUPT, "a block has too many elements");
    else if (payload_bytes && payload[0] == MMH_MODEL_FIELDS)
        status = mmh_model_fields_read(made, payload, payload_bytes, err);
    else if (payload_bytes && payload[0] == MMH_MODEL_MIXED)
        status = mmh_model_mixed_read(made, payload, payload_bytes, err);
    else
        status = read_model(made, payload, payload_bytes, err);
    if (status) {
        mmh_model_destroy(made);
        return status;
    }
    *model = made;
    return MMH_OK;
}

void mmh_model_destroy(mmh_model *model)
{
    if (!model)
        return;
    mmh_free(model->allocator, model->tables);
    for (size_t v = 0; v < model->view_count; v++) {
        mmh_free(model->allocator, model->views[v].column);
        mmh_free(model->allocator, model->views[v].row);
    }
    mmh_free(model->allocator, model->views);
    mmh_model_fields_release(model);
    mmh_model_destroy(model->within);
    mmh_free(model->allocator, model);
}
