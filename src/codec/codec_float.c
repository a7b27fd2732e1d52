/*
 * Codec 4: floats as coded exponents, raw planes, tails and patches.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Layout: docs/format.md section 8. Both ways go block by block of 8192 elements where they can,
 * so that what lies between two kernels stays in the cache.
 */
#include "codec/codec_private.h"

enum {
    HEADER = 16,
    KIND_TIERS = 0,
    KIND_RANS = 1,
    KIND_NONE = 2,
    TAIL_NONE = 0,
    TAIL_PLAIN = 1,
    TAIL_SEGMENTS = 2,
    SEGMENT_MIN = 64,
    EXAMINED_FIRST = 256,
    ALIGN_FROM = 32768, /* elements from which on sections are aligned for devices */
};

static const struct mmh_float_type float_types[] = {
    [MMH_DTYPE_F16] = { 2, 5, 10, 0 },
    [MMH_DTYPE_BF16] = { 2, 8, 7, 0 },
    [MMH_DTYPE_F32] = { 4, 8, 7, 16 },
    [MMH_DTYPE_F64] = { 8, 11, 4, 48 },
};

const struct mmh_float_type *mmh_float_type(mmh_dtype dtype)
{
    return (size_t)dtype < MMH_COUNT_OF(float_types) && float_types[dtype].bytes
             ? &float_types[dtype]
             : NULL;
}

struct mmh_split mmh_float_split(const struct mmh_float_type *type, unsigned q, uint16_t window)
{
    uint8_t raw_bits = (uint8_t)(16 - type->exponent_bits - q);
    return (struct mmh_split){
        .element_bytes = type->bytes,
        .raw_bits = raw_bits,
        .stored_bits = raw_bits,
        .symbol_low = (uint8_t)(1u << q),
        .window_base = window,
    };
}

/* What decoder and encoder know of a chunk beside its symbols. */
struct float_shape {
    unsigned kind, q, sign_mode, zero_low, tail_mode, fill;
    uint16_t window;
    size_t elements, groups, align;
    struct mmh_split split;
    size_t plane_offset[4]; /* of the planes of 8, 4, 2, 1 bits among all planes */
    size_t planes_bytes;    /* all of them, each padded */
};

static size_t align_of(size_t elements)
{
    return elements >= ALIGN_FROM ? 64 : 8;
}

static void shape_planes(struct float_shape *shape, const struct mmh_float_type *type)
{
    shape->groups = mmh_divide_up(shape->elements, MMH_GROUP);
    shape->align = align_of(shape->elements);
    shape->split = mmh_float_split(type, shape->q, shape->window);
    shape->split.sign_mode = (uint8_t)shape->sign_mode;
    shape->split.zero_low = (uint8_t)shape->zero_low;
    shape->split.stored_bits -= (uint8_t)(shape->zero_low + (shape->sign_mode != 0));
    size_t used = 0;
    for (unsigned p = 0; p < 4; p++) {
        unsigned width = 8 >> p;
        shape->plane_offset[p] = used;
        if (shape->split.stored_bits & width)
            used += mmh_round_up(8 * width * shape->groups, shape->align);
    }
    shape->planes_bytes = used;
}

/* The planes of the elements from `first` on, a multiple of 64, planes starting at `planes`. */
static struct mmh_planes planes_at(const struct float_shape *shape, uint8_t *planes, size_t first)
{
    struct mmh_planes at = { { NULL } };
    for (unsigned p = 0; p < 4; p++) {
        unsigned width = 8 >> p;
        if (shape->split.stored_bits & width)
            at.plane[p] = planes + shape->plane_offset[p] + first / MMH_GROUP * 8 * width;
    }
    return at;
}

static unsigned tail_planes(const struct mmh_float_type *type)
{
    return type->tail_bits / 16;
}

/* ---- tails ---- */

struct segments {
    size_t length, first, count; /* elements of a segment and of the first one; how many */
};

/* Bytes of `elements` values of `bits` bits as planes. */
static size_t packed_bytes(size_t elements, unsigned bits)
{
    return mmh_divide_up(elements, MMH_GROUP) * 8 * bits;
}

static size_t segment_elements(const struct segments *segments, size_t index, size_t elements,
                               size_t *first)
{
    *first = index ? segments->first + (index - 1) * segments->length : 0;
    size_t wanted = index ? segments->length : segments->first;
    return MMH_MIN(wanted, elements - *first);
}

/* Trailing zero bits of all tails in a run of elements: most runs show at once that there are
 * none, so look at few before looking at all. */
static unsigned tail_zeros(const struct mmh_kernels *kernels, const uint8_t *src, size_t count,
                           const struct mmh_float_type *type)
{
    uint64_t any = 0, all;
    size_t few = MMH_MIN(count, 16);
    for (size_t i = 0; i < few; i++)
        any |= type->bytes == 4 ? mmh_load32(src + 4 * i) : mmh_load64(src + 8 * i);
    if (!(any & 1) && few < count) {
        uint64_t more = 0;
        kernels->bits_used(&more, &all, src, count, type->bytes);
        any |= more;
    }
    return MMH_MIN(mmh_ctz64(any), type->tail_bits);
}

/* Payload bytes of the tails in such segments; zeros[] is filled in. */
static size_t segments_cost(uint8_t *zeros, const struct segments *segments,
                            const struct mmh_encode_job *job, const struct mmh_float_type *type)
{
    size_t bytes = 8 + mmh_round_up(segments->count, 8);
    for (size_t s = 0; s < segments->count; s++) {
        size_t first, n = segment_elements(segments, s, job->elements, &first);
        zeros[s] = (uint8_t)tail_zeros(job->plan->kernels, job->src + first * type->bytes, n, type);
        bytes += packed_bytes(n, type->tail_bits - zeros[s]);
    }
    return bytes;
}

static struct segments cut_segments(size_t elements, size_t length, size_t first)
{
    struct segments cut = { length, first, 1 };
    if (elements > first)
        cut.count += mmh_divide_up(elements - first, length);
    return cut;
}

/* Write tails[plane][element] as segments; returns the bytes. dst has room for them all. */
static size_t segments_encode(uint8_t *dst, const struct segments *segments, const uint8_t *zeros,
                              uint8_t *const tails[3], size_t elements,
                              const struct mmh_float_type *type, const struct mmh_kernels *kernels)
{
    mmh_store32(dst, (uint32_t)segments->length);
    mmh_store32(dst + 4, (uint32_t)segments->first);
    size_t used = 8 + mmh_round_up(segments->count, 8);
    memset(dst + 8, 0, used - 8);
    memcpy(dst + 8, zeros, segments->count);
    for (size_t s = 0; s < segments->count; s++) {
        size_t first, n = segment_elements(segments, s, elements, &first);
        unsigned bits = type->tail_bits - zeros[s];
        /* From the top, 16 bits at a time; a plane of fewer bits comes last. */
        for (unsigned done = 0; done < bits;) {
            unsigned width = MMH_MIN(bits - done, 16u);
            unsigned shift = type->tail_bits - done - width;
            uint16_t part[MMH_GROUP * 16];
            for (size_t i = 0; i < n; i += MMH_COUNT_OF(part)) {
                size_t run = MMH_MIN(n - i, MMH_COUNT_OF(part));
                for (size_t j = 0; j < run; j++) {
                    uint64_t tail = 0;
                    for (unsigned p = 0; p < tail_planes(type); p++)
                        tail = tail << 16 | mmh_load16(tails[p] + 2 * (first + i + j));
                    part[j] = (uint16_t)(tail >> shift);
                }
                /* Planes of 16 or of one power of two can be packed run by run; those of mixed
                 * widths lie plane after plane, so each width is a run of its own. */
                for (unsigned w = 16, left = width, at = 0; w; w /= 2) {
                    if (!(width & w))
                        continue;
                    uint16_t field[MMH_GROUP * 16];
                    left -= w;
                    for (size_t j = 0; j < run; j++)
                        field[j] = (uint16_t)(part[j] >> left & ((1u << w) - 1));
                    kernels->pack_bits(dst + used + packed_bytes(n, at) + packed_bytes(i, w), field,
                                       run, w);
                    at += w;
                }
            }
            used += packed_bytes(n, width);
            done += width;
        }
    }
    return used;
}

static mmh_status segments_decode(uint8_t *const tails[3], size_t elements,
                                  const struct mmh_float_type *type, struct mmh_cursor *in,
                                  const struct mmh_kernels *kernels, mmh_error *err)
{
    struct segments segments;
    segments.length = mmh_cursor_u32(in);
    segments.first = mmh_cursor_u32(in);
    if (segments.length < SEGMENT_MIN || segments.first < 1 || segments.first > segments.length)
        return mmh_fail(err, MMH_E_CORRUPT, "tail segments of %zu elements, the first of %zu",
                        segments.length, segments.first);
    segments = cut_segments(elements, segments.length, segments.first);
    const uint8_t *zeros = mmh_cursor_bytes(in, segments.count);
    bool right = true;
    for (size_t i = segments.count; i % 8; i++)
        right = mmh_cursor_u8(in) == 0 && right;
    if (mmh_cursor_failed(in))
        return mmh_cursor_finish(in, "float chunk", err);
    unsigned planes = tail_planes(type);
    for (size_t s = 0; s < segments.count && right; s++) {
        size_t first, n = segment_elements(&segments, s, elements, &first);
        if (zeros[s] > type->tail_bits)
            return mmh_fail(err, MMH_E_CORRUPT, "tail segment %zu has %u zero bits", s, zeros[s]);
        unsigned bits = type->tail_bits - zeros[s];
        const uint8_t *packed = mmh_cursor_bytes(in, packed_bytes(n, bits));
        if (!packed)
            break;
        if (planes == 1 && bits) {
            /* The whole groups go straight to their place, the rest by way of a group. */
            uint16_t *out = (uint16_t *)(void *)tails[0] + first;
            kernels->unpack_bits(out, packed, n, bits);
            if (zeros[s] || MMH_BIG_ENDIAN) /* tails are little endian */
                for (size_t i = 0; i < n; i++)
                    mmh_store16(out + i, (uint16_t)(out[i] << zeros[s]));
            continue;
        }
        for (unsigned p = 0; p < planes; p++)
            memset(tails[p] + 2 * first, 0, 2 * n);
        for (unsigned done = 0; done < bits;) {
            unsigned width = MMH_MIN(bits - done, 16u);
            unsigned shift = type->tail_bits - done - width;
            uint16_t part[MMH_GROUP];
            /* One group at a time: its fields lie in up to four planes. */
            for (size_t i = 0; i < n; i += MMH_GROUP) {
                size_t run = MMH_MIN(n - i, (size_t)MMH_GROUP);
                uint16_t value[MMH_GROUP] = { 0 };
                for (unsigned w = 16, at = 0; w; w /= 2) {
                    if (!(width & w))
                        continue;
                    kernels->unpack_bits(part, packed + packed_bytes(n, at) + packed_bytes(i, w),
                                         MMH_GROUP, w);
                    for (size_t j = 0; j < run; j++)
                        value[j] = (uint16_t)((unsigned)value[j] << w | part[j]);
                    at += w;
                }
                for (size_t j = 0; j < run; j++) {
                    uint64_t tail = (uint64_t)value[j] << shift;
                    for (unsigned p = 0; p < planes; p++) {
                        uint8_t *at = tails[p] + 2 * (first + i + j);
                        mmh_store16(at, mmh_load16(at) | (uint16_t)(tail >> 16 * (planes - 1 - p)));
                    }
                }
            }
            packed += packed_bytes(n, width);
            done += width;
        }
    }
    if (!right)
        return mmh_fail(err, MMH_E_CORRUPT, "tail segments are damaged");
    return MMH_OK;
}

/* ---- symbols ---- */

void mmh_float_symbols(uint8_t *dst, const struct mmh_kernels *kernels, const uint8_t *src,
                       size_t count, const struct mmh_float_type *type, unsigned q, uint16_t window,
                       uint8_t patch_symbol, uint32_t *patches)
{
    /* Nothing but symbols: with the sign and all mantissa bits taken as constant, no raw bit is
     * left to store. Tails go to a buffer that nobody reads. */
    uint8_t tail_buffer[3][2 * MMH_GROUP * 8 + MMH_KERNEL_SLACK];
    uint8_t *const tails[3] = { tail_buffer[0], tail_buffer[1], tail_buffer[2] };
    const struct mmh_planes planes = { { NULL } };
    struct mmh_split split = mmh_float_split(type, q, window);
    split.sign_mode = 1;
    split.zero_low = (uint8_t)(split.raw_bits - 1);
    split.stored_bits = 0;
    split.patch_symbol = patch_symbol;
    size_t whole = count & ~(size_t)(MMH_GROUP - 1);
    size_t step = type->tail_bits ? MMH_GROUP * 8 : MMH_TIER_BLOCK;
    for (size_t i = 0; i < whole; i += step)
        kernels->split(dst + i, &planes, tails, patches, src + i * type->bytes,
                       MMH_MIN(step, whole - i), &split);
    if (whole < count) {
        uint8_t last[MMH_GROUP * 8] = { 0 };
        memcpy(last, src + whole * type->bytes, (count - whole) * type->bytes);
        kernels->split(dst + whole, &planes, tails, patches, last, MMH_GROUP, &split);
    }
}

/* ---- encoding ---- */

/* Split the whole chunk: symbols and planes into scratch, tails too; *patch_count patches. */
struct parts {
    uint8_t *symbols, *planes;
    uint8_t *tails[3];
    uint32_t *patches;
    size_t patch_count;
};

static mmh_status make_parts(struct parts *parts, const struct float_shape *shape,
                             struct mmh_encode_job *job, const struct mmh_float_type *type,
                             mmh_error *err)
{
    mmh_codec_workspace *workspace = job->workspace;
    size_t padded = shape->groups * MMH_GROUP, tail_bytes = 2 * padded;
    parts->symbols = mmh_workspace_scratch(workspace, MMH_SCRATCH_SYMBOLS, padded + 128);
    parts->planes = mmh_workspace_scratch(workspace, MMH_SCRATCH_PLANES, shape->planes_bytes);
    parts->patches = (uint32_t *)(void *)mmh_workspace_scratch(workspace, MMH_SCRATCH_PATCHES,
                                                               8 * padded);
    uint8_t *tails = mmh_workspace_scratch(workspace, MMH_SCRATCH_TAILS,
                                           tail_planes(type) * (tail_bytes + 64));
    if (!parts->symbols || !parts->planes || !parts->patches || !tails)
        return mmh_fail(err, MMH_E_MEMORY, "encoding %zu floats", shape->elements);
    for (unsigned p = 0; p < 3; p++)
        parts->tails[p] = p < tail_planes(type) ? tails + p * (tail_bytes + 64) : NULL;
    return MMH_OK;
}

static void split_parts(struct parts *parts, const struct float_shape *shape,
                        struct mmh_encode_job *job, const struct mmh_float_type *type)
{
    const struct mmh_kernels *kernels = job->workspace->kernels;
    size_t whole = shape->elements & ~(size_t)(MMH_GROUP - 1);
    struct mmh_planes planes = planes_at(shape, parts->planes, 0);
    parts->patch_count = 0;
    for (unsigned p = 0; p < 4; p++) { /* the zeros between planes */
        unsigned width = 8 >> p;
        size_t used = 8 * width * shape->groups;
        if (planes.plane[p])
            memset(planes.plane[p] + used, 0, mmh_round_up(used, shape->align) - used);
    }
    if (whole)
        parts->patch_count = kernels->split(parts->symbols, &planes, parts->tails, parts->patches,
                                            job->src, whole, &shape->split);
    if (whole == shape->elements)
        return;
    uint8_t last[MMH_GROUP * 8] = { 0 };
    memcpy(last, job->src + whole * type->bytes, (shape->elements - whole) * type->bytes);
    planes = planes_at(shape, parts->planes, whole);
    uint8_t *tails[3] = { NULL };
    for (unsigned p = 0; p < tail_planes(type); p++)
        tails[p] = parts->tails[p] + 2 * whole;
    uint32_t *more = parts->patches + parts->patch_count;
    size_t n = kernels->split(parts->symbols + whole, &planes, tails, more, last, MMH_GROUP,
                              &shape->split);
    for (size_t i = 0; i < n; i++)
        if (whole + more[i] < shape->elements)
            parts->patches[parts->patch_count++] = (uint32_t)whole + more[i];
}

static uint16_t head_at(const uint8_t *src, size_t index, const struct mmh_float_type *type)
{
    return mmh_load16(src + (index + 1) * type->bytes - 2);
}

/* What is constant in the chunk: sign, low mantissa bits, exponent. */
static void examine(struct float_shape *shape, const struct mmh_encode_job *job,
                    const struct mmh_float_type *type)
{
    const struct mmh_kernels *kernels = job->workspace->kernels;
    uint64_t any, all, exponents;
    unsigned top = 8u * type->bytes - 1;
    exponents = (((uint64_t)1 << type->exponent_bits) - 1) << (top - type->exponent_bits);
    /* Most chunks show by their first elements that nothing is: both signs, the lowest bit of the
     * head and more than one exponent are there, whatever follows. */
    kernels->bits_used(&any, &all, job->src, MMH_MIN(job->elements, (size_t)EXAMINED_FIRST),
                       type->bytes);
    if (!(any & ~all & (uint64_t)1 << top) || !(any & (((uint64_t)2 << type->tail_bits) - 1)) ||
        !((any ^ all) & exponents))
        kernels->bits_used(&any, &all, job->src, job->elements, type->bytes);
    shape->sign_mode = !(any >> top & 1) ? 1 : all >> top & 1 ? 2 : 0;
    unsigned zeros = mmh_ctz64(any);
    unsigned most = type->mantissa_bits - shape->q;
    shape->zero_low = zeros <= type->tail_bits ? 0 : MMH_MIN(zeros - type->tail_bits, most);
    if ((any & exponents) == (all & exponents)) {
        unsigned symbol = (unsigned)((any & exponents) >> (top - type->exponent_bits));
        shape->kind = KIND_NONE;
        shape->q = 0;
        shape->zero_low = zeros <= type->tail_bits
                            ? 0
                            : MMH_MIN(zeros - type->tail_bits, type->mantissa_bits);
        shape->window = symbol > 255 ? (uint16_t)(symbol - 255) : 0;
        shape->fill = symbol - shape->window;
        if (!symbol)
            shape->fill = 0;
    }
}

/* Choose tiers from a sampled histogram and write them; fails to MMH_NO_FIT. */
static size_t encode_tiers(uint8_t *dst, size_t room, struct mmh_encode_job *job,
                           const struct parts *parts, mmh_status *status)
{
    const struct mmh_block_plan *plan = job->plan;
    const struct mmh_kernels *kernels = job->workspace->kernels;
    uint32_t histogram[256] = { 0 };
    struct mmh_tiers tiers;
    bool shifted = false;
    *status = MMH_OK;
    if (plan->model && plan->model->kind == MMH_MODEL_SHIFTS && !job->inner) {
        uint8_t *shifts = mmh_workspace_scratch(job->workspace, MMH_SCRATCH_IDS, job->elements);
        *status = shifts ? MMH_OK : MMH_E_MEMORY;
        if (!shifts)
            return MMH_NO_FIT;
        mmh_views_classes(shifts, kernels, plan->model->views, plan->model->view_count,
                          job->chunk->first_element, job->elements, NULL);
        kernels->bytes_subtract(parts->symbols, shifts, job->elements);
        shifted = true;
    }
    size_t stride = job->elements < ALIGN_FROM ? 1 : plan->level == 1 ? 16 : 4;
    kernels->histogram(histogram, parts->symbols, job->elements, stride);
    if (plan->level == 1)
        mmh_tiers_choose(&tiers, histogram, 4, 4);
    else
        mmh_tiers_choose(&tiers, histogram, 1, MMH_TIER_MAX);
    return mmh_tier_symbols_encode(dst, room, job->workspace, parts->symbols, job->elements,
                                   shifted, &tiers, status);
}

static size_t encode_rans(uint8_t *dst, size_t room, struct mmh_encode_job *job,
                          const struct parts *parts, uint8_t *ids, mmh_status *status)
{
    const struct mmh_block_plan *plan = job->plan;
    return mmh_rans_symbols_encode(
        dst, room, job->workspace, parts->symbols, ids, job->elements, plan->tables,
        plan->model->bits, plan->best[0],
        mmh_rans_stripes(job->elements, plan->stripe_log2, plan->stripes), status);
}

/* Plain, one segment, segments that are rows, or blocks: whichever is the smallest. */
static mmh_status choose_segments(struct segments *best, const uint8_t **best_zeros,
                                  size_t *tail_bytes, struct mmh_encode_job *job,
                                  const struct mmh_float_type *type, mmh_error *err)
{
    const struct mmh_block_plan *plan = job->plan;
    size_t n = job->elements;
    size_t most = n / SEGMENT_MIN + 2;
    uint8_t *zeros = mmh_workspace_scratch(job->workspace, MMH_SCRATCH_SEGMENTS, 3 * (most + 64));
    if (!zeros)
        return mmh_fail(err, MMH_E_MEMORY, "tails of %zu elements", n);
    *best = (struct segments){ 0 };
    *tail_bytes = tail_planes(type) * mmh_round_up(mmh_round_up(n, MMH_GROUP) * 2, align_of(n));
    struct segments candidates[3];
    size_t count = 0;
    candidates[count++] = cut_segments(n, MMH_MAX(n, (size_t)SEGMENT_MIN),
                                       MMH_MAX(n, (size_t)SEGMENT_MIN));
    candidates[count++] = cut_segments(n, 256, 256);
    if (plan->row_elements >= SEGMENT_MIN && plan->row_elements < n && !job->inner) {
        uint64_t column = (plan->row_phase + job->chunk->first_element) % plan->row_elements;
        candidates[count++] = cut_segments(n, plan->row_elements,
                                           (size_t)(plan->row_elements - column));
    }
    for (size_t c = 0; c < count; c++) {
        uint8_t *those = zeros + c * (most + 64);
        size_t bytes = mmh_round_up(segments_cost(those, &candidates[c], job, type), align_of(n));
        if (bytes >= *tail_bytes)
            continue;
        *tail_bytes = bytes;
        *best = candidates[c];
        *best_zeros = those;
    }
    return MMH_OK;
}

/* Zeros up to the next multiple of align; returns it. */
static size_t pad(uint8_t *dst, size_t used, size_t align)
{
    size_t end = mmh_round_up(used, align);
    memset(dst + used, 0, end - used);
    return end;
}

static mmh_status float_encode(struct mmh_encode_job *job, mmh_error *err)
{
    const struct mmh_block_plan *plan = job->plan;
    const struct mmh_float_type *type = mmh_float_type(plan->dtype);
    struct float_shape shape = { .elements = job->elements };
    struct parts parts;
    bool rans = plan->try_rans;
    shape.kind = rans ? KIND_RANS : KIND_TIERS;
    shape.q = rans ? plan->q : 0;
    shape.window = rans ? plan->window : plan->tier_window;
    examine(&shape, job, type);
    shape_planes(&shape, type);
    shape.split.patch_symbol = rans ? plan->common : (uint8_t)MMH_MIN(128, 255);
    mmh_status status = make_parts(&parts, &shape, job, type, err);
    if (status)
        return status;
    split_parts(&parts, &shape, job, type);

    uint8_t *ids = NULL;
    if (shape.kind == KIND_RANS) {
        if (!job->inner)
            status = mmh_rans_ids(&ids, job->workspace, plan->model, job->chunk->first_element,
                                  job->elements, err);
        if (!status)
            status = mmh_rans_patch(parts.symbols, parts.patches, &parts.patch_count, ids, job,
                                    job->elements, job->chunk->first_element, err);
        if (status)
            return status;
    }
    struct segments segments = { 0 };
    const uint8_t *zeros = NULL;
    size_t tail_bytes = 0;
    if (type->tail_bits) {
        status = choose_segments(&segments, &zeros, &tail_bytes, job, type, err);
        if (status)
            return status;
        shape.tail_mode = segments.count ? TAIL_SEGMENTS : TAIL_PLAIN;
    }

    size_t room = MMH_MIN(job->limit, job->room);
    size_t fixed = shape.planes_bytes + tail_bytes;
    size_t used = HEADER + mmh_round_up(6 * parts.patch_count, 8);
    if (used + fixed + shape.align > room)
        return MMH_OK;
    uint8_t *dst = job->dst;
    for (size_t i = 0; i < parts.patch_count; i++)
        mmh_store32(dst + HEADER + 4 * i, parts.patches[i]);
    for (size_t i = 0; i < parts.patch_count; i++)
        mmh_store16(dst + HEADER + 4 * parts.patch_count + 2 * i,
                    head_at(job->src, parts.patches[i], type));
    pad(dst, HEADER + 6 * parts.patch_count, 8);

    size_t symbol_bytes = 0;
    size_t symbol_room = room - used - fixed;
    if (shape.kind == KIND_TIERS)
        symbol_bytes = encode_tiers(dst + used, symbol_room, job, &parts, &status);
    else if (shape.kind == KIND_RANS)
        symbol_bytes = encode_rans(dst + used, symbol_room, job, &parts, ids, &status);
    if (status)
        return mmh_fail(err, status, "encoding %zu floats", job->elements);
    if (symbol_bytes == MMH_NO_FIT || mmh_round_up(used + symbol_bytes, shape.align) + fixed > room)
        return MMH_OK;

    dst[0] = (uint8_t)shape.kind;
    dst[1] = (uint8_t)shape.q;
    dst[2] = (uint8_t)shape.sign_mode;
    dst[3] = (uint8_t)shape.zero_low;
    dst[4] = (uint8_t)shape.tail_mode;
    dst[5] = (uint8_t)shape.fill;
    mmh_store16(dst + 6, shape.window);
    mmh_store32(dst + 8, (uint32_t)parts.patch_count);
    mmh_store32(dst + 12, (uint32_t)symbol_bytes);
    used = pad(dst, used + symbol_bytes, shape.align);
    memcpy(dst + used, parts.planes, shape.planes_bytes);
    used += shape.planes_bytes;
    if (shape.tail_mode == TAIL_PLAIN) {
        for (unsigned p = 0; p < tail_planes(type); p++) {
            size_t bytes = shape.groups * MMH_GROUP * 2;
            memcpy(dst + used, parts.tails[p], bytes);
            used = pad(dst, used + bytes, shape.align);
        }
    } else if (shape.tail_mode == TAIL_SEGMENTS) {
        used += segments_encode(dst + used, &segments, zeros, parts.tails, job->elements, type,
                                job->workspace->kernels);
        used = pad(dst, used, shape.align);
    }
    job->bytes = used;
    return MMH_OK;
}

/* ---- decoding ---- */

/* The sections of a payload, found and checked. */
struct sections {
    size_t patch_count;
    const uint8_t *positions, *heads;
    const uint8_t *symbols;
    size_t symbol_bytes;
    const uint8_t *planes;
    const uint8_t *tails[3];
};

static mmh_status read_sections(struct sections *sections, struct float_shape *shape,
                                const struct mmh_decode_job *job, const struct mmh_float_type *type,
                                mmh_error *err)
{
    struct mmh_cursor in;
    mmh_cursor_init(&in, job->src, job->src_bytes);
    *shape = (struct float_shape){ .elements = job->elements };
    shape->kind = mmh_cursor_u8(&in);
    shape->q = mmh_cursor_u8(&in);
    shape->sign_mode = mmh_cursor_u8(&in);
    shape->zero_low = mmh_cursor_u8(&in);
    shape->tail_mode = mmh_cursor_u8(&in);
    shape->fill = mmh_cursor_u8(&in);
    shape->window = mmh_cursor_u16(&in);
    sections->patch_count = mmh_cursor_u32(&in);
    sections->symbol_bytes = mmh_cursor_u32(&in);
    if (mmh_cursor_failed(&in))
        return mmh_cursor_finish(&in, "float chunk", err);
    if (shape->kind > KIND_NONE || shape->q > 2 || shape->sign_mode > 2 ||
        shape->zero_low + shape->q > type->mantissa_bits ||
        (type->tail_bits ? shape->tail_mode != TAIL_PLAIN && shape->tail_mode != TAIL_SEGMENTS
                         : shape->tail_mode != TAIL_NONE) ||
        (shape->fill && shape->kind != KIND_NONE) || shape->window % (1u << shape->q) ||
        (shape->kind == KIND_NONE && sections->symbol_bytes) ||
        sections->patch_count > job->elements)
        return mmh_fail(err, MMH_E_CORRUPT, "float chunk header is damaged");
    shape_planes(shape, type);
    sections->positions = mmh_cursor_bytes(&in, 4 * sections->patch_count);
    sections->heads = mmh_cursor_bytes(&in, 2 * sections->patch_count);
    bool zeros = mmh_cursor_pad(&in, 8);
    sections->symbols = mmh_cursor_bytes(&in, sections->symbol_bytes);
    zeros = mmh_cursor_pad(&in, shape->align) && zeros;
    sections->planes = mmh_cursor_bytes(&in, shape->planes_bytes);
    if (mmh_cursor_failed(&in))
        return mmh_cursor_finish(&in, "float chunk", err);
    for (unsigned p = 0; p < 4; p++) {
        unsigned width = 8 >> p;
        size_t used = 8 * width * shape->groups;
        if (shape->split.stored_bits & width)
            for (size_t i = used; i < mmh_round_up(used, shape->align); i++)
                zeros = zeros && !sections->planes[shape->plane_offset[p] + i];
    }
    size_t padded = shape->groups * MMH_GROUP;
    if (shape->tail_mode == TAIL_PLAIN) {
        for (unsigned p = 0; p < tail_planes(type); p++) {
            sections->tails[p] = mmh_cursor_bytes(&in, 2 * padded);
            zeros = mmh_cursor_pad(&in, shape->align) && zeros;
        }
    } else if (shape->tail_mode == TAIL_SEGMENTS) {
        size_t stride = 2 * padded + MMH_KERNEL_SLACK;
        uint8_t *tails = mmh_workspace_scratch(job->workspace, MMH_SCRATCH_TAILS,
                                               tail_planes(type) * stride);
        if (!tails)
            return mmh_fail(err, MMH_E_MEMORY, "tails of %zu floats", job->elements);
        uint8_t *out[3] = { tails, tails + stride, tails + 2 * stride };
        mmh_status status = segments_decode(out, job->elements, type, &in, job->workspace->kernels,
                                            err);
        if (status)
            return status;
        for (unsigned p = 0; p < tail_planes(type); p++) {
            /* merge reads whole groups */
            memset(out[p] + 2 * job->elements, 0, 2 * (padded - job->elements));
            sections->tails[p] = out[p];
        }
        zeros = mmh_cursor_pad(&in, shape->align) && zeros;
    }
    if (!zeros)
        return mmh_fail(err, MMH_E_CORRUPT, "float chunk: padding is not zero");
    return mmh_cursor_finish(&in, "float chunk", err);
}

/* Where the chunk's elements go; whoever uses it fences the stores. */
static struct mmh_merge merge_of(const struct mmh_decode_job *job, const struct float_shape *shape,
                                 const struct sections *sections)
{
    struct mmh_merge merge = {
        .dst = job->dst,
        .planes = planes_at(shape, (uint8_t *)(uintptr_t)sections->planes, 0), /* only read */
        .split = &shape->split,
        .stream = job->stream ? MMH_STREAM_MORE : MMH_STREAM_OFF,
    };
    memcpy(merge.tails, sections->tails, sizeof merge.tails);
    return merge;
}

static mmh_status decode_tiers(const struct mmh_decode_job *job, const struct float_shape *shape,
                               const struct sections *sections, mmh_error *err)
{
    const struct mmh_kernels *kernels = job->workspace->kernels;
    const struct mmh_model *model = job->model;
    struct mmh_tier_section section;
    mmh_status status = mmh_tier_section_read(&section, sections->symbols, sections->symbol_bytes,
                                              job->elements, err);
    if (status)
        return status;
    if (section.shifted && (!model || model->kind != MMH_MODEL_SHIFTS || job->inner ||
                            job->chunk->first_element > model->elements ||
                            job->elements > model->elements - job->chunk->first_element))
        return mmh_fail(err, MMH_E_CORRUPT, "shifted tiers without a model that fits");
    size_t block_room = MMH_TIER_BLOCK * 3;
    uint8_t *scratch = mmh_workspace_scratch(job->workspace, MMH_SCRATCH_TIERS,
                                             2 * (MMH_TIER_BLOCK + MMH_KERNEL_SLACK));
    uint8_t *symbols = mmh_workspace_scratch(job->workspace, MMH_SCRATCH_SYMBOLS, MMH_TIER_BLOCK);
    uint8_t *shifts = mmh_workspace_scratch(job->workspace, MMH_SCRATCH_IDS, MMH_TIER_BLOCK);
    uint8_t *copy = mmh_workspace_scratch(job->workspace, MMH_SCRATCH_SECTION, block_room);
    if (!scratch || !symbols || !shifts || !copy)
        return mmh_fail(err, MMH_E_MEMORY, "decoding %zu floats", job->elements);
    const uint8_t *end = job->src + job->src_bytes;
    const struct mmh_merge merge = merge_of(job, shape, sections);
    for (size_t first = 0; first < job->elements; first += MMH_TIER_BLOCK) {
        size_t n = MMH_MIN(MMH_TIER_BLOCK, job->elements - first), bytes;
        uint16_t counts[MMH_TIER_MAX + 1];
        const uint8_t *block = mmh_tier_block(&section, first / MMH_TIER_BLOCK, &bytes, counts);
        if ((size_t)(end - block) < bytes + MMH_KERNEL_SLACK) /* the kernel reads a bit further */
            block = memcpy(copy, block, bytes);
        bool at_once = !section.shifted && n % MMH_GROUP == 0, right;
        if (at_once) {
            struct mmh_merge part = mmh_merge_at(&merge, first);
            right = kernels->tier_merge(&part, block, counts, &section.tiers, symbols, scratch);
        } else {
            right = kernels->tier_decode(symbols, block, counts, &section.tiers, scratch);
        }
        if (!right)
            return mmh_fail(err, MMH_E_CORRUPT, "tier block %zu is damaged",
                            first / MMH_TIER_BLOCK);
        if (section.shifted) {
            mmh_views_classes(shifts, kernels, model->views, model->view_count,
                              job->chunk->first_element + first, n, NULL);
            kernels->bytes_add(symbols, shifts, n);
        }
        if (!at_once)
            mmh_merge_symbols(kernels->merge, &merge, first, symbols, n);
    }
    return MMH_OK;
}

static mmh_status decode_rans(const struct mmh_decode_job *job, const struct float_shape *shape,
                              const struct sections *sections, mmh_error *err)
{
    const struct mmh_model *model = job->model;
    if (!model || model->kind != MMH_MODEL_RANS ||
        (job->inner && (model->view_count || model->table_count != 1)))
        return mmh_fail(err, MMH_E_CORRUPT, "rans floats without a model that fits");
    uint8_t *ids = NULL;
    mmh_status status = MMH_OK;
    if (!job->inner)
        status = mmh_rans_ids(&ids, job->workspace, model, job->chunk->first_element, job->elements,
                              err);
    if (status)
        return status;
    uint8_t *symbols = mmh_workspace_scratch(job->workspace, MMH_SCRATCH_SYMBOLS,
                                             MMH_RANS_MERGE_SCRATCH);
    if (!symbols)
        return mmh_fail(err, MMH_E_MEMORY, "decoding %zu floats", job->elements);
    const struct mmh_merge merge = merge_of(job, shape, sections);
    if (shape->split.element_bytes ==
        2) /* wider ones do not fit in the cache, and tails stream well */
        mmh_read_through(job->src, job->src_bytes);
    return mmh_rans_symbols_decode(symbols, &merge, ids, job->elements, sections->symbols,
                                   sections->symbol_bytes, model, job->workspace->kernels, err);
}

static mmh_status decode_fill(const struct mmh_decode_job *job, const struct float_shape *shape,
                              const struct sections *sections, mmh_error *err)
{
    uint8_t *symbols = mmh_workspace_scratch(job->workspace, MMH_SCRATCH_SYMBOLS, MMH_TIER_BLOCK);
    if (!symbols)
        return mmh_fail(err, MMH_E_MEMORY, "decoding %zu floats", job->elements);
    memset(symbols, (int)shape->fill, MMH_TIER_BLOCK);
    const struct mmh_merge merge = merge_of(job, shape, sections);
    for (size_t first = 0; first < job->elements; first += MMH_TIER_BLOCK)
        mmh_merge_symbols(job->workspace->kernels->merge, &merge, first, symbols,
                          MMH_MIN(MMH_TIER_BLOCK, job->elements - first));
    return MMH_OK;
}

static mmh_status float_decode(const struct mmh_decode_job *job, mmh_error *err)
{
    const struct mmh_float_type *type = mmh_float_type(job->chunk->dtype);
    struct float_shape shape;
    struct sections sections = { 0 };
    if (!type || job->elements > MMH_CHUNK_ELEMENTS)
        return mmh_fail(err, MMH_E_CORRUPT, "float chunk of %zu elements of type %u", job->elements,
                        (unsigned)job->chunk->dtype);
    mmh_status status = read_sections(&sections, &shape, job, type, err);
    if (status)
        return status;
    status = (shape.kind == KIND_TIERS  ? decode_tiers
              : shape.kind == KIND_RANS ? decode_rans
                                        : decode_fill)(job, &shape, &sections, err);
    if (job->stream)
        job->workspace->kernels->fence(); /* patches follow, and who reads the elements */
    if (status)
        return status;
    uint32_t least = 0;
    for (size_t i = 0; i < sections.patch_count; i++) {
        uint32_t at = mmh_load32(sections.positions + 4 * i);
        if (at < least || at >= job->elements)
            return mmh_fail(err, MMH_E_CORRUPT, "patch %zu is at element %u", i, at);
        least = at + 1;
        memcpy(job->dst + ((size_t)at + 1) * type->bytes - 2, sections.heads + 2 * i, 2);
    }
    return MMH_OK;
}

const struct mmh_codec mmh_codec_float = { "float", float_encode, float_decode };
