/*
 * Fuzz target: any bytes, called what each format's files are called, give a map that tiles them;
 * shard indexes name safe files alone.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "fuzz.h"

#include "../map_check.h"
#include "format/format_table.h"

static void map_one(const uint8_t *data, size_t bytes, const char *name, mmh_dtype raw_dtype)
{
    struct mmh_arena arena;
    struct mmh_extent_map map;
    mmh_source source = mmh_source_of_memory(data, bytes, name);
    struct mmh_format_options options = { .raw_dtype = raw_dtype };
    mmh_arena_init(&arena, NULL);
    mmh_extent_map_init(&map, &arena, bytes);
    mmh_status status = mmh_format_detect_and_map(&map, &source, &options, NULL);
    FUZZ_REQUIRE(!status || status == MMH_E_MEMORY);
    FUZZ_REQUIRE(status || !map_problem(&map));
    mmh_arena_release(&arena);
}

static void read_index(const uint8_t *data, size_t bytes)
{
    struct mmh_arena arena;
    struct mmh_shard_index index;
    mmh_source source = mmh_source_of_memory(data, bytes, "m.safetensors.index.json");
    mmh_arena_init(&arena, NULL);
    if (mmh_shard_index_read(&index, &arena, &source, NULL) == MMH_OK)
        for (size_t i = 0; i < index.file_count; i++) {
            FUZZ_REQUIRE(mmh_path_is_relative(index.files[i]));
            FUZZ_REQUIRE(!i || strcmp(index.files[i - 1], index.files[i]) < 0);
        }
    mmh_arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const struct mmh_format *format;
    char name[64];
    for (size_t f = 0; (format = mmh_format_at(f)) != NULL; f++) {
        (void)snprintf(name, sizeof name, "folder/m%s", format->suffix ? format->suffix : "");
        map_one(data, bytes, name, MMH_DTYPE_OPAQUE);
    }
    map_one(data, bytes, "m", (mmh_dtype)(bytes % (MMH_DTYPE_COUNT + 1)));
    read_index(data, bytes);
    return 0;
}
