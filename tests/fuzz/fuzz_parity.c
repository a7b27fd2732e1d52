/*
 * Fuzz target: packets and geometries of any bytes, and repair of damaged containers, which gives back
 * what it was or says that it cannot.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Input that begins as a container is repaired as it is. Of any other the first byte chooses: packets to
 * look through, with right hashes or without; damage to a container of some kB with 25 % parity, as
 * pieces of u16 offset, u8 length, bytes; behind them u16 bytes to cut off; or lies of its section 3, as
 * pairs of a place and what is changed there.
 */
#include "fuzz.h"

#include "container/container.h"
#include "integrity/digest.h"
#include "integrity/recovery.h"

enum { ORIGINAL_BYTES = 3000, ROOM = 1 << 16 };

struct bytes {
    const uint8_t *data;
    size_t count;
};

static mmh_status read_bytes(void *context, void *dst, uint64_t offset, size_t bytes,
                             mmh_error *err)
{
    const struct bytes *source = context;
    (void)err;
    FUZZ_REQUIRE(offset <= source->count && bytes <= source->count - offset);
    memcpy(dst, source->data + offset, bytes);
    return MMH_OK;
}

/* Make the hash of each packet that may be one right. */
static void seal_packets(uint8_t *data, size_t bytes)
{
    struct mmh_packet packet;
    for (size_t at = 0; at + MMH_PACKET_HEAD_BYTES <= bytes; at += 8)
        if (mmh_packet_read(&packet, data + at) &&
            packet.payload_bytes <= bytes - at - MMH_PACKET_HEAD_BYTES)
            (void)mmh_packet_seal(data + at, mmh_hash_suite_default(), &packet.geometry,
                                  packet.kind, packet.number, packet.payload_bytes,
                                  packet.generation, NULL);
}

static void look_for_packets(const uint8_t *data, size_t bytes, bool seal)
{
    uint8_t *copy = fuzz_copy(data, bytes);
    struct bytes source = { copy, bytes };
    struct mmh_found found = { .allocator = NULL };
    if (seal)
        seal_packets(copy, bytes);
    FUZZ_REQUIRE(!mmh_recovery_scan(&found, 0, read_bytes, &source, 0, bytes, NULL));
    for (size_t i = 0; i < found.count; i++) {
        const struct mmh_found_packet *packet = &found.packets[i];
        const struct mmh_geometry *geometry = &found.geometries[packet->geometry];
        struct mmh_recovery_layout layout;
        FUZZ_REQUIRE(packet->offset + MMH_PACKET_HEAD_BYTES + packet->payload_bytes <= bytes);
        mmh_recovery_layout_make(&layout, geometry, geometry->end);
        if (packet->number < mmh_recovery_packet_count(&layout, packet->kind))
            FUZZ_REQUIRE(mmh_recovery_packet_offset(&layout, packet->kind, packet->number) -
                             layout.area_offset <
                         layout.area_bytes);
    }
    mmh_found_release(&found);
    free(copy);
}

/* Repair a file; what comes of it is right, if it says so. Returns whether it did. */
static bool repaired(const char *path)
{
    mmh_context *context = fuzz_context(1);
    mmh_repair_options options = { .struct_size = sizeof options,
                                   .output = fuzz_path("new.mmh"),
                                   .overwrite = true };
    fuzz_remove(options.output);
    mmh_status status = mmh_repair(context, path, &options, NULL, NULL);
    if (status == MMH_OK) {
        mmh_verify_options quick = { .struct_size = sizeof quick, .quick = true };
        status = mmh_verify(context, options.output, &quick, NULL, NULL);
        FUZZ_REQUIRE(status == MMH_OK || status == MMH_E_LIMIT || status == MMH_E_UNSUPPORTED);
        status = MMH_OK;
    }
    return status == MMH_OK;
}

static const struct bytes *pristine(void)
{
    static struct bytes container;
    if (container.data)
        return &container;
    uint8_t original[ORIGINAL_BYTES];
    struct fuzz_input none = { NULL, 0 };
    const char *inputs[] = { fuzz_path("o.bin") };
    mmh_pack_options options = { .struct_size = sizeof options, .level = 1, .parity = 2500 };
    fuzz_fill(original, sizeof original, 2, &none);
    fuzz_write(inputs[0], original, sizeof original);
    FUZZ_REQUIRE(!mmh_pack(fuzz_context(1), inputs, 1, fuzz_path("o.mmh"), &options, NULL, NULL));
    container.data = fuzz_read(fuzz_path("o.mmh"), &container.count);
    FUZZ_REQUIRE(container.data);
    return &container;
}

static void damage_and_repair(struct fuzz_input *in)
{
    const struct bytes *container = pristine();
    uint8_t *data = fuzz_copy(container->data, container->count);
    size_t bytes = container->count;
    while (in->bytes > 3) {
        size_t at = (size_t)fuzz_number(in, 2) % bytes, count = (size_t)fuzz_number(in, 1);
        for (size_t i = 0; i < count && at + i < bytes; i++)
            data[at + i] ^= (uint8_t)fuzz_number(in, 1);
    }
    bytes -= (size_t)fuzz_number(in, 2) % bytes;
    fuzz_write(fuzz_path("x.mmh"), data, bytes);
    if (repaired(fuzz_path("x.mmh"))) {
        size_t count;
        uint8_t *result = fuzz_read(fuzz_path("new.mmh"), &count);
        FUZZ_REQUIRE(result && count == container->count &&
                     memcmp(result, container->data, count) == 0);
        free(result);
    }
    free(data);
}

/* Section 3 says something else, with a right CRC. */
static void lie_and_repair(struct fuzz_input *in)
{
    const struct bytes *container = pristine();
    uint8_t *data = fuzz_copy(container->data, container->count), summed[12];
    uint8_t *section = data + mmh_load64(data + container->count - MMH_FOOTER_BYTES + 48);
    size_t bytes = (size_t)mmh_load64(section + 8);
    while (in->bytes > 1) {
        size_t at = (size_t)fuzz_number(in, 1) % bytes;
        section[16 + at] ^= (uint8_t)fuzz_number(in, 1);
    }
    memcpy(summed, section, 4);
    memcpy(summed + 4, section + 8, 8);
    mmh_store32(section + 4, mmh_crc32_more(mmh_crc32(summed, sizeof summed), section + 16, bytes));
    fuzz_write(fuzz_path("x.mmh"), data, container->count);
    (void)repaired(fuzz_path("x.mmh"));
    free(data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (!bytes || bytes > ROOM)
        return 0;
    struct fuzz_input in = { data, bytes };
    if (bytes > 8 && memcmp(data, "\x89MMH", 4) == 0) {
        fuzz_write(fuzz_path("x.mmh"), data, bytes);
        (void)repaired(fuzz_path("x.mmh"));
        return 0;
    }
    switch (fuzz_below(&in, 4)) {
    case 0:
        look_for_packets(in.data, in.bytes, false);
        break;
    case 1:
        look_for_packets(in.data, in.bytes, true);
        break;
    case 2:
        damage_and_repair(&in);
        break;
    default:
        lie_and_repair(&in);
        break;
    }
    return 0;
}
