/*
 * Copies of a file's tensors in bytes of it that no tensor is said to have.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_COPIES_H
#define MMH_COPIES_H

#include "engine/engine.h"
#include "tensor/extent.h"

/*
 * Look for them, and make extents of them like those that they are copies of, so that both are
 * stored once. Such are left behind where a file was saved over again at its end (ONNX's external
 * data). Only opaque extents that are a fair part of the file are looked at. The map's extents are
 * made anew in its arena; its tensors stay.
 */
mmh_status mmh_copies_find(struct mmh_extent_map *map, const mmh_input *input,
                           const mmh_allocator *allocator, mmh_error *err);

#endif
