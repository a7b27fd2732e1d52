/*
 * ONNX, TensorFlow and CoreML: what their messages say is found, and whatever they say does no harm.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Files are made here, message by message; the bytes of a tensor are all the same, one value for each.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/cursor.h"
#include "format/proto.h"
#include "counting.h"
#include "map_check.h"

/* ---- messages ---- */

/* One that is being made. */
struct message {
    struct mmh_buffer buffer;
};

static struct message message(void)
{
    struct message made;
    mmh_buffer_init(&made.buffer, NULL);
    return made;
}

static void put_key(struct message *to, uint32_t number, unsigned wire)
{
    mmh_buffer_varint(&to->buffer, (uint64_t)number << 3 | wire);
}

static void put_varint(struct message *to, uint32_t number, uint64_t value)
{
    put_key(to, number, MMH_PROTO_VARINT);
    mmh_buffer_varint(&to->buffer, value);
}

static void put_bytes(struct message *to, uint32_t number, const void *data, size_t bytes)
{
    put_key(to, number, MMH_PROTO_BYTES);
    mmh_buffer_varint(&to->buffer, bytes);
    mmh_buffer_bytes(&to->buffer, data, bytes);
}

static void put_text(struct message *to, uint32_t number, const char *text)
{
    put_bytes(to, number, text, strlen(text));
}

/* `bytes` bytes that are all `tag`. */
static void put_tag(struct message *to, uint32_t number, char tag, size_t bytes)
{
    put_key(to, number, MMH_PROTO_BYTES);
    mmh_buffer_varint(&to->buffer, bytes);
    for (size_t i = 0; i < bytes; i++)
        mmh_buffer_u8(&to->buffer, (uint8_t)tag);
}

/* Takes the other message's memory. */
static void put_message(struct message *to, uint32_t number, struct message *part)
{
    put_bytes(to, number, part->buffer.data, part->buffer.bytes);
    mmh_buffer_release(&part->buffer);
}

/* ---- files in memory, mapped ---- */

struct subject {
    struct mmh_buffer file;
    struct mmh_arena arena;
    struct mmh_extent_map map;
    const char *name;
};

static struct subject subject_of(struct message *made, const char *name)
{
    struct subject subject = { .name = name, .file = made->buffer };
    mmh_arena_init(&subject.arena, &counting);
    return subject;
}

static void map_bytes(struct subject *subject, const void *data, size_t bytes)
{
    mmh_error err = { 0 };
    mmh_source source = mmh_source_of_memory(data, bytes, subject->name);
    mmh_extent_map_init(&subject->map, &subject->arena, bytes);
    if (mmh_format_detect_and_map(&subject->map, &source, NULL, &err))
        fail_msg("%s: %s", subject->name, err.message);
    const char *problem = map_problem(&subject->map);
    if (problem)
        fail_msg("%s: %s", subject->name, problem);
}

static struct subject map(struct message *made, const char *name)
{
    struct subject subject = subject_of(made, name);
    map_bytes(&subject, subject.file.data, subject.file.bytes);
    return subject;
}

static void end(struct subject *subject)
{
    mmh_buffer_release(&subject->file);
    mmh_arena_release(&subject->arena);
    assert_int_equal(allocated, 0);
}

static void list_tensor(char *text, size_t room, size_t *used, const struct mmh_map_tensor *tensor)
{
    *used += (size_t)snprintf(text + *used, room - *used, "%s %s%s [", tensor->name,
                              tensor->big_endian ? ">" : "", mmh_dtype_name(tensor->dtype));
    for (uint32_t d = 0; d < tensor->dimensions; d++)
        *used += (size_t)snprintf(text + *used, room - *used, "%s%llu", d ? "," : "",
                                  (unsigned long long)tensor->shape[d]);
    *used += (size_t)snprintf(text + *used, room - *used, "]");
    assert_true(*used < room);
}

/* Lines "name DTYPE [shape] tag", and for those elsewhere "name DTYPE [shape] file offset bytes". */
static void assert_map(const struct subject *subject, enum mmh_format_id format,
                       const char *expected)
{
    static char text[1 << 16];
    size_t used = 0;
    *text = '\0';
    for (size_t i = 0; i < subject->map.tensor_count; i++) {
        const struct mmh_map_tensor *tensor = &subject->map.tensors[i];
        list_tensor(text, sizeof text, &used, tensor);
        const uint8_t *data = subject->file.data + tensor->offset;
        for (uint64_t b = 1; b < tensor->bytes; b++)
            assert_int_equal(data[b], data[0]);
        used += (size_t)snprintf(text + used, sizeof text - used, " %c\n",
                                 tensor->bytes ? data[0] : '-');
    }
    for (size_t i = 0; i < subject->map.elsewhere_count; i++) {
        const struct mmh_map_elsewhere *elsewhere = &subject->map.elsewhere[i];
        list_tensor(text, sizeof text, &used, &elsewhere->tensor);
        used += (size_t)snprintf(text + used, sizeof text - used, " %s %llu %llu\n",
                                 elsewhere->file, (unsigned long long)elsewhere->tensor.offset,
                                 (unsigned long long)elsewhere->tensor.bytes);
    }
    assert_string_equal(text, expected);
    assert_int_equal(subject->map.format, format);
}

static void assert_remark(const struct subject *subject, const char *part)
{
    for (size_t i = 0; i < subject->map.remark_count && i < MMH_MAP_REMARKS_MAX; i++)
        if (strstr(subject->map.remarks[i], part))
            return;
    fail_msg("%s: no remark says \"%s\"", subject->name, part);
}

/* ---- ONNX ---- */

enum { ONNX_FLOAT = 1, ONNX_UINT8 = 2, ONNX_INT64 = 7, ONNX_BOOL = 9, ONNX_FLOAT16 = 10 };

/* A TensorProto of one dimension without data; no name: "". */
static struct message onnx_tensor(const char *name, unsigned type, uint64_t elements)
{
    struct message made = message();
    put_varint(&made, 1, elements);
    put_varint(&made, 2, type);
    if (*name)
        put_text(&made, 8, name);
    return made;
}

static struct message onnx_raw(const char *name, unsigned type, uint64_t elements, char tag,
                               size_t bytes)
{
    struct message made = onnx_tensor(name, type, elements);
    put_tag(&made, 9, tag, bytes);
    return made;
}

static void put_entry(struct message *to, uint32_t number, const char *key, const char *value)
{
    struct message entry = message();
    put_text(&entry, 1, key);
    put_text(&entry, 2, value);
    put_message(to, number, &entry);
}

/* A node with one attribute, which the caller has begun. */
static struct message onnx_node(const char *output, const char *kind, struct message *attribute,
                                const char *attribute_name)
{
    struct message node = message();
    put_text(attribute, 1, attribute_name);
    put_message(&node, 5, attribute); /* before the names: order is free */
    put_text(&node, 2, output);
    put_text(&node, 4, kind);
    return node;
}

/* A ModelProto around a graph. */
static struct message onnx_model(struct message *graph)
{
    struct message model = message();
    put_varint(&model, 1, 10);
    put_text(&model, 2, "test");
    put_message(&model, 7, graph);
    return model;
}

/* A bit of everything that holds tensors. */
static struct message onnx_everything(void)
{
    struct message graph = message(), tensor, part, attribute, node;
    tensor = onnx_raw("raw", ONNX_FLOAT, 3, 'a', 12);
    put_message(&graph, 5, &tensor);

    tensor = message();                       /* packed dimensions, packed floats */
    put_bytes(&tensor, 1, "\x02\x83\x00", 3); /* 3 is not as short as it could be */
    put_varint(&tensor, 2, ONNX_FLOAT);
    put_tag(&tensor, 4, 'b', 24);
    put_text(&tensor, 8, "floats");
    put_message(&graph, 5, &tensor);

    tensor = onnx_tensor("flags", ONNX_BOOL, 5);
    put_tag(&tensor, 5, '\1', 5);
    put_message(&graph, 5, &tensor);
    tensor = onnx_tensor("empty", ONNX_FLOAT, 0);
    put_message(&graph, 5, &tensor);
    tensor = onnx_tensor("doubles", 11, 2);
    put_tag(&tensor, 10, 'c', 16);
    put_message(&graph, 5, &tensor);
    tensor = onnx_raw("nibbles", 22, 3, 'd', 2);
    put_message(&graph, 5, &tensor);

    part = message(); /* sparse: values and indices */
    tensor = onnx_raw("sparse", ONNX_FLOAT16, 2, 'e', 4);
    put_message(&part, 1, &tensor);
    tensor = onnx_raw("", ONNX_INT64, 2, 'f', 16);
    put_message(&part, 2, &tensor);
    put_varint(&part, 3, 100);
    put_message(&graph, 15, &part);

    attribute = message();
    tensor = onnx_raw("", ONNX_FLOAT, 1, 'g', 4);
    put_message(&attribute, 5, &tensor);
    node = onnx_node("constant", "Constant", &attribute, "value");
    put_message(&graph, 1, &node);

    attribute = message();
    tensor = onnx_raw("", ONNX_FLOAT, 1, 'h', 4);
    put_message(&attribute, 10, &tensor);
    tensor = onnx_raw("", ONNX_FLOAT, 1, 'i', 4);
    put_message(&attribute, 10, &tensor);
    put_tag(&attribute, 7, 'j', 8);
    node = onnx_node("other", "Custom", &attribute, "list");
    put_message(&graph, 1, &node);

    part = message(); /* a branch */
    tensor = onnx_raw("inner", ONNX_UINT8, 2, 'k', 2);
    put_message(&part, 5, &tensor);
    attribute = message();
    put_message(&attribute, 6, &part);
    node = onnx_node("if", "If", &attribute, "then_branch");
    put_message(&graph, 1, &node);

    struct message model = onnx_model(&graph);
    part = message();
    put_text(&part, 1, "Function");
    attribute = message();
    tensor = onnx_raw("", ONNX_UINT8, 1, 'l', 1);
    put_message(&attribute, 5, &tensor);
    node = onnx_node("constant", "Constant", &attribute, "value");
    put_message(&part, 7, &node);
    put_message(&model, 25, &part);

    part = message();
    graph = message();
    tensor = onnx_raw("learned", ONNX_UINT8, 1, 'm', 1);
    put_message(&graph, 5, &tensor);
    put_message(&part, 1, &graph);
    put_message(&model, 20, &part);
    put_entry(&model, 14, "author", "us");
    return model;
}

static const char onnx_everything_expected[] = "raw F32 [3] a\n"
                                               "floats F32 [2,3] b\n"
                                               "flags BOOL [5] \1\n"
                                               "empty F32 [0] -\n"
                                               "doubles F64 [2] c\n"
                                               "nibbles I4 [3] d\n"
                                               "sparse F16 [2] e\n"
                                               "sparse.indices I64 [2] f\n"
                                               "constant F32 [1] g\n"
                                               "other.list[0] F32 [1] h\n"
                                               "other.list[1] F32 [1] i\n"
                                               "other.list F32 [2] j\n"
                                               "inner U8 [2] k\n"
                                               "Function/constant U8 [1] l\n"
                                               "learned U8 [1] m\n";

static void test_onnx_tensors_are_found_wherever_they_lie(void **state)
{
    struct message model = onnx_everything();
    struct subject s = map(&model, "m.onnx");
    (void)state;
    assert_map(&s, MMH_FORMAT_ONNX, onnx_everything_expected);
    assert_int_equal(s.map.remark_count, 0);
    assert_int_equal(s.map.metadata_count, 1);
    assert_string_equal(s.map.metadata[0].key, "author");
    assert_string_equal(s.map.metadata[0].value, "us");
    end(&s);
}

static void test_onnx_fields_of_another_time_are_passed_over(void **state)
{
    struct message graph = message(), tensor = message(), model;
    (void)state;
    put_varint(&tensor, 1, 4);
    put_key(&tensor, 99, MMH_PROTO_GROUP); /* a group in a group */
    put_varint(&tensor, 1, 7);
    put_key(&tensor, 5, MMH_PROTO_GROUP);
    put_text(&tensor, 9, "not the data");
    put_key(&tensor, 5, 4);
    put_key(&tensor, 99, 4);
    put_key(&tensor, 98, MMH_PROTO_FIXED64);
    mmh_buffer_u64(&tensor.buffer, UINT64_MAX);
    put_key(&tensor, 97, MMH_PROTO_FIXED32);
    mmh_buffer_u32(&tensor.buffer, UINT32_MAX);
    put_varint(&tensor, 2, ONNX_UINT8);
    put_text(&tensor, 8, "a");
    put_bytes(&tensor, 9, "zz", 2); /* the last wins */
    put_tag(&tensor, 9, 'x', 4);
    put_message(&graph, 5, &tensor);
    put_text(&graph, 77, "whatever");
    model = onnx_model(&graph);
    put_bytes(&model, 2047, "abc", 3);
    struct subject s = map(&model, "m");
    assert_map(&s, MMH_FORMAT_ONNX, "a U8 [4] x\n");
    end(&s);
}

static struct message onnx_external(const char *location, const char *offset, const char *length)
{
    struct message tensor = onnx_tensor("t", ONNX_FLOAT, 4);
    put_entry(&tensor, 13, "location", location);
    if (offset)
        put_entry(&tensor, 13, "offset", offset);
    if (length)
        put_entry(&tensor, 13, "length", length);
    put_entry(&tensor, 13, "checksum", "0");
    put_varint(&tensor, 14, 1);
    struct message graph = message();
    put_message(&graph, 5, &tensor);
    return onnx_model(&graph);
}

static void test_onnx_external_data_is_told_of(void **state)
{
    static const struct {
        const char *location, *offset, *length, *expected, *remark;
    } cases[] = {
        { "x.data", "4096", "16", "t F32 [4] x.data 4096 16\n", NULL },
        { "./sub/x", NULL, NULL, "t F32 [4] sub/x 0 16\n", NULL },
        { "x", "18446744073709551599", "16", "t F32 [4] x 18446744073709551599 16\n", NULL },
        { "x", "18446744073709551600", "16", "", "overflows" },
        { "x", "99999999999999999999", "16", "", "offset that is no number" },
        { "x", "-1", "16", "", "offset that is no number" },
        { "x", "0", "", "", "length that is no number" },
        { "x", "0", "12", "", "not agree" },
        { "../x", "0", "16", "", "not safe" },
        { "/etc/passwd", "0", "16", "", "not safe" },
        { "a\\b", "0", "16", "", "not safe" },
        { "", "0", "16", "", "not safe" },
    };
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(cases); i++) {
        struct message model = onnx_external(cases[i].location, cases[i].offset, cases[i].length);
        struct subject s = map(&model, "m.onnx");
        assert_map(&s, MMH_FORMAT_ONNX, cases[i].expected);
        if (cases[i].remark)
            assert_remark(&s, cases[i].remark);
        else
            assert_int_equal(s.map.remark_count, 0);
        end(&s);
    }
}

static void test_onnx_odd_tensors_are_left_out_alone(void **state)
{
    struct message graph = message(), tensor, model;
    (void)state;
    tensor = onnx_raw("short", ONNX_FLOAT, 3, 'x', 11);
    put_message(&graph, 5, &tensor);
    tensor = onnx_tensor("strings", 8, 1);
    put_text(&tensor, 6, "text");
    put_message(&graph, 5, &tensor);
    tensor = onnx_tensor("varints", ONNX_FLOAT16, 2);
    put_bytes(&tensor, 5, "\x80\x78\x80\x78", 4);
    put_message(&graph, 5, &tensor);
    tensor = onnx_tensor("unpacked", ONNX_FLOAT, 1);
    put_key(&tensor, 4, MMH_PROTO_FIXED32);
    mmh_buffer_u32(&tensor.buffer, 0);
    put_message(&graph, 5, &tensor);
    tensor = onnx_tensor("pieces", ONNX_FLOAT, 2);
    put_tag(&tensor, 4, 'x', 4);
    put_tag(&tensor, 4, 'x', 4);
    put_message(&graph, 5, &tensor);
    tensor = onnx_raw("negative", ONNX_UINT8, UINT64_MAX, 'x', 1);
    put_message(&graph, 5, &tensor);
    tensor = onnx_raw("overflow", ONNX_FLOAT, (uint64_t)1 << 62, 'x', 1);
    put_message(&graph, 5, &tensor);
    tensor = onnx_tensor("nowhere", ONNX_FLOAT, 2);
    put_message(&graph, 5, &tensor);
    tensor = onnx_tensor("no file", ONNX_FLOAT, 2);
    put_varint(&tensor, 14, 1);
    put_message(&graph, 5, &tensor);
    tensor = onnx_raw("deep", ONNX_UINT8, 1, 'x', 1);
    for (unsigned d = 0; d < 70; d++)
        put_varint(&tensor, 1, 1);
    put_message(&graph, 5, &tensor);
    tensor = onnx_raw("good", ONNX_UINT8, 2, 'y', 2);
    put_message(&graph, 5, &tensor);
    model = onnx_model(&graph);
    struct subject s = map(&model, "m.onnx");
    assert_map(&s, MMH_FORMAT_ONNX, "good U8 [2] y\n");
    assert_int_equal(s.map.remark_count, 10);
    assert_remark(&s, "\"short\" has a shape that does not agree");
    assert_remark(&s, "\"strings\" has no element type");
    assert_remark(&s, "\"varints\" is of numbers that do not lie one after another");
    assert_remark(&s, "\"unpacked\" is of numbers");
    assert_remark(&s, "\"pieces\" is of numbers");
    assert_remark(&s, "\"negative\" has a shape that does not agree");
    assert_remark(&s, "\"overflow\" has a shape whose size overflows");
    assert_remark(&s, "\"nowhere\" is of numbers");
    assert_remark(&s, "\"no file\" does not say in which file");
    assert_remark(&s, "\"deep\" has more than 64");
    end(&s);
}

/* Graphs in graphs, and groups in groups: no deeper than there is stack for. */
static void test_onnx_depth_is_bounded(void **state)
{
    struct message graph = message(), tensor = onnx_raw("t", ONNX_UINT8, 2, 'x', 2);
    (void)state;
    put_message(&graph, 5, &tensor);
    for (unsigned depth = 0; depth < 2000; depth++) {
        struct message attribute = message();
        put_message(&attribute, 6, &graph);
        struct message node = onnx_node("o", "If", &attribute, "g");
        graph = message();
        put_message(&graph, 1, &node);
    }
    struct message model = onnx_model(&graph);
    struct subject s = map(&model, "m.onnx");
    assert_map(&s, MMH_FORMAT_ONNX, "");
    assert_remark(&s, "too deep");
    end(&s);

    graph = message();
    model = onnx_model(&graph);
    for (unsigned depth = 0; depth < 100000; depth++)
        put_key(&model, 50, MMH_PROTO_GROUP);
    s = map(&model, "m.onnx");
    assert_map(&s, MMH_FORMAT_OPAQUE, "");
    end(&s);
}

/* A name that many tensors share does not make memory of its own for each. */
static void test_long_shared_names_cost_little(void **state)
{
    struct message function = message(), model, graph = message();
    char name[MMH_PROTO_NAME_BYTES_MAX];
    (void)state;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    put_text(&function, 1, name);
    for (unsigned i = 0; i < 2000; i++) {
        struct message attribute = message(), tensor = onnx_raw("", ONNX_UINT8, 1, 'x', 1);
        put_message(&attribute, 5, &tensor);
        struct message node = onnx_node("o", "Constant", &attribute, "v");
        put_message(&function, 7, &node);
    }
    model = onnx_model(&graph);
    put_message(&model, 25, &function);
    allocated_most = 0;
    struct subject s = map(&model, "m.onnx");
    assert_int_equal(s.map.tensor_count, 2000);
    assert_true(allocated_most < (4 << 20));
    end(&s);
}

/* Names that take far more memory than what says them: the file is kept as it is. */
static void test_names_out_of_proportion_are_not_believed(void **state)
{
    struct message attribute = message(), graph = message(), model, node;
    char name[MMH_PROTO_SHARED_BYTES_MAX + 1];
    (void)state;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    for (unsigned i = 0; i < 200000; i++)
        put_bytes(&attribute, 10, "\x10\x02\x4a\x01x", 5);
    node = onnx_node("o", "Custom", &attribute, name);
    put_message(&graph, 1, &node);
    model = onnx_model(&graph);
    allocated_most = 0;
    struct subject s = map(&model, "m.onnx");
    assert_map(&s, MMH_FORMAT_OPAQUE, "");
    assert_remark(&s, "names and shapes are far larger than the file");
    assert_true(allocated_most < (17 << 20) + 5 * s.file.bytes);
    end(&s);
}

/* A file that is all zeros but for its first bytes, and counts what is read of it. */
struct huge {
    const struct mmh_buffer *head, *tail; /* the tail is at the end */
    uint64_t bytes, read;
};

static mmh_status read_huge(void *context, uint64_t offset, void *dst, size_t bytes, mmh_error *err)
{
    struct huge *huge = context;
    (void)err;
    huge->read += bytes;
    for (size_t i = 0; i < bytes; i++) {
        uint64_t at = offset + i, tail = huge->bytes - huge->tail->bytes;
        ((uint8_t *)dst)[i] = at < huge->head->bytes ? huge->head->data[at]
                            : at >= tail             ? huge->tail->data[at - tail]
                                                     : 0;
    }
    return MMH_OK;
}

/* Protocol buffers stop at 2 GB, files do not; what need not be read is not. */
static void test_onnx_of_any_size_is_walked_without_reading_it(void **state)
{
    const uint64_t weights = (uint64_t)5 << 30;
    struct message head = message(), tail = onnx_raw("last", ONNX_UINT8, 2, 'x', 2);
    struct message graph_tail = message();
    (void)state;
    put_message(&graph_tail, 5, &tail);
    struct message tensor = onnx_tensor("large", ONNX_FLOAT, weights / 4);
    put_key(&tensor, 9, MMH_PROTO_BYTES);
    mmh_buffer_varint(&tensor.buffer, weights);
    uint64_t tensor_bytes = tensor.buffer.bytes + weights;
    uint64_t graph_bytes = 1 + mmh_varint_bytes(tensor_bytes) + tensor_bytes +
                           graph_tail.buffer.bytes;
    put_varint(&head, 1, 10);
    put_key(&head, 7, MMH_PROTO_BYTES);
    mmh_buffer_varint(&head.buffer, graph_bytes);
    put_key(&head, 5, MMH_PROTO_BYTES);
    mmh_buffer_varint(&head.buffer, tensor_bytes);
    mmh_buffer_bytes(&head.buffer, tensor.buffer.data, tensor.buffer.bytes);
    struct huge huge = { .head = &head.buffer, .tail = &graph_tail.buffer };
    huge.bytes = head.buffer.bytes + weights + graph_tail.buffer.bytes;
    mmh_source source = { .read = read_huge, .user = &huge, .bytes = huge.bytes, .name = "m.onnx" };
    struct mmh_arena arena;
    struct mmh_extent_map map;
    mmh_arena_init(&arena, NULL);
    mmh_extent_map_init(&map, &arena, huge.bytes);
    assert_int_equal(mmh_format_detect_and_map(&map, &source, NULL, NULL), MMH_OK);
    assert_int_equal(map.format, MMH_FORMAT_ONNX);
    assert_int_equal(map.tensor_count, 2);
    assert_int_equal(map.tensors[0].bytes, weights);
    assert_string_equal(map.tensors[1].name, "last");
    assert_true(huge.read < (1 << 20));
    mmh_arena_release(&arena);
    mmh_buffer_release(&head.buffer);
    mmh_buffer_release(&tensor.buffer);
    mmh_buffer_release(&graph_tail.buffer);
}

/* ---- TensorFlow: graphs ---- */

enum { TF_FLOAT = 1, TF_INT32 = 3, TF_STRING = 7, TF_BOOL = 10, TF_INT4 = 29 };

/* A TensorProto without data. */
static struct message tf_tensor(unsigned type, const uint64_t *shape, size_t dimensions)
{
    struct message made = message(), shape_made = message();
    put_varint(&made, 1, type);
    for (size_t d = 0; d < dimensions; d++) {
        struct message dimension = message();
        if (shape[d])
            put_varint(&dimension, 1, shape[d]);
        put_message(&shape_made, 2, &dimension);
    }
    put_message(&made, 2, &shape_made);
    return made;
}

/* A NodeDef with one attribute. */
static struct message tf_node(const char *name, const char *key, struct message *value)
{
    struct message node = message(), entry = message();
    put_text(&node, 1, name);
    put_text(&node, 2, "Const");
    put_text(&entry, 1, key);
    put_message(&entry, 2, value);
    put_message(&node, 5, &entry);
    return node;
}

static struct message tf_constant(const char *name, struct message *tensor)
{
    struct message value = message();
    put_message(&value, 8, tensor);
    return tf_node(name, "value", &value);
}

static struct message tf_everything(void)
{
    static const uint64_t shape[] = { 2, 3 }, empty[] = { 0, 3 };
    struct message graph = message(), tensor, node, value, list, function, library;
    tensor = tf_tensor(TF_FLOAT, shape, 2);
    put_tag(&tensor, 4, 'a', 24);
    node = tf_constant("content", &tensor);
    put_message(&graph, 1, &node);
    tensor = tf_tensor(TF_FLOAT, shape, 2);
    put_tag(&tensor, 5, 'b', 24);
    node = tf_constant("floats", &tensor);
    put_message(&graph, 1, &node);
    tensor = tf_tensor(TF_FLOAT, shape, 2); /* one for all */
    put_tag(&tensor, 5, 'x', 4);
    node = tf_constant("splat", &tensor);
    put_message(&graph, 1, &node);
    tensor = tf_tensor(TF_STRING, shape, 0);
    put_text(&tensor, 8, "text");
    node = tf_constant("text", &tensor);
    put_message(&graph, 1, &node);
    tensor = tf_tensor(TF_INT32, shape, 1);
    put_bytes(&tensor, 7, "\1\2", 2);
    node = tf_constant("varints", &tensor);
    put_message(&graph, 1, &node);
    tensor = tf_tensor(TF_BOOL, shape, 1);
    put_tag(&tensor, 11, '\1', 2);
    node = tf_constant("flags", &tensor);
    put_message(&graph, 1, &node);
    tensor = tf_tensor(TF_INT4, shape, 2); /* a byte each */
    put_tag(&tensor, 4, 'c', 6);
    node = tf_constant("nibbles", &tensor);
    put_message(&graph, 1, &node);
    tensor = tf_tensor(TF_FLOAT, empty, 2);
    node = tf_constant("empty", &tensor);
    put_message(&graph, 1, &node);
    list = message();
    tensor = tf_tensor(TF_FLOAT, shape, 0);
    put_tag(&tensor, 5, 'd', 4);
    put_message(&list, 8, &tensor);
    value = message();
    put_message(&value, 1, &list);
    node = tf_node("op", "tensors", &value);
    put_message(&graph, 1, &node);

    library = message();
    function = message();
    struct message signature = message();
    put_text(&signature, 1, "fn");
    put_message(&function, 1, &signature);
    tensor = tf_tensor(TF_FLOAT, shape, 1);
    put_tag(&tensor, 4, 'e', 8);
    node = tf_constant("inside", &tensor);
    put_message(&function, 3, &node);
    put_message(&library, 1, &function);
    put_message(&graph, 2, &library);
    struct message versions = message();
    put_varint(&versions, 1, 1882);
    put_message(&graph, 4, &versions);
    return graph;
}

static const char tf_everything_expected[] = "content F32 [2,3] a\n"
                                             "floats F32 [2,3] b\n"
                                             "flags BOOL [2] \1\n"
                                             "nibbles I8 [2,3] c\n"
                                             "empty F32 [0,3] -\n"
                                             "op.tensors[0] F32 [] d\n"
                                             "fn/inside F32 [2] e\n";

static struct message tf_meta_graph(void)
{
    struct message made = message(), info = message(), graph = tf_everything();
    put_text(&info, 1, "v");
    put_message(&info, 2, &(struct message){ .buffer = message().buffer });
    put_message(&made, 1, &info);
    put_message(&made, 2, &graph);
    return made;
}

static struct message tf_saved_model(unsigned graphs)
{
    struct message made = message();
    put_varint(&made, 1, 1);
    for (unsigned i = 0; i < graphs; i++) {
        struct message graph = tf_meta_graph();
        put_message(&made, 2, &graph);
    }
    return made;
}

static void test_tf_constants_are_found_in_graphs_of_all_kinds(void **state)
{
    struct message files[] = { tf_everything(), tf_meta_graph(), tf_saved_model(1) };
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(files); i++) {
        struct subject s = map(&files[i], "x.pb");
        assert_map(&s, MMH_FORMAT_TF_GRAPH, tf_everything_expected);
        assert_int_equal(s.map.remark_count, 1);
        assert_remark(&s, "3 constants are strings, small integers or one value for all");
        end(&s);
    }
    struct message two = tf_saved_model(2);
    struct subject s = map(&two, "saved_model.pb");
    assert_int_equal(s.map.tensor_count, 14);
    assert_string_equal(s.map.tensors[7].name, "meta_graphs[1]/content");
    end(&s);
}

/* ---- TensorFlow: bundles ---- */

/* A block of a table, its keys sharing what they can. */
struct block {
    struct message body;
    char last[256];
    size_t last_bytes;
};

static void put_table_entry(struct block *block, const void *key, size_t key_bytes,
                            struct message *value)
{
    size_t shared = 0;
    while (shared < key_bytes && shared < block->last_bytes &&
           ((const char *)key)[shared] == block->last[shared])
        shared++;
    mmh_buffer_varint(&block->body.buffer, shared);
    mmh_buffer_varint(&block->body.buffer, key_bytes - shared);
    mmh_buffer_varint(&block->body.buffer, value->buffer.bytes);
    mmh_buffer_bytes(&block->body.buffer, (const char *)key + shared, key_bytes - shared);
    mmh_buffer_bytes(&block->body.buffer, value->buffer.data, value->buffer.bytes);
    memcpy(block->last, key, key_bytes);
    block->last_bytes = key_bytes;
    mmh_buffer_release(&value->buffer);
}

/* Ends the block, appends it, and says where it is. */
static struct message put_block(struct message *file, struct block *block, unsigned compression)
{
    struct message handle = message();
    mmh_buffer_u32(&block->body.buffer, 0); /* one restart */
    mmh_buffer_u32(&block->body.buffer, 1);
    mmh_buffer_varint(&handle.buffer, file->buffer.bytes);
    mmh_buffer_varint(&handle.buffer, block->body.buffer.bytes);
    mmh_buffer_bytes(&file->buffer, block->body.buffer.data, block->body.buffer.bytes);
    mmh_buffer_u8(&file->buffer, (uint8_t)compression);
    mmh_buffer_u32(&file->buffer, 0); /* checksum */
    mmh_buffer_release(&block->body.buffer);
    return handle;
}

static struct message bundle_entry(unsigned type, uint64_t elements, unsigned shard,
                                   uint64_t offset, uint64_t bytes)
{
    struct message made = message(), tensor = tf_tensor(type, &elements, 1), shape = message();
    mmh_buffer_release(&tensor.buffer);
    struct message dimension = message();
    put_varint(&dimension, 1, elements);
    put_message(&shape, 2, &dimension);
    put_varint(&made, 1, type);
    put_message(&made, 2, &shape);
    if (shard)
        put_varint(&made, 3, shard);
    if (offset)
        put_varint(&made, 4, offset);
    put_varint(&made, 5, bytes);
    put_key(&made, 6, MMH_PROTO_FIXED32);
    mmh_buffer_u32(&made.buffer, 0x12345678);
    return made;
}

enum bundle_flaw { NO_FLAW, FLAW_COMPRESSED, FLAW_NO_HEADER, FLAW_SAME_BLOCK_TWICE };

static struct message bundle(bool big_endian, enum bundle_flaw flaw)
{
    /* 0, "part", end; two dimensions: from 64 on 200, and all. */
    static const char slice_key[] = "\0part\0\1\1\2\xc0\x40\xc0\xc8\x80\x7f";
    static const char bad_key[] = "\0part\0\1\1\1\x10\x80";
    struct message file = message(), value;
    struct block first = { .body = message() }, second = { .body = message() },
                 index = { .body = message() };
    value = message();
    put_varint(&value, 1, 3);
    if (big_endian)
        put_varint(&value, 2, 1);
    if (flaw == FLAW_NO_HEADER)
        mmh_buffer_release(&value.buffer);
    else
        put_table_entry(&first, "", 0, &value);
    value = bundle_entry(TF_FLOAT, 200, 2, 64, 800);
    put_table_entry(&first, slice_key, sizeof slice_key - 1, &value);
    value = bundle_entry(TF_FLOAT, 1, 0, 0, 4);
    put_table_entry(&first, bad_key, sizeof bad_key - 1, &value);
    value = bundle_entry(TF_FLOAT, 4, 0, 0, 16);
    put_table_entry(&first, "layer/a", 7, &value);
    value = bundle_entry(TF_INT4, 4, 1, 16, 4);
    put_table_entry(&first, "layer/b", 7, &value);
    value = bundle_entry(TF_STRING, 4, 0, 0, 99);
    put_table_entry(&first, "layer/c", 7, &value);
    value = bundle_entry(TF_FLOAT, 4, 3, 0, 16); /* of a fourth file */
    put_table_entry(&second, "layer/d", 7, &value);
    value = bundle_entry(TF_FLOAT, 4, 0, UINT64_MAX - 3, 16);
    put_table_entry(&second, "layer/e", 7, &value);
    value = bundle_entry(TF_FLOAT, 4, 0, 0, 12);
    put_table_entry(&second, "layer/f", 7, &value);
    value = bundle_entry(TF_INT32, 2, 0, 32, 8);
    put_table_entry(&second, "layer/g", 7, &value);
    value = bundle_entry(TF_FLOAT, 300, 0, 0, 0);
    put_text(&value, 7, "");
    put_table_entry(&second, "part", 4, &value); /* what is in parts */

    value = put_block(&file, &first, flaw == FLAW_COMPRESSED);
    if (flaw == FLAW_SAME_BLOCK_TWICE) {
        struct message again = message();
        mmh_buffer_bytes(&again.buffer, value.buffer.data, value.buffer.bytes);
        put_table_entry(&index, "layer", 5, &again);
    }
    put_table_entry(&index, "layer/c", 7, &value);
    value = put_block(&file, &second, 0);
    put_table_entry(&index, "q", 1, &value);
    struct block meta = { .body = message() };
    struct message meta_handle = put_block(&file, &meta, 0), handle = put_block(&file, &index, 0);
    mmh_buffer_bytes(&meta_handle.buffer, handle.buffer.data, handle.buffer.bytes);
    mmh_buffer_zeros(&meta_handle.buffer, 40 - meta_handle.buffer.bytes);
    mmh_buffer_bytes(&file.buffer, meta_handle.buffer.data, 40);
    mmh_buffer_u64(&file.buffer, 0xdb4775248b80fb57u);
    mmh_buffer_release(&meta_handle.buffer);
    mmh_buffer_release(&handle.buffer);
    return file;
}

static void test_tf_bundles_tell_of_their_data_files(void **state)
{
    (void)state;
    for (unsigned big_endian = 0; big_endian < 2; big_endian++) {
        struct message file = bundle(big_endian, NO_FLAW);
        struct subject s = map(&file, "some/variables.index");
        assert_map(&s, MMH_FORMAT_TF_BUNDLE,
                   big_endian ? "part[64:264,:] >F32 [200] variables.data-00002-of-00003 64 800\n"
                                "layer/a >F32 [4] variables.data-00000-of-00003 0 16\n"
                                "layer/b I8 [4] variables.data-00001-of-00003 16 4\n"
                                "layer/g >I32 [2] variables.data-00000-of-00003 32 8\n"
                              : "part[64:264,:] F32 [200] variables.data-00002-of-00003 64 800\n"
                                "layer/a F32 [4] variables.data-00000-of-00003 0 16\n"
                                "layer/b I8 [4] variables.data-00001-of-00003 16 4\n"
                                "layer/g I32 [2] variables.data-00000-of-00003 32 8\n");
        assert_remark(&s, "5 entries are strings, or say what cannot be");
        end(&s);
    }
}

static void test_tables_that_are_no_bundles_are_left_alone(void **state)
{
    static const struct {
        enum bundle_flaw flaw;
        const char *remark;
    } cases[] = { { FLAW_COMPRESSED, "compressed" },
                  { FLAW_NO_HEADER, "no tensor bundle" },
                  { FLAW_SAME_BLOCK_TWICE, "overlap" } };
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(cases); i++) {
        struct message file = bundle(false, cases[i].flaw);
        struct subject s = map(&file, "x.index");
        assert_map(&s, MMH_FORMAT_OPAQUE, "");
        assert_remark(&s, cases[i].remark);
        end(&s);
    }
}

/* ---- CoreML: networks ---- */

static void put_weight(struct message *layer, uint32_t number, uint32_t field, char tag,
                       size_t bytes)
{
    struct message weight = message();
    put_tag(&weight, field, tag, bytes);
    put_message(layer, number, &weight);
}

static void put_layer(struct message *network, uint32_t number, const char *name,
                      struct message *parameters)
{
    struct message layer = message();
    put_message(&layer, number, parameters);
    put_text(&layer, 1, name);
    put_message(network, 1, &layer);
}

static struct message coreml_network(void)
{
    struct message network = message(), layer, part, weight, quantization;
    layer = message(); /* convolution [2,3,1,2] */
    put_varint(&layer, 1, 2);
    put_varint(&layer, 2, 3);
    put_bytes(&layer, 20, "\1\2", 2);
    put_weight(&layer, 90, 1, 'a', 48);
    put_weight(&layer, 91, 2, 'b', 4);
    put_layer(&network, 100, "conv", &layer);

    layer = message(); /* inner product [4,2], linear quantisation */
    put_varint(&layer, 1, 2);
    put_varint(&layer, 2, 4);
    weight = message();
    put_tag(&weight, 30, 'c', 8);
    quantization = message();
    put_varint(&quantization, 1, 8);
    part = message();
    put_tag(&part, 1, 'd', 16);
    put_tag(&part, 2, 'e', 16);
    put_message(&quantization, 101, &part);
    put_message(&weight, 40, &quantization);
    put_message(&layer, 20, &weight);
    put_layer(&network, 140, "dense", &layer);

    layer = message(); /* embedding, a table of 4 bits each */
    put_varint(&layer, 1, 3);
    put_varint(&layer, 2, 4);
    weight = message();
    put_tag(&weight, 30, 'f', 6);
    quantization = message();
    put_varint(&quantization, 1, 4);
    part = message();
    put_tag(&part, 1, 'g', 64);
    put_message(&quantization, 102, &part);
    put_message(&weight, 40, &quantization);
    put_message(&layer, 20, &weight);
    put_layer(&network, 150, "embedding", &layer);

    layer = message(); /* LSTM in two directions */
    put_varint(&layer, 1, 1);
    put_varint(&layer, 2, 2);
    for (unsigned direction = 0; direction < 2; direction++) {
        part = message();
        put_weight(&part, 1, 1, (char)('h' + direction), 8);
        put_message(&layer, 20, &part);
    }
    put_layer(&network, 430, "lstm", &layer);

    layer = message();
    put_weight(&layer, 20, 31, 'j', 3);
    put_layer(&network, 500, "custom", &layer);

    layer = message(); /* PReLU */
    part = message();
    put_weight(&part, 1, 1, 'k', 4);
    put_message(&layer, 25, &part);
    put_layer(&network, 130, "prelu", &layer);

    struct message inner = message(), branch = message();
    layer = message();
    put_varint(&layer, 1, 7);
    put_weight(&layer, 2, 1, 'l', 28);
    put_layer(&inner, 290, "inner", &layer);
    put_message(&branch, 1, &inner);
    put_layer(&network, 605, "branch", &branch);

    part = message();
    put_tag(&part, 1, 'm', 12);
    layer = message();
    put_text(&layer, 1, "image");
    put_message(&layer, 11, &part);
    put_message(&network, 2, &layer);
    return network;
}

static struct message coreml_model(uint32_t type, struct message *of)
{
    struct message model = message(), description = message();
    put_varint(&model, 1, 4);
    put_text(&description, 100, "");
    put_message(&model, 2, &description);
    put_message(&model, type, of);
    return model;
}

static void test_coreml_weights_have_their_layers_shapes(void **state)
{
    struct message network = coreml_network(), model = coreml_model(500, &network);
    struct subject s = map(&model, "m.mlmodel");
    (void)state;
    assert_map(&s, MMH_FORMAT_COREML,
               "conv.weights F32 [2,3,1,2] a\n"
               "conv.bias F16 [2] b\n"
               "dense.weights U8 [4,2] c\n"
               "dense.weights.scale F32 [4] d\n"
               "dense.weights.bias F32 [4] e\n"
               "embedding.weights U8 [6] f\n"
               "embedding.weights.table F32 [16] g\n"
               "lstm.forward.inputGateWeightMatrix F32 [2,1] h\n"
               "lstm.backward.inputGateWeightMatrix F32 [2,1] i\n"
               "custom.weights I8 [3] j\n"
               "prelu.alpha F32 [1] k\n"
               "inner.data F32 [7] l\n"
               "image.meanImage F32 [3] m\n");
    assert_int_equal(s.map.remark_count, 0);
    end(&s);
}

static struct message coreml_pipeline(void)
{
    struct message pipeline = message();
    for (unsigned i = 0; i < 2; i++) {
        struct message network = message(), layer = message();
        put_weight(&layer, 2, 1, (char)('a' + i), 4);
        put_layer(&network, 250, "bias", &layer);
        struct message model = coreml_model(i ? 403 : 303, &network);
        put_message(&pipeline, 1, &model);
    }
    put_text(&pipeline, 2, "first");
    return pipeline;
}

static void test_coreml_pipelines_name_their_models(void **state)
{
    struct message pipeline = coreml_pipeline(), model = coreml_model(202, &pipeline), classifier;
    struct subject s = map(&model, "m.mlmodel");
    (void)state;
    assert_map(&s, MMH_FORMAT_COREML, "first/bias.bias F32 [1] a\nmodels[1]/bias.bias F32 [1] b\n");
    end(&s);
    pipeline = coreml_pipeline();
    classifier = message();
    put_message(&classifier, 1, &pipeline);
    model = coreml_model(200, &classifier);
    s = map(&model, "m.mlmodel");
    assert_map(&s, MMH_FORMAT_COREML, "first/bias.bias F32 [1] a\nmodels[1]/bias.bias F32 [1] b\n");
    end(&s);
    model = message();
    for (unsigned depth = 0; depth < 1000; depth++) {
        pipeline = message();
        put_message(&pipeline, 1, &model);
        model = coreml_model(202, &pipeline);
    }
    s = map(&model, "m.mlmodel");
    assert_map(&s, MMH_FORMAT_COREML, "");
    assert_remark(&s, "too deep");
    end(&s);
}

/* ---- CoreML: programs ---- */

enum { MIL_STRING = 2, MIL_FLOAT16 = 10, MIL_FLOAT32 = 11, MIL_INT32 = 23, MIL_UINT3 = 39 };

/* A Value with its type; the caller adds what it is. */
static struct message mil_value(unsigned type, uint64_t elements)
{
    struct message value = message(), of = message(), tensor = message(), dimension = message(),
                   constant = message();
    put_varint(&constant, 1, elements);
    put_message(&dimension, 1, &constant);
    put_varint(&tensor, 1, type);
    put_varint(&tensor, 2, 1);
    put_message(&tensor, 3, &dimension);
    put_message(&of, 1, &tensor);
    put_message(&value, 2, &of);
    return value;
}

static struct message mil_blob(unsigned type, uint64_t elements, const char *file, uint64_t offset)
{
    struct message value = mil_value(type, elements), blob = message();
    put_text(&blob, 1, file);
    put_varint(&blob, 2, offset);
    put_message(&value, 5, &blob);
    return value;
}

/* Numbers in field `number` of a TensorValue. */
static struct message mil_immediate(unsigned type, uint64_t elements, uint32_t number, char tag,
                                    size_t bytes)
{
    struct message value = mil_value(type, elements), immediate = message(), tensor = message(),
                   numbers = message();
    put_tag(&numbers, 1, tag, bytes);
    put_message(&tensor, number, &numbers);
    put_message(&immediate, 1, &tensor);
    put_message(&value, 3, &immediate);
    return value;
}

static void put_operation(struct message *block, const char *kind, const char *output,
                          const char *key, struct message *value)
{
    struct message operation = message(), entry = message(), name = message();
    put_text(&entry, 1, key);
    put_message(&entry, 2, value);
    put_message(&operation, 5, &entry);
    put_text(&operation, 1, kind);
    put_text(&name, 1, output);
    put_message(&operation, 3, &name);
    put_message(block, 3, &operation);
}

static struct message coreml_program(void)
{
    struct message block = message(), value, program = message(), function = message(), entry;
    value = mil_blob(MIL_FLOAT16, 100, "@model_path/weights/weight.bin", 64);
    put_operation(&block, "const", "w", "val", &value);
    value = mil_blob(MIL_UINT3, 11, "@model_path/weights/weight.bin", 384);
    put_operation(&block, "constexpr_lut_to_dense", "p", "indices", &value);
    value = mil_blob(MIL_FLOAT16, 100, "@model_path/../weight.bin", 64);
    put_operation(&block, "const", "unsafe", "val", &value);
    value = mil_blob(MIL_FLOAT16, 100, "w.bin", UINT64_MAX - 100);
    put_operation(&block, "const", "far", "val", &value);
    value = mil_immediate(MIL_FLOAT32, 5, 1, 'a', 20);
    put_operation(&block, "const", "i", "val", &value);
    value = mil_immediate(MIL_FLOAT16, 5, 7, 'b', 10);
    put_operation(&block, "const", "h", "val", &value);
    value = mil_immediate(MIL_INT32, 5, 2, 'x', 5);
    put_operation(&block, "const", "ints", "val", &value);
    value = mil_immediate(MIL_STRING, 5, 4, 'x', 5);
    put_operation(&block, "const", "s", "val", &value);

    entry = message();
    put_text(&entry, 1, "CoreML5");
    put_message(&entry, 2, &block);
    put_message(&function, 3, &entry);
    entry = message();
    put_text(&entry, 1, "main");
    put_message(&entry, 2, &function);
    put_varint(&program, 1, 1);
    put_message(&program, 2, &entry);
    return program;
}

static void test_coreml_programs_tell_of_their_weights(void **state)
{
    struct message program = coreml_program(), model = coreml_model(502, &program);
    struct subject s = map(&model, "Data/com.apple.CoreML/model.mlmodel");
    (void)state;
    assert_map(&s, MMH_FORMAT_COREML,
               "i F32 [5] a\n"
               "h F16 [5] b\n"
               "w F16 [100] weights/weight.bin 128 200\n"
               "p.indices U8 [5] weights/weight.bin 448 5\n");
    assert_int_equal(s.map.remark_count, 3);
    assert_remark(&s, "\"unsafe\" lies in a file whose name is not safe");
    assert_remark(&s, "\"far\" has no type, shape or place that can be");
    assert_remark(&s, "2 constants are strings or small integers");
    end(&s);
}

/* ---- CoreML: weight.bin ---- */

static void put_blob(struct mmh_buffer *to, unsigned type, char tag, size_t bytes)
{
    mmh_buffer_align(to, 64);
    mmh_buffer_u32(to, 0xdeadbeef);
    mmh_buffer_u32(to, type);
    mmh_buffer_u64(to, bytes);
    mmh_buffer_u64(to, to->bytes + 48);
    for (unsigned i = 0; i < 5; i++)
        mmh_buffer_u64(to, 0x7171717171717171u); /* reserved, and not zero */
    for (size_t i = 0; i < bytes; i++)
        mmh_buffer_u8(to, (uint8_t)tag);
}

static struct message coreml_weights(uint32_t count)
{
    struct message file = message();
    mmh_buffer_u32(&file.buffer, count);
    mmh_buffer_u32(&file.buffer, 2);
    mmh_buffer_zeros(&file.buffer, 56);
    put_blob(&file.buffer, 1, 'a', 30);
    put_blob(&file.buffer, 2, 'b', 128);
    put_blob(&file.buffer, 8, 'c', 3);
    put_blob(&file.buffer, 999, 'd', 7);
    return file;
}

static void test_coreml_weights_are_numbered_where_nothing_names_them(void **state)
{
    static const char expected[] = "weight 0 F16 [15] a\nweight 1 F32 [32] b\n"
                                   "weight 2 I4 [6] c\nweight 3 U8 [7] d\n";
    struct message file = coreml_weights(4);
    struct subject s = map(&file, "weight.bin");
    (void)state;
    assert_map(&s, MMH_FORMAT_COREML_WEIGHTS, expected);
    assert_int_equal(s.map.remark_count, 0);
    end(&s);
    file = coreml_weights(UINT32_MAX);
    s = map(&file, "weight.bin");
    assert_map(&s, MMH_FORMAT_COREML_WEIGHTS, expected);
    assert_remark(&s, "4294967291 of 4294967295 weights are missing");
    end(&s);
    file = coreml_weights(4);
    file.buffer.data[64 + 64 + 64] ^= 1; /* the second's first byte */
    s = map(&file, "weight.bin");
    assert_map(&s, MMH_FORMAT_OPAQUE, "");
    assert_remark(&s, "weight 1 is not what it should be");
    end(&s);
}

/* ---- all of them ---- */

/* One file of each kind, and what it is called. */
static struct message example(size_t index, const char **name)
{
    struct message part;
    switch (index) {
    case 0:
        *name = "everything.onnx";
        return onnx_everything();
    case 1:
        *name = "external.onnx";
        return onnx_external("x.data", "64", "16");
    case 2:
        *name = "graph.pb";
        return tf_everything();
    case 3:
        *name = "graph.meta";
        return tf_meta_graph();
    case 4:
        *name = "saved_model.pb";
        return tf_saved_model(1);
    case 5:
        *name = "variables.index";
        return bundle(false, NO_FLAW);
    case 6:
        *name = "network.mlmodel";
        part = coreml_network();
        return coreml_model(500, &part);
    case 7:
        *name = "pipeline.mlmodel";
        part = coreml_pipeline();
        return coreml_model(202, &part);
    case 8:
        *name = "program.mlmodel";
        part = coreml_program();
        return coreml_model(502, &part);
    default:
        *name = "weight.bin";
        return coreml_weights(4);
    }
}
enum { EXAMPLES = 10 };

/* Files cut off anywhere, or wrong in any byte, give a map that tiles them. */
static void test_damaged_files_do_no_harm(void **state)
{
    static const uint8_t flips[] = { 0xff, 0x01, 0x80 };
    (void)state;
    for (size_t e = 0; e < EXAMPLES; e++) {
        const char *name;
        struct message file = example(e, &name);
        struct subject s = subject_of(&file, name);
        for (size_t bytes = 0; bytes < s.file.bytes; bytes++) {
            uint8_t *exact = malloc(bytes + !bytes); /* so that a read beyond it is seen */
            memcpy(exact, s.file.data, bytes);
            map_bytes(&s, exact, bytes);
            mmh_arena_release(&s.arena);
            free(exact);
        }
        for (size_t at = 0; at < s.file.bytes; at++)
            for (size_t f = 0; f < MMH_COUNT_OF(flips); f++) {
                s.file.data[at] ^= flips[f];
                map_bytes(&s, s.file.data, s.file.bytes);
                mmh_arena_release(&s.arena);
                s.file.data[at] ^= flips[f];
            }
        end(&s);
    }
}

/* Without memory mapping fails, says so and leaves nothing behind. */
static void test_memory_may_run_out_anywhere(void **state)
{
    (void)state;
    for (size_t e = 0; e < EXAMPLES; e++) {
        const char *name;
        struct message file = example(e, &name);
        struct subject s = subject_of(&file, name);
        mmh_source source = mmh_source_of_memory(s.file.data, s.file.bytes, name);
        mmh_status status = MMH_E_MEMORY;
        for (size_t n = 0; status; n++) {
            allocations_left = n;
            mmh_extent_map_init(&s.map, &s.arena, s.file.bytes);
            status = mmh_format_detect_and_map(&s.map, &source, NULL, NULL);
            allocations_left = SIZE_MAX;
            assert_true(!status || status == MMH_E_MEMORY);
            mmh_arena_release(&s.arena);
            assert_int_equal(allocated, 0);
        }
        end(&s);
    }
}

/* Each is taken by its own format, whatever it is called. */
static void test_files_are_known_without_their_names(void **state)
{
    static const uint8_t formats[EXAMPLES] = { MMH_FORMAT_ONNX,     MMH_FORMAT_ONNX,
                                               MMH_FORMAT_TF_GRAPH, MMH_FORMAT_TF_GRAPH,
                                               MMH_FORMAT_TF_GRAPH, MMH_FORMAT_TF_BUNDLE,
                                               MMH_FORMAT_COREML,   MMH_FORMAT_COREML,
                                               MMH_FORMAT_COREML,   MMH_FORMAT_COREML_WEIGHTS };
    (void)state;
    for (size_t e = 0; e < EXAMPLES; e++) {
        const char *name;
        struct message file = example(e, &name);
        struct subject s = map(&file, "x");
        assert_int_equal(s.map.format, formats[e]);
        end(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_onnx_tensors_are_found_wherever_they_lie),
        cmocka_unit_test(test_onnx_fields_of_another_time_are_passed_over),
        cmocka_unit_test(test_onnx_external_data_is_told_of),
        cmocka_unit_test(test_onnx_odd_tensors_are_left_out_alone),
        cmocka_unit_test(test_onnx_depth_is_bounded),
        cmocka_unit_test(test_long_shared_names_cost_little),
        cmocka_unit_test(test_names_out_of_proportion_are_not_believed),
        cmocka_unit_test(test_onnx_of_any_size_is_walked_without_reading_it),
        cmocka_unit_test(test_tf_constants_are_found_in_graphs_of_all_kinds),
        cmocka_unit_test(test_tf_bundles_tell_of_their_data_files),
        cmocka_unit_test(test_tables_that_are_no_bundles_are_left_alone),
        cmocka_unit_test(test_coreml_weights_have_their_layers_shapes),
        cmocka_unit_test(test_coreml_pipelines_name_their_models),
        cmocka_unit_test(test_coreml_programs_tell_of_their_weights),
        cmocka_unit_test(test_coreml_weights_are_numbered_where_nothing_names_them),
        cmocka_unit_test(test_damaged_files_do_no_harm),
        cmocka_unit_test(test_memory_may_run_out_anywhere),
        cmocka_unit_test(test_files_are_known_without_their_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
