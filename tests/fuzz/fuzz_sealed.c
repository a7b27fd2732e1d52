/*
 * Fuzz target: encrypted containers whose hashes, tags and MAC are right hold any index and any chunks; they
 * are opened by who has the key and read, or refused, and seen from outside by who has none.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Input: the parts of a plain container, as fuzz_container.c takes them, which are sealed here under a file
 * key that is always the same.
 */
#include "sealed.h"

enum { ORIGINAL_MAX = 4 << 20, THINGS_MAX = 16 };

static mmh_context *with_key(void)
{
    static mmh_context *context;
    static const mmh_context_options options = { .struct_size = sizeof options, .threads = 1 };
    if (!context) {
        FUZZ_REQUIRE(!mmh_context_create(&context, &options, NULL));
        FUZZ_REQUIRE(!mmh_context_add_key(context, sealed_key(), NULL));
    }
    return context;
}

/* Read what there is; whether all of it was well. */
static bool read_all(mmh_reader *reader, const mmh_container_info *info)
{
    bool good = true;
    for (uint64_t i = 0; i < info->file_count && i < THINGS_MAX; i++) {
        mmh_file_info file = { .struct_size = sizeof file };
        FUZZ_REQUIRE(!mmh_file(reader, i, &file, NULL));
        if (file.kind != MMH_FILE_REGULAR || !file.bytes)
            continue;
        uint8_t *memory = fuzz_memory((size_t)file.bytes);
        good = mmh_read(reader, i, 0, memory, (size_t)file.bytes, NULL) == MMH_OK && good;
        free(memory);
    }
    return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    mmh_container_info info = { .struct_size = sizeof info };
    const char *path = fuzz_path("x.mmh");
    mmh_reader *reader;
    size_t made_bytes;
    uint8_t *made = sealed_secret(&made_bytes, data, bytes);
    if (!made)
        return 0;
    fuzz_write(path, made, made_bytes);
    free(made);
    mmh_status blind = mmh_verify(fuzz_context(1), path, NULL, NULL, NULL);
    FUZZ_REQUIRE(blind == MMH_E_KEY || blind == MMH_E_CORRUPT || blind == MMH_E_LIMIT ||
                 blind == MMH_E_UNSUPPORTED);
    mmh_status status = mmh_open(with_key(), path, &reader, NULL);
    FUZZ_REQUIRE(status != MMH_E_KEY);
    if (status)
        return 0;
    FUZZ_REQUIRE(blind == MMH_E_KEY); /* what is right inside is right outside */
    FUZZ_REQUIRE(!mmh_container(reader, &info, NULL) && info.encrypted);
    bool small = info.original_bytes <= ORIGINAL_MAX, good = small && read_all(reader, &info);
    mmh_close(reader);
    if (small && !mmh_verify(with_key(), path, NULL, NULL, NULL))
        FUZZ_REQUIRE(good);
    return 0;
}
