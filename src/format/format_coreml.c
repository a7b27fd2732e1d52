/*
 * CoreML's Model: layers of neural networks with their weights, programs whose constants lie in it or
 * in a weight.bin, pipelines of models.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Trees, support vectors and the like are kept as they are.
 * Source: github.com/apple/coremltools, mlmodel/format/Model.proto, NeuralNetwork.proto, MIL.proto.
 */
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "format/proto.h"

enum {
    DEPTH_MAX = 8, /* pipelines, networks and blocks, one within the other */
    VERSION_MAX = 999,
    TERMS_MAX = 5,
    PARAMETERS_MAX = 128, /* numbers of a layer's fields that say how large it is are below */
    LIST_MAX = 8,
    METADATA_BYTES = 64 /* of a blob, before its data */
};

enum model_field {
    MODEL_VERSION = 1,
    MODEL_DESCRIPTION = 2,
    MODEL_UPDATABLE = 10,
    MODEL_PIPELINE_CLASSIFIER = 200,
    MODEL_PIPELINE_REGRESSOR = 201,
    MODEL_PIPELINE = 202,
    MODEL_NETWORK_REGRESSOR = 303,
    MODEL_NETWORK_CLASSIFIER = 403,
    MODEL_NETWORK = 500,
    MODEL_PROGRAM = 502,
    MODEL_LAST = 3000
};
enum pipeline_field { PIPELINE_MODEL = 1, PIPELINE_NAME = 2 };
enum network_field { NETWORK_LAYER = 1, NETWORK_PREPROCESSING = 2 };
enum preprocessing_field { PREPROCESSING_FEATURE = 1, PREPROCESSING_MEAN_IMAGE = 11 };
enum layer_field { LAYER_NAME = 1, LAYER_BRANCH = 605, LAYER_LOOP = 615 };
enum weight_field {
    WEIGHT_FLOATS = 1,
    WEIGHT_FLOAT16S = 2,
    WEIGHT_RAW = 30,
    WEIGHT_INT8S = 31,
    WEIGHT_QUANTIZATION = 40
};
enum quantization_field { QUANTIZATION_LINEAR = 101, QUANTIZATION_TABLE = 102 };

/* A walk over a file. */
struct walk {
    struct mmh_stream in;
    struct mmh_extent_map *map;
    uint64_t memory_max;
    unsigned depth;
    uint64_t left_out; /* constants of programs without bytes of their own */
};

static bool is_type(const struct mmh_proto_field *field)
{
    return field->wire == MMH_PROTO_BYTES && field->number >= MODEL_PIPELINE_CLASSIFIER &&
           field->number <= MODEL_LAST;
}

static bool detect(const struct mmh_format_probe *probe)
{
    const mmh_source *source = probe->source;
    struct mmh_stream in;
    struct mmh_proto_field field;
    bool versioned = false, typed = false;
    mmh_stream_init(&in, source, 0, source->bytes);
    while (mmh_proto_next(&in, &field)) {
        if (mmh_proto_is_varint(&field, MODEL_VERSION) && field.value && field.value <= VERSION_MAX)
            versioned = true;
        else if (is_type(&field) && !typed)
            typed = true;
        else if (!mmh_proto_is_bytes(&field, MODEL_DESCRIPTION) &&
                 !mmh_proto_is_varint(&field, MODEL_UPDATABLE))
            return false;
    }
    return versioned && typed && !mmh_stream_failed(&in);
}

static const char *join(struct walk *walk, const char *name, const char *rest)
{
    return mmh_proto_join(&walk->in, walk->map->arena, name, rest, walk->memory_max);
}

/* The string of that number in a message, `otherwise` if there is none. */
static const char *find_name(struct walk *walk, const struct mmh_proto_field *message,
                             uint32_t number, const char *otherwise)
{
    char *name = mmh_proto_find_string(&walk->in, message, number, walk->map->arena);
    return name && *name ? name : otherwise;
}

/* Go on within a message, not too deep: false. Ends with leave. */
static bool enter(struct walk *walk, struct mmh_proto_place *outer,
                  const struct mmh_proto_field *message)
{
    if (walk->depth == DEPTH_MAX) {
        mmh_extent_map_remark(walk->map, "models lie too deep in one another: kept as plain bytes");
        return false;
    }
    walk->depth++;
    *outer = mmh_proto_enter(&walk->in, message);
    return true;
}

static void leave(struct walk *walk, const struct mmh_proto_place *outer)
{
    walk->depth--;
    mmh_proto_leave(&walk->in, outer);
}

/* ---- layers of networks ---- */

/*
 * Where layers have weights, how they are called, and their shape, slowest dimension first: numbers
 * of the layer's fields, negative for one that is a list. A shape that the bytes do not have is not
 * used.
 */
static const struct weight {
    uint16_t layer;
    uint8_t within; /* a message in the layer; 0: the layer's own */
    uint8_t field;
    const char *name;
    int8_t terms[TERMS_MAX];
} weights[] = {
    { 100, 0, 90, "weights", { 1, 2, -20 } }, /* convolution */
    { 100, 0, 91, "bias", { 1 } },
    { 130, 25, 1, "alpha", { 0 } }, /* activation: PReLU, parametric softplus */
    { 130, 71, 1, "alpha", { 0 } },
    { 130, 71, 2, "beta", { 0 } },
    { 140, 0, 20, "weights", { 2, 1 } }, /* innerProduct */
    { 140, 0, 21, "bias", { 2 } },
    { 150, 0, 20, "weights", { 2, 1 } }, /* embedding */
    { 150, 0, 21, "bias", { 2 } },
    { 160, 0, 15, "gamma", { 1 } }, /* batchnorm */
    { 160, 0, 16, "beta", { 1 } },
    { 160, 0, 17, "mean", { 1 } },
    { 160, 0, 18, "variance", { 1 } },
    { 245, 0, 2, "scale", { -1 } }, /* scale */
    { 245, 0, 5, "bias", { -4 } },
    { 250, 0, 2, "bias", { -1 } },            /* bias */
    { 290, 0, 2, "data", { -1 } },            /* loadConstant */
    { 400, 0, 30, "weightMatrix", { 2, 1 } }, /* simpleRecurrent */
    { 400, 0, 31, "recursionMatrix", { 2, 2 } },
    { 400, 0, 32, "biasVector", { 2 } },
    { 410, 0, 30, "updateGateWeightMatrix", { 2, 1 } }, /* gru */
    { 410, 0, 31, "resetGateWeightMatrix", { 2, 1 } },
    { 410, 0, 32, "outputGateWeightMatrix", { 2, 1 } },
    { 410, 0, 50, "updateGateRecursionMatrix", { 2, 2 } },
    { 410, 0, 51, "resetGateRecursionMatrix", { 2, 2 } },
    { 410, 0, 52, "outputGateRecursionMatrix", { 2, 2 } },
    { 410, 0, 70, "updateGateBiasVector", { 2 } },
    { 410, 0, 71, "resetGateBiasVector", { 2 } },
    { 410, 0, 72, "outputGateBiasVector", { 2 } },
    { 420, 20, 1, "inputGateWeightMatrix", { 2, 1 } }, /* LSTM, in one direction or two */
    { 420, 20, 2, "forgetGateWeightMatrix", { 2, 1 } },
    { 420, 20, 3, "blockInputWeightMatrix", { 2, 1 } },
    { 420, 20, 4, "outputGateWeightMatrix", { 2, 1 } },
    { 420, 20, 20, "inputGateRecursionMatrix", { 2, 2 } },
    { 420, 20, 21, "forgetGateRecursionMatrix", { 2, 2 } },
    { 420, 20, 22, "blockInputRecursionMatrix", { 2, 2 } },
    { 420, 20, 23, "outputGateRecursionMatrix", { 2, 2 } },
    { 420, 20, 40, "inputGateBiasVector", { 2 } },
    { 420, 20, 41, "forgetGateBiasVector", { 2 } },
    { 420, 20, 42, "blockInputBiasVector", { 2 } },
    { 420, 20, 43, "outputGateBiasVector", { 2 } },
    { 420, 20, 60, "inputGatePeepholeVector", { 2 } },
    { 420, 20, 61, "forgetGatePeepholeVector", { 2 } },
    { 420, 20, 62, "outputGatePeepholeVector", { 2 } },
    { 500, 0, 20, "weights", { 0 } },     /* custom */
    { 1040, 0, 20, "weights", { 2, 1 } }, /* embeddingND */
    { 1040, 0, 21, "bias", { 2 } },
    { 1045, 0, 8, "weights", { 6, 5 } }, /* batchedMatmul */
    { 1045, 0, 9, "bias", { 6 } },
    { 1070, 0, 2, "data", { -1 } },  /* loadConstantND */
    { 1350, 0, 3, "gamma", { -1 } }, /* layerNormalization */
    { 1350, 0, 4, "beta", { -1 } },
    { 1471, 0, 60, "weights", { 1, 2, 20, 21, 22 } }, /* convolution3d */
    { 1471, 0, 61, "bias", { 1 } },
};
enum { LAYER_LSTM = 420, LAYER_LSTM_TWICE = 430 };

/* A repeated integer of a layer. */
struct list {
    uint32_t number, count;
    uint64_t sizes[LIST_MAX];
};

/* What a layer says of its size. */
struct layer {
    uint32_t number;
    const char *name;
    uint64_t single[PARAMETERS_MAX];
    struct list lists[3];
};

static void read_parameters(struct walk *walk, const struct mmh_proto_field *message,
                            struct layer *layer)
{
    static const uint32_t listed[] = { 1, 4, 20 };
    struct mmh_proto_field field;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    for (size_t i = 0; i < MMH_COUNT_OF(listed); i++)
        layer->lists[i].number = listed[i];
    while (mmh_proto_next(&walk->in, &field)) {
        if (field.wire == MMH_PROTO_VARINT && field.number < PARAMETERS_MAX)
            layer->single[field.number] = field.value;
        for (size_t i = 0; i < MMH_COUNT_OF(listed); i++) {
            struct list *list = &layer->lists[i];
            /* A message of that number reads as numbers too: they make no shape that fits. */
            if (field.number == list->number && field.end - field.begin <= LIST_MAX * 10)
                mmh_proto_integers(&walk->in, &field, list->sizes, &list->count, LIST_MAX);
        }
    }
    mmh_proto_leave(&walk->in, &outer);
}

/* Append one term of a shape. */
static bool append_term(struct mmh_proto_tensor *tensor, const struct layer *layer, int term)
{
    if (term > 0 && term < PARAMETERS_MAX) {
        tensor->shape[tensor->dimensions++] = layer->single[term];
        return true;
    }
    for (size_t i = 0; i < MMH_COUNT_OF(layer->lists); i++) {
        const struct list *list = &layer->lists[i];
        if (list->number != (uint32_t)-term)
            continue;
        if (!list->count || list->count > LIST_MAX)
            return false;
        for (uint32_t d = 0; d < list->count; d++)
            tensor->shape[tensor->dimensions++] = list->sizes[d];
    }
    return true;
}

/* The tensor's shape as the layer has it, or flat: its bytes and its type are there. */
static void find_shape(struct mmh_proto_tensor *tensor, const struct layer *layer,
                       const int8_t terms[TERMS_MAX])
{
    uint64_t bytes, each = mmh_dtype_bits(tensor->dtype) / 8;
    bool good = layer && terms[0];
    tensor->dimensions = 0;
    for (unsigned i = 0; good && i < TERMS_MAX && terms[i]; i++)
        good = append_term(tensor, layer, terms[i]);
    if (good && tensor->dimensions &&
        mmh_shape_bytes(&bytes, tensor->dtype, tensor->dimensions, tensor->shape) &&
        bytes == tensor->end - tensor->begin)
        return;
    tensor->dimensions = 1;
    tensor->shape[0] = (tensor->end - tensor->begin) / each;
}

/* Packed floats that a message has as field 1, or another number. */
static void map_floats(struct walk *walk, const struct mmh_proto_field *message, uint32_t number,
                       const char *name)
{
    struct mmh_proto_field field;
    struct mmh_proto_tensor tensor = { .name = name, .dtype = MMH_DTYPE_F32 };
    unsigned pieces = 0;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    while (mmh_proto_next(&walk->in, &field))
        if (field.number == number) {
            tensor.begin = field.begin;
            tensor.end = field.end;
            pieces += mmh_proto_is_bytes(&field, number) ? 1 : 2;
        }
    mmh_proto_leave(&walk->in, &outer);
    if (pieces == 1) {
        find_shape(&tensor, NULL, NULL);
        mmh_proto_add(&walk->in, walk->map, &tensor, NULL, walk->memory_max);
    } else if (pieces) {
        mmh_extent_map_remark_tensor(walk->map, name, "lies in pieces");
    }
}

/* Scales and biases, or the values that the bits stand for. */
static void map_quantization(struct walk *walk, const struct mmh_proto_field *message,
                             const char *name)
{
    struct mmh_proto_field field;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    while (mmh_proto_next(&walk->in, &field)) {
        if (mmh_proto_is_bytes(&field, QUANTIZATION_LINEAR)) {
            map_floats(walk, &field, 1, join(walk, name, ".scale"));
            map_floats(walk, &field, 2, join(walk, name, ".bias"));
        } else if (mmh_proto_is_bytes(&field, QUANTIZATION_TABLE)) {
            map_floats(walk, &field, 1, join(walk, name, ".table"));
        }
    }
    mmh_proto_leave(&walk->in, &outer);
}

/* A WeightParams. */
static void map_weight(struct walk *walk, const struct mmh_proto_field *message,
                       const struct layer *layer, const struct weight *weight, const char *name)
{
    struct mmh_proto_field field, data = { 0 };
    struct mmh_proto_tensor tensor = { .name = name };
    unsigned pieces = 0;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    while (mmh_proto_next(&walk->in, &field)) {
        if (field.number == WEIGHT_FLOATS || field.number == WEIGHT_FLOAT16S ||
            field.number == WEIGHT_RAW || field.number == WEIGHT_INT8S) {
            data = field;
            pieces++;
        } else if (mmh_proto_is_bytes(&field, WEIGHT_QUANTIZATION)) {
            map_quantization(walk, &field, name);
        }
    }
    mmh_proto_leave(&walk->in, &outer);
    if (!pieces || mmh_stream_failed(&walk->in))
        return;
    if (pieces > 1 || data.wire != MMH_PROTO_BYTES) {
        mmh_extent_map_remark_tensor(walk->map, name, "lies in pieces");
        return;
    }
    tensor.dtype = data.number == WEIGHT_FLOATS   ? MMH_DTYPE_F32
                 : data.number == WEIGHT_FLOAT16S ? MMH_DTYPE_F16
                 : data.number == WEIGHT_INT8S    ? MMH_DTYPE_I8
                                                  : MMH_DTYPE_U8;
    tensor.begin = data.begin;
    tensor.end = data.end;
    find_shape(&tensor, layer, weight->terms);
    mmh_proto_add(&walk->in, walk->map, &tensor, NULL, walk->memory_max);
}

/* The weights of a layer, or of a message in it. */
static void map_weights(struct walk *walk, const struct mmh_proto_field *message,
                        struct layer *layer, uint32_t within, const char *prefix)
{
    struct mmh_proto_field field;
    uint32_t number = layer->number == LAYER_LSTM_TWICE ? LAYER_LSTM : layer->number;
    unsigned inner = 0;
    const char *whole = join(walk, layer->name, prefix);
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    while (mmh_proto_next(&walk->in, &field)) {
        const struct weight *found = NULL;
        bool deeper = false;
        if (field.wire != MMH_PROTO_BYTES)
            continue;
        for (size_t i = 0; i < MMH_COUNT_OF(weights); i++) {
            if (weights[i].layer != number)
                continue;
            deeper = deeper || (!within && weights[i].within == field.number);
            if (weights[i].within == within && weights[i].field == field.number)
                found = &weights[i];
        }
        if (deeper) {
            const char *direction = layer->number == LAYER_LSTM_TWICE
                                      ? inner++ ? ".backward." : ".forward."
                                      : ".";
            map_weights(walk, &field, layer, field.number, direction);
        } else if (found) {
            map_weight(walk, &field, layer, found, join(walk, whole, found->name));
        }
    }
    mmh_proto_leave(&walk->in, &outer);
}

static bool has_weights(uint32_t number)
{
    for (size_t i = 0; i < MMH_COUNT_OF(weights); i++)
        if (weights[i].layer == number)
            return true;
    return number == LAYER_LSTM_TWICE;
}

static void map_network(struct walk *walk, const struct mmh_proto_field *message);

/* The networks of a branch or a loop: messages among fields 1 to 4. */
static void map_networks(struct walk *walk, const struct mmh_proto_field *message, bool loop)
{
    struct mmh_proto_field field;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    while (mmh_proto_next(&walk->in, &field))
        if (field.wire == MMH_PROTO_BYTES &&
            (loop ? field.number == 3 || field.number == 4 : field.number <= 2))
            map_network(walk, &field);
    mmh_proto_leave(&walk->in, &outer);
}

static void map_layer(struct walk *walk, const struct mmh_proto_field *message)
{
    struct mmh_proto_field field;
    const char *name = NULL; /* read once, and only of those that have weights */
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    while (mmh_proto_next(&walk->in, &field)) {
        if (field.wire != MMH_PROTO_BYTES)
            continue;
        if (field.number == LAYER_BRANCH || field.number == LAYER_LOOP) {
            map_networks(walk, &field, field.number == LAYER_LOOP);
        } else if (has_weights(field.number)) {
            if (!name)
                name = find_name(walk, message, LAYER_NAME, "layer");
            struct layer layer = { .number = field.number, .name = name };
            read_parameters(walk, &field, &layer);
            map_weights(walk, &field, &layer, 0, ".");
        }
    }
    mmh_proto_leave(&walk->in, &outer);
}

/* The mean image of an input. */
static void map_preprocessing(struct walk *walk, const struct mmh_proto_field *message)
{
    struct mmh_proto_field field;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    while (mmh_proto_next(&walk->in, &field))
        if (mmh_proto_is_bytes(&field, PREPROCESSING_MEAN_IMAGE)) {
            const char *name = find_name(walk, message, PREPROCESSING_FEATURE, "input");
            map_floats(walk, &field, 1, join(walk, name, ".meanImage"));
            break;
        }
    mmh_proto_leave(&walk->in, &outer);
}

static void map_network(struct walk *walk, const struct mmh_proto_field *message)
{
    struct mmh_proto_field field;
    struct mmh_proto_place outer;
    if (!enter(walk, &outer, message))
        return;
    while (mmh_proto_next(&walk->in, &field)) {
        if (mmh_proto_is_bytes(&field, NETWORK_LAYER))
            map_layer(walk, &field);
        else if (mmh_proto_is_bytes(&field, NETWORK_PREPROCESSING))
            map_preprocessing(walk, &field);
    }
    leave(walk, &outer);
}

/* ---- programs ---- */

enum map_field { MAP_KEY = 1, MAP_VALUE = 2 };
enum program_field { PROGRAM_FUNCTION = 2 };
enum function_field { FUNCTION_BLOCK = 3 };
enum block_field { BLOCK_OPERATION = 3 };
enum operation_field {
    OPERATION_TYPE = 1,
    OPERATION_INPUT = 2,
    OPERATION_OUTPUT = 3,
    OPERATION_BLOCK = 4,
    OPERATION_ATTRIBUTE = 5
};
enum { ARGUMENT_BINDING = 1, BINDING_VALUE = 2 };
enum value_field { VALUE_TYPE = 2, VALUE_IMMEDIATE = 3, VALUE_BLOB = 5 };
enum immediate_field { IMMEDIATE_TENSOR = 1 };
enum tensor_field { TENSOR_FLOATS = 1, TENSOR_BOOLS = 3, TENSOR_DOUBLES = 6, TENSOR_BYTES = 7 };
enum { TYPE_TENSOR = 1, TENSOR_TYPE_DATA = 1, TENSOR_TYPE_DIMENSION = 3 };
enum { DIMENSION_CONSTANT = 1, CONSTANT_SIZE = 1 };
enum blob_field { BLOB_FILE = 1, BLOB_OFFSET = 2 };

/* An operation, and what its constants are called once that is known: NULL until then. */
struct operation {
    const struct mmh_proto_field *message;
    const char *name;
    bool constant;
};

/* DataType as ours; `bits` of an element where it is no type of ours but so many bits. */
static mmh_dtype dtype_of(uint64_t data_type, unsigned *bits)
{
    static const uint8_t dtypes[] = {
        [1] = MMH_DTYPE_BOOL, [10] = MMH_DTYPE_F16,     [11] = MMH_DTYPE_F32,
        [12] = MMH_DTYPE_F64, [13] = MMH_DTYPE_BF16,    [21] = MMH_DTYPE_I8,
        [22] = MMH_DTYPE_I16, [23] = MMH_DTYPE_I32,     [24] = MMH_DTYPE_I64,
        [25] = MMH_DTYPE_I4,  [31] = MMH_DTYPE_U8,      [32] = MMH_DTYPE_U16,
        [33] = MMH_DTYPE_U32, [34] = MMH_DTYPE_U64,     [35] = MMH_DTYPE_U4,
        [36] = MMH_DTYPE_U2,  [40] = MMH_DTYPE_F8_E4M3, [41] = MMH_DTYPE_F8_E5M2,
    };
    *bits = data_type == 37 ? 1 : data_type == 38 ? 6 : data_type == 39 ? 3 : 0;
    mmh_dtype dtype = *bits                            ? MMH_DTYPE_U8
                    : data_type < MMH_COUNT_OF(dtypes) ? (mmh_dtype)dtypes[data_type]
                                                       : MMH_DTYPE_OPAQUE;
    return dtype == MMH_DTYPE_OPAQUE ? MMH_DTYPE_COUNT : dtype;
}

/* The first field of that number in a message, bytes; number 0: none. */
static struct mmh_proto_field find(struct walk *walk, const struct mmh_proto_field *message,
                                   uint32_t number)
{
    struct mmh_proto_field field, found = { .begin = message->end, .end = message->end };
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    while (!found.number && mmh_proto_next(&walk->in, &field))
        if (mmh_proto_is_bytes(&field, number))
            found = field;
    mmh_proto_leave(&walk->in, &outer);
    return found;
}

static uint64_t find_varint(struct walk *walk, const struct mmh_proto_field *message,
                            uint32_t number)
{
    struct mmh_proto_field field;
    uint64_t value = 0;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    while (mmh_proto_next(&walk->in, &field))
        if (mmh_proto_is_varint(&field, number))
            value = field.value;
    mmh_proto_leave(&walk->in, &outer);
    return value;
}

/* Type and shape out of a ValueType; of `bits` bits: flat bytes. */
static void read_type(struct walk *walk, const struct mmh_proto_field *message,
                      struct mmh_proto_tensor *tensor)
{
    struct mmh_proto_field field, type = find(walk, message, TYPE_TENSOR);
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, &type);
    unsigned bits = 0;
    while (mmh_proto_next(&walk->in, &field) && tensor->dimensions <= MMH_MAP_DIMENSIONS_MAX) {
        if (mmh_proto_is_varint(&field, TENSOR_TYPE_DATA)) {
            tensor->dtype = dtype_of(field.value, &bits);
        } else if (mmh_proto_is_bytes(&field, TENSOR_TYPE_DIMENSION)) {
            struct mmh_proto_field constant = find(walk, &field, DIMENSION_CONSTANT);
            if (tensor->dimensions < MMH_MAP_DIMENSIONS_MAX)
                tensor->shape[tensor->dimensions] = find_varint(walk, &constant, CONSTANT_SIZE);
            tensor->dimensions++;
        }
    }
    mmh_proto_leave(&walk->in, &outer);
    uint64_t elements;
    if (!bits || tensor->dimensions > MMH_MAP_DIMENSIONS_MAX)
        return;
    if (!mmh_shape_bytes(&elements, MMH_DTYPE_U8, tensor->dimensions, tensor->shape)) {
        tensor->dtype = MMH_DTYPE_COUNT;
        return;
    }
    tensor->dimensions = 1;
    tensor->shape[0] = elements / 8 * bits + mmh_divide_up(elements % 8 * bits, 8);
}

/* A BlobFileValue: behind what it refers to, the blob's 64 bytes of metadata, lies the data. */
static void map_blob(struct walk *walk, const struct mmh_proto_field *message,
                     struct mmh_proto_tensor *tensor)
{
    static const char folder[] = "@model_path/";
    uint64_t bytes;
    const char *file = find_name(walk, message, BLOB_FILE, "");
    uint64_t offset = find_varint(walk, message, BLOB_OFFSET);
    if (strncmp(file, folder, sizeof folder - 1) == 0)
        file += sizeof folder - 1;
    if (tensor->dimensions > MMH_MAP_DIMENSIONS_MAX ||
        !mmh_shape_bytes(&bytes, tensor->dtype, tensor->dimensions, tensor->shape) ||
        !mmh_u64_add(&tensor->begin, offset, METADATA_BYTES) ||
        !mmh_u64_add(&tensor->end, tensor->begin, bytes))
        mmh_extent_map_remark_tensor(walk->map, tensor->name,
                                     "has no type, shape or place that can be");
    else
        mmh_proto_add(&walk->in, walk->map, tensor, file, walk->memory_max);
}

/* An ImmediateValue: numbers of whole bytes one after another, in a message of their own. */
static void map_immediate(struct walk *walk, const struct mmh_proto_field *message,
                          struct mmh_proto_tensor *tensor)
{
    struct mmh_proto_field field, data = { 0 }, value = find(walk, message, IMMEDIATE_TENSOR);
    uint64_t bytes;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, &value);
    while (mmh_proto_next(&walk->in, &field))
        if ((field.number == TENSOR_FLOATS && tensor->dtype == MMH_DTYPE_F32) ||
            (field.number == TENSOR_BOOLS && tensor->dtype == MMH_DTYPE_BOOL) ||
            (field.number == TENSOR_DOUBLES && tensor->dtype == MMH_DTYPE_F64) ||
            field.number == TENSOR_BYTES)
            data = find(walk, &field, 1);
    mmh_proto_leave(&walk->in, &outer);
    tensor->begin = data.begin;
    tensor->end = data.end;
    if (!data.number || tensor->dimensions > MMH_MAP_DIMENSIONS_MAX ||
        !mmh_shape_bytes(&bytes, tensor->dtype, tensor->dimensions, tensor->shape) ||
        bytes != data.end - data.begin)
        walk->left_out++;
    else
        mmh_proto_add(&walk->in, walk->map, tensor, NULL, walk->memory_max);
}

/* A Value: of an attribute or an input called `key`. */
static void map_value(struct walk *walk, const struct mmh_proto_field *message,
                      struct operation *operation, const struct mmh_proto_field *entry)
{
    struct mmh_proto_field immediate = find(walk, message, VALUE_IMMEDIATE);
    struct mmh_proto_field blob = find(walk, message, VALUE_BLOB);
    struct mmh_proto_field type = find(walk, message, VALUE_TYPE);
    struct mmh_proto_tensor tensor = { .dtype = MMH_DTYPE_COUNT };
    read_type(walk, &type, &tensor);
    if (mmh_stream_failed(&walk->in) || (!immediate.number && !blob.number))
        return;
    if (tensor.dtype == MMH_DTYPE_COUNT) { /* a string, a tuple */
        walk->left_out++;
        return;
    }
    if (!operation->name) {
        struct mmh_proto_field kind = find(walk, operation->message, OPERATION_TYPE);
        struct mmh_proto_field output = find(walk, operation->message, OPERATION_OUTPUT);
        operation->constant = mmh_proto_equals(&walk->in, &kind, "const");
        operation->name = find_name(walk, &output, 1, "operation");
    }
    const char *key = find_name(walk, entry, MAP_KEY, "");
    tensor.name = operation->constant && strcmp(key, "val") == 0
                    ? operation->name
                    : join(walk, join(walk, operation->name, "."), key);
    if (blob.number)
        map_blob(walk, &blob, &tensor);
    else
        map_immediate(walk, &immediate, &tensor);
}

static void map_input(struct walk *walk, const struct mmh_proto_field *entry,
                      struct operation *operation)
{
    struct mmh_proto_field argument = find(walk, entry, MAP_VALUE);
    struct mmh_proto_field binding = find(walk, &argument, ARGUMENT_BINDING);
    struct mmh_proto_field value = find(walk, &binding, BINDING_VALUE);
    if (value.number)
        map_value(walk, &value, operation, entry);
}

static void map_block(struct walk *walk, const struct mmh_proto_field *message);

static void map_operation(struct walk *walk, const struct mmh_proto_field *message)
{
    struct operation operation = { .message = message };
    struct mmh_proto_field field;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    while (mmh_proto_next(&walk->in, &field)) {
        if (mmh_proto_is_bytes(&field, OPERATION_BLOCK)) {
            map_block(walk, &field);
        } else if (mmh_proto_is_bytes(&field, OPERATION_INPUT)) {
            map_input(walk, &field, &operation);
        } else if (mmh_proto_is_bytes(&field, OPERATION_ATTRIBUTE)) {
            struct mmh_proto_field value = find(walk, &field, MAP_VALUE);
            if (value.number)
                map_value(walk, &value, &operation, &field);
        }
    }
    mmh_proto_leave(&walk->in, &outer);
}

static void map_block(struct walk *walk, const struct mmh_proto_field *message)
{
    struct mmh_proto_field field;
    struct mmh_proto_place outer;
    if (!enter(walk, &outer, message))
        return;
    while (mmh_proto_next(&walk->in, &field))
        if (mmh_proto_is_bytes(&field, BLOCK_OPERATION))
            map_operation(walk, &field);
    leave(walk, &outer);
}

static void map_model(struct walk *walk, const struct mmh_proto_field *message);

/* Add what `add` finds, with "<name>/" before the names. */
static void map_named(struct walk *walk, const char *name, const struct mmh_proto_field *message,
                      void (*add)(struct walk *walk, const struct mmh_proto_field *message))
{
    struct mmh_map_mark outside;
    const char *prefix = *name ? join(walk, name, "/") : "";
    if (mmh_stream_failed(&walk->in))
        return;
    walk->in.status = mmh_extent_map_enter(&outside, walk->map, 0, walk->map->file_bytes, prefix,
                                           &walk->in.error);
    if (walk->in.status)
        return;
    add(walk, message);
    mmh_extent_map_leave(walk->map, &outside);
}

/* Its blocks: one for each version of the operations. The first has the plain names. */
static void map_function(struct walk *walk, const struct mmh_proto_field *message)
{
    struct mmh_proto_field field;
    bool first = true;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    while (mmh_proto_next(&walk->in, &field)) {
        if (!mmh_proto_is_bytes(&field, FUNCTION_BLOCK))
            continue;
        struct mmh_proto_field block = find(walk, &field, MAP_VALUE);
        map_named(walk, first ? "" : find_name(walk, &field, MAP_KEY, "block"), &block, map_block);
        first = false;
    }
    mmh_proto_leave(&walk->in, &outer);
}

static void map_program(struct walk *walk, const struct mmh_proto_field *message)
{
    struct mmh_proto_field field;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    while (mmh_proto_next(&walk->in, &field)) {
        if (!mmh_proto_is_bytes(&field, PROGRAM_FUNCTION))
            continue;
        const char *name = find_name(walk, &field, MAP_KEY, "main");
        struct mmh_proto_field function = find(walk, &field, MAP_VALUE);
        map_named(walk, strcmp(name, "main") == 0 ? "" : name, &function, map_function);
    }
    mmh_proto_leave(&walk->in, &outer);
}

/* ---- models ---- */

/* Its models get their names before those of their tensors. */
static void map_pipeline(struct walk *walk, const struct mmh_proto_field *message)
{
    struct mmh_proto_field field, name;
    struct mmh_stream names; /* second reader: names and models stand in two rows */
    struct mmh_proto_place outer;
    unsigned number = 0;
    if (!enter(walk, &outer, message))
        return;
    mmh_stream_init(&names, walk->in.source, message->begin, message->end);
    while (mmh_proto_next(&walk->in, &field)) {
        if (!mmh_proto_is_bytes(&field, PIPELINE_MODEL))
            continue;
        const char *called = NULL;
        while (!called && mmh_proto_next(&names, &name))
            if (mmh_proto_is_bytes(&name, PIPELINE_NAME))
                called = mmh_proto_string(&walk->in, &name, walk->map->arena);
        char place[32];
        snprintf(place, sizeof place, "models[%u]", number++);
        map_named(walk, called && *called ? called : place, &field, map_model);
    }
    leave(walk, &outer);
}

static void map_model(struct walk *walk, const struct mmh_proto_field *message)
{
    struct mmh_proto_field field;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    while (mmh_proto_next(&walk->in, &field)) {
        struct mmh_proto_field pipeline;
        if (!is_type(&field))
            continue;
        switch (field.number) {
        case MODEL_PIPELINE_CLASSIFIER:
        case MODEL_PIPELINE_REGRESSOR:
            pipeline = find(walk, &field, 1);
            map_pipeline(walk, &pipeline);
            break;
        case MODEL_PIPELINE:
            map_pipeline(walk, &field);
            break;
        case MODEL_NETWORK:
        case MODEL_NETWORK_CLASSIFIER:
        case MODEL_NETWORK_REGRESSOR:
            map_network(walk, &field);
            break;
        case MODEL_PROGRAM:
            map_program(walk, &field);
            break;
        default:
            break;
        }
    }
    mmh_proto_leave(&walk->in, &outer);
}

static mmh_status map_file(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                           mmh_error *err)
{
    struct walk walk = { .map = map, .memory_max = mmh_proto_memory_max(map) };
    struct mmh_proto_field whole = { .end = probe->source->bytes };
    mmh_stream_init(&walk.in, probe->source, 0, probe->source->bytes);
    map_model(&walk, &whole);
    if (walk.left_out)
        mmh_extent_map_remark(map,
                              "%llu constants are strings or small integers: kept as plain bytes",
                              (unsigned long long)walk.left_out);
    return mmh_stream_finish(&walk.in, "coreml model", err);
}

const struct mmh_format mmh_format_coreml = {
    .name = "coreml",
    .suffix = ".mlmodel",
    .tells = true,
    .detect = detect,
    .map = map_file,
};
