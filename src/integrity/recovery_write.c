/*
 * Writing a recovery area: blocks are read in runs of neighbours, stripes coded by all threads.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/bits.h"
#include "integrity/recovery.h"

#define BATCH_BYTES ((size_t)96 << 20) /* of blocks and parity that are in memory */

/* Neighbouring stripes, all of their blocks and packets. */
struct batch {
    const struct mmh_recovery_job *job;
    const struct mmh_recovery_layout *layout;
    const struct mmh_parity_code *code;
    uint8_t *table;   /* [block_count][MMH_BLOCK_HASH_BYTES] */
    uint8_t *data;    /* [k][most][block_bytes] */
    uint8_t *packets; /* [m][most][packet_bytes] */
    size_t packet_bytes;
    uint32_t first, count, most; /* stripes */
};

static mmh_status read_row(void *context, size_t row, unsigned worker, mmh_error *err)
{
    struct batch *batch = context;
    const struct mmh_geometry *geometry = &batch->layout->geometry;
    const struct mmh_recovery_job *job = batch->job;
    (void)worker;
    size_t block_bytes = geometry->block_bytes, run_bytes = batch->count * block_bytes;
    uint8_t *run = batch->data + row * batch->most * block_bytes;
    uint64_t offset = mmh_geometry_block_offset(geometry, batch->first, (unsigned)row);
    size_t there = offset >= geometry->end ? 0 : (size_t)MMH_MIN(geometry->end - offset, run_bytes);
    mmh_status status = there ? job->read(job->read_context, run, offset, there, err) : MMH_OK;
    if (status != MMH_OK)
        return status;
    memset(run + there, 0, run_bytes - there);
    for (size_t at = 0; at < there && status == MMH_OK; at += block_bytes) {
        uint64_t block = (offset + at) / block_bytes;
        status = mmh_block_hash(batch->table + block * MMH_BLOCK_HASH_BYTES, job->hash_suite, block,
                                run + at, MMH_MIN(there - at, block_bytes), err);
    }
    return status;
}

static mmh_status encode_stripe(void *context, size_t stripe, unsigned worker, mmh_error *err)
{
    struct batch *batch = context;
    const struct mmh_geometry *geometry = &batch->layout->geometry;
    const uint8_t *data[MMH_PARITY_BLOCKS_MAX];
    uint8_t *parity[MMH_PARITY_BLOCKS_MAX];
    (void)worker;
    for (unsigned j = 0; j < geometry->data_count; j++)
        data[j] = batch->data + ((size_t)j * batch->most + stripe) * geometry->block_bytes;
    for (unsigned i = 0; i < geometry->parity_count; i++)
        parity[i] = batch->packets + ((size_t)i * batch->most + stripe) * batch->packet_bytes +
                    MMH_PACKET_HEAD_BYTES;
    mmh_parity_encode(batch->code, parity, data, geometry->block_bytes);
    mmh_status status = MMH_OK;
    for (unsigned i = 0; i < geometry->parity_count && status == MMH_OK; i++)
        status = mmh_packet_seal(parity[i] - MMH_PACKET_HEAD_BYTES, batch->job->hash_suite,
                                 geometry, MMH_PACKET_PARITY,
                                 i * geometry->stripe_count + batch->first + (uint32_t)stripe,
                                 geometry->block_bytes, 0, err);
    return status;
}

/* Packets of neighbouring stripes are neighbours, as a batch does not go over the last stripe. */
static mmh_status write_row(void *context, size_t row, unsigned worker, mmh_error *err)
{
    struct batch *batch = context;
    const struct mmh_recovery_job *job = batch->job;
    (void)worker;
    uint32_t number = (uint32_t)row * batch->layout->geometry.stripe_count + batch->first;
    return job->write(job->write_context,
                      mmh_recovery_packet_offset(batch->layout, MMH_PACKET_PARITY, number),
                      batch->packets + row * batch->most * batch->packet_bytes,
                      batch->count * batch->packet_bytes, err);
}

static mmh_status write_parity(struct batch *batch, mmh_error *err)
{
    const struct mmh_geometry *geometry = &batch->layout->geometry;
    mmh_pool *pool = batch->job->pool;
    uint32_t turn = (uint32_t)(geometry->block_count % geometry->stripe_count);
    mmh_status status = MMH_OK;
    for (uint32_t first = 0; first < geometry->stripe_count && status == MMH_OK;
         first += batch->count) {
        uint32_t end = first < turn ? turn : geometry->stripe_count;
        batch->first = first;
        batch->count = MMH_MIN(batch->most, end - first);
        status = mmh_pool_run(pool, geometry->data_count, read_row, batch, err);
        if (status == MMH_OK)
            status = mmh_pool_run(pool, batch->count, encode_stripe, batch, err);
        if (status == MMH_OK)
            status = mmh_pool_run(pool, geometry->parity_count, write_row, batch, err);
    }
    return status;
}

/* One packet of a piece. */
struct piece_writer {
    const struct mmh_recovery_job *job;
    const struct mmh_geometry *geometry;
    const struct mmh_pieces *shape;
    enum mmh_packet_kind kind;
    uint32_t generation;
    uint8_t *pieces;
    uint8_t *packet;
};

static mmh_status piece_write(struct piece_writer *writer, unsigned number, uint64_t offset,
                              mmh_error *err)
{
    const struct mmh_recovery_job *job = writer->job;
    const struct mmh_pieces *shape = writer->shape;
    size_t head_bytes = 0;
    uint8_t *payload = writer->packet + MMH_PACKET_HEAD_BYTES;
    if (writer->kind == MMH_PACKET_TAIL) {
        mmh_store32(payload, (uint32_t)shape->bytes);
        mmh_store16(payload + 4, (uint16_t)shape->data_count);
        mmh_store16(payload + 6, (uint16_t)shape->parity_count);
        head_bytes = MMH_TAIL_HEAD_BYTES;
    }
    memcpy(payload + head_bytes, writer->pieces + number * shape->piece_bytes, shape->piece_bytes);
    mmh_status status =
        mmh_packet_seal(writer->packet, job->hash_suite, writer->geometry, writer->kind, number,
                        (uint32_t)(head_bytes + shape->piece_bytes), writer->generation, err);
    if (status == MMH_OK)
        status = job->write(job->write_context, offset, writer->packet,
                            MMH_PACKET_HEAD_BYTES + head_bytes + shape->piece_bytes, err);
    return status;
}

static mmh_status pieces_begin(struct piece_writer *writer, const uint8_t *whole, mmh_error *err)
{
    const mmh_allocator *allocator = writer->job->allocator;
    const struct mmh_pieces *shape = writer->shape;
    writer->pieces = mmh_alloc(allocator, 64,
                               (shape->data_count + shape->parity_count) * shape->piece_bytes);
    writer->packet = mmh_alloc(allocator, 64,
                               MMH_PACKET_HEAD_BYTES + MMH_TAIL_HEAD_BYTES + shape->piece_bytes);
    if (!writer->pieces || !writer->packet)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for parity of the tail");
    return mmh_pieces_cut(writer->pieces, shape, whole, allocator, err);
}

static void pieces_end(struct piece_writer *writer)
{
    mmh_free(writer->job->allocator, writer->packet);
    mmh_free(writer->job->allocator, writer->pieces);
}

mmh_status mmh_recovery_pieces_write(const struct mmh_recovery_job *job,
                                     const struct mmh_recovery_layout *layout,
                                     enum mmh_packet_kind kind, const uint8_t *whole,
                                     size_t whole_bytes, mmh_error *err)
{
    struct piece_writer writer = { .job = job,
                                   .geometry = &layout->geometry,
                                   .shape = kind == MMH_PACKET_TABLE ? &layout->table
                                                                     : &layout->tail,
                                   .kind = kind };
    if (whole_bytes != writer.shape->bytes)
        return mmh_fail(err, MMH_E_CORRUPT, "parity is of a tail of %zu bytes, not %zu",
                        writer.shape->bytes, whole_bytes);
    mmh_status status = pieces_begin(&writer, whole, err);
    uint64_t count = mmh_recovery_packet_count(layout, kind);
    for (uint32_t i = 0; i < count && status == MMH_OK; i++)
        status = piece_write(&writer, i, mmh_recovery_packet_offset(layout, kind, i), err);
    pieces_end(&writer);
    return status;
}

mmh_status mmh_recovery_area_write(const struct mmh_recovery_job *job,
                                   const struct mmh_recovery_layout *layout, const uint8_t *tail,
                                   mmh_error *err)
{
    static const uint8_t zeros[8];
    const struct mmh_geometry *geometry = &layout->geometry;
    struct mmh_parity_code code = { .tables = NULL };
    struct batch batch = {
        .job = job,
        .layout = layout,
        .code = &code,
        .packet_bytes = mmh_recovery_packet_bytes(layout, MMH_PACKET_PARITY),
    };
    size_t stripe_bytes = geometry->data_count * (size_t)geometry->block_bytes +
                          geometry->parity_count * batch.packet_bytes;
    size_t most = MMH_MAX(BATCH_BYTES / stripe_bytes, mmh_pool_threads(job->pool));
    batch.most = (uint32_t)MMH_MIN(most, geometry->stripe_count);
    batch.data = mmh_alloc(job->allocator, 64,
                           batch.most * geometry->data_count * (size_t)geometry->block_bytes);
    batch.packets = mmh_alloc(job->allocator, 64,
                              batch.most * geometry->parity_count * batch.packet_bytes);
    batch.table = mmh_alloc(job->allocator, 0, layout->table.bytes);
    mmh_status status = MMH_OK;
    if (!batch.data || !batch.packets || !batch.table)
        status = mmh_fail(err, MMH_E_MEMORY, "no memory to make parity");
    if (status == MMH_OK)
        status = mmh_parity_code_init(&code, geometry->data_count, geometry->parity_count,
                                      job->allocator, err);
    if (status == MMH_OK && layout->front > layout->area_offset)
        status = job->write(job->write_context, layout->area_offset, zeros,
                            (size_t)(layout->front - layout->area_offset), err);
    if (status == MMH_OK)
        status = write_parity(&batch, err);
    if (status == MMH_OK)
        status = mmh_recovery_pieces_write(job, layout, MMH_PACKET_TABLE, batch.table,
                                           layout->table.bytes, err);
    if (status == MMH_OK)
        status = mmh_recovery_pieces_write(job, layout, MMH_PACKET_TAIL, tail, layout->tail.bytes,
                                           err);
    mmh_parity_code_release(&code);
    mmh_free(job->allocator, batch.table);
    mmh_free(job->allocator, batch.packets);
    mmh_free(job->allocator, batch.data);
    return status;
}

uint64_t mmh_tail_area_bytes(const struct mmh_geometry *geometry, size_t tail_bytes)
{
    struct mmh_pieces shape = mmh_tail_pieces(geometry, tail_bytes);
    return (shape.data_count + shape.parity_count) *
               (uint64_t)(MMH_PACKET_HEAD_BYTES + MMH_TAIL_HEAD_BYTES + shape.piece_bytes) +
           8; /* to begin at a multiple of 8 */
}

mmh_status mmh_tail_area_write(const struct mmh_recovery_job *job,
                               const struct mmh_geometry *geometry, uint64_t offset,
                               const uint8_t *tail, size_t tail_bytes, uint32_t generation,
                               mmh_error *err)
{
    static const uint8_t zeros[8];
    struct mmh_pieces shape = mmh_tail_pieces(geometry, tail_bytes);
    struct piece_writer writer = { .job = job,
                                   .geometry = geometry,
                                   .shape = &shape,
                                   .kind = MMH_PACKET_TAIL,
                                   .generation = generation };
    size_t packet_bytes = MMH_PACKET_HEAD_BYTES + MMH_TAIL_HEAD_BYTES + shape.piece_bytes;
    uint64_t begin = mmh_round_up(offset, 8);
    uint64_t end = begin + (shape.data_count + shape.parity_count) * (uint64_t)packet_bytes;
    uint64_t area_end = offset + mmh_tail_area_bytes(geometry, tail_bytes);
    mmh_status status = pieces_begin(&writer, tail, err);
    if (status == MMH_OK && begin > offset)
        status = job->write(job->write_context, offset, zeros, (size_t)(begin - offset), err);
    for (unsigned i = 0; i < shape.data_count + shape.parity_count && status == MMH_OK; i++)
        status = piece_write(&writer, i, begin + i * (uint64_t)packet_bytes, err);
    if (status == MMH_OK && area_end > end)
        status = job->write(job->write_context, end, zeros, (size_t)(area_end - end), err);
    pieces_end(&writer);
    return status;
}
