/*
 * Loading slices: what is wanted of a tensor becomes pieces of its file.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "engine/engine.h"

enum { PIECES_MAX = 1 << 20 }; /* at a time: chunks at the ends of such may be decoded twice */

/* A slice in the order in which the file holds the tensor: column-major arrays have their first dimension
 * fastest, and so has the slice. Of block types the last dimension is in blocks. */
struct box {
    uint32_t dimensions;
    unsigned unit_bytes;
    uint64_t shape[MMH_DIMENSIONS_MAX], from[MMH_DIMENSIONS_MAX], to[MMH_DIMENSIONS_MAX];
    uint64_t bytes; /* of the slice */
};

static mmh_status box_resolve(struct box *box, const struct mmh_tensor_record *record,
                              const uint64_t *begin, const uint64_t *end, mmh_error *err)
{
    const unsigned unit_elements = mmh_dtype_block(record->dtype, &box->unit_bytes);
    if (!unit_elements)
        return mmh_fail(err, MMH_E_UNSUPPORTED, "slices of %s, whose elements share bytes",
                        mmh_dtype_text(record->dtype));
    uint64_t bytes; /* of an opaque tensor the index says what it likes */
    if (!mmh_shape_bytes(&bytes, record->dtype, record->dimensions, record->shape) ||
        (bytes != record->bytes && !record->strides))
        return mmh_fail(err, MMH_E_UNSUPPORTED, "slices of \"%s\", whose shape is not its size",
                        record->name);
    box->dimensions = record->dimensions;
    box->bytes = box->unit_bytes;
    for (uint32_t d = 0; d < box->dimensions; d++) {
        uint32_t at = record->column_major ? box->dimensions - 1 - d : d;
        box->shape[d] = record->shape[at];
        box->from[d] = begin[at];
        box->to[d] = end[at];
        if (box->from[d] > box->to[d] || box->to[d] > box->shape[d])
            return mmh_fail(err, MMH_E_USAGE,
                            "slice %" PRIu64 ":%" PRIu64 " of dimension %u, which has %" PRIu64,
                            box->from[d], box->to[d], (unsigned)at, box->shape[d]);
        if (unit_elements > 1 && d + 1 == box->dimensions) {
            if (box->from[d] || box->to[d] != box->shape[d] || box->shape[d] % unit_elements)
                return mmh_fail(err, MMH_E_UNSUPPORTED,
                                "a part of the rows of \"%s\": %s has blocks of %u elements, rows "
                                "are taken whole",
                                record->name, mmh_dtype_text(record->dtype), unit_elements);
            box->to[d] = box->shape[d] /= unit_elements;
        }
        if (!mmh_u64_mul(&box->bytes, box->bytes, box->to[d] - box->from[d]))
            return mmh_fail(err, MMH_E_USAGE, "the slice is too large");
    }
    return MMH_OK;
}

/* A slice of a tensor whose elements do not lie one after another: all from its first to its last
 * element is read, and gathered. */
static mmh_status load_strided(mmh_reader *reader, const struct mmh_tensor_record *record,
                               const struct box *box, uint8_t *destination, mmh_error *err)
{
    const uint64_t *from = box->from, *to = box->to;
    size_t width = box->unit_bytes;
    uint64_t offset = record->offset, last = 0, count = 1;
    uint64_t position[MMH_DIMENSIONS_MAX] = { 0 };
    for (uint32_t d = 0; d < record->dimensions; d++) { /* within the tensor: nothing overflows */
        offset += from[d] * record->strides[d] * width;
        last += (to[d] - from[d] - 1) * record->strides[d];
        count *= to[d] - from[d];
    }
    const mmh_allocator *allocator = reader->context->allocator;
    if (last >= SIZE_MAX / width)
        return mmh_fail(err, MMH_E_MEMORY, "a slice that spans %" PRIu64 " elements", last);
    uint8_t *span = mmh_alloc(allocator, 64, (size_t)(last + 1) * width);
    if (!span)
        return mmh_fail(err, MMH_E_MEMORY, "a slice that spans %" PRIu64 " elements", last);
    reader->context->state.total_bytes = (last + 1) * width;
    mmh_status status = mmh_reader_bytes(reader, record->file, offset, span,
                                         (size_t)(last + 1) * width, err);
    for (uint64_t i = 0, at = 0; i < count && status == MMH_OK; i++) {
        memcpy(destination + i * width, span + at * width, width);
        for (uint32_t d = record->dimensions; d-- > 0;) {
            at += record->strides[d];
            if (++position[d] < to[d] - from[d])
                break;
            at -= position[d] * record->strides[d];
            position[d] = 0;
        }
    }
    mmh_free(allocator, span);
    return status;
}

/* The runs of bytes that a box is made of: the dimensions at the end that are taken whole, and the one before
 * them. */
struct runs {
    const struct box *box;
    uint32_t outer;                      /* dimensions that are walked */
    uint64_t bytes;                      /* of one run */
    uint64_t stride[MMH_DIMENSIONS_MAX]; /* in bytes */
    uint64_t position[MMH_DIMENSIONS_MAX];
    uint64_t offset; /* of the next run, in the tensor */
};

static void runs_begin(struct runs *runs, const struct box *box)
{
    uint64_t size = box->unit_bytes;
    bool whole = true;
    *runs = (struct runs){ .box = box, .outer = box->dimensions, .bytes = size };
    for (uint32_t d = box->dimensions; d-- > 0;) {
        runs->stride[d] = size;
        size *= box->shape[d];
        runs->position[d] = box->from[d];
        runs->offset += box->from[d] * runs->stride[d];
    }
    while (runs->outer > 0 && whole) {
        uint32_t d = --runs->outer;
        runs->bytes = runs->stride[d] * (box->to[d] - box->from[d]);
        whole = box->from[d] == 0 && box->to[d] == box->shape[d];
    }
}

/* Go to the next run, like an odometer. */
static void runs_next(struct runs *runs)
{
    const struct box *box = runs->box;
    for (uint32_t d = runs->outer; d-- > 0;) {
        runs->offset += runs->stride[d];
        if (++runs->position[d] < box->to[d])
            return;
        runs->offset -= (box->to[d] - box->from[d]) * runs->stride[d];
        runs->position[d] = box->from[d];
    }
}

static mmh_status load_box(mmh_reader *reader, const struct mmh_tensor_record *record,
                           const struct box *box, uint8_t *destination, mmh_error *err)
{
    struct runs runs;
    runs_begin(&runs, box);
    uint64_t left = box->bytes / runs.bytes;
    size_t room = (size_t)MMH_MIN(left, (uint64_t)PIECES_MAX);
    struct mmh_wanted *pieces = mmh_alloc_array(reader->context->allocator, room, sizeof *pieces);
    mmh_status status = pieces ? MMH_OK
                               : mmh_fail(err, MMH_E_MEMORY, "no memory for %zu pieces", room);
    while (left && status == MMH_OK) {
        size_t count = (size_t)MMH_MIN(left, (uint64_t)room);
        for (size_t i = 0; i < count; i++, destination += runs.bytes) {
            uint64_t begin = record->offset + runs.offset;
            pieces[i] = (struct mmh_wanted){ record->file, begin, begin + runs.bytes, destination };
            runs_next(&runs);
        }
        status = mmh_reader_gather(reader, pieces, count, err);
        left -= count;
    }
    mmh_free(reader->context->allocator, pieces);
    return status;
}

mmh_status mmh_load_slice(mmh_reader *reader, uint64_t tensor, const uint64_t *begin,
                          const uint64_t *end, void *destination, size_t destination_bytes,
                          mmh_error *err)
{
    const struct mmh_tensor_record *record = NULL;
    struct box box = { .dimensions = 0 };
    mmh_status status = mmh_reader_tensor(reader, tensor, &record, err);
    if (status == MMH_OK)
        status = box_resolve(&box, record, begin, end, err);
    if (status == MMH_OK && box.bytes > destination_bytes)
        status = mmh_fail(err, MMH_E_USAGE, "the slice takes %" PRIu64 " bytes, not %zu", box.bytes,
                          destination_bytes);
    if (status != MMH_OK || !box.bytes)
        return status;
    mmh_context_begin(reader->context, "load", box.bytes);
    status = record->strides ? load_strided(reader, record, &box, destination, err)
                             : load_box(reader, record, &box, destination, err);
    mmh_context_end(reader->context, status);
    if (status == MMH_OK)
        mmh_host_order(destination, (size_t)box.bytes, record);
    return status;
}
