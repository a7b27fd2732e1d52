/*
 * What the SIMD decoders of rANS share: stripes on their way, and care near the end of the words.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_KERNEL_RANS_STREAM_H
#define MMH_KERNEL_RANS_STREAM_H

#include "kernel/kernel_private.h"

#include <string.h>

enum { MMH_STREAMS_MAX = 4 }; /* stripes decoded side by side */

struct mmh_rans_stream {
    const uint8_t *at;    /* the next word */
    const uint8_t *limit; /* while at <= limit a group's loads stay inside */
    const uint8_t *end;   /* where at must be after the last group */
    uint8_t *symbols;
    const uint8_t *ids;
    const struct mmh_merge *merge;
    size_t merged, count; /* elements so far, and all */
    size_t groups;        /* left */
    bool in_tail;         /* at, limit and end point into tail */
    uint32_t states[MMH_RANS_LANES];
    uint8_t tail[4 * MMH_RANS_GROUP]; /* the last words, zeros after them */
};

/*
 * Decode up to `groups` groups of each of some streams, fewer where one comes to its limit;
 * returns how many. Moves `at` and states, leaves symbols, ids and groups alone. The vectors of a
 * group load no more than MMH_RANS_GROUP words from where it begins.
 */
typedef size_t mmh_rans_decode_groups(struct mmh_rans_stream *const *streams,
                                      const uint32_t *tables, unsigned bits, size_t groups);

MMH_INLINE void mmh_rans_stream_init(struct mmh_rans_stream *stream,
                                     const struct mmh_rans_stripe *stripe)
{
    for (size_t lane = 0; lane < MMH_RANS_LANES; lane++)
        stream->states[lane] = mmh_load32(stripe->states + 4 * lane);
    stream->symbols = stripe->symbols;
    stream->ids = stripe->ids;
    stream->merge = stripe->merge;
    stream->merged = 0;
    stream->count = stripe->count;
    stream->groups = stripe->count / MMH_RANS_GROUP + (stripe->count % MMH_RANS_GROUP != 0);
    stream->at = stripe->words;
    stream->end = stripe->words + 2 * stripe->word_count;
    stream->limit = stream->end - 2 * MMH_MIN(stripe->word_count, (size_t)MMH_RANS_GROUP);
    stream->in_tail = false;
}

/*
 * With too few words left for any group, the rest moves to the stream's own buffer, zeros behind
 * it: a group that begins at or before the end of the words stays in there, and one that begins
 * behind it has taken words that do not exist.
 */
MMH_INLINE void mmh_rans_stream_to_tail(struct mmh_rans_stream *stream)
{
    const size_t left = (size_t)(stream->end - stream->at);
    memset(stream->tail, 0, sizeof stream->tail);
    if (left)
        memcpy(stream->tail, stream->at, left);
    stream->at = stream->tail;
    stream->limit = stream->end = stream->tail + left;
    stream->in_tail = true;
}

MMH_INLINE bool mmh_rans_stream_is_right(const struct mmh_rans_stream *stream)
{
    uint32_t wrong = stream->at != stream->end;
    for (size_t lane = 0; lane < MMH_RANS_LANES; lane++)
        wrong |= stream->states[lane] ^ UINT32_C(0x10000);
    return !wrong;
}

/* One function for each number of streams, [with ids][streams - 1]; NULL: none. */
typedef mmh_rans_decode_groups *mmh_rans_shapes[2][MMH_STREAMS_MAX];

/* Symbols of a stream have been decoded: `merging`, or on their way. */
MMH_INLINE void mmh_rans_stream_advance(struct mmh_rans_stream *stream, size_t groups,
                                        mmh_merge_elements *merge, bool merging)
{
    stream->groups -= groups;
    if (stream->ids)
        stream->ids += groups * MMH_RANS_GROUP;
    if (!stream->merge) {
        stream->symbols += groups * MMH_RANS_GROUP;
        return;
    }
    const size_t count = MMH_MIN(groups * MMH_RANS_GROUP, stream->count - stream->merged);
    if (!merging)
        mmh_merge_symbols(merge, stream->merge, stream->merged, stream->symbols, count);
    stream->merged += count;
}

/*
 * Streams that all have ids or all have none, and likewise `merge`. `symbols` decodes symbols,
 * which `merge` makes elements of burst by burst; `merging`, where there is one, makes elements itself.
 */
MMH_INLINE bool mmh_rans_streams_decode(mmh_merge_elements *merge, struct mmh_rans_stream *streams,
                                        size_t count, const uint32_t *tables, unsigned bits,
                                        const mmh_rans_shapes *symbols,
                                        const mmh_rans_shapes *merging)
{
    for (;;) {
        struct mmh_rans_stream *busy[MMH_STREAMS_MAX];
        size_t n = 0, groups = SIZE_MAX;
        for (size_t i = 0; i < count; i++)
            if (streams[i].groups)
                busy[n++] = &streams[i];
        if (!n)
            break;
        const bool with_ids = busy[0]->ids != NULL;
        bool whole = merging && (*merging)[with_ids][n - 1];
        /* Whole groups of elements, for which there is room; a last group may have fewer. */
        for (size_t i = 0; i < n; i++) {
            size_t left = busy[i]->groups;
            const bool partial = busy[i]->count % MMH_RANS_GROUP != 0;
            if (partial && left == 1)
                whole = false;
            else if (partial && merging)
                left--;
            groups = MMH_MIN(groups, left);
        }
        if (busy[0]->merge && !whole) /* in bursts that stay in a near cache */
            groups = MMH_MIN(groups, (size_t)(MMH_RANS_BURST / MMH_RANS_GROUP));
        for (size_t i = 0; i < n; i++) {
            if (!busy[i]->in_tail && (size_t)(busy[i]->end - busy[i]->at) < 2 * MMH_RANS_GROUP)
                mmh_rans_stream_to_tail(busy[i]);
            if (busy[i]->at > busy[i]->limit)
                return false;
        }
        const mmh_rans_shapes *shapes = whole ? merging : symbols;
        const size_t done = (*shapes)[with_ids][n - 1](busy, tables, bits, groups);
        for (size_t i = 0; i < n; i++)
            mmh_rans_stream_advance(busy[i], done, merge, whole);
    }
    bool right = true;
    for (size_t i = 0; i < count; i++)
        right &= mmh_rans_stream_is_right(&streams[i]);
    return right;
}

/* rans_decode, `side` stripes at once. */
MMH_INLINE bool mmh_rans_stripes_decode(mmh_merge_elements *merge,
                                        const struct mmh_rans_stripe *stripes, size_t stripe_count,
                                        size_t side, const uint32_t *tables, unsigned bits,
                                        const mmh_rans_shapes *symbols,
                                        const mmh_rans_shapes *merging)
{
    struct mmh_rans_stream streams[MMH_STREAMS_MAX];
    bool right = true;
    while (stripe_count) {
        size_t n = 0;
        for (; n < MMH_MIN(stripe_count, side); n++) {
            if (!stripes[n].ids != !stripes[0].ids)
                break;
            mmh_rans_stream_init(&streams[n], &stripes[n]);
        }
        right &= mmh_rans_streams_decode(merge, streams, n, tables, bits, symbols, merging);
        stripes += n;
        stripe_count -= n;
    }
    return right;
}

#endif
