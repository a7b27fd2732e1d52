/*
 * Damage: counted, joined to ranges, and told with the tensors that it hits.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine/damage.h"

#include "base/bits.h"

/* Where tensors neither stand in order nor lie apart, all are looked at for each range. Where both are
 * many by design, the search is given up after so many looks. */
#define LOOKS_MAX (UINT64_C(1) << 28)

static bool in_order(struct mmh_damages *damages, const struct mmh_file_entry *file)
{
    const struct mmh_tensor_record *tensors = damages->reader->container.index.tensors;
    if (damages->looked_file == damages->file + 1)
        return damages->in_order;
    damages->looked_file = damages->file + 1;
    damages->in_order = true;
    for (uint64_t i = file->first_tensor + 1; i < file->first_tensor + file->tensor_count; i++)
        if (tensors[i].offset < tensors[i - 1].offset + tensors[i - 1].bytes) {
            damages->in_order = false;
            break;
        }
    return damages->in_order;
}

/* Tell a tensor if the range hits it. */
static void tell_tensor(const struct mmh_damages *damages, mmh_damage *damage,
                        const struct mmh_tensor_record *tensor)
{
    uint64_t begin = MMH_MAX(tensor->offset, damages->offset);
    uint64_t end = MMH_MIN(tensor->offset + tensor->bytes, damages->end);
    if (begin >= end)
        return;
    damage->tensor = tensor->name;
    damage->offset = begin;
    damage->bytes = end - begin;
    damages->tell(damages->user, damage);
}

static void tell_range(struct mmh_damages *damages)
{
    const struct mmh_index *index = &damages->reader->container.index;
    mmh_damage damage = { .file = damages->file,
                          .offset = damages->offset,
                          .bytes = damages->end - damages->offset };
    damages->open = false;
    if (!damages->tell)
        return;
    if (damages->file == MMH_DAMAGE_NO_FILE) {
        damages->tell(damages->user, &damage);
        return;
    }
    const struct mmh_file_entry *file = &index->files[damages->file];
    uint64_t low = file->first_tensor, end = low + file->tensor_count;
    bool ordered = in_order(damages, file);
    damage.name = file->record.name;
    damage.unsearched = !ordered && damages->looks > LOOKS_MAX;
    damages->tell(damages->user, &damage);
    if (damage.unsearched)
        return;
    if (!ordered) {
        damages->looks += file->tensor_count;
        for (uint64_t i = low; i < end; i++)
            tell_tensor(damages, &damage, &index->tensors[i]);
        return;
    }
    for (uint64_t high = end; low < high;) { /* the first that ends behind the range's begin */
        uint64_t middle = low + (high - low) / 2;
        const struct mmh_tensor_record *tensor = &index->tensors[middle];
        if (tensor->offset + tensor->bytes > damages->offset)
            high = middle;
        else
            low = middle + 1;
    }
    for (; low < end && index->tensors[low].offset < damages->end; low++)
        tell_tensor(damages, &damage, &index->tensors[low]);
}

void mmh_damages_add(struct mmh_damages *damages, uint64_t file, uint64_t offset, uint64_t bytes,
                     uint64_t chunks, const char *what, const mmh_error *problem)
{
    if (damages->first.status == MMH_OK) {
        const char *container = mmh_input_name(damages->reader->input);
        if (file == MMH_DAMAGE_NO_FILE)
            mmh_fail(&damages->first, MMH_E_CORRUPT, "%s: %s", container, problem->message);
        else
            mmh_fail(&damages->first, MMH_E_CORRUPT, "%s: %s\"%s\": %s", container, what,
                     chunks ? mmh_reader_owner(damages->reader, file, offset)
                            : damages->reader->container.index.files[file].record.name,
                     problem->message);
    }
    if (damages->open && file != MMH_DAMAGE_NO_FILE && file == damages->file &&
        offset == damages->end) {
        damages->end += bytes;
    } else {
        if (damages->open)
            tell_range(damages);
        damages->file = file;
        damages->offset = offset;
        damages->end = offset + bytes;
        damages->open = true;
    }
    damages->chunks += chunks;
    damages->bytes += bytes;
}

void mmh_damages_add_chunks(struct mmh_damages *damages, const uint8_t *bad,
                            void (*why)(void *context, uint64_t chunk, mmh_error *problem),
                            void *context)
{
    const struct mmh_index *index = &damages->reader->container.index;
    for (uint64_t b = 0; b < index->block_count; b++) {
        const struct mmh_block_entry *block = &index->blocks[b];
        uint64_t count = mmh_divide_up(block->bytes, block->chunk_bytes);
        mmh_error problem = { 0 };
        if (block->has_model && bad[block->model]) {
            if (damages->first.status == MMH_OK)
                why(context, block->model, &problem);
            mmh_damages_add(damages, block->file, block->file_offset, block->bytes, count,
                            "model of ", &problem);
            continue;
        }
        for (uint64_t c = 0; c < count; c++) {
            uint64_t chunk = index->refs[block->first_ref + c];
            if (!bad[chunk])
                continue;
            if (damages->first.status == MMH_OK)
                why(context, chunk, &problem);
            mmh_damages_add(damages, block->file, block->file_offset + c * block->chunk_bytes,
                            mmh_block_chunk_bytes(block, c), 1, "", &problem);
        }
    }
}

void mmh_damages_unknown(struct mmh_damages *damages, const mmh_error *problem)
{
    if (damages->unknown.status == MMH_OK)
        damages->unknown = *problem;
}

mmh_status mmh_damages_end(struct mmh_damages *damages, mmh_status status, mmh_error *err)
{
    const mmh_error *worst = NULL;
    if (damages->open)
        tell_range(damages);
    if (damages->first.status != MMH_OK && (status == MMH_OK || status == MMH_E_IO))
        worst = &damages->first;
    else if (damages->unknown.status != MMH_OK && status == MMH_OK)
        worst = &damages->unknown;
    if (!worst)
        return status;
    *err = *worst;
    return worst->status;
}
