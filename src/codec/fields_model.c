/*
 * Models of records: planned field by field, written and read.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Layout: docs/format.md section 9, kind 4.
 */
#include "codec/codec_private.h"

enum { HEADER = 4, FIELD = 16, MODEL_AT = 12 };

/* ---- reading ---- */

static mmh_status read_layout(struct mmh_fields *layout, struct mmh_cursor *in,
                              uint32_t model_bytes[MMH_FIELDS_MAX], mmh_error *err)
{
    mmh_cursor_skip(in, 1);
    layout->count = mmh_cursor_u8(in);
    layout->record_bytes = mmh_cursor_u16(in);
    bool zeros = layout->count <= MMH_FIELDS_MAX;
    for (unsigned f = 0; f < layout->count && zeros; f++) {
        struct mmh_field *field = &layout->fields[f];
        field->dtype = mmh_cursor_u8(in);
        field->piece_count = mmh_cursor_u8(in);
        field->elements = mmh_cursor_u16(in);
        for (unsigned p = 0; p < MMH_FIELD_PIECES_MAX; p++) {
            struct mmh_field_piece *piece = &field->pieces[p];
            piece->offset = mmh_cursor_u16(in);
            piece->bits = mmh_cursor_u8(in);
            piece->group = mmh_cursor_u8(in);
            if (p >= field->piece_count)
                zeros = zeros && !piece->offset && !piece->bits && !piece->group;
        }
        model_bytes[f] = mmh_cursor_u32(in);
    }
    if (mmh_cursor_failed(in))
        return mmh_cursor_finish(in, "model", err);
    for (unsigned f = 0; f < layout->count && zeros; f++)
        if (!mmh_dtype_known((mmh_dtype)layout->fields[f].dtype))
            return mmh_fail(err, MMH_E_UNSUPPORTED, "a field of unknown element type %u",
                            layout->fields[f].dtype);
    if (!zeros || !mmh_fields_valid(layout))
        return mmh_fail(err, MMH_E_CORRUPT, "the fields of a model are damaged");
    return MMH_OK;
}

mmh_status mmh_model_fields_read(struct mmh_model *model, const uint8_t *payload,
                                 size_t payload_bytes, mmh_error *err)
{
    struct mmh_fields layout = { .count = 0 };
    uint32_t model_bytes[MMH_FIELDS_MAX] = { 0 };
    struct mmh_cursor in;
    mmh_cursor_init(&in, payload, payload_bytes);
    mmh_status status = read_layout(&layout, &in, model_bytes, err);
    if (status)
        return status;
    if (model->elements % layout.record_bytes)
        return mmh_fail(err, MMH_E_CORRUPT, "a block of %llu bytes has records of %u",
                        (unsigned long long)model->elements, layout.record_bytes);
    uint64_t records = model->elements / layout.record_bytes;
    model->fields = mmh_alloc_array(model->allocator, layout.count, sizeof *model->fields);
    if (!model->fields)
        return mmh_fail(err, MMH_E_MEMORY, "model of %u fields", layout.count);
    model->kind = MMH_MODEL_FIELDS;
    model->field_count = layout.count;
    model->record_bytes = layout.record_bytes;
    for (unsigned f = 0; f < layout.count && !status; f++) {
        struct mmh_model_field *field = &model->fields[f];
        field->field = layout.fields[f];
        const uint8_t *own = mmh_cursor_bytes(&in, model_bytes[f]);
        if (!own || (model_bytes[f] && mmh_model_holds_models(own[0])))
            return mmh_fail(err, MMH_E_CORRUPT, "the model of field %u is damaged", f);
        uint64_t elements;
        if (!mmh_u64_mul(&elements, records, field->field.elements))
            return mmh_fail(err, MMH_E_CORRUPT, "a block has too many elements");
        if (model_bytes[f])
            status = mmh_model_create(&field->model, own, model_bytes[f], elements,
                                      model->allocator, err);
    }
    return status ? status : mmh_cursor_finish(&in, "model", err);
}

void mmh_model_fields_release(struct mmh_model *model)
{
    for (unsigned f = 0; f < model->field_count; f++)
        mmh_model_destroy(model->fields[f].model);
    mmh_free(model->allocator, model->fields);
}

/* ---- planning ---- */

static struct mmh_fields_plan *plan_of(mmh_codec_workspace *workspace)
{
    if (!workspace->fields)
        workspace->fields = mmh_alloc_array(workspace->allocator, 1, sizeof *workspace->fields);
    return workspace->fields;
}

void mmh_fields_plan_forget(mmh_codec_workspace *workspace)
{
    for (unsigned f = 0; workspace->fields && f < MMH_FIELDS_MAX; f++) {
        mmh_model_destroy(workspace->fields->plans[f].model);
        workspace->fields->plans[f].model = NULL;
    }
}

void mmh_fields_plan_release(mmh_codec_workspace *workspace)
{
    mmh_fields_plan_forget(workspace);
    for (unsigned f = 0; workspace->fields && f < MMH_FIELDS_MAX; f++)
        mmh_free(workspace->allocator, workspace->fields->tables[f]);
    mmh_free(workspace->allocator, workspace->fields);
}

/* The parts of a block of records as parts of one field's elements. */
static void field_parts(struct mmh_block_part *parts, const struct mmh_block_hint *hint,
                        const struct mmh_field *field)
{
    for (size_t i = 0; i < hint->part_count; i++) {
        parts[i] = hint->parts[i];
        parts[i].elements *= field->elements;
        parts[i].tensor_first *= field->elements;
        if (parts[i].dimensions)
            parts[i].shape[parts[i].dimensions - 1] *= field->elements;
    }
}

/* Plan one field by its elements in the whole block; its model goes behind the others. */
static mmh_status plan_field(struct mmh_fields_plan *fields, unsigned f, uint64_t *floor_bits,
                             size_t *model_bytes, mmh_codec_workspace *workspace,
                             const uint8_t *data, size_t records, const struct mmh_block_hint *hint,
                             struct mmh_block_part *parts, mmh_error *err)
{
    const struct mmh_field *field = &fields->layout.fields[f];
    size_t bytes = records * field->elements * mmh_field_element_bytes(field);
    uint8_t *elements = mmh_workspace_scratch(workspace, MMH_SCRATCH_FIELD, bytes);
    if (!elements)
        return mmh_fail(err, MMH_E_MEMORY, "planning a field of %zu bytes", bytes);
    mmh_field_gather(elements, data, records, fields->layout.record_bytes, field);
    field_parts(parts, hint, field);
    struct mmh_block_hint own = { .dtype = (mmh_dtype)field->dtype,
                                  .parts = parts,
                                  .part_count = hint->part_count,
                                  .level = hint->level };
    const uint8_t *payload;
    size_t payload_bytes;
    /* Each keeps tables of its own; the rest of the workspace serves one after another. */
    struct mmh_rans_encode_table *tables = workspace->tables;
    workspace->tables = fields->tables[f];
    mmh_status status = mmh_block_plan_scalar(&fields->plans[f], &payload, &payload_bytes,
                                              floor_bits, workspace, elements, bytes, &own, err);
    fields->tables[f] = workspace->tables;
    workspace->tables = tables;
    if (status)
        return status;
    mmh_store32(fields->header + HEADER + FIELD * f + MODEL_AT, (uint32_t)payload_bytes);
    status = mmh_workspace_append(workspace, MMH_SCRATCH_FIELD_MODEL, *model_bytes, payload,
                                  payload_bytes, err);
    *model_bytes += payload_bytes;
    return status;
}

static void write_layout(uint8_t *dst, const struct mmh_fields *layout)
{
    dst[0] = MMH_MODEL_FIELDS;
    dst[1] = layout->count;
    mmh_store16(dst + 2, layout->record_bytes);
    dst += HEADER;
    for (unsigned f = 0; f < layout->count; f++, dst += FIELD) {
        const struct mmh_field *field = &layout->fields[f];
        dst[0] = field->dtype;
        dst[1] = field->piece_count;
        mmh_store16(dst + 2, field->elements);
        for (unsigned p = 0; p < MMH_FIELD_PIECES_MAX; p++) {
            mmh_store16(dst + 4 + 4 * p, field->pieces[p].offset);
            dst[6 + 4 * p] = field->pieces[p].bits;
            dst[7 + 4 * p] = field->pieces[p].group;
        }
        mmh_store32(dst + MODEL_AT, 0);
    }
}

mmh_status mmh_fields_plan_make(struct mmh_block_plan *plan, const uint8_t **model,
                                size_t *model_bytes, uint64_t *floor_bits,
                                mmh_codec_workspace *workspace, const uint8_t *data, size_t bytes,
                                const struct mmh_block_hint *hint, mmh_error *err)
{
    const struct mmh_fields *layout = mmh_dtype_fields(hint->records);
    struct mmh_fields_plan *fields = plan_of(workspace);
    struct mmh_block_part *parts = (void *)mmh_workspace_scratch(workspace, MMH_SCRATCH_FIELD_PARTS,
                                                                 hint->part_count * sizeof *parts);
    if (!fields || !parts)
        return mmh_fail(err, MMH_E_MEMORY, "planning a block of %zu bytes", bytes);
    fields->layout = *layout;
    write_layout(fields->header, layout);
    size_t used = HEADER + (size_t)FIELD * layout->count;
    mmh_status status = mmh_workspace_append(workspace, MMH_SCRATCH_FIELD_MODEL, 0, fields->header,
                                             used, err);
    *floor_bits = 0;
    for (unsigned f = 0; f < layout->count && !status; f++) {
        uint64_t bits = 0;
        status = plan_field(fields, f, &bits, &used, workspace, data, bytes / layout->record_bytes,
                            hint, parts, err);
        *floor_bits += bits;
    }
    if (status)
        return status;
    uint8_t *payload = mmh_workspace_scratch(workspace, MMH_SCRATCH_FIELD_MODEL, used);
    memcpy(payload, fields->header, HEADER + (size_t)FIELD * layout->count); /* with all lengths */
    plan->fields = fields;
    *model = payload;
    *model_bytes = used;
    return mmh_model_create(&plan->model, payload, used, bytes, workspace->allocator, err);
}
