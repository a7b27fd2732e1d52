/*
 * Codec 11: elements of one type among other bytes, each of the two coded together.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Small tensors stand between the headers of their file's format: alone each would need a block, and
 * so would every header. Layout: docs/format.md section 14.
 */
#include "codec/codec_private.h"

enum { HEADER = 16, ALIGN = 8, MODEL_HEADER = 8, REST_RATIO = 4 };

/* ---- taking apart ---- */

/* Elements of the runs into `elements`, little-endian. */
static void gather(uint8_t *elements, const uint8_t *src, const struct mmh_mixed_plan *mixed)
{
    size_t width = mmh_dtype_scalar_bytes(mixed->dtype), count = 0;
    for (size_t r = 0; r < mixed->run_count; r++) {
        size_t bytes = mixed->runs[r].elements * width;
        src += mixed->runs[r].other_bytes;
        memcpy(elements + count * width, src, bytes);
        src += bytes;
        count += mixed->runs[r].elements;
    }
    if (mixed->big_endian && width > 1)
        mmh_kernels_get()->swap_bytes(elements, elements, count, (unsigned)width);
}

static size_t put_varint(uint8_t *dst, uint32_t value)
{
    size_t bytes = 0;
    for (; value > 127; value >>= 7)
        dst[bytes++] = (uint8_t)(value | 128);
    dst[bytes++] = (uint8_t)value;
    return bytes;
}

/* The list of runs, then the other bytes: returns how many, or 0 if they would be too many. `rest`
 * has room for REST_RATIO * bytes + MMH_VARINT_MAX. */
static size_t gather_rest(uint8_t *rest, const uint8_t *src, size_t bytes,
                          const struct mmh_mixed_plan *mixed)
{
    size_t width = mmh_dtype_scalar_bytes(mixed->dtype), used = 0, at = 0,
           most = REST_RATIO * bytes;
    for (size_t r = 0; r < mixed->run_count; r++) {
        if (used + (size_t)2 * MMH_VARINT_MAX > most)
            return 0;
        used += put_varint(rest + used, mixed->runs[r].other_bytes);
        used += put_varint(rest + used, mixed->runs[r].elements);
    }
    for (size_t r = 0; r < mixed->run_count; r++) {
        size_t other = mixed->runs[r].other_bytes;
        if (used + other > most)
            return 0;
        memcpy(rest + used, src + at, other);
        used += other;
        at += other + mixed->runs[r].elements * width;
    }
    if (used + (bytes - at) > most)
        return 0;
    memcpy(rest + used, src + at, bytes - at);
    return used + (bytes - at);
}

/* Encode the rest with what its plan tries, or store it: into dst [room]. */
static mmh_status encode_rest(size_t *used, unsigned *codec_id, uint8_t *dst, size_t room,
                              const struct mmh_encode_job *job, const uint8_t *rest, size_t bytes,
                              mmh_error *err)
{
    static const unsigned tried[] = { MMH_CODEC_ZSTD, MMH_CODEC_LZMA };
    struct mmh_chunk chunk = { .dtype = MMH_DTYPE_OPAQUE, .bytes = bytes };
    *codec_id = MMH_CODEC_STORE;
    *used = bytes;
    for (size_t i = 0; i < (job->plan->level == 9 ? 2u : 1u); i++) {
        struct mmh_encode_job trial = *job;
        trial.src = rest;
        trial.chunk = &chunk;
        trial.elements = bytes;
        trial.dst = mmh_workspace_scratch(job->workspace, MMH_SCRATCH_TRIAL,
                                          mmh_chunk_bound(bytes));
        if (!trial.dst)
            return mmh_fail(err, MMH_E_MEMORY, "encoding a part of %zu bytes", bytes);
        trial.room = mmh_chunk_bound(bytes);
        trial.limit = MMH_MIN(*used - 1, room);
        trial.bytes = MMH_NO_FIT;
        mmh_status status = mmh_codec_at(tried[i])->encode(&trial, err);
        if (status)
            return status;
        if (trial.bytes == MMH_NO_FIT)
            continue;
        memcpy(dst, trial.dst, trial.bytes);
        *used = trial.bytes;
        *codec_id = tried[i];
    }
    if (*codec_id == MMH_CODEC_STORE && bytes <= room)
        memcpy(dst, rest, bytes);
    if (*used > room)
        *used = MMH_NO_FIT;
    return MMH_OK;
}

static mmh_status mixed_encode(struct mmh_encode_job *job, mmh_error *err)
{
    const struct mmh_mixed_plan *mixed = job->plan->mixed;
    size_t bytes = job->chunk->bytes, room = MMH_MIN(job->limit, job->room);
    struct mmh_chunk chunk = { .dtype = mixed->dtype,
                               .bytes = (size_t)mixed->plan.elements *
                                        mmh_dtype_scalar_bytes(mixed->dtype) };
    if (job->chunk->first_element || bytes != job->plan->bytes)
        return MMH_OK;
    uint8_t *elements = mmh_workspace_scratch(job->workspace, MMH_SCRATCH_FIELD, chunk.bytes);
    uint8_t *rest = mmh_workspace_scratch(job->workspace, MMH_SCRATCH_REST,
                                          REST_RATIO * bytes + MMH_VARINT_MAX);
    if (!elements || !rest)
        return mmh_fail(err, MMH_E_MEMORY, "encoding a mixed chunk of %zu bytes", bytes);
    gather(elements, job->src, mixed);
    struct mmh_encode_job part;
    unsigned codec_id = MMH_CODEC_STORE, rest_codec_id;
    mmh_status status = mmh_encode_within(&part, &codec_id, &mixed->plan, job->workspace, &chunk,
                                          elements, err);
    if (status)
        return status;
    size_t rest_bytes = gather_rest(rest, job->src, bytes, mixed);
    size_t end = mmh_round_up(HEADER + part.bytes, ALIGN), used;
    if (!rest_bytes || end >= room)
        return MMH_OK;
    memset(job->dst, 0, HEADER);
    memcpy(job->dst + HEADER, part.dst, part.bytes);
    memset(job->dst + HEADER + part.bytes, 0, end - HEADER - part.bytes);
    status = encode_rest(&used, &rest_codec_id, job->dst + end, room - end, job, rest, rest_bytes,
                         err);
    if (status || used == MMH_NO_FIT)
        return status;
    job->dst[0] = (uint8_t)codec_id;
    job->dst[1] = (uint8_t)rest_codec_id;
    mmh_store32(job->dst + 4, (uint32_t)part.bytes);
    mmh_store32(job->dst + 8, (uint32_t)rest_bytes);
    job->bytes = end + used;
    return MMH_OK;
}

/* ---- putting together ---- */

static mmh_status decode_part(uint8_t *dst, const struct mmh_decode_job *job, unsigned codec_id,
                              const struct mmh_chunk *chunk, const struct mmh_model *model,
                              const uint8_t *src, size_t src_bytes, mmh_error *err)
{
    unsigned width = mmh_dtype_scalar_bytes(chunk->dtype);
    const struct mmh_decode_job inner = {
        .workspace = job->workspace,
        .chunk = chunk,
        .src = src,
        .src_bytes = src_bytes,
        .model = model,
        .dst = dst,
        .elements = chunk->bytes / width,
        .element_bytes = width,
    };
    return mmh_codec_at(codec_id)->decode(&inner, err);
}

/* Lay the runs out in dst: elements and other bytes in turn. */
static mmh_status scatter(uint8_t *dst, size_t bytes, const uint8_t *elements,
                          const struct mmh_model *model, const uint8_t *rest, size_t rest_bytes,
                          mmh_error *err)
{
    size_t width = mmh_dtype_scalar_bytes(model->within_dtype), at = 0;
    uint64_t left = model->within_elements, total = left * width;
    struct mmh_cursor runs, other;
    mmh_cursor_init(&runs, rest, rest_bytes);
    for (uint64_t sum = 0; left;) { /* once through the list, for where the other bytes begin */
        uint64_t other_bytes = mmh_cursor_varint(&runs), count = mmh_cursor_varint(&runs);
        if (mmh_cursor_failed(&runs) || !count || count > left || other_bytes > bytes - total - sum)
            return mmh_fail(err, MMH_E_CORRUPT, "the runs of a mixed chunk are damaged");
        left -= count;
        sum += other_bytes;
    }
    other = runs;
    if (mmh_cursor_left(&other) != bytes - total)
        return mmh_fail(err, MMH_E_CORRUPT, "a mixed chunk has %zu other bytes, not %zu",
                        mmh_cursor_left(&other), (size_t)(bytes - total));
    mmh_cursor_init(&runs, rest, rest_bytes);
    for (left = model->within_elements; left;) {
        size_t other_bytes = (size_t)mmh_cursor_varint(&runs);
        size_t count = (size_t)mmh_cursor_varint(&runs);
        mmh_cursor_copy(&other, dst + at, other_bytes);
        at += other_bytes;
        memcpy(dst + at, elements, count * width);
        if (model->within_big_endian && width > 1)
            mmh_kernels_get()->swap_bytes(dst + at, dst + at, count, (unsigned)width);
        at += count * width;
        elements += count * width;
        left -= count;
    }
    mmh_cursor_copy(&other, dst + at, bytes - at);
    return MMH_OK;
}

static mmh_status mixed_decode(const struct mmh_decode_job *job, mmh_error *err)
{
    const struct mmh_model *model = job->model;
    size_t bytes = job->chunk->bytes;
    if (!model || model->kind != MMH_MODEL_MIXED || job->chunk->dtype != MMH_DTYPE_OPAQUE ||
        job->chunk->first_element || bytes != model->elements)
        return mmh_fail(err, MMH_E_CORRUPT, "a mixed chunk without a model that fits");
    struct mmh_cursor in;
    mmh_cursor_init(&in, job->src, job->src_bytes);
    unsigned codec_id = mmh_cursor_u8(&in), rest_codec_id = mmh_cursor_u8(&in);
    bool zeros = mmh_cursor_u16(&in) == 0;
    size_t part_bytes = mmh_cursor_u32(&in), rest_bytes = mmh_cursor_u32(&in);
    zeros = mmh_cursor_u32(&in) == 0 && zeros;
    const uint8_t *part = mmh_cursor_bytes(&in, part_bytes);
    zeros = mmh_cursor_pad(&in, ALIGN) && zeros;
    if (mmh_cursor_failed(&in))
        return mmh_cursor_finish(&in, "mixed chunk", err);
    bool known = mmh_codec_at(codec_id) && codec_id < MMH_CODEC_FIELDS &&
                 (rest_codec_id == MMH_CODEC_STORE || rest_codec_id == MMH_CODEC_ZSTD ||
                  rest_codec_id == MMH_CODEC_LZMA);
    if (!zeros || !known || rest_bytes > REST_RATIO * bytes)
        return mmh_fail(err, MMH_E_CORRUPT, "the header of a mixed chunk is damaged");
    struct mmh_chunk chunk = { .dtype = model->within_dtype,
                               .bytes = (size_t)model->within_elements *
                                        mmh_dtype_scalar_bytes(model->within_dtype) };
    struct mmh_chunk other = { .dtype = MMH_DTYPE_OPAQUE, .bytes = rest_bytes };
    uint8_t *elements = mmh_workspace_scratch(job->workspace, MMH_SCRATCH_FIELD, chunk.bytes);
    uint8_t *rest = mmh_workspace_scratch(job->workspace, MMH_SCRATCH_REST, rest_bytes);
    if (!elements || !rest)
        return mmh_fail(err, MMH_E_MEMORY, "decoding a mixed chunk of %zu bytes", bytes);
    mmh_status status = decode_part(elements, job, codec_id, &chunk, model->within, part,
                                    part_bytes, err);
    if (!status)
        status = decode_part(rest, job, rest_codec_id, &other, NULL,
                             job->src + mmh_cursor_position(&in), mmh_cursor_left(&in), err);
    return status ? status : scatter(job->dst, bytes, elements, model, rest, rest_bytes, err);
}

const struct mmh_codec mmh_codec_mixed = { "mixed", mixed_encode, mixed_decode };

/* ---- models ---- */

mmh_status mmh_model_mixed_read(struct mmh_model *model, const uint8_t *payload,
                                size_t payload_bytes, mmh_error *err)
{
    struct mmh_cursor in;
    mmh_cursor_init(&in, payload, payload_bytes);
    mmh_cursor_skip(&in, 1);
    model->within_dtype = (mmh_dtype)mmh_cursor_u8(&in);
    unsigned flags = mmh_cursor_u16(&in);
    model->within_elements = mmh_cursor_u32(&in);
    if (mmh_cursor_failed(&in))
        return mmh_cursor_finish(&in, "model", err);
    unsigned width = mmh_dtype_scalar_bytes(model->within_dtype);
    size_t own_bytes = mmh_cursor_left(&in);
    const uint8_t *own = mmh_cursor_bytes(&in, own_bytes);
    if (!mmh_dtype_known(model->within_dtype))
        return mmh_fail(err, MMH_E_UNSUPPORTED, "a mixed block of unknown element type %u",
                        (unsigned)model->within_dtype);
    if (flags > 1 || model->within_dtype == MMH_DTYPE_OPAQUE ||
        mmh_dtype_scalar(model->within_dtype) != model->within_dtype || !model->within_elements ||
        model->within_elements > MMH_CHUNK_ELEMENTS ||
        (uint64_t)model->within_elements * width > model->elements ||
        (own_bytes && mmh_model_holds_models(own[0])))
        return mmh_fail(err, MMH_E_CORRUPT, "the model of a mixed block is damaged");
    model->kind = MMH_MODEL_MIXED;
    model->within_big_endian = flags & 1;
    return own_bytes ? mmh_model_create(&model->within, own, own_bytes, model->within_elements,
                                        model->allocator, err)
                     : MMH_OK;
}

/* ---- planning ---- */

void mmh_mixed_plan_forget(mmh_codec_workspace *workspace)
{
    if (!workspace->mixed)
        return;
    mmh_model_destroy(workspace->mixed->plan.model);
    workspace->mixed->plan.model = NULL;
}

void mmh_mixed_plan_release(mmh_codec_workspace *workspace)
{
    mmh_mixed_plan_forget(workspace);
    if (workspace->mixed)
        mmh_free(workspace->allocator, workspace->mixed->tables);
    mmh_free(workspace->allocator, workspace->mixed);
}

/* Elements of the runs; 0 if those and the block do not fit each other. */
static uint64_t count_elements(const struct mmh_block_hint *hint, size_t bytes)
{
    uint64_t elements = 0, used = 0;
    unsigned width = mmh_dtype_scalar_bytes(hint->mixed);
    for (size_t r = 0; r < hint->run_count; r++) {
        elements += hint->runs[r].elements;
        used += hint->runs[r].other_bytes + (uint64_t)hint->runs[r].elements * width;
        if (!hint->runs[r].elements || used > bytes || elements > MMH_CHUNK_ELEMENTS)
            return 0;
    }
    return elements;
}

mmh_status mmh_mixed_plan_make(struct mmh_block_plan *plan, const uint8_t **model,
                               size_t *model_bytes, uint64_t *floor_bits,
                               mmh_codec_workspace *workspace, const uint8_t *data, size_t bytes,
                               const struct mmh_block_hint *hint, mmh_error *err)
{
    uint64_t count = count_elements(hint, bytes);
    size_t element_bytes = (size_t)count * mmh_dtype_scalar_bytes(hint->mixed);
    if (hint->dtype != MMH_DTYPE_OPAQUE || !count)
        return mmh_fail(err, MMH_E_USAGE, "a mixed block of %zu bytes", bytes);
    if (!workspace->mixed)
        workspace->mixed = mmh_alloc_array(workspace->allocator, 1, sizeof *workspace->mixed);
    struct mmh_mixed_plan *mixed = workspace->mixed;
    uint8_t *elements = mmh_workspace_scratch(workspace, MMH_SCRATCH_FIELD, element_bytes);
    if (!mixed || !elements)
        return mmh_fail(err, MMH_E_MEMORY, "planning a block of %zu bytes", bytes);
    mixed->dtype = hint->mixed;
    mixed->big_endian = hint->mixed_big_endian;
    mixed->runs = hint->runs;
    mixed->run_count = hint->run_count;
    gather(elements, data, mixed);
    struct mmh_block_part flat = { .elements = count };
    struct mmh_block_hint own = { .dtype = hint->mixed,
                                  .parts = hint->part_count ? hint->parts : &flat,
                                  .part_count = hint->part_count ? hint->part_count : 1,
                                  .level = hint->level };
    const uint8_t *payload;
    size_t payload_bytes;
    struct mmh_rans_encode_table *tables = workspace->tables; /* as fields have them */
    workspace->tables = mixed->tables;
    mmh_status status = mmh_block_plan_scalar(&mixed->plan, &payload, &payload_bytes, floor_bits,
                                              workspace, elements, element_bytes, &own, err);
    mixed->tables = workspace->tables;
    workspace->tables = tables;
    mmh_plan_look(&mixed->plan);
    *floor_bits += 8 * (uint64_t)(bytes - element_bytes);
    uint8_t header[MODEL_HEADER] = { MMH_MODEL_MIXED, (uint8_t)mixed->dtype,
                                     (uint8_t)mixed->big_endian };
    mmh_store32(header + 4, (uint32_t)count);
    if (!status)
        status = mmh_workspace_append(workspace, MMH_SCRATCH_FIELD_MODEL, 0, header, sizeof header,
                                      err);
    if (!status)
        status = mmh_workspace_append(workspace, MMH_SCRATCH_FIELD_MODEL, sizeof header, payload,
                                      payload_bytes, err);
    if (status)
        return status;
    plan->mixed = mixed;
    *model_bytes = sizeof header + payload_bytes;
    *model = mmh_workspace_scratch(workspace, MMH_SCRATCH_FIELD_MODEL, *model_bytes);
    return mmh_model_create(&plan->model, *model, *model_bytes, bytes, workspace->allocator, err);
}
