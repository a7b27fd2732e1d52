/*
 * The trailer's sections: read, kept, added.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "container/trailer.h"

#include "base/bits.h"
#include "integrity/digest.h"

enum { SECTION_ALIGNMENT = 8 };

static bool all_zeros(const uint8_t *data, size_t bytes)
{
    unsigned any = 0;
    for (size_t i = 0; i < bytes; i++)
        any |= data[i];
    return !any;
}

/* Of what a section says, but for this. */
static uint32_t section_crc(uint32_t type, const void *body, size_t bytes)
{
    uint8_t head[12];
    mmh_store32(head, type);
    mmh_store64(head + 4, bytes);
    return mmh_crc32_more(mmh_crc32(head, sizeof head), body, bytes);
}

/* One section that begins at `at`; returns where the next one does, or 0: it does not fit. */
static size_t section_read(struct mmh_section *section, uint32_t *type,
                           const struct mmh_trailer *trailer, uint64_t begin, size_t at)
{
    if (trailer->bytes - at < MMH_SECTION_HEAD_BYTES)
        return 0;
    const uint8_t *head = trailer->data + at;
    uint64_t bytes = mmh_load64(head + 8), left = trailer->bytes - at - MMH_SECTION_HEAD_BYTES;
    *type = mmh_load32(head);
    if (!*type || bytes > left || mmh_round_up(bytes, SECTION_ALIGNMENT) > left)
        return 0; /* zeros would be sections of no bytes, with right CRCs */
    *section = (struct mmh_section){ .present = true,
                                     .offset = begin + at + MMH_SECTION_HEAD_BYTES,
                                     .bytes = (size_t)bytes,
                                     .data = head + MMH_SECTION_HEAD_BYTES };
    section->right = section_crc(*type, section->data, section->bytes) == mmh_load32(head + 4);
    return at + MMH_SECTION_HEAD_BYTES + (size_t)mmh_round_up(bytes, SECTION_ALIGNMENT);
}

mmh_status mmh_trailer_read(struct mmh_trailer *trailer, const struct mmh_footer *footer,
                            mmh_container_read_at *read, void *read_context, uint64_t source_bytes,
                            const mmh_allocator *allocator, mmh_error *err)
{
    *trailer = (struct mmh_trailer){ .allocator = allocator, .fits = true, .sound = true };
    if (!footer->trailer_bytes)
        return MMH_OK;
    if (footer->trailer_bytes > MMH_TRAILER_BYTES_MAX || footer->trailer > source_bytes ||
        footer->trailer_bytes > source_bytes - footer->trailer) {
        trailer->fits = trailer->sound = false;
        return MMH_OK;
    }
    trailer->data = mmh_alloc(allocator, 0, (size_t)footer->trailer_bytes);
    if (!trailer->data)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for the trailer");
    mmh_status status = read(read_context, trailer->data, footer->trailer,
                             (size_t)footer->trailer_bytes, err);
    if (status != MMH_OK)
        return status;
    trailer->bytes = (size_t)footer->trailer_bytes;
    for (size_t at = 0, next; at < trailer->bytes; at = next) {
        struct mmh_section section;
        uint32_t type;
        next = section_read(&section, &type, trailer, footer->trailer, at);
        if (!next) {
            trailer->fits = trailer->sound = false;
            break;
        }
        bool known = type && type < MMH_SECTION_TYPES;
        size_t padding = next - at - MMH_SECTION_HEAD_BYTES - section.bytes;
        bool again = known && trailer->sections[type].present;
        if (!section.right || !all_zeros(section.data + section.bytes, padding))
            trailer->sound = false;
        if (again)
            trailer->fits = trailer->sound = false;
        else if (known)
            trailer->sections[type] = section;
    }
    return MMH_OK;
}

void mmh_trailer_release(struct mmh_trailer *trailer)
{
    mmh_free(trailer->allocator, trailer->data);
    *trailer = (struct mmh_trailer){ .data = NULL };
}

void mmh_trailer_add(struct mmh_buffer *trailer, uint32_t type, const void *body, size_t bytes)
{
    mmh_buffer_u32(trailer, type);
    mmh_buffer_u32(trailer, section_crc(type, body, bytes));
    mmh_buffer_u64(trailer, bytes);
    mmh_buffer_bytes(trailer, body, bytes);
    mmh_buffer_align(trailer, SECTION_ALIGNMENT);
}

void mmh_trailer_keep(struct mmh_buffer *trailer, const struct mmh_trailer *old, unsigned without)
{
    for (size_t at = 0, next; at < old->bytes; at = next) {
        struct mmh_section section;
        uint32_t type;
        next = section_read(&section, &type, old, 0, at);
        if (!next)
            return;
        bool known = type && type < MMH_SECTION_TYPES;
        if (section.right && !(known && without & 1u << type))
            mmh_trailer_add(trailer, type, section.data, section.bytes);
    }
}
