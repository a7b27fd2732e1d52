/*
 * Codec 10: records taken apart, each field coded by a codec and a model of its own.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Layout: docs/format.md section 13.
 */
#include "codec/codec_private.h"

enum { HEADER = 8, ALIGN = 8 };

/* One field of a chunk: its elements as a chunk of its own. */
static struct mmh_chunk field_chunk(const struct mmh_chunk *chunk, const struct mmh_field *field,
                                    unsigned record_bytes)
{
    return (struct mmh_chunk){
        .dtype = (mmh_dtype)field->dtype,
        .first_element = chunk->first_element / record_bytes * field->elements,
        .bytes = chunk->bytes / record_bytes * field->elements * mmh_field_element_bytes(field),
    };
}

static mmh_status fields_encode(struct mmh_encode_job *job, mmh_error *err)
{
    const struct mmh_fields_plan *plan = job->plan->fields;
    unsigned record_bytes = plan->layout.record_bytes, count = plan->layout.count;
    size_t records = job->chunk->bytes / record_bytes, room = MMH_MIN(job->limit, job->room);
    size_t used = (size_t)count * HEADER;
    if (used > room || job->chunk->bytes % record_bytes ||
        job->chunk->first_element % record_bytes ||
        records * mmh_fields_most(&plan->layout) > MMH_CHUNK_ELEMENTS)
        return MMH_OK;
    for (unsigned f = 0; f < count; f++) {
        const struct mmh_field *field = &plan->layout.fields[f];
        struct mmh_chunk chunk = field_chunk(job->chunk, field, record_bytes);
        uint8_t *elements = mmh_workspace_scratch(job->workspace, MMH_SCRATCH_FIELD, chunk.bytes);
        if (!elements)
            return mmh_fail(err, MMH_E_MEMORY, "encoding a field of %zu bytes", chunk.bytes);
        mmh_field_gather(elements, job->src, records, record_bytes, field);
        struct mmh_encode_job part;
        unsigned codec_id = MMH_CODEC_STORE;
        mmh_status status = mmh_encode_within(&part, &codec_id, &plan->plans[f], job->workspace,
                                              &chunk, elements, err);
        if (status)
            return status;
        size_t end = mmh_round_up(used + part.bytes, ALIGN);
        if (end > room)
            return MMH_OK;
        memcpy(job->dst + used, part.dst, part.bytes);
        memset(job->dst + used + part.bytes, 0, end - used - part.bytes);
        mmh_store32(job->dst + (size_t)f * HEADER, codec_id);
        mmh_store32(job->dst + (size_t)f * HEADER + 4, (uint32_t)part.bytes);
        used = end;
    }
    job->bytes = used;
    return MMH_OK;
}

static mmh_status decode_field(const struct mmh_decode_job *job, struct mmh_cursor *headers,
                               struct mmh_cursor *in, const struct mmh_model_field *part,
                               unsigned record_bytes, mmh_error *err)
{
    const struct mmh_field *field = &part->field;
    struct mmh_chunk chunk = field_chunk(job->chunk, field, record_bytes);
    unsigned codec_id = mmh_cursor_u8(headers);
    bool zeros = mmh_cursor_u8(headers) == 0;
    zeros = mmh_cursor_u16(headers) == 0 && zeros;
    size_t bytes = mmh_cursor_u32(headers);
    const uint8_t *src = mmh_cursor_bytes(in, bytes);
    zeros = mmh_cursor_pad(in, ALIGN) && zeros;
    if (mmh_cursor_failed(in))
        return mmh_cursor_finish(in, "fields chunk", err);
    if (!zeros || (codec_id == MMH_CODEC_BYTE_PAIRS && chunk.first_element % 2))
        return mmh_fail(err, MMH_E_CORRUPT, "fields header is damaged");
    const struct mmh_codec *codec = mmh_codec_at(codec_id);
    if (!codec || codec_id == MMH_CODEC_FIELDS)
        return mmh_fail(err, MMH_E_CORRUPT, "a field is coded by codec %u", codec_id);
    uint8_t *elements = mmh_workspace_scratch(job->workspace, MMH_SCRATCH_FIELD, chunk.bytes);
    if (!elements)
        return mmh_fail(err, MMH_E_MEMORY, "decoding a field of %zu bytes", chunk.bytes);
    unsigned element_bytes = mmh_field_element_bytes(field);
    const struct mmh_decode_job inner = {
        .workspace = job->workspace,
        .chunk = &chunk,
        .src = src,
        .src_bytes = bytes,
        .model = part->model,
        .dst = elements,
        .elements = chunk.bytes / element_bytes,
        .element_bytes = element_bytes,
    };
    mmh_status status = codec->decode(&inner, err);
    if (!status)
        mmh_field_scatter(job->dst, elements, job->chunk->bytes / record_bytes, record_bytes,
                          field);
    return status;
}

static mmh_status fields_decode(const struct mmh_decode_job *job, mmh_error *err)
{
    const struct mmh_model *model = job->model;
    if (!model || model->kind != MMH_MODEL_FIELDS || job->chunk->dtype != MMH_DTYPE_OPAQUE)
        return mmh_fail(err, MMH_E_CORRUPT, "fields without a model that fits");
    unsigned record_bytes = model->record_bytes;
    size_t records = job->chunk->bytes / record_bytes;
    if (job->chunk->bytes % record_bytes || job->chunk->first_element % record_bytes)
        return mmh_fail(err, MMH_E_CORRUPT, "fields chunk of %zu bytes, records of %u",
                        job->chunk->bytes, record_bytes);
    struct mmh_cursor headers, in;
    mmh_cursor_init(&in, job->src, job->src_bytes);
    headers = mmh_cursor_part(&in, (size_t)model->field_count * HEADER);
    mmh_status status = MMH_OK;
    for (unsigned f = 0; f < model->field_count && !status; f++) {
        if (records * model->fields[f].field.elements > MMH_CHUNK_ELEMENTS)
            return mmh_fail(err, MMH_E_CORRUPT, "fields chunk of %zu records", records);
        status = decode_field(job, &headers, &in, &model->fields[f], record_bytes, err);
    }
    return status ? status : mmh_cursor_finish(&in, "fields chunk", err);
}

const struct mmh_codec mmh_codec_fields = { "fields", fields_encode, fields_decode };
