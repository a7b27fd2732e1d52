/*
 * Layers of checking, collected and told.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine/layers.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const names[MMH_LAYER_COUNT] = {
    [MMH_LAYER_STRUCTURE] = "structure", [MMH_LAYER_CHUNKS] = "chunks",
    [MMH_LAYER_MERKLE] = "merkle",       [MMH_LAYER_AEAD] = "aead",
    [MMH_LAYER_SIGNATURE] = "signature", [MMH_LAYER_DECODE] = "decode",
    [MMH_LAYER_DIGEST] = "digest",       [MMH_LAYER_PARITY] = "parity",
};

void mmh_layers_init(struct mmh_layers *layers)
{
    for (unsigned i = 0; i < MMH_LAYER_COUNT; i++)
        mmh_layers_set(layers, (mmh_layer_id)i, MMH_LAYER_SKIPPED, 0, "%s", "");
}

void mmh_layers_set(struct mmh_layers *layers, mmh_layer_id id, int result, uint64_t count,
                    const char *text, ...)
{
    va_list arguments;
    va_start(arguments, text);
    (void)vsnprintf(layers->texts[id], sizeof layers->texts[id], text, arguments);
    va_end(arguments);
    mmh_layer *layer = &layers->layers[id];
    layer->id = id;
    layer->name = names[id];
    layer->result = result;
    layer->count = count;
}

void mmh_layers_tell(const struct mmh_layers *layers, mmh_layer_fn tell, void *user)
{
    for (unsigned i = 0; tell && i < MMH_LAYER_COUNT; i++) {
        mmh_layer layer = layers->layers[i];
        layer.text = layers->texts[i];
        tell(user, &layer);
    }
}
