/*
 * Damage: counted, joined to ranges, and told with the tensors that it hits.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine/damage.h"

#include "base/bits.h"

/* Tensors of a file stand in any order and may overlap, so all are looked at for each range. Where
 * both are many by design, what is damaged is told without its tensors after so many looks. */
#define LOOKS_MAX (UINT64_C(1) << 28)

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
    damage.name = file->record.name;
    damages->tell(damages->user, &damage);
    if (damages->looks > LOOKS_MAX)
        return;
    damages->looks += file->tensor_count;
    for (uint64_t i = file->first_tensor; i < file->first_tensor + file->tensor_count; i++) {
        const struct mmh_tensor_record *tensor = &index->tensors[i];
        uint64_t begin = MMH_MAX(tensor->offset, damages->offset);
        uint64_t end = MMH_MIN(tensor->offset + tensor->bytes, damages->end);
        if (begin >= end)
            continue;
        damage.tensor = tensor->name;
        damage.offset = begin;
        damage.bytes = end - begin;
        damages->tell(damages->user, &damage);
    }
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

mmh_status mmh_damages_end(struct mmh_damages *damages, mmh_error *err)
{
    if (damages->open)
        tell_range(damages);
    if (damages->first.status == MMH_OK)
        return MMH_OK;
    return mmh_fail(err, damages->first.status, "%s", damages->first.message);
}
