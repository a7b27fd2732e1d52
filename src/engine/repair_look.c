/*
 * Repair: look at every byte of a damaged container, and mend what its copies and parity give back.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Header, index and tail are known whole before anything else is looked at: they are proved by the
 * root. Then each chunk is read once and compared with its hash; what lies in chunks that are right
 * is right, and so are zeros between them. Of what is left parity's table says which blocks are wrong.
 */
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "engine/repair.h"

enum {
    RUN_BYTES = 4 << 20, /* of neighbouring chunks that are read at once */
    GAP_MAX = 1 << 20,   /* longer ones are not looked at: nothing we write has them */
    PAGE_HEAD_BYTES = 8
};

/* ---- the container as far as it is known ---- */

/* Where [at, at + bytes) overlaps dst, which is [offset, offset + dst_bytes): copy, or clear. */
static void overlay(uint8_t *dst, uint64_t offset, size_t dst_bytes, uint64_t at,
                    const uint8_t *data, uint64_t bytes)
{
    uint64_t from = MMH_MAX(offset, at), to = MMH_MIN(offset + dst_bytes, at + bytes);
    if (from >= to)
        return;
    if (data)
        memcpy(dst + (from - offset), data + (from - at), (size_t)(to - from));
    else
        memset(dst + (from - offset), 0, (size_t)(to - from));
}

/* The first chunk that ends behind an offset. */
static uint64_t first_chunk_behind(const struct mmh_index *index, uint64_t offset)
{
    uint64_t low = 0, high = index->chunk_count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (index->chunks[middle].offset + index->chunks[middle].bytes > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Gap `number` lies before the chunk of that number; the last before index A. */
static void gap_bounds(const struct mmh_repairing *repairing, uint64_t number, uint64_t *begin,
                       uint64_t *end)
{
    const struct mmh_index *index = &repairing->reader.container.index;
    const struct mmh_chunk_entry *before = &index->chunks[number - !!number];
    *begin = number ? before->offset + before->bytes : MMH_CHUNKS_BEGIN;
    *end = number < index->chunk_count ? index->chunks[number].offset
                                       : repairing->main->footer.index_a;
}

static void clear_gaps(const struct mmh_repairing *repairing, uint8_t *dst, uint64_t offset,
                       size_t bytes)
{
    const struct mmh_index *index = &repairing->reader.container.index;
    uint64_t begin, end;
    for (uint64_t i = first_chunk_behind(index, offset); i <= index->chunk_count; i++) {
        gap_bounds(repairing, i, &begin, &end);
        if (begin >= offset + bytes)
            break;
        if (end - begin <= GAP_MAX)
            overlay(dst, offset, bytes, begin, NULL, end - begin);
    }
}

mmh_status mmh_repairing_read(void *context, void *dst, uint64_t offset, size_t bytes,
                              mmh_error *err)
{
    const struct mmh_repairing *repairing = context;
    const struct mmh_remains *remains = repairing->main;
    const struct mmh_footer *footer = &remains->footer;
    uint64_t trailer_end = footer->trailer + footer->trailer_bytes;
    mmh_status status = mmh_copy_read(&repairing->copies[0], dst, offset, bytes, err);
    if (repairing->patched) {
        uint64_t first = offset / repairing->block_bytes;
        uint64_t end = mmh_divide_up(offset + bytes, repairing->block_bytes);
        for (uint64_t j = first; j < end && j < repairing->block_count && status == MMH_OK; j++) {
            uint64_t begin = j * repairing->block_bytes;
            uint64_t from = MMH_MAX(begin, offset);
            uint64_t to = MMH_MIN(begin + repairing->block_bytes, offset + bytes);
            to = MMH_MIN(to, footer->index_a + footer->index_bytes);
            if (repairing->patched[j] && from < to)
                status = mmh_journal_read(&repairing->journal, (uint8_t *)dst + (from - offset),
                                          repairing->patched[j] + (from - begin),
                                          (size_t)(to - from), err);
        }
    }
    if (repairing->reader_open)
        clear_gaps(repairing, dst, offset, bytes);
    overlay(dst, offset, bytes, 0, footer->header, MMH_HEADER_BYTES);
    if (repairing->index) {
        overlay(dst, offset, bytes, footer->index_a, repairing->index, footer->index_bytes);
        overlay(dst, offset, bytes, footer->index_b, repairing->index, footer->index_bytes);
    }
    overlay(dst, offset, bytes, footer->trailer, remains->trailer, footer->trailer_bytes);
    overlay(dst, offset, bytes, trailer_end, remains->footer_bytes, MMH_FOOTER_BYTES);
    overlay(dst, offset, bytes, footer->container_bytes - MMH_FOOTER_BYTES, remains->footer_bytes,
            MMH_FOOTER_BYTES);
    return status;
}

/* ---- the index ---- */

/*
 * Read a part of the index as one of its copies has it: number says which, A and B of each copy of the
 * container, and behind those `mended`, if there is one.
 */
static mmh_status read_index_part(const struct mmh_repairing *repairing, uint8_t *dst,
                                  size_t number, const uint8_t *mended, uint64_t within,
                                  size_t bytes, mmh_error *err)
{
    const struct mmh_footer *footer = &repairing->main->footer;
    size_t copy = number / 2;
    if (copy == repairing->copy_count) {
        memcpy(dst, mended + within, bytes);
        return MMH_OK;
    }
    /* The spare one of another copy may stand elsewhere. */
    const struct mmh_remains *remains = &repairing->remains[copy];
    uint64_t at = number % 2 == 0 ? footer->index_a
                : remains->found  ? remains->footer.index_b
                                  : footer->index_b;
    return mmh_copy_read(&repairing->copies[copy], dst, at + within, bytes, err);
}

/*
 * Put the index together from all copies that there are: the table that gives the root, then each page
 * that it has the hash of. *complete false: some page is nowhere.
 */
static mmh_status assemble_index(struct mmh_repairing *repairing, const uint8_t *mended,
                                 bool *complete, mmh_error *err)
{
    const struct mmh_footer *footer = &repairing->main->footer;
    unsigned suite = repairing->main->hash_suite;
    size_t hash_bytes = mmh_hash_bytes(suite), entry_bytes = PAGE_HEAD_BYTES + hash_bytes;
    size_t count = 2 * repairing->copy_count + !!mended;
    uint8_t root[MMH_HASH_BYTES], hash[MMH_HASH_BYTES];
    bool right = false;
    mmh_status status = MMH_OK;
    *complete = false;
    for (size_t n = 0; n < count && !right && status == MMH_OK; n++) {
        status = read_index_part(repairing, repairing->index, n, mended, 0, footer->table_bytes,
                                 err);
        if (status == MMH_OK)
            status = mmh_root_hash(root, suite, footer->header, repairing->index,
                                   footer->table_bytes, err);
        right = status == MMH_OK && memcmp(root, footer->root, MMH_HASH_BYTES) == 0;
    }
    uint64_t within = footer->table_bytes;
    for (uint32_t page = 0; right && status == MMH_OK && page < footer->page_count; page++) {
        const uint8_t *entry = repairing->index + page * entry_bytes;
        size_t bytes = mmh_load32(entry);
        right = false;
        if (bytes > footer->index_bytes - within)
            break;
        for (size_t n = 0; n < count && !right && status == MMH_OK; n++) {
            status = read_index_part(repairing, repairing->index + within, n, mended, within, bytes,
                                     err);
            if (status == MMH_OK)
                status = mmh_hash(hash, suite, MMH_DOMAIN_PAGE, repairing->index + within, bytes,
                                  err);
            right = status == MMH_OK && memcmp(hash, entry + PAGE_HEAD_BYTES, hash_bytes) == 0;
        }
        within += bytes;
    }
    *complete = status == MMH_OK && right && within == footer->index_bytes;
    return status;
}

/* Index A as parity gives it back. */
struct mended_index {
    const struct mmh_repairing *repairing;
    uint8_t *data;
};

static mmh_status take_index(void *context, bool packet, uint64_t number, const uint8_t *data,
                             size_t bytes, mmh_error *err)
{
    struct mended_index *index = context;
    const struct mmh_footer *footer = &index->repairing->main->footer;
    (void)err;
    if (!packet)
        overlay(index->data, footer->index_a, (size_t)footer->index_bytes,
                number * index->repairing->block_bytes, data, bytes);
    return MMH_OK;
}

/* No copy of some page is right, but parity may give it back. */
static mmh_status mend_index(struct mmh_repairing *repairing, bool *complete, mmh_error *err)
{
    const struct mmh_footer *footer = &repairing->main->footer;
    uint32_t stripes = repairing->mend.geometry.stripe_count;
    uint64_t first = footer->index_a / repairing->block_bytes;
    uint64_t count = MMH_MIN(repairing->block_count - first, stripes);
    struct mended_index index = { .repairing = repairing,
                                  .data = mmh_alloc(repairing->context->allocator, 0,
                                                    (size_t)footer->index_bytes) };
    if (!index.data)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for the index");
    mmh_status status = mmh_copy_read(&repairing->copies[0], index.data, footer->index_a,
                                      (size_t)footer->index_bytes, err);
    for (uint64_t i = 0; i < count && status == MMH_OK; i++)
        status = mmh_mend_stripes(&repairing->mend, (uint32_t)((first + i) % stripes), 1,
                                  take_index, &index, err);
    if (status == MMH_OK)
        status = assemble_index(repairing, index.data, complete, err);
    mmh_free(repairing->context->allocator, index.data);
    return status;
}

/* Before anything is known of blocks: parity's are what the file has. */
static mmh_status get_index(struct mmh_repairing *repairing, mmh_error *err)
{
    const struct mmh_footer *footer = &repairing->main->footer;
    uint64_t there = 0;
    bool complete = false;
    for (size_t c = 0; c < repairing->copy_count; c++)
        there += mmh_input_bytes(repairing->copies[c].input);
    if (footer->index_bytes > there)
        return mmh_fail(err, MMH_E_CORRUPT, "%s: the index is lost", repairing->path);
    repairing->index = mmh_alloc(repairing->context->allocator, 0, (size_t)footer->index_bytes);
    if (!repairing->index)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for the index");
    mmh_status status = assemble_index(repairing, NULL, &complete, err);
    if (status == MMH_OK && !complete && repairing->has_mend)
        status = mend_index(repairing, &complete, err);
    if (status == MMH_OK && !complete)
        status = mmh_fail(
            err, MMH_E_CORRUPT, "%s: the index is lost: both copies are damaged%s", repairing->path,
            repairing->has_mend ? ", and parity is used up" : ", and there is no parity");
    return status;
}

/* ---- chunks ---- */

struct look {
    struct mmh_repairing *repairing;
    uint64_t *runs; /* [run_count + 1] first chunks of runs of neighbours */
    size_t run_count;
};

/* A run's bytes, with the gaps before its chunks. */
static void run_bounds(const struct look *look, size_t run, uint64_t *begin, uint64_t *end)
{
    const struct mmh_index *index = &look->repairing->reader.container.index;
    const struct mmh_chunk_entry *first = &index->chunks[look->runs[run]];
    const struct mmh_chunk_entry *last = &index->chunks[look->runs[run + 1] - 1];
    uint64_t gap_begin, gap_end;
    gap_bounds(look->repairing, look->runs[run], &gap_begin, &gap_end);
    *begin = gap_end - gap_begin <= GAP_MAX ? gap_begin : first->offset;
    *end = last->offset + last->bytes;
}

static bool all_zeros(const uint8_t *data, size_t bytes)
{
    uint8_t any = 0;
    for (size_t i = 0; i < bytes; i++)
        any |= data[i];
    return !any;
}

static mmh_status look_run(void *context, size_t run, unsigned worker_index, mmh_error *err)
{
    struct look *look = context;
    struct mmh_repairing *repairing = look->repairing;
    mmh_context *engine = repairing->context;
    struct mmh_worker *worker = &engine->workers[worker_index];
    const struct mmh_index *index = &repairing->reader.container.index;
    uint64_t begin, end, gap_begin, gap_end;
    run_bounds(look, run, &begin, &end);
    mmh_status status = mmh_worker_room(engine, worker, (size_t)(end - begin), 0, err);
    if (status == MMH_OK)
        status = mmh_copy_read(&repairing->copies[0], worker->stored, begin, (size_t)(end - begin),
                               err);
    for (uint64_t i = look->runs[run]; i < look->runs[run + 1] && status == MMH_OK; i++) {
        gap_bounds(repairing, i, &gap_begin, &gap_end);
        if (gap_begin >= begin)
            repairing->bad_gaps[i] = !all_zeros(worker->stored + (gap_begin - begin),
                                                (size_t)(gap_end - gap_begin));
        status = mmh_container_check_chunk(&repairing->reader.container, i,
                                           worker->stored + (index->chunks[i].offset - begin),
                                           NULL);
        repairing->bad[i] = status == MMH_E_CORRUPT;
        if (status == MMH_E_CORRUPT)
            status = MMH_OK;
    }
    atomic_fetch_add_explicit(&engine->done_bytes, end - begin, memory_order_relaxed);
    return status == MMH_OK ? mmh_context_poll(engine, err) : status;
}

static mmh_status look_at_chunks(struct mmh_repairing *repairing, mmh_error *err)
{
    const mmh_allocator *allocator = repairing->context->allocator;
    const struct mmh_index *index = &repairing->reader.container.index;
    struct look look = { .repairing = repairing };
    uint64_t gap_begin, gap_end, run_begin = 0;
    mmh_status status = MMH_OK;
    repairing->bad = mmh_alloc_array(allocator, (size_t)index->chunk_count + 1, 1);
    repairing->bad_gaps = mmh_alloc_array(allocator, (size_t)index->chunk_count + 1, 1);
    look.runs = mmh_alloc_array(allocator, (size_t)index->chunk_count + 1, sizeof *look.runs);
    if (!repairing->bad || !repairing->bad_gaps || !look.runs)
        status = mmh_fail(err, MMH_E_MEMORY, "no memory to check %" PRIu64 " chunks",
                          index->chunk_count);
    for (uint64_t i = 0; i < index->chunk_count && status == MMH_OK && !repairing->chunks_right;
         i++) {
        const struct mmh_chunk_entry *chunk = &index->chunks[i];
        gap_bounds(repairing, i, &gap_begin, &gap_end);
        if (!i || gap_end - gap_begin > GAP_MAX ||
            chunk->offset + chunk->bytes - run_begin > RUN_BYTES) {
            look.runs[look.run_count++] = i;
            run_begin = gap_begin;
        }
    }
    if (status == MMH_OK) {
        look.runs[look.run_count] = index->chunk_count;
        repairing->context->state.total_bytes = repairing->main->footer.container_bytes;
        status = mmh_pool_run(repairing->context->pool, look.run_count, look_run, &look, err);
    }
    if (status == MMH_OK) { /* the gap before index A */
        uint8_t byte[4096];
        gap_bounds(repairing, index->chunk_count, &gap_begin, &gap_end);
        for (uint64_t at = gap_begin; at < gap_end && gap_end - gap_begin <= GAP_MAX;) {
            size_t bytes = (size_t)MMH_MIN(gap_end - at, (uint64_t)sizeof byte);
            status = mmh_copy_read(&repairing->copies[0], byte, at, bytes, err);
            repairing->bad_gaps[index->chunk_count] |= !all_zeros(byte, bytes);
            at += bytes;
        }
    }
    for (uint64_t i = 0; status == MMH_OK && i < index->chunk_count; i++)
        repairing->bad_count += repairing->bad[i];
    repairing->right_count = index->chunk_count - repairing->bad_count;
    mmh_free(allocator, look.runs);
    return status;
}

/* ---- blocks ---- */

static void set_states(struct mmh_repairing *repairing, uint64_t offset, uint64_t end,
                       enum mmh_block_state state)
{
    for (uint64_t j = offset / repairing->block_bytes;
         j < mmh_divide_up(end, repairing->block_bytes) && j < repairing->block_count; j++)
        repairing->mend.states[j] = (uint8_t)state;
}

/* What lies in chunks that are right is right; the rest is for the table to say. */
static void judge_blocks(struct mmh_repairing *repairing)
{
    const struct mmh_index *index = &repairing->reader.container.index;
    enum mmh_block_state doubtful = repairing->mend.table ? MMH_BLOCK_UNKNOWN : MMH_BLOCK_WRONG;
    uint64_t begin, end;
    memset(repairing->mend.states, MMH_BLOCK_RIGHT, (size_t)repairing->block_count);
    for (uint64_t i = 0; i <= index->chunk_count; i++) {
        gap_bounds(repairing, i, &begin, &end);
        if (end - begin > GAP_MAX && repairing->mend.table)
            set_states(repairing, begin, end, MMH_BLOCK_UNKNOWN);
        if (i < index->chunk_count && repairing->bad[i])
            set_states(repairing, index->chunks[i].offset,
                       index->chunks[i].offset + index->chunks[i].bytes, doubtful);
    }
}

static mmh_status put_block(struct mmh_repairing *repairing, uint64_t block, const uint8_t *data,
                            size_t bytes, mmh_error *err)
{
    if (repairing->dry)
        return MMH_OK;
    mmh_status status = MMH_OK;
    if (repairing->patched[block])
        status = mmh_journal_void(&repairing->journal, repairing->patched[block], err);
    if (status == MMH_OK)
        status = mmh_journal_add(&repairing->journal, block * repairing->block_bytes, data, bytes,
                                 &repairing->patched[block], err);
    return status;
}

mmh_status mmh_repairing_put_chunk(struct mmh_repairing *repairing, uint64_t chunk,
                                   const uint8_t *data, mmh_error *err)
{
    const struct mmh_chunk_entry *entry = &repairing->reader.container.index.chunks[chunk];
    const struct mmh_footer *footer = &repairing->main->footer;
    uint8_t *block = mmh_alloc(repairing->context->allocator, 0, repairing->block_bytes);
    mmh_status status = block ? MMH_OK : mmh_fail(err, MMH_E_MEMORY, "no memory for a block");
    uint64_t end = footer->index_a + footer->index_bytes;
    for (uint64_t j = entry->offset / repairing->block_bytes;
         j < mmh_divide_up(entry->offset + entry->bytes, repairing->block_bytes) &&
         status == MMH_OK;
         j++) {
        uint64_t at = j * repairing->block_bytes;
        size_t bytes = (size_t)MMH_MIN(end - at, (uint64_t)repairing->block_bytes);
        status = mmh_repairing_read(repairing, block, at, bytes, err);
        overlay(block, at, bytes, entry->offset, data, entry->bytes);
        repairing->damaged[j] = 1;
        if (status == MMH_OK)
            status = put_block(repairing, j, block, bytes, err);
    }
    mmh_free(repairing->context->allocator, block);
    if (status == MMH_OK) {
        repairing->bad[chunk] = 0;
        repairing->bad_count--;
    }
    return status;
}

/* Take damaged chunks from other copies that have them right. */
static mmh_status take_from_copies(struct mmh_repairing *repairing, mmh_error *err)
{
    const struct mmh_index *index = &repairing->reader.container.index;
    struct mmh_worker *worker = &repairing->context->workers[0];
    mmh_status status = MMH_OK;
    for (uint64_t i = 0; i < index->chunk_count && status == MMH_OK; i++)
        for (size_t c = 1; c < repairing->copy_count && repairing->bad[i] && status == MMH_OK;
             c++) {
            const struct mmh_chunk_entry *chunk = &index->chunks[i];
            status = mmh_worker_room(repairing->context, worker, chunk->bytes, 0, err);
            if (status == MMH_OK)
                status = mmh_copy_read(&repairing->copies[c], worker->stored, chunk->offset,
                                       chunk->bytes, err);
            if (status != MMH_OK || mmh_container_check_chunk(&repairing->reader.container, i,
                                                              worker->stored, NULL) != MMH_OK)
                continue;
            status = mmh_repairing_put_chunk(repairing, i, worker->stored, err);
            repairing->report.from_sources++;
        }
    return status;
}

/* ---- parity ---- */

enum { PACKETS_AT_ONCE = 16 };

struct packet_look {
    struct mmh_repairing *repairing;
    uint64_t count;
};

/* Which parity packets the container lacks. */
static mmh_status look_at_packets(void *context, size_t job, unsigned worker_index, mmh_error *err)
{
    struct packet_look *look = context;
    struct mmh_repairing *repairing = look->repairing;
    struct mmh_worker *worker = &repairing->context->workers[worker_index];
    const struct mmh_copy *copy = &repairing->copies[0];
    mmh_status status = mmh_worker_room(repairing->context, worker,
                                        mmh_recovery_packet_bytes(&copy->layout, MMH_PACKET_PARITY),
                                        0, err);
    for (uint64_t n = (uint64_t)job * PACKETS_AT_ONCE;
         n < look->count && n < ((uint64_t)job + 1) * PACKETS_AT_ONCE && status == MMH_OK; n++) {
        bool right = false;
        status = mmh_mend_packet(&right, worker->stored, &repairing->mend, copy, MMH_PACKET_PARITY,
                                 (uint32_t)n, err);
        repairing->parity_wanted[n] = !right;
    }
    return status;
}

/* What is mended of blocks and packets. */
static mmh_status take_mended(void *context, bool packet, uint64_t number, const uint8_t *data,
                              size_t bytes, mmh_error *err)
{
    struct mmh_repairing *repairing = context;
    if (!packet) {
        repairing->damaged[number] = 1;
        return put_block(repairing, number, data, bytes, err);
    }
    repairing->parity_wanted[number] = 2; /* made */
    if (repairing->dry)
        return MMH_OK;
    return mmh_journal_add(&repairing->journal,
                           mmh_recovery_packet_offset(&repairing->copies[0].layout,
                                                      MMH_PACKET_PARITY, (uint32_t)number),
                           data, bytes, NULL, err);
}

/* Mend all stripes that have something that is doubtful, wrong or wanted. */
static mmh_status mend_stripes(struct mmh_repairing *repairing, mmh_error *err)
{
    struct mmh_mend *mend = &repairing->mend;
    uint32_t stripes = mend->geometry.stripe_count, most = mmh_mend_batch(mend);
    uint64_t packets = (uint64_t)mend->geometry.parity_count * stripes;
    uint8_t *needed = mmh_alloc_array(mend->allocator, stripes, 1);
    mmh_status status = needed ? MMH_OK : mmh_fail(err, MMH_E_MEMORY, "no memory to mend stripes");
    for (uint64_t j = 0; j < repairing->block_count && status == MMH_OK; j++)
        needed[j % stripes] |= mend->states[j] != MMH_BLOCK_RIGHT;
    for (uint64_t n = 0; n < packets && mend->parity_wanted && status == MMH_OK; n++)
        needed[n % stripes] |= repairing->parity_wanted[n] == 1;
    for (uint32_t first = 0; first < stripes && status == MMH_OK;) {
        uint32_t count = 0;
        while (first + count < stripes && count < most && needed[first + count])
            count++;
        if (count)
            status = mmh_mend_stripes(mend, first, count, take_mended, repairing, err);
        if (status == MMH_OK)
            status = mmh_context_poll(repairing->context, err);
        first += MMH_MAX(count, 1);
    }
    mmh_free(mend->allocator, needed);
    return status;
}

/* Whether all blocks of a chunk are said to be right. */
static bool blocks_right(const struct mmh_repairing *repairing, const struct mmh_chunk_entry *chunk)
{
    for (uint64_t j = chunk->offset / repairing->block_bytes;
         j < mmh_divide_up(chunk->offset + chunk->bytes, repairing->block_bytes); j++)
        if (repairing->mend.states[j] != MMH_BLOCK_RIGHT)
            return false;
    return true;
}

/* Whether some block of a chunk was written anew. */
static bool blocks_touched(const struct mmh_repairing *repairing,
                           const struct mmh_chunk_entry *chunk)
{
    for (uint64_t j = chunk->offset / repairing->block_bytes;
         j < mmh_divide_up(chunk->offset + chunk->bytes, repairing->block_bytes); j++)
        if (repairing->patched[j])
            return true;
    return false;
}

/* What was mended is believed only if the chunks say so. */
static mmh_status check_mended(struct mmh_repairing *repairing, mmh_error *err)
{
    const struct mmh_index *index = &repairing->reader.container.index;
    struct mmh_worker *worker = &repairing->context->workers[0];
    mmh_status status = MMH_OK;
    for (uint64_t i = 0; i < index->chunk_count && status == MMH_OK; i++) {
        const struct mmh_chunk_entry *chunk = &index->chunks[i];
        bool was_bad = repairing->bad[i], right;
        if (repairing->dry) {
            right = !was_bad || blocks_right(repairing, chunk);
        } else {
            if (!was_bad && !blocks_touched(repairing, chunk))
                continue;
            status = mmh_worker_room(repairing->context, worker, chunk->bytes, 0, err);
            if (status == MMH_OK)
                status = mmh_repairing_read(repairing, worker->stored, chunk->offset, chunk->bytes,
                                            err);
            if (status != MMH_OK)
                break;
            right = mmh_container_check_chunk(&repairing->reader.container, i, worker->stored,
                                              NULL) == MMH_OK;
        }
        if (right && was_bad) {
            repairing->bad[i] = 0;
            repairing->bad_count--;
            repairing->report.from_parity++;
        }
        /* A table that is not the container's: what was there is better. */
        for (uint64_t j = chunk->offset / repairing->block_bytes;
             !repairing->dry && !right && (!was_bad || !repairing->mend.table) &&
             j < mmh_divide_up(chunk->offset + chunk->bytes, repairing->block_bytes) &&
             status == MMH_OK;
             j++)
            if (repairing->patched[j]) {
                status = mmh_journal_void(&repairing->journal, repairing->patched[j], err);
                repairing->patched[j] = 0;
            }
    }
    return status;
}

/* ---- all of it ---- */

static mmh_status open_parity(struct mmh_repairing *repairing, mmh_error *err)
{
    const struct mmh_remains *remains = NULL;
    for (size_t c = 0; c < repairing->copy_count && !remains; c++)
        if (repairing->remains[c].has_parity)
            remains = &repairing->remains[c];
    if (repairing->main->has_parity)
        remains = repairing->main;
    uint64_t end = repairing->main->footer.index_a + repairing->main->footer.index_bytes;
    repairing->block_bytes = MMH_PARITY_BLOCK_BYTES_MAX;
    mmh_status status = MMH_OK;
    if (remains) {
        const struct mmh_geometry *geometry = &remains->copy.layout.geometry;
        repairing->block_bytes = geometry->block_bytes;
        for (size_t c = 0; c < repairing->copy_count; c++)
            if (memcmp(&repairing->copies[c].layout.geometry, geometry, sizeof *geometry) != 0)
                repairing->copies[c].has_layout = false;
        /* One whose footer is lost has its packets where the others have theirs. */
        for (size_t c = 0; c < repairing->copy_count; c++)
            if (!repairing->copies[c].has_layout && !repairing->remains[c].has_parity &&
                (c || repairing->main->has_parity)) {
                repairing->copies[c].layout = remains->copy.layout;
                repairing->copies[c].has_layout = true;
            }
        status = mmh_mend_open(&repairing->mend, geometry, remains->hash_suite, repairing->copies,
                               repairing->copy_count, repairing->context->pool,
                               repairing->context->allocator, err);
        repairing->has_mend = true;
    }
    repairing->block_count = mmh_divide_up(end, repairing->block_bytes);
    return status;
}

static mmh_status open_index(struct mmh_repairing *repairing, mmh_error *err)
{
    mmh_error local = { 0 };
    repairing->reader.context = repairing->context;
    repairing->reader.input = repairing->inputs[0];
    /* What is stored is mended without a key; with one, what stays lost is told by name. */
    struct mmh_opening opening = { .keyless = true, .trusting = true, .lenient = true };
    mmh_status status = mmh_guards_open_by(&repairing->reader, &opening, mmh_repairing_read,
                                           repairing, repairing->main->footer.container_bytes,
                                           &local);
    if (status != MMH_OK)
        return mmh_fail(err, status, "%s: %s", repairing->path, local.message);
    repairing->reader_open = true;
    return MMH_OK;
}

static mmh_status room_for_blocks(struct mmh_repairing *repairing, mmh_error *err)
{
    const mmh_allocator *allocator = repairing->context->allocator;
    uint64_t there = 0;
    for (size_t c = 0; c < repairing->copy_count; c++)
        there += mmh_input_bytes(repairing->copies[c].input);
    if (repairing->block_count > there) /* each has a byte at least, somewhere */
        return mmh_fail(err, MMH_E_CORRUPT, "%s: most of it is missing", repairing->path);
    size_t count = (size_t)repairing->block_count;
    repairing->patched = mmh_alloc_array(allocator, count, sizeof *repairing->patched);
    repairing->damaged = mmh_alloc_array(allocator, count, 1);
    if (repairing->has_mend) {
        repairing->mend.states = mmh_alloc_array(allocator, count, 1);
        repairing->mend.read = mmh_repairing_read;
        repairing->mend.read_context = repairing;
    }
    if (!repairing->patched || !repairing->damaged ||
        (repairing->has_mend && !repairing->mend.states))
        return mmh_fail(err, MMH_E_MEMORY, "no memory to repair %zu blocks", count);
    return MMH_OK;
}

/* Which packets of parity the container should have and has not. */
static mmh_status want_packets(struct mmh_repairing *repairing, mmh_error *err)
{
    if (!repairing->has_mend || !repairing->main->has_parity || !repairing->copies[0].has_layout)
        return MMH_OK;
    struct packet_look look = { .repairing = repairing,
                                .count = mmh_recovery_packet_count(&repairing->copies[0].layout,
                                                                   MMH_PACKET_PARITY) };
    repairing->parity_wanted = mmh_alloc_array(repairing->context->allocator, (size_t)look.count,
                                               1);
    if (!repairing->parity_wanted)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to check parity");
    if (!repairing->dry)
        repairing->mend.parity_wanted = repairing->parity_wanted;
    return mmh_pool_run(repairing->context->pool,
                        (size_t)mmh_divide_up(look.count, PACKETS_AT_ONCE), look_at_packets, &look,
                        err);
}

static mmh_status mend(struct mmh_repairing *repairing, mmh_error *err)
{
    judge_blocks(repairing);
    mmh_status status = mend_stripes(repairing, err);
    return status == MMH_OK ? check_mended(repairing, err) : status;
}

mmh_status mmh_repairing_begin(struct mmh_repairing *repairing, mmh_error *err)
{
    mmh_status status = open_parity(repairing, err);
    return status == MMH_OK ? get_index(repairing, err) : status;
}

mmh_status mmh_repairing_run(struct mmh_repairing *repairing, mmh_error *err)
{
    mmh_status status = mmh_repairing_begin(repairing, err);
    if (status == MMH_OK)
        status = room_for_blocks(repairing, err);
    if (status == MMH_OK)
        status = open_index(repairing, err);
    if (status == MMH_OK)
        status = look_at_chunks(repairing, err);
    if (status == MMH_OK)
        repairing->report.damaged_chunks = repairing->bad_count;
    if (status == MMH_OK)
        status = want_packets(repairing, err);
    if (status == MMH_OK && repairing->bad_count && !repairing->dry)
        status = take_from_copies(repairing, err);
    if (status == MMH_OK && repairing->has_mend)
        status = mend(repairing, err);
    if (status == MMH_OK && repairing->bad_count && repairing->original_count) {
        uint64_t made = 0;
        status = mmh_repairing_remake(repairing, &made, err);
        /* What they have given may be what a stripe lacked. */
        if (status == MMH_OK && made && repairing->has_mend)
            status = mend(repairing, err);
    }
    return status;
}

void mmh_repairing_release(struct mmh_repairing *repairing)
{
    const mmh_allocator *allocator = repairing->context->allocator;
    mmh_journal_release(&repairing->journal);
    mmh_free(allocator, repairing->bad_gaps);
    mmh_free(allocator, repairing->bad);
    if (repairing->reader_open)
        mmh_container_close(&repairing->reader.container);
    mmh_free(allocator, repairing->parity_wanted);
    mmh_free(allocator, repairing->damaged);
    mmh_free(allocator, repairing->patched);
    if (repairing->has_mend)
        mmh_mend_release(&repairing->mend);
    mmh_free(allocator, repairing->index);
    for (size_t i = 0; repairing->remains && i < repairing->options.source_count + 1; i++)
        mmh_remains_release(&repairing->remains[i]);
    for (size_t i = 0; repairing->inputs && i < repairing->options.source_count + 1; i++)
        mmh_input_close(repairing->inputs[i]);
    mmh_free(allocator, repairing->originals);
    mmh_free(allocator, repairing->copies);
    mmh_free(allocator, repairing->remains);
    mmh_free(allocator, repairing->inputs);
}
