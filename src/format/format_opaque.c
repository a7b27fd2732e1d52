/*
 * The format of every file that is of no other: bytes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "format/format_table.h"

static bool detect(const struct mmh_format_probe *probe)
{
    (void)probe;
    return true;
}

static mmh_status map_nothing(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                              mmh_error *err)
{
    (void)map;
    (void)probe;
    (void)err;
    return MMH_OK;
}

const struct mmh_format mmh_format_opaque = {
    .name = "opaque",
    .detect = detect,
    .map = map_nothing,
};
