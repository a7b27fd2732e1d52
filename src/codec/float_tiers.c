/*
 * Tier symbol sections: ranked symbols as 2-bit codes in bit planes, what is rare in later tiers.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Layout: docs/format.md section 8.1. Positions depend on counts alone, so that blocks decode
 * without a serial chain.
 */
#include "codec/codec_private.h"

enum { HEADER = 4, OFFSET_MAX = 4 * UINT16_MAX };

/* Bytes of the planes of one tier with so many entries. */
static size_t tier_bytes(size_t entries)
{
    return 8 * ((entries + 31) / 32);
}

uint64_t mmh_tiers_choose(struct mmh_tiers *tiers, const uint32_t histogram[256],
                          unsigned tier_count_min, unsigned tier_count_max)
{
    uint8_t order[256];
    size_t seen = 0;
    uint64_t total = 0;
    for (unsigned s = 0; s < 256; s++)
        if (histogram[s]) {
            order[seen++] = (uint8_t)s;
            total += histogram[s];
        }
    /* The first ranks by falling count; equal counts in symbol order. */
    for (size_t i = 0; i < seen && i < sizeof tiers->ranks; i++) {
        size_t best = i;
        for (size_t j = i + 1; j < seen; j++)
            if (histogram[order[j]] > histogram[order[best]])
                best = j;
        uint8_t symbol = order[best];
        memmove(order + i + 1, order + i, best - i);
        order[i] = symbol;
    }
    /* Ranks that nothing needs are other symbols, so that no symbol has two codes. */
    size_t all = seen;
    for (unsigned s = 0; s < 256 && all < sizeof tiers->ranks; s++)
        if (!histogram[s])
            order[all++] = (uint8_t)s;
    memcpy(tiers->ranks, order, sizeof tiers->ranks);

    uint64_t best_cost = UINT64_MAX, planes = 0, left = total;
    uint64_t blocks = total / MMH_TIER_BLOCK + 1;
    for (unsigned t = 1; t <= tier_count_max; t++) {
        planes += 2 * left;
        for (unsigned k = 3 * (t - 1); k < 3 * t; k++)
            left -= histogram[order[k]];
        /* Each block has a directory entry, and each of its planes ends in a word half used. */
        uint64_t cost = planes + 8 * left + blocks * (16 * (1 + t) + 31 * t) + 24 * t;
        if (t < tier_count_min || cost >= best_cost)
            continue;
        best_cost = cost;
        tiers->tier_count = (uint8_t)t;
    }
    return best_cost;
}

size_t mmh_tier_symbols_encode(uint8_t *dst, size_t room, mmh_codec_workspace *workspace,
                               const uint8_t *symbols, size_t elements, bool shifted,
                               const struct mmh_tiers *tiers, mmh_status *status)
{
    unsigned count = tiers->tier_count;
    size_t blocks = mmh_divide_up(elements, MMH_TIER_BLOCK);
    size_t directory = mmh_round_up(HEADER + 3 * count, 4);
    size_t start = directory + mmh_round_up(2 * blocks * (1 + count), 4);
    size_t block_room = MMH_TIER_BLOCK * (count / 4 + 1) + MMH_TIER_BLOCK;
    uint8_t *scratch = mmh_workspace_scratch(workspace, MMH_SCRATCH_TIERS,
                                             2 * (MMH_TIER_BLOCK + MMH_KERNEL_SLACK));
    uint8_t *section = mmh_workspace_scratch(workspace, MMH_SCRATCH_SECTION, block_room);
    *status = scratch && section ? MMH_OK : MMH_E_MEMORY;
    if (*status || start > room)
        return MMH_NO_FIT;
    memset(dst, 0, start);
    dst[0] = (uint8_t)count;
    dst[1] = shifted;
    memcpy(dst + HEADER, tiers->ranks, 3 * (size_t)count);
    size_t used = 0;
    for (size_t b = 0; b < blocks; b++) {
        size_t first = b * MMH_TIER_BLOCK, n = MMH_MIN(MMH_TIER_BLOCK, elements - first);
        uint16_t counts[MMH_TIER_MAX + 1];
        /* Straight to its place, unless the kernel's room would end past the buffer. */
        bool near_end = room - start - used < block_room + MMH_KERNEL_SLACK;
        uint8_t *out = near_end ? section : dst + start + used;
        size_t bytes = workspace->kernels->tier_encode(out, counts, symbols + first, n, tiers,
                                                       scratch);
        if (used > OFFSET_MAX || bytes > room - start - used)
            return MMH_NO_FIT;
        if (near_end)
            memcpy(dst + start + used, section, bytes);
        uint8_t *entry = dst + directory + 2 * b * (1 + count);
        mmh_store16(entry, (uint16_t)(used / 4));
        for (unsigned k = 1; k <= count; k++)
            mmh_store16(entry + 2 * k, counts[k]);
        used += bytes;
    }
    return start + used;
}

const uint8_t *mmh_tier_block(const struct mmh_tier_section *section, size_t index, size_t *bytes,
                              uint16_t counts[MMH_TIER_MAX + 1])
{
    unsigned tiers = section->tiers.tier_count;
    const uint8_t *entry = section->directory + 2 * index * (1 + tiers);
    size_t first = index * MMH_TIER_BLOCK;
    counts[0] = (uint16_t)MMH_MIN(MMH_TIER_BLOCK, section->elements - first);
    *bytes = 0;
    for (unsigned k = 1; k <= tiers; k++) {
        *bytes += tier_bytes(counts[k - 1]);
        counts[k] = mmh_load16(entry + 2 * k);
    }
    *bytes += mmh_round_up(counts[tiers], 4);
    return section->blocks + 4 * (size_t)mmh_load16(entry);
}

mmh_status mmh_tier_section_read(struct mmh_tier_section *section, const uint8_t *src,
                                 size_t src_bytes, size_t elements, mmh_error *err)
{
    struct mmh_cursor in;
    mmh_cursor_init(&in, src, src_bytes);
    unsigned count = mmh_cursor_u8(&in), shifted = mmh_cursor_u8(&in);
    if (count < 1 || count > MMH_TIER_MAX || shifted > 1 || mmh_cursor_u16(&in))
        return mmh_fail(err, MMH_E_CORRUPT, "tier section: %u tiers, flag %u", count, shifted);
    size_t blocks = mmh_divide_up(elements, MMH_TIER_BLOCK);
    size_t directory_bytes = 2 * blocks * (1 + count);
    *section = (struct mmh_tier_section){ .shifted = shifted, .elements = elements };
    section->tiers.tier_count = (uint8_t)count;
    mmh_cursor_copy(&in, section->tiers.ranks, 3 * (size_t)count);
    bool zeros = true;
    for (size_t i = 3 * count; i % 4; i++)
        zeros = mmh_cursor_u8(&in) == 0 && zeros;
    section->directory = mmh_cursor_bytes(&in, directory_bytes);
    if (directory_bytes % 4)
        zeros = mmh_cursor_u16(&in) == 0 && zeros;
    if (mmh_cursor_failed(&in))
        return mmh_cursor_finish(&in, "tier section", err);
    section->blocks = src + mmh_cursor_position(&in);
    section->blocks_bytes = mmh_cursor_left(&in);

    /* Blocks follow each other without gaps, and no tier grows. */
    size_t used = 0;
    bool right = zeros;
    for (size_t b = 0; b < blocks && right; b++) {
        uint16_t counts[MMH_TIER_MAX + 1];
        size_t bytes;
        right = mmh_tier_block(section, b, &bytes, counts) == section->blocks + used;
        for (unsigned k = 1; k <= count; k++)
            right = right && counts[k] <= counts[k - 1];
        right = right && bytes <= section->blocks_bytes - used;
        used += bytes;
    }
    if (!right || used != section->blocks_bytes)
        return mmh_fail(err, MMH_E_CORRUPT,
                        "tier section: the directory does not fit its %zu bytes",
                        section->blocks_bytes);
    return MMH_OK;
}
