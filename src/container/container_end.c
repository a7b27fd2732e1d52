/*
 * Ends of containers, whole ones and those that are added to.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "container/container_end.h"

#include <string.h>

#include "base/bits.h"
#include "container/layout.h"

static mmh_status put(struct mmh_container_end *end, const void *data, size_t bytes, mmh_error *err)
{
    end->position += bytes;
    return bytes ? end->sink(end->sink_context, data, bytes, err) : MMH_OK;
}

static mmh_status settle(struct mmh_container_end *end, mmh_error *err)
{
    return end->settle ? end->settle(end->settle_context, err) : MMH_OK;
}

/* How long the recovery area will be, and its section of the trailer. */
static mmh_status plan_recovery(struct mmh_container_end *end, struct mmh_buffer *trailer,
                                struct mmh_recovery_request *request, mmh_error *err)
{
    const struct mmh_footer *footer = &end->footer;
    uint8_t section[MMH_PARITY_SECTION_BYTES];
    *request = (struct mmh_recovery_request){
        .hash_suite = end->hash_suite,
        .end = footer->index_a + footer->index_bytes,
        .root = footer->root,
        .root_bytes = mmh_hash_bytes(end->hash_suite),
        .tail_bytes = MMH_FOOTER_BYTES + trailer->bytes + MMH_SECTION_HEAD_BYTES + sizeof section,
    };
    if (end->old_parity) {
        memcpy(section, end->old_parity->data, sizeof section);
        request->geometry = end->old_parity->data;
        request->area_offset = mmh_load64(section + MMH_GEOMETRY_BYTES);
        request->area_bytes = mmh_load64(section + MMH_GEOMETRY_BYTES + 8);
    }
    mmh_status status = end->recovery->plan(end->recovery->context, request, &end->recovery_bytes,
                                            section, err);
    if (!end->old_parity) {
        mmh_store64(section + MMH_GEOMETRY_BYTES, end->position);
        mmh_store64(section + MMH_GEOMETRY_BYTES + 8, end->recovery_bytes);
    }
    if (status == MMH_OK)
        mmh_trailer_add(trailer, MMH_SECTION_PARITY, section, sizeof section);
    return status;
}

static mmh_status write_recovery(struct mmh_container_end *end, const struct mmh_buffer *trailer,
                                 const uint8_t *foot, const struct mmh_recovery_request *request,
                                 const mmh_allocator *allocator, mmh_error *err)
{
    struct mmh_buffer tail;
    mmh_buffer_init(&tail, allocator);
    mmh_buffer_bytes(&tail, foot, MMH_FOOTER_BYTES);
    mmh_buffer_bytes(&tail, trailer->data, trailer->bytes);
    mmh_status status = mmh_buffer_finish(&tail, "the trailer", err);
    if (status == MMH_OK)
        status = end->recovery->write(end->recovery->context, request, end->position,
                                      end->recovery_bytes, tail.data, end->read_back,
                                      end->read_context, err);
    end->position += end->recovery_bytes;
    mmh_buffer_release(&tail);
    return status;
}

mmh_status mmh_container_end_write(struct mmh_container_end *end, const mmh_allocator *allocator,
                                   mmh_error *err)
{
    struct mmh_footer *footer = &end->footer;
    struct mmh_recovery_request request;
    struct mmh_buffer trailer;
    uint8_t foot[MMH_FOOTER_BYTES];
    mmh_status status = MMH_OK;
    end->recovery_bytes = 0;
    mmh_buffer_init(&trailer, allocator);
    mmh_buffer_bytes(&trailer, end->trailer->data, end->trailer->bytes);
    if (end->recovery)
        status = plan_recovery(end, &trailer, &request, err);
    if (status == MMH_OK)
        status = mmh_buffer_finish(&trailer, "the trailer", err);
    if (status == MMH_OK && trailer.bytes > MMH_TRAILER_BYTES_MAX)
        status = mmh_fail(err, MMH_E_LIMIT, "a trailer of %zu bytes is too long", trailer.bytes);
    footer->trailer = end->position + end->recovery_bytes;
    footer->trailer_bytes = trailer.bytes;
    footer->index_b = footer->trailer + footer->trailer_bytes + MMH_FOOTER_BYTES;
    footer->container_bytes = footer->index_b + footer->index_bytes + MMH_FOOTER_BYTES;
    mmh_footer_write(foot, footer);
    if (status == MMH_OK && end->recovery)
        status = write_recovery(end, &trailer, foot, &request, allocator, err);
    if (status == MMH_OK)
        status = put(end, trailer.data, trailer.bytes, err);
    if (status == MMH_OK) /* a footer is believed wherever it is found: what it names comes first */
        status = settle(end, err);
    if (status == MMH_OK)
        status = put(end, foot, sizeof foot, err);
    if (status == MMH_OK)
        status = put(end, end->index, (size_t)footer->index_bytes, err);
    if (status == MMH_OK)
        status = settle(end, err);
    if (status == MMH_OK)
        status = put(end, foot, sizeof foot, err);
    mmh_buffer_release(&trailer);
    return status;
}
