/*
 * Mending in memory.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine/mend_reader.h"

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
                              mmh_error *err)
{
    const mmh_allocator *allocator = reader->context->allocator;
    struct mmh_reader_parity *parity = mmh_alloc_array(allocator, 1, sizeof *parity);
    *out = NULL;
    if (!parity)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to mend chunks");
    struct mmh_remains *remains = &parity->remains;
    mmh_status status = mmh_remains_find(remains, reader->input, false, allocator, err);
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
        mmh_status status = parity_open(&parity, reader, err);
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
    if (status != MMH_OK && status != MMH_E_CORRUPT)
        return mmh_fail(err, status, "%s", problem.message);
    *mended = status == MMH_OK &&
              mmh_container_check_chunk(&reader->container, chunk, dst, NULL) == MMH_OK;
    if (*mended)
        atomic_fetch_add_explicit(&reader->mended_chunks, 1, memory_order_relaxed);
    return MMH_OK;
}

void mmh_reader_mend_release(mmh_reader *reader)
{
    parity_release(atomic_load(&reader->parity), reader->context->allocator);
}
