/*
 * Fuzz target: the bytes of a container are opened or refused, as they are and with right checksums.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sealed.h"

enum { INDEX_MAX = 4 << 20 };

struct bytes {
    const uint8_t *data;
    size_t bytes;
};

static mmh_status read_at(void *context, void *dst, uint64_t offset, size_t bytes, mmh_error *err)
{
    const struct bytes *container = context;
    (void)err;
    FUZZ_REQUIRE(offset <= container->bytes && bytes <= container->bytes - offset);
    if (bytes)
        memcpy(dst, container->data + offset, bytes);
    return MMH_OK;
}

/* Open; what was opened is consistent. */
static mmh_status open_one(uint8_t root[MMH_HASH_BYTES], unsigned *mended,
                           const struct bytes *container, bool spares)
{
    mmh_container_reader reader;
    mmh_error err = { .status = MMH_OK };
    mmh_status status = mmh_container_open(&reader, read_at, (void *)container, container->bytes,
                                           INDEX_MAX, spares, NULL, &err);
    FUZZ_REQUIRE(status == err.status && (!status || err.message[0]));
    if (status)
        return status;
    FUZZ_REQUIRE(!index_problem(&reader));
    FUZZ_REQUIRE(reader.container_bytes <= container->bytes);
    memcpy(root, reader.root, MMH_HASH_BYTES);
    *mended = reader.mended;
    mmh_container_close(&reader);
    return MMH_OK;
}

static void open_both(const uint8_t *data, size_t bytes)
{
    const struct bytes container = { data, bytes };
    uint8_t root[MMH_HASH_BYTES], again[MMH_HASH_BYTES];
    unsigned mended = 0, more = 0;
    mmh_status status = open_one(root, &mended, &container, false);
    mmh_status with_spares = open_one(again, &more, &container, true);
    /* Looking at the spares as well may find more damage, but nothing else. */
    FUZZ_REQUIRE((status == MMH_OK) == (with_spares == MMH_OK));
    if (!status)
        FUZZ_REQUIRE(!memcmp(root, again, sizeof root) && !(mended & ~more));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    open_both(data, bytes);
    uint8_t *copy = fuzz_copy(data, bytes);
    sealed_container(copy, bytes);
    open_both(copy, bytes);
    free(copy);
    return 0;
}
