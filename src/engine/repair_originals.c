/*
 * Repair: chunks that are lost are made anew of the original files, and believed if their hash says so.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/bits.h"
#include "engine/recode.h"
#include "engine/repair.h"
#include "engine/seal.h"

struct remaking {
    struct mmh_repairing *repairing;
    mmh_sealer *sealer; /* of an encrypted container */
    const struct mmh_index *index;
    uint64_t made;
};

/* Whether a file of the container may be the one that is packed under `name` now: one file alone is
 * packed without its folders. */
static bool same_file(const char *of_container, const char *name)
{
    const char *slash = strrchr(of_container, '/');
    return strcmp(of_container, name) == 0 || (slash && strcmp(slash + 1, name) == 0);
}

static bool is_block(const struct remaking *remaking, const struct mmh_block_entry *block,
                     const char *name, uint64_t offset)
{
    return block->file_offset == offset &&
           same_file(remaking->index->files[block->file].record.name, name);
}

static mmh_status tell(void *user, const char *name, struct mmh_arena *arena,
                       struct mmh_map_tensor **tensors, size_t *count, mmh_error *err)
{
    const struct remaking *remaking = user;
    const struct mmh_index *index = remaking->index;
    *count = 0;
    for (uint64_t t = 0; t < index->tensor_count; t++)
        *count += same_file(index->files[index->tensors[t].file].record.name, name);
    *tensors = mmh_arena_array(arena, *count, sizeof **tensors);
    if (!*tensors)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for %zu tensors", *count);
    *count = 0;
    for (uint64_t t = 0; t < index->tensor_count; t++) {
        const struct mmh_tensor_record *tensor = &index->tensors[t];
        if (same_file(index->files[tensor->file].record.name, name))
            (*tensors)[(*count)++] = (struct mmh_map_tensor){ .name = tensor->name,
                                                              .dtype = tensor->dtype,
                                                              .big_endian = tensor->big_endian,
                                                              .column_major = tensor->column_major,
                                                              .dimensions = tensor->dimensions,
                                                              .shape = tensor->shape,
                                                              .strides = tensor->strides,
                                                              .offset = tensor->offset,
                                                              .bytes = tensor->bytes };
    }
    return MMH_OK;
}

static bool wanted(void *user, const char *name, uint64_t offset, uint64_t bytes)
{
    const struct remaking *remaking = user;
    const struct mmh_index *index = remaking->index;
    const uint8_t *bad = remaking->repairing->bad;
    for (uint64_t b = 0; b < index->block_count; b++) {
        const struct mmh_block_entry *block = &index->blocks[b];
        if (block->bytes != bytes || !is_block(remaking, block, name, offset))
            continue;
        bool any = block->has_model && bad[block->model];
        for (uint64_t c = 0; c < mmh_divide_up(block->bytes, block->chunk_bytes); c++)
            any = any || bad[index->refs[block->first_ref + c]];
        if (any)
            return true;
    }
    return false;
}

/* Put a payload where chunk `number` is lost, sealed as that was, if its hash is that one's. */
static mmh_status put(struct remaking *remaking, uint64_t number,
                      const struct mmh_stored_chunk *payload, mmh_error *err)
{
    struct mmh_repairing *repairing = remaking->repairing;
    const struct mmh_chunk_entry *chunk = &repairing->reader.container.index.chunks[number];
    size_t tag_bytes = remaking->sealer ? MMH_AEAD_TAG_BYTES : 0;
    if (!repairing->bad[number] || payload->bytes + tag_bytes != chunk->bytes)
        return MMH_OK;
    uint8_t *data = mmh_alloc(repairing->context->allocator, 64, chunk->bytes);
    if (!data)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for a chunk");
    memcpy(data, payload->data, payload->bytes);
    mmh_status status = MMH_OK;
    if (remaking->sealer)
        status = mmh_sealer_seal(remaking->sealer, 0, data, payload->bytes,
                                 remaking->index->seal_numbers[number], err);
    if (status == MMH_OK &&
        mmh_container_check_chunk(&repairing->reader.container, number, data, NULL) == MMH_OK) {
        status = mmh_repairing_put_chunk(repairing, number, data, err);
        repairing->report.from_sources++;
        remaking->made++;
    }
    mmh_free(repairing->context->allocator, data);
    return status;
}

static mmh_status take(void *user, const char *name, uint64_t offset,
                       const struct mmh_stored_chunk *model, const struct mmh_stored_chunk *chunks,
                       size_t chunk_count, mmh_error *err)
{
    struct remaking *remaking = user;
    const struct mmh_index *index = remaking->index;
    mmh_status status = MMH_OK;
    for (uint64_t b = 0; b < index->block_count && status == MMH_OK; b++) {
        const struct mmh_block_entry *block = &index->blocks[b];
        if (!is_block(remaking, block, name, offset) ||
            mmh_divide_up(block->bytes, block->chunk_bytes) != chunk_count)
            continue;
        if (block->has_model && model)
            status = put(remaking, block->model, model, err);
        for (size_t c = 0; c < chunk_count && status == MMH_OK; c++)
            status = put(remaking, index->refs[block->first_ref + c], &chunks[c], err);
    }
    return status;
}

mmh_status mmh_repairing_remake(struct mmh_repairing *repairing, uint64_t *made, mmh_error *err)
{
    struct remaking remaking = { .repairing = repairing,
                                 .index = &repairing->reader.container.index };
    mmh_status status = MMH_OK;
    *made = 0;
    if (repairing->reader.container.locked)
        return MMH_OK; /* repair says what stays lost, and why */
    if (repairing->reader.container.aead_suite)
        status = mmh_sealer_create(&remaking.sealer, repairing->context,
                                   repairing->reader.container.aead_suite,
                                   repairing->reader.container.keys.chunk, false, err);
    for (size_t i = 0; i < repairing->original_count && repairing->bad_count && status == MMH_OK;
         i++) {
        struct mmh_recoding recoding = { .path = repairing->originals[i],
                                         .level = remaking.index->level,
                                         .tell = tell,
                                         .wanted = wanted,
                                         .take = take,
                                         .user = &remaking };
        status = mmh_recode(repairing->context, &recoding, err);
    }
    *made = remaking.made;
    mmh_sealer_destroy(remaking.sealer);
    return status;
}
