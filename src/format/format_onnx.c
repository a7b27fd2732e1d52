/*
 * ONNX: one ModelProto; its tensors lie in initializers, in attributes of nodes, and in other files.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The file has no magic number: what it is shows in its fields.
 * Source: github.com/onnx/onnx, onnx/onnx.proto and docs/ExternalData.md.
 */
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "format/proto.h"

enum { GRAPHS_MAX = 32 /* one within the other */, VERSION_MAX = 99 };

enum model_field {
    MODEL_IR_VERSION = 1,
    MODEL_GRAPH = 7,
    MODEL_METADATA = 14,
    MODEL_TRAINING = 20,
    MODEL_FUNCTION = 25
};
enum graph_field { GRAPH_NODE = 1, GRAPH_INITIALIZER = 5, GRAPH_SPARSE_INITIALIZER = 15 };
enum node_field { NODE_OUTPUT = 2, NODE_NAME = 3, NODE_OPERATOR = 4, NODE_ATTRIBUTE = 5 };
enum function_field { FUNCTION_NAME = 1, FUNCTION_NODE = 7, FUNCTION_ATTRIBUTE = 11 };
enum training_field { TRAINING_INITIALIZATION = 1, TRAINING_ALGORITHM = 2 };
enum attribute_field {
    ATTRIBUTE_NAME = 1,
    ATTRIBUTE_TENSOR = 5,
    ATTRIBUTE_GRAPH = 6,
    ATTRIBUTE_FLOATS = 7,
    ATTRIBUTE_TENSORS = 10,
    ATTRIBUTE_GRAPHS = 11,
    ATTRIBUTE_SPARSE = 22,
    ATTRIBUTE_SPARSES = 23
};
enum sparse_field { SPARSE_VALUES = 1, SPARSE_INDICES = 2 };
enum tensor_field {
    TENSOR_DIMS = 1,
    TENSOR_TYPE = 2,
    TENSOR_FLOATS = 4,
    TENSOR_INT32S = 5,
    TENSOR_NAME = 8,
    TENSOR_RAW = 9,
    TENSOR_DOUBLES = 10,
    TENSOR_EXTERNAL = 13,
    TENSOR_LOCATION = 14
};
enum entry_field { ENTRY_KEY = 1, ENTRY_VALUE = 2 };

/* A walk over a file. */
struct walk {
    struct mmh_stream in;
    struct mmh_extent_map *map;
    uint64_t memory_max;
    unsigned depth; /* graphs around */
};

static bool detect(const struct mmh_format_probe *probe)
{
    static const struct mmh_proto_known known[] = {
        { MODEL_IR_VERSION, MMH_PROTO_VARINT, true },
        { 2, MMH_PROTO_BYTES, false },  /* producer_name */
        { 3, MMH_PROTO_BYTES, false },  /* producer_version */
        { 4, MMH_PROTO_BYTES, false },  /* domain */
        { 5, MMH_PROTO_VARINT, false }, /* model_version */
        { 6, MMH_PROTO_BYTES, false },  /* doc_string */
        { MODEL_GRAPH, MMH_PROTO_BYTES, true },
        { 8, MMH_PROTO_BYTES, false }, /* opset_import */
        { MODEL_METADATA, MMH_PROTO_BYTES, false },
        { MODEL_TRAINING, MMH_PROTO_BYTES, false },
        { MODEL_FUNCTION, MMH_PROTO_BYTES, false },
    };
    return mmh_proto_looks_like(probe->source, known, MMH_COUNT_OF(known), false);
}

/* TensorProto.DataType as ours; MMH_DTYPE_COUNT: none (a string, a number that none has). */
static mmh_dtype dtype_of(uint64_t data_type)
{
    static const uint8_t dtypes[] = {
        [1] = MMH_DTYPE_F32,          [2] = MMH_DTYPE_U8,           [3] = MMH_DTYPE_I8,
        [4] = MMH_DTYPE_U16,          [5] = MMH_DTYPE_I16,          [6] = MMH_DTYPE_I32,
        [7] = MMH_DTYPE_I64,          [9] = MMH_DTYPE_BOOL,         [10] = MMH_DTYPE_F16,
        [11] = MMH_DTYPE_F64,         [12] = MMH_DTYPE_U32,         [13] = MMH_DTYPE_U64,
        [14] = MMH_DTYPE_C64,         [15] = MMH_DTYPE_C128,        [16] = MMH_DTYPE_BF16,
        [17] = MMH_DTYPE_F8_E4M3,     [18] = MMH_DTYPE_F8_E4M3FNUZ, [19] = MMH_DTYPE_F8_E5M2,
        [20] = MMH_DTYPE_F8_E5M2FNUZ, [21] = MMH_DTYPE_U4,          [22] = MMH_DTYPE_I4,
        [23] = MMH_DTYPE_F4,          [24] = MMH_DTYPE_F8_E8M0,     [25] = MMH_DTYPE_U2,
        [26] = MMH_DTYPE_I2,          [27] = MMH_DTYPE_F6_E2M3,     [28] = MMH_DTYPE_F6_E3M2,
    };
    mmh_dtype dtype = data_type < MMH_COUNT_OF(dtypes) ? (mmh_dtype)dtypes[data_type]
                                                       : MMH_DTYPE_OPAQUE;
    return dtype == MMH_DTYPE_OPAQUE ? MMH_DTYPE_COUNT : dtype;
}

/* ---- tensors ---- */

/* What a TensorProto says. */
struct claim {
    struct mmh_proto_tensor tensor;
    struct mmh_proto_field raw, packed; /* number 0: none */
    unsigned data_fields;               /* other than raw_data */
    bool external;
    const char *file; /* of external data; NULL: not named */
    uint64_t offset, bytes;
    bool has_bytes;
    const char *problem;
};

/* A decimal number in 64 bits, and nothing besides. */
static bool parse_number(uint64_t *value, const char *text)
{
    *value = 0;
    if (!*text)
        return false;
    for (; *text; text++)
        if (*text < '0' || *text > '9' || !mmh_u64_mul(value, *value, 10) ||
            !mmh_u64_add(value, *value, (uint64_t)(*text - '0')))
            return false;
    return true;
}

/* An entry of external_data. */
static void read_external(struct walk *walk, const struct mmh_proto_field *entry,
                          struct claim *claim)
{
    struct mmh_arena *arena = walk->map->arena;
    char *key = mmh_proto_find_string(&walk->in, entry, ENTRY_KEY, arena);
    char *value = key ? mmh_proto_find_string(&walk->in, entry, ENTRY_VALUE, arena) : NULL;
    if (!value) {
        claim->problem = "has an entry of external data that is too long";
        return;
    }
    if (strcmp(key, "location") == 0) {
        while (value[0] == '.' && value[1] == '/')
            value += 2;
        claim->file = value;
    } else if (strcmp(key, "offset") == 0) {
        if (!parse_number(&claim->offset, value))
            claim->problem = "has an offset that is no number";
    } else if (strcmp(key, "length") == 0) {
        claim->has_bytes = parse_number(&claim->bytes, value);
        if (!claim->has_bytes)
            claim->problem = "has a length that is no number";
    }
}

static void read_tensor(struct walk *walk, const struct mmh_proto_field *message,
                        struct claim *claim)
{
    struct mmh_proto_field field;
    struct mmh_proto_tensor *tensor = &claim->tensor;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    *claim = (struct claim){
        .tensor = { .dtype = MMH_DTYPE_COUNT, .begin = message->end, .end = message->end }
    };
    while (mmh_proto_next(&walk->in, &field)) {
        switch (field.number) {
        case TENSOR_DIMS:
            mmh_proto_integers(&walk->in, &field, tensor->shape, &tensor->dimensions,
                               MMH_MAP_DIMENSIONS_MAX);
            break;
        case TENSOR_TYPE:
            tensor->dtype = dtype_of(field.value);
            break;
        case TENSOR_NAME:
            tensor->name = mmh_proto_string(&walk->in, &field, walk->map->arena);
            break;
        case TENSOR_RAW:
            claim->raw = field;
            break;
        case TENSOR_EXTERNAL:
            read_external(walk, &field, claim);
            break;
        case TENSOR_LOCATION:
            claim->external = field.value == 1;
            break;
        case TENSOR_FLOATS:
        case TENSOR_DOUBLES:
        case TENSOR_INT32S:
            claim->packed = field;
            claim->data_fields++;
            break;
        default:
            break;
        }
    }
    mmh_proto_leave(&walk->in, &outer);
}

/* Where the bytes are; false: nowhere one after another, claim->problem says why. */
static bool find_bytes(struct claim *claim, uint64_t bytes)
{
    const struct mmh_proto_field *packed = &claim->packed;
    struct mmh_proto_tensor *tensor = &claim->tensor;
    unsigned bits = mmh_dtype_bits(tensor->dtype);
    if (claim->external) {
        claim->bytes = claim->has_bytes ? claim->bytes : bytes;
        tensor->begin = claim->offset;
        if (!mmh_u64_add(&tensor->end, claim->offset, claim->bytes))
            claim->problem = "has external data whose end overflows";
        else if (!claim->file)
            claim->problem = "does not say in which file its data is";
        return !claim->problem;
    }
    if (claim->raw.number) {
        tensor->begin = claim->raw.begin;
        tensor->end = claim->raw.end;
        claim->problem = claim->raw.wire == MMH_PROTO_BYTES ? NULL : "has bytes that are none";
        return !claim->problem;
    }
    if (!claim->data_fields && !bytes)
        return true;
    claim->problem = "is of numbers that do not lie one after another";
    tensor->begin = packed->begin;
    tensor->end = packed->end;
    /* Each field takes the types that onnx.proto names; varints that take one byte each are the
     * bytes themselves. */
    return claim->data_fields == 1 && packed->wire == MMH_PROTO_BYTES &&
           (packed->number == TENSOR_FLOATS
                ? tensor->dtype == MMH_DTYPE_F32 || tensor->dtype == MMH_DTYPE_C64
            : packed->number == TENSOR_DOUBLES
                ? tensor->dtype == MMH_DTYPE_F64 || tensor->dtype == MMH_DTYPE_C128
                : bits <= 8 && bits != 6 && tensor->end - tensor->begin == bytes);
}

/* `name`: for one that has none. */
static void map_tensor(struct walk *walk, const struct mmh_proto_field *message, const char *name)
{
    struct claim claim;
    uint64_t bytes = 0;
    read_tensor(walk, message, &claim);
    if (mmh_stream_failed(&walk->in))
        return;
    if (!claim.tensor.name || !*claim.tensor.name)
        claim.tensor.name = name;
    if (claim.tensor.dtype == MMH_DTYPE_COUNT)
        claim.problem = "has no element type that we know";
    else if (claim.tensor.dimensions > MMH_MAP_DIMENSIONS_MAX)
        claim.problem = "has more than 64 dimensions";
    else if (!mmh_shape_bytes(&bytes, claim.tensor.dtype, claim.tensor.dimensions,
                              claim.tensor.shape))
        claim.problem = "has a shape whose size overflows";
    if (claim.problem || !find_bytes(&claim, bytes))
        mmh_extent_map_remark_tensor(walk->map, claim.tensor.name, claim.problem);
    else
        mmh_proto_add(&walk->in, walk->map, &claim.tensor, claim.external ? claim.file : NULL,
                      walk->memory_max);
}

static const char *join(struct walk *walk, const char *name, const char *rest)
{
    return mmh_proto_join(&walk->in, walk->map->arena, name, rest, walk->memory_max);
}

/* Values and indices; the values have the name of the whole, the indices seldom one of their own. */
static void map_sparse(struct walk *walk, const struct mmh_proto_field *message, const char *name)
{
    struct mmh_proto_field field, values = { 0 }, indices = { 0 };
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    while (mmh_proto_next(&walk->in, &field)) {
        if (mmh_proto_is_bytes(&field, SPARSE_VALUES))
            values = field;
        else if (mmh_proto_is_bytes(&field, SPARSE_INDICES))
            indices = field;
    }
    mmh_proto_leave(&walk->in, &outer);
    if (values.number) {
        char *own = mmh_proto_find_string(&walk->in, &values, TENSOR_NAME, walk->map->arena);
        name = own && *own ? own : name;
        map_tensor(walk, &values, name);
    }
    if (indices.number)
        map_tensor(walk, &indices, join(walk, name, ".indices"));
}

/* ---- nodes and graphs ---- */

static void map_graph(struct walk *walk, const struct mmh_proto_field *message);

/* Packed floats of an attribute, of no shape but their number. */
static void map_floats(struct walk *walk, const struct mmh_proto_field *field, const char *name)
{
    struct mmh_proto_tensor tensor = { .name = name,
                                       .dtype = MMH_DTYPE_F32,
                                       .dimensions = 1,
                                       .shape = { (field->end - field->begin) / 4 },
                                       .begin = field->begin,
                                       .end = field->end };
    mmh_proto_add(&walk->in, walk->map, &tensor, NULL, walk->memory_max);
}

/* Its tensors are called as the output of the node, which is what a Constant is known by; those of
 * other nodes get the name of the attribute too. */
static void map_attribute(struct walk *walk, const struct mmh_proto_field *message,
                          const char *output, bool constant)
{
    struct mmh_proto_field field;
    const char *name = NULL;
    unsigned number = 0;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    while (mmh_proto_next(&walk->in, &field)) {
        bool graph = field.number == ATTRIBUTE_GRAPH || field.number == ATTRIBUTE_GRAPHS;
        bool list = field.number == ATTRIBUTE_TENSORS || field.number == ATTRIBUTE_SPARSES;
        bool sparse = field.number == ATTRIBUTE_SPARSE || field.number == ATTRIBUTE_SPARSES;
        bool floats = field.number == ATTRIBUTE_FLOATS;
        if (field.wire != MMH_PROTO_BYTES ||
            !(graph || list || sparse || floats || field.number == ATTRIBUTE_TENSOR))
            continue;
        if (graph) {
            map_graph(walk, &field);
            continue;
        }
        if (!name) {
            char *own = mmh_proto_find_string(&walk->in, message, ATTRIBUTE_NAME, walk->map->arena);
            name = constant ? output : join(walk, join(walk, output, "."), own ? own : "");
        }
        const char *called = name;
        if (list) {
            char place[16];
            snprintf(place, sizeof place, "[%u]", number++);
            called = join(walk, name, place);
        }
        if (floats)
            map_floats(walk, &field, called);
        else if (sparse)
            map_sparse(walk, &field, called);
        else
            map_tensor(walk, &field, called);
    }
    mmh_proto_leave(&walk->in, &outer);
}

/* Whether a node has attributes that hold tensors or graphs: most have none. */
static bool holds_tensors(struct walk *walk, const struct mmh_proto_field *attribute)
{
    struct mmh_proto_field field;
    bool found = false;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, attribute);
    while (!found && mmh_proto_next(&walk->in, &field))
        found = field.wire == MMH_PROTO_BYTES &&
                ((field.number >= ATTRIBUTE_TENSOR && field.number <= ATTRIBUTE_FLOATS) ||
                 field.number == ATTRIBUTE_TENSORS || field.number == ATTRIBUTE_GRAPHS ||
                 field.number == ATTRIBUTE_SPARSE || field.number == ATTRIBUTE_SPARSES);
    mmh_proto_leave(&walk->in, &outer);
    return found;
}

static void map_node(struct walk *walk, const struct mmh_proto_field *message)
{
    struct mmh_proto_field field;
    const char *name = NULL;
    bool constant = false;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    while (mmh_proto_next(&walk->in, &field)) {
        if (!mmh_proto_is_bytes(&field, NODE_ATTRIBUTE) || !holds_tensors(walk, &field))
            continue;
        if (!name) { /* once: they may come after the attributes */
            struct mmh_arena *arena = walk->map->arena;
            char *output = mmh_proto_find_string(&walk->in, message, NODE_OUTPUT, arena);
            if (!output || !*output)
                output = mmh_proto_find_string(&walk->in, message, NODE_NAME, arena);
            char *kind = mmh_proto_find_string(&walk->in, message, NODE_OPERATOR, arena);
            constant = kind && strcmp(kind, "Constant") == 0;
            name = output && *output ? output : "node";
        }
        map_attribute(walk, &field, name, constant);
    }
    mmh_proto_leave(&walk->in, &outer);
}

static void map_graph(struct walk *walk, const struct mmh_proto_field *message)
{
    struct mmh_proto_field field;
    if (walk->depth == GRAPHS_MAX) {
        mmh_extent_map_remark(walk->map, "graphs lie too deep in one another: kept as plain bytes");
        return;
    }
    walk->depth++;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    while (mmh_proto_next(&walk->in, &field)) {
        if (mmh_proto_is_bytes(&field, GRAPH_NODE))
            map_node(walk, &field);
        else if (mmh_proto_is_bytes(&field, GRAPH_INITIALIZER))
            map_tensor(walk, &field, "initializer");
        else if (mmh_proto_is_bytes(&field, GRAPH_SPARSE_INITIALIZER))
            map_sparse(walk, &field, "initializer");
    }
    mmh_proto_leave(&walk->in, &outer);
    walk->depth--;
}

/* Its names are its own: they get that of the function before them. */
static void map_function(struct walk *walk, const struct mmh_proto_field *message)
{
    struct mmh_proto_field field;
    struct mmh_map_mark outside;
    struct mmh_extent_map *map = walk->map;
    char *name = mmh_proto_find_string(&walk->in, message, FUNCTION_NAME, map->arena);
    const char *prefix = join(walk, name && *name ? name : "function", "/");
    if (mmh_stream_failed(&walk->in))
        return;
    walk->in.status = mmh_extent_map_enter(&outside, map, 0, map->file_bytes, prefix,
                                           &walk->in.error);
    if (walk->in.status)
        return;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    while (mmh_proto_next(&walk->in, &field)) {
        if (mmh_proto_is_bytes(&field, FUNCTION_NODE))
            map_node(walk, &field);
        else if (mmh_proto_is_bytes(&field, FUNCTION_ATTRIBUTE))
            map_attribute(walk, &field, "default", false);
    }
    mmh_proto_leave(&walk->in, &outer);
    mmh_extent_map_leave(map, &outside);
}

/* ---- the model ---- */

static void map_training(struct walk *walk, const struct mmh_proto_field *message)
{
    struct mmh_proto_field field;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    while (mmh_proto_next(&walk->in, &field))
        if (mmh_proto_is_bytes(&field, TRAINING_INITIALIZATION) ||
            mmh_proto_is_bytes(&field, TRAINING_ALGORITHM))
            map_graph(walk, &field);
    mmh_proto_leave(&walk->in, &outer);
}

static void map_metadata(struct walk *walk, const struct mmh_proto_field *entry)
{
    struct mmh_arena *arena = walk->map->arena;
    char *key = mmh_proto_find_string(&walk->in, entry, ENTRY_KEY, arena);
    char *value = key ? mmh_proto_find_string(&walk->in, entry, ENTRY_VALUE, arena) : NULL;
    if (value)
        walk->in.status = mmh_extent_map_add_metadata(walk->map, key, value, &walk->in.error);
    else if (!mmh_stream_failed(&walk->in))
        mmh_extent_map_remark(walk->map, "an entry of metadata_props is too long: left out");
}

static mmh_status map_file(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                           mmh_error *err)
{
    struct walk walk = { .map = map, .memory_max = mmh_proto_memory_max(map) };
    struct mmh_proto_field field;
    mmh_stream_init(&walk.in, probe->source, 0, probe->source->bytes);
    while (mmh_proto_next(&walk.in, &field)) {
        if (mmh_proto_is_varint(&field, MODEL_IR_VERSION) &&
            (!field.value || field.value > VERSION_MAX))
            return mmh_fail(err, MMH_E_UNSUPPORTED, "onnx model of ir_version %llu",
                            (unsigned long long)field.value);
        if (mmh_proto_is_bytes(&field, MODEL_GRAPH))
            map_graph(&walk, &field);
        else if (mmh_proto_is_bytes(&field, MODEL_FUNCTION))
            map_function(&walk, &field);
        else if (mmh_proto_is_bytes(&field, MODEL_TRAINING))
            map_training(&walk, &field);
        else if (mmh_proto_is_bytes(&field, MODEL_METADATA))
            map_metadata(&walk, &field);
    }
    return mmh_stream_finish(&walk.in, "onnx model", err);
}

const struct mmh_format mmh_format_onnx = {
    .name = "onnx",
    .suffix = ".onnx",
    .tells = true,
    .detect = detect,
    .map = map_file,
};
