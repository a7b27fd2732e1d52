/*
 * Any bytes through one format's parser: a map that tiles them, in memory in proportion to them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "parser.h"

#include "../map_check.h"
#include "fuzz.h"

/* Of the map's arena, which lives as long as the file is worked on. */
enum { ARENA_BYTES = 1 << 20, ARENA_PER_BYTE = 512 };

struct input {
    const uint8_t *data;
    size_t bytes;
};

/* Whatever is asked for beside the file is the file itself: what one parser makes of it, the other
 * may read. */
static mmh_status read_beside(void *context, const char *name, size_t bytes_max, uint8_t **data,
                              size_t *bytes, const mmh_allocator *allocator, mmh_error *err)
{
    const struct input *input = context;
    FUZZ_REQUIRE(mmh_map_file_is_safe(name));
    if (input->bytes > bytes_max)
        return mmh_fail(err, MMH_E_LIMIT, "too large");
    *data = mmh_alloc(allocator, 0, input->bytes + 1);
    if (!*data)
        return mmh_fail(err, MMH_E_MEMORY, "no memory");
    memcpy(*data, input->data, input->bytes);
    (*data)[input->bytes] = '\0';
    *bytes = input->bytes;
    return MMH_OK;
}

/* As long as its name, eight times. */
static mmh_status bytes_beside(void *context, const char *name, uint64_t *bytes, mmh_error *err)
{
    (void)context;
    (void)err;
    FUZZ_REQUIRE(mmh_map_file_is_safe(name));
    *bytes = 8 * strlen(name);
    return MMH_OK;
}

static void parse(const struct fuzz_parser *parser, const uint8_t *data, size_t bytes)
{
    struct mmh_arena arena;
    struct mmh_extent_map map;
    struct input input = { data, bytes };
    mmh_source source = mmh_source_of_memory(data, bytes, parser->name);
    struct mmh_format_options options = { .read_beside = read_beside,
                                          .bytes_beside = bytes_beside,
                                          .beside_context = &input };
    struct mmh_format_probe probe = { .source = &source, .options = &options };
    probe.head_bytes = MMH_MIN(bytes, sizeof probe.head);
    memcpy(probe.head, data, probe.head_bytes);
    if (!parser->format->detect(&probe))
        return;
    mmh_arena_init(&arena, NULL);
    mmh_extent_map_init(&map, &arena, bytes);
    struct mmh_map_mark before = mmh_extent_map_mark(&map);
    mmh_status status = parser->format->map(&map, &probe, NULL);
    FUZZ_REQUIRE(!status || status == MMH_E_CORRUPT || status == MMH_E_UNSUPPORTED ||
                 status == MMH_E_MEMORY);
    if (status == MMH_E_CORRUPT || status == MMH_E_UNSUPPORTED)
        mmh_extent_map_discard(&map, &before);
    FUZZ_REQUIRE(map.file_bytes == bytes && !map.window_offset && !map.prefix);
    if (status != MMH_E_MEMORY && mmh_extent_map_finish(&map, NULL) == MMH_OK) {
        const char *problem = map_problem(&map);
        if (problem)
            (void)fprintf(stderr, "%s: %s\n", parser->name, problem);
        FUZZ_REQUIRE(!problem);
    }
    FUZZ_REQUIRE(arena.used <= ARENA_BYTES + ARENA_PER_BYTE * bytes);
    mmh_arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    for (const struct fuzz_parser *parser = fuzz_parsers; parser->format; parser++)
        parse(parser, data, bytes);
    return 0;
}
