/*
 * Model tables: frequencies from counts, and the optimal merge of bins into few tables.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/model_search_private.h"

enum {
    TABLE_BITS = 16,   /* of a table without symbols */
    SYMBOL_BITS = 9,   /* and of each symbol, about */
    STAND_IN_BITS = 2, /* of the symbol that stands in for a patched one */
    GROUPS_SMALL = 16, /* bins that a small block is searched with */
    GROUPS_FEW = 8,    /* and those where an estimate will do */
    SMALL_BLOCK = 1 << 18,
};

/* ---- frequencies ---- */

/* Symbols in a heap: the one that a slot costs the least, or gives the most, is on top. */
struct rounding {
    const uint32_t *counts;
    const uint16_t *frequency;
    uint8_t *heap;
    size_t count;
    bool take; /* slots, instead of giving them */
};

static bool comes_before(const struct rounding *rounding, uint8_t a, uint8_t b)
{
    uint64_t count_a = rounding->counts[a], count_b = rounding->counts[b];
    uint64_t twice_a = 2 * rounding->frequency[a], twice_b = 2 * rounding->frequency[b];
    if (rounding->take && (twice_a == 2 || twice_b == 2)) /* the last slot stays */
        return twice_a != twice_b ? twice_b == 2 : a < b;
    uint64_t of_a = rounding->take ? count_b * (twice_a - 1) : count_a * (twice_b + 1);
    uint64_t of_b = rounding->take ? count_a * (twice_b - 1) : count_b * (twice_a + 1);
    return of_a != of_b ? of_a > of_b : a < b;
}

static void sift(struct rounding *rounding, size_t at)
{
    uint8_t *heap = rounding->heap, moved = heap[at];
    for (size_t below; (below = 2 * at + 1) < rounding->count; at = below) {
        if (below + 1 < rounding->count && comes_before(rounding, heap[below + 1], heap[below]))
            below++;
        if (!comes_before(rounding, heap[below], moved))
            break;
        heap[at] = heap[below];
    }
    heap[at] = moved;
}

uint64_t mmh_model_normalise(uint16_t frequency[256], const uint32_t counts[256], unsigned bits,
                             unsigned patch_bits)
{
    const uint32_t size = 1u << bits;
    uint8_t kept[256];
    size_t kept_count = 0;
    uint64_t total = 0, kept_total = 0, patched = 0;
    memset(frequency, 0, 256 * sizeof *frequency);
    for (unsigned s = 0; s < 256; s++)
        total += counts[s];
    /* A slot of the table costs the others total / size / ln 2 bits. */
    uint64_t slot_cost = total * 94548 >> bits;
    for (unsigned s = 0; s < 256; s++) {
        if (!counts[s])
            continue;
        if (patch_bits &&
            (uint64_t)counts[s] * (patch_bits + STAND_IN_BITS - bits) * MMH_COST_ONE < slot_cost) {
            patched += counts[s];
        } else {
            kept[kept_count++] = (uint8_t)s;
            kept_total += counts[s];
        }
    }
    if (kept_count < 2) {
        /* No frequency may be the whole table: a second symbol takes a slot. */
        unsigned s = kept_count ? kept[0] : 0;
        frequency[s] = (uint16_t)(size - 1);
        frequency[s == 255 ? 254 : s + 1] = 1;
        return patched * (patch_bits + STAND_IN_BITS) * MMH_COST_ONE;
    }
    uint32_t used = 0;
    for (size_t i = 0; i < kept_count; i++) {
        uint64_t share = ((uint64_t)counts[kept[i]] * size * 2 + kept_total) / (2 * kept_total);
        frequency[kept[i]] = (uint16_t)MMH_MAX(share, 1u);
        used += frequency[kept[i]];
    }
    /* Rounding left a few slots over or short: give and take where it matters most. */
    struct rounding rounding = { counts, frequency, kept, kept_count, used > size };
    for (size_t i = used == size ? 0 : kept_count / 2; i-- > 0;)
        sift(&rounding, i);
    for (; used != size; sift(&rounding, 0)) {
        frequency[kept[0]] = (uint16_t)(frequency[kept[0]] + (used < size ? 1 : -1));
        used = used < size ? used + 1 : used - 1;
    }
    uint64_t cost = patched * (patch_bits + STAND_IN_BITS) * MMH_COST_ONE;
    for (size_t i = 0; i < kept_count; i++)
        cost += counts[kept[i]] * (((uint64_t)bits << 16) - mmh_cost_log2(frequency[kept[i]]));
    return cost;
}

/* ---- merging the bins into tables ---- */

struct group {
    uint64_t total;
    uint32_t *counts;   /* [256] */
    uint16_t low, high; /* symbols outside have no counts */
    uint8_t first_bin;
};

static void group_range(struct group *group)
{
    group->low = 0;
    group->high = 256;
    while (group->low < 255 && !group->counts[group->low])
        group->low++;
    while (group->high > group->low + 1 && !group->counts[group->high - 1])
        group->high--;
}

/* Bins that hold something; the smallest neighbours are joined until there are `most`. */
static size_t list_groups(struct group groups[MMH_CLASS_BINS], mmh_bin_counts *counts,
                          unsigned bins, size_t most)
{
    size_t n = 0;
    for (unsigned bin = 0; bin < bins; bin++) {
        uint64_t total = 0;
        for (unsigned s = 0; s < 256; s++)
            total += counts[bin][s];
        if (total)
            groups[n++] = (struct group){ total, counts[bin], 0, 256, (uint8_t)bin };
    }
    while (n > most) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (groups[i].total + groups[i + 1].total < groups[best].total + groups[best + 1].total)
                best = i;
        for (unsigned s = 0; s < 256; s++)
            groups[best].counts[s] += groups[best + 1].counts[s];
        groups[best].total += groups[best + 1].total;
        memmove(groups + best + 1, groups + best + 2, (n - best - 2) * sizeof *groups);
        n--;
    }
    for (size_t i = 0; i < n; i++)
        group_range(&groups[i]);
    return n;
}

/* Cost of one table for groups i..j, for all i <= j: cost[i * n + j]. `weight`: elements that each
 * counted one stands for, in 1/256. `symbol_bits`: of each symbol in a table. */
static void cost_runs(uint64_t *cost, const struct group *groups, size_t n, uint64_t weight,
                      uint64_t symbol_bits)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t sum[256] = { 0 };
        uint64_t part[256] = { 0 }, parts = 0, total = 0, symbols = 0;
        for (size_t j = i; j < n; j++) {
            const struct group *group = &groups[j];
            total += group->total;
            for (unsigned s = group->low; s < group->high; s++) {
                if (!group->counts[s])
                    continue;
                symbols += !sum[s];
                sum[s] += group->counts[s];
                uint64_t now = mmh_cost_xlog2x(sum[s]);
                parts += now - part[s];
                part[s] = now;
            }
            uint64_t entropy = mmh_cost_xlog2x((uint32_t)total) - parts;
            cost[i * n + j] = (entropy >> 8) * weight +
                              (TABLE_BITS + symbol_bits * symbols) * MMH_COST_ONE;
        }
    }
}

/* The best partition of n groups into at most `most` runs; start[k] is where run k begins.
 * Returns the number of runs. *bits: their cost. */
static size_t partition(size_t start[MMH_RANS_TABLES_MAX], uint64_t *bits, const uint64_t *cost,
                        size_t n, size_t most)
{
    uint64_t best[MMH_RANS_TABLES_MAX + 1][MMH_CLASS_BINS + 1];
    uint8_t from[MMH_RANS_TABLES_MAX + 1][MMH_CLASS_BINS + 1];
    size_t runs = 1;
    most = MMH_MIN(most, n);
    for (size_t j = 0; j < n; j++) {
        best[1][j + 1] = cost[j];
        from[1][j + 1] = 0;
    }
    for (size_t k = 2; k <= most; k++) {
        for (size_t j = k; j <= n; j++) {
            best[k][j] = UINT64_MAX;
            for (size_t i = k - 1; i < j; i++) {
                uint64_t c = best[k - 1][i] + cost[i * n + j - 1];
                if (c < best[k][j]) {
                    best[k][j] = c;
                    from[k][j] = (uint8_t)i;
                }
            }
        }
        if (best[k][n] < best[runs][n])
            runs = k;
    }
    *bits = best[runs][n] >> 16;
    for (size_t k = runs, end = n; k; k--) {
        start[k - 1] = from[k][end];
        end = from[k][end];
    }
    return runs;
}

/* Tables for the bins of a view: into the draft; returns the cost in bits, tables included. */
uint64_t mmh_model_tables(struct mmh_model_draft *draft, mmh_bin_counts *counts, uint64_t *costs,
                          const struct mmh_search *search, uint64_t counted)
{
    struct group groups[MMH_CLASS_BINS];
    size_t start[MMH_RANS_TABLES_MAX];
    uint64_t weight = search->elements * 256 / MMH_MAX(counted, 1u);
    size_t most = search->elements < SMALL_BLOCK && !search->passes ? GROUPS_SMALL : MMH_CLASS_BINS;
    size_t n = list_groups(groups, counts, MMH_CLASS_BINS, most);
    cost_runs(costs, groups, n, weight, SYMBOL_BITS);
    uint64_t bits;
    size_t tables = partition(start, &bits, costs, n, search->tables_max);
    bits = 0;
    for (size_t t = 0; t < tables; t++) {
        size_t end = t + 1 < tables ? start[t + 1] : n;
        uint32_t sum[256] = { 0 };
        for (size_t g = start[t]; g < end; g++)
            for (unsigned s = groups[g].low; s < groups[g].high; s++)
                sum[s] += groups[g].counts[s];
        if (!search->patch_bits && counted < search->elements)
            for (unsigned s = 0; s < 256; s++) /* the sample may have missed some */
                sum[s] += !sum[s];
        uint64_t cost = mmh_model_normalise(draft->frequency[t], sum, search->bits,
                                            search->patch_bits);
        bits += (cost >> 16) * weight / 256 + mmh_model_table_bits(draft->frequency[t]);
        if (t)
            draft->bounds[t - 1] = groups[start[t]].first_bin;
    }
    draft->table_count = (unsigned)tables;
    return bits + 6 * (tables - 1);
}

uint64_t mmh_model_tables_bits(mmh_bin_counts *counts, unsigned bins, unsigned tables_max,
                               uint32_t weight)
{
    struct group groups[MMH_CLASS_BINS];
    size_t start[MMH_RANS_TABLES_MAX];
    uint64_t bits;
    size_t n = list_groups(groups, counts, bins, GROUPS_FEW);
    /* A table fits its sample better than the rest, by 0.72 bits for each of its symbols. */
    uint64_t costs[GROUPS_FEW * GROUPS_FEW];
    cost_runs(costs, groups, n, 256, SYMBOL_BITS + (weight - 1) * 3 / 4);
    size_t tables = partition(start, &bits, costs, n, tables_max);
    return bits + 6 * (tables - 1);
}
