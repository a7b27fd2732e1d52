/*
 * Payloads of float chunks, docs/format.md sections 8 and 10, checked and described for kernels.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * All that can be known without decoding is checked here: after that no offset, count or length
 * that a kernel reads can lead it out of the payload.
 */
#include <string.h>

#include "base/bits.h"
#include "device/device_plan.h"

enum {
    KIND_TIERS = 0,
    KIND_RANS = 1,
    KIND_NONE = 2,
    TAIL_NONE = 0,
    TAIL_PLAIN = 1,
    TAIL_SEGMENTS = 2,
    MODEL_RANS = 1,
    MODEL_SHIFTS = 2,
    GROUP = 64, /* elements of a group of the packed planes */
    SEGMENT_MIN = 64,
    ALIGN_FROM = 32768, /* elements from which on sections are aligned for devices */
    STRIPE_MULTIPLE = 128,
    STATES_BYTES = 4 * MMH_DEVICE_LANES,
    COMPACT_SPARE = 256, /* local memory beside the tables: map and ballots */
};

struct type {
    unsigned bytes, exponent_bits, mantissa_bits, tail_bits; /* mantissa bits of the head */
};

static const struct type types[] = {
    [MMH_DTYPE_F16] = { 2, 5, 10, 0 },
    [MMH_DTYPE_BF16] = { 2, 8, 7, 0 },
    [MMH_DTYPE_F32] = { 4, 8, 7, 16 },
};

bool mmh_device_takes(mmh_dtype dtype, unsigned codec_id)
{
    return codec_id == MMH_CODEC_FLOAT && (size_t)dtype < MMH_COUNT_OF(types) && types[dtype].bytes;
}

/* ---- sections of a payload ---- */

/* Zeros up to a multiple of `align` from the payload's beginning. */
static bool skip_pad(struct mmh_cursor *in, size_t align)
{
    bool zeros = true;
    while (!mmh_cursor_failed(in) && mmh_cursor_position(in) % align)
        zeros = mmh_cursor_u8(in) == 0 && zeros;
    return zeros;
}

/* The offset of the next `bytes` bytes, which are passed over. */
static uint32_t section(struct mmh_cursor *in, size_t bytes)
{
    uint32_t at = (uint32_t)mmh_cursor_position(in);
    mmh_cursor_skip(in, bytes);
    return at;
}

static mmh_status read_patches(struct mmh_device_fields *fields, struct mmh_cursor *in,
                               mmh_error *err)
{
    fields->positions = section(in, 4 * (size_t)fields->patch_count);
    fields->heads = section(in, 2 * (size_t)fields->patch_count);
    if (mmh_cursor_failed(in))
        return MMH_OK; /* reported at the end */
    uint32_t least = 0;
    for (uint32_t i = 0; i < fields->patch_count; i++) {
        uint32_t at = mmh_load32(in->data + fields->positions + 4 * (size_t)i);
        if (at < least || at >= fields->elements)
            return mmh_fail(err, MMH_E_CORRUPT, "patch %u is at element %u", i, at);
        least = at + 1;
    }
    return MMH_OK;
}

static mmh_status read_segments(struct mmh_device_fields *fields, struct mmh_buffer *side,
                                struct mmh_cursor *in, unsigned tail_bits, mmh_error *err)
{
    uint32_t length = mmh_cursor_u32(in), first = mmh_cursor_u32(in);
    if (length < SEGMENT_MIN || first < 1 || first > length)
        return mmh_fail(err, MMH_E_CORRUPT, "tail segments of %u elements, the first of %u", length,
                        first);
    size_t count = 1;
    if (fields->elements > first)
        count += (size_t)mmh_divide_up(fields->elements - first, length);
    const uint8_t *zeros = mmh_cursor_bytes(in, count);
    if (!skip_pad(in, 8))
        return mmh_fail(err, MMH_E_CORRUPT, "tail segments are damaged");
    if (mmh_cursor_failed(in))
        return MMH_OK;
    fields->segment_elements = length;
    fields->segment_first = first;
    fields->segments = (uint32_t)(side->bytes / 4);
    size_t left = fields->elements;
    for (size_t s = 0; s < count; s++) {
        size_t n = MMH_MIN(s ? length : first, left);
        left -= n;
        if (zeros[s] > tail_bits)
            return mmh_fail(err, MMH_E_CORRUPT, "tail segment %zu has %u zero bits", s, zeros[s]);
        mmh_buffer_u32(side,
                       section(in, (size_t)mmh_divide_up(n, GROUP) * 8 * (tail_bits - zeros[s])));
        mmh_buffer_u32(side, zeros[s]);
    }
    return MMH_OK;
}

/* ---- symbols ---- */

static size_t tier_bytes(size_t entries)
{
    return 8 * ((entries + 31) / 32);
}

static mmh_status read_tiers(struct mmh_device_fields *fields, struct mmh_cursor *in,
                             const struct mmh_device_model *model, uint64_t first_element,
                             mmh_error *err)
{
    uint32_t base = (uint32_t)mmh_cursor_position(in);
    unsigned count = mmh_cursor_u8(in), shifted = mmh_cursor_u8(in);
    if (count < 1 || count > MMH_DEVICE_TIERS || shifted > 1 || mmh_cursor_u16(in))
        return mmh_fail(err, MMH_E_CORRUPT, "tier section: %u tiers, flag %u", count, shifted);
    if (shifted && (model->kind != MODEL_SHIFTS || first_element > model->elements ||
                    fields->elements > model->elements - first_element))
        return mmh_fail(err, MMH_E_CORRUPT, "shifted tiers without a model that fits");
    fields->tier_count = count;
    fields->shifted = shifted;
    for (unsigned k = 0; k < count; k++)
        for (unsigned code = 0; code < 3; code++)
            fields->ranks[k] |= (uint32_t)mmh_cursor_u8(in) << (8 * code);
    bool right = skip_pad(in, 4);
    size_t blocks = (size_t)mmh_divide_up(fields->elements, MMH_DEVICE_RUN);
    const uint8_t *directory = mmh_cursor_bytes(in, 2 * blocks * (1 + count));
    fields->directory = base + 4 + (uint32_t)mmh_round_up(3 * count, 4);
    right = skip_pad(in, 4) && right;
    fields->blocks = (uint32_t)mmh_cursor_position(in);
    if (mmh_cursor_failed(in))
        return MMH_OK;

    /* Blocks follow each other without gaps, and no tier grows. */
    for (size_t b = 0; b < blocks && right; b++) {
        const uint8_t *entry = directory + 2 * b * (1 + count);
        right = mmh_cursor_position(in) == fields->blocks + 4 * (size_t)mmh_load16(entry);
        size_t entries = MMH_MIN(MMH_DEVICE_RUN, fields->elements - b * MMH_DEVICE_RUN);
        for (unsigned k = 1; k <= count; k++) {
            mmh_cursor_skip(in, tier_bytes(entries));
            right = right && mmh_load16(entry + 2 * k) <= entries;
            entries = mmh_load16(entry + 2 * k);
        }
        mmh_cursor_skip(in, entries);
        right = skip_pad(in, 4) && right && !mmh_cursor_failed(in);
    }
    if (!right || mmh_cursor_left(in))
        return mmh_fail(err, MMH_E_CORRUPT, "tier section: the directory does not fit its bytes");
    return MMH_OK;
}

static mmh_status read_rans(struct mmh_device_fields *fields, struct mmh_buffer *side,
                            struct mmh_cursor *in, const struct mmh_device_model *model,
                            uint64_t first_element, mmh_error *err)
{
    if (model->kind != MODEL_RANS ||
        (model->table_count > 1 &&
         (first_element > model->elements || fields->elements > model->elements - first_element)))
        return mmh_fail(err, MMH_E_CORRUPT, "rans floats without a model that fits");
    fields->stripe_elements = mmh_cursor_u32(in);
    bool zeros = true;
    if (!fields->stripe_elements || fields->stripe_elements % STRIPE_MULTIPLE ||
        fields->stripe_elements > MMH_CHUNK_ELEMENTS)
        return mmh_fail(err, MMH_E_CORRUPT, "rans section: stripes of %u symbols",
                        fields->stripe_elements);
    fields->stripe_count = (uint32_t)mmh_divide_up(fields->elements, fields->stripe_elements);
    const uint8_t *words = mmh_cursor_bytes(in, 4 * (size_t)fields->stripe_count);
    fields->stripes = (uint32_t)(side->bytes / 4);
    for (uint32_t s = 0; words && s < fields->stripe_count; s++) {
        uint32_t count = mmh_load32(words + 4 * (size_t)s);
        if (count > mmh_cursor_left(in) / 2)
            return mmh_fail(err, MMH_E_CORRUPT, "rans stripe %u claims %u words in %zu bytes", s,
                            count, mmh_cursor_left(in));
        mmh_buffer_u32(side, section(in, STATES_BYTES + 2 * (size_t)count));
        mmh_buffer_u32(side, count);
        if (count % 2)
            zeros = mmh_cursor_u16(in) == 0 && zeros;
    }
    if (!zeros)
        return mmh_fail(err, MMH_E_CORRUPT, "rans symbols are damaged");
    return mmh_cursor_finish(in, "rans section", err);
}

/* ---- a chunk ---- */

static void put_view(struct mmh_buffer *side, const struct mmh_device_view *view)
{
    const mmh_device_word words[] = { view->first,          view->end,        view->columns,
                                      view->column,         view->row,        view->rows,
                                      view->column_classes, view->row_classes };
    for (size_t w = 0; w < MMH_COUNT_OF(words); w++)
        mmh_buffer_u32(side, words[w]);
}

/* The runs that the chunk's elements lie in, as views; elements behind the last have no class. */
static void describe_views(struct mmh_device_fields *fields, struct mmh_buffer *side,
                           const struct mmh_device_model *model, uint64_t first_element)
{
    size_t low = 0, high = model->run_count;
    while (low < high) { /* the first run that ends behind the chunk's beginning */
        size_t middle = low + (high - low) / 2;
        if (model->runs[middle].end <= first_element)
            low = middle + 1;
        else
            high = middle;
    }
    uint64_t end = first_element + fields->elements, reached = first_element;
    fields->views = (uint32_t)(side->bytes / 4);
    for (; low < model->run_count && reached < end; low++) {
        const struct mmh_device_run *run = &model->runs[low];
        uint64_t at = run->phase + (reached - run->first);
        struct mmh_device_view view = {
            .first = (uint32_t)(reached - first_element),
            .end = run->end < end ? (uint32_t)(run->end - first_element) : UINT32_MAX,
            .columns = (uint32_t)run->columns,
            .column = (uint32_t)(at % run->columns),
            .row = (uint32_t)(at / run->columns),
            .rows = (uint32_t)run->rows,
            .column_classes = run->column_classes,
            .row_classes = run->row_classes,
        };
        put_view(side, &view);
        fields->view_count++;
        reached = run->end;
    }
    if (reached < end || !fields->view_count) {
        struct mmh_device_view view = {
            .first = (uint32_t)(reached - first_element),
            .end = UINT32_MAX,
            .columns = (uint32_t)1 << 31,
            .rows = 1,
            .column_classes = MMH_DEVICE_NONE,
            .row_classes = MMH_DEVICE_NONE,
        };
        put_view(side, &view);
        fields->view_count++;
    }
}

static void describe_model(struct mmh_device_fields *fields, struct mmh_buffer *side,
                           const struct mmh_device_model *model, uint64_t first_element)
{
    fields->table_bits = model->bits;
    fields->table_count = model->table_count;
    fields->tables = model->tables;
    fields->compact = model->compact;
    fields->compact_words = model->compact_words;
    fields->compact_ranges = model->compact_ranges;
    fields->compact_stride = model->compact_stride;
    fields->map = model->map;
    if (fields->shifted || fields->table_count > 1)
        describe_views(fields, side, model, first_element);
}

/* Sizes of the head's parts; *planes_bytes: of the raw planes, each padded. */
static void describe_head(struct mmh_device_fields *fields, const struct type *type,
                          uint32_t window, unsigned sign_mode)
{
    unsigned raw_bits = 16 - type->exponent_bits - fields->mantissa_bits;
    uint32_t symbols = (1u << (16 - raw_bits)) - 1;
    fields->window = window & symbols;
    fields->symbol_mask = symbols << 16 | symbols;
    fields->symbol_shift = raw_bits - 1;
    fields->sign_stored = sign_mode == 0;
    fields->sign = sign_mode == 2 ? 0x80008000 : 0;
    fields->stored_bits = raw_bits - fields->zero_low - (sign_mode != 0);
    fields->element_bytes = type->bytes;
}

/* The shape that kernels are made for, if this is one. */
static uint32_t shape_of(const struct mmh_device_fields *fields)
{
    static const struct {
        uint8_t bits, bytes, shape;
        bool window;
    } shapes[] = {
        { 8, 2, MMH_DEVICE_SHAPE_8_OF_2, false },   { 8, 4, MMH_DEVICE_SHAPE_8_OF_4, false },
        { 11, 2, MMH_DEVICE_SHAPE_11_OF_2, false }, { 6, 2, MMH_DEVICE_SHAPE_6_OF_2, true },
        { 6, 4, MMH_DEVICE_SHAPE_6_OF_4, true },    { 9, 2, MMH_DEVICE_SHAPE_9_OF_2, false },
    };
    if (fields->sign_stored && !fields->zero_low && fields->tail_mode != TAIL_SEGMENTS)
        for (size_t i = 0; i < MMH_COUNT_OF(shapes); i++)
            if (fields->stored_bits == shapes[i].bits && fields->element_bytes == shapes[i].bytes &&
                (shapes[i].window || !fields->window))
                return shapes[i].shape;
    return MMH_DEVICE_SHAPE_ANY;
}

static mmh_status read_chunk(struct mmh_device_fields *fields, struct mmh_buffer *side,
                             unsigned *kind, const struct mmh_device_chunk *chunk,
                             const struct mmh_device_model *model, mmh_error *err)
{
    const struct type *type = &types[chunk->chunk.dtype];
    size_t elements = chunk->chunk.bytes / type->bytes;
    if (chunk->chunk.bytes % type->bytes || elements > MMH_CHUNK_ELEMENTS ||
        chunk->payload_bytes > UINT32_MAX)
        return mmh_fail(err, MMH_E_CORRUPT, "float chunk of %zu bytes", chunk->chunk.bytes);
    if (chunk->chunk.first_element > INT64_MAX)
        return mmh_fail(err, MMH_E_CORRUPT, "float chunk beyond its block");
    struct mmh_cursor in;
    mmh_cursor_init(&in, chunk->payload, chunk->payload_bytes);
    fields->elements = (uint32_t)elements;
    *kind = mmh_cursor_u8(&in);
    fields->mantissa_bits = mmh_cursor_u8(&in);
    unsigned sign_mode = mmh_cursor_u8(&in);
    fields->zero_low = mmh_cursor_u8(&in);
    fields->tail_mode = mmh_cursor_u8(&in);
    unsigned fill = mmh_cursor_u8(&in);
    uint32_t window = mmh_cursor_u16(&in);
    fields->patch_count = mmh_cursor_u32(&in);
    uint32_t symbol_bytes = mmh_cursor_u32(&in);
    if (mmh_cursor_failed(&in))
        return mmh_cursor_finish(&in, "float chunk", err);
    if (*kind > KIND_NONE || fields->mantissa_bits > 2 || sign_mode > 2 ||
        fields->zero_low + fields->mantissa_bits > type->mantissa_bits ||
        (type->tail_bits ? fields->tail_mode != TAIL_PLAIN && fields->tail_mode != TAIL_SEGMENTS
                         : fields->tail_mode != TAIL_NONE) ||
        (*kind != KIND_NONE ? fill : symbol_bytes) || window % (1u << fields->mantissa_bits) ||
        fields->patch_count > elements)
        return mmh_fail(err, MMH_E_CORRUPT, "float chunk header is damaged");
    describe_head(fields, type, window, sign_mode);
    fields->shape = shape_of(fields);
    fields->fill = fill * 0x01010101;

    mmh_status status = read_patches(fields, &in, err);
    bool zeros = skip_pad(&in, 8);
    size_t symbols = mmh_cursor_position(&in), align = elements >= ALIGN_FROM ? 64 : 8;
    mmh_cursor_skip(&in, symbol_bytes);
    if (!status && !mmh_cursor_failed(&in)) {
        /* Of the whole payload, so that what it finds are offsets from there. */
        struct mmh_cursor part = in;
        part.bytes = symbols + symbol_bytes;
        part.position = symbols;
        if (*kind == KIND_TIERS)
            status = read_tiers(fields, &part, model, chunk->chunk.first_element, err);
        else if (*kind == KIND_RANS)
            status = read_rans(fields, side, &part, model, chunk->chunk.first_element, err);
        if (!status)
            status = mmh_cursor_finish_prefix(&part, "symbols of a float chunk", err);
    }
    if (status)
        return status;
    describe_model(fields, side, model, chunk->chunk.first_element);
    zeros = skip_pad(&in, align) && zeros;
    size_t groups = (size_t)mmh_divide_up(elements, GROUP);
    for (unsigned p = 0; p < 4; p++)
        if (fields->stored_bits & 8 >> p) {
            fields->plane[p] = section(&in, 8 * (8u >> p) * groups);
            zeros = skip_pad(&in, align) && zeros;
        }
    if (fields->tail_mode == TAIL_PLAIN)
        fields->tail = section(&in, 2 * GROUP * groups);
    else if (fields->tail_mode == TAIL_SEGMENTS)
        status = read_segments(fields, side, &in, type->tail_bits, err);
    if (status)
        return status;
    if (fields->tail_mode != TAIL_NONE)
        zeros = skip_pad(&in, align) && zeros;
    if (!zeros)
        return mmh_fail(err, MMH_E_CORRUPT, "float chunk: padding is not zero");
    return mmh_cursor_finish(&in, "float chunk", err);
}

/* ---- the plan ---- */

static void put_work(struct mmh_buffer *list, size_t chunk, uint32_t parts, uint32_t step)
{
    for (uint32_t part = 0; part < parts; part += step) {
        mmh_buffer_u32(list, (uint32_t)chunk);
        mmh_buffer_u32(list, part);
    }
}

static void plan_work(struct mmh_device_plan *plan, struct mmh_buffer *lists, size_t index,
                      unsigned kind, const struct mmh_device_plan_options *options)
{
    const struct mmh_device_fields *fields = &plan->fields[index];
    uint32_t runs = (uint32_t)mmh_divide_up(fields->elements, MMH_DEVICE_RUN);
    if (kind == KIND_NONE) {
        put_work(&lists[MMH_DEVICE_FILL], index, runs, 1);
    } else if (kind == KIND_TIERS) {
        put_work(&lists[MMH_DEVICE_TIER], index, runs, 1);
    } else if (options->items) {
        put_work(&lists[MMH_DEVICE_RANS_GLOBAL], index, fields->stripe_count, 1);
    } else if (4 * (size_t)fields->compact_words + COMPACT_SPARE <= options->local_bytes) {
        plan->table_bytes = MMH_MAX(plan->table_bytes, 4 * fields->compact_words);
        put_work(&lists[MMH_DEVICE_RANS_LOCAL], index, fields->stripe_count,
                 options->local_stripes);
    } else {
        put_work(&lists[MMH_DEVICE_RANS_GLOBAL], index, fields->stripe_count,
                 options->global_stripes);
    }
    put_work(&lists[MMH_DEVICE_PATCH], index,
             (uint32_t)mmh_divide_up(fields->patch_count, MMH_DEVICE_PATCH_ITEMS), 1);
}

static mmh_status plan_chunk(struct mmh_device_plan *plan, struct mmh_buffer *lists, size_t index,
                             const struct mmh_device_set *set,
                             const struct mmh_device_model *models,
                             const struct mmh_device_plan_options *options, mmh_error *err)
{
    const struct mmh_device_chunk *chunk = &set->chunks[index];
    struct mmh_device_fields *fields = &plan->fields[index];
    unsigned kind = KIND_NONE;
    if (!mmh_device_takes(chunk->chunk.dtype, MMH_CODEC_FLOAT))
        return mmh_fail(err, MMH_E_UNSUPPORTED, "devices decode no floats of type %u",
                        (unsigned)chunk->chunk.dtype);
    if (chunk->block >= set->block_count || chunk->offset % MMH_DEVICE_UNIT ||
        chunk->offset / MMH_DEVICE_UNIT > UINT32_MAX)
        return mmh_fail(err, MMH_E_USAGE, "chunk %zu of a device set: block %zu, offset %llu",
                        index, chunk->block, (unsigned long long)chunk->offset);
    mmh_status status = read_chunk(fields, &plan->side, &kind, chunk, &models[chunk->block], err);
    if (status)
        return status;
    fields->payload = (uint32_t)(plan->payload_bytes / MMH_DEVICE_UNIT);
    fields->output = (uint32_t)(chunk->offset / MMH_DEVICE_UNIT);
    plan->payload_bytes += mmh_round_up(chunk->payload_bytes, MMH_DEVICE_UNIT);
    plan->output_bytes = MMH_MAX(plan->output_bytes, chunk->offset + chunk->chunk.bytes);
    if (plan->payload_bytes / MMH_DEVICE_UNIT > UINT32_MAX)
        return mmh_fail(err, MMH_E_DEVICE, "payloads are too large for one batch");
    plan_work(plan, lists, index, kind, options);
    return MMH_OK;
}

static mmh_status plan_set(struct mmh_device_plan *plan, const struct mmh_device_set *set,
                           const struct mmh_device_plan_options *options,
                           struct mmh_device_model *models, struct mmh_buffer *lists,
                           mmh_error *err)
{
    mmh_status status = MMH_OK;
    for (size_t b = 0; b < set->block_count && !status; b++)
        status = mmh_device_model_init(&models[b], &plan->models, &set->blocks[b], err);
    for (size_t c = 0; c < set->chunk_count && !status; c++)
        status = plan_chunk(plan, lists, c, set, models, options, err);
    for (unsigned k = 0; k < MMH_DEVICE_KERNELS && !status; k++) {
        plan->work[k] = (struct mmh_device_work){ (uint32_t)(plan->side.bytes / 4),
                                                  (uint32_t)(lists[k].bytes / 8) };
        status = mmh_buffer_finish(&lists[k], "work list", err);
        mmh_buffer_bytes(&plan->side, lists[k].data, lists[k].bytes);
    }
    if (!status)
        status = mmh_buffer_finish(&plan->side, "work lists", err);
    if (!status && plan->side.bytes > UINT32_MAX)
        status = mmh_fail(err, MMH_E_DEVICE, "work lists are too large for one batch");
    return status;
}

mmh_status mmh_device_plan_init(struct mmh_device_plan *plan, const struct mmh_device_set *set,
                                const struct mmh_device_plan_options *options,
                                const mmh_allocator *allocator, mmh_error *err)
{
    *plan = (struct mmh_device_plan){ .allocator = allocator,
                                      .chunks = set->chunks,
                                      .chunk_count = set->chunk_count };
    mmh_buffer_init(&plan->side, allocator);
    mmh_buffer_init(&plan->models, allocator);
    struct mmh_buffer lists[MMH_DEVICE_KERNELS];
    for (unsigned k = 0; k < MMH_DEVICE_KERNELS; k++)
        mmh_buffer_init(&lists[k], allocator);
    struct mmh_device_model *models = mmh_alloc_array(allocator, set->block_count, sizeof *models);
    plan->fields = mmh_alloc_array(allocator, set->chunk_count, sizeof *plan->fields);
    mmh_status status = models && plan->fields && set->chunk_count <= UINT32_MAX
                          ? plan_set(plan, set, options, models, lists, err)
                          : mmh_fail(err, MMH_E_MEMORY, "plan of %zu chunks", set->chunk_count);
    for (size_t b = 0; models && b < set->block_count; b++)
        mmh_device_model_release(&models[b], allocator);
    mmh_free(allocator, models);
    for (unsigned k = 0; k < MMH_DEVICE_KERNELS; k++)
        mmh_buffer_release(&lists[k]);
    if (status)
        mmh_device_plan_release(plan);
    return status;
}

void mmh_device_plan_trim(struct mmh_device_plan *plan)
{
    mmh_buffer_release(&plan->side);
    mmh_buffer_release(&plan->models);
    mmh_free(plan->allocator, plan->fields);
    plan->fields = NULL;
    plan->chunks = NULL;
}

void mmh_device_plan_release(struct mmh_device_plan *plan)
{
    mmh_device_plan_trim(plan);
    *plan = (struct mmh_device_plan){ .allocator = plan->allocator };
}
