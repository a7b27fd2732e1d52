/*
 * Comparing tensors and files of two readers, whatever they are read from.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * What both containers store as the same chunks is equal by their hashes. The rest is read piece by
 * piece and compared as bytes; only tensors that differ are looked at as numbers.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/bits.h"
#include "engine/originals.h"

enum {
    PIECE_ELEMENTS = 1 << 20, /* a multiple of 4, so that types of 6 bits begin at whole bytes */
    PIECE_BLOCKS = 1 << 15,   /* of block types */
    PIECE_BYTES = 8 << 20,    /* of files */
    SPAN = 512,               /* elements that are turned into numbers at a time */
};

/* Bytes of a file of a reader. */
struct range {
    mmh_reader *reader;
    uint64_t file, offset, bytes;
};

/* ---- by chunks ---- */

/* Where byte `at` of a file lies: its chunk, and how far into it. */
struct place {
    const struct mmh_block_entry *block;
    const struct mmh_chunk_entry *chunk, *model;
    uint64_t index, inside, left; /* left: bytes of the chunk from there on */
};

static struct place place_of(const struct range *range, uint64_t at)
{
    const struct mmh_index *index = &range->reader->container.index;
    const struct mmh_file_entry *file = &index->files[range->file];
    struct place place = { .block = &index->blocks[mmh_reader_block_at(range->reader, file, at)] };
    place.index = (at - place.block->file_offset) / place.block->chunk_bytes;
    place.chunk = &index->chunks[index->refs[place.block->first_ref + place.index]];
    place.model = place.block->has_model ? &index->chunks[place.block->model] : NULL;
    place.inside = (at - place.block->file_offset) % place.block->chunk_bytes;
    place.left = mmh_block_chunk_bytes(place.block, place.index) - place.inside;
    return place;
}

/* Whether two chunks, or NULLs, are the same; their readers are of one hash suite. What is sealed says
 * nothing of what it holds: of encrypted containers only the same chunk of one is. */
static bool same_chunk(const mmh_reader *first_reader, const struct mmh_chunk_entry *first,
                       const mmh_reader *second_reader, const struct mmh_chunk_entry *second)
{
    const mmh_container_reader *a = &first_reader->container, *b = &second_reader->container;
    if (!first || !second)
        return first == second;
    if (a->aead_suite || b->aead_suite)
        return memcmp(a->root, b->root, MMH_HASH_BYTES) == 0 &&
               first - a->index.chunks == second - b->index.chunks;
    return first->bytes == second->bytes && first->codec_id == second->codec_id &&
           memcmp(first->hash, second->hash, a->hash_bytes) == 0;
}

/* Whether two ranges are the same parts of the same chunks, decoded in the same way. */
static bool same_chunks(const struct range *first, const struct range *second)
{
    if (first->reader->originals || second->reader->originals ||
        first->reader->container.hash_suite != second->reader->container.hash_suite ||
        first->bytes != second->bytes)
        return false;
    for (uint64_t done = 0; done < first->bytes;) {
        struct place a = place_of(first, first->offset + done);
        struct place b = place_of(second, second->offset + done);
        if (a.inside != b.inside || a.block->dtype != b.block->dtype ||
            a.block->big_endian != b.block->big_endian ||
            mmh_block_chunk_bytes(a.block, a.index) != mmh_block_chunk_bytes(b.block, b.index) ||
            a.block->chunk_bytes != b.block->chunk_bytes || a.index != b.index ||
            !same_chunk(first->reader, a.chunk, second->reader, b.chunk) ||
            !same_chunk(first->reader, a.model, second->reader, b.model))
            return false;
        done += a.left;
    }
    return true;
}

/* ---- by bytes and numbers ---- */

/* A tensor being read, a piece at a time. */
struct side {
    mmh_reader *reader;
    const struct mmh_tensor_record *tensor;
    unsigned bits; /* of an element, or of a block */
    uint8_t *data;
};

static size_t piece_elements(const struct side *side)
{
    return mmh_dtype_is_block(side->tensor->dtype) ? PIECE_BLOCKS : PIECE_ELEMENTS;
}

/* The same of a tensor whose elements do not lie one after another: all from the first to the last of
 * these elements is read, and gathered. */
static mmh_status side_gather(struct side *side, uint64_t first, size_t count, size_t *bytes,
                              mmh_error *err)
{
    const struct mmh_tensor_record *tensor = side->tensor;
    const mmh_allocator *allocator = side->reader->context->allocator;
    size_t width = side->bits / 8;
    uint64_t position[MMH_DIMENSIONS_MAX], *places, low = UINT64_MAX, high = 0;
    places = mmh_alloc_array(allocator, count, sizeof *places);
    if (!places)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to compare \"%s\"", tensor->name);
    uint64_t rest = first, place = 0;
    for (uint32_t d = tensor->dimensions; d-- > 0; rest /= tensor->shape[d]) {
        position[d] = rest % tensor->shape[d];
        place += position[d] * tensor->strides[d];
    }
    for (size_t i = 0; i < count; i++) {
        places[i] = place;
        low = MMH_MIN(low, place);
        high = MMH_MAX(high, place);
        for (uint32_t d = tensor->dimensions; d-- > 0;) { /* the next element, like an odometer */
            place += tensor->strides[d];
            if (++position[d] < tensor->shape[d])
                break;
            place -= position[d] * tensor->strides[d];
            position[d] = 0;
        }
    }
    uint64_t span_bytes = (high - low + 1) * width; /* within the tensor */
    uint8_t *span = span_bytes <= SIZE_MAX ? mmh_alloc(allocator, 64, (size_t)span_bytes) : NULL;
    mmh_status status =
        span ? mmh_reader_bytes(side->reader, tensor->file, tensor->offset + low * width, span,
                                (size_t)span_bytes, err)
             : mmh_fail(err, MMH_E_MEMORY, "no memory to compare \"%s\"", tensor->name);
    for (size_t i = 0; i < count && status == MMH_OK; i++)
        memcpy(side->data + i * width, span + (places[i] - low) * width, width);
    *bytes = count * width;
    if (status == MMH_OK)
        mmh_host_order(side->data, *bytes, tensor);
    mmh_free(allocator, span);
    mmh_free(allocator, places);
    return status;
}

static mmh_status side_load(struct side *side, uint64_t first, size_t count, size_t *bytes,
                            mmh_error *err)
{
    if (side->tensor->strides)
        return side_gather(side, first, count, bytes, err);
    uint64_t begin = first * side->bits / 8;
    uint64_t end = MMH_MIN(mmh_divide_up((first + count) * side->bits, 8), side->tensor->bytes);
    *bytes = (size_t)(end - begin);
    mmh_status status = mmh_reader_bytes(side->reader, side->tensor->file,
                                         side->tensor->offset + begin, side->data, *bytes, err);
    if (status == MMH_OK)
        mmh_host_order(side->data, *bytes, side->tensor);
    return status;
}

/*
 * A sum of squares that neither overflows nor vanishes: numbers beyond 2^511 and below 2^-511 are
 * summed apart, scaled (Blue, A Portable Fortran Program to Find the Euclidean Norm of a Vector,
 * 1978).
 */
struct squares {
    double small, middle, large;
};

static void add_square(struct squares *squares, double x)
{
    x = fabs(x);
    if (x > 0x1p511)
        squares->large += (x * 0x1p-600) * (x * 0x1p-600);
    else if (x < 0x1p-511)
        squares->small += (x * 0x1p600) * (x * 0x1p600);
    else
        squares->middle += x * x;
}

static double norm_of(const struct squares *squares)
{
    if (squares->large > 0)
        return sqrt(squares->large + squares->middle * 0x1p-600 * 0x1p-600) * 0x1p600;
    if (squares->middle > 0)
        return sqrt(squares->middle + squares->small * 0x1p-600 * 0x1p-600);
    return sqrt(squares->small) * 0x1p-600;
}

/* The distance of two 64-bit integers of one type, which doubles may not tell apart. */
static double integer_distance(const struct side *first, const struct side *second, size_t element)
{
    uint64_t x, y;
    memcpy(&x, first->data + element * 8, 8);
    memcpy(&y, second->data + element * 8, 8);
    bool above = first->tensor->dtype == MMH_DTYPE_I64 ? (int64_t)y > (int64_t)x : y > x;
    return (double)(above ? y - x : x - y);
}

static bool bits_differ(const struct side *first, const struct side *second, size_t element)
{
    unsigned bits = first->bits;
    if (bits % 8 == 0)
        return memcmp(first->data + element * (bits / 8), second->data + element * (bits / 8),
                      bits / 8) != 0;
    for (size_t at = element * bits; at < (element + 1) * bits; at++)
        if ((first->data[at / 8] ^ second->data[at / 8]) >> (at % 8) & 1)
            return true;
    return false;
}

/* Add up what differs in elements [0, count) of a loaded piece, which are `before` ones on. */
static mmh_status measure(mmh_difference *difference, const struct side *first,
                          const struct side *second, size_t first_bytes, size_t second_bytes,
                          uint64_t before, size_t count, struct squares squares[2], mmh_error *err)
{
    double a[2 * SPAN], b[2 * SPAN];
    unsigned values = mmh_dtype_values(first->tensor->dtype);
    bool by_bits = first->tensor->dtype == second->tensor->dtype;
    bool long_integers = by_bits && (first->tensor->dtype == MMH_DTYPE_I64 ||
                                     first->tensor->dtype == MMH_DTYPE_U64);
    for (size_t done = 0; done < count; done += SPAN) {
        size_t span = MMH_MIN((size_t)SPAN, count - done);
        mmh_status status = mmh_values(a, first->data, first_bytes, first->tensor->dtype, done,
                                       span, err);
        if (status == MMH_OK)
            status = mmh_values(b, second->data, second_bytes, second->tensor->dtype, done, span,
                                err);
        if (status != MMH_OK)
            return status;
        for (size_t i = 0; i < span; i++) {
            bool differs = by_bits && bits_differ(first, second, done + i), unmeasured = false;
            for (unsigned v = 0; v < values; v++) {
                double x = a[values * i + v], y = b[values * i + v], distance = fabs(y - x);
                if (isfinite(x))
                    add_square(&squares[0], x);
                if (!by_bits)
                    differs |= isnan(x) ? !isnan(y) : x != y;
                if (!differs)
                    continue;
                if (!isfinite(x) || !isfinite(y)) {
                    unmeasured = true;
                    continue;
                }
                if (long_integers)
                    distance = integer_distance(first, second, done + i);
                add_square(&squares[1], distance);
                if (distance > difference->max_absolute) {
                    difference->max_absolute = distance;
                    difference->max_element = before + done + i;
                }
                if (distance > 0 && distance > difference->max_relative * fabs(x))
                    difference->max_relative = distance / fabs(x); /* infinite where x is 0 */
            }
            difference->differing += differs;
            difference->unmeasured += differs && unmeasured;
        }
    }
    return MMH_OK;
}

/* Count the blocks that differ, of [0, count) in a loaded piece. */
static void count_blocks(mmh_difference *difference, const struct side *first,
                         const struct side *second, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool differs = bits_differ(first, second, i);
        difference->differing += differs;
        difference->unmeasured += differs;
    }
}

/* The whole of both tensors, piece by piece. numbers false: stop at the first byte that differs. */
static mmh_status walk(mmh_difference *difference, struct side *first, struct side *second,
                       bool numbers, bool *equal, mmh_error *err)
{
    struct squares squares[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
    size_t piece = piece_elements(first);
    bool blocks = mmh_dtype_is_block(first->tensor->dtype);
    *equal = true;
    for (uint64_t done = 0; done < difference->element_count; done += piece) {
        size_t count = (size_t)MMH_MIN(difference->element_count - done, (uint64_t)piece);
        size_t first_bytes, second_bytes;
        mmh_status status = side_load(first, done, count, &first_bytes, err);
        if (status == MMH_OK)
            status = side_load(second, done, count, &second_bytes, err);
        if (status == MMH_OK)
            status = mmh_context_poll(first->reader->context, err);
        if (status == MMH_OK && numbers && blocks)
            count_blocks(difference, first, second, count);
        else if (status == MMH_OK && numbers)
            status = measure(difference, first, second, first_bytes, second_bytes, done, count,
                             squares, err);
        if (status != MMH_OK)
            return status;
        if (!numbers &&
            (first_bytes != second_bytes || memcmp(first->data, second->data, first_bytes) != 0)) {
            *equal = false;
            return MMH_OK;
        }
    }
    difference->first_norm = norm_of(&squares[0]);
    difference->difference_norm = norm_of(&squares[1]);
    return MMH_OK;
}

static mmh_status check_shapes(const struct mmh_tensor_record *first,
                               const struct mmh_tensor_record *second, mmh_error *err)
{
    if (first->dimensions != second->dimensions ||
        (first->dimensions &&
         memcmp(first->shape, second->shape, first->dimensions * sizeof *first->shape) != 0))
        return mmh_fail(err, MMH_E_USAGE, "\"%s\" and \"%s\" have different shapes", first->name,
                        second->name);
    if (first->column_major != second->column_major && first->dimensions > 1)
        return mmh_fail(err, MMH_E_USAGE, "\"%s\" and \"%s\" have different orders of dimensions",
                        first->name, second->name);
    if (first->dtype != second->dtype &&
        (mmh_dtype_is_block(first->dtype) || mmh_dtype_is_block(second->dtype)))
        return mmh_fail(err, MMH_E_USAGE, "\"%s\" and \"%s\" are of different types, one in blocks",
                        first->name, second->name);
    if (mmh_dtype_values(first->dtype) != mmh_dtype_values(second->dtype))
        return mmh_fail(err, MMH_E_USAGE, "one of \"%s\" and \"%s\" is complex", first->name,
                        second->name);
    return MMH_OK;
}

static bool same_strides(const struct mmh_tensor_record *first,
                         const struct mmh_tensor_record *second)
{
    if (!first->strides || !second->strides || !first->dimensions)
        return !first->strides == !second->strides;
    return memcmp(first->strides, second->strides, first->dimensions * sizeof *first->strides) == 0;
}

/* Elements of a tensor, or its blocks. */
static uint64_t elements(const struct mmh_tensor_record *tensor)
{
    uint64_t count = 1;
    for (uint32_t d = 0; d < tensor->dimensions; d++)
        count *= tensor->shape[d]; /* cannot overflow: that was checked with the tensor */
    unsigned bytes, block = mmh_dtype_block(tensor->dtype, &bytes);
    return block > 1 ? count / block : count;
}

/* Bits of an element of a type, or of a block of it. */
static unsigned unit_bits(mmh_dtype dtype)
{
    unsigned bytes;
    (void)mmh_dtype_block(dtype, &bytes);
    return bytes ? 8 * bytes : mmh_dtype_bits(dtype);
}

static mmh_status compare(mmh_difference *difference, struct side *first, struct side *second,
                          mmh_error *err)
{
    struct range a = { first->reader, first->tensor->file, first->tensor->offset,
                       first->tensor->bytes };
    struct range b = { second->reader, second->tensor->file, second->tensor->offset,
                       second->tensor->bytes };
    bool same_type = first->tensor->dtype == second->tensor->dtype, equal = false;
    mmh_status status = MMH_OK;
    if (!difference->element_count)
        return MMH_OK;
    if (same_type && first->tensor->big_endian == second->tensor->big_endian &&
        same_strides(first->tensor, second->tensor) && same_chunks(&a, &b))
        return MMH_OK;
    const mmh_allocator *allocator = first->reader->context->allocator;
    first->data = mmh_alloc(allocator, 64, piece_elements(first) * first->bits / 8);
    second->data = mmh_alloc(allocator, 64, piece_elements(second) * second->bits / 8);
    if (!first->data || !second->data)
        status = mmh_fail(err, MMH_E_MEMORY, "no memory to compare \"%s\"", first->tensor->name);
    if (status == MMH_OK && same_type)
        status = walk(difference, first, second, false, &equal, err);
    if (status == MMH_OK && !equal)
        status = walk(difference, first, second, true, &equal, err);
    mmh_free(allocator, first->data);
    mmh_free(allocator, second->data);
    return status;
}

mmh_status mmh_compare(mmh_reader *first, uint64_t first_tensor, mmh_reader *second,
                       uint64_t second_tensor, mmh_difference *out, mmh_error *err)
{
    struct side a = { .reader = first }, b = { .reader = second };
    mmh_difference difference = { 0 };
    mmh_status status = mmh_struct_check(out, "mmh_difference", err);
    if (status == MMH_OK)
        status = mmh_reader_tensor(first, first_tensor, &a.tensor, err);
    if (status == MMH_OK)
        status = mmh_reader_tensor(second, second_tensor, &b.tensor, err);
    if (status == MMH_OK)
        status = check_shapes(a.tensor, b.tensor, err);
    if (status != MMH_OK)
        return status;
    a.bits = unit_bits(a.tensor->dtype);
    b.bits = unit_bits(b.tensor->dtype);
    difference.element_count = a.tensor->bytes ? elements(a.tensor) : 0;
    mmh_context_begin(first->context, "compare", a.tensor->bytes + b.tensor->bytes);
    status = compare(&difference, &a, &b, err);
    mmh_context_end(first->context, status);
    if (status == MMH_OK)
        mmh_report_copy(out, &difference, sizeof difference);
    return status;
}

/* ---- files ---- */

static mmh_status compare_bytes(const struct range *first, const struct range *second,
                                uint64_t bytes, uint64_t *same, mmh_error *err)
{
    const mmh_allocator *allocator = first->reader->context->allocator;
    size_t room = (size_t)MMH_MIN(bytes, (uint64_t)PIECE_BYTES);
    uint8_t *a = mmh_alloc(allocator, 64, room), *b = mmh_alloc(allocator, 64, room);
    mmh_status status = MMH_OK;
    bool equal = true;
    if (!a || !b)
        status = mmh_fail(err, MMH_E_MEMORY, "no memory to compare files");
    for (*same = 0; *same < bytes && equal && status == MMH_OK;) {
        size_t part = (size_t)MMH_MIN(bytes - *same, (uint64_t)PIECE_BYTES), i = 0;
        status = mmh_reader_bytes(first->reader, first->file, *same, a, part, err);
        if (status == MMH_OK)
            status = mmh_reader_bytes(second->reader, second->file, *same, b, part, err);
        if (status == MMH_OK)
            status = mmh_context_poll(first->reader->context, err);
        equal = status == MMH_OK && memcmp(a, b, part) == 0;
        while (status == MMH_OK && !equal && a[i] == b[i])
            i++;
        *same += equal ? part : i;
    }
    mmh_free(allocator, a);
    mmh_free(allocator, b);
    return status;
}

mmh_status mmh_compare_files(mmh_reader *first, uint64_t first_file, mmh_reader *second,
                             uint64_t second_file, bool *equal, uint64_t *offset, mmh_error *err)
{
    const struct mmh_index *a_index = &first->container.index;
    const struct mmh_index *b_index = &second->container.index;
    if (first_file >= a_index->file_count || second_file >= b_index->file_count)
        return mmh_fail(err, MMH_E_USAGE, "there is no file %" PRIu64,
                        first_file >= a_index->file_count ? first_file : second_file);
    const struct mmh_file_record *a_file = &a_index->files[first_file].record;
    const struct mmh_file_record *b_file = &b_index->files[second_file].record;
    struct range a = { first, first_file, 0, a_file->bytes };
    struct range b = { second, second_file, 0, b_file->bytes };
    uint64_t shorter = MMH_MIN(a.bytes, b.bytes), same = 0;
    mmh_status status = MMH_OK;
    bool digests = !first->originals && !second->originals &&
                   first->container.hash_suite == second->container.hash_suite;
    if (digests && a.bytes == b.bytes &&
        memcmp(a_file->digest, b_file->digest, first->container.hash_bytes) == 0) {
        same = shorter;
    } else if (shorter && (offset || a.bytes == b.bytes)) {
        mmh_context_begin(first->context, "compare", 2 * shorter);
        status = compare_bytes(&a, &b, shorter, &same, err);
        mmh_context_end(first->context, status);
    }
    *equal = status == MMH_OK && a.bytes == b.bytes && same == shorter;
    if (offset)
        *offset = same;
    return status;
}
