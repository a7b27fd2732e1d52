/*
 * Reed-Solomon erasure coding with a Cauchy matrix, over ISA-L.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: docs/format.md section 17; Bloemer et al., "An XOR-Based Erasure-Resilient Coding Scheme",
 * 1995, for why every square part of a Cauchy matrix can be inverted.
 */
#include "integrity/parity.h"

#include <assert.h>
#include <isa-l/erasure_code.h>
#include <string.h>

#include "base/bits.h"

enum {
    TABLE_BYTES = 32,   /* of ISA-L, for each coefficient */
    COLUMN_BYTES = 2048 /* so that a column of all blocks stays in the second-level cache */
};

uint8_t mmh_parity_coefficient(unsigned data_count, unsigned i, unsigned j)
{
    return gf_inv((uint8_t)((data_count + i) ^ j));
}

/* destinations[rows] = coefficients of `tables` times sources[count], column by column. */
static void multiply(uint8_t *tables, unsigned count, unsigned rows, uint8_t *const *destinations,
                     const uint8_t *const *sources, size_t bytes)
{
    unsigned char *to[MMH_PARITY_BLOCKS_MAX], *from[MMH_PARITY_BLOCKS_MAX];
    for (size_t at = 0; at < bytes; at += COLUMN_BYTES) {
        for (unsigned i = 0; i < rows; i++)
            to[i] = destinations[i] + at;
        for (unsigned j = 0; j < count; j++)
            from[j] = (unsigned char *)(uintptr_t)sources[j] + at;
        ec_encode_data((int)MMH_MIN(bytes - at, COLUMN_BYTES), (int)count, (int)rows, tables, from,
                       to);
    }
}

mmh_status mmh_parity_code_init(struct mmh_parity_code *code, unsigned data_count,
                                unsigned parity_count, const mmh_allocator *allocator,
                                mmh_error *err)
{
    *code = (struct mmh_parity_code){ .allocator = allocator,
                                      .data_count = data_count,
                                      .parity_count = parity_count };
    size_t coefficient_count = (size_t)data_count * parity_count;
    uint8_t *matrix = mmh_alloc(allocator, 0, coefficient_count);
    code->tables = mmh_alloc(allocator, 64, TABLE_BYTES * coefficient_count);
    if (!matrix || !code->tables) {
        mmh_free(allocator, matrix);
        return mmh_fail(err, MMH_E_MEMORY, "no memory for parity's tables");
    }
    for (unsigned i = 0; i < parity_count; i++)
        for (unsigned j = 0; j < data_count; j++)
            matrix[(size_t)i * data_count + j] = mmh_parity_coefficient(data_count, i, j);
    ec_init_tables((int)data_count, (int)parity_count, matrix, code->tables);
    mmh_free(allocator, matrix);
    return MMH_OK;
}

void mmh_parity_code_release(struct mmh_parity_code *code)
{
    mmh_free(code->allocator, code->tables);
    *code = (struct mmh_parity_code){ .tables = NULL };
}

void mmh_parity_encode(const struct mmh_parity_code *code, uint8_t *const *parity,
                       const uint8_t *const *data, size_t bytes)
{
    multiply(code->tables, code->data_count, code->parity_count, parity, data, bytes);
}

/* What restoring the lost blocks takes: which parity blocks, and a matrix over what is there. */
struct restoration {
    unsigned lost_count, wanted_count, source_count;
    unsigned lost[MMH_PARITY_BLOCKS_MAX];   /* data blocks */
    unsigned parity[MMH_PARITY_BLOCKS_MAX]; /* [lost_count] that stand in for them */
    uint8_t *square, *inverse;              /* [lost_count * lost_count] */
    uint8_t *matrix;                        /* [wanted_count * source_count] */
    uint8_t *tables;
    uint8_t *destinations[MMH_PARITY_BLOCKS_MAX];
    const uint8_t *sources[MMH_PARITY_BLOCKS_MAX];
};

/* With the lost blocks L, parity i less what is there of its sum is the sum over L: the inverse of that
 * square part of the matrix times those gives L. Both steps are one matrix here. */
static void make_matrix(struct restoration *work, const struct mmh_parity_code *code,
                        uint8_t *const *blocks, const bool *present)
{
    unsigned k = code->data_count, lost = work->lost_count;
    for (unsigned a = 0; a < lost; a++)
        for (unsigned b = 0; b < lost; b++)
            work->square[a * lost + b] = mmh_parity_coefficient(k, work->parity[a], work->lost[b]);
    int singular = gf_invert_matrix(work->square, work->inverse, (int)lost);
    assert(!singular);
    (void)singular;

    for (unsigned b = 0; b < lost; b++) {
        if (!blocks[work->lost[b]])
            continue;
        uint8_t *row = work->matrix + (size_t)work->wanted_count * k;
        work->destinations[work->wanted_count++] = blocks[work->lost[b]];
        unsigned column = 0;
        for (unsigned j = 0; j < k; j++) {
            if (!present[j])
                continue;
            uint8_t sum = 0;
            for (unsigned a = 0; a < lost; a++)
                sum ^= gf_mul(work->inverse[b * lost + a],
                              mmh_parity_coefficient(k, work->parity[a], j));
            row[column++] = sum;
        }
        for (unsigned a = 0; a < lost; a++)
            row[column++] = work->inverse[b * lost + a];
    }
}

mmh_status mmh_parity_restore(const struct mmh_parity_code *code, uint8_t *const *blocks,
                              const bool *present, size_t bytes, mmh_error *err)
{
    unsigned k = code->data_count, parity_count = 0;
    struct restoration work = { .lost_count = 0 };
    for (unsigned j = 0; j < k; j++)
        if (present[j])
            work.sources[work.source_count++] = blocks[j];
        else
            work.lost[work.lost_count++] = j;
    if (!work.lost_count)
        return MMH_OK;
    for (unsigned i = 0; i < code->parity_count && parity_count < work.lost_count; i++)
        if (present[k + i]) {
            work.sources[work.source_count++] = blocks[k + i];
            work.parity[parity_count++] = i;
        }
    if (parity_count < work.lost_count)
        return mmh_fail(err, MMH_E_CORRUPT, "%u blocks are lost and %u of parity are left",
                        work.lost_count, parity_count);

    size_t square_bytes = (size_t)work.lost_count * work.lost_count;
    size_t matrix_bytes = (size_t)work.lost_count * k;
    uint8_t *memory = mmh_alloc(code->allocator, 64,
                                TABLE_BYTES * matrix_bytes + matrix_bytes + 2 * square_bytes);
    if (!memory)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for parity's tables");
    work.tables = memory;
    work.matrix = memory + TABLE_BYTES * matrix_bytes;
    work.square = work.matrix + matrix_bytes;
    work.inverse = work.square + square_bytes;
    make_matrix(&work, code, blocks, present);
    if (work.wanted_count) {
        ec_init_tables((int)k, (int)work.wanted_count, work.matrix, work.tables);
        multiply(work.tables, k, work.wanted_count, work.destinations, work.sources, bytes);
    }
    mmh_free(code->allocator, memory);
    return MMH_OK;
}
