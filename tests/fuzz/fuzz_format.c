/*
 * Fuzz target: any bytes, called anything, give a map that tiles them; shard indexes name safe
 * files alone.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "../map_check.h"
#include "format/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void map_one(const uint8_t *data, size_t bytes, const char *name, mmh_dtype raw_dtype)
{
    struct mmh_arena arena;
    struct mmh_extent_map map;
    struct mmh_source source = mmh_source_of_memory(data, bytes, name);
    struct mmh_format_options options = { .raw_dtype = raw_dtype };
    mmh_arena_init(&arena, NULL);
    mmh_extent_map_init(&map, &arena, bytes);
    mmh_status status = mmh_format_detect_and_map(&map, &source, &options, NULL);
    if (status != MMH_E_MEMORY && (status || map_problem(&map)))
        abort();
    mmh_arena_release(&arena);
}

static void read_index(const uint8_t *data, size_t bytes)
{
    struct mmh_arena arena;
    struct mmh_shard_index index;
    struct mmh_source source = mmh_source_of_memory(data, bytes, "m.safetensors.index.json");
    mmh_arena_init(&arena, NULL);
    if (mmh_shard_index_read(&index, &arena, &source, NULL) == MMH_OK)
        for (size_t i = 0; i < index.file_count; i++)
            if (!mmh_path_is_relative(index.files[i]) ||
                (i && strcmp(index.files[i - 1], index.files[i]) >= 0))
                abort();
    mmh_arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    map_one(data, bytes, "folder/m.safetensors", MMH_DTYPE_OPAQUE);
    map_one(data, bytes, "m.safetensors.index.json", (mmh_dtype)(bytes % (MMH_DTYPE_COUNT + 1)));
    read_index(data, bytes);
    return 0;
}
