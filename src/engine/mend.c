/*
 * Mending with parity.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine/mend.h"

#include <string.h>

#include "base/bits.h"

enum { SECTOR_BYTES = 4096 };

#define BATCH_BYTES ((size_t)96 << 20)

/* ---- copies ---- */

mmh_status mmh_copy_read(void *context, void *dst, uint64_t offset, size_t bytes, mmh_error *err)
{
    const struct mmh_copy *copy = context;
    uint64_t end = mmh_input_bytes(copy->input);
    size_t there = offset >= end ? 0 : (size_t)MMH_MIN(end - offset, (uint64_t)bytes);
    memset((uint8_t *)dst + there, 0, bytes - there);
    if (!there)
        return MMH_OK;
    if (mmh_input_is_source(copy->input)) /* which fails for other reasons than damage */
        return mmh_input_read(copy->input, dst, offset, there, err);
    if (mmh_input_read(copy->input, dst, offset, there, NULL) == MMH_OK)
        return MMH_OK;
    for (size_t at = 0; at < there;) { /* a bad sector costs no more than itself */
        size_t part = SECTOR_BYTES - (size_t)((offset + at) % SECTOR_BYTES);
        part = MMH_MIN(part, there - at);
        if (mmh_input_read(copy->input, (uint8_t *)dst + at, offset + at, part, NULL) != MMH_OK)
            memset((uint8_t *)dst + at, 0, part);
        at += part;
    }
    return MMH_OK;
}

/* ---- packets and the table ---- */

mmh_status mmh_mend_packet(bool *right, uint8_t *dst, const struct mmh_mend *mend,
                           const struct mmh_copy *copy, enum mmh_packet_kind kind, uint32_t number,
                           mmh_error *err)
{
    struct mmh_packet packet;
    uint8_t wanted[MMH_RECOVERY_GEOMETRY_BYTES];
    *right = false;
    if (!copy->has_layout)
        return MMH_OK;
    size_t bytes = mmh_recovery_packet_bytes(&copy->layout, kind);
    mmh_status status = mmh_copy_read((void *)(uintptr_t)copy, dst,
                                      mmh_recovery_packet_offset(&copy->layout, kind, number),
                                      bytes, err);
    if (status != MMH_OK)
        return status;
    mmh_geometry_write(wanted, &mend->geometry);
    if (!mmh_packet_read(&packet, dst) || packet.kind != kind || packet.number != number ||
        packet.payload_bytes != bytes - MMH_PACKET_HEAD_BYTES || packet.generation ||
        memcmp(dst + 24, wanted, sizeof wanted) != 0)
        return MMH_OK;
    return mmh_packet_check(right, mend->hash_suite, dst, bytes, err);
}

/* Pieces of the table from all copies, put together; MMH_OK and no table: too few are left. */
static mmh_status read_table(struct mmh_mend *mend, mmh_error *err)
{
    struct mmh_pieces shape = mmh_table_pieces(&mend->geometry);
    unsigned count = shape.data_count + shape.parity_count, have = 0;
    bool present[MMH_PARITY_BLOCKS_MAX] = { false };
    uint8_t *pieces = mmh_alloc(mend->allocator, 64, count * shape.piece_bytes);
    uint8_t *packet = mmh_alloc(mend->allocator, 64, MMH_PACKET_HEAD_BYTES + shape.piece_bytes);
    mmh_status status = MMH_OK;
    if (!pieces || !packet)
        status = mmh_fail(err, MMH_E_MEMORY, "no memory for parity's table");
    for (size_t c = 0; c < mend->copy_count && status == MMH_OK; c++)
        for (unsigned i = 0; i < count && have < shape.data_count && status == MMH_OK; i++) {
            if (present[i])
                continue;
            status = mmh_mend_packet(&present[i], packet, mend, &mend->copies[c], MMH_PACKET_TABLE,
                                     i, err);
            have += present[i];
            if (present[i])
                memcpy(pieces + i * shape.piece_bytes, packet + MMH_PACKET_HEAD_BYTES,
                       shape.piece_bytes);
        }
    if (status == MMH_OK && have == shape.data_count) {
        mend->table = mmh_alloc(mend->allocator, 0, shape.bytes);
        status = mend->table
                   ? mmh_pieces_join(mend->table, pieces, &shape, present, mend->allocator, err)
                   : mmh_fail(err, MMH_E_MEMORY, "no memory for parity's table");
    }
    mmh_free(mend->allocator, packet);
    mmh_free(mend->allocator, pieces);
    return status;
}

mmh_status mmh_mend_open(struct mmh_mend *mend, const struct mmh_geometry *geometry,
                         unsigned hash_suite, struct mmh_copy *copies, size_t copy_count,
                         mmh_pool *pool, const mmh_allocator *allocator, mmh_error *err)
{
    *mend = (struct mmh_mend){ .allocator = allocator,
                               .pool = pool,
                               .hash_suite = hash_suite,
                               .geometry = *geometry,
                               .copies = copies,
                               .copy_count = copy_count,
                               .read = mmh_copy_read,
                               .read_context = copies };
    mmh_status status = mmh_parity_code_init(&mend->code, geometry->data_count,
                                             geometry->parity_count, allocator, err);
    return status == MMH_OK ? read_table(mend, err) : status;
}

void mmh_mend_release(struct mmh_mend *mend)
{
    mmh_free(mend->allocator, mend->states);
    mmh_free(mend->allocator, mend->table);
    mmh_parity_code_release(&mend->code);
    *mend = (struct mmh_mend){ .table = NULL };
}

mmh_status mmh_mend_check(bool *right, const struct mmh_mend *mend, uint64_t block,
                          const uint8_t *data, mmh_error *err)
{
    uint8_t hash[MMH_BLOCK_HASH_BYTES];
    *right = false;
    if (!mend->table)
        return MMH_OK;
    mmh_status status = mmh_block_hash(hash, mend->hash_suite, block, data,
                                       mmh_geometry_block_bytes(&mend->geometry, block), err);
    *right = status == MMH_OK &&
             memcmp(hash, mend->table + block * MMH_BLOCK_HASH_BYTES, MMH_BLOCK_HASH_BYTES) == 0;
    return status;
}

/* ---- stripes ---- */

struct batch {
    struct mmh_mend *mend;
    uint32_t first, count;
    size_t packet_bytes;
    uint8_t *data;                         /* [k][count][B] */
    uint8_t *packets;                      /* [m][count][packet_bytes] */
    uint8_t *states;                       /* [k][count] enum mmh_block_state */
    uint8_t *mended;                       /* [k][count] 1: was wrong and is right */
    uint8_t *made;                         /* [m][count] 1: a packet that is wanted */
    uint64_t suspects_begin, suspects_end; /* blocks that are wrong without a table */
};

static uint8_t *block_at(const struct batch *batch, unsigned number, size_t stripe)
{
    return batch->data +
           ((size_t)number * batch->count + stripe) * batch->mend->geometry.block_bytes;
}

static uint8_t *packet_at(const struct batch *batch, unsigned i, size_t stripe)
{
    return batch->packets + ((size_t)i * batch->count + stripe) * batch->packet_bytes;
}

static mmh_status read_row(void *context, size_t row, unsigned worker, mmh_error *err)
{
    struct batch *batch = context;
    const struct mmh_mend *mend = batch->mend;
    const struct mmh_geometry *geometry = &mend->geometry;
    (void)worker;
    size_t run_bytes = batch->count * (size_t)geometry->block_bytes;
    uint8_t *run = block_at(batch, (unsigned)row, 0);
    uint64_t offset = mmh_geometry_block_offset(geometry, batch->first, (unsigned)row);
    size_t there = offset >= geometry->end
                     ? 0
                     : (size_t)MMH_MIN(geometry->end - offset, (uint64_t)run_bytes);
    mmh_status status = there ? mend->read(mend->read_context, run, offset, there, err) : MMH_OK;
    if (status != MMH_OK)
        return status;
    memset(run + there, 0, run_bytes - there);
    for (uint32_t s = 0; s < batch->count && status == MMH_OK; s++) {
        uint64_t block = (uint64_t)row * geometry->stripe_count + batch->first + s;
        uint8_t *state = &batch->states[row * batch->count + s];
        *state = block >= geometry->block_count ? MMH_BLOCK_RIGHT
               : mend->states                   ? mend->states[block]
                                                : MMH_BLOCK_UNKNOWN;
        if (*state != MMH_BLOCK_UNKNOWN)
            continue;
        bool right = block < batch->suspects_begin || block >= batch->suspects_end;
        if (mend->table)
            status = mmh_mend_check(&right, mend, block, run + s * (size_t)geometry->block_bytes,
                                    err);
        *state = right ? MMH_BLOCK_RIGHT : MMH_BLOCK_WRONG;
    }
    return status;
}

/* Look for a wrong block in the other copies. */
static mmh_status look_elsewhere(bool *found, const struct mmh_mend *mend, uint8_t *data,
                                 uint64_t block, mmh_error *err)
{
    mmh_status status = MMH_OK;
    *found = false;
    for (size_t c = 1; c < mend->copy_count && mend->table && !*found && status == MMH_OK; c++) {
        status = mmh_copy_read(&mend->copies[c], data, block * mend->geometry.block_bytes,
                               mmh_geometry_block_bytes(&mend->geometry, block), err);
        if (status == MMH_OK)
            status = mmh_mend_check(found, mend, block, data, err);
    }
    return status;
}

/* Get parity blocks until there are as many as are lost. */
static mmh_status get_parity(unsigned *have, bool *present, const struct batch *batch,
                             size_t stripe, unsigned lost, mmh_error *err)
{
    const struct mmh_mend *mend = batch->mend;
    const struct mmh_geometry *geometry = &mend->geometry;
    mmh_status status = MMH_OK;
    *have = 0;
    for (unsigned i = 0; i < geometry->parity_count && *have < lost && status == MMH_OK; i++) {
        uint32_t number = i * geometry->stripe_count + batch->first + (uint32_t)stripe;
        bool right = false;
        for (size_t c = 0; c < mend->copy_count && !right && status == MMH_OK; c++)
            status = mmh_mend_packet(&right, packet_at(batch, i, stripe), mend, &mend->copies[c],
                                     MMH_PACKET_PARITY, number, err);
        present[geometry->data_count + i] = right;
        *have += right;
    }
    return status;
}

/* Make the packets of a stripe anew that are wanted; all of its blocks are right. */
static mmh_status make_packets(struct batch *batch, size_t stripe, uint8_t *const *blocks,
                               mmh_error *err)
{
    const struct mmh_mend *mend = batch->mend;
    const struct mmh_geometry *geometry = &mend->geometry;
    mmh_status status = MMH_OK;
    bool any = false;
    for (unsigned i = 0; i < geometry->parity_count; i++) {
        uint32_t number = i * geometry->stripe_count + batch->first + (uint32_t)stripe;
        bool wanted = mend->parity_wanted && mend->parity_wanted[number];
        batch->made[(size_t)i * batch->count + stripe] = wanted;
        any |= wanted;
    }
    if (!any)
        return MMH_OK;
    mmh_parity_encode(&mend->code, blocks + geometry->data_count, (const uint8_t *const *)blocks,
                      geometry->block_bytes);
    for (unsigned i = 0; i < geometry->parity_count && status == MMH_OK; i++) {
        uint32_t number = i * geometry->stripe_count + batch->first + (uint32_t)stripe;
        if (batch->made[(size_t)i * batch->count + stripe])
            status = mmh_packet_seal(packet_at(batch, i, stripe), mend->hash_suite, geometry,
                                     MMH_PACKET_PARITY, number, geometry->block_bytes, 0, err);
    }
    return status;
}

static mmh_status mend_stripe(void *context, size_t stripe, unsigned worker, mmh_error *err)
{
    struct batch *batch = context;
    struct mmh_mend *mend = batch->mend;
    const struct mmh_geometry *geometry = &mend->geometry;
    uint8_t *blocks[MMH_PARITY_BLOCKS_MAX];
    bool present[MMH_PARITY_BLOCKS_MAX];
    unsigned lost = 0, have = 0, still = 0;
    mmh_status status = MMH_OK;
    (void)worker;
    for (unsigned j = 0; j < geometry->data_count && status == MMH_OK; j++) {
        uint64_t block = (uint64_t)j * geometry->stripe_count + batch->first + stripe;
        uint8_t *state = &batch->states[(size_t)j * batch->count + stripe];
        blocks[j] = block_at(batch, j, stripe);
        if (*state == MMH_BLOCK_WRONG) {
            bool found;
            status = look_elsewhere(&found, mend, blocks[j], block, err);
            if (found) {
                *state = MMH_BLOCK_RIGHT;
                batch->mended[(size_t)j * batch->count + stripe] = 1;
            }
        }
        present[j] = *state == MMH_BLOCK_RIGHT;
        lost += !present[j];
    }
    for (unsigned i = 0; i < geometry->parity_count; i++) {
        blocks[geometry->data_count + i] = packet_at(batch, i, stripe) + MMH_PACKET_HEAD_BYTES;
        present[geometry->data_count + i] = false;
    }
    if (status == MMH_OK && lost)
        status = get_parity(&have, present, batch, stripe, lost, err);
    if (status != MMH_OK || have < lost)
        return status;
    if (lost)
        status = mmh_parity_restore(&mend->code, blocks, present, geometry->block_bytes, err);
    for (unsigned j = 0; j < geometry->data_count && status == MMH_OK; j++) {
        uint64_t block = (uint64_t)j * geometry->stripe_count + batch->first + stripe;
        bool right = true;
        if (present[j])
            continue;
        if (mend->table)
            status = mmh_mend_check(&right, mend, block, blocks[j], err);
        if (right) {
            batch->states[(size_t)j * batch->count + stripe] = MMH_BLOCK_RIGHT;
            batch->mended[(size_t)j * batch->count + stripe] = 1;
        }
        still += !right;
    }
    return status == MMH_OK && !still ? make_packets(batch, stripe, blocks, err) : status;
}

static mmh_status emit_all(struct batch *batch, mmh_mend_emit *emit, void *context, mmh_error *err)
{
    const struct mmh_geometry *geometry = &batch->mend->geometry;
    mmh_status status = MMH_OK;
    for (size_t j = 0; j < geometry->data_count; j++)
        for (size_t s = 0; s < batch->count && status == MMH_OK; s++) {
            uint64_t block = j * geometry->stripe_count + batch->first + s;
            if (batch->mended[j * batch->count + s])
                status = emit(context, false, block, block_at(batch, (unsigned)j, s),
                              mmh_geometry_block_bytes(geometry, block), err);
        }
    for (size_t i = 0; i < geometry->parity_count; i++)
        for (size_t s = 0; s < batch->count && status == MMH_OK; s++)
            if (batch->made[i * batch->count + s])
                status = emit(context, true, i * geometry->stripe_count + batch->first + s,
                              packet_at(batch, (unsigned)i, s), batch->packet_bytes, err);
    return status;
}

static void batch_release(struct batch *batch)
{
    const mmh_allocator *allocator = batch->mend->allocator;
    mmh_free(allocator, batch->states);
    mmh_free(allocator, batch->packets);
    mmh_free(allocator, batch->data);
}

static mmh_status batch_init(struct batch *batch, struct mmh_mend *mend, uint32_t count,
                             mmh_error *err)
{
    const struct mmh_geometry *geometry = &mend->geometry;
    size_t k = geometry->data_count, m = geometry->parity_count;
    *batch = (struct batch){ .mend = mend,
                             .count = count,
                             .packet_bytes = MMH_PACKET_HEAD_BYTES + geometry->block_bytes };
    batch->data = mmh_alloc(mend->allocator, 64, k * count * geometry->block_bytes);
    batch->packets = mmh_alloc(mend->allocator, 64, m * count * batch->packet_bytes);
    batch->states = mmh_alloc_array(mend->allocator, (2 * k + m) * count, 1);
    if (!batch->data || !batch->packets || !batch->states)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for %u stripes of parity", count);
    batch->mended = batch->states + k * count;
    batch->made = batch->mended + k * count;
    return MMH_OK;
}

static mmh_status batch_run(struct batch *batch, mmh_error *err)
{
    const struct mmh_mend *mend = batch->mend;
    mmh_status status = mmh_pool_run(mend->pool, mend->geometry.data_count, read_row, batch, err);
    return status == MMH_OK ? mmh_pool_run(mend->pool, batch->count, mend_stripe, batch, err)
                            : status;
}

uint32_t mmh_mend_batch(const struct mmh_mend *mend)
{
    const struct mmh_geometry *geometry = &mend->geometry;
    size_t stripe_bytes = (geometry->data_count + geometry->parity_count) *
                          (size_t)geometry->block_bytes;
    size_t most = MMH_MAX(BATCH_BYTES / stripe_bytes, mmh_pool_threads(mend->pool));
    return (uint32_t)MMH_MIN(most, geometry->stripe_count);
}

mmh_status mmh_mend_stripes(struct mmh_mend *mend, uint32_t first, uint32_t count,
                            mmh_mend_emit *emit, void *context, mmh_error *err)
{
    const struct mmh_geometry *geometry = &mend->geometry;
    struct batch batch;
    mmh_status status = batch_init(&batch, mend, count, err);
    batch.first = first;
    if (status == MMH_OK)
        status = batch_run(&batch, err);
    if (status == MMH_OK)
        status = emit_all(&batch, emit, context, err);
    for (size_t j = 0; status == MMH_OK && mend->states && j < geometry->data_count; j++)
        for (size_t s = 0; s < count; s++) {
            uint64_t block = j * geometry->stripe_count + first + s;
            if (block < geometry->block_count)
                mend->states[block] = batch.states[j * count + s];
        }
    batch_release(&batch);
    return status;
}

mmh_status mmh_mend_range(const struct mmh_mend *mend, uint8_t *dst, uint64_t offset, size_t bytes,
                          mmh_error *err)
{
    const struct mmh_geometry *geometry = &mend->geometry;
    struct batch batch;
    uint64_t begin = offset / geometry->block_bytes;
    uint64_t end = mmh_divide_up(offset + bytes, geometry->block_bytes);
    if (end > geometry->block_count)
        return mmh_fail(err, MMH_E_CORRUPT, "parity does not protect bytes that far");
    mmh_status status = batch_init(&batch, (struct mmh_mend *)(uintptr_t)mend, 1, err);
    uint64_t done = UINT64_MAX; /* the stripe that is in the batch */
    for (uint64_t block = begin; block < end && status == MMH_OK; block++) {
        uint64_t stripe = block % geometry->stripe_count;
        if (stripe != done) {
            batch.first = (uint32_t)stripe;
            batch.suspects_begin = begin;
            batch.suspects_end = end;
            status = batch_run(&batch, err);
            done = stripe;
        }
        uint64_t at = block * geometry->block_bytes;
        uint64_t from = MMH_MAX(at, offset);
        uint64_t to = MMH_MIN(at + geometry->block_bytes, offset + bytes);
        if (status == MMH_OK)
            memcpy(dst + (from - offset),
                   block_at(&batch, (unsigned)(block / geometry->stripe_count), 0) + (from - at),
                   (size_t)(to - from));
    }
    batch_release(&batch);
    return status;
}
