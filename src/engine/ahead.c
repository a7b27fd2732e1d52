/*
 * Few large reads of sources: the end of a container at once, its index, and chunks by the megabyte.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine/ahead.h"

#include <string.h>

#include "base/bits.h"
#include "container/trailer.h"

enum {
    TAIL_BYTES = 128 << 10,    /* most small models' two indexes fit, and small containers */
    INDEX_BYTES = 16 << 20,    /* of a large index at a time */
    SEARCHED_BYTES = 16 << 20, /* of what does not look like a container, at the most */
    SEARCHED_CHUNKS = 4096,    /* chunks that are looked at for one read */
};

/* ---- opening ---- */

static void forget(struct mmh_kept *kept, const mmh_allocator *allocator)
{
    mmh_free(allocator, kept->data);
    *kept = (struct mmh_kept){ .data = NULL };
}

/* Keep bytes that are there in place of what was kept. */
static mmh_status keep(struct mmh_kept *kept, const struct mmh_ahead_opening *opening,
                       uint64_t offset, size_t bytes, mmh_error *err)
{
    forget(kept, opening->allocator);
    kept->data = mmh_alloc(opening->allocator, 0, bytes);
    if (!kept->data)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to open %s", mmh_input_name(opening->input));
    mmh_status status = mmh_input_read(opening->input, kept->data, offset, bytes, err);
    if (status == MMH_OK) {
        kept->offset = offset;
        kept->bytes = bytes;
    }
    return status;
}

static const uint8_t *find(const struct mmh_kept *kept, uint64_t offset, size_t bytes)
{
    bool inside = offset >= kept->offset && offset - kept->offset <= kept->bytes &&
                  bytes <= kept->bytes - (size_t)(offset - kept->offset);
    return inside && kept->data ? kept->data + (offset - kept->offset) : NULL;
}

mmh_status mmh_ahead_open(struct mmh_ahead_opening *opening, const mmh_input *input,
                          const mmh_allocator *allocator, mmh_error *err)
{
    const uint64_t end = mmh_input_bytes(input);
    const size_t tail = (size_t)MMH_MIN(end, (uint64_t)TAIL_BYTES);
    struct mmh_footer footer;
    *opening = (struct mmh_ahead_opening){ .input = input, .allocator = allocator };
    if (end < MMH_CONTAINER_MIN_BYTES) /* as who opens it will say */
        return MMH_OK;
    mmh_status status = keep(&opening->tail, opening, end - tail, tail, err);
    if (status == MMH_OK && !find(&opening->tail, 0, MMH_HEADER_BYTES))
        status = keep(&opening->header, opening, 0, MMH_HEADER_BYTES, err);
    if (status != MMH_OK)
        return status;
    if (mmh_footer_read(&footer, opening->tail.data + tail - MMH_FOOTER_BYTES) &&
        footer.container_bytes == end) { /* index A lies in the container, then */
        opening->index_begin = footer.index_a;
        opening->index_end = footer.index_a + footer.index_bytes;
        return MMH_OK;
    }
    const struct mmh_kept *first = opening->header.data ? &opening->header : &opening->tail;
    if (end > SEARCHED_BYTES && !mmh_container_magic(first->data, MMH_HEADER_BYTES))
        return mmh_fail(err, MMH_E_CORRUPT,
                        "it is no container: it neither begins nor ends as one");
    return MMH_OK;
}

void mmh_ahead_close(struct mmh_ahead_opening *opening)
{
    forget(&opening->header, opening->allocator);
    forget(&opening->tail, opening->allocator);
    forget(&opening->index, opening->allocator);
}

mmh_status mmh_ahead_read_at(void *context, void *dst, uint64_t offset, size_t bytes,
                             mmh_error *err)
{
    struct mmh_ahead_opening *opening = context;
    const struct mmh_kept *const all[] = { &opening->header, &opening->tail, &opening->index };
    const uint8_t *found = NULL;
    for (size_t i = 0; i < sizeof all / sizeof *all && !found; i++)
        found = find(all[i], offset, bytes);
    if (!found && offset >= opening->index_begin && offset < opening->index_end &&
        bytes <= opening->index_end - offset) {
        size_t most = (size_t)MMH_MIN(opening->index_end - offset, (uint64_t)INDEX_BYTES);
        mmh_status status = keep(&opening->index, opening, offset, MMH_MAX(most, bytes), err);
        if (status != MMH_OK)
            return status;
        found = opening->index.data;
    }
    if (!found)
        return mmh_input_read(opening->input, dst, offset, bytes, err);
    if (bytes)
        memcpy(dst, found, bytes);
    return MMH_OK;
}

/* ---- chunks ---- */

bool mmh_ahead_follows(const struct mmh_chunk_entry *chunk, uint64_t begin, uint64_t end)
{
    return chunk->offset >= end && chunk->offset - end <= MMH_AHEAD_GAP_BYTES &&
           chunk->offset + chunk->bytes - begin <= MMH_AHEAD_BYTES;
}

void mmh_ahead_expect(struct mmh_worker *worker, const uint32_t *chunks, size_t count)
{
    struct mmh_ahead *ahead = &worker->ahead;
    ahead->chunks = count ? chunks : NULL;
    ahead->count = count;
    for (size_t i = 0; i < sizeof ahead->kept / sizeof *ahead->kept; i++)
        ahead->kept[i].bytes = 0;
}

/* Where what may be read at once with the first chunk that is expected ends. */
static uint64_t reach(const struct mmh_ahead *ahead, const struct mmh_chunk_entry *chunks)
{
    const struct mmh_chunk_entry *first = &chunks[*ahead->chunks];
    uint64_t end = first->offset + first->bytes;
    for (size_t i = 1; i < MMH_MIN(ahead->count, (size_t)SEARCHED_CHUNKS); i++) {
        const struct mmh_chunk_entry *next = &chunks[ahead->chunks[i]];
        if (mmh_ahead_follows(next, first->offset, end))
            end = next->offset + next->bytes;
        else if (next->offset >= end) /* else it was stored for another block, before */
            break;
    }
    return end;
}

mmh_status mmh_ahead_fetch(mmh_reader *reader, struct mmh_worker *worker, uint32_t chunk,
                           uint8_t *dst, mmh_error *err)
{
    struct mmh_ahead *ahead = &worker->ahead;
    const struct mmh_chunk_entry *chunks = reader->container.index.chunks, *entry = &chunks[chunk];
    while (ahead->count && *ahead->chunks != chunk) { /* what was passed over is not wanted */
        ahead->chunks++;
        ahead->count--;
    }
    for (size_t i = 0; i < sizeof ahead->kept / sizeof *ahead->kept; i++) {
        const struct mmh_ahead_kept *kept = &ahead->kept[i];
        if (entry->offset >= kept->offset &&
            entry->offset + entry->bytes <= kept->offset + kept->bytes) {
            memcpy(dst, kept->data + (entry->offset - kept->offset), entry->bytes);
            return MMH_OK;
        }
    }
    /* One that was stored for another block, as it is equal, does not push out what is to come. */
    bool before = entry->offset < ahead->kept[0].offset && ahead->kept[0].bytes;
    struct mmh_ahead_kept *kept = &ahead->kept[before];
    uint64_t end = before || !ahead->count ? entry->offset + entry->bytes : reach(ahead, chunks);
    size_t bytes = (size_t)(end - entry->offset);
    kept->bytes = 0;
    mmh_status status = mmh_context_room(reader->context, &kept->data, &kept->room, bytes, err);
    if (status == MMH_OK)
        status = mmh_input_read(reader->input, kept->data, entry->offset, bytes, err);
    if (status != MMH_OK)
        return status;
    kept->offset = entry->offset;
    kept->bytes = bytes;
    memcpy(dst, kept->data, entry->bytes);
    return MMH_OK;
}
