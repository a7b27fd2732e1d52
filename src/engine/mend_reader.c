/*
 * Mending in memory.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine/mend_reader.h"

#include <string.h>

#include "engine/remains.h"

/* What a reader has of parity. */
struct mmh_reader_parity {
    struct mmh_remains remains;
    struct mmh_mend mend;
    bool usable;
};

static void parity_release(struct mmh_reader_parity *parity, const mmh_allocator *allocator)
{
    if (!parity)
        return;
    if (parity->usable)
        mmh_mend_release(&parity->mend);
    mmh_remains_release(&parity->remains);
    mmh_free(allocator, parity);
}

static mmh_status parity_open(struct mmh_reader_parity **out, const mmh_reader *reader,
                              bool thorough, mmh_error *err)
{
    const mmh_allocator *allocator = reader->context->allocator;
    struct mmh_reader_parity *parity = mmh_alloc_array(allocator, 1, sizeof *parity);
    *out = NULL;
    if (!parity)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to mend chunks");
    struct mmh_remains *remains = &parity->remains;
    mmh_status status = mmh_remains_find(remains, reader->input, thorough, allocator, err);
    if (status == MMH_OK && remains->found && remains->has_parity) {
        parity->usable = true;
        status = mmh_mend_open(&parity->mend, &remains->copy.layout.geometry, remains->hash_suite,
                               &remains->copy, 1, reader->context->pool, allocator, err);
    }
    if (status != MMH_OK) {
        parity_release(parity, allocator);
        return status;
    }
    *out = parity;
    return MMH_OK;
}

/* The one that all workers share: of several that open it at once the first gives it. */
static mmh_status parity_get(struct mmh_reader_parity **out, mmh_reader *reader, mmh_error *err)
{
    struct mmh_reader_parity *parity = atomic_load(&reader->parity), *none = NULL;
    if (!parity) {
        mmh_status status = parity_open(&parity, reader, false, err);
        if (status != MMH_OK)
            return status;
        if (!atomic_compare_exchange_strong(&reader->parity, &none, parity)) {
            parity_release(parity, reader->context->allocator);
            parity = none;
        }
    }
    *out = parity;
    return MMH_OK;
}

mmh_status mmh_reader_mend(mmh_reader *reader, uint64_t chunk, uint8_t *dst, bool *mended,
                           mmh_error *err)
{
    const struct mmh_chunk_entry *entry = &reader->container.index.chunks[chunk];
    struct mmh_reader_parity *parity;
    mmh_error problem = { 0 };
    *mended = false;
    if (reader->never_mends)
        return MMH_OK;
    mmh_status status = parity_get(&parity, reader, err);
    if (status != MMH_OK || !parity->usable)
        return status;
    status = mmh_mend_range(&parity->mend, dst, entry->offset, entry->bytes, &problem);
    if (status == MMH_E_MEMORY)
        return mmh_fail(err, status, "%s", problem.message);
    *mended = status == MMH_OK &&
              mmh_container_check_chunk(&reader->container, chunk, dst, NULL) == MMH_OK;
    if (*mended)
        atomic_fetch_add_explicit(&reader->mended_chunks, 1, memory_order_relaxed);
    return MMH_OK;
}

/* ---- opening ---- */

/* A container whose header, index and tail are as they were, over what is stored. */
struct overlay {
    struct mmh_remains *remains;
    uint8_t *head, *index; /* [MMH_CHUNKS_BEGIN], [footer.index_bytes] */
};

/* The part of [offset, offset + bytes) that is in [at, at + length) comes from `from`. */
static void lay_over(uint8_t *dst, uint64_t offset, size_t bytes, uint64_t at, const uint8_t *from,
                     uint64_t length)
{
    uint64_t begin = offset > at ? offset : at;
    uint64_t end = offset + bytes < at + length ? offset + bytes : at + length;
    if (begin < end)
        memcpy(dst + (begin - offset), from + (begin - at), (size_t)(end - begin));
}

static mmh_status overlay_read(void *context, void *dst, uint64_t offset, size_t bytes,
                               mmh_error *err)
{
    struct overlay *overlay = context;
    const struct mmh_remains *remains = overlay->remains;
    const struct mmh_footer *footer = &remains->footer;
    mmh_status status = mmh_copy_read(&overlay->remains->copy, dst, offset, bytes, err);
    if (status != MMH_OK)
        return status;
    lay_over(dst, offset, bytes, 0, overlay->head, MMH_CHUNKS_BEGIN);
    lay_over(dst, offset, bytes, footer->index_a, overlay->index, footer->index_bytes);
    lay_over(dst, offset, bytes, footer->index_b, overlay->index, footer->index_bytes);
    if (remains->trailer_right)
        lay_over(dst, offset, bytes, footer->trailer, remains->trailer, footer->trailer_bytes);
    lay_over(dst, offset, bytes, footer->trailer + footer->trailer_bytes, remains->footer_bytes,
             MMH_FOOTER_BYTES);
    lay_over(dst, offset, bytes, footer->container_bytes - MMH_FOOTER_BYTES, remains->footer_bytes,
             MMH_FOOTER_BYTES);
    return MMH_OK;
}

/* Whether what is stored differs from `right` [bytes]. */
static bool differs(struct mmh_remains *remains, uint64_t offset, const uint8_t *right,
                    size_t bytes)
{
    uint8_t stored[4096];
    for (size_t done = 0; done < bytes; done += sizeof stored) {
        size_t part = bytes - done < sizeof stored ? bytes - done : sizeof stored;
        if (mmh_copy_read(&remains->copy, stored, offset + done, part, NULL) != MMH_OK ||
            memcmp(stored, right + done, part) != 0)
            return true;
    }
    return false;
}

mmh_status mmh_guards_open_mended(mmh_reader *reader, struct mmh_opening *opening, bool *opened,
                                  mmh_error *err)
{
    const mmh_allocator *allocator = reader->context->allocator;
    struct mmh_reader_parity *parity = NULL;
    struct overlay overlay = { .remains = NULL };
    *opened = false;
    mmh_status status = parity_open(&parity, reader, true, err);
    if (status != MMH_OK || !parity->usable)
        goto done;
    struct mmh_remains *remains = overlay.remains = &parity->remains;
    const struct mmh_footer *footer = &remains->footer;
    if (footer->index_bytes > reader->context->limits.index_bytes ||
        footer->index_bytes > mmh_input_bytes(reader->input))
        goto done; /* too much, or nothing that could give it back */
    overlay.head = mmh_alloc(allocator, 0, MMH_CHUNKS_BEGIN);
    overlay.index = mmh_alloc(allocator, 0, (size_t)footer->index_bytes);
    if (!overlay.head || !overlay.index) {
        status = mmh_fail(err, MMH_E_MEMORY, "no memory to mend an index of %llu bytes",
                          (unsigned long long)footer->index_bytes);
        goto done;
    }
    mmh_error problem = { 0 };
    status = mmh_mend_range(&parity->mend, overlay.head, 0, MMH_CHUNKS_BEGIN, &problem);
    if (status == MMH_OK)
        status = mmh_mend_range(&parity->mend, overlay.index, footer->index_a,
                                (size_t)footer->index_bytes, &problem);
    if (status != MMH_OK) { /* what is beyond parity is told as it was found */
        status = status == MMH_E_MEMORY ? mmh_fail(err, status, "%s", problem.message) : MMH_OK;
        goto done;
    }
    status = mmh_guards_open_by(reader, opening, overlay_read, &overlay, footer->container_bytes,
                                err);
    *opened = status == MMH_OK;
    if (*opened && differs(remains, 0, overlay.head, MMH_CHUNKS_BEGIN))
        reader->container.mended |= MMH_MENDED_HEADER;
    if (*opened && differs(remains, footer->index_a, overlay.index, (size_t)footer->index_bytes))
        reader->container.mended |= MMH_MENDED_INDEX;
    if (*opened &&
        differs(remains, footer->trailer, remains->trailer, (size_t)footer->trailer_bytes))
        reader->container.mended |= MMH_TRAILER_DAMAGED;
    if (*opened && differs(remains, footer->container_bytes - MMH_FOOTER_BYTES,
                           remains->footer_bytes, MMH_FOOTER_BYTES))
        reader->container.mended |= MMH_MENDED_FOOTER;
done:
    mmh_free(allocator, overlay.index);
    mmh_free(allocator, overlay.head);
    parity_release(parity, allocator);
    return status;
}

void mmh_reader_mend_release(mmh_reader *reader)
{
    parity_release(atomic_load(&reader->parity), reader->context->allocator);
}
