/*
 * TensorFlow graphs: SavedModel, MetaGraphDef or GraphDef; the constants of nodes and functions.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Variables lie in a bundle (format_tf_bundle.c); a frozen graph has them as constants. A constant
 * that is one value many times, or of small integers, has no bytes of its own here.
 * Source: github.com/tensorflow/tensorflow, tensorflow/core/protobuf/saved_model.proto,
 * meta_graph.proto, tensorflow/core/framework/graph.proto, node_def.proto, tensor.proto.
 */
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "format/tf.h"

enum { OPERATOR_BYTES_MAX = 256 };

enum saved_model_field { SAVED_MODEL_VERSION = 1, SAVED_MODEL_META_GRAPH = 2 };
enum meta_graph_field { META_GRAPH_INFO = 1, META_GRAPH_GRAPH = 2 };
enum graph_field { GRAPH_NODE = 1, GRAPH_LIBRARY = 2 };
enum library_field { LIBRARY_FUNCTION = 1 };
enum function_field { FUNCTION_SIGNATURE = 1, FUNCTION_NODE = 3 };
enum signature_field { SIGNATURE_NAME = 1 };
enum node_field { NODE_NAME = 1, NODE_OPERATOR = 2, NODE_ATTRIBUTE = 5 };
enum entry_field { ENTRY_KEY = 1, ENTRY_VALUE = 2 };
enum value_field { VALUE_LIST = 1, VALUE_TENSOR = 8 /* in a list too */ };
enum tensor_field {
    TENSOR_TYPE = 1,
    TENSOR_SHAPE = 2,
    TENSOR_VERSION = 3,
    TENSOR_CONTENT = 4,
    TENSOR_FLOATS = 5,
    TENSOR_DOUBLES = 6,
    TENSOR_INTS = 7, /* of one byte each: bytes */
    TENSOR_COMPLEX64S = 9,
    TENSOR_BOOLS = 11,
    TENSOR_COMPLEX128S = 12,
    TENSOR_FLOAT8S = 18
};

/* A walk over a file. */
struct walk {
    struct mmh_stream in;
    struct mmh_extent_map *map;
    uint64_t memory_max;
    uint64_t left_out; /* constants without bytes of their own */
};

/* ---- what a file is ---- */

enum kind { KIND_NONE, KIND_SAVED_MODEL, KIND_META_GRAPH, KIND_GRAPH };

/* Whether the payload reads as the name of an operator: "Const", "Foo>Bar". */
static bool is_operator(struct mmh_stream *in, const struct mmh_proto_field *field)
{
    uint64_t bytes = field->end - field->begin;
    bool good = bytes && bytes <= OPERATOR_BYTES_MAX;
    struct mmh_proto_place outer = mmh_proto_enter(in, field);
    while (good && mmh_stream_left(in)) {
        uint8_t c = mmh_stream_u8(in);
        good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || c == '>' || c == '.' || c == '-' || c == '/';
    }
    mmh_proto_leave(in, &outer);
    return good;
}

/* Whether a message reads as a NodeDef: it begins with a name and an operator. */
static bool is_node(struct mmh_stream *in, const struct mmh_proto_field *message)
{
    struct mmh_proto_field field;
    struct mmh_proto_place outer = mmh_proto_enter(in, message);
    bool named = mmh_proto_next(in, &field) && mmh_proto_is_bytes(&field, NODE_NAME) &&
                 field.end > field.begin;
    bool good = named && mmh_proto_next(in, &field) && mmh_proto_is_bytes(&field, NODE_OPERATOR) &&
                is_operator(in, &field);
    mmh_proto_leave(in, &outer);
    return good;
}

/* The first field of that number in a message, bytes; number 0: none among its first fields. */
static struct mmh_proto_field find(struct mmh_stream *in, const struct mmh_proto_field *message,
                                   uint32_t number)
{
    struct mmh_proto_field field, found = { 0 };
    struct mmh_proto_place outer = mmh_proto_enter(in, message);
    for (unsigned i = 0; i < MMH_PROTO_LOOK_FIELDS && mmh_proto_next(in, &field); i++)
        if (mmh_proto_is_bytes(&field, number)) {
            found = field;
            break;
        }
    mmh_proto_leave(in, &outer);
    return found;
}

static bool is_graph(struct mmh_stream *in, const struct mmh_proto_field *message)
{
    struct mmh_proto_field node = find(in, message, GRAPH_NODE);
    return node.number && is_node(in, &node);
}

static bool is_meta_graph(struct mmh_stream *in, const struct mmh_proto_field *message)
{
    struct mmh_proto_field graph = find(in, message, META_GRAPH_GRAPH);
    return graph.number && is_graph(in, &graph);
}

static enum kind kind_of(const mmh_source *source)
{
    static const struct mmh_proto_known saved_model[] = {
        { SAVED_MODEL_VERSION, MMH_PROTO_VARINT, true },
        { SAVED_MODEL_META_GRAPH, MMH_PROTO_BYTES, true },
    };
    static const struct mmh_proto_known graph[] = {
        { GRAPH_NODE, MMH_PROTO_BYTES, true },
        { GRAPH_LIBRARY, MMH_PROTO_BYTES, false },
        { 4, MMH_PROTO_BYTES, false }, /* versions */
        { 5, MMH_PROTO_BYTES, false }, /* debug_info */
    };
    static const struct mmh_proto_known meta_graph[] = {
        { META_GRAPH_INFO, MMH_PROTO_BYTES, true },
        { META_GRAPH_GRAPH, MMH_PROTO_BYTES, true },
        { 3, MMH_PROTO_BYTES, false }, /* saver_def */
        { 4, MMH_PROTO_BYTES, false }, /* collection_def */
        { 5, MMH_PROTO_BYTES, false }, /* signature_def */
    };
    struct mmh_proto_field whole = { .end = source->bytes };
    struct mmh_stream in;
    mmh_stream_init(&in, source, 0, source->bytes);
    if (mmh_proto_looks_like(source, saved_model, MMH_COUNT_OF(saved_model), false)) {
        struct mmh_proto_field first = find(&in, &whole, SAVED_MODEL_META_GRAPH);
        return is_meta_graph(&in, &first) ? KIND_SAVED_MODEL : KIND_NONE;
    }
    if (mmh_proto_looks_like(source, graph, MMH_COUNT_OF(graph), false) && is_graph(&in, &whole))
        return KIND_GRAPH;
    mmh_stream_init(&in, source, 0, source->bytes); /* may have failed */
    return mmh_proto_looks_like(source, meta_graph, MMH_COUNT_OF(meta_graph), false) &&
                   is_meta_graph(&in, &whole)
             ? KIND_META_GRAPH
             : KIND_NONE;
}

static bool detect(const struct mmh_format_probe *probe)
{
    return kind_of(probe->source) != KIND_NONE;
}

/* ---- constants ---- */

/* Whether numbers of that field lie as the elements do, each of whole bytes. */
static bool takes(const struct mmh_proto_field *field, mmh_dtype dtype)
{
    switch (field->number) {
    case TENSOR_CONTENT:
        return true;
    case TENSOR_FLOATS:
        return dtype == MMH_DTYPE_F32;
    case TENSOR_DOUBLES:
        return dtype == MMH_DTYPE_F64;
    case TENSOR_COMPLEX64S:
        return dtype == MMH_DTYPE_C64;
    case TENSOR_COMPLEX128S:
        return dtype == MMH_DTYPE_C128;
    default: /* varints: as many bytes as elements means one byte each */
        return mmh_dtype_bits(dtype) <= 8;
    }
}

static void map_tensor(struct walk *walk, const struct mmh_proto_field *message, const char *name)
{
    struct mmh_proto_tensor tensor = { .name = name, .dtype = MMH_DTYPE_COUNT };
    struct mmh_proto_field field, data = { .begin = message->end, .end = message->end };
    unsigned pieces = 0;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    while (mmh_proto_next(&walk->in, &field)) {
        if (field.number == TENSOR_TYPE) {
            tensor.dtype = mmh_tf_dtype(field.value);
        } else if (mmh_proto_is_bytes(&field, TENSOR_SHAPE)) {
            mmh_tf_read_shape(&walk->in, &field, &tensor);
        } else if (field.number != TENSOR_VERSION && (field.end > field.begin)) {
            data = field;
            pieces++;
        }
    }
    mmh_proto_leave(&walk->in, &outer);
    tensor.begin = data.begin;
    tensor.end = data.end;
    if (pieces > 1 || (pieces && data.wire != MMH_PROTO_BYTES) ||
        !mmh_tf_fits(&tensor, data.end - data.begin) || (pieces && !takes(&data, tensor.dtype)))
        walk->left_out++;
    else
        mmh_proto_add(&walk->in, walk->map, &tensor, NULL, walk->memory_max);
}

static const char *join(struct walk *walk, const char *name, const char *rest)
{
    return mmh_proto_join(&walk->in, walk->map->arena, name, rest, walk->memory_max);
}

/* A node's attribute, and what its tensors are called once that is known: NULL until then. */
struct attribute {
    const struct mmh_proto_field *node;
    struct mmh_proto_field entry;
    const char *node_name, *name;
};

/* What a constant is called: as its node, as that is what it is; any other attribute is named too. */
static const char *attribute_name(struct walk *walk, struct attribute *attribute)
{
    struct mmh_arena *arena = walk->map->arena;
    if (attribute->name)
        return attribute->name;
    if (!attribute->node_name) {
        char *name = mmh_proto_find_string(&walk->in, attribute->node, NODE_NAME, arena);
        attribute->node_name = name && *name ? name : "node";
    }
    char *key = mmh_proto_find_string(&walk->in, &attribute->entry, ENTRY_KEY, arena);
    attribute->name = key && strcmp(key, "value") != 0
                        ? join(walk, join(walk, attribute->node_name, "."), key)
                        : attribute->node_name;
    return attribute->name;
}

/* The tensors of an AttrValue, or of a list in one. */
static void map_value(struct walk *walk, struct attribute *attribute,
                      const struct mmh_proto_field *message, bool list)
{
    struct mmh_proto_field field;
    unsigned number = 0;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    while (mmh_proto_next(&walk->in, &field)) {
        if (mmh_proto_is_bytes(&field, VALUE_TENSOR)) {
            const char *name = attribute_name(walk, attribute);
            char place[16];
            snprintf(place, sizeof place, "[%u]", number++);
            map_tensor(walk, &field, list ? join(walk, name, place) : name);
        } else if (mmh_proto_is_bytes(&field, VALUE_LIST) && !list) {
            map_value(walk, attribute, &field, true);
        }
    }
    mmh_proto_leave(&walk->in, &outer);
}

static void map_node(struct walk *walk, const struct mmh_proto_field *node)
{
    struct attribute attribute = { .node = node };
    struct mmh_proto_field field;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, node), outside;
    while (mmh_proto_next(&walk->in, &attribute.entry)) {
        if (!mmh_proto_is_bytes(&attribute.entry, NODE_ATTRIBUTE))
            continue;
        attribute.name = NULL;
        outside = mmh_proto_enter(&walk->in, &attribute.entry);
        while (mmh_proto_next(&walk->in, &field))
            if (mmh_proto_is_bytes(&field, ENTRY_VALUE))
                map_value(walk, &attribute, &field, false);
        mmh_proto_leave(&walk->in, &outside);
    }
    mmh_proto_leave(&walk->in, &outer);
}

/* ---- graphs ---- */

/* Add what `add` finds, with a prefix to the names. */
static void map_prefixed(struct walk *walk, const char *prefix,
                         const struct mmh_proto_field *message,
                         void (*add)(struct walk *walk, const struct mmh_proto_field *message))
{
    struct mmh_map_mark outside;
    if (mmh_stream_failed(&walk->in))
        return;
    walk->in.status = mmh_extent_map_enter(&outside, walk->map, 0, walk->map->file_bytes, prefix,
                                           &walk->in.error);
    if (walk->in.status)
        return;
    add(walk, message);
    mmh_extent_map_leave(walk->map, &outside);
}

static void map_function_nodes(struct walk *walk, const struct mmh_proto_field *message)
{
    struct mmh_proto_field field;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    while (mmh_proto_next(&walk->in, &field))
        if (mmh_proto_is_bytes(&field, FUNCTION_NODE))
            map_node(walk, &field);
    mmh_proto_leave(&walk->in, &outer);
}

/* A function's nodes have names of their own: they get that of the function before them. */
static void map_library(struct walk *walk, const struct mmh_proto_field *message)
{
    struct mmh_proto_field field;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    while (mmh_proto_next(&walk->in, &field)) {
        if (!mmh_proto_is_bytes(&field, LIBRARY_FUNCTION))
            continue;
        struct mmh_proto_field signature = find(&walk->in, &field, FUNCTION_SIGNATURE);
        char *name = signature.number ? mmh_proto_find_string(&walk->in, &signature, SIGNATURE_NAME,
                                                              walk->map->arena)
                                      : NULL;
        map_prefixed(walk, join(walk, name && *name ? name : "function", "/"), &field,
                     map_function_nodes);
    }
    mmh_proto_leave(&walk->in, &outer);
}

static void map_graph(struct walk *walk, const struct mmh_proto_field *message)
{
    struct mmh_proto_field field;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    while (mmh_proto_next(&walk->in, &field)) {
        if (mmh_proto_is_bytes(&field, GRAPH_NODE))
            map_node(walk, &field);
        else if (mmh_proto_is_bytes(&field, GRAPH_LIBRARY))
            map_library(walk, &field);
    }
    mmh_proto_leave(&walk->in, &outer);
}

static void map_meta_graph(struct walk *walk, const struct mmh_proto_field *message)
{
    struct mmh_proto_field field;
    struct mmh_proto_place outer = mmh_proto_enter(&walk->in, message);
    while (mmh_proto_next(&walk->in, &field))
        if (mmh_proto_is_bytes(&field, META_GRAPH_GRAPH))
            map_graph(walk, &field);
    mmh_proto_leave(&walk->in, &outer);
}

static void map_saved_model(struct walk *walk)
{
    struct mmh_proto_field field;
    unsigned number = 0;
    while (mmh_proto_next(&walk->in, &field)) {
        char prefix[32] = "";
        if (!mmh_proto_is_bytes(&field, SAVED_MODEL_META_GRAPH))
            continue;
        if (number) /* each is a model of its own; there is nearly always one */
            snprintf(prefix, sizeof prefix, "meta_graphs[%u]/", number);
        number++;
        map_prefixed(walk, prefix, &field, map_meta_graph);
    }
}

static mmh_status map_file(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                           mmh_error *err)
{
    struct walk walk = { .map = map, .memory_max = mmh_proto_memory_max(map) };
    struct mmh_proto_field whole = { .end = probe->source->bytes };
    enum kind kind = kind_of(probe->source);
    mmh_stream_init(&walk.in, probe->source, 0, probe->source->bytes);
    if (kind == KIND_SAVED_MODEL)
        map_saved_model(&walk);
    else if (kind == KIND_META_GRAPH)
        map_meta_graph(&walk, &whole);
    else
        map_graph(&walk, &whole);
    if (walk.left_out)
        mmh_extent_map_remark(map,
                              "%llu constants are strings, small integers or one value for all: "
                              "kept as plain bytes",
                              (unsigned long long)walk.left_out);
    return mmh_stream_finish(&walk.in, "tensorflow graph", err);
}

const struct mmh_format mmh_format_tf_graph = {
    .name = "tensorflow graph",
    .detect = detect,
    .map = map_file,
};
