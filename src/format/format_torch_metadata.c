/*
 * torch metadata: the .metadata of a distributed checkpoint, which names what its shards hold.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A pickle of plain dataclasses. There are no tensors in it; format_torch_shard.c reads it.
 * Source: torch/distributed/checkpoint/metadata.py.
 */
#include <string.h>

#include "base/bits.h"
#include "format/format_table.h"

enum { BEGIN_BYTES = 128 };

/* The first thing that its pickle names is the class. */
static bool detect(const struct mmh_format_probe *probe)
{
    static const char module[] = "torch.distributed.checkpoint.metadata";
    const mmh_source *source = probe->source;
    char begin[BEGIN_BYTES];
    size_t bytes = (size_t)MMH_MIN(source->bytes, (uint64_t)sizeof begin);
    if (probe->head[0] != 0x80 || source->read(source->user, 0, begin, bytes, NULL) != MMH_OK)
        return false;
    for (size_t at = 0; at + sizeof module - 1 <= bytes; at++)
        if (memcmp(begin + at, module, sizeof module - 1) == 0)
            return true;
    return false;
}

static mmh_status map_file(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                           mmh_error *err)
{
    (void)map;
    (void)probe;
    (void)err;
    return MMH_OK;
}

const struct mmh_format mmh_format_torch_metadata = {
    .name = "torch metadata",
    .suffix = ".metadata",
    .detect = detect,
    .map = map_file,
};
