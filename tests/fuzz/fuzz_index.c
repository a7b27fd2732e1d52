/*
 * Fuzz target: an index of any bytes, its hashes right, is read and consistent, or refused.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Input: as fuzz_container.c takes the parts of a container; of the chunks only their size counts.
 */
#include "sealed.h"

enum { INDEX_MAX = 4 << 20 };

/* A container whose chunks are nowhere: opening it reads none. */
struct hollow {
    uint8_t *sound; /* of no chunks */
    uint64_t gap;   /* bytes that seem to lie behind its header */
    uint64_t bytes;
};

static mmh_status read_at(void *context, void *dst, uint64_t offset, size_t bytes, mmh_error *err)
{
    const struct hollow *hollow = context;
    (void)err;
    FUZZ_REQUIRE(offset <= hollow->bytes && bytes <= hollow->bytes - offset);
    if (offset < MMH_HEADER_BYTES) {
        FUZZ_REQUIRE(bytes <= MMH_HEADER_BYTES - offset);
        memcpy(dst, hollow->sound + offset, bytes);
        return MMH_OK;
    }
    FUZZ_REQUIRE(offset >= MMH_HEADER_BYTES + hollow->gap); /* the index is not among the chunks */
    memcpy(dst, hollow->sound + (offset - hollow->gap), bytes);
    return MMH_OK;
}

/* Move everything behind the header by `gap`, in what the footers say. */
static void move_footers(struct hollow *hollow, size_t bytes)
{
    struct mmh_footer footer;
    uint8_t *last = hollow->sound + bytes - MMH_FOOTER_BYTES;
    FUZZ_REQUIRE(mmh_footer_read(&footer, last));
    uint8_t *spare = hollow->sound + footer.trailer + footer.trailer_bytes;
    footer.container_bytes += hollow->gap;
    footer.index_a += hollow->gap;
    footer.index_b += hollow->gap;
    footer.trailer += hollow->gap;
    mmh_footer_write(last, &footer);
    memcpy(spare, last, MMH_FOOTER_BYTES);
    hollow->bytes = footer.container_bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct hollow hollow = { 0 };
    mmh_container_reader reader;
    mmh_error err = { .status = MMH_OK };
    size_t made_bytes;
    if (bytes < 5)
        return 0;
    size_t index_bytes = MMH_MIN((size_t)mmh_load32(data), bytes - 4);
    if (!index_bytes) /* no pages, which no footer may say */
        return 0;
    uint8_t *parts = fuzz_copy(data, 4 + index_bytes);
    hollow.sound = sealed_parts(&made_bytes, parts, 4 + index_bytes);
    hollow.gap = bytes - 4 - index_bytes;
    free(parts);
    move_footers(&hollow, made_bytes);
    mmh_status status = mmh_container_open(&reader, read_at, &hollow, hollow.bytes, INDEX_MAX,
                                           false, NULL, &err);
    FUZZ_REQUIRE(status == err.status && (!status || err.message[0]));
    if (!status) {
        FUZZ_REQUIRE(!index_problem(&reader));
        FUZZ_REQUIRE(!reader.mended);
        mmh_container_close(&reader);
    }
    free(hollow.sound);
    return 0;
}
