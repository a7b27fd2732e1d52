/*
 * Fuzz target: chunks of any bytes are laid out for a device or refused; what the processor decodes
 * is laid out, and nothing that kernels are told to read lies outside its payload.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Input: as fuzz_codec.c; codec and all types but those that devices take are replaced.
 */
#include "fuzz.h"

#include "codec/codec_private.h"
#include "device/device_plan.h"

enum { HEAD = 12, DECODED_MAX = 1 << 20 };

/* [at, at + bytes) lies in the payload. */
static bool inside(uint32_t at, uint64_t bytes, size_t payload_bytes)
{
    return at <= payload_bytes && bytes <= payload_bytes - at;
}

/* Positions ascend and lie in the chunk: kernels write there. */
static void check_patches(const struct mmh_device_fields *fields, const uint8_t *payload)
{
    uint64_t least = 0;
    for (uint32_t i = 0; i < fields->patch_count; i++) {
        uint32_t at = mmh_load32(payload + fields->positions + 4 * (size_t)i);
        FUZZ_REQUIRE(at >= least && at < fields->elements);
        least = at + (uint64_t)1;
    }
}

static void check_fields(const struct mmh_device_plan *plan, const uint8_t *payload,
                         size_t payload_bytes)
{
    const struct mmh_device_fields *fields = plan->fields;
    size_t side = plan->side.bytes / 4, groups = mmh_divide_up(fields->elements, 64);
    FUZZ_REQUIRE(plan->side.bytes % 4 == 0 && plan->models.bytes % 4 == 0);
    for (unsigned p = 0; p < 4; p++)
        if (fields->stored_bits >> (3 - p) & 1)
            FUZZ_REQUIRE(inside(fields->plane[p], (uint64_t)groups * 8 * (8u >> p), payload_bytes));
    FUZZ_REQUIRE(inside(fields->positions, 4 * (uint64_t)fields->patch_count, payload_bytes));
    FUZZ_REQUIRE(inside(fields->heads, 2 * (uint64_t)fields->patch_count, payload_bytes));
    check_patches(fields, payload);
    if (fields->tail_mode == 1)
        FUZZ_REQUIRE(inside(fields->tail, 128 * (uint64_t)groups, payload_bytes));
    FUZZ_REQUIRE(fields->views + 8 * (uint64_t)fields->view_count <= side);
    FUZZ_REQUIRE(fields->stripes + 2 * (uint64_t)fields->stripe_count <= side);
    for (uint32_t s = 0; s < fields->stripe_count; s++) {
        const uint8_t *stripe = plan->side.data + 4 * ((size_t)fields->stripes + 2 * s);
        FUZZ_REQUIRE(
            inside(mmh_load32(stripe), 128 + 2 * (uint64_t)mmh_load32(stripe + 4), payload_bytes));
    }
    if (fields->stripe_count)
        FUZZ_REQUIRE(fields->tables + ((uint64_t)fields->table_count << fields->table_bits) <=
                     plan->models.bytes / 4);
    for (unsigned k = 0; k < MMH_DEVICE_KERNELS; k++) {
        const struct mmh_device_work *work = &plan->work[k];
        FUZZ_REQUIRE(work->first + 2 * (uint64_t)work->count <= side);
        for (uint32_t i = 0; i < work->count; i++)
            FUZZ_REQUIRE(!mmh_load32(plan->side.data + 4 * ((size_t)work->first + 2 * i)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const mmh_dtype types[] = { MMH_DTYPE_BF16, MMH_DTYPE_F16, MMH_DTYPE_F32 };
    static mmh_codec_workspace *workspace;
    if (bytes < HEAD || (!workspace && mmh_codec_workspace_create(&workspace, NULL, NULL)))
        return 0;
    mmh_dtype dtype = types[data[1] % MMH_COUNT_OF(types)];
    if (mmh_device_takes((mmh_dtype)data[1], MMH_CODEC_FLOAT))
        dtype = (mmh_dtype)data[1];
    unsigned unit = mmh_dtype_scalar_bytes(dtype);
    size_t decoded = mmh_load32(data + 4) % DECODED_MAX / unit * unit;
    size_t model_bytes = data[2] & 1 ? mmh_load32(data + 8) % (bytes - HEAD + 1) : 0;
    size_t payload_bytes = bytes - HEAD - model_bytes;
    uint8_t *model_copy = fuzz_copy(data + HEAD, model_bytes);
    uint8_t *payload = fuzz_copy(data + HEAD + model_bytes, payload_bytes);
    uint64_t first = (uint64_t)(data[3] & 3) * MMH_CHUNK_ELEMENTS;
    struct mmh_device_block block = { .model = data[2] & 1 ? model_copy : NULL,
                                      .model_bytes = model_bytes,
                                      .elements = first + decoded / unit };
    struct mmh_device_chunk chunk = {
        .chunk = { .dtype = dtype, .first_element = first, .bytes = decoded },
        .payload = payload,
        .payload_bytes = payload_bytes
    };
    struct mmh_device_set set = { &block, 1, &chunk, 1 };
    struct mmh_device_plan_options options = { .items = data[3] & 4,
                                               .local_bytes = data[3] & 8 ? 1 << 10 : 32 << 10,
                                               .local_stripes = 4,
                                               .global_stripes = 2 };
    struct mmh_device_plan plan;
    mmh_error err = { .status = MMH_OK };
    mmh_status planned = mmh_device_plan_init(&plan, &set, &options, NULL, &err);
    FUZZ_REQUIRE(planned == err.status);
    if (!planned) {
        check_fields(&plan, payload, payload_bytes);
        mmh_device_plan_release(&plan);
    }
    mmh_model *model = NULL;
    mmh_status status = MMH_OK;
    if (block.model)
        status = mmh_model_create(&model, model_copy, model_bytes, block.elements, NULL, NULL);
    uint8_t *dst = fuzz_memory(decoded);
    if (!status)
        status = mmh_chunk_decode(dst, workspace, &chunk.chunk, MMH_CODEC_FLOAT, payload,
                                  payload_bytes, model, false, NULL);
    FUZZ_REQUIRE(status || !planned || planned == MMH_E_UNSUPPORTED);
    mmh_model_destroy(model);
    free(dst);
    free(payload);
    free(model_copy);
    return 0;
}
