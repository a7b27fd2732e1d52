/*
 * What verify has found of each layer of a container: kept while it is told by the library.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/layer_list.h"

void mmh_cli_layer_keep(void *user, const mmh_layer *layer)
{
    struct mmh_layer_list *list = user;
    if ((unsigned)layer->id >= MMH_LAYER_COUNT)
        return;
    list->layer[layer->id].told = true;
    list->layer[layer->id].name = layer->name;
    list->layer[layer->id].result = layer->result;
    list->layer[layer->id].count = layer->count;
    snprintf(list->layer[layer->id].text, MMH_LAYER_TEXT_BYTES, "%s",
             layer->text ? layer->text : "");
}

static const char *result_of(int result)
{
    return result == MMH_LAYER_RIGHT  ? "ok"
         : result == MMH_LAYER_WRONG  ? "wrong"
         : result == MMH_LAYER_ABSENT ? "absent"
                                      : "skipped";
}

/* "  chunks     ok       123". */
void mmh_cli_layers_tell(const struct mmh_layer_list *list)
{
    for (size_t i = 0; i < MMH_LAYER_COUNT; i++) {
        if (!list->layer[i].told)
            continue;
        const char *text = list->layer[i].text;
        bool counts = list->layer[i].count;
        mmh_message_note("  %-10s %-7s%s%s%s%s", list->layer[i].name,
                         result_of(list->layer[i].result), counts ? "  " : "",
                         counts ? mmh_human_count(list->layer[i].count).text : "",
                         *text ? "  " : "", text);
    }
}

void mmh_cli_layers_json(struct mmh_json_out *out, const struct mmh_layer_list *list)
{
    mmh_json_out_array(out, "layers");
    for (size_t i = 0; i < MMH_LAYER_COUNT; i++) {
        if (!list->layer[i].told)
            continue;
        mmh_json_out_object(out, NULL);
        mmh_json_out_text(out, "name", list->layer[i].name);
        mmh_json_out_text(out, "result", result_of(list->layer[i].result));
        mmh_json_out_u64(out, "count", list->layer[i].count);
        mmh_json_out_text(out, "text", list->layer[i].text);
        mmh_json_out_end(out);
    }
    mmh_json_out_end(out);
}
