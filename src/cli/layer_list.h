/*
 * What verify has found of each layer of a container: kept while it is told by the library.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_LAYER_LIST_H
#define MMH_LAYER_LIST_H

#include "cli/cli.h"

enum { MMH_LAYER_TEXT_BYTES = 256 };

struct mmh_layer_list {
    struct {
        bool told;
        const char *name;
        int result;
        uint64_t count;
        char text[MMH_LAYER_TEXT_BYTES];
    } layer[MMH_LAYER_COUNT];
};

void mmh_cli_layer_keep(void *list, const mmh_layer *layer); /* a mmh_layer_fn */
void mmh_cli_layers_tell(const struct mmh_layer_list *list); /* as notes, for people */
void mmh_cli_layers_json(struct mmh_json_out *out,
                         const struct mmh_layer_list *list); /* "layers" */

#endif
