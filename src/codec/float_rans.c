/*
 * rANS symbol sections: stripes of 32 interleaved states.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: Duda, arXiv:1311.2540 (rANS). Layout: docs/format.md section 10.
 */
#include "codec/codec_private.h"

enum {
    STATES_BYTES = 4 * MMH_RANS_LANES,
    PADDING = 128, /* a stripe is filled up to a multiple of so many symbols */
};

mmh_status mmh_rans_ids(uint8_t **ids, mmh_codec_workspace *workspace,
                        const struct mmh_model *model, uint64_t first_element, size_t elements,
                        mmh_error *err)
{
    *ids = NULL;
    if (model->table_count == 1)
        return MMH_OK;
    if (first_element > model->elements || elements > model->elements - first_element)
        return mmh_fail(err, MMH_E_CORRUPT, "a chunk reaches past its block of %llu elements",
                        (unsigned long long)model->elements);
    *ids = mmh_workspace_scratch(workspace, MMH_SCRATCH_IDS, elements + PADDING);
    if (!*ids)
        return mmh_fail(err, MMH_E_MEMORY, "table ids of %zu elements", elements);
    mmh_views_classes(*ids, workspace->kernels, model->views, model->view_count, first_element,
                      elements, model->map);
    memset(*ids + elements, 0, PADDING);
    return MMH_OK;
}

/* Most tables code a run of symbols without gaps, so groups of 64 are passed over by comparing with
 * the ends of the run; where that says no, each symbol is looked up. */
mmh_status mmh_rans_patch(uint8_t *symbols, uint32_t *patches, size_t *patch_count,
                          const uint8_t *ids, const struct mmh_encode_job *job, size_t elements,
                          uint64_t first_element, mmh_error *err)
{
    const struct mmh_block_plan *plan = job->plan;
    const struct mmh_model *model = plan->model;
    const struct mmh_kernels *kernels = job->workspace->kernels;
    uint8_t *first = mmh_workspace_scratch(job->workspace, MMH_SCRATCH_TIERS,
                                           2 * (MMH_TIER_BLOCK + MMH_KERNEL_SLACK));
    if (!first)
        return mmh_fail(err, MMH_E_MEMORY, "encoding %zu elements", elements);
    uint8_t *last = first + MMH_TIER_BLOCK + MMH_KERNEL_SLACK;
    /* New patches are collected behind the old ones, then both lists are merged. */
    uint32_t *old = patches, *rare = old + *patch_count;
    size_t rare_count = 0, old_at = 0;
    if (!ids) {
        memset(first, plan->first_of_bin[0], MMH_TIER_BLOCK);
        memset(last, plan->last_of_bin[0], MMH_TIER_BLOCK);
    }
    for (size_t block = 0; block < elements; block += MMH_TIER_BLOCK) {
        size_t end = MMH_MIN(elements, block + MMH_TIER_BLOCK);
        if (ids) {
            uint64_t at = first_element + block;
            mmh_views_classes(first, kernels, model->views, model->view_count, at, end - block,
                              plan->first_of_bin);
            mmh_views_classes(last, kernels, model->views, model->view_count, at, end - block,
                              plan->last_of_bin);
        }
        for (size_t group = block; group < end; group += MMH_GROUP) {
            group += kernels->within(symbols + group, first + (group - block),
                                     last + (group - block), plan->zeros,
                                     (end - group) & ~(size_t)(MMH_GROUP - 1));
            for (size_t i = group; i < MMH_MIN(end, group + MMH_GROUP); i++) {
                unsigned id = ids ? ids[i] : 0;
                if (plan->allowed[id][symbols[i]])
                    continue;
                symbols[i] = plan->best[id];
                while (old_at < *patch_count && old[old_at] < i)
                    old_at++;
                if (old_at == *patch_count || old[old_at] != i)
                    rare[rare_count++] = (uint32_t)i; /* else only its stand-in changes */
            }
        }
    }
    if (!rare_count)
        return MMH_OK;
    /* Merge from the back into the room behind both, then move it forward. */
    size_t a = *patch_count, b = rare_count, n = a + b;
    uint32_t *out = old + n;
    for (size_t i = n; i--;)
        out[i] = a && (!b || old[a - 1] > rare[b - 1]) ? old[--a] : rare[--b];
    memmove(old, out, n * sizeof *out);
    *patch_count = n;
    return MMH_OK;
}

unsigned mmh_rans_stripes(size_t elements, unsigned log2, unsigned most)
{
    return (unsigned)MMH_MAX(MMH_MIN(elements >> log2, (size_t)most), (size_t)1);
}

size_t mmh_rans_symbols_encode(uint8_t *dst, size_t room, mmh_codec_workspace *workspace,
                               uint8_t *symbols, uint8_t *ids, size_t elements,
                               const struct mmh_rans_encode_table *tables, unsigned bits,
                               uint8_t filling, unsigned stripe_count, mmh_status *status)
{
    /* All but the last equally long: what decodes side by side ends together. */
    size_t stripe = mmh_round_up(mmh_divide_up(MMH_MAX(elements, (size_t)1), stripe_count),
                                 PADDING);
    size_t stripes = mmh_divide_up(elements, stripe);
    size_t used = 4 + 4 * stripes;
    size_t word_room = mmh_round_up(MMH_MIN(stripe, elements), PADDING);
    uint8_t *words = mmh_workspace_scratch(workspace, MMH_SCRATCH_SECTION, 2 * word_room);
    *status = words ? MMH_OK : MMH_E_MEMORY;
    if (!words || used > room)
        return MMH_NO_FIT;
    memset(symbols + elements, filling, (size_t)mmh_round_up(elements, PADDING) - elements);
    if (ids)
        memset(ids + elements, 0, (size_t)mmh_round_up(elements, PADDING) - elements);
    mmh_store32(dst, (uint32_t)stripe);
    for (size_t s = 0; s < stripes; s++) {
        size_t first = s * stripe, count = MMH_MIN(stripe, elements - first);
        uint8_t states[STATES_BYTES];
        size_t n = workspace->kernels->rans_encode(states, words, word_room, symbols + first,
                                                   ids ? ids + first : NULL, count, tables, bits);
        size_t bytes = STATES_BYTES + 2 * (n + n % 2);
        if (bytes > room - used)
            return MMH_NO_FIT;
        mmh_store32(dst + 4 + 4 * s, (uint32_t)n);
        memcpy(dst + used, states, STATES_BYTES);
        memcpy(dst + used + STATES_BYTES, words + 2 * (word_room - n), 2 * n);
        if (n % 2)
            mmh_store16(dst + used + STATES_BYTES + 2 * n, 0);
        used += bytes;
    }
    return used;
}

mmh_status mmh_rans_symbols_decode(uint8_t *symbols, const struct mmh_merge *merge, uint8_t *ids,
                                   size_t elements, const uint8_t *src, size_t src_bytes,
                                   const struct mmh_model *model, const struct mmh_kernels *kernels,
                                   mmh_error *err)
{
    struct mmh_cursor in;
    mmh_cursor_init(&in, src, src_bytes);
    size_t stripe = mmh_cursor_u32(&in);
    if (!stripe || stripe % PADDING || stripe > MMH_CHUNK_ELEMENTS)
        return mmh_fail(err, MMH_E_CORRUPT, "rans section: stripes of %zu symbols", stripe);
    size_t stripes = mmh_divide_up(elements, stripe);
    const uint8_t *lengths = mmh_cursor_bytes(&in, 4 * stripes);
    bool right = true;
    for (size_t s = 0; lengths && s < stripes && right;) {
        struct mmh_rans_stripe batch[MMH_RANS_STRIPES];
        struct mmh_merge parts[MMH_RANS_STRIPES];
        size_t n = 0;
        for (; n < MMH_RANS_STRIPES && s < stripes; n++, s++) {
            size_t first = s * stripe;
            size_t words = mmh_load32(lengths + 4 * s);
            if (words > mmh_cursor_left(&in) / 2)
                return mmh_fail(err, MMH_E_CORRUPT, "rans stripe %zu claims %zu words in %zu bytes",
                                s, words, mmh_cursor_left(&in));
            if (merge)
                parts[n] = mmh_merge_at(merge, first);
            batch[n] = (struct mmh_rans_stripe){
                .symbols = symbols + (merge ? n * (MMH_RANS_BURST + MMH_KERNEL_SLACK) : first),
                .merge = merge ? &parts[n] : NULL,
                .ids = ids ? ids + first : NULL,
                .count = MMH_MIN(stripe, elements - first),
                .states = mmh_cursor_bytes(&in, STATES_BYTES),
                .words = mmh_cursor_bytes(&in, 2 * words),
                .word_count = words,
            };
            if (words % 2)
                right = mmh_cursor_u16(&in) == 0 && right;
        }
        if (mmh_cursor_failed(&in))
            break;
        right = right && kernels->rans_decode(batch, n, model->tables, model->bits);
    }
    if (!right)
        return mmh_fail(err, MMH_E_CORRUPT, "rans symbols are damaged");
    return mmh_cursor_finish(&in, "rans section", err);
}
