/*
 * tflite: a flatbuffer of subgraphs, whose tensors refer to buffers.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Listed are the tensors that have bytes, constants: weights. Buffers of models over 2 GB lie
 * behind the flatbuffer. Tensors of further subgraphs are called "subgraph N/" and their name, as
 * names are unique only within one.
 * Source: tflite/converter/schema/schema.fbs of github.com/google-ai-edge/LiteRT.
 */
#include <string.h>

#include "base/bits.h"
#include "format/flatbuffer.h"

enum {
    SUBGRAPHS_MAX = 1 << 14,
    TENSORS_MAX = 1 << 17, /* looked at, with or without bytes: they may be one, told many times */
    NAME_BYTES_MAX = 65535,
    DESCRIPTION_BYTES_MAX = 256
};

/* Fields of the tables, as the schema counts them. */
enum {
    MODEL_SUBGRAPHS = 2,
    MODEL_DESCRIPTION = 3,
    MODEL_BUFFERS = 4,
    SUBGRAPH_TENSORS = 0,
    TENSOR_SHAPE = 0,
    TENSOR_TYPE = 1,
    TENSOR_BUFFER = 2,
    TENSOR_NAME = 3,
    TENSOR_SPARSITY = 6,
    BUFFER_DATA = 0,
    BUFFER_OFFSET = 1,
    BUFFER_SIZE = 2
};

/* By the numbers of the schema's TensorType; 0: strings, resources, variants. */
static const uint8_t types[] = {
    [0] = MMH_DTYPE_F32,  [1] = MMH_DTYPE_F16,  [2] = MMH_DTYPE_I32,      [3] = MMH_DTYPE_U8,
    [4] = MMH_DTYPE_I64,  [6] = MMH_DTYPE_BOOL, [7] = MMH_DTYPE_I16,      [8] = MMH_DTYPE_C64,
    [9] = MMH_DTYPE_I8,   [10] = MMH_DTYPE_F64, [11] = MMH_DTYPE_C128,    [12] = MMH_DTYPE_U64,
    [15] = MMH_DTYPE_U32, [16] = MMH_DTYPE_U16, [17] = MMH_DTYPE_I4,      [18] = MMH_DTYPE_BF16,
    [19] = MMH_DTYPE_I2,  [20] = MMH_DTYPE_U4,  [21] = MMH_DTYPE_F8_E4M3, [22] = MMH_DTYPE_F8_E5M2,
};

/* A model that is being read. */
struct tflite {
    struct mmh_stream in;
    struct mmh_extent_map *map;
    struct mmh_flat_vector buffers;
    uint64_t told_bytes;   /* names and shapes that were taken: no more than the file has */
    uint32_t tensor_count; /* that were looked at */
    const char *problem;   /* static: why it is no such file; NULL: nothing */
};

static bool detect(const struct mmh_format_probe *probe)
{
    return probe->head_bytes >= 8 && memcmp(probe->head + 4, "TFL3", 4) == 0;
}

static bool stopped(const struct tflite *tflite)
{
    return tflite->problem || mmh_stream_failed(&tflite->in);
}

/* Memory is taken for what is told as often as it is told; vectors may be shared by many tables. */
static bool tell(struct tflite *tflite, uint64_t bytes)
{
    tflite->told_bytes += bytes;
    if (tflite->told_bytes > tflite->in.source->bytes)
        tflite->problem = "tells more names and shapes than it has bytes";
    return !tflite->problem;
}

/* The name of a tensor; NULL: the stream has failed, or the file is none after all. */
static const char *take_name(struct tflite *tflite, const struct mmh_flat_table *tensor,
                             uint32_t subgraph, uint32_t number, bool *has_nul)
{
    struct mmh_arena *arena = tflite->map->arena;
    struct mmh_stream *in = &tflite->in;
    struct mmh_flat_vector text = mmh_flat_vector(in, tensor, TENSOR_NAME, 1);
    char *name;
    if (stopped(tflite) || !tell(tflite, text.count))
        return NULL;
    if (text.count) {
        mmh_stream_seek(in, text.position, in->source->bytes);
        name = mmh_stream_string(in, text.count, NAME_BYTES_MAX, arena);
    } else {
        name = mmh_arena_format(arena, "tensor %u", (unsigned)number);
    }
    *has_nul = name && text.count && strlen(name) != text.count;
    if (name && subgraph)
        name = mmh_arena_format(arena, "subgraph %u/%s", (unsigned)subgraph, name);
    if (!name && !in->short_read && !in->status)
        in->status = mmh_fail(&in->error, MMH_E_MEMORY, "name of a tensor");
    return name;
}

/* The bytes of a buffer; none: it is empty, or lies outside the file. */
static void take_place(struct mmh_map_tensor *tensor, struct tflite *tflite, uint64_t number)
{
    struct mmh_stream *in = &tflite->in;
    if (number >= tflite->buffers.count)
        return;
    struct mmh_flat_table buffer = mmh_flat_table_at(in, &tflite->buffers, (uint32_t)number);
    struct mmh_flat_vector data = mmh_flat_vector(in, &buffer, BUFFER_DATA, 1);
    uint64_t offset = mmh_flat_number(in, &buffer, BUFFER_OFFSET, 8, 0);
    tensor->offset = data.position;
    tensor->bytes = data.count;
    if (!data.count && offset > 1) { /* 1: none yet, as the converter writes it */
        tensor->offset = offset;
        tensor->bytes = mmh_flat_number(in, &buffer, BUFFER_SIZE, 8, 0);
    }
}

static mmh_status take_shape(struct mmh_map_tensor *tensor, struct tflite *tflite,
                             const struct mmh_flat_table *table, const char **problem,
                             mmh_error *err)
{
    struct mmh_stream *in = &tflite->in;
    struct mmh_flat_vector vector = mmh_flat_vector(in, table, TENSOR_SHAPE, 4);
    if (stopped(tflite) || vector.count > MMH_MAP_DIMENSIONS_MAX) {
        *problem = "has more than 64 dimensions";
        return MMH_OK;
    }
    if (!tell(tflite, (uint64_t)vector.count * 4))
        return MMH_OK;
    uint64_t *shape = mmh_arena_array(tflite->map->arena, MMH_MAX(vector.count, 1u), sizeof *shape);
    if (!shape)
        return mmh_fail(err, MMH_E_MEMORY, "shape of a tensor");
    mmh_stream_seek(in, vector.position, in->source->bytes);
    for (uint32_t d = 0; d < vector.count; d++) {
        shape[d] = mmh_stream_u32(in);
        if (shape[d] > INT32_MAX)
            *problem = "has a shape that is not known";
    }
    tensor->shape = shape;
    tensor->dimensions = vector.count;
    return MMH_OK;
}

/* Bytes that are not all elements of the shape (sparse ones, or one element a byte where the type
 * says less) are still of that type. */
static mmh_status add_flat(struct tflite *tflite, const struct mmh_map_tensor *tensor,
                           mmh_error *err)
{
    struct mmh_map_tensor flat = *tensor;
    uint64_t *shape = mmh_arena_array(tflite->map->arena, 1, sizeof *shape);
    unsigned bytes = mmh_dtype_scalar_bytes(tensor->dtype);
    if (!shape)
        return mmh_fail(err, MMH_E_MEMORY, "shape of a tensor");
    flat.role = MMH_MAP_STORAGE;
    flat.dtype = mmh_dtype_scalar(tensor->dtype);
    flat.bytes -= flat.bytes % bytes;
    flat.dimensions = 1;
    flat.shape = shape;
    *shape = flat.bytes / bytes;
    return *shape ? mmh_extent_map_add(tflite->map, &flat, err) : MMH_OK;
}

static mmh_status map_tensor(struct tflite *tflite, const struct mmh_flat_table *table,
                             uint32_t subgraph, uint32_t number, mmh_error *err)
{
    struct mmh_stream *in = &tflite->in;
    struct mmh_map_tensor tensor = { 0 };
    const char *problem = NULL;
    bool has_nul = false;
    uint64_t bytes;
    take_place(&tensor, tflite, mmh_flat_number(in, table, TENSOR_BUFFER, 4, 0));
    if (stopped(tflite) || !tensor.bytes)
        return MMH_OK; /* what operators compute */
    uint64_t type = mmh_flat_number(in, table, TENSOR_TYPE, 1, 0);
    bool sparse = mmh_flat_number(in, table, TENSOR_SPARSITY, 4, 0) != 0;
    tensor.dtype = type < sizeof types ? (mmh_dtype)types[type] : MMH_DTYPE_OPAQUE;
    tensor.name = take_name(tflite, table, subgraph, number, &has_nul);
    mmh_status status = take_shape(&tensor, tflite, table, &problem, err);
    if (status || stopped(tflite) || !tensor.name)
        return status;
    if (tensor.dtype == MMH_DTYPE_OPAQUE)
        problem = "has no element type that we know";
    else if (has_nul)
        problem = "has a NUL in its name";
    if (problem) {
        mmh_extent_map_remark_tensor(tflite->map, tensor.name, problem);
        return MMH_OK;
    }
    if (sparse || !mmh_shape_bytes(&bytes, tensor.dtype, tensor.dimensions, tensor.shape) ||
        bytes != tensor.bytes) {
        mmh_extent_map_remark(tflite->map, "tensor \"%.80s\" %s: its bytes are not listed",
                              tensor.name, sparse ? "is sparse" : "has a shape of another size");
        return add_flat(tflite, &tensor, err);
    }
    return mmh_extent_map_add(tflite->map, &tensor, err);
}

static mmh_status map_subgraph(struct tflite *tflite, const struct mmh_flat_table *table,
                               uint32_t subgraph, mmh_error *err)
{
    struct mmh_stream *in = &tflite->in;
    struct mmh_flat_vector tensors = mmh_flat_vector(in, table, SUBGRAPH_TENSORS, 4);
    mmh_status status = MMH_OK;
    if (tensors.count > TENSORS_MAX - tflite->tensor_count) {
        tflite->problem = "has too many tensors";
        return MMH_OK;
    }
    tflite->tensor_count += tensors.count;
    for (uint32_t i = 0; i < tensors.count && !status && !stopped(tflite); i++) {
        struct mmh_flat_table tensor = mmh_flat_table_at(in, &tensors, i);
        status = map_tensor(tflite, &tensor, subgraph, i, err);
    }
    return status;
}

static mmh_status map_description(struct tflite *tflite, const struct mmh_flat_table *model,
                                  mmh_error *err)
{
    struct mmh_stream *in = &tflite->in;
    struct mmh_flat_vector text = mmh_flat_vector(in, model, MODEL_DESCRIPTION, 1);
    if (!text.count || text.count > DESCRIPTION_BYTES_MAX)
        return MMH_OK;
    mmh_stream_seek(in, text.position, in->source->bytes);
    const char *description = mmh_stream_string(in, text.count, DESCRIPTION_BYTES_MAX,
                                                tflite->map->arena);
    if (!description || strlen(description) != text.count)
        return MMH_OK;
    return mmh_extent_map_add_metadata(tflite->map, "description", description, err);
}

static mmh_status map_file(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                           mmh_error *err)
{
    struct tflite tflite = { .map = map };
    mmh_stream_init(&tflite.in, probe->source, 0, probe->source->bytes);
    struct mmh_flat_table model = mmh_flat_root(&tflite.in);
    struct mmh_flat_vector subgraphs = mmh_flat_vector(&tflite.in, &model, MODEL_SUBGRAPHS, 4);
    tflite.buffers = mmh_flat_vector(&tflite.in, &model, MODEL_BUFFERS, 4);
    if (subgraphs.count > SUBGRAPHS_MAX)
        tflite.problem = "has too many subgraphs";
    mmh_status status = map_description(&tflite, &model, err);
    for (uint32_t i = 0; i < subgraphs.count && !status && !stopped(&tflite); i++) {
        struct mmh_flat_table subgraph = mmh_flat_table_at(&tflite.in, &subgraphs, i);
        status = map_subgraph(&tflite, &subgraph, i, err);
    }
    if (!status) /* first: what could not be read was taken for zeros */
        status = mmh_stream_finish(&tflite.in, "tflite model", err);
    if (!status && tflite.problem)
        status = mmh_fail(err, MMH_E_UNSUPPORTED, "the model %s", tflite.problem);
    return status;
}

const struct mmh_format mmh_format_tflite = {
    .name = "tflite",
    .suffix = ".tflite",
    .detect = detect,
    .map = map_file,
};
