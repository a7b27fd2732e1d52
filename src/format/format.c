/*
 * The table of formats, and the way from a file's first bytes to the one that maps it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "format/format.h"

#include <string.h>

#include "base/bits.h"
#include "format/format_table.h"

/* Asked in this order: the numbers are on disk, so order and number differ. */
static const struct {
    enum mmh_format_id id;
    const struct mmh_format *format;
} formats[] = {
    { MMH_FORMAT_SAFETENSORS, &mmh_format_safetensors }, { MMH_FORMAT_NPY, &mmh_format_npy },
    { MMH_FORMAT_SHARD_INDEX, &mmh_format_shard_index }, { MMH_FORMAT_RAW, &mmh_format_raw },
    { MMH_FORMAT_OPAQUE, &mmh_format_opaque }, /* the last: takes everything */
};

const struct mmh_format *mmh_format_at(size_t index)
{
    return index < MMH_COUNT_OF(formats) ? formats[index].format : NULL;
}

const char *mmh_format_name(unsigned format_id)
{
    for (size_t i = 0; i < MMH_COUNT_OF(formats); i++)
        if ((unsigned)formats[i].id == format_id)
            return formats[i].format->name;
    return NULL;
}

static bool has_suffix(const char *name, const char *suffix)
{
    size_t bytes = name ? strlen(name) : 0, suffix_bytes = suffix ? strlen(suffix) : SIZE_MAX;
    return bytes >= suffix_bytes && strcmp(name + bytes - suffix_bytes, suffix) == 0;
}

mmh_status mmh_format_detect_and_map(struct mmh_extent_map *map, const struct mmh_source *source,
                                     const struct mmh_format_options *options, mmh_error *err)
{
    static const struct mmh_format_options none = { 0 };
    struct mmh_format_probe probe = { .source = source, .options = options ? options : &none };
    probe.head_bytes = (size_t)MMH_MIN(source->bytes, (uint64_t)MMH_FORMAT_HEAD_BYTES);
    if (probe.head_bytes) {
        mmh_status status = source->read(source->context, 0, probe.head, probe.head_bytes, err);
        if (status)
            return status;
    }
    for (size_t i = 0; i < MMH_COUNT_OF(formats); i++) {
        mmh_error problem = { 0 };
        if (!formats[i].format->detect(&probe)) {
            if (has_suffix(source->name, formats[i].format->suffix))
                mmh_extent_map_remark(map, "is called %s, but does not begin like one",
                                      formats[i].format->suffix);
            continue;
        }
        mmh_status status = formats[i].format->map(map, &probe, &problem);
        if (!status) {
            map->format = (uint8_t)formats[i].id;
            break;
        }
        if (status != MMH_E_CORRUPT && status != MMH_E_UNSUPPORTED)
            return mmh_fail(err, status, "%s", problem.message);
        mmh_extent_map_remark(map, "not taken as %s: %s", formats[i].format->name, problem.message);
        mmh_extent_map_discard(map);
    }
    return mmh_extent_map_finish(map, err);
}
