/*
 * Which integers are packed weights.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: the tensor names that AutoGPTQ/GPTQModel, AutoAWQ, compressed-tensors, AQLM, QuIP# and HQQ
 * write, and "quantization_config" in config.json, as Hugging Face transformers documents it. A wrong
 * guess costs a little size, and never a bit of the file.
 */
#include "format/quantised.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/json.h"

enum { CONFIG_BYTES_MAX = 1 << 20 };

static const char *const packed_suffixes[] = { "qweight", "qzeros", "_packed" };

/* Names that say so only together with a configuration. */
static const char *const likely_suffixes[] = { ".weight", ".codes", ".W_q",
                                               ".Qidxs",  ".B",     ".indices" };

/* What lies beside packed weights, behind the same stem. */
static const char *const companion_suffixes[] = { "scales",       "qzeros",       "g_idx",
                                                  "weight_scale", "weight_shape", "absmax" };

static const char *suffix_of(const char *name, const char *const *suffixes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (mmh_name_has_suffix(name, suffixes[i]))
            return suffixes[i];
    return NULL;
}

static bool is_wide_integer(const struct mmh_map_tensor *tensor)
{
    switch (tensor->dtype) {
    case MMH_DTYPE_U16:
    case MMH_DTYPE_I16:
    case MMH_DTYPE_U32:
    case MMH_DTYPE_I32:
    case MMH_DTYPE_U64:
    case MMH_DTYPE_I64:
        return tensor->bytes && tensor->dimensions;
    default:
        return false;
    }
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

struct names {
    const char **sorted; /* all names of the map; made when first needed */
    size_t count;
};

static mmh_status sort_names(struct names *names, const struct mmh_extent_map *map, mmh_error *err)
{
    if (names->sorted)
        return MMH_OK;
    names->sorted = mmh_alloc_array(map->arena->allocator, map->tensor_count, sizeof(const char *));
    if (!names->sorted)
        return mmh_fail(err, MMH_E_MEMORY, "names of %zu tensors", map->tensor_count);
    for (size_t i = 0; i < map->tensor_count; i++)
        names->sorted[i] = map->tensors[i].name;
    names->count = map->tensor_count;
    qsort(names->sorted, names->count, sizeof(const char *), compare_strings);
    return MMH_OK;
}

/* Whether the name that is `stem` [bytes] and a suffix is there. */
static bool has_name(const struct names *names, const char *stem, size_t bytes, const char *suffix)
{
    size_t low = 0, high = names->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strncmp(names->sorted[middle], stem, bytes);
        if (!order)
            order = strcmp(names->sorted[middle] + bytes, suffix);
        if (!order)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static bool has_companion(const struct names *names, const char *name)
{
    const char *dot = strrchr(name, '.');
    size_t stem = dot ? (size_t)(dot - name) + 1 : 0;
    for (size_t i = 0; i < MMH_COUNT_OF(companion_suffixes); i++)
        if (strcmp(name + stem, companion_suffixes[i]) != 0 &&
            has_name(names, name, stem, companion_suffixes[i]))
            return true;
    return false;
}

/* Whether an object that is next names a method of quantisation. */
static bool names_method(struct mmh_json *json)
{
    struct mmh_json_token token;
    bool found = false;
    if (mmh_json_next(json, &token) != MMH_JSON_OBJECT) {
        mmh_json_skip_rest(json, &token);
        return false;
    }
    while (mmh_json_next(json, &token) == MMH_JSON_KEY) {
        found = found || mmh_json_is(&token, "quant_method");
        mmh_json_skip_value(json);
    }
    return found;
}

/* Whether a config.json beside the file says that the model is quantised. */
static bool config_says_quantised(const struct mmh_format_probe *probe,
                                  const mmh_allocator *allocator)
{
    const struct mmh_format_options *options = probe->options;
    uint8_t *data;
    size_t bytes;
    struct mmh_json json;
    struct mmh_json_token token;
    bool found = false;
    if (!options->read_beside ||
        options->read_beside(options->beside_context, "config.json", CONFIG_BYTES_MAX, &data,
                             &bytes, allocator, NULL))
        return false;
    mmh_json_init(&json, data, bytes);
    if (mmh_json_next(&json, &token) == MMH_JSON_OBJECT)
        while (!found && mmh_json_next(&json, &token) == MMH_JSON_KEY) {
            if (mmh_json_is(&token, "quantization_config") ||
                mmh_json_is(&token, "compression_config"))
                found = names_method(&json);
            else
                mmh_json_skip_value(&json);
        }
    mmh_free(allocator, data);
    return found;
}

mmh_status mmh_quantised_look(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                              mmh_error *err)
{
    struct names names = { 0 };
    bool asked = false, quantised = false;
    mmh_status status = MMH_OK;
    size_t extent = 0;
    for (size_t i = 0; i < map->tensor_count && !status; i++) {
        const struct mmh_map_tensor *tensor = &map->tensors[i];
        if (!is_wide_integer(tensor))
            continue;
        bool packed = suffix_of(tensor->name, packed_suffixes, MMH_COUNT_OF(packed_suffixes));
        if (!packed && (tensor->dimensions < 2 ||
                        !suffix_of(tensor->name, likely_suffixes, MMH_COUNT_OF(likely_suffixes))))
            continue;
        if (!asked) {
            quantised = config_says_quantised(probe, map->arena->allocator);
            asked = true;
        }
        if (packed && !quantised) {
            status = sort_names(&names, map, err);
            packed = !status && has_companion(&names, tensor->name);
        }
        if (status || !(packed || quantised))
            continue;
        while (extent + 1 < map->extent_count && map->extents[extent + 1].offset <= tensor->offset)
            extent++;
        mmh_extent_map_see_bytes(map, extent);
    }
    mmh_free(map->arena->allocator, names.sorted);
    return status;
}
