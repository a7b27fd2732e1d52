/*
 * Fuzz target: the JSON parser reads any bytes, stays inside them and ends.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct mmh_json json;
    struct mmh_json_token token;
    struct mmh_arena arena;
    mmh_arena_init(&arena, NULL);
    mmh_json_init(&json, data, bytes);
    while (mmh_json_next(&json, &token) != MMH_JSON_END) {
        size_t text_bytes;
        if (token.offset >= bytes || token.bytes > bytes)
            abort();
        char *text = mmh_json_string(&token, &arena, &text_bytes);
        if (text && text_bytes > token.bytes)
            abort();
    }
    (void)mmh_json_finish(&json, "fuzz", NULL);
    mmh_arena_release(&arena);
    return 0;
}
