/*
 * Fuzz target: any bytes as a layout file are refused with words, or map a file of which every byte is in one piece.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "fuzz.h"

#include "../map_check.h"
#include "format/format.h"
#include "format/layout_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const uint8_t file[4096];
    struct mmh_arena arena;
    struct mmh_extent_map map;
    struct mmh_layout layout;
    mmh_error err = { 0 };
    mmh_arena_init(&arena, NULL);
    mmh_status status = mmh_layout_read(&layout, &arena, data, bytes, "layout.json", &err);
    if (status == MMH_OK) {
        mmh_source source = mmh_source_of_memory(file, sizeof file, "dump.bin");
        struct mmh_format_options options = { .layout = &layout };
        (void)mmh_layout_is_for(&layout, "dump.bin");
        mmh_extent_map_init(&map, &arena, sizeof file);
        status = mmh_format_detect_and_map(&map, &source, &options, &err);
        FUZZ_REQUIRE(status || (map.format == MMH_FORMAT_CUSTOM && !map_problem(&map)));
    }
    FUZZ_REQUIRE(!status || status == MMH_E_MEMORY ||
                 (status == MMH_E_USAGE && strstr(err.message, "layout \"layout.json\"")));
    mmh_arena_release(&arena);
    return 0;
}
