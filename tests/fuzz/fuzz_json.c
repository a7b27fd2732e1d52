/*
 * Fuzz target: the JSON parser reads any bytes, stays inside them and ends.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "fuzz.h"

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct mmh_json json;
    struct mmh_json_token token;
    struct mmh_arena arena;
    size_t end = 0, depth = 0;
    mmh_arena_init(&arena, NULL);
    mmh_json_init(&json, data, bytes);
    while (mmh_json_next(&json, &token) != MMH_JSON_END) {
        size_t text_bytes;
        FUZZ_REQUIRE(token.offset >= end && token.offset < bytes && token.bytes <= bytes);
        end = token.offset;
        depth += token.kind == MMH_JSON_OBJECT || token.kind == MMH_JSON_ARRAY;
        depth -= token.kind == MMH_JSON_OBJECT_END || token.kind == MMH_JSON_ARRAY_END;
        FUZZ_REQUIRE(depth <= MMH_JSON_DEPTH_MAX);
        char *text = mmh_json_string(&token, &arena, &text_bytes);
        FUZZ_REQUIRE(!text || (text_bytes <= token.bytes && !text[text_bytes]));
    }
    if (!mmh_json_finish(&json, "fuzz", NULL)) {
        FUZZ_REQUIRE(!depth);
        /* Passing over the value reaches the same end. */
        mmh_json_init(&json, data, bytes);
        (void)mmh_json_next(&json, &token);
        mmh_json_skip_rest(&json, &token);
        FUZZ_REQUIRE(!mmh_json_finish(&json, "fuzz", NULL));
    }
    mmh_arena_release(&arena);
    return 0;
}
