/*
 * Layout files: JSON in which a user says which bytes of a raw dump are which tensor.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * docs/formats-custom.md describes them, docs/schema/mmh-layout.schema.json says what they may hold.
 * A layout is the user's word: what is wrong with it is MMH_E_USAGE, never a remark.
 */
#ifndef MMH_LAYOUT_FILE_H
#define MMH_LAYOUT_FILE_H

#include "tensor/extent.h"

enum { MMH_LAYOUT_TEXT_BYTES_MAX = 256 * 1024 * 1024 };

struct mmh_layout_entry;

/* All in the arena that it was read with. */
struct mmh_layout {
    const char *name; /* of the layout file, for messages */
    const char *file; /* the only file that it is for, by its name without folders; NULL: any */
    const struct mmh_layout_entry *first;
    uint64_t tensor_count; /* with all repetitions: at most MMH_MAP_TENSORS_MAX */
};

/* Read a layout from text [bytes]; `name` is kept. Fails with MMH_E_USAGE (with the place in the
 * text) and MMH_E_MEMORY. */
mmh_status mmh_layout_read(struct mmh_layout *layout, struct mmh_arena *arena, const void *text,
                           size_t bytes, const char *name, mmh_error *err);

/* Whether the layout is for a file of this name, folders and all. */
bool mmh_layout_is_for(const struct mmh_layout *layout, const char *path);

/* Add its tensors to the map of a file. Fails with MMH_E_USAGE if one reaches past its end. */
mmh_status mmh_layout_map(struct mmh_extent_map *map, const struct mmh_layout *layout,
                          mmh_error *err);

#endif
