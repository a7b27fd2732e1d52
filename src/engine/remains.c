/*
 * What is left of a damaged container.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine/remains.h"

#include <string.h>

#include "base/bits.h"
#include "container/layout.h"

/* A footer with its trailer, from one place or another. */
struct tail {
    bool found, sound;
    struct mmh_footer footer;
    uint8_t *trailer; /* [footer.trailer_bytes] */
    uint32_t generation;
    struct mmh_geometry geometry; /* of section 3, if has_parity */
    bool has_parity;
    uint64_t area_offset, area_bytes;
};

/* Trailers that lie in memory are read as if they lay in their container. */
struct memory_source {
    const uint8_t *data;
    uint64_t offset;
};

static mmh_status memory_read(void *context, void *dst, uint64_t offset, size_t bytes,
                              mmh_error *err)
{
    const struct memory_source *source = context;
    (void)err;
    memcpy(dst, source->data + (offset - source->offset), bytes);
    return MMH_OK;
}

static void tail_release(struct tail *tail, const mmh_allocator *allocator)
{
    mmh_free(allocator, tail->trailer);
    *tail = (struct tail){ .found = false };
}

/* Whether what section 3 says can be true of the container that its footer ends. */
static bool parity_fits(const struct tail *tail)
{
    const struct mmh_footer *footer = &tail->footer;
    const struct mmh_geometry *geometry = &tail->geometry;
    struct mmh_recovery_layout layout;
    if (geometry->end != footer->index_a + footer->index_bytes ||
        memcmp(geometry->root, footer->root, MMH_ROOT_START_BYTES) != 0 ||
        tail->area_offset < geometry->end || tail->area_offset > footer->trailer ||
        tail->area_bytes > footer->trailer - tail->area_offset)
        return false;
    mmh_recovery_layout_make(&layout, geometry, tail->area_offset);
    /* The tail that the area was made for follows it; what stands later came later. */
    bool first = tail->area_offset + tail->area_bytes == footer->trailer;
    return layout.area_bytes == tail->area_bytes &&
           (!first || MMH_FOOTER_BYTES + footer->trailer_bytes == geometry->tail_bytes);
}

/* Look through the trailer of a footer: its sections, parity's above all. Takes over `read`'s bytes. */
static mmh_status tail_open(struct tail *tail, mmh_container_read_at *read, void *context,
                            const mmh_allocator *allocator, mmh_error *err)
{
    struct mmh_trailer trailer;
    const struct mmh_footer *footer = &tail->footer;
    mmh_status status = mmh_trailer_read(&trailer, footer, read, context, footer->container_bytes,
                                         allocator, err);
    const struct mmh_section *section = &trailer.sections[MMH_SECTION_PARITY];
    if (status == MMH_OK) {
        tail->found = true;
        tail->sound = trailer.sound && trailer.bytes == footer->trailer_bytes;
        if (tail->sound && section->present && section->right &&
            section->bytes == MMH_PARITY_SECTION_BYTES &&
            mmh_geometry_read(&tail->geometry, section->data)) {
            tail->area_offset = mmh_load64(section->data + MMH_GEOMETRY_BYTES);
            tail->area_bytes = mmh_load64(section->data + MMH_GEOMETRY_BYTES + 8);
            tail->has_parity = parity_fits(tail);
        }
        tail->trailer = trailer.data;
        trailer.data = NULL;
    }
    mmh_trailer_release(&trailer);
    return status;
}

static bool same_tail(const struct tail *a, const struct tail *b)
{
    return memcmp(&a->footer, &b->footer, sizeof a->footer) == 0 &&
           memcmp(a->trailer, b->trailer, (size_t)a->footer.trailer_bytes) == 0;
}

/* The one that is right, and newer, is kept; of two that are the same the other, whose generation is known. */
static void tail_choose(struct tail *best, struct tail *other, const mmh_allocator *allocator)
{
    bool newer = other->footer.container_bytes > best->footer.container_bytes;
    bool better = other->found &&
                  (!best->found || other->sound > best->sound ||
                   (other->sound == best->sound && (newer || same_tail(best, other))));
    if (better) {
        tail_release(best, allocator);
        *best = *other;
    } else {
        mmh_free(allocator, other->trailer);
    }
    *other = (struct tail){ .found = false };
}

/* ---- the tail out of packets ---- */

struct tail_search {
    const struct mmh_found *found;
    const struct mmh_copy *copy;
    const mmh_allocator *allocator;
    uint32_t geometry, generation;
};

static bool of_search(const struct tail_search *search, const struct mmh_found_packet *packet)
{
    return packet->kind == MMH_PACKET_TAIL && packet->geometry == search->geometry &&
           packet->generation == search->generation;
}

/* Put pieces together that agree with the first of them. */
static mmh_status join_tail(struct tail *tail, const struct tail_search *search, size_t first,
                            mmh_error *err)
{
    const struct mmh_found *found = search->found;
    struct mmh_copy *copy = (struct mmh_copy *)(uintptr_t)search->copy;
    const struct mmh_geometry *geometry = &found->geometries[search->geometry];
    uint8_t head[MMH_TAIL_HEAD_BYTES], other[MMH_TAIL_HEAD_BYTES];
    bool present[MMH_PARITY_BLOCKS_MAX] = { false };
    mmh_status status = mmh_copy_read(
        copy, head, found->packets[first].offset + MMH_PACKET_HEAD_BYTES, sizeof head, err);
    size_t bytes = mmh_load32(head);
    if (status != MMH_OK || bytes < MMH_FOOTER_BYTES || bytes > MMH_TAIL_BYTES_MAX)
        return status;
    struct mmh_pieces shape = mmh_tail_pieces(geometry, bytes);
    unsigned count = shape.data_count + shape.parity_count, have = 0;
    size_t payload_bytes = MMH_TAIL_HEAD_BYTES + shape.piece_bytes;
    /* A piece of that size is there, so all of them are in proportion. */
    if (found->packets[first].payload_bytes != payload_bytes ||
        mmh_load16(head + 4) != shape.data_count || mmh_load16(head + 6) != shape.parity_count)
        return MMH_OK;
    uint8_t *pieces = mmh_alloc(search->allocator, 64, count * shape.piece_bytes);
    uint8_t *whole = mmh_alloc(search->allocator, 0, bytes);
    if (!pieces || !whole)
        status = mmh_fail(err, MMH_E_MEMORY, "no memory for parity of the tail");
    for (size_t p = 0; p < found->count && status == MMH_OK; p++) {
        const struct mmh_found_packet *packet = &found->packets[p];
        if (!of_search(search, packet) || packet->payload_bytes != payload_bytes ||
            packet->number >= count || present[packet->number])
            continue;
        status = mmh_copy_read(copy, other, packet->offset + MMH_PACKET_HEAD_BYTES, sizeof other,
                               err);
        if (status != MMH_OK || memcmp(head, other, sizeof head) != 0)
            continue;
        status = mmh_copy_read(copy, pieces + packet->number * shape.piece_bytes,
                               packet->offset + MMH_PACKET_HEAD_BYTES + MMH_TAIL_HEAD_BYTES,
                               shape.piece_bytes, err);
        present[packet->number] = true;
        have++;
    }
    if (status == MMH_OK && have >= shape.data_count)
        status = mmh_pieces_join(whole, pieces, &shape, present, search->allocator, err);
    if (status == MMH_OK && have >= shape.data_count && mmh_footer_read(&tail->footer, whole) &&
        bytes == MMH_FOOTER_BYTES + tail->footer.trailer_bytes) {
        struct memory_source source = { .data = whole + MMH_FOOTER_BYTES,
                                        .offset = tail->footer.trailer };
        status = tail_open(tail, memory_read, &source, search->allocator, err);
        tail->generation = search->generation;
    }
    mmh_free(search->allocator, whole);
    mmh_free(search->allocator, pieces);
    return status;
}

/* Whether a tail's packets stand where those of its trailer do: in the recovery area that ends where it
 * begins, or later ones in a row right before it. */
static bool stands_at_packets(const struct tail *tail, const struct tail_search *search)
{
    const struct mmh_found *found = search->found;
    const struct mmh_footer *footer = &tail->footer;
    uint64_t begin = tail->area_offset, end = footer->trailer;
    if (search->generation) {
        uint64_t bytes = mmh_tail_area_bytes(&tail->geometry,
                                             MMH_FOOTER_BYTES + (size_t)footer->trailer_bytes);
        if (bytes > end - begin || end - bytes < tail->area_offset + tail->area_bytes)
            return false;
        begin = end - bytes;
    } else if (tail->area_offset + tail->area_bytes != end) {
        return false;
    }
    for (size_t i = 0; i < found->count; i++) {
        const struct mmh_found_packet *packet = &found->packets[i];
        if (of_search(search, packet) && packet->offset >= begin && packet->offset < end)
            return true;
    }
    return false;
}

/* Whether a tail is about the packets that it was found with, at the places where they are. */
static bool fits_packets(const struct tail *tail, const struct tail_search *search)
{
    const struct mmh_found *found = search->found;
    struct mmh_recovery_layout layout;
    if (!tail->found || !tail->sound || !tail->has_parity || !stands_at_packets(tail, search))
        return false;
    mmh_recovery_layout_make(&layout, &tail->geometry, tail->area_offset);
    for (size_t i = 0; i < found->count; i++) {
        const struct mmh_found_packet *packet = &found->packets[i];
        if (packet->geometry == search->geometry && !packet->generation &&
            packet->number < mmh_recovery_packet_count(&layout, packet->kind) &&
            packet->offset == mmh_recovery_packet_offset(&layout, packet->kind, packet->number))
            return true;
    }
    return false;
}

static bool is_listed(const struct tail *tails, size_t count, const struct mmh_geometry *geometry,
                      uint32_t generation)
{
    for (size_t i = 0; i < count; i++)
        if (tails[i].generation == generation &&
            memcmp(&tails[i].geometry, geometry, sizeof *geometry) == 0)
            return true;
    return false;
}

/* All tails that packets give, of whichever containers they are of.
 *   tails  [MMH_OLD_TAILS_MAX] */
static mmh_status search_tails(struct tail *tails, size_t *count, const struct mmh_found *found,
                               const struct mmh_copy *copy, const mmh_allocator *allocator,
                               mmh_error *err)
{
    enum { TRIES_MAX = 256 }; /* of pieces that agree with no others */
    mmh_status status = MMH_OK;
    unsigned tries = 0;
    *count = 0;
    /* From the end: what is newer counts more, if there are too many. */
    for (size_t p = found->count; p-- > 0 && status == MMH_OK && tries < TRIES_MAX;) {
        const struct mmh_found_packet *packet = &found->packets[p];
        if (packet->kind != MMH_PACKET_TAIL)
            continue;
        struct tail_search search = { .found = found,
                                      .copy = copy,
                                      .allocator = allocator,
                                      .geometry = packet->geometry,
                                      .generation = packet->generation };
        if (*count == MMH_OLD_TAILS_MAX ||
            is_listed(tails, *count, &found->geometries[packet->geometry], packet->generation))
            continue;
        struct tail tail = { .found = false };
        tries++;
        status = join_tail(&tail, &search, p, err);
        if (status == MMH_OK && fits_packets(&tail, &search))
            tails[(*count)++] = tail;
        else
            tail_release(&tail, allocator);
    }
    return status;
}

/* Whether there are packets of the container that a tail is of. */
static bool has_packets(const struct tail *tail, const struct mmh_found *found)
{
    for (size_t i = 0; i < found->geometry_count; i++)
        if (found->geometries[i].end == tail->footer.index_a + tail->footer.index_bytes &&
            memcmp(found->geometries[i].root, tail->footer.root, MMH_ROOT_START_BYTES) == 0)
            return true;
    return false;
}

/*
 * Whether what lies between index A and a trailer that tells of no parity is explained: there is nothing (or
 * no trailer, which could be damaged), or what ended the container before that trailer was put behind it.
 */
static mmh_status is_explained(bool *explained, const struct tail *tail, struct mmh_copy *copy,
                               mmh_error *err)
{
    uint8_t bytes[MMH_FOOTER_BYTES];
    struct mmh_footer footer;
    const struct mmh_footer *own = &tail->footer;
    *explained = !own->trailer_bytes || own->trailer == own->index_a + own->index_bytes;
    if (*explained || own->trailer < MMH_FOOTER_BYTES)
        return MMH_OK;
    mmh_status status = mmh_copy_read(copy, bytes, own->trailer - sizeof bytes, sizeof bytes, err);
    *explained = status == MMH_OK && mmh_footer_read(&footer, bytes) &&
                 footer.container_bytes == own->trailer;
    return status;
}

bool mmh_footers_agree(const struct mmh_footer *a, const struct mmh_footer *b)
{
    return memcmp(a->root, b->root, MMH_HASH_BYTES) == 0 && a->index_a == b->index_a &&
           a->index_bytes == b->index_bytes && memcmp(a->header, b->header, MMH_HEADER_BYTES) == 0;
}

/* Whether one of two tails of a container was put behind the other. */
static bool stands_behind(const struct mmh_footer *later, const struct mmh_footer *earlier)
{
    return later->trailer >= earlier->container_bytes;
}

/*
 * Whether packets may tell more of a container than a footer that was found does, or a sound header: they
 * are of that container, and their tail is the footer's, or one of them was put behind the other. Others are of
 * something else that lies behind it.
 */
static bool may_replace(const struct mmh_footer *packed, const struct mmh_footer *own,
                        const uint8_t header[MMH_HEADER_BYTES])
{
    if (!own)
        return !header || memcmp(packed->header, header, MMH_HEADER_BYTES) == 0;
    return mmh_footers_agree(packed, own) &&
           (packed->container_bytes == own->container_bytes || stands_behind(packed, own) ||
            stands_behind(own, packed));
}

/* ---- all of it ---- */

static mmh_status look(struct tail *tail, struct mmh_remains *remains, bool *scan, uint64_t *begin,
                       mmh_error *err)
{
    uint64_t bytes = mmh_input_bytes(remains->copy.input);
    mmh_status status = mmh_footer_find(&tail->footer, &tail->found, mmh_copy_read, &remains->copy,
                                        bytes, remains->allocator, err);
    if (status != MMH_OK || !tail->found)
        return status;
    tail->found = false;
    status = tail_open(tail, mmh_copy_read, &remains->copy, remains->allocator, err);
    *begin = tail->footer.index_a + tail->footer.index_bytes;
    *scan = !tail->sound || bytes > tail->footer.container_bytes || tail->footer.trailer > *begin;
    return status;
}

/* Keep those that the chosen one was put behind. */
static mmh_status keep_old(struct mmh_remains *remains, const struct tail *tails, size_t count,
                           const struct tail *chosen, mmh_error *err)
{
    remains->old_tails = mmh_alloc_array(remains->allocator, count, sizeof *remains->old_tails);
    if (!remains->old_tails)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for the trailers that there were");
    for (size_t i = 0; i < count; i++) {
        const struct mmh_footer *footer = &tails[i].footer;
        struct mmh_old_tail *old = &remains->old_tails[remains->old_tail_count];
        if (!stands_behind(&chosen->footer, footer) ||
            !mmh_footers_agree(footer, &chosen->footer) ||
            memcmp(&tails[i].geometry, &chosen->geometry, sizeof chosen->geometry) != 0)
            continue;
        old->footer = *footer;
        old->generation = tails[i].generation;
        old->bytes = mmh_alloc(remains->allocator, 0,
                               MMH_FOOTER_BYTES + (size_t)footer->trailer_bytes);
        if (!old->bytes)
            return mmh_fail(err, MMH_E_MEMORY, "no memory for the trailers that there were");
        mmh_footer_write(old->bytes, footer);
        memcpy(old->bytes + MMH_FOOTER_BYTES, tails[i].trailer, (size_t)footer->trailer_bytes);
        remains->old_tail_count++;
    }
    return MMH_OK;
}

static mmh_status tail_copy(struct tail *to, const struct tail *from,
                            const mmh_allocator *allocator, mmh_error *err)
{
    *to = *from;
    to->trailer = mmh_alloc(allocator, 0, (size_t)from->footer.trailer_bytes);
    if (!to->trailer) {
        to->found = false;
        return mmh_fail(err, MMH_E_MEMORY, "no memory for a trailer");
    }
    memcpy(to->trailer, from->trailer, (size_t)from->footer.trailer_bytes);
    return MMH_OK;
}

mmh_status mmh_remains_find(struct mmh_remains *remains, const mmh_input *input, bool thorough,
                            const mmh_allocator *allocator, mmh_error *err)
{
    *remains = (struct mmh_remains){ .allocator = allocator, .copy = { .input = input } };
    struct mmh_found found = { .allocator = allocator };
    struct tail tail = { .found = false }, packed = { .found = false };
    struct tail tails[MMH_OLD_TAILS_MAX];
    size_t tail_count = 0;
    uint64_t begin = 0, newest = 0;
    bool scan = true;
    uint8_t header[MMH_HEADER_BYTES];
    mmh_status status = mmh_copy_read(&remains->copy, header, 0, sizeof header, err);
    const bool has_header = status == MMH_OK && mmh_container_magic(header, sizeof header) &&
                            mmh_header_crc_right(header);
    if (status == MMH_OK)
        status = look(&tail, remains, &scan, &begin, err);
    const struct mmh_footer own = tail.footer;
    const bool has_own = tail.found;
    if (tail.found)
        newest = tail.footer.container_bytes;
    scan = scan && (thorough || !tail.sound || !tail.has_parity);
    if (status == MMH_OK && scan)
        status = mmh_recovery_scan(&found, 0, mmh_copy_read, &remains->copy, begin,
                                   mmh_input_bytes(input), err);
    if (status == MMH_OK && scan)
        status = search_tails(tails, &tail_count, &found, &remains->copy, allocator, err);
    for (size_t i = 0; i < tail_count && status == MMH_OK; i++) {
        if (!may_replace(&tails[i].footer, has_own ? &own : NULL, has_header ? header : NULL))
            continue;
        status = tail_copy(&packed, &tails[i], allocator, err);
        tail_choose(&tail, &packed, allocator);
    }
    if (status == MMH_OK && tail.found && tail.has_parity)
        status = keep_old(remains, tails, tail_count, &tail, err);
    for (size_t i = 0; i < tail_count; i++)
        tail_release(&tails[i], allocator);
    if (status == MMH_OK && tail.found && !tail.has_parity) {
        bool explained;
        status = is_explained(&explained, &tail, &remains->copy, err);
        if (!explained || has_packets(&tail, &found))
            tail.sound = false; /* the section that tells of them is gone */
    }
    remains->has_packets = found.count != 0;
    mmh_found_release(&found);
    if (status != MMH_OK || !tail.found) {
        tail_release(&tail, allocator);
        return status;
    }
    remains->found = true;
    remains->footer = tail.footer;
    mmh_footer_write(remains->footer_bytes, &tail.footer);
    remains->trailer = tail.trailer;
    remains->trailer_right = tail.sound;
    remains->trailer_lost = newest > tail.footer.container_bytes || !tail.sound;
    remains->generation = tail.generation;
    remains->hash_suite = tail.footer.header[14];
    if (tail.has_parity) {
        mmh_recovery_layout_make(&remains->copy.layout, &tail.geometry, tail.area_offset);
        remains->copy.has_layout = remains->has_parity = true;
    }
    return MMH_OK;
}

void mmh_remains_release(struct mmh_remains *remains)
{
    for (size_t i = 0; i < remains->old_tail_count; i++)
        mmh_free(remains->allocator, remains->old_tails[i].bytes);
    mmh_free(remains->allocator, remains->old_tails);
    mmh_free(remains->allocator, remains->trailer);
    *remains = (struct mmh_remains){ .allocator = remains->allocator };
}
