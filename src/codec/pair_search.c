/*
 * Byte pairs: their classes, and which byte values share a bucket.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * What a pair's symbol leaves out, four bits of each byte, is stored raw; so the sixteen values of a
 * bucket should be about equally likely. Sorted by frequency they are. Where classes tell small rows
 * from large ones, what is equally likely differs from table to table, and each may have its own
 * buckets: MiniLM as fp8 is 0.5 % smaller for it, as int8 larger. Both are tried.
 */
#include "codec/codec_private.h"

enum { BUCKETS_BITS = 512 }; /* of a table's buckets, about */

typedef uint32_t table_counts[MMH_PAIR_TABLES_MAX][256];

/* The likeliest sixteen byte values share the first bucket, the next sixteen the second, ...
 * `order`: all values, in an order that may be near the one wanted; it becomes that. */
static void fill_buckets(uint8_t buckets[256], uint8_t order[256], const uint32_t counts[256])
{
    for (unsigned i = 1; i < 256; i++) {
        uint8_t value = order[i];
        unsigned at = i;
        for (; at && (counts[order[at - 1]] < counts[value] ||
                      (counts[order[at - 1]] == counts[value] && order[at - 1] > value));
             at--)
            order[at] = order[at - 1];
        order[at] = value;
    }
    for (unsigned rank = 0; rank < 256; rank++)
        buckets[order[rank]] = (uint8_t)(rank >> 4);
}

/* Shapes of pairs: halves along the last dimension, all of which must be even. */
static bool halve_parts(struct mmh_block_part *halves, const struct mmh_pair_search *search)
{
    for (size_t i = 0; i < search->part_count; i++) {
        halves[i] = search->parts[i];
        uint32_t last = halves[i].dimensions - 1;
        if (!halves[i].dimensions || halves[i].shape[last] % 2 || halves[i].elements % 2 ||
            halves[i].tensor_first % 2)
            return false;
        halves[i].shape[last] /= 2;
        halves[i].elements /= 2;
        halves[i].tensor_first /= 2;
    }
    return search->part_count != 0;
}

/* Classes and the division of bins into tables, by the first byte of each pair. */
static mmh_status search_classes(struct mmh_model_draft *draft,
                                 const struct mmh_pair_search *search, uint8_t *ids, mmh_error *err)
{
    const uint8_t *data = search->data;
    uint8_t *symbols = mmh_workspace_scratch(search->workspace, MMH_SCRATCH_BLOCK, search->pairs);
    struct mmh_block_part *halves = (struct mmh_block_part *)(void *)mmh_workspace_scratch(
        search->workspace, MMH_SCRATCH_PATCHES, (search->part_count + 1) * sizeof *halves);
    if (!symbols || !halves)
        return mmh_fail(err, MMH_E_MEMORY, "planning %llu pairs of bytes",
                        (unsigned long long)search->pairs);
    if (!halve_parts(halves, search))
        return MMH_OK;
    for (uint64_t i = 0; i < search->pairs; i++) {
        symbols[i] = data[2 * i];
        ids[i] = (uint8_t)((search->levels[data[2 * i]] + search->levels[data[2 * i + 1]]) / 2);
    }
    struct mmh_search classes = {
        .workspace = search->workspace,
        .symbols = symbols,
        .levels = ids,
        .level_of = search->levels,
        .elements = search->pairs,
        .parts = halves,
        .part_count = search->part_count,
        .bits = draft->bits,
        .tables_max = search->tables_max,
        .sample = search->sample,
        .patch_bits = search->patch_bits,
    };
    uint64_t unused;
    return mmh_model_search(draft, &unused, &classes, err);
}

/* Room for bytes or symbols of pairs that are counted together. */
enum { BATCH = 1 << 13 };

/* Count each table's byte values (no code) or symbols. */
static void count_tables(table_counts counts, const struct mmh_pair_search *search,
                         const uint8_t *ids, uint8_t (*code)[256], bool alike)
{
    const struct mmh_kernels *kernels = search->workspace->kernels;
    uint64_t pairs = MMH_MIN(search->pairs, search->sample);
    uint64_t batches = mmh_divide_up(pairs, BATCH), stride = search->pairs / batches;
    memset(counts, 0, sizeof(table_counts));
    for (uint64_t r = 0; r < batches; r++) {
        uint8_t symbols[BATCH], second[BATCH];
        uint64_t at = pairs == search->pairs ? r * BATCH : r * stride;
        size_t n = (size_t)MMH_MIN(BATCH, search->pairs - at);
        const uint8_t *src = search->data + 2 * at, *table = ids + at;
        if (!code) {
            for (size_t i = 0; i < n; i++) {
                symbols[i] = src[2 * i];
                second[i] = src[2 * i + 1];
            }
            kernels->histogram_classes(counts[0], second, table, n, 1);
        } else if (alike) {
            kernels->pairs_split(symbols, NULL, src, n, code[0]);
        } else {
            for (size_t i = 0; i < n; i++) {
                const uint8_t *own = code[table[i]];
                symbols[i] = (uint8_t)(own[src[2 * i]] >> 4 | (own[src[2 * i + 1]] & 240));
            }
        }
        kernels->histogram_classes(counts[0], symbols, table, n, 1);
    }
}

mmh_status mmh_pair_search(struct mmh_model_draft *draft, uint8_t buckets[][256], uint64_t *bits,
                           const struct mmh_pair_search *search, mmh_error *err)
{
    uint64_t pairs = search->pairs;
    uint8_t *ids = mmh_workspace_scratch(search->workspace, MMH_SCRATCH_LEVELS, pairs);
    if (!ids)
        return mmh_fail(err, MMH_E_MEMORY, "planning %llu pairs of bytes",
                        (unsigned long long)pairs);
    mmh_status status = search_classes(draft, search, ids, err);
    if (status)
        return status;
    draft->kind = MMH_MODEL_PAIRS;
    draft->elements = pairs;
    draft->buckets = (const uint8_t(*)[256])buckets;
    unsigned tables = draft->table_count;
    uint8_t map[MMH_CLASS_BINS];
    mmh_model_map(map, draft->bounds, tables);
    mmh_views_classes(ids, search->workspace->kernels, draft->views, draft->view_count, 0,
                      (size_t)pairs, map);

    table_counts bytes, symbols;
    uint32_t all[256] = { 0 };
    uint8_t order[256];
    for (unsigned b = 0; b < 256; b++)
        order[b] = (uint8_t)b;
    count_tables(bytes, search, ids, NULL, true);
    for (unsigned t = 0; t < tables; t++)
        for (unsigned b = 0; b < 256; b++)
            all[b] += bytes[t][b];
    *bits = UINT64_MAX;
    for (unsigned own = 0; own < (tables > 1 ? 2u : 1u); own++) {
        uint8_t tried[MMH_PAIR_TABLES_MAX][256], values[256];
        uint8_t code[MMH_PAIR_TABLES_MAX][256];
        uint16_t frequency[MMH_PAIR_TABLES_MAX][256];
        uint64_t cost = 0, counted = 0, tables_cost = 0;
        for (unsigned t = 0; t < tables; t++) {
            fill_buckets(tried[t], order, own ? bytes[t] : all);
            mmh_pair_codes(code[t], values, tried[t]);
            tables_cost += own || !t ? BUCKETS_BITS : 1;
        }
        count_tables(symbols, search, ids, code, !own);
        for (unsigned t = 0; t < tables; t++) {
            for (unsigned s = 0; s < 256; s++)
                counted += symbols[t][s];
            cost += mmh_model_normalise(frequency[t], symbols[t], draft->bits,
                                        search->patch_bits) >>
                    16;
            tables_cost += mmh_model_table_bits(frequency[t]);
        }
        cost = cost / counted * pairs + cost % counted * pairs / counted + tables_cost;
        if (cost >= *bits)
            continue;
        *bits = cost;
        memcpy(buckets, tried, tables * sizeof *tried);
        memcpy(draft->frequency, frequency, tables * sizeof *frequency);
    }
    *bits += 8 * pairs;
    for (size_t v = 0; v < draft->view_count; v++)
        *bits += mmh_model_view_bits(&draft->views[v]);
    return MMH_OK;
}
