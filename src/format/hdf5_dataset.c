/*
 * HDF5's datasets: which of their bytes are tensors.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Chunks that stand in the file as the array would are one tensor; else each is a tensor of its own,
 * called as numpy slices it: "weights[0:32,0:16]". A shuffled chunk is storages: the first bytes of all
 * elements, the second ones, and so on. What other filters made stays as it is.
 */
#include <stdio.h>

#include "base/bits.h"
#include "format/hdf5.h"

enum {
    FILTER_SHUFFLE = 2,
    FILTER_FLETCHER32 = 3,
    FLETCHER32_BYTES = 4,
    PLANE_BYTES_MIN = 1024,
    SLICE_BYTES_MAX = 2 * 20 + 2 /* ",begin:end" */
};

/* Two walks over the chunks: the first looks, the second adds. */
struct chunks {
    const struct mmh_hdf5_object *dataset;
    uint64_t chunk_bytes;
    uint64_t grid[MMH_HDF5_DIMENSIONS_MAX]; /* chunks along each dimension */

    uint64_t count;       /* of chunks seen */
    bool is_run;          /* so far they stand where the array would have them */
    uint64_t run_offset;  /* of its first element, in the source */
    uint64_t coded_bytes; /* of chunks that only filters can read */

    const uint64_t *shape;  /* of a chunk */
    const uint64_t *planes; /* of a shuffled one: bytes of an element, elements */
    mmh_error *err;
    mmh_status status;
};

/* How a chunk is stored. */
struct form {
    bool is_readable, is_shuffled;
    uint64_t bytes; /* without checksum */
};

static struct form chunk_form(const struct chunks *chunks, const struct mmh_hdf5_chunk *chunk)
{
    const struct mmh_hdf5_object *dataset = chunks->dataset;
    struct form form = { .is_readable = true, .bytes = chunk->bytes };
    bool is_edge = false, is_sealed = false;
    for (uint32_t d = 0; d < dataset->dimensions; d++)
        is_edge = is_edge || dataset->shape[d] - chunk->begin[d] < dataset->chunk[d];
    for (unsigned i = 0; i < dataset->filter_count && !(is_edge && dataset->whole_edges); i++) {
        if (chunk->mask >> i & 1)
            continue;
        bool is_first = !form.is_shuffled && !is_sealed;
        if (dataset->filters[i] == FILTER_SHUFFLE && is_first)
            form.is_shuffled = dataset->shuffle_bytes > 1;
        else if (dataset->filters[i] == FILTER_FLETCHER32 && !is_sealed)
            is_sealed = true;
        else
            form.is_readable = false;
    }
    if (is_sealed && form.bytes >= FLETCHER32_BYTES)
        form.bytes -= FLETCHER32_BYTES;
    if (form.bytes != chunks->chunk_bytes ||
        (form.is_shuffled && dataset->shuffle_bytes != dataset->type.bytes))
        form.is_readable = false;
    return form;
}

/* The chunk's place among all, row by row. */
static uint64_t chunk_number(const struct chunks *chunks, const struct mmh_hdf5_chunk *chunk)
{
    uint64_t number = 0;
    for (uint32_t d = 0; d < chunks->dataset->dimensions; d++)
        number = number * chunks->grid[d] + chunk->begin[d] / chunks->dataset->chunk[d];
    return number; /* fits if there can be a run: the grid has no more chunks than elements */
}

static bool look(struct mmh_hdf5 *h5, void *context, const struct mmh_hdf5_chunk *chunk)
{
    struct chunks *chunks = context;
    struct form form = chunk_form(chunks, chunk);
    uint64_t before = chunk_number(chunks, chunk) * chunks->chunk_bytes;
    uint64_t offset = h5->base + chunk->address; /* checked by who calls */
    if (!form.is_readable)
        chunks->coded_bytes += chunk->bytes;
    if (!chunks->count++)
        chunks->run_offset = offset - before;
    chunks->is_run = chunks->is_run && form.is_readable && !form.is_shuffled &&
                     form.bytes == chunk->bytes && offset >= before &&
                     offset - before == chunks->run_offset;
    return true;
}

/* A shuffled chunk: each plane of bytes by itself, as each has statistics of its own; small ones as
 * rows of one storage, as each extent costs a little. */
static mmh_status add_planes(struct mmh_hdf5 *h5, const struct chunks *chunks,
                             const struct mmh_map_tensor *tensor)
{
    bool is_small = chunks->planes[1] < PLANE_BYTES_MIN;
    uint64_t plane_bytes = is_small ? tensor->bytes : chunks->planes[1];
    struct mmh_map_tensor plane = {
        .name = tensor->name,
        .dtype = MMH_DTYPE_U8,
        .role = MMH_MAP_STORAGE,
        .dimensions = is_small ? 2 : 1,
        .shape = is_small ? chunks->planes : chunks->planes + 1,
        .offset = tensor->offset,
        .bytes = plane_bytes,
    };
    mmh_status status = MMH_OK;
    for (; plane.offset - tensor->offset < tensor->bytes && !status; plane.offset += plane_bytes)
        status = mmh_extent_map_add(h5->map, &plane, chunks->err);
    return status;
}

static bool add_chunk(struct mmh_hdf5 *h5, void *context, const struct mmh_hdf5_chunk *chunk)
{
    struct chunks *chunks = context;
    const struct mmh_hdf5_object *dataset = chunks->dataset;
    struct form form = chunk_form(chunks, chunk);
    char slices[MMH_HDF5_DIMENSIONS_MAX * SLICE_BYTES_MAX + 1];
    size_t bytes = 0;
    if (!form.is_readable)
        return true;
    if (!mmh_hdf5_has_room(h5))
        return false;
    for (uint32_t d = 0; d < dataset->dimensions; d++)
        bytes += (size_t)snprintf(slices + bytes, sizeof slices - bytes, "%s%llu:%llu",
                                  d ? "," : "", (unsigned long long)chunk->begin[d],
                                  (unsigned long long)(chunk->begin[d] + dataset->chunk[d]));
    struct mmh_map_tensor tensor = {
        .name = mmh_arena_format(h5->map->arena, "%s[%s]", dataset->path, slices),
        .dtype = dataset->type.dtype,
        .big_endian = dataset->type.big_endian,
        .dimensions = dataset->dimensions,
        .shape = chunks->shape,
        .offset = h5->base + chunk->address,
        .bytes = form.bytes,
    };
    if (!tensor.name)
        chunks->status = mmh_fail(chunks->err, MMH_E_MEMORY, "names of chunks");
    else if (form.is_shuffled)
        chunks->status = add_planes(h5, chunks, &tensor);
    else
        chunks->status = mmh_extent_map_add(h5->map, &tensor, chunks->err);
    return !chunks->status;
}

static const uint64_t *keep(struct mmh_hdf5 *h5, const uint64_t *shape, uint32_t dimensions)
{
    uint64_t *kept = mmh_arena_array(h5->map->arena, dimensions, sizeof *kept);
    for (uint32_t d = 0; kept && d < dimensions; d++)
        kept[d] = shape[d];
    return kept;
}

static mmh_status add_whole(struct mmh_hdf5 *h5, const struct mmh_hdf5_object *dataset,
                            uint64_t offset, uint64_t bytes, mmh_error *err)
{
    struct mmh_map_tensor tensor = {
        .name = dataset->path,
        .dtype = dataset->type.dtype,
        .big_endian = dataset->type.big_endian,
        .dimensions = dataset->dimensions,
        .shape = keep(h5, dataset->shape, dataset->dimensions),
        .offset = offset,
        .bytes = bytes,
    };
    if (!tensor.shape)
        return mmh_fail(err, MMH_E_MEMORY, "shape of a tensor");
    return mmh_extent_map_add(h5->map, &tensor, err);
}

/* Whether chunks in the order of their numbers are the array: they lie side by side along one
 * dimension, and those before it are of one element each. */
static bool can_be_run(const struct mmh_hdf5_object *dataset)
{
    uint32_t along = 0;
    while (along + 1 < dataset->dimensions && dataset->chunk[along] == 1)
        along++;
    uint64_t length = dataset->chunk[along];
    if (!length || (along && dataset->shape[along] % length))
        return false; /* no chunks, or with a rim inside the array */
    for (uint32_t d = along + 1; d < dataset->dimensions; d++)
        if (dataset->chunk[d] != dataset->shape[d])
            return false;
    return true;
}

static mmh_status map_chunked(struct mmh_hdf5 *h5, const struct mmh_hdf5_object *dataset,
                              uint64_t bytes, mmh_error *err)
{
    struct chunks chunks = { .dataset = dataset, .err = err, .is_run = can_be_run(dataset) };
    uint64_t chunk_count = 1;
    bool fits = dataset->chunk_dimensions == dataset->dimensions && dataset->dimensions;
    for (uint32_t d = 0; d < dataset->dimensions && fits; d++) {
        fits = dataset->chunk[d] > 0 && dataset->chunk[d] <= UINT64_MAX - dataset->shape[d];
        chunks.grid[d] = fits ? mmh_divide_up(dataset->shape[d], dataset->chunk[d]) : 0;
        fits = fits && mmh_u64_mul(&chunk_count, chunk_count, chunks.grid[d]);
    }
    if (!fits || !mmh_shape_bytes(&chunks.chunk_bytes, dataset->type.dtype, dataset->dimensions,
                                  dataset->chunk)) {
        mmh_hdf5_fail(h5, "has chunks of another shape");
        return MMH_OK;
    }
    if (!mmh_hdf5_chunks_walk(h5, dataset, chunks.chunk_bytes, look, &chunks) || !chunks.count)
        return MMH_OK;
    if (chunks.coded_bytes) {
        h5->coded_count++;
        h5->coded_bytes += chunks.coded_bytes;
    }
    if (chunks.is_run && chunks.count == chunk_count)
        return add_whole(h5, dataset, chunks.run_offset, bytes, err);
    chunks.shape = keep(h5, dataset->chunk, dataset->dimensions);
    chunks.planes = keep(
        h5, (const uint64_t[]){ dataset->type.bytes, chunks.chunk_bytes / dataset->type.bytes }, 2);
    if (!chunks.shape || !chunks.planes)
        return mmh_fail(err, MMH_E_MEMORY, "shape of a tensor");
    mmh_hdf5_chunks_walk(h5, dataset, chunks.chunk_bytes, add_chunk, &chunks);
    return chunks.status;
}

mmh_status mmh_hdf5_dataset_map(struct mmh_hdf5 *h5, const struct mmh_hdf5_object *dataset,
                                mmh_error *err)
{
    uint64_t bytes;
    if (!dataset->has_space || !dataset->has_type) {
        mmh_hdf5_fail(h5, "has no shape or no type");
        return MMH_OK;
    }
    if (dataset->is_null)
        return MMH_OK;
    if (dataset->type.dtype == MMH_DTYPE_OPAQUE) {
        h5->foreign_count++;
        return MMH_OK;
    }
    if (!mmh_shape_bytes(&bytes, dataset->type.dtype, dataset->dimensions, dataset->shape)) {
        mmh_hdf5_fail(h5, "has a shape whose size overflows");
        return MMH_OK;
    }
    if (!mmh_hdf5_has_room(h5))
        return MMH_OK;
    if (!bytes)
        return add_whole(h5, dataset, 0, 0, err);
    if (dataset->is_external || dataset->layout == MMH_HDF5_VIRTUAL) {
        mmh_hdf5_fail(h5, "lies in other files");
        return MMH_OK;
    }
    if (dataset->layout == MMH_HDF5_CHUNKED)
        return map_chunked(h5, dataset, bytes, err);
    if (dataset->data_address == MMH_HDF5_NOWHERE) /* never written */
        return MMH_OK;
    uint64_t offset = dataset->data_address;
    if (dataset->layout == MMH_HDF5_CONTIGUOUS && !mmh_u64_add(&offset, offset, h5->base))
        offset = UINT64_MAX;
    if (dataset->layout > MMH_HDF5_CONTIGUOUS)
        mmh_hdf5_fail(h5, "has a layout that we do not know");
    else if (dataset->data_bytes < bytes)
        mmh_hdf5_fail(h5, "has fewer bytes than its shape");
    else
        return add_whole(h5, dataset, offset, bytes, err);
    return MMH_OK;
}
