/*
 * Fuzz target: models and chunks of any bytes are decoded or refused, by every kernel set alike.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Input: u8 codec id, u8 element type, u8 flags (1 a model, 2 streamed), u8 chunk of the block,
 * u32 decoded bytes, u32 model bytes, then the model and the payload.
 */
#include "fuzz.h"

#include "codec/codec_private.h"

enum { HEAD = 12, DECODED_MAX = 1 << 21, CHUNK_MAX = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static mmh_codec_workspace *workspace;
    if (bytes < HEAD || (!workspace && mmh_codec_workspace_create(&workspace, NULL, NULL)))
        return 0;
    unsigned codec_id = data[0] % (MMH_CODEC_COUNT + 1); /* the table, and one that is none */
    mmh_dtype dtype = mmh_dtype_scalar((mmh_dtype)(data[1] % MMH_DTYPE_COUNT));
    unsigned unit = mmh_dtype_scalar_bytes(dtype);
    size_t decoded = mmh_load32(data + 4) % (DECODED_MAX + 1), model_bytes = mmh_load32(data + 8);
    model_bytes = data[2] & 1 ? model_bytes % (bytes - HEAD + 1) : 0;
    struct mmh_chunk chunk = { .dtype = dtype, .bytes = decoded };
    chunk.first_element = (uint64_t)(data[3] % (CHUNK_MAX + 1)) * MMH_CHUNK_ELEMENTS;
    uint8_t *payload = fuzz_copy(data + HEAD + model_bytes, bytes - HEAD - model_bytes);
    uint8_t *model_copy = fuzz_copy(data + HEAD, model_bytes);
    mmh_model *model = NULL;
    if (data[2] & 1)
        (void)mmh_model_create(&model, model_copy, model_bytes,
                               chunk.first_element + decoded / unit, NULL, NULL);
    uint8_t *first = fuzz_memory(decoded), *other = fuzz_memory(decoded);
    const struct mmh_kernels *kernels;
    mmh_status expected = MMH_OK;
    for (size_t k = 0; (kernels = mmh_kernels_at(k)) != NULL; k++) {
        mmh_workspace_set_kernels(workspace, kernels);
        mmh_status status = mmh_chunk_decode(k ? other : first, workspace, &chunk, codec_id,
                                             payload, bytes - HEAD - model_bytes, model,
                                             data[2] & 2, NULL);
        if (!k)
            expected = status;
        FUZZ_REQUIRE(status == expected);
        FUZZ_REQUIRE(!k || status || !decoded || !memcmp(first, other, decoded));
    }
    mmh_model_destroy(model);
    free(first);
    free(other);
    free(payload);
    free(model_copy);
    return 0;
}
