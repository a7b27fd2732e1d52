/*
 * A cheap look at a chunk that statistics coded: do values come again, so that matches may take less?
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Weights are noise to a matcher, which takes a hundred times as long to say so. What is looked at
 * here is a sample of short runs, alike on every machine: equal values in two of them speak of as
 * many more in the chunk as the sample is a part of it.
 */
#include "codec/codec_private.h"

enum {
    RUN_BYTES = 32,       /* of a run: half a line of the cache */
    RUNS_AHEAD = 8,       /* of them that are fetched before their turn */
    SAMPLE_SHARE = 64,    /* of a chunk's elements that are looked at, */
    SAMPLE_MIN = 1 << 12, /* but so many if there are */
    SLOTS_LOG2 = 13,      /* of the table: twice the samples of a chunk */
    MATCH_BITS = 24,      /* that a match takes, about */
    SAVED_SHARE = 32,     /* of what the chunk takes that is worth a trial */
    HITS_MIN = 4,         /* fewer are chance */
    ROW_RUNS = 64,        /* that are held against the row before them */
    ROW_EQUAL_SHARE = 8,  /* of their elements with the same upper half that is worth a trial */
};

struct look {
    size_t positions, hits, following; /* following: of the hits, those right after another one */
};

static inline uint64_t key_at(const uint8_t *at, unsigned key_bytes)
{
    return key_bytes == 4 ? mmh_load32(at) : mmh_load64(at);
}

/* Spread evenly, each somewhere in its stride: as if by chance, or else all that lies some distance
 * apart would be missed. */
static inline size_t run_position(size_t index, size_t stride)
{
    uint32_t mixed = (uint32_t)index * 2654435761u;
    mixed = (mixed ^ mixed >> 15) * 2246822519u;
    return index * stride + (size_t)(((uint64_t)(mixed >> 8) * stride) >> 24);
}

/* Elements that are all alike would be found in each other, and cost nobody anything. */
static inline bool is_flat(uint64_t key, uint64_t next)
{
    return key == next || !key;
}

/* Inlined with sizes that are known. The keys of neighbours overlap where an element is shorter. */
static inline void look_at_runs(struct look *look, uint16_t *slots, const uint8_t *src,
                                size_t elements, unsigned element_bytes, unsigned key_bytes)
{
    size_t run = RUN_BYTES / element_bytes, apart = (key_bytes - 1) / element_bytes + 1;
    size_t per_run = run - apart; /* the last key needs a neighbour */
    size_t wanted = MMH_MAX(elements / SAMPLE_SHARE, (size_t)SAMPLE_MIN);
    size_t runs = MMH_MIN(wanted, elements) / run, stride = (elements - run) / runs;
    for (size_t r = 0; r < runs; r++) {
        __builtin_prefetch(src +
                           run_position(MMH_MIN(r + RUNS_AHEAD, runs - 1), stride) * element_bytes);
        const uint8_t *at = src + run_position(r, stride) * element_bytes;
        bool before = false;
        for (size_t i = 0; i < per_run; i++, at += element_bytes) {
            uint64_t key = key_at(at, key_bytes);
            uint64_t mixed = key * 0x9e3779b97f4a7c15u;
            uint16_t *slot = &slots[mixed >> (64 - SLOTS_LOG2)];
            uint16_t print = (uint16_t)(mixed >> 32) | 1;
            bool hit = *slot == print && !is_flat(key, key_at(at + element_bytes, key_bytes));
            *slot = print;
            look->hits += hit;
            look->following += hit && before;
            before = hit;
        }
    }
    look->positions = runs * per_run;
}

/* Whether matches may save a share of what `coded` bytes say now. */
static mmh_status values_repeat(bool *repeat, const struct mmh_encode_job *job, size_t coded,
                                mmh_error *err)
{
    struct look look = { 0 };
    size_t n = job->elements;
    unsigned key_bytes = job->element_bytes == 4 ? 4 : 8; /* halves of them repeat by chance */
    uint64_t element_bits = 8 * (uint64_t)coded / n;
    uint64_t key_bits = 8 * (uint64_t)coded * (key_bytes / job->element_bytes) / n;
    if (key_bits <= MATCH_BITS)
        return MMH_OK;
    uint16_t *slots = (uint16_t *)(void *)mmh_workspace_scratch(job->workspace, MMH_SCRATCH_SECTION,
                                                                sizeof *slots << SLOTS_LOG2);
    if (!slots)
        return mmh_fail(err, MMH_E_MEMORY, "looking for repeats");
    memset(slots, 0, sizeof *slots << SLOTS_LOG2);
    switch (job->element_bytes) {
    case 1:
        look_at_runs(&look, slots, job->src, n, 1, 8);
        break;
    case 2:
        look_at_runs(&look, slots, job->src, n, 2, 8);
        break;
    case 4:
        look_at_runs(&look, slots, job->src, n, 4, 4);
        break;
    default:
        look_at_runs(&look, slots, job->src, n, 8, 8);
        break;
    }
    if (look.hits < HITS_MIN)
        return MMH_OK;
    /* Each hit is n / positions elements that repeat another one, if it is looked for everywhere. */
    uint64_t saved = (look.hits - look.following) * (key_bits - MATCH_BITS) +
                     look.following * element_bits;
    uint64_t share = MMH_MAX(n / look.positions, 1u);
    *repeat = MMH_MIN(saved * share, look.positions * element_bits) * SAVED_SHARE >
              look.positions * element_bits;
    return MMH_OK;
}

/* Whether rows go on as the row before them, so that the upper halves of elements repeat. */
static bool rows_repeat(const struct mmh_encode_job *job)
{
    uint64_t row = job->plan->row_elements;
    size_t n = job->elements, run = RUN_BYTES / job->element_bytes, equal = 0;
    if (job->element_bytes < 4 || row < 2 || row > n / 2 || n - row < run * ROW_RUNS)
        return false;
    unsigned upper = job->element_bytes / 2; /* little endian */
    size_t stride = (n - row - run) / ROW_RUNS;
    for (size_t r = 0; r < ROW_RUNS; r++) {
        const uint8_t *at = job->src + run_position(r, stride) * job->element_bytes + upper;
        const uint8_t *below = at + row * job->element_bytes;
        for (size_t i = 0; i + 1 < run; i++, at += 2 * upper, below += 2 * upper)
            equal += upper == 2
                       ? mmh_load16(at) == mmh_load16(below) && mmh_load16(at) != mmh_load16(at + 4)
                       : mmh_load32(at) == mmh_load32(below) &&
                             mmh_load32(at) != mmh_load32(at + 8);
    }
    return equal * ROW_EQUAL_SHARE > ROW_RUNS * (run - 1);
}

mmh_status mmh_repeats_look(struct mmh_repeats *seen, const struct mmh_encode_job *job,
                            mmh_error *err)
{
    *seen = (struct mmh_repeats){ 0 };
    if (job->elements < HITS_MIN * RUN_BYTES)
        return MMH_OK;
    seen->rows = rows_repeat(job);
    return values_repeat(&seen->values, job, MMH_MIN(job->bytes, job->chunk->bytes), err);
}
