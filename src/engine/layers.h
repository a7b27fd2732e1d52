/*
 * What verify has found of each layer: docs/architecture.md, "Who checks what".
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_LAYERS_H
#define MMH_LAYERS_H

#include "base/status.h"
#include "mmh.h"

enum { MMH_LAYER_TEXT_BYTES = 200 };

struct mmh_layers {
    mmh_layer layers[MMH_LAYER_COUNT];
    char texts[MMH_LAYER_COUNT][MMH_LAYER_TEXT_BYTES];
};

/* All of them skipped, as nothing has been looked at. */
void mmh_layers_init(struct mmh_layers *layers);

/* Say how one ended; text "" if there is nothing to say, cut to fit. */
void mmh_layers_set(struct mmh_layers *layers, mmh_layer_id id, int result, uint64_t count,
                    const char *text, ...) MMH_PRINTF(5, 6);

/* Tell all, in their order. tell may be NULL. */
void mmh_layers_tell(const struct mmh_layers *layers, mmh_layer_fn tell, void *user);

#endif
